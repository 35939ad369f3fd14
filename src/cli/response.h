/*
 * The daemon's answer, understood as its bytes arrive (RFC 9112 §4–7). Strict: the daemon is the
 * only peer, so whatever it would never send means that something else sits at the socket.
 */
#ifndef CLI_RESPONSE_H
#define CLI_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define RESPONSE_LINE_MAX 4096
#define RESPONSE_HEAD_MAX (16 * 1024)

enum response_part {
    RESPONSE_STATUS_LINE,
    RESPONSE_HEADER,
    RESPONSE_COUNTED, /* a body of known length */
    RESPONSE_CHUNK_SIZE,
    RESPONSE_CHUNK,
    RESPONSE_CHUNK_END,
    RESPONSE_LAST_LINE, /* the empty line behind the last chunk */
    RESPONSE_DONE,
};

struct response {
    enum response_part part;
    int status;
    char code[64];    /* Credwarden-Code: what went wrong; "" */
    char version[64]; /* Credwarden-Version: of the daemon; "" */
    char type[128];   /* Content-Type; "" */

    /* The parser's own. */
    bool has_length, is_chunked;
    int64_t left;
    size_t head_len;
    size_t line_len;
    char line[RESPONSE_LINE_MAX + 1];
};

/* A body does not end with the connection: a token, or a list, that was cut short must not pass for
 * a whole one. */
void response_init(struct response *r);

/* Takes all of `bytes`; appends what they hold of the body to `body`, whose maximum is the limit.
 * ERR_INVALID: not what a daemon says; ERR_TOO_LARGE; ERR_NOMEM. No further call after an error. */
int response_feed(struct response *r, const char *bytes, size_t len, struct buf *body,
                  struct err_text *text);

/* The peer closed. ERR_CLOSED when the answer is not complete. */
int response_end(struct response *r, struct err_text *text);

/* Has the head arrived whole, so that status and headers may be read? */
bool response_has_head(const struct response *r);

#endif

/*
 * An answer on its way: what an endpoint says, what a quirk makes of it, and how it travels.
 */
#ifndef LAB_REPLY_H
#define LAB_REPLY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "lab/quirks.h"

#define REPLY_HEADERS_MAX 2048
#define REPLY_BODY_MAX    (80 * 1024 * 1024)

struct reply {
    int status;
    bool lost;    /* nothing is sent, the connection closes */
    json_t *json; /* the body to be rendered; NULL: `body` stands as it is */
    char content_type[QUIRK_TEXT_SIZE];
    struct buf headers; /* further lines, each with CRLF */
    struct buf body;
    bool chunked;       /* no Content-Length: one chunk a piece */
    bool by_events;     /* a piece ends with an empty line (SSE) */
    size_t piece_bytes; /* 0: all in one, unless by_events */
    int64_t pause_ms;   /* between pieces */
    int64_t torn_after; /* bytes of the body, then the connection closes; -1 whole */
};

void reply_init(struct reply *r);
void reply_release(struct reply *r);

/* `json` is stolen; NULL (out of memory) becomes a 500. */
void reply_json(struct reply *r, int status, json_t *json);
void reply_text(struct reply *r, int status, const char *content_type, const char *text);
void reply_header(struct reply *r, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* RFC 6749 §5.2 */
void reply_oauth_error(struct reply *r, int status, const char *error, const char *description);
/* {"type":"error","error":{"type":…,"message":…}} */
void reply_nested_error(struct reply *r, int status, const char *type, const char *message);

/* What the quirk wants in place of the endpoint's own answer (quirk_replaces()). */
void reply_replace(struct reply *r, const struct quirk *q);
/* Shape, render, and set the way it travels. Once, last. `wall_ms` is the server's. */
void reply_finish(struct reply *r, const struct quirk *q, int64_t wall_ms);

/* Status line and headers. */
int reply_head(const struct reply *r, bool keep_alive, int64_t wall_ms, struct buf *out);
/* The next piece of the body, from `*at` on, encoded; moves `*at`. */
int reply_piece(const struct reply *r, size_t *at, struct buf *out);
bool reply_is_over(const struct reply *r, size_t at); /* no piece is left */
bool reply_is_torn(const struct reply *r);            /* the connection must close after it */

void http_date_format(int64_t wall_ms, char ret[32]);

#endif

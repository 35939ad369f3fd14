/*
 * HTTP/1.1 on the way in, strictly (RFC 9112, RFC 9110). One codec for every program of ours that
 * listens: what one accepts the other accepts, and nothing that two parsers could read two ways.
 *
 * Refused, each with its own reason: bare CR or LF, obs-fold, space before a colon, a missing or
 * second Host, a second or malformed Content-Length, Content-Length beside Transfer-Encoding, any
 * Transfer-Encoding but exactly "chunked", bad chunk sizes and extensions, trailers, HTTP/1.0 and
 * anything but HTTP/1.1, control bytes, absolute-form and asterisk-form targets, CONNECT, heads
 * beyond the caller's limit or HTTP_HEADERS_MAX lines. No allocation; the head points into the
 * caller's bytes.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define HTTP_HEADERS_MAX 64

struct http_text { /* a piece of the caller's bytes, not NUL-terminated */
    const char *at;
    size_t len;
};

struct http_header {
    struct http_text name, value; /* value without surrounding blanks */
};

struct http_head {
    struct http_text method, target;
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t n_headers;
    bool chunked;
    bool keep_alive;
    bool expect_continue;
    int64_t content_length; /* -1: not said */
};

enum http_fault {
    HTTP_OK = 0,
    HTTP_BAD_REQUEST_LINE,
    HTTP_BAD_VERSION,
    HTTP_BAD_TARGET,
    HTTP_BARE_CR,
    HTTP_BARE_LF,
    HTTP_OBS_FOLD,
    HTTP_BAD_HEADER_NAME,
    HTTP_BAD_HEADER_VALUE,
    HTTP_TOO_MANY_HEADERS,
    HTTP_HEAD_TOO_LARGE,
    HTTP_NO_HOST,
    HTTP_TWO_HOSTS,
    HTTP_BAD_CONTENT_LENGTH,
    HTTP_TWO_CONTENT_LENGTHS,
    HTTP_LENGTH_AND_CHUNKED,
    HTTP_BAD_TRANSFER_ENCODING,
    HTTP_BAD_EXPECT,
    HTTP_BAD_CHUNK,
    HTTP_BODY_TOO_LARGE,
    HTTP_FAULT_COUNT
};
const char *http_fault_text(enum http_fault f);  /* one sentence for the answer */
int http_fault_status(enum http_fault f);        /* 400, 413, 431, 505, … */

/* > 0: bytes of the complete head. 0: more is needed (and so far nothing is wrong).
 * < 0: -(enum http_fault). `max`: limit for the head. */
int http_parse_head(const char *bytes, size_t len, size_t max, struct http_head *ret);

/* First header of that name (case-insensitive), or NULL. */
const struct http_header *http_find(const struct http_head *h, const char *name);
bool http_text_is(struct http_text t, const char *word); /* case-insensitive whole match */

/* The body, fed as it comes. */
struct http_body {
    bool chunked;
    int64_t left;      /* of the body or of the chunk */
    int64_t total;
    int64_t max;
    int state;
    bool done;
};
void http_body_init(struct http_body *b, const struct http_head *h, int64_t max);
/* Consumes from `bytes`, appends payload to `out`; returns bytes consumed or -(enum http_fault).
 * Look at `done`. What follows the body is not consumed. */
int http_body_feed(struct http_body *b, const char *bytes, size_t len, struct buf *out);

/* Percent-decoding of a path segment or a query value ('+' stays '+', as RFC 3986 has it).
 * ERR_INVALID: bad escape, NUL or control byte, not UTF-8. ERR_TOO_LARGE. */
int http_percent_decode(struct http_text t, char *ret, size_t size);
int http_percent_encode(const char *text, struct buf *out);

/* Value of `key` in the query part of a target. ERR_NOT_FOUND; ERR_INVALID when it stands twice. */
int http_query_get(struct http_text target, const char *key, char *ret, size_t size);

#endif

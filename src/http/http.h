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
 *
 * Where RFC 9112 leaves room, the narrow reading is taken:
 *   - no empty line before the request line; exactly one space between its three parts;
 *   - a target holds only what RFC 3986 lets a path and a query hold (so no "[", "|", '"', no byte
 *     above 0x7e) with well-formed escapes, and does not begin with "//";
 *   - Content-Length is decimal digits without sign, list or leading zero, at most 18 of them; a
 *     second one is refused even when it says the same;
 *   - "chunked" in lower case, once; a chunk's size has no leading zero ("0" ends the body);
 *   - a Host holds letters, digits and -._~%:[] only; it may be empty;
 *   - "Expect: 100-continue" once, any other expectation is refused.
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
    HTTP_NO_MEMORY,
    HTTP_FAULT_COUNT
};
const char *http_fault_text(enum http_fault f); /* one sentence for the answer */
int http_fault_status(enum http_fault f);       /* 400, 413, 431, 505, … */

/* > 0: bytes of the complete head. 0: more is needed (and so far nothing is wrong: a broken line
 * is told as soon as it is complete, a stray byte at once). < 0: -(enum http_fault); `ret` is
 * untouched. `max`: limit for the head, the empty line included; HTTP_HEAD_TOO_LARGE is told once
 * `max` bytes are there and the head is not complete. */
int http_parse_head(const char *bytes, size_t len, size_t max, struct http_head *ret);

/* First header of that name (case-insensitive), or NULL. */
const struct http_header *http_find(const struct http_head *h, const char *name);
bool http_text_is(struct http_text t, const char *word); /* case-insensitive whole match */

/* The body, fed as it comes. */
struct http_body {
    bool chunked;
    int64_t left; /* of the body or of the chunk */
    int64_t total;
    int64_t max;
    int state;
    bool done;
};
void http_body_init(struct http_body *b, const struct http_head *h, int64_t max);
/* Consumes from `bytes` (at most INT_MAX), appends payload to `out`; returns bytes consumed or
 * -(enum http_fault), after which the body must not be fed again. Look at `done`: a message without
 * a body is done at once. What follows the body is not consumed. More than `max` is told as soon
 * as it is announced, by a Content-Length even to a feed of no bytes, so that it can be refused
 * before it is sent. No room in `out` counts as too large. */
int http_body_feed(struct http_body *b, const char *bytes, size_t len, struct buf *out);

/* The two parts of a target, still encoded; the query is without its '?'. */
struct http_text http_target_path(struct http_text target);
struct http_text http_target_query(struct http_text target);

/* Takes the next key and value, still encoded, from what is left of a query; empty pairs are
 * skipped, a key without '=' has the value "". False at the end. */
bool http_query_next(struct http_text *rest, struct http_text *ret_key,
                     struct http_text *ret_value);

/* Percent-decoding of a path segment or a query value ('+' stays '+', as RFC 3986 has it).
 * ERR_INVALID: bad escape, NUL or control byte, not UTF-8. ERR_TOO_LARGE. `ret` is "" then. */
int http_percent_decode(struct http_text t, char *ret, size_t size);
/* All but unreserved characters escaped, so it fits a segment and a value alike. ERR_TOO_LARGE (or
 * out of memory). */
int http_percent_encode(const char *text, struct buf *out);

/* Value of `key` in the query part of a target. ERR_NOT_FOUND; ERR_INVALID when it stands twice or
 * does not decode; ERR_TOO_LARGE. */
int http_query_get(struct http_text target, const char *key, char *ret, size_t size);

#endif

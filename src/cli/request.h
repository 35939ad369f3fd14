/*
 * A request to the daemon, as bytes of HTTP/1.1 (RFC 9112). Pure; client.h sends it.
 */
#ifndef CLI_REQUEST_H
#define CLI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define REQUEST_QUERY_MAX 8
#define REQUEST_HEAD_MAX  (16 * 1024) /* what the API takes */

struct query {
    const char *key;   /* NULL ends the list */
    const char *value; /* NULL: left out */
};

struct request {
    const char *method;
    const char *path; /* as in the route table: "/v1/profiles/{name}/token" */
    const char *name; /* fills {name}; NULL when there is none */
    struct query query[REQUEST_QUERY_MAX + 1];
    const char *accept; /* ask.h fills it in */
    const void *body;   /* NULL: none */
    size_t body_len;
    bool is_secret;      /* the answer holds a token: kept in secret memory */
    bool is_stream;      /* the answer is lines that come as they happen */
    int64_t patience_ms; /* for the whole answer; 0: ANSWER_PATIENCE_MS. Streams have none */
};

/* Longer than the daemon lets any request wait, so that its own explanation arrives first. */
#define ANSWER_PATIENCE_MS (180 * 1000)

/* Everything but the unreserved characters of RFC 3986 becomes %XX. */
int percent_encode(struct buf *out, const char *text);

/* Head of the request, the empty line included. ERR_TOO_LARGE. */
int request_write(const struct request *r, struct buf *out);

#endif

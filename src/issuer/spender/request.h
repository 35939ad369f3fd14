/*
 * What is sent to a provider for a question: method, URL, header lines, body. Pure.
 */
#ifndef ISSUER_SPENDER_REQUEST_H
#define ISSUER_SPENDER_REQUEST_H

#include "base/buf.h"
#include "issuer/wire.h"

#define REQUEST_BODY_MAX    (64 * 1024)
#define REQUEST_HEADERS_MAX 6
#define REQUEST_TRIES_MAX   2 /* metadata stands in one of two well-known places */

struct request {
    bool is_post;
    char url[URL_MAX + 64];
    struct buf headers; /* secret; lines "Name: value", each NUL-terminated */
    struct buf body;    /* secret; empty for a GET */
};

void request_init(struct request *r);
void request_clear(struct request *r); /* wiped. NULL-tolerant */

/* `attempt` counts from 0; ERR_NOT_FOUND when there is no such attempt for the question.
 * ERR_INVALID: the definition has no such endpoint, its URL is not allowed, or the token cannot be
 * sent as it is (bytes that JSON or a header line cannot carry). ERR_NOMEM, ERR_TOO_LARGE. */
int request_build(const struct wire_question *q, int attempt, struct request *ret);

/* The header lines one after another: NULL to begin with; NULL past the end. */
const char *request_next_header(const struct request *r, const char *previous);

#endif

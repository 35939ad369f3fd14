/*
 * What a provider's answer means: from HTTP to words, in the spender (the only program that parses
 * providers' bytes), and its record form for spool and socket.
 *
 * RFC 6749 §5.1, §5.2, §6; RFC 9700 §4.14.2. The rule that matters: only what the definition lists
 * as final ends a grant; whatever else comes back after bytes were sent is doubt.
 */
#ifndef ISSUER_REPLY_H
#define ISSUER_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/tokens.h"
#include "base/words.h"
#include "issuer/provider.h"

#define REPLY_BODY_MAX    (128 * 1024)
#define REPLY_SUBJECT_MAX 256
#define REPLY_DETAIL_MAX  256
#define REPLY_RECORD_MAX  (64 * 1024)

/* What the HTTP client saw. */
struct http_outcome {
    bool sent;              /* at least one byte of the request may have left */
    int status;             /* 0: no complete head came */
    bool complete;          /* the whole body came */
    const char *failure;    /* the library's reason when not complete; "" */
    int64_t retry_after_ms; /* 0: none */
    int64_t server_wall_ms; /* Date; 0: none */
    const char *body;
    size_t body_len;
};

enum ask { ASK_SPEND, ASK_IDENTITY, ASK_USAGE, ASK_METADATA, ASK_COUNT };

struct reply {
    enum ask ask;
    enum verdict verdict;           /* SPEND */
    enum identity identity;         /* IDENTITY, USAGE */
    int http_status;
    char detail[REPLY_DETAIL_MAX];  /* for people and the ledger: "400 invalid_grant". Printable
                                       ASCII; never a token, never more of a body than a known
                                       error code and a cleaned error_description */
    int64_t retry_after_ms;
    int64_t server_wall_ms;
    int64_t received_wall_ms, received_boot_ms; /* filled in by the spender */
    struct tokens tokens;           /* SPEND granted; refresh none: the old one stays */
    int64_t life_ms;                /* 0: not said */
    int64_t login_deadline_ms;      /* from now; 0: not said */
    char subject[REPLY_SUBJECT_MAX];/* "" not said */
    char label[REPLY_SUBJECT_MAX];
    struct buf body;                /* METADATA: the document; USAGE: {"path": number, …} */
};
void reply_init(struct reply *r);
void reply_clear(struct reply *r); /* wiped; NULL-tolerant */

void reply_of_spend(const struct provider *p, const struct http_outcome *o, struct reply *ret);
void reply_of_identity(const struct provider *p, const struct http_outcome *o, struct reply *ret);
void reply_of_usage(const struct provider *p, const struct http_outcome *o, struct reply *ret);
void reply_of_metadata(const struct http_outcome *o, struct reply *ret);

int reply_encode(const struct reply *r, struct buf *out); /* secret buf */
int reply_decode(const void *bytes, size_t len, struct reply *ret);

/* `exp` of a JWT in Unix ms. A hint, never proof. ERR_INVALID. */
int jwt_expiry(const char *token, size_t len, int64_t *ret_wall_ms);

#endif

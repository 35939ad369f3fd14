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
#define REPLY_KEPT_MAX    (48 * 1024) /* of a metadata document; beyond: unanswered */
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
    enum verdict verdict;   /* SPEND */
    enum identity identity; /* the others; USAGE, METADATA: NAMED when `body` is there */
    int http_status;
    char detail[REPLY_DETAIL_MAX]; /* for people and the ledger: "400 invalid_grant". Printable
                                      ASCII; never a token, never more of a body than a known
                                      error code and a cleaned error_description */
    int64_t retry_after_ms;
    int64_t server_wall_ms;
    /* Filled in by the spender: when the answer was there, and when its request was about to leave
     * (0: nothing left). The server commits at some moment between the two, and may take its time
     * to say so: a life that the answer tells counts from the sending. */
    int64_t received_wall_ms, received_boot_ms, sent_boot_ms;
    struct tokens tokens;            /* SPEND granted; refresh none: the old one stays */
    int64_t life_ms;                 /* from sent_boot_ms on; 0: not said */
    int64_t login_deadline_ms;       /* likewise */
    char subject[REPLY_SUBJECT_MAX]; /* "" not said; it and `label` hold no token */
    char label[REPLY_SUBJECT_MAX];
    struct buf body; /* METADATA: the document; USAGE: {"path": number, …} */
};
void reply_init(struct reply *r);
void reply_clear(struct reply *r); /* wiped; NULL-tolerant */

/* The verdict, row by row; the first that fits decides.
 *   nothing left the machine                         UNSENT
 *   no complete head came                            DOUBT
 *   2xx, a JSON object with an access_token          GRANTED, unless a token is unusable (bytes
 *                                                    that cannot be sent, too long, mixed-up by
 *                                                    prefix): DOUBT. `complete` is not asked for:
 *                                                    JSON that is cut does not parse, and a pair
 *                                                    that has arrived must not be lost
 *   429                                              THROTTLED
 *   complete, 4xx but 408 and 425, or 2xx, with an
 *     error code in final_errors                     REFUSED
 *   complete, with a code in uncommitted_answers     UNCOMMITTED
 *   status in uncommitted_answers                    UNCOMMITTED
 *   everything else: torn, HTML, 3xx, 408, 5xx …     DOUBT
 * The error code is looked for in `error`, error.code, error.type and `code`, in this order, and
 * the first one that is listed decides.
 * ERR_NOMEM: there was no memory to read the body. *ret is what the table says without it; read
 * again when there is, it may be a pair. */
int reply_of_spend(const struct provider *p, const struct http_outcome *o, struct reply *ret);
/* NAMED: 2xx and every one of subject_paths is there. EXPIRED, REVOKED, SCOPE: a 401 or 403 that
 * says so in one of the known dialects (reply_ask.c). UNANSWERED: anything else, and a subject that
 * holds `presented`, the access token that was shown, or begins like a token: it would be logged.
 */
void reply_of_identity(const struct provider *p, const struct http_outcome *o,
                       const struct secret *presented, struct reply *ret);
void reply_of_usage(const struct provider *p, const struct http_outcome *o, struct reply *ret);
void reply_of_metadata(const struct http_outcome *o, struct reply *ret);

/* When the request left, by the server's clock; by ours where no Date came. */
int64_t reply_sent_wall(const struct reply *r);
/* The server's clock at `now_boot_ms`, at the latest, when that is of the boot in which the answer
 * came; 0: not known. */
int64_t reply_server_now(const struct reply *r, bool same_boot, int64_t now_boot_ms);

/* Encode what a reply_of_ function left. Decode overwrites *ret (nothing in it is released) and
 * refuses what could not have been encoded: ERR_INVALID, ERR_TOO_LARGE. */
int reply_encode(const struct reply *r, struct buf *out); /* secret buf */
int reply_decode(const void *bytes, size_t len, struct reply *ret);

#endif

/*
 * What the daemon and the spender say to each other: one message a packet (sys/process.h), each a
 * record (base/record.h). Pure functions on bytes; a decoder takes nothing for granted, because
 * either end may be the one that was broken into.
 *
 *   spender → daemon   HELLO      once, first: who it is, and how well it is shut in
 *   daemon → spender   QUESTION   with the spool's descriptor when it is a spend
 *   spender → daemon   ANSWER     exactly one for each question
 *
 * There is no good-bye. Only the daemon ends an idle spender, by closing the socket, and it alone
 * knows whether a question is under way: so no question can meet a spender that is just leaving.
 *
 * Unknown fields are skipped: an old daemon may start a newer spender after an upgrade.
 */
#ifndef ISSUER_WIRE_H
#define ISSUER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/tokens.h"
#include "issuer/provider.h"
#include "issuer/reply.h"

#define WIRE_QUESTIONS_MAX   256 /* in the hands of one spender */
#define WIRE_DEADLINE_MAX_MS (10 * INT64_C(60000))
#define INTENT_SECRET_LEN    32
#define BOX_PUBLIC_LEN       32
#define SEALED_ANSWER_MAX    (REPLY_RECORD_MAX + 256)
/* The largest question: the provider's strings, a token, a scope. */
#define WIRE_QUESTION_MAX (64 * 1024)

enum wire_kind { WIRE_HELLO = 1, WIRE_QUESTION, WIRE_ANSWER };

/* ERR_INVALID when it is no message of ours. */
int wire_kind_of(const void *bytes, size_t len, enum wire_kind *ret);

/* How the spender is shut in. */
struct sandbox_facts {
    bool seccomp;
    int landlock_abi; /* 0: this kernel has none */
};

struct wire_hello {
    char version[32];
    struct sandbox_facts sandbox;
};
int wire_hello_encode(const struct wire_hello *h, struct buf *out);
int wire_hello_decode(const void *bytes, size_t len, struct wire_hello *ret);

struct wire_question {
    uint64_t id; /* never 0; the answer echoes it */
    enum ask ask;
    int64_t deadline_ms;             /* from receipt; 1 … WIRE_DEADLINE_MAX_MS */
    const struct provider *provider; /* of metadata, only `issuer` travels */
    struct secret token;             /* what is presented; none for metadata */
    /* Spends only. */
    char scope[SCOPE_MAX];
    uint8_t secret[INTENT_SECRET_LEN];
    uint8_t box_public[BOX_PUBLIC_LEN];
};
int wire_question_encode(const struct wire_question *q, struct buf *out); /* secret buf */
/* Fills `*ret_provider` (also, in part, on failure) and points `ret->provider` at it. `*ret` is
 * untouched on failure; its token is replaced on success. ERR_INVALID, ERR_TOO_LARGE, ERR_NOMEM. */
int wire_question_decode(const void *bytes, size_t len, struct provider *ret_provider,
                         struct wire_question *ret);
void wire_question_clear(struct wire_question *q); /* wiped. NULL-tolerant */

/* The answer to a spend carries nothing: it lies in the spool. Only when the spool cannot be
 * written (a failing disk) does it carry the sealed answer itself, `rescued`. Other answers carry a
 * reply's record. What is decoded points into the message. */
struct wire_answer {
    uint64_t id;
    enum ask ask;
    const uint8_t *reply; /* NULL for a spend, never NULL otherwise */
    size_t reply_len;
    const uint8_t *rescued; /* NULL unless a spend */
    size_t rescued_len;
};
int wire_answer_encode(const struct wire_answer *a, struct buf *out); /* secret buf */
int wire_answer_decode(const void *bytes, size_t len, struct wire_answer *ret);

/* The plaintext inside the sealed box of a spend's answer: the intent's secret, and the reply. */
int sealed_answer_encode(const uint8_t secret[INTENT_SECRET_LEN], const struct reply *r,
                         struct buf *out); /* secret buf */
/* ERR_CORRUPT when it was not written for the intent of this secret: an answer out of a stolen or
 * swapped file. ERR_INVALID, ERR_NOMEM. */
int sealed_answer_decode(const void *bytes, size_t len, const uint8_t secret[INTENT_SECRET_LEN],
                         struct reply *ret);

#endif

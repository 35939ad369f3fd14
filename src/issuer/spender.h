/*
 * The daemon's end of the spender: starts it on demand, hands it questions, reports answers.
 *
 * The spender is a program of its own (issuer/spender/): it gets one SOCK_SEQPACKET socket as
 * descriptor 3, an environment of proxy, CA and locale variables only, and a sandbox. It exits when
 * idle for `idle_ms`, or, when the daemon is gone, once what it has in flight is done. Each question
 * is answered once; a spender that dies answers all of its open questions: a spend by what its
 * spool says (the caller reads it), others as unanswered.
 */
#ifndef ISSUER_SPENDER_H
#define ISSUER_SPENDER_H

#include <uv.h>

#include "base/err.h"
#include "issuer/provider.h"
#include "issuer/reply.h"

#define SPENDER_QUESTIONS_MAX 256 /* in flight; beyond: ERR_BUSY */

struct spender;

struct spender_options {
    const char *program;      /* path of credwarden-spender */
    int64_t idle_ms;          /* exits after this long without a question */
    int64_t deadline_ms;      /* for a spend's answer */
    int64_t ask_deadline_ms;  /* for other answers */
    const uint8_t *box_public;/* vault_box_public() */
    int verbosity;
};

int spender_init(uv_loop_t *loop, const struct spender_options *o, struct spender **ret);
/* Closes the socket; the process finishes what it has in flight on its own. NULL-tolerant. */
void spender_free(struct spender *s);

/* A spend. Takes over `spool_fd` (closed on every path). `secret` is the intent's. The answer is in
 * the spool, sealed; the callback only says that it is there to read, or that the process is gone
 * (also then: read the spool). Not called when this returns an error: nothing was sent. */
struct spend_order {
    uint64_t intent;
    const struct provider *provider;
    const struct secret *refresh;
    const char *scope;        /* as granted; "" the definition's */
    const uint8_t *secret;    /* 32 bytes */
    int spool_fd;
};
typedef void (*spend_done)(void *ctx, uint64_t intent);
int spender_spend(struct spender *s, const struct spend_order *o, spend_done done, void *ctx);

/* Identity, usage (access token), metadata (issuer URL, no token). `reply` is valid during the
 * callback; an unanswered question has identity IDENTITY_UNANSWERED. */
typedef void (*ask_done)(void *ctx, uint64_t id, const struct reply *reply);
int spender_ask(struct spender *s, enum ask what, uint64_t id, const struct provider *provider,
                const struct secret *access, ask_done done, void *ctx);

int spender_in_flight(const struct spender *s);

#endif

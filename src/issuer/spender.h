/*
 * The daemon's end of the spender: starts it on demand, hands it questions, reports answers.
 *
 * The spender is a program of its own (issuer/spender/): it gets one SOCK_SEQPACKET socket as
 * descriptor 3, an environment of proxy, CA and locale variables only, and a sandbox. It is sent
 * away when it had nothing to do for `idle_ms`, by closing the socket: the one who asks is the one
 * who ends, so no question meets a spender that is just leaving. When the daemon is gone, it exits
 * once the spends it has in hand are done. Told to stop (SIGTERM), it takes no more questions; a
 * new one takes its place.
 *
 * Each question is answered once, from the loop, never from within the call that asked. A spender
 * that dies answers all of its open questions: a spend by what its spool says (the caller reads it:
 * PREPARED when the question never reached the network), others as unanswered. One that ends before
 * it is ready (it says so when its sandbox stands) is told from one that ends at work.
 *
 * A spender that answers a question neither in its time nor SPENDER_MARGIN_MS later (stopped, or
 * stuck) is given nothing more; another takes its place, and what has not been sent yet. Of what it
 * was sent, the asks are reported as unanswered, and spends as far as `take_back` can take them
 * back. The others stay open: the answer may still come, and is heard when it does. With no spend
 * in hand it is ended.
 */
#ifndef ISSUER_SPENDER_H
#define ISSUER_SPENDER_H

#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "issuer/provider.h"
#include "issuer/reply.h"
#include "issuer/wire.h"

#define SPENDER_QUESTIONS_MAX WIRE_QUESTIONS_MAX  /* in flight at once; beyond: ERR_BUSY */
#define SPENDER_MARGIN_MS     (3 * INT64_C(1000)) /* for sealing, syncing, a busy machine */
#define SPENDER_AGAIN_MS      INT64_C(1000) /* until a spend is asked about again: take_back */

struct spender;

struct spender_options {
    const char *program;       /* path of credwarden-spender */
    int64_t idle_ms;           /* sent away after this long without a question */
    int64_t deadline_ms;       /* for a spend's answer */
    int64_t ask_deadline_ms;   /* for other answers */
    int64_t margin_ms;         /* beyond either, for the answer to get here */
    const uint8_t *box_public; /* vault_box_public(); copied */
    /* A spender has had the spend in hand for too long. 0: it can send nothing any more, or its
     * outcome is there, and spend_done follows. ERR_LOCKED, or NULL: it stays open. Any other
     * error: it stays open as well, and is asked about again after SPENDER_AGAIN_MS. Must not ask.
     */
    int (*take_back)(void *ctx, uint64_t intent);
    void *ctx;
    int verbosity; /* above 0: it tells its progress on standard error, no token */
};

/* Starts nothing yet. ERR_NOMEM, ERR_INVALID (a deadline out of the bounds of issuer/wire.h). */
int spender_init(uv_loop_t *loop, const struct spender_options *o, struct spender **ret);
/* Other times from now on; nothing else in `o` is looked at. What was asked before keeps its
 * deadline. ERR_INVALID, as above: they stay as they were. */
int spender_set_times(struct spender *s, const struct spender_options *o);
/* Closes the socket; the process finishes what it has in flight on its own. No callback comes any
 * more; the loop must run once more. Not from within a callback. NULL-tolerant. */
void spender_free(struct spender *s);

/* A spend. Takes over `spool_fd` (closed on every path). `secret` is the intent's. The answer is in
 * the spool, sealed; the callback only says that it is there to read, or that the process is gone
 * (also then: read the spool). Not called when this returns an error: nothing was sent. ERR_BUSY,
 * ERR_INVALID (the definition), ERR_TOO_LARGE, or why the program cannot be started. */
struct spend_order {
    uint64_t intent; /* handed back */
    const struct provider *provider;
    const struct secret *refresh;
    const char *scope;     /* as granted; "" the definition's */
    const uint8_t *secret; /* 32 bytes */
    int spool_fd;
};
typedef void (*spend_done)(void *ctx, uint64_t intent);
int spender_spend(struct spender *s, const struct spend_order *o, spend_done done, void *ctx);

/* The last way out when the spool cannot be written (a failing disk): the sealed answer itself,
 * valid during spend_done, NULL otherwise. It is durable nowhere until it is settled. */
const uint8_t *spender_rescued(const struct spender *s, size_t *ret_len);

/* Why a spend was given up here (its process ended or is stuck), valid during spend_done; "" when
 * it was answered. What became of it stands in the spool all the same. */
const char *spender_why(const struct spender *s);

/* Identity, usage (access token), metadata (no token; only provider->issuer is looked at). `reply`
 * is valid during the callback; an unanswered question has identity IDENTITY_UNANSWERED. */
typedef void (*ask_done)(void *ctx, uint64_t id, const struct reply *reply);
int spender_ask(struct spender *s, enum ask what, uint64_t id, const struct provider *provider,
                const struct secret *access, ask_done done, void *ctx);

int spender_in_flight(const struct spender *s);

/* How the last spender that reported is shut in, for `status`: "seccomp, Landlock 6"; "" before. */
const char *spender_sandbox_text(const struct spender *s);

/* The process that takes questions now; 0: none. */
pid_t spender_pid(const struct spender *s);

#endif

/*
 * The core: decides everything about every lineage. Pure: no I/O, no clock, no allocation, no
 * globals, no randomness but its own seeded generator. It sees fingerprints, never tokens. The
 * daemon and the simulator run this same code.
 *
 *     warden_step(w, event, out)   one fact in, a few imperatives out
 *     warden_deadline(w)           when to come back with EV_TIMER
 *     warden_check(w)              every invariant; stops the program when one is broken
 *
 * The promises, and how the protocol of events and effects keeps them:
 *
 *   - An effect that needs something durable is emitted only by the step that handles the event
 *     saying it is durable. So: FX_SPEND follows EV_INTENT_DURABLE, FX_ANSWER with a new pair
 *     follows EV_SETTLED. The effects of one step are independent; perform them in any order.
 *   - Each FX_… that asks for something is answered by exactly one event (or by a restart). The
 *     pairs are listed at the effects.
 *   - Failures are events. warden_step never fails.
 *
 * Besides lineages the core knows *consumers* (places where others find a copy: a replica is
 * written by them too, a sink by us alone) and *captures* (pairs found in a replica: sealed and
 * durable, not yet believed). What a consumer's place holds is known by reading it and by our own
 * writes; every write of a replica is a compare-and-swap on that, under the client's own locks.
 *
 * Time: enters with each event, once. Life is counted on the boot clock; wall time (corrected by
 * the server's Date where one was heard) is only used for pairs that come from an earlier boot. A
 * clock jump alone never causes a spend.
 */
#ifndef CORE_WARDEN_H
#define CORE_WARDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "base/words.h"

#define WAITERS_PER_LINEAGE_MAX   128
#define CAPTURES_PER_CONSUMER     2
#define CONSUMERS_PER_LINEAGE_MAX 16
#define CAPTURES_PER_LINEAGE_MAX  8
#define EFFECTS_MAX               192
#define RENEW_COALESCE_MS         2000 /* or a quarter of the pair's life, if that is less */

/* What the core must know of a provider; pinned to the lineage when it is loaded. */
struct rules {
    int64_t skew_ms;           /* an access token is over this long before its expiry */
    bool rotates;              /* refresh tokens are single use */
    int64_t reuse_grace_ms;    /* a spent token may be presented again this long; 0: never */
    bool refresh_kills_access; /* a spend ends the previous access token at once */
    bool has_identity;         /* the server can be asked who a token is */
    int64_t spend_deadline_ms; /* the spender gives up on an answer after this long */
};

/* A lineage as the store has it. An unproven one of generation 1 is an `add` that a crash cut
 * short: it is retired, the user still has the file; unless it was presented and is in doubt, for
 * then the file is of no use any more and we go on. */
struct loaded {
    struct rules rules;
    enum policy policy;
    enum standing standing;
    bool unproven;      /* no profile points at it yet */
    struct fp subject;  /* none: not known */
    uint64_t continues; /* unproven: lineage of the profile it shall continue; 0: none */
    struct pair pair;
    int64_t expires_boot_ms; /* as counted in this same boot; 0: another boot, use wall */
    uint64_t generation;
    uint64_t fence;
    int64_t held_until_wall_ms;  /* last pair published to a consumer lasts until then; 0: none */
    int64_t doubt_since_wall_ms; /* DOUBT; QUARANTINED: it was set aside in doubt; else 0 */
    uint64_t doubt;              /* standing DOUBT: the intent that was closed so; 0: not known */
    bool replayed;               /* the one more presentation has been used */
    bool given_away;             /* EV_UNBOUND's case, and the refresh token is still the same */
    uint64_t intent;             /* open intent: its answer is being recovered; 0: none */
    bool intent_is_replay;
    bool intent_elsewhere; /* another warden of the fleet opened it: its answer is not ours to hear.
                              EV_ANSWER in doubt comes when it can no longer be under way */
    bool restored;         /* the store is older than its high-water mark */
    int64_t restored_wall_ms; /* when an older copy was last taken for the store; 0: never */
    int64_t restored_boot_ms; /* as counted in this same boot; 0: another boot, use wall */
    bool claimed;    /* unproven: came by FX_CLAIM, so it may be nowhere else: never dropped */
    bool kept;       /* unproven: was set aside before, likewise: goes back there if refused */
    bool shared;     /* a replica of it is bound: EV_BOUND follows */
    uint32_t alarms; /* bit per enum alarm: raised and not cleared */
};

enum event_kind {
    EV_TIMER,          /* warden_deadline() has come */
    EV_LOADED,         /* at start: a lineage from the store */
    EV_ADDED,          /* a pair from outside is captured (sealed, durable) as a new lineage. Also
                          the answer to FX_CLAIM (`capture`) */
    EV_CLAIMED,        /* a quarantined lineage is an `add` again: durable. As EV_ADDED, without
                          rules and pair */
    EV_IDENTITY,       /* answer to FX_ASK_IDENTITY */
    EV_ADOPTED,        /* answer to FX_ADOPT: durable */
    EV_LEASED,         /* answer to FX_LEASE: fence, lease_until; or refused (fence 0) */
    EV_INTENT_DURABLE, /* answer to FX_STORE_INTENT: durable, room for the answer reserved */
    EV_ANSWER,         /* answer to FX_SPEND, or a recovered intent's: verdict (+ pair) */
    EV_SETTLED,        /* answer to FX_SETTLE: new pair and closed intent durable */
    EV_CLOSED,         /* answer to FX_CLOSE_INTENT: outcome durable */
    EV_STORE_FAILED,   /* answer to FX_STORE_INTENT, _SETTLE, _CLOSE_INTENT, _ADOPT, _RETIRE,
                          _QUARANTINE, _CLAIM instead of the above: nothing of it is durable */
    EV_PROBED,         /* answer to FX_PROBE: does the access token still work? */
    EV_WANT,           /* a caller wants a token (or, renew: a fresh one) */
    EV_UNWANT,         /* that caller is gone */
    EV_POLICY,         /* the user changed the policy; durable */
    EV_REMOVE,         /* the user ends the lineage */
    EV_RETIRED,        /* answer to FX_RETIRE: durable */
    EV_OVERTAKEN,      /* the store holds something newer than we act on: what was found. Unasked,
                          or the answer to FX_STORE_INTENT, _SETTLE, _CLOSE_INTENT, FX_CLAIM, or to
                          FX_ADOPT of a capture */
    EV_BOUND,          /* at start, or the user's wish, durable: a consumer of this lineage; one
                          that is known already was another's, and is this one's from now on. What
                          was ordered for it is void: it is not answered any more */
    EV_UNBOUND,   /* no longer. Should the refresh token stand there, no other place is given it
                     before it has been replaced (stored: `given_away`) */
    EV_OBSERVED,  /* a replica was read: answer to FX_READ; to FX_PUBLISH when something else
                     than expected is there; unasked when its watch saw a change (looked at once
                     more, should it not have been sealed); at start for a capture that the store
                     has (`from_store`). One look or write of a place at a time: what is heard of
                     it comes in their order */
    EV_PUBLISHED, /* answer to FX_PUBLISH: durable there. Without a consumer: a copy of the
                     current pair was handed to somebody we do not know */
    EV_CONSUMER_FAILED, /* answer to FX_READ, FX_PUBLISH: not done (locked, unreadable, full) */
    EV_QUARANTINED,     /* answer to FX_QUARANTINE: durable. Its own EV_LOADED comes apart */
    EV_STOP,            /* the daemon goes down: begin nothing new */
    EV_COUNT
};

struct event {
    enum event_kind kind;
    struct now now;
    uint64_t lineage;  /* id; 0 where the event has none (TIMER, UNWANT, STOP, and all that
                          name a consumer, but BOUND) */
    uint64_t consumer; /* BOUND, UNBOUND, OBSERVED, PUBLISHED, CONSUMER_FAILED */
    uint64_t capture;  /* OBSERVED: the bytes are stored under this id (the same again when they
                          were already); 0: they are a pair of a lineage, now or (`spent`) once.
                          Echo of the effect's: IDENTITY, ADOPTED, QUARANTINED, ADDED, OVERTAKEN,
                          STORE_FAILED; 0 there: not about one */
    uint64_t intent; /* INTENT_DURABLE, ANSWER, SETTLED, CLOSED, STORE_FAILED: echo of the effect's;
                        OVERTAKEN: echo of the refused effect's; 0: unasked */
    uint64_t generation;    /* IDENTITY, PROBED: echo of the effect's: which pair was asked about */
    int64_t server_wall_ms; /* the server's clock by now, from its Date; 0: not known. ANSWER,
                               IDENTITY, PROBED */
    int64_t retry_after_ms; /* ANSWER, IDENTITY, PROBED: Retry-After; 0: none */
    uint64_t waiter;        /* WANT, UNWANT, ADDED, CLAIMED, REMOVE; 0: nobody waits */
    union {
        struct loaded loaded; /* LOADED, OVERTAKEN */
        struct {
            bool replica;   /* others write it too; else a sink */
            bool with_pair; /* a replica that may be given the refresh token, if no other of the
                               lineage is. Of a fleet: on one machine only, which the store has to
                               see to, for a warden knows no place of another machine */
            enum wish wish; /* of its user, not yet done; see warden_view_place() */
        } bound;
        struct {
            enum seen what;
            struct pair pair; /* SEEN_PAIR; refresh none: an access token alone */
            bool spent;       /* the ledger knows it as a former pair of ours, or as the last one
                                 of a lineage that was ended */
            bool asked;       /* the answer to FX_READ or FX_PUBLISH */
            bool from_store;  /* a capture of an earlier run; may not be there any more */
        } observed;
        struct pair published; /* PUBLISHED with a consumer: what is there now */
        struct {
            struct rules rules;
            enum policy policy;
            struct pair pair;
            uint64_t continues;       /* lineage of the profile being continued; 0: a new profile */
            bool held_elsewhere;      /* another program has this file too: held until the
                                         access token's end */
            int64_t deadline_boot_ms; /* the caller's patience */
        } added;                      /* ADDED, CLAIMED */
        struct {
            enum identity what;
            struct fp subject; /* NAMED */
        } identity;
        struct {
            uint64_t fence; /* 0: refused */
            int64_t until_boot_ms;
        } lease;
        struct {
            enum verdict verdict;
            struct pair pair;        /* GRANTED. refresh is the old one's when the answer kept it */
            struct fp subject;       /* GRANTED: subject named in the answer; none: not said */
            int64_t expires_boot_ms; /* GRANTED: by the boot clock at arrival; 0: use wall */
            bool recovered;          /* found in the spool after a restart */
            int64_t begun_boot_ms; /* recovered, DOUBT: nothing was sent before; 0: another boot's,
                                      or not known */
        } answer;
        struct {
            enum identity what; /* NAMED or SCOPE: it works */
        } probe;
        struct {
            int64_t ttl_min_ms;       /* < 0: not said, the core's own measure */
            int64_t deadline_boot_ms; /* the caller's patience */
            bool renew;               /* a pair obtained after this request came, or at most
                                         RENEW_COALESCE_MS before */
        } want;
        enum policy policy; /* POLICY */
        int err;            /* STORE_FAILED: enum err */
    };
};

enum effect_kind {
    FX_LEASE,        /* → EV_LEASED */
    FX_UNLEASE,      /* give the lease back. No answer */
    FX_STORE_INTENT, /* → EV_INTENT_DURABLE | EV_OVERTAKEN | EV_STORE_FAILED. Refused where the row
                        has a later fence or generation, an open intent, or another standing than
                        DOUBT (this very one, not replayed) for a replay and LIVE or UNPROVEN for
                        any other; or DOUBT, where nobody else writes there: FX_RESOLVE may have
                        failed */
    FX_SPEND,        /* → EV_ANSWER. Exactly the token fingerprinted; fence goes along */
    FX_SETTLE, /* → EV_SETTLED | EV_OVERTAKEN | EV_STORE_FAILED. One transaction: pair, intent,
                  ledger. `late`: the intent was closed meanwhile. Then it is refused where the
                  ledger knows the pair's refresh token as refused: not single use, it is no
                  news */
    FX_CLOSE_INTENT, /* → EV_CLOSED | EV_STORE_FAILED. Outcome without a pair; new standing */
    FX_ASK_IDENTITY, /* → EV_IDENTITY. Of the lineage's access token, or of the capture's */
    FX_PROBE,        /* → EV_PROBED */
    FX_ADOPT,        /* → EV_ADOPTED | EV_STORE_FAILED. UNPROVEN → `standing` with this subject;
                        LIVE: the profile points here from now on; QUARANTINED: no profile does,
                        and of one in doubt is kept since when: EV_CLAIMED has it in doubt again.
                        With a capture: that pair is the lineage's current one from now on, as
                        `generation`, and held until its access token's end and the skew; → EV_ADOPTED |
                      EV_OVERTAKEN | EV_STORE_FAILED */
    FX_QUARANTINE, /* → EV_QUARANTINED | EV_STORE_FAILED. The capture becomes a lineage of its own,
                      sealed and unused, with this subject (none: not known). Where a
                      lineage has its refresh token already (another warden's), none is made, and
                      that one is told of, if it was not (an unproven one: once it is adopted) */
    FX_CLAIM,      /* → EV_ADDED | EV_OVERTAKEN | EV_STORE_FAILED. The capture becomes an unproven
                      lineage that continues this one; ERR_EXISTS: another one is to have its
                      name. This, and ADOPT of a capture, is refused
                      where the ledger knows its refresh token as spent, refused, or presented
                      and lost, or as another lineage's */
    FX_DROP,       /* the capture is not needed: wiped when convenient, and its id not told again
                      (should the same be found once more, it gets another). Or (intent): the answer of
                      that overtaken intent. No answer */
    FX_READ,       /* → EV_OBSERVED | EV_CONSUMER_FAILED. Under the client's locks */
    FX_PUBLISH,    /* → EV_PUBLISHED | EV_OBSERVED | EV_CONSUMER_FAILED. Under the client's locks,
                      a replica only if `expected` is what is there. Exactly `pair`: without a
                      refresh token none may be left there */
    FX_RETIRE,     /* → EV_RETIRED | EV_STORE_FAILED. Bytes wiped, ledger kept */
    FX_RESOLVE,    /* a doubt was groundless: `standing` from now on. Durable when convenient;
                      lost, the next start doubts again. Of no effect when the row is not in that
                      doubt any more. No answer */
    FX_ANSWER,     /* tell a waiter. No answer */
    FX_ALARM_RAISE, /* durable when convenient. No answer */
    FX_ALARM_CLEAR, /* same */
    FX_COUNT
};

struct effect {
    enum effect_kind kind;
    uint64_t lineage;
    uint64_t intent;         /* STORE_INTENT, SPEND, SETTLE, CLOSE_INTENT */
    uint64_t fence;          /* STORE_INTENT, SPEND, SETTLE, CLOSE_INTENT */
    uint64_t generation;     /* SETTLE, ADOPT of a capture: of the new pair; STORE_INTENT, SPEND,
                                PUBLISH, ASK_IDENTITY, PROBE: of the one at hand */
    uint64_t waiter;         /* ANSWER */
    enum answer answer;      /* ANSWER */
    int64_t retry_after_ms;  /* ANSWER: when asking again may help; 0: not known */
    int64_t limit_ms;        /* ANSWER_TOO_LONG: the most that can be had */
    enum alarm alarm;        /* ALARM_* */
    enum verdict verdict;    /* CLOSE_INTENT */
    enum standing standing;  /* SETTLE, CLOSE_INTENT, ADOPT: the lineage's from then on */
    enum origin origin;      /* SETTLE */
    bool replay;             /* STORE_INTENT, SPEND: the one more presentation in doubt */
    bool replayed;           /* CLOSE_INTENT: it has been used */
    bool late;               /* SETTLE: the intent was closed in doubt by another warden of the
                                fleet; stands if no intent is open and no later pair is there */
    uint64_t doubt;          /* STORE_INTENT of a replay, RESOLVE: the intent that was closed in
                                doubt: no other doubt is meant. 0: not known */
    uint64_t continues;      /* ADOPT, not of a capture: the lineage whose profile it takes over; 0:
                                none */
    uint64_t consumer;       /* READ, PUBLISH */
    uint64_t capture;        /* ADOPT, ASK_IDENTITY, QUARANTINE, CLAIM, DROP */
    struct fp presented;     /* STORE_INTENT, SPEND: fingerprint of the refresh token */
    struct fp subject;       /* ADOPT, QUARANTINE */
    struct pair pair;        /* SETTLE, PUBLISH, ADOPT of a capture */
    enum seen expected_what; /* PUBLISH: what must be there, else it is not written … */
    struct pair expected;    /* … and which pair, where it is one */
    int64_t expires_boot_ms; /* SETTLE: of the new pair, this boot's clock; TIME_NEVER */
};

struct effects {
    size_t n;
    struct effect list[EFFECTS_MAX];
};

struct warden_limits {
    uint32_t lineages; /* at most this many at once: leave room for what FX_QUARANTINE and FX_CLAIM
                          make, each is a lineage of its own. Without room an `add` is turned down,
                          a claim waits, and an EV_LOADED is a mistake of the caller */
    uint32_t waiters;  /* in all; each lineage takes WAITERS_PER_LINEAGE_MAX at most */
    uint32_t consumers;
    uint32_t captures; /* CAPTURES_PER_CONSUMER for each: then no find goes into quarantine unasked
                          because of others, and a lineage in whose place it stands is not spent
                          before it is known whose it is */
};

struct warden;

size_t warden_size(const struct warden_limits *limits);

/* Build a warden in `memory` (warden_size() bytes, aligned for anything, zeroed). */
struct warden *warden_init(void *memory, const struct warden_limits *limits, uint64_t seed);

/* Handle one event. `out` is overwritten. When more work is due than fits EFFECTS_MAX,
 * warden_deadline() is already past and EV_TIMER brings the rest. */
void warden_step(struct warden *w, const struct event *ev, struct effects *out);

/* Boot clock, ms; TIME_NEVER when nothing is owed. */
int64_t warden_deadline(const struct warden *w);

void warden_check(const struct warden *w);

/* Is it of a store that may be older than the last spend of it? Then it is in doubt, in the store,
 * too, before anything else is done (FX_STORE_INTENT). */
bool loaded_may_be_outdated(const struct loaded *from);

/* One bit per state (in the order of the state names) that the lineage is in now, for coverage; 0:
 * none such. */
uint32_t warden_state_bit(const struct warden *w, uint64_t lineage);
const char *warden_state_name(unsigned index); /* NULL: no such state */

/* A spend or its settlement is under way: the daemon must not exit yet. */
bool warden_is_busy(const struct warden *w);

/* What `status` shows. */
struct view {
    uint64_t id;
    const char *state; /* the core's own state name */
    enum standing standing;
    enum policy policy;
    struct pair pair;
    struct fp subject;
    uint64_t generation;
    int64_t left_ms;             /* of the access token; TIME_NEVER: no expiry known */
    int64_t next_spend_boot_ms;  /* when the core means to spend; TIME_NEVER: never */
    int64_t doubt_since_boot_ms; /* 0: not in doubt */
    uint32_t tries;              /* failed attempts since the last success */
    uint32_t waiters;
    uint32_t alarms;
    bool in_flight;
};

bool warden_view(const struct warden *w, uint64_t lineage, struct now now, struct view *ret);

/* What `consumers` shows, and what the daemon notes: a place as the core knows it. */
struct place_view {
    uint64_t lineage;
    bool known;          /* it was read or written since it was bound, and could be understood */
    enum seen what;      /* … and this stood there */
    struct pair there;   /* SEEN_PAIR */
    bool is_in_step;     /* what stands there is what should */
    bool is_left_alone;  /* it is not ours to write: somebody else, or nobody, is signed in */
    bool is_being_asked; /* whose that is, is not known yet */
    enum wish wish;      /* WISH_NONE: it is done, or was never there */
    uint32_t tries;      /* since it could last be read or written */
};
bool warden_view_place(const struct warden *w, uint64_t consumer, struct place_view *ret);

/* Should this consumer be unbound now: may the current refresh token of that lineage stand there?
 * To be stored together with the end of the binding (`given_away`). */
bool warden_gives_away(const struct warden *w, uint64_t consumer, uint64_t lineage);

const char *event_name(enum event_kind kind);
const char *effect_name(enum effect_kind kind);

#endif

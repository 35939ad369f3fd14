/*
 * The core's own shapes. Private to src/core.
 *
 * A lineage is always in one state. States that wait for an event ("in flight") leave only by that
 * event; states at rest act when owes() says so. The invariants, as warden_check() holds them:
 *
 *   1. An intent is open exactly in INTENDING, SPENDING, SETTLING and CLOSING.
 *   2. A token is presented (SPENDING) only under a lease whose fence the intent carries, and a
 *      lineage has at most one intent: single flight.
 *   3. In DOUBT and PROBING the standing is DOUBT, and the one more presentation is unused.
 *   4. DEAD, QUARANTINED and RETIRING lineages have no intent and are never due.
 *   5. Each waiter belongs to a used lineage that could still serve it, and no lineage has more
 *      than WAITERS_PER_LINEAGE_MAX; add and remove wait apart (one each).
 *   6. A lineage that was proven keeps its subject for ever.
 *   7. The generation never goes down.
 *   8. Raised alarms agree with the state: DEAD has ALARM_DEAD, DOUBT and PROBING have ALARM_DOUBT.
 */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "base/check.h"
#include "core/warden.h"

enum state {
    LS_FREE,        /* the slot is unused */
    LS_UNPROVEN,    /* rest: captured, subject not named */
    LS_ASKING,      /* identity asked */
    LS_ADOPTING,    /* subject known, adoption on its way to disk */
    LS_LIVE,        /* rest: the current pair is believed */
    LS_LEASING,     /* the right to spend is asked for */
    LS_INTENDING,   /* intent on its way to disk */
    LS_SPENDING,    /* presented (or: a recovered intent), answer awaited */
    LS_SETTLING,    /* a new pair is on its way to disk */
    LS_CLOSING,     /* an outcome without a pair is on its way to disk */
    LS_DOUBT,       /* rest: an answer was lost */
    LS_PROBING,     /* doubt; asking whether the old access token works */
    LS_DEAD,        /* rest: sign in again */
    LS_QUARANTINED, /* rest: kept, never used */
    LS_RETIRING,    /* the end is on its way to disk */
    LS_COUNT
};

/* What a lineage in flight waits to make durable or to hear; kept so that a failed write can be
 * repeated word for word. */
struct pending {
    enum verdict verdict;
    enum standing standing;  /* the lineage's, once this is durable */
    struct pair pair;        /* SETTLING */
    int64_t expires_boot_ms; /* SETTLING */
    enum origin origin;      /* SETTLING */
    int64_t retry_after_ms;
    bool foreign; /* SETTLING: the answer names another subject */
};

struct lineage {
    uint64_t id;
    enum state state;
    enum state rest;        /* RETIRING: where to go back if it cannot be stored */
    enum standing standing; /* as stored */
    bool unproven;          /* no profile points here yet: the subject is still to be named */
    struct rules rules;
    enum policy policy;
    struct fp subject;  /* none: not known */
    uint64_t continues; /* unproven: the lineage whose profile it shall take; 0: none */
    struct fp named;    /* ADOPTING: what the server said */

    struct pair pair;
    int64_t expires_boot_ms; /* TIME_NEVER: not known or never */
    bool expiry_from_wall;   /* computed from wall time: to be corrected by the first Date */
    int64_t time_asked_until_boot_ms; /* LIVE: the Date is waited for until then; 0: it is not */
    bool access_dead;                 /* the server refused the access token */
    int64_t obtained_boot_ms;
    int64_t lead_ms; /* how long before expiry to spend: window with jitter */
    uint64_t generation;
    int64_t held_until_boot_ms; /* a consumer holds the pair until then; 0: nobody */

    uint64_t intent;
    bool replay;               /* this spend is the one more presentation */
    int64_t presented_boot_ms; /* of the last presentation: a grace counts from it */
    uint64_t fence;
    int64_t lease_until_boot_ms;
    struct pending pending;

    uint32_t tries;             /* failed attempts in a row */
    int64_t not_before_boot_ms; /* back-off of spends, questions and writes */
    enum answer trouble;        /* what to tell waiters while backing off */
    int64_t last_comfort_boot_ms;

    int64_t doubt_since_boot_ms;
    bool access_proved; /* in doubt: the old access token was seen to work */
    bool replayed;      /* the one more presentation has been used */
    bool answer_lost;   /* why we doubt: a lost answer; else: a restored store */

    uint64_t add_waiter;          /* 0: nobody waits (any more) */
    int64_t add_deadline_boot_ms; /* TIME_NEVER: it is over, or there was none */
    uint64_t remove_waiter;
    bool remove_wanted;
    int64_t remove_from_boot_ms; /* when to try again, after a write that failed */

    uint32_t n_waiters;
    uint32_t alarms;
};

struct waiter {
    uint64_t id;
    uint32_t slot;      /* index of the lineage */
    int64_t ttl_min_ms; /* < 0: not said */
    int64_t since_boot_ms;
    int64_t deadline_boot_ms;
    bool renew;
    bool had_spend; /* a spend was settled while it waited: never causes another */
};

struct warden {
    struct warden_limits limits;
    uint64_t rng;
    struct now now; /* of the last event */
    bool stopping;
    uint32_t n_waiters;
    struct lineage *lineages; /* limits.lineages */
    struct waiter *waiters;   /* limits.waiters; the first n_waiters are in use */
};

/* One step's context: every state function gets it. */
struct step {
    struct warden *w;
    struct lineage *l; /* NULL when the event has no lineage we know */
    const struct event *ev;
    struct now now;
    struct effects *out;
};

/* step.c */
struct effect *emit(struct step *s, enum effect_kind kind);
void become(struct step *s, enum state next); /* the one function that changes a state */
const char *state_name(enum state state);
struct lineage *lineage_find(const struct warden *w, uint64_t id); /* NULL: none */
uint64_t rng_next(struct warden *w);
int64_t rng_below(struct warden *w, int64_t limit); /* [0, limit) ; 0 when limit <= 0 */

static inline int64_t ms_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t ms_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* life.c: how long things last */
int64_t life_left(const struct lineage *l, struct now now); /* of the access token; TIME_NEVER */
bool is_static(const struct lineage *l);
bool in_flight(const struct lineage *l); /* from LEASING to the outcome's durability */
bool may_spend(const struct lineage *l, struct now now);
int64_t may_spend_from(const struct lineage *l); /* boot ms; TIME_NEVER: policy forbids */
int64_t due_boot_ms(const struct lineage *l);    /* by the spend window alone */
int64_t comfort_from(const struct lineage *l);   /* boot ms of the next allowed comfort spend */
int64_t wish_default_ms(const struct lineage *l);
void take_pair(struct step *s, const struct pair *pair, int64_t expires_boot_ms);
void hear_date(struct step *s);
void back_off(struct step *s, int64_t retry_after_ms, enum answer trouble);
void back_off_clear(struct lineage *l);

/* duty.c: what a lineage owes, and when. Deadline and action share this one predicate. */
enum duty {
    DUTY_NONE,
    DUTY_ASK,
    DUTY_ADOPT,
    DUTY_SPEND,
    DUTY_REPLAY,
    DUTY_PROBE,
    DUTY_WRITE,
    DUTY_REMOVE,
    DUTY_NO_DATE, /* the server did not tell the time */
    DUTY_WAITERS,
    DUTY_ALARM,
    DUTY_ADD_OVER
};
int64_t owes(const struct warden *w, const struct lineage *l, enum duty *ret_duty);
void perform_duty(struct step *s, enum duty duty);

/* spend.c */
void begin_spend(struct step *s, bool replay);
void on_leased(struct step *s);
void on_intent_durable(struct step *s);
void on_answer(struct step *s);
void on_settled(struct step *s);
void on_closed(struct step *s);
void write_failed(struct step *s);
void write_again(struct step *s);

/* doubt.c */
int64_t probe_due_boot_ms(const struct lineage *l); /* TIME_NEVER: no use or not allowed */
int64_t replay_due_boot_ms(const struct lineage *l, struct now now);
void begin_probe(struct step *s);
void on_probed(struct step *s);

/* load.c */
struct lineage *slot_take(struct step *s, uint64_t id); /* a free one, zeroed; NULL: full */
void on_time_told(struct step *s);                      /* the question of a LIVE lineage is over */
void on_loaded(struct step *s);
bool is_old_copy(const struct lineage *l); /* of a restored store, and not yet resolved */

/* add.c */
void on_added(struct step *s);
void on_claimed(struct step *s);
void begin_ask(struct step *s);
void on_identity(struct step *s);
void believe(struct step *s, struct fp subject); /* adopt it, if it may be that subject's */
void on_adopted(struct step *s);
void add_over(struct step *s);
void answer_add(struct step *s, enum answer answer);
void on_remove(struct step *s);
void begin_retire(struct step *s);
void on_retired(struct step *s);

/* waiters.c */
void on_want(struct step *s);
void on_unwant(struct step *s);
void serve_waiters(struct step *s); /* answer those that can be answered now */
void waiters_had_spend(struct warden *w, const struct lineage *l);
int64_t waiters_deadline(const struct warden *w, const struct lineage *l);
void answer_waiter(struct step *s, uint64_t waiter, enum answer answer, int64_t retry_after_ms,
                   int64_t limit_ms);

/* alarms.c */
void alarm_raise(struct step *s, enum alarm alarm);
void alarm_clear(struct step *s, enum alarm alarm);
int64_t alarm_due_boot_ms(const struct warden *w, const struct lineage *l);
void alarm_look(struct step *s);

#endif

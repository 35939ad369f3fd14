/*
 * The core's own shapes. Private to src/core.
 *
 * A lineage is always in one state. States that wait for an event ("in flight") leave only by that
 * event; states at rest act when owes() says so. The invariants; warden_check() holds those that
 * can be seen in one moment, the oracles of the simulator the others:
 *
 *   1. An intent is open exactly in INTENDING, SPENDING, SETTLING and CLOSING.
 *   2. A token is presented (SPENDING) only under a lease whose fence the intent carries, and a
 *      lineage has at most one intent: single flight.
 *   3. In DOUBT and PROBING the standing is DOUBT, and the one more presentation is unused.
 *   4. DEAD, QUARANTINED and RETIRING lineages have no intent, and no spend is due.
 *   5. Each waiter belongs to a used lineage that could still serve it, and no lineage has more
 *      than WAITERS_PER_LINEAGE_MAX; add and remove wait apart (one each).
 *   6. A lineage that was proven keeps its subject, but where its user claims it out of quarantine:
 *      then it is to be named anew.
 *   7. The generation never goes down.
 *   8. A refresh token is being given to one consumer at most, and to none that may not have it;
 *      what is withheld is written without one.
 *   9. Each consumer belongs to a used lineage; each capture holds back one lineage, or is
 * nobody's.
 *  10. Raised alarms agree with the state: DEAD has ALARM_DEAD; DOUBT, PROBING and SEARCHING have
 *      ALARM_DOUBT.
 */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "base/check.h"
#include "base/err.h"
#include "core/warden.h"

enum state {
    LS_FREE,        /* the slot is unused */
    LS_UNPROVEN,    /* rest: captured, subject not named */
    LS_ASKING,      /* identity asked */
    LS_ADOPTING,    /* subject known, adoption on its way to disk */
    LS_LIVE,        /* rest: the current pair is believed */
    LS_LEASING,     /* the right to spend is asked for */
    LS_WITHHOLDING, /* replicas are made access-only, so that no client can spend behind us */
    LS_INTENDING,   /* intent on its way to disk */
    LS_SPENDING,    /* presented (or: a recovered intent), answer awaited */
    LS_SETTLING,    /* a new pair is on its way to disk */
    LS_CLOSING,     /* an outcome without a pair is on its way to disk */
    LS_DOUBT,       /* rest: an answer was lost */
    LS_PROBING,     /* doubt; asking whether the old access token works */
    LS_SEARCHING,   /* rest: refused for good; is there a live pair in a replica? */
    LS_CONTINUING,  /* a captured pair is on its way to become the current one */
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
    bool late;    /* SETTLING: another warden has closed our intent in doubt */
};

struct lineage {
    uint64_t id;
    enum state state;
    enum state rest;        /* RETIRING, CONTINUING: where to go back if it cannot be stored */
    enum standing standing; /* as stored */
    bool unproven;          /* no profile points here yet: the subject is still to be named */
    struct rules rules;
    enum policy policy;
    struct fp subject;   /* none: not known */
    uint64_t continues;  /* unproven: the lineage whose profile it shall take; 0: none */
    bool claimed;        /* unproven: from a replica by FX_CLAIM */
    bool kept;           /* unproven: was set aside before */
    struct fp named;     /* ADOPTING: what the server said */
    uint64_t continuing; /* CONTINUING: the capture that it is about */

    struct pair pair;
    int64_t expires_boot_ms; /* TIME_NEVER: not known or never */
    bool expiry_from_wall;   /* computed from wall time: to be corrected by the first Date */
    int64_t time_asked_until_boot_ms; /* LIVE: the Date is waited for until then; 0: it is not */
    bool access_dead;                 /* the server refused the access token */
    int64_t obtained_boot_ms;         /* of our own grant; else, and … */
    int64_t rotated_boot_ms; /* … of the last one that brought another refresh token: long ago */
    int64_t lead_ms;         /* how long before expiry to spend: window with jitter */
    uint64_t generation;
    int64_t held_until_boot_ms; /* a consumer holds the pair until then; 0: nobody */

    uint64_t intent;
    bool intent_elsewhere;     /* another warden of the fleet opened it */
    bool replay;               /* this spend is the one more presentation */
    int64_t sent_boot_ms;      /* of the last presentation, at the latest */
    int64_t presented_boot_ms; /* of the last that was not a replay: a grace counts from it */
    bool presented_known;      /* … or it was earlier: no use is made of a grace */
    uint64_t fence;
    bool lease_awaited;
    int64_t lease_until_boot_ms;
    struct pending pending;

    uint32_t tries;             /* failed attempts in a row */
    int64_t not_before_boot_ms; /* back-off of spends, questions and writes */
    enum answer trouble;        /* what to tell waiters while backing off */
    int64_t last_comfort_boot_ms;

    int64_t doubt_since_boot_ms;
    bool access_proved; /* in doubt: the old access token was seen to work */
    bool replayed;      /* the one more presentation has been used */
    uint64_t doubt;     /* the intent that was closed in doubt; 0: not known */
    bool answer_lost;   /* why we doubt: a lost answer; else: a restored store */
    bool doubtful; /* QUARANTINED: was set aside in doubt, and is so again when it is claimed */

    uint64_t add_waiter;          /* 0: nobody waits (any more) */
    int64_t add_deadline_boot_ms; /* TIME_NEVER: it is over, or there was none */
    uint64_t remove_waiter;
    bool remove_wanted;
    int64_t remove_from_boot_ms; /* when to try again, after a write that failed */

    bool refused;                 /* the server will not take the refresh token any more */
    bool given_away;              /* a consumer that is no longer ours has the refresh token */
    int64_t search_from_boot_ms;  /* SEARCHING, DOUBT: replicas are read again after this … */
    int64_t search_until_boot_ms; /* … and after this; then there is nothing to be found */

    uint32_t n_waiters;
    uint32_t n_consumers;
    uint32_t n_captures; /* bound here or on their way into this lineage */
    uint32_t alarms;
};

enum doing { DOING_NOTHING, DOING_READ, DOING_PUBLISH, DOING_WITHHOLD };

struct consumer {
    uint64_t id; /* 0: the slot is unused */
    uint32_t slot;
    bool replica;
    bool with_pair;
    enum doing doing;
    struct fp withheld; /* WITHHOLD: the refresh token that is about to be spent */
    bool known;         /* what is there was read or written */
    bool own_access;    /* … is an access token alone, of the lineage's own subject */
    bool drifted;       /* somebody unknown is signed in there: left alone */
    uint64_t shows;     /* the capture that stands there; left alone until it is resolved */
    enum wish wish;     /* what its user ordered: ends when our own pair stands there */
    enum seen what;
    struct pair there;   /* SEEN_PAIR; else none */
    struct fp perhaps;   /* a refresh token whose writing failed: it may stand there, too */
    struct pair written; /* PUBLISH, WITHHOLD: what is being written */
    struct pair blanked; /* what was there when the client blanked it */
    int64_t read_boot_ms;
    int64_t asked_boot_ms; /* READ: since */
    uint32_t tries;
    int64_t not_before_boot_ms;
};

enum stage {
    STAGE_CAPTURED, /* to be asked about */
    STAGE_ASKING,
    STAGE_NAMED,  /* whose it is is known; waits for that lineage to be at rest */
    STAGE_MUTE,   /* the server does not tell: its access token is over */
    STAGE_STORING /* ADOPT, QUARANTINE or CLAIM is under way */
};

#define NO_SLOT UINT32_MAX

struct capture {
    uint64_t id; /* 0: unused */
    uint64_t consumer;
    uint32_t slot;   /* lineage whose consumer had it; NO_SLOT: retired since */
    uint32_t target; /* NAMED, STORING: lineage of that subject; NO_SLOT: not known */
    enum stage stage;
    int64_t seen_boot_ms;
    int64_t server_minus_boot_ms; /* the server's clock, as heard with its answer; 0: not */
    enum stage resume;            /* STORING: where to go back if it cannot be stored */
    bool claiming;                /* STORING: as a lineage of its own, by FX_CLAIM */
    bool name_is_taken;           /* … which was refused: another login is to have the name */
    struct pair pair;
    struct fp subject;
    uint32_t tries;
    int64_t not_before_boot_ms;
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
    int64_t restored_boot_ms; /* when an older copy was last taken for the store; 0: long ago */
    uint32_t n_slots;         /* of lineages: those after these were never used */
    uint32_t n_waiters;
    uint32_t n_claims;          /* FX_CLAIMs under way: each will want a lineage's place */
    struct lineage *lineages;   /* limits.lineages */
    struct waiter *waiters;     /* limits.waiters; the first n_waiters are in use */
    struct consumer *consumers; /* limits.consumers */
    struct capture *captures;   /* limits.captures */
};

/* Taken by FX_CLAIM from a place of `home`, and not yet known whose it is. */
static inline bool is_claim_of(const struct lineage *l, uint64_t home)
{
    return l->state != LS_FREE && l->claimed && l->unproven && l->continues == home;
}

/* Nobody's yet, or somebody's whom we do not know: where its pair stands is no place of ours. */
static inline bool is_set_aside(const struct lineage *l)
{
    enum state state = l->state == LS_RETIRING ? l->rest : l->state;
    return state == LS_QUARANTINED || l->unproven;
}

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
void begin_anew(struct step *s);              /* … but this: as if s->l were about to be loaded */
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
int64_t access_over_from(const struct lineage *l);          /* boot ms; TIME_NEVER: it lasts */
int64_t life_left(const struct lineage *l, struct now now); /* of the access token; TIME_NEVER */
bool is_static(const struct lineage *l);
bool in_flight(const struct lineage *l); /* from LEASING to the outcome's durability */
bool may_spend(const struct lineage *l, struct now now);
int64_t may_spend_from(const struct lineage *l); /* boot ms; TIME_NEVER: policy forbids */
int64_t due_boot_ms(const struct lineage *l);    /* by the spend window alone */
int64_t comfort_from(const struct lineage *l);   /* boot ms of the next allowed comfort spend */
int64_t wish_default_ms(const struct lineage *l);
void take_pair(struct step *s, const struct pair *pair, int64_t expires_boot_ms);
void was_obtained_elsewhere(struct lineage *l); /* the pair: no renewal is answered with it */
void hear_date(struct step *s);
void hear_refusal(struct step *s); /* of the current access token, in whatever state */
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
    DUTY_ADD_OVER,
    DUTY_CONSUMERS,  /* one or more of them are to be read or written */
    DUTY_CAPTURES,   /* one or more of them can go on */
    DUTY_SEARCH_OVER /* nothing was found: it is dead */
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

void order_intent(struct step *s);     /* the lease is ours and nobody else can spend */
void spend_called_off(struct step *s); /* before anything was presented */

/* place.c */
struct consumer *consumer_find(const struct warden *w, uint64_t id); /* NULL: none */
bool belongs(const struct warden *w, const struct consumer *c, const struct lineage *l);
bool has_refresh(const struct pair *p, struct fp refresh);
bool is_unknown(const struct consumer *c);                  /* or a client is just writing it */
bool may_have(const struct consumer *c, struct fp refresh); /* in its place, for all we know */
struct pair wanted_there(const struct warden *w, const struct lineage *l, const struct consumer *c);
int64_t read_from(const struct lineage *l, const struct consumer *c);
int64_t consumer_owes(const struct warden *w, const struct lineage *l, const struct consumer *c);
int64_t consumers_owe(const struct warden *w, const struct lineage *l);
bool spend_is_hindered(const struct warden *w, const struct lineage *l); /* somebody may be ahead */
bool spend_is_held_back(const struct warden *w,
                        const struct lineage *l); /* … and not for a moment */
bool is_given_to_somebody(const struct warden *w, const struct lineage *l); /* … maybe */
enum drift { DRIFT_NONE, DRIFT_UNKNOWN, DRIFT_SOMEBODY };
enum drift drift_of(const struct warden *w, const struct lineage *l);
bool has_replica(const struct warden *w, const struct lineage *l);
bool replica_is_being_read(const struct warden *w, const struct lineage *l);
bool replicas_read_since(const struct warden *w, const struct lineage *l, int64_t boot_ms);

/* consumer.c */
void on_bound(struct step *s);
void on_unbound(struct step *s);
void on_published(struct step *s);
void on_consumer_failed(struct step *s);
bool consumer_saw(struct step *s, struct consumer *c); /* false: not what is there by now */
void look_later(struct step *s, struct consumer *c); /* what is there is not known: read it again */
void consumers_go(struct step *s);
bool withhold(struct step *s); /* false: nobody has the token that is to be presented */
void consumers_follow(struct step *s, const struct lineage *from); /* to s->l */
void count_as_held(struct step *s); /* until the current access token's end somebody lives on it */
void consumers_leave(struct step *s); /* s->l ends */

/* stranger.c */
void capture_resolved(struct step *s, uint64_t capture); /* where it stands, that is looked at */
/* This is set aside: where it stands, by this id or with another access token beside the same
 * refresh token, is no place to write. */
void leave_alone(struct step *s, const struct pair *pair, uint64_t capture);
/* s->l is tried, and nobody's yet. A copy in a place of another lineage may be all there is of it;
 * its own home waits for it anyway. */
void leave_to_claim(struct step *s);
/* What stands in a place as a stranger's is believed now, or spent: not to be left alone. */
void no_stranger_any_more(struct step *s, const struct pair *pair);
/* A lineage is heard of: who is signed in somewhere, and is nobody we know, may be it. */
void look_at_strangers(struct warden *w);
void set_own_access(struct warden *w, uint64_t capture);

/* capture.c */
void on_observed(struct step *s);
void on_capture_named(struct step *s);
void on_capture_stored(struct step *s);
void on_capture_failed(struct step *s);
int64_t captures_owe(const struct warden *w, const struct lineage *l);
/* Nobody can say whose they are, and to try them is a spend that the policy forbids: for good, as
 * far as one knows. */
bool captures_wait_for_leave(const struct warden *w, const struct lineage *l);
void captures_go(struct step *s);
bool capture_is_open(const struct warden *w, uint64_t id); /* not resolved yet */
/* Does its standing in a place of this lineage, too, keep it from being spent? */
bool capture_holds_back(const struct warden *w, uint64_t id, const struct lineage *l);
void captures_follow(struct step *s, const struct lineage *from); /* to s->l */
void captures_leave(struct step *s);                              /* s->l ends */
void capture_overtaken(struct step *s);
/* EV_ADDED: it is a lineage now. true: where it stands is no consumer's place any more. */
bool capture_claimed(struct step *s, uint64_t id);
bool slots_are_spoken_for(const struct warden *w); /* every free one, by claims under way */

/* whose.c */
bool can_continue(const struct lineage *l); /* may a captured pair become its current one, now? */
bool is_believed(const struct lineage *l);  /* may one ever? */
bool is_somebody(const struct lineage *l);  /* … for its subject's sake */
struct lineage *grant_of(const struct warden *w, struct fp refresh);             /* NULL: none */
struct lineage *lineage_of(const struct warden *w, const struct capture *cap);   /* NULL: none */
const struct lineage *owner_of(const struct warden *w, const struct pair *pair); /* NULL: none */
bool is_newer(const struct capture *cap, const struct lineage *l);
bool is_access_alone(const struct pair *pair);
bool is_outdone(const struct warden *w, const struct capture *cap);
struct lineage *claim_for(const struct warden *w, const struct lineage *home); /* NULL: none */
bool lasts_longer(const struct capture *cap, const struct lineage *l);

/* search.c */
bool has_hope(const struct warden *w, const struct lineage *l);
void begin_search(struct step *s);
int64_t search_over_boot_ms(const struct warden *w, const struct lineage *l);
void search_over(struct step *s);

/* fleet.c */
void on_overtaken(struct step *s);

/* doubt.c */
int64_t probe_due_boot_ms(const struct lineage *l); /* TIME_NEVER: no use or not allowed */
int64_t replay_due_boot_ms(const struct warden *w, const struct lineage *l);
void hear_of_restored(struct step *s);
/* Until then something may be under way that was sent by a run of which a restored store knows
 * nothing: of any lineage that it has, or that is found, whatever it is taken for. 0: no. */
int64_t forgotten_until(const struct warden *w, const struct lineage *l);
void begin_probe(struct step *s);
void on_probed(struct step *s);

/* load.c */
struct lineage *slot_take(struct step *s, uint64_t id); /* a free one, zeroed; NULL: full */
void ask_the_time(struct step *s); /* where the expiry was read off our wall clock */
void on_time_told(struct step *s); /* the question of a LIVE lineage is over */
void on_loaded(struct step *s);
bool is_old_copy(const struct lineage *l); /* of a restored store, and not yet resolved */
void take_row(struct step *s,
              const struct loaded *from); /* everything that the store says of s->l */
void load_row(struct step *s);            /* and the state that follows from it */

/* add.c */
void on_added(struct step *s);
void on_claimed(struct step *s);
void begin_ask(struct step *s);
void on_identity(struct step *s);
void believe(struct step *s, struct fp subject); /* adopt it, if it may be that subject's */
void on_adopted(struct step *s);
void set_aside(struct step *s); /* an unproven one: into quarantine, of nobody */
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

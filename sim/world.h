/*
 * The simulated world: one `struct world`, a fixed size, used again run after run. Everything that
 * happens is a happening on one true timeline (ms); nothing in here reads a clock.
 *
 *   callers, weather ──► hosts (each runs the real core) ──► store (what is durable)
 *                          │      ▲                          spool (what the spender left)
 *                          ▼      │
 *                        spender ─┴──► providers (the truth about every login)
 *                        places  ◄──── siblings
 *
 * A host is one machine with one daemon: it tells its warden facts and carries out its orders as
 * src/daemon does. What the oracles judge is written down here by the world itself, never asked of
 * the core.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <setjmp.h>
#include <stdarg.h>

#include "base/check.h"
#include "core/warden.h"
#include "sim/draw.h"

enum {
    HOSTS_MAX = 3,
    PROVIDERS_MAX = 3,
    SUBJECTS_MAX = 12, /* of each provider: the same words from another server are another */
    FAMILIES_MAX = 64,
    ISSUED_MAX = 4096,
    ROWS_MAX = 64,
    PROFILES_MAX = 12,
    CAPTURES_MAX = 32,
    PLACES_MAX = 12,
    SIBLINGS_PER_PLACE_MAX = 3,
    SIBLINGS_MAX = SIBLINGS_PER_PLACE_MAX * PLACES_MAX,
    SPOOL_MAX = 24,
    CALLERS_MAX = 256,
    OPS_MAX = 1024,
    WARDEN_WAITERS = 96,
    NOBODY = -1,
    OURSELVES = -2 /* the daemon */
};

#define LEASE_MS      (10 * MINUTE_MS) /* as src/daemon has it */
#define LOCK_STALE_MS (10 * SECOND_MS) /* a client's lock that nobody touches is anybody's */
#define UNSYNCED_MS   (30 * SECOND_MS) /* after a change that nobody syncs it is on disk */
#define WALL_ZERO     INT64_C(1767225600000)

/* ---- what can go wrong: each run draws which of these it knows, and how often they come ---- */
enum fault {
    FAULT_CRASH,
    FAULT_POWER,
    FAULT_STOP,
    FAULT_SUSPEND,
    FAULT_WALL_JUMP,
    FAULT_DISK_FULL,
    FAULT_STORE_ERROR,
    FAULT_STORE_SLOW,
    FAULT_RESTORE,
    FAULT_SNAPSHOT,
    FAULT_SPENDER_DIES,
    FAULT_UNSENT,
    FAULT_OUTAGE,
    FAULT_LOST_BEFORE,
    FAULT_LOST_AFTER,
    FAULT_THROTTLED,
    FAULT_UNCOMMITTED,
    FAULT_TORN,
    FAULT_LATE_COMMIT,
    FAULT_SLOW_SERVER,
    FAULT_KEPT,    /* an answer without a refresh token: the old one stays good */
    FAULT_RENAMED, /* the answer names somebody else */
    FAULT_REVOKED, /* the server ends a login on its own */
    FAULT_UNNAMED, /* the identity question gets no answer */
    FAULT_SCOPE,   /* the token may not ask who it is */
    FAULT_REMOVE,
    FAULT_POLICY,
    FAULT_ADD,
    FAULT_STALE_ADD, /* a file whose refresh token is spent already */
    FAULT_FOREIGN_ADD,
    FAULT_HANDED_OUT,
    FAULT_STORM,
    FAULT_BETWEEN, /* somebody comes between an order and its answer */
    FAULT_LOCKED,  /* a place is locked for long */
    FAULT_UNREADABLE,
    FAULT_RUDE_UNLOCKED,
    FAULT_RUDE_STALE,
    FAULT_RUDE_OTHER,
    FAULT_RUDE_LOGOUT,
    FAULT_RUDE_TORN,
    FAULT_RUDE_COPY,
    FAULT_WATCH_LOST,
    FAULT_REBOUND,
    FAULT_LEASE_LOST,
    FAULT_TOLD_LATE,
    FAULT_SIBLING_KILLED, /* with a request under way, or before its answer is written down */
    FAULT_SWITCHED,       /* a place is to be another profile's, whoever is signed in there */
    FAULT_COUNT
};

/* ---- providers: the truth ---- */
struct provider {
    bool rotates, ends_family, kills_access, has_identity, names_in_answer, has_date;
    bool says_uncommitted; /* its 503 commits nothing, and the definition says so */
    bool static_pairs;
    bool silent;                         /* it does not say how long its access tokens last */
    int64_t grace_ms, life_ms, login_ms; /* login 0: no end */
    int64_t skew_ms, deadline_ms;
    int64_t out_until; /* cannot be reached */
};

struct family { /* one login at a provider */
    uint8_t provider, subject;
    bool ended;
    bool narrow; /* scope: may not ask who it is */
    uint32_t generation;
    uint32_t access_floor; /* access tokens issued before are killed */
    int64_t deadline_at;   /* 0: none */
};

struct issued { /* one token; its fingerprint holds its index */
    uint8_t family, subject;
    bool is_refresh, spent;
    uint32_t generation;
    int64_t spent_at, expires_at;
};

/* ---- the store: what is durable ---- */
enum known {                    /* of a token, by our ledger: bits */
             KNOWN_OURS = 1,    /* part of a pair we hold or held */
             KNOWN_SPENT = 2,   /* its spend was granted and settled */
             KNOWN_REFUSED = 4, /* refused for good, and closed as such */
             KNOWN_DOUBT = 8,   /* presented, and not surely without effect */
             KNOWN_DOUBT_TWICE = 16,
             KNOWN_FORMER = 32, /* of a pair that is not the current one any more */
};

struct row { /* a lineage, as src/store has it */
    enum standing standing;
    uint8_t provider;
    uint8_t wanted; /* profile that shall point here, + 1; 0: adopted */
    bool claimed;   /* by us, from a place */
    bool kept;      /* by a user, of what was set aside */
    uint8_t host;   /* that captured it */
    enum policy policy;
    struct fp subject;
    struct pair pair;
    int64_t expires_boot_ms; /* by the clock of boot `boot` of host `expiry_host` */
    uint32_t boot;
    bool expiry_is_exact; /* it was heard in that boot, not read off a wall clock */
    uint8_t expiry_host;
    uint64_t generation, fence;
    int64_t held_until_wall_ms, doubt_since_wall_ms;
    bool replayed;
    bool given_away; /* the refresh token stands in a place that is no consumer any more */
    uint32_t alarms;
    uint64_t intent;
    bool intent_is_replay;
    int64_t intent_begun_wall_ms;
    int16_t intent_host;
    uint64_t intent_fence;
    uint64_t lost_intent; /* the last one that was closed in doubt */
    int64_t pair_at;      /* true times: of the current pair's being stored, */
    int64_t intent_at;    /* of the intent, */
    int64_t lost_at;      /* and of the one that was lost; */
    int64_t ended_at;     /* RETIRED: since */
    bool dead_by_doubt;   /* the one more presentation was lost, too */
};

struct requests { /* in the current minute */
    int64_t minute;
    uint32_t n;
};

struct capture { /* a pair found in a place: sealed, not believed */
    uint64_t id; /* 0: none */
    uint8_t place;
    int16_t row; /* of its place, when it was found there last; NOBODY */
    struct pair pair;
    int64_t sealed_at;
    bool told;                /* the warden that runs now has heard of it */
    bool is_dropped;          /* the warden is done with it, whenever it is wiped */
    bool is_nobodys;          /* its place was no consumer any more when it was found */
    bool is_unasked;          /* there was no room to ask about it: ordered aside as it is */
    enum identity named;      /* what the server said of it; UNANSWERED: nothing */
    struct fp subject;        /* NAMED: whose it is, by its word */
    struct requests requests; /* to ask it */
};

struct store {
    uint32_t n_rows;
    uint32_t spends;                /* what the high-water mark counts */
    int16_t profiles[PROFILES_MAX]; /* row; NOBODY */
    struct row rows[ROWS_MAX];
    struct capture captures[CAPTURES_MAX];
    uint8_t known[ISSUED_MAX];
    struct {
        int64_t wall_ms; /* 0: never */
        int64_t boot_ms; /* of that boot of that host */
        uint32_t boot;
        uint8_t host;
    } restored; /* when an older copy was last taken for the store */
};

/* ---- a host: machine, daemon, spender's spool ---- */
enum stage { STAGE_PREPARED, STAGE_STARTED, STAGE_ANSWERED, STAGE_TORN };

struct reply { /* what a spend was told; sealed into the spool */
    enum verdict verdict;
    struct fp access, refresh, subject; /* refresh none: the old one stays */
    int64_t life_ms, login_left_ms;
    int64_t server_wall_ms, retry_after_ms;
    int64_t received_wall_ms, received_boot_ms, sent_boot_ms;
};

struct spool {       /* one intent's file */
    uint64_t intent; /* 0: no file */
    int16_t row;
    struct fp presented;
    uint64_t generation; /* of the pair that is presented */
    enum stage stage;
    bool locked;                   /* by the daemon that made it, then by the spender */
    bool answered;                 /* the spender has heard, or has given up */
    bool is_told;                  /* its daemon has heard the outcome, which it does once */
    int64_t begun_at, lease_until; /* true times */
    int64_t begun_boot_ms;         /* by its boot's clock */
    uint32_t boot;
    uint32_t life; /* of the daemon that the spender answers to */
    struct reply reply;
    uint64_t removed; /* the intent whose file was here; 0: none */
    int64_t removed_at;
};

struct told {        /* what the warden of this host has heard of one lineage since it started */
    bool here;       /* loaded or added, */
    int64_t here_at; /* … at this true time */
    bool removing;
    bool exact;   /* the expiry is known by this boot's clock */
    bool by_date; /* … or by the server's, to the second */
    bool by_wall; /* … or as our wall clock has it, and nobody was asked the time since */
    bool access_refused;
    uint64_t generation;
    enum standing standing;
    enum policy policy;
    int64_t held_until; /* true time, at the least; 0: nobody */
    uint32_t alarms;
    struct requests requests; /* to its server */
    int32_t waiting;          /* callers */
    uint64_t awaits;          /* the intent that it was loaded with, until it hears the outcome */
    uint64_t doubt;           /* the lost intent that it doubts for */
    uint64_t heard_intent;    /* the last one whose outcome it heard, and what that was */
    enum verdict heard;
    bool heard_foreign;
    int64_t over_at; /* heard: refused for good, or lost once more; 0: neither */
    enum identity asked;
    struct fp named;
    bool old_copy;     /* in doubt because the store is one */
    const char *state; /* the core's, as last seen, */
    int64_t state_at;  /* and since when */
};

struct host {
    uint8_t index;
    bool up, stopping, restored;
    uint32_t room; /* lineages that its warden has room for */
    uint32_t life; /* counts daemons: what an earlier one asked for is not told to a later one */
    uint32_t boot; /* counts boots */
    int64_t booted_at, started_at, wall_off_ms;
    int64_t asleep_until, woke_at;
    int64_t wake_at; /* of its warden's deadline; TIME_NEVER */
    int64_t store_free_at, full_until;
    int64_t spun_at;
    int spins;
    struct warden *warden;
    struct told told[ROWS_MAX];
    struct spool spool[SPOOL_MAX];
};

/* ---- callers ---- */
enum asking { ASKS_WANT, ASKS_ADD, ASKS_REMOVE };

struct caller {
    uint64_t id; /* 0: free */
    enum asking asks;
    uint8_t host;
    int16_t row;
    bool is_final; /* one of the last questions of a run */
    int64_t ttl_min_ms;
    int64_t since, deadline_at;
};

/* ---- places and siblings ---- */
struct place {   /* where a consumer's copy is */
    uint64_t id; /* of the consumer; 0: none */
    uint8_t host, profile;
    bool is_bound; /* by its user */
    bool is_known; /* … and the warden that runs now knows */
    int16_t row;   /* … as a consumer of this lineage */
    bool replica, with_pair;
    enum wish wish; /* of its user, as stored */
    int64_t wished_at;
    enum seen what;
    struct pair pair;
    bool by_us; /* who wrote what is there */
    struct {    /* what a power loss may bring back … */
        enum seen what;
        struct pair pair;
        bool by_us;
    } synced;
    int64_t synced_at;   /* … until then */
    bool may_tear;       /* … or tear: who wrote it does not sync */
    int64_t written_at;  /* by somebody else, last */
    struct fp blanked;   /* the access token that was blanked */
    enum seen told_what; /* what the warden heard of it last */
    struct pair told;
    enum seen before_what; /* … when it ordered the write that was not answered; COUNT: none */
    struct pair before;
    uint32_t told_failed;  /* and since then, how often, that it could not be read or written */
    int64_t told_at;       /* when that was seen */
    int16_t lock_holder;   /* of its clients' own lock: a sibling; OURSELVES; NOBODY */
    int64_t lock_stale_at; /* nobody touches it any more: from then on it is anybody's */
    int64_t looked_at;     /* by its warden, last */
    uint32_t touches;      /* looks and writes under way: one at a time … */
    uint32_t touches_life; /* … in this life of its host */
    bool look_again;       /* its watch saw something meanwhile */
};

enum manners { POLITE, RUDE };
enum sibling_stage { SIBLING_IDLE, SIBLING_WAITS, SIBLING_ASKS };

struct sibling { /* a client that uses the place, and spends on its own */
    uint8_t place;
    uint8_t part; /* of its draws */
    enum manners manners;
    enum sibling_stage stage;
    uint32_t life; /* counts its processes: nobody hears what an earlier one asked for */
    struct pair memory, stale; /* what it goes by; what it once had */
    int64_t waits_until;
};

/* ---- happenings ---- */
enum happening {
    HAP_TELL,     /* `ev` reaches the daemon */
    HAP_WRITTEN,  /* the store has done what `fx` asks */
    HAP_ADDED,    /* … has stored what a user added */
    HAP_USER,     /* … a change the user asked for: policy, removal */
    HAP_SEND,     /* spender: the request is about to leave */
    HAP_COMMIT,   /* provider: evaluates it */
    HAP_REPLY,    /* spender: its answer is there, or will not come */
    HAP_SEALED,   /* spender: the answer is durable; the lock goes, the daemon hears */
    HAP_ASKED,    /* identity or probe */
    HAP_RECOVER,  /* the daemon looks into the spool again */
    HAP_PATIENCE, /* a caller should have been answered by now */
    HAP_ACT,      /* people */
    HAP_WEATHER,  /* what befalls machines and providers */
    HAP_POWER,    /* a machine loses it, at a moment that matters */
    HAP_HOST_UP,
    HAP_PLACE,          /* a place is read or written by the daemon */
    HAP_SEEN,           /* what was found there is sealed; the daemon hears */
    HAP_PUT,            /* what was written there is durable; the daemon hears */
    HAP_WATCH,          /* the watch of a place */
    HAP_SIBLING,        /* a client looks after its pair */
    HAP_SIBLING_COMMIT, /* provider: evaluates what it has sent */
    HAP_SIBLING_WRITE,  /* it has the answer, and is about to write it down */
    HAP_SIBLING_DIES,
    HAP_TOLD,    /* the store tells a warden of another one's change */
    HAP_CUT_OFF, /* an intent of another warden cannot be under way any more */
    HAP_COUNT
};

struct op { /* something under way */
    int64_t at;
    uint64_t order; /* of being scheduled: ties are taken in this order */
    enum happening what;
    int16_t host;  /* NOBODY: no machine of ours */
    bool outlives; /* the daemon: it is the spender's, or a sibling's */
    uint32_t life, boot;
    int16_t row;
    uint8_t index;
    uint64_t id;
    int64_t started_at;
    enum seen seen;
    bool lost, late, flag;
    struct reply reply;
    struct pair pair, other;
    struct effect fx;
    uint16_t next_free;
};

/* ---- a run ---- */
struct story; /* sim/story.h */

struct limits_of_run {
    uint32_t steps;
    int64_t until; /* safety phase ends by then at the latest */
};

enum phase { PHASE_SAFETY, PHASE_LIVENESS, PHASE_LAST_WORDS };

struct world {
    struct draws draws;
    uint64_t seed;
    enum phase phase;
    int64_t now;
    uint64_t steps, order, next_caller, next_id;
    uint32_t rate[FAULT_COUNT]; /* in 1024; all 0 once the faults have stopped */
    struct limits_of_run limits;
    uint32_t waiters; /* that a warden has room for */
    bool tight;       /* and no more of it for finds than there must be */
    uint32_t room;    /* that it has at a start for more lineages */
    int64_t span_ms;  /* the tempo of this run: the life of its shortest access token */

    uint32_t n_providers, n_families, n_issued, n_hosts, n_profiles, n_places, n_siblings;
    bool fleet;
    bool is_full; /* of something the world has only so much of: ends the run early */
    struct provider providers[PROVIDERS_MAX];
    struct family families[FAMILIES_MAX];
    struct issued issued[ISSUED_MAX];
    struct store store, backup;
    bool has_backup, wall_was_wrong;
    int64_t cleared_at;        /* when the faults stopped */
    int64_t accepted_at;       /* when an older copy was last taken for the store */
    int64_t forgotten_at;      /* when an older copy was put back together with its mark */
    uint32_t mark;             /* high-water */
    uint64_t sealed[ROWS_MAX]; /* the intent whose granted answer was sealed last */
    struct {
        uint64_t fence;
        int16_t holder;
        int64_t until;
    } leases[ROWS_MAX];
    struct host hosts[HOSTS_MAX];
    struct caller callers[CALLERS_MAX];
    struct place places[PLACES_MAX];
    struct sibling siblings[SIBLINGS_MAX];

    struct op ops[OPS_MAX];
    uint16_t heap[OPS_MAX];
    uint32_t n_heap;
    uint16_t free_op;
    uint32_t n_ops; /* ever used in this run */

    struct event event; /* the one being told */
    struct effects effects;
    struct story *story; /* NULL: untold */
    jmp_buf broken;
    char oracle[32], why[256];
};

/* clock.c: true time, the machines' clocks, what is under way */
struct op *op_new(struct world *w, enum happening what, const struct host *h, int64_t delay_ms);
struct op *op_next(struct world *w, int64_t before); /* the soonest, taken off; NULL: none */
void op_free(struct world *w, struct op *op);
void op_again(struct world *w, struct op *op, int64_t at);
bool op_is_providers(const struct op *op); /* it happens there, whatever becomes of who asked */
struct op *op_each(struct world *w, uint32_t *at); /* NULL: that was all */
void op_drop(struct world *w, struct op *op);      /* out of the heap, wherever it stands */
struct now host_now(const struct world *w, const struct host *h);
int64_t true_time_of(const struct host *h, int64_t boot_ms);
int64_t a_while(struct world *w, enum site site, unsigned part,
                int64_t most_ms); /* skewed: short */

/* world.c */
void world_reset(struct world *w, uint64_t seed);
void world_begin(struct world *w); /* draws what there is, and starts it */
bool fault(struct world *w, enum fault f, enum site site, unsigned part);
static inline uint64_t lineage_id(int row)
{
    return (uint64_t)row + 101;
}
static inline int row_of(uint64_t lineage)
{
    return lineage > 100 && lineage <= 100 + ROWS_MAX ? (int)(lineage - 101) : NOBODY;
}

/* issuer.c: what the providers know */
int family_new(struct world *w, unsigned provider, unsigned subject);
bool issue_pair(struct world *w, int family, bool with_refresh, struct fp *ret_access,
                struct fp *ret_refresh);
struct pair pair_of(const struct world *w, struct fp access, struct fp refresh);
int issued_index(const struct world *w, struct fp fp); /* NOBODY: none of ours */
struct fp subject_fp(unsigned subject);
void issuer_spend(struct world *w, int token, bool keeps, bool renames, struct reply *ret);
bool refresh_is_alive(const struct world *w, struct fp refresh);
bool access_is_alive(const struct world *w, struct fp access);
enum identity issuer_identity(const struct world *w, struct fp access, struct fp *ret_subject);

/* disk.c: the store */
void store_write_begin(struct world *w, struct host *h, const struct effect *fx);
void store_written(struct world *w, struct op *op);
void store_crash(struct world *w, struct host *h);
struct op *store_op(struct world *w, struct host *h, enum happening what);
bool store_fails(struct world *w, struct host *h, bool reserved);
int row_new(struct world *w);
void store_hold(const struct world *w, struct row *row); /* somebody has its current pair */
void store_know(struct world *w, const struct pair *pair, bool current);
int store_profile_of(const struct world *w, int index); /* NOBODY: no profile has this row */
bool store_is_to_follow(const struct world *w, int index, int before); /* an `add`, or a claim */
int store_profile_wanted(const struct world *w, const struct row *row, const struct effect *fx);
void store_replace_pair(struct world *w, struct row *row, const struct pair *pair, bool spent);
void store_set_standing(struct row *row, enum standing standing, bool replayed, int64_t wall_ms);
void store_accept_restored(struct world *w, const struct host *h);

/* spender.c */
struct spool *spool_find(struct host *h, uint64_t intent);
struct spool *spool_new(const struct world *w, struct host *h, const struct effect *fx);
void spender_begin(struct world *w, struct host *h, const struct effect *fx);
void spender_send(struct world *w, struct op *op);
void spender_commit(struct world *w, struct op *op);
void spender_reply(struct world *w, struct op *op);
void spender_sealed(struct world *w, struct op *op);
bool spender_has(struct world *w, const struct host *h, uint64_t intent);
void spender_dies(struct world *w, struct host *h);
void spool_remove(struct world *w, struct host *h, uint64_t intent);
void spool_lose_power(struct world *w, struct host *h);
void tell_outcome(struct world *w, struct host *h, struct spool *s, int row, uint64_t intent,
                  bool recovered);

/* host.c: the daemon's part */
void host_boot(struct world *w, struct host *h); /* the machine comes up; then its daemon */
void host_start(struct world *w, struct host *h);
void host_tell(struct world *w, struct host *h, struct event *ev);
void host_crash(struct world *w, struct host *h, bool power, int64_t down_ms);
void host_timer(struct world *w, struct host *h);
void host_asked(struct world *w, struct op *op);
void host_recover(struct world *w, struct op *op);
bool host_has_room(const struct host *h);
struct event event_of(enum event_kind kind, uint64_t lineage);
struct loaded loaded_of(const struct world *w, const struct host *h, int index, bool restored);

/* callers.c, weather.c */
void callers_begin(struct world *w);
void callers_act(struct world *w, struct op *op);
void callers_between(struct world *w, struct host *h, int row);
void callers_stored(struct world *w, struct op *op); /* HAP_ADDED, HAP_USER */
bool callers_apply(struct world *w, struct op *op);  /* … in the store */
void callers_tell_policy(struct world *w, struct host *h, int index);
void callers_answered(struct world *w, struct host *h, const struct effect *fx);
bool is_being_added(const struct world *w, unsigned profile);
void callers_lost(struct world *w, const struct host *h);
void callers_patience(struct world *w, struct op *op);
void callers_last_words(struct world *w);
struct caller *caller_find(struct world *w, uint64_t id);
void weather_begin(struct world *w);
void weather_act(struct world *w, struct op *op);
void weather_power(struct world *w, struct op *op);
void weather_sleep(struct world *w, struct host *h);
void weather_clears(struct world *w); /* the faults stop */

/* fleet.c */
void fleet_lease(struct world *w, struct host *h, const struct effect *fx);
void fleet_leased(struct world *w, struct op *op);
void fleet_unlease(struct world *w, struct host *h, const struct effect *fx);
void fleet_tell_others(struct world *w, const struct host *h, int row);
void fleet_told(struct world *w, struct op *op);
void fleet_cut_off(struct world *w, struct op *op);
void fleet_tell_policy(struct world *w, struct host *h, int row, enum policy before);
void fleet_watch_intent(struct world *w, struct host *h, int row);

/* swarm.c */
void swarm_draw(struct world *w);

/* run.c */
struct outcome {
    bool failed;
    bool cut_short; /* the world was full: judged up to there, and not how it comes right */
    char oracle[32], why[256];
    uint64_t steps;
};
void run(struct world *w, uint64_t seed, struct tape *tape, struct story *story,
         struct outcome *ret);

#endif

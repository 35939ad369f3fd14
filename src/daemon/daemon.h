/*
 * The daemon: the core in the middle, the parts around it.
 *
 *     drive.c     events in, warden_step(), effects out; the wake-up timer
 *     perform.c   effect → part
 *     intake.c    callback of a part → event
 *     recover.c   what a crash left: open intents, leftover spool files
 *     holding.c   what the daemon holds in memory for each lineage
 *     places.c    the stores of clients (places.h)
 *     serve*.c    the API's operations
 *     journal.c   events for people: log, store, streams
 *
 * Single-threaded: everything runs on the loop; the store has its own thread and answers by
 * callbacks. No decision about a lineage is made here.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>

#include "api/api.h"
#include "base/exits.h"
#include "base/paths.h"
#include "base/tokens.h"
#include "core/warden.h"
#include "daemon/config.h"
#include "issuer/provider.h"
#include "issuer/reply.h"
#include "issuer/spender.h"
#include "store/queue.h"
#include "store/store.h"
#include "sys/clock.h"
#include "vault/vault.h"

#define ASKINGS_MAX         (2 * SPENDER_QUESTIONS_MAX) /* of a spender, and of the one it replaced */
#define EVENTS_QUEUE_MAX    4096
#define WAITERS_MAX         1024
#define CONSUMERS_MAX       1024
#define LINEAGES_ASIDE      1 /* a profile: room for logins that are found in places and set aside */
#define CAPTURES_KEPT_MAX   4096
#define LEASE_MS            (10 * MINUTE_MS)
#define WANT_TIMEOUT_MS     (60 * SECOND_MS) /* a caller's patience unless it says otherwise */
#define WANT_TIMEOUT_MAX_MS (10 * MINUTE_MS)
#define ADD_TIMEOUT_MS      (15 * SECOND_MS)  /* at least, or what one question may take */
#define FP_KEY_META         "fingerprint_key" /* in the store */
#define LOG_FILE_MAX        (1024 * 1024)     /* then it becomes .old, and a new one begins */

/* What is held for one lineage besides the core's view of it. */
struct holding {
    uint64_t lineage;
    bool gone;                             /* retired; freed when no job speaks of it any more */
    int jobs;                              /* store jobs and questions under way */
    char profile[NAME_MAX_LEN + 1];        /* the name that points here; "" none (yet) */
    char wanted_profile[NAME_MAX_LEN + 1]; /* UNPROVEN: the name that shall point here */
    char renaming_to[NAME_MAX_LEN + 1];    /* on its way to disk; "" none */
    enum policy wanted_policy;
    bool was_adopted; /* some time or other */
    int64_t created_wall_ms;
    int64_t held_until_wall_ms;      /* as noted in the store */
    struct provider provider;        /* pinned */
    char subject[STORE_SUBJECT_MAX]; /* "" not known */
    char label[STORE_LABEL_MAX];
    uint64_t generation; /* of `sealed` and `access` */
    uint64_t fence;
    struct secret access; /* so that callers are answered from memory */
    struct buf sealed;    /* the current pair; the refresh token is only in here */
    uint64_t intent;      /* the open one; 0 none */
    int spool_fd;         /* between intent and spend: holds the spool's lock */
    bool intent_same_boot;
    bool recovering;               /* the outcome cannot be told yet: look again */
    bool after_restart;            /* … of a spend that an earlier daemon began */
    bool is_stuck;                 /* … and people have been told so */
    int64_t recover_until_boot_ms; /* then they are, and it is taken back if it can be */
    struct buf rescued;            /* an answer that is not in the spool; "" none */
    bool keep_spool;               /* what is in it cannot be understood: set aside */
    struct reply answer;           /* in hand from EV_ANSWER to EV_SETTLED */
    char spend_detail[REPLY_DETAIL_MAX];
    char write_detail[REPLY_DETAIL_MAX]; /* what the last write that failed was, and why */
    struct {
        int64_t since_wall_ms;
        char detail[REPLY_DETAIL_MAX];
    } alarms[ALARM_COUNT]; /* what a person is told of the raised ones; the bits are the core's */
    char asked_subject[REPLY_SUBJECT_MAX]; /* from identity to adoption */
    char asked_label[REPLY_SUBJECT_MAX];
    char source[STORE_DETAIL_MAX];
    struct holding *next;
};

/* A call that waits for the core: FX_ANSWER names it. */
struct waiting {
    uint64_t id;           /* 0: the slot is free */
    struct api_call *call; /* NULL: the peer left, or nobody asked (internal) */
    enum operation operation;
    char name[NAME_MAX_LEN + 1];
    uint64_t lineage;
    int64_t ttl_min_ms, deadline_boot_ms; /* TOKEN, RENEW: as in EV_WANT */
};

/* A question about a lineage that a spender has in hand. */
struct asking {
    uint64_t question; /* 0: the slot is free */
    uint64_t lineage, generation;
    uint64_t capture; /* that it is about; 0: the lineage's own pair */
};

struct daemon {
    uv_loop_t loop;
    struct paths paths;
    struct config config;
    char config_path[PATHS_SIZE + 32];
    char provider_dir[PATHS_SIZE + 32];
    char boot_id[BOOT_ID_SIZE];
    int64_t started_wall_ms, started_boot_ms;
    int64_t suspended_ms;
    int lock_fd, state_lock_fd; /* of the data folder, of the state folder */
    int spool_dir_fd, ready_fd;
    bool foreground;
    bool restored;
    bool stopping;
    int64_t stop_until_boot_ms;

    struct warden_limits limits;
    struct warden *warden;
    struct wake *wake;
    struct event *queue; /* EVENTS_QUEUE_MAX, a ring */
    uint32_t queue_at, queue_len;
    bool driving;
    struct effects effects;

    struct vault *vault;
    struct store_queue *store;
    struct spender *spender;
    struct api *api;
    struct holding *holdings;
    struct place *places;
    struct kept_capture *captures;
    uint32_t n_captures;
    uint32_t n_makings;               /* lineages that are being made of what was found */
    struct restoration last_restored; /* when an older copy was last taken for the store */
    struct event *loaded;             /* from recover_load() to recover_start() */
    uint32_t n_loaded;
    struct waiting waitings[WAITERS_MAX];
    uint64_t next_waiter;
    uint64_t next_question;
    struct asking askings[ASKINGS_MAX];
    uv_timer_t recover_timer;
    uv_timer_t stop_timer;
    uv_timer_t look_timer; /* places are looked at */
    uv_timer_t settle_timer;
    struct change *settling; /* callers who wait for what comes of a place (serve_places.c) */
    unsigned look_round;
    uv_signal_t signals[3];

    FILE *log;
    long log_size;
    char log_path[PATHS_SIZE + 32];
    struct api_call *streams[API_STREAMS_MAX];
    uint64_t last_event_id;
};

/* drive.c */
void drive(struct daemon *d,
           const struct event *ev); /* stamps ev->now; may be called from perform */
struct event event_of(enum event_kind kind, uint64_t lineage);
int drive_init(struct daemon *d);
void drive_free(struct daemon *d);

/* perform.c */
void perform(struct daemon *d, const struct effect *fx);

/* intake.c: the callbacks are passed where the questions are asked (perform.c) */
void intake_spent(void *ctx, uint64_t intent);
int intake_take_back(void *ctx, uint64_t intent); /* spender_options.take_back */
void intake_identity(void *ctx, uint64_t question, const struct reply *reply);
void intake_probed(void *ctx, uint64_t question, const struct reply *reply);
void intake_outcome(struct daemon *d, struct holding *h);

struct fp intake_subject_fp(const struct daemon *d, const struct provider *p, const char *subject);

/* repair.c: `credwardend --repair`, with the folders open and the lock held. What it did is
 * printed; what kept it from doing anything is in `text`. */
int repair(struct daemon *d, bool json, enum exit_code *ret, struct err_text *text);

/* recover.c */
int recover_load(struct daemon *d, struct store *s, struct err_text *text);
void recover_start(struct daemon *d); /* feeds the core, and begins to wait for open intents */
/* Look into the spool again in a moment, until the outcome can be told. Who has it in hand is left
 * alone for so long, and so long nobody need know that it takes its time. */
void recover_later(struct daemon *d, struct holding *h, int64_t patience_ms);

/* What the store has of a lineage → its holding; → the core's fact. */
int recover_holding(struct daemon *d, struct holding *h, const struct lineage_row *row,
                    struct err_text *text);
struct event recover_loaded(const struct daemon *d, const struct holding *h,
                            const struct lineage_row *row);

/* places.c */
struct place;
int places_load(struct daemon *d, struct store *s, struct err_text *text);
void places_start(struct daemon *d); /* the core is told of them, and of what was found in them */
void places_end(struct daemon *d);   /* the loop must run once more */
bool places_share(const struct daemon *d, const char *profile); /* its client writes one, too */
/* It has places of clients, and none of them may have the refresh token. */
bool places_have_access_alone(const struct daemon *d, const char *profile);
void places_rename(struct daemon *d, const char *from, const char *to);
void places_leave(struct daemon *d, const char *profile); /* it is removed */
struct place *place_find(const struct daemon *d, uint64_t id);
struct place *place_at(const struct daemon *d, const char *kind, const char *path);
/* ERR_UNSUPPORTED: no such kind; ERR_INVALID, ERR_TOO_LARGE: the path. Nobody is told yet. */
int place_new(struct daemon *d, const struct consumer_row *row, struct place **ret,
              struct err_text *text);
void place_bind(struct place *p); /* the core is told: of its profile's lineage */
void place_drop(struct place *p); /* nothing more is done there */
void perform_place(struct daemon *d, const struct effect *fx);   /* READ, PUBLISH */
void perform_capture(struct daemon *d, const struct effect *fx); /* of what was found there */

/* holding.c */
struct holding *holding_new(struct daemon *d, uint64_t lineage);
struct holding *holding_find(struct daemon *d, uint64_t lineage);
struct holding *holding_by_profile(struct daemon *d, const char *name);
struct holding *holding_by_wanted_profile(struct daemon *d, const char *name);
/* An `add` or a rename that is under way will give this name away: it is not free for another. */
bool holding_claims(struct daemon *d, const char *name);
struct holding *holding_by_intent(struct daemon *d, uint64_t intent);
void holding_drop(struct daemon *d, struct holding *h); /* freed once its jobs are done */
void holding_job_done(struct daemon *d, struct holding *h);
/* Unseals the current pair. ERR_CORRUPT is logged and raised as an event. */
int holding_unseal(struct daemon *d, const struct holding *h, struct tokens *ret);
int holding_take(struct holding *h, uint64_t generation, const struct tokens *tokens,
                 const struct buf *sealed);
struct rules rules_of(const struct daemon *d, const struct provider *p);

/* waiting.c */
struct waiting *waiting_new(struct daemon *d, struct api_call *call, enum operation operation,
                            const char *name, uint64_t lineage); /* NULL: full */
struct waiting *waiting_find(struct daemon *d, uint64_t id);
void waiting_gone(struct daemon *d, const struct api_call *call);
void waiting_want(struct daemon *d, const struct waiting *wt); /* TOKEN, RENEW: ask the core */
void waiting_answer(struct daemon *d, const struct effect *fx);
void waiting_stop(struct daemon *d); /* whoever still waits is told that we stop */

/* serve.c, serve_*.c */
void serve_table(struct daemon *d, struct api_handlers *ret);
void serve_add(void *ctx, struct api_call *call);
void serve_remove(void *ctx, struct api_call *call);
void serve_policy(void *ctx, struct api_call *call);
void serve_rename(void *ctx, struct api_call *call);
void serve_history(void *ctx, struct api_call *call);
void serve_events(void *ctx, struct api_call *call);
void serve_backup(void *ctx, struct api_call *call);
void serve_bind(void *ctx, struct api_call *call);
void serve_folder(void *ctx, struct api_call *call);
void serve_doctor(void *ctx, struct api_call *call);
void serve_unbind(void *ctx, struct api_call *call);
void serve_use(void *ctx, struct api_call *call);
void serve_consumers(void *ctx, struct api_call *call);
void settling_free(struct daemon *d);
json_t *profile_json(struct daemon *d, const struct holding *h);
json_t *time_json(int64_t wall_ms); /* RFC 3339, or null for 0 */
json_t *fp_json(struct fp fp);      /* short form, or null for none */
void unknown_profile(struct daemon *d, struct api_call *call);
const char *busy_reason(int err); /* what is short: ERR_NOMEM, or a queue */

/* journal.c */
void log_line(struct daemon *d, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int log_open(struct daemon *d, struct err_text *text); /* on failure the old one goes on */
void log_close(struct daemon *d);
/* Into the log, the store's events, and the open streams. `h` may be NULL. */
void journal(struct daemon *d, const struct holding *h, const char *kind, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
json_t *journal_json(const struct event_row *row);
void journal_stream_add(struct daemon *d, struct api_call *call);
void journal_streams_end(struct daemon *d); /* we stop: nothing more happens */
void journal_stream_gone(struct daemon *d, const struct api_call *call);

/* main.c */
void daemon_stop(struct daemon *d);
/* Configuration and log. `text`: what was done, or why nothing was: ERR_INVALID and ERR_TOO_LARGE
 * are the configuration's. */
int daemon_reload(struct daemon *d, struct err_text *text);

#endif

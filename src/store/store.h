/*
 * The store: profiles, lineages, pairs, intents, ledger, alarms, events, in one SQLite file.
 *
 * WAL, synchronous=FULL: when a function that writes returns 0, what it wrote is durable. All of
 * this is synchronous and belongs on one thread; store/queue.h is how the daemon's loop uses it.
 * Token bytes arrive and leave sealed (vault); the store never sees a plain one.
 *
 * Errors: ERR_FULL (disk or quota), ERR_IO, ERR_CORRUPT, ERR_CONFLICT (the row is not as the
 * caller believes: a fence or generation is older than the stored one), ERR_NOT_FOUND, ERR_EXISTS.
 * On any error nothing of the call is stored.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/words.h"

#define STORE_SUBJECT_MAX 256
#define STORE_LABEL_MAX   256
#define STORE_SEALED_MAX  (64 * 1024)
#define STORE_DETAIL_MAX  256
#define BOOT_ID_SIZE      37

struct store;

enum store_open_flags { STORE_CREATE = 1 };

/* Opens, checks (quick_check plus our own rules), migrates an older schema inside a transaction
 * (after a copy beside it: NAME.v<old>), refuses a newer one with ERR_NEWER. Mode 0600 is enforced.
 * `mark_path`: the high-water mark, a small file outside the store's folder. When the mark is
 * ahead of the store, the store is a restored copy: store_is_restored() is true, the event is
 * logged, and store_accept_restored() sets the mark back once every lineage is in doubt. */
int store_open(const char *path, const char *mark_path, int flags, struct store **ret,
               struct err_text *text);
void store_close(struct store *s); /* checkpoints. NULL-tolerant */
bool store_is_restored(const struct store *s);
int store_accept_restored(struct store *s);

/* Small named values (the sealed fingerprint key, …). */
int store_meta_get(struct store *s, const char *key, struct buf *out); /* ERR_NOT_FOUND */
int store_meta_set(struct store *s, const char *key, const void *bytes, size_t len);

struct profile_row {
    char name[NAME_MAX_LEN + 1];
    uint64_t lineage;
    enum policy policy;
    int64_t created_wall_ms;
};

struct lineage_row {
    uint64_t id;
    char provider[NAME_MAX_LEN + 1];
    struct buf definition;              /* pinned: record form of the provider at creation */
    enum standing standing;
    struct fp subject;
    char subject_text[STORE_SUBJECT_MAX]; /* as the server names it; "" not known */
    char label[STORE_LABEL_MAX];          /* e-mail or the like, for people; "" */
    uint64_t generation;
    uint64_t fence;
    int64_t held_until_wall_ms;
    int64_t doubt_since_wall_ms;
    bool replayed;
    uint32_t alarms;
    /* the current pair */
    struct pair pair;
    int64_t expires_boot_ms;            /* on the boot clock of boot_id; 0: none */
    char boot_id[BOOT_ID_SIZE];
    int64_t obtained_wall_ms;
    struct buf sealed;                  /* empty once wiped */
    /* the open intent, if any */
    uint64_t intent;
    bool intent_is_replay;
    int64_t intent_begun_wall_ms;
    char intent_boot_id[BOOT_ID_SIZE];
};
void lineage_row_init(struct lineage_row *row);
void lineage_row_release(struct lineage_row *row);

/* Calls back once a row; a negative return stops and is returned. */
int store_each_profile(struct store *s, int (*each)(void *ctx, const struct profile_row *),
                       void *ctx);
int store_each_lineage(struct store *s, bool with_retired,
                       int (*each)(void *ctx, const struct lineage_row *), void *ctx);
int store_get_lineage(struct store *s, uint64_t id, struct lineage_row *ret);

/* Capture: one transaction that inserts the lineage (UNPROVEN, generation 1), its pair and its
 * ledger row. The profile does not point at it until store_adopt(). */
struct capture {
    uint64_t lineage;
    const char *provider;
    const void *definition;
    size_t definition_len;
    struct pair pair;
    int64_t expires_boot_ms;
    const char *boot_id;
    enum origin origin;
    const char *source; /* "stdin", a path: who obtained it, for the ledger */
    const void *sealed;
    size_t sealed_len;
    int64_t held_until_wall_ms;
    int64_t now_wall_ms;
};
int store_capture(struct store *s, const struct capture *c); /* ERR_EXISTS: id taken */

/* Where a refresh or access fingerprint was seen: for `add` (held already? known as spent?). */
struct sighting {
    uint64_t lineage;
    uint64_t generation;
    bool is_current;
    bool spent;
};
int store_find_fp(struct store *s, struct fp fp, struct sighting *ret); /* ERR_NOT_FOUND */

/* UNPROVEN → standing, subject known; `profile` (name, policy) points at it, and the lineage it
 * pointed at before (if another) is retired: bytes wiped. */
int store_adopt(struct store *s, uint64_t lineage, enum standing standing, struct fp subject,
                const char *subject_text, const char *label, const char *profile,
                enum policy policy, int64_t now_wall_ms);

/* Intent: about to spend. ERR_CONFLICT when `fence` is not above the stored one, when another
 * intent of the lineage is open, or when `presented` is not the current pair's refresh token. */
struct intent {
    uint64_t id;
    uint64_t lineage;
    uint64_t fence;
    uint64_t generation;   /* of the pair whose refresh token is presented */
    struct fp presented;
    bool replay;
    const char *boot_id;
    int64_t now_wall_ms;
    const char *cause;     /* "due", "renew", "wish", "replay", "retry": for the ledger */
};
int store_intent(struct store *s, const struct intent *i);

/* Settlement: one transaction that stores the new pair as current, closes the intent as granted,
 * wipes the sealed bytes of the pair before (its row and fingerprints stay), and raises the
 * high-water count. ERR_CONFLICT when the intent is not open or the fence is older. Settling an
 * intent that is already closed with this same pair returns 0: recovery may repeat itself. */
struct settlement {
    uint64_t intent;
    uint64_t lineage;
    uint64_t fence;
    uint64_t generation;   /* of the new pair */
    struct pair pair;
    int64_t expires_boot_ms;
    const char *boot_id;
    enum origin origin;
    enum standing standing;
    const void *sealed;
    size_t sealed_len;
    const char *detail;    /* for the ledger: HTTP status, error code; no token */
    int64_t now_wall_ms;
};
int store_settle(struct store *s, const struct settlement *m);

/* Close an intent without a pair. */
struct closing {
    uint64_t intent;
    uint64_t lineage;
    enum verdict verdict;
    enum standing standing;
    bool replayed;
    const char *detail;
    int64_t now_wall_ms;
};
int store_close_intent(struct store *s, const struct closing *c);

/* End a lineage: bytes wiped, ledger kept; the profile that points at it goes. */
int store_retire(struct store *s, uint64_t lineage, const char *why, int64_t now_wall_ms);

int store_set_policy(struct store *s, const char *profile, enum policy policy,
                     int64_t now_wall_ms);
int store_rename(struct store *s, const char *from, const char *to, int64_t now_wall_ms);
int store_set_label(struct store *s, uint64_t lineage, const char *label);
int store_set_held(struct store *s, uint64_t lineage, int64_t held_until_wall_ms);

int store_alarm(struct store *s, uint64_t lineage, enum alarm alarm, bool raised,
                const char *detail, int64_t now_wall_ms);

/* The journal behind `events`: bounded (the oldest go). `detail` is text without tokens. */
struct event_row {
    uint64_t id;           /* ascending; 0 on insert */
    int64_t wall_ms;
    uint64_t lineage;      /* 0: none */
    char profile[NAME_MAX_LEN + 1];
    char kind[32];
    char detail[STORE_DETAIL_MAX];
};
#define STORE_EVENTS_MAX 20000
int store_event_add(struct store *s, const struct event_row *row, uint64_t *ret_id);
int store_each_event(struct store *s, uint64_t after_id, int limit,
                     int (*each)(void *ctx, const struct event_row *), void *ctx);

/* The ledger: every pair ever held, every spend with its outcome, in order of time. */
struct ledger_row {
    bool is_spend;             /* else: a pair came into being */
    int64_t wall_ms;
    uint64_t lineage;
    uint64_t generation;       /* pair: its own; spend: of the token presented */
    struct fp access;          /* pair */
    struct fp refresh;         /* pair: its token; spend: the one presented */
    struct fp parent;          /* pair: refresh token it was obtained with; none: from outside */
    enum origin origin;        /* pair */
    char source[STORE_DETAIL_MAX]; /* pair: who obtained it; spend: cause */
    int64_t expires_wall_ms;   /* pair */
    uint64_t intent;           /* spend */
    bool is_open;              /* spend: no outcome yet */
    bool replay;               /* spend */
    enum verdict verdict;      /* spend */
    int64_t closed_wall_ms;    /* spend */
    char detail[STORE_DETAIL_MAX];
};
int store_each_ledger(struct store *s, uint64_t lineage, int limit,
                      int (*each)(void *ctx, const struct ledger_row *), void *ctx);
/* Lineages a profile has ever had, newest first, the current one included. */
int store_each_profile_lineage(struct store *s, const char *profile,
                               int (*each)(void *ctx, uint64_t lineage), void *ctx);

/* A consistent copy while in use: written beside `dest`, synced, renamed. ERR_EXISTS unless
 * `overwrite`. The copy holds sealed tokens only and is noticed when it is put back. */
int store_backup(struct store *s, const char *dest, bool overwrite, struct err_text *text);

#endif

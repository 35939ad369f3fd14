/*
 * The store: profiles, lineages, pairs, intents, ledger, alarms, events, in one SQLite file.
 *
 * WAL, synchronous=FULL: when a function that writes returns 0, what it wrote is durable. All of
 * this is synchronous and belongs on one thread; store/queue.h is how the daemon's loop uses it.
 * Token bytes arrive and leave sealed (vault); the store never sees a plain one.
 *
 * Errors: ERR_FULL (disk, quota, file size limit), ERR_IO, ERR_CORRUPT, ERR_NOMEM, ERR_CONFLICT
 * (the row is not as the caller believes: a fence or generation is older than the stored one),
 * ERR_NOT_FOUND, ERR_EXISTS, ERR_INVALID and ERR_TOO_LARGE (the arguments break a rule named here).
 * After an error nothing of the call is stored and the store stays usable: what failed for want of
 * room works once there is room. One exception that no journal can avoid: a write that failed with
 * ERR_IO while it was being synced may be found done after a crash that follows at once. Each write
 * here either may be repeated or is safe when done (an intent found open is "in doubt").
 *
 * Texts that come from outside (source, detail, label, why) are cut at their maximum; NULL is "".
 *
 * Wiped bytes. The sealed bytes of the current pair are the only ones kept; a settlement replaces
 * them, a retirement removes them, and what goes is overwritten in the database. Older images stay
 * in the write-ahead log until it is reused; after a retirement the next store_tidy(), close or
 * open empties it: from then on the bytes are in none of the store's files. What is beyond the
 * files' own bytes (blocks given back to the file system, snapshots, wear levelling, backups made
 * before) is not promised: there the seal protects, and destroying the vault key ends it.
 *
 * Damage. Each page of the file carries a sum that every read checks, all of them on opening: a bit
 * that changed by itself is ERR_CORRUPT and never an answer. SQLite's log has sums of its own; one
 * that is wrong before the last transaction is ERR_CORRUPT too. The last transaction alone cannot
 * be told from one that a crash tore: the high-water mark tells, if it had been written by then.
 *
 * The file is locked for as long as it is open: a second process gets ERR_LOCKED, and other
 * programs read a backup instead.
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

#define STORE_SUBJECT_MAX    256
#define STORE_LABEL_MAX      256
#define STORE_SEALED_MAX     (64 * 1024)
#define STORE_DEFINITION_MAX (64 * 1024)
#define STORE_META_MAX       (64 * 1024)
#define STORE_DETAIL_MAX     256
#define BOOT_ID_SIZE         37

struct store;

enum store_open_flags { STORE_CREATE = 1 };

/* Opens, checks (every page, then our own rules), migrates an older schema inside a transaction
 * (after a copy beside it: NAME.v<old>), refuses a newer one with ERR_NEWER. Mode 0600 is enforced.
 * Both paths are absolute; both folders exist and are private.
 *
 * A file of version 1 has no sums: one with them takes its place, after the same copy.
 *
 * ERR_NOT_FOUND: no file, and no STORE_CREATE, or a mark that says there was one. ERR_CORRUPT: not
 * a store, or a damaged one. ERR_INSECURE: a symbolic link, or not ours. ERR_LOCKED: open
 * elsewhere. Whatever it refuses it leaves as it was, byte for byte; so does a migration that
 * fails.
 *
 * The log beside it is part of the store, unless it is of another one or of another time: a copy
 * was put in the store's place. Such a log is never played into it. It is kept as
 * NAME-wal.aside-<seconds>, once the copy alone is found sound, and the copy is a restored one.
 *
 * `mark_path`: the high-water mark, a small file outside the store's folder, with the store's
 * identity and a count of its changes (all but events). It is written after the commit it tells of
 * (store_tidy()), so it is never ahead of its own store. When it is ahead, or belongs to another
 * store, or is damaged, the store is a restored copy: store_is_restored() is true and the event is
 * logged. A missing mark is made anew, and that is logged if the store has ever changed: it cannot
 * be told whether the store is old then, nor when mark and store were put back together. */
int store_open(const char *path, const char *mark_path, int flags, struct store **ret,
               struct err_text *text);
/* What store_open() would say of it, migration apart, and nothing is changed. */
int store_judge(const char *path, const char *mark_path, struct err_text *text);
void store_close(struct store *s); /* tidies, checkpoints. NULL-tolerant */
bool store_is_restored(const struct store *s);

/* The restored copy goes on as the store: in one transaction each of these lineages that is live or
 * unproven, and has a refresh token, is put in doubt, all that are in doubt get the alarm
 * "restored", and the store gets a new identity, so that the one it was copied from will in its
 * turn be noticed. Then the mark follows. `outdated`: those that another run may have spent since,
 * as the core judges it (loaded_may_be_outdated()). Nothing happens when it is not restored. */
struct restoration {
    int64_t wall_ms;
    int64_t boot_ms; /* on the boot clock of boot_id */
    char boot_id[BOOT_ID_SIZE];
};
int store_accept_restored(struct store *s, const uint64_t *outdated, size_t n,
                          const struct restoration *now);
int store_last_restored(struct store *s,
                        struct restoration *ret); /* when that was; zeroed: never */

/* What needs no caller to wait for it: the mark, the log's checkpoint, the emptying of the log
 * after a retirement. The queue calls it when it is idle. What failed is tried again next time; the
 * error is for tests. Costs nothing when there is nothing to do. */
int store_tidy(struct store *s);

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
    struct buf definition; /* pinned: record form of the provider at creation */
    enum standing standing;
    struct fp subject;
    char subject_text[STORE_SUBJECT_MAX]; /* as the server names it; "" not known */
    char label[STORE_LABEL_MAX];          /* e-mail or the like, for people; "" */
    uint64_t generation;
    uint64_t fence;
    int64_t held_until_wall_ms;
    int64_t doubt_since_wall_ms;
    bool replayed;
    uint64_t doubt;  /* IN_DOUBT: the intent that was closed so last; 0: not known */
    bool claimed;    /* by us, from a capture: it may be nowhere else */
    bool kept;       /* by its user, of what was set aside: likewise */
    bool given_away; /* the current refresh token may be in a place that is no consumer any more */
    uint32_t alarms; /* bit per enum alarm: raised and not cleared */
    char wanted_profile[NAME_MAX_LEN + 1]; /* not adopted yet: what store_capture() was told; "" */
    enum policy wanted_policy;
    int64_t retired_wall_ms; /* RETIRED: when and why */
    char retired_why[STORE_DETAIL_MAX];
    /* the current pair */
    struct pair pair;
    int64_t expires_boot_ms; /* on the boot clock of boot_id; 0: none */
    char boot_id[BOOT_ID_SIZE];
    int64_t obtained_wall_ms;
    struct buf sealed; /* empty once wiped */
    /* the open intent, if any */
    uint64_t intent;
    bool intent_is_replay;
    int64_t intent_begun_wall_ms;
    char intent_boot_id[BOOT_ID_SIZE];
};
void lineage_row_init(struct lineage_row *row);
void lineage_row_release(struct lineage_row *row); /* NULL-tolerant */

/* Calls back once a row; a negative return stops and is returned. The row lives for the call; the
 * callback must not call the store. Profiles by name, lineages by age. */
int store_each_profile(struct store *s, int (*each)(void *ctx, const struct profile_row *),
                       void *ctx);
int store_each_lineage(struct store *s, bool with_retired,
                       int (*each)(void *ctx, const struct lineage_row *), void *ctx);
int store_get_lineage(struct store *s, uint64_t id, struct lineage_row *ret); /* ret: initialised */

/* Capture: one transaction that inserts the lineage (UNPROVEN, generation 1), its pair and its
 * ledger row. The profile does not point at it until store_adopt(); which one shall is kept, so
 * that an `add` goes on after a crash. */
struct capture {
    uint64_t lineage;
    const char *profile; /* wanted; "" or NULL: none */
    enum policy policy;
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

/* Where a refresh or access fingerprint was seen: for `add` (held already? known as spent?). Of
 * several places the current pair's comes first, then the latest. */
struct sighting {
    uint64_t lineage;
    uint64_t generation;
    bool is_current; /* the pair in use of a lineage that is not retired */
    bool spent;      /* that pair's refresh token was presented, and granted, or not surely not */
};
int store_find_fp(struct store *s, struct fp fp, struct sighting *ret); /* ERR_NOT_FOUND */

/* Believed: subject known, new standing (LIVE, or QUARANTINED with no profile: of one in doubt it
 * is kept since when). `profile` (name, policy; NULL: none) points at it from now on. The lineage
 * the name pointed at before is left without a name but as it is, for it may have a spend in
 * flight: store_retire() ends it. ERR_CONFLICT: adopted before (and not quarantined since),
 * retired, or pointed at by another name. */
int store_adopt(struct store *s, uint64_t lineage, enum standing standing, struct fp subject,
                const char *subject_text, const char *label, const char *profile,
                enum policy policy, int64_t now_wall_ms);

/* A quarantined lineage that no profile points at becomes an `add` again, whose `profile` shall
 * point at it once it is adopted. It is `kept` from then on; one that was set aside in doubt is in
 * doubt again; whose it is is not known any more. ERR_CONFLICT: it is not like that. */
int store_claim(struct store *s, uint64_t lineage, const char *profile, enum policy policy);

/* Consumers: places of clients that get a profile's tokens. They are the profile's: they follow its
 * name, and whichever lineage it points at, and go with it. */
#define STORE_KIND_MAX  16
#define STORE_PLACE_MAX 4096
struct consumer_row {
    uint64_t id; /* ascending, and never given again; 0 on insert */
    char profile[NAME_MAX_LEN + 1];
    char kind[STORE_KIND_MAX];   /* "claude", "env": which format or sink */
    char place[STORE_PLACE_MAX]; /* a folder, a file, a command: what the kind makes of it */
    bool with_pair;
    enum wish wish;
    char before[NAME_MAX_LEN + 1]; /* the profile whose it was before the last store_rebind(); "" */
    int64_t bound_wall_ms;
};
/* ERR_EXISTS: that kind and place are bound already, whoever's they are. ERR_NOT_FOUND: there is no
 * such profile. ERR_INVALID: no name, an empty kind or place. */
int store_bind(struct store *s, const struct consumer_row *row, uint64_t *ret_id);
/* Another profile's from now on, with this wish; its former one is remembered in `before` (the same
 * again: only the wish changes). ERR_NOT_FOUND: no such consumer, or profile; ERR_INVALID: no name.
 */
int store_rebind(struct store *s, uint64_t id, const char *profile, enum wish wish,
                 int64_t now_wall_ms);
int store_set_wish(struct store *s, uint64_t id, enum wish wish); /* ERR_NOT_FOUND */
/* The current refresh tokens of these lineages may stand there: noted as given away. ERR_NOT_FOUND:
 * no such consumer, and nothing is noted. */
int store_unbind(struct store *s, uint64_t id, const uint64_t *given_away, size_t n);
/* By id. */
int store_each_consumer(struct store *s, int (*each)(void *ctx, const struct consumer_row *),
                        void *ctx);

/* What was found in a consumer's place: captured (sealed, durable), not believed yet. Its sealed
 * bytes are wiped as a lineage's are when it is dropped or adopted, and go over to a lineage of its
 * own when it is set aside or claimed. */
struct captured {
    uint64_t id; /* drawn by the caller; not 0 */
    uint64_t consumer;
    uint64_t lineage; /* whose place it was: its provider's definition is the capture's, too */
    struct pair pair;
    const void *sealed;
    size_t sealed_len;
    const char *source; /* kind and place, for the ledger */
    int64_t now_wall_ms;
};
/* What the store has of a pair's tokens. */
struct acquaintance {
    bool is_ours;   /* each of its tokens is, or was, of a lineage: its bytes need not be kept */
    bool is_former; /* one of them was, and is not of the current pair of any lineage any more (one
                       that was ended has none); or its refresh token was spent for another */
};
/* Kept, unless it is ours. `*ret_id`: under which id; 0: it is ours, nothing is kept. A pair that
 * is kept already (same tokens, same expiry) keeps its id, its lineage and, as long as that one is
 * bound, its consumer; else it is this one's from now on. ERR_CONFLICT: the id is taken, or there
 * is no such lineage. */
int store_keep_capture(struct store *s, const struct captured *c, uint64_t *ret_id,
                       struct acquaintance *ret);
int store_meet_pair(struct store *s, const struct pair *pair, struct acquaintance *ret);
int store_drop_capture(struct store *s, uint64_t id); /* not there: 0 */

struct captured_row {
    uint64_t id;
    uint64_t consumer;
    uint64_t lineage;
    struct pair pair;
    struct buf sealed;
    char source[STORE_DETAIL_MAX];
    int64_t seen_wall_ms;
    struct acquaintance met; /* as store_meet_pair() has it now */
};
int store_each_capture(struct store *s, int (*each)(void *ctx, const struct captured_row *),
                       void *ctx); /* by age; the row lives for the call */

/* The captured pair becomes the lineage's current one: LIVE, held until `held_until_wall_ms`, no
 * doubt, not replayed; the former pair goes to the ledger, its bytes are wiped, the capture is
 * gone. ERR_CONFLICT: no such capture; the lineage is not there, is retired, has an open intent, or
 * `generation` is not its next one; or the ledger knows the refresh token as spent, as refused, as
 * presented and lost (but not where it is the lineage's own current one), or as the current one of
 * another lineage that is not retired. */
struct capture_adoption {
    uint64_t capture;
    uint64_t lineage;
    uint64_t generation; /* of the new pair */
    const void *sealed;  /* to its new place */
    size_t sealed_len;
    bool given_away; /* it was found in a place that is no consumer any more */
    int64_t held_until_wall_ms;
    int64_t now_wall_ms;
};
int store_adopt_capture(struct store *s, const struct capture_adoption *a);

/* The captured pair becomes a lineage of its own (generation 1): QUARANTINED with this subject and
 * no name; or UNPROVEN and `claimed`, to have `profile` with `policy`. Its definition is that of
 * the lineage in whose place it was found. ERR_NOT_FOUND: no such capture, or, to claim, no such
 * profile. ERR_EXISTS, to set aside: a lineage that is not retired has that refresh token (the
 * capture is gone then); to claim: another unproven lineage is to have that name. ERR_CONFLICT, to
 * claim: the ledger knows its refresh token, as above. ERR_INVALID: also an id that is taken. */
struct capture_lineage {
    uint64_t capture;
    uint64_t lineage;                 /* of the new one; drawn by the caller */
    struct fp subject;                /* to set aside; none: not known */
    const char *subject_text, *label; /* likewise; NULL: "" */
    const char *profile;              /* to claim */
    enum policy policy;               /* to claim */
    const void *sealed;               /* to its new place */
    size_t sealed_len;
    bool given_away;
    int64_t now_wall_ms;
};
int store_set_capture_aside(struct store *s, const struct capture_lineage *c);
int store_claim_capture(struct store *s, const struct capture_lineage *c);

/* Intent: about to spend. ERR_CONFLICT when `fence` is not above the stored one, when another
 * intent of the lineage is open, when `presented` is not the current pair's refresh token, or when
 * the standing does not allow it: a replay is of a doubt that was not replayed, and nothing that is
 * dead, set aside or retired is spent.
 * ERR_EXISTS: the id is taken. Room in the log for the settlement is reserved on the disk (where
 * the file system can), so that a disk that fills up in mid-spend does not refuse it; ERR_FULL when
 * there is none, before anything was spent. */
struct intent {
    uint64_t id;
    uint64_t lineage;
    uint64_t fence;
    uint64_t generation; /* of the pair whose refresh token is presented */
    struct fp presented;
    bool replay;
    const char *boot_id;
    int64_t now_wall_ms;
    const char *cause; /* "due", "renew", "wish", "replay", "retry": for the ledger */
};
int store_intent(struct store *s, const struct intent *i);

/* Settlement: one transaction that stores the new pair as current, closes the intent as granted,
 * wipes the sealed bytes of the pair before (its row and fingerprints stay), and lets nobody hold
 * the new one yet (held_until 0). ERR_CONFLICT when the intent is not open, the fence is older, or
 * the generation is not the next. Settling an intent that is already closed with this same pair
 * returns 0: recovery may repeat itself. An intent that was closed in doubt may still be settled
 * while its pair is the current one and no other intent is open: an answer that turns up late is
 * not thrown away. */
struct settlement {
    uint64_t intent;
    uint64_t lineage;
    uint64_t fence;
    uint64_t generation; /* of the new pair */
    struct pair pair;
    int64_t expires_boot_ms;
    const char *boot_id;
    enum origin origin;
    enum standing standing;
    const void *sealed;
    size_t sealed_len;
    const char *detail; /* for the ledger: HTTP status, error code; no token */
    int64_t now_wall_ms;
};
int store_settle(struct store *s, const struct settlement *m);

/* Close an intent without a pair (any verdict but GRANTED). ERR_CONFLICT: closed with another
 * verdict; with the same one it returns 0. */
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

/* A doubt that proved groundless: the lineage stands as it did before (LIVE, UNPROVEN).
 * ERR_CONFLICT: it is not in doubt. */
int store_resolve(struct store *s, uint64_t lineage, enum standing standing);

/* End a lineage: bytes wiped (see above), ledger kept; the profile that points at it goes, its
 * alarms are cleared, an open intent is closed in doubt. Again: 0. */
int store_retire(struct store *s, uint64_t lineage, const char *why, int64_t now_wall_ms);

/* Of the profile, and of what waits to become it. */
int store_set_policy(struct store *s, const char *profile, enum policy policy);
/* The history goes along. ERR_EXISTS: a profile has that name. */
int store_rename(struct store *s, const char *from, const char *to);
int store_set_label(struct store *s, uint64_t lineage, const char *label);
int store_set_held(struct store *s, uint64_t lineage, int64_t held_until_wall_ms);

/* Raise or clear; lineage 0: the store's own. Raising a raised one or clearing a cleared one
 * changes nothing: the first `raised` time and detail stay. */
int store_alarm(struct store *s, uint64_t lineage, enum alarm alarm, bool raised,
                const char *detail, int64_t now_wall_ms);

/* Alarms, open ones or all that are kept (the latest STORE_ALARMS_MAX cleared ones), oldest first.
 */
struct alarm_row {
    uint64_t lineage;
    enum alarm alarm;
    int64_t raised_wall_ms;
    int64_t cleared_wall_ms; /* 0: open */
    char detail[STORE_DETAIL_MAX];
};
#define STORE_ALARMS_MAX 1000
int store_each_alarm(struct store *s, bool with_cleared,
                     int (*each)(void *ctx, const struct alarm_row *), void *ctx);

/* The journal behind `events`: bounded (the oldest go). `detail` is text without tokens. */
struct event_row {
    uint64_t id; /* ascending; 0 on insert */
    int64_t wall_ms;
    uint64_t lineage; /* 0: none */
    char profile[NAME_MAX_LEN + 1];
    char kind[32];
    char detail[STORE_DETAIL_MAX];
};
#define STORE_EVENTS_MAX 20000
int store_event_add(struct store *s, const struct event_row *row, uint64_t *ret_id); /* NULL fine */
/* Ascending, from the first after `after_id`; at most `limit` (0: all). */
int store_each_event(struct store *s, uint64_t after_id, int limit,
                     int (*each)(void *ctx, const struct event_row *), void *ctx);

/* The ledger: every pair ever held, every spend with its outcome, in the order in which they
 * happened (whatever the clock said): a pair, the spends that presented its token, the next pair.
 * At most the `limit` last ones (0: all). */
struct ledger_row {
    bool is_spend; /* else: a pair came into being */
    int64_t wall_ms;
    uint64_t lineage;
    uint64_t generation; /* pair: its own; spend: of the token presented */
    struct fp access;    /* pair */
    struct fp refresh;   /* pair: its token; spend: the one presented */
    struct fp parent;    /* pair: refresh token it was obtained with; none: from outside */
    enum origin origin;  /* pair */
    char source[STORE_DETAIL_MAX]; /* pair: who obtained it; spend: cause */
    int64_t expires_wall_ms;       /* pair */
    uint64_t intent;               /* spend */
    bool is_open;                  /* spend: no outcome yet */
    bool replay;                   /* spend */
    enum verdict verdict;          /* spend */
    int64_t closed_wall_ms;        /* spend */
    char detail[STORE_DETAIL_MAX];
};
int store_each_ledger(struct store *s, uint64_t lineage, int limit,
                      int (*each)(void *ctx, const struct ledger_row *), void *ctx);
/* Lineages a profile has ever had, newest first, the current one included; also of a profile that
 * was removed. */
int store_each_profile_lineage(struct store *s, const char *profile,
                               int (*each)(void *ctx, uint64_t lineage), void *ctx);

/* Whether the ledger has this spend, open or closed: once it has, it has for good. */
int store_knows_intent(struct store *s, uint64_t intent, bool *ret);

/* A consistent copy while in use: written beside `dest`, checked, synced, renamed. `dest` is
 * absolute. ERR_EXISTS unless `overwrite`; ERR_INVALID for the store itself and for any name in
 * its folder or the mark's, by whatever path. One file, 0600; it holds sealed tokens only and is
 * noticed when it is put back. To put it back: with no daemon running, move the copy to NAME; what
 * log lies there is noticed, see store_open(). */
int store_backup(struct store *s, const char *dest, bool overwrite, struct err_text *text);

/* Repair of a damaged store, while none is open and the caller holds the daemon's lock. What is
 * sound of `path` and its log is put together beside it as a new store: every lineage whose row is
 * sound and whose sealed pair is there, with what is sound of its history. It is no open store:
 * besides store_salvage_…() only store_each_lineage(), store_meta_get() and store_meta_set() may be
 * called. The old files are only read. ERR_CORRUPT: nothing of it is sound. ERR_NOT_FOUND. */
struct salvage_facts {
    uint32_t pages;        /* that the store has */
    uint32_t lost_pages;   /* of them: not as they were written */
    uint32_t mended_pages; /* … but for one byte, which is right again */
    uint32_t lost_rows;    /* on sound pages, but they are not whole, or do not fit the others */
    bool log_is_damaged;
};
int store_salvage(const char *path, int64_t now_wall_ms, struct store **ret,
                  struct salvage_facts *ret_facts, struct err_text *text);
/* For each lineage: it is not to be kept (its pair does not open); or what its tokens' fingerprints
 * and its subject's are. A pair whose row was lost has none until then, and gets this expiry. */
int store_salvage_forget(struct store *s, uint64_t lineage);
int store_salvage_pair(struct store *s, uint64_t lineage, struct fp access, struct fp refresh,
                       struct fp subject, int64_t expires_wall_ms);
/* Then, once: what belongs to a forgotten one goes, and what has lost its name gets one.
 * `is_whole`: nothing was lost, so what it says is not doubted. */
int store_salvage_fit(struct store *s, bool is_whole, int64_t now_wall_ms);
/* What became of each name: "saved"; "renamed": its row was lost, and what it points at has it
 * back, or got one (saved-1), with the policy `never`; "lost"; "perhaps": a name of the past, and
 * it is not known whether it was removed. */
int store_salvage_each(struct store *s, int (*each)(void *ctx, const char *name, const char *how),
                       void *ctx);
/* The new store gets the name `path`, as a restored copy; the old files keep their bytes as
 * `*ret_aside` and …-wal. Frees `s`. A crash at any moment leaves the damaged store, or none and a
 * repair that store_salvage_go_on() brings to its end; on failure too. What else it leaves is swept
 * by the next store_open() that is successful, and by the next repair. */
#define STORE_PATH_SIZE 4096
int store_salvage_end(struct store *s, const char *path, char ret_aside[STORE_PATH_SIZE],
                      struct err_text *text);
int store_salvage_go_on(const char *path, char ret_aside[STORE_PATH_SIZE],
                        struct err_text *text); /* ERR_NOT_FOUND: none was interrupted */
/* Instead of the end; the old files stay. */
void store_salvage_drop(struct store *s);
/* Instead of all of it, of a store that is sound: what an earlier repair left beside it goes. */
void store_salvage_sweep(const char *path);

#endif

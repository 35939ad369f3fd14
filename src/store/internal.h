/*
 * What the files of the store share: the open store, SQL with typed arguments and columns, the
 * transaction, the mark.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <sqlite3.h>
#include <sys/types.h>

#include "store/store.h"

#define STORE_UUID_LEN 16

/* Schema: step i takes version i to i + 1. The version of a store is how many it has been through.
 */
struct store_schema {
    const char *const *steps;
    int n;
};
extern const struct store_schema store_schema;

/* The high-water mark (mark.c). */
struct mark {
    int fd;
    uint64_t sequence; /* of the last write; says which slot is the newer */
    uint8_t uuid[STORE_UUID_LEN];
    uint64_t changes;
};
enum mark_state { MARK_ABSENT, MARK_VALID, MARK_DAMAGED };

/* Errors are those of a file that cannot be used at all; `m->fd` is open unless MARK_ABSENT. */
int mark_load(const char *path, struct mark *m, enum mark_state *ret, struct err_text *text);
/* Make the file anew, whole and durable, whatever is there. */
int mark_make(const char *path, const uint8_t uuid[STORE_UUID_LEN], uint64_t changes,
              struct mark *m, struct err_text *text);
/* Durable on return; a crash or failure in the middle leaves the value before. */
int mark_write(struct mark *m, const uint8_t uuid[STORE_UUID_LEN], uint64_t changes);
void mark_close(struct mark *m);

/* Prepared statements, by the address of their text: SQL stands beside the code that uses it. */
#define SQL_CACHE_MAX 128
struct sql_cached {
    const char *text;
    sqlite3_stmt *st;
};

struct store {
    sqlite3 *db;
    char *path;
    char *mark_path;
    dev_t dev; /* of the file: a backup must not land on it */
    ino_t ino;
    struct sql_cached cache[SQL_CACHE_MAX];

    uint8_t uuid[STORE_UUID_LEN];
    uint64_t changes;      /* durable */
    uint64_t next_changes; /* of the transaction under way */
    bool is_plain;         /* of a version before pages had sums; never past store_open() */
    bool has_log;          /* a crash left one: it is closed as it was found, until all is well */
    bool log_is_headless;  /* … and that is what is wrong with it */
    bool log_is_foreign;   /* it is of another store: read without it, for a judgement alone */
    char log_aside[128];   /* the name that such a one has been given on opening, or "" */
    bool wipe_due;         /* the log holds bytes that were retired */

    struct mark mark;
    bool mark_is_valid; /* belongs to this store and is not ahead of it */
    bool mark_failed;   /* told once */
    bool restored;      /* until accepted; durable too */

    int wal_frames;     /* in the log since it was last begun anew */
    off_t wal_reserved; /* bytes of the log that have blocks of their own, as far as we know */
    int wal_fd;
};

/* SQL (sql.c) */

enum sql_kind { SQL_NULL_ARG, SQL_INT_ARG, SQL_TEXT_ARG, SQL_BLOB_ARG, SQL_FP_ARG };
struct sql_arg {
    enum sql_kind kind;
    int64_t number;
    const void *bytes; /* TEXT is copied when bound; a BLOB must outlive the run */
    size_t len;
    struct fp fp;
};
struct sql_arg arg_i64(int64_t value);
struct sql_arg arg_u64(uint64_t value);    /* two's complement: ids keep all their bits */
struct sql_arg arg_id(uint64_t value);     /* 0: NULL */
struct sql_arg arg_text(const char *text); /* NULL: "" */
struct sql_arg arg_text_cut(const char *text,
                            size_t size); /* at most size - 1 bytes, whole characters */
struct sql_arg arg_blob(const void *bytes, size_t len);
struct sql_arg arg_fp(struct fp fp); /* none: NULL */

#define SQL_ARGS(...)                                                                              \
    (const struct sql_arg[]){__VA_ARGS__},                                                         \
        sizeof((const struct sql_arg[]){__VA_ARGS__}) / sizeof(struct sql_arg)
#define SQL_NO_ARGS NULL, 0

/* The layer (layer.c): the name under which SQLite knows the one that writes and checks sums, or
 * the one for a store that has none. A page without its sum is SQLITE_CORRUPT to whoever reads it.
 * Once sqlite3_initialize() was successful. */
const char *layer_vfs(bool is_plain);
/* What errno was when a call of this thread failed below SQLite, the last one since this was asked;
 * 0: none did. */
int layer_trouble(void);

/* SQLite's word → enum err; right after the call it is about, because the system's own says more.
 */
int sql_err(int rc);
/* Why the last sql_err() of this thread was negative, for a person: the system's reason, or
 * SQLite's. */
const char *sql_reason(const struct store *s, int err);

/* One run of a statement that gives rows. After sql_start() came back with 0, sql_end() must
 * follow. */
struct sql_rows {
    struct store *s;
    sqlite3_stmt *st;
    int next; /* column that the next read_…() takes */
    int err;  /* the first thing that a read_…() found wrong */
};
int sql_start(struct store *s, const char *text, const struct sql_arg *args, size_t n,
              struct sql_rows *ret);
int sql_next(struct sql_rows *r); /* 1: a row; 0: no more; negative */
void sql_end(struct sql_rows *r);

/* Columns, left to right. What does not fit or parse makes r->err ERR_CORRUPT. */
int64_t read_i64(struct sql_rows *r);
uint64_t read_u64(struct sql_rows *r); /* NULL: 0 */
bool read_bool(struct sql_rows *r);
struct fp read_fp(struct sql_rows *r);                      /* NULL: none */
void read_text(struct sql_rows *r, char *buf, size_t size); /* NULL: "" */
void read_blob(struct sql_rows *r, struct buf *out);        /* replaced; NULL: empty */
enum standing read_standing(struct sql_rows *r);
enum policy read_policy(struct sql_rows *r);
enum origin read_origin(struct sql_rows *r);   /* NULL: the first */
enum verdict read_verdict(struct sql_rows *r); /* NULL: the first */
enum alarm read_alarm(struct sql_rows *r);
enum wish read_wish(struct sql_rows *r);

/* Run to the end: rows changed, or negative. A broken constraint is ERR_CONFLICT. */
int sql_run(struct store *s, const char *text, const struct sql_arg *args, size_t n);
/* The first row alone: ERR_NOT_FOUND when there is none, else sql_end() must follow. */
int sql_first(struct store *s, const char *text, const struct sql_arg *args, size_t n,
              struct sql_rows *ret);
/* The first column of the first row, as a number. */
int sql_number(struct store *s, const char *text, const struct sql_arg *args, size_t n,
               int64_t *ret);
int sql_script(struct store *s, const char *script); /* statements without arguments, uncached */
void sql_forget(struct store *s);                    /* finalize all */
/* Tell SQLite's word as a sentence about the store's file. */
int sql_say(struct store *s, int err, const char *doing, struct err_text *text);

/* One durable transaction around `body`, and, if it changed a row, one more change for the
 * high-water mark; any negative return undoes it. */
int store_write(struct store *s, int (*body)(struct store *s, const void *args), const void *args);
/* The same, uncounted: for the journal, whose loss makes no store an older one. */
int store_note(struct store *s, int (*body)(struct store *s, const void *args), const void *args);

/* Before another pair becomes the current one: whether its refresh token, too, may stand in a place
 * that is no consumer (spend.c). Rows changed, or negative. */
int note_given_away(struct store *s, uint64_t lineage, struct fp next, bool also);

/* Whether a profile has this name (consumer.c). ERR_NOT_FOUND. */
int find_profile(struct store *s, const char *name);

/* store_meta_set() as part of a write (journal.c). */
int meta_put(struct store *s, const char *key, const void *bytes, size_t len);

/* The log (wal.c) */
void wal_watch(struct store *s);
int wal_reserve(struct store *s, int64_t open_intents); /* ERR_FULL */
int wal_checkpoint(struct store *s);                    /* as far as it goes; the log is reused */
int wal_empty(struct store *s);                         /* all of it; the log is truncated */
bool wal_is_long(const struct store *s, int frames);

/* Sums in pages (sums.c): the last STORE_RESERVED bytes of each, over the others and its number,
 * which counts from 1. */
#define STORE_PAGE_SIZE 4096
#define STORE_RESERVED  8
void sums_stamp(uint8_t page[STORE_PAGE_SIZE], uint32_t number);
bool sums_agree(const uint8_t page[STORE_PAGE_SIZE], uint32_t number);
/* If one byte of the page is all that is wrong, it is put right: which one, and what it was,
 * follows from the sum. */
bool sums_mend(uint8_t page[STORE_PAGE_SIZE], uint32_t number);
/* Each page of a file that has room for sums. Not synced. ERR_CORRUPT: it ends within a page. */
int sums_stamp_file(const char *path);

/* What is in the log's file (frames.c), as far as its frames follow from one another; one damaged
 * spot is stepped over. */
enum log_state {
    LOG_WHOLE,    /* or nothing is in it */
    LOG_TORN,     /* from some frame on it is not: the last transaction, or none, was under way */
    LOG_HEADLESS, /* its own header is wrong, its frames are not */
    LOG_DAMAGED,  /* a frame is wrong, and transactions that were durable follow it */
};
struct log_frame {
    const uint8_t *page;
    uint32_t number;
    uint32_t pages; /* not 0: a commit, and how many pages the store has then */
    bool is_sound;
};
struct log {
    enum log_state state;
    uint32_t n; /* up to the last commit that counts; behind the damage unless it is LOG_TORN */
    struct log_frame *frames;
};
int log_scan(const uint8_t *bytes, size_t len, struct log *ret); /* ERR_NOMEM */
void log_release(struct log *l);

/* The log beside the file `path` (beside.c): what is in it, and whether it is of another store, or
 * of another time of this one, so that it must not be played into it. Nothing is there: all zero.
 * ERR_NOT_FOUND: there is a log, but no such file. */
struct log_beside {
    struct buf bytes;
    struct log found;
    bool is_foreign;
};
int log_look(const char *path, struct log_beside *ret, struct err_text *text);
void log_beside_release(struct log_beside *b);
/* PATH.aside-<seconds>: what nobody has as a name yet. */
int store_aside_name(const char *path, char ret[STORE_PATH_SIZE], struct err_text *text);
/* Gives the log such a name. Durable on return. */
int log_set_aside(const char *path, char ret_aside[STORE_PATH_SIZE], struct err_text *text);

/* Open (open.c, create.c, schema.c, copy.c) */
#define STORE_APPLICATION_ID    0x43575344   /* in the file's header: ours and nobody else's */
#define STORE_PLAIN_VERSION_MAX 1            /* the last one whose pages may be without sums */
#define STORE_REPAIRING         ".repairing" /* what a repair builds */
#define STORE_REPAIRED          ".repaired"  /* … once it is whole, on its way to its name */
#define STORE_LOG_MAX           ((size_t)1 << 30)
/* Said of a file that is refused. */
#define STORE_WAY_OUT "run `credwarden repair`, or put a backup in its place"
int store_open_with(const char *path, const char *mark_path, int flags,
                    const struct store_schema *schema, struct store **ret, struct err_text *text);
/* sqlite3_open_v2 and what must be set before the first page is read. `s->path` is set. With a
 * foreign log nothing can be written. */
int store_connect(struct store *s, int flags, struct err_text *text);
/* The same for a file that is synced as a whole before it has its name: SQLite syncs nothing. */
int store_connect_unsynced(struct store *s, struct err_text *text);
void store_disconnect(struct store *s);
void store_release(struct store *s); /* disconnects, untidied; frees */
/* An empty file at `s->path` becomes an empty store, open. Nothing of it is synced. */
int store_build(struct store *s, const struct store_schema *schema, struct err_text *text);
/* A new store at `path`: not there at all, or whole and durable. ERR_EXISTS. */
int store_create(const char *path, const struct store_schema *schema, struct err_text *text);
/* Steps from..to-1 and the new version, inside the caller's transaction. */
int store_run_steps(struct store *s, const struct store_schema *schema, int from,
                    struct err_text *text);
/* To the schema's version, from an older one, in one transaction and after a copy. */
int store_migrate(struct store *s, const struct store_schema *schema, int from,
                  struct err_text *text);
/* Of a file without sums: another one with them takes its place, of the schema's version, after a
 * copy. On success `s` is not connected. */
int store_add_sums(struct store *s, const struct store_schema *schema, int from,
                   struct err_text *text);
/* ERR_CORRUPT unless every page has its sum and SQLite finds the file sound. */
int store_check_pages(struct store *s, struct err_text *text);
/* Our own rules, beyond what SQLite checks. */
int store_check_rules(struct store *s, struct err_text *text);
/* A whole, checked, synced copy at `dest` (0600). */
int store_copy(struct store *s, const char *dest, bool overwrite, struct err_text *text);
/* A store that is not, or no longer, wanted. */
void store_remove_with_log(const char *path);
int store_path_join(char ret[STORE_PATH_SIZE], const char *path, const char *suffix,
                    struct err_text *text); /* ERR_TOO_LARGE */

/* The mark's side of an open store (restore.c). */
int store_meet_mark(struct store *s, bool is_new, struct err_text *text);
/* By its own mark: changes that were durable are not in it. */
bool store_lacks_changes(const struct store *s);
int store_flush_mark(struct store *s);

#endif

/*
 * Opening and closing. Nothing is written before all is known to be well: a file that is refused
 * stays as it was, and so does a log that a crashed process left beside it.
 */
#include "store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sys/file.h"
#include "sys/process.h"

#define BUSY_MS     250 /* a killed process's lock may outlive it for a moment */
#define IDLE_FRAMES 256 /* 1 MiB of log is worth a checkpoint when nobody waits */
#define MAGIC       "SQLite format 3"
#define MAGIC_LEN   16
#define AT_RESERVED 20 /* of the file's header: bytes at the end of each page */
#define HEAD_LEN    100

int sql_say(struct store *s, int err, const char *doing, struct err_text *text)
{
    if (err == ERR_LOCKED) {
        return err_say(text, err, "%s is in use by another process", s->path);
    }
    return err_say(text, err, "%s cannot be %s: %s%s", s->path, doing, sql_reason(s, err),
                   err == ERR_CORRUPT ? "; " STORE_WAY_OUT
                   : err == ERR_FULL  ? "; make room on that disk"
                                      : "");
}

int store_path_join(char ret[STORE_PATH_SIZE], const char *path, const char *suffix,
                    struct err_text *text)
{
    int n = snprintf(ret, STORE_PATH_SIZE, "%s%s", path, suffix);
    return n > 0 && n < STORE_PATH_SIZE
               ? 0
               : err_say(text, ERR_TOO_LARGE, "the path %.64s… is too long", path);
}

/* The files, before SQLite sees them. All descriptors are closed again first: closing one later
 * would drop SQLite's locks (POSIX). */

static int check_facts(const char *path, const struct file_facts *facts, struct err_text *text)
{
    if (facts->kind != FILE_REGULAR) {
        bool is_link = facts->kind == FILE_LINK;
        return err_say(text, is_link ? ERR_INSECURE : ERR_CORRUPT,
                       "%s is %s, where a store itself was expected; move it away", path,
                       is_link ? "a symbolic link" : "not a regular file");
    }
    if (facts->owner != process_uid()) {
        return err_say(text, ERR_INSECURE, "%s belongs to uid %u, not to uid %u", path,
                       facts->owner, process_uid());
    }
    int err = facts->mode == 0600 ? 0 : path_make_private(path);
    return err < 0 ? err_say(text, err, "cannot make %s private: %s", path, strerror(errno)) : 0;
}

static int check_content(struct store *s, struct err_text *text)
{
    uint8_t head[HEAD_LEN] = {0};
    int fd = -1;
    int err = path_open(PATH_CWD, s->path, OPEN_READ, &fd);
    if (err < 0) {
        return err_say(text, err, "cannot open %s: %s", s->path, strerror(errno));
    }
    ssize_t n = fd_read_at(fd, head, sizeof(head), 0);
    fd_close(&fd);
    if (n < 0) {
        return err_say(text, (int)n, "cannot read %s: %s", s->path, strerror(errno));
    }
    if (n != HEAD_LEN || memcmp(head, MAGIC, MAGIC_LEN) != 0) {
        return err_say(text, ERR_CORRUPT, "%s is %s; " STORE_WAY_OUT ", or move it away", s->path,
                       n == 0 ? "empty" : "not a store");
    }
    s->is_plain = head[AT_RESERVED] != STORE_RESERVED;
    return 0;
}

/* Durable transactions behind a damaged spot would be dropped without a word. */
static int check_log(struct store *s, const char *log_path, struct err_text *text)
{
    struct log_beside b;
    int err = log_look(s->path, &b, text);
    if (err < 0) {
        return err;
    }
    s->log_is_foreign = b.is_foreign;
    s->log_is_headless = !b.is_foreign && b.found.state == LOG_HEADLESS;
    s->has_log = !b.is_foreign && b.bytes.len > 0;
    if (!b.is_foreign && b.found.state == LOG_DAMAGED) {
        err = err_say(text, ERR_CORRUPT, "%s is damaged, and %s with it; " STORE_WAY_OUT, log_path,
                      s->path);
    }
    log_beside_release(&b);
    return err;
}

static int check_files(struct store *s, struct err_text *text)
{
    char log_path[STORE_PATH_SIZE];
    struct file_facts file, log;
    int err = store_path_join(log_path, s->path, "-wal", text);
    if (err < 0) {
        return err;
    }
    s->has_log = s->log_is_headless = s->log_is_foreign = false;
    err = path_look(PATH_CWD, s->path, false, &file);
    if (err < 0) {
        return err_say(text, err, "cannot open %s: %s", s->path, strerror(errno));
    }
    err = check_facts(s->path, &file, text);
    if (err == 0) {
        err = check_content(s, text);
    }
    if (err == 0 && path_look(PATH_CWD, log_path, false, &log) == 0) {
        err = check_facts(log_path, &log, text);
        if (err == 0) {
            err = check_log(s, log_path, text);
        }
    }
    /* With a log, a crash may have stopped the file in mid-growth: the log has that page. */
    if (err == 0 && !s->has_log && file.size % STORE_PAGE_SIZE != 0) {
        err = err_say(text, ERR_CORRUPT, "%s is cut short; " STORE_WAY_OUT, s->path);
    }
    if (err == 0) {
        s->dev = file.dev;
        s->ino = file.ino;
    }
    return err;
}

/* The connection */

/* The store is ours alone: with an exclusive lock the log needs no shared-memory file, which on a
 * full tmpfs would be a SIGBUS. */
static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE;"
                               "PRAGMA synchronous = FULL;"
                               "PRAGMA secure_delete = ON;"
                               "PRAGMA temp_store = MEMORY;"
                               "PRAGMA cell_size_check = ON;";

static void configure(sqlite3 *db)
{
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
}

/* The file alone, as it is: SQLite neither looks for a log then nor writes. */
static int open_alone(struct store *s)
{
    char uri[8 + 3 * STORE_PATH_SIZE + 16] = "file:";
    size_t len = strlen(uri);
    for (const char *c = s->path; *c != '\0' && len < 3 * (size_t)STORE_PATH_SIZE; c++) {
        len += (size_t)snprintf(uri + len, 4, "%%%02X", (unsigned char)*c);
    }
    (void)snprintf(uri + len, sizeof(uri) - len, "?immutable=1");
    return sqlite3_open_v2(uri, &s->db,
                           SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
                               SQLITE_OPEN_EXRESCODE,
                           layer_vfs(s->is_plain));
}

static int open_with_log(struct store *s, int flags)
{
    return sqlite3_open_v2(s->path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                           layer_vfs(s->is_plain));
}

int store_connect(struct store *s, int flags, struct err_text *text)
{
    if (sqlite3_initialize() != SQLITE_OK) { /* on first use; what layer_vfs() does needs it */
        return err_say(text, ERR_NOMEM, "no memory to open %s", s->path);
    }
    int rc = s->log_is_foreign ? open_alone(s) : open_with_log(s, flags);
    if (s->db == NULL) {
        return err_say(text, ERR_NOMEM, "no memory to open %s", s->path);
    }
    if (s->has_log) { /* before the first page is read: a refusal leaves it where it is */
        (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    int err = sql_err(rc);
    if (err == 0) {
        configure(s->db);
        err = sql_script(s, settings);
    }
    return err < 0 ? sql_say(s, err, "opened", text) : 0;
}

int store_connect_unsynced(struct store *s, struct err_text *text)
{
    int err = store_connect(s, SQLITE_OPEN_READWRITE, text);
    if (err < 0) {
        return err;
    }
    err = sql_script(s, "PRAGMA synchronous = OFF");
    return err < 0 ? sql_say(s, err, "written", text) : 0;
}

void store_disconnect(struct store *s)
{
    sql_forget(s);
    CHECK(sqlite3_close(s->db) == SQLITE_OK);
    s->db = NULL;
}

static int check_version(struct store *s, const struct store_schema *schema, int *ret,
                         struct err_text *text)
{
    int64_t application = 0;
    int64_t version = 0;
    int err = sql_number(s, "PRAGMA application_id", SQL_NO_ARGS, &application);
    if (err == 0) {
        err = sql_number(s, "PRAGMA user_version", SQL_NO_ARGS, &version);
    }
    if (err < 0) {
        return sql_say(s, err, "read", text);
    }
    if (application != STORE_APPLICATION_ID || version < 1) {
        return err_say(text, ERR_CORRUPT,
                       "%s is a database, but not a store of credwarden; move it away", s->path);
    }
    if (version > schema->n) {
        return err_say(text, ERR_NEWER,
                       "%s has version %lld, this credwarden knows %d: upgrade it, or put a backup "
                       "made before in its place",
                       s->path, (long long)version, schema->n);
    }
    if (s->is_plain && version > STORE_PLAIN_VERSION_MAX) {
        return err_say(text, ERR_CORRUPT, "%s is damaged (the first page); " STORE_WAY_OUT,
                       s->path);
    }
    *ret = (int)version;
    return 0;
}

/* What quick_check() came to: a page that could not be got it tells with SQLite's word for why. */
static int rc_told_in(const char *found)
{
    static const char mark[] = "error code=";
    const char *at = strstr(found, mark);
    long rc = at != NULL ? strtol(at + strlen(mark), NULL, 10) : SQLITE_CORRUPT;
    return (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_IOERR ? (int)rc : SQLITE_CORRUPT;
}

int store_check_pages(struct store *s, struct err_text *text)
{
    char found[ERR_TEXT_MAX / 2] = "";
    struct sql_rows r = {0};
    int err = sql_first(s, "PRAGMA quick_check(1)", SQL_NO_ARGS, &r);
    if (err < 0) {
        return sql_say(s, err, "checked", text);
    }
    read_text(&r, found, sizeof(found));
    sql_end(&r);
    err = strcmp(found, "ok") == 0 ? 0 : sql_err(rc_told_in(found));
    if (err < 0 && err != ERR_CORRUPT) { /* a page that could not be got is not a damaged one */
        return sql_say(s, err, "checked", text);
    }
    if (err < 0) {
        return err_say(text, ERR_CORRUPT, "%s is damaged (%s); " STORE_WAY_OUT, s->path,
                       found[0] == '\0' ? "more than fits here" : found);
    }
    return 0;
}

static int read_identity(struct store *s)
{
    struct sql_rows r = {0};
    int err = sql_first(s, "SELECT uuid, changes, restored FROM store", SQL_NO_ARGS, &r);
    if (err < 0) {
        return err;
    }
    struct fp uuid = read_fp(&r); /* the same shape */
    s->changes = read_u64(&r);
    s->restored = read_bool(&r);
    memcpy(s->uuid, uuid.bytes, STORE_UUID_LEN);
    err = r.err;
    sql_end(&r);
    return err;
}

/* From here on the store is written to. */
static int begin_work(struct store *s, struct err_text *text)
{
    char mode[16] = "";
    struct sql_rows r = {0};
    int err = sql_first(s, "PRAGMA journal_mode = WAL", SQL_NO_ARGS, &r);
    if (err == 0) {
        read_text(&r, mode, sizeof(mode));
        sql_end(&r);
        err = strcmp(mode, "wal") == 0 ? sql_script(s, "PRAGMA foreign_keys = ON") : ERR_IO;
    }
    if (err == 0) {
        (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        wal_watch(s);
        s->wipe_due = wal_empty(s) < 0; /* on a full disk it stays as long as it is */
    }
    return err < 0 ? sql_say(s, err, "opened", text) : 0;
}

/* Whatever it says: that it can be read and written. */
static int check_mark(const struct store *s, struct err_text *text)
{
    struct mark m = {.fd = -1};
    enum mark_state state = MARK_ABSENT;
    int err = mark_load(s->mark_path, &m, &state, text);
    mark_close(&m);
    return err;
}

/* All that is asked before anything is changed. `*ret_version`: the schema's, or an older one,
 * which our own rules are not for. */
static int judge(struct store *s, const struct store_schema *schema, int *ret_version,
                 struct err_text *text)
{
    int err = check_files(s, text);
    if (err == 0) {
        err = store_connect(s, SQLITE_OPEN_READWRITE, text);
    }
    if (err == 0) {
        err = check_version(s, schema, ret_version, text);
    }
    if (err == 0) {
        err = store_check_pages(s, text);
    }
    if (err == 0) {
        err = check_mark(s, text);
    }
    if (err < 0 || s->is_plain || *ret_version < schema->n) {
        return err;
    }
    err = store_check_rules(s, text);
    if (err == 0) {
        err = read_identity(s);
        err = err < 0 ? sql_say(s, err, "read", text) : 0;
    }
    if (err == 0 && s->log_is_headless && store_lacks_changes(s)) {
        err = err_say(text, ERR_CORRUPT,
                      "%s-wal is damaged, and what is in it is missing from %s; " STORE_WAY_OUT,
                      s->path, s->path);
    }
    return err;
}

/* From now on, also after a crash, the mark is that of no store. A damaged one is already. */
static int disown_mark(const struct store *s, struct err_text *text)
{
    static const uint8_t nobody[STORE_UUID_LEN];
    struct mark m = {.fd = -1};
    enum mark_state state = MARK_ABSENT;
    int err = mark_load(s->mark_path, &m, &state, text);
    if (err == 0 && state == MARK_ABSENT) {
        err = mark_make(s->mark_path, nobody, 0, &m, text);
    } else if (err == 0 && state == MARK_VALID) {
        err = mark_write(&m, nobody, 0);
        err = err < 0 ? err_say(text, err, "cannot write the high-water mark %s: %s", s->mark_path,
                                err_reason(err))
                      : 0;
    }
    mark_close(&m);
    return err;
}

/* The file is sound without the log beside it, which is not its own. What is in that may be newer:
 * so first the mark, on the disk, says that this file is not what was here last. */
static int set_log_aside(struct store *s, struct err_text *text)
{
    char aside[STORE_PATH_SIZE];
    store_disconnect(s);
    int err = disown_mark(s, text);
    if (err == 0) {
        err = log_set_aside(s->path, aside, text);
    }
    if (err == 0) {
        const char *slash = strrchr(aside, '/');
        (void)snprintf(s->log_aside, sizeof(s->log_aside), "%s", slash + 1);
    }
    return err;
}

static int bring_up_to_date(struct store *s, const struct store_schema *schema, int version,
                            struct err_text *text)
{
    if (s->is_plain) {
        return store_add_sums(s, schema, version, text);
    }
    int err = store_migrate(s, schema, version, text);
    if (err == 0) {
        store_disconnect(s);
    }
    return err;
}

static int open_existing(struct store *s, const struct store_schema *schema, struct err_text *text)
{
    int version = 0;
    int err = judge(s, schema, &version, text);
    if (err < 0) {
        return err;
    }
    if (s->log_is_foreign) {
        err = set_log_aside(s, text);
    } else if (s->is_plain || version < schema->n) {
        err = bring_up_to_date(s, schema, version, text);
    } else {
        return begin_work(s, text);
    }
    return err == 0 ? open_existing(s, schema, text) : err; /* it is another file now */
}

void store_release(struct store *s)
{
    if (s->db != NULL) {
        store_disconnect(s);
    }
    mark_close(&s->mark);
    fd_close(&s->wal_fd);
    free(s->path);
    free(s->mark_path);
    free(s);
}

/* A store that was here once does not begin anew by itself: its logins are in some other place, and
 * a new one would be filled in their stead. */
static int refuse_lost(const struct store *s, struct err_text *text)
{
    struct file_facts facts;
    char repaired[STORE_PATH_SIZE];
    int err = store_path_join(repaired, s->path, STORE_REPAIRED, text);
    if (err < 0) {
        return err;
    }
    err = path_look(PATH_CWD, repaired, false, &facts);
    if (err == 0) {
        return err_say(text, ERR_NOT_FOUND,
                       "%s is gone: its repair was interrupted; run `credwarden repair` again",
                       s->path);
    }
    if (err == ERR_NOT_FOUND) {
        err = path_look(PATH_CWD, s->mark_path, false, &facts);
    }
    if (err == ERR_NOT_FOUND) {
        return 0;
    }
    if (err < 0) {
        return err_say(text, err, "%s is not there, and cannot look for what may be left of it: %s",
                       s->path, strerror(errno));
    }
    return err_say(text, ERR_NOT_FOUND,
                   "%s is gone, though its high-water mark is there: put a backup in its "
                   "place; to begin with an empty one, move %s away",
                   s->path, s->mark_path);
}

static struct store *make(const char *path, const char *mark_path)
{
    struct store *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->mark.fd = -1;
    s->wal_fd = -1;
    s->path = strdup(path);
    s->mark_path = strdup(mark_path);
    if (s->path == NULL || s->mark_path == NULL) {
        store_release(s);
        return NULL;
    }
    return s;
}

int store_open_with(const char *path, const char *mark_path, int flags,
                    const struct store_schema *schema, struct store **ret, struct err_text *text)
{
    if (path[0] != '/' || mark_path[0] != '/') {
        return err_say(text, ERR_INVALID, "absolute paths are wanted, not %s and %s", path,
                       mark_path);
    }
    struct store *s = make(path, mark_path);
    if (s == NULL) {
        return err_say(text, ERR_NOMEM, "no memory to open %s", path);
    }
    bool is_new = false;
    int err = open_existing(s, schema, text);
    if (err == ERR_NOT_FOUND && (flags & STORE_CREATE) != 0) {
        is_new = true;
        err_fill(text, "%s", ""); /* that it is not there is no fault */
        err = refuse_lost(s, text);
        err = err == 0 ? store_create(path, schema, text) : err;
        err = err == 0 ? open_existing(s, schema, text) : err;
    }
    if (err == 0) {
        err = store_meet_mark(s, is_new, text);
    }
    if (err < 0) {
        store_release(s);
        return err;
    }
    store_salvage_sweep(path);
    *ret = s;
    return 0;
}

int store_open(const char *path, const char *mark_path, int flags, struct store **ret,
               struct err_text *text)
{
    return store_open_with(path, mark_path, flags, &store_schema, ret, text);
}

int store_judge(const char *path, const char *mark_path, struct err_text *text)
{
    int version = 0;
    struct store *s = make(path, mark_path);
    if (s == NULL) {
        return err_say(text, ERR_NOMEM, "no memory to open %s", path);
    }
    int err = judge(s, &store_schema, &version, text);
    store_release(s);
    return err;
}

void store_close(struct store *s)
{
    if (s != NULL) {
        (void)store_tidy(s);
        store_release(s);
    }
}

/* What is deleted from the database is overwritten there (secure_delete); older images of it are in
 * the log until that is emptied. */
int store_tidy(struct store *s)
{
    int mark_err = store_flush_mark(s);
    int err = 0;
    if (s->wipe_due) {
        err = wal_empty(s);
        s->wipe_due = err < 0;
    } else if (wal_is_long(s, IDLE_FRAMES)) {
        err = wal_checkpoint(s);
    }
    return mark_err < 0 ? mark_err : err;
}

/*
 * A store's first minute, and its way from one version to the next.
 *
 * A new store is built beside its place and gets its name when it is whole: a crash in between
 * leaves nothing that the next start would take for a damaged store, and what it leaves has a name
 * that every start sweeps away, even when the store has its own already.
 */
#include "store/internal.h"

#include <errno.h>
#include <string.h>

#include "sys/file.h"

static int set_version(struct store *s, int version)
{
    char sql[64]; /* a PRAGMA takes no arguments */
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", version);
    return sql_script(s, sql);
}

int store_run_steps(struct store *s, const struct store_schema *schema, int from,
                    struct err_text *text)
{
    for (int i = from; i < schema->n; i++) {
        int err = sql_script(s, schema->steps[i]);
        if (err < 0) {
            return err_say(text, err, "%s cannot be taken to version %d: %s", s->path, i + 1,
                           sql_reason(s, err));
        }
    }
    int err = set_version(s, schema->n);
    return err < 0 ? sql_say(s, err, "given its new version", text) : 0;
}

static int in_transaction(struct store *s, const struct store_schema *schema, int from,
                          struct err_text *text)
{
    int64_t broken = 0;
    int err = sql_script(s, "BEGIN IMMEDIATE");
    if (err < 0) {
        return sql_say(s, err, "written", text);
    }
    err = store_run_steps(s, schema, from, text);
    if (err == 0) {
        err = sql_number(s, "SELECT count(*) FROM pragma_foreign_key_check", SQL_NO_ARGS, &broken);
        if (err < 0) {
            err = sql_say(s, err, "checked", text);
        } else if (broken > 0) {
            err = err_say(text, ERR_CORRUPT,
                          "%s cannot be taken to version %d: its rows would not fit together",
                          s->path, schema->n);
        }
    }
    if (err == 0) {
        err = sql_script(s, "COMMIT");
        err = err < 0 ? sql_say(s, err, "written", text) : 0;
    }
    if (err < 0 && sqlite3_get_autocommit(s->db) == 0) {
        (void)sql_script(s, "ROLLBACK");
    }
    return err;
}

static int copy_aside(struct store *s, int version, struct err_text *text)
{
    char suffix[16];
    char copy[STORE_PATH_SIZE];
    (void)snprintf(suffix, sizeof(suffix), ".v%d", version);
    int err = store_path_join(copy, s->path, suffix, text);
    /* One that is there is of a try that failed, or of a store that was put back. */
    return err == 0 ? store_copy(s, copy, true, text) : err;
}

int store_migrate(struct store *s, const struct store_schema *schema, int from,
                  struct err_text *text)
{
    int err = copy_aside(s, from, text);
    return err == 0 ? in_transaction(s, schema, from, text) : err;
}

/* Sums */

static int room_for_sums(struct store *s)
{
    int reserved = STORE_RESERVED;
    return sql_err(sqlite3_file_control(s->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved));
}

/* A copy of `s` at `temp`, with sums, of the schema's version; all of it is checked. */
static int copy_with_sums(struct store *s, char *temp, const struct store_schema *schema, int from,
                          struct err_text *text)
{
    struct store made = {.path = temp, .wal_fd = -1, .mark.fd = -1};
    int err = room_for_sums(s);
    if (err == 0) {
        int n = sql_run(s, "VACUUM INTO ?1", SQL_ARGS(arg_text(temp)));
        err = n < 0 ? n : 0;
    }
    if (err < 0) {
        return sql_say(s, err, "copied", text);
    }
    err = sums_stamp_file(temp);
    if (err < 0) {
        return err_say(text, err, "cannot write %s: %s", temp, err_reason(err));
    }
    err = store_connect_unsynced(&made, text);
    if (err == 0) {
        err = in_transaction(&made, schema, from, text);
    }
    if (err == 0) {
        err = store_check_pages(&made, text);
    }
    if (err == 0) {
        err = store_check_rules(&made, text);
    }
    if (made.db != NULL) {
        store_disconnect(&made);
    }
    return err;
}

/* The log of the plain file would be taken for that of its successor. */
static int end_log(struct store *s, struct err_text *text)
{
    char log_path[STORE_PATH_SIZE];
    struct file_facts facts;
    int err = store_path_join(log_path, s->path, "-wal", text);
    if (err < 0) {
        return err;
    }
    err = wal_empty(s);
    if (err < 0) {
        return sql_say(s, err, "brought up to date", text);
    }
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    store_disconnect(s);
    int errnum = layer_trouble();
    err = path_look(PATH_CWD, log_path, false, &facts);
    if (err == ERR_NOT_FOUND) {
        return 0;
    }
    errnum = err < 0 ? errno : errnum;
    return err_say(text, ERR_IO, "%s stays where it is, it cannot be removed: %s", log_path,
                   errnum != 0 ? strerror(errnum) : "SQLite does not say why");
}

int store_add_sums(struct store *s, const struct store_schema *schema, int from,
                   struct err_text *text)
{
    char temp[STORE_PATH_SIZE];
    char journal[STORE_PATH_SIZE];
    int err = copy_aside(s, from, text);
    if (err == 0) {
        err = file_make_temp(s->path, temp, sizeof(temp) - sizeof("-journal"), text);
    }
    if (err < 0) {
        return err;
    }
    (void)store_path_join(journal, temp, "-journal", NULL);
    err = copy_with_sums(s, temp, schema, from, text);
    if (err == 0) {
        err = end_log(s, text);
    }
    if (err == 0) {
        err = file_put(temp, s->path, true, text);
    }
    if (err < 0) {
        (void)path_remove(PATH_CWD, temp);
        (void)path_remove(PATH_CWD, journal);
    }
    return err;
}

/* Creation */

int store_build(struct store *s, const struct store_schema *schema, struct err_text *text)
{
    char first[128];
    (void)snprintf(first, sizeof(first),
                   "PRAGMA page_size = %d; PRAGMA encoding = 'UTF-8'; PRAGMA application_id = %d",
                   STORE_PAGE_SIZE, STORE_APPLICATION_ID);
    int err = store_connect_unsynced(s, text);
    if (err < 0) {
        return err;
    }
    err = room_for_sums(s); /* as long as the file is empty */
    if (err == 0) {
        err = sql_script(s, first);
    }
    if (err < 0) {
        return sql_say(s, err, "made", text);
    }
    err = in_transaction(s, schema, 0, text);
    if (err == 0) {
        err = sql_script(s, "PRAGMA journal_mode = WAL");
        err = err < 0 ? sql_say(s, err, "made", text) : 0;
    }
    return err;
}

/* SQLite would take the log of a store that was removed for the new one's. */
static int refuse_orphan_log(const char *path, struct err_text *text)
{
    char log_path[STORE_PATH_SIZE];
    struct file_facts facts;
    int err = store_path_join(log_path, path, "-wal", text);
    if (err == 0 && path_look(PATH_CWD, log_path, false, &facts) == 0) {
        return err_say(text, ERR_CORRUPT,
                       "%s is there, but the store it belongs to is not: put the store back, or "
                       "move this away to begin anew",
                       log_path);
    }
    return err;
}

int store_create(const char *path, const struct store_schema *schema, struct err_text *text)
{
    char temp[STORE_PATH_SIZE];
    char journal[STORE_PATH_SIZE];
    struct store s = {.path = temp, .wal_fd = -1, .mark.fd = -1};
    int err = refuse_orphan_log(path, text);
    if (err == 0) {
        err = file_make_temp(path, temp, sizeof(temp) - sizeof("-journal"), text);
    }
    if (err < 0) {
        return err;
    }
    (void)store_path_join(journal, temp, "-journal", NULL);
    err = store_build(&s, schema, text);
    if (s.db != NULL) {
        store_disconnect(&s);
    }
    if (err == 0) {
        err = file_put(temp, path, false, text);
    }
    if (err < 0) {
        (void)path_remove(PATH_CWD, temp);
        (void)path_remove(PATH_CWD, journal);
    }
    return err;
}

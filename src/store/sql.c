/*
 * SQL with typed arguments and columns. Statements are prepared once and kept; columns are read
 * left to right, and what is wrong with any of them is asked once, at the end of the row.
 */
#include "store/internal.h"

#include <string.h>

#include "base/check.h"

/* Errors */

static int err_of_word(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_LOCKED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR: /* our SQL is right, so the schema is not what it was */
    case SQLITE_SCHEMA:
        return ERR_CORRUPT;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return ERR_DENIED;
    case SQLITE_CONSTRAINT:
        return ERR_CONFLICT;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    default:
        return rc == SQLITE_IOERR_NOMEM ? ERR_NOMEM : ERR_IO;
    }
}

static int err_of_system(int errnum)
{
    int err = err_from_errno(errnum);
    bool is_known = err == ERR_FULL || err == ERR_BUSY || err == ERR_DENIED || err == ERR_NOMEM;
    return is_known ? err : ERR_IO;
}

static _Thread_local int last_trouble;

/* Where the system refused something, that is the reason, whatever SQLite makes of it. Only what
 * has nothing to do with it stands. */
int sql_err(int rc)
{
    int err = err_of_word(rc);
    int errnum = layer_trouble();
    bool is_own = err == 0 || err == ERR_NOMEM || err == ERR_CONFLICT || err == ERR_TOO_LARGE;
    last_trouble = is_own ? 0 : errnum;
    return last_trouble != 0 ? err_of_system(last_trouble) : err;
}

const char *sql_reason(const struct store *s, int err)
{
    if (err == ERR_NOMEM) { /* SQLite's words are about what it was for */
        return err_reason(err);
    }
    return last_trouble != 0 ? strerror(last_trouble) : sqlite3_errmsg(s->db);
}

/* Arguments */

struct sql_arg arg_i64(int64_t value)
{
    return (struct sql_arg){.kind = SQL_INT_ARG, .number = value};
}

struct sql_arg arg_u64(uint64_t value)
{
    return arg_i64((int64_t)value);
}

struct sql_arg arg_id(uint64_t value)
{
    return value == 0 ? (struct sql_arg){.kind = SQL_NULL_ARG} : arg_u64(value);
}

struct sql_arg arg_text(const char *text)
{
    return arg_text_cut(text, SIZE_MAX);
}

struct sql_arg arg_text_cut(const char *text, size_t size)
{
    const char *from = text == NULL ? "" : text;
    size_t len = strnlen(from, size);
    if (len == size) {
        len = size - 1;
        while (len > 0 && ((unsigned char)from[len] & 0xc0) == 0x80) {
            len--; /* not in the middle of a character */
        }
    }
    return (struct sql_arg){.kind = SQL_TEXT_ARG, .bytes = from, .len = len};
}

struct sql_arg arg_blob(const void *bytes, size_t len)
{
    return (struct sql_arg){.kind = SQL_BLOB_ARG, .bytes = bytes, .len = len};
}

struct sql_arg arg_fp(struct fp fp)
{
    return (struct sql_arg){.kind = fp_is_none(fp) ? SQL_NULL_ARG : SQL_FP_ARG, .fp = fp};
}

static int bind(sqlite3_stmt *st, int i, const struct sql_arg *arg)
{
    switch (arg->kind) {
    case SQL_NULL_ARG:
        return sqlite3_bind_null(st, i);
    case SQL_INT_ARG:
        return sqlite3_bind_int64(st, i, arg->number);
    case SQL_TEXT_ARG:
        return sqlite3_bind_text64(st, i, arg->bytes, arg->len, SQLITE_TRANSIENT, SQLITE_UTF8);
    case SQL_BLOB_ARG:
        return sqlite3_bind_blob64(st, i, arg->len == 0 ? "" : arg->bytes, arg->len, SQLITE_STATIC);
    case SQL_FP_ARG:
        return sqlite3_bind_blob64(st, i, arg->fp.bytes, FP_LEN, SQLITE_TRANSIENT);
    }
    return SQLITE_MISUSE;
}

/* Running */

static int prepared(struct store *s, const char *text, sqlite3_stmt **ret)
{
    struct sql_cached *c = s->cache;
    while (c->text != NULL && c->text != text) {
        c++;
        CHECK(c < s->cache + SQL_CACHE_MAX);
    }
    if (c->text == NULL) {
        int rc = sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &c->st, NULL);
        if (rc != SQLITE_OK) {
            return sql_err(rc);
        }
        c->text = text;
    }
    CHECK(!sqlite3_stmt_busy(c->st)); /* a callback called the store */
    *ret = c->st;
    return 0;
}

void sql_forget(struct store *s)
{
    for (struct sql_cached *c = s->cache; c < s->cache + SQL_CACHE_MAX && c->text != NULL; c++) {
        (void)sqlite3_finalize(c->st);
        *c = (struct sql_cached){0};
    }
}

int sql_start(struct store *s, const char *text, const struct sql_arg *args, size_t n,
              struct sql_rows *ret)
{
    sqlite3_stmt *st = NULL;
    int err = prepared(s, text, &st);
    if (err < 0) {
        return err;
    }
    CHECK((size_t)sqlite3_bind_parameter_count(st) == n);
    for (size_t i = 0; i < n; i++) {
        int rc = bind(st, (int)i + 1, &args[i]);
        if (rc != SQLITE_OK) {
            (void)sqlite3_clear_bindings(st);
            return sql_err(rc);
        }
    }
    *ret = (struct sql_rows){.s = s, .st = st};
    return 0;
}

int sql_next(struct sql_rows *r)
{
    (void)layer_trouble();
    int rc = sqlite3_step(r->st);
    r->next = 0;
    return rc == SQLITE_ROW ? 1 : sql_err(rc);
}

void sql_end(struct sql_rows *r)
{
    (void)sqlite3_reset(r->st); /* repeats the error that sql_next() has told */
    (void)sqlite3_clear_bindings(r->st);
}

int sql_run(struct store *s, const char *text, const struct sql_arg *args, size_t n)
{
    struct sql_rows r = {0};
    int err = sql_start(s, text, args, n, &r);
    if (err < 0) {
        return err;
    }
    do {
        err = sql_next(&r);
    } while (err > 0);
    sql_end(&r);
    return err < 0 ? err : sqlite3_changes(s->db);
}

int sql_first(struct store *s, const char *text, const struct sql_arg *args, size_t n,
              struct sql_rows *ret)
{
    struct sql_rows r = {0};
    int err = sql_start(s, text, args, n, &r);
    if (err < 0) {
        return err;
    }
    err = sql_next(&r);
    if (err <= 0) {
        sql_end(&r);
        return err < 0 ? err : ERR_NOT_FOUND;
    }
    *ret = r;
    return 0;
}

int sql_number(struct store *s, const char *text, const struct sql_arg *args, size_t n,
               int64_t *ret)
{
    struct sql_rows r = {0};
    int err = sql_first(s, text, args, n, &r);
    if (err < 0) {
        return err;
    }
    int64_t value = read_i64(&r);
    err = r.err;
    sql_end(&r);
    if (err == 0) {
        *ret = value;
    }
    return err;
}

int sql_script(struct store *s, const char *script)
{
    (void)layer_trouble();
    return sql_err(sqlite3_exec(s->db, script, NULL, NULL, NULL));
}

/* Columns */

static int column(struct sql_rows *r, int type, bool *ret_is_null)
{
    int i = r->next++;
    int found = sqlite3_column_type(r->st, i);
    *ret_is_null = found == SQLITE_NULL;
    if (found != type && found != SQLITE_NULL) {
        r->err = ERR_CORRUPT;
        *ret_is_null = true;
    }
    return i;
}

int64_t read_i64(struct sql_rows *r)
{
    bool is_null = false;
    int i = column(r, SQLITE_INTEGER, &is_null);
    return is_null ? 0 : sqlite3_column_int64(r->st, i);
}

uint64_t read_u64(struct sql_rows *r)
{
    return (uint64_t)read_i64(r);
}

bool read_bool(struct sql_rows *r)
{
    return read_i64(r) != 0;
}

struct fp read_fp(struct sql_rows *r)
{
    struct fp fp = {0};
    bool is_null = false;
    int i = column(r, SQLITE_BLOB, &is_null);
    if (!is_null && sqlite3_column_bytes(r->st, i) != FP_LEN) {
        r->err = ERR_CORRUPT;
    } else if (!is_null) {
        memcpy(fp.bytes, sqlite3_column_blob(r->st, i), FP_LEN);
    }
    return fp;
}

void read_text(struct sql_rows *r, char *buf, size_t size)
{
    bool is_null = false;
    int i = column(r, SQLITE_TEXT, &is_null);
    const char *text = is_null ? "" : (const char *)sqlite3_column_text(r->st, i);
    if (text == NULL) {
        r->err = ERR_NOMEM;
    } else if (str_copy(buf, size, text) < 0) {
        r->err = ERR_CORRUPT;
    }
}

void read_blob(struct sql_rows *r, struct buf *out)
{
    bool is_null = false;
    int i = column(r, SQLITE_BLOB, &is_null);
    buf_clear(out);
    if (!is_null) {
        int err =
            buf_add(out, sqlite3_column_blob(r->st, i), (size_t)sqlite3_column_bytes(r->st, i));
        if (err < 0) {
            r->err = err == ERR_TOO_LARGE ? ERR_CORRUPT : err;
        }
    }
}

#define WORD_MAX 32

/* A word of base/words.h; NULL is the first of its kind. */
#define READ_WORD(kind)                                                                            \
    enum kind read_##kind(struct sql_rows *r)                                                      \
    {                                                                                              \
        char word[WORD_MAX] = "";                                                                  \
        enum kind value = (enum kind)0;                                                            \
        read_text(r, word, sizeof(word));                                                          \
        if (word[0] != '\0' && kind##_parse(word, &value) < 0) {                                   \
            r->err = ERR_CORRUPT;                                                                  \
        }                                                                                          \
        return value;                                                                              \
    }
READ_WORD(standing)
READ_WORD(policy)
READ_WORD(origin)
READ_WORD(verdict)
READ_WORD(alarm)
READ_WORD(wish)

/* Transactions */

/* SQLite may have undone it by itself. */
static int undo(struct store *s)
{
    return sqlite3_get_autocommit(s->db) != 0 ? 0 : sql_run(s, "ROLLBACK", SQL_NO_ARGS);
}

int store_note(struct store *s, int (*body)(struct store *s, const void *args), const void *args)
{
    int err = undo(s); /* what could not be undone for want of memory */
    if (err >= 0) {
        err = sql_run(s, "BEGIN IMMEDIATE", SQL_NO_ARGS);
    }
    if (err < 0) {
        return err;
    }
    err = body(s, args);
    if (err == 0) {
        err = sql_run(s, "COMMIT", SQL_NO_ARGS);
    }
    if (err >= 0) {
        return 0;
    }
    (void)undo(s);
    return err;
}

struct change {
    int (*body)(struct store *s, const void *args);
    const void *args;
};

static int count_change(struct store *s, const void *args)
{
    const struct change *c = args;
    int before = sqlite3_total_changes(s->db);
    int n = c->body(s, c->args);
    if (n == 0 && sqlite3_total_changes(s->db) != before) {
        n = sql_run(s, "UPDATE store SET changes = changes + 1", SQL_NO_ARGS);
        s->next_changes++;
    }
    return n < 0 ? n : 0;
}

int store_write(struct store *s, int (*body)(struct store *s, const void *args), const void *args)
{
    struct change c = {.body = body, .args = args};
    s->next_changes = s->changes;
    int err = store_note(s, count_change, &c);
    if (err == 0) {
        s->changes = s->next_changes;
    }
    return err;
}

/*
 * What people are told: alarms, which stand until they are cleared, and events. Both are bounded.
 * And the small named values.
 */
#include "store/internal.h"

#include <string.h>

#include "base/check.h"

#define STRING(x)  STRING_(x)
#define STRING_(x) #x

/* Alarms */

struct alarm_change {
    uint64_t lineage;
    enum alarm alarm;
    bool raised;
    const char *detail;
    int64_t now_wall_ms;
};

static int raise_alarm(struct store *s, const struct alarm_change *c)
{
    int n =
        sql_run(s,
                "INSERT INTO alarm (lineage, kind, raised, detail) SELECT ?1, ?2, ?3, ?4"
                " WHERE NOT EXISTS (SELECT 1 FROM alarm WHERE ifnull(lineage, 0) = ifnull(?1, 0)"
                "  AND kind = ?2 AND cleared IS NULL)",
                SQL_ARGS(arg_id(c->lineage), arg_text(alarm_name(c->alarm)),
                         arg_i64(c->now_wall_ms), arg_text_cut(c->detail, STORE_DETAIL_MAX)));
    /* The one thing that can be broken is the reference. */
    return n == ERR_CONFLICT ? ERR_NOT_FOUND : n < 0 ? n : 0;
}

static int clear_alarm(struct store *s, const struct alarm_change *c)
{
    int n = sql_run(
        s,
        "UPDATE alarm SET cleared = ?3 WHERE ifnull(lineage, 0) = ifnull(?1, 0)"
        " AND kind = ?2 AND cleared IS NULL",
        SQL_ARGS(arg_id(c->lineage), arg_text(alarm_name(c->alarm)), arg_i64(c->now_wall_ms)));
    if (n > 0) {
        n = sql_run(s,
                    "DELETE FROM alarm WHERE cleared IS NOT NULL AND seq <= (SELECT seq FROM alarm"
                    " WHERE cleared IS NOT NULL ORDER BY seq DESC"
                    " LIMIT 1 OFFSET " STRING(STORE_ALARMS_MAX) ")",
                    SQL_NO_ARGS);
    }
    return n < 0 ? n : 0;
}

static int change_alarm(struct store *s, const void *args)
{
    const struct alarm_change *c = args;
    return c->raised ? raise_alarm(s, c) : clear_alarm(s, c);
}

int store_alarm(struct store *s, uint64_t lineage, enum alarm alarm, bool raised,
                const char *detail, int64_t now_wall_ms)
{
    struct alarm_change c = {
        .lineage = lineage,
        .alarm = alarm,
        .raised = raised,
        .detail = detail,
        .now_wall_ms = now_wall_ms,
    };
    return store_write(s, change_alarm, &c);
}

int store_each_alarm(struct store *s, bool with_cleared,
                     int (*each)(void *ctx, const struct alarm_row *), void *ctx)
{
    struct sql_rows r = {0};
    int err = sql_start(s,
                        "SELECT lineage, kind, raised, cleared, detail FROM alarm"
                        " WHERE ?1 OR cleared IS NULL ORDER BY seq",
                        SQL_ARGS(arg_i64(with_cleared)), &r);
    if (err < 0) {
        return err;
    }
    while ((err = sql_next(&r)) > 0) {
        struct alarm_row row = {0};
        row.lineage = read_u64(&r);
        row.alarm = read_alarm(&r);
        row.raised_wall_ms = read_i64(&r);
        row.cleared_wall_ms = read_i64(&r);
        read_text(&r, row.detail, sizeof(row.detail));
        err = r.err < 0 ? r.err : each(ctx, &row);
        if (err < 0) {
            break;
        }
    }
    sql_end(&r);
    return err;
}

/* Events */

static int add_event(struct store *s, const void *args)
{
    const struct event_row *row = args;
    int n = sql_run(s,
                    "INSERT INTO event (wall, lineage, profile, kind, detail)"
                    " VALUES (?1, ?2, ?3, ?4, ?5)",
                    SQL_ARGS(arg_i64(row->wall_ms), arg_id(row->lineage), arg_text(row->profile),
                             arg_text(row->kind), arg_text(row->detail)));
    if (n < 0) {
        return n;
    }
    /* Ids have no gaps: only the oldest ever go. */
    n = sql_run(s, "DELETE FROM event WHERE id <= ?1",
                SQL_ARGS(arg_i64(sqlite3_last_insert_rowid(s->db) - STORE_EVENTS_MAX)));
    return n < 0 ? n : 0;
}

int store_event_add(struct store *s, const struct event_row *row, uint64_t *ret_id)
{
    int err = store_note(s, add_event, row);
    if (err == 0 && ret_id != NULL) {
        *ret_id = (uint64_t)sqlite3_last_insert_rowid(s->db);
    }
    return err;
}

int store_each_event(struct store *s, uint64_t after_id, int limit,
                     int (*each)(void *ctx, const struct event_row *), void *ctx)
{
    struct sql_rows r = {0};
    int err = sql_start(s,
                        "SELECT id, wall, lineage, profile, kind, detail FROM event WHERE id > ?1"
                        " ORDER BY id LIMIT ?2",
                        SQL_ARGS(arg_u64(after_id), arg_i64(limit > 0 ? limit : -1)), &r);
    if (err < 0) {
        return err;
    }
    while ((err = sql_next(&r)) > 0) {
        struct event_row row = {0};
        row.id = read_u64(&r);
        row.wall_ms = read_i64(&r);
        row.lineage = read_u64(&r);
        read_text(&r, row.profile, sizeof(row.profile));
        read_text(&r, row.kind, sizeof(row.kind));
        read_text(&r, row.detail, sizeof(row.detail));
        err = r.err < 0 ? r.err : each(ctx, &row);
        if (err < 0) {
            break;
        }
    }
    sql_end(&r);
    return err;
}

/* Named values */

int store_meta_get(struct store *s, const char *key, struct buf *out)
{
    struct sql_rows r = {0};
    int err = sql_first(s, "SELECT value FROM meta WHERE key = ?1", SQL_ARGS(arg_text(key)), &r);
    if (err < 0) {
        return err;
    }
    read_blob(&r, out);
    err = r.err;
    sql_end(&r);
    return err;
}

struct meta {
    const char *key;
    const void *bytes;
    size_t len;
};

int meta_put(struct store *s, const char *key, const void *bytes, size_t len)
{
    int n = sql_run(s,
                    "INSERT INTO meta (key, value) VALUES (?1, ?2)"
                    " ON CONFLICT (key) DO UPDATE SET value = ?2",
                    SQL_ARGS(arg_text(key), arg_blob(bytes, len)));
    return n < 0 ? n : 0;
}

static int set_meta(struct store *s, const void *args)
{
    const struct meta *m = args;
    return meta_put(s, m->key, m->bytes, m->len);
}

int store_meta_set(struct store *s, const char *key, const void *bytes, size_t len)
{
    struct meta m = {.key = key, .bytes = bytes, .len = len};
    if (key[0] == '\0') {
        return ERR_INVALID;
    }
    return len > STORE_META_MAX ? ERR_TOO_LARGE : store_write(s, set_meta, &m);
}

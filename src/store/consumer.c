/*
 * Consumers: places of clients, each of a profile. The schema sees to it that they follow its name
 * and go with it.
 */
#include "store/internal.h"

#include <string.h>

int find_profile(struct store *s, const char *name)
{
    int64_t n = 0;
    int err =
        sql_number(s, "SELECT count(*) FROM profile WHERE name = ?1", SQL_ARGS(arg_text(name)), &n);
    return err < 0 ? err : n == 0 ? ERR_NOT_FOUND : 0;
}

static int bind(struct store *s, const void *args)
{
    const struct consumer_row *row = args;
    int err = find_profile(s, row->profile);
    if (err < 0) {
        return err;
    }
    int n = sql_run(s,
                    "INSERT INTO consumer (profile, kind, place, with_pair, wish, before, bound)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, '', ?6)",
                    SQL_ARGS(arg_text(row->profile), arg_text(row->kind), arg_text(row->place),
                             arg_i64(row->with_pair), arg_text(wish_name(row->wish)),
                             arg_i64(row->bound_wall_ms)));
    return n == ERR_CONFLICT ? ERR_EXISTS : n < 0 ? n : 0;
}

int store_bind(struct store *s, const struct consumer_row *row, uint64_t *ret_id)
{
    if (!name_is_valid(row->profile) || row->kind[0] == '\0' || row->place[0] == '\0') {
        return ERR_INVALID;
    }
    int err = store_write(s, bind, row);
    if (err == 0) {
        *ret_id = (uint64_t)sqlite3_last_insert_rowid(s->db);
    }
    return err;
}

struct rebinding {
    uint64_t id;
    const char *profile;
    enum wish wish;
    int64_t now_wall_ms;
};

static int rebind(struct store *s, const void *args)
{
    const struct rebinding *b = args;
    int err = find_profile(s, b->profile);
    if (err < 0) {
        return err;
    }
    int n = sql_run(s,
                    "UPDATE consumer SET before = iif(profile = ?2, before, profile), profile = ?2,"
                    "  wish = ?3, bound = iif(profile = ?2, bound, ?4) WHERE id = ?1",
                    SQL_ARGS(arg_u64(b->id), arg_text(b->profile), arg_text(wish_name(b->wish)),
                             arg_i64(b->now_wall_ms)));
    return n < 0 ? n : n == 0 ? ERR_NOT_FOUND : 0;
}

int store_rebind(struct store *s, uint64_t id, const char *profile, enum wish wish,
                 int64_t now_wall_ms)
{
    struct rebinding b = {.id = id, .profile = profile, .wish = wish, .now_wall_ms = now_wall_ms};
    return name_is_valid(profile) ? store_write(s, rebind, &b) : ERR_INVALID;
}

struct wish_change {
    uint64_t id;
    enum wish wish;
};

static int set_wish(struct store *s, const void *args)
{
    const struct wish_change *c = args;
    int n = sql_run(s, "UPDATE consumer SET wish = ?2 WHERE id = ?1",
                    SQL_ARGS(arg_u64(c->id), arg_text(wish_name(c->wish))));
    return n < 0 ? n : n == 0 ? ERR_NOT_FOUND : 0;
}

int store_set_wish(struct store *s, uint64_t id, enum wish wish)
{
    struct wish_change c = {.id = id, .wish = wish};
    return store_write(s, set_wish, &c);
}

struct unbinding {
    uint64_t id;
    const uint64_t *given_away;
    size_t n;
};

static int unbind(struct store *s, const void *args)
{
    const struct unbinding *u = args;
    int n = sql_run(s, "DELETE FROM consumer WHERE id = ?1", SQL_ARGS(arg_u64(u->id)));
    if (n <= 0) {
        return n < 0 ? n : ERR_NOT_FOUND;
    }
    for (size_t i = 0; i < u->n && n >= 0; i++) {
        n = sql_run(s, "UPDATE lineage SET given_away = 1 WHERE id = ?1",
                    SQL_ARGS(arg_u64(u->given_away[i])));
    }
    return n < 0 ? n : 0;
}

int store_unbind(struct store *s, uint64_t id, const uint64_t *given_away, size_t n)
{
    struct unbinding u = {.id = id, .given_away = given_away, .n = n};
    return store_write(s, unbind, &u);
}

static void read_consumer(struct sql_rows *r, struct consumer_row *row)
{
    row->id = read_u64(r);
    read_text(r, row->profile, sizeof(row->profile));
    read_text(r, row->kind, sizeof(row->kind));
    read_text(r, row->place, sizeof(row->place));
    row->with_pair = read_bool(r);
    row->wish = read_wish(r);
    read_text(r, row->before, sizeof(row->before));
    row->bound_wall_ms = read_i64(r);
}

int store_each_consumer(struct store *s, int (*each)(void *ctx, const struct consumer_row *),
                        void *ctx)
{
    struct sql_rows r = {0};
    int err = sql_start(s,
                        "SELECT id, profile, kind, place, with_pair, wish, before, bound"
                        " FROM consumer ORDER BY id",
                        SQL_NO_ARGS, &r);
    if (err < 0) {
        return err;
    }
    while ((err = sql_next(&r)) > 0) {
        struct consumer_row row = {0};
        read_consumer(&r, &row);
        err = r.err < 0 ? r.err : each(ctx, &row);
        if (err < 0) {
            break;
        }
    }
    sql_end(&r);
    return err;
}

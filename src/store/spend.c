/*
 * Spends: the intent before, the settlement or the closing after. Each is one transaction, and each
 * checks the stored row against what the caller believes before it changes anything.
 */
#include "store/internal.h"

#include <string.h>

/* What a spend must agree with. */
struct state {
    enum standing standing;
    uint64_t generation;
    uint64_t fence;
    bool replayed;
    struct fp refresh; /* of the current pair */
};

static int read_state(struct store *s, uint64_t lineage, struct state *ret)
{
    struct state found = {0};
    struct sql_rows r = {0};
    int err = sql_first(s,
                        "SELECT l.standing, l.generation, l.fence, l.replayed, p.refresh"
                        " FROM lineage AS l"
                        " JOIN pair AS p ON p.lineage = l.id AND p.generation = l.generation"
                        " WHERE l.id = ?1",
                        SQL_ARGS(arg_u64(lineage)), &r);
    if (err < 0) {
        return err;
    }
    found.standing = read_standing(&r);
    found.generation = read_u64(&r);
    found.fence = read_u64(&r);
    found.replayed = read_bool(&r);
    found.refresh = read_fp(&r);
    err = r.err;
    sql_end(&r);
    if (err == 0) {
        *ret = found;
    }
    return err;
}

static bool is_boot_id(const char *boot_id)
{
    return boot_id == NULL || strlen(boot_id) < BOOT_ID_SIZE;
}

/* Intent */

static int insert_intent(struct store *s, const struct intent *i)
{
    int n = sql_run(s,
                    "INSERT INTO spend (intent, lineage, generation, presented, fence, replay,"
                    "  boot_id, cause, begun, closed, detail)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, '')",
                    SQL_ARGS(arg_u64(i->id), arg_u64(i->lineage), arg_u64(i->generation),
                             arg_fp(i->presented), arg_u64(i->fence), arg_i64(i->replay),
                             arg_text(i->boot_id), arg_text_cut(i->cause, STORE_DETAIL_MAX),
                             arg_i64(i->now_wall_ms)));
    if (n >= 0) {
        n = sql_run(s, "UPDATE lineage SET fence = ?2 WHERE id = ?1",
                    SQL_ARGS(arg_u64(i->lineage), arg_u64(i->fence)));
    }
    return n < 0 ? n : 0;
}

/* Whatever its caller believes: what was refused, or is somebody else's, is not presented, and a
 * token in doubt once more at most. (That a doubt was groundless may not have been stored.) */
static bool allows(const struct state *found, const struct intent *i)
{
    return i->replay ? found->standing == STANDING_DOUBT && !found->replayed
                     : found->standing == STANDING_LIVE || found->standing == STANDING_UNPROVEN ||
                           found->standing == STANDING_DOUBT;
}

static int intent(struct store *s, const void *args)
{
    const struct intent *i = args;
    struct state found = {0};
    int64_t others = 0;
    int64_t taken = 0;
    int err = read_state(s, i->lineage, &found);
    if (err < 0) {
        return err;
    }
    if (!allows(&found, i) || i->generation != found.generation || i->fence <= found.fence ||
        !fp_equal(i->presented, found.refresh)) {
        return ERR_CONFLICT;
    }
    err = sql_number(s, "SELECT count(*) FROM spend WHERE verdict IS NULL AND lineage = ?1",
                     SQL_ARGS(arg_u64(i->lineage)), &taken);
    if (err < 0 || taken > 0) {
        return err < 0 ? err : ERR_CONFLICT;
    }
    err = sql_number(s, "SELECT count(*) FROM spend WHERE intent = ?1", SQL_ARGS(arg_u64(i->id)),
                     &taken);
    if (err < 0 || taken > 0) {
        return err < 0 ? err : ERR_EXISTS;
    }
    err = sql_number(s, "SELECT count(*) FROM spend WHERE verdict IS NULL", SQL_NO_ARGS, &others);
    if (err == 0) {
        err = wal_reserve(s, others);
    }
    return err < 0 ? err : insert_intent(s, i);
}

int store_intent(struct store *s, const struct intent *i)
{
    if (i->id == 0 || fp_is_none(i->presented) || !is_boot_id(i->boot_id)) {
        return ERR_INVALID;
    }
    return store_write(s, intent, i);
}

/* What became of an intent */

struct outcome {
    uint64_t lineage;
    uint64_t generation;
    struct fp presented;
    bool is_open;
    enum verdict verdict; /* when closed */
};

static int read_outcome(struct store *s, uint64_t id, struct outcome *ret)
{
    struct outcome found = {0};
    struct sql_rows r = {0};
    int err = sql_first(s,
                        "SELECT lineage, generation, presented, verdict IS NULL, verdict FROM spend"
                        " WHERE intent = ?1",
                        SQL_ARGS(arg_u64(id)), &r);
    if (err < 0) {
        return err;
    }
    found.lineage = read_u64(&r);
    found.generation = read_u64(&r);
    found.presented = read_fp(&r);
    found.is_open = read_bool(&r);
    found.verdict = read_verdict(&r);
    err = r.err;
    sql_end(&r);
    if (err == 0) {
        *ret = found;
    }
    return err;
}

static int close_row(struct store *s, uint64_t id, enum verdict verdict, const char *detail,
                     int64_t now_wall_ms)
{
    return sql_run(s, "UPDATE spend SET verdict = ?2, closed = ?3, detail = ?4 WHERE intent = ?1",
                   SQL_ARGS(arg_u64(id), arg_text(verdict_name(verdict)), arg_i64(now_wall_ms),
                            arg_text_cut(detail, STORE_DETAIL_MAX)));
}

/* A doubt keeps the time it began; any other standing ends it. */
static int set_standing(struct store *s, uint64_t lineage, enum standing standing, bool replayed,
                        int64_t now_wall_ms)
{
    return sql_run(s,
                   "UPDATE lineage SET standing = ?2, replayed = ?3, doubt_since ="
                   "  CASE WHEN ?2 <> 'in-doubt' THEN 0 WHEN doubt_since <> 0 THEN doubt_since"
                   "  ELSE ?4 END, doubt = iif(?2 = 'in-doubt', doubt, 0) WHERE id = ?1",
                   SQL_ARGS(arg_u64(lineage), arg_text(standing_name(standing)), arg_i64(replayed),
                            arg_i64(now_wall_ms)));
}

/* Settlement */

static int is_settled_with(struct store *s, const struct settlement *m, bool *ret)
{
    struct pair stored = {0};
    struct sql_rows r = {0};
    int err = sql_first(s,
                        "SELECT access, refresh, expires FROM pair"
                        " WHERE lineage = ?1 AND generation = ?2",
                        SQL_ARGS(arg_u64(m->lineage), arg_u64(m->generation)), &r);
    if (err == ERR_NOT_FOUND) {
        *ret = false;
        return 0;
    }
    if (err < 0) {
        return err;
    }
    stored.access = read_fp(&r);
    stored.refresh = read_fp(&r);
    stored.expires_wall_ms = read_i64(&r);
    err = r.err;
    sql_end(&r);
    if (err == 0) {
        *ret = pair_equal(&stored, &m->pair);
    }
    return err;
}

static int insert_pair(struct store *s, const struct settlement *m, struct fp parent)
{
    return sql_run(s,
                   "INSERT INTO pair (lineage, generation, access, refresh, parent, expires, life,"
                   "  login_deadline, expires_boot, boot_id, origin, source, obtained)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'credwarden', ?12)",
                   SQL_ARGS(arg_u64(m->lineage), arg_u64(m->generation), arg_fp(m->pair.access),
                            arg_fp(m->pair.refresh), arg_fp(parent),
                            arg_i64(m->pair.expires_wall_ms), arg_i64(m->pair.life_ms),
                            arg_i64(m->pair.login_deadline_wall_ms), arg_i64(m->expires_boot_ms),
                            arg_text(m->boot_id), arg_text(origin_name(m->origin)),
                            arg_i64(m->now_wall_ms)));
}

int note_given_away(struct store *s, uint64_t lineage, struct fp next, bool also)
{
    return sql_run(s,
                   "UPDATE lineage SET given_away = ?3 OR (given_away AND EXISTS (SELECT 1"
                   "  FROM pair AS p WHERE p.lineage = lineage.id"
                   "  AND p.generation = lineage.generation AND p.refresh = ?2)) WHERE id = ?1",
                   SQL_ARGS(arg_u64(lineage), arg_fp(next), arg_i64(also)));
}

static int replace_pair(struct store *s, const struct settlement *m, struct fp parent)
{
    int n = note_given_away(s, m->lineage, m->pair.refresh, false);
    if (n >= 0) {
        n = insert_pair(s, m, parent);
    }
    if (n >= 0) {
        n = sql_run(s, "UPDATE sealed SET generation = ?2, bytes = ?3 WHERE lineage = ?1",
                    SQL_ARGS(arg_u64(m->lineage), arg_u64(m->generation),
                             arg_blob(m->sealed, m->sealed_len)));
    }
    if (n >= 0) {
        n = sql_run(s,
                    "UPDATE lineage SET generation = ?2, fence = ?3, held_until = 0, doubt = 0"
                    " WHERE id = ?1",
                    SQL_ARGS(arg_u64(m->lineage), arg_u64(m->generation), arg_u64(m->fence)));
    }
    if (n >= 0) {
        n = set_standing(s, m->lineage, m->standing, false, m->now_wall_ms);
    }
    return n < 0 ? n : 0;
}

/* Open; or closed in doubt, and nothing has happened to its pair since. */
static int may_settle(struct store *s, const struct settlement *m, const struct outcome *o)
{
    struct state found = {0};
    int64_t open = 0;
    int err = read_state(s, m->lineage, &found);
    if (err == 0) {
        err = sql_number(s, "SELECT count(*) FROM spend WHERE verdict IS NULL AND lineage = ?1",
                         SQL_ARGS(arg_u64(m->lineage)), &open);
    }
    if (err < 0) {
        return err;
    }
    bool is_late = !o->is_open && o->verdict == VERDICT_DOUBT && open == 0;
    return (o->is_open || is_late) && found.standing != STANDING_RETIRED &&
                   m->fence >= found.fence && o->generation == found.generation &&
                   m->generation == found.generation + 1
               ? 0
               : ERR_CONFLICT;
}

static int settle(struct store *s, const void *args)
{
    const struct settlement *m = args;
    struct outcome o = {0};
    int err = read_outcome(s, m->intent, &o);
    if (err < 0) {
        return err;
    }
    if (o.lineage != m->lineage) {
        return ERR_CONFLICT;
    }
    if (!o.is_open && o.verdict == VERDICT_GRANTED) {
        bool is_same = false;
        err = is_settled_with(s, m, &is_same);
        return err < 0 ? err : is_same && m->generation == o.generation + 1 ? 0 : ERR_CONFLICT;
    }
    err = may_settle(s, m, &o);
    if (err == 0) {
        err = replace_pair(s, m, o.presented);
    }
    if (err == 0) {
        err = close_row(s, m->intent, VERDICT_GRANTED, m->detail, m->now_wall_ms);
    }
    return err < 0 ? err : 0;
}

int store_settle(struct store *s, const struct settlement *m)
{
    if (m->sealed_len == 0 || !is_boot_id(m->boot_id) || m->standing == STANDING_RETIRED) {
        return ERR_INVALID;
    }
    return m->sealed_len > STORE_SEALED_MAX ? ERR_TOO_LARGE : store_write(s, settle, m);
}

/* Closing */

static int close_intent(struct store *s, const void *args)
{
    const struct closing *c = args;
    struct outcome o = {0};
    int err = read_outcome(s, c->intent, &o);
    if (err < 0) {
        return err;
    }
    if (o.lineage != c->lineage || (!o.is_open && o.verdict != c->verdict)) {
        return ERR_CONFLICT;
    }
    if (!o.is_open) {
        return 0;
    }
    int n = close_row(s, c->intent, c->verdict, c->detail, c->now_wall_ms);
    if (n >= 0) {
        n = set_standing(s, c->lineage, c->standing, c->replayed, c->now_wall_ms);
    }
    if (n >= 0 && c->standing == STANDING_DOUBT && c->verdict == VERDICT_DOUBT) {
        n = sql_run(s, "UPDATE lineage SET doubt = ?2 WHERE id = ?1",
                    SQL_ARGS(arg_u64(c->lineage), arg_u64(c->intent)));
    }
    return n < 0 ? n : 0;
}

int store_close_intent(struct store *s, const struct closing *c)
{
    if (c->verdict == VERDICT_GRANTED || c->standing == STANDING_RETIRED) {
        return ERR_INVALID;
    }
    return store_write(s, close_intent, c);
}

struct resolution {
    uint64_t lineage;
    enum standing standing;
};

static int resolve(struct store *s, const void *args)
{
    const struct resolution *r = args;
    int n = sql_run(s,
                    "UPDATE lineage SET standing = ?2, doubt_since = 0, doubt = 0"
                    " WHERE id = ?1 AND standing = 'in-doubt'",
                    SQL_ARGS(arg_u64(r->lineage), arg_text(standing_name(r->standing))));
    return n < 0 ? n : n == 0 ? ERR_CONFLICT : 0;
}

int store_resolve(struct store *s, uint64_t lineage, enum standing standing)
{
    struct resolution r = {.lineage = lineage, .standing = standing};
    if (standing != STANDING_LIVE && standing != STANDING_UNPROVEN) {
        return ERR_INVALID;
    }
    return store_write(s, resolve, &r);
}

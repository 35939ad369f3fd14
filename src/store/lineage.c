/*
 * Lineages: captured, adopted, retired, and read back with their current pair, their open intent
 * and their alarms.
 */
#include "store/internal.h"

#include <string.h>

#include "base/check.h"

void lineage_row_init(struct lineage_row *row)
{
    *row = (struct lineage_row){0};
    buf_init(&row->definition, STORE_DEFINITION_MAX);
    buf_init(&row->sealed, STORE_SEALED_MAX);
}

void lineage_row_release(struct lineage_row *row)
{
    if (row != NULL) {
        buf_release(&row->definition);
        buf_release(&row->sealed);
    }
}

/* Reading */

#define SELECT_LINEAGE                                                                             \
    "SELECT l.id, l.provider, l.definition, l.standing, l.subject, l.subject_text, l.label,"       \
    "  l.generation, l.fence, l.held_until, max(l.doubt_since, l.aside_doubt), l.replayed,"        \
    "  l.doubt, l.claimed, l.kept, l.given_away, l.wanted_profile,"                                \
    "  l.wanted_policy, l.retired, l.retired_why,"                                                 \
    "  p.access, p.refresh, p.expires, p.life, p.login_deadline, p.expires_boot, p.boot_id,"       \
    "  p.obtained, z.bytes, s.intent, s.replay, s.begun, s.boot_id"                                \
    " FROM lineage AS l"                                                                           \
    " JOIN pair AS p ON p.lineage = l.id AND p.generation = l.generation"                          \
    " LEFT JOIN sealed AS z ON z.lineage = l.id"                                                   \
    " LEFT JOIN spend AS s ON s.lineage = l.id AND s.verdict IS NULL"

static void read_pair(struct sql_rows *r, struct lineage_row *row)
{
    row->pair.access = read_fp(r);
    row->pair.refresh = read_fp(r);
    row->pair.expires_wall_ms = read_i64(r);
    row->pair.life_ms = read_i64(r);
    row->pair.login_deadline_wall_ms = read_i64(r);
    row->expires_boot_ms = read_i64(r);
    read_text(r, row->boot_id, sizeof(row->boot_id));
    row->obtained_wall_ms = read_i64(r);
    read_blob(r, &row->sealed);
}

static void read_lineage(struct sql_rows *r, struct lineage_row *row)
{
    row->id = read_u64(r);
    read_text(r, row->provider, sizeof(row->provider));
    read_blob(r, &row->definition);
    row->standing = read_standing(r);
    row->subject = read_fp(r);
    read_text(r, row->subject_text, sizeof(row->subject_text));
    read_text(r, row->label, sizeof(row->label));
    row->generation = read_u64(r);
    row->fence = read_u64(r);
    row->held_until_wall_ms = read_i64(r);
    row->doubt_since_wall_ms = read_i64(r);
    row->replayed = read_bool(r);
    row->doubt = read_u64(r);
    row->claimed = read_bool(r);
    row->kept = read_bool(r);
    row->given_away = read_bool(r);
    read_text(r, row->wanted_profile, sizeof(row->wanted_profile));
    row->wanted_policy = read_policy(r);
    row->retired_wall_ms = read_i64(r);
    read_text(r, row->retired_why, sizeof(row->retired_why));
    read_pair(r, row);
    row->intent = read_u64(r);
    row->intent_is_replay = read_bool(r);
    row->intent_begun_wall_ms = read_i64(r);
    read_text(r, row->intent_boot_id, sizeof(row->intent_boot_id));
}

static int read_alarms(struct store *s, uint64_t lineage, uint32_t *ret)
{
    struct sql_rows r = {0};
    uint32_t alarms = 0;
    int err = sql_start(s, "SELECT kind FROM alarm WHERE lineage = ?1 AND cleared IS NULL",
                        SQL_ARGS(arg_u64(lineage)), &r);
    if (err < 0) {
        return err;
    }
    while ((err = sql_next(&r)) > 0) {
        alarms |= UINT32_C(1) << read_alarm(&r);
    }
    err = err == 0 ? r.err : err;
    sql_end(&r);
    if (err == 0) {
        *ret = alarms;
    }
    return err;
}

static int read_row(struct sql_rows *r, struct lineage_row *row)
{
    read_lineage(r, row);
    return r->err < 0 ? r->err : read_alarms(r->s, row->id, &row->alarms);
}

int store_each_lineage(struct store *s, bool with_retired,
                       int (*each)(void *ctx, const struct lineage_row *), void *ctx)
{
    struct lineage_row row;
    struct sql_rows r = {0};
    int err = sql_start(s,
                        SELECT_LINEAGE " WHERE ?1 OR l.standing <> 'retired'"
                                       " ORDER BY l.created, l.id",
                        SQL_ARGS(arg_i64(with_retired)), &r);
    if (err < 0) {
        return err;
    }
    lineage_row_init(&row);
    while ((err = sql_next(&r)) > 0) {
        err = read_row(&r, &row);
        err = err == 0 ? each(ctx, &row) : err;
        if (err < 0) {
            break;
        }
    }
    lineage_row_release(&row);
    sql_end(&r);
    return err;
}

int store_get_lineage(struct store *s, uint64_t id, struct lineage_row *ret)
{
    struct lineage_row row;
    struct sql_rows r = {0};
    int err = sql_first(s, SELECT_LINEAGE " WHERE l.id = ?1", SQL_ARGS(arg_u64(id)), &r);
    if (err < 0) {
        return err;
    }
    lineage_row_init(&row);
    err = read_row(&r, &row);
    sql_end(&r);
    if (err < 0) {
        lineage_row_release(&row);
        return err;
    }
    lineage_row_release(ret);
    *ret = row;
    return 0;
}

/* Capture */

static int check_capture(const struct capture *c)
{
    bool is_named = c->profile != NULL && c->profile[0] != '\0';
    if (c->lineage == 0 || c->sealed_len == 0 || !name_is_valid(c->provider) ||
        (is_named && !name_is_valid(c->profile)) ||
        (c->boot_id != NULL && strlen(c->boot_id) >= BOOT_ID_SIZE)) {
        return ERR_INVALID;
    }
    return c->sealed_len > STORE_SEALED_MAX || c->definition_len > STORE_DEFINITION_MAX
               ? ERR_TOO_LARGE
               : 0;
}

static int insert_lineage(struct store *s, const struct capture *c)
{
    int n = sql_run(s,
                    "INSERT INTO lineage (id, provider, definition, standing, subject_text, label,"
                    "  generation, fence, held_until, doubt_since, replayed, wanted_profile,"
                    "  wanted_policy, created, retired, retired_why)"
                    " VALUES (?1, ?2, ?3, 'unproven', '', '', 1, 0, ?4, 0, 0, ?5, ?6, ?7, 0, '')",
                    SQL_ARGS(arg_u64(c->lineage), arg_text(c->provider),
                             arg_blob(c->definition, c->definition_len),
                             arg_i64(c->held_until_wall_ms), arg_text(c->profile),
                             arg_text(policy_name(c->policy)), arg_i64(c->now_wall_ms)));
    return n == ERR_CONFLICT ? ERR_EXISTS : n;
}

static int insert_first_pair(struct store *s, const struct capture *c)
{
    return sql_run(s,
                   "INSERT INTO pair (lineage, generation, access, refresh, expires, life,"
                   "  login_deadline, expires_boot, boot_id, origin, source, obtained)"
                   " VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                   SQL_ARGS(arg_u64(c->lineage), arg_fp(c->pair.access), arg_fp(c->pair.refresh),
                            arg_i64(c->pair.expires_wall_ms), arg_i64(c->pair.life_ms),
                            arg_i64(c->pair.login_deadline_wall_ms), arg_i64(c->expires_boot_ms),
                            arg_text(c->boot_id), arg_text(origin_name(c->origin)),
                            arg_text_cut(c->source, STORE_DETAIL_MAX), arg_i64(c->now_wall_ms)));
}

static int capture(struct store *s, const void *args)
{
    const struct capture *c = args;
    int n = insert_lineage(s, c);
    if (n >= 0) {
        n = insert_first_pair(s, c);
    }
    if (n >= 0) {
        n = sql_run(s, "INSERT INTO sealed (lineage, generation, bytes) VALUES (?1, 1, ?2)",
                    SQL_ARGS(arg_u64(c->lineage), arg_blob(c->sealed, c->sealed_len)));
    }
    return n < 0 ? n : 0;
}

int store_capture(struct store *s, const struct capture *c)
{
    int err = check_capture(c);
    return err < 0 ? err : store_write(s, capture, c);
}

/* Adoption */

struct adoption {
    uint64_t lineage;
    enum standing standing;
    struct fp subject;
    const char *subject_text;
    const char *label;
    const char *profile; /* NULL: none */
    enum policy policy;
    int64_t now_wall_ms;
};

static int believe(struct store *s, const struct adoption *a)
{
    int n = sql_run(s,
                    "UPDATE lineage SET standing = ?2, subject = ?3, subject_text = ?4, label = ?5,"
                    "  aside_doubt = iif(?2 = 'quarantined', max(doubt_since, aside_doubt), 0),"
                    "  doubt = iif(?2 = 'quarantined', doubt, 0),"
                    "  doubt_since = 0, wanted_profile = '', claimed = 0, kept = 0"
                    " WHERE id = ?1 AND standing <> 'retired'"
                    "  AND (wanted_profile <> '' OR standing IN ('unproven', 'quarantined'))",
                    SQL_ARGS(arg_u64(a->lineage), arg_text(standing_name(a->standing)),
                             arg_fp(a->subject), arg_text(a->subject_text),
                             arg_text_cut(a->label, STORE_LABEL_MAX)));
    if (n != 0) {
        return n < 0 ? n : 0;
    }
    int64_t found = 0;
    int err =
        sql_number(s, "SELECT 1 FROM lineage WHERE id = ?1", SQL_ARGS(arg_u64(a->lineage)), &found);
    return err < 0 ? err : ERR_CONFLICT;
}

static int point_profile(struct store *s, const struct adoption *a)
{
    int n = sql_run(s,
                    "INSERT INTO profile (name, lineage, policy, created) VALUES (?1, ?2, ?3, ?4)"
                    " ON CONFLICT (name) DO UPDATE SET lineage = ?2, policy = ?3",
                    SQL_ARGS(arg_text(a->profile), arg_u64(a->lineage),
                             arg_text(policy_name(a->policy)), arg_i64(a->now_wall_ms)));
    if (n >= 0) {
        n = sql_run(s,
                    "INSERT INTO profile_lineage (profile, lineage, since) VALUES (?1, ?2, ?3)"
                    " ON CONFLICT DO NOTHING",
                    SQL_ARGS(arg_text(a->profile), arg_u64(a->lineage), arg_i64(a->now_wall_ms)));
    }
    return n < 0 ? n : 0;
}

static int adopt(struct store *s, const void *args)
{
    const struct adoption *a = args;
    int err = believe(s, a);
    return err == 0 && a->profile != NULL ? point_profile(s, a) : err;
}

int store_adopt(struct store *s, uint64_t lineage, enum standing standing, struct fp subject,
                const char *subject_text, const char *label, const char *profile,
                enum policy policy, int64_t now_wall_ms)
{
    if ((standing != STANDING_LIVE && standing != STANDING_QUARANTINED) ||
        (standing == STANDING_QUARANTINED && profile != NULL) ||
        (profile != NULL && !name_is_valid(profile))) {
        return ERR_INVALID;
    }
    if (subject_text != NULL && strlen(subject_text) >= STORE_SUBJECT_MAX) {
        return ERR_TOO_LARGE; /* cut, it would be another subject */
    }
    struct adoption a = {
        .lineage = lineage,
        .standing = standing,
        .subject = subject,
        .subject_text = subject_text,
        .label = label,
        .profile = profile,
        .policy = policy,
        .now_wall_ms = now_wall_ms,
    };
    return store_write(s, adopt, &a);
}

/* Claim */

struct claim {
    uint64_t lineage;
    const char *profile;
    enum policy policy;
};

/* Whose it is is asked anew. */
static int claim(struct store *s, const void *args)
{
    const struct claim *c = args;
    int n = sql_run(
        s,
        "UPDATE lineage SET standing = iif(aside_doubt <> 0, 'in-doubt', 'unproven'),"
        "  doubt_since = aside_doubt, aside_doubt = 0, kept = 1, subject = NULL, subject_text = '',"
        "  label = '', wanted_profile = ?2, wanted_policy = ?3 WHERE id = ?1 AND standing = 'quarantined'"
        "  AND id NOT IN (SELECT lineage FROM profile)",
        SQL_ARGS(arg_u64(c->lineage), arg_text(c->profile), arg_text(policy_name(c->policy))));
    return n < 0 ? n : n == 0 ? ERR_CONFLICT : 0;
}

int store_claim(struct store *s, uint64_t lineage, const char *profile, enum policy policy)
{
    struct claim c = {.lineage = lineage, .profile = profile, .policy = policy};
    return name_is_valid(profile) ? store_write(s, claim, &c) : ERR_INVALID;
}

/* Retirement */

struct retirement {
    uint64_t lineage;
    const char *why;
    int64_t now_wall_ms;
};

static int retire(struct store *s, const void *args)
{
    const struct retirement *t = args;
    struct sql_arg id = arg_u64(t->lineage);
    struct sql_arg now = arg_i64(t->now_wall_ms);
    int64_t is_retired = 0;
    int n = sql_number(s, "SELECT standing = 'retired' FROM lineage WHERE id = ?1", SQL_ARGS(id),
                       &is_retired);
    if (n < 0 || is_retired != 0) {
        return n;
    }
    n = sql_run(s,
                "UPDATE spend SET verdict = 'in-doubt', closed = ?2,"
                "  detail = 'the lineage was ended' WHERE lineage = ?1 AND verdict IS NULL",
                SQL_ARGS(id, now));
    if (n >= 0) {
        n = sql_run(s, "DELETE FROM sealed WHERE lineage = ?1", SQL_ARGS(id));
    }
    if (n >= 0) {
        n = sql_run(s, "DELETE FROM profile WHERE lineage = ?1", SQL_ARGS(id));
    }
    if (n >= 0) {
        n = sql_run(s, "UPDATE alarm SET cleared = ?2 WHERE lineage = ?1 AND cleared IS NULL",
                    SQL_ARGS(id, now));
    }
    if (n >= 0) {
        n = sql_run(
            s,
            "UPDATE lineage SET standing = 'retired', retired = ?2, retired_why = ?3,"
            "  doubt_since = 0, aside_doubt = 0, doubt = 0, wanted_profile = '' WHERE id = ?1",
            SQL_ARGS(id, now, arg_text_cut(t->why, STORE_DETAIL_MAX)));
    }
    return n < 0 ? n : 0;
}

int store_retire(struct store *s, uint64_t lineage, const char *why, int64_t now_wall_ms)
{
    struct retirement t = {.lineage = lineage, .why = why, .now_wall_ms = now_wall_ms};
    int err = store_write(s, retire, &t);
    if (err == 0) {
        s->wipe_due = true;
    }
    return err;
}

/* Single fields */

struct field {
    const char *sql;
    uint64_t lineage;
    struct sql_arg value;
};

static int set_field(struct store *s, const void *args)
{
    const struct field *f = args;
    int n = sql_run(s, f->sql, SQL_ARGS(arg_u64(f->lineage), f->value));
    return n < 0 ? n : n == 0 ? ERR_NOT_FOUND : 0;
}

int store_set_label(struct store *s, uint64_t lineage, const char *label)
{
    struct field f = {
        .sql = "UPDATE lineage SET label = ?2 WHERE id = ?1",
        .lineage = lineage,
        .value = arg_text_cut(label, STORE_LABEL_MAX),
    };
    return store_write(s, set_field, &f);
}

int store_set_held(struct store *s, uint64_t lineage, int64_t held_until_wall_ms)
{
    struct field f = {
        .sql = "UPDATE lineage SET held_until = ?2 WHERE id = ?1",
        .lineage = lineage,
        .value = arg_i64(held_until_wall_ms),
    };
    return store_write(s, set_field, &f);
}

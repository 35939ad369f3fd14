/*
 * Captures: what was found in clients' places, sealed, until it is known whose it is. What the
 * ledger knows of a pair's tokens decides what may become of it.
 */
#include "store/internal.h"

#include <string.h>

/* What the ledger has of tokens */

/* Of a token: is it, or was it, a lineage's; and is it one's no more? A refresh token that an
 * answer kept is of several generations, the current one among them; a pair that was added again is
 * of a lineage that was ended, too. */
#define IS_OURS                                                                                    \
    "(EXISTS (SELECT 1 FROM pair WHERE access = ?1) AND"                                           \
    " (?2 IS NULL OR EXISTS (SELECT 1 FROM pair WHERE refresh = ?2)))"
#define IS_FORMER(column, token)                                                                   \
    "(EXISTS (SELECT 1 FROM pair WHERE " column " = " token ") AND NOT EXISTS (SELECT 1"           \
    "  FROM pair AS p JOIN lineage AS l ON l.id = p.lineage AND l.generation = p.generation"       \
    "  WHERE p." column " = " token " AND l.standing <> 'retired'))"
/* It was presented, and another one given for it. */
#define IS_SPENT                                                                                   \
    "EXISTS (SELECT 1 FROM spend AS s JOIN pair AS q ON q.lineage = s.lineage"                     \
    "  AND q.generation = s.generation + 1"                                                        \
    "  WHERE s.presented = ?2 AND s.verdict = 'granted' AND q.refresh IS NOT ?2)"

int store_meet_pair(struct store *s, const struct pair *pair, struct acquaintance *ret)
{
    struct acquaintance met = {0};
    struct sql_rows r = {0};
    int err = sql_first(
        s,
        "SELECT " IS_OURS
        ", " IS_FORMER("access", "?1") " OR (?2 IS NOT NULL"
                                       " AND (" IS_FORMER("refresh", "?2") " OR " IS_SPENT "))",
        SQL_ARGS(arg_fp(pair->access), arg_fp(pair->refresh)), &r);
    if (err < 0) {
        return err;
    }
    met.is_ours = read_bool(&r);
    met.is_former = read_bool(&r);
    err = r.err;
    sql_end(&r);
    if (err == 0) {
        *ret = met;
    }
    return err;
}

/* Whether the ledger forbids to go on with a refresh token: it is spent, refused, or presented and
 * lost; or another lineage has it. `own`: the lineage that is to go on with it; 0: none. */
static int is_refused(struct store *s, struct fp refresh, uint64_t own, bool *ret)
{
    int64_t n = 0;
    if (fp_is_none(refresh)) {
        *ret = false;
        return 0;
    }
    int err = sql_number(
        s,
        "SELECT " IS_SPENT
        " OR EXISTS (SELECT 1 FROM spend WHERE presented = ?2 AND verdict = 'refused')"
        " OR EXISTS (SELECT 1 FROM pair AS p JOIN lineage AS l ON l.id = p.lineage"
        "   AND l.generation = p.generation"
        "   WHERE p.refresh = ?2 AND l.standing <> 'retired' AND l.id <> ?1)"
        " OR (EXISTS (SELECT 1 FROM spend WHERE presented = ?2"
        "     AND (verdict IS NULL OR verdict = 'in-doubt') AND NOT EXISTS (SELECT 1 FROM pair AS k"
        "       WHERE k.lineage = spend.lineage AND k.generation = spend.generation + 1"
        "       AND k.refresh = ?2))" /* that one was granted with it still */
        "   AND NOT EXISTS (SELECT 1 FROM pair AS p JOIN lineage AS l ON l.id = p.lineage"
        "     AND l.generation = p.generation WHERE p.refresh = ?2 AND l.id = ?1))",
        SQL_ARGS(arg_u64(own), arg_fp(refresh)), &n);
    if (err == 0) {
        *ret = n != 0;
    }
    return err;
}

/* Keeping */

static int check_sealed(size_t len)
{
    return len == 0 ? ERR_INVALID : len > STORE_SEALED_MAX ? ERR_TOO_LARGE : 0;
}

struct keeping {
    const struct captured *c;
    uint64_t *ret_id;
    struct acquaintance *ret;
};

static int same_capture(struct store *s, const struct captured *c, int64_t *ret)
{
    int err = sql_number(
        s,
        "SELECT id FROM capture WHERE access IS ?1 AND refresh IS ?2"
        " AND expires = ?3",
        SQL_ARGS(arg_fp(c->pair.access), arg_fp(c->pair.refresh), arg_i64(c->pair.expires_wall_ms)),
        ret);
    return err == ERR_NOT_FOUND ? 0 : err;
}

static int keep(struct store *s, const void *args)
{
    const struct keeping *k = args;
    const struct captured *c = k->c;
    int64_t same = 0;
    int err = store_meet_pair(s, &c->pair, k->ret);
    if (err == 0) {
        err = same_capture(s, c, &same);
    }
    if (err < 0 || k->ret->is_ours) {
        return err;
    }
    if (same != 0) {
        *k->ret_id = (uint64_t)same;
        int n = sql_run(s,
                        "UPDATE capture SET consumer = ?2 WHERE id = ?1"
                        "  AND consumer NOT IN (SELECT id FROM consumer)",
                        SQL_ARGS(arg_i64(same), arg_u64(c->consumer)));
        return n < 0 ? n : 0;
    }
    int n = sql_run(s, "INSERT INTO capture VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                    SQL_ARGS(arg_u64(c->id), arg_u64(c->consumer), arg_u64(c->lineage),
                             arg_fp(c->pair.access), arg_fp(c->pair.refresh),
                             arg_i64(c->pair.expires_wall_ms), arg_i64(c->pair.life_ms),
                             arg_i64(c->pair.login_deadline_wall_ms),
                             arg_text_cut(c->source, STORE_DETAIL_MAX), arg_i64(c->now_wall_ms),
                             arg_blob(c->sealed, c->sealed_len)));
    *k->ret_id = c->id;
    return n < 0 ? n : 0;
}

int store_keep_capture(struct store *s, const struct captured *c, uint64_t *ret_id,
                       struct acquaintance *ret)
{
    struct acquaintance met = {0};
    uint64_t id = 0;
    struct keeping k = {.c = c, .ret_id = &id, .ret = &met};
    int err = c->id == 0 ? ERR_INVALID : check_sealed(c->sealed_len);
    if (err == 0) {
        err = store_write(s, keep, &k);
    }
    if (err == 0) {
        *ret_id = id;
        *ret = met;
    }
    return err;
}

static int forget(struct store *s, uint64_t id)
{
    int n = sql_run(s, "DELETE FROM capture WHERE id = ?1", SQL_ARGS(arg_u64(id)));
    return n < 0 ? n : 0;
}

static int drop(struct store *s, const void *args)
{
    return forget(s, *(const uint64_t *)args);
}

/* The bytes of a capture that is gone stay in the log until that is emptied. */
static int write_and_wipe(struct store *s, int (*body)(struct store *s, const void *args),
                          const void *args)
{
    int err = store_write(s, body, args);
    s->wipe_due |= err == 0;
    return err;
}

int store_drop_capture(struct store *s, uint64_t id)
{
    return write_and_wipe(s, drop, &id);
}

/* Reading */

#define SELECT_CAPTURE                                                                             \
    "SELECT id, consumer, lineage, access, refresh, expires, life, login_deadline, source, seen,"  \
    "  bytes FROM capture"

static void read_capture(struct sql_rows *r, struct captured_row *row)
{
    row->id = read_u64(r);
    row->consumer = read_u64(r);
    row->lineage = read_u64(r);
    row->pair.access = read_fp(r);
    row->pair.refresh = read_fp(r);
    row->pair.expires_wall_ms = read_i64(r);
    row->pair.life_ms = read_i64(r);
    row->pair.login_deadline_wall_ms = read_i64(r);
    read_text(r, row->source, sizeof(row->source));
    row->seen_wall_ms = read_i64(r);
    read_blob(r, &row->sealed);
}

int store_each_capture(struct store *s, int (*each)(void *ctx, const struct captured_row *),
                       void *ctx)
{
    struct captured_row row = {0};
    struct sql_rows r = {0};
    int err = sql_start(s, SELECT_CAPTURE " ORDER BY seen, id", SQL_NO_ARGS, &r);
    if (err < 0) {
        return err;
    }
    buf_init(&row.sealed, STORE_SEALED_MAX);
    while ((err = sql_next(&r)) > 0) {
        read_capture(&r, &row);
        err = r.err < 0 ? r.err : store_meet_pair(s, &row.pair, &row.met);
        err = err < 0 ? err : each(ctx, &row);
        if (err < 0) {
            break;
        }
    }
    buf_release(&row.sealed);
    sql_end(&r);
    return err;
}

/* All but the bytes. */
static int get_capture(struct store *s, uint64_t id, struct captured_row *ret)
{
    struct captured_row row = {0};
    struct sql_rows r = {0};
    int err = sql_first(s, SELECT_CAPTURE " WHERE id = ?1", SQL_ARGS(arg_u64(id)), &r);
    if (err < 0) {
        return err;
    }
    buf_init(&row.sealed, STORE_SEALED_MAX);
    read_capture(&r, &row);
    buf_release(&row.sealed);
    err = r.err;
    sql_end(&r);
    if (err == 0) {
        *ret = row;
    }
    return err;
}

/* Going on with it */

static int insert_pair(struct store *s, const struct captured_row *c, uint64_t lineage,
                       uint64_t generation, int64_t now_wall_ms)
{
    return sql_run(s,
                   "INSERT INTO pair (lineage, generation, access, refresh, expires, life,"
                   "  login_deadline, expires_boot, boot_id, origin, source, obtained)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, '', 'adopted', ?8, ?9)",
                   SQL_ARGS(arg_u64(lineage), arg_u64(generation), arg_fp(c->pair.access),
                            arg_fp(c->pair.refresh), arg_i64(c->pair.expires_wall_ms),
                            arg_i64(c->pair.life_ms), arg_i64(c->pair.login_deadline_wall_ms),
                            arg_text(c->source), arg_i64(now_wall_ms)));
}

/* May this lineage go on with another pair, as this generation? */
static int check_next(struct store *s, uint64_t lineage, uint64_t generation)
{
    int64_t n = 0;
    int err = sql_number(s,
                         "SELECT count(*) FROM lineage AS l WHERE l.id = ?1"
                         "  AND l.generation + 1 = ?2 AND l.standing <> 'retired'"
                         "  AND NOT EXISTS (SELECT 1 FROM spend AS s WHERE s.lineage = l.id"
                         "    AND s.verdict IS NULL)",
                         SQL_ARGS(arg_u64(lineage), arg_u64(generation)), &n);
    return err < 0 ? err : n == 0 ? ERR_CONFLICT : 0;
}

static int replace_pair(struct store *s, const struct capture_adoption *a,
                        const struct captured_row *c)
{
    int n = note_given_away(s, a->lineage, c->pair.refresh, a->given_away);
    if (n >= 0) {
        n = insert_pair(s, c, a->lineage, a->generation, a->now_wall_ms);
    }
    if (n >= 0) {
        n = sql_run(s, "UPDATE sealed SET generation = ?2, bytes = ?3 WHERE lineage = ?1",
                    SQL_ARGS(arg_u64(a->lineage), arg_u64(a->generation),
                             arg_blob(a->sealed, a->sealed_len)));
    }
    if (n >= 0) {
        n = sql_run(
            s,
            "UPDATE lineage SET generation = ?2, held_until = ?3, standing = 'live',"
            "  doubt_since = 0, aside_doubt = 0, doubt = 0, replayed = 0 WHERE id = ?1",
            SQL_ARGS(arg_u64(a->lineage), arg_u64(a->generation), arg_i64(a->held_until_wall_ms)));
    }
    return n < 0 ? n : 0;
}

static int adopt(struct store *s, const void *args)
{
    const struct capture_adoption *a = args;
    struct captured_row c = {0};
    bool refused = false;
    int err = get_capture(s, a->capture, &c);
    if (err < 0) {
        return err == ERR_NOT_FOUND ? ERR_CONFLICT : err;
    }
    err = is_refused(s, c.pair.refresh, a->lineage, &refused);
    if (err == 0 && refused) {
        err = ERR_CONFLICT;
    }
    if (err == 0) {
        err = check_next(s, a->lineage, a->generation);
    }
    if (err == 0) {
        err = replace_pair(s, a, &c);
    }
    return err == 0 ? forget(s, a->capture) : err;
}

int store_adopt_capture(struct store *s, const struct capture_adoption *a)
{
    int err = check_sealed(a->sealed_len);
    return err < 0 ? err : write_and_wipe(s, adopt, a);
}

/* As a lineage of its own */

static int insert_lineage(struct store *s, const struct capture_lineage *c, uint64_t from,
                          bool claims)
{
    int n = sql_run(
        s,
        "INSERT INTO lineage (id, provider, definition, standing, subject, subject_text, label,"
        "  generation, fence, held_until, doubt_since, replayed, wanted_profile, wanted_policy,"
        "  created, retired, retired_why, claimed, given_away)"
        " SELECT ?1, provider, definition, ?3, ?4, ?5, ?6, 1, 0, 0, 0, 0, ?7, ?8, ?9, 0, '', ?10,"
        "  ?11 FROM lineage WHERE id = ?2",
        SQL_ARGS(arg_u64(c->lineage), arg_u64(from),
                 arg_text(standing_name(claims ? STANDING_UNPROVEN : STANDING_QUARANTINED)),
                 arg_fp(claims ? (struct fp){{0}} : c->subject),
                 arg_text(claims ? "" : c->subject_text),
                 arg_text_cut(claims ? "" : c->label, STORE_LABEL_MAX),
                 arg_text(claims ? c->profile : ""),
                 arg_text(policy_name(claims ? c->policy : POLICY_NEVER)), arg_i64(c->now_wall_ms),
                 arg_i64(claims), arg_i64(c->given_away)));
    return n == ERR_CONFLICT ? ERR_INVALID : n < 0 ? n : n == 0 ? ERR_NOT_FOUND : 0;
}

static int become_lineage(struct store *s, const struct capture_lineage *c,
                          const struct captured_row *row, bool claims)
{
    int n = insert_lineage(s, c, row->lineage, claims);
    if (n >= 0) {
        n = insert_pair(s, row, c->lineage, 1, c->now_wall_ms);
    }
    if (n >= 0) {
        n = sql_run(s, "INSERT INTO sealed (lineage, generation, bytes) VALUES (?1, 1, ?2)",
                    SQL_ARGS(arg_u64(c->lineage), arg_blob(c->sealed, c->sealed_len)));
    }
    return n < 0 ? n : forget(s, c->capture);
}

struct aside {
    const struct capture_lineage *c;
    bool *ret_held; /* a lineage has it already */
};

static int set_aside(struct store *s, const void *args)
{
    const struct aside *a = args;
    struct captured_row row = {0};
    int64_t holders = 0;
    int err = get_capture(s, a->c->capture, &row);
    if (err == 0) {
        err = sql_number(s,
                         "SELECT count(*) FROM pair AS p JOIN lineage AS l ON l.id = p.lineage"
                         "  AND l.generation = p.generation"
                         "  WHERE p.refresh = ?1 AND l.standing <> 'retired'",
                         SQL_ARGS(arg_fp(row.pair.refresh)), &holders);
    }
    if (err < 0) {
        return err;
    }
    *a->ret_held = holders > 0;
    return holders > 0 ? forget(s, a->c->capture) : become_lineage(s, a->c, &row, false);
}

int store_set_capture_aside(struct store *s, const struct capture_lineage *c)
{
    bool is_held = false;
    struct aside a = {.c = c, .ret_held = &is_held};
    int err = check_sealed(c->sealed_len);
    if (err == 0 && c->subject_text != NULL && strlen(c->subject_text) >= STORE_SUBJECT_MAX) {
        err = ERR_TOO_LARGE; /* cut, it would be another subject */
    }
    if (err == 0) {
        err = write_and_wipe(s, set_aside, &a);
    }
    return err == 0 && is_held ? ERR_EXISTS : err;
}

static int claim(struct store *s, const void *args)
{
    const struct capture_lineage *c = args;
    struct captured_row row = {0};
    int64_t wanted = 0;
    bool refused = false;
    int err = get_capture(s, c->capture, &row);
    if (err == 0) {
        err = find_profile(s, c->profile);
    }
    if (err == 0) {
        err = is_refused(s, row.pair.refresh, 0, &refused);
    }
    if (err == 0 && !refused) {
        err = sql_number(s,
                         "SELECT count(*) FROM lineage WHERE wanted_profile = ?1"
                         "  AND standing <> 'retired'",
                         SQL_ARGS(arg_text(c->profile)), &wanted);
    }
    if (err < 0 || refused || wanted > 0) {
        return err < 0 ? err : refused ? ERR_CONFLICT : ERR_EXISTS;
    }
    return become_lineage(s, c, &row, true);
}

int store_claim_capture(struct store *s, const struct capture_lineage *c)
{
    int err = name_is_valid(c->profile) ? check_sealed(c->sealed_len) : ERR_INVALID;
    return err < 0 ? err : write_and_wipe(s, claim, c);
}

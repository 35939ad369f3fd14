/*
 * The ledger: who held what, who spent what, what came of it.
 */
#include "store/internal.h"

#include "base/check.h"

/* Both kinds of entry in one shape. Within a generation its pair comes first, then the spends that
 * presented it, in the order in which they were begun. */
static const char select_ledger[] =
    "SELECT * FROM ("
    " SELECT 0 AS is_spend, p.generation AS generation, 0 AS seq, p.obtained, p.access, p.refresh,"
    "   p.parent, p.origin, p.source, p.expires, 0, 0, 0, NULL, 0, ''"
    "   FROM pair AS p WHERE p.lineage = ?1"
    " UNION ALL"
    " SELECT 1, s.generation, s.seq, s.begun, NULL, s.presented,"
    "   NULL, NULL, s.cause, 0, s.intent, s.verdict IS NULL, s.replay, s.verdict, s.closed, s.detail"
    "   FROM spend AS s WHERE s.lineage = ?1"
    " ORDER BY generation DESC, is_spend DESC, seq DESC LIMIT ?2"
    ") ORDER BY generation, is_spend, seq";

static void read_entry(struct sql_rows *r, struct ledger_row *row)
{
    row->is_spend = read_bool(r);
    row->generation = read_u64(r);
    (void)read_i64(r); /* seq */
    row->wall_ms = read_i64(r);
    row->access = read_fp(r);
    row->refresh = read_fp(r);
    row->parent = read_fp(r);
    row->origin = read_origin(r);
    read_text(r, row->source, sizeof(row->source));
    row->expires_wall_ms = read_i64(r);
    row->intent = read_u64(r);
    row->is_open = read_bool(r);
    row->replay = read_bool(r);
    row->verdict = read_verdict(r);
    row->closed_wall_ms = read_i64(r);
    read_text(r, row->detail, sizeof(row->detail));
}

int store_each_ledger(struct store *s, uint64_t lineage, int limit,
                      int (*each)(void *ctx, const struct ledger_row *), void *ctx)
{
    struct sql_rows r = {0};
    int err = sql_start(s, select_ledger,
                        SQL_ARGS(arg_u64(lineage), arg_i64(limit > 0 ? limit : -1)), &r);
    if (err < 0) {
        return err;
    }
    while ((err = sql_next(&r)) > 0) {
        struct ledger_row row = {.lineage = lineage};
        read_entry(&r, &row);
        err = r.err < 0 ? r.err : each(ctx, &row);
        if (err < 0) {
            break;
        }
    }
    sql_end(&r);
    return err;
}

int store_knows_intent(struct store *s, uint64_t intent, bool *ret)
{
    int64_t n = 0;
    int err = sql_number(s, "SELECT count(*) FROM spend WHERE intent = ?1",
                         SQL_ARGS(arg_u64(intent)), &n);
    if (err == 0) {
        *ret = n > 0;
    }
    return err;
}

/* Looked up per column, so that each has its own index. A token that an answer kept appears in
 * several generations: whether it was spent is asked of the one that is shown. */
static const char select_sighting[] =
    "SELECT p.lineage, p.generation,"
    "  p.generation = l.generation AND l.standing <> 'retired' AS is_current,"
    "  EXISTS (SELECT 1 FROM spend AS s WHERE s.lineage = p.lineage"
    "    AND s.generation = p.generation"
    "    AND (s.verdict IS NULL OR s.verdict IN ('granted', 'in-doubt')))"
    " FROM (SELECT lineage, generation, obtained FROM pair WHERE refresh = ?1"
    "   UNION SELECT lineage, generation, obtained FROM pair WHERE access = ?1) AS p"
    " JOIN lineage AS l ON l.id = p.lineage"
    " ORDER BY is_current DESC, p.obtained DESC, p.generation DESC LIMIT 1";

int store_find_fp(struct store *s, struct fp fp, struct sighting *ret)
{
    struct sighting found = {0};
    struct sql_rows r = {0};
    if (fp_is_none(fp)) {
        return ERR_NOT_FOUND;
    }
    int err = sql_first(s, select_sighting, SQL_ARGS(arg_fp(fp)), &r);
    if (err < 0) {
        return err;
    }
    found.lineage = read_u64(&r);
    found.generation = read_u64(&r);
    found.is_current = read_bool(&r);
    found.spent = read_bool(&r);
    err = r.err;
    sql_end(&r);
    if (err == 0) {
        *ret = found;
    }
    return err;
}

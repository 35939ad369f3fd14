/*
 * Profiles: names that point at lineages. A name's history is kept beside it and goes where the
 * name goes.
 */
#include "store/internal.h"

#include <string.h>

#include "base/check.h"

int store_each_profile(struct store *s, int (*each)(void *ctx, const struct profile_row *),
                       void *ctx)
{
    struct sql_rows r = {0};
    int err = sql_start(s, "SELECT name, lineage, policy, created FROM profile ORDER BY name",
                        SQL_NO_ARGS, &r);
    if (err < 0) {
        return err;
    }
    while ((err = sql_next(&r)) > 0) {
        struct profile_row row = {0};
        read_text(&r, row.name, sizeof(row.name));
        row.lineage = read_u64(&r);
        row.policy = read_policy(&r);
        row.created_wall_ms = read_i64(&r);
        err = r.err < 0 ? r.err : each(ctx, &row);
        if (err < 0) {
            break;
        }
    }
    sql_end(&r);
    return err;
}

int store_each_profile_lineage(struct store *s, const char *profile,
                               int (*each)(void *ctx, uint64_t lineage), void *ctx)
{
    struct sql_rows r = {0};
    int err =
        sql_start(s, "SELECT lineage FROM profile_lineage WHERE profile = ?1 ORDER BY seq DESC",
                  SQL_ARGS(arg_text(profile)), &r);
    if (err < 0) {
        return err;
    }
    while ((err = sql_next(&r)) > 0) {
        uint64_t lineage = read_u64(&r);
        err = r.err < 0 ? r.err : each(ctx, lineage);
        if (err < 0) {
            break;
        }
    }
    sql_end(&r);
    return err;
}

struct policy_change {
    const char *profile;
    enum policy policy;
};

static int set_policy(struct store *s, const void *args)
{
    const struct policy_change *c = args;
    int n = sql_run(s, "UPDATE profile SET policy = ?2 WHERE name = ?1",
                    SQL_ARGS(arg_text(c->profile), arg_text(policy_name(c->policy))));
    if (n <= 0) {
        return n < 0 ? n : ERR_NOT_FOUND;
    }
    n = sql_run(s, "UPDATE lineage SET wanted_policy = ?2 WHERE wanted_profile = ?1",
                SQL_ARGS(arg_text(c->profile), arg_text(policy_name(c->policy))));
    return n < 0 ? n : 0;
}

int store_set_policy(struct store *s, const char *profile, enum policy policy)
{
    struct policy_change c = {.profile = profile, .policy = policy};
    return store_write(s, set_policy, &c);
}

struct renaming {
    const char *from;
    const char *to;
};

static int rename_profile(struct store *s, const void *args)
{
    const struct renaming *g = args;
    int n = sql_run(s, "UPDATE profile SET name = ?2 WHERE name = ?1",
                    SQL_ARGS(arg_text(g->from), arg_text(g->to)));
    if (n <= 0) {
        return n == 0 ? ERR_NOT_FOUND : n == ERR_CONFLICT ? ERR_EXISTS : n;
    }
    static const char *const follow[] = {
        "UPDATE profile_lineage SET profile = ?2 WHERE profile = ?1",
        "UPDATE consumer SET before = ?2 WHERE before = ?1",
        /* An `add` has a name that its user gave, also when another one had it. */
        "UPDATE lineage SET wanted_profile = ?2 WHERE wanted_profile = ?1 AND claimed = 1",
    };
    for (size_t i = 0; i < ARRAY_LEN(follow) && n >= 0; i++) {
        n = sql_run(s, follow[i], SQL_ARGS(arg_text(g->from), arg_text(g->to)));
    }
    return n < 0 ? n : 0;
}

int store_rename(struct store *s, const char *from, const char *to)
{
    struct renaming g = {.from = from, .to = to};
    return name_is_valid(to) ? store_write(s, rename_profile, &g) : ERR_INVALID;
}

/*
 * Repair: what is sound of a damaged store becomes a new one.
 *
 * Every row of every sound page is put into an empty store, each into the table whose shape it has.
 * Then SQL throws out what does not fit together, so that the new store obeys every rule. Unless
 * nothing at all was lost it says of itself that it is a restored copy: what was lost may have told
 * of a spend, so the next start puts every single-use login in doubt, by the rule for a backup that
 * was put back.
 *
 * Nothing happens to the damaged files before the new one is whole and synced (handover.c).
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/pages.h"
#include "sys/file.h"

/* Which table a row is of: its shape, where a capital letter takes "nothing" too. No index has the
 * shape of a table. */
#define SEALED_SHAPE "#nib" /* sealed to its place: it proves itself, whatever its page is */
static const struct table {
    const char *shape;
    const char *insert;
} tables[] = {
    {"#nbii", "INSERT OR REPLACE INTO store VALUES (?1, ?2, ?3, ?4)"},
    {"#ntbtBttiiiiittiit",
     "INSERT OR IGNORE INTO lineage" /* as it was first, and is until it is written again */
     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
     "  0, 0, 0, 0, 0)"},
    {"#ntbtBttiiiiittiitiiiii",
     "INSERT OR IGNORE INTO lineage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
     "  ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)"},
    {"=iiBBBiiiittti", "INSERT OR IGNORE INTO pair"
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"},
    {SEALED_SHAPE, "INSERT OR IGNORE INTO sealed VALUES (?1, ?2, ?3)"},
    {"#niiibiittiTit", "INSERT OR IGNORE INTO spend"
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"},
    {"=titi", "INSERT OR IGNORE INTO profile VALUES (?1, ?2, ?3, ?4)"},
    {"#ntii", "INSERT OR IGNORE INTO profile_lineage VALUES (?1, ?2, ?3, ?4)"},
    {"#nItiIt", "INSERT OR IGNORE INTO alarm VALUES (?1, ?2, ?3, ?4, ?5, ?6)"},
    {"#niIttt", "INSERT OR IGNORE INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6)"},
    {"#ntttitti", "INSERT OR IGNORE INTO consumer VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
    /* Which number the last consumer had: there is no rule that keeps it once. */
    {"#ti", "INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq)"
            " VALUES ((SELECT rowid FROM sqlite_sequence WHERE name = ?1), ?1,"
            "  max(?2, ifnull((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0)))"},
    {"#niiBBiiitib", "INSERT OR IGNORE INTO capture"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"},
    {"=tb", "INSERT OR IGNORE INTO meta VALUES (?1, ?2)"},
};

struct filling {
    struct store *s;
    uint32_t refused; /* rows that the schema does not take */
};

static bool has_shape(const char *found, const char *wanted)
{
    for (; *wanted != '\0' && *found != '\0'; wanted++, found++) {
        bool is_same = *found == *wanted || *found == *wanted - 'A' + 'a';
        bool may_be_none = *wanted >= 'A' && *wanted <= 'Z' && *found == 'n';
        if (!is_same && !may_be_none) {
            return false;
        }
    }
    return *wanted == *found;
}

static int put_row(void *ctx, const struct row *row)
{
    struct filling *f = ctx;
    for (const struct table *t = tables; t < tables + ARRAY_LEN(tables); t++) {
        if (!has_shape(row->shape, t->shape) ||
            (!row->is_sound && strcmp(t->shape, SEALED_SHAPE) != 0)) {
            continue;
        }
        struct sql_arg args[ROW_VALUES_MAX];
        memcpy(args, row->args, sizeof(args));
        if (row->shape[0] == '#' && row->shape[1] == 'n') {
            args[0] = arg_i64(row->rowid);
        }
        int n = sql_run(f->s, t->insert, args, row->n);
        f->refused += row->is_sound && (n == 0 || n == ERR_CONFLICT);
        return n < 0 && n != ERR_CONFLICT ? n : 0;
    }
    return 0; /* of an index, or of the list of tables */
}

/* What is thrown out so that the rest fits together. ?1 is the time, where it is asked for. */
static const char *const fitting[] = {
    "DELETE FROM sealed WHERE NOT EXISTS (SELECT 1 FROM lineage AS l WHERE l.id = sealed.lineage"
    "  AND l.generation = sealed.generation AND l.standing <> 'retired')",
    "DELETE FROM lineage WHERE standing <> 'retired' AND id NOT IN (SELECT lineage FROM sealed)",
    /* A pair whose row is lost is known by what is sealed of it: store_salvage_pair(). */
    "INSERT OR IGNORE INTO pair SELECT id, generation, NULL, NULL, NULL, 0, 0, 0, 0, '',"
    "  'recovered', 'repair', ?1 FROM lineage",
    "DELETE FROM pair WHERE NOT EXISTS (SELECT 1 FROM lineage AS l WHERE l.id = pair.lineage"
    "  AND l.generation >= pair.generation)",
    "DELETE FROM spend WHERE NOT EXISTS (SELECT 1 FROM pair AS p WHERE p.lineage = spend.lineage"
    "  AND p.generation = spend.generation)",
    "UPDATE spend SET verdict = 'in-doubt', closed = ?1, detail = 'repair' WHERE verdict IS NULL"
    "  AND NOT EXISTS (SELECT 1 FROM lineage AS l WHERE l.id = spend.lineage"
    "  AND l.generation = spend.generation AND l.standing <> 'retired')",
    "DELETE FROM profile WHERE lineage NOT IN (SELECT id FROM lineage WHERE standing <> 'retired')",
    "DELETE FROM profile_lineage WHERE lineage NOT IN (SELECT id FROM lineage)",
    "DELETE FROM alarm WHERE lineage NOT IN (SELECT id FROM lineage)",
    "DELETE FROM capture WHERE lineage NOT IN (SELECT id FROM lineage)",
};

/* How many rows that took, or negative. */
static int fit(struct store *s, int64_t now_wall_ms)
{
    int sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(fitting); i++) {
        bool is_timed = strstr(fitting[i], "?1") != NULL;
        struct sql_arg now = arg_i64(now_wall_ms);
        int n = sql_run(s, fitting[i], &now, is_timed);
        if (n < 0) {
            return n;
        }
        sum += n;
    }
    return sum;
}

/* Names */

static int note_name(struct store *s, const char *name, const char *how, uint64_t lineage)
{
    return sql_run(s, "INSERT OR IGNORE INTO temp.told VALUES (?1, ?2, ?3)",
                   SQL_ARGS(arg_text(name), arg_text(how), arg_u64(lineage)));
}

/* Before anything is thrown out: which names there are, and where they point. */
static int begin_names(struct store *s)
{
    return sql_script(s,
                      "CREATE TEMP TABLE told (name TEXT PRIMARY KEY, how TEXT, lineage INTEGER);"
                      "INSERT INTO told SELECT name, 'saved', lineage FROM profile;"
                      /* A row that is lost, or one of a name that was removed. */
                      "INSERT OR IGNORE INTO told SELECT profile, 'perhaps', lineage"
                      "  FROM profile_lineage ORDER BY seq DESC;");
}

static int name_for(struct store *s, uint64_t lineage, char ret[NAME_MAX_LEN + 1])
{
    struct sql_rows r = {0};
    int err = sql_first(s,
                        "SELECT name FROM told WHERE lineage = ?1 AND how = 'perhaps'"
                        "  AND name NOT IN (SELECT name FROM profile)",
                        SQL_ARGS(arg_u64(lineage)), &r);
    if (err == 0) {
        read_text(&r, ret, NAME_MAX_LEN + 1);
        err = r.err;
        sql_end(&r);
        return err;
    }
    int64_t taken = 1;
    for (int i = 1; err == ERR_NOT_FOUND && taken > 0; i++) {
        (void)snprintf(ret, NAME_MAX_LEN + 1, "saved-%d", i);
        int found = sql_number(s, "SELECT count(*) FROM told WHERE name = ?1",
                               SQL_ARGS(arg_text(ret)), &taken);
        err = found < 0 ? found : err;
    }
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* The daemon ends a lineage that nothing points at. One whose name is lost gets a name, and the
 * policy that spends nothing: what it was is not known. */
static int name_one(struct store *s, int64_t now_wall_ms)
{
    char name[NAME_MAX_LEN + 1] = "";
    int64_t id = 0;
    int err = sql_number(s,
                         "SELECT id FROM lineage WHERE wanted_profile = ''"
                         "  AND standing NOT IN ('retired', 'quarantined')"
                         "  AND id NOT IN (SELECT lineage FROM profile) ORDER BY id LIMIT 1",
                         SQL_NO_ARGS, &id);
    if (err < 0) {
        return err;
    }
    err = name_for(s, (uint64_t)id, name);
    if (err < 0) {
        return err;
    }
    int n = sql_run(s, "INSERT INTO profile VALUES (?1, ?2, 'never', ?3)",
                    SQL_ARGS(arg_text(name), arg_i64(id), arg_i64(now_wall_ms)));
    if (n >= 0) {
        n = sql_run(s, "DELETE FROM temp.told WHERE name = ?1", SQL_ARGS(arg_text(name)));
    }
    if (n >= 0) {
        n = note_name(s, name, "renamed", (uint64_t)id);
    }
    return n < 0 ? n : 0;
}

static int name_all(struct store *s, int64_t now_wall_ms)
{
    int err = 0;
    while (err == 0) {
        err = name_one(s, now_wall_ms);
    }
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    /* One that points at a retired lineage was removed by hand, and is nothing that was lost. */
    int n = sql_run(s,
                    "DELETE FROM temp.told WHERE how = 'perhaps' AND lineage IN"
                    "  (SELECT id FROM lineage WHERE standing = 'retired')",
                    SQL_NO_ARGS);
    if (n >= 0) {
        n = sql_run(s,
                    "UPDATE temp.told SET how = 'lost' WHERE how = 'saved'"
                    "  AND name NOT IN (SELECT name FROM profile)",
                    SQL_NO_ARGS);
    }
    if (n >= 0) {
        n = sql_run(s,
                    "INSERT OR IGNORE INTO profile_lineage (profile, lineage, since)"
                    "  SELECT name, lineage, created FROM profile",
                    SQL_NO_ARGS);
    }
    return n < 0 ? n : 0;
}

/* Once the names are right: one whose row was lost, and is back, has its places again. And no
 * number is given again by which what was found in a place is known. */
static int fit_consumers(struct store *s)
{
    static const char *const steps[] = {
        "DELETE FROM consumer WHERE profile NOT IN (SELECT name FROM profile)",
        "INSERT INTO sqlite_sequence SELECT 'consumer', 0"
        "  WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'consumer')",
        "UPDATE sqlite_sequence SET seq = max(seq, (SELECT ifnull(max(consumer), 0) FROM capture))"
        "  WHERE name = 'consumer'",
    };
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps) && n >= 0; i++) {
        n = sql_run(s, steps[i], SQL_NO_ARGS);
    }
    return n < 0 ? n : 0;
}

/* Building */

static int fill(struct store *s, const struct pages *p, int64_t now_wall_ms,
                struct salvage_facts *facts, struct err_text *text)
{
    struct filling f = {.s = s};
    uint32_t torn = 0;
    int thrown_out = 0;
    int err = sql_script(s, "BEGIN IMMEDIATE");
    if (err == 0) {
        err = rows_each(p, put_row, &f, &torn);
    }
    if (err == 0) {
        err = begin_names(s);
    }
    if (err == 0) {
        thrown_out = fit(s, now_wall_ms);
        err = thrown_out < 0 ? thrown_out : sql_script(s, "COMMIT");
    }
    if (err < 0) {
        return sql_say(s, err, "written", text);
    }
    facts->pages = p->n;
    facts->lost_pages = p->lost;
    facts->mended_pages = p->mended;
    facts->lost_rows = torn + f.refused + (uint32_t)thrown_out;
    enum log_state log = p->log.found.state;
    facts->log_is_damaged = log == LOG_DAMAGED || log == LOG_HEADLESS;
    return 0;
}

/* An empty store, open. */
static int begin(const char *new_path, struct store **ret, struct err_text *text)
{
    int fd = -1;
    store_remove_with_log(new_path); /* of a repair that was interrupted */
    int err = path_open(PATH_CWD, new_path, OPEN_NEW, &fd);
    fd_close(&fd);
    if (err < 0) {
        return err_say(text, err, "cannot make %s: %s", new_path, err_reason(err));
    }
    struct store *s = calloc(1, sizeof(*s));
    char *path = strdup(new_path);
    if (s == NULL || path == NULL) {
        free(s);
        free(path);
        store_remove_with_log(new_path);
        return err_say(text, ERR_NOMEM, "no memory to make %s", new_path);
    }
    s->mark.fd = s->wal_fd = -1;
    s->path = path;
    err = store_build(s, &store_schema, text);
    if (err < 0) {
        store_salvage_drop(s);
        return err;
    }
    *ret = s;
    return 0;
}

static int build(const char *new_path, const struct pages *p, int64_t now_wall_ms,
                 struct store **ret, struct salvage_facts *facts, struct err_text *text)
{
    struct store *s = NULL;
    int err = begin(new_path, &s, text);
    if (err < 0) {
        return err;
    }
    err = fill(s, p, now_wall_ms, facts, text);
    if (err < 0) {
        store_salvage_drop(s);
        return err;
    }
    *ret = s;
    return 0;
}

int store_salvage(const char *path, int64_t now_wall_ms, struct store **ret,
                  struct salvage_facts *ret_facts, struct err_text *text)
{
    struct pages p = {0};
    char new_path[STORE_PATH_SIZE];
    int err = store_path_join(new_path, path, STORE_REPAIRING, text);
    if (err == 0) {
        err = pages_read(path, &p, text);
    }
    if (err < 0) {
        return err;
    }
    if (p.lost == p.n) {
        err = err_say(text, ERR_CORRUPT,
                      "no page of %s is sound%s: put a backup in its place, or move it away", path,
                      p.is_plain ? " (one of version 1 does not say which are)" : "");
    }
    if (err == 0) {
        err = build(new_path, &p, now_wall_ms, ret, ret_facts, text);
    }
    pages_release(&p);
    return err;
}

void store_salvage_drop(struct store *s)
{
    if (s == NULL) {
        return;
    }
    char path[STORE_PATH_SIZE];
    (void)store_path_join(path, s->path, "", NULL);
    store_release(s);
    store_remove_with_log(path);
}

/* One lineage, by what its caller found sealed in it */

int store_salvage_forget(struct store *s, uint64_t lineage)
{
    static const char *const from[] = {
        "DELETE FROM sealed WHERE lineage = ?1",
        "DELETE FROM lineage WHERE id = ?1", /* the rest goes with it: fit() */
    };
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(from) && n >= 0; i++) {
        n = sql_run(s, from[i], SQL_ARGS(arg_u64(lineage)));
    }
    return n < 0 ? n : 0;
}

int store_salvage_pair(struct store *s, uint64_t lineage, struct fp access, struct fp refresh,
                       struct fp subject, int64_t expires_wall_ms)
{
    int n = sql_run(
        s,
        "UPDATE pair SET access = ?2, refresh = ?3,"
        "  expires = CASE WHEN source = 'repair' THEN ?4 ELSE expires END"
        " WHERE lineage = ?1"
        "  AND generation = (SELECT generation FROM lineage WHERE id = ?1)",
        SQL_ARGS(arg_u64(lineage), arg_fp(access), arg_fp(refresh), arg_i64(expires_wall_ms)));
    if (n >= 0) {
        n = sql_run(s, "UPDATE lineage SET subject = ?2 WHERE id = ?1",
                    SQL_ARGS(arg_u64(lineage), arg_fp(subject)));
    }
    return n < 0 ? n : 0;
}

static int fit_and_name(struct store *s, const void *args)
{
    const int64_t *now_wall_ms = args;
    int n = fit(s, *now_wall_ms);
    if (n >= 0) {
        n = name_all(s, *now_wall_ms);
    }
    return n < 0 ? n : fit_consumers(s);
}

static int is_older(struct store *s, const void *args)
{
    (void)args;
    int n = sql_run(s, "UPDATE store SET restored = 1", SQL_NO_ARGS);
    return n < 0 ? n : 0;
}

int store_salvage_fit(struct store *s, bool is_whole, int64_t now_wall_ms)
{
    int err = store_note(s, fit_and_name, &now_wall_ms);
    return err == 0 && !is_whole ? store_note(s, is_older, NULL) : err;
}

int store_salvage_each(struct store *s, int (*each)(void *ctx, const char *name, const char *how),
                       void *ctx)
{
    struct sql_rows r = {0};
    int err = sql_start(s, "SELECT name, how FROM temp.told ORDER BY name", SQL_NO_ARGS, &r);
    if (err < 0) {
        return err;
    }
    while ((err = sql_next(&r)) > 0) {
        char name[NAME_MAX_LEN + 1] = "";
        char how[16] = "";
        read_text(&r, name, sizeof(name));
        read_text(&r, how, sizeof(how));
        err = r.err < 0 ? r.err : each(ctx, name, how);
        if (err < 0) {
            break;
        }
    }
    sql_end(&r);
    return err;
}

/*
 * Stores of the versions before, with rows in every table, are brought to this one: nothing of
 * them is lost, and what was not stored then is what it was.
 */
#include "store_bench.h"

/* As versions 1 and 2 wrote them. A fingerprint is a letter, the lineage, the generation. */
#define FP_SQL(letter, lineage, generation)                                                        \
    "CAST(printf('" letter "%07d%08d', " lineage ", " generation ") AS BLOB)"
static const char rows[] =
    "BEGIN;"
    "INSERT INTO lineage SELECT column1, 'lab', CAST('definition' AS BLOB), column2,"
    "  " FP_SQL(
        "s", "column1",
        "0") ", 'ada', 'ada@lab', column3, column3, 11, column4, column5,"
             "  column6, 'standby', 1000 + column1, column7, column8 FROM (VALUES"
             "  (1, 'live', 2, 0, 0, '', 0, ''), (2, 'in-doubt', 1, 500, 0, '', 0, ''),"
             "  (3, 'in-doubt', 2, 600, 1, '', 0, ''), (4, 'quarantined', 1, 0, 0, '', 0, ''),"
             "  (5, 'retired', 1, 0, 0, '', 700, 'removed'), (6, 'unproven', 1, 0, 0, 'new', 0, ''),"
             "  (-7, 'dead', 1, 0, 1, '', 0, ''));"
             "INSERT INTO pair SELECT column1, column2, " FP_SQL(
                 "a", "column1",
                 "column2") ","
                            "  " FP_SQL(
                                "r", "column1",
                                "column2") ", NULL, 5, 6, 7, 8, 'boot-1', 'added', 'stdin', 9"
                                           "  FROM (VALUES (1, 1), (1, 2), (2, 1), (3, 1), (3, 2), (4, 1), (5, 1), (6, 1), (-7, 1));"
                                           "INSERT INTO sealed SELECT id, generation,"
                                           "  CAST(printf('<SEALED %d.%d>', id, generation) AS BLOB) FROM lineage"
                                           "  WHERE standing <> 'retired';"
                                           "INSERT INTO spend (intent, lineage, generation, presented, fence, replay, boot_id, cause,"
                                           "  begun, verdict, closed, detail) SELECT column1, column2, column3,"
                                           "  " FP_SQL(
                                               "r", "column2",
                                               "column3") ", 1, column4, 'boot-1', 'due', 20, column5, 30, 'x'"
                                                          "  FROM (VALUES (1001, 1, 1, 0, 'granted'), (1002, 1, 2, 0, NULL),"
                                                          "  (2001, 2, 1, 0, 'in-doubt'), (2002, 2, 1, 1, 'unsent'),"
                                                          "  (3001, 3, 1, 0, 'in-doubt'), (3002, 3, 1, 1, 'granted'), (7001, -7, 1, 0, 'in-doubt'),"
                                                          "  (7002, -7, 1, 1, 'refused'));"
                                                          "INSERT INTO profile VALUES ('work', 1, 'always', 40), ('lost', 2, 'standby', 41),"
                                                          "  ('old', 3, 'never', 42), ('over', -7, 'always', 43);"
                                                          "INSERT INTO profile_lineage (profile, lineage, since) VALUES ('work', 5, 39),"
                                                          "  ('work', 1, 40), ('lost', 2, 41), ('old', 3, 42), ('over', -7, 43);"
                                                          "INSERT INTO alarm (lineage, kind, raised, cleared, detail) VALUES (2, 'in-doubt', 50, NULL,"
                                                          "  'lost'), (NULL, 'store', 51, 52, 'full'), (-7, 'dead', 53, NULL, '');"
                                                          "INSERT INTO event (wall, lineage, profile, kind, detail) VALUES (60, 1, 'work', 'added', '');"
                                                          "INSERT INTO meta VALUES ('key', CAST('value' AS BLOB));"
                                                          "COMMIT;";

static void must(sqlite3 *db, const char *sql)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        print_message("%s: %s\n", sql, sqlite3_errmsg(db));
    }
    assert_int_equal(rc, SQLITE_OK);
}

static void put_rows(const char *path, const char *first)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    must(db, first);
    must(db, rows);
    must(db, "PRAGMA journal_mode = WAL");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(chmod(path, 0600), 0);
}

static void forget_store(struct bench *b)
{
    bench_close(b);
    assert_int_equal(unlink(b->path) + unlink(b->mark_path), 0);
}

static void put_version_1(struct bench *b)
{
    char first[16384];
    forget_store(b);
    int len =
        snprintf(first, sizeof(first), "%sPRAGMA application_id = %d; PRAGMA user_version = 1;",
                 store_schema.steps[0], STORE_APPLICATION_ID);
    assert_in_range(len, 1, sizeof(first) - 1);
    put_rows(b->path, first);
}

/* The rules of today are not for it, so it is filled as any database is. */
static void put_version_2(struct bench *b)
{
    const struct store_schema second = {.steps = store_schema.steps, .n = 2};
    forget_store(b);
    assert_int_equal(store_create(b->path, &second, &b->text), 0);
    put_rows(b->path, "");
    assert_int_equal(sums_stamp_file(b->path), 0);
}

static void open_as_now(struct bench *b)
{
    int64_t version = 0;
    int err = bench_open(b, 0); /* checks every rule */
    if (err < 0) {
        print_message("%s\n", b->text.text);
    }
    assert_int_equal(err, 0);
    assert_int_equal(sql_number(b->s, "PRAGMA user_version", SQL_NO_ARGS, &version), 0);
    assert_int_equal(version, store_schema.n);
    assert_false(store_is_restored(b->s));
}

static struct fp fp_from(char letter, int lineage, int generation)
{
    char text[32];
    struct fp fp;
    (void)snprintf(text, sizeof(text), "%c%07d%08d", letter, lineage, generation);
    memcpy(fp.bytes, text, FP_LEN);
    return fp;
}

static void expect_lineage(struct store *s, int id, enum standing standing, int generation,
                           int64_t doubt_since, uint64_t doubt)
{
    char word[32];
    struct lineage_row row = row_of(s, (uint64_t)(int64_t)id);
    assert_int_equal(row.standing, standing);
    assert_int_equal(row.generation, generation);
    assert_int_equal(row.fence, generation);
    assert_int_equal(row.doubt_since_wall_ms, doubt_since);
    assert_int_equal(row.doubt, doubt);
    assert_false(row.claimed || row.kept || row.given_away);
    assert_int_equal(row.held_until_wall_ms, 11);
    assert_int_equal(row.wanted_policy, POLICY_STANDBY);
    assert_string_equal(row.provider, "lab");
    assert_memory_equal(row.definition.bytes, "definition", 10);
    assert_string_equal(row.subject_text, "ada");
    assert_string_equal(row.label, "ada@lab");
    assert_true(fp_equal(row.subject, fp_from('s', id, 0)));
    assert_true(fp_equal(row.pair.access, fp_from('a', id, generation)));
    assert_true(fp_equal(row.pair.refresh, fp_from('r', id, generation)));
    int len = snprintf(word, sizeof(word), "<SEALED %d.%d>", id, generation);
    assert_int_equal(row.sealed.len, standing == STANDING_RETIRED ? 0 : len);
    assert_true(row.sealed.len == 0 || memcmp(row.sealed.bytes, word, row.sealed.len) == 0);
    lineage_row_release(&row);
}

/* `doubt`: of which intent it is known that its answer was lost. */
static void expect_all(struct bench *b, uint64_t doubt)
{
    static const struct {
        const char *count_sql;
        int64_t n;
    } tables[] = {
        {"SELECT count(*) FROM store", 1},   {"SELECT count(*) FROM meta", 1},
        {"SELECT count(*) FROM lineage", 7}, {"SELECT count(*) FROM pair", 9},
        {"SELECT count(*) FROM sealed", 6},  {"SELECT count(*) FROM spend", 8},
        {"SELECT count(*) FROM profile", 4}, {"SELECT count(*) FROM profile_lineage", 5},
        {"SELECT count(*) FROM alarm", 3},   {"SELECT count(*) FROM event WHERE kind = 'added'", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        int64_t n = -1;
        assert_int_equal(sql_number(b->s, tables[i].count_sql, SQL_NO_ARGS, &n), 0);
        assert_int_equal(n, tables[i].n);
    }
    expect_lineage(b->s, 1, STANDING_LIVE, 2, 0, 0);
    expect_lineage(b->s, 2, STANDING_DOUBT, 1, 500, doubt);
    expect_lineage(b->s, 3, STANDING_DOUBT, 2, 600, 0); /* a backup: of no intent that is known */
    expect_lineage(b->s, 4, STANDING_QUARANTINED, 1, 0, 0);
    expect_lineage(b->s, 5, STANDING_RETIRED, 1, 0, 0);
    expect_lineage(b->s, 6, STANDING_UNPROVEN, 1, 0, 0);
    expect_lineage(b->s, -7, STANDING_DEAD, 1, 0, 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.intent, 1002);
    lineage_row_release(&row);
    row = row_of(b->s, 2);
    assert_int_equal(row.alarms, 1u << ALARM_DOUBT);
    lineage_row_release(&row);
    row = row_of(b->s, 5);
    assert_int_equal(row.retired_wall_ms, 700);
    assert_string_equal(row.retired_why, "removed");
    lineage_row_release(&row);
    row = row_of(b->s, 6);
    assert_string_equal(row.wanted_profile, "new");
    lineage_row_release(&row);
}

static int count_rows(void *ctx, const struct consumer_row *row)
{
    (void)row;
    ++*(int *)ctx;
    return 0;
}

/* What points at what goes on to do so, and what is new works. */
static void expect_life(struct bench *b)
{
    struct consumer_row row = {.profile = "lost", .kind = "claude", .place = "/p"};
    uint64_t id = 0;
    int n = 0;
    assert_int_equal(store_bind(b->s, &row, &id), 0);
    assert_int_equal(store_rename(b->s, "lost", "found"), 0);
    assert_int_equal(store_resolve(b->s, 2, STANDING_LIVE), 0);
    expect_lineage(b->s, 2, STANDING_LIVE, 1, 0, 0);
    assert_int_equal(store_claim(b->s, 4, "four", POLICY_ALWAYS), 0);
    assert_int_equal(store_retire(b->s, 1, "", NOW_MS), 0);
    assert_int_equal(store_each_consumer(b->s, count_rows, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(store_retire(b->s, 2, "", NOW_MS), 0);
    n = 0;
    assert_int_equal(store_each_consumer(b->s, count_rows, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(put_live(b->s, 8, "eight"), 0);
    bench_reopen(b);
}

static void expect_copy(struct bench *b, const char *suffix)
{
    char copy[128];
    struct stat st;
    (void)snprintf(copy, sizeof(copy), "%s%s", b->path, suffix);
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    bench_close(b);
    assert_int_equal(unlink(b->mark_path), 0); /* it knows what has been done since */
    assert_int_equal(rename(copy, b->path), 0);
    open_as_now(b);
    expect_all(b, 2001);
}

static void a_store_of_version_1_is_brought_over_whole(void **state)
{
    struct bench *b = *state;
    put_version_1(b);
    open_as_now(b);
    expect_all(b, 2001);
    bench_reopen(b);
    expect_all(b, 2001);
    expect_life(b);
    expect_copy(b, ".v1");
}

static void a_store_of_version_2_is_brought_over_whole(void **state)
{
    struct bench *b = *state;
    put_version_2(b);
    open_as_now(b);
    expect_all(b, 2001);
    bench_reopen(b);
    expect_all(b, 2001);
    expect_life(b);
    expect_copy(b, ".v2");
}

/* Each row is as it was first written, or as it is now, where it has been written since. */
static void a_store_that_was_brought_over_can_be_repaired(void **state)
{
    struct bench *b = *state;
    char aside[STORE_PATH_SIZE];
    struct salvage_facts facts;
    struct store *s = NULL;
    for (int was_opened = 0; was_opened < 2; was_opened++) {
        put_version_2(b);
        if (was_opened != 0) {
            open_as_now(b);
            bench_close(b);
        }
        assert_int_equal(store_salvage(b->path, NOW_MS, &s, &facts, &b->text), 0);
        assert_int_equal(facts.lost_pages + facts.lost_rows, 0);
        assert_int_equal(store_salvage_fit(s, true, NOW_MS), 0);
        assert_int_equal(store_salvage_end(s, b->path, aside, &b->text), 0);
        open_as_now(b);
        expect_all(b, was_opened != 0 ? 2001 : 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(a_store_of_version_1_is_brought_over_whole),
        STORY(a_store_of_version_2_is_brought_over_whole),
        STORY(a_store_that_was_brought_over_can_be_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

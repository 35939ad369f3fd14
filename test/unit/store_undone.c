/*
 * A write that fails half way, at whichever step of it, is as if it had not been asked for, and
 * what it was asked for works when it is asked for again.
 */
#include "store_bench.h"

#define STRANGER  50
#define STEPS_MAX 100000

/* Everything that a caller may see, as a number. */

static uint64_t add_value(uint64_t sum, sqlite3_stmt *st, int column)
{
    const uint8_t *bytes = sqlite3_column_blob(st, column);
    int len = sqlite3_column_bytes(st, column);
    sum = (sum ^ (uint64_t)sqlite3_column_type(st, column)) * UINT64_C(0x100000001b3);
    for (int i = 0; i < len; i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return sum;
}

static uint64_t sum_of(struct store *s)
{
    static const char *const tables[] = {
        "SELECT * FROM store",           "SELECT * FROM lineage",  "SELECT * FROM pair",
        "SELECT * FROM sealed",          "SELECT * FROM spend",    "SELECT * FROM profile",
        "SELECT * FROM profile_lineage", "SELECT * FROM consumer", "SELECT * FROM capture",
        "SELECT * FROM sqlite_sequence",
    };
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        sqlite3_stmt *st = NULL;
        assert_int_equal(sqlite3_prepare_v2(s->db, tables[i], -1, &st, NULL), SQLITE_OK);
        while (sqlite3_step(st) == SQLITE_ROW) {
            for (int column = 0; column < sqlite3_column_count(st); column++) {
                sum = add_value(sum, st, column);
            }
        }
        assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
    }
    return sum;
}

/* Writes */

struct write {
    uint64_t consumer;
    uint64_t capture;
};

static int do_bind(struct store *s, struct write *w)
{
    struct consumer_row row = {.profile = "work", .kind = "claude", .place = "/q"};
    (void)w;
    uint64_t id = 77;
    int err = store_bind(s, &row, &id);
    assert_true(err == 0 ? id != 77 : id == 77);
    return err;
}

static int do_rebind(struct store *s, struct write *w)
{
    return store_rebind(s, w->consumer, "home", WISH_REPLACE, NOW_MS);
}

static int do_unbind(struct store *s, struct write *w)
{
    const uint64_t left[] = {1, 2};
    return store_unbind(s, w->consumer, left, 2);
}

static int do_rename(struct store *s, struct write *w)
{
    (void)w;
    return store_rename(s, "work", "job");
}

static int do_retire(struct store *s, struct write *w)
{
    (void)w;
    return store_retire(s, 1, "removed", NOW_MS);
}

static int do_keep(struct store *s, struct write *w)
{
    char sealed[SEALED_LEN];
    struct acquaintance met = {.is_ours = true};
    uint64_t kept_as = 77;
    sealed_of(STRANGER, 2, sealed);
    struct captured c = {
        .id = 99,
        .consumer = w->consumer,
        .lineage = 1,
        .pair = pair_of(STRANGER, 2),
        .sealed = sealed,
        .sealed_len = sizeof(sealed),
        .now_wall_ms = NOW_MS,
    };
    int err = store_keep_capture(s, &c, &kept_as, &met);
    assert_true(err == 0 ? kept_as == 99 && !met.is_ours : kept_as == 77 && met.is_ours);
    return err;
}

static int do_drop(struct store *s, struct write *w)
{
    return store_drop_capture(s, w->capture);
}

static int do_adopt(struct store *s, struct write *w)
{
    char sealed[SEALED_LEN];
    sealed_of(1, 2, sealed);
    struct capture_adoption a = {
        .capture = w->capture,
        .lineage = 1,
        .generation = 2,
        .sealed = sealed,
        .sealed_len = sizeof(sealed),
        .given_away = true,
        .now_wall_ms = NOW_MS,
    };
    return store_adopt_capture(s, &a);
}

static struct capture_lineage made_of(const struct write *w, const char *sealed)
{
    return (struct capture_lineage){
        .capture = w->capture,
        .lineage = 9,
        .profile = "work",
        .policy = POLICY_ALWAYS,
        .sealed = sealed,
        .sealed_len = SEALED_LEN,
        .now_wall_ms = NOW_MS,
    };
}

static int do_set_aside(struct store *s, struct write *w)
{
    char sealed[SEALED_LEN];
    sealed_of(9, 1, sealed);
    struct capture_lineage c = made_of(w, sealed);
    return store_set_capture_aside(s, &c);
}

static int do_claim(struct store *s, struct write *w)
{
    char sealed[SEALED_LEN];
    sealed_of(9, 1, sealed);
    struct capture_lineage c = made_of(w, sealed);
    return store_claim_capture(s, &c);
}

static const struct {
    const char *name;
    int (*run)(struct store *s, struct write *w);
} writes[] = {
    {"bind", do_bind},     {"rebind", do_rebind}, {"unbind", do_unbind},
    {"rename", do_rename}, {"retire", do_retire}, {"keep", do_keep},
    {"drop", do_drop},     {"adopt", do_adopt},   {"set aside", do_set_aside},
    {"claim", do_claim},
};

/* Steps */

struct steps {
    sqlite3 *db;
    int left;
};

/* What this stops in its COMMIT may have been done: then it is at its end. */
static bool is_committing(sqlite3 *db)
{
    for (sqlite3_stmt *st = sqlite3_next_stmt(db, NULL); st != NULL;
         st = sqlite3_next_stmt(db, st)) {
        if (sqlite3_stmt_busy(st) && strcmp(sqlite3_sql(st), "COMMIT") == 0) {
            return true;
        }
    }
    return false;
}

static int at_step(void *ctx)
{
    struct steps *steps = ctx;
    return --steps->left == 0 && !is_committing(steps->db); /* once: what undoes it goes on */
}

/* How many steps it took before it came to its end, from the first that it failed at. */
static int fail_at_each(struct store *s, size_t i, struct write *w)
{
    uint64_t before = sum_of(s);
    for (int step = 1; step < STEPS_MAX; step++) {
        struct steps steps = {.db = s->db, .left = step};
        sqlite3_progress_handler(s->db, 1, at_step, &steps);
        int err = writes[i].run(s, w);
        sqlite3_progress_handler(s->db, 0, NULL, NULL);
        if (err == 0) {
            assert_true(sum_of(s) != before);
            return step - 1;
        }
        if (sum_of(s) != before) {
            print_message("%s, step %d\n", writes[i].name, step);
            fail();
        }
    }
    fail();
    return 0;
}

static void furnish(struct bench *b, struct write *ret)
{
    char sealed[SEALED_LEN];
    struct acquaintance met;
    struct consumer_row row = {.profile = "work", .kind = "claude", .place = "/p"};
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(store_bind(b->s, &row, &ret->consumer), 0);
    sealed_of(STRANGER, 1, sealed);
    struct captured c = {
        .id = 71,
        .consumer = ret->consumer,
        .lineage = 1,
        .pair = pair_of(STRANGER, 1),
        .sealed = sealed,
        .sealed_len = sizeof(sealed),
        .now_wall_ms = NOW_MS,
    };
    assert_int_equal(store_keep_capture(b->s, &c, &ret->capture, &met), 0);
}

static void a_write_that_fails_half_way_has_done_nothing(void **state)
{
    struct bench *b = *state;
    struct write w = {0};
    struct image whole = {0};
    furnish(b, &w);
    bench_close(b);
    assert_true(image_read(b->path, &whole));
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        image_write(b->path, whole.bytes, whole.len);
        assert_int_equal(unlink(b->mark_path), 0);
        assert_int_equal(bench_open(b, 0), 0);
        assert_true(fail_at_each(b->s, i, &w) > 10);
        bench_reopen(b); /* checks every rule */
        bench_close(b);
    }
    image_release(&whole);
}

/* Where there is no room for what was found it is not kept; what makes room still works. */
static void a_store_that_may_not_grow_keeps_no_finds_and_goes_on_later(void **state)
{
    struct bench *b = *state;
    struct write w = {0};
    int64_t pages = 0;
    char pragma[64];
    char *large = calloc(1, STORE_SEALED_MAX);
    struct acquaintance met;
    uint64_t kept_as = 77;
    furnish(b, &w);
    assert_int_equal(sql_number(b->s, "PRAGMA page_count", SQL_NO_ARGS, &pages), 0);
    (void)snprintf(pragma, sizeof(pragma), "PRAGMA max_page_count = %d", (int)pages + 1);
    assert_int_equal(sql_script(b->s, pragma), 0);
    struct captured c = {
        .id = 72,
        .consumer = w.consumer,
        .lineage = 1,
        .pair = pair_of(STRANGER, 2),
        .sealed = large,
        .sealed_len = STORE_SEALED_MAX,
        .now_wall_ms = NOW_MS,
    };
    uint64_t before = sum_of(b->s);
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), ERR_FULL);
    assert_int_equal(kept_as, 77);
    assert_true(sum_of(b->s) == before);
    assert_int_equal(do_adopt(b->s, &w), 0);
    assert_int_equal(store_drop_capture(b->s, w.capture), 0);
    assert_int_equal(sql_script(b->s, "PRAGMA max_page_count = 1000000"), 0);
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), 0);
    assert_int_equal(kept_as, 72);
    bench_reopen(b);
    free(large);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(a_write_that_fails_half_way_has_done_nothing),
        STORY(a_store_that_may_not_grow_keeps_no_finds_and_goes_on_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

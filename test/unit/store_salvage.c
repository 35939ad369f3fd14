/*
 * Repair of the tables that tell of places: what is sound of them is there again, and what points
 * at something that is lost is not.
 */
#include "store_bench.h"

#define STRANGER 50

static uint64_t bind_place(struct store *s, const char *profile, const char *place)
{
    uint64_t id = 0;
    struct consumer_row row = {.kind = "claude", .with_pair = true, .bound_wall_ms = NOW_MS};
    (void)str_copy(row.profile, sizeof(row.profile), profile);
    (void)str_copy(row.place, sizeof(row.place), place);
    assert_int_equal(store_bind(s, &row, &id), 0);
    return id;
}

static void keep(struct store *s, uint64_t id, uint64_t consumer, uint64_t lineage)
{
    static char large[40000]; /* more than a page has room for */
    struct acquaintance met;
    uint64_t kept_as = 0;
    memset(large, 'x', sizeof(large));
    struct captured c = {
        .id = id,
        .consumer = consumer,
        .lineage = lineage,
        .pair = pair_of(STRANGER, id),
        .sealed = large,
        .sealed_len = sizeof(large),
        .source = "claude:/p",
        .now_wall_ms = NOW_MS,
    };
    assert_int_equal(store_keep_capture(s, &c, &kept_as, &met), 0);
}

/* Two profiles with a place each, a pair found in each, and a place that was unbound. The pages
 * where a table begins (each of them has but one): */
struct pages_of {
    int64_t profile, consumer, sequence, lineage;
};

static void furnish(struct bench *b, struct pages_of *ret)
{
    const uint64_t left = 2;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    uint64_t first = bind_place(b->s, "work", "/p");
    uint64_t second = bind_place(b->s, "home", "/q");
    uint64_t third = bind_place(b->s, "home", "/r");
    assert_int_equal(store_rebind(b->s, second, "work", WISH_REPLACE, NOW_MS), 0);
    assert_int_equal(store_rebind(b->s, second, "home", WISH_FILL, NOW_MS), 0);
    keep(b->s, 71, first, 1);
    keep(b->s, 72, third, 2);
    assert_int_equal(store_unbind(b->s, third, &left, 1), 0);
#define ROOT_OF(name, to)                                                                          \
    assert_int_equal(sql_number(b->s,                                                              \
                                "SELECT rootpage FROM sqlite_schema WHERE name = '" name "'",      \
                                SQL_NO_ARGS, to),                                                  \
                     0)
    ROOT_OF("profile", &ret->profile);
    ROOT_OF("consumer", &ret->consumer);
    ROOT_OF("sqlite_sequence", &ret->sequence);
    ROOT_OF("lineage", &ret->lineage);
#undef ROOT_OF
    bench_close(b);
}

static void spoil(const struct bench *b, int64_t page)
{
    char noise[STORE_PAGE_SIZE];
    int fd = open(b->path, O_WRONLY);
    memset(noise, 0x5a, sizeof(noise));
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, noise, sizeof(noise), (page - 1) * STORE_PAGE_SIZE), sizeof(noise));
    close(fd);
}

/* Opens what came of it. */
static void repair(struct bench *b, bool is_whole, uint64_t forgotten)
{
    char aside[STORE_PATH_SIZE];
    struct salvage_facts facts;
    struct store *s = NULL;
    assert_int_equal(store_salvage(b->path, NOW_MS, &s, &facts, &b->text), 0);
    assert_int_equal(facts.lost_rows, 0);
    assert_int_equal(facts.lost_pages, is_whole ? 0 : 1);
    if (forgotten != 0) {
        assert_int_equal(store_salvage_forget(s, forgotten), 0);
    }
    assert_int_equal(store_salvage_fit(s, is_whole, NOW_MS), 0);
    assert_int_equal(store_salvage_end(s, b->path, aside, &b->text), 0);
    int err = bench_open(b, 0); /* checks every rule */
    if (err < 0) {
        print_message("%s\n", b->text.text);
    }
    assert_int_equal(err, 0);
}

struct found {
    int n;
    uint64_t ids[4];
    struct consumer_row last;
};

static int see_consumer(void *ctx, const struct consumer_row *row)
{
    struct found *f = ctx;
    f->ids[f->n++] = row->id;
    f->last = *row;
    return 0;
}

static int see_capture(void *ctx, const struct captured_row *row)
{
    struct found *f = ctx;
    assert_int_equal(row->sealed.len, 40000);
    f->ids[f->n++] = row->id;
    return 0;
}

static struct found consumers_of(struct store *s)
{
    struct found f = {0};
    assert_int_equal(store_each_consumer(s, see_consumer, &f), 0);
    return f;
}

static struct found captures_of(struct store *s)
{
    struct found f = {0};
    assert_int_equal(store_each_capture(s, see_capture, &f), 0);
    return f;
}

static void all_of_it_is_carried_over(void **state)
{
    struct bench *b = *state;
    struct pages_of at;
    furnish(b, &at);
    repair(b, true, 0);
    struct found f = consumers_of(b->s);
    assert_int_equal(f.n, 2);
    assert_true(f.ids[0] == 1 && f.ids[1] == 2);
    assert_string_equal(f.last.profile, "home");
    assert_string_equal(f.last.place, "/q");
    assert_string_equal(f.last.before, "work");
    assert_true(f.last.with_pair);
    assert_int_equal(f.last.wish, WISH_FILL);
    f = captures_of(b->s);
    assert_true(f.n == 2 && f.ids[0] == 71 && f.ids[1] == 72);
    struct lineage_row row = row_of(b->s, 2);
    assert_true(row.given_away);
    lineage_row_release(&row);
    assert_int_equal(bind_place(b->s, "home", "/new"), 4); /* not the one that was unbound */
}

static void a_name_that_comes_back_has_its_places(void **state)
{
    struct bench *b = *state;
    struct pages_of at;
    furnish(b, &at);
    spoil(b, at.profile);
    repair(b, false, 0);
    struct found f = consumers_of(b->s);
    assert_int_equal(f.n, 2);
    assert_string_equal(f.last.profile, "home");
    assert_int_equal(captures_of(b->s).n, 2);
}

static void what_is_of_a_login_that_is_lost_is_lost_with_it(void **state)
{
    struct bench *b = *state;
    struct pages_of at;
    furnish(b, &at);
    repair(b, true, 2); /* its pair does not open */
    struct found f = consumers_of(b->s);
    assert_true(f.n == 1 && f.ids[0] == 1);
    f = captures_of(b->s);
    assert_true(f.n == 1 && f.ids[0] == 71);
}

/* What was found there still names it. */
static void no_number_is_given_again_when_the_last_one_is_lost(void **state)
{
    struct bench *b = *state;
    struct pages_of at;
    furnish(b, &at);
    spoil(b, at.sequence);
    repair(b, false, 0);
    assert_int_equal(consumers_of(b->s).n, 2);
    assert_int_equal(bind_place(b->s, "home", "/new"), 4);
}

static void lost_places_can_be_bound_again(void **state)
{
    struct bench *b = *state;
    struct pages_of at;
    furnish(b, &at);
    spoil(b, at.consumer);
    repair(b, false, 0);
    assert_int_equal(consumers_of(b->s).n, 0);
    assert_int_equal(captures_of(b->s).n, 2);
    assert_int_equal(bind_place(b->s, "work", "/p"), 4);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(all_of_it_is_carried_over),
        STORY(a_name_that_comes_back_has_its_places),
        STORY(what_is_of_a_login_that_is_lost_is_lost_with_it),
        STORY(no_number_is_given_again_when_the_last_one_is_lost),
        STORY(lost_places_can_be_bound_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

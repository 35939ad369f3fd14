/*
 * Consumers: places that are a profile's. They follow its name, stay with it when it points at
 * another lineage, and go with it; what may be left in one that goes is noted.
 */
#include "store_bench.h"

#define CONSUMERS_MAX 8

struct consumers {
    int n;
    struct consumer_row rows[CONSUMERS_MAX];
    int stop_at;
};

static int keep_consumer(void *ctx, const struct consumer_row *row)
{
    struct consumers *all = ctx;
    assert_true(all->n < CONSUMERS_MAX);
    all->rows[all->n++] = *row;
    return all->n == all->stop_at ? -1000 : 0;
}

static struct consumers *consumers_of(struct store *s)
{
    static struct consumers all;
    all.n = all.stop_at = 0;
    assert_int_equal(store_each_consumer(s, keep_consumer, &all), 0);
    return &all;
}

static struct consumer_row consumer_of(const char *profile, const char *kind, const char *place)
{
    struct consumer_row row = {.with_pair = true, .wish = WISH_FILL, .bound_wall_ms = NOW_MS};
    (void)str_copy(row.profile, sizeof(row.profile), profile);
    (void)str_copy(row.kind, sizeof(row.kind), kind);
    (void)str_copy(row.place, sizeof(row.place), place);
    return row;
}

static int bind_place(struct store *s, const char *profile, const char *place, uint64_t *ret_id)
{
    struct consumer_row row = consumer_of(profile, "claude", place);
    return store_bind(s, &row, ret_id);
}

static bool is_given_away(struct store *s, uint64_t lineage)
{
    struct lineage_row row = row_of(s, lineage);
    bool is = row.given_away;
    lineage_row_release(&row);
    return is;
}

static void a_bound_place_is_read_back_whole(void **state)
{
    struct bench *b = *state;
    static struct consumer_row long_one;
    uint64_t first = 0, second = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(bind_place(b->s, "work", "/home/ada/.claude", &first), 0);
    long_one = consumer_of("work", "fifteen-letters", "");
    memset(long_one.place, 'x', sizeof(long_one.place) - 1);
    long_one.with_pair = false;
    long_one.wish = WISH_REPLACE;
    (void)str_copy(long_one.before, sizeof(long_one.before), "home"); /* is not taken */
    assert_int_equal(store_bind(b->s, &long_one, &second), 0);
    bench_reopen(b);
    const struct consumers *all = consumers_of(b->s);
    assert_int_equal(all->n, 2);
    assert_true(first > 0 && all->rows[0].id == first && all->rows[1].id == second);
    assert_string_equal(all->rows[0].profile, "work");
    assert_string_equal(all->rows[0].kind, "claude");
    assert_string_equal(all->rows[0].place, "/home/ada/.claude");
    assert_true(all->rows[0].with_pair);
    assert_int_equal(all->rows[0].wish, WISH_FILL);
    assert_string_equal(all->rows[0].before, "");
    assert_int_equal(all->rows[0].bound_wall_ms, NOW_MS);
    assert_string_equal(all->rows[1].kind, "fifteen-letters");
    assert_string_equal(all->rows[1].place, long_one.place);
    assert_false(all->rows[1].with_pair);
    assert_int_equal(all->rows[1].wish, WISH_REPLACE);
    assert_string_equal(all->rows[1].before, "");
}

static void a_place_is_bound_once_and_to_a_profile_that_is_there(void **state)
{
    struct bench *b = *state;
    uint64_t id = 77;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(bind_place(b->s, "nobody", "/p", &id), ERR_NOT_FOUND);
    assert_int_equal(bind_place(b->s, "no name", "/p", &id), ERR_INVALID);
    assert_int_equal(bind_place(b->s, "work", "", &id), ERR_INVALID);
    struct consumer_row row = consumer_of("work", "", "/p");
    assert_int_equal(store_bind(b->s, &row, &id), ERR_INVALID);
    assert_int_equal(id, 77);
    assert_int_equal(bind_place(b->s, "work", "/p", &id), 0);
    uint64_t taken = id;
    assert_int_equal(bind_place(b->s, "work", "/p", &id), ERR_EXISTS);
    assert_int_equal(bind_place(b->s, "home", "/p", &id), ERR_EXISTS);
    assert_int_equal(id, taken);
    row = consumer_of("home", "env", "/p"); /* another kind is another place */
    assert_int_equal(store_bind(b->s, &row, &id), 0);
    assert_int_equal(consumers_of(b->s)->n, 2);
}

static void a_number_is_never_given_again(void **state)
{
    struct bench *b = *state;
    uint64_t first = 0, second = 0, third = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(bind_place(b->s, "work", "/p", &first), 0);
    assert_int_equal(bind_place(b->s, "work", "/q", &second), 0);
    assert_int_equal(store_unbind(b->s, second, NULL, 0), 0);
    bench_reopen(b);
    assert_int_equal(bind_place(b->s, "work", "/q", &third), 0);
    assert_true(third > second && second > first);
}

static void a_place_that_changes_hands_remembers_the_one_before(void **state)
{
    struct bench *b = *state;
    uint64_t id = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(bind_place(b->s, "work", "/p", &id), 0);
    assert_int_equal(store_rebind(b->s, id, "home", WISH_REPLACE, NOW_MS + 5), 0);
    const struct consumers *all = consumers_of(b->s);
    assert_string_equal(all->rows[0].profile, "home");
    assert_string_equal(all->rows[0].before, "work");
    assert_int_equal(all->rows[0].wish, WISH_REPLACE);
    assert_int_equal(all->rows[0].bound_wall_ms, NOW_MS + 5);
    assert_int_equal(store_rebind(b->s, id, "home", WISH_NONE, NOW_MS + 9), 0); /* once more */
    all = consumers_of(b->s);
    assert_string_equal(all->rows[0].before, "work");
    assert_int_equal(all->rows[0].wish, WISH_NONE);
    assert_int_equal(all->rows[0].bound_wall_ms, NOW_MS + 5);
    assert_int_equal(store_rebind(b->s, id, "nobody", WISH_NONE, NOW_MS), ERR_NOT_FOUND);
    assert_int_equal(store_rebind(b->s, id, "no name", WISH_NONE, NOW_MS), ERR_INVALID);
    assert_int_equal(store_rebind(b->s, id + 1, "work", WISH_NONE, NOW_MS), ERR_NOT_FOUND);
    assert_string_equal(consumers_of(b->s)->rows[0].profile, "home");
}

static void a_wish_is_kept_until_it_is_done(void **state)
{
    struct bench *b = *state;
    uint64_t id = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(bind_place(b->s, "work", "/p", &id), 0);
    assert_int_equal(store_set_wish(b->s, id, WISH_REPLACE), 0);
    bench_reopen(b);
    assert_int_equal(consumers_of(b->s)->rows[0].wish, WISH_REPLACE);
    assert_int_equal(store_set_wish(b->s, id, WISH_NONE), 0);
    assert_int_equal(consumers_of(b->s)->rows[0].wish, WISH_NONE);
    assert_int_equal(store_set_wish(b->s, id + 1, WISH_NONE), ERR_NOT_FOUND);
}

static void what_may_be_left_in_a_place_that_goes_is_noted(void **state)
{
    struct bench *b = *state;
    const uint64_t left[] = {2, 3};
    uint64_t id = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(put_live(b->s, 3, "job"), 0);
    assert_int_equal(bind_place(b->s, "work", "/p", &id), 0);
    assert_int_equal(store_unbind(b->s, id + 1, left, 2), ERR_NOT_FOUND);
    assert_false(is_given_away(b->s, 2)); /* nothing is noted */
    assert_int_equal(store_unbind(b->s, id, left, 2), 0);
    assert_int_equal(store_unbind(b->s, id, left, 2), ERR_NOT_FOUND);
    assert_int_equal(consumers_of(b->s)->n, 0);
    bench_reopen(b);
    assert_false(is_given_away(b->s, 1));
    assert_true(is_given_away(b->s, 2) && is_given_away(b->s, 3));
}

/* With its successor, what was given away is of no use any more; the same one still is. */
static void a_token_is_given_away_until_there_is_another(void **state)
{
    struct bench *b = *state;
    const uint64_t left = 1;
    char sealed[SEALED_LEN];
    uint64_t id = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(bind_place(b->s, "work", "/p", &id), 0);
    assert_int_equal(store_unbind(b->s, id, &left, 1), 0);
    sealed_of(1, 2, sealed);
    struct settlement m = settlement_of(1, 1, sealed);
    m.pair.refresh = refresh_of(1, 1); /* the answer kept it */
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_true(is_given_away(b->s, 1));
    assert_int_equal(store_settle(b->s, &m), 0);
    assert_true(is_given_away(b->s, 1));
    struct intent i = intent_of(1, 2);
    i.presented = refresh_of(1, 1);
    assert_int_equal(store_intent(b->s, &i), 0);
    assert_int_equal(put_settlement(b->s, 1, 2), 0);
    assert_false(is_given_away(b->s, 1));
}

static void places_follow_the_name_of_their_profile(void **state)
{
    struct bench *b = *state;
    uint64_t id = 0, other = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(bind_place(b->s, "work", "/p", &id), 0);
    assert_int_equal(bind_place(b->s, "work", "/q", &other), 0);
    assert_int_equal(store_rebind(b->s, other, "home", WISH_NONE, NOW_MS), 0);
    assert_int_equal(store_rename(b->s, "work", "home"), ERR_EXISTS);
    assert_int_equal(store_rename(b->s, "work", "job"), 0);
    bench_reopen(b);
    const struct consumers *all = consumers_of(b->s);
    assert_int_equal(all->n, 2);
    assert_string_equal(all->rows[0].profile, "job");
    assert_string_equal(all->rows[1].profile, "home");
    assert_string_equal(all->rows[1].before, "job"); /* who is remembered, too */
}

static void places_stay_when_the_name_moves_and_go_with_it(void **state)
{
    struct bench *b = *state;
    uint64_t id = 0, other = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(bind_place(b->s, "work", "/p", &id), 0);
    assert_int_equal(bind_place(b->s, "home", "/q", &other), 0);
    assert_int_equal(put_live(b->s, 3, "work"), 0);
    assert_int_equal(store_retire(b->s, 1, "replaced", NOW_MS), 0);
    assert_int_equal(consumers_of(b->s)->n, 2);
    assert_int_equal(store_retire(b->s, 3, "removed", NOW_MS), 0);
    bench_reopen(b);
    const struct consumers *all = consumers_of(b->s);
    assert_int_equal(all->n, 1);
    assert_true(all->rows[0].id == other);
    assert_int_equal(bind_place(b->s, "home", "/p", &id), 0); /* the place is free again */
}

static void a_walk_is_by_number_and_can_be_stopped(void **state)
{
    struct bench *b = *state;
    static struct consumers stopped;
    static const char *const places[] = {"/z", "/a", "/m"};
    uint64_t id = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        assert_int_equal(bind_place(b->s, "work", places[i], &id), 0);
    }
    const struct consumers *all = consumers_of(b->s);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        assert_string_equal(all->rows[i].place, places[i]);
    }
    stopped.n = 0;
    stopped.stop_at = 2;
    assert_int_equal(store_each_consumer(b->s, keep_consumer, &stopped), -1000);
    assert_int_equal(stopped.n, 2);
    assert_int_equal(store_set_wish(b->s, id, WISH_NONE), 0); /* it holds nothing */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(a_bound_place_is_read_back_whole),
        STORY(a_place_is_bound_once_and_to_a_profile_that_is_there),
        STORY(a_number_is_never_given_again),
        STORY(a_place_that_changes_hands_remembers_the_one_before),
        STORY(a_wish_is_kept_until_it_is_done),
        STORY(what_may_be_left_in_a_place_that_goes_is_noted),
        STORY(a_token_is_given_away_until_there_is_another),
        STORY(places_follow_the_name_of_their_profile),
        STORY(places_stay_when_the_name_moves_and_go_with_it),
        STORY(a_walk_is_by_number_and_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Captures: what was found in a place is kept until it is known whose it is, unless we have it;
 * then a lineage goes on with it, or it becomes one of its own, or it goes.
 */
#include "store_bench.h"

#define STRANGER     50 /* a lineage that is not in the store: where found pairs are from */
#define CAPTURES_MAX 8
#define CAPTURE_ID   UINT64_C(0xfedcba9876543210)

struct captures {
    int n;
    struct captured_row rows[CAPTURES_MAX]; /* without bytes */
    char sealed[CAPTURES_MAX][32];          /* how they begin */
    int stop_at;
};

static int keep_capture(void *ctx, const struct captured_row *row)
{
    struct captures *all = ctx;
    assert_true(all->n < CAPTURES_MAX && row->sealed.len == SEALED_LEN);
    memcpy(all->sealed[all->n], row->sealed.bytes, 31);
    all->rows[all->n] = *row;
    all->rows[all->n++].sealed = (struct buf){0};
    return all->n == all->stop_at ? -1000 : 0;
}

static struct captures *captures_of(struct store *s)
{
    static struct captures all;
    memset(&all, 0, sizeof(all));
    assert_int_equal(store_each_capture(s, keep_capture, &all), 0);
    return &all;
}

static struct captured captured_of(uint64_t id, struct pair pair, const char *sealed)
{
    return (struct captured){
        .id = id,
        .consumer = 7,
        .lineage = 1,
        .pair = pair,
        .sealed = sealed,
        .sealed_len = SEALED_LEN,
        .source = "claude:/home/ada/.claude",
        .now_wall_ms = NOW_MS + 40,
    };
}

/* Kept under which id; 0: it is ours. */
static uint64_t keep(struct store *s, uint64_t id, struct pair pair, struct acquaintance *ret)
{
    char sealed[SEALED_LEN];
    struct acquaintance met;
    uint64_t kept_as = 99;
    sealed_of(STRANGER, id % 10, sealed);
    struct captured c = captured_of(id, pair, sealed);
    assert_int_equal(store_keep_capture(s, &c, &kept_as, ret == NULL ? &met : ret), 0);
    return kept_as;
}

static struct acquaintance meet(struct store *s, struct fp access, struct fp refresh)
{
    struct acquaintance met = {.is_ours = true, .is_former = true};
    struct pair pair = {.access = access, .refresh = refresh};
    assert_int_equal(store_meet_pair(s, &pair, &met), 0);
    return met;
}

static struct capture_adoption adoption_of(uint64_t capture, uint64_t lineage, uint64_t generation,
                                           const char *sealed)
{
    return (struct capture_adoption){
        .capture = capture,
        .lineage = lineage,
        .generation = generation,
        .sealed = sealed,
        .sealed_len = SEALED_LEN,
        .held_until_wall_ms = NOW_MS + 500,
        .now_wall_ms = NOW_MS + 50,
    };
}

static int adopt(struct store *s, uint64_t capture, uint64_t lineage, uint64_t generation)
{
    char sealed[SEALED_LEN];
    sealed_of(lineage, generation, sealed);
    struct capture_adoption a = adoption_of(capture, lineage, generation, sealed);
    return store_adopt_capture(s, &a);
}

static struct capture_lineage made_of(uint64_t capture, uint64_t lineage, const char *sealed)
{
    return (struct capture_lineage){
        .capture = capture,
        .lineage = lineage,
        .subject = fp_of(lineage, 's'),
        .subject_text = "eve",
        .label = "eve@lab",
        .profile = "work",
        .policy = POLICY_STANDBY,
        .sealed = sealed,
        .sealed_len = SEALED_LEN,
        .now_wall_ms = NOW_MS + 60,
    };
}

static int make(struct store *s, int (*how)(struct store *, const struct capture_lineage *),
                uint64_t capture, uint64_t lineage)
{
    char sealed[SEALED_LEN];
    sealed_of(lineage, 1, sealed);
    struct capture_lineage c = made_of(capture, lineage, sealed);
    return how(s, &c);
}

static void close_as(struct store *s, uint64_t lineage, uint64_t generation, enum verdict verdict,
                     enum standing standing)
{
    struct closing c = closing_of(lineage, generation, verdict, standing);
    assert_int_equal(put_intent(s, lineage, generation), 0);
    assert_int_equal(store_close_intent(s, &c), 0);
}

static void spend(struct store *s, uint64_t lineage, uint64_t generation)
{
    assert_int_equal(put_intent(s, lineage, generation), 0);
    assert_int_equal(put_settlement(s, lineage, generation), 0);
}

/* An answer that kept the refresh token of generation 1. */
static void spend_and_keep(struct store *s, uint64_t lineage, uint64_t generation)
{
    char sealed[SEALED_LEN];
    sealed_of(lineage, generation + 1, sealed);
    struct intent i = intent_of(lineage, generation);
    struct settlement m = settlement_of(lineage, generation, sealed);
    i.presented = m.pair.refresh = refresh_of(lineage, 1);
    assert_int_equal(store_intent(s, &i), 0);
    assert_int_equal(store_settle(s, &m), 0);
}

static bool is_in_files(const struct bench *b, const char *word)
{
    char log_path[128];
    bool found = false;
    (void)snprintf(log_path, sizeof(log_path), "%s-wal", b->path);
    const char *const paths[] = {b->path, log_path};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct image file = {0};
        if (image_read(paths[i], &file)) {
            found = found || memmem(file.bytes, file.len, word, strlen(word)) != NULL;
            image_release(&file);
        }
    }
    return found;
}

/* Keeping */

static void what_is_found_is_kept_whole(void **state)
{
    struct bench *b = *state;
    struct pair pair = pair_of(STRANGER, 1);
    struct acquaintance met;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_true(keep(b->s, CAPTURE_ID, pair, &met) == CAPTURE_ID);
    assert_false(met.is_ours || met.is_former);
    bench_reopen(b);
    const struct captures *all = captures_of(b->s);
    const struct captured_row *row = &all->rows[0];
    assert_int_equal(all->n, 1);
    assert_true(row->id == CAPTURE_ID && row->consumer == 7 && row->lineage == 1);
    assert_true(pair_equal(&row->pair, &pair));
    assert_int_equal(row->pair.life_ms, pair.life_ms);
    assert_int_equal(row->pair.login_deadline_wall_ms, pair.login_deadline_wall_ms);
    assert_string_equal(row->source, "claude:/home/ada/.claude");
    assert_int_equal(row->seen_wall_ms, NOW_MS + 40);
    assert_memory_equal(all->sealed[0], "<SEALED 50.0>", 13);
    assert_false(row->met.is_ours || row->met.is_former);
}

static void what_is_ours_is_not_kept(void **state)
{
    struct bench *b = *state;
    struct acquaintance met;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    spend(b->s, 1, 1);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(store_retire(b->s, 2, "", NOW_MS), 0);
    assert_true(keep(b->s, CAPTURE_ID, pair_of(1, 2), &met) == 0);
    assert_true(met.is_ours && !met.is_former);
    assert_true(keep(b->s, CAPTURE_ID, pair_of(1, 1), &met) == 0);
    assert_true(met.is_ours && met.is_former);
    assert_true(keep(b->s, CAPTURE_ID, pair_of(2, 1), &met) == 0);
    assert_true(met.is_ours && met.is_former); /* ended: still a former one */
    struct pair alone = pair_of(1, 2);
    alone.refresh = (struct fp){{0}};
    assert_true(keep(b->s, CAPTURE_ID, alone, &met) == 0);
    assert_true(met.is_ours && !met.is_former);
    assert_int_equal(captures_of(b->s)->n, 0);
}

/* One token of it is not here. */
static void what_is_ours_in_part_is_kept(void **state)
{
    struct bench *b = *state;
    struct acquaintance met;
    struct pair pair = pair_of(STRANGER, 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    spend(b->s, 1, 1);
    pair.refresh = refresh_of(1, 2); /* renewed by somebody who kept it */
    assert_true(keep(b->s, 10, pair, &met) == 10);
    assert_false(met.is_ours || met.is_former);
    pair.refresh = refresh_of(1, 1);
    assert_true(keep(b->s, 11, pair, &met) == 11);
    assert_true(!met.is_ours && met.is_former);
    pair = pair_of(STRANGER, 2);
    pair.access = access_of(1, 1);
    assert_true(keep(b->s, 12, pair, &met) == 12);
    assert_true(!met.is_ours && met.is_former);
    assert_int_equal(captures_of(b->s)->n, 3);
}

static void what_is_current_is_not_former_wherever_else_it_was(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    spend_and_keep(b->s, 1, 1);
    spend_and_keep(b->s, 1, 2);
    struct acquaintance met = meet(b->s, access_of(1, 3), refresh_of(1, 1));
    assert_true(met.is_ours && !met.is_former);
    met = meet(b->s, access_of(1, 2), refresh_of(1, 1)); /* its access token is an old one */
    assert_true(met.is_ours && met.is_former);

    assert_int_equal(put_live(b->s, 2, "home"), 0); /* removed, and added again */
    assert_int_equal(store_retire(b->s, 2, "", NOW_MS), 0);
    sealed_of(3, 1, sealed);
    struct capture again = capture_of(3, sealed);
    again.pair = pair_of(2, 1);
    assert_int_equal(store_capture(b->s, &again), 0);
    met = meet(b->s, access_of(2, 1), refresh_of(2, 1));
    assert_true(met.is_ours && !met.is_former);
    met = meet(b->s, access_of(STRANGER, 1), refresh_of(STRANGER, 1));
    assert_false(met.is_ours || met.is_former);
}

static void a_pair_that_is_found_again_keeps_its_id(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    struct acquaintance met;
    uint64_t kept_as = 0, place = 0;
    struct consumer_row bound = {.profile = "work", .kind = "claude", .place = "/p"};
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(store_bind(b->s, &bound, &place), 0);
    sealed_of(STRANGER, 0, sealed);
    struct captured c = captured_of(10, pair_of(STRANGER, 1), sealed);
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), 0); /* by one that is gone */
    c.id = 11;
    c.consumer = place;
    c.source = "elsewhere";
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), 0);
    assert_int_equal(kept_as, 10);
    assert_true(captures_of(b->s)->rows[0].consumer == place);
    c.consumer = place + 1;
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), 0);
    assert_int_equal(kept_as, 10);
    assert_true(captures_of(b->s)->rows[0].consumer == place); /* it still stands there */
    assert_string_equal(captures_of(b->s)->rows[0].source, "claude:/home/ada/.claude");
    c.pair.expires_wall_ms++; /* not quite the same */
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), 0);
    assert_int_equal(kept_as, 11);
    assert_int_equal(captures_of(b->s)->n, 2);
    assert_int_equal(store_drop_capture(b->s, 10), 0);
    c.pair.expires_wall_ms--;
    c.id = 12;
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), 0);
    assert_int_equal(kept_as, 12); /* an id is not told again */
}

static void what_breaks_a_rule_is_not_kept(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    struct acquaintance met = {0};
    uint64_t kept_as = 99;
    char *large = calloc(1, STORE_SEALED_MAX + 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    sealed_of(STRANGER, 0, sealed);
    const struct captured good = captured_of(10, pair_of(STRANGER, 1), sealed);
    struct captured c = good;
    c.id = 0;
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), ERR_INVALID);
    c = good;
    c.sealed_len = 0;
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), ERR_INVALID);
    c = good;
    c.sealed = large;
    c.sealed_len = STORE_SEALED_MAX + 1;
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), ERR_TOO_LARGE);
    c = good;
    c.lineage = 9;
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), ERR_CONFLICT);
    assert_int_equal(kept_as, 99);
    assert_int_equal(store_keep_capture(b->s, &good, &kept_as, &met), 0);
    c = good;
    c.pair = pair_of(STRANGER, 2);
    assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), ERR_CONFLICT); /* id taken */
    free(large);
}

static void a_walk_is_by_age_and_can_be_stopped(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    static struct captures stopped;
    struct acquaintance met;
    uint64_t kept_as = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    sealed_of(STRANGER, 0, sealed);
    for (uint64_t i = 0; i < 3; i++) {
        struct captured c = captured_of(30 - i, pair_of(STRANGER, i), sealed);
        c.now_wall_ms += (int64_t)i;
        assert_int_equal(store_keep_capture(b->s, &c, &kept_as, &met), 0);
    }
    const struct captures *all = captures_of(b->s);
    assert_true(all->rows[0].id == 30 && all->rows[1].id == 29 && all->rows[2].id == 28);
    stopped.stop_at = 1;
    assert_int_equal(store_each_capture(b->s, keep_capture, &stopped), -1000);
    assert_int_equal(stopped.n, 1);
    assert_int_equal(store_drop_capture(b->s, 28), 0);
}

static void a_dropped_ones_bytes_are_in_no_file(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_true(keep(b->s, 13, pair_of(STRANGER, 1), NULL) == 13);
    assert_true(keep(b->s, 14, pair_of(STRANGER, 2), NULL) == 14);
    assert_true(is_in_files(b, "<SEALED 50.3>"));
    assert_int_equal(store_drop_capture(b->s, 13), 0);
    assert_int_equal(store_drop_capture(b->s, 13), 0); /* again */
    assert_int_equal(store_tidy(b->s), 0);
    assert_false(is_in_files(b, "<SEALED 50.3>"));
    assert_true(is_in_files(b, "<SEALED 50.4>"));
    assert_int_equal(captures_of(b->s)->n, 1);
}

/* Adoption */

struct last {
    struct ledger_row row;
};

static int keep_last(void *ctx, const struct ledger_row *row)
{
    ((struct last *)ctx)->row = *row;
    return 0;
}

static void a_lineage_goes_on_with_what_was_found(void **state)
{
    struct bench *b = *state;
    struct last last;
    struct pair pair = pair_of(STRANGER, 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    close_as(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT);
    assert_true(keep(b->s, 13, pair, NULL) == 13);
    assert_int_equal(adopt(b->s, 13, 1, 2), 0);
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_LIVE);
    assert_int_equal(row.generation, 2);
    assert_int_equal(row.held_until_wall_ms, NOW_MS + 500);
    assert_int_equal(row.doubt_since_wall_ms, 0);
    assert_int_equal(row.doubt, 0);
    assert_false(row.replayed || row.given_away);
    assert_true(pair_equal(&row.pair, &pair));
    assert_int_equal(row.pair.life_ms, pair.life_ms);
    assert_int_equal(row.expires_boot_ms, 0);
    assert_int_equal(row.obtained_wall_ms, NOW_MS + 50);
    assert_string_equal(row.subject_text, "ada");
    assert_sealed(&row, 2);
    lineage_row_release(&row);
    assert_int_equal(store_each_ledger(b->s, 1, 0, keep_last, &last), 0);
    assert_int_equal(last.row.origin, ORIGIN_ADOPTED);
    assert_string_equal(last.row.source, "claude:/home/ada/.claude");
    assert_true(fp_is_none(last.row.parent));
    assert_int_equal(captures_of(b->s)->n, 0);
    assert_true(meet(b->s, access_of(1, 1), refresh_of(1, 1)).is_former);
    assert_false(is_in_files(b, "<SEALED 1.1>"));
    assert_false(is_in_files(b, "<SEALED 50.3>"));
}

static void a_token_that_was_left_somewhere_is_given_away(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    struct pair pair = pair_of(STRANGER, 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_true(keep(b->s, 13, pair, NULL) == 13);
    sealed_of(1, 2, sealed);
    struct capture_adoption a = adoption_of(13, 1, 2, sealed);
    a.given_away = true;
    assert_int_equal(store_adopt_capture(b->s, &a), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_true(row.given_away);
    lineage_row_release(&row);
    pair.access = access_of(STRANGER, 2); /* the same refresh token: it still is */
    assert_true(keep(b->s, 14, pair, NULL) == 14);
    assert_int_equal(adopt(b->s, 14, 1, 3), 0);
    row = row_of(b->s, 1);
    assert_true(row.given_away);
    lineage_row_release(&row);
    assert_true(keep(b->s, 15, pair_of(STRANGER, 3), NULL) == 15);
    assert_int_equal(adopt(b->s, 15, 1, 4), 0);
    row = row_of(b->s, 1);
    assert_false(row.given_away);
    lineage_row_release(&row);
}

static void adoption_has_its_conditions(void **state)
{
    struct bench *b = *state;
    char *large = calloc(1, STORE_SEALED_MAX + 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(store_retire(b->s, 2, "", NOW_MS), 0);
    assert_int_equal(put_live(b->s, 3, "job"), 0);
    assert_int_equal(put_intent(b->s, 3, 1), 0);
    assert_true(keep(b->s, 13, pair_of(STRANGER, 1), NULL) == 13);
    assert_int_equal(adopt(b->s, 14, 1, 2), ERR_CONFLICT); /* no such capture */
    assert_int_equal(adopt(b->s, 13, 9, 2), ERR_CONFLICT); /* no such lineage */
    assert_int_equal(adopt(b->s, 13, 1, 1), ERR_CONFLICT);
    assert_int_equal(adopt(b->s, 13, 1, 3), ERR_CONFLICT);
    assert_int_equal(adopt(b->s, 13, 2, 2), ERR_CONFLICT); /* ended */
    assert_int_equal(adopt(b->s, 13, 3, 2), ERR_CONFLICT); /* it has a spend in flight */
    struct capture_adoption a = adoption_of(13, 1, 2, large);
    a.sealed_len = 0;
    assert_int_equal(store_adopt_capture(b->s, &a), ERR_INVALID);
    a.sealed_len = STORE_SEALED_MAX + 1;
    assert_int_equal(store_adopt_capture(b->s, &a), ERR_TOO_LARGE);
    assert_int_equal(captures_of(b->s)->n, 1);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.generation, 1);
    assert_sealed(&row, 1);
    lineage_row_release(&row);
    a.sealed_len = STORE_SEALED_MAX;
    assert_int_equal(store_adopt_capture(b->s, &a), 0);
    free(large);
}

/* A pair with this refresh token, and an access token that nobody has seen. */
static void expect_refused(struct store *s, struct fp refresh, const char *why)
{
    static uint64_t n = 1000;
    struct pair pair = pair_of(STRANGER, ++n);
    pair.refresh = refresh;
    assert_true(keep(s, n, pair, NULL) == n);
    int adopted = adopt(s, n, 1, 2);
    int claimed = make(s, store_claim_capture, n, n);
    if (adopted != ERR_CONFLICT || claimed != ERR_CONFLICT) {
        print_message("%s: %d %d\n", why, adopted, claimed);
    }
    assert_int_equal(adopted, ERR_CONFLICT);
    assert_int_equal(claimed, ERR_CONFLICT);
    assert_int_equal(store_drop_capture(s, n), 0);
}

static void the_ledger_does_not_go_on_with_a_token_that_it_knows_to_be_over(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    for (uint64_t id = 2; id <= 6; id++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%d", (int)id);
        assert_int_equal(put_live(b->s, id, name), 0);
    }
    expect_refused(b->s, refresh_of(2, 1), "another lineage's current one");
    spend(b->s, 2, 1);
    expect_refused(b->s, refresh_of(2, 1), "spent");
    close_as(b->s, 3, 1, VERDICT_REFUSED, STANDING_DEAD);
    assert_int_equal(store_retire(b->s, 3, "", NOW_MS), 0);
    expect_refused(b->s, refresh_of(3, 1), "refused");
    close_as(b->s, 4, 1, VERDICT_DOUBT, STANDING_DOUBT);
    assert_int_equal(store_retire(b->s, 4, "", NOW_MS), 0);
    expect_refused(b->s, refresh_of(4, 1), "presented, and the answer was lost");
    assert_int_equal(put_intent(b->s, 5, 1), 0);
    assert_int_equal(store_retire(b->s, 5, "", NOW_MS), 0);
    expect_refused(b->s, refresh_of(5, 1), "being spent when its lineage was ended");
}

static void what_surely_was_not_spent_may_be_gone_on_with(void **state)
{
    struct bench *b = *state;
    struct pair pair = pair_of(STRANGER, 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    close_as(b->s, 2, 1, VERDICT_UNSENT, STANDING_LIVE);
    assert_int_equal(store_retire(b->s, 2, "", NOW_MS), 0);
    pair.refresh = refresh_of(2, 1);
    assert_true(keep(b->s, 13, pair, NULL) == 13);
    assert_int_equal(adopt(b->s, 13, 1, 2), 0);
}

/* Its own current one, in doubt: whoever renewed the access token beside it has it, too. */
static void a_lineage_in_doubt_goes_on_with_its_own_token(void **state)
{
    struct bench *b = *state;
    struct pair pair = pair_of(STRANGER, 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    close_as(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT);
    pair.refresh = refresh_of(1, 1);
    assert_true(keep(b->s, 13, pair, NULL) == 13);
    assert_int_equal(make(b->s, store_claim_capture, 13, 9), ERR_CONFLICT);
    assert_int_equal(adopt(b->s, 13, 1, 2), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_LIVE);
    lineage_row_release(&row);
    assert_int_equal(store_retire(b->s, 1, "", NOW_MS), 0); /* that doubt is long over */
    assert_int_equal(put_live(b->s, 2, "work"), 0);
    pair.access = access_of(STRANGER, 2);
    assert_true(keep(b->s, 14, pair, NULL) == 14);
    assert_int_equal(make(b->s, store_claim_capture, 14, 9), 0);
}

/* A lineage of its own */

static void nobody_we_know_is_set_aside(void **state)
{
    struct bench *b = *state;
    struct last last;
    struct pair pair = pair_of(STRANGER, 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_true(keep(b->s, 13, pair, NULL) == 13);
    assert_int_equal(make(b->s, store_set_capture_aside, 13, 9), 0);
    assert_int_equal(store_tidy(b->s), 0);
    assert_false(is_in_files(b, "<SEALED 50.3>"));
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 9);
    assert_int_equal(row.standing, STANDING_QUARANTINED);
    assert_int_equal(row.generation, 1);
    assert_string_equal(row.provider, "lab"); /* of the one in whose place it was */
    assert_int_equal(row.definition.len, 10);
    assert_memory_equal(row.definition.bytes, "definition", 10);
    assert_true(fp_equal(row.subject, fp_of(9, 's')));
    assert_string_equal(row.subject_text, "eve");
    assert_string_equal(row.label, "eve@lab");
    assert_string_equal(row.wanted_profile, "");
    assert_true(pair_equal(&row.pair, &pair));
    assert_false(row.claimed || row.kept || row.given_away);
    assert_int_equal(row.held_until_wall_ms, 0);
    assert_sealed(&row, 1);
    lineage_row_release(&row);
    assert_int_equal(store_each_ledger(b->s, 9, 0, keep_last, &last), 0);
    assert_int_equal(last.row.origin, ORIGIN_ADOPTED);
    assert_string_equal(last.row.source, "claude:/home/ada/.claude");
    assert_int_equal(captures_of(b->s)->n, 0);
    assert_true(meet(b->s, pair.access, pair.refresh).is_ours);
    assert_int_equal(store_claim(b->s, 9, "eve", POLICY_ALWAYS), 0); /* and its user asks for it */
    row = row_of(b->s, 9);
    assert_int_equal(row.standing, STANDING_UNPROVEN);
    assert_true(row.kept && !row.claimed);
    assert_true(fp_is_none(row.subject)); /* asked anew */
    assert_string_equal(row.subject_text, "");
    lineage_row_release(&row);
}

static void one_grant_is_one_lineage(void **state)
{
    struct bench *b = *state;
    struct pair pair = pair_of(STRANGER, 1);
    struct lineage_row row;
    lineage_row_init(&row);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    pair.refresh = refresh_of(1, 1);
    assert_true(keep(b->s, 13, pair, NULL) == 13);
    assert_int_equal(make(b->s, store_set_capture_aside, 13, 9), ERR_EXISTS);
    assert_int_equal(store_get_lineage(b->s, 9, &row), ERR_NOT_FOUND);
    assert_int_equal(captures_of(b->s)->n, 0); /* nobody needs it */
    assert_int_equal(store_tidy(b->s), 0);
    assert_false(is_in_files(b, "<SEALED 50.3>"));
    assert_int_equal(store_retire(b->s, 1, "", NOW_MS), 0);
    assert_true(keep(b->s, 13, pair, NULL) == 13);
    assert_int_equal(make(b->s, store_set_capture_aside, 13, 9), 0);
}

static void an_access_token_alone_is_set_aside_beside_others(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    for (uint64_t n = 1; n <= 2; n++) {
        struct pair pair = pair_of(STRANGER, n);
        pair.refresh = (struct fp){{0}};
        assert_true(keep(b->s, 10 + n, pair, NULL) == 10 + n);
        assert_int_equal(make(b->s, store_set_capture_aside, 10 + n, 20 + n), 0);
    }
}

static void what_is_made_of_a_capture_has_its_conditions(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    char long_subject[STORE_SUBJECT_MAX + 1];
    memset(long_subject, 'x', sizeof(long_subject) - 1);
    long_subject[sizeof(long_subject) - 1] = '\0';
    sealed_of(9, 1, sealed);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(make(b->s, store_set_capture_aside, 13, 9), ERR_NOT_FOUND);
    assert_int_equal(make(b->s, store_claim_capture, 13, 9), ERR_NOT_FOUND);
    assert_true(keep(b->s, 13, pair_of(STRANGER, 1), NULL) == 13);
    assert_int_equal(make(b->s, store_set_capture_aside, 13, 1), ERR_INVALID); /* id taken */
    assert_int_equal(make(b->s, store_claim_capture, 13, 1), ERR_INVALID);
    struct capture_lineage c = made_of(13, 9, sealed);
    c.subject_text = long_subject;
    assert_int_equal(store_set_capture_aside(b->s, &c), ERR_TOO_LARGE);
    c = made_of(13, 9, sealed);
    c.sealed_len = 0;
    assert_int_equal(store_set_capture_aside(b->s, &c), ERR_INVALID);
    assert_int_equal(store_claim_capture(b->s, &c), ERR_INVALID);
    c = made_of(13, 9, sealed);
    c.profile = "no name";
    assert_int_equal(store_claim_capture(b->s, &c), ERR_INVALID);
    c.profile = "nobody";
    assert_int_equal(store_claim_capture(b->s, &c), ERR_NOT_FOUND);
    assert_int_equal(captures_of(b->s)->n, 1);
}

static void whose_it_is_is_found_out_by_a_claim(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_true(keep(b->s, 13, pair_of(STRANGER, 1), NULL) == 13);
    assert_true(keep(b->s, 14, pair_of(STRANGER, 2), NULL) == 14);
    assert_int_equal(make(b->s, store_claim_capture, 13, 9), 0);
    assert_int_equal(make(b->s, store_claim_capture, 14, 10), ERR_EXISTS); /* one at a time */
    assert_int_equal(store_tidy(b->s), 0);
    assert_false(is_in_files(b, "<SEALED 50.3>"));
    assert_true(is_in_files(b, "<SEALED 50.4>"));
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 9);
    assert_int_equal(row.standing, STANDING_UNPROVEN);
    assert_true(row.claimed && !row.kept);
    assert_string_equal(row.wanted_profile, "work");
    assert_int_equal(row.wanted_policy, POLICY_STANDBY);
    assert_true(fp_is_none(row.subject));
    assert_string_equal(row.subject_text, "");
    assert_string_equal(row.label, "");
    assert_sealed(&row, 1);
    lineage_row_release(&row);
    assert_int_equal(store_rename(b->s, "work", "job"), 0); /* and is meant for it as before */
    row = row_of(b->s, 9);
    assert_string_equal(row.wanted_profile, "job");
    lineage_row_release(&row);
    assert_int_equal(store_adopt(b->s, 9, STANDING_LIVE, fp_of(1, 's'), "ada", "", "job",
                                 POLICY_STANDBY, NOW_MS),
                     0);
    row = row_of(b->s, 9);
    assert_int_equal(row.standing, STANDING_LIVE);
    assert_false(row.claimed);
    lineage_row_release(&row);
}

/* Doubt, and what is set aside with it */

static void expect_doubt(struct store *s, enum standing standing, int64_t since, uint64_t intent)
{
    struct lineage_row row = row_of(s, 1);
    assert_int_equal(row.standing, standing);
    assert_int_equal(row.doubt_since_wall_ms, since);
    assert_int_equal(row.doubt, intent);
    lineage_row_release(&row);
}

static void a_doubt_names_the_intent_that_was_closed_last(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    close_as(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT);
    expect_doubt(b->s, STANDING_DOUBT, NOW_MS + 30, 1001);
    struct intent replay = intent_of(1, 1);
    replay.id = 77;
    replay.fence = 2;
    replay.replay = true;
    struct closing c = closing_of(1, 1, VERDICT_UNSENT, STANDING_DOUBT);
    c.intent = 77;
    assert_int_equal(store_intent(b->s, &replay), 0);
    assert_int_equal(store_close_intent(b->s, &c), 0);
    expect_doubt(b->s, STANDING_DOUBT, NOW_MS + 30, 1001); /* it is no news */
    replay.id = c.intent = 78;
    replay.fence = 3;
    c.verdict = VERDICT_DOUBT;
    c.now_wall_ms++;
    assert_int_equal(store_intent(b->s, &replay), 0);
    assert_int_equal(store_close_intent(b->s, &c), 0);
    expect_doubt(b->s, STANDING_DOUBT, NOW_MS + 30, 78);
    assert_int_equal(store_resolve(b->s, 1, STANDING_LIVE), 0);
    expect_doubt(b->s, STANDING_LIVE, 0, 0);
}

static void what_is_set_aside_in_doubt_is_in_doubt_when_it_is_claimed(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 1), 0);
    close_as(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT);
    assert_int_equal(store_adopt(b->s, 1, STANDING_QUARANTINED, (struct fp){{0}}, "", "", NULL,
                                 POLICY_NEVER, NOW_MS + 90),
                     0);
    bench_reopen(b);
    expect_doubt(b->s, STANDING_QUARANTINED, NOW_MS + 30, 1001);
    assert_int_equal(store_claim(b->s, 1, "home", POLICY_ALWAYS), 0);
    bench_reopen(b);
    expect_doubt(b->s, STANDING_DOUBT, NOW_MS + 30, 1001);
    struct lineage_row row = row_of(b->s, 1);
    assert_true(row.kept);
    assert_string_equal(row.wanted_profile, "home");
    lineage_row_release(&row);
    assert_int_equal(store_adopt(b->s, 1, STANDING_LIVE, fp_of(1, 's'), "ada", "", "home",
                                 POLICY_ALWAYS, NOW_MS),
                     0);
    expect_doubt(b->s, STANDING_LIVE, 0, 0);
    row = row_of(b->s, 1);
    assert_false(row.kept);
    lineage_row_release(&row);
}

static void what_was_set_aside_in_doubt_goes_on_with_what_was_found(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 1), 0);
    close_as(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT);
    assert_int_equal(store_adopt(b->s, 1, STANDING_QUARANTINED, (struct fp){{0}}, "", "", NULL,
                                 POLICY_NEVER, NOW_MS + 90),
                     0);
    assert_true(keep(b->s, 13, pair_of(STRANGER, 1), NULL) == 13);
    assert_int_equal(adopt(b->s, 13, 1, 2), 0);
    bench_reopen(b);
    expect_doubt(b->s, STANDING_LIVE, 0, 0);
}

static void retirement_ends_a_doubt_that_was_set_aside(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 1), 0);
    close_as(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT);
    assert_int_equal(store_adopt(b->s, 1, STANDING_QUARANTINED, (struct fp){{0}}, "", "", NULL,
                                 POLICY_NEVER, NOW_MS + 90),
                     0);
    assert_int_equal(store_retire(b->s, 1, "", NOW_MS), 0);
    bench_reopen(b);
    expect_doubt(b->s, STANDING_RETIRED, 0, 0);
}

/* The store was put back from a backup, and still is not sure after that answer. */
static void a_doubt_of_the_next_pair_is_not_of_the_intent_before(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    close_as(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT);
    sealed_of(1, 2, sealed);
    struct settlement late = settlement_of(1, 1, sealed);
    late.standing = STANDING_DOUBT;
    assert_int_equal(store_settle(b->s, &late), 0);
    expect_doubt(b->s, STANDING_DOUBT, NOW_MS + 30, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(what_is_found_is_kept_whole),
        STORY(what_is_ours_is_not_kept),
        STORY(what_is_ours_in_part_is_kept),
        STORY(what_is_current_is_not_former_wherever_else_it_was),
        STORY(a_pair_that_is_found_again_keeps_its_id),
        STORY(what_breaks_a_rule_is_not_kept),
        STORY(a_walk_is_by_age_and_can_be_stopped),
        STORY(a_dropped_ones_bytes_are_in_no_file),
        STORY(a_lineage_goes_on_with_what_was_found),
        STORY(a_token_that_was_left_somewhere_is_given_away),
        STORY(adoption_has_its_conditions),
        STORY(the_ledger_does_not_go_on_with_a_token_that_it_knows_to_be_over),
        STORY(what_surely_was_not_spent_may_be_gone_on_with),
        STORY(a_lineage_in_doubt_goes_on_with_its_own_token),
        STORY(nobody_we_know_is_set_aside),
        STORY(one_grant_is_one_lineage),
        STORY(an_access_token_alone_is_set_aside_beside_others),
        STORY(what_is_made_of_a_capture_has_its_conditions),
        STORY(whose_it_is_is_found_out_by_a_claim),
        STORY(a_doubt_names_the_intent_that_was_closed_last),
        STORY(what_is_set_aside_in_doubt_is_in_doubt_when_it_is_claimed),
        STORY(what_was_set_aside_in_doubt_goes_on_with_what_was_found),
        STORY(retirement_ends_a_doubt_that_was_set_aside),
        STORY(a_doubt_of_the_next_pair_is_not_of_the_intent_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Intents, settlements, closings, and the ledger they leave behind.
 */
#include "store_bench.h"

/* Ledger */

struct ledger {
    int n;
    struct ledger_row rows[16];
};

static int keep(void *ctx, const struct ledger_row *row)
{
    struct ledger *l = ctx;
    assert_true(l->n < (int)ARRAY_LEN(l->rows));
    l->rows[l->n++] = *row;
    return 0;
}

static struct ledger ledger_of(struct store *s, uint64_t lineage, int limit)
{
    struct ledger l = {0};
    assert_int_equal(store_each_ledger(s, lineage, limit, keep, &l), 0);
    return l;
}

static int close_with(struct store *s, uint64_t lineage, uint64_t generation, enum verdict verdict,
                      enum standing standing)
{
    struct closing c = closing_of(lineage, generation, verdict, standing);
    return store_close_intent(s, &c);
}

/* Intent */

static void an_open_intent_is_there_after_a_restart(void **state)
{
    struct bench *b = *state;
    struct intent i = intent_of(1, 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(close_with(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT), 0);
    i.id = 77;
    i.replay = true;
    i.fence = UINT64_MAX; /* compared as unsigned */
    assert_int_equal(store_intent(b->s, &i), 0);
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.intent, 77);
    assert_true(row.fence == UINT64_MAX);
    assert_true(row.intent_is_replay);
    assert_int_equal(row.intent_begun_wall_ms, NOW_MS + 10);
    assert_string_equal(row.intent_boot_id, "boot-1");
    assert_sealed(&row, 1);
    lineage_row_release(&row);
}

static void an_intent_must_agree_with_what_is_stored(void **state)
{
    struct bench *b = *state;
    struct intent good = intent_of(1, 1);
    assert_int_equal(store_intent(b->s, &good), ERR_NOT_FOUND);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    struct intent i = good;
    i.fence = 0; /* not above the stored one */
    assert_int_equal(store_intent(b->s, &i), ERR_CONFLICT);
    i = good;
    i.generation = 2;
    assert_int_equal(store_intent(b->s, &i), ERR_CONFLICT);
    i = good;
    i.presented = refresh_of(2, 1);
    assert_int_equal(store_intent(b->s, &i), ERR_CONFLICT);
    i = good;
    i.presented = access_of(1, 1);
    assert_int_equal(store_intent(b->s, &i), ERR_CONFLICT);
    i = good;
    i.presented = (struct fp){0};
    assert_int_equal(store_intent(b->s, &i), ERR_INVALID);
    i = good;
    i.id = 0;
    assert_int_equal(store_intent(b->s, &i), ERR_INVALID);
    assert_int_equal(store_intent(b->s, &good), 0);
    i = good;
    i.id++;
    i.fence++;
    assert_int_equal(store_intent(b->s, &i), ERR_CONFLICT); /* one at a time */
    i = intent_of(2, 1);
    i.id = good.id;
    assert_int_equal(store_intent(b->s, &i), ERR_EXISTS);
    struct lineage_row row = row_of(b->s, 2);
    assert_int_equal(row.fence, 0); /* nothing of what was refused */
    assert_int_equal(row.intent, 0);
    lineage_row_release(&row);
    assert_int_equal(ledger_of(b->s, 1, 0).n, 2);
}

static void an_intent_is_refused_where_the_standing_does_not_allow_it(void **state)
{
    struct bench *b = *state;
    static const struct {
        enum standing standing;
        bool replayed, first, again; /* may it be presented; once more? */
    } cases[] = {
        {STANDING_LIVE, false, true, false},
        {STANDING_DOUBT, false, true, true},
        {STANDING_DOUBT, true, true, false},
        {STANDING_DEAD, false, false, false},
    };
    for (uint64_t n = 0; n < ARRAY_LEN(cases) * 2; n++) {
        uint64_t id = n + 1;
        bool replay = n % 2 == 1, may = replay ? cases[n / 2].again : cases[n / 2].first;
        char name[] = {(char)('a' + n), '\0'};
        assert_int_equal(put_live(b->s, id, name), 0);
        assert_int_equal(put_intent(b->s, id, 1), 0);
        struct closing c = closing_of(id, 1, VERDICT_DOUBT, cases[n / 2].standing);
        c.replayed = cases[n / 2].replayed;
        assert_int_equal(store_close_intent(b->s, &c), 0);
        struct intent i = intent_of(id, 1);
        i.id += 500;
        i.fence = 2;
        i.replay = replay;
        assert_int_equal(store_intent(b->s, &i), may ? 0 : ERR_CONFLICT);
    }
}

/* Settlement */

static void a_settlement_replaces_the_pair_and_closes_the_intent(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(put_settlement(b->s, 1, 1), 0);
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 1);
    struct pair pair = pair_of(1, 2);
    assert_int_equal(row.generation, 2);
    assert_int_equal(row.intent, 0);
    assert_int_equal(row.standing, STANDING_LIVE);
    assert_true(pair_equal(&row.pair, &pair));
    assert_int_equal(row.expires_boot_ms, 4712);
    assert_int_equal(row.obtained_wall_ms, NOW_MS + 20);
    assert_sealed(&row, 2);
    lineage_row_release(&row);
}

static void nobody_holds_a_pair_that_was_just_settled(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(store_set_held(b->s, 1, NOW_MS + HOUR_MS), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(put_settlement(b->s, 1, 1), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.generation, 2);
    assert_int_equal(row.held_until_wall_ms, 0);
    lineage_row_release(&row);
}

static void only_what_is_set_aside_and_nobodys_can_be_claimed(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 1), 0);
    assert_int_equal(store_claim(b->s, 1, "home", POLICY_ALWAYS), ERR_CONFLICT); /* an `add` */
    assert_int_equal(store_adopt(b->s, 1, STANDING_QUARANTINED, fp_of(1, 9), "bob", "", NULL,
                                 POLICY_NEVER, NOW_MS),
                     0);
    assert_int_equal(store_claim(b->s, 1, "no name", POLICY_ALWAYS), ERR_INVALID);
    assert_int_equal(store_claim(b->s, 1, "home", POLICY_ALWAYS), 0);
    assert_int_equal(store_claim(b->s, 1, "other", POLICY_ALWAYS), ERR_CONFLICT);
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_UNPROVEN);
    assert_string_equal(row.wanted_profile, "home");
    assert_int_equal(row.wanted_policy, POLICY_ALWAYS);
    lineage_row_release(&row);

    /* A profile's own, set aside because an answer named another subject: it has its owner. */
    assert_int_equal(put_live(b->s, 2, "work"), 0);
    assert_int_equal(put_intent(b->s, 2, 1), 0);
    char sealed[SEALED_LEN];
    sealed_of(2, 2, sealed);
    struct settlement m = settlement_of(2, 1, sealed);
    m.standing = STANDING_QUARANTINED;
    assert_int_equal(store_settle(b->s, &m), 0);
    assert_int_equal(store_claim(b->s, 2, "home", POLICY_ALWAYS), ERR_CONFLICT);
}

static void settling_again_with_the_same_pair_is_fine(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    sealed_of(1, 2, sealed);
    struct settlement m = settlement_of(1, 1, sealed);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(store_settle(b->s, &m), 0);
    uint64_t changes = b->s->changes;
    assert_int_equal(store_settle(b->s, &m), 0);
    assert_int_equal(b->s->changes, changes);
    m.pair.access = access_of(1, 77);
    assert_int_equal(store_settle(b->s, &m), ERR_CONFLICT);
    m = settlement_of(1, 1, sealed);
    assert_int_equal(put_intent(b->s, 1, 2), 0);
    assert_int_equal(put_settlement(b->s, 1, 2), 0);
    assert_int_equal(store_settle(b->s, &m), 0); /* long settled; the current pair stays */
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.generation, 3);
    assert_sealed(&row, 3);
    lineage_row_release(&row);
}

static void a_settlement_must_agree_with_what_is_stored(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    char *large = calloc(1, STORE_SEALED_MAX + 1);
    sealed_of(1, 2, sealed);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    struct intent i = intent_of(1, 1);
    i.fence = 5;
    assert_int_equal(store_intent(b->s, &i), 0);
    struct settlement good = settlement_of(1, 1, sealed);
    good.fence = 5;
    struct settlement m = good;
    m.intent = 999;
    assert_int_equal(store_settle(b->s, &m), ERR_NOT_FOUND);
    m = good;
    m.lineage = 2;
    assert_int_equal(store_settle(b->s, &m), ERR_CONFLICT);
    m = good;
    m.fence = 4;
    assert_int_equal(store_settle(b->s, &m), ERR_CONFLICT);
    m = good;
    m.generation = 3;
    assert_int_equal(store_settle(b->s, &m), ERR_CONFLICT);
    m = good;
    m.generation = 1;
    assert_int_equal(store_settle(b->s, &m), ERR_CONFLICT);
    m = good;
    m.sealed_len = 0;
    assert_int_equal(store_settle(b->s, &m), ERR_INVALID);
    m = good;
    m.standing = STANDING_RETIRED;
    assert_int_equal(store_settle(b->s, &m), ERR_INVALID);
    m = good;
    m.sealed = large;
    m.sealed_len = STORE_SEALED_MAX + 1;
    assert_int_equal(store_settle(b->s, &m), ERR_TOO_LARGE);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.generation, 1);
    assert_int_equal(row.intent, 1001);
    assert_sealed(&row, 1);
    lineage_row_release(&row);
    m = good;
    m.fence = 6; /* a recovery under a newer lease */
    m.origin = ORIGIN_RECOVERED;
    assert_int_equal(store_settle(b->s, &m), 0);
    row = row_of(b->s, 1);
    assert_int_equal(row.fence, 6);
    lineage_row_release(&row);
    free(large);
}

static void a_late_answer_ends_a_doubt(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(close_with(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_DOUBT);
    assert_int_equal(row.doubt_since_wall_ms, NOW_MS + 30);
    lineage_row_release(&row);
    assert_int_equal(put_settlement(b->s, 1, 1), 0);
    row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_LIVE);
    assert_int_equal(row.doubt_since_wall_ms, 0);
    assert_int_equal(row.generation, 2);
    assert_sealed(&row, 2);
    lineage_row_release(&row);
}

static void a_late_answer_is_refused_once_the_token_was_presented_again(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    sealed_of(1, 2, sealed);
    struct intent again = intent_of(1, 1);
    again.id = 77;
    again.fence = 2;
    again.replay = true;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(close_with(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT), 0);
    assert_int_equal(store_intent(b->s, &again), 0);
    struct settlement m = settlement_of(1, 1, sealed);
    m.fence = 2;
    assert_int_equal(store_settle(b->s, &m), ERR_CONFLICT);
    m.intent = 77;
    assert_int_equal(store_settle(b->s, &m), 0);
    m.intent = 1001;
    assert_int_equal(store_settle(b->s, &m), ERR_CONFLICT);
}

static void only_doubt_can_be_settled_later(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(close_with(b->s, 1, 1, VERDICT_REFUSED, STANDING_DEAD), 0);
    assert_int_equal(put_settlement(b->s, 1, 1), ERR_CONFLICT);
}

/* Closing */

static void closing_sets_the_standing_and_may_be_repeated(void **state)
{
    struct bench *b = *state;
    struct closing c = closing_of(1, 1, VERDICT_DOUBT, STANDING_DOUBT);
    assert_int_equal(store_close_intent(b->s, &c), ERR_NOT_FOUND);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    c.lineage = 2;
    assert_int_equal(store_close_intent(b->s, &c), ERR_CONFLICT);
    c.lineage = 1;
    c.verdict = VERDICT_GRANTED;
    assert_int_equal(store_close_intent(b->s, &c), ERR_INVALID);
    c.verdict = VERDICT_DOUBT;
    c.replayed = true;
    assert_int_equal(store_close_intent(b->s, &c), 0);
    assert_int_equal(store_close_intent(b->s, &c), 0);
    c.verdict = VERDICT_UNSENT;
    assert_int_equal(store_close_intent(b->s, &c), ERR_CONFLICT);
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_DOUBT);
    assert_true(row.replayed);
    assert_int_equal(row.intent, 0);
    assert_sealed(&row, 1);
    lineage_row_release(&row);
}

static void a_groundless_doubt_is_over(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(store_resolve(b->s, 1, STANDING_LIVE), ERR_CONFLICT);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(close_with(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT), 0);
    assert_int_equal(store_resolve(b->s, 1, STANDING_DEAD), ERR_INVALID);
    assert_int_equal(store_resolve(b->s, 2, STANDING_LIVE), ERR_CONFLICT);
    assert_int_equal(store_resolve(b->s, 1, STANDING_LIVE), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_LIVE);
    assert_int_equal(row.doubt_since_wall_ms, 0);
    lineage_row_release(&row);
}

static void a_doubt_keeps_the_time_it_began(void **state)
{
    struct bench *b = *state;
    struct intent again = intent_of(1, 1);
    again.id = 77;
    again.fence = 2;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(close_with(b->s, 1, 1, VERDICT_DOUBT, STANDING_DOUBT), 0);
    assert_int_equal(store_intent(b->s, &again), 0);
    struct closing c = closing_of(1, 1, VERDICT_UNSENT, STANDING_DOUBT);
    c.intent = 77;
    c.now_wall_ms = NOW_MS + 9999;
    assert_int_equal(store_close_intent(b->s, &c), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.doubt_since_wall_ms, NOW_MS + 30);
    lineage_row_release(&row);
}

static void every_word_can_be_stored(void **state)
{
    struct bench *b = *state;
    uint64_t id = 1;
    for (int v = 0; v < VERDICT_COUNT; v++) {
        if (v == VERDICT_GRANTED) {
            continue;
        }
        for (int st = 0; st < STANDING_COUNT; st++, id++) {
            if (st == STANDING_RETIRED) {
                continue;
            }
            char sealed[SEALED_LEN];
            sealed_of(id, 1, sealed);
            struct capture c = capture_of(id, sealed);
            c.origin = (enum origin)((int)id % ORIGIN_COUNT);
            c.policy = (enum policy)((int)id % POLICY_COUNT);
            assert_int_equal(store_capture(b->s, &c), 0);
            assert_int_equal(put_intent(b->s, id, 1), 0);
            assert_int_equal(close_with(b->s, id, 1, (enum verdict)v, (enum standing)st), 0);
            struct lineage_row row = row_of(b->s, id);
            struct ledger l = ledger_of(b->s, id, 0);
            assert_int_equal(row.standing, st);
            assert_int_equal(row.wanted_policy, c.policy);
            assert_int_equal(l.rows[0].origin, c.origin);
            assert_int_equal(l.rows[1].verdict, v);
            lineage_row_release(&row);
        }
    }
    for (int a = 0; a < ALARM_COUNT; a++) {
        assert_int_equal(store_alarm(b->s, 1, (enum alarm)a, true, "", 1), 0);
    }
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.alarms, (1U << ALARM_COUNT) - 1);
    lineage_row_release(&row);
}

/* The ledger tells who spent what */

static void the_ledger_tells_the_story_in_order(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(close_with(b->s, 1, 1, VERDICT_THROTTLED, STANDING_LIVE), 0);
    struct intent second = intent_of(1, 1);
    second.id = 77;
    second.fence = 2;
    second.cause = "retry";
    second.now_wall_ms = 1; /* the clock jumped back */
    assert_int_equal(store_intent(b->s, &second), 0);
    char sealed[SEALED_LEN];
    sealed_of(1, 2, sealed);
    struct settlement m = settlement_of(1, 1, sealed);
    m.intent = 77;
    m.fence = 2;
    m.now_wall_ms = 2;
    assert_int_equal(store_settle(b->s, &m), 0);
    struct intent third = intent_of(1, 2);
    third.fence = 3;
    assert_int_equal(store_intent(b->s, &third), 0);
    bench_reopen(b);

    struct ledger l = ledger_of(b->s, 1, 0);
    assert_int_equal(l.n, 5);
    const struct ledger_row *r = l.rows;
    assert_false(r[0].is_spend);
    assert_int_equal(r[0].origin, ORIGIN_ADDED);
    assert_string_equal(r[0].source, "stdin");
    assert_true(fp_equal(r[0].refresh, refresh_of(1, 1)));
    assert_true(fp_equal(r[0].access, access_of(1, 1)));
    assert_true(fp_is_none(r[0].parent));
    assert_int_equal(r[0].expires_wall_ms, pair_of(1, 1).expires_wall_ms);
    assert_true(r[1].is_spend);
    assert_int_equal(r[1].verdict, VERDICT_THROTTLED);
    assert_string_equal(r[1].detail, "HTTP 503");
    assert_string_equal(r[1].source, "due");
    assert_int_equal(r[1].closed_wall_ms, NOW_MS + 30);
    assert_int_equal(r[2].intent, 77);
    assert_int_equal(r[2].verdict, VERDICT_GRANTED);
    assert_string_equal(r[2].source, "retry");
    assert_true(fp_equal(r[2].refresh, refresh_of(1, 1)));
    assert_false(r[3].is_spend);
    assert_int_equal(r[3].generation, 2);
    assert_true(fp_equal(r[3].parent, refresh_of(1, 1)));
    assert_int_equal(r[3].origin, ORIGIN_SPENT);
    assert_true(r[4].is_spend && r[4].is_open);
    assert_int_equal(r[4].generation, 2);

    l = ledger_of(b->s, 1, 2); /* the last two, still in order */
    assert_int_equal(l.n, 2);
    assert_int_equal(l.rows[0].generation, 2);
    assert_false(l.rows[0].is_spend);
    assert_true(l.rows[1].is_open);
    assert_int_equal(ledger_of(b->s, 42, 0).n, 0);
    assert_int_equal(store_retire(b->s, 1, "", NOW_MS), 0);
    assert_int_equal(ledger_of(b->s, 1, 0).n, 5); /* kept */
}

/* Sightings */

static struct sighting sight(struct store *s, struct fp fp)
{
    struct sighting g;
    assert_int_equal(store_find_fp(s, fp, &g), 0);
    return g;
}

static void a_token_is_found_wherever_it_was(void **state)
{
    struct bench *b = *state;
    struct sighting g;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_true(sight(b->s, refresh_of(1, 1)).spent); /* open: not surely not */
    assert_int_equal(put_settlement(b->s, 1, 1), 0);
    g = sight(b->s, refresh_of(1, 1));
    assert_int_equal(g.lineage, 1);
    assert_int_equal(g.generation, 1);
    assert_false(g.is_current);
    assert_true(g.spent);
    g = sight(b->s, access_of(1, 1));
    assert_int_equal(g.generation, 1);
    assert_true(g.spent);
    g = sight(b->s, refresh_of(1, 2));
    assert_int_equal(g.generation, 2);
    assert_true(g.is_current);
    assert_false(g.spent);
    assert_true(sight(b->s, access_of(1, 2)).is_current);
    assert_int_equal(store_find_fp(b->s, refresh_of(1, 3), &g), ERR_NOT_FOUND);
    assert_int_equal(store_find_fp(b->s, (struct fp){0}, &g), ERR_NOT_FOUND);
}

static void what_was_not_committed_is_not_spent(void **state)
{
    struct bench *b = *state;
    static const struct {
        enum verdict verdict;
        bool spent;
    } cases[] = {
        {VERDICT_REFUSED, false}, {VERDICT_THROTTLED, false},   {VERDICT_UNSENT, false},
        {VERDICT_DOUBT, true},    {VERDICT_UNCOMMITTED, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t id = i + 1;
        assert_int_equal(put_lineage(b->s, id), 0);
        assert_false(sight(b->s, refresh_of(id, 1)).spent);
        assert_int_equal(put_intent(b->s, id, 1), 0);
        assert_int_equal(close_with(b->s, id, 1, cases[i].verdict, STANDING_DEAD), 0);
        assert_int_equal(sight(b->s, refresh_of(id, 1)).spent, cases[i].spent);
    }
}

static void a_token_that_the_answer_kept_is_not_spent(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    sealed_of(1, 2, sealed);
    struct settlement m = settlement_of(1, 1, sealed);
    m.pair.refresh = refresh_of(1, 1);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(store_settle(b->s, &m), 0);
    struct sighting g = sight(b->s, refresh_of(1, 1));
    assert_int_equal(g.generation, 2);
    assert_true(g.is_current);
    assert_false(g.spent);
    struct intent i = intent_of(1, 2);
    i.presented = refresh_of(1, 1);
    assert_int_equal(store_intent(b->s, &i), 0);
}

static void a_retired_lineages_token_may_be_added_again(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    sealed_of(2, 1, sealed);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(store_retire(b->s, 1, "", NOW_MS), 0);
    struct sighting g = sight(b->s, refresh_of(1, 1));
    assert_false(g.is_current);
    assert_false(g.spent);
    struct capture c = capture_of(2, sealed);
    c.pair = pair_of(1, 1);
    c.now_wall_ms = NOW_MS - 1000; /* whatever the clock says */
    assert_int_equal(store_capture(b->s, &c), 0);
    g = sight(b->s, refresh_of(1, 1));
    assert_int_equal(g.lineage, 2); /* the one in use comes first */
    assert_true(g.is_current);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(an_open_intent_is_there_after_a_restart),
        STORY(an_intent_must_agree_with_what_is_stored),
        STORY(an_intent_is_refused_where_the_standing_does_not_allow_it),
        STORY(a_settlement_replaces_the_pair_and_closes_the_intent),
        STORY(nobody_holds_a_pair_that_was_just_settled),
        STORY(only_what_is_set_aside_and_nobodys_can_be_claimed),
        STORY(settling_again_with_the_same_pair_is_fine),
        STORY(a_settlement_must_agree_with_what_is_stored),
        STORY(a_late_answer_ends_a_doubt),
        STORY(a_late_answer_is_refused_once_the_token_was_presented_again),
        STORY(only_doubt_can_be_settled_later),
        STORY(closing_sets_the_standing_and_may_be_repeated),
        STORY(a_groundless_doubt_is_over),
        STORY(a_doubt_keeps_the_time_it_began),
        STORY(every_word_can_be_stored),
        STORY(the_ledger_tells_the_story_in_order),
        STORY(a_token_is_found_wherever_it_was),
        STORY(what_was_not_committed_is_not_spent),
        STORY(a_token_that_the_answer_kept_is_not_spent),
        STORY(a_retired_lineages_token_may_be_added_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

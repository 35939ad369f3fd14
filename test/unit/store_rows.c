/*
 * Profiles, lineages, alarms, events, named values: what goes in comes out, and what must not go in
 * changes nothing.
 */
#include "store_bench.h"

/* Capture */

static void a_captured_lineage_is_read_back_whole(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, UINT64_MAX), 0); /* all 64 bits of an id */
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, UINT64_MAX);
    struct pair pair = pair_of(UINT64_MAX, 1);
    assert_true(row.id == UINT64_MAX);
    assert_string_equal(row.provider, "lab");
    assert_int_equal(row.definition.len, 10);
    assert_memory_equal(row.definition.bytes, "definition", 10);
    assert_int_equal(row.standing, STANDING_UNPROVEN);
    assert_true(fp_is_none(row.subject));
    assert_string_equal(row.subject_text, "");
    assert_int_equal(row.generation, 1);
    assert_int_equal(row.fence, 0);
    assert_int_equal(row.held_until_wall_ms, NOW_MS + 1);
    assert_int_equal(row.doubt_since_wall_ms, 0);
    assert_false(row.replayed);
    assert_int_equal(row.alarms, 0);
    assert_string_equal(row.wanted_profile, "work");
    assert_int_equal(row.wanted_policy, POLICY_ALWAYS);
    assert_true(pair_equal(&row.pair, &pair));
    assert_int_equal(row.pair.life_ms, pair.life_ms);
    assert_int_equal(row.pair.login_deadline_wall_ms, pair.login_deadline_wall_ms);
    assert_int_equal(row.expires_boot_ms, 4711);
    assert_string_equal(row.boot_id, "boot-1");
    assert_int_equal(row.obtained_wall_ms, NOW_MS);
    assert_sealed(&row, 1);
    assert_int_equal(row.intent, 0);
    lineage_row_release(&row);
}

static void a_static_pair_has_no_refresh_token(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    sealed_of(1, 1, sealed);
    struct capture c = capture_of(1, sealed);
    c.pair.refresh = (struct fp){0};
    assert_int_equal(store_capture(b->s, &c), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_true(fp_is_none(row.pair.refresh));
    lineage_row_release(&row);
    struct intent i = intent_of(1, 1);
    assert_int_equal(store_intent(b->s, &i), ERR_CONFLICT);
}

static void an_id_is_taken_once(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 1), 0);
    assert_int_equal(put_lineage(b->s, 1), ERR_EXISTS);
}

static void a_capture_that_breaks_a_rule_is_refused(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    char *large = calloc(1, STORE_SEALED_MAX + 1);
    sealed_of(1, 1, sealed);
    struct capture good = capture_of(1, sealed);
    struct capture c = good;
    c.lineage = 0;
    assert_int_equal(store_capture(b->s, &c), ERR_INVALID);
    c = good;
    c.sealed_len = 0;
    assert_int_equal(store_capture(b->s, &c), ERR_INVALID);
    c = good;
    c.profile = "../work";
    assert_int_equal(store_capture(b->s, &c), ERR_INVALID);
    c = good;
    c.provider = "";
    assert_int_equal(store_capture(b->s, &c), ERR_INVALID);
    c = good;
    c.boot_id = "a boot id of more than thirty-six bytes";
    assert_int_equal(store_capture(b->s, &c), ERR_INVALID);
    c = good;
    c.sealed = large;
    c.sealed_len = STORE_SEALED_MAX + 1;
    assert_int_equal(store_capture(b->s, &c), ERR_TOO_LARGE);
    c = good;
    c.definition = large;
    c.definition_len = STORE_DEFINITION_MAX + 1;
    assert_int_equal(store_capture(b->s, &c), ERR_TOO_LARGE);
    struct lineage_row row;
    lineage_row_init(&row);
    assert_int_equal(store_get_lineage(b->s, 1, &row), ERR_NOT_FOUND);
    c = good;
    c.sealed = large;
    c.sealed_len = STORE_SEALED_MAX;
    c.profile = NULL;
    assert_int_equal(store_capture(b->s, &c), 0);
    assert_int_equal(store_get_lineage(b->s, 1, &row), 0);
    assert_int_equal(row.sealed.len, STORE_SEALED_MAX);
    assert_string_equal(row.wanted_profile, "");
    lineage_row_release(&row);
    free(large);
}

static int last_source(void *ctx, const struct ledger_row *row)
{
    (void)str_copy(ctx, STORE_DETAIL_MAX, row->source);
    return 0;
}

static void a_long_source_is_cut_between_characters(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    char source[STORE_DETAIL_MAX + 40];
    char stored[STORE_DETAIL_MAX] = "";
    sealed_of(1, 1, sealed);
    source[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof(source); i += 2) {
        memcpy(source + i, "\xc3\xa9", 2); /* é */
    }
    source[sizeof(source) - 1] = '\0';
    struct capture c = capture_of(1, sealed);
    c.source = source;
    assert_int_equal(store_capture(b->s, &c), 0);
    assert_int_equal(store_each_ledger(b->s, 1, 0, last_source, stored), 0);
    assert_int_equal(strlen(stored), STORE_DETAIL_MAX - 1);
    assert_true(str_is_utf8(stored, strlen(stored)));
    c.lineage = 2;
    c.source = source + 1; /* the cut now falls into a character */
    assert_int_equal(store_capture(b->s, &c), 0);
    assert_int_equal(store_each_ledger(b->s, 2, 0, last_source, stored), 0);
    assert_int_equal(strlen(stored), STORE_DETAIL_MAX - 2);
    assert_true(str_is_utf8(stored, strlen(stored)));
}

/* Adoption */

struct profiles {
    int n;
    struct profile_row rows[8];
};

static int keep_profile(void *ctx, const struct profile_row *row)
{
    struct profiles *p = ctx;
    assert_true(p->n < (int)ARRAY_LEN(p->rows));
    p->rows[p->n++] = *row;
    return 0;
}

static struct profiles profiles_of(struct store *s)
{
    struct profiles p = {0};
    assert_int_equal(store_each_profile(s, keep_profile, &p), 0);
    return p;
}

static void an_adopted_lineage_has_a_name(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    bench_reopen(b);
    struct profiles p = profiles_of(b->s);
    assert_int_equal(p.n, 1);
    assert_string_equal(p.rows[0].name, "work");
    assert_int_equal(p.rows[0].lineage, 1);
    assert_int_equal(p.rows[0].policy, POLICY_ALWAYS);
    assert_int_equal(p.rows[0].created_wall_ms, NOW_MS);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_LIVE);
    assert_string_equal(row.subject_text, "ada");
    assert_string_equal(row.label, "ada@lab");
    assert_true(fp_equal(row.subject, fp_of(1, 's')));
    assert_string_equal(row.wanted_profile, "");
    lineage_row_release(&row);
}

static void a_name_that_moves_leaves_the_lineage_before_as_it_is(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(put_live(b->s, 2, "work"), 0);
    struct profiles p = profiles_of(b->s);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.rows[0].lineage, 2);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_LIVE);
    assert_sealed(&row, 1);
    lineage_row_release(&row);
    assert_int_equal(put_settlement(b->s, 1, 1), 0); /* its spend in flight is not lost */
    assert_int_equal(store_retire(b->s, 1, "replaced", NOW_MS), 0);
    p = profiles_of(b->s);
    assert_int_equal(p.n, 1); /* the name is another's now */
}

static void adoption_has_its_conditions(void **state)
{
    struct bench *b = *state;
    struct fp subject = fp_of(1, 's');
    char long_subject[STORE_SUBJECT_MAX + 1];
    memset(long_subject, 'x', sizeof(long_subject) - 1);
    long_subject[sizeof(long_subject) - 1] = '\0';
#define ADOPT(lineage, standing, text, profile)                                                    \
    store_adopt(b->s, lineage, standing, subject, text, "", profile, POLICY_NEVER, NOW_MS)
    assert_int_equal(ADOPT(1, STANDING_LIVE, "ada", "work"), ERR_NOT_FOUND);
    assert_int_equal(put_lineage(b->s, 1), 0);
    assert_int_equal(ADOPT(1, STANDING_LIVE, "ada", "no name"), ERR_INVALID);
    assert_int_equal(ADOPT(1, STANDING_DEAD, "ada", "work"), ERR_INVALID);
    assert_int_equal(ADOPT(1, STANDING_QUARANTINED, "ada", "work"), ERR_INVALID);
    assert_int_equal(ADOPT(1, STANDING_LIVE, long_subject, "work"), ERR_TOO_LARGE);
    assert_int_equal(profiles_of(b->s).n, 0);
    assert_int_equal(ADOPT(1, STANDING_QUARANTINED, "ada", NULL), 0);
    assert_int_equal(ADOPT(1, STANDING_LIVE, "ada", "work"), 0); /* claimed */
    assert_int_equal(ADOPT(1, STANDING_LIVE, "ada", "work"), ERR_CONFLICT);
    assert_int_equal(put_lineage(b->s, 2), 0);
    assert_int_equal(ADOPT(2, STANDING_LIVE, "ada", "home"), 0);
    assert_int_equal(store_retire(b->s, 2, "", NOW_MS), 0);
    assert_int_equal(ADOPT(2, STANDING_LIVE, "ada", "home"), ERR_CONFLICT);
#undef ADOPT
}

/* A pair whose access token was over had to be spent before its subject could be asked for. */
static void what_was_spent_before_it_was_proven_can_be_adopted(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 1), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(put_settlement(b->s, 1, 1), 0); /* standing live, not yet adopted */
    struct lineage_row row = row_of(b->s, 1);
    assert_string_equal(row.wanted_profile, "work");
    lineage_row_release(&row);
    assert_int_equal(store_adopt(b->s, 1, STANDING_LIVE, fp_of(1, 's'), "ada", "", "work",
                                 POLICY_ALWAYS, NOW_MS),
                     0);
    assert_int_equal(profiles_of(b->s).n, 1);
}

/* Retirement */

static void a_retired_lineage_keeps_its_history_alone(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(store_alarm(b->s, 1, ALARM_DOUBT, true, "lost", NOW_MS), 0);
    assert_int_equal(store_retire(b->s, 1, "removed", NOW_MS + 5), 0);
    assert_int_equal(store_retire(b->s, 1, "again", NOW_MS + 6), 0);
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_RETIRED);
    assert_int_equal(row.sealed.len, 0);
    assert_int_equal(row.alarms, 0);
    assert_int_equal(row.intent, 0);
    assert_int_equal(row.retired_wall_ms, NOW_MS + 5);
    assert_string_equal(row.retired_why, "removed");
    assert_true(fp_equal(row.pair.refresh, refresh_of(1, 1)));
    lineage_row_release(&row);
    assert_int_equal(profiles_of(b->s).n, 0);
    assert_int_equal(store_retire(b->s, 99, "", NOW_MS), ERR_NOT_FOUND);
    assert_int_equal(put_intent(b->s, 1, 1), ERR_CONFLICT);
    assert_int_equal(put_settlement(b->s, 1, 1), ERR_CONFLICT);
}

/* Iteration */

struct seen_rows {
    int n;
    uint64_t ids[8];
    int stop_at;
};

static int see(void *ctx, const struct lineage_row *row)
{
    struct seen_rows *seen = ctx;
    seen->ids[seen->n++] = row->id;
    return seen->n == seen->stop_at ? -1000 : 0;
}

static int see_id(void *ctx, uint64_t lineage)
{
    struct seen_rows *seen = ctx;
    seen->ids[seen->n++] = lineage;
    return seen->n == seen->stop_at ? -1000 : 0;
}

static void lineages_are_given_with_and_without_the_retired(void **state)
{
    struct bench *b = *state;
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(put_lineage(b->s, id), 0);
    }
    assert_int_equal(store_retire(b->s, 2, "", NOW_MS), 0);
    struct seen_rows all = {0};
    struct seen_rows open = {0};
    struct seen_rows stopped = {.stop_at = 1};
    assert_int_equal(store_each_lineage(b->s, true, see, &all), 0);
    assert_int_equal(store_each_lineage(b->s, false, see, &open), 0);
    assert_int_equal(store_each_lineage(b->s, true, see, &stopped), -1000);
    assert_int_equal(all.n, 3);
    assert_int_equal(open.n, 2);
    assert_int_equal(open.ids[1], 3);
    assert_int_equal(stopped.n, 1);
    assert_int_equal(put_lineage(b->s, 4), 0); /* a stopped walk holds nothing */
}

/* Names */

static void a_name_remembers_its_lineages_and_takes_them_along(void **state)
{
    struct bench *b = *state;
    struct seen_rows work = {0};
    struct seen_rows job = {0};
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "work"), 0);
    assert_int_equal(put_live(b->s, 3, "home"), 0);
    assert_int_equal(store_rename(b->s, "work", "job"), 0);
    assert_int_equal(store_each_profile_lineage(b->s, "work", see_id, &work), 0);
    assert_int_equal(store_each_profile_lineage(b->s, "job", see_id, &job), 0);
    assert_int_equal(work.n, 0);
    assert_int_equal(job.n, 2);
    assert_int_equal(job.ids[0], 2); /* newest first */
    assert_int_equal(job.ids[1], 1);
    assert_int_equal(store_retire(b->s, 2, "", NOW_MS), 0);
    job = (struct seen_rows){0};
    assert_int_equal(store_each_profile_lineage(b->s, "job", see_id, &job), 0);
    assert_int_equal(job.n, 2); /* the name is gone, its history is not */
    job = (struct seen_rows){.stop_at = 1};
    assert_int_equal(store_each_profile_lineage(b->s, "job", see_id, &job), -1000);
}

static void renaming_has_its_conditions(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(store_rename(b->s, "work", "home"), ERR_EXISTS);
    assert_int_equal(store_rename(b->s, "none", "job"), ERR_NOT_FOUND);
    assert_int_equal(store_rename(b->s, "work", "a/b"), ERR_INVALID);
    assert_int_equal(store_rename(b->s, "work", "work"), 0);
    struct profiles p = profiles_of(b->s);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.rows[0].name, "home");
    assert_string_equal(p.rows[1].name, "work");
}

static void policy_label_and_holding_are_set(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_lineage(b->s, 2), 0); /* to continue it */
    assert_int_equal(store_set_policy(b->s, "work", POLICY_STANDBY), 0);
    assert_int_equal(store_set_policy(b->s, "none", POLICY_STANDBY), ERR_NOT_FOUND);
    assert_int_equal(store_set_label(b->s, 1, "ada@new"), 0);
    assert_int_equal(store_set_label(b->s, 9, "x"), ERR_NOT_FOUND);
    assert_int_equal(store_set_held(b->s, 1, 12345), 0);
    assert_int_equal(store_set_held(b->s, 9, 1), ERR_NOT_FOUND);
    bench_reopen(b);
    assert_int_equal(profiles_of(b->s).rows[0].policy, POLICY_STANDBY);
    struct lineage_row row = row_of(b->s, 2);
    assert_int_equal(row.wanted_policy, POLICY_STANDBY);
    lineage_row_release(&row);
    row = row_of(b->s, 1);
    assert_string_equal(row.label, "ada@new");
    assert_int_equal(row.held_until_wall_ms, 12345);
    lineage_row_release(&row);
}

/* Alarms */

struct alarms {
    int n;
    struct alarm_row first;
    struct alarm_row last;
};

static int keep_alarm(void *ctx, const struct alarm_row *row)
{
    struct alarms *a = ctx;
    if (a->n++ == 0) {
        a->first = *row;
    }
    a->last = *row;
    return 0;
}

static struct alarms alarms_of(struct store *s, bool with_cleared)
{
    struct alarms a = {0};
    assert_int_equal(store_each_alarm(s, with_cleared, keep_alarm, &a), 0);
    return a;
}

static void an_alarm_stands_from_the_first_time_until_it_is_cleared(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 1), 0);
    assert_int_equal(store_alarm(b->s, 1, ALARM_DEAD, true, "first", 100), 0);
    assert_int_equal(store_alarm(b->s, 1, ALARM_DEAD, true, "second", 200), 0);
    assert_int_equal(store_alarm(b->s, 1, ALARM_DOUBT, true, NULL, 300), 0);
    bench_reopen(b);
    struct alarms a = alarms_of(b->s, false);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.first.lineage, 1);
    assert_int_equal(a.first.alarm, ALARM_DEAD);
    assert_int_equal(a.first.raised_wall_ms, 100);
    assert_int_equal(a.first.cleared_wall_ms, 0);
    assert_string_equal(a.first.detail, "first");
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.alarms, 1U << ALARM_DEAD | 1U << ALARM_DOUBT);
    lineage_row_release(&row);

    assert_int_equal(store_alarm(b->s, 1, ALARM_DEAD, false, NULL, 400), 0);
    assert_int_equal(store_alarm(b->s, 1, ALARM_DEAD, false, NULL, 500), 0);
    row = row_of(b->s, 1);
    assert_int_equal(row.alarms, 1U << ALARM_DOUBT);
    lineage_row_release(&row);
    assert_int_equal(alarms_of(b->s, false).n, 1);
    a = alarms_of(b->s, true);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.first.cleared_wall_ms, 400);
    assert_int_equal(store_alarm(b->s, 1, ALARM_DEAD, true, "anew", 600), 0);
    assert_int_equal(alarms_of(b->s, true).n, 3);
}

static void the_stores_own_alarms_have_no_lineage(void **state)
{
    struct bench *b = *state;
    assert_int_equal(store_alarm(b->s, 0, ALARM_STORE, true, "disk", 100), 0);
    assert_int_equal(store_alarm(b->s, 0, ALARM_STORE, true, "disk", 200), 0);
    struct alarms a = alarms_of(b->s, false);
    assert_int_equal(a.n, 1);
    assert_int_equal(a.first.lineage, 0);
    assert_int_equal(store_alarm(b->s, 0, ALARM_STORE, false, "", 300), 0);
    assert_int_equal(alarms_of(b->s, false).n, 0);
    assert_int_equal(store_alarm(b->s, 9, ALARM_DEAD, true, "", 100), ERR_NOT_FOUND);
}

static void cleared_alarms_are_bounded_and_open_ones_stay(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 1), 0);
    assert_int_equal(sql_script(b->s, "PRAGMA synchronous = OFF"), 0); /* speed alone */
    assert_int_equal(store_alarm(b->s, 1, ALARM_DEAD, true, "old but open", 1), 0);
    for (int i = 0; i < STORE_ALARMS_MAX + 20; i++) {
        assert_int_equal(store_alarm(b->s, 1, ALARM_DOUBT, true, "", 10 + i), 0);
        assert_int_equal(store_alarm(b->s, 1, ALARM_DOUBT, false, "", 10 + i), 0);
    }
    struct alarms a = alarms_of(b->s, true);
    assert_int_equal(a.n, STORE_ALARMS_MAX + 1);
    assert_string_equal(a.first.detail, "old but open");
    assert_int_equal(a.last.raised_wall_ms, 10 + STORE_ALARMS_MAX + 19);
}

/* Events */

struct events {
    int n;
    uint64_t first;
    uint64_t last;
    struct event_row row;
};

static int keep_event(void *ctx, const struct event_row *row)
{
    struct events *e = ctx;
    if (e->n++ == 0) {
        e->first = row->id;
    }
    e->last = row->id;
    e->row = *row;
    return 0;
}

static void events_come_back_in_order_and_in_pages(void **state)
{
    struct bench *b = *state;
    uint64_t id = 0;
    struct event_row row = {.wall_ms = 5, .lineage = 7, .profile = "work", .kind = "renewed"};
    (void)str_copy(row.detail, sizeof(row.detail), "generation 2");
    for (int i = 0; i < 5; i++) {
        uint64_t before = id;
        assert_int_equal(store_event_add(b->s, &row, &id), 0);
        assert_true(id > before);
    }
    bench_reopen(b);
    struct events page = {0};
    assert_int_equal(store_each_event(b->s, id - 4, 3, keep_event, &page), 0);
    assert_int_equal(page.n, 3);
    assert_int_equal(page.first, id - 3);
    assert_int_equal(page.last, id - 1);
    assert_int_equal(page.row.wall_ms, 5);
    assert_int_equal(page.row.lineage, 7);
    assert_string_equal(page.row.profile, "work");
    assert_string_equal(page.row.kind, "renewed");
    assert_string_equal(page.row.detail, "generation 2");
    page = (struct events){0};
    assert_int_equal(store_each_event(b->s, 0, 0, keep_event, &page), 0);
    assert_int_equal(page.n, 5);
    page = (struct events){0};
    assert_int_equal(store_each_event(b->s, id, 10, keep_event, &page), 0);
    assert_int_equal(page.n, 0);
}

static void events_are_bounded_and_ids_never_come_again(void **state)
{
    struct bench *b = *state;
    uint64_t id = 0;
    struct event_row row = {.wall_ms = 5, .kind = "x"};
    assert_int_equal(sql_script(b->s, "PRAGMA synchronous = OFF"), 0); /* speed alone */
    for (int i = 0; i < STORE_EVENTS_MAX + 3; i++) {
        assert_int_equal(store_event_add(b->s, &row, &id), 0);
    }
    struct events all = {0};
    assert_int_equal(store_each_event(b->s, 0, 0, keep_event, &all), 0);
    assert_int_equal(all.n, STORE_EVENTS_MAX);
    assert_int_equal(all.last, id);
    assert_int_equal(all.first, id - STORE_EVENTS_MAX + 1);
}

/* Named values */

static void named_values_are_kept_and_replaced(void **state)
{
    struct bench *b = *state;
    struct buf out;
    char *large = calloc(1, STORE_META_MAX + 1);
    buf_init(&out, STORE_META_MAX);
    assert_int_equal(store_meta_get(b->s, "fp-key", &out), ERR_NOT_FOUND);
    assert_int_equal(store_meta_set(b->s, "fp-key", "one\0two", 7), 0);
    bench_reopen(b);
    assert_int_equal(store_meta_get(b->s, "fp-key", &out), 0);
    assert_int_equal(out.len, 7);
    assert_memory_equal(out.bytes, "one\0two", 7);
    assert_int_equal(store_meta_set(b->s, "fp-key", "", 0), 0);
    assert_int_equal(store_meta_get(b->s, "fp-key", &out), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(store_meta_set(b->s, "", "x", 1), ERR_INVALID);
    assert_int_equal(store_meta_set(b->s, "k", large, STORE_META_MAX + 1), ERR_TOO_LARGE);
    assert_int_equal(store_meta_set(b->s, "k", large, STORE_META_MAX), 0);
    buf_release(&out);
    free(large);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(a_captured_lineage_is_read_back_whole),
        STORY(a_static_pair_has_no_refresh_token),
        STORY(an_id_is_taken_once),
        STORY(a_capture_that_breaks_a_rule_is_refused),
        STORY(a_long_source_is_cut_between_characters),
        STORY(an_adopted_lineage_has_a_name),
        STORY(a_name_that_moves_leaves_the_lineage_before_as_it_is),
        STORY(adoption_has_its_conditions),
        STORY(what_was_spent_before_it_was_proven_can_be_adopted),
        STORY(a_retired_lineage_keeps_its_history_alone),
        STORY(lineages_are_given_with_and_without_the_retired),
        STORY(a_name_remembers_its_lineages_and_takes_them_along),
        STORY(renaming_has_its_conditions),
        STORY(policy_label_and_holding_are_set),
        STORY(an_alarm_stands_from_the_first_time_until_it_is_cleared),
        STORY(the_stores_own_alarms_have_no_lineage),
        STORY(cleared_alarms_are_bounded_and_open_ones_stay),
        STORY(events_come_back_in_order_and_in_pages),
        STORY(events_are_bounded_and_ids_never_come_again),
        STORY(named_values_are_kept_and_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Waiters: many callers, one spend; what each is told, and when.
 */
#include "core_story.h"

static struct story *a_live_one(enum policy policy, int64_t life_ms)
{
    struct story *st = story_new();
    expect(st, loaded(st, policy, life_ms), "");
    return st;
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        n++;
    return n;
}

static void enough_life_left_is_answered_in_the_same_step(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    expect(st, want(st, 1, -1), "answer(1,token)");
    expect(st, want(st, 2, 30 * MINUTE_MS), "answer(2,token)");
    story_free(st);
}

static void many_callers_cause_one_spend(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    later(st, 2 * HOUR_MS);
    for (int i = 1; i <= 64; i++)
        expect(st, want(st, i, -1), "");
    expect(st, timer(), "lease");
    for (int i = 65; i <= 100; i++)
        expect(st, i % 2 ? want(st, i, 10 * MINUTE_MS) : renew(st, i), "");
    present(st, 1, false);
    expect(st, granted(st, 2, HOUR_MS), "settle(g2,live,spent)");
    tell(st, of_intent(st, EV_SETTLED));
    assert_int_equal(count(st->said, ",token)"), 100);
    tell(st, timer());
    assert_string_equal(st->said, "");
    story_free(st);
}

static void sixteen_renewals_in_a_burst_are_one(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    expect(st, renew(st, 1), "");
    tell(st, timer());
    present(st, 1, false);
    tell(st, granted(st, 2, HOUR_MS));
    expect(st, of_intent(st, EV_SETTLED), "unlease answer(1,token)");
    later(st, 500);
    expect(st, renew(st, 2), "answer(2,token)"); /* came too late for the spend, not by much */
    later(st, 2 * SECOND_MS);
    expect(st, renew(st, 3), "");
    story_free(st);
}

static void a_wish_for_more_life_than_tokens_have_is_refused_not_spent_on(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    later(st, 1);
    expect(st, want(st, 1, HOUR_MS), "answer(1,wish-too-long)");
    assert_true(st->out.list[0].limit_ms == HOUR_MS);
    expect(st, timer(), "");
    story_free(st);
}

static void tokens_that_come_shorter_than_before_do_not_make_a_loop(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    later(st, 20 * MINUTE_MS);
    expect(st, want(st, 1, 50 * MINUTE_MS), "");
    tell(st, timer());
    present(st, 1, false);
    tell(st, granted(st, 2, 10 * MINUTE_MS));
    expect(st, of_intent(st, EV_SETTLED), "unlease answer(1,wish-too-long)");
    expect(st, timer(), "");
    story_free(st);
}

static void comfort_is_rationed_where_it_costs_others_their_token(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    tell(st, loaded(st, POLICY_ALWAYS, HOUR_MS));
    expect(st, renew(st, 1), "");
    expect(st, want(st, 2, -1), "answer(2,token)"); /* not yet under way */
    expect(st, timer(), "lease");
    expect(st, want(st, 3, -1), ""); /* any moment now the old one dies: wait for the new */
    present(st, 1, false);
    tell(st, granted(st, 2, HOUR_MS));
    tell(st, of_intent(st, EV_SETTLED));
    assert_int_equal(count(st->said, ",token)"), 2);
    later(st, MINUTE_MS);
    expect(st, renew(st, 4), "answer(4,spend-capped)");
    assert_true(st->out.list[0].retry_after_ms > 0);
    later(st, 15 * MINUTE_MS);
    expect(st, renew(st, 5), "");
    story_free(st);
}

static void a_spend_that_changed_nothing_is_not_rationed(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    expect(st, loaded(st, POLICY_ALWAYS, HOUR_MS), "");
    later(st, MINUTE_MS);
    expect(st, renew(st, 1), "");
    expect(st, timer(), "lease");
    present(st, 1, false);
    tell(st, answered(st, VERDICT_UNSENT));
    expect(st, of_intent(st, EV_CLOSED), "unlease"); /* it waits for the next try */
    until_due(st);
    expect(st, timer(), "lease");
    present(st, 1, false);
    tell(st, answered(st, VERDICT_DOUBT));
    expect(st, of_intent(st, EV_CLOSED), "unlease alarm-raise(in-doubt)");
    until_due(st);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_NAMED, 0), "answer(1,in-doubt)"); /* not that patient */
    until_due(st);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_NAMED, 0), "resolve alarm-clear(in-doubt)");
    expect(st, renew(st, 2), "");
    expect(st, timer(), "lease");
    present(st, 1, false);
    story_free(st);
}

static void patience_ends_with_the_truth(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    later(st, 2 * HOUR_MS);
    expect(st, want(st, 1, -1), "");
    tell(st, timer());
    present(st, 1, false);
    assert_int_equal(until_due(st), 60 * SECOND_MS);
    expect(st, timer(), "answer(1,timed-out) alarm-raise(unreachable)");
    story_free(st);
}

static void while_backing_off_nobody_waits_in_vain(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    later(st, 58 * MINUTE_MS);
    expect(st, want(st, 1, 30 * MINUTE_MS), "");
    tell(st, timer());
    present(st, 1, false);
    struct event ev = answered(st, VERDICT_THROTTLED);
    ev.retry_after_ms = 5 * MINUTE_MS;
    tell(st, ev);
    expect(st, of_intent(st, EV_CLOSED), "unlease answer(1,throttled)");
    assert_true(st->out.list[1].retry_after_ms >= 5 * MINUTE_MS);
    expect(st, want(st, 2, -1), "answer(2,token)"); /* what there is, works */
    later(st, 2 * MINUTE_MS);
    expect(st, want(st, 3, -1), "answer(3,throttled)");
    story_free(st);
}

static void who_may_not_spend_is_told_so_also_while_the_time_is_asked(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_ALWAYS, HOUR_MS));
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    struct event over = granted(st, 2, MINUTE_MS); /* when it came, by our clock alone */
    over.answer.pair.expires_wall_ms = st->now.wall_ms - 1;
    over.answer.expires_boot_ms = 0;
    tell(st, over);
    expect(st, of_intent(st, EV_SETTLED), "unlease alarm-raise(unreachable) ask-identity");
    struct event ev = {.kind = EV_POLICY};
    ev.policy = POLICY_NEVER;
    tell(st, ev);
    ev = want(st, 1, -1);
    ev.want.deadline_boot_ms = st->now.boot_ms;
    expect(st, ev, "answer(1,policy-forbids)");
    story_free(st);
}

static void a_caller_who_leaves_is_forgotten(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    later(st, 2 * HOUR_MS);
    expect(st, want(st, 1, -1), "");
    tell(st, timer());
    present(st, 1, false);
    expect(st, (struct event){.kind = EV_UNWANT, .waiter = 1}, "");
    tell(st, granted(st, 2, HOUR_MS));
    expect(st, of_intent(st, EV_SETTLED), "unlease");
    story_free(st);
}

static void queues_are_bounded(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    later(st, 2 * HOUR_MS);
    for (int i = 1; i <= WAITERS_PER_LINEAGE_MAX; i++)
        expect(st, want(st, i, -1), "");
    expect(st, want(st, 900, -1), "answer(900,busy)");
    story_free(st);
}

static void one_slow_profile_never_delays_another(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    struct event other = loaded(st, POLICY_ALWAYS, 10 * HOUR_MS);
    other.lineage = 2;
    tell(st, other);
    later(st, 2 * HOUR_MS);
    expect(st, want(st, 1, -1), "");
    tell(st, timer());
    present(st, 1, false); /* … and its server says nothing */
    struct event ev = want(st, 2, -1);
    ev.lineage = 2;
    expect(st, ev, "answer(2,token)");
    story_free(st);
}

static void a_static_pair_is_never_due_and_its_end_is_alarmed_once(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, 365 * DAY_MS);
    ev.loaded.pair.refresh = (struct fp){{0}};
    tell(st, ev);
    expect(st, renew(st, 1), "answer(1,wish-too-long)");
    assert_int_equal(until_due(st), 358 * DAY_MS);
    expect(st, timer(), "alarm-raise(expiring)");
    assert_true(warden_deadline(st->w) == TIME_NEVER);
    expect(st, want(st, 2, -1), "answer(2,token)");
    later(st, 8 * DAY_MS);
    expect(st, want(st, 3, -1), "answer(3,pair-expired)");
    story_free(st);
}

static void the_end_of_the_login_is_alarmed_ahead(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_NEVER, HOUR_MS);
    ev.loaded.pair.login_deadline_wall_ms = WALL0 + 20 * DAY_MS;
    tell(st, ev);
    assert_int_equal(until_due(st), 17 * DAY_MS);
    expect(st, timer(), "alarm-raise(expiring)");
    story_free(st);
}

static void an_end_that_is_told_of_and_was_replaced_before_a_restart_is_told_of_no_more(
    void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_NEVER, HOUR_MS);
    ev.loaded.alarms = 1u << ALARM_EXPIRING; /* of a pair before this one */
    tell(st, ev);
    assert_int_equal(until_due(st), 0);
    expect(st, timer(), "alarm-clear(expiring)");
    assert_true(warden_deadline(st->w) == TIME_NEVER);
    story_free(st);
}

static void strangers_are_told_that_there_is_no_such_lineage(void **state)
{
    (void)state;
    struct story *st = story_new();
    expect(st, want(st, 1, -1), "answer(1,profile-unknown)");
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 2}, "answer(2,profile-unknown)");
    expect(st, (struct event){.kind = EV_SETTLED}, "");
    story_free(st);
}

static void a_waiter_causes_one_spend_and_no_second(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_ALWAYS, HOUR_MS));
    later(st, 20 * MINUTE_MS);
    expect(st, want(st, 1, 50 * MINUTE_MS), "");
    expect(st, timer(), "lease");
    present(st, 1, false);
    struct event poor = granted(st, 2, HOUR_MS); /* half of its life is over when it comes */
    poor.answer.expires_boot_ms = st->now.boot_ms + 30 * MINUTE_MS;
    tell(st, poor);
    tell(st, of_intent(st, EV_SETTLED));
    assert_non_null(strstr(st->said, "answer(1,"));
    tell(st, timer());
    assert_null(strstr(st->said, "lease"));
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enough_life_left_is_answered_in_the_same_step),
        cmocka_unit_test(many_callers_cause_one_spend),
        cmocka_unit_test(sixteen_renewals_in_a_burst_are_one),
        cmocka_unit_test(a_wish_for_more_life_than_tokens_have_is_refused_not_spent_on),
        cmocka_unit_test(tokens_that_come_shorter_than_before_do_not_make_a_loop),
        cmocka_unit_test(comfort_is_rationed_where_it_costs_others_their_token),
        cmocka_unit_test(a_spend_that_changed_nothing_is_not_rationed),
        cmocka_unit_test(patience_ends_with_the_truth),
        cmocka_unit_test(while_backing_off_nobody_waits_in_vain),
        cmocka_unit_test(who_may_not_spend_is_told_so_also_while_the_time_is_asked),
        cmocka_unit_test(a_caller_who_leaves_is_forgotten),
        cmocka_unit_test(queues_are_bounded),
        cmocka_unit_test(one_slow_profile_never_delays_another),
        cmocka_unit_test(a_static_pair_is_never_due_and_its_end_is_alarmed_once),
        cmocka_unit_test(the_end_of_the_login_is_alarmed_ahead),
        cmocka_unit_test(
            an_end_that_is_told_of_and_was_replaced_before_a_restart_is_told_of_no_more),
        cmocka_unit_test(strangers_are_told_that_there_is_no_such_lineage),
        cmocka_unit_test(a_waiter_causes_one_spend_and_no_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * In doubt: what is done when nobody knows whether a refresh token was spent. At most one more
 * presentation, as late as that costs nothing, and never across a restart twice.
 */
#include "core_story.h"

/* A live lineage whose spend's answer was lost, `left_ms` before its access token's end. */
static void lose_an_answer(struct story *st, int64_t left_ms)
{
    expect(st, loaded(st, POLICY_ALWAYS, HOUR_MS), "");
    later(st, HOUR_MS - left_ms);
    expect(st, want(st, 90, left_ms + SECOND_MS), "");
    tell(st, timer());
    present(st, 1, false);
    expect(st, answered(st, VERDICT_DOUBT), "close-intent(in-doubt,in-doubt)");
    tell(st, of_intent(st, EV_CLOSED));
    assert_non_null(strstr(st->said, "unlease alarm-raise(in-doubt)"));
    expect(st, (struct event){.kind = EV_UNWANT, .waiter = 90}, "");
}

static void the_old_access_token_is_lived_on_to_its_end(void **state)
{
    (void)state;
    struct story *st = story_new();
    lose_an_answer(st, 10 * MINUTE_MS);
    expect(st, want(st, 1, -1), "answer(1,token)");
    assert_int_equal(until_due(st), 10 * MINUTE_MS);
    expect(st, want(st, 2, -1), "");
    expect(st, timer(), "lease");
    present(st, 1, true);
    expect(st, granted(st, 2, HOUR_MS), "settle(g2,live,spent)");
    expect(st, of_intent(st, EV_SETTLED), "unlease alarm-clear(in-doubt) answer(2,token)");
    story_free(st);
}

static void refused_the_second_time_it_is_dead(void **state)
{
    (void)state;
    struct story *st = story_new();
    lose_an_answer(st, 10 * MINUTE_MS);
    until_due(st);
    expect(st, timer(), "lease");
    present(st, 1, true);
    expect(st, answered(st, VERDICT_REFUSED), "close-intent(refused,dead,replayed)");
    expect(st, of_intent(st, EV_CLOSED), "unlease alarm-clear(in-doubt) alarm-raise(dead)");
    story_free(st);
}

static void lost_twice_it_is_not_presented_a_third_time(void **state)
{
    (void)state;
    struct story *st = story_new();
    lose_an_answer(st, 10 * MINUTE_MS);
    until_due(st);
    expect(st, timer(), "lease");
    present(st, 1, true);
    expect(st, answered(st, VERDICT_DOUBT), "close-intent(in-doubt,dead,replayed)");
    expect(st, of_intent(st, EV_CLOSED), "unlease alarm-clear(in-doubt) alarm-raise(dead)");
    assert_true(warden_deadline(st->w) == TIME_NEVER);
    story_free(st);
}

static void a_presentation_that_never_left_is_not_counted(void **state)
{
    (void)state;
    struct story *st = story_new();
    lose_an_answer(st, 10 * MINUTE_MS);
    until_due(st);
    const enum verdict harmless[] = {VERDICT_UNSENT, VERDICT_THROTTLED, VERDICT_UNCOMMITTED};
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++) {
        expect(st, timer(), "lease");
        present(st, 1, true);
        tell(st, answered(st, harmless[i]));
        assert_non_null(strstr(st->said, ",in-doubt)"));
        expect(st, of_intent(st, EV_CLOSED), "unlease");
        assert_true(until_due(st) > 0);
    }
    expect(st, timer(), "lease");
    story_free(st);
}

static void within_a_grace_it_is_presented_soon(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.reuse_grace_ms = 30 * SECOND_MS;
    lose_an_answer(st, 10 * MINUTE_MS);
    assert_true(until_due(st) <= 7500);
    expect(st, timer(), "lease");
    present(st, 1, true);
    story_free(st);
}

static void a_grace_counts_from_the_presentation(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.reuse_grace_ms = 30 * SECOND_MS;
    expect(st, loaded(st, POLICY_ALWAYS, HOUR_MS), "");
    later(st, 50 * MINUTE_MS);
    tell(st, want(st, 90, 11 * MINUTE_MS));
    tell(st, timer());
    present(st, 1, false);
    later(st, 29 * SECOND_MS); /* the answer was waited for nearly as long */
    tell(st, answered(st, VERDICT_DOUBT));
    tell(st, of_intent(st, EV_CLOSED));
    assert_int_equal(until_due(st), 0);
    expect(st, timer(), "lease");
    present(st, 1, true);
    story_free(st);
}

static void once_a_grace_is_over_the_old_access_token_is_lived_on(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.reuse_grace_ms = 30 * SECOND_MS;
    lose_an_answer(st, 10 * MINUTE_MS);
    later(st, 31 * SECOND_MS); /* asleep while it could have been used */
    expect(st, timer(), "");
    assert_int_equal(until_due(st), 10 * MINUTE_MS - 31 * SECOND_MS);
    expect(st, timer(), "lease");
    present(st, 1, true);
    story_free(st);
}

/* The intent was open when the daemon died; nobody started another one for a while. */
static void a_grace_that_ends_before_the_token_leaves_is_not_used(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.reuse_grace_ms = 30 * SECOND_MS;
    lose_an_answer(st, 10 * MINUTE_MS);
    until_due(st);
    expect(st, timer(), "lease");
    expect(st, leased(st), "store-intent(g1,replay)");
    later(st, 40 * SECOND_MS); /* a slow disk */
    expect(st, of_intent(st, EV_INTENT_DURABLE), "close-intent(unsent,in-doubt)");
    expect(st, of_intent(st, EV_CLOSED), "unlease");
    assert_true(until_due(st) > 8 * MINUTE_MS); /* to the end of the old access token */
    expect(st, timer(), "lease");
    present(st, 1, true);
    story_free(st);
}

static void a_replay_that_never_left_does_not_prolong_the_grace(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.reuse_grace_ms = 30 * SECOND_MS;
    lose_an_answer(st, 10 * MINUTE_MS);
    until_due(st);
    expect(st, timer(), "lease");
    present(st, 1, true);
    later(st, 29 * SECOND_MS);
    tell(st, answered(st, VERDICT_UNSENT));
    tell(st, of_intent(st, EV_CLOSED));
    assert_true(until_due(st) > 8 * MINUTE_MS);
    story_free(st);
}

static void a_grace_that_ended_while_nothing_ran_is_over(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct story *st = story_new();
        st->rules.reuse_grace_ms = 30 * SECOND_MS;
        struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
        ev.loaded.intent = st->intent = 5;
        expect(st, ev, "");
        ev = answered(st, VERDICT_DOUBT);
        ev.answer.recovered = true;
        ev.answer.begun_boot_ms = BOOT0 - (over ? MINUTE_MS : SECOND_MS);
        tell(st, ev);
        tell(st, of_intent(st, EV_CLOSED));
        assert_int_equal(until_due(st), over ? HOUR_MS : 2 * SECOND_MS);
        story_free(st);

        st = story_new();
        st->rules.reuse_grace_ms = 30 * SECOND_MS;
        ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
        ev.loaded.standing = STANDING_DOUBT;
        ev.loaded.doubt_since_wall_ms = WALL0 - (over ? MINUTE_MS : SECOND_MS);
        tell(st, ev);
        /* When it was presented is not known: that may have been long before the doubt. */
        assert_int_equal(until_due(st), HOUR_MS);
        story_free(st);
    }
}

static void a_token_that_is_not_single_use_is_simply_presented_again(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.rotates = false;
    tell(st, loaded(st, POLICY_ALWAYS, HOUR_MS));
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    expect(st, answered(st, VERDICT_DOUBT), "close-intent(in-doubt,live)");
    expect(st, of_intent(st, EV_CLOSED), "unlease");
    story_free(st);
}

static void an_old_token_that_still_works_proves_that_nothing_was_committed(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    lose_an_answer(st, 4 * MINUTE_MS); /* inside the window: a spend is due */
    expect(st, want(st, 1, -1), "");   /* the old one may be dead: nobody gets it unproven */
    assert_int_equal(until_due(st), 5 * SECOND_MS);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_NAMED, 0), "answer(1,token)"); /* so far */
    /* a server that answers late may commit late: asked once more when that is past */
    assert_int_equal(until_due(st), 55 * SECOND_MS);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_NAMED, 0), "resolve alarm-clear(in-doubt)");
    expect(st, timer(), "lease");
    present(st, 1, false); /* not the one more: that is still unused */
    expect(st, answered(st, VERDICT_DOUBT), "close-intent(in-doubt,in-doubt)");
    story_free(st);
}

static void a_commit_that_comes_late_is_noticed_before_the_next_presentation(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    lose_an_answer(st, 4 * MINUTE_MS);
    until_due(st);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_NAMED, 0), "");
    until_due(st);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_REVOKED, 0), "");
    expect(st, timer(), "lease");
    present(st, 1, true); /* the one more, and counted */
    story_free(st);
}

static void with_too_little_life_for_a_late_commit_the_one_more_is_used(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    lose_an_answer(st, 30 * SECOND_MS);
    until_due(st);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_NAMED, 0), "");
    assert_int_equal(until_due(st), 25 * SECOND_MS); /* its end, and no probe before */
    expect(st, timer(), "lease");
    present(st, 1, true);
    story_free(st);
}

static void an_old_token_that_is_dead_leaves_the_one_more_presentation(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    lose_an_answer(st, 30 * MINUTE_MS);
    until_due(st);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_REVOKED, 0), "");
    expect(st, timer(), "lease");
    present(st, 1, true);
    story_free(st);
}

static void a_probe_without_an_answer_is_tried_again_then_the_end_is_awaited(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    lose_an_answer(st, 5 * MINUTE_MS);
    int probes = 0;
    for (;;) {
        until_due(st);
        tell(st, timer());
        if (strcmp(st->said, "probe") != 0)
            break;
        probes++;
        tell(st, named(EV_PROBED, IDENTITY_UNANSWERED, 0));
    }
    assert_string_equal(st->said, "lease");
    assert_true(probes >= 2 && probes < 40);
    assert_true(st->now.boot_ms >= BOOT0 + HOUR_MS);
    present(st, 1, true);
    story_free(st);
}

static void a_caller_who_cannot_be_served_in_doubt_is_told_so(void **state)
{
    (void)state;
    struct story *st = story_new();
    lose_an_answer(st, 10 * MINUTE_MS);
    expect(st, want(st, 1, 20 * MINUTE_MS), "answer(1,in-doubt)");
    later(st, 9 * MINUTE_MS + 55 * SECOND_MS);
    expect(st, want(st, 2, 20 * MINUTE_MS), ""); /* the end is near: waits for what comes */
    story_free(st);
}

static void doubt_survives_a_restart_and_so_does_the_count(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.standing = STANDING_DOUBT;
    ev.loaded.doubt_since_wall_ms = WALL0 - MINUTE_MS;
    ev.loaded.alarms = 1u << ALARM_DOUBT;
    expect(st, ev, ""); /* raised before: not again */
    assert_int_equal(until_due(st), HOUR_MS);
    expect(st, timer(), "lease");
    present(st, 1, true);
    story_free(st);

    st = story_new();
    ev.loaded.replayed = true;
    expect(st, ev, "alarm-clear(in-doubt) alarm-raise(dead)");
    story_free(st);
}

static void a_crash_during_the_replay_does_not_give_another(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.standing = STANDING_DOUBT;
    ev.loaded.alarms = 1u << ALARM_DOUBT;
    ev.loaded.intent = st->intent = 5;
    ev.loaded.intent_is_replay = true;
    expect(st, ev, "");
    expect(st, answered(st, VERDICT_DOUBT), "close-intent(in-doubt,dead,replayed)");
    story_free(st);
}

static void a_restored_store_puts_everything_single_use_in_doubt(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.restored = true;
    expect(st, ev, "alarm-raise(in-doubt) alarm-raise(restored)");
    expect(st, want(st, 1, -1), "answer(1,token)");
    assert_int_equal(until_due(st), HOUR_MS);
    expect(st, timer(), "lease");
    present(st, 1, true);
    story_free(st);

    st = story_new();
    ev.loaded.rules.rotates = false;
    expect(st, ev, "");
    story_free(st);

    st = story_new();
    ev.loaded.rules.rotates = true;
    ev.loaded.pair.refresh = (struct fp){{0}};
    expect(st, ev, "");
    story_free(st);
}

/* Whatever it is taken for since: what a run that the copy knows nothing of has sent may still be
 * under way. */
static void nothing_is_spent_before_what_a_forgotten_run_sent_has_run_out(void **state)
{
    (void)state;
    static const struct {
        int64_t boot_ms, wall_ms; /* ago; < 0: not told */
        int64_t wait_ms;
    } cases[] = {{10 * SECOND_MS, HOUR_MS, 50 * SECOND_MS}, /* within a boot no clock moves it */
                 {-1, HOUR_MS, 60 * SECOND_MS},
                 {-1, -HOUR_MS, 60 * SECOND_MS}, /* the clock was set back */
                 {-1, 60 * DAY_MS, 0},
                 {-1, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct story *st = story_new();
        struct event ev = loaded(st, POLICY_ALWAYS, SECOND_MS);
        st->now.boot_ms += HOUR_MS;
        st->now.wall_ms += HOUR_MS;
        if (cases[i].boot_ms >= 0)
            ev.loaded.restored_boot_ms = st->now.boot_ms - cases[i].boot_ms;
        if (cases[i].wall_ms != 0)
            ev.loaded.restored_wall_ms = st->now.wall_ms - cases[i].wall_ms;
        tell(st, ev);
        tell(st, named(EV_IDENTITY, IDENTITY_EXPIRED, 0));
        int64_t since_boot_ms = st->now.boot_ms;
        if (cases[i].wait_ms > 0)
            until_due(st);
        assert_int_equal(st->now.boot_ms - since_boot_ms, cases[i].wait_ms);
        expect(st, timer(), "lease");
        story_free(st);
    }
}

static void a_restored_copy_that_proves_current_is_live_again_without_a_spend(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    struct event ev = loaded(st, POLICY_NEVER, HOUR_MS);
    ev.loaded.restored = true;
    expect(st, ev, "alarm-raise(in-doubt) alarm-raise(restored)");
    until_due(st);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_NAMED, 0), ""); /* a lost run's spend may be under way */
    until_due(st);
    expect(st, timer(), "probe");
    expect(st, named(EV_PROBED, IDENTITY_NAMED, 0),
           "resolve alarm-clear(in-doubt) alarm-clear(restored)");
    story_free(st);
}

/* A grace forgives the last spend only; an old copy may be many spends behind. */
static void an_old_copy_is_not_presented_within_a_grace_not_even_after_a_restart(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.reuse_grace_ms = HOUR_MS;
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.restored = true;
    tell(st, ev);
    assert_int_equal(until_due(st), HOUR_MS);
    story_free(st);

    st = story_new();
    ev.loaded.restored = false; /* accepted before the restart */
    ev.loaded.standing = STANDING_DOUBT;
    ev.loaded.doubt_since_wall_ms = WALL0;
    ev.loaded.alarms = 1u << ALARM_DOUBT | 1u << ALARM_RESTORED;
    expect(st, ev, "");
    expect(st, want(st, 1, -1), "answer(1,token)");
    assert_int_equal(until_due(st), HOUR_MS);
    story_free(st);
}

/* The wall clock says nothing of when it was presented: it may have jumped, and so may the machine
 * have been started again. */
static void a_grace_that_nobody_can_count_is_not_used(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.reuse_grace_ms = 30 * SECOND_MS;
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.intent = st->intent = 5;
    expect(st, ev, "");
    ev = answered(st, VERDICT_DOUBT);
    ev.answer.recovered = true;
    tell(st, ev);
    tell(st, of_intent(st, EV_CLOSED));
    assert_int_equal(until_due(st), HOUR_MS);
    story_free(st);
}

static void an_old_copy_made_in_mid_spend_is_as_old_as_the_others(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.reuse_grace_ms = HOUR_MS;
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.restored = true;
    ev.loaded.intent = st->intent = 5;
    expect(st, ev, "alarm-raise(restored)");
    tell(st, answered(st, VERDICT_DOUBT));
    expect(st, of_intent(st, EV_CLOSED), "unlease alarm-raise(in-doubt)");
    assert_int_equal(until_due(st), HOUR_MS);
    story_free(st);
}

static void policy_never_does_not_replay(void **state)
{
    (void)state;
    struct story *st = story_new();
    lose_an_answer(st, 10 * MINUTE_MS);
    struct event ev = {.kind = EV_POLICY, .policy = POLICY_NEVER};
    expect(st, ev, "");
    assert_true(warden_deadline(st->w) == TIME_NEVER);
    story_free(st);
}

static void the_user_may_remove_what_is_in_doubt(void **state)
{
    (void)state;
    struct story *st = story_new();
    lose_an_answer(st, 10 * MINUTE_MS);
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 5}, "");
    expect(st, timer(), "retire");
    expect(st, store_failed(), "answer(5,store-failed)");
    expect(st, want(st, 1, -1), "answer(1,token)");
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_old_access_token_is_lived_on_to_its_end),
        cmocka_unit_test(refused_the_second_time_it_is_dead),
        cmocka_unit_test(lost_twice_it_is_not_presented_a_third_time),
        cmocka_unit_test(a_presentation_that_never_left_is_not_counted),
        cmocka_unit_test(within_a_grace_it_is_presented_soon),
        cmocka_unit_test(a_grace_counts_from_the_presentation),
        cmocka_unit_test(once_a_grace_is_over_the_old_access_token_is_lived_on),
        cmocka_unit_test(a_grace_that_ends_before_the_token_leaves_is_not_used),
        cmocka_unit_test(a_replay_that_never_left_does_not_prolong_the_grace),
        cmocka_unit_test(a_grace_that_ended_while_nothing_ran_is_over),
        cmocka_unit_test(a_token_that_is_not_single_use_is_simply_presented_again),
        cmocka_unit_test(an_old_token_that_still_works_proves_that_nothing_was_committed),
        cmocka_unit_test(a_commit_that_comes_late_is_noticed_before_the_next_presentation),
        cmocka_unit_test(with_too_little_life_for_a_late_commit_the_one_more_is_used),
        cmocka_unit_test(an_old_token_that_is_dead_leaves_the_one_more_presentation),
        cmocka_unit_test(a_probe_without_an_answer_is_tried_again_then_the_end_is_awaited),
        cmocka_unit_test(a_caller_who_cannot_be_served_in_doubt_is_told_so),
        cmocka_unit_test(doubt_survives_a_restart_and_so_does_the_count),
        cmocka_unit_test(a_crash_during_the_replay_does_not_give_another),
        cmocka_unit_test(a_restored_store_puts_everything_single_use_in_doubt),
        cmocka_unit_test(nothing_is_spent_before_what_a_forgotten_run_sent_has_run_out),
        cmocka_unit_test(a_restored_copy_that_proves_current_is_live_again_without_a_spend),
        cmocka_unit_test(an_old_copy_is_not_presented_within_a_grace_not_even_after_a_restart),
        cmocka_unit_test(a_grace_that_nobody_can_count_is_not_used),
        cmocka_unit_test(an_old_copy_made_in_mid_spend_is_as_old_as_the_others),
        cmocka_unit_test(policy_never_does_not_replay),
        cmocka_unit_test(the_user_may_remove_what_is_in_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

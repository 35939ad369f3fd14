/*
 * The spend: due in its window, durable before and after, backing off, refused, interrupted by a
 * full disk, a suspend, a policy.
 */
#include "core_story.h"

static struct story *a_live_one(enum policy policy, int64_t life_ms)
{
    struct story *st = story_new();
    expect(st, loaded(st, policy, life_ms), "");
    return st;
}

static void a_credential_near_its_expiry_is_renewed(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    int64_t slept = until_due(st);
    /* 5 minutes of skew and up to a tenth of the life of jitter before the end */
    assert_true(slept <= HOUR_MS - 5 * MINUTE_MS && slept >= HOUR_MS - 11 * MINUTE_MS);
    expect(st, timer(), "lease");
    expect(st, leased(st), "store-intent(g1)");
    expect(st, of_intent(st, EV_INTENT_DURABLE), "spend(g1)");
    later(st, 200);
    expect(st, granted(st, 2, HOUR_MS), "settle(g2,live,spent)");
    expect(st, of_intent(st, EV_SETTLED), "unlease");
    assert_true(warden_deadline(st->w) > st->now.boot_ms + 45 * MINUTE_MS);
    story_free(st);
}

static void nothing_is_presented_before_the_intent_is_durable(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    expect(st, timer(), "lease");
    expect(st, leased(st), "store-intent(g1)");
    expect(st, timer(), "");
    expect(st, want(st, 1, 50 * MINUTE_MS), ""); /* nobody's wish hurries it */
    expect(st, store_failed(), "alarm-raise(store) unlease");
    assert_true(warden_deadline(st->w) > st->now.boot_ms); /* backs off */
    story_free(st);
}

static void a_new_pair_is_answered_with_only_once_it_is_durable(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    later(st, 59 * MINUTE_MS + 55 * SECOND_MS);
    expect(st, want(st, 1, -1), "");
    expect(st, timer(), "lease");
    present(st, 1, false);
    expect(st, granted(st, 2, HOUR_MS), "settle(g2,live,spent)");
    expect(st, store_failed(), "alarm-raise(store)");
    until_due(st);
    expect(st, timer(), "settle(g2,live,spent)"); /* word for word again */
    expect(st, of_intent(st, EV_SETTLED), "alarm-clear(store) unlease answer(1,token)");
    story_free(st);
}

static void short_tokens_are_renewed_within_their_life(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, 5 * SECOND_MS);
    int64_t slept = until_due(st);
    assert_true(slept >= 2500 && slept <= 3000);
    story_free(st);
}

static void lineages_born_together_do_not_come_due_together(void **state)
{
    (void)state;
    struct story *st = story_new();
    int64_t due[4];
    for (int i = 0; i < 4; i++) {
        struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
        ev.lineage = (uint64_t)i + 1;
        tell(st, ev);
        struct view v;
        assert_true(warden_view(st->w, ev.lineage, st->now, &v));
        due[i] = v.next_spend_boot_ms;
    }
    assert_true(due[0] != due[1] || due[1] != due[2] || due[2] != due[3]);
    story_free(st);
}

static void refused_for_good_is_dead_and_says_so_once(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    expect(st, want(st, 1, 50 * MINUTE_MS), "");
    expect(st, answered(st, VERDICT_REFUSED), "close-intent(refused,dead)");
    expect(st, of_intent(st, EV_CLOSED), "unlease alarm-raise(dead) answer(1,sign-in-needed)");
    assert_true(warden_deadline(st->w) == TIME_NEVER);
    expect(st, want(st, 2, -1), "answer(2,sign-in-needed)");
    story_free(st);
}

static void throttled_waits_as_long_as_it_was_told(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    struct event ev = answered(st, VERDICT_THROTTLED);
    ev.retry_after_ms = 90 * SECOND_MS;
    expect(st, ev, "close-intent(throttled,live)");
    expect(st, of_intent(st, EV_CLOSED), "unlease");
    assert_true(until_due(st) >= 90 * SECOND_MS);
    expect(st, timer(), "lease");
    story_free(st);
}

static void failures_back_off_longer_each_time_and_raise_one_alarm_when_the_token_is_over(
    void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    int raised = 0;
    int64_t first = 0, last = 0;
    until_due(st);
    for (int i = 0; i < 60; i++) {
        tell(st, timer());
        raised += strstr(st->said, "alarm-raise(unreachable)") != NULL;
        if (!strstr(st->said, "lease")) {
            until_due(st);
            continue;
        }
        present(st, 1, false);
        expect(st, answered(st, VERDICT_UNSENT), "close-intent(unsent,live)");
        tell(st, of_intent(st, EV_CLOSED));
        last = until_due(st);
        first = first ? first : last;
    }
    assert_int_equal(raised, 1);
    assert_true(first <= 2 * SECOND_MS);
    assert_true(last > 60 * SECOND_MS && last <= 8 * MINUTE_MS);
    story_free(st);
}

static void a_suspend_between_intent_and_spend_gives_the_lease_up(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    expect(st, leased(st), "store-intent(g1)");
    later(st, 8 * HOUR_MS);
    expect(st, of_intent(st, EV_INTENT_DURABLE), "close-intent(unsent,live)");
    expect(st, of_intent(st, EV_CLOSED), "unlease alarm-raise(unreachable)");
    story_free(st);
}

static void a_lease_that_is_not_newer_is_no_lease(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.fence = 9;
    tell(st, ev);
    until_due(st);
    expect(st, timer(), "lease");
    expect(st, leased(st), "unlease"); /* fence 1 */
    st->fence = 9;
    until_due(st);
    expect(st, timer(), "lease");
    expect(st, leased(st), "store-intent(g1)");
    story_free(st);
}

static void a_late_answer_about_another_intent_says_nothing(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    struct event ev = answered(st, VERDICT_REFUSED);
    ev.intent++;
    expect(st, ev, "");
    expect(st, granted(st, 2, HOUR_MS), "settle(g2,live,spent)");
    story_free(st);
}

static void policy_never_never_spends(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_NEVER, HOUR_MS);
    assert_true(warden_deadline(st->w) == TIME_NEVER);
    expect(st, want(st, 1, -1), "answer(1,token)");
    expect(st, want(st, 2, 2 * HOUR_MS), "answer(2,wish-too-long)");
    later(st, 2 * HOUR_MS);
    expect(st, want(st, 3, -1), "answer(3,policy-forbids)");
    expect(st, renew(st, 4), "answer(4,policy-forbids)");
    expect(st, timer(), "");
    struct event ev = {.kind = EV_POLICY, .policy = POLICY_ALWAYS};
    expect(st, ev, "");
    expect(st, timer(), "lease");
    /* and back, in mid-flight: what is not yet presented is not */
    expect(st, leased(st), "store-intent(g1)");
    ev.policy = POLICY_NEVER;
    expect(st, ev, "");
    expect(st, of_intent(st, EV_INTENT_DURABLE), "close-intent(unsent,live)");
    story_free(st);
}

static void standby_waits_until_nobody_holds_the_pair(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_STANDBY, HOUR_MS);
    ev.loaded.held_until_wall_ms = WALL0 + HOUR_MS + 5 * MINUTE_MS;
    tell(st, ev);
    assert_int_equal(until_due(st), HOUR_MS + 5 * MINUTE_MS);
    expect(st, timer(), "lease");
    present(st, 1, false);
    tell(st, granted(st, 2, HOUR_MS));
    expect(st, of_intent(st, EV_SETTLED), "unlease");
    /* published again: held again, whatever a caller asks for */
    expect(st, (struct event){.kind = EV_PUBLISHED}, "");
    later(st, 3 * SECOND_MS);
    expect(st, renew(st, 1), "answer(1,policy-forbids)");
    story_free(st);
}

static void an_answer_without_a_refresh_token_keeps_the_old_one(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    struct event ev = granted(st, 2, HOUR_MS);
    ev.answer.pair.refresh = fp_of(3); /* pair 1's, as the intake fills in */
    expect(st, ev, "settle(g2,live,spent)");
    assert_true(fp_equal(st->settled.refresh, fp_of(3)));
    story_free(st);
}

static void another_subject_in_the_answer_is_stored_and_never_used(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    struct event ev = granted(st, 2, HOUR_MS);
    ev.answer.subject = fp_of(98);
    expect(st, ev, "settle(g2,quarantined,spent)");
    expect(st, of_intent(st, EV_SETTLED), "unlease alarm-raise(subject)");
    expect(st, want(st, 1, -1), "answer(1,quarantined)");
    assert_true(warden_deadline(st->w) == TIME_NEVER);
    story_free(st);
}

static void a_clock_jump_alone_never_spends(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    st->now.wall_ms += DAY_MS;
    expect(st, timer(), "");
    expect(st, want(st, 1, -1), "answer(1,token)");
    st->now.wall_ms -= 3 * DAY_MS;
    expect(st, timer(), "");
    expect(st, want(st, 2, 30 * MINUTE_MS), "answer(2,token)");
    story_free(st);
}

static void expiry_from_another_boot_is_corrected_by_the_servers_date(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded_after_boot(st, POLICY_NEVER, HOUR_MS);
    st->now.wall_ms -= DAY_MS; /* this boot's clock is a day slow */
    expect(st, ev, "ask-identity");
    struct view v;
    assert_true(warden_view(st->w, A, st->now, &v));
    assert_int_equal(v.left_ms, HOUR_MS); /* not a day: it never had more than that */
    struct event heard = named(EV_IDENTITY, IDENTITY_NAMED, 0); /* any answer with a Date */
    heard.server_wall_ms = WALL0 + 30 * MINUTE_MS;
    tell(st, heard);
    assert_true(warden_view(st->w, A, st->now, &v));
    assert_int_equal(v.left_ms, 30 * MINUTE_MS - 999); /* a Date is anywhere in its second */
    story_free(st);
}

static void a_clock_that_is_fast_after_a_boot_is_corrected_before_it_costs_a_spend(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct view v;
    struct event ev = loaded_after_boot(st, POLICY_ALWAYS, HOUR_MS);
    st->now.wall_ms += 30 * MINUTE_MS;
    expect(st, ev, "ask-identity");
    struct event heard = named(EV_IDENTITY, IDENTITY_UNANSWERED, 0);
    heard.server_wall_ms = WALL0; /* also what is no answer has a Date */
    expect(st, heard, "");
    assert_true(warden_view(st->w, A, st->now, &v));
    assert_int_equal(v.left_ms, HOUR_MS - 999);
    expect(st, timer(), "");
    story_free(st);
}

static void a_clock_that_says_it_is_all_over_is_not_believed_before_the_server(void **state)
{
    (void)state;
    for (enum policy policy = POLICY_NEVER; policy <= POLICY_ALWAYS; policy += POLICY_ALWAYS) {
        struct story *st = story_new();
        struct event ev = loaded_after_boot(st, policy, HOUR_MS);
        st->now.wall_ms += DAY_MS;
        expect(st, ev, "ask-identity");
        expect(st, timer(), "");
        expect(st, want(st, 1, -1), "");
        later(st, 100);
        struct event heard = named(EV_IDENTITY, IDENTITY_NAMED, 0);
        heard.server_wall_ms = WALL0;
        expect(st, heard, "answer(1,token)");
        expect(st, timer(), "");
        story_free(st);
    }
}

static void a_server_that_does_not_tell_the_time_is_waited_for_a_moment_only(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded_after_boot(st, POLICY_NEVER, HOUR_MS);
    st->now.wall_ms += DAY_MS;
    tell(st, ev);
    expect(st, want(st, 1, -1), "");
    assert_int_equal(until_due(st), 5 * SECOND_MS);
    expect(st, timer(), "answer(1,policy-forbids)");
    story_free(st);

    st = story_new();
    ev = loaded_after_boot(st, POLICY_ALWAYS, HOUR_MS);
    st->now.wall_ms += DAY_MS;
    tell(st, ev);
    expect(st, want(st, 1, -1), "");
    expect(st, named(EV_IDENTITY, IDENTITY_UNANSWERED, 0), ""); /* and no Date */
    expect(st, timer(), "lease");
    story_free(st);
}

static void a_held_pair_stays_held_whatever_the_clock_says(void **state)
{
    (void)state;
    for (int days = -1; days <= 1; days += 2) {
        struct story *st = story_new();
        struct event ev = loaded(st, POLICY_STANDBY, HOUR_MS);
        ev.loaded.held_until_wall_ms = ev.loaded.pair.expires_wall_ms + MINUTE_MS;
        st->now.wall_ms += days * DAY_MS;
        expect(st, ev, "");
        later(st, HOUR_MS + MINUTE_MS - 1);
        expect(st, timer(), "");
        later(st, 1);
        expect(st, timer(), "lease");
        story_free(st);
    }
}

static void after_a_boot_a_held_pair_moves_with_its_expiry(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded_after_boot(st, POLICY_STANDBY, HOUR_MS);
    ev.loaded.held_until_wall_ms = ev.loaded.pair.expires_wall_ms + MINUTE_MS;
    st->now.wall_ms -= DAY_MS;
    expect(st, ev, "ask-identity");
    struct event heard = named(EV_IDENTITY, IDENTITY_NAMED, 0);
    heard.server_wall_ms = WALL0;
    expect(st, heard, "");
    later(st, HOUR_MS + MINUTE_MS - SECOND_MS);
    expect(st, timer(), "");
    later(st, SECOND_MS);
    expect(st, timer(), "lease");
    story_free(st);
}

static void a_date_of_whole_seconds_does_not_lengthen_a_life(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct view v;
    st->now.wall_ms = WALL0 + 700;
    tell(st, loaded_after_boot(st, POLICY_NEVER, MINUTE_MS));
    later(st, 100);
    struct event heard = named(EV_IDENTITY, IDENTITY_NAMED, 0);
    heard.server_wall_ms = WALL0;
    tell(st, heard);
    assert_true(warden_view(st->w, A, st->now, &v));
    assert_int_equal(v.left_ms, MINUTE_MS - 100);
    story_free(st);
}

static void stopping_finishes_what_is_in_flight_and_begins_nothing(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    expect(st, want(st, 1, 50 * MINUTE_MS), "");
    expect(st, (struct event){.kind = EV_STOP}, "");
    assert_true(warden_is_busy(st->w));
    expect(st, granted(st, 2, HOUR_MS), "settle(g2,live,spent)");
    expect(st, of_intent(st, EV_SETTLED), "unlease answer(1,token)");
    assert_false(warden_is_busy(st->w));
    expect(st, renew(st, 2), "answer(2,token)");
    expect(st, want(st, 3, 2 * HOUR_MS), "answer(3,stopping)");
    later(st, 2 * HOUR_MS);
    expect(st, timer(), "");
    story_free(st);
}

static void a_recovered_answer_is_settled_as_recovered(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.intent = st->intent = 77;
    expect(st, ev, "");
    expect(st, want(st, 1, 50 * MINUTE_MS), "answer(1,token)");
    expect(st, renew(st, 2), "");
    struct event answer = granted(st, 2, HOUR_MS);
    answer.answer.recovered = true;
    expect(st, answer, "settle(g2,live,recovered)");
    expect(st, of_intent(st, EV_SETTLED), "unlease answer(2,token)");
    story_free(st);
}

static void removal_waits_for_the_spend_in_flight(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 5}, "");
    expect(st, timer(), "");
    tell(st, granted(st, 2, HOUR_MS));
    tell(st, of_intent(st, EV_SETTLED));
    expect(st, timer(), "retire");
    expect(st, want(st, 6, -1), "answer(6,profile-unknown)");
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 8}, "answer(8,busy)");
    expect(st, (struct event){.kind = EV_RETIRED}, "answer(5,done)");
    expect(st, want(st, 7, -1), "answer(7,profile-unknown)");
    story_free(st);
}

static void removal_does_not_wait_for_a_back_off(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    until_due(st);
    tell(st, timer());
    present(st, 1, false);
    struct event later_please = answered(st, VERDICT_THROTTLED);
    later_please.retry_after_ms = HOUR_MS;
    tell(st, later_please);
    tell(st, of_intent(st, EV_CLOSED));
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 5}, "");
    assert_int_equal(until_due(st), 0);
    expect(st, timer(), "retire");
    expect(st, store_failed(), "answer(5,store-failed)");
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 6}, "");
    assert_int_equal(until_due(st), 0); /* asked anew, tried anew */
    expect(st, timer(), "retire");
    expect(st, (struct event){.kind = EV_RETIRED}, "answer(6,done)");
    story_free(st);
}

static void a_removal_that_fails_leaves_no_alarm_where_nothing_is_to_be_spent(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_NEVER, HOUR_MS));
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 5}, "");
    expect(st, timer(), "retire");
    expect(st, store_failed(), "answer(5,store-failed)");
    later(st, 2 * HOUR_MS); /* its access token is over, and that is nobody's trouble */
    expect(st, timer(), "");
    struct event ev = want(st, 6, -1);
    ev.want.deadline_boot_ms = st->now.boot_ms;
    expect(st, ev, "answer(6,policy-forbids)");
    story_free(st);
}

/* What was cleared last may be stored as raised still. */
static void an_alarm_of_an_earlier_run_that_is_about_nothing_any_more_ends(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_NEVER, HOUR_MS);
    ev.loaded.alarms = 1u << ALARM_UNREACHABLE;
    expect(st, ev, "");
    expect(st, timer(), "alarm-clear(unreachable)");
    story_free(st);

    st = story_new();
    ev = loaded(st, POLICY_NEVER, HOUR_MS); /* an add that nobody may go on with */
    ev.loaded.standing = STANDING_UNPROVEN;
    ev.loaded.unproven = ev.loaded.kept = true;
    ev.loaded.subject = (struct fp){{0}};
    ev.loaded.alarms = 1u << ALARM_STORE;
    tell(st, ev);
    later(st, HOUR_MS);
    expect(st, timer(), "alarm-clear(store)");
    story_free(st);
}

static void trouble_ends_with_the_wish_to_spend(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_ALWAYS, HOUR_MS));
    until_due(st);
    tell(st, timer());
    expect(st, leased(st), "store-intent(g1)");
    expect(st, store_failed(), "alarm-raise(store) unlease");
    expect(st, (struct event){.kind = EV_POLICY, .policy = POLICY_NEVER}, "alarm-clear(store)");
    later(st, 2 * HOUR_MS);
    expect(st, timer(), "");
    story_free(st);
}

static void what_we_end_ourselves_is_tried_again_until_it_is_durable(void **state)
{
    (void)state;
    struct story *st = a_live_one(POLICY_ALWAYS, HOUR_MS);
    expect(st, (struct event){.kind = EV_REMOVE}, "");
    expect(st, timer(), "retire");
    expect(st, store_failed(), "alarm-raise(store)");
    assert_true(until_due(st) > 0);
    expect(st, timer(), "retire");
    story_free(st);
}

static void an_expiry_read_off_the_wall_clock_is_not_taken_for_exact(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded_after_boot(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.intent = 5;
    tell(st, ev);
    st->intent = 5;
    struct event grant = granted(st, 2, HOUR_MS);
    grant.answer.recovered = true;
    grant.answer.expires_boot_ms = 0; /* another boot */
    tell(st, grant);
    assert_int_equal(st->out.list[0].expires_boot_ms, 0);
    expect(st, of_intent(st, EV_SETTLED), "unlease ask-identity");
    struct event told = named(EV_IDENTITY, IDENTITY_NAMED, 99);
    told.server_wall_ms = st->now.wall_ms + 30 * MINUTE_MS; /* our clock was behind */
    tell(st, told);
    struct view v;
    assert_true(warden_view(st->w, (uint64_t)A, st->now, &v));
    assert_true(v.left_ms <= 30 * MINUTE_MS);
    story_free(st);
}

static void a_server_whose_pairs_are_over_when_they_come_is_given_pauses(void **state)
{
    (void)state;
    struct story *st = story_new();
    expect(st, loaded(st, POLICY_ALWAYS, HOUR_MS), "");
    until_due(st);
    int64_t waited = 0;
    for (int i = 0; i < 8; i++) {
        waited = i > 0 ? until_due(st) : 0;
        tell(st, timer());
        assert_non_null(strstr(st->said, "lease"));
        tell(st, leased(st));
        tell(st, of_intent(st, EV_INTENT_DURABLE));
        struct event ev = granted(st, 2 + i, HOUR_MS);
        ev.answer.pair.expires_wall_ms = st->now.wall_ms - SECOND_MS;
        ev.answer.expires_boot_ms = st->now.boot_ms - SECOND_MS;
        tell(st, ev);
        tell(st, of_intent(st, EV_SETTLED));
    }
    assert_true(waited > 30 * SECOND_MS);
    story_free(st);
}

static void the_time_is_asked_also_after_an_earlier_runs_spend_came_to_nothing(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded_after_boot(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.intent = st->intent = 5;
    expect(st, ev, "");
    expect(st, answered(st, VERDICT_UNSENT), "close-intent(unsent,live)");
    expect(st, of_intent(st, EV_CLOSED), "unlease ask-identity");
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_credential_near_its_expiry_is_renewed),
        cmocka_unit_test(nothing_is_presented_before_the_intent_is_durable),
        cmocka_unit_test(a_new_pair_is_answered_with_only_once_it_is_durable),
        cmocka_unit_test(short_tokens_are_renewed_within_their_life),
        cmocka_unit_test(lineages_born_together_do_not_come_due_together),
        cmocka_unit_test(refused_for_good_is_dead_and_says_so_once),
        cmocka_unit_test(throttled_waits_as_long_as_it_was_told),
        cmocka_unit_test(
            failures_back_off_longer_each_time_and_raise_one_alarm_when_the_token_is_over),
        cmocka_unit_test(a_suspend_between_intent_and_spend_gives_the_lease_up),
        cmocka_unit_test(a_lease_that_is_not_newer_is_no_lease),
        cmocka_unit_test(a_late_answer_about_another_intent_says_nothing),
        cmocka_unit_test(policy_never_never_spends),
        cmocka_unit_test(standby_waits_until_nobody_holds_the_pair),
        cmocka_unit_test(an_answer_without_a_refresh_token_keeps_the_old_one),
        cmocka_unit_test(another_subject_in_the_answer_is_stored_and_never_used),
        cmocka_unit_test(a_clock_jump_alone_never_spends),
        cmocka_unit_test(expiry_from_another_boot_is_corrected_by_the_servers_date),
        cmocka_unit_test(a_date_of_whole_seconds_does_not_lengthen_a_life),
        cmocka_unit_test(a_clock_that_is_fast_after_a_boot_is_corrected_before_it_costs_a_spend),
        cmocka_unit_test(a_clock_that_says_it_is_all_over_is_not_believed_before_the_server),
        cmocka_unit_test(a_server_that_does_not_tell_the_time_is_waited_for_a_moment_only),
        cmocka_unit_test(a_held_pair_stays_held_whatever_the_clock_says),
        cmocka_unit_test(after_a_boot_a_held_pair_moves_with_its_expiry),
        cmocka_unit_test(stopping_finishes_what_is_in_flight_and_begins_nothing),
        cmocka_unit_test(a_recovered_answer_is_settled_as_recovered),
        cmocka_unit_test(removal_waits_for_the_spend_in_flight),
        cmocka_unit_test(removal_does_not_wait_for_a_back_off),
        cmocka_unit_test(a_removal_that_fails_leaves_no_alarm_where_nothing_is_to_be_spent),
        cmocka_unit_test(an_alarm_of_an_earlier_run_that_is_about_nothing_any_more_ends),
        cmocka_unit_test(trouble_ends_with_the_wish_to_spend),
        cmocka_unit_test(what_we_end_ourselves_is_tried_again_until_it_is_durable),
        cmocka_unit_test(a_server_whose_pairs_are_over_when_they_come_is_given_pauses),
        cmocka_unit_test(an_expiry_read_off_the_wall_clock_is_not_taken_for_exact),
        cmocka_unit_test(the_time_is_asked_also_after_an_earlier_runs_spend_came_to_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Stories of several wardens on one store: who is overtaken follows, and what was granted to us is
 * not lost because another had to give us up.
 */
#include "core_story.h"

#define HOUR (60 * MINUTE_MS)

/* What the other warden left in the store. */
static struct event overtaken(struct story *st, int n, uint64_t generation)
{
    struct event ev = loaded_after_boot(st, POLICY_ALWAYS, HOUR);
    ev.kind = EV_OVERTAKEN;
    ev.loaded.pair = pair_of(st, n, HOUR);
    ev.loaded.generation = generation;
    ev.loaded.fence = 50;
    return ev;
}

static struct event refusal(struct story *st, struct event ev)
{
    ev.intent = st->intent;
    return ev;
}

static struct story *due(void)
{
    struct story *st = story_new();
    expect(st, loaded(st, POLICY_ALWAYS, HOUR), "");
    until_due(st);
    expect(st, timer(), "lease");
    return st;
}

static void a_newer_pair_in_the_store_is_followed(void **state)
{
    (void)state;
    struct story *st = story_new();
    expect(st, loaded(st, POLICY_ALWAYS, HOUR), "");
    later(st, 30 * MINUTE_MS);
    expect(st, overtaken(st, 2, 2), "ask-identity");
    expect(st, want(st, 1, 50 * MINUTE_MS), "answer(1,token)");
    expect(st, overtaken(st, 1, 1), ""); /* old news */
    expect(st, want(st, 2, 50 * MINUTE_MS), "answer(2,token)");
    story_free(st);
}

static void news_of_a_pair_is_counted_by_the_servers_clock(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_ALWAYS, HOUR));
    struct event ev = overtaken(st, 2, 2);
    ev.loaded.pair.expires_wall_ms -= 50 * MINUTE_MS; /* our clock is as much too fast */
    expect(st, ev, "ask-identity");
    ev = named(EV_IDENTITY, IDENTITY_NAMED, 99);
    ev.generation = 2;
    ev.server_wall_ms = st->now.wall_ms - 50 * MINUTE_MS;
    expect(st, ev, "");
    expect(st, want(st, 1, 50 * MINUTE_MS), "answer(1,token)");
    story_free(st);
}

static void who_holds_the_pair_holds_it_however_the_wall_clock_jumps_before_the_news(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_STANDBY, HOUR);
    ev.loaded.held_until_wall_ms = ev.loaded.pair.expires_wall_ms + st->rules.skew_ms;
    tell(st, ev);
    struct event fence = ev; /* nothing else is new */
    fence.kind = EV_OVERTAKEN;
    fence.loaded.expires_boot_ms = 0; /* another machine's clock is none of ours */
    fence.loaded.fence = 50;
    st->now.wall_ms += 170 * DAY_MS;
    expect(st, fence, "");
    assert_int_equal(until_due(st), HOUR + st->rules.skew_ms);
    story_free(st);
}

static void who_came_second_to_the_intent_spends_nothing(void **state)
{
    (void)state;
    struct story *st = due();
    expect(st, leased(st), "store-intent(g1)");
    expect(st, refusal(st, overtaken(st, 2, 2)), "unlease ask-identity");
    expect(st, want(st, 1, 50 * MINUTE_MS), "answer(1,token)");
    struct view v;
    assert_true(warden_view(st->w, (uint64_t)A, st->now, &v));
    assert_int_equal(v.generation, 2);
    assert_false(v.in_flight);
    story_free(st);
}

static void news_while_the_lease_is_asked_for_is_followed(void **state)
{
    (void)state;
    struct story *st = due();
    expect(st, overtaken(st, 2, 2), "ask-identity");
    expect(st, want(st, 1, 50 * MINUTE_MS), "answer(1,token)");
    later(st, MINUTE_MS);
    expect(st, renew(st, 2), "");
    expect(st, timer(), ""); /* one lease is asked for at a time */
    struct event lease = leased(st);
    lease.lease.fence = 60;
    expect(st, lease, "unlease");
    expect(st, timer(), "lease");
    story_free(st);
}

static void news_that_went_past_our_intent_is_followed(void **state)
{
    (void)state;
    struct story *st = due();
    expect(st, leased(st), "store-intent(g1)");
    struct event old = overtaken(st, 1, 1);
    old.loaded.fence = 0;
    expect(st, old, ""); /* from before it */
    expect(st, overtaken(st, 3, 3), "unlease ask-identity");
    expect(st, want(st, 1, 50 * MINUTE_MS), "answer(1,token)");
    story_free(st);
}

static void news_of_the_end_is_followed_before_the_intent_is_refused_for_it(void **state)
{
    (void)state;
    struct story *st = due();
    struct event lease = leased(st);
    lease.lease.fence = 51;
    expect(st, lease, "store-intent(g1)");
    struct event ended = overtaken(st, 1, 1);
    ended.loaded.standing = STANDING_RETIRED;
    expect(st, ended, "unlease");
    expect(st, want(st, 1, -1), "answer(1,profile-unknown)");
    story_free(st);
}

static void news_of_death_is_followed_before_the_intent_is_refused_for_it(void **state)
{
    (void)state;
    struct story *st = due();
    struct event lease = leased(st);
    lease.lease.fence = 51; /* got after the other's spend, of which we have not heard */
    expect(st, lease, "store-intent(g1)");
    struct event dead = overtaken(st, 1, 1);
    dead.loaded.standing = STANDING_DEAD;
    expect(st, dead, "unlease alarm-raise(dead)");
    expect(st, store_failed(), ""); /* so that nothing else would tell */
    expect(st, want(st, 1, -1), "answer(1,sign-in-needed)");
    story_free(st);
}

static void a_second_doubt_is_news_to_who_is_in_the_first(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.refresh_kills_access = true;
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.loaded.standing = STANDING_DOUBT;
    ev.loaded.doubt_since_wall_ms = st->now.wall_ms - 10 * MINUTE_MS;
    tell(st, ev);
    until_due(st);
    expect(st, timer(), "probe");
    struct event doubt = overtaken(st, 1, 1);
    doubt.loaded.standing = STANDING_DOUBT;
    doubt.loaded.doubt_since_wall_ms = st->now.wall_ms;
    expect(st, doubt, "");
    tell(st, named(EV_PROBED, IDENTITY_NAMED, 99)); /* of the first: proves nothing of the second */
    assert_null(strstr(st->said, "resolve"));
    story_free(st);
}

static void what_another_let_out_of_quarantine_is_out_here_too(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.loaded.standing = STANDING_QUARANTINED;
    tell(st, ev);
    tell(st, overtaken(st, 1, 2));
    expect(st, want(st, 1, -1), "answer(1,token)");
    story_free(st);
}

static void a_capture_that_another_has_dealt_with_is_let_go(void **state)
{
    (void)state;
    struct story *st = story_new();
    expect(st, loaded(st, POLICY_NEVER, HOUR), "");
    struct event ev = {.kind = EV_BOUND, .consumer = 1};
    ev.bound.replica = true;
    tell(st, ev);
    expect(st, timer(), "read(c1)");
    struct event seen = {.kind = EV_OBSERVED, .consumer = 1, .capture = 11};
    seen.observed.what = SEEN_PAIR;
    seen.observed.asked = true;
    seen.observed.pair = pair_of(st, 2, HOUR);
    tell(st, seen);
    expect(st, timer(), "ask-identity(k11)");
    struct event whose = named(EV_IDENTITY, IDENTITY_NAMED, 99);
    whose.capture = 11;
    expect(st, whose, "adopt(k11,g2)");
    struct event refused = overtaken(st, 1, 1); /* nothing is newer than what we know */
    refused.capture = 11;
    tell(st, refused);
    expect(st, timer(), "publish(c1,a2,r0)"); /* no second attempt, and nothing held back */
    story_free(st);
}

static void anothers_open_intent_is_waited_for(void **state)
{
    (void)state;
    struct story *st = due();
    expect(st, leased(st), "store-intent(g1)");
    struct event ev = refusal(st, overtaken(st, 1, 1));
    ev.loaded.intent = 4711;
    ev.loaded.intent_elsewhere = true;
    expect(st, ev, "unlease");
    tell(st, timer());
    assert_null(strstr(st->said, "lease"));
    expect(st, overtaken(st, 2, 2), "unlease ask-identity"); /* it came to a good end there */
    expect(st, want(st, 1, 50 * MINUTE_MS), "answer(1,token)");
    story_free(st);
}

static void who_never_answers_is_closed_in_doubt_by_another(void **state)
{
    (void)state;
    struct story *st = due();
    expect(st, leased(st), "store-intent(g1)");
    struct event ev = refusal(st, overtaken(st, 1, 1));
    ev.loaded.intent = 4711;
    ev.loaded.intent_elsewhere = true;
    tell(st, ev);
    st->intent = 4711;
    expect(st, answered(st, VERDICT_DOUBT), "close-intent(in-doubt,in-doubt)");
    expect(st, of_intent(st, EV_CLOSED), "unlease alarm-raise(in-doubt)");
    story_free(st);
}

static void a_pair_that_comes_late_is_settled_late(void **state)
{
    (void)state;
    struct story *st = due();
    expect(st, leased(st), "store-intent(g1)");
    expect(st, of_intent(st, EV_INTENT_DURABLE), "spend(g1)");
    struct event doubt = overtaken(st, 1, 1); /* given up by another, which we are told of … */
    doubt.loaded.standing = STANDING_DOUBT;
    expect(st, doubt, "");
    expect(st, granted(st, 2, HOUR), "settle(g2,live,spent)");
    expect(st, refusal(st, doubt), "settle(g2,live,spent)"); /* … and refused for */
    assert_true(st->out.list[0].late);
    expect(st, of_intent(st, EV_SETTLED), "unlease");
    expect(st, want(st, 1, -1), "answer(1,token)");
    story_free(st);
}

static void a_late_pair_waits_while_another_presents_once_more(void **state)
{
    (void)state;
    struct story *st = due();
    tell(st, leased(st));
    tell(st, of_intent(st, EV_INTENT_DURABLE));
    tell(st, granted(st, 2, HOUR));
    struct event replaying = refusal(st, overtaken(st, 1, 1));
    replaying.loaded.standing = STANDING_DOUBT;
    replaying.loaded.intent = 4711;
    replaying.loaded.intent_elsewhere = true;
    expect(st, replaying, "");
    until_due(st);
    expect(st, timer(), "settle(g2,live,spent)");
    struct event dead = refusal(st, overtaken(st, 1, 1)); /* it was refused there: ours is all */
    dead.loaded.standing = STANDING_DEAD;
    dead.loaded.replayed = true;
    expect(st, dead, "settle(g2,live,spent)");
    expect(st, of_intent(st, EV_SETTLED), "unlease");
    story_free(st);
}

static void a_late_pair_with_the_old_token_is_let_go_when_that_was_refused_since(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.rotates = false;
    expect(st, loaded(st, POLICY_ALWAYS, HOUR), "");
    until_due(st);
    expect(st, timer(), "lease");
    tell(st, leased(st));
    tell(st, of_intent(st, EV_INTENT_DURABLE));
    struct event ours = granted(st, 2, HOUR);
    ours.answer.pair.refresh = pair_of(st, 1, HOUR).refresh;
    tell(st, ours);
    struct event dead = refusal(st, overtaken(st, 1, 1));
    dead.loaded.standing = STANDING_DEAD;
    expect(st, dead, "settle(g2,live,spent)"); /* it may have been closed in doubt alone */
    expect(st, dead, "drop(k0) unlease alarm-raise(dead)");
    story_free(st);
}

static void a_late_pair_that_was_replaced_is_let_go(void **state)
{
    (void)state;
    struct story *st = due();
    tell(st, leased(st));
    tell(st, of_intent(st, EV_INTENT_DURABLE));
    tell(st, granted(st, 2, HOUR));
    expect(st, refusal(st, overtaken(st, 3, 2)), "drop(k0) unlease ask-identity");
    expect(st, want(st, 1, -1), "answer(1,token)");
    story_free(st);
}

static void what_another_removed_is_gone_here_too(void **state)
{
    (void)state;
    struct story *st = story_new();
    expect(st, loaded(st, POLICY_ALWAYS, HOUR), "");
    struct event ev = overtaken(st, 1, 1);
    ev.loaded.standing = STANDING_RETIRED;
    expect(st, ev, "");
    expect(st, want(st, 1, -1), "answer(1,profile-unknown)");
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newer_pair_in_the_store_is_followed),
        cmocka_unit_test(news_of_a_pair_is_counted_by_the_servers_clock),
        cmocka_unit_test(who_holds_the_pair_holds_it_however_the_wall_clock_jumps_before_the_news),
        cmocka_unit_test(who_came_second_to_the_intent_spends_nothing),
        cmocka_unit_test(news_while_the_lease_is_asked_for_is_followed),
        cmocka_unit_test(news_that_went_past_our_intent_is_followed),
        cmocka_unit_test(news_of_the_end_is_followed_before_the_intent_is_refused_for_it),
        cmocka_unit_test(news_of_death_is_followed_before_the_intent_is_refused_for_it),
        cmocka_unit_test(a_second_doubt_is_news_to_who_is_in_the_first),
        cmocka_unit_test(what_another_let_out_of_quarantine_is_out_here_too),
        cmocka_unit_test(a_capture_that_another_has_dealt_with_is_let_go),
        cmocka_unit_test(anothers_open_intent_is_waited_for),
        cmocka_unit_test(who_never_answers_is_closed_in_doubt_by_another),
        cmocka_unit_test(a_pair_that_comes_late_is_settled_late),
        cmocka_unit_test(a_late_pair_waits_while_another_presents_once_more),
        cmocka_unit_test(a_late_pair_with_the_old_token_is_let_go_when_that_was_refused_since),
        cmocka_unit_test(a_late_pair_that_was_replaced_is_let_go),
        cmocka_unit_test(what_another_removed_is_gone_here_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Stories of places that change hands: they are switched to another profile by their user, or
 * follow their profile to another login.
 */
#include "core_places.h"

/* B, whose subject is another and whose pair is number 7. */
static struct event other_profile(struct story *st, enum policy policy)
{
    struct event ev = loaded(st, policy, HOUR);
    ev.lineage = (uint64_t)B;
    ev.loaded.subject = fp_of(88);
    ev.loaded.pair = pair_of(st, 7, HOUR);
    return ev;
}

static struct event bound_to_b(int consumer, enum wish wish)
{
    struct event ev = bound(consumer, true, true);
    ev.lineage = (uint64_t)B;
    ev.bound.wish = wish;
    return ev;
}

static enum wish wish_of(const struct story *st, int consumer)
{
    struct place_view v;
    assert_true(warden_view_place(st->w, (uint64_t)consumer, &v));
    return v.wish;
}

/* ---- switched ---- */

static void a_place_that_is_switched_is_written_over_and_then_the_wish_is_done(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    tell(st, other_profile(st, POLICY_NEVER));
    expect(st, bound_to_b(C1, WISH_REPLACE), "");
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 1, 0, true), "");
    expect(st, timer(), "publish(c1,a14,r15)");
    assert_int_equal(wish_of(st, C1), WISH_REPLACE);
    expect(st, published(st, C1), "");
    assert_int_equal(wish_of(st, C1), WISH_NONE);
    expect(st, seen(C1, SEEN_GONE, false), ""); /* from now on it is as any other place */
    expect(st, timer(), "");
    story_free(st);
}

static void a_stranger_in_a_place_that_is_switched_is_asked_about_before_he_is_written_over(
    void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    tell(st, other_profile(st, POLICY_NEVER));
    later(st, MINUTE_MS);
    expect(st, bound_to_b(C1, WISH_REPLACE), "");
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 3, K1, true), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, timer(), "");
    expect(st, capture_named(K1, IDENTITY_NAMED, 66), "alarm-raise(subject) quarantine(k11)");
    expect(st, timer(), "");
    expect(st, of_capture(EV_QUARANTINED, K1), "");
    expect(st, timer(), "publish(c1,a14,r15)"); /* by now he is a login of his own */
    expect(st, published(st, C1), "alarm-clear(subject)");
    story_free(st);
}

static void an_empty_place_that_is_to_be_filled_is_filled_but_once(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_NEVER, HOUR));
    struct event ev = bound(C1, true, true);
    ev.bound.wish = WISH_FILL;
    tell(st, ev);
    expect(st, timer(), "read(c1)");
    expect(st, seen(C1, SEEN_GONE, true), "");
    expect(st, timer(), "publish(c1,a2,r3)");
    expect(st, published(st, C1), "");
    expect(st, seen(C1, SEEN_GONE, false), ""); /* its user has logged out */
    expect(st, timer(), "");
    story_free(st);
}

static void who_was_faster_in_a_place_that_was_to_be_filled_is_left_alone(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_NEVER, HOUR));
    struct event ev = bound(C1, true, true);
    ev.bound.wish = WISH_FILL;
    tell(st, ev);
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 3, K1, true), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 66), "alarm-raise(subject) quarantine(k11)");
    expect(st, of_capture(EV_QUARANTINED, K1), "");
    expect(st, seen(C1, SEEN_GONE, false), "alarm-clear(subject)");
    expect(st, timer(), "");
    story_free(st);
}

static void what_stood_in_a_place_that_is_switched_may_stand_there_still(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    tell(st, other_profile(st, POLICY_NEVER));
    tell(st, bound_to_b(C1, WISH_REPLACE));
    expect(st, timer(), "read(c1)");
    for (int look = 0; look < 5; look++) {
        tell(st, failed(C1));
        until_due(st);
        expect(st, timer(), "read(c1)");
    }
    tell(st, failed(C1));
    later(st, HOUR); /* A is due: its token may be in use there */
    for (int turn = 0; turn < 3; turn++) {
        tell(st, timer());
        assert_null(strstr(st->said, "lease"));
    }
    story_free(st);
}

static void a_place_of_a_login_that_was_set_aside_is_looked_at_before_a_spend(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ours = loaded(st, POLICY_ALWAYS, HOUR);
    ours.loaded.expires_boot_ms = st->now.boot_ms - 1; /* due at once */
    tell(st, ours);
    struct event aside = other_profile(st, POLICY_NEVER);
    aside.loaded.standing = STANDING_QUARANTINED;
    tell(st, aside);
    tell(st, bound_to_b(C1, WISH_NONE));
    expect(st, timer(), "read(c1)");
    tell(st, saw_pair(C1, ours.loaded.pair, 0, true));
    expect(st, timer(), "lease");
    expect(st, leased(st), "publish(c1,a2,r0)"); /* it is withheld there, and no more is done */
    story_free(st);
}

/* ---- followed ---- */

static void what_stood_in_a_place_before_its_login_was_adopted_is_held(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_STANDBY);
    struct event added = {.kind = EV_ADDED, .lineage = B, .waiter = 1};
    added.added.rules = st->rules;
    added.added.policy = POLICY_STANDBY;
    added.added.pair = pair_of(st, 7, HOUR);
    added.added.continues = A;
    added.added.deadline_boot_ms = TIME_NEVER;
    tell(st, added);
    expect(st, timer(), "ask-identity");
    tell(st, saw(st, C1, 7, 0, false)); /* its client has signed in with that very pair */
    struct event who = named(EV_IDENTITY, IDENTITY_NAMED, 99);
    who.lineage = (uint64_t)B;
    expect(st, who, "adopt(live,s99)");
    struct event adopted = {.kind = EV_ADOPTED, .lineage = (uint64_t)B};
    tell(st, adopted);
    later(st, 59 * MINUTE_MS);
    tell(st, timer());
    assert_null(strstr(st->said, "lease"));
    later(st, MINUTE_MS + 5 * MINUTE_MS);
    tell(st, timer());
    assert_non_null(strstr(st->said, "lease"));
    story_free(st);
}

/* ---- of one subject, or of many uses ---- */

static void what_can_be_renewed_goes_to_the_login_of_its_subject_that_can_be(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event forever = loaded(st, POLICY_NEVER, 365 * DAY_MS);
    forever.loaded.pair.refresh = (struct fp){{0}};
    tell(st, forever);
    struct event other = other_profile(st, POLICY_NEVER);
    other.loaded.subject = fp_of(99); /* A's */
    tell(st, other);
    tell(st, bound(C1, true, true));
    expect(st, timer(), "read(c1)");
    struct pair renewed = pair_of(st, 8, 2 * HOUR);
    expect(st, saw_pair(C1, renewed, K1, true), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    assert_int_equal(st->out.list[0].lineage, B);
    story_free(st);
}

static void who_has_a_token_of_many_uses_beside_another_is_kept_in_step_without_it(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.rotates = false;
    struct event ours = loaded(st, POLICY_NEVER, HOUR);
    tell(st, ours);
    struct event over = other_profile(st, POLICY_NEVER);
    over.loaded.pair.refresh = (struct fp){{0}};
    over.loaded.pair.expires_wall_ms = st->now.wall_ms - 1;
    over.loaded.expires_boot_ms = st->now.boot_ms - 1;
    tell(st, over);
    tell(st, bound(C1, true, true));
    tell(st, bound_to_b(C2, WISH_NONE)); /* B has nothing that could be written there */
    tell(st, timer());
    tell(st, saw_pair(C2, ours.loaded.pair, 0, true));
    struct pair former = pair_of(st, 4, HOUR / 2);
    former.refresh = ours.loaded.pair.refresh;
    struct event ev = saw_pair(C1, former, 0, true);
    ev.observed.spent = true;
    tell(st, ev);
    tell(st, timer());
    assert_non_null(strstr(st->said, "publish(c1,a2,r0)"));
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_that_is_switched_is_written_over_and_then_the_wish_is_done),
        cmocka_unit_test(
            a_stranger_in_a_place_that_is_switched_is_asked_about_before_he_is_written_over),
        cmocka_unit_test(an_empty_place_that_is_to_be_filled_is_filled_but_once),
        cmocka_unit_test(who_was_faster_in_a_place_that_was_to_be_filled_is_left_alone),
        cmocka_unit_test(what_stood_in_a_place_that_is_switched_may_stand_there_still),
        cmocka_unit_test(a_place_of_a_login_that_was_set_aside_is_looked_at_before_a_spend),
        cmocka_unit_test(what_stood_in_a_place_before_its_login_was_adopted_is_held),
        cmocka_unit_test(what_can_be_renewed_goes_to_the_login_of_its_subject_that_can_be),
        cmocka_unit_test(who_has_a_token_of_many_uses_beside_another_is_kept_in_step_without_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

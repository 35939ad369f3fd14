/*
 * `add`: from captured to believed. What cannot be believed leaves nothing behind, unless it was
 * spent on the way: then it is never dropped.
 */
#include "core_story.h"

static struct event added(const struct story *st, enum policy policy, int64_t life_ms)
{
    struct event ev = {.kind = EV_ADDED, .waiter = 1};
    ev.added.rules = st->rules;
    ev.added.policy = policy;
    ev.added.pair = pair_of(st, 1, life_ms);
    ev.added.deadline_boot_ms = st->now.boot_ms + 60 * SECOND_MS;
    return ev;
}

/* The lineage of a profile that is there already, of this subject (0: not known). */
static uint64_t profile_of(struct story *st, int subject)
{
    struct event ev = loaded(st, POLICY_NEVER, 10 * HOUR_MS);
    ev.lineage = 50 + (uint64_t)subject;
    ev.loaded.subject = subject ? fp_of(subject) : (struct fp){{0}};
    tell(st, ev);
    return ev.lineage;
}

static void the_server_names_the_subject_and_it_is_adopted(void **state)
{
    (void)state;
    struct story *st = story_new();
    expect(st, added(st, POLICY_ALWAYS, HOUR_MS), "");
    expect(st, timer(), "ask-identity");
    expect(st, want(st, 2, -1), "");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 99), "adopt(live,s99)");
    expect(st, (struct event){.kind = EV_ADOPTED}, "answer(1,done) answer(2,token)");
    story_free(st);
}

static void nobody_gets_the_token_of_a_login_that_is_not_believed_yet(void **state)
{
    (void)state;
    struct story *st = story_new();
    expect(st, added(st, POLICY_ALWAYS, HOUR_MS), "");
    expect(st, timer(), "ask-identity");
    struct event hasty = want(st, 2, -1);
    hasty.want.deadline_boot_ms = st->now.boot_ms;
    expect(st, hasty, "answer(2,subject-unproven)");
    story_free(st);
}

static void an_end_that_cannot_be_stored_while_the_server_is_asked_is_tried_again(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = added(st, POLICY_NEVER, HOUR_MS);
    ev.added.continues = profile_of(st, 7);
    expect(st, ev, "");
    expect(st, timer(), "ask-identity");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 99), "answer(1,subject-differs) retire");
    expect(st, store_failed(), "alarm-raise(store)");
    struct event hasty = want(st, 2, -1);
    hasty.want.deadline_boot_ms = st->now.boot_ms + 10;
    expect(st, hasty, "");
    later(st, 10); /* the next attempt is further off than that caller's patience */
    tell(st, timer());
    assert_non_null(strstr(st->said, "answer(2,"));
    until_due(st);
    tell(st, timer());
    assert_non_null(strstr(st->said, "retire"));
    story_free(st);
}

static void a_renewal_right_after_the_add_is_a_renewal(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.has_identity = false;
    tell(st, added(st, POLICY_ALWAYS, HOUR_MS));
    tell(st, timer());
    tell(st, (struct event){.kind = EV_ADOPTED});
    expect(st, renew(st, 2), ""); /* what came from the file is not what was asked for */
    expect(st, timer(), "lease");
    story_free(st);
}

static void a_provider_that_cannot_be_asked_is_taken_at_its_word(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.has_identity = false;
    expect(st, added(st, POLICY_NEVER, HOUR_MS), "");
    expect(st, timer(), "adopt(live,s0)");
    expect(st, (struct event){.kind = EV_ADOPTED}, "answer(1,done)");
    story_free(st);
}

static void another_subject_than_the_profiles_is_turned_away(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = added(st, POLICY_ALWAYS, HOUR_MS);
    ev.added.continues = profile_of(st, 99);
    expect(st, ev, "");
    expect(st, timer(), "ask-identity");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 98), "answer(1,subject-differs) retire");
    expect(st, (struct event){.kind = EV_RETIRED}, "");
    expect(st, want(st, 2, -1), "answer(2,profile-unknown)");
    story_free(st);
}

static void what_cannot_be_shown_to_be_the_same_subjects_replaces_nothing(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct story *st = story_new();
        uint64_t before = profile_of(st, known ? 99 : 0);
        st->rules.has_identity = false;
        struct event ev = added(st, POLICY_ALWAYS, HOUR_MS);
        ev.added.continues = before;
        tell(st, ev);
        expect(st, timer(), "answer(1,subject-differs) retire");
        story_free(st);
    }
    struct story *st = story_new(); /* named now, but nobody knows whose the profile was */
    uint64_t before = profile_of(st, 0);
    struct event ev = added(st, POLICY_ALWAYS, HOUR_MS);
    ev.added.continues = before;
    tell(st, ev);
    tell(st, timer());
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 98), "answer(1,subject-differs) retire");
    story_free(st);
}

static void a_dead_login_of_nobody_known_may_be_replaced(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event dead = loaded(st, POLICY_ALWAYS, HOUR_MS);
    dead.lineage = 50;
    dead.loaded.standing = STANDING_DEAD;
    dead.loaded.subject = (struct fp){{0}};
    dead.loaded.alarms = 1u << ALARM_DEAD;
    tell(st, dead);
    st->rules.has_identity = false;
    struct event ev = added(st, POLICY_ALWAYS, HOUR_MS);
    ev.added.continues = 50;
    tell(st, ev);
    expect(st, timer(), "adopt(live,s0)");
    story_free(st);
}

static void an_expired_access_token_is_renewed_before_the_question(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = added(st, POLICY_ALWAYS, HOUR_MS);
    ev.added.pair.expires_wall_ms = WALL0 - HOUR_MS;
    expect(st, ev, "");
    expect(st, timer(), "lease");
    present(st, 1, false);
    expect(st, granted(st, 2, HOUR_MS), "settle(g2,unproven,spent)");
    expect(st, of_intent(st, EV_SETTLED), "unlease");
    expect(st, timer(), "ask-identity");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 99), "adopt(live,s99)");
    expect(st, (struct event){.kind = EV_ADOPTED}, "answer(1,done)");
    story_free(st);
}

static void what_was_spent_on_the_way_is_kept_in_quarantine(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = added(st, POLICY_ALWAYS, HOUR_MS);
    ev.added.pair.expires_wall_ms = WALL0 - HOUR_MS;
    ev.added.continues = profile_of(st, 99);
    tell(st, ev);
    tell(st, timer());
    present(st, 1, false);
    tell(st, granted(st, 2, HOUR_MS));
    tell(st, of_intent(st, EV_SETTLED));
    expect(st, timer(), "ask-identity");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 98), "adopt(quarantined,s98)");
    expect(st, (struct event){.kind = EV_ADOPTED},
           "alarm-raise(subject) answer(1,subject-differs)");
    story_free(st);
}

static void an_expired_pair_under_never_cannot_be_asked_about(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = added(st, POLICY_NEVER, HOUR_MS);
    ev.added.pair.expires_wall_ms = WALL0 - HOUR_MS;
    tell(st, ev);
    expect(st, timer(), "answer(1,policy-forbids) retire");
    story_free(st);
}

static void a_revoked_access_token_is_renewed_by_policy_else_turned_away(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, added(st, POLICY_NEVER, HOUR_MS));
    tell(st, timer());
    expect(st, named(EV_IDENTITY, IDENTITY_REVOKED, 0), "answer(1,pair-rejected) retire");
    story_free(st);

    st = story_new();
    tell(st, added(st, POLICY_ALWAYS, HOUR_MS));
    tell(st, timer());
    expect(st, named(EV_IDENTITY, IDENTITY_REVOKED, 0), "");
    expect(st, timer(), "lease");
    present(st, 1, false);
    tell(st, answered(st, VERDICT_REFUSED));
    expect(st, of_intent(st, EV_CLOSED), "unlease answer(1,pair-rejected) retire");
    expect(st, store_failed(), "alarm-raise(store) alarm-raise(dead)");
    until_due(st);
    expect(st, timer(), "retire"); /* until nothing is left of it */
    story_free(st);
}

/* Each grant is good, and whoever is asked about it calls it revoked. */
static void a_server_that_knows_none_of_its_own_grants_is_not_spent_at_for_ever(void **state)
{
    (void)state;
    struct story *st = story_new();
    int generation = 1;
    tell(st, added(st, POLICY_ALWAYS, HOUR_MS));
    int64_t end = st->now.boot_ms + HOUR_MS;
    while (st->now.boot_ms < end) {
        (void)until_due(st);
        tell(st, timer());
        if (strcmp(st->said, "ask-identity") == 0) {
            tell(st, named(EV_IDENTITY, IDENTITY_REVOKED, 0));
        } else if (strcmp(st->said, "lease") == 0) {
            present(st, generation++, false);
            tell(st, granted(st, generation, HOUR_MS));
            tell(st, of_intent(st, EV_SETTLED));
        }
    }
    assert_in_range(generation, 5, 30);
    (void)until_due(st);
    story_free(st);
}

static void a_server_that_does_not_answer_is_asked_again_then_the_add_gives_up(void **state)
{
    (void)state;
    struct story *st = story_new();
    int asked = 0;
    tell(st, added(st, POLICY_ALWAYS, HOUR_MS));
    for (;;) {
        until_due(st);
        tell(st, timer());
        if (strcmp(st->said, "ask-identity") != 0)
            break;
        asked++;
        expect(st, named(EV_IDENTITY, IDENTITY_UNANSWERED, 0), "");
    }
    assert_true(asked >= 3 && asked < 40);
    assert_string_equal(st->said, "answer(1,provider-unreachable) retire");
    story_free(st);
}

static void a_full_disk_at_the_adoption_is_told_and_overcome(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, added(st, POLICY_ALWAYS, HOUR_MS));
    tell(st, timer());
    tell(st, named(EV_IDENTITY, IDENTITY_NAMED, 99));
    expect(st, store_failed(), "alarm-raise(store) answer(1,store-failed)");
    until_due(st);
    expect(st, timer(), "ask-identity");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 99), "adopt(live,s99)");
    expect(st, (struct event){.kind = EV_ADOPTED}, "alarm-clear(store)");
    story_free(st);
}

static void an_add_cut_short_by_a_crash_leaves_nothing(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.unproven = true;
    ev.loaded.standing = STANDING_UNPROVEN;
    ev.loaded.subject = (struct fp){{0}};
    expect(st, ev, "retire");
    story_free(st);

    st = story_new(); /* spent already: ours alone, so it goes on */
    ev.loaded.generation = 2;
    expect(st, ev, "");
    expect(st, timer(), "ask-identity");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 99), "adopt(live,s99)");
    story_free(st);
}

/* As stored when the daemon ended in the middle of an `add`. */
static struct event loaded_unproven(struct story *st, enum standing standing, uint64_t generation)
{
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.unproven = true;
    ev.loaded.standing = standing;
    ev.loaded.generation = generation;
    ev.loaded.subject = (struct fp){{0}};
    ev.loaded.doubt_since_wall_ms = standing == STANDING_DOUBT ? st->now.wall_ms : 0;
    return ev;
}

static void an_add_that_is_in_doubt_is_not_given_up_by_a_restart(void **state)
{
    (void)state;
    struct story *st = story_new();
    /* The file's token may be spent: nobody else can do anything with it any more. */
    expect(st, loaded_unproven(st, STANDING_DOUBT, 1), "alarm-raise(in-doubt)");
    assert_int_equal(until_due(st), HOUR_MS);
    expect(st, timer(), "lease");
    present(st, 1, true);
    expect(st, granted(st, 2, HOUR_MS), "settle(g2,unproven,spent)");
    expect(st, of_intent(st, EV_SETTLED), "unlease alarm-clear(in-doubt)");
    expect(st, timer(), "ask-identity");
    story_free(st);
}

static void an_add_from_an_old_copy_is_in_doubt(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded_unproven(st, STANDING_UNPROVEN, 2);
    ev.loaded.restored = true;
    expect(st, ev, "alarm-raise(in-doubt) alarm-raise(restored)");
    story_free(st);
}

static void an_add_that_turned_out_dead_frees_its_name(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded_unproven(st, STANDING_UNPROVEN, 2));
    tell(st, timer());
    tell(st, named(EV_IDENTITY, IDENTITY_EXPIRED, 0));
    until_due(st);
    expect(st, timer(), "lease");
    present(st, 2, false);
    expect(st, answered(st, VERDICT_REFUSED), "close-intent(refused,dead)");
    expect(st, of_intent(st, EV_CLOSED), "unlease retire");
    story_free(st);

    st = story_new(); /* the crash came first */
    expect(st, loaded_unproven(st, STANDING_DEAD, 2), "retire");
    expect(st, store_failed(), "alarm-raise(store)");
    until_due(st);
    expect(st, timer(), "retire");
    story_free(st);
}

static void what_was_set_aside_can_be_claimed(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
    ev.loaded.standing = STANDING_QUARANTINED;
    ev.loaded.subject = fp_of(98);
    ev.loaded.generation = 2;
    expect(st, ev, "alarm-raise(subject)");
    struct event claim = added(st, POLICY_STANDBY, 0);
    claim.kind = EV_CLAIMED;
    claim.added.continues = profile_of(st, 97); /* not this one either */
    expect(st, claim, "alarm-clear(subject)");
    expect(st, timer(), "ask-identity");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 98), "adopt(quarantined,s98)");
    expect(st, (struct event){.kind = EV_ADOPTED},
           "alarm-raise(subject) answer(1,subject-differs)");
    claim.added.continues = 0;
    expect(st, claim, "alarm-clear(subject)");
    expect(st, claim, "answer(1,busy)"); /* once */
    expect(st, timer(), "ask-identity");
    expect(st, named(EV_IDENTITY, IDENTITY_NAMED, 98), "adopt(live,s98)");
    expect(st, (struct event){.kind = EV_ADOPTED}, "answer(1,done)");
    expect(st, claim, "answer(1,busy)"); /* a live lineage is nobody's to claim */
    story_free(st);
}

static void standby_does_not_spend_what_the_file_still_serves(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = added(st, POLICY_STANDBY, HOUR_MS);
    ev.added.held_elsewhere = true;
    tell(st, ev);
    tell(st, timer());
    tell(st, named(EV_IDENTITY, IDENTITY_NAMED, 99));
    tell(st, (struct event){.kind = EV_ADOPTED});
    assert_int_equal(until_due(st), HOUR_MS + 5 * MINUTE_MS);
    story_free(st);
}

static void stopping_tells_the_add(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, added(st, POLICY_ALWAYS, HOUR_MS));
    tell(st, (struct event){.kind = EV_STOP});
    expect(st, timer(), "answer(1,stopping) retire");
    story_free(st);
}

static void who_adds_is_told_when_it_is_removed_meanwhile(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, added(st, POLICY_ALWAYS, HOUR_MS));
    expect(st, timer(), "ask-identity");
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 2}, "");
    tell(st, named(EV_IDENTITY, IDENTITY_UNANSWERED, 0));
    expect(st, timer(), "retire");
    expect(st, (struct event){.kind = EV_RETIRED}, "answer(2,done) answer(1,profile-unknown)");
    story_free(st);
}

static void a_full_house_is_said(void **state)
{
    (void)state;
    struct story *st = story_new();
    for (int i = 0; i < 8; i++) {
        struct event ev = loaded(st, POLICY_ALWAYS, HOUR_MS);
        ev.lineage = (uint64_t)i + 10;
        tell(st, ev);
    }
    expect(st, added(st, POLICY_ALWAYS, HOUR_MS), "retire answer(1,busy)");
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_names_the_subject_and_it_is_adopted),
        cmocka_unit_test(nobody_gets_the_token_of_a_login_that_is_not_believed_yet),
        cmocka_unit_test(an_end_that_cannot_be_stored_while_the_server_is_asked_is_tried_again),
        cmocka_unit_test(a_renewal_right_after_the_add_is_a_renewal),
        cmocka_unit_test(a_provider_that_cannot_be_asked_is_taken_at_its_word),
        cmocka_unit_test(another_subject_than_the_profiles_is_turned_away),
        cmocka_unit_test(what_cannot_be_shown_to_be_the_same_subjects_replaces_nothing),
        cmocka_unit_test(a_dead_login_of_nobody_known_may_be_replaced),
        cmocka_unit_test(an_expired_access_token_is_renewed_before_the_question),
        cmocka_unit_test(what_was_spent_on_the_way_is_kept_in_quarantine),
        cmocka_unit_test(an_expired_pair_under_never_cannot_be_asked_about),
        cmocka_unit_test(a_revoked_access_token_is_renewed_by_policy_else_turned_away),
        cmocka_unit_test(a_server_that_knows_none_of_its_own_grants_is_not_spent_at_for_ever),
        cmocka_unit_test(a_server_that_does_not_answer_is_asked_again_then_the_add_gives_up),
        cmocka_unit_test(a_full_disk_at_the_adoption_is_told_and_overcome),
        cmocka_unit_test(an_add_cut_short_by_a_crash_leaves_nothing),
        cmocka_unit_test(an_add_that_is_in_doubt_is_not_given_up_by_a_restart),
        cmocka_unit_test(an_add_from_an_old_copy_is_in_doubt),
        cmocka_unit_test(an_add_that_turned_out_dead_frees_its_name),
        cmocka_unit_test(what_was_set_aside_can_be_claimed),
        cmocka_unit_test(standby_does_not_spend_what_the_file_still_serves),
        cmocka_unit_test(stopping_tells_the_add),
        cmocka_unit_test(who_adds_is_told_when_it_is_removed_meanwhile),
        cmocka_unit_test(a_full_house_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

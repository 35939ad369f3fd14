/*
 * Stories among siblings: what stands in the places of others, what is found there, and that no
 * client can spend behind us, nor we behind it.
 */
#include "core_places.h"

static void the_refresh_token_is_withheld_while_we_spend(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    until_spend(st);
    expect(st, leased(st), "publish(c1,a2,r0)");
    expect(st, published(st, C1), "store-intent(g1)");
    expect(st, of_intent(st, EV_INTENT_DURABLE), "spend(g1)");
    expect(st, granted(st, 2, HOUR), "settle(g2,live,spent)");
    tell(st, of_intent(st, EV_SETTLED));
    expect(st, timer(), "publish(c1,a4,r5)");
    expect(st, published(st, C1), "");
    expect(st, timer(), "");
    story_free(st);
}

static void a_spend_that_came_to_nothing_puts_the_pair_back(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    until_spend(st);
    tell(st, leased(st));
    tell(st, published(st, C1));
    expect(st, of_intent(st, EV_INTENT_DURABLE), "spend(g1)");
    expect(st, answered(st, VERDICT_THROTTLED), "close-intent(throttled,live)");
    tell(st, of_intent(st, EV_CLOSED));
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void a_sibling_that_was_faster_calls_the_spend_off(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    until_spend(st);
    expect(st, leased(st), "publish(c1,a2,r0)");
    expect(st, saw(st, C1, 2, K1, true), "unlease");
    expect(st, timer(), "ask-identity(k11)");
    later(st, 10 * MINUTE_MS); /* however late: the older token is not spent meanwhile */
    tell(st, timer());
    assert_null(strstr(st->said, "lease"));
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    story_free(st);
}

static void a_rotation_of_the_same_subject_is_adopted(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    later(st, 50 * MINUTE_MS);
    expect(st, saw(st, C1, 2, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    expect(st, of_capture(EV_ADOPTED, K1), "");
    expect(st, timer(), "");
    expect(st, want(st, 1, 30 * MINUTE_MS), "answer(1,token)");
    struct view v;
    assert_true(warden_view(st->w, (uint64_t)A, st->now, &v));
    assert_int_equal(v.generation, 2);
    assert_true(fp_equal(v.pair.access, fp_of(4)));
    story_free(st);
}

static void an_adoption_that_cannot_be_stored_is_tried_again(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, saw(st, C1, 2, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    expect(st, of_capture(EV_STORE_FAILED, K1), "alarm-raise(store)");
    until_due(st);
    expect(st, timer(), "adopt(k11,g2)");
    expect(st, of_capture(EV_ADOPTED, K1), "alarm-clear(store)");
    story_free(st);
}

static void a_stale_sibling_that_writes_an_old_pair_back_is_corrected(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    struct event ev = saw(st, C1, 3, K1, false);
    ev.observed.spent = true;
    expect(st, ev, "drop(k11)");
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void an_older_pair_of_the_same_subject_is_not_believed(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    struct event ev = saw(st, C1, 3, K1, false);
    ev.observed.pair.expires_wall_ms -= 30 * MINUTE_MS;
    expect(st, ev, "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "drop(k11)");
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void an_unknown_login_is_quarantined_and_its_place_left_alone(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    expect(st, saw(st, C1, 3, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 77), "alarm-raise(subject) quarantine(k11)");
    struct event ev = of_capture(EV_QUARANTINED, K1);
    expect(st, ev, "");
    struct event kept = loaded(st, POLICY_NEVER, HOUR);
    kept.lineage = (uint64_t)B;
    kept.loaded.standing = STANDING_QUARANTINED;
    kept.loaded.pair = pair_of(st, 3, HOUR);
    tell(st, kept);
    expect(st, timer(), "");
    later(st, MINUTE_MS); /* our own pair is not touched by it, and comes back when it is there */
    struct pair ours = pair_of(st, 1, HOUR);
    ours.expires_wall_ms -= MINUTE_MS;
    expect(st, saw_pair(C1, ours, 0, false), "alarm-clear(subject)");
    story_free(st);
}

static void another_profiles_late_write_goes_home(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    struct event other = loaded(st, POLICY_NEVER, HOUR);
    other.lineage = (uint64_t)B;
    other.loaded.subject = fp_of(88);
    other.loaded.pair = pair_of(st, 20, HOUR);
    expect(st, other, "");
    later(st, MINUTE_MS);
    expect(st, saw(st, C1, 21, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 88), "adopt(k11,g2)");
    assert_int_equal(st->out.list[0].lineage, B);
    struct event adopted = of_capture(EV_ADOPTED, K1);
    adopted.lineage = (uint64_t)B;
    expect(st, adopted, "");
    expect(st, timer(), "publish(c1,a2,r3)"); /* and ours is put back */
    story_free(st);
}

static void blanked_empty_or_torn_is_never_mirrored(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    expect(st, seen(C1, SEEN_BLANK, false), "");
    expect(st, timer(), ""); /* it was refused with this very pair: not again */
    expect(st, seen(C1, SEEN_GONE, false), "");
    expect(st, timer(), "");
    expect(st, seen(C1, SEEN_TORN, false), "");
    until_due(st);
    expect(st, timer(), "read(c1)");
    expect(st, seen(C1, SEEN_GONE, true), "");
    expect(st, want(st, 1, -1), "answer(1,token)");
    story_free(st);
}

static void a_client_that_was_refused_with_an_old_pair_gets_the_new_one(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    struct event old = saw(st, C1, 9, 0, false);
    old.observed.spent = true;
    tell(st, old);
    expect(st, seen(C1, SEEN_BLANK, false), "");
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void one_place_at_most_is_given_the_refresh_token(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    expect(st, bound(C2, true, true), "");
    expect(st, timer(), "read(c2)");
    struct event copied = saw(st, C2, 1, 0, true); /* somebody copied the file */
    expect(st, copied, "");
    expect(st, timer(), "publish(c2,a2,r0)");
    expect(st, published(st, C2), "");
    expect(st, bound(3, false, false), "");
    expect(st, timer(), "publish(c3,a2,r0)");
    story_free(st);
}

static void a_place_that_is_locked_is_tried_again_and_nothing_is_spent_behind_it(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    until_spend(st);
    expect(st, leased(st), "publish(c1,a2,r0)");
    expect(st, failed(C1), "unlease");
    until_due(st);
    expect(st, timer(), "read(c1)");
    expect(st, saw_pair(C1, st->published, 0, true), "");
    story_free(st);
}

static void refused_for_good_but_a_sibling_has_the_answer(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    refuse_for_good(st);
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 2, K1, true), "");
    expect(st, timer(), "ask-identity(k11)");
    later(st, HOUR);
    tell(st, timer());
    assert_null(strstr(st->said, "dead"));
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    expect(st, of_capture(EV_ADOPTED, K1), "alarm-clear(in-doubt)");
    story_free(st);
}

static void refused_for_good_and_nothing_to_be_found_is_dead(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    until_spend(st);
    tell(st, leased(st));
    tell(st, published(st, C1));
    struct pair there = st->published;
    tell(st, of_intent(st, EV_INTENT_DURABLE));
    tell(st, answered(st, VERDICT_REFUSED));
    tell(st, of_intent(st, EV_CLOSED));
    expect(st, timer(), "read(c1)");
    expect(st, saw_pair(C1, there, 0, true), "");
    until_due(st); /* once more, when a sibling has had its time */
    expect(st, timer(), "read(c1)");
    expect(st, saw_pair(C1, there, 0, true), "");
    expect(st, timer(), "alarm-clear(in-doubt) alarm-raise(dead)");
    expect(st, want(st, 1, -1), "answer(1,sign-in-needed)");
    /* A later sign-in by the client brings it back. */
    later(st, HOUR);
    expect(st, saw(st, C1, 5, K2, false), "");
    expect(st, timer(), "ask-identity(k12)");
    expect(st, capture_named(K2, IDENTITY_NAMED, 99), "adopt(k12,g2)");
    expect(st, of_capture(EV_ADOPTED, K2), "alarm-clear(dead)");
    story_free(st);
}

static void nothing_is_given_up_while_the_daemon_stops(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    refuse_for_good(st);
    expect(st, (struct event){.kind = EV_STOP}, "");
    later(st, 10 * MINUTE_MS); /* others have a spend in flight */
    expect(st, timer(), "");
    assert_true(warden_deadline(st->w) == TIME_NEVER);
    story_free(st);
}

static void a_pair_that_nobody_can_be_asked_about_goes_the_way_of_an_add(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    later(st, 30 * MINUTE_MS);
    expect(st, saw(st, C1, 2, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    later(st, 2 * HOUR);
    expect(st, capture_named(K1, IDENTITY_EXPIRED, 0), "claim(k11)");
    struct event ev = {.kind = EV_ADDED, .lineage = (uint64_t)B, .capture = K1};
    ev.added.rules = st->rules;
    ev.added.policy = POLICY_ALWAYS;
    ev.added.pair = pair_of(st, 2, 0);
    ev.added.pair.expires_wall_ms = st->now.wall_ms - HOUR;
    ev.added.continues = (uint64_t)A;
    ev.added.deadline_boot_ms = TIME_NEVER;
    expect(st, ev, "");
    tell(st, timer());
    assert_non_null(strstr(st->said, "lease"));
    story_free(st);
}

static void what_was_claimed_takes_no_profile_whose_subject_is_not_known(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.loaded.subject = (struct fp){{0}};
    ev.loaded.standing = STANDING_DEAD;
    tell(st, ev);
    expect(st, bound(C1, true, true), "");
    expect(st, timer(), "read(c1)");
    tell(st, saw(st, C1, 2, K1, true));
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_EXPIRED, 0), "alarm-raise(subject) quarantine(k11)");
    story_free(st);
}

static void an_unknown_pair_that_is_older_and_cannot_be_asked_about_is_kept(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    struct event ev = saw(st, C1, 3, K1, false);
    ev.observed.pair.expires_wall_ms -= 30 * MINUTE_MS;
    expect(st, ev, "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_REVOKED, 0), "alarm-raise(subject) quarantine(k11)");
    story_free(st);
}

static void what_stood_there_before_our_own_grant_is_not_newer(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    present_withheld(st);
    expect(st, saw(st, C1, 2, K1, false), ""); /* a sibling was granted one, too */
    st->now.boot_ms -= SECOND_MS;
    st->now.wall_ms -= SECOND_MS;
    struct event grant = granted(st, 3, HOUR);
    later(st, SECOND_MS);
    tell(st, grant);
    tell(st, of_intent(st, EV_SETTLED));
    tell(st, timer());
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "drop(k11)");
    story_free(st);
}

static void more_than_can_be_asked_about_is_kept_sealed(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    for (int i = 0; i < CAPTURES_PER_LINEAGE_MAX; i++) {
        expect(st, saw(st, C1, 40 + i, 100 + i, false), "");
        later(st, 1);
    }
    /* The oldest: its client has gone on since, and what stands there now may be the only live one.
     */
    expect(st, saw(st, C1, 60, 120, false), "quarantine(k100)");
    expect(st, of_capture(EV_QUARANTINED, 100), "");
    tell(st, timer());
    assert_non_null(strstr(st->said, "ask-identity(k120)"));
    tell(st, capture_named(120, IDENTITY_NAMED, 99));
    assert_non_null(strstr(st->said, "adopt(k120,g2)"));
    story_free(st);
}

static void a_dead_token_is_handed_to_nobody_while_its_successor_is_written(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_NEVER, HOUR);
    ev.loaded.standing = STANDING_DEAD;
    expect(st, ev, "alarm-raise(dead)");
    tell(st, bound(C1, true, true));
    tell(st, timer());
    tell(st, saw(st, C1, 5, K1, true));
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    ev = want(st, 2, -1);
    ev.want.deadline_boot_ms = st->now.boot_ms;
    expect(st, ev, "answer(2,sign-in-needed)");
    story_free(st);
}

static void nobody_is_given_the_token_while_another_place_is_not_looked_at(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    struct pair ours = ev.loaded.pair;
    tell(st, ev);
    tell(st, bound(C1, true, true));
    tell(st, bound(C2, true, true));
    expect(st, timer(), "read(c1) read(c2)");
    expect(st, seen(C1, SEEN_BLANK, true), "");
    expect(st, timer(), "publish(c1,a2,r0)"); /* C2 may have the refresh token */
    expect(st, published(st, C1), "");
    expect(st, saw_pair(C2, ours, 0, true), "");
    expect(st, timer(), "publish(c2,a2,r0)");
    expect(st, published(st, C2), "");
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void who_may_not_spend_keeps_what_cannot_be_asked(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    later(st, 30 * MINUTE_MS);
    expect(st, saw(st, C1, 2, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_EXPIRED, 0), "");
    later(st, 5 * HOUR);
    expect(st, timer(), "");
    story_free(st);
}

static void captures_of_an_earlier_run_are_not_forgotten(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    struct event ev = saw(st, C1, 2, K1, false);
    ev.observed.from_store = true;
    expect(st, ev, "");
    expect(st, timer(), "ask-identity(k11)");
    struct event again = saw(st, C1, 2, K1, false); /* the same, now by the watch */
    expect(st, again, "");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    struct event orphan = saw(st, 0, 7, K2, false); /* its consumer is gone */
    orphan.observed.from_store = true;
    orphan.lineage = 999;
    expect(st, orphan, "quarantine(k12)");
    story_free(st);
}

static void standby_rests_while_a_client_holds_the_pair(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_STANDBY);
    struct event old = saw(st, C1, 9, 0, false);
    old.observed.spent = true;
    tell(st, old);
    expect(st, timer(), "publish(c1,a2,r3)");
    expect(st, published(st, C1), "");
    later(st, 59 * MINUTE_MS);
    expect(st, timer(), "");
    expect(st, want(st, 1, 30 * MINUTE_MS), "answer(1,policy-forbids)");
    later(st, MINUTE_MS + 5 * MINUTE_MS);
    tell(st, timer());
    assert_non_null(strstr(st->said, "lease"));
    story_free(st);
}

static void a_sink_is_never_given_the_refresh_token(void **state)
{
    (void)state;
    struct story *st = story_new();
    expect(st, loaded(st, POLICY_ALWAYS, HOUR), "");
    expect(st, bound(C1, false, true), "");
    expect(st, timer(), "publish(c1,a2,r0)");
    story_free(st);
}

static void a_server_that_does_not_answer_is_asked_ever_more_rarely(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, saw(st, C1, 2, K1, false), "");
    int64_t waited = 0;
    for (int i = 0; i < 12; i++) {
        waited = until_due(st);
        tell(st, timer());
        assert_non_null(strstr(st->said, "ask-identity(k11)"));
        tell(st, capture_named(K1, IDENTITY_UNANSWERED, 0));
    }
    assert_true(waited > MINUTE_MS);
    story_free(st);
}

static void where_nobody_can_be_asked_a_found_pair_is_quarantined(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.has_identity = false;
    expect(st, loaded(st, POLICY_ALWAYS, HOUR), "");
    expect(st, bound(C1, true, true), "");
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 2, K1, true), "");
    expect(st, timer(), "alarm-raise(subject) quarantine(k11)");
    story_free(st);
}

static void what_was_found_at_a_removed_profiles_place_still_finds_its_own(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    struct event other = loaded(st, POLICY_ALWAYS, HOUR);
    other.lineage = (uint64_t)B;
    other.loaded.subject = fp_of(88);
    other.loaded.pair = pair_of(st, 20, HOUR);
    tell(st, other);
    struct event spend = renew(st, 1); /* B is busy and cannot take it now */
    spend.lineage = (uint64_t)B;
    tell(st, spend);
    expect(st, timer(), "lease");
    expect(st, saw(st, C1, 21, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 88), "");
    expect(st, (struct event){.kind = EV_REMOVE, .waiter = 5}, "");
    expect(st, timer(), "retire");
    expect(st, (struct event){.kind = EV_RETIRED}, "answer(5,done)");
    struct event refused = {.kind = EV_LEASED, .lineage = (uint64_t)B};
    tell(st, refused); /* no lease: B is at rest again */
    expect(st, timer(), "adopt(k11,g2)");
    story_free(st);
}

static void what_is_not_resolved_follows_its_place_to_the_next_login(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    expect(st, saw(st, C1, 3, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    struct event ev = {.kind = EV_ADDED, .lineage = (uint64_t)B, .waiter = 9};
    ev.added.rules = st->rules;
    ev.added.policy = POLICY_ALWAYS;
    ev.added.pair = pair_of(st, 5, HOUR);
    ev.added.continues = (uint64_t)A;
    ev.added.deadline_boot_ms = st->now.boot_ms + MINUTE_MS;
    tell(st, ev);
    tell(st, timer());
    struct event whose = named(EV_IDENTITY, IDENTITY_NAMED, 99);
    whose.lineage = (uint64_t)B;
    tell(st, whose);
    expect(st, (struct event){.kind = EV_ADOPTED, .lineage = (uint64_t)B}, "answer(9,done)");
    expect(st, timer(), ""); /* nobody knows yet who is signed in there: left as it is */
    expect(st, capture_named(K1, IDENTITY_NAMED, 77), "alarm-raise(subject) quarantine(k11)");
    assert_int_equal(st->out.list[0].lineage, B);
    story_free(st);
}

static void a_found_pair_that_was_copied_is_left_alone_in_both_places(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    struct event other = loaded(st, POLICY_ALWAYS, HOUR);
    other.lineage = (uint64_t)B;
    other.loaded.subject = fp_of(88);
    other.loaded.pair = pair_of(st, 20, HOUR);
    struct pair theirs = other.loaded.pair;
    tell(st, other);
    struct event ev = bound(C2, true, true);
    ev.lineage = (uint64_t)B;
    tell(st, ev);
    expect(st, timer(), "read(c2)");
    expect(st, saw_pair(C2, theirs, 0, true), "");
    expect(st, saw(st, C1, 3, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, saw(st, C2, 3, K1, false), "");
    expect(st, timer(), "");
    expect(st, capture_named(K1, IDENTITY_NAMED, 77),
           "alarm-raise(subject) alarm-raise(subject) quarantine(k11)");
    story_free(st);
}

static void one_capture_that_fails_does_not_end_the_adoption_of_another(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    expect(st, saw(st, C1, 2, K1, false), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, saw(st, C1, 4, K2, false), "");
    expect(st, timer(), "ask-identity(k12)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    tell(st, capture_named(K2, IDENTITY_NAMED, 77));
    expect(st, of_capture(EV_STORE_FAILED, K2), "alarm-raise(store)");
    expect(st, of_capture(EV_ADOPTED, K1), "alarm-clear(store)");
    struct view v;
    assert_true(warden_view(st->w, (uint64_t)A, st->now, &v));
    assert_int_equal(v.generation, 2);
    story_free(st);
}

static void what_was_given_away_stays_so_while_the_refresh_token_is_the_same(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    expect(st, (struct event){.kind = EV_UNBOUND, .consumer = C1}, "");
    expect(st, bound(C2, true, true), "");
    expect(st, timer(), "read(c2)");
    expect(st, saw(st, C2, 1, 0, true), "");
    expect(st, timer(), "publish(c2,a2,r0)");
    expect(st, published(st, C2), "");
    later(st, MINUTE_MS);
    expect(st, renew(st, 1), "");
    expect(st, timer(), "lease");
    tell(st, leased(st));
    tell(st, of_intent(st, EV_INTENT_DURABLE));
    struct event kept = granted(st, 2, HOUR);
    kept.answer.pair.refresh = fp_of(3); /* the old refresh token stays good */
    tell(st, kept);
    tell(st, of_intent(st, EV_SETTLED));
    expect(st, timer(), "publish(c2,a4,r0)");
    story_free(st);
}

static void a_refresh_token_belongs_to_the_lineage_that_has_it(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    struct event other = loaded(st, POLICY_ALWAYS, HOUR);
    other.lineage = (uint64_t)B;
    other.loaded.pair = pair_of(st, 20, HOUR); /* another profile of the same subject */
    tell(st, other);
    later(st, MINUTE_MS);
    struct event ev = saw(st, C1, 21, K1, false);
    ev.observed.pair.refresh = fp_of(41);
    expect(st, ev, "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    assert_int_equal(st->out.list[0].lineage, B);
    /* Beside an access token of somebody else it is nobody's new login. */
    ev = saw(st, C1, 30, K2, false);
    ev.observed.pair.refresh = fp_of(3);
    tell(st, ev);
    tell(st, timer());
    expect(st, capture_named(K2, IDENTITY_NAMED, 77), "drop(k12)");
    story_free(st);
}

static void our_own_refresh_token_is_not_claimed(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    later(st, 30 * MINUTE_MS);
    struct event ev = saw(st, C1, 2, K1, false);
    ev.observed.pair.refresh = fp_of(3);
    expect(st, ev, "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_EXPIRED, 0), "drop(k11)");
    story_free(st);
}

static void a_removed_profile_leaves_nothing_behind_in_the_core(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    expect(st, saw(st, C1, 2, K1, false), "");
    struct event remove = {.kind = EV_REMOVE, .waiter = 5};
    expect(st, remove, "");
    expect(st, timer(), "retire");
    expect(st, (struct event){.kind = EV_RETIRED}, "answer(5,done) quarantine(k11)");
    expect(st, of_capture(EV_QUARANTINED, K1), "");
    expect(st, published(st, C1), "");
    assert_int_equal(warden_deadline(st->w), TIME_NEVER);
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_refresh_token_is_withheld_while_we_spend),
        cmocka_unit_test(a_spend_that_came_to_nothing_puts_the_pair_back),
        cmocka_unit_test(a_sibling_that_was_faster_calls_the_spend_off),
        cmocka_unit_test(a_rotation_of_the_same_subject_is_adopted),
        cmocka_unit_test(an_adoption_that_cannot_be_stored_is_tried_again),
        cmocka_unit_test(a_stale_sibling_that_writes_an_old_pair_back_is_corrected),
        cmocka_unit_test(an_older_pair_of_the_same_subject_is_not_believed),
        cmocka_unit_test(an_unknown_login_is_quarantined_and_its_place_left_alone),
        cmocka_unit_test(another_profiles_late_write_goes_home),
        cmocka_unit_test(blanked_empty_or_torn_is_never_mirrored),
        cmocka_unit_test(a_client_that_was_refused_with_an_old_pair_gets_the_new_one),
        cmocka_unit_test(one_place_at_most_is_given_the_refresh_token),
        cmocka_unit_test(a_place_that_is_locked_is_tried_again_and_nothing_is_spent_behind_it),
        cmocka_unit_test(refused_for_good_but_a_sibling_has_the_answer),
        cmocka_unit_test(refused_for_good_and_nothing_to_be_found_is_dead),
        cmocka_unit_test(nothing_is_given_up_while_the_daemon_stops),
        cmocka_unit_test(a_pair_that_nobody_can_be_asked_about_goes_the_way_of_an_add),
        cmocka_unit_test(what_was_claimed_takes_no_profile_whose_subject_is_not_known),
        cmocka_unit_test(an_unknown_pair_that_is_older_and_cannot_be_asked_about_is_kept),
        cmocka_unit_test(what_stood_there_before_our_own_grant_is_not_newer),
        cmocka_unit_test(more_than_can_be_asked_about_is_kept_sealed),
        cmocka_unit_test(a_dead_token_is_handed_to_nobody_while_its_successor_is_written),
        cmocka_unit_test(nobody_is_given_the_token_while_another_place_is_not_looked_at),
        cmocka_unit_test(who_may_not_spend_keeps_what_cannot_be_asked),
        cmocka_unit_test(captures_of_an_earlier_run_are_not_forgotten),
        cmocka_unit_test(standby_rests_while_a_client_holds_the_pair),
        cmocka_unit_test(a_sink_is_never_given_the_refresh_token),
        cmocka_unit_test(a_server_that_does_not_answer_is_asked_ever_more_rarely),
        cmocka_unit_test(where_nobody_can_be_asked_a_found_pair_is_quarantined),
        cmocka_unit_test(what_was_found_at_a_removed_profiles_place_still_finds_its_own),
        cmocka_unit_test(what_is_not_resolved_follows_its_place_to_the_next_login),
        cmocka_unit_test(a_found_pair_that_was_copied_is_left_alone_in_both_places),
        cmocka_unit_test(one_capture_that_fails_does_not_end_the_adoption_of_another),
        cmocka_unit_test(what_was_given_away_stays_so_while_the_refresh_token_is_the_same),
        cmocka_unit_test(a_refresh_token_belongs_to_the_lineage_that_has_it),
        cmocka_unit_test(our_own_refresh_token_is_not_claimed),
        cmocka_unit_test(a_removed_profile_leaves_nothing_behind_in_the_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

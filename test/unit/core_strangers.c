/*
 * Stories about places with something in them that is not what the lineage has: a stranger's login,
 * a place that another profile had before, one that could not be read, two finds at once.
 */
#include "core_places.h"

/* ---- whose place it is ---- */

static struct event other_profile(struct story *st)
{
    struct event ev = loaded(st, POLICY_NEVER, HOUR);
    ev.lineage = B;
    ev.loaded.pair = pair_of(st, 7, HOUR);
    ev.loaded.subject = fp_of(97);
    return ev;
}

static void a_place_is_of_the_lineage_that_it_was_bound_to_last(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    tell(st, other_profile(st));
    struct event ev = bound(C1, true, true);
    ev.lineage = B; /* another warden has ended A, and A has not followed yet */
    expect(st, ev, "");
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 1, 0, true), "");
    expect(st, timer(), "publish(c1,a14,r15)");
    story_free(st);
}

static void a_place_that_is_bound_while_an_intent_is_written_is_withheld_first(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_ALWAYS, HOUR));
    struct pair ours = pair_of(st, 1, HOUR);
    until_due(st);
    expect(st, timer(), "lease");
    expect(st, leased(st), "store-intent(g1)");
    expect(st, bound(C1, true, true), "");
    expect(st, saw_pair(C1, ours, 0, false), ""); /* it has our refresh token */
    expect(st, of_intent(st, EV_INTENT_DURABLE), "close-intent(unsent,live)");
    story_free(st);
}

static void other_lineages_wait_for_a_place_that_could_not_be_read_but_not_for_ever(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, other_profile(st));
    struct event ev = bound(C1, true, true);
    ev.lineage = B;
    tell(st, ev);
    ev = loaded(st, POLICY_ALWAYS, MINUTE_MS);
    ev.loaded.pair.expires_wall_ms = st->now.wall_ms - 1; /* due at once */
    ev.loaded.expires_boot_ms = st->now.boot_ms - 1;
    tell(st, ev);
    expect(st, timer(), "read(c1)");
    for (int look = 0; look < 2; look++) {
        expect(st, failed(C1), "");
        until_due(st);
        expect(st, timer(), "read(c1)");
    }
    tell(st, failed(C1));
    tell(st, timer());
    assert_non_null(strstr(st->said, "lease"));
    story_free(st);
}

static void what_stood_where_a_write_failed_may_stand_there_still(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    tell(st, other_profile(st));
    struct event ev = bound(C2, true, true);
    ev.lineage = B;
    tell(st, ev);
    expect(st, timer(), "read(c2)");
    expect(st, saw(st, C2, 1, 0, true), ""); /* a copy of A's pair */
    expect(st, timer(), "publish(c2,a14,r15)");
    for (int look = 0; look < 5; look++) {
        tell(st, failed(C2));
        until_due(st);
        expect(st, timer(), "read(c2)");
    }
    tell(st, failed(C2));
    later(st, HOUR); /* A is due: its token may be in use there */
    for (int turn = 0; turn < 3; turn++) {
        tell(st, timer());
        assert_null(strstr(st->said, "lease"));
    }
    story_free(st);
}

/* A place of B's has a copy of A's pair. */
static struct story *with_a_copy_at_anothers(void)
{
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_NEVER, HOUR));
    tell(st, other_profile(st));
    struct event ev = bound(C2, true, true);
    ev.lineage = B;
    tell(st, ev);
    expect(st, timer(), "read(c2)");
    expect(st, saw(st, C2, 1, 0, true), "");
    return st;
}

static void gives_no_other_place_the_token(struct story *st)
{
    tell(st, bound(C1, true, true));
    expect(st, timer(), "read(c1)");
    struct event former = saw_pair(C1, pair_of(st, 4, HOUR), 0, true);
    former.observed.spent = true;
    tell(st, former);
    expect(st, timer(), "publish(c1,a2,r0)");
}

static void a_token_that_stays_behind_in_a_place_of_another_is_given_to_nobody_else(void **state)
{
    (void)state;
    struct story *st = with_a_copy_at_anothers();
    tell(st, (struct event){.kind = EV_UNBOUND, .consumer = C2});
    gives_no_other_place_the_token(st);
    story_free(st);
}

static void nor_is_one_that_stays_behind_where_another_lineage_ended(void **state)
{
    (void)state;
    struct story *st = with_a_copy_at_anothers();
    tell(st, (struct event){.kind = EV_REMOVE, .lineage = B, .waiter = 1});
    expect(st, timer(), "retire");
    tell(st, (struct event){.kind = EV_RETIRED, .lineage = B});
    gives_no_other_place_the_token(st);
    story_free(st);
}

static void nobody_is_given_the_token_while_a_place_of_another_is_not_looked_at(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_NEVER, HOUR));
    tell(st, bound(C1, true, true));
    tell(st, other_profile(st));
    struct event ev = bound(C2, true, true);
    ev.lineage = B;
    tell(st, ev);
    expect(st, timer(), "read(c1) read(c2)");
    struct event former = saw_pair(C1, pair_of(st, 4, HOUR), 0, true);
    former.observed.spent = true;
    tell(st, former);
    expect(st, timer(), "publish(c1,a2,r0)"); /* C2 may have it */
    tell(st, published(st, C1));
    tell(st, saw(st, C2, 7, 0, true));
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void what_is_seen_while_a_place_is_read_is_heard(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_NEVER, HOUR));
    tell(st, bound(C1, true, true));
    expect(st, timer(), "read(c1)");
    struct event former = saw_pair(C1, pair_of(st, 4, HOUR), 0, false);
    former.observed.spent = true;
    tell(st, former);
    tell(st, (struct event){.kind = EV_UNBOUND, .consumer = C1}); /* our token is not there */
    tell(st, bound(C2, true, true));
    expect(st, timer(), "read(c2)");
    former = saw_pair(C2, pair_of(st, 4, HOUR), 0, true);
    former.observed.spent = true;
    tell(st, former);
    expect(st, timer(), "publish(c2,a2,r3)");
    story_free(st);
}

/* ---- blanked ---- */

static void who_blanked_a_place_that_we_failed_to_write_was_not_refused_with_our_pair(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    struct pair former = pair_of(st, 4, HOUR);
    struct event ev = saw_pair(C1, former, 0, false);
    ev.observed.spent = true;
    tell(st, ev);
    expect(st, seen(C1, SEEN_BLANK, false), ""); /* with that one it was refused */
    expect(st, timer(), "publish(c1,a2,r3)");
    tell(st, failed(C1));
    until_due(st);
    expect(st, timer(), "read(c1)");
    expect(st, seen(C1, SEEN_BLANK, true), "");
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

/* ---- set aside ---- */

static struct event set_aside(struct story *st, int n)
{
    struct event ev = loaded(st, POLICY_NEVER, HOUR);
    ev.lineage = B;
    ev.loaded.pair = pair_of(st, n, HOUR);
    ev.loaded.standing = STANDING_QUARANTINED;
    ev.loaded.subject = fp_of(98);
    return ev;
}

static void what_another_warden_set_aside_is_left_alone_here_too(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    /* The store has it already, as whose is not said. */
    expect(st, saw(st, C1, 5, 0, false), "alarm-raise(subject)");
    expect(st, timer(), "");
    tell(st, set_aside(st, 5));
    expect(st, timer(), "");
    story_free(st);
}

static void a_stranger_whose_token_another_warden_has_spent_is_none_any_more(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    tell(st, set_aside(st, 5));
    expect(st, saw(st, C1, 5, 0, false), "alarm-raise(subject)");
    expect(st, timer(), "");
    struct event spent = set_aside(st, 6);
    spent.kind = EV_OVERTAKEN;
    spent.loaded.generation = 2;
    tell(st, spent);
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void who_was_nobody_we_knew_is_looked_at_when_a_lineage_is_heard_of(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, saw(st, C1, 5, 0, false), "alarm-raise(subject)");
    struct event ev = other_profile(st); /* 5 was its pair, before the one that it has now */
    tell(st, ev);
    expect(st, timer(), "read(c1)");
    ev = saw(st, C1, 5, 0, true);
    ev.observed.spent = true;
    expect(st, ev, "alarm-clear(subject)");
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void a_stranger_is_left_alone_whatever_access_token_stands_beside_his_refresh_token(
    void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, saw(st, C1, 5, K1, false), "");
    tell(st, timer());
    struct pair before = pair_of(st, 5, HOUR);
    before.access = fp_of(40);
    struct event back = saw_pair(C1, before, 0, false); /* written back meanwhile, and known */
    back.observed.spent = true;
    tell(st, back);
    expect(st, capture_named(K1, IDENTITY_NAMED, 98), "alarm-raise(subject) quarantine(k11)");
    tell(st, of_capture(EV_QUARANTINED, K1));
    expect(st, timer(), "");
    story_free(st);
}

static void a_claim_that_is_set_aside_unspent_is_left_alone_where_it_stands(void **state)
{
    (void)state;
    struct story *st = with_a_mute_pair(POLICY_ALWAYS);
    struct event ev = claimed_pair(st, POLICY_ALWAYS);
    ev.added.rules.has_identity = false; /* of a provider that cannot be asked */
    tell(st, ev);
    expect(st, timer(), "adopt(quarantined,s0)");
    ev = (struct event){.kind = EV_ADOPTED, .lineage = B};
    tell(st, ev);
    tell(st, timer());
    assert_null(strstr(st->said, "publish"));
    story_free(st);
}

static void a_stranger_seen_while_we_write_over_him_is_no_stranger_afterwards(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    struct event ev = saw_pair(C1, pair_of(st, 4, HOUR), 0, false);
    ev.observed.spent = true;
    tell(st, ev);
    expect(st, timer(), "publish(c1,a2,r3)");
    tell(st, saw(st, C1, 5, 0, false)); /* from just before it was written */
    tell(st, published(st, C1));
    ev = saw_pair(C1, pair_of(st, 4, HOUR), 0, false);
    ev.observed.spent = true;
    tell(st, ev);
    expect(st, timer(), "publish(c1,a2,r3)");
    story_free(st);
}

static void a_stranger_is_told_of_also_where_there_is_no_room_to_ask_about_him(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    tell(st, set_aside(st, 5));
    for (int k = 0; k < CAPTURES_PER_LINEAGE_MAX; k++)
        expect(st, saw(st, C1, 10 + k, 20 + k, false), "");
    struct pair renewed = pair_of(st, 5, HOUR);
    renewed.access = fp_of(90);
    expect(st, saw_pair(C1, renewed, 40, false), "drop(k40) alarm-raise(subject)");
    story_free(st);
}

/* ---- one grant is one lineage ---- */

static void a_pair_of_our_own_grant_is_not_set_aside_where_its_place_is_nobodys(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_NEVER, HOUR));
    struct pair ours = pair_of(st, 1, HOUR);
    ours.access = fp_of(40);
    expect(st, saw_pair(C2, ours, K1, false), "drop(k11)");
    story_free(st);
}

static void two_lineages_of_one_token_both_wait_for_it_to_be_withheld(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.lineage = B; /* a token that is not single use, added twice under two names */
    tell(st, ev);
    int leases = 0, intents = 0;
    for (int64_t lineage = A; leases < 2; lineage = B) {
        until_spend(st);
        ev = leased(st);
        ev.lineage = (uint64_t)lineage;
        ev.lease.until_boot_ms = TIME_NEVER;
        tell(st, ev);
        leases++;
    }
    tell(st, published(st, C1));
    for (const char *at = st->said; (at = strstr(at, "store-intent")); at++)
        intents++;
    assert_int_equal(intents, 2);
    story_free(st);
}

/* ---- what people are told ---- */

static void a_stranger_who_renews_is_told_of_once(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    tell(st, saw(st, C1, 5, K1, false));
    tell(st, timer());
    expect(st, capture_named(K1, IDENTITY_NAMED, 98), "alarm-raise(subject) quarantine(k11)");
    tell(st, of_capture(EV_QUARANTINED, K1));
    expect(st, saw(st, C1, 6, K2, false), ""); /* whose that is, is not known yet */
    tell(st, timer());
    expect(st, capture_named(K2, IDENTITY_NAMED, 98), "quarantine(k12)");
    story_free(st);
}

static void an_alarm_of_a_stranger_ends_with_the_last_place(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_NEVER, HOUR);
    ev.loaded.alarms = 1u << ALARM_SUBJECT; /* a crash forgot that it was cleared */
    tell(st, ev);
    expect(st, timer(), "alarm-clear(subject)");
    story_free(st);
}

static void who_goes_without_because_the_token_was_refused_is_told_of(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_ALWAYS, HOUR));
    expect(st, renew(st, 1), "");
    expect(st, timer(), "lease");
    expect(st, leased(st), "store-intent(g1)");
    tell(st, of_intent(st, EV_INTENT_DURABLE));
    struct event ev = named(EV_IDENTITY, IDENTITY_REVOKED, 0);
    ev.generation = 1;
    tell(st, ev); /* long before its expiry */
    tell(st, answered(st, VERDICT_THROTTLED));
    tell(st, of_intent(st, EV_CLOSED));
    assert_non_null(strstr(st->said, "alarm-raise(unreachable)"));
    story_free(st);
}

/* ---- two at once ---- */

static void of_two_mute_finds_the_one_that_lasts_longer_is_tried(void **state)
{
    (void)state;
    struct story *st = with_a_claim(POLICY_ALWAYS);
    tell(st, bound(C2, true, false));
    tell(st, timer());
    struct pair later_one = pair_of(st, 3, 2 * HOUR);
    tell(st, saw_pair(C2, later_one, K2, true));
    tell(st, timer());
    tell(st, capture_named(K2, IDENTITY_EXPIRED, 0)); /* it may be what the claimed one became */
    if (!strstr(st->said, "adopt"))
        tell(st, timer());
    assert_non_null(strstr(st->said, "adopt(quarantined,s0)"));
    struct event ev = {.kind = EV_ADOPTED, .lineage = B};
    tell(st, ev);
    tell(st, timer());
    assert_non_null(strstr(st->said, "claim(k12)"));
    story_free(st);
}

static void of_two_mute_finds_the_older_is_set_aside(void **state)
{
    (void)state;
    struct story *st = with_a_claim(POLICY_ALWAYS);
    tell(st, bound(C2, true, false));
    tell(st, timer());
    struct pair older = pair_of(st, 3, HOUR);
    older.expires_wall_ms = st->now.wall_ms - 2;
    tell(st, saw_pair(C2, older, K2, true));
    tell(st, timer());
    tell(st, capture_named(K2, IDENTITY_EXPIRED, 0));
    assert_non_null(strstr(st->said, "quarantine(k12)"));
    tell(st, of_capture(EV_QUARANTINED, K2));
    tell(st, timer());
    assert_non_null(strstr(st->said, "lease")); /* neither holds the other back */
    story_free(st);
}

static void of_two_finds_of_one_lineage_the_later_goes_first(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    present_withheld(st); /* our own spend is under way: what is found waits for it */
    tell(st, saw_pair(C1, pair_of(st, 2, 2 * HOUR), K1, false));
    tell(st, timer());
    tell(st, saw_pair(C1, pair_of(st, 3, 3 * HOUR), K2, false));
    tell(st, timer());
    tell(st, capture_named(K1, IDENTITY_NAMED, 99));
    tell(st, capture_named(K2, IDENTITY_NAMED, 99));
    expect(st, answered(st, VERDICT_UNSENT), "close-intent(unsent,live)");
    expect(st, of_intent(st, EV_CLOSED), "unlease");
    expect(st, timer(), "adopt(k12,g2)");
    tell(st, of_capture(EV_ADOPTED, K2));
    tell(st, timer());
    assert_non_null(strstr(st->said, "drop(k11)"));
    story_free(st);
}

/* C1 is a place of B, which is never spent; a copy of what was found there stands in C2, of A. */
static void a_find_that_waits_for_its_user_keeps_nobody_else_waiting(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, other_profile(st));
    struct event ev = bound(C1, true, true);
    ev.lineage = B;
    tell(st, ev);
    tell(st, timer());
    tell(st, saw(st, C1, 5, K1, true));
    expect(st, timer(), "ask-identity(k11)");
    ev = capture_named(K1, IDENTITY_EXPIRED, 0);
    ev.lineage = B;
    expect(st, ev, "");
    tell(st, loaded(st, POLICY_ALWAYS, HOUR));
    tell(st, bound(C2, true, true));
    expect(st, timer(), "read(c2)");
    tell(st, saw(st, C2, 5, K1, true));
    later(st, HOUR);
    tell(st, timer());
    assert_non_null(strstr(st->said, "lease"));
    story_free(st);
}

static void a_find_that_is_tried_is_left_alone_where_a_copy_of_it_stands(void **state)
{
    (void)state;
    struct story *st = with_a_mute_pair(POLICY_ALWAYS);
    struct event other = other_profile(st);
    other.lineage = B + 1;
    tell(st, other);
    struct event ev = bound(C2, true, true);
    ev.lineage = B + 1;
    tell(st, ev);
    expect(st, timer(), "read(c2)");
    expect(st, saw(st, C2, 2, K1, true), ""); /* copied from C1 */
    expect(st, timer(), "");
    ev = claimed_pair(st, POLICY_NEVER);
    ev.added.pair.expires_wall_ms = st->now.wall_ms - 1;
    tell(st, ev); /* nobody's yet, and perhaps the only pair there is */
    tell(st, timer());
    assert_null(strstr(st->said, "publish(c2"));
    story_free(st);
}

static struct pair access_alone(const struct story *st, int n, int64_t life_ms)
{
    struct pair pair = pair_of(st, n, life_ms);
    pair.refresh = (struct fp){{0}};
    return pair;
}

static void an_access_token_that_is_set_aside_is_no_stranger_where_it_is_our_own(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS); /* in C1 all of our pair, in C2 a part of it */
    tell(st, bound(C2, true, false));
    expect(st, timer(), "read(c2)");
    expect(st, saw_pair(C2, access_alone(st, 1, HOUR), 0, true), "");
    struct event ev = loaded(st, POLICY_NEVER, 0);
    ev.lineage = B; /* by another warden: a static pair, for all that it knew */
    ev.loaded.standing = STANDING_QUARANTINED;
    ev.loaded.pair = access_alone(st, 1, 0);
    expect(st, ev, "alarm-raise(subject)"); /* B's own */
    story_free(st);
}

/* A run that is forgotten wrote pair 2 into C1, and its access token into C2; nobody says how long
 * it lasts, so that this one may be anything. Both are on their way to the store. */
static struct story *with_a_part_of_what_is_believed(void)
{
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_ALWAYS, 0));
    tell(st, bound(C1, true, true));
    tell(st, bound(C2, true, false));
    expect(st, timer(), "read(c1) read(c2)");
    tell(st, saw_pair(C2, access_alone(st, 2, 0), K2, true));
    tell(st, saw_pair(C1, pair_of(st, 2, 0), K1, true));
    expect(st, timer(), "ask-identity(k12) ask-identity(k11)");
    expect(st, capture_named(K2, IDENTITY_NAMED, 99), "alarm-raise(subject) quarantine(k12)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    return st;
}

static void what_is_believed_in_the_end_is_no_stranger_where_it_stands(void **state)
{
    (void)state;
    struct story *st = with_a_part_of_what_is_believed();
    expect(st, of_capture(EV_QUARANTINED, K2), "");
    expect(st, of_capture(EV_ADOPTED, K1), "alarm-clear(subject)");
    expect(st, timer(), "");
    story_free(st);
}

static void nor_is_it_when_a_part_of_it_is_set_aside_later(void **state)
{
    (void)state;
    struct story *st = with_a_part_of_what_is_believed();
    expect(st, of_capture(EV_ADOPTED, K1), "");
    expect(st, of_capture(EV_QUARANTINED, K2), "alarm-clear(subject)");
    expect(st, timer(), "");
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_of_the_lineage_that_it_was_bound_to_last),
        cmocka_unit_test(a_place_that_is_bound_while_an_intent_is_written_is_withheld_first),
        cmocka_unit_test(other_lineages_wait_for_a_place_that_could_not_be_read_but_not_for_ever),
        cmocka_unit_test(what_stood_where_a_write_failed_may_stand_there_still),
        cmocka_unit_test(a_token_that_stays_behind_in_a_place_of_another_is_given_to_nobody_else),
        cmocka_unit_test(nor_is_one_that_stays_behind_where_another_lineage_ended),
        cmocka_unit_test(nobody_is_given_the_token_while_a_place_of_another_is_not_looked_at),
        cmocka_unit_test(what_is_seen_while_a_place_is_read_is_heard),
        cmocka_unit_test(who_blanked_a_place_that_we_failed_to_write_was_not_refused_with_our_pair),
        cmocka_unit_test(what_another_warden_set_aside_is_left_alone_here_too),
        cmocka_unit_test(a_stranger_whose_token_another_warden_has_spent_is_none_any_more),
        cmocka_unit_test(who_was_nobody_we_knew_is_looked_at_when_a_lineage_is_heard_of),
        cmocka_unit_test(
            a_stranger_is_left_alone_whatever_access_token_stands_beside_his_refresh_token),
        cmocka_unit_test(a_claim_that_is_set_aside_unspent_is_left_alone_where_it_stands),
        cmocka_unit_test(a_stranger_seen_while_we_write_over_him_is_no_stranger_afterwards),
        cmocka_unit_test(a_stranger_is_told_of_also_where_there_is_no_room_to_ask_about_him),
        cmocka_unit_test(a_pair_of_our_own_grant_is_not_set_aside_where_its_place_is_nobodys),
        cmocka_unit_test(two_lineages_of_one_token_both_wait_for_it_to_be_withheld),
        cmocka_unit_test(a_stranger_who_renews_is_told_of_once),
        cmocka_unit_test(an_alarm_of_a_stranger_ends_with_the_last_place),
        cmocka_unit_test(who_goes_without_because_the_token_was_refused_is_told_of),
        cmocka_unit_test(of_two_mute_finds_the_one_that_lasts_longer_is_tried),
        cmocka_unit_test(of_two_mute_finds_the_older_is_set_aside),
        cmocka_unit_test(of_two_finds_of_one_lineage_the_later_goes_first),
        cmocka_unit_test(a_find_that_waits_for_its_user_keeps_nobody_else_waiting),
        cmocka_unit_test(a_find_that_is_tried_is_left_alone_where_a_copy_of_it_stands),
        cmocka_unit_test(an_access_token_that_is_set_aside_is_no_stranger_where_it_is_our_own),
        cmocka_unit_test(what_is_believed_in_the_end_is_no_stranger_where_it_stands),
        cmocka_unit_test(nor_is_it_when_a_part_of_it_is_set_aside_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

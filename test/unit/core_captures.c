/*
 * Stories about what is found in a place, and about answers that come too late: the rarer turns,
 * each of which the simulator has once found to go wrong.
 */
#include "core_places.h"

/* ---- one grant, whoever renewed what stands beside it ---- */

static void our_own_refresh_token_with_a_newer_access_token_is_gone_on_with(void **state)
{
    (void)state;
    struct story *st = story_new();
    st->rules.has_identity = false;
    struct event ev = loaded(st, POLICY_NEVER, HOUR);
    ev.loaded.subject = (struct fp){{0}};
    struct pair renewed = ev.loaded.pair;
    expect(st, ev, "");
    expect(st, bound(C1, true, true), "");
    expect(st, timer(), "read(c1)");
    renewed.access = fp_of(40);
    renewed.expires_wall_ms += HOUR;
    expect(st, saw_pair(C1, renewed, K1, true), "");
    expect(st, timer(), "adopt(k11,g2)"); /* though nobody can say whose it is */
    story_free(st);
}

static void a_find_beside_a_spend_that_kept_its_refresh_token_is_newer_still(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    present_withheld(st);
    struct event kept = granted(st, 3, HOUR);
    kept.answer.pair.refresh = fp_of(3); /* ours is as good as before … */
    later(st, 20);
    tell(st, saw(st, C1, 2, K1, false)); /* … and then a sibling's presentation replaced it */
    later(st, 20);
    tell(st, kept);
    tell(st, of_intent(st, EV_SETTLED));
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g3)");
    story_free(st);
}

static void an_access_token_alone_of_our_own_subject_is_written_over_once_ours_lasts_longer(
    void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, bound(C2, true, false), "");
    expect(st, timer(), "read(c2)");
    struct pair alone = pair_of(st, 5, HOUR);
    alone.refresh = (struct fp){{0}};
    alone.expires_wall_ms -= 10 * MINUTE_MS;
    expect(st, saw_pair(C2, alone, K1, true), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "drop(k11)");
    expect(st, timer(), "publish(c2,a2,r0)"); /* ours lasts longer already */
    story_free(st);
}

static void an_access_token_alone_that_outlasts_ours_is_left(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, bound(C2, true, false), "");
    expect(st, timer(), "read(c2)");
    later(st, 10 * MINUTE_MS);
    struct pair alone = pair_of(st, 5, 55 * MINUTE_MS);
    alone.refresh = (struct fp){{0}};
    expect(st, saw_pair(C2, alone, K1, true), "");
    tell(st, timer());
    tell(st, capture_named(K1, IDENTITY_NAMED, 99));
    expect(st, timer(), "");
    story_free(st);
}

static void a_copied_refresh_token_is_taken_away_before_its_holder_is_written(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, bound(C2, true, true), "");
    expect(st, timer(), "read(c2)");
    struct pair copied = pair_of(st, 1, HOUR);
    expect(st, saw_pair(C2, copied, 0, true), "");
    expect(st, timer(), "publish(c2,a2,r0)");
    struct pair renewed = copied;
    renewed.access = fp_of(40);
    renewed.expires_wall_ms += HOUR;
    expect(st, saw_pair(C1, renewed, K1, false), ""); /* meanwhile the client renewed */
    tell(st, timer());
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    tell(st, of_capture(EV_ADOPTED, K1));
    expect(st, timer(), ""); /* C2 is still being written */
    expect(st, published(st, C2), "");
    expect(st, timer(), "publish(c2,a40,r0)");
    story_free(st);
}

/* ---- late answers ---- */

static void a_write_that_failed_is_told_from_the_next_one(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded(st, POLICY_ALWAYS, HOUR));
    until_due(st);
    expect(st, timer(), "lease");
    expect(st, leased(st), "store-intent(g1)");
    struct event another = store_failed();
    another.intent = st->intent + 1;
    expect(st, another, ""); /* of an order that was given up */
    expect(st, of_intent(st, EV_INTENT_DURABLE), "spend(g1)");
    story_free(st);
}

static void a_refusal_of_a_former_access_token_says_nothing(void **state)
{
    (void)state;
    struct story *st = story_new();
    tell(st, loaded_after_boot(st, POLICY_NEVER, HOUR)); /* the time is asked with its token */
    struct event late = named(EV_IDENTITY, IDENTITY_REVOKED, 0);
    late.generation = 7;
    tell(st, late);
    expect(st, want(st, 1, 10 * MINUTE_MS), "answer(1,token)");
    late.generation = 1;
    tell(st, late);
    expect(st, want(st, 2, 10 * MINUTE_MS), "answer(2,policy-forbids)");
    story_free(st);
}

static void a_refusal_is_heard_in_whatever_state_it_comes(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    refuse_for_good(st);
    struct event late = named(EV_PROBED, IDENTITY_REVOKED, 0);
    late.generation = 1;
    tell(st, late);
    expect(st, want(st, 1, -1), ""); /* the search goes on, but not on a dead token */
    story_free(st);
}

/* ---- the search ---- */

static void a_search_looks_at_once_however_often_a_place_could_not_be_read(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    present_withheld(st);
    for (int i = 0; i < 6; i++) { /* half written, and read ever more rarely */
        tell(st, seen(C1, SEEN_TORN, false));
    }
    tell(st, answered(st, VERDICT_REFUSED));
    tell(st, of_intent(st, EV_CLOSED));
    expect(st, timer(), "read(c1)");
    tell(st, seen(C1, SEEN_TORN, true));
    later(st, 10 * SECOND_MS); /* a sibling's time to write */
    expect(st, timer(), "read(c1)");
    story_free(st);
}

static void what_comes_back_to_life_is_not_handed_out_before_it_is_stored(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    refuse_for_good(st);
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 2, K1, true), "");
    tell(st, timer());
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    expect(st, want(st, 1, -1), ""); /* not the old one, of which nobody knows what it is worth */
    tell(st, of_capture(EV_ADOPTED, K1));
    assert_non_null(strstr(st->said, "answer(1,token)"));
    story_free(st);
}

static void a_find_that_no_policy_lets_us_try_holds_up_no_search(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    refuse_for_good(st);
    expect(st, timer(), "read(c1)");
    struct event ev = {.kind = EV_POLICY, .lineage = A};
    ev.policy = POLICY_NEVER;
    tell(st, ev);
    struct event find = saw(st, C1, 2, K1, true);
    tell(st, find);
    expect(st, timer(), "ask-identity(k11)");
    later(st, 10 * SECOND_MS); /* a sibling's time to write */
    expect(st, timer(), "read(c1)");
    tell(st, find);
    expect(st, timer(), ""); /* its server may still say whose it is */
    expect(st, capture_named(K1, IDENTITY_REVOKED, 0), "");
    expect(st, timer(), "alarm-clear(in-doubt) alarm-raise(dead)");
    ev.policy = POLICY_ALWAYS; /* and yet it is not forgotten */
    tell(st, ev);
    expect(st, timer(), "claim(k11)");
    story_free(st);
}

/* ---- claims ---- */

static void a_find_whose_name_stays_taken_is_set_aside(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    refuse_for_good(st);
    expect(st, timer(), "read(c1)");
    tell(st, saw(st, C1, 2, K1, true));
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_REVOKED, 0), "claim(k11)");
    int refused = 0;
    do {
        struct event ev = of_capture(EV_STORE_FAILED, K1);
        ev.err = ERR_EXISTS;
        tell(st, ev);
        do {
            until_due(st);
            tell(st, timer());
        } while (!strstr(st->said, "(k11"));
    } while (++refused < 20 && strstr(st->said, "claim(k11)"));
    assert_in_range(refused, 5, 10);
    assert_non_null(strstr(st->said, "quarantine(k11"));
    story_free(st);
}

static void a_claim_is_under_its_profiles_policy(void **state)
{
    (void)state;
    struct story *st = with_a_claim(POLICY_ALWAYS);
    struct event ev = {.kind = EV_POLICY, .lineage = A};
    ev.policy = POLICY_NEVER;
    tell(st, ev);
    tell(st, timer());
    assert_null(strstr(st->said, "lease"));
    ev.policy = POLICY_ALWAYS;
    tell(st, ev);
    tell(st, timer());
    assert_non_null(strstr(st->said, "lease"));
    story_free(st);
}

static void a_claim_waits_for_the_place_it_came_from(void **state)
{
    (void)state;
    struct story *st = with_a_claim(POLICY_ALWAYS);
    expect(st, seen(C1, SEEN_TORN, false), ""); /* somebody is writing there just now */
    tell(st, timer());
    assert_null(strstr(st->said, "lease"));
    story_free(st);
}

static void a_claim_that_the_server_will_not_name_is_set_aside(void **state)
{
    (void)state;
    struct story *st = with_a_claim(POLICY_ALWAYS);
    expect(st, timer(), "lease");
    struct event lease = leased(st);
    lease.lineage = B;
    tell(st, lease); /* the place has its refresh token: that is taken away first */
    tell(st, published(st, C1));
    struct event ev = of_intent(st, EV_INTENT_DURABLE);
    ev.lineage = B;
    expect(st, ev, "spend(g1)");
    ev = granted(st, 3, HOUR);
    ev.lineage = B;
    expect(st, ev, "settle(g2,unproven,spent)");
    ev = of_intent(st, EV_SETTLED);
    ev.lineage = B;
    tell(st, ev);
    tell(st, timer());
    ev = named(EV_IDENTITY, IDENTITY_SCOPE, 0);
    ev.lineage = B;
    expect(st, ev, "adopt(quarantined,s0)"); /* and the profile's own login is not held back */
    story_free(st);
}

/* … of the claim, lineage B. */
static struct event of_claim(struct event ev)
{
    ev.lineage = B;
    return ev;
}

static void lose_the_claims_answer(struct story *st)
{
    expect(st, timer(), "lease");
    tell(st, of_claim(leased(st)));
    tell(st, published(st, C1));
    expect(st, of_claim(of_intent(st, EV_INTENT_DURABLE)), "spend(g1)");
    expect(st, of_claim(answered(st, VERDICT_DOUBT)), "close-intent(in-doubt,in-doubt)");
    tell(st, of_claim(of_intent(st, EV_CLOSED)));
}

/* What stands there now may be what the lost answer said: the older token could end both. */
static void a_claim_in_doubt_gives_way_to_a_newer_find_and_stays_in_doubt(void **state)
{
    (void)state;
    struct story *st = with_a_claim(POLICY_ALWAYS);
    lose_the_claims_answer(st);
    later(st, MINUTE_MS);
    expect(st, saw(st, C1, 3, K2, false), "");
    expect(st, timer(), "ask-identity(k12)");
    expect(st, capture_named(K2, IDENTITY_REVOKED, 0), "adopt(quarantined,s0)");
    tell(st, of_claim((struct event){.kind = EV_STORE_FAILED, .err = ERR_FULL}));
    do {
        until_due(st);
        tell(st, timer());
        assert_null(strstr(st->said, "lease"));
    } while (strstr(st->said, "adopt(quarantined,s0)") == NULL);
    tell(st, of_claim((struct event){.kind = EV_ADOPTED}));
    expect(st, timer(), "claim(k12)");

    struct event claimed = of_claim((struct event){.kind = EV_CLAIMED, .waiter = 1});
    claimed.added.policy = POLICY_ALWAYS;
    claimed.added.deadline_boot_ms = st->now.boot_ms + MINUTE_MS;
    tell(st, claimed);
    assert_non_null(strstr(st->said, "answer(1,in-doubt)"));
    do {
        until_due(st);
        tell(st, timer());
    } while (strstr(st->said, "lease") == NULL);
    expect(st, of_claim(leased(st)), "store-intent(g1,replay)");
    story_free(st);
}

static void a_capture_that_the_ledger_refuses_is_dropped(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    later(st, 30 * MINUTE_MS);
    expect(st, saw(st, C1, 2, K1, false), "");
    tell(st, timer());
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    struct event refused = {.kind = EV_OVERTAKEN, .capture = K1};
    refused.loaded = loaded(st, POLICY_NEVER, 30 * MINUTE_MS).loaded;
    tell(st, refused);
    assert_non_null(strstr(st->said, "drop(k11)"));
    story_free(st);
}

/* More finds in one place than are dealt with at once: the last may be what our own was spent for.
 */
static void a_find_without_room_holds_its_lineage_back_until_it_is_set_aside(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    present_withheld(st);
    for (int i = 0; i < CAPTURES_PER_LINEAGE_MAX; i++) { /* they wait until A is at rest */
        later(st, SECOND_MS);
        tell(st, saw(st, C1, 2 + i, K1 + i, false));
        tell(st, timer());
        tell(st, capture_named(K1 + i, IDENTITY_NAMED, 99));
    }
    later(st, SECOND_MS);
    int last = CAPTURES_PER_LINEAGE_MAX;
    tell(st, saw(st, C1, 2 + last, K1 + last, false));
    assert_non_null(strstr(st->said, "quarantine"));
    tell(st, of_capture(EV_STORE_FAILED, K1 + last));
    tell(st, answered(st, VERDICT_DOUBT));
    tell(st, of_intent(st, EV_CLOSED));
    tell(st, timer());
    assert_non_null(strstr(st->said, "adopt(k"));
    tell(st, of_capture(EV_ADOPTED, K1 + last - 1));
    bool is_read = false;
    while (!is_read) {
        until_due(st);
        tell(st, timer());
        assert_null(strstr(st->said, "lease"));
        is_read = strstr(st->said, "read(c1)") != NULL;
    }
    tell(st, saw(st, C1, 2 + last, K1 + last, true));
    tell(st, timer());
    assert_non_null(strstr(st->said, "ask-identity")); /* by now there is room */
    story_free(st);
}

/* ---- what was set aside ---- */

static void what_was_set_aside_goes_back_there_when_it_is_refused_a_name(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    tell(st, ev); /* A, of subject 99 */
    ev = loaded(st, POLICY_NEVER, HOUR);
    ev.lineage = B;
    ev.loaded.pair = pair_of(st, 5, HOUR);
    ev.loaded.standing = STANDING_QUARANTINED;
    ev.loaded.subject = fp_of(98);
    tell(st, ev);
    struct event claimed = {.kind = EV_CLAIMED, .lineage = B, .waiter = 1};
    claimed.added.policy = POLICY_NEVER;
    claimed.added.continues = A;
    claimed.added.deadline_boot_ms = st->now.boot_ms + 60 * SECOND_MS;
    tell(st, claimed);
    expect(st, timer(), "ask-identity");
    ev = named(EV_IDENTITY, IDENTITY_NAMED, 98);
    ev.lineage = B;
    tell(st, ev);
    assert_non_null(strstr(st->said, "adopt(quarantined")); /* it may be nowhere else */
    assert_null(strstr(st->said, "retire"));
    story_free(st);
}

static void what_was_set_aside_in_doubt_is_so_again_after_a_restart_too(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_NEVER, -HOUR);
    ev.loaded.standing = STANDING_QUARANTINED;
    ev.loaded.doubt_since_wall_ms = st->now.wall_ms - HOUR;
    tell(st, ev);
    struct event claimed = {.kind = EV_CLAIMED, .waiter = 1};
    claimed.added.policy = POLICY_ALWAYS;
    claimed.added.deadline_boot_ms = st->now.boot_ms + MINUTE_MS;
    tell(st, claimed);
    assert_non_null(strstr(st->said, "answer(1,in-doubt)"));
    until_spend(st);
    expect(st, leased(st), "store-intent(g1,replay)");
    story_free(st);
}

static void a_place_whose_stranger_was_claimed_and_spent_is_ours_again(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, saw(st, C1, 5, K1, false), "");
    tell(st, timer());
    expect(st, capture_named(K1, IDENTITY_NAMED, 98), "alarm-raise(subject) quarantine(k11)");
    tell(st, of_capture(EV_QUARANTINED, K1));
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.lineage = B;
    ev.loaded.pair = pair_of(st, 5, HOUR);
    ev.loaded.standing = STANDING_QUARANTINED;
    ev.loaded.subject = fp_of(98);
    tell(st, ev);
    expect(st, timer(), ""); /* left alone */
    struct event claimed = {.kind = EV_CLAIMED, .lineage = B};
    claimed.added.policy = POLICY_ALWAYS;
    claimed.added.deadline_boot_ms = TIME_NEVER;
    tell(st, claimed);
    tell(st, timer());
    ev = named(EV_IDENTITY, IDENTITY_NAMED, 98);
    ev.lineage = B;
    tell(st, ev);
    ev = (struct event){.kind = EV_ADOPTED, .lineage = B};
    tell(st, ev);
    tell(st, timer());
    assert_non_null(strstr(st->said, "publish(c1,a2,r3)"));
    story_free(st);
}

/* ---- what an ended lineage leaves behind ---- */

static void a_copy_of_an_ended_login_is_looked_at_again(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_NEVER, HOUR); /* A, dead: nothing is written there */
    ev.loaded.standing = STANDING_DEAD;
    ev.loaded.alarms = 1u << ALARM_DEAD;
    tell(st, ev);
    ev = loaded(st, POLICY_NEVER, HOUR);
    ev.lineage = B;
    ev.loaded.pair = pair_of(st, 5, HOUR);
    ev.loaded.subject = fp_of(98);
    struct pair copied = ev.loaded.pair;
    tell(st, ev);
    tell(st, bound(C2, true, false));
    expect(st, timer(), "read(c2)");
    expect(st, saw_pair(C2, copied, 0, true), "");
    expect(st, timer(), "");
    struct event removed = {.kind = EV_REMOVE, .lineage = B, .waiter = 1};
    tell(st, removed);
    expect(st, timer(), "retire");
    removed.kind = EV_RETIRED;
    expect(st, removed, "answer(1,done)");
    expect(st, timer(), "read(c2)"); /* that is nobody's current pair any more */
    story_free(st);
}

static void a_find_of_an_ended_login_is_looked_at_again(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_NEVER, HOUR); /* A, whose access token will be over */
    tell(st, ev);
    tell(st, bound(C1, true, false));
    later(st, HOUR);
    struct pair theirs = pair_of(st, 6, HOUR); /* an older login of B's subject */
    later(st, MINUTE_MS);
    ev = loaded(st, POLICY_NEVER, HOUR);
    ev.lineage = B;
    ev.loaded.pair = pair_of(st, 5, HOUR);
    ev.loaded.subject = fp_of(98);
    tell(st, ev);
    expect(st, timer(), "read(c1)");
    tell(st, saw_pair(C1, theirs, K1, true));
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 98), "drop(k11)");
    expect(st, timer(), "");
    tell(st, (struct event){.kind = EV_REMOVE, .lineage = B, .waiter = 1});
    expect(st, timer(), "retire");
    tell(st, (struct event){.kind = EV_RETIRED, .lineage = B});
    expect(st, timer(), "read(c1)"); /* a stranger's from now on */
    story_free(st);
}

/* ---- standby ---- */

static void a_sink_that_is_not_written_any_more_holds_nobody_back(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_STANDBY, HOUR);
    ev.loaded.pair.expires_wall_ms = st->now.wall_ms - 1; /* over before this run began */
    ev.loaded.expires_boot_ms = st->now.boot_ms - 1;
    tell(st, ev);
    tell(st, bound(3, false, false));
    expect(st, timer(), "lease");
    story_free(st);
}

static void a_stranger_that_was_seen_again_while_it_was_set_aside_is_left_alone(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_NEVER);
    expect(st, saw(st, C1, 5, K1, false), "");
    tell(st, timer());
    tell(st, capture_named(K1, IDENTITY_NAMED, 98)); /* quarantine ordered */
    tell(st, saw(st, C1, 5, K1, false));
    tell(st, of_capture(EV_QUARANTINED, K1));
    expect(st, timer(), "");
    story_free(st);
}

static void a_siblings_pair_is_not_over_because_our_clock_is_fast(void **state)
{
    (void)state;
    struct story *st = with_client(POLICY_ALWAYS);
    later(st, 20 * MINUTE_MS);
    struct event found = saw(st, C1, 2, K1, false); /* an hour by the server's clock */
    st->now.wall_ms += 2 * HOUR;
    tell(st, found);
    tell(st, timer());
    struct event whose = capture_named(K1, IDENTITY_NAMED, 99);
    whose.server_wall_ms = st->now.wall_ms - 2 * HOUR;
    tell(st, whose);
    tell(st, of_capture(EV_ADOPTED, K1));
    tell(st, timer());
    assert_null(strstr(st->said, "lease"));
    expect(st, want(st, 1, 30 * MINUTE_MS), "answer(1,token)");
    story_free(st);
}

/* ---- an older copy of the store ---- */

static void an_older_copy_stays_in_doubt_whatever_its_own_open_intent_came_to(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.loaded.restored = true;
    ev.loaded.intent = 5;
    tell(st, ev);
    st->intent = 5;
    expect(st, answered(st, VERDICT_UNSENT), "close-intent(unsent,in-doubt)");
    story_free(st);
}

static void an_older_copy_lets_a_forgotten_request_run_out(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.loaded.standing = STANDING_DOUBT;
    ev.loaded.doubt_since_wall_ms = st->now.wall_ms - 10 * MINUTE_MS;
    ev.loaded.pair.expires_wall_ms = st->now.wall_ms - 1;
    ev.loaded.expires_boot_ms = st->now.boot_ms - 1;
    ev.loaded.restored = true;
    tell(st, ev);
    assert_true(until_due(st) >= 2 * 30 * SECOND_MS);
    expect(st, timer(), "lease");
    story_free(st);
}

/* The run that an older copy has forgotten was a fleet's: what stands here may be what it has just
 * presented on another machine. */
static void a_find_is_not_tried_before_what_a_forgotten_run_sent_has_run_out(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.loaded.restored = ev.loaded.shared = true;
    tell(st, ev);
    tell(st, bound(C1, true, true));
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 2, K1, true), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_REVOKED, 0), "claim(k11)");
    ev = claimed_pair(st, POLICY_ALWAYS);
    ev.added.pair.expires_wall_ms = st->now.wall_ms - 1;
    tell(st, ev);
    int64_t loaded_at = st->now.boot_ms;
    while (strstr(st->said, "lease") == NULL) {
        until_due(st);
        tell(st, timer());
        if (strstr(st->said, "read(c1)") != NULL) /* A is in doubt, and looks for its successor */
            tell(st, saw_pair(C1, ev.added.pair, 0, true));
    }
    assert_int_equal(st->now.boot_ms - loaded_at, 2 * st->rules.spend_deadline_ms);
    story_free(st);
}

static void nor_is_one_spent_that_was_believed(void **state)
{
    (void)state;
    struct story *st = story_new();
    struct event ev = loaded(st, POLICY_ALWAYS, HOUR);
    ev.loaded.restored = ev.loaded.shared = true;
    tell(st, ev);
    tell(st, bound(C1, true, true));
    expect(st, timer(), "read(c1)");
    expect(st, saw(st, C1, 2, K1, true), "");
    expect(st, timer(), "ask-identity(k11)");
    expect(st, capture_named(K1, IDENTITY_NAMED, 99), "adopt(k11,g2)");
    tell(st, of_capture(EV_ADOPTED, K1));
    int64_t loaded_at = st->now.boot_ms;
    expect(st, renew(st, 1), "");
    until_spend(st);
    assert_int_equal(st->now.boot_ms - loaded_at, 2 * st->rules.spend_deadline_ms);
    story_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_refresh_token_with_a_newer_access_token_is_gone_on_with),
        cmocka_unit_test(a_find_beside_a_spend_that_kept_its_refresh_token_is_newer_still),
        cmocka_unit_test(
            an_access_token_alone_of_our_own_subject_is_written_over_once_ours_lasts_longer),
        cmocka_unit_test(an_access_token_alone_that_outlasts_ours_is_left),
        cmocka_unit_test(a_copied_refresh_token_is_taken_away_before_its_holder_is_written),
        cmocka_unit_test(a_write_that_failed_is_told_from_the_next_one),
        cmocka_unit_test(a_refusal_of_a_former_access_token_says_nothing),
        cmocka_unit_test(a_refusal_is_heard_in_whatever_state_it_comes),
        cmocka_unit_test(a_search_looks_at_once_however_often_a_place_could_not_be_read),
        cmocka_unit_test(what_comes_back_to_life_is_not_handed_out_before_it_is_stored),
        cmocka_unit_test(a_find_that_no_policy_lets_us_try_holds_up_no_search),
        cmocka_unit_test(a_find_whose_name_stays_taken_is_set_aside),
        cmocka_unit_test(a_claim_is_under_its_profiles_policy),
        cmocka_unit_test(a_claim_waits_for_the_place_it_came_from),
        cmocka_unit_test(a_claim_that_the_server_will_not_name_is_set_aside),
        cmocka_unit_test(a_claim_in_doubt_gives_way_to_a_newer_find_and_stays_in_doubt),
        cmocka_unit_test(a_capture_that_the_ledger_refuses_is_dropped),
        cmocka_unit_test(a_find_without_room_holds_its_lineage_back_until_it_is_set_aside),
        cmocka_unit_test(what_was_set_aside_goes_back_there_when_it_is_refused_a_name),
        cmocka_unit_test(what_was_set_aside_in_doubt_is_so_again_after_a_restart_too),
        cmocka_unit_test(a_place_whose_stranger_was_claimed_and_spent_is_ours_again),
        cmocka_unit_test(a_copy_of_an_ended_login_is_looked_at_again),
        cmocka_unit_test(a_find_of_an_ended_login_is_looked_at_again),
        cmocka_unit_test(a_sink_that_is_not_written_any_more_holds_nobody_back),
        cmocka_unit_test(a_stranger_that_was_seen_again_while_it_was_set_aside_is_left_alone),
        cmocka_unit_test(a_siblings_pair_is_not_over_because_our_clock_is_fast),
        cmocka_unit_test(an_older_copy_stays_in_doubt_whatever_its_own_open_intent_came_to),
        cmocka_unit_test(an_older_copy_lets_a_forgotten_request_run_out),
        cmocka_unit_test(a_find_is_not_tried_before_what_a_forgotten_run_sent_has_run_out),
        cmocka_unit_test(nor_is_one_spent_that_was_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

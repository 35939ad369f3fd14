/*
 * The lab's memory of its logins: every rule of grants.h, told as little stories on a made-up
 * clock.
 */
#include "lab/grants.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

#define T0 INT64_C(1000000)

struct story {
    struct grants *g;
    struct grant_rules rules;
    int64_t now_ms;
    struct grant_issue first; /* of the login */
};

static int begin(void **state)
{
    struct story *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    s->g = grants_new(7);
    assert_non_null(s->g);
    s->now_ms = T0;
    s->rules = (struct grant_rules){.access_life_ms = 5000,
                                    .refresh_life_ms = 60000,
                                    .rotate = true,
                                    .family_revocation = true};
    assert_int_equal(
        grants_login(s->g, &s->rules, "alice", "lab", "read write", 0, s->now_ms, &s->first), 0);
    *state = s;
    return 0;
}

static int end(void **state)
{
    struct story *s = *state;

    grants_free(s->g);
    free(s);
    return 0;
}

static struct spend_report spend(struct story *s, const char *refresh, struct grant_issue *ret)
{
    struct spend_request request = {.refresh = refresh, .refresh_len = strlen(refresh)};

    return grants_spend(s->g, &s->rules, &request, s->now_ms, ret);
}

static enum bearer_result check(const struct story *s, const char *access)
{
    return grants_check(s->g, access, strlen(access), NULL, s->now_ms);
}

static void a_spend_consumes_and_succeeds(void **state)
{
    struct story *s = *state;
    struct grant_issue second = {0};
    struct spend_report r = spend(s, s->first.refresh, &second);
    const struct family *f = grants_family(s->g, s->first.family);

    assert_int_equal(r.result, SPEND_GRANTED);
    assert_true(r.rotated);
    assert_false(r.reuse);
    assert_int_equal(second.family, s->first.family);
    assert_int_equal(f->generation, 2);
    assert_int_equal(f->spends, 1);
    assert_string_equal(f->refresh_id, second.refresh_id);
    assert_true(strncmp(second.access, "lab-at-", 7) == 0);
    assert_true(strncmp(second.refresh, "lab-rt-", 7) == 0);
    assert_int_equal(spend(s, second.refresh, &second).result, SPEND_GRANTED);
    assert_int_equal(f->generation, 3);
}

static void reuse_ends_the_family_and_all_its_tokens(void **state)
{
    struct story *s = *state;
    struct grant_issue second = {0}, third = {0};
    struct spend_report r;

    spend(s, s->first.refresh, &second);
    r = spend(s, s->first.refresh, &third);
    assert_int_equal(r.result, SPEND_REUSED);
    assert_true(r.reuse);
    assert_true(r.family_revoked);
    assert_false(r.rotated);
    assert_int_equal(third.family, 0);
    assert_int_equal(check(s, second.access), BEARER_REVOKED);

    r = spend(s, second.refresh, &third);
    assert_int_equal(r.result, SPEND_REVOKED);
    assert_false(r.reuse);
    assert_false(r.family_revoked);

    r = spend(s, s->first.refresh, &third);
    assert_int_equal(r.result, SPEND_REVOKED);
    assert_true(r.reuse); /* still told: it was presented again */
    assert_int_equal(grants_family(s->g, 1)->reuses, 2);
    assert_int_equal(grants_family(s->g, 1)->spends, 1);
}

static void without_family_revocation_only_the_request_fails(void **state)
{
    struct story *s = *state;
    struct grant_issue second = {0}, third = {0};
    struct spend_report r;

    s->rules.family_revocation = false;
    spend(s, s->first.refresh, &second);
    r = spend(s, s->first.refresh, &third);
    assert_int_equal(r.result, SPEND_REUSED);
    assert_false(r.family_revoked);
    assert_int_equal(spend(s, second.refresh, &third).result, SPEND_GRANTED);
}

static void grace_gives_another_pair_of_the_same_generation(void **state)
{
    struct story *s = *state;
    struct grant_issue a = {0}, b = {0}, c = {0}, d = {0};
    struct spend_report r;

    s->rules.grace_ms = 1000;
    spend(s, s->first.refresh, &a);
    s->now_ms += 1000; /* the last instant of it */
    r = spend(s, s->first.refresh, &b);
    assert_int_equal(r.result, SPEND_GRACE);
    assert_true(r.reuse);
    assert_false(r.rotated);
    assert_int_equal(grants_family(s->g, 1)->generation, 2);
    assert_int_equal(grants_find(s->g, b.refresh, strlen(b.refresh))->generation, 2);
    assert_int_equal(spend(s, a.refresh, &c).result, SPEND_GRANTED);
    assert_int_equal(spend(s, b.refresh, &d).result, SPEND_GRANTED);
    assert_int_equal(grants_family(s->g, 1)->generation, 3);
    assert_int_equal(grants_family(s->g, 1)->graced, 1);
}

static void grace_ends_in_time(void **state)
{
    struct story *s = *state;
    struct grant_issue a = {0}, b = {0};

    s->rules.grace_ms = 1000;
    spend(s, s->first.refresh, &a);
    s->now_ms += 1001;
    assert_int_equal(spend(s, s->first.refresh, &b).result, SPEND_REUSED);
}

static void grace_is_for_the_token_right_before(void **state)
{
    struct story *s = *state;
    struct grant_issue a = {0}, b = {0};

    s->rules.grace_ms = 1000;
    spend(s, s->first.refresh, &a);
    spend(s, a.refresh, &b);
    assert_int_equal(spend(s, s->first.refresh, &a).result, SPEND_REUSED);
}

static void without_rotation_nothing_is_consumed(void **state)
{
    struct story *s = *state;
    struct grant_issue a = {0};
    struct spend_report r;

    s->rules.rotate = false;
    for (int i = 0; i < 3; i++) {
        r = spend(s, s->first.refresh, &a);
        assert_int_equal(r.result, SPEND_UNROTATED);
        assert_false(r.rotated || r.reuse);
        assert_string_equal(a.refresh, "");
    }
    assert_int_equal(grants_family(s->g, 1)->generation, 1);
    assert_int_equal(grants_family(s->g, 1)->spends, 3);
    s->rules.rotate = true;
    assert_int_equal(spend(s, s->first.refresh, &a).result, SPEND_GRANTED);
}

static void rotation_can_stand_still_for_once(void **state)
{
    struct story *s = *state;
    struct spend_request request = {
        .refresh = s->first.refresh, .refresh_len = strlen(s->first.refresh), .keep_refresh = true};
    struct grant_issue a = {0};

    assert_int_equal(grants_spend(s->g, &s->rules, &request, s->now_ms, &a).result,
                     SPEND_UNROTATED);
    grants_kill_access(s->g, s->first.family); /* the token issued last is meant too */
    assert_int_equal(check(s, a.access), BEARER_REVOKED);
    assert_int_equal(spend(s, s->first.refresh, &a).result, SPEND_GRANTED);
}

static void a_commit_may_kill_the_old_access_tokens(void **state)
{
    struct story *s = *state;
    struct grant_issue a = {0}, b = {0};

    spend(s, s->first.refresh, &a);
    assert_int_equal(check(s, s->first.access), BEARER_VALID);
    s->rules.kills_access = true;
    spend(s, a.refresh, &b);
    assert_int_equal(check(s, s->first.access), BEARER_REVOKED);
    assert_int_equal(check(s, a.access), BEARER_REVOKED);
    assert_int_equal(check(s, b.access), BEARER_VALID);
}

static void lives_end(void **state)
{
    struct story *s = *state;
    struct grant_issue a = {0};

    s->now_ms = T0 + 4999;
    assert_int_equal(check(s, s->first.access), BEARER_VALID);
    s->now_ms = T0 + 5000;
    assert_int_equal(check(s, s->first.access), BEARER_EXPIRED);
    s->now_ms = T0 + 59999;
    assert_int_equal(spend(s, s->first.refresh, &a).result, SPEND_GRANTED);
    assert_int_equal(a.refresh_left_ms, 1); /* rotation does not extend the login */
    s->now_ms = T0 + 60000;
    assert_int_equal(spend(s, a.refresh, &a).result, SPEND_EXPIRED);
}

static void mix_ups_and_strangers(void **state)
{
    struct story *s = *state;
    struct grant_issue a = {0};

    assert_int_equal(spend(s, "lab-rt-00000000000000000000000000000000", &a).result, SPEND_UNKNOWN);
    assert_int_equal(spend(s, "", &a).result, SPEND_UNKNOWN);
    assert_int_equal(spend(s, s->first.access, &a).result, SPEND_WRONG_KIND);
    assert_int_equal(check(s, s->first.refresh), BEARER_UNKNOWN);
    assert_int_equal(check(s, "x"), BEARER_UNKNOWN);
    assert_int_equal(check(s, ""), BEARER_MISSING);
    assert_int_equal(spend(s, s->first.refresh, &a).result, SPEND_GRANTED); /* unharmed */
}

static void scopes_are_whole_words(void **state)
{
    struct story *s = *state;
    const char *access = s->first.access;

    assert_int_equal(grants_check(s->g, access, strlen(access), "write", s->now_ms), BEARER_VALID);
    assert_int_equal(grants_check(s->g, access, strlen(access), "writ", s->now_ms), BEARER_SCOPE);
    assert_true(scope_has("a  b", "b", 1));
    assert_false(scope_has("a b", "", 0));
    assert_false(scope_has("", "a", 1));
}

static void revocation_from_outside(void **state)
{
    struct story *s = *state;
    struct grant_issue a = {0};

    grants_kill_access(s->g, s->first.family);
    assert_int_equal(check(s, s->first.access), BEARER_REVOKED);
    assert_int_equal(spend(s, s->first.refresh, &a).result, SPEND_GRANTED);
    assert_int_equal(check(s, a.access), BEARER_VALID);
    grants_revoke(s->g, s->first.family);
    assert_int_equal(check(s, a.access), BEARER_REVOKED);
    assert_int_equal(spend(s, a.refresh, &a).result, SPEND_REVOKED);
    grants_revoke(s->g, 99); /* no such family: nothing happens */
    grants_kill_access(s->g, 0);
}

static void logins_are_apart_and_refused_when_unfit(void **state)
{
    struct story *s = *state;
    struct grant_issue bob = {0}, a = {0};
    char wide[GRANT_WORD_SIZE + 1];

    memset(wide, 'x', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    assert_int_equal(grants_login(s->g, &s->rules, "", "lab", "", 0, T0, &bob), ERR_INVALID);
    assert_int_equal(grants_login(s->g, &s->rules, wide, "lab", "", 0, T0, &bob), ERR_INVALID);
    assert_int_equal(bob.family, 0);
    assert_int_equal(grants_login(s->g, &s->rules, "bob", "lab", "", 100, T0, &bob), 0);
    assert_int_equal(bob.family, 2);
    assert_int_equal(bob.access_life_ms, 100);
    spend(s, s->first.refresh, &a);
    spend(s, s->first.refresh, &a); /* alice's family dies */
    assert_int_equal(check(s, bob.access), BEARER_VALID);
    assert_int_equal(grants_families(s->g), 2);
    assert_null(grants_family(s->g, 3));
}

static void thousands_of_tokens_are_all_remembered(void **state)
{
    struct story *s = *state;
    struct grant_issue pair = s->first;
    char first[GRANT_TOKEN_SIZE];

    memcpy(first, s->first.refresh, sizeof(first));
    for (int i = 0; i < 5000; i++) {
        struct grant_issue next = {0};

        assert_int_equal(spend(s, pair.refresh, &next).result, SPEND_GRANTED);
        assert_string_not_equal(next.refresh, pair.refresh);
        pair = next;
    }
    assert_int_equal(grants_family(s->g, 1)->generation, 5001);
    assert_int_equal(spend(s, first, &pair).result, SPEND_REUSED);
}

static void what_was_kept_can_be_had_back_again_and_again(void **state)
{
    struct story *s = *state;
    struct grants *kept = grants_new(0);
    struct grant_issue pair, other;

    assert_int_equal(grants_keep(s->g, kept), 0);
    assert_int_equal(spend(s, s->first.refresh, &pair).result, SPEND_GRANTED);
    assert_int_equal(spend(s, s->first.refresh, &other).result, SPEND_REUSED);
    assert_int_equal(check(s, s->first.access), BEARER_REVOKED);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(grants_rewind(s->g, kept), 0);
        assert_int_equal(check(s, s->first.access), BEARER_VALID);
        assert_int_equal(check(s, pair.access), BEARER_UNKNOWN);
        assert_int_equal(spend(s, pair.refresh, &other).result, SPEND_UNKNOWN);
        assert_int_equal(grants_family(s->g, 1)->reuses, 0);
        assert_int_equal(spend(s, s->first.refresh, &other).result, SPEND_GRANTED);
        assert_string_not_equal(other.access, pair.access);
        pair = other;
    }
    grants_free(kept);
}

static void short_ids_are_sha256(void **state)
{
    char id[GRANT_ID_SIZE];

    (void)state;
    grant_short_id("abc", 3, id);
    assert_string_equal(id, "ba7816bf8f"); /* FIPS 180-2, B.1 */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_spend_consumes_and_succeeds),
        TEST(reuse_ends_the_family_and_all_its_tokens),
        TEST(without_family_revocation_only_the_request_fails),
        TEST(grace_gives_another_pair_of_the_same_generation),
        TEST(grace_ends_in_time),
        TEST(grace_is_for_the_token_right_before),
        TEST(without_rotation_nothing_is_consumed),
        TEST(rotation_can_stand_still_for_once),
        TEST(a_commit_may_kill_the_old_access_tokens),
        TEST(lives_end),
        TEST(mix_ups_and_strangers),
        TEST(scopes_are_whole_words),
        TEST(revocation_from_outside),
        TEST(logins_are_apart_and_refused_when_unfit),
        TEST(thousands_of_tokens_are_all_remembered),
        TEST(what_was_kept_can_be_had_back_again_and_again),
        TEST(short_ids_are_sha256),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

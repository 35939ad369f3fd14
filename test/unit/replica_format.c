/*
 * The stores of clients, as bytes: what is read in them, and what is left of them when another pair
 * is put in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "json/json.h"
#include "replica/format.h"

#define NOW_MS INT64_C(1800000000000) /* 2027-01-15T08:00:00Z */
#define SECRET "made-up-Secret-0123456789"
#define JWT_1H "eyJhbGciOiJub25lIn0.eyJpYXQiOjE4MDAwMDAxMDAsImV4cCI6MTgwMDAwMzcwMH0.x"

/* As the client writes it, with what the machine and its other logins keep there. */
#define CLAUDE                                                                                     \
    "{\"mcpOAuth\":{\"srv|1\":{\"accessToken\":\"not this\",\"n\":12345678901234567890123}},"      \
    "\"claudeAiOauth\":{\"accessToken\":\"a1\",\"refreshToken\":\"r1\","                           \
    "\"expiresAt\":1800003600000,\"refreshTokenExpiresAt\":1802592000000,"                         \
    "\"scopes\":[\"user:profile\",\"user:inference\"],\"subscriptionType\":\"max\","               \
    "\"rateLimitTier\":null,\"later\":1.10},\"organizationUuid\":\"o-1\"}"

/* Logins at three providers; the one in the middle is ours. */
#define OPENCODE                                                                                   \
    "{\n  \"openai\": {\n    \"type\": \"oauth\",\n    \"access\": \"a9\"\n  },\n"                 \
    "  \"anthropic\": {\n    \"type\": \"oauth\",\n    \"refresh\": \"r1\",\n"                     \
    "    \"access\": \"a1\",\n    \"expires\": 1800003600000\n  },\n"                              \
    "  \"groq\": {\n    \"type\": \"api\",\n    \"key\": \"k\"\n  }\n}"

struct look {
    struct copy copy;
    struct err_text why;
};

static enum seen look(const char *format, const char *store, struct look *ret)
{
    memset(ret, 0, sizeof(*ret));
    copy_init(&ret->copy);
    assert_int_equal(format_read(format_find(format), store, strlen(store), &ret->copy, &ret->why),
                     0);
    return ret->copy.what;
}

static struct copy pair_of(const char *access, const char *refresh, int64_t expires_wall_ms)
{
    struct copy c;
    copy_init(&c);
    c.what = SEEN_PAIR;
    c.expires_wall_ms = expires_wall_ms;
    assert_int_equal(secret_set(&c.tokens.access, access, strlen(access)), 0);
    assert_int_equal(secret_set(&c.tokens.refresh, refresh, strlen(refresh)), 0);
    return c;
}

static void write_and_expect(const char *format, const char *store, const struct copy *copy,
                             const char *then)
{
    struct err_text why = {""};
    struct buf out;
    buf_init_secret(&out, REPLICA_STORE_MAX);
    int err = format_write(format_find(format), store, strlen(store), copy, NOW_MS, &out, &why);
    assert_string_equal(why.text, "");
    assert_int_equal(err, 0);
    assert_string_equal(buf_text(&out), then);
    buf_release(&out);
}

/* ---- reading ---- */

static void claudes_store_is_read(void **state)
{
    (void)state;
    struct look l;
    assert_int_equal(look("claude", CLAUDE, &l), SEEN_PAIR);
    assert_string_equal(l.copy.tokens.access.bytes, "a1");
    assert_string_equal(l.copy.tokens.refresh.bytes, "r1");
    assert_string_equal(l.copy.tokens.scope, "user:profile user:inference");
    assert_true(l.copy.expires_wall_ms == INT64_C(1800003600000));
    assert_true(l.copy.login_deadline_wall_ms == INT64_C(1802592000000));
    assert_string_equal(buf_text(&l.copy.account),
                        "{\"claudeAiOauth.subscriptionType\":\"max\","
                        "\"claudeAiOauth.rateLimitTier\":null,\"organizationUuid\":\"o-1\"}");
    copy_clear(&l.copy);
}

static void an_access_token_alone_is_a_pair_without_a_refresh_token(void **state)
{
    (void)state;
    static const char *const stores[] = {
        "{\"claudeAiOauth\":{\"accessToken\":\"a1\",\"expiresAt\":5}}",
        "{\"claudeAiOauth\":{\"accessToken\":\"a1\",\"refreshToken\":null}}",
        "{\"claudeAiOauth\":{\"accessToken\":\"a1\",\"refreshToken\":\"\",\"expiresAt\":\"x\"}}",
    };
    for (size_t i = 0; i < sizeof(stores) / sizeof(*stores); i++) {
        struct look l;
        assert_int_equal(look("claude", stores[i], &l), SEEN_PAIR);
        assert_int_equal(l.copy.tokens.refresh.len, 0);
        copy_clear(&l.copy);
    }
}

#define WITH_SCOPES "{\"claudeAiOauth\":{\"accessToken\":\"a1\",\"expiresAt\":5,\"scopes\":%s}}"

/* Found by the fuzzer: blanks alone became no list at all. */
static void scopes_are_words_with_one_blank_between_them(void **state)
{
    (void)state;
    static const struct {
        const char *scopes, *words, *written;
    } stories[] = {
        {"[\" a\",\"\",\"b  c \"]", "a b c", "[\"a\",\"b\",\"c\"]"},
        {"\" a  b \"", "a b", "[\"a\",\"b\"]"},
    };
    for (size_t i = 0; i < sizeof(stories) / sizeof(*stories); i++) {
        char store[128], then[128];
        struct look l;
        (void)snprintf(store, sizeof(store), WITH_SCOPES, stories[i].scopes);
        (void)snprintf(then, sizeof(then), WITH_SCOPES, stories[i].written);
        assert_int_equal(look("claude", store, &l), SEEN_PAIR);
        assert_string_equal(l.copy.tokens.scope, stories[i].words);
        write_and_expect("claude", store, &l.copy, then);
        copy_clear(&l.copy);
    }
}

static void of_blanks_alone_no_scope_is_made(void **state)
{
    (void)state;
    struct look l;
    assert_int_equal(
        look("claude", "{\"claudeAiOauth\":{\"accessToken\":\"a1\",\"scopes\":[\"  \"]}}", &l),
        SEEN_PAIR);
    assert_string_equal(l.copy.tokens.scope, "");
    copy_clear(&l.copy);
    struct copy c = pair_of("a1", "", 5);
    assert_int_equal(str_copy(c.tokens.scope, sizeof(c.tokens.scope), "  "), 0);
    write_and_expect("claude", "{}", &c,
                     "{\"claudeAiOauth\":{\"accessToken\":\"a1\",\"expiresAt\":5,\"scopes\":[]}}");
    copy_clear(&c);
}

static void a_refused_client_leaves_a_blank(void **state)
{
    (void)state;
    struct look l;
    assert_int_equal(look("claude",
                          "{\"claudeAiOauth\":{\"accessToken\":\"\",\"refreshToken\":\"\","
                          "\"expiresAt\":0,\"scopes\":[\"user:inference\"]}}",
                          &l),
                     SEEN_BLANK);
    copy_clear(&l.copy);
}

static void nobody_is_signed_in(void **state)
{
    (void)state;
    struct look l;
    assert_int_equal(look("claude", "{}", &l), SEEN_GONE);
    assert_int_equal(look("claude", "{\"mcpOAuth\":{},\"claudeAiOauth\":null}", &l), SEEN_GONE);
    assert_int_equal(look("codex", "{\"OPENAI_API_KEY\":\"sk-x\",\"tokens\":null}", &l), SEEN_GONE);
    assert_int_equal(look("gemini", "{\"other\":1}", &l), SEEN_GONE);
    assert_int_equal(look("opencode", "{\"openai\":{\"type\":\"oauth\",\"access\":\"a\"}}", &l),
                     SEEN_GONE);
    assert_int_equal(look("opencode", "{\"anthropic\":{\"type\":\"api\",\"key\":\"k\"}}", &l),
                     SEEN_GONE);
}

static void what_is_not_understood_is_torn_and_not_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *store, *says;
    } torn[] = {
        {"", "line 1"},
        {"{\"claudeAiOauth\":{\"accessToken\":\"" SECRET, "line 1"},
        {"{\"claudeAiOauth\":{\"accessToken\":\"" SECRET "\"}} x", "follows the end"},
        {"{\"claudeAiOauth\":{\"accessToken\":\"a\",\"accessToken\":\"" SECRET "\"}}", "twice"},
        {"{\"claudeAiOauth\":{\"accessToken\":[\"" SECRET "\"]}}", "claudeAiOauth.accessToken"},
        {"{\"claudeAiOauth\":{\"accessToken\":\"" SECRET " x\"}}", "not a token"},
        {"{\"claudeAiOauth\":{\"accessToken\":\"\",\"refreshToken\":\"" SECRET "\"}}", "is empty"},
        {"{\"claudeAiOauth\":{\"accessToken\":\"" SECRET "\",\"scopes\":[1]}}", "scopes"},
        {"{\"claudeAiOauth\":{\"accessToken\":\"" SECRET "\",\"scopes\":{}}}", "scopes"},
        {"{\"x\":\"\xff" SECRET "\"}", "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof(torn) / sizeof(*torn); i++) {
        struct look l;
        assert_int_equal(look("claude", torn[i].store, &l), SEEN_TORN);
        assert_non_null(strstr(l.why.text, torn[i].says));
        assert_null(strstr(l.why.text, "made-up"));
        assert_int_equal(l.copy.tokens.access.len, 0);
        copy_clear(&l.copy);
    }
}

static void codexs_access_token_says_when_it_ends(void **state)
{
    (void)state;
    struct look l;
    assert_int_equal(look("codex",
                          "{\"auth_mode\":\"chatgpt\",\"OPENAI_API_KEY\":null,\"tokens\":{"
                          "\"id_token\":\"i\",\"access_token\":\"" JWT_1H "\","
                          "\"refresh_token\":\"r\",\"account_id\":\"acc\"},"
                          "\"last_refresh\":\"2027-01-15T08:00:00Z\"}",
                          &l),
                     SEEN_PAIR);
    assert_true(l.copy.expires_wall_ms == INT64_C(1800003700000));
    assert_string_equal(l.copy.tokens.id_token.bytes, "i");
    assert_string_equal(buf_text(&l.copy.account), "{\"tokens.account_id\":\"acc\"}");
    copy_clear(&l.copy);
}

static void opencodes_entry_of_one_provider_is_read(void **state)
{
    (void)state;
    struct look l;
    assert_int_equal(look("opencode", OPENCODE, &l), SEEN_PAIR);
    assert_string_equal(l.copy.tokens.access.bytes, "a1");
    assert_string_equal(l.copy.tokens.refresh.bytes, "r1");
    assert_true(l.copy.expires_wall_ms == INT64_C(1800003600000));
    assert_string_equal(buf_text(&l.copy.account), "{}");
    copy_clear(&l.copy);
}

/* ---- writing ---- */

static void a_renewed_pair_changes_three_values_and_nothing_else(void **state)
{
    (void)state;
    struct copy c = pair_of("a2", "r2", NOW_MS);
    write_and_expect(
        "claude", CLAUDE, &c,
        "{\"mcpOAuth\":{\"srv|1\":{\"accessToken\":\"not this\",\"n\":12345678901234567890123}},"
        "\"claudeAiOauth\":{\"accessToken\":\"a2\",\"refreshToken\":\"r2\","
        "\"expiresAt\":1800000000000,\"refreshTokenExpiresAt\":1802592000000,"
        "\"scopes\":[\"user:profile\",\"user:inference\"],\"subscriptionType\":\"max\","
        "\"rateLimitTier\":null,\"later\":1.10},\"organizationUuid\":\"o-1\"}");
    copy_clear(&c);
}

static void what_is_there_already_is_not_touched(void **state)
{
    (void)state;
    static const char *const stores[][2] = {
        {"claude", CLAUDE},
        {"codex", "{\"auth_mode\":\"chatgpt\",\"OPENAI_API_KEY\":null,\"tokens\":{\"id_token\":"
                  "\"i\",\"access_token\":\"" JWT_1H "\",\"refresh_token\":\"r\"},"
                  "\"last_refresh\":\"2020-01-01T00:00:00.5Z\"}"},
        {"opencode", OPENCODE},
        {"opencode", "{\"anthropic\":{\"type\":\"oauth\",\"refresh\":\"\",\"access\":\"a\","
                     "\"expires\":0,\"accountId\":\"x\"}}"},
        {"gemini", "{ \"access_token\" : \"a\", \"scope\":\"x y\", \"token_type\":\"Bearer\",\n"
                   "  \"expiry_date\":5 , \"refresh_token\":\"r\" }\n"},
    };
    for (size_t i = 0; i < sizeof(stores) / sizeof(*stores); i++) {
        struct look l;
        assert_int_equal(look(stores[i][0], stores[i][1], &l), SEEN_PAIR);
        write_and_expect(stores[i][0], stores[i][1], &l.copy, stores[i][1]);
        copy_clear(&l.copy);
    }
}

static void an_access_token_alone_leaves_no_refresh_token(void **state)
{
    (void)state;
    struct copy c = pair_of("a2", "", NOW_MS);
    write_and_expect("claude",
                     "{\"claudeAiOauth\":{\"accessToken\":\"a1\",\"refreshToken\":\"r1\","
                     "\"expiresAt\":1}}",
                     &c,
                     "{\"claudeAiOauth\":{\"accessToken\":\"a2\",\"expiresAt\":1800000000000}}");
    write_and_expect("codex",
                     "{\"auth_mode\":\"chatgpt\",\"OPENAI_API_KEY\":null,\"tokens\":{"
                     "\"access_token\":\"a1\",\"refresh_token\":\"r1\"}}",
                     &c,
                     "{\"auth_mode\":\"chatgpt\",\"OPENAI_API_KEY\":null,\"tokens\":{"
                     "\"access_token\":\"a2\",\"refresh_token\":\"\"},"
                     "\"last_refresh\":\"2027-01-15T08:00:00Z\"}");
    copy_clear(&c);
}

static void opencode_gets_what_it_takes_for_an_entry(void **state)
{
    (void)state;
    struct copy alone = pair_of("a2", "", 0);
    write_and_expect("opencode", OPENCODE, &alone,
                     "{\n  \"openai\": {\n    \"type\": \"oauth\",\n    \"access\": \"a9\"\n  },\n"
                     "  \"anthropic\": {\n    \"type\": \"oauth\",\n    \"refresh\": \"\",\n"
                     "    \"access\": \"a2\",\n    \"expires\": 0\n  },\n"
                     "  \"groq\": {\n    \"type\": \"api\",\n    \"key\": \"k\"\n  }\n}");
    copy_clear(&alone);
}

static void another_login_brings_what_goes_with_it(void **state)
{
    (void)state;
    struct copy c = pair_of("a2", "r2", NOW_MS);
    c.login_deadline_wall_ms = NOW_MS + 1;
    assert_int_equal(str_copy(c.tokens.scope, sizeof(c.tokens.scope), "user:inference s"), 0);
    assert_int_equal(buf_add_str(&c.account, "{\"claudeAiOauth.subscriptionType\":\"pro\"}"), 0);
    write_and_expect(
        "claude", CLAUDE, &c,
        "{\"mcpOAuth\":{\"srv|1\":{\"accessToken\":\"not this\",\"n\":12345678901234567890123}},"
        "\"claudeAiOauth\":{\"accessToken\":\"a2\",\"refreshToken\":\"r2\","
        "\"expiresAt\":1800000000000,\"refreshTokenExpiresAt\":1800000000001,"
        "\"scopes\":[\"user:inference\",\"s\"],\"subscriptionType\":\"pro\",\"later\":1.10}}");
    copy_clear(&c);
}

static void a_store_is_made_where_there_is_none(void **state)
{
    (void)state;
    struct copy c = pair_of("a", "r", NOW_MS);
    write_and_expect("claude", "", &c,
                     "{\"claudeAiOauth\":{\"accessToken\":\"a\",\"refreshToken\":\"r\","
                     "\"expiresAt\":1800000000000}}");
    write_and_expect("codex", "", &c,
                     "{\"tokens\":{\"access_token\":\"a\",\"refresh_token\":\"r\"},"
                     "\"auth_mode\":\"chatgpt\",\"OPENAI_API_KEY\":null,"
                     "\"last_refresh\":\"2027-01-15T08:00:00Z\"}");
    write_and_expect("gemini", "", &c,
                     "{\"access_token\":\"a\",\"refresh_token\":\"r\","
                     "\"expiry_date\":1800000000000,\"token_type\":\"Bearer\"}");
    write_and_expect("opencode", "", &c,
                     "{\"anthropic\":{\"access\":\"a\",\"refresh\":\"r\","
                     "\"expires\":1800000000000,\"type\":\"oauth\"}}");
    copy_clear(&c);
}

static void whoever_leaves_takes_his_login_and_nothing_else(void **state)
{
    (void)state;
    struct copy gone;
    copy_init(&gone);
    write_and_expect(
        "claude", CLAUDE, &gone,
        "{\"mcpOAuth\":{\"srv|1\":{\"accessToken\":\"not this\",\"n\":12345678901234567890123}}}");
    write_and_expect("gemini", "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"mine\":[ 1 ]}",
                     &gone, "{\"mine\":[ 1 ]}");
    write_and_expect("opencode", OPENCODE, &gone,
                     "{\n  \"openai\": {\n    \"type\": \"oauth\",\n    \"access\": \"a9\"\n  },\n"
                     "  \"groq\": {\n    \"type\": \"api\",\n    \"key\": \"k\"\n  }\n}");
    copy_clear(&gone);
}

static void an_api_key_in_the_logins_place_stays(void **state)
{
    (void)state;
    struct copy gone;
    copy_init(&gone);
    const char *key = "{\"anthropic\":{\"type\":\"api\",\"key\":\"k\"}}";
    write_and_expect("opencode", key, &gone, key);
    copy_clear(&gone);
}

static void a_torn_store_is_not_written(void **state)
{
    (void)state;
    struct copy c = pair_of("a", "r", NOW_MS);
    struct err_text why = {""};
    struct buf out;
    buf_init_secret(&out, REPLICA_STORE_MAX);
    const char *const torn[] = {"{\"claudeAiOauth\":", "{\"claudeAiOauth\":[]}"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            format_write(format_find("claude"), torn[i], strlen(torn[i]), &c, NOW_MS, &out, &why),
            ERR_INVALID);
        assert_int_equal(out.len, 0);
        assert_true(why.text[0] != '\0');
    }
    buf_release(&out);
    copy_clear(&c);
}

int main(void)
{
    json_use_secret_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claudes_store_is_read),
        cmocka_unit_test(an_access_token_alone_is_a_pair_without_a_refresh_token),
        cmocka_unit_test(scopes_are_words_with_one_blank_between_them),
        cmocka_unit_test(of_blanks_alone_no_scope_is_made),
        cmocka_unit_test(a_refused_client_leaves_a_blank),
        cmocka_unit_test(nobody_is_signed_in),
        cmocka_unit_test(what_is_not_understood_is_torn_and_not_quoted),
        cmocka_unit_test(codexs_access_token_says_when_it_ends),
        cmocka_unit_test(opencodes_entry_of_one_provider_is_read),
        cmocka_unit_test(a_renewed_pair_changes_three_values_and_nothing_else),
        cmocka_unit_test(what_is_there_already_is_not_touched),
        cmocka_unit_test(an_access_token_alone_leaves_no_refresh_token),
        cmocka_unit_test(opencode_gets_what_it_takes_for_an_entry),
        cmocka_unit_test(another_login_brings_what_goes_with_it),
        cmocka_unit_test(a_store_is_made_where_there_is_none),
        cmocka_unit_test(whoever_leaves_takes_his_login_and_nothing_else),
        cmocka_unit_test(an_api_key_in_the_logins_place_stays),
        cmocka_unit_test(a_torn_store_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Pairs from files: each form that is understood, each expiry that can be said, and everything that
 * must be refused in words that quote nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/time.h"
#include "issuer/import.h"
#include "json/json.h"

#define AS_OF_MS   INT64_C(1800000000000)
#define SECRET     "made-up-Secret-0123456789" /* in every bad file; in no message */
#define JWT_1H     "eyJhbGciOiJub25lIn0.eyJpYXQiOjE4MDAwMDAxMDAsImV4cCI6MTgwMDAwMzcwMH0.x"
#define JWT_EXP_MS INT64_C(1800003700000)

static const struct provider *provider_for(const char *name)
{
    static struct provider p;
    static const char text[] = "[provider lab]\ntoken_url = http://127.0.0.1:1/t\nclient_id = c\n";
    const struct provider *known = provider_builtin(name);
    if (known != NULL) {
        return known;
    }
    assert_int_equal(provider_parse("test", text, strlen(text), &p, NULL), 0);
    return &p;
}

static int import(const char *provider, const char *text, struct import *ret, struct err_text *why)
{
    return import_parse(provider_for(provider), "FILE", text, strlen(text), AS_OF_MS, ret, why);
}

/* ---- forms ---- */

static void claudes_own_file_is_read(void **state)
{
    (void)state;
    struct import i;
    struct err_text why = {""};
    int err = import("claude",
                     "{\"mcpOAuth\":{\"access_token\":\"not this\"},\"claudeAiOauth\":{"
                     "\"accessToken\":\"sk-ant-oat01-a\",\"refreshToken\":\"sk-ant-ort01-r\","
                     "\"expiresAt\":1800003600000,\"refreshTokenExpiresAt\":1802592000000,"
                     "\"scopes\":[\"user:profile\",\"user:inference\"],"
                     "\"subscriptionType\":null}}\n",
                     &i, &why);
    assert_string_equal(why.text, "");
    assert_int_equal(err, 0);
    assert_string_equal(i.tokens.access.bytes, "sk-ant-oat01-a");
    assert_string_equal(i.tokens.refresh.bytes, "sk-ant-ort01-r");
    assert_string_equal(i.tokens.scope, "user:profile user:inference");
    assert_int_equal(i.expires_wall_ms, INT64_C(1800003600000));
    assert_int_equal(i.login_deadline_wall_ms, INT64_C(1802592000000));
    assert_int_equal(i.life_ms, 0);
    import_clear(&i);
    assert_null(i.tokens.access.bytes);
    import_clear(&i);
    import_clear(NULL);
}

static void codexs_own_file_is_read(void **state)
{
    (void)state;
    struct import i;
    struct err_text why = {""};
    int err = import("codex",
                     "{\"OPENAI_API_KEY\":null,\"tokens\":{\"id_token\":\"h.p.s\","
                     "\"access_token\":\"" JWT_1H "\",\"refresh_token\":\"rt-1\","
                     "\"account_id\":\"acc\"},\"last_refresh\":\"2026-11-20T23:24:01Z\"}",
                     &i, &why);
    assert_int_equal(err, 0);
    assert_string_equal(i.tokens.access.bytes, JWT_1H);
    assert_string_equal(i.tokens.id_token.bytes, "h.p.s");
    assert_int_equal(i.expires_wall_ms, JWT_EXP_MS);
    assert_int_equal(i.life_ms, HOUR_MS);
    import_clear(&i);
}

static void a_plain_answer_is_read_for_any_provider(void **state)
{
    (void)state;
    static const char *const providers[] = {"lab", "claude", "codex"};
    for (size_t n = 0; n < ARRAY_LEN(providers); n++) {
        struct import i;
        struct err_text why = {""};
        int err = import(providers[n],
                         " \n{\"access_token\":\"at-1\",\"refresh_token\":\"rt-1\","
                         "\"id_token\":\"it-1\",\"expires_in\":\"3600\",\"scope\":\"a b\"}\n ",
                         &i, &why);
        assert_int_equal(err, 0);
        assert_string_equal(i.tokens.access.bytes, "at-1");
        assert_string_equal(i.tokens.refresh.bytes, "rt-1");
        assert_string_equal(i.tokens.id_token.bytes, "it-1");
        assert_string_equal(i.tokens.scope, "a b");
        assert_int_equal(i.expires_wall_ms, AS_OF_MS + HOUR_MS);
        assert_int_equal(i.life_ms, HOUR_MS);
        import_clear(&i);
    }
}

static void a_pair_without_refresh_token_is_static(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"access_token\":\"sk-ant-oat01-a\"}",
        "{\"access_token\":\"sk-ant-oat01-a\",\"refresh_token\":\"\"}",
        "{\"claudeAiOauth\":{\"accessToken\":\"sk-ant-oat01-a\",\"refreshToken\":\"\"}}",
        "{\"claudeAiOauth\":{\"accessToken\":\"sk-ant-oat01-a\"}}",
    };
    for (size_t n = 0; n < ARRAY_LEN(texts); n++) {
        struct import i;
        assert_int_equal(import("claude", texts[n], &i, NULL), 0);
        assert_int_equal(i.tokens.refresh.len, 0);
        assert_int_equal(i.expires_wall_ms, 0);
        import_clear(&i);
    }
}

static void a_bare_token_is_a_static_pair(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *text, *token;
    } bare[] = {
        {"lab", "0123456789abcdef", "0123456789abcdef"},
        {"lab", "\n  AZaz09-._~+/==\t\r\n ", NULL}, /* too short */
        {"lab", "  AZaz09-._~+/AZaz==\r\n", "AZaz09-._~+/AZaz=="},
        {"claude", "sk-ant-oat01-made-up\n", "sk-ant-oat01-made-up"},
        {"codex", JWT_1H "\n", JWT_1H},
    };
    for (size_t n = 0; n < ARRAY_LEN(bare); n++) {
        struct import i;
        int err = import(bare[n].provider, bare[n].text, &i, NULL);
        assert_int_equal(err, bare[n].token != NULL ? 0 : ERR_INVALID);
        if (err == 0) {
            assert_string_equal(i.tokens.access.bytes, bare[n].token);
            assert_int_equal(i.tokens.refresh.len, 0);
            assert_int_equal(i.expires_wall_ms,
                             strcmp(bare[n].provider, "codex") == 0 ? JWT_EXP_MS : 0);
            import_clear(&i);
        }
    }
}

/* ---- expiry ---- */

static void an_expiry_is_read_however_it_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        int64_t expires_wall_ms, life_ms;
    } said[] = {
        {"", 0, 0},
        {",\"expires_in\":60", AS_OF_MS + MINUTE_MS, MINUTE_MS},
        {",\"expires_in\":\"60\"", AS_OF_MS + MINUTE_MS, MINUTE_MS},
        {",\"expires_in\":0.5", AS_OF_MS + 500, 500},
        {",\"expires_in\":0", 0, 0},
        {",\"expires_in\":null", 0, 0},
        {",\"expires_in\":60,\"created_at\":1700000000", INT64_C(1700000060000), MINUTE_MS},
        {",\"expires_in\":60,\"obtained_at\":1700000000000", INT64_C(1700000060000), MINUTE_MS},
        {",\"expires_in\":60,\"obtained_at\":\"2026-11-20T23:24:01Z\"", INT64_C(1795217101000),
         MINUTE_MS},
        {",\"created_at\":1700000000", 0, 0},
        {",\"expires_at\":1800003600", INT64_C(1800003600000), 0},
        {",\"expires_at\":\"1800003600\"", INT64_C(1800003600000), 0},
        {",\"expires_at\":1800003600.25", INT64_C(1800003600250), 0},
        {",\"expires_at\":1800003600000", INT64_C(1800003600000), 0},
        {",\"expires_at\":\"2026-11-20T23:24:01Z\"", INT64_C(1795217041000), 0},
        {",\"expires_at\":\"2026-11-21T00:24:01.5+01:00\"", INT64_C(1795217041500), 0},
        {",\"expires_at\":1800003600,\"expires_in\":60", INT64_C(1800003600000), MINUTE_MS},
        {",\"expires_at\":null", 0, 0},
        {",\"expires_at\":0", 0, 0},
        {",\"expires_at\":\"\"", 0, 0},
        {",\"expiry\":\"2026-11-20T23:24:01.123456789Z\"", INT64_C(1795217041123), 0},
        {",\"expiry\":\"0001-01-01T00:00:00Z\"", 0, 0}, /* Go's "none" */
        {",\"expiry_date\":1800003600000", INT64_C(1800003600000), 0},
    };
    for (size_t n = 0; n < ARRAY_LEN(said); n++) {
        struct import i;
        struct err_text why = {""};
        char text[512];
        snprintf(text, sizeof(text), "{\"access_token\":\"at-1\"%s}", said[n].fields);
        int err = import("lab", text, &i, &why);
        if (err != 0 || i.expires_wall_ms != said[n].expires_wall_ms ||
            i.life_ms != said[n].life_ms) {
            fail_msg("%s: %d %s, expires %lld, life %lld", said[n].fields, err, why.text,
                     (long long)i.expires_wall_ms, (long long)i.life_ms);
        }
        import_clear(&i);
    }
}

/* ---- refused ---- */

#define CLAUDE(fields) "{\"claudeAiOauth\":{" fields "}}"

static const struct {
    const char *provider, *text;
    int err;
    const char *says;
} refused[] = {
    {"lab", "", ERR_INVALID, "FILE: empty"},
    {"lab", " \r\n\t ", ERR_INVALID, "FILE: empty"},
    {"lab", "\xef\xbb\xbf{}", ERR_INVALID, "FILE: begins with a byte order mark"},
    {"lab", "{\"access_token\":\"\xff\"}", ERR_INVALID, "FILE: not UTF-8 text"},
    /* not strict JSON: where, and nothing of what */
    {"lab", "{\"access_token\":\"" SECRET "\"", ERR_INVALID,
     "FILE: line 1, column 43: it ends too early"},
    {"lab", "{\n\"access_token\":\"" SECRET "\"\n\"" SECRET "\"}", ERR_INVALID,
     "FILE: line 3, column 27: not valid JSON"},
    {"lab", "{\"access_token\":\"" SECRET "\"}{}", ERR_INVALID,
     "FILE: line 1, column 45: something follows the end of the JSON"},
    {"lab", "{\"access_token\":\"" SECRET "\"}" SECRET, ERR_INVALID, "FILE: line 1, column "},
    {"lab", "{\"" SECRET "\":1,\"" SECRET "\":2}", ERR_INVALID,
     "FILE: line 1, column 58: a key stands there twice"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_in\":NaN}", ERR_INVALID,
     "FILE: line 1, column "},
    {"lab", "{'access_token':'" SECRET "'}", ERR_INVALID, "FILE: line 1, column "},
    {"lab", "{\"access_token\":\"" SECRET "\\u0000\"}", ERR_INVALID,
     "FILE: line 1, column 49: a NUL inside a string"},
    {"lab", "[\"" SECRET "\"]", ERR_INVALID, "FILE: line 1, column 1: not a JSON object"},
    {"lab", "{", ERR_INVALID, "FILE: line 1, column 1: it ends too early"},
    /* no token */
    {"lab", "{}", ERR_INVALID, "FILE: holds no access_token"},
    {"lab", "{\"token\":\"" SECRET "\"}", ERR_INVALID, "FILE: holds no access_token"},
    {"claude", "{\"mcpOAuth\":{}}", ERR_INVALID,
     "FILE: holds neither claudeAiOauth.accessToken nor access_token"},
    {"claude", CLAUDE("\"accessToken\":null"), ERR_INVALID,
     "FILE: holds neither claudeAiOauth.accessToken nor access_token"},
    {"claude", "{\"claudeAiOauth\":\"" SECRET "\"}", ERR_INVALID, "FILE: holds neither"},
    {"lab", "{\"access_token\":7}", ERR_INVALID, "FILE: access_token is not a string"},
    {"lab", "{\"access_token\":\"a b\"}", ERR_INVALID, "FILE: access_token holds blanks"},
    {"lab", "{\"access_token\":\"a\\nb\"}", ERR_INVALID, "FILE: access_token holds blanks"},
    {"lab", "{\"access_token\":\"\\u00e9\"}", ERR_INVALID, "FILE: access_token holds blanks"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"refresh_token\":{}}", ERR_INVALID,
     "FILE: refresh_token is not a string"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"id_token\":7}", ERR_INVALID,
     "FILE: id_token is not a string"},
    /* signed out */
    {"claude", CLAUDE("\"accessToken\":\"\",\"refreshToken\":\"\",\"expiresAt\":0,\"scopes\":[]"),
     ERR_INVALID,
     "FILE: claudeAiOauth.accessToken is empty: the client that owns this file has signed out"},
    {"claude", CLAUDE("\"accessToken\":\"\""), ERR_INVALID,
     "FILE: claudeAiOauth.accessToken is empty"},
    {"claude", CLAUDE("\"refreshToken\":\"sk-ant-ort01-" SECRET "\""), ERR_INVALID,
     "FILE: claudeAiOauth.accessToken is empty"},
    {"lab", "{\"access_token\":\"\",\"refresh_token\":\"\"}", ERR_INVALID,
     "FILE: the tokens are empty"},
    {"lab", "{\"refresh_token\":\"" SECRET "\"}", ERR_INVALID,
     "FILE: a refresh token but no access token"},
    /* mixed up */
    {"claude", "{\"access_token\":\"sk-ant-ort01-" SECRET "\"}", ERR_INVALID,
     "FILE: a refresh token stands where the access token belongs"},
    {"claude",
     CLAUDE("\"accessToken\":\"sk-ant-oat01-x\",\"refreshToken\":\"sk-ant-oat01-" SECRET "\""),
     ERR_INVALID, "FILE: an access token stands where the refresh token belongs"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"refresh_token\":\"" SECRET "\"}", ERR_INVALID,
     "FILE: the same token stands as access token and as refresh token"},
    /* bare */
    {"claude", "sk-ant-ort01-" SECRET, ERR_INVALID, "FILE: a refresh token alone"},
    {"claude", "sk-ant-api03-" SECRET, ERR_INVALID,
     "FILE: one word that is not an access token of claude, which begin with sk-ant-oat01-"},
    {"claude", SECRET, ERR_INVALID, "FILE: one word that is not an access token of claude"},
    {"lab", SECRET "\n" SECRET, ERR_INVALID, "FILE: neither a JSON object nor one access token"},
    {"lab", "token=" SECRET " x", ERR_INVALID, "FILE: neither a JSON object nor"},
    {"lab", "\"" SECRET "\"", ERR_INVALID, "FILE: neither a JSON object nor"},
    {"lab", "<html>" SECRET, ERR_INVALID, "FILE: neither a JSON object nor"},
    {"lab", "null", ERR_INVALID, "FILE: neither a JSON object nor"},
    {"lab", "123456789", ERR_INVALID, "FILE: neither a JSON object nor"},
    /* times and scopes */
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_in\":-1}", ERR_INVALID,
     "FILE: expires_in is not a number of seconds"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_in\":315360001}", ERR_INVALID,
     "FILE: expires_in is not a number of seconds"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_in\":\"1h\"}", ERR_INVALID,
     "FILE: expires_in is not a number of seconds"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_in\":[]}", ERR_INVALID,
     "FILE: expires_in is not a number of seconds"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_at\":-1}", ERR_INVALID,
     "FILE: expires_at is not a Unix time in seconds or milliseconds"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_at\":1e18}", ERR_INVALID,
     "FILE: expires_at is not a Unix time"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_at\":true}", ERR_INVALID,
     "FILE: expires_at is not a Unix time"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_at\":\"" SECRET "\"}", ERR_INVALID,
     "FILE: expires_at is not a time like"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expiry\":\"2026-02-30T00:00:00Z\"}", ERR_INVALID,
     "FILE: expiry is not a time like"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"expires_in\":5,\"obtained_at\":\"x\"}", ERR_INVALID,
     "FILE: obtained_at is not a time like"},
    {"claude", CLAUDE("\"accessToken\":\"sk-ant-oat01-x\",\"expiresAt\":\"" SECRET "\""),
     ERR_INVALID, "FILE: claudeAiOauth.expiresAt is not a Unix time in milliseconds"},
    {"claude", CLAUDE("\"accessToken\":\"sk-ant-oat01-x\",\"scopes\":[\"a\",7]"), ERR_INVALID,
     "FILE: claudeAiOauth.scopes is not a list of scopes"},
    {"claude", CLAUDE("\"accessToken\":\"sk-ant-oat01-x\",\"scopes\":{}"), ERR_INVALID,
     "FILE: claudeAiOauth.scopes is not a list of scopes"},
    {"lab", "{\"access_token\":\"" SECRET "\",\"scope\":\"a\\u0001\"}", ERR_INVALID,
     "FILE: scope is not a list of scopes"},
};

static void what_is_no_pair_is_refused_without_quoting_it(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_LEN(refused); n++) {
        struct import i, untouched;
        struct err_text why = {""};
        memset(&i, 0x5a, sizeof(i));
        memset(&untouched, 0x5a, sizeof(untouched));
        int err = import(refused[n].provider, refused[n].text, &i, &why);
        if (err != refused[n].err || strstr(why.text, refused[n].says) != why.text) {
            fail_msg("row %zu: expected \"%s\", got %d \"%s\"", n, refused[n].says, err, why.text);
        }
        if (strstr(why.text, "ecret") != NULL || strstr(why.text, "0123") != NULL) {
            fail_msg("row %zu: the message repeats the file", n);
        }
        assert_memory_equal(&i, &untouched, sizeof(i));
    }
}

static void a_nul_byte_is_refused(void **state)
{
    (void)state;
    static const char bare[] = "0123456789abcdef\0ghijkl";
    static const char json[] = "{\"access_token\":\"at\0-1\"}";
    struct import i;
    assert_int_equal(
        import_parse(provider_for("lab"), "FILE", bare, sizeof(bare) - 1, AS_OF_MS, &i, NULL),
        ERR_INVALID);
    assert_int_equal(
        import_parse(provider_for("lab"), "FILE", json, sizeof(json) - 1, AS_OF_MS, &i, NULL),
        ERR_INVALID);
    assert_int_equal(import_parse(provider_for("lab"), "FILE", NULL, 0, AS_OF_MS, &i, NULL),
                     ERR_INVALID);
}

static void a_torn_file_is_never_a_pair(void **state)
{
    (void)state;
    static const char *const texts[] = {
        CLAUDE("\"accessToken\":\"sk-ant-oat01-a\",\"refreshToken\":\"sk-ant-ort01-r\","
               "\"expiresAt\":1800003600000,\"scopes\":[\"user:inference\"]"),
        "{\"access_token\":\"sk-ant-oat01-a\",\"refresh_token\":\"sk-ant-ort01-r\"}",
    };
    for (size_t n = 0; n < ARRAY_LEN(texts); n++) {
        for (size_t len = 0; len < strlen(texts[n]); len++) {
            struct import i;
            char *torn = malloc(len + 1);
            assert_non_null(torn);
            memcpy(torn, texts[n], len);
            int err = import_parse(provider_for("claude"), "FILE", torn, len, AS_OF_MS, &i, NULL);
            free(torn);
            assert_int_equal(err, ERR_INVALID);
        }
    }
}

/* ---- limits ---- */

static char *filled(size_t len, const char *head, const char *fill, const char *tail)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    size_t at = strlen(head), unit = strlen(fill), end = len - strlen(tail);
    memcpy(text, head, at);
    while (at + unit <= end) {
        memcpy(text + at, fill, unit);
        at += unit;
    }
    memset(text + at, ' ', end - at);
    memcpy(text + end, tail, strlen(tail) + 1);
    return text;
}

static void sizes_are_limited(void **state)
{
    (void)state;
    struct err_text why = {""};
    struct import i;
    char *text = filled(IMPORT_MAX, "{\"access_token\":\"at-1\"", " ", "}");
    assert_int_equal(import("lab", text, &i, &why), 0);
    import_clear(&i);
    free(text);
    text = filled(IMPORT_MAX + 1, "{\"access_token\":\"at-1\"", " ", "}");
    assert_int_equal(import("lab", text, &i, &why), ERR_TOO_LARGE);
    assert_string_equal(why.text, "FILE: larger than 1048576 bytes, so it is no credential");
    free(text);

    text = filled(sizeof("{\"access_token\":\"\"}") - 1 + TOKEN_MAX, "{\"access_token\":\"", "t",
                  "\"}");
    assert_int_equal(import("lab", text, &i, &why), 0);
    assert_int_equal(i.tokens.access.len, TOKEN_MAX);
    import_clear(&i);
    free(text);
    text =
        filled(sizeof("{\"access_token\":\"\"}") + TOKEN_MAX, "{\"access_token\":\"", "t", "\"}");
    assert_int_equal(import("lab", text, &i, &why), ERR_TOO_LARGE);
    assert_string_equal(why.text, "FILE: access_token is longer than 16384 bytes");
    free(text);

    text = filled(TOKEN_MAX + 1, "", "t", "");
    assert_int_equal(import("lab", text, &i, &why), ERR_INVALID);
    assert_int_equal(import_parse(provider_for("lab"), "FILE", text, TOKEN_MAX, AS_OF_MS, &i, &why),
                     0);
    import_clear(&i);
    free(text);

    text = filled(SCOPE_MAX + 64, "{\"access_token\":\"at-1\",\"scope\":\"", "s", "\"}");
    assert_int_equal(import("lab", text, &i, &why), ERR_TOO_LARGE);
    assert_string_equal(why.text, "FILE: scope is longer than 2047 bytes");
    free(text);
}

static void a_hostile_file_costs_little(void **state)
{
    (void)state;
    static const struct {
        const char *fill, *says;
    } fills[] = {
        {"[", "FILE: line 1, column 1: too many values"},
        {"{\"a\":", "FILE: line 1, column 1: too many values"},
        {"{},", "FILE: line 1, column 1: too many values"},
    };
    struct import i;
    for (size_t n = 0; n < ARRAY_LEN(fills); n++) {
        struct err_text why = {""};
        char *text = filled(IMPORT_MAX, "{\"x\":[", fills[n].fill, "]}");
        assert_int_equal(import("lab", text, &i, &why), ERR_INVALID);
        assert_string_equal(why.text, fills[n].says);
        free(text);
    }
    struct err_text why = {""};
    char *deep = filled(8192, "{\"x\":", "[", "]}");
    assert_int_equal(import("lab", deep, &i, &why), ERR_INVALID);
    assert_string_equal(why.text + strlen(why.text) - 17, "nested too deeply");
    free(deep);
    char *string = filled(IMPORT_MAX, "{\"x\":\"", "s", "\"}");
    assert_int_equal(import("lab", string, &i, &why), ERR_INVALID);
    free(string);
}

int main(void)
{
    json_use_secret_memory(); /* as the programs do it */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claudes_own_file_is_read),
        cmocka_unit_test(codexs_own_file_is_read),
        cmocka_unit_test(a_plain_answer_is_read_for_any_provider),
        cmocka_unit_test(a_pair_without_refresh_token_is_static),
        cmocka_unit_test(a_bare_token_is_a_static_pair),
        cmocka_unit_test(an_expiry_is_read_however_it_is_said),
        cmocka_unit_test(what_is_no_pair_is_refused_without_quoting_it),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(a_torn_file_is_never_a_pair),
        cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(a_hostile_file_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

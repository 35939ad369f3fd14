/*
 * Answers of the token endpoint: every row of the decision table, and above all what must not be
 * taken for a pair or for the end of a grant.
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
#include "issuer/reply.h"
#include "json/json.h"
#include "json/jwt.h"

#define DATE_MS INT64_C(1800000000000) /* what the server's Date says in these tests */

static struct provider plain(const char *more)
{
    struct provider p;
    struct err_text why = {""};
    char text[2048];
    snprintf(text, sizeof(text),
             "[provider lab]\ntoken_url = http://127.0.0.1:1/token\nclient_id = c\n%s", more);
    if (provider_parse("test", text, strlen(text), &p, &why) != 0) {
        fail_msg("%s", why.text);
    }
    return p;
}

static struct http_outcome answer(int status, const char *body)
{
    return (struct http_outcome){.sent = true,
                                 .status = status,
                                 .complete = true,
                                 .failure = "",
                                 .server_wall_ms = DATE_MS,
                                 .body = body,
                                 .body_len = strlen(body)};
}

static void spend(const struct provider *p, int status, const char *body, struct reply *ret)
{
    struct http_outcome o = answer(status, body);
    reply_of_spend(p, &o, ret);
}

/* ---- spend: no answer, or a part of one ---- */

static void without_an_answer_it_matters_whether_anything_left(void **state)
{
    (void)state;
    struct provider p = plain("");
    struct reply r;
    reply_init(&r);
    struct http_outcome o = {.sent = false, .failure = "Could not resolve host: a.example"};
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.verdict, VERDICT_UNSENT);
    assert_string_equal(r.detail, "not sent: Could not resolve host: a.example");

    o = (struct http_outcome){.sent = true, .failure = "Connection reset\x01"};
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.verdict, VERDICT_DOUBT);
    assert_string_equal(r.detail, "no answer: Connection reset?");

    o = (struct http_outcome){.sent = true, .failure = NULL};
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.verdict, VERDICT_DOUBT);
    assert_string_equal(r.detail, "no answer");
    reply_clear(&r);
}

static void a_torn_body_is_never_a_pair_nor_a_refusal(void **state)
{
    (void)state;
    struct provider p = plain("");
    static const struct {
        int status;
        const char *body;
        enum verdict whole;
    } bodies[] = {
        {200,
         "{\"access_token\":\"at-1\",\"refresh_token\":\"rt-2\",\"expires_in\":3600,"
         "\"scope\":\"a b\",\"nested\":{\"access_token\":\"x\"}}",
         VERDICT_GRANTED},
        {400, "{\"error\":\"invalid_grant\",\"error_description\":\"gone\"}", VERDICT_REFUSED},
        {400, "{\"error\":\"invalid_scope\"}", VERDICT_UNCOMMITTED},
    };
    struct reply r;
    reply_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct http_outcome o = answer(bodies[i].status, bodies[i].body);
        reply_of_spend(&p, &o, &r);
        assert_int_equal(r.verdict, bodies[i].whole);
        for (size_t len = 0; len < o.body_len; len++) {
            /* Exactly as long as what came, so that a sanitizer sees a byte too many. */
            char *torn = malloc(len + 1);
            assert_non_null(torn);
            memcpy(torn, bodies[i].body, len);
            struct http_outcome cut = o;
            cut.body = torn;
            cut.body_len = len;
            for (int complete = 0; complete < 2; complete++) {
                cut.complete = complete == 1;
                cut.failure = complete == 1 ? "" : "transfer closed";
                reply_of_spend(&p, &cut, &r);
                assert_int_equal(r.verdict, VERDICT_DOUBT);
                assert_int_equal(r.tokens.access.len, 0);
                assert_int_equal(r.tokens.refresh.len, 0);
            }
            free(torn);
        }
    }
    reply_clear(&r);
}

static void a_pair_that_came_whole_before_the_cut_is_not_lost(void **state)
{
    (void)state;
    struct provider p = plain("");
    struct reply r;
    reply_init(&r);
    struct http_outcome o = answer(200, "{\"access_token\":\"at-1\",\"refresh_token\":\"rt-2\"}");
    o.complete = false;
    o.failure = "transfer closed";
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    assert_string_equal(r.tokens.refresh.bytes, "rt-2");

    /* An error that was cut off proves nothing, even if it can be read. */
    o = answer(400, "{\"error\":\"invalid_grant\"}");
    o.complete = false;
    o.failure = "transfer closed";
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.verdict, VERDICT_DOUBT);
    assert_string_equal(r.detail, "400 the answer was cut: transfer closed");
    reply_clear(&r);
}

/* ---- spend: the table ---- */

#define OK "{\"access_token\":\"at-1\",\"refresh_token\":\"rt-2\"}"

static const struct {
    const char *provider; /* a built-in, or lines of a definition */
    int status;
    const char *body;
    enum verdict verdict;
    const char *detail; /* NULL: any */
} spends[] = {
    /* a pair */
    {"", 200, OK, VERDICT_GRANTED, "200 granted"},
    {"", 201, OK, VERDICT_GRANTED, "201 granted"},
    {"", 200, "{\"access_token\":\"at-1\"}", VERDICT_GRANTED, NULL},
    {"", 200, "{\"access_token\":\"at-1\",\"refresh_token\":null}", VERDICT_GRANTED, NULL},
    {"", 200, "{\"access_token\":\"at-1\",\"refresh_token\":\"\"}", VERDICT_GRANTED, NULL},
    {"", 200, "{\"access_token\":\"at-1\",\"token_type\":\"DPoP\"}", VERDICT_GRANTED, NULL},
    {"", 200, "{\"access_token\":\"at-1\",\"id_token\":7,\"scope\":{}}", VERDICT_GRANTED, NULL},
    {"", 200, "{\"access_token\":\"at-1\",\"n\":123456789012345678901234567890}", VERDICT_GRANTED,
     NULL},
    /* success, and no pair */
    {"", 200, "", VERDICT_DOUBT, "200 not an answer in JSON: it ends too early"},
    {"", 200, "<html>Sign in to the hotel</html>", VERDICT_DOUBT,
     "200 not an answer in JSON: not valid JSON"},
    {"", 200, "[]", VERDICT_DOUBT, "200 not an answer in JSON: not a JSON object"},
    {"", 200, "\"at-1\"", VERDICT_DOUBT, NULL},
    {"", 200, "{}", VERDICT_DOUBT, "200 JSON without access_token"},
    {"", 200, "{\"access_token\":null}", VERDICT_DOUBT, "200 JSON without access_token"},
    {"", 200, "{\"access_token\":\"\"}", VERDICT_DOUBT, "200 JSON without access_token"},
    {"", 200, "{\"access_token\":7}", VERDICT_DOUBT, "200 JSON without access_token"},
    {"", 200, "{\"refresh_token\":\"rt-2\"}", VERDICT_DOUBT, "200 JSON without access_token"},
    {"", 200, "{\"access_token\":\"a\\nb\"}", VERDICT_DOUBT, "200 access_token is not usable"},
    {"", 200, "{\"access_token\":\"a b\"}", VERDICT_DOUBT, "200 access_token is not usable"},
    {"", 200, "{\"access_token\":\"\\u00e9\"}", VERDICT_DOUBT, "200 access_token is not usable"},
    {"", 200, "{\"access_token\":\"a\\u0000b\"}", VERDICT_DOUBT,
     "200 not an answer in JSON: a NUL inside a string"},
    {"", 200, "{\"access_token\":\"at-1\",\"refresh_token\":[]}", VERDICT_DOUBT,
     "200 refresh_token is not usable"},
    {"", 200, "{\"access_token\":\"at-1\",\"refresh_token\":\"r\\tt\"}", VERDICT_DOUBT,
     "200 refresh_token is not usable"},
    {"", 200, "{\"access_token\":\"at-1\",\"access_token\":\"at-2\"}", VERDICT_DOUBT,
     "200 not an answer in JSON: a key stands there twice"},
    {"", 200, OK " {}", VERDICT_DOUBT,
     "200 not an answer in JSON: something follows the end of the JSON"},
    {"", 200, "{\"access_token\":\"at\xff\"}", VERDICT_DOUBT,
     "200 not an answer in JSON: not UTF-8 text"},
    {"", 200, "{\"access_token\":\"at-1\",\"expires_in\":NaN}", VERDICT_DOUBT, NULL},
    /* mixed up */
    {"claude", 200, "{\"access_token\":\"sk-ant-ort01-x\"}", VERDICT_DOUBT,
     "200 access_token begins like a refresh token"},
    {"claude", 200, "{\"access_token\":\"sk-ant-oat01-x\",\"refresh_token\":\"sk-ant-oat01-y\"}",
     VERDICT_DOUBT, "200 refresh_token begins like an access token"},
    {"claude", 200, "{\"access_token\":\"sk-ant-oat01-x\",\"refresh_token\":\"sk-ant-ort01-y\"}",
     VERDICT_GRANTED, NULL},
    {"claude", 200, "{\"access_token\":\"sk-ant-oat02-x\",\"refresh_token\":\"sk-ant-ort02-y\"}",
     VERDICT_GRANTED, NULL},
    /* final */
    {"", 400, "{\"error\":\"invalid_grant\"}", VERDICT_REFUSED, "400 invalid_grant"},
    {"", 401, "{\"error\":\"invalid_client\"}", VERDICT_REFUSED, "401 invalid_client"},
    {"", 400, "{\"error\":\"unauthorized_client\"}", VERDICT_REFUSED, NULL},
    {"claude", 400,
     "{\"error\":\"invalid_grant\",\"error_description\":\"Refresh token not found or invalid\"}",
     VERDICT_REFUSED, "400 invalid_grant: Refresh token not found or invalid"},
    {"claude", 400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Refresh "
     "token not found or invalid\"}}",
     VERDICT_REFUSED, "400 invalid_request_error: Refresh token not found or invalid"},
    {"claude", 400, "{\"error\":{\"type\":\"invalid_grant\"}}", VERDICT_REFUSED, NULL},
    {"codex", 401,
     "{\"error\":{\"message\":\"Used already.\",\"type\":\"invalid_request_error\","
     "\"code\":\"refresh_token_reused\"}}",
     VERDICT_REFUSED, "401 refresh_token_reused: Used already."},
    {"codex", 401, "{\"error\":\"refresh_token_expired\"}", VERDICT_REFUSED, NULL},
    {"codex", 400, "{\"code\":\"refresh_token_invalidated\"}", VERDICT_REFUSED, NULL},
    {"final_errors = bad_refresh_token\n", 200, "{\"error\":\"bad_refresh_token\"}",
     VERDICT_REFUSED, "200 bad_refresh_token"},
    /* final, but not by this definition, or not with this status */
    {"", 400, "{\"error\":{\"type\":\"invalid_request_error\"}}", VERDICT_DOUBT,
     "400 invalid_request_error"},
    {"final_errors =\n", 400, "{\"error\":\"invalid_grant\"}", VERDICT_DOUBT, NULL},
    {"", 400, "{\"error\":\"Invalid_Grant\"}", VERDICT_DOUBT, "400 an unknown error code"},
    {"", 400, "{\"error\":\"invalid\"}", VERDICT_DOUBT, NULL},
    {"", 400, "{\"error\":\"invalid_grant invalid_client\"}", VERDICT_DOUBT, NULL},
    {"", 400, "{\"error\":[\"invalid_grant\"]}", VERDICT_DOUBT, "400"},
    {"", 400, "{\"error_description\":\"invalid_grant\"}", VERDICT_DOUBT, "400: invalid_grant"},
    {"", 400, "<html>invalid_grant</html>", VERDICT_DOUBT, NULL},
    {"", 400, "error=invalid_grant", VERDICT_DOUBT, NULL},
    {"", 500, "{\"error\":\"invalid_grant\"}", VERDICT_DOUBT, NULL},
    {"", 302, "{\"error\":\"invalid_grant\"}", VERDICT_DOUBT, NULL},
    {"", 408, "{\"error\":\"invalid_grant\"}", VERDICT_DOUBT, NULL},
    {"", 425, "{\"error\":\"invalid_grant\"}", VERDICT_DOUBT, NULL},
    /* throttled */
    {"", 429, "", VERDICT_THROTTLED, NULL},
    {"", 429, "{\"error\":\"invalid_grant\"}", VERDICT_THROTTLED, NULL},
    {"claude", 429, "{\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Slow down\"}}",
     VERDICT_THROTTLED, "429 rate_limit_error: Slow down"},
    {"", 429, OK, VERDICT_THROTTLED, NULL},
    /* nothing committed */
    {"", 400, "{\"error\":\"invalid_request\"}", VERDICT_UNCOMMITTED, "400 invalid_request"},
    {"", 400, "{\"error\":\"invalid_scope\"}", VERDICT_UNCOMMITTED, NULL},
    {"", 400, "{\"error\":\"unsupported_grant_type\"}", VERDICT_UNCOMMITTED, NULL},
    {"claude", 404, "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\"}}",
     VERDICT_UNCOMMITTED, "404 not_found_error"},
    {"uncommitted_answers = 503\n", 503, "<html>", VERDICT_UNCOMMITTED, NULL},
    {"uncommitted_answers = 503\n", 502, "<html>", VERDICT_DOUBT, NULL},
    {"uncommitted_answers = temporarily_unavailable\n", 503,
     "{\"error\":\"temporarily_unavailable\"}", VERDICT_UNCOMMITTED, NULL},
    {"uncommitted_answers = 401\n", 401, "{\"error\":\"invalid_grant\"}", VERDICT_REFUSED, NULL},
    {"uncommitted_answers = 307\n", 307, "", VERDICT_UNCOMMITTED, NULL},
    /* everything else */
    {"", 400, "{\"error\":\"server_error\"}", VERDICT_DOUBT, "400 server_error"},
    {"", 404, "Not Found", VERDICT_DOUBT, NULL},
    {"", 307, "", VERDICT_DOUBT, "307 a redirect, which is not followed"},
    {"", 408, "", VERDICT_DOUBT, NULL},
    {"", 500, "", VERDICT_DOUBT, NULL},
    {"", 502, "<html>Bad gateway</html>", VERDICT_DOUBT,
     "502 not an answer in JSON: not valid JSON"},
    {"", 503, "{}", VERDICT_DOUBT, "503"},
    {"", 400, OK, VERDICT_DOUBT, NULL},
    {"", 500, OK, VERDICT_DOUBT, NULL},
    {"", 302, OK, VERDICT_DOUBT, NULL},
    {"", 100, "", VERDICT_DOUBT, NULL},
};

static void each_answer_has_its_verdict(void **state)
{
    (void)state;
    struct reply r;
    reply_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(spends); i++) {
        const struct provider *known = provider_builtin(spends[i].provider);
        struct provider p = known != NULL ? *known : plain(spends[i].provider);
        spend(&p, spends[i].status, spends[i].body, &r);
        if (r.verdict != spends[i].verdict ||
            (spends[i].detail != NULL && strcmp(r.detail, spends[i].detail) != 0)) {
            fail_msg("row %zu (%d): %s, \"%s\"", i, spends[i].status, verdict_name(r.verdict),
                     r.detail);
        }
        assert_int_equal(r.tokens.access.len > 0, r.verdict == VERDICT_GRANTED);
        assert_int_equal(r.http_status, spends[i].status);
    }
    reply_clear(&r);
}

static void statuses_alone_hold_for_a_cut_body_too(void **state)
{
    (void)state;
    struct provider p = plain("uncommitted_answers = 503\n");
    struct reply r;
    reply_init(&r);
    struct http_outcome o = answer(429, "{\"err");
    o.complete = false;
    o.retry_after_ms = 7000;
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.verdict, VERDICT_THROTTLED);
    assert_int_equal(r.retry_after_ms, 7000);
    o.status = 503;
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.verdict, VERDICT_UNCOMMITTED);
    reply_clear(&r);
}

/* ---- spend: what a pair carries ---- */

static void a_pair_comes_with_everything_that_was_said(void **state)
{
    (void)state;
    struct reply r;
    reply_init(&r);
    spend(provider_builtin("claude"), 200,
          "{\"token_type\":\"Bearer\",\"access_token\":\"sk-ant-oat01-made-up\","
          "\"refresh_token\":\"sk-ant-ort01-made-up\",\"id_token\":\"e.y.x\",\"expires_in\":28800,"
          "\"refresh_token_expires_in\":2592000,\"scope\":\"user:profile user:inference\","
          "\"account\":{\"uuid\":\"acc-1\",\"email_address\":\"a@example.com\"},"
          "\"organization\":{\"uuid\":\"org-1\",\"name\":\"Org\"}}",
          &r);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    assert_string_equal(r.tokens.access.bytes, "sk-ant-oat01-made-up");
    assert_string_equal(r.tokens.refresh.bytes, "sk-ant-ort01-made-up");
    assert_string_equal(r.tokens.id_token.bytes, "e.y.x");
    assert_string_equal(r.tokens.scope, "user:profile user:inference");
    assert_int_equal(r.life_ms, 8 * HOUR_MS);
    assert_int_equal(r.login_deadline_ms, 30 * DAY_MS);
    assert_string_equal(r.subject, "acc-1/org-1");
    assert_string_equal(r.label, "a@example.com");
    assert_int_equal(r.server_wall_ms, DATE_MS);

    /* account and organization may be missing on refresh: then nobody is named, not half of one. */
    spend(provider_builtin("claude"), 200,
          "{\"access_token\":\"sk-ant-oat01-x\",\"account\":{\"uuid\":\"acc-1\"}}", &r);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    assert_string_equal(r.subject, "");
    assert_int_equal(r.tokens.refresh.len, 0);
    assert_int_equal(r.login_deadline_ms, 0);
    reply_clear(&r);
}

static void a_subject_or_label_is_not_said_when_it_is_a_token(void **state)
{
    (void)state;
    static const char *const who[] = {"made-up-access", "(made-up-refresh)", "made-up-id-token",
                                      "rt-x"};
    struct provider p =
        plain("answer_subject_paths = who\nanswer_label_path = who\nrefresh_prefix = rt-\n");
    struct reply r;
    char body[512];
    reply_init(&r);
    for (size_t i = 0; i <= ARRAY_LEN(who); i++) {
        snprintf(body, sizeof(body),
                 "{\"access_token\":\"made-up-access\",\"refresh_token\":\"made-up-refresh\","
                 "\"id_token\":\"made-up-id-token\",\"who\":\"%s\"}",
                 i < ARRAY_LEN(who) ? who[i] : "alice");
        spend(&p, 200, body, &r);
        assert_int_equal(r.verdict, VERDICT_GRANTED); /* the pair is not lost for it */
        assert_string_equal(r.subject, i < ARRAY_LEN(who) ? "" : "alice");
        assert_string_equal(r.label, i < ARRAY_LEN(who) ? "" : "alice");
    }
    reply_clear(&r);
}

static void expires_in_may_be_anything(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t life_ms;
    } lives[] = {
        {"3600", 3600000},   {"\"3600\"", 3600000},
        {"3599.5", 3599500}, {"\"3599.5\"", 3599500},
        {"1", 1000},         {"315360000", 315360000000},
        {"315360001", 0},    {"0", 0},
        {"-1", 0},           {"\"-1\"", 0},
        {"1e300", 0},        {"99999999999999999999999999", 0},
        {"\"\"", 0},         {"\"soon\"", 0},
        {"\"0x10\"", 0},     {"\"inf\"", 0},
        {"\"1e999\"", 0},    {"\" 5\"", 0},
        {"null", 0},         {"true", 0},
        {"[3600]", 0},       {"{}", 0},
    };
    struct provider p = plain("deadline_field = ends_in\n");
    struct reply r;
    reply_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
        char body[256];
        snprintf(body, sizeof(body), "{\"access_token\":\"at-1\",\"expires_in\":%s,\"ends_in\":%s}",
                 lives[i].value, lives[i].value);
        spend(&p, 200, body, &r);
        assert_int_equal(r.verdict, VERDICT_GRANTED);
        if (r.life_ms != lives[i].life_ms || r.login_deadline_ms != lives[i].life_ms) {
            fail_msg("expires_in %s: %lld ms", lives[i].value, (long long)r.life_ms);
        }
    }
    reply_clear(&r);
}

static void scopes_may_be_a_string_or_an_array(void **state)
{
    (void)state;
    static const struct {
        const char *value, *scope;
    } scopes[] = {
        {"\"a b\"", "a b"},      {"[\"a\",\"b\"]", "a b"}, {"[]", ""}, {"null", ""},
        {"[\"a\",7,\"b\"]", ""}, {"\"a\\nb\"", ""},        {"7", ""},  {"\"\"", ""},
    };
    struct provider p = plain("");
    struct reply r;
    reply_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        char body[256];
        snprintf(body, sizeof(body), "{\"access_token\":\"at-1\",\"scope\":%s}", scopes[i].value);
        spend(&p, 200, body, &r);
        assert_int_equal(r.verdict, VERDICT_GRANTED);
        assert_string_equal(r.tokens.scope, scopes[i].scope);
    }
    reply_clear(&r);
}

static void tokens_have_a_longest_length(void **state)
{
    (void)state;
    struct provider p = plain("");
    struct reply r;
    reply_init(&r);
    char *body = malloc(TOKEN_MAX + 64);
    assert_non_null(body);
    for (int over = 0; over < 2; over++) {
        size_t at = (size_t)snprintf(body, 64, "{\"access_token\":\"");
        memset(body + at, 'a', TOKEN_MAX + (size_t)over);
        snprintf(body + at + TOKEN_MAX + over, 8, "\"}");
        spend(&p, 200, body, &r);
        assert_int_equal(r.verdict, over ? VERDICT_DOUBT : VERDICT_GRANTED);
        assert_int_equal(r.tokens.access.len, over ? 0 : TOKEN_MAX);
    }
    free(body);

    /* An ID token that is too long is left out; the pair matters more. */
    body = malloc(TOKEN_MAX + 128);
    assert_non_null(body);
    size_t at = (size_t)snprintf(body, 64, "{\"access_token\":\"at-1\",\"id_token\":\"");
    memset(body + at, 'i', TOKEN_MAX + 1);
    snprintf(body + at + TOKEN_MAX + 1, 8, "\"}");
    spend(&p, 200, body, &r);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    assert_int_equal(r.tokens.id_token.len, 0);
    free(body);
    reply_clear(&r);
}

/* {"alg":"none"} . claims . x; made with base64 -w0 | tr '+/' '-_' | tr -d = */
#define JWT(claims)                   "eyJhbGciOiJub25lIn0." claims ".x"
#define EXP_1800003600                "eyJleHAiOjE4MDAwMDM2MDB9"
#define IAT_1800000100_EXP_1800003700 "eyJpYXQiOjE4MDAwMDAxMDAsImV4cCI6MTgwMDAwMzcwMH0"

static void a_jwt_says_when_it_ends(void **state)
{
    (void)state;
    struct provider p = plain("access_is_jwt = yes\n");
    struct provider opaque = plain("");
    struct reply r;
    reply_init(&r);
    const char *body = "{\"access_token\":\"" JWT(EXP_1800003600) "\"}";
    spend(&p, 200, body, &r);
    assert_int_equal(r.life_ms, HOUR_MS);
    spend(&opaque, 200, body, &r);
    assert_int_equal(r.life_ms, 0);

    /* What the answer says goes first. */
    spend(&p, 200, "{\"expires_in\":60,\"access_token\":\"" JWT(EXP_1800003600) "\"}", &r);
    assert_int_equal(r.life_ms, MINUTE_MS);

    /* Without a Date, from when it was issued; without either, nothing is known. */
    struct http_outcome o =
        answer(200, "{\"access_token\":\"" JWT(IAT_1800000100_EXP_1800003700) "\"}");
    o.server_wall_ms = 0;
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.life_ms, HOUR_MS);
    o = answer(200, body);
    o.server_wall_ms = -5;
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.life_ms, 0);
    assert_int_equal(r.server_wall_ms, 0);

    /* Ended already by the server's own clock. */
    o.server_wall_ms = DATE_MS + 2 * HOUR_MS;
    reply_of_spend(&p, &o, &r);
    assert_int_equal(r.verdict, VERDICT_GRANTED);
    assert_int_equal(r.life_ms, 0);
    reply_clear(&r);
}

static void a_jwt_is_read_with_care(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "a.b",
        "a..c",
        "a.!!!.c",
        "a.e30.c",                     /* {} */
        "a.W10.c",                     /* [] */
        "a.eyJleHAiOi0xfQ.c",          /* {"exp":-1} */
        "a.eyJleHAiOjB9.c",            /* {"exp":0} */
        "a.eyJleHAiOiJzb29uIn0.c",     /* {"exp":"soon"} */
        "a.eyJleHAiOjFlMzAwfQ.c",      /* {"exp":1e300} */
        "a." EXP_1800003600,           /* no second dot */
        "a." EXP_1800003600 "=.c",     /* padded */
        "a.eyJleHAiOjE4MDAwMDM2MDA.c", /* torn */
    };
    int64_t wall_ms = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(jwt_expiry(bad[i], strlen(bad[i]), &wall_ms), ERR_INVALID);
        assert_int_equal(wall_ms, 7);
    }
    const char *good = JWT(EXP_1800003600);
    assert_int_equal(jwt_expiry(good, strlen(good), &wall_ms), 0);
    assert_int_equal(wall_ms, INT64_C(1800003600000));

    char *huge = malloc(TOKEN_MAX + 1);
    assert_non_null(huge);
    memset(huge, 'e', TOKEN_MAX + 1);
    huge[1] = '.';
    huge[TOKEN_MAX - 1] = '.';
    assert_int_equal(jwt_expiry(huge, TOKEN_MAX + 1, &wall_ms), ERR_INVALID);
    assert_int_equal(jwt_expiry(huge, TOKEN_MAX, &wall_ms), ERR_INVALID);
    free(huge);
}

/* ---- what is told to people ---- */

static void no_detail_repeats_a_token(void **state)
{
    (void)state;
    static const struct {
        const char *body, *detail;
    } echoes[] = {
        {"{\"error\":\"invalid_grant\",\"error_description\":\"The token "
         "sk-ant-ort01-Zm9vYmFy-made-up is unknown\"}",
         "400 invalid_grant: The token [...] is unknown"},
        {"{\"error\":\"invalid_grant\",\"error_description\":\"token=made-up-refresh-token\"}",
         "400 invalid_grant: [...]"},
        {"{\"error\":\"invalid_grant\",\"error_description\":\"(authentication_failed), "
         "Unsuccessfully: made_up_refresh_1\"}",
         "400 invalid_grant: (authentication_failed), Unsuccessfully: [...]"},
        {"{\"error\":\"made-up-refresh-token-0123456789\"}", "400 an unknown error code"},
        {"{\"error\":\"invalid_grant\",\"error_description\":\"a\\tb\\n\\u0007c \\u00e9\"}",
         "400 invalid_grant: a b ?c ??"},
        {"{\"error\":\"invalid_grant\",\"error_description\":\"   \"}", "400 invalid_grant"},
    };
    struct provider p = plain("");
    struct reply r;
    reply_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(echoes); i++) {
        spend(&p, 400, echoes[i].body, &r);
        assert_string_equal(r.detail, echoes[i].detail);
    }

    char body[2048] = "{\"error\":\"invalid_grant\",\"error_description\":\"";
    while (strlen(body) < 1900) {
        snprintf(body + strlen(body), sizeof(body) - strlen(body), "very long ");
    }
    snprintf(body + strlen(body), sizeof(body) - strlen(body), "\"}");
    spend(&p, 400, body, &r);
    assert_int_equal(r.verdict, VERDICT_REFUSED);
    assert_int_equal(strlen(r.detail), REPLY_DETAIL_MAX - 1);
    reply_clear(&r);
}

/* ---- hostile bodies ---- */

static void a_hostile_body_costs_little(void **state)
{
    (void)state;
    struct provider p = plain("");
    struct reply r;
    reply_init(&r);
    char *body = malloc(REPLY_BODY_MAX);
    assert_non_null(body);
    static const char *const fills[] = {"[", "{\"a\":", "\"", "\\", "{},", "9", "\xff", ""};
    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        size_t len = strlen(fills[i]) > 0 ? strlen(fills[i]) : 1; /* the last: NUL bytes */
        body[0] = '{';
        for (size_t at = 1; at + len < REPLY_BODY_MAX; at += len) {
            memcpy(body + at, fills[i], len);
        }
        struct http_outcome o = answer(200, "");
        o.body = body;
        o.body_len = REPLY_BODY_MAX - 16;
        reply_of_spend(&p, &o, &r);
        assert_int_equal(r.verdict, VERDICT_DOUBT);
    }
    free(body);
    reply_clear(&r);
}

int main(void)
{
    /* As the programs do it: a leak or a use after free of a document with tokens shows here. */
    json_use_secret_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_answer_it_matters_whether_anything_left),
        cmocka_unit_test(a_torn_body_is_never_a_pair_nor_a_refusal),
        cmocka_unit_test(a_pair_that_came_whole_before_the_cut_is_not_lost),
        cmocka_unit_test(each_answer_has_its_verdict),
        cmocka_unit_test(statuses_alone_hold_for_a_cut_body_too),
        cmocka_unit_test(a_pair_comes_with_everything_that_was_said),
        cmocka_unit_test(a_subject_or_label_is_not_said_when_it_is_a_token),
        cmocka_unit_test(expires_in_may_be_anything),
        cmocka_unit_test(scopes_may_be_a_string_or_an_array),
        cmocka_unit_test(tokens_have_a_longest_length),
        cmocka_unit_test(a_jwt_says_when_it_ends),
        cmocka_unit_test(a_jwt_is_read_with_care),
        cmocka_unit_test(no_detail_repeats_a_token),
        cmocka_unit_test(a_hostile_body_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

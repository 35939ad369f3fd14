/*
 * Answers to the other questions: whose token is this, in every dialect of the facts; how much is
 * used; what an issuer says of itself.
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
#include "issuer/reply.h"
#include "json/json.h"

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

static const struct secret shown = {(char *)(uintptr_t) "made-up-access-token", 20};

static struct http_outcome answer(int status, const char *body)
{
    return (struct http_outcome){.sent = true,
                                 .status = status,
                                 .complete = true,
                                 .failure = "",
                                 .body = body,
                                 .body_len = strlen(body)};
}

/* ---- identity ---- */

static const struct {
    const char *provider;
    int status;
    const char *body;
    enum identity identity;
    const char *subject;
} identities[] = {
    {"claude", 200,
     "{\"account\":{\"uuid\":\"acc-1\",\"email\":\"a@example.com\"},"
     "\"organization\":{\"uuid\":\"org-1\"}}",
     IDENTITY_NAMED, "acc-1/org-1"},
    {"claude", 200, "{\"account\":{\"uuid\":\"acc-1\"}}", IDENTITY_UNANSWERED, ""},
    {"claude", 200, "{\"account\":{\"uuid\":\"\"},\"organization\":{\"uuid\":\"org-1\"}}",
     IDENTITY_UNANSWERED, ""},
    {"claude", 200, "{\"account\":{\"uuid\":\"a/b\"},\"organization\":{\"uuid\":\"c\"}}",
     IDENTITY_UNANSWERED, ""},
    {"claude", 200, "{\"account\":\"acc-1\",\"organization\":{\"uuid\":\"c\"}}",
     IDENTITY_UNANSWERED, ""},
    {"oidc", 200, "{\"sub\":\"a/b\",\"email\":\"x@example.com\"}", IDENTITY_NAMED, "a/b"},
    {"oidc", 200, "{\"sub\":4711}", IDENTITY_NAMED, "4711"},
    {"oidc", 200, "{\"sub\":4711.5}", IDENTITY_UNANSWERED, ""},
    {"oidc", 200, "{\"sub\":true}", IDENTITY_UNANSWERED, ""},
    {"oidc", 200, "{\"sub\":\"a\\nb\"}", IDENTITY_UNANSWERED, ""},
    {"oidc", 200, "{\"sub\":\"a\",\"sub\":\"b\"}", IDENTITY_UNANSWERED, ""},
    {"oidc", 200, "<html>", IDENTITY_UNANSWERED, ""},
    {"oidc", 200, "", IDENTITY_UNANSWERED, ""},
    /* the dialects of the facts */
    {"claude", 401,
     "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"OAuth token "
     "has expired. Please obtain a new token or refresh your existing token.\"}}",
     IDENTITY_EXPIRED, ""},
    {"claude", 401,
     "{\"error\":{\"type\":\"authentication_error\",\"message\":\"OAuth access token has "
     "expired.\"}}",
     IDENTITY_EXPIRED, ""},
    {"claude", 403,
     "{\"error\":{\"type\":\"permission_error\",\"message\":\"OAuth token has been revoked. "
     "Please obtain a new token.\"}}",
     IDENTITY_REVOKED, ""},
    {"claude", 401,
     "{\"error\":{\"type\":\"authentication_error\",\"message\":\"OAuth access token has been "
     "revoked\"}}",
     IDENTITY_REVOKED, ""},
    {"claude", 401,
     "{\"error\":{\"type\":\"authentication_error\",\"message\":\"Invalid authentication "
     "credentials\"}}",
     IDENTITY_REVOKED, ""},
    {"claude", 403,
     "{\"error\":{\"type\":\"permission_error\",\"message\":\"OAuth token does not meet scope "
     "requirement user:profile\"}}",
     IDENTITY_SCOPE, ""},
    {"oidc", 401, "{\"error\":\"invalid_token\"}", IDENTITY_REVOKED, ""},
    {"oidc", 401, "{\"error\":\"invalid_token\",\"error_description\":\"token is Expired\"}",
     IDENTITY_EXPIRED, ""},
    {"oidc", 401, "{\"error\":\"invalid_token\",\"error_description\":\"expired or revoked\"}",
     IDENTITY_EXPIRED, ""},
    {"oidc", 403, "{\"error\":\"insufficient_scope\"}", IDENTITY_SCOPE, ""},
    /* says nothing */
    {"oidc", 401, "", IDENTITY_UNANSWERED, ""},
    {"oidc", 401, "<html>token has expired</html>", IDENTITY_UNANSWERED, ""},
    {"oidc", 401, "{\"error\":\"insufficient_scope\"}", IDENTITY_UNANSWERED, ""},
    {"claude", 401,
     "{\"error\":{\"type\":\"authentication_error\",\"message\":\"OAuth authentication is "
     "currently not supported.\"}}",
     IDENTITY_UNANSWERED, ""},
    {"claude", 403, "{\"error\":{\"type\":\"forbidden\",\"message\":\"Request not allowed\"}}",
     IDENTITY_UNANSWERED, ""},
    {"oidc", 400, "{\"error\":\"invalid_token\"}", IDENTITY_UNANSWERED, ""},
    {"oidc", 404, "{\"error\":\"expired\"}", IDENTITY_UNANSWERED, ""},
    {"oidc", 429, "{\"error\":\"revoked\"}", IDENTITY_UNANSWERED, ""},
    {"oidc", 500, "{\"sub\":\"a\"}", IDENTITY_UNANSWERED, ""},
    {"oidc", 302, "", IDENTITY_UNANSWERED, ""},
};

static struct provider asked(const char *name)
{
    const struct provider *known = provider_builtin(name);
    return known != NULL ? *known
                         : plain("identity_url = http://127.0.0.1:1/me\nsubject_paths = sub\n"
                                 "label_path = email\n");
}

static void each_identity_answer_has_its_meaning(void **state)
{
    (void)state;
    struct reply r;
    reply_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(identities); i++) {
        struct provider p = asked(identities[i].provider);
        struct http_outcome o = answer(identities[i].status, identities[i].body);
        o.retry_after_ms = 3000;
        reply_of_identity(&p, &o, &shown, &r);
        if (r.identity != identities[i].identity || strcmp(r.subject, identities[i].subject) != 0) {
            fail_msg("row %zu: %s, subject \"%s\", \"%s\"", i, identity_name(r.identity), r.subject,
                     r.detail);
        }
        assert_int_equal(r.retry_after_ms, 3000);
        o.complete = false;
        reply_of_identity(&p, &o, &shown, &r);
        assert_int_equal(r.identity, IDENTITY_UNANSWERED);
        assert_string_equal(r.subject, "");
    }
    struct provider p = asked("oidc");
    struct http_outcome silent = {.sent = true, .failure = "timed out"};
    reply_of_identity(&p, &silent, &shown, &r);
    assert_int_equal(r.identity, IDENTITY_UNANSWERED);
    assert_string_equal(r.detail, "no answer: timed out");
    reply_clear(&r);
}

static void a_subject_or_label_is_never_a_token(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum identity identity;
        const char *label;
    } rows[] = {
        {"{\"sub\":\"u1\",\"email\":\"a@b\"}", IDENTITY_NAMED, "a@b"},
        {"{\"sub\":\"made-up-access-token\"}", IDENTITY_UNANSWERED, ""},
        {"{\"sub\":\"<made-up-access-token>\"}", IDENTITY_UNANSWERED, ""},
        {"{\"sub\":\"rt-of-somebody\"}", IDENTITY_UNANSWERED, ""},
        {"{\"sub\":\"at-of-somebody\"}", IDENTITY_UNANSWERED, ""},
        {"{\"sub\":\"u1\",\"email\":\"is made-up-access-token\"}", IDENTITY_NAMED, ""},
        {"{\"sub\":\"u1\",\"email\":\"rt-of-somebody\"}", IDENTITY_NAMED, ""},
        {"{\"sub\":\"u1\",\"email\":\"sport-at-home\"}", IDENTITY_NAMED, "sport-at-home"},
    };
    struct provider p = plain("identity_url = http://127.0.0.1:1/me\nsubject_paths = sub\n"
                              "label_path = email\naccess_prefix = at-\nrefresh_prefix = rt-\n");
    struct reply r;
    reply_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_outcome o = answer(200, rows[i].body);
        reply_of_identity(&p, &o, &shown, &r);
        assert_int_equal(r.identity, rows[i].identity);
        assert_string_equal(r.subject, r.identity == IDENTITY_NAMED ? "u1" : "");
        assert_string_equal(r.label, rows[i].label);
        assert_null(strstr(r.detail, "made-up"));
    }
    reply_clear(&r);
}

static void a_missing_part_of_the_subject_is_named(void **state)
{
    (void)state;
    struct reply r;
    reply_init(&r);
    struct http_outcome o = answer(200, "{\"account\":{\"uuid\":\"acc-1\"}}");
    reply_of_identity(provider_builtin("claude"), &o, &shown, &r);
    assert_string_equal(r.detail, "200 the answer has no usable organization.uuid");
    reply_clear(&r);
}

static void a_subject_has_a_longest_length(void **state)
{
    (void)state;
    struct provider p = asked("oidc");
    struct reply r;
    reply_init(&r);
    for (int over = 0; over < 2; over++) {
        char body[512] = "{\"sub\":\"";
        size_t at = strlen(body), len = REPLY_SUBJECT_MAX - 2 + (size_t)over * 2;
        memset(body + at, 's', len);
        snprintf(body + at + len, 8, "\"}");
        struct http_outcome o = answer(200, body);
        reply_of_identity(&p, &o, &shown, &r);
        assert_int_equal(r.identity, over ? IDENTITY_UNANSWERED : IDENTITY_NAMED);
        assert_int_equal(strlen(r.subject), over ? 0 : len);
    }
    reply_clear(&r);
}

/* ---- usage, metadata ---- */

static void usage_keeps_the_numbers_that_are_there(void **state)
{
    (void)state;
    struct reply r;
    reply_init(&r);
    struct http_outcome o = answer(200, "{\"five_hour\":{\"utilization\":12.5,\"resets_at\":\"x\"},"
                                        "\"seven_day\":{\"utilization\":\"80\"},"
                                        "\"seven_day_opus\":null,\"extra_usage\":{}}");
    reply_of_usage(provider_builtin("claude"), &o, &r);
    assert_int_equal(r.identity, IDENTITY_NAMED);
    assert_string_equal(buf_text(&r.body),
                        "{\"five_hour.utilization\": 12.5, \"seven_day.utilization\": 80}");
    o = answer(200, "{}");
    reply_of_usage(provider_builtin("claude"), &o, &r);
    assert_string_equal(buf_text(&r.body), "{}");
    o = answer(429, "{}");
    o.retry_after_ms = 0;
    reply_of_usage(provider_builtin("claude"), &o, &r);
    assert_int_equal(r.identity, IDENTITY_UNANSWERED);
    assert_int_equal(r.body.len, 0);
    o = answer(401, "{\"error\":{\"message\":\"OAuth token has expired\"}}");
    reply_of_usage(provider_builtin("claude"), &o, &r);
    assert_int_equal(r.identity, IDENTITY_EXPIRED);
    reply_clear(&r);
}

static void metadata_is_kept_whole_or_not_at_all(void **state)
{
    (void)state;
    struct reply r;
    reply_init(&r);
    struct http_outcome o = answer(200, "{\"issuer\":\"https://a.example\"}");
    reply_of_metadata(&o, &r);
    assert_int_equal(r.identity, IDENTITY_NAMED);
    assert_string_equal(buf_text(&r.body), o.body);
    o = answer(200, "<html>");
    reply_of_metadata(&o, &r);
    assert_int_equal(r.identity, IDENTITY_UNANSWERED);
    assert_int_equal(r.body.len, 0);
    o = answer(404, "{}");
    reply_of_metadata(&o, &r);
    assert_int_equal(r.identity, IDENTITY_UNANSWERED);

    char *large = malloc(REPLY_KEPT_MAX + 2);
    assert_non_null(large);
    memset(large, ' ', REPLY_KEPT_MAX + 1);
    memcpy(large, "{}", 2);
    large[REPLY_KEPT_MAX + 1] = '\0';
    o = answer(200, large);
    reply_of_metadata(&o, &r);
    assert_int_equal(r.identity, IDENTITY_UNANSWERED);
    assert_string_equal(r.detail, "200 the document is too large");
    o.body_len = REPLY_KEPT_MAX;
    reply_of_metadata(&o, &r);
    assert_int_equal(r.identity, IDENTITY_NAMED);
    free(large);
    reply_clear(&r);
}

/* ---- hostile bodies ---- */

static void a_hostile_body_says_nothing(void **state)
{
    (void)state;
    struct reply r;
    reply_init(&r);
    char *body = malloc(REPLY_BODY_MAX);
    assert_non_null(body);
    static const char *const fills[] = {"[", "{\"a\":", "\"", "{},", "9", "\xff"};
    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        size_t len = strlen(fills[i]);
        body[0] = '{';
        for (size_t at = 1; at + len < REPLY_BODY_MAX; at += len) {
            memcpy(body + at, fills[i], len);
        }
        struct http_outcome o = answer(200, "");
        o.body = body;
        o.body_len = REPLY_BODY_MAX - 16;
        reply_of_identity(provider_builtin("claude"), &o, &shown, &r);
        assert_int_equal(r.identity, IDENTITY_UNANSWERED);
        reply_of_metadata(&o, &r);
        assert_int_equal(r.identity, IDENTITY_UNANSWERED);
    }
    free(body);
    reply_clear(&r);
}

int main(void)
{
    /* As the programs do it: a leak or a use after free of a document with tokens shows here. */
    json_use_secret_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_identity_answer_has_its_meaning),
        cmocka_unit_test(a_subject_or_label_is_never_a_token),
        cmocka_unit_test(a_missing_part_of_the_subject_is_named),
        cmocka_unit_test(a_subject_has_a_longest_length),
        cmocka_unit_test(usage_keeps_the_numbers_that_are_there),
        cmocka_unit_test(metadata_is_kept_whole_or_not_at_all),
        cmocka_unit_test(a_hostile_body_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

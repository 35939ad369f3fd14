/*
 * What leaves for a provider, byte for byte.
 */
#include "issuer/spender/request.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

struct fixture {
    struct provider p;
    struct wire_question q;
    struct request r;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->q.provider = &f->p;
    f->q.ask = ASK_SPEND;
    request_init(&f->r);
    (void)str_copy(f->p.token_url, URL_MAX, "https://id.example/token");
    (void)str_copy(f->p.identity_url, URL_MAX, "https://id.example/me");
    (void)str_copy(f->p.client_id, sizeof(f->p.client_id), "client&1");
    assert_int_equal(secret_set(&f->q.token, "rt-~+/= %\xc3\xa9", 11), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    request_clear(&f->r);
    wire_question_clear(&f->q);
    free(f);
    return 0;
}

static bool has_header(const struct request *r, const char *line)
{
    for (const char *h = NULL; (h = request_next_header(r, h)) != NULL;)
        if (strcmp(h, line) == 0)
            return true;
    return false;
}

static void a_form(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(request_build(&f->q, 0, &f->r), 0);
    assert_true(f->r.is_post);
    assert_string_equal(f->r.url, "https://id.example/token");
    assert_string_equal(buf_text(&f->r.body),
                        "grant_type=refresh_token&refresh_token=rt-~%2B%2F%3D%20%25%C3%A9"
                        "&client_id=client%261");
    assert_true(has_header(&f->r, "Content-Type: application/x-www-form-urlencoded"));
    assert_true(has_header(&f->r, "Expect:"));
    assert_true(has_header(&f->r, "Accept: application/json"));
    assert_true(has_header(&f->r, "User-Agent: credwarden/" CREDWARDEN_VERSION));
}

static void a_json_object(void **state)
{
    struct fixture *f = *state;
    f->p.body = BODY_JSON;
    (void)str_copy(f->p.user_agent, sizeof(f->p.user_agent), "agent/1");
    assert_int_equal(secret_set(&f->q.token, "rt\"\\\n", 5), 0);
    assert_int_equal(request_build(&f->q, 0, &f->r), 0);
    assert_string_equal(buf_text(&f->r.body),
                        "{\"grant_type\":\"refresh_token\",\"refresh_token\":\"rt\\\"\\\\\\n\","
                        "\"client_id\":\"client&1\"}");
    assert_true(has_header(&f->r, "Content-Type: application/json"));
    assert_true(has_header(&f->r, "User-Agent: agent/1"));
}

static void the_scope_as_granted_goes_before_the_definition_s(void **state)
{
    struct fixture *f = *state;
    (void)str_copy(f->p.scope, sizeof(f->p.scope), "a b");
    assert_int_equal(request_build(&f->q, 0, &f->r), 0);
    assert_null(strstr(buf_text(&f->r.body), "scope="));
    f->p.send_scope = true;
    assert_int_equal(request_build(&f->q, 0, &f->r), 0);
    assert_non_null(strstr(buf_text(&f->r.body), "&scope=a%20b"));
    (void)str_copy(f->q.scope, sizeof(f->q.scope), "c");
    assert_int_equal(request_build(&f->q, 0, &f->r), 0);
    assert_non_null(strstr(buf_text(&f->r.body), "&scope=c"));
}

static void a_question_for_the_subject(void **state)
{
    struct fixture *f = *state;
    f->q.ask = ASK_IDENTITY;
    (void)str_copy(f->p.usage_header, sizeof(f->p.usage_header), "x-beta: one");
    assert_int_equal(secret_set(&f->q.token, "at-1", 4), 0);
    assert_int_equal(request_build(&f->q, 0, &f->r), 0);
    assert_false(f->r.is_post);
    assert_int_equal(f->r.body.len, 0);
    assert_string_equal(f->r.url, "https://id.example/me");
    assert_true(has_header(&f->r, "Authorization: Bearer at-1"));
    assert_true(has_header(&f->r, "x-beta: one"));
}

static void a_token_cannot_smuggle_a_header(void **state)
{
    struct fixture *f = *state;
    f->q.ask = ASK_IDENTITY;
    const char *bad[] = {"at\r\nX: y", "at\nX: y", "at\x7f", "at\x01", "at\xc3\xa9"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(secret_set(&f->q.token, bad[i], strlen(bad[i])), 0);
        assert_int_equal(request_build(&f->q, 0, &f->r), ERR_INVALID);
    }
    assert_int_equal(secret_set(&f->q.token, "at\0b", 4), 0);
    assert_int_equal(request_build(&f->q, 0, &f->r), ERR_INVALID);
}

static void json_cannot_carry_other_bytes_than_utf8(void **state)
{
    struct fixture *f = *state;
    f->p.body = BODY_JSON;
    assert_int_equal(secret_set(&f->q.token, "rt\xff", 3), 0);
    assert_int_equal(request_build(&f->q, 0, &f->r), ERR_INVALID);
}

static void no_token_goes_where_none_may_go(void **state)
{
    struct fixture *f = *state;
    const char *bad[] = {"", "http://id.example/token", "ftp://127.0.0.1/",
                         "https://u:p@id.example/", "file:///etc/passwd"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)str_copy(f->p.token_url, URL_MAX, bad[i]);
        assert_int_equal(request_build(&f->q, 0, &f->r), ERR_INVALID);
    }
    (void)str_copy(f->p.token_url, URL_MAX, "http://127.0.0.1:1234/token");
    assert_int_equal(request_build(&f->q, 0, &f->r), 0);
}

static void metadata_stands_in_two_places(void **state)
{
    struct fixture *f = *state;
    f->q.ask = ASK_METADATA;
    const char *cases[][3] = {
        {"https://id.example", "https://id.example/.well-known/openid-configuration",
         "https://id.example/.well-known/oauth-authorization-server"},
        {"https://id.example/", "https://id.example/.well-known/openid-configuration",
         "https://id.example/.well-known/oauth-authorization-server"},
        {"http://127.0.0.1:81/a/b/", "http://127.0.0.1:81/a/b/.well-known/openid-configuration",
         "http://127.0.0.1:81/.well-known/oauth-authorization-server/a/b"},
    };
    for (size_t i = 0; i < 3; i++) {
        (void)str_copy(f->p.issuer, URL_MAX, cases[i][0]);
        for (int attempt = 0; attempt < 2; attempt++) {
            assert_int_equal(request_build(&f->q, attempt, &f->r), 0);
            assert_string_equal(f->r.url, cases[i][attempt + 1]);
        }
        assert_int_equal(request_build(&f->q, 2, &f->r), ERR_NOT_FOUND);
    }
    const char *bad[] = {"", "id.example", "https://", "://", "http://id.example"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)str_copy(f->p.issuer, URL_MAX, bad[i]);
        assert_int_equal(request_build(&f->q, 0, &f->r), ERR_INVALID);
        assert_int_equal(request_build(&f->q, 1, &f->r), ERR_INVALID);
    }
}

static void only_metadata_is_looked_for_twice(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(request_build(&f->q, 1, &f->r), ERR_NOT_FOUND);
    f->q.ask = ASK_IDENTITY;
    assert_int_equal(request_build(&f->q, 1, &f->r), ERR_NOT_FOUND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_form),
        TEST(a_json_object),
        TEST(the_scope_as_granted_goes_before_the_definition_s),
        TEST(a_question_for_the_subject),
        TEST(a_token_cannot_smuggle_a_header),
        TEST(json_cannot_carry_other_bytes_than_utf8),
        TEST(no_token_goes_where_none_may_go),
        TEST(metadata_stands_in_two_places),
        TEST(only_metadata_is_looked_for_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

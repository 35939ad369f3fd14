/*
 * Where tokens may be sent: how URLs are read, and what is believed of an issuer's metadata.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "issuer/provider.h"

/* ---- URLs ---- */

static const struct {
    const char *url, *origin; /* NULL: not a URL we read */
    bool is_allowed, is_loopback;
} urls[] = {
    {"https://a.example", "https://a.example:443", true, false},
    {"https://A.Example/x/y?z=1", "https://a.example:443", true, false},
    {"https://a.example:8443/", "https://a.example:8443", true, false},
    {"https://a.example?x", "https://a.example:443", true, false},
    {"https://[2001:db8::1]:99/", "https://[2001:db8::1]:99", true, false},
    {"https://a.example/x@y", "https://a.example:443", true, false},
    {"https://127.0.0.1/", "https://127.0.0.1:443", true, true},
    {"http://127.0.0.1/", "http://127.0.0.1:80", true, true},
    {"http://127.255.1.2:8080/x", "http://127.255.1.2:8080", true, true},
    {"http://localhost:1", "http://localhost:1", true, true},
    {"http://LOCALHOST:1", "http://localhost:1", true, true},
    {"http://[::1]:80/", "http://[::1]:80", true, true},
    {"http://a.example/", "http://a.example:80", false, false},
    {"http://localhost.example/", "http://localhost.example:80", false, false},
    {"http://128.0.0.1/", "http://128.0.0.1:80", false, false},
    {"http://127.1/", NULL, false, false},
    {"http://0177.0.0.1/", NULL, false, false},
    {"http://2130706433/", NULL, false, false},
    {"http://0.0.0.0/", "http://0.0.0.0:80", false, false},
    {"http://[::]/", "http://[::]:80", false, false},
    {"http://[::ffff:127.0.0.1]/", "http://[::ffff:127.0.0.1]:80", false, false},
    {"", NULL, false, false},
    {"a.example", NULL, false, false},
    {"ftp://a.example/", NULL, false, false},
    {"HTTPS://a.example/", NULL, false, false},
    {"https:/a.example", NULL, false, false},
    {"https://", NULL, false, false},
    {"https:///x", NULL, false, false},
    {"https://?x", NULL, false, false},
    {"https://user@a.example/", NULL, false, false},
    {"https://user:pass@a.example/", NULL, false, false},
    {"http://127.0.0.1@a.example/", NULL, false, false},
    {"http://127.0.0.1:80@a.example/", NULL, false, false},
    {"http://a.example\\@127.0.0.1/", NULL, false, false},
    {"https://a.example/#fragment", NULL, false, false},
    {"https://a.example/#", NULL, false, false},
    {"https://a b/", NULL, false, false},
    {"https://a.example/\n", NULL, false, false},
    {"https://a.example/\x7f", NULL, false, false},
    {"https://caf\xc3\xa9.example/", NULL, false, false},
    {"https://a.example:/", NULL, false, false},
    {"https://a.example:0/", NULL, false, false},
    {"https://a.example:65536/", NULL, false, false},
    {"https://a.example:-1/", NULL, false, false},
    {"https://a.example:80x/", NULL, false, false},
    {"https://a.example:000080/", NULL, false, false},
    {"https://.example/", NULL, false, false},
    {"https://-a.example/", NULL, false, false},
    {"https://a%2eexample/", NULL, false, false},
    {"https://[::1/", NULL, false, false},
    {"https://[::1]x/", NULL, false, false},
    {"https://[]/", NULL, false, false},
    {"https://[::1%25lo]/", NULL, false, false},
    {"https://[a.example]/", NULL, false, false},
    /* libcurl would go to 127.0.0.1, and a public issuer must not send us there */
    {"https://127.1/", NULL, false, false},
    {"https://2130706433/", NULL, false, false},
    {"https://0177.0.0.1/", NULL, false, false},
    {"https://0x7f.0.0.1/", NULL, false, false},
    {"https://a.example.0X7F/", NULL, false, false},
    {"https://127.0.0.1./", NULL, false, false},
    {"https://256.1.1.1/", NULL, false, false},
    {"https://7.example/", "https://7.example:443", true, false},
    {"https://8.8.8.8/", "https://8.8.8.8:443", true, false},
};

static void urls_are_read_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        char origin[URL_MAX] = "untouched";
        int err = url_origin(urls[i].url, origin, sizeof(origin));
        const char *wanted = urls[i].origin != NULL ? urls[i].origin : "untouched";
        if (strcmp(origin, wanted) != 0 || err != (urls[i].origin != NULL ? 0 : ERR_INVALID) ||
            url_is_allowed(urls[i].url) != urls[i].is_allowed ||
            url_is_loopback(urls[i].url) != urls[i].is_loopback) {
            fail_msg("%s: %d, origin %s", urls[i].url, err, origin);
        }
    }
    char small[22];
    assert_int_equal(url_origin("https://a.example/", small, 21), ERR_INVALID);
    assert_int_equal(url_origin("https://a.example/", small, 22), 0);
}

static void a_url_has_a_longest_length(void **state)
{
    (void)state;
    char url[URL_MAX + 1];
    memset(url, 'x', sizeof(url));
    memcpy(url, "https://a.example/", 18);
    url[URL_MAX - 1] = '\0';
    assert_true(url_is_allowed(url));
    url[URL_MAX - 1] = 'x';
    url[URL_MAX] = '\0';
    assert_false(url_is_allowed(url));

    memset(url, 'h', sizeof(url));
    memcpy(url, "https://", 8);
    url[8 + 253] = '\0';
    assert_true(url_is_allowed(url));
    url[8 + 253] = 'h';
    url[8 + 254] = '\0';
    assert_false(url_is_allowed(url));
}

/* ---- discovery ---- */

#define META(issuer, fields) "{\"issuer\":\"" issuer "\"," fields "}"

static int discover(const char *issuer, const char *json, struct provider *ret,
                    struct err_text *why)
{
    return provider_from_metadata(issuer, "my-client", json, strlen(json), ret, why);
}

static void discovery_fills_a_definition(void **state)
{
    (void)state;
    struct provider p;
    struct err_text why = {""};
    int err = discover("https://accounts.example",
                       META("https://accounts.example",
                            "\"token_endpoint\":\"https://oauth2.example.net/token\","
                            "\"userinfo_endpoint\":\"https://openid.example.net/me\","
                            "\"authorization_endpoint\":\"https://accounts.example/auth\","
                            "\"device_authorization_endpoint\":\"https://accounts.example/dev\","
                            "\"revocation_endpoint\":\"https://accounts.example/revoke\","
                            "\"scopes_supported\":[\"openid\"],\"something_new\":{}"),
                       &p, &why);
    assert_string_equal(why.text, "");
    assert_int_equal(err, 0);
    assert_string_equal(p.name, "oidc");
    assert_string_equal(p.title, "https://accounts.example:443");
    assert_string_equal(p.issuer, "https://accounts.example");
    assert_string_equal(p.client_id, "my-client");
    assert_string_equal(p.token_url, "https://oauth2.example.net/token");
    assert_string_equal(p.identity_url, "https://openid.example.net/me");
    assert_string_equal(p.subject_paths, "sub");
    assert_string_equal(p.label_path, "email");
    assert_string_equal(p.authorization_url, "https://accounts.example/auth");
    assert_string_equal(p.device_url, "https://accounts.example/dev");
    assert_string_equal(p.revocation_url, "https://accounts.example/revoke");
    assert_int_equal(p.body, BODY_FORM);
    assert_true(p.rotates);
    assert_false(p.refresh_kills_access);
    assert_int_equal(p.default_policy, POLICY_ALWAYS);
    assert_int_equal(provider_validate(&p, &why), 0);
}

static void discovery_without_userinfo_has_no_identity(void **state)
{
    (void)state;
    struct provider p;
    struct err_text why = {""};
    const char *json = META("http://127.0.0.1:9000/", "\"userinfo_endpoint\":null,"
                                                      "\"token_endpoint\":"
                                                      "\"http://localhost:9000/token\"");
    assert_int_equal(discover("http://127.0.0.1:9000/", json, &p, &why), 0);
    assert_string_equal(p.identity_url, "");
    assert_string_equal(p.subject_paths, "");
}

#define TOKEN(url) "\"token_endpoint\":\"" url "\""

static const struct {
    const char *issuer, *json, *says;
} bad_metadata[] = {
    {"http://a.example", META("http://a.example", TOKEN("https://a.example/t")),
     "the issuer http://a.example is http and not on this machine"},
    {"a.example", "{}", "the issuer must be an https URL"},
    {"https://u@a.example", "{}", "the issuer must be an https URL"},
    {"https://a.example/?tenant=1", "{}", "the issuer must be an https URL"},
    {"https://a.example", "", "the metadata of https://a.example: line 1"},
    {"https://a.example", "<html>", "the metadata of https://a.example: line 1"},
    {"https://a.example", "[]", "the metadata of https://a.example: line 1, column 1: not a JSON"},
    {"https://a.example", "{\"issuer\":\"https://a.example\",\"issuer\":\"https://a.example\"}",
     "the metadata of https://a.example: line 1, column 38: a key stands there twice"},
    {"https://a.example", "{}", "the metadata of https://a.example names no issuer"},
    {"https://a.example", "{\"issuer\":7}", "the metadata of https://a.example names no issuer"},
    {"https://a.example", META("https://a.example/", TOKEN("https://a.example/t")),
     "the metadata of https://a.example is that of the issuer 'https://a.example/'"},
    {"https://a.example", META("https://evil.example", TOKEN("https://evil.example/t")),
     "the metadata of https://a.example is that of the issuer 'https://evil.example'"},
    {"https://a.example", META("https://a.example", "\"x\":1"),
     "the metadata of https://a.example has no usable token_endpoint"},
    {"https://a.example", META("https://a.example", "\"token_endpoint\":[]"),
     "the metadata of https://a.example has no usable token_endpoint"},
    {"https://a.example", META("https://a.example", TOKEN("http://a.example/t")),
     "the metadata of https://a.example: token_endpoint: token_url: expected an https URL"},
    {"https://a.example", META("https://a.example", TOKEN("https://u:p@a.example/t")),
     "the metadata of https://a.example: token_endpoint: token_url: expected an https URL"},
    {"https://a.example", META("https://a.example", TOKEN("http://127.0.0.1/t")),
     "the metadata of https://a.example: token_endpoint is on this machine and the issuer is not"},
    {"https://a.example", META("https://a.example", TOKEN("https://localhost/t")),
     "the metadata of https://a.example: token_endpoint is on this machine"},
    {"http://127.0.0.1:9", META("http://127.0.0.1:9", TOKEN("https://a.example/t")),
     "the metadata of http://127.0.0.1:9: token_endpoint is not on this machine"},
    {"https://a.example",
     META("https://a.example", TOKEN("https://a.example/t") ",\"userinfo_endpoint\":7"),
     "the metadata of https://a.example has no usable userinfo_endpoint"},
    {"https://a.example",
     META("https://a.example", TOKEN("https://a.example/t") ",\"revocation_endpoint\":"
                                                            "\"https://a.example/#x\""),
     "the metadata of https://a.example: revocation_endpoint: revocation_url: expected an https"},
};

static void bad_metadata_is_refused_with_its_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_metadata); i++) {
        struct provider p;
        struct err_text why = {""};
        int err = discover(bad_metadata[i].issuer, bad_metadata[i].json, &p, &why);
        if (err != ERR_INVALID || strstr(why.text, bad_metadata[i].says) != why.text) {
            fail_msg("expected \"%s\", got %d \"%s\"", bad_metadata[i].says, err, why.text);
        }
    }
}

static void discovery_needs_a_client_id(void **state)
{
    (void)state;
    struct provider p;
    struct err_text why = {""};
    const char *json = META("https://a.example", TOKEN("https://a.example/t"));
    int err = provider_from_metadata("https://a.example", "", json, strlen(json), &p, &why);
    assert_int_equal(err, ERR_INVALID);
    assert_string_equal(why.text, "provider oidc: client_id is required");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_read_strictly),
        cmocka_unit_test(a_url_has_a_longest_length),
        cmocka_unit_test(discovery_fills_a_definition),
        cmocka_unit_test(discovery_without_userinfo_has_no_identity),
        cmocka_unit_test(bad_metadata_is_refused_with_its_reason),
        cmocka_unit_test(discovery_needs_a_client_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

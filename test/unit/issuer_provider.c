/*
 * Definitions: what a file may say, what is refused and with which words, and that the record form
 * and the documentation say the same as the table.
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
#include "base/record.h"
#include "base/time.h"
#include "issuer/provider.h"

#define MINIMAL                                                                                    \
    "[provider lab]\n"                                                                             \
    "token_url = http://127.0.0.1:8080/token\n"                                                    \
    "client_id = lab-client\n"

static int parse(const char *text, struct provider *ret, struct err_text *why)
{
    return provider_parse("lab.ini", text, strlen(text), ret, why);
}

/* ---- built in ---- */

static void every_builtin_is_valid(void **state)
{
    (void)state;
    unsigned n = 0;
    struct err_text why;
    for (const struct provider *p; (p = provider_builtin_at(n)) != NULL; n++) {
        assert_int_equal(provider_validate(p, &why), 0);
        assert_ptr_equal(provider_builtin(p->name), p);
        /* A vendor's own client spends, unless the user says otherwise. */
        assert_int_equal(p->default_policy, POLICY_NEVER);
        assert_int_equal(strncmp(p->token_url, "https://", 8), 0);
    }
    assert_int_equal(n, 2);
    assert_null(provider_builtin("lab"));
    assert_null(provider_builtin(""));
}

static void claude_is_as_observed(void **state)
{
    (void)state;
    const struct provider *p = provider_builtin("claude");
    assert_non_null(p);
    assert_string_equal(p->token_url, "https://platform.claude.com/v1/oauth/token");
    assert_string_equal(p->client_id, "9d1c250a-e61b-44d9-88ed-5944d1962f5e");
    assert_int_equal(p->body, BODY_JSON);
    assert_true(p->send_scope);
    assert_true(p->rotates);
    assert_true(p->refresh_kills_access);
    assert_int_equal(p->reuse_grace_ms, 0);
    assert_string_equal(p->access_prefix, "sk-ant-oat01-");
    assert_string_equal(p->refresh_prefix, "sk-ant-ort01-");
    assert_string_equal(p->subject_paths, "account.uuid organization.uuid");
    assert_string_equal(p->usage_header, "anthropic-beta: oauth-2025-04-20");
    assert_string_equal(p->import_access, "claudeAiOauth.accessToken");
    assert_true(provider_words_have(p->final_errors, "invalid_grant"));
    assert_false(provider_words_have(p->final_errors, "not_found_error"));
}

static void codex_is_as_observed(void **state)
{
    (void)state;
    const struct provider *p = provider_builtin("codex");
    assert_non_null(p);
    assert_string_equal(p->token_url, "https://auth.openai.com/oauth/token");
    assert_true(p->access_is_jwt);
    assert_false(p->send_scope);
    assert_string_equal(p->identity_url, "");
    assert_true(provider_words_have(p->final_errors, "refresh_token_reused"));
    assert_string_equal(p->import_id_token, "tokens.id_token");
}

/* ---- a good file ---- */

static void a_minimal_file_has_the_defaults(void **state)
{
    (void)state;
    struct provider p;
    struct err_text why = {""};
    assert_int_equal(parse(MINIMAL, &p, &why), 0);
    assert_string_equal(p.name, "lab");
    assert_string_equal(p.title, "lab");
    assert_int_equal(p.body, BODY_FORM);
    assert_true(p.rotates);
    assert_false(p.refresh_kills_access);
    assert_false(p.send_scope);
    assert_int_equal(p.skew_ms, MINUTE_MS);
    assert_int_equal(p.default_policy, POLICY_ALWAYS);
    assert_string_equal(p.final_errors, "invalid_grant invalid_client unauthorized_client");
    assert_string_equal(p.uncommitted_answers,
                        "invalid_request invalid_scope unsupported_grant_type");
}

static void layout_is_free(void **state)
{
    (void)state;
    struct provider p;
    struct err_text why = {""};
    const char *text = "\xef\xbb\xbf; a byte order mark, comments, blanks, CRLF, an empty value\r\n"
                       "\r\n"
                       "  [ provider   lab.2 ]   ; the lab\r\n"
                       "# another comment\r\n"
                       "\ttoken_url=https://issuer.example/token?a=b;c=d   ; inline\r\n"
                       "    client_id   =   x\r\n"
                       "final_errors =\r\n"
                       "skew: 1h30m";
    assert_int_equal(parse(text, &p, &why), 0);
    assert_string_equal(p.name, "lab.2");
    assert_string_equal(p.token_url, "https://issuer.example/token?a=b;c=d");
    assert_string_equal(p.client_id, "x");
    assert_string_equal(p.final_errors, "");
    assert_int_equal(p.skew_ms, 90 * MINUTE_MS);
}

static void the_longest_name_and_value_fit(void **state)
{
    (void)state;
    struct provider p;
    struct err_text why = {""};
    char name[NAME_MAX_LEN + 1], scope[PROVIDER_TEXT_MAX], text[4096];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    memset(scope, 's', sizeof(scope) - 1);
    scope[sizeof(scope) - 1] = '\0';
    snprintf(text, sizeof(text),
             "[provider %s]\ntoken_url = https://a.example\nclient_id = x\n"
             "scope = %s\n",
             name, scope);
    assert_int_equal(parse(text, &p, &why), 0);
    assert_string_equal(p.name, name);
    assert_string_equal(p.scope, scope);

    snprintf(text, sizeof(text),
             "[provider %s]\ntoken_url = https://a.example\nclient_id = x\n"
             "scope = %ss\n",
             name, scope);
    assert_int_equal(parse(text, &p, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "lab.ini:4: scope: at most 1023 bytes"));
    snprintf(text, sizeof(text), "[provider %sn]\n", name);
    assert_int_equal(parse(text, &p, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "lab.ini:1: a provider's name"));
}

/* ---- bad files ---- */

#define L4 MINIMAL /* three lines, then: */

static const struct {
    const char *text, *says;
} bad_files[] = {
    {"", "lab.ini: no section [provider NAME]"},
    {"; nothing\n\n", "lab.ini: no section"},
    {"token_url = https://a.example\n", "lab.ini:1: 'token_url' stands before the section"},
    {"[provider lab]\n", "lab.ini:1: token_url is required"},
    {"[provider lab]\ntoken_url = https://a.example\n", "lab.ini:1: client_id is required"},
    {"[provider]\n", "lab.ini:1: unknown section"},
    {"[providerlab]\n", "lab.ini:1: unknown section"},
    {"[lab]\n", "lab.ini:1: unknown section; expected [provider NAME]"},
    {"[provider lab\n", "lab.ini:1: expected a section"},
    {"[provider lab] token_url = x\n", "lab.ini:1: expected a section"},
    {"[provider .lab]\n", "lab.ini:1: a provider's name"},
    {"[provider two words]\n", "lab.ini:1: a provider's name"},
    {L4 "[provider other]\n", "lab.ini:4: a second section"},
    {L4 "[provider lab]\n", "lab.ini:4: a second section; one file defines one provider (the first "
                            "is in line 1)"},
    {L4 "tokenurl = https://a.example\n", "lab.ini:4: unknown key 'tokenurl'; did you mean "
                                          "'token_url'?"},
    {L4 "completely_else = 1\n", "lab.ini:4: unknown key 'completely_else'"},
    {L4 "client_id = again\n", "lab.ini:4: client_id is already set in line 3"},
    {L4 "\nno equals sign\n", "lab.ini:5: expected 'key = value'"},
    {L4 "= value\n", "lab.ini:4: unknown key ''"},
    {L4 "title = caf\xc3\xa9\n", "lab.ini:4: title: expected printable ASCII"},
    {L4 "title = a\x01z\n", "lab.ini:4: control byte 0x01"},
    {L4 "title = a\rz\n", "lab.ini:4: control byte 0x0d"},
    {L4 "title = a\xffz\n", "lab.ini: not UTF-8 text"},
    {L4 "rotates = maybe\n", "lab.ini:4: rotates: expected yes or no"},
    {L4 "rotates =\n", "lab.ini:4: rotates: expected yes or no"},
    {L4 "skew = soon\n", "lab.ini:4: skew: expected a duration like"},
    {L4 "skew = -1s\n", "lab.ini:4: skew: expected a duration"},
    {L4 "skew =\n", "lab.ini:4: skew: expected a duration"},
    {L4 "skew = 25h\n", "lab.ini:4: skew: at most 1d"},
    {L4 "body = xml\n", "lab.ini:4: body: expected form or json"},
    {L4 "default_policy = sometimes\n", "lab.ini:4: default_policy: expected never, standby"},
    {L4 "usage_url = http://a.example/u\n", "lab.ini:4: usage_url: expected an https URL"},
    {L4 "issuer = https://u:p@a.example\n", "lab.ini:4: issuer: expected an https URL"},
    {L4 "access_prefix = a b\n", "lab.ini:4: access_prefix: expected printable ASCII without"},
    {L4 "subject_paths = a..b\n", "lab.ini:4: subject_paths: expected names of JSON fields"},
    {L4 "subject_paths = .a\n", "lab.ini:4: subject_paths: expected names"},
    {L4 "subject_paths = a.\n", "lab.ini:4: subject_paths: expected names"},
    {L4 "label_path = a b\n", "lab.ini:4: label_path: expected names"},
    {L4 "subject_paths = a \"b\"\n", "lab.ini:4: subject_paths: expected names"},
    {L4 "scope = a \"b\"\n", "lab.ini:4: scope: expected words"},
    {L4 "usage_header = nothing\n", "lab.ini:4: usage_header: expected one header"},
    {L4 "usage_header = : x\n", "lab.ini:4: usage_header: expected one header"},
    {L4 "usage_header = x:\n", "lab.ini:4: usage_header: expected one header"},
    {L4 "usage_header = a b: x\n", "lab.ini:4: usage_header: expected one header"},
    {L4 "usage_header = Authorization: x\n", "lab.ini:4: usage_header: expected a header that"},
    {L4 "usage_header = HOST: x\n", "lab.ini:4: usage_header: expected a header that"},
    {L4 "identity_url = https://a.example/me\n", "lab.ini:4: identity_url: needs subject_paths"},
    {L4 "subject_paths = sub\n", "lab.ini:4: subject_paths: needs identity_url"},
    {L4 "label_path = email\n", "lab.ini:4: label_path: needs identity_url"},
    {L4 "usage_url = https://a.example/u\n", "lab.ini:4: usage_url: needs utilization_paths"},
    {L4 "utilization_paths = a\n", "lab.ini:4: utilization_paths: needs usage_url"},
    {L4 "import_refresh = a\n", "lab.ini:4: import_refresh: needs import_access"},
    {L4 "access_prefix = lab-\nrefresh_prefix = lab-r-\n", "lab.ini:5: refresh_prefix: one of the"},
    {L4 "access_prefix = same\nrefresh_prefix = same\n", "lab.ini:5: refresh_prefix: one of the"},
    {L4 "final_errors = a 400\n", "lab.ini:4: final_errors: '400' is a status"},
    {L4 "uncommitted_answers = 200\n", "lab.ini:4: uncommitted_answers: 200 is no status of an"},
    {L4 "uncommitted_answers = 600\n", "lab.ini:4: uncommitted_answers: 600"},
    {L4 "uncommitted_answers = b invalid_grant\n",
     "lab.ini:1: final_errors: 'invalid_grant' is also in uncommitted_answers"},
};

static void a_bad_file_is_refused_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_files); i++) {
        struct provider p, untouched;
        struct err_text why = {""};
        memset(&p, 0x5a, sizeof(p));
        memset(&untouched, 0x5a, sizeof(untouched));
        int err = parse(bad_files[i].text, &p, &why);
        if (err != ERR_INVALID || strstr(why.text, bad_files[i].says) != why.text) {
            fail_msg("expected \"%s\", got %d \"%s\"", bad_files[i].says, err, why.text);
        }
        assert_memory_equal(&p, &untouched, sizeof(p));
        assert_int_equal(parse(bad_files[i].text, &p, NULL), ERR_INVALID);
    }
}

static void size_is_limited(void **state)
{
    (void)state;
    struct provider p;
    struct err_text why = {""};
    size_t len = PROVIDER_FILE_MAX + 1;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, '\n', len);
    memcpy(text, MINIMAL, strlen(MINIMAL));
    assert_int_equal(provider_parse("f", text, len, &p, &why), ERR_TOO_LARGE);
    assert_int_equal(provider_parse("f", text, len - 1, &p, &why), 0);

    memset(text + strlen(MINIMAL), ';', 2046);
    assert_int_equal(provider_parse("f", text, len - 1, &p, &why), 0);
    memset(text + strlen(MINIMAL), ';', 2047);
    assert_int_equal(provider_parse("f", text, len - 1, &p, &why), ERR_INVALID);
    assert_string_equal(why.text, "f:4: the line is too long; at most 2046 bytes");
    free(text);
}

static void a_nul_byte_is_refused(void **state)
{
    (void)state;
    struct provider p;
    struct err_text why = {""};
    static const char text[] = MINIMAL "title = a\0b\n";
    assert_int_equal(provider_parse("f", text, sizeof(text) - 1, &p, &why), ERR_INVALID);
    assert_string_equal(why.text, "f:4: control byte 0x00");
}

/* Whatever is cut off, the rest parses or is refused; nothing else. */
static void a_torn_file_is_an_error_or_a_shorter_one(void **state)
{
    (void)state;
    static const char text[] = MINIMAL "skew = 5m\nfinal_errors = a b c\nbody = json\n";
    for (size_t len = 0; len < sizeof(text); len++) {
        struct provider p;
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, text, len);
        int err = provider_parse("f", copy, len, &p, NULL);
        assert_true(err == 0 || err == ERR_INVALID);
        if (err == 0) {
            assert_int_equal(provider_validate(&p, NULL), 0);
        }
        free(copy);
    }
}

/* ---- the record form ---- */

/* A value that is not the default, for each kind of property. */
static const char *sample_of(const struct provider_property *prop)
{
    static const struct {
        const char *type, *value;
    } samples[] = {
        {"text", "Some text"},
        {"text without blanks", NULL}, /* its own key, so that prefixes differ */
        {"URL", "https://a.example:8443/x?y=z"},
        {"header", "x-sample: 1; 2"},
        {"words", "alpha beta"},
        {"path", "one.two"},
        {"paths", "one.two three"},
        {"duration", "2h500ms"},
        {"form or json", "json"},
        {"never, standby or always", "standby"},
    };
    if (strcmp(prop->type, "yes or no") == 0) {
        return strcmp(prop->fallback, "yes") == 0 ? "no" : "yes";
    }
    if (strcmp(prop->key, "uncommitted_answers") == 0) {
        return "503 gamma";
    }
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        if (strcmp(samples[i].type, prop->type) == 0) {
            return samples[i].value != NULL ? samples[i].value : prop->key;
        }
    }
    fail_msg("no sample for the type %s", prop->type);
    return "";
}

static void encode(const struct provider *p, struct buf *out)
{
    buf_init(out, 64 * 1024);
    assert_int_equal(provider_encode(p, out), 0);
}

static void every_property_survives_the_record(void **state)
{
    (void)state;
    struct provider p, plain, again;
    struct err_text why = {""};
    struct buf text, first, second, defaults;
    buf_init(&text, PROVIDER_FILE_MAX);
    assert_int_equal(buf_add_str(&text, "[provider every]\n"), 0);
    for (unsigned i = 0; provider_property_at(i) != NULL; i++) {
        assert_int_equal(buf_addf(&text, "%s = %s\n", provider_property_at(i)->key,
                                  sample_of(provider_property_at(i))),
                         0);
    }
    if (parse(buf_text(&text), &p, &why) != 0) {
        fail_msg("%s", why.text);
    }
    encode(&p, &first);
    assert_int_equal(provider_decode(first.bytes, first.len, &again), 0);
    encode(&again, &second);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.bytes, second.bytes, first.len);
    assert_int_equal(again.skew_ms, 2 * HOUR_MS + 500);
    assert_string_equal(again.usage_header, "x-sample: 1; 2");

    /* And every sample did change something: no two properties share a field or a tag. */
    struct record with, without;
    assert_int_equal(parse(MINIMAL, &plain, &why), 0);
    encode(&plain, &defaults);
    assert_int_equal(record_parse(&with, first.bytes, first.len), 0);
    assert_int_equal(record_parse(&without, defaults.bytes, defaults.len), 0);
    assert_int_equal(with.n, without.n);
    for (size_t i = 0; i < with.n; i++) {
        assert_int_equal(with.fields[i].tag, without.fields[i].tag);
        assert_false(with.fields[i].len == without.fields[i].len &&
                     memcmp(with.fields[i].bytes, without.fields[i].bytes, with.fields[i].len) ==
                         0);
    }
    buf_release(&text);
    buf_release(&first);
    buf_release(&second);
    buf_release(&defaults);
}

static void an_older_record_gets_defaults_and_a_newer_one_is_read(void **state)
{
    (void)state;
    struct provider p;
    struct buf record;
    buf_init(&record, 4096);
    assert_int_equal(record_put_str(&record, 60000, "from the future"), 0);
    assert_int_equal(record_put_str(&record, 1, "old"), 0);
    assert_int_equal(record_put_str(&record, 4, "https://a.example/token"), 0);
    assert_int_equal(record_put_str(&record, 10, "client"), 0);
    assert_int_equal(record_put_str(&record, 24, ""), 0);
    assert_int_equal(provider_decode(record.bytes, record.len, &p), 0);
    assert_string_equal(p.name, "old");
    assert_string_equal(p.final_errors, "");
    assert_int_equal(p.skew_ms, MINUTE_MS);
    buf_release(&record);
}

static void a_bad_record_is_refused(void **state)
{
    (void)state;
    struct provider p;
    struct buf good;
    encode(provider_builtin("claude"), &good);
    for (size_t len = 0; len < good.len; len++) {
        int err = provider_decode(good.bytes, len, &p); /* some cuts are shorter records */
        assert_true(err == 0 || err == ERR_INVALID);
    }
    static const struct {
        uint16_t tag;
        const char *value;
    } bad[] = {
        {4, "http://a.example/token"}, {4, ""}, {16, "x"}, {17, "maybe"}, {22, "x"}, {1, "../x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct record r;
        struct buf changed;
        buf_init(&changed, 64 * 1024);
        assert_int_equal(record_parse(&r, good.bytes, good.len), 0);
        for (size_t f = 0; f < r.n; f++) {
            if (r.fields[f].tag != bad[i].tag) {
                assert_int_equal(
                    record_put(&changed, r.fields[f].tag, r.fields[f].bytes, r.fields[f].len), 0);
            }
        }
        assert_int_equal(record_put_str(&changed, bad[i].tag, bad[i].value), 0);
        assert_int_equal(provider_decode(changed.bytes, changed.len, &p), ERR_INVALID);
        buf_release(&changed);
    }
    buf_release(&good);
}

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
    {"http://127.1/", "http://127.1:80", false, false},
    {"http://0177.0.0.1/", "http://0177.0.0.1:80", false, false},
    {"http://2130706433/", "http://2130706433:80", false, false},
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

/* ---- documentation ---- */

/* docs/providers.md, beside the folder this file is in. */
static FILE *open_doc(void)
{
    char path[4096];
    const char *slash = strrchr(__FILE__, '/');
    assert_non_null(slash);
    snprintf(path, sizeof(path), "%.*s/../../docs/providers.md", (int)(slash - __FILE__), __FILE__);
    return fopen(path, "re");
}

static void the_documentation_lists_every_property(void **state)
{
    (void)state;
    char line[2048], wanted[2048];
    unsigned i = 0;
    FILE *doc = open_doc();
    if (doc == NULL) {
        fail_msg("docs/providers.md is not where this test was compiled");
    }
    while (fgets(line, sizeof(line), doc) != NULL) {
        if (strncmp(line, "| `", 3) != 0) {
            continue;
        }
        const struct provider_property *prop = provider_property_at(i++);
        assert_non_null(prop);
        bool has_default = *prop->fallback != '\0';
        snprintf(wanted, sizeof(wanted), "| `%s` | %s | %s%s%s | %s |\n", prop->key, prop->type,
                 has_default ? "`" : "", prop->fallback, has_default ? "`" : "", prop->doc);
        assert_string_equal(line, wanted);
    }
    fclose(doc);
    if (provider_property_at(i) != NULL) {
        fail_msg("docs/providers.md lacks %s", provider_property_at(i)->key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_builtin_is_valid),
        cmocka_unit_test(claude_is_as_observed),
        cmocka_unit_test(codex_is_as_observed),
        cmocka_unit_test(a_minimal_file_has_the_defaults),
        cmocka_unit_test(layout_is_free),
        cmocka_unit_test(the_longest_name_and_value_fit),
        cmocka_unit_test(a_bad_file_is_refused_with_its_line),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(a_torn_file_is_an_error_or_a_shorter_one),
        cmocka_unit_test(every_property_survives_the_record),
        cmocka_unit_test(an_older_record_gets_defaults_and_a_newer_one_is_read),
        cmocka_unit_test(a_bad_record_is_refused),
        cmocka_unit_test(urls_are_read_strictly),
        cmocka_unit_test(a_url_has_a_longest_length),
        cmocka_unit_test(discovery_fills_a_definition),
        cmocka_unit_test(discovery_without_userinfo_has_no_identity),
        cmocka_unit_test(bad_metadata_is_refused_with_its_reason),
        cmocka_unit_test(discovery_needs_a_client_id),
        cmocka_unit_test(the_documentation_lists_every_property),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

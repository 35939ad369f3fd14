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
        cmocka_unit_test(the_documentation_lists_every_property),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

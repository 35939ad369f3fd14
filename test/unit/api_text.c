/*
 * Answers as people read them. The JSON of these tests is the contract of api/text.h: each is held
 * against its schema in openapi.json before it is rendered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/conn.h"
#include "api/text.h"
#include "base/check.h"

/* The part of JSON Schema that openapi.json uses. */
static bool fits(json_t *doc, json_t *schema, const json_t *value);

static bool type_fits(const char *type, const json_t *value)
{
    return (strcmp(type, "null") == 0 && json_is_null(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "number") == 0 && json_is_number(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "object") == 0 && json_is_object(value));
}

static bool any_type_fits(json_t *type, const json_t *value)
{
    bool fit = type == NULL || (json_is_string(type) && type_fits(json_string_value(type), value));
    size_t i;
    json_t *one;
    json_array_foreach(type, i, one)
    {
        fit |= type_fits(json_string_value(one), value);
    }
    return fit;
}

static bool one_fits(json_t *doc, json_t *schemas, const json_t *value)
{
    size_t i;
    json_t *one;
    bool fit = schemas == NULL;
    json_array_foreach(schemas, i, one)
    {
        fit |= fits(doc, one, value);
    }
    return fit;
}

static bool members_fit(json_t *doc, json_t *schema, const json_t *value)
{
    json_t *members = json_object_get(schema, "properties"), *member, *name;
    const char *key;
    size_t i;
    json_array_foreach(json_object_get(schema, "required"), i, name)
    {
        if (json_object_get(value, json_string_value(name)) == NULL) {
            return false;
        }
    }
    json_object_foreach((json_t *)value, key, member)
    {
        json_t *known = json_object_get(members, key);
        known = known != NULL ? known : json_object_get(schema, "additionalProperties");
        if (known == NULL || !fits(doc, known, member)) {
            print_message("member %s\n", key);
            return false;
        }
    }
    return true;
}

static bool fits(json_t *doc, json_t *schema, const json_t *value)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    if (ref != NULL) {
        json_t *schemas = json_object_get(json_object_get(doc, "components"), "schemas");
        return fits(doc, json_object_get(schemas, strrchr(ref, '/') + 1), value);
    }
    if (!any_type_fits(json_object_get(schema, "type"), value) ||
        !one_fits(doc, json_object_get(schema, "oneOf"), value)) {
        return false;
    }
    json_t *words = json_object_get(schema, "enum"), *item;
    size_t i;
    bool listed = words == NULL;
    json_array_foreach(words, i, item)
    {
        listed |= json_equal(item, (json_t *)value) == 1;
    }
    json_array_foreach((json_t *)value, i, item)
    {
        if (!fits(doc, json_object_get(schema, "items"), item)) {
            return false;
        }
    }
    return listed && (!json_is_object(value) || members_fit(doc, schema, value));
}

/* `json` is stolen. `schema` NULL: it fits none. */
static void render_json(enum operation op, const char *schema, json_t *json, const char *expected)
{
    json_t *doc = json_loadb(api_openapi, api_openapi_len, 0, NULL);
    json_t *schemas = json_object_get(json_object_get(doc, "components"), "schemas");
    if (schema != NULL && !fits(doc, json_object_get(schemas, schema), json)) {
        fail_msg("not a %s, but read: %s", schema, expected);
    }
    json_decref(doc);
    struct buf out;
    buf_init(&out, 64 * 1024);
    assert_int_equal(text_render(op, json, &out), 0);
    assert_string_equal(buf_text(&out), expected);
    buf_release(&out);
    json_decref(json);
}

static void render(enum operation op, const char *schema, const char *answer, const char *expected)
{
    json_error_t error;
    json_t *json = json_loads(answer, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        fail_msg("%d:%d: %s", error.line, error.column, error.text);
    }
    render_json(op, schema, json, expected);
}

#define WORK                                                                                       \
    "{\"name\":\"work\",\"provider\":\"lab\",\"subject\":\"acct-1\",\"label\":\"j\xc3\xb6"         \
    "@example.org\",\"state\":\"resting\",\"standing\":\"live\",\"policy\":\"always\","            \
    "\"generation\":4,\"access_fingerprint\":\"ab12cd34ef\","                                      \
    "\"refresh_fingerprint\":\"0123456789\",\"expires_at\":\"2026-11-21T07:24:01Z\","              \
    "\"left_ms\":28740000,\"next_spend_in_ms\":28440000,"                                          \
    "\"login_deadline\":\"2026-12-20T00:00:00Z\",\"in_doubt_since\":null,\"tries\":0,"             \
    "\"waiters\":2,\"alarms\":[],\"created_at\":\"2026-11-20T23:00:00Z\","                         \
    "\"lineage\":\"00112233445566aa\"}"
#define HOME                                                                                       \
    "{\"name\":\"home-with-a-long-name\",\"provider\":\"claude\",\"subject\":null,"                \
    "\"label\":null,\"state\":\"doubting\",\"standing\":\"in-doubt\",\"policy\":\"never\","        \
    "\"generation\":1,\"access_fingerprint\":\"ffffffffff\",\"refresh_fingerprint\":null,"         \
    "\"expires_at\":\"2026-11-20T23:00:00Z\",\"left_ms\":-1000,\"next_spend_in_ms\":0,"            \
    "\"login_deadline\":null,\"in_doubt_since\":\"2026-11-20T22:59:00Z\",\"tries\":3,"             \
    "\"waiters\":0,\"alarms\":[\"in-doubt\",\"unreachable\"],"                                     \
    "\"created_at\":\"2026-11-20T22:00:00Z\",\"lineage\":\"00112233445566bb\"}"

#define TABLE                                                                                      \
    "NAME                   PROVIDER  SUBJECT         STATE     LEFT    NEXT SPEND  POLICY  "      \
    "ALARMS\n"                                                                                     \
    "work                   lab       j\xc3\xb6@example.org  live      7h 59m  in 7h 54m   "       \
    "always  none\n"                                                                               \
    "home-with-a-long-name  claude    -               in doubt  over    now         never   "      \
    "in-doubt, unreachable\n"

static void profiles_stand_in_columns(void **state)
{
    (void)state;
    render(OP_PROFILES, "Profiles", "{\"profiles\":[" WORK "," HOME "]}", TABLE);
    render(OP_PROFILES, "Profiles", "{\"profiles\":[]}",
           "no profiles yet: credwarden add NAME --provider PROVIDER --from FILE\n");
}

static void a_profile_is_told_line_by_line(void **state)
{
    (void)state;
    render(OP_PROFILE, "Profile", WORK,
           "name             work\n"
           "provider         lab\n"
           "subject          acct-1 (j\xc3\xb6@example.org)\n"
           "state            live (resting)\n"
           "policy           always: spent by us alone\n"
           "generation       4\n"
           "access token     ab12cd34ef, 7h 59m left, until 2026-11-21 07:24:01Z\n"
           "refresh token    0123456789\n"
           "next spend       in 7h 54m\n"
           "login ends       2026-12-20 00:00:00Z\n"
           "tries            0\n"
           "waiters          2\n"
           "alarms           none\n"
           "added            2026-11-20 23:00:00Z\n"
           "lineage          00112233445566aa\n");
    render(OP_PROFILE, "Profile", HOME,
           "name             home-with-a-long-name\n"
           "provider         claude\n"
           "subject          -\n"
           "state            in doubt (doubting)\n"
           "policy           never: spent by others only, we watch\n"
           "generation       1\n"
           "access token     ffffffffff, over since 2026-11-20 23:00:00Z\n"
           "refresh token    none (a static pair)\n"
           "next spend       now\n"
           "in doubt since   2026-11-20 22:59:00Z\n"
           "tries            3\n"
           "waiters          0\n"
           "alarms           in-doubt, unreachable\n"
           "added            2026-11-20 22:00:00Z\n"
           "lineage          00112233445566bb\n");
}

static void status_tells_what_is_wrong(void **state)
{
    (void)state;
    render(OP_STATUS, "Status",
           "{\"daemon\":{\"version\":\"0.1.0\",\"pid\":7,\"started_at\":\"2026-11-20T20:00:00Z\","
           "\"uptime_ms\":12240000,\"binary_replaced\":false,\"memory_locked\":true,"
           "\"stopping\":false,\"restored\":false,\"sandbox\":\"\"},\"profiles\":[" WORK "," HOME
           "],\"alarms\":[]}",
           "credwardend 0.1.0, pid 7, up 3h 24m\n\n" TABLE);
    render(
        OP_STATUS, "Status",
        "{\"daemon\":{\"version\":\"0.1.0\",\"pid\":7,\"started_at\":\"2026-11-20T20:00:00Z\","
        "\"uptime_ms\":60000,\"binary_replaced\":true,\"memory_locked\":false,"
        "\"stopping\":true,\"restored\":true,\"sandbox\":\"seccomp, Landlock 3\"},\"profiles\":[],\"alarms\":["
        "{\"profile\":\"work\",\"alarm\":\"dead\",\"since\":\"2026-11-20T22:59:00Z\","
        "\"detail\":\"sign in again\"},{\"profile\":null,\"alarm\":\"store\","
        "\"since\":\"2026-11-20T22:59:00Z\",\"detail\":\"\"}]}",
        "credwardend 0.1.0, pid 7, up 1m\n"
        "It is stopping.\n"
        "An upgrade is installed but not running yet: credwarden daemon restart\n"
        "Not all secret memory is locked against swapping: raise RLIMIT_MEMLOCK (ulimit -l).\n"
        "The store is a restored copy: every login was in doubt when it was opened.\n"
        "The spender's sandbox: seccomp, Landlock 3.\n"
        "\n"
        "no profiles yet: credwarden add NAME --provider PROVIDER --from FILE\n"
        "\n"
        "alarm: work dead since 2026-11-20 22:59:00Z: sign in again\n"
        "alarm: store since 2026-11-20 22:59:00Z\n");
}

static json_t *entry(const char *kind, const char *at, int generation, const char *refresh)
{
    return json_pack("{s:s, s:s, s:i, s:s?, s:n, s:n, s:n, s:n, s:n, s:n, s:b, s:n, s:n, s:n}",
                     "kind", kind, "at", at, "generation", generation, "refresh_fingerprint",
                     refresh, "access_fingerprint", "parent_fingerprint", "origin", "source",
                     "expires_at", "outcome", "replay", 0, "detail", "closed_at", "took_ms");
}

static json_t *pair(const char *at, int generation, const char *refresh, const char *parent,
                    const char *origin, const char *source)
{
    json_t *e = entry("pair", at, generation, refresh);
    json_t *more = json_pack("{s:s, s:s?, s:s, s:s?, s:s}", "access_fingerprint", "aaaaaaaaaa",
                             "parent_fingerprint", parent, "origin", origin, "source", source,
                             "expires_at", "2026-11-21T07:24:01Z");
    assert_int_equal(json_object_update(e, more), 0);
    json_decref(more);
    return e;
}

static json_t *spend(const char *at, int generation, const char *refresh, const char *outcome,
                     const char *detail, const char *source, int took_ms)
{
    json_t *e = entry("spend", at, generation, refresh);
    bool replay = source != NULL && strcmp(source, "replay") == 0;
    json_t *more = json_pack("{s:s?, s:s?, s:s?, s:b}", "outcome", outcome, "detail", detail,
                             "source", source, "replay", replay);
    assert_int_equal(json_object_update(e, more), 0);
    json_decref(more);
    if (took_ms > 0) {
        json_object_set_new(e, "took_ms", json_integer(took_ms));
    }
    return e;
}

static json_t *story(void)
{
    json_t *old = json_array(), *young = json_array();
    json_array_append_new(
        old, pair("2026-11-20T22:00:00Z", 1, "1111111111", NULL, "added", "/home/u/auth.json"));
    json_array_append_new(
        old, spend("2026-11-20T23:24:01Z", 1, "1111111111", "granted", "200", "due", 112));
    json_array_append_new(
        old, pair("2026-11-20T23:24:01Z", 2, "2222222222", "1111111111", "spent", NULL));
    json_array_append_new(
        old, spend("2026-11-20T23:25:00Z", 2, "2222222222", "in-doubt", NULL, "renew", 30000));
    json_array_append_new(old, spend("2026-11-20T23:26:00Z", 2, "2222222222", "refused",
                                     "400 invalid_grant", "replay", 95));
    json_array_append_new(old, spend("2026-11-20T23:27:00Z", 2, "2222222222", NULL, NULL, NULL, 0));
    json_array_append_new(young, pair("2026-11-20T23:30:00Z", 1, NULL, NULL, "adopted", "stdin"));
    return json_pack("{s:s, s:[{s:s, s:o}, {s:s, s:o}], s:s}", "name", "work", "lineages",
                     "lineage", "00112233445566bb", "entries", young, "lineage", "00112233445566aa",
                     "entries", old, "verdict", "The answer to the spend of 2222222222 was lost.");
}

static void history_is_a_story(void **state)
{
    (void)state;
    render_json(
        OP_HISTORY, "History", story(),
        "work, lineage 00112233445566aa\n"
        "2026-11-20 22:00:00Z  gen 1  1111111111  pair added from /home/u/auth.json, lasts "
        "until 2026-11-21 07:24:01Z\n"
        "2026-11-20 23:24:01Z  gen 1  1111111111  spent \xe2\x86\x92 granted (200) by "
        "credwardend [due], took 112ms\n"
        "2026-11-20 23:24:01Z  gen 2  2222222222  pair obtained with 1111111111, lasts "
        "until 2026-11-21 07:24:01Z\n"
        "2026-11-20 23:25:00Z  gen 2  2222222222  spent \xe2\x86\x92 in doubt by credwardend [renew], took 30s\n"
        "2026-11-20 23:26:00Z  gen 2  2222222222  presented once more \xe2\x86\x92 refused (400 "
        "invalid_grant) by credwardend [replay], took 95ms\n"
        "2026-11-20 23:27:00Z  gen 2  2222222222  spent \xe2\x86\x92 no answer yet by "
        "credwardend\n"
        "\n"
        "work, lineage 00112233445566bb\n"
        "2026-11-20 23:30:00Z  gen 1  aaaaaaaaaa  pair adopted from stdin, lasts until "
        "2026-11-21 07:24:01Z\n"
        "\n"
        "The answer to the spend of 2222222222 was lost.\n");
    render(OP_HISTORY, "History", "{\"name\":\"work\",\"lineages\":[],\"verdict\":null}",
           "work: nothing is recorded yet\n");
}

static void small_answers_are_a_sentence(void **state)
{
    (void)state;
    render(OP_VERSION, "Version",
           "{\"version\":\"0.1.0\",\"pid\":7,\"started_at\":\"2026-11-20T20:00:00Z\","
           "\"binary_replaced\":false}",
           "credwardend 0.1.0, pid 7, since 2026-11-20 20:00:00Z\n");
    render(OP_ADD, "Added",
           "{\"name\":\"work\",\"lineage\":\"00112233445566aa\",\"subject\":\"acct-1\","
           "\"label\":\"a@b\",\"standing\":\"live\",\"policy\":\"never\",\"note\":\"Mind.\"}",
           "added work: a@b (live, policy never)\nMind.\n");
    render(OP_ADD, "Added",
           "{\"name\":\"work\",\"lineage\":\"00112233445566aa\",\"subject\":null,"
           "\"label\":null,\"standing\":\"unproven\",\"policy\":\"always\",\"note\":null}",
           "added work (unproven, policy always)\n");
    render(OP_REMOVE, "Done", "{\"done\":\"removed work\"}", "removed work\n");
    render(OP_POLICY, "Done", "{\"done\":\"a\"}", "a\n");
    render(OP_RENAME, "Done", "{\"done\":\"b\"}", "b\n");
    render(OP_STOP, "Done", "{\"done\":\"c\"}", "c\n");
    render(OP_RELOAD, "Done", "{\"done\":\"d\"}", "d\n");
    render(OP_RENEW, "Renewed",
           "{\"name\":\"work\",\"generation\":5,\"expires_at\":\"2026-11-21T07:24:01Z\","
           "\"left_ms\":28740000}",
           "work: renewed, generation 5, 7h 59m left (until 2026-11-21 07:24:01Z)\n");
    render(OP_RENEW, "Renewed",
           "{\"name\":\"work\",\"generation\":5,\"expires_at\":null,\"left_ms\":null}",
           "work: renewed, generation 5\n");
    render(OP_USAGE, "Usage",
           "{\"name\":\"work\",\"utilization\":{\"five_hour\":42,\"seven_day\":7.25},"
           "\"asked_at\":\"2026-11-20T20:00:00Z\"}",
           "LIMIT      USED\nfive_hour  42.0%\nseven_day  7.2%\nasked at 2026-11-20 20:00:00Z\n");
    render(OP_BACKUP, "BackedUp", "{\"path\":\"/b\",\"bytes\":4096}",
           "backed up to /b (4096 bytes)\n");
    render(OP_EVENTS, "Event",
           "{\"id\":9,\"at\":\"2026-11-20T20:00:00Z\",\"kind\":\"started\",\"profile\":null,"
           "\"lineage\":null,\"detail\":\"\"}",
           "2026-11-20 20:00:00Z  -  started\n");
}

static void what_is_missing_is_a_dash(void **state)
{
    (void)state;
    render(OP_BACKUP, NULL, "{}", "backed up to - (0 bytes)\n");
    render(OP_EVENTS, NULL, "[]", "-  -  -\n");
    render(OP_VERSION, NULL, "{\"version\":5}", "credwardend -, pid 0, since -\n");
    static const enum operation others[] = {OP_STATUS, OP_PROFILES, OP_PROFILE, OP_ADD,
                                            OP_REMOVE, OP_RENEW,    OP_HISTORY, OP_USAGE};
    static const char *const odd[] = {
        "{}",
        "[]",
        "{\"profiles\":5,\"daemon\":[],\"alarms\":{},\"lineages\":[5,{\"entries\":[[],7]}]}",
        "{\"profiles\":[null,1,{}],\"alarms\":[1,[]],\"utilization\":{\"a\":\"b\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        for (size_t k = 0; k < ARRAY_LEN(odd); k++) {
            json_t *json = json_loads(odd[k], 0, NULL);
            struct buf out;
            buf_init(&out, 64 * 1024);
            assert_int_equal(text_render(others[i], json, &out), 0);
            assert_int_equal(out.bytes[out.len - 1], '\n');
            buf_release(&out);
            json_decref(json);
        }
    }
}

static void tricks_are_taken_out(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82",
         "plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82"},
        {"a\x1b[31mred\nline\ttab\x7f", "a?[31mred?line?tab?"},
        {"c1\xc2\x9b", "c1?"},
        {"\xe2\x80\xae"
         "evil",
         "?evil"},
        {"\xe2\x81\xa6iso", "?iso"},
        {"\xe2\x80\xa8para", "?para"},
        {"\xff\xc3(\xe2\x82", "?"
                              "?(?"
                              "?"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;
        buf_init(&out, 256);
        assert_int_equal(text_add_clean(&out, cases[i][0]), 0);
        assert_string_equal(buf_text(&out), cases[i][1]);
        buf_release(&out);
    }
    render(OP_REMOVE, "Done", "{\"done\":\"removed \\u001b[2J\\u202eevil\"}",
           "removed ?[2J?evil\n");
}

static void width_counts_code_points(void **state)
{
    (void)state;
    assert_int_equal(text_width("", 0), 0);
    assert_int_equal(text_width("abc", 3), 3);
    assert_int_equal(text_width("\xc3\xa4\xe2\x82\xac", 5), 2);
}

static void too_little_room_is_an_error(void **state)
{
    (void)state;
    json_t *json = json_loads("{\"profiles\":[" WORK "," HOME "]}", 0, NULL);
    for (size_t max = 0; max < strlen(TABLE); max++) {
        struct buf out;
        buf_init(&out, max);
        assert_int_equal(text_render(OP_PROFILES, json, &out), ERR_TOO_LARGE);
        buf_release(&out);
    }
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_stand_in_columns),
        cmocka_unit_test(a_profile_is_told_line_by_line),
        cmocka_unit_test(status_tells_what_is_wrong),
        cmocka_unit_test(history_is_a_story),
        cmocka_unit_test(small_answers_are_a_sentence),
        cmocka_unit_test(what_is_missing_is_a_dash),
        cmocka_unit_test(tricks_are_taken_out),
        cmocka_unit_test(width_counts_code_points),
        cmocka_unit_test(too_little_room_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

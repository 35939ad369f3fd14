/*
 * Somebody else's JSON, changed: what was meant is there, everything else as it was, byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "json/change.h"
#include "json/json.h"

static int changed(const char *text, const char *path, const char *value, struct buf *out)
{
    struct json_change change = {.path = path, .value = value};
    buf_clear(out);
    return json_change(text, strlen(text), &change, 1, out);
}

static void expect(const char *text, const char *path, const char *value, const char *then)
{
    struct buf out;
    buf_init_secret(&out, 4096);
    assert_int_equal(changed(text, path, value, &out), 0);
    assert_string_equal(buf_text(&out), then);
    buf_release(&out);
}

static void a_value_is_replaced_and_nothing_else(void **state)
{
    (void)state;
    expect("{\"a\":1,\"b\":{\"c\":\"x\"}}", "b.c", "\"y\"", "{\"a\":1,\"b\":{\"c\":\"y\"}}");
    expect("{ \"n\": 123456789012345678901234567890, \"f\": 1.10, \"b\" : [1,{\"b\":2}],\n"
           "\t\"u\": \"\\u00e9\\/\", \"k\": 0 }\n",
           "k", "7",
           "{ \"n\": 123456789012345678901234567890, \"f\": 1.10, \"b\" : [1,{\"b\":2}],\n"
           "\t\"u\": \"\\u00e9\\/\", \"k\": 7 }\n");
    expect("{\"a\":{\"k\":1},\"k\":2}", "k", "3", "{\"a\":{\"k\":1},\"k\":3}");
    expect("{\"a\":\"}\\\"k\\\":{\",\"k\":[]}", "k", "{}", "{\"a\":\"}\\\"k\\\":{\",\"k\":{}}");
}

static void what_is_absent_is_put_at_the_end_in_the_style_of_the_rest(void **state)
{
    (void)state;
    expect("{}", "a", "1", "{\"a\":1}");
    expect("{\"x\":0}", "a", "1", "{\"x\":0,\"a\":1}");
    expect("{\n  \"x\": {\n    \"y\": 0\n  }\n}\n", "x.z", "true",
           "{\n  \"x\": {\n    \"y\": 0,\n    \"z\": true\n  }\n}\n");
    expect("{\"x\":0}", "a.b.c", "\"v\"", "{\"x\":0,\"a\":{\"b\":{\"c\":\"v\"}}}");
    expect("{\"a\":null,\"x\":0}", "a.b", "1", "{\"a\":{\"b\":1},\"x\":0}");
}

static void a_member_goes_with_one_comma(void **state)
{
    (void)state;
    expect("{\"a\":1, \"b\":2, \"c\":3}", "a", NULL, "{\"b\":2, \"c\":3}");
    expect("{\"a\":1, \"b\":2, \"c\":3}", "b", NULL, "{\"a\":1, \"c\":3}");
    expect("{\"a\":1, \"b\":2, \"c\":3 }", "c", NULL, "{\"a\":1, \"b\":2 }");
    expect("{ \"a\":1 }", "a", NULL, "{  }");
    expect("{\"a\":{\"b\":1}}", "a.c", NULL, "{\"a\":{\"b\":1}}");
    expect("{\"a\":null}", "a.b", NULL, "{\"a\":null}");
    expect("{\"a\":1}", "x.y", NULL, "{\"a\":1}");
}

static void several_changes_follow_each_other(void **state)
{
    (void)state;
    const char *text = "{\"t\":{\"access\":\"1\",\"refresh\":\"2\"},\"mine\":[1]}";
    struct json_change changes[] = {
        {"t.access", "\"3\""}, {"t.refresh", NULL}, {"t.until", "99"}, {"t.access", "\"4\""}};
    struct buf out;
    buf_init_secret(&out, 4096);
    assert_int_equal(buf_add_str(&out, "> "), 0);
    assert_int_equal(json_change(text, strlen(text), changes, 4, &out), 0);
    assert_string_equal(buf_text(&out), "> {\"t\":{\"access\":\"4\",\"until\":99},\"mine\":[1]}");
    buf_release(&out);
}

static void what_is_not_understood_is_not_changed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "[]",           "{\"a\":1",        "{\"a\":1}x", "{\"a\":1,\"a\":2}",
        "{\"a\":01}", "{\"\xff\":1}", "{\"\\u0061\":1}",
    };
    struct buf out;
    buf_init_secret(&out, 4096);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(changed(bad[i], "a", "2", &out), ERR_INVALID);
        assert_int_equal(out.len, 0);
    }
    assert_int_equal(changed("{\"a\":[]}", "a.b", "2", &out), ERR_INVALID);
    assert_int_equal(changed("{\"a\":1}", "a", "nonsense", &out), ERR_INVALID);
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

/* The parser passes over one behind a number; whoever looks for the end of the number would not. */
static void a_nul_byte_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"b\":\n 28\0}";
    struct json_fault fault;
    assert_true(json_has_nul(text, sizeof(text) - 1, &fault));
    assert_int_equal(fault.err, ERR_INVALID);
    assert_int_equal(fault.line, 2);
    assert_int_equal(fault.column, 4);
    struct json_change change = {"a", "1"};
    struct buf out;
    buf_init_secret(&out, 64);
    assert_int_equal(json_change(text, sizeof(text) - 1, &change, 1, &out), ERR_INVALID);
    buf_release(&out);
}

static void there_is_a_limit(void **state)
{
    (void)state;
    struct buf out;
    buf_init_secret(&out, 10);
    assert_int_equal(changed("{\"a\":1}", "a", "12345678", &out), ERR_TOO_LARGE);
    assert_int_equal(out.len, 0);
    assert_int_equal(changed("{\"a\":1}", "a", "1234", &out), 0);
    buf_release(&out);
}

static void text_becomes_a_string(void **state)
{
    (void)state;
    struct buf out;
    buf_init_secret(&out, 32);
    assert_int_equal(json_add_string("a\"\\\n\xc3\xa9", 6, &out), 0);
    assert_string_equal(buf_text(&out), "\"a\\\"\\\\\\n\xc3\xa9\"");
    buf_clear(&out);
    assert_int_equal(json_add_string("\xff", 1, &out), ERR_INVALID);
    assert_int_equal(json_add_string("0123456789012345678901234567890123456789", 40, &out),
                     ERR_TOO_LARGE);
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

int main(void)
{
    json_use_secret_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_replaced_and_nothing_else),
        cmocka_unit_test(what_is_absent_is_put_at_the_end_in_the_style_of_the_rest),
        cmocka_unit_test(a_member_goes_with_one_comma),
        cmocka_unit_test(several_changes_follow_each_other),
        cmocka_unit_test(what_is_not_understood_is_not_changed),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(there_is_a_limit),
        cmocka_unit_test(text_becomes_a_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

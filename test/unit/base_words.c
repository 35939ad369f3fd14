/*
 * The vocabulary and the table of problems: every value has a name of its own, every answer that
 * is a problem has its line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/exits.h"
#include "base/words.h"

static bool is_code(const char *text)
{
    return text[0] >= 'a' && text[0] <= 'z' &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyz-")] == '\0';
}

/* One test per enum, the same for each: names are codes, differ, and read back as their value. */
#define NAMES_ARE_GOOD(type, count, name_of)                                                       \
    for (unsigned a = 0; a < (count); a++) {                                                       \
        assert_true(is_code(name_of((enum type)a)));                                               \
        assert_string_not_equal(name_of((enum type)a), "unknown");                                 \
        for (unsigned b = 0; b < a; b++) {                                                         \
            assert_string_not_equal(name_of((enum type)a), name_of((enum type)b));                 \
        }                                                                                          \
    }                                                                                              \
    assert_string_equal(name_of((enum type)(count)), "unknown")

#define NAMES_READ_BACK(type, count, name_of, parse)                                               \
    for (unsigned a = 0; a < (count); a++) {                                                       \
        enum type back = (enum type)(count);                                                       \
        assert_int_equal(parse(name_of((enum type)a), &back), 0);                                  \
        assert_int_equal(back, a);                                                                 \
        assert_int_equal(parse("", &back), ERR_INVALID);                                           \
        assert_int_equal(parse("unknown", &back), ERR_INVALID);                                    \
        assert_int_equal(back, a);                                                                 \
    }                                                                                              \
    assert_true(true)

static void every_value_has_a_name_that_reads_back(void **state)
{
    (void)state;
    NAMES_ARE_GOOD(policy, POLICY_COUNT, policy_name);
    NAMES_ARE_GOOD(verdict, VERDICT_COUNT, verdict_name);
    NAMES_ARE_GOOD(identity, IDENTITY_COUNT, identity_name);
    NAMES_ARE_GOOD(origin, ORIGIN_COUNT, origin_name);
    NAMES_ARE_GOOD(standing, STANDING_COUNT, standing_name);
    NAMES_ARE_GOOD(alarm, ALARM_COUNT, alarm_name);
    NAMES_ARE_GOOD(answer, ANSWER_COUNT, answer_name);
    NAMES_READ_BACK(policy, POLICY_COUNT, policy_name, policy_parse);
    NAMES_READ_BACK(verdict, VERDICT_COUNT, verdict_name, verdict_parse);
    NAMES_READ_BACK(origin, ORIGIN_COUNT, origin_name, origin_parse);
    NAMES_READ_BACK(standing, STANDING_COUNT, standing_name, standing_parse);
    NAMES_READ_BACK(alarm, ALARM_COUNT, alarm_name, alarm_parse);
}

static void every_answer_that_is_a_problem_has_its_line(void **state)
{
    (void)state;
    for (unsigned a = 0; a < ANSWER_COUNT; a++) {
        const char *code = answer_name((enum answer)a);
        bool is_problem = a != ANSWER_TOKEN && a != ANSWER_DONE;
        assert_string_equal(problem_find(code)->code, is_problem ? code : "internal");
    }
}

static void the_table_of_problems_is_sound(void **state)
{
    (void)state;
    bool seen[EXIT_INPUT + 1] = {false};
    unsigned n = 0;
    for (const struct problem_kind *k; (k = problem_at(n)) != NULL; n++) {
        assert_true(is_code(k->code));
        assert_ptr_equal(problem_find(k->code), k); /* so no code stands twice */
        assert_true(k->http_status >= 400 && k->http_status < 600);
        assert_true(k->exit > EXIT_OK && k->exit <= EXIT_INPUT);
        assert_true(strlen(k->title) > 10 && strlen(k->title) < 80);
        assert_null(strchr(k->title, '\n'));
        seen[k->exit] = true;
    }
    assert_true(n > 20);
    assert_null(problem_at(n));
    assert_null(problem_at(~0u));
    for (unsigned e = EXIT_FAILED; e <= EXIT_INPUT; e++) {
        assert_true(seen[e]);
    }
    assert_string_equal(problem_find("no-such-code")->code, "internal");
    assert_int_equal(problem_find("no-such-code")->exit, EXIT_FAILED);
}

static void fingerprints_are_told_and_read(void **state)
{
    (void)state;
    struct fp none = {0};
    struct fp fp = {.bytes = {0xab, 0xcd, 0, 1}};
    struct fp back = {.bytes = {9}};
    char text[FP_TEXT_SIZE];
    fp_format(fp, text, sizeof(text));
    assert_string_equal(text, "abcd0001000000000000000000000000");
    assert_int_equal(fp_parse(text, &back), 0);
    assert_true(fp_equal(fp, back));
    fp_format_short(fp, text, sizeof(text));
    assert_string_equal(text, "abcd000100");
    assert_int_equal(fp_parse(text, &back), ERR_INVALID);
    assert_int_equal(fp_parse("", &back), ERR_INVALID);
    assert_int_equal(fp_parse("zbcd0001000000000000000000000000", &back), ERR_INVALID);
    assert_true(fp_equal(fp, back));
    fp_format(none, text, sizeof(text));
    assert_string_equal(text, "-");
    assert_true(fp_is_none(none));
    assert_false(fp_is_none(fp));
    assert_int_equal(fp_parse("-", &back), 0);
    assert_true(fp_is_none(back));
    fp.bytes[15] = 1;
    back = fp;
    back.bytes[15] = 2;
    assert_false(fp_equal(fp, back));
}

static void pairs_are_equal_by_fingerprints_and_expiry(void **state)
{
    (void)state;
    struct pair a = {
        .access = {{1}},
        .refresh = {{2}},
        .expires_wall_ms = 1000,
        .life_ms = 5,
    };
    struct pair b = a;
    b.life_ms = 6;
    b.login_deadline_wall_ms = 7;
    assert_true(pair_equal(&a, &b));
    b.access.bytes[0] = 9;
    assert_false(pair_equal(&a, &b));
    b = a;
    b.refresh.bytes[15] = 9;
    assert_false(pair_equal(&a, &b));
    b = a;
    b.expires_wall_ms++;
    assert_false(pair_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_has_a_name_that_reads_back),
        cmocka_unit_test(every_answer_that_is_a_problem_has_its_line),
        cmocka_unit_test(the_table_of_problems_is_sound),
        cmocka_unit_test(fingerprints_are_told_and_read),
        cmocka_unit_test(pairs_are_equal_by_fingerprints_and_expiry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Text: what is accepted, and at least as much of what is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/err.h"
#include "base/str.h"

static void a_copy_fits_or_is_empty(void **state)
{
    (void)state;
    char dst[5] = "old";
    assert_int_equal(str_copy(dst, sizeof(dst), "four"), 0);
    assert_string_equal(dst, "four");
    assert_int_equal(str_copy(dst, sizeof(dst), "fives"), ERR_TOO_LARGE);
    assert_string_equal(dst, "");
    assert_int_equal(str_copy(dst, 1, ""), 0);
}

static void utf8_is_strict(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "plain",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
    };
    static const char *const bad[] = {
        "\x80",             /* a tail alone */
        "\xc3",             /* a lead alone */
        "\xc3(",            /* no tail */
        "\xe2\x82",         /* torn */
        "\xe2\x82(",        /* torn */
        "\xf0\x9f\x98",     /* torn */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xed\xbf\xbf",     /* surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(str_is_utf8(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_is_utf8(bad[i], strlen(bad[i])));
    }
    assert_true(str_is_utf8("a\0b", 3));
    assert_false(str_is_utf8("a\0\xff", 3));
    assert_false(str_is_utf8("\xe2\x82\xac", 2)); /* the third byte is not ours to read */
}

static void blank_is_white_space_alone(void **state)
{
    (void)state;
    assert_true(str_is_blank(""));
    assert_true(str_is_blank(" \t\r\n"));
    assert_false(str_is_blank("  x "));
    assert_false(str_is_blank("\xc2\xa0"));
}

static void numbers_are_whole_and_within(void **state)
{
    (void)state;
    int64_t n = 77;
    assert_int_equal(str_to_i64("0", 0, 10, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(str_to_i64("9223372036854775807", 0, INT64_MAX, &n), 0);
    assert_true(n == INT64_MAX);
    assert_int_equal(str_to_i64("-9223372036854775808", INT64_MIN, 0, &n), 0);
    assert_true(n == INT64_MIN);
    assert_int_equal(str_to_i64("-5", -5, 5, &n), 0);
    assert_int_equal(n, -5);
    static const char *const bad[] = {
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "1x",
        "x",
        "0x10",
        "1.0",
        "1e3",
        "--1",
        "-1",
        "11",
        "\xd9\xa1",
        "9223372036854775808",
        "99999999999999999999999999",
    };
    n = 77;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(str_to_i64(bad[i], 0, 10, &n), ERR_INVALID);
    }
    assert_int_equal(str_to_i64("9223372036854775808", INT64_MIN, INT64_MAX, &n), ERR_INVALID);
    assert_int_equal(str_to_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &n), ERR_INVALID);
    assert_int_equal(str_to_i64("-6", -5, 5, &n), ERR_INVALID);
    assert_int_equal(n, 77);
}

static void switches_have_words(void **state)
{
    (void)state;
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    static const char *const bad[] = {"", "Yes", "y", "2", "yes ", "truee"};
    bool b = false;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(str_to_bool(yes[i], &b), 0);
        assert_true(b);
        assert_int_equal(str_to_bool(no[i], &b), 0);
        assert_false(b);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(str_to_bool(bad[i], &b), ERR_INVALID);
    }
}

static void hex_goes_there_and_back(void **state)
{
    (void)state;
    uint8_t all[256];
    uint8_t back[256];
    char text[513];
    for (size_t i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    hex_encode(all, 256, text);
    assert_int_equal(strlen(text), 512);
    assert_int_equal(hex_decode(text, back, 256), 0);
    assert_memory_equal(all, back, 256);
    uint8_t two[2] = {1, 2};
    assert_int_equal(hex_decode("aB0F", two, 2), 0);
    assert_int_equal(two[0], 0xab);
    assert_int_equal(two[1], 0x0f);
    static const char *const bad[] = {"", "abc", "abcde", "abcdef", "abcg", "ab d", "-abc"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(hex_decode(bad[i], two, 2), ERR_INVALID);
    }
    assert_int_equal(two[0], 0xab);
    hex_encode(all, 0, text);
    assert_string_equal(text, "");
    assert_int_equal(hex_decode("", two, 0), 0);
}

static void names_are_narrow(void **state)
{
    (void)state;
    static const char *const good[] = {"a",  "work", "A.b_c@d+e-f", "9",
                                       "_x", "@x",   "+x",          "me@example.org"};
    static const char *const bad[] = {"",    ".",           "..",  ".x",  "-x",   "a b", "a/b",
                                      "a\n", "caf\xc3\xa9", "a:b", "a%b", "a\\b", "a*"};
    char name[66];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(name_is_valid(good[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(name_is_valid(bad[i]));
    }
    memset(name, 'n', sizeof(name));
    name[64] = '\0';
    assert_true(name_is_valid(name));
    name[64] = 'n';
    name[65] = '\0';
    assert_false(name_is_valid(name));
}

static void distance_counts_slips(void **state)
{
    (void)state;
    assert_int_equal(str_distance("", ""), 0);
    assert_int_equal(str_distance("", "abc"), 3);
    assert_int_equal(str_distance("abc", ""), 3);
    assert_int_equal(str_distance("status", "status"), 0);
    assert_int_equal(str_distance("STATUS", "status"), 0);
    assert_int_equal(str_distance("sttaus", "status"), 1); /* swapped */
    assert_int_equal(str_distance("statu", "status"), 1);
    assert_int_equal(str_distance("statuss", "status"), 1);
    assert_int_equal(str_distance("stbtus", "status"), 1);
    assert_int_equal(str_distance("kitten", "sitting"), 3);
    char longer[200];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(str_distance(longer, ""), 64);
}

static void only_near_words_are_meant(void **state)
{
    (void)state;
    static const char *const words[] = {"add", "list", "status", "show", "token", "renew"};
    assert_string_equal(str_nearest("tokn", words, ARRAY_LEN(words)), "token");
    assert_string_equal(str_nearest("stauts", words, ARRAY_LEN(words)), "status");
    assert_string_equal(str_nearest("lst", words, ARRAY_LEN(words)), "list");
    assert_null(str_nearest("frobnicate", words, ARRAY_LEN(words)));
    assert_null(str_nearest("", words, ARRAY_LEN(words)));
    assert_null(str_nearest("add", words, 0));
}

static void a_cut_is_between_two_characters(void **state)
{
    (void)state;
    char out[6];
    str_cut(out, sizeof(out), "abcde");
    assert_string_equal(out, "abcde");
    str_cut(out, sizeof(out), "abcdef");
    assert_string_equal(out, "abcde");
    str_cut(out, sizeof(out), "abcd\xc3\xa9");
    assert_string_equal(out, "abcd");
    str_cut(out, sizeof(out), "ab\xf0\x9f\x94\x91");
    assert_string_equal(out, "ab");
    str_cut(out, 1, "\xc3\xa9");
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_fits_or_is_empty),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(a_cut_is_between_two_characters),
        cmocka_unit_test(blank_is_white_space_alone),
        cmocka_unit_test(numbers_are_whole_and_within),
        cmocka_unit_test(switches_have_words),
        cmocka_unit_test(hex_goes_there_and_back),
        cmocka_unit_test(names_are_narrow),
        cmocka_unit_test(distance_counts_slips),
        cmocka_unit_test(only_near_words_are_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

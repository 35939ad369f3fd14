/*
 * Durations and dates. The calendar is held against libc's, day by day over eight centuries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/err.h"
#include "base/time.h"

static void durations_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"0", 0},
        {"90", 90 * SECOND_MS},
        {"90s", 90 * SECOND_MS},
        {"10m", 10 * MINUTE_MS},
        {"8h", 8 * HOUR_MS},
        {"2d", 2 * DAY_MS},
        {"500ms", 500},
        {"1h30m", 90 * MINUTE_MS},
        {"1d2h3m4s5ms", DAY_MS + 2 * HOUR_MS + 3 * MINUTE_MS + 4 * SECOND_MS + 5},
        {"3650d", 3650 * DAY_MS},
        {"1m500ms", MINUTE_MS + 500},
        {"007s", 7 * SECOND_MS},
    };
    static const char *const bad[] = {
        "",
        " ",
        "s",
        "-1",
        "+1",
        "-1s",
        "1x",
        "1.5h",
        "1h30",
        "30m1h",
        "1h1h",
        "1 h",
        "1h ",
        " 1h",
        "1sm",
        "1msm",
        "3651d",
        "3650d1ms",
        "h1",
        "1H",
        "1hm",
        "1dd",
        "99999999999999999999",
        "315360001",
        "9223372036854775807ms",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms = -1;
        assert_int_equal(duration_parse(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms = -1;
        assert_int_equal(duration_parse(bad[i], &ms), ERR_INVALID);
        assert_int_equal(ms, -1);
    }
}

static void durations_are_told(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } told[] = {
        {0, "0s"},
        {12, "12ms"},
        {999, "999ms"},
        {1000, "1s"},
        {4200, "4.2s"},
        {4050, "4s"},
        {9999, "9.9s"},
        {59999, "59s"},
        {60000, "1m"},
        {61000, "1m 1s"},
        {8 * HOUR_MS - 1, "7h 59m"},
        {8 * HOUR_MS, "8h"},
        {2 * DAY_MS + 3 * HOUR_MS + 59 * MINUTE_MS, "2d 3h"},
        {-4200, "-4.2s"},
        {-HOUR_MS, "-1h"},
        {TIME_NEVER, "never"},
        {INT64_MIN, "-106751991167d 7h"},
    };
    char text[32];
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        duration_format(told[i].ms, text, sizeof(text));
        assert_string_equal(text, told[i].text);
    }
    duration_format(8 * HOUR_MS - 1, text, 4);
    assert_string_equal(text, "7h ");
}

static void the_calendar_agrees_with_libc(void **state)
{
    (void)state;
    char ours[21];
    char libc[32];
    for (int64_t day = -200000; day < 100000; day++) {
        time_t seconds = (time_t)(day * 86400 + 12345);
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        assert_true(strftime(libc, sizeof(libc), "T%H:%M:%SZ", &tm) > 0);
        char date[128];
        (void)snprintf(date, sizeof(date), "%04d-%02d-%02d%s", tm.tm_year + 1900, tm.tm_mon + 1,
                       tm.tm_mday, libc);
        wall_format((int64_t)seconds * 1000 + 678, ours, sizeof(ours));
        assert_string_equal(ours, date);
        int64_t back = 0;
        assert_int_equal(wall_parse(ours, &back), 0);
        assert_int_equal(back, (int64_t)seconds * 1000);
    }
}

static void what_rfc_3339_cannot_say_is_a_dash(void **state)
{
    (void)state;
    char text[21];
    wall_format(0, text, sizeof(text));
    assert_string_equal(text, "-");
    wall_format(-1, text, sizeof(text));
    assert_string_equal(text, "1969-12-31T23:59:59Z");
    wall_format(INT64_C(253402300799999), text, sizeof(text));
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    wall_format(INT64_C(253402300800000), text, sizeof(text));
    assert_string_equal(text, "-");
    wall_format(INT64_MAX, text, sizeof(text));
    assert_string_equal(text, "-");
    wall_format(INT64_MIN, text, sizeof(text));
    assert_string_equal(text, "-");
}

static void rfc_3339_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-20T23:24:01Z", INT64_C(1795217041000)},
        {"2026-11-20t23:24:01z", INT64_C(1795217041000)},
        {"2026-11-21T01:24:01+02:00", INT64_C(1795217041000)},
        {"2026-11-20T17:54:01-05:30", INT64_C(1795217041000)},
        {"2026-11-20T23:24:01.5Z", INT64_C(1795217041500)},
        {"2026-11-20T23:24:01.123456789Z", INT64_C(1795217041123)},
        {"2026-11-20T23:24:01.0009+00:00", INT64_C(1795217041000)},
        {"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
        {"2000-02-29T00:00:00Z", INT64_C(951782400000)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
    };
    static const char *const bad[] = {
        "",
        "2026-11-20",
        "2026-11-20T23:24:01",
        "2026-11-20 23:24:01Z",
        "2026-11-20T23:24Z",
        "2026-11-20T23:24:01Zx",
        "2026-11-20T23:24:01.Z",
        "2026-11-20T23:24:01,5Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T23:60:00Z",
        "2026-11-20T23:24:61Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-11-20T23:24:01+2:00",
        "2026-11-20T23:24:01+0200",
        "2026-11-20T23:24:01+24:00",
        "2026-11-20T23:24:01+02:60",
        "26-11-20T23:24:01Z",
        "-026-11-20T23:24:01Z",
        "2026-1-20T23:24:01Z",
        " 2026-11-20T23:24:01Z",
        "1795217041",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms = -1;
        assert_int_equal(wall_parse(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms = -1;
        assert_int_equal(wall_parse(bad[i], &ms), ERR_INVALID);
        assert_int_equal(ms, -1);
    }
}

static void every_prefix_of_a_date_is_refused(void **state)
{
    (void)state;
    static const char whole[] = "2026-11-20T23:24:01.25+02:00";
    static const char http[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    char text[sizeof(http)];
    int64_t ms = 0;
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        memcpy(text, whole, len);
        text[len] = '\0';
        assert_int_equal(wall_parse(text, &ms), ERR_INVALID);
    }
    for (size_t len = 0; len < sizeof(http) - 1; len++) {
        memcpy(text, http, len);
        text[len] = '\0';
        assert_int_equal(http_date_parse(text, &ms), ERR_INVALID);
    }
}

static void http_dates_are_read(void **state)
{
    (void)state;
    int64_t ms = -1;
    assert_int_equal(http_date_parse("Sun, 06 Nov 1994 08:49:37 GMT", &ms), 0);
    assert_int_equal(ms, INT64_C(784111777000));
    assert_int_equal(http_date_parse("Thu, 01 Jan 1970 00:00:00 GMT", &ms), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(http_date_parse("Wed, 31 Dec 1969 23:59:59 GMT", &ms), 0);
    assert_int_equal(ms, -1000);
    static const char *const bad[] = {
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
        "Mon, 06 Nov 1994 08:49:37 GMT", /* it was a Sunday */
        "Sun, 6 Nov 1994 08:49:37 GMT",   "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",  "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov 1994 24:49:37 GMT",  "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",   "Xxx, 06 Nov 1994 08:49:37 GMT",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(http_date_parse(bad[i], &ms), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(durations_are_told),
        cmocka_unit_test(the_calendar_agrees_with_libc),
        cmocka_unit_test(what_rfc_3339_cannot_say_is_a_dash),
        cmocka_unit_test(rfc_3339_is_read),
        cmocka_unit_test(every_prefix_of_a_date_is_refused),
        cmocka_unit_test(http_dates_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

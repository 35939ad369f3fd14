/*
 * Durations and dates. Days are counted by our own arithmetic on the proleptic Gregorian calendar:
 * libc's depends on the time zone of the environment, and its result is shared storage.
 */
#include "base/time.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/str.h"

#define DURATION_MAX_MS (10 * 365 * DAY_MS)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Durations */

/* In falling order, which is also the order they may stand in. */
static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {{"d", DAY_MS}, {"h", HOUR_MS}, {"m", MINUTE_MS}, {"s", SECOND_MS}, {"ms", 1}};

static const struct unit *unit_named(const char *text, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strlen(units[i].name) == len && memcmp(units[i].name, text, len) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* Digits at *p, at most the longest duration. */
static bool take_count(const char **p, int64_t *ret)
{
    const char *from = *p;
    int64_t count = 0;
    while (is_digit(**p)) {
        count = count * 10 + (**p - '0');
        if (count > DURATION_MAX_MS) {
            return false;
        }
        (*p)++;
    }
    *ret = count;
    return *p > from;
}

int duration_parse(const char *text, int64_t *ret_ms)
{
    const char *p = text;
    int64_t total = 0;
    int64_t last_unit_ms = INT64_MAX;
    do {
        int64_t count = 0;
        if (!take_count(&p, &count)) {
            return ERR_INVALID;
        }
        bool is_bare = *p == '\0' && last_unit_ms == INT64_MAX;
        size_t len = strspn(p, "dhms");
        const struct unit *unit = is_bare ? unit_named("s", 1) : unit_named(p, len);
        if (unit == NULL || unit->ms >= last_unit_ms || count > DURATION_MAX_MS / unit->ms) {
            return ERR_INVALID;
        }
        total += count * unit->ms;
        last_unit_ms = unit->ms;
        p += len;
    } while (*p != '\0' && total <= DURATION_MAX_MS);
    if (total > DURATION_MAX_MS) {
        return ERR_INVALID;
    }
    *ret_ms = total;
    return 0;
}

/* "7h 59m", and "7h" when nothing is left over. */
static void format_two(char *buf, size_t size, const char *sign, uint64_t ms, int unit)
{
    uint64_t big = (uint64_t)units[unit].ms;
    uint64_t small = (uint64_t)units[unit + 1].ms;
    unsigned long long whole = ms / big;
    unsigned long long rest = ms % big / small;
    if (rest == 0) {
        (void)snprintf(buf, size, "%s%llu%s", sign, whole, units[unit].name);
    } else {
        (void)snprintf(buf, size, "%s%llu%s %llu%s", sign, whole, units[unit].name, rest,
                       units[unit + 1].name);
    }
}

void duration_format(int64_t ms, char *buf, size_t size)
{
    const char *sign = ms < 0 ? "-" : "";
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    if (ms == TIME_NEVER) {
        (void)snprintf(buf, size, "never");
    } else if (left == 0) {
        (void)snprintf(buf, size, "0s");
    } else if (left < (uint64_t)SECOND_MS) {
        (void)snprintf(buf, size, "%s%dms", sign, (int)left);
    } else if (left < 10 * (uint64_t)SECOND_MS && left % 1000 >= 100) {
        (void)snprintf(buf, size, "%s%d.%ds", sign, (int)(left / 1000), (int)(left % 1000 / 100));
    } else if (left < (uint64_t)MINUTE_MS) {
        (void)snprintf(buf, size, "%s%ds", sign, (int)(left / 1000));
    } else {
        int unit = left >= (uint64_t)DAY_MS ? 0 : left >= (uint64_t)HOUR_MS ? 1 : 2;
        format_two(buf, size, sign, left, unit);
    }
}

/* Dates */

struct civil {
    int year, month, day; /* 1-based month and day */
    int hour, minute, second;
};

/* Days since 1970-01-01. Years start in March here, so that the leap day is the last of a year;
 * an era is the 400 years after which the calendar repeats. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, struct civil *c)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    c->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    c->month = (int)(month < 10 ? month + 3 : month - 9);
    c->year = (int)(year_of_era + era * 400 + (c->month <= 2 ? 1 : 0));
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && is_leap ? 29 : days[month - 1];
}

/* Second 60 is a leap second: it counts as the next one. */
static bool civil_is_valid(const struct civil *c)
{
    return c->month >= 1 && c->month <= 12 && c->day >= 1 &&
           c->day <= days_in_month(c->year, c->month) && c->hour <= 23 && c->minute <= 59 &&
           c->second <= 60;
}

static int64_t civil_to_ms(const struct civil *c)
{
    return days_from_civil(c->year, c->month, c->day) * DAY_MS + c->hour * HOUR_MS +
           c->minute * MINUTE_MS + c->second * SECOND_MS;
}

void wall_format(int64_t wall_ms, char *buf, size_t size)
{
    int64_t days = wall_ms / DAY_MS - (wall_ms % DAY_MS < 0 ? 1 : 0);
    int64_t ms = (wall_ms % DAY_MS + DAY_MS) % DAY_MS;
    /* Years 0 to 9999: what RFC 3339 can say. */
    if (wall_ms == 0 || days < days_from_civil(0, 1, 1) || days > days_from_civil(9999, 12, 31)) {
        (void)snprintf(buf, size, "-");
        return;
    }
    struct civil c = {0};
    civil_from_days(days, &c);
    (void)snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02dZ", c.year, c.month, c.day,
                   (int)(ms / HOUR_MS), (int)(ms / MINUTE_MS % 60), (int)(ms / SECOND_MS % 60));
}

/* A reader of fixed forms: once something does not fit, it stays false. */
struct scan {
    const char *p;
    bool ok;
};

static int scan_number(struct scan *s, int digits)
{
    int value = 0;
    for (int i = 0; i < digits && s->ok; i++) {
        s->ok = is_digit(*s->p);
        if (s->ok) {
            value = value * 10 + (*s->p++ - '0');
        }
    }
    return value;
}

/* The next character, which must be one of `set`; NUL if it is not. */
static char scan_one_of(struct scan *s, const char *set)
{
    s->ok = s->ok && *s->p != '\0' && strchr(set, *s->p) != NULL;
    return s->ok ? *s->p++ : '\0';
}

static void scan_text(struct scan *s, const char *text)
{
    size_t len = strlen(text);
    s->ok = s->ok && strncmp(s->p, text, len) == 0;
    s->p += s->ok ? len : 0;
}

/* Index of the three-letter name that comes next. */
static int scan_name(struct scan *s, const char *const *names, int n)
{
    for (int i = 0; i < n && s->ok; i++) {
        if (strncmp(s->p, names[i], 3) == 0) {
            s->p += 3;
            return i;
        }
    }
    s->ok = false;
    return 0;
}

static void scan_clock(struct scan *s, struct civil *c)
{
    c->hour = scan_number(s, 2);
    scan_one_of(s, ":");
    c->minute = scan_number(s, 2);
    scan_one_of(s, ":");
    c->second = scan_number(s, 2);
}

/* ".123456" → 123: digits beyond the third are dropped, at least one is needed. */
static int64_t scan_fraction(struct scan *s)
{
    if (*s->p != '.') {
        return 0;
    }
    s->p++;
    s->ok = s->ok && is_digit(*s->p);
    int64_t ms = 0;
    for (int64_t weight = 100; is_digit(*s->p); s->p++, weight /= 10) {
        ms += (*s->p - '0') * weight;
    }
    return ms;
}

static int64_t scan_offset(struct scan *s)
{
    char sign = scan_one_of(s, "Zz+-");
    if (sign != '+' && sign != '-') {
        return 0;
    }
    int hours = scan_number(s, 2);
    scan_one_of(s, ":");
    int minutes = scan_number(s, 2);
    s->ok = s->ok && hours <= 23 && minutes <= 59;
    int64_t ms = hours * HOUR_MS + minutes * MINUTE_MS;
    return sign == '-' ? -ms : ms;
}

int wall_parse(const char *text, int64_t *ret_wall_ms)
{
    struct scan s = {.p = text, .ok = true};
    struct civil c = {0};
    c.year = scan_number(&s, 4);
    scan_one_of(&s, "-");
    c.month = scan_number(&s, 2);
    scan_one_of(&s, "-");
    c.day = scan_number(&s, 2);
    scan_one_of(&s, "Tt");
    scan_clock(&s, &c);
    int64_t fraction_ms = s.ok ? scan_fraction(&s) : 0;
    int64_t offset_ms = scan_offset(&s);
    if (!s.ok || *s.p != '\0' || !civil_is_valid(&c)) {
        return ERR_INVALID;
    }
    *ret_wall_ms = civil_to_ms(&c) + fraction_ms - offset_ms;
    return 0;
}

int http_date_parse(const char *text, int64_t *ret_wall_ms)
{
    /* Day 0 of Unix time was a Thursday. */
    static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct scan s = {.p = text, .ok = true};
    struct civil c = {0};
    int weekday = scan_name(&s, days, ARRAY_LEN(days));
    scan_text(&s, ", ");
    c.day = scan_number(&s, 2);
    scan_one_of(&s, " ");
    c.month = scan_name(&s, months, ARRAY_LEN(months)) + 1;
    scan_one_of(&s, " ");
    c.year = scan_number(&s, 4);
    scan_one_of(&s, " ");
    scan_clock(&s, &c);
    scan_text(&s, " GMT");
    if (!s.ok || *s.p != '\0' || !civil_is_valid(&c)) {
        return ERR_INVALID;
    }
    int64_t day = days_from_civil(c.year, c.month, c.day);
    if ((day % 7 + 7) % 7 != weekday) {
        return ERR_INVALID;
    }
    *ret_wall_ms = civil_to_ms(&c);
    return 0;
}

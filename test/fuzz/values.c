/*
 * The small readers of one value: times, numbers, fingerprints, names, words, JWTs, and the texts
 * that are cleaned for a terminal. The first byte chooses one.
 */
#include "fuzz.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>

#include "api/text.h"
#include "base/str.h"
#include "base/time.h"
#include "base/words.h"
#include "http/http.h"
#include "issuer/reply_parts.h"
#include "json/json.h"
#include "json/jwt.h"

#define UNTOUCHED     INT64_C(0x5a5a5a5a5a5a5a5a)
#define TEN_YEARS_MS  (3650 * DAY_MS)
#define YEAR_10000_MS INT64_C(253402300800000)

static void read_duration(const char *text)
{
    int64_t ms = UNTOUCHED, again = 0;
    char shown[64];
    if (duration_parse(text, &ms) != 0) {
        CHECK(ms == UNTOUCHED);
        return;
    }
    CHECK(ms >= 0 && ms <= TEN_YEARS_MS);
    (void)snprintf(shown, sizeof(shown), "%lldms", (long long)ms);
    CHECK(duration_parse(shown, &again) == 0 && again == ms);
    duration_format(ms, shown, sizeof(shown));
    CHECK(shown[0] != '\0' && strlen(shown) < 24);
}

/* Any number at all must be shown as something short. */
static void show_number(struct input in)
{
    int64_t ms = 0, again = UNTOUCHED;
    char shown[64];
    memcpy(&ms, in.at, in.left < sizeof(ms) ? in.left : sizeof(ms));
    duration_format(ms, shown, sizeof(shown));
    CHECK(shown[0] != '\0' && strlen(shown) < 30);
    wall_format(ms, shown, 21);
    if (strcmp(shown, "-") != 0) {
        CHECK(strlen(shown) == 20 && wall_parse(shown, &again) == 0);
        CHECK(again <= ms && ms - again < 1000); /* cut to seconds */
    }
}

static void read_wall(const char *text)
{
    int64_t ms = UNTOUCHED, again = 0;
    char shown[21];
    if (wall_parse(text, &ms) != 0) {
        CHECK(ms == UNTOUCHED);
        return;
    }
    CHECK(ms > -YEAR_10000_MS && ms < YEAR_10000_MS + 2 * DAY_MS);
    wall_format(ms, shown, sizeof(shown));
    if (strcmp(shown, "-") != 0) {
        CHECK(wall_parse(shown, &again) == 0 && ms - again >= 0 && ms - again < 1000);
    }
    if (strlen(text) == 20 && text[19] == 'Z' && text[10] == 'T' && ms != 0) {
        CHECK(strcmp(shown, text) == 0 || strcmp(text + 17, "60Z") == 0);
    }
}

static void read_http_date(const char *text)
{
    int64_t ms = UNTOUCHED;
    char shown[64];
    if (http_date_parse(text, &ms) != 0) {
        CHECK(ms == UNTOUCHED);
        return;
    }
    CHECK(strlen(text) == 29 && ms % 1000 == 0);
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char day[16], clock[16];
    CHECK(gmtime_r(&seconds, &tm) != NULL);
    CHECK(strftime(day, sizeof(day), "%a, %d %b", &tm) == 11);
    CHECK(strftime(clock, sizeof(clock), "%H:%M:%S", &tm) == 8);
    /* Its %Y has as many digits as the year, and a leap second may begin the year 10000. */
    (void)snprintf(shown, sizeof(shown), "%s %04d %s GMT", day, tm.tm_year + 1900, clock);
    /* libc agrees, but for a leap second, which counts as the next one. */
    CHECK(strcmp(shown, text) == 0 || strstr(text, ":60 GMT") != NULL);
}

static void read_number(const char *text)
{
    int64_t n = UNTOUCHED;
    char *end = NULL;
    if (str_to_i64(text, INT64_MIN, INT64_MAX, &n) != 0) {
        CHECK(n == UNTOUCHED);
    } else {
        CHECK(strtoll(text, &end, 10) == n && *end == '\0');
    }
    n = UNTOUCHED;
    CHECK(str_to_i64(text, 3, 99, &n) != 0 ? n == UNTOUCHED : n >= 3 && n <= 99);
}

static void read_fingerprint(const char *text)
{
    struct fp fp, again;
    char shown[FP_TEXT_SIZE];
    memset(&fp, 0x5a, sizeof(fp));
    if (fp_parse(text, &fp) != 0) {
        CHECK(fp.bytes[0] == 0x5a && fp.bytes[FP_LEN - 1] == 0x5a);
        return;
    }
    fp_format(fp, shown, sizeof(shown));
    CHECK(strcasecmp(shown, text) == 0 || fp_is_none(fp));
    CHECK(fp_parse(shown, &again) == 0 && fp_equal(fp, again));
}

static void read_words(const char *text)
{
    enum policy policy = POLICY_COUNT;
    enum verdict verdict = VERDICT_COUNT;
    enum standing standing = STANDING_COUNT;
    enum alarm alarm = ALARM_COUNT;
    enum origin origin = ORIGIN_COUNT;
    bool flag;
    CHECK(policy_parse(text, &policy) == 0 ? strcmp(policy_name(policy), text) == 0
                                           : policy == POLICY_COUNT);
    CHECK(verdict_parse(text, &verdict) == 0 ? strcmp(verdict_name(verdict), text) == 0
                                             : verdict == VERDICT_COUNT);
    CHECK(standing_parse(text, &standing) == 0 ? strcmp(standing_name(standing), text) == 0
                                               : standing == STANDING_COUNT);
    CHECK(alarm_parse(text, &alarm) == 0 ? strcmp(alarm_name(alarm), text) == 0
                                         : alarm == ALARM_COUNT);
    CHECK(origin_parse(text, &origin) == 0 ? strcmp(origin_name(origin), text) == 0
                                           : origin == ORIGIN_COUNT);
    (void)str_to_bool(text, &flag);
}

static void read_name(const char *text)
{
    static const char *const words[] = {"work", "home", "a-much-longer-name-than-those"};
    size_t len = strlen(text);
    if (name_is_valid(text)) {
        CHECK(len >= 1 && len <= NAME_MAX_LEN && text[0] != '.' && text[0] != '-');
        CHECK(strpbrk(text, "/ %\\\"'\n\x7f") == NULL);
    }
    (void)str_nearest(text, words, 3);
    CHECK(str_distance(text, text) == 0);
    CHECK(str_distance(text, "work") == str_distance("work", text));
}

/* Cleaned or cut, a text stays UTF-8 without anything that moves a cursor. */
static void clean_text(const char *text)
{
    static const char override[] = {'\xe2', '\x80', '\xae'}; /* right to left, U+202E */
    struct buf out;
    char cut[9];
    buf_init(&out, 3 * strlen(text) + 16);
    CHECK(text_add_clean(&out, text) == 0);
    CHECK(str_is_utf8(buf_text(&out), out.len) && text_width(buf_text(&out), out.len) <= out.len);
    for (size_t i = 0; i < out.len; i++) {
        CHECK(out.bytes[i] >= 0x20 && out.bytes[i] != 0x7f);
        CHECK(out.bytes[i] != 0xc2 || out.bytes[i + 1] >= 0xa0); /* C1 */
    }
    CHECK(memmem(buf_text(&out), out.len, override, sizeof(override)) == NULL);
    size_t len = out.len;
    CHECK(text_add_clean(&out, text) == 0 && out.len == 2 * len);
    if (str_is_utf8(text, strlen(text))) {
        str_cut(cut, sizeof(cut), text);
        CHECK(str_is_utf8(cut, strlen(cut)) && strncmp(cut, text, strlen(cut)) == 0);
    }
    buf_release(&out);
}

/* Escapes, also where the bytes end in the middle of one. */
static void read_escapes(struct input in)
{
    static char decoded[8192], again[8192];
    struct http_text raw = {(const char *)in.at, in.left};
    struct buf out;
    (void)str_is_utf8(in.at, in.left);
    if (in.left >= sizeof(decoded) || http_percent_decode(raw, decoded, sizeof(decoded)) != 0) {
        return;
    }
    buf_init(&out, 4 * sizeof(decoded));
    CHECK(strlen(decoded) <= in.left && str_is_utf8(decoded, strlen(decoded)));
    CHECK(http_percent_encode(decoded, &out) == 0);
    raw = (struct http_text){buf_text(&out), out.len};
    CHECK(http_percent_decode(raw, again, sizeof(again)) == 0 && strcmp(again, decoded) == 0);
    buf_release(&out);
}

/* The input as the claims of a JWT, and as a JWT itself. */
static void read_jwt(struct input in)
{
    int64_t issued = UNTOUCHED, expires = UNTOUCHED;
    size_t room = sodium_base64_encoded_len(in.left, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *jwt = malloc(room + 8);
    CHECK(jwt != NULL);
    memcpy(jwt, "e30.", 4);
    sodium_bin2base64(jwt + 4, room, (const unsigned char *)in.at, in.left,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    size_t len = strlen(jwt);
    memcpy(jwt + len, ".s", 3);
    int err = jwt_times(jwt, len + 2, &issued, &expires);
    json_t *claims = json_loadb((const char *)in.at, in.left, JSON_REJECT_DUPLICATES, NULL);
    json_int_t exp = json_integer_value(json_object_get(claims, "exp"));
    if (exp > 0 && exp < YEAR_10000_MS / 1000) {
        CHECK(err == 0 && expires == exp * 1000);
    }
    CHECK(err == 0 ? expires > 0 && expires < YEAR_10000_MS && issued >= 0 : expires == UNTOUCHED);
    json_decref(claims);
    free(jwt);

    expires = UNTOUCHED;
    if (jwt_expiry((const char *)in.at, in.left, &expires) != 0) {
        CHECK(expires == UNTOUCHED);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static void (*const readers[])(const char *text) = {
        ['a' % 16] = clean_text,     ['d' % 16] = read_duration, ['f' % 16] = read_fingerprint,
        ['h' % 16] = read_http_date, ['i' % 16] = read_number,   ['n' % 16] = read_name,
        ['w' % 16] = read_wall,      ['b' % 16] = read_words,
    };
    struct input in = {bytes, len};
    uint8_t choice = take_byte(&in);
    if (choice == 'j') {
        read_jwt(in);
    } else if (choice == 'p') {
        read_escapes(in);
    } else if (choice == 'm') {
        show_number(in);
    } else if (choice % 16 < ARRAY_LEN(readers) && readers[choice % 16] != NULL) {
        char *text = take_text(&in);
        readers[choice % 16](text);
        free(text);
    }
    return 0;
}

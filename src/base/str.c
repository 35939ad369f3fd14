/*
 * Text checks and conversions. ASCII by hand, never by <ctype.h>: the locale must not decide what
 * a valid name or number is.
 */
#include "base/str.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"

#define DISTANCE_MAX_LEN 64

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

int str_copy(char *dst, size_t size, const char *src)
{
    CHECK(size > 0);
    size_t len = strnlen(src, size);
    if (len == size) {
        dst[0] = '\0';
        return ERR_TOO_LARGE;
    }
    memcpy(dst, src, len + 1);
    return 0;
}

/* Length of the sequence at p, or 0. The bounds on the second byte are those of Unicode table 3-7:
 * they are what shuts out overlong forms, surrogates and everything above U+10FFFF. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    uint8_t lead = p[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    size_t n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (left < n) {
        return 0;
    }
    uint8_t min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < min || p[1] > max) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

bool str_is_utf8(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        size_t n = utf8_sequence(p, len);
        if (n == 0) {
            return false;
        }
        p += n;
        len -= n;
    }
    return true;
}

void str_cut(char *dst, size_t size, const char *src)
{
    size_t len = strnlen(src, size);
    if (len == size) {
        len--;
        while (len > 0 && ((unsigned char)src[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    memcpy(dst, src, len);
    dst[len] = '\0';
}

bool str_is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n\f\v")] == '\0';
}

int str_to_i64(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = text[0] == '-';
    if (negative && min >= 0) {
        return ERR_INVALID;
    }
    const char *p = negative ? text + 1 : text;
    if (*p == '\0') {
        return ERR_INVALID;
    }
    int64_t value = 0; /* counted downwards: the negative range is the wider one */
    for (; *p != '\0'; p++) {
        if (!is_digit(*p) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, *p - '0', &value)) {
            return ERR_INVALID;
        }
    }
    if (!negative) {
        if (value == INT64_MIN) {
            return ERR_INVALID;
        }
        value = -value;
    }
    if (value < min || value > max) {
        return ERR_INVALID;
    }
    *ret = value;
    return 0;
}

int str_to_bool(const char *text, bool *ret)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret = i % 2 == 1;
            return 0;
        }
    }
    return ERR_INVALID;
}

void hex_encode(const uint8_t *bytes, size_t len, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * len] = '\0';
}

/* The value of a digit; 16 when it is none. */
static unsigned hex_digit(char c)
{
    if (is_digit(c)) {
        return (unsigned)(c - '0');
    }
    c = lower(c);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

int hex_decode(const char *text, uint8_t *ret_bytes, size_t len)
{
    if (strnlen(text, 2 * len + 1) != 2 * len) {
        return ERR_INVALID;
    }
    for (size_t i = 0; i < 2 * len; i++) {
        if (hex_digit(text[i]) > 15) {
            return ERR_INVALID;
        }
    }
    for (size_t i = 0; i < len; i++) {
        ret_bytes[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
    return 0;
}

bool name_is_valid(const char *name)
{
    if (name[0] == '.' || name[0] == '-') {
        return false;
    }
    size_t len = 0;
    for (; name[len] != '\0'; len++) {
        char c = name[len];
        if (len == NAME_MAX_LEN || !(is_alpha(c) || is_digit(c) || strchr("._@+-", c) != NULL)) {
            return false;
        }
    }
    return len > 0;
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insert, delete, replace and swap of neighbours cost 1 each. Case is
 * ignored, since this only serves people who mistyped. */
int str_distance(const char *a, const char *b)
{
    int table[DISTANCE_MAX_LEN + 1][DISTANCE_MAX_LEN + 1];
    int a_len = (int)strnlen(a, DISTANCE_MAX_LEN);
    int b_len = (int)strnlen(b, DISTANCE_MAX_LEN);
    for (int i = 0; i <= a_len; i++) {
        table[i][0] = i;
    }
    for (int j = 0; j <= b_len; j++) {
        table[0][j] = j;
    }
    for (int i = 1; i <= a_len; i++) {
        for (int j = 1; j <= b_len; j++) {
            char x = lower(a[i - 1]);
            char y = lower(b[j - 1]);
            int best = min_int(table[i - 1][j], table[i][j - 1]) + 1;
            best = min_int(best, table[i - 1][j - 1] + (x == y ? 0 : 1));
            if (i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y) {
                best = min_int(best, table[i - 2][j - 2] + 1);
            }
            table[i][j] = best;
        }
    }
    return table[a_len][b_len];
}

const char *str_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *nearest = NULL;
    int nearest_distance = 0;
    for (size_t i = 0; i < n; i++) {
        int distance = str_distance(word, candidates[i]);
        int allowed = ((int)strnlen(candidates[i], DISTANCE_MAX_LEN) + 2) / 3;
        if (distance <= allowed && (nearest == NULL || distance < nearest_distance)) {
            nearest = candidates[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}

/*
 * Text: checks and conversions on NUL-terminated strings. No allocation.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copy with a bound. ERR_TOO_LARGE leaves dst as "". */
int str_copy(char *dst, size_t size, const char *src);

/* Copy what fits of a UTF-8 text, cut between two characters. */
void str_cut(char *dst, size_t size, const char *src);

bool str_is_utf8(const void *bytes, size_t len); /* strict: no overlong, surrogate, > U+10FFFF */
bool str_is_blank(const char *text);

/* Whole string, decimal, no sign unless negative is allowed by min. ERR_INVALID. */
int str_to_i64(const char *text, int64_t min, int64_t max, int64_t *ret);
int str_to_bool(const char *text, bool *ret); /* yes/no, true/false, on/off, 1/0 */

void hex_encode(const uint8_t *bytes, size_t len, char *ret_text); /* needs 2 * len + 1 */
int hex_decode(const char *text, uint8_t *ret_bytes, size_t len);  /* exactly 2 * len digits */

/* A profile's name: 1–64 of [A-Za-z0-9._@+-], not starting with '.' or '-'. */
#define NAME_MAX_LEN 64
bool name_is_valid(const char *name);

/* Edit distance (Damerau–Levenshtein, at most 64 bytes each) for did-you-mean. */
int str_distance(const char *a, const char *b);
/* The nearest of `n` candidates within a third of its length, or NULL. */
const char *str_nearest(const char *word, const char *const *candidates, size_t n);

#endif

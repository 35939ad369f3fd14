/*
 * JSON from outside, read strictly (RFC 8259): one object, no duplicate keys, valid UTF-8, nothing
 * after it, a bounded number of values. Faults are told by place and kind and never by quoting:
 * the text near a fault may be a token.
 */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define JSON_VALUES_MAX 32768 /* upper bound, counted before anything is allocated */

/* From now on jansson allocates from secret memory, so documents that hold tokens are wiped when
 * they are freed. For a program's main, before the first use of jansson. */
void json_use_secret_memory(void);

struct json_fault {
    int err; /* ERR_NOMEM: reading it again may do; ERR_INVALID */
    int line, column;
    const char *what; /* "a key stands there twice" */
};

/* The object, to be given back with json_decref(); NULL and *ret_fault otherwise. */
json_t *json_read_object(const char *bytes, size_t len, struct json_fault *ret_fault);

/* Any value, in text that we have written. NULL: out of memory. */
json_t *json_read_own(const char *text);

/* jansson (2.14) passes over a NUL byte that stands behind a number, and so does the above. Whoever
 * looks at the text with his own eyes, too, refuses it first: *ret_fault says where. */
bool json_has_nul(const char *bytes, size_t len, struct json_fault *ret_fault);

/* The value at a dotted path ("account.uuid") of `len` bytes; NULL when there is none. Borrowed. */
const json_t *json_at(const json_t *root, const char *path, size_t len);
const char *json_string_at(const json_t *root, const char *path); /* NULL unless a string */

/* Any value as text, without blanks, added to `out`, which is unchanged on failure. ERR_TOO_LARGE,
 * ERR_NOMEM. */
int json_add_value(const json_t *value, struct buf *out);

/* A number, or a string that is one ("3600", as some servers send): finite. ERR_INVALID. */
int json_read_number(const json_t *value, double *ret);

#endif

/*
 * Changes of a JSON text that somebody else owns: what is not meant stays as it is, byte for byte
 * (order, blanks, numbers beyond 64 bits, escapes). A library that reads a document and writes it
 * anew keeps none of these; so the text is read strictly by jansson, and changed as text.
 */
#ifndef JSON_CHANGE_H
#define JSON_CHANGE_H

#include <stddef.h>

#include "base/buf.h"

/* One member of an object, by its dotted path (names without dots, quotes, backslashes and control
 * bytes: paths are ours, and no input). What is absent is put at the end of its object, in
 * the style of the members there; objects on the way are made, also in the place of a null. */
struct json_change {
    const char *path;
    const char *value; /* JSON text; NULL: the member goes, and it is fine if there is none */
};

/* `bytes` with the changes, one after the other, added to `out`, which is unchanged on failure.
 * Secret memory is used on the way. ERR_INVALID: not what json_read_object() takes, before or
 * after; or something on the path is no object. ERR_TOO_LARGE (for `out`), ERR_NOMEM. */
int json_change(const char *bytes, size_t len, const struct json_change *changes, size_t n,
                struct buf *out);

/* `text` as a JSON string, in quotes, added to `out`. ERR_INVALID: not UTF-8. */
int json_add_string(const char *text, size_t len, struct buf *out);

#endif

/*
 * Inside api/text*.c: pieces of readable text. Each adds to `out`, whose sticky failure is looked
 * at once, by text_render(): a renderer that had to test every word would be unreadable itself.
 */
#ifndef API_WORDS_H
#define API_WORDS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"

struct text {
    struct buf *out;
    int err; /* the first failure; nothing is added after it */
};

void text_put(struct text *t, const char *words);
void text_putf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_clean(struct text *t, const char *words);       /* from outside; NULL: "-" */
void text_pad(struct text *t, size_t used, size_t width); /* with blanks, and two between */

/* Members of an object; absent or of another type is NULL, false, or `otherwise`. */
const char *member_text(const json_t *object, const char *key);
bool member_is_true(const json_t *object, const char *key);
int64_t member_number(const json_t *object, const char *key, int64_t otherwise);

void text_member(struct text *t, const json_t *object, const char *key); /* cleaned, or "-" */
void text_time(struct text *t, const char *rfc3339); /* "2026-11-20 23:24:01Z" */
void text_span(struct text *t, int64_t ms);          /* "7h 59m" */

/* A table: its columns know how to write a cell of a row. Nothing for no rows. */
struct column {
    const char *title;
    void (*cell)(struct text *t, const json_t *row);
};
void text_table(struct text *t, const struct column *columns, size_t n, const json_t *rows);

/* text_profile.c, text_history.c, text_places.c */
void text_status(struct text *t, const json_t *json);
void text_profiles(struct text *t, const json_t *json);
void text_profile(struct text *t, const json_t *json);
void text_history(struct text *t, const json_t *json);
void text_consumers(struct text *t, const json_t *json);
void text_findings(struct text *t, const json_t *json);
void text_folder(struct text *t, const json_t *json);
void text_bound(struct text *t, const json_t *json);
void text_switched(struct text *t, const json_t *json);

#endif

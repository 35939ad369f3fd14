/*
 * What the files of the provider module share with each other and with nobody else.
 */
#ifndef ISSUER_PROVIDER_PARTS_H
#define ISSUER_PROVIDER_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "issuer/provider.h"

#define PROPERTIES_MAX 64

enum kind {
    KIND_TEXT,
    KIND_ID,
    KIND_URL,
    KIND_HEADER,
    KIND_WORDS,
    KIND_PATH,
    KIND_PATHS,
    KIND_YES,
    KIND_DURATION,
    KIND_BODY,
    KIND_POLICY
};

struct property {
    struct provider_property shown;
    uint16_t tag; /* in the record form: never reused, never renumbered */
    enum kind kind;
    size_t offset, size; /* of the field in struct provider */
    int64_t max;         /* durations: ms */
};

const struct property *property_at(unsigned i);       /* NULL past the end */
int property_find(const char *key, unsigned *ret_at); /* ERR_NOT_FOUND */

/* One property from its text form; `why` says "key: expected …". The field is untouched on
 * failure. */
int property_set(const struct property *prop, struct provider *p, const char *text,
                 struct err_text *why);

/* Every default; no title, no URLs. `name` must fit. */
void provider_set_defaults(struct provider *p, const char *name);

/* The rules across properties. `*ret_key`: the property to blame, NULL when it is none. */
int provider_check(const struct provider *p, const char **ret_key, struct err_text *why);

/* Definitions that the build compiles in (issuer/providers/, tools/embed.py). */
struct embedded_file {
    const char *name; /* "claude.ini" */
    const char *bytes;
    size_t len;
};
extern const struct embedded_file builtin_files[];
extern const size_t builtin_files_count;

#endif

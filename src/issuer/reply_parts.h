/*
 * What the files of the reply module share with each other and with nobody else.
 */
#ifndef ISSUER_REPLY_PARTS_H
#define ISSUER_REPLY_PARTS_H

#include <jansson.h>

#include "base/time.h"
#include "issuer/reply.h"

/* A life beyond ten years counts as not said. */
#define REPLY_LIFE_MAX_S  (3650.0 * 24 * 60 * 60)
#define REPLY_LIFE_MAX_MS (3650 * DAY_MS)

/* Empty `r` and take over what every answer has. */
void reply_begin(struct reply *r, enum ask ask, const struct http_outcome *o);

/* The status and a phrase of ours, then (the second) a reason that is not from a body. */
void reply_detail(struct reply *r, const char *what);
void reply_detail_because(struct reply *r, const char *what, const char *why);

bool status_is_success(int status);

/* The strings or whole numbers at `paths`, joined by '/'. ERR_NOT_FOUND when one is missing, of
 * another type, too long, or (of several) has a '/' in it: then `*ret_missing`, of `*ret_len`
 * bytes, is the path. */
int subject_read(const json_t *root, const char *paths, char *ret, size_t size,
                 const char **ret_missing, size_t *ret_len);
/* A label is for people: cleaned of control bytes, "" when absent. */
void label_read(const json_t *root, const char *path, char *ret, size_t size);

/* What says who somebody is is logged and stored, so it must be no token: not one of `tokens`, nor
 * with one in it, nor what the definition says tokens begin with. */
bool text_is_safe(const struct provider *p, const char *text, const struct secret *const tokens[],
                  size_t n);

#endif

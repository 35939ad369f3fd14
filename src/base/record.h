/*
 * Records: tagged, length-prefixed fields. The one binary form for messages between our own
 * processes and for sealed bytes (token pairs, sealed answers, vault plaintexts).
 *
 * Layout of a field: tag u16 LE, length u32 LE, bytes. A record is fields one after another; the
 * order is free, an unknown tag is skipped (so a newer writer can add), the same tag twice is an
 * error. Integers are 8 bytes LE.
 */
#ifndef BASE_RECORD_H
#define BASE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/secret.h"

#define RECORD_FIELDS_MAX 64

int record_put(struct buf *out, uint16_t tag, const void *bytes, size_t len);
int record_put_str(struct buf *out, uint16_t tag, const char *text); /* NULL: not written */
int record_put_i64(struct buf *out, uint16_t tag, int64_t value);
int record_put_secret(struct buf *out, uint16_t tag,
                      const struct secret *s); /* none: not written */

struct record_field {
    uint16_t tag;
    const uint8_t *bytes; /* into the parsed buffer */
    size_t len;
};
struct record {
    struct record_field fields[RECORD_FIELDS_MAX];
    size_t n;
};

/* Points into `bytes`, which must outlive it. ERR_INVALID when torn, repeated or too many. */
int record_parse(struct record *r, const void *bytes, size_t len);

/* ERR_NOT_FOUND when absent; ERR_INVALID when of another shape; ERR_TOO_LARGE. */
int record_get(const struct record *r, uint16_t tag, const uint8_t **ret_bytes, size_t *ret_len);
int record_get_str(const struct record *r, uint16_t tag, char *ret,
                   size_t size); /* no NUL inside */
int record_get_i64(const struct record *r, uint16_t tag, int64_t *ret);
int record_get_secret(const struct record *r, uint16_t tag, struct secret *ret);

#endif

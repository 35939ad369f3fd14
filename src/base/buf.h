/*
 * Growable bytes with a maximum. Hostile input meets the limit before it meets memory.
 *
 * A buffer made with buf_init_secret() lives in secret memory (base/secret.h) and is wiped on
 * growth, clear and release.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t
        *bytes; /* always followed by a NUL that `len` does not count, once anything was added */
    size_t len;
    size_t cap;
    size_t max;
    bool secret;
};

void buf_init(struct buf *b, size_t max);
void buf_init_secret(struct buf *b, size_t max);
void buf_clear(struct buf *b);   /* len = 0, memory kept (wiped when secret) */
void buf_release(struct buf *b); /* memory given back; usable again as empty. NULL-tolerant */

/* ERR_TOO_LARGE beyond max, ERR_NOMEM; the buffer is unchanged on failure. */
int buf_add(struct buf *b, const void *bytes, size_t len);
int buf_add_str(struct buf *b, const char *text);
int buf_add_char(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vaddf(struct buf *b, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));

/* Make room for `len` more bytes and return where to write them; follow with buf_commit(). NULL
 * when beyond max or out of memory. */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

void buf_consume(struct buf *b, size_t len); /* drop from the front */
const char *buf_text(const struct buf *b);   /* NUL-terminated view; "" when empty */

#endif

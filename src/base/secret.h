/*
 * Memory for tokens and keys: locked against swapping (best effort beyond RLIMIT_MEMLOCK), left
 * out of core dumps (MADV_DONTDUMP), not inherited by children (MADV_WIPEONFORK where there is
 * one), wiped before it is reused. Allocated from a few locked slabs, not a page per secret.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_MAX (1024 * 1024 + 64) /* largest single allocation: with what is put before it */

/* Zeroed secret memory, or NULL (also when size is 0 or above SECRET_MAX). */
void *secret_alloc(size_t size);
void secret_free(void *p); /* wipes all of it; NULL-tolerant */

/* For libraries that want the malloc family (jansson): secret_free() is its counterpart. */
void *secret_realloc(void *p, size_t size);

void secret_wipe(void *p, size_t size);

/* false once any slab could not be locked: the daemon says so in `status`. */
bool secret_is_locked(void);

/* Constant-time: the time taken depends on `len` alone. */
bool secret_equal(const void *a, const void *b, size_t len);

/* A byte string in secret memory; {NULL, 0} is "none". NUL-terminated beyond `len`. */
struct secret {
    char *bytes;
    size_t len;
};

/* A copy of `bytes` (which may be those of *s); none when `len` is 0. ERR_NOMEM, ERR_TOO_LARGE:
 * *s is as it was. */
int secret_set(struct secret *s, const void *bytes, size_t len);
void secret_move(struct secret *dst, struct secret *src); /* src becomes none */
void secret_clear(struct secret *s);                      /* wiped, none. NULL-tolerant */

#endif

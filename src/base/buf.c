/*
 * Growable bytes with a maximum. Growth doubles; secret buffers grow by moving, because realloc()
 * would leave a copy of the old bytes behind.
 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/secret.h"

#define CAP_MIN 64

void buf_init(struct buf *b, size_t max)
{
    CHECK(max < SIZE_MAX);
    *b = (struct buf){.max = max};
}

void buf_init_secret(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max < SECRET_MAX ? max : SECRET_MAX - 1, .secret = true};
}

void buf_clear(struct buf *b)
{
    if (b->bytes == NULL) {
        return;
    }
    if (b->secret) {
        secret_wipe(b->bytes, b->cap);
    }
    b->len = 0;
    b->bytes[0] = '\0';
}

void buf_release(struct buf *b)
{
    if (b == NULL) {
        return;
    }
    if (b->secret) {
        secret_free(b->bytes);
    } else {
        free(b->bytes);
    }
    *b = (struct buf){.max = b->max, .secret = b->secret};
}

/* The capacity that holds `need` bytes, never above max plus the NUL. */
static size_t capacity_for(const struct buf *b, size_t need)
{
    size_t cap = b->cap > CAP_MIN ? b->cap : CAP_MIN;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    return cap < b->max + 1 ? cap : b->max + 1;
}

static int grow(struct buf *b, size_t cap)
{
    uint8_t *bytes = NULL;
    if (b->secret) {
        bytes = secret_alloc(cap);
        if (bytes != NULL && b->len > 0) {
            memcpy(bytes, b->bytes, b->len);
        }
        if (bytes != NULL) {
            secret_free(b->bytes);
        }
    } else {
        bytes = realloc(b->bytes, cap);
    }
    if (bytes == NULL) {
        return ERR_NOMEM;
    }
    bytes[b->len] = '\0';
    b->bytes = bytes;
    b->cap = cap;
    return 0;
}

/* Room for `len` more bytes and the NUL. */
static int ensure(struct buf *b, size_t len)
{
    if (len > b->max - b->len) {
        return ERR_TOO_LARGE;
    }
    size_t need = b->len + len + 1;
    if (need <= b->cap) {
        return 0;
    }
    return grow(b, capacity_for(b, need));
}

int buf_add(struct buf *b, const void *bytes, size_t len)
{
    int err = ensure(b, len);
    if (err < 0) {
        return err;
    }
    if (len > 0) {
        memcpy(b->bytes + b->len, bytes, len);
    }
    buf_commit(b, len);
    return 0;
}

int buf_add_str(struct buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

int buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int err = buf_vaddf(b, fmt, args);
    va_end(args);
    return err;
}

int buf_vaddf(struct buf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    int err = n < 0 ? ERR_INVALID : ensure(b, (size_t)n);
    if (err == 0) {
        (void)vsnprintf((char *)b->bytes + b->len, (size_t)n + 1, fmt, again);
        buf_commit(b, (size_t)n);
    }
    va_end(again);
    return err;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    return ensure(b, len) < 0 ? NULL : b->bytes + b->len;
}

void buf_commit(struct buf *b, size_t len)
{
    CHECK(b->bytes != NULL && len < b->cap - b->len);
    b->len += len;
    b->bytes[b->len] = '\0';
}

void buf_consume(struct buf *b, size_t len)
{
    CHECK(len <= b->len);
    if (len == 0) {
        return;
    }
    size_t rest = b->len - len;
    memmove(b->bytes, b->bytes + len, rest);
    if (b->secret) {
        secret_wipe(b->bytes + rest, len);
    }
    b->len = rest;
    b->bytes[rest] = '\0';
}

const char *buf_text(const struct buf *b)
{
    return b->bytes == NULL ? "" : (const char *)b->bytes;
}

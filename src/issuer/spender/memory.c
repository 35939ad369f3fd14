/* Each block is preceded by its size, so that all of it can be wiped without asking the C library
 * how much it had given. */
#include "issuer/spender/memory.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "base/secret.h"

struct block {
    alignas(max_align_t) size_t size;
    alignas(max_align_t) uint8_t bytes[];
};

static struct block *block_of(void *p)
{
    return (struct block *)(void *)((uint8_t *)p - offsetof(struct block, bytes));
}

void *wiping_malloc(size_t size)
{
    if (size > SIZE_MAX - sizeof(struct block))
        return NULL;
    struct block *b = malloc(sizeof(*b) + size);
    if (b == NULL)
        return NULL;
    b->size = size;
    return b->bytes;
}

void *wiping_calloc(size_t n, size_t size)
{
    if (size != 0 && n > SIZE_MAX / size)
        return NULL;
    void *p = wiping_malloc(n * size);
    if (p != NULL)
        memset(p, 0, n * size);
    return p;
}

void wiping_free(void *p)
{
    if (p == NULL)
        return;
    struct block *b = block_of(p);
    secret_wipe(b->bytes, b->size);
    free(b);
}

/* Always a new place: realloc() would leave the old bytes behind. */
void *wiping_realloc(void *p, size_t size)
{
    void *moved = wiping_malloc(size);
    if (moved == NULL || p == NULL)
        return moved;
    size_t old = block_of(p)->size;
    memcpy(moved, p, old < size ? old : size);
    wiping_free(p);
    return moved;
}

char *wiping_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = wiping_malloc(size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

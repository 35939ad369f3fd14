/*
 * Secret memory: an allocator of its own over locked mappings.
 *
 * A slab is 64 KiB in granules of 64 bytes; an allocation is a run of granules, first fit. What is
 * too large for that gets a mapping of its own. The books (which run starts where, how long) are
 * kept in ordinary memory beside the slab, so that an overrun of a secret cannot corrupt them, and
 * so that a locked page holds nothing but secrets.
 *
 * Invariants: free granules are all zero; run[i] is the length of the run that starts at granule
 * i, and 0 anywhere else; at most one slab is empty (kept, so that a lone secret coming and going
 * costs no system call).
 */
#include "base/secret.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/err.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define GRANULE      ((size_t)64)
#define SLAB_SIZE    ((size_t)64 * 1024)
#define GRANULES     (SLAB_SIZE / GRANULE)
#define IN_SLAB_MAX  (SLAB_SIZE / 2)
#define MAPPING_STEP ((size_t)64 * 1024) /* a multiple of every page size we run on */

struct slab {
    struct slab *next;
    uint8_t *base;
    size_t size;
    size_t used;  /* granules taken; a lone mapping counts as one */
    bool is_lone; /* one large allocation, no runs */
    uint16_t run[GRANULES];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slab *slabs;
static atomic_bool some_unlocked;

static void *map_secret(size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return NULL;
    }
    if (mlock(base, size) != 0) {
        atomic_store(&some_unlocked, true);
    }
    /* Advice: a kernel without it keeps secrets in its dumps, which process_harden() forbids too.
     */
#ifdef MADV_DONTDUMP
    (void)madvise(base, size, MADV_DONTDUMP);
#endif
#ifdef MADV_WIPEONFORK
    (void)madvise(base, size, MADV_WIPEONFORK);
#endif
    return base;
}

static struct slab *slab_new(size_t size, bool is_lone)
{
    struct slab *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->base = map_secret(size);
    if (s->base == NULL) {
        free(s);
        return NULL;
    }
    s->size = size;
    s->is_lone = is_lone;
    s->next = slabs;
    slabs = s;
    ASAN_POISON_MEMORY_REGION(s->base, s->size);
    return s;
}

static void slab_free(struct slab *s)
{
    struct slab **link = &slabs;
    while (*link != s) {
        link = &(*link)->next;
    }
    *link = s->next;
    ASAN_UNPOISON_MEMORY_REGION(s->base, s->size);
    (void)munmap(s->base, s->size);
    free(s);
}

/* The first free stretch of n granules, or GRANULES. */
static size_t slab_find(const struct slab *s, size_t n)
{
    size_t free_from = 0;
    for (size_t i = 0; i < GRANULES;) {
        if (s->run[i] != 0) {
            i += s->run[i];
            free_from = i;
        } else if (++i - free_from == n) {
            return free_from;
        }
    }
    return GRANULES;
}

static void *slab_take(struct slab *s, size_t n)
{
    if (s->is_lone || GRANULES - s->used < n) {
        return NULL;
    }
    size_t at = slab_find(s, n);
    if (at == GRANULES) {
        return NULL;
    }
    s->run[at] = (uint16_t)n;
    s->used += n;
    return s->base + at * GRANULE;
}

static void *take_small(size_t size)
{
    size_t n = (size + GRANULE - 1) / GRANULE;
    for (struct slab *s = slabs; s != NULL; s = s->next) {
        void *p = slab_take(s, n);
        if (p != NULL) {
            return p;
        }
    }
    struct slab *s = slab_new(SLAB_SIZE, false);
    return s == NULL ? NULL : slab_take(s, n);
}

static void *take_large(size_t size)
{
    size_t mapping = (size + MAPPING_STEP - 1) / MAPPING_STEP * MAPPING_STEP;
    struct slab *s = slab_new(mapping, true);
    if (s == NULL) {
        return NULL;
    }
    s->used = 1;
    return s->base;
}

/* The slab that p lives in and the room p has; p must be one that secret_alloc() gave. */
static struct slab *owner_of(const void *p, size_t *ret_room)
{
    uintptr_t at = (uintptr_t)p;
    struct slab *s = slabs;
    while (s != NULL && (at < (uintptr_t)s->base || at >= (uintptr_t)s->base + s->size)) {
        s = s->next;
    }
    CHECK(s != NULL);
    size_t offset = at - (uintptr_t)s->base;
    if (s->is_lone) {
        CHECK(offset == 0);
        *ret_room = s->size;
        return s;
    }
    CHECK(offset % GRANULE == 0 && s->run[offset / GRANULE] != 0);
    *ret_room = s->run[offset / GRANULE] * GRANULE;
    return s;
}

static bool other_is_empty(const struct slab *self)
{
    for (const struct slab *s = slabs; s != NULL; s = s->next) {
        if (s != self && s->used == 0) {
            return true;
        }
    }
    return false;
}

/*
 * Defined nowhere in the programs, so never called: only what is loaded before one of them from
 * outside can define it, and test/fault/points.c does. An allocation out of a slab makes no call of
 * its own that could be made to fail, yet every one of them may be the one that finds no memory.
 */
__attribute__((weak)) bool secret_is_withheld(void);

void *secret_alloc(size_t size)
{
    if (size == 0 || size > SECRET_MAX || (secret_is_withheld != NULL && secret_is_withheld())) {
        return NULL;
    }
    CHECK(pthread_mutex_lock(&lock) == 0);
    void *p = size <= IN_SLAB_MAX ? take_small(size) : take_large(size);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    if (p != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(p, size);
    }
    return p;
}

void secret_free(void *p)
{
    if (p == NULL) {
        return;
    }
    CHECK(pthread_mutex_lock(&lock) == 0);
    size_t room = 0;
    struct slab *s = owner_of(p, &room);
    ASAN_UNPOISON_MEMORY_REGION(p, room);
    secret_wipe(p, room);
    ASAN_POISON_MEMORY_REGION(p, room);
    if (s->is_lone) {
        s->used = 0;
    } else {
        s->run[(size_t)((uint8_t *)p - s->base) / GRANULE] = 0;
        s->used -= room / GRANULE;
    }
    if (s->used == 0 && (s->is_lone || other_is_empty(s))) {
        slab_free(s);
    }
    CHECK(pthread_mutex_unlock(&lock) == 0);
}

void *secret_realloc(void *p, size_t size)
{
    if (p == NULL) {
        return secret_alloc(size);
    }
    if (size == 0 || size > SECRET_MAX) {
        return NULL;
    }
    CHECK(pthread_mutex_lock(&lock) == 0);
    size_t room = 0;
    (void)owner_of(p, &room);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    ASAN_UNPOISON_MEMORY_REGION(p, room);
    if (size <= room) {
        secret_wipe((uint8_t *)p + size, room - size);
        ASAN_POISON_MEMORY_REGION((uint8_t *)p + size, room - size);
        return p;
    }
    void *moved = secret_alloc(size);
    if (moved != NULL) {
        memcpy(moved, p, room);
        secret_free(p);
    }
    return moved;
}

void secret_wipe(void *p, size_t size)
{
    if (p != NULL && size > 0) {
        explicit_bzero(p, size);
    }
}

bool secret_is_locked(void)
{
    return !atomic_load(&some_unlocked);
}

bool secret_equal(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t differ = 0;
    for (size_t i = 0; i < len; i++) {
        differ = (uint8_t)(differ | (x[i] ^ y[i]));
    }
    return differ == 0;
}

int secret_set(struct secret *s, const void *bytes, size_t len)
{
    if (len >= SECRET_MAX) {
        return ERR_TOO_LARGE;
    }
    char *copy = NULL;
    if (len > 0) {
        copy = secret_alloc(len + 1);
        if (copy == NULL) {
            return ERR_NOMEM;
        }
        memcpy(copy, bytes, len);
    }
    secret_clear(s);
    *s = (struct secret){.bytes = copy, .len = len};
    return 0;
}

void secret_move(struct secret *dst, struct secret *src)
{
    if (dst == src) {
        return;
    }
    secret_clear(dst);
    *dst = *src;
    *src = (struct secret){0};
}

void secret_clear(struct secret *s)
{
    if (s != NULL) {
        secret_free(s->bytes);
        *s = (struct secret){0};
    }
}

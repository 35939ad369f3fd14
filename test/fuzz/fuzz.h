/*
 * What the fuzz targets share: taking an input apart, and cutting it into pieces.
 *
 * A target is one file with LLVMFuzzerTestOneInput(). What must hold stands in CHECK()s, so a wrong
 * result is found like a wrong memory access. Where an input chooses (a provider, a parser), its
 * first bytes do, as letters, so that the files in corpus/ can be read and written by hand.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len); /* libFuzzer calls it; gives 0 */

/* Every token in corpus/ holds this, and no message may. */
#define MARKER "MADE-UP-SECRET"

struct input {
    const uint8_t *at;
    size_t left;
};

static inline uint8_t take_byte(struct input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

static inline size_t take_below(struct input *in, size_t n)
{
    return take_byte(in) % n;
}

/* All that is left as a text, which ends at the first NUL. To be freed. */
static inline char *take_text(struct input *in)
{
    char *text = malloc(in->left + 1);
    CHECK(text != NULL);
    if (in->left > 0) {
        memcpy(text, in->at, in->left);
    }
    text[in->left] = '\0';
    *in = (struct input){in->at + in->left, 0};
    return text;
}

/* An out-parameter before the call, and whether the call has left it alone. */
static inline void taint(void *p, size_t size)
{
    memset(p, 0x5a, size);
}

static inline bool is_tainted(const void *p, size_t size)
{
    const uint8_t *bytes = p;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0x5a) {
            return false;
        }
    }
    return true;
}

/* Where a message is cut: elsewhere in each message, at the same places each time. */
struct cuts {
    uint64_t state;
};

static inline struct cuts cuts_of(const void *bytes, size_t len)
{
    struct cuts c = {UINT64_C(0xcbf29ce484222325)};
    for (size_t i = 0; i < len; i++) {
        c.state = (c.state ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    }
    return c;
}

/* The length of the next piece of `left` bytes: short ones as often as long ones. */
static inline size_t cut_next(struct cuts *c, size_t left)
{
    c->state = c->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint64_t draw = c->state >> 33;
    size_t most = draw % 2 == 0 && left > 4 ? 4 : left;
    return 1 + (size_t)(draw / 2) % most;
}

#endif

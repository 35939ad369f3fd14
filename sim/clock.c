/*
 * True time and what is under way in it: a heap of ops by time, then by the order in which they
 * were begun, so that a seed always tells the same story.
 */
#include "sim/world.h"

#include <string.h>

#define BOOT_ZERO_MS                                                                               \
    (20 * SECOND_MS) /* what a boot clock shows when the daemon can first start                    \
                      */

static bool is_sooner(const struct world *w, uint16_t a, uint16_t b)
{
    const struct op *x = &w->ops[a], *y = &w->ops[b];
    return x->at != y->at ? x->at < y->at : x->order < y->order;
}

static void sift_up(struct world *w, uint32_t i)
{
    while (i > 0 && is_sooner(w, w->heap[i], w->heap[(i - 1) / 2])) {
        uint16_t swap = w->heap[i];
        w->heap[i] = w->heap[(i - 1) / 2];
        w->heap[(i - 1) / 2] = swap;
        i = (i - 1) / 2;
    }
}

static void sift_down(struct world *w, uint32_t i)
{
    for (;;) {
        uint32_t soonest = i;
        for (uint32_t c = 2 * i + 1; c <= 2 * i + 2 && c < w->n_heap; c++) {
            if (is_sooner(w, w->heap[c], w->heap[soonest]))
                soonest = c;
        }
        if (soonest == i)
            return;
        uint16_t swap = w->heap[i];
        w->heap[i] = w->heap[soonest];
        w->heap[soonest] = swap;
        i = soonest;
    }
}

static void push(struct world *w, struct op *op, int64_t at)
{
    op->at = at;
    op->order = ++w->order;
    w->heap[w->n_heap++] = (uint16_t)(op - w->ops);
    sift_up(w, w->n_heap - 1);
}

struct op *op_new(struct world *w, enum happening what, const struct host *h, int64_t delay_ms)
{
    uint16_t slot = w->free_op;
    if (slot != UINT16_MAX) {
        w->free_op = w->ops[slot].next_free;
    } else {
        CHECK(w->n_ops < OPS_MAX);
        slot = (uint16_t)w->n_ops++;
    }
    struct op *op = &w->ops[slot];
    memset(op, 0, offsetof(struct op, fx));
    op->what = what;
    op->host = NOBODY;
    op->row = NOBODY;
    if (h) {
        op->host = (int16_t)h->index;
        op->life = h->life;
        op->boot = h->boot;
    }
    op->started_at = w->now;
    push(w, op, w->now + delay_ms);
    return op;
}

void op_free(struct world *w, struct op *op)
{
    op->next_free = w->free_op;
    w->free_op = (uint16_t)(op - w->ops);
}

void op_again(struct world *w, struct op *op, int64_t at)
{
    push(w, op, at);
}

struct op *op_next(struct world *w, int64_t before)
{
    if (w->n_heap == 0 || w->ops[w->heap[0]].at > before)
        return NULL;
    struct op *op = &w->ops[w->heap[0]];
    w->heap[0] = w->heap[--w->n_heap];
    sift_down(w, 0);
    return op;
}

bool op_is_providers(const struct op *op)
{
    return op->what == HAP_COMMIT || op->what == HAP_SIBLING_COMMIT;
}

struct op *op_each(struct world *w, uint32_t *at)
{
    return *at < w->n_heap ? &w->ops[w->heap[(*at)++]] : NULL;
}

void op_drop(struct world *w, struct op *op)
{
    for (uint32_t i = 0; i < w->n_heap; i++) {
        if (&w->ops[w->heap[i]] != op)
            continue;
        w->heap[i] = w->heap[--w->n_heap];
        if (i < w->n_heap) {
            sift_down(w, i);
            sift_up(w, i);
        }
        op_free(w, op);
        return;
    }
}

struct now host_now(const struct world *w, const struct host *h)
{
    return (struct now){.wall_ms = WALL_ZERO + w->now + h->wall_off_ms,
                        .boot_ms = BOOT_ZERO_MS + w->now - h->booted_at};
}

int64_t true_time_of(const struct host *h, int64_t boot_ms)
{
    return boot_ms == TIME_NEVER ? TIME_NEVER : boot_ms - BOOT_ZERO_MS + h->booted_at;
}

/* Mostly short, sometimes all of it: half of the draws fall into the first eighth. */
int64_t a_while(struct world *w, enum site site, unsigned part, int64_t most_ms)
{
    uint32_t drawn = draw(&w->draws, site, part, 1024);
    int64_t part_ms = drawn < 512 ? most_ms / 8 : drawn < 896 ? most_ms / 2 : most_ms;
    return part_ms * (drawn % 128) / 128;
}

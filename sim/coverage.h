/*
 * The table of (state × event): which cells were reached, which cannot be. And the scenes: what the
 * simulated world can do, and must really do, again and again, in any long run; one that never
 * comes about is a part of the world that is dead.
 */
#ifndef SIM_COVERAGE_H
#define SIM_COVERAGE_H

#include "sim/world.h"

struct states {
    int row; /* the event's lineage; NOBODY */
    uint8_t state[ROWS_MAX];
};

enum scene {
    SCENE_SIBLING_GIVES_UP,       /* on a lock that another one holds for too long */
    SCENE_SIBLING_FINDS_FRESH,    /* … what the other one wrote, when it has got it */
    SCENE_LOCK_TAKEN_OVER,        /* of one that is gone, or slept */
    SCENE_SIBLING_GONE_AT_COMMIT, /* killed before its request was evaluated */
    SCENE_SIBLING_GONE_AT_WRITE,  /* … between that and writing the answer down */
    SCENE_SIBLING_SWAP_REFUSED,   /* something else stands there by now */
    SCENE_SIBLING_BLANKS,
    SCENE_SIBLING_WRITE_LOST, /* with the power: clients do not sync */
    SCENE_PLACE_TORN,
    SCENE_PUBLISHED_LOST, /* a write of ours, of which nobody had heard */
    SCENE_SPOOL_TORN,
    SCENE_SPOOL_BACK,      /* a file that was removed */
    SCENE_SPOOL_OF_NOBODY, /* its intent was not durable yet */
    SCENE_LIFE_UNKNOWN,    /* a pair is granted, and not how long it lasts */
    SCENE_FLEET_RESTORED,  /* an older copy of the store that several wardens share */
    SCENE_COUNT
};

void coverage_scene(struct world *w, enum scene scene);
void coverage_scenes_print(void);

void coverage_begin(void); /* it costs time: only where it is asked for */
/* "EVENT/STATE", as coverage_print() names what was missed, or "scene/NAME": a run that reaches it
 * ends there, as if an oracle were broken ("reached"). false: no such cell. */
bool coverage_stop_at(const char *cell);
void coverage_before(const struct world *w, const struct host *h, const struct event *ev,
                     struct states *ret);
void coverage_count(struct world *w, const struct states *before, const struct event *ev,
                    const struct effects *out);
void coverage_print(void);
/* All that was counted, to be added to another process's. */
void coverage_get(const uint64_t **ret_counts, size_t *ret_n);
void coverage_add(const uint64_t *more, size_t n);

#endif

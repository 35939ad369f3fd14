/*
 * The table of (state × event): which cells were reached, which cannot be.
 */
#ifndef SIM_COVERAGE_H
#define SIM_COVERAGE_H

#include "sim/world.h"

struct states {
    int row; /* the event's lineage; NOBODY */
    uint8_t state[ROWS_MAX];
};

void coverage_begin(void); /* it costs time: only where it is asked for */
/* "EVENT/STATE", as coverage_print() names what was missed: a run that reaches it ends there, as if
 * an oracle were broken ("reached"). false: no such cell. */
bool coverage_stop_at(const char *cell);
void coverage_before(const struct world *w, const struct host *h, const struct event *ev,
                     struct states *ret);
void coverage_count(struct world *w, const struct states *before, const struct event *ev,
                    const struct effects *out);
void coverage_print(void);
void coverage_get(const uint64_t **ret_cells, size_t *ret_n);
void coverage_add(const uint64_t *more, size_t n);

#endif

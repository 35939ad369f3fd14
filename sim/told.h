/*
 * What the warden of a host has been told since it started, and what the coverage table counts.
 */
#ifndef SIM_TOLD_H
#define SIM_TOLD_H

#include "sim/world.h"

struct rules rules_of(const struct provider *p);
void told_refused(struct world *w, struct host *h, int row, struct fp access);
void told_event(struct world *w, struct host *h, const struct event *ev);

/* Coverage of (state × event), over all runs of the process. */
uint32_t coverage_before(const struct warden *w, const struct event *ev);
void coverage_count(uint32_t before, enum event_kind kind);
bool coverage_print(void); /* false: a cell was reached that cannot be */
void coverage_get(const uint64_t **ret_cells, size_t *ret_n);
void coverage_add(const uint64_t *cells, size_t n);

#endif

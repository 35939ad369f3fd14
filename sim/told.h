/*
 * What the warden of a host has been told since it started.
 */
#ifndef SIM_TOLD_H
#define SIM_TOLD_H

#include "sim/world.h"

struct rules rules_of(const struct provider *p);
void told_refused(struct world *w, struct host *h, int index, uint64_t generation);
void told_event(struct world *w, struct host *h, const struct event *ev);
bool is_homeless(const struct host *h, const struct capture *c);

#endif

/*
 * Places where consumers have their copies, and what is found in them: read and written under the
 * client's locks, captured (sealed, durable) before the core hears of it.
 */
#ifndef SIM_CAPTURE_H
#define SIM_CAPTURE_H

#include "sim/world.h"

enum event_kind apply_adopt_capture(struct world *w, struct host *h, const struct effect *fx);
enum event_kind apply_quarantine(struct world *w, struct host *h, const struct effect *fx);
enum event_kind apply_claim(struct world *w, struct host *h, const struct effect *fx);
enum event_kind apply_drop(struct world *w, struct host *h, const struct effect *fx);
void say_claimed(const struct world *w, const struct effect *fx, struct event *ret);
bool seal_capture(struct world *w, struct op *op); /* false: there is no room */
struct capture *sealed_find(struct world *w, uint64_t id);

/* place.c */
void places_begin(struct world *w);
void places_load(struct world *w, struct host *h); /* at a daemon's start */
struct place *place_find(struct world *w, uint64_t id);
void place_order(struct world *w, struct host *h, const struct effect *fx); /* FX_READ, FX_PUBLISH */
void place_act(struct world *w, struct op *op);
void place_seen(struct world *w, struct op *op);
void place_watch(struct world *w, struct op *op);
/* Somebody else than us wrote there. */
void place_write(struct world *w, struct place *p, enum seen what, const struct pair *pair);

/* sibling.c */
void siblings_begin(struct world *w);
void sibling_act(struct world *w, struct op *op);
void sibling_reply(struct world *w, struct op *op);

#endif

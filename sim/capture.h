/*
 * Places where consumers have their copies, and what is found in them: read and written under the
 * client's locks, captured (sealed, durable) before the core hears of it.
 */
#ifndef SIM_CAPTURE_H
#define SIM_CAPTURE_H

#include "sim/world.h"

enum event_kind apply_adopt_capture(struct world *w, struct host *h, const struct effect *fx);
enum event_kind apply_quarantine(struct world *w, struct host *h, const struct effect *fx);
bool is_name_taken(const struct world *w, const struct effect *claim); /* … it fails for that */
enum event_kind apply_claim(struct world *w, struct host *h, const struct effect *fx);
enum event_kind apply_drop(struct world *w, struct host *h, const struct effect *fx);
void say_claimed(const struct world *w, const struct effect *fx, struct event *ret);
struct capture *seal_capture(struct world *w, const struct op *op); /* NULL: there is no room */
int row_of_grant(const struct world *w, struct fp refresh);         /* NOBODY: none has it now */
struct capture *sealed_find(struct world *w, uint64_t id);
bool is_over(const struct world *w, struct fp refresh); /* the ledger: nobody takes it any more */
bool is_known_pair(const struct world *w, const struct pair *pair);
bool is_known_grant(const struct world *w, const struct pair *pair);
bool is_former_pair(const struct world *w, const struct pair *pair);

/* place.c */
void places_begin(struct world *w);
void places_follow(struct world *w, struct host *h); /* a profile got, or lost, its lineage */
void places_moved(struct world *w, const struct host *h, int from, int to);
void places_forget(struct world *w, const struct host *h); /* at a daemon's start, then */
void places_load(struct world *w, struct host *h);         /* at a daemon's start */
struct place *place_find(struct world *w, uint64_t id);    /* NULL: none */
int64_t look_round_ms(const struct world *w); /* until what a watch has missed is found */
int place_row(const struct world *w, const struct place *p); /* of its profile; NOBODY */
bool place_is_replica_of(const struct world *w, const struct host *h, int row); /* any */
void place_bind(struct world *w, struct host *h, struct place *p);
void place_switch(struct world *w, struct host *h, struct place *p, unsigned profile);
void place_unbind(struct world *w, struct host *h, struct place *p);
void place_order(struct world *w, struct host *h,
                 const struct effect *fx); /* FX_READ, FX_PUBLISH */
void place_act(struct world *w, struct op *op);
void place_seen(struct world *w, struct op *op);
void place_put(struct world *w, struct op *op);
void place_watch(struct world *w, struct op *op);
void places_lose_power(struct world *w, const struct host *h);
bool place_is_locked(const struct world *w, const struct place *p); /* by one of its clients */
/* Somebody else than us wrote there. */
void place_write(struct world *w, struct place *p, enum seen what, const struct pair *pair);

/* sibling.c */
void siblings_begin(struct world *w);
void siblings_boot(struct world *w, const struct host *h);
void siblings_lose_power(struct world *w, const struct host *h);
void siblings_sleep(struct world *w, const struct host *h); /* nobody touches a lock meanwhile */
void sibling_act(struct world *w, struct op *op);
void sibling_commit(struct world *w, struct op *op);
void sibling_write(struct world *w, struct op *op);
void sibling_dies(struct world *w, struct op *op);

#endif

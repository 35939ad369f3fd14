/*
 * The oracles: what must never happen, each in prose beside its code. They judge at the moment of
 * the act, by what the world knows to be true and by what it has made durable or told; they never
 * ask the core, but for its state and alarms, and of a fleet for the generation that it acts on. A
 * broken one ends the run.
 */
#ifndef SIM_ORACLES_H
#define SIM_ORACLES_H

#include "sim/world.h"

_Noreturn void violated(struct world *w, const char *oracle, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Before each step: what should have been told by now. */
void oracle_before(struct world *w, const struct host *h, const struct event *ev);
/* After each step, before any of its effects is carried out. */
void oracle_step(struct world *w, struct host *h, const struct event *ev,
                 const struct effects *out);
void oracle_progress(struct world *w, struct host *h, bool moves);
void oracle_once_more(struct world *w, const struct host *h, int index);
void oracle_policy(struct world *w, const struct host *h, int index);
void oracle_ordered(struct world *w, const struct host *h, const struct effect *fx);
void oracle_publishes(struct world *w, const struct host *h, const struct effect *fx);
void oracle_places(struct world *w, const struct host *h, const struct effect *fx);
void oracle_continues(struct world *w, const struct host *h, const struct effect *fx);
void oracle_quarantines(struct world *w, const struct host *h, const struct effect *fx);
void oracle_presented(struct world *w, struct host *h, const struct op *op);
void oracle_published(struct world *w, const struct host *h, const struct op *order,
                      const struct place *p);
void oracle_wish(struct world *w, const struct host *h, const struct op *put,
                 const struct place *p);
void oracle_filled(struct world *w, const struct host *h, const struct op *look,
                   const struct place *p);
void oracle_captures_end(struct world *w);
#define IN_STEP_AFTER_MS (6 * MINUTE_MS) /* a place that cannot be written is tried that often */
void oracle_in_step(struct world *w);
void oracle_alarm(struct world *w, struct host *h, const struct effect *fx);
void oracle_alarms(struct world *w, struct host *h, const struct event *ev,
                   const struct effects *out);
void oracle_alarms_end(struct world *w, const struct host *h, int index);
void oracle_dead(struct world *w, const struct host *h, int index);
void oracle_answered(struct world *w, struct host *h, const struct caller *c,
                     const struct effect *fx);
int64_t oracle_patience_ms(const struct world *w, const struct caller *c);
void oracle_patience(struct world *w, struct host *h, const struct caller *c);
void oracle_stopped(struct world *w, const struct host *h);
void oracle_end(struct world *w); /* after the faults have stopped and everything had its time */

/* Is what this host counts the life of the lineage's access token from exact, or at least right? */
bool counts_right(const struct world *w, const struct host *h, int row);
/* Of a fleet, another warden may have gone on without this one's having heard of it. */
bool has_heard(const struct world *w, const struct host *h, int row);
bool is_one_of(const char *state, const char *const *states);         /* these end with NULL */
int64_t access_ends_at(const struct world *w, const struct row *row); /* the truth */

#endif

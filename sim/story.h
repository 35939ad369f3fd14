/*
 * The story of a run in words, one line a step. Told only when somebody listens.
 */
#ifndef SIM_STORY_H
#define SIM_STORY_H

#include <stdio.h>

#include "sim/world.h"

#define STORY_LINES 64
#define STORY_WIDTH 320

struct story {
    FILE *out;  /* NULL: only the last lines are kept */
    uint64_t n; /* lines so far */
    char last[STORY_LINES][STORY_WIDTH];
};

void story_say(struct world *w, const struct host *h, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void story_step(struct world *w, const struct host *h, const struct event *ev,
                const struct effects *out);
void story_last(const struct story *s, FILE *out, unsigned lines);

#define say(w, h, ...)          ((w)->story ? story_say((w), (h), __VA_ARGS__) : (void)0)
#define say_step(w, h, ev, out) ((w)->story ? story_step((w), (h), (ev), (out)) : (void)0)

/* Short names; each call has a place of its own among the last few. */
const char *name_token(const struct world *w, struct fp fp); /* "R3.2": login 3, second */
const char *name_lineage(uint64_t id);                       /* "L3" */
const char *name_duration(int64_t ms);

#endif

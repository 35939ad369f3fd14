/*
 * A failing run made short, and stories kept in files: a seed, and the draws that were not zero.
 */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include <stdio.h>

#include "sim/world.h"

/* Thins out `tape`, a recording of a run of `seed` that broke `oracle`, for as long as the same
 * oracle still breaks. */
void shrink(struct world *w, uint64_t seed, const char *oracle, struct tape *tape);

/* Text form: "# …" lines, "seed N", then "site part nth value" a line. Loading: 0, or a negative
 * enum err. */
void tape_save(const struct tape *tape, uint64_t seed, FILE *out);
int tape_load(FILE *in, struct tape *ret, uint64_t *ret_seed);

#endif

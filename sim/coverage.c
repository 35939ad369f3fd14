/*
 * Which events met which states, over all runs of the process.
 */
#include "sim/told.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STATES_MAX 32

static uint64_t cells[STATES_MAX][EV_COUNT];

uint32_t coverage_before(const struct warden *w, const struct event *ev)
{
    return ev->lineage == 0 ? 0 : warden_state_bit(w, ev->lineage);
}

void coverage_count(uint32_t before, enum event_kind kind)
{
    if (before != 0)
        cells[__builtin_ctz(before)][kind]++;
}

void coverage_get(const uint64_t **ret_cells, size_t *ret_n)
{
    *ret_cells = &cells[0][0];
    *ret_n = sizeof(cells) / sizeof(cells[0][0]);
}

void coverage_add(const uint64_t *more, size_t n)
{
    uint64_t *mine = &cells[0][0];
    for (size_t i = 0; i < n; i++)
        mine[i] += more[i];
}

bool coverage_print(void)
{
    unsigned reached = 0, empty = 0;
    for (unsigned s = 1; warden_state_name(s); s++) {
        printf("%s never met:", warden_state_name(s));
        for (unsigned e = 0; e < EV_COUNT; e++) {
            if (cells[s][e] != 0)
                reached++;
            else
                printf(" %s", event_name((enum event_kind)e));
            empty += cells[s][e] == 0;
        }
        printf("\n");
    }
    printf("coverage: {\"reached\": %u, \"empty\": %u}\n", reached, empty);
    return true;
}

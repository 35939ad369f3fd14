/*
 * Which events met which states, over all runs of the process: the cells of the core's table. An
 * event that names a consumer counts for the lineage of its place, a timer for the lineages that
 * did something.
 *
 * Most events are answers: they meet the state that waits for them, and no other, for nothing else
 * leaves it. Which those are is said here, each with its reason; a run that meets another cell has
 * found either a hole in the core or a mistake in this list.
 */
#include "sim/coverage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim/capture.h"
#include "sim/oracles.h"

#define STATES_MAX 32

static struct {
    uint64_t cells[STATES_MAX][EV_COUNT];
    uint64_t scenes[SCENE_COUNT];
} seen;
static bool counting;
static enum event_kind wanted_event = EV_COUNT; /* the cell at which a run is to stop */
static unsigned wanted_state;
static enum scene wanted_scene = SCENE_COUNT;

static const char *const scene_names[SCENE_COUNT] = {
    [SCENE_SIBLING_GIVES_UP] = "sibling-gives-up",
    [SCENE_SIBLING_FINDS_FRESH] = "sibling-finds-fresh",
    [SCENE_LOCK_TAKEN_OVER] = "lock-taken-over",
    [SCENE_SIBLING_GONE_AT_COMMIT] = "sibling-gone-at-commit",
    [SCENE_SIBLING_GONE_AT_WRITE] = "sibling-gone-at-write",
    [SCENE_SIBLING_SWAP_REFUSED] = "sibling-swap-refused",
    [SCENE_SIBLING_BLANKS] = "sibling-blanks",
    [SCENE_SIBLING_WRITE_LOST] = "sibling-write-lost",
    [SCENE_PLACE_TORN] = "place-torn",
    [SCENE_PUBLISHED_LOST] = "published-lost",
    [SCENE_SPOOL_TORN] = "spool-torn",
    [SCENE_SPOOL_BACK] = "spool-back",
    [SCENE_SPOOL_OF_NOBODY] = "spool-of-nobody",
    [SCENE_LIFE_UNKNOWN] = "life-unknown",
    [SCENE_FLEET_RESTORED] = "fleet-restored",
};

#define UNPROVEN "unproven asking adopting "
#define SPENDING "intending spending settling closing "
#define BELIEVED                                                                                   \
    "live leasing withholding " SPENDING                                                           \
    "doubt probing searching continuing dead quarantined retiring "
#define NO_CONSUMER                                                                                \
    "a consumer is of a profile, none points at an unproven lineage, and it leaves with its own"

static const struct {
    enum event_kind event;
    const char *states; /* in which it can arrive: " name name "; NULL: in any */
    const char *why;
} possible[] = {
    {EV_TIMER,
     " " UNPROVEN "live leasing withholding " SPENDING
     "doubt probing searching continuing dead quarantined ",
     "who waits is told when the end begins, and then nothing is owed any more"},
    {EV_LOADED, " free ", "a lineage is loaded once"},
    {EV_ADDED, " free ", "its id is new"},
    {EV_CLAIMED, " quarantined retiring ",
     "the store claims nothing else, though its end may be on its way there"},
    {EV_IDENTITY, " free asking " BELIEVED,
     "only the answer leaves asking, and an unproven lineage has no captures"},
    {EV_ADOPTED, " adopting continuing ", "only the answer to FX_ADOPT leaves these two"},
    {EV_LEASED,
     " free live leasing spending closing doubt probing searching continuing dead "
     "quarantined retiring ",
     "nothing is spent while a lease is awaited, and nobody overtakes an unproven lineage"},
    {EV_INTENT_DURABLE, " intending ", "only the answer to FX_STORE_INTENT leaves it"},
    {EV_ANSWER, " spending ", "the outcome of a spend is told once, to who waits for it"},
    {EV_SETTLED, " settling ", "only the answer to FX_SETTLE leaves it"},
    {EV_CLOSED, " closing ", "only the answer to FX_CLOSE_INTENT leaves it"},
    {EV_STORE_FAILED, " free adopting " BELIEVED,
     "an unproven lineage that asks, or is to, has nothing under way to the store"},
    {EV_PROBED, " free " BELIEVED,
     "only the answer leaves probing, where nobody overtakes: nobody does the unproven"},
    {EV_RETIRED, " retiring free ",
     "only the answer to FX_RETIRE leaves it; of a fleet: or the news that another was faster"},
    {EV_BOUND, " " BELIEVED, "a consumer is of a profile, and none points at an unproven lineage"},
    {EV_UNBOUND, " " BELIEVED, NO_CONSUMER},
    {EV_OBSERVED, " " BELIEVED, NO_CONSUMER},
    {EV_CONSUMER_FAILED, " " BELIEVED, NO_CONSUMER},
    {EV_QUARANTINED, " free " BELIEVED, "an unproven lineage has no captures"},
    {EV_UNWANT, "", "names a caller, and no lineage"},
    {EV_STOP, "", "is about the daemon"},
};

enum { CELL_NAME_MAX = 48 };

static void cell_name(char name[CELL_NAME_MAX], unsigned event, unsigned state)
{
    (void)snprintf(name, CELL_NAME_MAX, "%s/%s", event_name((enum event_kind)event),
                   warden_state_name(state));
}

void coverage_begin(void)
{
    counting = true;
}

static bool is_cell(const char *cell, unsigned event, unsigned state)
{
    char name[CELL_NAME_MAX];
    cell_name(name, event, state);
    return strcmp(cell, name) == 0;
}

static bool stop_at_scene(const char *name)
{
    for (unsigned s = 0; s < SCENE_COUNT; s++) {
        if (strcmp(name, scene_names[s]) == 0)
            wanted_scene = (enum scene)s;
    }
    return wanted_scene != SCENE_COUNT;
}

bool coverage_stop_at(const char *cell)
{
    static const char scene[] = "scene/";
    if (strncmp(cell, scene, sizeof(scene) - 1) == 0)
        return stop_at_scene(cell + sizeof(scene) - 1);
    for (unsigned e = 0; e < EV_COUNT; e++) {
        for (unsigned s = 0; warden_state_name(s); s++) {
            if (!is_cell(cell, e, s))
                continue;
            wanted_event = (enum event_kind)e;
            wanted_state = s;
            counting = true;
            return true;
        }
    }
    return false;
}

static bool is_possible(unsigned event, unsigned state)
{
    char name[CELL_NAME_MAX];
    (void)snprintf(name, sizeof(name), " %s ", warden_state_name(state));
    for (size_t i = 0; i < ARRAY_LEN(possible); i++) {
        if (possible[i].event == (enum event_kind)event && possible[i].states)
            return strstr(possible[i].states, name) != NULL;
    }
    return true;
}

void coverage_scene(struct world *w, enum scene scene)
{
    seen.scenes[scene]++;
    if (scene == wanted_scene)
        violated(w, "reached", "%s", scene_names[scene]);
}

static int lineage_of(const struct world *w, const struct event *ev)
{
    const struct place *p =
        ev->lineage == 0 ? place_find((struct world *)(uintptr_t)w, ev->consumer) : NULL;
    return p && p->is_known ? p->row : row_of(ev->lineage);
}

static unsigned state_of(const struct host *h, int row)
{
    uint32_t bit = warden_state_bit(h->warden, lineage_id(row));
    return bit == 0 ? 0 : (unsigned)__builtin_ctz(bit);
}

static void count(struct world *w, unsigned state, enum event_kind kind)
{
    seen.cells[state][kind]++;
    if (kind == wanted_event && state == wanted_state)
        violated(w, "reached", "%s met a lineage that is %s", event_name(kind),
                 warden_state_name(state));
    for (size_t i = 0; i < ARRAY_LEN(possible); i++) {
        if (possible[i].event == kind && !is_possible(kind, state))
            violated(w, "impossible", "%s met a lineage that is %s: %s", event_name(kind),
                     warden_state_name(state), possible[i].why);
    }
}

void coverage_before(const struct world *w, const struct host *h, const struct event *ev,
                     struct states *ret)
{
    ret->row = counting ? lineage_of(w, ev) : NOBODY;
    if (ret->row != NOBODY)
        ret->state[0] = (uint8_t)state_of(h, ret->row);
    for (uint32_t i = 0; counting && ev->kind == EV_TIMER && i < w->store.n_rows; i++)
        ret->state[i] = (uint8_t)state_of(h, (int)i);
}

void coverage_count(struct world *w, const struct states *before, const struct event *ev,
                    const struct effects *out)
{
    if (!counting)
        return;
    if (before->row != NOBODY)
        count(w, before->state[0], ev->kind);
    for (size_t i = 0; ev->kind == EV_TIMER && i < out->n; i++) {
        int row = row_of(out->list[i].lineage);
        if (row != NOBODY)
            count(w, before->state[row], EV_TIMER);
    }
}

void coverage_get(const uint64_t **ret_counts, size_t *ret_n)
{
    *ret_counts = &seen.cells[0][0];
    *ret_n = sizeof(seen) / sizeof(uint64_t);
}

void coverage_add(const uint64_t *more, size_t n)
{
    uint64_t *mine = &seen.cells[0][0];
    for (size_t i = 0; i < n; i++)
        mine[i] += more[i];
}

void coverage_print(void)
{
    unsigned reached = 0, impossible = 0;
    const char *comma = "";
    printf("coverage: {\"missed\": [");
    for (unsigned e = 0; e < EV_COUNT; e++) {
        for (unsigned s = 0; warden_state_name(s); s++) {
            char name[CELL_NAME_MAX];
            reached += seen.cells[s][e] != 0;
            impossible += !is_possible(e, s);
            if (seen.cells[s][e] != 0 || !is_possible(e, s))
                continue;
            cell_name(name, e, s);
            printf("%s\"%s\"", comma, name);
            comma = ", ";
        }
    }
    printf("], \"reached\": %u, \"impossible\": %u}\n", reached, impossible);
}

void coverage_scenes_print(void)
{
    const char *comma = "";
    printf("scenes: {");
    for (unsigned s = 0; s < SCENE_COUNT; s++) {
        printf("%s\"%s\": %" PRIu64, comma, scene_names[s], seen.scenes[s]);
        comma = ", ";
    }
    printf("}\n");
}

/*
 * A world's beginning: what the store has when the daemon first starts.
 */
#include "sim/world.h"

#include <string.h>

#include "sim/capture.h"

void world_reset(struct world *w, uint64_t seed)
{
    struct tape *tape = w->draws.tape;
    w->seed = seed;
    w->draws = (struct draws){.state = seed, .tape = tape};
    w->phase = PHASE_SAFETY;
    w->now = HOUR_MS;
    w->steps = w->order = w->next_caller = w->next_id = 0;
    w->n_families = w->n_issued = w->n_places = w->n_siblings = 0;
    w->is_full = w->has_backup = w->wall_was_wrong = false;
    w->mark = 0;
    w->forgotten_at = w->accepted_at = 0;
    w->n_heap = w->n_ops = 0;
    w->free_op = UINT16_MAX;
    w->oracle[0] = w->why[0] = '\0';
    memset(&w->store, 0, sizeof(w->store));
    memset(w->store.profiles, NOBODY, sizeof(w->store.profiles));
    memset(w->sealed, 0, sizeof(w->sealed));
    memset(w->leases, 0, sizeof(w->leases));
    memset(w->hosts, 0, sizeof(w->hosts));
    for (unsigned i = 0; i < ROWS_MAX; i++)
        w->leases[i].holder = NOBODY;
    for (unsigned i = 0; i < CALLERS_MAX; i++)
        w->callers[i].id = 0;
    memset(w->places, 0, sizeof(w->places));
    memset(w->siblings, 0, sizeof(w->siblings));
}

/* A login that was added before this story begins. */
static void settle_in(struct world *w, unsigned profile)
{
    static const enum policy policies[] = {POLICY_ALWAYS,  POLICY_ALWAYS,  POLICY_ALWAYS,
                                           POLICY_STANDBY, POLICY_STANDBY, POLICY_NEVER};
    struct draws *d = &w->draws;
    unsigned provider = draw(d, SITE_START, profile, w->n_providers);
    int family = family_new(w, provider, draw(d, SITE_START, profile, SUBJECTS_MAX));
    const struct provider *p = &w->providers[provider];
    struct fp access, refresh;
    int index = row_new(w);
    CHECK(family != NOBODY && index != NOBODY);
    CHECK(issue_pair(w, family, !p->static_pairs, &access, &refresh));
    struct row *row = &w->store.rows[index];
    w->families[family].narrow = draw(d, SITE_START, profile, 16) == 15;
    row->standing = STANDING_LIVE;
    row->provider = (uint8_t)provider;
    row->policy = policies[draw(d, SITE_START, profile, ARRAY_LEN(policies))];
    row->subject = p->has_identity && !w->families[family].narrow
                       ? subject_fp(w->families[family].subject)
                       : (struct fp){{0}};
    row->pair = pair_of(w, access, refresh);
    row->generation = 1 + draw(d, SITE_START, profile, 3);
    w->store.profiles[profile] = (int16_t)index;
    store_know(w, &row->pair, true);
}

void world_begin(struct world *w)
{
    for (unsigned p = 0; p < w->n_profiles; p++)
        settle_in(w, p);
    w->now += draw(&w->draws, SITE_START, 63, 2) * w->span_ms;
    for (unsigned i = 0; i < w->n_hosts; i++) {
        struct host *h = &w->hosts[i];
        h->index = (uint8_t)i;
        h->boot = 1;
        h->booted_at = w->now;
        h->wake_at = TIME_NEVER;
        op_new(w, HAP_HOST_UP, h, 1 + i);
    }
    places_begin(w);
    siblings_begin(w);
    callers_begin(w);
    weather_begin(w);
}

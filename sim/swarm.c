/*
 * The swarm: each run draws its own mix of faults, its own sizes and its own providers. Runs in
 * which everything goes wrong at once find little; runs in which two things go wrong find much.
 */
#include "sim/world.h"

/* How often, in 1024, a fault comes at most when its occasion is there; and of 8 runs, how many
 * know it at all. */
static const struct {
    uint16_t most;
    uint8_t runs;
} mix[FAULT_COUNT] = {
    [FAULT_CRASH] = {24, 3},           [FAULT_POWER] = {16, 2},
    [FAULT_STOP] = {512, 2},           [FAULT_SUSPEND] = {768, 2},
    [FAULT_WALL_JUMP] = {768, 2},      [FAULT_DISK_FULL] = {768, 2},
    [FAULT_STORE_ERROR] = {128, 2},    [FAULT_STORE_SLOW] = {128, 2},
    [FAULT_RESTORE] = {768, 1},        [FAULT_SNAPSHOT] = {768, 1},
    [FAULT_SPENDER_DIES] = {256, 2},   [FAULT_UNSENT] = {384, 2},
    [FAULT_OUTAGE] = {768, 2},         [FAULT_LOST_BEFORE] = {384, 2},
    [FAULT_LOST_AFTER] = {384, 2},     [FAULT_THROTTLED] = {384, 2},
    [FAULT_UNCOMMITTED] = {256, 2},    [FAULT_TORN] = {256, 2},
    [FAULT_LATE_COMMIT] = {384, 2},    [FAULT_SLOW_SERVER] = {384, 2},
    [FAULT_KEPT] = {384, 2},           [FAULT_RENAMED] = {64, 1},
    [FAULT_REVOKED] = {256, 1},        [FAULT_UNNAMED] = {512, 3},
    [FAULT_SCOPE] = {512, 2},          [FAULT_REMOVE] = {512, 2},
    [FAULT_POLICY] = {768, 3},         [FAULT_ADD] = {768, 4},
    [FAULT_STALE_ADD] = {384, 2},      [FAULT_FOREIGN_ADD] = {384, 2},
    [FAULT_SWITCHED] = {512, 3},       [FAULT_HANDED_OUT] = {768, 2},
    [FAULT_STORM] = {256, 2},          [FAULT_BETWEEN] = {192, 3},
    [FAULT_LOCKED] = {256, 2},         [FAULT_UNREADABLE] = {256, 2},
    [FAULT_RUDE_UNLOCKED] = {384, 2},  [FAULT_RUDE_STALE] = {256, 2},
    [FAULT_RUDE_OTHER] = {128, 2},     [FAULT_RUDE_LOGOUT] = {128, 2},
    [FAULT_RUDE_TORN] = {128, 2},      [FAULT_RUDE_COPY] = {128, 2},
    [FAULT_WATCH_LOST] = {512, 2},     [FAULT_REBOUND] = {768, 2},
    [FAULT_LEASE_LOST] = {256, 3},     [FAULT_TOLD_LATE] = {512, 3},
    [FAULT_SIBLING_KILLED] = {256, 2},
};

bool fault(struct world *w, enum fault f, enum site site, unsigned part)
{
    return chance(&w->draws, site, part, w->rate[f]);
}

static void draw_provider(struct world *w, unsigned i, int64_t life_ms)
{
    struct provider *p = &w->providers[i];
    struct draws *d = &w->draws;
    static const int64_t deadline_ms[] = {30 * SECOND_MS, 10 * SECOND_MS, 60 * SECOND_MS};
    uint32_t kind = draw(d, SITE_RULES, i, 64);
    *p = (struct provider){
        .rotates = kind % 8 != 7,
        .ends_family = kind % 4 != 3,
        .kills_access = draw(d, SITE_RULES, i, 2) == 1,
        .has_identity = draw(d, SITE_RULES, i, 8) != 7,
        .names_in_answer = draw(d, SITE_RULES, i, 2) == 1,
        .has_date = draw(d, SITE_RULES, i, 8) != 7,
        .says_uncommitted = draw(d, SITE_RULES, i, 2) == 1,
        .static_pairs = draw(d, SITE_RULES, i, 16) == 15,
        .life_ms = life_ms << draw(d, SITE_RULES, i, 3),
        .deadline_ms = deadline_ms[draw(d, SITE_RULES, i, ARRAY_LEN(deadline_ms))],
    };
    p->silent = draw(d, SITE_RULES, PROVIDERS_MAX + i, 8) == 7;
    p->skew_ms = p->life_ms / 8 < 5 * MINUTE_MS ? p->life_ms / 8 : 5 * MINUTE_MS;
    if (draw(d, SITE_RULES, i, 4) == 3)
        p->skew_ms = MINUTE_MS;
    if (draw(d, SITE_RULES, i, 4) == 3)
        p->grace_ms = (int64_t)(1 + draw(d, SITE_RULES, i, 60)) * SECOND_MS;
    if (draw(d, SITE_RULES, i, 6) == 5)
        p->login_ms = p->life_ms * (2 + draw(d, SITE_RULES, i, 20));
}

/* Parts of SITE_MIX beside those of the faults. */
enum { PART_CROWDED = DRAW_PARTS - 2, PART_CROWDED_FLEET };
_Static_assert((int)FAULT_COUNT <= (int)PART_CROWDED, "each fault has a part of its own");

/* Where much is under way at the same time: what meets what else hardly ever does. */
static void crowd(struct world *w)
{
    static const enum fault busy[] = {
        FAULT_STORE_SLOW, FAULT_LOST_BEFORE, FAULT_LOST_AFTER, FAULT_SLOW_SERVER, FAULT_REMOVE,
        FAULT_POLICY,     FAULT_ADD,         FAULT_BETWEEN,    FAULT_LOCKED,      FAULT_UNREADABLE,
        FAULT_RUDE_OTHER, FAULT_RUDE_COPY,   FAULT_REBOUND,
    };
    for (size_t i = 0; i < ARRAY_LEN(busy); i++)
        w->rate[busy[i]] = mix[busy[i]].most;
    w->rate[FAULT_CRASH] = w->rate[FAULT_POWER] = 0;
    if (!w->fleet && draw(&w->draws, SITE_MIX, PART_CROWDED_FLEET, 2) == 1) {
        w->fleet = true;
        w->n_hosts = 2;
    }
}

void swarm_draw(struct world *w)
{
    struct draws *d = &w->draws;
    static const int64_t life_ms[] = {HOUR_MS, 8 * HOUR_MS, 10 * MINUTE_MS, MINUTE_MS,
                                      8 * SECOND_MS};
    bool large = draw(d, SITE_SIZE, 0, 64) == 63;
    w->span_ms = life_ms[draw(d, SITE_SIZE, 1, ARRAY_LEN(life_ms))];
    w->n_providers = 1 + draw(d, SITE_SIZE, 2, PROVIDERS_MAX);
    w->n_profiles = large ? PROFILES_MAX : 2 + draw(d, SITE_SIZE, 3, 4);
    w->fleet = draw(d, SITE_SIZE, 4, 8) >= 6;
    w->n_hosts = w->fleet ? 2 + draw(d, SITE_SIZE, 5, HOSTS_MAX - 1) : 1;
    w->waiters = draw(d, SITE_SIZE, 7, 8) == 7 ? 3 : WARDEN_WAITERS;
    w->room = draw(d, SITE_SIZE, 8, 16) == 15 ? 12 : ROWS_MAX;
    w->tight = draw(d, SITE_SIZE, 9, 2) == 1;
    w->limits.steps = 200 + draw(d, SITE_SIZE, 6, large ? 3000 : 400);
    w->limits.until = 60 * w->span_ms;
    for (unsigned i = 0; i < w->n_providers; i++)
        draw_provider(w, i, w->span_ms);
    for (unsigned f = 0; f < FAULT_COUNT; f++) {
        bool known = draw(d, SITE_MIX, f, 8) >= 8u - mix[f].runs;
        uint32_t rate = mix[f].most >> draw(d, SITE_MIX, f, 4);
        w->rate[f] = known ? rate ? rate : 1 : 0;
    }
    if (draw(d, SITE_MIX, PART_CROWDED, 16) == 15)
        crowd(w);
}

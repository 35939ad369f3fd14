/*
 * The invariants of internal.h, as code. Each corrects the other.
 */
#include "core/internal.h"

static void check_lineage(const struct lineage *l)
{
    bool intent_open = l->state == LS_INTENDING || l->state == LS_SPENDING ||
                       l->state == LS_SETTLING || l->state == LS_CLOSING;
    CHECK(l->id != 0);
    CHECK(intent_open == (l->intent != 0));
    CHECK(!l->replay || in_flight(l));
    CHECK(!is_static(l) || !in_flight(l));

    bool doubting = l->state == LS_DOUBT || l->state == LS_PROBING;
    CHECK(!doubting || (l->standing == STANDING_DOUBT && !l->replayed));
    CHECK(!doubting || (l->alarms & (1u << ALARM_DOUBT)));
    CHECK(l->state != LS_DEAD || (l->alarms & (1u << ALARM_DEAD)));
    CHECK(l->state != LS_LIVE || !(l->alarms & (1u << ALARM_DEAD | 1u << ALARM_DOUBT)));

    CHECK(l->state != LS_LIVE || !l->unproven);
    CHECK((l->state != LS_UNPROVEN && l->state != LS_ASKING && l->state != LS_ADOPTING) ||
          l->unproven);
    CHECK(!l->unproven || fp_is_none(l->subject));
    CHECK(l->n_waiters <= WAITERS_PER_LINEAGE_MAX);
    CHECK(l->add_waiter == 0 || l->unproven);
    CHECK(l->generation > 0);
}

void warden_check(const struct warden *w)
{
    uint32_t counted = 0;
    CHECK(w->n_waiters <= w->limits.waiters);
    for (uint32_t i = 0; i < w->limits.lineages; i++) {
        const struct lineage *l = &w->lineages[i];
        if (l->state == LS_FREE) {
            CHECK(l->n_waiters == 0);
            continue;
        }
        check_lineage(l);
        counted += l->n_waiters;
    }
    CHECK(counted == w->n_waiters);
    for (uint32_t i = 0; i < w->n_waiters; i++) {
        CHECK(w->waiters[i].id != 0);
        CHECK(w->waiters[i].slot < w->limits.lineages);
        CHECK(w->lineages[w->waiters[i].slot].state != LS_FREE);
    }
}

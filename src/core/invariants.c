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
    CHECK(l->state != LS_SEARCHING || (l->standing == STANDING_DEAD && l->refused));
    CHECK(l->state != LS_SEARCHING || (l->alarms & (1u << ALARM_DOUBT)));
    CHECK(l->state != LS_DEAD || (l->alarms & (1u << ALARM_DEAD)));
    CHECK(l->state != LS_LIVE || !(l->alarms & (1u << ALARM_DEAD | 1u << ALARM_DOUBT)));

    CHECK(l->state != LS_LIVE || !l->unproven);
    CHECK((l->state != LS_UNPROVEN && l->state != LS_ASKING && l->state != LS_ADOPTING) ||
          l->unproven);
    CHECK(!l->unproven || fp_is_none(l->subject));
    CHECK(l->n_waiters <= WAITERS_PER_LINEAGE_MAX);
    CHECK(l->n_consumers <= 2 * CONSUMERS_PER_LINEAGE_MAX); /* its own, and those that followed */
    CHECK(l->add_waiter == 0 || l->unproven);
    CHECK(l->generation > 0);
}

static void check_consumers(const struct warden *w)
{
    uint32_t counted = 0, bound = 0;
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        const struct consumer *c = &w->consumers[i];
        if (c->id == 0)
            continue;
        CHECK(c->slot < w->n_slots && w->lineages[c->slot].state != LS_FREE);
        bool gives = c->doing == DOING_PUBLISH && !fp_is_none(c->written.refresh);
        CHECK(!gives || c->with_pair);
        CHECK(c->doing != DOING_WITHHOLD || fp_is_none(c->written.refresh));
        for (uint32_t j = 0; gives && j < i; j++) {
            const struct consumer *other = &w->consumers[j];
            CHECK(other->id == 0 || other->doing != DOING_PUBLISH ||
                  !fp_equal(other->written.refresh, c->written.refresh));
        }
        counted++;
    }
    for (uint32_t i = 0; i < w->n_slots; i++)
        bound += w->lineages[i].n_consumers;
    CHECK(counted == bound);
}

static void check_captures(const struct warden *w)
{
    uint32_t held = 0, holding = 0, claiming = 0;
    for (uint32_t i = 0; i < w->limits.captures; i++) {
        const struct capture *cap = &w->captures[i];
        if (cap->id == 0)
            continue;
        CHECK(cap->slot == NO_SLOT || w->lineages[cap->slot].state != LS_FREE);
        CHECK(cap->target == NO_SLOT || w->lineages[cap->target].state != LS_FREE);
        CHECK(!cap->claiming || cap->stage == STAGE_STORING);
        claiming += cap->claiming;
        held += cap->slot != NO_SLOT || cap->target != NO_SLOT;
    }
    for (uint32_t i = 0; i < w->n_slots; i++)
        holding += w->lineages[i].n_captures;
    CHECK(held == holding);
    CHECK(claiming == w->n_claims);
}

void warden_check(const struct warden *w)
{
    uint32_t counted = 0;
    CHECK(w->n_waiters <= w->limits.waiters);
    for (uint32_t i = 0; i < w->n_slots; i++) {
        const struct lineage *l = &w->lineages[i];
        if (l->state == LS_FREE) {
            CHECK(l->n_waiters == 0);
            continue;
        }
        check_lineage(l);
        counted += l->n_waiters;
    }
    CHECK(counted == w->n_waiters);
    if (w->limits.consumers > 0)
        check_consumers(w);
    if (w->limits.captures > 0)
        check_captures(w);
    for (uint32_t i = 0; i < w->n_waiters; i++) {
        CHECK(w->waiters[i].id != 0);
        CHECK(w->waiters[i].slot < w->n_slots);
        CHECK(w->lineages[w->waiters[i].slot].state != LS_FREE);
    }
}

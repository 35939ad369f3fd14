/*
 * Leases, and what the wardens of a fleet hear of each other. A lone warden has its lease at once:
 * whoever holds the lock on the state folder is the only one. In a fleet the lease is granted by
 * the shared store, which keeps its promises (quorum), with a fence that only grows.
 */
#include <string.h>

#include "sim/capture.h"
#include "sim/oracles.h"
#include "sim/story.h"
#include "sim/told.h"

#define TELL_MAX_MS  (2 * SECOND_MS)
#define LEASE_MAX_MS (SECOND_MS / 2)
#define SLOW_MAX_MS  (20 * SECOND_MS)

static bool is_taken(const struct world *w, const struct host *h, int row)
{
    return w->leases[row].holder != NOBODY && w->leases[row].holder != (int16_t)h->index &&
           w->leases[row].until > w->now;
}

void fleet_lease(struct world *w, struct host *h, const struct effect *fx)
{
    int row = row_of(fx->lineage);
    unsigned part = (unsigned)row;
    bool slow = w->fleet && fault(w, FAULT_STORE_SLOW, SITE_FLEET, part);
    int64_t most_ms = slow ? SLOW_MAX_MS : w->fleet ? LEASE_MAX_MS : 0;
    struct op *op = op_new(w, HAP_TELL, h, 1 + a_while(w, SITE_FLEET, part, most_ms));
    op->fx.kind = FX_LEASE;
    op->row = (int16_t)row;
    op->flag = w->fleet && fault(w, FAULT_LEASE_LOST, SITE_FLEET, part);
}

/* HAP_TELL: the lease is decided when the answer is on its way. */
void fleet_leased(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    struct event ev = event_of(EV_LEASED, lineage_id(op->row));
    if (!op->flag && !is_taken(w, h, op->row)) {
        if (w->leases[op->row].fence < w->store.rows[op->row].fence)
            w->leases[op->row].fence = w->store.rows[op->row].fence;
        ev.lease.fence = ++w->leases[op->row].fence;
        w->leases[op->row].holder = (int16_t)h->index;
        w->leases[op->row].until = w->now + LEASE_MS;
        ev.lease.until_boot_ms = host_now(w, h).boot_ms + LEASE_MS;
    }
    host_tell(w, h, &ev);
}

void fleet_unlease(struct world *w, struct host *h, const struct effect *fx)
{
    int row = row_of(fx->lineage);
    if (w->leases[row].holder == (int16_t)h->index)
        w->leases[row].holder = NOBODY;
}

/* The others hear of a change, later. */
void fleet_tell_others(struct world *w, const struct host *h, int row)
{
    for (unsigned i = 0; w->fleet && i < w->n_hosts; i++) {
        struct host *other = &w->hosts[i];
        if (other == h || !other->up)
            continue;
        int64_t most_ms = fault(w, FAULT_TOLD_LATE, SITE_FLEET, i) ? w->span_ms : TELL_MAX_MS;
        struct op *op = op_new(w, HAP_TOLD, other, 1 + a_while(w, SITE_FLEET, i, most_ms));
        op->row = (int16_t)row;
    }
}

/* Apart from the row, which the warden need not follow. */
void fleet_tell_policy(struct world *w, struct host *h, int row, enum policy before)
{
    if (h->up && w->store.rows[row].policy != before)
        callers_tell_policy(w, h, row);
}

void fleet_told(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    const struct row *row = &w->store.rows[op->row];
    bool here = h->told[op->row].here;
    enum policy policy = h->told[op->row].policy; /* no reason to follow the row, perhaps */
    if (!here && (row->standing == STANDING_RETIRED || row->wanted != 0 || !host_has_room(h)))
        return;
    struct event ev = event_of(here ? EV_OVERTAKEN : EV_LOADED, lineage_id(op->row));
    ev.loaded = loaded_of(w, h, op->row, false);
    bool elsewhere = ev.loaded.intent_elsewhere;
    host_tell(w, h, &ev);
    if (here)
        fleet_tell_policy(w, h, op->row, policy);
    places_follow(w, h);
    if (h->up && elsewhere)
        fleet_watch_intent(w, h, op->row);
}

/* An intent of another warden: doubt, once it can no longer be under way. */
void fleet_watch_intent(struct world *w, struct host *h, int row)
{
    int64_t deadline_ms = w->providers[w->store.rows[row].provider].deadline_ms;
    int64_t over = w->leases[row].until + deadline_ms;
    struct op *op = op_new(w, HAP_CUT_OFF, h, over > w->now ? over - w->now + 1 : 1);
    op->row = (int16_t)row;
    op->id = w->store.rows[row].intent;
}

static bool awaits_an_answer(const struct world *w, const struct host *h, int row)
{
    struct view v;
    return warden_view(h->warden, lineage_id(row), host_now(w, h), &v) &&
           strcmp(v.state, "spending") == 0;
}

void fleet_cut_off(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    const struct row *row = &w->store.rows[op->row];
    if (row->intent == 0 || row->intent != op->id || !awaits_an_answer(w, h, op->row))
        return;
    struct event ev = event_of(EV_ANSWER, lineage_id(op->row));
    ev.intent = row->intent;
    ev.answer.verdict = VERDICT_DOUBT;
    host_tell(w, h, &ev);
}

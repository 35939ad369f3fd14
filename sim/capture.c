/*
 * What the store makes of a pair that was found in a place: sealed under an id; then adopted by a
 * lineage, set aside as one of its own, claimed, or dropped.
 */
#include "sim/capture.h"

#include <string.h>

#include "sim/told.h"

struct capture *sealed_find(struct world *w, uint64_t id)
{
    for (unsigned i = 0; id != 0 && i < CAPTURES_MAX; i++) {
        if (w->store.captures[i].id == id)
            return &w->store.captures[i];
    }
    return NULL;
}

static uint8_t known_of(const struct world *w, struct fp fp)
{
    int index = issued_index(w, fp);
    return index == NOBODY ? 0 : w->store.known[index];
}

bool is_over(const struct world *w, struct fp refresh)
{
    return known_of(w, refresh) & (KNOWN_SPENT | KNOWN_REFUSED);
}

/* A pair of a lineage, now or once: its bytes are here. */
bool is_known_pair(const struct world *w, const struct pair *pair)
{
    return (known_of(w, pair->access) & KNOWN_OURS) &&
           (fp_is_none(pair->refresh) || (known_of(w, pair->refresh) & KNOWN_OURS));
}

/* … or renewed by somebody, with a refresh token that we have or had. */
bool is_known_grant(const struct world *w, const struct pair *pair)
{
    return is_known_pair(w, pair) || (known_of(w, pair->refresh) & KNOWN_OURS);
}

bool is_former_pair(const struct world *w, const struct pair *pair)
{
    return (known_of(w, pair->access) & KNOWN_FORMER) ||
           (!fp_is_none(pair->refresh) &&
            (known_of(w, pair->refresh) & (KNOWN_FORMER | KNOWN_SPENT)));
}

int row_of_grant(const struct world *w, struct fp refresh)
{
    for (uint32_t i = 0; !fp_is_none(refresh) && i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        if (row->standing != STANDING_RETIRED && fp_equal(row->pair.refresh, refresh))
            return (int)i;
    }
    return NOBODY;
}

struct capture *seal_capture(struct world *w, const struct op *op)
{
    struct capture *free_one = NULL;
    for (unsigned i = 0; i < CAPTURES_MAX; i++) {
        struct capture *c = &w->store.captures[i];
        if (c->id != 0 && !c->is_dropped && pair_equal(&c->pair, &op->pair) &&
            w->places[c->place].host == w->places[op->index].host) /* each machine seals its own */
            return c;
        if (c->id == 0)
            free_one = c;
    }
    if (free_one)
        *free_one = (struct capture){
            .id = ++w->next_id,
            .place = op->index,
            .row = NOBODY,
            .pair = op->pair,
            .sealed_at = w->now,
            .named = IDENTITY_UNANSWERED,
        };
    w->is_full |= !free_one;
    return free_one;
}

/* The ledger refuses to go on with a token that is known to be over, or that is another lineage's:
 * one grant is one lineage. */
static bool is_refused(const struct world *w, const struct capture *c, const struct row *own)
{
    for (uint32_t i = 0; c && i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        if (row != own && row->standing != STANDING_RETIRED && !fp_is_none(c->pair.refresh) &&
            fp_equal(row->pair.refresh, c->pair.refresh))
            return true;
    }
    bool is_same = own && c && fp_equal(own->pair.refresh, c->pair.refresh);
    bool in_doubt = c && !is_same && (known_of(w, c->pair.refresh) & KNOWN_DOUBT);
    return c && (in_doubt || is_over(w, c->pair.refresh));
}

enum event_kind apply_adopt_capture(struct world *w, struct host *h, const struct effect *fx)
{
    struct row *row = &w->store.rows[row_of(fx->lineage)];
    struct capture *c = sealed_find(w, fx->capture);
    if (is_refused(w, c, row))
        return EV_OVERTAKEN;
    if (!c || row->standing == STANDING_RETIRED || row->intent != 0 ||
        row->generation + 1 != fx->generation)
        return w->fleet ? EV_OVERTAKEN : EV_STORE_FAILED;
    store_replace_pair(w, row, &c->pair, false);
    row->expires_boot_ms = 0;
    row->boot = h->boot;
    row->expiry_host = h->index;
    row->lost_intent = 0;
    store_hold(w, row); /* by whoever obtained it */
    store_set_standing(row, STANDING_LIVE, false, 0);
    row->given_away |= !w->places[c->place].is_bound; /* where it stands */
    c->id = 0;
    return EV_ADOPTED;
}

static struct row *row_from(struct world *w, const struct host *h, struct capture *c)
{
    int from = place_row(w, &w->places[c->place]), index = row_new(w);
    if (index == NOBODY)
        return NULL;
    struct row *row = &w->store.rows[index];
    int family = w->issued[issued_index(w, c->pair.access)].family;
    row->provider = w->families[family].provider;
    row->policy = from == NOBODY ? POLICY_NEVER : w->store.rows[from].policy;
    row->pair = c->pair;
    row->generation = 1;
    row->host = h->index;
    row->given_away = !w->places[c->place].is_bound; /* where it stands */
    row->pair_at = w->now;
    store_know(w, &row->pair, true);
    c->id = 0;
    return row;
}

enum event_kind apply_quarantine(struct world *w, struct host *h, const struct effect *fx)
{
    struct capture *c = sealed_find(w, fx->capture);
    if (!host_has_room(h)) {
        w->is_full = true;
        return EV_STORE_FAILED;
    }
    if (c && row_of_grant(w, c->pair.refresh) != NOBODY) {
        c->id = 0; /* of another warden, meanwhile: one grant is one lineage */
        return EV_QUARANTINED;
    }
    struct row *row = c ? row_from(w, h, c) : NULL;
    if (!row)
        return EV_STORE_FAILED;
    row->standing = STANDING_QUARANTINED;
    row->subject = fx->subject;
    return EV_QUARANTINED;
}

bool is_name_taken(const struct world *w, const struct effect *claim)
{
    int profile = store_profile_of(w, row_of(claim->lineage));
    return profile != NOBODY && is_being_added(w, (unsigned)profile);
}

enum event_kind apply_claim(struct world *w, struct host *h, const struct effect *fx)
{
    struct capture *c = sealed_find(w, fx->capture);
    int profile = store_profile_of(w, row_of(fx->lineage));
    if (is_refused(w, c, NULL))
        return EV_OVERTAKEN;
    if (!c || profile == NOBODY || is_being_added(w, (unsigned)profile))
        return EV_STORE_FAILED;
    struct row *row = row_from(w, h, c);
    if (!row)
        return EV_STORE_FAILED;
    row->standing = STANDING_UNPROVEN;
    row->policy = w->store.rows[row_of(fx->lineage)].policy;
    row->wanted = (uint8_t)(profile + 1);
    row->claimed = true;
    return EV_ADDED;
}

/* The event of a claim: about the lineage that this very write has made. */
void say_claimed(const struct world *w, const struct effect *fx, struct event *ret)
{
    int index = (int)w->store.n_rows - 1;
    const struct row *row = &w->store.rows[index];
    ret->lineage = lineage_id(index);
    ret->added.rules = rules_of(&w->providers[row->provider]);
    ret->added.policy = row->policy;
    ret->added.pair = row->pair;
    ret->added.continues = fx->lineage;
    ret->added.deadline_boot_ms = TIME_NEVER;
}

enum event_kind apply_drop(struct world *w, struct host *h, const struct effect *fx)
{
    struct capture *c = sealed_find(w, fx->capture);
    if (c)
        c->id = 0;
    spool_remove(w, h, fx->intent);
    return EV_COUNT;
}

/*
 * Places: read and written under the client's locks. A replica is written only if what is expected
 * is there; whatever else is found there is sealed before anybody hears of it. What clients write
 * is on disk half a minute later, or torn when the power goes before; what we write, before anybody
 * hears of it.
 */
#include "sim/capture.h"
#include "sim/coverage.h"
#include "sim/oracles.h"
#include "sim/story.h"
#include "sim/told.h"

#include <string.h>

#define TOUCH_MAX_MS  120
#define SLOW_MAX_MS   (3 * SECOND_MS)
#define LOCK_WAIT_MS  (2 * SECOND_MS)
#define NOTICE_MAX_MS 400
#define SYNC_MAX_MS   80

/* Of SITE_LOST and SITE_PLACE, from there on; of SITE_PLACE: beside others'. */
enum { PART_PLACES = 32, PART_FILL = 63 };
_Static_assert((int)PART_PLACES + (int)PLACES_MAX <= (int)PART_FILL,
               "each place has a part of its own");

struct place *place_find(struct world *w, uint64_t id)
{
    return id > 0 && id <= w->n_places ? &w->places[id - 1] : NULL;
}

int place_row(const struct world *w, const struct place *p)
{
    return w->store.profiles[p->profile];
}

int64_t look_round_ms(const struct world *w)
{
    return w->span_ms / 8;
}

/* ---- binding ---- */

bool place_is_replica_of(const struct world *w, const struct host *h, int row)
{
    for (unsigned i = 0; i < w->n_places; i++) {
        const struct place *p = &w->places[i];
        if (p->host == h->index && p->is_bound && p->replica && place_row(w, p) == row)
            return true;
    }
    return false;
}

void place_bind(struct world *w, struct host *h, struct place *p)
{
    int row = place_row(w, p);
    if (row == NOBODY || !h->told[row].here)
        return;
    struct event ev = event_of(EV_BOUND, lineage_id(row));
    ev.consumer = p->id;
    ev.bound.replica = p->replica;
    ev.bound.with_pair = p->with_pair;
    ev.bound.wish = p->wish;
    bool was_known = p->is_known;
    p->is_bound = p->is_known = true;
    p->row = (int16_t)row;
    if (!was_known) { /* else what was heard of it still is */
        p->told_what = SEEN_COUNT;
        p->told_failed = 0;
    }
    host_tell(w, h, &ev);
}

/* What was ordered for it is void: not carried out any more, or nobody hears what came of it but
 * by the watch. */
static void void_orders(struct world *w, const struct place *p)
{
    struct op *op;
    for (uint32_t at = 0; (op = op_each(w, &at));) {
        bool is_about = (op->what == HAP_PLACE || op->what == HAP_SEEN || op->what == HAP_PUT) &&
                        &w->places[op->index] == p;
        if (!is_about)
            continue;
        op->late = false;
        op->flag |= op->what == HAP_PUT;
        if (op->what != HAP_PLACE)
            continue;
        op_drop(w, op);
        at = 0;
    }
}

static void let_go(struct world *w, struct host *h, struct place *p)
{
    struct event ev = event_of(EV_UNBOUND, 0);
    void_orders(w, p);
    ev.consumer = p->id;
    host_tell(w, h, &ev);
    p->is_known = false;
}

/* As the daemon stores it with the end of the binding: what it has heard of the place. */
static bool may_hold_token(struct world *w, const struct place *p)
{
    struct fp refresh = w->store.rows[p->row].pair.refresh;
    struct op *op;
    for (uint32_t at = 0; (op = op_each(w, &at));) { /* an order that may be carried out already */
        if (op->what == HAP_PLACE && &w->places[op->index] == p && op->fx.kind == FX_PUBLISH &&
            !fp_is_none(refresh) && fp_equal(op->fx.pair.refresh, refresh))
            return true;
    }
    return !fp_is_none(refresh) && p->replica &&
           (p->told_what == SEEN_COUNT || p->told_what == SEEN_TORN || p->told_failed > 0 ||
            fp_equal(p->told.refresh, refresh) || (p->by_us && fp_equal(p->pair.refresh, refresh)));
}

static void give_away(struct world *w, const struct place *p)
{
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        struct row *row = &w->store.rows[i];
        row->given_away |=
            !fp_is_none(row->pair.refresh) && fp_equal(p->told.refresh, row->pair.refresh);
    }
}

/* As the daemon notes it: what its user ordered is done. */
static void note_wish(const struct host *h, struct place *p)
{
    struct place_view v;
    if (h->up && p->is_known && warden_view_place(h->warden, p->id, &v))
        p->wish = v.wish;
}

void place_switch(struct world *w, struct host *h, struct place *p, unsigned profile)
{
    void_orders(w, p);
    p->told_failed += p->before_what != SEEN_COUNT; /* a write that nobody hears of any more */
    p->profile = (uint8_t)profile;
    p->wish = WISH_REPLACE;
    p->wished_at = w->now;
    say(w, h, "C%u is to be profile %u's", (unsigned)p->id, profile);
    place_bind(w, h, p);
}

/* As the daemon does, who asks its warden: of a place that it has not looked at since it was bound
 * it knows no better. */
static void note_given_away(struct world *w, const struct host *h, const struct place *p)
{
    w->store.rows[p->row].given_away |= may_hold_token(w, p);
    for (uint32_t i = 0; i < w->store.n_rows; i++)
        w->store.rows[i].given_away |=
            h->up && h->told[i].here && warden_gives_away(h->warden, p->id, lineage_id((int)i));
}

void place_unbind(struct world *w, struct host *h, struct place *p)
{
    p->is_bound = false;
    p->wish = WISH_NONE;
    note_given_away(w, h, p);
    give_away(w, p);
    let_go(w, h, p);
}

/* This warden has adopted `to` in place of `from`: it knows. */
void places_moved(struct world *w, const struct host *h, int from, int to)
{
    for (unsigned i = 0; from != NOBODY && i < w->n_places; i++) {
        struct place *p = &w->places[i];
        if (p->host == h->index && p->is_known && p->row == from)
            p->row = (int16_t)to;
    }
    for (unsigned i = 0; from != NOBODY && i < CAPTURES_MAX; i++) {
        struct capture *c = &w->store.captures[i];
        if (c->id != 0 && w->places[c->place].host == h->index && c->row == from)
            c->row = (int16_t)to;
    }
}

/* Consumers are of a profile: they follow it to a new login, also to one that another warden has
 * put there. */
void places_follow(struct world *w, struct host *h)
{
    for (unsigned i = 0; i < w->n_places && h->up; i++) {
        struct place *p = &w->places[i];
        int row = place_row(w, p);
        if (p->host != h->index)
            continue;
        if (p->is_known && !h->told[p->row].here) { /* its lineage was ended, and that is heard */
            void_orders(w, p);
            give_away(w, p);
            p->is_known = false;
        } else if (p->is_known && row != NOBODY && p->row != row && h->told[row].here) {
            let_go(w, h, p);
        }
        if (h->up && p->is_bound && !p->is_known)
            place_bind(w, h, p);
    }
}

/* A daemon that starts knows no place before it has its lineages: one of them may have been
 * followed by another meanwhile. */
void places_forget(struct world *w, const struct host *h)
{
    for (unsigned i = 0; i < w->n_places; i++) {
        struct place *p = &w->places[i];
        p->is_known &= p->host != h->index;
        p->by_us &= p->is_bound || p->host != h->index; /* what was given away is forgotten */
    }
}

void places_load(struct world *w, struct host *h)
{
    uint32_t life = h->life;
    places_follow(w, h);
    for (unsigned i = 0; i < CAPTURES_MAX && h->up && h->life == life; i++) {
        struct capture *c = &w->store.captures[i];
        if (c->id == 0 || w->places[c->place].host != h->index)
            continue;
        c->told = true;
        c->is_dropped = c->is_unasked = false;
        c->requests = (struct requests){0}; /* of a daemon: one that has died asks no more */
        c->row = w->places[c->place].is_known ? w->places[c->place].row : NOBODY;
        c->named = IDENTITY_UNANSWERED;
        struct event ev = event_of(EV_OBSERVED, 0);
        ev.consumer = w->places[c->place].id;
        ev.capture = c->id;
        ev.observed.what = SEEN_PAIR;
        ev.observed.pair = c->pair;
        ev.observed.spent = is_former_pair(w, &c->pair);
        ev.observed.from_store = true;
        host_tell(w, h, &ev);
    }
}

/* ---- reading and writing ---- */

void place_order(struct world *w, struct host *h, const struct effect *fx)
{
    struct place *p = place_find(w, fx->consumer);
    CHECK(p);
    if (fx->kind == FX_PUBLISH) {
        p->before_what = fx->expected_what;
        p->before = fx->expected;
    }
    int64_t most_ms = fault(w, FAULT_LOCKED, SITE_PLACE, p->id & 31) ? SLOW_MAX_MS : TOUCH_MAX_MS;
    struct op *op = op_new(w, HAP_PLACE, h, 1 + a_while(w, SITE_PLACE, p->id & 31, most_ms));
    op->fx = *fx;
    op->index = (uint8_t)(p->id - 1);
}

static void tell_failed(struct world *w, struct host *h, struct place *p)
{
    struct event ev = event_of(EV_CONSUMER_FAILED, 0);
    p->told_failed++;
    ev.consumer = p->id;
    host_tell(w, h, &ev);
}

static struct pair pair_there(const struct place *p)
{
    return p->what == SEEN_PAIR ? p->pair : (struct pair){0};
}

static void begin_touch(const struct host *h, struct place *p)
{
    if (p->touches_life != h->life) {
        p->touches = 0;
        p->look_again = false;
    }
    p->touches++;
    p->touches_life = h->life;
}

static void end_touch(struct world *w, const struct host *h, struct place *p)
{
    p->touches--;
    if (p->look_again)
        op_new(w, HAP_WATCH, h, 1)->index = (uint8_t)(p->id - 1);
    p->look_again = false;
}

static bool is_busy(const struct host *h, const struct place *p)
{
    return p->touches_life == h->life && p->touches > 0;
}

/* What was seen reaches the daemon; unless its bytes are here already, when they are durable. */
static void see(struct world *w, struct host *h, struct place *p, bool asked)
{
    bool seals = p->what == SEEN_PAIR && !is_known_pair(w, &p->pair);
    struct op *op = seals ? store_op(w, h, HAP_SEEN) : op_new(w, HAP_SEEN, h, 1);
    begin_touch(h, p);
    op->index = (uint8_t)(p->id - 1);
    op->seen = p->what;
    op->pair = pair_there(p);
    op->flag = seals;
    op->late = asked;
}

/* Somebody has, or had by itself, the current pair: noted as the daemon does (store_set_held). */
static void note_held(struct world *w, const struct place *p, const struct pair *pair)
{
    int index = place_row(w, p);
    struct row *row = index == NOBODY ? NULL : &w->store.rows[index];
    if (row && fp_equal(row->pair.access, pair->access))
        store_hold(w, row);
}

/* Found again since the place is another profile's, it still is the first one's to ask about. */
static void found(const struct world *w, const struct host *h, const struct place *p,
                  struct capture *c)
{
    bool is_here = &w->places[c->place] == p && (c->row == NOBODY || !p->is_known);
    if (is_here || (p->is_known && is_homeless(h, c)))
        c->row = p->is_known ? p->row : NOBODY;
    if (!c->told) /* its warden has not heard of it, or has forgotten it */
        c->named = IDENTITY_UNANSWERED;
    c->told = true;
    c->is_unasked = false;
    c->is_nobodys = !p->is_known;
}

void place_seen(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    struct place *p = &w->places[op->index];
    end_touch(w, h, p);
    struct capture *c = NULL;
    if (op->flag) {
        c = store_fails(w, h, false) ? NULL : seal_capture(w, op);
        if (!c) {
            if (op->late)
                tell_failed(w, h, p);
            else
                op_new(w, HAP_WATCH, h, LOCK_WAIT_MS)->index = op->index;
            return;
        }
        found(w, h, p, c);
        w->is_full |= !host_has_room(h); /* to claim it, or set it aside */
    }
    struct event ev = event_of(EV_OBSERVED, 0);
    ev.consumer = p->id;
    ev.capture = c ? c->id : 0;
    ev.observed.what = op->seen;
    ev.observed.pair = op->pair;
    ev.observed.spent = op->seen == SEEN_PAIR && is_former_pair(w, &op->pair);
    ev.observed.asked = op->late;
    if (op->started_at >= p->told_at) { /* not: seen before what was heard since */
        if (op->seen == SEEN_BLANK && p->told_what == SEEN_PAIR)
            p->blanked = p->told.access; /* with which its client was refused, for all one knows */
        p->told_what = op->seen;
        p->told_failed = 0;
        p->told = op->pair;
        p->told_at = op->started_at;
    }
    if (op->late)
        p->before_what = SEEN_COUNT;
    if (op->seen == SEEN_PAIR)
        note_held(w, p, &op->pair);
    host_tell(w, h, &ev);
    note_wish(h, p);
    oracle_filled(w, h, op, p);
}

static bool is_expected(const struct place *p, const struct effect *fx)
{
    struct pair there = pair_there(p);
    return !p->replica || (p->what == fx->expected_what && pair_equal(&there, &fx->expected));
}

/* What is there is about to change. */
static void keep_synced(const struct world *w, struct place *p)
{
    if (w->now < p->synced_at)
        return; /* nor is what stands there now */
    p->synced.what = p->what;
    p->synced.pair = p->pair;
    p->synced.by_us = p->by_us;
    p->may_tear = false;
}

static void put(struct world *w, struct host *h, struct place *p, const struct op *order)
{
    const struct effect *fx = &order->fx;
    oracle_published(w, h, order, p);
    keep_synced(w, p);
    p->what = SEEN_PAIR;
    p->pair = fx->pair;
    p->by_us = true;
    /* Synced before the lock is given back, and anybody hears of it. */
    unsigned part = PART_PLACES + (unsigned)(p->id - 1);
    int64_t takes_ms = 1 + a_while(w, SITE_PLACE, part, SYNC_MAX_MS);
    if (fault(w, FAULT_POWER, SITE_PLACE, part))
        (void)op_new(w, HAP_POWER, h, draw(&w->draws, SITE_PLACE, part, (uint32_t)takes_ms));
    p->synced_at = w->now + takes_ms;
    p->lock_holder = OURSELVES;
    p->lock_stale_at = w->now + LOCK_STALE_MS;
    struct op *op = op_new(w, HAP_PUT, h, takes_ms);
    begin_touch(h, p);
    op->index = (uint8_t)(p->id - 1);
    op->fx = *fx;
    op->pair = fx->pair;
    op->lost = fault(w, FAULT_UNREADABLE, SITE_PLACE, p->id & 31); /* after all */
}

void place_put(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    struct place *p = &w->places[op->index];
    end_touch(w, h, p);
    if (p->lock_holder == OURSELVES)
        p->lock_holder = NOBODY;
    if (op->flag) {
        op_new(w, HAP_WATCH, h, 1)->index = op->index;
        return;
    }
    if (op->lost) {
        tell_failed(w, h, p);
        return;
    }
    struct event ev = event_of(EV_PUBLISHED, 0);
    ev.consumer = p->id;
    ev.published = op->pair;
    note_held(w, p, &op->pair);
    p->told_what = SEEN_PAIR;
    p->told_failed = 0;
    p->told = op->pair;
    p->told_at = op->started_at;
    p->before_what = SEEN_COUNT;
    host_tell(w, h, &ev);
    note_wish(h, p);
    oracle_wish(w, h, op, p);
}

bool place_is_locked(const struct world *w, const struct place *p)
{
    return p->replica && p->lock_holder != NOBODY && w->now < p->lock_stale_at;
}

void place_act(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    struct place *p = &w->places[op->index];
    bool busy = is_busy(h, p);
    bool locked = place_is_locked(w, p);
    if (busy || (locked && w->now - op->started_at < LOCK_WAIT_MS)) {
        struct op *again = op_new(w, HAP_PLACE, h, busy ? 1 : LOCK_WAIT_MS / 8);
        again->fx = op->fx;
        again->index = op->index;
        again->started_at = op->started_at;
        return;
    }
    p->looked_at = w->now;
    if (locked || fault(w, FAULT_UNREADABLE, SITE_PLACE, p->id & 31))
        tell_failed(w, h, p);
    else if (op->fx.kind == FX_PUBLISH && is_expected(p, &op->fx))
        put(w, h, p, op);
    else
        see(w, h, p, true);
}

/* ---- what others do there ---- */

void place_write(struct world *w, struct place *p, enum seen what, const struct pair *pair)
{
    struct host *h = &w->hosts[p->host];
    keep_synced(w, p);
    p->synced_at = w->now + UNSYNCED_MS;
    p->may_tear = true;
    p->written_at = w->now;
    p->what = what;
    p->pair = what == SEEN_PAIR ? *pair : (struct pair){0};
    p->by_us = false;
    /* A watch is a hint: what it missed a look round finds later. */
    int64_t delay_ms = fault(w, FAULT_WATCH_LOST, SITE_PLACE, p->id & 31)
                           ? 1 + look_round_ms(w)
                           : 1 + a_while(w, SITE_PLACE, p->id & 31, NOTICE_MAX_MS);
    struct op *op = op_new(w, HAP_WATCH, h, delay_ms);
    op->index = (uint8_t)(p->id - 1);
}

/* A rename that was not synced is done, or not; what a client wrote may also be there in part. */
void places_lose_power(struct world *w, const struct host *h)
{
    for (unsigned i = 0; i < w->n_places; i++) {
        struct place *p = &w->places[i];
        if (p->host != h->index || w->now >= p->synced_at)
            continue;
        bool ours = !p->may_tear;
        uint32_t fate = draw(&w->draws, SITE_LOST, PART_PLACES + i, ours ? 2 : 3);
        p->synced_at = w->now;
        if (fate == 0)
            continue;
        bool torn = fate == 2;
        p->written_at = w->now;
        p->what = torn ? SEEN_TORN : p->synced.what;
        p->pair = torn ? (struct pair){0} : p->synced.pair;
        p->by_us = !torn && p->synced.by_us;
        say(w, h, "C%u: the last write is %s", (unsigned)p->id, torn ? "torn" : "lost");
        coverage_scene(w, torn   ? SCENE_PLACE_TORN
                          : ours ? SCENE_PUBLISHED_LOST
                                 : SCENE_SIBLING_WRITE_LOST);
    }
}

void place_watch(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    struct place *p = &w->places[op->index];
    if (is_busy(h, p))
        p->look_again = true;
    else if (p->is_known)
        see(w, h, p, false);
}

void places_begin(struct world *w)
{
    struct draws *d = &w->draws;
    if (draw(d, SITE_PLACE, 0, 8) < 3) /* many runs know no consumers */
        return;
    w->n_places =
        1 + draw(d, SITE_PLACE, 1, w->n_profiles + 2 < PLACES_MAX ? w->n_profiles + 2 : PLACES_MAX);
    for (unsigned i = 0; i < w->n_places; i++) {
        struct place *p = &w->places[i];
        *p = (struct place){
            .id = i + 1,
            .host = (uint8_t)draw(d, SITE_PLACE, 2, w->n_hosts),
            .profile = (uint8_t)draw(d, SITE_PLACE, 3, w->n_profiles),
            .is_bound = true,
            .lock_holder = NOBODY,
            .replica = draw(d, SITE_PLACE, 4, 4) != 3,
            .with_pair = draw(d, SITE_PLACE, 5, 3) != 2,
            .what = SEEN_GONE,
        };
        /* Of a fleet one machine only has the clients that get refresh tokens. */
        if (w->fleet && p->host != 0)
            p->with_pair = false;
        if (!p->replica || draw(d, SITE_PLACE, 6, 4) == 3) {
            if (p->replica && draw(d, SITE_PLACE, PART_FILL, 2) == 1)
                p->wish = WISH_FILL; /* it was bound to be signed in */
            continue;
        }
        p->what = SEEN_PAIR;
        p->pair = w->store.rows[place_row(w, p)].pair;
        if (!p->with_pair)
            p->pair.refresh = (struct fp){{0}};
    }
}

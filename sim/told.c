/*
 * What the warden of a host has been told: kept apart from what is true and from what is durable.
 */
#include "sim/told.h"

#include "sim/capture.h"
#include "sim/oracles.h"

#define DATE_TOLERANCE_MS 1500 /* it has whole seconds */

struct rules rules_of(const struct provider *p)
{
    return (struct rules){
        .skew_ms = p->skew_ms,
        .rotates = p->rotates,
        .reuse_grace_ms = p->grace_ms,
        .refresh_kills_access = p->kills_access,
        .has_identity = p->has_identity,
        .spend_deadline_ms = p->deadline_ms,
    };
}

static void told_loaded(struct told *t, const struct loaded *from, int64_t now)
{
    bool gives_up =
        from->standing == STANDING_DEAD || (from->standing == STANDING_DOUBT && from->replayed);
    bool is_outdated = from->restored && from->rules.rotates && !fp_is_none(from->pair.refresh);
    *t = (struct told){
        .here = true,
        .here_at = now,
        .generation = from->generation,
        .standing = from->standing,
        .exact = from->expires_boot_ms != 0,
        .by_wall = from->expires_boot_ms == 0,
        .policy = from->policy,
        .alarms = from->alarms,
        .awaits = from->intent,
        .over_at = gives_up ? now : 0,
        .old_copy = is_outdated || from->alarms & 1u << ALARM_RESTORED,
    };
}

/* To the end of the access token and the skew beyond it, counted as carefully as can be. */
static int64_t held_until(const struct world *w, int row)
{
    const struct provider *p = &w->providers[w->store.rows[row].provider];
    return access_ends_at(w, &w->store.rows[row]) + p->skew_ms - 2 * p->deadline_ms - 3 * SECOND_MS;
}

static void told_answer(struct told *t, struct host *h, const struct event *ev,
                        const struct row *row, int64_t now)
{
    if (ev->intent == t->awaits)
        t->awaits = 0;
    if (ev->intent != row->intent && !spool_find(h, ev->intent) && !ev->answer.recovered)
        return;
    /* Another warden's is not what a granted answer in hand is about. */
    if (t->heard == VERDICT_GRANTED && spool_find(h, t->heard_intent) && !spool_find(h, ev->intent))
        return;
    t->heard_intent = ev->intent;
    t->heard = ev->answer.verdict;
    bool lost_again = t->heard == VERDICT_DOUBT && row->intent_is_replay;
    t->over_at = t->heard == VERDICT_REFUSED || lost_again ? now : 0;
    t->heard_foreign = t->heard == VERDICT_GRANTED && !fp_is_none(row->subject) &&
                       !fp_is_none(ev->answer.subject) &&
                       !fp_equal(row->subject, ev->answer.subject);
}

/* A consumer has, or had by itself, the current pair of its lineage. */
static void told_of_place(struct world *w, struct host *h, const struct event *ev)
{
    const struct place *p = place_find(w, ev->consumer);
    int index = p ? place_row(w, p) : NOBODY;
    bool pair =
        ev->kind == EV_PUBLISHED ||
        (ev->kind == EV_OBSERVED && ev->observed.what == SEEN_PAIR && !ev->observed.from_store);
    if (index == NOBODY || !pair || !p->is_known || h->told[index].access_refused)
        return;
    struct fp access = ev->kind == EV_PUBLISHED ? ev->published.access : ev->observed.pair.access;
    if (fp_equal(access, w->store.rows[index].pair.access))
        h->told[index].held_until = held_until(w, index);
}

/* What the server said of a capture. */
static void told_capture(struct world *w, const struct event *ev)
{
    struct capture *c = sealed_find(w, ev->capture);
    if (!c || !c->told)
        return; /* its warden has forgotten it meanwhile */
    c->named = ev->identity.what;
    c->subject = ev->identity.subject;
}

/* The server refuses the access token at hand; an answer about a pair that has been replaced says
 * nothing. */
void told_refused(struct world *w, struct host *h, int index, uint64_t generation)
{
    const struct row *row = &w->store.rows[index];
    struct told *t = &h->told[index];
    if (t->generation == generation && row->generation == generation)
        t->access_refused = true;
}

/* What was read off our wall clock is put right by the first Date, if what is stored is true. */
static void told_date(const struct world *w, struct host *h, const struct event *ev, int index)
{
    const struct row *row = &w->store.rows[index];
    int64_t off_ms = row->pair.expires_wall_ms - WALL_ZERO - access_ends_at(w, row);
    struct view v; /* of a fleet: the pair that it has, whatever it was told of */
    if (ev->server_wall_ms != 0 && ev->capture == 0)
        h->told[index].by_wall = false;
    if (ev->server_wall_ms != 0 && ev->capture == 0 && h->told[index].here &&
        off_ms >= -DATE_TOLERANCE_MS && off_ms <= DATE_TOLERANCE_MS &&
        warden_view(h->warden, lineage_id(index), host_now(w, h), &v) &&
        v.generation == row->generation && h->told[index].generation == row->generation)
        h->told[index].by_date = true;
}

/* What was claimed for the profile is under the same policy. */
static void told_claimed_policy(const struct world *w, struct host *h, int index,
                                enum policy policy)
{
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        if (row->claimed && row->wanted != 0 && w->store.profiles[row->wanted - 1] == index)
            h->told[i].policy = policy;
    }
}

/* Nobody's: its lineage has ended, or its place was no consumer's, and it was not found since in a
 * place that is one's. */
bool is_homeless(const struct host *h, const struct capture *c)
{
    return c->row == NOBODY || !h->told[c->row].here;
}

void told_event(struct world *w, struct host *h, const struct event *ev)
{
    int index = row_of(ev->lineage);
    if (ev->consumer != 0)
        told_of_place(w, h, ev);
    struct capture *c = sealed_find(w, ev->capture);
    if (c && (index == NOBODY || !h->told[index].here) && ev->kind == EV_STORE_FAILED &&
        is_homeless(h, c))
        c->told = false; /* forgotten, and told of again at the next start */
    if (index == NOBODY)
        return;
    struct told *t = &h->told[index];
    const struct row *row = &w->store.rows[index];
    told_date(w, h, ev, index);
    switch (ev->kind) {
    case EV_LOADED:
        told_loaded(t, &ev->loaded, w->now);
        t->doubt = row->lost_intent;
        t->exact &= row->expiry_is_exact;
        t->standing = row->standing; /* a restored one is in doubt by now */
        if (ev->loaded.held_until_wall_ms != 0)
            t->held_until = held_until(w, index);
        break;
    case EV_ADDED:
        *t = (struct told){
            .here = true, .here_at = w->now, .generation = 1, .policy = ev->added.policy};
        if (ev->added.held_elsewhere)
            t->held_until = held_until(w, index);
        break;
    case EV_CLAIMED:
        t->policy = ev->added.policy;
        break;
    case EV_POLICY:
        t->policy = ev->policy;
        told_claimed_policy(w, h, index, ev->policy);
        break;
    case EV_CLOSED:
        t->standing = row->standing;
        t->doubt = row->lost_intent;
        break;
    case EV_PUBLISHED: /* of a token that the server refused nobody has anything */
        t->held_until = t->access_refused ? 0 : held_until(w, index);
        break;
    case EV_ANSWER:
        told_answer(t, h, ev, row, w->now);
        break;
    case EV_SETTLED:
        t->generation = row->generation;
        t->standing = row->standing;
        t->exact = row->expiry_is_exact && row->boot == h->boot && row->expiry_host == h->index;
        t->by_wall = row->expires_boot_ms == 0;
        t->access_refused = t->by_date = false;
        t->held_until = 0;
        break;
    case EV_IDENTITY:
        if (ev->capture != 0) {
            told_capture(w, ev);
            break;
        }
        t->asked = ev->identity.what;
        t->named = ev->identity.subject;
        break;
    case EV_RETIRED:
        t->here = false;
        break;
    case EV_OVERTAKEN:
        t->state = NULL; /* counted anew: it may wait for another answer */
        t->here = ev->loaded.standing != STANDING_RETIRED;
        if (t->generation != ev->loaded.generation) { /* that was said of another pair */
            t->access_refused = t->by_date = false;
            t->by_wall = ev->loaded.expires_boot_ms == 0;
        }
        t->generation = ev->loaded.generation;
        t->standing = ev->loaded.standing;
        t->doubt = row->lost_intent;
        t->policy = ev->loaded.policy;
        t->exact = ev->loaded.expires_boot_ms != 0 && row->expiry_is_exact;
        t->held_until = 0;
        break;
    case EV_ADOPTED:
        t->generation = row->generation;
        t->standing = row->standing;
        if (ev->capture != 0) {
            t->exact = t->by_date = t->by_wall = t->access_refused = false;
            t->held_until = 0;
        }
        break;
    case EV_PROBED: /* see told_refused() */
    case EV_TIMER:
    case EV_LEASED:
    case EV_INTENT_DURABLE:
    case EV_STORE_FAILED:
    case EV_WANT:
    case EV_UNWANT:
    case EV_REMOVE:
    case EV_BOUND:
    case EV_UNBOUND:
    case EV_OBSERVED:
    case EV_CONSUMER_FAILED:
    case EV_QUARANTINED:
    case EV_STOP:
    case EV_COUNT:
        break;
    }
}

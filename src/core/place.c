/*
 * Places, looked at: what should be in each, where it may not be written, and who may have the
 * refresh token. Questions only: nothing is changed here.
 */
#include "core/internal.h"

#define TORN_PATIENCE 3 /* looks at a torn place; then it is no write that is under way */
#define LOOK_PATIENCE 3 /* … at one that cannot be read; then it is not waited for any more */

struct consumer *consumer_find(const struct warden *w, uint64_t id)
{
    for (uint32_t i = 0; id != 0 && i < w->limits.consumers; i++) {
        if (w->consumers[i].id == id)
            return &w->consumers[i];
    }
    return NULL;
}

bool belongs(const struct warden *w, const struct consumer *c, const struct lineage *l)
{
    return c->id != 0 && &w->lineages[c->slot] == l;
}

bool has_refresh(const struct pair *p, struct fp refresh)
{
    return !fp_is_none(refresh) && fp_equal(p->refresh, refresh);
}

bool may_have(const struct consumer *c, struct fp refresh)
{
    if (c->id == 0)
        return false;
    bool writing = c->doing == DOING_PUBLISH || c->doing == DOING_WITHHOLD;
    return has_refresh(&c->there, refresh) || (writing && has_refresh(&c->written, refresh)) ||
           (!fp_is_none(refresh) && fp_equal(c->perhaps, refresh));
}

/* Not yet looked at, or in a state in which a client may just be writing it. */
bool is_unknown(const struct consumer *c)
{
    return c->replica && !c->known && (c->what != SEEN_TORN || c->tries <= TORN_PATIENCE);
}

/* Whatever its lineage is at, or is taken for: what stands there may be another lineage's. */
static bool may_be_read(const struct lineage *l)
{
    return l->state != LS_FREE && l->state != LS_RETIRING;
}

/* Not seen since it was bound: it may hold the token of any lineage, not only of its own. */
static bool is_to_be_looked_at(const struct warden *w, const struct consumer *c)
{
    return c->id != 0 && c->replica && !c->known && c->tries < LOOK_PATIENCE &&
           may_be_read(&w->lineages[c->slot]);
}

/* The one consumer that is given the refresh token: always the same, so that it never wanders. */
static bool is_holder(const struct warden *w, const struct lineage *l, const struct consumer *c)
{
    if (!c->with_pair || l->given_away)
        return false;
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        const struct consumer *other = &w->consumers[i];
        if (other == c)
            continue;
        if (belongs(w, other, l) && other->with_pair && other->id < c->id)
            return false;
        bool unseen = belongs(w, other, l) ? is_unknown(other) : is_to_be_looked_at(w, other);
        bool theirs = may_have(other, l->pair.refresh), ours = may_have(c, l->pair.refresh);
        if ((unseen || theirs) && !ours)
            return false; /* first it is taken away there, or seen not to be there */
        if (theirs && !l->rules.rotates)
            return false; /* … from both: where its clients renew it, no spend of ours will do so */
    }
    return true;
}

struct pair wanted_there(const struct warden *w, const struct lineage *l, const struct consumer *c)
{
    struct pair pair = l->pair;
    if (!is_holder(w, l, c))
        pair.refresh = (struct fp){{0}};
    return pair;
}

/* Nobody is signed in there, or somebody we do not know, or who was refused with this very pair, or
 * who has by itself got more than we could give, or has renewed what we could not go on with: not
 * our place to write. */
static bool is_left_alone(const struct warden *w, const struct consumer *c,
                          const struct pair *wanted)
{
    if (!c->replica)
        return false;
    int64_t theirs = c->there.expires_wall_ms, ours = wanted->expires_wall_ms;
    /* One that is said to last longer than its server's last was written by a clock that was wrong.
     */
    bool said_in_vain = wanted->life_ms > 0 && theirs - w->now.wall_ms > wanted->life_ms;
    bool theirs_is_ours = c->own_access || has_refresh(&c->there, wanted->refresh);
    bool outlasts_ours = theirs_is_ours && ours != 0 && theirs > ours && !said_in_vain;
    bool is_empty = c->what == SEEN_GONE ||
                    (c->what == SEEN_BLANK && fp_equal(c->blanked.access, wanted->access));
    /* Whatever its user wants there, nothing is written over before it is sealed and understood. */
    return outlasts_ours || capture_is_open(w, c->shows) ||
           (c->drifted && c->wish != WISH_REPLACE) || (is_empty && c->wish == WISH_NONE);
}

/* A claim from one of its places is being tried: ours may be the one that was replaced. */
static bool is_contested(const struct warden *w, const struct lineage *l)
{
    return l->n_consumers > 0 && claim_for(w, l);
}

static bool may_publish(const struct warden *w, const struct lineage *l)
{
    return !is_contested(w, l) && l->state == LS_LIVE && !l->remove_wanted && l->n_captures == 0 &&
           !w->stopping;
}

/* In another place: somebody copied it, perhaps, or it is about to be another profile's there.
 * First it is taken away there. */
static bool stands_elsewhere(const struct warden *w, const struct consumer *c, struct fp refresh)
{
    for (uint32_t i = 0; !fp_is_none(refresh) && i < w->limits.consumers; i++) {
        const struct consumer *other = &w->consumers[i];
        if (other != c && may_have(other, refresh))
            return true;
    }
    return false;
}

static bool is_outdated(const struct warden *w, const struct lineage *l, const struct consumer *c)
{
    struct pair wanted = wanted_there(w, l, c);
    if (stands_elsewhere(w, c, wanted.refresh))
        return false;
    if (c->known && (is_left_alone(w, c, &wanted) || pair_equal(&c->there, &wanted)))
        return false;
    /* An access token that is over is of use only together with what renews it. */
    return life_left(l, w->now) > 0 || !fp_is_none(wanted.refresh);
}

/* Boot ms from which to look for the first time after `boot_ms`: back-off is for what follows. */
static int64_t look_from(const struct consumer *c, int64_t boot_ms)
{
    if (c->read_boot_ms >= boot_ms)
        return TIME_NEVER;
    return c->asked_boot_ms < boot_ms ? boot_ms : ms_max(boot_ms, c->not_before_boot_ms);
}

/* Boot ms from which this replica's content is to be looked at. */
int64_t read_from(const struct lineage *l, const struct consumer *c)
{
    if (!c->replica)
        return TIME_NEVER;
    int64_t at = c->known ? TIME_NEVER : c->not_before_boot_ms;
    if (l->state == LS_SEARCHING || l->state == LS_DOUBT) {
        at = ms_min(at, look_from(c, l->search_from_boot_ms));
        at = ms_min(at, look_from(c, l->search_until_boot_ms));
    }
    return at;
}

/* Boot ms from which this consumer is to be read or written; TIME_NEVER: it is as it should be. */
int64_t consumer_owes(const struct warden *w, const struct lineage *l, const struct consumer *c)
{
    if (c->doing != DOING_NOTHING || w->stopping)
        return TIME_NEVER;
    int64_t read = read_from(l, c);
    if (read != TIME_NEVER || (c->replica && !c->known))
        return read;
    return is_outdated(w, l, c) && may_publish(w, l) ? c->not_before_boot_ms : TIME_NEVER;
}

int64_t consumers_owe(const struct warden *w, const struct lineage *l)
{
    int64_t soonest = TIME_NEVER;
    for (uint32_t i = 0; l->n_consumers > 0 && may_be_read(l) && i < w->limits.consumers; i++) {
        if (belongs(w, &w->consumers[i], l))
            soonest = ms_min(soonest, consumer_owes(w, l, &w->consumers[i]));
    }
    return soonest;
}

/* Somebody may live on what a run before this one wrote there, and nobody noted that he does. What
 * is not to be written any more (the access token is over) is not lived on either. */
static bool may_be_held(const struct warden *w, const struct lineage *l, const struct consumer *c)
{
    bool to_be_written = c->replica || (may_publish(w, l) && is_outdated(w, l, c));
    return l->policy == POLICY_STANDBY && !c->known && c->tries == 0 && to_be_written;
}

/* A place of its own; or of the lineage from whose place it came: there it stands, too. */
static bool concerns(const struct warden *w, const struct consumer *c, const struct lineage *l)
{
    return belongs(w, c, l) || (c->id != 0 && is_claim_of(l, w->lineages[c->slot].id));
}

bool spend_is_held_back(const struct warden *w, const struct lineage *l)
{
    if (l->n_captures > 0 || is_contested(w, l))
        return true;
    bool has_places = l->n_consumers > 0 || l->claimed;
    for (uint32_t i = 0; has_places && i < w->limits.consumers; i++) {
        const struct consumer *c = &w->consumers[i];
        if (concerns(w, c, l) &&
            ((is_unknown(c) && c->tries > 0) || capture_holds_back(w, c->shows, l)))
            return true;
    }
    return false;
}

bool spend_is_hindered(const struct warden *w, const struct lineage *l)
{
    if (l->lease_awaited || spend_is_held_back(w, l))
        return true;
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        const struct consumer *c = &w->consumers[i];
        bool busy = c->doing == DOING_READ || c->doing == DOING_PUBLISH;
        if (concerns(w, c, l) && ((c->replica && (is_unknown(c) || busy)) || may_be_held(w, l, c)))
            return true;
        bool unsure = busy || (!c->known && may_be_read(&w->lineages[c->slot]));
        if (is_to_be_looked_at(w, c) || (unsure && may_have(c, l->pair.refresh)))
            return true;
    }
    return false;
}

bool is_given_to_somebody(const struct warden *w, const struct lineage *l)
{
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        if (may_have(&w->consumers[i], l->pair.refresh))
            return true;
    }
    return false;
}

enum drift drift_of(const struct warden *w, const struct lineage *l)
{
    enum drift drift = DRIFT_NONE;
    for (uint32_t i = 0; l->n_consumers > 0 && i < w->limits.consumers; i++) {
        const struct consumer *c = &w->consumers[i];
        if (!belongs(w, c, l))
            continue;
        if (c->drifted)
            return DRIFT_SOMEBODY;
        if ((c->replica && !c->known) || capture_is_open(w, c->shows))
            drift = DRIFT_UNKNOWN;
    }
    return drift;
}

bool replicas_read_since(const struct warden *w, const struct lineage *l, int64_t boot_ms)
{
    for (uint32_t i = 0; l->n_consumers > 0 && i < w->limits.consumers; i++) {
        const struct consumer *c = &w->consumers[i];
        if (belongs(w, c, l) && c->replica && (c->read_boot_ms < boot_ms || c->doing == DOING_READ))
            return false;
    }
    return true;
}

bool replica_is_being_read(const struct warden *w, const struct lineage *l)
{
    for (uint32_t i = 0; l->n_consumers > 0 && i < w->limits.consumers; i++) {
        if (belongs(w, &w->consumers[i], l) && w->consumers[i].doing == DOING_READ)
            return true;
    }
    return false;
}

bool has_replica(const struct warden *w, const struct lineage *l)
{
    for (uint32_t i = 0; l->n_consumers > 0 && i < w->limits.consumers; i++) {
        if (belongs(w, &w->consumers[i], l) && w->consumers[i].replica)
            return true;
    }
    return false;
}

bool warden_view_place(const struct warden *w, uint64_t consumer, struct place_view *ret)
{
    const struct consumer *c = consumer_find(w, consumer);
    if (!c)
        return false;
    const struct lineage *l = &w->lineages[c->slot];
    struct pair wanted = wanted_there(w, l, c);
    *ret = (struct place_view){.lineage = l->id,
                               .known = c->known,
                               .what = c->what,
                               .there = c->there,
                               .is_in_step = c->known && pair_equal(&c->there, &wanted),
                               .is_left_alone = c->known && is_left_alone(w, c, &wanted),
                               .is_being_asked = capture_is_open(w, c->shows),
                               .wish = c->wish,
                               .tries = c->tries};
    return true;
}

bool warden_gives_away(const struct warden *w, uint64_t consumer, uint64_t lineage)
{
    const struct consumer *c = consumer_find(w, consumer);
    const struct lineage *l = lineage_find(w, lineage);
    return c && l && (may_have(c, l->pair.refresh) || (belongs(w, c, l) && is_unknown(c)));
}

/*
 * Consumers: places where others find a copy. Here is decided what should be in each, and that it
 * is written only where it is known what stands there now.
 *
 * The refresh token is given to one consumer of a lineage at most, and taken away from it before we
 * spend: a client that has an access token alone never calls the token endpoint (observed), so
 * there is nobody to race with while our own request is under way.
 */
#include "core/internal.h"

#include <string.h>

#define RETRY_FIRST_MS SECOND_MS
#define RETRY_MAX_MS   (5 * MINUTE_MS)
#define TORN_PATIENCE  3 /* looks at a torn place; then it is no write that is under way */
#define LOOK_PATIENCE  3 /* … at one that cannot be read; then it is not waited for any more */

struct consumer *consumer_find(const struct warden *w, uint64_t id)
{
    for (uint32_t i = 0; id != 0 && i < w->limits.consumers; i++) {
        if (w->consumers[i].id == id)
            return &w->consumers[i];
    }
    return NULL;
}

static bool belongs(const struct warden *w, const struct consumer *c, const struct lineage *l)
{
    return c->id != 0 && &w->lineages[c->slot] == l;
}

static bool is_none(const struct pair *p)
{
    return fp_is_none(p->access) && fp_is_none(p->refresh);
}

static bool has_refresh(const struct pair *p, struct fp refresh)
{
    return !fp_is_none(refresh) && fp_equal(p->refresh, refresh);
}

/* May this place hold that refresh token, for all we know? */
static bool may_have(const struct consumer *c, struct fp refresh)
{
    if (c->id == 0)
        return false;
    bool writing = c->doing == DOING_PUBLISH || c->doing == DOING_WITHHOLD;
    return has_refresh(&c->there, refresh) || (writing && has_refresh(&c->written, refresh));
}

/* Not yet looked at, or in a state in which a client may just be writing it. */
static bool is_unknown(const struct consumer *c)
{
    return c->replica && !c->known && (c->what != SEEN_TORN || c->tries <= TORN_PATIENCE);
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
        bool perhaps =
            may_have(other, l->pair.refresh) || (belongs(w, other, l) && is_unknown(other));
        if (perhaps && !may_have(c, l->pair.refresh))
            return false; /* first it is taken away there, or seen not to be there */
    }
    return true;
}

static struct pair wanted_there(const struct warden *w, const struct lineage *l,
                                const struct consumer *c)
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
    return c->drifted || outlasts_ours || capture_is_open(w, c->shows) || c->what == SEEN_GONE ||
           (c->what == SEEN_BLANK && fp_equal(c->blanked.access, wanted->access));
}

/* A pair from one of its replicas is being tried as a lineage of its own, which nobody could vouch
 * for: until that is known, ours may be the one that was replaced. */
static bool is_being_continued(const struct warden *w, const struct lineage *l)
{
    for (uint32_t i = 0; l->n_consumers > 0 && i < w->n_slots; i++) {
        const struct lineage *other = &w->lineages[i];
        if (is_claim_of(other, l->id) && other->state != LS_QUARANTINED)
            return true;
    }
    return false;
}

static bool may_publish(const struct warden *w, const struct lineage *l)
{
    return !is_being_continued(w, l) && l->state == LS_LIVE && !l->remove_wanted &&
           l->n_captures == 0 && !w->stopping;
}

/* In another place of the lineage: somebody copied it, perhaps. First it is taken away there. */
static bool stands_elsewhere(const struct warden *w, const struct consumer *c, struct fp refresh)
{
    for (uint32_t i = 0; !fp_is_none(refresh) && i < w->limits.consumers; i++) {
        const struct consumer *other = &w->consumers[i];
        if (other != c && other->slot == c->slot && may_have(other, refresh))
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
static int64_t read_from(const struct lineage *l, const struct consumer *c)
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
static int64_t one_owes(const struct warden *w, const struct lineage *l, const struct consumer *c)
{
    if (c->doing != DOING_NOTHING || w->stopping)
        return TIME_NEVER;
    int64_t read = read_from(l, c);
    if (read != TIME_NEVER || (c->replica && !c->known))
        return read;
    return is_outdated(w, l, c) && may_publish(w, l) ? c->not_before_boot_ms : TIME_NEVER;
}

static bool may_be_touched(const struct lineage *l)
{
    return l->state == LS_LIVE || l->state == LS_DOUBT || l->state == LS_SEARCHING ||
           l->state == LS_DEAD;
}

int64_t consumers_owe(const struct warden *w, const struct lineage *l)
{
    int64_t soonest = TIME_NEVER;
    for (uint32_t i = 0; l->n_consumers > 0 && may_be_touched(l) && i < w->limits.consumers; i++) {
        if (belongs(w, &w->consumers[i], l))
            soonest = ms_min(soonest, one_owes(w, l, &w->consumers[i]));
    }
    return soonest;
}

static void publish(struct step *s, struct consumer *c, struct pair pair, enum doing doing)
{
    struct effect *fx = emit(s, FX_PUBLISH);
    fx->consumer = c->id;
    fx->pair = pair;
    fx->generation = s->l->generation;
    fx->expected = c->there;
    fx->expected_what = c->what;
    c->written = pair;
    c->doing = doing;
}

void consumers_go(struct step *s)
{
    struct warden *w = s->w;
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        struct consumer *c = &w->consumers[i];
        if (!belongs(w, c, s->l) || one_owes(w, s->l, c) > s->now.boot_ms)
            continue;
        if (read_from(s->l, c) <= s->now.boot_ms) {
            emit(s, FX_READ)->consumer = c->id;
            c->asked_boot_ms = s->now.boot_ms;
            c->doing = DOING_READ;
        } else {
            publish(s, c, wanted_there(w, s->l, c), DOING_PUBLISH);
        }
    }
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
    if (l->n_captures > 0 || is_being_continued(w, l))
        return true;
    bool has_places = l->n_consumers > 0 || l->claimed;
    for (uint32_t i = 0; has_places && i < w->limits.consumers; i++) {
        const struct consumer *c = &w->consumers[i];
        if (concerns(w, c, l) && ((is_unknown(c) && c->tries > 0) || capture_is_open(w, c->shows)))
            return true;
    }
    return false;
}

/* Not seen since it was bound: it may hold the token of any lineage, not only of its own. */
static bool is_to_be_looked_at(const struct warden *w, const struct consumer *c)
{
    return c->id != 0 && c->replica && !c->known && c->tries < LOOK_PATIENCE &&
           may_be_touched(&w->lineages[c->slot]);
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
        bool unsure = busy || (!c->known && may_be_touched(&w->lineages[c->slot]));
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

bool withhold(struct step *s)
{
    struct warden *w = s->w;
    bool any = false;
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        struct consumer *c = &w->consumers[i];
        if (!may_have(c, s->l->pair.refresh))
            continue;
        any = true;
        if (c->doing != DOING_NOTHING)
            continue; /* being withheld already; spend_is_hindered() knows of no other */
        struct pair access_only = c->there;
        access_only.refresh = (struct fp){{0}};
        c->withheld_for = (uint32_t)(s->l - w->lineages);
        publish(s, c, access_only, DOING_WITHHOLD);
    }
    return any;
}

/* A read or write of `c` has ended: the spend that waited for it goes on, or is called off. */
static void on_consumer_rests(struct step *s, struct consumer *c, bool went_well)
{
    bool withheld = c->doing == DOING_WITHHOLD;
    c->doing = DOING_NOTHING;
    if (!withheld)
        return;
    struct lineage *own = s->l;
    s->l = &s->w->lineages[c->withheld_for];
    if (s->l->state == LS_WITHHOLDING) {
        if (!went_well || spend_is_hindered(s->w, s->l) || !may_spend(s->l, s->now))
            spend_called_off(s);
        else if (!withhold(s))
            order_intent(s);
    }
    s->l = own;
}

static void retry_later(struct step *s, struct consumer *c)
{
    c->not_before_boot_ms =
        s->now.boot_ms + ms_min(RETRY_FIRST_MS << ms_min(c->tries, 8), RETRY_MAX_MS);
    c->tries += c->tries < UINT32_MAX;
}

void consumer_saw(struct step *s, struct consumer *c)
{
    bool asked = s->ev->observed.asked;
    if (!asked && c->doing != DOING_NOTHING)
        return; /* from before or after what is under way: its own answer will say */
    bool ours = c->doing == DOING_NOTHING || c->doing == DOING_READ;
    if (asked && c->doing == DOING_READ)
        c->read_boot_ms = c->asked_boot_ms;
    c->what = s->ev->observed.what;
    c->known = c->what != SEEN_TORN;
    c->drifted = false;
    c->own_access = false;
    c->shows = 0;
    c->not_before_boot_ms = 0;
    if (c->what == SEEN_BLANK && !is_none(&c->there) && !c->perhaps)
        c->blanked = c->there;
    c->perhaps = false;
    c->there = c->what == SEEN_PAIR ? s->ev->observed.pair : (struct pair){0};
    if (c->what == SEEN_TORN)
        retry_later(s, c);
    else
        c->tries = 0;
    if (asked)
        on_consumer_rests(s, c, ours);
}

void count_as_held(struct step *s)
{
    struct lineage *l = s->l;
    int64_t left = life_left(l, s->now);
    int64_t until = left == TIME_NEVER ? TIME_NEVER : s->now.boot_ms + left + l->rules.skew_ms;
    l->held_until_boot_ms = ms_max(l->held_until_boot_ms, until);
}

void on_published(struct step *s)
{
    struct consumer *c = consumer_find(s->w, s->ev->consumer);
    if (s->ev->consumer != 0 && !c)
        return; /* unbound meanwhile */
    /* Who is left with less than he had was counted when he got it. */
    bool less = c && c->doing == DOING_WITHHOLD;
    if (!less && (!c || fp_equal(s->ev->published.access, s->l->pair.access)))
        count_as_held(s);
    if (!c)
        return;
    if (less) /* a stranger's, perhaps, that was claimed since: of no use there any more */
        c->drifted = false;
    c->what = SEEN_PAIR;
    c->known = true;
    c->there = s->ev->published;
    c->perhaps = false;
    c->own_access = false;
    c->shows = 0;
    c->tries = 0;
    c->not_before_boot_ms = 0;
    on_consumer_rests(s, c, true);
    alarm_look(s);
}

void on_consumer_failed(struct step *s)
{
    struct consumer *c = consumer_find(s->w, s->ev->consumer);
    if (!c)
        return;
    bool writing = c->doing == DOING_PUBLISH || c->doing == DOING_WITHHOLD;
    if (writing && !fp_is_none(c->written.refresh)) {
        c->there = c->written; /* it may be, and that is the worse case */
        c->perhaps = true;
    }
    c->known = false;
    retry_later(s, c);
    on_consumer_rests(s, c, false);
}

static void forget(struct step *s, struct consumer *c)
{
    on_consumer_rests(s, c, false);
    s->w->lineages[c->slot].n_consumers--;
    memset(c, 0, sizeof(*c));
}

/* It may be another lineage's still: of one that another warden has ended, and whose own write is
 * under way, so that it has not followed yet. */
void on_bound(struct step *s)
{
    struct warden *w = s->w;
    struct consumer *known = consumer_find(w, s->ev->consumer);
    if (s->l->n_consumers >= CONSUMERS_PER_LINEAGE_MAX || (known && belongs(w, known, s->l)))
        return;
    if (known)
        forget(s, known);
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        struct consumer *c = &w->consumers[i];
        if (c->id != 0)
            continue;
        *c = (struct consumer){.id = s->ev->consumer,
                               .slot = (uint32_t)(s->l - w->lineages),
                               .replica = s->ev->bound.replica,
                               /* who has the refresh token will write its successor */
                               .with_pair = s->ev->bound.replica && s->ev->bound.with_pair,
                               .what = s->ev->bound.replica ? SEEN_GONE : SEEN_PAIR,
                               .read_boot_ms = INT64_MIN,
                               .asked_boot_ms = INT64_MIN};
        s->l->n_consumers++;
        return;
    }
}

/* What stands there stays there: should it be the refresh token, its user has it from now on. */
void on_unbound(struct step *s)
{
    struct consumer *c = consumer_find(s->w, s->ev->consumer);
    if (!c)
        return;
    if (may_have(c, s->l->pair.refresh) || is_unknown(c))
        s->l->given_away = true;
    forget(s, c);
    alarm_look(s);
}

void consumers_follow(struct step *s, const struct lineage *from)
{
    struct warden *w = s->w;
    struct lineage *to = s->l;
    if (!from || from == to)
        return;
    for (uint32_t i = 0; from->n_consumers > 0 && i < w->limits.consumers; i++) {
        struct consumer *c = &w->consumers[i];
        if (!belongs(w, c, from))
            continue;
        w->lineages[c->slot].n_consumers--;
        c->slot = (uint32_t)(to - w->lineages);
        to->n_consumers++;
    }
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

void set_own_access(struct warden *w, uint64_t capture)
{
    for (uint32_t i = 0; i < w->limits.consumers; i++)
        w->consumers[i].own_access |= w->consumers[i].id != 0 && w->consumers[i].shows == capture;
}

void capture_resolved(struct step *s, uint64_t capture)
{
    struct lineage *own = s->l;
    for (uint32_t i = 0; i < s->w->limits.consumers; i++) {
        struct consumer *c = &s->w->consumers[i];
        if (c->id == 0 || c->shows != capture)
            continue;
        s->l = &s->w->lineages[c->slot];
        alarm_look(s);
    }
    s->l = own;
}

void leave_alone(struct step *s, const struct pair *pair, uint64_t capture)
{
    struct lineage *own = s->l;
    bool alone = fp_is_none(pair->refresh);
    for (uint32_t i = 0; i < s->w->limits.consumers; i++) {
        struct consumer *c = &s->w->consumers[i];
        bool shows_it = (capture != 0 && c->shows == capture) ||
                        (alone ? fp_equal(c->there.access, pair->access)
                               : has_refresh(&c->there, pair->refresh));
        if (c->id == 0 || !c->replica || !shows_it)
            continue;
        c->drifted = true;
        s->l = &s->w->lineages[c->slot];
        alarm_look(s);
    }
    s->l = own;
}

void no_stranger_any_more(struct step *s, const struct pair *pair)
{
    struct lineage *own = s->l;
    for (uint32_t i = 0; i < s->w->limits.consumers; i++) {
        struct consumer *c = &s->w->consumers[i];
        bool shows_it = has_refresh(&c->there, pair->refresh) ||
                        (fp_is_none(c->there.refresh) && fp_equal(c->there.access, pair->access));
        if (c->id == 0 || !c->drifted || !shows_it)
            continue;
        c->drifted = false;
        s->l = &s->w->lineages[c->slot];
        alarm_look(s);
    }
    s->l = own;
}

/* Where the token of an ended lineage stands, as of one of ours, it is a former one by now: looked
 * at again. (What is left alone as a stranger's still is.) */
static void look_again(struct warden *w, const struct lineage *ended)
{
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        struct consumer *c = &w->consumers[i];
        if (c->id != 0 && c->replica && !c->drifted && has_refresh(&c->there, ended->pair.refresh))
            c->known = false;
    }
}

void consumers_leave(struct step *s)
{
    look_again(s->w, s->l);
    for (uint32_t i = 0; s->l->n_consumers > 0 && i < s->w->limits.consumers; i++) {
        if (belongs(s->w, &s->w->consumers[i], s->l))
            forget(s, &s->w->consumers[i]);
    }
}

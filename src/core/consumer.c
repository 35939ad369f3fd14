/*
 * Consumers: places where others find a copy. Bound and left, read and written; a write is an order
 * that names what is expected to stand there. What should be there is said in place.c.
 *
 * The refresh token is given to one consumer of a lineage at most, and taken away from it before we
 * spend: a client that has an access token alone never calls the token endpoint (observed), so
 * there is nobody to race with while our own request is under way.
 */
#include "core/internal.h"

#include <string.h>

#define RETRY_FIRST_MS SECOND_MS
#define RETRY_MAX_MS   (5 * MINUTE_MS)

static bool is_none(const struct pair *p)
{
    return fp_is_none(p->access) && fp_is_none(p->refresh);
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
        if (!belongs(w, c, s->l) || consumer_owes(w, s->l, c) > s->now.boot_ms)
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
        c->withheld = s->l->pair.refresh;
        publish(s, c, access_only, DOING_WITHHOLD);
    }
    return any;
}

/* One place has been rid of the token, or could not be: the spend goes on, or is called off. */
static void withheld_there(struct step *s, bool went_well)
{
    if (!went_well || spend_is_hindered(s->w, s->l) || !may_spend(s->l, s->now))
        spend_called_off(s);
    else if (!withhold(s))
        order_intent(s);
}

/* A read or write of `c` has ended. (A token that is not single use may be of more than one lineage
 * that waits for it to be withheld.) */
static void on_consumer_rests(struct step *s, struct consumer *c, bool went_well)
{
    bool withheld = c->doing == DOING_WITHHOLD;
    c->doing = DOING_NOTHING;
    struct lineage *own = s->l;
    for (uint32_t i = 0; withheld && i < s->w->n_slots; i++) {
        s->l = &s->w->lineages[i];
        if (s->l->state == LS_WITHHOLDING && fp_equal(s->l->pair.refresh, c->withheld))
            withheld_there(s, went_well);
    }
    s->l = own;
}

static void retry_later(struct step *s, struct consumer *c)
{
    c->not_before_boot_ms =
        s->now.boot_ms + ms_min(RETRY_FIRST_MS << ms_min(c->tries, 8), RETRY_MAX_MS);
    c->tries += c->tries < UINT32_MAX;
}

void look_later(struct step *s, struct consumer *c)
{
    c->known = false;
    retry_later(s, c);
}

bool consumer_saw(struct step *s, struct consumer *c)
{
    bool asked = s->ev->observed.asked;
    if (!asked && (c->doing == DOING_PUBLISH || c->doing == DOING_WITHHOLD))
        return false; /* from before or after our write: its own answer will say */
    bool ours = c->doing == DOING_NOTHING || c->doing == DOING_READ;
    if (asked && c->doing == DOING_READ)
        c->read_boot_ms = c->asked_boot_ms;
    c->what = s->ev->observed.what;
    c->known = c->what != SEEN_TORN;
    c->drifted = false;
    c->own_access = false;
    c->shows = 0;
    c->not_before_boot_ms = 0;
    if (c->what == SEEN_BLANK && !is_none(&c->there))
        c->blanked = c->there;
    c->perhaps = (struct fp){{0}};
    c->there = c->what == SEEN_PAIR ? s->ev->observed.pair : (struct pair){0};
    if (c->what == SEEN_TORN)
        retry_later(s, c);
    else
        c->tries = 0;
    if (asked)
        on_consumer_rests(s, c, ours);
    return true;
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
    c->wish = less ? c->wish : WISH_NONE;
    c->drifted = false;
    c->what = SEEN_PAIR;
    c->known = true;
    c->there = s->ev->published;
    c->perhaps = (struct fp){{0}};
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
    if (c->doing == DOING_PUBLISH && !fp_is_none(c->written.refresh))
        c->perhaps = c->written.refresh;
    look_later(s, c);
    on_consumer_rests(s, c, false);
}

static void forget(struct step *s, struct consumer *c)
{
    on_consumer_rests(s, c, false);
    s->w->lineages[c->slot].n_consumers--;
    memset(c, 0, sizeof(*c));
}

static void take_consumer(struct step *s, struct consumer *c)
{
    *c = (struct consumer){.id = s->ev->consumer,
                           .slot = (uint32_t)(s->l - s->w->lineages),
                           .replica = s->ev->bound.replica,
                           /* who has the refresh token will write its successor */
                           .with_pair = s->ev->bound.replica && s->ev->bound.with_pair,
                           .wish = s->ev->bound.wish,
                           .what = s->ev->bound.replica ? SEEN_GONE : SEEN_PAIR,
                           .read_boot_ms = INT64_MIN,
                           .asked_boot_ms = INT64_MIN};
    s->l->n_consumers++;
}

/* Whoever's it is from now on: what is there, or may be, still is. */
static void keep_content(struct consumer *c, const struct consumer *before)
{
    bool writing = before->doing == DOING_PUBLISH || before->doing == DOING_WITHHOLD;
    bool gives = writing && !fp_is_none(before->written.refresh);
    c->what = before->what;
    c->there = before->there;
    c->perhaps = gives ? before->written.refresh : before->perhaps;
}

/* It may be known: as of another profile, which it is not any more; or of a lineage that another
 * warden has ended, and whose own write is under way, so that it has not followed yet. What it
 * holds is looked at anew. */
void on_bound(struct step *s)
{
    struct warden *w = s->w;
    struct consumer *known = consumer_find(w, s->ev->consumer);
    struct consumer before = known ? *known : (struct consumer){0};
    if (known)
        forget(s, known);
    if (s->l->n_consumers >= CONSUMERS_PER_LINEAGE_MAX)
        return;
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        struct consumer *c = &w->consumers[i];
        if (c->id != 0)
            continue;
        take_consumer(s, c);
        if (before.id != 0 && before.replica && c->replica)
            keep_content(c, &before);
        return;
    }
}

/* What stands there stays there: should it be a refresh token (of this lineage or, copied or set
 * aside, of another), its user has it from now on. */
static void give_away(struct step *s, struct consumer *c)
{
    for (uint32_t i = 0; i < s->w->n_slots; i++)
        s->w->lineages[i].given_away |= may_have(c, s->w->lineages[i].pair.refresh);
    forget(s, c);
}

void on_unbound(struct step *s)
{
    struct consumer *c = consumer_find(s->w, s->ev->consumer);
    if (!c)
        return;
    s->l->given_away |= is_unknown(c);
    give_away(s, c);
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
        if (fp_equal(c->there.access, to->pair.access)) /* seen there when it was another's place */
            count_as_held(s);
    }
}

/* Where the token of an ended lineage stands, as of one of ours, it is a former one by now; and
 * what was older than a lineage of its subject may be a stranger's: looked at again. (What is left
 * alone as a stranger's still is.) */
static void look_again(struct warden *w, const struct lineage *ended)
{
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        struct consumer *c = &w->consumers[i];
        bool is_nobodys = c->what == SEEN_PAIR && !owner_of(w, &c->there);
        if (c->id != 0 && c->replica && !c->drifted &&
            (is_nobodys || has_refresh(&c->there, ended->pair.refresh)))
            c->known = false;
    }
}

void consumers_leave(struct step *s)
{
    look_again(s->w, s->l);
    for (uint32_t i = 0; s->l->n_consumers > 0 && i < s->w->limits.consumers; i++) {
        if (belongs(s->w, &s->w->consumers[i], s->l))
            give_away(s, &s->w->consumers[i]);
    }
}

/*
 * Strangers: what stands in a place and is not its lineage's. Left alone from when it is set aside
 * until it is believed, or spent.
 */
#include "core/internal.h"

void set_own_access(struct warden *w, uint64_t capture)
{
    for (uint32_t i = 0; i < w->limits.consumers; i++)
        w->consumers[i].own_access |= w->consumers[i].id != 0 && w->consumers[i].shows == capture;
}

/* What its lineage's people are told may be otherwise by now. */
static void look_at(struct step *s, const struct consumer *c)
{
    struct lineage *own = s->l;
    s->l = &s->w->lineages[c->slot];
    alarm_look(s);
    s->l = own;
}

void capture_resolved(struct step *s, uint64_t capture)
{
    for (uint32_t i = 0; i < s->w->limits.consumers; i++) {
        struct consumer *c = &s->w->consumers[i];
        if (c->id != 0 && c->shows == capture)
            look_at(s, c);
    }
}

/* An access token by itself that is its lineage's own, too, or has become it. */
static bool is_our_own(const struct step *s, const struct consumer *c, const struct pair *pair)
{
    return fp_is_none(pair->refresh) && fp_equal(s->w->lineages[c->slot].pair.access, pair->access);
}

/* It stands there by itself, or as a part of a pair that says more. */
static bool shows_alone(const struct consumer *c, struct fp access)
{
    return fp_is_none(c->there.refresh) && fp_equal(c->there.access, access);
}

/* In the places of all lineages but one. */
static void leave_alone_but(struct step *s, const struct pair *pair, uint64_t capture,
                            const struct lineage *but)
{
    bool alone = fp_is_none(pair->refresh);
    for (uint32_t i = 0; i < s->w->limits.consumers; i++) {
        struct consumer *c = &s->w->consumers[i];
        bool shows_it =
            (capture != 0 && c->shows == capture) ||
            (alone ? shows_alone(c, pair->access) : has_refresh(&c->there, pair->refresh));
        if (c->id == 0 || !c->replica || !shows_it || is_our_own(s, c, pair) ||
            (but && belongs(s->w, c, but)))
            continue;
        c->drifted = true;
        look_at(s, c);
    }
}

void leave_alone(struct step *s, const struct pair *pair, uint64_t capture)
{
    leave_alone_but(s, pair, capture, NULL);
}

void leave_to_claim(struct step *s)
{
    const struct lineage *home = lineage_find(s->w, s->l->continues);
    leave_alone_but(s, &s->l->pair, s->ev->capture, home);
}

void no_stranger_any_more(struct step *s, const struct pair *pair)
{
    for (uint32_t i = 0; i < s->w->limits.consumers; i++) {
        struct consumer *c = &s->w->consumers[i];
        bool shows_it = has_refresh(&c->there, pair->refresh) ||
                        (fp_is_none(c->there.refresh) && fp_equal(c->there.access, pair->access));
        if (c->id == 0 || !c->drifted || !shows_it)
            continue;
        c->drifted = false;
        look_at(s, c);
    }
}

void look_at_strangers(struct warden *w)
{
    for (uint32_t i = 0; i < w->limits.consumers; i++) {
        struct consumer *c = &w->consumers[i];
        if (c->id != 0 && c->drifted && c->shows == 0 && !owner_of(w, &c->there) &&
            !grant_of(w, c->there.refresh))
            c->known = false;
    }
}

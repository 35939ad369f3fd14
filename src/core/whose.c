/*
 * Whose is a pair, and does it come after what we have? Questions only: nothing is changed here.
 */
#include "core/internal.h"

bool can_continue(const struct lineage *l)
{
    return l->state == LS_LIVE || l->state == LS_DOUBT || l->state == LS_SEARCHING ||
           l->state == LS_DEAD;
}

bool is_believed(const struct lineage *l)
{
    return l && l->state != LS_FREE && l->state != LS_QUARANTINED && l->state != LS_RETIRING &&
           !l->unproven && !l->remove_wanted;
}

bool is_somebody(const struct lineage *l)
{
    return is_believed(l) && !fp_is_none(l->subject);
}

/* Whose refresh token is it now? The same one is the same grant, whatever else stands beside it. */
struct lineage *grant_of(const struct warden *w, struct fp refresh)
{
    for (uint32_t i = 0; !fp_is_none(refresh) && i < w->limits.lineages; i++) {
        struct lineage *l = &w->lineages[i];
        if (l->state != LS_FREE && fp_equal(l->pair.refresh, refresh))
            return l;
    }
    return NULL;
}

/* What can be renewed does not come after what never could: of two lineages of its subject it is
 * the other one's, which may have nothing else to go on with. */
static bool is_renewed_by(const struct lineage *l, const struct capture *cap)
{
    return !is_static(l) && !fp_is_none(cap->pair.refresh);
}

struct lineage *lineage_of(const struct warden *w, const struct capture *cap)
{
    struct lineage *bound = cap->slot == NO_SLOT ? NULL : &w->lineages[cap->slot];
    struct lineage *grant = grant_of(w, cap->pair.refresh);
    bool nobody_says = fp_is_none(cap->subject);
    if (grant && is_believed(grant) && (nobody_says || fp_equal(grant->subject, cap->subject)))
        return grant;
    if (nobody_says)
        return NULL;
    struct lineage *of_subject = NULL;
    if (bound && is_somebody(bound) && fp_equal(bound->subject, cap->subject))
        of_subject = bound;
    for (uint32_t i = 0; i < w->limits.lineages; i++) {
        struct lineage *l = &w->lineages[i];
        bool is_better = !of_subject || (is_static(of_subject) && is_renewed_by(l, cap));
        if (is_better && is_somebody(l) && fp_equal(l->subject, cap->subject))
            of_subject = l;
    }
    return of_subject;
}

/* Did it come after what we have? A client that rotated has a later expiry; a stale one writes back
 * an earlier. */
bool is_newer(const struct capture *cap, const struct lineage *l)
{
    const struct pair *pair = &cap->pair;
    bool same_access = fp_equal(pair->access, l->pair.access);
    if (fp_is_none(pair->refresh) || (same_access && fp_equal(pair->refresh, l->pair.refresh)))
        return false;
    if (!l->refused && !l->access_dead && l->rotated_boot_ms >= cap->seen_boot_ms)
        return false; /* ours was granted after that one stood there. (One that was only kept may
                         have been replaced by that one meanwhile.) */
    int64_t theirs = pair->expires_wall_ms, ours = l->pair.expires_wall_ms;
    if (fp_equal(pair->refresh, l->pair.refresh)) /* what was refused is not tried again */
        return !l->refused && theirs > ours;
    return l->refused || l->access_dead || theirs == 0 || ours == 0 || theirs >= ours;
}

bool is_access_alone(const struct pair *pair)
{
    return fp_is_none(pair->refresh) && pair->expires_wall_ms != 0;
}

/* The pair of a lineage that we know: now its place says which. */
const struct lineage *owner_of(const struct warden *w, const struct pair *pair)
{
    for (uint32_t i = 0; i < w->limits.lineages; i++) {
        const struct lineage *l = &w->lineages[i];
        if (l->state == LS_FREE || !fp_equal(l->pair.access, pair->access))
            continue;
        if (pair_equal(&l->pair, pair) || fp_is_none(pair->refresh))
            return l;
    }
    return NULL;
}

/* Of two of one lineage the one that lasts longer goes first: the other led to it, perhaps. */
bool is_outdone(const struct warden *w, const struct capture *cap)
{
    for (uint32_t i = 0; cap->target != NO_SLOT && i < w->limits.captures; i++) {
        const struct capture *other = &w->captures[i];
        if (other->id != 0 && other->stage == STAGE_NAMED && other->target == cap->target &&
            !fp_is_none(other->pair.refresh) &&
            other->pair.expires_wall_ms > cap->pair.expires_wall_ms)
            return true;
    }
    return false;
}

/* A pair from a place of `home` that is being tried as a lineage of its own, for nobody could vouch
 * for it. NULL: none. */
struct lineage *claim_for(const struct warden *w, const struct lineage *home)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (is_claim_of(&w->lineages[i], home->id) && w->lineages[i].state != LS_QUARANTINED)
            return &w->lineages[i];
    }
    return NULL;
}

bool lasts_longer(const struct capture *cap, const struct lineage *l)
{
    return l->pair.expires_wall_ms != 0 && cap->pair.expires_wall_ms > l->pair.expires_wall_ms;
}

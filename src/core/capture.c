/*
 * Captures: pairs found in a replica. They are sealed and durable before we hear of them, and are
 * believed only when the server has named their subject: "is it still the same subject?", never
 * "did the bytes change?". Until that is known, the token that they may have replaced is not spent.
 *
 *     captured ─ asked ─ named ─┬ of a lineage that we know, and newer: it continues with this pair
 *                               ├ older, or known: dropped, ours is put back
 *                               └ of nobody we know: quarantined, and the place is left alone
 *              └ its access token is over, so nobody can say: spent, where we may, as an `add` is
 */
#include "core/internal.h"

#include <string.h>

#define ASK_FIRST_MS SECOND_MS
#define CLAIMS_MOST  8 /* of a name that another login is to have: minutes */
#define ASK_MAX_MS   (5 * MINUTE_MS)

static struct capture *capture_find(const struct warden *w, uint64_t id)
{
    for (uint32_t i = 0; id != 0 && i < w->limits.captures; i++) {
        if (w->captures[i].id == id)
            return &w->captures[i];
    }
    return NULL;
}

bool capture_is_open(const struct warden *w, uint64_t id)
{
    return id != 0 && capture_find(w, id) != NULL;
}

static struct lineage *slot_lineage(const struct warden *w, uint32_t slot)
{
    return slot == NO_SLOT ? NULL : &w->lineages[slot];
}

/* Which lineage a capture holds back: the one it may belong to. */
static struct lineage *held_back(const struct warden *w, const struct capture *cap)
{
    return slot_lineage(w, cap->target != NO_SLOT ? cap->target : cap->slot);
}

/* What nobody can say whose it is, and what its own lineage may not spend to learn it, waits for
 * its user: where else it stands, others do not wait with it. */
bool capture_holds_back(const struct warden *w, uint64_t id, const struct lineage *l)
{
    const struct capture *cap = id == 0 ? NULL : capture_find(w, id);
    const struct lineage *own = cap ? held_back(w, cap) : NULL;
    bool waits = cap && cap->stage == STAGE_MUTE && own && may_spend_from(own) == TIME_NEVER;
    return cap && (own == l || !waits);
}

static void aim(struct warden *w, struct capture *cap, const struct lineage *target)
{
    struct lineage *before = held_back(w, cap);
    if (before)
        before->n_captures--;
    cap->target = target ? (uint32_t)(target - w->lineages) : NO_SLOT;
    struct lineage *after = held_back(w, cap);
    if (after)
        after->n_captures++;
}

static void forget(struct warden *w, struct capture *cap)
{
    struct lineage *l = held_back(w, cap);
    if (l)
        l->n_captures--;
    w->n_claims -= cap->claiming;
    memset(cap, 0, sizeof(*cap));
}

static void drop(struct step *s, struct capture *cap)
{
    uint64_t id = cap->id;
    emit(s, FX_DROP)->capture = id;
    forget(s->w, cap);
    capture_resolved(s, id);
}

static void back_off_capture(struct step *s, struct capture *cap, int64_t retry_after_ms)
{
    int64_t pause = ms_min(ASK_FIRST_MS << ms_min(cap->tries, 12), ASK_MAX_MS);
    pause = pause / 2 + rng_below(s->w, pause);
    cap->not_before_boot_ms = s->now.boot_ms + ms_max(pause, ms_min(retry_after_ms, DAY_MS));
    cap->tries += cap->tries < UINT32_MAX;
}

/* Each order names what it is about. */
static void order(struct step *s, const struct capture *cap, enum effect_kind kind)
{
    struct effect *fx = emit(s, kind);
    fx->capture = cap->id;
    fx->pair = cap->pair;
    fx->subject = cap->subject;
    fx->generation = s->l ? s->l->generation + 1 : 0;
}

static void store(struct step *s, struct capture *cap, enum effect_kind kind)
{
    order(s, cap, kind);
    cap->claiming = kind == FX_CLAIM;
    s->w->n_claims += cap->claiming;
    cap->resume = cap->stage;
    cap->stage = STAGE_STORING;
}

/* It could not be stored, or not there: judged again. */
static void back_to(struct step *s, struct capture *cap)
{
    s->w->n_claims -= cap->claiming;
    cap->claiming = false;
    cap->stage = cap->resume;
}

static void continue_with(struct step *s, struct capture *cap, struct lineage *target)
{
    struct lineage *own = s->l;
    s->l = target;
    store(s, cap, FX_ADOPT);
    target->pending = (struct pending){.pair = cap->pair};
    target->rest = target->state;
    target->continuing = cap->id;
    become(s, LS_CONTINUING);
    s->l = own;
}

/* Its refresh token we hold already; the access token beside it is over, or of somebody else. */
static void drop_of_grant(struct step *s, struct capture *cap, const struct lineage *grant)
{
    if (is_set_aside(grant))
        leave_alone(s, &cap->pair, cap->id);
    drop(s, cap);
}

/* One grant is one lineage: where there is one, nothing is set aside. */
static void quarantine(struct step *s, struct capture *cap)
{
    const struct lineage *grant = grant_of(s->w, cap->pair.refresh);
    if (grant) {
        drop_of_grant(s, cap, grant);
        return;
    }
    leave_alone(s, &cap->pair, cap->id);
    store(s, cap, FX_QUARANTINE);
}

static void go_on_named(struct step *s, struct capture *cap)
{
    struct lineage *target = lineage_of(s->w, cap);
    const struct lineage *grant = grant_of(s->w, cap->pair.refresh);
    aim(s->w, cap, target);
    if (grant && grant != target) {
        drop_of_grant(s, cap, grant);
    } else if (target && is_access_alone(&cap->pair)) {
        set_own_access(s->w, cap->id); /* of our own subject, by whatever way: nothing to keep */
        drop(s, cap);
    } else if (!target || fp_is_none(cap->pair.refresh)) {
        quarantine(s, cap); /* somebody's, or a static one that was put there on purpose */
    } else if (can_continue(target) && !is_newer(cap, target)) {
        drop(s, cap);
    } else if (can_continue(target) && !is_outdone(s->w, cap)) {
        continue_with(s, cap, target);
    }
}

bool slots_are_spoken_for(const struct warden *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->limits.lineages; i++)
        n += w->lineages[i].state == LS_FREE;
    return n <= w->n_claims;
}

/* Nobody waits for what becomes of it. In doubt it does not get anywhere by itself while another
 * one stands in its place. */
static bool can_give_way(const struct lineage *tried)
{
    return tried->state == LS_UNPROVEN || tried->state == LS_DOUBT;
}

/* One at a time, and of two the one that lasts longer: it may be what the other was spent for. */
static void go_on_beside(struct step *s, struct capture *cap, struct lineage *tried)
{
    struct lineage *own = s->l;
    if (!lasts_longer(cap, tried)) {
        quarantine(s, cap);
    } else if (can_give_way(tried)) {
        s->l = tried;
        set_aside(s);
        s->l = own;
    }
}

/* Nobody can say whose it is. Newer than ours, it has replaced ours, as far as one can see: it is
 * spent like a login that a user adds, where that is allowed. Older, and no former pair of ours
 * (the ledger would know), it may be anybody's. */
static void go_on_mute(struct step *s, struct capture *cap)
{
    struct lineage *bound = slot_lineage(s->w, cap->slot);
    const struct lineage *grant = grant_of(s->w, cap->pair.refresh);
    struct lineage *tried = bound ? claim_for(s->w, bound) : NULL;
    if (grant) {
        drop_of_grant(s, cap, grant);
    } else if (!bound || !is_somebody(bound)) {
        quarantine(s, cap);
    } else if (!can_continue(bound)) {
        return;
    } else if (!is_newer(cap, bound)) {
        quarantine(s, cap);
    } else if (tried) {
        go_on_beside(s, cap, tried);
    } else if (cap->name_is_taken && cap->tries >= CLAIMS_MOST) {
        quarantine(s, cap); /* by a login that is not proven for good, perhaps */
    } else if (may_spend(bound, s->now) && !slots_are_spoken_for(s->w)) {
        store(s, cap, FX_CLAIM);
    }
}

static int64_t one_owes(const struct warden *w, const struct capture *cap)
{
    struct lineage *l = held_back(w, cap);
    const struct lineage *tried;
    switch (cap->stage) {
    case STAGE_CAPTURED:
        return cap->not_before_boot_ms;
    case STAGE_NAMED:
        if (!l || cap->target == NO_SLOT || !is_believed(l))
            return cap->not_before_boot_ms;
        return can_continue(l) && !(is_newer(cap, l) && is_outdone(w, cap))
                   ? cap->not_before_boot_ms
                   : TIME_NEVER;
    case STAGE_MUTE:
        if (!l || !is_somebody(l) || grant_of(w, cap->pair.refresh))
            return cap->not_before_boot_ms;
        if (!can_continue(l))
            return TIME_NEVER;
        if (!is_newer(cap, l))
            return cap->not_before_boot_ms;
        tried = claim_for(w, l);
        if (tried && lasts_longer(cap, tried) && !can_give_way(tried))
            return TIME_NEVER;
        if (tried)
            return ms_max(cap->not_before_boot_ms, tried->not_before_boot_ms);
        return slots_are_spoken_for(w) ? TIME_NEVER
                                       : ms_max(may_spend_from(l), cap->not_before_boot_ms);
    case STAGE_ASKING:
    case STAGE_STORING:
        break;
    }
    return TIME_NEVER;
}

int64_t captures_owe(const struct warden *w, const struct lineage *l)
{
    int64_t soonest = TIME_NEVER;
    bool idle = l->n_captures == 0 || w->stopping || l->state == LS_RETIRING;
    for (uint32_t i = 0; !idle && i < w->limits.captures; i++) {
        const struct capture *cap = &w->captures[i];
        if (cap->id != 0 && held_back(w, cap) == l)
            soonest = ms_min(soonest, one_owes(w, cap));
    }
    return soonest;
}

bool captures_wait_for_leave(const struct warden *w, const struct lineage *l)
{
    if (may_spend_from(l) != TIME_NEVER)
        return false;
    for (uint32_t i = 0; i < w->limits.captures; i++) {
        const struct capture *cap = &w->captures[i];
        if (cap->id != 0 && held_back(w, cap) == l && cap->stage != STAGE_MUTE)
            return false;
    }
    return true;
}

static void go_on(struct step *s, struct capture *cap)
{
    switch (cap->stage) {
    case STAGE_CAPTURED:
        CHECK(s->l);
        if (s->l->rules.has_identity) {
            order(s, cap, FX_ASK_IDENTITY);
            cap->stage = STAGE_ASKING;
        } else { /* nobody can say whose it is */
            cap->stage = STAGE_NAMED;
            go_on_named(s, cap);
        }
        break;
    case STAGE_NAMED:
        go_on_named(s, cap);
        break;
    case STAGE_MUTE:
        go_on_mute(s, cap);
        break;
    case STAGE_ASKING:
    case STAGE_STORING:
        break;
    }
}

void captures_go(struct step *s)
{
    struct lineage *l = s->l;
    for (uint32_t i = 0; i < s->w->limits.captures; i++) {
        struct capture *cap = &s->w->captures[i];
        if (cap->id != 0 && held_back(s->w, cap) == l && one_owes(s->w, cap) <= s->now.boot_ms)
            go_on(s, cap);
    }
}

static struct capture *same_capture(const struct warden *w, const struct pair *pair)
{
    for (uint32_t i = 0; i < w->limits.captures; i++) {
        if (w->captures[i].id != 0 && pair_equal(&w->captures[i].pair, pair))
            return &w->captures[i];
    }
    return NULL;
}

/* Does a drop make sense: is this id one that we do not deal with already? */
static void drop_stored(struct step *s)
{
    if (s->ev->capture != 0 && !capture_find(s->w, s->ev->capture))
        emit(s, FX_DROP)->capture = s->ev->capture;
}

static struct capture *capture_new(struct step *s)
{
    struct warden *w = s->w;
    for (uint32_t i = 0; i < w->limits.captures; i++) {
        struct capture *cap = &w->captures[i];
        if (cap->id != 0)
            continue;
        *cap = (struct capture){.id = s->ev->capture,
                                .consumer = s->ev->consumer,
                                .slot = s->l ? (uint32_t)(s->l - w->lineages) : NO_SLOT,
                                .target = NO_SLOT,
                                .seen_boot_ms = s->now.boot_ms,
                                .pair = s->ev->observed.pair};
        if (s->l)
            s->l->n_captures++;
        return cap;
    }
    return NULL;
}

/* No room to ask about it: kept, and its owner may claim it. */
static void set_aside_unasked(struct step *s, uint64_t id, const struct pair *pair)
{
    struct effect *fx = emit(s, FX_QUARANTINE);
    fx->capture = id;
    fx->pair = *pair;
}

/* Of finds that wait to be asked about, the oldest of the same place is the first to go: its client
 * has gone on since. false: there is none. */
static bool make_room(struct step *s)
{
    struct capture *oldest = NULL;
    for (uint32_t i = 0; s->l && i < s->w->limits.captures; i++) {
        struct capture *cap = &s->w->captures[i];
        bool waits = cap->stage == STAGE_CAPTURED || cap->stage == STAGE_MUTE;
        if (cap->id != 0 && cap->consumer == s->ev->consumer && waits &&
            held_back(s->w, cap) == s->l && (!oldest || cap->seen_boot_ms < oldest->seen_boot_ms))
            oldest = cap;
    }
    if (!oldest)
        return false;
    const struct lineage *grant = grant_of(s->w, oldest->pair.refresh);
    if (grant) {
        drop_of_grant(s, oldest, grant);
        return true;
    }
    uint64_t id = oldest->id;
    set_aside_unasked(s, id, &oldest->pair);
    leave_alone(s, &oldest->pair, id);
    forget(s->w, oldest);
    capture_resolved(s, id);
    return true;
}

/* It stands there. Was it nobody's, because the place where it was found is no consumer any more,
 * then it is on its way into quarantine; should that fail it is this lineage's to deal with. */
static void show(struct step *s, struct consumer *c, struct capture *cap)
{
    c->shows = cap->id;
    if (held_back(s->w, cap))
        return;
    c->drifted = true;
    cap->consumer = c->id;
    cap->slot = c->slot;
    CHECK(s->l == &s->w->lineages[c->slot]);
    s->l->n_captures++;
}

/* `c`: the replica where it stands now; NULL: it stood there once, or somebody put it into a sink.
 */
static void on_pair_seen(struct step *s, struct consumer *c)
{
    const struct pair *pair = &s->ev->observed.pair;
    const struct lineage *owner = owner_of(s->w, pair);
    const struct lineage *of = owner ? owner : grant_of(s->w, pair->refresh);
    bool is_known = owner || s->ev->observed.spent;
    if (c && c->wish == WISH_FILL)
        c->wish = WISH_NONE; /* it is not empty */
    if (c && of && is_set_aside(of))
        c->drifted = is_known || s->ev->capture == 0;
    if (is_known) {
        drop_stored(s);
        if (s->l && owner == s->l && !s->ev->observed.from_store)
            count_as_held(s); /* whether we put it there or not, and whatever is there by now */
        if (c && owner == s->l)
            c->wish = WISH_NONE; /* it is done */
        return;
    }
    struct capture *known = same_capture(s->w, pair);
    if (c && known)
        show(s, c, known);
    if (c && !known && s->ev->capture == 0)
        c->drifted = true; /* of a lineage that another warden has, and we have not heard of */
    if (known || s->ev->capture == 0) {
        if (!known || known->id != s->ev->capture)
            drop_stored(s);
        return;
    }
    bool full = s->l && s->l->n_captures >= CAPTURES_PER_LINEAGE_MAX;
    struct capture *cap = full ? NULL : capture_new(s);
    const struct lineage *grant = grant_of(s->w, pair->refresh);
    if (!cap && !grant && make_room(s))
        cap = capture_new(s);
    if (c && cap)
        c->shows = cap->id;
    if (!cap && grant) { /* we hold what renews it */
        drop_stored(s);
        if (c && is_set_aside(grant))
            c->drifted = true; /* … and is a stranger's */
    } else if (!cap) {
        set_aside_unasked(s, s->ev->capture, pair);
        if (c) { /* nothing holds its lineage back but this: is it set aside by then? */
            c->drifted = true;
            look_later(s, c);
        }
    } else if (!s->l) {
        quarantine(s, cap); /* nobody's place any more */
    }
}

void on_observed(struct step *s)
{
    struct consumer *c = consumer_find(s->w, s->ev->consumer);
    if (c)
        s->l = &s->w->lineages[c->slot];
    bool now_there = c && !s->ev->observed.from_store && consumer_saw(s, c);
    if (s->ev->observed.what == SEEN_PAIR)
        on_pair_seen(s, now_there && c->replica ? c : NULL);
    if (s->l)
        alarm_look(s);
}

void on_capture_named(struct step *s)
{
    struct capture *cap = capture_find(s->w, s->ev->capture);
    if (!cap || cap->stage != STAGE_ASKING)
        return;
    switch (s->ev->identity.what) {
    case IDENTITY_NAMED:
    case IDENTITY_SCOPE:                /* it lives, and nobody can say whose it is */
        if (s->ev->server_wall_ms != 0) /* a Date has whole seconds: the end of that one */
            cap->server_minus_boot_ms = s->ev->server_wall_ms + SECOND_MS - 1 - s->now.boot_ms;
        cap->tries = 0;
        cap->stage = STAGE_NAMED;
        cap->subject =
            s->ev->identity.what == IDENTITY_NAMED ? s->ev->identity.subject : (struct fp){{0}};
        aim(s->w, cap, lineage_of(s->w, cap));
        break;
    case IDENTITY_EXPIRED:
    case IDENTITY_REVOKED:
        cap->stage = STAGE_MUTE;
        break;
    case IDENTITY_UNANSWERED:
    case IDENTITY_COUNT:
        cap->stage = STAGE_CAPTURED;
        back_off_capture(s, cap, s->ev->retry_after_ms);
        return;
    }
    go_on(s, cap);
}

/* `server_minus_boot_ms`: the server's clock, as heard when it was asked about the pair; 0: not. */
static void continued(struct step *s, uint64_t from, int64_t server_minus_boot_ms)
{
    struct lineage *l = s->l;
    struct pair pair = l->pending.pair;
    bool told = server_minus_boot_ms != 0 && pair.expires_wall_ms != 0;
    take_pair(s, &pair, told ? pair.expires_wall_ms - server_minus_boot_ms : 0);
    was_obtained_elsewhere(l);
    l->generation++;
    l->standing = STANDING_LIVE;
    l->refused = false;
    l->replayed = false;
    l->answer_lost = false;
    l->access_proved = false;
    l->given_away |= !consumer_find(s->w, from);
    back_off_clear(l);
    alarm_clear(s, ALARM_UNREACHABLE);
    become(s, LS_LIVE);
    no_stranger_any_more(s, &pair); /* what was set aside may have been a part of it */
    count_as_held(s);               /* by whoever obtained it */
    alarm_look(s);
    serve_waiters(s);
}

void on_capture_stored(struct step *s)
{
    struct capture *cap = capture_find(s->w, s->ev->capture);
    uint64_t from = cap ? cap->consumer : 0;
    int64_t server_minus_boot_ms = cap ? cap->server_minus_boot_ms : 0;
    if (s->l)
        alarm_clear(s, ALARM_STORE);
    if (cap && cap->stage == STAGE_STORING) {
        if (s->ev->kind == EV_QUARANTINED) /* it may have been seen again since that was ordered */
            leave_alone(s, &cap->pair, cap->id);
        forget(s->w, cap);
        capture_resolved(s, s->ev->capture);
    }
    if (s->ev->kind == EV_ADOPTED && s->l && s->l->state == LS_CONTINUING &&
        s->l->continuing == s->ev->capture)
        continued(s, from, server_minus_boot_ms);
}

void on_capture_failed(struct step *s)
{
    struct capture *cap = capture_find(s->w, s->ev->capture);
    if (s->l) {
        alarm_raise(s, ALARM_STORE);
        if (s->l->state == LS_CONTINUING && s->l->continuing == s->ev->capture) {
            become(s, s->l->rest);
            serve_waiters(s);
        }
    }
    if (!cap || cap->stage != STAGE_STORING)
        return;
    cap->name_is_taken = cap->claiming && s->ev->err == ERR_EXISTS;
    back_to(s, cap);
    back_off_capture(s, cap, 0);
    if (!held_back(s->w, cap)) /* nobody's: it is stored, and told of again at the next start */
        forget(s->w, cap);
}

void capture_overtaken(struct step *s)
{
    struct capture *cap = capture_find(s->w, s->ev->capture);
    const struct loaded *row = &s->ev->loaded;
    if (!cap || cap->stage != STAGE_STORING)
        return;
    back_to(s, cap);
    back_off_capture(s, cap, 0);
    /* Refused, though the lineage is as we knew it: the ledger knows its token, or another warden
     * has dealt with the capture. */
    if (row->intent == 0 && row->generation == s->l->generation &&
        row->standing != STANDING_RETIRED)
        drop(s, cap);
}

void captures_leave(struct step *s)
{
    struct warden *w = s->w;
    struct lineage *leaving = s->l;
    CHECK(leaving);
    uint32_t slot = (uint32_t)(leaving - w->lineages);
    for (uint32_t i = 0; i < w->limits.captures; i++) {
        struct capture *cap = &w->captures[i];
        if (cap->id == 0)
            continue;
        if (cap->target == slot) /* whose it is is looked for again */
            aim(w, cap, NULL);
        if (cap->slot == slot) {
            if (held_back(w, cap) == leaving)
                leaving->n_captures--;
            cap->slot = NO_SLOT;
        }
        if (held_back(w, cap) || cap->stage == STAGE_STORING)
            continue;
        aim(w, cap, lineage_of(w, cap));
        if (!held_back(w, cap))
            quarantine(s, cap);
    }
}

void captures_follow(struct step *s, const struct lineage *from)
{
    struct warden *w = s->w;
    for (uint32_t i = 0; from && from != s->l && i < w->limits.captures; i++) {
        struct capture *cap = &w->captures[i];
        if (cap->id == 0 || slot_lineage(w, cap->slot) != from)
            continue;
        struct lineage *before = held_back(w, cap);
        cap->slot = (uint32_t)(s->l - w->lineages);
        struct lineage *after = held_back(w, cap);
        CHECK(before && after);
        before->n_captures--;
        after->n_captures++;
    }
}

bool capture_claimed(struct step *s, uint64_t id)
{
    struct capture *cap = capture_find(s->w, id);
    bool is_left = !cap || !consumer_find(s->w, cap->consumer);
    if (!cap || cap->stage != STAGE_STORING)
        return is_left;
    forget(s->w, cap);
    capture_resolved(s, id);
    return is_left;
}

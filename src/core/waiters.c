/*
 * Waiters: callers who want a token. One function, judge(), says what one is told now, or that it
 * waits; arrival, time and every change of the lineage ask it. N waiters cause one spend, and a
 * waiter never causes a second one.
 */
#include "core/internal.h"

#include <string.h>

enum { ANSWERS_UNTIL = EFFECTS_MAX - 2 * CONSUMERS_PER_LINEAGE_MAX };

struct judgement {
    enum answer answer;
    int64_t retry_after_ms;
    int64_t limit_ms;
};

static struct judgement tell(enum answer answer)
{
    return (struct judgement){.answer = answer};
}

static struct judgement tell_later(enum answer answer, int64_t from_boot_ms, struct now now)
{
    return (struct judgement){.answer = answer,
                              .retry_after_ms =
                                  from_boot_ms > now.boot_ms && from_boot_ms != TIME_NEVER
                                      ? from_boot_ms - now.boot_ms
                                      : 0};
}

static bool is_fresh_for(const struct lineage *l, const struct waiter *wt)
{
    int64_t coalesce = RENEW_COALESCE_MS;
    if (l->pair.life_ms > 0)
        coalesce = ms_min(coalesce, l->pair.life_ms / 4);
    return l->obtained_boot_ms + coalesce >= wt->since_boot_ms;
}

/* Where a spend kills the access token at once, the old one may die any moment while a spend is
 * under way, or may be dead already while we do not know what became of it. */
static bool access_is_shaky(const struct lineage *l)
{
    if (!l->rules.refresh_kills_access)
        return false;
    bool doubting = l->state == LS_DOUBT || l->state == LS_PROBING;
    return in_flight(l) || (doubting && l->answer_lost && !l->access_proved);
}

static bool is_served(const struct lineage *l, const struct waiter *wt, struct now now)
{
    int64_t left = life_left(l, now);
    int64_t need = wt->ttl_min_ms >= 0 ? wt->ttl_min_ms : wish_default_ms(l);
    return left > 0 && left >= need && !access_is_shaky(l) && (!wt->renew || is_fresh_for(l, wt));
}

/* Not what was hoped for, but it works: for callers who did not say how long it must last. */
static bool is_good_enough(const struct lineage *l, const struct waiter *wt, struct now now)
{
    return !l->unproven && wt->ttl_min_ms < 0 && !wt->renew && life_left(l, now) > 0;
}

/* A live lineage at rest whose pair does not serve this waiter: spend for it, or say why not.
 * Returns false when the spend is on: it waits. */
static bool judge_at_rest(const struct warden *w, const struct lineage *l, const struct waiter *wt,
                          struct judgement *ret)
{
    struct now now = w->now;
    int64_t left = life_left(l, now);
    if (w->stopping) {
        *ret = tell(ANSWER_STOPPING);
    } else if (left == 0 && l->time_asked_until_boot_ms != 0) {
        return false; /* over by our clock alone: the server's is on its way */
    } else if (is_static(l)) {
        *ret = tell(left > 0 ? ANSWER_TOO_LONG : ANSWER_EXPIRED);
        ret->limit_ms = left;
    } else if (wt->had_spend || (l->pair.life_ms > 0 && wt->ttl_min_ms >= l->pair.life_ms)) {
        *ret = tell(ANSWER_TOO_LONG);
        ret->limit_ms = wt->had_spend ? left : l->pair.life_ms;
    } else if (may_spend_from(l) == TIME_NEVER || may_spend_from(l) > wt->deadline_boot_ms) {
        *ret = tell_later(ANSWER_POLICY, may_spend_from(l), now);
    } else if (now.boot_ms < due_boot_ms(l) && now.boot_ms < comfort_from(l)) {
        *ret = tell_later(ANSWER_CAPPED, comfort_from(l), now);
    } else if (l->not_before_boot_ms > now.boot_ms &&
               (l->not_before_boot_ms > wt->deadline_boot_ms || is_good_enough(l, wt, now))) {
        *ret = tell_later(l->trouble, l->not_before_boot_ms, now);
    } else {
        return false;
    }
    if (is_good_enough(l, wt, now))
        *ret = tell(ANSWER_TOKEN);
    return true;
}

static bool judge_in_doubt(const struct warden *w, const struct lineage *l, const struct waiter *wt,
                           struct judgement *ret)
{
    int64_t next = w->now.boot_ms;
    if (l->state == LS_DOUBT)
        next = ms_min(probe_due_boot_ms(l), replay_due_boot_ms(w, l));
    if (next <= wt->deadline_boot_ms && !w->stopping)
        return false;
    *ret = tell_later(ANSWER_DOUBT, next, w->now);
    if (is_good_enough(l, wt, w->now))
        *ret = tell(ANSWER_TOKEN);
    return true;
}

/* Its patience is over. */
static struct judgement judge_late(const struct warden *w, const struct lineage *l,
                                   const struct waiter *wt)
{
    if (is_good_enough(l, wt, w->now) && !in_flight(l))
        return tell(ANSWER_TOKEN);
    if (l->state == LS_DOUBT || l->state == LS_PROBING || l->state == LS_SEARCHING)
        return tell(ANSWER_DOUBT);
    if (l->state == LS_UNPROVEN || l->state == LS_ASKING || l->state == LS_ADOPTING)
        return tell(ANSWER_UNPROVEN);
    if (l->state == LS_LIVE && !is_static(l) && may_spend_from(l) == TIME_NEVER)
        return tell(ANSWER_POLICY); /* whatever was the trouble when it could be spent */
    if (l->tries > 0 && l->trouble != ANSWER_TOKEN)
        return tell_later(l->trouble, l->not_before_boot_ms, w->now);
    return tell(ANSWER_TIMEOUT);
}

/* true: tell it `*ret` now. false: it waits. */
static bool judge(const struct warden *w, const struct lineage *l, const struct waiter *wt,
                  struct judgement *ret)
{
    switch (l->state) {
    case LS_DEAD:
        *ret = tell(ANSWER_DEAD);
        return true;
    case LS_QUARANTINED:
        *ret = tell(ANSWER_QUARANTINED);
        return true;
    case LS_RETIRING:
    case LS_FREE:
    case LS_COUNT:
        *ret = tell(ANSWER_UNKNOWN);
        return true;
    case LS_UNPROVEN:
    case LS_ASKING:
    case LS_ADOPTING:
    case LS_LIVE:
    case LS_LEASING:
    case LS_WITHHOLDING:
    case LS_INTENDING:
    case LS_SPENDING:
    case LS_SETTLING:
    case LS_CLOSING:
    case LS_DOUBT:
    case LS_PROBING:
    case LS_SEARCHING:
    case LS_CONTINUING:
        break;
    }
    bool revived = l->state == LS_CONTINUING && (l->rest == LS_DEAD || l->rest == LS_SEARCHING);
    bool late = w->now.boot_ms >= wt->deadline_boot_ms;
    if (revived && late) { /* not yet: what we have was refused */
        *ret = tell(l->rest == LS_DEAD ? ANSWER_DEAD : ANSWER_DOUBT);
        return true;
    }
    if (!l->unproven && !revived && is_served(l, wt, w->now)) {
        *ret = tell(ANSWER_TOKEN);
        return true;
    }
    if (l->state == LS_LIVE && judge_at_rest(w, l, wt, ret))
        return true; /* also who has no patience is told why */
    if (late) {
        *ret = judge_late(w, l, wt);
        return true;
    }
    if (l->state == LS_LIVE)
        return false;
    if (l->state == LS_DOUBT || l->state == LS_PROBING)
        return judge_in_doubt(w, l, wt, ret);
    if (w->stopping && !in_flight(l)) {
        *ret = tell(ANSWER_STOPPING);
        return true;
    }
    return false;
}

void answer_waiter(struct step *s, uint64_t waiter, enum answer answer, int64_t retry_after_ms,
                   int64_t limit_ms)
{
    if (waiter == 0)
        return;
    struct effect *fx = emit(s, FX_ANSWER);
    fx->waiter = waiter;
    fx->answer = answer;
    fx->generation = s->l ? s->l->generation : 0;
    fx->retry_after_ms = retry_after_ms;
    fx->limit_ms = limit_ms;
}

static void drop_waiter(struct warden *w, uint32_t i)
{
    w->lineages[w->waiters[i].slot].n_waiters--;
    w->waiters[i] = w->waiters[--w->n_waiters];
}

void serve_waiters(struct step *s)
{
    struct warden *w = s->w;
    uint32_t slot = (uint32_t)(s->l - w->lineages);
    /* One event may set several lineages to rest. Who finds no room is told by the timer. */
    for (uint32_t i = 0; s->l->n_waiters > 0 && i < w->n_waiters && s->out->n < ANSWERS_UNTIL;) {
        struct judgement j;
        if (w->waiters[i].slot != slot || !judge(w, s->l, &w->waiters[i], &j)) {
            i++;
            continue;
        }
        answer_waiter(s, w->waiters[i].id, j.answer, j.retry_after_ms, j.limit_ms);
        drop_waiter(w, i);
    }
}

void waiters_had_spend(struct warden *w, const struct lineage *l)
{
    uint32_t slot = (uint32_t)(l - w->lineages);
    for (uint32_t i = 0; i < w->n_waiters; i++) {
        if (w->waiters[i].slot == slot)
            w->waiters[i].had_spend = true;
    }
}

int64_t waiters_deadline(const struct warden *w, const struct lineage *l)
{
    uint32_t slot = (uint32_t)(l - w->lineages);
    int64_t soonest = TIME_NEVER;
    for (uint32_t i = 0; i < w->n_waiters; i++) {
        if (w->waiters[i].slot == slot)
            soonest = ms_min(soonest, w->waiters[i].deadline_boot_ms);
    }
    return soonest;
}

void on_want(struct step *s)
{
    struct warden *w = s->w;
    struct lineage *l = s->l;
    struct waiter wt = {
        .id = s->ev->waiter,
        .slot = (uint32_t)(l - w->lineages),
        .ttl_min_ms = s->ev->want.ttl_min_ms,
        .since_boot_ms = s->now.boot_ms,
        .deadline_boot_ms = s->ev->want.deadline_boot_ms,
        .renew = s->ev->want.renew,
    };
    struct judgement j;
    if (judge(w, l, &wt, &j)) {
        answer_waiter(s, wt.id, j.answer, j.retry_after_ms, j.limit_ms);
    } else if (w->n_waiters == w->limits.waiters || l->n_waiters == WAITERS_PER_LINEAGE_MAX) {
        answer_waiter(s, wt.id, ANSWER_BUSY, 0, 0);
    } else {
        w->waiters[w->n_waiters++] = wt;
        l->n_waiters++;
    }
}

void on_unwant(struct step *s)
{
    struct warden *w = s->w;
    for (uint32_t i = 0; i < w->n_waiters; i++) {
        if (w->waiters[i].id == s->ev->waiter) {
            drop_waiter(w, i);
            return;
        }
    }
    for (uint32_t i = 0; i < w->n_slots; i++) {
        struct lineage *l = &w->lineages[i];
        if (l->state != LS_FREE && l->add_waiter == s->ev->waiter)
            l->add_waiter = 0; /* the add itself goes on */
        if (l->state != LS_FREE && l->remove_waiter == s->ev->waiter)
            l->remove_waiter = 0;
    }
}

/*
 * In doubt: a refresh token was presented and the answer is lost, or the store is an old copy and
 * somebody may have spent since. The refresh token is presented exactly once more, as late as that
 * costs nothing:
 *
 *   - The provider forgives a reuse for a while (reuse_grace): soon, within it. The while began
 * with the presentation, not with the doubt; once it is over, the two below hold.
 *   - A spend would have killed the old access token, and the server can be asked: ask. Dead: it
 *     was committed; present now, there is nothing left to live on. Works: nothing was committed
 *     *so far*. A server that answers late may commit late, and would then take our next
 *     presentation for a reuse: so the old access token is lived on, and asked about once more when
 *     a late commit is past. Only that second answer ends the doubt.
 *   - Otherwise: live on the old access token to its end, then.
 *
 * Before any of this the server gets a moment to finish what it may still be at.
 */
#include "core/internal.h"

#define SETTLE_DOWN_MS  (5 * SECOND_MS) /* between the lost answer and the first look */
#define LATELY_MS       (30 * DAY_MS)   /* further off no wall clock is */
#define LATE_COMMIT     2 /* a server commits within so many spend deadlines, or never */
#define GRACE_MOMENT_MS (2 * SECOND_MS)

static int64_t settle_down_ms(const struct lineage *l)
{
    return l->pair.life_ms > 0 ? ms_min(SETTLE_DOWN_MS, l->pair.life_ms / 8) : SETTLE_DOWN_MS;
}

/* Boot ms until which there may be life in the old access token. Not known counts as none: what
 * has no end cannot be lived on "to its end". */
static int64_t old_access_ends(const struct lineage *l)
{
    if (fp_is_none(l->pair.access) || l->access_dead || l->expires_boot_ms == TIME_NEVER)
        return 0;
    return l->expires_boot_ms;
}

/* From then on nothing of the lost presentation is under way any more. */
static int64_t late_commit_over(const struct lineage *l)
{
    return l->sent_boot_ms + LATE_COMMIT * l->rules.spend_deadline_ms;
}

void hear_of_restored(struct step *s)
{
    const struct loaded *from = &s->ev->loaded;
    int64_t ago_ms = s->now.wall_ms - from->restored_wall_ms;
    /* By a wall clock, another machine's perhaps, which may have been set since. That of a lineage
     * which is still in doubt for it has not been told of its end. */
    bool lately = from->restored_wall_ms != 0 &&
                  ((ago_ms < LATELY_MS && ago_ms > -LATELY_MS) || is_old_copy(s->l));
    if (s->w->restored_boot_ms != 0)
        return;
    if (from->restored)
        s->w->restored_boot_ms = s->now.boot_ms;
    else if (from->restored_boot_ms != 0)
        s->w->restored_boot_ms = from->restored_boot_ms;
    else if (lately)
        s->w->restored_boot_ms = s->now.boot_ms; /* at the latest */
}

int64_t forgotten_until(const struct warden *w, const struct lineage *l)
{
    return w->restored_boot_ms == 0 || !l->rules.rotates
               ? 0
               : w->restored_boot_ms + LATE_COMMIT * l->rules.spend_deadline_ms;
}

int64_t probe_due_boot_ms(const struct lineage *l)
{
    if (!l->rules.refresh_kills_access || !l->rules.has_identity)
        return TIME_NEVER;
    int64_t at =
        l->access_proved ? late_commit_over(l) : l->doubt_since_boot_ms + settle_down_ms(l);
    at = ms_max(at, l->not_before_boot_ms);
    return at < old_access_ends(l) ? at : TIME_NEVER;
}

/* When to make use of the grace; TIME_NEVER: there is none, or it is over by the time we may. */
static int64_t forgiven_from(const struct lineage *l, int64_t may_boot_ms, struct now now)
{
    int64_t grace = l->rules.reuse_grace_ms;
    int64_t end = l->presented_boot_ms + grace;
    if (!l->answer_lost || !l->presented_known || now.boot_ms >= end || may_boot_ms >= end)
        return TIME_NEVER;
    int64_t at = l->doubt_since_boot_ms + ms_min(GRACE_MOMENT_MS, grace / 4);
    return ms_max(may_boot_ms, ms_min(at, end - grace / 4));
}

int64_t replay_due_boot_ms(const struct warden *w, const struct lineage *l)
{
    int64_t may = ms_max(may_spend_from(l), l->not_before_boot_ms);
    if (may == TIME_NEVER || l->replayed || spend_is_hindered(w, l))
        return TIME_NEVER;
    may = ms_max(may, forgotten_until(w, l));
    if (has_replica(w, l)) /* a sibling may have written what our lost answer, or its own, said */
        may = ms_max(may, search_over_boot_ms(w, l));
    int64_t forgiven = forgiven_from(l, may, w->now);
    if (forgiven != TIME_NEVER)
        return forgiven;
    int64_t at = ms_max(l->doubt_since_boot_ms + settle_down_ms(l), old_access_ends(l));
    return ms_max(at, may);
}

void begin_probe(struct step *s)
{
    emit(s, FX_PROBE)->generation = s->l->generation;
    become(s, LS_PROBING);
}

/* Nothing was committed. Should the order be lost, the next start doubts and probes again. */
static void groundless(struct step *s)
{
    struct lineage *l = s->l;
    back_off_clear(l);
    l->answer_lost = false;
    l->access_proved = false;
    l->last_comfort_boot_ms = 0; /* nothing was spent for anybody */
    l->standing = l->unproven ? STANDING_UNPROVEN : STANDING_LIVE;
    struct effect *fx = emit(s, FX_RESOLVE);
    fx->standing = l->standing;
    fx->doubt = l->doubt;
    become(s, l->unproven ? LS_UNPROVEN : LS_LIVE);
    alarm_look(s);
}

void on_probed(struct step *s)
{
    struct lineage *l = s->l;
    switch (s->ev->probe.what) {
    case IDENTITY_NAMED:
    case IDENTITY_SCOPE:
        if (s->now.boot_ms < late_commit_over(l)) {
            back_off_clear(l);
            l->access_proved = true;
            become(s, LS_DOUBT);
        } else {
            groundless(s);
        }
        break;
    case IDENTITY_EXPIRED:
    case IDENTITY_REVOKED:
        back_off_clear(l);
        become(s, LS_DOUBT);
        break;
    case IDENTITY_UNANSWERED:
    case IDENTITY_COUNT:
        back_off(s, s->ev->retry_after_ms, ANSWER_DOUBT);
        become(s, LS_DOUBT);
        break;
    }
    serve_waiters(s);
}

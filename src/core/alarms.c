/*
 * Alarms: raised once, cleared once. The bits are the lineage's; the effects make them durable and
 * tell people.
 */
#include "core/internal.h"

#define EXPIRING_STATIC_MS   (7 * DAY_MS)
#define EXPIRING_DEADLINE_MS (3 * DAY_MS)

void alarm_raise(struct step *s, enum alarm alarm)
{
    if (s->l->alarms & (1u << alarm))
        return;
    s->l->alarms |= 1u << alarm;
    emit(s, FX_ALARM_RAISE)->alarm = alarm;
}

void alarm_clear(struct step *s, enum alarm alarm)
{
    if (!(s->l->alarms & (1u << alarm)))
        return;
    s->l->alarms &= ~(1u << alarm);
    emit(s, FX_ALARM_CLEAR)->alarm = alarm;
}

/* Boot ms from which something that nobody can renew ends soon. */
static int64_t expiring_from(const struct warden *w, const struct lineage *l)
{
    int64_t from = TIME_NEVER;
    if (is_static(l) && l->expires_boot_ms != TIME_NEVER) {
        int64_t ahead = EXPIRING_STATIC_MS;
        if (l->pair.life_ms > 0 && l->pair.life_ms / 10 < ahead)
            ahead = l->pair.life_ms / 10;
        from = l->expires_boot_ms - ahead;
    }
    if (l->pair.login_deadline_wall_ms != 0) {
        int64_t at = w->now.boot_ms + (l->pair.login_deadline_wall_ms - w->now.wall_ms) -
                     EXPIRING_DEADLINE_MS;
        if (at < from)
            from = at;
    }
    return from;
}

/* Spends keep failing and the access token is over: callers are without one. */
static int64_t unreachable_from(const struct warden *w, const struct lineage *l)
{
    int64_t over = access_over_from(l);
    if (over == TIME_NEVER)
        return TIME_NEVER;
    if (l->state == LS_SPENDING) /* the answer is long overdue */
        return ms_max(over, l->sent_boot_ms + 2 * l->rules.spend_deadline_ms);
    if (l->state != LS_LIVE)
        return TIME_NEVER;
    if (may_spend_from(l) == TIME_NEVER) /* nothing is asked of it */
        return TIME_NEVER;
    return l->tries > 0 || spend_is_held_back(w, l) ? over : TIME_NEVER;
}

/* Is there something to be written that could not be? */
static bool is_to_be_written(const struct lineage *l)
{
    bool tried = l->tries > 0 && l->trouble == ANSWER_STORE &&
                 (l->unproven || may_spend_from(l) != TIME_NEVER);
    return in_flight(l) || l->state == LS_ADOPTING || l->state == LS_CONTINUING ||
           l->remove_wanted || l->n_captures > 0 || tried;
}

static bool is_used(const struct lineage *l)
{
    return l->state != LS_FREE && l->state != LS_QUARANTINED && l->state != LS_RETIRING &&
           !l->unproven;
}

/* From before a restart, when the end of it was not stored any more: where that was seen is no
 * place of it, that is written, that is not to be spent, that was replaced by what lasts. */
static bool has_told_in_vain(const struct warden *w, const struct lineage *l)
{
    bool lasts = is_used(l) && expiring_from(w, l) > w->now.boot_ms;
    bool never_spent = l->state == LS_LIVE && may_spend_from(l) == TIME_NEVER;
    return ((l->alarms & (1u << ALARM_STORE)) && !is_to_be_written(l)) ||
           ((l->alarms & (1u << ALARM_UNREACHABLE)) && never_spent) ||
           ((l->alarms & (1u << ALARM_EXPIRING)) && lasts) ||
           ((l->alarms & (1u << ALARM_SUBJECT)) && is_used(l) && drift_of(w, l) == DRIFT_NONE);
}

int64_t alarm_due_boot_ms(const struct warden *w, const struct lineage *l)
{
    int64_t at = TIME_NEVER;
    if (l->state == LS_FREE || l->state == LS_RETIRING)
        return at;
    if (has_told_in_vain(w, l))
        return 0;
    if (!is_used(l))
        return at;
    if (!(l->alarms & (1u << ALARM_EXPIRING)) && l->state != LS_DEAD)
        at = expiring_from(w, l);
    if (!(l->alarms & (1u << ALARM_UNREACHABLE)))
        at = ms_min(at, unreachable_from(w, l));
    return at;
}

void alarm_look(struct step *s)
{
    if (s->l->state == LS_FREE || s->l->state == LS_RETIRING)
        return;
    if (!is_to_be_written(s->l))
        alarm_clear(s, ALARM_STORE);
    if (!is_used(s->l))
        return;
    if (s->l->state != LS_DEAD && expiring_from(s->w, s->l) <= s->now.boot_ms)
        alarm_raise(s, ALARM_EXPIRING);
    else
        alarm_clear(s, ALARM_EXPIRING);
    if (unreachable_from(s->w, s->l) <= s->now.boot_ms)
        alarm_raise(s, ALARM_UNREACHABLE);
    else if (s->l->state == LS_LIVE)
        alarm_clear(s, ALARM_UNREACHABLE);
    enum drift drift = drift_of(s->w, s->l);
    if (drift == DRIFT_SOMEBODY)
        alarm_raise(s, ALARM_SUBJECT);
    else if (drift == DRIFT_NONE)
        alarm_clear(s, ALARM_SUBJECT);
}

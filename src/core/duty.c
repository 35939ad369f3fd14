/*
 * What a lineage owes, and when. warden_deadline() and the timer ask this one function, so a
 * deadline without its action, or an action without its deadline, cannot be written.
 */
#include "core/internal.h"

static void sooner(int64_t at, enum duty duty, int64_t *soonest, enum duty *which)
{
    if (at < *soonest) {
        *soonest = at;
        *which = duty;
    }
}

static bool at_rest(const struct lineage *l)
{
    switch (l->state) {
    case LS_UNPROVEN:
    case LS_LIVE:
    case LS_DOUBT:
    case LS_SEARCHING:
    case LS_DEAD:
    case LS_QUARANTINED:
        return true;
    case LS_FREE:
    case LS_ASKING:
    case LS_ADOPTING:
    case LS_CONTINUING:
    case LS_LEASING:
    case LS_WITHHOLDING:
    case LS_INTENDING:
    case LS_SPENDING:
    case LS_SETTLING:
    case LS_CLOSING:
    case LS_PROBING:
    case LS_RETIRING:
    case LS_COUNT:
        break;
    }
    return false;
}

static int64_t begin_from(const struct warden *w, const struct lineage *l)
{
    return ms_max(l->not_before_boot_ms, forgotten_until(w, l));
}

/* A spend is due when its window opens or a waiter needs it, but not before policy and back-off
 * allow it. */
static int64_t spend_from(const struct warden *w, const struct lineage *l)
{
    int64_t from = may_spend_from(l);
    if (w->stopping || from == TIME_NEVER || spend_is_hindered(w, l))
        return TIME_NEVER;
    /* Who still waits at a lineage at rest waits for a spend: see judge(). */
    int64_t due = l->n_waiters > 0 ? 0 : due_boot_ms(l);
    if (due == TIME_NEVER)
        return TIME_NEVER;
    return ms_max(ms_max(due, from), begin_from(w, l));
}

static void unproven_owes(const struct warden *w, const struct lineage *l, int64_t *at,
                          enum duty *duty)
{
    if (w->stopping) {
        if (l->add_deadline_boot_ms != TIME_NEVER)
            sooner(0, DUTY_ADD_OVER, at, duty);
        return;
    }
    sooner(l->add_deadline_boot_ms, DUTY_ADD_OVER, at, duty);
    if (!l->rules.has_identity)
        sooner(l->not_before_boot_ms, DUTY_ADOPT, at, duty);
    else if (life_left(l, w->now) > 0)
        sooner(l->not_before_boot_ms, DUTY_ASK, at, duty);
    else if (may_spend_from(l) != TIME_NEVER && !spend_is_hindered(w, l))
        sooner(ms_max(may_spend_from(l), begin_from(w, l)), DUTY_SPEND, at, duty);
    else if (l->add_deadline_boot_ms != TIME_NEVER)
        sooner(0, DUTY_ADD_OVER, at, duty);
}

int64_t owes(const struct warden *w, const struct lineage *l, enum duty *ret_duty)
{
    int64_t at = TIME_NEVER;
    enum duty duty = DUTY_NONE;

    if (at_rest(l) && l->remove_wanted) {
        sooner(l->remove_from_boot_ms, DUTY_REMOVE, &at, &duty);
        if (l->n_waiters > 0)
            sooner(w->stopping ? 0 : waiters_deadline(w, l), DUTY_WAITERS, &at, &duty);
        *ret_duty = duty;
        return at;
    }
    switch (l->state) {
    case LS_UNPROVEN:
        unproven_owes(w, l, &at, &duty);
        break;
    case LS_LIVE:
        if (l->time_asked_until_boot_ms != 0)
            sooner(l->time_asked_until_boot_ms, DUTY_NO_DATE, &at, &duty);
        else
            sooner(spend_from(w, l), DUTY_SPEND, &at, &duty);
        break;
    case LS_DOUBT:
        if (!w->stopping) {
            sooner(probe_due_boot_ms(l), DUTY_PROBE, &at, &duty);
            sooner(replay_due_boot_ms(w, l), DUTY_REPLAY, &at, &duty);
        }
        break;
    case LS_SEARCHING:
        if (!w->stopping) /* nothing is looked at any more: the next start goes on with it */
            sooner(search_over_boot_ms(w, l), DUTY_SEARCH_OVER, &at, &duty);
        break;
    case LS_SETTLING:
    case LS_CLOSING:
        if (l->not_before_boot_ms != 0) /* the write failed: not_before says when to repeat it */
            sooner(l->not_before_boot_ms, DUTY_WRITE, &at, &duty);
        break;
    case LS_FREE:
    case LS_ASKING:
    case LS_ADOPTING:
    case LS_CONTINUING:
    case LS_LEASING:
    case LS_WITHHOLDING:
    case LS_INTENDING:
    case LS_SPENDING:
    case LS_PROBING:
    case LS_DEAD:
    case LS_QUARANTINED:
    case LS_RETIRING:
    case LS_COUNT:
        break;
    }
    sooner(captures_owe(w, l), DUTY_CAPTURES, &at, &duty);
    sooner(consumers_owe(w, l), DUTY_CONSUMERS, &at, &duty);
    if (l->n_waiters > 0)
        sooner(w->stopping && !in_flight(l) ? 0 : waiters_deadline(w, l), DUTY_WAITERS, &at, &duty);
    sooner(alarm_due_boot_ms(w, l), DUTY_ALARM, &at, &duty);
    *ret_duty = duty;
    return at;
}

void perform_duty(struct step *s, enum duty duty)
{
    switch (duty) {
    case DUTY_NONE:
        break;
    case DUTY_ASK:
        begin_ask(s);
        break;
    case DUTY_ADOPT:
        believe(s, (struct fp){{0}});
        break;
    case DUTY_SPEND:
        begin_spend(s, false);
        break;
    case DUTY_REPLAY:
        begin_spend(s, true);
        break;
    case DUTY_PROBE:
        begin_probe(s);
        break;
    case DUTY_WRITE:
        write_again(s);
        break;
    case DUTY_REMOVE:
        begin_retire(s);
        break;
    case DUTY_NO_DATE:
        on_time_told(s);
        break;
    case DUTY_WAITERS:
        serve_waiters(s);
        break;
    case DUTY_ALARM:
        alarm_look(s);
        break;
    case DUTY_ADD_OVER:
        add_over(s);
        break;
    case DUTY_CONSUMERS:
        consumers_go(s);
        break;
    case DUTY_CAPTURES:
        captures_go(s);
        break;
    case DUTY_SEARCH_OVER:
        search_over(s);
        break;
    }
}

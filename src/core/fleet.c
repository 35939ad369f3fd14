/*
 * Several wardens on one store. Each write names what it builds on, so one that was overtaken is
 * refused and hears what was found. Before the presentation that costs nothing. After it, what was
 * granted to us may be the only pair alive, although another warden, which could not know, has
 * closed our intent in doubt: then it is settled late.
 */
#include "core/internal.h"

/* What is known of the pair itself, and of what failed with it, is ours: the store's news may be no
 * more than a fence. */
static void keep_what_we_know(struct lineage *l, const struct lineage *before)
{
    if (!pair_equal(&l->pair, &before->pair))
        return;
    if (l->held_until_boot_ms != 0 && l->held_until_boot_ms != TIME_NEVER &&
        l->expires_boot_ms != TIME_NEVER) /* counted from there */
        l->held_until_boot_ms += before->expires_boot_ms - l->expires_boot_ms;
    l->expires_boot_ms = before->expires_boot_ms;
    l->expiry_from_wall = before->expiry_from_wall;
    l->obtained_boot_ms = before->obtained_boot_ms;
    l->rotated_boot_ms = before->rotated_boot_ms;
    l->access_dead = before->access_dead;
    l->lead_ms = before->lead_ms;
    if (l->standing != before->standing)
        return;
    l->tries = before->tries;
    l->not_before_boot_ms = before->not_before_boot_ms;
    l->trouble = before->trouble;
}

/* The store's word replaces ours; only the alarms, which each warden raises for itself, stay. */
static void follow_row(struct step *s)
{
    struct lineage *l = s->l;
    const struct loaded *row = &s->ev->loaded;
    if (in_flight(l) && !l->lease_awaited)
        emit(s, FX_UNLEASE);
    l->intent = 0;
    l->intent_elsewhere = false;
    l->replay = false;
    struct lineage before = *l;
    back_off_clear(l);
    begin_anew(s);
    if (row->standing == STANDING_RETIRED) {
        become(s, LS_RETIRING);
        serve_waiters(s);
        on_retired(s);
        return;
    }
    bool claimed = before.standing == STANDING_QUARANTINED && row->standing != STANDING_QUARANTINED;
    bool spent = !fp_equal(before.pair.refresh, row->pair.refresh);
    if (claimed || spent)
        no_stranger_any_more(s, &before.pair);
    take_row(s, row);
    keep_what_we_know(l, &before);
    load_row(s);
    if (!is_set_aside(l))
        no_stranger_any_more(s, &l->pair);
    ask_the_time(s);
    alarm_look(s);
    serve_waiters(s);
}

static void forget_answer(struct step *s)
{
    emit(s, FX_DROP)->intent = s->l->intent;
    follow_row(s);
}

/* A write of ours was refused. */
static void on_refused_write(struct step *s)
{
    struct lineage *l = s->l;
    const struct loaded *row = &s->ev->loaded;
    switch (l->state) {
    case LS_INTENDING:
        follow_row(s);
        if (l->state == LS_LIVE || l->state == LS_DOUBT)
            back_off(s, 0, ANSWER_BUSY); /* whoever was faster is given time */
        break;
    case LS_SETTLING:
        if (row->generation > l->generation || row->standing == STANDING_RETIRED) {
            forget_answer(s); /* somebody has a later one */
        } else if (l->pending.late && row->intent == 0 &&
                   fp_equal(l->pending.pair.refresh, row->pair.refresh)) {
            forget_answer(s); /* the old token once more, and it was refused since */
        } else {
            l->pending.late = true; /* at once, or when that other presentation is over */
            if (row->intent == 0)
                write_again(s);
            else
                back_off(s, 0, ANSWER_DOUBT);
        }
        break;
    case LS_CLOSING:
        forget_answer(s);
        break;
    case LS_CONTINUING:
        follow_row(s);
        break;
    case LS_FREE:
    case LS_UNPROVEN:
    case LS_ASKING:
    case LS_ADOPTING:
    case LS_LIVE:
    case LS_LEASING:
    case LS_WITHHOLDING:
    case LS_SPENDING:
    case LS_DOUBT:
    case LS_PROBING:
    case LS_SEARCHING:
    case LS_DEAD:
    case LS_QUARANTINED:
    case LS_RETIRING:
    case LS_COUNT:
        break;
    }
}

static bool is_news(const struct lineage *l, const struct loaded *row)
{
    if (row->generation != l->generation)
        return row->generation > l->generation || row->standing == STANDING_RETIRED;
    return row->standing != l->standing || row->intent != l->intent ||
           row->replayed != l->replayed || row->fence != l->fence ||
           !fp_equal(row->pair.access, l->pair.access);
}

/* Told unasked. What is on its way to the store is answered there, by the same truth. */
static void on_news(struct step *s)
{
    const struct lineage *l = s->l;
    if (s->ev->loaded.unproven || !is_news(l, &s->ev->loaded))
        return; /* an unproven one is its own warden's, until it is adopted */
    bool nothing_stored = l->state == LS_LIVE || l->state == LS_DOUBT || l->state == LS_PROBING ||
                          l->state == LS_SEARCHING || l->state == LS_DEAD ||
                          l->state == LS_LEASING || l->state == LS_WITHHOLDING ||
                          l->state == LS_QUARANTINED;
    /* Nobody goes past an open intent but by closing it: ours is not there, or not any more. */
    bool went_past = l->state == LS_INTENDING &&
                     (s->ev->loaded.generation > l->generation || s->ev->loaded.fence > l->fence);
    /* … nor out of its grave without another pair, nor back from its end: ours will be refused, if
     * it can be written. */
    went_past |= l->state == LS_INTENDING && (s->ev->loaded.standing == STANDING_DEAD ||
                                              s->ev->loaded.standing == STANDING_RETIRED);
    bool waited_for =
        l->state == LS_SPENDING && l->intent_elsewhere && s->ev->loaded.intent != l->intent;
    if (nothing_stored || went_past || waited_for)
        follow_row(s);
}

void on_overtaken(struct step *s)
{
    bool refused =
        (s->ev->intent != 0 && s->ev->intent == s->l->intent) ||
        (s->l->state == LS_CONTINUING && s->ev->capture != 0 && s->ev->capture == s->l->continuing);
    capture_overtaken(s);
    if (refused)
        on_refused_write(s);
    else /* also the answer to a write that was given up: it tells what is there */
        on_news(s);
}

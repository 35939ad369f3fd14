/*
 * Into the core and out of it: a lineage from the store at start, and its end.
 */
#include "core/internal.h"

#include <string.h>

#define DATE_PATIENCE_MS (5 * SECOND_MS)

struct lineage *slot_take(struct step *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->w->limits.lineages; i++) {
        struct lineage *l = &s->w->lineages[i];
        if (l->state == LS_FREE) {
            if (i == s->w->n_slots)
                s->w->n_slots++;
            memset(l, 0, sizeof(*l));
            l->id = id;
            l->add_deadline_boot_ms = TIME_NEVER;
            return l;
        }
    }
    return NULL;
}

/* An `add` whose pair is still in the user's file. */
static bool was_cut_short(const struct loaded *from)
{
    return from->unproven && from->generation == 1 && !from->claimed && !from->kept;
}

/* A token that is not single use, or none, cannot be outdated in a way that matters. */
static bool is_of_an_old_copy(const struct loaded *from)
{
    return from->restored && from->rules.rotates && !fp_is_none(from->pair.refresh);
}

bool loaded_may_be_outdated(const struct loaded *from)
{
    bool goes_on = from->standing == STANDING_LIVE || from->standing == STANDING_UNPROVEN;
    return goes_on && !was_cut_short(from) && is_of_an_old_copy(from);
}

/* The alarm is stored, so it remembers this across restarts. */
bool is_old_copy(const struct lineage *l)
{
    return l->rules.rotates && (l->alarms & (1u << ALARM_RESTORED));
}

static int64_t boot_ms_of(struct now now, int64_t wall_ms)
{
    int64_t ago = now.wall_ms - wall_ms;
    return now.boot_ms - (ago > 0 ? ago : 0);
}

/* Dead, unless it was not said yet and a replica is still to be looked at. */
static void load_dead(struct step *s, const struct loaded *from)
{
    bool said = s->l->alarms & (1u << ALARM_DEAD);
    s->l->refused = true;
    s->l->standing = STANDING_DEAD;
    begin_search(s);
    become(s, from->shared && !said ? LS_SEARCHING : LS_DEAD);
}

static void hear_of_doubt(struct step *s, const struct loaded *from)
{
    struct lineage *l = s->l;
    l->answer_lost = !from->restored && !is_old_copy(l);
    l->doubt_since_boot_ms = boot_ms_of(s->now, from->doubt_since_wall_ms);
    l->presented_known =
        false; /* a wall clock, maybe another machine's, is all there is to go by */
    l->sent_boot_ms = s->now.boot_ms; /* at the latest */
    begin_search(s);
}

static void load_in_doubt(struct step *s, const struct loaded *from)
{
    hear_of_doubt(s, from);
    if (s->l->replayed)
        load_dead(s, from);
    else
        become(s, LS_DOUBT);
}

static void load_at_rest(struct step *s, const struct loaded *from)
{
    struct lineage *l = s->l;
    switch (from->standing) {
    case STANDING_LIVE:
    case STANDING_UNPROVEN:
        if (was_cut_short(from)) {
            begin_retire(s);
        } else if (loaded_may_be_outdated(from)) {
            l->standing = STANDING_DOUBT; /* as store_accept_restored() has it */
            l->doubt_since_boot_ms = s->now.boot_ms;
            l->sent_boot_ms = s->now.boot_ms; /* by a run that this copy knows nothing of */
            begin_search(s);
            become(s, LS_DOUBT);
        } else {
            become(s, l->unproven ? LS_UNPROVEN : LS_LIVE);
        }
        break;
    case STANDING_DOUBT:
        load_in_doubt(s, from);
        break;
    case STANDING_DEAD:
        if (l->unproven)
            begin_retire(s);
        else
            load_dead(s, from);
        break;
    case STANDING_QUARANTINED:
        if (from->doubt_since_wall_ms != 0) {
            hear_of_doubt(s, from);
            l->doubtful = true;
        }
        become(s, LS_QUARANTINED);
        break;
    case STANDING_RETIRED:
    case STANDING_COUNT:
        CHECK(false && "a standing that is loaded");
    }
}

/* Counted from the pair's expiry, which within one boot no change of the clock moves. */
static int64_t held_until(const struct step *s, const struct loaded *from)
{
    int64_t until = from->held_until_wall_ms, left_ms = until - s->now.wall_ms;
    if (until == 0 || until == TIME_NEVER)
        return until;
    if (s->l->expires_boot_ms == TIME_NEVER)
        return left_ms > 0 ? s->now.boot_ms + left_ms : 0;
    return s->l->expires_boot_ms + (until - from->pair.expires_wall_ms);
}

/* This expiry was read off our wall clock, and that may be wrong by now. Whatever the server
 * answers, it comes with a Date; what it says of the token is not needed here. For a moment nothing
 * is spent on the clock's word alone. */
void ask_the_time(struct step *s)
{
    if (s->l->state != LS_LIVE || !s->l->expiry_from_wall || !s->l->rules.has_identity)
        return;
    s->l->time_asked_until_boot_ms = s->now.boot_ms + DATE_PATIENCE_MS;
    emit(s, FX_ASK_IDENTITY)->generation = s->l->generation;
}

void on_time_told(struct step *s)
{
    s->l->time_asked_until_boot_ms = 0;
    serve_waiters(s);
}

void take_row(struct step *s, const struct loaded *from)
{
    struct lineage *l = s->l;
    l->rules = from->rules;
    l->policy = from->policy;
    l->standing = from->standing;
    l->unproven = from->unproven;
    l->claimed = from->claimed;
    l->kept = from->kept;
    l->subject = from->subject;
    l->continues = from->continues;
    l->generation = from->generation;
    l->fence = from->fence;
    l->replayed = from->replayed;
    l->doubt = from->doubt;
    l->access_proved = false; /* … of an earlier doubt, perhaps */
    l->refused = from->standing == STANDING_DEAD;
    take_pair(s, &from->pair, from->expires_boot_ms);
    l->given_away |= from->given_away;
    was_obtained_elsewhere(l);
    l->held_until_boot_ms = held_until(s, from);
}

void load_row(struct step *s)
{
    const struct loaded *from = &s->ev->loaded;
    struct lineage *l = s->l;
    if (from->intent != 0) {
        /* What became of it is asked of the spool: the answer comes as EV_ANSWER. */
        l->intent = from->intent;
        l->intent_elsewhere = from->intent_elsewhere;
        l->replay = from->intent_is_replay;
        l->sent_boot_ms = s->now.boot_ms; /* at the latest … */
        l->presented_known = false;       /* … the earliest is told with the outcome */
        become(s, LS_SPENDING);
    } else {
        load_at_rest(s, from);
    }
    if (is_of_an_old_copy(from) && (l->state == LS_DOUBT || l->state == LS_SPENDING))
        alarm_raise(s, ALARM_RESTORED);
}

void on_loaded(struct step *s)
{
    const struct loaded *from = &s->ev->loaded;
    s->l = slot_take(s, s->ev->lineage);
    CHECK(s->l); /* the daemon sizes the warden by what it is about to load */
    s->l->alarms = from->alarms;
    take_row(s, from);
    hear_of_restored(s);
    load_row(s);
    /* By another warden, perhaps, and seen here before. */
    if (s->l->state == LS_QUARANTINED)
        leave_alone(s, &s->l->pair, 0);
    else if (!s->l->unproven)
        no_stranger_any_more(s, &s->l->pair);
    look_at_strangers(s->w);
    ask_the_time(s);
}

void on_remove(struct step *s)
{
    s->l->remove_wanted = true; /* carried out at rest: a spend in flight is settled first */
    s->l->remove_from_boot_ms = 0;
    if (s->l->remove_waiter != 0)
        answer_waiter(s, s->ev->waiter, ANSWER_BUSY, 0, 0);
    else
        s->l->remove_waiter = s->ev->waiter;
}

void begin_retire(struct step *s)
{
    struct lineage *l = s->l;
    l->rest = l->state;
    if (l->state == LS_FREE || l->state == LS_ASKING)
        l->rest = LS_UNPROVEN;
    else if (l->state == LS_CLOSING) /* refused for good: never to be presented again */
        l->rest = LS_DEAD;
    emit(s, FX_RETIRE);
    become(s, LS_RETIRING);
    serve_waiters(s);
}

void on_retired(struct step *s)
{
    struct lineage *l = s->l;
    for (int alarm = 0; alarm < ALARM_COUNT; alarm++)
        alarm_clear(s, (enum alarm)alarm);
    answer_waiter(s, l->remove_waiter, ANSWER_DONE, 0, 0);
    answer_add(s, ANSWER_UNKNOWN); /* removed before it was believed */
    captures_leave(s);
    consumers_leave(s);
    become(s, LS_FREE);
}

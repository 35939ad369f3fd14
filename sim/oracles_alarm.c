/*
 * The oracles of what people are told. Alarms are raised once and cleared once, and while one
 * stands it is true: of the state that the lineage is in, of the store that could not be written,
 * of a place with a stranger in it.
 */
#include "sim/capture.h"
#include "sim/oracles.h"
#include "sim/story.h"

#include <string.h>

#define BIT(alarm) (1u << (alarm))
#define LATE_MS    (3 * SECOND_MS)

/* What each state says, and what it denies. */
static const struct {
    const char *state;
    uint32_t must, must_not;
} by_state[] = {
    {"live", 0, BIT(ALARM_DEAD) | BIT(ALARM_DOUBT) | BIT(ALARM_RESTORED)},
    {"unproven", 0, BIT(ALARM_DEAD) | BIT(ALARM_DOUBT) | BIT(ALARM_RESTORED)},
    {"doubt", BIT(ALARM_DOUBT), BIT(ALARM_DEAD)},
    {"probing", BIT(ALARM_DOUBT), BIT(ALARM_DEAD)},
    {"searching", BIT(ALARM_DOUBT), BIT(ALARM_DEAD)},
    {"dead", BIT(ALARM_DEAD), BIT(ALARM_DOUBT) | BIT(ALARM_RESTORED) | BIT(ALARM_UNREACHABLE)},
    {"quarantined", BIT(ALARM_SUBJECT), BIT(ALARM_DOUBT) | BIT(ALARM_RESTORED)},
};

/* alarms. Raised once, cleared once. */
void oracle_alarm(struct world *w, struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    uint32_t bit = BIT(fx->alarm), *alarms = &h->told[index].alarms;
    bool raise = fx->kind == FX_ALARM_RAISE;
    if (raise == !!(*alarms & bit))
        violated(w, "alarms", "L%d: alarm %s is %s twice", index, alarm_name(fx->alarm),
                 raise ? "raised" : "cleared");
    *alarms ^= bit;
    if (raise && fx->alarm == ALARM_DEAD)
        oracle_dead(w, h, index);
}

/* alarms. Who doubts because the store is an older copy says so, until the doubt is over; and
 * nobody else does. */
static void check_restored(struct world *w, struct told *t, int index)
{
    static const char *const over[] = {"live", "unproven", "dead", "quarantined", NULL},
                             *const in_doubt[] = {"doubt", "probing", "spending", NULL};
    bool says_so = t->alarms & BIT(ALARM_RESTORED);
    t->old_copy = t->old_copy && !is_one_of(t->state, over);
    if (t->old_copy && !says_so && is_one_of(t->state, in_doubt))
        violated(w, "alarms", "L%d doubts as an older copy has it, and nobody is told of that",
                 index);
    if (says_so && !t->old_copy)
        violated(w, "alarms", "L%d is no older copy, and people are told that it is", index);
}

/* alarms. What people were told is what there is. */
static void check_state(struct world *w, struct host *h, int index)
{
    struct view v;
    struct told *t = &h->told[index];
    uint32_t told = t->alarms;
    if (!warden_view(h->warden, lineage_id(index), host_now(w, h), &v))
        return;
    if (t->state != v.state) {
        t->state = v.state;
        t->state_at = w->now;
    }
    if (v.alarms != told)
        violated(w, "alarms", "L%d: people were told %x, the core has %x", index, told, v.alarms);
    check_restored(w, t, index);
    for (size_t i = 0; i < ARRAY_LEN(by_state); i++) {
        if (strcmp(v.state, by_state[i].state) != 0)
            continue;
        if (by_state[i].must & ~told)
            violated(w, "alarms", "L%d is %s, and no alarm says so", index, v.state);
        if (by_state[i].must_not & told)
            violated(w, "alarms", "L%d is %s, and an alarm says otherwise", index, v.state);
    }
}

/* alarms. An answer that is long overdue, while there is no token that works, does not stay a
 * secret. Judged when its lineage is heard of. */
static void check_overdue(struct world *w, const struct host *h, int index)
{
    const struct row *row = &w->store.rows[index];
    const struct told *t = &h->told[index];
    if (!t->here || !t->state || strcmp(t->state, "spending") != 0 || row->wanted != 0 ||
        t->generation != row->generation || !counts_right(w, h, index))
        return;
    int64_t over_at = t->access_refused ? 0 : access_ends_at(w, row);
    int64_t overdue_at = t->state_at + 2 * w->providers[row->provider].deadline_ms;
    int64_t from = over_at > overdue_at ? over_at : overdue_at;
    from = h->woke_at > from ? h->woke_at : from;
    bool has_end = row->pair.expires_wall_ms != 0 || t->access_refused;
    if (has_end && w->now - from > LATE_MS && !(t->alarms & BIT(ALARM_UNREACHABLE)))
        violated(w, "alarms", "L%d: its answer is long overdue, and nobody is told", index);
}

void oracle_before(struct world *w, const struct host *h, const struct event *ev)
{
    if (row_of(ev->lineage) != NOBODY)
        check_overdue(w, h, row_of(ev->lineage));
}

/* alarms. An outcome that cannot be written is told; one that was written ends that. */
static void check_store(struct world *w, const struct host *h, const struct event *ev)
{
    int index = row_of(ev->lineage);
    uint32_t alarms = index == NOBODY ? 0 : h->told[index].alarms;
    if (index == NOBODY || ev->intent == 0 || !h->told[index].here)
        return;
    bool raised = alarms & BIT(ALARM_STORE);
    if (ev->kind == EV_STORE_FAILED && ev->intent == w->store.rows[index].intent && !raised)
        violated(w, "alarms", "L%d: its outcome cannot be written, and nobody is told", index);
    bool written = ev->kind == EV_SETTLED || ev->kind == EV_CLOSED || ev->kind == EV_INTENT_DURABLE;
    if (written && raised)
        violated(w, "alarms", "L%d was written, and people are told that it cannot be", index);
}

/* alarms. A caller who goes without a token, because the provider cannot be had and the old one is
 * over, does not stay a secret. */
static void check_answer(struct world *w, const struct host *h, const struct effect *fx)
{
    struct view v;
    int index = row_of(fx->lineage);
    bool goes_without = fx->answer == ANSWER_UNREACHABLE || fx->answer == ANSWER_THROTTLED;
    if (!goes_without || !warden_view(h->warden, fx->lineage, host_now(w, h), &v))
        return;
    if (w->now - access_ends_at(w, &w->store.rows[index]) < LATE_MS &&
        !h->told[index].access_refused)
        return; /* this very moment … */
    if (w->now - h->woke_at < LATE_MS)
        return; /* … or it is just waking */
    if (strcmp(v.state, "live") == 0 && v.left_ms == 0 && v.tries > 0 &&
        !(h->told[index].alarms & BIT(ALARM_UNREACHABLE)))
        violated(w, "alarms", "L%d: a caller goes without a token, and nobody is told", index);
}

void oracle_alarms(struct world *w, struct host *h, const struct event *ev,
                   const struct effects *out)
{
    if (row_of(ev->lineage) != NOBODY)
        check_state(w, h, row_of(ev->lineage));
    for (size_t i = 0; i < out->n; i++) {
        if (out->list[i].lineage != ev->lineage && row_of(out->list[i].lineage) != NOBODY)
            check_state(w, h, row_of(out->list[i].lineage));
        if (out->list[i].kind == FX_ANSWER)
            check_answer(w, h, &out->list[i]);
    }
    check_store(w, h, ev);
}

/* Does a place of the lineage show somebody's pair who was set aside? */
static bool shows_a_stranger(const struct world *w, const struct host *h, int index)
{
    for (unsigned i = 0; i < w->n_places; i++) {
        const struct place *p = &w->places[i];
        for (uint32_t k = 0; p->host == h->index && p->is_known && p->row == index && p->replica &&
                             p->told_what == SEEN_PAIR && k < w->store.n_rows;
             k++) {
            const struct row *row = &w->store.rows[k];
            if (row->standing == STANDING_QUARANTINED && h->told[k].here &&
                !fp_is_none(row->pair.refresh) && fp_equal(row->pair.refresh, p->told.refresh) &&
                !fp_equal(row->pair.refresh, w->store.rows[index].pair.refresh))
                return true;
        }
    }
    return false;
}

/* Does every place of the lineage show what it has? */
static bool shows_ours_alone(const struct world *w, const struct host *h, int index)
{
    struct fp ours = w->store.rows[index].pair.access;
    for (unsigned i = 0; i < w->n_places; i++) {
        const struct place *p = &w->places[i];
        if (p->host == h->index && p->is_known && p->row == index && p->replica &&
            (p->told_failed > 0 || p->told_what != SEEN_PAIR || !fp_equal(p->told.access, ours)))
            return false;
    }
    return true;
}

/* From when something that nobody can renew is said to end soon; TIME_NEVER. */
static int64_t ends_soon_from(const struct world *w, const struct row *row)
{
    const struct pair *pair = &row->pair;
    int64_t from = TIME_NEVER;
    if (fp_is_none(pair->refresh) && pair->expires_wall_ms != 0) {
        int64_t part_ms = pair->life_ms / 10;
        from = access_ends_at(w, row) - (part_ms < 7 * DAY_MS ? part_ms : 7 * DAY_MS);
    }
    int64_t before_deadline = pair->login_deadline_wall_ms - WALL_ZERO - 3 * DAY_MS;
    return pair->login_deadline_wall_ms != 0 && before_deadline < from ? before_deadline : from;
}

/* alarms. In the end: what nobody can renew is told of before it ends, and not long before. (Nobody
 * looks again because a clock is right again.) */
static void check_expiring(struct world *w, const struct host *h, int index)
{
    const struct row *row = &w->store.rows[index];
    int64_t from = ends_soon_from(w, row);
    bool told = h->told[index].alarms & BIT(ALARM_EXPIRING);
    if (!counts_right(w, h, index))
        return;
    if (from < w->now - MINUTE_MS && !told)
        violated(w, "alarms", "L%d ends soon for good, and nobody is told", index);
    if (from > w->now + MINUTE_MS && told && !w->wall_was_wrong)
        violated(w, "alarms", "L%d is said to end soon, and does not", index);
}

/* Is there nothing left that was to be written and could not be? */
static bool is_all_written(const struct world *w, const struct host *h, int index,
                           const struct view *v)
{
    for (unsigned i = 0; i < CAPTURES_MAX; i++) {
        const struct capture *c = &w->store.captures[i];
        if (c->id != 0 && c->told && w->places[c->place].host == h->index)
            return false; /* of this lineage, perhaps */
    }
    return !v->in_flight && v->tries == 0 && !h->told[index].removing;
}

/* alarms. In the end nobody is told of a write that failed where none is to be made, nor that a
 * provider cannot be had from whom nothing is wanted. */
static void check_in_vain(struct world *w, const struct host *h, int index)
{
    struct view v;
    const struct told *t = &h->told[index];
    if (!h->up || !t->here || h->asleep_until > w->now ||
        !warden_view(h->warden, lineage_id(index), host_now(w, h), &v))
        return;
    if ((t->alarms & BIT(ALARM_STORE)) && is_all_written(w, h, index, &v))
        violated(w, "alarms", "L%d is %s, and people are told that it cannot be written", index,
                 v.state);
    if ((t->alarms & BIT(ALARM_UNREACHABLE)) && t->policy == POLICY_NEVER &&
        strcmp(v.state, "live") == 0)
        violated(w, "alarms", "L%d is never spent, and people are told that it cannot be", index);
}

/* alarms. In the end they are true: a stranger in a place is told of, and only he; and nobody is
 * told that a provider cannot be had, where it can. */
void oracle_alarms_end(struct world *w, const struct host *h, int index)
{
    const struct row *row = &w->store.rows[index];
    const struct told *t = &h->told[index];
    check_in_vain(w, h, index);
    if (!h->up || !t->here || t->standing != STANDING_LIVE || row->standing != STANDING_LIVE ||
        row->wanted != 0 || t->generation != row->generation || h->asleep_until > w->now)
        return;
    if (shows_a_stranger(w, h, index) && !(t->alarms & BIT(ALARM_SUBJECT)))
        violated(w, "alarms", "L%d: a stranger is signed in at a place of it, and nobody is told",
                 index);
    /* Of a fleet it may be about a place of another machine. */
    if (!w->fleet && shows_ours_alone(w, h, index) && (t->alarms & BIT(ALARM_SUBJECT)))
        violated(w, "alarms", "L%d: people are told of a stranger, and there is none", index);
    if ((t->alarms & BIT(ALARM_UNREACHABLE)) && access_is_alive(w, row->pair.access) &&
        access_ends_at(w, row) - w->now > MINUTE_MS && counts_right(w, h, index))
        violated(w, "alarms", "L%d has a good token, and people are told that it cannot", index);
    check_expiring(w, h, index);
}

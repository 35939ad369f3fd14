/*
 * The store: rows as src/store has them, one queue of writes per host, each a transaction that is
 * durable when it is done. It refuses what src/store refuses. A crash loses the writes that are
 * under way, or finds a first few of them done though nobody heard.
 *
 * Beside the rows it keeps what anybody who reads it would know of each refresh token (`known`):
 * that, and nothing the core says of itself, is what "we know" means to the oracles. An older copy
 * that is put back knows less.
 */
#include "sim/world.h"

#include <string.h>

#include "base/err.h"
#include "sim/capture.h"
#include "sim/coverage.h"
#include "sim/story.h"

#define WRITE_MAX_MS 25
#define SLOW_MAX_MS  (20 * SECOND_MS)

int row_new(struct world *w)
{
    if (w->store.n_rows == ROWS_MAX) {
        w->is_full = true;
        return NOBODY;
    }
    int row = (int)w->store.n_rows++;
    memset(&w->store.rows[row], 0, sizeof(w->store.rows[row]));
    w->store.rows[row].intent_host = NOBODY;
    return row;
}

void store_know(struct world *w, const struct pair *pair, bool current)
{
    int access = issued_index(w, pair->access), refresh = issued_index(w, pair->refresh);
    uint8_t bits = (uint8_t)(KNOWN_OURS | (current ? 0 : KNOWN_FORMER));
    if (access != NOBODY)
        w->store.known[access] |= bits;
    if (refresh != NOBODY)
        w->store.known[refresh] |= bits;
}

void store_hold(const struct world *w, struct row *row)
{
    row->held_until_wall_ms = row->pair.expires_wall_ms == 0
                                  ? TIME_NEVER
                                  : row->pair.expires_wall_ms + w->providers[row->provider].skew_ms;
}

static uint8_t *known_of(struct world *w, struct fp refresh)
{
    int index = issued_index(w, refresh);
    CHECK(index != NOBODY);
    return &w->store.known[index];
}

/* ---- what each write does; an event kind, or EV_STORE_FAILED for a conflict ---- */

/* Another warden may have closed it in doubt, or for good, since. That a doubt was groundless may
 * not have been stored: where there is no other warden it is no reason to refuse. */
static bool agrees_with_standing(const struct world *w, const struct row *row,
                                 const struct effect *fx)
{
    if (row->standing == STANDING_DOUBT && fx->replay)
        return !row->replayed && (!w->fleet || row->lost_intent == fx->doubt);
    return !fx->replay && (row->standing == STANDING_LIVE || row->standing == STANDING_UNPROVEN ||
                           (row->standing == STANDING_DOUBT && !w->fleet));
}

/* The mark outside the store follows, so that an older copy that is put back is known as one. */
static void count_spend(struct world *w)
{
    w->mark = ++w->store.spends;
}

static enum event_kind apply_intent(struct world *w, struct host *h, const struct effect *fx)
{
    struct row *row = &w->store.rows[row_of(fx->lineage)];
    if (!agrees_with_standing(w, row, fx) || fx->fence <= row->fence ||
        fx->generation != row->generation || row->intent != 0 ||
        !fp_equal(fx->presented, row->pair.refresh) ||
        (w->fleet && fx->fence != w->leases[row_of(fx->lineage)].fence))
        return w->fleet ? EV_OVERTAKEN : EV_STORE_FAILED;
    struct now now = host_now(w, h);
    row->fence = fx->fence;
    row->intent = fx->intent;
    row->intent_fence = fx->fence;
    row->intent_is_replay = fx->replay;
    row->intent_begun_wall_ms = now.wall_ms;
    row->intent_at = w->now;
    row->intent_host = (int16_t)h->index;
    count_spend(w);
    spool_new(w, h, fx)->lease_until = w->leases[row_of(fx->lineage)].until;
    return EV_INTENT_DURABLE;
}

void store_set_standing(struct row *row, enum standing standing, bool replayed, int64_t wall_ms)
{
    row->standing = standing;
    row->replayed = replayed;
    if (standing != STANDING_DOUBT)
        row->doubt_since_wall_ms = 0;
    else if (row->doubt_since_wall_ms == 0)
        row->doubt_since_wall_ms = wall_ms;
}

/* The new pair is the current one; the old one goes to the ledger. */
void store_replace_pair(struct world *w, struct row *row, const struct pair *pair, bool spent)
{
    uint8_t *old = fp_is_none(row->pair.refresh) ? NULL : known_of(w, row->pair.refresh);
    bool same = fp_equal(row->pair.refresh, pair->refresh);
    row->given_away &= same;
    store_know(w, &row->pair, false);
    if (old && same)
        *old &= (uint8_t) ~(KNOWN_DOUBT | KNOWN_DOUBT_TWICE | KNOWN_FORMER);
    else if (old && spent)
        *old |= KNOWN_SPENT;
    row->pair = *pair;
    row->generation++;
    row->held_until_wall_ms = 0;
    row->pair_at = w->now;
    store_know(w, pair, true);
}

static enum event_kind apply_settle(struct world *w, struct host *h, const struct effect *fx)
{
    struct row *row = &w->store.rows[row_of(fx->lineage)];
    bool open = row->intent == fx->intent && row->generation + 1 == fx->generation;
    bool late = fx->late && row->intent == 0 && row->generation + 1 == fx->generation &&
                !(*known_of(w, fx->pair.refresh) & KNOWN_REFUSED);
    if (row->standing == STANDING_RETIRED || (!open && !late))
        return w->fleet ? EV_OVERTAKEN : EV_STORE_FAILED;
    const struct spool *s = spool_find(h, fx->intent);
    store_replace_pair(w, row, &fx->pair, true);
    row->expires_boot_ms = fx->expires_boot_ms == TIME_NEVER ? 0 : fx->expires_boot_ms;
    row->boot = h->boot;
    row->expiry_host = h->index;
    row->expiry_is_exact = s && s->boot == h->boot;
    store_set_standing(row, fx->standing, false, 0);
    row->intent = 0;
    row->lost_intent = 0;
    count_spend(w);
    spool_remove(w, h, fx->intent);
    return EV_SETTLED;
}

/* A presentation that surely changed nothing is none. */
static void forget_presentation(struct world *w, struct host *h, const struct effect *fx,
                                const struct row *row)
{
    struct spool *s = spool_find(h, fx->intent);
    if (!s || s->stage != STAGE_ANSWERED || s->reply.verdict == VERDICT_UNSENT)
        return;
    uint8_t *known = known_of(w, row->pair.refresh);
    *known &= (uint8_t) ~(*known & KNOWN_DOUBT_TWICE ? KNOWN_DOUBT_TWICE : KNOWN_DOUBT);
}

static enum event_kind apply_close(struct world *w, struct host *h, const struct effect *fx)
{
    struct row *row = &w->store.rows[row_of(fx->lineage)];
    if (row->intent != fx->intent)
        return w->fleet ? EV_OVERTAKEN : EV_STORE_FAILED;
    switch (fx->verdict) {
    case VERDICT_REFUSED:
        *known_of(w, row->pair.refresh) |= KNOWN_REFUSED;
        break;
    case VERDICT_THROTTLED:
    case VERDICT_UNCOMMITTED:
        forget_presentation(w, h, fx, row);
        break;
    case VERDICT_DOUBT:
        row->lost_intent = fx->intent;
        row->lost_at = row->intent_at;
        row->dead_by_doubt = fx->standing == STANDING_DEAD;
        break;
    case VERDICT_GRANTED:
    case VERDICT_UNSENT:
    case VERDICT_COUNT:
        break;
    }
    store_set_standing(row, fx->standing, fx->replayed, host_now(w, h).wall_ms);
    row->intent = 0;
    spool_remove(w, h, fx->intent);
    return EV_CLOSED;
}

int store_profile_of(const struct world *w, int index)
{
    for (int p = 0; p < PROFILES_MAX; p++) {
        if (w->store.profiles[p] == index)
            return p;
    }
    return NOBODY;
}

bool store_is_to_follow(const struct world *w, int index, int before)
{
    const struct row *row = &w->store.rows[index];
    return row->standing != STANDING_RETIRED && row->wanted != 0 &&
           w->store.profiles[row->wanted - 1] == before;
}

/* The one it continues, where that has one; else the one it was added for. */
int store_profile_wanted(const struct world *w, const struct row *row, const struct effect *fx)
{
    int profile = fx->continues == 0 ? NOBODY : store_profile_of(w, row_of(fx->continues));
    if (profile != NOBODY)
        return profile;
    /* The name that its user gave; what was claimed for another has none. */
    return row->claimed && fx->continues != 0 ? NOBODY : row->wanted - 1;
}

static enum event_kind apply_adopt(struct world *w, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    struct row *row = &w->store.rows[index];
    bool takes_name = fx->standing == STANDING_LIVE && row->wanted != 0;
    int profile = takes_name ? store_profile_wanted(w, row, fx) : NOBODY;
    if (row->standing == STANDING_RETIRED || (takes_name && profile == NOBODY))
        return EV_STORE_FAILED;
    row->subject = fx->subject;
    row->standing = fx->standing;
    if (takes_name)
        w->store.profiles[profile] = (int16_t)index;
    row->wanted = 0;
    row->claimed = row->kept = false;
    return EV_ADOPTED;
}

static enum event_kind apply_retire(struct world *w, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    struct row *row = &w->store.rows[index];
    row->standing = STANDING_RETIRED;
    row->ended_at = w->now;
    store_know(w, &row->pair, false);
    row->intent = 0;
    row->wanted = 0;
    row->alarms = 0;
    int profile = store_profile_of(w, index);
    if (profile != NOBODY)
        w->store.profiles[profile] = NOBODY;
    return EV_RETIRED;
}

/* Whoever reads of its end from now on knows that the token was not presented, also where another
 * warden's intent was open when that was ordered: one that has come to nothing since. */
static void forget_doubt(struct world *w, const struct row *row, const struct effect *fx)
{
    if (row->standing == STANDING_DOUBT && row->lost_intent == fx->doubt)
        *known_of(w, row->pair.refresh) &= (uint8_t) ~(KNOWN_DOUBT | KNOWN_DOUBT_TWICE);
}

static enum event_kind apply(struct world *w, struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    struct row *row =
        index == NOBODY ? NULL : &w->store.rows[index]; /* a capture may be nobody's */
    switch (fx->kind) {
    case FX_STORE_INTENT:
        return apply_intent(w, h, fx);
    case FX_SETTLE:
        return apply_settle(w, h, fx);
    case FX_CLOSE_INTENT:
        return apply_close(w, h, fx);
    case FX_ADOPT:
        return fx->capture != 0 ? apply_adopt_capture(w, h, fx) : apply_adopt(w, fx);
    case FX_RETIRE:
        return apply_retire(w, fx);
    case FX_RESOLVE:
        CHECK(row);
        forget_doubt(w, row, fx);
        if (row->standing == STANDING_DOUBT && row->lost_intent == fx->doubt)
            store_set_standing(row, fx->standing, false, 0);
        return EV_COUNT;
    case FX_ALARM_RAISE:
        CHECK(row);
        row->alarms |= 1u << fx->alarm;
        return EV_COUNT;
    case FX_ALARM_CLEAR:
        CHECK(row);
        row->alarms &= ~(1u << fx->alarm);
        return EV_COUNT;
    case FX_QUARANTINE:
        return apply_quarantine(w, h, fx);
    case FX_CLAIM:
        return apply_claim(w, h, fx);
    case FX_DROP:
        return apply_drop(w, h, fx);
    case FX_LEASE:
    case FX_UNLEASE:
    case FX_SPEND:
    case FX_ASK_IDENTITY:
    case FX_PROBE:
    case FX_READ:
    case FX_PUBLISH:
    case FX_ANSWER:
    case FX_COUNT:
        break;
    }
    CHECK(false && "an effect that writes");
    return EV_COUNT;
}

/* ---- the queue ---- */

struct op *store_op(struct world *w, struct host *h, enum happening what)
{
    int64_t most_ms =
        fault(w, FAULT_STORE_SLOW, SITE_STORE_FAULT, h->index) ? SLOW_MAX_MS : WRITE_MAX_MS;
    int64_t from = h->store_free_at > w->now ? h->store_free_at : w->now;
    h->store_free_at = from + 1 + a_while(w, SITE_STORE, h->index, most_ms);
    return op_new(w, what, h, h->store_free_at - w->now);
}

void store_write_begin(struct world *w, struct host *h, const struct effect *fx)
{
    struct op *op = store_op(w, h, HAP_WRITTEN);
    op->row = (int16_t)row_of(fx->lineage);
    op->fx = *fx;
}

/* Room for what follows an intent was reserved with it: a full disk does not refuse that. */
bool store_fails(struct world *w, struct host *h, bool reserved)
{
    CHECK(w && h);
    if (w->now < h->full_until && !reserved)
        return true;
    return fault(w, FAULT_STORE_ERROR, SITE_STORE_FAULT, h->index);
}

static bool has_answer(enum effect_kind kind)
{
    return kind != FX_RESOLVE && kind != FX_ALARM_RAISE && kind != FX_ALARM_CLEAR &&
           kind != FX_DROP;
}

/* The lineage that the name pointed at is not ended by the store: it may have a spend in flight. */
static void take_over_name(struct world *w, struct host *h, int before, int row)
{
    if (before == NOBODY || before == row || !h->told[before].here)
        return;
    h->told[before].removing = true;
    struct event ev = event_of(EV_REMOVE, lineage_id(before));
    host_tell(w, h, &ev);
}

static void tell_written(struct world *w, struct host *h, const struct effect *fx,
                         enum event_kind heard)
{
    struct event ev = event_of(heard, fx->lineage);
    ev.capture = fx->capture;
    ev.intent = fx->intent;
    int row = row_of(fx->lineage);
    enum policy before = row == NOBODY ? POLICY_NEVER : h->told[row].policy;
    if (heard == EV_STORE_FAILED) {
        say(w, h, "%s: %s could not be written", name_lineage(fx->lineage), effect_name(fx->kind));
        ev.err = fx->kind == FX_CLAIM && is_name_taken(w, fx) ? ERR_EXISTS : ERR_FULL;
    } else if (heard == EV_OVERTAKEN) {
        ev.loaded = loaded_of(w, h, row, false);
    } else if (heard == EV_ADDED) {
        say_claimed(w, fx, &ev);
    }
    host_tell(w, h, &ev);
    if (heard == EV_OVERTAKEN)
        fleet_tell_policy(w, h, row, before);
    if (heard == EV_OVERTAKEN && h->up && ev.loaded.intent_elsewhere)
        fleet_watch_intent(w, h, row);
    if (heard == EV_QUARANTINED) {
        row = row_of_grant(w, fx->pair.refresh);
        if (row == NOBODY) /* without a refresh token; this very write made it */
            row = (int)w->store.n_rows - 1;
        if (h->told[row].here || w->store.rows[row].wanted != 0) /* an `add` is its own host's */
            return;
        ev = event_of(EV_LOADED, lineage_id(row));
        ev.loaded = loaded_of(w, h, row, false);
        host_tell(w, h, &ev);
        fleet_tell_others(w, h, row); /* it may stand in their places, too */
    }
}

void store_written(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    const struct effect *fx = &op->fx;
    const struct row *row = op->row == NOBODY ? NULL : &w->store.rows[op->row];
    bool reserved = fx->kind == FX_SETTLE || fx->kind == FX_CLOSE_INTENT;
    int profile = !row || row->wanted == 0 ? NOBODY : store_profile_wanted(w, row, fx);
    int before = profile == NOBODY ? NOBODY : w->store.profiles[profile];
    bool failed = store_fails(w, h, reserved);
    enum event_kind heard = failed ? EV_STORE_FAILED : apply(w, h, fx);
    if (fx->kind == FX_RESOLVE && !failed)
        fleet_tell_others(w, h, op->row);
    if (!has_answer(fx->kind))
        return;
    if (heard == EV_ADOPTED && fx->capture == 0 && fx->standing == STANDING_LIVE)
        take_over_name(w, h, before, op->row);
    tell_written(w, h, fx, heard);
    if (heard == EV_ADOPTED && fx->capture == 0)
        places_moved(w, h, row_of(fx->continues), op->row);
    if (heard == EV_ADOPTED || heard == EV_RETIRED || heard == EV_OVERTAKEN)
        places_follow(w, h);
    if (heard == EV_SETTLED || heard == EV_CLOSED || heard == EV_ADOPTED || heard == EV_RETIRED)
        fleet_tell_others(w, h, op->row);
}

/* The spool file comes first: it is left behind, whole or, with the power, torn. */
static void leave_spool(struct world *w, struct host *h, const struct effect *fx)
{
    if (draw(&w->draws, SITE_LOST, h->index, 2) == 0)
        return;
    coverage_scene(w, SCENE_SPOOL_OF_NOBODY);
    struct spool *s = spool_new(w, h, fx);
    s->locked = false;
    s->answered = true;
}

/* The writes under way: the first of them may be found done, the rest is as if never asked for. */
void store_crash(struct world *w, struct host *h)
{
    bool done = true;
    for (;;) {
        struct op *first = NULL, *op;
        for (uint32_t at = 0; (op = op_each(w, &at));) {
            bool writes = op->what == HAP_WRITTEN || op->what == HAP_ADDED ||
                          op->what == HAP_USER || op->what == HAP_SEEN;
            if (op->host == h->index && op->life == h->life && writes &&
                (!first || op->order < first->order))
                first = op;
        }
        if (!first)
            break;
        bool begun = done; /* those before it are done */
        done = done && draw(&w->draws, SITE_LOST, h->index, 2) == 1;
        if (begun && !done && first->what == HAP_WRITTEN && first->fx.kind == FX_STORE_INTENT)
            leave_spool(w, h, &first->fx);
        if (done)
            say(w, h, "a write under way is durable, though nobody has heard");
        if (done && first->what == HAP_WRITTEN)
            (void)apply(w, h, &first->fx);
        else if (done && first->what == HAP_SEEN && first->flag)
            (void)seal_capture(w, first);
        else if (done && first->what != HAP_SEEN)
            (void)callers_apply(w, first);
        op_drop(w, first);
    }
    h->store_free_at = w->now;
}

/* As store_accept_restored(): after the rows were read. */
void store_accept_restored(struct world *w, const struct host *h)
{
    struct now now = host_now(w, h);
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        struct row *row = &w->store.rows[i];
        bool single_use = w->providers[row->provider].rotates && !fp_is_none(row->pair.refresh);
        bool only_here = row->generation > 1 || row->claimed || row->kept;
        if (single_use &&
            (row->standing == STANDING_LIVE || (row->standing == STANDING_UNPROVEN && only_here))) {
            row->standing = STANDING_DOUBT;
            row->doubt_since_wall_ms = now.wall_ms;
        }
        /* Somebody may have spent what it holds: as good as presented by ourselves. */
        if (row->standing == STANDING_DOUBT && single_use)
            *known_of(w, row->pair.refresh) |= KNOWN_DOUBT;
        if (row->standing == STANDING_DOUBT)
            row->alarms |= 1u << ALARM_RESTORED;
    }
    w->accepted_at = w->now;
    w->store.restored.wall_ms = now.wall_ms;
    w->store.restored.boot_ms = now.boot_ms;
    w->store.restored.boot = h->boot;
    w->store.restored.host = h->index;
    count_spend(w); /* another copy put back after this one is older than it */
}

/*
 * One run: a safety phase in which everything may go wrong, then the faults stop and everything has
 * a bounded time to come right, then everybody asks once more and the last oracles judge.
 */
#include "sim/capture.h"
#include "sim/oracles.h"
#include "sim/story.h"

#include <stdio.h>
#include <string.h>

#define STEPS_AT_LEAST 200  /* of the safety phase … */
#define SPANS_AT_MOST  2000 /* … if they can be had */
#define LAST_WORDS_MS  (4 * MINUTE_MS)
#define STEPS_AT_MOST  60000 /* of a run that does not come to rest */

static struct world *running; /* whose core a broken CHECK belongs to */

/* A broken invariant of the core ends the run like any oracle, not the program. */
_Noreturn void check_failed(const char *expr, const char *file, int line)
{
    if (running)
        violated(running, "invariant", "%s:%d: must hold: %s", file, line, expr);
    (void)fprintf(stderr, "%s:%d: must hold: %s\n", file, line, expr);
    abort();
}

/* Of the daemon that gave the order, or of the machine: is anybody left whom it concerns? */
static bool concerns_nobody(const struct world *w, const struct op *op)
{
    if (op->host == NOBODY || op->what == HAP_HOST_UP || op_is_providers(op))
        return false;
    const struct host *h = &w->hosts[op->host];
    if (op->outlives)
        return op->boot != h->boot;
    return !h->up || op->life != h->life;
}

static void happen(struct world *w, struct op *op)
{
    switch (op->what) {
    case HAP_TELL:
        fleet_leased(w, op);
        break;
    case HAP_WRITTEN:
        store_written(w, op);
        break;
    case HAP_ADDED:
    case HAP_USER:
        callers_stored(w, op);
        break;
    case HAP_SEND:
        spender_send(w, op);
        break;
    case HAP_COMMIT:
        spender_commit(w, op);
        break;
    case HAP_REPLY:
        spender_reply(w, op);
        break;
    case HAP_SEALED:
        spender_sealed(w, op);
        break;
    case HAP_ASKED:
        host_asked(w, op);
        break;
    case HAP_RECOVER:
        host_recover(w, op);
        break;
    case HAP_PATIENCE:
        callers_patience(w, op);
        break;
    case HAP_ACT:
        callers_act(w, op);
        break;
    case HAP_WEATHER:
        weather_act(w, op);
        break;
    case HAP_POWER:
        weather_power(w, op);
        break;
    case HAP_HOST_UP:
        if (op->flag)
            host_boot(w, &w->hosts[op->host]);
        host_start(w, &w->hosts[op->host]);
        break;
    case HAP_PLACE:
        place_act(w, op);
        break;
    case HAP_SEEN:
        place_seen(w, op);
        break;
    case HAP_PUT:
        place_put(w, op);
        break;
    case HAP_WATCH:
        place_watch(w, op);
        break;
    case HAP_SIBLING:
        sibling_act(w, op);
        break;
    case HAP_SIBLING_COMMIT:
        sibling_commit(w, op);
        break;
    case HAP_SIBLING_WRITE:
        sibling_write(w, op);
        break;
    case HAP_SIBLING_DIES:
        sibling_dies(w, op);
        break;
    case HAP_TOLD:
        fleet_told(w, op);
        break;
    case HAP_CUT_OFF:
        fleet_cut_off(w, op);
        break;
    case HAP_COUNT:
        CHECK(false && "a happening");
    }
}

/* A machine that sleeps does nothing until it wakes; what it then finds has happened meanwhile. */
static int64_t awake_from(const struct world *w, const struct op *op)
{
    bool ours = op->host != NOBODY && !op_is_providers(op);
    return ours ? w->hosts[op->host].asleep_until : 0;
}

static struct host *next_timer(struct world *w)
{
    struct host *next = NULL;
    for (unsigned i = 0; i < w->n_hosts; i++) {
        struct host *h = &w->hosts[i];
        if (h->up && h->wake_at < h->asleep_until)
            h->wake_at = h->asleep_until;
        if (h->up && (!next || h->wake_at < next->wake_at))
            next = h;
    }
    return next;
}

static void notice_waking(struct world *w)
{
    for (unsigned i = 0; i < w->n_hosts; i++) {
        struct host *h = &w->hosts[i];
        if (h->asleep_until > h->woke_at && h->asleep_until <= w->now)
            h->woke_at = h->asleep_until;
    }
}

/* One happening or timer. false: nothing is left before `until`. */
static bool turn(struct world *w, int64_t until)
{
    struct host *h = next_timer(w);
    int64_t timer_at = h ? h->wake_at : TIME_NEVER;
    struct op *op = op_next(w, timer_at < until ? timer_at : until);
    if (op) {
        if (op->at > w->now)
            w->now = op->at;
        notice_waking(w);
        int64_t awake_at = awake_from(w, op);
        if (awake_at > w->now) {
            op_again(w, op, awake_at);
            return true;
        }
        if (!concerns_nobody(w, op))
            happen(w, op);
        op_free(w, op);
        return true;
    }
    if (timer_at > until) {
        w->now = until;
        return false;
    }
    if (timer_at > w->now)
        w->now = timer_at;
    notice_waking(w);
    host_timer(w, h);
    return true;
}

static void live(struct world *w, int64_t until, uint64_t steps)
{
    while (w->steps < steps && !w->is_full && turn(w, until))
        ;
}

/* How long what is under way may take to come right: a lost answer is waited out to the end of the
 * old access token, back-off and Retry-After have their bounds. */
static int64_t convergence_ms(const struct world *w)
{
    int64_t life_ms = 0, deadline_ms = 0;
    for (unsigned i = 0; i < w->n_providers; i++) {
        const struct provider *p = &w->providers[i];
        life_ms = p->life_ms > life_ms ? p->life_ms : life_ms;
        deadline_ms = p->deadline_ms > deadline_ms ? p->deadline_ms : deadline_ms;
    }
    int64_t pauses_ms = life_ms < 5 * MINUTE_MS ? life_ms : 5 * MINUTE_MS;
    return 3 * life_ms + 4 * pauses_ms + 4 * deadline_ms + 3 * w->span_ms + 2 * MINUTE_MS +
           (w->fleet ? LEASE_MS + deadline_ms : 0);
}

/* What was found is to be tried as a lineage of its own, and its warden has no place for one more:
 * that waits, and with it what it may have replaced, until a daemon starts that knows what it
 * needs.
 */
static bool waits_for_room(const struct world *w)
{
    for (unsigned i = 0; i < CAPTURES_MAX; i++) {
        const struct capture *c = &w->store.captures[i];
        const struct host *h = &w->hosts[w->places[c->place].host];
        if (c->id != 0 && c->told && h->up && !host_has_room(h))
            return true;
    }
    return false;
}

static void live_through(struct world *w)
{
    swarm_draw(w);
    world_begin(w);
    live(w, w->now + w->limits.until, w->limits.steps);
    for (int i = 0; w->steps < STEPS_AT_LEAST && i < SPANS_AT_MOST; i++)
        live(w, w->now + w->span_ms, STEPS_AT_LEAST);
    if (w->is_full)
        return;
    weather_clears(w);
    int64_t until = w->now + convergence_ms(w);
    if (until > w->now + IN_STEP_AFTER_MS) {
        live(w, w->now + IN_STEP_AFTER_MS, STEPS_AT_MOST);
        if (!w->is_full)
            oracle_in_step(w);
    }
    live(w, until, STEPS_AT_MOST);
    w->is_full |= waits_for_room(w);
    if (w->is_full)
        return;
    if (w->steps >= STEPS_AT_MOST)
        violated(w, "converges", "no rest after %d steps", STEPS_AT_MOST);
    w->phase = PHASE_LAST_WORDS;
    say(w, NULL, "everybody asks once more");
    callers_last_words(w);
    live(w, w->now + LAST_WORDS_MS, STEPS_AT_MOST);
    if (!w->is_full)
        oracle_end(w);
}

void run(struct world *w, uint64_t seed, struct tape *tape, struct story *story,
         struct outcome *ret)
{
    w->draws.tape = tape;
    w->story = story;
    world_reset(w, seed);
    running = w;
    ret->failed = setjmp(w->broken) != 0;
    if (!ret->failed)
        live_through(w);
    running = NULL;
    ret->cut_short = !ret->failed && w->is_full;
    ret->steps = w->steps;
    memcpy(ret->oracle, w->oracle, sizeof(ret->oracle));
    memcpy(ret->why, w->why, sizeof(ret->why));
}

/*
 * A host: one machine and the daemon on it. It does what src/daemon does around the same core: one
 * fact in, the orders carried out (here: in any order, and the process may die between two of
 * them), and at a start what the store and the spool have.
 */
#include "sim/capture.h"
#include "sim/coverage.h"
#include "sim/oracles.h"
#include "sim/story.h"
#include "sim/told.h"

#include <string.h>

#define RECOVER_LOOK_MS (500 * INT64_C(1))
#define ASK_PATIENCE_MS (20 * SECOND_MS)
#define LATE_MAX_MS     60
#define SPINS_MAX       16
#define NAP_RATE        8
#define WARDEN_ROOM     (256 * 1024)

static _Alignas(64) uint8_t memory[HOSTS_MAX][WARDEN_ROOM];

struct event event_of(enum event_kind kind, uint64_t lineage)
{
    struct event ev;
    memset(&ev, 0, sizeof(ev));
    ev.kind = kind;
    ev.lineage = lineage;
    return ev;
}

/* ---- carrying out ---- */

static void ask(struct world *w, struct host *h, const struct effect *fx)
{
    unsigned part = (unsigned)row_of(fx->lineage);
    int64_t takes_ms = 1 + a_while(w, SITE_ASK, part, SECOND_MS);
    if (fault(w, FAULT_SLOW_SERVER, SITE_ASK, part)) /* of a fleet: others go on meanwhile */
        takes_ms = (w->fleet ? ASK_PATIENCE_MS / 2 : 0) +
                   a_while(w, SITE_ASK, part, w->fleet ? ASK_PATIENCE_MS / 2 : ASK_PATIENCE_MS);
    struct op *op = op_new(w, HAP_ASKED, h, takes_ms);
    op->row = (int16_t)row_of(fx->lineage);
    op->flag = fx->kind == FX_PROBE;
    op->id = fx->capture;
    op->fx.generation = fx->generation;
    if (fx->capture != 0) {
        const struct capture *c = sealed_find(w, fx->capture);
        op->pair.access = c ? c->pair.access : (struct fp){{0}};
    } else {
        op->pair.access = w->store.rows[op->row].pair.access;
    }
}

void host_asked(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    const struct provider *p = &w->providers[w->store.rows[op->row].provider];
    unsigned part = (unsigned)op->row;
    struct event ev = event_of(op->flag ? EV_PROBED : EV_IDENTITY, lineage_id(op->row));
    struct fp subject = {{0}};
    enum identity what = IDENTITY_UNANSWERED;
    ev.capture = op->id;
    ev.generation = op->fx.generation;
    if (p->out_until <= w->now && p->has_identity) {
        if (p->has_date)
            ev.server_wall_ms = (WALL_ZERO + w->now) / SECOND_MS * SECOND_MS;
        if (!fault(w, FAULT_UNNAMED, SITE_ASK, part))
            what = issuer_identity(w, op->pair.access, &subject);
        else if (draw(&w->draws, SITE_ASK, part, 2) == 1)
            ev.retry_after_ms = a_while(w, SITE_ASK, part, w->span_ms / 4);
    }
    if (op->id == 0 && (what == IDENTITY_EXPIRED || what == IDENTITY_REVOKED))
        told_refused(w, h, op->row, op->fx.generation);
    if (op->flag) {
        ev.probe.what = what;
    } else {
        ev.identity.what = what;
        ev.identity.subject = subject;
    }
    host_tell(w, h, &ev);
}

static void perform(struct world *w, struct host *h, const struct effect *fx)
{
    switch (fx->kind) {
    case FX_LEASE:
        fleet_lease(w, h, fx);
        break;
    case FX_UNLEASE:
        fleet_unlease(w, h, fx);
        break;
    case FX_SPEND:
        spender_begin(w, h, fx);
        break;
    case FX_STORE_INTENT:
    case FX_SETTLE:
    case FX_CLOSE_INTENT:
    case FX_ADOPT:
    case FX_RETIRE:
    case FX_RESOLVE:
    case FX_ALARM_RAISE:
    case FX_ALARM_CLEAR:
    case FX_QUARANTINE:
    case FX_CLAIM:
    case FX_DROP:
        store_write_begin(w, h, fx);
        break;
    case FX_ASK_IDENTITY:
    case FX_PROBE:
        ask(w, h, fx);
        break;
    case FX_READ:
    case FX_PUBLISH:
        place_order(w, h, fx);
        break;
    case FX_ANSWER:
        callers_answered(w, h, fx);
        break;
    case FX_COUNT:
        CHECK(false && "an effect");
    }
}

/* In any order; and between any two the process may die, or the machine. */
static void perform_all(struct world *w, struct host *h)
{
    struct effects *out = &w->effects;
    uint32_t life = h->life;
    for (size_t left = out->n; left > 0; left--) {
        uint32_t pick = draw(&w->draws, SITE_ORDER, h->index, (uint32_t)left);
        struct effect fx = out->list[pick];
        out->list[pick] = out->list[left - 1];
        if (fault(w, FAULT_CRASH, SITE_CRASH, h->index)) {
            say(w, h, "the daemon dies before it has done: %s", effect_name(fx.kind));
            host_crash(w, h, false, a_while(w, SITE_DOWN, h->index, w->span_ms / 4));
        } else if (fault(w, FAULT_POWER, SITE_CRASH, h->index)) {
            say(w, h, "the power goes before it has done: %s", effect_name(fx.kind));
            host_crash(w, h, true, a_while(w, SITE_DOWN, h->index, w->span_ms));
        }
        if (h->life != life || !h->up)
            return;
        perform(w, h, &fx);
    }
}

/* true: something is due at once. */
static bool set_timer(struct world *w, struct host *h)
{
    int64_t at = true_time_of(h, warden_deadline(h->warden));
    h->wake_at = at;
    if (at == TIME_NEVER)
        return false;
    bool at_once = at <= w->now;
    if (at < w->now)
        h->wake_at = at = w->now;
    if (chance(&w->draws, SITE_LATE, h->index, 64))
        h->wake_at = at + draw(&w->draws, SITE_LATE, h->index, LATE_MAX_MS);
    return at_once;
}

void host_tell(struct world *w, struct host *h, struct event *ev)
{
    if (!h->up)
        return;
    ev->now = host_now(w, h);
    w->steps++;
    oracle_before(w, h, ev);
    told_event(w, h, ev);
    struct states before;
    coverage_before(w, h, ev, &before);
    warden_step(h->warden, ev, &w->effects);
    warden_check(h->warden);
    say_step(w, h, ev, &w->effects);
    coverage_count(w, &before, ev, &w->effects);
    oracle_step(w, h, ev, &w->effects);
    perform_all(w, h);
    if (!h->up)
        return;
    /* Somebody closes the lid at the worst moment. */
    if (w->effects.n > 0 && w->rate[FAULT_SUSPEND] > 0 &&
        chance(&w->draws, SITE_CRASH, 32 + h->index, NAP_RATE))
        weather_sleep(w, h);
    if (w->rate[FAULT_BETWEEN] > 0 && w->effects.n > 0)
        callers_between(w, h, row_of(w->effects.list[0].lineage));
    bool at_once = set_timer(w, h);
    if (h->stopping && !at_once && !warden_is_busy(h->warden)) {
        say(w, h, "the daemon has stopped");
        oracle_stopped(w, h);
        host_crash(w, h, false, a_while(w, SITE_DOWN, h->index, w->span_ms / 4));
    }
}

void host_timer(struct world *w, struct host *h)
{
    h->spins = h->spun_at == w->now ? h->spins + 1 : 0;
    h->spun_at = w->now;
    oracle_progress(w, h, h->spins <= SPINS_MAX);
    struct event ev = event_of(EV_TIMER, 0);
    host_tell(w, h, &ev);
}

/* ---- start and end ---- */

void host_crash(struct world *w, struct host *h, bool power, int64_t down_ms)
{
    store_crash(w, h);
    h->up = false;
    h->life++;
    h->wake_at = TIME_NEVER;
    callers_lost(w, h);
    if (power) {
        spender_dies(w, h);
        spool_lose_power(w, h);
        places_lose_power(w, h);
        siblings_lose_power(w, h);
        h->boot++;
    } else {
        for (unsigned i = 0; i < SPOOL_MAX; i++) { /* what it had not handed over yet */
            if (h->spool[i].intent != 0 && h->spool[i].stage == STAGE_PREPARED &&
                !spender_has(w, h, h->spool[i].intent))
                h->spool[i].locked = false;
        }
    }
    struct op *op = op_new(w, HAP_HOST_UP, h, 1 + down_ms);
    op->flag = power;
}

struct loaded loaded_of(const struct world *w, const struct host *h, int index, bool restored)
{
    const struct row *row = &w->store.rows[index];
    const struct provider *p = &w->providers[row->provider];
    int continues = row->wanted == 0 ? NOBODY : w->store.profiles[row->wanted - 1];
    bool restored_here = w->store.restored.boot == h->boot && w->store.restored.host == h->index;
    return (struct loaded){
        .rules = rules_of(p),
        .policy = row->policy,
        .standing = row->standing,
        .unproven = row->wanted != 0,
        .claimed = row->claimed,
        .kept = row->kept,
        .subject = row->subject,
        .continues = continues == NOBODY ? 0 : lineage_id(continues),
        .pair = row->pair,
        .expires_boot_ms = row->boot == h->boot && (!w->fleet || row->expiry_host == h->index)
                               ? row->expires_boot_ms
                               : 0,
        .generation = row->generation,
        .fence = row->fence,
        .held_until_wall_ms = row->held_until_wall_ms,
        .doubt_since_wall_ms = row->doubt_since_wall_ms,
        .doubt = row->lost_intent,
        .replayed = row->replayed,
        .given_away = row->given_away,
        .intent = row->intent,
        .intent_is_replay = row->intent_is_replay,
        .intent_elsewhere = row->intent != 0 && row->intent_host != h->index,
        .restored = restored,
        .restored_wall_ms = w->store.restored.wall_ms,
        .restored_boot_ms = restored_here ? w->store.restored.boot_ms : 0,
        .shared = place_is_replica_of(w, h, index),
        .alarms = row->alarms,
    };
}

/* The daemon sizes its warden, and turns down what would not fit. */
bool host_has_room(const struct host *h)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < ROWS_MAX; i++)
        n += warden_state_bit(h->warden, lineage_id((int)i)) != 0;
    return n < h->room;
}

static bool is_nobodys(const struct world *w, int index)
{
    const struct row *row = &w->store.rows[index];
    return store_profile_of(w, index) == NOBODY && row->wanted == 0 &&
           row->standing != STANDING_QUARANTINED;
}

static void load_row(struct world *w, struct host *h, int index, const struct loaded *loaded)
{
    struct event ev = event_of(EV_LOADED, lineage_id(index));
    bool orphan = is_nobodys(w, index);
    ev.loaded = *loaded;
    host_tell(w, h, &ev);
    if (!h->up)
        return;
    if (loaded->intent_elsewhere) { // NOLINT: the caller filled it
        fleet_watch_intent(w, h, index);
    } else if (loaded->intent != 0) {
        struct op *op = op_new(w, HAP_RECOVER, h, 1);
        op->row = (int16_t)index;
        op->id = loaded->intent;
    }
    if (orphan) {
        h->told[index].removing = true;
        ev = event_of(EV_REMOVE, lineage_id(index));
        host_tell(w, h, &ev);
    }
}

/* What a crash left on either side of the store's write (daemon/recover.c). */
static void sweep_spool(struct world *w, struct host *h)
{
    for (unsigned i = 0; i < SPOOL_MAX; i++) {
        struct spool *s = &h->spool[i];
        if (s->intent != 0 && !s->locked && w->store.rows[s->row].intent != s->intent)
            s->intent = 0;
    }
}

/* An `add` is the business of the host that captured it. */
static bool is_ours(const struct world *w, const struct host *h, uint32_t index)
{
    const struct row *row = &w->store.rows[index];
    return row->standing != STANDING_RETIRED && (row->wanted == 0 || row->host == h->index);
}

void host_boot(struct world *w, struct host *h)
{
    h->booted_at = w->now;
    siblings_boot(w, h);
}

void host_start(struct world *w, struct host *h)
{
    struct loaded loaded[ROWS_MAX];
    uint32_t life = ++h->life, n = w->store.n_rows;
    h->up = true;
    h->stopping = false;
    h->started_at = w->now;
    h->spins = 0;
    h->restored = w->mark > w->store.spends;
    memset(h->told, 0, sizeof(h->told));
    places_forget(w, h);
    sweep_spool(w, h);
    for (uint32_t i = 0; i < n; i++) {
        if (is_ours(w, h, i))
            loaded[i] = loaded_of(w, h, (int)i, h->restored);
    }
    if (h->restored) {
        say(w, h, "the store is an older copy, and that is noticed");
        store_accept_restored(w, h);
    }
    h->room = w->room;
    for (uint32_t i = 0; i < n; i++)
        h->room += w->store.rows[i].standing != STANDING_RETIRED;
    struct warden_limits limits = {
        .lineages = h->room,
        .waiters = w->waiters,
        .consumers = w->n_places > 0 ? w->n_places : 1,
        .captures = w->tight ? CAPTURES_PER_CONSUMER * w->n_places : CAPTURES_MAX,
    };
    CHECK(warden_size(&limits) <= WARDEN_ROOM);
    h->warden =
        warden_init(memory[h->index], &limits, w->seed ^ (((uint64_t)life << 8) + h->index));
    say(w, h, "the daemon starts");
    for (uint32_t i = 0; i < n && h->up && h->life == life; i++) {
        if (is_ours(w, h, i))
            load_row(w, h, (int)i, &loaded[i]);
    }
    if (h->up && h->life == life)
        places_load(w, h);
}

void host_recover(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    struct spool *s = spool_find(h, op->id);
    if (h->told[op->row].awaits != op->id)
        return;
    if (s && s->locked) { /* a spender of an earlier daemon has it in hand */
        struct op *again = op_new(w, HAP_RECOVER, h, RECOVER_LOOK_MS);
        again->row = op->row;
        again->id = op->id;
        return;
    }
    tell_outcome(w, h, s, op->row, op->id, true); /* though another warden may have closed it */
}

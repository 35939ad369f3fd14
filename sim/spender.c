/*
 * The spender and its spool. It outlives the daemon that gave the order: whatever becomes of that
 * one, the request goes on, its answer is made durable in the spool, and only then the lock goes.
 *
 *     order ── connect ── STARTED, request leaves ── provider evaluates ── answer ── ANSWERED
 *
 * The provider evaluates whether or not anybody still waits: at the latest twice the spend's
 * deadline after the order, which is what the core counts on (core/doubt.c).
 */
#include "sim/world.h"

#include <string.h>

#include "sim/coverage.h"
#include "sim/oracles.h"
#include "sim/story.h"

#define CONNECT_MAX_MS 400
#define SEAL_MAX_MS    40

struct spool *spool_find(struct host *h, uint64_t intent)
{
    for (unsigned i = 0; intent != 0 && i < SPOOL_MAX; i++) {
        if (h->spool[i].intent == intent)
            return &h->spool[i];
    }
    return NULL;
}

/* Where none was removed, or long ago. */
static struct spool *free_slot(struct host *h)
{
    struct spool *oldest = NULL;
    for (unsigned i = 0; i < SPOOL_MAX; i++) {
        struct spool *s = &h->spool[i];
        if (s->intent == 0 && (!oldest || s->removed_at < oldest->removed_at))
            oldest = s;
    }
    return oldest;
}

struct spool *spool_new(const struct world *w, struct host *h, const struct effect *fx)
{
    struct spool *s = free_slot(h);
    CHECK(s && "room in the simulated spool");
    *s = (struct spool){
        .intent = fx->intent,
        .row = (int16_t)row_of(fx->lineage),
        .presented = fx->presented,
        .generation = fx->generation,
        .stage = STAGE_PREPARED,
        .locked = true,
        .boot = h->boot,
        .life = h->life,
        .begun_at = w->now,
        .begun_boot_ms = host_now(w, h).boot_ms,
    };
    return s;
}

void spool_remove(struct world *w, struct host *h, uint64_t intent)
{
    struct spool *s = spool_find(h, intent);
    if (!s)
        return;
    s->removed = s->intent;
    s->removed_at = w->now;
    s->intent = 0;
}

/* Its removal is not synced, for nothing rests on it: the file may be there again. */
static void bring_back(struct world *w, struct host *h, struct spool *s)
{
    if (s->removed == 0 || w->now - s->removed_at >= UNSYNCED_MS ||
        draw(&w->draws, SITE_LOST, (unsigned)(s - h->spool), 2) == 0)
        return;
    coverage_scene(w, SCENE_SPOOL_BACK);
    s->intent = s->removed;
    s->removed = 0;
    s->locked = false;
    s->answered = true;
}

void spool_lose_power(struct world *w, struct host *h)
{
    for (unsigned i = 0; i < SPOOL_MAX; i++) {
        struct spool *s = &h->spool[i];
        if (s->intent == 0) {
            bring_back(w, h, s);
            continue;
        }
        /* Nothing but the answer is synced: within its boot the page cache has it all the same. */
        uint32_t fate = s->stage == STAGE_STARTED ? draw(&w->draws, SITE_LOST, i, 3) : 0;
        if (fate == 1)
            s->stage = STAGE_PREPARED;
        if (fate == 2) {
            coverage_scene(w, SCENE_SPOOL_TORN);
            s->stage = STAGE_TORN;
        }
    }
}

static struct op *spender_op(struct world *w, enum happening what, struct host *h,
                             const struct op *from, int64_t delay_ms)
{
    struct op *op = op_new(w, what, h, delay_ms);
    op->outlives = true;
    op->row = from->row;
    op->id = from->id;
    op->index = from->index;
    return op;
}

void spender_begin(struct world *w, struct host *h, const struct effect *fx)
{
    int row = row_of(fx->lineage);
    oracle_ordered(w, h, fx);
    struct spool *s = spool_find(h, fx->intent);
    CHECK(s && s->stage == STAGE_PREPARED); /* as long as the intent is durable, and but once */
    int64_t delay_ms = a_while(w, SITE_TRAVEL, (unsigned)row, CONNECT_MAX_MS);
    struct op *op = op_new(w, HAP_SEND, h, 1 + delay_ms);
    op->outlives = true;
    op->row = (int16_t)row;
    op->id = fx->intent;
    op->flag = fx->replay;
    op->pair.refresh = fx->presented;
}

static void done(struct world *w, struct host *h, struct op *from, const struct reply *reply)
{
    struct spool *s = spool_find(h, from->id);
    if (!s || s->answered)
        return; /* it has been given up before */
    s->answered = true;
    int64_t delay_ms = 1 + a_while(w, SITE_SPENDER, (unsigned)from->row, SEAL_MAX_MS);
    struct op *op = spender_op(w, HAP_SEALED, h, from, delay_ms);
    op->reply = *reply;
}

void spender_send(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    const struct row *row = &w->store.rows[op->row];
    const struct provider *p = &w->providers[row->provider];
    struct reply unsent = {.verdict = VERDICT_UNSENT};
    unsigned part = (unsigned)op->row;
    struct spool *s = spool_find(h, op->id);
    if (!s)
        violated(w, "closes", "L%d: an intent is closed before its spender has begun", op->row);
    if (fault(w, FAULT_SPENDER_DIES, SITE_SPENDER, part)) {
        say(w, h, "the spender dies before it has sent anything");
        s->answered = true; /* the lock goes with it; what the spool says is true */
        op = spender_op(w, HAP_SEALED, h, op, 1);
        op->lost = true;
        return;
    }
    if (p->out_until > w->now || fault(w, FAULT_UNSENT, SITE_FATE, part) ||
        w->now - op->started_at >= p->deadline_ms) {
        say(w, h, "L%d: the provider cannot be reached", op->row);
        done(w, h, op, &unsent);
        return;
    }
    s->stage = STAGE_STARTED;
    oracle_presented(w, h, op);

    struct op *over = spender_op(w, HAP_REPLY, h, op, p->deadline_ms);
    over->lost = true;
    int64_t there_ms = 1 + a_while(w, SITE_TRAVEL, part, SECOND_MS);
    if (fault(w, FAULT_SLOW_SERVER, SITE_FATE, part))
        there_ms += a_while(w, SITE_TRAVEL, part, p->deadline_ms);
    if (fault(w, FAULT_LATE_COMMIT, SITE_FATE, part))
        there_ms = p->deadline_ms + a_while(w, SITE_TRAVEL, part, p->deadline_ms / 2);
    int64_t last = op->started_at + 2 * p->deadline_ms - 1 - w->now;
    struct op *commit = spender_op(w, HAP_COMMIT, h, op, there_ms < last ? there_ms : last);
    commit->pair.refresh = op->pair.refresh;
    commit->reply.sent_boot_ms = host_now(w, h).boot_ms;
}

/* Without touching the login: what a server says that does not want to. */
static bool turned_away(struct world *w, const struct op *op, struct reply *ret)
{
    const struct provider *p = &w->providers[w->store.rows[op->row].provider];
    unsigned part = (unsigned)op->row;
    memset(ret, 0, sizeof(*ret));
    if (p->has_date)
        ret->server_wall_ms = (WALL_ZERO + w->now) / SECOND_MS * SECOND_MS;
    if (fault(w, FAULT_THROTTLED, SITE_FATE, part)) {
        ret->verdict = VERDICT_THROTTLED;
        ret->retry_after_ms = a_while(w, SITE_ANSWER, part, w->span_ms) / SECOND_MS * SECOND_MS;
        return true;
    }
    if (fault(w, FAULT_UNCOMMITTED, SITE_FATE, part)) {
        ret->verdict = p->says_uncommitted ? VERDICT_UNCOMMITTED : VERDICT_DOUBT;
        return true;
    }
    return false;
}

void spender_commit(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    unsigned part = (unsigned)op->row;
    int64_t sent_boot_ms = op->reply.sent_boot_ms;
    if (fault(w, FAULT_LOST_BEFORE, SITE_FATE, part)) {
        say(w, NULL, "L%d: the request is lost before anything is committed", op->row);
        struct op *reply = spender_op(w, HAP_REPLY, h, op, 1);
        reply->lost = true;
        reply->boot = op->boot;
        return;
    }
    struct op *reply =
        spender_op(w, HAP_REPLY, h, op, 1 + a_while(w, SITE_TRAVEL, part, SECOND_MS));
    reply->boot = op->boot; /* the machine that sent it: a rebooted one hears nothing */
    if (!turned_away(w, op, &reply->reply)) {
        int token = issued_index(w, op->pair.refresh);
        CHECK(token != NOBODY);
        issuer_spend(w, token, fault(w, FAULT_KEPT, SITE_ANSWER, part),
                     fault(w, FAULT_RENAMED, SITE_ANSWER, part), &reply->reply);
        reply->lost = fault(w, FAULT_LOST_AFTER, SITE_FATE, part);
        reply->late = fault(w, FAULT_TORN, SITE_FATE, part);
    }
    reply->reply.sent_boot_ms = sent_boot_ms;
    say(w, NULL, "L%d: the provider evaluates %s: %s%s", op->row, name_token(w, op->pair.refresh),
        verdict_name(reply->reply.verdict),
        reply->lost   ? ", and the answer is lost"
        : reply->late ? ", and the answer is torn"
                      : "");
}

void spender_reply(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    struct reply lost = {.verdict = VERDICT_DOUBT};
    struct now now = host_now(w, h);
    op->reply.received_wall_ms = now.wall_ms;
    op->reply.received_boot_ms = now.boot_ms;
    done(w, h, op, op->lost || op->late ? &lost : &op->reply);
}

static void seal(struct world *w, struct spool *s, const struct reply *reply)
{
    s->stage = STAGE_ANSWERED;
    s->reply = *reply;
    if (reply->verdict == VERDICT_GRANTED)
        w->sealed[s->row] = s->intent;
}

void spender_sealed(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    struct spool *s = spool_find(h, op->id);
    if (!s && !op->lost)
        violated(w, "closes", "L%d: an intent is closed while its spender seals the answer",
                 op->row);
    if (!s)
        return; /* a new daemon has looked into it before, and is done with it */
    s->locked = false;
    if (!op->lost)
        seal(w, s, &op->reply);
    if (h->up && s->life == h->life && !s->is_told)
        tell_outcome(w, h, s, op->row, s->intent, false);
}

bool spender_has(struct world *w, const struct host *h, uint64_t intent)
{
    struct op *op;
    for (uint32_t at = 0; (op = op_each(w, &at));) {
        if (op->host == h->index && op->outlives && op->id == intent)
            return true;
    }
    return false;
}

static bool is_spenders(const struct op *op)
{
    return op->what == HAP_SEND || op->what == HAP_REPLY || op->what == HAP_SEALED;
}

/* Its process is gone, or the whole machine. What it had sent goes on at the provider. */
void spender_dies(struct world *w, struct host *h)
{
    struct op *op;
    for (uint32_t at = 0; (op = op_each(w, &at));) {
        if (op->host != h->index || !is_spenders(op))
            continue;
        /* The answer was being written: it may be there all the same. */
        if (op->what == HAP_SEALED && !op->lost &&
            draw(&w->draws, SITE_LOST, (unsigned)op->row, 2) == 1) {
            struct spool *s = spool_find(h, op->id);
            CHECK(s);
            seal(w, s, &op->reply);
        }
        op_drop(w, op);
        at = 0;
    }
    for (unsigned i = 0; i < SPOOL_MAX; i++) {
        struct spool *s = &h->spool[i];
        if (s->intent == 0)
            continue;
        s->locked = false;
        s->answered = true;
    }
}

static void granted(const struct world *w, const struct host *h, const struct spool *s, int row,
                    struct event *ev)
{
    const struct reply *r = &s->reply;
    struct pair *pair = &ev->answer.pair;
    int64_t answered_wall_ms = r->server_wall_ms ? r->server_wall_ms : r->received_wall_ms;
    int64_t sent_wall_ms = answered_wall_ms - (r->received_boot_ms - r->sent_boot_ms);
    pair->access = r->access;
    pair->refresh = fp_is_none(r->refresh) ? w->store.rows[row].pair.refresh : r->refresh;
    pair->life_ms = r->life_ms;
    if (r->life_ms > 0) {
        pair->expires_wall_ms = sent_wall_ms + r->life_ms;
        if (s->boot == h->boot)
            ev->answer.expires_boot_ms = r->sent_boot_ms + r->life_ms;
    }
    if (r->login_left_ms > 0)
        pair->login_deadline_wall_ms = sent_wall_ms + r->login_left_ms;
    ev->answer.subject = r->subject;
}

/* The server's clock by now; of another boot nobody can say. */
static int64_t server_now(const struct world *w, const struct host *h, const struct spool *s)
{
    if (s->reply.server_wall_ms == 0 || s->boot != h->boot)
        return 0;
    return s->reply.server_wall_ms + host_now(w, h).boot_ms - s->reply.sent_boot_ms;
}

/* As the daemon reads it (daemon/intake.c): what the spool says is what is known. */
void tell_outcome(struct world *w, struct host *h, struct spool *s, int row, uint64_t intent,
                  bool recovered)
{
    struct event ev = event_of(EV_ANSWER, lineage_id(row));
    if (s)
        s->is_told = true;
    ev.answer.recovered = recovered;
    ev.answer.verdict = VERDICT_DOUBT;
    ev.intent = intent;
    if (s && s->stage == STAGE_ANSWERED) {
        ev.answer.verdict = s->reply.verdict;
        ev.server_wall_ms = server_now(w, h, s);
        ev.retry_after_ms = s->reply.retry_after_ms;
        if (ev.answer.verdict == VERDICT_GRANTED)
            granted(w, h, s, row, &ev);
    } else if (s && s->stage == STAGE_PREPARED && s->boot == h->boot) {
        ev.answer.verdict = VERDICT_UNSENT;
    } else if (s && s->stage == STAGE_STARTED && s->boot == h->boot) {
        ev.answer.begun_boot_ms = s->begun_boot_ms;
    }
    host_tell(w, h, &ev);
}

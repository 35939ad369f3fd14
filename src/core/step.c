/*
 * The step: dispatch by tables, and the one function that changes a state.
 *
 * An event that its lineage's state does not expect is ignored, not an error: the outside may
 * repeat itself after a crash, and a late answer to an abandoned question must harm nobody.
 */
#include "core/internal.h"

#include <string.h>

uint64_t rng_next(struct warden *w)
{
    /* splitmix64: any seed is good, and one word of state keeps a trace reproducible */
    uint64_t z = (w->rng += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t rng_below(struct warden *w, int64_t limit)
{
    return limit <= 0 ? 0 : (int64_t)(rng_next(w) % (uint64_t)limit);
}

struct effect *emit(struct step *s, enum effect_kind kind)
{
    CHECK(s->out->n < EFFECTS_MAX);
    struct effect *fx = &s->out->list[s->out->n++];
    memset(fx, 0, sizeof(*fx));
    fx->kind = kind;
    fx->lineage = s->l ? s->l->id : s->ev->lineage;
    return fx;
}

static size_t round_up(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

size_t warden_size(const struct warden_limits *limits)
{
    return round_up(sizeof(struct warden)) + round_up(limits->lineages * sizeof(struct lineage)) +
           round_up(limits->waiters * sizeof(struct waiter)) +
           round_up(limits->consumers * sizeof(struct consumer)) +
           round_up(limits->captures * sizeof(struct capture));
}

struct warden *warden_init(void *memory, const struct warden_limits *limits, uint64_t seed)
{
    CHECK(limits->lineages > 0 && limits->waiters > 0);
    memset(memory, 0, warden_size(limits));
    struct warden *w = memory;
    uint8_t *at = (uint8_t *)memory + round_up(sizeof(*w));
    w->lineages = (struct lineage *)(void *)at;
    at += round_up(limits->lineages * sizeof(struct lineage));
    w->waiters = (struct waiter *)(void *)at;
    at += round_up(limits->waiters * sizeof(struct waiter));
    w->consumers = (struct consumer *)(void *)at;
    at += round_up(limits->consumers * sizeof(struct consumer));
    w->captures = (struct capture *)(void *)at;
    w->limits = *limits;
    w->rng = seed;
    return w;
}

struct lineage *lineage_find(const struct warden *w, uint64_t id)
{
    for (uint32_t i = 0; id != 0 && i < w->n_slots; i++) {
        if (w->lineages[i].state != LS_FREE && w->lineages[i].id == id)
            return &w->lineages[i];
    }
    return NULL;
}

/* Which states may follow which: a wrong turn stops the program before it costs a login. */
#define TO(state) (1u << (state))
static const struct {
    const char *name;
    uint32_t next;
} states[LS_COUNT] = {
    [LS_FREE] = {"free", TO(LS_UNPROVEN) | TO(LS_LIVE) | TO(LS_SPENDING) | TO(LS_DOUBT) |
                             TO(LS_SEARCHING) | TO(LS_DEAD) | TO(LS_QUARANTINED) | TO(LS_RETIRING)},
    [LS_UNPROVEN] = {"unproven",
                     TO(LS_ASKING) | TO(LS_ADOPTING) | TO(LS_LEASING) | TO(LS_RETIRING)},
    [LS_ASKING] = {"asking", TO(LS_UNPROVEN) | TO(LS_ADOPTING) | TO(LS_RETIRING)},
    [LS_ADOPTING] = {"adopting", TO(LS_UNPROVEN) | TO(LS_LIVE) | TO(LS_DOUBT) | TO(LS_QUARANTINED)},
    [LS_LIVE] = {"live", TO(LS_LEASING) | TO(LS_CONTINUING) | TO(LS_RETIRING)},
    [LS_LEASING] = {"leasing", TO(LS_WITHHOLDING) | TO(LS_INTENDING) | TO(LS_LIVE) |
                                   TO(LS_UNPROVEN) | TO(LS_DOUBT)},
    [LS_WITHHOLDING] = {"withholding",
                        TO(LS_INTENDING) | TO(LS_LIVE) | TO(LS_UNPROVEN) | TO(LS_DOUBT)},
    [LS_INTENDING] = {"intending", TO(LS_SPENDING) | TO(LS_CLOSING) | TO(LS_LIVE) |
                                       TO(LS_UNPROVEN) | TO(LS_DOUBT)},
    [LS_SPENDING] = {"spending", TO(LS_SETTLING) | TO(LS_CLOSING)},
    [LS_SETTLING] = {"settling", TO(LS_LIVE) | TO(LS_UNPROVEN) | TO(LS_QUARANTINED)},
    [LS_CLOSING] = {"closing", TO(LS_LIVE) | TO(LS_UNPROVEN) | TO(LS_DOUBT) | TO(LS_SEARCHING) |
                                   TO(LS_DEAD) | TO(LS_RETIRING)},
    [LS_DOUBT] = {"doubt", TO(LS_PROBING) | TO(LS_LEASING) | TO(LS_ADOPTING) | TO(LS_CONTINUING) |
                               TO(LS_RETIRING)},
    [LS_PROBING] = {"probing", TO(LS_DOUBT) | TO(LS_LIVE) | TO(LS_UNPROVEN) | TO(LS_RETIRING)},
    [LS_SEARCHING] = {"searching", TO(LS_CONTINUING) | TO(LS_DEAD) | TO(LS_RETIRING)},
    [LS_CONTINUING] = {"continuing", TO(LS_LIVE) | TO(LS_DOUBT) | TO(LS_SEARCHING) | TO(LS_DEAD)},
    [LS_DEAD] = {"dead", TO(LS_CONTINUING) | TO(LS_RETIRING)},
    [LS_QUARANTINED] = {"quarantined", TO(LS_UNPROVEN) | TO(LS_DOUBT) | TO(LS_RETIRING)},
    [LS_RETIRING] = {"retiring", TO(LS_FREE) | TO(LS_UNPROVEN) | TO(LS_LIVE) | TO(LS_DOUBT) |
                                     TO(LS_SEARCHING) | TO(LS_DEAD) | TO(LS_QUARANTINED)},
};

const char *state_name(enum state state)
{
    CHECK(state < LS_COUNT);
    return states[state].name;
}

void become(struct step *s, enum state next)
{
    struct lineage *l = s->l;
    CHECK(states[l->state].next & TO(next));
    l->state = next;
    switch (next) {
    case LS_FREE:
        CHECK(l->n_waiters == 0 && l->n_consumers == 0 && l->n_captures == 0);
        memset(l, 0, sizeof(*l));
        break;
    case LS_DOUBT:
    case LS_SEARCHING:
        alarm_clear(s, ALARM_DEAD); /* of a fleet: it came back to life meanwhile */
        alarm_raise(s, ALARM_DOUBT);
        break;
    case LS_DEAD:
        alarm_clear(s, ALARM_DOUBT);
        alarm_clear(s, ALARM_RESTORED);
        alarm_clear(s, ALARM_UNREACHABLE);
        alarm_clear(s, ALARM_EXPIRING);
        alarm_raise(s, ALARM_DEAD);
        break;
    case LS_QUARANTINED:
        alarm_clear(s, ALARM_DOUBT);
        alarm_clear(s, ALARM_RESTORED);
        alarm_raise(s, ALARM_SUBJECT);
        break;
    case LS_UNPROVEN:
    case LS_LIVE:
        alarm_clear(s, ALARM_DOUBT);
        alarm_clear(s, ALARM_RESTORED);
        alarm_clear(s, ALARM_DEAD);
        break;
    case LS_ASKING:
    case LS_ADOPTING:
    case LS_LEASING:
    case LS_WITHHOLDING:
    case LS_INTENDING:
    case LS_SPENDING:
    case LS_SETTLING:
    case LS_CLOSING:
    case LS_PROBING:
    case LS_CONTINUING:
    case LS_RETIRING:
        break;
    case LS_COUNT:
        CHECK(false && "a state");
    }
}

void begin_anew(struct step *s)
{
    s->l->state = LS_FREE;
}

static void on_policy(struct step *s)
{
    struct warden *w = s->w;
    s->l->policy = s->ev->policy;
    for (uint32_t i = 0; i < w->n_slots; i++) { /* it is the profile's: also what came from there */
        if (is_claim_of(&w->lineages[i], s->l->id))
            w->lineages[i].policy = s->ev->policy;
    }
    alarm_look(s);
    serve_waiters(s);
}

/* What a state makes of an event. No entry: nothing. */
typedef void (*reaction)(struct step *s);
#define IN(state) (1u << (state))
#define IN_ANY    (~IN(LS_FREE))
static const struct {
    const char *name;
    reaction react;
    uint32_t states; /* in which this happens; elsewhere the event is ignored */
} reactions[EV_COUNT] = {
    [EV_TIMER] = {"timer", NULL, 0},
    [EV_LOADED] = {"loaded", NULL, 0},
    [EV_ADDED] = {"added", NULL, 0},
    [EV_CLAIMED] = {"claimed", on_claimed, IN(LS_QUARANTINED)},
    [EV_IDENTITY] = {"identity", on_identity, IN(LS_ASKING) | IN(LS_LIVE)},
    [EV_ADOPTED] = {"adopted", on_adopted, IN(LS_ADOPTING)},
    [EV_LEASED] = {"leased", on_leased, IN_ANY},
    [EV_INTENT_DURABLE] = {"intent-durable", on_intent_durable, IN(LS_INTENDING)},
    [EV_ANSWER] = {"answer", on_answer, IN(LS_SPENDING)},
    [EV_SETTLED] = {"settled", on_settled, IN(LS_SETTLING)},
    [EV_CLOSED] = {"closed", on_closed, IN(LS_CLOSING)},
    [EV_STORE_FAILED] = {"store-failed", write_failed,
                         IN(LS_INTENDING) | IN(LS_SETTLING) | IN(LS_CLOSING) | IN(LS_ADOPTING) |
                             IN(LS_RETIRING)},
    [EV_PROBED] = {"probed", on_probed, IN(LS_PROBING)},
    [EV_WANT] = {"want", on_want, IN_ANY},
    [EV_UNWANT] = {"unwant", NULL, 0},
    [EV_POLICY] = {"policy", on_policy, IN_ANY},
    [EV_REMOVE] = {"remove", on_remove, IN_ANY},
    [EV_RETIRED] = {"retired", on_retired, IN(LS_RETIRING)},
    [EV_OVERTAKEN] = {"overtaken", on_overtaken, IN_ANY},
    [EV_BOUND] = {"bound", on_bound, IN_ANY},
    [EV_UNBOUND] = {"unbound", on_unbound, IN_ANY},
    [EV_OBSERVED] = {"observed", on_observed, 0},
    [EV_PUBLISHED] = {"published", on_published, IN_ANY},
    [EV_CONSUMER_FAILED] = {"consumer-failed", on_consumer_failed, IN_ANY},
    [EV_QUARANTINED] = {"quarantined", on_capture_stored, 0},
    [EV_STOP] = {"stop", NULL, 0},
};

const char *event_name(enum event_kind kind)
{
    return kind < EV_COUNT ? reactions[kind].name : "?";
}

const char *effect_name(enum effect_kind kind)
{
    static const char *const names[FX_COUNT] = {
        [FX_LEASE] = "lease",
        [FX_UNLEASE] = "unlease",
        [FX_STORE_INTENT] = "store-intent",
        [FX_SPEND] = "spend",
        [FX_SETTLE] = "settle",
        [FX_CLOSE_INTENT] = "close-intent",
        [FX_ASK_IDENTITY] = "ask-identity",
        [FX_PROBE] = "probe",
        [FX_ADOPT] = "adopt",
        [FX_RETIRE] = "retire",
        [FX_QUARANTINE] = "quarantine",
        [FX_CLAIM] = "claim",
        [FX_DROP] = "drop",
        [FX_READ] = "read",
        [FX_PUBLISH] = "publish",
        [FX_RESOLVE] = "resolve",
        [FX_ANSWER] = "answer",
        [FX_ALARM_RAISE] = "alarm-raise",
        [FX_ALARM_CLEAR] = "alarm-clear",
    };
    return kind < FX_COUNT ? names[kind] : "?";
}

/* An answer about an intent must be about the one that is open, one about a pair about the current
 * one: a late one, of something that was given up or overtaken, says nothing about this. */
static bool is_about_us(const struct step *s)
{
    switch (s->ev->kind) {
    case EV_INTENT_DURABLE:
    case EV_ANSWER:
    case EV_SETTLED:
    case EV_CLOSED:
    case EV_STORE_FAILED: /* one that writes without an intent has none */
        return s->ev->intent == s->l->intent;
    case EV_IDENTITY:
    case EV_PROBED:
        return s->ev->generation == s->l->generation;
    case EV_TIMER:
    case EV_LOADED:
    case EV_ADDED:
    case EV_CLAIMED:
    case EV_ADOPTED:
    case EV_LEASED:
    case EV_WANT:
    case EV_UNWANT:
    case EV_POLICY:
    case EV_REMOVE:
    case EV_RETIRED:
    case EV_OVERTAKEN:
    case EV_BOUND:
    case EV_UNBOUND:
    case EV_OBSERVED:
    case EV_PUBLISHED:
    case EV_CONSUMER_FAILED:
    case EV_QUARANTINED:
    case EV_STOP:
    case EV_COUNT:
        break;
    }
    return true;
}

static void to_unknown(struct step *s)
{
    if (s->ev->kind == EV_WANT || s->ev->kind == EV_REMOVE)
        answer_waiter(s, s->ev->waiter, ANSWER_UNKNOWN, 0, 0);
}

static void to_lineage(struct step *s)
{
    s->l = lineage_find(s->w, s->ev->lineage);
    if (!s->l) {
        to_unknown(s);
        return;
    }
    bool about_us = is_about_us(s);
    hear_date(s);
    if (about_us && (s->ev->kind == EV_IDENTITY || s->ev->kind == EV_PROBED))
        hear_refusal(s);
    if (about_us && (reactions[s->ev->kind].states & IN(s->l->state)))
        reactions[s->ev->kind].react(s);
    else if (s->ev->kind == EV_CLAIMED) /* who waits is always told something */
        answer_waiter(s, s->ev->waiter, ANSWER_BUSY, 0, 0);
}

/* It names a consumer: whose it is now is ours to know. */
static void to_consumer(struct step *s)
{
    const struct consumer *c = consumer_find(s->w, s->ev->consumer);
    if (!c && s->ev->consumer == 0) {
        to_lineage(s);
    } else if (c) {
        s->l = &s->w->lineages[c->slot];
        reactions[s->ev->kind].react(s);
    }
}

/* It is about a capture; its lineage may be gone. */
static void to_capture(struct step *s, reaction react)
{
    s->l = lineage_find(s->w, s->ev->lineage);
    react(s);
}

/* Every lineage does what it owes by now. One lineage owes a bounded number of things at once, and
 * the loop leaves room for the largest answer of one; what is left over is owed still. */
static void on_timer(struct step *s)
{
    enum { ROOM = WAITERS_PER_LINEAGE_MAX + CONSUMERS_PER_LINEAGE_MAX + 16 };
    struct warden *w = s->w;
    for (uint32_t i = 0; i < w->n_slots; i++) {
        s->l = &w->lineages[i];
        for (int turns = 0; turns < 4 && s->l->state != LS_FREE; turns++) {
            if (s->out->n + ROOM > EFFECTS_MAX)
                return;
            enum duty duty;
            if (owes(w, s->l, &duty) > s->now.boot_ms)
                break;
            perform_duty(s, duty);
        }
    }
}

void warden_step(struct warden *w, const struct event *ev, struct effects *out)
{
    struct step s = {.w = w, .l = NULL, .ev = ev, .now = ev->now, .out = out};
    out->n = 0;
    /* The boot clock is monotonic; an event stamped before one already handled (they are stamped
     * where they arise) must not turn time back. */
    if (s.now.boot_ms < w->now.boot_ms)
        s.now.boot_ms = w->now.boot_ms;
    w->now = s.now;

    switch (ev->kind) {
    case EV_TIMER:
        on_timer(&s);
        break;
    case EV_LOADED:
        on_loaded(&s);
        break;
    case EV_ADDED:
        on_added(&s);
        break;
    case EV_UNWANT:
        on_unwant(&s);
        break;
    case EV_STOP:
        w->stopping = true; /* waiters are answered by the timer, which is due at once */
        break;
    case EV_OBSERVED:
        to_capture(&s, on_observed);
        break;
    case EV_QUARANTINED:
        to_capture(&s, on_capture_stored);
        break;
    case EV_UNBOUND:
    case EV_PUBLISHED:
    case EV_CONSUMER_FAILED:
        to_consumer(&s);
        break;
    case EV_IDENTITY:
        if (ev->capture != 0)
            to_capture(&s, on_capture_named);
        else
            to_lineage(&s);
        break;
    case EV_ADOPTED:
        if (ev->capture != 0)
            to_capture(&s, on_capture_stored);
        else
            to_lineage(&s);
        break;
    case EV_STORE_FAILED:
        if (ev->capture != 0)
            to_capture(&s, on_capture_failed);
        else
            to_lineage(&s);
        break;
    case EV_OVERTAKEN:
    case EV_BOUND:
    case EV_CLAIMED:
    case EV_LEASED:
    case EV_INTENT_DURABLE:
    case EV_ANSWER:
    case EV_SETTLED:
    case EV_CLOSED:
    case EV_PROBED:
    case EV_WANT:
    case EV_POLICY:
    case EV_REMOVE:
    case EV_RETIRED:
        to_lineage(&s);
        break;
    case EV_COUNT:
        CHECK(false && "an event");
    }
}

int64_t warden_deadline(const struct warden *w)
{
    int64_t soonest = TIME_NEVER;
    for (uint32_t i = 0; i < w->n_slots; i++) {
        enum duty duty;
        if (w->lineages[i].state == LS_FREE)
            continue;
        int64_t at = owes(w, &w->lineages[i], &duty);
        if (at < soonest)
            soonest = at;
    }
    return soonest;
}

uint32_t warden_state_bit(const struct warden *w, uint64_t lineage)
{
    const struct lineage *l = lineage_find(w, lineage);
    return l ? 1u << l->state : 0;
}

const char *warden_state_name(unsigned index)
{
    return index < LS_COUNT ? states[index].name : NULL;
}

bool warden_is_busy(const struct warden *w)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (in_flight(&w->lineages[i]))
            return true;
    }
    return false;
}

bool warden_view(const struct warden *w, uint64_t lineage, struct now now, struct view *ret)
{
    const struct lineage *l = lineage_find(w, lineage);
    if (!l)
        return false;
    enum duty duty;
    int64_t due = due_boot_ms(l), from = may_spend_from(l);
    bool spends = !is_static(l) && l->state != LS_DEAD && l->state != LS_QUARANTINED;
    if (l->state == LS_DOUBT)
        due = owes(w, l, &duty);
    *ret = (struct view){
        .id = l->id,
        .state = state_name(l->state),
        .standing = l->state == LS_LIVE ? STANDING_LIVE : l->standing,
        .policy = l->policy,
        .pair = l->pair,
        .subject = l->subject,
        .generation = l->generation,
        .left_ms = life_left(l, now),
        .next_spend_boot_ms = !spends      ? TIME_NEVER
                              : due > from ? due
                                           : from,
        .doubt_since_boot_ms =
            l->state == LS_DOUBT || l->state == LS_PROBING ? l->doubt_since_boot_ms : 0,
        .tries = l->tries,
        .waiters = l->n_waiters,
        .alarms = l->alarms,
        .in_flight = in_flight(l),
    };
    return true;
}

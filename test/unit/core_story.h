/*
 * Stories about the core: a lineage, a clock that the test owns, and the effects of each step as a
 * line of words. A test reads: this happened, these were the orders.
 */
#ifndef TEST_CORE_STORY_H
#define TEST_CORE_STORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/err.h"
#include "core/warden.h"

#define WALL0 INT64_C(1790000000000)
#define BOOT0 INT64_C(1000000)
#define A     INT64_C(1) /* the lineage of most stories */

struct story {
    struct warden *w;
    struct now now;
    struct effects out;
    char said[4096];
    uint64_t intent, fence;
    uint64_t writing;      /* intent of the last order to the store; 0: it has none */
    uint64_t asked;        /* generation that the server was asked about last */
    struct pair settled;   /* of the last FX_SETTLE */
    struct pair published; /* of the last FX_PUBLISH */
    struct rules rules;
};

static inline struct fp fp_of(int n)
{
    struct fp fp = {{0}};
    fp.bytes[0] = (uint8_t)n;
    fp.bytes[15] = 0x5a;
    return fp;
}

/* Pair number n: tokens 2n (access) and 2n + 1 (refresh), living so long from now. */
static inline struct pair pair_of(const struct story *st, int n, int64_t life_ms)
{
    return (struct pair){.access = fp_of(2 * n),
                         .refresh = fp_of(2 * n + 1),
                         .life_ms = life_ms,
                         .expires_wall_ms = life_ms ? st->now.wall_ms + life_ms : 0};
}

__attribute__((format(printf, 2, 3))) static inline void say(struct story *st, const char *fmt, ...)
{
    size_t at = strlen(st->said);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(st->said + at, sizeof(st->said) - at, fmt, args);
    va_end(args);
}

/* What the answer to an order must name. */
static inline void note_echo(struct story *st, const struct effect *fx)
{
    if (fx->kind == FX_ASK_IDENTITY || fx->kind == FX_PROBE)
        st->asked = fx->generation;
    else if (fx->kind == FX_STORE_INTENT || fx->kind == FX_SETTLE || fx->kind == FX_CLOSE_INTENT ||
             fx->kind == FX_ADOPT || fx->kind == FX_RETIRE)
        st->writing = fx->intent;
}

static inline void say_effect(struct story *st, const struct effect *fx)
{
    note_echo(st, fx);
    say(st, "%s%s", st->said[0] ? " " : "", effect_name(fx->kind));
    switch (fx->kind) {
    case FX_STORE_INTENT:
        st->intent = fx->intent;
        say(st, "(g%d%s)", (int)fx->generation, fx->replay ? ",replay" : "");
        break;
    case FX_SPEND:
        assert_true(fx->intent == st->intent);
        say(st, "(g%d%s)", (int)fx->generation, fx->replay ? ",replay" : "");
        break;
    case FX_SETTLE:
        st->settled = fx->pair;
        say(st, "(g%d,%s,%s)", (int)fx->generation, standing_name(fx->standing),
            origin_name(fx->origin));
        break;
    case FX_CLOSE_INTENT:
        say(st, "(%s,%s%s)", verdict_name(fx->verdict), standing_name(fx->standing),
            fx->replayed ? ",replayed" : "");
        break;
    case FX_ADOPT:
        if (fx->capture)
            say(st, "(k%d,g%d)", (int)fx->capture, (int)fx->generation);
        else
            say(st, "(%s,s%d)", standing_name(fx->standing), fx->subject.bytes[0]);
        break;
    case FX_ANSWER:
        say(st, "(%d,%s)", (int)fx->waiter, answer_name(fx->answer));
        break;
    case FX_ALARM_RAISE:
    case FX_ALARM_CLEAR:
        say(st, "(%s)", alarm_name(fx->alarm));
        break;
    case FX_READ:
        say(st, "(c%d)", (int)fx->consumer);
        break;
    case FX_PUBLISH:
        say(st, "(c%d,a%d,r%d)", (int)fx->consumer, fx->pair.access.bytes[0],
            fx->pair.refresh.bytes[0]);
        st->published = fx->pair;
        break;
    case FX_QUARANTINE:
    case FX_CLAIM:
    case FX_DROP:
        say(st, "(k%d)", (int)fx->capture);
        break;
    case FX_ASK_IDENTITY:
        if (fx->capture)
            say(st, "(k%d)", (int)fx->capture);
        break;
    case FX_LEASE:
    case FX_UNLEASE:
    case FX_PROBE:
    case FX_RETIRE:
    case FX_RESOLVE:
    case FX_COUNT:
        break;
    }
}

/* One step; what it ordered is in st->said. */
static inline void tell(struct story *st, struct event ev)
{
    bool of_none = ev.kind == EV_TIMER || ev.kind == EV_STOP || ev.kind == EV_UNWANT ||
                   (ev.consumer != 0 && ev.kind != EV_BOUND);
    if (ev.lineage == 0 && !of_none)
        ev.lineage = (uint64_t)A;
    if (ev.kind == EV_STORE_FAILED && ev.intent == 0)
        ev.intent = st->writing;
    if ((ev.kind == EV_IDENTITY || ev.kind == EV_PROBED) && ev.generation == 0)
        ev.generation = st->asked;
    ev.now = st->now;
    st->said[0] = '\0';
    warden_step(st->w, &ev, &st->out);
    warden_check(st->w);
    for (size_t i = 0; i < st->out.n; i++)
        say_effect(st, &st->out.list[i]);
}

static inline void expect(struct story *st, struct event ev, const char *orders)
{
    tell(st, ev);
    assert_string_equal(st->said, orders);
}

static inline struct story *story_new(void)
{
    struct warden_limits limits = {.lineages = 8, .waiters = 512, .consumers = 32, .captures = 16};
    struct story *st = calloc(1, sizeof(*st));
    void *memory = calloc(1, warden_size(&limits));
    CHECK(st && memory);
    st->w = warden_init(memory, &limits, 7);
    st->now = (struct now){.wall_ms = WALL0, .boot_ms = BOOT0};
    st->rules = (struct rules){.skew_ms = 5 * MINUTE_MS,
                               .rotates = true,
                               .has_identity = true,
                               .spend_deadline_ms = 30 * SECOND_MS};
    return st;
}

static inline void story_free(struct story *st)
{
    free(st->w);
    free(st);
}

/* From the store, as this same boot counted it. */
static inline struct event loaded(struct story *st, enum policy policy, int64_t life_ms)
{
    struct event ev = {.kind = EV_LOADED};
    ev.loaded = (struct loaded){.rules = st->rules,
                                .policy = policy,
                                .standing = STANDING_LIVE,
                                .subject = fp_of(99),
                                .pair = pair_of(st, 1, life_ms),
                                .expires_boot_ms = life_ms ? st->now.boot_ms + life_ms : 0,
                                .generation = 1};
    return ev;
}

static inline struct event loaded_after_boot(struct story *st, enum policy policy, int64_t life_ms)
{
    struct event ev = loaded(st, policy, life_ms);
    ev.loaded.expires_boot_ms = 0;
    return ev;
}

static inline void later(struct story *st, int64_t ms)
{
    st->now.wall_ms += ms;
    st->now.boot_ms += ms;
}

/* Time goes by until the next thing is owed, at least 1 ms. Fails when nothing is. */
static inline int64_t until_due(struct story *st)
{
    int64_t at = warden_deadline(st->w);
    assert_true(at != TIME_NEVER);
    int64_t ms = at > st->now.boot_ms ? at - st->now.boot_ms : 0;
    later(st, ms);
    return ms;
}

static inline struct event timer(void)
{
    return (struct event){.kind = EV_TIMER};
}

static inline struct event want(const struct story *st, int waiter, int64_t ttl_min_ms)
{
    struct event ev = {.kind = EV_WANT, .waiter = (uint64_t)waiter};
    ev.want.ttl_min_ms = ttl_min_ms;
    ev.want.deadline_boot_ms = st->now.boot_ms + 60 * SECOND_MS;
    return ev;
}

static inline struct event renew(const struct story *st, int waiter)
{
    struct event ev = want(st, waiter, -1);
    ev.want.renew = true;
    return ev;
}

static inline struct event leased(struct story *st)
{
    struct event ev = {.kind = EV_LEASED};
    ev.lease.fence = ++st->fence;
    ev.lease.until_boot_ms = st->now.boot_ms + 10 * MINUTE_MS;
    return ev;
}

static inline struct event of_intent(const struct story *st, enum event_kind kind)
{
    return (struct event){.kind = kind, .intent = st->intent};
}

static inline struct event answered(const struct story *st, enum verdict verdict)
{
    struct event ev = of_intent(st, EV_ANSWER);
    ev.answer.verdict = verdict;
    return ev;
}

static inline struct event granted(const struct story *st, int n, int64_t life_ms)
{
    struct event ev = answered(st, VERDICT_GRANTED);
    ev.answer.pair = pair_of(st, n, life_ms);
    ev.answer.expires_boot_ms = life_ms ? st->now.boot_ms + life_ms : 0;
    return ev;
}

static inline struct event store_failed(void)
{
    return (struct event){.kind = EV_STORE_FAILED, .err = ERR_FULL};
}

static inline struct event named(enum event_kind kind, enum identity what, int subject)
{
    struct event ev = {.kind = kind};
    if (kind == EV_PROBED) {
        ev.probe.what = what;
    } else {
        ev.identity.what = what;
        ev.identity.subject = subject ? fp_of(subject) : (struct fp){{0}};
    }
    return ev;
}

/* From "a spend is due" to the token presented. */
static inline void present(struct story *st, int generation, bool replay)
{
    char orders[64];
    const char *mark = replay ? ",replay" : "";
    (void)snprintf(orders, sizeof(orders), "store-intent(g%d%s)", generation, mark);
    expect(st, leased(st), orders);
    (void)snprintf(orders, sizeof(orders), "spend(g%d%s)", generation, mark);
    tell(st, of_intent(st, EV_INTENT_DURABLE));
    assert_non_null(strstr(st->said, orders));
}

#endif

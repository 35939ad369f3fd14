/*
 * An opening of stories about places: a lineage with a client that has a copy of its pair.
 */
#ifndef TEST_CORE_PLACES_H
#define TEST_CORE_PLACES_H

#include "core_story.h"

#define HOUR (60 * MINUTE_MS)
#define B    INT64_C(2) /* the lineage of another profile */
#define C1   1          /* consumers */
#define C2   2
#define K1   11 /* captures */
#define K2   12

static inline struct event bound(int consumer, bool replica, bool with_pair)
{
    struct event ev = {.kind = EV_BOUND, .consumer = (uint64_t)consumer};
    ev.bound.replica = replica;
    ev.bound.with_pair = with_pair;
    return ev;
}

static inline struct event seen(int consumer, enum seen what, bool asked)
{
    struct event ev = {.kind = EV_OBSERVED, .consumer = (uint64_t)consumer};
    ev.observed.what = what;
    ev.observed.asked = asked;
    return ev;
}

/* Pair number n, as it stands there; `capture` when the warden did not know it. */
static inline struct event saw(struct story *st, int consumer, int n, int capture, bool asked)
{
    struct event ev = seen(consumer, SEEN_PAIR, asked);
    ev.capture = (uint64_t)capture;
    ev.observed.pair = pair_of(st, n, HOUR);
    return ev;
}

static inline struct event saw_pair(int consumer, struct pair pair, int capture, bool asked)
{
    struct event ev = seen(consumer, SEEN_PAIR, asked);
    ev.capture = (uint64_t)capture;
    ev.observed.pair = pair;
    return ev;
}

static inline struct event published(const struct story *st, int consumer)
{
    struct event ev = {.kind = EV_PUBLISHED, .consumer = (uint64_t)consumer};
    ev.published = st->published;
    return ev;
}

static inline struct event failed(int consumer)
{
    return (struct event){
        .kind = EV_CONSUMER_FAILED, .consumer = (uint64_t)consumer, .err = ERR_LOCKED};
}

static inline struct event of_capture(enum event_kind kind, int capture)
{
    struct event ev = {.kind = kind, .capture = (uint64_t)capture};
    if (kind == EV_STORE_FAILED)
        ev.err = ERR_FULL;
    return ev;
}

static inline struct event capture_named(int capture, enum identity what, int subject)
{
    struct event ev = named(EV_IDENTITY, what, subject);
    ev.capture = (uint64_t)capture;
    return ev;
}

/* A live lineage, pair 1, whose client's store holds that same pair. */
static inline struct story *with_client(enum policy policy)
{
    struct story *st = story_new();
    struct event ev = loaded(st, policy, HOUR);
    ev.loaded.shared = true;
    struct pair ours = ev.loaded.pair;
    expect(st, ev, "");
    expect(st, bound(C1, true, true), "");
    expect(st, timer(), "read(c1)");
    expect(st, saw_pair(C1, ours, 0, true), "");
    expect(st, timer(), "");
    return st;
}

static inline void until_spend(struct story *st)
{
    st->said[0] = '\0';
    while (strstr(st->said, "lease") == NULL) {
        until_due(st);
        tell(st, timer());
    }
}

/* From a spend that is due to the token presented; the client's copy is access-only by then. */
static inline void present_withheld(struct story *st)
{
    until_spend(st);
    tell(st, leased(st));
    tell(st, published(st, C1));
    tell(st, of_intent(st, EV_INTENT_DURABLE));
}

static inline void refuse_for_good(struct story *st)
{
    present_withheld(st);
    expect(st, answered(st, VERDICT_REFUSED), "close-intent(refused,dead)");
    expect(st, of_intent(st, EV_CLOSED), "unlease alarm-raise(in-doubt)");
}

/* What the client has was found, and is claimed as lineage B; the story goes on from there. */
static inline struct event claimed_pair(struct story *st, enum policy policy)
{
    struct event ev = {.kind = EV_ADDED, .lineage = B, .capture = K1};
    ev.added.rules = st->rules;
    ev.added.policy = policy;
    ev.added.pair = pair_of(st, 2, HOUR);
    ev.added.continues = A;
    ev.added.deadline_boot_ms = TIME_NEVER;
    return ev;
}

/* A client's newer pair of which nobody can say whose it is; its claim is ordered. */
static inline struct story *with_a_mute_pair(enum policy policy)
{
    struct story *st = with_client(policy);
    later(st, 30 * MINUTE_MS);
    expect(st, saw(st, C1, 2, K1, false), "");
    tell(st, timer());
    expect(st, capture_named(K1, IDENTITY_EXPIRED, 0), "claim(k11)");
    return st;
}

/* The client has a newer pair whose access token is over, so that nobody can say whose it is. */
static inline struct story *with_a_claim(enum policy policy)
{
    struct story *st = with_a_mute_pair(policy);
    struct event ev = claimed_pair(st, policy);
    ev.added.pair.expires_wall_ms = st->now.wall_ms - 1;
    tell(st, ev);
    return st;
}

#endif

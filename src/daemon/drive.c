/*
 * The loop around the core: facts in, one step each, imperatives out. Effects may yield new facts
 * at once (a local lease): they queue up behind the one being handled, never inside it.
 */
#include "daemon/daemon.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct event event_of(enum event_kind kind, uint64_t lineage)
{
    struct event ev;
    memset(&ev, 0, sizeof(ev));
    ev.kind = kind;
    ev.lineage = lineage;
    return ev;
}

static void step(struct daemon *d, const struct event *ev)
{
    if (ev->kind != EV_TIMER)
        log_line(d, LOG_DEBUG, "event %s lineage %016llx", event_name(ev->kind),
                 (unsigned long long)ev->lineage);
    warden_step(d->warden, ev, &d->effects);
    warden_check(d->warden);
    for (size_t i = 0; i < d->effects.n; i++) {
        log_line(d, LOG_DEBUG, "effect %s lineage %016llx", effect_name(d->effects.list[i].kind),
                 (unsigned long long)d->effects.list[i].lineage);
        perform(d, &d->effects.list[i]);
    }
}

void drive(struct daemon *d, const struct event *ev)
{
    if (!d->store)
        return; /* on the way out: nothing can be made durable any more, so nothing is begun */
    CHECK(d->queue_len < EVENTS_QUEUE_MAX); /* each event answers an effect or a bounded call */
    struct event *slot = &d->queue[(d->queue_at + d->queue_len++) % EVENTS_QUEUE_MAX];
    *slot = *ev;
    slot->now = clock_now();
    if (d->driving)
        return;
    d->driving = true;
    while (d->queue_len > 0) {
        struct event next = d->queue[d->queue_at];
        d->queue_at = (d->queue_at + 1) % EVENTS_QUEUE_MAX;
        d->queue_len--;
        step(d, &next);
    }
    d->driving = false;
    wake_at(d->wake, warden_deadline(d->warden));
}

static void on_wake(void *ctx)
{
    struct daemon *d = ctx;
    int64_t suspended = clock_suspended_ms();
    if (suspended > d->suspended_ms + SECOND_MS) {
        char slept[32];
        duration_format(suspended - d->suspended_ms, slept, sizeof(slept));
        journal(d, NULL, "woke", "the machine was suspended for %s", slept);
    }
    d->suspended_ms = suspended;
    struct event ev = event_of(EV_TIMER, 0);
    drive(d, &ev);
}

int drive_init(struct daemon *d)
{
    uint64_t seed;
    randombytes_buf(&seed, sizeof(seed));
    void *memory = calloc(1, warden_size(&d->limits));
    d->queue = calloc(EVENTS_QUEUE_MAX, sizeof(*d->queue));
    if (!memory || !d->queue) {
        free(memory);
        return ERR_NOMEM;
    }
    d->warden = warden_init(memory, &d->limits, seed);
    d->suspended_ms = clock_suspended_ms();
    return wake_init(&d->loop, on_wake, d, &d->wake);
}

void drive_free(struct daemon *d)
{
    wake_free(d->wake);
    d->wake = NULL;
    free(d->warden);
    d->warden = NULL;
    free(d->queue);
    d->queue = NULL;
}

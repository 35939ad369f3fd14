/*
 * What befalls machines and providers: power, suspend, clocks that jump, disks that fill up, an
 * older copy of the store put back, outages, logins that a server ends on its own.
 */
#include "sim/capture.h"
#include "sim/coverage.h"
#include "sim/story.h"
#include "sim/told.h"

#include <string.h>

#define JUMP_MAX_MS (400 * DAY_MS)

static struct host *some_machine(struct world *w)
{
    return &w->hosts[draw(&w->draws, SITE_WEATHER, 1, w->n_hosts)];
}

void weather_sleep(struct world *w, struct host *h)
{
    int64_t for_ms = a_while(w, SITE_WEATHER, 2, 2 * w->span_ms);
    if (h->asleep_until > w->now)
        return;
    say(w, h, "the machine sleeps for %s", name_duration(for_ms));
    h->asleep_until = w->now + for_ms;
    siblings_sleep(w, h);
}

void weather_power(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    say(w, h, "the power goes");
    host_crash(w, h, true, a_while(w, SITE_DOWN, h->index, w->span_ms));
}

static void jump(struct world *w, struct host *h)
{
    int64_t by_ms =
        a_while(w, SITE_WEATHER, 3,
                draw(&w->draws, SITE_WEATHER, 4, 4) == 3 ? JUMP_MAX_MS : 2 * w->span_ms);
    if (draw(&w->draws, SITE_WEATHER, 5, 2) == 1)
        by_ms = -by_ms;
    h->wall_off_ms = draw(&w->draws, SITE_WEATHER, 6, 4) == 3 ? 0 : h->wall_off_ms + by_ms;
    w->wall_was_wrong = true;
    say(w, h, "the wall clock jumps: it is %s%s off", h->wall_off_ms < 0 ? "-" : "",
        name_duration(h->wall_off_ms < 0 ? -h->wall_off_ms : h->wall_off_ms));
}

/* The high-water mark stands outside the store; a snapshot of the whole machine has both. Who puts
 * a copy of the store back may have killed the daemon alone: its spender goes on. What a fleet
 * shares is put back for all of its wardens: who was connected to the store before is cut off and
 * starts anew, likewise; whoever is the first finds the mark, which is one for all of them. (No
 * snapshot holds several machines in the same moment.) */
static void put_back(struct world *w, bool with_mark)
{
    if (!w->has_backup || (w->fleet && with_mark))
        return;
    for (unsigned i = 0; i < w->n_hosts; i++) {
        struct host *h = &w->hosts[i];
        if (h->up)
            host_crash(w, h, with_mark || (!w->fleet && draw(&w->draws, SITE_WEATHER, 31, 2) == 1),
                       SECOND_MS + (w->fleet ? a_while(w, SITE_DOWN, i, w->span_ms / 4) : 0));
        else if (with_mark) /* of the whole machine: nothing that ran there runs on */
            spender_dies(w, h);
    }
    if (w->fleet)
        coverage_scene(w, SCENE_FLEET_RESTORED);
    say(w, NULL, "an older copy of the store is put back%s", with_mark ? ", and its mark" : "");
    w->store = w->backup;
    memset(w->sealed, 0, sizeof(w->sealed)); /* settled since, perhaps, and forgotten */
    if (with_mark) {
        w->mark = w->store.spends;
        w->forgotten_at = w->now;
    }
}

static void end_login(struct world *w)
{
    unsigned family = draw(&w->draws, SITE_WEATHER, 7, w->n_families);
    say(w, NULL, "the provider ends login %u on its own", family);
    w->families[family].ended = true;
}

static void stop(struct world *w, struct host *h)
{
    if (!h->up || h->stopping)
        return;
    h->stopping = true;
    struct event ev = event_of(EV_STOP, 0);
    host_tell(w, h, &ev);
}

static void spender_killed(struct world *w, struct host *h)
{
    struct {
        uint64_t intent;
        int16_t row;
    } left[SPOOL_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < SPOOL_MAX; i++) {
        if (spender_has(w, h, h->spool[i].intent)) {
            left[n].intent = h->spool[i].intent;
            left[n++].row = h->spool[i].row;
        }
    }
    if (n == 0)
        return;
    say(w, h, "the spender is killed");
    spender_dies(w, h);
    for (unsigned i = 0; i < n; i++) {
        struct op *op = op_new(w, HAP_SEALED, h, 1 + i);
        op->outlives = true;
        op->row = left[i].row;
        op->id = left[i].intent;
        op->lost = true;
    }
}

static void befall(struct world *w)
{
    struct host *h = some_machine(w);
    struct provider *p = &w->providers[draw(&w->draws, SITE_WEATHER, 8, w->n_providers)];
    switch (draw(&w->draws, SITE_WEATHER, 0, 12)) {
    case 0:
        break;
    case 1:
        if (h->up && fault(w, FAULT_CRASH, SITE_WEATHER, 9))
            host_crash(w, h, false, a_while(w, SITE_DOWN, h->index, w->span_ms));
        break;
    case 2:
        if (h->up && fault(w, FAULT_POWER, SITE_WEATHER, 9))
            host_crash(w, h, true, a_while(w, SITE_DOWN, h->index, 2 * w->span_ms));
        break;
    case 3:
        if (fault(w, FAULT_STOP, SITE_WEATHER, 9))
            stop(w, h);
        break;
    case 4:
        if (fault(w, FAULT_SUSPEND, SITE_WEATHER, 9))
            weather_sleep(w, h);
        break;
    case 5:
        if (fault(w, FAULT_WALL_JUMP, SITE_WEATHER, 9))
            jump(w, h);
        break;
    case 6:
        if (fault(w, FAULT_DISK_FULL, SITE_WEATHER, 9))
            h->full_until = w->now + a_while(w, SITE_WEATHER, 10, w->span_ms);
        break;
    case 7:
        if (fault(w, FAULT_OUTAGE, SITE_WEATHER, 9))
            p->out_until = w->now + a_while(w, SITE_WEATHER, 11, w->span_ms);
        break;
    case 8:
        if (fault(w, FAULT_REVOKED, SITE_WEATHER, 9))
            end_login(w);
        break;
    case 9:
        w->backup = w->store;
        w->has_backup = true;
        break;
    case 10:
        if (fault(w, FAULT_RESTORE, SITE_WEATHER, 9))
            put_back(w, false);
        else if (fault(w, FAULT_SNAPSHOT, SITE_WEATHER, 9))
            put_back(w, true);
        break;
    case 11:
        if (fault(w, FAULT_SPENDER_DIES, SITE_WEATHER, 9))
            spender_killed(w, h);
        break;
    }
}

void weather_begin(struct world *w)
{
    op_new(w, HAP_WEATHER, NULL, 2 * SECOND_MS);
}

void weather_act(struct world *w, struct op *op)
{
    (void)op;
    if (w->phase != PHASE_SAFETY)
        return;
    befall(w);
    op_new(w, HAP_WEATHER, NULL, w->span_ms / 32 + a_while(w, SITE_WEATHER_GAP, 0, w->span_ms));
}

/* From here on nothing goes wrong any more: what is under way goes its way, clocks are right. */
void weather_clears(struct world *w)
{
    say(w, NULL, "the faults stop");
    w->phase = PHASE_LIVENESS;
    w->cleared_at = w->now;
    memset(w->rate, 0, sizeof(w->rate));
    for (unsigned i = 0; i < w->n_providers; i++)
        w->providers[i].out_until = 0;
    for (unsigned i = 0; i < w->n_hosts; i++) {
        struct host *h = &w->hosts[i];
        h->wall_off_ms = 0;
        h->full_until = 0; /* who sleeps wakes when it was to wake */
    }
}

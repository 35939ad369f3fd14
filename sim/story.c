/*
 * Words for what happens.
 */
#include "sim/story.h"

#include <inttypes.h>
#include <string.h>

#define NAME_SIZE 40

static char *name_slot(void)
{
    static char slots[16][NAME_SIZE];
    static unsigned next;
    return slots[next++ % ARRAY_LEN(slots)];
}

const char *name_token(const struct world *w, struct fp fp)
{
    char *name = name_slot();
    int index = issued_index(w, fp);
    if (index == NOBODY)
        return fp_is_none(fp) ? "none" : "?";
    const struct issued *t = &w->issued[index];
    (void)snprintf(name, NAME_SIZE, "%c%u.%u", t->is_refresh ? 'R' : 'A', t->family, t->generation);
    return name;
}

const char *name_lineage(uint64_t id)
{
    char *name = name_slot();
    (void)snprintf(name, NAME_SIZE, "L%d", row_of(id));
    return name;
}

const char *name_duration(int64_t ms)
{
    char *name = name_slot();
    duration_format(ms < 0 ? -ms : ms, name + 1, NAME_SIZE - 1);
    name[0] = '-';
    return ms < 0 ? name : name + 1;
}

static void tell(struct story *s, const char *line)
{
    (void)snprintf(s->last[s->n++ % STORY_LINES], STORY_WIDTH, "%s", line);
    if (s->out)
        (void)fprintf(s->out, "%s\n", line);
}

/* "  1h02m03.456s warden-0 " */
static int begin(const struct world *w, const struct host *h, char *line)
{
    int64_t ms = w->now - HOUR_MS;
    int n = snprintf(line, STORY_WIDTH, "%4" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64 "  ",
                     ms / HOUR_MS, ms / MINUTE_MS % 60, ms / SECOND_MS % 60, ms % SECOND_MS);
    if (!h)
        return n + snprintf(line + n, (size_t)(STORY_WIDTH - n), "world   ");
    return n + snprintf(line + n, (size_t)(STORY_WIDTH - n), "host %u  ", h->index);
}

void story_say(struct world *w, const struct host *h, const char *fmt, ...)
{
    char line[STORY_WIDTH];
    int n = begin(w, h, line);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line + n, (size_t)(STORY_WIDTH - n), fmt, args);
    va_end(args);
    tell(w->story, line);
}

/* A line that grows. */
struct line {
    char text[STORY_WIDTH];
    int n;
};

static void add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct line *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (l->n < STORY_WIDTH - 1)
        l->n += vsnprintf(l->text + l->n, (size_t)(STORY_WIDTH - l->n), fmt, args);
    va_end(args);
}

static void add_pair(struct line *l, const struct world *w, const struct pair *pair)
{
    add(l, " %s+%s", name_token(w, pair->access), name_token(w, pair->refresh));
}

static const char *name_seen(enum seen what)
{
    static const char *const names[SEEN_COUNT] = {"a pair", "blanked", "torn", "gone"};
    return names[what];
}

static void add_event(struct line *l, const struct world *w, const struct event *ev)
{
    if (ev->lineage != 0)
        add(l, "%s ", name_lineage(ev->lineage));
    if (ev->consumer != 0)
        add(l, "C%u ", (unsigned)ev->consumer);
    add(l, "%s", event_name(ev->kind));
    if (ev->capture != 0)
        add(l, " of capture %u", (unsigned)ev->capture);
    switch (ev->kind) {
    case EV_LOADED:
    case EV_OVERTAKEN:
        add(l, " %s gen %u", standing_name(ev->loaded.standing), (unsigned)ev->loaded.generation);
        add_pair(l, w, &ev->loaded.pair);
        add(l, "%s%s%s", ev->loaded.intent ? ", intent open" : "",
            ev->loaded.intent_elsewhere ? " elsewhere" : "",
            ev->loaded.restored ? ", restored" : "");
        break;
    case EV_ADDED:
        add_pair(l, w, &ev->added.pair);
        if (ev->added.continues)
            add(l, ", to continue %s", name_lineage(ev->added.continues));
        break;
    case EV_IDENTITY:
        add(l, ": %s", identity_name(ev->identity.what));
        break;
    case EV_PROBED:
        add(l, ": %s", identity_name(ev->probe.what));
        break;
    case EV_LEASED:
        add(l, ev->lease.fence ? ": fence %u" : ": refused", (unsigned)ev->lease.fence);
        break;
    case EV_ANSWER:
        add(l, ": %s%s", verdict_name(ev->answer.verdict),
            ev->answer.recovered ? " (recovered)" : "");
        if (ev->answer.verdict == VERDICT_GRANTED)
            add_pair(l, w, &ev->answer.pair);
        break;
    case EV_WANT:
        add(l, "%s", ev->want.renew ? " renewed" : "");
        if (ev->want.ttl_min_ms >= 0)
            add(l, " for %s", name_duration(ev->want.ttl_min_ms));
        add(l, ", patience %s", name_duration(ev->want.deadline_boot_ms - ev->now.boot_ms));
        break;
    case EV_POLICY:
        add(l, " %s", policy_name(ev->policy));
        break;
    case EV_BOUND:
        add(l, " %s%s", ev->bound.replica ? "replica" : "sink",
            ev->bound.with_pair ? " with pair" : "");
        break;
    case EV_OBSERVED:
        add(l, ": %s", name_seen(ev->observed.what));
        if (ev->observed.what == SEEN_PAIR)
            add_pair(l, w, &ev->observed.pair);
        add(l, "%s%s", ev->observed.spent ? ", spent" : "",
            ev->observed.from_store ? ", from the store" : "");
        break;
    case EV_PUBLISHED:
        if (ev->consumer != 0)
            add_pair(l, w, &ev->published);
        break;
    case EV_TIMER:
    case EV_CLAIMED:
    case EV_ADOPTED:
    case EV_INTENT_DURABLE:
    case EV_SETTLED:
    case EV_CLOSED:
    case EV_STORE_FAILED:
    case EV_UNWANT:
    case EV_REMOVE:
    case EV_RETIRED:
    case EV_UNBOUND:
    case EV_CONSUMER_FAILED:
    case EV_QUARANTINED:
    case EV_STOP:
    case EV_COUNT:
        break;
    }
}

static void add_effect(struct line *l, const struct world *w, const struct effect *fx)
{
    add(l, " %s", effect_name(fx->kind));
    if (fx->consumer != 0)
        add(l, " C%u", (unsigned)fx->consumer);
    if (fx->capture != 0)
        add(l, " capture %u", (unsigned)fx->capture);
    switch (fx->kind) {
    case FX_ANSWER:
        add(l, " %s", answer_name(fx->answer));
        break;
    case FX_STORE_INTENT:
    case FX_SPEND:
        add(l, " %s%s", name_token(w, fx->presented), fx->replay ? " once more" : "");
        break;
    case FX_SETTLE:
        add_pair(l, w, &fx->pair);
        break;
    case FX_PUBLISH:
        add_pair(l, w, &fx->pair);
        add(l, " over");
        add_pair(l, w, &fx->expected);
        break;
    case FX_CLOSE_INTENT:
        add(l, " %s, %s", verdict_name(fx->verdict), standing_name(fx->standing));
        break;
    case FX_ADOPT:
    case FX_RESOLVE:
        add(l, " %s", standing_name(fx->standing));
        break;
    case FX_ALARM_RAISE:
    case FX_ALARM_CLEAR:
        add(l, " %s", alarm_name(fx->alarm));
        break;
    case FX_LEASE:
    case FX_UNLEASE:
    case FX_ASK_IDENTITY:
    case FX_PROBE:
    case FX_QUARANTINE:
    case FX_CLAIM:
    case FX_DROP:
    case FX_READ:
    case FX_RETIRE:
    case FX_COUNT:
        break;
    }
}

void story_step(struct world *w, const struct host *h, const struct event *ev,
                const struct effects *out)
{
    struct line l;
    l.n = begin(w, h, l.text);
    add_event(&l, w, ev);
    add(&l, " →");
    for (size_t i = 0; i < out->n; i++) {
        if (out->list[i].lineage != ev->lineage && out->list[i].lineage != 0)
            add(&l, " %s", name_lineage(out->list[i].lineage));
        add_effect(&l, w, &out->list[i]);
        add(&l, "%s", i + 1 < out->n ? ";" : "");
    }
    struct view v;
    if (ev->lineage != 0 && warden_view(h->warden, ev->lineage, ev->now, &v))
        add(&l, " [%s]", v.state);
    tell(w->story, l.text);
}

void story_last(const struct story *s, FILE *out, unsigned lines)
{
    uint64_t from = s->n > lines ? s->n - lines : 0;
    for (uint64_t i = from; i < s->n; i++)
        (void)fprintf(out, "%s\n", s->last[i % STORY_LINES]);
}

/*
 * The event log: a ring in memory, lines made when somebody reads. The lines are formatted by hand:
 * every text in them is a fixed word, hex, or was cleaned of what JSON would have to escape.
 */
#include "lab/events.h"

#include <inttypes.h>

#include "base/err.h"

int events_init(struct events *e, FILE *file)
{
    *e = (struct events){.file = file};
    e->ring = calloc(EVENTS_MAX, sizeof(e->ring[0]));
    return e->ring == NULL ? ERR_NOMEM : 0;
}

void events_release(struct events *e)
{
    free(e->ring);
    e->ring = NULL;
}

/* A text of ours in quotes, or null when there is none. */
static int add_text(struct buf *out, const char *key, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return buf_addf(out, ",\"%s\":null", key);
    return buf_addf(out, ",\"%s\":\"%s\"", key, text);
}

static int add_flag(struct buf *out, const char *key, bool flag)
{
    return buf_addf(out, ",\"%s\":%s", key, flag ? "true" : "false");
}

static int add_family(struct buf *out, uint32_t family)
{
    return family == 0 ? buf_add_str(out, ",\"family\":null")
                       : buf_addf(out, ",\"family\":\"f%" PRIu32 "\"", family);
}

static int add_line(const struct lab_event *ev, struct buf *out)
{
    int err = buf_addf(out,
                       "{\"seq\":%" PRIu64 ",\"arrived_ms\":%" PRId64 ",\"at_ms\":%" PRId64
                       ",\"wall_ms\":%" PRId64 ",\"endpoint\":\"%s\"",
                       ev->seq, ev->arrived_ms, ev->at_ms, ev->wall_ms, ev->endpoint);

    err = err != 0 ? err : add_family(out, ev->family);
    err = err != 0 ? err : buf_addf(out, ",\"generation\":%" PRIu32, ev->generation);
    err = err != 0 ? err : add_text(out, "presented", ev->presented);
    err = err != 0 ? err : add_text(out, "issued_access", ev->issued_access);
    err = err != 0 ? err : add_text(out, "issued_refresh", ev->issued_refresh);
    err = err != 0 ? err : add_text(out, "outcome", ev->outcome);
    err = err != 0 ? err : buf_addf(out, ",\"status\":%d", ev->status);
    err = err != 0 ? err : add_flag(out, "committed", ev->committed);
    err = err != 0 ? err : add_flag(out, "rotated", ev->rotated);
    err = err != 0 ? err : add_flag(out, "reuse", ev->reuse);
    err = err != 0 ? err : add_flag(out, "family_revoked", ev->family_revoked);
    err = err != 0 ? err : buf_addf(out, ",\"in_flight\":%" PRIu32, ev->in_flight);
    err = err != 0 ? err : add_text(out, "quirk", ev->quirk);
    err = err != 0 ? err : add_text(out, "agent", ev->agent);
    return err != 0 ? err : buf_add_str(out, "}\n");
}

static void clean(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\')
            *text = '?';
    }
}

static void write_line(FILE *file, const struct lab_event *ev)
{
    struct buf line;

    buf_init(&line, EVENT_LINE_MAX);
    if (add_line(ev, &line) == 0 && fwrite(line.bytes, 1, line.len, file) == line.len)
        (void)fflush(file);
    buf_release(&line);
}

void events_append(struct events *e, struct lab_event *event)
{
    event->seq = ++e->last_seq;
    clean(event->agent);
    clean(event->quirk);
    e->ring[event->seq % EVENTS_MAX] = *event;
    if (e->file != NULL)
        write_line(e->file, event);
}

uint64_t events_dropped(const struct events *e)
{
    return e->last_seq > EVENTS_MAX ? e->last_seq - EVENTS_MAX : 0;
}

int events_read(const struct events *e, uint64_t after, struct buf *out)
{
    uint64_t dropped = events_dropped(e);
    uint64_t seq = after < dropped ? dropped : after;
    int err = 0;

    for (uint64_t n = 0; err == 0 && seq < e->last_seq && n < EVENTS_READ_MAX; n++)
        err = add_line(&e->ring[++seq % EVENTS_MAX], out);
    return err;
}

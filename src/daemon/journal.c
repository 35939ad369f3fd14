/*
 * What happened, for people: a line in the log, a row in the store's events, a message to every
 * open stream. Never a token: callers pass names, times, verdicts and fingerprints.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sys/io.h"
#include "sys/process.h"

static const char *const level_names[LOG_LEVEL_COUNT] = {"error", "warning", "info", "debug"};

/* Ours, and really a file: what somebody put in its place is not written to. */
static int open_file(const char *path, FILE **ret, struct err_text *text)
{
    struct file_facts facts;
    int fd = -1;
    if (path_open(PATH_CWD, path, OPEN_WRITE_OR_MAKE, &fd) < 0 || fd_look(fd, &facts) < 0) {
        int err = err_say(text, err_from_errno(errno), "%s: cannot open the log: %s", path,
                          strerror(errno));
        fd_close(&fd);
        return err;
    }
    bool is_ours = facts.kind == FILE_REGULAR && facts.owner == process_uid();
    FILE *log = is_ours ? fdopen(fd, "a") : NULL;
    if (!log) {
        int err = is_ours
                      ? err_say(text, err_from_errno(errno), "%s: cannot open the log: %s", path,
                                strerror(errno))
                      : err_say(text, ERR_INSECURE, "%s: this is no log of ours; remove it", path);
        fd_close(&fd);
        return err;
    }
    *ret = log;
    return 0;
}

int log_open(struct daemon *d, struct err_text *text)
{
    FILE *log = stderr;
    int err = d->foreground ? 0 : open_file(d->log_path, &log, text);
    if (err < 0)
        return err;
    log_close(d);
    d->log_size = d->foreground ? 0 : ftell(log);
    d->log = log;
    return 0;
}

void log_close(struct daemon *d)
{
    if (d->log && d->log != stderr)
        fclose(d->log);
    d->log = NULL;
}

/* One old file is kept, so that the log is bounded by twice LOG_FILE_MAX. */
static void turn_over(struct daemon *d)
{
    char old[sizeof(d->log_path) + 8];
    if (d->foreground || d->log_size < LOG_FILE_MAX)
        return;
    (void)snprintf(old, sizeof(old), "%s.old", d->log_path);
    (void)path_rename(PATH_CWD, d->log_path, PATH_CWD, old); /* a log too long beats no log */
    (void)log_open(d, NULL);
}

static void write_line(struct daemon *d, enum log_level level, const char *text)
{
    char when[32];
    if (!d->log)
        return;
    wall_format(clock_now().wall_ms, when, sizeof(when));
    int n = fprintf(d->log, "%s %-7s %s\n", when, level_names[level], text);
    (void)fflush(d->log);
    d->log_size += n > 0 ? n : 0;
    turn_over(d);
}

void log_line(struct daemon *d, enum log_level level, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    if ((int64_t)level > d->config.log_level)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    write_line(d, level, text);
}

json_t *journal_json(const struct event_row *row)
{
    char lineage[17];
    (void)snprintf(lineage, sizeof(lineage), "%016llx", (unsigned long long)row->lineage);
    return json_pack("{s:I, s:o, s:s, s:s?, s:s?, s:s}", "id", (json_int_t)row->id, "at",
                     time_json(row->wall_ms), "kind", row->kind, "profile",
                     row->profile[0] ? row->profile : NULL, "lineage",
                     row->lineage ? lineage : NULL, "detail", row->detail);
}

struct entry {
    struct store_job job;
    struct daemon *d;
    struct event_row row;
};

static int entry_run(struct store *s, struct store_job *job)
{
    struct entry *e = (struct entry *)job;
    return store_event_add(s, &e->row, &e->row.id);
}

static void to_streams(struct daemon *d, const struct event_row *row)
{
    json_t *json = NULL;
    for (int i = 0; i < API_STREAMS_MAX; i++) {
        if (!d->streams[i])
            continue;
        if (!json)
            json = journal_json(row);
        (void)api_stream_send(d->streams[i], row->id, row->kind, json);
    }
    json_decref(json);
}

static void entry_done(struct store_job *job, int err)
{
    struct entry *e = (struct entry *)job;
    struct daemon *d = e->d;
    if (err < 0) {
        log_line(d, LOG_WARNING, "an event could not be stored: %s", err_reason(err));
    } else {
        d->last_event_id = e->row.id;
        to_streams(d, &e->row);
    }
    free(e);
}

void journal(struct daemon *d, const struct holding *h, const char *kind, const char *fmt, ...)
{
    struct entry *e = calloc(1, sizeof(*e));
    char detail[2 * STORE_DETAIL_MAX];
    va_list args;
    if (!e)
        return;
    e->job.run = entry_run;
    e->job.done = entry_done;
    e->d = d;
    e->row.wall_ms = clock_now().wall_ms;
    e->row.lineage = h ? h->lineage : 0;
    const char *name = !h ? "" : h->profile[0] ? h->profile : h->wanted_profile;
    (void)str_copy(e->row.profile, sizeof(e->row.profile), name);
    (void)str_copy(e->row.kind, sizeof(e->row.kind), kind);
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof(detail), fmt, args);
    va_end(args);
    str_cut(e->row.detail, sizeof(e->row.detail), detail);
    log_line(d, LOG_INFO, "%s%s%s: %s", name, name[0] ? " " : "", kind, e->row.detail);
    if (!d->store || store_queue_submit(d->store, &e->job) < 0)
        free(e);
}

void journal_stream_add(struct daemon *d, struct api_call *call)
{
    for (int i = 0; i < API_STREAMS_MAX; i++) {
        if (!d->streams[i]) {
            d->streams[i] = call;
            return;
        }
    }
    api_stream_end(call);
}

void journal_streams_end(struct daemon *d)
{
    for (int i = 0; i < API_STREAMS_MAX; i++) {
        if (d->streams[i])
            api_stream_end(d->streams[i]);
        d->streams[i] = NULL;
    }
}

void journal_stream_gone(struct daemon *d, const struct api_call *call)
{
    for (int i = 0; i < API_STREAMS_MAX; i++) {
        if (d->streams[i] == call)
            d->streams[i] = NULL;
    }
}

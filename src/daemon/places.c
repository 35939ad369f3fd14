/*
 * The list of places, and the core's orders about them. Each is watched; and all of them are looked
 * at now and then, because a watch is a hint.
 */
#include "daemon/places.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sys/file.h"
#include "sys/folder_lock.h"

#define NOTE_MAX          (16 * 1024)
#define LOOK_ROUND_MS     (30 * SECOND_MS)
#define LOOK_UNWATCHED_MS (2 * SECOND_MS) /* one that cannot be watched */

struct place *place_find(const struct daemon *d, uint64_t id)
{
    for (struct place *p = d->places; p; p = p->next) {
        if (p->id == id && !p->gone)
            return p;
    }
    return NULL;
}

struct place *place_at(const struct daemon *d, const char *kind, const char *path)
{
    for (struct place *p = d->places; p; p = p->next) {
        if (!p->gone && strcmp(p->kind, kind) == 0 && strcmp(p->path, path) == 0)
            return p;
    }
    return NULL;
}

bool places_share(const struct daemon *d, const char *profile)
{
    for (struct place *p = d->places; p; p = p->next) {
        if (!p->gone && p->format && strcmp(p->profile, profile) == 0)
            return true;
    }
    return false;
}

bool places_have_access_alone(const struct daemon *d, const char *profile)
{
    bool has_any = false;
    for (struct place *p = d->places; p; p = p->next) {
        if (p->gone || !p->format || strcmp(p->profile, profile) != 0)
            continue;
        if (p->with_pair)
            return false;
        has_any = true;
    }
    return has_any;
}

/* ---- one place ---- */

static void on_closed(uv_handle_t *handle)
{
    struct place *p = handle->data;
    if (p->is_stuck && replica_unlock(p->replica) == 0)
        (void)path_remove(PATH_CWD, p->note_path);
    replica_free(p->replica);
    free(p);
}

static void unlist(struct place *p)
{
    struct place **at = &p->d->places;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
}

void place_drop(struct place *p)
{
    p->gone = true;
    watch_free(p->watch);
    p->watch = NULL;
    if (p->busy)
        return; /* when it rests */
    unlist(p);
    uv_close((uv_handle_t *)&p->again, on_closed);
}

static void on_watch(void *ctx)
{
    struct place *p = ctx;
    p->look_again = true;
    act_next(p);
}

static void watch_it(struct place *p)
{
    struct err_text text = {""};
    int err =
        p->watch ? watch_again(p->watch, &text)
                 : watch_open(&p->d->loop, replica_path(p->replica), on_watch, p, &p->watch, &text);
    if (err < 0 && strcmp(p->why, text.text) != 0) {
        (void)str_copy(p->why, sizeof(p->why), text.text);
        log_line(p->d, LOG_WARNING, "%s: it cannot be watched, and is looked at instead: %s",
                 replica_path(p->replica), text.text[0] ? text.text : err_reason(err));
    }
}

int place_new(struct daemon *d, const struct consumer_row *row, struct place **ret,
              struct err_text *text)
{
    struct place *p = calloc(1, sizeof(*p));
    if (!p)
        return err_say(text, ERR_NOMEM, "there is not enough memory for another place");
    p->d = d;
    p->id = row->id;
    p->with_pair = row->with_pair;
    p->wish = row->wish;
    p->bound_wall_ms = row->bound_wall_ms;
    memcpy(p->profile, row->profile, sizeof(p->profile));
    memcpy(p->before, row->before, sizeof(p->before));
    memcpy(p->kind, row->kind, sizeof(p->kind));
    memcpy(p->path, row->place, sizeof(p->path));
    p->format = format_find(p->kind);
    int err = p->format ? replica_open(p->format, p->path, &p->replica, text)
              : sink_is_kind(p->kind)
                  ? sink_check(p->kind, p->path, text)
                  : err_say(text, ERR_UNSUPPORTED, "%s: no such kind of place", p->kind);
    if (err < 0) {
        free(p);
        return err;
    }
    (void)snprintf(p->note_path, sizeof(p->note_path), "%s/client-locks.%llx", d->paths.state_dir,
                   (unsigned long long)p->id);
    if (p->replica)
        replica_note_locks(p->replica, act_note_locks, p);
    CHECK(uv_timer_init(&d->loop, &p->again) == 0);
    p->again.data = p;
    p->next = d->places;
    d->places = p;
    *ret = p;
    return 0;
}

void place_bind(struct place *p)
{
    struct holding *h = holding_by_profile(p->d, p->profile);
    if (!h)
        return; /* the profile is just being removed */
    if (!p->watch && p->format)
        watch_it(p);
    struct event ev = event_of(EV_BOUND, h->lineage);
    ev.consumer = p->id;
    ev.bound.replica = p->format != NULL;
    ev.bound.with_pair = p->with_pair;
    ev.bound.wish = p->wish;
    p->is_void = p->busy;
    p->has_order = p->waits = false;
    drive(p->d, &ev);
}

void places_rename(struct daemon *d, const char *from, const char *to)
{
    for (struct place *p = d->places; p; p = p->next) {
        if (strcmp(p->profile, from) == 0)
            (void)str_copy(p->profile, sizeof(p->profile), to);
        if (strcmp(p->before, from) == 0)
            (void)str_copy(p->before, sizeof(p->before), to);
    }
}

void places_leave(struct daemon *d, const char *profile)
{
    for (struct place *p = d->places, *next; p; p = next) {
        next = p->next;
        if (!p->gone && strcmp(p->profile, profile) == 0)
            place_drop(p);
    }
}

/* ---- all of them ---- */

/* Where the store really is: a link may lead to another folder. */
static void sweep_temps(const struct place *p)
{
    char target[STORE_PLACE_MAX];
    dir_sweep_temps(p->path);
    if (file_resolve(replica_path(p->replica), target, sizeof(target)) < 0)
        return;
    char *slash = strrchr(target, '/');
    *(slash == target ? slash + 1 : slash) = '\0';
    if (strcmp(target, p->path) != 0)
        dir_sweep_temps(target);
}

/* Locks of the client, and what was being written, that an earlier run died with. */
static void clear_leftovers(const struct place *p)
{
    struct buf lines;
    if (!p->replica)
        return;
    sweep_temps(p);
    buf_init(&lines, NOTE_MAX);
    if (file_read(p->note_path, false, NOTE_MAX, &lines, NULL) == 0) {
        folder_lock_reclaim((const char *)lines.bytes, lines.len);
        (void)path_remove(PATH_CWD, p->note_path);
    }
    buf_release(&lines);
}

static int on_row(void *ctx, const struct consumer_row *row)
{
    struct daemon *d = ctx;
    struct place *p;
    struct err_text text = {""};
    int err = place_new(d, row, &p, &text);
    if (err == ERR_NOMEM)
        return err;
    if (err < 0)
        log_line(d, LOG_ERROR, "%s:%s cannot be a place any more: %s", row->kind, row->place,
                 text.text);
    else
        clear_leftovers(p);
    return 0;
}

int places_load(struct daemon *d, struct store *s, struct err_text *text)
{
    int err = store_each_consumer(s, on_row, d);
    if (err == 0)
        err = captures_load(d, s);
    return err < 0 ? err_say(text, err, "places of clients cannot be read: %s", err_reason(err))
                   : 0;
}

static bool is_due(const struct place *p, unsigned round)
{
    return !p->watch || round % (LOOK_ROUND_MS / LOOK_UNWATCHED_MS) == 0;
}

static void on_round(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    d->look_round++;
    for (struct place *p = d->places; p; p = p->next) {
        if (p->gone || !p->format || !is_due(p, d->look_round))
            continue;
        watch_it(p);
        p->look_again = true;
        act_next(p);
    }
}

void places_start(struct daemon *d)
{
    for (struct place *p = d->places; p; p = p->next) {
        if (p->wish == WISH_REPLACE)
            journal(d, holding_by_profile(d, p->profile), "switch-resumed",
                    "%s:%s: an earlier run did not finish it", p->kind, p->path);
        place_bind(p);
    }
    captures_start(d);
    uv_timer_start(&d->look_timer, on_round, LOOK_UNWATCHED_MS, LOOK_UNWATCHED_MS);
}

void places_end(struct daemon *d)
{
    for (struct place *p = d->places, *next; p; p = next) {
        next = p->next;
        if (!p->gone)
            place_drop(p);
    }
}

/* ---- orders, and what came of them ---- */

void perform_place(struct daemon *d, const struct effect *fx)
{
    struct place *p = place_find(d, fx->consumer);
    if (!p)
        return; /* it has just been unbound: the core hears of that next */
    CHECK(!p->has_order);
    p->order = *fx;
    p->has_order = true;
    p->waits = false;
    p->locked_since_boot_ms = 0;
    act_next(p);
}

struct note {
    struct store_job job;
    struct daemon *d;
    uint64_t id;
    enum wish wish;
    int64_t held_until_wall_ms;
};

static void note_done(struct store_job *job, int err)
{
    struct note *n = (struct note *)job;
    if (err < 0 && err != ERR_NOT_FOUND)
        log_line(n->d, LOG_WARNING, "a note about a place could not be stored: %s",
                 err_reason(err));
    free(n);
}

static void note_submit(struct daemon *d, struct note n)
{
    struct note *copy = malloc(sizeof(*copy));
    if (!copy)
        return; /* it is noted next time */
    *copy = n;
    copy->job.done = note_done;
    copy->d = d;
    if (store_queue_submit(d->store, &copy->job) < 0)
        free(copy);
}

static int wish_run(struct store *s, struct store_job *job)
{
    struct note *n = (struct note *)job;
    return store_set_wish(s, n->id, n->wish);
}

static int held_run(struct store *s, struct store_job *job)
{
    struct note *n = (struct note *)job;
    return store_set_held(s, n->id, n->held_until_wall_ms);
}

/* Somebody has the current pair, by us or by himself: after a restart that must be known. */
static void note_held(struct daemon *d, const struct pair *pair)
{
    for (struct holding *h = d->holdings; h; h = h->next) {
        struct view v;
        if (h->gone || !warden_view(d->warden, h->lineage, clock_now(), &v) ||
            !fp_equal(v.pair.access, pair->access))
            continue;
        int64_t until =
            v.pair.expires_wall_ms == 0 ? TIME_NEVER : v.pair.expires_wall_ms + h->provider.skew_ms;
        if (h->held_until_wall_ms == until)
            return;
        h->held_until_wall_ms = until;
        note_submit(
            d, (struct note){.job.run = held_run, .id = h->lineage, .held_until_wall_ms = until});
        return;
    }
}

/* What its user ordered may be done by now: the core says so. */
static void note_wish(struct place *p)
{
    struct place_view v;
    if (p->wish == WISH_NONE || !warden_view_place(p->d->warden, p->id, &v) || v.wish == p->wish)
        return;
    p->wish = v.wish;
    note_submit(p->d, (struct note){.job.run = wish_run, .id = p->id, .wish = p->wish});
}

void place_saw(struct place *p, bool asked, enum seen what, const struct pair *pair,
               uint64_t capture, bool spent)
{
    struct event ev = event_of(EV_OBSERVED, 0);
    p->why[0] = '\0';
    p->reads++;
    ev.consumer = p->id;
    ev.capture = capture;
    ev.observed.what = what;
    if (what == SEEN_PAIR) {
        ev.observed.pair = *pair;
        note_held(p->d, pair);
    }
    ev.observed.spent = spent;
    ev.observed.asked = asked;
    drive(p->d, &ev);
    note_wish(p);
}

void place_published(struct place *p, const struct pair *pair)
{
    struct event ev = event_of(EV_PUBLISHED, 0);
    struct holding *h = holding_by_profile(p->d, p->profile);
    p->why[0] = '\0';
    p->writes++;
    ev.consumer = p->id;
    ev.published = *pair;
    note_held(p->d, pair);
    journal(p->d, h, "published", "%s:%s, %s", p->kind, p->path,
            fp_is_none(pair->refresh) ? "an access token alone" : "the whole pair");
    drive(p->d, &ev);
    note_wish(p);
}

void place_failed(struct place *p, const char *why)
{
    struct event ev = event_of(EV_CONSUMER_FAILED, 0);
    ev.consumer = p->id;
    if (strcmp(p->why, why) != 0) /* the same again is no news */
        journal(p->d, holding_by_profile(p->d, p->profile), "place-failed", "%s:%s: %s", p->kind,
                p->path, why);
    (void)str_copy(p->why, sizeof(p->why), why);
    drive(p->d, &ev);
}

void place_rests(struct place *p)
{
    p->busy = false;
    if (p->gone) {
        place_drop(p);
        return;
    }
    if (p->is_void)
        p->look_again = true;
    p->is_void = false;
    act_next(p);
}

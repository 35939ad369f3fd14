/*
 * The API's operations on places: bind, unbind, folder, consumers. Each is stored first; then the
 * core is told; and whoever asked waits for what comes of it in the place. `use` is in serve_use.c.
 */
#include "daemon/serve_places.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "sys/file.h"

#define SETTLE_TICK_MS   20
#define FILE_NAME_ROOM   64 /* for the store's own name in its folder */
#define BIND_PATIENCE_MS (3 * SECOND_MS)

/* ---- what is shown ---- */

static const char *state_of(const struct place *p, const struct place_view *v)
{
    if (!v->known)
        return v->what == SEEN_TORN ? "torn" : p->why[0] ? "unreadable" : "new";
    if (v->is_being_asked)
        return "being-asked";
    if (v->is_in_step)
        return "in-step";
    switch (v->what) {
    case SEEN_GONE:
        return "signed-out";
    case SEEN_BLANK:
        return "refused";
    case SEEN_TORN:
        return "torn";
    case SEEN_PAIR:
    case SEEN_COUNT:
        break;
    }
    return v->is_left_alone ? "drifted" : "behind";
}

static json_t *place_json(const struct place *p)
{
    struct place_view v = {0};
    bool is_known = warden_view_place(p->d->warden, p->id, &v);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s?, s:o, s:o, s:I, s:I, s:I}", "kind",
                     p->kind, "place", p->path, "profile", p->profile, "mode",
                     p->with_pair ? "pair" : "access", "state", is_known ? state_of(p, &v) : "new",
                     "detail", p->why[0] ? p->why : NULL, "wish", wish_name(p->wish), "before",
                     p->before[0] ? p->before : NULL, "access_fingerprint", fp_json(v.there.access),
                     "refresh_fingerprint", fp_json(v.there.refresh), "locks_held_us",
                     (json_int_t)p->held_last_us, "locks_held_most_us", (json_int_t)p->held_most_us,
                     "writes", (json_int_t)p->writes);
}

static json_t *places_json(const struct daemon *d)
{
    json_t *list = json_array();
    for (const struct place *p = d->places; list && p; p = p->next) {
        json_t *item = p->gone ? NULL : place_json(p);
        if (!p->gone && json_array_insert_new(list, 0, item) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

void serve_consumers(void *ctx, struct api_call *call)
{
    api_reply(call, 200, json_pack("{s:o}", "consumers", places_json(ctx)));
}

/* ---- one change ---- */

struct change *change_new(struct daemon *d, struct api_call *call, enum change_kind kind,
                          const char *profile)
{
    struct change *c = calloc(1, sizeof(*c));
    struct waiting *wt = c ? waiting_new(d, call, api_operation(call), profile, 0) : NULL;
    if (!wt) {
        int err = c ? ERR_BUSY : ERR_NOMEM;
        free(c);
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "%s", busy_reason(err));
        return NULL;
    }
    c->d = d;
    c->kind = kind;
    c->waiter = wt->id;
    c->row.bound_wall_ms = clock_now().wall_ms;
    return c;
}

bool change_takes(struct change *c, struct place *p)
{
    if (p->is_changing)
        return false;
    p->is_changing = c->has_place = true;
    return true;
}

void change_free(struct change *c)
{
    struct place *p = c->has_place ? place_find(c->d, c->row.id) : NULL;
    if (p)
        p->is_changing = false;
    free(c);
}

/* The call, to be answered now; NULL: its peer left. */
struct api_call *change_call(struct change *c)
{
    struct waiting *wt = waiting_find(c->d, c->waiter);
    struct api_call *call = wt ? wt->call : NULL;
    if (wt)
        *wt = (struct waiting){0};
    return call;
}

void change_problem(struct change *c, int err)
{
    struct api_call *call = change_call(c);
    if (!call)
        return;
    if (err == ERR_EXISTS)
        api_problem(call, "consumer-exists", 0,
                    "%s:%s is bound already; `credwarden consumers` "
                    "shows to which profile",
                    c->row.kind, c->row.place);
    else if (err == ERR_NOT_FOUND)
        api_problem(call, answer_name(ANSWER_UNKNOWN), 0, "the profile or the place is gone");
    else if (err == ERR_BUSY || err == ERR_CLOSED || err == ERR_NOMEM)
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "%s", busy_reason(err));
    else
        api_problem(call, answer_name(ANSWER_STORE), 0,
                    "the store cannot be used: %s; nothing was changed", err_reason(err));
}

void change_submit(struct change *c, int (*run)(struct store *, struct store_job *),
                   void (*done)(struct store_job *, int))
{
    c->job.run = run;
    c->job.done = done;
    int err = store_queue_submit(c->d->store, &c->job);
    if (err < 0) {
        change_problem(c, err);
        change_free(c);
    }
}

/* ---- settling: what comes of it ---- */

static bool is_binding(const struct change *c)
{
    return c->kind == CHANGE_BIND || c->kind == CHANGE_FOLDER;
}

static bool is_settled(const struct place *p, const struct change *c)
{
    struct place_view v;
    if (p->busy || p->has_order || !warden_view_place(p->d->warden, p->id, &v) || !v.known ||
        v.is_being_asked)
        return false;
    return is_binding(c) ? v.is_in_step || v.is_left_alone : v.wish == WISH_NONE && v.is_in_step;
}

static json_t *folder_json(const struct place *p)
{
    struct place_view v = {0};
    bool is_known = warden_view_place(p->d->warden, p->id, &v);
    return json_pack("{s:s, s:s, s:s}", "variable", format_folder_variable(p->format), "folder",
                     p->path, "state", is_known ? state_of(p, &v) : "new");
}

static void reply_place(struct change *c, const struct place *p)
{
    struct api_call *call = change_call(c);
    if (call)
        api_reply(call, 200, c->kind == CHANGE_FOLDER ? folder_json(p) : place_json(p));
}

static void give_up(struct change *c, struct place *p)
{
    if (is_binding(c)) {
        reply_place(c, p); /* bound it is; what is the matter with it is shown */
        change_free(c);
        return;
    }
    use_take_back(c,
                  p->why[0] ? p->why : "what stands there cannot be told yet, or not be written");
}

static void settle(struct change *c)
{
    struct place *p = place_find(c->d, c->row.id);
    if (!p) {
        change_problem(c, ERR_NOT_FOUND);
        change_free(c);
    } else if (is_settled(p, c) && is_binding(c)) {
        reply_place(c, p);
        change_free(c);
    } else if (is_settled(p, c)) {
        use_verify(c, p);
    } else if (clock_now().boot_ms >= c->until_boot_ms) {
        give_up(c, p);
    } else {
        c->next = c->d->settling;
        c->d->settling = c;
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    struct change *list = d->settling;
    d->settling = NULL;
    while (list) {
        struct change *c = list;
        list = c->next;
        settle(c);
    }
    if (!d->settling)
        uv_timer_stop(timer);
}

void settle_later(struct change *c, int64_t patience_ms)
{
    struct daemon *d = c->d;
    c->until_boot_ms = clock_now().boot_ms + patience_ms;
    c->next = d->settling;
    d->settling = c;
    if (!uv_is_active((uv_handle_t *)&d->settle_timer))
        uv_timer_start(&d->settle_timer, on_tick, SETTLE_TICK_MS, SETTLE_TICK_MS);
}

void settling_free(struct daemon *d)
{
    while (d->settling) {
        struct change *c = d->settling;
        d->settling = c->next;
        change_free(c);
    }
}

/* ---- bind ---- */

/* "claude:/home/u/.claude" → its parts. false: the caller has been told. */
bool read_place(struct api_call *call, const char *key, char kind[STORE_KIND_MAX],
                char place[STORE_PLACE_MAX])
{
    const char *text = api_query(call, key);
    const char *colon = text ? strchr(text, ':') : NULL;
    char name[STORE_KIND_MAX];
    if (!colon || (size_t)(colon - text) >= sizeof(name) ||
        str_copy(place, STORE_PLACE_MAX, colon + 1) < 0 || place[0] == '\0') {
        api_problem(call, "usage", 0, "%s: expected KIND:PLACE, as claude:/home/me/.claude", key);
        return false;
    }
    memcpy(name, text, (size_t)(colon - text));
    name[colon - text] = '\0';
    memcpy(kind, name, STORE_KIND_MAX);
    size_t len = strlen(place);
    while (format_find(kind) && len > 1 && place[len - 1] == '/')
        place[--len] = '\0';
    /* By whatever way it is named, one folder is one place. */
    char real[STORE_PLACE_MAX];
    if (format_find(kind) && place[0] == '/' && file_resolve(place, real, sizeof(real)) == 0)
        memcpy(place, real, sizeof(real));
    return true;
}

static bool check_kind(struct api_call *call, const struct consumer_row *row)
{
    struct err_text text = {""};
    if (sink_is_kind(row->kind)) {
        int err = sink_check(row->kind, row->place, &text);
        if (err < 0)
            api_problem(call, "input-invalid", 0, "%s", text.text);
        return err == 0;
    }
    if (!format_find(row->kind)) {
        api_problem(call, "usage", 0,
                    "there is no kind of place %s; there are: claude, codex, gemini, opencode, "
                    "json, env, template, exec",
                    row->kind);
        return false;
    }
    if (strlen(row->place) + FILE_NAME_ROOM >= sizeof(row->place)) {
        api_problem(call, "usage", 0, "the path is too long");
        return false;
    }
    if (row->place[0] != '/') {
        api_problem(call, "usage", 0, "%s: an absolute path was expected", row->place);
        return false;
    }
    return true;
}

/* Whether its clients may have refresh tokens: as said, or as the policy suggests. */
static bool has_pair_place(const struct daemon *d, const char *profile)
{
    for (const struct place *p = d->places; p; p = p->next) {
        if (!p->gone && p->with_pair && strcmp(p->profile, profile) == 0)
            return true;
    }
    return false;
}

static bool read_mode(struct daemon *d, struct api_call *call, const struct holding *h,
                      const char *kind, bool *ret)
{
    const char *mode = api_query(call, "mode");
    struct view v;
    bool viewed = warden_view(d->warden, h->lineage, clock_now(), &v);
    bool is_static = viewed && fp_is_none(v.pair.refresh);
    bool spends = viewed && v.policy == POLICY_ALWAYS;
    bool is_sink = sink_is_kind(kind);
    *ret = mode ? strcmp(mode, "pair") == 0 : !spends && !is_static && !is_sink;
    if (mode && strcmp(mode, "pair") != 0 && strcmp(mode, "access") != 0) {
        api_problem(call, "usage", 0, "mode: expected pair or access");
        return false;
    }
    if (is_sink && *ret) {
        api_problem(call, "usage", 0, "%s: what only we write is given access tokens alone", kind);
        return false;
    }
    if (!*ret && !spends && !is_static && !has_pair_place(d, h->profile)) {
        api_problem(call, answer_name(ANSWER_POLICY), 0,
                    "%s: with access tokens alone nobody renews it, for its policy is %s; "
                    "`credwarden policy %s always` lets credwarden do that",
                    h->profile, policy_name(v.policy), h->profile);
        return false;
    }
    return true;
}

static int bind_run(struct store *s, struct store_job *job)
{
    struct change *c = (struct change *)job;
    return store_bind(s, &c->row, &c->row.id);
}

static void bind_done(struct store_job *job, int err)
{
    struct change *c = (struct change *)job;
    struct daemon *d = c->d;
    struct place *p = NULL;
    struct err_text text = {""};
    if (err == 0)
        err = place_new(d, &c->row, &p, &text);
    if (err < 0 || !p) {
        change_problem(c, err);
        change_free(c);
        return;
    }
    journal(d, holding_by_profile(d, c->row.profile), "bound", "%s:%s, %s", p->kind, p->path,
            p->with_pair ? "with the whole pair" : "with access tokens alone");
    (void)change_takes(c, p);
    place_bind(p);
    settle_later(c, BIND_PATIENCE_MS);
}

static bool has_room(const struct daemon *d)
{
    unsigned n = 0;
    for (const struct place *p = d->places; p; p = p->next)
        n++;
    return n < CONSUMERS_MAX;
}

bool has_room_beside(const struct daemon *d, const char *profile)
{
    unsigned n = 0;
    for (const struct place *p = d->places; p; p = p->next)
        n += !p->gone && strcmp(p->profile, profile) == 0;
    return n < CONSUMERS_PER_LINEAGE_MAX;
}

void serve_bind(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_profile(d, api_name(call));
    struct consumer_row row = {.wish = WISH_FILL};
    if (!h) {
        unknown_profile(d, call);
        return;
    }
    if (!read_place(call, "to", row.kind, row.place) || !check_kind(call, &row) ||
        !read_mode(d, call, h, row.kind, &row.with_pair))
        return;
    if (!has_room(d) || !has_room_beside(d, h->profile)) {
        api_problem(call, "consumers-full", 0,
                    "%s: at most %d places of one profile, and %d in all; unbind one first",
                    h->profile, CONSUMERS_PER_LINEAGE_MAX, CONSUMERS_MAX);
        return;
    }
    struct change *c = change_new(d, call, CHANGE_BIND, h->profile);
    if (!c)
        return;
    row.bound_wall_ms = c->row.bound_wall_ms;
    memcpy(row.profile, h->profile, sizeof(row.profile));
    c->row = row;
    change_submit(c, bind_run, bind_done);
}

/* ---- a folder of its own ---- */

#define CLIENTS_FOLDER "clients"

/* Made by us, for `exec`: not a place that is meant where none is named. */
bool is_own_folder(const struct daemon *d, const struct place *p)
{
    size_t len = strlen(d->paths.state_dir);
    return strncmp(p->path, d->paths.state_dir, len) == 0 &&
           strncmp(p->path + len, "/" CLIENTS_FOLDER "/", sizeof(CLIENTS_FOLDER) + 1) == 0;
}

/* Which client: as asked for; or the provider's own; or that of a place of the profile. */
static const struct format *client_of(const struct daemon *d, const struct holding *h,
                                      const char *kind)
{
    const struct format *f = format_find(kind ? kind : h->provider.name);
    for (const struct place *p = d->places; p && !f && !kind; p = p->next) {
        if (!p->gone && strcmp(p->profile, h->profile) == 0)
            f = p->format;
    }
    return f && format_folder_variable(f) ? f : NULL;
}

static int make_folder(const struct daemon *d, const struct format *f, const struct holding *h,
                       char ret[STORE_PLACE_MAX], struct err_text *text)
{
    (void)snprintf(ret, STORE_PLACE_MAX, "%s/" CLIENTS_FOLDER, d->paths.state_dir);
    int err = dir_ensure_private(ret, text);
    (void)snprintf(ret, STORE_PLACE_MAX, "%s/" CLIENTS_FOLDER "/%s.%s", d->paths.state_dir,
                   h->profile, format_name(f));
    return err < 0 ? err : dir_ensure_private(ret, text);
}

void serve_folder(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_profile(d, api_name(call));
    struct consumer_row row = {.wish = WISH_REPLACE};
    struct err_text text = {""};
    if (!h) {
        unknown_profile(d, call);
        return;
    }
    const struct format *f = client_of(d, h, api_query(call, "kind"));
    if (!f) {
        api_problem(call, "no-folder", 0,
                    "%s: no client is known for it that takes a folder of its own; the access "
                    "token can be given in a variable: `credwarden exec %s --var NAME -- …`",
                    h->profile, h->profile);
        return;
    }
    if (make_folder(d, f, h, row.place, &text) < 0) {
        api_problem(call, "internal", 0, "%s", text.text);
        return;
    }
    struct place *p = place_at(d, format_name(f), row.place);
    if (p && strcmp(p->profile, h->profile) != 0) {
        api_problem(call, "consumer-exists", 0, "%s is %s's by now", p->path, p->profile);
        return;
    }
    (void)str_copy(row.kind, sizeof(row.kind), format_name(f));
    if (!p && !read_mode(d, call, h, row.kind, &row.with_pair))
        return;
    struct change *c = change_new(d, call, CHANGE_FOLDER, h->profile);
    if (!c)
        return;
    row.bound_wall_ms = c->row.bound_wall_ms;
    memcpy(row.profile, h->profile, sizeof(row.profile));
    c->row = row;
    if (p) {
        c->row.id = p->id;
        settle_later(c, BIND_PATIENCE_MS);
    } else {
        change_submit(c, bind_run, bind_done);
    }
}

/* ---- unbind ---- */

static int unbind_run(struct store *s, struct store_job *job)
{
    struct change *c = (struct change *)job;
    return store_unbind(s, c->row.id, c->given_away, c->n_given_away);
}

static void unbind_done(struct store_job *job, int err)
{
    struct change *c = (struct change *)job;
    struct daemon *d = c->d;
    struct place *p = place_find(d, c->row.id);
    if (err < 0) {
        change_problem(c, err);
        change_free(c);
        return;
    }
    struct event ev = event_of(EV_UNBOUND, 0);
    ev.consumer = c->row.id;
    if (p) {
        journal(d, holding_by_profile(d, p->profile), "unbound", "%s:%s", p->kind, p->path);
        place_drop(p);
    }
    drive(d, &ev);
    struct api_call *call = change_call(c);
    if (call)
        api_reply(call, 200,
                  json_pack("{s:o}", "done",
                            json_sprintf("%s:%s is left as it is, and no longer written",
                                         c->row.kind, c->row.place)));
    change_free(c);
}

void unknown_place(struct api_call *call, const char *kind, const char *place)
{
    api_problem(call, "consumer-unknown", 0,
                "%s:%s is not bound to a profile; `credwarden consumers` shows what is", kind,
                place);
}

void serve_unbind(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    struct consumer_row row = {0};
    if (!read_place(call, "at", row.kind, row.place))
        return;
    struct place *p = place_at(d, row.kind, row.place);
    if (!p) {
        unknown_place(call, row.kind, row.place);
        return;
    }
    if (p->is_changing) {
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS,
                    "%s:%s is just being changed; try again", p->kind, p->path);
        return;
    }
    struct change *c = change_new(d, call, CHANGE_UNBIND, p->profile);
    if (!c)
        return;
    row.id = p->id;
    c->row = row;
    (void)change_takes(c, p);
    for (struct holding *h = d->holdings; h; h = h->next) {
        if (!h->gone && c->n_given_away < sizeof(c->given_away) / sizeof(*c->given_away) &&
            warden_gives_away(d->warden, p->id, h->lineage))
            c->given_away[c->n_given_away++] = h->lineage;
    }
    change_submit(c, unbind_run, unbind_done);
}

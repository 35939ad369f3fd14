/*
 * The API's operations that go through the store: policy, rename, remove, history, events, backup.
 * Each is one job; what is answered is durable.
 */
#include "daemon/daemon.h"

#include <stdlib.h>
#include <string.h>

#include "sys/file.h"

#define HISTORY_DEFAULT 200
#define HISTORY_MAX     5000
#define EVENTS_DEFAULT  100
#define EVENTS_MAX      5000

struct order {
    struct store_job job;
    struct daemon *d;
    struct waiting wt; /* a copy; `call` is looked up again when the job is done */
    char name[NAME_MAX_LEN + 1], to[NAME_MAX_LEN + 1];
    char path[1024];
    enum policy policy;
    int limit;
    uint64_t after;
    bool flag;     /* overwrite; follow */
    bool all;      /* events: page by page up to the newest */
    bool is_begun; /* events: a page has been sent */
    json_t *json;
    struct err_text text;
    int64_t bytes;
};

static struct order *order_new(struct daemon *d, struct api_call *call,
                               int (*run)(struct store *, struct store_job *),
                               void (*done)(struct store_job *, int))
{
    struct order *o = calloc(1, sizeof(*o));
    struct waiting *wt = o ? waiting_new(d, call, api_operation(call), api_name(call), 0) : NULL;
    if (!wt) {
        int err = o ? ERR_BUSY : ERR_NOMEM;
        free(o);
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "%s", busy_reason(err));
        return NULL;
    }
    o->job.run = run;
    o->job.done = done;
    o->d = d;
    o->wt = *wt;
    (void)str_copy(o->name, sizeof(o->name), api_name(call));
    return o;
}

/* The call, if its peer is still there. */
static struct api_call *order_call(struct order *o)
{
    struct waiting *wt = waiting_find(o->d, o->wt.id);
    struct api_call *call = wt ? wt->call : NULL;
    if (wt)
        *wt = (struct waiting){0};
    return call;
}

static void order_free(struct order *o)
{
    json_decref(o->json);
    free(o);
}

/* What could not be queued is done at once, with the reason: each `done` is the one way out. */
static void order_submit(struct order *o)
{
    int err = store_queue_submit(o->d->store, &o->job);
    if (err < 0)
        o->job.done(&o->job, err);
}

static void store_problem(struct order *o, struct api_call *call, int err)
{
    if (err == ERR_NOT_FOUND) /* removed between the question and the job */
        unknown_profile(o->d, call);
    else if (err == ERR_BUSY || err == ERR_CLOSED || err == ERR_NOMEM)
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "%s", busy_reason(err));
    else
        api_problem(call, answer_name(ANSWER_STORE), 0,
                    "the store cannot be used: %s; nothing was changed", err_reason(err));
}

/* Policy. */
static int policy_run(struct store *s, struct store_job *job)
{
    struct order *o = (struct order *)job;
    return store_set_policy(s, o->name, o->policy);
}

static bool is_or_will_be(const struct holding *h, const char *name)
{
    return !h->gone && (strcmp(h->profile, name) == 0 || strcmp(h->wanted_profile, name) == 0);
}

static void take_policy(struct daemon *d, const struct order *o)
{
    for (struct holding *h = d->holdings; h; h = h->next) {
        if (!is_or_will_be(h, o->name))
            continue;
        struct event ev = event_of(EV_POLICY, h->lineage);
        ev.policy = o->policy;
        drive(d, &ev);
    }
}

static void policy_done(struct store_job *job, int err)
{
    struct order *o = (struct order *)job;
    struct daemon *d = o->d;
    struct api_call *call = order_call(o);
    struct holding *h = holding_by_profile(d, o->name);
    if (err == 0 && h)
        journal(d, h, "policy", "%s", policy_name(o->policy));
    if (err == 0)
        take_policy(d, o);
    if (call && err == 0)
        api_reply(call, 200,
                  json_pack("{s:o}", "done",
                            json_sprintf("%s: policy %s%s", o->name, policy_name(o->policy),
                                         o->policy != POLICY_ALWAYS &&
                                                 places_have_access_alone(d, o->name)
                                             ? "; its clients have access tokens alone, so nobody "
                                               "renews it: bind one with --mode pair"
                                             : "")));
    else if (call)
        store_problem(o, call, err);
    order_free(o);
}

void serve_policy(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    const char *to = api_query(call, "to");
    enum policy policy;
    struct holding *h = holding_by_profile(d, api_name(call));
    if (!h) {
        unknown_profile(d, call);
    } else if (!to || policy_parse(to, &policy) < 0) {
        api_problem(call, "usage", 0, "to: expected never, standby or always");
    } else {
        struct order *o = order_new(d, call, policy_run, policy_done);
        if (!o)
            return;
        o->policy = policy;
        /* A new login that is about to become the profile must not bring the old policy back. Said
         * before the job, for its adoption may be stored right behind it. */
        for (h = d->holdings; h; h = h->next) {
            if (is_or_will_be(h, o->name))
                h->wanted_policy = policy;
        }
        order_submit(o);
    }
}

/* Rename: nothing sealed knows the name. */
static int rename_run(struct store *s, struct store_job *job)
{
    struct order *o = (struct order *)job;
    return store_rename(s, o->name, o->to);
}

static void rename_done(struct store_job *job, int err)
{
    struct order *o = (struct order *)job;
    struct daemon *d = o->d;
    struct api_call *call = order_call(o);
    struct holding *h = holding_by_profile(d, o->name);
    if (h)
        h->renaming_to[0] = '\0';
    if (err == 0 && h) {
        (void)str_copy(h->profile, sizeof(h->profile), o->to);
        places_rename(d, o->name, o->to);
        journal(d, h, "renamed", "was %s", o->name);
    }
    if (call && err == 0)
        api_reply(call, 200,
                  json_pack("{s:o}", "done", json_sprintf("%s is now called %s", o->name, o->to)));
    else if (call && err == ERR_EXISTS)
        api_problem(call, "profile-exists", 0, "there is a profile %s already", o->to);
    else if (call)
        store_problem(o, call, err);
    order_free(o);
}

void serve_rename(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    const char *to = api_query(call, "to");
    struct holding *h = holding_by_profile(d, api_name(call));
    if (!h) {
        unknown_profile(d, call);
    } else if (!to || !name_is_valid(to)) {
        api_problem(call, "name-invalid", 0,
                    "to: expected a name of 1 to %d of A-Z a-z 0-9 . _ @ + - that does not begin "
                    "with . or -",
                    NAME_MAX_LEN);
    } else if (holding_by_profile(d, to)) {
        api_problem(call, "profile-exists", 0, "there is a profile %s already", to);
    } else if (h->renaming_to[0] || holding_claims(d, to)) {
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS,
                    "%s is just being added or renamed; try again",
                    h->renaming_to[0] ? h->profile : to);
    } else {
        struct order *o = order_new(d, call, rename_run, rename_done);
        if (!o)
            return;
        (void)str_copy(o->to, sizeof(o->to), to);
        (void)str_copy(h->renaming_to, sizeof(h->renaming_to), to);
        order_submit(o);
    }
}

void serve_remove(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_profile(d, api_name(call));
    struct view v;
    if (!h) /* an `add` that cannot come to an end is given up like this */
        h = holding_by_wanted_profile(d, api_name(call));
    if (!h || !warden_view(d->warden, h->lineage, clock_now(), &v)) {
        unknown_profile(d, call);
        return;
    }
    struct waiting *wt = waiting_new(d, call, OP_REMOVE, api_name(call), h->lineage);
    if (!wt) {
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "too many callers wait; try again");
        return;
    }
    struct event ev = event_of(EV_REMOVE, h->lineage);
    ev.waiter = wt->id;
    drive(d, &ev);
}

/* History: the ledger of every lineage the name ever had. */
static json_t *ledger_json(const struct ledger_row *r)
{
    json_t *took = json_null();
    if (r->is_spend && !r->is_open)
        took = json_integer(r->closed_wall_ms - r->wall_ms);
    const char *outcome = !r->is_spend ? NULL : r->is_open ? "open" : verdict_name(r->verdict);
    return json_pack(
        "{s:o, s:s, s:I, s:o, s:o, s:o, s:s?, s:s, s:o, s:s?, s:b, s:s, s:o, s:o}", "at",
        time_json(r->wall_ms), "kind", r->is_spend ? "spend" : "pair", "generation",
        (json_int_t)r->generation, "access_fingerprint", fp_json(r->access), "refresh_fingerprint",
        fp_json(r->refresh), "parent_fingerprint", fp_json(r->parent), "origin",
        r->is_spend ? NULL : origin_name(r->origin), "source", r->source, "expires_at",
        time_json(r->expires_wall_ms), "outcome", outcome, "replay", r->replay, "detail", r->detail,
        "closed_at", time_json(r->closed_wall_ms), "took_ms", took);
}

struct history {
    struct store *s;
    struct order *o;
    json_t *entries;
    struct ledger_row last_spend; /* of the newest lineage */
    bool has_spend;
    int lineages;
};

static int on_ledger(void *ctx, const struct ledger_row *row)
{
    struct history *y = ctx;
    if (row->is_spend && y->lineages == 0) {
        y->last_spend = *row;
        y->has_spend = true;
    }
    return json_array_append_new(y->entries, ledger_json(row)) == 0 ? 0 : ERR_NOMEM;
}

static int on_past_lineage(void *ctx, uint64_t lineage)
{
    struct history *y = ctx;
    char id[17];
    (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)lineage);
    y->entries = json_array();
    int err = y->entries ? store_each_ledger(y->s, lineage, y->o->limit, on_ledger, y) : ERR_NOMEM;
    y->lineages++;
    json_t *list = json_object_get(y->o->json, "lineages");
    json_t *told = json_pack("{s:s, s:o}", "lineage", id, "entries", y->entries);
    if (json_array_append_new(list, told) < 0)
        return ERR_NOMEM;
    return err;
}

/* Who killed this token? Said in one sentence, from the last spend of the newest lineage. */
static int add_verdict(struct history *y)
{
    char at[32], fp[FP_TEXT_SIZE];
    json_t *said;
    const struct ledger_row *r = &y->last_spend;
    if (!y->has_spend) {
        said = json_string("credwarden has not spent a refresh token of this login");
    } else {
        wall_format(r->wall_ms, at, sizeof(at));
        fp_format_short(r->refresh, fp, sizeof(fp));
        if (r->is_open)
            said = json_sprintf("refresh token %s is being spent since %s", fp, at);
        else if (r->verdict == VERDICT_REFUSED && r->replay)
            said = json_sprintf(
                "refresh token %s was refused at %s (%s) when it was presented once more: the "
                "answer to its first spend was lost, and the server seems to have committed that",
                fp, at, r->detail);
        else if (r->verdict == VERDICT_REFUSED)
            said = json_sprintf(
                "refresh token %s was refused at %s (%s): credwarden had not spent it before, so "
                "somebody else did, or the login was revoked or ran out",
                fp, at, r->detail);
        else if (r->verdict == VERDICT_DOUBT)
            said = json_sprintf("the answer to the spend of %s at %s was lost (%s)", fp, at,
                                r->detail);
        else
            said = json_null();
    }
    return json_object_set_new(y->o->json, "verdict", said) == 0 ? 0 : ERR_NOMEM;
}

static int history_run(struct store *s, struct store_job *job)
{
    struct order *o = (struct order *)job;
    struct history y = {.s = s, .o = o};
    o->json = json_pack("{s:s, s:[]}", "name", o->name, "lineages");
    int err = o->json ? store_each_profile_lineage(s, o->name, on_past_lineage, &y) : ERR_NOMEM;
    if (err == 0 && y.lineages == 0)
        return ERR_NOT_FOUND;
    return err == 0 ? add_verdict(&y) : err;
}

static void history_done(struct store_job *job, int err)
{
    struct order *o = (struct order *)job;
    struct api_call *call = order_call(o);
    if (call && err == 0) {
        api_reply(call, 200, o->json);
        o->json = NULL;
    } else if (call) {
        store_problem(o, call, err);
    }
    order_free(o);
}

static bool query_count(struct api_call *call, const char *key, int64_t fallback, int64_t max,
                        int64_t *ret)
{
    const char *text = api_query(call, key);
    *ret = fallback;
    if (!text || str_to_i64(text, 0, max, ret) == 0)
        return true;
    api_problem(call, "usage", 0, "%s: expected a number from 0 to %lld", key, (long long)max);
    return false;
}

void serve_history(void *ctx, struct api_call *call)
{
    int64_t limit;
    if (!query_count(call, "limit", HISTORY_DEFAULT, HISTORY_MAX, &limit))
        return;
    struct order *o = order_new(ctx, call, history_run, history_done);
    if (!o)
        return;
    o->limit = limit > 0 ? (int)limit : HISTORY_MAX; /* 0 would be all, to the store */
    order_submit(o);
}

/* Events: what is stored, then, when followed, what comes. */
static int on_event(void *ctx, const struct event_row *row)
{
    return json_array_append_new(ctx, journal_json(row)) == 0 ? 0 : ERR_NOMEM;
}

static int events_run(struct store *s, struct store_job *job)
{
    struct order *o = (struct order *)job;
    o->json = json_array();
    return o->json ? store_each_event(s, o->after, o->limit, on_event, o->json) : ERR_NOMEM;
}

/* false: the peer is gone or too slow. */
static bool send_page(struct order *o, struct api_call *call)
{
    size_t i;
    json_t *event;
    if (!o->is_begun)
        api_stream_begin(call);
    o->is_begun = true;
    json_array_foreach(o->json, i, event)
    {
        const char *kind = json_string_value(json_object_get(event, "kind"));
        o->after = (uint64_t)json_integer_value(json_object_get(event, "id"));
        if (api_stream_send(call, o->after, kind, event) < 0)
            return false;
    }
    return true;
}

static bool has_more(const struct order *o)
{
    return o->all && json_array_size(o->json) == (size_t)o->limit;
}

/* The call keeps its place among those that wait until the last page: its peer may leave. Nothing
 * is missed in between: events are stored and delivered in one order. */
static void events_done(struct store_job *job, int err)
{
    struct order *o = (struct order *)job;
    struct waiting *wt = waiting_find(o->d, o->wt.id);
    struct api_call *call = wt ? wt->call : NULL;
    bool is_heard = call && err == 0 && send_page(o, call);
    if (is_heard && has_more(o)) {
        json_decref(o->json);
        o->json = NULL;
        order_submit(o);
        return;
    }
    (void)order_call(o);
    if (call && err < 0 && !o->is_begun)
        store_problem(o, call, err);
    else if (is_heard && o->flag)
        journal_stream_add(o->d, call);
    else if (call)
        api_stream_end(call);
    order_free(o);
}

void serve_events(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    int64_t limit, after;
    bool follow = false;
    const char *text = api_query(call, "follow");
    if (text && str_to_bool(text, &follow) < 0) {
        api_problem(call, "usage", 0, "follow: expected yes or no");
        return;
    }
    if (!query_count(call, "limit", EVENTS_DEFAULT, EVENTS_MAX, &limit))
        return;
    int64_t newest = (int64_t)d->last_event_id;
    if (!query_count(call, "after", newest > limit ? newest - limit : 0, INT64_MAX, &after))
        return;
    struct order *o = order_new(d, call, events_run, events_done);
    if (!o)
        return;
    o->all = api_query(call, "after") && !api_query(call, "limit");
    o->limit = (int)limit;
    o->after = (uint64_t)(limit == 0 ? newest : after);
    o->flag = follow;
    order_submit(o);
}

/* Backup. The store refuses its own folders; the spool's is ours. On the store's thread, where only
 * what never changes is read. */
static int check_backup(const struct daemon *d, const char *path, struct err_text *text)
{
    struct file_facts spool, folder;
    if (file_folder(path, &folder) < 0 || fd_look(d->spool_dir_fd, &spool) < 0)
        return 0; /* what is wrong with the folder is said when the copy is made */
    if (folder.dev == spool.dev && folder.ino == spool.ino)
        return err_say(text, ERR_INVALID, "%s is in the spool: a backup goes to a folder of yours",
                       path);
    return 0;
}

static int backup_run(struct store *s, struct store_job *job)
{
    struct order *o = (struct order *)job;
    int err = check_backup(o->d, o->path, &o->text);
    if (err == 0)
        err = store_backup(s, o->path, o->flag, &o->text);
    if (err == 0)
        (void)file_size(o->path, &o->bytes);
    return err;
}

static void backup_done(struct store_job *job, int err)
{
    struct order *o = (struct order *)job;
    struct api_call *call = order_call(o);
    if (err == 0)
        journal(o->d, NULL, "backup", "%s", o->path);
    if (call && err == 0)
        api_reply(call, 200,
                  json_pack("{s:s, s:I}", "path", o->path, "bytes", (json_int_t)o->bytes));
    else if (call && o->text.text[0])
        api_problem(call, err == ERR_EXISTS ? "file-exists" : answer_name(ANSWER_STORE), 0, "%s",
                    o->text.text);
    else if (call)
        store_problem(o, call, err);
    order_free(o);
}

void serve_backup(void *ctx, struct api_call *call)
{
    const char *path = api_query(call, "path"), *text = api_query(call, "overwrite");
    bool overwrite = false;
    if (!path || path[0] != '/' || strlen(path) >= sizeof(((struct order *)0)->path)) {
        api_problem(call, "usage", 0, "path: expected an absolute path");
        return;
    }
    if (text && str_to_bool(text, &overwrite) < 0) {
        api_problem(call, "usage", 0, "overwrite: expected yes or no");
        return;
    }
    struct order *o = order_new(ctx, call, backup_run, backup_done);
    if (!o)
        return;
    (void)str_copy(o->path, sizeof(o->path), path);
    o->flag = overwrite;
    order_submit(o);
}

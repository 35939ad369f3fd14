/*
 * The API's operations that only look or only ask the core: version, status, profiles, tokens,
 * usage. Those that change the store are in serve_add.c and serve_change.c.
 */
#include "daemon/daemon.h"

#include <stdlib.h>
#include <string.h>

#include "base/exits.h"
#include "json/json.h"
#include "sys/process.h"

json_t *time_json(int64_t wall_ms)
{
    char text[32];
    if (wall_ms == 0)
        return json_null();
    wall_format(wall_ms, text, sizeof(text));
    return json_string(text);
}

json_t *fp_json(struct fp fp)
{
    char text[FP_TEXT_SIZE];
    if (fp_is_none(fp))
        return json_null();
    fp_format_short(fp, text, sizeof(text));
    return json_string(text);
}

static json_t *ms_or_null(int64_t ms)
{
    return ms == TIME_NEVER ? json_null() : json_integer(ms);
}

/* The list, or NULL when it or the item is: a list is whole, or there is none. */
static json_t *list_with(json_t *list, json_t *item)
{
    if (json_array_append_new(list, item) == 0)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *alarms_json(uint32_t alarms)
{
    json_t *list = json_array();
    for (int i = 0; list && i < ALARM_COUNT; i++) {
        if (alarms & (1u << i))
            list = list_with(list, json_string(alarm_name((enum alarm)i)));
    }
    return list;
}

json_t *profile_json(struct daemon *d, const struct holding *h)
{
    struct now now = clock_now();
    struct view v;
    char lineage[17];
    if (!warden_view(d->warden, h->lineage, now, &v))
        return NULL;
    int64_t next = v.next_spend_boot_ms;
    if (next != TIME_NEVER)
        next = next > now.boot_ms ? next - now.boot_ms : 0;
    json_t *doubt = json_null();
    if (v.doubt_since_boot_ms != 0)
        doubt = time_json(now.wall_ms - (now.boot_ms - v.doubt_since_boot_ms));
    (void)snprintf(lineage, sizeof(lineage), "%016llx", (unsigned long long)h->lineage);
    return json_pack(
        "{s:s, s:s, s:s?, s:s?, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i, "
        "s:o, s:o, s:s}",
        "name", h->profile, "provider", h->provider.name, "subject",
        h->subject[0] ? h->subject : NULL, "label", h->label[0] ? h->label : NULL, "state", v.state,
        "standing", standing_name(v.standing), "policy", policy_name(v.policy), "generation",
        (json_int_t)v.generation, "access_fingerprint", fp_json(v.pair.access),
        "refresh_fingerprint", fp_json(v.pair.refresh), "expires_at",
        time_json(v.pair.expires_wall_ms), "left_ms", ms_or_null(v.left_ms), "next_spend_in_ms",
        ms_or_null(next), "login_deadline", time_json(v.pair.login_deadline_wall_ms),
        "in_doubt_since", doubt, "tries", (int)v.tries, "waiters", (int)v.waiters, "alarms",
        alarms_json(v.alarms), "created_at", time_json(h->created_wall_ms), "lineage", lineage);
}

static int by_name(const void *a, const void *b)
{
    const struct holding *const *x = a, *const *y = b;
    return strcmp((*x)->profile, (*y)->profile);
}

/* NULL: there is not enough memory. */
static json_t *profiles_json(struct daemon *d)
{
    size_t n = 0, i = 0;
    for (struct holding *h = d->holdings; h; h = h->next)
        n += !h->gone && h->profile[0] != '\0';
    struct holding **sorted = calloc(n + 1, sizeof(struct holding *));
    if (!sorted)
        return NULL;
    for (struct holding *h = d->holdings; h; h = h->next) {
        if (!h->gone && h->profile[0] != '\0')
            sorted[i++] = h;
    }
    qsort(sorted, n, sizeof(struct holding *), by_name);
    json_t *list = json_array();
    for (i = 0; list && i < n; i++)
        list = list_with(list, profile_json(d, sorted[i]));
    free(sorted);
    return list;
}

static void serve_version(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    api_reply(call, 200,
              json_pack("{s:s, s:i, s:o, s:b}", "version", CREDWARDEN_VERSION, "pid",
                        (int)uv_os_getpid(), "started_at", time_json(d->started_wall_ms),
                        "binary_replaced", program_is_replaced()));
}

static json_t *open_alarms(struct daemon *d)
{
    json_t *list = json_array();
    for (struct holding *h = d->holdings; list && h; h = h->next) {
        struct view v;
        if (h->gone || !warden_view(d->warden, h->lineage, clock_now(), &v))
            continue;
        for (int i = 0; list && i < ALARM_COUNT; i++) {
            if (v.alarms & (1u << i))
                list = list_with(list, json_pack("{s:s, s:s, s:o, s:s}", "profile", h->profile,
                                                 "alarm", alarm_name((enum alarm)i), "since",
                                                 time_json(h->alarms[i].since_wall_ms), "detail",
                                                 h->alarms[i].detail));
        }
    }
    return list;
}

static void serve_status(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    json_t *daemon = json_pack(
        "{s:s, s:i, s:o, s:I, s:b, s:b, s:b, s:b, s:s}", "version", CREDWARDEN_VERSION, "pid",
        (int)uv_os_getpid(), "started_at", time_json(d->started_wall_ms), "uptime_ms",
        (json_int_t)(clock_now().boot_ms - d->started_boot_ms), "binary_replaced",
        program_is_replaced(), "memory_locked", secret_is_locked(), "stopping", d->stopping,
        "restored", d->restored, "sandbox", spender_sandbox_text(d->spender));
    api_reply(call, 200,
              json_pack("{s:o, s:o, s:o}", "daemon", daemon, "profiles", profiles_json(d), "alarms",
                        open_alarms(d)));
}

static void serve_profiles(void *ctx, struct api_call *call)
{
    api_reply(call, 200, json_pack("{s:o}", "profiles", profiles_json(ctx)));
}

void unknown_profile(struct daemon *d, struct api_call *call)
{
    const char *names[256];
    size_t n = 0;
    for (struct holding *h = d->holdings; h && n < 256; h = h->next) {
        if (!h->gone && h->profile[0])
            names[n++] = h->profile;
    }
    const char *near = str_nearest(api_name(call), names, n);
    if (near)
        api_problem(call, answer_name(ANSWER_UNKNOWN), 0,
                    "there is no profile %s; did you mean %s?", api_name(call), near);
    else
        api_problem(call, answer_name(ANSWER_UNKNOWN), 0,
                    "there is no profile %s; `credwarden list` shows those there are",
                    api_name(call));
}

const char *busy_reason(int err)
{
    return err == ERR_NOMEM ? "there is not enough memory; try again"
                            : "too much is going on; try again";
}

static void serve_profile(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_profile(d, api_name(call));
    if (h)
        api_reply(call, 200, profile_json(d, h));
    else
        unknown_profile(d, call);
}

/* A duration from the query, or `fallback`. false: the caller has been told. */
static bool query_duration(struct api_call *call, const char *key, int64_t fallback, int64_t max,
                           int64_t *ret)
{
    const char *text = api_query(call, key);
    *ret = fallback;
    if (!text)
        return true;
    if (duration_parse(text, ret) < 0 || *ret > max) {
        char most[32];
        duration_format(max, most, sizeof(most));
        api_problem(call, "usage", 0, "%s: expected a duration like 90s, 10m or 2h, of at most %s",
                    key, most);
        return false;
    }
    return true;
}

static void want(struct daemon *d, struct api_call *call, bool renew)
{
    int64_t ttl_min_ms = -1, timeout_ms;
    struct holding *h = holding_by_profile(d, api_name(call));
    if (!h) {
        unknown_profile(d, call);
        return;
    }
    if (!query_duration(call, "timeout", WANT_TIMEOUT_MS, WANT_TIMEOUT_MAX_MS, &timeout_ms) ||
        (!renew && !query_duration(call, "min_ttl", -1, 365 * DAY_MS, &ttl_min_ms)))
        return;
    struct waiting *wt = waiting_new(d, call, renew ? OP_RENEW : OP_TOKEN, h->profile, h->lineage);
    if (!wt) {
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "too many callers wait; try again");
        return;
    }
    wt->ttl_min_ms = ttl_min_ms;
    wt->deadline_boot_ms = clock_now().boot_ms + timeout_ms;
    waiting_want(d, wt);
}

static void serve_token(void *ctx, struct api_call *call)
{
    want(ctx, call, false);
}

static void serve_renew(void *ctx, struct api_call *call)
{
    want(ctx, call, true);
}

/* A client was refused. Was it the token? If so a new one is wanted, by the same rules as ever. */
static void report_asked(void *ctx, uint64_t id, const struct reply *reply)
{
    struct daemon *d = ctx;
    struct waiting *wt = waiting_find(d, id);
    if (!wt)
        return;
    struct api_call *call = wt->call;
    bool works = reply->identity == IDENTITY_NAMED || reply->identity == IDENTITY_SCOPE;
    bool is_over = reply->identity == IDENTITY_EXPIRED || reply->identity == IDENTITY_REVOKED;
    journal(d, holding_find(d, wt->lineage), "reported", "a client was refused; the server: %s",
            works ? "the token works" : reply->detail);
    if (is_over) {
        waiting_want(d, wt);
        return;
    }
    if (works)
        api_reply(call, 200,
                  json_pack("{s:s, s:s}", "name", wt->name, "works",
                            reply->identity == IDENTITY_SCOPE
                                ? "it lives, and may not ask who it is: a scope may be missing"
                                : "the refusal had another reason"));
    else
        api_problem(call, answer_name(ANSWER_UNREACHABLE), reply->retry_after_ms,
                    "%s: the server does not say whether the token works (%s)", wt->name,
                    reply->detail);
    *wt = (struct waiting){0};
}

static void serve_report(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_profile(d, api_name(call));
    int64_t timeout_ms;
    if (!h) {
        unknown_profile(d, call);
        return;
    }
    if (!query_duration(call, "timeout", WANT_TIMEOUT_MS, WANT_TIMEOUT_MAX_MS, &timeout_ms))
        return;
    if (!h->provider.identity_url[0]) {
        api_problem(call, "not-found", 0,
                    "provider %s has no endpoint that says whether a token works; "
                    "`credwarden renew %s` gets another one",
                    h->provider.name, h->profile);
        return;
    }
    struct waiting *wt = waiting_new(d, call, OP_REPORT, h->profile, h->lineage);
    if (wt)
        wt->deadline_boot_ms = clock_now().boot_ms + timeout_ms;
    int err = wt ? spender_ask(d->spender, ASK_IDENTITY, wt->id, &h->provider, &h->access,
                               report_asked, d)
                 : ERR_BUSY;
    if (err == 0)
        return;
    if (wt)
        *wt = (struct waiting){0};
    api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "too much is asked; try again");
}

static void usage_done(void *ctx, uint64_t id, const struct reply *reply)
{
    struct daemon *d = ctx;
    struct waiting *wt = waiting_find(d, id);
    if (!wt)
        return;
    struct api_call *call = wt->call;
    json_t *numbers = NULL;
    struct json_fault fault;
    if (reply->identity == IDENTITY_NAMED)
        numbers = json_read_object((const char *)reply->body.bytes, reply->body.len, &fault);
    if (numbers)
        api_reply(call, 200,
                  json_pack("{s:s, s:o, s:o}", "name", wt->name, "utilization", numbers, "asked_at",
                            time_json(clock_now().wall_ms)));
    else
        api_problem(call, answer_name(ANSWER_UNREACHABLE), reply->retry_after_ms,
                    "%s: the provider did not say how much is used (%s)", wt->name, reply->detail);
    *wt = (struct waiting){0};
}

static void serve_usage(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_profile(d, api_name(call));
    if (!h) {
        unknown_profile(d, call);
    } else if (h->provider.usage_url[0] == '\0') {
        api_problem(call, "not-found", 0, "provider %s has no usage endpoint", h->provider.name);
    } else {
        struct waiting *wt = waiting_new(d, call, OP_USAGE, h->profile, h->lineage);
        int err =
            wt ? spender_ask(d->spender, ASK_USAGE, wt->id, &h->provider, &h->access, usage_done, d)
               : ERR_BUSY;
        if (err < 0) {
            if (wt)
                *wt = (struct waiting){0};
            api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "too much is asked; try again");
        }
    }
}

static void serve_stop(void *ctx, struct api_call *call)
{
    api_reply(call, 200, json_pack("{s:s}", "done", "stopping; spends in flight are finished"));
    daemon_stop(ctx);
}

static void serve_reload(void *ctx, struct api_call *call)
{
    struct err_text text = {""};
    int err = daemon_reload(ctx, &text);
    if (err == ERR_INVALID || err == ERR_TOO_LARGE)
        api_problem(call, "input-invalid", 0, "%s; the configuration is as it was", text.text);
    else if (err < 0)
        api_problem(call, "internal", 0, "%s; the configuration is as it was", text.text);
    else
        api_reply(call, 200, json_pack("{s:s}", "done", text.text));
}

static void gone(void *ctx, struct api_call *call)
{
    journal_stream_gone(ctx, call);
    waiting_gone(ctx, call);
}

void serve_table(struct daemon *d, struct api_handlers *ret)
{
    *ret = (struct api_handlers){
        .ctx = d,
        .handle =
            {
                [OP_VERSION] = serve_version,   [OP_STATUS] = serve_status,
                [OP_PROFILES] = serve_profiles, [OP_PROFILE] = serve_profile,
                [OP_ADD] = serve_add,           [OP_REMOVE] = serve_remove,
                [OP_TOKEN] = serve_token,       [OP_RENEW] = serve_renew,
                [OP_REPORT] = serve_report,     [OP_POLICY] = serve_policy,
                [OP_RENAME] = serve_rename,     [OP_HISTORY] = serve_history,
                [OP_USAGE] = serve_usage,       [OP_EVENTS] = serve_events,
                [OP_BACKUP] = serve_backup,     [OP_CONSUMERS] = serve_consumers,
                [OP_BIND] = serve_bind,         [OP_FOLDER] = serve_folder,
                [OP_DOCTOR] = serve_doctor,     [OP_UNBIND] = serve_unbind,
                [OP_USE] = serve_use,           [OP_STOP] = serve_stop,
                [OP_RELOAD] = serve_reload,
            },
        .gone = gone,
    };
}

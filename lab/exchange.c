/*
 * One request, from arrival to answer: routing, the binding of a quirk, and the pipeline around the
 * commit (its order is the contract in quirks.h).
 */
#include "base/check.h"
#include "base/str.h"
#include "lab/lab.h"

#define EXCHANGE_ARENA_MAX (128 * 1024)

typedef void answer_fn(struct lab *lab, struct exchange *ex, struct now now);

static const struct {
    const char *name;
    answer_fn *answer;
    bool is_logged;
} endpoints[ENDPOINT_COUNT] = {
    [ENDPOINT_TOKEN] = {"token", token_answer, true},
    [ENDPOINT_IDENTITY] = {"identity", identity_answer, true},
    [ENDPOINT_USAGE] = {"usage", usage_answer, true},
    [ENDPOINT_MESSAGES] = {"messages", messages_answer, true},
    [ENDPOINT_RESOURCE] = {"resource", resource_answer, true},
    [ENDPOINT_DISCOVERY] = {"discovery", discovery_answer, true},
    [ENDPOINT_LOGIN] = {"login", login_answer, true},
    [ENDPOINT_REVOKE] = {"revoke", revoke_answer, true},
    [ENDPOINT_SCRIPT] = {"script", script_answer, false},
    [ENDPOINT_UNSCRIPT] = {"unscript", unscript_answer, false},
    [ENDPOINT_CONFIGURE] = {"configure", configure_answer, false},
    [ENDPOINT_CONFIG] = {"config", config_answer, false},
    [ENDPOINT_LOG] = {"log", log_answer, false},
    [ENDPOINT_FAMILIES] = {"families", families_answer, false},
    [ENDPOINT_STATS] = {"stats", stats_answer, false},
    [ENDPOINT_KEEP] = {"keep", keep_answer, false},
    [ENDPOINT_REWIND] = {"rewind", rewind_answer, false},
    [ENDPOINT_NONE] = {"none", NULL, true},
};

static const struct {
    const char *method, *path;
    enum endpoint endpoint;
} routes[] = {
    {"POST", "/oauth/token", ENDPOINT_TOKEN},
    {"GET", "/oauth/identity", ENDPOINT_IDENTITY},
    {"GET", "/oauth/usage", ENDPOINT_USAGE},
    {"POST", "/v1/messages", ENDPOINT_MESSAGES},
    {"GET", "/resource", ENDPOINT_RESOURCE},
    {"GET", "/.well-known/openid-configuration", ENDPOINT_DISCOVERY},
    {"GET", "/.well-known/oauth-authorization-server", ENDPOINT_DISCOVERY},
    {"POST", "/lab/login", ENDPOINT_LOGIN},
    {"POST", "/lab/revoke", ENDPOINT_REVOKE},
    {"POST", "/lab/script", ENDPOINT_SCRIPT},
    {"DELETE", "/lab/script", ENDPOINT_UNSCRIPT},
    {"POST", "/lab/config", ENDPOINT_CONFIGURE},
    {"GET", "/lab/config", ENDPOINT_CONFIG},
    {"GET", "/lab/log", ENDPOINT_LOG},
    {"GET", "/lab/families", ENDPOINT_FAMILIES},
    {"GET", "/lab/stats", ENDPOINT_STATS},
    {"POST", "/lab/keep", ENDPOINT_KEEP},
    {"POST", "/lab/rewind", ENDPOINT_REWIND},
};

const char *endpoint_name(enum endpoint e)
{
    return endpoints[e].name;
}

int lab_init(struct lab *lab, const struct settings *s, uint64_t seed, const char *base_url,
             struct now now, FILE *log)
{
    int err;

    *lab = (struct lab){.settings = *s, .start_boot_ms = now.boot_ms};
    err = str_copy(lab->base_url, sizeof(lab->base_url), base_url);
    err = err != 0 ? err : events_init(&lab->events, log);
    err = err != 0 ? err : quirks_init(&lab->quirks);
    lab->grants = grants_new(seed);
    if (err == 0 && lab->grants == NULL)
        err = ERR_NOMEM;
    if (err != 0)
        lab_release(lab);
    return err;
}

void lab_release(struct lab *lab)
{
    CHECK(lab->open == NULL);
    grants_free(lab->grants);
    grants_free(lab->kept);
    lab->grants = lab->kept = NULL;
    quirks_release(&lab->quirks);
    events_release(&lab->events);
}

static bool text_is(struct http_text t, const char *word)
{
    return t.len == strlen(word) && memcmp(t.at, word, t.len) == 0;
}

static enum endpoint route(const struct request *request)
{
    const char *query = memchr(request->target.at, '?', request->target.len);
    struct http_text path = request->target;

    if (query != NULL)
        path.len = (size_t)(query - path.at);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (text_is(path, routes[i].path) && text_is(request->method, routes[i].method))
            return routes[i].endpoint;
    }
    return ENDPOINT_NONE;
}

static void note_presented(struct lab *lab, struct exchange *ex)
{
    const struct grant_token *t;

    if (ex->presented.len == 0)
        return;
    grant_short_id(ex->presented.at, ex->presented.len, ex->event.presented);
    t = grants_find(lab->grants, ex->presented.at, ex->presented.len);
    if (t == NULL)
        return;
    ex->family = t->family;
    ex->event.family = t->family;
    ex->event.generation = t->generation;
}

static void bind_quirk(struct lab *lab, struct exchange *ex)
{
    const struct family *f = grants_family(lab->grants, ex->family);

    if (quirks_take(&lab->quirks, endpoint_name(ex->endpoint), ex->family,
                    f == NULL ? "" : f->subject, &ex->quirk))
        quirk_describe(&ex->quirk, ex->event.quirk, sizeof(ex->event.quirk));
    ex->delay_before_ms = ex->quirk.delay_before_ms;
    ex->delay_after_ms = ex->quirk.delay_after_ms;
    if (ex->endpoint == ENDPOINT_TOKEN) {
        ex->delay_before_ms += lab->settings.delay_before_ms;
        ex->delay_after_ms += lab->settings.delay_after_ms;
    }
}

/* Too many in this window: as a quirk would have it, and what was scripted waits. */
static bool is_throttled(struct lab *lab, struct exchange *ex, struct now now)
{
    const struct settings *s = &lab->settings;
    int64_t over_ms;

    if (ex->endpoint != ENDPOINT_TOKEN || s->token_limit == 0)
        return false;
    if (now.boot_ms >= lab->window_boot_ms + s->token_window_ms) {
        lab->window_boot_ms = now.boot_ms;
        lab->window_count = 0;
    }
    if (lab->window_count++ < s->token_limit)
        return false;
    over_ms = lab->window_boot_ms + s->token_window_ms - now.boot_ms;
    ex->quirk.status = 429;
    if (s->token_retry_after)
        (void)snprintf(ex->quirk.retry_after, sizeof(ex->quirk.retry_after), "%lld",
                       (long long)((over_ms + SECOND_MS - 1) / SECOND_MS));
    (void)str_copy(ex->event.quirk, sizeof(ex->event.quirk), "throttled");
    return true;
}

void exchange_open(struct lab *lab, struct exchange *ex, const struct request *request,
                   struct now now)
{
    size_t agent_len = request->agent.len;

    *ex = (struct exchange){.request = request, .endpoint = route(request)};
    arena_init(&ex->arena, EXCHANGE_ARENA_MAX);
    reply_init(&ex->reply);
    quirk_init(&ex->quirk);
    ex->event.arrived_ms = now.boot_ms - lab->start_boot_ms;
    ex->event.endpoint = endpoint_name(ex->endpoint);
    if (agent_len >= sizeof(ex->event.agent))
        agent_len = sizeof(ex->event.agent) - 1;
    if (agent_len > 0)
        memcpy(ex->event.agent, request->agent.at, agent_len);

    ex->presented = request->bearer;
    if (ex->endpoint == ENDPOINT_TOKEN) {
        token_parse(ex);
        ex->presented = (struct http_text){0};
        if (ex->form.refresh_token != NULL)
            ex->presented = (struct http_text){.at = ex->form.refresh_token,
                                               .len = strlen(ex->form.refresh_token)};
    }
    note_presented(lab, ex);
    if (!is_throttled(lab, ex, now))
        bind_quirk(lab, ex);

    ex->next = lab->open;
    if (ex->next != NULL)
        ex->next->prev = ex;
    lab->open = ex;
    lab->counters[ex->endpoint].arrived++;
    lab->counters[ex->endpoint].open++;
}

static uint32_t in_flight(const struct lab *lab, const struct exchange *like)
{
    uint32_t n = 0;

    for (const struct exchange *ex = lab->open; ex != NULL; ex = ex->next)
        n += ex->endpoint == like->endpoint && ex->family == like->family ? 1 : 0;
    return n;
}

/* Let the endpoint itself answer; this is where things commit. */
static void answer_own(struct lab *lab, struct exchange *ex, struct now now)
{
    if (ex->endpoint == ENDPOINT_NONE) {
        ex->event.outcome = "no-such-endpoint";
        reply_oauth_error(&ex->reply, 404, "not_found", "The lab has no such endpoint.");
        return;
    }
    endpoints[ex->endpoint].answer(lab, ex, now);
}

static void count(struct lab *lab, const struct exchange *ex)
{
    lab->counters[ex->endpoint].decided++;
    lab->commits += ex->event.committed ? 1 : 0;
    lab->reuses += ex->event.reuse ? 1 : 0;
    lab->families_revoked += ex->event.family_revoked ? 1 : 0;
}

void exchange_evaluate(struct lab *lab, struct exchange *ex, struct now now)
{
    const struct quirk *q = &ex->quirk;
    bool replaced = quirk_replaces(q);

    ex->event.in_flight = in_flight(lab, ex);
    if (q->lose_before_commit)
        ex->event.outcome = "lost";
    else if (replaced && !q->commit)
        ex->event.outcome = "not-evaluated";
    else
        answer_own(lab, ex, now);
    if (replaced)
        reply_replace(&ex->reply, q);
    ex->reply.lost = q->lose_before_commit || q->lose_after_commit;
    reply_finish(&ex->reply, q, now.wall_ms + lab->settings.date_offset_ms);

    ex->event.status = ex->reply.lost ? 0 : ex->reply.status;
    ex->event.at_ms = now.boot_ms - lab->start_boot_ms;
    ex->event.wall_ms = now.wall_ms;
    count(lab, ex);
    if (endpoints[ex->endpoint].is_logged)
        events_append(&lab->events, &ex->event);
}

void exchange_close(struct lab *lab, struct exchange *ex)
{
    if (ex->prev != NULL)
        ex->prev->next = ex->next;
    else
        lab->open = ex->next;
    if (ex->next != NULL)
        ex->next->prev = ex->prev;
    lab->counters[ex->endpoint].open--;
    quirk_release(&ex->quirk);
    reply_release(&ex->reply);
    arena_release(&ex->arena);
}

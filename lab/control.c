/*
 * The control side, /lab/…: what a test says to the lab, and reads from it.
 */
#include <inttypes.h>

#include "base/str.h"
#include "lab/lab.h"

#define DEFAULT_SCOPE "user:profile user:inference"

static void refuse(struct exchange *ex, const char *why)
{
    ex->event.outcome = "refused";
    reply_oauth_error(&ex->reply, 400, "invalid_request", why);
}

/* A query value, or `fallback` when absent. false: answered with 400. */
static bool query(struct exchange *ex, const char *key, const char *fallback, char *ret,
                  size_t size)
{
    int err = http_query_get(ex->request->target, key, ret, size);

    if (err == ERR_NOT_FOUND && fallback != NULL)
        err = str_copy(ret, size, fallback);
    if (err != 0)
        refuse(ex, key);
    return err == 0;
}

static bool query_duration(struct exchange *ex, const char *key, int64_t *ret_ms)
{
    char text[32];

    if (!query(ex, key, "0", text, sizeof(text)))
        return false;
    if (duration_parse(text, ret_ms) == 0)
        return true;
    refuse(ex, key);
    return false;
}

/* POST /lab/login?subject=alice&org=…&scope=…&access_life=5s&refresh_life=30d */
void login_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    struct grant_rules rules = lab->settings.rules;
    char subject[GRANT_WORD_SIZE], org[GRANT_WORD_SIZE], scope[GRANT_SCOPE_SIZE];
    int64_t access_life_ms, refresh_life_ms;
    struct grant_issue issue;
    char family[16];
    json_t *json;

    if (!query(ex, "subject", NULL, subject, sizeof(subject)) ||
        !query(ex, "org", "lab", org, sizeof(org)) ||
        !query(ex, "scope", DEFAULT_SCOPE, scope, sizeof(scope)) ||
        !query_duration(ex, "access_life", &access_life_ms) ||
        !query_duration(ex, "refresh_life", &refresh_life_ms))
        return;
    if (refresh_life_ms > 0)
        rules.refresh_life_ms = refresh_life_ms;
    if (grants_login(lab->grants, &rules, subject, org, scope, access_life_ms, now.boot_ms,
                     &issue) != 0) {
        refuse(ex, "subject and org want 1 to 127 bytes, and the lab holds 4096 logins");
        return;
    }
    ex->event.family = issue.family;
    ex->event.outcome = "granted";
    memcpy(ex->event.issued_access, issue.access_id, sizeof(issue.access_id));
    memcpy(ex->event.issued_refresh, issue.refresh_id, sizeof(issue.refresh_id));
    snprintf(family, sizeof(family), "f%" PRIu32, issue.family);
    json = token_answer_json(lab, &issue);
    json_object_set_new(json, "family", json_string(family));
    json_object_set_new(json, "obtained_at", json_integer(now.wall_ms));
    json_object_set_new(json, "expires_at", json_integer(now.wall_ms + issue.access_life_ms));
    reply_json(&ex->reply, 200, json);
}

static struct family *query_family(struct lab *lab, struct exchange *ex)
{
    struct family *f = NULL;
    char name[16];
    int64_t id;

    if (!query(ex, "family", NULL, name, sizeof(name)))
        return NULL;
    if (name[0] == 'f' && str_to_i64(name + 1, 1, UINT32_MAX, &id) == 0)
        f = grants_family(lab->grants, (uint32_t)id);
    if (f == NULL)
        refuse(ex, "family: there is no such one");
    return f;
}

/* POST /lab/revoke?family=f1&what=family|access */
void revoke_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    struct family *f = query_family(lab, ex);
    char what[16];

    (void)now;
    if (f == NULL || !query(ex, "what", "family", what, sizeof(what)))
        return;
    if (strcmp(what, "access") == 0) {
        grants_kill_access(lab->grants, f->id);
    } else if (strcmp(what, "family") == 0) {
        ex->event.family_revoked = f->end == FAMILY_ALIVE;
        grants_revoke(lab->grants, f->id);
    } else {
        refuse(ex, "what: wants family or access");
        return;
    }
    ex->event.family = f->id;
    ex->event.outcome = "revoked";
    reply_json(&ex->reply, 200, json_object());
}

static json_t *family_json(const struct family *f)
{
    static const char *const ends[] = {
        [FAMILY_ALIVE] = NULL,
        [FAMILY_REUSED] = "reuse",
        [FAMILY_REVOKED] = "revoked",
    };
    char name[16];

    snprintf(name, sizeof(name), "f%" PRIu32, f->id);
    return json_pack("{s:s, s:b, s:s?, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:s}", "family",
                     name, "alive", f->end == FAMILY_ALIVE, "ended_by", ends[f->end], "subject",
                     f->subject, "org", f->org, "generation", (int)f->generation, "spends",
                     (int)f->spends, "reuses", (int)f->reuses, "graced", (int)f->graced, "messages",
                     (int)f->messages, "access", f->access_id, "refresh", f->refresh_id);
}

void families_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    json_t *list = json_array();

    (void)now;
    for (uint32_t id = 1; id <= grants_families(lab->grants); id++)
        json_array_append_new(list, family_json(grants_family(lab->grants, id)));
    reply_json(&ex->reply, 200, json_pack("{s:o}", "families", list));
}

void stats_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    json_t *by_endpoint = json_object();

    for (int e = 0; e < ENDPOINT_COUNT; e++) {
        const struct counters *c = &lab->counters[e];

        json_object_set_new(by_endpoint, endpoint_name((enum endpoint)e),
                            json_pack("{s:I, s:I, s:i}", "arrived", (json_int_t)c->arrived,
                                      "decided", (json_int_t)c->decided, "open", (int)c->open));
    }
    reply_json(&ex->reply, 200,
               json_pack("{s:I, s:o, s:I, s:I, s:I, s:i, s:I, s:I, s:I}", "uptime_ms",
                         (json_int_t)(now.boot_ms - lab->start_boot_ms), "endpoints", by_endpoint,
                         "commits", (json_int_t)lab->commits, "reuses", (json_int_t)lab->reuses,
                         "families_revoked", (json_int_t)lab->families_revoked, "scripts_waiting",
                         (int)lab->quirks.n, "scripts_used", (json_int_t)lab->quirks.used,
                         "log_last_seq", (json_int_t)lab->events.last_seq, "log_dropped",
                         (json_int_t)events_dropped(&lab->events)));
}

/* POST /lab/keep: what the logins are worth now can be had back, as often as is wished. */
void keep_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    (void)now;
    if (lab->kept == NULL)
        lab->kept = grants_new(0);
    if (lab->kept == NULL || grants_keep(lab->grants, lab->kept) != 0)
        reply_oauth_error(&ex->reply, 503, "temporarily_unavailable", "no memory");
    else
        reply_json(&ex->reply, 200, json_object());
}

/* POST /lab/rewind: as it was at the last keep. Not while somebody else's request is under way,
 * which may be of a login that would be gone. */
void rewind_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    (void)now;
    if (lab->kept == NULL || lab->open != ex || ex->next != NULL)
        reply_oauth_error(&ex->reply, 409, "conflict",
                          lab->kept == NULL ? "nothing was kept" : "requests are under way");
    else if (grants_rewind(lab->grants, lab->kept) != 0)
        reply_oauth_error(&ex->reply, 503, "temporarily_unavailable", "no memory");
    else
        reply_json(&ex->reply, 200, json_object());
}

void log_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    char text[24];
    int64_t after;

    (void)now;
    if (!query(ex, "after", "0", text, sizeof(text)))
        return;
    if (str_to_i64(text, 0, INT64_MAX, &after) != 0) {
        refuse(ex, "after: wants a sequence number");
        return;
    }
    reply_text(&ex->reply, 200, "application/x-ndjson", "");
    if (events_read(&lab->events, (uint64_t)after, &ex->reply.body) != 0)
        ex->reply.status = 500;
}

typedef int take_fn(struct lab *lab, json_t *object, struct err_text *text);

/* The body is one object: hand it to `take`. false: answered with 400. */
static bool take_object(struct lab *lab, struct exchange *ex, take_fn *take)
{
    json_t *object =
        json_loadb(ex->request->body, ex->request->body_len, JSON_REJECT_DUPLICATES, NULL);
    struct err_text text = {"the body wants one JSON object without duplicate keys"};
    bool taken = object != NULL && take(lab, object, &text) == 0;

    json_decref(object);
    if (!taken)
        refuse(ex, text.text);
    return taken;
}

static int take_script(struct lab *lab, json_t *object, struct err_text *text)
{
    return quirks_add(&lab->quirks, object, text);
}

static int take_settings(struct lab *lab, json_t *object, struct err_text *text)
{
    return settings_set_json(&lab->settings, object, text);
}

static void answer_waiting(struct lab *lab, struct exchange *ex)
{
    reply_json(&ex->reply, 200, json_pack("{s:i}", "waiting", (int)lab->quirks.n));
}

void script_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    (void)now;
    if (take_object(lab, ex, take_script))
        answer_waiting(lab, ex);
}

void unscript_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    (void)now;
    quirks_clear(&lab->quirks);
    answer_waiting(lab, ex);
}

void configure_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    if (take_object(lab, ex, take_settings))
        config_answer(lab, ex, now);
}

void config_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    (void)now;
    reply_json(&ex->reply, 200, settings_json(&lab->settings));
}

/*
 * What an access token is good for: identity, usage, messages, a plain resource; and the words in
 * which servers say that it is not (facts.md calls them dialects).
 */
#include <inttypes.h>

#include "lab/lab.h"

#define SCOPE_PROFILE  "user:profile"
#define SCOPE_INFER    "user:inference"
#define MESSAGE_PIECES 4

struct denial {
    int status;
    const char *type, *message;
};

/* Anthropic's two generations of answers. */
static const struct denial denials[2][BEARER_RESULT_COUNT] = {
    [DIALECT_OLDER] =
        {
            [BEARER_MISSING] = {401, "authentication_error", "x-api-key header is required"},
            [BEARER_UNKNOWN] = {401, "authentication_error", "Invalid bearer token"},
            [BEARER_EXPIRED] = {401, "authentication_error",
                                "OAuth token has expired. Please obtain a new token or refresh "
                                "your existing token."},
            [BEARER_REVOKED] = {403, "permission_error",
                                "OAuth token has been revoked. Please obtain a new token."},
            [BEARER_SCOPE] = {403, "permission_error",
                              "OAuth token does not meet scope requirement "},
        },
    [DIALECT_NEWER] =
        {
            [BEARER_MISSING] = {401, "authentication_error", "Invalid authentication credentials"},
            [BEARER_UNKNOWN] = {401, "authentication_error", "Invalid authentication credentials"},
            [BEARER_EXPIRED] = {401, "authentication_error", "OAuth access token has expired."},
            [BEARER_REVOKED] = {401, "authentication_error",
                                "OAuth access token has been revoked."},
            [BEARER_SCOPE] = {403, "permission_error",
                              "OAuth token does not meet scope requirement "},
        },
};

/* RFC 6750 §3.1 */
static void deny_oidc(struct reply *r, enum bearer_result why, const char *scope)
{
    if (why == BEARER_SCOPE) {
        reply_oauth_error(r, 403, "insufficient_scope", "The token lacks a scope.");
        reply_header(r, "WWW-Authenticate", "Bearer error=\"insufficient_scope\", scope=\"%s\"",
                     scope);
        return;
    }
    reply_oauth_error(r, 401, "invalid_token", bearer_result_name(why));
    if (why == BEARER_MISSING)
        reply_header(r, "WWW-Authenticate", "Bearer realm=\"lab\"");
    else
        reply_header(r, "WWW-Authenticate",
                     "Bearer error=\"invalid_token\", error_description=\"%s\"",
                     bearer_result_name(why));
}

static void deny(const struct lab *lab, struct reply *r, enum bearer_result why, const char *scope)
{
    const struct denial *d;
    char message[256];

    if (lab->settings.dialect == DIALECT_OIDC) {
        deny_oidc(r, why, scope);
        return;
    }
    d = &denials[lab->settings.dialect][why];
    snprintf(message, sizeof(message), "%s%s", d->message, why == BEARER_SCOPE ? scope : "");
    reply_nested_error(r, d->status, d->type, message);
}

static enum bearer_result scripted(const char *word)
{
    enum bearer_result r = BEARER_VALID;

    for (int i = 0; i < BEARER_RESULT_COUNT; i++) {
        if (strcmp(bearer_result_name((enum bearer_result)i), word) == 0)
            r = (enum bearer_result)i;
    }
    return r;
}

/* The family behind a good bearer, or NULL after having answered. */
static struct family *admit(struct lab *lab, struct exchange *ex, const char *scope, struct now now)
{
    enum bearer_result result =
        grants_check(lab->grants, ex->presented.at, ex->presented.len, scope, now.boot_ms);

    if (ex->quirk.deny[0] != '\0')
        result = scripted(ex->quirk.deny);
    ex->event.outcome = bearer_result_name(result);
    if (result == BEARER_VALID)
        return grants_family(lab->grants, ex->family);
    deny(lab, &ex->reply, result, scope == NULL ? "" : scope);
    return NULL;
}

void identity_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    const struct family *f = admit(lab, ex, SCOPE_PROFILE, now);
    char person[MADE_UUID_SIZE], org[MADE_UUID_SIZE];
    char email[GRANT_WORD_SIZE + 16];

    if (f == NULL)
        return;
    made_uuid("account", f->subject, person);
    made_uuid("organization", f->org, org);
    snprintf(email, sizeof(email), "%s@lab.invalid", f->subject);
    reply_json(&ex->reply, 200,
               json_pack("{s:{s:s, s:s}, s:{s:s, s:s}, s:s, s:s}", "account", "uuid", person,
                         "email", email, "organization", "uuid", org, "name", f->org, "sub",
                         f->subject, "email", email));
}

static json_t *window(double utilization, int64_t resets_wall_ms)
{
    char when[32];

    wall_format(resets_wall_ms, when, sizeof(when));
    return json_pack("{s:f, s:s}", "utilization", utilization > 100 ? 100.0 : utilization,
                     "resets_at", when);
}

void usage_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    struct family *f = admit(lab, ex, SCOPE_PROFILE, now);
    int64_t gap_ms = lab->settings.usage_gap_ms;
    int64_t left_ms;

    if (f == NULL)
        return;
    left_ms = f->usage_asked_ms + gap_ms - now.boot_ms;
    if (f->usage_asked_ms > 0 && left_ms > 0) {
        ex->event.outcome = "throttled";
        reply_nested_error(&ex->reply, 429, "rate_limit_error", "Rate limited. Try again later.");
        reply_header(&ex->reply, "Retry-After", "%" PRId64, (left_ms + 999) / 1000);
        return;
    }
    f->usage_asked_ms = now.boot_ms;
    reply_json(&ex->reply, 200,
               json_pack("{s:o, s:o, s:n, s:n, s:{}}", "five_hour",
                         window(f->messages, now.wall_ms + 5 * HOUR_MS), "seven_day",
                         window(f->messages / 10.0, now.wall_ms + 7 * DAY_MS), "seven_day_opus",
                         "seven_day_sonnet", "extra_usage"));
}

/* The answer as a stream of server-sent events, as the Messages API sends it, in small. */
static int stream_of(struct buf *out, uint32_t number)
{
    int err = buf_addf(out,
                       "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"
                       "{\"id\":\"msg_lab_%" PRIu32 "\",\"role\":\"assistant\"}}\n\n",
                       number);

    for (int i = 1; err == 0 && i <= MESSAGE_PIECES; i++)
        err =
            buf_addf(out,
                     "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                     "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"%d of %d \"}}\n\n",
                     i, MESSAGE_PIECES);
    if (err == 0)
        err = buf_add_str(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    return err;
}

void messages_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    struct family *f = admit(lab, ex, SCOPE_INFER, now);
    int64_t reset_s = (now.wall_ms + 5 * HOUR_MS) / 1000;

    if (f == NULL)
        return;
    f->messages++;
    reply_text(&ex->reply, 200, "text/event-stream; charset=utf-8", "");
    if (stream_of(&ex->reply.body, f->messages) != 0)
        ex->reply.status = 500;
    ex->reply.chunked = true;
    ex->reply.by_events = true;
    ex->reply.pause_ms = lab->settings.stream_pause_ms;
    reply_header(&ex->reply, "anthropic-ratelimit-unified-status", "allowed");
    reply_header(&ex->reply, "anthropic-ratelimit-unified-reset", "%" PRId64, reset_s);
    reply_header(&ex->reply, "anthropic-ratelimit-unified-5h-utilization", "%.2f",
                 f->messages > 100 ? 1.0 : f->messages / 100.0);
}

void resource_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    const struct family *f = admit(lab, ex, NULL, now);

    if (f != NULL)
        reply_json(&ex->reply, 200, json_pack("{s:b, s:s}", "ok", 1, "sub", f->subject));
}

void discovery_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    const char *base = lab->base_url;

    (void)now;
    ex->event.outcome = "answered";
    reply_json(&ex->reply, 200,
               json_pack("{s:s, s:s+, s:s+, s:[s], s:[s], s:[s], s:[s, s]}", "issuer", base,
                         "token_endpoint", base, "/oauth/token", "userinfo_endpoint", base,
                         "/oauth/identity", "grant_types_supported", "refresh_token",
                         "response_types_supported", "code",
                         "token_endpoint_auth_methods_supported", "none", "scopes_supported",
                         SCOPE_PROFILE, SCOPE_INFER));
}

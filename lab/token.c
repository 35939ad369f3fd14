/*
 * POST /oauth/token: the refresh grant (RFC 6749 §6), form or JSON. Requests that do not parse are
 * refused before any token is looked at: they commit nothing and count as no presentation.
 */
#include <sodium.h>

#include "base/str.h"
#include "base/tokens.h"
#include "lab/lab.h"

/* A member of the form or object, copied into the arena. Twice is malformed (RFC 6749 §3.2). */
static void take(struct exchange *ex, const char *key, const char *value)
{
    const char **place = strcmp(key, "grant_type") == 0      ? &ex->form.grant_type
                         : strcmp(key, "refresh_token") == 0 ? &ex->form.refresh_token
                         : strcmp(key, "scope") == 0         ? &ex->form.scope
                                                             : NULL;

    if (place == NULL)
        return;
    if (*place != NULL || strlen(value) > TOKEN_MAX)
        ex->form.is_malformed = true;
    else
        *place = arena_strdup(&ex->arena, value);
}

static void parse_json(struct exchange *ex)
{
    json_t *object =
        json_loadb(ex->request->body, ex->request->body_len, JSON_REJECT_DUPLICATES, NULL);
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        ex->form.is_malformed = true;
    json_object_foreach(object, key, value)
    {
        if (json_is_string(value))
            take(ex, key, json_string_value(value));
    }
    json_decref(object);
}

/* "a=b&c=d", '+' is a blank (application/x-www-form-urlencoded). */
static void parse_form(struct exchange *ex)
{
    char *text = arena_alloc(&ex->arena, ex->request->body_len + 1);
    char *value = arena_alloc(&ex->arena, ex->request->body_len + 1);
    char key[64];

    if (text == NULL || value == NULL) {
        ex->form.is_malformed = true;
        return;
    }
    memcpy(text, ex->request->body, ex->request->body_len);
    for (char *p = text; (p = strchr(p, '+')) != NULL;)
        *p = ' ';
    for (char *pair = strsep(&text, "&"); pair != NULL; pair = strsep(&text, "&")) {
        char *equals = strchr(pair, '=');

        if (equals == NULL ||
            http_percent_decode((struct http_text){pair, (size_t)(equals - pair)}, key,
                                sizeof(key)) != 0 ||
            http_percent_decode((struct http_text){equals + 1, strlen(equals + 1)}, value,
                                ex->request->body_len + 1) != 0)
            ex->form.is_malformed = true;
        else
            take(ex, key, value);
    }
}

void token_parse(struct exchange *ex)
{
    struct http_text type = ex->request->content_type;
    const char *params = memchr(type.at, ';', type.len);

    if (params != NULL)
        type.len = (size_t)(params - type.at);
    if (ex->request->body_len > 0 && memchr(ex->request->body, '\0', ex->request->body_len) != NULL)
        ex->form.is_malformed = true;
    else if (http_text_is(type, "application/json"))
        parse_json(ex);
    else if (http_text_is(type, "application/x-www-form-urlencoded") && ex->request->body_len > 0)
        parse_form(ex);
    else
        ex->form.is_malformed = true;
}

void made_uuid(const char *kind, const char *name, char ret[MADE_UUID_SIZE])
{
    crypto_hash_sha256_state state;
    uint8_t digest[32];
    char hex[65];

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const uint8_t *)kind, strlen(kind) + 1);
    crypto_hash_sha256_update(&state, (const uint8_t *)name, strlen(name));
    crypto_hash_sha256_final(&state, digest);
    hex_encode(digest, sizeof(digest), hex);
    snprintf(ret, MADE_UUID_SIZE, "%.8s-%.4s-4%.3s-8%.3s-%.12s", hex, hex + 8, hex + 12, hex + 15,
             hex + 18);
}

json_t *token_answer_json(struct lab *lab, const struct grant_issue *issue)
{
    const struct family *f = grants_family(lab->grants, issue->family);
    char person[MADE_UUID_SIZE], org[MADE_UUID_SIZE];
    json_t *json;

    made_uuid("account", f->subject, person);
    made_uuid("organization", f->org, org);
    json = json_pack("{s:s, s:s, s:I, s:s, s:{s:s, s:o}, s:{s:s, s:s}}", "token_type", "Bearer",
                     "access_token", issue->access, "expires_in",
                     (json_int_t)(issue->access_life_ms / 1000), "scope", f->scope, "account",
                     "uuid", person, "email_address", json_sprintf("%s@lab.invalid", f->subject),
                     "organization", "uuid", org, "name", f->org);
    if (json != NULL && issue->refresh[0] != '\0') {
        json_object_set_new(json, "refresh_token", json_string(issue->refresh));
        json_object_set_new(json, "refresh_token_expires_in",
                            json_integer(issue->refresh_left_ms / 1000));
    }
    return json;
}

/* The scope asked for may not widen (RFC 6749 §6). It is checked, not narrowed. */
static bool scope_is_allowed(const struct family *f, const char *asked)
{
    while (asked != NULL && *asked != '\0') {
        size_t n = strcspn(asked, " ");

        if (n > 0 && !scope_has(f->scope, asked, n))
            return false;
        asked += n;
        asked += strspn(asked, " ");
    }
    return true;
}

/* Why the request is not even looked at; NULL: it is. */
static const char *unfit(struct lab *lab, const struct exchange *ex)
{
    const struct grant_form *form = &ex->form;
    const struct family *f = grants_family(lab->grants, ex->family);

    if (form->is_malformed || form->grant_type == NULL)
        return "invalid_request";
    if (strcmp(form->grant_type, "refresh_token") != 0)
        return "unsupported_grant_type";
    if (form->refresh_token == NULL)
        return "invalid_request";
    if (f != NULL && !scope_is_allowed(f, form->scope))
        return "invalid_scope";
    return NULL;
}

void token_answer(struct lab *lab, struct exchange *ex, struct now now)
{
    const char *error = unfit(lab, ex);
    struct spend_request request = {
        .refresh = ex->presented.at,
        .refresh_len = ex->presented.len,
        .keep_refresh = ex->quirk.missing_refresh_token,
        .new_subject = ex->quirk.changed_subject[0] != '\0' ? ex->quirk.changed_subject : NULL,
    };
    struct grant_issue issue = {0};
    struct spend_report report;

    if (error != NULL) {
        ex->event.outcome = error;
        reply_oauth_error(&ex->reply, 400, error, "The request cannot be used.");
        return;
    }
    report = grants_spend(lab->grants, &lab->settings.rules, &request, now.boot_ms, &issue);
    ex->event.outcome = spend_result_name(report.result);
    ex->event.committed = spend_is_commit(report.result);
    ex->event.rotated = report.rotated;
    ex->event.reuse = report.reuse;
    ex->event.family_revoked = report.family_revoked;
    if (report.result == SPEND_FULL) {
        reply_oauth_error(&ex->reply, 503, "temporarily_unavailable", "The lab is full.");
    } else if (!ex->event.committed) {
        reply_oauth_error(&ex->reply, 400, "invalid_grant", "Refresh token not found or invalid");
    } else {
        memcpy(ex->event.issued_access, issue.access_id, sizeof(issue.access_id));
        memcpy(ex->event.issued_refresh, issue.refresh_id, sizeof(issue.refresh_id));
        reply_json(&ex->reply, 200, token_answer_json(lab, &issue));
    }
}

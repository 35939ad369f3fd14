/*
 * What an answer of the token endpoint means. The order of the questions is the safety argument:
 * first whether anything left, then whether a pair came back (it must not be lost), then whether
 * the answer is one that the definition knows, and only then doubt.
 */
#include "issuer/reply_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "base/time.h"
#include "json/json.h"
#include "json/jwt.h"

#define CODE_MAX       40 /* error codes are names */
#define WORD_PLAIN_MAX 8  /* shorter than any token */

void reply_init(struct reply *r)
{
    memset(r, 0, sizeof(*r));
    r->verdict = VERDICT_DOUBT;
    r->identity = IDENTITY_UNANSWERED;
    buf_init(&r->body, REPLY_KEPT_MAX);
}

void reply_clear(struct reply *r)
{
    if (r == NULL) {
        return;
    }
    tokens_clear(&r->tokens);
    buf_release(&r->body);
    reply_init(r);
}

void reply_begin(struct reply *r, enum ask ask, const struct http_outcome *o)
{
    reply_clear(r);
    r->ask = ask;
    r->http_status = o->status;
    r->retry_after_ms = o->retry_after_ms > 0 ? o->retry_after_ms : 0;
    r->server_wall_ms = o->server_wall_ms > 0 ? o->server_wall_ms : 0;
}

bool status_is_success(int status)
{
    return status >= 200 && status <= 299;
}

/* ---- detail ---- */

static void detail_add(struct reply *r, const char *text, size_t len)
{
    size_t at = strlen(r->detail);
    for (size_t i = 0; i < len && at + 1 < sizeof(r->detail); i++) {
        r->detail[at++] = isprint((unsigned char)text[i]) ? text[i] : '?';
    }
    r->detail[at] = '\0';
}

static void detail_begin(struct reply *r, const char *what)
{
    r->detail[0] = '\0';
    if (r->http_status != 0) {
        snprintf(r->detail, sizeof(r->detail), "%d%s", r->http_status, *what != '\0' ? " " : "");
    }
    detail_add(r, what, strlen(what));
}

static bool code_is_plain(const char *code)
{
    size_t len = strspn(code, "abcdefghijklmnopqrstuvwxyz_");
    return len > 0 && code[len] == '\0' && len <= CODE_MAX;
}

/* Servers have been seen to repeat the token in their complaint about it. Prose and the names of
 * codes pass; a longer word with a digit, a hyphen or a capital inside does not. */
static bool word_is_plain(const char *word, size_t len)
{
    while (len > 0 && strchr("\"'()", word[0]) != NULL) {
        word++;
        len--;
    }
    while (len > 0 && strchr("\"'().,:;!?", word[len - 1]) != NULL) {
        len--;
    }
    if (len <= WORD_PLAIN_MAX) {
        return true;
    }
    for (size_t i = 1; i < len; i++) {
        if (!islower((unsigned char)word[i]) && word[i] != '_') {
            return false;
        }
    }
    return isalpha((unsigned char)word[0]) && len <= CODE_MAX;
}

static void detail_add_prose(struct reply *r, const char *text)
{
    static const char blanks[] = " \t\r\n";
    const char *separator = ": ";
    for (text += strspn(text, blanks); *text != '\0'; text += strspn(text, blanks)) {
        size_t len = strcspn(text, blanks);
        bool is_plain = word_is_plain(text, len);
        detail_add(r, separator, strlen(separator));
        detail_add(r, is_plain ? text : "[...]", is_plain ? len : 5);
        separator = " ";
        text += len;
    }
}

void reply_detail(struct reply *r, const char *what)
{
    detail_begin(r, what);
}

void reply_detail_because(struct reply *r, const char *what, const char *why)
{
    detail_begin(r, what);
    if (why != NULL && *why != '\0') {
        detail_add(r, ": ", 2);
        detail_add(r, why, strlen(why));
    }
}

static void reply_detail_complaint(struct reply *r, const char *code, const char *prose)
{
    detail_begin(r, code == NULL ? "" : code_is_plain(code) ? code : "an unknown error code");
    if (prose != NULL) {
        detail_add_prose(r, prose);
    }
}

/* ---- a pair ---- */

/* Seconds of a field → ms; 0 when absent, of another type, or absurd. */
static int64_t seconds_at(const json_t *root, const char *field)
{
    double seconds = 0;
    if (*field == '\0' || json_read_number(json_object_get(root, field), &seconds) != 0) {
        return 0;
    }
    if (seconds <= 0 || seconds > REPLY_LIFE_MAX_S) {
        return 0;
    }
    return (int64_t)(seconds * 1000);
}

/* A JWT says when it ends by the server's clock; so measure from the server's Date, or from when it
 * says it was issued. Our own clock has no say in it. */
static int64_t life_of_jwt(const struct secret *access, int64_t server_wall_ms)
{
    int64_t issued_ms = 0, expires_ms = 0;
    if (jwt_times(access->bytes, access->len, &issued_ms, &expires_ms) != 0) {
        return 0;
    }
    int64_t from_ms = server_wall_ms != 0 ? server_wall_ms : issued_ms;
    int64_t life_ms = expires_ms - from_ms;
    return from_ms == 0 || life_ms <= 0 || life_ms > REPLY_LIFE_MAX_MS ? 0 : life_ms;
}

/* Granted scopes: a string (RFC 6749 §3.3) or, as some servers send it, an array. */
static void scope_read(const json_t *scope, char *ret, size_t size)
{
    size_t at = 0, i;
    const json_t *item;
    const char *one = json_string_value(scope);
    ret[0] = '\0';
    if (one != NULL && strlen(one) < size) {
        memcpy(ret, one, strlen(one) + 1);
    }
    json_array_foreach(scope, i, item)
    {
        const char *word = json_string_value(item);
        if (word == NULL || strlen(word) + 2 > size - at) {
            ret[0] = '\0';
            return;
        }
        at += (size_t)snprintf(ret + at, size - at, "%s%s", at > 0 ? " " : "", word);
    }
    for (const char *c = ret; *c != '\0'; c++) {
        if (!isprint((unsigned char)*c)) {
            ret[0] = '\0';
            return;
        }
    }
}

/* A missing, null or empty field is none. ERR_INVALID: something is there, and it is no token. */
static int token_read(const json_t *root, const char *field, struct secret *ret)
{
    const json_t *value = json_object_get(root, field);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (!json_is_string(value)) {
        return ERR_INVALID;
    }
    size_t len = json_string_length(value);
    if (len == 0) {
        return 0;
    }
    if (!token_is_sendable(json_string_value(value), len)) {
        return ERR_INVALID;
    }
    return secret_set(ret, json_string_value(value), len);
}

static bool begins_with(const struct secret *token, const char *prefix)
{
    size_t len = strlen(prefix);
    return len > 0 && token->len >= len && memcmp(token->bytes, prefix, len) == 0;
}

static const char out_of_memory[] = "out of memory";

/* NULL, or why this is no pair to live on. */
static const char *tokens_read(const struct provider *p, const json_t *root, struct tokens *ret)
{
    int err = token_read(root, "access_token", &ret->access);
    if (err != 0) {
        return err == ERR_NOMEM ? out_of_memory : "access_token is not usable";
    }
    err = token_read(root, "refresh_token", &ret->refresh);
    if (err != 0) {
        return err == ERR_NOMEM ? out_of_memory : "refresh_token is not usable";
    }
    if (begins_with(&ret->access, p->refresh_prefix)) {
        return "access_token begins like a refresh token";
    }
    if (begins_with(&ret->refresh, p->access_prefix)) {
        return "refresh_token begins like an access token";
    }
    /* Worth keeping, not worth losing the pair for. */
    if (token_read(root, "id_token", &ret->id_token) != 0) {
        secret_clear(&ret->id_token);
    }
    scope_read(json_object_get(root, "scope"), ret->scope, sizeof(ret->scope));
    return NULL;
}

/* ERR_NOMEM, or what it means stands in *r. */
static int granted(const struct provider *p, const json_t *root, struct reply *r)
{
    const char *missing;
    size_t missing_len;
    const char *fault = tokens_read(p, root, &r->tokens);
    if (fault != NULL) {
        tokens_clear(&r->tokens);
        reply_detail(r, fault);
        return fault == out_of_memory ? ERR_NOMEM : 0;
    }
    r->verdict = VERDICT_GRANTED;
    r->life_ms = seconds_at(root, "expires_in");
    if (r->life_ms == 0 && p->access_is_jwt) {
        r->life_ms = life_of_jwt(&r->tokens.access, r->server_wall_ms);
    }
    r->login_deadline_ms = seconds_at(root, p->deadline_field);
    if (p->answer_subject_paths[0] != '\0') {
        (void)subject_read(root, p->answer_subject_paths, r->subject, sizeof(r->subject), &missing,
                           &missing_len);
    }
    label_read(root, p->answer_label_path, r->label, sizeof(r->label));
    const struct secret *const tokens[] = {&r->tokens.access, &r->tokens.refresh,
                                           &r->tokens.id_token};
    if (!text_is_safe(p, r->subject, tokens, ARRAY_LEN(tokens))) {
        r->subject[0] = '\0';
    }
    if (!text_is_safe(p, r->label, tokens, ARRAY_LEN(tokens))) {
        r->label[0] = '\0';
    }
    reply_detail(r, "granted");
    return 0;
}

/* ---- an error ---- */

struct complaint {
    const char *code;  /* the listed one, else the first; NULL: none */
    const char *words; /* NULL: none */
    bool is_final, is_uncommitted;
};

/* RFC 6749 §5.2 has "error"; Anthropic nests {"error": {"type", "message"}}; OpenAI nests "code" in
 * it, or puts it beside. */
static struct complaint complaint_read(const struct provider *p, const json_t *root)
{
    static const char *const code_paths[] = {"error", "error.code", "error.type", "code"};
    static const char *const word_paths[] = {"error_description", "error.message", "message"};
    struct complaint c = {NULL, NULL, false, false};
    for (size_t i = 0; i < sizeof(word_paths) / sizeof(word_paths[0]) && c.words == NULL; i++) {
        c.words = json_string_at(root, word_paths[i]);
    }
    for (size_t i = 0; i < sizeof(code_paths) / sizeof(code_paths[0]); i++) {
        const char *code = json_string_at(root, code_paths[i]);
        if (code == NULL) {
            continue;
        }
        c.is_final = provider_words_have(p->final_errors, code);
        c.is_uncommitted = provider_words_have(p->uncommitted_answers, code);
        if (c.is_final || c.is_uncommitted || c.code == NULL) {
            c.code = code;
        }
        if (c.is_final || c.is_uncommitted) {
            break;
        }
    }
    return c;
}

static bool status_may_end_a_grant(int status)
{
    return status_is_success(status) ||
           (status >= 400 && status <= 499 && status != 408 && status != 425);
}

static void complained(const struct provider *p, const json_t *root, struct reply *r)
{
    struct complaint c = complaint_read(p, root);
    if (c.is_final && status_may_end_a_grant(r->http_status)) {
        r->verdict = VERDICT_REFUSED;
    } else if (c.is_uncommitted) {
        r->verdict = VERDICT_UNCOMMITTED;
    }
    if (c.code == NULL && status_is_success(r->http_status)) {
        reply_detail(r, "JSON without access_token");
    } else {
        reply_detail_complaint(r, c.code, c.words);
    }
}

static bool has_access_token(const json_t *root)
{
    const char *token = json_string_at(root, "access_token");
    return token != NULL && *token != '\0';
}

static int read_body(const struct provider *p, const struct http_outcome *o, struct reply *r)
{
    int err = 0;
    struct json_fault fault;
    json_t *root = json_read_object(o->body != NULL ? o->body : "", o->body_len, &fault);
    if (root == NULL && fault.err == ERR_NOMEM) {
        err = ERR_NOMEM;
        reply_detail(r, fault.what);
    } else if (root == NULL && o->status >= 300 && o->status <= 399) {
        reply_detail(r, "a redirect, which is not followed");
    } else if (root == NULL && !o->complete) {
        reply_detail_because(r, "the answer was cut", o->failure);
    } else if (root == NULL) {
        reply_detail_because(r, "not an answer in JSON", fault.what);
    } else if (status_is_success(o->status) && has_access_token(root)) {
        err = granted(p, root, r);
    } else if (!o->complete) {
        reply_detail_because(r, "the answer was cut", o->failure);
    } else {
        complained(p, root, r);
    }
    json_decref(root);
    return err;
}

int reply_of_spend(const struct provider *p, const struct http_outcome *o, struct reply *ret)
{
    char status[16];
    snprintf(status, sizeof(status), "%d", o->status);
    reply_begin(ret, ASK_SPEND, o);
    if (o->status == 0) {
        ret->verdict = o->sent ? VERDICT_DOUBT : VERDICT_UNSENT;
        reply_detail_because(ret, o->sent ? "no answer" : "not sent", o->failure);
        return 0;
    }
    int err = read_body(p, o, ret);
    /* These two are said by the status line alone, whatever became of the body. */
    if (ret->verdict != VERDICT_GRANTED && o->status == 429) {
        ret->verdict = VERDICT_THROTTLED;
    } else if (ret->verdict == VERDICT_DOUBT &&
               provider_words_have(p->uncommitted_answers, status)) {
        ret->verdict = VERDICT_UNCOMMITTED;
    }
    return err;
}

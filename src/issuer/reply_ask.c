/*
 * What the answers to the other questions mean: who is this token, how much is used, what does the
 * issuer say of itself. None of them can end a grant.
 */
#include "issuer/reply_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "json/json.h"

/* ---- fields ---- */

/* One part of a subject: a string, or a whole number (GitHub's ids). "" when it is neither. */
static void part_read(const json_t *value, char *ret, size_t size)
{
    ret[0] = '\0';
    if (json_is_integer(value)) {
        snprintf(ret, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_string(value) && str_copy(ret, size, json_string_value(value)) != 0) {
        ret[0] = '\0';
    }
    for (const char *c = ret; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c)) {
            ret[0] = '\0';
            return;
        }
    }
}

int subject_read(const json_t *root, const char *paths, char *ret, size_t size,
                 const char **ret_missing, size_t *ret_len)
{
    char subject[REPLY_SUBJECT_MAX] = "";
    char part[REPLY_SUBJECT_MAX];
    size_t at = 0, len = 0;
    const char *rest = paths;
    const char *path = provider_word_next(&rest, &len);
    bool is_only = rest[strspn(rest, " \t")] == '\0';
    for (; path != NULL; path = provider_word_next(&rest, &len)) {
        part_read(json_at(root, path, len), part, sizeof(part));
        /* "a/b" and "c" must not read like "a" and "b/c". */
        bool is_ambiguous = !is_only && strchr(part, '/') != NULL;
        if (part[0] == '\0' || is_ambiguous || at + strlen(part) + 2 > sizeof(subject)) {
            *ret_missing = path;
            *ret_len = len;
            return ERR_NOT_FOUND;
        }
        at += (size_t)snprintf(subject + at, sizeof(subject) - at, "%s%s", at > 0 ? "/" : "", part);
    }
    return str_copy(ret, size, subject);
}

void label_read(const json_t *root, const char *path, char *ret, size_t size)
{
    ret[0] = '\0';
    if (*path != '\0') {
        part_read(json_at(root, path, strlen(path)), ret, size);
    }
}

#define TELLING_LEN 8 /* shorter than any token worth hiding: "u1" may well be part of a name */

static bool has_prefix(const char *text, const char *prefix)
{
    return prefix[0] != '\0' && strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_is_safe(const struct provider *p, const char *text, const struct secret *const tokens[],
                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (tokens[i]->len >= TELLING_LEN &&
            memmem(text, strlen(text), tokens[i]->bytes, tokens[i]->len) != NULL) {
            return false;
        }
    }
    return !has_prefix(text, p->access_prefix) && !has_prefix(text, p->refresh_prefix);
}

/* ---- refusals ---- */

/* The dialects seen so far, old servers and new. The order is the order of caution: "expired or
 * revoked" proves no revocation, and SCOPE, which says that the token lives, comes last. */
static const struct dialect {
    int status; /* 0: 401 or 403 */
    const char *phrase;
    enum identity means;
} dialects[] = {
    {0, "expired", IDENTITY_EXPIRED},
    {0, "revoked", IDENTITY_REVOKED},
    {401, "invalid authentication credentials", IDENTITY_REVOKED},
    {401, "invalid bearer token", IDENTITY_REVOKED},
    {401, "invalid_token", IDENTITY_REVOKED}, /* RFC 6750 §3.1 */
    {403, "scope", IDENTITY_SCOPE},           /* also insufficient_scope */
};

static bool has_phrase(const json_t *root, const char *phrase)
{
    static const char *const paths[] = {
        "error",         "error_description", "error.type", "error.code",
        "error.message", "message",           "code",       "detail"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const char *text = json_string_at(root, paths[i]);
        if (text != NULL && strcasestr(text, phrase) != NULL) {
            return true;
        }
    }
    return false;
}

static void refused(const json_t *root, struct reply *r)
{
    static const char *const names[IDENTITY_COUNT] = {
        [IDENTITY_EXPIRED] = "the access token has expired",
        [IDENTITY_REVOKED] = "the access token is revoked or unknown",
        [IDENTITY_SCOPE] = "the access token may not ask this",
        [IDENTITY_UNANSWERED] = "refused for a reason that says nothing about the token",
    };
    for (size_t i = 0; i < ARRAY_LEN(dialects) && r->identity == IDENTITY_UNANSWERED; i++) {
        if ((dialects[i].status == 0 || dialects[i].status == r->http_status) &&
            has_phrase(root, dialects[i].phrase)) {
            r->identity = dialects[i].means;
        }
    }
    reply_detail(r, names[r->identity]);
}

/* Success leaves `*ret_root` for the caller to read (and to give back); anything else is told
 * here. */
static bool begin_question(enum ask ask, const struct http_outcome *o, struct reply *r,
                           json_t **ret_root)
{
    struct json_fault fault;
    reply_begin(r, ask, o);
    if (o->status == 0 || !o->complete) {
        reply_detail_because(r, o->status == 0 ? "no answer" : "the answer was cut", o->failure);
        return false;
    }
    json_t *root = json_read_object(o->body != NULL ? o->body : "", o->body_len, &fault);
    if (root == NULL) {
        reply_detail_because(r, "not an answer in JSON", fault.what);
        return false;
    }
    if (status_is_success(o->status)) {
        *ret_root = root;
        return true;
    }
    if (o->status == 401 || o->status == 403) {
        refused(root, r);
    } else {
        reply_detail(r, o->status == 429 ? "later" : "not an answer");
    }
    json_decref(root);
    return false;
}

/* ---- the questions ---- */

void reply_of_identity(const struct provider *p, const struct http_outcome *o,
                       const struct secret *presented, struct reply *ret)
{
    json_t *root = NULL;
    const char *missing = "";
    size_t missing_len = 0;
    if (!begin_question(ASK_IDENTITY, o, ret, &root)) {
        return;
    }
    int err = subject_read(root, p->subject_paths, ret->subject, sizeof(ret->subject), &missing,
                           &missing_len);
    if (err == 0 && !text_is_safe(p, ret->subject, &presented, 1)) {
        ret->subject[0] = '\0';
        reply_detail(ret, "the subject is or holds a token");
    } else if (err == 0 && ret->subject[0] != '\0') {
        ret->identity = IDENTITY_NAMED;
        label_read(root, p->label_path, ret->label, sizeof(ret->label));
        if (!text_is_safe(p, ret->label, &presented, 1)) {
            ret->label[0] = '\0';
        }
        reply_detail(ret, "named");
    } else {
        char what[REPLY_DETAIL_MAX];
        snprintf(what, sizeof(what), "the answer has no usable %.*s", (int)missing_len, missing);
        reply_detail(ret, what);
    }
    json_decref(root);
}

/* Windows that do not apply are null or missing: they are left out. */
static int usage_collect(const struct provider *p, const json_t *root, struct buf *out)
{
    const char *paths = p->utilization_paths;
    size_t len = 0, n = 0;
    int err = buf_add_str(out, "{");
    for (const char *path; err == 0 && (path = provider_word_next(&paths, &len)) != NULL;) {
        double number = 0;
        if (json_read_number(json_at(root, path, len), &number) == 0) {
            err = buf_addf(out, "%s\"%.*s\": %.6g", n++ > 0 ? ", " : "", (int)len, path, number);
        }
    }
    return err == 0 ? buf_add_str(out, "}") : err;
}

void reply_of_usage(const struct provider *p, const struct http_outcome *o, struct reply *ret)
{
    json_t *root = NULL;
    if (!begin_question(ASK_USAGE, o, ret, &root)) {
        return;
    }
    if (usage_collect(p, root, &ret->body) == 0) {
        ret->identity = IDENTITY_NAMED;
        reply_detail(ret, "answered");
    } else {
        buf_release(&ret->body);
        reply_detail(ret, "out of memory");
    }
    json_decref(root);
}

void reply_of_metadata(const struct http_outcome *o, struct reply *ret)
{
    json_t *root = NULL;
    if (!begin_question(ASK_METADATA, o, ret, &root)) {
        return;
    }
    json_decref(root);
    if (buf_add(&ret->body, o->body, o->body_len) == 0) {
        ret->identity = IDENTITY_NAMED;
        reply_detail(ret, "answered");
    } else {
        reply_detail(ret, "the document is too large");
    }
}

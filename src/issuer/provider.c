/*
 * A definition's properties: one table says what they are. Parsing, defaults, validation, the
 * record form and the documentation all read it, so they cannot drift apart.
 *
 * Every property has one text form, and the record holds that same text under a number that never
 * changes meaning. A pinned definition of an older version therefore reads like an older file:
 * what it does not say has its default.
 */
#include "issuer/provider_parts.h"

#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/record.h"
#include "base/time.h"

#define TAG_NAME 1 /* the section's name; properties have theirs in the table */

#define TYPE_TEXT     "text"
#define TYPE_ID       "text without blanks"
#define TYPE_URL      "URL"
#define TYPE_HEADER   "header"
#define TYPE_WORDS    "words"
#define TYPE_PATH     "path"
#define TYPE_PATHS    "paths"
#define TYPE_YES      "yes or no"
#define TYPE_DURATION "duration"
#define TYPE_BODY     "form or json"
#define TYPE_POLICY   "never, standby or always"

#define PROPERTY(tag_, kind_, key_, field_, fallback_, max_, doc_)                                 \
    {                                                                                              \
        .shown = {.key = key_, .type = TYPE_##kind_, .fallback = fallback_, .doc = doc_},          \
        .tag = tag_, .kind = KIND_##kind_, .offset = offsetof(struct provider, field_),            \
        .size = sizeof(((struct provider *)0)->field_), .max = max_                                \
    }
#define P(tag, kind, field, fallback, doc) PROPERTY(tag, kind, #field, field, fallback, 0, doc)
#define P_MS(tag, key, fallback, max, doc)                                                         \
    PROPERTY(tag, DURATION, #key, key##_ms, fallback, max, doc)

/* clang-format off */
static const struct property properties[] = {
    P(2, TEXT, title, "",
      "What people call it. The section's name when left out."),
    P(3, URL, issuer, "",
      "The OIDC or OAuth issuer this definition was discovered from; byte-equal to what the server "
      "calls itself."),
    P(4, URL, token_url, "",
      "The token endpoint: where a refresh token is spent. Required."),
    P(5, URL, identity_url, "",
      "A GET with the access token names the subject. Needs `subject_paths`."),
    P(6, URL, usage_url, "",
      "A GET with the access token says how much is used. Needs `utilization_paths`."),
    P(7, URL, authorization_url, "", "The authorization endpoint, for signing in."),
    P(8, URL, device_url, "", "The device authorization endpoint (RFC 8628)."),
    P(9, URL, revocation_url, "", "The revocation endpoint (RFC 7009)."),
    P(10, ID, client_id, "", "The OAuth client id, sent with every spend. Required."),
    P(11, BODY, body, "form",
      "How a spend's request is encoded: `form` as in RFC 6749, or `json`."),
    P(12, WORDS, scope, "",
      "Scopes to send when it is not known which ones the credential was granted."),
    P(13, YES, send_scope, "no",
      "Send scopes with a spend: the granted ones, else `scope`."),
    P(14, ID, access_prefix, "",
      "What access tokens begin with. A refresh token that begins so is a mix-up and is refused."),
    P(15, ID, refresh_prefix, "",
      "What refresh tokens begin with. An access token that begins so is a mix-up and is refused."),
    P_MS(16, skew, "1m", DAY_MS,
      "An access token counts as over this long before its expiry. At most 1d."),
    P(17, YES, rotates, "yes",
      "A refresh token is single use: each spend answers with a new one."),
    P_MS(18, reuse_grace, "0", DAY_MS,
      "A spent refresh token may be presented again for this long without harm; 0: never. "
      "At most 1d."),
    P(19, YES, refresh_kills_access, "no",
      "A spend ends the previous access token at once. Then a previous token that still works "
      "proves that a spend of unknown outcome was not committed; say yes only if that is so."),
    P(20, YES, access_is_jwt, "no",
      "Access tokens are JWTs; their `exp` is the expiry when the answer does not say one."),
    P_MS(21, idle_limit, "0", 3650 * DAY_MS,
      "A refresh token unused for this long is dead; 0: not known."),
    P(22, POLICY, default_policy, "always",
      "Spending policy of a new profile: who spends refresh tokens, the provider's own client "
      "(`never`), we while nobody else can (`standby`), or we alone (`always`)."),
    P(23, ID, deadline_field, "",
      "Field of the token answer with the seconds until the login itself ends."),
    P(24, WORDS, final_errors, "invalid_grant invalid_client unauthorized_client",
      "Error codes that end the grant for good. Nothing else does."),
    P(25, WORDS, uncommitted_answers, "invalid_request invalid_scope unsupported_grant_type",
      "Error codes, or statuses from 300 to 599, that prove that nothing was committed: the same "
      "refresh token may be spent later. Everything in neither list is doubt (429 is always "
      "\"later\")."),
    P(26, PATHS, subject_paths, "",
      "Where the identity answer names the subject. Several are all needed and joined by `/`."),
    P(27, PATH, label_path, "",
      "Where the identity answer has an e-mail address or the like, to show to people."),
    P(28, PATHS, answer_subject_paths, "",
      "Like `subject_paths`, in the token answer."),
    P(29, PATH, answer_label_path, "", "Like `label_path`, in the token answer."),
    P(30, PATHS, utilization_paths, "", "Numbers of the usage answer to report."),
    P(31, HEADER, usage_header, "",
      "One header to add to identity and usage questions, `Name: value`."),
    P(32, TEXT, user_agent, "",
      "The User-Agent to send. An honest one of our own when left out."),
    P(33, PATH, import_access, "",
      "Where the client's own file has the access token (`add --from`). Without it only a plain "
      "token answer is understood."),
    P(34, PATH, import_refresh, "", "The same for the refresh token."),
    P(35, PATH, import_id_token, "", "The same for the ID token."),
    P(36, PATH, import_expires_ms, "",
      "The same for the access token's expiry, in Unix milliseconds."),
    P(37, PATH, import_deadline_ms, "",
      "The same for the end of the login, in Unix milliseconds."),
    P(38, PATH, import_scopes, "",
      "The same for the granted scopes: an array, or one string with blanks between."),
};
/* clang-format on */

_Static_assert(ARRAY_LEN(properties) <= PROPERTIES_MAX, "raise PROPERTIES_MAX");
_Static_assert(ARRAY_LEN(properties) < RECORD_FIELDS_MAX, "a definition is one record");

const struct property *property_at(unsigned i)
{
    return i < ARRAY_LEN(properties) ? &properties[i] : NULL;
}

const struct provider_property *provider_property_at(unsigned i)
{
    return i < ARRAY_LEN(properties) ? &properties[i].shown : NULL;
}

int property_find(const char *key, unsigned *ret_at)
{
    for (unsigned i = 0; i < ARRAY_LEN(properties); i++) {
        if (strcmp(properties[i].shown.key, key) == 0) {
            *ret_at = i;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

const char *provider_word_next(const char **cursor, size_t *ret_len)
{
    const char *word = *cursor + strspn(*cursor, " \t");
    *ret_len = strcspn(word, " \t");
    *cursor = word + *ret_len;
    return *ret_len > 0 ? word : NULL;
}

bool provider_words_have(const char *words, const char *word)
{
    size_t len;
    for (const char *w; (w = provider_word_next(&words, &len)) != NULL;) {
        if (strlen(word) == len && memcmp(w, word, len) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- what each kind of text may hold: NULL, or what was expected ---- */

static const char *text_fault(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (!isprint((unsigned char)*c)) {
            return "printable ASCII";
        }
    }
    return NULL;
}

static const char *id_fault(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (!isgraph((unsigned char)*c)) {
            return "printable ASCII without blanks";
        }
    }
    return NULL;
}

static const char *url_fault(const char *text)
{
    return *text == '\0' || url_is_allowed(text)
               ? NULL
               : "an https URL without user name or fragment (http only to 127.0.0.0/8, [::1] or "
                 "localhost)";
}

static const char *words_fault(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if ((!isgraph((unsigned char)*c) && *c != ' ' && *c != '\t') || *c == '"' || *c == '\\') {
            return "words of printable ASCII without quotes or backslashes, with blanks between";
        }
    }
    return NULL;
}

static const char *path_fault(const char *text, size_t len)
{
    static const char expected[] = "names of JSON fields with dots between, like account.uuid";
    for (size_t i = 0; i < len; i++) {
        bool at_edge = i == 0 || i + 1 == len;
        if (!isgraph((unsigned char)text[i]) || text[i] == '"' || text[i] == '\\') {
            return expected;
        }
        if (text[i] == '.' && (at_edge || text[i + 1] == '.')) {
            return expected;
        }
    }
    return NULL;
}

static const char *paths_fault(const char *text)
{
    size_t len;
    for (const char *path; (path = provider_word_next(&text, &len)) != NULL;) {
        const char *fault = path_fault(path, len);
        if (fault != NULL) {
            return fault;
        }
    }
    return NULL;
}

/* Fields that the request itself needs would be sent twice, or send the token elsewhere. */
static const char *header_fault(const char *text)
{
    static const char *const ours[] = {"authorization", "host",       "content-length",
                                       "connection",    "user-agent", "accept",
                                       "content-type",  "cookie",     "transfer-encoding"};
    if (*text == '\0') {
        return NULL;
    }
    size_t name_len = strcspn(text, ":");
    if (name_len == 0 || text[name_len] == '\0' || str_is_blank(text + name_len + 1) ||
        text_fault(text) != NULL) {
        return "one header, \"Name: value\"";
    }
    for (size_t i = 0; i < name_len; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr("!#$%&'*+-.^_`|~", text[i]) == NULL) {
            return "one header, \"Name: value\"";
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (strlen(ours[i]) == name_len && strncasecmp(ours[i], text, name_len) == 0) {
            return "a header that the request does not have by itself";
        }
    }
    return NULL;
}

static const char *kind_fault(enum kind kind, const char *text)
{
    switch (kind) {
    case KIND_TEXT:
        return text_fault(text);
    case KIND_ID:
        return id_fault(text);
    case KIND_URL:
        return url_fault(text);
    case KIND_HEADER:
        return header_fault(text);
    case KIND_WORDS:
        return words_fault(text);
    case KIND_PATH:
        return path_fault(text, strlen(text));
    case KIND_PATHS:
        return paths_fault(text);
    case KIND_YES:
    case KIND_DURATION:
    case KIND_BODY:
    case KIND_POLICY:
        break;
    }
    return NULL;
}

/* ---- text form → struct ---- */

static int body_parse(const char *text, enum body_encoding *ret)
{
    if (strcmp(text, "form") == 0) {
        *ret = BODY_FORM;
    } else if (strcmp(text, "json") == 0) {
        *ret = BODY_JSON;
    } else {
        return ERR_INVALID;
    }
    return 0;
}

static int text_set(const struct property *prop, char *field, const char *text,
                    struct err_text *why)
{
    const char *expected = kind_fault(prop->kind, text);
    if (expected != NULL) {
        return err_say(why, ERR_INVALID, "%s: expected %s", prop->shown.key, expected);
    }
    if (strlen(text) >= prop->size) {
        return err_say(why, ERR_TOO_LARGE, "%s: at most %zu bytes", prop->shown.key,
                       prop->size - 1);
    }
    return str_copy(field, prop->size, text);
}

static int duration_set(const struct property *prop, int64_t *field, const char *text,
                        struct err_text *why)
{
    int64_t ms = 0;
    char most[32];
    if (duration_parse(text, &ms) != 0) {
        return err_say(why, ERR_INVALID, "%s: expected a duration like 90s, 10m, 8h or 1h30m",
                       prop->shown.key);
    }
    duration_format(prop->max, most, sizeof(most));
    if (ms > prop->max) {
        return err_say(why, ERR_INVALID, "%s: at most %s", prop->shown.key, most);
    }
    *field = ms;
    return 0;
}

int property_set(const struct property *prop, struct provider *p, const char *text,
                 struct err_text *why)
{
    void *field = (char *)p + prop->offset;
    int err = 0;
    switch (prop->kind) {
    case KIND_TEXT:
    case KIND_ID:
    case KIND_URL:
    case KIND_HEADER:
    case KIND_WORDS:
    case KIND_PATH:
    case KIND_PATHS:
        return text_set(prop, field, text, why);
    case KIND_DURATION:
        return duration_set(prop, field, text, why);
    case KIND_YES:
        err = str_to_bool(text, field);
        break;
    case KIND_BODY:
        err = body_parse(text, field);
        break;
    case KIND_POLICY:
        err = policy_parse(text, field);
        break;
    }
    if (err != 0) {
        return err_say(why, ERR_INVALID, "%s: expected %s", prop->shown.key, prop->shown.type);
    }
    return 0;
}

void provider_set_defaults(struct provider *p, const char *name)
{
    memset(p, 0, sizeof(*p));
    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        CHECK(property_set(&properties[i], p, properties[i].shown.fallback, NULL) == 0);
    }
    CHECK(str_copy(p->name, sizeof(p->name), name) == 0);
}

/* ---- struct → text form ---- */

static const char *property_text(const struct property *prop, const struct provider *p,
                                 char *scratch, size_t size)
{
    const void *field = (const char *)p + prop->offset;
    switch (prop->kind) {
    case KIND_TEXT:
    case KIND_ID:
    case KIND_URL:
    case KIND_HEADER:
    case KIND_WORDS:
    case KIND_PATH:
    case KIND_PATHS:
        return field;
    case KIND_DURATION:
        snprintf(scratch, size, "%" PRId64 "ms", *(const int64_t *)field);
        return scratch;
    case KIND_YES:
        return *(const bool *)field ? "yes" : "no";
    case KIND_BODY:
        return *(const enum body_encoding *)field == BODY_JSON ? "json" : "form";
    case KIND_POLICY:
        return policy_name(*(const enum policy *)field);
    }
    return "";
}

int provider_encode(const struct provider *p, struct buf *out)
{
    char scratch[32];
    int err = record_put_str(out, TAG_NAME, p->name);
    for (size_t i = 0; i < ARRAY_LEN(properties) && err == 0; i++) {
        err = record_put_str(out, properties[i].tag,
                             property_text(&properties[i], p, scratch, sizeof(scratch)));
    }
    return err;
}

int provider_decode(const void *bytes, size_t len, struct provider *ret)
{
    struct record record;
    struct provider p;
    char text[PROVIDER_TEXT_MAX];
    char name[sizeof(p.name)];
    _Static_assert(URL_MAX <= sizeof(text), "every property fits");

    int err = record_parse(&record, bytes, len);
    if (err == 0) {
        err = record_get_str(&record, TAG_NAME, name, sizeof(name));
    }
    if (err != 0) {
        return err == ERR_NOT_FOUND ? ERR_INVALID : err;
    }
    provider_set_defaults(&p, name);
    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        err = record_get_str(&record, properties[i].tag, text, sizeof(text));
        if (err == ERR_NOT_FOUND) {
            continue;
        }
        if (err == 0) {
            err = property_set(&properties[i], &p, text, NULL);
        }
        if (err != 0) {
            return err;
        }
    }
    err = provider_validate(&p, NULL);
    if (err == 0) {
        *ret = p;
    }
    return err;
}

/* ---- rules across properties ---- */

static bool begins_with(const char *text, const char *prefix)
{
    return *prefix != '\0' && strncmp(text, prefix, strlen(prefix)) == 0;
}

static int status_of(const char *word, size_t len)
{
    if (len != 3 || !isdigit((unsigned char)word[0]) || !isdigit((unsigned char)word[1]) ||
        !isdigit((unsigned char)word[2])) {
        return 0;
    }
    return (word[0] - '0') * 100 + (word[1] - '0') * 10 + (word[2] - '0');
}

/* A status alone never ends a grant: a proxy on the way could say it. And a success is no error. */
static int check_error_words(const struct provider *p, const char **ret_key, struct err_text *why)
{
    const char *words = p->final_errors;
    size_t len;
    *ret_key = "final_errors";
    for (const char *w; (w = provider_word_next(&words, &len)) != NULL;) {
        char word[PROVIDER_TEXT_MAX];
        snprintf(word, sizeof(word), "%.*s", (int)len, w);
        if (status_of(w, len) != 0) {
            return err_say(why, ERR_INVALID,
                           "final_errors: '%s' is a status; only error codes end a grant", word);
        }
        if (provider_words_have(p->uncommitted_answers, word)) {
            return err_say(
                why, ERR_INVALID,
                "final_errors: '%s' is also in uncommitted_answers; it can mean only one "
                "of the two",
                word);
        }
    }
    *ret_key = "uncommitted_answers";
    words = p->uncommitted_answers;
    for (const char *w; (w = provider_word_next(&words, &len)) != NULL;) {
        int status = status_of(w, len);
        if (status != 0 && (status < 300 || status > 599)) {
            return err_say(why, ERR_INVALID,
                           "uncommitted_answers: %d is no status of an error (300 to 599)", status);
        }
    }
    return 0;
}

/* One of the two without the other is a mistake, not a choice. */
static int check_together(const char *key, const char *value, const char *needs, const char *needed,
                          const char **ret_key, struct err_text *why)
{
    *ret_key = key;
    if (*value != '\0' && str_is_blank(needed)) {
        return err_say(why, ERR_INVALID, "%s: needs %s as well", key, needs);
    }
    return 0;
}

static int check_required(const char *key, const char *value, const char **ret_key,
                          struct err_text *why)
{
    *ret_key = key;
    return *value != '\0' ? 0 : err_say(why, ERR_INVALID, "%s is required", key);
}

static int check_prefixes(const struct provider *p, const char **ret_key, struct err_text *why)
{
    *ret_key = "refresh_prefix";
    if (begins_with(p->access_prefix, p->refresh_prefix) ||
        begins_with(p->refresh_prefix, p->access_prefix)) {
        return err_say(why, ERR_INVALID,
                       "refresh_prefix: one of the two prefixes begins with the other, so they "
                       "cannot tell a mix-up");
    }
    return 0;
}

int provider_check(const struct provider *p, const char **ret_key, struct err_text *why)
{
    const struct {
        const char *key, *value, *needs, *needed;
    } together[] = {
        {"identity_url", p->identity_url, "subject_paths", p->subject_paths},
        {"subject_paths", p->subject_paths, "identity_url", p->identity_url},
        {"label_path", p->label_path, "identity_url", p->identity_url},
        {"usage_url", p->usage_url, "utilization_paths", p->utilization_paths},
        {"utilization_paths", p->utilization_paths, "usage_url", p->usage_url},
        {"import_refresh", p->import_refresh, "import_access", p->import_access},
        {"import_id_token", p->import_id_token, "import_access", p->import_access},
        {"import_expires_ms", p->import_expires_ms, "import_access", p->import_access},
        {"import_deadline_ms", p->import_deadline_ms, "import_access", p->import_access},
        {"import_scopes", p->import_scopes, "import_access", p->import_access},
    };
    *ret_key = NULL;
    if (!name_is_valid(p->name)) {
        return err_say(why, ERR_INVALID,
                       "a provider's name has 1 to %d letters, digits or any of . _ @ + -, and "
                       "does not begin with . or -",
                       NAME_MAX_LEN);
    }
    int err = check_required("token_url", p->token_url, ret_key, why);
    if (err == 0) {
        err = check_required("client_id", p->client_id, ret_key, why);
    }
    for (size_t i = 0; i < ARRAY_LEN(together) && err == 0; i++) {
        err = check_together(together[i].key, together[i].value, together[i].needs,
                             together[i].needed, ret_key, why);
    }
    if (err == 0) {
        err = check_prefixes(p, ret_key, why);
    }
    if (err == 0) {
        err = check_error_words(p, ret_key, why);
    }
    return err;
}

int provider_validate(const struct provider *p, struct err_text *text)
{
    struct provider scratch;
    struct err_text why = {""};
    const char *key = NULL;
    char value[32];
    int err = 0;
    for (size_t i = 0; i < ARRAY_LEN(properties) && err == 0; i++) {
        err = property_set(&properties[i], &scratch,
                           property_text(&properties[i], p, value, sizeof(value)), &why);
    }
    if (err == 0) {
        err = provider_check(p, &key, &why);
    }
    return err == 0 ? 0 : err_say(text, err, "provider %s: %s", p->name, why.text);
}

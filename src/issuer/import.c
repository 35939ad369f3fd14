/*
 * A pair from a file. The three forms (a client's own file, a plain token answer, a bare token) end
 * in the same check of the pair, so that no form lets a mix-up through.
 *
 * Messages name the source and the field or place, never the content.
 */
#include "issuer/import.h"

#include <ctype.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "base/time.h"
#include "issuer/reply_parts.h"
#include "json/json.h"
#include "json/jwt.h"

#define BARE_TOKEN_MIN     16                /* a shorter word is a mistake rather than a token */
#define UNIX_SECONDS_BELOW 100000000000.0    /* seconds until the year 5138, ms until 1973 */
#define WALL_MAX_MS        253402300799000.0 /* end of the year 9999 */

struct source {
    const struct provider *provider;
    const char *name;
    const json_t *root;
    struct err_text *text;
};

void import_clear(struct import *i)
{
    if (i == NULL) {
        return;
    }
    tokens_clear(&i->tokens);
    memset(i, 0, sizeof(*i));
}

/* ---- fields ---- */

static const json_t *field(const struct source *s, const char *path)
{
    const json_t *value = *path != '\0' ? json_at(s->root, path, strlen(path)) : NULL;
    return json_is_null(value) ? NULL : value;
}

/* Absent, null and "" are none. */
static int read_token(const struct source *s, const char *path, struct secret *ret)
{
    const json_t *value = field(s, path);
    if (value == NULL) {
        return 0;
    }
    if (!json_is_string(value)) {
        return err_say(s->text, ERR_INVALID, "%s: %s is not a string", s->name, path);
    }
    size_t len = json_string_length(value);
    if (len == 0) {
        return 0;
    }
    if (len > TOKEN_MAX) {
        return err_say(s->text, ERR_TOO_LARGE, "%s: %s is longer than %d bytes", s->name, path,
                       TOKEN_MAX);
    }
    if (!token_is_sendable(json_string_value(value), len)) {
        return err_say(s->text, ERR_INVALID,
                       "%s: %s holds blanks, control bytes or non-ASCII, so it is no token",
                       s->name, path);
    }
    if (secret_set(ret, json_string_value(value), len) != 0) {
        return err_say(s->text, ERR_NOMEM, "%s: out of memory", s->name);
    }
    return 0;
}

/* Unix ms; 0 is "not known". */
static int read_wall(const struct source *s, const char *path, bool may_be_seconds, int64_t *ret)
{
    double number = 0;
    const json_t *value = field(s, path);
    if (value == NULL) {
        return 0;
    }
    if (json_read_number(value, &number) == 0) {
        if (may_be_seconds && number < UNIX_SECONDS_BELOW) {
            number *= 1000;
        }
        if (number >= 0 && number <= WALL_MAX_MS) {
            *ret = (int64_t)number;
            return 0;
        }
    }
    return err_say(s->text, ERR_INVALID, "%s: %s is not a Unix time in %smilliseconds", s->name,
                   path, may_be_seconds ? "seconds or " : "");
}

/* RFC 3339; a time before 1970 is how Go writes "none". */
static int read_date(const struct source *s, const char *path, int64_t *ret)
{
    int64_t wall_ms = 0;
    const char *text = json_string_value(field(s, path));
    if (text == NULL || *text == '\0') {
        return 0;
    }
    if (strncmp(text, "0001-01-01T", 11) == 0) {
        return 0;
    }
    if (wall_parse(text, &wall_ms) != 0) {
        return err_say(s->text, ERR_INVALID, "%s: %s is not a time like 2026-11-20T23:24:01Z",
                       s->name, path);
    }
    *ret = wall_ms > 0 ? wall_ms : 0;
    return 0;
}

/* Either of the above, by what it looks like. */
static int read_time(const struct source *s, const char *path, int64_t *ret)
{
    double number = 0;
    const json_t *value = field(s, path);
    if (json_is_string(value) && json_read_number(value, &number) != 0) {
        return read_date(s, path, ret);
    }
    return read_wall(s, path, true, ret);
}

static int read_life(const struct source *s, int64_t *ret_ms)
{
    double seconds = 0;
    const json_t *value = field(s, "expires_in");
    if (value == NULL) {
        return 0;
    }
    if (json_read_number(value, &seconds) != 0 || seconds < 0 || seconds > REPLY_LIFE_MAX_S) {
        return err_say(s->text, ERR_INVALID,
                       "%s: expires_in is not a number of seconds from 0 to ten years", s->name);
    }
    *ret_ms = (int64_t)(seconds * 1000);
    return 0;
}

static int scope_add(const struct source *s, const char *path, const char *word, char *ret,
                     size_t size)
{
    size_t at = strlen(ret);
    for (const char *c = word; c != NULL && *c != '\0'; c++) {
        if (!isprint((unsigned char)*c)) {
            word = NULL;
        }
    }
    if (word == NULL) {
        return err_say(s->text, ERR_INVALID, "%s: %s is not a list of scopes", s->name, path);
    }
    if (at + 1 + strlen(word) >= size) {
        return err_say(s->text, ERR_TOO_LARGE, "%s: %s is longer than %zu bytes", s->name, path,
                       size - 1);
    }
    if (at > 0) {
        ret[at++] = ' ';
    }
    return str_copy(ret + at, size - at, word);
}

static int read_scope(const struct source *s, const char *path, char *ret, size_t size)
{
    const json_t *value = field(s, path);
    const json_t *item;
    size_t i;
    int err = 0;
    ret[0] = '\0';
    if (value == NULL) {
        return 0;
    }
    if (!json_is_array(value)) {
        return scope_add(s, path, json_string_value(value), ret, size);
    }
    json_array_foreach(value, i, item)
    {
        err = scope_add(s, path, json_string_value(item), ret, size);
        if (err != 0) {
            break;
        }
    }
    return err;
}

/* ---- forms ---- */

/* A client that has signed out leaves its file with empty tokens: that is no pair, and above all
 * none to replace a good one with. */
static int signed_out(const struct source *s, const char *path)
{
    return err_say(s->text, ERR_INVALID,
                   "%s: %s is empty: the client that owns this file has signed out; sign in there "
                   "and add the file again",
                   s->name, path);
}

static int read_client_file(const struct source *s, struct import *out)
{
    const struct provider *p = s->provider;
    int err = read_token(s, p->import_access, &out->tokens.access);
    if (err == 0) {
        err = read_token(s, p->import_refresh, &out->tokens.refresh);
    }
    if (err == 0 && out->tokens.access.len == 0) {
        return signed_out(s, p->import_access);
    }
    if (err == 0) {
        err = read_token(s, p->import_id_token, &out->tokens.id_token);
    }
    if (err == 0) {
        err = read_wall(s, p->import_expires_ms, false, &out->expires_wall_ms);
    }
    if (err == 0) {
        err = read_wall(s, p->import_deadline_ms, false, &out->login_deadline_wall_ms);
    }
    if (err == 0) {
        err = read_scope(s, p->import_scopes, out->tokens.scope, sizeof(out->tokens.scope));
    }
    return err;
}

static int read_plain_expiry(const struct source *s, int64_t as_of_wall_ms, struct import *out)
{
    int64_t issued_ms = 0;
    int err = read_life(s, &out->life_ms);
    if (err == 0) {
        err = read_time(s, "expires_at", &out->expires_wall_ms);
    }
    if (err == 0 && out->expires_wall_ms == 0) {
        err = read_date(s, "expiry", &out->expires_wall_ms);
    }
    if (err == 0 && out->expires_wall_ms == 0) {
        err = read_wall(s, "expiry_date", false, &out->expires_wall_ms);
    }
    if (err != 0 || out->expires_wall_ms != 0 || out->life_ms == 0) {
        return err;
    }
    err = read_time(s, "obtained_at", &issued_ms);
    if (err == 0 && issued_ms == 0) {
        err = read_time(s, "created_at", &issued_ms);
    }
    if (err == 0) {
        out->expires_wall_ms = (issued_ms != 0 ? issued_ms : as_of_wall_ms) + out->life_ms;
    }
    return err;
}

static int read_plain_answer(const struct source *s, int64_t as_of_wall_ms, struct import *out)
{
    int err = read_token(s, "access_token", &out->tokens.access);
    if (err == 0) {
        err = read_token(s, "refresh_token", &out->tokens.refresh);
    }
    if (err == 0) {
        err = read_token(s, "id_token", &out->tokens.id_token);
    }
    if (err == 0) {
        err = read_plain_expiry(s, as_of_wall_ms, out);
    }
    if (err == 0) {
        err = read_scope(s, "scope", out->tokens.scope, sizeof(out->tokens.scope));
    }
    return err;
}

static int read_json(struct source *s, const char *bytes, size_t len, int64_t as_of_wall_ms,
                     struct import *out)
{
    struct json_fault fault;
    const struct provider *p = s->provider;
    json_t *root = json_read_object(bytes, len, &fault);
    int err;
    if (root == NULL && fault.err == ERR_NOMEM) {
        return err_say(s->text, ERR_NOMEM, "%s: %s", s->name, fault.what);
    }
    if (root == NULL) {
        return err_say(s->text, ERR_INVALID, "%s: line %d, column %d: %s", s->name, fault.line,
                       fault.column, fault.what);
    }
    s->root = root;
    if (field(s, p->import_access) != NULL || field(s, p->import_refresh) != NULL) {
        err = read_client_file(s, out);
    } else if (field(s, "access_token") != NULL || field(s, "refresh_token") != NULL) {
        err = read_plain_answer(s, as_of_wall_ms, out);
    } else if (p->import_access[0] != '\0') {
        err = err_say(s->text, ERR_INVALID, "%s: holds neither %s nor access_token", s->name,
                      p->import_access);
    } else {
        err = err_say(s->text, ERR_INVALID, "%s: holds no access_token", s->name);
    }
    s->root = NULL;
    json_decref(root);
    return err;
}

/* RFC 6750 §2.1, b64token: what no other text that a file may hold by mistake looks like. */
static bool is_bare_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && memchr("-._~+/=", text[i], 7) == NULL) {
            return false;
        }
    }
    return len >= BARE_TOKEN_MIN && len <= TOKEN_MAX;
}

static int read_bare(const struct source *s, const char *text, size_t len, struct import *out)
{
    const char *prefix = s->provider->access_prefix;
    const char *refresh_prefix = s->provider->refresh_prefix;
    if (!is_bare_token(text, len)) {
        return err_say(s->text, ERR_INVALID,
                       "%s: neither a JSON object nor one access token on a line of its own",
                       s->name);
    }
    if (*refresh_prefix != '\0' && strncmp(text, refresh_prefix, strlen(refresh_prefix)) == 0) {
        return err_say(s->text, ERR_INVALID,
                       "%s: a refresh token alone; a pair is added as JSON with access_token and "
                       "refresh_token",
                       s->name);
    }
    if (strncmp(text, prefix, strlen(prefix)) != 0) {
        return err_say(s->text, ERR_INVALID,
                       "%s: one word that is not an access token of %s, which begin with %s",
                       s->name, s->provider->name, prefix);
    }
    if (secret_set(&out->tokens.access, text, len) != 0) {
        return err_say(s->text, ERR_NOMEM, "%s: out of memory", s->name);
    }
    return 0;
}

/* ---- the pair ---- */

static bool begins_with(const struct secret *token, const char *prefix)
{
    size_t len = strlen(prefix);
    return len > 0 && token->len >= len && memcmp(token->bytes, prefix, len) == 0;
}

static int check_pair(const struct source *s, const struct import *i)
{
    const struct provider *p = s->provider;
    const struct secret *access = &i->tokens.access, *refresh = &i->tokens.refresh;
    const char *fault = NULL;
    if (access->len == 0 && refresh->len == 0) {
        fault = "the tokens are empty: whoever wrote this has signed out";
    } else if (access->len == 0) {
        fault = "a refresh token but no access token, so the server cannot be asked whose it is";
    } else if (begins_with(access, p->refresh_prefix)) {
        fault = "a refresh token stands where the access token belongs";
    } else if (begins_with(refresh, p->access_prefix)) {
        fault = "an access token stands where the refresh token belongs";
    } else if (access->len == refresh->len &&
               secret_equal(access->bytes, refresh->bytes, access->len)) {
        fault = "the same token stands as access token and as refresh token";
    }
    return fault == NULL ? 0 : err_say(s->text, ERR_INVALID, "%s: %s", s->name, fault);
}

static void expiry_from_jwt(const struct provider *p, struct import *i)
{
    int64_t issued_ms = 0, expires_ms = 0;
    if (!p->access_is_jwt || i->expires_wall_ms != 0 ||
        jwt_times(i->tokens.access.bytes, i->tokens.access.len, &issued_ms, &expires_ms) != 0) {
        return;
    }
    i->expires_wall_ms = expires_ms;
    if (i->life_ms == 0 && issued_ms != 0 && expires_ms > issued_ms &&
        expires_ms - issued_ms <= REPLY_LIFE_MAX_MS) {
        i->life_ms = expires_ms - issued_ms;
    }
}

/* ---- */

static int check_text(const char *source, const char *bytes, size_t len, struct err_text *text)
{
    if (len > IMPORT_MAX) {
        return err_say(text, ERR_TOO_LARGE, "%s: larger than %d bytes, so it is no credential",
                       source, IMPORT_MAX);
    }
    if (len == 0) {
        return err_say(text, ERR_INVALID, "%s: empty", source);
    }
    if (!str_is_utf8(bytes, len)) {
        return err_say(text, ERR_INVALID, "%s: not UTF-8 text", source);
    }
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
        return err_say(text, ERR_INVALID, "%s: begins with a byte order mark; save it without one",
                       source);
    }
    return 0;
}

int import_parse(const struct provider *p, const char *source, const void *bytes, size_t len,
                 int64_t as_of_wall_ms, struct import *ret, struct err_text *text)
{
    struct source s = {.provider = p, .name = source, .text = text};
    struct import out = {.life_ms = 0};
    const char *from = bytes;
    int err = check_text(source, from, len, text);
    if (err != 0) {
        return err;
    }
    const char *end = from + len;
    while (end > from && isspace((unsigned char)end[-1])) {
        end--;
    }
    const char *start = from;
    while (start < end && isspace((unsigned char)*start)) {
        start++;
    }

    if (start == end) {
        err = err_say(text, ERR_INVALID, "%s: empty", source);
    } else if (*start == '{' || *start == '[') {
        err = read_json(&s, from, len, as_of_wall_ms, &out);
    } else {
        err = read_bare(&s, start, (size_t)(end - start), &out);
    }
    if (err == 0) {
        err = check_pair(&s, &out);
    }
    if (err == 0) {
        expiry_from_jwt(p, &out);
        *ret = out;
    } else {
        import_clear(&out);
    }
    return err;
}

/*
 * Formats, told by their definitions: reading a store, and changing the members that are the
 * login's.
 */
#include "replica/format.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "base/time.h"
#include "json/change.h"
#include "json/json.h"
#include "json/jwt.h"
#include "replica/format_parts.h"

#define WALL_MS_MAX    253402300799000.0 /* end of the year 9999 */
#define CHANGES_MAX    (12 + ACCOUNT_PATHS_MAX + FIXED_MAX)
#define NO_VALUE       SIZE_MAX
#define WALL_TEXT_SIZE 24

enum { FORMATS_COUNT = 4 };
static const struct format *const formats[FORMATS_COUNT] = {&format_claude, &format_codex,
                                                            &format_gemini, &format_opencode};

const struct format *format_at(unsigned i)
{
    return i < FORMATS_COUNT ? formats[i] : NULL;
}

const struct format *format_find(const char *name)
{
    const struct format *f;
    for (unsigned i = 0; (f = format_at(i)) != NULL; i++) {
        if (strcmp(f->name, name) == 0) {
            break;
        }
    }
    return f;
}

const char *format_name(const struct format *f)
{
    return f->name;
}

const char *format_folder_variable(const struct format *f)
{
    return f->folder_variable;
}

bool format_keeps_expiry(const struct format *f)
{
    return f->expires_ms != NULL;
}

void copy_init(struct copy *c)
{
    *c = (struct copy){.what = SEEN_GONE};
    buf_init_secret(&c->account, TOKENS_ACCOUNT_MAX);
}

void copy_clear(struct copy *c)
{
    tokens_clear(&c->tokens);
    buf_release(&c->account);
    copy_init(c);
}

/* NULL, for a path of NULL, too. */
static const json_t *at(const json_t *root, const char *path)
{
    return path != NULL ? json_at(root, path, strlen(path)) : NULL;
}

/* ---- reading ---- */

#define TORN(why, ...) err_say((why), ERR_INVALID, __VA_ARGS__)

/* Absent, null and empty are none. */
static int read_token(const json_t *root, const char *path, struct secret *ret,
                      struct err_text *why)
{
    const json_t *value = at(root, path);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (!json_is_string(value)) {
        return TORN(why, "%s is not a string", path);
    }
    size_t len = json_string_length(value);
    if (len > 0 && !token_is_sendable(json_string_value(value), len)) {
        return TORN(why, "%s is not a token: it has blanks, other than ASCII, or is too long",
                    path);
    }
    return secret_set(ret, json_string_value(value), len);
}

static int64_t read_wall_ms(const json_t *root, const char *path)
{
    double ms = 0;
    const json_t *value = at(root, path);
    if (value == NULL || json_read_number(value, &ms) != 0 || ms <= 0 || ms > WALL_MS_MAX) {
        return 0;
    }
    return (int64_t)ms;
}

/* Scopes have no blanks in them (RFC 6749 §3.3), so one between two is enough whatever stands
 * there. */
static int add_scopes(const char *words, char *ret, size_t size)
{
    size_t len = strlen(ret);
    for (const char *word = words + strspn(words, " "); *word != '\0';) {
        size_t more = strcspn(word, " ");
        if (len + 1 + more + 1 > size) {
            return ERR_TOO_LARGE;
        }
        if (len > 0) {
            ret[len++] = ' ';
        }
        memcpy(ret + len, word, more);
        len += more;
        ret[len] = '\0';
        word += more;
        word += strspn(word, " ");
    }
    return 0;
}

static int read_scopes(const struct format *f, const json_t *root, char *ret, size_t size,
                       struct err_text *why)
{
    const json_t *value = at(root, f->scopes);
    int err = 0;
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (json_is_string(value)) {
        err = add_scopes(json_string_value(value), ret, size);
    }
    for (size_t i = 0; err == 0 && i < json_array_size(value); i++) {
        const char *word = json_string_value(json_array_get(value, i));
        err = word != NULL ? add_scopes(word, ret, size) : ERR_INVALID;
    }
    if (err != 0 || !(json_is_string(value) || json_is_array(value))) {
        return TORN(why, "%s is not a list of scopes, or longer than %d bytes", f->scopes,
                    SCOPE_MAX - 1);
    }
    return 0;
}

static int read_account(const struct format *f, json_t *root, struct buf *ret, struct err_text *why)
{
    if (f->account[0] == NULL) {
        return 0;
    }
    json_t *found = json_object();
    bool short_of_memory = found == NULL;
    for (unsigned i = 0; !short_of_memory && f->account[i] != NULL; i++) {
        json_t *value =
            (json_t *)(uintptr_t)at(root, f->account[i]); /* it is counted, not changed */
        short_of_memory = value != NULL && json_object_set(found, f->account[i], value) != 0;
    }
    int err = short_of_memory ? ERR_NOMEM : json_add_value(found, ret);
    if (err == ERR_TOO_LARGE) {
        err = TORN(why, "what goes with the login is longer than %d bytes", TOKENS_ACCOUNT_MAX);
    }
    json_decref(found);
    return err;
}

static int read_login(const struct format *f, json_t *root, struct copy *ret, struct err_text *why)
{
    struct tokens *t = &ret->tokens;
    if (at(root, f->access) == NULL) {
        ret->what = SEEN_GONE;
        return 0;
    }
    int err = read_token(root, f->access, &t->access, why);
    err = err != 0 ? err : read_token(root, f->refresh, &t->refresh, why);
    if (err == 0 && t->access.len == 0) {
        ret->what = SEEN_BLANK;
        return t->refresh.len == 0 ? 0 : TORN(why, "%s is empty, %s is not", f->access, f->refresh);
    }
    err = err != 0 ? err : read_token(root, f->id_token, &t->id_token, why);
    err = err != 0 ? err : read_scopes(f, root, t->scope, sizeof(t->scope), why);
    err = err != 0 ? err : read_account(f, root, &ret->account, why);
    if (err != 0) {
        return err;
    }
    ret->what = SEEN_PAIR;
    ret->expires_wall_ms = read_wall_ms(root, f->expires_ms);
    ret->login_deadline_wall_ms = read_wall_ms(root, f->deadline_ms);
    if (f->expires_ms == NULL) {
        (void)jwt_expiry(t->access.bytes, t->access.len, &ret->expires_wall_ms);
    }
    return 0;
}

int format_read(const struct format *f, const char *bytes, size_t len, struct copy *ret,
                struct err_text *why)
{
    struct json_fault fault;
    copy_clear(ret);
    json_t *root = json_has_nul(bytes, len, &fault) ? NULL : json_read_object(bytes, len, &fault);
    int err = root != NULL ? read_login(f, root, ret, why)
              : fault.err == ERR_NOMEM
                  ? ERR_NOMEM
                  : TORN(why, "line %d, column %d: %s", fault.line, fault.column, fault.what);
    json_decref(root);
    if (err != 0) {
        copy_clear(ret);
        ret->what = SEEN_TORN;
    }
    return err == ERR_INVALID ? 0 : err;
}

/* ---- writing ---- */

/* Changes whose values stand one after the other in one secret buffer. */
struct changes {
    const json_t *root; /* the store as it is */
    struct buf values;
    struct {
        const char *path;
        size_t value; /* where it begins in `values`; NO_VALUE: the member goes */
    } list[CHANGES_MAX];
    size_t n;
    size_t begun; /* where the value that is being added begins */
    int err;
};

static void note(struct changes *c, const char *path, size_t value)
{
    CHECK(c->n < CHANGES_MAX);
    c->list[c->n].path = path;
    c->list[c->n++].value = value;
}

static void remove_it(struct changes *c, const char *path)
{
    if (path != NULL && at(c->root, path) != NULL) {
        note(c, path, NO_VALUE);
    }
}

static void value_add(struct changes *c, int err)
{
    c->err = c->err != 0 ? c->err : err;
}

/* What was added to `values` is the member's, unless it has that value already. */
static void value_done(struct changes *c, const char *path)
{
    size_t begun = c->begun;
    value_add(c, buf_add(&c->values, "", 1));
    c->begun = c->values.len;
    if (c->err != 0) {
        return;
    }
    const char *text = buf_text(&c->values) + begun;
    json_t *value = json_read_own(text);
    if (value == NULL) {
        c->err = ERR_NOMEM;
    } else if (!json_equal(at(c->root, path), value)) {
        note(c, path, begun);
    }
    json_decref(value);
}

static void set_string(struct changes *c, const char *path, const char *text, size_t len)
{
    value_add(c, json_add_string(text, len, &c->values));
    value_done(c, path);
}

static void set_text(struct changes *c, const char *path, const char *json)
{
    value_add(c, buf_add_str(&c->values, json));
    value_done(c, path);
}

static void set_wall_ms(struct changes *c, const char *path, int64_t wall_ms, bool is_number)
{
    value_add(c, wall_ms != 0 || is_number ? buf_addf(&c->values, "%" PRId64, wall_ms)
                                           : buf_add_str(&c->values, "null"));
    value_done(c, path);
}

static void set_scopes(struct changes *c, const struct format *f, const char *scope)
{
    if (!f->scopes_are_list) {
        set_string(c, f->scopes, scope, strlen(scope));
        return;
    }
    value_add(c, buf_add_str(&c->values, "["));
    const char *separator = "";
    for (const char *word = scope + strspn(scope, " "); *word != '\0';) {
        size_t len = strcspn(word, " ");
        value_add(c, buf_add_str(&c->values, separator));
        value_add(c, json_add_string(word, len, &c->values));
        separator = ",";
        word += len;
        word += strspn(word, " ");
    }
    value_add(c, buf_add_str(&c->values, "]"));
    value_done(c, f->scopes);
}

/* Of another login those members of the one before are wrong; else they go on being right. */
static void set_account(struct changes *c, const struct format *f, const struct copy *copy)
{
    struct json_fault fault;
    json_t *account = json_read_object(buf_text(&copy->account), copy->account.len, &fault);
    if (account == NULL) {
        c->err = fault.err;
        return;
    }
    for (unsigned i = 0; f->account[i] != NULL; i++) {
        json_t *value = json_object_get(account, f->account[i]);
        if (value == NULL) {
            remove_it(c, f->account[i]);
            continue;
        }
        value_add(c, json_add_value(value, &c->values));
        value_done(c, f->account[i]);
    }
    json_decref(account);
}

static void set_pair(struct changes *c, const struct format *f, const struct copy *copy)
{
    const struct tokens *t = &copy->tokens;
    bool is_another = copy->account.len > 0;
    set_string(c, f->access, t->access.bytes, t->access.len);
    if (t->refresh.len > 0 || f->refresh_stays_empty) {
        set_string(c, f->refresh, t->refresh.len > 0 ? t->refresh.bytes : "", t->refresh.len);
    } else {
        remove_it(c, f->refresh);
    }
    if (f->id_token != NULL && t->id_token.len > 0) {
        set_string(c, f->id_token, t->id_token.bytes, t->id_token.len);
    } else if (is_another) {
        remove_it(c, f->id_token);
    }
    if (f->expires_ms != NULL) {
        set_wall_ms(c, f->expires_ms, copy->expires_wall_ms, f->expires_is_number);
    }
    if (f->deadline_ms != NULL && copy->login_deadline_wall_ms != 0) {
        set_wall_ms(c, f->deadline_ms, copy->login_deadline_wall_ms, false);
    } else if (is_another) {
        remove_it(c, f->deadline_ms);
    }
    if (f->scopes != NULL && t->scope[0] != '\0') {
        set_scopes(c, f, t->scope);
    } else if (is_another) {
        remove_it(c, f->scopes);
    }
    if (is_another && f->account[0] != NULL) {
        set_account(c, f, copy);
    }
    for (unsigned i = 0; f->fixed[i].path != NULL; i++) {
        if (at(c->root, f->fixed[i].path) == NULL) {
            set_text(c, f->fixed[i].path, f->fixed[i].value);
        }
    }
}

static void set_written(struct changes *c, const struct format *f, int64_t now_wall_ms)
{
    char text[WALL_TEXT_SIZE];
    if (f->written == NULL || c->n == 0) {
        return;
    }
    wall_format(now_wall_ms, text, sizeof(text));
    set_string(c, f->written, text, strlen(text));
}

/* What stands in the login's place without any token is something else (an API key), and stays. */
static void set_gone(struct changes *c, const struct format *f)
{
    const char *const alone[] = {f->access, f->refresh, f->id_token, f->expires_ms, f->scopes};
    bool has_tokens = at(c->root, f->access) != NULL || at(c->root, f->refresh) != NULL;
    if (has_tokens) {
        remove_it(c, f->login);
    }
    for (size_t i = 0; f->login == NULL && i < sizeof(alone) / sizeof(*alone); i++) {
        remove_it(c, alone[i]);
    }
    for (unsigned i = 0; f->account[i] != NULL; i++) {
        remove_it(c, f->account[i]);
    }
}

static int carry_out(const struct changes *c, const char *bytes, size_t len, struct buf *out)
{
    struct json_change list[CHANGES_MAX];
    for (size_t i = 0; i < c->n; i++) {
        size_t value = c->list[i].value;
        list[i] = (struct json_change){
            .path = c->list[i].path,
            .value = value != NO_VALUE ? buf_text(&c->values) + value : NULL,
        };
    }
    return json_change(bytes, len, list, c->n, out);
}

int format_write(const struct format *f, const char *bytes, size_t len, const struct copy *copy,
                 int64_t now_wall_ms, struct buf *out, struct err_text *why)
{
    struct json_fault fault;
    struct changes c = {.n = 0};
    CHECK(copy->what == SEEN_PAIR || copy->what == SEEN_GONE);
    CHECK(copy->what == SEEN_GONE || copy->tokens.access.len > 0);
    if (len == 0) {
        bytes = "{}";
        len = 2;
    }
    json_t *root = json_read_object(bytes, len, &fault);
    if (root == NULL) {
        return err_say(why, fault.err, "line %d, column %d: %s", fault.line, fault.column,
                       fault.what);
    }
    c.root = root;
    buf_init_secret(&c.values, REPLICA_STORE_MAX);
    if (copy->what == SEEN_PAIR) {
        set_pair(&c, f, copy);
        set_written(&c, f, now_wall_ms);
    } else {
        set_gone(&c, f);
    }
    int err = c.err != 0 ? c.err : carry_out(&c, bytes, len, out);
    if (err != 0) {
        err_fill(why, "its members could not be changed: %s", err_reason(err));
    }
    buf_release(&c.values);
    json_decref(root);
    return err;
}

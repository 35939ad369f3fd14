/*
 * env: lines NAME=value, for systemd and for shells.
 *
 * The two agree on most of what such a file can hold, and not on where a value ends that goes over
 * several lines, nor on what opens one: a quote in the middle of a value, a backslash at the end of
 * a comment. So whatever one of them may take for more lines than one is kept together here, and
 * nothing is changed in it, or behind one that does not end: that is said instead.
 */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "sink/sink_parts.h"

#define NAME_SIZE 80 /* with what is put behind it */
#define USUAL     "CREDWARDEN_TOKEN"
#define USUAL_END "CREDWARDEN_EXPIRES_AT"
#define NAMED_END "_EXPIRES_AT"

/* ---- the text ---- */

struct text {
    const char *bytes;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One past the newline, or the end. */
static size_t over_line(struct text t, size_t at)
{
    const char *newline = at < t.len ? memchr(t.bytes + at, '\n', t.len - at) : NULL;
    return newline != NULL ? (size_t)(newline - t.bytes) + 1 : t.len;
}

/* A comment goes to the end of its line; after a backslash there (systemd), of the next as well. */
static size_t over_comment(struct text t, size_t at, bool *ret_open)
{
    size_t end = over_line(t, at);
    *ret_open = false;
    while (end > at) {
        size_t last = end - (t.bytes[end - 1] == '\n' ? 1 : 0);
        bool goes_on = last > at && t.bytes[last - 1] == '\\';
        *ret_open = goes_on && end == t.len;
        at = end;
        end = goes_on ? over_line(t, at) : at;
    }
    return end;
}

/* `at` is behind the quote. One past the closing one, or the end. */
static size_t over_quoted(struct text t, size_t at, char quote, bool *ret_open)
{
    for (; at < t.len && t.bytes[at] != quote; at++) {
        at += quote == '"' && t.bytes[at] == '\\' ? 1 : 0;
    }
    *ret_open = at >= t.len;
    return *ret_open ? t.len : at + 1;
}

/* Where the line ends that begins at `at`, with all lines that its value may go over; *ret_open:
 * nowhere, for it would go on behind the text. */
static size_t over_assignment(struct text t, size_t at, bool *ret_open)
{
    for (; at < t.len && is_blank(t.bytes[at]); at++) {
    }
    if (at < t.len && t.bytes[at] == ';') {
        return over_comment(t, at, ret_open);
    }
    *ret_open = false;
    for (char c = ' ', before; at < t.len;) {
        before = c;
        c = t.bytes[at];
        if (c == '#' && is_blank(before)) {
            return over_comment(t, at, ret_open);
        }
        at++;
        if (c == '\n') {
            break;
        }
        if (c == '\'' || c == '"') {
            at = over_quoted(t, at, c, ret_open);
        } else if (c == '\\') {
            at += at < t.len ? 1 : 0;
            *ret_open = at == t.len && (t.bytes[at - 1] == '\n' || t.bytes[at - 1] == '\\');
        }
    }
    return at;
}

/* Whether the line at `at` gives `name` a value; where the name stands. */
static bool assigns(struct text t, size_t at, const char *name, size_t *ret_name)
{
    static const char export[] = "export";
    size_t name_len = strlen(name);
    while (at < t.len && is_blank(t.bytes[at])) {
        at++;
    }
    size_t behind = at + sizeof(export) - 1;
    if (behind < t.len && memcmp(t.bytes + at, export, sizeof(export) - 1) == 0 &&
        is_blank(t.bytes[behind])) {
        for (at = behind; at < t.len && is_blank(t.bytes[at]); at++) {
        }
    }
    if (t.len - at <= name_len || memcmp(t.bytes + at, name, name_len) != 0) {
        return false;
    }
    *ret_name = at;
    for (at += name_len; at < t.len && is_blank(t.bytes[at]); at++) { /* systemd cuts them off */
    }
    return at < t.len && t.bytes[at] == '=';
}

static int count_lines(struct text t, size_t until)
{
    int n = 1;
    for (size_t at = 0; at < until; at++) {
        n += t.bytes[at] == '\n' ? 1 : 0;
    }
    return n;
}

/* What both take for one word, whatever is in it. Bare where nobody could mind, for there are
 * readers that know no quotes at all. */
static int add_value(const char *value, struct buf *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:@%+=,";
    size_t len = strlen(value);
    if (len > 0 && strspn(value, plain) == len) {
        return buf_add(out, value, len);
    }
    int err = buf_add_char(out, '"');
    for (; err == 0 && *value != '\0'; value++) {
        err = strchr("\"\\$`", *value) != NULL ? buf_add_char(out, '\\') : 0;
        err = err != 0 ? err : buf_add_char(out, *value);
    }
    return err != 0 ? err : buf_add_char(out, '"');
}

static int add_line(const char *name, const char *value, const char *end, struct buf *out)
{
    int err = buf_add_str(out, name);
    err = err != 0 ? err : buf_add_char(out, '=');
    err = err != 0 ? err : add_value(value, out);
    return err != 0 ? err : buf_add_str(out, end);
}

/* As the line ends that was there. */
static const char *end_of(struct text t, size_t end)
{
    bool has_newline = t.bytes[end - 1] == '\n';
    bool has_return = has_newline && end > 1 && t.bytes[end - 2] == '\r';
    return has_return ? "\r\n" : has_newline ? "\n" : "";
}

/* A line of the text, from `at` to `end`, is kept; or it is ours. */
static int take_line(struct text t, size_t at, size_t end, const char *name, const char *value,
                     bool *done, struct buf *out, struct err_text *why)
{
    size_t stands = 0;
    bool is_ours = assigns(t, at, name, &stands);
    size_t next = over_line(t, at);
    bool has_more = next < end;
    for (size_t inner = next; !is_ours && inner < end; inner = over_line(t, inner)) {
        is_ours = assigns(t, inner, name, &stands);
    }
    if (is_ours && has_more) {
        return err_say(why, ERR_INVALID,
                       "line %d: a quote or a backslash there opens a text of several lines, and "
                       "%s is in it; close it, or write them as single lines",
                       count_lines(t, at), name);
    }
    if (!is_ours) {
        return buf_add(out, t.bytes + at, end - at);
    }
    if (value == NULL || *done) {
        return 0; /* of two the later one would hold, and the first token stay in the file */
    }
    *done = true;
    int err = buf_add(out, t.bytes + at, stands - at);
    return err != 0 ? err : add_line(name, value, end_of(t, end), out);
}

int sink_env_set(const char *bytes, size_t len, const char *name, const char *value,
                 struct buf *out, struct err_text *why)
{
    struct text t = {bytes, len};
    bool done = false, open = false;
    size_t last = 0;
    int err = 0;
    for (size_t at = 0, end; err == 0 && at < len; at = end) {
        end = over_assignment(t, at, &open);
        last = at;
        err = take_line(t, at, end, name, value, &done, out, why);
    }
    if (err != 0 || value == NULL || done) {
        return err;
    }
    if (open) {
        return err_say(why, ERR_INVALID,
                       "line %d: a quote or a backslash there opens what does not end, so nothing "
                       "can be put behind it",
                       count_lines(t, last));
    }
    if (out->len > 0 && out->bytes[out->len - 1] != '\n') {
        err = buf_add_char(out, '\n');
    }
    return err != 0 ? err : add_line(name, value, "\n", out);
}

/* ---- the place ---- */

struct variables {
    char file[SINK_PATH_SIZE];
    char token[NAME_SIZE], expires_at[NAME_SIZE];
    const struct sink_values *values;
};

static bool is_name(const char *name)
{
    for (const char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_') {
            return false;
        }
    }
    return name[0] != '\0' && !isdigit((unsigned char)name[0]) &&
           strlen(name) + strlen(NAMED_END) < NAME_SIZE;
}

static int parse(const char *place, struct variables *ret, struct err_text *text)
{
    const char *hash = strrchr(place, '#');
    if (hash != NULL && !is_name(hash + 1)) {
        return err_say(text, ERR_INVALID,
                       "%.100s: the name of a variable was expected behind the #: letters, digits "
                       "and _, at most %zu",
                       hash + 1, NAME_SIZE - 1 - strlen(NAMED_END));
    }
    const char *name = hash != NULL ? hash + 1 : USUAL;
    (void)snprintf(ret->token, sizeof(ret->token), "%s", name);
    (void)snprintf(ret->expires_at, sizeof(ret->expires_at), "%s%s",
                   hash != NULL ? name : USUAL_END, hash != NULL ? NAMED_END : "");
    return sink_path(place, hash != NULL ? (size_t)(hash - place) : strlen(place), ret->file, text);
}

static int check(const char *place, struct err_text *text)
{
    struct variables v;
    return parse(place, &v, text);
}

static int set_variables(const void *ctx, const struct buf *before, struct buf *out,
                         struct err_text *why)
{
    const struct variables *v = ctx;
    char at[SINK_TIME_SIZE];
    struct buf half;
    sink_expires_at(v->values, at);
    buf_init_secret(&half, SINK_FILE_MAX);
    int err =
        sink_env_set(buf_text(before), before->len, v->token, v->values->access->bytes, &half, why);
    if (err == 0) {
        err = sink_env_set(buf_text(&half), half.len, v->expires_at, at[0] != '\0' ? at : NULL, out,
                           why);
    }
    buf_release(&half);
    return err;
}

static int put(const char *place, const struct sink_values *v, struct err_text *text)
{
    struct variables variables;
    int err = parse(place, &variables, text);
    variables.values = v;
    return err != 0 ? err : sink_change_file(variables.file, set_variables, &variables, text);
}

const struct sink_kind sink_env = {"env", check, put};

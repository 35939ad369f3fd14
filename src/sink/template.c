/*
 * template: a file that is made of another, with values filled in.
 */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "sink/sink_parts.h"
#include "sys/file.h"

#define NAME_SHOWN 32

/* ---- the text ---- */

/* RFC 6750 §2.1, b64token: it means nothing in any language that a template may be written in. */
static bool is_plain(const struct secret *token)
{
    for (size_t i = 0; i < token->len; i++) {
        if (!isalnum((unsigned char)token->bytes[i]) &&
            memchr("-._~+/=", token->bytes[i], 7) == NULL) {
            return false;
        }
    }
    return true;
}

static int add_label(const char *label, struct buf *out)
{
    int err = 0;
    for (; err == 0 && *label != '\0'; label++) {
        unsigned char c = (unsigned char)*label;
        bool stays = isalnum(c) || c >= 0x80 || strchr(" ._@+-", c) != NULL;
        err = buf_add_char(out, stays ? *label : '_');
    }
    return err;
}

static int add_value(enum sink_value value, const struct sink_values *v, struct buf *out)
{
    char at[SINK_TIME_SIZE];
    switch (value) {
    case SINK_VALUE_ACCESS:
        return buf_add(out, v->access->bytes, v->access->len);
    case SINK_VALUE_EXPIRES_AT:
        sink_expires_at(v, at);
        return buf_add_str(out, at);
    case SINK_VALUE_EXPIRES_MS:
        return buf_addf(out, "%" PRId64, v->expires_wall_ms);
    case SINK_VALUE_PROFILE:
        return buf_add_str(out, v->profile);
    case SINK_VALUE_LABEL:
        return add_label(v->label, out);
    case SINK_VALUE_COUNT:
        break;
    }
    return ERR_INVALID;
}

/* Of what else stands between braces nothing is shown: it may be anything. */
static bool is_word(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '_') {
            return false;
        }
    }
    return len > 0 && len <= NAME_SHOWN;
}

static int say_unknown(const char *name, size_t len, int line, struct err_text *why)
{
    return is_word(name, len)
               ? err_say(why, ERR_INVALID, "line %d: {{%.*s}} is not known; there are %s", line,
                         (int)len, name, SINK_VALUE_NAMES)
               : err_say(why, ERR_INVALID, "line %d: between {{ and }} stands none of %s", line,
                         SINK_VALUE_NAMES);
}

static int count_lines(const char *from, const char *to)
{
    int n = 0;
    for (; from < to; from++) {
        n += *from == '\n' ? 1 : 0;
    }
    return n;
}

/* `at` is behind the braces that open; *ret_next is behind those that close. */
static int fill_one(const char *at, const char *end, int line, const struct sink_values *v,
                    const char **ret_next, struct buf *out, struct err_text *why)
{
    enum sink_value value = SINK_VALUE_COUNT;
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    end = newline != NULL ? newline : end;
    const char *close = memmem(at, (size_t)(end - at), "}}", 2);
    if (close == NULL) {
        return err_say(why, ERR_INVALID, "line %d: no }} closes the {{ there", line);
    }
    *ret_next = close + 2;
    for (; at < close && *at == ' '; at++) {
    }
    for (; at < close && close[-1] == ' '; close--) {
    }
    size_t len = (size_t)(close - at);
    return sink_value_find(at, len, &value) != 0 ? say_unknown(at, len, line, why)
                                                 : add_value(value, v, out);
}

int sink_template_fill(const char *bytes, size_t len, const struct sink_values *v, struct buf *out,
                       struct err_text *why)
{
    const char *at = bytes, *end = bytes + len;
    int line = 1, err = 0;
    if (!is_plain(v->access)) {
        return err_say(why, ERR_INVALID,
                       "this access token has characters that are not safe to fill in");
    }
    while (err == 0 && at < end) {
        const char *open = memmem(at, (size_t)(end - at), "{{", 2);
        const char *until = open != NULL ? open : end;
        line += count_lines(at, until);
        err = buf_add(out, at, (size_t)(until - at));
        at = until;
        if (err == 0 && open != NULL) {
            err = fill_one(open + 2, end, line, v, &at, out, why);
        }
    }
    return err;
}

/* ---- the place ---- */

struct templates {
    char in[SINK_PATH_SIZE];
    char out[SINK_PATH_SIZE];
};

static int parse(const char *place, struct templates *ret, struct err_text *text)
{
    static const char *const arrows[] = {"→", "=>"};
    const char *arrow = NULL;
    size_t len = 0;
    for (size_t i = 0; i < 2 && arrow == NULL; i++) {
        arrow = strstr(place, arrows[i]);
        len = strlen(arrows[i]);
    }
    if (arrow == NULL) {
        return err_say(text, ERR_INVALID,
                       "%.200s: a template and the file to be made of it were expected, as in "
                       "/path/in=>/path/out",
                       place);
    }
    const char *out = arrow + len;
    int err = sink_path(place, (size_t)(arrow - place), ret->in, text);
    err = err != 0 ? err : sink_path(out, strlen(out), ret->out, text);
    if (err == 0 && strcmp(ret->in, ret->out) == 0) {
        err = err_say(text, ERR_INVALID, "%.200s: the template itself would be written over",
                      ret->in);
    }
    return err;
}

static int check(const char *place, struct err_text *text)
{
    struct templates t;
    return parse(place, &t, text);
}

static int replace_all(const void *ctx, const struct buf *before, struct buf *out,
                       struct err_text *why)
{
    const struct buf *made = ctx;
    (void)before;
    (void)why;
    return made->len > 0 ? buf_add(out, made->bytes, made->len) : 0;
}

/* By another name, or over a link. */
static bool are_one_file(const struct templates *t)
{
    struct file_facts in, out;
    return path_look(PATH_CWD, t->in, true, &in) == 0 &&
           path_look(PATH_CWD, t->out, true, &out) == 0 && in.dev == out.dev && in.ino == out.ino;
}

static int make(const struct templates *t, const struct sink_values *v, struct buf *out,
                struct err_text *text)
{
    struct err_text why = {""};
    struct buf in;
    buf_init_secret(&in, SINK_FILE_MAX);
    int err = file_read(t->in, true, SINK_FILE_MAX, &in, text);
    if (err == 0) {
        err = sink_template_fill(buf_text(&in), in.len, v, out, &why);
        err = err != 0 ? sink_say(err, t->in, &why, text) : 0;
    }
    buf_release(&in);
    return err;
}

static int put(const char *place, const struct sink_values *v, struct err_text *text)
{
    struct templates t;
    struct buf made;
    int err = parse(place, &t, text);
    if (err == 0 && are_one_file(&t)) {
        err =
            err_say(text, ERR_INVALID, "%.200s: the template itself would be written over", t.out);
    }
    buf_init_secret(&made, SINK_FILE_MAX);
    err = err != 0 ? err : make(&t, v, &made, text);
    err = err != 0 ? err : sink_change_file(t.out, replace_all, &made, text);
    buf_release(&made);
    return err;
}

const struct sink_kind sink_template = {"template", check, put};

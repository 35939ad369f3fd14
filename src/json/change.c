/*
 * Finding a member in a JSON text, and cutting there. jansson has read the text before, so what
 * stands here may rely on its being valid; and it reads the result, so that a mistake (a key that
 * is spelled with escapes is not found, and would stand there twice) is refused instead of written.
 */
#include "json/change.h"

#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/str.h"
#include "json/json.h"

/* Where a member stands in the text; ends are one past the last byte. */
struct member {
    size_t key, value, end;
    size_t key_end;
};

/* An object, from its brace on, and what was found in it. */
struct object {
    size_t open;           /* its brace */
    size_t first_key;      /* 0: it is empty */
    size_t last_end;       /* of its last value */
    bool found;            /* the member that was looked for … */
    struct member member;  /* … is this */
    size_t before_end;     /* the end of the value before it; 0: it is the first */
    size_t after_key;      /* the key after it; 0: it is the last */
    struct member sibling; /* any, for its style */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t over_blanks(const char *text, size_t at)
{
    while (is_blank(text[at])) {
        at++;
    }
    return at;
}

static size_t over_string(const char *text, size_t at)
{
    CHECK(text[at] == '"');
    for (at++; text[at] != '"'; at++) {
        at += text[at] == '\\' ? 1 : 0;
    }
    return at + 1;
}

static size_t over_container(const char *text, size_t at)
{
    size_t depth = 0;
    do {
        char c = text[at];
        depth += c == '{' || c == '[' ? 1 : 0;
        depth -= c == '}' || c == ']' ? 1 : 0;
        at = c == '"' ? over_string(text, at) : at + 1;
    } while (depth > 0);
    return at;
}

static size_t over_value(const char *text, size_t at)
{
    if (text[at] == '"') {
        return over_string(text, at);
    }
    if (text[at] == '{' || text[at] == '[') {
        return over_container(text, at);
    }
    return at + strcspn(text + at, ",]} \t\r\n");
}

static void note_member(struct object *o, struct member m, bool is_it)
{
    if (o->found && o->after_key == 0) {
        o->after_key = m.key;
    }
    if (is_it && !o->found) {
        o->found = true;
        o->member = m;
        o->before_end = o->last_end;
    }
    if (o->first_key == 0) {
        o->first_key = m.key;
    }
    o->sibling = m;
    o->last_end = m.end;
}

/* `at` is at the brace. */
static struct object look(const char *text, size_t at, const char *key, size_t key_len)
{
    struct object o = {.open = at};
    at = over_blanks(text, at + 1);
    while (text[at] != '}') {
        struct member m = {.key = at};
        m.key_end = over_string(text, at);
        m.value = over_blanks(text, over_blanks(text, m.key_end) + 1);
        m.end = over_value(text, m.value);
        bool is_it = m.key_end - m.key == key_len + 2 && memcmp(text + at + 1, key, key_len) == 0;
        note_member(&o, m, is_it);
        at = over_blanks(text, m.end);
        at = text[at] == ',' ? over_blanks(text, at + 1) : at;
    }
    return o;
}

/* ---- cutting ---- */

struct cut {
    const char *text;
    size_t len;
    struct buf *out;
    int err;
};

static void put(struct cut *c, const char *bytes, size_t len)
{
    if (c->err == 0 && len > 0) {
        c->err = buf_add(c->out, bytes, len);
    }
}

static void put_text(struct cut *c, size_t from, size_t to)
{
    put(c, c->text + from, to - from);
}

/* The value, in as many objects as the path goes on after `rest`. */
static void put_nested(struct cut *c, const char *rest, const char *value)
{
    size_t depth = 0;
    for (const char *dot; rest != NULL; rest = dot != NULL ? dot + 1 : NULL) {
        dot = strchr(rest, '.');
        put(c, "{\"", 2);
        put(c, rest, dot != NULL ? (size_t)(dot - rest) : strlen(rest));
        put(c, "\":", 2);
        depth++;
    }
    put(c, value, strlen(value));
    while (depth-- > 0) {
        put(c, "}", 1);
    }
}

static void put_removed(struct cut *c, const struct object *o)
{
    bool is_last = o->after_key == 0;
    size_t from = is_last && o->before_end != 0 ? o->before_end : o->member.key;
    put_text(c, 0, from);
    put_text(c, is_last ? o->member.end : o->after_key, c->len);
}

static void put_replaced(struct cut *c, const struct object *o, const char *rest, const char *value)
{
    put_text(c, 0, o->member.value);
    put_nested(c, rest, value);
    put_text(c, o->member.end, c->len);
}

static void put_appended(struct cut *c, const struct object *o, const char *key, size_t key_len,
                         const char *rest, const char *value)
{
    bool is_empty = o->first_key == 0;
    size_t at = is_empty ? o->open + 1 : o->last_end;
    put_text(c, 0, at);
    if (!is_empty) {
        put(c, ",", 1);
        put_text(c, o->open + 1, o->first_key); /* the blanks before the first */
    }
    put(c, "\"", 1);
    put(c, key, key_len);
    put(c, "\"", 1);
    if (is_empty) {
        put(c, ":", 1);
    } else {
        put_text(c, o->sibling.key_end, o->sibling.value); /* the colon, and what is around it */
    }
    put_nested(c, rest, value);
    put_text(c, at, c->len);
}

static bool is_null(const char *text, struct member m)
{
    return m.end - m.value == 4 && memcmp(text + m.value, "null", 4) == 0;
}

static int change_one(const char *text, size_t len, const struct json_change *change,
                      struct buf *out)
{
    struct cut c = {.text = text, .len = len, .out = out};
    size_t at = over_blanks(text, 0);
    for (const char *key = change->path;;) {
        const char *dot = strchr(key, '.');
        size_t key_len = dot != NULL ? (size_t)(dot - key) : strlen(key);
        const char *rest = dot != NULL ? dot + 1 : NULL;
        struct object o = look(text, at, key, key_len);
        bool ends_here = rest == NULL || !o.found || is_null(text, o.member);
        if (!ends_here) {
            if (text[o.member.value] != '{') {
                return ERR_INVALID;
            }
            at = o.member.value;
            key = rest;
            continue;
        }
        bool is_there = o.found && rest == NULL;
        if (change->value == NULL && is_there) {
            put_removed(&c, &o);
        } else if (change->value == NULL) {
            put_text(&c, 0, len);
        } else if (o.found) {
            put_replaced(&c, &o, rest, change->value);
        } else {
            put_appended(&c, &o, key, key_len, rest, change->value);
        }
        return c.err;
    }
}

static int read_it(const char *bytes, size_t len)
{
    struct json_fault fault;
    if (json_has_nul(bytes, len, &fault)) {
        return fault.err;
    }
    json_t *root = json_read_object(bytes, len, &fault);
    json_decref(root);
    return root != NULL ? 0 : fault.err;
}

int json_change(const char *bytes, size_t len, const struct json_change *changes, size_t n,
                struct buf *out)
{
    struct buf now, next;
    buf_init_secret(&now, out->max);
    buf_init_secret(&next, out->max);
    int err = read_it(bytes, len);
    if (err == 0) {
        err = buf_add(&now, bytes, len);
    }
    for (size_t i = 0; err == 0 && i < n; i++) {
        buf_clear(&next);
        err = change_one(buf_text(&now), now.len, &changes[i], &next);
        struct buf swap = now;
        now = next;
        next = swap;
    }
    if (err == 0) {
        err = read_it(buf_text(&now), now.len);
    }
    if (err == 0) {
        err = buf_add(out, now.bytes, now.len);
    }
    buf_release(&now);
    buf_release(&next);
    return err;
}

int json_add_string(const char *text, size_t len, struct buf *out)
{
    json_t *string = json_stringn(text, len);
    if (string == NULL) {
        return str_is_utf8(text, len) ? ERR_NOMEM : ERR_INVALID;
    }
    int err = json_add_value(string, out);
    json_decref(string);
    return err;
}

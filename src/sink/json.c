/*
 * json: members of somebody else's JSON file.
 */
#include <string.h>

#include "base/check.h"
#include "json/change.h"
#include "json/json.h"
#include "sink/sink_parts.h"

#define MEMBERS_MAX 16

struct mapping {
    char file[SINK_PATH_SIZE];
    char paths[SINK_PLACE_MAX]; /* one after the other, each with its NUL */
    size_t n;
    struct {
        const char *path;
        enum sink_value value;
    } members[MEMBERS_MAX];
};

/* A member's name has no dot, quote or backslash (json/change.h), and none that separates here. */
static bool is_path(const char *path)
{
    size_t len = strlen(path);
    return len > 0 && strpbrk(path, "\"\\#,=") == NULL && path[0] != '.' && path[len - 1] != '.' &&
           strstr(path, "..") == NULL;
}

/* One is the other, or is an object that the other is in. */
static bool are_at_odds(const char *a, const char *b)
{
    size_t len_a = strlen(a), len_b = strlen(b), len = len_a < len_b ? len_a : len_b;
    const char *longer = len_a < len_b ? b : a;
    return memcmp(a, b, len) == 0 && (longer[len] == '\0' || longer[len] == '.');
}

static int add_member(struct mapping *m, char *item, struct err_text *text)
{
    char *equals = strchr(item, '=');
    enum sink_value value = SINK_VALUE_COUNT;
    if (equals != NULL) {
        *equals = '\0';
    }
    if (equals == NULL || !is_path(item)) {
        return err_say(text, ERR_INVALID,
                       "%.100s: a member and its value were expected behind the #, as in "
                       "auth.token=access",
                       item);
    }
    if (sink_value_find(equals + 1, strlen(equals + 1), &value) != 0) {
        return err_say(text, ERR_INVALID,
                       "%.100s=%.40s: no such value; there are access, expires_at, expires_ms, "
                       "profile, label",
                       item, equals + 1);
    }
    if (m->n == MEMBERS_MAX) {
        return err_say(text, ERR_INVALID, "more than %d members", MEMBERS_MAX);
    }
    for (size_t i = 0; i < m->n; i++) {
        if (are_at_odds(m->members[i].path, item)) {
            return err_say(text, ERR_INVALID,
                           "%.100s and %.100s: the same member, or one in the other",
                           m->members[i].path, item);
        }
    }
    m->members[m->n].path = item;
    m->members[m->n++].value = value;
    return 0;
}

static int parse(const char *place, struct mapping *ret, struct err_text *text)
{
    const char *hash = strrchr(place, '#');
    bool has_access = false;
    ret->n = 0;
    if (hash == NULL) {
        return err_say(text, ERR_INVALID,
                       "%.200s: a file and the members in it were expected, as in "
                       "/path/app.json#auth.token=access",
                       place);
    }
    int err = sink_path(place, (size_t)(hash - place), ret->file, text);
    size_t len = strlen(hash + 1);
    CHECK(len < sizeof(ret->paths));
    memcpy(ret->paths, hash + 1, len + 1);
    for (char *item = ret->paths, *next; err == 0 && item != NULL; item = next) {
        next = strchr(item, ',');
        if (next != NULL) {
            *next++ = '\0';
        }
        err = add_member(ret, item, text);
        has_access =
            has_access || (err == 0 && ret->members[ret->n - 1].value == SINK_VALUE_ACCESS);
    }
    if (err == 0 && !has_access) {
        err = err_say(text, ERR_INVALID, "%.200s: none of the members is to be access", place);
    }
    return err;
}

static int check(const char *place, struct err_text *text)
{
    struct mapping m;
    return parse(place, &m, text);
}

struct setting {
    const struct mapping *mapping;
    const struct sink_values *values;
};

/* The values as JSON, each with its NUL; where each begins. */
static int add_values(const struct setting *s, struct buf *values, size_t begins[MEMBERS_MAX])
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < s->mapping->n; i++) {
        begins[i] = values->len;
        err = sink_add_json(s->mapping->members[i].value, s->values, values);
        err = err != 0 ? err : buf_add_char(values, '\0');
    }
    return err;
}

static int look(const char *bytes, size_t len, struct err_text *why)
{
    struct json_fault fault = {.err = 0};
    json_t *root = json_has_nul(bytes, len, &fault) ? NULL : json_read_object(bytes, len, &fault);
    json_decref(root);
    return root != NULL ? 0
                        : err_say(why, fault.err, "line %d, column %d: %s", fault.line,
                                  fault.column, fault.what);
}

static int set_members(const void *ctx, const struct buf *before, struct buf *out,
                       struct err_text *why)
{
    const struct setting *s = ctx;
    const char *bytes = before->len > 0 ? buf_text(before) : "{}\n";
    size_t begins[MEMBERS_MAX], len = before->len > 0 ? before->len : strlen(bytes);
    struct json_change changes[MEMBERS_MAX];
    struct buf values;
    int err = look(bytes, len, why);
    if (err != 0) {
        return err;
    }
    buf_init_secret(&values, SINK_FILE_MAX);
    err = add_values(s, &values, begins);
    if (err == 0) {
        for (size_t i = 0; i < s->mapping->n; i++) {
            changes[i].path = s->mapping->members[i].path;
            changes[i].value = buf_text(&values) + begins[i];
        }
        err = json_change(bytes, len, changes, s->mapping->n, out);
        if (err == ERR_INVALID) {
            err_fill(why, "its members cannot be set: what is on the way to one is no object");
        }
    } else if (err == ERR_INVALID) {
        err_fill(why, "a value is not UTF-8");
    }
    buf_release(&values);
    return err;
}

static int put(const char *place, const struct sink_values *v, struct err_text *text)
{
    struct mapping m;
    int err = parse(place, &m, text);
    struct setting s = {&m, v};
    return err != 0 ? err : sink_change_file(m.file, set_members, &s, text);
}

const struct sink_kind sink_json = {"json", check, put};

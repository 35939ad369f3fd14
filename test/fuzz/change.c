/*
 * Changes of a JSON text: what jansson reads afterwards is what it read before, with the same
 * change made to it there. The input is lines: a path, a value (empty: the member goes), the text.
 */
#include "fuzz.h"

#include "json/change.h"
#include "json/json.h"

#define TEXT_MAX 65536

/* A line, NUL-terminated, taken off `*text`. */
static char *take_line(char **text)
{
    char *line = *text;
    char *end = strchr(line, '\n');
    *text = end != NULL ? end + 1 : line + strlen(line);
    if (end != NULL) {
        *end = '\0';
    }
    return line;
}

static bool is_path(const char *path)
{
    size_t len = strlen(path);
    return len > 0 && len < 200 && strspn(path, "abcdefghijklmnopqrstuvwxyzAT.") == len &&
           path[0] != '.' && path[len - 1] != '.' && strstr(path, "..") == NULL;
}

/* Every number as a real: one that only fits as such would make reals of all of them. */
static json_t *read_text(const char *text)
{
    return json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL,
                      NULL);
}

/* false: something on the way is no object. `value` NULL: the member goes. */
static bool change_model(json_t *at, const char *path, json_t *value)
{
    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        size_t len = (size_t)(dot - path);
        json_t *next = json_object_getn(at, path, len);
        if (next == NULL || json_is_null(next)) {
            if (value == NULL) {
                return true;
            }
            next = json_object();
            CHECK(json_object_setn_new(at, path, len, next) == 0);
        }
        if (!json_is_object(next)) {
            return false;
        }
        at = next;
    }
    if (value != NULL) {
        CHECK(json_object_set(at, path, value) == 0);
    } else {
        (void)json_object_del(at, path);
    }
    return true;
}

static void compare(const char *path, const char *value, const char *text)
{
    struct json_change change = {.path = path, .value = *value != '\0' ? value : NULL};
    struct buf out;
    buf_init_secret(&out, TEXT_MAX);
    int err = json_change(text, strlen(text), &change, 1, &out);

    json_t *before = read_text(text), *after = err == 0 ? read_text(buf_text(&out)) : NULL;
    CHECK(err == 0 ? after != NULL : out.len == 0);
    if (err == 0) {
        json_t *set = change.value != NULL ? read_text(value) : NULL;
        CHECK(before != NULL && (set != NULL) == (change.value != NULL));
        CHECK(change_model(before, path, set));
        CHECK(json_equal(before, after));
        json_decref(set);
    }
    json_decref(before);
    json_decref(after);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len < TEXT_MAX / 4 ? len : TEXT_MAX / 4};
    char *text = take_text(&in), *rest = text;
    char *path = take_line(&rest), *value = take_line(&rest);
    json_t *set = read_text(value);
    if (is_path(path) && (set != NULL || *value == '\0')) {
        compare(path, value, rest);
    }
    json_decref(set);
    free(text);
    return 0;
}

/*
 * What sinks make of files that are not ours, and of the texts of places. The input is a letter,
 * and the text.
 *
 * Lines: what was put in once is put in again at the same place; all that is not ours stays, byte
 * for byte; and what is put in is found by somebody who knows nothing but lines. Templates: without
 * braces the text comes out as it was, and a token comes out as often as it was asked for.
 */
#include "fuzz.h"

#include "base/err.h"
#include "sink/sink_parts.h"

#define TEXT_MAX 65536
#define NAME     "T"

static void env_set(const struct buf *text, const char *value, struct buf *ret, int *ret_err)
{
    struct err_text why = {""};
    buf_init_secret(ret, TEXT_MAX);
    *ret_err = sink_env_set(buf_text(text), text->len, NAME, value, ret, &why);
    CHECK(*ret_err == 0 || (*ret_err == ERR_INVALID && why.text[0] != '\0'));
    CHECK(strstr(why.text, MARKER) == NULL);
}

static bool is_same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

/* How often a line of the text, after its indentation and `export`, is this one. */
static int count_lines(const struct buf *text, const char *line)
{
    int n = 0;
    size_t len = strlen(line);
    for (size_t at = 0; at + len <= text->len; at++) {
        size_t end = at + len;
        bool ends =
            end == text->len || text->bytes[end] == '\n' ||
            (text->bytes[end] == '\r' && end + 1 < text->len && text->bytes[end + 1] == '\n');
        n += ends && memcmp(text->bytes + at, line, len) == 0 ? 1 : 0;
    }
    return n;
}

static void check_lines(const struct buf *text)
{
    struct buf first, again, second, none, none_after;
    int err, err_again, err_second, err_none;
    env_set(text, "a", &first, &err);
    env_set(text, NULL, &none, &err_none);
    if (err == 0) {
        CHECK(err_none == 0 && count_lines(&first, NAME "=a") > 0);
        env_set(&first, "a", &again, &err_again);
        CHECK(err_again == 0 && is_same(&first, &again));
        buf_release(&again);

        env_set(text, "b$", &second, &err_second);
        CHECK(err_second == 0 && count_lines(&second, NAME "=\"b\\$\"") > 0);
        env_set(&first, "b$", &again, &err_again);
        CHECK(err_again == 0 && is_same(&second, &again));
        buf_release(&again);
        buf_release(&second);

        /* A newline may have been put behind the last line. */
        env_set(&first, NULL, &none_after, &err_again);
        CHECK(err_again == 0 && none_after.len >= none.len && none_after.len <= none.len + 1);
        CHECK(none.len == 0 || memcmp(none.bytes, none_after.bytes, none.len) == 0);
        buf_release(&none_after);
    }
    buf_release(&first);
    buf_release(&none);
}

static int count(const char *text, size_t len, const char *what)
{
    int n = 0;
    const char *end = text + len;
    for (; (text = memmem(text, (size_t)(end - text), what, strlen(what))) != NULL; text++) {
        n++;
    }
    return n;
}

static void check_template(const char *text, size_t len)
{
    struct secret access = {(char[]){"~" MARKER "~"}, strlen(MARKER) + 2};
    struct sink_values v = {&access, 0, "work", "\"l\""};
    struct err_text why = {""};
    struct buf out;
    buf_init_secret(&out, TEXT_MAX * 2);
    int err = sink_template_fill(text, len, &v, &out, &why);
    CHECK(err == 0 || (err == ERR_INVALID && why.text[0] != '\0') || err == ERR_TOO_LARGE);
    CHECK(strstr(why.text, MARKER) == NULL);
    int opened = count(text, len, "{{");
    if (opened == 0) {
        CHECK(err == 0 && out.len == len && (len == 0 || memcmp(out.bytes, text, len) == 0));
    }
    if (err == 0) {
        int before = count(text, len, access.bytes);
        int asked = count(text, len, "{{access_token}}");
        CHECK(count(buf_text(&out), out.len, access.bytes) >= asked + before);
    }
    buf_release(&out);
}

static void check_place(const char *kind, const char *place)
{
    struct err_text why = {""};
    int err = sink_check(kind, place, &why);
    CHECK(err == 0 || err == ERR_INVALID || err == ERR_TOO_LARGE);
    CHECK((err == 0) == (why.text[0] == '\0'));
    CHECK(err != 0 || place[0] == '/' || strcmp(kind, "exec") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len < TEXT_MAX / 8 ? len : TEXT_MAX / 8};
    uint8_t which = take_byte(&in);
    if (which == 'e') {
        struct buf text;
        buf_init(&text, TEXT_MAX);
        CHECK(in.left == 0 || buf_add(&text, in.at, in.left) == 0);
        check_lines(&text);
        buf_release(&text);
    } else if (which == 't') {
        check_template((const char *)in.at, in.left);
    } else {
        char *place = take_text(&in);
        check_place(sink_kind_at(which % 4u), place);
        free(place);
    }
    return 0;
}

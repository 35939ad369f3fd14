/*
 * The daemon's answer as the command line reads it (src/cli/response.c): where the socket cuts it
 * must make no difference, and what was read is never more than was announced. Then the other
 * direction: whatever name or value a person types, the request that is written must reach the
 * daemon's strict reader as exactly that.
 */
#include "fuzz.h"

#include "cli/request.h"
#include "cli/response.h"
#include "http/http.h"

#define BODY_MAX 300

struct reading {
    struct response r;
    struct buf body;
    int err, end;
};

static void read_answer(struct input in, bool in_pieces, struct reading *ret)
{
    struct cuts cuts = cuts_of(in.at, in.left);
    struct err_text text = {""};
    *ret = (struct reading){.err = 0};
    response_init(&ret->r);
    buf_init(&ret->body, BODY_MAX);
    while (in.left > 0 && ret->err == 0) {
        size_t piece = in_pieces ? cut_next(&cuts, in.left) : in.left;
        ret->err = response_feed(&ret->r, (const char *)in.at, piece, &ret->body, &text);
        in.at += piece;
        in.left -= piece;
    }
    CHECK(ret->err == 0 || text.text[0] != '\0');
    CHECK(ret->body.len <= BODY_MAX);
    ret->end = ret->err == 0 ? response_end(&ret->r, &text) : 0;
    CHECK(ret->end == 0 || ret->end == ERR_CLOSED);
}

static bool is_line(const char *text)
{
    for (; *text != '\0'; text++) {
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

static void check_answer(const struct reading *a, const struct reading *b)
{
    const struct response *r = &a->r, *s = &b->r;
    CHECK(a->err == b->err && a->end == b->end);
    CHECK(is_line(r->code) && is_line(r->type) && is_line(r->version));
    if (a->err != 0) {
        return;
    }
    CHECK(r->part == s->part && r->status == s->status && r->left == s->left);
    CHECK(r->head_len <= RESPONSE_HEAD_MAX && r->line_len <= RESPONSE_LINE_MAX);
    CHECK(strcmp(r->code, s->code) == 0 && strcmp(r->type, s->type) == 0);
    CHECK(strcmp(r->version, s->version) == 0);
    CHECK(a->body.len == b->body.len);
    CHECK(a->body.len == 0 || memcmp(a->body.bytes, b->body.bytes, a->body.len) == 0);
    if (a->end == 0) {
        CHECK(r->part == RESPONSE_DONE && r->status >= 200 && r->status <= 599);
        CHECK(!r->has_length || r->left == 0);
    }
}

/* The limits are kept to the byte, wherever the pieces end. */
static void check_limits(struct input in)
{
    const uint8_t *end = memmem(in.at, in.left, "\r\n\r\n", 4);
    const uint8_t *stop = end != NULL ? end + 2 : in.at;
    CHECK(stop - in.at <= RESPONSE_HEAD_MAX);
    for (const uint8_t *line = in.at; line < stop;) {
        const uint8_t *lf = memchr(line, '\n', (size_t)(stop - line));
        CHECK(lf != NULL && lf - line <= RESPONSE_LINE_MAX);
        line = lf + 1;
    }
}

static void check_value(struct http_text target, const char *key, const char *wanted)
{
    char value[REQUEST_HEAD_MAX];
    int err = http_query_get(target, key, value, sizeof(value));
    /* What is no text at all is refused there; nothing turns into something else. */
    CHECK(err == ERR_INVALID || (err == 0 && strcmp(value, wanted) == 0));
}

static void check_request(const char *text)
{
    struct buf out;
    struct http_head head;
    struct request request = {.method = "POST",
                              .path = "/v1/profiles/{name}/policy",
                              .name = text,
                              .query = {{"to", text}, {"timeout", NULL}, {"limit", text}},
                              .accept = "application/json"};
    buf_init(&out, REQUEST_HEAD_MAX);
    if (request_write(&request, &out) == 0) {
        int got = http_parse_head(buf_text(&out), out.len, REQUEST_HEAD_MAX, &head);
        CHECK(got > 0 && (size_t)got == out.len);
        CHECK(head.content_length == 0 && !head.chunked && !head.keep_alive);
        CHECK(memchr(head.target.at, '/', head.target.len) == head.target.at);
        size_t slashes = 0;
        for (size_t i = 0; i < head.target.len; i++) {
            slashes += head.target.at[i] == '/';
        }
        CHECK(slashes == 4); /* a name stays one segment */
        check_value(head.target, "to", text);
        check_value(head.target, "limit", text);
    } else {
        CHECK(strlen(text) > 1000);
    }
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len};
    static struct reading whole, pieces;
    read_answer(in, false, &whole);
    read_answer(in, true, &pieces);
    check_answer(&whole, &pieces);
    if (whole.err == 0) {
        check_limits(in);
    }
    buf_release(&whole.body);
    buf_release(&pieces.body);

    char *text = take_text(&in);
    check_request(text);
    free(text);
    return 0;
}

/*
 * A request's head, body and target (src/http). What matters here is that no two readers disagree:
 * the head of a message must not depend on where the network cut it, a fault once told must stand,
 * and the body must be what a second, simpler reader makes of the same bytes.
 */
#include "fuzz.h"

#include "http/http.h"

#define HEAD_MAX  4096
#define TIGHT_MAX 96 /* so that short inputs meet the limit too */
#define BODY_MAX  600

static bool lies_in(struct http_text t, const char *bytes, size_t len)
{
    return t.at >= bytes && t.len <= len && t.at + t.len <= bytes + len;
}

static bool has_bytes_of_lines(struct http_text t)
{
    return memchr(t.at, '\r', t.len) != NULL || memchr(t.at, '\n', t.len) != NULL ||
           memchr(t.at, '\0', t.len) != NULL;
}

static size_t count(const struct http_head *h, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_headers; i++) {
        n += http_text_is(h->headers[i].name, name);
    }
    return n;
}

static void check_head(const struct http_head *h, const char *bytes, size_t len)
{
    CHECK(len >= 4 && memcmp(bytes + len - 4, "\r\n\r\n", 4) == 0);
    CHECK(memmem(bytes, len, "\r\n\r\n", 4) == bytes + len - 4);
    CHECK(lies_in(h->method, bytes, len) && lies_in(h->target, bytes, len));
    CHECK(h->method.len > 0 && h->target.len > 0 && h->target.at[0] == '/');
    CHECK(h->n_headers <= HTTP_HEADERS_MAX);
    for (size_t i = 0; i < h->n_headers; i++) {
        const struct http_header *header = &h->headers[i];
        CHECK(lies_in(header->name, bytes, len) && lies_in(header->value, bytes, len));
        CHECK(header->name.len > 0 && !has_bytes_of_lines(header->name));
        CHECK(!has_bytes_of_lines(header->value));
    }
    CHECK(count(h, "host") == 1);
    CHECK(count(h, "content-length") == (h->content_length >= 0));
    CHECK(count(h, "transfer-encoding") == h->chunked);
    CHECK(!(h->chunked && h->content_length >= 0));
}

/* Written out again from what was understood, it must be understood as the same. */
static void check_written_again(const struct http_head *h)
{
    struct buf out;
    struct http_head again;
    buf_init(&out, (size_t)4 * HEAD_MAX);
    CHECK(buf_addf(&out, "%.*s %.*s HTTP/1.1\r\n", (int)h->method.len, h->method.at,
                   (int)h->target.len, h->target.at) == 0);
    for (size_t i = 0; i < h->n_headers; i++) {
        const struct http_header *header = &h->headers[i];
        CHECK(buf_addf(&out, "%.*s: %.*s\r\n", (int)header->name.len, header->name.at,
                       (int)header->value.len, header->value.at) == 0);
    }
    CHECK(buf_add_str(&out, "\r\n") == 0);
    int got = http_parse_head((const char *)out.bytes, out.len, out.max, &again);
    CHECK(got > 0 && (size_t)got == out.len);
    CHECK(again.n_headers == h->n_headers && again.content_length == h->content_length);
    CHECK(again.chunked == h->chunked && again.keep_alive == h->keep_alive);
    CHECK(again.expect_continue == h->expect_continue);
    buf_release(&out);
}

static int parse_head(const char *bytes, size_t len, size_t max, struct http_head *ret)
{
    taint(ret, sizeof(*ret));
    int got = http_parse_head(bytes, len, max, ret);
    CHECK(got > -(int)HTTP_FAULT_COUNT && got <= (int)(len < max ? len : max));
    if (got <= 0) {
        CHECK(is_tainted(ret, sizeof(*ret)));
    }
    if (got < 0) {
        CHECK(http_fault_text((enum http_fault) - got) != NULL);
        CHECK(http_fault_status((enum http_fault) - got) >= 400);
    }
    return got;
}

/* What is said of a beginning must be what is said of the whole, or "more is needed". */
static void check_beginnings(const char *bytes, size_t len, size_t max, int whole)
{
    struct http_head h;
    struct cuts cuts = cuts_of(bytes, len);
    for (size_t at = 0; at < len; at += len <= 80 ? 1 : cut_next(&cuts, len - at)) {
        char *begin = malloc(at + 1); /* of its own, so that reading on is seen */
        CHECK(begin != NULL);
        memcpy(begin, bytes, at);
        int got = http_parse_head(begin, at, max, &h);
        free(begin);
        CHECK(got == 0 || got == whole);
        CHECK(got != 0 || whole <= 0 || at < (size_t)whole);
    }
}

/* ---- the body ---- */

struct read {
    struct http_body body;
    struct buf payload;
    size_t used;
    int fault;
};

static void read_body(const struct http_head *h, const char *bytes, size_t len, bool in_pieces,
                      struct read *ret)
{
    struct cuts cuts = cuts_of(bytes, len);
    *ret = (struct read){.used = 0};
    buf_init(&ret->payload, BODY_MAX);
    http_body_init(&ret->body, h, BODY_MAX);
    int got = http_body_feed(&ret->body, bytes, 0, &ret->payload);
    while (got >= 0 && ret->used < len && !ret->body.done) {
        size_t piece = in_pieces ? cut_next(&cuts, len - ret->used) : len - ret->used;
        got = http_body_feed(&ret->body, bytes + ret->used, piece, &ret->payload);
        CHECK(got <= (int)piece);
        CHECK(got < 0 || (size_t)got == piece || ret->body.done);
        ret->used += got > 0 ? (size_t)got : 0;
    }
    ret->fault = got < 0 ? -got : 0;
    CHECK(ret->payload.len <= BODY_MAX);
}

/* The second reader, of a chunked body that is whole: its length, 0 if it is none. */
static size_t read_chunks(const char *bytes, size_t len, struct buf *out)
{
    for (size_t at = 0;;) {
        size_t size = 0, digits = 0;
        for (; at + digits < len && strchr("0123456789abcdefABCDEF", bytes[at + digits]) != NULL &&
               bytes[at + digits] != '\0' && digits < 8;
             digits++) {
            char digit[2] = {bytes[at + digits], '\0'};
            size = size * 16 + strtoul(digit, NULL, 16);
        }
        at += digits;
        if (digits == 0 || len - at < 2 || memcmp(bytes + at, "\r\n", 2) != 0) {
            return 0;
        }
        at += 2;
        if (size > len - at || buf_add(out, bytes + at, size) < 0) {
            return 0;
        }
        at += size;
        if (len - at < 2 || memcmp(bytes + at, "\r\n", 2) != 0) {
            return 0;
        }
        at += 2;
        if (size == 0) {
            return at;
        }
    }
}

static void check_second_reader(const struct http_head *h, const char *bytes, size_t len,
                                const struct read *r)
{
    struct buf payload;
    buf_init(&payload, BODY_MAX);
    size_t used = h->content_length > 0 ? (size_t)h->content_length : 0;
    if (h->chunked) {
        used = read_chunks(bytes, len, &payload);
    } else {
        CHECK(used <= len && buf_add(&payload, bytes, used) == 0);
    }
    CHECK(used == r->used && payload.len == r->payload.len);
    CHECK(payload.len == 0 || memcmp(payload.bytes, r->payload.bytes, payload.len) == 0);
    buf_release(&payload);
}

static void check_body(const struct http_head *h, const char *bytes, size_t len)
{
    struct read whole, pieces;
    read_body(h, bytes, len, false, &whole);
    read_body(h, bytes, len, true, &pieces);
    CHECK(whole.fault == pieces.fault && whole.body.done == pieces.body.done);
    CHECK(whole.fault != 0 || whole.used == pieces.used);
    if (whole.fault == 0) {
        CHECK(whole.payload.len == pieces.payload.len);
        CHECK(strcmp(buf_text(&whole.payload), buf_text(&pieces.payload)) == 0 ||
              memcmp(whole.payload.bytes, pieces.payload.bytes, whole.payload.len) == 0);
    }
    if (whole.fault == 0 && whole.body.done) {
        check_second_reader(h, bytes, len, &whole);
    }
    buf_release(&whole.payload);
    buf_release(&pieces.payload);
}

/* ---- the target ---- */

static void check_text(struct http_text raw)
{
    char decoded[HEAD_MAX + 1], again[HEAD_MAX + 1];
    struct buf encoded;
    if (http_percent_decode(raw, decoded, raw.len + 1) != 0) {
        CHECK(decoded[0] == '\0');
        return;
    }
    buf_init(&encoded, (size_t)3 * HEAD_MAX);
    CHECK(strlen(decoded) <= raw.len);
    CHECK(http_percent_encode(decoded, &encoded) == 0);
    struct http_text text = {buf_text(&encoded), encoded.len};
    CHECK(http_percent_decode(text, again, sizeof(again)) == 0 && strcmp(again, decoded) == 0);
    if (decoded[0] != '\0') {
        CHECK(http_percent_decode(raw, again, strlen(decoded)) != 0 && again[0] == '\0');
    }
    buf_release(&encoded);
}

static void check_target(struct http_text target)
{
    struct http_text path = http_target_path(target), rest = http_target_query(target);
    CHECK(path.len + rest.len + (path.len < target.len) == target.len);
    check_text(path);
    struct http_text key, value;
    for (size_t n = 0; http_query_next(&rest, &key, &value); n++) {
        CHECK(n < target.len && key.len + value.len < target.len);
        check_text(key);
        check_text(value);
    }
    char room[32] = "untouched";
    (void)http_query_get(target, "a", room, sizeof(room));
    CHECK(memchr(room, '\0', sizeof(room)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *text = (const char *)bytes;
    struct http_head h, tight;
    int got = parse_head(text, len, HEAD_MAX, &h);
    int got_tight = parse_head(text, len, TIGHT_MAX, &tight);
    CHECK(got_tight == got || (len >= TIGHT_MAX && got_tight == -HTTP_HEAD_TOO_LARGE));
    check_beginnings(text, len, HEAD_MAX, got);
    check_beginnings(text, len, TIGHT_MAX, got_tight);
    if (got > 0) {
        check_head(&h, text, (size_t)got);
        check_written_again(&h);
        check_target(h.target);
        check_body(&h, text + got, len - (size_t)got);
    }
    return 0;
}

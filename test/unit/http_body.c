/*
 * Bodies of both framings, whole and byte by byte, and targets with their escapes and queries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/err.h"
#include "http/http.h"

#define MAX 64

static struct http_body body_of(int64_t content_length, bool chunked, int64_t max)
{
    struct http_head h = {.content_length = content_length, .chunked = chunked};
    struct http_body b;
    http_body_init(&b, &h, max);
    return b;
}

/* Feeds in steps of `step` bytes, each in memory of exactly that size. Bytes used, or the fault. */
static int feed(struct http_body *b, const char *bytes, size_t len, size_t step, struct buf *out)
{
    size_t used = 0;
    while (used < len && !b->done) {
        size_t n = len - used < step ? len - used : step;
        char *piece = malloc(n);
        assert_non_null(piece);
        memcpy(piece, bytes + used, n);
        int got = http_body_feed(b, piece, n, out);
        free(piece);
        if (got < 0) {
            return got;
        }
        assert_true((size_t)got == n || b->done);
        used += (size_t)got;
    }
    return (int)used;
}

static const size_t steps[] = {1, 2, 3, 1000};

static void chunked_gives(const char *bytes, size_t len, const char *payload, size_t rest)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct http_body b = body_of(-1, true, MAX);
        struct buf out;
        buf_init(&out, MAX);
        assert_int_equal(feed(&b, bytes, len, steps[i], &out), (int)(len - rest));
        assert_true(b.done);
        assert_string_equal(buf_text(&out), payload);
        assert_int_equal(b.total, (int64_t)strlen(payload));
        buf_release(&out);
    }
}

static void chunked_fails(const char *bytes, size_t len, enum http_fault fault)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct http_body b = body_of(-1, true, MAX);
        struct buf out;
        buf_init(&out, 2 * MAX);
        int got = feed(&b, bytes, len, steps[i], &out);
        if (got != -(int)fault) {
            fail_msg("wanted %d, got %d for: %s", -(int)fault, got, bytes);
        }
        assert_false(b.done);
        buf_release(&out);
    }
}

#define GIVES(bytes, payload, rest) chunked_gives(bytes, sizeof(bytes) - 1, payload, rest)
#define FAILS(bytes, fault)         chunked_fails(bytes, sizeof(bytes) - 1, fault)

static void bodies_of_a_known_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct http_body b = body_of(5, false, 5);
        struct buf out;
        buf_init(&out, MAX);
        assert_false(b.done);
        assert_int_equal(feed(&b, "helloGET", 8, steps[i], &out), 5);
        assert_true(b.done);
        assert_string_equal(buf_text(&out), "hello");
        buf_release(&out);
    }
}

static void no_body_is_done_at_once(void **state)
{
    (void)state;
    assert_true(body_of(0, false, MAX).done);
    assert_true(body_of(-1, false, MAX).done);
    assert_false(body_of(-1, true, MAX).done);
}

static void too_much_is_refused_when_announced(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, MAX);
    struct http_body b = body_of(MAX + 1, false, MAX);
    assert_int_equal(http_body_feed(&b, NULL, 0, &out), -HTTP_BODY_TOO_LARGE);
    b = body_of(INT64_C(999999999999999999), false, MAX);
    assert_int_equal(http_body_feed(&b, "x", 1, &out), -HTTP_BODY_TOO_LARGE);
    b = body_of(MAX, false, MAX);
    assert_int_equal(http_body_feed(&b, NULL, 0, &out), 0);

    buf_release(&out);
    buf_init(&out, 3); /* less room than the limit allows */
    b = body_of(4, false, MAX);
    assert_int_equal(http_body_feed(&b, "abcd", 4, &out), -HTTP_BODY_TOO_LARGE);
    buf_release(&out);

    FAILS("41\r\n", HTTP_BODY_TOO_LARGE);
    FAILS("20\r\n0123456789abcdef0123456789abcdef\r\n21\r\n", HTTP_BODY_TOO_LARGE);
}

static void chunks_are_joined(void **state)
{
    (void)state;
    GIVES("0\r\n\r\n", "", 0);
    GIVES("5\r\nhello\r\n0\r\n\r\n", "hello", 0);
    GIVES("1\r\na\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\nGET ", "a01234567890123456789",
          4);
    GIVES("3\r\n\r\n0\r\n0\r\n\r\n", "\r\n0", 0);
}

static void broken_chunks_are_refused(void **state)
{
    (void)state;
    FAILS("\r\n", HTTP_BAD_CHUNK);
    FAILS("5;name=value\r\nhello\r\n", HTTP_BAD_CHUNK);
    FAILS("5;\r\nhello\r\n", HTTP_BAD_CHUNK);
    FAILS("0;\r\n\r\n", HTTP_BAD_CHUNK);
    FAILS("5 \r\nhello\r\n", HTTP_BAD_CHUNK);
    FAILS(" 5\r\nhello\r\n", HTTP_BAD_CHUNK);
    FAILS("+5\r\nhello\r\n", HTTP_BAD_CHUNK);
    FAILS("-1\r\n", HTTP_BAD_CHUNK);
    FAILS("0x5\r\nhello\r\n", HTTP_BAD_CHUNK);
    FAILS("05\r\nhello\r\n", HTTP_BAD_CHUNK);
    FAILS("00\r\n\r\n", HTTP_BAD_CHUNK);
    FAILS("g\r\n", HTTP_BAD_CHUNK);
    FAILS("5\nhello\n", HTTP_BAD_CHUNK);
    FAILS("5\r hello", HTTP_BAD_CHUNK);
    FAILS("5\r\nhello0\r\n\r\n", HTTP_BAD_CHUNK);
    FAILS("5\r\nhello\n0\r\n\r\n", HTTP_BAD_CHUNK);
    FAILS("5\r\nhello\r0\r\n\r\n", HTTP_BAD_CHUNK);
    FAILS("4\r\nhello\r\n", HTTP_BAD_CHUNK);
    FAILS("0\r\nTrailer: x\r\n\r\n", HTTP_BAD_CHUNK);
    FAILS("0\r\n\n", HTTP_BAD_CHUNK);
    FAILS("0\r\n\r\r", HTTP_BAD_CHUNK);
    FAILS("1\0\r\na\r\n", HTTP_BAD_CHUNK);
}

static void chunk_sizes_do_not_overflow(void **state)
{
    (void)state;
    FAILS("ffffffffffffffff\r\n", HTTP_BODY_TOO_LARGE);
    FAILS("10000000000000005\r\nhello\r\n", HTTP_BODY_TOO_LARGE);
    FAILS("fffffffffffffffffffffffffffffffffffffff1", HTTP_BODY_TOO_LARGE);

    struct buf out;
    buf_init(&out, MAX);
    struct http_body b = body_of(-1, true, INT64_MAX);
    static const char most[] = "7fffffffffffffff\r\nx";
    assert_int_equal(http_body_feed(&b, most, sizeof(most) - 1, &out), (int)sizeof(most) - 1);
    b = body_of(-1, true, INT64_MAX);
    assert_int_equal(http_body_feed(&b, "8000000000000000", 16, &out), -HTTP_BODY_TOO_LARGE);
    b = body_of(-1, true, INT64_MAX);
    static const char sum[] = "1\r\nx\r\n7fffffffffffffff\r\n";
    assert_int_equal(http_body_feed(&b, sum, sizeof(sum) - 1, &out), -HTTP_BODY_TOO_LARGE);
    buf_release(&out);
}

static struct http_text text(const char *s)
{
    return (struct http_text){s, strlen(s)};
}

static void escapes_are_decoded_strictly(void **state)
{
    (void)state;
    char out[16];
    assert_int_equal(http_percent_decode(text("a%20b+c%C3%A4"), out, sizeof(out)), 0);
    assert_string_equal(out, "a b+c\xc3\xa4");
    assert_int_equal(http_percent_decode(text(""), out, sizeof(out)), 0);
    assert_string_equal(out, "");
    static const char *const bad[] = {"%",   "%4",  "%4g",       "%zz", "a%00b",
                                      "%0a", "%7f", "%ff",       "%c3", "%c0%af",
                                      "\n",  "%1b", "%ed%a0%80", "%+1", "%%41"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(out, sizeof(out), "before");
        assert_int_equal(http_percent_decode(text(bad[i]), out, sizeof(out)), ERR_INVALID);
        assert_string_equal(out, "");
    }
    assert_int_equal(http_percent_decode(text("%410123456789abcde"), out, sizeof(out)),
                     ERR_TOO_LARGE);
    assert_int_equal(http_percent_decode(text("%410123456789abcd"), out, sizeof(out)), 0);
    assert_int_equal(strlen(out), 15);
}

static void what_is_encoded_decodes_to_itself(void **state)
{
    (void)state;
    char all[256], back[256];
    size_t n = 0;
    for (char c = 0x20; c < 0x7f; c++) {
        all[n++] = c;
    }
    snprintf(all + n, sizeof(all) - n, "\xc3\xa4\xe2\x82\xac");
    struct buf out;
    buf_init(&out, 1024);
    assert_int_equal(http_percent_encode(all, &out), 0);
    assert_int_equal(http_percent_decode(text(buf_text(&out)), back, sizeof(back)), 0);
    assert_string_equal(back, all);
    buf_clear(&out);
    assert_int_equal(http_percent_encode("a/b?c&d=e%\xff", &out), 0);
    assert_string_equal(buf_text(&out), "a%2Fb%3Fc%26d%3De%25%FF");
    buf_release(&out);
    buf_init(&out, 4);
    assert_int_equal(http_percent_encode("  ", &out), ERR_TOO_LARGE);
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

static void queries_are_found_by_key(void **state)
{
    (void)state;
    struct http_text t = text("/x?a=1&bb=two%20words&c&&d=&e==?&a2=1");
    char out[16];
    assert_int_equal(http_query_get(t, "a", out, sizeof(out)), 0);
    assert_string_equal(out, "1");
    assert_int_equal(http_query_get(t, "bb", out, sizeof(out)), 0);
    assert_string_equal(out, "two words");
    assert_int_equal(http_query_get(t, "c", out, sizeof(out)), 0);
    assert_string_equal(out, "");
    assert_int_equal(http_query_get(t, "d", out, sizeof(out)), 0);
    assert_string_equal(out, "");
    assert_int_equal(http_query_get(t, "e", out, sizeof(out)), 0);
    assert_string_equal(out, "=?");
    assert_int_equal(http_query_get(t, "b", out, sizeof(out)), ERR_NOT_FOUND);
    assert_int_equal(http_query_get(t, "x", out, sizeof(out)), ERR_NOT_FOUND);
    assert_int_equal(http_query_get(text("/x"), "a", out, sizeof(out)), ERR_NOT_FOUND);
    assert_int_equal(http_query_get(text("/a=1"), "a", out, sizeof(out)), ERR_NOT_FOUND);
    assert_int_equal(http_query_get(text("/x?"), "a", out, sizeof(out)), ERR_NOT_FOUND);
    assert_int_equal(http_query_get(text("/x?a=1&a=1"), "a", out, sizeof(out)), ERR_INVALID);
    assert_int_equal(http_query_get(text("/x?a=%0a"), "a", out, sizeof(out)), ERR_INVALID);
    assert_int_equal(http_query_get(text("/x?a=0123456789abcdef"), "a", out, sizeof(out)),
                     ERR_TOO_LARGE);
}

static void queries_are_walked_pair_by_pair(void **state)
{
    (void)state;
    struct http_text rest = http_target_query(text("/p?a=1&&b"));
    struct http_text key, value;
    assert_true(http_query_next(&rest, &key, &value));
    assert_true(http_text_is(key, "a") && http_text_is(value, "1"));
    assert_true(http_query_next(&rest, &key, &value));
    assert_true(http_text_is(key, "b") && http_text_is(value, ""));
    assert_false(http_query_next(&rest, &key, &value));
    assert_true(http_text_is(http_target_path(text("/p?a?b")), "/p"));
    assert_true(http_text_is(http_target_query(text("/p?a?b")), "a?b"));
    assert_true(http_text_is(http_target_path(text("/p")), "/p"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_a_known_length),
        cmocka_unit_test(no_body_is_done_at_once),
        cmocka_unit_test(too_much_is_refused_when_announced),
        cmocka_unit_test(chunks_are_joined),
        cmocka_unit_test(broken_chunks_are_refused),
        cmocka_unit_test(chunk_sizes_do_not_overflow),
        cmocka_unit_test(escapes_are_decoded_strictly),
        cmocka_unit_test(what_is_encoded_decodes_to_itself),
        cmocka_unit_test(queries_are_found_by_key),
        cmocka_unit_test(queries_are_walked_pair_by_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

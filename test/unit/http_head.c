/*
 * The head of a request: every accepted shape, every fault, and each of them once more byte by
 * byte, because what a head means must not depend on how it was cut on the way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "http/http.h"

#define MAX 4096

struct bytes {
    const char *at;
    size_t len;
};
/* A literal with its length, so that a NUL inside counts. */
#define BYTES(s)                                                                                   \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

/* Feeds growing prefixes, each in memory of exactly its size, so that a read beyond the end is
 * caught by the sanitizers. The first verdict stands. */
static int parse_piecemeal(struct bytes b, size_t max, struct http_head *ret)
{
    for (size_t len = 0; len <= b.len; len++) {
        char *copy = malloc(len > 0 ? len : 1);
        assert_non_null(copy);
        memcpy(copy, b.at, len);
        struct http_head ignored;
        int got = http_parse_head(copy, len, max, &ignored);
        free(copy);
        if (got != 0) {
            assert_int_equal(got, got > 0 ? http_parse_head(b.at, len, max, ret) : got);
            return got;
        }
    }
    return 0;
}

static struct http_head accept_head(struct bytes b)
{
    struct http_head whole, pieces;
    int got = http_parse_head(b.at, b.len, MAX, &whole);
    if (got != (int)b.len) {
        fail_msg("refused (%d: %s): %s", got,
                 got < 0 ? http_fault_text((enum http_fault) - got) : "", b.at);
    }
    assert_int_equal(parse_piecemeal(b, MAX, &pieces), (int)b.len);
    assert_int_equal(pieces.n_headers, whole.n_headers);
    return whole;
}

static void refuse(struct bytes b, enum http_fault fault)
{
    struct http_head h;
    memset(&h, 0x5a, sizeof(h));
    struct http_head before = h;
    int got = http_parse_head(b.at, b.len, MAX, &h);
    if (got != -(int)fault) {
        fail_msg("wanted fault %d (%s), got %d: %s", fault, http_fault_text(fault), got, b.at);
    }
    assert_memory_equal(&h, &before, sizeof(h));
    assert_int_equal(parse_piecemeal(b, MAX, &h), -(int)fault);
}

static void assert_text(struct http_text t, const char *expected)
{
    assert_int_equal(t.len, strlen(expected));
    assert_memory_equal(t.at, expected, t.len);
}

static void a_plain_request_is_taken_apart(void **state)
{
    (void)state;
    struct http_head h = accept_head((struct bytes)BYTES("GET /v1/profiles?limit=5 HTTP/1.1\r\n"
                                                         "Host: localhost\r\n"
                                                         "aCCept:\t text/plain \t\r\n"
                                                         "X-Empty:\r\n"
                                                         "\r\n"));
    assert_text(h.method, "GET");
    assert_text(h.target, "/v1/profiles?limit=5");
    assert_int_equal(h.n_headers, 3);
    assert_text(http_find(&h, "Accept")->value, "text/plain");
    assert_text(http_find(&h, "x-empty")->value, "");
    assert_null(http_find(&h, "Accep"));
    assert_null(http_find(&h, "Accept-"));
    assert_true(h.keep_alive);
    assert_false(h.chunked);
    assert_false(h.expect_continue);
    assert_int_equal(h.content_length, -1);
}

static void what_follows_the_head_is_left_alone(void **state)
{
    (void)state;
    static const char two[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHo\n";
    struct http_head h;
    int got = http_parse_head(two, sizeof(two) - 1, MAX, &h);
    assert_int_equal(got, strlen("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_text(h.target, "/a");
}

#define AFTER_HOST(lines) BYTES("POST /x HTTP/1.1\r\nHost: h\r\n" lines "\r\n\r\n")

static void framing_headers_are_read(void **state)
{
    (void)state;
    struct http_head h = accept_head((struct bytes)AFTER_HOST("Content-Length: 0"));
    assert_int_equal(h.content_length, 0);
    h = accept_head((struct bytes)AFTER_HOST("content-LENGTH:10485760"));
    assert_int_equal(h.content_length, 10485760);
    h = accept_head((struct bytes)AFTER_HOST("Content-Length: 999999999999999999"));
    assert_true(h.content_length == INT64_C(999999999999999999));
    h = accept_head((struct bytes)AFTER_HOST("transfer-encoding:chunked"));
    assert_true(h.chunked);
    assert_int_equal(h.content_length, -1);
    h = accept_head((struct bytes)AFTER_HOST("Expect: 100-Continue"));
    assert_true(h.expect_continue);
}

static void connection_options_decide_about_reuse(void **state)
{
    (void)state;
    assert_true(accept_head((struct bytes)AFTER_HOST("Connection: keep-alive")).keep_alive);
    assert_true(accept_head((struct bytes)AFTER_HOST("Connection: closed")).keep_alive);
    assert_false(accept_head((struct bytes)AFTER_HOST("Connection: Close")).keep_alive);
    assert_false(accept_head((struct bytes)AFTER_HOST("Connection: te ,\tclose, x")).keep_alive);
    assert_false(
        accept_head((struct bytes)AFTER_HOST("Connection: x\r\nConnection:close")).keep_alive);
    assert_false(
        accept_head((struct bytes)AFTER_HOST("Connection: close\r\nConnection: keep-alive"))
            .keep_alive);
}

static void hosts_of_every_form_pass(void **state)
{
    (void)state;
    static const struct bytes heads[] = {
        BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nhOST: a-b.c_d~e%41\r\n\r\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        accept_head(heads[i]);
    }
}

struct bad {
    enum http_fault fault;
    struct bytes head;
};

static void refuse_all(const struct bad *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        refuse(list[i].head, list[i].fault);
    }
}

#define LINE(line) BYTES(line "\r\nHost: h\r\n\r\n")

static void broken_request_lines_are_refused(void **state)
{
    (void)state;
    static const struct bad list[] = {
        {HTTP_BAD_REQUEST_LINE, BYTES("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET /")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET  / HTTP/1.1")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET /  HTTP/1.1")},
        {HTTP_BAD_REQUEST_LINE, LINE(" GET / HTTP/1.1")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET / HTTP/1.1 ")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET\t/\tHTTP/1.1")},
        {HTTP_BAD_REQUEST_LINE, LINE("G(T / HTTP/1.1")},
        {HTTP_BAD_REQUEST_LINE, LINE("G\xc3\x84T / HTTP/1.1")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET / HTTP/1.1\0")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET /\x01 HTTP/1.1")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET / http/1.1")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET / HTTP/11")},
        {HTTP_BAD_REQUEST_LINE, LINE("GET / HTTP/1.10")},
        {HTTP_BAD_REQUEST_LINE, BYTES("\x16\x03\x01\x02")}, /* TLS on a plain port */
        {HTTP_BAD_VERSION, LINE("GET / HTTP/1.0")},
        {HTTP_BAD_VERSION, LINE("GET / HTTP/0.9")},
        {HTTP_BAD_VERSION, LINE("PRI * HTTP/2.0")},
    };
    refuse_all(list, ARRAY_LEN(list));
}

static void targets_of_other_forms_are_refused(void **state)
{
    (void)state;
    static const struct bad list[] = {
        {HTTP_BAD_TARGET, LINE("GET http://h/ HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET //h/x HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("OPTIONS * HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("CONNECT h:443 HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("CONNECT /h HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET v1/status HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /a#b HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /a\"b HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /a\\b HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /a|b HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /?a[]=1 HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /\xc3\xa4 HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /% HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /%4 HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /%4g HTTP/1.1")},
        {HTTP_BAD_TARGET, LINE("GET /%-1 HTTP/1.1")},
    };
    refuse_all(list, ARRAY_LEN(list));
    accept_head((struct bytes)LINE("GET /%4a%FF/-._~!$&'()*+,;=:@?a=b/?c HTTP/1.1"));
    accept_head((struct bytes)LINE("GET / HTTP/1.1"));
}

static void lines_end_with_cr_lf_and_nothing_else(void **state)
{
    (void)state;
    static const struct bad list[] = {
        {HTTP_BARE_LF, BYTES("GET / HTTP/1.1\nHost: h\n\n")},
        {HTTP_BARE_LF, BYTES("GET / HTTP/1.1\r\nHost: h\n\r\n")},
        {HTTP_BARE_LF, BYTES("GET / HTTP/1.1\r\nHost: h\r\n\n")},
        {HTTP_BARE_LF,
         BYTES("GET / HTTP/1.1\r\nHost: h\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n")},
        {HTTP_BARE_CR, BYTES("GET / HTTP/1.1\rHost: h\r\r")},
        {HTTP_BARE_CR, BYTES("GET / HTTP/1.1\r\nHost: h\r\nX: a\rY: b\r\n\r\n")},
        {HTTP_BARE_CR, BYTES("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\r\n\r\n")},
        {HTTP_BARE_CR, BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\r\n")},
        {HTTP_BARE_CR, BYTES("GET / HTTP/1.1\r\nHost: h\r\n\rX: y\r\n\r\n")},
    };
    refuse_all(list, ARRAY_LEN(list));
}

static void folded_and_misspelt_headers_are_refused(void **state)
{
    (void)state;
    static const struct bad list[] = {
        {HTTP_OBS_FOLD, AFTER_HOST("X: a\r\n b")},
        {HTTP_OBS_FOLD, AFTER_HOST("X: a\r\n\tb")},
        {HTTP_OBS_FOLD, AFTER_HOST("X: a\r\n ")},
        {HTTP_OBS_FOLD, BYTES("GET / HTTP/1.1\r\n Host: h\r\n\r\n")},
        {HTTP_BAD_HEADER_NAME, AFTER_HOST("X : a")},
        {HTTP_BAD_HEADER_NAME, AFTER_HOST("Content-Length : 5")},
        {HTTP_BAD_HEADER_NAME, AFTER_HOST("Transfer-Encoding\t: chunked")},
        {HTTP_BAD_HEADER_NAME, AFTER_HOST(": a")},
        {HTTP_BAD_HEADER_NAME, AFTER_HOST("no colon")},
        {HTTP_BAD_HEADER_NAME, AFTER_HOST("X(a): b")},
        {HTTP_BAD_HEADER_NAME, AFTER_HOST("\xc3\xa4: b")},
        {HTTP_BAD_HEADER_VALUE, AFTER_HOST("X: a\0b")},
        {HTTP_BAD_HEADER_VALUE, AFTER_HOST("X: \x1b[2J")},
        {HTTP_BAD_HEADER_VALUE, AFTER_HOST("X: a\x7f")},
        {HTTP_BAD_HEADER_VALUE, AFTER_HOST("X\0: a")},
        {HTTP_BAD_HEADER_VALUE, AFTER_HOST("Connection: clo se")},
        {HTTP_BAD_HEADER_VALUE, BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")},
        {HTTP_BAD_HEADER_VALUE, BYTES("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n")},
        {HTTP_BAD_HEADER_VALUE, BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")},
        {HTTP_BAD_HEADER_VALUE, BYTES("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n")},
        {HTTP_NO_HOST, BYTES("GET / HTTP/1.1\r\n\r\n")},
        {HTTP_NO_HOST, BYTES("GET / HTTP/1.1\r\nX-Host: h\r\n\r\n")},
        {HTTP_TWO_HOSTS, AFTER_HOST("Host: other")},
        {HTTP_TWO_HOSTS, AFTER_HOST("hOsT: h")},
        {HTTP_BAD_EXPECT, AFTER_HOST("Expect: 200-maybe")},
        {HTTP_BAD_EXPECT, AFTER_HOST("Expect:")},
        {HTTP_BAD_EXPECT, AFTER_HOST("Expect: 100-continue\r\nExpect: 100-continue")},
    };
    refuse_all(list, ARRAY_LEN(list));
    accept_head((struct bytes)AFTER_HOST("X: caf\xc3\xa9 \xff"));
}

static void what_smuggles_requests_is_refused(void **state)
{
    (void)state;
    static const struct bad list[] = {
        {HTTP_LENGTH_AND_CHUNKED, AFTER_HOST("Content-Length: 5\r\nTransfer-Encoding: chunked")},
        {HTTP_LENGTH_AND_CHUNKED, AFTER_HOST("Transfer-Encoding: chunked\r\nContent-Length: 0")},
        {HTTP_TWO_CONTENT_LENGTHS, AFTER_HOST("Content-Length: 5\r\nContent-Length: 5")},
        {HTTP_TWO_CONTENT_LENGTHS, AFTER_HOST("Content-Length: 5\r\nX: y\r\ncontent-length: 6")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: 5, 5")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: +5")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: -1")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: 05")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: 00")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: 0x10")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: 5 5")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: 5.0")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length:")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: 1000000000000000000")},
        {HTTP_BAD_CONTENT_LENGTH, AFTER_HOST("Content-Length: 18446744073709551621")},
        {HTTP_BAD_TRANSFER_ENCODING, AFTER_HOST("Transfer-Encoding: Chunked")},
        {HTTP_BAD_TRANSFER_ENCODING, AFTER_HOST("Transfer-Encoding: xchunked")},
        {HTTP_BAD_TRANSFER_ENCODING, AFTER_HOST("Transfer-Encoding: chunked, identity")},
        {HTTP_BAD_TRANSFER_ENCODING, AFTER_HOST("Transfer-Encoding: gzip, chunked")},
        {HTTP_BAD_TRANSFER_ENCODING, AFTER_HOST("Transfer-Encoding: chunked;q=1")},
        {HTTP_BAD_TRANSFER_ENCODING, AFTER_HOST("Transfer-Encoding: \"chunked\"")},
        {HTTP_BAD_TRANSFER_ENCODING, AFTER_HOST("Transfer-Encoding: identity")},
        {HTTP_BAD_TRANSFER_ENCODING, AFTER_HOST("Transfer-Encoding:")},
        {HTTP_BAD_TRANSFER_ENCODING,
         AFTER_HOST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")},
        {HTTP_BAD_HEADER_VALUE, AFTER_HOST("Transfer-Encoding: \x0b"
                                           "chunked")},
    };
    refuse_all(list, ARRAY_LEN(list));
}

static void heads_have_limits(void **state)
{
    (void)state;
    static const char head[] = "GET / HTTP/1.1\r\nHost: h\r\nX: 0123456789\r\n\r\n";
    struct bytes b = BYTES(head);
    struct http_head h;
    assert_int_equal(http_parse_head(b.at, b.len, b.len, &h), (int)b.len);
    assert_int_equal(http_parse_head(b.at, b.len, b.len - 1, &h), -HTTP_HEAD_TOO_LARGE);
    assert_int_equal(http_parse_head(b.at, b.len - 1, b.len - 1, &h), -HTTP_HEAD_TOO_LARGE);
    assert_int_equal(http_parse_head(b.at, b.len - 1, b.len, &h), 0);
    assert_int_equal(parse_piecemeal(b, 20, &h), -HTTP_HEAD_TOO_LARGE);
    assert_int_equal(http_parse_head("", 0, MAX, &h), 0);

    char many[MAX];
    for (int n = HTTP_HEADERS_MAX - 1; n <= HTTP_HEADERS_MAX; n++) {
        size_t len = (size_t)snprintf(many, sizeof(many), "GET / HTTP/1.1\r\nHost: h\r\n");
        for (int i = 0; i < n; i++) {
            len += (size_t)snprintf(many + len, sizeof(many) - len, "X-%d: y\r\n", i);
        }
        len += (size_t)snprintf(many + len, sizeof(many) - len, "\r\n");
        int expected = n < HTTP_HEADERS_MAX ? (int)len : -HTTP_TOO_MANY_HEADERS;
        assert_int_equal(http_parse_head(many, len, MAX, &h), expected);
    }
}

static void every_fault_has_words_and_a_status(void **state)
{
    (void)state;
    for (int f = HTTP_OK + 1; f < HTTP_FAULT_COUNT; f++) {
        const char *text = http_fault_text((enum http_fault)f);
        assert_non_null(text);
        assert_int_equal(text[strlen(text) - 1], '.');
        int status = http_fault_status((enum http_fault)f);
        assert_true(status >= 400 && status <= 505);
    }
    assert_int_equal(http_fault_status(HTTP_BAD_VERSION), 505);
    assert_int_equal(http_fault_status(HTTP_HEAD_TOO_LARGE), 431);
    assert_int_equal(http_fault_status(HTTP_BODY_TOO_LARGE), 413);
    assert_int_equal(http_fault_status(HTTP_BAD_EXPECT), 417);
}

/* Any one byte of a good head changed to any other: never a crash, never a read beyond the end,
 * and never two answers for one head. */
static void no_single_changed_byte_confuses(void **state)
{
    (void)state;
    static const char good[] = "PUT /a%20b?c=d HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n"
                               "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    struct bytes b = BYTES(good);
    char *copy = malloc(b.len);
    assert_non_null(copy);
    int refused = 0;
    for (size_t at = 0; at < b.len; at++) {
        for (int value = 0; value < 256; value++) {
            memcpy(copy, b.at, b.len);
            copy[at] = (char)value;
            struct http_head h;
            int got = http_parse_head(copy, b.len, MAX, &h);
            assert_true(got >= -(int)HTTP_FAULT_COUNT && got <= (int)b.len);
            refused += got < 0;
        }
    }
    free(copy);
    assert_true(refused > (int)b.len * 40); /* at least the control bytes, at every place */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_request_is_taken_apart),
        cmocka_unit_test(what_follows_the_head_is_left_alone),
        cmocka_unit_test(framing_headers_are_read),
        cmocka_unit_test(connection_options_decide_about_reuse),
        cmocka_unit_test(hosts_of_every_form_pass),
        cmocka_unit_test(broken_request_lines_are_refused),
        cmocka_unit_test(targets_of_other_forms_are_refused),
        cmocka_unit_test(lines_end_with_cr_lf_and_nothing_else),
        cmocka_unit_test(folded_and_misspelt_headers_are_refused),
        cmocka_unit_test(what_smuggles_requests_is_refused),
        cmocka_unit_test(heads_have_limits),
        cmocka_unit_test(every_fault_has_words_and_a_status),
        cmocka_unit_test(no_single_changed_byte_confuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

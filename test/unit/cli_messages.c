/* What goes over the socket (cli/request.h, cli/response.h): encoding, and answers that are torn,
 * split at every byte, or hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/check.h"
#include "cli/request.h"
#include "cli/response.h"

/* ---- requests ---- */

static void every_reserved_character_is_encoded(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(percent_encode(&b, "aZ09-._~"), 0);
    assert_int_equal(percent_encode(&b, " /?&=+%#\r\n\x7fü"), 0);
    assert_string_equal(buf_text(&b), "aZ09-._~%20%2F%3F%26%3D%2B%25%23%0D%0A%7F%C3%BC");
    buf_release(&b);

    buf_init(&b, 5);
    assert_int_equal(percent_encode(&b, "ab cd"), ERR_TOO_LARGE);
    buf_release(&b);
}

static void a_request_is_exactly_this(void **state)
{
    (void)state;
    const struct request r = {
        .method = "GET",
        .path = "/v1/profiles/{name}/token",
        .name = "a@b+c",
        .query = {{"min_ttl", "10m"}, {"left_out", NULL}, {"timeout", "1 s"}},
        .accept = "text/plain",
    };
    struct buf b;
    buf_init(&b, REQUEST_HEAD_MAX);
    assert_int_equal(request_write(&r, &b), 0);
    assert_string_equal(buf_text(&b),
                        "GET /v1/profiles/a%40b%2Bc/token?min_ttl=10m&timeout=1%20s HTTP/1.1\r\n"
                        "Host: credwarden\r\n"
                        "User-Agent: credwarden/" CREDWARDEN_VERSION "\r\n"
                        "Accept: text/plain\r\n"
                        "Connection: close\r\n\r\n");
    buf_release(&b);
}

static void a_body_is_announced_and_a_post_without_one_too(void **state)
{
    (void)state;
    struct request r = {.method = "POST", .path = "/v1/x", .accept = "*/*"};
    struct buf b;
    buf_init(&b, REQUEST_HEAD_MAX);
    assert_int_equal(request_write(&r, &b), 0);
    assert_non_null(strstr(buf_text(&b), "Content-Length: 0\r\n"));
    assert_null(strstr(buf_text(&b), "Content-Type"));
    buf_clear(&b);
    r.body = "hello";
    r.body_len = 5;
    assert_int_equal(request_write(&r, &b), 0);
    assert_non_null(strstr(buf_text(&b), "Content-Length: 5\r\n"));
    assert_non_null(strstr(buf_text(&b), "Content-Type: application/octet-stream\r\n"));
    buf_release(&b);
}

static void a_request_has_a_limit(void **state)
{
    (void)state;
    char endless[REQUEST_HEAD_MAX];
    memset(endless, 'a', sizeof(endless));
    endless[sizeof(endless) - 1] = '\0';
    const struct request r = {
        .method = "POST", .path = "/v1/x", .query = {{"to", endless}}, .accept = "*/*"};
    struct buf b;
    buf_init(&b, REQUEST_HEAD_MAX);
    assert_int_equal(request_write(&r, &b), ERR_TOO_LARGE);
    buf_release(&b);
}

/* ---- answers ---- */

struct fed {
    struct response response;
    struct buf body;
    struct err_text text;
    int err;
};

/* The bytes in pieces of `step`, then the end of the connection. */
static void feed(struct fed *f, const char *bytes, size_t len, size_t step)
{
    response_init(&f->response);
    buf_init(&f->body, 64);
    f->err = 0;
    f->text.text[0] = '\0';
    for (size_t at = 0; at < len && f->err == 0; at += step) {
        size_t part = len - at < step ? len - at : step;
        char piece[64 * 1024]; /* exact, so that reading beyond it is seen */
        CHECK(part <= sizeof(piece));
        memcpy(piece, bytes + at, part);
        f->err = response_feed(&f->response, piece, part, &f->body, &f->text);
    }
    if (f->err == 0) {
        f->err = response_end(&f->response, &f->text);
    }
}

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCredwarden-Version: 1.2.3\r\n"

/* However the bytes are split. */
static void means(const char *bytes, const char *body)
{
    for (size_t step = 1; step <= strlen(bytes); step++) {
        struct fed f;
        feed(&f, bytes, strlen(bytes), step);
        if (f.err != 0) {
            fail_msg("in pieces of %zu: %s", step, f.text.text);
        }
        assert_int_equal(f.response.status, 200);
        assert_string_equal(f.response.type, "text/plain");
        assert_string_equal(f.response.version, "1.2.3");
        assert_string_equal(f.response.code, "");
        assert_string_equal(buf_text(&f.body), body);
        buf_release(&f.body);
    }
}

static void a_counted_body(void **state)
{
    (void)state;
    means(HEAD "Content-Length: 6\r\n\r\nhello\n", "hello\n");
    means(HEAD "content-length:  0 \r\n\r\n", "");
}

static void a_chunked_body(void **state)
{
    (void)state;
    means(HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00A\r\n, there\r\n.\r\n0\r\n\r\n",
          "hello, there\r\n.");
}

static void an_answer_does_not_end_with_the_connection(void **state)
{
    (void)state;
    struct fed f;
    const char *bytes = HEAD "\r\ntok";
    feed(&f, bytes, strlen(bytes), 7);
    assert_int_equal(f.err, ERR_INVALID);
    buf_release(&f.body);
}

static void what_went_wrong_is_read_from_the_head(void **state)
{
    (void)state;
    const char *bytes = "HTTP/1.1 409 Conflict\r\nCREDWARDEN-CODE: sign-in-needed\r\n"
                        "Content-Length: 4\r\n\r\ndead";
    struct fed f;
    feed(&f, bytes, strlen(bytes), 5);
    assert_int_equal(f.err, 0);
    assert_int_equal(f.response.status, 409);
    assert_string_equal(f.response.code, "sign-in-needed");
    buf_release(&f.body);
}

static void an_answer_torn_anywhere_is_no_answer(void **state)
{
    (void)state;
    static const char *const whole[] = {
        HEAD "Content-Length: 6\r\n\r\nhello\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        for (size_t len = 0; len < strlen(whole[i]); len++) {
            struct fed f;
            feed(&f, whole[i], len, 16);
            if (f.err != ERR_CLOSED) {
                fail_msg("torn at %zu: %s", len, err_name(f.err));
            }
            assert_non_null(strstr(f.text.text, len == 0 ? "before it answered" : "breaks off"));
            buf_release(&f.body);
        }
    }
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 999 Odd\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        "HTTP/1.1 200 OK\r\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        HEAD "no colon\r\n\r\n",
        HEAD ": no name\r\n\r\n",
        HEAD "Name : blank before the colon\r\n\r\n",
        HEAD " folded: line\r\n\r\n",
        HEAD "Bell: \a\r\n\r\n",
        HEAD "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        HEAD "Content-Length: -1\r\n\r\n",
        HEAD "Content-Length: 0x1\r\n\r\nx",
        HEAD "Content-Length: 1,1\r\n\r\nx",
        HEAD "Content-Length: \r\n\r\n",
        HEAD "Content-Length: 99999999999999999999\r\n\r\n",
        HEAD "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\nz\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n1;name=value\r\nx\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n000000001\r\nx\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: 1\r\n\r\n",
        HEAD "Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        HEAD "Content-Length: 0\r\n\r\n\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        for (size_t step = 1; step <= strlen(hostile[i]); step += 6) {
            struct fed f;
            feed(&f, hostile[i], strlen(hostile[i]), step);
            if (f.err != ERR_INVALID) {
                fail_msg("row %zu in pieces of %zu: %s", i, step, err_name(f.err));
            }
            buf_release(&f.body);
        }
    }
    struct fed f;
    feed(&f, "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", 28, 28);
    assert_int_equal(f.err, ERR_INVALID);
    buf_release(&f.body);
}

static void every_part_has_a_limit(void **state)
{
    (void)state;
    static char bytes[RESPONSE_HEAD_MAX * 2];
    struct fed f;
    memset(bytes, 'a', sizeof(bytes));
    feed(&f, bytes, sizeof(bytes), 1000); /* a line without end */
    assert_int_equal(f.err, ERR_TOO_LARGE);
    buf_release(&f.body);

    size_t len = (size_t)snprintf(bytes, sizeof(bytes), HEAD);
    while (len < RESPONSE_HEAD_MAX) {
        len += (size_t)snprintf(bytes + len, sizeof(bytes) - len, "Again: and again\r\n");
    }
    feed(&f, bytes, len, 1000); /* headers without end */
    assert_int_equal(f.err, ERR_TOO_LARGE);
    buf_release(&f.body);

    const char *large = HEAD "Content-Length: 65\r\n\r\n";
    len = (size_t)snprintf(bytes, sizeof(bytes), "%s%065d", large, 0);
    feed(&f, bytes, len, 1000); /* one byte beyond the caller's maximum */
    assert_int_equal(f.err, ERR_TOO_LARGE);
    assert_non_null(strstr(f.text.text, "64 bytes"));
    buf_release(&f.body);

    len = (size_t)snprintf(bytes, sizeof(bytes),
                           "HTTP/1.1 200 OK\r\nCredwarden-Version: %0100d\r\n\r\n", 1);
    feed(&f, bytes, len, 1000);
    assert_int_equal(f.err, ERR_INVALID);
    buf_release(&f.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reserved_character_is_encoded),
        cmocka_unit_test(a_request_is_exactly_this),
        cmocka_unit_test(a_body_is_announced_and_a_post_without_one_too),
        cmocka_unit_test(a_request_has_a_limit),
        cmocka_unit_test(a_counted_body),
        cmocka_unit_test(a_chunked_body),
        cmocka_unit_test(an_answer_does_not_end_with_the_connection),
        cmocka_unit_test(what_went_wrong_is_read_from_the_head),
        cmocka_unit_test(an_answer_torn_anywhere_is_no_answer),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(every_part_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

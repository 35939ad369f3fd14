/*
 * Records and the token record: torn at every byte, bent in every field.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/record.h"
#include "base/tokens.h"

static void what_is_put_is_got(void **state)
{
    (void)state;
    struct buf b;
    struct secret s = {0};
    struct secret none = {0};
    buf_init_secret(&b, 1000);
    assert_int_equal(secret_set(&s, "made\0up", 7), 0);
    assert_int_equal(record_put_str(&b, 1, "text"), 0);
    assert_int_equal(record_put_str(&b, 2, NULL), 0);
    assert_int_equal(record_put_i64(&b, 3, INT64_MIN), 0);
    assert_int_equal(record_put_secret(&b, 4, &s), 0);
    assert_int_equal(record_put_secret(&b, 5, &none), 0);
    assert_int_equal(record_put(&b, 0xffff, "", 0), 0);

    struct record r;
    char text[8] = "before";
    int64_t n = 0;
    const uint8_t *bytes = NULL;
    size_t len = 99;
    struct secret back = {0};
    assert_int_equal(record_parse(&r, b.bytes, b.len), 0);
    assert_int_equal(r.n, 4);
    assert_int_equal(record_get_str(&r, 2, text, sizeof(text)), ERR_NOT_FOUND);
    assert_string_equal(text, "before");
    assert_int_equal(record_get_str(&r, 1, text, 4), ERR_TOO_LARGE);
    assert_string_equal(text, "before");
    assert_int_equal(record_get_str(&r, 1, text, 5), 0);
    assert_string_equal(text, "text");
    assert_int_equal(record_get_str(&r, 4, text, sizeof(text)), ERR_INVALID); /* a NUL inside */
    assert_int_equal(record_get_str(&r, 0xffff, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_int_equal(record_get_i64(&r, 3, &n), 0);
    assert_true(n == INT64_MIN);
    assert_int_equal(record_get_i64(&r, 1, &n), ERR_INVALID);
    assert_int_equal(record_get_i64(&r, 2, &n), ERR_NOT_FOUND);
    assert_int_equal(record_get_secret(&r, 4, &back), 0);
    assert_int_equal(back.len, 7);
    assert_true(secret_equal(back.bytes, "made\0up", 8));
    assert_int_equal(record_get_secret(&r, 5, &back), ERR_NOT_FOUND);
    assert_int_equal(back.len, 7);
    assert_int_equal(record_get(&r, 0xffff, &bytes, &len), 0);
    assert_int_equal(len, 0);
    secret_clear(&s);
    secret_clear(&back);
    buf_release(&b);
}

static void the_layout_is_fixed(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0x02, 0x01, 8,    0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 3, 0, 2, 0,    0,    0,    'h',  'i'};
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(record_put_i64(&b, 0x0102, -2), 0);
    assert_int_equal(record_put_str(&b, 3, "hi"), 0);
    assert_int_equal(b.len, sizeof(expected));
    assert_memory_equal(b.bytes, expected, sizeof(expected));
    buf_release(&b);
}

static void a_torn_record_is_refused_unless_cut_between_fields(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    size_t ends[4] = {0};
    for (uint16_t tag = 1; tag <= 3; tag++) {
        assert_int_equal(record_put(&b, tag, "0123456789", tag * 3u), 0);
        ends[tag] = b.len;
    }
    for (size_t len = 0; len <= b.len; len++) {
        bool is_whole = len == ends[0] || len == ends[1] || len == ends[2] || len == ends[3];
        uint8_t *exact = malloc(len + 1); /* so that the sanitizer sees a read beyond it */
        memcpy(exact, b.bytes, len);
        exact = realloc(exact, len > 0 ? len : 1);
        struct record r;
        assert_int_equal(record_parse(&r, exact, len), is_whole ? 0 : ERR_INVALID);
        if (!is_whole) {
            assert_int_equal(r.n, 0);
        }
        free(exact);
    }
    buf_release(&b);
}

static void lies_about_length_and_repeated_tags_are_refused(void **state)
{
    (void)state;
    static const uint8_t endless[] = {1, 0, 0xff, 0xff, 0xff, 0xff, 'x'};
    static const uint8_t one_more[] = {1, 0, 2, 0, 0, 0, 'x'};
    static const uint8_t twice[] = {1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0};
    struct record r;
    assert_int_equal(record_parse(&r, endless, sizeof(endless)), ERR_INVALID);
    assert_int_equal(record_parse(&r, one_more, sizeof(one_more)), ERR_INVALID);
    assert_int_equal(record_parse(&r, twice, sizeof(twice)), ERR_INVALID);
    assert_int_equal(record_parse(&r, NULL, 0), 0);
}

static void fields_are_counted(void **state)
{
    (void)state;
    struct buf b;
    struct record r;
    buf_init(&b, 1000);
    for (uint16_t tag = 0; tag < RECORD_FIELDS_MAX; tag++) {
        assert_int_equal(record_put(&b, tag, "", 0), 0);
    }
    assert_int_equal(record_parse(&r, b.bytes, b.len), 0);
    assert_int_equal(r.n, RECORD_FIELDS_MAX);
    assert_int_equal(record_put(&b, RECORD_FIELDS_MAX, "", 0), 0);
    assert_int_equal(record_parse(&r, b.bytes, b.len), ERR_INVALID);
    buf_release(&b);
}

static void a_field_that_does_not_fit_is_not_begun(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(record_put_str(&b, 1, "12345"), ERR_TOO_LARGE);
    assert_int_equal(b.len, 0);
    assert_int_equal(record_put_str(&b, 1, "1234"), 0);
    assert_int_equal(record_put(&b, 2, "", 0), ERR_TOO_LARGE);
    assert_int_equal(record_put(&b, 2, "", SIZE_MAX), ERR_TOO_LARGE);
    assert_int_equal(b.len, 10);
    buf_release(&b);
}

static void tokens_fill(struct tokens *t)
{
    *t = (struct tokens){.scope = "made up"};
    assert_int_equal(secret_set(&t->access, "made-up-access", 14), 0);
    assert_int_equal(secret_set(&t->refresh, "made-up-refresh", 15), 0);
}

static void tokens_go_there_and_back(void **state)
{
    (void)state;
    struct tokens t;
    struct tokens back = {0};
    struct buf b;
    tokens_fill(&t);
    assert_int_equal(secret_set(&back.id_token, "an older one", 12), 0);
    buf_init_secret(&b, 4096);
    assert_int_equal(tokens_encode(&t, &b), 0);
    assert_int_equal(tokens_decode(b.bytes, b.len, &back), 0);
    assert_true(back.access.len == 14 && secret_equal(back.access.bytes, "made-up-access", 15));
    assert_true(back.refresh.len == 15 && secret_equal(back.refresh.bytes, "made-up-refresh", 16));
    assert_null(back.id_token.bytes);
    assert_string_equal(back.scope, "made up");
    tokens_clear(&t);
    assert_null(t.access.bytes);
    assert_string_equal(t.scope, "");
    tokens_clear(&back);
    tokens_clear(NULL);
    buf_release(&b);
}

static void bad_tokens_leave_the_old_ones(void **state)
{
    (void)state;
    struct tokens t;
    struct buf b;
    char *scope = malloc(SCOPE_MAX + 1);
    tokens_fill(&t);
    buf_init_secret(&b, 64 * 1024);
    assert_int_equal(record_put_str(&b, 1, "another-made-up-access"), 0);
    size_t good = b.len;
    memset(scope, 's', SCOPE_MAX);
    assert_int_equal(record_put(&b, 4, scope, SCOPE_MAX), 0);
    assert_int_equal(tokens_decode(b.bytes, b.len, &t), ERR_TOO_LARGE);
    assert_int_equal(tokens_decode(b.bytes, good - 1, &t), ERR_INVALID);
    b.len = good;
    assert_int_equal(record_put(&b, 4, "s\0s", 3), 0);
    assert_int_equal(tokens_decode(b.bytes, b.len, &t), ERR_INVALID);
    buf_clear(&b);
    assert_non_null(buf_reserve(&b, TOKEN_MAX + 7));
    memset(b.bytes, 'x', TOKEN_MAX + 7);
    memcpy(b.bytes, (uint8_t[]){2, 0, 1, TOKEN_MAX >> 8, 0, 0}, 6);
    buf_commit(&b, TOKEN_MAX + 7);
    assert_int_equal(tokens_decode(b.bytes, b.len, &t), ERR_TOO_LARGE);
    assert_true(secret_equal(t.access.bytes, "made-up-access", 15));
    assert_string_equal(t.scope, "made up");
    tokens_clear(&t);
    buf_release(&b);
    free(scope);
}

static void tokens_that_do_not_fit_leave_no_half(void **state)
{
    (void)state;
    struct tokens t;
    tokens_fill(&t);
    for (size_t max = 0; max < 14 + 15 + 7 + 3 * 6; max++) {
        struct buf b;
        buf_init_secret(&b, max);
        assert_int_equal(tokens_encode(&t, &b), ERR_TOO_LARGE);
        assert_int_equal(b.len, 0);
        buf_release(&b);
    }
    tokens_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got),
        cmocka_unit_test(the_layout_is_fixed),
        cmocka_unit_test(a_torn_record_is_refused_unless_cut_between_fields),
        cmocka_unit_test(lies_about_length_and_repeated_tags_are_refused),
        cmocka_unit_test(fields_are_counted),
        cmocka_unit_test(a_field_that_does_not_fit_is_not_begun),
        cmocka_unit_test(tokens_go_there_and_back),
        cmocka_unit_test(bad_tokens_leave_the_old_ones),
        cmocka_unit_test(tokens_that_do_not_fit_leave_no_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

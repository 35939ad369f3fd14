/*
 * Buffers and arenas: the limit comes before the memory, and a failure changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

static void text_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_string_equal(buf_text(&b), "");
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf_add_char(&b, (char)('a' + i % 26)), 0);
        assert_int_equal(b.bytes[b.len], '\0');
    }
    assert_int_equal(b.len, 10000);
    assert_int_equal(b.bytes[9999], 'a' + 9999 % 26);
    buf_clear(&b);
    assert_string_equal(buf_text(&b), "");
    assert_int_equal(buf_addf(&b, "%s=%d", "n", 42), 0);
    assert_int_equal(buf_add_str(&b, ";"), 0);
    assert_string_equal(buf_text(&b), "n=42;");
    buf_release(&b);
    buf_release(&b);
    buf_release(NULL);
    assert_int_equal(buf_add_str(&b, "again"), 0);
    assert_string_equal(buf_text(&b), "again");
    buf_release(&b);
}

static void limits_are_exact(bool secret, size_t max)
{
    struct buf b;
    if (secret) {
        buf_init_secret(&b, max);
    } else {
        buf_init(&b, max);
    }
    for (size_t i = 0; i < max; i++) {
        assert_int_equal(buf_add_char(&b, 'x'), 0);
    }
    assert_int_equal(buf_add_char(&b, 'x'), ERR_TOO_LARGE);
    assert_int_equal(buf_addf(&b, "%d", 1), ERR_TOO_LARGE);
    assert_int_equal(buf_add(&b, "", SIZE_MAX), ERR_TOO_LARGE);
    assert_null(buf_reserve(&b, 1));
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(b.len, max);
    assert_true(b.cap <= max + 1);
    assert_int_equal(strlen(buf_text(&b)), max);
    assert_int_equal(buf_add(&b, "", 0), 0);
    buf_release(&b);
}

static void the_maximum_is_reached_and_not_passed(void **state)
{
    (void)state;
    static const size_t maxima[] = {0, 1, 63, 64, 65, 127, 1000};
    for (size_t i = 0; i < sizeof(maxima) / sizeof(maxima[0]); i++) {
        limits_are_exact(false, maxima[i]);
        limits_are_exact(true, maxima[i]);
    }
}

static void reserved_room_is_written_in_place(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(buf_add_str(&b, "head "), 0);
    uint8_t *at = buf_reserve(&b, 200);
    assert_non_null(at);
    memcpy(at, "tail", 4);
    buf_commit(&b, 4);
    assert_string_equal(buf_text(&b), "head tail");
    buf_consume(&b, 5);
    assert_string_equal(buf_text(&b), "tail");
    buf_consume(&b, 0);
    buf_consume(&b, 4);
    assert_string_equal(buf_text(&b), "");
    buf_release(&b);
}

static bool is_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

static void a_secret_buffer_leaves_nothing_behind(void **state)
{
    (void)state;
    char *anchor = secret_alloc(1); /* keeps the slab, so that its memory can be met again */
    struct buf b;
    buf_init_secret(&b, 1000);
    assert_int_equal(buf_add_str(&b, "made-up secret of the first place"), 0);
    const uint8_t *first_place = b.bytes;
    size_t first_cap = b.cap;
    while (b.bytes == first_place) {
        assert_int_equal(buf_add_char(&b, 'x'), 0);
    }
    uint8_t *again = secret_alloc(first_cap);
    assert_ptr_equal(again, first_place);
    assert_true(is_zero(again, first_cap));
    secret_free(again);

    buf_consume(&b, b.len - 3);
    assert_string_equal(buf_text(&b), "xxx");
    assert_true(is_zero(b.bytes + 3, b.cap - 3));
    buf_clear(&b);
    assert_true(is_zero(b.bytes, b.cap));
    buf_release(&b);
    secret_free(anchor);
}

static void a_secret_buffer_knows_the_largest_secret(void **state)
{
    (void)state;
    struct buf b;
    buf_init_secret(&b, SIZE_MAX);
    assert_non_null(buf_reserve(&b, SECRET_MAX - 1));
    assert_null(buf_reserve(&b, SECRET_MAX));
    buf_release(&b);
}

static void an_arena_hands_out_aligned_zeroes_up_to_its_maximum(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 10000);
    size_t total = 0;
    for (size_t size = 0; total + size <= 9000; size = (size * 7 + 3) % 900) {
        uint8_t *p = arena_alloc(&a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        assert_true(is_zero(p, size));
        memset(p, 0xff, size);
        total += size;
    }
    assert_int_equal(a.used, total);
    assert_null(arena_alloc(&a, 10001 - total));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 10000 - total));
    assert_null(arena_alloc(&a, 1));
    assert_null(arena_strdup(&a, ""));
    arena_release(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 10000));
    arena_release(&a);
}

static void an_arena_keeps_text(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100000);
    char *one = arena_strdup(&a, "one");
    char *two = arena_printf(&a, "%s-%d", one, 2);
    char *wide = arena_printf(&a, "%20000d", 3);
    assert_string_equal(one, "one");
    assert_string_equal(two, "one-2");
    assert_int_equal(strlen(wide), 20000);
    assert_null(arena_printf(&a, "%100000d", 3));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_grows_and_stays_terminated),
        cmocka_unit_test(the_maximum_is_reached_and_not_passed),
        cmocka_unit_test(reserved_room_is_written_in_place),
        cmocka_unit_test(a_secret_buffer_leaves_nothing_behind),
        cmocka_unit_test(a_secret_buffer_knows_the_largest_secret),
        cmocka_unit_test(an_arena_hands_out_aligned_zeroes_up_to_its_maximum),
        cmocka_unit_test(an_arena_keeps_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The clocks and the wake-up timer, on a real loop. That a set wall clock fires it is not tested
 * here: it would take setting the clock of the machine the tests run on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include <cmocka.h>

#include "sys/clock.h"

struct seen {
    struct wake *wake;
    int64_t fired_boot_ms;
    int times;
    int again; /* times to arm it again */
    bool ends_itself;
};

static void on_wake(void *ctx)
{
    struct seen *s = ctx;
    s->times++;
    s->fired_boot_ms = clock_now().boot_ms;
    if (s->again-- > 0) {
        wake_at(s->wake, s->fired_boot_ms + 5);
    } else if (s->ends_itself) {
        wake_free(s->wake);
    }
}

/* Runs until the wake-up came `times` times, or 5 s are over. */
static void run_until(uv_loop_t *loop, const struct seen *s, int times)
{
    int64_t give_up_ms = clock_now().boot_ms + 5000;
    while (s->times < times && clock_now().boot_ms < give_up_ms) {
        (void)uv_run(loop, UV_RUN_ONCE);
    }
    assert_int_equal(s->times, times);
}

static void on_timer(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void run_for(uv_loop_t *loop, uint64_t ms)
{
    uv_timer_t timer;
    assert_int_equal(uv_timer_init(loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, on_timer, ms, 0), 0);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(loop, UV_RUN_NOWAIT);
}

static void the_clocks_agree_with_the_system(void **state)
{
    (void)state;
    struct timespec wall;
    struct timespec boot;
    struct now before = clock_now();
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &wall), 0);
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &boot), 0);
    struct now after = clock_now();
    int64_t wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
    int64_t boot_ms = (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000;
    assert_true(before.boot_ms <= boot_ms && boot_ms <= after.boot_ms);
    assert_true(before.wall_ms <= wall_ms && wall_ms <= after.wall_ms);
    assert_true(clock_suspended_ms() >= 0);
    assert_true(clock_suspended_ms() <= after.boot_ms);
}

static void a_boot_has_one_identity(void **state)
{
    (void)state;
    char one[37];
    char two[37];
    assert_int_equal(clock_boot_id(one), 0);
    assert_int_equal(clock_boot_id(two), 0);
    assert_string_equal(one, two);
    assert_int_equal(strlen(one), 36);
    assert_int_equal(strspn(one, "0123456789abcdef-"), 36);
}

static void a_wake_up_comes_in_time_and_never_early(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s = {.again = 3};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(wake_init(&loop, on_wake, &s, &s.wake), 0);
    int64_t at = clock_now().boot_ms + 40;
    wake_at(s.wake, at);
    run_until(&loop, &s, 1);
    assert_true(s.fired_boot_ms >= at);
    run_until(&loop, &s, 4);
    wake_free(s.wake);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void the_past_fires_at_once_and_only_once(void **state)
{
    (void)state;
    static const int64_t past[] = {INT64_MIN, -1, 0, 1};
    uv_loop_t loop;
    struct seen s = {0};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(wake_init(&loop, on_wake, &s, &s.wake), 0);
    for (int i = 0; i < 4; i++) {
        wake_at(s.wake, past[i]);
        run_until(&loop, &s, i + 1);
    }
    wake_at(s.wake, clock_now().boot_ms - 1);
    run_until(&loop, &s, 5);
    run_for(&loop, 30);
    assert_int_equal(s.times, 5);
    wake_free(s.wake);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void never_disarms_and_a_later_wish_replaces_an_earlier(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s = {0};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(wake_init(&loop, on_wake, &s, &s.wake), 0);
    wake_at(s.wake, clock_now().boot_ms + 10);
    wake_at(s.wake, TIME_NEVER);
    run_for(&loop, 40);
    assert_int_equal(s.times, 0);
    wake_at(s.wake, clock_now().boot_ms + 10);
    wake_at(s.wake, TIME_NEVER - 1); /* far away is not never, and no overflow either */
    run_for(&loop, 40);
    assert_int_equal(s.times, 0);
    wake_at(s.wake, 0);
    run_until(&loop, &s, 1);
    wake_free(s.wake);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void it_may_be_ended_by_its_own_callback(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s = {.ends_itself = true};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(wake_init(&loop, on_wake, &s, &s.wake), 0);
    wake_at(s.wake, 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* ends by itself: nothing keeps the loop */
    assert_int_equal(s.times, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
    wake_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clocks_agree_with_the_system),
        cmocka_unit_test(a_boot_has_one_identity),
        cmocka_unit_test(a_wake_up_comes_in_time_and_never_early),
        cmocka_unit_test(the_past_fires_at_once_and_only_once),
        cmocka_unit_test(never_disarms_and_a_later_wish_replaces_an_earlier),
        cmocka_unit_test(it_may_be_ended_by_its_own_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

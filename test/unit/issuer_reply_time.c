/*
 * What an answer's times mean later: when its request left, and what the server's clock says by
 * now.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/time.h"
#include "issuer/reply.h"

#define SERVER_WALL_MS INT64_C(1800000000000)

/* Sent at 10 s of this boot, answered at 12 s; our wall clock is an hour slow. */
static struct reply answered(void)
{
    return (struct reply){.server_wall_ms = SERVER_WALL_MS,
                          .received_wall_ms = SERVER_WALL_MS - HOUR_MS,
                          .received_boot_ms = 12 * SECOND_MS,
                          .sent_boot_ms = 10 * SECOND_MS};
}

static void the_servers_clock_says_when_a_request_left(void **state)
{
    (void)state;
    struct reply r = answered();
    assert_int_equal(reply_sent_wall(&r), SERVER_WALL_MS - 2 * SECOND_MS);
}

static void without_a_date_our_own_clock_says_it(void **state)
{
    (void)state;
    struct reply r = answered();
    r.server_wall_ms = 0;
    assert_int_equal(reply_sent_wall(&r), SERVER_WALL_MS - HOUR_MS - 2 * SECOND_MS);
}

/* An answer that lay in the spool, or in a socket, while the machine slept: its Date is old by
 * then, by as much as has gone by since the sending. */
static void a_date_grows_older_with_the_boot_clock(void **state)
{
    (void)state;
    struct reply r = answered();
    assert_int_equal(reply_server_now(&r, true, 12 * SECOND_MS), SERVER_WALL_MS + 2 * SECOND_MS);
    assert_int_equal(reply_server_now(&r, true, 12 * SECOND_MS + HOUR_MS),
                     SERVER_WALL_MS + 2 * SECOND_MS + HOUR_MS);
    r.sent_boot_ms = 0;
    assert_int_equal(reply_server_now(&r, true, 12 * SECOND_MS), SERVER_WALL_MS);
}

static void of_another_boot_nobody_can_say(void **state)
{
    (void)state;
    struct reply r = answered();
    assert_int_equal(reply_server_now(&r, false, 13 * SECOND_MS), 0);
    assert_int_equal(reply_server_now(&r, true, 11 * SECOND_MS), 0); /* nor before it came */
    r.server_wall_ms = 0;
    assert_int_equal(reply_server_now(&r, true, 13 * SECOND_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_servers_clock_says_when_a_request_left),
        cmocka_unit_test(without_a_date_our_own_clock_says_it),
        cmocka_unit_test(a_date_grows_older_with_the_boot_clock),
        cmocka_unit_test(of_another_boot_nobody_can_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

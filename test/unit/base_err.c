/*
 * Errors: names that are there and differ, errno in both directions of doubt, and sentences that
 * stay printable whatever they quote.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/err.h"
#include "base/str.h"

static void every_error_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int a = 0; a >= ERR_AGAIN; a--) {
        assert_string_not_equal(err_name(a), "unknown");
        for (int b = 0; b > a; b--) {
            assert_string_not_equal(err_name(a), err_name(b));
        }
    }
    assert_string_equal(err_name(ERR_TOO_LARGE), "too-large");
    assert_string_equal(err_name(ERR_AGAIN), "again");
    assert_string_equal(err_name(ERR_AGAIN - 1), "unknown");
    assert_string_equal(err_name(1), "unknown");
    assert_string_equal(err_name(-2147483647 - 1), "unknown");
}

static void every_error_has_a_reason_of_its_own(void **state)
{
    (void)state;
    for (int a = 0; a >= ERR_AGAIN; a--) {
        assert_string_not_equal(err_reason(a), err_reason(1));
        for (int b = 0; b > a; b--) {
            assert_string_not_equal(err_reason(a), err_reason(b));
        }
    }
    assert_string_equal(err_reason(ERR_FULL), "the disk is full");
    assert_string_equal(err_reason(ERR_AGAIN), "it is not ready");
    assert_string_equal(err_reason(ERR_AGAIN - 1), err_reason(1));
    assert_string_equal(err_reason(-2147483647 - 1), err_reason(1));
}

static void errno_becomes_ours(void **state)
{
    (void)state;
    assert_int_equal(err_from_errno(0), 0);
    assert_int_equal(err_from_errno(ENOENT), ERR_NOT_FOUND);
    assert_int_equal(err_from_errno(EACCES), ERR_DENIED);
    assert_int_equal(err_from_errno(EROFS), ERR_DENIED);
    assert_int_equal(err_from_errno(ENOSPC), ERR_FULL);
    assert_int_equal(err_from_errno(EDQUOT), ERR_FULL);
    assert_int_equal(err_from_errno(EFBIG), ERR_FULL);
    assert_int_equal(err_from_errno(EWOULDBLOCK), ERR_AGAIN);
    assert_int_equal(err_from_errno(EPIPE), ERR_CLOSED);
    assert_int_equal(err_from_errno(99999), ERR_IO);
}

static void a_sentence_keeps_the_error_and_tolerates_no_place_to_go(void **state)
{
    (void)state;
    struct err_text text;
    assert_int_equal(err_say(&text, ERR_INVALID, "line %d of %s", 7, "x.json"), ERR_INVALID);
    assert_string_equal(text.text, "line 7 of x.json");
    assert_int_equal(err_say(NULL, ERR_IO, "nobody reads %s", "this"), ERR_IO);
}

static void control_bytes_cannot_reach_a_terminal(void **state)
{
    (void)state;
    struct err_text text;
    (void)err_say(&text, ERR_INVALID, "file %s", "a\n\x1b[2Jb\x7f");
    assert_string_equal(text.text, "file a??[2Jb?");
    (void)err_say(&text, ERR_INVALID, "file %s", "Zo\xc3\xab");
    assert_string_equal(text.text, "file Zo\xc3\xab");
    (void)err_say(&text, ERR_INVALID, "file %s", "Zo\xeb");
    assert_string_equal(text.text, "file Zo?");
}

static void a_long_sentence_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t lead = 0; lead < 5; lead++) {
        struct err_text text;
        char name[2 * ERR_TEXT_MAX];
        memset(name, 'x', lead);
        for (size_t i = lead; i + 3 < sizeof(name); i += 3) {
            memcpy(name + i, "\xe2\x82\xac", 4);
        }
        (void)err_say(&text, ERR_INVALID, "%s", name);
        size_t len = strlen(text.text);
        assert_true(len < ERR_TEXT_MAX && len > ERR_TEXT_MAX - 5);
        assert_true(str_is_utf8(text.text, len));
        assert_null(strchr(text.text, '?'));
    }
}

static void a_check_that_fails_stops_the_program(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit none = {0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(2);
        CHECK(pid == 0);
        CHECK(pid != 0);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_name_of_its_own),
        cmocka_unit_test(every_error_has_a_reason_of_its_own),
        cmocka_unit_test(errno_becomes_ours),
        cmocka_unit_test(a_sentence_keeps_the_error_and_tolerates_no_place_to_go),
        cmocka_unit_test(control_bytes_cannot_reach_a_terminal),
        cmocka_unit_test(a_long_sentence_is_cut_between_characters),
        cmocka_unit_test(a_check_that_fails_stops_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Programs that are run to their end: what they get, how they end, and what is left of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/time.h"
#include "sys/process.h"

#define PATIENT_MS (30 * SECOND_MS)

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND_MS + t.tv_nsec / 1000000;
}

static int count_fds(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

/* Nothing of it may be left with us, however it ends. */
static int run(const char *command, const void *input, size_t len, int64_t limit_ms,
               struct process_ending *ret)
{
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)command, NULL};
    char *envp[] = {(char[]){"A=1"}, NULL};
    int before = count_fds();
    int err = process_run("/bin/sh", argv, envp, input, len, limit_ms, ret);
    assert_int_equal(count_fds(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return err;
}

static int exit_of(const char *command, const void *input, size_t len)
{
    struct process_ending end = {-1, -1};
    assert_int_equal(run(command, input, len, PATIENT_MS, &end), 0);
    assert_int_equal(end.signal, 0);
    return end.exit_code;
}

static void it_reads_what_it_is_given(void **state)
{
    (void)state;
    assert_int_equal(exit_of("test \"$(cat)\" = 'one two'", "one two", 7), 0);
    assert_int_equal(exit_of("test -z \"$(cat)\"", "", 0), 0);
    assert_int_equal(exit_of("test \"$(cat /dev/stdin)\" = x", "x", 1), 0);
}

static void more_than_fits_is_fed_piece_by_piece(void **state)
{
    (void)state;
    size_t len = 1024 * 1024;
    char *many = malloc(len);
    assert_non_null(many);
    memset(many, 'x', len);
    assert_int_equal(exit_of("test $(wc -c) = 1048576", many, len), 0);
    assert_int_equal(exit_of("exit 3", many, len), 3); /* unread */
    assert_int_equal(exit_of("exec <&-; sleep 0.1; exit 4", many, len), 4);
    assert_int_equal(exit_of("head -c 1; sleep 0.1; exit 5", many, len), 5);
    free(many);
}

static void how_it_ended_is_told(void **state)
{
    (void)state;
    struct process_ending end = {-1, -1};
    assert_int_equal(exit_of("exit 255", "", 0), 255);
    assert_int_equal(exit_of("no-such-command", "", 0), 127);
    assert_int_equal(run("kill -TERM $$", "", 0, PATIENT_MS, &end), 0);
    assert_int_equal(end.signal, SIGTERM);
}

static void it_has_nothing_else(void **state)
{
    (void)state;
    int leaky = open("/", O_RDONLY | O_DIRECTORY); /* without close-on-exec, on purpose */
    assert_true(leaky >= 0);
    assert_int_equal(setenv("MADE_UP_SECRET", "x", 1), 0);
    /* 0, 1, 2, and the folder that ls reads */
    assert_int_equal(exit_of("test \"$(echo $(ls /proc/self/fd))\" = '0 1 2 3'", "", 0), 0);
    assert_int_equal(exit_of("echo said; echo said >&2; test $(readlink /proc/$$/fd/1) = /dev/null "
                             "&& test $(readlink /proc/$$/fd/2) = /dev/null",
                             "", 0),
                     0);
    assert_int_equal(exit_of("test \"$(tr '\\0' ' ' < /proc/$$/environ)\" = 'A=1 '", "", 0), 0);
    assert_int_equal(exit_of("test $(pwd -P) = /", "", 0), 0);
    (void)close(leaky);
}

static bool is_running(long pid)
{
    char path[64], state = 'Z';
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    int n = fscanf(f, "%*d (%*[^)]) %c", &state);
    (void)fclose(f);
    return n == 1 && state != 'Z' && state != 'X';
}

/* Runs a command that writes the ids of processes into $FILE; 0 past the last. */
static int run_and_note(const char *command, int64_t limit_ms, long ret_pids[2])
{
    struct process_ending end = {-1, -1};
    char path[] = "/tmp/credwarden-run-XXXXXX";
    char whole[256], text[64] = "";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)snprintf(whole, sizeof(whole), "FILE=%s; %s", path, command);
    int err = run(whole, "x", 1, limit_ms, &end);
    assert_int_equal(end.exit_code, err == 0 ? 0 : -1);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    char *rest = text;
    ret_pids[0] = strtol(rest, &rest, 10);
    ret_pids[1] = strtol(rest, &rest, 10);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    return err;
}

static void who_takes_too_long_is_ended_with_all_he_has_started(void **state)
{
    (void)state;
    long pids[2];
    int64_t began = now_ms();
    assert_int_equal(
        run_and_note("trap '' TERM; sleep 100 & echo $! $$ > $FILE; sleep 100", 400, pids),
        ERR_TIMEOUT);
    assert_in_range(now_ms() - began, 400, 20000);
    for (int i = 0; i < 2; i++) {
        assert_true(pids[i] > 1);
        for (int tries = 0; is_running(pids[i]) && tries < 1000; tries++) {
            (void)usleep(10000);
        }
        assert_false(is_running(pids[i]));
    }
}

static void who_is_left_behind_on_purpose_is_not_waited_for(void **state)
{
    (void)state;
    long pids[2];
    assert_int_equal(run_and_note("sleep 100 & echo $! > $FILE", PATIENT_MS, pids), 0);
    assert_true(pids[0] > 1 && is_running(pids[0]));
    assert_int_equal(kill((pid_t)pids[0], SIGKILL), 0);
}

static void what_cannot_be_run_is_an_error(void **state)
{
    (void)state;
    struct process_ending end = {-1, -1};
    char *argv[] = {(char[]){"x"}, NULL};
    char *envp[] = {NULL};
    int before = count_fds();
    assert_int_equal(process_run("/nonexistent", argv, envp, "x", 1, PATIENT_MS, &end),
                     ERR_NOT_FOUND);
    assert_int_equal(count_fds(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(end.exit_code, -1);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_what_it_is_given),
        cmocka_unit_test(more_than_fits_is_fed_piece_by_piece),
        cmocka_unit_test(how_it_ended_is_told),
        cmocka_unit_test(it_has_nothing_else),
        cmocka_unit_test(who_takes_too_long_is_ended_with_all_he_has_started),
        cmocka_unit_test(who_is_left_behind_on_purpose_is_not_waited_for),
        cmocka_unit_test(what_cannot_be_run_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

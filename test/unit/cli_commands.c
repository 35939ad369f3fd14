/*
 * Whole commands against a daemon that is played by a thread: what they ask, what they print, and
 * with which exit code they end.
 */
#include "cli/ask.h" /* before cmocka.h, which makes fail() a macro */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/str.h"
#include "cli/options.h"

#define OUTPUT_SIZE  4096
#define REQUEST_SIZE 4096

static const struct command *const table[] = {&command_add,    &command_list,   &command_status,
                                              &command_token,  &command_renew,  &command_policy,
                                              &command_rename, &command_remove, &command_events,
                                              &command_backup, &command_daemon, &command_version};

/* One connection: what to say once the request has arrived. */
struct line {
    const char *answer;  /* NULL: hang up without a word */
    bool then_interrupt; /* this process gets SIGINT, and the connection stays open */
};

struct world {
    char dir[64];
    char socket[96];
    int listener;
    pthread_t thread;
    const struct line *lines;
    size_t n_lines;
    bool out_is_full;               /* standard output takes nothing */
    char requests[4][REQUEST_SIZE]; /* as they came */
    size_t n_requests;
    int code;
    char out[OUTPUT_SIZE];
    char err[OUTPUT_SIZE];
};

/* ---- the daemon ---- */

static size_t announced_length(const char *head)
{
    int64_t length = 0;
    const char *at = strstr(head, "Content-Length: ");
    char digits[16] = "0";
    if (at != NULL) {
        at += strlen("Content-Length: ");
        size_t n = strspn(at, "0123456789");
        assert_true(n < sizeof(digits));
        memcpy(digits, at, n);
        digits[n] = '\0';
    }
    assert_int_equal(str_to_i64(digits, 0, REQUEST_SIZE, &length), 0);
    return (size_t)length;
}

static void read_request(int fd, char *request)
{
    size_t len = 0;
    for (;;) {
        request[len] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        if (end != NULL && len >= (size_t)(end + 4 - request) + announced_length(request)) {
            return;
        }
        ssize_t n = read(fd, request + len, REQUEST_SIZE - 1 - len);
        if (n <= 0) {
            return;
        }
        len += (size_t)n;
    }
}

static void *play(void *arg)
{
    struct world *w = arg;
    for (size_t i = 0; i < w->n_lines; i++) {
        int fd = accept(w->listener, NULL, NULL);
        if (fd < 0) {
            break;
        }
        read_request(fd, w->requests[i]);
        w->n_requests++;
        const char *answer = w->lines[i].answer;
        if (answer != NULL) {
            (void)send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        }
        if (w->lines[i].then_interrupt) {
            char beyond;
            (void)kill(getpid(), SIGINT);
            (void)!read(fd, &beyond, 1); /* until the command has gone */
        }
        (void)close(fd);
    }
    return NULL;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/cw-cli-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->socket, sizeof(w->socket), "%s/api.sock", w->dir);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    assert_int_equal(str_copy(a.sun_path, sizeof(a.sun_path), w->socket), 0);
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(w->listener, 8), 0);
    setenv("CREDWARDEN_SOCKET", w->socket, 1);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    (void)close(w->listener);
    (void)unlink(w->socket);
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
    return 0;
}

/* ---- the command ---- */

/* A descriptor that leads into a file of its own while the command runs. */
static int divert(const struct world *w, int fd, const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", w->dir, name);
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    int before = dup(fd);
    assert_int_equal(dup2(file, fd), fd);
    (void)close(file);
    return before;
}

static void restore(int fd, int before, const char *path, char *ret)
{
    assert_int_equal(dup2(before, fd), fd);
    (void)close(before);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(file, ret, OUTPUT_SIZE - 1);
    ret[n > 0 ? n : 0] = '\0';
    (void)close(file);
    (void)unlink(path);
}

static int run_line(int argc, char **argv)
{
    struct invocation in;
    struct err_text text;
    if (options_parse(argc, argv, table, ARRAY_LEN(table), &in, &text) != 0) {
        return (int)fail_text(EXIT_USAGE, &text);
    }
    return (int)in.command->run(&in);
}

static void run(struct world *w, const struct line *lines, size_t n_lines, const char *const *words)
{
    char *argv[12] = {(char *)"credwarden"};
    int argc = 1;
    for (; *words != NULL; words++) {
        argv[argc++] = (char *)*words;
    }
    w->lines = lines;
    w->n_lines = n_lines;
    w->n_requests = 0;
    assert_int_equal(pthread_create(&w->thread, NULL, play, w), 0);
    char out_path[96];
    char err_path[96];
    (void)fflush(stdout);
    int out = divert(w, STDOUT_FILENO, "out", out_path, sizeof(out_path));
    int err = divert(w, STDERR_FILENO, "err", err_path, sizeof(err_path));
    if (w->out_is_full) {
        int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        assert_int_equal(dup2(full, STDOUT_FILENO), STDOUT_FILENO);
        (void)close(full);
    }
    w->code = run_line(argc, argv);
    (void)fflush(stdout);
    restore(STDOUT_FILENO, out, out_path, w->out);
    restore(STDERR_FILENO, err, err_path, w->err);
    (void)shutdown(w->listener, SHUT_RDWR); /* lines that nobody came for */
    (void)pthread_join(w->thread, NULL);
}
#define LINES(...)                                                                                 \
    (const struct line[])                                                                          \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define RUN(w, lines, n_lines, ...) run(w, lines, n_lines, (const char *const[]){__VA_ARGS__, NULL})

#define OK_HEAD "HTTP/1.1 200 OK\r\nCredwarden-Version: " CREDWARDEN_VERSION "\r\n"
#define TEXT    "Content-Type: text/plain; charset=utf-8\r\n"

static void assert_ends(const struct world *w, int code, const char *out, const char *err)
{
    if (w->code != code || strcmp(w->out, out) != 0 || strcmp(w->err, err) != 0) {
        fail_msg("exit %d\nout: %s\nerr: %s", w->code, w->out, w->err);
    }
}

static void assert_asked(const struct world *w, size_t i, const char *start)
{
    if (w->n_requests <= i || strncmp(w->requests[i], start, strlen(start)) != 0) {
        fail_msg("request %zu of %zu: %s", i, w->n_requests, w->requests[i]);
    }
}

static void token_prints_what_it_is_given(void **state)
{
    struct world *w = *state;
    RUN(w, LINES({OK_HEAD TEXT "Content-Length: 15\r\n\r\nmade-up-access\n", false}), 1, "token",
        "work", "--min-ttl", "10m");
    assert_ends(w, EXIT_OK, "made-up-access\n", "");
    assert_asked(w, 0, "GET /v1/profiles/work/token?min_ttl=10m HTTP/1.1\r\n");
    assert_non_null(strstr(w->requests[0], "\r\nAccept: text/plain\r\n"));
}

static void json_is_asked_for_and_printed_as_it_is(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({OK_HEAD "Content-Type: application/json\r\nContent-Length: 3\r\n\r\n{}\n", false}),
        1, "list", "--json");
    assert_ends(w, EXIT_OK, "{}\n", "");
    assert_asked(w, 0, "GET /v1/profiles HTTP/1.1\r\n");
    assert_non_null(strstr(w->requests[0], "\r\nAccept: application/json\r\n"));
}

static void each_problem_has_its_exit_code(void **state)
{
    (void)state;
    for (unsigned i = 0; problem_at(i) != NULL; i++) {
        const struct problem_kind *kind = problem_at(i);
        char answer[512];
        char told[128];
        void *inner = NULL;
        (void)snprintf(answer, sizeof(answer),
                       "HTTP/1.1 %d Problem\r\nCredwarden-Code: %s\r\n" TEXT
                       "Content-Length: 14\r\n\r\nwork: \033[31mit\n",
                       kind->http_status, kind->code);
        (void)snprintf(told, sizeof(told), "credwarden: work: ?[31mit\n");
        assert_int_equal(setup(&inner), 0);
        struct world *w = inner;
        const struct line lines[] = {{answer, false}};
        RUN(w, lines, 1, "renew", "work");
        assert_ends(w, (int)kind->exit, "", told);
        assert_asked(w, 0, "POST /v1/profiles/work/renew HTTP/1.1\r\n");
        assert_int_equal(teardown(&inner), 0);
    }
}

static void a_problem_without_words_or_code_is_told_too(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES(
            {"HTTP/1.1 409 Conflict\r\nCredwarden-Code: sign-in-needed\r\nContent-Length: 0\r\n\r\n",
             false}),
        1, "token", "work");
    assert_ends(w, EXIT_SIGN_IN, "", "credwarden: The login is over: sign in again\n");
}

static void a_status_of_a_stranger_is_a_failure(void **state)
{
    struct world *w = *state;
    RUN(w, LINES({"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", false}), 1, "list");
    assert_ends(w, EXIT_FAILED, "", "credwarden: Something failed inside credwarden\n");
}

static void a_problem_in_json_goes_to_standard_error(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES(
            {"HTTP/1.1 404 Not Found\r\nCredwarden-Code: profile-unknown\r\n"
             "Content-Type: application/problem+json\r\nContent-Length: 14\r\n\r\n{\"status\":404}",
             false}),
        1, "token", "work", "--json");
    assert_ends(w, EXIT_UNKNOWN, "", "{\"status\":404}\n");
}

static void a_get_that_a_dying_daemon_left_is_asked_again(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({NULL, false}, {OK_HEAD TEXT "Content-Length: 15\r\n\r\nmade-", false},
              {OK_HEAD TEXT "Content-Length: 5\r\n\r\nnew1\n", false}),
        3, "token", "work");
    assert_ends(w, EXIT_OK, "new1\n", ""); /* and nothing of the torn one */
    assert_int_equal(w->n_requests, 3);
}

static void a_daemon_that_is_stopping_is_asked_again(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({"HTTP/1.1 503 Wait\r\nCredwarden-Code: stopping\r\n" TEXT
               "Content-Length: 5\r\n\r\nstop\n",
               false},
              {OK_HEAD TEXT "Content-Length: 5\r\n\r\nnew1\n", false}),
        2, "token", "work");
    assert_ends(w, EXIT_OK, "new1\n", "");
}

static void what_changes_something_is_never_asked_twice(void **state)
{
    struct world *w = *state;
    RUN(w, LINES({NULL, false}, {OK_HEAD TEXT "Content-Length: 5\r\n\r\nnew1\n", false}), 2,
        "renew", "work");
    assert_int_equal(w->code, EXIT_DAEMON);
    assert_int_equal(w->n_requests, 1);
    assert_string_equal(w->out, "");
    assert_non_null(strstr(w->err, "its memory is at its limit: see `credwarden status`"));
}

static void trying_again_has_an_end(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({NULL, false}, {NULL, false}, {NULL, false},
              {OK_HEAD "Content-Length: 0\r\n\r\n", false}),
        4, "list");
    assert_int_equal(w->code, EXIT_DAEMON);
    assert_int_equal(w->n_requests, 3);
}

static void a_stranger_at_the_socket_is_not_believed(void **state)
{
    struct world *w = *state;
    RUN(w, LINES({"SSH-2.0-OpenSSH_9.2\r\n", false}), 1, "token", "work");
    assert_int_equal(w->code, EXIT_DAEMON);
    assert_string_equal(w->out, "");
    assert_non_null(strstr(w->err, "not what credwardend says"));
}

static void a_credential_is_handed_over_byte_by_byte(void **state)
{
    struct world *w = *state;
    char path[96];
    char expected[256];
    (void)snprintf(path, sizeof(path), "%s/login file", w->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs("{\"a\":1}\r\n", f);
    (void)fclose(f);
    const struct timespec times[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    RUN(w, LINES({"HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nadded\n", false}), 1, "add",
        "work", "--provider", "https://issuer.example/a b", "--from", path, "--policy", "never");
    (void)unlink(path);
    assert_ends(w, EXIT_OK, "added\n", "");
    (void)snprintf(expected, sizeof(expected),
                   "POST /v1/profiles/work?provider=https%%3A%%2F%%2Fissuer.example%%2Fa%%20b"
                   "&policy=never&source=%%2Ftmp%%2F%s%%2Flogin%%20file"
                   "&as_of=2023-11-14T22%%3A13%%3A20Z HTTP/1.1\r\n",
                   w->dir + strlen("/tmp/"));
    assert_asked(w, 0, expected);
    assert_non_null(strstr(w->requests[0], "\r\nContent-Length: 9\r\n"));
    assert_non_null(strstr(w->requests[0], "\r\n\r\n{\"a\":1}\r\n"));
}

static void the_command_line_is_checked_before_anything_is_asked(void **state)
{
    (void)state;
    static const char *const wrong[][8] = {
        {"token", "work", "--min-ttl", "soon"},
        {"token", "work", "--timeout", "-3s"},
        {"policy", "work", "alway"},
        {"add", "work", "--from", "/dev/null"},
        {"add", "work", "--provider", "claude"},
        {"add", "work", "--provider", "claude", "--from", "x", "--policy=all"},
        {"events", "--limit", "0"},
        {"events", "--after", "-1"},
        {"rename", "work", "not/a/name"},
        {"daemon", "strat"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        void *inner = NULL;
        assert_int_equal(setup(&inner), 0);
        struct world *w = inner;
        run(w, LINES({OK_HEAD "Content-Length: 0\r\n\r\n", false}), 1, wrong[i]);
        if (w->code != EXIT_USAGE || w->n_requests != 0 || w->err[0] == '\0' || w->out[0] != '\0') {
            fail_msg("row %zu: exit %d, %zu requests, %s", i, w->code, w->n_requests, w->err);
        }
        assert_int_equal(teardown(&inner), 0);
    }
}

static void policy_skips_what_only_looks_like_it(void **state)
{
    struct world *w = *state;
#define PROFILE "{\"label\": \"\\\"policy\\\":\\\"never\\\"\", \"policy\": \"always\"}\n"
    char answer[512];
    (void)snprintf(answer, sizeof(answer),
                   OK_HEAD "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                   strlen(PROFILE), PROFILE);
    const struct line lines[] = {{answer, false}};
    RUN(w, lines, 1, "policy", "work");
    assert_ends(w, EXIT_OK, "always\n", "");
    assert_asked(w, 0, "GET /v1/profiles/work HTTP/1.1\r\n");
}

static void policy_is_changed(void **state)
{
    struct world *w = *state;
    RUN(w, LINES({OK_HEAD TEXT "Content-Length: 5\r\n\r\ndone\n", false}), 1, "policy", "work",
        "standby");
    assert_ends(w, EXIT_OK, "done\n", "");
    assert_asked(w, 0, "POST /v1/profiles/work/policy?to=standby HTTP/1.1\r\n");
    assert_non_null(strstr(w->requests[0], "\r\nContent-Length: 0\r\n"));
}

static void remove_needs_a_yes(void **state)
{
    struct world *w = *state;
    RUN(w, LINES({OK_HEAD TEXT "Content-Length: 5\r\n\r\ndone\n", false}), 1, "remove", "work",
        "--yes");
    assert_ends(w, EXIT_OK, "done\n", "");
    assert_asked(w, 0, "DELETE /v1/profiles/work HTTP/1.1\r\n");
}

static void a_stream_is_printed_line_by_line(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({OK_HEAD TEXT
               "Transfer-Encoding: chunked\r\n\r\n9\r\n1 one\n2 t\r\n3\r\nwo\n\r\n0\r\n\r\n",
               false}),
        1, "events", "--after", "0", "--limit", "9");
    assert_ends(w, EXIT_OK, "1 one\n2 two\n", "");
    assert_asked(w, 0, "GET /v1/events?after=0&limit=9 HTTP/1.1\r\n");
}

static void a_stream_that_breaks_off_is_no_whole_one(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({OK_HEAD TEXT "Transfer-Encoding: chunked\r\n\r\n12\r\n1 one\n2 two\n3 to", false}),
        1, "events");
    assert_int_equal(w->code, EXIT_DAEMON);
    assert_string_equal(w->out, "1 one\n2 two\n"); /* half a line is worse than none */
    assert_non_null(strstr(w->err, "the answer breaks off: "));
}

/* It is not the daemon that failed. */
static void an_output_that_takes_nothing_is_our_failure(void **state)
{
    struct world *w = *state;
    w->out_is_full = true;
    RUN(w,
        LINES({OK_HEAD TEXT "Transfer-Encoding: chunked\r\n\r\nc\r\n1 one\n2 two\n\r\n0\r\n\r\n",
               false}),
        1, "events");
    assert_ends(w, EXIT_FAILED, "",
                "credwarden: cannot write to standard output: No space left on device\n");
}

static void ctrl_c_ends_a_stream_well(void **state)
{
    struct world *w = *state;
    sigset_t set;
    sigset_t before;
    sigemptyset(&set); /* so that the other thread cannot be struck */
    sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, &before);
    RUN(w, LINES({OK_HEAD TEXT "Transfer-Encoding: chunked\r\n\r\n6\r\n1 one\n\r\n", true}), 1,
        "events", "--follow", "--json");
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(w->code, EXIT_OK);
    assert_string_equal(w->err, "");
    assert_asked(w, 0, "GET /v1/events?follow=yes HTTP/1.1\r\n");
    assert_non_null(strstr(w->requests[0], "\r\nAccept: application/x-ndjson\r\n"));
}

static void a_stream_may_be_refused(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({"HTTP/1.1 503 Busy\r\nCredwarden-Code: busy\r\n" TEXT
               "Content-Length: 6\r\n\r\nfull.\n",
               false}),
        1, "events", "--follow");
    assert_ends(w, EXIT_LATER, "", "credwarden: full.\n");
}

static void a_backup_is_named_by_its_whole_path(void **state)
{
    struct world *w = *state;
    char here[512];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(w->dir), 0);
    RUN(w, LINES({OK_HEAD TEXT "Content-Length: 5\r\n\r\ndone\n", false}), 1, "backup", "b 1",
        "--overwrite");
    assert_int_equal(chdir(here), 0);
    char expected[256];
    (void)snprintf(expected, sizeof(expected),
                   "POST /v1/backup?path=%%2Ftmp%%2F%s%%2Fb%%201&overwrite=yes HTTP/1.1\r\n",
                   w->dir + strlen("/tmp/"));
    assert_ends(w, EXIT_OK, "done\n", "");
    assert_asked(w, 0, expected);
}

static void another_version_is_named_where_it_is_asked_for(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({"HTTP/1.1 200 OK\r\nCredwarden-Version: 0.0.9\r\nContent-Length: 5\r\n\r\nfine\n",
               false}),
        1, "status");
    assert_ends(
        w, EXIT_OK, "fine\n",
        "credwarden: credwardend 0.0.9 is still running; `credwarden daemon restart` starts " CREDWARDEN_VERSION
        "\n");
}

static void scripts_are_not_bothered_with_versions(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({"HTTP/1.1 200 OK\r\nCredwarden-Version: 0.0.9\r\nContent-Length: 5\r\n\r\nnew1\n",
               false}),
        1, "token", "work");
    assert_ends(w, EXIT_OK, "new1\n", "");
}

static void version_joins_both(void **state)
{
    struct world *w = *state;
    RUN(w,
        LINES({OK_HEAD "Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\":1}\n",
               false}),
        1, "version", "--json");
    assert_ends(w, EXIT_OK, "{\"client\":\"" CREDWARDEN_VERSION "\",\"daemon\":{\"a\":1}}\n", "");
}

static void nobody_at_a_given_socket_starts_nothing(void **state)
{
    struct world *w = *state;
    setenv("CREDWARDEN_SOCKET", "/nonexistent/api.sock", 1);
    RUN(w, NULL, 0, "token", "work");
    assert_ends(
        w, EXIT_DAEMON, "",
        "credwarden: no daemon listens at /nonexistent/api.sock, which CREDWARDEN_SOCKET names\n");
    RUN(w, NULL, 0, "version");
    assert_ends(w, EXIT_OK, "credwarden " CREDWARDEN_VERSION "\ncredwardend is not running\n", "");
    RUN(w, NULL, 0, "daemon", "status", "--json");
    assert_ends(w, EXIT_DAEMON, "{\"running\":false,\"daemon\":null}\n", "");
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(token_prints_what_it_is_given),
        STORY(json_is_asked_for_and_printed_as_it_is),
        cmocka_unit_test(each_problem_has_its_exit_code),
        STORY(a_problem_without_words_or_code_is_told_too),
        STORY(a_status_of_a_stranger_is_a_failure),
        STORY(a_problem_in_json_goes_to_standard_error),
        STORY(a_get_that_a_dying_daemon_left_is_asked_again),
        STORY(a_daemon_that_is_stopping_is_asked_again),
        STORY(what_changes_something_is_never_asked_twice),
        STORY(trying_again_has_an_end),
        STORY(a_stranger_at_the_socket_is_not_believed),
        STORY(a_credential_is_handed_over_byte_by_byte),
        cmocka_unit_test(the_command_line_is_checked_before_anything_is_asked),
        STORY(policy_skips_what_only_looks_like_it),
        STORY(policy_is_changed),
        STORY(remove_needs_a_yes),
        STORY(a_stream_is_printed_line_by_line),
        STORY(a_stream_that_breaks_off_is_no_whole_one),
        STORY(an_output_that_takes_nothing_is_our_failure),
        STORY(ctrl_c_ends_a_stream_well),
        STORY(a_stream_may_be_refused),
        STORY(a_backup_is_named_by_its_whole_path),
        STORY(another_version_is_named_where_it_is_asked_for),
        STORY(scripts_are_not_bothered_with_versions),
        STORY(version_joins_both),
        STORY(nobody_at_a_given_socket_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The daemon on first need (cli/start.h, cli/ask.h). The daemon is this very program, started under
 * the name credwardend: it takes a lock, listens, and ends when it is told to.
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/files.h"
#include "cli/options.h"
#include "cli/start.h"

#define LIFE_MAX_S 30
#define PATH_SIZE  128
#define RACERS     8

/* ---- the daemon: runs in a process of its own ---- */

static void in_home(const char *name, char *ret)
{
    CHECK((size_t)snprintf(ret, PATH_SIZE, "%s/%s", getenv("HOME"), name) < PATH_SIZE);
}

static void say_ready(const char *line)
{
    if (write(3, line, strlen(line)) < 0) {
        _exit(1);
    }
    (void)close(3);
}

/* What it was given: environment, folder, session, descriptors. */
static void write_report(void)
{
    char path[PATH_SIZE];
    char here[PATH_SIZE];
    in_home("report", path);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    for (char **e = environ; *e != NULL; e++) {
        (void)fprintf(f, "env %s\n", *e);
    }
    (void)fprintf(f, "cwd %s\n", getcwd(here, sizeof(here)));
    (void)fprintf(f, "leads %d\n", getsid(0) == getpid());
    struct stat null_st;
    CHECK(stat("/dev/null", &null_st) == 0);
    for (int fd = 0; fd < 64; fd++) {
        struct stat st;
        if (fd != fileno(f) && fstat(fd, &st) == 0) {
            (void)fprintf(f, "fd %d %s\n", fd,
                          S_ISCHR(st.st_mode) && st.st_rdev == null_st.st_rdev ? "null"
                          : S_ISFIFO(st.st_mode)                               ? "pipe"
                                                                               : "other");
        }
    }
    (void)fclose(f);
}

static void note_winner(void)
{
    char path[PATH_SIZE];
    in_home("winners", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "w", 1) == 1);
    (void)close(fd);
}

static int take_lock(void)
{
    char path[PATH_SIZE];
    in_home("lock", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    if (lockf(fd, F_TLOCK, 0) != 0) {
        say_ready("already\n");
        _exit(6);
    }
    return fd;
}

static int listen_there(char *ret_path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    in_home("run/credwarden/api.sock", ret_path);
    CHECK(str_copy(a.sun_path, sizeof(a.sun_path), ret_path) == 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)unlink(ret_path);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 64) == 0);
    return fd;
}

/* Answers everything with "fine"; true once it was told to stop. */
static bool serve_one(int listener)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nCredwarden-Version: " CREDWARDEN_VERSION
                                 "\r\nContent-Length: 5\r\n\r\nfine\n";
    char request[2048] = "";
    int fd = accept(listener, NULL, NULL);
    size_t len = 0;
    while (strstr(request, "\r\n\r\n") == NULL) {
        ssize_t n = read(fd, request + len, sizeof(request) - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
        request[len] = '\0';
    }
    (void)send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    (void)close(fd);
    return strncmp(request, "POST /v1/daemon/stop ", 21) == 0;
}

static int daemon_main(void)
{
    const char *mode = getenv("CREDWARDEN_TEST_MODE");
    char path[PATH_SIZE];
    (void)alarm(LIFE_MAX_S); /* never left behind */
    if (strcmp(mode, "silent") == 0) {
        return 1;
    }
    if (strcmp(mode, "refuse") == 0) {
        say_ready("the store is from the future\n");
        return 1;
    }
    int lock = take_lock();
    note_winner();
    pause_ms(50); /* the others find the lock taken and no socket */
    int listener = listen_there(path);
    write_report();
    say_ready("ready\n");
    while (!serve_one(listener)) {
    }
    (void)close(listener);
    (void)unlink(path);
    pause_ms(strcmp(mode, "slow-end") == 0 ? 300 : 0); /* holds the lock, listens no more */
    (void)close(lock);
    return 0;
}

/* ---- the stories ---- */

static char home[64];

static void path_of(const char *name, char *ret)
{
    CHECK((size_t)snprintf(ret, PATH_SIZE, "%s/%s", home, name) < PATH_SIZE);
}

static int setup(void **state)
{
    (void)state;
    static const char *const dirs[] = {"", "run", "run/credwarden", "bin"};
    char path[PATH_SIZE];
    char self[512];
    (void)snprintf(home, sizeof(home), "/tmp/cw-start-XXXXXX");
    assert_non_null(mkdtemp(home));
    for (size_t i = 1; i < ARRAY_LEN(dirs); i++) {
        path_of(dirs[i], path);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    path_of("bin/credwardend", path);
    assert_int_equal(symlink(self, path), 0);
    path_of("bin", path);
    setenv("CREDWARDEN_LIBEXEC", path, 1);
    path_of("run", path);
    setenv("XDG_RUNTIME_DIR", path, 1);
    setenv("HOME", home, 1);
    setenv("CREDWARDEN_TEST_MODE", "listen", 1);
    unsetenv("CREDWARDEN_SOCKET");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {
        "report", "winners", "lock", "run/credwarden/api.sock", "bin/credwardend", "run/credwarden",
        "run",    "bin",     ""};
    char path[PATH_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        path_of(names[i], path);
        (void)remove(path);
    }
    return access(home, F_OK) == 0 ? -1 : 0; /* nothing else was made there */
}

/* A command line, its output thrown away. */
static enum exit_code run(const char *a, const char *b, const char *c)
{
    static const struct command *const table[] = {&command_daemon, &command_list};
    char *argv[] = {(char *)"credwarden", (char *)a, (char *)b, (char *)c, NULL};
    int argc = 1;
    while (argv[argc] != NULL) {
        argc++;
    }
    struct invocation in;
    assert_int_equal(options_parse(argc, argv, table, ARRAY_LEN(table), &in, NULL), 0);
    (void)fflush(stdout);
    int kept[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(null_fd, STDOUT_FILENO);
    (void)dup2(null_fd, STDERR_FILENO);
    enum exit_code code = in.command->run(&in);
    (void)fflush(stdout);
    (void)dup2(kept[0], STDOUT_FILENO);
    (void)dup2(kept[1], STDERR_FILENO);
    (void)close(kept[0]);
    (void)close(kept[1]);
    (void)close(null_fd);
    return code;
}

static void file_text(const char *name, char *ret, size_t size)
{
    char path[PATH_SIZE];
    path_of(name, path);
    FILE *f = fopen(path, "r");
    size_t n = f != NULL ? fread(ret, 1, size - 1, f) : 0;
    ret[n] = '\0';
    if (f != NULL) {
        (void)fclose(f);
    }
}

static void says(const char *report, const char *line, bool expected)
{
    char whole[256];
    (void)snprintf(whole, sizeof(whole), "%s\n", line);
    if ((strstr(report, whole) != NULL) != expected) {
        fail_msg("%s: expected %d", line, expected);
    }
}

static void the_first_command_starts_it(void **state)
{
    (void)state;
    char winners[16];
    assert_int_equal(run("list", NULL, NULL), EXIT_OK);
    assert_int_equal(run("list", NULL, NULL), EXIT_OK);
    assert_int_equal(run("daemon", "stop", NULL), EXIT_OK);
    file_text("winners", winners, sizeof(winners));
    assert_string_equal(winners, "w");
}

static void it_inherits_nothing_it_should_not(void **state)
{
    (void)state;
    static char report[32 * 1024];
    int stray = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    setenv("SECRET_OF_THE_SHELL", "made-up", 1);
    setenv("NOTIFY_SOCKET", "/run/x", 1);
    setenv("LC_TIME", "C", 1);
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    assert_int_equal(run("daemon", "start", NULL), EXIT_OK);
    assert_int_equal(run("daemon", "stop", NULL), EXIT_OK);
    (void)close(stray);
    unsetenv("SECRET_OF_THE_SHELL");
    unsetenv("NOTIFY_SOCKET");
    unsetenv("https_proxy");
    file_text("report", report, sizeof(report));
    says(report, "env SECRET_OF_THE_SHELL=made-up", false);
    says(report, "env NOTIFY_SOCKET=/run/x", false);
    says(report, "env LC_TIME=C", true);
    says(report, "env https_proxy=http://127.0.0.1:1", true);
    says(report, "env CREDWARDEN_TEST_MODE=listen", true);
    says(report, "cwd /", true);
    says(report, "leads 1", true);
    says(report, "fd 0 null\nfd 1 null\nfd 2 null\nfd 3 pipe", true);
    char number[32];
    (void)snprintf(number, sizeof(number), "fd %d null", stray);
    says(report, number, false);
}

static void racing_commands_start_one_daemon(void **state)
{
    (void)state;
    pid_t racers[RACERS];
    char winners[16];
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = fork();
        assert_true(racers[i] >= 0);
        if (racers[i] == 0) {
            _exit((int)run("list", NULL, NULL));
        }
    }
    for (size_t i = 0; i < RACERS; i++) {
        int status = 0;
        assert_int_equal(waitpid(racers[i], &status, 0), racers[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(run("daemon", "stop", NULL), EXIT_OK);
    file_text("winners", winners, sizeof(winners));
    assert_string_equal(winners, "w");
}

static void restart_waits_for_the_old_one_to_end(void **state)
{
    (void)state;
    char winners[16];
    setenv("CREDWARDEN_TEST_MODE", "slow-end", 1);
    assert_int_equal(run("daemon", "start", NULL), EXIT_OK);
    int64_t begun = steady_ms();
    assert_int_equal(run("daemon", "restart", NULL), EXIT_OK);
    assert_true(steady_ms() - begun >= 300);
    assert_int_equal(run("daemon", "status", NULL), EXIT_OK);
    assert_int_equal(run("daemon", "stop", NULL), EXIT_OK);
    assert_int_equal(run("daemon", "status", NULL), EXIT_DAEMON);
    file_text("winners", winners, sizeof(winners));
    assert_string_equal(winners, "ww");
}

/* The old one is told to stop by somebody else: it holds the lock and listens no more. */
static void a_command_outlasts_a_daemon_on_its_way_out(void **state)
{
    (void)state;
    setenv("CREDWARDEN_TEST_MODE", "slow-end", 1);
    assert_int_equal(run("daemon", "start", NULL), EXIT_OK);
    struct request r = {.method = "POST", .path = "/v1/daemon/stop", .accept = "text/plain"};
    struct invocation in = {.command = &command_list};
    struct reply reply;
    assert_int_equal(ask(&in, &r, &reply), EXIT_OK); /* does not wait */
    reply_release(&reply);
    assert_int_equal(run("list", NULL, NULL), EXIT_OK);
    assert_int_equal(run("daemon", "stop", NULL), EXIT_OK);
}

static void a_leftover_socket_is_no_daemon(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    path_of("run/credwarden/api.sock", path);
    assert_int_equal(str_copy(a.sun_path, sizeof(a.sun_path), path), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    (void)close(fd);
    assert_int_equal(run("daemon", "status", NULL), EXIT_DAEMON);
    assert_int_equal(run("list", NULL, NULL), EXIT_OK);
    assert_int_equal(run("daemon", "stop", NULL), EXIT_OK);
}

/* Listens as another user until the pipe is closed. */
static _Noreturn void stranger(int ready_fd, int end_fd)
{
    char path[PATH_SIZE];
    char byte = 'r';
    CHECK(setuid(65534) == 0);
    (void)alarm(LIFE_MAX_S);
    (void)listen_there(path);
    CHECK(write(ready_fd, &byte, 1) == 1);
    _exit((int)read(end_fd, &byte, 1)); /* 0: nothing but the end */
}

static void a_socket_of_another_user_is_told_nothing(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("SKIPPED: only root can play another user\n");
        skip();
    }
    char path[PATH_SIZE];
    int ready[2];
    int end[2];
    char byte;
    int status = -1;
    static const char *const dirs[] = {"", "run", "run/credwarden"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        path_of(dirs[i], path);
        assert_int_equal(chmod(path, 0777), 0);
    }
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(end, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(end[1]);
        stranger(ready[1], end[0]);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    path_of("run/credwarden/api.sock", path);
    int fd = -1;
    struct err_text text;
    assert_int_equal(client_connect(path, &fd, &text), ERR_INSECURE);
    assert_int_equal(fd, -1);
    assert_non_null(strstr(text.text, "another user (uid 65534)"));
    assert_int_equal(run("list", NULL, NULL), EXIT_DAEMON);
    (void)close(end[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)close(end[0]);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void nothing_is_started_against_the_users_will(void **state)
{
    (void)state;
    char winners[16];
    assert_int_equal(run("list", "--no-start", NULL), EXIT_DAEMON);
    assert_int_equal(run("daemon", "reload", NULL), EXIT_DAEMON);
    assert_int_equal(run("daemon", "stop", NULL), EXIT_OK);
    assert_int_equal(run("daemon", "status", NULL), EXIT_DAEMON);
    file_text("winners", winners, sizeof(winners));
    assert_string_equal(winners, "");
}

static void why_it_does_not_start_is_told(void **state)
{
    (void)state;
    enum started how = STARTED_READY;
    struct err_text text;
    setenv("CREDWARDEN_TEST_MODE", "refuse", 1);
    assert_int_equal(daemon_start(&how, &text), ERR_IO);
    assert_non_null(strstr(text.text, "the store is from the future"));
    setenv("CREDWARDEN_TEST_MODE", "silent", 1);
    assert_int_equal(daemon_start(&how, &text), ERR_IO);
    assert_non_null(strstr(text.text, "without saying why"));
    assert_int_equal(run("list", NULL, NULL), EXIT_DAEMON);
}

static void a_program_that_cannot_run_is_told(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    enum started how = STARTED_READY;
    struct err_text text;
    path_of("bin/credwardend", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(daemon_start(&how, &text), ERR_NOT_FOUND);
    assert_non_null(strstr(text.text, "CREDWARDEN_LIBEXEC"));

    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    assert_int_equal(write(fd, "nonsense", 8), 8);
    (void)close(fd);
    assert_int_equal(daemon_start(&how, &text), ERR_IO);
    assert_non_null(strstr(text.text, path));
    assert_non_null(strstr(text.text, "Exec format error"));
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    if (argc > 1 && strcmp(slash != NULL ? slash + 1 : argv[0], "credwardend") == 0) {
        return daemon_main();
    }
    const struct CMUnitTest tests[] = {
        STORY(the_first_command_starts_it),
        STORY(it_inherits_nothing_it_should_not),
        STORY(racing_commands_start_one_daemon),
        STORY(restart_waits_for_the_old_one_to_end),
        STORY(a_command_outlasts_a_daemon_on_its_way_out),
        STORY(a_leftover_socket_is_no_daemon),
        STORY(a_socket_of_another_user_is_told_nothing),
        STORY(nothing_is_started_against_the_users_will),
        STORY(why_it_does_not_start_is_told),
        STORY(a_program_that_cannot_run_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

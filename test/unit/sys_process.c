/*
 * Processes. This program is also the child it starts: called with a role as its first argument
 * it tells what it inherited, over descriptor 3.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "sys/file.h"
#include "sys/process.h"

/* What both sides of a start need */

static int count_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return n - 3; /* ".", ".." and the folder's own */
}

/* The hexadecimal set of signals that a line of /proc/self/status names. Not the two that are the
 * C library's own: nobody can set them through it, and some parents leave them ignored. */
#define LIBRARY_SIGNALS (3ULL << (32 - 1))

static unsigned long long signal_set(const char *field)
{
    char line[256];
    unsigned long long set = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            set = strtoull(line + strlen(field), NULL, 16);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return set & ~LIBRARY_SIGNALS;
}

static bool is_null(int fd)
{
    struct stat st;
    struct stat null;
    return fstat(fd, &st) == 0 && stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev &&
           S_ISCHR(st.st_mode);
}

static int tell(char **argv)
{
    struct buf b;
    buf_init(&b, 4000);
    (void)buf_addf(&b, "argv=%s,%s fds=%d own-session=%d null=%d%d%d blocked=%llx ignored=%llx",
                   argv[1], argv[2], count_fds(), getsid(0) == getpid(), is_null(0), is_null(1),
                   is_null(2), signal_set("SigBlk:"), signal_set("SigIgn:"));
    for (char **e = environ; *e != NULL; e++) {
        (void)buf_addf(&b, " env:%s", *e);
    }
    int err = packet_send(3, b.bytes, b.len, -1);
    buf_release(&b);
    return err == 0 ? 0 : 1;
}

static int tell_if_replaced(const char *self)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof(beside), "%s.new", self) >= (int)sizeof(beside) ||
        program_is_replaced()) {
        return 10;
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    fd_close(&fd);
    if (rename(beside, self) != 0 || !program_is_replaced()) {
        return 11;
    }
    return unlink(self) != 0 || program_is_replaced() ? 12 : 0;
}

static void self_path(char ret[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
    assert_true(n > 0);
    ret[n] = '\0';
}

/* Waits for the exit by the descriptor alone; the status. */
static int await_exit(pid_t pid, int *pid_fd)
{
    struct pollfd p = {.fd = *pid_fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, WNOHANG), pid);
    fd_close(pid_fd);
    return status;
}

static void a_child_gets_what_it_is_given_and_nothing_else(void **state)
{
    (void)state;
    char path[PATH_MAX];
    char got[4000];
    char *argv[] = {(char[]){"name"}, (char[]){"tell"}, (char[]){"me"}, NULL};
    char *envp[] = {(char[]){"A=1"}, (char[]){"B="}, NULL};
    int fds[2];
    int passed = -1;
    int pid_fd = -1;
    pid_t pid = -1;
    sigset_t blocked;
    self_path(path);
    assert_int_equal(packet_pair(fds), 0);
    int leaky = open("/", O_RDONLY | O_DIRECTORY); /* without close-on-exec, on purpose */
    assert_true(leaky > 3);
    assert_true(dup2(leaky, 200) == 200);
    assert_int_equal(setenv("MADE_UP_SECRET", "x", 1), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGUSR1);
    assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
    int before = count_fds();

    assert_int_equal(process_spawn(path, argv, envp, fds[1], &pid, &pid_fd), 0);
    assert_int_equal(count_fds(), before + 1);
    assert_true((fcntl(pid_fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(await_exit(pid, &pid_fd), 0);
    int n = packet_recv(fds[0], got, sizeof(got) - 1, &passed);
    assert_true(n > 0);
    got[n] = '\0';
    char expected[256];
    (void)snprintf(expected, sizeof(expected),
                   "argv=tell,me fds=4 own-session=1 null=11%d blocked=0 ignored=0 "
                   "env:A=1 env:B=",
                   is_null(2));
    assert_string_equal(got, expected);

    assert_int_equal(signal_set("SigBlk:"), 1ull << (SIGUSR1 - 1)); /* ours is as it was */
    assert_int_equal(sigprocmask(SIG_UNBLOCK, &blocked, NULL), 0);
    (void)close(200);
    (void)close(leaky);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
}

static void a_child_is_let_go_when_it_has_ended_and_not_before(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (;;) {
            (void)pause();
        }
    }
    process_reap(pid, false);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* still ours, and running */
    assert_int_equal(kill(pid, SIGKILL), 0);
    process_reap(pid, true);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    process_reap(pid, true); /* nobody to wait for */
}

static void an_environment_always_has_an_end(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (setenv("CREDWARDEN_TEST", "1", 1) != 0) {
            _exit(1);
        }
        char *const *e = process_environment();
        while (*e != NULL && strcmp(*e, "CREDWARDEN_TEST=1") != 0) {
            e++;
        }
        bool was_there = *e != NULL;
        _exit(was_there && clearenv() == 0 && process_environment()[0] == NULL ? 0 : 2);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void without_a_socket_three_stays_shut(void **state)
{
    (void)state;
    char path[PATH_MAX];
    char *argv[] = {(char[]){"name"}, (char[]){"count"}, NULL};
    char *envp[] = {NULL};
    int pid_fd = -1;
    pid_t pid = -1;
    self_path(path);
    assert_int_equal(process_spawn(path, argv, envp, -1, &pid, &pid_fd), 0);
    int status = await_exit(pid, &pid_fd);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
}

static int spawn_error(const char *path)
{
    char *argv[] = {(char[]){"name"}, NULL};
    char *envp[] = {NULL};
    int pid_fd = -7;
    pid_t pid = -7;
    int before = count_fds();
    int err = process_spawn(path, argv, envp, -1, &pid, &pid_fd);
    assert_int_equal(pid, -7);
    assert_int_equal(pid_fd, -7);
    assert_int_equal(count_fds(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(errno, ECHILD);
    return err;
}

static void a_program_that_cannot_run_is_an_error_not_an_exit(void **state)
{
    (void)state;
    char path[] = "/tmp/credwarden-process-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(spawn_error("/nonexistent/program"), ERR_NOT_FOUND);
    assert_int_equal(spawn_error("/"), ERR_DENIED);
    assert_int_equal(spawn_error(path), ERR_DENIED);
    assert_int_equal(write(fd, "\x01\x02nothing", 9), 9);
    assert_int_equal(fchmod(fd, 0700), 0);
    assert_int_equal(spawn_error(path), ERR_BUSY); /* open for writing */
    fd_close(&fd);
    assert_int_equal(spawn_error(path), ERR_INVALID);
    assert_int_equal(unlink(path), 0);
}

/* Packets */

static void packets_keep_their_edges(void **state)
{
    (void)state;
    int fds[2];
    int passed = -7;
    char got[16];
    assert_int_equal(packet_pair(fds), 0);
    assert_true((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(fds[1], F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(packet_recv(fds[1], got, sizeof(got), &passed), ERR_AGAIN);
    assert_int_equal(passed, -7);
    assert_int_equal(packet_send(fds[0], "", 0, -1), ERR_INVALID);
    assert_int_equal(packet_send(fds[0], "one", 3, -1), 0);
    assert_int_equal(packet_send(fds[0], "second", 6, -1), 0);
    assert_int_equal(packet_recv(fds[1], got, sizeof(got), &passed), 3);
    assert_memory_equal(got, "one", 3);
    assert_int_equal(passed, -1);
    assert_int_equal(packet_recv(fds[1], got, 5, &passed), ERR_TOO_LARGE);
    assert_int_equal(packet_send(fds[0], "third", 5, -1), 0);
    assert_int_equal(packet_recv(fds[1], got, 5, NULL), 5);
    assert_int_equal(packet_send(fds[0], "last", 4, -1), 0);
    fd_close(&fds[0]);
    assert_int_equal(packet_recv(fds[1], got, sizeof(got), &passed), 4);
    assert_int_equal(packet_recv(fds[1], got, sizeof(got), &passed), 0);
    assert_int_equal(packet_send(fds[1], "x", 1, -1), ERR_CLOSED); /* and no SIGPIPE */
    fd_close(&fds[1]);
}

static void the_largest_packet_fits_and_a_full_queue_says_again(void **state)
{
    (void)state;
    int fds[2];
    uint8_t *bytes = malloc(PACKET_MAX + 1);
    uint8_t *got = malloc(PACKET_MAX);
    (void)signal(SIGPIPE, SIG_DFL);
    for (size_t i = 0; i <= PACKET_MAX; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    assert_int_equal(packet_pair(fds), 0);
    assert_int_equal(packet_send(fds[0], bytes, PACKET_MAX + 1, -1), ERR_TOO_LARGE);
    assert_int_equal(packet_send(fds[0], bytes, PACKET_MAX, -1), 0);
    assert_int_equal(packet_recv(fds[1], got, PACKET_MAX, NULL), PACKET_MAX);
    assert_memory_equal(bytes, got, PACKET_MAX);
    int sent = 0;
    int err = 0;
    while (sent < 100 && (err = packet_send(fds[0], bytes, 10000, -1)) == 0) {
        sent++;
    }
    assert_int_equal(err, ERR_AGAIN);
    for (int i = 0; i < sent; i++) {
        assert_int_equal(packet_recv(fds[1], got, PACKET_MAX, NULL), 10000);
    }
    assert_int_equal(packet_recv(fds[1], got, PACKET_MAX, NULL), ERR_AGAIN);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    free(bytes);
    free(got);
}

static void a_descriptor_travels(void **state)
{
    (void)state;
    int fds[2];
    int ends[2];
    int passed = -1;
    char got[8];
    assert_int_equal(packet_pair(fds), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(packet_send(fds[0], "take", 4, ends[0]), 0);
    fd_close(&ends[0]);
    assert_int_equal(packet_recv(fds[1], got, sizeof(got), &passed), 4);
    assert_true(passed >= 0);
    assert_true((fcntl(passed, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(write(ends[1], "through", 7), 7);
    assert_int_equal(read(passed, got, sizeof(got)), 7);
    assert_memory_equal(got, "through", 7);
    assert_int_equal(packet_send(fds[0], "x", 1, 9999), ERR_IO); /* no such descriptor */
    fd_close(&passed);
    fd_close(&ends[1]);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
}

/* A peer that means no good: n descriptors in one packet. */
static void send_many(int to, int fd, size_t n)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(32 * sizeof(int))];
    } control = {0};
    int many[32];
    char byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    for (size_t i = 0; i < n; i++) {
        many[i] = fd;
    }
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(n * sizeof(int)),
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), many, n * sizeof(int));
    assert_int_equal(sendmsg(to, &msg, 0), 1);
}

static void descriptors_nobody_asked_for_are_closed(void **state)
{
    (void)state;
    int fds[2];
    char got[8];
    assert_int_equal(packet_pair(fds), 0);
    int before = count_fds();
    for (size_t n = 1; n <= 32; n++) {
        int passed = -1;
        send_many(fds[0], fds[0], n);
        assert_int_equal(packet_recv(fds[1], got, sizeof(got), &passed), 1);
        assert_int_equal(count_fds(), before + 1);
        fd_close(&passed);
        send_many(fds[0], fds[0], n);
        assert_int_equal(packet_recv(fds[1], got, sizeof(got), NULL), 1);
        assert_int_equal(count_fds(), before);
    }
    assert_int_equal(packet_send(fds[0], "too long", 8, fds[0]), 0);
    assert_int_equal(packet_recv(fds[1], got, 4, &(int){-1}), ERR_TOO_LARGE);
    assert_int_equal(count_fds(), before);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
}

static void the_peer_is_known(void **state)
{
    (void)state;
    int fds[2];
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uid_t uid = 12345;
    pid_t pid = 12345;
    assert_int_equal(packet_pair(fds), 0);
    assert_true(peer_of(null_fd, &uid, &pid) < 0);
    assert_int_equal(uid, 12345);
    assert_int_equal(pid, 12345);
    assert_int_equal(peer_of(fds[0], &uid, &pid), 0);
    assert_int_equal(uid, getuid());
    assert_int_equal(pid, getpid());
    fd_close(&null_fd);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
}

/* Hardening, in a child: it cannot be taken back. The line that does not hold is the status. */

#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            return __LINE__ % 250 + 1;                                                             \
        }                                                                                          \
    } while (0)

static int harden(void)
{
    struct rlimit core;
    (void)umask(022);
    (void)close(0);
    (void)close(2);
    (void)signal(SIGPIPE, SIG_DFL);
    EXPECT(process_harden() == 0);
    EXPECT(is_null(0) && is_null(2));
    EXPECT(open("/dev/null", O_RDONLY | O_CLOEXEC) > 2);
    EXPECT(umask(0) == 077);
    EXPECT(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
    EXPECT((signal_set("SigIgn:") & 1ull << (SIGPIPE - 1)) != 0);
    EXPECT((signal_set("SigIgn:") & 1ull << (SIGXFSZ - 1)) != 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
    EXPECT(prctl(PR_GET_DUMPABLE) == 0);
#endif
    EXPECT(process_harden() == 0);
    return 0;
}

static void hardening_takes(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(harden());
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Programs */

static void programs_are_found_in_order(void **state)
{
    (void)state;
    char self[PATH_MAX];
    char got[PATH_MAX] = "before";
    char dir[] = "/tmp/credwarden-program-XXXXXX";
    char other[64];
    char plain[64];
    self_path(self);
    const char *name = strrchr(self, '/') + 1;
    assert_int_equal(unsetenv("CREDWARDEN_LIBEXEC"), 0);
    assert_int_equal(program_path("credwarden-no-such-program", got, sizeof(got)), ERR_NOT_FOUND);
    assert_int_equal(program_path("", got, sizeof(got)), ERR_INVALID);
    assert_int_equal(program_path("../sh", got, sizeof(got)), ERR_INVALID);
    assert_int_equal(program_path("/bin/sh", got, sizeof(got)), ERR_INVALID);
    assert_int_equal(program_path(name, got, strlen(self)), ERR_TOO_LARGE);
    assert_string_equal(got, "before");
    assert_int_equal(program_path(name, got, sizeof(got)), 0);
    assert_string_equal(got, self);

    assert_non_null(mkdtemp(dir));
    (void)snprintf(other, sizeof(other), "%s/%.20s", dir, name);
    (void)snprintf(plain, sizeof(plain), "%s/plain", dir);
    int fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    fd_close(&fd);
    fd = open(plain, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    fd_close(&fd);
    assert_int_equal(setenv("CREDWARDEN_LIBEXEC", dir, 1), 0);
    assert_int_equal(program_path(name, got, sizeof(got)), 0);
    assert_string_equal(got, other);
    assert_int_equal(program_path("plain", got, sizeof(got)), ERR_NOT_FOUND); /* no program */
    assert_int_equal(setenv("CREDWARDEN_LIBEXEC", "relative", 1), 0);
    assert_int_equal(program_path(name, got, sizeof(got)), 0);
    assert_string_equal(got, self);
    assert_int_equal(unsetenv("CREDWARDEN_LIBEXEC"), 0);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(unlink(plain), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, bytes, sizeof(bytes))) != 0;) {
        assert_true(n > 0);
        assert_int_equal(write(out, bytes, (size_t)n), n);
    }
    fd_close(&in);
    fd_close(&out);
}

static void an_upgrade_is_noticed(void **state)
{
    (void)state;
    char self[PATH_MAX];
    char dir[] = "/tmp/credwarden-program-XXXXXX";
    char copy[64];
    int pid_fd = -1;
    pid_t pid = -1;
    self_path(self);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(copy, sizeof(copy), "%s/copy", dir);
    copy_file(self, copy);
    char *argv[] = {copy, (char[]){"replaced"}, copy, NULL};
    assert_int_equal(process_spawn(copy, argv, environ, -1, &pid, &pid_fd), 0);
    int status = await_exit(pid, &pid_fd);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* In a child of our own: a hard limit that was lowered stays so. */
static uint64_t raised_from(rlim_t soft, rlim_t hard, uint64_t max)
{
    const struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit now = {0};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            _exit(0);
        }
        uint64_t said = process_raise_descriptors(max);
        (void)getrlimit(RLIMIT_NOFILE, &now);
        _exit(said == now.rlim_cur && now.rlim_max == hard ? (int)said : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return (uint64_t)WEXITSTATUS(status);
}

static void descriptors_are_raised_and_never_lowered(void **state)
{
    (void)state;
    assert_int_equal(raised_from(64, 200, 65536), 200); /* as far as it is allowed */
    assert_int_equal(raised_from(64, 200, 100), 100);   /* and no further than asked */
    assert_int_equal(raised_from(150, 200, 100), 150);
    assert_int_equal(raised_from(200, 200, 65536), 200);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "tell") == 0) {
        return tell(argv);
    }
    if (argc == 2 && strcmp(argv[1], "count") == 0) {
        return count_fds();
    }
    if (argc == 3 && strcmp(argv[1], "replaced") == 0) {
        return tell_if_replaced(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_gets_what_it_is_given_and_nothing_else),
        cmocka_unit_test(a_child_is_let_go_when_it_has_ended_and_not_before),
        cmocka_unit_test(an_environment_always_has_an_end),
        cmocka_unit_test(without_a_socket_three_stays_shut),
        cmocka_unit_test(a_program_that_cannot_run_is_an_error_not_an_exit),
        cmocka_unit_test(packets_keep_their_edges),
        cmocka_unit_test(the_largest_packet_fits_and_a_full_queue_says_again),
        cmocka_unit_test(a_descriptor_travels),
        cmocka_unit_test(descriptors_nobody_asked_for_are_closed),
        cmocka_unit_test(the_peer_is_known),
        cmocka_unit_test(hardening_takes),
        cmocka_unit_test(descriptors_are_raised_and_never_lowered),
        cmocka_unit_test(programs_are_found_in_order),
        cmocka_unit_test(an_upgrade_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

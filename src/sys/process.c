/*
 * Hardening of our own process, peers, and children.
 *
 * Children are forked, not posix_spawn()ed: that cannot close everything. Between fork and exec
 * only async-signal-safe calls are made, since other threads may have held any lock; and they are
 * made bare, not through sys/io.h, so that whatever else those functions learn stays out of it.
 */
#include "sys/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "sys/io.h"
#include "sys/process_parts.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

/* A file opened later must not land on a standard descriptor, where a message would be written
 * into it. */
static int open_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            return -1;
        }
    }
    return 0;
}

/* Both would kill us where an error code is wanted: a peer that is gone, a file size limit. */
static int ignore_deadly_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    return sigaction(SIGPIPE, &ignore, NULL) == 0 && sigaction(SIGXFSZ, &ignore, NULL) == 0 ? 0
                                                                                            : -1;
}

/* The kernel sets this bit again at each exec: it cannot be inherited, each program does it. */
static int forbid_tracing(void)
{
#ifdef WITH_ASAN
    return 0; /* the leak check traces its own process */
#else
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

int process_harden(void)
{
    const struct rlimit no_core = {0};
    (void)process_umask(077);
    if (open_standard_fds() != 0 || ignore_deadly_signals() != 0 ||
        setrlimit(RLIMIT_CORE, &no_core) != 0 || forbid_tracing() != 0) {
        return err_from_errno(errno);
    }
    return 0;
}

uint64_t process_raise_descriptors(uint64_t max)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    rlim_t wanted = limit.rlim_max < max ? limit.rlim_max : max;
    if (wanted > limit.rlim_cur) {
        struct rlimit raised = {.rlim_cur = wanted, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            return wanted;
        }
    }
    return limit.rlim_cur;
}

bool process_has_descriptors(int n)
{
    int fds[64];
    int open = 0;
    while (open < n && open < (int)ARRAY_LEN(fds) &&
           (fds[open] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0) {
        open++;
    }
    for (int i = 0; i < open; i++) {
        (void)close(fds[i]);
    }
    return open == n;
}

mode_t process_umask(mode_t mask)
{
    return umask(mask);
}

uid_t process_uid(void)
{
    return geteuid();
}

char *const *process_environment(void)
{
    static char *const none[] = {NULL};
    return environ != NULL ? environ : none; /* clearenv() leaves NULL */
}

int peer_of(int fd, uid_t *ret_uid, pid_t *ret_pid)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return err_from_errno(errno);
    }
    *ret_uid = peer.uid;
    *ret_pid = peer.pid;
    return 0;
}

/* Children */

enum { SOCKET_FD = 3, REPORT_FD = 4, FIRST_FREE_FD = 5 };

/* Ignored signals and the mask survive exec: ours would become the child's. */
static int reset_signals(void)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++) {
        (void)sigaction(s, &usual, NULL); /* fails for those that cannot be set anyway */
    }
    sigset_t none;
    (void)sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Leave exactly 0 (the input, or /dev/null), 1 (/dev/null), 2 (ours, or /dev/null), 3 (the socket)
 * and, until exec, the report. What we keep is lifted first, so that no dup2() below can hit it. */
static int arrange_fds(const struct child *c, int report_fd)
{
    int socket_fd = c->socket_fd;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0) {
        return -1; /* before anything else says why */
    }
    int high_null = fcntl(null_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    int high_report = fcntl(report_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    int high_socket = socket_fd < 0 ? -1 : fcntl(socket_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    int high_input =
        c->input_fd < 0 ? high_null : fcntl(c->input_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (high_null < 0 || high_report < 0 || high_input < 0 || (socket_fd >= 0 && high_socket < 0)) {
        return -1;
    }
    if (dup2(high_input, 0) < 0 || dup2(high_null, 1) < 0 ||
        (c->foreign && dup2(high_null, 2) < 0) || dup3(high_report, REPORT_FD, O_CLOEXEC) < 0) {
        return -1;
    }
    if (socket_fd >= 0) {
        if (dup2(high_socket, SOCKET_FD) < 0) {
            return -1;
        }
    } else {
        (void)close(SOCKET_FD);
    }
    return close_range(FIRST_FREE_FD, ~0U, 0);
}

/* Returns only to say that it failed: the parent reads errno from the report. */
static _Noreturn void child_run(const struct child *c, int report_fd)
{
    if (setsid() >= 0 && arrange_fds(c, report_fd) == 0) {
        report_fd = REPORT_FD;
        if (reset_signals() == 0 && (!c->foreign || chdir("/") == 0)) {
            (void)execve(c->path, c->argv, c->envp);
        }
    }
    int errnum = errno;
    (void)!write(report_fd, &errnum, sizeof(errnum));
    _exit(127);
}

/* fork() with every signal blocked: a signal between fork and exec must not run the parent's
 * signal functions in the child. */
static pid_t fork_child(const struct child *c, int report_fd)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        child_run(c, report_fd);
    }
    int errnum = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = errnum;
    return pid;
}

/* 0 once the child runs its program (close-on-exec ended the report), else the child's errno. */
static int read_report(int fd)
{
    int errnum = 0;
    ssize_t n = fd_read(fd, &errnum, sizeof(errnum));
    if (n == 0) {
        return 0;
    }
    return n == (ssize_t)sizeof(errnum) ? errnum : EIO;
}

void process_reap(pid_t pid, bool may_wait)
{
    while (waitpid(pid, NULL, may_wait ? 0 : WNOHANG) < 0 && errno == EINTR) {
    }
}

void process_end(int pid_fd)
{
    (void)syscall(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0);
}

int process_spawn(const char *path, char *const argv[], char *const envp[], int socket_fd,
                  pid_t *ret_pid, int *ret_pid_fd)
{
    struct child c = {
        .path = path,
        .argv = argv,
        .envp = envp,
        .input_fd = -1,
        .socket_fd = socket_fd,
    };
    return child_spawn(&c, ret_pid, ret_pid_fd);
}

int child_spawn(const struct child *c, pid_t *ret_pid, int *ret_pid_fd)
{
    int report[2] = {-1, -1};
    if (pipe2(report, O_CLOEXEC) != 0) {
        return err_from_errno(errno);
    }
    pid_t pid = fork_child(c, report[1]);
    int errnum = pid < 0 ? errno : 0;
    fd_close(&report[1]);
    if (pid > 0) {
        errnum = read_report(report[0]);
    }
    fd_close(&report[0]);
    int pid_fd = -1;
    if (pid > 0 && errnum == 0) {
        pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (pid_fd < 0) {
            errnum = errno;
        }
    }
    if (errnum != 0) {
        if (pid > 0) {
            (void)kill(pid, SIGKILL); /* it may well be running */
            process_reap(pid, true);
        }
        /* EAGAIN of fork() is a limit on processes, not a reason to poll. */
        return errnum == EAGAIN ? ERR_BUSY : err_from_errno(errnum);
    }
    *ret_pid = pid;
    *ret_pid_fd = pid_fd;
    return 0;
}

/*
 * A program that is run to its end, with something to read, and for a limited time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/process_parts.h"

#define KILLED_MS (1 * SECOND_MS) /* what was killed has that long to be gone */

struct run {
    pid_t pid;
    int pid_fd;
    int feed_fd; /* -1: it has all it gets */
    const char *input;
    size_t left;
};

/* Stands still during a suspend: a limit on work, not on time. */
static int64_t now_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND_MS + t.tv_nsec / 1000000;
}

/* Whoever reads nothing, or not all of it, may. */
static void feed(struct run *r)
{
    ssize_t n = r->left > 0 ? write(r->feed_fd, r->input, r->left) : 0;
    if (n > 0) {
        r->input += n;
        r->left -= (size_t)n;
    }
    bool later = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (r->left == 0 || (n < 0 && !later)) {
        fd_close(&r->feed_fd);
    }
}

/* ERR_TIMEOUT: it has not ended. */
static int await_end(struct run *r, int64_t until_ms)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = r->pid_fd, .events = POLLIN},
                              {.fd = r->feed_fd, .events = POLLOUT}};
        int64_t left = until_ms - now_ms();
        if (left <= 0) {
            return ERR_TIMEOUT;
        }
        int n = poll(p, 2, (int)(left < MINUTE_MS ? left : MINUTE_MS));
        if (n < 0 && errno != EINTR) {
            return err_from_errno(errno);
        }
        if (n > 0 && p[0].revents != 0) {
            return 0;
        }
        if (n > 0 && p[1].revents != 0) {
            feed(r);
        }
    }
}

/* With all that it has started and that stayed in its group. As long as it is not reaped, no other
 * group can have its number. One that cannot even be killed (it waits for a dead disk) is left. */
static void kill_all(struct run *r)
{
    (void)kill(-r->pid, SIGKILL);
    fd_close(&r->feed_fd);
    (void)await_end(r, now_ms() + KILLED_MS);
    process_reap(r->pid, false);
}

static int read_ending(pid_t pid, struct process_ending *ret)
{
    int status = 0;
    pid_t reaped;
    do {
        reaped = waitpid(pid, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    if (reaped != pid) {
        return err_from_errno(errno);
    }
    *ret = WIFSIGNALED(status) ? (struct process_ending){.signal = WTERMSIG(status)}
                               : (struct process_ending){.exit_code = WEXITSTATUS(status)};
    return 0;
}

static int start(const char *path, char *const argv[], char *const envp[], struct run *r)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return err_from_errno(errno);
    }
    struct child c = {
        .path = path,
        .argv = argv,
        .envp = envp,
        .input_fd = ends[0],
        .socket_fd = -1,
        .foreign = true,
    };
    int err = fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0 ? child_spawn(&c, &r->pid, &r->pid_fd)
                                                       : err_from_errno(errno);
    fd_close(&ends[0]);
    if (err != 0) {
        fd_close(&ends[1]);
    }
    r->feed_fd = ends[1];
    return err;
}

int process_run(const char *path, char *const argv[], char *const envp[], const void *input,
                size_t len, int64_t limit_ms, struct process_ending *ret)
{
    struct run r = {.input = input, .left = len};
    int64_t until_ms = now_ms() + limit_ms;
    int err = start(path, argv, envp, &r);
    if (err != 0) {
        return err;
    }
    err = await_end(&r, until_ms);
    if (err == 0) {
        err = read_ending(r.pid, ret);
    } else {
        kill_all(&r);
    }
    fd_close(&r.feed_fd);
    fd_close(&r.pid_fd);
    return err;
}

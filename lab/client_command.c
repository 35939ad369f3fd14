/*
 * A well-behaved client's way to a token: ask the command that keeps it. No shell, no standard
 * input; its standard error is ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/exits.h"
#include "base/str.h"
#include "lab/client.h"
#include "sys/clock.h"

static int start(char *const argv[], int out_fd, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    int err;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return ERR_NOMEM;
    err = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    err = err != 0 ? err : posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
    err = err != 0 ? err : posix_spawnp(ret, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return err == 0 ? 0 : err_from_errno(err);
}

/* Everything the command writes, until it closes its standard output. */
static int read_output(int fd, char *ret, size_t size)
{
    int64_t deadline_ms = clock_now().boot_ms + CLIENT_COMMAND_MAX_MS;
    size_t len = 0;

    while (len + 1 < size) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_now().boot_ms;
        ssize_t n;

        if (left_ms <= 0)
            return ERR_TIMEOUT;
        if (poll(&wait, 1, (int)left_ms) <= 0)
            continue;
        n = read(fd, ret + len, size - 1 - len);
        if (n < 0 && errno != EINTR)
            return ERR_IO;
        if (n == 0) {
            ret[len] = '\0';
            ret[strcspn(ret, "\r\n")] = '\0';
            return 0;
        }
        len += n > 0 ? (size_t)n : 0;
    }
    return ERR_TOO_LARGE;
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

enum fetch command_fetch(const struct client *c, char token[CLIENT_TOKEN_SIZE],
                         char error[CLIENT_ERROR_SIZE])
{
    int fds[2], err, code;
    pid_t pid = -1;

    if (pipe2(fds, O_CLOEXEC) != 0) {
        (void)str_copy(error, CLIENT_ERROR_SIZE, "token command: no pipe");
        return FETCH_FAILED;
    }
    err = start(c->command, fds[1], &pid);
    close(fds[1]);
    if (err != 0) {
        close(fds[0]);
        snprintf(error, CLIENT_ERROR_SIZE, "token command: cannot start (%s)", err_name(err));
        return FETCH_FAILED;
    }
    err = read_output(fds[0], token, CLIENT_TOKEN_SIZE);
    close(fds[0]);
    if (err != 0)
        (void)kill(pid, SIGKILL);
    code = wait_for(pid);
    if (err == 0 && code == EXIT_SIGN_IN) {
        (void)str_copy(error, CLIENT_ERROR_SIZE, "sign-in");
        return FETCH_DIED;
    }
    if (err == 0 && code == 0 && token[0] != '\0')
        return FETCH_TOKEN;
    snprintf(error, CLIENT_ERROR_SIZE, "token command: %s %d",
             err == 0 ? "exit code" : err_name(err), code);
    return FETCH_FAILED;
}

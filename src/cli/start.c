/* Starting the daemon, as start.h has it. */
#include "cli/start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/client.h"

#define DAEMON_NAME "credwardend"
#define READY_FD    3

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* `*errnum`: why it is not there, where that is another reason than that it is not. */
static bool look_in(const char *folder, size_t folder_len, char ret[PATH_MAX], int *errnum)
{
    int n = snprintf(ret, PATH_MAX, "%.*s/" DAEMON_NAME, (int)folder_len, folder);
    errno = 0;
    if (n > 0 && n < PATH_MAX && is_program(ret)) {
        return true;
    }
    if (*errnum == 0 && errno != ENOENT && errno != ENOTDIR) {
        *errnum = errno;
    }
    return false;
}

/* The same places, in the same order, as the daemon looks for its own programs. */
static int find_program(char ret[PATH_MAX], struct err_text *text)
{
    int errnum = 0;
    const char *chosen = getenv("CREDWARDEN_LIBEXEC");
    if (chosen != NULL && chosen[0] == '/' && look_in(chosen, strlen(chosen), ret, &errnum)) {
        return 0;
    }
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(self, '/');
    if (slash != NULL && look_in(self, (size_t)(slash - self), ret, &errnum)) {
        return 0;
    }
    if (look_in(CREDWARDEN_LIBEXECDIR, strlen(CREDWARDEN_LIBEXECDIR), ret, &errnum)) {
        return 0;
    }
    if (errnum != 0) {
        return err_say(text, err_from_errno(errnum), "cannot look for " DAEMON_NAME ": %s",
                       strerror(errnum));
    }
    return err_say(text, ERR_NOT_FOUND,
                   "there is no " DAEMON_NAME " beside this program nor in " CREDWARDEN_LIBEXECDIR
                   ": install it, or name its folder in CREDWARDEN_LIBEXEC");
}

/* The daemon outlives the shell it is first needed in: it gets what says who and where the user is,
 * and how the network is reached, and nothing else. */
static bool is_kept(const char *entry)
{
    static const char *const names[] = {
        "HOME",       "USER",       "LOGNAME",       "PATH",        "LANG",      "TZ",
        "http_proxy", "HTTP_PROXY", "https_proxy",   "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
        "no_proxy",   "NO_PROXY",   "SSL_CERT_FILE", "SSL_CERT_DIR"};
    static const char *const prefixes[] = {"LC_", "XDG_", "CREDWARDEN_"};
    size_t len = strcspn(entry, "=");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strlen(names[i]) == len && memcmp(names[i], entry, len) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

void clean_environment(char *const *from, char **to)
{
    for (; *from != NULL; from++) {
        if (is_kept(*from)) {
            *to++ = *from;
        }
    }
    *to = NULL;
}

static char **new_clean_environment(void)
{
    size_t n = 0;
    while (environ[n] != NULL) {
        n++;
    }
    char **env = calloc(n + 1, sizeof(*env));
    if (env != NULL) {
        clean_environment(environ, env);
    }
    return env;
}

static void usual_signals(void)
{
    for (int sig = 1; sig < NSIG; sig++) {
        (void)signal(sig, SIG_DFL); /* the two that cannot be set, and those of libc, refuse */
    }
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child. `ready_fd` is above READY_FD, as new_pipe() makes it. */
static _Noreturn void become_daemon(const char *path, char *const *env, int ready_fd)
{
    char name[] = DAEMON_NAME, option[] = "--ready-fd", fd_text[] = "3"; /* READY_FD */
    char *const argv[] = {name, option, fd_text, NULL};
    usual_signals();
    (void)umask(077);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool ok = null_fd >= 0 && setsid() >= 0 && chdir("/") == 0;
    for (int fd = STDIN_FILENO; ok && fd <= STDERR_FILENO; fd++) {
        ok = dup2(null_fd, fd) == fd;
    }
    if (ok && dup2(ready_fd, READY_FD) == READY_FD && close_range(READY_FD + 1, ~0U, 0) == 0) {
        (void)execve(path, argv, env);
        ready_fd = READY_FD;
    }
    (void)dprintf(ready_fd, "cannot run %s: %s\n", path, strerror(errno));
    _exit(127);
}

/* Both ends above what the child gives to the daemon, so that dup2() there cannot hit one. */
static int new_pipe(int ret_fds[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) != 0) {
        return err_from_errno(errno);
    }
    int err = 0;
    for (int i = 0; i < 2; i++) {
        ret_fds[i] = fcntl(low[i], F_DUPFD_CLOEXEC, READY_FD + 1);
        if (ret_fds[i] < 0) {
            err = err_from_errno(errno);
        }
        (void)close(low[i]);
    }
    if (err != 0) {
        client_close(ret_fds[0]);
        client_close(ret_fds[1]);
    }
    return err;
}

/* One line, without its end; "" when the daemon ended without a word. */
static int read_line(int fd, char *line, size_t size, struct err_text *text)
{
    size_t len = 0;
    int64_t deadline = steady_ms() + START_TIME_MS;
    line[0] = '\0';
    while (strchr(line, '\n') == NULL && len + 1 < size) {
        int64_t left = deadline - steady_ms();
        struct pollfd in = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&in, 1, (int)left) : 0;
        if (ready == 0) {
            return err_say(text, ERR_TIMEOUT, DAEMON_NAME " did not get ready within %d s",
                           START_TIME_MS / 1000);
        }
        ssize_t n = ready > 0 ? read(fd, line + len, size - len - 1) : -1;
        if (n == 0) {
            break;
        }
        if (n > 0) {
            len += (size_t)n;
            line[len] = '\0';
        } else if (errno != EINTR) {
            return err_say(text, ERR_IO, "cannot hear from " DAEMON_NAME ": %s", strerror(errno));
        }
    }
    line[strcspn(line, "\n")] = '\0';
    return 0;
}

static int await_ready(int fd, enum started *ret, struct err_text *text)
{
    char line[START_LINE_MAX];
    int err = read_line(fd, line, sizeof(line), text);
    if (err != 0) {
        return err;
    }
    if (strcmp(line, "ready") == 0) {
        *ret = STARTED_READY;
        return 0;
    }
    if (strcmp(line, "already") == 0) {
        *ret = STARTED_ALREADY;
        return 0;
    }
    return err_say(text, ERR_IO, DAEMON_NAME " does not start: %s",
                   line[0] != '\0' ? line : "it ended without saying why");
}

static int spawn(const char *path, char *const *env, int *ret_read_fd, struct err_text *text)
{
    int fds[2] = {-1, -1};
    int err = new_pipe(fds);
    if (err != 0) {
        return err_say(text, err, "cannot start " DAEMON_NAME ": %s", err_reason(err));
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_daemon(path, env, fds[1]);
    }
    int fork_errno = errno;
    (void)close(fds[1]);
    if (pid < 0) {
        (void)close(fds[0]);
        return err_say(text, err_from_errno(fork_errno), "cannot start " DAEMON_NAME ": %s",
                       strerror(fork_errno));
    }
    *ret_read_fd = fds[0];
    return 0;
}

int daemon_start(enum started *ret, struct err_text *text)
{
    char path[PATH_MAX];
    int err = find_program(path, text);
    if (err != 0) {
        return err;
    }
    char **env = new_clean_environment();
    if (env == NULL) {
        return err_say(text, ERR_NOMEM, "there is not enough memory to start " DAEMON_NAME);
    }
    int fd = -1;
    err = spawn(path, env, &fd, text);
    if (err == 0) {
        err = await_ready(fd, ret, text);
        (void)close(fd);
    }
    free(env);
    return err;
}

int daemon_become(const char *option, const char *more, struct err_text *text)
{
    char path[PATH_MAX];
    int err = find_program(path, text);
    if (err != 0) {
        return err;
    }
    const char *const argv[] = {DAEMON_NAME, option, more, NULL};
    (void)execve(path, (char *const *)argv, environ); /* which writes to none of them */
    return err_say(text, err_from_errno(errno), "cannot run %s: %s", path, strerror(errno));
}

void guard_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            /* The lowest free number is `fd`; the other direction makes any use of it fail. */
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

int program_become(char *const *argv, struct err_text *text)
{
    (void)execvp(argv[0], argv);
    int errnum = errno;
    return err_say(text, err_from_errno(errnum), "cannot run %.200s: %s", argv[0],
                   strerror(errnum));
}

/*
 * The connection, as client.h has it. Blocking, with poll() for patience: a command has one thing
 * to do at a time.
 */
#include "cli/client.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/time.h"

#define READ_SIZE ((size_t)16 * 1024)

int64_t steady_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void pause_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* The folder is private, so this only fails where somebody else owns the place we were pointed to.
 * What is sent may be a credential: look before speaking. */
static int check_peer(int fd, const char *path, struct err_text *text)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        return err_say(text, ERR_IO, "cannot tell who listens at %s: %s", path, strerror(errno));
    }
    if (peer.uid != geteuid()) {
        return err_say(text, ERR_INSECURE,
                       "%s belongs to another user (uid %u): nothing was sent to it", path,
                       (unsigned)peer.uid);
    }
    return 0;
}

/* For connect() while the daemon's queue is full, and for send() to one that does not read. */
static void limit_sending(int fd)
{
    struct timeval t = {.tv_sec = CONNECT_TIME_MS / 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static int connect_failed(const char *path, int errnum, struct err_text *text)
{
    if (errnum == EAGAIN) {
        return err_say(text, ERR_BUSY,
                       "credwardend takes no requests at %s: it stands still, or its memory or "
                       "open files are at their limit; nothing was asked",
                       path);
    }
    return err_say(text, err_from_errno(errnum), "cannot connect to credwardend at %s: %s", path,
                   strerror(errnum));
}

int client_connect(const char *socket_path, int *ret_fd, struct err_text *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (str_copy(address.sun_path, sizeof(address.sun_path), socket_path) != 0) {
        return err_say(text, ERR_TOO_LARGE, "the path of the socket is too long: %s", socket_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_say(text, err_from_errno(errno), "cannot make a socket: %s", strerror(errno));
    }
    limit_sending(fd);
    int err = 0;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        err = connect_failed(socket_path, errno, text);
    } else {
        err = check_peer(fd, socket_path, text);
    }
    if (err != 0) {
        (void)close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

void client_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

static int send_all(int fd, const void *bytes, size_t len, struct err_text *text)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return err_say(text, ERR_BUSY,
                           "credwardend does not read the request; nothing was done");
        }
        if (n < 0) {
            return err_say(text, err_from_errno(errno), "cannot send to credwardend: %s",
                           strerror(errno));
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int client_send(int fd, const struct buf *head, const struct request *r, struct err_text *text)
{
    int err = send_all(fd, head->bytes, head->len, text);
    if (err == 0 && r->body != NULL) {
        err = send_all(fd, r->body, r->body_len, text);
    }
    return err;
}

/* An answer on its way in. */
struct intake {
    int fd;
    int signal_fd; /* -1: signals have their usual effect */
    int64_t deadline_ms;
    int64_t taken_deadline_ms; /* TIME_NEVER: the request has been taken */
    const struct stream *stream;
    struct response *response;
    struct buf *body;
    char *bytes; /* READ_SIZE, in secret memory */
    bool ended;  /* by a signal */
    struct err_text *text;
};

/* Ctrl-C during a stream is how it ends, not a failure. Taken as a descriptor, a signal cannot slip
 * in between looking for it and waiting. */
static int signals_as_descriptor(sigset_t *ret_before)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, ret_before);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Off the queue, or it would strike once signals are let through again. */
static bool take_signal(int signal_fd)
{
    struct signalfd_siginfo info;
    return read(signal_fd, &info, sizeof(info)) == sizeof(info);
}

/* The kernel lets us in and takes our bytes for a daemon that never looks. Those that nobody has
 * read are still counted as ours. */
static bool is_taken(int fd)
{
    int unread = 0;
    return ioctl(fd, SIOCOUTQ, &unread) != 0 || unread == 0;
}

static int64_t time_left(int64_t deadline_ms)
{
    return deadline_ms == TIME_NEVER ? TIME_NEVER : deadline_ms - steady_ms();
}

/* How long to wait at most; -1: for ever. A time that is over is an error. */
static int patience_left(struct intake *in, int *ret_ms)
{
    int64_t left_ms = time_left(in->deadline_ms);
    int64_t taken_left_ms = time_left(in->taken_deadline_ms);
    int pid = 0;
    if (left_ms <= 0) {
        return err_say(in->text, ERR_TIMEOUT, "credwardend did not answer in time");
    }
    if (taken_left_ms <= 0 && !is_taken(in->fd)) {
        (void)client_peer_pid(in->fd, &pid);
        return err_say(in->text, ERR_TIMEOUT,
                       "credwardend (process %d) takes no requests: it stands still, or its memory "
                       "or open files are at their limit",
                       pid);
    }
    if (taken_left_ms <= 0) {
        taken_left_ms = in->taken_deadline_ms = TIME_NEVER;
    }
    left_ms = taken_left_ms < left_ms ? taken_left_ms : left_ms;
    *ret_ms = left_ms == TIME_NEVER ? -1 : (int)left_ms;
    return 0;
}

/* 0: bytes are there, or `ended`. */
static int await(struct intake *in)
{
    struct pollfd fds[2] = {
        {.fd = in->fd, .events = POLLIN},
        {.fd = in->signal_fd, .events = POLLIN}, /* poll() skips -1 */
    };
    for (;;) {
        int left_ms = -1;
        int err = patience_left(in, &left_ms);
        if (err != 0) {
            return err;
        }
        int n = poll(fds, ARRAY_LEN(fds), left_ms);
        if (n < 0 && errno != EINTR) {
            return err_say(in->text, ERR_IO, "cannot wait for credwardend: %s", strerror(errno));
        }
        if (n > 0) {
            in->ended = fds[1].revents != 0 && take_signal(in->signal_fd);
            return 0;
        }
    }
}

/* Hands the whole lines on; what is left over waits for its end. Only a successful answer is a
 * stream, a problem is read whole. */
static int pass_lines(struct intake *in)
{
    if (in->stream == NULL || !response_has_head(in->response) || in->response->status >= 300) {
        return 0;
    }
    const char *last = memrchr(buf_text(in->body), '\n', in->body->len);
    if (last == NULL) {
        return 0;
    }
    size_t len = (size_t)(last - buf_text(in->body)) + 1;
    int err = in->stream->take(in->stream->ctx, buf_text(in->body), len, in->text);
    buf_consume(in->body, len);
    return err;
}

static int receive_some(struct intake *in)
{
    int err = await(in);
    if (err != 0 || in->ended) {
        return err;
    }
    ssize_t n = recv(in->fd, in->bytes, READ_SIZE, 0);
    if (n < 0 && errno == EINTR) {
        return 0;
    }
    if (n < 0 && errno != ECONNRESET) {
        return err_say(in->text, ERR_IO, "cannot read from credwardend: %s", strerror(errno));
    }
    if (n <= 0) {
        return response_end(in->response, in->text);
    }
    err = response_feed(in->response, in->bytes, (size_t)n, in->body, in->text);
    return err != 0 ? err : pass_lines(in);
}

int client_receive(int fd, const struct request *r, const struct stream *stream,
                   struct response *ret, struct buf *body, struct err_text *text)
{
    int64_t patience = r->patience_ms > 0 ? r->patience_ms : ANSWER_PATIENCE_MS;
    struct intake in = {
        .fd = fd,
        .signal_fd = -1,
        .deadline_ms = r->is_stream ? TIME_NEVER : steady_ms() + patience,
        .taken_deadline_ms = steady_ms() + TAKEN_TIME_MS,
        .stream = stream,
        .response = ret,
        .body = body,
        .bytes = secret_alloc(READ_SIZE),
        .text = text,
    };
    if (in.bytes == NULL) {
        return err_say(text, ERR_NOMEM, "there is not enough memory for the answer");
    }
    sigset_t before;
    if (stream != NULL) {
        in.signal_fd = signals_as_descriptor(&before);
    }
    response_init(ret);
    int err = 0;
    while (err == 0 && !in.ended && ret->part != RESPONSE_DONE) {
        err = receive_some(&in);
    }
    if (stream != NULL) {
        client_close(in.signal_fd);
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
    }
    secret_free(in.bytes);
    return err;
}

int client_peer_pid(int fd, int *ret_pid)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.pid <= 0) {
        return ERR_UNSUPPORTED;
    }
    *ret_pid = peer.pid;
    return 0;
}

int peer_watch(int pid, int *ret_watch)
{
    int watch = (int)syscall(SYS_pidfd_open, pid, 0);
    if (watch < 0) {
        return err_from_errno(errno);
    }
    *ret_watch = watch;
    return 0;
}

int peer_await_end(int watch, int64_t time_ms)
{
    struct pollfd fd = {.fd = watch, .events = POLLIN};
    int64_t deadline = steady_ms() + time_ms;
    int n = 0;
    do {
        int64_t left = deadline - steady_ms();
        n = poll(&fd, 1, left > 0 ? (int)left : 0);
    } while (n < 0 && errno == EINTR);
    (void)close(watch);
    return n > 0 ? 0 : n == 0 ? ERR_TIMEOUT : ERR_IO;
}

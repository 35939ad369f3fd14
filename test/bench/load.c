/*
 * Asks a server on a unix socket the same question again and again, over so many connections, each
 * with one question under way; and a server that only echoes: it reads a head and writes fixed
 * bytes. The second is the limit that this machine's sockets set for the first.
 *
 *     bench-load ask SOCKET CLIENTS MILLISECONDS TARGET    prints: answers per second, p50, p99
 * (ns) bench-load echo SOCKET BYTES                         answers with a body of so many bytes
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 1024, HEAD_MAX = 4096, ANSWERS_MAX = 4 * 1000 * 1000 };

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench-load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int open_socket(const char *path, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(ret->sun_path)) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    memcpy(ret->sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    return fd;
}

static void watch(int poll_fd, int fd, void *what)
{
    struct epoll_event ev = {.events = EPOLLIN, .data = {.ptr = what}};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        fail("epoll_ctl");
}

/* ---- Asking --------------------------------------------------------------------------------- */

struct client {
    int fd;
    int64_t asked_ns;
    size_t got;
    char answer[HEAD_MAX];
};

static uint32_t took_ns[ANSWERS_MAX];
static size_t answers;

static void ask(struct client *c, const char *question, size_t len)
{
    c->got = 0;
    c->asked_ns = now_ns();
    if (write(c->fd, question, len) != (ssize_t)len)
        fail("write");
}

/* The whole answer is there: head, and as much body as it says. */
static bool is_whole(const struct client *c)
{
    const char *end = memmem(c->answer, c->got, "\r\n\r\n", 4);
    if (end == NULL)
        return false;
    if (memcmp(c->answer, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "bench-load: an answer that is not 200\n");
        exit(1);
    }
    const char *length = memmem(c->answer, c->got, "ontent-", 7);
    while (length != NULL && strncasecmp(length, "ontent-length:", 14) != 0)
        length = memmem(length + 1, c->got - (size_t)(length + 1 - c->answer), "ontent-", 7);
    if (length == NULL || length > end) {
        fprintf(stderr, "bench-load: an answer without a length\n");
        exit(1);
    }
    size_t body = strtoul(length + 14, NULL, 10);
    return c->got >= (size_t)(end + 4 - c->answer) + body;
}

static void hear(struct client *c)
{
    ssize_t n = read(c->fd, c->answer + c->got, HEAD_MAX - 1 - c->got);
    if (n <= 0)
        fail("the server hung up, or its answer is too long");
    c->got += (size_t)n;
    c->answer[c->got] = '\0';
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int run_asking(const char *path, int clients, int64_t run_ns, const char *target)
{
    static struct client list[CLIENTS_MAX];
    char question[1024];
    int len =
        snprintf(question, sizeof(question),
                 "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n", target);
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < clients; i++) {
        struct sockaddr_un address;
        list[i].fd = open_socket(path, &address);
        if (connect(list[i].fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            fail(path);
        watch(poll_fd, list[i].fd, &list[i]);
    }
    int64_t begun_ns = now_ns();
    for (int i = 0; i < clients; i++)
        ask(&list[i], question, (size_t)len);
    while (now_ns() < begun_ns + run_ns && answers < ANSWERS_MAX) {
        struct epoll_event events[64];
        int n = epoll_wait(poll_fd, events, 64, 1000);
        for (int i = 0; i < n && answers < ANSWERS_MAX; i++) {
            struct client *c = events[i].data.ptr;
            hear(c);
            if (!is_whole(c))
                continue;
            took_ns[answers++] = (uint32_t)(now_ns() - c->asked_ns);
            ask(c, question, (size_t)len);
        }
    }
    double seconds = (double)(now_ns() - begun_ns) / 1e9;
    if (answers == 0)
        fail("no answer");
    qsort(took_ns, answers, sizeof(took_ns[0]), by_size);
    printf("%.0f %" PRIu32 " %" PRIu32 "\n", (double)answers / seconds, took_ns[answers / 2],
           took_ns[answers * 99 / 100]);
    return 0;
}

/* ---- Echoing -------------------------------------------------------------------------------- */

static int run_echo(const char *path, size_t body)
{
    static char answer[HEAD_MAX];
    static int listener;
    int head =
        snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", body);
    size_t len = (size_t)head + body;
    if (len > sizeof(answer))
        return 1;
    memset(answer + head, 'x', body);
    struct sockaddr_un address;
    listener = open_socket(path, &address);
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, CLIENTS_MAX) < 0)
        fail(path);
    watch(poll_fd, listener, &listener);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(poll_fd, events, 64, -1);
        for (int i = 0; i < n; i++) {
            char question[HEAD_MAX];
            int *fd = events[i].data.ptr;
            if (fd == &listener) {
                int *peer = malloc(sizeof(*peer));
                if (peer == NULL || (*peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
                    fail("accept");
                watch(poll_fd, *peer, peer);
            } else if (read(*fd, question, sizeof(question)) <= 0) {
                (void)close(*fd);
                free(fd);
            } else if (write(*fd, answer, len) != (ssize_t)len) {
                fail("write");
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "ask") == 0) {
        long clients = strtol(argv[3], NULL, 10);
        long ms = strtol(argv[4], NULL, 10);
        if (clients >= 1 && clients <= CLIENTS_MAX && ms >= 1)
            return run_asking(argv[2], (int)clients, (int64_t)ms * 1000000, argv[5]);
    }
    if (argc == 4 && strcmp(argv[1], "echo") == 0)
        return run_echo(argv[2], strtoul(argv[3], NULL, 10));
    fprintf(stderr, "usage: bench-load ask SOCKET CLIENTS MILLISECONDS TARGET\n"
                    "       bench-load echo SOCKET BYTES\n");
    return 2;
}

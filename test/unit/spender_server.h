/*
 * A very small HTTP server on loopback, for the spender's tests: one thread, one connection after
 * another, each treated as `behave` says. Not strict about anything but counting.
 */
#ifndef TEST_SPENDER_SERVER_H
#define TEST_SPENDER_SERVER_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX (96 * 1024)

struct server {
    int fd;
    int port;
    pthread_t thread;
    void (*behave)(struct server *s, int conn);
    const char *answer; /* for answer_with */
    atomic_int connections;
    atomic_int requests;  /* read completely */
    atomic_bool released; /* wait_for_release() ends */
    atomic_bool stopped;
    char request[REQUEST_MAX]; /* the last one */
};

/* Head and, by its Content-Length, body. */
static inline bool read_request(struct server *s, int conn)
{
    size_t len = 0, wanted = 0;
    memset(s->request, 0, sizeof(s->request));
    while (wanted == 0 || len < wanted) {
        struct pollfd p = {.fd = conn, .events = POLLIN};
        if (poll(&p, 1, 5000) != 1)
            return false;
        ssize_t n = read(conn, s->request + len, sizeof(s->request) - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        const char *end = strstr(s->request, "\r\n\r\n");
        if (end == NULL)
            continue;
        const char *header = strcasestr(s->request, "Content-Length:");
        wanted = (size_t)(end - s->request) + 4;
        if (header != NULL && header < end)
            wanted += strtoul(header + strlen("Content-Length:"), NULL, 10);
    }
    atomic_fetch_add(&s->requests, 1);
    return true;
}

static inline void write_all(int conn, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(conn, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

static inline void wait_for_release(struct server *s)
{
    while (!atomic_load(&s->released) && !atomic_load(&s->stopped))
        usleep(2000);
}

static inline void answer_with(struct server *s, int conn)
{
    if (read_request(s, conn))
        write_all(conn, s->answer, strlen(s->answer));
}

static inline void answer_late(struct server *s, int conn)
{
    if (read_request(s, conn)) {
        wait_for_release(s);
        write_all(conn, s->answer, strlen(s->answer));
    }
}

static inline void close_before_answer(struct server *s, int conn)
{
    (void)read_request(s, conn);
}

static inline void close_at_once(struct server *s, int conn)
{
    (void)s;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(conn, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

static inline void *server_run(void *arg)
{
    struct server *s = arg;
    while (!atomic_load(&s->stopped)) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        if (poll(&p, 1, 20) != 1)
            continue;
        int conn = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (conn < 0)
            continue;
        atomic_fetch_add(&s->connections, 1);
        s->behave(s, conn);
        close(conn);
    }
    return NULL;
}

static inline struct server *server_start(void (*behave)(struct server *s, int conn),
                                          const char *answer)
{
    struct server *s = calloc(1, sizeof(*s));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    assert_non_null(s);
    s->behave = behave;
    s->answer = answer;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(s->fd, 512), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &size), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
    return s;
}

static inline void server_stop(struct server *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->stopped, true);
    pthread_join(s->thread, NULL);
    close(s->fd);
    free(s);
}

#endif

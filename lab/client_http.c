/*
 * One HTTP call, blocking, on a fresh connection, to loopback only. The body is decoded by the same
 * codec the server uses.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/str.h"
#include "http/http.h"
#include "lab/client.h"
#include "sys/clock.h"

static int dial(const char *url)
{
    struct timeval limit = {.tv_sec = CLIENT_CALL_MAX_MS / 1000};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    static const char start[] = "http://127.0.0.1:";
    int64_t port;
    int fd;

    if (strncmp(url, start, sizeof(start) - 1) != 0 ||
        str_to_i64(url + sizeof(start) - 1, 1, 65535, &port) != 0)
        return ERR_INVALID;
    to.sin_port = htons((uint16_t)port);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_IO;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return ERR_IO;
    }
    return fd;
}

static int send_all(int fd, const struct buf *bytes)
{
    for (size_t sent = 0; sent < bytes->len;) {
        ssize_t n = send(fd, bytes->bytes + sent, bytes->len - sent, MSG_NOSIGNAL);

        if (n <= 0)
            return ERR_IO;
        sent += (size_t)n;
    }
    return 0;
}

/* Everything up to the end: we asked the server to close. */
static int receive_all(int fd, struct buf *out)
{
    int64_t deadline_ms = clock_now().boot_ms + CLIENT_CALL_MAX_MS;

    for (;;) {
        uint8_t *room = buf_reserve(out, 16 * 1024);
        ssize_t n;

        if (room == NULL)
            return ERR_TOO_LARGE;
        n = recv(fd, room, 16 * 1024, 0);
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            return 0;
        buf_commit(out, (size_t)n);
        if (clock_now().boot_ms > deadline_ms)
            return ERR_TIMEOUT;
    }
}

/* The head of an answer → status and how long the body is. */
static int head_parse(const char *head, int *ret_status, struct http_head *ret)
{
    const char *length = strcasestr(head, "\r\nContent-Length: ");
    const char *end;
    char digits[20] = "";
    int64_t status;

    if (strncmp(head, "HTTP/1.1 ", 9) != 0 || strlen(head) < 12)
        return ERR_INVALID;
    memcpy(digits, head + 9, 3);
    if (str_to_i64(digits, 100, 599, &status) != 0)
        return ERR_INVALID;
    *ret = (struct http_head){.content_length = -1};
    ret->chunked = strcasestr(head, "\r\nTransfer-Encoding: chunked") != NULL;
    if (length != NULL) {
        length += strlen("\r\nContent-Length: ");
        end = strstr(length, "\r\n");
        if (end == NULL || end - length >= (ptrdiff_t)sizeof(digits))
            return ERR_INVALID;
        snprintf(digits, sizeof(digits), "%.*s", (int)(end - length), length);
        if (str_to_i64(digits, 0, INT32_MAX, &ret->content_length) != 0)
            return ERR_INVALID;
    }
    *ret_status = (int)status;
    return 0;
}

static int answer_parse(struct buf *raw, int *ret_status, struct buf *out)
{
    char *text = (char *)raw->bytes;
    char *end = text == NULL ? NULL : strstr(text, "\r\n\r\n");
    struct http_head head;
    struct http_body body;
    size_t head_len;
    int err;

    if (end == NULL)
        return ERR_CLOSED;
    end[2] = '\0';
    head_len = (size_t)(end - text) + 4;
    err = head_parse(text, ret_status, &head);
    if (err != 0)
        return err;
    http_body_init(&body, &head, CLIENT_ANSWER_MAX);
    if (http_body_feed(&body, text + head_len, raw->len - head_len, out) < 0)
        return ERR_INVALID;
    return body.done ? 0 : ERR_CLOSED;
}

int client_post(const struct client *c, const char *path, const char *bearer, const char *type,
                const char *body, int *ret_status, struct buf *out)
{
    struct buf request, raw;
    int fd = dial(c->lab);
    int err;

    if (fd < 0)
        return fd;
    buf_init(&request, 64 * 1024);
    buf_init(&raw, CLIENT_ANSWER_MAX);
    err = buf_addf(&request,
                   "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: credwarden-lab-client/%s\r\n"
                   "Connection: close\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
                   path, c->name, type, strlen(body));
    if (err == 0 && bearer != NULL)
        err = buf_addf(&request, "Authorization: Bearer %s\r\n", bearer);
    err = err != 0 ? err : buf_addf(&request, "\r\n%s", body);
    err = err != 0 ? err : send_all(fd, &request);
    err = err != 0 ? err : receive_all(fd, &raw);
    err = err != 0 ? err : answer_parse(&raw, ret_status, out);
    close(fd);
    buf_release(&request);
    buf_release(&raw);
    return err;
}

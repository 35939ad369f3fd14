/*
 * Packets: message-keeping local sockets between our own processes, with one descriptor at most.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "sys/io.h"
#include "sys/process.h"

#define FDS_SEEN_MAX 8 /* what does not fit is closed by the kernel */

/* Aligned as the kernel's headers in it want. */
union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(FDS_SEEN_MAX * sizeof(int))];
};

int packet_pair(int ret_fds[2])
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
        return err_from_errno(errno);
    }
    /* A packet must fit the buffer whole; where the system's limit on it is smaller, the send says
     * ERR_TOO_LARGE. */
    int room = 2 * PACKET_MAX;
    for (int i = 0; i < 2; i++) {
        (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        ret_fds[i] = fds[i];
    }
    return 0;
}

int packet_send(int fd, const void *bytes, size_t len, int pass_fd)
{
    if (len == 0 || len > PACKET_MAX) {
        return len == 0 ? ERR_INVALID : ERR_TOO_LARGE; /* an empty packet would read as the end */
    }
    union control control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (pass_fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
    }
    ssize_t n = 0;
    do {
        n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? err_from_errno(errno) : 0;
}

/* The first descriptor of the message; every other one is closed. -1: none. */
static int take_fd(struct msghdr *msg)
{
    int taken = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (taken < 0) {
                taken = fd;
            } else {
                fd_close(&fd);
            }
        }
    }
    return taken;
}

int packet_recv(int fd, void *bytes, size_t size, int *ret_fd)
{
    union control control;
    struct iovec iov = {.iov_base = bytes, .iov_len = size < PACKET_MAX ? size : PACKET_MAX};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t n = 0;
    do {
        n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return err_from_errno(errno);
    }
    int passed = take_fd(&msg);
    if ((msg.msg_flags & MSG_TRUNC) != 0) {
        fd_close(&passed);
        return ERR_TOO_LARGE;
    }
    if (ret_fd == NULL) {
        fd_close(&passed);
    } else {
        *ret_fd = passed;
    }
    return (int)n;
}

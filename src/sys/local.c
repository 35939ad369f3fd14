/*
 * Unix sockets that listen at a path.
 *
 * Ours and not libuv's: short of descriptors, libuv takes whoever waits and hangs up on them all,
 * and with any other failure it goes round without a pause.
 */
#include "sys/local.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"
#include "sys/io.h"
#include "sys/process.h"

static int bind_and_listen(int fd, const char *path, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (str_copy(address.sun_path, sizeof(address.sun_path), path) < 0) {
        errno = ENAMETOOLONG;
        return ERR_TOO_LARGE;
    }
    mode_t before = process_umask(077); /* never open to others, not even between bind and chmod */
    bool bound = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    (void)process_umask(before);
    if (!bound) {
        return err_from_errno(errno);
    }
    int err = path_make_private(path);
    if (err == 0 && listen(fd, backlog) != 0) {
        err = err_from_errno(errno);
    }
    if (err < 0) {
        int errnum = errno;
        (void)path_remove(PATH_CWD, path);
        errno = errnum;
    }
    return err;
}

int local_listen(const char *path, int backlog, int *ret_fd)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    int err = bind_and_listen(fd, path, backlog);
    if (err < 0) {
        fd_close(&fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

int local_accept(int listening_fd, int *ret_fd)
{
    int fd;
    do {
        fd = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    *ret_fd = fd;
    return 0;
}

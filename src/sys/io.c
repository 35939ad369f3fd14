/*
 * System calls on files: see io.h. Nothing here decides anything. The calls that a child makes
 * between fork and exec (process.c) stand apart: nothing but the bare call is safe there.
 */
#include "sys/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"

_Static_assert(PATH_CWD == AT_FDCWD, "io.h does without the header");

/* The value of `call`, made again as long as a signal interrupts it. */
#define UNINTERRUPTED(call)                                                                        \
    ({                                                                                             \
        __typeof__(call) returned_;                                                                \
        do {                                                                                       \
            returned_ = (call);                                                                    \
        } while (returned_ < 0 && errno == EINTR);                                                 \
        returned_;                                                                                 \
    })

static int outcome(int returned)
{
    return returned < 0 ? err_from_errno(errno) : 0;
}

/* By path */

int path_open(int dir_fd, const char *path, enum open_how how, int *ret_fd)
{
    static const int flags[] = {
        [OPEN_READ] = O_RDONLY | O_NOFOLLOW,
        [OPEN_READ_LINKED] = O_RDONLY,
        [OPEN_WRITE] = O_RDWR | O_NOFOLLOW,
        [OPEN_WRITE_OR_MAKE] = O_RDWR | O_CREAT | O_NOFOLLOW,
        [OPEN_NEW] = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
        [OPEN_FOLDER] = O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
        [OPEN_FOLDER_LINKED] = O_RDONLY | O_DIRECTORY,
    };
    int all = flags[how] | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = UNINTERRUPTED(openat(dir_fd, path, all, 0600));
    if (fd >= 0) {
        *ret_fd = fd;
    }
    return outcome(fd);
}

static enum file_kind kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return FILE_REGULAR;
    case S_IFDIR:
        return FILE_FOLDER;
    case S_IFLNK:
        return FILE_LINK;
    case S_IFSOCK:
        return FILE_SOCKET;
    default:
        return FILE_OTHER;
    }
}

static struct file_facts facts_of(const struct stat *st)
{
    return (struct file_facts){
        .kind = kind_of(st->st_mode),
        .mode = st->st_mode & 07777,
        .owner = st->st_uid,
        .group = st->st_gid,
        .size = st->st_size,
        .written_wall_ms = st->st_mtim.tv_sec * SECOND_MS + st->st_mtim.tv_nsec / 1000000,
        .dev = st->st_dev,
        .ino = st->st_ino,
    };
}

int path_look(int dir_fd, const char *path, bool follow, struct file_facts *ret)
{
    struct stat st;
    int r = UNINTERRUPTED(fstatat(dir_fd, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW));
    if (r == 0) {
        *ret = facts_of(&st);
    }
    return outcome(r);
}

int path_read_link(const char *path, char *ret, size_t size)
{
    char found[4096];
    ssize_t n = readlink(path, found, sizeof(found));
    if (n < 0) {
        return outcome((int)n);
    }
    if ((size_t)n >= size || (size_t)n == sizeof(found)) {
        return ERR_TOO_LARGE;
    }
    memcpy(ret, found, (size_t)n);
    ret[n] = '\0';
    return 0;
}

int path_make_private(const char *path)
{
    return outcome(UNINTERRUPTED(chmod(path, 0600)));
}

int path_make_folder(const char *path)
{
    return outcome(UNINTERRUPTED(mkdir(path, 0700)));
}

int path_touch(const char *path)
{
    return outcome(UNINTERRUPTED(utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW)));
}

int path_remove_folder(const char *path)
{
    return outcome(UNINTERRUPTED(rmdir(path)));
}

int path_rename_new(int from_dir_fd, const char *from, int to_dir_fd, const char *to)
{
    int err = outcome(UNINTERRUPTED(renameat2(from_dir_fd, from, to_dir_fd, to, RENAME_NOREPLACE)));
    return err != 0 && (errno == EINVAL || errno == ENOSYS) ? ERR_UNSUPPORTED : err;
}

int path_rename(int from_dir_fd, const char *from, int to_dir_fd, const char *to)
{
    return outcome(UNINTERRUPTED(renameat(from_dir_fd, from, to_dir_fd, to)));
}

int path_link(int from_dir_fd, const char *from, int to_dir_fd, const char *to)
{
    return outcome(UNINTERRUPTED(linkat(from_dir_fd, from, to_dir_fd, to, 0)));
}

int path_remove(int dir_fd, const char *path)
{
    return outcome(UNINTERRUPTED(unlinkat(dir_fd, path, 0)));
}

/* By descriptor */

void fd_close(int *fd)
{
    if (*fd >= 0) {
        int before = errno;
        /* Not repeated on EINTR: on Linux the descriptor is gone even then. */
        (void)close(*fd);
        *fd = -1;
        errno = before;
    }
}

int fd_look(int fd, struct file_facts *ret)
{
    struct stat st;
    int r = UNINTERRUPTED(fstat(fd, &st));
    if (r == 0) {
        *ret = facts_of(&st);
    }
    return outcome(r);
}

int fd_make_like(int fd, const struct file_facts *other)
{
    struct file_facts ours = {.mode = 0};
    int err = fd_look(fd, &ours);
    if (err == 0 && (ours.owner != other->owner || ours.group != other->group)) {
        err = outcome(UNINTERRUPTED(fchown(fd, other->owner, other->group)));
    }
    /* After the owner: giving a file away takes bits of the mode off. */
    return err != 0 ? err : outcome(UNINTERRUPTED(fchmod(fd, (mode_t)other->mode)));
}

int fd_make_private(int fd)
{
    return outcome(UNINTERRUPTED(fchmod(fd, 0600)));
}

ssize_t fd_read(int fd, void *bytes, size_t size)
{
    ssize_t n = UNINTERRUPTED(read(fd, bytes, size));
    return n < 0 ? err_from_errno(errno) : n;
}

ssize_t fd_read_at(int fd, void *bytes, size_t len, off_t at)
{
    uint8_t *p = bytes;
    size_t got = 0;
    while (got < len) {
        ssize_t n = UNINTERRUPTED(pread(fd, p + got, len - got, at + (off_t)got));
        if (n < 0) {
            return err_from_errno(errno);
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    return (ssize_t)got;
}

int fd_write(int fd, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        ssize_t n = UNINTERRUPTED(write(fd, p, len));
        if (n < 0) {
            return err_from_errno(errno);
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int fd_write_at(int fd, const void *bytes, size_t len, off_t at)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        ssize_t n = UNINTERRUPTED(pwrite(fd, p, len, at));
        if (n < 0) {
            return err_from_errno(errno);
        }
        p += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int fd_sync(int fd)
{
    return outcome(UNINTERRUPTED(fsync(fd)));
}

int fd_sync_content(int fd)
{
    return outcome(UNINTERRUPTED(fdatasync(fd)));
}

int fd_reserve(int fd, off_t len)
{
    return outcome(UNINTERRUPTED(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, len)));
}

int fd_lock(int fd, enum lock how)
{
    int operation = how == LOCK_SHARED ? LOCK_SH : LOCK_EX;
    if (UNINTERRUPTED(flock(fd, operation | LOCK_NB)) == 0) {
        return 0;
    }
    return errno == EWOULDBLOCK ? ERR_LOCKED : err_from_errno(errno);
}

int fd_lock_second(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (UNINTERRUPTED(fcntl(fd, F_OFD_SETLK, &whole)) == 0) {
        return 0;
    }
    return errno == EAGAIN || errno == EACCES ? ERR_LOCKED : err_from_errno(errno);
}

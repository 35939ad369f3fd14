/*
 * System calls on files, one function each: the one place where a call is made, where EINTR is
 * dealt with, and where its failure gets a name. What they are put together to is in sys/file.h.
 *
 * Errors are those of err_from_errno(). After a failure errno still holds the system's own number,
 * for a text that quotes it; fd_close() leaves it alone.
 *
 * `dir_fd` is the open folder where a relative path begins, or PATH_CWD; an absolute path ignores
 * it. Unless said otherwise, a symbolic link as the last component is not followed.
 */
#ifndef SYS_IO_H
#define SYS_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { PATH_CWD = -100 }; /* the working folder: AT_FDCWD */

enum open_how {
    OPEN_READ,
    OPEN_READ_LINKED,   /* a link is followed */
    OPEN_WRITE,         /* to read and write; must be there */
    OPEN_WRITE_OR_MAKE, /* made 0600 if absent */
    OPEN_NEW,           /* made 0600, to read and write; ERR_EXISTS, also when a link is there */
    OPEN_FOLDER,
    OPEN_FOLDER_LINKED, /* a link is followed */
};

enum file_kind { FILE_REGULAR, FILE_FOLDER, FILE_LINK, FILE_SOCKET, FILE_OTHER };

struct file_facts {
    enum file_kind kind;
    unsigned mode; /* permission bits: at most 07777 */
    uid_t owner;
    gid_t group;
    int64_t size;            /* bytes */
    int64_t written_wall_ms; /* last, by the file system's clock */
    dev_t dev;               /* with `ino`: which file it is */
    ino_t ino;
};

/* By path */

/* Close-on-exec. Never waits: a FIFO in the file's place is opened (look at its kind) or refused. A
 * link where none is followed fails with errno ELOOP (ENOTDIR for a folder). */
int path_open(int dir_fd, const char *path, enum open_how how, int *ret_fd);
int path_look(int dir_fd, const char *path, bool follow, struct file_facts *ret);
/* Where a link leads, NUL-terminated, as it stands in it. ERR_INVALID: no link; ERR_TOO_LARGE. */
int path_read_link(const char *path, char *ret, size_t size);
int path_make_private(const char *path); /* mode 0600; follows a link */
int path_make_folder(const char *path);  /* 0700. ERR_EXISTS */
int path_touch(const char *path);        /* written_wall_ms is now; follows no link */
/* Names: none of these is durable before the folder is synced. */
int path_rename(int from_dir_fd, const char *from, int to_dir_fd, const char *to);
/* … unless there is something already: ERR_EXISTS. ERR_UNSUPPORTED where the file system cannot. */
int path_rename_new(int from_dir_fd, const char *from, int to_dir_fd, const char *to);
int path_link(int from_dir_fd, const char *from, int to_dir_fd, const char *to); /* ERR_EXISTS */
int path_remove(int dir_fd, const char *path); /* no folders. ERR_NOT_FOUND */
int path_remove_folder(const char *path);      /* an empty one. ERR_NOT_FOUND */

/* By descriptor */

void fd_close(int *fd); /* sets -1; -1 is fine */
int fd_look(int fd, struct file_facts *ret);
int fd_make_private(int fd); /* mode 0600 */
/* Mode and owner as they are there. ERR_DENIED where only root may give the file away. */
int fd_make_like(int fd, const struct file_facts *other);

/* Bytes read, 0 at the end, or negative. May be fewer than `size` at any time. */
ssize_t fd_read(int fd, void *bytes, size_t size);
/* Bytes read, fewer than `len` only where the file ends; or negative. Moves no offset. */
ssize_t fd_read_at(int fd, void *bytes, size_t len, off_t at);
/* All of it, or an error after which any part may be written. */
int fd_write(int fd, const void *bytes, size_t len);
int fd_write_at(int fd, const void *bytes, size_t len, off_t at); /* moves no offset */

/* Durable on return. After a failure nothing is known of what was written since the last success,
 * and a repetition alone proves nothing: write again first. */
int fd_sync(int fd);         /* content and all facts */
int fd_sync_content(int fd); /* content, and of the facts only what is needed to read it */
/* Blocks for the first `len` bytes, so that writing there cannot meet a full disk. The size stays.
 * ERR_FULL; ERR_UNSUPPORTED where the filesystem cannot. */
int fd_reserve(int fd, off_t len);

/* The lock belongs to the open file: it goes when the last descriptor of it is closed, in whatever
 * process. Never waits: ERR_LOCKED. */
enum lock { LOCK_SHARED, LOCK_EXCLUSIVE };
int fd_lock(int fd, enum lock how);
/* A second exclusive lock beside that one, of the same life: neither sees the other. The file must
 * be open for writing. Never waits: ERR_LOCKED. */
int fd_lock_second(int fd);

#endif

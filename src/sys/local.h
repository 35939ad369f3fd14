/*
 * Unix sockets that listen at a path (SOCK_STREAM, close-on-exec, non-blocking). Both leave errno
 * as the system set it when they fail.
 */
#ifndef SYS_LOCAL_H
#define SYS_LOCAL_H

#include "base/err.h"

/* The socket is 0600 from its first moment. Nothing may be at `path`; the file is the caller's to
 * remove. Not beside other threads that make files: the umask is changed meanwhile. ERR_TOO_LARGE,
 * ERR_NOT_FOUND, ERR_BUSY (something is there, or descriptors are short), ERR_DENIED, ERR_NOMEM. */
int local_listen(const char *path, int backlog, int *ret_fd);

/* Never waits. ERR_AGAIN: nobody is there. ERR_CLOSED: who came has left again, the next may be
 * there. Anything else (ERR_BUSY, ERR_NOMEM: descriptors or memory are short): who waits goes on
 * waiting, and the socket stays readable. */
int local_accept(int listening_fd, int *ret_fd);

#endif

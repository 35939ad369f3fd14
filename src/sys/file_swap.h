/*
 * A file that others write, too, changed by compare-and-swap:
 *
 *     file_swap_look     what stands there
 *     file_swap_write    what is to stand there, beside it, on the disk
 *     file_swap_commit   it gets the file's name, if that still stands there
 *     file_swap_clear    what is left of it goes
 *
 * The bytes are compared, not what was understood of them. Somebody who writes in the moment
 * between the comparison and the rename is overwritten; nothing else is between the two. The file
 * keeps its mode and owner, 0600 where it is new; links to it are followed and stay.
 */
#ifndef SYS_FILE_SWAP_H
#define SYS_FILE_SWAP_H

#include "base/buf.h"
#include "sys/file.h"

#define FILE_SWAP_PATH_SIZE 4096

struct file_swap {
    char path[FILE_SWAP_PATH_SIZE];   /* as it is named */
    char target[FILE_SWAP_PATH_SIZE]; /* where that led at the last look */
    char temp[FILE_SWAP_PATH_SIZE];   /* what file_swap_write() wrote; "": nothing */
    size_t max;

    bool was_there;
    struct file_facts facts; /* when it was there */
    struct buf bytes;        /* and what it held; secret memory */
};

/* At most `max` bytes are read; a longer file is refused. ERR_TOO_LARGE: the path. */
int file_swap_init(struct file_swap *s, const char *path, size_t max);
void file_swap_clear(struct file_swap *s); /* to be looked at again, or done with */

/* `bytes` are what stands there, none where there is no file. ERR_INVALID: no regular file, no
 * folder for it, or a link that leads nowhere; ERR_DENIED, ERR_TOO_LARGE, ERR_NOMEM. */
int file_swap_look(struct file_swap *s, struct err_text *text);

/* After a look. ERR_DENIED also where the file's owner cannot be kept; ERR_FULL, ERR_IO, …: nothing
 * is left. */
int file_swap_write(struct file_swap *s, const void *bytes, size_t len, struct err_text *text);

/* Whether what was looked at still stands there. ERR_CONFLICT: something else does. */
int file_swap_compare(const struct file_swap *s, struct err_text *text);

/* Compared, and durable on return. ERR_CONFLICT: nothing is changed; begin anew. Others: nothing is
 * changed, unless the last step failed, the syncing of the folder. */
int file_swap_commit(struct file_swap *s, struct err_text *text);

#endif

/*
 * Files: whole reads with a limit, durable replacement, private folders. Built on the calls of
 * sys/io.h.
 */
#ifndef SYS_FILE_H
#define SYS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sys/io.h"

/* Whole regular file, at most `max` bytes, added to `out`, which is unchanged on failure.
 * ERR_NOT_FOUND, ERR_DENIED, ERR_TOO_LARGE, ERR_INVALID (not a regular file). O_NOFOLLOW unless
 * `follow`. `text` names the path and what to do. */
int file_read(const char *path, bool follow, size_t max, struct buf *out, struct err_text *text);

/* Like file_read(), and the file must be ours and closed to others (no group or other bits):
 * ERR_INSECURE, with the chmod that mends it. */
int file_read_private(const char *path, size_t max, struct buf *out, struct err_text *text);

/* Write beside, sync, rename, sync the folder: durable on return, never half there, mode 0600. On
 * failure the old file is as it was and nothing is left beside it (a crash may leave a file named
 * FILE_TEMP_PREFIX…); only if the last step, syncing the folder, fails is the new one in place. */
#define FILE_TEMP_PREFIX ".credwarden-tmp-"
int file_replace(const char *path, const void *bytes, size_t len, struct err_text *text);
/* The same, but ERR_EXISTS when the path is taken (link, not rename). */
int file_create(const char *path, const void *bytes, size_t len, struct err_text *text);

/* The same in two steps, for a file that another library writes by its path. First an empty 0600
 * file of a name nobody has, beside `path`: FILE_TEMP_PREFIX…, its path in `ret`. */
int file_make_temp(const char *path, char *ret, size_t size, struct err_text *text);
/* Then, once it is written and closed: sync `temp`, give it the name `path` (in the same file
 * system), sync the folder. `temp` is gone on success and still the caller's on failure. ERR_EXISTS
 * when the path is taken, unless `may_replace`. */
int file_put(const char *temp, const char *path, bool may_replace, struct err_text *text);
/* Another name for a file whose content is durable, in the same folder. Durable on return.
 * ERR_NOT_FOUND; ERR_EXISTS when the name is taken, unless `may_replace`: then a crash may leave
 * the file both names. */
int file_rename(const char *path, const char *to, bool may_replace, struct err_text *text);

/* A folder of ours: made with its parents if absent (0700, durable), a real folder (no symlink as
 * last component), owned by us, no group or other bits. ERR_INSECURE names owner and mode;
 * ERR_INVALID when the path leads to something else than a folder. */
int dir_ensure_private(const char *path, struct err_text *text);
/* The same demands on a folder that must be there (ERR_NOT_FOUND), left open. */
int dir_open_private(const char *path, int *ret_fd, struct err_text *text);
int dir_sync(int dir_fd);
/* Each name in the folder, in no order, "." and ".." too, until `each` says false. Where `dir_fd`
 * itself stands in the folder does not matter and does not change. */
int dir_each(int dir_fd, bool (*each)(void *ctx, const char *name), void *ctx);
/* Removes what a crash left of the writing above: all files named FILE_TEMP_PREFIX… in a folder
 * that nobody else writes to at this moment. What cannot be removed stays. */
void dir_sweep_temps(const char *path);

/* An exclusive lock held by the open file: ERR_LOCKED when another process has it. The file is
 * made 0600 if absent and never removed. */
int lock_take(const char *path, int *ret_fd, struct err_text *text);

/* The folder that holds what `path` names, which need not be there: links on the way are followed,
 * a link as the last component is itself what is held. ERR_NOT_FOUND, ERR_DENIED, ERR_TOO_LARGE. */
int file_folder(const char *path, struct file_facts *ret);

/* The absolute path of what `path` leads to, all links followed. It need not be there, but its
 * folder must: ERR_NOT_FOUND, also for a link that leads nowhere. ERR_DENIED, ERR_INVALID (links in
 * a circle), ERR_TOO_LARGE. */
int file_resolve(const char *path, char *ret, size_t size);

int file_size(const char *path, int64_t *ret_bytes); /* ERR_NOT_FOUND, ERR_DENIED */

/* Our own account's home by the environment, then by the user database. */
int home_dir(char *ret, size_t size);

#endif

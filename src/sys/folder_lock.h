/*
 * The locks of clients that lock by making a folder: who makes it has it, touches it while he holds
 * it, and removes it. One that was not touched for a while is a leftover, and is taken over.
 *
 * Such a lock is a promise among friends: after a suspend, or a long wait for the disk, another may
 * have taken it over. So whoever holds one looks whether it is still his before he acts.
 */
#ifndef SYS_FOLDER_LOCK_H
#define SYS_FOLDER_LOCK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define FOLDER_LOCK_PATH_SIZE 4096

struct folder_lock {
    char path[FOLDER_LOCK_PATH_SIZE];         /* "": not held */
    char made_as[FOLDER_LOCK_PATH_SIZE + 32]; /* until it has its name, or is removed; "" */
    dev_t dev;
    ino_t ino;
    int64_t touched_wall_ms; /* by us: a number of an inode is given again at once, a time is not */
};

/* Never waits. ERR_LOCKED: somebody has it, or it is dated in the future and nobody will ever take
 * it over (`text` says so); ERR_INVALID: something else than a folder stands there, or a folder
 * that is a leftover and not empty: no client gets past that either, and `text` says what to do.
 * ERR_NOT_FOUND, ERR_DENIED, ERR_FULL, ERR_TOO_LARGE. */
int folder_lock_take(const char *path, int64_t stale_ms, int64_t now_wall_ms,
                     struct folder_lock *ret, struct err_text *text);

/* To be done again well before `stale_ms` is over, and before anything that only its holder may do.
 * (One that was touched within FOLDER_LOCK_FRESH_MS is only looked at.) ERR_CONFLICT: it is not
 * ours any more, and not held from now on. */
#define FOLDER_LOCK_FRESH_MS 500
int folder_lock_touch(struct folder_lock *lock);

/* Removed, where it is still ours. Not held: nothing. When that fails it is held still, until it is
 * given another time: others would have to wait until it is stale. */
int folder_lock_give(struct folder_lock *lock);

/* For a program that may die while it holds one, so that nobody has to wait until it is stale. The
 * folder is made under another name and told to `note` before it gets its own, so that there is no
 * moment at which it is held and not known. `note` stores what folder_lock_remember() says of it,
 * and again after each folder_lock_touch(). (On a file system that cannot rename without replacing,
 * it is made at once.) Otherwise as folder_lock_take(); what it was made as may be left on failure,
 * in `ret`, and is given as a lock is. */
int folder_lock_take_noted(const char *path, int64_t stale_ms, int64_t now_wall_ms,
                           void (*note)(void *ctx), void *ctx, struct folder_lock *ret,
                           struct err_text *text);
/* As lines of text, added to `out`. Also of one that is just being taken. */
int folder_lock_remember(const struct folder_lock *lock, struct buf *out);
/* After a restart: each lock in such lines that is still exactly as it was left is removed.
 * Whatever else is in there is passed over. */
void folder_lock_reclaim(const char *lines, size_t len);

#endif

/*
 * A client's store as a file that its client writes, too.
 *
 *     replica_lock    the client's own locks, all of them, in its order
 *     replica_look    what stands there
 *     replica_put     another copy, if that still stands there: compare and swap
 *     replica_unlock  in reverse
 *
 * The bytes that were looked at are compared, not what was understood of them: a client that writes
 * without its locks loses nothing either, but in the moment between the comparison and the rename.
 * Nothing here waits for anybody; locks are meant to be held for milliseconds and never while a
 * server is asked. Whoever holds them calls from one thread.
 */
#ifndef REPLICA_REPLICA_H
#define REPLICA_REPLICA_H

#include "replica/format.h"

struct replica;

/* The store of this format in this folder, an absolute path. Nothing is looked at yet. ERR_INVALID,
 * ERR_TOO_LARGE (the path), ERR_NOMEM. */
int replica_open(const struct format *f, const char *folder, struct replica **ret,
                 struct err_text *text);
void replica_free(struct replica *r); /* unlocks. NULL-tolerant */
const char *replica_path(const struct replica *r);

/* ERR_LOCKED: the client, or another of its friends, holds one: later again. ERR_INVALID: one that
 * nobody gets past (sys/folder_lock.h). ERR_NOT_FOUND: no such folder. None is held on failure, but
 * what cannot be given back: see replica_unlock(). */
int replica_lock(struct replica *r, int64_t now_wall_ms, struct err_text *text);
/* `note` is called when replica_remember_locks() has something new to say: before a lock is taken,
 * and when it was touched. NULL: never. Once, for good. */
void replica_note_locks(struct replica *r, void (*note)(void *ctx), void *ctx);
/* What could not be given back is held still (the error says why): by this, and by replica_lock(),
 * it is tried again. */
int replica_unlock(struct replica *r);

/* The locks that are held, as lines for folder_lock_reclaim() (sys/folder_lock.h), added to `out`.
 */
int replica_remember_locks(const struct replica *r, struct buf *out);

/* With or without the locks: without them the client may be about to write. `*ret` must have been
 * initialised. SEEN_GONE: also where there is no file; SEEN_TORN: `text` says why, as it does for
 * ERR_DENIED, ERR_TOO_LARGE (no store is that long), ERR_INVALID (no file, or a link that leads
 * nowhere). ERR_NOMEM. */
int replica_look(struct replica *r, struct copy *ret, struct err_text *text);

/* Locked, and looked at since. SEEN_PAIR or SEEN_GONE (see format_write()); durable on return. The
 * file keeps its mode and owner, 0600 where it is new; a link to it stays a link. Nothing is
 * written when that copy stands there already. ERR_CONFLICT: something else stands there by now, or
 * a lock was lost: nothing is written; unlock, and begin anew. ERR_INVALID: the store is torn.
 * ERR_FULL, ERR_DENIED, ERR_IO, …: nothing is written (but after the last step, the syncing of the
 * folder). */
int replica_put(struct replica *r, const struct copy *copy, int64_t now_wall_ms,
                struct err_text *text);

#endif

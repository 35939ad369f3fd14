/*
 * The spool: where a spend's answer becomes durable before anybody hears of it, whatever happens to
 * the daemon. One file per intent, `<intent as 16 hex>.spool`, in a folder of mode 0700.
 *
 * Life of a file:
 *   1. the daemon creates it at its full size (room for the answer is reserved before the spend),
 *      takes flock(LOCK_EX) on it, syncs file and folder. Stage PREPARED.
 *   2. it passes the descriptor to the spender and closes its own. The lock belongs to the open
 *      file, so it now lasts exactly as long as the spender has the spend in hand.
 *   3. the spender writes stage STARTED just before the first byte may leave the machine. Within
 *      the boot recorded in the header this needs no sync to be believed: only a power loss could
 *      undo it, and then the boot differs and the absence of STARTED proves nothing.
 *   4. it writes the sealed answer and the header with its length and checksum, and syncs. Stage
 *      ANSWERED. Then it drops the lock, and reports.
 *   5. the daemon settles, and only when that has committed removes the file.
 *
 * A spender that does not answer may still have a file in stage PREPARED in hand. spool_withdraw()
 * takes it back: of it and spool_start(), whichever comes first shuts the other one out, by a
 * second lock on the file.
 *
 * A process that calls these ignores SIGXFSZ, or a file size limit kills it instead of ERR_FULL.
 */
#ifndef ISSUER_SPOOL_H
#define ISSUER_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define SPOOL_FILE_SIZE  (128 * 1024)
#define SPOOL_ANSWER_MAX (SPOOL_FILE_SIZE - 4096)

enum spool_stage {
    SPOOL_ABSENT,   /* no such file */
    SPOOL_LOCKED,   /* a spender has it in hand: wait */
    SPOOL_PREPARED, /* nothing was sent, if same_boot; else not known */
    SPOOL_STARTED,  /* may have been sent, no answer */
    SPOOL_ANSWERED, /* `ret_sealed` holds the answer */
    SPOOL_TORN      /* damaged, or something else stands there: may have been sent */
};

/* ERR_FULL when the room cannot be reserved; ERR_EXISTS. `*ret_fd` holds the lock. Durable; on
 * failure no file is left. */
int spool_create(int dir_fd, uint64_t intent, const char *boot_id, int *ret_fd);

/* Spender's side, on the descriptor received. ERR_CORRUPT: not a spool file.
 * A spool starts once: ERR_CONFLICT when it is past PREPARED, and then nothing may be sent. */
int spool_start(int fd);
/* Durable on return. After a failure call it again with the same bytes: everything is rewritten,
 * because a failed sync may have dropped what was not yet on disk. ERR_CONFLICT when another answer
 * is there already; ERR_TOO_LARGE; ERR_INVALID when empty. */
int spool_answer(int fd, const void *sealed, size_t len);

/* Daemon's side. `ret_sealed` is appended to when ANSWERED. `*ret_same_boot` is meaningful for
 * PREPARED and STARTED; `*ret_made_boot_ms` (NULL: not asked) for STARTED in the same boot: when
 * the file was created, and so the earliest that anything was sent. A file that is not of its full
 * size is TORN. Negative: it cannot be read just now (open files, memory, locks, the disk), and
 * nobody knows what stands in it. */
int spool_read(int dir_fd, uint64_t intent, const char *boot_id, enum spool_stage *ret_stage,
               bool *ret_same_boot, int64_t *ret_made_boot_ms, struct buf *ret_sealed);
/* Absent is fine. Not durable, because nothing rests on it: a file that a power loss brings back is
 * of an intent that is closed, or never was, and is swept at the next start. */
int spool_remove(int dir_fd, uint64_t intent);
/* Out of the way but kept, as `<intent as 16 hex>.aside`: no function here looks at it again. For
 * what is TORN, and for an answer that does not open with the key at hand: another key may come
 * back. Durable; absent is fine. */
int spool_set_aside(int dir_fd, uint64_t intent);

/* 0: nothing was sent, and nothing will be; the file reads as PREPARED from now on, in whatever
 * boot and whoever holds its lock. ERR_LOCKED: a spender that has started has it in hand.
 * ERR_CONFLICT: it was started, and nobody has it in hand. ERR_NOT_FOUND, ERR_CORRUPT. */
int spool_withdraw(int dir_fd, uint64_t intent);

/* Intents that have a file, at most `max`, in no order. Returns how many, or negative. */
int spool_list(int dir_fd, uint64_t *ret_intents, int max);

#endif

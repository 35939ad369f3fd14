/*
 * The write-ahead log's length, room and end.
 *
 * Commits only append to the log; what copies it into the database (a checkpoint) is done when
 * nobody waits (store_tidy()), and by the commit itself only when the log has become long without
 * that. The log keeps its size and its blocks when it is begun anew, so most commits write into
 * blocks they already have.
 */
#include "store/internal.h"

#include <stdio.h>

#include "base/check.h"
#include "sys/io.h"

#define FRAME_SIZE  (STORE_PAGE_SIZE + 24)
#define HEADER_SIZE 32
#define LONG_FRAMES 2048 /* 8 MiB: nobody has been idle for long */

/* The pages a settlement may touch: the sealed bytes, and two for each b-tree and index. */
#define SETTLE_FRAMES (STORE_SEALED_MAX / STORE_PAGE_SIZE + 24)
#define INTENT_FRAMES 24

bool wal_is_long(const struct store *s, int frames)
{
    return s->wal_frames >= frames;
}

static int on_commit(void *ctx, sqlite3 *db, const char *schema, int frames)
{
    struct store *s = ctx;
    (void)db;
    (void)schema;
    s->wal_frames = frames;
    if (wal_is_long(s, LONG_FRAMES)) {
        (void)wal_checkpoint(s); /* the commit is done; a failure only leaves the log longer */
    }
    return SQLITE_OK;
}

void wal_watch(struct store *s)
{
    (void)sqlite3_wal_hook(s->db, on_commit, s);
}

/* Once all of the log is in the database, the next commit begins it anew. */
static int checkpoint(struct store *s, int mode)
{
    int frames = 0;
    int done = 0;
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, mode, &frames, &done);
    if (frames >= 0) {
        s->wal_frames = done == frames ? 0 : frames;
    }
    return sql_err(rc);
}

int wal_checkpoint(struct store *s)
{
    return checkpoint(s, SQLITE_CHECKPOINT_PASSIVE);
}

int wal_empty(struct store *s)
{
    int err = checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE);
    if (err == 0) {
        s->wal_reserved = 0; /* the blocks are given back */
    }
    return err;
}

/* Our own descriptor of the log: it has no locks that closing could drop. */
static int wal_open(struct store *s)
{
    char path[STORE_PATH_SIZE];
    if (s->wal_fd >= 0) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "%s-wal", s->path);
    return path_open(PATH_CWD, path, OPEN_WRITE, &s->wal_fd);
}

int wal_reserve(struct store *s, int64_t open_intents)
{
    CHECK(open_intents >= 0);
    off_t frames = s->wal_frames + INTENT_FRAMES + (open_intents + 1) * SETTLE_FRAMES;
    off_t end = HEADER_SIZE + frames * FRAME_SIZE;
    if (end <= s->wal_reserved) {
        return 0;
    }
    int err = wal_open(s);
    if (err < 0) {
        return err;
    }
    end += (off_t)SETTLE_FRAMES * FRAME_SIZE; /* not again for the very next one */
    err = fd_reserve(s->wal_fd, end);
    if (err < 0 && err != ERR_UNSUPPORTED) {
        return err;
    }
    s->wal_reserved = end;
    return 0;
}

/*
 * Locks, reading and durable replacement of one store. The new bytes are on the disk before the
 * locks are touched, which may take long; then there is only the comparison and the rename.
 */
#include "replica/replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "replica/format_parts.h"
#include "sys/file.h"
#include "sys/file_swap.h"
#include "sys/folder_lock.h"

#define PATH_SIZE FOLDER_LOCK_PATH_SIZE

struct replica {
    const struct format *format;
    char folder[PATH_SIZE];
    struct file_swap store;
    bool looked;
    struct folder_lock *taking;
    void (*note)(void *ctx);
    void *note_ctx;

    unsigned n_locked;
    struct {
        struct folder_lock folder;
        int fd; /* of a lock that is a file; -1 */
    } locked[CLIENT_LOCKS_MAX];
};

int replica_open(const struct format *f, const char *folder, struct replica **ret,
                 struct err_text *text)
{
    if (folder[0] != '/') {
        return err_say(text, ERR_INVALID, "%.200s: an absolute path was expected", folder);
    }
    struct replica *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return ERR_NOMEM;
    }
    char path[PATH_SIZE];
    r->format = f;
    int n = snprintf(path, sizeof(path), "%s/%s", folder, f->file);
    if (str_copy(r->folder, sizeof(r->folder), folder) != 0 || (size_t)n >= sizeof(path) ||
        file_swap_init(&r->store, path, REPLICA_STORE_MAX - 1) != 0) {
        replica_free(r);
        return err_say(text, ERR_TOO_LARGE, "%.64s...: a path of more than %d bytes", folder,
                       PATH_SIZE - 1);
    }
    *ret = r;
    return 0;
}

void replica_free(struct replica *r)
{
    if (r != NULL) {
        (void)replica_unlock(r);
        file_swap_clear(&r->store);
        free(r);
    }
}

const char *replica_path(const struct replica *r)
{
    return r->store.path;
}

/* ---- locks ---- */

static int lock_path(const struct replica *r, const struct client_lock *lock, char ret[PATH_SIZE],
                     struct err_text *text)
{
    char real[PATH_SIZE];
    const char *folder = r->folder, *between = "/";
    if (lock->where == BESIDE_FOLDER) {
        int err = file_resolve(r->folder, real, sizeof(real));
        if (err != 0) {
            return err_say(text, err, "%s: %s", r->folder, err_reason(err));
        }
        folder = real;
        between = "";
    }
    int n = snprintf(ret, PATH_SIZE, "%s%s%s", folder, between, lock->name);
    return n < PATH_SIZE ? 0
                         : err_say(text, ERR_TOO_LARGE, "%.64s...: a path of more than %d bytes",
                                   folder, PATH_SIZE - 1);
}

static bool is_held(const struct replica *r, unsigned at)
{
    const struct folder_lock *folder = &r->locked[at].folder;
    return r->locked[at].fd >= 0 || folder->path[0] != '\0' || folder->made_as[0] != '\0';
}

static int lock_one(struct replica *r, const struct client_lock *lock, int64_t now_wall_ms,
                    struct err_text *text)
{
    char path[PATH_SIZE];
    unsigned at = r->n_locked;
    int err = lock_path(r, lock, path, text);
    r->locked[at].fd = -1;
    r->locked[at].folder.path[0] = r->locked[at].folder.made_as[0] = '\0';
    if (err == 0 && lock->kind == CLIENT_LOCK_FOLDER) {
        r->taking = &r->locked[at].folder;
        err = r->note == NULL ? folder_lock_take(path, lock->stale_ms, now_wall_ms, r->taking, text)
                              : folder_lock_take_noted(path, lock->stale_ms, now_wall_ms, r->note,
                                                       r->note_ctx, r->taking, text);
        r->taking = NULL;
    } else if (err == 0) {
        err = lock_take(path, &r->locked[at].fd, text);
    }
    r->n_locked += err == 0 || is_held(r, at) ? 1 : 0;
    return err;
}

int replica_lock(struct replica *r, int64_t now_wall_ms, struct err_text *text)
{
    const struct client_lock *lock = r->format->locks;
    int err = replica_unlock(r);
    if (err != 0) {
        const struct folder_lock *stuck = &r->locked[0].folder;
        return err_say(text, err, "%s: we cannot give this lock back: %s",
                       stuck->path[0] != '\0' ? stuck->path : stuck->made_as, err_reason(err));
    }
    for (; err == 0 && lock->kind != CLIENT_LOCK_NONE; lock++) {
        err = lock_one(r, lock, now_wall_ms, text);
    }
    if (err != 0) {
        (void)replica_unlock(r);
    }
    r->looked = false;
    return err;
}

int replica_unlock(struct replica *r)
{
    int err = 0;
    unsigned n = r->n_locked;
    for (unsigned i = n; i-- > 0;) {
        int given = folder_lock_give(&r->locked[i].folder);
        fd_close(&r->locked[i].fd);
        err = given != 0 ? given : err;
    }
    r->n_locked = 0;
    for (unsigned i = 0; i < n; i++) {
        if (is_held(r, i)) {
            r->locked[r->n_locked++] = r->locked[i];
        }
    }
    r->looked = false;
    file_swap_clear(&r->store);
    return err;
}

void replica_note_locks(struct replica *r, void (*note)(void *ctx), void *ctx)
{
    r->note = note;
    r->note_ctx = ctx;
}

int replica_remember_locks(const struct replica *r, struct buf *out)
{
    int err = 0;
    for (unsigned i = 0; err == 0 && i < r->n_locked; i++) {
        if (r->locked[i].fd < 0) { /* one on an open file ends with us */
            err = folder_lock_remember(&r->locked[i].folder, out);
        }
    }
    return err == 0 && r->taking != NULL ? folder_lock_remember(r->taking, out) : err;
}

/* Still ours, and touched. A lock on an open file cannot be lost. */
static int touch_locks(struct replica *r, struct err_text *text)
{
    for (unsigned i = 0; i < r->n_locked; i++) {
        struct folder_lock *lock = &r->locked[i].folder;
        int err = r->locked[i].fd >= 0 ? 0 : folder_lock_touch(lock);
        if (err == ERR_CONFLICT) {
            return err_say(text, err, "%s: a lock of the client was lost while we held it",
                           r->store.path);
        }
        if (err != 0) {
            return err_say(text, err, "%s: a lock of the client cannot be kept: %s", r->store.path,
                           err_reason(err));
        }
    }
    if (r->note != NULL && r->n_locked > 0) {
        r->note(r->note_ctx);
    }
    return 0;
}

/* ---- looking ---- */

int replica_look(struct replica *r, struct copy *ret, struct err_text *text)
{
    const struct file_swap *s = &r->store;
    copy_clear(ret);
    int err = file_swap_look(&r->store, text);
    if (err == 0 && s->was_there) {
        struct err_text why = {""};
        err = format_read(r->format, buf_text(&s->bytes), s->bytes.len, ret, &why);
        if (err == 0 && ret->what == SEEN_TORN) {
            err_fill(text, "%s: %s", s->path, why.text);
        }
    }
    r->looked = err == 0;
    return err;
}

/* ---- putting ---- */

static int swap(struct replica *r, const struct buf *bytes, struct err_text *text)
{
    int err = file_swap_write(&r->store, bytes->bytes, bytes->len, text);
    err = err != 0 ? err : touch_locks(r, text);
    err = err != 0 ? err : file_swap_commit(&r->store, text);
    if (err != 0) {
        file_swap_clear(&r->store);
    }
    return err;
}

int replica_put(struct replica *r, const struct copy *copy, int64_t now_wall_ms,
                struct err_text *text)
{
    const struct file_swap *s = &r->store;
    struct err_text why = {""};
    struct buf bytes;
    CHECK(r->looked && (r->n_locked > 0 || r->format->locks[0].kind == CLIENT_LOCK_NONE));
    buf_init_secret(&bytes, REPLICA_STORE_MAX);
    int err = format_write(r->format, buf_text(&s->bytes), s->was_there ? s->bytes.len : 0, copy,
                           now_wall_ms, &bytes, &why);
    bool is_same = err == 0 && s->was_there && bytes.len == s->bytes.len &&
                   memcmp(bytes.bytes, s->bytes.bytes, bytes.len) == 0;
    bool stays_away = copy->what == SEEN_GONE && !s->was_there;
    if (err != 0) {
        err_fill(text, "%s: %s", s->path, why.text);
    } else if (is_same || stays_away) {
        err = touch_locks(r, text);
        err = err != 0 ? err : file_swap_compare(s, text);
    } else {
        err = swap(r, &bytes, text);
    }
    if (err == 0) {
        r->looked = false; /* what was looked at is not there any more */
    }
    buf_release(&bytes);
    return err;
}

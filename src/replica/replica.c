/*
 * Locks, reading and durable replacement of one store. The order of replica_put() is what keeps the
 * moment short in which somebody who does not care for locks could be overwritten: the new bytes
 * are on the disk before the old ones are compared, and then there is only the rename.
 */
#include "replica/replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "replica/format_parts.h"
#include "sys/file.h"
#include "sys/folder_lock.h"

#define PATH_SIZE FOLDER_LOCK_PATH_SIZE

struct replica {
    const struct format *format;
    char folder[PATH_SIZE];
    char path[PATH_SIZE];   /* as it is named */
    char target[PATH_SIZE]; /* where that leads, since the last look */

    unsigned n_locked;
    struct {
        struct folder_lock folder;
        int fd; /* of a lock that is a file; -1 */
    } locked[CLIENT_LOCKS_MAX];

    bool looked;
    bool was_there;
    struct file_facts facts; /* of the file, when it was there */
    struct buf bytes;        /* and what it held */
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
    r->format = f;
    buf_init_secret(&r->bytes, REPLICA_STORE_MAX);
    int n = snprintf(r->path, sizeof(r->path), "%s/%s", folder, f->file);
    if (str_copy(r->folder, sizeof(r->folder), folder) != 0 || (size_t)n >= sizeof(r->path)) {
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
        replica_unlock(r);
        buf_release(&r->bytes);
        free(r);
    }
}

const char *replica_path(const struct replica *r)
{
    return r->path;
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

static int lock_one(struct replica *r, const struct client_lock *lock, int64_t now_wall_ms,
                    struct err_text *text)
{
    char path[PATH_SIZE];
    unsigned at = r->n_locked;
    int err = lock_path(r, lock, path, text);
    r->locked[at].fd = -1;
    r->locked[at].folder.path[0] = '\0';
    if (err == 0 && lock->kind == CLIENT_LOCK_FOLDER) {
        err = folder_lock_take(path, lock->stale_ms, now_wall_ms, &r->locked[at].folder, text);
    } else if (err == 0) {
        err = lock_take(path, &r->locked[at].fd, text);
    }
    r->n_locked += err == 0 ? 1 : 0;
    return err;
}

int replica_lock(struct replica *r, int64_t now_wall_ms, struct err_text *text)
{
    CHECK(r->n_locked == 0);
    int err = 0;
    const struct client_lock *lock = r->format->locks;
    for (; err == 0 && lock->kind != CLIENT_LOCK_NONE; lock++) {
        err = lock_one(r, lock, now_wall_ms, text);
    }
    if (err != 0) {
        replica_unlock(r);
    }
    r->looked = false;
    return err;
}

void replica_unlock(struct replica *r)
{
    while (r->n_locked > 0) {
        r->n_locked--;
        folder_lock_give(&r->locked[r->n_locked].folder);
        fd_close(&r->locked[r->n_locked].fd);
    }
    r->looked = false;
    buf_clear(&r->bytes);
}

/* Still ours, and touched. A lock on an open file cannot be lost. */
static int touch_locks(struct replica *r, struct err_text *text)
{
    for (unsigned i = 0; i < r->n_locked; i++) {
        struct folder_lock *lock = &r->locked[i].folder;
        int err = r->locked[i].fd >= 0 ? 0 : folder_lock_touch(lock);
        if (err != 0) {
            return err_say(text, err, "%s: a lock of the client was lost while we held it",
                           r->path);
        }
    }
    return 0;
}

/* ---- looking ---- */

static int read_file(struct replica *r, struct buf *ret, bool *ret_there, struct file_facts *facts,
                     struct err_text *text)
{
    int err = file_resolve(r->path, r->target, sizeof(r->target));
    if (err != 0) {
        return err_say(text, err == ERR_NOT_FOUND ? ERR_INVALID : err,
                       "%s: it leads nowhere, or its folder is not there", r->path);
    }
    err = path_look(PATH_CWD, r->target, false, facts);
    *ret_there = err == 0;
    if (err == 0) {
        err = file_read(r->target, false, REPLICA_STORE_MAX - 1, ret, text);
    }
    if (err == ERR_NOT_FOUND) { /* or gone since */
        *ret_there = false;
        return 0;
    }
    return err;
}

int replica_look(struct replica *r, struct copy *ret, struct err_text *text)
{
    r->looked = false;
    buf_clear(&r->bytes);
    copy_clear(ret);
    int err = read_file(r, &r->bytes, &r->was_there, &r->facts, text);
    if (err == 0 && r->was_there) {
        struct err_text why = {""};
        err = format_read(r->format, buf_text(&r->bytes), r->bytes.len, ret, &why);
        if (err == 0 && ret->what == SEEN_TORN) {
            err_fill(text, "%s: %s", r->path, why.text);
        }
    }
    r->looked = err == 0;
    return err;
}

/* ---- putting ---- */

static int compare(struct replica *r, struct err_text *text)
{
    struct buf now;
    struct file_facts facts;
    bool is_there = false;
    char before[PATH_SIZE];
    CHECK(str_copy(before, sizeof(before), r->target) == 0);
    buf_init_secret(&now, REPLICA_STORE_MAX);
    int err = read_file(r, &now, &is_there, &facts, text);
    bool is_same = err == 0 && is_there == r->was_there && strcmp(before, r->target) == 0 &&
                   now.len == r->bytes.len &&
                   (now.len == 0 || memcmp(now.bytes, r->bytes.bytes, now.len) == 0);
    buf_release(&now);
    if (err == 0 && !is_same) {
        err = err_say(text, ERR_CONFLICT, "%s: somebody else has written it meanwhile", r->path);
    }
    return err;
}

/* The new bytes beside the target, on the disk; its path in `temp`. */
static int write_beside(const struct replica *r, const struct buf *bytes, char temp[PATH_SIZE],
                        struct err_text *text)
{
    int fd = -1;
    int err = file_make_temp(r->target, temp, PATH_SIZE, text);
    if (err != 0) {
        temp[0] = '\0';
        return err;
    }
    err = path_open(PATH_CWD, temp, OPEN_WRITE, &fd);
    if (err == 0 && r->was_there) {
        err = fd_make_like(fd, &r->facts);
    }
    err = err != 0 ? err : fd_write(fd, bytes->bytes, bytes->len);
    err = err != 0 ? err : fd_sync(fd);
    fd_close(&fd);
    return err != 0
               ? err_say(text, err, "%s: it cannot be written anew: %s", r->path, err_reason(err))
               : 0;
}

static int swap(struct replica *r, const struct buf *bytes, struct err_text *text)
{
    char temp[PATH_SIZE];
    int err = write_beside(r, bytes, temp, text);
    err = err != 0 ? err : touch_locks(r, text);
    err = err != 0 ? err : compare(r, text);
    if (err == 0) {
        err = file_put(temp, r->target, true, text);
        temp[0] = err == 0 ? '\0' : temp[0];
    }
    if (temp[0] != '\0') {
        (void)path_remove(PATH_CWD, temp); /* gone already, where only the folder is not synced */
    }
    return err;
}

int replica_put(struct replica *r, const struct copy *copy, int64_t now_wall_ms,
                struct err_text *text)
{
    struct err_text why = {""};
    struct buf bytes;
    CHECK(r->looked && (r->n_locked > 0 || r->format->locks[0].kind == CLIENT_LOCK_NONE));
    buf_init_secret(&bytes, REPLICA_STORE_MAX);
    int err = format_write(r->format, buf_text(&r->bytes), r->was_there ? r->bytes.len : 0, copy,
                           now_wall_ms, &bytes, &why);
    bool is_same = err == 0 && r->was_there && bytes.len == r->bytes.len &&
                   memcmp(bytes.bytes, r->bytes.bytes, bytes.len) == 0;
    bool stays_away = copy->what == SEEN_GONE && !r->was_there;
    if (err != 0) {
        err_fill(text, "%s: %s", r->path, why.text);
    } else if (is_same || stays_away) {
        err = touch_locks(r, text);
        err = err != 0 ? err : compare(r, text);
    } else {
        err = swap(r, &bytes, text);
    }
    if (err == 0) {
        r->looked = false; /* what was looked at is not there any more */
    }
    buf_release(&bytes);
    return err;
}

/*
 * Taking over is where two may meet: both have seen the same leftover, and the slower would remove
 * what the faster has made meanwhile. So it is not removed where it stands but moved aside first,
 * and looked at there: another one than was seen is put back.
 */
#include "sys/folder_lock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "sys/clock.h"
#include "sys/io.h"

#define TRIES 4 /* it is given back, or taken over, just when we look */

static bool is_same(const struct file_facts *found, dev_t dev, ino_t ino, int64_t written_wall_ms)
{
    return found->kind == FILE_FOLDER && found->dev == dev && found->ino == ino &&
           found->written_wall_ms == written_wall_ms;
}

/* ERR_AGAIN: look once more. */
static int take_over(const char *path, const struct file_facts *leftover, struct err_text *text)
{
    static atomic_uint counter;
    char aside[FOLDER_LOCK_PATH_SIZE + 32];
    struct file_facts moved;
    (void)snprintf(aside, sizeof(aside), "%s.%lx-%x", path, (unsigned long)getpid(),
                   atomic_fetch_add(&counter, 1));
    int err = path_rename_new(PATH_CWD, path, PATH_CWD, aside);
    if (err != 0) {
        return err == ERR_NOT_FOUND || err == ERR_EXISTS
                   ? ERR_AGAIN
                   : err_say(text, err, "%s: a leftover that cannot be moved: %s", path,
                             err_reason(err));
    }
    err = path_look(PATH_CWD, aside, false, &moved);
    if (err == 0 && is_same(&moved, leftover->dev, leftover->ino, leftover->written_wall_ms)) {
        err = path_remove_folder(aside);
        if (err == 0) {
            return ERR_AGAIN;
        }
        (void)path_rename_new(PATH_CWD, aside, PATH_CWD, path);
        return err_say(text, ERR_INVALID, "%s: a leftover lock that is not empty; remove it", path);
    }
    /* Somebody's that he has made just now. Is there a third one by now, he will notice. */
    if (path_rename_new(PATH_CWD, aside, PATH_CWD, path) != 0) {
        (void)path_remove_folder(aside);
    }
    return ERR_AGAIN;
}

static int note(struct folder_lock *lock)
{
    struct file_facts facts;
    int err = path_look(PATH_CWD, lock->path, false, &facts);
    if (err == 0) {
        lock->dev = facts.dev;
        lock->ino = facts.ino;
        lock->touched_wall_ms = facts.written_wall_ms;
    }
    return err;
}

/* One that was just made. ERR_AGAIN: it is gone already. */
static int note_made(struct folder_lock *lock)
{
    int err = note(lock);
    if (err != 0 && err != ERR_NOT_FOUND) {
        (void)path_remove_folder(lock->path);
    }
    return err == ERR_NOT_FOUND ? ERR_AGAIN : err;
}

/* There is something. ERR_AGAIN: not any more. */
static int look_at_holder(const char *path, int64_t stale_ms, int64_t now_wall_ms,
                          struct err_text *text)
{
    struct file_facts facts;
    int err = path_look(PATH_CWD, path, false, &facts);
    if (err != 0) {
        return err == ERR_NOT_FOUND ? ERR_AGAIN
                                    : err_say(text, err, "%s: %s", path, err_reason(err));
    }
    if (facts.kind != FILE_FOLDER) {
        return err_say(text, ERR_INVALID,
                       "%s: a lock is a folder; this is something else: remove it", path);
    }
    int64_t age_ms = now_wall_ms - facts.written_wall_ms;
    if (age_ms < -stale_ms) {
        return err_say(text, ERR_LOCKED,
                       "%s: a lock that is dated in the future: nobody ever takes it over; if no "
                       "program holds it, remove it",
                       path);
    }
    if (age_ms <= stale_ms) {
        return err_say(text, ERR_LOCKED, "%s: a program holds this lock", path);
    }
    return take_over(path, &facts, text);
}

static int init(struct folder_lock *lock, const char *path, struct err_text *text)
{
    *lock = (struct folder_lock){.path = ""};
    return str_copy(lock->path, sizeof(lock->path), path) == 0
               ? 0
               : err_say(text, ERR_TOO_LARGE, "%.64s...: a path of more than %zu bytes", path,
                         sizeof(lock->path) - 1);
}

int folder_lock_take(const char *path, int64_t stale_ms, int64_t now_wall_ms,
                     struct folder_lock *ret, struct err_text *text)
{
    struct folder_lock lock;
    int err = init(&lock, path, text) == 0 ? ERR_AGAIN : ERR_TOO_LARGE;
    for (int i = 0; err == ERR_AGAIN && i < TRIES; i++) {
        err = path_make_folder(path);
        err = err != 0 ? err : note_made(&lock);
        if (err == ERR_EXISTS) {
            err = look_at_holder(path, stale_ms, now_wall_ms, text);
        } else if (err != 0 && err != ERR_AGAIN) {
            return err_say(text, err, "%s: the lock cannot be made: %s", path, err_reason(err));
        }
    }
    if (err == 0) {
        *ret = lock;
    }
    return err == ERR_AGAIN
               ? err_say(text, ERR_LOCKED, "%s: programs take turns at this lock", path)
               : err;
}

/* The folder that is to be the lock, beside it. Its name is told before there is any. */
static int make_beside(struct folder_lock *lock, void (*noted)(void *ctx), void *ctx)
{
    static atomic_uint serial;
    struct file_facts facts;
    (void)snprintf(lock->made_as, sizeof(lock->made_as), "%s.%lx-%x", lock->path,
                   (unsigned long)getpid(), atomic_fetch_add(&serial, 1));
    noted(ctx);
    int err = path_make_folder(lock->made_as);
    bool is_made = err == 0;
    err = err != 0 ? err : path_look(PATH_CWD, lock->made_as, false, &facts);
    if (err != 0 && is_made) {
        (void)path_remove_folder(lock->made_as);
    }
    if (err == 0) {
        lock->dev = facts.dev;
        lock->ino = facts.ino;
        lock->touched_wall_ms = facts.written_wall_ms;
    }
    return err;
}

/* It gets its name, unless somebody has that. */
static int put_in_place(struct folder_lock *lock, int64_t stale_ms, int64_t now_wall_ms,
                        struct err_text *text)
{
    int err = ERR_AGAIN;
    for (int i = 0; err == ERR_AGAIN && i < TRIES; i++) {
        err = path_rename_new(PATH_CWD, lock->made_as, PATH_CWD, lock->path);
        if (err == ERR_EXISTS) {
            err = look_at_holder(lock->path, stale_ms, now_wall_ms, text);
        }
    }
    if (err == 0 || path_remove_folder(lock->made_as) == 0) {
        lock->made_as[0] = '\0';
    }
    return err;
}

int folder_lock_take_noted(const char *path, int64_t stale_ms, int64_t now_wall_ms,
                           void (*noted)(void *ctx), void *ctx, struct folder_lock *ret,
                           struct err_text *text)
{
    struct file_facts facts;
    bool is_there = path_look(PATH_CWD, path, false, &facts) == 0;
    int err = is_there ? look_at_holder(path, stale_ms, now_wall_ms, text) : 0;
    if (err != 0 && err != ERR_AGAIN) {
        return err;
    }
    err = init(ret, path, text);
    if (err != 0) {
        return err;
    }
    if (make_beside(ret, noted, ctx) == 0) {
        noted(ctx);
        err = put_in_place(ret, stale_ms, now_wall_ms, text);
    } else {
        ret->made_as[0] = '\0';
        err = ERR_UNSUPPORTED;
    }
    if (err == ERR_UNSUPPORTED || err == ERR_INVALID) {
        ret->path[0] = '\0';
        return folder_lock_take(path, stale_ms, now_wall_ms, ret, text);
    }
    if (err != 0) {
        ret->path[0] = '\0';
    }
    return err == ERR_AGAIN
               ? err_say(text, ERR_LOCKED, "%s: programs take turns at this lock", path)
               : err;
}

static int look_at_ours(struct folder_lock *lock)
{
    struct file_facts facts;
    int err = path_look(PATH_CWD, lock->path, false, &facts);
    bool is_ours = err == 0 && is_same(&facts, lock->dev, lock->ino, lock->touched_wall_ms);
    if (is_ours || (err != 0 && err != ERR_NOT_FOUND)) {
        return err;
    }
    lock->path[0] = '\0';
    return ERR_CONFLICT;
}

int folder_lock_touch(struct folder_lock *lock)
{
    if (lock->path[0] == '\0') {
        return ERR_CONFLICT;
    }
    int err = look_at_ours(lock);
    int64_t age_ms = clock_now().wall_ms - lock->touched_wall_ms;
    if (err != 0 || (age_ms >= 0 && age_ms < FOLDER_LOCK_FRESH_MS)) {
        return err;
    }
    err = path_touch(lock->path);
    return err != 0 ? err : note(lock);
}

/* Gone, or nobody's business any more: something was put into it, and no client gets past that. */
static bool is_over(int err)
{
    return err == 0 || err == ERR_NOT_FOUND || errno == ENOTEMPTY;
}

int folder_lock_give(struct folder_lock *lock)
{
    int err = lock->path[0] == '\0' ? ERR_CONFLICT : look_at_ours(lock);
    if (err == 0) {
        err = path_remove_folder(lock->path);
        if (is_over(err)) {
            lock->path[0] = '\0';
        }
    }
    err = lock->path[0] == '\0' ? 0 : err;
    if (lock->made_as[0] != '\0') {
        int removed = path_remove_folder(lock->made_as);
        if (is_over(removed)) {
            lock->made_as[0] = '\0';
        } else {
            err = removed;
        }
    }
    return err;
}

static int remember(const struct folder_lock *lock, const char *path, struct buf *out)
{
    return buf_addf(out, "%ju %ju %lld %s\n", (uintmax_t)lock->dev, (uintmax_t)lock->ino,
                    (long long)lock->touched_wall_ms, path);
}

int folder_lock_remember(const struct folder_lock *lock, struct buf *out)
{
    bool is_made = lock->path[0] != '\0' && lock->ino != 0;
    int err = is_made ? remember(lock, lock->path, out) : 0;
    return err == 0 && lock->made_as[0] != '\0' ? remember(lock, lock->made_as, out) : err;
}

static void reclaim(const char *line)
{
    struct folder_lock left = {.path = ""};
    uintmax_t numbers[3];
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        char *end = NULL;
        numbers[i] = strtoumax(line, &end, 10);
        if (end == line || *end != ' ') {
            return;
        }
        line = end + 1;
    }
    if (line[0] != '/' || str_copy(left.path, sizeof(left.path), line) != 0) {
        return;
    }
    if (numbers[1] == 0) { /* not known to be made; the name is nobody else's */
        (void)path_remove_folder(left.path);
        return;
    }
    left.dev = (dev_t)numbers[0];
    left.ino = (ino_t)numbers[1];
    left.touched_wall_ms = (int64_t)numbers[2];
    (void)folder_lock_give(&left);
}

void folder_lock_reclaim(const char *lines, size_t len)
{
    char line[FOLDER_LOCK_PATH_SIZE + 96];
    while (len > 0) {
        const char *end = memchr(lines, '\n', len);
        size_t n = end != NULL ? (size_t)(end - lines) : len;
        if (end != NULL && n < sizeof(line)) { /* one that is torn has no end */
            memcpy(line, lines, n);
            line[n] = '\0';
            reclaim(line);
        }
        n += end != NULL ? 1 : 0;
        lines += n;
        len -= n;
    }
}

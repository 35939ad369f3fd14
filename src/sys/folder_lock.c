/*
 * Taking over is where two may meet: both have seen the same leftover, and the slower would remove
 * what the faster has made meanwhile. So it is not removed where it stands but moved aside first,
 * and looked at there: another one than was seen is put back.
 */
#include "sys/folder_lock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"
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

int folder_lock_take(const char *path, int64_t stale_ms, int64_t now_wall_ms,
                     struct folder_lock *ret, struct err_text *text)
{
    struct folder_lock lock = {.path = ""};
    int err = ERR_AGAIN;
    if (str_copy(lock.path, sizeof(lock.path), path) != 0) {
        return err_say(text, ERR_TOO_LARGE, "%.64s...: a path of more than %zu bytes", path,
                       sizeof(lock.path) - 1);
    }
    for (int i = 0; err == ERR_AGAIN && i < TRIES; i++) {
        err = path_make_folder(path);
        if (err == 0) {
            err = note(&lock) == 0 ? 0 : ERR_AGAIN;
        } else if (err == ERR_EXISTS) {
            err = look_at_holder(path, stale_ms, now_wall_ms, text);
        } else {
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
    err = err != 0 ? err : path_touch(lock->path);
    return err != 0 ? err : note(lock);
}

void folder_lock_give(struct folder_lock *lock)
{
    if (lock->path[0] != '\0' && look_at_ours(lock) == 0) {
        (void)path_remove_folder(lock->path);
    }
    lock->path[0] = '\0';
}

/*
 * Files. A replacement is written beside the target, synced, and renamed over it; then the folder
 * is synced, because a rename that is only in memory is undone by a power cut.
 */
#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/secret.h"
#include "base/str.h"
#include "sys/process.h"

#define PATH_SIZE    4096
#define READ_STEP    ((size_t)16 * 1024)
#define CREATE_TRIES 8

/* What a person can do about it. */
static const char *advice(int err)
{
    switch (err) {
    case ERR_DENIED:
        return ": check the owner and mode of it and of the folders above";
    case ERR_FULL:
        return ": make room on that disk, then try again";
    case ERR_NOT_FOUND:
        return ": check the path";
    default:
        return "";
    }
}

static int say_errno(struct err_text *text, const char *verb, const char *path, int errnum)
{
    int err = err_from_errno(errnum);
    return err_say(text, err, "cannot %s %s: %s%s", verb, path, strerror(errnum), advice(err));
}

/* Reading */

static int open_regular(const char *path, bool follow, int *ret_fd, struct file_facts *ret_facts,
                        struct err_text *text)
{
    int fd = -1;
    int err = path_open(PATH_CWD, path, follow ? OPEN_READ_LINKED : OPEN_READ, &fd);
    if (err < 0 && errno == ELOOP && !follow) {
        return err_say(text, ERR_INVALID, "%s is a symbolic link, where a file itself was expected",
                       path);
    }
    if (err < 0) {
        return say_errno(text, "open", path, errno);
    }
    if (fd_look(fd, ret_facts) < 0) {
        err = say_errno(text, "look at", path, errno);
    } else if (ret_facts->kind != FILE_REGULAR) {
        err = err_say(text, ERR_INVALID, "%s is not a regular file", path);
    }
    if (err < 0) {
        fd_close(&fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

/* Nothing more may come: a file that grew beyond the limit is refused, not cut. */
static int expect_end(int fd)
{
    char extra = 0;
    ssize_t n = fd_read(fd, &extra, 1);
    secret_wipe(&extra, 1);
    return n > 0 ? ERR_TOO_LARGE : (int)n;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int read_to_end(int fd, size_t max, struct buf *out)
{
    for (size_t got = 0;;) {
        size_t room = smaller(max - got, out->max - out->len);
        if (room == 0) {
            return expect_end(fd);
        }
        size_t step = smaller(room, READ_STEP);
        uint8_t *at = buf_reserve(out, step);
        if (at == NULL) {
            return ERR_NOMEM;
        }
        ssize_t n = fd_read(fd, at, step);
        if (n < 0) {
            return (int)n;
        }
        buf_commit(out, (size_t)n);
        got += (size_t)n;
        if (n == 0) {
            return 0;
        }
    }
}

static void cut(struct buf *b, size_t len)
{
    if (b->len > len) {
        secret_wipe(b->bytes + len, b->len - len);
        b->len = len;
    }
}

static int read_open(int fd, const char *path, size_t max, struct buf *out, struct err_text *text)
{
    size_t before = out->len;
    int err = read_to_end(fd, max, out);
    if (err == 0) {
        return 0;
    }
    cut(out, before);
    if (err == ERR_TOO_LARGE) {
        return err_say(text, err, "%s is larger than the %zu bytes that are read of such a file",
                       path, smaller(max, out->max - before));
    }
    return err_say(text, err, "cannot read %s: %s", path, err_reason(err));
}

int file_read(const char *path, bool follow, size_t max, struct buf *out, struct err_text *text)
{
    int fd = -1;
    struct file_facts facts = {0};
    int err = open_regular(path, follow, &fd, &facts, text);
    if (err == 0) {
        err = read_open(fd, path, max, out, text);
    }
    fd_close(&fd);
    return err;
}

/* Ours, and closed to everybody else. */
static int check_private(const char *path, const struct file_facts *facts, struct err_text *text)
{
    if (facts->owner != process_uid()) {
        return err_say(text, ERR_INSECURE, "%s belongs to uid %u (mode %04o), not to uid %u", path,
                       facts->owner, facts->mode, process_uid());
    }
    if ((facts->mode & 077) != 0) {
        return err_say(text, ERR_INSECURE,
                       "%s is open to other users (mode %04o): run chmod %s '%s'", path,
                       facts->mode, facts->kind == FILE_FOLDER ? "700" : "600", path);
    }
    return 0;
}

int file_read_private(const char *path, size_t max, struct buf *out, struct err_text *text)
{
    int fd = -1;
    struct file_facts facts = {0};
    int err = open_regular(path, false, &fd, &facts, text);
    if (err == 0) {
        err = check_private(path, &facts, text);
    }
    if (err == 0) {
        err = read_open(fd, path, max, out, text);
    }
    fd_close(&fd);
    return err;
}

/* Folders */

/* `path` without trailing slashes: with one, O_NOFOLLOW would follow. */
static int path_trim(const char *path, char ret[PATH_SIZE], struct err_text *text)
{
    size_t len = strnlen(path, PATH_SIZE);
    if (len == 0 || len == PATH_SIZE) {
        return err_say(text, len == 0 ? ERR_INVALID : ERR_TOO_LARGE,
                       "a path of 1 to %d bytes was expected", PATH_SIZE - 1);
    }
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    memcpy(ret, path, len);
    ret[len] = '\0';
    return 0;
}

/* The folder that holds `path` (trimmed). */
static void path_parent(const char *path, char ret[PATH_SIZE])
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    while (len > 0 && path[len - 1] == '/') {
        len--;
    }
    memcpy(ret, path, len);
    ret[len] = '\0';
    if (len == 0) {
        CHECK(str_copy(ret, PATH_SIZE, slash == NULL ? "." : "/") == 0);
    }
}

int dir_sync(int dir_fd)
{
    /* EINVAL: the filesystem keeps no folder of its own to sync (some FUSE ones). */
    int err = fd_sync(dir_fd);
    return err < 0 && errno == EINVAL ? 0 : err;
}

static int dir_sync_path(const char *path, struct err_text *text)
{
    int fd = -1;
    if (path_open(PATH_CWD, path, OPEN_FOLDER_LINKED, &fd) < 0) {
        return say_errno(text, "open", path, errno);
    }
    int err = dir_sync(fd);
    fd_close(&fd);
    return err < 0 ? err_say(text, err, "cannot sync %s: %s", path, err_reason(err)) : 0;
}

/* Why `path` could not be opened as a folder. */
static int say_no_folder(struct err_text *text, const char *path, int errnum)
{
    struct file_facts facts;
    if ((errnum == ELOOP || errnum == ENOTDIR) && path_look(PATH_CWD, path, false, &facts) == 0) {
        if (facts.kind == FILE_LINK) {
            return err_say(text, ERR_INSECURE,
                           "%s is a symbolic link, where a folder itself was expected", path);
        }
        return err_say(text, ERR_INVALID, "%s is not a folder", path);
    }
    if (errnum == ENOTDIR) {
        return err_say(text, ERR_INVALID, "a part of %s is not a folder", path);
    }
    return say_errno(text, "open", path, errnum);
}

int dir_open_private(const char *path, int *ret_fd, struct err_text *text)
{
    char trimmed[PATH_SIZE];
    int err = path_trim(path, trimmed, text);
    if (err < 0) {
        return err;
    }
    int fd = -1;
    if (path_open(PATH_CWD, trimmed, OPEN_FOLDER, &fd) < 0) {
        return say_no_folder(text, trimmed, errno);
    }
    struct file_facts facts;
    err = fd_look(fd, &facts) == 0 ? check_private(trimmed, &facts, text)
                                   : say_errno(text, "look at", trimmed, errno);
    if (err < 0) {
        fd_close(&fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

/* From the deepest folder that is there downwards. EEXIST is fine: another process of ours may be
 * making the same folders, and the result is checked anyway. */
static int make_folders(const char *path, struct err_text *text)
{
    char parent[PATH_SIZE];
    path_parent(path, parent);
    int made = path_make_folder(path);
    if (made < 0 && errno == ENOENT && strcmp(parent, path) != 0) {
        int err = make_folders(parent, text);
        if (err < 0) {
            return err;
        }
        made = path_make_folder(path);
    }
    if (made < 0) {
        return made == ERR_EXISTS ? 0 : say_errno(text, "make the folder", path, errno);
    }
    return dir_sync_path(parent, text);
}

int dir_ensure_private(const char *path, struct err_text *text)
{
    char trimmed[PATH_SIZE];
    int fd = -1;
    int err = dir_open_private(path, &fd, text);
    if (err == ERR_NOT_FOUND) {
        err = path_trim(path, trimmed, text);
        if (err == 0) {
            err = make_folders(trimmed, text);
        }
        if (err == 0) {
            err = dir_open_private(path, &fd, text);
        }
    }
    fd_close(&fd);
    return err;
}

int dir_each(int dir_fd, bool (*each)(void *ctx, const char *name), void *ctx)
{
    int fd = -1;
    int err = path_open(dir_fd, ".", OPEN_FOLDER, &fd);
    if (err < 0) {
        return err;
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        err = err_from_errno(errno);
        fd_close(&fd);
        return err;
    }
    for (bool more = true; more;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        err = entry == NULL ? err_from_errno(errno) : 0;
        more = entry != NULL && each(ctx, entry->d_name);
    }
    (void)closedir(dir);
    return err;
}

static bool sweep_temp(void *ctx, const char *name)
{
    const int *dir_fd = ctx;
    if (strncmp(name, FILE_TEMP_PREFIX, strlen(FILE_TEMP_PREFIX)) == 0) {
        (void)path_remove(*dir_fd, name);
    }
    return true;
}

void dir_sweep_temps(const char *path)
{
    int fd = -1;
    if (dir_open_private(path, &fd, NULL) == 0) {
        (void)dir_each(fd, sweep_temp, &fd);
    }
    fd_close(&fd);
}

/* Replacing */

struct target {
    const char *path; /* as the caller named it, for the texts */
    int dir_fd;
    char name[256];
    char temp[sizeof(FILE_TEMP_PREFIX) + 16]; /* "" when there is none to remove */
};

static int target_open(struct target *t, const char *path, struct err_text *text)
{
    char trimmed[PATH_SIZE] = "";
    char parent[PATH_SIZE];
    *t = (struct target){.path = path, .dir_fd = -1};
    int err = path_trim(path, trimmed, text);
    if (err < 0) {
        return err;
    }
    const char *slash = strrchr(trimmed, '/');
    const char *name = slash == NULL ? trimmed : slash + 1;
    if (path[strlen(trimmed)] != '\0' || name[0] == '\0' || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0) {
        return err_say(text, ERR_INVALID, "%s names a folder, where a file was expected", path);
    }
    if (str_copy(t->name, sizeof(t->name), name) < 0) {
        return say_errno(text, "write", path, ENAMETOOLONG);
    }
    path_parent(trimmed, parent);
    return path_open(PATH_CWD, parent, OPEN_FOLDER_LINKED, &t->dir_fd) < 0
               ? say_errno(text, "open", parent, errno)
               : 0;
}

/* An empty file of a name nobody has. */
static int temp_open(struct target *t, int *ret_fd)
{
    int err = 0;
    for (int i = 0; i < CREATE_TRIES; i++) {
        uint8_t random[8];
        char suffix[2 * sizeof(random) + 1];
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
            return err_from_errno(errno);
        }
        hex_encode(random, sizeof(random), suffix);
        (void)snprintf(t->temp, sizeof(t->temp), "%s%s", FILE_TEMP_PREFIX, suffix);
        err = path_open(t->dir_fd, t->temp, OPEN_NEW, ret_fd);
        if (err == 0) {
            return 0;
        }
        t->temp[0] = '\0';
        if (err != ERR_EXISTS) {
            break;
        }
    }
    return err;
}

static int temp_write(struct target *t, const void *bytes, size_t len)
{
    int fd = -1;
    int err = temp_open(t, &fd);
    if (err == 0) {
        err = fd_write(fd, bytes, len);
    }
    if (err == 0) {
        err = fd_sync(fd);
    }
    fd_close(&fd);
    return err;
}

/* Give the finished file `from` the target's name. A link leaves the old name as well. */
static int target_name(const struct target *t, int from_dir_fd, const char *from, bool may_replace)
{
    return may_replace ? path_rename(from_dir_fd, from, t->dir_fd, t->name)
                       : path_link(from_dir_fd, from, t->dir_fd, t->name);
}

static int target_sync(const struct target *t, struct err_text *text)
{
    int err = dir_sync(t->dir_fd);
    return err < 0 ? err_say(text, err, "%s is written, but its folder cannot be synced: %s",
                             t->path, err_reason(err))
                   : 0;
}

static void target_close(struct target *t)
{
    if (t->temp[0] != '\0') {
        (void)path_remove(t->dir_fd, t->temp);
    }
    fd_close(&t->dir_fd);
}

static int write_whole(const char *path, bool may_replace, const void *bytes, size_t len,
                       struct err_text *text)
{
    struct target t;
    int err = target_open(&t, path, text);
    if (err == 0 &&
        (temp_write(&t, bytes, len) < 0 || target_name(&t, t.dir_fd, t.temp, may_replace) < 0)) {
        err = say_errno(text, "write", path, errno);
    }
    if (err == 0) {
        if (may_replace) {
            t.temp[0] = '\0';
        }
        err = target_sync(&t, text);
    }
    target_close(&t);
    return err;
}

int file_replace(const char *path, const void *bytes, size_t len, struct err_text *text)
{
    return write_whole(path, true, bytes, len, text);
}

int file_create(const char *path, const void *bytes, size_t len, struct err_text *text)
{
    return write_whole(path, false, bytes, len, text);
}

int file_make_temp(const char *path, char *ret, size_t size, struct err_text *text)
{
    struct target t;
    int fd = -1;
    int err = target_open(&t, path, text);
    if (err == 0 && temp_open(&t, &fd) < 0) {
        err = say_errno(text, "write", path, errno);
    }
    if (err == 0) {
        const char *slash = strrchr(path, '/');
        int folder_len = slash == NULL ? 0 : (int)(slash + 1 - path);
        int n = snprintf(ret, size, "%.*s%s", folder_len, path, t.temp);
        if (n > 0 && (size_t)n < size) {
            t.temp[0] = '\0'; /* the caller's now */
        } else {
            err = say_errno(text, "write", path, ENAMETOOLONG);
        }
    }
    fd_close(&fd);
    target_close(&t);
    return err;
}

static int file_sync(const char *path, struct err_text *text)
{
    int fd = -1;
    if (path_open(PATH_CWD, path, OPEN_WRITE, &fd) < 0) {
        return say_errno(text, "open", path, errno);
    }
    int err = fd_sync(fd) < 0 ? say_errno(text, "sync", path, errno) : 0;
    fd_close(&fd);
    return err;
}

/* Durable; ERR_EXISTS says what `path` is taken by. */
static int give_name(const struct target *t, const char *from, bool may_replace,
                     struct err_text *text)
{
    if (target_name(t, PATH_CWD, from, may_replace) < 0) {
        return errno == EEXIST ? err_say(text, ERR_EXISTS, "%s is there already", t->path)
                               : say_errno(text, "write", t->path, errno);
    }
    if (!may_replace) {
        (void)path_remove(PATH_CWD, from);
    }
    return target_sync(t, text);
}

int file_put(const char *temp, const char *path, bool may_replace, struct err_text *text)
{
    struct target t;
    int err = target_open(&t, path, text);
    if (err == 0) {
        err = file_sync(temp, text);
    }
    if (err == 0) {
        err = give_name(&t, temp, may_replace, text);
    }
    target_close(&t);
    return err;
}

int file_rename(const char *path, const char *to, bool may_replace, struct err_text *text)
{
    struct target t;
    int err = target_open(&t, to, text);
    if (err == 0) {
        err = give_name(&t, path, may_replace, text);
    }
    target_close(&t);
    return err;
}

/* Locks */

int lock_take(const char *path, int *ret_fd, struct err_text *text)
{
    int fd = -1;
    if (path_open(PATH_CWD, path, OPEN_WRITE_OR_MAKE, &fd) < 0) {
        return say_errno(text, "open the lock", path, errno);
    }
    int err = fd_lock(fd, LOCK_EXCLUSIVE);
    if (err == 0) {
        *ret_fd = fd;
        return 0;
    }
    err = err == ERR_LOCKED ? err_say(text, err, "%s is held by another process", path)
                            : say_errno(text, "lock", path, errno);
    fd_close(&fd);
    return err;
}

int home_dir(char *ret, size_t size)
{
    const char *home = getenv("HOME");
    if (home != NULL && home[0] == '/') {
        return strlen(home) < size ? str_copy(ret, size, home) : ERR_TOO_LARGE;
    }
    struct passwd entry;
    struct passwd *found = NULL;
    char strings[PATH_SIZE];
    int errnum = getpwuid_r(process_uid(), &entry, strings, sizeof(strings), &found);
    if (errnum != 0) {
        return errnum == ERANGE ? ERR_TOO_LARGE : err_from_errno(errnum);
    }
    if (found == NULL || entry.pw_dir == NULL || entry.pw_dir[0] != '/') {
        return ERR_NOT_FOUND;
    }
    return strlen(entry.pw_dir) < size ? str_copy(ret, size, entry.pw_dir) : ERR_TOO_LARGE;
}

int file_folder(const char *path, struct file_facts *ret)
{
    char folder[PATH_SIZE];
    if (strlen(path) >= sizeof(folder)) {
        return ERR_TOO_LARGE;
    }
    path_parent(path, folder);
    return path_look(PATH_CWD, folder, true, ret);
}

static int resolve_folder(const char *path, char ret[PATH_SIZE])
{
    char folder[PATH_SIZE], real[PATH_SIZE];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    path_parent(path, folder);
    if (realpath(folder, real) == NULL) {
        return err_from_errno(errno);
    }
    const char *between = strcmp(real, "/") == 0 ? "" : "/";
    int n = snprintf(ret, PATH_SIZE, "%s%s%s", real, between, name);
    return n < PATH_SIZE ? 0 : ERR_TOO_LARGE;
}

int file_resolve(const char *path, char *ret, size_t size)
{
    char trimmed[PATH_SIZE], real[PATH_SIZE];
    struct file_facts facts;
    int err = path_trim(path, trimmed, NULL);
    if (err != 0) {
        return err;
    }
    if (realpath(trimmed, real) == NULL) {
        err = err_from_errno(errno);
        bool is_absent =
            err == ERR_NOT_FOUND && path_look(PATH_CWD, trimmed, false, &facts) == ERR_NOT_FOUND;
        err = is_absent ? resolve_folder(trimmed, real) : err;
    }
    return err != 0 ? err : str_copy(ret, size, real);
}

int file_size(const char *path, int64_t *ret_bytes)
{
    struct file_facts facts;
    int err = path_look(PATH_CWD, path, true, &facts);
    if (err == 0) {
        *ret_bytes = facts.size;
    }
    return err;
}

/*
 * Copies of the store: backups, and the one beside it before a migration.
 *
 * VACUUM INTO reads one consistent state and writes only what is live: no freed pages, no log.
 */
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/file.h"

static int say_errno(struct err_text *text, const char *verb, const char *path)
{
    return err_say(text, err_from_errno(errno), "cannot %s %s: %s", verb, path, strerror(errno));
}

static int sync_path(const char *path, int flags, struct err_text *text)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        return say_errno(text, "open", path);
    }
    int r = 0;
    do {
        r = fsync(fd);
    } while (r != 0 && errno == EINTR);
    int err = r == 0 ? 0 : say_errno(text, "sync", path);
    fd_close(&fd);
    return err;
}

static int sync_parent(const char *path, struct err_text *text)
{
    char parent[STORE_PATH_SIZE];
    int err = store_path_join(parent, path, "", text);
    if (err < 0) {
        return err;
    }
    char *slash = strrchr(parent, '/'); /* the path is absolute */
    slash[slash == parent ? 1 : 0] = '\0';
    return sync_path(parent, O_RDONLY | O_DIRECTORY, text);
}

int store_put_file(const char *temp, const char *dest, bool overwrite, struct err_text *text)
{
    int err = sync_path(temp, O_RDWR | O_NOFOLLOW, text);
    if (err < 0) {
        return err;
    }
    if (overwrite ? rename(temp, dest) != 0 : link(temp, dest) != 0) {
        return errno == EEXIST ? err_say(text, ERR_EXISTS, "%s is there already", dest)
                               : say_errno(text, "write", dest);
    }
    if (!overwrite) {
        (void)unlink(temp);
    }
    return sync_parent(dest, text);
}

static int check_copy(char *path, struct err_text *text)
{
    struct store copy = {.path = path, .wal_fd = -1, .mark.fd = -1};
    int err = store_connect(&copy, SQLITE_OPEN_READONLY, text);
    if (err == 0) {
        err = store_check_pages(&copy, text);
    }
    if (copy.db != NULL) {
        store_disconnect(&copy);
    }
    return err;
}

/* An empty 0600 file of a name nobody has. */
static int make_temp(char *path, struct err_text *text)
{
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        return say_errno(text, "write", path);
    }
    fd_close(&fd);
    return 0;
}

int store_copy(struct store *s, const char *dest, bool overwrite, struct err_text *text)
{
    char temp[STORE_PATH_SIZE];
    int err = store_path_join(temp, dest, ".XXXXXX", text);
    if (err == 0) {
        err = make_temp(temp, text);
    }
    if (err < 0) {
        return err;
    }
    err = sql_run(s, "VACUUM INTO ?1", SQL_ARGS(arg_text(temp)));
    if (err < 0) {
        (void)err_say(text, err, "cannot copy %s to %s: %s", s->path, dest, sqlite3_errmsg(s->db));
    } else {
        err = check_copy(temp, text);
    }
    if (err == 0) {
        err = store_put_file(temp, dest, overwrite, text);
    }
    if (err < 0) {
        (void)unlink(temp);
    }
    return err;
}

int store_backup(struct store *s, const char *dest, bool overwrite, struct err_text *text)
{
    struct stat st;
    if (dest[0] != '/') {
        return err_say(text, ERR_INVALID, "an absolute path is wanted, not %s", dest);
    }
    if (stat(dest, &st) == 0) {
        if (st.st_dev == s->dev && st.st_ino == s->ino) {
            return err_say(text, ERR_INVALID, "%s is the store itself", dest);
        }
        if (!S_ISREG(st.st_mode)) {
            return err_say(text, ERR_INVALID, "%s is not a regular file", dest);
        }
        if (!overwrite) {
            return err_say(text, ERR_EXISTS, "%s is there already", dest);
        }
    }
    return store_copy(s, dest, overwrite, text);
}

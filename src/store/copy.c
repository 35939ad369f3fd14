/*
 * Copies of the store: backups, and the one beside it before a migration.
 *
 * VACUUM INTO reads one consistent state and writes only what is live: no freed pages, no log.
 */
#include "store/internal.h"

#include "base/check.h"
#include "sys/file.h"

static int check_copy(const struct store *of, char *path, struct err_text *text)
{
    struct store copy = {.path = path, .is_plain = of->is_plain, .wal_fd = -1, .mark.fd = -1};
    int err = store_connect(&copy, SQLITE_OPEN_READONLY, text);
    if (err == 0) {
        err = store_check_pages(&copy, text);
    }
    if (copy.db != NULL) {
        store_disconnect(&copy);
    }
    return err;
}

int store_copy(struct store *s, const char *dest, bool overwrite, struct err_text *text)
{
    char temp[STORE_PATH_SIZE];
    char journal[STORE_PATH_SIZE];
    int err = file_make_temp(dest, temp, sizeof(temp) - sizeof("-journal"), text);
    if (err < 0) {
        return err;
    }
    (void)store_path_join(journal, temp, "-journal", NULL);
    err = sql_run(s, "VACUUM INTO ?1", SQL_ARGS(arg_text(temp)));
    if (err < 0) {
        (void)err_say(text, err, "cannot copy %s to %s: %s", s->path, dest, sql_reason(s, err));
    } else {
        err = check_copy(s, temp, text);
    }
    if (err == 0) {
        err = file_put(temp, dest, overwrite, text);
    }
    if (err < 0) {
        (void)path_remove(PATH_CWD, temp);
    }
    /* SQLite leaves it where it cannot read it back, or could not sync it; a copy that was checked
     * needs none. */
    (void)path_remove(PATH_CWD, journal);
    return err;
}

/* A name that means something there: a log, the key, the lock. A backup must not become one of
 * them, nor take the place of one. */
static bool is_our_folder(const struct store *s, const struct file_facts *folder)
{
    const char *const ours[] = {s->path, s->mark_path};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        struct file_facts facts;
        if (file_folder(ours[i], &facts) == 0 && facts.dev == folder->dev &&
            facts.ino == folder->ino) {
            return true;
        }
    }
    return false;
}

int store_backup(struct store *s, const char *dest, bool overwrite, struct err_text *text)
{
    struct file_facts facts, folder;
    if (dest[0] != '/') {
        return err_say(text, ERR_INVALID, "an absolute path is wanted, not %s", dest);
    }
    if (path_look(PATH_CWD, dest, true, &facts) == 0) {
        if (facts.dev == s->dev && facts.ino == s->ino) {
            return err_say(text, ERR_INVALID, "%s is the store itself", dest);
        }
        if (facts.kind != FILE_REGULAR) {
            return err_say(text, ERR_INVALID, "%s is not a regular file", dest);
        }
        if (!overwrite) {
            return err_say(text, ERR_EXISTS, "%s is there already", dest);
        }
    }
    if (file_folder(dest, &folder) == 0 && is_our_folder(s, &folder)) {
        return err_say(text, ERR_INVALID,
                       "%s is in a folder that holds the store's own files: a backup goes to a "
                       "folder of yours",
                       dest);
    }
    return store_copy(s, dest, overwrite, text);
}

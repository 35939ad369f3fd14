/*
 * The end of a repair: the new store takes the place of the damaged one.
 *
 * The damaged files are given other names, and only then the new one gets theirs: whenever that is
 * interrupted, there is either the damaged store or none at all, and a start refuses both and names
 * the repair, which goes on.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/internal.h"
#include "sys/clock.h"
#include "sys/file.h"

#define SUFFIX_DAMAGED ".damaged-"

/* The file itself last: as long as it is there, the rest is found by it. */
void store_remove_with_log(const char *path)
{
    static const char *const suffixes[] = {"-wal", "-journal", ""};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char other[STORE_PATH_SIZE];
        if (store_path_join(other, path, suffixes[i], NULL) == 0) {
            (void)path_remove(PATH_CWD, other);
        }
    }
}

static bool is_there(const char *path)
{
    struct file_facts facts;
    return path_look(PATH_CWD, path, false, &facts) != ERR_NOT_FOUND;
}

struct newest {
    const char *prefix;
    int64_t number;
};

static bool note_damaged(void *ctx, const char *name)
{
    struct newest *newest = ctx;
    size_t len = strlen(newest->prefix);
    if (strncmp(name, newest->prefix, len) == 0) {
        int64_t number = strtoll(name + len, NULL, 10);
        bool is_newer = number > newest->number && number < INT64_MAX;
        newest->number = is_newer ? number : newest->number;
    }
    return true;
}

/* The highest number that a damaged store, or its log, has in its name; 0: none. */
static int find_newest(const char *path, int64_t *ret, struct err_text *text)
{
    char folder[STORE_PATH_SIZE], prefix[STORE_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    struct newest newest = {.prefix = prefix};
    int fd = -1;
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash + 1 - path), path);
    (void)snprintf(prefix, sizeof(prefix), "%s" SUFFIX_DAMAGED, slash + 1);
    int err = path_open(PATH_CWD, folder, OPEN_FOLDER_LINKED, &fd);
    if (err == 0) {
        err = dir_each(fd, note_damaged, &newest);
    }
    fd_close(&fd);
    if (err < 0) {
        return err_say(text, err, "cannot read %s: %s", folder, err_reason(err));
    }
    *ret = newest.number;
    return 0;
}

static int number_name(const char *path, int64_t number, char ret[STORE_PATH_SIZE],
                       char ret_log[STORE_PATH_SIZE], struct err_text *text)
{
    char suffix[48];
    (void)snprintf(suffix, sizeof(suffix), SUFFIX_DAMAGED "%" PRId64, number);
    int err = store_path_join(ret, path, suffix, text);
    return err == 0 ? store_path_join(ret_log, ret, "-wal", text) : err;
}

/* The names of the damaged file and its log: of now, or the next after the newest there is. A
 * repair that goes on, and finds that the file has its name already, gives the log the same. */
static int damaged_names(const char *path, char ret[STORE_PATH_SIZE], char ret_log[STORE_PATH_SIZE],
                         struct err_text *text)
{
    int64_t now_s = clock_now().wall_ms / 1000;
    int64_t newest = 0;
    int err = find_newest(path, &newest, text);
    if (err == 0) {
        err = number_name(path, newest, ret, ret_log, text);
    }
    if (err < 0 || (!is_there(path) && is_there(ret) && !is_there(ret_log))) {
        return err;
    }
    return number_name(path, newest < now_s ? now_s : newest + 1, ret, ret_log, text);
}

static int rename_if_there(const char *from, const char *to, struct err_text *text)
{
    return is_there(from) ? file_rename(from, to, true, text) : 0;
}

/* A log of another store does not go with the damaged one. */
static int part_from_foreign_log(const char *path, struct err_text *text)
{
    struct log_beside b;
    char aside[STORE_PATH_SIZE];
    int err = log_look(path, &b, text);
    if (err < 0) {
        return err == ERR_NOT_FOUND ? 0 : err; /* a log alone: the store has its other name */
    }
    bool is_foreign = b.is_foreign;
    log_beside_release(&b);
    return is_foreign ? log_set_aside(path, aside, text) : 0;
}

int store_salvage_go_on(const char *path, char ret_aside[STORE_PATH_SIZE], struct err_text *text)
{
    char whole[STORE_PATH_SIZE], log_path[STORE_PATH_SIZE], aside_log[STORE_PATH_SIZE];
    int err = store_path_join(whole, path, STORE_REPAIRED, text);
    if (err == 0 && !is_there(whole)) {
        return ERR_NOT_FOUND;
    }
    if (err == 0) {
        err = part_from_foreign_log(path, text);
    }
    if (err == 0) {
        err = damaged_names(path, ret_aside, aside_log, text);
    }
    if (err == 0) {
        err = store_path_join(log_path, path, "-wal", text);
    }
    /* Each step is on the disk before the next. The store first: a log alone is refused, a store
     * without its log is not. And the log before the new store comes, which would have it played
     * into it. */
    if (err == 0) {
        err = rename_if_there(path, ret_aside, text);
    }
    if (err == 0) {
        err = rename_if_there(log_path, aside_log, text);
    }
    return err == 0 ? file_rename(whole, path, false, text) : err;
}

int store_salvage_end(struct store *s, const char *path, char ret_aside[STORE_PATH_SIZE],
                      struct err_text *text)
{
    char building[STORE_PATH_SIZE], whole[STORE_PATH_SIZE];
    int err = store_path_join(building, s->path, "", text);
    if (err == 0) {
        err = store_path_join(whole, path, STORE_REPAIRED, text);
    }
    if (err == 0) {
        err = wal_empty(s);
        err = err < 0 ? sql_say(s, err, "written", text) : 0;
    }
    if (err == 0) {
        err = store_check_pages(s, text);
    }
    if (err == 0) {
        err = store_check_rules(s, text);
    }
    if (err < 0) {
        store_salvage_drop(s);
        return err;
    }
    store_release(s);
    err = file_put(building, whole, true, text);
    return err == 0 ? store_salvage_go_on(path, ret_aside, text) : err;
}

/* Killed between the two steps in which the new store gets its name, a repair leaves it the other
 * one as well. Any other result was not needed: a copy was put in the store's place meanwhile. It
 * may be all there is of a login, so it is kept, under a name that no start and no repair takes up.
 */
void store_salvage_sweep(const char *path)
{
    char building[STORE_PATH_SIZE], whole[STORE_PATH_SIZE], aside[STORE_PATH_SIZE];
    struct file_facts own, other;
    if (store_path_join(building, path, STORE_REPAIRING, NULL) < 0 ||
        store_path_join(whole, path, STORE_REPAIRED, NULL) < 0) {
        return;
    }
    if (is_there(building)) {
        store_remove_with_log(building);
    }
    if (path_look(PATH_CWD, path, false, &own) < 0 ||
        path_look(PATH_CWD, whole, false, &other) < 0) {
        return;
    }
    if (own.dev == other.dev && own.ino == other.ino) {
        (void)path_remove(PATH_CWD, whole);
    } else if (store_aside_name(whole, aside, NULL) == 0) {
        (void)file_rename(whole, aside, true, NULL);
    }
}

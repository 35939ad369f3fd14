/*
 * A file, changed: read, compared just before it is replaced, and read anew when somebody was
 * faster.
 */
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "sink/sink_parts.h"
#include "sys/file.h"
#include "sys/file_swap.h"

#define TRIES 3

/* Two places may be in one file. Between the comparison and the rename of one, the other must not
 * get in. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

int sink_path(const char *place, size_t len, char ret[SINK_PATH_SIZE], struct err_text *text)
{
    if (len >= SINK_PATH_SIZE) {
        return err_say(text, ERR_TOO_LARGE, "a path has at most %d bytes", SINK_PATH_SIZE - 1);
    }
    memcpy(ret, place, len);
    ret[len] = '\0';
    const char *slash = strrchr(ret, '/');
    const char *name = slash != NULL ? slash + 1 : "";
    if (ret[0] != '/' || name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return err_say(text, ERR_INVALID, "%.200s: the absolute path of a file was expected",
                       len > 0 ? ret : "no path at all");
    }
    return 0;
}

int sink_say(int err, const char *path, const struct err_text *why, struct err_text *text)
{
    const char *reason = why->text[0] != '\0'   ? why->text
                         : err == ERR_TOO_LARGE ? "it would become too long"
                                                : err_reason(err);
    return err_say(text, err, "%.200s: %s", path, reason);
}

/* A rename that we made before may not be on the disk yet, when syncing the folder failed. */
static int sync_folder(const char *target, struct err_text *text)
{
    char folder[FILE_SWAP_PATH_SIZE];
    int fd = -1;
    CHECK(str_copy(folder, sizeof(folder), target) == 0 && folder[0] == '/');
    strrchr(folder, '/')[folder == strrchr(folder, '/') ? 1 : 0] = '\0';
    int err = path_open(PATH_CWD, folder, OPEN_FOLDER_LINKED, &fd);
    err = err != 0 ? err : dir_sync(fd);
    fd_close(&fd);
    return err != 0 ? err_say(text, err, "%.200s: it cannot be synced: %s", folder, err_reason(err))
                    : 0;
}

static int change_once(struct file_swap *s, sink_change_fn change, const void *ctx, struct buf *out,
                       struct err_text *text)
{
    struct err_text why = {""};
    int err = file_swap_look(s, text);
    if (err != 0) {
        return err;
    }
    err = change(ctx, &s->bytes, out, &why);
    if (err != 0) {
        return sink_say(err, s->path, &why, text);
    }
    if (s->was_there && out->len == s->bytes.len &&
        (out->len == 0 || memcmp(out->bytes, s->bytes.bytes, out->len) == 0)) {
        return sync_folder(s->target, text);
    }
    err = file_swap_write(s, out->bytes, out->len, text);
    return err != 0 ? err : file_swap_commit(s, text);
}

int sink_change_file(const char *path, sink_change_fn change, const void *ctx,
                     struct err_text *text)
{
    struct file_swap s;
    struct buf out;
    int err = file_swap_init(&s, path, SINK_FILE_MAX);
    CHECK(err == 0); /* sink_path() has measured it */
    buf_init_secret(&out, SINK_FILE_MAX);
    CHECK(pthread_mutex_lock(&one_at_a_time) == 0);
    err = ERR_CONFLICT;
    for (int i = 0; err == ERR_CONFLICT && i < TRIES; i++) {
        buf_clear(&out);
        err = change_once(&s, change, ctx, &out, text);
    }
    CHECK(pthread_mutex_unlock(&one_at_a_time) == 0);
    file_swap_clear(&s);
    buf_release(&out);
    return err;
}

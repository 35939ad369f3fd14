/*
 * A look around in a client's folder, for `doctor`.
 */
#include "replica/inspect.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "json/json.h"
#include "replica/format_parts.h"
#include "sys/file.h"

#define PATH_SIZE      4096
#define SENTENCE_SIZE  (PATH_SIZE + 256)
#define NOTE_MAX       (4 * 1024 * 1024) /* a client's own notes may be long */
#define OTHERS_MAY_USE 077
#define OTHERS_MAY_PUT 022

struct look {
    inspect_cb found;
    void *ctx;
    int64_t now_wall_ms;
};

static void tell(const struct look *l, const char *path, const char *what, const char *command)
{
    char sentence[SENTENCE_SIZE];
    char mend[SENTENCE_SIZE];
    (void)snprintf(sentence, sizeof(sentence), "%s: %s", path, what);
    (void)snprintf(mend, sizeof(mend), "%s %s", command, path);
    l->found(l->ctx, sentence, command[0] != '\0' ? mend : "");
}

static void inspect_lock(const struct look *l, const struct client_lock *lock, const char *folder)
{
    char path[PATH_SIZE];
    struct file_facts facts;
    const char *between = lock->where == BESIDE_FOLDER ? "" : "/";
    int n = snprintf(path, sizeof(path), "%s%s%s", folder, between, lock->name);
    if ((size_t)n >= sizeof(path) || path_look(PATH_CWD, path, false, &facts) != 0) {
        return;
    }
    if (lock->kind == CLIENT_LOCK_FOLDER && facts.kind != FILE_FOLDER) {
        tell(l, path,
             "stands where the client makes a folder as its lock: it loses logins in silence",
             "rm");
    } else if (lock->kind == CLIENT_LOCK_FOLDER &&
               facts.written_wall_ms - l->now_wall_ms > lock->stale_ms) {
        tell(l, path, "a lock that is dated in the future: nobody ever takes it over", "rmdir");
    } else if (lock->kind == CLIENT_LOCK_FILE && facts.kind != FILE_REGULAR) {
        tell(l, path, "is no file, and the client locks it as one", "");
    }
}

static void inspect_store(const struct look *l, const struct format *f, const char *folder)
{
    char path[PATH_SIZE];
    struct file_facts facts;
    int n = snprintf(path, sizeof(path), "%s/%s", folder, f->file);
    int err = (size_t)n < sizeof(path) ? path_look(PATH_CWD, path, true, &facts) : ERR_NOT_FOUND;
    if (err == 0 && facts.kind != FILE_REGULAR) {
        tell(l, path, "is no regular file", "");
    } else if (err == 0 && (facts.mode & OTHERS_MAY_USE) != 0) {
        tell(l, path, "holds tokens, and others may use it", "chmod 600");
    }
}

/* A label is no proof; but a client that shows another name than it works as misleads its user. */
static void inspect_label(const struct look *l, const struct format *f, const char *path,
                          const char *label)
{
    struct buf bytes;
    struct json_fault fault;
    buf_init_secret(&bytes, SECRET_MAX < NOTE_MAX ? SECRET_MAX : NOTE_MAX);
    json_t *root = file_read(path, true, bytes.max, &bytes, NULL) == 0
                       ? json_read_object(buf_text(&bytes), bytes.len, &fault)
                       : NULL;
    const char *named = root != NULL ? json_string_at(root, f->label_path) : NULL;
    if (named != NULL && named[0] != '\0' && strcmp(named, label) != 0) {
        tell(l, path,
             "names another account than the one that is signed in; it is a label only, and the "
             "client renews it when it starts",
             "");
    }
    json_decref(root);
    buf_release(&bytes);
}

static void inspect_labels(const struct look *l, const struct format *f, const char *folder,
                           const char *label)
{
    char path[PATH_SIZE];
    const char *slash = strrchr(folder, '/');
    if (f->label_file == NULL || label[0] == '\0') {
        return;
    }
    int n = snprintf(path, sizeof(path), "%s/%s", folder, f->label_file);
    if ((size_t)n < sizeof(path)) {
        inspect_label(l, f, path, label);
    }
    n = snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - folder), folder, f->label_file);
    if ((size_t)n < sizeof(path)) {
        inspect_label(l, f, path, label);
    }
}

void replica_inspect(const struct format *f, const char *folder, const char *label,
                     int64_t now_wall_ms, inspect_cb found, void *ctx)
{
    struct look l = {.found = found, .ctx = ctx, .now_wall_ms = now_wall_ms};
    struct file_facts facts;
    char real[PATH_SIZE];
    if (path_look(PATH_CWD, folder, true, &facts) != 0) {
        tell(&l, folder, "the folder is not there", "");
        return;
    }
    if ((facts.mode & OTHERS_MAY_PUT) != 0) {
        tell(&l, folder, "others may put files there", "chmod go-w");
    }
    inspect_store(&l, f, folder);
    for (const struct client_lock *lock = f->locks; lock->kind != CLIENT_LOCK_NONE; lock++) {
        bool beside = lock->where == BESIDE_FOLDER;
        if (!beside || file_resolve(folder, real, sizeof(real)) == 0) {
            inspect_lock(&l, lock, beside ? real : folder);
        }
    }
    inspect_labels(&l, f, folder, label);
}

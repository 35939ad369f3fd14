/*
 * The way to a path is walked as the kernel does, a name at a time. Each name that can lead
 * elsewhere is a spot: every link, the last name, and the first that is not there. Of a spot its
 * folder is watched; what happens there to another name is not looked at.
 */
#include "sys/watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "sys/io.h"

#define PATH_SIZE 4096
#define LINKS_MAX 40 /* as the kernel has it */
#define SPOTS_MAX (LINKS_MAX + 2)

/* A name in a folder; its handle lives until the loop has closed it. */
struct spot {
    uv_fs_event_t handle;
    struct watch *watch; /* NULL: closing */
    char *folder;
    char *name;
    dev_t dev;
    ino_t ino; /* of the folder */
};

struct watch {
    uv_loop_t *loop;
    watch_cb cb;
    void *ctx;
    char path[PATH_SIZE];
    struct spot *spots[SPOTS_MAX];
    unsigned n;
};

static void spot_end(struct spot *s)
{
    free(s->folder);
    free(s->name);
    free(s);
}

static void on_closed(uv_handle_t *handle)
{
    spot_end(handle->data);
}

static void spot_close(struct spot *s)
{
    s->watch = NULL;
    uv_close((uv_handle_t *)&s->handle, on_closed);
}

/* The folder itself went: libuv then tells its own name. */
static bool is_itself(const struct spot *s, const char *name)
{
    const char *slash = strrchr(s->folder, '/');
    return slash != NULL && strcmp(slash + 1, name) == 0;
}

static int walk(struct watch *w, bool anew, struct err_text *text);

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct spot *s = handle->data;
    struct watch *w = s->watch;
    (void)events;
    if (w == NULL) {
        return;
    }
    bool itself = status != 0 || name == NULL || is_itself(s, name);
    if (itself || strcmp(name, s->name) == 0) {
        (void)walk(w, itself, NULL);
        w->cb(w->ctx); /* `w` may be gone now */
    }
}

static int say_start(struct err_text *text, const char *folder, int status)
{
    int err = err_from_errno(-status);
    const char *limit = status == UV_ENOSPC   ? " (raise fs.inotify.max_user_watches)"
                        : status == UV_EMFILE ? " (raise fs.inotify.max_user_instances)"
                                              : "";
    if (limit[0] != '\0') {
        err = ERR_BUSY;
    }
    return err_say(text, err, "%s: cannot be watched: %s%s", folder, err_reason(err), limit);
}

static int spot_open(struct watch *w, const char *folder, const char *name,
                     const struct file_facts *facts, struct spot **ret, struct err_text *text)
{
    struct spot *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->folder = strdup(folder);
    s->name = strdup(name);
    s->dev = facts->dev;
    s->ino = facts->ino;
    if (s->folder == NULL || s->name == NULL) {
        spot_end(s);
        return ERR_NOMEM;
    }
    CHECK(uv_fs_event_init(w->loop, &s->handle) == 0);
    s->handle.data = s;
    s->watch = w;
    int status = uv_fs_event_start(&s->handle, on_event, folder, 0);
    if (status != 0) {
        spot_close(s);
        return say_start(text, folder, status);
    }
    *ret = s;
    return 0;
}

/* ---- the way ---- */

struct way {
    char at[PATH_SIZE];   /* the folder that was reached, without links */
    char rest[PATH_SIZE]; /* what is still to be walked */
    char name[PATH_SIZE]; /* the next name */
    int links;
    struct spot *found[SPOTS_MAX];
    unsigned n;
};

static int join(char ret[PATH_SIZE], const char *folder, const char *name)
{
    const char *between = strcmp(folder, "/") == 0 ? "" : "/";
    int n = snprintf(ret, PATH_SIZE, "%s%s%s", folder, between, name);
    return n < PATH_SIZE ? 0 : ERR_TOO_LARGE;
}

/* false: the way is at its end. */
static bool next_name(struct way *way)
{
    const char *from = way->rest + strspn(way->rest, "/");
    size_t len = strcspn(from, "/");
    if (len == 0) {
        return false;
    }
    memcpy(way->name, from, len);
    way->name[len] = '\0';
    from += len;
    from += strspn(from, "/");
    memmove(way->rest, from, strlen(from) + 1);
    return true;
}

static void one_up(char path[PATH_SIZE])
{
    char *slash = strrchr(path, '/');
    slash[slash == path ? 1 : 0] = '\0';
}

/* A spot that is watched already goes on being so, when it is still of the same folder. */
static int spot_add(struct watch *w, struct way *way, bool anew, struct err_text *text)
{
    struct file_facts facts;
    int err = path_look(PATH_CWD, way->at, false, &facts);
    if (err != 0) {
        return err == ERR_NOT_FOUND ? ERR_AGAIN : err;
    }
    CHECK(way->n < SPOTS_MAX);
    for (unsigned i = 0; !anew && i < w->n; i++) {
        struct spot *s = w->spots[i];
        if (s != NULL && s->dev == facts.dev && s->ino == facts.ino &&
            strcmp(s->folder, way->at) == 0 && strcmp(s->name, way->name) == 0) {
            way->found[way->n++] = s;
            w->spots[i] = NULL;
            return 0;
        }
    }
    err = spot_open(w, way->at, way->name, &facts, &way->found[way->n], text);
    way->n += err == 0 ? 1 : 0;
    return err;
}

static int follow_link(struct way *way)
{
    char path[PATH_SIZE], leads_to[PATH_SIZE], rest[PATH_SIZE];
    int err = join(path, way->at, way->name);
    err = err != 0 ? err : path_read_link(path, leads_to, sizeof(leads_to));
    err = err != 0 ? err : join(rest, leads_to, way->rest);
    if (err != 0) {
        return err == ERR_NOT_FOUND || err == ERR_INVALID ? ERR_AGAIN : err; /* gone since */
    }
    if (++way->links > LINKS_MAX) {
        return ERR_INVALID;
    }
    if (leads_to[0] == '/') {
        CHECK(str_copy(way->at, sizeof(way->at), "/") == 0);
    }
    return str_copy(way->rest, sizeof(way->rest), rest);
}

/* 1: go on; 0: at the end; negative: an error, ERR_AGAIN where something changes just now. */
static int one_step(struct watch *w, struct way *way, bool anew, struct err_text *text)
{
    char path[PATH_SIZE];
    struct file_facts facts;
    if (!next_name(way)) {
        return 0;
    }
    if (strcmp(way->name, ".") == 0 || strcmp(way->name, "..") == 0) {
        if (way->name[1] == '.') {
            one_up(way->at);
        }
        return 1;
    }
    int err = join(path, way->at, way->name);
    if (err != 0) {
        return err;
    }
    err = path_look(PATH_CWD, path, false, &facts);
    bool is_link = err == 0 && facts.kind == FILE_LINK;
    bool is_on_the_way = err == 0 && facts.kind == FILE_FOLDER && way->rest[0] != '\0';
    if (is_on_the_way) {
        return str_copy(way->at, sizeof(way->at), path) == 0 ? 1 : ERR_TOO_LARGE;
    }
    if (err != 0 && err != ERR_NOT_FOUND) {
        return err;
    }
    err = spot_add(w, way, anew, text);
    err = err == 0 && is_link ? follow_link(way) : err;
    return err != 0 ? err : is_link ? 1 : 0;
}

static int walk_once(struct watch *w, bool anew, struct err_text *text)
{
    struct way *way = calloc(1, sizeof(*way));
    if (way == NULL) {
        return ERR_NOMEM;
    }
    CHECK(str_copy(way->at, sizeof(way->at), "/") == 0);
    CHECK(str_copy(way->rest, sizeof(way->rest), w->path) == 0);
    int more;
    do {
        more = one_step(w, way, anew, text);
    } while (more > 0);
    for (unsigned i = 0; i < w->n; i++) {
        if (w->spots[i] != NULL) {
            spot_close(w->spots[i]);
        }
    }
    memcpy(w->spots, way->found, sizeof(w->spots));
    w->n = way->n;
    free(way);
    return more;
}

/* `anew`: a folder may have been made again with the number of the one before. */
static int walk(struct watch *w, bool anew, struct err_text *text)
{
    enum { TRIES = 4 };
    int err = ERR_AGAIN;
    for (int i = 0; err == ERR_AGAIN && i < TRIES; i++) {
        err = walk_once(w, anew, text);
    }
    return err == ERR_AGAIN ? 0 : err; /* what changed just now is heard of */
}

int watch_open(uv_loop_t *loop, const char *path, watch_cb cb, void *ctx, struct watch **ret,
               struct err_text *text)
{
    struct watch *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->loop = loop;
    w->cb = cb;
    w->ctx = ctx;
    int err = path[0] != '/' ? ERR_INVALID : str_copy(w->path, sizeof(w->path), path);
    if (err != 0) {
        free(w);
        return err_say(text, err, "%.64s: an absolute path of at most %d bytes was expected", path,
                       PATH_SIZE - 1);
    }
    err = watch_again(w, text);
    if (err != 0) {
        watch_free(w);
        return err;
    }
    *ret = w;
    return 0;
}

int watch_again(struct watch *w, struct err_text *text)
{
    struct err_text why = {""};
    int err = walk(w, false, &why);
    return err == 0 ? 0
                    : err_say(text, err, "%s",
                              why.text[0] != '\0' ? why.text : "what is on the way cannot be seen");
}

void watch_free(struct watch *w)
{
    if (w != NULL) {
        for (unsigned i = 0; i < w->n; i++) {
            spot_close(w->spots[i]);
        }
        free(w);
    }
}

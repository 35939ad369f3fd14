/* The rule of paths.h. Pure, so that every odd environment can be a row in a test. */
#include "base/paths.h"

#include <sys/un.h>

#include "base/check.h"

_Static_assert(PATHS_SOCKET_LEN < sizeof(((struct sockaddr_un *)0)->sun_path),
               "a socket path of that length must fit with its NUL");

/* The value of a variable, or NULL when it is unset or empty. */
static const char *value_of(const struct paths_world *w, const char *name)
{
    const char *value = w->lookup(name);
    return value && *value ? value : NULL;
}

static const char *absolute_value_of(const struct paths_world *w, const char *name)
{
    const char *value = value_of(w, name);
    return value && *value == '/' ? value : NULL;
}

/* dir + tail, without doubled slashes between them. */
static int join(char *dst, const char *dir, const char *tail, struct err_text *text)
{
    size_t len = strlen(dir);
    while (len > 0 && dir[len - 1] == '/') {
        len--;
    }
    size_t tail_len = strlen(tail);
    if (len + tail_len >= PATHS_SIZE) {
        return err_say(text, ERR_TOO_LARGE,
                       "a path of %zu bytes is longer than credwarden's limit of %d: %.64s…; "
                       "choose a shorter folder",
                       len + tail_len, PATHS_SIZE - 1, dir);
    }
    memcpy(dst, dir, len);
    memcpy(dst + len, tail, tail_len + 1);
    return 0;
}

static int home_path(const struct paths_world *w, const char *variable, const char *xdg_tail,
                     const char *home_tail, char *dst, struct err_text *text)
{
    const char *xdg = absolute_value_of(w, variable);
    if (xdg) {
        return join(dst, xdg, xdg_tail, text);
    }
    const char *home = absolute_value_of(w, "HOME");
    if (!home) {
        return err_say(text, ERR_INVALID,
                       "HOME is not set to an absolute path, and neither is %s: set one of them",
                       variable);
    }
    return join(dst, home, home_tail, text);
}

static int state_path(const struct paths_world *w, char *dst, struct err_text *text)
{
    return home_path(w, "XDG_STATE_HOME", "/credwarden", "/.local/state/credwarden", dst, text);
}

static int runtime_path(const struct paths_world *w, char *dst, struct err_text *text)
{
    const char *xdg = absolute_value_of(w, "XDG_RUNTIME_DIR");
    if (xdg) {
        return join(dst, xdg, "/credwarden", text);
    }
    char run_user[32];
    snprintf(run_user, sizeof run_user, "/run/user/%u", (unsigned)w->uid);
    if (w->is_ours(run_user, w->uid)) {
        return join(dst, run_user, "/credwarden", text);
    }
    char state[PATHS_SIZE];
    int err = state_path(w, state, text);
    return err ? err : join(dst, state, "/run", text);
}

static int check_socket(const char *path, const char *variable, const char *what,
                        struct err_text *text)
{
    size_t len = strlen(path);
    if (len <= PATHS_SOCKET_LEN) {
        return 0;
    }
    return err_say(text, ERR_TOO_LARGE,
                   "the path of the socket is %zu bytes long, and the system's limit is %d: "
                   "set %s to a shorter %s (now: %s)",
                   len, PATHS_SOCKET_LEN, variable, what, path);
}

static int usual_socket(const struct paths_world *w, char *dst, struct err_text *text)
{
    char runtime[PATHS_SIZE];
    int err = runtime_path(w, runtime, text);
    if (!err) {
        err = join(dst, runtime, "/api.sock", text);
    }
    return err ? err : check_socket(dst, "XDG_RUNTIME_DIR", "folder", text);
}

static int given_socket(const char *given, char *dst, struct err_text *text)
{
    if (*given != '/') {
        return err_say(text, ERR_INVALID, "CREDWARDEN_SOCKET is %s: it must be an absolute path",
                       given);
    }
    int err = join(dst, given, "", text);
    return err ? err : check_socket(dst, "CREDWARDEN_SOCKET", "path", text);
}

int paths_find(const struct paths_world *world, struct paths *ret, struct err_text *text)
{
    CHECK(world->lookup && world->is_ours);
    struct paths p;
    int err = home_path(world, "XDG_DATA_HOME", "/credwarden", "/.local/share/credwarden",
                        p.data_dir, text);
    if (!err) {
        err = home_path(world, "XDG_CONFIG_HOME", "/credwarden", "/.config/credwarden",
                        p.config_dir, text);
    }
    if (!err) {
        err = state_path(world, p.state_dir, text);
    }
    if (!err) {
        err = runtime_path(world, p.runtime_dir, text);
    }
    if (!err) {
        err = usual_socket(world, p.socket, text);
    }
    if (!err) {
        *ret = p;
    }
    return err;
}

int paths_find_socket(const struct paths_world *world, char ret[PATHS_SIZE], bool *ret_given,
                      struct err_text *text)
{
    CHECK(world->lookup && world->is_ours);
    char path[PATHS_SIZE];
    const char *given = value_of(world, "CREDWARDEN_SOCKET");
    int err = given ? given_socket(given, path, text) : usual_socket(world, path, text);
    if (err) {
        return err;
    }
    memcpy(ret, path, strlen(path) + 1);
    *ret_given = given != NULL;
    return 0;
}

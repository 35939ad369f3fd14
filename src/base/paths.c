/* The rule of paths.h. Pure, so that every odd environment can be a row in a test. */
#include "base/paths.h"

#include <sys/un.h>

#include "base/check.h"
#include "base/str.h"

_Static_assert(PATHS_SOCKET_LEN < sizeof(((struct sockaddr_un *)0)->sun_path),
               "a socket path of that length must fit with its NUL");

void paths_run_user(uint32_t uid, char *buf, size_t size)
{
    snprintf(buf, size, "/run/user/%u", (unsigned)uid);
}

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
    while (len > 0 && dir[len - 1] == '/')
        len--;
    size_t tail_len = strlen(tail);
    if (len + tail_len >= PATHS_SIZE)
        return err_say(text, ERR_TOO_LARGE,
                       "a path of %zu bytes is longer than credwarden's limit of %d: %.64s…; "
                       "choose a shorter folder",
                       len + tail_len, PATHS_SIZE - 1, dir);
    memcpy(dst, dir, len);
    memcpy(dst + len, tail, tail_len + 1);
    return 0;
}

static int home_path(const struct paths_world *w, const char *variable, const char *xdg_tail,
                     const char *home_tail, char *dst, struct err_text *text)
{
    const char *xdg = absolute_value_of(w, variable);
    if (xdg)
        return join(dst, xdg, xdg_tail, text);
    const char *home = absolute_value_of(w, "HOME");
    if (!home)
        return err_say(text, ERR_INVALID,
                       "HOME is not set to an absolute path, and neither is %s: set one of them",
                       variable);
    return join(dst, home, home_tail, text);
}

static int runtime_path(const struct paths_world *w, struct paths *p, struct err_text *text)
{
    const char *xdg = absolute_value_of(w, "XDG_RUNTIME_DIR");
    if (xdg)
        return join(p->runtime_dir, xdg, "/credwarden", text);
    char run_user[PATHS_RUN_USER_SIZE];
    paths_run_user(w->uid, run_user, sizeof run_user);
    if (w->is_ours(run_user, w->uid))
        return join(p->runtime_dir, run_user, "/credwarden", text);
    return join(p->runtime_dir, p->state_dir, "/run", text);
}

static int socket_path(const struct paths_world *w, struct paths *p, struct err_text *text)
{
    bool given = paths_socket_is_given(w);
    const char *path = given ? value_of(w, "CREDWARDEN_SOCKET") : NULL;
    if (given && *path != '/')
        return err_say(text, ERR_INVALID, "CREDWARDEN_SOCKET is %s: it must be an absolute path",
                       path);
    int err = given ? join(p->socket, path, "", text)
                    : join(p->socket, p->runtime_dir, "/api.sock", text);
    if (err)
        return err;
    size_t len = strlen(p->socket);
    if (len > PATHS_SOCKET_LEN)
        return err_say(text, ERR_TOO_LARGE,
                       "the path of the socket is %zu bytes long, and the system's limit is %d: "
                       "set %s to a shorter %s (now: %s)",
                       len, PATHS_SOCKET_LEN, given ? "CREDWARDEN_SOCKET" : "XDG_RUNTIME_DIR",
                       given ? "path" : "folder", p->socket);
    return 0;
}

bool paths_socket_is_given(const struct paths_world *world)
{
    return world->obey_socket && value_of(world, "CREDWARDEN_SOCKET");
}

int paths_find(const struct paths_world *world, struct paths *ret, struct err_text *text)
{
    CHECK(world->lookup && world->is_ours);
    struct paths p;
    int err = home_path(world, "XDG_DATA_HOME", "/credwarden", "/.local/share/credwarden",
                        p.data_dir, text);
    if (!err)
        err = home_path(world, "XDG_STATE_HOME", "/credwarden", "/.local/state/credwarden",
                        p.state_dir, text);
    if (!err)
        err = home_path(world, "XDG_CONFIG_HOME", "/credwarden", "/.config/credwarden",
                        p.config_dir, text);
    if (!err)
        err = runtime_path(world, &p, text);
    if (!err)
        err = socket_path(world, &p, text);
    if (!err)
        *ret = p;
    return err;
}

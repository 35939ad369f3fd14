/*
 * Where things are: one rule for the daemon and the command line, so that each finds the other.
 * A pure function of the environment (XDG Base Directory Specification 0.8); touches no file.
 *
 *   runtime  $XDG_RUNTIME_DIR/credwarden, else /run/user/UID/credwarden when /run/user/UID is
 *            ours, else STATE/run
 *   socket   RUNTIME/api.sock; the command line obeys $CREDWARDEN_SOCKET first
 *   data     $XDG_DATA_HOME/credwarden,   else ~/.local/share/credwarden
 *   state    $XDG_STATE_HOME/credwarden,  else ~/.local/state/credwarden
 *   config   $XDG_CONFIG_HOME/credwarden, else ~/.config/credwarden
 *
 * An XDG variable that is empty or relative counts as unset, as the specification demands.
 */
#ifndef BASE_PATHS_H
#define BASE_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PATHS_SIZE          1024 /* of each path, NUL included */
#define PATHS_SOCKET_LEN    107  /* bytes that fit into sockaddr_un beside the NUL, on Linux */
#define PATHS_RUN_USER_SIZE 32

struct paths {
    char runtime_dir[PATHS_SIZE];
    char socket[PATHS_SIZE]; /* at most PATHS_SOCKET_LEN bytes */
    char data_dir[PATHS_SIZE];
    char state_dir[PATHS_SIZE];
    char config_dir[PATHS_SIZE];
};

/* What the rule needs to know. `lookup` is getenv(), or a test's own. */
struct paths_world {
    char *(*lookup)(const char *name);
    uint32_t uid;
    /* The folder paths_run_user() names exists, is no symbolic link, belongs to `uid`, and nobody
     * else has any right on it. Asked only when XDG_RUNTIME_DIR does not decide. */
    bool (*is_ours)(const char *dir, uint32_t uid);
    bool obey_socket; /* the command line: $CREDWARDEN_SOCKET names the socket */
};

/* "/run/user/UID" */
void paths_run_user(uint32_t uid, char *buf, size_t size);

/* ERR_INVALID: HOME is needed but unset or relative, or CREDWARDEN_SOCKET is relative.
 * ERR_TOO_LARGE: a path beyond PATHS_SIZE, or a socket path beyond what the system takes; the text
 * says the length, the limit, and what to do. */
int paths_find(const struct paths_world *world, struct paths *ret, struct err_text *text);

/* True when CREDWARDEN_SOCKET names the socket: such a daemon is not ours to start. */
bool paths_socket_is_given(const struct paths_world *world);

#endif

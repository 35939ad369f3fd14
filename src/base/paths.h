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
#include <stdint.h>

#include "base/err.h"

#define PATHS_SIZE       1024 /* of each path, NUL included */
#define PATHS_SOCKET_LEN 107  /* bytes that fit into sockaddr_un beside the NUL, on Linux */

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
    /* Does `dir` exist, is no symbolic link, belongs to `uid`, and nobody else has any right on it?
     * Asked of /run/user/UID, and only when XDG_RUNTIME_DIR does not decide. */
    bool (*is_ours)(const char *dir, uint32_t uid);
};

/* All of them, for the daemon. ERR_INVALID: HOME is needed but unset or relative. ERR_TOO_LARGE: a
 * path beyond PATHS_SIZE, or a socket path beyond what the system takes; the text says the length,
 * the limit, and what to do. */
int paths_find(const struct paths_world *world, struct paths *ret, struct err_text *text);

/* Only the socket, as the command line wants it: needs no HOME when the runtime folder is known.
 * `ret_given`: CREDWARDEN_SOCKET named it, so its daemon is not ours to start. Errors as above, and
 * ERR_INVALID when CREDWARDEN_SOCKET is relative. */
int paths_find_socket(const struct paths_world *world, char ret[PATHS_SIZE], bool *ret_given,
                      struct err_text *text);

#endif

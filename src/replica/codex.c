/*
 * Codex: $CODEX_HOME/auth.json. Observed with 0.169.
 *
 * The access token is a JWT, and its `exp` is the only expiry there is. The client takes a store up
 * again only when `account_id` is the one it knows.
 */
#include "replica/format_parts.h"

const struct format format_codex = {
    .name = "codex",
    .file = "auth.json",
    .folder_variable = "CODEX_HOME",
    .locks = {{CLIENT_LOCK_FILE, IN_FOLDER, "auth.lock", 0},
              {CLIENT_LOCK_FILE, IN_FOLDER, "auth.json.lock", 0}},
    .login = "tokens",
    .access = "tokens.access_token",
    .refresh = "tokens.refresh_token",
    .refresh_stays_empty = true,
    .id_token = "tokens.id_token",
    .written = "last_refresh",
    .account = {"tokens.account_id"},
    .fixed = {{"auth_mode", "\"chatgpt\""}, {"OPENAI_API_KEY", "null"}},
};

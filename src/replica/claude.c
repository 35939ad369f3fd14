/*
 * Claude Code: <config folder>/.credentials.json. Observed with 2.1.197.
 *
 * A store with an access token alone works: the client sends it and never calls the token endpoint.
 * When its refresh token is refused for good, it writes empty tokens and keeps the rest. `scopes`
 * must be a list that has user:inference, or the client is not signed in. The machine's own members
 * (mcpOAuth, pluginSecrets, …) stay whoever is signed in; those named here go with the account.
 *
 * Its locks: to renew, the first two; to write, the third, too. A leftover was seen to be taken
 * over after 10 s; for the first and the last other versions are said to wait 60 s and 15 s. We
 * wait the longest of them: a lock that is still somebody's is worse to take than one is to wait
 * for.
 */
#include "base/time.h"
#include "replica/format_parts.h"

const struct format format_claude = {
    .name = "claude",
    .file = ".credentials.json",
    .label_file = ".claude.json",
    .label_path = "oauthAccount.emailAddress",
    .folder_variable = "CLAUDE_CONFIG_DIR",
    .locks = {{CLIENT_LOCK_FOLDER, IN_FOLDER, ".oauth_refresh.lock", 60 * SECOND_MS},
              {CLIENT_LOCK_FOLDER, BESIDE_FOLDER, ".lock", 10 * SECOND_MS},
              {CLIENT_LOCK_FOLDER, IN_FOLDER, ".storage-write.lock", 15 * SECOND_MS}},
    .login = "claudeAiOauth",
    .access = "claudeAiOauth.accessToken",
    .refresh = "claudeAiOauth.refreshToken",
    .expires_ms = "claudeAiOauth.expiresAt",
    .deadline_ms = "claudeAiOauth.refreshTokenExpiresAt",
    .scopes = "claudeAiOauth.scopes",
    .scopes_are_list = true,
    .account = {"claudeAiOauth.subscriptionType", "claudeAiOauth.rateLimitTier",
                "claudeAiOauth.clientId", "organizationUuid", "trustedDeviceToken"},
};

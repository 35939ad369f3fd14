/*
 * Claude Code: <config folder>/.credentials.json. Observed with 2.1.197.
 *
 * A store with an access token alone works: the client sends it and never calls the token endpoint.
 * When its refresh token is refused for good, it writes empty tokens and keeps the rest. `scopes`
 * must be a list that has user:inference, or the client is not signed in. The machine's own members
 * (mcpOAuth, pluginSecrets, …) stay whoever is signed in; those named here go with the account.
 */
#include "replica/format_parts.h"

const struct format format_claude = {
    .name = "claude",
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

/*
 * Gemini CLI: ~/.gemini/oauth_creds.json, the plain answer of Google's token endpoint with a date
 * in milliseconds. Documented; the client writes it in place and takes no lock.
 */
#include "replica/format_parts.h"

const struct format format_gemini = {
    .name = "gemini",
    .file = "oauth_creds.json",
    .access = "access_token",
    .refresh = "refresh_token",
    .id_token = "id_token",
    .expires_ms = "expiry_date",
    .scopes = "scope",
    .fixed = {{"token_type", "\"Bearer\""}},
};

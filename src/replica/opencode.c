/*
 * opencode: ~/.local/share/opencode/auth.json, a map from provider to login. By its published
 * source: the client reads the file, changes one entry, and writes all of it anew; it takes no lock
 * there.
 *
 * This is the entry of one provider, `anthropic`: it is part of what is bound. Another provider's
 * would be a definition of its own, with a name of its own, over the same file. The entries beside
 * it are other logins, and stay. An entry of another `type` is an API key: nobody is signed in.
 *
 * The client takes an entry for none, and drops it when it writes, unless `refresh` is a string and
 * `expires` is a number. So without a refresh token there is an empty one, and an end that is not
 * known is one that is over: the client then asks for another token, as it must.
 */
#include "replica/format_parts.h"

const struct format format_opencode = {
    .name = "opencode",
    .file = "auth.json",
    .login = "anthropic",
    .access = "anthropic.access",
    .refresh = "anthropic.refresh",
    .refresh_stays_empty = true,
    .expires_ms = "anthropic.expires",
    .expires_is_number = true,
    .account = {"anthropic.accountId", "anthropic.enterpriseUrl"},
    .fixed = {{"anthropic.type", "\"oauth\""}},
};

/*
 * A pair that the user hands over: bytes of a file → tokens. Understands, in this order,
 *   - by the definition's import_* paths, a client's own file;
 *   - the plain OAuth token answer: access_token, refresh_token, id_token, scope; expires_at (Unix
 *     seconds or milliseconds, or RFC 3339), expiry (RFC 3339) or expiry_date (ms), else expires_in
 *     counted from obtained_at or created_at, else from `as_of_wall_ms`;
 *   - one bare access token on a line of its own: a static pair.
 * Strict JSON: duplicate keys, invalid UTF-8, trailing bytes, or a file beyond IMPORT_MAX are
 * errors that say where. No message quotes the file: what stands near a fault may be a token.
 */
#ifndef ISSUER_IMPORT_H
#define ISSUER_IMPORT_H

#include "base/err.h"
#include "base/tokens.h"
#include "issuer/provider.h"

#define IMPORT_MAX (1024 * 1024)

struct import {
    struct tokens tokens;
    int64_t expires_wall_ms;        /* 0: not known or never */
    int64_t life_ms;                /* expires_in when said; else 0 */
    int64_t login_deadline_wall_ms; /* 0: not known */
};
void import_clear(struct import *i);

/* `source` names the file in messages. `as_of_wall_ms`: what expires_in counts from (the file's
 * mtime, or now for a stream). ERR_INVALID: no token, mixed-up prefixes (an access token where a
 * refresh token belongs), the blanked sentinel of a signed-out client. ERR_TOO_LARGE. */
int import_parse(const struct provider *p, const char *source, const void *bytes, size_t len,
                 int64_t as_of_wall_ms, struct import *ret, struct err_text *text);

#endif

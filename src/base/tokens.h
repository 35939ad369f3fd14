/*
 * Token bytes as they travel between the parts that may see them: vault, issuer, daemon. Always in
 * secret memory.
 */
#ifndef BASE_TOKENS_H
#define BASE_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/secret.h"

#define TOKEN_MAX           (16 * 1024) /* one token; JWTs with many claims reach a few KiB */
#define SCOPE_MAX           2048
#define TOKENS_ACCOUNT_MAX  (8 * 1024)
#define TOKENS_ACCOUNT_NAME 16

struct tokens {
    struct secret access;
    struct secret refresh;  /* none: static pair, or an answer that kept the old one */
    struct secret id_token; /* OpenID Connect, kept for clients whose store wants it */
    char scope[SCOPE_MAX];  /* as granted, "" when not said */
    /* What a client's store has of this login besides tokens, and in which format: for its place,
     * should the login come back to it. */
    struct secret account;
    char account_format[TOKENS_ACCOUNT_NAME]; /* "" none */
};

void tokens_clear(struct tokens *t); /* wiped. NULL-tolerant */

/* `ret` must be zero or hold tokens, which are replaced; it is as it was on failure. ERR_NOMEM. */
int tokens_copy(const struct tokens *from, struct tokens *ret);

/* What goes with a login and a later pair of it does not say (id token, scope, account) is taken
 * over from the earlier one. */
void tokens_complete(struct tokens *later, struct tokens *earlier);

/* Whether bytes can be a token on the wire: 1 to TOKEN_MAX visible ASCII characters (RFC 6750 §2.1
 * is narrower, RFC 6749 §A.12 adds the blank that no header can carry). */
bool token_is_sendable(const char *bytes, size_t len);

/* Record form, the plaintext of a sealed pair. Encode wants a secret buf, and leaves it as it
 * was on failure. Decode replaces *ret, which must be zero or hold tokens; ERR_INVALID,
 * ERR_TOO_LARGE (a token above TOKEN_MAX, a scope above SCOPE_MAX). */
int tokens_encode(const struct tokens *t, struct buf *out);
int tokens_decode(const void *bytes, size_t len, struct tokens *ret);

#endif

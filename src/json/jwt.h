/*
 * The claims of a JWT (RFC 7519) that say when it ends. Read without checking the signature: a
 * hint, never proof.
 */
#ifndef JSON_JWT_H
#define JSON_JWT_H

#include <stddef.h>
#include <stdint.h>

/* `exp` and `iat` in Unix ms; `*ret_issued_ms` 0 when the JWT has no `iat`. ERR_INVALID without a
 * readable `exp`, and above TOKEN_MAX. */
int jwt_times(const char *token, size_t len, int64_t *ret_issued_ms, int64_t *ret_expires_ms);
int jwt_expiry(const char *token, size_t len, int64_t *ret_wall_ms);

#endif

/*
 * The claims of a JWT (RFC 7519) that say when it ends. Read without checking the signature: we are
 * not its audience, and a wrong hint only makes us spend early or late.
 */
#include "json/jwt.h"

#include <limits.h>
#include <sodium.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/tokens.h"
#include "json/json.h"

#define CLAIM_SECONDS_MAX 253402300799.0 /* end of the year 9999 */

/* The bytes between the first and the second dot. */
static int payload_of(const char *token, size_t len, const char **ret, size_t *ret_len)
{
    const char *first = memchr(token, '.', len);
    if (first == NULL) {
        return ERR_INVALID;
    }
    first++;
    const char *second = memchr(first, '.', len - (size_t)(first - token));
    if (second == NULL || second == first) {
        return ERR_INVALID;
    }
    *ret = first;
    *ret_len = (size_t)(second - first);
    return 0;
}

static int64_t claim_ms(const json_t *claims, const char *name)
{
    double seconds = 0;
    if (json_read_number(json_object_get(claims, name), &seconds) != 0 || seconds <= 0 ||
        seconds > CLAIM_SECONDS_MAX) {
        return 0;
    }
    return (int64_t)(seconds * 1000);
}

int jwt_times(const char *token, size_t len, int64_t *ret_issued_ms, int64_t *ret_expires_ms)
{
    const char *payload = NULL;
    size_t payload_len = 0, json_len = 0;
    struct json_fault fault;
    struct buf json;
    buf_init_secret(&json, TOKEN_MAX);

    int err = len > TOKEN_MAX ? ERR_INVALID : payload_of(token, len, &payload, &payload_len);
    if (err != 0) {
        goto out;
    }
    uint8_t *room = buf_reserve(&json, payload_len);
    if (room == NULL) {
        err = ERR_NOMEM;
        goto out;
    }
    err = ERR_INVALID;
    if (sodium_base642bin(room, payload_len, payload, payload_len, NULL, &json_len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0) {
        goto out;
    }
    json_t *claims = json_read_object((const char *)room, json_len, &fault);
    if (claims != NULL && claim_ms(claims, "exp") != 0) {
        *ret_issued_ms = claim_ms(claims, "iat");
        *ret_expires_ms = claim_ms(claims, "exp");
        err = 0;
    }
    json_decref(claims);
out:
    buf_release(&json);
    return err;
}

int jwt_expiry(const char *token, size_t len, int64_t *ret_wall_ms)
{
    int64_t issued_ms = 0;
    return jwt_times(token, len, &issued_ms, ret_wall_ms);
}

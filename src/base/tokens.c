/*
 * Token bytes and their record form. The tags are stored for good: never renumber them.
 */
#include "base/tokens.h"

#include <ctype.h>
#include <string.h>

#include "base/err.h"
#include "base/record.h"

enum tag { TAG_ACCESS = 1, TAG_REFRESH = 2, TAG_ID_TOKEN = 3, TAG_SCOPE = 4 };

bool token_is_sendable(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isgraph((unsigned char)bytes[i])) {
            return false;
        }
    }
    return len > 0 && len <= TOKEN_MAX;
}

void tokens_clear(struct tokens *t)
{
    if (t == NULL) {
        return;
    }
    secret_clear(&t->access);
    secret_clear(&t->refresh);
    secret_clear(&t->id_token);
    t->scope[0] = '\0';
}

static int put_token(struct buf *out, enum tag tag, const struct secret *s)
{
    return s->len > TOKEN_MAX ? ERR_TOO_LARGE : record_put_secret(out, (uint16_t)tag, s);
}

int tokens_encode(const struct tokens *t, struct buf *out)
{
    size_t before = out->len;
    int err = put_token(out, TAG_ACCESS, &t->access);
    if (err == 0) {
        err = put_token(out, TAG_REFRESH, &t->refresh);
    }
    if (err == 0) {
        err = put_token(out, TAG_ID_TOKEN, &t->id_token);
    }
    if (err == 0 && t->scope[0] != '\0') {
        err = record_put_str(out, TAG_SCOPE, t->scope);
    }
    if (err < 0 && out->len > before) {
        secret_wipe(out->bytes + before, out->len - before);
        out->len = before;
    }
    return err;
}

/* Absent is none. */
static int get_token(const struct record *r, enum tag tag, struct secret *ret)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    if (record_get(r, (uint16_t)tag, &bytes, &len) == ERR_NOT_FOUND) {
        return 0;
    }
    return len > TOKEN_MAX ? ERR_TOO_LARGE : secret_set(ret, bytes, len);
}

int tokens_decode(const void *bytes, size_t len, struct tokens *ret)
{
    struct tokens t = {0};
    struct record r;
    int err = record_parse(&r, bytes, len);
    if (err == 0) {
        err = get_token(&r, TAG_ACCESS, &t.access);
    }
    if (err == 0) {
        err = get_token(&r, TAG_REFRESH, &t.refresh);
    }
    if (err == 0) {
        err = get_token(&r, TAG_ID_TOKEN, &t.id_token);
    }
    if (err == 0) {
        err = record_get_str(&r, TAG_SCOPE, t.scope, sizeof(t.scope));
        err = err == ERR_NOT_FOUND ? 0 : err;
    }
    if (err < 0) {
        tokens_clear(&t);
        return err;
    }
    tokens_clear(ret);
    *ret = t;
    return 0;
}

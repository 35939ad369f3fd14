/*
 * Token bytes and their record form. The tags are stored for good: never renumber them.
 */
#include "base/tokens.h"

#include <ctype.h>
#include <string.h>

#include "base/err.h"
#include "base/record.h"

enum tag {
    TAG_ACCESS = 1,
    TAG_REFRESH = 2,
    TAG_ID_TOKEN = 3,
    TAG_SCOPE = 4,
    TAG_ACCOUNT = 5,
    TAG_ACCOUNT_FORMAT = 6,
};

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
    secret_clear(&t->account);
    t->scope[0] = '\0';
    t->account_format[0] = '\0';
}

int tokens_copy(const struct tokens *from, struct tokens *ret)
{
    struct tokens t = {0};
    memcpy(t.scope, from->scope, sizeof(t.scope));
    memcpy(t.account_format, from->account_format, sizeof(t.account_format));
    int err = secret_set(&t.access, from->access.bytes, from->access.len);
    err = err != 0 ? err : secret_set(&t.refresh, from->refresh.bytes, from->refresh.len);
    err = err != 0 ? err : secret_set(&t.id_token, from->id_token.bytes, from->id_token.len);
    err = err != 0 ? err : secret_set(&t.account, from->account.bytes, from->account.len);
    if (err != 0) {
        tokens_clear(&t);
        return err;
    }
    tokens_clear(ret);
    *ret = t;
    return 0;
}

void tokens_complete(struct tokens *later, struct tokens *earlier)
{
    if (later->id_token.len == 0) {
        secret_move(&later->id_token, &earlier->id_token);
    }
    if (later->account.len == 0) {
        secret_move(&later->account, &earlier->account);
        memcpy(later->account_format, earlier->account_format, sizeof(later->account_format));
    }
    if (later->scope[0] == '\0') {
        memcpy(later->scope, earlier->scope, sizeof(later->scope));
    }
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
    if (err == 0 && t->account.len > 0) {
        err = t->account.len > TOKENS_ACCOUNT_MAX
                  ? ERR_TOO_LARGE
                  : record_put_secret(out, TAG_ACCOUNT, &t->account);
    }
    if (err == 0 && t->account_format[0] != '\0') {
        err = record_put_str(out, TAG_ACCOUNT_FORMAT, t->account_format);
    }
    if (err < 0 && out->len > before) {
        secret_wipe(out->bytes + before, out->len - before);
        out->len = before;
    }
    return err;
}

/* Absent is none. */
static int get_secret(const struct record *r, enum tag tag, size_t max, struct secret *ret)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    if (record_get(r, (uint16_t)tag, &bytes, &len) == ERR_NOT_FOUND) {
        return 0;
    }
    return len > max ? ERR_TOO_LARGE : secret_set(ret, bytes, len);
}

static int get_text(const struct record *r, enum tag tag, char *ret, size_t size)
{
    int err = record_get_str(r, (uint16_t)tag, ret, size);
    return err == ERR_NOT_FOUND ? 0 : err;
}

int tokens_decode(const void *bytes, size_t len, struct tokens *ret)
{
    struct tokens t = {0};
    struct record r;
    int err = record_parse(&r, bytes, len);
    if (err == 0) {
        err = get_secret(&r, TAG_ACCESS, TOKEN_MAX, &t.access);
    }
    if (err == 0) {
        err = get_secret(&r, TAG_REFRESH, TOKEN_MAX, &t.refresh);
    }
    if (err == 0) {
        err = get_secret(&r, TAG_ID_TOKEN, TOKEN_MAX, &t.id_token);
    }
    if (err == 0) {
        err = get_secret(&r, TAG_ACCOUNT, TOKENS_ACCOUNT_MAX, &t.account);
    }
    if (err == 0) {
        err = get_text(&r, TAG_SCOPE, t.scope, sizeof(t.scope));
    }
    if (err == 0) {
        err = get_text(&r, TAG_ACCOUNT_FORMAT, t.account_format, sizeof(t.account_format));
    }
    if (err < 0) {
        tokens_clear(&t);
        return err;
    }
    tokens_clear(ret);
    *ret = t;
    return 0;
}

/*
 * The record form of a reply, in the spool and on the socket between spender and daemon. A spool
 * may outlive an upgrade: tags keep their meaning, and enums travel by name.
 */
#include "issuer/reply_parts.h"

#include <ctype.h>
#include <string.h>

#include "base/check.h"
#include "base/record.h"
#include "base/str.h"

#define TIME_MAX_MS     INT64_C(253402300799999) /* the end of the year 9999 */
#define HTTP_STATUS_MAX 999

enum tag {
    TAG_ASK = 1,
    TAG_VERDICT = 2,
    TAG_IDENTITY = 3,
    TAG_HTTP_STATUS = 4,
    TAG_DETAIL = 5,
    TAG_RETRY_AFTER_MS = 6,
    TAG_SERVER_WALL_MS = 7,
    TAG_RECEIVED_WALL_MS = 8,
    TAG_RECEIVED_BOOT_MS = 9,
    TAG_TOKENS = 10,
    TAG_LIFE_MS = 11,
    TAG_LOGIN_DEADLINE_MS = 12,
    TAG_SUBJECT = 13,
    TAG_LABEL = 14,
    TAG_BODY = 15,
    TAG_SENT_BOOT_MS = 16,
};

static const char *const ask_names[ASK_COUNT] = {
    [ASK_SPEND] = "spend",
    [ASK_IDENTITY] = "identity",
    [ASK_USAGE] = "usage",
    [ASK_METADATA] = "metadata",
};

/* The numbers of a reply, once for both directions. None is negative, and none so large that a sum
 * of some of them could overflow: a spender that lies must not make the daemon reckon wrong. */
static const struct number {
    uint16_t tag;
    size_t offset;
    int64_t max;
} numbers[] = {
    {TAG_RETRY_AFTER_MS, offsetof(struct reply, retry_after_ms), REPLY_LIFE_MAX_MS},
    {TAG_SERVER_WALL_MS, offsetof(struct reply, server_wall_ms), TIME_MAX_MS},
    {TAG_RECEIVED_WALL_MS, offsetof(struct reply, received_wall_ms), TIME_MAX_MS},
    {TAG_RECEIVED_BOOT_MS, offsetof(struct reply, received_boot_ms), TIME_MAX_MS},
    {TAG_SENT_BOOT_MS, offsetof(struct reply, sent_boot_ms), TIME_MAX_MS},
    {TAG_LIFE_MS, offsetof(struct reply, life_ms), REPLY_LIFE_MAX_MS},
    {TAG_LOGIN_DEADLINE_MS, offsetof(struct reply, login_deadline_ms), REPLY_LIFE_MAX_MS},
};

static const struct text {
    uint16_t tag;
    size_t offset, size;
} texts[] = {
    {TAG_DETAIL, offsetof(struct reply, detail), REPLY_DETAIL_MAX},
    {TAG_SUBJECT, offsetof(struct reply, subject), REPLY_SUBJECT_MAX},
    {TAG_LABEL, offsetof(struct reply, label), REPLY_SUBJECT_MAX},
};

static int put_tokens(const struct tokens *t, struct buf *out)
{
    struct buf plain;
    buf_init_secret(&plain, REPLY_RECORD_MAX);
    int err = tokens_encode(t, &plain);
    if (err == 0) {
        err = record_put(out, TAG_TOKENS, buf_text(&plain), plain.len);
    }
    buf_release(&plain);
    return err;
}

int reply_encode(const struct reply *r, struct buf *out)
{
    int err = record_put_str(out, TAG_ASK, ask_names[r->ask]);
    if (err == 0) {
        err = record_put_str(out, TAG_VERDICT, verdict_name(r->verdict));
    }
    if (err == 0) {
        err = record_put_str(out, TAG_IDENTITY, identity_name(r->identity));
    }
    if (err == 0) {
        err = record_put_i64(out, TAG_HTTP_STATUS, r->http_status);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers) && err == 0; i++) {
        int64_t value;
        memcpy(&value, (const char *)r + numbers[i].offset, sizeof(value));
        err = record_put_i64(out, numbers[i].tag, value);
    }
    for (size_t i = 0; i < ARRAY_LEN(texts) && err == 0; i++) {
        err = record_put_str(out, texts[i].tag, (const char *)r + texts[i].offset);
    }
    if (err == 0) {
        err = put_tokens(&r->tokens, out);
    }
    if (err == 0) {
        err = record_put(out, TAG_BODY, buf_text(&r->body), r->body.len);
    }
    return err;
}

static int ask_parse(const char *name, enum ask *ret)
{
    for (int i = 0; i < ASK_COUNT; i++) {
        if (strcmp(ask_names[i], name) == 0) {
            *ret = (enum ask)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

static int identity_parse(const char *name, enum identity *ret)
{
    for (int i = 0; i < IDENTITY_COUNT; i++) {
        if (strcmp(identity_name((enum identity)i), name) == 0) {
            *ret = (enum identity)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

static int get_words(const struct record *record, struct reply *r)
{
    char ask[32], verdict[32], identity[32];
    int64_t status = 0;
    int err = record_get_str(record, TAG_ASK, ask, sizeof(ask));
    if (err == 0) {
        err = record_get_str(record, TAG_VERDICT, verdict, sizeof(verdict));
    }
    if (err == 0) {
        err = record_get_str(record, TAG_IDENTITY, identity, sizeof(identity));
    }
    if (err == 0) {
        err = record_get_i64(record, TAG_HTTP_STATUS, &status);
    }
    if (err == 0) {
        err = ask_parse(ask, &r->ask);
    }
    if (err == 0) {
        err = verdict_parse(verdict, &r->verdict);
    }
    if (err == 0) {
        err = identity_parse(identity, &r->identity);
    }
    if (err == 0 && (status < 0 || status > HTTP_STATUS_MAX)) {
        err = ERR_INVALID;
    }
    if (err == 0) {
        r->http_status = (int)status;
    }
    return err;
}

static int get_fields(const struct record *record, struct reply *r)
{
    int err = 0;
    for (size_t i = 0; i < ARRAY_LEN(numbers) && err == 0; i++) {
        int64_t value = 0;
        err = record_get_i64(record, numbers[i].tag, &value);
        if (err == 0 && (value < 0 || value > numbers[i].max)) {
            err = ERR_INVALID;
        }
        memcpy((char *)r + numbers[i].offset, &value, sizeof(value));
    }
    for (size_t i = 0; i < ARRAY_LEN(texts) && err == 0; i++) {
        err = record_get_str(record, texts[i].tag, (char *)r + texts[i].offset, texts[i].size);
    }
    return err;
}

static int get_bytes(const struct record *record, struct reply *r)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    int err = record_get(record, TAG_TOKENS, &bytes, &len);
    if (err == 0) {
        err = tokens_decode(bytes, len, &r->tokens);
    }
    if (err == 0) {
        err = record_get(record, TAG_BODY, &bytes, &len);
    }
    if (err == 0 && len > 0) {
        err = buf_add(&r->body, bytes, len);
    }
    return err;
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (!isprint((unsigned char)*text)) {
            return false;
        }
    }
    return true;
}

/* What says who somebody is. */
static bool is_name(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c)) {
            return false;
        }
    }
    return str_is_utf8(text, strlen(text));
}

static bool is_token_or_none(const struct secret *token)
{
    return token->len == 0 || token_is_sendable(token->bytes, token->len);
}

/* What the reply_of_ functions promise, so that nobody after this has to ask again. */
static bool is_sound(const struct reply *r)
{
    const struct tokens *t = &r->tokens;
    bool is_granted = r->ask == ASK_SPEND && r->verdict == VERDICT_GRANTED;
    if (!is_granted && (t->access.len > 0 || t->refresh.len > 0 || t->id_token.len > 0)) {
        return false;
    }
    return is_granted == (t->access.len > 0) && is_token_or_none(&t->access) &&
           is_token_or_none(&t->refresh) && is_token_or_none(&t->id_token) &&
           is_printable(t->scope) && is_printable(r->detail) && is_name(r->subject) &&
           is_name(r->label);
}

int reply_decode(const void *bytes, size_t len, struct reply *ret)
{
    struct record record;
    struct reply r;
    reply_init(&r);
    int err = len > REPLY_RECORD_MAX ? ERR_TOO_LARGE : record_parse(&record, bytes, len);
    if (err == 0) {
        err = get_words(&record, &r);
    }
    if (err == 0) {
        err = get_fields(&record, &r);
    }
    if (err == 0) {
        err = get_bytes(&record, &r);
    }
    if (err == 0 && !is_sound(&r)) {
        err = ERR_INVALID;
    }
    if (err == 0) {
        *ret = r;
        return 0;
    }
    reply_clear(&r);
    return err == ERR_NOT_FOUND ? ERR_INVALID : err;
}

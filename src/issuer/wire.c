/* Messages between the daemon and the spender: encoding, and strict decoding. */
#include "issuer/wire.h"

#include <string.h>

#include "base/check.h"
#include "base/record.h"
#include "base/str.h"

enum tag {
    TAG_KIND = 1,
    TAG_ID = 2,
    TAG_ASK = 3,
    /* hello */
    TAG_VERSION = 10,
    TAG_SECCOMP = 11,
    TAG_LANDLOCK = 12,
    /* question */
    TAG_DEADLINE = 20,
    TAG_PROVIDER = 21,
    TAG_TOKEN = 22,
    TAG_SCOPE = 23,
    TAG_SECRET = 24, /* also in the sealed answer */
    TAG_BOX_PUBLIC = 25,
    TAG_ISSUER = 26,
    /* answer */
    TAG_REPLY = 30, /* also in the sealed answer */
    TAG_RESCUED = 31,
};

static int put_head(struct buf *out, enum wire_kind kind)
{
    return record_put_i64(out, TAG_KIND, kind);
}

static int get_range(const struct record *r, uint16_t tag, int64_t min, int64_t max, int64_t *ret)
{
    int64_t value;
    int err = record_get_i64(r, tag, &value);
    if (err < 0 || value < min || value > max)
        return ERR_INVALID;
    *ret = value;
    return 0;
}

/* Exactly `len` bytes. */
static int get_exact(const struct record *r, uint16_t tag, uint8_t *ret, size_t len)
{
    const uint8_t *bytes;
    size_t n;
    if (record_get(r, tag, &bytes, &n) < 0 || n != len)
        return ERR_INVALID;
    memcpy(ret, bytes, len);
    return 0;
}

static int kind_of(const struct record *r, enum wire_kind *ret)
{
    int64_t kind;
    int err = get_range(r, TAG_KIND, WIRE_HELLO, WIRE_ANSWER, &kind);
    if (err == 0)
        *ret = (enum wire_kind)kind;
    return err;
}

int wire_kind_of(const void *bytes, size_t len, enum wire_kind *ret)
{
    struct record r;
    int err = record_parse(&r, bytes, len);
    return err < 0 ? err : kind_of(&r, ret);
}

/* Parse, and make sure that it is a message of this kind. */
static int parse(struct record *r, enum wire_kind wanted, const void *bytes, size_t len)
{
    enum wire_kind kind;
    int err = record_parse(r, bytes, len);
    if (err == 0)
        err = kind_of(r, &kind);
    if (err == 0 && kind != wanted)
        err = ERR_INVALID;
    return err;
}

static int get_id_and_ask(const struct record *r, uint64_t *ret_id, enum ask *ret_ask)
{
    int64_t id, ask;
    if (get_range(r, TAG_ID, 1, INT64_MAX, &id) < 0 ||
        get_range(r, TAG_ASK, 0, ASK_COUNT - 1, &ask) < 0)
        return ERR_INVALID;
    *ret_id = (uint64_t)id;
    *ret_ask = (enum ask)ask;
    return 0;
}

int wire_hello_encode(const struct wire_hello *h, struct buf *out)
{
    int err = put_head(out, WIRE_HELLO);
    if (err == 0)
        err = record_put_str(out, TAG_VERSION, h->version);
    if (err == 0)
        err = record_put_i64(out, TAG_SECCOMP, h->sandbox.seccomp);
    if (err == 0)
        err = record_put_i64(out, TAG_LANDLOCK, h->sandbox.landlock_abi);
    return err;
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text < 0x20 || *text > 0x7e)
            return false;
    return true;
}

int wire_hello_decode(const void *bytes, size_t len, struct wire_hello *ret)
{
    struct record r;
    int err = parse(&r, WIRE_HELLO, bytes, len);
    if (err < 0)
        return err;
    struct wire_hello h = {.version = ""};
    int64_t seccomp, landlock;
    /* People will read the version: nothing but plain text. */
    if (record_get_str(&r, TAG_VERSION, h.version, sizeof(h.version)) < 0 ||
        !is_printable(h.version) || get_range(&r, TAG_SECCOMP, 0, 1, &seccomp) < 0 ||
        get_range(&r, TAG_LANDLOCK, 0, 1000, &landlock) < 0)
        return ERR_INVALID;
    h.sandbox.seccomp = seccomp == 1;
    h.sandbox.landlock_abi = (int)landlock;
    *ret = h;
    return 0;
}

/* Metadata is asked for in order to make a definition: there is only an issuer yet. */
static int put_provider(struct buf *out, const struct wire_question *q)
{
    if (q->ask == ASK_METADATA)
        return record_put_str(out, TAG_ISSUER, q->provider->issuer);
    struct buf record;
    buf_init(&record, WIRE_QUESTION_MAX);
    int err = provider_encode(q->provider, &record);
    if (err == 0)
        err = record_put(out, TAG_PROVIDER, record.bytes, record.len);
    buf_release(&record);
    return err;
}

int wire_question_encode(const struct wire_question *q, struct buf *out)
{
    CHECK(q->id != 0);
    int err = put_head(out, WIRE_QUESTION);
    if (err == 0)
        err = record_put_i64(out, TAG_ID, (int64_t)q->id);
    if (err == 0)
        err = record_put_i64(out, TAG_ASK, q->ask);
    if (err == 0)
        err = record_put_i64(out, TAG_DEADLINE, q->deadline_ms);
    if (err == 0)
        err = put_provider(out, q);
    if (err == 0)
        err = record_put_secret(out, TAG_TOKEN, &q->token);
    if (err < 0 || q->ask != ASK_SPEND)
        return err;
    err = record_put_str(out, TAG_SCOPE, q->scope);
    if (err == 0)
        err = record_put(out, TAG_SECRET, q->secret, sizeof(q->secret));
    if (err == 0)
        err = record_put(out, TAG_BOX_PUBLIC, q->box_public, sizeof(q->box_public));
    return err;
}

static int get_spend(const struct record *r, struct wire_question *q)
{
    int err = record_get_str(r, TAG_SCOPE, q->scope, sizeof(q->scope));
    if (err < 0 && err != ERR_NOT_FOUND)
        return err;
    err = get_exact(r, TAG_SECRET, q->secret, sizeof(q->secret));
    if (err == 0)
        err = get_exact(r, TAG_BOX_PUBLIC, q->box_public, sizeof(q->box_public));
    return err;
}

static int get_provider(const struct record *r, enum ask ask, struct provider *ret)
{
    if (ask == ASK_METADATA) {
        *ret = (struct provider){.name = ""};
        return record_get_str(r, TAG_ISSUER, ret->issuer, sizeof(ret->issuer)) < 0 ? ERR_INVALID
                                                                                   : 0;
    }
    const uint8_t *bytes;
    size_t len;
    if (record_get(r, TAG_PROVIDER, &bytes, &len) < 0)
        return ERR_INVALID;
    return provider_decode(bytes, len, ret);
}

/* The token last: it is the only part that owns memory. */
static int get_token(const struct record *r, enum ask ask, struct secret *ret)
{
    const uint8_t *bytes;
    size_t len;
    int err = record_get(r, TAG_TOKEN, &bytes, &len);
    if (ask == ASK_METADATA)
        return err == ERR_NOT_FOUND ? 0 : ERR_INVALID;
    if (err < 0 || len == 0)
        return ERR_INVALID;
    if (len > TOKEN_MAX)
        return ERR_TOO_LARGE;
    return record_get_secret(r, TAG_TOKEN, ret);
}

int wire_question_decode(const void *bytes, size_t len, struct provider *ret_provider,
                         struct wire_question *ret)
{
    struct record r;
    int err = parse(&r, WIRE_QUESTION, bytes, len);
    if (err < 0)
        return err;
    struct wire_question q = {.provider = ret_provider};
    err = get_id_and_ask(&r, &q.id, &q.ask);
    if (err == 0)
        err = get_range(&r, TAG_DEADLINE, 1, WIRE_DEADLINE_MAX_MS, &q.deadline_ms);
    if (err == 0)
        err = get_provider(&r, q.ask, ret_provider);
    if (err == 0 && q.ask == ASK_SPEND)
        err = get_spend(&r, &q);
    if (err == 0)
        err = get_token(&r, q.ask, &q.token);
    if (err == 0) {
        secret_clear(&ret->token);
        *ret = q;
    }
    secret_wipe(q.secret, sizeof(q.secret));
    return err;
}

void wire_question_clear(struct wire_question *q)
{
    if (q == NULL)
        return;
    secret_clear(&q->token);
    secret_wipe(q->secret, sizeof(q->secret));
}

int wire_answer_encode(const struct wire_answer *a, struct buf *out)
{
    CHECK(a->id != 0);
    CHECK((a->ask == ASK_SPEND) == (a->reply == NULL));
    CHECK(a->rescued == NULL || a->ask == ASK_SPEND);
    int err = put_head(out, WIRE_ANSWER);
    if (err == 0)
        err = record_put_i64(out, TAG_ID, (int64_t)a->id);
    if (err == 0)
        err = record_put_i64(out, TAG_ASK, a->ask);
    if (err == 0 && a->reply != NULL)
        err = record_put(out, TAG_REPLY, a->reply, a->reply_len);
    if (err == 0 && a->rescued != NULL)
        err = record_put(out, TAG_RESCUED, a->rescued, a->rescued_len);
    return err;
}

int wire_answer_decode(const void *bytes, size_t len, struct wire_answer *ret)
{
    struct record r;
    int err = parse(&r, WIRE_ANSWER, bytes, len);
    if (err < 0)
        return err;
    struct wire_answer a = {.reply = NULL};
    err = get_id_and_ask(&r, &a.id, &a.ask);
    if (err < 0)
        return err;
    bool has_reply = record_get(&r, TAG_REPLY, &a.reply, &a.reply_len) == 0;
    bool has_rescued = record_get(&r, TAG_RESCUED, &a.rescued, &a.rescued_len) == 0;
    if (has_reply == (a.ask == ASK_SPEND) || (has_rescued && a.ask != ASK_SPEND) ||
        (has_rescued && a.rescued_len == 0))
        return ERR_INVALID;
    *ret = a;
    return 0;
}

int sealed_answer_encode(const uint8_t secret[INTENT_SECRET_LEN], const struct reply *r,
                         struct buf *out)
{
    struct buf reply;
    buf_init_secret(&reply, REPLY_RECORD_MAX);
    int err = reply_encode(r, &reply);
    if (err == 0)
        err = record_put(out, TAG_SECRET, secret, INTENT_SECRET_LEN);
    if (err == 0)
        err = record_put(out, TAG_REPLY, reply.bytes, reply.len);
    buf_release(&reply);
    return err;
}

int sealed_answer_decode(const void *bytes, size_t len, const uint8_t secret[INTENT_SECRET_LEN],
                         struct reply *ret)
{
    struct record r;
    int err = record_parse(&r, bytes, len);
    if (err < 0)
        return err;
    const uint8_t *found, *reply;
    size_t found_len, reply_len;
    if (record_get(&r, TAG_SECRET, &found, &found_len) < 0 ||
        record_get(&r, TAG_REPLY, &reply, &reply_len) < 0)
        return ERR_INVALID;
    if (found_len != INTENT_SECRET_LEN || !secret_equal(found, secret, INTENT_SECRET_LEN))
        return ERR_CORRUPT;
    return reply_decode(reply, reply_len, ret);
}

/*
 * Messages between daemon and spender (src/issuer/wire.c), both directions: whatever is understood
 * is written again as the same, and a refusal changes nothing. The first byte chooses: 'h'ello,
 * 'q'uestion, 'a'nswer.
 */
#include "fuzz.h"

#include "issuer/wire.h"

static void decode_hello(const void *bytes, size_t len)
{
    struct wire_hello h, again;
    struct buf out;
    taint(&h, sizeof(h));
    if (wire_hello_decode(bytes, len, &h) != 0) {
        CHECK(is_tainted(&h, sizeof(h)));
        return;
    }
    buf_init(&out, 4096);
    CHECK(memchr(h.version, '\0', sizeof(h.version)) != NULL);
    CHECK(h.sandbox.landlock_abi >= 0);
    CHECK(wire_hello_encode(&h, &out) == 0 && wire_hello_decode(out.bytes, out.len, &again) == 0);
    CHECK(strcmp(h.version, again.version) == 0 && h.sandbox.seccomp == again.sandbox.seccomp);
    CHECK(h.sandbox.landlock_abi == again.sandbox.landlock_abi);
    buf_release(&out);
}

static void check_question(const struct wire_question *q)
{
    static struct provider provider;
    static struct wire_question again;
    struct buf out, second;
    CHECK(q->id != 0 && q->id <= INT64_MAX && q->ask < ASK_COUNT);
    CHECK(q->deadline_ms >= 1 && q->deadline_ms <= WIRE_DEADLINE_MAX_MS);
    CHECK((q->ask == ASK_METADATA) == (q->token.len == 0) && q->token.len <= TOKEN_MAX);
    CHECK(strnlen(q->scope, SCOPE_MAX) < SCOPE_MAX);
    if (q->ask != ASK_METADATA) {
        CHECK(provider_validate(q->provider, NULL) == 0);
    }
    buf_init_secret(&out, WIRE_QUESTION_MAX);
    buf_init_secret(&second, WIRE_QUESTION_MAX);
    CHECK(wire_question_encode(q, &out) == 0); /* every question that is one has room */
    CHECK(wire_question_decode(out.bytes, out.len, &provider, &again) == 0);
    CHECK(wire_question_encode(&again, &second) == 0 && second.len == out.len);
    CHECK(memcmp(second.bytes, out.bytes, out.len) == 0);
    buf_release(&out);
    buf_release(&second);
    wire_question_clear(&again);
}

static void decode_question(const void *bytes, size_t len)
{
    static struct provider provider;
    static struct wire_question q;
    taint(&q, sizeof(q));
    q.token = (struct secret){0}; /* it would be given back */
    if (wire_question_decode(bytes, len, &provider, &q) != 0) {
        CHECK(q.token.bytes == NULL && q.token.len == 0);
        taint(&q.token, sizeof(q.token));
        CHECK(is_tainted(&q, sizeof(q)));
        return;
    }
    CHECK(q.provider == &provider);
    check_question(&q);
    wire_question_clear(&q);
}

static void decode_answer(const uint8_t *bytes, size_t len)
{
    struct wire_answer a, again;
    struct buf out;
    taint(&a, sizeof(a));
    if (wire_answer_decode(bytes, len, &a) != 0) {
        CHECK(is_tainted(&a, sizeof(a)));
        return;
    }
    CHECK(a.id != 0 && a.ask < ASK_COUNT && (a.ask == ASK_SPEND) == (a.reply == NULL));
    CHECK(a.reply == NULL || (a.reply >= bytes && a.reply + a.reply_len <= bytes + len));
    CHECK(a.rescued == NULL ||
          (a.rescued >= bytes && a.rescued_len > 0 && a.rescued + a.rescued_len <= bytes + len));
    buf_init_secret(&out, (size_t)256 * 1024);
    CHECK(wire_answer_encode(&a, &out) == 0);
    CHECK(wire_answer_decode(out.bytes, out.len, &again) == 0);
    CHECK(again.id == a.id && again.ask == a.ask && again.reply_len == a.reply_len);
    CHECK(again.rescued_len == a.rescued_len);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len};
    enum wire_kind kind = 0;
    uint8_t choice = take_byte(&in);
    int err = wire_kind_of(in.at, in.left, &kind);
    CHECK(err == 0 ? kind >= WIRE_HELLO && kind <= WIRE_ANSWER : kind == 0);
    if (choice == 'h') {
        decode_hello(in.at, in.left);
    } else if (choice == 'q') {
        decode_question(in.at, in.left);
    } else if (choice == 'a') {
        decode_answer(in.at, in.left);
    }
    return 0;
}

/*
 * Messages between the daemon and the spender: what goes in comes out, and nothing else does.
 */
#include "issuer/wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

#include "base/record.h"
#include "base/str.h"

/* Tags as wire.c has them: part of the format, since a newer spender may meet an older daemon. */
enum {
    KIND = 1,
    ID = 2,
    ASK = 3,
    DEADLINE = 20,
    TOKEN = 22,
    SECRET = 24,
    REPLY = 30,
    RESCUED = 31
};

static void make_provider(struct provider *p)
{
    const struct provider *builtin = provider_builtin("claude");
    assert_non_null(builtin);
    *p = *builtin;
}

static void make_question(struct wire_question *q, const struct provider *p, enum ask ask)
{
    *q = (struct wire_question){.id = 77, .ask = ask, .deadline_ms = 5000, .provider = p};
    if (ask != ASK_METADATA)
        assert_int_equal(secret_set(&q->token, "made-up-refresh", 15), 0);
    if (ask == ASK_SPEND) {
        assert_int_equal(str_copy(q->scope, sizeof(q->scope), "user:profile"), 0);
        memset(q->secret, 0x11, sizeof(q->secret));
        memset(q->box_public, 0x22, sizeof(q->box_public));
    }
}

static void encode(const struct wire_question *q, struct buf *out)
{
    buf_init_secret(out, WIRE_QUESTION_MAX);
    assert_int_equal(wire_question_encode(q, out), 0);
}

static int decode(const struct buf *b, struct wire_question *ret)
{
    static struct provider p;
    *ret = (struct wire_question){.id = 0};
    return wire_question_decode(b->bytes, b->len, &p, ret);
}

static void every_kind_of_question_survives_the_way(void **state)
{
    (void)state;
    static struct provider p;
    make_provider(&p);
    for (int ask = 0; ask < ASK_COUNT; ask++) {
        struct wire_question q, got;
        struct buf b;
        make_question(&q, &p, (enum ask)ask);
        encode(&q, &b);
        enum wire_kind kind;
        assert_int_equal(wire_kind_of(b.bytes, b.len, &kind), 0);
        assert_int_equal(kind, WIRE_QUESTION);
        assert_int_equal(decode(&b, &got), 0);
        assert_int_equal(got.id, 77);
        assert_int_equal(got.ask, ask);
        assert_int_equal(got.deadline_ms, 5000);
        if (ask == ASK_METADATA)
            assert_string_equal(got.provider->issuer, p.issuer);
        else
            assert_string_equal(got.provider->token_url, p.token_url);
        assert_int_equal(got.token.len, q.token.len);
        assert_true(q.token.len == 0 || memcmp(got.token.bytes, q.token.bytes, q.token.len) == 0);
        assert_string_equal(got.scope, q.scope);
        assert_memory_equal(got.secret, q.secret, sizeof(q.secret));
        assert_memory_equal(got.box_public, q.box_public, sizeof(q.box_public));
        wire_question_clear(&got);
        wire_question_clear(&q);
        buf_release(&b);
    }
}

static void the_largest_question_fits(void **state)
{
    (void)state;
    static struct provider p;
    make_provider(&p);
    memset(p.scope, 's', sizeof(p.scope) - 1);
    memset(p.final_errors, 'e', sizeof(p.final_errors) - 1);
    struct wire_question q;
    make_question(&q, &p, ASK_SPEND);
    char *token = malloc(TOKEN_MAX + 1);
    memset(token, 't', TOKEN_MAX + 1);
    memset(q.scope, 'x', sizeof(q.scope) - 1);
    struct buf b;
    assert_int_equal(secret_set(&q.token, token, TOKEN_MAX), 0);
    encode(&q, &b);
    struct wire_question got;
    assert_int_equal(decode(&b, &got), 0);
    assert_int_equal(got.token.len, TOKEN_MAX);
    wire_question_clear(&got);
    buf_release(&b);

    assert_int_equal(secret_set(&q.token, token, TOKEN_MAX + 1), 0);
    encode(&q, &b);
    assert_int_equal(decode(&b, &got), ERR_TOO_LARGE);
    buf_release(&b);
    wire_question_clear(&q);
    free(token);
}

/* Copy a message without the field `tag`, and put another in its place if `bytes`. */
static void rewrite(const struct buf *b, uint16_t tag, const void *bytes, size_t len,
                    struct buf *out)
{
    struct record r;
    assert_int_equal(record_parse(&r, b->bytes, b->len), 0);
    buf_init_secret(out, 2 * WIRE_QUESTION_MAX);
    for (size_t i = 0; i < r.n; i++)
        if (r.fields[i].tag != tag)
            assert_int_equal(record_put(out, r.fields[i].tag, r.fields[i].bytes, r.fields[i].len),
                             0);
    if (bytes != NULL)
        assert_int_equal(record_put(out, tag, bytes, len), 0);
}

static void expect_refused(const struct buf *b, uint16_t tag, const void *bytes, size_t len)
{
    struct buf bad;
    struct wire_question got;
    rewrite(b, tag, bytes, len, &bad);
    assert_true(decode(&bad, &got) < 0);
    assert_null(got.token.bytes);
    buf_release(&bad);
}

static void expect_refused_i64(const struct buf *b, uint16_t tag, int64_t value)
{
    uint8_t le[8];
    for (int i = 0; i < 8; i++)
        le[i] = (uint8_t)((uint64_t)value >> (8 * i));
    expect_refused(b, tag, le, sizeof(le));
}

static void a_question_with_a_wrong_field_is_refused(void **state)
{
    (void)state;
    static struct provider p;
    make_provider(&p);
    struct wire_question q;
    struct buf b;
    make_question(&q, &p, ASK_SPEND);
    encode(&q, &b);
    for (uint16_t tag = KIND; tag <= 25; tag++)
        if (tag != 23 && (tag <= ASK || tag >= DEADLINE)) /* 23: the scope may be missing */
            expect_refused(&b, tag, NULL, 0);
    expect_refused_i64(&b, KIND, WIRE_ANSWER);
    expect_refused_i64(&b, KIND, 0);
    expect_refused_i64(&b, ID, 0);
    expect_refused_i64(&b, ID, -1);
    expect_refused_i64(&b, ASK, ASK_COUNT);
    expect_refused_i64(&b, ASK, -1);
    expect_refused_i64(&b, ASK, ASK_METADATA); /* has no token */
    expect_refused_i64(&b, DEADLINE, 0);
    expect_refused_i64(&b, DEADLINE, INT64_MIN);
    expect_refused_i64(&b, DEADLINE, WIRE_DEADLINE_MAX_MS + 1);
    expect_refused(&b, ID, "1234", 4);
    expect_refused(&b, 21, "rubbish", 7);
    expect_refused(&b, TOKEN, "", 0);
    expect_refused(&b, SECRET, "short", 5);
    expect_refused(&b, 23, "nul\0inside", 10);
    buf_release(&b);
    wire_question_clear(&q);
}

static void torn_changed_and_random_bytes_are_survived(void **state)
{
    (void)state;
    static struct provider p;
    make_provider(&p);
    struct wire_question q, got;
    struct buf b, torn;
    make_question(&q, &p, ASK_SPEND);
    encode(&q, &b);
    for (size_t len = 0; len < b.len; len++) {
        torn = (struct buf){.bytes = malloc(len + 1), .len = len}; /* its end is guarded by ASan */
        memcpy(torn.bytes, b.bytes, len);
        assert_true(decode(&torn, &got) < 0);
        free(torn.bytes);
    }
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1664525 + 1013904223;
        size_t at = (seed >> 8) % b.len;
        uint8_t kept = b.bytes[at];
        b.bytes[at] ^= (uint8_t)(1U << (seed >> 29));
        if (decode(&b, &got) == 0) /* a letter of some text: fine */
            wire_question_clear(&got);
        b.bytes[at] = kept;
    }
    buf_release(&b);
    wire_question_clear(&q);
}

static void the_same_field_twice_is_refused_and_an_unknown_one_skipped(void **state)
{
    (void)state;
    static struct provider p;
    make_provider(&p);
    struct wire_question q, got;
    struct buf b;
    make_question(&q, &p, ASK_SPEND);
    encode(&q, &b);
    b.max *= 2;
    assert_int_equal(record_put(&b, 999, "from the future", 15), 0);
    assert_int_equal(decode(&b, &got), 0);
    wire_question_clear(&got);
    assert_int_equal(record_put_i64(&b, ID, 77), 0);
    assert_true(decode(&b, &got) < 0);
    buf_release(&b);
    wire_question_clear(&q);
}

static int answer_way(const struct wire_answer *a, struct buf *b, struct wire_answer *got)
{
    buf_init_secret(b, 4096);
    assert_int_equal(wire_answer_encode(a, b), 0);
    return wire_answer_decode(b->bytes, b->len, got);
}

static void answers_survive_the_way(void **state)
{
    (void)state;
    struct buf b;
    struct wire_answer got;
    assert_int_equal(answer_way(&(struct wire_answer){.id = 5, .ask = ASK_SPEND}, &b, &got), 0);
    assert_int_equal(got.id, 5);
    assert_null(got.reply);
    assert_null(got.rescued);
    buf_release(&b);

    const uint8_t box[] = "sealed";
    struct wire_answer rescue = {
        .id = 6, .ask = ASK_SPEND, .rescued = box, .rescued_len = sizeof(box)};
    assert_int_equal(answer_way(&rescue, &b, &got), 0);
    assert_int_equal(got.rescued_len, sizeof(box));
    assert_memory_equal(got.rescued, box, sizeof(box));
    buf_release(&b);

    struct wire_answer usage = {.id = 7, .ask = ASK_USAGE, .reply = box, .reply_len = sizeof(box)};
    assert_int_equal(answer_way(&usage, &b, &got), 0);
    assert_int_equal(got.ask, ASK_USAGE);
    assert_int_equal(got.reply_len, sizeof(box));
    for (size_t len = 0; len < b.len; len++)
        assert_true(wire_answer_decode(b.bytes, len, &got) < 0);
    buf_release(&b);
}

static void an_answer_of_the_wrong_shape_is_refused(void **state)
{
    (void)state;
    struct buf b;
    struct wire_answer got;
    const struct {
        int64_t id, ask;
        bool reply, rescued;
    } bad[] = {
        {5, ASK_SPEND, true, false}, /* a spend's answer belongs into the spool */
        {5, ASK_USAGE, false, false}, {5, ASK_USAGE, true, true},
        {0, ASK_SPEND, false, false}, {5, ASK_COUNT, true, false},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        buf_init(&b, 4096);
        assert_int_equal(record_put_i64(&b, KIND, WIRE_ANSWER), 0);
        assert_int_equal(record_put_i64(&b, ID, bad[i].id), 0);
        assert_int_equal(record_put_i64(&b, ASK, bad[i].ask), 0);
        if (bad[i].reply)
            assert_int_equal(record_put(&b, REPLY, "r", 1), 0);
        if (bad[i].rescued)
            assert_int_equal(record_put(&b, RESCUED, "s", 1), 0);
        assert_int_equal(wire_answer_decode(b.bytes, b.len, &got), ERR_INVALID);
        buf_release(&b);
    }
}

static void hello_says_how_it_is_shut_in(void **state)
{
    (void)state;
    struct wire_hello h = {.version = "1.2.3", .sandbox = {.seccomp = true, .landlock_abi = 6}};
    struct wire_hello got;
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(wire_hello_encode(&h, &b), 0);
    assert_int_equal(wire_hello_decode(b.bytes, b.len, &got), 0);
    assert_string_equal(got.version, "1.2.3");
    assert_true(got.sandbox.seccomp);
    assert_int_equal(got.sandbox.landlock_abi, 6);
    for (size_t len = 0; len < b.len; len++)
        assert_true(wire_hello_decode(b.bytes, len, &got) < 0);
    buf_clear(&b);
    assert_int_equal(str_copy(h.version, sizeof(h.version), "1\x1b[31m"), 0); /* for a terminal */
    assert_int_equal(wire_hello_encode(&h, &b), 0);
    assert_int_equal(wire_hello_decode(b.bytes, b.len, &got), ERR_INVALID);
    buf_release(&b);
}

static void a_sealed_answer_opens_for_its_intent_alone(void **state)
{
    (void)state;
    uint8_t secret[INTENT_SECRET_LEN], other[INTENT_SECRET_LEN];
    memset(secret, 1, sizeof(secret));
    memset(other, 1, sizeof(other));
    other[INTENT_SECRET_LEN - 1] = 2;
    struct reply r, got;
    struct buf b;
    reply_init(&r);
    reply_init(&got);
    r.verdict = VERDICT_GRANTED;
    assert_int_equal(secret_set(&r.tokens.access, "made-up-access", 14), 0);
    buf_init_secret(&b, SEALED_ANSWER_MAX);
    assert_int_equal(sealed_answer_encode(secret, &r, &b), 0);
    assert_int_equal(sealed_answer_decode(b.bytes, b.len, other, &got), ERR_CORRUPT);
    assert_int_equal(sealed_answer_decode(b.bytes, b.len - 1, secret, &got), ERR_INVALID);
    assert_int_equal(sealed_answer_decode("", 0, secret, &got), ERR_INVALID);
    assert_int_equal(sealed_answer_decode(b.bytes, b.len, secret, &got), 0);
    assert_int_equal(got.verdict, VERDICT_GRANTED);
    assert_int_equal(got.tokens.access.len, 14);
    buf_release(&b);
    reply_clear(&r);
    reply_clear(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_question_survives_the_way),
        cmocka_unit_test(the_largest_question_fits),
        cmocka_unit_test(a_question_with_a_wrong_field_is_refused),
        cmocka_unit_test(torn_changed_and_random_bytes_are_survived),
        cmocka_unit_test(the_same_field_twice_is_refused_and_an_unknown_one_skipped),
        cmocka_unit_test(answers_survive_the_way),
        cmocka_unit_test(an_answer_of_the_wrong_shape_is_refused),
        cmocka_unit_test(hello_says_how_it_is_shut_in),
        cmocka_unit_test(a_sealed_answer_opens_for_its_intent_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

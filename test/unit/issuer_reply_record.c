/*
 * The record form of a reply: what the spool and the socket carry comes back as it was, and what
 * nobody of us wrote does not come back at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/record.h"
#include "base/time.h"
#include "issuer/reply.h"
#include "json/json.h"

/* ---- the record form ---- */

static void a_full_reply(struct reply *r)
{
    reply_init(r);
    static const char body[] =
        "{\"access_token\":\"sk-ant-oat01-x\",\"refresh_token\":\"sk-ant-ort01-y\","
        "\"id_token\":\"z\",\"expires_in\":60,\"refresh_token_expires_in\":120,\"scope\":\"s\","
        "\"account\":{\"uuid\":\"a\",\"email_address\":\"e\"},\"organization\":{\"uuid\":\"o\"}}";
    struct http_outcome o = {.sent = true,
                             .status = 200,
                             .complete = true,
                             .failure = "",
                             .server_wall_ms = 7,
                             .body = body,
                             .body_len = sizeof(body) - 1};
    reply_of_spend(provider_builtin("claude"), &o, r);
    r->retry_after_ms = 1;
    r->received_wall_ms = 2;
    r->received_boot_ms = 3;
    r->sent_boot_ms = 4;
}

static void a_reply_survives_its_record(void **state)
{
    (void)state;
    struct reply r, again;
    struct buf record;
    a_full_reply(&r);
    buf_init_secret(&record, REPLY_RECORD_MAX);
    assert_int_equal(reply_encode(&r, &record), 0);
    assert_int_equal(reply_decode(record.bytes, record.len, &again), 0);
    assert_int_equal(again.ask, ASK_SPEND);
    assert_int_equal(again.verdict, VERDICT_GRANTED);
    assert_int_equal(again.identity, r.identity);
    assert_int_equal(again.http_status, 200);
    assert_string_equal(again.detail, "200 granted");
    assert_int_equal(again.retry_after_ms, 1);
    assert_int_equal(again.server_wall_ms, 7);
    assert_int_equal(again.received_wall_ms, 2);
    assert_int_equal(again.received_boot_ms, 3);
    assert_int_equal(again.sent_boot_ms, 4);
    assert_string_equal(again.tokens.access.bytes, "sk-ant-oat01-x");
    assert_string_equal(again.tokens.refresh.bytes, "sk-ant-ort01-y");
    assert_string_equal(again.tokens.id_token.bytes, "z");
    assert_string_equal(again.tokens.scope, "s");
    assert_int_equal(again.life_ms, MINUTE_MS);
    assert_int_equal(again.login_deadline_ms, 2 * MINUTE_MS);
    assert_string_equal(again.subject, "a/o");
    assert_string_equal(again.label, "e");
    reply_clear(&again);

    for (size_t len = 0; len < record.len; len++) {
        assert_int_equal(reply_decode(record.bytes, len, &again), ERR_INVALID);
    }
    reply_clear(&r);
    buf_release(&record);
}

/* The pair is there, whatever else the server says: strictness must not lose it. */
static void odd_words_of_an_honest_server_lose_no_pair(void **state)
{
    static const char *const bodies[] = {
        "\"scope\":\"a\\u0001b\"",
        "\"scope\":\"caf\\u00e9\"",
        "\"scope\":[\"a\",\"b\\n\"]",
        "\"account\":{\"uuid\":\"a\\u0007\",\"email_address\":\"e\"}",
        "\"account\":{\"uuid\":\"a\",\"email_address\":\"\\u001b[2J\"}",
        "\"id_token\":\"x\\u0001\"",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct reply r, again;
        struct buf record;
        char body[512];
        (void)snprintf(body, sizeof(body),
                       "{\"access_token\":\"sk-ant-oat01-x\",\"refresh_token\":\"sk-ant-ort01-y\","
                       "\"organization\":{\"uuid\":\"o\"},%s}",
                       bodies[i]);
        struct http_outcome o = {.sent = true,
                                 .status = 200,
                                 .complete = true,
                                 .failure = "",
                                 .server_wall_ms = -1000, /* a Date before 1970 */
                                 .body = body,
                                 .body_len = strlen(body)};
        reply_init(&r);
        reply_of_spend(provider_builtin("claude"), &o, &r);
        assert_int_equal(r.verdict, VERDICT_GRANTED);
        buf_init_secret(&record, REPLY_RECORD_MAX);
        assert_int_equal(reply_encode(&r, &record), 0);
        int err = reply_decode(record.bytes, record.len, &again);
        if (err != 0)
            fail_msg("%s: %d", bodies[i], err);
        assert_string_equal(again.tokens.refresh.bytes, "sk-ant-ort01-y");
        reply_clear(&again);
        reply_clear(&r);
        buf_release(&record);
    }
}

static void every_kind_of_reply_survives_its_record(void **state)
{
    (void)state;
    for (int ask = 0; ask < ASK_COUNT; ask++) {
        for (int verdict = 0; verdict < VERDICT_COUNT; verdict++) {
            for (int identity = 0; identity < IDENTITY_COUNT; identity++) {
                struct reply r, again;
                struct buf record;
                reply_init(&r);
                buf_init_secret(&record, REPLY_RECORD_MAX);
                r.ask = (enum ask)ask;
                r.verdict = (enum verdict)verdict;
                r.identity = (enum identity)identity;
                if (ask == ASK_SPEND && verdict == VERDICT_GRANTED) {
                    assert_int_equal(secret_set(&r.tokens.access, "at-1", 4), 0);
                }
                assert_int_equal(buf_add_str(&r.body, "{}"), 0);
                assert_int_equal(reply_encode(&r, &record), 0);
                assert_int_equal(reply_decode(record.bytes, record.len, &again), 0);
                assert_int_equal(again.ask, ask);
                assert_int_equal(again.verdict, verdict);
                assert_int_equal(again.identity, identity);
                assert_string_equal(buf_text(&again.body), "{}");
                reply_clear(&again);
                reply_clear(&r);
                buf_release(&record);
            }
        }
    }
}

static void the_largest_reply_fits_its_record(void **state)
{
    (void)state;
    struct reply r, again;
    struct buf record;
    static char token[TOKEN_MAX];
    memset(token, 't', sizeof(token));
    a_full_reply(&r);
    assert_int_equal(secret_set(&r.tokens.access, token, TOKEN_MAX), 0);
    assert_int_equal(secret_set(&r.tokens.refresh, token, TOKEN_MAX), 0);
    assert_int_equal(secret_set(&r.tokens.id_token, token, TOKEN_MAX), 0);
    memset(r.tokens.scope, 's', SCOPE_MAX - 1);
    memset(r.detail, 'd', REPLY_DETAIL_MAX - 1);
    memset(r.subject, 'u', REPLY_SUBJECT_MAX - 1);
    memset(r.label, 'l', REPLY_SUBJECT_MAX - 1);
    buf_init_secret(&record, REPLY_RECORD_MAX);
    assert_int_equal(reply_encode(&r, &record), 0);
    assert_int_equal(reply_decode(record.bytes, record.len, &again), 0);
    assert_int_equal(again.tokens.refresh.len, TOKEN_MAX);
    reply_clear(&again);
    reply_clear(&r);

    reply_init(&r);
    r.ask = ASK_METADATA;
    uint8_t *room = buf_reserve(&r.body, REPLY_KEPT_MAX);
    assert_non_null(room);
    memset(room, ' ', REPLY_KEPT_MAX);
    buf_commit(&r.body, REPLY_KEPT_MAX);
    buf_clear(&record);
    assert_int_equal(reply_encode(&r, &record), 0);
    assert_int_equal(reply_decode(record.bytes, record.len, &again), 0);
    assert_int_equal(again.body.len, REPLY_KEPT_MAX);
    reply_clear(&again);
    reply_clear(&r);
    buf_release(&record);
}

/* Put a field of our own in the place of tag's. */
static void changed_record(uint16_t tag, const void *bytes, size_t len, struct buf *ret)
{
    struct reply r;
    struct buf good;
    struct record fields;
    a_full_reply(&r);
    buf_init_secret(&good, REPLY_RECORD_MAX);
    buf_init_secret(ret, REPLY_RECORD_MAX);
    assert_int_equal(reply_encode(&r, &good), 0);
    assert_int_equal(record_parse(&fields, good.bytes, good.len), 0);
    for (size_t i = 0; i < fields.n; i++) {
        const struct record_field *f = &fields.fields[i];
        if (f->tag != tag) {
            assert_int_equal(record_put(ret, f->tag, f->bytes, f->len), 0);
        }
    }
    assert_int_equal(record_put(ret, tag, bytes, len), 0);
    reply_clear(&r);
    buf_release(&good);
}

static void a_record_that_we_did_not_write_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint16_t tag;
        const char *bytes;
    } bad[] = {
        {1, "question"},       {2, "granted?"}, {2, "refused"}, /* and yet a pair */
        {3, "somebody"},       {4, "200"},      {5, "bell \a"}, {6, "x"},
        {10, "not a record."}, {10, ""}, /* granted, and no pair */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct reply r;
        struct buf record;
        changed_record(bad[i].tag, bad[i].bytes, strlen(bad[i].bytes), &record);
        if (reply_decode(record.bytes, record.len, &r) != ERR_INVALID) {
            fail_msg("row %zu was accepted", i);
        }
        buf_release(&record);
    }
    static char large[REPLY_RECORD_MAX + 1];
    struct reply r;
    assert_int_equal(reply_decode(large, sizeof(large), &r), ERR_TOO_LARGE);
    struct buf record;
    changed_record(60000, "from a newer spender", 20, &record);
    assert_int_equal(reply_decode(record.bytes, record.len, &r), 0);
    reply_clear(&r);
    buf_release(&record);
}

/* A spender that was taken over seals what it likes for the spend in its hand. */
static void a_lying_record_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint16_t tag;
        int64_t value;
    } numbers[] = {
        {4, 1000},           {6, -1},        {6, INT64_MAX},  {7, -1},         {7, INT64_MAX},
        {8, INT64_MIN},      {8, INT64_MAX}, {9, -1},         {9, INT64_MAX},  {11, -1},
        {11, 3651 * DAY_MS}, {12, -1},       {12, INT64_MAX}, {16, INT64_MIN}, {16, INT64_MAX},
    };
    static const struct {
        uint16_t tag;
        const char *bytes;
    } texts[] = {
        {13, "two\nlines"},
        {13, "not \xff UTF-8"},
        {14, "a bell \a"},
        {14, "\xc3"},
    };
    struct reply r;
    struct buf record;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint8_t bytes[8];
        for (size_t n = 0; n < 8; n++) {
            bytes[n] = (uint8_t)((uint64_t)numbers[i].value >> (8 * n));
        }
        changed_record(numbers[i].tag, bytes, 8, &record);
        if (reply_decode(record.bytes, record.len, &r) != ERR_INVALID) {
            fail_msg("number %zu was accepted", i);
        }
        buf_release(&record);
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        changed_record(texts[i].tag, texts[i].bytes, strlen(texts[i].bytes), &record);
        if (reply_decode(record.bytes, record.len, &r) != ERR_INVALID) {
            fail_msg("text %zu was accepted", i);
        }
        buf_release(&record);
    }
}

static void lying_tokens_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *access, *refresh, *scope;
    } bad[] = {
        {"at 1", "rt", "s"}, {"at", "rt\r\nX: y", "s"}, {"at", "rt", "a\nb"}, {"", "rt", "s"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct reply r;
        struct buf tokens, record;
        buf_init_secret(&tokens, REPLY_RECORD_MAX);
        assert_int_equal(record_put_str(&tokens, 1, bad[i].access), 0);
        assert_int_equal(record_put_str(&tokens, 2, bad[i].refresh), 0);
        assert_int_equal(record_put_str(&tokens, 4, bad[i].scope), 0);
        changed_record(10, tokens.bytes, tokens.len, &record);
        if (reply_decode(record.bytes, record.len, &r) != ERR_INVALID) {
            fail_msg("pair %zu was accepted", i);
        }
        buf_release(&record);
        buf_release(&tokens);
    }
}

int main(void)
{
    /* As the programs do it: a leak or a use after free of a document with tokens shows here. */
    json_use_secret_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_survives_its_record),
        cmocka_unit_test(odd_words_of_an_honest_server_lose_no_pair),
        cmocka_unit_test(every_kind_of_reply_survives_its_record),
        cmocka_unit_test(the_largest_reply_fits_its_record),
        cmocka_unit_test(a_record_that_we_did_not_write_is_refused),
        cmocka_unit_test(a_lying_record_is_refused),
        cmocka_unit_test(lying_tokens_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Sealed answers and what is in them: the box, the intent's secret, the reply's record, token
 * records, sealed pairs. A spender that was taken over may seal whatever it likes for the spend in
 * its hand, so a record that is accepted must be one that the rest of the daemon can reckon with.
 *
 * The first byte chooses: 'a'nswer with its secret, 'b'ox, 'f'ingerprint key, 'p'air that was
 * sealed, 'r'eply, 't'okens.
 */
#include "fuzz.h"

#include <ctype.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "base/record.h"
#include "base/str.h"
#include "issuer/reply_parts.h"
#include "issuer/wire.h"
#include "vault/vault.h"

#define KEY_LINE                                                                                   \
    "credwarden-vault-key-1 "                                                                      \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define INTENT_SECRET "an intent's secret, made up: 32."
#define WALL_MAX_MS   INT64_C(253402300799999)

static struct vault *vault;

static void open_vault(void)
{
    char path[256];
    struct err_text text = {""};
    const char *temp = getenv("TMPDIR");
    (void)snprintf(path, sizeof(path), "%s/fuzz-key-XXXXXX", temp != NULL ? temp : "/tmp");
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, KEY_LINE, sizeof(KEY_LINE) - 1) == sizeof(KEY_LINE) - 1);
    (void)close(fd);
    CHECK(vault_open(path, &vault, &text) == 0 && unlink(path) == 0);
}

/* ---- records ---- */

static void check_text(const char *text)
{
    CHECK(str_is_utf8(text, strlen(text)));
    for (const char *c = text; *c != '\0'; c++) {
        CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static void check_token(const struct secret *token)
{
    CHECK(token->len == 0 || token_is_sendable(token->bytes, token->len));
}

/* What the reply_of_ functions promise. */
static void check_reply(const struct reply *r)
{
    struct buf record, second;
    struct reply again;
    const int64_t walls[] = {r->server_wall_ms, r->received_wall_ms};
    const int64_t lives[] = {r->life_ms, r->login_deadline_ms};
    for (size_t i = 0; i < 2; i++) {
        CHECK(walls[i] >= 0 && walls[i] <= WALL_MAX_MS);
        CHECK(lives[i] >= 0 && lives[i] <= REPLY_LIFE_MAX_MS);
    }
    CHECK(r->retry_after_ms >= 0 && r->retry_after_ms <= REPLY_LIFE_MAX_MS);
    CHECK(r->sent_boot_ms >= 0 && r->sent_boot_ms <= WALL_MAX_MS);
    CHECK(r->received_boot_ms >= 0 && r->received_boot_ms <= WALL_MAX_MS);
    CHECK(r->http_status >= 0 && r->http_status <= 999);
    check_text(r->detail);
    check_text(r->subject);
    check_text(r->label);
    check_token(&r->tokens.access);
    check_token(&r->tokens.refresh);
    check_token(&r->tokens.id_token);
    check_text(r->tokens.scope);
    bool is_granted = r->ask == ASK_SPEND && r->verdict == VERDICT_GRANTED;
    CHECK(is_granted == (r->tokens.access.len > 0));
    CHECK(is_granted || (r->tokens.refresh.len == 0 && r->tokens.id_token.len == 0));
    CHECK(r->body.len <= REPLY_KEPT_MAX);

    buf_init_secret(&record, (size_t)2 * REPLY_RECORD_MAX);
    buf_init_secret(&second, (size_t)2 * REPLY_RECORD_MAX);
    CHECK(reply_encode(r, &record) == 0);
    if (record.len <= REPLY_RECORD_MAX) {
        CHECK(reply_decode(record.bytes, record.len, &again) == 0);
        CHECK(reply_encode(&again, &second) == 0 && second.len == record.len);
        CHECK(memcmp(second.bytes, record.bytes, record.len) == 0);
        reply_clear(&again);
    }
    buf_release(&record);
    buf_release(&second);
}

static void decode_reply(struct input in)
{
    static struct reply r;
    taint(&r, sizeof(r));
    if (reply_decode(in.at, in.left, &r) != 0) {
        CHECK(is_tainted(&r, sizeof(r)));
        return;
    }
    check_reply(&r);
    reply_clear(&r);
}

static void decode_tokens(struct input in)
{
    static struct tokens t, again;
    struct buf out, second;
    if (tokens_decode(in.at, in.left, &t) != 0) {
        CHECK(t.access.bytes == NULL && t.refresh.bytes == NULL && t.scope[0] == '\0');
        return;
    }
    buf_init_secret(&out, (size_t)64 * 1024);
    buf_init_secret(&second, (size_t)64 * 1024);
    CHECK(t.access.len <= TOKEN_MAX && t.refresh.len <= TOKEN_MAX && t.id_token.len <= TOKEN_MAX);
    CHECK(tokens_encode(&t, &out) == 0 && out.len <= in.left);
    CHECK(tokens_decode(buf_text(&out), out.len, &again) == 0);
    CHECK(tokens_encode(&again, &second) == 0 && second.len == out.len);
    CHECK(out.len == 0 || memcmp(out.bytes, second.bytes, out.len) == 0);
    buf_release(&out);
    buf_release(&second);
    tokens_clear(&t);
    tokens_clear(&again);
}

static void decode_answer(struct input in)
{
    static struct reply r;
    struct record record;
    const uint8_t *found = NULL;
    size_t found_len = 0;
    reply_init(&r);
    if (sealed_answer_decode(in.at, in.left, (const uint8_t *)INTENT_SECRET, &r) != 0) {
        CHECK(r.tokens.access.len == 0 && r.verdict == VERDICT_DOUBT);
        return;
    }
    /* Nothing is believed without the secret, which is looked for here in its own way. */
    CHECK(record_parse(&record, in.at, in.left) == 0);
    CHECK(record_get(&record, 24, &found, &found_len) == 0);
    CHECK(found_len == INTENT_SECRET_LEN && memcmp(found, INTENT_SECRET, found_len) == 0);
    check_reply(&r);
    reply_clear(&r);
}

/* ---- boxes ---- */

/* The input itself is no box of ours; sealed, it opens to the same bytes, and not when one of them
 * was changed. */
static void open_box(struct input in)
{
    struct buf out;
    size_t at = take_byte(&in), len = in.left + crypto_box_SEALBYTES;
    uint8_t *box = malloc(len);
    CHECK(box != NULL);
    buf_init_secret(&out, (size_t)64 * 1024);
    CHECK(vault_box_open(vault, in.at, in.left, &out) != 0 && out.len == 0);
    CHECK(crypto_box_seal(box, in.at, in.left, vault_box_public(vault)) == 0);
    CHECK(vault_box_open(vault, box, len, &out) == 0 && out.len == in.left);
    CHECK(out.len == 0 || memcmp(out.bytes, in.at, in.left) == 0);
    box[at % len] ^= (uint8_t)(1 << at % 8);
    CHECK(vault_box_open(vault, box, len, &out) != 0 && out.len == in.left);
    CHECK(vault_box_open(vault, box, len - 1, &out) != 0);
    buf_release(&out);
    free(box);
}

/* The same for a sealed pair, which also must not open anywhere but in its place. */
static void open_pair(struct input in)
{
    static struct tokens t, again;
    struct buf out;
    size_t at = take_byte(&in);
    buf_init(&out, (size_t)128 * 1024);
    CHECK(vault_unseal(vault, 1, 1, in.at, in.left, &again) != 0 && again.access.len == 0);
    if (tokens_decode(in.at, in.left, &t) == 0 && vault_seal(vault, 1, 2, &t, &out) == 0) {
        CHECK(vault_unseal(vault, 1, 2, out.bytes, out.len, &again) == 0);
        CHECK(again.access.len == t.access.len && strcmp(again.scope, t.scope) == 0);
        tokens_clear(&again);
        CHECK(vault_unseal(vault, 2, 2, out.bytes, out.len, &again) == ERR_CORRUPT);
        CHECK(vault_unseal(vault, 1, 1, out.bytes, out.len, &again) == ERR_CORRUPT);
        out.bytes[at % out.len] ^= (uint8_t)(1 << at % 8);
        CHECK(vault_unseal(vault, 1, 2, out.bytes, out.len, &again) == ERR_CORRUPT);
        CHECK(again.access.len == 0);
    }
    buf_release(&out);
    tokens_clear(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len};
    struct err_text text = {""};
    if (vault == NULL) {
        open_vault();
    }
    switch (take_byte(&in)) {
    case 'a':
        decode_answer(in);
        break;
    case 'b':
        open_box(in);
        break;
    case 'f':
        CHECK(vault_fp_key_open(vault, in.at, in.left, &text) == ERR_CORRUPT);
        break;
    case 'p':
        open_pair(in);
        break;
    case 'r':
        decode_reply(in);
        break;
    case 't':
        decode_tokens(in);
        break;
    default:
        break;
    }
    return 0;
}

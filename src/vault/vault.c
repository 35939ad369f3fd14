/*
 * The vault: keys, and what is done with them. The key file is vault_key.c's.
 *
 * Everything that is derived from the vault key is derived in vault_open() and kept in one block of
 * secret memory, so sealing costs one AEAD and no derivation. Sealed form, of pairs and of the
 * fingerprint key alike:
 *
 *     version 1 (1 byte) | nonce (24, random) | ciphertext and tag
 *
 * XChaCha20's nonce is long enough to be drawn at random for ever. The additional bytes say what
 * the plaintext is and where it belongs, so that a sealed pair that was moved to another lineage
 * or generation, or mistaken for something else, does not open.
 */
#include "vault/vault.h"

#include <string.h>

#include <sodium.h>

#include "base/check.h"
#include "vault/internal.h"

#define SEALED_VERSION 1
#define NONCE_LEN      crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LEN        crypto_aead_xchacha20poly1305_ietf_ABYTES
#define SEALED_EXTRA   (1 + NONCE_LEN + TAG_LEN)
#define PLAIN_MAX      (3 * TOKEN_MAX + SCOPE_MAX + 256)

#define FP_KEY_LEN 32

/* BLAKE2b's personalization (16 bytes) keeps the fingerprints of tokens and of subjects apart. */
#define PERSONAL_TOKEN   "credwarden-token"
#define PERSONAL_SUBJECT "credwarden-who\0"

/* Numbers of the subkeys: stored for good in what was sealed with them. */
enum subkey { SUBKEY_SEAL = 1, SUBKEY_BOX = 2, SUBKEY_FP = 3, SUBKEY_INTENT = 4 };
#define SUBKEY_CONTEXT "cwvault1" /* crypto_kdf_CONTEXTBYTES */
#define INTENT_CONTEXT "cwintent"

struct vault {
    uint8_t seal_key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
    uint8_t fp_wrap_key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
    uint8_t intent_key[crypto_kdf_KEYBYTES];
    uint8_t box_seed[crypto_box_SEEDBYTES]; /* only while the two below are made of it */
    uint8_t box_public[crypto_box_PUBLICKEYBYTES];
    uint8_t box_secret[crypto_box_SECRETKEYBYTES];
    uint8_t fp_key[FP_KEY_LEN];
    bool has_fp_key;
};

_Static_assert(VAULT_BOX_PUBLIC_LEN == crypto_box_PUBLICKEYBYTES, "box key");
_Static_assert(VAULT_FP_KEY_SEALED_LEN == SEALED_EXTRA + FP_KEY_LEN, "sealed fingerprint key");
_Static_assert(VAULT_SEALED_OVERHEAD >= SEALED_EXTRA, "overhead");
_Static_assert(sizeof(PERSONAL_TOKEN) - 1 == crypto_generichash_blake2b_PERSONALBYTES, "token");
_Static_assert(sizeof(PERSONAL_SUBJECT) == crypto_generichash_blake2b_PERSONALBYTES, "subject");

/* Opening */

static void derive(const uint8_t *key, enum subkey n, uint8_t *ret, size_t len)
{
    CHECK(crypto_kdf_derive_from_key(ret, len, n, SUBKEY_CONTEXT, key) == 0);
}

static void derive_all(struct vault *v, const uint8_t *key)
{
    derive(key, SUBKEY_SEAL, v->seal_key, sizeof(v->seal_key));
    derive(key, SUBKEY_FP, v->fp_wrap_key, sizeof(v->fp_wrap_key));
    derive(key, SUBKEY_INTENT, v->intent_key, sizeof(v->intent_key));
    derive(key, SUBKEY_BOX, v->box_seed, sizeof(v->box_seed));
    CHECK(crypto_box_seed_keypair(v->box_public, v->box_secret, v->box_seed) == 0);
    secret_wipe(v->box_seed, sizeof(v->box_seed));
}

int vault_open(const char *key_path, struct vault **ret, struct err_text *text)
{
    if (sodium_init() < 0) {
        return err_say(text, ERR_UNSUPPORTED, "the system gives no random bytes");
    }
    struct vault *v = secret_alloc(sizeof(*v));
    uint8_t *key = secret_alloc(VAULT_KEY_LEN);
    int err = v == NULL || key == NULL ? err_say(text, ERR_NOMEM, "no secret memory is left") : 0;
    if (err == 0) {
        err = vault_key_read(key_path, key, text);
    }
    if (err == 0) {
        derive_all(v, key);
        *ret = v;
        v = NULL;
    }
    secret_free(key);
    secret_free(v);
    return err;
}

void vault_free(struct vault *v)
{
    secret_free(v);
}

/* Sealing */

/* Appended to `out`, which is unchanged on failure. */
static int seal(const uint8_t *key, const void *place, size_t place_len, const void *plain,
                size_t plain_len, struct buf *out)
{
    uint8_t *to = buf_reserve(out, SEALED_EXTRA + plain_len);
    if (to == NULL) {
        return SEALED_EXTRA + plain_len > out->max - out->len ? ERR_TOO_LARGE : ERR_NOMEM;
    }
    to[0] = SEALED_VERSION;
    randombytes_buf(to + 1, NONCE_LEN);
    CHECK(crypto_aead_xchacha20poly1305_ietf_encrypt(to + 1 + NONCE_LEN, NULL, plain, plain_len,
                                                     place, place_len, NULL, to + 1, key) == 0);
    buf_commit(out, SEALED_EXTRA + plain_len);
    return 0;
}

/* `ret` has room for len - SEALED_EXTRA bytes; the caller has checked len. */
static int unseal(const uint8_t *key, const void *place, size_t place_len, const uint8_t *sealed,
                  size_t len, uint8_t *ret)
{
    CHECK(len >= SEALED_EXTRA);
    if (sealed[0] != SEALED_VERSION ||
        crypto_aead_xchacha20poly1305_ietf_decrypt(ret, NULL, NULL, sealed + 1 + NONCE_LEN,
                                                   len - 1 - NONCE_LEN, place, place_len,
                                                   sealed + 1, key) != 0) {
        return ERR_CORRUPT;
    }
    return 0;
}

static void store_u64_le(uint8_t *to, uint64_t value)
{
    for (size_t i = 0; i < 8; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Where a sealed pair belongs. */
#define PAIR_LABEL "credwarden pair 1"
struct place {
    uint8_t bytes[sizeof(PAIR_LABEL) - 1 + 16];
};

static struct place place_of(uint64_t lineage, uint64_t generation)
{
    struct place p;
    size_t label_len = sizeof(PAIR_LABEL) - 1;
    memcpy(p.bytes, PAIR_LABEL, label_len);
    store_u64_le(p.bytes + label_len, lineage);
    store_u64_le(p.bytes + label_len + 8, generation);
    return p;
}

int vault_seal(const struct vault *v, uint64_t lineage, uint64_t generation, const struct tokens *t,
               struct buf *out)
{
    struct place at = place_of(lineage, generation);
    struct buf plain;
    buf_init_secret(&plain, PLAIN_MAX);
    int err = tokens_encode(t, &plain);
    if (err == 0) {
        err = seal(v->seal_key, at.bytes, sizeof(at.bytes), plain.bytes, plain.len, out);
    }
    buf_release(&plain);
    return err;
}

int vault_unseal(const struct vault *v, uint64_t lineage, uint64_t generation, const void *sealed,
                 size_t len, struct tokens *ret)
{
    if (len < SEALED_EXTRA || len > SEALED_EXTRA + PLAIN_MAX) {
        return ERR_CORRUPT;
    }
    struct place at = place_of(lineage, generation);
    size_t plain_len = len - SEALED_EXTRA;
    uint8_t *plain =
        secret_alloc(plain_len + 1); /* + 1: nothing was sealed is no allocation of 0 */
    if (plain == NULL) {
        return ERR_NOMEM;
    }
    int err = unseal(v->seal_key, at.bytes, sizeof(at.bytes), sealed, len, plain);
    if (err == 0) {
        err = tokens_decode(plain, plain_len, ret);
        err = err == 0 || err == ERR_NOMEM ? err : ERR_CORRUPT;
    }
    secret_free(plain);
    return err;
}

/* Fingerprints */

static const char fp_key_place[] = "credwarden fingerprint key 1";

static int fp_key_seal(struct vault *v, uint8_t ret_sealed[VAULT_FP_KEY_SEALED_LEN])
{
    struct buf out;
    buf_init(&out, VAULT_FP_KEY_SEALED_LEN);
    int err = seal(v->fp_wrap_key, fp_key_place, sizeof(fp_key_place), v->fp_key, sizeof(v->fp_key),
                   &out);
    if (err == 0) {
        memcpy(ret_sealed, out.bytes, VAULT_FP_KEY_SEALED_LEN);
        v->has_fp_key = true;
    }
    buf_release(&out);
    return err;
}

int vault_fp_key_make(struct vault *v, uint8_t ret_sealed[VAULT_FP_KEY_SEALED_LEN])
{
    CHECK(!v->has_fp_key);
    randombytes_buf(v->fp_key, sizeof(v->fp_key));
    return fp_key_seal(v, ret_sealed);
}

int vault_fp_key_take(struct vault *v, const struct vault *old,
                      uint8_t ret_sealed[VAULT_FP_KEY_SEALED_LEN])
{
    CHECK(!v->has_fp_key && old->has_fp_key);
    memcpy(v->fp_key, old->fp_key, sizeof(v->fp_key));
    return fp_key_seal(v, ret_sealed);
}

int vault_fp_key_open(struct vault *v, const uint8_t *sealed, size_t len, struct err_text *text)
{
    CHECK(!v->has_fp_key);
    if (len != VAULT_FP_KEY_SEALED_LEN ||
        unseal(v->fp_wrap_key, fp_key_place, sizeof(fp_key_place), sealed, len, v->fp_key) < 0) {
        return err_say(text, ERR_CORRUPT,
                       "the fingerprint key in the store does not open with this vault key: one of "
                       "the two is damaged or belongs to another installation; put the key file "
                       "and the store of the same backup back");
    }
    v->has_fp_key = true;
    return 0;
}

struct fp vault_fingerprint(const struct vault *v, const struct secret *token)
{
    struct fp fp = {0};
    CHECK(v->has_fp_key);
    if (token->len > 0) {
        CHECK(crypto_generichash_blake2b_salt_personal(
                  fp.bytes, FP_LEN, (const uint8_t *)token->bytes, token->len, v->fp_key,
                  sizeof(v->fp_key), NULL, (const uint8_t *)PERSONAL_TOKEN) == 0);
    }
    return fp;
}

struct fp vault_subject_fp(const struct vault *v, const char *server, const char *subject)
{
    struct fp fp = {0};
    CHECK(v->has_fp_key);
    if (subject[0] == '\0') {
        return fp;
    }
    crypto_generichash_blake2b_state state;
    CHECK(crypto_generichash_blake2b_init_salt_personal(&state, v->fp_key, sizeof(v->fp_key),
                                                        FP_LEN, NULL,
                                                        (const uint8_t *)PERSONAL_SUBJECT) == 0);
    /* The NUL after the server marks where it ends. */
    (void)crypto_generichash_blake2b_update(&state, (const uint8_t *)server, strlen(server) + 1);
    (void)crypto_generichash_blake2b_update(&state, (const uint8_t *)subject, strlen(subject));
    (void)crypto_generichash_blake2b_final(&state, fp.bytes, FP_LEN);
    secret_wipe(&state, sizeof(state)); /* it began with the key */
    return fp;
}

/* Intents and sealed answers */

void vault_intent_secret(const struct vault *v, uint64_t intent,
                         uint8_t ret[VAULT_INTENT_SECRET_LEN])
{
    CHECK(crypto_kdf_derive_from_key(ret, VAULT_INTENT_SECRET_LEN, intent, INTENT_CONTEXT,
                                     v->intent_key) == 0);
}

const uint8_t *vault_box_public(const struct vault *v)
{
    return v->box_public;
}

int vault_box_open(const struct vault *v, const void *box, size_t len, struct buf *out)
{
    CHECK(out->secret);
    if (len < crypto_box_SEALBYTES) {
        return ERR_CORRUPT;
    }
    size_t plain_len = len - crypto_box_SEALBYTES;
    uint8_t *to = buf_reserve(out, plain_len);
    if (to == NULL) {
        return plain_len > out->max - out->len ? ERR_TOO_LARGE : ERR_NOMEM;
    }
    if (crypto_box_seal_open(to, box, len, v->box_public, v->box_secret) != 0) {
        secret_wipe(to, plain_len);
        *to = '\0';
        return ERR_CORRUPT;
    }
    buf_commit(out, plain_len);
    return 0;
}

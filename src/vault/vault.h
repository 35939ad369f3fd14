/*
 * The vault: token bytes sealed at rest, and what is derived from the vault key.
 *
 * One 32-byte key, in a file of mode 0600 that belongs to us. On opening, four things are derived
 * from it once (crypto_kdf): the sealing key (XChaCha20-Poly1305), the X25519 pair that sealed
 * answers are addressed to, the key under which the fingerprint key is kept, and the one that the
 * secrets of intents come from. A write costs one AEAD and no derivation.
 *
 * The fingerprint key is random, independent of the vault key, and kept sealed in the store: it
 * survives a change of the vault key. All keys live in secret memory.
 */
#ifndef VAULT_VAULT_H
#define VAULT_VAULT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/tokens.h"
#include "base/words.h"

#define VAULT_BOX_PUBLIC_LEN    32
#define VAULT_SEALED_OVERHEAD   64 /* upper bound: version, nonce, tag */
#define VAULT_FP_KEY_SEALED_LEN 73 /* version 1 + nonce 24 + 32 + tag 16 */

struct vault;

/* Make a fresh key file (durable, 0600) and fail with ERR_EXISTS if there is one. */
int vault_create_key(const char *key_path, struct err_text *text);

/* ERR_NOT_FOUND, ERR_INSECURE (owner or mode), ERR_CORRUPT (not a key file), ERR_NEWER. The file is
 * the text line "credwarden-vault-key-1 <64 lower-case hex digits>\n" and nothing else. */
int vault_open(const char *key_path, struct vault **ret, struct err_text *text);
void vault_free(struct vault *v); /* keys wiped. NULL-tolerant */

/* The fingerprint key: make one and seal it (first start), or open a sealed one. Must be done once
 * before vault_fingerprint(). ERR_CORRUPT: sealed under another vault key, or damaged. */
int vault_fp_key_make(struct vault *v, uint8_t ret_sealed[VAULT_FP_KEY_SEALED_LEN]);
int vault_fp_key_open(struct vault *v, const uint8_t *sealed, size_t len, struct err_text *text);
/* A change of the vault key: `v`, open with the new key, takes over the fingerprint key of `old`,
 * so that every fingerprint stays what it was. ERR_NOMEM. */
int vault_fp_key_take(struct vault *v, const struct vault *old,
                      uint8_t ret_sealed[VAULT_FP_KEY_SEALED_LEN]);

/* Keyed BLAKE2b-128; fp "none" for none (an empty token or subject). */
struct fp vault_fingerprint(const struct vault *v, const struct secret *token);
/* Of a subject: domain-separated, over the server and its name for the subject. */
struct fp vault_subject_fp(const struct vault *v, const char *server, const char *subject);

/* Seal a pair, bound to its place: it opens for the same lineage and generation alone. Appended to
 * `out` (unchanged on failure); at most VAULT_SEALED_OVERHEAD longer than tokens_encode() made it.
 * ERR_TOO_LARGE (a token above TOKEN_MAX, or no room in `out`), ERR_NOMEM. */
int vault_seal(const struct vault *v, uint64_t lineage, uint64_t generation, const struct tokens *t,
               struct buf *out);
/* ERR_CORRUPT when the bytes were changed, moved, or sealed under another key. */
int vault_unseal(const struct vault *v, uint64_t lineage, uint64_t generation, const void *sealed,
                 size_t len, struct tokens *ret);

/* The secret of an intent, derived from its id: goes to the spender with the spend and comes back
 * inside the sealed answer, because a sealed box proves no sender. Compare with secret_equal(). */
#define VAULT_INTENT_SECRET_LEN 32
void vault_intent_secret(const struct vault *v, uint64_t intent,
                         uint8_t ret[VAULT_INTENT_SECRET_LEN]);

/* Sealed answers (crypto_box_seal): anybody may write one, only the vault reads it. The plaintext
 * is appended to `out`, a secret buffer. ERR_CORRUPT: damaged, or not for this vault. */
const uint8_t *vault_box_public(const struct vault *v);
int vault_box_open(const struct vault *v, const void *box, size_t len, struct buf *out);

#endif

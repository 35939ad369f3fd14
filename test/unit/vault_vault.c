/*
 * The vault: what was sealed opens in its place and nowhere else; a key file is taken only when it
 * is whole and private; fingerprints outlive the vault key.
 */
#include "vault/vault.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/check.h"
#include "base/record.h"
#include "base/str.h"

#define KEY_LINE                                                                                   \
    "credwarden-vault-key-1 "                                                                      \
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

struct bench {
    char dir[64];
    char key_path[96];
    char other_path[96];
    struct vault *v;
    struct vault *other; /* of another key */
};

static void write_file(const char *path, const void *bytes, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    (void)snprintf(b->dir, sizeof(b->dir), "/tmp/credwarden-vault-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    (void)snprintf(b->key_path, sizeof(b->key_path), "%s/key", b->dir);
    (void)snprintf(b->other_path, sizeof(b->other_path), "%s/other", b->dir);
    assert_int_equal(vault_create_key(b->key_path, NULL), 0);
    assert_int_equal(vault_create_key(b->other_path, NULL), 0);
    assert_int_equal(vault_open(b->key_path, &b->v, NULL), 0);
    assert_int_equal(vault_open(b->other_path, &b->other, NULL), 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    vault_free(b->v);
    vault_free(b->other);
    (void)unlink(b->key_path);
    (void)unlink(b->other_path);
    assert_int_equal(rmdir(b->dir), 0);
    free(b);
    return 0;
}

static void make_tokens(struct tokens *t)
{
    *t = (struct tokens){0};
    assert_int_equal(secret_set(&t->access, "made-up-access", 14), 0);
    assert_int_equal(secret_set(&t->refresh, "made-up-refresh", 15), 0);
    assert_int_equal(str_copy(t->scope, sizeof(t->scope), "openid offline_access"), 0);
}

static void assert_tokens_equal(const struct tokens *a, const struct tokens *b)
{
    assert_int_equal(a->access.len, b->access.len);
    assert_int_equal(a->refresh.len, b->refresh.len);
    assert_int_equal(a->id_token.len, b->id_token.len);
    assert_true(secret_equal(a->access.bytes, b->access.bytes, a->access.len));
    assert_true(secret_equal(a->refresh.bytes, b->refresh.bytes, a->refresh.len));
    assert_string_equal(a->scope, b->scope);
}

/* Key file */

static void key_file_is_private_and_readable_text(void **state)
{
    struct bench *b = *state;
    struct stat st;
    assert_int_equal(stat(b->key_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, sizeof(KEY_LINE) - 1);
    char head[24] = "";
    int fd = open(b->key_path, O_RDONLY);
    assert_int_equal(read(fd, head, 23), 23);
    close(fd);
    assert_string_equal(head, "credwarden-vault-key-1 ");
}

static void key_file_is_never_replaced(void **state)
{
    struct bench *b = *state;
    struct err_text text = {""};
    assert_int_equal(vault_create_key(b->key_path, &text), ERR_EXISTS);
    assert_string_not_equal(text.text, "");
    struct vault *again = NULL;
    assert_int_equal(vault_open(b->key_path, &again, NULL), 0);
    assert_memory_equal(vault_box_public(again), vault_box_public(b->v), VAULT_BOX_PUBLIC_LEN);
    vault_free(again);
}

static void two_keys_differ(void **state)
{
    struct bench *b = *state;
    assert_memory_not_equal(vault_box_public(b->v), vault_box_public(b->other),
                            VAULT_BOX_PUBLIC_LEN);
}

static void expect_refused(const char *path, int err, const char *word)
{
    struct vault *v = NULL;
    struct err_text text = {""};
    assert_int_equal(vault_open(path, &v, &text), err);
    assert_null(v);
    assert_non_null(strstr(text.text, word));
    assert_null(strstr(text.text, "0001020304")); /* never a part of the key */
}

static void key_file_open_to_others_is_refused(void **state)
{
    struct bench *b = *state;
    static const mode_t modes[] = {0640, 0604, 0660, 0601, 0610};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(b->key_path, modes[i]), 0);
        expect_refused(b->key_path, ERR_INSECURE, "chmod");
    }
    assert_int_equal(chmod(b->key_path, 0400), 0);
    struct vault *v = NULL;
    assert_int_equal(vault_open(b->key_path, &v, NULL), 0);
    vault_free(v);
}

static void key_file_of_another_user_is_refused(void **state)
{
    struct bench *b = *state;
    if (geteuid() != 0) {
        print_message("needs root to give a file away\n");
        skip();
    }
    assert_int_equal(chown(b->key_path, 12345, (gid_t)-1), 0);
    expect_refused(b->key_path, ERR_INSECURE, "uid");
}

static void damaged_key_files_are_refused(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *content;
        int err;
    } cases[] = {
        {"", ERR_CORRUPT},
        {"\n", ERR_CORRUPT},
        {"credwarden-vault-key-1 \n", ERR_CORRUPT},
        {"credwarden-vault-key-1 0001\n", ERR_CORRUPT},
        {"credwarden-vault-key-1 "
         "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
         ERR_CORRUPT}, /* no newline: cut short */
        {"credwarden-vault-key-1 "
         "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g\n",
         ERR_CORRUPT},
        {"credwarden-vault-key-1 "
         "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F\n",
         ERR_CORRUPT},
        {KEY_LINE "\n", ERR_CORRUPT},
        {KEY_LINE KEY_LINE, ERR_CORRUPT},
        {KEY_LINE KEY_LINE KEY_LINE KEY_LINE, ERR_CORRUPT}, /* beyond what is read at all */
        {"credwarden-vault-key-01 "
         "00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
         ERR_CORRUPT},
        {"credwarden-vault-key-2 anything at all\n", ERR_NEWER},
        {"credwarden-vault-key-11 anything at all\n", ERR_NEWER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_file(b->key_path, cases[i].content, strlen(cases[i].content), 0600);
        expect_refused(b->key_path, cases[i].err, b->key_path);
    }
    char with_nul[sizeof(KEY_LINE)] = KEY_LINE;
    with_nul[40] = '\0';
    write_file(b->key_path, with_nul, sizeof(with_nul) - 1, 0600);
    expect_refused(b->key_path, ERR_CORRUPT, b->key_path);
    write_file(b->key_path, KEY_LINE, sizeof(KEY_LINE) - 1, 0600);
    struct vault *v = NULL;
    assert_int_equal(vault_open(b->key_path, &v, NULL), 0);
    vault_free(v);
}

static void what_is_no_file_is_refused(void **state)
{
    struct bench *b = *state;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/absent", b->dir);
    expect_refused(path, ERR_NOT_FOUND, path);
    assert_int_equal(symlink(b->key_path, path), 0);
    expect_refused(path, ERR_CORRUPT, "symbolic link");
    assert_int_equal(unlink(path), 0);
    expect_refused(b->dir, ERR_CORRUPT, "regular");
    (void)snprintf(path, sizeof(path), "%s/no/such/folder", b->dir);
    assert_int_equal(vault_create_key(path, NULL), ERR_NOT_FOUND);
}

/* Pairs */

static void a_sealed_pair_opens_in_its_place(void **state)
{
    struct bench *b = *state;
    struct tokens t;
    struct tokens back = {0};
    struct buf sealed;
    make_tokens(&t);
    buf_init(&sealed, 4096);
    assert_int_equal(vault_seal(b->v, UINT64_MAX, 7, &t, &sealed), 0);
    assert_null(memmem(sealed.bytes, sealed.len, "made-up", 7));
    assert_int_equal(vault_unseal(b->v, UINT64_MAX, 7, sealed.bytes, sealed.len, &back), 0);
    assert_tokens_equal(&t, &back);
    tokens_clear(&t);
    tokens_clear(&back);
    buf_release(&sealed);
}

static void sealing_twice_gives_two_forms(void **state)
{
    struct bench *b = *state;
    struct tokens t;
    struct buf one;
    struct buf two;
    make_tokens(&t);
    buf_init(&one, 4096);
    buf_init(&two, 4096);
    assert_int_equal(vault_seal(b->v, 1, 1, &t, &one), 0);
    assert_int_equal(vault_seal(b->v, 1, 1, &t, &two), 0);
    assert_int_equal(one.len, two.len);
    assert_memory_not_equal(one.bytes, two.bytes, one.len);
    tokens_clear(&t);
    buf_release(&one);
    buf_release(&two);
}

static void the_overhead_is_as_told(void **state)
{
    struct bench *b = *state;
    struct tokens t;
    struct buf plain;
    struct buf sealed;
    make_tokens(&t);
    buf_init_secret(&plain, 4096);
    buf_init(&sealed, 4096);
    assert_int_equal(tokens_encode(&t, &plain), 0);
    assert_int_equal(vault_seal(b->v, 1, 1, &t, &sealed), 0);
    assert_true(sealed.len <= plain.len + VAULT_SEALED_OVERHEAD);
    tokens_clear(&t);
    buf_release(&plain);
    buf_release(&sealed);
}

static void expect_corrupt(const struct vault *v, uint64_t lineage, uint64_t generation,
                           const void *sealed, size_t len)
{
    struct tokens back = {0};
    assert_int_equal(secret_set(&back.access, "before", 6), 0);
    assert_int_equal(vault_unseal(v, lineage, generation, sealed, len, &back), ERR_CORRUPT);
    assert_int_equal(back.access.len, 6); /* untouched */
    tokens_clear(&back);
}

static void any_flipped_bit_is_noticed(void **state)
{
    struct bench *b = *state;
    struct tokens t;
    struct buf sealed;
    make_tokens(&t);
    buf_init(&sealed, 4096);
    assert_int_equal(vault_seal(b->v, 5, 6, &t, &sealed), 0);
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        uint8_t mask = (uint8_t)(1U << (bit % 8));
        sealed.bytes[bit / 8] ^= mask;
        expect_corrupt(b->v, 5, 6, sealed.bytes, sealed.len);
        sealed.bytes[bit / 8] ^= mask;
    }
    for (size_t len = 0; len < sealed.len; len++) {
        expect_corrupt(b->v, 5, 6, sealed.bytes, len);
    }
    assert_int_equal(buf_add_char(&sealed, 'x'), 0);
    expect_corrupt(b->v, 5, 6, sealed.bytes, sealed.len);
    tokens_clear(&t);
    buf_release(&sealed);
}

static void a_moved_pair_does_not_open(void **state)
{
    struct bench *b = *state;
    struct tokens t;
    struct buf sealed;
    make_tokens(&t);
    buf_init(&sealed, 4096);
    assert_int_equal(vault_seal(b->v, 5, 6, &t, &sealed), 0);
    expect_corrupt(b->v, 5, 7, sealed.bytes, sealed.len);
    expect_corrupt(b->v, 5, 5, sealed.bytes, sealed.len);
    expect_corrupt(b->v, 6, 6, sealed.bytes, sealed.len);
    expect_corrupt(b->v, 6, 5, sealed.bytes, sealed.len);
    expect_corrupt(b->other, 5, 6, sealed.bytes, sealed.len);
    tokens_clear(&t);
    buf_release(&sealed);
}

static void the_largest_tokens_fit(void **state)
{
    struct bench *b = *state;
    struct tokens t = {0};
    struct tokens back = {0};
    struct buf sealed;
    char *big = calloc(1, TOKEN_MAX + 1);
    memset(big, 'x', TOKEN_MAX + 1);
    buf_init(&sealed, (size_t)64 * 1024);
    assert_int_equal(secret_set(&t.access, big, TOKEN_MAX), 0);
    assert_int_equal(secret_set(&t.refresh, big, TOKEN_MAX), 0);
    assert_int_equal(secret_set(&t.id_token, big, TOKEN_MAX), 0);
    memset(t.scope, 's', sizeof(t.scope) - 1);
    assert_int_equal(vault_seal(b->v, 1, 1, &t, &sealed), 0);
    assert_int_equal(vault_unseal(b->v, 1, 1, sealed.bytes, sealed.len, &back), 0);
    assert_tokens_equal(&t, &back);

    buf_clear(&sealed);
    assert_int_equal(secret_set(&t.access, big, TOKEN_MAX + 1), 0);
    assert_int_equal(vault_seal(b->v, 1, 1, &t, &sealed), ERR_TOO_LARGE);
    assert_int_equal(sealed.len, 0);
    free(big);
    tokens_clear(&t);
    tokens_clear(&back);
    buf_release(&sealed);
}

static void a_full_buffer_is_told_and_unchanged(void **state)
{
    struct bench *b = *state;
    struct tokens t;
    struct buf small;
    make_tokens(&t);
    buf_init(&small, 40);
    assert_int_equal(buf_add_str(&small, "kept"), 0);
    assert_int_equal(vault_seal(b->v, 1, 1, &t, &small), ERR_TOO_LARGE);
    assert_string_equal(buf_text(&small), "kept");
    tokens_clear(&t);
    buf_release(&small);
}

/* Fingerprints */

static struct fp print_of(const struct vault *v, const char *token)
{
    struct secret s = {0};
    assert_int_equal(secret_set(&s, token, strlen(token)), 0);
    struct fp fp = vault_fingerprint(v, &s);
    secret_clear(&s);
    return fp;
}

static void a_fingerprint_is_the_same_after_a_restart(void **state)
{
    struct bench *b = *state;
    uint8_t sealed[VAULT_FP_KEY_SEALED_LEN];
    assert_int_equal(vault_fp_key_make(b->v, sealed), 0);
    struct fp before = print_of(b->v, "made-up");
    struct vault *again = NULL;
    assert_int_equal(vault_open(b->key_path, &again, NULL), 0);
    assert_int_equal(vault_fp_key_open(again, sealed, sizeof(sealed), NULL), 0);
    assert_true(fp_equal(before, print_of(again, "made-up")));
    assert_false(fp_equal(before, print_of(again, "made-uq")));
    assert_false(fp_is_none(before));
    vault_free(again);
}

static void fingerprints_survive_a_change_of_the_vault_key(void **state)
{
    struct bench *b = *state;
    uint8_t sealed[VAULT_FP_KEY_SEALED_LEN];
    assert_int_equal(vault_fp_key_make(b->v, sealed), 0);
    struct fp before = print_of(b->v, "made-up");
    assert_int_equal(vault_fp_key_take(b->other, b->v, sealed), 0);
    assert_true(fp_equal(before, print_of(b->other, "made-up")));

    struct vault *again = NULL;
    assert_int_equal(vault_open(b->other_path, &again, NULL), 0);
    assert_int_equal(vault_fp_key_open(again, sealed, sizeof(sealed), NULL), 0);
    assert_true(fp_equal(before, print_of(again, "made-up")));
    assert_true(
        fp_equal(vault_subject_fp(b->v, "lab", "ada"), vault_subject_fp(again, "lab", "ada")));
    vault_free(again);
}

static void a_damaged_or_foreign_fingerprint_key_is_refused(void **state)
{
    struct bench *b = *state;
    uint8_t sealed[VAULT_FP_KEY_SEALED_LEN];
    struct err_text text = {""};
    assert_int_equal(vault_fp_key_make(b->v, sealed), 0);
    assert_int_equal(vault_fp_key_open(b->other, sealed, sizeof(sealed), &text), ERR_CORRUPT);
    assert_non_null(strstr(text.text, "vault key"));

    struct vault *again = NULL;
    assert_int_equal(vault_open(b->key_path, &again, NULL), 0);
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 1;
        assert_int_equal(vault_fp_key_open(again, sealed, sizeof(sealed), NULL), ERR_CORRUPT);
        sealed[i] ^= 1;
    }
    assert_int_equal(vault_fp_key_open(again, sealed, sizeof(sealed) - 1, NULL), ERR_CORRUPT);
    assert_int_equal(vault_fp_key_open(again, sealed, 0, NULL), ERR_CORRUPT);
    assert_int_equal(vault_fp_key_open(again, sealed, sizeof(sealed), NULL), 0);
    vault_free(again);
}

static void tokens_and_subjects_never_share_a_fingerprint(void **state)
{
    struct bench *b = *state;
    uint8_t sealed[VAULT_FP_KEY_SEALED_LEN];
    assert_int_equal(vault_fp_key_make(b->v, sealed), 0);
    struct fp subject = vault_subject_fp(b->v, "", "ada");
    assert_false(fp_equal(subject, print_of(b->v, "ada")));
    struct secret joined = {0};
    assert_int_equal(secret_set(&joined, "\0ada", 4), 0);
    assert_false(fp_equal(subject, vault_fingerprint(b->v, &joined)));
    secret_clear(&joined);

    /* Where the provider ends matters. */
    assert_false(fp_equal(vault_subject_fp(b->v, "ab", "c"), vault_subject_fp(b->v, "a", "bc")));
    assert_true(fp_equal(vault_subject_fp(b->v, "ab", "c"), vault_subject_fp(b->v, "ab", "c")));
}

static void nothing_has_the_fingerprint_none(void **state)
{
    struct bench *b = *state;
    uint8_t sealed[VAULT_FP_KEY_SEALED_LEN];
    assert_int_equal(vault_fp_key_make(b->v, sealed), 0);
    struct secret none = {0};
    assert_true(fp_is_none(vault_fingerprint(b->v, &none)));
    assert_true(fp_is_none(vault_subject_fp(b->v, "lab", "")));
}

/* Intents and sealed answers */

static void an_intents_secret_is_its_own_and_repeatable(void **state)
{
    struct bench *b = *state;
    uint8_t one[VAULT_INTENT_SECRET_LEN];
    uint8_t again[VAULT_INTENT_SECRET_LEN];
    uint8_t two[VAULT_INTENT_SECRET_LEN];
    uint8_t foreign[VAULT_INTENT_SECRET_LEN];
    vault_intent_secret(b->v, 1, one);
    vault_intent_secret(b->v, 1, again);
    vault_intent_secret(b->v, 2, two);
    vault_intent_secret(b->other, 1, foreign);
    assert_memory_equal(one, again, sizeof(one));
    assert_memory_not_equal(one, two, sizeof(one));
    assert_memory_not_equal(one, foreign, sizeof(one));
}

static void a_box_opens_for_the_vault_it_is_addressed_to(void **state)
{
    struct bench *b = *state;
    static const uint8_t plain[] = "an answer";
    uint8_t box[crypto_box_SEALBYTES + sizeof(plain)];
    struct buf out;
    buf_init_secret(&out, 64);
    assert_int_equal(crypto_box_seal(box, plain, sizeof(plain), vault_box_public(b->v)), 0);
    assert_int_equal(vault_box_open(b->v, box, sizeof(box), &out), 0);
    assert_int_equal(out.len, sizeof(plain));
    assert_memory_equal(out.bytes, plain, sizeof(plain));

    buf_clear(&out);
    assert_int_equal(vault_box_open(b->other, box, sizeof(box), &out), ERR_CORRUPT);
    for (size_t i = 0; i < sizeof(box); i++) {
        box[i] ^= 0x80;
        assert_int_equal(vault_box_open(b->v, box, sizeof(box), &out), ERR_CORRUPT);
        box[i] ^= 0x80;
    }
    for (size_t len = 0; len < sizeof(box); len++) {
        assert_int_equal(vault_box_open(b->v, box, len, &out), ERR_CORRUPT);
    }
    assert_int_equal(out.len, 0);
    buf_release(&out);
    buf_init_secret(&out, 4);
    assert_int_equal(vault_box_open(b->v, box, sizeof(box), &out), ERR_TOO_LARGE);
    buf_release(&out);
}

/* What a past version wrote must open for ever. The first two values were also computed apart from
 * libsodium, from the definitions of crypto_kdf and X25519. */
#define FROZEN_BOX_PUBLIC "819fc9e0f2258e4259af6c588c9621744cc1b3d1cdcf0d208e6ea3e6c45baa6d"
#define FROZEN_INTENT_42  "056050145fa9539ad35f4b390b6fea2c30c3199d46f8cab632adfe49fca5f411"
#define FROZEN_FP_KEY                                                                              \
    "0194b09eee5ac6db0e84137fb5a632d48215aedbf011be6c6efcc09d15344912ac5329c8f431ab8193f92aa31be2" \
    "e82e5a61a230c64b1fcdc37afdb14d9357af0020d01e65cc5e432a"
#define FROZEN_FP      "387693edda1a426d29b3b33ba08ef032"
#define FROZEN_SUBJECT "7c2983edb1720b760284b8dba3773424"
#define FROZEN_PAIR                                                                                \
    "0134072e80852d6e2fdfc1c35c80932ef33c54943fe1159b0c55647bb9a1ec7fd55110cfec90ad26adb4ee1e5e71" \
    "33a75ff5a6d7f99f77646cb5fa5ecfa8b70e2ce13b47f9415049e3d3adef1ed6ae59f9b3343255b033ebfd091c94" \
    "4d1229e5ac77180c30523ddca1fb8b0b0c"

static void assert_hex(const uint8_t *bytes, size_t len, const char *expected)
{
    char hex[65];
    assert_true(len <= 32);
    hex_encode(bytes, len, hex);
    assert_string_equal(hex, expected);
}

static void the_stored_forms_do_not_change(void **state)
{
    struct bench *b = *state;
    struct vault *v = NULL;
    write_file(b->key_path, KEY_LINE, sizeof(KEY_LINE) - 1, 0600);
    assert_int_equal(vault_open(b->key_path, &v, NULL), 0);
    assert_hex(vault_box_public(v), VAULT_BOX_PUBLIC_LEN, FROZEN_BOX_PUBLIC);
    uint8_t intent[VAULT_INTENT_SECRET_LEN];
    vault_intent_secret(v, 42, intent);
    assert_hex(intent, sizeof(intent), FROZEN_INTENT_42);

    uint8_t fp_key[VAULT_FP_KEY_SEALED_LEN];
    assert_int_equal(hex_decode(FROZEN_FP_KEY, fp_key, sizeof(fp_key)), 0);
    assert_int_equal(vault_fp_key_open(v, fp_key, sizeof(fp_key), NULL), 0);
    assert_hex(print_of(v, "made-up-refresh").bytes, FP_LEN, FROZEN_FP);
    assert_hex(vault_subject_fp(v, "lab", "ada").bytes, FP_LEN, FROZEN_SUBJECT);

    uint8_t sealed[(sizeof(FROZEN_PAIR) - 1) / 2];
    struct tokens expected;
    struct tokens t = {0};
    make_tokens(&expected);
    assert_int_equal(hex_decode(FROZEN_PAIR, sealed, sizeof(sealed)), 0);
    assert_int_equal(vault_unseal(v, 5, 6, sealed, sizeof(sealed), &t), 0);
    assert_tokens_equal(&t, &expected);
    tokens_clear(&t);
    tokens_clear(&expected);
    vault_free(v);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        STORY(key_file_is_private_and_readable_text),
        STORY(key_file_is_never_replaced),
        STORY(two_keys_differ),
        STORY(key_file_open_to_others_is_refused),
        STORY(key_file_of_another_user_is_refused),
        STORY(damaged_key_files_are_refused),
        STORY(what_is_no_file_is_refused),
        STORY(a_sealed_pair_opens_in_its_place),
        STORY(sealing_twice_gives_two_forms),
        STORY(the_overhead_is_as_told),
        STORY(any_flipped_bit_is_noticed),
        STORY(a_moved_pair_does_not_open),
        STORY(the_largest_tokens_fit),
        STORY(a_full_buffer_is_told_and_unchanged),
        STORY(a_fingerprint_is_the_same_after_a_restart),
        STORY(fingerprints_survive_a_change_of_the_vault_key),
        STORY(a_damaged_or_foreign_fingerprint_key_is_refused),
        STORY(tokens_and_subjects_never_share_a_fingerprint),
        STORY(nothing_has_the_fingerprint_none),
        STORY(an_intents_secret_is_its_own_and_repeatable),
        STORY(a_box_opens_for_the_vault_it_is_addressed_to),
        STORY(the_stored_forms_do_not_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

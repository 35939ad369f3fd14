/*
 * The key file: one line of text, so that a person can see what it is, copy it to paper, and tell
 * a damaged one from a good one.
 *
 *     credwarden-vault-key-1 <64 lower-case hex digits>\n
 *
 * The number is the form's; a higher one is refused as newer. The key passes only through secret
 * memory on its way in and out.
 */
#include "vault/internal.h"

#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/secret.h"
#include "sys/file.h"
#include "vault/vault.h"

#define FORM     "credwarden-vault-key-"
#define HEAD     FORM "1 "
#define FORM_LEN (sizeof(FORM) - 1)
#define HEAD_LEN (sizeof(HEAD) - 1)
#define HEX_LEN  ((size_t)2 * VAULT_KEY_LEN)
#define LINE_LEN (HEAD_LEN + HEX_LEN + 1)
#define FILE_MAX 256

/* FORM, another number than 1, a space. */
static bool is_newer(const char *text)
{
    if (strncmp(text, FORM, FORM_LEN) != 0) {
        return false;
    }
    size_t digits = strspn(text + FORM_LEN, "0123456789");
    return digits > 0 && text[FORM_LEN] != '0' && text[FORM_LEN + digits] == ' ' &&
           strncmp(text, HEAD, HEAD_LEN) != 0;
}

static int parse(const struct buf *line, uint8_t ret[VAULT_KEY_LEN])
{
    const char *text = buf_text(line);
    if (is_newer(text)) {
        return ERR_NEWER;
    }
    if (line->len != LINE_LEN || memcmp(text, HEAD, HEAD_LEN) != 0 || text[LINE_LEN - 1] != '\n' ||
        strspn(text + HEAD_LEN, "0123456789abcdef") != HEX_LEN) {
        return ERR_CORRUPT;
    }
    size_t len = 0;
    /* Constant-time, unlike base's. */
    int r = sodium_hex2bin(ret, VAULT_KEY_LEN, text + HEAD_LEN, HEX_LEN, NULL, &len, NULL);
    return r == 0 && len == VAULT_KEY_LEN ? 0 : ERR_CORRUPT;
}

int vault_key_read(const char *path, uint8_t ret[VAULT_KEY_LEN], struct err_text *text)
{
    struct buf line;
    buf_init_secret(&line, FILE_MAX);
    int err = file_read_private(path, FILE_MAX, &line, text);
    if (err == ERR_NOT_FOUND) {
        (void)err_say(text, err,
                      "%s is not there; put it back, for without it the stored pairs stay sealed",
                      path);
    } else if (err == ERR_TOO_LARGE || err == ERR_INVALID) {
        err = ERR_CORRUPT; /* the text says what it is instead */
    } else if (err == 0) {
        err = parse(&line, ret);
        if (err == ERR_NEWER) {
            (void)err_say(text, err, "%s is a vault key of a newer credwarden: upgrade", path);
        } else if (err == ERR_CORRUPT) {
            (void)err_say(text, err,
                          "%s is not a vault key: one line \"" HEAD
                          "<64 hex digits>\" was expected; put the right file back, for without "
                          "it the stored pairs stay sealed",
                          path);
        }
    }
    buf_release(&line);
    return err;
}

/* The line for a fresh random key. */
static int make_line(struct buf *line)
{
    uint8_t *key = secret_alloc(VAULT_KEY_LEN);
    int err = key == NULL ? ERR_NOMEM : buf_add_str(line, HEAD);
    if (err == 0) {
        char *hex = (char *)buf_reserve(line, HEX_LEN + 1);
        if (hex == NULL) {
            err = ERR_NOMEM;
        } else {
            randombytes_buf(key, VAULT_KEY_LEN);
            CHECK(sodium_bin2hex(hex, HEX_LEN + 1, key, VAULT_KEY_LEN) == hex);
            hex[HEX_LEN] = '\n';
            buf_commit(line, HEX_LEN + 1);
        }
    }
    secret_free(key);
    return err;
}

int vault_create_key(const char *key_path, struct err_text *text)
{
    if (sodium_init() < 0) {
        return err_say(text, ERR_UNSUPPORTED, "the system gives no random bytes");
    }
    struct buf line;
    buf_init_secret(&line, FILE_MAX);
    int err = make_line(&line);
    if (err == 0) {
        err = file_create(key_path, line.bytes, line.len, text);
    } else {
        (void)err_say(text, err, "no secret memory is left");
    }
    buf_release(&line);
    return err;
}

/*
 * The vault key's file: what is not exactly such a line opens no vault.
 */
#include "files.h"

#include <sodium.h>

#include "vault/vault.h"

static struct folder folder = {.fd = -1};

static bool is_key_line(const uint8_t *bytes, size_t len)
{
    static const char head[] = "credwarden-vault-key-1 ";
    size_t head_len = sizeof(head) - 1;
    if (len != head_len + 65 || memcmp(bytes, head, head_len) != 0 || bytes[len - 1] != '\n') {
        return false;
    }
    for (size_t i = head_len; i + 1 < len; i++) {
        if (bytes[i] == '\0' || strchr("0123456789abcdef", bytes[i]) == NULL) {
            return false;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct vault *vault = NULL;
    struct err_text text = {""};
    CHECK(sodium_init() >= 0);
    open_folder(&folder);
    write_file(&folder, "key", bytes, len, 0);
    int err = vault_open(path_of(&folder, "key"), &vault, &text);
    CHECK((err == 0) == is_key_line(bytes, len));
    CHECK(err == 0 ? vault != NULL : vault == NULL && text.text[0] != '\0');
    CHECK(err == 0 || err == ERR_CORRUPT || err == ERR_NEWER);
    vault_free(vault);
    return 0;
}

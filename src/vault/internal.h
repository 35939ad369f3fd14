/*
 * What the files of the vault share.
 */
#ifndef VAULT_INTERNAL_H
#define VAULT_INTERNAL_H

#include <stdint.h>

#include "base/err.h"

#define VAULT_KEY_LEN 32

/* The key in the file into `ret`, which is secret memory. Errors as vault_open(). */
int vault_key_read(const char *path, uint8_t ret[VAULT_KEY_LEN], struct err_text *text);

#endif

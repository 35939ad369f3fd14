/*
 * A malloc family that wipes what it frees, for libcurl: its copies of request heads and answers
 * hold tokens. Not locked memory: the process is short-lived, not dumpable, and the buffers that
 * hold tokens for longer (base/secret.h) are ours.
 */
#ifndef ISSUER_SPENDER_MEMORY_H
#define ISSUER_SPENDER_MEMORY_H

#include <stddef.h>

void *wiping_malloc(size_t size);
void *wiping_calloc(size_t n, size_t size);
void *wiping_realloc(void *p, size_t size);
char *wiping_strdup(const char *text);
void wiping_free(void *p);

#endif

/*
 * Files and terminals, as a command meets them. With client.c and start.c the only place of the
 * command line with system calls (it may not link sys: a cached `token` must cost no more than
 * starting a program).
 */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/paths.h"

#define CREDENTIAL_MAX (1024 * 1024 - 1) /* what the API takes */
#define FILE_PATH_SIZE 4096

/* A credential file, read whole into secret memory. */
struct credential {
    char *bytes;
    size_t len;
    int64_t changed_wall_ms;     /* its mtime; 0 for standard input */
    char source[FILE_PATH_SIZE]; /* absolute path, or "stdin" */
};

/* `path` "-" is standard input, unless that is a terminal. The sentence says what is wrong:
 * missing, unreadable, a folder, not a regular file, empty, beyond CREDENTIAL_MAX. */
int credential_read(const char *path, struct credential *ret, struct err_text *text);
void credential_clear(struct credential *c); /* wiped. NULL-tolerant */

/* As seen from the current folder; symbolic links are not followed. */
int path_absolute(const char *path, char *ret, size_t size, struct err_text *text);

/* All of it, unbuffered, so that no copy of a token stays behind in stdio. */
int write_out(const void *bytes, size_t len, struct err_text *text);

bool stdin_is_terminal(void);
bool stderr_is_terminal(void);

/* Asks on standard error, reads a line from standard input; true for "y" and "yes". */
bool confirm(const char *question);

/* paths_world's question about /run/user/UID. */
bool dir_is_ours(const char *dir, uint32_t uid);

/* The socket of the daemon, by the rule of base/paths.h. */
int find_socket(char ret[PATHS_SIZE], bool *ret_given, struct err_text *text);

#endif

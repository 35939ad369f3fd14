/*
 * A client of the lab: its options, the two ways to come to an access token, and one HTTP call.
 * README.md describes the behaviour.
 */
#ifndef LAB_CLIENT_H
#define LAB_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CLIENT_CALL_MAX_MS    10000 /* for a whole answer */
#define CLIENT_ANSWER_MAX     (1024 * 1024)
#define CLIENT_COMMAND_MAX_MS 30000 /* for the token command */
#define CLIENT_TOKEN_SIZE     (16 * 1024 + 1)
#define CLIENT_ERROR_SIZE     96
#define CLIENT_PROCESSES_MAX  64

struct client {
    const char *lab; /* "http://127.0.0.1:PORT" */
    const char *name;
    const char *store;    /* file; NULL: by command */
    char *const *command; /* argv, NULL-terminated; NULL: by store */
    int64_t processes;
    int64_t period_ms, ahead_ms, until_ms;
};

/* How an attempt to come to an access token ended. */
enum fetch {
    FETCH_TOKEN,
    FETCH_FAILED, /* `error` says why; the next period may do better */
    FETCH_DIED,   /* the login is over: `error` is the word for it */
};

/* As today's tools do it. `bad` is the access token that was just refused, NULL at first: another
 * one in the file is taken as it is, the same one is refreshed. */
enum fetch store_fetch(const struct client *c, const char *bad, char token[CLIENT_TOKEN_SIZE],
                       char error[CLIENT_ERROR_SIZE]);
/* By asking the command. */
enum fetch command_fetch(const struct client *c, char token[CLIENT_TOKEN_SIZE],
                         char error[CLIENT_ERROR_SIZE]);

/* One POST on a connection of its own. ERR_INVALID: not a loopback URL, or the answer is not HTTP.
 * ERR_TIMEOUT, ERR_IO, ERR_CLOSED (torn), ERR_TOO_LARGE. `bearer` may be NULL. */
int client_post(const struct client *c, const char *path, const char *bearer, const char *type,
                const char *body, int *ret_status, struct buf *out);

#endif

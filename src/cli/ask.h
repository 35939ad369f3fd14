/*
 * From a request to an exit code: reach the daemon (and start it on first need), ask, print. What
 * every command is made of.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <stdarg.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/command.h"
#include "cli/request.h"
#include "cli/response.h"

#define REACH_TIME_MS 10000 /* from the first try to a daemon that listens */

/* One line on standard error, "credwarden: …"; returns `code`, so that `return fail(…)` reads well.
 */
enum exit_code fail(enum exit_code code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
enum exit_code fail_text(enum exit_code code, const struct err_text *text);

struct reply {
    struct response response;
    struct buf body;
    int peer_pid;    /* of the daemon that answered; 0 not known */
    int watch;       /* from ask_running(): for peer_await_end(); -1: cannot be watched */
    bool out_failed; /* a stream ended because standard output takes no more */
};
void reply_release(struct reply *r); /* wiped when secret. NULL-tolerant */

/* A connection, to a daemon that is started if it must be and may be. ERR_CLOSED: none runs. */
int reach_daemon(bool may_start, int *ret_fd, bool *ret_started, struct err_text *text);

/* Asks; `accept` is set by in->json. A GET that a dying daemon left unanswered is asked again: it
 * changes nothing, and the next daemon knows all that is durable. EXIT_OK: an answer arrived,
 * whatever it says; `ret` is then the caller's to release. Otherwise told on standard error. */
enum exit_code ask(const struct invocation *in, struct request *r, struct reply *ret);

/* Asks the daemon that runs, if one does, and starts none. `ret_runs` false: none, `ret` is empty,
 * EXIT_OK. Its process is watched from before the question on. */
enum exit_code ask_running(const struct invocation *in, struct request *r, struct reply *ret,
                           bool *ret_runs);

/* EXIT_OK for success. A problem goes to standard error; its exit code is that of its
 * Credwarden-Code in base/exits.h. */
enum exit_code check_reply(const struct invocation *in, struct reply *reply);

/* ask(), check_reply(), and the body on standard output as it is. */
enum exit_code ask_and_print(const struct invocation *in, struct request *r);

/* The body without the line feeds at its end, to stand in a line of ours. */
const char *body_line(struct reply *reply);

/* A duration option, checked: EXIT_USAGE names it. `ret_ms` is untouched when it was not given. */
enum exit_code duration_option(const struct invocation *in, const char *name, int64_t *ret_ms);
/* A whole number from `min`. */
enum exit_code number_option(const struct invocation *in, const char *name, int64_t min);
/* EXIT_USAGE when `name` (NULL: none was given) is no policy. In policy.c. */
enum exit_code check_policy(const char *name);

#endif

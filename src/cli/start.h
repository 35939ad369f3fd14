/*
 * The daemon as a process: starting it on first need, or in the foreground.
 *
 * `credwardend --ready-fd 3` writes one line there: "ready" when it listens, "already" when another
 * daemon holds the lock (it then ends), or what went wrong. So when several commands race, each may
 * start one, and the lock decides.
 */
#ifndef CLI_START_H
#define CLI_START_H

#include "base/err.h"

#define START_TIME_MS  10000 /* for the line to arrive */
#define START_LINE_MAX 400

enum started {
    STARTED_READY,   /* ours listens */
    STARTED_ALREADY, /* another one listens, or will, or is on its way out */
};

/* In a session of its own, with a clean environment, at "/", nothing inherited. ERR_NOT_FOUND: no
 * credwardend; ERR_TIMEOUT; ERR_IO: it said what went wrong. */
int daemon_start(enum started *ret, struct err_text *text);

/* This process becomes the daemon with this option, and another (NULL: none), environment and
 * descriptors 0–2 as they are. Returns on failure. */
int daemon_become(const char *option, const char *more, struct err_text *text);

/* The entries of `from` that a daemon may have, in `to` (room for as many, and the NULL). */
void clean_environment(char *const *from, char **to);

/* Descriptors 0–2 that are closed are opened so that using them fails: otherwise the next socket
 * would become standard output. */
void guard_standard_descriptors(void);

/* This process becomes that program, looked for in PATH, with its environment as it is. Returns on
 * failure: ERR_NOT_FOUND, or what the system said. */
int program_become(char *const *argv, struct err_text *text);

#endif

/*
 * Exit codes of the command line, and the problem codes of the API they come from. One table:
 * the man page, `help` and the API's `problem+json` are held against it by a test.
 */
#ifndef BASE_EXITS_H
#define BASE_EXITS_H

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,  /* anything not listed below */
    EXIT_USAGE = 2,   /* the command line itself is wrong */
    EXIT_UNKNOWN = 3, /* no such profile, provider, … */
    EXIT_POLICY = 4,  /* refused by policy or limit: names the command that changes it */
    EXIT_SIGN_IN = 5, /* the login is over: sign in again */
    EXIT_LATER = 6,   /* not now: in doubt, throttled, unreachable, busy, timed out */
    EXIT_DAEMON = 7,  /* the daemon cannot be reached or started */
    EXIT_INPUT = 8,   /* a file or standard input is not what it should be */
};

struct problem_kind {
    const char *code; /* "profile-unknown": the last part of the problem's type URI */
    int http_status;
    enum exit_code exit;
    const char *title; /* one line, fixed */
};

/* Look a code up; an unknown code gives the entry "internal". Never NULL. */
const struct problem_kind *problem_find(const char *code);
const struct problem_kind *problem_at(unsigned i); /* NULL past the end */

#endif

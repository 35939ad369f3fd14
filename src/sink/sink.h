/*
 * A sink: a place that only we write. It is given the access token of a profile and never a refresh
 * token, so whoever reads there can spend nothing. What a place is, its kind says:
 *
 *     json      FILE#PATH=VALUE,…   members of a JSON file, by their dotted paths. Every other byte
 *                                   of the file stays (json/change.h). VALUE is access, expires_at,
 *                                   expires_ms, profile or label; one must be access.
 *                                   /home/u/app.json#auth.token=access,auth.expires=expires_ms
 *     env       FILE, FILE#NAME     lines NAME=value, as both systemd (EnvironmentFile=) and a
 *                                   shell read them: the token as NAME, and when it ends as
 *                                   NAME_EXPIRES_AT; without a NAME as CREDWARDEN_TOKEN and
 *                                   CREDWARDEN_EXPIRES_AT. Every other line stays.
 *
 *     template  IN→OUT, IN=>OUT     OUT is IN with {{access_token}}, {{expires_at}},
 *                                   {{expires_ms}}, {{profile}} and {{label}} filled in
 *
 *     exec      COMMAND             run by /bin/sh with one line of JSON on its standard input:
 *                                   access_token, expires_at, profile, label
 *
 * Paths are absolute. expires_at is RFC 3339 in UTC, expires_ms is Unix time; an end that is not
 * known is null in JSON, no line in an env file, and nothing, or 0, in a template.
 *
 * A file is read whole, replaced durably (sys/file_swap.h), and left alone when those very bytes
 * stand there. It keeps its mode and owner, 0600 where it is new; links to it are followed. What
 * else writes it at the same time is not overwritten: it is read anew, a few times.
 *
 * What a template makes may be a program's text, and it cannot be known how that quotes. So a token
 * that is more than RFC 6750 §2.1 lets a token be is refused there; and of a label, which comes
 * from a server, letters, digits, blanks, what is not ASCII, and . _ @ + - stay: the rest becomes
 * _.
 *
 * A command gets PATH, HOME, LANG, USER, and XDG_… of our environment, the folder /, and no
 * descriptor but 0 (its input, which it may leave unread), 1 and 2 (/dev/null). After
 * SINK_COMMAND_MS it is killed with all of its process group; what it leaves running when it ends
 * is not waited for.
 */
#ifndef SINK_SINK_H
#define SINK_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/time.h"

#define SINK_PLACE_MAX  4096         /* bytes of a place's text, with its NUL */
#define SINK_FILE_MAX   (512 * 1024) /* bytes of a file, before and after */
#define SINK_COMMAND_MS (10 * SECOND_MS)

struct sink_values {
    const struct secret *access; /* not none */
    int64_t expires_wall_ms;     /* 0: not known */
    const char *profile;         /* its name */
    const char *label;           /* e-mail or the like; "": not known */
};

const char *sink_kind_at(unsigned i); /* NULL past the last */
bool sink_is_kind(const char *kind);

/* Whether this can be a place of that kind: its text alone is looked at, nothing is touched.
 * ERR_INVALID, ERR_TOO_LARGE: `text` says what was expected. */
int sink_check(const char *kind, const char *place, struct err_text *text);

/* Waits for the disk, and for a command: for a worker thread. Any number of threads may be here at
 * once; files are written one at a time. Durable on return, and for a command: it has exited with
 * 0. `text` says what is wrong, and never holds a value.
 *
 * ERR_INVALID: as sink_check(); what stands in the file is not what the kind changes, or it is no
 * regular file; the template has a fault; or a value cannot stand there. ERR_TOO_LARGE: a file
 * above SINK_FILE_MAX. ERR_NOT_FOUND: no template. ERR_CONFLICT: others write the file all the
 * time. ERR_TIMEOUT: the command was killed. ERR_IO also: it failed, by its exit code or a signal.
 * ERR_DENIED, ERR_FULL, ERR_BUSY, ERR_NOMEM: as ever. Nothing was changed, but where the last step
 * failed (the syncing of the folder), or by the command. */
int sink_put(const char *kind, const char *place, const struct sink_values *v,
             struct err_text *text);

#endif

/*
 * Errors: one enum for the whole program.
 *
 * Every function that can fail returns `int`: 0, or one of these negative values.
 * Parts return errors; only daemon/ and cli/ print them, so each failure is told once.
 * `ret_` arguments are untouched on failure.
 *
 * A function whose failure a person must understand (a file, a line, a field) also takes a
 * `struct err_text *` (NULL allowed) and fills it with one sentence: what was found, where,
 * what was expected, what to do. The sentence never holds a token or a part of one.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
    ERR_OK = 0,
    ERR_NOMEM = -1,        /* an allocation failed, or a limit on locked memory */
    ERR_TOO_LARGE = -2,    /* input beyond its documented maximum */
    ERR_INVALID = -3,      /* input that does not parse or validate */
    ERR_NOT_FOUND = -4,    /* no such thing */
    ERR_EXISTS = -5,       /* already there */
    ERR_BUSY = -6,         /* a bounded resource is full; try again */
    ERR_DENIED = -7,       /* the system said no (EACCES, EPERM, EROFS) */
    ERR_IO = -8,           /* the disk or a descriptor failed */
    ERR_FULL = -9,         /* no space left, quota, file size limit */
    ERR_CORRUPT = -10,     /* stored bytes are not what was stored */
    ERR_NEWER = -11,       /* written by a newer version: refused, untouched */
    ERR_LOCKED = -12,      /* somebody else holds the lock */
    ERR_TIMEOUT = -13,     /* the time allowed is over */
    ERR_CLOSED = -14,      /* the peer is gone */
    ERR_UNSUPPORTED = -15, /* this system or provider cannot */
    ERR_CONFLICT = -16,    /* compare-and-swap found something else */
    ERR_INSECURE = -17,    /* owner or mode of a file or folder is not private to us */
    ERR_AGAIN = -18,       /* would block */
};

/* Short stable name: "too-large". Never NULL. */
const char *err_name(int err);

/* Why, for a person, to stand behind a colon: "there is not enough memory". Never NULL. */
const char *err_reason(int err);

/* errno → enum err; unknown values become ERR_IO. */
int err_from_errno(int errnum);

#define ERR_TEXT_MAX 512

struct err_text {
    char text[ERR_TEXT_MAX]; /* NUL-terminated UTF-8; cut at the maximum */
};

/* Fill *text (NULL allowed) and return `err`, so that `return err_say(t, ERR_INVALID, …)` reads
 * well. Control bytes in the result are replaced by '?': file names are outside input. */
#define err_say(text, err, ...)                                                                    \
    ({                                                                                             \
        int err_said_ = (err);                                                                     \
        err_fill((text), __VA_ARGS__);                                                             \
        err_said_; /* in the open: the analyzers follow which error it is */                       \
    })
void err_fill(struct err_text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif

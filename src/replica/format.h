/*
 * A client's store as bytes: what stands in it, and the same store with another login in it.
 *
 * A format is data: which members of a JSON document are the login's. The rest is somebody else's
 * (the machine's, another program's), and every byte of it stays as it is (json/change.h). All of
 * it was seen with the real clients or is documented by them; the file of a format says which.
 *
 * What a store says of who is signed in there is a hint and never proof.
 */
#ifndef REPLICA_FORMAT_H
#define REPLICA_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/tokens.h"
#include "base/words.h"

#define REPLICA_STORE_MAX (512 * 1024) /* bytes of a store; larger ones are not looked at */

struct copy {
    enum seen what;
    /* SEEN_PAIR; a refresh token of none: an access token alone. */
    struct tokens tokens;
    int64_t expires_wall_ms;        /* 0: not known */
    int64_t login_deadline_wall_ms; /* 0: not known */
    /* What else goes with this login in this format: a JSON object of path → value, in secret
     * memory. Empty: not known; written so, those members stay as they are. */
    struct buf account;
};
void copy_init(struct copy *c); /* SEEN_GONE */
void copy_clear(struct copy *c);

struct format;
const struct format *format_find(const char *name); /* "claude", …; NULL: none */
const struct format *format_at(unsigned i);         /* NULL past the end */
const char *format_name(const struct format *f);
/* The variable of the environment that gives a client its folder; NULL: there is none. */
const char *format_folder_variable(const struct format *f);
/* Whether its stores say when an access token is over; else only the token itself does. */
bool format_keeps_expiry(const struct format *f);

/* What `len` bytes hold; `*ret` must have been initialised. 0, and where it is SEEN_TORN `why` says
 * at which place and of which kind the fault is, without quoting; or ERR_NOMEM. A store without any
 * bytes is torn: no client leaves one. */
int format_read(const struct format *f, const char *bytes, size_t len, struct copy *ret,
                struct err_text *why);

/* The store with this copy in it, added to `out` (a secret buffer, unchanged on failure). No bytes:
 * there is no store yet. SEEN_PAIR: exactly these tokens; without a refresh token none is left.
 * SEEN_GONE: nobody is signed in any more. `now_wall_ms` is for clients that note when they wrote.
 * The same bytes come out when the store holds that copy already. ERR_INVALID: the store is torn;
 * ERR_TOO_LARGE, ERR_NOMEM. */
int format_write(const struct format *f, const char *bytes, size_t len, const struct copy *copy,
                 int64_t now_wall_ms, struct buf *out, struct err_text *why);

#endif

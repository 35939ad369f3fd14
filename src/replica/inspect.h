/*
 * What stands in the way of a client, or of us, in its folder. Looked at, never mended.
 */
#ifndef REPLICA_INSPECT_H
#define REPLICA_INSPECT_H

#include <stdint.h>

#include "replica/format.h"

/* One sentence that names the path, and the command that mends it ("": there is none). Valid for
 * the call. */
typedef void (*inspect_cb)(void *ctx, const char *what, const char *mend);

/* The folder, absolute, of a client of this format: locks that nobody gets past, what others may
 * read or write, a note of the client's that names another than `label` (who is signed in there,
 * e.g. an e-mail; "": not known). Blocks on the file system: for a thread of its own. */
void replica_inspect(const struct format *f, const char *folder, const char *label,
                     int64_t now_wall_ms, inspect_cb found, void *ctx);

#endif

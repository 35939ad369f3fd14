/*
 * Noticing that what a path leads to may have changed: written, renamed over, removed, made; a link
 * on the way that leads elsewhere; a folder on the way that goes, or comes.
 *
 * What is watched are folders, never the file: of a file that is renamed over only the first time
 * would be seen. A watch is a hint. Things happen unseen (on network file systems, above a folder
 * that is moved as a whole, when the kernel's queue is full), so whoever needs certainty looks by
 * himself now and then, and calls watch_again() then.
 */
#ifndef SYS_WATCH_H
#define SYS_WATCH_H

#include <uv.h>

#include "base/err.h"

struct watch;
/* May be called for nothing, and once for several changes. May call watch_free(). */
typedef void (*watch_cb)(void *ctx);

/* `path` is absolute; nothing need be there. ERR_BUSY: the system's limits on watches (`text` names
 * the one to raise); ERR_DENIED, ERR_NOMEM, ERR_TOO_LARGE, ERR_INVALID (links in a circle). */
int watch_open(uv_loop_t *loop, const char *path, watch_cb cb, void *ctx, struct watch **ret,
               struct err_text *text);
void watch_free(struct watch *w); /* the loop must run once more. NULL-tolerant */

/* Look anew at what is on the way. On failure it goes on with what could be watched. */
int watch_again(struct watch *w, struct err_text *text);

#endif

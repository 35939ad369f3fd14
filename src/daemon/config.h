/*
 * The daemon's configuration: one INI file, CONFIG/credwarden.ini, section [daemon]. One table in
 * config.c (key, type, bounds, default, doc) is what parsing and documentation come from. An absent
 * file means the defaults; an unknown key or a value out of bounds is an error that names the line.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CONFIG_FILE_MAX (64 * 1024)

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_LEVEL_COUNT };

struct config {
    int64_t log_level;         /* enum log_level */
    int64_t spend_deadline_ms; /* for a token endpoint's answer */
    int64_t ask_deadline_ms;   /* for identity, usage, discovery */
    int64_t spender_idle_ms;   /* the spender goes away after this long without a question */
    int64_t profiles_max;      /* read at start only */
};

void config_defaults(struct config *c);

/* `ret` is untouched on failure: a reload with a wrong file keeps the old configuration. */
int config_read(const char *path, struct config *ret, struct err_text *text);
/* The same for bytes that are there already; `path` is what messages call them. */
int config_parse(const char *path, const struct buf *bytes, struct config *ret,
                 struct err_text *text);

struct config_key {
    const char *key, *type, *fallback, *doc;
};
const struct config_key *config_key_at(unsigned i); /* NULL past the end */

#endif

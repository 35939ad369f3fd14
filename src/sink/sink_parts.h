/*
 * What the kinds of sinks are made of: shared by the files of this folder, and tested by itself.
 */
#ifndef SINK_SINK_PARTS_H
#define SINK_SINK_PARTS_H

#include <stddef.h>

#include "base/buf.h"
#include "sink/sink.h"

#define SINK_PATH_SIZE 4096

struct sink_kind {
    const char *name;
    int (*check)(const char *place, struct err_text *text);
    int (*put)(const char *place, const struct sink_values *v, struct err_text *text);
};
extern const struct sink_kind sink_json, sink_env, sink_template, sink_exec;

/* ---- values ---- */

enum sink_value {
    SINK_VALUE_ACCESS,
    SINK_VALUE_EXPIRES_AT,
    SINK_VALUE_EXPIRES_MS,
    SINK_VALUE_PROFILE,
    SINK_VALUE_LABEL,
    SINK_VALUE_COUNT
};
#define SINK_VALUE_NAMES "access_token, expires_at, expires_ms, profile, label"

/* By its name, of `len` bytes; "access" is access_token. ERR_INVALID. */
int sink_value_find(const char *name, size_t len, enum sink_value *ret);

#define SINK_TIME_SIZE 24
void sink_expires_at(const struct sink_values *v, char ret[SINK_TIME_SIZE]); /* "": not known */

/* The value as JSON, added to `out`, a secret buffer. ERR_INVALID (not UTF-8), ERR_TOO_LARGE,
 * ERR_NOMEM. */
int sink_add_json(enum sink_value value, const struct sink_values *v, struct buf *out);

/* ---- files ---- */

/* The first `len` bytes of a place as the path of a file. ERR_INVALID, ERR_TOO_LARGE. */
int sink_path(const char *place, size_t len, char ret[SINK_PATH_SIZE], struct err_text *text);

/* What the file is to hold instead of `before` (no bytes: it is empty, or not there), added to
 * `out`. The texts of its errors are put behind the file's name. */
typedef int (*sink_change_fn)(const void *ctx, const struct buf *before, struct buf *out,
                              struct err_text *why);
/* As sink_put(), for a path that sink_path() gave. */
int sink_change_file(const char *path, sink_change_fn change, const void *ctx,
                     struct err_text *text);

/* Returns `err`; `text`: the file, and `why`, or the reason of `err` where that is empty. */
int sink_say(int err, const char *path, const struct err_text *why, struct err_text *text);

/* ---- what the kinds make of bytes that are not ours ---- */

/* A text of lines NAME=value in which `name` has this value (NULL: none), added to `out`; in the
 * place of the line that was there, or at the end. ERR_INVALID: that line, or where the text ends,
 * is in a value of more lines than one, as one of its readers would see it. */
int sink_env_set(const char *bytes, size_t len, const char *name, const char *value,
                 struct buf *out, struct err_text *why);

/* A template with the values filled in, added to `out`. ERR_INVALID names the line. */
int sink_template_fill(const char *bytes, size_t len, const struct sink_values *v, struct buf *out,
                       struct err_text *why);

/* ---- commands ---- */

int sink_run(const char *command, const struct sink_values *v, int64_t limit_ms,
             struct err_text *text);

#endif

/*
 * Configuration by table: what a key is called, may be, and means stands in one line.
 */
#include "daemon/config.h"

#include <ini.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "base/time.h"
#include "sys/file.h"

static const char *const levels[LOG_LEVEL_COUNT] = {"error", "warning", "info", "debug"};

static int parse_level(const char *value, int64_t *ret)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (strcmp(value, levels[i]) == 0) {
            *ret = i;
            return 0;
        }
    }
    return ERR_INVALID;
}

static int parse_count(const char *value, int64_t *ret)
{
    return str_to_i64(value, 0, INT64_MAX, ret);
}

static const struct {
    struct config_key doc;
    int (*parse)(const char *value, int64_t *ret);
    size_t offset;
    int64_t min, max;
    const char *bounds;
} keys[] = {
    {{"log_level", "level", "info", "What the log tells: error, warning, info or debug."},
     parse_level,
     offsetof(struct config, log_level),
     0,
     LOG_LEVEL_COUNT - 1,
     "error, warning, info or debug"},
    {{"spend_deadline", "duration", "30s", "How long a token endpoint may take to answer."},
     duration_parse,
     offsetof(struct config, spend_deadline_ms),
     SECOND_MS,
     5 * MINUTE_MS,
     "a duration from 1s to 5m"},
    {{"ask_deadline", "duration", "15s", "The same for identity, usage and discovery."},
     duration_parse,
     offsetof(struct config, ask_deadline_ms),
     SECOND_MS,
     5 * MINUTE_MS,
     "a duration from 1s to 5m"},
    {{"spender_idle", "duration", "20s", "The spender goes away after this long without work."},
     duration_parse,
     offsetof(struct config, spender_idle_ms),
     100,
     HOUR_MS,
     "a duration from 100ms to 1h"},
    {{"profiles_max", "number", "256", "The most profiles at once. Read at start only."},
     parse_count,
     offsetof(struct config, profiles_max),
     1,
     4096,
     "a number from 1 to 4096"},
};

const struct config_key *config_key_at(unsigned i)
{
    return i < ARRAY_LEN(keys) ? &keys[i].doc : NULL;
}

static int64_t *field(struct config *c, size_t offset)
{
    return (int64_t *)(void *)((char *)c + offset);
}

void config_defaults(struct config *c)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        CHECK(keys[i].parse(keys[i].doc.fallback, field(c, keys[i].offset)) == 0);
}

struct reading {
    const char *path;
    const char *at; /* what libinih has not been given yet */
    int line;       /* the one it was given last: its callback does not say */
    struct config config;
    uint32_t seen;
    struct err_text *text;
    int err;
};

/* libinih's reader, like fgets(). A line that does not fit comes in pieces and is refused by the
 * second, which is no key. */
static char *next_line(char *room, int size, void *ctx)
{
    struct reading *r = ctx;
    if (r->at[0] == '\0' || r->err < 0)
        return NULL;
    size_t len = strcspn(r->at, "\n");
    len += r->at[len] == '\n';
    if (len > (size_t)size - 1)
        len = (size_t)size - 1;
    memcpy(room, r->at, len);
    room[len] = '\0';
    r->at += len;
    r->line++;
    return room;
}

static int complain(struct reading *r, const char *what, const char *detail)
{
    r->err = err_say(r->text, ERR_INVALID, "%s:%d: %s%s", r->path, r->line, what, detail);
    return 0; /* stops the parser */
}

static int unknown_key(struct reading *r, const char *name)
{
    const char *names[ARRAY_LEN(keys)];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        names[i] = keys[i].doc.key;
    const char *near = str_nearest(name, names, ARRAY_LEN(keys));
    r->err = err_say(r->text, ERR_INVALID, "%s:%d: unknown key \"%s\"%s%s%s", r->path, r->line,
                     name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return 0;
}

static int on_key(void *ctx, const char *section, const char *name, const char *value)
{
    struct reading *r = ctx;
    if (section[0] == '\0')
        return complain(r, "a key before the section [daemon]: ", name);
    if (strcmp(section, "daemon") != 0)
        return complain(r, "this belongs to no section but [daemon], and stands in ", section);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(name, keys[i].doc.key) != 0)
            continue;
        int64_t parsed;
        if (r->seen & (1u << i))
            return complain(r, "a second ", name);
        r->seen |= 1u << i;
        if (keys[i].parse(value, &parsed) < 0 || parsed < keys[i].min || parsed > keys[i].max) {
            r->err = err_say(r->text, ERR_INVALID, "%s:%d: %s must be %s", r->path, r->line, name,
                             keys[i].bounds);
            return 0;
        }
        *field(&r->config, keys[i].offset) = parsed;
        return 1;
    }
    return unknown_key(r, name);
}

/* UTF-8 without a NUL, or the first line that is not. */
static int check_text(const char *path, const struct buf *bytes, struct err_text *text)
{
    const char *at = buf_text(bytes), *end = at + bytes->len;
    for (int line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop ? stop : end) - at);
        if (!str_is_utf8(at, len) || memchr(at, '\0', len))
            return err_say(text, ERR_INVALID, "%s:%d: not UTF-8 text", path, line);
        at += len + 1;
    }
    return 0;
}

int config_parse(const char *path, const struct buf *bytes, struct config *ret,
                 struct err_text *text)
{
    struct reading r = {.path = path, .at = buf_text(bytes), .text = text};
    config_defaults(&r.config);
    int err = check_text(path, bytes, text);
    if (err < 0)
        return err;
    int line = ini_parse_stream(next_line, &r, on_key, &r);
    if (r.err < 0)
        return r.err;
    if (line != 0)
        return err_say(text, ERR_INVALID, "%s:%d: not a section, a key or a comment", path, line);
    *ret = r.config;
    return 0;
}

int config_read(const char *path, struct config *ret, struct err_text *text)
{
    struct buf bytes;
    buf_init(&bytes, CONFIG_FILE_MAX);
    int err = file_read(path, true, CONFIG_FILE_MAX, &bytes, text);
    if (err == 0)
        err = config_parse(path, &bytes, ret, text);
    else if (err == ERR_NOT_FOUND) {
        config_defaults(ret);
        if (text) /* it is fine; what goes wrong later must not be told in these words */
            text->text[0] = '\0';
        err = 0;
    }
    buf_release(&bytes);
    return err;
}

/*
 * The table of kinds.
 */
#include "sink/sink.h"

#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "base/tokens.h"
#include "sink/sink_parts.h"

static const struct sink_kind *const kinds[] = {&sink_json, &sink_env, &sink_template, &sink_exec};

const char *sink_kind_at(unsigned i)
{
    return i < ARRAY_LEN(kinds) ? kinds[i]->name : NULL;
}

static const struct sink_kind *find(const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i]->name, kind) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

bool sink_is_kind(const char *kind)
{
    return find(kind) != NULL;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

int sink_check(const char *kind, const char *place, struct err_text *text)
{
    const struct sink_kind *k = find(kind);
    if (k == NULL) {
        return err_say(text, ERR_INVALID,
                       "%.40s: no such kind of sink; there are json, env, template, exec", kind);
    }
    size_t len = strnlen(place, SINK_PLACE_MAX);
    if (len == SINK_PLACE_MAX) {
        return err_say(text, ERR_TOO_LARGE, "the place of a sink is a text of at most %d bytes",
                       SINK_PLACE_MAX - 1);
    }
    if (!str_is_utf8(place, len) || has_control(place)) {
        return err_say(text, ERR_INVALID,
                       "the place of a sink is one line of UTF-8 text, without control bytes");
    }
    return k->check(place, text);
}

int sink_put(const char *kind, const char *place, const struct sink_values *v,
             struct err_text *text)
{
    CHECK(v->access->len > 0);
    int err = sink_check(kind, place, text);
    if (err != 0) {
        return err;
    }
    if (!token_is_sendable(v->access->bytes, v->access->len)) {
        return err_say(text, ERR_INVALID, "the access token is not one that can be sent");
    }
    const struct sink_kind *k = find(kind);
    CHECK(k != NULL);
    return k->put(place, v, text);
}

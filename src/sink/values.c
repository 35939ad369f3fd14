/*
 * What a sink can be given.
 */
#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "json/change.h"
#include "sink/sink_parts.h"

int sink_value_find(const char *name, size_t len, enum sink_value *ret)
{
    static const struct {
        const char *name;
        enum sink_value value;
    } names[] = {{"access_token", SINK_VALUE_ACCESS},   {"access", SINK_VALUE_ACCESS},
                 {"expires_at", SINK_VALUE_EXPIRES_AT}, {"expires_ms", SINK_VALUE_EXPIRES_MS},
                 {"profile", SINK_VALUE_PROFILE},       {"label", SINK_VALUE_LABEL}};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strlen(names[i].name) == len && memcmp(names[i].name, name, len) == 0) {
            *ret = names[i].value;
            return 0;
        }
    }
    return ERR_INVALID;
}

void sink_expires_at(const struct sink_values *v, char ret[SINK_TIME_SIZE])
{
    wall_format(v->expires_wall_ms, ret, SINK_TIME_SIZE);
    if (strcmp(ret, "-") == 0) {
        ret[0] = '\0';
    }
}

static int add_string(const char *text, size_t len, struct buf *out)
{
    return len > 0 ? json_add_string(text, len, out) : buf_add_str(out, "null");
}

int sink_add_json(enum sink_value value, const struct sink_values *v, struct buf *out)
{
    char at[SINK_TIME_SIZE];
    switch (value) {
    case SINK_VALUE_ACCESS:
        return json_add_string(v->access->bytes, v->access->len, out);
    case SINK_VALUE_EXPIRES_AT:
        sink_expires_at(v, at);
        return add_string(at, strlen(at), out);
    case SINK_VALUE_EXPIRES_MS:
        return v->expires_wall_ms != 0 ? buf_addf(out, "%" PRId64, v->expires_wall_ms)
                                       : buf_add_str(out, "null");
    case SINK_VALUE_PROFILE:
        return json_add_string(v->profile, strlen(v->profile), out);
    case SINK_VALUE_LABEL:
        return add_string(v->label, strlen(v->label), out);
    case SINK_VALUE_COUNT:
        break;
    }
    return ERR_INVALID;
}

/*
 * Settings: one table for the command line, for GET and POST /lab/config, and for their bounds.
 */
#include <stddef.h>

#include "base/check.h"
#include "base/str.h"
#include "lab/lab.h"

static const char *const dialect_names[DIALECT_COUNT] = {
    [DIALECT_OLDER] = "older",
    [DIALECT_NEWER] = "newer",
    [DIALECT_OIDC] = "oidc",
};

enum setting_type { SETTING_MS, SETTING_COUNT, SETTING_FLAG, SETTING_DIALECT };

struct setting {
    const char *key;    /* in JSON */
    const char *option; /* on the command line, without dashes */
    enum setting_type type;
    size_t offset;
    int64_t min, max; /* SETTING_MS, SETTING_COUNT */
};

#define AT(member)  offsetof(struct settings, member)
#define LIFE_MAX_MS (366 * DAY_MS)
static const struct setting table[] = {
    {"access_life_ms", "access-life", SETTING_MS, AT(rules.access_life_ms), 1, LIFE_MAX_MS},
    {"refresh_life_ms", "refresh-life", SETTING_MS, AT(rules.refresh_life_ms), 1, LIFE_MAX_MS},
    {"grace_ms", "grace", SETTING_MS, AT(rules.grace_ms), 0, LIFE_MAX_MS},
    {"rotate", "rotate", SETTING_FLAG, AT(rules.rotate), 0, 0},
    {"family_revocation", "family-revocation", SETTING_FLAG, AT(rules.family_revocation), 0, 0},
    {"kills_access", "kills-access", SETTING_FLAG, AT(rules.kills_access), 0, 0},
    {"delay_before_ms", "delay-before", SETTING_MS, AT(delay_before_ms), 0, QUIRK_DELAY_MAX_MS},
    {"delay_after_ms", "delay-after", SETTING_MS, AT(delay_after_ms), 0, QUIRK_DELAY_MAX_MS},
    {"stream_pause_ms", "stream-pause", SETTING_MS, AT(stream_pause_ms), 0, QUIRK_DELAY_MAX_MS},
    {"usage_gap_ms", "usage-gap", SETTING_MS, AT(usage_gap_ms), 0, LIFE_MAX_MS},
    {"token_limit", "token-limit", SETTING_COUNT, AT(token_limit), 0, 1000000},
    {"token_window_ms", "token-window", SETTING_MS, AT(token_window_ms), 1, LIFE_MAX_MS},
    {"token_retry_after", "token-retry-after", SETTING_FLAG, AT(token_retry_after), 0, 0},
    {"date_offset_ms", "date-offset", SETTING_MS, AT(date_offset_ms), -LIFE_MAX_MS, LIFE_MAX_MS},
    {"dialect", "dialect", SETTING_DIALECT, AT(dialect), 0, 0},
};
#undef AT

void settings_init(struct settings *s)
{
    *s = (struct settings){
        .rules =
            {
                .access_life_ms = 5 * SECOND_MS,
                .refresh_life_ms = 30 * DAY_MS,
                .rotate = true,
                .family_revocation = true,
            },
        .stream_pause_ms = 20,
        .token_window_ms = SECOND_MS,
        .dialect = DIALECT_NEWER,
    };
}

static int dialect_parse(const char *name, int64_t *ret)
{
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(dialect_names); i++) {
        if (strcmp(dialect_names[i], name) == 0) {
            *ret = (int64_t)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

static int set_number(const struct setting *row, int64_t value, struct settings *s)
{
    if (value < row->min || value > row->max)
        return ERR_INVALID;
    *(int64_t *)((char *)s + row->offset) = value;
    return 0;
}

static int set_option(const struct setting *row, const char *value, struct settings *s)
{
    char *place = (char *)s + row->offset;
    int64_t number;

    switch (row->type) {
    case SETTING_MS:
        return duration_parse(value, &number) != 0 ? ERR_INVALID : set_number(row, number, s);
    case SETTING_COUNT:
        return str_to_i64(value, row->min, row->max, (int64_t *)place);
    case SETTING_FLAG:
        return str_to_bool(value, (bool *)place);
    case SETTING_DIALECT:
        return dialect_parse(value, (int64_t *)place);
    }
    return ERR_INVALID;
}

static int set_json(const struct setting *row, json_t *value, struct settings *s)
{
    char *place = (char *)s + row->offset;

    switch (row->type) {
    case SETTING_MS:
    case SETTING_COUNT:
        return json_is_integer(value) ? set_number(row, json_integer_value(value), s) : ERR_INVALID;
    case SETTING_FLAG:
        if (!json_is_boolean(value))
            return ERR_INVALID;
        *(bool *)place = json_is_true(value);
        return 0;
    case SETTING_DIALECT:
        return dialect_parse(json_string_value(value), (int64_t *)place);
    }
    return ERR_INVALID;
}

static const char *wanted(const struct setting *row, bool json)
{
    switch (row->type) {
    case SETTING_MS:
        return json ? "milliseconds within its bounds" : "a time such as 5s, within its bounds";
    case SETTING_COUNT:
        return "a number within its bounds";
    case SETTING_FLAG:
        return json ? "true or false" : "on or off";
    case SETTING_DIALECT:
        return "older, newer or oidc";
    }
    return "something else";
}

int settings_set_option(struct settings *s, const char *option, const char *value,
                        struct err_text *text)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (strcmp(table[i].option, option) != 0)
            continue;
        if (set_option(&table[i], value, s) != 0)
            return err_say(text, ERR_INVALID, "--%s wants %s, not \"%s\"", option,
                           wanted(&table[i], false), value);
        return 0;
    }
    return err_say(text, ERR_NOT_FOUND, "no option --%s", option);
}

int settings_set_json(struct settings *s, json_t *object, struct err_text *text)
{
    struct settings next = *s;
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return err_say(text, ERR_INVALID, "config: wants an object");
    json_object_foreach(object, key, value)
    {
        size_t i = 0;

        while (i < ARRAY_LEN(table) && strcmp(table[i].key, key) != 0)
            i++;
        if (i == ARRAY_LEN(table))
            return err_say(text, ERR_INVALID, "config: no key \"%s\"", key);
        if (set_json(&table[i], value, &next) != 0)
            return err_say(text, ERR_INVALID, "%s: wants %s", key, wanted(&table[i], true));
    }
    *s = next;
    return 0;
}

json_t *settings_json(const struct settings *s)
{
    json_t *object = json_object();

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *place = (const char *)s + table[i].offset;
        json_t *value = NULL;

        switch (table[i].type) {
        case SETTING_MS:
        case SETTING_COUNT:
            value = json_integer(*(const int64_t *)place);
            break;
        case SETTING_FLAG:
            value = json_boolean(*(const bool *)place);
            break;
        case SETTING_DIALECT:
            value = json_string(dialect_names[*(const int64_t *)place]);
            break;
        }
        json_object_set_new(object, table[i].key, value);
    }
    return object;
}

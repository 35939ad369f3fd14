/*
 * Quirks: one table drives parsing, bounds and the names in the event log.
 */
#include "lab/quirks.h"

#include <stddef.h>

#include "base/check.h"
#include "base/str.h"

enum field_type { FIELD_FLAG, FIELD_NUMBER, FIELD_TEXT, FIELD_OBJECT, FIELD_ARRAY };

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    int64_t min, max;    /* FIELD_NUMBER */
    const char *choices; /* FIELD_TEXT: words; NULL: any */
};

#define AT(member) offsetof(struct quirk, member)
static const struct field fields[] = {
    {"delay_before_ms", FIELD_NUMBER, AT(delay_before_ms), 0, QUIRK_DELAY_MAX_MS, NULL},
    {"delay_after_ms", FIELD_NUMBER, AT(delay_after_ms), 0, QUIRK_DELAY_MAX_MS, NULL},
    {"lose_before_commit", FIELD_FLAG, AT(lose_before_commit), 0, 0, NULL},
    {"lose_after_commit", FIELD_FLAG, AT(lose_after_commit), 0, 0, NULL},
    {"commit", FIELD_FLAG, AT(commit), 0, 0, NULL},
    {"status", FIELD_NUMBER, AT(status), 200, 599, NULL},
    {"body", FIELD_TEXT, AT(body), 0, 0, "json html nested empty"},
    {"error", FIELD_TEXT, AT(error), 0, 0, NULL},
    {"redirect", FIELD_TEXT, AT(redirect), 0, 0, NULL},
    {"retry_after", FIELD_TEXT, AT(retry_after), 0, 0, NULL},
    {"retry_after_date_s", FIELD_NUMBER, AT(retry_after_date_s), -86400, 86400, NULL},
    {"content_type", FIELD_TEXT, AT(content_type), 0, 0, NULL},
    {"missing_refresh_token", FIELD_FLAG, AT(missing_refresh_token), 0, 0, NULL},
    {"changed_subject", FIELD_TEXT, AT(changed_subject), 0, 0, NULL},
    {"deny", FIELD_TEXT, AT(deny), 0, 0, "missing unknown expired revoked scope"},
    {"expires_in", FIELD_TEXT, AT(expires_in), 0, 0, "string absent"},
    {"set", FIELD_OBJECT, AT(set), 0, 0, NULL},
    {"unset", FIELD_ARRAY, AT(unset), 0, 0, NULL},
    {"duplicate_key", FIELD_TEXT, AT(duplicate_key), 0, 0, NULL},
    {"non_utf8", FIELD_FLAG, AT(non_utf8), 0, 0, NULL},
    {"huge_mib", FIELD_NUMBER, AT(huge_mib), 1, QUIRK_HUGE_MAX_MIB, NULL},
    {"torn_after", FIELD_NUMBER, AT(torn_after), 0, INT32_MAX, NULL},
    {"drip_ms", FIELD_NUMBER, AT(drip_ms), 1, QUIRK_DELAY_MAX_MS, NULL},
    {"drip_bytes", FIELD_NUMBER, AT(drip_bytes), 1, INT32_MAX, NULL},
};
#undef AT

void quirk_init(struct quirk *q)
{
    *q = (struct quirk){.torn_after = -1, .drip_bytes = 1};
}

void quirk_release(struct quirk *q)
{
    json_decref(q->set);
    json_decref(q->unset);
    quirk_init(q);
}

bool quirk_replaces(const struct quirk *q)
{
    return q->status != 0 || q->body[0] != '\0' || q->error[0] != '\0' || q->redirect[0] != '\0';
}

/* Is the field of `q` something else than in a quirk that does nothing? */
static bool is_set(const struct field *f, const struct quirk *q, const struct quirk *none)
{
    const char *mine = (const char *)q + f->offset;
    const char *idle = (const char *)none + f->offset;

    switch (f->type) {
    case FIELD_FLAG:
        return *(const bool *)mine;
    case FIELD_NUMBER:
        return *(const int64_t *)mine != *(const int64_t *)idle;
    case FIELD_TEXT:
        return mine[0] != '\0';
    case FIELD_OBJECT:
    case FIELD_ARRAY:
        return *(json_t *const *)mine != NULL;
    }
    return false;
}

void quirk_describe(const struct quirk *q, char *ret, size_t size)
{
    struct quirk none;
    size_t used = 0;

    quirk_init(&none);
    ret[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        size_t len = strlen(fields[i].key);

        if (!is_set(&fields[i], q, &none) || used + len + 2 > size)
            continue;
        if (used > 0)
            ret[used++] = '+';
        memcpy(ret + used, fields[i].key, len + 1);
        used += len;
    }
}

static int set_number(const struct field *f, json_t *value, int64_t *ret, struct err_text *text)
{
    if (!json_is_integer(value) || json_integer_value(value) < f->min ||
        json_integer_value(value) > f->max)
        return err_say(text, ERR_INVALID, "%s: wants an integer from %lld to %lld", f->key,
                       (long long)f->min, (long long)f->max);
    *ret = json_integer_value(value);
    return 0;
}

/* A whole number stands for its digits: {"retry_after": 5}. */
static int set_text(const struct field *f, json_t *value, char *ret, struct err_text *text)
{
    const char *word = json_string_value(value);
    char digits[24];

    if (json_is_integer(value)) {
        snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(value));
        word = digits;
    }
    if (word == NULL || word[0] == '\0' || strlen(word) >= QUIRK_TEXT_SIZE ||
        strpbrk(word, "\r\n") != NULL)
        return err_say(text, ERR_INVALID, "%s: wants a text of 1 to %d bytes on one line", f->key,
                       QUIRK_TEXT_SIZE - 1);
    if (f->choices != NULL) {
        const char *rest = f->choices;
        size_t len = strlen(word);

        while (strncmp(rest, word, len) != 0 || (rest[len] != ' ' && rest[len] != '\0')) {
            rest = strchr(rest, ' ');
            if (rest == NULL)
                return err_say(text, ERR_INVALID, "%s: wants one of: %s", f->key, f->choices);
            rest++;
        }
    }
    return str_copy(ret, QUIRK_TEXT_SIZE, word);
}

static int set_field(const struct field *f, json_t *value, struct quirk *q, struct err_text *text)
{
    char *place = (char *)q + f->offset;

    switch (f->type) {
    case FIELD_FLAG:
        if (!json_is_boolean(value))
            return err_say(text, ERR_INVALID, "%s: wants true or false", f->key);
        *(bool *)place = json_is_true(value);
        return 0;
    case FIELD_NUMBER:
        return set_number(f, value, (int64_t *)place, text);
    case FIELD_TEXT:
        return set_text(f, value, place, text);
    case FIELD_OBJECT:
    case FIELD_ARRAY:
        if (f->type == FIELD_OBJECT ? !json_is_object(value) : !json_is_array(value))
            return err_say(text, ERR_INVALID, "%s: wants an %s", f->key,
                           f->type == FIELD_OBJECT ? "object" : "array of names");
        *(json_t **)place = json_incref(value);
        return 0;
    }
    return ERR_INVALID;
}

static const struct field *field_find(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].key, key) == 0)
            return &fields[i];
    }
    return NULL;
}

static int unknown_key(const char *key, struct err_text *text)
{
    const char *names[ARRAY_LEN(fields)];
    const char *near;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        names[i] = fields[i].key;
    near = str_nearest(key, names, ARRAY_LEN(names));
    if (near != NULL)
        return err_say(text, ERR_INVALID, "quirk: no key \"%s\"; did you mean \"%s\"?", key, near);
    return err_say(text, ERR_INVALID, "quirk: no key \"%s\"", key);
}

int quirk_parse(json_t *object, struct quirk *ret, struct err_text *text)
{
    struct quirk q;
    const char *key;
    json_t *value;
    int err = 0;

    if (!json_is_object(object))
        return err_say(text, ERR_INVALID, "quirk: wants an object");
    quirk_init(&q);
    json_object_foreach(object, key, value)
    {
        const struct field *f = field_find(key);

        err = f == NULL ? unknown_key(key, text) : set_field(f, value, &q, text);
        if (err != 0)
            break;
    }
    if (err == 0 && q.commit && !quirk_replaces(&q))
        err = err_say(text, ERR_INVALID,
                      "commit: goes with status, body, error or redirect; "
                      "other answers commit by themselves");
    if (err != 0)
        quirk_release(&q);
    else
        *ret = q;
    return err;
}

int quirks_init(struct quirks *q)
{
    *q = (struct quirks){0};
    q->queue = calloc(QUIRKS_MAX, sizeof(q->queue[0]));
    return q->queue == NULL ? ERR_NOMEM : 0;
}

void quirks_clear(struct quirks *q)
{
    while (q->n > 0)
        quirk_release(&q->queue[--q->n].quirk);
}

void quirks_release(struct quirks *q)
{
    quirks_clear(q);
    free(q->queue);
    q->queue = NULL;
}

/* "f7" → 7 */
static int family_parse(const char *name, uint32_t *ret)
{
    int64_t id;

    if (name[0] != 'f' || str_to_i64(name + 1, 1, UINT32_MAX, &id) != 0)
        return ERR_INVALID;
    *ret = (uint32_t)id;
    return 0;
}

static int endpoint_check(const char *on)
{
    static const char *const names[] = {"token",    "identity", "usage",
                                        "messages", "resource", "discovery"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], on) == 0)
            return 0;
    }
    return ERR_INVALID;
}

static int script_parse(json_t *object, struct script *ret, struct err_text *text)
{
    struct script s = {.times = 1};
    const char *on, *family = NULL, *subject = NULL;
    json_int_t times = 1;
    json_t *quirk;
    json_error_t error;

    if (json_unpack_ex(object, &error, JSON_STRICT, "{s:s, s?:s, s?:s, s?:I, s:o}", "on", &on,
                       "family", &family, "subject", &subject, "times", &times, "quirk",
                       &quirk) != 0)
        return err_say(text, ERR_INVALID,
                       "script: wants {on, quirk, family?, subject?, times?}: %s", error.text);
    if (endpoint_check(on) != 0 || str_copy(s.on, sizeof(s.on), on) != 0)
        return err_say(text, ERR_INVALID,
                       "on: wants token, identity, usage, messages, resource or discovery");
    if (family != NULL && family_parse(family, &s.family) != 0)
        return err_say(text, ERR_INVALID, "family: wants a name like \"f1\"");
    if (subject != NULL && str_copy(s.subject, sizeof(s.subject), subject) != 0)
        return err_say(text, ERR_INVALID, "subject: too long");
    if (times < 1 || times > QUIRK_TIMES_MAX)
        return err_say(text, ERR_INVALID, "times: wants 1 to %d", QUIRK_TIMES_MAX);
    s.times = times;
    if (quirk_parse(quirk, &s.quirk, text) != 0)
        return ERR_INVALID;
    *ret = s;
    return 0;
}

int quirks_add(struct quirks *q, json_t *object, struct err_text *text)
{
    int err;

    if (q->n == QUIRKS_MAX)
        return err_say(text, ERR_BUSY, "script: %d are waiting already", QUIRKS_MAX);
    err = script_parse(object, &q->queue[q->n], text);
    if (err == 0)
        q->n++;
    return err;
}

static bool script_fits(const struct script *s, const char *endpoint, uint32_t family,
                        const char *subject)
{
    return strcmp(s->on, endpoint) == 0 && (s->family == 0 || s->family == family) &&
           (s->subject[0] == '\0' || strcmp(s->subject, subject) == 0);
}

bool quirks_take(struct quirks *q, const char *endpoint, uint32_t family, const char *subject,
                 struct quirk *ret)
{
    uint32_t i = 0;

    quirk_init(ret);
    while (i < q->n && !script_fits(&q->queue[i], endpoint, family, subject))
        i++;
    if (i == q->n)
        return false;
    *ret = q->queue[i].quirk;
    json_incref(ret->set);
    json_incref(ret->unset);
    q->used++;
    if (--q->queue[i].times == 0) {
        quirk_release(&q->queue[i].quirk);
        memmove(&q->queue[i], &q->queue[i + 1], (q->n - i - 1) * sizeof(q->queue[0]));
        q->n--;
    }
    return true;
}

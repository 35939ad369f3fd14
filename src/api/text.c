/*
 * Answers as text, one renderer an operation, in a table. The larger ones have files of their own.
 */
#include "api/text.h"

#include "api/words.h"
#include "base/check.h"

static void render_version(struct text *t, const json_t *json)
{
    text_put(t, "credwardend ");
    text_member(t, json, "version");
    text_putf(t, ", pid %lld, since ", (long long)member_number(json, "pid", 0));
    text_time(t, member_text(json, "started_at"));
    text_put(t, "\n");
    if (member_is_true(json, "binary_replaced")) {
        text_put(t, "an upgrade is installed but not running yet: credwarden daemon restart\n");
    }
}

static void render_added(struct text *t, const json_t *json)
{
    text_put(t, "added ");
    text_member(t, json, "name");
    const char *subject = member_text(json, "subject"), *label = member_text(json, "label");
    if (subject != NULL) {
        text_put(t, ": ");
        text_clean(t, label != NULL ? label : subject);
    }
    text_put(t, " (");
    text_member(t, json, "standing");
    text_put(t, ", policy ");
    text_member(t, json, "policy");
    text_put(t, ")\n");
    const char *note = member_text(json, "note");
    if (note != NULL) {
        text_clean(t, note);
        text_put(t, "\n");
    }
}

static void render_done(struct text *t, const json_t *json)
{
    text_member(t, json, "done");
    text_put(t, "\n");
}

static void render_renewed(struct text *t, const json_t *json)
{
    text_member(t, json, "name");
    text_putf(t, ": renewed, generation %lld", (long long)member_number(json, "generation", 0));
    int64_t left_ms = member_number(json, "left_ms", -1);
    if (left_ms >= 0) {
        text_put(t, ", ");
        text_span(t, left_ms);
        text_put(t, " left (until ");
        text_time(t, member_text(json, "expires_at"));
        text_put(t, ")");
    }
    text_put(t, "\n");
}

static void render_reported(struct text *t, const json_t *json)
{
    if (member_text(json, "works") == NULL) {
        render_renewed(t, json);
        return;
    }
    text_member(t, json, "name");
    text_put(t, ": the token works: ");
    text_member(t, json, "works");
    text_put(t, "\n");
}

static void usage_key(struct text *t, const json_t *row)
{
    text_clean(t, json_string_value(json_array_get(row, 0)));
}

static void usage_value(struct text *t, const json_t *row)
{
    text_putf(t, "%.1f%%", json_number_value(json_array_get(row, 1)));
}

static void render_usage(struct text *t, const json_t *json)
{
    static const struct column columns[] = {{"LIMIT", usage_key}, {"USED", usage_value}};
    json_t *rows = json_array();
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(json, "utilization"), key, value)
    {
        if (json_array_append_new(rows, json_pack("[sO]", key, value)) < 0) {
            t->err = ERR_NOMEM;
        }
    }
    text_table(t, columns, ARRAY_LEN(columns), rows);
    json_decref(rows);
    text_put(t, "asked at ");
    text_time(t, member_text(json, "asked_at"));
    text_put(t, "\n");
}

static void render_backed_up(struct text *t, const json_t *json)
{
    text_put(t, "backed up to ");
    text_member(t, json, "path");
    text_putf(t, " (%lld bytes)\n", (long long)member_number(json, "bytes", 0));
}

static void render_event(struct text *t, const json_t *json)
{
    text_time(t, member_text(json, "at"));
    text_put(t, "  ");
    text_member(t, json, "profile");
    text_put(t, "  ");
    text_member(t, json, "kind");
    const char *detail = member_text(json, "detail");
    if (detail != NULL && detail[0] != '\0') {
        text_put(t, "  ");
        text_clean(t, detail);
    }
    text_put(t, "\n");
}

static void (*const renderers[OP_COUNT])(struct text *t, const json_t *json) = {
    [OP_VERSION] = render_version,
    [OP_STATUS] = text_status,
    [OP_PROFILES] = text_profiles,
    [OP_PROFILE] = text_profile,
    [OP_ADD] = render_added,
    [OP_REMOVE] = render_done,
    [OP_RENEW] = render_renewed,
    [OP_REPORT] = render_reported,
    [OP_POLICY] = render_done,
    [OP_RENAME] = render_done,
    [OP_HISTORY] = text_history,
    [OP_USAGE] = render_usage,
    [OP_EVENTS] = render_event,
    [OP_BACKUP] = render_backed_up,
    [OP_DOCTOR] = text_findings,
    [OP_CONSUMERS] = text_consumers,
    [OP_BIND] = text_bound,
    [OP_FOLDER] = text_folder,
    [OP_UNBIND] = render_done,
    [OP_USE] = text_switched,
    [OP_STOP] = render_done,
    [OP_RELOAD] = render_done,
    /* A token's text is the token itself (api_reply_token), openapi.json's is itself. */
    [OP_TOKEN] = NULL,
    [OP_OPENAPI] = NULL,
};

int text_render(enum operation op, const json_t *json, struct buf *out)
{
    CHECK((unsigned)op < OP_COUNT && renderers[op] != NULL);
    struct text t = {.out = out};
    renderers[op](&t, json);
    return t.err;
}

int text_event(const json_t *event, struct buf *out)
{
    return text_render(OP_EVENTS, event, out);
}

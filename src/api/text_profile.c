/*
 * Profiles as text: a table line each for `list` and `status`, line by line for `show`.
 */
#include "api/words.h"

#include "base/check.h"

#define NO_NUMBER INT64_MIN
#define KEY_WIDTH 15

static void text_number(struct text *t, const json_t *object, const char *key)
{
    int64_t number = member_number(object, key, NO_NUMBER);
    if (number == NO_NUMBER) {
        text_put(t, "-");
    } else {
        text_putf(t, "%lld", (long long)number);
    }
}

/* One or two words for how it stands. */
static void cell_badge(struct text *t, const json_t *profile)
{
    const char *standing = member_text(profile, "standing");
    int64_t left_ms = member_number(profile, "left_ms", 1);
    if (standing != NULL && strcmp(standing, "in-doubt") == 0) {
        text_put(t, "in doubt");
    } else if (standing != NULL && strcmp(standing, "live") == 0 && left_ms <= 0) {
        text_put(t, "expired");
    } else {
        text_clean(t, standing);
    }
}

static void cell_name(struct text *t, const json_t *profile)
{
    text_member(t, profile, "name");
}

static void cell_provider(struct text *t, const json_t *profile)
{
    text_member(t, profile, "provider");
}

static void cell_subject(struct text *t, const json_t *profile)
{
    const char *label = member_text(profile, "label");
    text_clean(t, label != NULL && label[0] != '\0' ? label : member_text(profile, "subject"));
}

static void cell_policy(struct text *t, const json_t *profile)
{
    text_member(t, profile, "policy");
}

static void cell_left(struct text *t, const json_t *profile)
{
    int64_t left_ms = member_number(profile, "left_ms", NO_NUMBER);
    if (left_ms == NO_NUMBER) {
        text_put(t, "-");
    } else if (left_ms > 0) {
        text_span(t, left_ms);
    } else {
        text_put(t, "over");
    }
}

static void cell_next(struct text *t, const json_t *profile)
{
    int64_t next_ms = member_number(profile, "next_spend_in_ms", NO_NUMBER);
    if (next_ms == NO_NUMBER) {
        text_put(t, "-");
    } else if (next_ms > 0) {
        text_put(t, "in ");
        text_span(t, next_ms);
    } else {
        text_put(t, "now");
    }
}

static void cell_alarms(struct text *t, const json_t *profile)
{
    const json_t *alarms = json_object_get(profile, "alarms");
    for (size_t i = 0; i < json_array_size(alarms); i++) {
        text_put(t, i > 0 ? ", " : "");
        text_clean(t, json_string_value(json_array_get(alarms, i)));
    }
    if (json_array_size(alarms) == 0) {
        text_put(t, "none");
    }
}

static const struct column profile_columns[] = {
    {"NAME", cell_name},     {"PROVIDER", cell_provider}, {"SUBJECT", cell_subject},
    {"STATE", cell_badge},   {"LEFT", cell_left},         {"NEXT SPEND", cell_next},
    {"POLICY", cell_policy}, {"ALARMS", cell_alarms},
};

void text_profiles(struct text *t, const json_t *json)
{
    const json_t *profiles = json_object_get(json, "profiles");
    if (json_array_size(profiles) == 0) {
        text_put(t, "no profiles yet: credwarden add NAME --provider PROVIDER --from FILE\n");
        return;
    }
    text_table(t, profile_columns, ARRAY_LEN(profile_columns), profiles);
}

static void key(struct text *t, const char *words)
{
    text_put(t, words);
    text_pad(t, strlen(words), KEY_WIDTH);
}

static void line(struct text *t, const char *words, const json_t *object, const char *member)
{
    key(t, words);
    text_member(t, object, member);
    text_put(t, "\n");
}

static void number_line(struct text *t, const char *words, const json_t *object, const char *member)
{
    key(t, words);
    text_number(t, object, member);
    text_put(t, "\n");
}

/* Left out when there is nothing to say. */
static void time_line(struct text *t, const char *words, const json_t *object, const char *member)
{
    if (member_text(object, member) != NULL) {
        key(t, words);
        text_time(t, member_text(object, member));
        text_put(t, "\n");
    }
}

static void subject_line(struct text *t, const json_t *profile)
{
    const char *label = member_text(profile, "label");
    key(t, "subject");
    text_member(t, profile, "subject");
    if (label != NULL && label[0] != '\0') {
        text_put(t, " (");
        text_clean(t, label);
        text_put(t, ")");
    }
    text_put(t, "\n");
}

static void state_line(struct text *t, const json_t *profile)
{
    key(t, "state");
    cell_badge(t, profile);
    if (member_text(profile, "state") != NULL) {
        text_put(t, " (");
        text_member(t, profile, "state");
        text_put(t, ")");
    }
    text_put(t, "\n");
}

static void policy_line(struct text *t, const json_t *profile)
{
    static const char *const meanings[][2] = {
        {"never", ": spent by others only, we watch"},
        {"standby", ": spent by us only while nobody holds the pair"},
        {"always", ": spent by us alone"},
    };
    const char *policy = member_text(profile, "policy");
    key(t, "policy");
    text_clean(t, policy);
    for (size_t i = 0; policy != NULL && i < ARRAY_LEN(meanings); i++) {
        if (strcmp(policy, meanings[i][0]) == 0) {
            text_put(t, meanings[i][1]);
        }
    }
    text_put(t, "\n");
}

static void access_line(struct text *t, const json_t *profile)
{
    int64_t left_ms = member_number(profile, "left_ms", NO_NUMBER);
    key(t, "access token");
    text_member(t, profile, "access_fingerprint");
    if (left_ms == NO_NUMBER) {
        text_put(t, ", no expiry known");
    } else if (left_ms > 0) {
        text_put(t, ", ");
        text_span(t, left_ms);
        text_put(t, " left");
    } else {
        text_put(t, ", over");
    }
    if (member_text(profile, "expires_at") != NULL) {
        text_put(t, left_ms > 0 ? ", until " : " since ");
        text_time(t, member_text(profile, "expires_at"));
    }
    text_put(t, "\n");
}

static void refresh_line(struct text *t, const json_t *profile)
{
    const char *fingerprint = member_text(profile, "refresh_fingerprint");
    key(t, "refresh token");
    text_clean(t, fingerprint != NULL ? fingerprint : "none (a static pair)");
    text_put(t, "\n");
}

static void cell_line(struct text *t, const char *words, const json_t *profile,
                      void (*cell)(struct text *t, const json_t *row))
{
    key(t, words);
    cell(t, profile);
    text_put(t, "\n");
}

void text_profile(struct text *t, const json_t *json)
{
    line(t, "name", json, "name");
    line(t, "provider", json, "provider");
    subject_line(t, json);
    state_line(t, json);
    policy_line(t, json);
    number_line(t, "generation", json, "generation");
    access_line(t, json);
    refresh_line(t, json);
    cell_line(t, "next spend", json, cell_next);
    time_line(t, "login ends", json, "login_deadline");
    time_line(t, "in doubt since", json, "in_doubt_since");
    number_line(t, "tries", json, "tries");
    number_line(t, "waiters", json, "waiters");
    cell_line(t, "alarms", json, cell_alarms);
    time_line(t, "added", json, "created_at");
    line(t, "lineage", json, "lineage");
}

static void daemon_lines(struct text *t, const json_t *daemon)
{
    text_put(t, "credwardend ");
    text_member(t, daemon, "version");
    text_put(t, ", pid ");
    text_number(t, daemon, "pid");
    text_put(t, ", up ");
    text_span(t, member_number(daemon, "uptime_ms", 0));
    text_put(t, "\n");
    static const struct {
        const char *member;
        bool when;
        const char *sentence;
    } remarks[] = {
        {"stopping", true, "It is stopping."},
        {"binary_replaced", true,
         "An upgrade is installed but not running yet: credwarden daemon restart"},
        {"memory_locked", false,
         "Not all secret memory is locked against swapping: raise RLIMIT_MEMLOCK (ulimit -l)."},
        {"restored", true,
         "The store is a restored copy: every login was in doubt when it was opened."},
    };
    for (size_t i = 0; i < ARRAY_LEN(remarks); i++) {
        const json_t *value = json_object_get(daemon, remarks[i].member);
        if (json_is_boolean(value) && json_is_true(value) == remarks[i].when) {
            text_putf(t, "%s\n", remarks[i].sentence);
        }
    }
}

static void sandbox_line(struct text *t, const json_t *daemon)
{
    const char *sandbox = member_text(daemon, "sandbox");
    if (sandbox != NULL && sandbox[0] != '\0') {
        text_put(t, "The spender's sandbox: ");
        text_clean(t, sandbox);
        text_put(t, ".\n");
    }
}

static void alarm_line(struct text *t, const json_t *alarm)
{
    text_put(t, "alarm: ");
    if (member_text(alarm, "profile") != NULL) {
        text_member(t, alarm, "profile");
        text_put(t, " ");
    }
    text_member(t, alarm, "alarm");
    text_put(t, " since ");
    text_time(t, member_text(alarm, "since"));
    const char *detail = member_text(alarm, "detail");
    if (detail != NULL && detail[0] != '\0') {
        text_put(t, ": ");
        text_clean(t, detail);
    }
    text_put(t, "\n");
}

void text_status(struct text *t, const json_t *json)
{
    daemon_lines(t, json_object_get(json, "daemon"));
    sandbox_line(t, json_object_get(json, "daemon"));
    text_put(t, "\n");
    text_profiles(t, json);
    const json_t *alarms = json_object_get(json, "alarms");
    if (json_array_size(alarms) > 0) {
        text_put(t, "\n");
    }
    for (size_t i = 0; i < json_array_size(alarms); i++) {
        alarm_line(t, json_array_get(alarms, i));
    }
}

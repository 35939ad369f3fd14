/*
 * The names of the vocabulary, one table an enum. The array sizes are the enums' counts, so a
 * value without a name is an empty slot, which the tests look for.
 */
#include "base/words.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/str.h"

static const char *const policy_names[POLICY_COUNT] = {
    [POLICY_NEVER] = "never",
    [POLICY_STANDBY] = "standby",
    [POLICY_ALWAYS] = "always",
};

static const char *const verdict_names[VERDICT_COUNT] = {
    [VERDICT_GRANTED] = "granted",         [VERDICT_REFUSED] = "refused",
    [VERDICT_THROTTLED] = "throttled",     [VERDICT_UNSENT] = "unsent",
    [VERDICT_UNCOMMITTED] = "uncommitted", [VERDICT_DOUBT] = "in-doubt",
};

static const char *const identity_names[IDENTITY_COUNT] = {
    [IDENTITY_NAMED] = "named",           [IDENTITY_EXPIRED] = "expired",
    [IDENTITY_REVOKED] = "revoked",       [IDENTITY_SCOPE] = "scope",
    [IDENTITY_UNANSWERED] = "unanswered",
};

static const char *const seen_names[SEEN_COUNT] = {
    [SEEN_PAIR] = "pair",
    [SEEN_BLANK] = "refused",
    [SEEN_TORN] = "torn",
    [SEEN_GONE] = "signed-out",
};

static const char *const wish_names[WISH_COUNT] = {
    [WISH_NONE] = "none",
    [WISH_FILL] = "fill",
    [WISH_REPLACE] = "replace",
};

static const char *const origin_names[ORIGIN_COUNT] = {
    [ORIGIN_ADDED] = "added",
    [ORIGIN_SPENT] = "spent",
    [ORIGIN_RECOVERED] = "recovered",
    [ORIGIN_ADOPTED] = "adopted",
};

static const char *const standing_names[STANDING_COUNT] = {
    [STANDING_UNPROVEN] = "unproven",       [STANDING_LIVE] = "live",
    [STANDING_DOUBT] = "in-doubt",          [STANDING_DEAD] = "dead",
    [STANDING_QUARANTINED] = "quarantined", [STANDING_RETIRED] = "retired",
};

static const char *const alarm_names[ALARM_COUNT] = {
    [ALARM_DOUBT] = "in-doubt",          [ALARM_DEAD] = "dead",
    [ALARM_SUBJECT] = "subject",         [ALARM_EXPIRING] = "expiring",
    [ALARM_UNREACHABLE] = "unreachable", [ALARM_STORE] = "store",
    [ALARM_RESTORED] = "restored",
};

static const char *const answer_names[ANSWER_COUNT] = {
    [ANSWER_TOKEN] = "token",
    [ANSWER_DONE] = "done",
    [ANSWER_UNKNOWN] = "profile-unknown",
    [ANSWER_TOO_LONG] = "wish-too-long",
    [ANSWER_CAPPED] = "spend-capped",
    [ANSWER_POLICY] = "policy-forbids",
    [ANSWER_DEAD] = "sign-in-needed",
    [ANSWER_DOUBT] = "in-doubt",
    [ANSWER_EXPIRED] = "pair-expired",
    [ANSWER_QUARANTINED] = "quarantined",
    [ANSWER_UNPROVEN] = "subject-unproven",
    [ANSWER_THROTTLED] = "throttled",
    [ANSWER_UNREACHABLE] = "provider-unreachable",
    [ANSWER_TIMEOUT] = "timed-out",
    [ANSWER_STORE] = "store-failed",
    [ANSWER_BUSY] = "busy",
    [ANSWER_STOPPING] = "stopping",
    [ANSWER_MISMATCH] = "subject-differs",
    [ANSWER_REJECTED] = "pair-rejected",
    [ANSWER_DUPLICATE] = "pair-known",
};

static const char *name_of(const char *const *names, unsigned count, unsigned value)
{
    return value < count && names[value] != NULL ? names[value] : "unknown";
}

static int parse(const char *const *names, unsigned count, const char *name, unsigned *ret)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = i;
            return 0;
        }
    }
    return ERR_INVALID;
}

const char *policy_name(enum policy p)
{
    return name_of(policy_names, POLICY_COUNT, p);
}

int policy_parse(const char *name, enum policy *ret)
{
    return parse(policy_names, POLICY_COUNT, name, ret);
}

const char *verdict_name(enum verdict v)
{
    return name_of(verdict_names, VERDICT_COUNT, v);
}

int verdict_parse(const char *name, enum verdict *ret)
{
    return parse(verdict_names, VERDICT_COUNT, name, ret);
}

const char *identity_name(enum identity i)
{
    return name_of(identity_names, IDENTITY_COUNT, i);
}

const char *seen_name(enum seen s)
{
    return name_of(seen_names, SEEN_COUNT, s);
}

const char *wish_name(enum wish w)
{
    return name_of(wish_names, WISH_COUNT, w);
}

int wish_parse(const char *name, enum wish *ret)
{
    return parse(wish_names, WISH_COUNT, name, ret);
}

const char *origin_name(enum origin o)
{
    return name_of(origin_names, ORIGIN_COUNT, o);
}

int origin_parse(const char *name, enum origin *ret)
{
    return parse(origin_names, ORIGIN_COUNT, name, ret);
}

const char *standing_name(enum standing s)
{
    return name_of(standing_names, STANDING_COUNT, s);
}

int standing_parse(const char *name, enum standing *ret)
{
    return parse(standing_names, STANDING_COUNT, name, ret);
}

const char *alarm_name(enum alarm a)
{
    return name_of(alarm_names, ALARM_COUNT, a);
}

int alarm_parse(const char *name, enum alarm *ret)
{
    return parse(alarm_names, ALARM_COUNT, name, ret);
}

const char *answer_name(enum answer a)
{
    return name_of(answer_names, ANSWER_COUNT, a);
}

static void format_digits(struct fp fp, size_t digits, char *buf, size_t size)
{
    char text[FP_TEXT_SIZE];
    hex_encode(fp.bytes, FP_LEN, text);
    text[digits] = '\0';
    (void)snprintf(buf, size, "%s", fp_is_none(fp) ? "-" : text);
}

void fp_format(struct fp fp, char *buf, size_t size)
{
    format_digits(fp, FP_TEXT_SIZE - 1, buf, size);
}

void fp_format_short(struct fp fp, char *buf, size_t size)
{
    format_digits(fp, 10, buf, size);
}

int fp_parse(const char *text, struct fp *ret)
{
    if (strcmp(text, "-") == 0) {
        *ret = (struct fp){0};
        return 0;
    }
    return hex_decode(text, ret->bytes, FP_LEN);
}

bool pair_equal(const struct pair *a, const struct pair *b)
{
    return fp_equal(a->refresh, b->refresh) && fp_equal(a->access, b->access) &&
           a->expires_wall_ms == b->expires_wall_ms;
}

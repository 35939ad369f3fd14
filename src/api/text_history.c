/*
 * The ledger as a story: a line an entry, in order of time, and at the end who killed the token.
 */
#include "api/words.h"

#include "base/check.h"

#define FP_WIDTH 10

/* What stands in the ledger, as people say it. */
static const char *outcome_words(const char *outcome)
{
    static const char *const words[][2] = {
        {"in-doubt", "in doubt"},
        {"unsent", "not sent"},
        {"uncommitted", "not committed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(outcome, words[i][0]) == 0) {
            return words[i][1];
        }
    }
    return outcome;
}

static bool is_said(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static void in_marks(struct text *t, const char *before, const char *words, const char *after)
{
    if (is_said(words)) {
        text_put(t, before);
        text_clean(t, words);
        text_put(t, after);
    }
}

static void tell_spend(struct text *t, const json_t *entry)
{
    const char *outcome = member_text(entry, "outcome");
    text_put(t, member_is_true(entry, "replay") ? "presented once more → " : "spent → ");
    text_clean(t, outcome != NULL ? outcome_words(outcome) : "no answer yet");
    in_marks(t, " (", member_text(entry, "detail"), ")");
    text_put(t, " by credwardend");
    in_marks(t, " [", member_text(entry, "source"), "]");
    int64_t took_ms = member_number(entry, "took_ms", -1);
    if (took_ms >= 0) {
        text_put(t, ", took ");
        text_span(t, took_ms);
    }
}

static void tell_pair(struct text *t, const json_t *entry)
{
    const char *origin = member_text(entry, "origin");
    const char *parent = member_text(entry, "parent_fingerprint");
    text_put(t, "pair ");
    if (is_said(parent)) { /* "spent" would be said of the pair before */
        in_marks(t, "obtained with ", parent, "");
        in_marks(t, " by ", member_text(entry, "source"), "");
        text_put(t, origin != NULL && strcmp(origin, "recovered") == 0
                        ? ", recovered after a restart"
                        : "");
    } else {
        text_clean(t, origin);
        in_marks(t, " from ", member_text(entry, "source"), "");
    }
    in_marks(t, " (", member_text(entry, "detail"), ")");
    if (member_text(entry, "expires_at") != NULL) {
        text_put(t, ", lasts until ");
        text_time(t, member_text(entry, "expires_at"));
    }
}

static void tell_entry(struct text *t, const json_t *entry)
{
    const char *kind = member_text(entry, "kind");
    const char *fingerprint = member_text(entry, "refresh_fingerprint");
    if (!is_said(fingerprint)) {
        fingerprint = member_text(entry, "access_fingerprint"); /* a static pair */
    }
    text_time(t, member_text(entry, "at"));
    text_putf(t, "  gen %lld  ", (long long)member_number(entry, "generation", 0));
    text_clean(t, fingerprint);
    text_pad(t, fingerprint != NULL ? strlen(fingerprint) : 1, FP_WIDTH);
    if (kind != NULL && strcmp(kind, "spend") == 0) {
        tell_spend(t, entry);
    } else {
        tell_pair(t, entry);
    }
    text_put(t, "\n");
}

void text_history(struct text *t, const json_t *json)
{
    const json_t *lineages = json_object_get(json, "lineages");
    size_t n = json_array_size(lineages);
    for (size_t i = 0; i < n; i++) { /* newest first in the answer, told in order of time */
        const json_t *lineage = json_array_get(lineages, n - 1 - i);
        const json_t *entries = json_object_get(lineage, "entries");
        text_put(t, i > 0 ? "\n" : "");
        text_member(t, json, "name");
        text_put(t, ", lineage ");
        text_member(t, lineage, "lineage");
        text_put(t, "\n");
        for (size_t k = 0; k < json_array_size(entries); k++) {
            tell_entry(t, json_array_get(entries, k));
        }
    }
    if (n == 0) {
        text_member(t, json, "name");
        text_put(t, ": nothing is recorded yet\n");
    }
    in_marks(t, "\n", member_text(json, "verdict"), "\n");
}

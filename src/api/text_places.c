/*
 * Places of clients, for people.
 */
#include "api/words.h"

#include <string.h>

#include "base/check.h"

static void put_place(struct text *t, const json_t *place)
{
    text_member(t, place, "kind");
    text_put(t, ":");
    text_member(t, place, "place");
}

static const char *state_words(const char *state)
{
    static const char *const words[][2] = {
        {"in-step", "in step"},
        {"drifted", "somebody else is signed in"},
        {"signed-out", "signed out"},
        {"refused", "the client was refused"},
        {"being-asked", "whose it is is being asked"},
        {"new", "not looked at yet"},
    };
    for (size_t i = 0; state != NULL && i < ARRAY_LEN(words); i++) {
        if (strcmp(state, words[i][0]) == 0) {
            return words[i][1];
        }
    }
    return state;
}

static void cell_profile(struct text *t, const json_t *place)
{
    text_member(t, place, "profile");
}

static void cell_mode(struct text *t, const json_t *place)
{
    text_member(t, place, "mode");
}

static void cell_state(struct text *t, const json_t *place)
{
    text_clean(t, state_words(member_text(place, "state")));
    if (member_text(place, "detail") != NULL) {
        text_put(t, ": ");
        text_member(t, place, "detail");
    }
}

static const struct column columns[] = {
    {"PROFILE", cell_profile}, {"MODE", cell_mode}, {"PLACE", put_place}, {"STATE", cell_state}};

void text_consumers(struct text *t, const json_t *json)
{
    const json_t *places = json_object_get(json, "consumers");
    if (json_array_size(places) == 0) {
        text_put(t, "no places yet: credwarden bind NAME --to claude, codex, gemini or opencode\n");
        return;
    }
    text_table(t, columns, ARRAY_LEN(columns), places);
}

void text_bound(struct text *t, const json_t *json)
{
    text_member(t, json, "profile");
    text_put(t, " is bound to ");
    put_place(t, json);
    text_put(t, " (");
    text_member(t, json, "mode");
    text_put(t, "): ");
    cell_state(t, json);
    text_put(t, "\n");
}

void text_switched(struct text *t, const json_t *json)
{
    put_place(t, json);
    text_put(t, member_is_true(json, "dry_run") ? " would be " : ": ");
    text_member(t, json, "profile");
    if (member_is_true(json, "dry_run")) {
        text_put(t, "'s, and is ");
        text_member(t, json, "before");
        text_put(t, "'s now; nothing was changed\n");
        return;
    }
    text_put(t, " is signed in");
    if (member_is_true(json, "verified")) {
        const char *label = member_text(json, "label");
        text_put(t, ", as ");
        text_clean(t, label != NULL ? label : member_text(json, "subject"));
    } else {
        text_put(t, "; the server was not there to be asked");
    }
    text_put(t, " (was ");
    text_member(t, json, "before");
    text_put(t, "; `credwarden use -` goes back)\n");
}

/* For `credwarden exec`, which reads it as it stands. */
void text_folder(struct text *t, const json_t *json)
{
    text_member(t, json, "variable");
    text_put(t, "=");
    text_member(t, json, "folder");
    text_put(t, "\n");
}

void text_findings(struct text *t, const json_t *json)
{
    const json_t *findings = json_object_get(json, "findings");
    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *finding = json_array_get(findings, i);
        text_member(t, finding, "about");
        text_put(t, ": ");
        text_member(t, finding, "what");
        text_put(t, "\n");
        if (member_text(finding, "mend") != NULL) {
            text_put(t, "    ");
            text_member(t, finding, "mend");
            text_put(t, "\n");
        }
    }
    if (json_array_size(findings) == 0) {
        text_put(t, "nothing is wrong, as far as can be seen\n");
    }
}

/* `credwarden history`: who obtained and who spent each pair. */
#include "cli/ask.h"

static enum exit_code run(const struct invocation *in)
{
    enum exit_code code = number_option(in, "limit", 1);
    if (code != EXIT_OK) {
        return code;
    }
    struct request r = {
        .method = "GET",
        .path = "/v1/profiles/{name}/history",
        .name = in->args[0],
        .query = {{"limit", option_value(in, "limit")}},
    };
    return ask_and_print(in, &r);
}

const struct command command_history = {
    .name = "history",
    .summary = "say who obtained and who spent each pair",
    .text =
        "The ledger of a profile: every pair it ever held, by fingerprint, with its parent, where\n"
        "it came from, and how each spend ended. Answers \"who killed this token?\".\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .options = {{"limit", "N", "only the newest N entries"}},
    .run = run,
};

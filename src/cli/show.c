/* `credwarden show`: all that is known of one profile, but its tokens. */
#include "cli/ask.h"

static enum exit_code run(const struct invocation *in)
{
    struct request r = {.method = "GET", .path = "/v1/profiles/{name}", .name = in->args[0]};
    return ask_and_print(in, &r);
}

const struct command command_show = {
    .name = "show",
    .summary = "show one profile",
    .text =
        "All that is known of a profile: subject, policy, state, expiry, fingerprints. Never a\n"
        "token.\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .run = run,
};

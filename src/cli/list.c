/* `credwarden list`: the profiles, a line each. */
#include "cli/ask.h"

static enum exit_code run(const struct invocation *in)
{
    struct request r = {.method = "GET", .path = "/v1/profiles"};
    return ask_and_print(in, &r);
}

const struct command command_list = {
    .name = "list",
    .summary = "list the profiles",
    .text =
        "One line a profile: its name, provider, subject, state, and how long its access token\n"
        "still lasts.\n",
    .run = run,
};

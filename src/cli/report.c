/* `credwarden report`: a client was refused with a profile's token. */
#include "cli/ask.h"

static enum exit_code run(const struct invocation *in)
{
    struct request r = {
        .method = "POST", .path = "/v1/profiles/{name}/report", .name = in->args[0]};
    return ask_and_print(in, &r);
}

const struct command command_report = {
    .name = "report",
    .summary = "say that a client was refused (401, 403) with a profile's token",
    .text =
        "The server is asked whether the token works. If it is over, a new one is obtained where\n"
        "the policy allows it, once, however many report; if not, that is said, and nothing is\n"
        "spent.\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .run = run,
};

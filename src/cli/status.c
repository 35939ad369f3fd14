/* `credwarden status`: the daemon, every profile, and what is wrong. */
#include "cli/ask.h"

static enum exit_code run(const struct invocation *in)
{
    struct request r = {.method = "GET", .path = "/v1/status"};
    return ask_and_print(in, &r);
}

const struct command command_status = {
    .name = "status",
    .summary = "say how the daemon and every profile are",
    .text = "The daemon, its profiles, and the alarms that are raised.\n",
    .tells_skew = true,
    .run = run,
};

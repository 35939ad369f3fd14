/* `credwarden rename`: another name for the same profile. */
#include "cli/ask.h"

static enum exit_code run(const struct invocation *in)
{
    struct request r = {
        .method = "POST",
        .path = "/v1/profiles/{name}/rename",
        .name = in->args[0],
        .query = {{"to", in->args[1]}},
    };
    return ask_and_print(in, &r);
}

const struct command command_rename = {
    .name = "rename",
    .summary = "give a profile another name",
    .text = "Only the name changes: lineage, history and policy stay.\n",
    .args = {{"OLD", ARG_PROFILE, false}, {"NEW", ARG_PROFILE, false}},
    .run = run,
};

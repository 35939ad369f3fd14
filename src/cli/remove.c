/* `credwarden remove`: end a profile. */
#include "cli/ask.h"
#include "cli/files.h"

static enum exit_code run(const struct invocation *in)
{
    if (option_value(in, "yes") == NULL) {
        char question[160];
        (void)snprintf(question, sizeof(question),
                       "Remove profile %s and wipe its tokens? This cannot be undone.",
                       in->args[0]);
        if (!stdin_is_terminal()) {
            return fail(EXIT_USAGE,
                        "remove asks before it wipes tokens, and standard input is no terminal: "
                        "say --yes");
        }
        if (!confirm(question)) {
            return fail(EXIT_FAILED, "nothing was removed");
        }
    }
    struct request r = {.method = "DELETE", .path = "/v1/profiles/{name}", .name = in->args[0]};
    return ask_and_print(in, &r);
}

const struct command command_remove = {
    .name = "remove",
    .summary = "end a profile and wipe its tokens",
    .text =
        "Wipes the tokens of a profile and forgets its name. Its history is kept. Nothing is said\n"
        "to the provider: the login itself stays valid until it expires or is revoked there.\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .options = {{"yes", NULL, "do not ask"}},
    .run = run,
};

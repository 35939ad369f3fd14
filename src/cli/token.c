/* `credwarden token`: the access token and a line feed, for programs. */
#include "cli/ask.h"

#include "base/time.h"

/* The daemon's own explanation of why it takes so long must arrive first. */
#define SPARE_MS (15 * SECOND_MS)

static enum exit_code run(const struct invocation *in)
{
    int64_t ttl_min_ms = 0;
    int64_t timeout_ms = 0;
    enum exit_code code = duration_option(in, "min-ttl", &ttl_min_ms);
    if (code == EXIT_OK) {
        code = duration_option(in, "timeout", &timeout_ms);
    }
    if (code != EXIT_OK) {
        return code;
    }
    struct request r = {
        .method = "GET",
        .path = "/v1/profiles/{name}/token",
        .name = in->args[0],
        .query = {{"min_ttl", option_value(in, "min-ttl")},
                  {"timeout", option_value(in, "timeout")}},
        .is_secret = true,
        .patience_ms = option_value(in, "timeout") != NULL ? timeout_ms + SPARE_MS : 0,
    };
    return ask_and_print(in, &r);
}

const struct command command_token = {
    .name = "token",
    .summary = "print an access token that works",
    .text =
        "Prints the access token of the profile and a line feed, nothing else. When less life is\n"
        "left than wished for, waits for a new one; however many callers wait, the provider is\n"
        "asked once.\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .options = {{"min-ttl", "DURATION", "how long it must still last, e.g. 10m"},
                {"timeout", "DURATION", "how long to wait for it (60s)"}},
    .run = run,
};

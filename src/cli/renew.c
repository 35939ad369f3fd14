/* `credwarden renew`: spend the refresh token now. */
#include "cli/ask.h"

#include "base/time.h"

#define SPARE_MS (15 * SECOND_MS) /* as in token.c */

static enum exit_code run(const struct invocation *in)
{
    int64_t timeout_ms = 0;
    enum exit_code code = duration_option(in, "timeout", &timeout_ms);
    if (code != EXIT_OK) {
        return code;
    }
    struct request r = {
        .method = "POST",
        .path = "/v1/profiles/{name}/renew",
        .name = in->args[0],
        .query = {{"timeout", option_value(in, "timeout")}},
        .patience_ms = option_value(in, "timeout") != NULL ? timeout_ms + SPARE_MS : 0,
    };
    return ask_and_print(in, &r);
}

const struct command command_renew = {
    .name = "renew",
    .summary = "obtain a new pair now, whatever life is left",
    .text =
        "Spends the profile's refresh token once and waits until the new pair is durable. Refused\n"
        "when the profile's policy forbids it, or when the last time is too recent.\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .options = {{"timeout", "DURATION", "how long to wait for it (60s)"}},
    .run = run,
};

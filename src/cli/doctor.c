/* `credwarden doctor`: what is wrong, and what mends it. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/ask.h"

/* With one of these a client does not look at its store. */
static const char *const shadows[] = {
    "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_API_KEY",          "GEMINI_API_KEY",
};

static enum exit_code run(const struct invocation *in)
{
    char variables[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(shadows); i++) {
        const char *value = getenv(shadows[i]);
        if (value == NULL || value[0] == '\0') {
            continue;
        }
        int n = snprintf(variables + len, sizeof(variables) - len, "%s%s", len > 0 ? "," : "",
                         shadows[i]);
        CHECK(n > 0 && (size_t)n < sizeof(variables) - len);
        len += (size_t)n;
    }
    struct request r = {.method = "GET",
                        .path = "/v1/doctor",
                        .query = {{"variables", len > 0 ? variables : NULL}}};
    return ask_and_print(in, &r);
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "look for what is wrong, and say what mends it",
    .text =
        "Alarms, clients' folders (locks that nobody gets past, files that others may use, names\n"
        "that mislead), switches that are not finished, variables that shadow a store. Nothing\n"
        "is changed.\n",
    .run = run,
};

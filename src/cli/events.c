/* `credwarden events`: what happened, and what happens. */
#include "cli/ask.h"

static enum exit_code run(const struct invocation *in)
{
    enum exit_code code = number_option(in, "after", 0);
    if (code == EXIT_OK) {
        code = number_option(in, "limit", 1);
    }
    if (code != EXIT_OK) {
        return code;
    }
    struct request r = {
        .method = "GET",
        .path = "/v1/events",
        .query = {{"after", option_value(in, "after")},
                  {"limit", option_value(in, "limit")},
                  {"follow", option_value(in, "follow") != NULL ? "yes" : NULL}},
        .is_stream = true,
    };
    return ask_and_print(in, &r);
}

const struct command command_events = {
    .name = "events",
    .summary = "print what happened, or follow what happens",
    .text =
        "One line an event, oldest first, each with its number. --follow goes on with new ones\n"
        "until Ctrl-C or the end of the daemon; --after resumes behind a number.\n",
    .options = {{"follow", NULL, "go on with new events as they happen"},
                {"after", "ID", "only events behind this number"},
                {"limit", "N", "at most N of those that happened"}},
    .run = run,
};

/* `credwarden use`: another profile in a client's place. */
#include "cli/ask.h"
#include "cli/places.h"

#define USE_PATIENCE_MS 60000 /* the daemon takes it back after 15 s, and says so */

static enum exit_code use_there(const struct invocation *in, const char *place)
{
    struct request r = {
        .method = "POST",
        .path = "/v1/consumers",
        .query = {{"to", in->args[0]},
                  {"at", place},
                  {"dry_run", option_value(in, "dry-run") != NULL ? "yes" : NULL}},
        .patience_ms = USE_PATIENCE_MS,
    };
    return ask_and_print(in, &r);
}

static enum exit_code run(const struct invocation *in)
{
    const char *at = option_value(in, "for");
    return at != NULL ? each_place(in, at, use_there) : use_there(in, NULL);
}

const struct command command_use = {
    .name = "use",
    .summary = "sign another profile in in a client's place",
    .text =
        "Sessions that run go on, as the other account, with their next request. The login that\n"
        "stands there is captured first; then the other is put in its place, and the server is\n"
        "asked who is signed in now. What cannot be done is taken back. `use -` goes back.\n",
    .args = {{"NAME", ARG_TEXT, false}},
    .options = {{"for", "PLACE", "which place, where there are several"},
                {"dry-run", NULL, "say what would be done, and do nothing"}},
    .run = run,
};

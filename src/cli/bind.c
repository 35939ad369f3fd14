/* `credwarden bind`, `unbind`, `consumers`: share a login with a client. */
#include "cli/ask.h"
#include "cli/places.h"

static enum exit_code bind_one(const struct invocation *in, const char *place)
{
    struct request r = {
        .method = "POST",
        .path = "/v1/profiles/{name}/consumers",
        .name = in->args[0],
        .query = {{"to", place}, {"mode", option_value(in, "mode")}},
    };
    return ask_and_print(in, &r);
}

static enum exit_code unbind_one(const struct invocation *in, const char *place)
{
    struct request r = {.method = "DELETE", .path = "/v1/consumers", .query = {{"at", place}}};
    return ask_and_print(in, &r);
}

static enum exit_code run_bind(const struct invocation *in)
{
    const char *to = option_value(in, "to");
    if (to == NULL) {
        return fail(EXIT_USAGE, "--to is missing: claude, codex, gemini or opencode, with :DIR "
                                "where it is not the client's usual folder");
    }
    return each_place(in, to, bind_one);
}

static enum exit_code run_unbind(const struct invocation *in)
{
    return each_place(in, in->args[0], unbind_one);
}

static enum exit_code run_consumers(const struct invocation *in)
{
    struct request r = {.method = "GET", .path = "/v1/consumers"};
    return ask_and_print(in, &r);
}

const struct command command_bind = {
    .name = "bind",
    .summary = "share a profile's login with a client",
    .text =
        "The client's store is watched from then on: what it renews is adopted, and it is kept in\n"
        "step, under the client's own locks. A place where somebody else is signed in is left\n"
        "alone. PLACE is claude[:DIR], codex[:DIR], gemini[:DIR] or opencode[:DIR]; a pattern\n"
        "('claude:/srv/agents/*') binds each folder that it matches. Places that only credwarden\n"
        "writes get access tokens alone: env:FILE[#NAME], json:FILE#auth.token=access,\n"
        "template:IN=>OUT, exec:COMMAND (the token comes on its standard input, as JSON).\n"
        "  --mode pair    the client may have the refresh token, and renews by itself; one place\n"
        "                 of a profile has it, further ones get access tokens alone\n"
        "  --mode access  access tokens alone: nobody can race us (policy always)\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .options = {{"to", "PLACE", "the client, and its folder"},
                {"mode", "MODE", "pair or access; default: pair, or access with policy always"}},
    .run = run_bind,
};

const struct command command_unbind = {
    .name = "unbind",
    .summary = "leave a client's store alone",
    .text = "What stands there stays there, and is not written or watched any more.\n",
    .args = {{"PLACE", ARG_TEXT, false}},
    .run = run_unbind,
};

const struct command command_consumers = {
    .name = "consumers",
    .summary = "list the places of clients, and whether they are in step",
    .text = "",
    .run = run_consumers,
};

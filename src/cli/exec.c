/* `credwarden exec`: one program runs as a profile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "cli/ask.h"
#include "cli/start.h"

/* Into the environment that the program will have; ours ends with it. */
static enum exit_code give(const char *name, const char *value)
{
    return setenv(name, value, 1) == 0 ? EXIT_OK
                                       : fail(EXIT_FAILED, "the environment takes no %s", name);
}

static enum exit_code answer_to(const struct invocation *in, struct request *r, struct reply *ret)
{
    struct invocation as_text = *in;
    as_text.json = false;
    enum exit_code code = ask(&as_text, r, ret);
    if (code != EXIT_OK) {
        return code;
    }
    code = check_reply(&as_text, ret);
    if (code != EXIT_OK) {
        reply_release(ret);
    }
    return code;
}

static enum exit_code give_token(const struct invocation *in, const char *variable)
{
    struct reply reply = {.watch = -1};
    struct request r = {.method = "GET",
                        .path = "/v1/profiles/{name}/token",
                        .name = in->args[0],
                        .is_secret = true};
    if (strchr(variable, '=') != NULL) {
        return fail(EXIT_USAGE, "--var: the name of a variable was expected");
    }
    enum exit_code code = answer_to(in, &r, &reply);
    if (code == EXIT_OK) {
        code = give(variable, body_line(&reply));
        reply_release(&reply);
    }
    return code;
}

/* The answer is VARIABLE=FOLDER. */
static enum exit_code give_folder(const struct invocation *in)
{
    struct reply reply = {.watch = -1};
    struct request r = {.method = "POST",
                        .path = "/v1/profiles/{name}/folder",
                        .name = in->args[0],
                        .query = {{"kind", option_value(in, "client")}}};
    enum exit_code code = answer_to(in, &r, &reply);
    if (code != EXIT_OK) {
        return code;
    }
    char name[64];
    const char *line = body_line(&reply);
    size_t len = strcspn(line, "=");
    if (line[len] != '=' || len == 0 || len >= sizeof(name)) {
        code = fail(EXIT_FAILED, "the daemon's answer names no folder");
    } else {
        memcpy(name, line, len);
        name[len] = '\0';
        code = give(name, line + len + 1);
    }
    reply_release(&reply);
    return code;
}

static enum exit_code run(const struct invocation *in)
{
    const char *variable = option_value(in, "var");
    enum exit_code code = variable != NULL ? give_token(in, variable) : give_folder(in);
    struct err_text text;
    if (code != EXIT_OK) {
        return code;
    }
    /* As shells have it; what the program itself ends with is its own. */
    int err = program_become(in->program, &text);
    return fail_text((enum exit_code)(err == ERR_NOT_FOUND ? 127 : 126), &text);
}

const struct command command_exec = {
    .name = "exec",
    .summary = "run one program as a profile",
    .text =
        "Where the profile's client can be given a folder, the program gets one of its own, which\n"
        "is kept in step: two accounts run side by side. With --var it gets the access token in a\n"
        "variable of its environment, and nobody else does; it is not renewed there.\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .options = {{"client", "KIND", "claude or codex; default: the provider's own"},
                {"var", "VARIABLE", "the access token, in this variable"}},
    .runs_program = true,
    .run = run,
};

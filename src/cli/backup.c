/* `credwarden backup`: a consistent copy of the store, made by the daemon. */
#include "cli/ask.h"
#include "cli/files.h"

static enum exit_code run(const struct invocation *in)
{
    char path[FILE_PATH_SIZE]; /* the daemon lives at "/": it cannot know what we mean by "here" */
    struct err_text text;
    if (path_absolute(in->args[0], path, sizeof(path), &text) != 0) {
        return fail_text(EXIT_INPUT, &text);
    }
    struct request r = {
        .method = "POST",
        .path = "/v1/backup",
        .query = {{"path", path},
                  {"overwrite", option_value(in, "overwrite") != NULL ? "yes" : NULL}},
    };
    return ask_and_print(in, &r);
}

const struct command command_backup = {
    .name = "backup",
    .summary = "copy the store to a file",
    .text =
        "Copies the store as it is at one moment, tokens sealed, while the daemon goes on. The\n"
        "vault's key is not in it. A restored copy is older than what providers know: credwarden\n"
        "notices, and treats every login in it as in doubt.\n",
    .args = {{"FILE", ARG_TEXT, false}},
    .options = {{"overwrite", NULL, "replace the file when it exists"}},
    .run = run,
};

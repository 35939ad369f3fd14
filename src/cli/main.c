/*
 * credwarden, the command line: thin, because programs call `credwarden token NAME` for every
 * request they make. It links libc and src/base, knows no JSON, and asks the daemon for text that
 * is ready to print.
 *
 * This file is the table. A command is one file: its description and what it does.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/start.h"

const struct command *const commands[] = {
    &command_add,    &command_list,    &command_status,  &command_show,      &command_token,
    &command_renew,  &command_report,  &command_history, &command_policy,    &command_rename,
    &command_remove, &command_bind,    &command_unbind,  &command_consumers, &command_use,
    &command_exec,   &command_doctor,  &command_events,  &command_backup,    &command_repair,
    &command_daemon, &command_version, &command_help,
};
const size_t n_commands = ARRAY_LEN(commands);

/* CREDWARDEN_NO_START=1 stands for --no-start. */
static int no_start_by_environment(bool *ret, struct err_text *text)
{
    const char *value = getenv("CREDWARDEN_NO_START");
    if (value == NULL || *value == '\0') {
        return 0;
    }
    if (str_to_bool(value, ret) != 0) {
        return err_say(text, ERR_INVALID, "CREDWARDEN_NO_START is '%s': expected yes or no",
                       shown(value).text);
    }
    return 0;
}

static enum exit_code run(const struct invocation *in)
{
    if (in->command != NULL && !in->help) {
        return in->command->run(in);
    }
    const char *topic = in->command != NULL ? in->command->name : NULL;
    const struct invocation help = {.command = &command_help, .args = {topic}};
    return command_help.run(&help);
}

static enum exit_code run_line(int argc, char **argv)
{
    struct invocation in;
    struct err_text text;
    bool no_start = false;
    if (options_parse(argc, argv, commands, n_commands, &in, &text) != 0 ||
        no_start_by_environment(&no_start, &text) != 0) {
        return fail_text(EXIT_USAGE, &text);
    }
    if (in.command == NULL && !in.help) {
        return fail(EXIT_USAGE, "a command is missing; `credwarden help` lists them");
    }
    in.no_start = in.no_start || no_start;
    enum exit_code code = run(&in);
    if (fflush(stdout) != 0 && code == EXIT_OK) {
        code = fail(EXIT_FAILED, "cannot write to standard output: %s", strerror(errno));
    }
    return code;
}

int main(int argc, char **argv)
{
    guard_standard_descriptors();
    return (int)run_line(argc, argv);
}

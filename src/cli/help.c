/* `credwarden help`: made from the tables that the program itself runs by. */
#include "base/exits.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/options.h"

/* Each exit code in words. A switch without a default: a new code does not compile without them. */
static const char *exit_text(enum exit_code code)
{
    switch (code) {
    case EXIT_OK:
        return "done";
    case EXIT_FAILED:
        return "anything not listed below";
    case EXIT_USAGE:
        return "the command line is wrong";
    case EXIT_UNKNOWN:
        return "there is no such profile, provider or address";
    case EXIT_POLICY:
        return "refused by policy or limit; the message names the command that changes it";
    case EXIT_SIGN_IN:
        return "the login is over: sign in again";
    case EXIT_LATER:
        return "not now: in doubt, throttled, unreachable, busy or timed out";
    case EXIT_DAEMON:
        return "the daemon cannot be reached or started";
    case EXIT_INPUT:
        return "a file or standard input is not what it should be";
    }
    return NULL;
}

static void print_exit_codes(void)
{
    (void)printf("Exit codes, and the problem codes of the API that lead to them:\n");
    for (int code = EXIT_OK; exit_text((enum exit_code)code) != NULL; code++) {
        (void)printf("\n  %d  %s\n", code, exit_text((enum exit_code)code));
        for (unsigned i = 0; problem_at(i) != NULL; i++) {
            const struct problem_kind *kind = problem_at(i);
            if (kind->exit == (enum exit_code)code) {
                (void)printf("       %-20s %s\n", kind->code, kind->title);
            }
        }
    }
}

static void print_options(const struct option_spec *o)
{
    for (; o->name != NULL; o++) {
        char word[40];
        (void)snprintf(word, sizeof(word), "--%s%s%s", o->name, o->value != NULL ? " " : "",
                       o->value != NULL ? o->value : "");
        (void)printf("  %-24s %s\n", word, o->doc);
    }
}

static void print_command(const struct command *c)
{
    char usage[160];
    command_usage(c, usage, sizeof(usage));
    (void)printf("usage: %s\n\n%s\n", usage, c->text);
    (void)printf("Options:\n");
    print_options(c->options);
    print_options(global_options);
}

static void print_overview(void)
{
    (void)printf("credwarden keeps logins with single-use refresh tokens alive.\n\n"
                 "usage: credwarden COMMAND [arguments] [options]\n\nCommands:\n");
    for (size_t i = 0; i < n_commands; i++) {
        (void)printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    }
    (void)printf("\nOptions of every command:\n");
    print_options(global_options);
    (void)printf(
        "\nEnvironment:\n"
        "  CREDWARDEN_SOCKET        the daemon's socket, instead of the usual one\n"
        "  CREDWARDEN_NO_START=yes  as --no-start\n"
        "\n`credwarden help COMMAND` says more; `credwarden help exit-codes` lists those.\n");
}

static enum exit_code run(const struct invocation *in)
{
    const char *topic = in->args[0];
    struct err_text text;
    if (topic == NULL) {
        print_overview();
        return EXIT_OK;
    }
    if (strcmp(topic, "exit-codes") == 0) {
        print_exit_codes();
        return EXIT_OK;
    }
    const struct command *c = command_find(topic, commands, n_commands, &text);
    if (c == NULL) {
        return fail_text(EXIT_USAGE, &text);
    }
    print_command(c);
    return EXIT_OK;
}

const struct command command_help = {
    .name = "help",
    .summary = "explain a command, or the exit codes",
    .text = "TOPIC is a command or `exit-codes`.\n",
    .args = {{"TOPIC", ARG_TEXT, true}},
    .run = run,
};

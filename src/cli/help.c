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

/* The same for programs. The texts are our own; only what stands in them is escaped. */
static void json_text(const char *text)
{
    (void)putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            (void)printf("\\n");
        } else {
            (void)printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
        }
    }
    (void)putchar('"');
}

static void json_member(const char *before, const char *name, const char *text)
{
    (void)printf("%s\"%s\":", before, name);
    json_text(text);
}

static void json_command(const struct command *c)
{
    char usage[160];
    command_usage(c, usage, sizeof(usage));
    json_member("{", "name", c->name);
    json_member(",", "usage", usage);
    json_member(",", "summary", c->summary);
    json_member(",", "text", c->text);
    (void)printf(",\"options\":[");
    for (const struct option_spec *o = c->options; o->name != NULL; o++) {
        (void)printf("{");
        json_member("", "name", o->name);
        json_member(",", "value", o->value != NULL ? o->value : "");
        json_member(",", "doc", o->doc);
        (void)printf("%s", o[1].name != NULL ? "}," : "}");
    }
    (void)printf("]}");
}

static void json_overview(void)
{
    (void)printf("{\"commands\":[");
    for (size_t i = 0; i < n_commands; i++) {
        (void)printf("%s", i > 0 ? "," : "");
        json_command(commands[i]);
    }
    (void)printf("]}");
}

static void json_exit_codes(void)
{
    (void)printf("{\"exit_codes\":[");
    for (int code = EXIT_OK; exit_text((enum exit_code)code) != NULL; code++) {
        const char *before = "";
        (void)printf("%s{\"exit\":%d", code > EXIT_OK ? "," : "", code);
        json_member(",", "text", exit_text((enum exit_code)code));
        (void)printf(",\"problems\":[");
        for (unsigned i = 0; problem_at(i) != NULL; i++) {
            if (problem_at(i)->exit == (enum exit_code)code) {
                (void)printf("%s", before);
                json_member("{", "code", problem_at(i)->code);
                json_member(",", "title", problem_at(i)->title);
                (void)printf("}");
                before = ",";
            }
        }
        (void)printf("]}");
    }
    (void)printf("]}");
}

static enum exit_code run(const struct invocation *in)
{
    const char *topic = in->args[0];
    struct err_text text;
    if (topic == NULL) {
        in->json ? json_overview() : print_overview();
        (void)printf("%s", in->json ? "\n" : "");
        return EXIT_OK;
    }
    if (strcmp(topic, "exit-codes") == 0) {
        in->json ? json_exit_codes() : print_exit_codes();
        (void)printf("%s", in->json ? "\n" : "");
        return EXIT_OK;
    }
    const struct command *c = command_find(topic, commands, n_commands, &text);
    if (c == NULL) {
        return fail_text(EXIT_USAGE, &text);
    }
    in->json ? json_command(c) : print_command(c);
    (void)printf("%s", in->json ? "\n" : "");
    return EXIT_OK;
}

const struct command command_help = {
    .name = "help",
    .summary = "explain a command, or the exit codes",
    .text = "TOPIC is a command or `exit-codes`.\n",
    .args = {{"TOPIC", ARG_TEXT, true}},
    .run = run,
};

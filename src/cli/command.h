/*
 * What a command is: one line of the table in main.c. Its arguments and options are described
 * once, and the parser, the usage errors and `help` all read that description.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/exits.h"

#define COMMAND_ARGS_MAX    2
#define COMMAND_OPTIONS_MAX 5

enum arg_kind {
    ARG_TEXT,    /* anything that is not empty */
    ARG_PROFILE, /* a profile's name, checked by name_is_valid() */
};

struct arg_spec {
    const char *name; /* "NAME", as the usage line shows it; NULL ends the list */
    enum arg_kind kind;
    bool is_optional; /* only behind the ones that are not */
};

struct option_spec {
    const char *name;  /* without the dashes; NULL ends the list */
    const char *value; /* placeholder of its value; NULL: it takes none */
    const char *doc;
};

struct invocation;

struct command {
    const char *name;
    const char *summary; /* half a line, for the list */
    const char *text;    /* paragraphs for `help COMMAND` */
    struct arg_spec args[COMMAND_ARGS_MAX + 1];
    struct option_spec options[COMMAND_OPTIONS_MAX + 1];
    bool runs_program; /* behind `--` comes a program and its arguments */
    bool tells_skew;   /* also a script is told that the daemon is of another version */
    enum exit_code (*run)(const struct invocation *in);
};

/* Known to every command, before or after its name. Ended by a NULL name. */
extern const struct option_spec global_options[];

/* One command line, understood. Strings are argv's own. */
struct invocation {
    const struct command *command; /* NULL: none was named */
    bool json;
    bool no_start;
    bool help;
    const char *args[COMMAND_ARGS_MAX];      /* NULL: not given */
    char *const *program;                    /* what came behind `--`; NULL: nothing */
    const char *values[COMMAND_OPTIONS_MAX]; /* as command->options; "" for a bare option */
};

/* The value of an option of the command; NULL when it was not given. The name must be known. */
const char *option_value(const struct invocation *in, const char *name);

extern const struct command command_add, command_list, command_status, command_show, command_token,
    command_renew, command_history, command_policy, command_remove, command_rename, command_events,
    command_bind, command_unbind, command_consumers, command_use, command_exec, command_doctor,
    command_report, command_backup, command_repair, command_daemon, command_version, command_help;

/* The table of main.c, in the order of `help`. */
extern const struct command *const commands[];
extern const size_t n_commands;

#endif

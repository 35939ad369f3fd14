/*
 * The one parser of command lines: `--name value`, `--name=value`, `--`, `-h`. Everything that is
 * wrong is named, with the nearest right word where there is one.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/err.h"
#include "cli/command.h"

/* argv[0] is skipped. ERR_INVALID with a sentence: an unknown command or option, an option twice or
 * without its value, a missing or surplus argument, an invalid profile name, bytes that are not
 * UTF-8. With --help nothing beyond the options is checked. */
int options_parse(int argc, char *const *argv, const struct command *const *table, size_t n,
                  struct invocation *ret, struct err_text *text);

/* NULL when there is none; `text` then says so, with the nearest. */
const struct command *command_find(const char *name, const struct command *const *table, size_t n,
                                   struct err_text *text);

/* A word as messages echo it: what is longer is cut, so that the rest of the sentence has room. */
#define WORD_SHOWN_MAX 72
struct shown_word {
    char text[WORD_SHOWN_MAX + sizeof("…")];
};
struct shown_word shown(const char *word);

/* "add NAME --provider P …" → `credwarden COMMAND ARGS [options]`. Cut at `size`. */
void command_usage(const struct command *c, char *buf, size_t size);

#endif

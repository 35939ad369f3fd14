/*
 * exec: a command that is given the token, and does with it what it likes.
 */
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "sink/sink_parts.h"
#include "sys/process.h"

#define VARIABLES_MAX 32
#define INPUT_MAX     (64 * 1024)

static int check(const char *place, struct err_text *text)
{
    return str_is_blank(place) ? err_say(text, ERR_INVALID, "a command for /bin/sh was expected")
                               : 0;
}

/* What a command cannot do without, and nothing that somebody may have put into ours. */
static bool is_wanted(const char *variable)
{
    static const char *const wanted[] = {"PATH=", "HOME=", "LANG=", "USER=", "XDG_"};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (strncmp(variable, wanted[i], strlen(wanted[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void choose_environment(char *ret[VARIABLES_MAX + 1])
{
    size_t n = 0;
    for (char *const *e = process_environment(); *e != NULL && n < VARIABLES_MAX; e++) {
        if (is_wanted(*e)) {
            ret[n++] = *e;
        }
    }
    ret[n] = NULL;
}

static int add_input(const struct sink_values *v, struct buf *out)
{
    static const struct {
        const char *before;
        enum sink_value value;
    } members[] = {{"{\"access_token\":", SINK_VALUE_ACCESS},
                   {",\"expires_at\":", SINK_VALUE_EXPIRES_AT},
                   {",\"profile\":", SINK_VALUE_PROFILE},
                   {",\"label\":", SINK_VALUE_LABEL}};
    int err = 0;
    for (size_t i = 0; err == 0 && i < ARRAY_LEN(members); i++) {
        err = buf_add_str(out, members[i].before);
        err = err != 0 ? err : sink_add_json(members[i].value, v, out);
    }
    return err != 0 ? err : buf_add_str(out, "}\n");
}

/* The command is not quoted: its user may have put a secret into it. */
static int say_ending(const struct process_ending *e, struct err_text *text)
{
    if (e->signal != 0) {
        return err_say(text, ERR_IO, "the command was ended by signal %d", e->signal);
    }
    if (e->exit_code != 0) {
        const char *more = e->exit_code == 127   ? ": there is no such command"
                           : e->exit_code == 126 ? ": it cannot be run"
                                                 : "";
        return err_say(text, ERR_IO, "the command failed with exit code %d%s", e->exit_code, more);
    }
    return 0;
}

int sink_run(const char *command, const struct sink_values *v, int64_t limit_ms,
             struct err_text *text)
{
    char shell[] = "sh", option[] = "-c", line[SINK_PLACE_MAX];
    char *argv[] = {shell, option, line, NULL};
    char *envp[VARIABLES_MAX + 1];
    struct process_ending end = {0};
    struct buf input;
    CHECK(str_copy(line, sizeof(line), command) == 0);
    choose_environment(envp);
    buf_init_secret(&input, INPUT_MAX);
    int err = add_input(v, &input);
    if (err == 0) {
        err = process_run("/bin/sh", argv, envp, input.bytes, input.len, limit_ms, &end);
    }
    buf_release(&input);
    if (err == ERR_TIMEOUT) {
        char limit[24];
        duration_format(limit_ms, limit, sizeof(limit));
        return err_say(text, err, "the command had not ended after %s, and was killed", limit);
    }
    return err != 0 ? err_say(text, err, "the command cannot be run: %s", err_reason(err))
                    : say_ending(&end, text);
}

static int put(const char *place, const struct sink_values *v, struct err_text *text)
{
    return sink_run(place, v, SINK_COMMAND_MS, text);
}

const struct sink_kind sink_exec = {"exec", check, put};

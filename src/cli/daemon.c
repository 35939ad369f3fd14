/* `credwarden daemon`: the process behind the commands. */
#include "base/check.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/ask.h"
#include "cli/client.h"
#include "cli/options.h"
#include "cli/start.h"

/* Spends in flight are finished first, for at most the daemon's own deadline for them. */
#define STOP_TIME_MS (120 * SECOND_MS)

static enum exit_code say_done(const struct invocation *in, const char *done)
{
    (void)printf(in->json ? "{\"done\":\"%s\"}\n" : "credwardend: %s\n", done);
    return EXIT_OK;
}

static enum exit_code start(const struct invocation *in)
{
    struct err_text text;
    int fd = -1;
    bool started = false;
    if (reach_daemon(true, &fd, &started, &text) != 0) {
        return fail_text(EXIT_DAEMON, &text);
    }
    client_close(fd);
    return say_done(in, started ? "started" : "runs already");
}

/* Done when the process is gone: only then are its lock and its socket free. */
static enum exit_code end(const struct invocation *in, bool *ret_ran)
{
    struct request r = {.method = "POST", .path = "/v1/daemon/stop"};
    struct reply reply;
    enum exit_code code = ask_running(in, &r, &reply, ret_ran);
    if (code == EXIT_OK && *ret_ran) {
        code = check_reply(in, &reply);
    }
    if (code == EXIT_OK && *ret_ran) {
        int watch = reply.watch;
        reply.watch = -1;
        if (watch < 0 || peer_await_end(watch, STOP_TIME_MS) != 0) {
            code = fail(EXIT_LATER, "credwardend (process %d) was told to stop and has not ended",
                        reply.peer_pid);
        }
    }
    reply_release(&reply);
    return code;
}

static enum exit_code stop(const struct invocation *in)
{
    bool ran = false;
    enum exit_code code = end(in, &ran);
    return code != EXIT_OK ? code : say_done(in, ran ? "stopped" : "was not running");
}

static enum exit_code restart(const struct invocation *in)
{
    bool ran = false;
    enum exit_code code = end(in, &ran);
    return code != EXIT_OK ? code : start(in);
}

static enum exit_code reload(const struct invocation *in)
{
    struct request r = {.method = "POST", .path = "/v1/daemon/reload"};
    struct invocation here = *in;
    here.no_start = true; /* one that starts reads its configuration anyway */
    return ask_and_print(&here, &r);
}

static enum exit_code status(const struct invocation *in)
{
    struct request r = {.method = "GET", .path = "/v1/version"};
    struct reply reply;
    bool runs = false;
    enum exit_code code = ask_running(in, &r, &reply, &runs);
    if (code == EXIT_OK && runs) {
        code = check_reply(in, &reply);
    }
    if (code == EXIT_OK && in->json) {
        (void)printf("{\"running\":%s,\"daemon\":%s}\n", runs ? "true" : "false",
                     runs ? body_line(&reply) : "null");
    } else if (code == EXIT_OK && runs) {
        (void)printf("credwardend: version %s runs (process %d)\n", reply.response.version,
                     reply.peer_pid);
    } else if (code == EXIT_OK) {
        (void)printf("credwardend: not running\n");
    }
    reply_release(&reply);
    return code == EXIT_OK && !runs ? EXIT_DAEMON : code;
}

static enum exit_code foreground(const struct invocation *in)
{
    struct err_text text;
    (void)in;
    (void)daemon_become("--foreground", NULL, &text);
    return fail_text(EXIT_DAEMON, &text);
}

static const struct {
    const char *name;
    enum exit_code (*run)(const struct invocation *in);
} actions[] = {
    {"start", start},   {"stop", stop},     {"restart", restart},
    {"reload", reload}, {"status", status}, {"run", foreground},
};

static enum exit_code run(const struct invocation *in)
{
    const char *words[ARRAY_LEN(actions)];
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (strcmp(actions[i].name, in->args[0]) == 0) {
            return actions[i].run(in);
        }
        words[i] = actions[i].name;
    }
    const char *near = str_nearest(in->args[0], words, ARRAY_LEN(words));
    if (near != NULL) {
        return fail(EXIT_USAGE, "there is no 'daemon %s'; did you mean 'daemon %s'?",
                    shown(in->args[0]).text, near);
    }
    return fail(EXIT_USAGE,
                "there is no 'daemon %s': start, stop, restart, reload, status and run "
                "are",
                shown(in->args[0]).text);
}

const struct command command_daemon = {
    .name = "daemon",
    .summary = "start, stop, restart, reload or look at the daemon",
    .text = "The daemon starts by itself on first need; ACTION is for when that is not enough.\n"
            "  start    start it, unless it runs\n"
            "  stop     end it; spends in flight are finished first\n"
            "  restart  stop, then start: after an upgrade\n"
            "  reload   read its configuration again\n"
            "  status   say whether it runs (exit code 7: it does not)\n"
            "  run      be it, in the foreground, with the log on standard error\n",
    .args = {{"ACTION", ARG_TEXT, false}},
    .tells_skew = true,
    .run = run,
};

/* `credwarden version`: of the command line, and of the daemon if one runs. What runs is what is
 * asked for, so nothing is started to find out. */
#include "cli/ask.h"

static void print(const struct invocation *in, struct reply *daemon, bool runs)
{
    if (in->json) {
        (void)printf("{\"client\":\"" CREDWARDEN_VERSION "\",\"daemon\":%s}\n",
                     runs ? body_line(daemon) : "null");
    } else if (runs) {
        (void)printf("credwarden " CREDWARDEN_VERSION "\ncredwardend %s (process %d)\n",
                     daemon->response.version, daemon->peer_pid);
    } else {
        (void)printf("credwarden " CREDWARDEN_VERSION "\ncredwardend is not running\n");
    }
}

static enum exit_code run(const struct invocation *in)
{
    struct request r = {.method = "GET", .path = "/v1/version"};
    struct reply reply;
    bool runs = false;
    enum exit_code code = ask_running(in, &r, &reply, &runs);
    if (code == EXIT_OK && runs) {
        code = check_reply(in, &reply);
    }
    if (code == EXIT_OK) {
        print(in, &reply, runs);
    }
    reply_release(&reply);
    return code;
}

const struct command command_version = {
    .name = "version",
    .summary = "print the versions of the command line and of the daemon",
    .text = "Starts no daemon. An older one that still runs after an upgrade is named on standard\n"
            "error.\n",
    .tells_skew = true,
    .run = run,
};

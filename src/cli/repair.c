/* `credwarden repair`: for a store with which the daemon does not start. The daemon's own program
 * does it: it knows the store and the vault. */
#include "cli/ask.h"
#include "cli/start.h"

static enum exit_code run(const struct invocation *in)
{
    struct err_text text;
    (void)daemon_become("--repair", in->json ? "--json" : NULL, &text);
    return fail_text(EXIT_DAEMON, &text);
}

const struct command command_repair = {
    .name = "repair",
    .summary = "make a sound store of what a damaged one still has",
    .text =
        "For when the daemon does not start because the store is damaged. Every login whose rows\n"
        "and sealed pair are as they were written goes into a new store; the damaged one is kept\n"
        "beside it, as store.db.damaged-<time>. A sound store is left as it is. It is told for\n"
        "each profile what became of it; what was saved is in doubt until its provider has\n"
        "confirmed it, as with a restored backup. No daemon may run meanwhile.\n"
        "\n"
        "A recent backup may know more: look at what is reported as not saved first.\n"
        "\n"
        "Exit code 0: every login was saved. 5: some were not; they are named. 6: the daemon runs.\n"
        "1: nothing was changed.\n",
    .run = run,
};

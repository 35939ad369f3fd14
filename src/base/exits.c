/*
 * The table of problems. A status tells a program what to do: 409 waits for the user, 503 and 429
 * for time, 422 for other input; the code says which.
 */
#include "base/exits.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"

static const struct problem_kind kinds[] = {
    {"internal", 500, EXIT_FAILED, "Something failed inside credwarden"},

    /* Answers of the core (answer_name). */
    {"profile-unknown", 404, EXIT_UNKNOWN, "There is no such profile"},
    {"wish-too-long", 422, EXIT_POLICY, "More life was wished for than the provider's tokens have"},
    {"spend-capped", 429, EXIT_POLICY, "The last refresh is too recent for another one"},
    {"policy-forbids", 403, EXIT_POLICY, "The profile's policy forbids the refresh it would take"},
    {"sign-in-needed", 409, EXIT_SIGN_IN, "The login is over: sign in again"},
    {"in-doubt", 503, EXIT_LATER, "The answer to a refresh was lost; the login is being recovered"},
    {"pair-expired", 409, EXIT_SIGN_IN, "The token has expired and cannot be refreshed"},
    {"quarantined", 409, EXIT_SIGN_IN, "The login belongs to another subject and is set aside"},
    {"subject-unproven", 503, EXIT_LATER, "The provider has not yet named the login's subject"},
    {"throttled", 429, EXIT_LATER, "The provider asks to come back later"},
    {"provider-unreachable", 503, EXIT_LATER, "The provider cannot be reached"},
    {"timed-out", 504, EXIT_LATER, "The time allowed is over"},
    {"store-failed", 500, EXIT_FAILED, "The store cannot be written"},
    {"busy", 503, EXIT_LATER, "Too many requests are waiting"},
    {"stopping", 503, EXIT_LATER, "The daemon is stopping"},
    {"subject-differs", 409, EXIT_INPUT, "The login belongs to another subject than the profile"},
    {"pair-rejected", 422, EXIT_INPUT, "The provider refuses the login"},
    {"pair-known", 409, EXIT_INPUT, "This login is held already, or known to be spent"},

    /* Requests and the input they bring. */
    {"usage", 400, EXIT_USAGE, "The request is not what it should be"},
    {"name-invalid", 400, EXIT_USAGE, "The name is not a valid profile name"},
    {"input-invalid", 422, EXIT_INPUT, "The input is not what it should be"},
    {"input-too-large", 413, EXIT_INPUT, "The input is too large"},
    {"provider-unknown", 404, EXIT_UNKNOWN, "There is no such provider"},
    {"provider-invalid", 422, EXIT_INPUT, "The provider definition is not valid"},
    {"profiles-full", 409, EXIT_POLICY, "There are as many profiles as the configuration allows"},
    {"profile-exists", 409, EXIT_FAILED, "There is a profile of that name already"},
    {"consumer-exists", 409, EXIT_FAILED, "That place is bound already"},
    {"consumer-unknown", 404, EXIT_UNKNOWN, "There is no such place"},
    {"consumers-full", 409, EXIT_POLICY, "There are as many places as there may be"},
    {"provider-differs", 409, EXIT_INPUT, "The login is of another provider than the place"},
    {"switch-failed", 409, EXIT_FAILED, "The place could not be switched, and is as it was"},
    {"no-folder", 404, EXIT_UNKNOWN, "The profile's client takes no folder of its own"},
    {"file-exists", 409, EXIT_FAILED, "There is a file of that name already"},
    {"locked", 423, EXIT_FAILED, "The vault is locked"},

    /* HTTP itself. */
    {"not-found", 404, EXIT_UNKNOWN, "There is nothing at this address"},
    {"method-not-allowed", 405, EXIT_FAILED, "The method is not allowed here"},
    {"http-malformed", 400, EXIT_FAILED, "The request is not valid HTTP"},
    {"peer-refused", 403, EXIT_FAILED, "This socket serves another user"},
    {"peer-unknown", 503, EXIT_LATER, "The system does not say whose connection this is"},

    /* Told by the command line alone. */
    {"daemon-unreachable", 503, EXIT_DAEMON, "The daemon cannot be reached or started"},
};

const struct problem_kind *problem_find(const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].code, code) == 0) {
            return &kinds[i];
        }
    }
    return &kinds[0];
}

const struct problem_kind *problem_at(unsigned i)
{
    return i < ARRAY_LEN(kinds) ? &kinds[i] : NULL;
}

/* `credwarden add`: hand a login over. */
#include "base/time.h"
#include "base/words.h"
#include "cli/ask.h"
#include "cli/files.h"
#include "cli/places.h"

/* The daemon asks the provider who this is before it answers. */
/* Beyond two questions (discovery, identity) of the longest ask_deadline. */
#define ADD_PATIENCE_MS (11 * MINUTE_MS)

static enum exit_code check_options(const struct invocation *in, const struct client_file *from)
{
    if (option_value(in, "provider") == NULL && from->kind[0] == '\0') {
        return fail(EXIT_USAGE, "--provider is missing: the name of a provider, or the address of "
                                "an issuer");
    }
    if (option_value(in, "from") == NULL) {
        return fail(EXIT_USAGE, "--from is missing: the credential file, or - for standard input");
    }
    return check_policy(option_value(in, "policy"));
}

static enum exit_code run(const struct invocation *in)
{
    const char *from = option_value(in, "from");
    const char *provider = option_value(in, "provider");
    struct client_file client = {.kind = ""};
    enum exit_code code = from != NULL ? client_file_find(from, &client) : EXIT_OK;
    if (code == EXIT_OK) {
        code = check_options(in, &client);
    }
    if (code != EXIT_OK) {
        return code;
    }
    bool is_client = client.kind[0] != '\0';
    struct err_text text;
    struct credential c;
    if (credential_read(is_client ? client.path : from, &c, &text) != 0) {
        return fail_text(EXIT_INPUT, &text);
    }
    char as_of[32]; /* what "expires_in" in the file counts from */
    wall_format(c.changed_wall_ms, as_of, sizeof(as_of));
    struct request r = {
        .method = "POST",
        .path = "/v1/profiles/{name}",
        .name = in->args[0],
        .query = {{"provider", provider != NULL ? provider : client.kind},
                  {"format", is_client ? client.kind : NULL},
                  {"client_id", option_value(in, "client-id")},
                  {"policy", option_value(in, "policy")},
                  {"source", c.source},
                  {"as_of", c.changed_wall_ms != 0 ? as_of : NULL}},
        .body = c.bytes,
        .body_len = c.len,
        .patience_ms = ADD_PATIENCE_MS,
    };
    code = ask_and_print(in, &r);
    credential_clear(&c);
    return code;
}

const struct command command_add = {
    .name = "add",
    .summary = "hand a login over to credwarden",
    .text =
        "Reads a credential: a client's own file, or the JSON answer of a token endpoint. It is\n"
        "sealed at once; then the provider is asked whose it is, and only a login with a known\n"
        "subject becomes the profile. Adding to an existing profile renews its login, and is\n"
        "refused for another subject. FILE may be a client's name (claude, codex, gemini,\n"
        "opencode; with :DIR where it is not in its usual folder): then its store is read, and it\n"
        "says which provider, too.\n",
    .args = {{"NAME", ARG_PROFILE, false}},
    .options = {{"provider", "PROVIDER", "name of a provider, or the address of an OAuth issuer"},
                {"from", "FILE", "the credential; - reads standard input"},
                {"client-id", "ID", "the client the login belongs to, where the provider has none"},
                {"policy", "POLICY", "never, standby or always: may credwarden spend it?"}},
    .run = run,
};

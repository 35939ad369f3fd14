/* `credwarden policy`: may credwarden spend the refresh token of a profile? */
#include "base/check.h"
#include "base/str.h"
#include "base/words.h"
#include "cli/ask.h"
#include "cli/options.h"

enum exit_code check_policy(const char *name)
{
    const char *words[POLICY_COUNT];
    enum policy p;
    if (name == NULL || policy_parse(name, &p) == 0) {
        return EXIT_OK;
    }
    for (int i = 0; i < POLICY_COUNT; i++) {
        words[i] = policy_name((enum policy)i);
    }
    const char *near = str_nearest(name, words, ARRAY_LEN(words));
    if (near != NULL) {
        return fail(EXIT_USAGE, "there is no policy '%s'; did you mean '%s'?", shown(name).text,
                    near);
    }
    return fail(EXIT_USAGE, "there is no policy '%s': never, standby and always are",
                shown(name).text);
}

/* The policy in the JSON form of a profile. This is no parser: it needs none, since our own daemon
 * wrote the text, and a quote inside a string is always escaped there, so that `"policy"` followed
 * by a colon is the member and nothing else. */
static int find_policy(const char *json, enum policy *ret)
{
    static const char key[] = "\"policy\"";
    char word[16];
    const char *p = strstr(json, key);
    if (p == NULL) {
        return ERR_NOT_FOUND;
    }
    p += strlen(key);
    p += strspn(p, " :");
    size_t len = *p == '"' ? strcspn(p + 1, "\"") : sizeof(word);
    if (len >= sizeof(word)) {
        return ERR_INVALID;
    }
    memcpy(word, p + 1, len);
    word[len] = '\0';
    return policy_parse(word, ret);
}

static enum exit_code print_policy(const struct invocation *in, const struct reply *reply)
{
    enum policy policy = POLICY_NEVER;
    if (find_policy(buf_text(&reply->body), &policy) != 0) {
        return fail(EXIT_FAILED, "the daemon's answer names no policy");
    }
    (void)printf(in->json ? "{\"policy\":\"%s\"}\n" : "%s\n", policy_name(policy));
    return EXIT_OK;
}

static enum exit_code show(const struct invocation *in)
{
    struct request r = {.method = "GET", .path = "/v1/profiles/{name}", .name = in->args[0]};
    struct invocation as_json = *in;
    struct reply reply = {.watch = -1};
    as_json.json = true;
    enum exit_code code = ask(&as_json, &r, &reply);
    if (code == EXIT_OK && reply.response.status >= 300 && !in->json) {
        reply_release(&reply); /* what is wrong is for people: in their form */
        code = ask(in, &r, &reply);
    }
    if (code != EXIT_OK) {
        return code;
    }
    code = check_reply(in, &reply);
    if (code == EXIT_OK) {
        code = print_policy(in, &reply);
    }
    reply_release(&reply);
    return code;
}

static enum exit_code run(const struct invocation *in)
{
    if (in->args[1] == NULL) {
        return show(in);
    }
    enum exit_code code = check_policy(in->args[1]);
    if (code != EXIT_OK) {
        return code;
    }
    struct request r = {
        .method = "POST",
        .path = "/v1/profiles/{name}/policy",
        .name = in->args[0],
        .query = {{"to", in->args[1]}},
    };
    return ask_and_print(in, &r);
}

const struct command command_policy = {
    .name = "policy",
    .summary = "show or change who may spend a profile's refresh token",
    .text = "Without POLICY, prints it.\n"
            "  never    credwarden spends nothing: the vendor's client does, we watch and warn\n"
            "  standby  credwarden spends only while nobody else holds the pair\n"
            "  always   credwarden alone spends\n",
    .args = {{"NAME", ARG_PROFILE, false}, {"POLICY", ARG_TEXT, true}},
    .run = run,
};

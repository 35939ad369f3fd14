/*
 * Places on the command line → places for the daemon, which knows neither our folder nor our
 * environment.
 */
#include "cli/places.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "cli/ask.h"
#include "cli/files.h"
#include "cli/options.h"

#define PLACE_SIZE 4096

/* Where each client keeps its store: the first of these that is set; with `below` the folder in it.
 */
static const struct usual {
    const char *kind, *variable, *below;
} usual[] = {
    {"claude", "CLAUDE_SECURESTORAGE_CONFIG_DIR", ""},
    {"claude", "CLAUDE_CONFIG_DIR", ""},
    {"claude", "HOME", "/.claude"},
    {"codex", "CODEX_HOME", ""},
    {"codex", "HOME", "/.codex"},
    {"gemini", "HOME", "/.gemini"},
    {"opencode", "XDG_DATA_HOME", "/opencode"},
    {"opencode", "HOME", "/.local/share/opencode"},
};

static const struct {
    const char *kind, *file;
} files[] = {
    {"claude", ".credentials.json"},
    {"codex", "auth.json"},
    {"gemini", "oauth_creds.json"},
    {"opencode", "auth.json"},
};

static enum exit_code usual_folder(const char *kind, char ret[PLACE_SIZE])
{
    bool is_known = false;
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        const char *value = getenv(usual[i].variable);
        if (strcmp(usual[i].kind, kind) != 0) {
            continue;
        }
        is_known = true;
        if (value != NULL && value[0] != '\0') {
            int n = snprintf(ret, PLACE_SIZE, "%s%s", value, usual[i].below);
            return n < PLACE_SIZE ? EXIT_OK
                                  : fail(EXIT_USAGE, "%s: the path is too long", usual[i].variable);
        }
    }
    return is_known ? fail(EXIT_USAGE,
                           "%s: neither HOME nor a variable of its own says where its "
                           "folder is; give it as %s:DIR",
                           kind, kind)
                    : fail(EXIT_USAGE,
                           "there is no kind of place '%s': claude, codex, gemini and "
                           "opencode are",
                           kind);
}

static enum exit_code one(const struct invocation *in, const char *kind, const char *folder,
                          enum exit_code (*do_one)(const struct invocation *in, const char *place))
{
    char absolute[PLACE_SIZE];
    char place[PLACE_SIZE + 32];
    struct err_text text;
    if (path_absolute(folder, absolute, sizeof(absolute), &text) != 0) {
        return fail_text(EXIT_USAGE, &text);
    }
    (void)snprintf(place, sizeof(place), "%s:%s", kind, absolute);
    return do_one(in, place);
}

/* What matches nothing is taken as it is: the folder may be yet to come. */
static enum exit_code each_match(const struct invocation *in, const char *kind, const char *pattern,
                                 enum exit_code (*do_one)(const struct invocation *in,
                                                          const char *place))
{
    glob_t found = {0};
    enum exit_code code = EXIT_OK;
    bool is_pattern = strpbrk(pattern, "*?[") != NULL;
    if (!is_pattern || glob(pattern, GLOB_ONLYDIR, NULL, &found) != 0) {
        globfree(&found);
        return is_pattern ? fail(EXIT_USAGE, "no folder matches %s", shown(pattern).text)
                          : one(in, kind, pattern, do_one);
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        enum exit_code this = one(in, kind, found.gl_pathv[i], do_one);
        code = code == EXIT_OK ? this : code;
    }
    globfree(&found);
    return code;
}

/* Places that only credwarden writes: what follows the colon is theirs alone. */
static bool is_sink(const char *kind)
{
    static const char *const sinks[] = {"json", "env", "template", "exec"};
    for (size_t i = 0; i < ARRAY_LEN(sinks); i++) {
        if (strcmp(sinks[i], kind) == 0) {
            return true;
        }
    }
    return false;
}

enum exit_code each_place(const struct invocation *in, const char *text,
                          enum exit_code (*do_one)(const struct invocation *in, const char *place))
{
    char kind[32];
    char folder[PLACE_SIZE];
    size_t len = strcspn(text, ":");
    if (len == 0 || len >= sizeof(kind)) {
        return fail(EXIT_USAGE,
                    "'%s' is no place: KIND or KIND:DIR was expected, as claude or "
                    "codex:/srv/agent",
                    shown(text).text);
    }
    memcpy(kind, text, len);
    kind[len] = '\0';
    if (text[len] == ':' && is_sink(kind)) {
        return do_one(in, text);
    }
    if (text[len] == ':') {
        return each_match(in, kind, text + len + 1, do_one);
    }
    enum exit_code code = usual_folder(kind, folder);
    return code == EXIT_OK ? one(in, kind, folder, do_one) : code;
}

enum exit_code client_file_find(const char *text, struct client_file *ret)
{
    char folder[PLACE_SIZE];
    size_t len = strcspn(text, ":");
    struct client_file found = {.kind = ""};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (strlen(files[i].kind) != len || strncmp(text, files[i].kind, len) != 0) {
            continue;
        }
        enum exit_code code = EXIT_OK;
        if (text[len] == ':') {
            (void)str_copy(folder, sizeof(folder), text + len + 1);
        } else {
            code = usual_folder(files[i].kind, folder);
        }
        if (code != EXIT_OK) {
            return code;
        }
        (void)str_copy(found.kind, sizeof(found.kind), files[i].kind);
        (void)snprintf(found.path, sizeof(found.path), "%s/%s", folder, files[i].file);
    }
    *ret = found;
    return EXIT_OK;
}

/*
 * The route table. A {name} stands for one segment that is not empty; everything else of a pattern
 * is compared byte by byte, so no two spellings of a path lead to the same place.
 */
#include "api/routes.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

const struct route api_routes[OP_COUNT] = {
    [OP_VERSION] = {OP_VERSION, "version", "GET", "/v1/version", "", false, false},
    [OP_STATUS] = {OP_STATUS, "status", "GET", "/v1/status", "", false, false},
    [OP_PROFILES] = {OP_PROFILES, "list", "GET", "/v1/profiles", "", false, false},
    [OP_PROFILE] = {OP_PROFILE, "show", "GET", "/v1/profiles/{name}", "", false, false},
    [OP_ADD] = {OP_ADD, "add", "POST", "/v1/profiles/{name}",
                "provider client_id policy source as_of format", true, false},
    [OP_REMOVE] = {OP_REMOVE, "remove", "DELETE", "/v1/profiles/{name}", "", false, false},
    [OP_TOKEN] = {OP_TOKEN, "token", "GET", "/v1/profiles/{name}/token", "min_ttl timeout", false,
                  false},
    [OP_RENEW] = {OP_RENEW, "renew", "POST", "/v1/profiles/{name}/renew", "timeout", false, false},
    [OP_REPORT] = {OP_REPORT, "report", "POST", "/v1/profiles/{name}/report", "timeout", false,
                   false},
    [OP_POLICY] = {OP_POLICY, "policy", "POST", "/v1/profiles/{name}/policy", "to", false, false},
    [OP_RENAME] = {OP_RENAME, "rename", "POST", "/v1/profiles/{name}/rename", "to", false, false},
    [OP_HISTORY] = {OP_HISTORY, "history", "GET", "/v1/profiles/{name}/history", "limit", false,
                    false},
    [OP_USAGE] = {OP_USAGE, "usage", "GET", "/v1/profiles/{name}/usage", "", false, false},
    [OP_EVENTS] = {OP_EVENTS, "events", "GET", "/v1/events", "after limit follow", false, true},
    [OP_BACKUP] = {OP_BACKUP, "backup", "POST", "/v1/backup", "path overwrite", false, false},
    [OP_DOCTOR] = {OP_DOCTOR, "doctor", "GET", "/v1/doctor", "variables", false, false},
    [OP_CONSUMERS] = {OP_CONSUMERS, "consumers", "GET", "/v1/consumers", "", false, false},
    [OP_BIND] = {OP_BIND, "bind", "POST", "/v1/profiles/{name}/consumers", "to mode", false, false},
    [OP_FOLDER] = {OP_FOLDER, "folder", "POST", "/v1/profiles/{name}/folder", "kind", false, false},
    [OP_UNBIND] = {OP_UNBIND, "unbind", "DELETE", "/v1/consumers", "at", false, false},
    [OP_USE] = {OP_USE, "use", "POST", "/v1/consumers", "to at dry_run", false, false},
    [OP_STOP] = {OP_STOP, "stop", "POST", "/v1/daemon/stop", "", false, false},
    [OP_RELOAD] = {OP_RELOAD, "reload", "POST", "/v1/daemon/reload", "", false, false},
    [OP_OPENAPI] = {OP_OPENAPI, "openapi", "GET", "/v1/openapi.json", "", false, false},
};

static const char name_segment[] = "{name}";

static bool text_equal(struct http_text t, const char *word)
{
    return t.len == strlen(word) && memcmp(t.at, word, t.len) == 0;
}

static bool pattern_matches(const char *pattern, struct http_text path, struct http_text *ret_name)
{
    const char *hole = strstr(pattern, name_segment);
    if (hole == NULL) {
        *ret_name = (struct http_text){NULL, 0};
        return text_equal(path, pattern);
    }
    size_t before = (size_t)(hole - pattern);
    if (path.len <= before || memcmp(path.at, pattern, before) != 0) {
        return false;
    }
    struct http_text name = {path.at + before, path.len - before};
    const char *slash = memchr(name.at, '/', name.len);
    struct http_text rest = {path.at + path.len, 0};
    if (slash != NULL) {
        rest = (struct http_text){slash, (size_t)(path.at + path.len - slash)};
        name.len = (size_t)(slash - name.at);
    }
    *ret_name = name;
    return name.len > 0 && text_equal(rest, hole + sizeof(name_segment) - 1);
}

int route_find(struct http_text method, struct http_text path, const struct route **ret,
               struct http_text *ret_name, char *ret_allow)
{
    char allow[ROUTE_ALLOW_MAX] = "";
    size_t allow_len = 0;
    for (size_t i = 0; i < OP_COUNT; i++) {
        const struct route *r = &api_routes[i];
        struct http_text name;
        if (!pattern_matches(r->pattern, path, &name)) {
            continue;
        }
        if (text_equal(method, r->method)) {
            *ret = r;
            *ret_name = name;
            return 0;
        }
        int n = snprintf(allow + allow_len, sizeof(allow) - allow_len, "%s%s",
                         allow_len > 0 ? ", " : "", r->method);
        CHECK(n > 0 && (size_t)n < sizeof(allow) - allow_len);
        allow_len += (size_t)n;
    }
    if (allow_len == 0) {
        return ERR_NOT_FOUND;
    }
    memcpy(ret_allow, allow, sizeof(allow));
    return ERR_UNSUPPORTED;
}

size_t route_keys(const struct route *r, char ret[ROUTE_KEYS_MAX][ROUTE_KEY_SIZE])
{
    size_t n = 0;
    const char *at = r->query;
    while (*at != '\0') {
        size_t len = strcspn(at, " ");
        CHECK(n < ROUTE_KEYS_MAX && len > 0 && len < ROUTE_KEY_SIZE);
        memcpy(ret[n], at, len);
        ret[n++][len] = '\0';
        at += len + strspn(at + len, " ");
    }
    return n;
}

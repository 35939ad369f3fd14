/*
 * Discovery: an issuer's metadata onto a definition (RFC 8414 §3.3, OpenID Connect Discovery 1.0
 * §4.3). The document decides where refresh tokens will be sent, so it is believed only when it
 * came from the issuer it names, and only for places as far away as that issuer: a public issuer
 * must not point at this machine, a loopback one not away from it.
 */
#include "issuer/provider_parts.h"

#include <string.h>

#include "base/check.h"
#include "json/json.h"

static const struct endpoint {
    const char *field; /* in the document */
    const char *key;   /* in the definition */
    bool is_required;
} endpoints[] = {
    {"token_endpoint", "token_url", true},
    {"userinfo_endpoint", "identity_url", false},
    {"authorization_endpoint", "authorization_url", false},
    {"device_authorization_endpoint", "device_url", false},
    {"revocation_endpoint", "revocation_url", false},
};

static int set(struct provider *p, const char *key, const char *value, struct err_text *why)
{
    unsigned at = 0;
    CHECK(property_find(key, &at) == 0);
    return property_set(property_at(at), p, value, why);
}

static int issuer_check(const char *issuer, struct err_text *text)
{
    if (strncmp(issuer, "http://", 7) == 0 && !url_is_loopback(issuer)) {
        return err_say(text, ERR_INVALID,
                       "the issuer %s is http and not on this machine: tokens would cross the "
                       "network in the clear; use its https URL",
                       issuer);
    }
    if (!url_is_allowed(issuer) || strchr(issuer, '?') != NULL) {
        return err_say(text, ERR_INVALID,
                       "the issuer must be an https URL (http only to this machine) without user "
                       "name, query or fragment");
    }
    return 0;
}

static int issuer_match(const json_t *root, const char *issuer, struct err_text *text)
{
    const char *named = json_string_at(root, "issuer");
    if (named == NULL) {
        return err_say(text, ERR_INVALID, "the metadata of %s names no issuer", issuer);
    }
    if (strcmp(named, issuer) != 0) {
        return err_say(text, ERR_INVALID,
                       "the metadata of %s is that of the issuer '%.200s': they must be equal to "
                       "the byte; if the latter is meant, use it as it stands here",
                       issuer, named);
    }
    return 0;
}

static int endpoint_set(struct provider *p, const struct endpoint *e, const json_t *root,
                        const char *issuer, struct err_text *text)
{
    const json_t *value = json_object_get(root, e->field);
    if (!e->is_required && (value == NULL || json_is_null(value))) {
        return 0;
    }
    const char *url = json_string_value(value);
    if (url == NULL || *url == '\0') {
        return err_say(text, ERR_INVALID, "the metadata of %s has no usable %s", issuer, e->field);
    }
    if (url_is_loopback(url) != url_is_loopback(issuer)) {
        return err_say(text, ERR_INVALID,
                       "the metadata of %s: %s is %s this machine and the issuer is not", issuer,
                       e->field, url_is_loopback(url) ? "on" : "not on");
    }
    struct err_text why = {""};
    int err = set(p, e->key, url, &why);
    return err == 0 ? 0
                    : err_say(text, err, "the metadata of %s: %s: %s", issuer, e->field, why.text);
}

static int definition_fill(struct provider *p, const json_t *root, const char *issuer,
                           const char *client_id, struct err_text *text)
{
    int err = set(p, "issuer", issuer, text);
    if (err == 0) {
        err = set(p, "client_id", client_id, text);
    }
    for (size_t i = 0; i < ARRAY_LEN(endpoints) && err == 0; i++) {
        err = endpoint_set(p, &endpoints[i], root, issuer, text);
    }
    if (err == 0 && p->identity_url[0] != '\0') {
        err = set(p, "subject_paths", "sub", text);
        if (err == 0) {
            err = set(p, "label_path", "email", text);
        }
    }
    /* For people only, so one that is too long may stay away. */
    if (err == 0 && url_origin(issuer, p->title, sizeof(p->title)) != 0) {
        CHECK(str_copy(p->title, sizeof(p->title), p->name) == 0);
    }
    return err == 0 ? provider_validate(p, text) : err;
}

int provider_from_metadata(const char *wanted_issuer, const char *client_id, const char *json,
                           size_t len, struct provider *ret, struct err_text *text)
{
    struct json_fault fault;
    struct provider p;
    int err = issuer_check(wanted_issuer, text);
    if (err != 0) {
        return err;
    }
    json_t *root = json_read_object(json, len, &fault);
    if (root == NULL) {
        return err_say(text, ERR_INVALID, "the metadata of %s: line %d, column %d: %s",
                       wanted_issuer, fault.line, fault.column, fault.what);
    }
    provider_set_defaults(&p, "oidc");
    err = issuer_match(root, wanted_issuer, text);
    if (err == 0) {
        err = definition_fill(&p, root, wanted_issuer, client_id, text);
    }
    json_decref(root);
    if (err == 0) {
        *ret = p;
    }
    return err;
}

/*
 * Providers as data. A definition is an INI file with one section, [provider NAME]; one table in
 * provider.c (key, type, bounds, default, doc) is what parsing, validation, the record form and
 * the documentation (docs/providers.md) come from. Built-in definitions stand in issuer/providers/
 * and are compiled in.
 *
 * The record form travels to the spender and is pinned to a lineage when it is created: editing a
 * definition never redirects a token that was granted under the old one.
 */
#ifndef ISSUER_PROVIDER_H
#define ISSUER_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/words.h"

#define URL_MAX           1024
#define PROVIDER_TEXT_MAX 1024
#define PROVIDER_FILE_MAX (64 * 1024)

enum body_encoding { BODY_FORM, BODY_JSON };

struct provider {
    char name[NAME_MAX_LEN + 1];
    char title[128];
    char issuer[URL_MAX]; /* "" unless OIDC/OAuth discovery applies */
    char token_url[URL_MAX];
    char identity_url[URL_MAX];      /* GET with the access token names the subject; "" none */
    char usage_url[URL_MAX];         /* "" none */
    char authorization_url[URL_MAX]; /* sign-in; "" none */
    char device_url[URL_MAX];
    char revocation_url[URL_MAX];
    char client_id[256];
    enum body_encoding body;
    char scope[PROVIDER_TEXT_MAX]; /* sent on refresh when the credential's own is not known */
    bool send_scope;
    char access_prefix[64]; /* "" any. Mix-ups are refused by these */
    char refresh_prefix[64];
    int64_t skew_ms; /* spend this long before expiry, at the latest */
    bool rotates;
    int64_t reuse_grace_ms;
    bool refresh_kills_access;
    bool access_is_jwt;    /* `exp` inside is the expiry when expires_in is not said */
    int64_t idle_limit_ms; /* a refresh token unused this long is dead; 0 not known */
    enum policy default_policy;
    char deadline_field[64]; /* seconds until the login ends, in the token answer; "" */
    char final_errors[PROVIDER_TEXT_MAX];        /* words: error codes that end the grant */
    char uncommitted_answers[PROVIDER_TEXT_MAX]; /* words: statuses or error codes that commit
                                                    nothing ("503", "temporarily_unavailable") */
    char subject_paths[256];        /* words: dotted JSON paths, joined with '/' in order */
    char label_path[128];           /* e-mail or the like, in the identity answer */
    char answer_subject_paths[256]; /* the same in the token answer; "" never there */
    char answer_label_path[128];
    char utilization_paths[256]; /* words, in the usage answer */
    char usage_header[256];      /* one extra "Name: value" for usage and identity; "" */
    char user_agent[128];        /* "" our own honest one */
    /* Where a client's own file keeps a pair (`add --from FILE`); "" the plain OAuth answer. */
    char import_access[128], import_refresh[128], import_id_token[128];
    char import_expires_ms[128];  /* Unix ms */
    char import_deadline_ms[128]; /* Unix ms: the login's end */
    char import_scopes[128];      /* array or string */
};

/* A built-in by name, NULL if there is none. */
const struct provider *provider_builtin(const char *name);
const struct provider *provider_builtin_at(unsigned i); /* NULL past the end */

/* Parse and validate one definition. Errors name `file`, the line, the key, what was expected.
 * ERR_INVALID, ERR_TOO_LARGE. Unknown keys are errors with a suggestion; so is a key set twice, a
 * second section or none, and a line above 2046 bytes. http URLs are refused unless their host is
 * loopback (127.0.0.0/8, [::1], localhost). Not for two threads at once: libinih's line size is a
 * variable of the library. */
int provider_parse(const char *file, const char *bytes, size_t len, struct provider *ret,
                   struct err_text *text);
/* The same rules on a finished struct (after discovery). */
int provider_validate(const struct provider *p, struct err_text *text);

/* Every property under a tag that never changes meaning. Decoding an older record gives what it
 * lacks its default, and validates. ERR_INVALID, ERR_TOO_LARGE. */
int provider_encode(const struct provider *p, struct buf *out);
int provider_decode(const void *bytes, size_t len, struct provider *ret);

/* An OIDC/OAuth server's metadata (RFC 8414, OIDC Discovery 1.0) onto a definition named "oidc":
 * form bodies, rotating refresh tokens, policy `always`; the userinfo endpoint, when there is one,
 * names the subject (`sub`) and a label (`email`). ERR_INVALID unless `issuer` is byte-equal to
 * `wanted_issuer` and every endpoint is as far away as the issuer: for an https issuer https, on
 * any public host (Google's token endpoint is not on the issuer's), for a loopback issuer loopback
 * only. From then on the definition pins the origins. */
int provider_from_metadata(const char *wanted_issuer, const char *client_id, const char *json,
                           size_t len, struct provider *ret, struct err_text *text);

/* scheme://host:port of a URL, default port filled in. ERR_INVALID. */
int url_origin(const char *url, char *ret, size_t size);
bool url_is_allowed(const char *url);  /* https, or http to loopback; no userinfo, no fragment */
bool url_is_loopback(const char *url); /* a readable URL whose host is loopback by name or number */

/* Words properties: walks `*cursor` from word to word (not NUL-terminated); NULL at the end. */
const char *provider_word_next(const char **cursor, size_t *ret_len);
bool provider_words_have(const char *words, const char *word);

/* Every property, for documentation: NULL past the end. */
struct provider_property {
    const char *key, *type, *fallback, *doc;
};
const struct provider_property *provider_property_at(unsigned i);

#endif

/* RFC 6749 §6 (the token request), RFC 6750 §2.1 (the bearer header), RFC 8414 §3 and OpenID
 * Connect Discovery §4 (where metadata stands). */
#include "issuer/spender/request.h"

#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

#define OIDC_PLACE  "/.well-known/openid-configuration"
#define OAUTH_PLACE "/.well-known/oauth-authorization-server"

void request_init(struct request *r)
{
    *r = (struct request){.is_post = false};
    buf_init_secret(&r->headers, TOKEN_MAX + 4096);
    buf_init_secret(&r->body, REQUEST_BODY_MAX);
}

void request_clear(struct request *r)
{
    if (r == NULL)
        return;
    buf_release(&r->headers);
    buf_release(&r->body);
}

const char *request_next_header(const struct request *r, const char *previous)
{
    const char *begin = buf_text(&r->headers);
    const char *next = previous == NULL ? begin : previous + strlen(previous) + 1;
    return next < begin + r->headers.len ? next : NULL;
}

/* A line of visible ASCII and blanks: nothing that could begin a second header. */
static int add_header(struct request *r, const char *name, const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (value[i] < 0x20 || value[i] > 0x7e)
            return ERR_INVALID;
    int err = buf_add_str(&r->headers, name);
    if (err == 0)
        err = buf_add(&r->headers, value, len);
    if (err == 0)
        err = buf_add_char(&r->headers, '\0');
    return err;
}

static int add_header_str(struct request *r, const char *name, const char *value)
{
    return add_header(r, name, value, strlen(value));
}

static int add_common_headers(struct request *r, const struct provider *p)
{
    int err = add_header_str(r, "Accept: ", "application/json");
    if (err == 0)
        err = add_header_str(r, "User-Agent: ",
                             p->user_agent[0] != '\0' ? p->user_agent
                                                      : "credwarden/" CREDWARDEN_VERSION);
    return err;
}

/* application/x-www-form-urlencoded: everything but unreserved bytes is escaped. */
static int add_form_value(struct buf *out, const char *value, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    int err = 0;
    for (size_t i = 0; i < len && err == 0; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            (c != '\0' && strchr("-._~", c) != NULL)) {
            err = buf_add_char(out, (char)c);
        } else {
            char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
            err = buf_add(out, escape, sizeof(escape));
        }
    }
    return err;
}

struct parameter {
    const char *name;
    const char *value;
    size_t len;
};

static int form_body(const struct parameter *list, size_t n, struct buf *out)
{
    int err = 0;
    for (size_t i = 0; i < n && err == 0; i++) {
        if (i > 0)
            err = buf_add_char(out, '&');
        if (err == 0)
            err = buf_add_str(out, list[i].name);
        if (err == 0)
            err = buf_add_char(out, '=');
        if (err == 0)
            err = add_form_value(out, list[i].value, list[i].len);
    }
    return err;
}

struct sink {
    struct buf *out;
    int err;
};

/* Sticky: jansson (2.14) goes on after a member's name that could not be written. */
static int json_to_buf(const char *bytes, size_t len, void *ctx)
{
    struct sink *s = ctx;
    s->err = s->err < 0 ? s->err : buf_add(s->out, bytes, len);
    return s->err < 0 ? -1 : 0;
}

static int json_body(const struct parameter *list, size_t n, struct buf *out)
{
    struct sink sink = {.out = out};
    json_t *object = json_object();
    int err = object == NULL ? ERR_NOMEM : 0;
    for (size_t i = 0; i < n && err == 0; i++) {
        if (!str_is_utf8(list[i].value, list[i].len))
            err = ERR_INVALID;
        else if (json_object_set_new(object, list[i].name,
                                     json_stringn(list[i].value, list[i].len)) < 0)
            err = ERR_NOMEM;
    }
    if (err == 0 && json_dump_callback(object, json_to_buf, &sink, JSON_COMPACT) < 0)
        err = ERR_NOMEM;
    err = err < 0 ? err : sink.err;
    json_decref(object);
    return err;
}

static int spend_body(const struct wire_question *q, struct buf *out)
{
    const struct provider *p = q->provider;
    const char *scope = q->scope[0] != '\0' ? q->scope : p->scope;
    struct parameter list[4] = {
        {"grant_type", "refresh_token", strlen("refresh_token")},
        {"refresh_token", q->token.bytes, q->token.len},
        {"client_id", p->client_id, strlen(p->client_id)},
    };
    size_t n = 3;
    if (p->send_scope && scope[0] != '\0')
        list[n++] = (struct parameter){"scope", scope, strlen(scope)};
    return p->body == BODY_JSON ? json_body(list, n, out) : form_body(list, n, out);
}

static int build_spend(const struct wire_question *q, struct request *r)
{
    r->is_post = true;
    int err = str_copy(r->url, sizeof(r->url), q->provider->token_url);
    if (err == 0)
        err = add_header_str(r, "Content-Type: ",
                             q->provider->body == BODY_JSON ? "application/json"
                                                            : "application/x-www-form-urlencoded");
    /* libcurl would announce a large body with Expect and wait: the answer to that would be one
     * more way for the request to be half sent. An empty value takes the header out. */
    if (err == 0)
        err = add_header_str(r, "Expect:", "");
    if (err == 0)
        err = spend_body(q, &r->body);
    return err;
}

static int build_ask(const struct wire_question *q, const char *url, struct request *r)
{
    int err = str_copy(r->url, sizeof(r->url), url);
    if (err == 0)
        err = add_header(r, "Authorization: Bearer ", q->token.bytes, q->token.len);
    if (err == 0 && q->provider->usage_header[0] != '\0')
        err = add_header_str(r, "", q->provider->usage_header);
    return err;
}

/* OpenID Connect puts its document below the issuer's path, RFC 8414 in front of it. */
static int build_metadata(const struct wire_question *q, int attempt, struct request *r)
{
    const char *issuer = q->provider->issuer;
    const char *host = strstr(issuer, "://");
    if (host == NULL)
        return ERR_INVALID;
    host += 3;
    size_t len = strlen(issuer);
    if (issuer[len - 1] == '/')
        len--;
    size_t origin_len = (size_t)(host - issuer) + strcspn(host, "/");
    int n;
    if (attempt == 0)
        n = snprintf(r->url, sizeof(r->url), "%.*s" OIDC_PLACE, (int)len, issuer);
    else
        n = snprintf(r->url, sizeof(r->url), "%.*s" OAUTH_PLACE "%.*s", (int)origin_len, issuer,
                     (int)(len - origin_len), issuer + origin_len);
    return n < 0 || (size_t)n >= sizeof(r->url) ? ERR_TOO_LARGE : 0;
}

static int build(const struct wire_question *q, int attempt, struct request *r)
{
    switch (q->ask) {
    case ASK_SPEND:
        return build_spend(q, r);
    case ASK_IDENTITY:
        return build_ask(q, q->provider->identity_url, r);
    case ASK_USAGE:
        return build_ask(q, q->provider->usage_url, r);
    case ASK_METADATA:
        return build_metadata(q, attempt, r);
    case ASK_COUNT:
        break;
    }
    return ERR_INVALID;
}

int request_build(const struct wire_question *q, int attempt, struct request *ret)
{
    if (attempt >= (q->ask == ASK_METADATA ? REQUEST_TRIES_MAX : 1))
        return ERR_NOT_FOUND;
    struct request r;
    request_init(&r);
    int err = build(q, attempt, &r);
    if (err == 0)
        err = add_common_headers(&r, q->provider);
    if (err == 0 && !url_is_allowed(r.url))
        err = ERR_INVALID;
    if (err < 0) {
        request_clear(&r);
        return err;
    }
    request_clear(ret);
    *ret = r;
    return 0;
}

/*
 * From a head to a call: which operation, which form of answer, which parameters. What is wrong
 * with a request is told here, in words that name the way out.
 */
#include "api/conn.h"

#include "api/text.h"
#include "base/check.h"

#define ARENA_MAX (2 * API_HEAD_MAX) /* decoding only shrinks what a head can hold */

void call_reset(struct api_call *call)
{
    struct conn *c = call->conn;
    c->api->body_bytes -= call->body.len;
    c->api->n_streams -= call->holds_stream;
    buf_release(&call->body);
    arena_release(&call->arena);
    *call = (struct api_call){.conn = c};
    buf_init_secret(&call->body, API_BODY_MAX);
    arena_init(&call->arena, ARENA_MAX);
}

static struct http_text trim(struct http_text t)
{
    while (t.len > 0 && (*t.at == ' ' || *t.at == '\t')) {
        t = (struct http_text){t.at + 1, t.len - 1};
    }
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t')) {
        t.len--;
    }
    return t;
}

static bool form_parse(struct http_text type, enum form *ret)
{
    static const struct {
        const char *type;
        enum form form;
    } known[] = {
        {"application/json", FORM_JSON},
        {"text/plain", FORM_TEXT},
        {"text/event-stream", FORM_SSE},
        {"application/x-ndjson", FORM_NDJSON},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (http_text_is(type, known[i].type)) {
            *ret = known[i].form;
            return true;
        }
    }
    return false;
}

/* The first type of ours that Accept names. */
static enum form form_wanted(const struct http_head *head)
{
    enum form form = FORM_JSON;
    for (size_t i = 0; i < head->n_headers; i++) {
        struct http_text rest = head->headers[i].value;
        if (!http_text_is(head->headers[i].name, "accept")) {
            continue;
        }
        while (rest.len > 0) {
            const char *comma = memchr(rest.at, ',', rest.len);
            size_t len = comma != NULL ? (size_t)(comma - rest.at) : rest.len;
            struct http_text type = {rest.at, len};
            const char *parameters = memchr(type.at, ';', type.len);
            if (parameters != NULL) {
                type.len = (size_t)(parameters - type.at);
            }
            if (form_parse(trim(type), &form)) {
                return form;
            }
            size_t taken = comma != NULL ? len + 1 : len;
            rest = (struct http_text){rest.at + taken, rest.len - taken};
        }
    }
    return form;
}

static void refuse(struct conn *c, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void refuse(struct conn *c, const char *code, const char *fmt, ...)
{
    char detail[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof(detail), fmt, args);
    va_end(args);
    answer_problem(c, &(struct problem){.code = code, .detail = detail});
}

static bool find_route(struct conn *c, const struct http_head *head, struct http_text *ret_name)
{
    struct http_text path = http_target_path(head->target);
    char allow[ROUTE_ALLOW_MAX];
    int err = route_find(head->method, path, &c->call.route, ret_name, allow);
    if (err == ERR_NOT_FOUND) {
        refuse(c, "not-found", "There is nothing at %.*s; /v1/openapi.json says what there is.",
               (int)(path.len < 100 ? path.len : 100), path.at);
    } else if (err < 0) {
        char detail[ERR_TEXT_MAX];
        (void)snprintf(detail, sizeof(detail), "%.*s is not possible here, only %s.",
                       (int)(head->method.len < 20 ? head->method.len : 20), head->method.at,
                       allow);
        /* After a HEAD, a client takes the body of this for the next answer. */
        c->keep_alive = c->keep_alive && !http_text_is(head->method, "HEAD");
        answer_problem(
            c, &(struct problem){.code = "method-not-allowed", .allow = allow, .detail = detail});
    }
    return err == 0;
}

static bool take_name(struct conn *c, struct http_text raw)
{
    if (raw.at == NULL) {
        return true;
    }
    char *name = c->call.name;
    if (http_percent_decode(raw, name, sizeof(c->call.name)) == 0 && name_is_valid(name)) {
        return true;
    }
    refuse(c, "name-invalid",
           "'%.*s' is not a profile name: 1 to %d letters, digits and . _ @ + -, not beginning "
           "with . or -.",
           (int)(raw.len < 100 ? raw.len : 100), raw.at, NAME_MAX_LEN);
    return false;
}

static void refuse_key(struct conn *c, struct http_text raw, const char *const *keys, size_t n)
{
    char key[65];
    if (raw.len >= sizeof(key) || http_percent_decode(raw, key, sizeof(key)) < 0) {
        (void)snprintf(key, sizeof(key), "%.*s", (int)(raw.len < 60 ? raw.len : 60), raw.at);
    }
    if (n == 0) {
        refuse(c, "usage", "'%s' is not known here: %s takes no parameters.", key,
               c->call.route->id);
        return;
    }
    const char *nearest = str_nearest(key, keys, n);
    char known[ROUTE_KEYS_MAX * (ROUTE_KEY_SIZE + 2)];
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        len +=
            (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i > 0 ? ", " : "", keys[i]);
    }
    refuse(c, "usage", "'%s' is not a parameter of %s%s%s%s It takes: %s.", key, c->call.route->id,
           nearest != NULL ? "; did you mean '" : ".", nearest != NULL ? nearest : "",
           nearest != NULL ? "'?" : "", known);
}

static bool take_pair(struct conn *c, const char *key, struct http_text raw)
{
    struct api_call *call = &c->call;
    if (api_query(call, key) != NULL) {
        refuse(c, "usage", "The parameter '%s' is given twice.", key);
        return false;
    }
    char *value = arena_alloc(&call->arena, raw.len + 1);
    if (value == NULL) {
        refuse(c, "busy", "There is not enough memory for this request.");
        return false;
    }
    if (http_percent_decode(raw, value, raw.len + 1) < 0) {
        refuse(c, "usage", "The value of '%s' is not percent-encoded UTF-8 without control bytes.",
               key);
        return false;
    }
    struct query_pair *pair = &call->query[call->n_query++];
    CHECK(str_copy(pair->key, sizeof(pair->key), key) == 0);
    pair->value = value;
    return true;
}

static bool take_query(struct conn *c, struct http_text rest)
{
    char keys[ROUTE_KEYS_MAX][ROUTE_KEY_SIZE];
    const char *known[ROUTE_KEYS_MAX];
    size_t n = route_keys(c->call.route, keys);
    for (size_t i = 0; i < n; i++) {
        known[i] = keys[i];
    }
    struct http_text key, value;
    while (http_query_next(&rest, &key, &value)) {
        size_t i = 0;
        while (i < n && !(key.len == strlen(known[i]) && memcmp(key.at, known[i], key.len) == 0)) {
            i++;
        }
        if (i == n) {
            refuse_key(c, key, known, n);
            return false;
        }
        if (!take_pair(c, known[i], value)) {
            return false;
        }
    }
    return true;
}

static bool take_stream(struct conn *c)
{
    struct api *a = c->api;
    if (!c->call.route->streams) {
        return true;
    }
    if (a->n_streams >= a->tuning.streams_max) {
        refuse(c, "busy", "%zu event streams are open already.", a->n_streams);
        return false;
    }
    a->n_streams++;
    c->call.holds_stream = true;
    return true;
}

void request_begin(struct conn *c, const struct http_head *head)
{
    struct api_call *call = &c->call;
    bool has_body = head->chunked || head->content_length > 0;
    c->keep_alive = head->keep_alive;
    c->request_open = has_body;
    call->form = form_wanted(head);
    struct http_text name;
    if (!find_route(c, head, &name) || !take_name(c, name) ||
        !take_query(c, http_target_query(head->target)) || !take_stream(c)) {
        return;
    }
    if (!has_body) {
        request_dispatch(c);
    } else if (!call->route->takes_body) {
        refuse(c, "usage", "%s takes no body.", call->route->id);
    } else {
        call->continue_asked = head->expect_continue;
        http_body_init(&c->body, head, API_BODY_MAX);
        conn_enter(c, CONN_BODY);
    }
}

void request_dispatch(struct conn *c)
{
    struct api_call *call = &c->call;
    if (!c->api->accepting) {
        refuse(c, "stopping", "The daemon is stopping.");
        return;
    }
    conn_enter(c, CONN_CALL);
    if (call->route->operation == OP_OPENAPI) {
        answer_openapi(c);
        return;
    }
    call->open = true;
    c->api->handlers.handle[call->route->operation](c->api->handlers.ctx, call);
}

enum operation api_operation(const struct api_call *c)
{
    return c->route->operation;
}

const char *api_name(const struct api_call *c)
{
    return c->name;
}

const char *api_query(const struct api_call *c, const char *key)
{
    for (size_t i = 0; i < c->n_query; i++) {
        if (strcmp(c->query[i].key, key) == 0) {
            return c->query[i].value;
        }
    }
    return NULL;
}

const void *api_body(const struct api_call *c, size_t *ret_len)
{
    *ret_len = c->body.len;
    return buf_text(&c->body);
}

bool api_wants_text(const struct api_call *c)
{
    return c->form == FORM_TEXT;
}

void api_set_ctx(struct api_call *c, void *ctx)
{
    c->ctx = ctx;
}

void *api_ctx(const struct api_call *c)
{
    return c->ctx;
}

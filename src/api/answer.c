/*
 * Answers: status line and headers, JSON or text, problems (RFC 9457), tokens, event streams. An
 * answer is formed whole before its first byte is written, so that one that cannot be formed
 * becomes a problem instead of half an answer.
 */
#include "api/conn.h"

#include <limits.h>

#include "api/text.h"
#include "base/check.h"
#include "base/exits.h"
#include "base/time.h"

#define PROBLEM_URN "urn:credwarden:problem:"

struct head {
    int status;
    const char *type;
    size_t length;         /* SIZE_MAX: in chunks */
    const char *code;      /* of a problem, or NULL */
    const char *allow;     /* or NULL */
    int64_t retry_after_s; /* 0: none */
    bool close;
};

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return ""; /* the phrase is optional (RFC 9112 §4) */
}

static int head_add(const struct api *a, const struct head *h, struct buf *out)
{
    int err = buf_addf(out,
                       "HTTP/1.1 %d %s\r\n"
                       "Credwarden-Version: %s\r\n"
                       "Cache-Control: no-store\r\n"
                       "Content-Type: %s\r\n",
                       h->status, reason(h->status), a->version, h->type);
    if (err == 0 && h->length == SIZE_MAX) {
        err = buf_add_str(out, "Transfer-Encoding: chunked\r\n");
    } else if (err == 0) {
        err = buf_addf(out, "Content-Length: %zu\r\n", h->length);
    }
    if (err == 0 && h->code != NULL) {
        err = buf_addf(out, "Credwarden-Code: %s\r\n", h->code);
    }
    if (err == 0 && h->allow != NULL) {
        err = buf_addf(out, "Allow: %s\r\n", h->allow);
    }
    if (err == 0 && h->retry_after_s > 0) {
        err = buf_addf(out, "Retry-After: %lld\r\n", (long long)h->retry_after_s);
    }
    if (err == 0 && h->close) {
        err = buf_add_str(out, "Connection: close\r\n");
    }
    return err == 0 ? buf_add_str(out, "\r\n") : err;
}

struct sink {
    struct buf *out;
    int err;
};

/* Sticky: jansson (2.14) goes on after a member's name that could not be written. */
static int buf_sink(const char *bytes, size_t len, void *ctx)
{
    struct sink *s = ctx;
    s->err = s->err < 0 ? s->err : buf_add(s->out, bytes, len);
    return s->err < 0 ? -1 : 0;
}

int json_add(const json_t *json, struct buf *out)
{
    struct sink s = {.out = out};
    if (json_dump_callback(json, buf_sink, &s, JSON_COMPACT) < 0 && s.err == 0) {
        return ERR_NOMEM; /* jansson's own: what we give it is well formed */
    }
    return s.err;
}

static const char *type_of(enum form form)
{
    switch (form) {
    case FORM_TEXT:
        return "text/plain; charset=utf-8";
    case FORM_SSE:
        return "text/event-stream";
    case FORM_NDJSON:
        return "application/x-ndjson";
    case FORM_JSON:
        break;
    }
    return "application/json";
}

static bool closes(const struct conn *c)
{
    return !c->keep_alive || c->request_open || !c->api->accepting;
}

/* Head and body of a whole answer in one piece; secret when the body is. */
static int whole_add(const struct api *a, struct head *h, const struct buf *body, struct buf *out)
{
    h->length = body->len;
    int err = head_add(a, h, out);
    return err == 0 ? buf_add(out, body->bytes, body->len) : err;
}

static int problem_json(const struct problem *p, int status, int64_t retry_after_s, struct buf *out)
{
    const struct problem_kind *kind = problem_find(p->code);
    struct buf detail;
    buf_init(&detail, 4 * ERR_TEXT_MAX);
    int err = text_add_clean(&detail, p->detail);
    json_t *json =
        json_pack("{s:s+, s:s, s:i, s:s, s:s}", "type", PROBLEM_URN, p->code, "title", kind->title,
                  "status", status, "detail", buf_text(&detail), "code", p->code);
    if (json == NULL ||
        (retry_after_s > 0 &&
         json_object_set_new(json, "retry_after", json_integer(retry_after_s)) < 0)) {
        err = ERR_NOMEM;
    }
    err = err < 0 ? err : json_add(json, out);
    json_decref(json);
    buf_release(&detail);
    return err;
}

int problem_format(const struct api *a, const struct problem *p, enum form form, bool close,
                   struct buf *out)
{
    struct head h = {
        .status = p->status != 0 ? p->status : problem_find(p->code)->http_status,
        .type = form == FORM_TEXT ? type_of(FORM_TEXT) : "application/problem+json",
        .code = p->code,
        .allow = p->allow,
        .retry_after_s = p->retry_after_ms > 0 ? (p->retry_after_ms - 1) / SECOND_MS + 1 : 0,
        .close = close,
    };
    struct buf body;
    buf_init(&body, 8 * ERR_TEXT_MAX);
    int err = form == FORM_TEXT ? text_add_clean(&body, p->detail)
                                : problem_json(p, h.status, h.retry_after_s, &body);
    if (err == 0) {
        err = buf_add_char(&body, '\n');
    }
    if (err == 0) {
        err = whole_add(a, &h, &body, out);
    }
    buf_release(&body);
    return err;
}

/* The answer is formed: on its way with it. */
static void send_answer(struct conn *c, struct buf *out)
{
    c->call.open = false;
    if (c->state != CONN_CLOSED) {
        conn_enter(c, CONN_ANSWER);
    }
    conn_write(c, out);
}

void answer_problem(struct conn *c, const struct problem *p)
{
    struct buf out;
    buf_init(&out, API_HEAD_MAX);
    if (problem_format(c->api, p, c->call.form, closes(c), &out) < 0) {
        c->call.open = false;
        buf_release(&out);
        conn_drop(c); /* no memory for a few hundred bytes */
        return;
    }
    send_answer(c, &out);
}

void answer_fault(struct conn *c, enum http_fault fault)
{
    /* Where one message ends and the next begins is no longer known. */
    c->request_open = true;
    answer_problem(c, &(struct problem){
                          .code = fault == HTTP_BODY_TOO_LARGE ? "input-too-large"
                                  : fault == HTTP_NO_MEMORY    ? "busy"
                                                               : "http-malformed",
                          .status = http_fault_status(fault),
                          .detail = http_fault_text(fault),
                      });
}

/* It could not be put together. */
static void answer_none(struct conn *c, int err)
{
    const char *detail = err == ERR_TOO_LARGE ? "The answer is too large to be sent."
                         : err == ERR_NOMEM
                             ? "There is not enough memory for the answer; try again."
                             : "The answer could not be put together.";
    answer_problem(c, &(struct problem){.code = "internal", .detail = detail});
}

static void answer_whole(struct conn *c, int status, enum form form, struct buf *body)
{
    struct head h = {.status = status, .type = type_of(form), .close = closes(c)};
    struct buf out = {.max = body->max, .secret = body->secret};
    int err = whole_add(c->api, &h, body, &out);
    if (err < 0) {
        buf_release(&out);
        answer_none(c, err);
        return;
    }
    send_answer(c, &out);
}

int answer_stream_head(const struct conn *c, enum form form, struct buf *out)
{
    struct head h = {.status = 200, .type = type_of(form), .length = SIZE_MAX, .close = true};
    return head_add(c->api, &h, out);
}

void answer_openapi(struct conn *c)
{
    struct buf body;
    buf_init(&body, API_ANSWER_MAX);
    if (buf_add(&body, api_openapi, api_openapi_len) < 0) {
        conn_drop(c);
    } else {
        answer_whole(c, 200, c->call.form == FORM_TEXT ? FORM_TEXT : FORM_JSON, &body);
    }
    buf_release(&body);
}

static struct conn *conn_of(struct api_call *call)
{
    CHECK(call->open); /* answered once, and not after `gone` */
    return call->conn;
}

void api_reply(struct api_call *call, int status, json_t *json)
{
    struct conn *c = conn_of(call);
    struct buf body;
    buf_init(&body, API_ANSWER_MAX);
    enum form form = call->form == FORM_TEXT ? FORM_TEXT : FORM_JSON;
    int err = json == NULL ? ERR_NOMEM : 0;
    if (err == 0 && form == FORM_TEXT) {
        err = text_render(call->route->operation, json, &body);
    } else if (err == 0) {
        err = json_add(json, &body);
        err = err < 0 ? err : buf_add_char(&body, '\n');
    }
    if (err < 0) {
        answer_none(c, err);
    } else {
        answer_whole(c, status, form, &body);
    }
    buf_release(&body);
    json_decref(json);
}

/* A JSON string, written by hand: jansson would keep copies in ordinary memory. */
static int quoted_add(const struct secret *s, struct buf *out)
{
    int err = str_is_utf8(s->bytes, s->len) ? buf_add_char(out, '"') : ERR_INVALID;
    for (size_t i = 0; err == 0 && i < s->len; i++) {
        char c = s->bytes[i];
        if (c == '"' || c == '\\') {
            char escaped[2] = {'\\', c};
            err = buf_add(out, escaped, sizeof(escaped));
        } else if ((unsigned char)c < 0x20) {
            err = ERR_INVALID; /* no token holds control bytes (RFC 6749 appendix A) */
        } else {
            err = buf_add_char(out, c);
        }
    }
    return err == 0 ? buf_add_char(out, '"') : err;
}

static int token_json(const struct secret *token, const json_t *extra, struct buf *out)
{
    int err = buf_add_str(out, "{\"access_token\":");
    if (err == 0) {
        err = quoted_add(token, out);
    }
    if (err == 0 && json_object_size(extra) > 0) {
        size_t at = out->len;
        err = json_add(extra, out);
        if (err == 0) {
            out->bytes[at] = ','; /* instead of its opening brace */
        }
    } else if (err == 0) {
        err = buf_add_char(out, '}');
    }
    return err == 0 ? buf_add_char(out, '\n') : err;
}

void api_reply_token(struct api_call *call, const struct secret *token, json_t *extra)
{
    struct conn *c = conn_of(call);
    struct buf body;
    buf_init_secret(&body, SECRET_MAX - 1);
    enum form form = call->form == FORM_TEXT ? FORM_TEXT : FORM_JSON;
    int err;
    if (form == FORM_TEXT) {
        err = buf_add(&body, token->bytes, token->len);
        err = err < 0 ? err : buf_add_char(&body, '\n');
    } else {
        err = extra == NULL ? ERR_NOMEM : token_json(token, extra, &body);
    }
    if (err == ERR_INVALID) {
        answer_problem(c, &(struct problem){.code = "internal",
                                            .detail = "The token cannot be put into an answer."});
    } else if (err < 0) {
        answer_none(c, err);
    } else {
        answer_whole(c, 200, form, &body);
    }
    buf_release(&body);
    json_decref(extra);
}

void api_problem(struct api_call *call, const char *code, int64_t retry_after_ms, const char *fmt,
                 ...)
{
    struct conn *c = conn_of(call);
    char detail[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof(detail), fmt, args);
    va_end(args);
    answer_problem(
        c, &(struct problem){.code = code, .retry_after_ms = retry_after_ms, .detail = detail});
}

/*
 * Answers. The endpoint leaves JSON; only reply_finish() turns it into bytes, so that quirks can
 * work on members (set, unset, expires_in) before, and on bytes (duplicate keys, invalid UTF-8,
 * size) after.
 */
#include "lab/reply.h"

#include <stdarg.h>

#include "base/check.h"
#include "base/str.h"

void reply_init(struct reply *r)
{
    *r = (struct reply){.status = 500, .torn_after = -1};
    buf_init(&r->headers, REPLY_HEADERS_MAX);
    buf_init(&r->body, REPLY_BODY_MAX);
}

void reply_release(struct reply *r)
{
    json_decref(r->json);
    r->json = NULL;
    buf_release(&r->headers);
    buf_release(&r->body);
}

/* Back to nothing said: a later word replaces the former. */
static void reply_reset(struct reply *r, int status, const char *content_type)
{
    reply_release(r);
    r->status = status;
    r->chunked = false;
    r->by_events = false;
    (void)str_copy(r->content_type, sizeof(r->content_type), content_type);
}

void reply_json(struct reply *r, int status, json_t *json)
{
    reply_reset(r, json == NULL ? 500 : status, "application/json");
    r->json = json;
}

void reply_text(struct reply *r, int status, const char *content_type, const char *text)
{
    reply_reset(r, status, content_type);
    if (buf_add_str(&r->body, text) != 0)
        r->status = 500;
}

void reply_header(struct reply *r, const char *name, const char *fmt, ...)
{
    size_t before = r->headers.len;
    va_list args;
    int err;

    va_start(args, fmt);
    err = buf_addf(&r->headers, "%s: ", name);
    err = err != 0 ? err : buf_vaddf(&r->headers, fmt, args);
    err = err != 0 ? err : buf_add_str(&r->headers, "\r\n");
    va_end(args);
    if (err != 0)
        r->headers.len = before; /* beyond the limit: no half a line */
}

void reply_oauth_error(struct reply *r, int status, const char *error, const char *description)
{
    reply_json(r, status,
               json_pack("{s:s, s:s}", "error", error, "error_description", description));
}

void reply_nested_error(struct reply *r, int status, const char *type, const char *message)
{
    reply_json(r, status,
               json_pack("{s:s, s:{s:s, s:s}}", "type", "error", "error", "type", type, "message",
                         message));
}

static const char *error_of(const struct quirk *q, int status)
{
    if (q->error[0] != '\0')
        return q->error;
    if (status == 429)
        return "rate_limit_error";
    return status >= 500 ? "server_error" : "invalid_request";
}

void reply_replace(struct reply *r, const struct quirk *q)
{
    bool is_error = q->error[0] != '\0';
    int status = (int)q->status;

    if (status == 0)
        status = q->redirect[0] != '\0' ? 302 : is_error ? 400 : 200;
    if (strcmp(q->body, "html") == 0)
        reply_text(r, status, "text/html; charset=utf-8",
                   "<!doctype html><title>Sign in</title><p>This network wants you to sign in.\n");
    else if (strcmp(q->body, "empty") == 0 || q->redirect[0] != '\0' || status == 204 ||
             status == 304)
        reply_text(r, status, "application/json", "");
    else if (strcmp(q->body, "nested") == 0)
        reply_nested_error(r, status, error_of(q, status), "As scripted.");
    else if (status < 300 && !is_error)
        reply_json(r, status, json_object());
    else
        reply_oauth_error(r, status, error_of(q, status), "As scripted.");
    if (q->redirect[0] != '\0')
        reply_header(r, "Location", "%s", q->redirect);
}

static void shape_members(json_t *json, const struct quirk *q)
{
    json_t *life = json_object_get(json, "expires_in");
    json_t *name;
    size_t i;

    if (life != NULL && strcmp(q->expires_in, "absent") == 0)
        json_object_del(json, "expires_in");
    else if (life != NULL && strcmp(q->expires_in, "string") == 0)
        json_object_set_new(json, "expires_in",
                            json_sprintf("%lld", (long long)json_integer_value(life)));
    if (q->set != NULL)
        json_object_update(json, q->set);
    json_array_foreach(q->unset, i, name)
    {
        if (json_is_string(name))
            json_object_del(json, json_string_value(name));
    }
}

static int add_json(const char *bytes, size_t len, void *ctx)
{
    return buf_add(ctx, bytes, len) == 0 ? 0 : -1;
}

/* The bytes that no JSON library would write go right behind the opening brace. */
static int add_oddities(struct buf *body, const struct quirk *q)
{
    size_t huge = (size_t)q->huge_mib * 1024 * 1024;
    uint8_t *room;
    int err = 0;

    if (q->duplicate_key[0] != '\0')
        err = buf_addf(body, "\"%s\":\"lab-duplicate\",", q->duplicate_key);
    if (err == 0 && q->non_utf8)
        err = buf_add_str(body, "\"name\":\"\xff\xfe\",");
    if (err != 0 || huge == 0)
        return err;
    room = buf_reserve(body, huge + sizeof("\"padding\":\"\","));
    if (room == NULL)
        return ERR_NOMEM;
    memcpy(room, "\"padding\":\"", 11);
    memset(room + 11, 'x', huge);
    memcpy(room + 11 + huge, "\",", 2);
    buf_commit(body, huge + 13);
    return 0;
}

static int render(struct reply *r, const struct quirk *q)
{
    struct buf plain;
    int err = 0;

    buf_init(&plain, REPLY_BODY_MAX);
    if (json_dump_callback(r->json, add_json, &plain, JSON_COMPACT) != 0)
        err = ERR_NOMEM;
    if (err == 0 && plain.len > 2 && plain.bytes[0] == '{') {
        err = buf_add_char(&r->body, '{');
        err = err != 0 ? err : add_oddities(&r->body, q);
        err = err != 0 ? err : buf_add(&r->body, plain.bytes + 1, plain.len - 1);
    } else if (err == 0) {
        err = buf_add(&r->body, plain.bytes, plain.len);
    }
    buf_release(&plain);
    return err;
}

void reply_finish(struct reply *r, const struct quirk *q, int64_t wall_ms)
{
    char date[32];

    if (r->json != NULL) {
        shape_members(r->json, q);
        if (render(r, q) != 0) {
            r->status = 500;
            buf_clear(&r->body);
        }
    }
    if (q->retry_after[0] != '\0')
        reply_header(r, "Retry-After", "%s", q->retry_after);
    if (q->retry_after_date_s != 0) {
        http_date_format(wall_ms + q->retry_after_date_s * 1000, date);
        reply_header(r, "Retry-After", "%s", date);
    }
    if (q->content_type[0] != '\0')
        (void)str_copy(r->content_type, sizeof(r->content_type), q->content_type);
    if (q->drip_ms > 0) {
        r->pause_ms = q->drip_ms;
        r->piece_bytes = (size_t)q->drip_bytes;
        r->by_events = false;
    }
    if (q->torn_after >= 0)
        r->torn_after = q->torn_after;
}

void http_date_format(int64_t wall_ms, char ret[32])
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;

    ret[0] = '\0';
    if (gmtime_r(&t, &tm) != NULL)
        (void)strftime(ret, 32, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        {200, "OK"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {421, "Misdirected Request"},
        {425, "Too Early"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i].status == status)
            return known[i].reason;
    }
    return "As Scripted";
}

int reply_head(const struct reply *r, bool keep_alive, int64_t wall_ms, struct buf *out)
{
    bool bodiless = r->status == 204 || r->status == 304;
    char date[32];
    int err;

    http_date_format(wall_ms, date);
    err =
        buf_addf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nCache-Control: no-store\r\nConnection: %s\r\n",
                 r->status, reason_of(r->status), date, keep_alive ? "keep-alive" : "close");
    if (err == 0 && !bodiless)
        err = buf_addf(out, "Content-Type: %s\r\n", r->content_type);
    if (err == 0 && r->chunked)
        err = buf_add_str(out, "Transfer-Encoding: chunked\r\n");
    else if (err == 0 && !bodiless)
        err = buf_addf(out, "Content-Length: %zu\r\n", r->body.len);
    err = err != 0 ? err : buf_add(out, r->headers.bytes, r->headers.len);
    return err != 0 ? err : buf_add_str(out, "\r\n");
}

/* How much of the body is sent at all. */
static size_t body_end(const struct reply *r)
{
    if (r->torn_after >= 0 && (size_t)r->torn_after < r->body.len)
        return (size_t)r->torn_after;
    return r->body.len;
}

static size_t piece_len(const struct reply *r, size_t at)
{
    size_t left = body_end(r) - at;
    const uint8_t *stop;

    if (r->by_events) {
        stop = memmem(r->body.bytes + at, left, "\n\n", 2);
        return stop == NULL ? left : (size_t)(stop - (r->body.bytes + at)) + 2;
    }
    return r->piece_bytes == 0 || r->piece_bytes > left ? left : r->piece_bytes;
}

bool reply_is_torn(const struct reply *r)
{
    return r->torn_after >= 0 && (size_t)r->torn_after < r->body.len;
}

bool reply_is_over(const struct reply *r, size_t at)
{
    return at >= body_end(r);
}

int reply_piece(const struct reply *r, size_t *at, struct buf *out)
{
    size_t len = piece_len(r, *at);
    int err = 0;

    if (r->chunked && len > 0)
        err = buf_addf(out, "%zx\r\n", len);
    if (err == 0 && len > 0)
        err = buf_add(out, r->body.bytes + *at, len);
    if (err == 0 && r->chunked && len > 0)
        err = buf_add_str(out, "\r\n");
    *at += len;
    if (err == 0 && r->chunked && *at == r->body.len)
        err = buf_add_str(out, "0\r\n\r\n");
    return err;
}

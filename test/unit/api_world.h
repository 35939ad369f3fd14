/*
 * A server on a socket in a folder of its own, and peers that speak to it byte by byte: for the
 * tests of src/api. Everything runs in one thread: a peer that waits turns the server's loop.
 */
#ifndef TEST_API_WORLD_H
#define TEST_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/conn.h"
#include "base/check.h"

#define PATIENCE_MS 5000
#define CALLS_MAX   64
#define TOKEN_TEXT  "made-up-\"token\\1"

struct world {
    char dir[64];
    char path[96];
    uv_loop_t loop;
    struct api *api;
    struct api_call *open[CALLS_MAX]; /* handed out and kept for later */
    size_t n_open;
    size_t n_calls, n_gone;
    struct api_call *gone_last;
    size_t body_len;
    uint32_t body_sum;
    char name[NAME_MAX_LEN + 1];
};

static inline uint32_t sum_of(const void *bytes, size_t len)
{
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < len; i++) {
        sum = (sum ^ ((const uint8_t *)bytes)[i]) * 16777619u;
    }
    return sum;
}

static inline void on_park(void *ctx, struct api_call *call)
{
    struct world *w = ctx;
    w->n_calls++;
    CHECK(w->n_open < CALLS_MAX);
    w->open[w->n_open++] = call;
    api_set_ctx(call, w);
}

static inline void on_version(void *ctx, struct api_call *call)
{
    struct world *w = ctx;
    w->n_calls++;
    api_reply(call, 200,
              json_pack("{s:s, s:i, s:s, s:b}", "version", "0.0.7", "pid", 42, "started_at",
                        "2026-11-20T23:24:01Z", "binary_replaced", 0));
}

static inline void on_add(void *ctx, struct api_call *call)
{
    struct world *w = ctx;
    w->n_calls++;
    const void *body = api_body(call, &w->body_len);
    w->body_sum = sum_of(body, w->body_len);
    CHECK(str_copy(w->name, sizeof(w->name), api_name(call)) == 0);
    const char *source = api_query(call, "source");
    api_reply(call, 200, json_pack("{s:s}", "note", source != NULL ? source : "none"));
}

static inline void on_token(void *ctx, struct api_call *call)
{
    struct world *w = ctx;
    w->n_calls++;
    struct secret token = {0};
    CHECK(secret_set(&token, TOKEN_TEXT, strlen(TOKEN_TEXT)) == 0);
    json_t *extra =
        strcmp(api_name(call), "bare") == 0
            ? json_object()
            : json_pack("{s:s, s:i}", "expires_at", "2026-11-20T23:24:01Z", "expires_in_ms", 5000);
    api_reply_token(call, &token, extra);
    secret_clear(&token);
}

static inline void on_problem(void *ctx, struct api_call *call)
{
    struct world *w = ctx;
    w->n_calls++;
    api_problem(call, "throttled", 1500, "The provider\nwants a \"pause\" of %d ms \x1b[2J\xff.",
                1500);
}

/* An answer larger than any socket's buffer. */
static inline void on_large(void *ctx, struct api_call *call)
{
    struct world *w = ctx;
    w->n_calls++;
    size_t size = 4 * 1024 * 1024;
    char *text = malloc(size);
    CHECK(text != NULL);
    memset(text, 'x', size);
    api_reply(call, 200, json_pack("{s:s#}", "name", text, (int)size));
    free(text);
}

static inline void on_stream(void *ctx, struct api_call *call)
{
    on_park(ctx, call);
    api_stream_begin(call);
}

static inline void on_gone(void *ctx, struct api_call *call)
{
    struct world *w = ctx;
    w->n_gone++;
    w->gone_last = call;
    for (size_t i = 0; i < w->n_open; i++) {
        if (w->open[i] == call) {
            w->open[i] = w->open[--w->n_open];
            return;
        }
    }
    fail_msg("gone: a call that nobody holds");
}

static inline struct api_handlers handlers_of(struct world *w)
{
    struct api_handlers h = {.ctx = w, .gone = on_gone};
    for (size_t i = 0; i < OP_COUNT; i++) {
        h.handle[i] = on_park;
    }
    h.handle[OP_VERSION] = on_version;
    h.handle[OP_ADD] = on_add;
    h.handle[OP_TOKEN] = on_token;
    h.handle[OP_USAGE] = on_problem;
    h.handle[OP_HISTORY] = on_large;
    h.handle[OP_EVENTS] = on_stream;
    return h;
}

static inline struct api_tuning tuning_default(void)
{
    struct api_tuning t = api_tuning_default;
    t.uid = getuid();
    return t;
}

static inline int world_listen(struct world *w, const struct api_tuning *t, struct err_text *text)
{
    struct api_handlers h = handlers_of(w);
    return api_listen_tuned(&w->loop, w->path, "0.0.7", &h, t, &w->api, text);
}

/* A folder and a loop, not yet a server. */
static inline struct world *world_empty(void)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    (void)signal(SIGPIPE, SIG_IGN); /* as every program of ours does, by process_harden() */
    snprintf(w->dir, sizeof(w->dir), "/tmp/credwarden-api-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/api.sock", w->dir);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    return w;
}

static inline struct world *world_tuned(const struct api_tuning *t)
{
    struct world *w = world_empty();
    struct err_text text;
    if (world_listen(w, t, &text) < 0) {
        fail_msg("%s", text.text);
    }
    return w;
}

static inline struct world *world_new(void)
{
    struct api_tuning t = tuning_default();
    return world_tuned(&t);
}

static inline void world_free(struct world *w)
{
    api_free(w->api);
    assert_int_equal(w->n_open, 0); /* every call was answered or is gone */
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0); /* no handle is left behind */
    unlink(w->path);
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
}

static inline int64_t clock_ms(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

static inline void world_turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
    usleep(200);
}

static inline void world_turn_for(struct world *w, int64_t ms)
{
    for (int64_t end = clock_ms() + ms; clock_ms() < end;) {
        world_turn(w);
    }
}

#define WAIT_UNTIL(w, condition)                                                                   \
    do {                                                                                           \
        int64_t end_ms_ = clock_ms() + PATIENCE_MS;                                                \
        while (!(condition)) {                                                                     \
            if (clock_ms() > end_ms_) {                                                            \
                fail_msg("waited in vain for: %s", #condition);                                    \
            }                                                                                      \
            world_turn(w);                                                                         \
        }                                                                                          \
    } while (0)

struct peer {
    int fd;
    struct buf got; /* everything since peer_forget() */
    bool ended;     /* the server closed the connection */
};

static inline struct peer peer_new(const struct world *w)
{
    struct peer p = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(p.fd >= 0);
    assert_int_equal(str_copy(address.sun_path, sizeof(address.sun_path), w->path), 0);
    assert_int_equal(connect(p.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(p.fd, F_SETFL, O_NONBLOCK), 0);
    buf_init(&p.got, 32 * 1024 * 1024);
    return p;
}

static inline void peer_free(struct peer *p)
{
    close(p->fd);
    buf_release(&p->got);
}

static inline void peer_read(struct peer *p)
{
    char bytes[65536];
    ssize_t n;
    while (!p->ended && (n = read(p->fd, bytes, sizeof(bytes))) != -1) {
        p->ended = n == 0;
        assert_int_equal(buf_add(&p->got, bytes, (size_t)n), 0);
    }
    /* A server that closed with our bytes unread resets; what it said before has been read. */
    p->ended |= errno == ECONNRESET;
}

/* Sends what the socket takes now. */
static inline size_t peer_push(struct peer *p, const void *bytes, size_t len)
{
    ssize_t n = send(p->fd, bytes, len, MSG_NOSIGNAL);
    return n > 0 ? (size_t)n : 0;
}

static inline void peer_send_bytes(struct world *w, struct peer *p, const void *bytes, size_t len)
{
    size_t sent = 0;
    WAIT_UNTIL(w, (sent += peer_push(p, (const char *)bytes + sent, len - sent)) == len);
}

static inline void peer_send(struct world *w, struct peer *p, const char *text)
{
    peer_send_bytes(w, p, text, strlen(text));
}

static inline const char *peer_got(struct peer *p)
{
    peer_read(p);
    return buf_text(&p->got);
}

static inline bool peer_has(struct peer *p, const char *text)
{
    return strstr(peer_got(p), text) != NULL;
}

static inline bool peer_has_ended(struct peer *p)
{
    peer_read(p);
    return p->ended;
}

static inline void peer_wait(struct world *w, struct peer *p, const char *text)
{
    int64_t end_ms = clock_ms() + PATIENCE_MS;
    while (!peer_has(p, text)) {
        if (clock_ms() > end_ms || p->ended) {
            fail_msg("wanted: %s\ngot: %s", text, buf_text(&p->got));
        }
        world_turn(w);
    }
}

static inline void peer_wait_end(struct world *w, struct peer *p)
{
    WAIT_UNTIL(w, peer_has_ended(p));
}

static inline void peer_forget(struct peer *p)
{
    buf_clear(&p->got);
}

/* The bytes after the head of a whole answer, once Content-Length of them are there; else NULL. */
static inline const char *answer_body(struct peer *p)
{
    const char *got = peer_got(p), *end = strstr(got, "\r\n\r\n");
    const char *length = strstr(got, "Content-Length: ");
    if (end == NULL || length == NULL || length > end) {
        return NULL;
    }
    size_t wanted = strtoul(length + strlen("Content-Length: "), NULL, 10);
    size_t have = p->got.len - (size_t)(end + 4 - got);
    assert_true(have <= wanted); /* nothing beyond what was announced */
    return have == wanted ? end + 4 : NULL;
}

/* One request, one whole answer. */
static inline const char *ask(struct world *w, struct peer *p, const char *request)
{
    peer_forget(p);
    peer_send(w, p, request);
    WAIT_UNTIL(w, answer_body(p) != NULL || p->ended);
    return buf_text(&p->got);
}

/* The same on a connection of its own; the answer stays in `p`, which the caller frees. */
static inline const char *ask_once(struct world *w, struct peer *p, const char *request)
{
    *p = peer_new(w);
    return ask(w, p, request);
}

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static inline void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("wanted: %s\nin: %s", part, text);
    }
}

static inline void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        fail_msg("unwanted: %s\nin: %s", part, text);
    }
}

static inline void assert_begins(const char *text, const char *start)
{
    if (strncmp(text, start, strlen(start)) != 0) {
        fail_msg("wanted first: %s\nin: %s", start, text);
    }
}

#endif

/*
 * A whole connection of the API (src/api) over a socket pair, with operations that answer with what
 * they were given. The same bytes in one piece and in many must get the same answers; every answer
 * must be one that the strict reader of the command line understands; nothing may stay open when
 * the peer is gone. Operations answer at once, a turn of the loop later, or with a stream, so that
 * what is pipelined behind them meets every state of a connection.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/conn.h"
#include "api/text.h"
#include "cli/response.h"

#define PARKED_MAX 4
#define ANSWER_MAX (4 * 1024 * 1024)
#define TURNS      3 /* of the loop, without an event: then nothing more happens */

static uv_loop_t loop;
static struct api *api;
static struct api_call *parked[PARKED_MAX];
static size_t n_parked, n_open;

/* ---- operations ---- */

static json_t *echo_of(struct api_call *call)
{
    size_t len = 0;
    const char *body = api_body(call, &len);
    json_t *query = json_object();
    char keys[ROUTE_KEYS_MAX][ROUTE_KEY_SIZE];
    size_t n = route_keys(&api_routes[api_operation(call)], keys);
    CHECK(len <= API_BODY_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *value = api_query(call, keys[i]);
        CHECK(value == NULL || str_is_utf8(value, strlen(value)));
        CHECK(json_object_set_new(query, keys[i], value ? json_string(value) : json_null()) == 0);
    }
    CHECK(api_name(call)[0] == '\0' || name_is_valid(api_name(call)));
    return json_pack("{s:s, s:o, s:I, s:I}", "name", api_name(call), "query", query, "length",
                     (json_int_t)len, "sum", (json_int_t)(cuts_of(body, len).state >> 2));
}

static void on_now(void *ctx, struct api_call *call)
{
    (void)ctx;
    api_reply(call, 200, echo_of(call));
}

static void on_later(void *ctx, struct api_call *call)
{
    (void)ctx;
    CHECK(n_parked < PARKED_MAX);
    n_open++;
    parked[n_parked++] = call;
}

static void on_problem(void *ctx, struct api_call *call)
{
    (void)ctx;
    const char *value = api_query(call, "timeout");
    api_problem(call, "policy", 1500, "'%s' of %s", value ? value : "-", api_name(call));
}

static void on_stream(void *ctx, struct api_call *call)
{
    (void)ctx;
    json_t *event = json_pack("{s:i, s:o}", "id", 1, "detail", echo_of(call));
    api_stream_begin(call);
    (void)api_stream_send(call, 1, "kind", event);
    json_decref(event);
    api_stream_end(call);
}

static void on_gone(void *ctx, struct api_call *call)
{
    (void)ctx;
    for (size_t i = 0; i < n_parked; i++) {
        if (parked[i] == call) {
            parked[i] = parked[--n_parked];
            n_open--;
            return;
        }
    }
    CHECK(false); /* `gone` for a call that nobody holds */
}

static void answer_parked(void)
{
    while (n_parked > 0) {
        struct api_call *call = parked[--n_parked];
        static const struct secret token = {.bytes = (char *)"at-" MARKER, .len = 3 + 14};
        n_open--;
        if (api_operation(call) == OP_TOKEN) {
            api_reply_token(call, &token, echo_of(call));
        } else {
            api_reply(call, 200, echo_of(call));
        }
    }
}

/* ---- the server ---- */

static void start_server(void)
{
    struct api_handlers h = {.gone = on_gone};
    struct api_tuning tuning = api_tuning_default;
    struct err_text text = {""};
    char folder[200], path[256];
    const char *temp = getenv("TMPDIR");
    for (size_t i = 0; i < OP_COUNT; i++) {
        h.handle[i] = i % 3 == 0 ? on_later : on_now;
    }
    h.handle[OP_TOKEN] = on_later;
    h.handle[OP_RENEW] = on_problem;
    h.handle[OP_EVENTS] = on_stream;
    /* A machine that stalls must not change an answer. */
    tuning.head_time_ms = tuning.idle_time_ms = tuning.write_time_ms = INT32_MAX;
    tuning.uid = getuid();
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    CHECK(uv_loop_init(&loop) == 0);
    (void)snprintf(folder, sizeof(folder), "%s/fuzz-api-XXXXXX", temp != NULL ? temp : "/tmp");
    CHECK(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof(path), "%s/s", folder);
    CHECK(api_listen_tuned(&loop, path, "0", &h, &tuning, &api, &text) == 0);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0); /* peers come by socketpair() */
}

static void take_answers(int fd, struct buf *got)
{
    char bytes[16384];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
        CHECK(buf_add(got, bytes, (size_t)n) == 0);
    }
}

/* Until nothing moves any more. */
static void turn(int fd, struct buf *got)
{
    for (int quiet = 0; quiet < TURNS; quiet++) {
        size_t before = got->len;
        bool had_parked = n_parked > 0;
        answer_parked();
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        take_answers(fd, got);
        if (had_parked || got->len > before) {
            quiet = 0;
        }
    }
}

static void send_all(int fd, const uint8_t *bytes, size_t len, struct buf *got)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            return; /* the server has closed */
        }
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        turn(fd, got);
    }
}

static void talk(const uint8_t *bytes, size_t len, bool in_pieces, struct buf *got)
{
    int fds[2];
    struct cuts cuts = cuts_of(bytes, len);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    struct conn *c = conn_new(api);
    CHECK(c != NULL && uv_pipe_open(&c->pipe, fds[0]) == 0);
    conn_start(c);
    while (len > 0) {
        size_t piece = in_pieces ? cut_next(&cuts, len) : len;
        send_all(fds[1], bytes, piece, got);
        bytes += piece;
        len -= piece;
    }
    turn(fds[1], got);
    CHECK(shutdown(fds[1], SHUT_WR) == 0 || errno == ENOTCONN);
    turn(fds[1], got);
    CHECK(api_connections(api) == 0 && api->conns == NULL);
    CHECK(n_open == 0 && api->n_streams == 0 && api->body_bytes == 0);
    (void)close(fds[1]);
}

/* ---- what was said ---- */

/* Interim answers say that the server waits, which depends on when the bytes come. */
static void drop_interim(struct buf *got)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t len = sizeof(interim) - 1;
    uint8_t *at;
    while (got->len > 0 && (at = memmem(got->bytes, got->len, interim, len)) != NULL) {
        memmove(at, at + len, got->len - len - (size_t)(at - got->bytes));
        got->len -= len;
    }
}

/* Each request without a body has one answer, whatever it says, up to the one that closes the
 * connection; a fault has one, too. How many there must be; 0: not so simple a conversation. */
static size_t answers_wanted(const uint8_t *bytes, size_t len)
{
    size_t n = 0;
    for (;;) {
        struct http_head head;
        int used = http_parse_head((const char *)bytes, len, API_HEAD_MAX, &head);
        if (used <= 0) {
            return n + (used < 0);
        }
        if (head.chunked || head.content_length > 0 || !http_text_is(head.method, "GET") ||
            memmem(head.target.at, head.target.len, "events", 6) != NULL) {
            return 0;
        }
        n++;
        if (!head.keep_alive) {
            return n;
        }
        bytes += used;
        len -= (size_t)used;
    }
}

static void check_answers(const struct buf *got, size_t wanted)
{
    size_t n = 0;
    static struct response r;
    struct buf body;
    struct err_text text = {""};
    buf_init(&body, ANSWER_MAX);
    response_init(&r);
    for (size_t i = 0; i < got->len; i++) {
        if (r.part == RESPONSE_DONE) {
            buf_clear(&body);
            response_init(&r);
        }
        CHECK(response_feed(&r, (const char *)got->bytes + i, 1, &body, &text) == 0);
        n += r.part == RESPONSE_DONE;
    }
    CHECK(wanted == 0 || n == wanted);
    CHECK(got->len == 0 || response_end(&r, &text) == 0);
    buf_release(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (api == NULL) {
        start_server();
    }
    struct buf whole, pieces;
    buf_init(&whole, ANSWER_MAX);
    buf_init(&pieces, ANSWER_MAX);
    talk(bytes, len, false, &whole);
    talk(bytes, len, true, &pieces);
    drop_interim(&whole);
    drop_interim(&pieces);
    CHECK(whole.len == pieces.len);
    CHECK(whole.len == 0 || memcmp(whole.bytes, pieces.bytes, whole.len) == 0);
    check_answers(&whole, answers_wanted(bytes, len));
    buf_release(&whole);
    buf_release(&pieces);
    return 0;
}

/*
 * A connection is a small machine: it reads a request, waits out the delay before, has the exchange
 * evaluated, waits out the delay after, and writes the answer piece by piece. While an exchange is
 * under way nothing is read: a request that is complete is carried through even when its peer has
 * left, and the loss shows only when the answer is written.
 */
#include "lab/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

#include "base/check.h"
#include "base/str.h"
#include "sys/clock.h"

#define READ_SIZE (16 * 1024)

struct conn {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct server *server;
    struct buf in;         /* bytes not yet consumed */
    struct buf head_bytes; /* of the request at hand; empty: still to come */
    struct buf body;
    struct buf out;        /* being written */
    struct http_head head; /* points into head_bytes */
    struct http_body feed;
    struct request request;
    struct exchange exchange;
    size_t sent; /* of the answer's body */
    int handles; /* open libuv handles of this connection */
    bool busy;   /* an exchange is under way */
    bool keep_alive;
    bool draining; /* refused: what still comes is thrown away */
    bool closing;
    char room[READ_SIZE];
};

static void conn_advance(struct conn *c);
static void on_room(uv_handle_t *handle, size_t hint, uv_buf_t *ret);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes);

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;

    if (--c->handles > 0)
        return;
    c->server->connections--;
    buf_release(&c->in);
    buf_release(&c->head_bytes);
    buf_release(&c->body);
    buf_release(&c->out);
    free(c);
}

static void conn_close(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    if (c->busy)
        exchange_close(c->server->lab, &c->exchange);
    c->busy = false;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_overdue(uv_timer_t *timer)
{
    conn_close(timer->data);
}

/* The peer has this long for its next step. */
static void expect_within(struct conn *c, uint64_t ms)
{
    CHECK(uv_timer_start(&c->timer, on_overdue, ms, 0) == 0);
}

/* ---- writing ---- */

static void send_more(struct conn *c);

static void on_pause_over(uv_timer_t *timer)
{
    send_more(timer->data);
}

static void answer_done(struct conn *c)
{
    bool stays = c->keep_alive && !reply_is_torn(&c->exchange.reply);

    exchange_close(c->server->lab, &c->exchange);
    c->busy = false;
    buf_clear(&c->body);
    buf_clear(&c->head_bytes);
    if (!stays || uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read) != 0) {
        conn_close(c);
        return;
    }
    expect_within(c, SERVER_IDLE_TIME_MS);
    conn_advance(c);
}

/* A refusal must reach a peer that is still sending: closing with bytes unread would reset the
 * connection and take the answer along. So say that this was all, and read on for a moment. */
static void drain(struct conn *c)
{
    c->draining = true;
    expect_within(c, SERVER_DRAIN_TIME_MS);
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, NULL) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read) != 0)
        conn_close(c);
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *c = write->data;

    if (c->closing)
        return;
    if (status != 0)
        conn_close(c);
    else if (!c->busy) /* a refusal outside of any exchange */
        drain(c);
    else if (reply_is_over(&c->exchange.reply, c->sent))
        answer_done(c);
    else if (c->exchange.reply.pause_ms > 0)
        CHECK(uv_timer_start(&c->timer, on_pause_over, (uint64_t)c->exchange.reply.pause_ms, 0) ==
              0);
    else
        send_more(c);
}

static void write_out(struct conn *c)
{
    uv_buf_t piece = uv_buf_init((char *)c->out.bytes, (unsigned)c->out.len);

    expect_within(c, SERVER_IDLE_TIME_MS);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &piece, 1, on_written) != 0)
        conn_close(c);
}

static void send_more(struct conn *c)
{
    buf_clear(&c->out);
    if (reply_piece(&c->exchange.reply, &c->sent, &c->out) != 0)
        conn_close(c);
    else
        write_out(c);
}

static void send_first(struct conn *c)
{
    const struct reply *r = &c->exchange.reply;
    int64_t wall_ms = clock_now().wall_ms + c->server->lab->settings.date_offset_ms;

    if (r->lost) {
        conn_close(c);
        return;
    }
    c->sent = 0;
    buf_clear(&c->out);
    if (reply_head(r, c->keep_alive && !reply_is_torn(r), wall_ms, &c->out) != 0 ||
        reply_piece(r, &c->sent, &c->out) != 0)
        conn_close(c);
    else
        write_out(c);
}

/* ---- one exchange ---- */

static void on_answer_due(uv_timer_t *timer)
{
    send_first(timer->data);
}

static void evaluate(struct conn *c)
{
    exchange_evaluate(c->server->lab, &c->exchange, clock_now());
    if (c->exchange.delay_after_ms > 0)
        CHECK(uv_timer_start(&c->timer, on_answer_due, (uint64_t)c->exchange.delay_after_ms, 0) ==
              0);
    else
        send_first(c);
}

static void on_commit_due(uv_timer_t *timer)
{
    evaluate(timer->data);
}

static struct http_text header(const struct http_head *head, const char *name)
{
    const struct http_header *h = http_find(head, name);

    return h == NULL ? (struct http_text){0} : h->value;
}

static struct http_text bearer_of(const struct http_head *head)
{
    static const char scheme[] = "Bearer ";
    struct http_text value = header(head, "authorization");

    if (value.len < sizeof(scheme) || strncasecmp(value.at, scheme, sizeof(scheme) - 1) != 0)
        return (struct http_text){0};
    value.at += sizeof(scheme) - 1;
    value.len -= sizeof(scheme) - 1;
    return value;
}

static void begin_exchange(struct conn *c)
{
    c->request = (struct request){
        .method = c->head.method,
        .target = c->head.target,
        .content_type = header(&c->head, "content-type"),
        .bearer = bearer_of(&c->head),
        .agent = header(&c->head, "user-agent"),
        .body = buf_text(&c->body),
        .body_len = c->body.len,
    };
    c->keep_alive = c->head.keep_alive;
    c->busy = true;
    (void)uv_read_stop((uv_stream_t *)&c->tcp);
    exchange_open(c->server->lab, &c->exchange, &c->request, clock_now());
    if (c->exchange.delay_before_ms > 0)
        CHECK(uv_timer_start(&c->timer, on_commit_due, (uint64_t)c->exchange.delay_before_ms, 0) ==
              0);
    else
        evaluate(c);
}

/* ---- reading ---- */

/* Say why, and close: after bytes that do not parse nothing that follows can be trusted. */
static void refuse(struct conn *c, int status, const char *why)
{
    struct reply r;
    size_t at = 0;
    int err;

    reply_init(&r);
    reply_oauth_error(&r, status, "bad_request", why);
    reply_finish(&r, &(struct quirk){.torn_after = -1}, 0);
    buf_clear(&c->out);
    err = reply_head(&r, false, clock_now().wall_ms, &c->out);
    err = err != 0 ? err : reply_piece(&r, &at, &c->out);
    reply_release(&r);
    (void)uv_read_stop((uv_stream_t *)&c->tcp);
    if (err != 0)
        conn_close(c);
    else
        write_out(c);
}

static void refuse_fault(struct conn *c, int64_t fault)
{
    enum http_fault f = (enum http_fault) - fault;

    refuse(c, http_fault_status(f), http_fault_text(f));
}

/* A page in a browser may reach loopback under a name of its own (DNS rebinding). */
static bool host_is_loopback(const struct http_head *head)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    struct http_text host = header(head, "host");

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t len = strlen(names[i]);

        if (host.len >= len && strncasecmp(host.at, names[i], len) == 0 &&
            (host.len == len || host.at[len] == ':'))
            return true;
    }
    return false;
}

/* true: the head is complete and good, and in head_bytes. */
static bool take_head(struct conn *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t piece = uv_buf_init((char *)go_on, sizeof(go_on) - 1);
    int n = http_parse_head((const char *)c->in.bytes, c->in.len, SERVER_HEAD_MAX, &c->head);

    if (n < 0)
        refuse_fault(c, n);
    else if (n > 0 && !host_is_loopback(&c->head))
        refuse(c, 421, "The lab answers to loopback names only.");
    else if (n > 0 && buf_add(&c->head_bytes, c->in.bytes, (size_t)n) != 0)
        conn_close(c);
    if (n <= 0 || c->head_bytes.len == 0)
        return false;
    buf_consume(&c->in, (size_t)n);
    CHECK(http_parse_head((const char *)c->head_bytes.bytes, c->head_bytes.len, SERVER_HEAD_MAX,
                          &c->head) == n);
    http_body_init(&c->feed, &c->head, SERVER_BODY_MAX);
    if (c->head.expect_continue)
        (void)uv_try_write((uv_stream_t *)&c->tcp, &piece, 1);
    return true;
}

/* true: the body is complete. */
static bool take_body(struct conn *c)
{
    int n = http_body_feed(&c->feed, buf_text(&c->in), c->in.len, &c->body);

    if (n < 0) {
        refuse_fault(c, n);
        return false;
    }
    buf_consume(&c->in, (size_t)n);
    return c->feed.done;
}

/* Take one step with what has come so far. */
static void conn_advance(struct conn *c)
{
    if (c->busy || c->closing)
        return;
    if (c->head_bytes.len == 0 && (c->in.len == 0 || !take_head(c)))
        return;
    if (take_body(c))
        begin_exchange(c);
}

static void on_room(uv_handle_t *handle, size_t hint, uv_buf_t *ret)
{
    struct conn *c = handle->data;

    (void)hint;
    *ret = uv_buf_init(c->room, sizeof(c->room));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct conn *c = stream->data;
    bool begins = c->in.len == 0 && c->head_bytes.len == 0;

    if (n == 0 || (n > 0 && c->draining))
        return;
    if (n < 0 || buf_add(&c->in, bytes->base, (size_t)n) != 0) {
        conn_close(c);
        return;
    }
    if (begins) /* once a request, so that a slow sender cannot stretch it */
        expect_within(c, SERVER_IDLE_TIME_MS);
    conn_advance(c);
}

/* ---- listening ---- */

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *s = listener->data;
    struct conn *c;

    if (status != 0)
        return;
    c = calloc(1, sizeof(*c));
    CHECK(c != NULL);
    c->server = s;
    c->handles = 2;
    c->tcp.data = c->timer.data = c->write.data = c;
    buf_init(&c->in, SERVER_HEAD_MAX + 2 * READ_SIZE);
    buf_init(&c->head_bytes, SERVER_HEAD_MAX);
    buf_init(&c->body, SERVER_BODY_MAX);
    buf_init(&c->out, REPLY_BODY_MAX);
    CHECK(uv_tcp_init(s->loop, &c->tcp) == 0 && uv_timer_init(s->loop, &c->timer) == 0);
    s->connections++;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 ||
        s->connections > SERVER_CONNECTIONS_MAX ||
        uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read) != 0) {
        conn_close(c);
        return;
    }
    (void)uv_tcp_nodelay(&c->tcp, 1);
    expect_within(c, SERVER_IDLE_TIME_MS);
}

static int address_parse(const char *address, int port, struct sockaddr_storage *ret,
                         struct err_text *text)
{
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

    if (uv_ip4_addr(address, port, in) == 0) {
        if (ntohl(in->sin_addr.s_addr) >> 24 == 127)
            return 0;
    } else if (uv_ip6_addr(address, port, in6) == 0) {
        if (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr))
            return 0;
    } else {
        return err_say(text, ERR_INVALID, "--bind wants an address, not \"%s\"", address);
    }
    return err_say(text, ERR_DENIED,
                   "the lab listens on loopback only (127.0.0.0/8 or ::1), not on %s", address);
}

static int bound_port(const uv_tcp_t *tcp)
{
    struct sockaddr_storage name;
    int len = sizeof(name);

    if (uv_tcp_getsockname(tcp, (struct sockaddr *)&name, &len) != 0)
        return 0;
    return ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                            : ((struct sockaddr_in *)&name)->sin_port);
}

int server_bind(struct server *s, uv_loop_t *loop, const char *address, int port, char *ret_url,
                size_t url_size, struct err_text *text)
{
    struct sockaddr_storage name;
    int err = address_parse(address, port, &name, text);

    if (err != 0)
        return err;
    *s = (struct server){.loop = loop};
    CHECK(uv_tcp_init(loop, &s->listener) == 0);
    s->listener.data = s;
    err = uv_tcp_bind(&s->listener, (struct sockaddr *)&name, 0);
    err = err != 0 ? err : uv_listen((uv_stream_t *)&s->listener, 128, on_connection);
    if (err != 0) {
        uv_close((uv_handle_t *)&s->listener, NULL);
        return err_say(text, err_from_errno(-err), "cannot listen on %s port %d: %s", address, port,
                       uv_strerror(err));
    }
    snprintf(ret_url, url_size, name.ss_family == AF_INET6 ? "http://[%s]:%d" : "http://%s:%d",
             address, bound_port(&s->listener));
    return 0;
}

static void close_if_conn(uv_handle_t *handle, void *server)
{
    struct conn *c = handle->data;

    if (handle->type == UV_TCP && handle->data != server && !uv_is_closing(handle))
        conn_close(c);
}

void server_close(struct server *s)
{
    uv_close((uv_handle_t *)&s->listener, NULL);
    uv_walk(s->loop, close_if_conn, s);
}

/*
 * The life of a connection: reading, writing, and the state machine of conn.h. Every path out of a
 * libuv callback leaves the connection in a state that the next callback, the sweep, or the
 * daemon's answer moves on; nothing waits without one of the three.
 */
#include "api/conn.h"

#include "base/check.h"

#define READ_STEP 4096

struct write {
    uv_write_t req;
    struct conn *conn;
    struct buf bytes;
};

static void advance(struct conn *c);

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    struct api *a = c->api;
    conn_tell_gone(c);
    call_reset(&c->call);
    buf_release(&c->in);
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        a->conns = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    free(c);
    api_release_handle(a);
}

struct conn *conn_new(struct api *a)
{
    struct conn *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    if (uv_pipe_init(a->loop, &c->pipe, 0) < 0) {
        free(c);
        return NULL;
    }
    c->pipe.data = c;
    c->api = a;
    c->call.conn = c;
    c->keep_alive = true;
    c->is_new = true;
    buf_init_secret(&c->in, API_HEAD_MAX);
    call_reset(&c->call);
    c->next = a->conns;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    a->conns = c;
    a->n_conns++;
    a->n_handles++;
    return c;
}

void conn_tell_gone(struct conn *c)
{
    if (c->call.open) {
        c->call.open = false;
        c->api->handlers.gone(c->api->handlers.ctx, &c->call);
    }
}

/* How long a state may last. */
static int64_t time_for(const struct conn *c)
{
    const struct api_tuning *t = &c->api->tuning;
    switch (c->state) {
    case CONN_HEAD:
        return c->in.len == 0 ? t->idle_time_ms : t->head_time_ms;
    case CONN_LINGER:
        return t->head_time_ms;
    case CONN_ANSWER:
        return t->write_time_ms;
    case CONN_STREAM:
        return c->writes > 0 ? t->write_time_ms : INT64_MAX;
    case CONN_BODY: /* keeps the deadline of its head */
    case CONN_CALL: /* the daemon's own limits apply */
    case CONN_CLOSED:
        break;
    }
    return INT64_MAX;
}

static void set_deadline(struct conn *c)
{
    int64_t allowed_ms = time_for(c);
    c->since_ms = (int64_t)uv_now(c->api->loop);
    c->deadline_ms = allowed_ms == INT64_MAX ? INT64_MAX : c->since_ms + allowed_ms;
    api_arm_sweep(c->api, c->deadline_ms);
}

void conn_enter(struct conn *c, enum conn_state state)
{
    CHECK(c->state != CONN_CLOSED);
    c->state = state;
    if (state != CONN_BODY) {
        set_deadline(c);
    }
    if (state == CONN_ANSWER) {
        call_reset(&c->call); /* the answer is formed; a body with tokens must not stay */
    }
    if (state == CONN_CLOSED) {
        c->api->n_conns--;
        uv_close((uv_handle_t *)&c->pipe, on_closed);
    }
}

void conn_drop(struct conn *c)
{
    if (c->state != CONN_CLOSED) {
        conn_enter(c, CONN_CLOSED);
    }
}

/* The last byte of an answer is written. */
static void answered(struct conn *c)
{
    if (c->keep_alive && c->api->accepting && !c->request_open) {
        conn_enter(c, CONN_HEAD);
        advance(c);
    } else if (c->request_open) {
        buf_clear(&c->in);
        conn_enter(c, CONN_LINGER);
        advance(c);
    } else {
        conn_drop(c);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct write *w = (struct write *)req;
    struct conn *c = w->conn;
    buf_release(&w->bytes);
    free(w);
    c->writes--;
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (status < 0) {
        conn_drop(c);
    } else if (c->state == CONN_ANSWER && c->writes == 0) {
        answered(c);
    } else if (c->state == CONN_STREAM) {
        set_deadline(c); /* it moves: the peer reads */
    }
}

void conn_write(struct conn *c, struct buf *out)
{
    struct write *w = c->state == CONN_CLOSED ? NULL : calloc(1, sizeof(*w));
    if (w == NULL) {
        buf_release(out);
        conn_drop(c);
        return;
    }
    w->conn = c;
    w->bytes = *out;
    *out = (struct buf){.max = out->max, .secret = out->secret};
    uv_buf_t piece = uv_buf_init((char *)w->bytes.bytes, (unsigned)w->bytes.len);
    if (uv_write(&w->req, (uv_stream_t *)&c->pipe, &piece, 1, on_written) < 0) {
        buf_release(&w->bytes);
        free(w);
        conn_drop(c);
        return;
    }
    c->writes++;
    if (c->state == CONN_STREAM && c->writes == 1) {
        set_deadline(c);
    }
}

/* One request off the front of what was read. False: more bytes are needed. */
static bool take_head(struct conn *c)
{
    if (c->in.len == 0) {
        buf_release(&c->in); /* an idle connection keeps no locked memory */
        return false;
    }
    struct http_head head;
    int got = http_parse_head((const char *)c->in.bytes, c->in.len, API_HEAD_MAX, &head);
    if (got < 0) {
        answer_fault(c, (enum http_fault) - got);
    } else if (got > 0) {
        request_begin(c, &head);
        buf_consume(&c->in, (size_t)got);
    }
    return got != 0;
}

static void ask_to_continue(struct conn *c)
{
    struct buf out;
    buf_init(&out, 64);
    if (buf_add_str(&out, "HTTP/1.1 100 Continue\r\n\r\n") < 0) {
        conn_drop(c);
        return;
    }
    c->call.continue_asked = false;
    conn_write(c, &out);
}

static bool take_body(struct conn *c)
{
    struct api *a = c->api;
    size_t before = c->call.body.len;
    int got = http_body_feed(&c->body, (const char *)c->in.bytes, c->in.len, &c->call.body);
    a->body_bytes += c->call.body.len - before;
    if (got < 0) {
        answer_fault(c, (enum http_fault) - got);
        return true;
    }
    buf_consume(&c->in, (size_t)got);
    if (a->body_bytes > a->tuning.bodies_max) {
        answer_problem(c, &(struct problem){.code = "busy",
                                            .retry_after_ms = 1000,
                                            .detail = "Too many request bodies are under way."});
        return true;
    }
    if (c->body.done) {
        c->request_open = false;
        request_dispatch(c);
        return true;
    }
    if (c->call.continue_asked) {
        ask_to_continue(c);
    }
    return false;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    struct conn *c = handle->data;
    size_t room = API_HEAD_MAX - c->in.len;
    if (c->state != CONN_BODY && room > READ_STEP) {
        room = READ_STEP;
    }
    *ret = uv_buf_init((char *)buf_reserve(&c->in, room), (unsigned)room);
}

static void on_end(struct conn *c)
{
    if (c->state == CONN_ANSWER) {
        c->keep_alive = c->request_open = false; /* it may still read what is on its way */
        uv_read_stop((uv_stream_t *)&c->pipe);
        c->reading = false;
    } else {
        conn_drop(c);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct conn *c = stream->data;
    if (n < 0) {
        on_end(c);
        return;
    }
    if (n == 0) {
        return;
    }
    bool first = c->in.len == 0;
    c->is_new = false;
    buf_commit(&c->in, (size_t)n);
    if (c->state == CONN_HEAD && first) {
        set_deadline(c); /* from idle to half-sent */
    }
    advance(c);
}

/* Read on as long as there is room; a peer that pipelines further has to wait. */
static void set_reading(struct conn *c)
{
    bool wanted = c->in.len < API_HEAD_MAX;
    if (wanted && !c->reading) {
        if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0) {
            conn_drop(c);
            return;
        }
    } else if (!wanted && c->reading) {
        uv_read_stop((uv_stream_t *)&c->pipe);
    }
    c->reading = wanted;
}

/* Take what was read as far as the state allows. An answer is always written before the next
 * request is looked at, so this never goes round more than head, body, call. */
static void advance(struct conn *c)
{
    bool more = true;
    while (more) {
        switch (c->state) {
        case CONN_HEAD:
            more = take_head(c);
            break;
        case CONN_BODY:
            more = take_body(c);
            break;
        case CONN_STREAM:
        case CONN_LINGER:
            buf_clear(&c->in); /* nothing more is answered on this connection */
            more = false;
            break;
        case CONN_CALL:
        case CONN_ANSWER:
            more = false;
            break;
        case CONN_CLOSED:
            return;
        }
    }
    set_reading(c);
}

void conn_start(struct conn *c)
{
    conn_enter(c, CONN_HEAD);
    advance(c);
}

void conn_time_out(struct conn *c)
{
    bool half_sent = c->state == CONN_BODY || (c->state == CONN_HEAD && c->in.len > 0);
    if (!half_sent) {
        conn_drop(c);
        return;
    }
    c->request_open = false; /* no lingering for one that was too slow already */
    c->keep_alive = false;
    answer_problem(c, &(struct problem){.code = "timed-out",
                                        .status = 408,
                                        .detail = "The request was not sent in time."});
}

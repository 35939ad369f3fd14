/*
 * Event streams: one line (or SSE block) an event, written as it happens, each a chunk of its own
 * (RFC 9112 §7.1): so one that is cut off is told from one that has come to its end. A reader that
 * does not keep up is dropped rather than waited for: it can come back with ?after= and miss
 * nothing.
 */
#include "api/conn.h"

#include "api/text.h"
#include "base/check.h"

static enum form stream_form(const struct api_call *call)
{
    return call->form == FORM_JSON ? FORM_SSE : call->form;
}

void api_stream_begin(struct api_call *call)
{
    struct conn *c = call->conn;
    CHECK(call->open && call->route->streams);
    c->keep_alive = false;
    if (c->state == CONN_CLOSED) {
        return;
    }
    struct buf out;
    buf_init(&out, API_HEAD_MAX);
    if (answer_stream_head(c, stream_form(call), &out) < 0) {
        buf_release(&out);
        conn_drop(c);
        return;
    }
    conn_enter(c, CONN_STREAM);
    conn_write(c, &out);
}

static int event_add(enum form form, uint64_t id, const char *kind, const json_t *event,
                     struct buf *out)
{
    if (event == NULL) {
        return ERR_NOMEM;
    }
    if (form == FORM_TEXT) {
        return text_event(event, out);
    }
    int err = 0;
    if (form == FORM_SSE) {
        err = buf_addf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)id, kind);
    }
    err = err < 0 ? err : json_add(event, out);
    return err < 0 ? err : buf_add_str(out, form == FORM_SSE ? "\n\n" : "\n");
}

static int chunk_add(const struct buf *bytes, struct buf *out)
{
    int err = buf_addf(out, "%zx\r\n", bytes->len);
    err = err < 0 ? err : buf_add(out, bytes->bytes, bytes->len);
    return err < 0 ? err : buf_add_str(out, "\r\n");
}

int api_stream_send(struct api_call *call, uint64_t id, const char *kind, const json_t *event)
{
    struct conn *c = call->conn;
    CHECK(call->open);
    if (c->state == CONN_CLOSED) {
        return ERR_CLOSED;
    }
    CHECK(c->state == CONN_STREAM);
    struct buf bytes, out;
    buf_init(&bytes, c->api->tuning.stream_backlog);
    buf_init(&out, c->api->tuning.stream_backlog);
    size_t waiting = uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe);
    int err = event_add(stream_form(call), id, kind, event, &bytes);
    err = err < 0 ? err : chunk_add(&bytes, &out);
    buf_release(&bytes);
    if (err < 0 || waiting + out.len > c->api->tuning.stream_backlog) {
        buf_release(&out);
        conn_drop(c);
        return ERR_CLOSED;
    }
    conn_write(c, &out);
    return c->state == CONN_CLOSED ? ERR_CLOSED : 0;
}

void api_stream_end(struct api_call *call)
{
    struct conn *c = call->conn;
    CHECK(call->open);
    call->open = false;
    if (c->state == CONN_CLOSED) {
        return;
    }
    CHECK(c->state == CONN_STREAM);
    struct buf out;
    buf_init(&out, API_HEAD_MAX);
    if (buf_add_str(&out, "0\r\n\r\n") < 0) {
        conn_drop(c);
        return;
    }
    conn_enter(c, CONN_ANSWER);
    conn_write(c, &out);
}

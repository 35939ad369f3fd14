/*
 * The listening socket, who may come in, and the one timer for all deadlines.
 */
#include "api/conn.h"

#include <errno.h>

#include "base/check.h"
#include "base/paths.h"
#include "sys/io.h"
#include "sys/local.h"
#include "sys/process.h"

#define BACKLOG         128
#define BURST_MAX       32 /* connections taken in one turn of the loop */
#define ACCEPT_AGAIN_MS 100

const struct api_tuning api_tuning_default = {
    .connections_max = API_CONNECTIONS_MAX,
    .streams_max = API_STREAMS_MAX,
    .stream_backlog = API_STREAM_BACKLOG,
    .bodies_max = API_BODIES_MAX,
    .head_time_ms = API_HEAD_TIME_MS,
    .idle_time_ms = API_IDLE_TIME_MS,
    .write_time_ms = API_WRITE_TIME_MS,
};

void api_release_handle(struct api *a)
{
    CHECK(a->n_handles > 0);
    a->n_handles--;
    if (a->n_handles == 0 && a->freed) {
        free(a);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    api_release_handle(handle->data);
}

static void on_sweep(uv_timer_t *timer)
{
    struct api *a = timer->data;
    int64_t now_ms = (int64_t)uv_now(a->loop), next_ms = INT64_MAX;
    a->sweep_at_ms = INT64_MAX;
    for (struct conn *c = a->conns; c != NULL; c = c->next) {
        if (c->deadline_ms <= now_ms && c->state != CONN_CLOSED) {
            conn_time_out(c);
        }
        if (c->deadline_ms < next_ms) {
            next_ms = c->deadline_ms;
        }
    }
    api_arm_sweep(a, next_ms);
}

void api_arm_sweep(struct api *a, int64_t deadline_ms)
{
    if (deadline_ms == INT64_MAX || a->freed) {
        return;
    }
    int64_t at_ms = (deadline_ms + SWEEP_STEP_MS - 1) / SWEEP_STEP_MS * SWEEP_STEP_MS;
    if (at_ms >= a->sweep_at_ms) {
        return;
    }
    int64_t now_ms = (int64_t)uv_now(a->loop);
    a->sweep_at_ms = at_ms;
    CHECK(uv_timer_start(&a->sweep, on_sweep, at_ms > now_ms ? (uint64_t)(at_ms - now_ms) : 0, 0) ==
          0);
}

/* Say no at once, without ever reading: what the peer gets fits into any socket's buffer. */
static void turn_away(struct conn *c, const struct problem *p)
{
    struct buf out;
    buf_init(&out, API_HEAD_MAX);
    if (problem_format(c->api, p, FORM_JSON, true, &out) == 0) {
        uv_buf_t piece = uv_buf_init((char *)out.bytes, (unsigned)out.len);
        (void)uv_try_write((uv_stream_t *)&c->pipe, &piece, 1);
    }
    buf_release(&out);
    conn_drop(c);
}

/* NULL, or what this peer is turned away with. */
static const struct problem *peer_fault(const struct conn *c)
{
    static const struct problem refused = {
        .code = "peer-refused", .status = 403, .detail = "This socket serves another user."};
    static const struct problem unknown = {
        .code = "peer-unknown", .detail = "The system does not say whose connection this is."};
    uv_os_fd_t fd;
    uid_t uid;
    pid_t pid;
    CHECK(uv_fileno((const uv_handle_t *)&c->pipe, &fd) == 0);
    if (peer_of(fd, &uid, &pid) < 0) {
        return &unknown;
    }
    return uid == c->api->tuning.uid ? NULL : &refused;
}

/* When all places are taken: who is answered or has asked nothing goes first, then who is half-way
 * through a request (whoever sends at all is through in milliseconds), then who does not read. Who
 * has just come goes only when there is nobody else: its request is about to be read. Who waits for
 * an answer stays. */
enum { GOES_FIRST, GOES_NEXT, GOES_LATE, GOES_LAST, STAYS };

static int patience_with(const struct conn *c)
{
    switch (c->state) {
    case CONN_LINGER:
        return GOES_FIRST;
    case CONN_HEAD:
        if (c->in.len > 0)
            return GOES_NEXT;
        return c->is_new && (int64_t)uv_now(c->api->loop) - c->since_ms < API_MOMENT_MS
                   ? GOES_LAST
                   : GOES_FIRST;
    case CONN_BODY:
        return GOES_NEXT;
    case CONN_ANSWER:
        return GOES_LATE;
    case CONN_CALL:
    case CONN_STREAM:
    case CONN_CLOSED:
        break;
    }
    return STAYS;
}

/* Of those that go before `limit`, the one whose state has lasted longest makes room for `newcomer`
 * (NULL: for one who is not in yet). */
static bool make_room(struct api *a, const struct conn *newcomer, int limit)
{
    struct conn *goes = NULL;
    int patience = limit;
    for (struct conn *c = a->conns; c != NULL; c = c->next) {
        int his = c == newcomer ? STAYS : patience_with(c);
        bool longer = goes != NULL && his == patience && c->since_ms <= goes->since_ms;
        if (his < patience || (his < limit && longer)) {
            goes = c;
            patience = his;
        }
    }
    if (goes != NULL) {
        conn_drop(goes);
    }
    return goes != NULL;
}

static void on_callers(uv_poll_t *poll, int status, int events);

static void on_again(uv_timer_t *timer)
{
    struct api *a = timer->data;
    if (a->accepting) {
        CHECK(uv_poll_start(&a->callers, UV_READABLE, on_callers) == 0);
        on_callers(&a->callers, 0, 0); /* the one that is held makes nothing readable */
    }
}

/* Nobody is taken for a while: who waits goes on waiting, and the loop goes on. */
static void rest(struct api *a, uint64_t ms)
{
    CHECK(uv_poll_stop(&a->callers) == 0);
    CHECK(uv_timer_start(&a->again, on_again, ms, 0) == 0);
}

/* `fd` goes over to the connection. */
static int let_in(struct api *a, int *fd)
{
    struct conn *c = conn_new(a);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    if (uv_pipe_open(&c->pipe, *fd) < 0) {
        conn_drop(c);
        fd_close(fd);
        return 0; /* there is nothing to be had of this one */
    }
    *fd = -1;
    const struct problem *fault = peer_fault(c);
    if (fault != NULL) {
        turn_away(c, fault);
    } else if (a->n_conns > a->tuning.connections_max && !make_room(a, c, STAYS)) {
        turn_away(c, &(struct problem){.code = "busy",
                                       .retry_after_ms = 1000,
                                       .detail = "Too many connections are open."});
    } else {
        conn_start(c);
    }
    return 0;
}

/* The next caller. ERR_AGAIN: nobody is there any more; otherwise: nobody can be taken now. */
static int take_caller(struct api *a)
{
    int err = 0;
    while (a->held_fd < 0 && (err = local_accept(a->callers_fd, &a->held_fd)) == ERR_CLOSED) {
    }
    return err < 0 ? err : let_in(a, &a->held_fd);
}

/* A crowd would fill all places over and over before a single request is read: so no more than
 * BURST_MAX are taken before the loop goes on. Short of descriptors, whoever has no business makes
 * room at once; with nobody like that, those who wait are in nobody's way. */
static void on_callers(uv_poll_t *poll, int status, int events)
{
    struct api *a = poll->data;
    int err = status < 0 ? ERR_IO : 0;
    (void)events;
    for (int i = 0; i < BURST_MAX && err == 0 && a->accepting; i++) {
        err = take_caller(a);
    }
    if (err < 0 && err != ERR_AGAIN) {
        bool has_room = err == ERR_BUSY && make_room(a, NULL, GOES_LAST);
        rest(a, has_room ? 0 : ACCEPT_AGAIN_MS);
    }
}

static int remove_leftover(const char *path, struct err_text *text)
{
    struct file_facts facts;
    int err = path_look(PATH_CWD, path, false, &facts);
    if (err < 0) {
        return errno == ENOENT ? 0 : err_say(text, err, "%s: %s", path, strerror(errno));
    }
    if (facts.kind != FILE_SOCKET) {
        return err_say(text, ERR_EXISTS,
                       "%s: something that is not a socket is in the way; remove it", path);
    }
    err = path_remove(PATH_CWD, path);
    if (err < 0) {
        return err_say(text, err, "%s: the old socket cannot be removed: %s", path,
                       strerror(errno));
    }
    return 0;
}

static int open_socket(struct api *a, const char *path, struct err_text *text)
{
    if (strlen(path) > PATHS_SOCKET_LEN) {
        return err_say(text, ERR_TOO_LARGE,
                       "%s: a socket's path has at most %d bytes, this one has %zu; set "
                       "XDG_RUNTIME_DIR to a shorter one",
                       path, PATHS_SOCKET_LEN, strlen(path));
    }
    int err = remove_leftover(path, text);
    if (err < 0) {
        return err;
    }
    err = local_listen(path, BACKLOG, &a->callers_fd);
    if (err < 0) {
        return err_say(text, err, "%s: cannot listen: %s", path, strerror(errno));
    }
    if (uv_poll_init(a->loop, &a->callers, a->callers_fd) < 0) {
        fd_close(&a->callers_fd);
        (void)path_remove(PATH_CWD, path);
        return err_say(text, ERR_NOMEM, "%s: cannot listen: memory or descriptors are short", path);
    }
    a->n_handles++;
    CHECK(str_copy(a->path, sizeof(a->path), path) == 0);
    CHECK(uv_poll_start(&a->callers, UV_READABLE, on_callers) == 0);
    return 0;
}

int api_listen_tuned(uv_loop_t *loop, const char *path, const char *server_version,
                     const struct api_handlers *h, const struct api_tuning *tuning,
                     struct api **ret, struct err_text *text)
{
    for (size_t i = 0; i < OP_COUNT; i++) {
        CHECK(i == OP_OPENAPI || h->handle[i] != NULL);
    }
    CHECK(h->gone != NULL);
    struct api *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->loop = loop;
    a->handlers = *h;
    a->tuning = *tuning;
    a->sweep_at_ms = INT64_MAX;
    CHECK(str_copy(a->version, sizeof(a->version), server_version) == 0);
    CHECK(uv_timer_init(loop, &a->sweep) == 0);
    CHECK(uv_timer_init(loop, &a->again) == 0);
    a->sweep.data = a->again.data = a->callers.data = a;
    a->n_handles = 2;
    a->callers_fd = a->held_fd = -1;
    a->accepting = true;
    int err = open_socket(a, path, text);
    if (err < 0) {
        api_free(a);
        return err;
    }
    *ret = a;
    return 0;
}

int api_listen(uv_loop_t *loop, const char *path, const char *server_version,
               const struct api_handlers *h, struct api **ret, struct err_text *text)
{
    struct api_tuning tuning = api_tuning_default;
    tuning.uid = process_uid();
    return api_listen_tuned(loop, path, server_version, h, &tuning, ret, text);
}

void api_stop_accepting(struct api *a)
{
    if (!a->accepting) {
        return;
    }
    a->accepting = false;
    if (a->callers_fd >= 0) {
        uv_close((uv_handle_t *)&a->callers, on_handle_closed);
        (void)path_remove(PATH_CWD, a->path);
    }
    fd_close(&a->callers_fd);
    fd_close(&a->held_fd);
    for (struct conn *c = a->conns; c != NULL; c = c->next) {
        if (c->state == CONN_HEAD && c->in.len == 0) {
            conn_drop(c);
        }
    }
}

void api_free(struct api *a)
{
    if (a == NULL) {
        return;
    }
    api_stop_accepting(a);
    for (struct conn *c = a->conns; c != NULL; c = c->next) {
        conn_tell_gone(c);
        conn_drop(c);
    }
    a->freed = true;
    uv_close((uv_handle_t *)&a->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&a->again, on_handle_closed);
}

int api_connections(const struct api *a)
{
    return (int)a->n_conns;
}

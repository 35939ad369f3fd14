/*
 * Inside api/: one connection, and the one request it carries at a time. Nothing outside this
 * folder includes it but the tests, which need shorter times and smaller limits.
 *
 * The life of a connection:
 *
 *     HEAD ──► BODY ──► CALL ──► ANSWER ──► HEAD (kept alive) | LINGER | closed
 *       └────────────────┘ └──► STREAM ──► ANSWER
 *
 *   HEAD    between requests, or a head is coming in
 *   BODY    the body of a request that will be accepted
 *   CALL    the daemon has it; we read on, to notice that the peer leaves
 *   STREAM  the same, and events are being written
 *   ANSWER  the last bytes of an answer are being written
 *   LINGER  answered before all of the request was read: the rest is thrown away for a while, so
 *           that a peer still busy sending gets to read why it was refused
 *   CLOSED  uv_close() is under way; the peer may still be owed a `gone`
 *
 * conn_enter() alone changes the state, and sets the deadline that goes with it. Deadlines are
 * checked by one timer for all, armed for the nearest of them: with no connection, or with
 * connections that wait for the daemon only, nothing wakes up.
 */
#ifndef API_CONN_H
#define API_CONN_H

#include <sys/types.h>

#include "api/api.h"
#include "api/routes.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/paths.h"
#include "base/str.h"
#include "http/http.h"

#define SWEEP_STEP_MS 250 /* deadlines are rounded up to this, so that many are met at once */

struct api_tuning {
    size_t connections_max;
    size_t streams_max;
    size_t stream_backlog;
    size_t bodies_max;
    int64_t head_time_ms, idle_time_ms, write_time_ms;
    uid_t uid; /* whose socket this is */
};

enum conn_state {
    CONN_HEAD,
    CONN_BODY,
    CONN_CALL,
    CONN_STREAM,
    CONN_ANSWER,
    CONN_LINGER,
    CONN_CLOSED,
};

enum form { FORM_JSON, FORM_TEXT, FORM_SSE, FORM_NDJSON };

struct query_pair {
    char key[ROUTE_KEY_SIZE];
    const char *value; /* in the call's arena */
};

struct api_call {
    struct conn *conn;
    const struct route *route; /* NULL: not (yet) known */
    enum form form;
    char name[NAME_MAX_LEN + 1];
    struct query_pair query[ROUTE_KEYS_MAX];
    size_t n_query;
    struct arena arena;
    struct buf body;
    void *ctx;
    bool open;           /* handed out and not yet answered */
    bool holds_stream;   /* counted in api->n_streams */
    bool continue_asked; /* Expect: 100-continue */
};

struct conn {
    struct conn *prev, *next;
    struct api *api;
    uv_pipe_t pipe;
    enum conn_state state;
    struct buf in; /* read, not yet taken; secret, because bodies pass through it */
    struct http_body body;
    struct api_call call;
    size_t writes;       /* under way */
    int64_t since_ms;    /* when this state began, loop time */
    int64_t deadline_ms; /* loop time; INT64_MAX: none */
    bool is_new;         /* nothing has been read from it */
    bool reading;
    bool keep_alive;
    bool request_open; /* some of the request may still be unread */
};

struct api {
    uv_loop_t *loop;
    char path[PATHS_SOCKET_LEN + 1]; /* where it is, while callers_fd is open */
    int callers_fd;                  /* the listening socket; -1 */
    uv_poll_t callers;
    int held_fd;      /* a caller for whom there was no memory; comes first. -1 */
    uv_timer_t again; /* for callers that have to wait */
    uv_timer_t sweep;
    int64_t sweep_at_ms; /* INT64_MAX: not armed */
    struct api_handlers handlers;
    struct api_tuning tuning;
    char version[32];
    struct conn *conns;
    size_t n_conns; /* not CLOSED */
    size_t n_streams;
    size_t body_bytes; /* of all calls together */
    size_t n_handles;  /* of the loop; the memory goes with the last of them */
    bool accepting;
    bool freed;
};

/* listen.c */
extern const struct api_tuning api_tuning_default; /* but for uid */
int api_listen_tuned(uv_loop_t *loop, const char *path, const char *server_version,
                     const struct api_handlers *h, const struct api_tuning *tuning,
                     struct api **ret, struct err_text *text);
void api_release_handle(struct api *a);
void api_arm_sweep(struct api *a, int64_t deadline_ms);

/* conn.c */
struct conn *conn_new(struct api *a); /* uv_pipe_open() is the caller's; NULL: no memory */
void conn_start(struct conn *c);
void conn_drop(struct conn *c); /* `gone`, if owed, comes from the loop */
void conn_time_out(struct conn *c);
void conn_enter(struct conn *c, enum conn_state state);
/* Takes the bytes of `out`, which is empty afterwards, also on failure (then the peer is dropped).
 */
void conn_write(struct conn *c, struct buf *out);
void conn_tell_gone(struct conn *c);

/* request.c: from a head to a call, or to a problem */
void request_begin(struct conn *c, const struct http_head *head);
void request_dispatch(struct conn *c);
void call_reset(struct api_call *call);

/* answer.c */
struct problem {
    const char *code;
    int status; /* 0: as the code says */
    int64_t retry_after_ms;
    const char *allow; /* value of Allow, or NULL */
    const char *detail;
};
void answer_problem(struct conn *c, const struct problem *p);
void answer_fault(struct conn *c, enum http_fault fault);
void answer_openapi(struct conn *c);
int answer_stream_head(const struct conn *c, enum form form, struct buf *out);
int json_add(const json_t *json, struct buf *out); /* compact; ERR_TOO_LARGE, ERR_NOMEM */
/* The bytes of a problem, head and all. */
int problem_format(const struct api *a, const struct problem *p, enum form form, bool close,
                   struct buf *out);

/* openapi.json, embedded by the build */
extern const char api_openapi[];
extern const size_t api_openapi_len;

#endif

/*
 * The API: HTTP/1.1 with JSON on a unix socket. This part owns connections, limits, routing,
 * content negotiation and the problem+json form; what an operation does is the daemon's, given as
 * a table of handlers.
 *
 * One answer, three forms, chosen by Accept: application/json (default), text/plain (what a person
 * reads: the command line prints it as it is, so it needs no JSON), and for streams
 * text/event-stream (default), application/x-ndjson or text/plain, one line an event. The first of
 * these types that Accept names wins; weights (q=) are not looked at. The text is rendered from the
 * same JSON (api/text.c); the shape of every JSON answer is in api/text.h and openapi.json.
 *
 * A connection carries one request at a time: what is pipelined waits, unread beyond API_HEAD_MAX,
 * until the answer before it is written. Short of descriptors or memory, callers wait until there
 * are some again; an idle connection makes room at once. A peer that ends its side of the
 * connection has left, also when it would still have read: to wait for an answer is to keep the
 * connection open.
 */
#ifndef API_API_H
#define API_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/secret.h"

/* When full, the longest idle makes room, else half-sent, else not reading its answer. */
#define API_CONNECTIONS_MAX 512
#define API_MOMENT_MS       250 /* for a new connection's first byte, while others can make room */
#define API_HEAD_MAX        (16 * 1024)
#define API_BODY_MAX        (1024 * 1024 - 1) /* what one piece of secret memory holds */
#define API_BODIES_MAX      (8 * 1024 * 1024) /* of all bodies together; beyond it: "busy" */
#define API_ANSWER_MAX      (16 * 1024 * 1024)
#define API_HEAD_TIME_MS    5000  /* from the first byte of a request to its last; then 408 */
#define API_IDLE_TIME_MS    30000 /* between requests */
#define API_WRITE_TIME_MS   10000 /* a peer that does not read is dropped */
#define API_STREAMS_MAX     32
#define API_STREAM_BACKLOG  (4 * 1024 * 1024) /* unread events; a stream beyond it is dropped */

/* One operation = one line of the route table (api/routes.c) = one operationId in openapi.json.
 * Query values: min_ttl, timeout are durations (duration_parse); limit, after are decimal; as_of is
 * RFC 3339; follow, overwrite are yes/no (str_to_bool). The operation checks them. */
enum operation {
    OP_VERSION,   /* GET    /v1/version */
    OP_STATUS,    /* GET    /v1/status              daemon and all profiles */
    OP_PROFILES,  /* GET    /v1/profiles */
    OP_PROFILE,   /* GET    /v1/profiles/{name} */
    OP_ADD,       /* POST   /v1/profiles/{name}     ?provider= &client_id= &policy= &source=
                                                     &as_of= &format= ; body: the credential file */
    OP_REMOVE,    /* DELETE /v1/profiles/{name} */
    OP_TOKEN,     /* GET    /v1/profiles/{name}/token   ?min_ttl= &timeout= */
    OP_RENEW,     /* POST   /v1/profiles/{name}/renew   ?timeout= */
    OP_REPORT,    /* POST   /v1/profiles/{name}/report  ?timeout= */
    OP_POLICY,    /* POST   /v1/profiles/{name}/policy  ?to= */
    OP_RENAME,    /* POST   /v1/profiles/{name}/rename  ?to= */
    OP_HISTORY,   /* GET    /v1/profiles/{name}/history ?limit= */
    OP_USAGE,     /* GET    /v1/profiles/{name}/usage */
    OP_EVENTS,    /* GET    /v1/events               ?after= &limit= &follow= : a stream */
    OP_BACKUP,    /* POST   /v1/backup               ?path= &overwrite= */
    OP_DOCTOR,    /* GET /v1/doctor ?variables= */
    OP_CONSUMERS, /* GET   /v1/consumers */
    OP_BIND,      /* POST   /v1/profiles/{name}/consumers ?to= &mode= */
    OP_FOLDER,    /* POST /v1/profiles/{name}/folder ?kind= */
    OP_UNBIND,    /* DELETE /v1/consumers            ?at= */
    OP_USE,       /* POST   /v1/consumers            ?to= &at= &dry_run= */
    OP_STOP,      /* POST   /v1/daemon/stop */
    OP_RELOAD,    /* POST   /v1/daemon/reload */
    OP_OPENAPI,   /* GET    /v1/openapi.json : answered by api/ itself */
    OP_COUNT
};

struct api_call; /* one request, until it is answered or its peer is gone */

struct api_handlers {
    void *ctx;
    /* Must answer `call` once, now or later, by one of the functions below. */
    void (*handle[OP_COUNT])(void *ctx, struct api_call *call);
    /* The peer left before the answer (or before the end of the stream): `call` is invalid after
     * this returns. Called only for calls not yet answered, and only from the loop or api_free(),
     * never from inside one of the answers below. */
    void (*gone)(void *ctx, struct api_call *call);
};

/* What was asked. Strings live as long as the call. */
enum operation api_operation(const struct api_call *c);
const char *api_name(const struct api_call *c);                   /* {name}, decoded, valid */
const char *api_query(const struct api_call *c, const char *key); /* decoded; NULL when absent */
const void *api_body(const struct api_call *c, size_t *ret_len);  /* in secret memory */
bool api_wants_text(const struct api_call *c);
void api_set_ctx(struct api_call *c, void *ctx);
void *api_ctx(const struct api_call *c);

/* Answers. `json` is stolen; NULL: there was no memory for it, and that is said instead. After any
 * of these the call is no longer the caller's. An answer to a peer that left a moment ago is
 * dropped in silence. */
void api_reply(struct api_call *c, int status, json_t *json);
/* A token: {"access_token": …, and the members of `extra`} (schema Token in openapi.json), or the
 * bare token and a line feed as text. Every copy in secret memory, wiped once written. `extra` is
 * stolen. */
void api_reply_token(struct api_call *c, const struct secret *token, json_t *extra);
/* problem+json (RFC 9457); as text, the one line `fmt` gives. `code` is from base/exits.h; also
 * sent as `Credwarden-Code`. `retry_after_ms` 0: none. Control bytes in the line are replaced. */
void api_problem(struct api_call *c, const char *code, int64_t retry_after_ms, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A stream stays open: send events until the peer leaves (told by `gone`) or api_stream_end(). It
 * comes in chunks: a peer that is dropped misses the last one, and so knows that it lacks
 * something. Beyond API_STREAMS_MAX the call does not reach `handle` ("busy"). */
void api_stream_begin(struct api_call *c);
/* ERR_CLOSED: the peer is gone, or too slow and was dropped, or there was no memory for the event
 * (also: it is NULL); `gone` follows from the loop, or call api_stream_end(). `event` has the shape
 * Event. */
int api_stream_send(struct api_call *c, uint64_t id, const char *kind, const json_t *event);
void api_stream_end(struct api_call *c);

struct api;

/* Listens on `path` (a folder of ours, 0700, checked by the caller; the socket becomes 0600; a
 * leftover socket is replaced: the caller holds the lock that makes this safe). Peers of another
 * uid are refused by SO_PEERCRED. SIGPIPE must be ignored (process_harden()). `h` is copied.
 * ERR_TOO_LARGE: the path does not fit a socket's address; ERR_EXISTS: something else than a socket
 * is there; otherwise what the system said. */
int api_listen(uv_loop_t *loop, const char *path, const char *server_version,
               const struct api_handlers *h, struct api **ret, struct err_text *text);
/* No new connections or requests; open calls may still be answered. The socket file is removed. */
void api_stop_accepting(struct api *a);
/* Drops every connection, tells `gone` for open calls before it returns; the loop must run once
 * more. NULL-tolerant. */
void api_free(struct api *a);
int api_connections(const struct api *a);

#endif

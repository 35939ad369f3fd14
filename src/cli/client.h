/*
 * One connection to the daemon, for one request.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/request.h"
#include "cli/response.h"

#define CONNECT_TIME_MS 5000  /* also for each piece of a request to find room */
#define TAKEN_TIME_MS   10000 /* for a request to be read, whatever its answer takes */
#define ANSWER_MAX      (16 * 1024 * 1024)
#define STREAM_LINE_MAX (1024 * 1024)

/* ERR_NOT_FOUND, ERR_CLOSED: nobody listens (no socket, or one left behind). ERR_INSECURE: another
 * user listens there; nothing was sent. ERR_BUSY: one is there and lets nobody in. ERR_DENIED,
 * ERR_IO. */
int client_connect(const char *socket_path, int *ret_fd, struct err_text *text);
void client_close(int fd); /* -1 tolerated */

/* `head` is what request_write() made of `r`. ERR_CLOSED is not the end: the peer may have answered
 * before it stopped reading. ERR_BUSY: it never got the whole of it. ERR_IO. */
int client_send(int fd, const struct buf *head, const struct request *r, struct err_text *text);

/* Takes the whole lines at the front of a stream's body; how many bytes that was. */
struct stream {
    int (*take)(void *ctx, const char *lines, size_t len, struct err_text *text);
    void *ctx;
};

/* Reads the answer to its end. `body` is the caller's, its maximum the limit. `stream`, when not
 * NULL, is given each line of a successful answer as it comes, and SIGINT or SIGTERM then ends it
 * as if the daemon had. ERR_CLOSED: the daemon went away, see response_init(). ERR_TIMEOUT:
 * no answer, or it did not even read the request; it may still do what it was asked. */
int client_receive(int fd, const struct request *r, const struct stream *stream,
                   struct response *ret, struct buf *body, struct err_text *text);

/* Who listens: the process that must end before another daemon can take its place. */
int client_peer_pid(int fd, int *ret_pid);

/* Waits until that process is gone. `ret_watch` is taken while it surely lives (before it is told
 * to stop), so that no other process can be mistaken for it. */
int peer_watch(int pid, int *ret_watch);
int peer_await_end(int watch, int64_t time_ms); /* ERR_TIMEOUT. Closes `watch` */

/* Time that never jumps, in ms. */
int64_t steady_ms(void);
void pause_ms(int64_t ms);

#endif

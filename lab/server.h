/*
 * Connections: bytes to requests, answers to bytes, and all waiting. One loop, one thread.
 *
 * Limits: connections, head and body sizes, idle and half-sent requests, peers that do not read.
 * One request at a time a connection; what is sent ahead waits its turn.
 */
#ifndef LAB_SERVER_H
#define LAB_SERVER_H

#include <stdint.h>
#include <uv.h>

#include "lab/lab.h"

#define SERVER_CONNECTIONS_MAX 1024
#define SERVER_HEAD_MAX        (32 * 1024)
#define SERVER_BODY_MAX        (1024 * 1024)
#define SERVER_DRAIN_TIME_MS   1000
#define SERVER_IDLE_TIME_MS    30000 /* between requests, for a whole request, and for a write */

struct server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    struct lab *lab;
    int connections;
};

/* Listen on a loopback address; port 0 takes a free one. ERR_DENIED: not loopback. ERR_INVALID,
 * ERR_EXISTS (port taken), ERR_IO. `ret_url` like "http://127.0.0.1:4711". Set `lab`
 * before the loop runs. */
int server_bind(struct server *s, uv_loop_t *loop, const char *address, int port, char *ret_url,
                size_t url_size, struct err_text *text);

/* Closes everything; the loop must run once more. */
void server_close(struct server *s);

#endif

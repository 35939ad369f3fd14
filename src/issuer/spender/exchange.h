/*
 * One HTTP exchange by libcurl: what may be sent once is sent once, and we know whether it was.
 *
 * Every exchange has a connection of its own, HTTP/1.1, no redirects, no cookies, no netrc, no
 * compression. libcurl by itself repeats a request only when a *reused* connection dies before the
 * first byte of an answer (Curl_retry_request), or over HTTP/2: neither can happen here. Should a
 * version of it ever try, `on_sending` has already been called once, and the second call aborts.
 */
#ifndef ISSUER_SPENDER_EXCHANGE_H
#define ISSUER_SPENDER_EXCHANGE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "issuer/reply.h"
#include "issuer/spender/request.h"

#define EXCHANGE_HEAD_MAX   (64 * 1024)
#define EXCHANGE_CONNECT_MS 15000 /* names, connection, TLS, proxy; or the deadline if shorter */

struct exchange {
    CURL *easy;
    struct curl_slist *headers;
    struct request request;
    /* Called when the connection stands (TLS, proxy and all), just before the first byte of the
     * request may leave. Negative: nothing is sent. */
    int (*on_sending)(void *ctx);
    void *ctx;
    bool sent;
    int64_t sent_boot_ms; /* just before the first byte could leave; 0: none could */
    bool refused_to_send;
    bool too_large;
    int pending_status; /* of the head that is being read */
    int status;         /* of a complete final head */
    size_t head_len;
    char retry_after[64];
    char date[64];
    struct buf body; /* secret */
    char failure[CURL_ERROR_SIZE];
    char curl_text[CURL_ERROR_SIZE];
};

/* Once, before anything else; `cleanup` at the end. ERR_UNSUPPORTED: a libcurl that cannot do what
 * is promised above. */
int exchange_library_init(void);
void exchange_library_cleanup(void);

void exchange_init(struct exchange *x, int (*on_sending)(void *ctx), void *ctx);
void exchange_clear(struct exchange *x); /* not while it is under way. NULL-tolerant */

/* Begin what `x->request` says. The deadline of the whole is the caller's to keep: libcurl looks at
 * its own before it reads, so that a process that was stopped, or suspended, for longer would throw
 * away an answer that is there. Connecting, before anything is sent, has `left_ms` at most.
 * ERR_NOMEM, ERR_UNSUPPORTED. */
int exchange_start(struct exchange *x, CURLM *multi, int64_t left_ms);

/* It has ended: take it out of `multi` and say what was seen. The outcome points into `x`. */
void exchange_finish(struct exchange *x, CURLM *multi, CURLcode result, int64_t now_wall_ms,
                     struct http_outcome *ret);
/* Give it up. */
void exchange_cancel(struct exchange *x, CURLM *multi);

#endif

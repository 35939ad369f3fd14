/*
 * The spender as a process: started, watched, hung up on, reaped.
 */
#include "issuer/spender_parts.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sys/io.h"
#include "sys/process.h"

#define PACKETS_A_TURN 64 /* so that a chattering child cannot keep the loop to itself */

/* ---- Its end -------------------------------------------------------------------------------- */

static void on_child_handle_closed(uv_handle_t *h)
{
    struct child *c = h->data;
    if (--c->open_handles == 0)
        free(c);
}

void child_stop_using(struct child *c)
{
    if (c->owner->current == c)
        c->owner->current = NULL;
}

void child_hang_up(struct child *c)
{
    child_stop_using(c);
    c->is_deaf = true;
    if (c->fd < 0)
        return;
    uv_close((uv_handle_t *)&c->socket, on_child_handle_closed);
    fd_close(&c->fd);
}

void child_forget(struct child *c)
{
    child_hang_up(c);
    struct child **at = &c->owner->children;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->owner = NULL;
    uv_close((uv_handle_t *)&c->exit, on_child_handle_closed);
    fd_close(&c->pid_fd);
}

/* What it lacks while it gets ready is memory or descriptors; with both, it says hello. */
static const char *end_of(const struct child *c)
{
    return c->is_ready ? "the spender ended before it had an answer"
                       : "the spender ended before it was ready: memory or open files may be at "
                         "their limit";
}

static void on_exit_of_child(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct child *c = poll->data;
    struct spender *s = c->owner;
    /* Its last words first: they may be the answers that are about to be called missing. */
    child_read(c, INT_MAX);
    process_reap(c->pid, false);
    child_hang_up(c);
    for (struct question *q = s->questions; q != NULL;) {
        if (q->child == c) {
            question_report_unanswered(s, q, end_of(c));
            q = s->questions; /* the callback may have changed the list */
        } else {
            q = q->next;
        }
    }
    child_forget(c);
}

/* ---- Its start ------------------------------------------------------------------------------ */

static bool is_passed_on(const char *variable)
{
    static const char *const names[] = {
        "http_proxy",   "https_proxy",   "all_proxy", "no_proxy",
        "HTTP_PROXY",   "HTTPS_PROXY",   "ALL_PROXY", "NO_PROXY",
        "SSL_CERT_DIR", "SSL_CERT_FILE", "LANG",
#ifdef WITH_SANITIZERS
        "ASAN_OPTIONS", "UBSAN_OPTIONS",
#endif
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t len = strlen(names[i]);
        if (strncmp(variable, names[i], len) == 0 && variable[len] == '=')
            return true;
    }
    return strncmp(variable, "LC_", 3) == 0;
}

/* Points into our own environment; only the array is the caller's. NULL: no memory. */
static char **environment_for_child(void)
{
    char *const *ours = process_environment();
    size_t n = 0;
    while (ours[n] != NULL)
        n++;
    char **list = calloc(n + 1, sizeof(*list));
    if (list == NULL)
        return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (is_passed_on(ours[i]))
            list[kept++] = ours[i];
    return list;
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct child *c = poll->data;
    if (status < 0 || (events & UV_READABLE))
        child_read(c, PACKETS_A_TURN);
    if (!c->is_deaf && (events & UV_WRITABLE))
        child_send_waiting(c);
}

void child_listen(struct child *c, int events)
{
    CHECK(uv_poll_start(&c->socket, events, on_socket) == 0);
}

static int child_watch(struct child *c)
{
    uv_loop_t *loop = c->owner->loop;
    int uv = uv_poll_init(loop, &c->socket, c->fd);
    if (uv < 0)
        return err_from_errno(-uv);
    c->open_handles++;
    uv = uv_poll_init(loop, &c->exit, c->pid_fd);
    if (uv < 0) {
        uv_close((uv_handle_t *)&c->socket, on_child_handle_closed);
        return err_from_errno(-uv);
    }
    c->open_handles++;
    child_listen(c, UV_READABLE);
    CHECK(uv_poll_start(&c->exit, UV_READABLE, on_exit_of_child) == 0);
    return 0;
}

int child_start(struct spender *s)
{
    int fds[2] = {-1, -1};
    char name[] = "credwarden-spender";
    char verbose[] = "--verbose";
    char *argv[] = {name, s->o.verbosity > 0 ? verbose : NULL, NULL};
    struct child *c = calloc(1, sizeof(*c));
    char **env = environment_for_child();
    if (c == NULL || env == NULL) {
        free(c);
        free(env);
        return ERR_NOMEM;
    }
    c->pid_fd = -1;
    c->owner = s;
    c->socket.data = c;
    c->exit.data = c;
    int err = packet_pair(fds);
    if (err == 0)
        err = process_spawn(s->program, argv, env, fds[1], &c->pid, &c->pid_fd);
    free(env);
    fd_close(&fds[1]);
    c->fd = fds[0];
    if (err == 0) {
        err = child_watch(c);
        if (err < 0) { /* nobody would see its end; it has been given nothing */
            process_end(c->pid_fd);
            process_reap(c->pid, true);
        }
    }
    if (err < 0) {
        fd_close(&c->fd);
        fd_close(&c->pid_fd);
        if (c->open_handles == 0)
            free(c);
        return err;
    }
    c->next = s->children;
    s->children = c;
    s->current = c;
    return 0;
}

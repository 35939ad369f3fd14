/*
 * The daemon's end of the spender.
 *
 * One child process takes questions (`current`). Others may still be on their way out: they answer
 * what they have in hand, are heard until they exit, and get nothing new. A question belongs to one
 * child. Until its message is in the socket it can move to another one, because then nobody can
 * have seen it; from then on only that child, or that child's death, answers it.
 *
 * One timer runs to the earliest question that is overdue. A child that is behind then is stuck:
 * see child_is_stuck(). It may wake up at any time, so it is heard like the others; an answer to a
 * question that is over is ignored.
 *
 * A message that lies unread in the socket of a dying child is discarded by the kernel together
 * with the spool's descriptor in it: the lock goes, the spool says PREPARED, and so the caller
 * learns the truth: not sent.
 */
#include "issuer/spender.h"

#include <limits.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "base/time.h"
#include "sys/io.h"
#include "sys/process.h"

#define PROGRAM_PATH_MAX 4096
#define PACKETS_A_TURN   64 /* so that a chattering child cannot keep the loop to itself */

struct child {
    struct spender *owner; /* NULL once the owner is gone */
    struct child *next;
    pid_t pid;
    int pid_fd;
    int fd;
    uv_poll_t socket;
    uv_poll_t exit;
    int open_handles;
    int n_questions;
    bool is_ready; /* it said hello: its sandbox stands */
    bool is_stuck; /* it did not answer in time: gets nothing new */
    bool is_deaf;  /* its socket has ended: nothing more will be read from it */
};

struct question {
    struct question *next;
    struct child *child;
    uint64_t serial; /* its id on the wire */
    uint64_t id;     /* the caller's own */
    enum ask ask;
    int64_t limit_ms; /* for the answer, from when a child is given it */
    int64_t due_ms;   /* then the child is stuck; TIME_NEVER: nothing more is expected of it */
    spend_done spend_done;
    ask_done ask_done;
    void *ctx;
    struct buf message; /* until sent */
    int spool_fd;       /* until sent; -1 for asks */
    bool sent;
};

struct spender {
    uv_loop_t *loop;
    uv_timer_t idle;
    uv_timer_t due; /* runs to the earliest question that is overdue, or wakes too early */
    int64_t due_ms;
    int open_handles;
    struct spender_options o;
    char program[PROGRAM_PATH_MAX];
    uint8_t box_public[BOX_PUBLIC_LEN];
    struct child *children;
    struct child *current;
    struct question *questions; /* in order of asking */
    int n_questions;
    uint64_t last_serial;
    uint8_t *packet; /* PACKET_MAX of secret memory: what is received */
    const uint8_t *rescued;
    size_t rescued_len;
    const char *why; /* during spend_done */
    char sandbox_text[64];
};

static void send_waiting(struct child *c);
static void arm_idle(struct spender *s);
static void child_hang_up(struct child *c);

/* libuv's own idea of now is as old as its turn; a suspend counts in neither. */
static int64_t now_ms(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

/* ---- Questions ------------------------------------------------------------------------------ */

static void question_free(struct question *q)
{
    if (q == NULL)
        return;
    buf_release(&q->message);
    fd_close(&q->spool_fd);
    free(q);
}

static struct question *question_new(struct spender *s, enum ask ask, uint64_t id, int spool_fd)
{
    struct question *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return NULL;
    q->serial = ++s->last_serial;
    q->id = id;
    q->ask = ask;
    q->spool_fd = spool_fd;
    buf_init_secret(&q->message, WIRE_QUESTION_MAX);
    return q;
}

static void question_link(struct spender *s, struct question *q)
{
    struct question **at = &s->questions;
    while (*at != NULL)
        at = &(*at)->next;
    *at = q;
    q->child->n_questions++;
    s->n_questions++;
}

static void question_unlink(struct spender *s, struct question *q)
{
    struct question **at = &s->questions;
    while (*at != NULL && *at != q)
        at = &(*at)->next;
    CHECK(*at == q);
    *at = q->next;
    q->child->n_questions--;
    s->n_questions--;
}

static struct question *question_find(struct spender *s, const struct child *c, uint64_t serial)
{
    struct question *q = s->questions;
    while (q != NULL && !(q->serial == serial && q->child == c && q->sent))
        q = q->next;
    return q;
}

/* The one place where a caller hears back. What is still held for sending is let go first: it
 * includes the spool's lock, and the caller is about to read the spool. */
static void report(struct spender *s, struct question *q, const struct reply *reply)
{
    question_unlink(s, q);
    buf_release(&q->message);
    fd_close(&q->spool_fd);
    arm_idle(s);
    if (q->child->is_stuck && q->child->n_questions == 0)
        child_hang_up(q->child); /* it woke up, and was waited for until now */
    if (q->ask == ASK_SPEND)
        q->spend_done(q->ctx, q->id);
    else
        q->ask_done(q->ctx, q->id, reply);
    question_free(q);
}

static void report_unanswered(struct spender *s, struct question *q, const char *why)
{
    struct reply r;
    reply_init(&r);
    r.ask = q->ask;
    r.verdict = VERDICT_DOUBT;
    r.identity = IDENTITY_UNANSWERED;
    (void)str_copy(r.detail, sizeof(r.detail), why);
    s->why = why;
    report(s, q, &r);
    s->why = "";
    reply_clear(&r);
}

/* ---- The child process ---------------------------------------------------------------------- */

static void on_child_handle_closed(uv_handle_t *h)
{
    struct child *c = h->data;
    if (--c->open_handles == 0)
        free(c);
}

static void child_stop_using(struct child *c)
{
    if (c->owner->current == c)
        c->owner->current = NULL;
}

/* Nothing is read or sent any more. The child sees the end of its socket, finishes, exits. */
static void child_hang_up(struct child *c)
{
    child_stop_using(c);
    c->is_deaf = true;
    if (c->fd < 0)
        return;
    uv_close((uv_handle_t *)&c->socket, on_child_handle_closed);
    fd_close(&c->fd);
}

/* Forget the child; its memory goes when the loop has closed its handles. */
static void child_forget(struct child *c)
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

static void take_hello(struct child *c, const struct wire_hello *h)
{
    struct spender *s = c->owner;
    c->is_ready = true;
    if (h->sandbox.landlock_abi > 0)
        snprintf(s->sandbox_text, sizeof(s->sandbox_text), "%s, Landlock %d",
                 h->sandbox.seccomp ? "seccomp" : "no seccomp", h->sandbox.landlock_abi);
    else
        snprintf(s->sandbox_text, sizeof(s->sandbox_text), "%s, no Landlock",
                 h->sandbox.seccomp ? "seccomp" : "no seccomp");
}

static int take_answer(struct child *c, const struct wire_answer *a)
{
    struct spender *s = c->owner;
    struct question *q = question_find(s, c, a->id);
    if (q == NULL && c->is_stuck && a->id <= s->last_serial)
        return 0; /* too late */
    if (q == NULL || q->ask != a->ask)
        return ERR_INVALID;
    if (q->ask == ASK_SPEND) {
        s->rescued = a->rescued;
        s->rescued_len = a->rescued_len;
        report(s, q, NULL);
        s->rescued = NULL;
        s->rescued_len = 0;
        return 0;
    }
    struct reply r;
    reply_init(&r);
    int err = reply_decode(a->reply, a->reply_len, &r);
    if (err == 0 && r.ask != q->ask)
        err = ERR_INVALID;
    if (err == 0)
        report(s, q, &r);
    reply_clear(&r);
    return err;
}

static int take_packet(struct child *c, const uint8_t *bytes, size_t len)
{
    enum wire_kind kind;
    int err = wire_kind_of(bytes, len, &kind);
    if (err < 0)
        return err;
    struct wire_hello hello;
    struct wire_answer answer;
    switch (kind) {
    case WIRE_HELLO:
        err = wire_hello_decode(bytes, len, &hello);
        if (err == 0)
            take_hello(c, &hello);
        return err;
    case WIRE_ANSWER:
        err = wire_answer_decode(bytes, len, &answer);
        return err < 0 ? err : take_answer(c, &answer);
    case WIRE_QUESTION:
        break;
    }
    return ERR_INVALID;
}

/* Read what is there, at most `max` packets. The shared buffer is wiped: it held tokens. */
static void child_read(struct child *c, int max)
{
    struct spender *s = c->owner;
    bool was_reset = false;
    for (int i = 0; i < max && !c->is_deaf; i++) {
        int fd = -1;
        int n = packet_recv(c->fd, s->packet, PACKET_MAX, &fd);
        fd_close(&fd); /* none is ever due from there */
        if (n == ERR_AGAIN)
            break;
        /* A peer that closed without reading all it was sent is reported once, and before what it
         * had said: that is read next. */
        if (n == ERR_CLOSED && !was_reset) {
            was_reset = true;
            continue;
        }
        if (n > 0) {
            int err = take_packet(c, s->packet, (size_t)n);
            secret_wipe(s->packet, (size_t)n);
            /* A child that speaks nonsense is not listened to any further. What it has in hand is
             * answered by its exit, so nothing is guessed. */
            if (err < 0)
                child_hang_up(c);
        } else {
            child_hang_up(c);
        }
    }
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct child *c = poll->data;
    if (status < 0 || (events & UV_READABLE))
        child_read(c, PACKETS_A_TURN);
    if (!c->is_deaf && (events & UV_WRITABLE))
        send_waiting(c);
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
            report_unanswered(s, q, end_of(c));
            q = s->questions; /* the callback may have changed the list */
        } else {
            q = q->next;
        }
    }
    child_forget(c);
}

/* ---- Starting one --------------------------------------------------------------------------- */

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

static int child_watch(struct child *c)
{
    uv_loop_t *loop = c->owner->loop;
    if (uv_poll_init(loop, &c->socket, c->fd) < 0)
        return ERR_NOMEM;
    c->open_handles++;
    if (uv_poll_init(loop, &c->exit, c->pid_fd) < 0) {
        uv_close((uv_handle_t *)&c->socket, on_child_handle_closed);
        return ERR_NOMEM;
    }
    c->open_handles++;
    CHECK(uv_poll_start(&c->socket, UV_READABLE, on_socket) == 0);
    CHECK(uv_poll_start(&c->exit, UV_READABLE, on_exit_of_child) == 0);
    return 0;
}

static int child_start(struct spender *s)
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
    if (err == 0)
        err = child_watch(c);
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

/* ---- Sending -------------------------------------------------------------------------------- */

static int question_send(struct question *q)
{
    int err = packet_send(q->child->fd, q->message.bytes, q->message.len, q->spool_fd);
    if (err < 0)
        return err;
    q->sent = true;
    buf_release(&q->message);
    fd_close(&q->spool_fd); /* the lock is the spender's now */
    return 0;
}

static struct question *first_waiting(struct child *c)
{
    struct question *q = c->owner->questions;
    while (q != NULL && (q->child != c || q->sent))
        q = q->next;
    return q;
}

static void arm_due(struct spender *s, int64_t due_ms);

static void question_begin_time(struct question *q)
{
    q->due_ms = now_ms() + q->limit_ms;
}

/* The child takes no more: what it has not been given goes to a new one. When none can be started,
 * it stays where it is and is answered when this child exits. */
static void move_waiting(struct child *from)
{
    struct spender *s = from->owner;
    child_stop_using(from);
    if (first_waiting(from) == NULL || (s->current == NULL && child_start(s) < 0))
        return;
    for (struct question *q = s->questions; q != NULL; q = q->next)
        if (q->child == from && !q->sent) {
            from->n_questions--;
            s->current->n_questions++;
            q->child = s->current;
            question_begin_time(q);
        }
    uv_poll_start(&s->current->socket, UV_READABLE | UV_WRITABLE, on_socket);
}

static void send_waiting(struct child *c)
{
    struct question *q;
    while ((q = first_waiting(c)) != NULL) {
        int err = question_send(q);
        if (err == ERR_AGAIN)
            return;
        if (err == ERR_CLOSED) {
            uv_poll_start(&c->socket, UV_READABLE, on_socket);
            move_waiting(c);
            return;
        }
        if (err < 0)
            report_unanswered(c->owner, q, "the spender cannot be asked");
    }
    uv_poll_start(&c->socket, UV_READABLE, on_socket);
}

/* Give `q` to a child; 0 also when it has to wait for room in the socket. */
static int give(struct spender *s, struct question *q)
{
    /* Twice: the current child may have stopped listening without our having noticed. */
    for (int attempt = 0; attempt < 2; attempt++) {
        int err = s->current == NULL ? child_start(s) : 0;
        if (err < 0)
            return err;
        q->child = s->current;
        err = first_waiting(q->child) != NULL ? ERR_AGAIN : question_send(q);
        if (err == ERR_AGAIN)
            uv_poll_start(&q->child->socket, UV_READABLE | UV_WRITABLE, on_socket);
        if (err == 0 || err == ERR_AGAIN)
            return 0;
        if (err != ERR_CLOSED)
            return err;
        move_waiting(q->child);
    }
    return ERR_CLOSED;
}

/* Takes over `q` on every path. */
static int ask(struct spender *s, struct question *q, struct wire_question *w)
{
    bool is_full = s->current != NULL && s->current->n_questions >= SPENDER_QUESTIONS_MAX;
    int err = is_full ? ERR_BUSY : 0;
    /* The spender would take a broken definition for a broken daemon, and stop listening. */
    if (err == 0 && q->ask != ASK_METADATA)
        err = provider_validate(w->provider, NULL);
    w->id = q->serial;
    w->ask = q->ask;
    q->limit_ms = w->deadline_ms + s->o.margin_ms;
    if (err == 0)
        err = wire_question_encode(w, &q->message);
    if (err == 0)
        err = give(s, q);
    if (err < 0) {
        question_free(q);
        return err;
    }
    question_begin_time(q);
    question_link(s, q);
    uv_timer_stop(&s->idle);
    arm_due(s, q->due_ms);
    return 0;
}

/* ---- One that does not answer --------------------------------------------------------------- */

static struct question *first_unjudged(const struct child *c)
{
    struct question *q = c->owner->questions;
    /* The analyzer loses track of the list that question_unlink() has just left in order. */
    while (q != NULL && (q->child != c || q->due_ms == TIME_NEVER)) // NOLINT
        q = q->next;
    return q;
}

/* A stopped process, a bug, a machine that stands still: nobody can tell, and it may go on at any
 * time. So nothing is believed to be lost, and nobody waits for it who need not. */
static void child_is_stuck(struct child *c)
{
    struct spender *s = c->owner;
    struct question *q;
    c->is_stuck = true;
    move_waiting(c);
    while ((q = first_unjudged(c)) != NULL) {
        q->due_ms = TIME_NEVER;
        if (q->ask != ASK_SPEND || !q->sent || (s->o.take_back && s->o.take_back(s->o.ctx, q->id)))
            report_unanswered(s, q,
                              c->is_ready ? "the spender did not answer in time"
                                          : "the spender did not get ready in time");
    }
    if (c->n_questions == 0) {
        child_hang_up(c);
        process_end(c->pid_fd);
    }
}

static struct question *earliest_due(const struct spender *s)
{
    struct question *first = NULL;
    for (struct question *q = s->questions; q != NULL; q = q->next)
        if (q->due_ms != TIME_NEVER && (first == NULL || q->due_ms < first->due_ms))
            first = q;
    return first;
}

static void on_due(uv_timer_t *timer)
{
    struct spender *s = timer->data;
    struct question *q;
    s->due_ms = TIME_NEVER;
    while ((q = earliest_due(s)) != NULL && q->due_ms <= now_ms()) {
        struct child *c = q->child;
        uint64_t serial = q->serial;
        /* It may be we who stood still: what it said meanwhile comes first. */
        child_read(c, INT_MAX);
        q = earliest_due(s);
        if (q != NULL && q->serial == serial)
            child_is_stuck(c);
    }
    if (q != NULL)
        arm_due(s, q->due_ms);
}

/* Called for each question; the timer is not put off when one is answered. */
static void arm_due(struct spender *s, int64_t due_ms)
{
    if (due_ms >= s->due_ms)
        return;
    int64_t left_ms = due_ms - now_ms();
    s->due_ms = due_ms;
    uv_update_time(s->loop);
    uv_timer_start(&s->due, on_due, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

/* ---- Outside -------------------------------------------------------------------------------- */

static void on_idle(uv_timer_t *timer)
{
    struct spender *s = timer->data;
    if (s->current != NULL && s->current->n_questions == 0)
        child_hang_up(s->current);
}

static void arm_idle(struct spender *s)
{
    if (s->current != NULL && s->current->n_questions == 0)
        uv_timer_start(&s->idle, on_idle, (uint64_t)s->o.idle_ms, 0);
}

static bool deadline_is_valid(int64_t ms)
{
    return ms >= 1 && ms <= WIRE_DEADLINE_MAX_MS;
}

static bool times_are_valid(const struct spender_options *o)
{
    return deadline_is_valid(o->deadline_ms) && deadline_is_valid(o->ask_deadline_ms) &&
           o->idle_ms >= 0 && o->margin_ms >= 0;
}

int spender_init(uv_loop_t *loop, const struct spender_options *o, struct spender **ret)
{
    if (!times_are_valid(o))
        return ERR_INVALID;
    struct spender *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return ERR_NOMEM;
    s->packet = secret_alloc(PACKET_MAX);
    int err = s->packet == NULL ? ERR_NOMEM : str_copy(s->program, sizeof(s->program), o->program);
    if (err == 0 && (uv_timer_init(loop, &s->idle) < 0 || uv_timer_init(loop, &s->due) < 0))
        err = ERR_NOMEM; /* neither can fail */
    if (err < 0) {
        secret_free(s->packet);
        free(s);
        return err;
    }
    s->loop = loop;
    s->o = *o;
    s->idle.data = s;
    s->due.data = s;
    s->due_ms = TIME_NEVER;
    s->why = "";
    s->open_handles = 2;
    memcpy(s->box_public, o->box_public, sizeof(s->box_public));
    *ret = s;
    return 0;
}

int spender_set_times(struct spender *s, const struct spender_options *o)
{
    if (!times_are_valid(o))
        return ERR_INVALID;
    s->o.idle_ms = o->idle_ms;
    s->o.deadline_ms = o->deadline_ms;
    s->o.ask_deadline_ms = o->ask_deadline_ms;
    arm_idle(s);
    return 0;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct spender *s = h->data;
    if (--s->open_handles == 0)
        free(s);
}

void spender_free(struct spender *s)
{
    if (s == NULL)
        return;
    while (s->children != NULL)
        child_forget(s->children);
    while (s->questions != NULL) {
        struct question *q = s->questions;
        question_unlink(s, q);
        question_free(q);
    }
    secret_free(s->packet);
    uv_close((uv_handle_t *)&s->idle, on_timer_closed);
    uv_close((uv_handle_t *)&s->due, on_timer_closed);
}

int spender_spend(struct spender *s, const struct spend_order *o, spend_done done, void *ctx)
{
    struct question *q = question_new(s, ASK_SPEND, o->intent, o->spool_fd);
    if (q == NULL) {
        int fd = o->spool_fd;
        fd_close(&fd);
        return ERR_NOMEM;
    }
    q->spend_done = done;
    q->ctx = ctx;
    struct wire_question w = {
        .deadline_ms = s->o.deadline_ms,
        .provider = o->provider,
        .token = *o->refresh, /* borrowed */
    };
    memcpy(w.secret, o->secret, sizeof(w.secret));
    memcpy(w.box_public, s->box_public, sizeof(w.box_public));
    int err = str_copy(w.scope, sizeof(w.scope), o->scope);
    if (err == 0)
        err = ask(s, q, &w);
    else
        question_free(q);
    secret_wipe(w.secret, sizeof(w.secret));
    return err;
}

int spender_ask(struct spender *s, enum ask what, uint64_t id, const struct provider *provider,
                const struct secret *access, ask_done done, void *ctx)
{
    CHECK(what != ASK_SPEND);
    struct question *q = question_new(s, what, id, -1);
    if (q == NULL)
        return ERR_NOMEM;
    q->ask_done = done;
    q->ctx = ctx;
    struct wire_question w = {.deadline_ms = s->o.ask_deadline_ms, .provider = provider};
    if (what != ASK_METADATA)
        w.token = *access; /* borrowed */
    return ask(s, q, &w);
}

const uint8_t *spender_rescued(const struct spender *s, size_t *ret_len)
{
    *ret_len = s->rescued_len;
    return s->rescued;
}

const char *spender_why(const struct spender *s)
{
    return s->why;
}

int spender_in_flight(const struct spender *s)
{
    return s->n_questions;
}

const char *spender_sandbox_text(const struct spender *s)
{
    return s->sandbox_text;
}

pid_t spender_pid(const struct spender *s)
{
    return s->current == NULL ? 0 : s->current->pid;
}

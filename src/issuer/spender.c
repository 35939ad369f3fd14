/*
 * The daemon's end of the spender: what it is asked for. The rooms behind it stand in
 * spender_parts.h.
 */
#include "issuer/spender_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "base/time.h"
#include "sys/io.h"
#include "sys/process.h"

/* ---- Begin and end -------------------------------------------------------------------------- */

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
    spender_arm_idle(s);
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

/* ---- Asking --------------------------------------------------------------------------------- */

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
        err = question_give(s, q);
    if (err < 0) {
        question_free(q);
        return err;
    }
    question_begin_time(q);
    question_link(s, q);
    uv_timer_stop(&s->idle);
    spender_arm_due(s, q->due_ms);
    return 0;
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

/* ---- Looking -------------------------------------------------------------------------------- */

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

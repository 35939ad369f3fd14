/*
 * By the clock: a child that has nothing to do is sent away, one that does not answer is given up.
 *
 * One timer runs to the earliest question that is overdue. A child that is behind then is stuck:
 * see child_is_stuck(). It may wake up at any time, so it is heard like the others; an answer to a
 * question that is over is ignored.
 */
#include "issuer/spender_parts.h"

#include <limits.h>

#include "base/time.h"
#include "sys/process.h"

/* libuv's own idea of now is as old as its turn; a suspend counts in neither. */
static int64_t now_ms(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

/* ---- Nothing to do -------------------------------------------------------------------------- */

static void on_idle(uv_timer_t *timer)
{
    struct spender *s = timer->data;
    if (s->current != NULL && s->current->n_questions == 0)
        child_hang_up(s->current);
}

void spender_arm_idle(struct spender *s)
{
    if (s->current != NULL && s->current->n_questions == 0)
        uv_timer_start(&s->idle, on_idle, (uint64_t)s->o.idle_ms, 0);
}

/* ---- One that does not answer --------------------------------------------------------------- */

void question_begin_time(struct question *q)
{
    q->due_ms = now_ms() + q->limit_ms;
}

static struct question *first_unjudged(const struct child *c)
{
    struct question *q = c->owner->questions;
    while (q != NULL && (q->child != c || q->due_ms == TIME_NEVER))
        q = q->next;
    return q;
}

/* Of a spend: see spender_options. */
static int take_back(struct spender *s, struct question *q)
{
    if (q->ask != ASK_SPEND || !q->sent)
        return 0;
    return s->o.take_back != NULL ? s->o.take_back(s->o.ctx, q->id) : ERR_LOCKED;
}

/* After so long it may be told whether they can be taken back. */
static void judge_again(struct spender *s)
{
    for (struct question *q = s->questions; q != NULL; q = q->next)
        if (q->unclear) {
            q->unclear = false;
            q->due_ms = now_ms() + SPENDER_AGAIN_MS;
            spender_arm_due(s, q->due_ms);
        }
}

/* A stopped process, a bug, a machine that stands still: nobody can tell, and it may go on at any
 * time. So nothing is believed to be lost, and nobody waits for it who need not. */
static void child_is_stuck(struct child *c)
{
    struct spender *s = c->owner;
    struct question *q;
    c->is_stuck = true;
    child_move_waiting(c);
    while ((q = first_unjudged(c)) != NULL) {
        q->due_ms = TIME_NEVER;
        int err = take_back(s, q);
        q->unclear = err < 0 && err != ERR_LOCKED;
        if (err == 0)
            question_report_unanswered(s, q,
                                       c->is_ready ? "the spender did not answer in time"
                                                   : "the spender did not get ready in time");
    }
    judge_again(s);
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
        spender_arm_due(s, q->due_ms);
}

void spender_arm_due(struct spender *s, int64_t due_ms)
{
    if (due_ms >= s->due_ms)
        return;
    int64_t left_ms = due_ms - now_ms();
    s->due_ms = due_ms;
    uv_update_time(s->loop);
    uv_timer_start(&s->due, on_due, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

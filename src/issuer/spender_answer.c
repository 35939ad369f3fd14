/*
 * Answers on their way to the caller: what a child says is read, checked, and reported.
 */
#include "issuer/spender_parts.h"

#include <stdio.h>

#include "base/str.h"
#include "sys/io.h"
#include "sys/process.h"

/* ---- To the caller -------------------------------------------------------------------------- */

/* The one place where a caller hears back. What is still held for sending is let go first: it
 * includes the spool's lock, and the caller is about to read the spool. */
static void report(struct spender *s, struct question *q, const struct reply *reply)
{
    question_unlink(s, q);
    buf_release(&q->message);
    fd_close(&q->spool_fd);
    spender_arm_idle(s);
    if (q->child->is_stuck && q->child->n_questions == 0)
        child_hang_up(q->child); /* it woke up, and was waited for until now */
    if (q->ask == ASK_SPEND)
        q->spend_done(q->ctx, q->id);
    else
        q->ask_done(q->ctx, q->id, reply);
    question_free(q);
}

void question_report_unanswered(struct spender *s, struct question *q, const char *why)
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

/* ---- From the child ------------------------------------------------------------------------- */

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

static struct question *question_find(struct spender *s, const struct child *c, uint64_t serial)
{
    struct question *q = s->questions;
    while (q != NULL && !(q->serial == serial && q->child == c && q->sent))
        q = q->next;
    return q;
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

void child_read(struct child *c, int max)
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
            secret_wipe(s->packet, (size_t)n); /* it held tokens */
            /* A child that speaks nonsense is not listened to any further. What it has in hand is
             * answered by its exit, so nothing is guessed. */
            if (err < 0)
                child_hang_up(c);
        } else {
            child_hang_up(c);
        }
    }
}

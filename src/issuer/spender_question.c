/*
 * Questions on their way to a child: made, listed while they are open, sent, and moved to another
 * child while they are not.
 *
 * A message that lies unread in the socket of a dying child is discarded by the kernel together
 * with the spool's descriptor in it: the lock goes, the spool says PREPARED, and so the caller
 * learns the truth: not sent.
 */
#include "issuer/spender_parts.h"

#include <stdlib.h>

#include "base/check.h"
#include "sys/io.h"
#include "sys/process.h"

/* ---- The list ------------------------------------------------------------------------------- */

struct question *question_new(struct spender *s, enum ask ask, uint64_t id, int spool_fd)
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

void question_free(struct question *q)
{
    if (q == NULL)
        return;
    buf_release(&q->message);
    fd_close(&q->spool_fd);
    free(q);
}

void question_link(struct spender *s, struct question *q)
{
    struct question **at = &s->questions;
    while (*at != NULL)
        at = &(*at)->next;
    *at = q;
    q->child->n_questions++;
    s->n_questions++;
}

void question_unlink(struct spender *s, struct question *q)
{
    struct question **at = &s->questions;
    while (*at != NULL && *at != q)
        at = &(*at)->next;
    CHECK(*at == q);
    *at = q->next;
    q->child->n_questions--;
    s->n_questions--;
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

void child_move_waiting(struct child *from)
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
    child_listen(s->current, UV_READABLE | UV_WRITABLE);
}

void child_send_waiting(struct child *c)
{
    struct question *q;
    while ((q = first_waiting(c)) != NULL) {
        int err = question_send(q);
        if (err == ERR_AGAIN)
            return;
        if (err == ERR_CLOSED) {
            child_listen(c, UV_READABLE);
            child_move_waiting(c);
            return;
        }
        if (err < 0)
            question_report_unanswered(c->owner, q, "the spender cannot be asked");
    }
    child_listen(c, UV_READABLE);
}

int question_give(struct spender *s, struct question *q)
{
    /* Twice: the current child may have stopped listening without our having noticed. */
    for (int attempt = 0; attempt < 2; attempt++) {
        int err = s->current == NULL ? child_start(s) : 0;
        if (err < 0)
            return err;
        q->child = s->current;
        err = first_waiting(q->child) != NULL ? ERR_AGAIN : question_send(q);
        if (err == ERR_AGAIN)
            child_listen(q->child, UV_READABLE | UV_WRITABLE);
        if (err == 0 || err == ERR_AGAIN)
            return 0;
        if (err != ERR_CLOSED)
            return err;
        child_move_waiting(q->child);
    }
    return ERR_CLOSED;
}

/*
 * The store's thread and its two lists: jobs on the way in, jobs on the way out. One mutex guards
 * both; it is never held while a job runs.
 *
 * When the way in is empty the thread tidies the store: what nobody waits for (the mark's sync, a
 * checkpoint) is done after the last answer has been handed over, not before.
 */
#include "store/queue.h"

#include <stdlib.h>

#include "base/check.h"

struct list {
    struct store_job *head;
    struct store_job **tail;
};

struct store_queue {
    struct store *store;
    uv_thread_t thread;
    uv_async_t async; /* jobs are on the way out */
    uv_mutex_t mutex;
    uv_cond_t cond;   /* a job is on the way in, or it is time to stop */
    struct list in;   /* under the mutex */
    struct list out;  /* under the mutex */
    bool is_stopping; /* under the mutex */
    size_t len;       /* the loop's: submitted, not yet done */
};

static void list_init(struct list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}

static void list_add(struct list *l, struct store_job *job)
{
    job->next = NULL;
    *l->tail = job;
    l->tail = &job->next;
}

static struct store_job *list_take(struct list *l)
{
    struct store_job *job = l->head;
    if (job != NULL) {
        l->head = job->next;
        if (l->head == NULL) {
            l->tail = &l->head;
        }
        job->next = NULL;
    }
    return job;
}

/* The next job, or NULL when it is time to stop. Called and left with the mutex held. */
static struct store_job *next_job(struct store_queue *q)
{
    bool is_tidy = false;
    for (;;) {
        struct store_job *job = list_take(&q->in);
        if (job != NULL || q->is_stopping) {
            return job;
        }
        if (!is_tidy) {
            uv_mutex_unlock(&q->mutex);
            (void)store_tidy(q->store);
            uv_mutex_lock(&q->mutex);
            is_tidy = true;
        } else {
            uv_cond_wait(&q->cond, &q->mutex);
        }
    }
}

static void work(void *arg)
{
    struct store_queue *q = arg;
    struct store_job *job = NULL;
    uv_mutex_lock(&q->mutex);
    while ((job = next_job(q)) != NULL) {
        uv_mutex_unlock(&q->mutex);
        job->err = job->run(q->store, job);
        uv_mutex_lock(&q->mutex);
        list_add(&q->out, job);
        (void)uv_async_send(&q->async);
    }
    uv_mutex_unlock(&q->mutex);
}

/* Back on the loop. A `done` may submit more jobs. */
static void deliver(struct store_queue *q)
{
    for (;;) {
        uv_mutex_lock(&q->mutex);
        struct store_job *job = list_take(&q->out);
        uv_mutex_unlock(&q->mutex);
        if (job == NULL) {
            return;
        }
        q->len--;
        if (q->len == 0) {
            uv_unref((uv_handle_t *)&q->async);
        }
        job->done(job, job->err);
    }
}

static void on_async(uv_async_t *async)
{
    deliver(async->data);
}

static void on_closed(uv_handle_t *async)
{
    struct store_queue *q = async->data;
    uv_cond_destroy(&q->cond);
    uv_mutex_destroy(&q->mutex);
    free(q);
}

int store_queue_start(uv_loop_t *loop, struct store *s, struct store_queue **ret)
{
    struct store_queue *q = calloc(1, sizeof(*q));
    if (q == NULL) {
        return ERR_NOMEM;
    }
    q->store = s;
    list_init(&q->in);
    list_init(&q->out);
    CHECK(uv_mutex_init(&q->mutex) == 0 && uv_cond_init(&q->cond) == 0);
    int r = uv_async_init(loop, &q->async, on_async);
    if (r != 0) {
        uv_cond_destroy(&q->cond);
        uv_mutex_destroy(&q->mutex);
        free(q);
        return err_from_errno(-r);
    }
    q->async.data = q;
    uv_unref((uv_handle_t *)&q->async);
    r = uv_thread_create(&q->thread, work, q);
    if (r != 0) {
        uv_close((uv_handle_t *)&q->async, on_closed);
        /* EAGAIN here is a limit on threads, not a reason to poll. */
        return r == UV_EAGAIN ? ERR_BUSY : err_from_errno(-r);
    }
    *ret = q;
    return 0;
}

int store_queue_submit(struct store_queue *q, struct store_job *job)
{
    int err = 0;
    uv_mutex_lock(&q->mutex);
    if (q->is_stopping) {
        err = ERR_CLOSED;
    } else if (q->len >= STORE_QUEUE_MAX) {
        err = ERR_BUSY;
    } else {
        list_add(&q->in, job);
        uv_cond_signal(&q->cond);
    }
    uv_mutex_unlock(&q->mutex);
    if (err == 0 && q->len++ == 0) {
        uv_ref((uv_handle_t *)&q->async);
    }
    return err;
}

size_t store_queue_len(const struct store_queue *q)
{
    return q->len;
}

void store_queue_stop(struct store_queue *q)
{
    uv_mutex_lock(&q->mutex);
    q->is_stopping = true;
    uv_cond_signal(&q->cond);
    uv_mutex_unlock(&q->mutex);
    CHECK(uv_thread_join(&q->thread) == 0);
    deliver(q);
    store_close(q->store);
    uv_close((uv_handle_t *)&q->async, on_closed);
}

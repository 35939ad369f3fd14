/*
 * The store's own thread. The loop submits jobs; each runs on the thread with the store, in order;
 * its `done` runs on the loop, in the same order. A job is the caller's memory and must live until
 * `done`. When the queue runs empty the thread calls store_tidy(). It keeps the loop alive only
 * while it has jobs.
 */
#ifndef STORE_QUEUE_H
#define STORE_QUEUE_H

#include <uv.h>

#include "store/store.h"

#define STORE_QUEUE_MAX 4096

struct store_job {
    int (*run)(struct store *s, struct store_job *job); /* on the store's thread */
    void (*done)(struct store_job *job, int err);       /* on the loop's; err: what run returned */
    struct store_job *next;                             /* the queue's own */
    int err;
};

struct store_queue;

/* Takes over `s`: it is closed by store_queue_stop(). */
int store_queue_start(uv_loop_t *loop, struct store *s, struct store_queue **ret);

/* ERR_BUSY beyond STORE_QUEUE_MAX (jobs whose `done` has not been called), ERR_CLOSED while
 * stopping: nothing was queued, `done` will not be called. */
int store_queue_submit(struct store_queue *q, struct store_job *job);

size_t store_queue_len(const struct store_queue *q);

/* Runs what is queued, joins the thread, calls the remaining `done`s, closes the store. Not from a
 * `done`. The loop must run once more, to close the queue's handle. */
void store_queue_stop(struct store_queue *q);

#endif

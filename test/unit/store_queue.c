/*
 * The store's thread: in order, bounded, drained at the end; backups in the middle of writes.
 */
#include "store/queue.h"

#include "store_bench.h"

struct line {
    struct bench *b;
    uv_loop_t loop;
    struct store_queue *q;
    uv_sem_t gate;
    int ran;
    int done;
    int last_err;
    uv_thread_t store_thread;
    uv_thread_t loop_thread;
};

struct job {
    struct store_job job; /* first */
    struct line *line;
    int n;
    uint64_t generation;
};

static int setup(void **state)
{
    struct line *l = calloc(1, sizeof(*l));
    void *bench = NULL;
    assert_int_equal(bench_setup(&bench), 0);
    l->b = bench;
    assert_int_equal(uv_loop_init(&l->loop), 0);
    assert_int_equal(uv_sem_init(&l->gate, 0), 0);
    l->loop_thread = uv_thread_self();
    *state = l;
    return 0;
}

static void start(struct line *l)
{
    assert_int_equal(store_queue_start(&l->loop, l->b->s, &l->q), 0);
    l->b->s = NULL; /* the queue's now */
}

static void stop(struct line *l)
{
    store_queue_stop(l->q);
    l->q = NULL;
    assert_int_equal(uv_run(&l->loop, UV_RUN_DEFAULT), 0);
}

static int teardown(void **state)
{
    struct line *l = *state;
    void *bench = l->b;
    if (l->q != NULL) {
        stop(l);
    }
    assert_int_equal(uv_loop_close(&l->loop), 0);
    uv_sem_destroy(&l->gate);
    free(l);
    return bench_teardown(&bench);
}

static int run_counted(struct store *s, struct store_job *job)
{
    struct job *j = (struct job *)job;
    (void)s;
    j->line->store_thread = uv_thread_self();
    return j->n == j->line->ran++ ? -j->n : ERR_CONFLICT; /* in order? */
}

static int run_at_the_gate(struct store *s, struct store_job *job)
{
    uv_sem_wait(&((struct job *)job)->line->gate);
    return run_counted(s, job);
}

static void done_counted(struct store_job *job, int err)
{
    struct job *j = (struct job *)job;
    uv_thread_t self = uv_thread_self();
    assert_true(uv_thread_equal(&self, &j->line->loop_thread) != 0);
    assert_int_equal(j->n, j->line->done++);
    assert_int_equal(err, -j->n); /* what run returned */
    j->line->last_err = err;
}

static struct job *make_jobs(struct line *l, int n)
{
    struct job *jobs = calloc((size_t)n, sizeof(*jobs));
    for (int i = 0; i < n; i++) {
        jobs[i].line = l;
        jobs[i].n = i;
        jobs[i].job.run = run_counted;
        jobs[i].job.done = done_counted;
    }
    return jobs;
}

static void jobs_run_in_order_on_one_thread_and_end_on_the_loop(void **state)
{
    struct line *l = *state;
    struct job *jobs = make_jobs(l, 1000);
    start(l);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(store_queue_submit(l->q, &jobs[i].job), 0);
    }
    assert_int_equal(uv_run(&l->loop, UV_RUN_DEFAULT), 0); /* ends when the jobs have */
    assert_int_equal(l->done, 1000);
    assert_int_equal(store_queue_len(l->q), 0);
    assert_int_equal(uv_thread_equal(&l->store_thread, &l->loop_thread), 0);
    free(jobs);
}

static void a_full_queue_is_busy_and_says_so_at_once(void **state)
{
    struct line *l = *state;
    struct job *jobs = make_jobs(l, STORE_QUEUE_MAX + 1);
    jobs[0].job.run = run_at_the_gate;
    start(l);
    for (int i = 0; i < STORE_QUEUE_MAX; i++) {
        assert_int_equal(store_queue_submit(l->q, &jobs[i].job), 0);
    }
    assert_int_equal(store_queue_submit(l->q, &jobs[STORE_QUEUE_MAX].job), ERR_BUSY);
    assert_int_equal(store_queue_len(l->q), STORE_QUEUE_MAX);
    uv_sem_post(&l->gate);
    assert_int_equal(uv_run(&l->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(l->done, STORE_QUEUE_MAX);
    assert_int_equal(store_queue_submit(l->q, &jobs[STORE_QUEUE_MAX].job), 0);
    assert_int_equal(uv_run(&l->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(l->done, STORE_QUEUE_MAX + 1);
    free(jobs);
}

static void stopping_runs_what_is_queued(void **state)
{
    struct line *l = *state;
    struct job *jobs = make_jobs(l, 200);
    jobs[0].job.run = run_at_the_gate;
    start(l);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(store_queue_submit(l->q, &jobs[i].job), 0);
    }
    assert_int_equal(l->done, 0);
    uv_sem_post(&l->gate);
    stop(l);
    assert_int_equal(l->ran, 200);
    assert_int_equal(l->done, 200);
    free(jobs);
}

static void done_and_submit_again(struct store_job *job, int err)
{
    struct job *j = (struct job *)job;
    (void)err;
    j->line->done++;
    if (j->line->done < 50) {
        assert_int_equal(store_queue_submit(j->line->q, job), 0);
    }
}

static void a_done_may_submit(void **state)
{
    struct line *l = *state;
    struct job *jobs = make_jobs(l, 1);
    jobs[0].job.done = done_and_submit_again;
    start(l);
    assert_int_equal(store_queue_submit(l->q, &jobs[0].job), 0);
    assert_int_equal(uv_run(&l->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(l->done, 50);
    free(jobs);
}

static void done_while_stopping(struct store_job *job, int err)
{
    struct job *j = (struct job *)job;
    (void)err;
    j->line->last_err = store_queue_submit(j->line->q, job);
}

static void a_submission_while_stopping_is_refused(void **state)
{
    struct line *l = *state;
    struct job *jobs = make_jobs(l, 1);
    jobs[0].job.done = done_while_stopping;
    start(l);
    assert_int_equal(store_queue_submit(l->q, &jobs[0].job), 0);
    stop(l);
    assert_int_equal(l->last_err, ERR_CLOSED);
    free(jobs);
}

/* Real work */

static int run_spend(struct store *s, struct store_job *job)
{
    struct job *j = (struct job *)job;
    int err = put_intent(s, 1, j->generation);
    return err < 0 ? err : put_settlement(s, 1, j->generation);
}

static void backup_name(const struct job *j, char ret[128])
{
    char name[32];
    (void)snprintf(name, sizeof(name), "backup-%d", j->n);
    path_elsewhere(j->line->b, name, ret);
}

static int run_backup(struct store *s, struct store_job *job)
{
    char path[128];
    backup_name((struct job *)job, path);
    return store_backup(s, path, false, NULL);
}

static void done_well(struct store_job *job, int err)
{
    assert_int_equal(err, 0);
    ((struct job *)job)->line->done++;
}

static void check_backup(const struct job *j)
{
    char path[128];
    char mark[160];
    struct store *s = NULL;
    backup_name(j, path);
    (void)snprintf(mark, sizeof(mark), "%s-mark", path);
    assert_int_equal(store_open(path, mark, 0, &s, NULL), 0);
    struct lineage_row row = row_of(s, 1);
    assert_int_equal(row.generation, j->generation); /* as of its turn */
    assert_sealed(&row, j->generation);
    lineage_row_release(&row);
    store_close(s);
}

static void backups_between_writes_are_whole(void **state)
{
    struct line *l = *state;
    struct job *jobs = make_jobs(l, 120);
    uint64_t generation = 1;
    assert_int_equal(put_live(l->b->s, 1, "work"), 0);
    start(l);
    for (int i = 0; i < 120; i++) {
        bool is_backup = i % 12 == 11;
        jobs[i].generation = generation;
        generation += !is_backup;
        jobs[i].job.run = is_backup ? run_backup : run_spend;
        jobs[i].job.done = done_well;
        assert_int_equal(store_queue_submit(l->q, &jobs[i].job), 0);
    }
    assert_int_equal(uv_run(&l->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(l->done, 120);
    for (int i = 11; i < 120; i += 12) {
        check_backup(&jobs[i]);
    }
    stop(l); /* the mark is written by now */
    assert_int_equal(bench_open(l->b, 0), 0);
    assert_int_equal(l->b->s->mark.changes, l->b->s->changes);
    free(jobs);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define LINE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        LINE(jobs_run_in_order_on_one_thread_and_end_on_the_loop),
        LINE(a_full_queue_is_busy_and_says_so_at_once),
        LINE(stopping_runs_what_is_queued),
        LINE(a_done_may_submit),
        LINE(a_submission_while_stopping_is_refused),
        LINE(backups_between_writes_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

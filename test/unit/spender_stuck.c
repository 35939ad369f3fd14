/*
 * A spender that does not answer: stopped, stuck, deaf. Nobody else waits for it longer than a
 * question may take, nothing is sent twice, and what it still has to say is heard when it says it.
 */
#include "spender_bench.h"

/* A sanitized spender has to get ready within twice that on a busy machine. */
#define LIMIT_MS 1000

static int take_back(void *ctx, uint64_t intent)
{
    struct fixture *f = ctx;
    if (f->refusals > 0) {
        f->refusals--;
        return ERR_BUSY;
    }
    return spool_withdraw(f->dir, intent);
}

/* As `program`, with little patience. */
static void start_impatient(struct fixture *f, const char *program)
{
    spender_free(f->spender);
    f->options.program = program;
    f->options.deadline_ms = LIMIT_MS;
    f->options.ask_deadline_ms = LIMIT_MS;
    f->options.margin_ms = LIMIT_MS;
    f->options.take_back = take_back;
    f->options.ctx = f;
    start_spender(f);
}

static void begin_ask(struct fixture *f)
{
    f->open++;
    assert_int_equal(
        spender_ask(f->spender, ASK_IDENTITY, 99, &f->provider, &f->refresh, on_answer, f), 0);
}

static void wait_until_open(struct fixture *f, int n)
{
    while (f->open > n)
        turn(f);
}

/* The one spend that the server has, in a spender that is stopped. */
static uint64_t stopped_in_mid_spend(struct fixture *f, pid_t *ret_pid)
{
    start_impatient(f, SPENDER_PROGRAM);
    use_server(f, answer_late, GRANT);
    uint64_t intent = begin_spend(f);
    wait_for_requests(f, 1);
    *ret_pid = spender_pid(f->spender);
    assert_int_equal(kill(*ret_pid, SIGSTOP), 0);
    return intent;
}

static void stopped_in_mid_spend_it_holds_up_nobody_else(void **state)
{
    struct fixture *f = *state;
    pid_t pid;
    uint64_t first = stopped_in_mid_spend(f, &pid);
    uint64_t unread = begin_spend(f);
    begin_ask(f);
    int64_t before = clock_now().boot_ms;
    wait_until_open(f, 1);
    int64_t took = clock_now().boot_ms - before;
    assert_in_range(took, 0, 2 * LIMIT_MS + 1000);
    assert_int_equal(f->reply.identity, IDENTITY_UNANSWERED);
    assert_string_equal(f->reply.detail, "the spender did not answer in time");
    assert_int_equal(stage_of(f, unread, NULL), SPOOL_PREPARED);
    assert_int_equal(stage_of(f, first, NULL), SPOOL_LOCKED); /* nobody doubts */
    assert_int_equal(spender_pid(f->spender), 0);

    atomic_store(&f->server->released, true); /* the answer is on its way to the stopped one */
    uint64_t other = begin_spend(f);
    wait_until_open(f, 1);
    assert_int_equal(f->last_done, other);
    assert_int_equal(verdict_of(f, other), VERDICT_GRANTED);
    assert_int_equal(spender_in_flight(f->spender), 1);

    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, first), VERDICT_GRANTED);
    run_for(f, 300);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* let go, and reaped */
    assert_int_equal(stage_of(f, unread, NULL), SPOOL_PREPARED);
    /* The one taken back never went out; the question of identity may have, to nobody's harm. */
    assert_in_range(f->server->requests, 2, 3);
}

/* Neither the one that is in hand is ended, nor the one that nobody has seen forgotten. */
static void what_nobody_can_tell_is_asked_again(void **state)
{
    struct fixture *f = *state;
    pid_t pid;
    f->refusals = 3;
    uint64_t first = stopped_in_mid_spend(f, &pid);
    uint64_t unread = begin_spend(f);
    wait_until_open(f, 1);
    assert_int_equal(f->refusals, 0);
    assert_int_equal(f->last_done, unread);
    assert_int_equal(stage_of(f, unread, NULL), SPOOL_PREPARED);
    assert_int_equal(stage_of(f, first, NULL), SPOOL_LOCKED);
    atomic_store(&f->server->released, true);
    run_for(f, LIMIT_MS); /* the answer gets to the stopped one */
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);

    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, first), VERDICT_GRANTED);
    assert_int_equal(f->server->requests, 1);
}

/* Its own deadline was over long ago when it goes on; the answer is there all the same. */
static void an_answer_that_came_while_it_was_stopped_counts(void **state)
{
    struct fixture *f = *state;
    pid_t pid;
    uint64_t intent = stopped_in_mid_spend(f, &pid);
    atomic_store(&f->server->released, true);
    run_for(f, 3 * LIMIT_MS);
    assert_int_equal(f->open, 1);
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, intent), VERDICT_GRANTED);
}

/* The watchdog's signal was due while it could not turn. */
static void the_watchdog_spares_one_that_was_stopped(void **state)
{
    struct fixture *f = *state;
    pid_t pid;
    uint64_t intent = stopped_in_mid_spend(f, &pid);
    assert_int_equal(kill(pid, SIGALRM), 0);
    atomic_store(&f->server->released, true);
    run_for(f, 3 * LIMIT_MS);
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, intent), VERDICT_GRANTED);
}

static void killed_while_stuck_it_leaves_started(void **state)
{
    struct fixture *f = *state;
    pid_t pid;
    uint64_t intent = stopped_in_mid_spend(f, &pid);
    run_for(f, 3 * LIMIT_MS);
    assert_int_equal(f->open, 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    wait_for_all(f);
    assert_int_equal(f->last_done, intent);
    assert_int_equal(stage_of(f, intent, NULL), SPOOL_STARTED);
}

/* The daemon stood still, not the spender. */
static void what_was_said_while_we_stood_still_is_heard(void **state)
{
    struct fixture *f = *state;
    start_impatient(f, SPENDER_PROGRAM);
    use_server(f, answer_with, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"sub\":\"alice\"}");
    begin_ask(f);
    pid_t pid = spender_pid(f->spender);
    usleep(3 * LIMIT_MS * 1000);
    wait_for_all(f);
    assert_int_equal(f->reply.identity, IDENTITY_NAMED);
    assert_int_equal(spender_pid(f->spender), pid);
}

/* More than the socket holds: nobody has seen what still waits here. */
static void what_it_was_not_sent_goes_to_the_next_one(void **state)
{
    struct fixture *f = *state;
    enum { N = 120 };
    static char token[15000];
    memset(token, 'r', sizeof(token));
    pid_t pid;
    uint64_t first = stopped_in_mid_spend(f, &pid);
    assert_int_equal(secret_set(&f->refresh, token, sizeof(token)), 0);
    for (int i = 1; i < N; i++)
        begin_spend(f);
    atomic_store(&f->server->released, true);
    wait_until_open(f, 1);
    int granted = 0;
    for (uint64_t intent = first + 1; intent < first + N; intent++) {
        struct buf sealed;
        buf_init(&sealed, SPOOL_ANSWER_MAX);
        enum spool_stage stage = stage_of(f, intent, &sealed);
        assert_true(stage == SPOOL_ANSWERED || stage == SPOOL_PREPARED);
        granted += stage == SPOOL_ANSWERED;
        buf_release(&sealed);
    }
    assert_in_range(granted, 1, N - 2); /* some were in the socket, some were not */
    assert_int_equal(f->server->requests, granted + 1);
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, first), VERDICT_GRANTED);
}

static void write_program(struct fixture *f, const char *script, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/fake", f->path);
    int fd = open(ret_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(write(fd, script, strlen(script)), (ssize_t)strlen(script));
    close(fd);
}

static void one_that_never_looks_at_its_socket_is_ended(void **state)
{
    struct fixture *f = *state;
    char path[96];
    write_program(f, "#!/bin/sh\nexec sleep 100\n", path, sizeof(path));
    start_impatient(f, path);
    use_server(f, answer_with, GRANT);
    uint64_t intent = begin_spend(f);
    pid_t pid = spender_pid(f->spender);
    wait_for_all(f);
    assert_int_equal(stage_of(f, intent, NULL), SPOOL_PREPARED);
    run_for(f, 200);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(unlink(path), 0);
}

static void the_next_one_is_sent_away_when_idle_though_another_is_stuck(void **state)
{
    struct fixture *f = *state;
    f->options.idle_ms = 100;
    pid_t pid;
    uint64_t first = stopped_in_mid_spend(f, &pid);
    run_for(f, 3 * LIMIT_MS);
    atomic_store(&f->server->released, true);
    begin_spend(f);
    wait_until_open(f, 1);
    pid_t next = spender_pid(f->spender);
    assert_true(next > 0 && next != pid);
    run_for(f, 500);
    assert_int_equal(spender_pid(f->spender), 0);
    assert_int_equal(waitpid(next, NULL, WNOHANG), -1);
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, first), VERDICT_GRANTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stopped_in_mid_spend_it_holds_up_nobody_else),
        TEST(what_nobody_can_tell_is_asked_again),
        TEST(an_answer_that_came_while_it_was_stopped_counts),
        TEST(the_watchdog_spares_one_that_was_stopped),
        TEST(killed_while_stuck_it_leaves_started),
        TEST(what_was_said_while_we_stood_still_is_heard),
        TEST(what_it_was_not_sent_goes_to_the_next_one),
        TEST(one_that_never_looks_at_its_socket_is_ended),
        TEST(the_next_one_is_sent_away_when_idle_though_another_is_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

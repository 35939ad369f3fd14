/*
 * The spender and its ends: processes that die, hang up, go idle or are told to stop, a daemon that
 * is gone, a disk that fails. After each, the spool must say the truth.
 */
#include "spender_bench.h"

/* The stage once nobody holds the lock any more. */
static enum spool_stage settled_stage(struct fixture *f, uint64_t intent)
{
    enum spool_stage stage = SPOOL_LOCKED;
    for (int i = 0; i < PATIENCE_MS / 5 && stage == SPOOL_LOCKED; i++) {
        run_for(f, 5);
        stage = stage_of(f, intent, NULL);
    }
    return stage;
}

static void daemon_is_gone(struct fixture *f)
{
    spender_free(f->spender);
    f->spender = NULL;
    f->open = 0;
    run_for(f, 20);
}

static void a_spend_outlives_the_daemon(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    uint64_t intent = begin_spend(f);
    pid_t pid = spender_pid(f->spender);
    wait_for_requests(f, 1);
    daemon_is_gone(f);
    run_for(f, 50);
    assert_int_equal(stage_of(f, intent, NULL), SPOOL_LOCKED);
    atomic_store(&f->server->released, true);
    assert_int_equal(settled_stage(f, intent), SPOOL_ANSWERED);
    assert_int_equal(verdict_of(f, intent), VERDICT_GRANTED);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid); /* and then it leaves by itself */
    assert_int_equal(status, 0);
}

static void a_question_not_yet_read_outlives_the_daemon_too(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, GRANT);
    uint64_t intent = begin_spend(f); /* the program has hardly started */
    daemon_is_gone(f);
    assert_int_equal(settled_stage(f, intent), SPOOL_ANSWERED);
    assert_int_equal(verdict_of(f, intent), VERDICT_GRANTED);
}

static void other_questions_do_not_outlive_it(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    f->open++;
    assert_int_equal(
        spender_ask(f->spender, ASK_IDENTITY, 1, &f->provider, &f->refresh, on_answer, f), 0);
    pid_t pid = spender_pid(f->spender);
    wait_for_requests(f, 1);
    int64_t before = clock_now().boot_ms;
    daemon_is_gone(f);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid); /* the server has still not answered */
    assert_int_equal(status, 0);
    assert_true(clock_now().boot_ms - before < f->options.ask_deadline_ms / 2);
}

static void a_spender_killed_in_flight_leaves_started(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    uint64_t intent = begin_spend(f);
    wait_for_requests(f, 1);
    pid_t pid = spender_pid(f->spender);
    assert_int_equal(kill(pid, SIGKILL), 0);
    wait_for_all(f);
    assert_int_equal(f->last_done, intent);
    assert_int_equal(stage_of(f, intent, NULL), SPOOL_STARTED);
    assert_int_equal(spender_pid(f->spender), 0);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* reaped already */

    atomic_store(&f->server->released, true);
    assert_int_equal(spend(f), VERDICT_GRANTED); /* by a new one */
    assert_int_not_equal(spender_pid(f->spender), pid);
}

static void a_spender_killed_before_it_sent_leaves_prepared(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, ""); /* a proxy that does not open its tunnel */
    char proxy[64];
    snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", f->server->port);
    assert_int_equal(setenv("https_proxy", proxy, 1), 0);
    (void)str_copy(f->provider.token_url, URL_MAX, "https://id.example/token");
    uint64_t intent = begin_spend(f);
    assert_int_equal(unsetenv("https_proxy"), 0);
    wait_for_requests(f, 1);
    assert_non_null(strstr(f->server->request, "CONNECT id.example:443"));
    assert_int_equal(kill(spender_pid(f->spender), SIGKILL), 0);
    wait_for_all(f);
    assert_int_equal(stage_of(f, intent, NULL), SPOOL_PREPARED);
}

static void all_open_questions_of_a_dead_spender_are_answered(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    uint64_t first = begin_spend(f);
    wait_for_requests(f, 1);
    for (int i = 0; i < 20; i++)
        begin_spend(f);
    f->open++;
    assert_int_equal(
        spender_ask(f->spender, ASK_IDENTITY, 1000, &f->provider, &f->refresh, on_answer, f), 0);
    assert_int_equal(spender_in_flight(f->spender), 22);
    assert_int_equal(kill(spender_pid(f->spender), SIGKILL), 0);
    wait_for_all(f);
    assert_int_equal(spender_in_flight(f->spender), 0);
    assert_int_equal(f->reply.identity, IDENTITY_UNANSWERED);
    for (uint64_t intent = first; intent <= first + 20; intent++) {
        enum spool_stage stage = stage_of(f, intent, NULL);
        assert_true(stage == SPOOL_STARTED || stage == SPOOL_PREPARED);
    }
}

static void the_last_words_of_a_dead_spender_are_heard(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"sub\":\"alice\"}");
    f->open++;
    assert_int_equal(
        spender_ask(f->spender, ASK_IDENTITY, 1, &f->provider, &f->refresh, on_answer, f), 0);
    while (atomic_load(&f->server->requests) == 0)
        usleep(1000);
    usleep(200000); /* by now the answer lies in the socket */
    assert_int_equal(kill(spender_pid(f->spender), SIGKILL), 0);
    usleep(50000);
    wait_for_all(f);
    assert_int_equal(f->reply.identity, IDENTITY_NAMED);
}

static void told_to_stop_it_finishes_and_a_new_one_takes_over(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    uint64_t first = begin_spend(f);
    wait_for_requests(f, 1);
    pid_t pid = spender_pid(f->spender);
    assert_int_equal(kill(pid, SIGTERM), 0);
    run_for(f, 100);
    uint64_t second = begin_spend(f);
    assert_int_not_equal(spender_pid(f->spender), pid);
    atomic_store(&f->server->released, true);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, first), VERDICT_GRANTED);
    assert_int_equal(verdict_of(f, second), VERDICT_GRANTED);
    run_for(f, 100);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
}

/* Whenever the signal comes, each spend ends as granted, or as surely not sent. */
static void told_to_stop_at_any_moment_no_spend_is_ambiguous(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, GRANT);
    for (int round = 0; round < 25; round++) {
        uint64_t intent = begin_spend(f);
        usleep((unsigned)(round * 1000));
        pid_t pid = spender_pid(f->spender);
        assert_int_equal(kill(pid, SIGTERM), 0);
        uint64_t other = begin_spend(f);
        wait_for_all(f);
        for (uint64_t i = intent; i <= other; i++) {
            enum spool_stage stage = stage_of(f, i, NULL);
            if (stage == SPOOL_ANSWERED)
                assert_int_equal(verdict_of(f, i), VERDICT_GRANTED);
            else
                assert_int_equal(stage, SPOOL_PREPARED);
        }
        while (spender_pid(f->spender) == pid)
            turn(f);
    }
}

/* More than the socket holds: what still waits here when the spender is told to stop has been seen
 * by nobody, so it goes to the next one. */
static void what_waits_for_room_goes_to_the_next_one(void **state)
{
    struct fixture *f = *state;
    enum { N = 150 };
    static char token[15000];
    memset(token, 'r', sizeof(token));
    assert_int_equal(secret_set(&f->refresh, token, sizeof(token)), 0);
    use_server(f, answer_with, GRANT);
    uint64_t first = f->next_intent;
    assert_int_equal(spend(f), VERDICT_GRANTED); /* so that it is there to be told */
    pid_t pid = spender_pid(f->spender);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    for (int i = 1; i < N; i++)
        begin_spend(f);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_all(f);
    assert_int_not_equal(spender_pid(f->spender), pid);
    for (uint64_t intent = first; intent < first + N; intent++)
        assert_int_equal(verdict_of(f, intent), VERDICT_GRANTED);
    assert_int_equal(f->server->requests, N);
}

static void idle_it_is_sent_away(void **state)
{
    struct fixture *f = *state;
    spender_free(f->spender);
    f->options.idle_ms = 30;
    start_spender(f);
    use_server(f, answer_with, GRANT);
    assert_int_equal(spend(f), VERDICT_GRANTED);
    pid_t pid = spender_pid(f->spender);
    assert_true(pid > 0);
    run_for(f, 300);
    assert_int_equal(spender_pid(f->spender), 0);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* gone and reaped */
    assert_int_equal(spend(f), VERDICT_GRANTED);
}

static void no_question_is_lost_to_one_that_is_being_sent_away(void **state)
{
    struct fixture *f = *state;
    spender_free(f->spender);
    f->options.idle_ms = 1;
    start_spender(f);
    use_server(f, answer_with, GRANT);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(spend(f), VERDICT_GRANTED);
        if (i % 4 != 0)
            run_for(f, i % 3);
    }
    assert_int_equal(f->server->requests, 40);
}

static void too_many_questions_are_refused_and_the_rest_answered(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    for (int i = 0; i < SPENDER_QUESTIONS_MAX; i++)
        begin_spend(f);
    int fd = -1;
    assert_int_equal(spool_create(f->dir, f->next_intent, BOOT, &fd), 0);
    assert_int_equal(try_spend(f, fd, f->next_intent), ERR_BUSY);
    assert_int_equal(stage_of(f, f->next_intent, NULL), SPOOL_PREPARED); /* the lock is gone */
    atomic_store(&f->server->released, true);
    wait_for_all(f);
    for (uint64_t intent = 1; intent <= SPENDER_QUESTIONS_MAX; intent++)
        assert_int_equal(verdict_of(f, intent), VERDICT_GRANTED);
    assert_int_equal(f->server->requests, SPENDER_QUESTIONS_MAX);
}

static void a_program_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    spender_free(f->spender);
    f->options.program = "/nonexistent/credwarden-spender";
    start_spender(f);
    int fd = -1;
    assert_int_equal(spool_create(f->dir, 1, BOOT, &fd), 0);
    assert_int_equal(try_spend(f, fd, 1), ERR_NOT_FOUND);
    assert_int_equal(spender_in_flight(f->spender), 0);
    assert_int_equal(stage_of(f, 1, NULL), SPOOL_PREPARED);
}

/* Whether that is noticed before the question is sent or after: it was not sent. */
static void a_program_that_ends_at_once(void **state)
{
    struct fixture *f = *state;
    spender_free(f->spender);
    f->options.program = "/bin/false";
    start_spender(f);
    for (uint64_t intent = 1; intent <= 10; intent++) {
        int fd = -1;
        assert_int_equal(spool_create(f->dir, intent, BOOT, &fd), 0);
        int err = try_spend(f, fd, intent);
        assert_true(err == 0 || err == ERR_CLOSED);
        wait_for_all(f);
        assert_int_equal(stage_of(f, intent, NULL), SPOOL_PREPARED);
        assert_true(err < 0 || strstr(f->why, "before it was ready") != NULL);
    }
}
/* A spender of our own making. */
static void write_program(const struct fixture *f, const char *script, char *path, size_t size)
{
    snprintf(path, size, "%s/fake", f->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(write(fd, script, strlen(script)), (ssize_t)strlen(script));
    close(fd);
}

/* It lives, and its sandbox never stands. */
static void a_program_that_never_gets_ready(void **state)
{
    struct fixture *f = *state;
    char path[96];
    write_program(f, "#!/bin/sh\nexec sleep 60\n", path, sizeof(path));
    spender_free(f->spender);
    f->options.program = path;
    f->options.deadline_ms = f->options.ask_deadline_ms = f->options.margin_ms = 100;
    start_spender(f);
    use_server(f, answer_with, GRANT);
    struct secret access = {0};
    assert_int_equal(secret_set(&access, "at", 2), 0);
    assert_int_equal(spender_ask(f->spender, ASK_IDENTITY, 1, &f->provider, &access, on_answer, f),
                     0);
    f->open++;
    wait_for_all(f);
    assert_string_equal(f->reply.detail, "the spender did not get ready in time");
    while (waitpid(-1, NULL, WNOHANG) == 0) /* it is not left to sleep */
        run_for(f, 5);
    secret_clear(&access);
    assert_int_equal(unlink(path), 0);
}

static void a_program_that_speaks_nonsense(void **state)
{
    struct fixture *f = *state;
    char path[96];
    /* It stays for a moment: one that is gone before it can be asked is another story. */
    write_program(f, "#!/bin/sh\nprintf 'nonsense' >&3\nsleep 1\nexit 0\n", path, sizeof(path));
    spender_free(f->spender);
    f->options.program = path;
    start_spender(f);
    uint64_t intent = begin_spend(f);
    wait_for_all(f);
    assert_int_equal(stage_of(f, intent, NULL), SPOOL_PREPARED);
    assert_int_equal(unlink(path), 0);
}

/* ---- A failing disk ------------------------------------------------------------------------- */

/* A spool that the spender can read but not write: nothing may be sent. */
static void a_spool_that_cannot_be_marked_stops_the_spend(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, GRANT);
    int fd = -1;
    assert_int_equal(spool_create(f->dir, 1, BOOT, &fd), 0);
    close(fd);
    fd = openat(f->dir, "0000000000000001.spool", O_RDONLY | O_CLOEXEC);
    assert_int_equal(try_spend(f, fd, 1), 0);
    wait_for_all(f);
    assert_int_equal(stage_of(f, 1, NULL), SPOOL_PREPARED);
    assert_int_equal(f->server->requests, 0);
}

static void a_spool_is_never_used_for_two_spends(void **state)
{
    struct fixture *f = *state;
    use_server(f, close_before_answer, NULL);
    int fd = -1;
    assert_int_equal(spool_create(f->dir, 1, BOOT, &fd), 0);
    assert_int_equal(spool_start(fd), 0); /* as if by an earlier spender */
    assert_int_equal(try_spend(f, fd, 1), 0);
    wait_for_all(f);
    assert_int_equal(stage_of(f, 1, NULL), SPOOL_STARTED);
    assert_int_equal(f->server->requests, 0);
}

/* The header can be written, the answer cannot. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static uint64_t begin_spend_on_a_full_disk(struct fixture *f)
{
    uint64_t intent = f->next_intent++;
    int fd = -1;
    assert_int_equal(spool_create(f->dir, intent, BOOT, &fd), 0);
    limit_file_size(4096);
    int err = try_spend(f, fd, intent); /* starts the program, which inherits the limit */
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(err, 0);
    return intent;
}

static void an_answer_that_cannot_be_written_is_handed_over(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, GRANT);
    uint64_t intent = begin_spend_on_a_full_disk(f);
    wait_for_all(f);
    assert_true(f->was_rescued);
    open_box(f, &f->rescued);
    assert_int_equal(f->reply.verdict, VERDICT_GRANTED);
    assert_true(secret_is(&f->reply.tokens.refresh, "rt-new"));
    assert_int_equal(settled_stage(f, intent), SPOOL_STARTED);
    assert_null(spender_rescued(f->spender, &(size_t){0}));
}

static void without_a_daemon_it_waits_for_the_disk(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    uint64_t intent = begin_spend_on_a_full_disk(f);
    pid_t pid = spender_pid(f->spender);
    wait_for_requests(f, 1);
    daemon_is_gone(f);
    atomic_store(&f->server->released, true);
    run_for(f, 1500); /* longer than it would try before handing over */
    assert_int_equal(stage_of(f, intent, NULL), SPOOL_LOCKED);
    struct rlimit wide = {RLIM_INFINITY, RLIM_INFINITY};
    assert_int_equal(prlimit(pid, RLIMIT_FSIZE, &wide, NULL), 0);
    assert_int_equal(settled_stage(f, intent), SPOOL_ANSWERED);
    assert_int_equal(verdict_of(f, intent), VERDICT_GRANTED);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_spend_outlives_the_daemon),
        TEST(a_question_not_yet_read_outlives_the_daemon_too),
        TEST(other_questions_do_not_outlive_it),
        TEST(a_spender_killed_in_flight_leaves_started),
        TEST(a_spender_killed_before_it_sent_leaves_prepared),
        TEST(all_open_questions_of_a_dead_spender_are_answered),
        TEST(the_last_words_of_a_dead_spender_are_heard),
        TEST(told_to_stop_it_finishes_and_a_new_one_takes_over),
        TEST(told_to_stop_at_any_moment_no_spend_is_ambiguous),
        TEST(what_waits_for_room_goes_to_the_next_one),
        TEST(idle_it_is_sent_away),
        TEST(no_question_is_lost_to_one_that_is_being_sent_away),
        TEST(too_many_questions_are_refused_and_the_rest_answered),
        TEST(a_program_that_is_not_there),
        TEST(a_program_that_ends_at_once),
        TEST(a_program_that_never_gets_ready),
        TEST(a_program_that_speaks_nonsense),
        TEST(a_spool_that_cannot_be_marked_stops_the_spend),
        TEST(a_spool_is_never_used_for_two_spends),
        TEST(an_answer_that_cannot_be_written_is_handed_over),
        TEST(without_a_daemon_it_waits_for_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

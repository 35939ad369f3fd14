/*
 * The spender from end to end, against a server that misbehaves. What is looked at is what counts:
 * the verdict in the spool, and how many requests the server has seen.
 */
#include "spender_bench.h"

/* ---- What the server does ------------------------------------------------------------------- */

static void a_spend_is_granted(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, GRANT);
    int64_t before = clock_now().wall_ms;
    assert_int_equal(spend(f), VERDICT_GRANTED);
    assert_true(secret_is(&f->reply.tokens.access, "at-new"));
    assert_true(secret_is(&f->reply.tokens.refresh, "rt-new"));
    assert_int_equal(f->reply.life_ms, 60000);
    assert_true(f->reply.received_wall_ms >= before);
    assert_true(f->reply.sent_boot_ms > 0);
    assert_true(f->reply.received_boot_ms >= f->reply.sent_boot_ms);
    assert_int_equal(f->server->requests, 1);
    assert_non_null(strstr(f->server->request, "POST /token HTTP/1.1\r\n"));
    assert_non_null(strstr(f->server->request, "grant_type=refresh_token&refresh_token=rt-old"));
    assert_null(strcasestr(f->server->request, "Expect:"));
    assert_null(strcasestr(f->server->request, "Accept-Encoding:"));
    assert_int_equal(spender_in_flight(f->spender), 0);
    assert_non_null(strstr(spender_sandbox_text(f->spender), "seccomp"));
    assert_null(strstr(spender_sandbox_text(f->spender), "no seccomp"));
}

/* As many requests as come on one connection. */
static void answer_again_and_again(struct server *s, int conn)
{
    while (!atomic_load(&s->stopped) && read_request(s, conn))
        write_all(conn, s->answer, strlen(s->answer));
}

static void each_spend_has_a_connection_of_its_own(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_again_and_again, GRANT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(spend(f), VERDICT_GRANTED);
    assert_int_equal(f->server->connections, 3);
    assert_int_equal(f->server->requests, 3);
}

static void a_connection_closed_before_the_answer_is_doubt_and_not_repeated(void **state)
{
    struct fixture *f = *state;
    use_server(f, close_before_answer, NULL);
    assert_int_equal(spend(f), VERDICT_DOUBT);
    run_for(f, 100);
    assert_int_equal(f->server->requests, 1);
    assert_int_equal(f->server->connections, 1);
}

/* The reset may come before the request is on its way, or after: both are told as they are, and
 * neither is a reason to try again. */
static void a_connection_reset_before_it_was_read_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    use_server(f, close_at_once, NULL);
    for (int i = 1; i <= 10; i++) {
        enum verdict verdict = spend(f);
        assert_true(verdict == VERDICT_DOUBT || verdict == VERDICT_UNSENT);
        run_for(f, 20);
        assert_int_equal(f->server->connections, i);
    }
}

static void nobody_there_is_unsent(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, GRANT);
    server_stop(f->server);
    f->server = NULL;
    assert_int_equal(spend(f), VERDICT_UNSENT);
    assert_true(strlen(f->reply.detail) > 0);
}

static void a_name_that_is_not_found_is_unsent(void **state)
{
    struct fixture *f = *state;
    (void)str_copy(f->provider.token_url, URL_MAX, "https://credwarden-test.invalid/token");
    assert_int_equal(spend(f), VERDICT_UNSENT);
}

static void a_forbidden_url_is_refused(void **state)
{
    struct fixture *f = *state;
    (void)str_copy(f->provider.token_url, URL_MAX, "http://192.0.2.1/token");
    int fd = -1;
    assert_int_equal(spool_create(f->dir, 1, BOOT, &fd), 0);
    assert_int_equal(try_spend(f, fd, 1), ERR_INVALID);
    assert_int_equal(stage_of(f, 1, NULL), SPOOL_PREPARED);
}

static void a_redirect_is_not_followed(void **state)
{
    struct fixture *f = *state;
    static char answer[256];
    use_server(f, answer_with, answer);
    snprintf(answer, sizeof(answer),
             "HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:%d/b\r\n"
             "Content-Length: 0\r\n\r\n",
             f->server->port);
    assert_int_equal(spend(f), VERDICT_DOUBT);
    assert_int_equal(f->reply.http_status, 307);
    assert_int_equal(f->server->requests, 1);
}

static void a_challenge_is_not_answered_by_a_second_request(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with,
               "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
               "WWW-Authenticate: Negotiate\r\nContent-Length: 2\r\n\r\n{}");
    assert_int_equal(spend(f), VERDICT_DOUBT);
    assert_int_equal(f->server->requests, 1);
}

static void an_expectation_failed_is_not_tried_again(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(spend(f), VERDICT_DOUBT);
    assert_int_equal(f->server->requests, 1);
}

static void answer_endlessly(struct server *s, int conn)
{
    if (!read_request(s, conn))
        return;
    const char head[] = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"";
    write_all(conn, head, sizeof(head) - 1);
    char block[4096];
    memset(block, 'a', sizeof(block));
    while (!atomic_load(&s->stopped))
        if (send(conn, block, sizeof(block), MSG_NOSIGNAL) <= 0)
            break;
}

static void an_answer_without_end_is_cut_off(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_endlessly, NULL);
    int64_t before = clock_now().boot_ms;
    assert_int_equal(spend(f), VERDICT_DOUBT);
    assert_true(clock_now().boot_ms - before < f->options.deadline_ms / 2);
}

static void head_without_end(struct server *s, int conn)
{
    if (!read_request(s, conn))
        return;
    write_all(conn, "HTTP/1.1 200 OK\r\n", 17);
    while (!atomic_load(&s->stopped))
        if (send(conn, "X-Filler: aaaaaaaaaaaaaaaaaaaa\r\n", 32, MSG_NOSIGNAL) <= 0)
            break;
}

static void a_head_without_end_is_cut_off(void **state)
{
    struct fixture *f = *state;
    use_server(f, head_without_end, NULL);
    int64_t before = clock_now().boot_ms;
    assert_int_equal(spend(f), VERDICT_DOUBT);
    assert_true(clock_now().boot_ms - before < f->options.deadline_ms / 2);
}

static void an_interim_answer_comes_before_the_real_one(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" GRANT);
    assert_int_equal(spend(f), VERDICT_GRANTED);
}

static void a_torn_body_is_doubt(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with,
               "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"access_token\":\"a");
    assert_int_equal(spend(f), VERDICT_DOUBT);
}

static void throttled_until(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(spend(f), VERDICT_THROTTLED);
    assert_int_equal(f->reply.retry_after_ms, 7000);
}

static void throttled_until_a_date_of_the_server_s_own_clock(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with,
               "HTTP/1.1 429 Slow\r\nRetry-After: Sun, 06 Nov 1994 08:49:47 GMT\r\n"
               "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(spend(f), VERDICT_THROTTLED);
    assert_int_equal(f->reply.retry_after_ms, 10000);
    assert_true(f->reply.server_wall_ms == INT64_C(784111777000));
}

static void an_answer_beyond_the_deadline_is_doubt(void **state)
{
    struct fixture *f = *state;
    spender_free(f->spender);
    f->options.deadline_ms = 200;
    start_spender(f);
    use_server(f, answer_late, GRANT);
    int64_t before = clock_now().boot_ms;
    assert_int_equal(spend(f), VERDICT_DOUBT);
    assert_true(clock_now().boot_ms - before < 4000);
    assert_int_equal(f->server->requests, 1);
}

/* The server may commit at once and say so late: the life it tells must not count from then. */
static void the_moment_of_sending_is_told_apart_from_that_of_the_answer(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    int64_t before = clock_now().boot_ms;
    uint64_t intent = begin_spend(f);
    wait_for_requests(f, 1);
    int64_t seen = clock_now().boot_ms; /* by the server */
    run_for(f, 300);
    atomic_store(&f->server->released, true);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, intent), VERDICT_GRANTED);
    assert_in_range(f->reply.sent_boot_ms, before, seen);
    assert_true(f->reply.received_boot_ms >= seen + 300);
}

static void times_that_change_count_from_the_next_question_on(void **state)
{
    struct fixture *f = *state;
    struct spender_options times = f->options;
    times.deadline_ms = 0;
    assert_int_equal(spender_set_times(f->spender, &times), ERR_INVALID);
    times.deadline_ms = 200;
    assert_int_equal(spender_set_times(f->spender, &times), 0);
    use_server(f, answer_late, GRANT);
    int64_t before = clock_now().boot_ms;
    assert_int_equal(spend(f), VERDICT_DOUBT);
    assert_true(clock_now().boot_ms - before < 4000);
}

static void a_slow_server_delays_nobody_else(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_late, GRANT);
    struct server *slow = f->server;
    uint64_t first = begin_spend(f);
    wait_for_requests(f, 1);
    use_server(f, answer_with, GRANT);
    uint64_t second = begin_spend(f);
    while (f->last_done != second)
        turn(f);
    assert_int_equal(verdict_of(f, second), VERDICT_GRANTED);
    assert_int_equal(stage_of(f, first, NULL), SPOOL_LOCKED);
    atomic_store(&slow->released, true);
    wait_for_all(f);
    assert_int_equal(verdict_of(f, first), VERDICT_GRANTED);
    server_stop(slow);
}

/* ---- Other questions ------------------------------------------------------------------------ */

static void ask(struct fixture *f, enum ask what)
{
    f->open++;
    assert_int_equal(spender_ask(f->spender, what, 99, &f->provider, &f->refresh, on_answer, f), 0);
    wait_for_all(f);
    assert_int_equal(f->last_done, 99);
}

static void the_server_is_asked_who_it_is(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"sub\":\"alice\"}");
    ask(f, ASK_IDENTITY);
    assert_int_equal(f->reply.identity, IDENTITY_NAMED);
    assert_string_equal(f->reply.subject, "alice");
    assert_non_null(strstr(f->server->request, "GET /me HTTP/1.1\r\n"));
    assert_non_null(strstr(f->server->request, "Authorization: Bearer rt-old\r\n"));
}

static void an_identity_nobody_answers(void **state)
{
    struct fixture *f = *state;
    use_server(f, close_before_answer, NULL);
    ask(f, ASK_IDENTITY);
    assert_int_equal(f->reply.identity, IDENTITY_UNANSWERED);
}

static void metadata_only_at_the_second_place(struct server *s, int conn)
{
    if (!read_request(s, conn))
        return;
    const char *answer = strstr(s->request, "oauth-authorization-server") != NULL
                             ? "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"issuer\":\"x\"}"
                             : "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
    write_all(conn, answer, strlen(answer));
}

static void metadata_is_found_at_the_second_place(void **state)
{
    struct fixture *f = *state;
    use_server(f, metadata_only_at_the_second_place, NULL);
    ask(f, ASK_METADATA);
    assert_int_equal(f->server->requests, 2);
    assert_int_equal(f->reply.http_status, 200);
    assert_non_null(strstr(buf_text(&f->reply.body), "issuer"));
    assert_null(strcasestr(f->server->request, "Authorization:"));
}

static void metadata_that_is_nowhere_is_looked_for_twice(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    ask(f, ASK_METADATA);
    assert_int_equal(f->server->requests, 2);
    assert_int_equal(f->reply.body.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_spend_is_granted),
        TEST(each_spend_has_a_connection_of_its_own),
        TEST(a_connection_closed_before_the_answer_is_doubt_and_not_repeated),
        TEST(a_connection_reset_before_it_was_read_is_not_repeated),
        TEST(nobody_there_is_unsent),
        TEST(a_name_that_is_not_found_is_unsent),
        TEST(a_forbidden_url_is_refused),
        TEST(a_redirect_is_not_followed),
        TEST(a_challenge_is_not_answered_by_a_second_request),
        TEST(an_expectation_failed_is_not_tried_again),
        TEST(an_answer_without_end_is_cut_off),
        TEST(a_head_without_end_is_cut_off),
        TEST(an_interim_answer_comes_before_the_real_one),
        TEST(a_torn_body_is_doubt),
        TEST(throttled_until),
        TEST(throttled_until_a_date_of_the_server_s_own_clock),
        TEST(an_answer_beyond_the_deadline_is_doubt),
        TEST(the_moment_of_sending_is_told_apart_from_that_of_the_answer),
        TEST(times_that_change_count_from_the_next_question_on),
        TEST(a_slow_server_delays_nobody_else),
        TEST(the_server_is_asked_who_it_is),
        TEST(an_identity_nobody_answers),
        TEST(metadata_is_found_at_the_second_place),
        TEST(metadata_that_is_nowhere_is_looked_for_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

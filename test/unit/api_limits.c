/*
 * Peers that stall, flood, come in masses or belong to somebody else: none of them harms the others
 * or makes an idle server wake up.
 */
#include "api_world.h"

#include <sys/resource.h>
#include <time.h>

static void a_half_sent_request_runs_out_of_time(void **state)
{
    (void)state;
    static const char *const beginnings[] = {
        "G",
        "GET /v1/version HTTP/1.1\r\nHost: h\r\n",
        "POST /v1/profiles/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc",
        "POST /v1/profiles/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    };
    struct api_tuning t = tuning_default();
    t.head_time_ms = 50;
    struct world *w = world_tuned(&t);
    struct peer peers[ARRAY_LEN(beginnings)];
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
        peers[i] = peer_new(w);
        peer_send(w, &peers[i], beginnings[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
        peer_wait_end(w, &peers[i]);
        assert_begins(peer_got(&peers[i]), "HTTP/1.1 408 Request Timeout\r\n");
        assert_has(peer_got(&peers[i]), "\"code\":\"timed-out\"");
        assert_has(peer_got(&peers[i]), "\"status\":408");
        peer_free(&peers[i]);
    }
    assert_int_equal(w->n_calls, 0);
    world_free(w);
}

/* A drop of water every few milliseconds does not move the deadline. */
static void trickling_does_not_help(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.head_time_ms = 300;
    struct world *w = world_tuned(&t);
    struct peer p = peer_new(w);
    peer_send(w, &p, "POST /v1/profiles/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    int64_t begin_ms = clock_ms();
    while (!peer_has_ended(&p)) {
        assert_true(clock_ms() - begin_ms < PATIENCE_MS);
        peer_push(&p, "x", 1);
        world_turn_for(w, 10);
    }
    assert_true(clock_ms() - begin_ms < 300 + 2 * SWEEP_STEP_MS + 200);
    assert_int_equal(w->n_calls, 0);
    peer_free(&p);
    world_free(w);
}

static void stalled_connections_delay_nobody(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer stalled[10], p = peer_new(w);
    for (size_t i = 0; i < ARRAY_LEN(stalled); i++) {
        stalled[i] = peer_new(w);
        peer_send(w, &stalled[i], i % 2 == 0 ? "GET /v1/ver" : POST("/v1/profiles/a/renew"));
    }
    WAIT_UNTIL(w, w->n_open == 5);
    int64_t begin_ms = clock_ms();
    for (int i = 0; i < 50; i++) {
        assert_begins(ask(w, &p, GET("/v1/version")), "HTTP/1.1 200");
    }
    assert_true(clock_ms() - begin_ms < 1000);
    for (size_t i = 0; i < ARRAY_LEN(stalled); i++) {
        peer_free(&stalled[i]);
    }
    WAIT_UNTIL(w, w->n_gone == 5);
    peer_free(&p);
    world_free(w);
}

static void idle_connections_are_closed(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.idle_time_ms = 50;
    struct world *w = world_tuned(&t);
    struct peer silent = peer_new(w), once = peer_new(w);
    assert_begins(ask(w, &once, GET("/v1/version")), "HTTP/1.1 200");
    peer_forget(&once);
    peer_wait_end(w, &silent);
    peer_wait_end(w, &once);
    assert_string_equal(peer_got(&silent), ""); /* nothing was asked, nothing is said */
    assert_string_equal(peer_got(&once), "");
    peer_free(&silent);
    peer_free(&once);
    world_free(w);
}

static void waiting_wakes_nobody_up(void **state)
{
    (void)state;
    struct world *w = world_new();
    assert_false(uv_is_active((uv_handle_t *)&w->api->sweep)); /* nobody is here */
    struct api_tuning *t = &w->api->tuning;
    t->idle_time_ms = t->head_time_ms = t->write_time_ms = 10;
    struct peer call = peer_new(w), stream = peer_new(w);
    peer_send(w, &call, POST("/v1/profiles/a/renew"));
    peer_send(w, &stream, GET("/v1/events"));
    WAIT_UNTIL(w, w->n_open == 2);
    peer_wait(w, &stream, "\r\n\r\n");
    world_turn_for(w, 2 * SWEEP_STEP_MS + 50); /* what was armed on the way fires once */
    assert_false(uv_is_active((uv_handle_t *)&w->api->sweep));
    assert_int_equal(api_connections(w->api), 2); /* and neither of them was timed out */
    peer_free(&call);
    peer_free(&stream);
    WAIT_UNTIL(w, w->n_gone == 2);
    world_free(w);
}

static void the_longest_idle_makes_room(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.connections_max = 3;
    struct world *w = world_tuned(&t);
    struct peer busy = peer_new(w), old = peer_new(w), young = peer_new(w);
    peer_send(w, &busy, POST("/v1/profiles/a/renew"));
    WAIT_UNTIL(w, w->n_open == 1);
    assert_begins(ask(w, &old, GET("/v1/version")), "HTTP/1.1 200");
    world_turn_for(w, 5);
    assert_begins(ask(w, &young, GET("/v1/version")), "HTTP/1.1 200");
    struct peer next;
    assert_begins(ask_once(w, &next, GET("/v1/version")), "HTTP/1.1 200");
    peer_wait_end(w, &old);
    assert_false(peer_has_ended(&young));
    assert_int_equal(w->n_open, 1);
    assert_int_equal(api_connections(w->api), 3);
    peer_free(&busy);
    peer_free(&old);
    peer_free(&young);
    peer_free(&next);
    WAIT_UNTIL(w, w->n_gone == 1);
    world_free(w);
}

/* Stalled ones cannot keep a newcomer out, and are sent away before anybody who waits. */
static void the_longest_half_sent_makes_room(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.connections_max = 3;
    struct world *w = world_tuned(&t);
    struct peer busy = peer_new(w), old = peer_new(w), young = peer_new(w);
    peer_send(w, &busy, POST("/v1/profiles/a/renew"));
    WAIT_UNTIL(w, w->n_open == 1);
    peer_send(w, &old, "POST /v1/profiles/a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{");
    world_turn_for(w, 20);
    peer_send(w, &young, "GET /v1/ver");
    world_turn_for(w, 20);
    struct peer next[2];
    assert_begins(ask_once(w, &next[0], GET("/v1/version")), "HTTP/1.1 200");
    peer_wait_end(w, &old);
    assert_false(peer_has_ended(&young));
    assert_begins(ask_once(w, &next[1], GET("/v1/version")), "HTTP/1.1 200");
    peer_wait_end(w, &next[0]); /* an idle one goes before a half-sent one */
    assert_false(peer_has_ended(&young));
    assert_int_equal(w->n_open, 1);
    peer_free(&busy);
    peer_free(&old);
    peer_free(&young);
    peer_free(&next[0]);
    peer_free(&next[1]);
    WAIT_UNTIL(w, w->n_gone == 1);
    world_free(w);
}

/* Nor can those that ask and do not read; and who has just come is not sent away for others that
 * come. */
static void who_does_not_read_makes_room_before_who_has_just_come(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.connections_max = 3;
    struct world *w = world_tuned(&t);
    struct peer deaf[2] = {peer_new(w), peer_new(w)}, quiet, next;
    for (int i = 0; i < 2; i++)
        peer_send(w, &deaf[i], GET("/v1/profiles/a/history"));
    WAIT_UNTIL(w, w->n_calls == 2);
    quiet = peer_new(w);
    WAIT_UNTIL(w, api_connections(w->api) == 3);
    assert_begins(ask_once(w, &next, GET("/v1/version")), "HTTP/1.1 200");
    assert_int_equal(api_connections(w->api), 3);
    assert_begins(ask(w, &quiet, GET("/v1/version")), "HTTP/1.1 200"); /* it was not sent away */
    peer_free(&deaf[0]);
    peer_free(&deaf[1]);
    peer_free(&quiet);
    peer_free(&next);
    world_free(w);
}

static void beyond_the_limit_is_busy(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.connections_max = 2;
    struct world *w = world_tuned(&t);
    struct peer a = peer_new(w), b = peer_new(w);
    peer_send(w, &a, POST("/v1/profiles/a/renew"));
    peer_send(w, &b, POST("/v1/profiles/b/renew"));
    WAIT_UNTIL(w, w->n_open == 2);
    for (int i = 0; i < 20; i++) {
        struct peer p = peer_new(w);
        peer_wait_end(w, &p);
        assert_begins(peer_got(&p), "HTTP/1.1 503 Service Unavailable\r\n");
        assert_has(peer_got(&p), "Credwarden-Code: busy\r\n");
        assert_has(peer_got(&p), "Retry-After: 1\r\n");
        peer_free(&p);
    }
    assert_int_equal(w->n_open, 2); /* those inside are left in peace */
    peer_free(&a);
    WAIT_UNTIL(w, w->n_gone == 1);
    struct peer p;
    assert_begins(ask_once(w, &p, GET("/v1/version")), "HTTP/1.1 200");
    peer_free(&p);
    peer_free(&b);
    WAIT_UNTIL(w, w->n_gone == 2);
    world_free(w);
}

static void another_users_process_is_refused(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.uid = getuid() + 1;
    struct world *w = world_tuned(&t);
    struct peer p = peer_new(w);
    peer_push(&p, GET("/v1/version"), strlen(GET("/v1/version")));
    peer_wait_end(w, &p);
    assert_begins(peer_got(&p), "HTTP/1.1 403 Forbidden\r\n");
    assert_has(peer_got(&p), "Credwarden-Code: peer-refused\r\n");
    assert_has(peer_got(&p), "This socket serves another user.");
    assert_int_equal(w->n_calls, 0);
    WAIT_UNTIL(w, api_connections(w->api) == 0);
    peer_free(&p);
    world_free(w);
}

static void heads_have_a_limit(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    peer_send(w, &p, "GET /v1/version HTTP/1.1\r\nHost: h\r\nX: ");
    char filling[API_HEAD_MAX];
    memset(filling, 'x', sizeof(filling));
    peer_send_bytes(w, &p, filling, sizeof(filling));
    peer_wait(w, &p, "\"code\":\"http-malformed\"");
    assert_begins(peer_got(&p), "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    peer_free(&p);
    WAIT_UNTIL(w, api_connections(w->api) == 0);
    world_free(w);
}

/* Whoever sends first and reads later still gets to read why it was refused. */
static void bodies_have_a_limit(void **state)
{
    (void)state;
    static const char *const framings[] = {"Content-Length: 1048576", "Transfer-Encoding: chunked"};
    struct world *w = world_new();
    char *body = calloc(1, 1024 * 1024);
    assert_non_null(body);
    for (size_t i = 0; i < ARRAY_LEN(framings); i++) {
        struct peer p = peer_new(w);
        char head[256];
        snprintf(head, sizeof(head), "POST /v1/profiles/a HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n%s",
                 framings[i], i == 1 ? "100000\r\n" : "");
        peer_send(w, &p, head);
        peer_send_bytes(w, &p, body, 1024 * 1024);
        peer_wait(w, &p, "\"code\":\"input-too-large\"");
        assert_begins(peer_got(&p), "HTTP/1.1 413 Content Too Large\r\n");
        assert_false(peer_has_ended(&p));
        shutdown(p.fd, SHUT_WR);
        peer_wait_end(w, &p);
        peer_free(&p);
    }
    assert_int_equal(w->n_calls, 0);
    free(body);
    world_free(w);
}

static void lingering_has_an_end(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.head_time_ms = 50;
    struct world *w = world_tuned(&t);
    struct peer p = peer_new(w);
    peer_send(w, &p, "nonsense\r\n");
    peer_wait_end(w, &p);
    assert_begins(peer_got(&p), "HTTP/1.1 400 ");
    peer_free(&p);
    world_free(w);
}

static void all_bodies_together_have_a_limit(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.bodies_max = 1000;
    struct world *w = world_tuned(&t);
    struct peer a = peer_new(w), b = peer_new(w);
    char bytes[600];
    memset(bytes, 'x', sizeof(bytes));
    static const char head[] = "POST /v1/profiles/a HTTP/1.1\r\nHost: h\r\nContent-Length: 601\r\n"
                               "\r\n";
    peer_send(w, &a, head);
    peer_send_bytes(w, &a, bytes, sizeof(bytes));
    WAIT_UNTIL(w, w->api->body_bytes == 600);
    peer_send(w, &b, head);
    peer_send_bytes(w, &b, bytes, sizeof(bytes));
    peer_wait(w, &b, "\"code\":\"busy\"");
    assert_int_equal(w->api->body_bytes, 600);
    assert_begins(ask(w, &a, "x"), "HTTP/1.1 200"); /* the first is not harmed */
    assert_int_equal(w->api->body_bytes, 0);
    peer_free(&a);
    peer_free(&b);
    world_free(w);
}

static void what_is_pipelined_waits_outside(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    peer_send(w, &p, POST("/v1/profiles/a/renew"));
    WAIT_UNTIL(w, w->n_open == 1);
    static const char next[] = GET("/v1/version");
    size_t pushed = 0, n;
    int64_t end_ms = clock_ms() + 100;
    while (clock_ms() < end_ms) {
        n = peer_push(&p, next, sizeof(next) - 1);
        pushed += n;
        world_turn(w);
        assert_true(w->api->conns->in.len <= API_HEAD_MAX);
        if (n < sizeof(next) - 1) {
            break;
        }
    }
    assert_int_equal(w->n_calls, 1);
    api_reply(w->open[--w->n_open], 200, json_pack("{s:s}", "name", "a"));
    size_t whole = pushed / (sizeof(next) - 1);
    WAIT_UNTIL(w, (peer_read(&p), w->n_calls >= 1 + whole));
    peer_free(&p);
    world_free(w);
}

static void a_peer_that_does_not_read_is_dropped(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.write_time_ms = 50;
    struct world *w = world_tuned(&t);
    struct peer p = peer_new(w);
    peer_send(w, &p, GET("/v1/profiles/a/history"));
    WAIT_UNTIL(w, w->n_calls == 1);
    WAIT_UNTIL(w, api_connections(w->api) == 0);
    assert_int_equal(w->n_gone, 0); /* it was answered */
    peer_free(&p);
    world_free(w);
}

static void a_large_answer_arrives_whole(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p;
    ask_once(w, &p, GET("/v1/profiles/a/history"));
    const char *body = answer_body(&p);
    assert_int_equal(strlen(body), 4 * 1024 * 1024 + strlen("{\"name\":\"\"}\n"));
    peer_free(&p);
    world_free(w);
}

static int send_until_refused(struct world *w, struct api_call *call)
{
    json_t *event = json_pack("{s:s}", "detail", "0123456789012345678901234567890123456789");
    int err = 0;
    for (int i = 1; err == 0 && i < 100000; i++) {
        err = api_stream_send(call, (uint64_t)i, "noise", event);
        if (i % 100 == 0) {
            world_turn(w);
        }
    }
    if (err < 0) { /* once dropped, always dropped, until `gone` comes */
        assert_int_equal(api_stream_send(call, 1, "noise", event), ERR_CLOSED);
    }
    json_decref(event);
    return err;
}

static void a_slow_reader_of_a_stream_is_dropped(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.stream_backlog = 16 * 1024;
    struct world *w = world_tuned(&t);
    struct peer slow = peer_new(w), other = peer_new(w);
    peer_send(w, &slow, GET("/v1/events"));
    WAIT_UNTIL(w, w->n_open == 1);
    assert_int_equal(send_until_refused(w, w->open[0]), ERR_CLOSED);
    WAIT_UNTIL(w, w->n_gone == 1);
    assert_int_equal(w->api->n_streams, 0);
    assert_begins(ask(w, &other, GET("/v1/version")), "HTTP/1.1 200");
    peer_free(&slow);
    peer_free(&other);
    world_free(w);
}

/* The past comes in one batch, written before the loop turns: a reader that reads gets it all. */
static void the_past_comes_in_one_batch(void **state)
{
    (void)state;
    enum { EVENTS = 5000 };
    struct world *w = world_new();
    struct peer p = peer_new(w);
    peer_send(w, &p, GET("/v1/events?limit=5000"));
    WAIT_UNTIL(w, w->n_open == 1);
    char detail[480];
    memset(detail, 'x', sizeof(detail) - 1);
    detail[sizeof(detail) - 1] = '\0';
    json_t *event = json_pack("{s:s}", "detail", detail);
    for (uint64_t id = 1; id <= EVENTS; id++) {
        assert_int_equal(api_stream_send(w->open[0], id, "noise", event), 0);
    }
    json_decref(event);
    api_stream_end(w->open[--w->n_open]);
    peer_wait_end(w, &p);
    assert_has(peer_got(&p), "id: 5000\n");
    static const char end[] = "\"}\n\n\r\n0\r\n\r\n";
    assert_int_equal(memcmp(p.got.bytes + p.got.len - strlen(end), end, strlen(end)), 0);
    peer_free(&p);
    world_free(w);
}

static void a_reader_that_stopped_is_dropped_in_time(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.write_time_ms = 50;
    t.stream_backlog = 8 * 1024 * 1024;
    struct world *w = world_tuned(&t);
    struct peer p = peer_new(w);
    peer_send(w, &p, GET("/v1/events"));
    WAIT_UNTIL(w, w->n_open == 1);
    char *text = calloc(1, 1024 * 1024);
    assert_non_null(text);
    memset(text, 'x', 1024 * 1024 - 1);
    json_t *event = json_pack("{s:s}", "detail", text);
    assert_int_equal(api_stream_send(w->open[0], 1, "noise", event), 0);
    json_decref(event);
    free(text);
    WAIT_UNTIL(w, w->n_gone == 1);
    peer_free(&p);
    world_free(w);
}

static void streams_have_a_limit(void **state)
{
    (void)state;
    struct api_tuning t = tuning_default();
    t.streams_max = 2;
    struct world *w = world_tuned(&t);
    struct peer a = peer_new(w), b = peer_new(w), c = peer_new(w);
    peer_send(w, &a, GET("/v1/events"));
    peer_send(w, &b, GET("/v1/events"));
    WAIT_UNTIL(w, w->n_open == 2);
    assert_has(ask(w, &c, GET("/v1/events")), "Credwarden-Code: busy");
    assert_has(buf_text(&c.got), "2 event streams are open already");
    peer_free(&a);
    WAIT_UNTIL(w, w->n_gone == 1);
    peer_send(w, &c, GET("/v1/events"));
    WAIT_UNTIL(w, w->n_open == 2);
    peer_free(&b);
    peer_free(&c);
    WAIT_UNTIL(w, w->n_gone == 3);
    world_free(w);
}

/* As long as it lasts, no descriptor beyond those that are open now. */
static struct rlimit take_descriptors(void)
{
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    assert_true(next >= 0);
    close(next);
    none = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return before;
}

static void without_descriptors_the_idle_make_room(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer busy = peer_new(w), idle = peer_new(w);
    peer_send(w, &busy, POST("/v1/profiles/a/renew"));
    WAIT_UNTIL(w, w->n_open == 1);
    assert_begins(ask(w, &idle, GET("/v1/version")), "HTTP/1.1 200");
    struct peer next = peer_new(w);
    struct rlimit before = take_descriptors();
    int64_t begin_ms = clock_ms();
    assert_begins(ask(w, &next, GET("/v1/version")), "HTTP/1.1 200");
    assert_true(clock_ms() - begin_ms < 1000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    peer_wait_end(w, &idle);
    assert_int_equal(w->n_open, 1);
    peer_free(&busy);
    peer_free(&idle);
    peer_free(&next);
    WAIT_UNTIL(w, w->n_gone == 1);
    world_free(w);
}

static void without_descriptors_callers_wait_and_the_loop_rests(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer busy = peer_new(w), next[40];
    peer_send(w, &busy, POST("/v1/profiles/a/renew"));
    WAIT_UNTIL(w, w->n_open == 1);
    for (size_t i = 0; i < ARRAY_LEN(next); i++) {
        next[i] = peer_new(w);
    }
    struct rlimit before = take_descriptors();
    clock_t spent = clock();
    for (int64_t end = clock_ms() + 400; clock_ms() < end;) {
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    spent = clock() - spent;
    assert_int_equal(api_connections(w->api), 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(spent < CLOCKS_PER_SEC / 10);
    for (size_t i = 0; i < ARRAY_LEN(next); i++) { /* nobody was turned away */
        assert_begins(ask(w, &next[i], GET("/v1/version")), "HTTP/1.1 200");
        peer_free(&next[i]);
    }
    peer_free(&busy);
    WAIT_UNTIL(w, w->n_gone == 1);
    world_free(w);
}

static void the_socket_is_ours_alone(void **state)
{
    (void)state;
    mode_t before = umask(0); /* not even with a careless umask */
    struct world *w = world_new();
    struct stat st;
    assert_int_equal(stat(w->path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(umask(before), 0);
    world_free(w);
}

static void a_leftover_socket_is_replaced(void **state)
{
    (void)state;
    struct world *w = world_empty();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_int_equal(str_copy(address.sun_path, sizeof(address.sun_path), w->path), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd); /* as after a SIGKILL: the file stays */
    struct api_tuning t = tuning_default();
    assert_int_equal(world_listen(w, &t, NULL), 0);
    struct peer p;
    assert_begins(ask_once(w, &p, GET("/v1/version")), "HTTP/1.1 200");
    peer_free(&p);
    world_free(w);
}

static void what_is_no_socket_stays(void **state)
{
    (void)state;
    struct world *w = world_empty();
    int fd = open(w->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    struct api_tuning t = tuning_default();
    struct err_text text = {""};
    assert_int_equal(world_listen(w, &t, &text), ERR_EXISTS);
    assert_has(text.text, w->path);
    assert_has(text.text, "not a socket");
    struct stat st;
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_size, 8);
    world_free(w);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    struct world *w = world_empty();
    char path[151];
    size_t len = strlen(w->dir);
    memset(path, 'x', sizeof(path) - 1);
    memcpy(path, w->dir, len);
    path[len] = '/';
    path[sizeof(path) - 1] = '\0';
    struct api_handlers h = handlers_of(w);
    struct err_text text = {""};
    assert_int_equal(api_listen(&w->loop, path, "0.0.7", &h, &w->api, &text), ERR_TOO_LARGE);
    assert_has(text.text, "at most 107 bytes, this one has 150");
    assert_null(w->api);
    world_free(w);
}

static void a_folder_that_is_not_there_is_told(void **state)
{
    (void)state;
    struct world *w = world_empty();
    struct api_handlers h = handlers_of(w);
    struct err_text text = {""};
    char path[200];
    snprintf(path, sizeof(path), "%s/nowhere/api.sock", w->dir);
    assert_true(api_listen(&w->loop, path, "0.0.7", &h, &w->api, &text) < 0);
    assert_has(text.text, "/nowhere/api.sock: cannot listen");
    assert_null(w->api);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_half_sent_request_runs_out_of_time),
        cmocka_unit_test(trickling_does_not_help),
        cmocka_unit_test(stalled_connections_delay_nobody),
        cmocka_unit_test(idle_connections_are_closed),
        cmocka_unit_test(waiting_wakes_nobody_up),
        cmocka_unit_test(the_longest_idle_makes_room),
        cmocka_unit_test(the_longest_half_sent_makes_room),
        cmocka_unit_test(who_does_not_read_makes_room_before_who_has_just_come),
        cmocka_unit_test(beyond_the_limit_is_busy),
        cmocka_unit_test(another_users_process_is_refused),
        cmocka_unit_test(heads_have_a_limit),
        cmocka_unit_test(bodies_have_a_limit),
        cmocka_unit_test(lingering_has_an_end),
        cmocka_unit_test(all_bodies_together_have_a_limit),
        cmocka_unit_test(what_is_pipelined_waits_outside),
        cmocka_unit_test(a_peer_that_does_not_read_is_dropped),
        cmocka_unit_test(a_large_answer_arrives_whole),
        cmocka_unit_test(a_slow_reader_of_a_stream_is_dropped),
        cmocka_unit_test(the_past_comes_in_one_batch),
        cmocka_unit_test(a_reader_that_stopped_is_dropped_in_time),
        cmocka_unit_test(streams_have_a_limit),
        cmocka_unit_test(without_descriptors_the_idle_make_room),
        cmocka_unit_test(without_descriptors_callers_wait_and_the_loop_rests),
        cmocka_unit_test(the_socket_is_ours_alone),
        cmocka_unit_test(a_leftover_socket_is_replaced),
        cmocka_unit_test(what_is_no_socket_stays),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
        cmocka_unit_test(a_folder_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

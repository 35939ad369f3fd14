/*
 * The API as a peer sees it: answers in their forms, one request after the other, bodies, problems,
 * tokens, streams, and peers that leave.
 */
#include "api_world.h"

static void a_question_is_answered_as_json(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p;
    const char *got = ask_once(w, &p, GET("/v1/version"));
    assert_begins(got, "HTTP/1.1 200 OK\r\n");
    assert_has(got, "Content-Type: application/json\r\n");
    assert_has(got, "Credwarden-Version: 0.0.7\r\n");
    assert_has(got, "Cache-Control: no-store\r\n");
    assert_lacks(got, "Connection: close");
    json_t *json = json_loads(answer_body(&p), JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "version")), "0.0.7");
    json_decref(json);
    peer_free(&p);
    world_free(w);
}

static void the_first_known_type_of_accept_wins(void **state)
{
    (void)state;
    static const struct {
        const char *accept, *type;
    } cases[] = {
        {"Accept: text/plain", "text/plain; charset=utf-8"},
        {"Accept: text/html, TEXT/Plain;q=0.1, application/json", "text/plain; charset=utf-8"},
        {"Accept: application/json, text/plain, */*", "application/json"},
        {"Accept: */*", "application/json"},
        {"Accept: text/html\r\nAccept: text/plain", "text/plain; charset=utf-8"},
        {"Accept: text/plainer,,text/event-stream", "application/json"},
    };
    struct world *w = world_new();
    struct peer p = peer_new(w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char request[256], type[64];
        snprintf(request, sizeof(request), "GET /v1/version HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n",
                 cases[i].accept);
        snprintf(type, sizeof(type), "Content-Type: %s\r\n", cases[i].type);
        assert_has(ask(w, &p, request), type);
    }
    peer_free(&p);
    world_free(w);
}

static void a_connection_is_kept_until_told_otherwise(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    for (int i = 0; i < 3; i++) {
        assert_begins(ask(w, &p, GET("/v1/version")), "HTTP/1.1 200 OK\r\n");
    }
    assert_has(ask(w, &p, "GET /v1/version HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
               "Connection: close\r\n");
    peer_wait_end(w, &p);
    WAIT_UNTIL(w, api_connections(w->api) == 0);
    peer_free(&p);
    world_free(w);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    static const char request[] = "POST /v1/profiles/w%6Frk?source=a%20b HTTP/1.1\r\nHost: h\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n"
                                  "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        assert_int_equal(w->n_calls, 0);
        peer_send_bytes(w, &p, request + i, 1);
        world_turn(w);
    }
    peer_wait(w, &p, "{\"note\":\"a b\"}\n");
    assert_string_equal(w->name, "work");
    assert_int_equal(w->body_len, 5);
    assert_int_equal(w->body_sum, sum_of("abcde", 5));
    peer_free(&p);
    world_free(w);
}

static void pipelined_requests_are_taken_one_after_another(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    peer_send(w, &p,
              GET("/v1/version") POST("/v1/profiles/a/renew") POST("/v1/profiles/b/renew")
                  GET("/v1/version"));
    WAIT_UNTIL(w, w->n_open == 1);
    world_turn_for(w, 20);
    assert_int_equal(w->n_calls, 2); /* the third is not begun before the second is answered */
    assert_int_equal(api_operation(w->open[0]), OP_RENEW);
    assert_string_equal(api_name(w->open[0]), "a");
    api_reply(w->open[--w->n_open], 200, json_pack("{s:s}", "name", "first"));
    WAIT_UNTIL(w, w->n_open == 1);
    assert_string_equal(api_name(w->open[0]), "b");
    assert_int_equal(w->n_calls, 3);
    api_reply(w->open[--w->n_open], 200, json_pack("{s:s}", "name", "second"));
    WAIT_UNTIL(w, w->n_calls == 4);
    peer_wait(w, &p, "second");
    const char *got = peer_got(&p);
    assert_true(strstr(got, "0.0.7\",") < strstr(got, "first"));
    assert_true(strstr(got, "first") < strstr(got, "second"));
    peer_free(&p);
    world_free(w);
}

static void bodies_arrive_whole(void **state)
{
    (void)state;
    struct world *w = world_new();
    size_t len = API_BODY_MAX;
    char *body = malloc(len);
    assert_non_null(body);
    for (size_t i = 0; i < len; i++) {
        body[i] = (char)(i * 7 + i / 251);
    }
    struct peer p = peer_new(w);
    char head[128];
    snprintf(head, sizeof(head),
             "POST /v1/profiles/work HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", len);
    peer_send(w, &p, head);
    peer_send_bytes(w, &p, body, len);
    peer_send(w, &p, GET("/v1/version")); /* the connection stays in step */
    peer_wait(w, &p, "\"pid\"");
    assert_int_equal(w->body_len, len);
    assert_int_equal(w->body_sum, sum_of(body, len));
    assert_int_equal(w->api->body_bytes, 0);
    free(body);
    peer_free(&p);
    world_free(w);
}

static void whoever_asks_first_is_told_to_continue(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    peer_send(w, &p,
              "POST /v1/profiles/work HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
              "Expect: 100-continue\r\n\r\n");
    peer_wait(w, &p, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_forget(&p);
    assert_begins(ask(w, &p, "{}"), "HTTP/1.1 200 OK\r\n");
    /* Not when the body is there already, and not when it is going to be refused. */
    assert_begins(ask(w, &p,
                      "POST /v1/profiles/work HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                      "Expect: 100-continue\r\n\r\n{}"),
                  "HTTP/1.1 200 OK\r\n");
    assert_begins(ask(w, &p,
                      "POST /v1/profiles/work HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n"
                      "Expect: 100-continue\r\n\r\n"),
                  "HTTP/1.1 413 ");
    peer_free(&p);
    world_free(w);
}

struct wrong {
    const char *request, *status, *code, *words;
};

static void wrong_requests_get_their_reason(void **state)
{
    (void)state;
    static const struct wrong list[] = {
        {GET("/v1/statsu"), "404 Not Found", "not-found", "There is nothing at /v1/statsu"},
        {GET("/"), "404 Not Found", "not-found", "/v1/openapi.json"},
        {GET("/v1/profiles/"), "404 Not Found", "not-found", "/v1/profiles/"},
        {GET("/v1/profiles/a/b/token"), "404 Not Found", "not-found", "nothing"},
        {GET("/v1/version/"), "404 Not Found", "not-found", "nothing"},
        {GET("/v1/%76ersion"), "404 Not Found", "not-found", "nothing"},
        {POST("/v1/version"), "405 Method Not Allowed", "method-not-allowed", "only GET"},
        {POST("/v1/profiles/a/token"), "405 Method Not Allowed", "method-not-allowed", "GET"},
        {GET("/v1/profiles/.hidden"), "400 Bad Request", "name-invalid", "'.hidden'"},
        {GET("/v1/profiles/-x"), "400 Bad Request", "name-invalid", "'-x'"},
        {GET("/v1/profiles/a%2Fb"), "400 Bad Request", "name-invalid", "'a%2Fb'"},
        {GET("/v1/profiles/a%00"), "400 Bad Request", "name-invalid", "'a%00'"},
        {GET("/v1/profiles/a%20b/token"), "400 Bad Request", "name-invalid", "a%20b"},
        {GET("/v1/profiles/"
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
         "400 Bad Request", "name-invalid", "aaa"},
        {GET("/v1/profiles/a/token?min_tll=5m"), "400 Bad Request", "usage",
         "'min_tll' is not a parameter of token; did you mean 'min_ttl'? It takes: min_ttl, "
         "timeout."},
        {GET("/v1/profiles/a/token?x=1"), "400 Bad Request", "usage",
         "'x' is not a parameter of token. It takes: min_ttl, timeout."},
        {GET("/v1/version?verbose"), "400 Bad Request", "usage",
         "'verbose' is not known here: version takes no parameters."},
        {GET("/v1/profiles/a/token?timeout=1&timeout=1"), "400 Bad Request", "usage",
         "'timeout' is given twice"},
        {GET("/v1/profiles/a/token?timeout=%00"), "400 Bad Request", "usage",
         "The value of 'timeout'"},
        {GET("/v1/profiles/a/token?timeout=%ff"), "400 Bad Request", "usage", "UTF-8"},
    };
    struct world *w = world_new();
    struct peer p = peer_new(w);
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        const char *got = ask(w, &p, list[i].request);
        assert_has(got, list[i].status);
        char header[64];
        snprintf(header, sizeof(header), "Credwarden-Code: %s\r\n", list[i].code);
        assert_has(got, header);
        assert_has(got, "Content-Type: application/problem+json\r\n");
        assert_has(got, list[i].words);
        assert_false(peer_has_ended(&p)); /* it was valid HTTP: the connection goes on */
    }
    assert_has(ask(w, &p, "PUT /v1/profiles/a HTTP/1.1\r\nHost: h\r\n\r\n"),
               "Allow: GET, POST, DELETE\r\n");
    /* The client of a HEAD takes this answer's body for the next answer: there is none. */
    assert_has(ask(w, &p, "HEAD /v1/version HTTP/1.1\r\nHost: h\r\n\r\n"),
               "405 Method Not Allowed");
    assert_true(peer_has_ended(&p));
    assert_int_equal(w->n_calls, 0);
    peer_free(&p);
    world_free(w);
}

static void a_body_nobody_asked_for_is_refused(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p;
    const char *got = ask_once(w, &p,
                               "POST /v1/daemon/stop HTTP/1.1\r\nHost: h\r\n"
                               "Content-Length: 3\r\n\r\n");
    assert_has(got, "stop takes no body.");
    assert_has(got, "Connection: close\r\n");
    peer_send(w, &p, "abc" GET("/v1/version")); /* swallowed, not answered */
    shutdown(p.fd, SHUT_WR);
    peer_wait_end(w, &p);
    assert_int_equal(w->n_calls, 0);
    assert_lacks(peer_got(&p), "0.0.7\",");
    peer_free(&p);
    world_free(w);
}

static void broken_http_is_refused_and_ends_the_connection(void **state)
{
    (void)state;
    static const struct wrong list[] = {
        {"GET /v1/version HTTP/1.0\r\n\r\n", "505", "http-malformed", "HTTP/1.1"},
        {"GET /v1/version HTTP/1.1\r\n\r\n", "400", "http-malformed", "no Host"},
        {"GET /v1/version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", "http-malformed", "Host"},
        {"GET /v1/version HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "400", "http-malformed", "line feed"},
        {"POST /v1/profiles/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
         "Transfer-Encoding: chunked\r\n\r\n",
         "400", "http-malformed", "contradict"},
        {"POST /v1/profiles/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501",
         "http-malformed", "chunked"},
        {"POST /v1/profiles/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\n",
         "400", "http-malformed", "chunked body"},
        {"GET /v1/version HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", "417", "http-malformed",
         "100-continue"},
    };
    struct world *w = world_new();
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        struct peer p;
        char status[32], code[64];
        snprintf(status, sizeof(status), "HTTP/1.1 %s ", list[i].status);
        snprintf(code, sizeof(code), "\"code\":\"%s\"", list[i].code);
        const char *got = ask_once(w, &p, list[i].request);
        assert_begins(got, status);
        assert_has(got, code);
        assert_has(got, list[i].words);
        assert_has(got, "Connection: close\r\n");
        peer_send(w, &p, GET("/v1/version"));
        world_turn_for(w, 5);
        assert_int_equal(w->n_calls, 0);
        peer_free(&p);
    }
    world_free(w);
}

static void a_problem_has_its_two_forms(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p;
    const char *got = ask_once(w, &p, GET("/v1/profiles/a/usage"));
    assert_begins(got, "HTTP/1.1 429 Too Many Requests\r\n");
    assert_has(got, "Retry-After: 2\r\n");
    json_t *json = json_loads(answer_body(&p), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "type")),
                        "urn:credwarden:problem:throttled");
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 429);
    assert_int_equal(json_integer_value(json_object_get(json, "retry_after")), 2);
    assert_string_equal(json_string_value(json_object_get(json, "code")), "throttled");
    assert_true(json_string_length(json_object_get(json, "title")) > 0);
    assert_string_equal(json_string_value(json_object_get(json, "detail")),
                        "The provider?wants a \"pause\" of 1500 ms ?[2J?.");
    json_decref(json);
    ask(w, &p, "GET /v1/profiles/a/usage HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\n\r\n");
    assert_string_equal(answer_body(&p), "The provider?wants a \"pause\" of 1500 ms ?[2J?.\n");
    assert_has(peer_got(&p), "Credwarden-Code: throttled\r\n");
    peer_free(&p);
    world_free(w);
}

static void a_token_is_answered_as_it_is(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p;
    ask_once(w, &p, GET("/v1/profiles/a/token?min_ttl=10m"));
    json_t *json = json_loads(answer_body(&p), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_true(strcmp(json_string_value(json_object_get(json, "access_token")), TOKEN_TEXT) == 0);
    assert_int_equal(json_integer_value(json_object_get(json, "expires_in_ms")), 5000);
    json_decref(json);
    ask(w, &p, GET("/v1/profiles/bare/token"));
    json = json_loads(answer_body(&p), JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_object_size(json), 1);
    json_decref(json);
    ask(w, &p, "GET /v1/profiles/a/token HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\n\r\n");
    assert_true(strcmp(answer_body(&p), TOKEN_TEXT "\n") == 0);
    peer_free(&p);
    world_free(w);
}

static void the_description_is_served(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p;
    ask_once(w, &p, GET("/v1/openapi.json"));
    assert_int_equal(strlen(answer_body(&p)), api_openapi_len);
    assert_memory_equal(answer_body(&p), api_openapi, api_openapi_len);
    peer_free(&p);
    world_free(w);
}

static void a_peer_that_leaves_is_told_of(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w), other = peer_new(w);
    peer_send(w, &p, POST("/v1/profiles/a/renew"));
    peer_send(w, &other, POST("/v1/profiles/b/renew"));
    WAIT_UNTIL(w, w->n_open == 2);
    struct api_call *call = w->open[strcmp(api_name(w->open[0]), "a") == 0 ? 0 : 1];
    assert_ptr_equal(api_ctx(call), w);
    peer_free(&p);
    WAIT_UNTIL(w, w->n_gone == 1);
    assert_ptr_equal(w->gone_last, call);
    assert_int_equal(w->n_open, 1);
    api_reply(w->open[--w->n_open], 200, json_pack("{s:s}", "name", "b"));
    peer_wait(w, &other, "\"b\"");
    world_turn_for(w, 10);
    assert_int_equal(w->n_gone, 1); /* not for what was answered */
    peer_free(&other);
    WAIT_UNTIL(w, api_connections(w->api) == 0);
    assert_int_equal(w->n_gone, 1);
    world_free(w);
}

/* The answer comes between the peer's leaving and our hearing of it. */
static void an_answer_to_nobody_is_dropped(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    peer_send(w, &p, POST("/v1/profiles/a/renew"));
    WAIT_UNTIL(w, w->n_open == 1);
    peer_free(&p);
    api_reply(w->open[--w->n_open], 200, json_pack("{s:s}", "name", "a"));
    WAIT_UNTIL(w, api_connections(w->api) == 0);
    assert_int_equal(w->n_gone, 0);
    world_free(w);
}

static json_t *event_of(int id)
{
    return json_pack("{s:i, s:s, s:s, s:s, s:n, s:s}", "id", id, "at", "2026-11-20T23:24:01Z",
                     "kind", "granted", "profile", "work", "lineage", "detail", "generation 4");
}

static void send_event(struct world *w, int id)
{
    json_t *event = event_of(id);
    assert_int_equal(api_stream_send(w->open[0], (uint64_t)id, "granted", event), 0);
    json_decref(event);
}

static void events_are_streamed_in_three_forms(void **state)
{
    (void)state;
    static const struct {
        const char *accept, *type, *first, *second;
    } cases[] = {
        {"*/*", "text/event-stream\r\n", "\r\nid: 1\nevent: granted\ndata: {\"id\":1,",
         "\r\nid: 2\n"},
        {"application/x-ndjson", "application/x-ndjson\r\n", "\r\n{\"id\":1,", "\r\n{\"id\":2,"},
        {"text/plain", "text/plain; charset=utf-8\r\n",
         "\r\n\r\n32\r\n2026-11-20 23:24:01Z  work  granted  generation 4\n\r\n",
         "\n\r\n32\r\n2026-11-20 23:24:01Z  work  granted  generation 4\n\r\n"},
    };
    struct world *w = world_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer p = peer_new(w);
        char request[256];
        snprintf(request, sizeof(request),
                 "GET /v1/events?follow=yes HTTP/1.1\r\nHost: h\r\nAccept: %s\r\n\r\n",
                 cases[i].accept);
        peer_send(w, &p, request);
        WAIT_UNTIL(w, w->n_open == 1);
        assert_string_equal(api_query(w->open[0], "follow"), "yes");
        peer_wait(w, &p, cases[i].type);
        send_event(w, 1);
        send_event(w, 2);
        peer_wait(w, &p, cases[i].second);
        assert_has(peer_got(&p), cases[i].first);
        assert_lacks(peer_got(&p), "Content-Length");
        assert_lacks(peer_got(&p), "\r\n0\r\n\r\n");
        assert_int_equal(w->api->n_streams, 1);
        api_stream_end(w->open[--w->n_open]);
        peer_wait_end(w, &p);
        assert_has(peer_got(&p), "\r\n0\r\n\r\n");
        assert_int_equal(w->api->n_streams, 0);
        peer_free(&p);
    }
    assert_int_equal(w->n_gone, 0);
    world_free(w);
}

static void an_empty_stream_ends_well(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    peer_send(w, &p, GET("/v1/events"));
    WAIT_UNTIL(w, w->n_open == 1);
    api_stream_end(w->open[--w->n_open]); /* its head may still be on the way */
    peer_wait_end(w, &p);
    assert_has(peer_got(&p), "\r\n\r\n0\r\n\r\n");
    peer_free(&p);
    world_free(w);
}

static void a_stream_ends_with_its_reader(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer p = peer_new(w);
    peer_send(w, &p, GET("/v1/events"));
    WAIT_UNTIL(w, w->n_open == 1);
    send_event(w, 1);
    peer_send(w, &p, "what is said on a stream is not listened to\r\n");
    world_turn_for(w, 5);
    send_event(w, 2);
    peer_free(&p);
    WAIT_UNTIL(w, w->n_gone == 1);
    assert_int_equal(w->api->n_streams, 0);
    world_free(w);
}

static void stopping_lets_open_calls_finish(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer idle = peer_new(w), busy = peer_new(w), half = peer_new(w);
    assert_begins(ask(w, &idle, GET("/v1/version")), "HTTP/1.1 200");
    peer_send(w, &busy, POST("/v1/profiles/a/renew") GET("/v1/version"));
    peer_send(w, &half, "GET /v1/vers");
    WAIT_UNTIL(w, w->n_open == 1 && api_connections(w->api) == 3);
    world_turn_for(w, 5);
    api_stop_accepting(w->api);
    api_stop_accepting(w->api); /* twice is fine */
    assert_int_equal(access(w->path, F_OK), -1);
    peer_wait_end(w, &idle);
    api_reply(w->open[--w->n_open], 200, json_pack("{s:s}", "name", "a"));
    peer_wait_end(w, &busy);
    assert_has(peer_got(&busy), "{\"name\":\"a\"}");
    assert_lacks(peer_got(&busy), "\"pid\"");
    assert_has(ask(w, &half, "ion HTTP/1.1\r\nHost: h\r\n\r\n"), "Credwarden-Code: stopping");
    peer_wait_end(w, &half);
    peer_free(&idle);
    peer_free(&busy);
    peer_free(&half);
    world_free(w);
}

static void freeing_tells_of_every_open_call(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct peer a = peer_new(w), b = peer_new(w), c = peer_new(w);
    peer_send(w, &a, POST("/v1/profiles/a/renew"));
    peer_send(w, &b, GET("/v1/events"));
    peer_send(w, &c, GET("/v1/profiles/a/history")); /* an answer half written */
    WAIT_UNTIL(w, w->n_calls == 3);
    api_free(w->api);
    w->api = NULL;
    assert_int_equal(w->n_gone, 2);
    assert_int_equal(w->n_open, 0);
    peer_wait_end(w, &a);
    peer_wait_end(w, &b);
    peer_free(&a);
    peer_free(&b);
    peer_free(&c);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_answered_as_json),
        cmocka_unit_test(the_first_known_type_of_accept_wins),
        cmocka_unit_test(a_connection_is_kept_until_told_otherwise),
        cmocka_unit_test(a_request_may_come_byte_by_byte),
        cmocka_unit_test(pipelined_requests_are_taken_one_after_another),
        cmocka_unit_test(bodies_arrive_whole),
        cmocka_unit_test(whoever_asks_first_is_told_to_continue),
        cmocka_unit_test(wrong_requests_get_their_reason),
        cmocka_unit_test(a_body_nobody_asked_for_is_refused),
        cmocka_unit_test(broken_http_is_refused_and_ends_the_connection),
        cmocka_unit_test(a_problem_has_its_two_forms),
        cmocka_unit_test(a_token_is_answered_as_it_is),
        cmocka_unit_test(the_description_is_served),
        cmocka_unit_test(a_peer_that_leaves_is_told_of),
        cmocka_unit_test(an_answer_to_nobody_is_dropped),
        cmocka_unit_test(events_are_streamed_in_three_forms),
        cmocka_unit_test(an_empty_stream_ends_well),
        cmocka_unit_test(a_stream_ends_with_its_reader),
        cmocka_unit_test(stopping_lets_open_calls_finish),
        cmocka_unit_test(freeing_tells_of_every_open_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Asking, as ask.h has it. */
#include "cli/ask.h"

#include "base/paths.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/files.h"
#include "cli/options.h"
#include "cli/start.h"

#define TRIES_MAX       3
#define AGAIN_PAUSE_MS  50
#define LISTEN_PAUSE_MS 10
#define LISTEN_TIME_MS  250 /* then the daemon we saw may be gone: start one again */

enum exit_code fail_text(enum exit_code code, const struct err_text *text)
{
    (void)fprintf(stderr, "credwarden: %s\n", text->text);
    return code;
}

enum exit_code fail(enum exit_code code, const char *fmt, ...)
{
    char line[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    struct err_text text;
    (void)err_say(&text, 0, "%s", line); /* arguments and file names are outside input */
    return fail_text(code, &text);
}

void reply_release(struct reply *r)
{
    if (r != NULL) {
        buf_release(&r->body);
        client_close(r->watch);
        r->watch = -1;
    }
}

static bool nobody_listens(int err)
{
    return err == ERR_NOT_FOUND || err == ERR_CLOSED;
}

/* A daemon was started, or one holds the lock: it listens in a moment. */
static int connect_soon(const char *path, int *ret_fd, struct err_text *text)
{
    int64_t until = steady_ms() + LISTEN_TIME_MS;
    int err = client_connect(path, ret_fd, text);
    while (nobody_listens(err) && steady_ms() < until) {
        pause_ms(LISTEN_PAUSE_MS);
        err = client_connect(path, ret_fd, text);
    }
    return err;
}

/* "Already" comes from a daemon that is about to listen and from one that is about to end, so both
 * are tried again: to connect, then to start. */
static int start_and_connect(const char *path, int *ret_fd, bool *ret_started,
                             struct err_text *text)
{
    int64_t deadline = steady_ms() + REACH_TIME_MS;
    int err = 0;
    do {
        enum started how = STARTED_ALREADY;
        err = daemon_start(&how, text);
        if (err != 0) {
            return err;
        }
        *ret_started = how == STARTED_READY;
        err = connect_soon(path, ret_fd, text);
    } while (nobody_listens(err) && steady_ms() < deadline);
    if (nobody_listens(err)) {
        return err_say(text, ERR_TIMEOUT,
                       "credwardend runs but does not listen at %s: it is busy starting or "
                       "stopping, or its environment names another folder",
                       path);
    }
    return err;
}

int reach_daemon(bool may_start, int *ret_fd, bool *ret_started, struct err_text *text)
{
    char path[PATHS_SIZE];
    bool given = false;
    *ret_started = false;
    int err = find_socket(path, &given, text);
    if (err != 0) {
        return err;
    }
    err = client_connect(path, ret_fd, text);
    if (!nobody_listens(err)) {
        return err;
    }
    if (given) {
        return err_say(text, ERR_CLOSED, "no daemon listens at %s, which CREDWARDEN_SOCKET names",
                       path);
    }
    if (!may_start) {
        return err_say(text, ERR_CLOSED,
                       "credwardend is not running; `credwarden daemon start` starts it");
    }
    return start_and_connect(path, ret_fd, ret_started, text);
}

/* What is shown while it comes. */
static int take_lines(void *ctx, const char *lines, size_t len, struct err_text *text)
{
    struct reply *reply = ctx;
    int err = write_out(lines, len, text);
    reply->out_failed = err != 0;
    return err;
}

static int exchange(int fd, const struct buf *head, const struct request *r, struct reply *reply,
                    struct err_text *text)
{
    const struct stream printed = {take_lines, reply};
    int err = client_send(fd, head, r, text);
    if (err != 0 && err != ERR_CLOSED) {
        return err;
    }
    return client_receive(fd, r, r->is_stream ? &printed : NULL, &reply->response, &reply->body,
                          text);
}

/* Who answers, and a hold on that process. */
static void note_peer(int fd, struct reply *reply)
{
    client_close(reply->watch);
    reply->watch = -1;
    if (client_peer_pid(fd, &reply->peer_pid) != 0 ||
        peer_watch(reply->peer_pid, &reply->watch) != 0) {
        reply->watch = -1;
    }
}

/* How a question is asked. */
struct question {
    const struct invocation *in;
    const struct request *request;
    struct buf head;
    bool only_running; /* and the one that answers is watched */
};

/* ERR_NOT_FOUND: none runs. ERR_CLOSED: one did, and went away. */
static int ask_once(const struct question *q, struct reply *reply, struct err_text *text)
{
    int fd = -1;
    bool started = false;
    int err = reach_daemon(!q->only_running && !q->in->no_start, &fd, &started, text);
    if (err != 0) {
        return err == ERR_CLOSED ? ERR_NOT_FOUND : err;
    }
    if (q->only_running) {
        note_peer(fd, reply);
    }
    err = exchange(fd, &q->head, q->request, reply, text);
    client_close(fd);
    return err;
}

/* A daemon that ends answers its waiters so; its successor knows better. */
static bool is_stopping(const struct reply *reply)
{
    return reply->response.status == 503 && strcmp(reply->response.code, "stopping") == 0;
}

static bool may_repeat(const struct request *r)
{
    return strcmp(r->method, "GET") == 0 && !r->is_stream;
}

static void say_if_uncertain(const struct request *r, int err, struct err_text *text)
{
    bool is_open = err == ERR_CLOSED || err == ERR_TIMEOUT;
    if (is_open && !may_repeat(r) && !r->is_stream) {
        char why[ERR_TEXT_MAX];
        (void)str_copy(why, sizeof(why), text->text);
        (void)err_say(text, err, "%s: see `credwarden status` for whether it was done", why);
    }
}

/* An old daemon keeps running after an upgrade until it is told. Scripts are not bothered. */
static void tell_skew(const struct invocation *in, const struct response *r)
{
    if (r->version[0] == '\0' || strcmp(r->version, CREDWARDEN_VERSION) == 0) {
        return;
    }
    if (in->command->tells_skew || stderr_is_terminal()) {
        (void)fail(EXIT_OK,
                   "credwardend %s is still running; `credwarden daemon restart` starts %s",
                   r->version, CREDWARDEN_VERSION);
    }
}

static int ask_until_answered(const struct question *q, struct reply *reply, struct err_text *text)
{
    const struct request *r = q->request;
    int err = 0;
    for (int tries = 1;; tries++) {
        if (r->is_secret) {
            buf_init_secret(&reply->body, SECRET_MAX - 1);
        } else {
            buf_init(&reply->body, r->is_stream ? STREAM_LINE_MAX : ANSWER_MAX);
        }
        err = ask_once(q, reply, text);
        bool again = err == ERR_CLOSED || (err == 0 && is_stopping(reply));
        if (!again || !may_repeat(r) || q->only_running || tries == TRIES_MAX) {
            return err;
        }
        reply_release(reply);
        pause_ms(AGAIN_PAUSE_MS);
    }
}

static const char *accepted_type(const struct invocation *in, const struct request *r)
{
    if (!in->json) {
        return "text/plain";
    }
    return r->is_stream ? "application/x-ndjson" : "application/json";
}

/* `ret_runs` not NULL: only a daemon that runs is asked. */
static enum exit_code ask_any(const struct invocation *in, struct request *r, struct reply *ret,
                              bool *ret_runs)
{
    struct err_text text = {""};
    struct question q = {.in = in, .request = r, .only_running = ret_runs != NULL};
    struct reply reply = {.watch = -1};
    enum exit_code code = EXIT_OK;
    buf_init(&q.head, REQUEST_HEAD_MAX);
    r->accept = accepted_type(in, r);
    int err = request_write(r, &q.head);
    if (err == ERR_NOMEM) {
        code = fail(EXIT_FAILED, "there is not enough memory for the request");
        goto out;
    }
    if (err != 0) {
        code = fail(EXIT_USAGE, "the arguments are longer than a request may be (%d bytes)",
                    REQUEST_HEAD_MAX);
        goto out;
    }
    err = ask_until_answered(&q, &reply, &text);
    if (ret_runs != NULL) {
        *ret_runs = err != ERR_NOT_FOUND;
        err = *ret_runs ? err : 0;
    }
    if (err != 0) {
        say_if_uncertain(r, err, &text);
        code = fail_text(reply.out_failed ? EXIT_FAILED : EXIT_DAEMON, &text);
        reply_release(&reply);
        goto out;
    }
    tell_skew(in, &reply.response);
    *ret = reply;
out:
    buf_release(&q.head);
    return code;
}

enum exit_code ask(const struct invocation *in, struct request *r, struct reply *ret)
{
    return ask_any(in, r, ret, NULL);
}

enum exit_code ask_running(const struct invocation *in, struct request *r, struct reply *ret,
                           bool *ret_runs)
{
    *ret = (struct reply){.watch = -1};
    return ask_any(in, r, ret, ret_runs);
}

static bool is_json(const struct response *r)
{
    return strstr(r->type, "json") != NULL;
}

const char *body_line(struct reply *reply)
{
    struct buf *b = &reply->body;
    while (b->len > 0 && b->bytes[b->len - 1] == '\n') {
        b->bytes[--b->len] = '\0';
    }
    return buf_text(b);
}

/* JSON goes out as it is. Of a sentence, what a terminal would obey is taken out. */
static void print_problem(const struct invocation *in, struct reply *reply,
                          const struct problem_kind *kind)
{
    const char *line = body_line(reply);
    if (is_json(&reply->response)) {
        (void)fprintf(stderr, in->json ? "%s\n" : "credwarden: %s\n",
                      in->json ? line : kind->title);
        return;
    }
    for (size_t i = 0; i < reply->body.len; i++) {
        uint8_t *c = &reply->body.bytes[i];
        *c = (*c < 0x20 && *c != '\n') || *c == 0x7f ? '?' : *c;
    }
    (void)fprintf(stderr, "credwarden: %s\n", str_is_blank(line) ? kind->title : line);
}

enum exit_code check_reply(const struct invocation *in, struct reply *reply)
{
    const struct response *r = &reply->response;
    if (!response_has_head(r) || (r->status >= 200 && r->status < 300)) {
        return EXIT_OK; /* without a head: a stream that was ended by Ctrl-C */
    }
    const struct problem_kind *kind = problem_find(r->code);
    print_problem(in, reply, kind);
    return kind->exit;
}

enum exit_code ask_and_print(const struct invocation *in, struct request *r)
{
    struct reply reply = {.watch = -1};
    struct err_text text;
    enum exit_code code = ask(in, r, &reply);
    if (code != EXIT_OK) {
        return code;
    }
    code = check_reply(in, &reply);
    /* Of a stream only a torn last line can be left, and half a line is worse than none. */
    if (code == EXIT_OK && !r->is_stream &&
        write_out(reply.body.bytes, reply.body.len, &text) != 0) {
        code = fail_text(EXIT_FAILED, &text);
    }
    reply_release(&reply);
    return code;
}

enum exit_code duration_option(const struct invocation *in, const char *name, int64_t *ret_ms)
{
    const char *value = option_value(in, name);
    if (value != NULL && duration_parse(value, ret_ms) != 0) {
        return fail(EXIT_USAGE, "'--%s %s': a duration is like 90s, 10m, 1h30m or 2d", name,
                    shown(value).text);
    }
    return EXIT_OK;
}

enum exit_code number_option(const struct invocation *in, const char *name, int64_t min)
{
    const char *value = option_value(in, name);
    int64_t number = 0;
    if (value != NULL && str_to_i64(value, min, INT64_MAX, &number) != 0) {
        return fail(EXIT_USAGE, "'--%s %s': a whole number from %lld on is expected", name,
                    shown(value).text, (long long)min);
    }
    return EXIT_OK;
}

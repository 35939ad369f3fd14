/*
 * The bench for the spender's tests: the daemon's end in this process, the real program beside it,
 * a folder for spools, a server on loopback.
 */
#ifndef TEST_SPENDER_BENCH_H
#define TEST_SPENDER_BENCH_H

#include "issuer/spender.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "issuer/spool.h"
#include "spender_server.h"
#include "sys/clock.h"

#define BOOT        "6e0a5c7e-0000-4000-8000-000000000001"
#define PATIENCE_MS 20000

#define GRANT_BODY "{\"access_token\":\"at-new\",\"refresh_token\":\"rt-new\",\"expires_in\":60}"
#define GRANT                                                                                      \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 66\r\n\r\n" GRANT_BODY
_Static_assert(sizeof(GRANT_BODY) - 1 == 66, "as the head says");

struct fixture {
    uv_loop_t loop;
    uv_timer_t patience;
    char path[64];
    int dir;
    uint8_t box_public[crypto_box_PUBLICKEYBYTES];
    uint8_t box_secret[crypto_box_SECRETKEYBYTES];
    uint8_t intent_secret[INTENT_SECRET_LEN];
    struct spender_options options;
    struct spender *spender;
    struct provider provider;
    struct server *server;
    struct secret refresh;
    uint64_t next_intent;
    int open; /* questions whose callback is awaited */
    uint64_t last_done;
    char why[REPLY_DETAIL_MAX]; /* of the last spend: spender_why() */
    bool was_rescued;
    int refusals; /* so often nobody can tell whether a spend can be taken back */
    struct buf rescued;
    struct reply reply; /* the last answer */
};

static inline void start_spender(struct fixture *f)
{
    assert_int_equal(spender_init(&f->loop, &f->options, &f->spender), 0);
}

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_true(sodium_init() >= 0);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->patience), 0);
    snprintf(f->path, sizeof(f->path), "/tmp/spender-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(crypto_box_keypair(f->box_public, f->box_secret), 0);
    randombytes_buf(f->intent_secret, sizeof(f->intent_secret));
    f->options = (struct spender_options){
        .program = SPENDER_PROGRAM,
        .idle_ms = 10000,
        .deadline_ms = 8000,
        .ask_deadline_ms = 8000,
        .margin_ms = 2000,
        .box_public = f->box_public,
    };
    f->provider = *provider_builtin("codex");
    f->provider.body = BODY_FORM;
    f->provider.access_prefix[0] = '\0';
    f->provider.refresh_prefix[0] = '\0';
    assert_int_equal(secret_set(&f->refresh, "rt-old", 6), 0);
    f->next_intent = 1;
    buf_init(&f->rescued, SPOOL_ANSWER_MAX);
    reply_init(&f->reply);
    start_spender(f);
    *state = f;
    return 0;
}

static inline void run_loop_until_closed(struct fixture *f)
{
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->server != NULL)
        atomic_store(&f->server->released, true);
    spender_free(f->spender);
    uv_close((uv_handle_t *)&f->patience, NULL);
    run_loop_until_closed(f);
    server_stop(f->server);
    uint64_t intents[512];
    int n = spool_list(f->dir, intents, 512);
    for (int i = 0; i < n; i++)
        (void)spool_remove(f->dir, intents[i]);
    close(f->dir);
    assert_int_equal(rmdir(f->path), 0);
    reply_clear(&f->reply);
    buf_release(&f->rescued);
    secret_clear(&f->refresh);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    free(f);
    return 0;
}

/* ---- Asking --------------------------------------------------------------------------------- */

static inline void on_spent(void *ctx, uint64_t intent)
{
    struct fixture *f = ctx;
    size_t len;
    const uint8_t *rescued = spender_rescued(f->spender, &len);
    f->was_rescued = rescued != NULL;
    buf_clear(&f->rescued);
    if (rescued != NULL)
        assert_int_equal(buf_add(&f->rescued, rescued, len), 0);
    (void)str_copy(f->why, sizeof(f->why), spender_why(f->spender));
    f->last_done = intent;
    f->open--;
}

static inline void on_answer(void *ctx, uint64_t id, const struct reply *reply)
{
    struct fixture *f = ctx;
    f->reply.identity = reply->identity;
    f->reply.http_status = reply->http_status;
    f->reply.retry_after_ms = reply->retry_after_ms;
    (void)str_copy(f->reply.subject, sizeof(f->reply.subject), reply->subject);
    (void)str_copy(f->reply.detail, sizeof(f->reply.detail), reply->detail);
    buf_clear(&f->reply.body);
    if (reply->body.len > 0)
        assert_int_equal(buf_add(&f->reply.body, reply->body.bytes, reply->body.len), 0);
    f->last_done = id;
    f->open--;
}

static inline void use_server(struct fixture *f, void (*behave)(struct server *, int),
                              const char *answer)
{
    f->server = server_start(behave, answer);
    snprintf(f->provider.token_url, URL_MAX, "http://127.0.0.1:%d/token", f->server->port);
    snprintf(f->provider.identity_url, URL_MAX, "http://127.0.0.1:%d/me", f->server->port);
    (void)str_copy(f->provider.subject_paths, sizeof(f->provider.subject_paths), "sub");
    snprintf(f->provider.issuer, URL_MAX, "http://127.0.0.1:%d", f->server->port);
}

static inline int try_spend(struct fixture *f, int spool_fd, uint64_t intent)
{
    struct spend_order o = {
        .intent = intent,
        .provider = &f->provider,
        .refresh = &f->refresh,
        .scope = "",
        .secret = f->intent_secret,
        .spool_fd = spool_fd,
    };
    int err = spender_spend(f->spender, &o, on_spent, f);
    if (err == 0)
        f->open++;
    return err;
}

static inline uint64_t begin_spend(struct fixture *f)
{
    uint64_t intent = f->next_intent++;
    int fd = -1;
    assert_int_equal(spool_create(f->dir, intent, BOOT, &fd), 0);
    assert_int_equal(try_spend(f, fd, intent), 0);
    return intent;
}

static inline void on_patience_over(uv_timer_t *t)
{
    (void)t;
    fail_msg("nothing came in time");
}

static inline void turn(struct fixture *f)
{
    uv_timer_start(&f->patience, on_patience_over, PATIENCE_MS, 0);
    uv_run(&f->loop, UV_RUN_ONCE);
    uv_timer_stop(&f->patience);
}

static inline void wait_for_all(struct fixture *f)
{
    while (f->open > 0)
        turn(f);
}

static inline void nothing(uv_timer_t *t)
{
    (void)t;
}

static inline void run_for(struct fixture *f, int64_t ms)
{
    int64_t end = clock_now().boot_ms + ms;
    while (clock_now().boot_ms < end) {
        uv_timer_start(&f->patience, nothing, 5, 0);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&f->patience);
}

static inline void wait_for_requests(struct fixture *f, int n)
{
    for (int i = 0; atomic_load(&f->server->requests) < n; i++) {
        assert_true(i < PATIENCE_MS / 5);
        run_for(f, 5);
    }
}

static inline enum spool_stage stage_of(struct fixture *f, uint64_t intent, struct buf *sealed)
{
    enum spool_stage stage = SPOOL_ABSENT;
    bool same_boot = false;
    struct buf unwanted;
    buf_init(&unwanted, SPOOL_ANSWER_MAX);
    assert_int_equal(spool_read(f->dir, intent, BOOT, &stage, &same_boot, NULL,
                                sealed != NULL ? sealed : &unwanted),
                     0);
    buf_release(&unwanted);
    return stage;
}

static inline void open_box(struct fixture *f, const struct buf *sealed)
{
    assert_true(sealed->len > crypto_box_SEALBYTES);
    size_t len = sealed->len - crypto_box_SEALBYTES;
    uint8_t *plain = malloc(len);
    assert_int_equal(
        crypto_box_seal_open(plain, sealed->bytes, sealed->len, f->box_public, f->box_secret), 0);
    reply_clear(&f->reply);
    reply_init(&f->reply);
    assert_int_equal(sealed_answer_decode(plain, len, f->intent_secret, &f->reply), 0);
    free(plain);
}

/* What the spool holds, opened into f->reply. */
static inline enum verdict verdict_of(struct fixture *f, uint64_t intent)
{
    struct buf sealed;
    buf_init(&sealed, SPOOL_ANSWER_MAX);
    assert_int_equal(stage_of(f, intent, &sealed), SPOOL_ANSWERED);
    open_box(f, &sealed);
    buf_release(&sealed);
    return f->reply.verdict;
}

static inline enum verdict spend(struct fixture *f)
{
    uint64_t intent = begin_spend(f);
    wait_for_all(f);
    assert_int_equal(f->last_done, intent);
    assert_false(f->was_rescued);
    return verdict_of(f, intent);
}

static inline bool secret_is(const struct secret *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->bytes, text, s->len) == 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif

/* See desk.h. One thread, one loop: libcurl's transfers, the daemon's socket, the stop signal. */
#include "issuer/spender/desk.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "issuer/spender/exchange.h"
#include "issuer/spool.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/process.h"

_Static_assert(BOX_PUBLIC_LEN == crypto_box_PUBLICKEYBYTES, "the vault's public key");
_Static_assert(SEALED_ANSWER_MAX + crypto_box_SEALBYTES <= SPOOL_ANSWER_MAX, "fits the spool");

enum stage {
    STAGE_UNDER_WAY, /* libcurl has it */
    STAGE_UNREAD,    /* a spend's answer that there was no memory to read and seal */
    STAGE_UNSTORED,  /* one that is not yet in the spool */
    STAGE_REPORTING, /* its message waits for room in the socket */
};

struct task {
    struct task *next;
    enum stage stage;
    struct wire_question q;
    struct provider provider;
    int spool_fd; /* -1 for asks, and once the lock was dropped */
    int attempt;
    struct exchange x;
    struct http_outcome outcome; /* STAGE_UNREAD: what x came to, */
    struct now heard;            /* and when */
    int64_t begun_boot_ms;
    int64_t due_run_ms; /* on the clock of the desk's turns */
    struct buf plain;   /* secret: sealed_answer's plaintext */
    struct buf sealed;  /* the box */
    int spool_tries;
    int64_t next_try_boot_ms;
    int64_t give_up_boot_ms;
    bool is_rescue;     /* the message is the sealed answer itself */
    struct buf message; /* secret: the answer on the wire */
};

struct desk {
    const struct desk_options *o;
    CURLM *multi;
    struct task *tasks;
    int n_tasks;
    int64_t run_ms;       /* how long we have been running, turn by turn */
    int64_t turn_boot_ms; /* when this turn began */
    bool is_closed;       /* no more questions come */
    bool is_unheard;      /* nor is anybody there to hear an answer */
    bool is_stopping;
    int err;
    uint8_t *packet; /* PACKET_MAX of secret memory: what is received */
};

static int64_t boot_ms(void)
{
    return clock_now().boot_ms;
}

static void tell(const struct desk *d, const struct task *t, const char *what, const char *detail)
{
    if (d->o->verbose)
        fprintf(stderr, "credwarden-spender: question %" PRIu64 ": %s%s%s (%" PRId64 " ms)\n",
                t->q.id, what, detail[0] != '\0' ? ": " : "", detail, boot_ms() - t->begun_boot_ms);
}

/* ---- Tasks ---------------------------------------------------------------------------------- */

static void task_free(struct task *t)
{
    if (t == NULL)
        return;
    exchange_clear(&t->x);
    wire_question_clear(&t->q);
    buf_release(&t->plain);
    buf_release(&t->sealed);
    buf_release(&t->message);
    fd_close(&t->spool_fd);
    free(t);
}

static void task_drop(struct desk *d, struct task *t)
{
    struct task **at = &d->tasks;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    d->n_tasks--;
    if (t->stage == STAGE_UNDER_WAY)
        exchange_cancel(&t->x, d->multi);
    task_free(t);
}

/* The last moment before the first byte may leave. */
static int on_sending(void *ctx)
{
    struct task *t = ctx;
    return t->q.ask == ASK_SPEND ? spool_start(t->spool_fd) : 0;
}

/* Takes over `spool_fd`. */
static struct task *task_new(int spool_fd)
{
    struct task *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        fd_close(&spool_fd);
        return NULL;
    }
    t->spool_fd = spool_fd;
    t->q.provider = &t->provider;
    exchange_init(&t->x, on_sending, t);
    buf_init_secret(&t->plain, SEALED_ANSWER_MAX);
    buf_init(&t->sealed, SEALED_ANSWER_MAX + crypto_box_SEALBYTES);
    buf_init_secret(&t->message, PACKET_MAX);
    return t;
}

/* Memory that must not be missing once the server has committed. */
static int reserve_for_answer(struct task *t)
{
    bool there = buf_reserve(&t->x.body, REPLY_RECORD_MAX) != NULL &&
                 buf_reserve(&t->plain, t->plain.max) != NULL &&
                 buf_reserve(&t->sealed, t->sealed.max) != NULL;
    return there ? 0 : ERR_NOMEM;
}

/* ---- Answers -------------------------------------------------------------------------------- */

/* Nobody hears us, or we cannot speak. Only flags: the loop draws the conclusions. */
static void hang_up(struct desk *d, int err)
{
    d->is_unheard = true;
    if (err < 0)
        d->err = err;
    (void)shutdown(d->o->socket_fd, SHUT_RDWR);
}

static void report_later(struct desk *d, struct task *t, const struct wire_answer *a)
{
    buf_clear(&t->message);
    t->stage = STAGE_REPORTING;
    int err = wire_answer_encode(a, &t->message);
    /* Without memory for a message there is no going on: our exit answers everything. */
    if (err < 0)
        hang_up(d, err);
}

/* The lock goes before the message: the daemon is about to look into the spool. */
static void report_spend(struct desk *d, struct task *t)
{
    fd_close(&t->spool_fd);
    t->is_rescue = false;
    report_later(d, t, &(struct wire_answer){.id = t->q.id, .ask = ASK_SPEND});
}

/* The sealed answer itself. The lock stays until it is sent: if nobody hears it, the spool is still
 * the only place for it. */
static void report_rescued(struct desk *d, struct task *t)
{
    t->is_rescue = true;
    report_later(d, t,
                 &(struct wire_answer){
                     .id = t->q.id,
                     .ask = ASK_SPEND,
                     .rescued = t->sealed.bytes,
                     .rescued_len = t->sealed.len,
                 });
}

/* Send what waits; a task ends when its answer is in the socket, or lies in the spool and nobody
 * hears of it. */
static void flush_reports(struct desk *d)
{
    for (struct task *t = d->tasks, *next; t != NULL; t = next) {
        next = t->next;
        if (t->stage != STAGE_REPORTING)
            continue;
        int err = d->is_unheard
                      ? ERR_CLOSED
                      : packet_send(d->o->socket_fd, t->message.bytes, t->message.len, -1);
        if (err == ERR_AGAIN)
            return;
        if (err < 0 && !d->is_unheard)
            hang_up(d, err == ERR_CLOSED ? 0 : err);
        if (err < 0 && t->is_rescue)
            t->stage = STAGE_UNSTORED;
        else
            task_drop(d, t);
    }
}

static void report_ask(struct desk *d, struct task *t, const struct reply *r)
{
    struct buf record;
    buf_init_secret(&record, REPLY_RECORD_MAX);
    int err = reply_encode(r, &record);
    if (err == ERR_TOO_LARGE) {
        struct reply small;
        reply_init(&small);
        small.ask = r->ask;
        small.identity = IDENTITY_UNANSWERED;
        (void)str_copy(small.detail, sizeof(small.detail), "the answer is too large");
        buf_clear(&record);
        err = reply_encode(&small, &record);
        reply_clear(&small);
    }
    if (err < 0)
        hang_up(d, err);
    struct wire_answer a = {
        .id = t->q.id,
        .ask = t->q.ask,
        .reply = (const uint8_t *)buf_text(&record),
        .reply_len = record.len,
    };
    report_later(d, t, &a);
    buf_release(&record);
}

/* Try to make a spend's answer durable. */
static void store(struct desk *d, struct task *t)
{
    int err = spool_answer(t->spool_fd, t->sealed.bytes, t->sealed.len);
    if (err == 0) {
        report_spend(d, t);
        return;
    }
    tell(d, t, "the spool cannot be written", err_reason(err));
    t->stage = STAGE_UNSTORED;
    t->spool_tries++;
    t->next_try_boot_ms = boot_ms() + RETRY_MS;
    if (!d->is_unheard && t->spool_tries >= SPOOL_TRIES)
        report_rescued(d, t);
    else if (boot_ms() >= t->give_up_boot_ms)
        task_drop(d, t);
}

static int seal(struct task *t, const struct reply *r)
{
    buf_clear(&t->plain);
    int err = sealed_answer_encode(t->q.secret, r, &t->plain);
    if (err < 0)
        return err;
    buf_clear(&t->sealed);
    size_t len = t->plain.len + crypto_box_SEALBYTES;
    uint8_t *room = buf_reserve(&t->sealed, len);
    if (room == NULL)
        return ERR_NOMEM;
    /* Fails only for a public key that is no point of the curve, which begin() has refused. */
    CHECK(crypto_box_seal(room, t->plain.bytes, t->plain.len, t->q.box_public) == 0);
    buf_commit(&t->sealed, len);
    buf_clear(&t->plain);
    return 0;
}

/* `err`: of seal(). */
static void answer_spend(struct desk *d, struct task *t, int err)
{
    t->give_up_boot_ms = boot_ms() + SPOOL_PATIENCE_MS;
    if (err < 0) {
        /* Report without an answer: the spool says STARTED, so the spend is in doubt. */
        tell(d, t, "the answer cannot be sealed", err_reason(err));
        report_spend(d, t);
        return;
    }
    store(d, t);
}

/* ERR_NOMEM: see reply_of_spend(). What is only asked is asked again by who wants to know. */
static int interpret(const struct task *t, const struct http_outcome *o, struct reply *r)
{
    switch (t->q.ask) {
    case ASK_SPEND:
        return reply_of_spend(&t->provider, o, r);
    case ASK_IDENTITY:
        reply_of_identity(&t->provider, o, &t->q.token, r);
        break;
    case ASK_USAGE:
        reply_of_usage(&t->provider, o, r);
        break;
    case ASK_METADATA:
        reply_of_metadata(o, r);
        break;
    case ASK_COUNT:
        break;
    }
    return 0;
}

/* The answer stays as it came, where it is. false: it has for too long. */
static bool read_later(struct task *t, const struct http_outcome *o, struct now now)
{
    int64_t at = boot_ms();
    if (t->stage != STAGE_UNREAD) {
        t->stage = STAGE_UNREAD;
        t->outcome = *o;
        t->heard = now;
        t->give_up_boot_ms = at + READ_PATIENCE_MS;
    }
    t->next_try_boot_ms = at + RETRY_MS;
    return at < t->give_up_boot_ms;
}

static void answer(struct desk *d, struct task *t, const struct http_outcome *o, struct now now)
{
    struct reply r;
    bool is_spent = t->q.ask == ASK_SPEND && !t->x.refused_to_send;
    reply_init(&r);
    int err = interpret(t, o, &r);
    r.received_wall_ms = now.wall_ms;
    r.received_boot_ms = now.boot_ms;
    r.sent_boot_ms = t->x.sent_boot_ms;
    if (is_spent && err == 0)
        err = seal(t, &r);
    if (is_spent && err == ERR_NOMEM && read_later(t, o, now)) {
        reply_clear(&r);
        return;
    }
    if (is_spent && err == ERR_NOMEM)
        err = seal(t, &r); /* at least its doubt, with the reason */
    tell(d, t, t->q.ask == ASK_SPEND ? verdict_name(r.verdict) : identity_name(r.identity),
         r.detail);
    if (is_spent)
        answer_spend(d, t, err);
    else if (t->q.ask == ASK_SPEND)
        report_spend(d, t); /* nothing was sent, and the spool's own word for that stands */
    else
        report_ask(d, t, &r);
    reply_clear(&r);
}

/* ---- Exchanges ------------------------------------------------------------------------------ */

static int begin_exchange(struct desk *d, struct task *t)
{
    int64_t left_ms = t->due_run_ms - d->run_ms;
    int err = request_build(&t->q, t->attempt, &t->x.request);
    if (err == 0 && left_ms <= 0)
        err = ERR_TIMEOUT;
    return err < 0 ? err : exchange_start(&t->x, d->multi, left_ms);
}

/* It never reached libcurl. */
static void answer_unsent(struct desk *d, struct task *t, int err)
{
    snprintf(t->x.failure, sizeof(t->x.failure), "the request cannot be made: %s", err_reason(err));
    struct http_outcome o = {.failure = t->x.failure, .body = ""};
    answer(d, t, &o, clock_now());
}

/* Metadata has a second place to look at, when the first one says that it is not there. */
static bool try_elsewhere(struct desk *d, struct task *t, const struct http_outcome *o)
{
    if (t->q.ask != ASK_METADATA || !o->complete || o->status < 400 || o->status > 499 ||
        t->attempt + 1 >= REQUEST_TRIES_MAX)
        return false;
    t->attempt++;
    exchange_clear(&t->x);
    exchange_init(&t->x, on_sending, t);
    int err = begin_exchange(d, t);
    if (err < 0)
        answer_unsent(d, t, err);
    return true;
}

static void finish_exchange(struct desk *d, struct task *t, CURLcode result)
{
    struct now now = clock_now();
    struct http_outcome o;
    exchange_finish(&t->x, d->multi, result, now.wall_ms, &o);
    if (!try_elsewhere(d, t, &o))
        answer(d, t, &o, now);
}

static void run_exchanges(struct desk *d)
{
    int running, left;
    /* What it could not go on with is tried at the next turn, and over at its deadline. */
    (void)curl_multi_perform(d->multi, &running);
    CURLMsg *msg;
    while ((msg = curl_multi_info_read(d->multi, &left)) != NULL)
        if (msg->msg == CURLMSG_DONE) {
            struct task *t = NULL;
            CURLcode known = curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&t);
            CHECK(known == CURLE_OK);
            finish_exchange(d, t, msg->data.result);
        }
}

/* After what has arrived was read. */
static void end_overdue(struct desk *d)
{
    for (struct task *t = d->tasks, *next; t != NULL; t = next) {
        next = t->next;
        if (t->stage == STAGE_UNDER_WAY && t->due_run_ms <= d->run_ms)
            finish_exchange(d, t, CURLE_OPERATION_TIMEDOUT);
    }
}

/* ---- Questions ------------------------------------------------------------------------------ */

static bool public_key_is_usable(const uint8_t public[BOX_PUBLIC_LEN])
{
    uint8_t box[crypto_box_SEALBYTES + 1];
    return crypto_box_seal(box, (const uint8_t *)"", 1, public) == 0;
}

static void begin(struct desk *d, struct task *t)
{
    t->next = d->tasks;
    d->tasks = t;
    d->n_tasks++;
    t->begun_boot_ms = boot_ms();
    t->due_run_ms = d->run_ms + t->q.deadline_ms;
    tell(d, t, "received", t->provider.name);
    int err = t->q.ask == ASK_SPEND ? reserve_for_answer(t) : 0;
    if (err == 0)
        err = begin_exchange(d, t);
    if (err < 0)
        answer_unsent(d, t, err);
}

/* When no more questions come, the daemon is gone or we are: what was asked for its own sake is of
 * no use to anybody. Spends are finished. */
static void drop_unwanted(struct desk *d)
{
    for (struct task *t = d->tasks, *next; d->is_closed && t != NULL; t = next) {
        next = t->next;
        if (t->q.ask != ASK_SPEND && t->stage == STAGE_UNDER_WAY)
            task_drop(d, t);
    }
}

/* One packet. Takes over `spool_fd`. */
static int take_packet(struct desk *d, size_t len, int spool_fd)
{
    if (d->n_tasks >= WIRE_QUESTIONS_MAX) {
        fd_close(&spool_fd);
        return ERR_BUSY;
    }
    struct task *t = task_new(spool_fd);
    if (t == NULL)
        return ERR_NOMEM;
    int err = wire_question_decode(d->packet, len, &t->provider, &t->q);
    bool is_spend = err == 0 && t->q.ask == ASK_SPEND;
    if (err == 0 && is_spend != (t->spool_fd >= 0))
        err = ERR_INVALID;
    if (is_spend && !public_key_is_usable(t->q.box_public))
        err = ERR_INVALID;
    if (err < 0) {
        task_free(t); /* with the lock: its spool says PREPARED */
        return err;
    }
    begin(d, t);
    return 0;
}

static void take_questions(struct desk *d)
{
    bool was_reset = false;
    while (!d->is_closed) {
        int spool_fd = -1;
        int n = packet_recv(d->o->socket_fd, d->packet, PACKET_MAX, &spool_fd);
        if (n == ERR_AGAIN)
            return;
        /* A daemon that died with something of ours unread is reported once, and before the
         * questions it had still asked: they are read next. */
        if (n == ERR_CLOSED && !was_reset) {
            was_reset = true;
            continue;
        }
        if (n > 0) {
            int err = take_packet(d, (size_t)n, spool_fd);
            secret_wipe(d->packet, (size_t)n);
            if (err < 0) {
                d->err = err;
                d->is_closed = true;
                (void)shutdown(d->o->socket_fd, SHUT_RD);
            }
        } else {
            fd_close(&spool_fd);
            d->is_closed = true;
        }
    }
}

/* ---- The loop ------------------------------------------------------------------------------- */

/* Told to stop: refuse what comes (the daemon's send then fails, so it knows that it was not
 * taken), still take what has been sent already. The end of the socket follows from itself. */
static void look_for_stop(struct desk *d, short events)
{
    if (events == 0 || d->is_stopping)
        return;
    d->is_stopping = true;
    (void)shutdown(d->o->socket_fd, SHUT_RD);
}

static void try_again(struct desk *d)
{
    int64_t now = boot_ms();
    for (struct task *t = d->tasks, *next; t != NULL; t = next) {
        next = t->next;
        if (t->next_try_boot_ms > now)
            continue;
        if (t->stage == STAGE_UNREAD)
            answer(d, t, &t->outcome, t->heard);
        else if (t->stage == STAGE_UNSTORED)
            store(d, t);
    }
}

/* A loop that is stuck (a bug, in us or in a library) would hold its locks for ever, and every
 * daemon to come would wait for them. Wound at each turn; the signal's default action ends us. What
 * is unanswered by then is in doubt, and doubt can be resolved. But who was merely stopped gets the
 * signal, too, on going on: so the first one winds it again, and only the second one ends us. */
static void on_first_alarm(int number)
{
    (void)number;
    (void)alarm(WATCHDOG_S);
}

static void wind_watchdog(void)
{
    struct sigaction once = {.sa_handler = on_first_alarm, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGALRM, &once, NULL);
    (void)alarm(WATCHDOG_S);
}

static void count_turn(struct desk *d)
{
    int64_t now = boot_ms();
    int64_t took_ms = now - d->turn_boot_ms;
    d->turn_boot_ms = now;
    d->run_ms += took_ms < 2 * TURN_ASKING_MS ? took_ms : 2 * TURN_ASKING_MS;
}

/* Until the next deadline. */
static int time_for_answers(const struct desk *d)
{
    int64_t least_ms = TURN_MAX_MS;
    for (const struct task *t = d->tasks; t != NULL; t = t->next) {
        int64_t left_ms = t->due_run_ms - d->run_ms;
        if (t->stage != STAGE_UNDER_WAY)
            continue;
        if (left_ms < least_ms)
            least_ms = left_ms;
        if (least_ms > TURN_ASKING_MS)
            least_ms = TURN_ASKING_MS;
    }
    return least_ms > 0 ? (int)least_ms : 0;
}

static void rest(int ms)
{
    struct timespec t = {.tv_nsec = ms * 1000000L};
    (void)nanosleep(&t, NULL);
}

/* Where nobody can wait (no memory, no room in the kernel), the turns go on blindly: what has come
 * is seen all the same, and what is in hand must not end with us. */
static void wait_for_something(struct desk *d)
{
    int timeout_ms = time_for_answers(d);
    short socket_events = d->is_closed ? 0 : CURL_WAIT_POLLIN;
    for (const struct task *t = d->tasks; t != NULL; t = t->next) {
        bool is_waiting = t->stage == STAGE_UNREAD || t->stage == STAGE_UNSTORED;
        if (is_waiting && timeout_ms > RETRY_MS)
            timeout_ms = RETRY_MS;
        if (t->stage == STAGE_REPORTING)
            socket_events |= CURL_WAIT_POLLOUT;
    }
    struct curl_waitfd fds[2];
    unsigned n = 0;
    if (socket_events != 0)
        fds[n++] = (struct curl_waitfd){.fd = d->o->socket_fd, .events = socket_events};
    struct curl_waitfd *stop = &fds[n];
    *stop = (struct curl_waitfd){.fd = d->o->stop_fd, .events = CURL_WAIT_POLLIN};
    if (!d->is_stopping)
        n++;
    int ready;
    if (curl_multi_poll(d->multi, fds, n, timeout_ms, &ready) != CURLM_OK)
        rest(timeout_ms < BLIND_TURN_MS ? timeout_ms : BLIND_TURN_MS);
    look_for_stop(d, stop->revents);
}

static int say_hello(const struct desk_options *o, const struct sandbox_facts *sandbox)
{
    struct wire_hello h = {.version = CREDWARDEN_VERSION, .sandbox = *sandbox};
    struct buf message;
    buf_init(&message, 4096);
    int err = wire_hello_encode(&h, &message);
    if (err == 0)
        err = packet_send(o->socket_fd, message.bytes, message.len, -1);
    buf_release(&message);
    return err == ERR_CLOSED ? 0 : err; /* gone already, but it may have left questions */
}

int desk_run(const struct desk_options *o, const struct sandbox_facts *sandbox)
{
    struct desk d = {
        .o = o,
        .multi = curl_multi_init(),
        .packet = secret_alloc(PACKET_MAX),
        .turn_boot_ms = boot_ms(),
    };
    int err = d.multi == NULL || d.packet == NULL ? ERR_NOMEM : say_hello(o, sandbox);
    while (err == 0 && !(d.is_closed && d.tasks == NULL)) {
        wind_watchdog();
        wait_for_something(&d);
        count_turn(&d);
        take_questions(&d);
        drop_unwanted(&d);
        run_exchanges(&d);
        end_overdue(&d);
        try_again(&d);
        flush_reports(&d);
    }
    curl_multi_cleanup(d.multi);
    secret_free(d.packet);
    return err < 0 ? err : d.err;
}

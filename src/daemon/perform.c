/*
 * Effect → part: carries out what the core decided, and nothing else. What must be durable is a job
 * on the store's thread; its `done` is the event that says so.
 */
#include "daemon/places.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "issuer/spool.h"
#include "sys/file.h"

/* A job for the store on behalf of one lineage. Its inputs are copies: the loop goes on. */
struct task {
    struct store_job job;
    struct daemon *d;
    struct holding *h;
    int spool_dir_fd;
    int spool_fd;
    bool keep_spool;
    uint64_t generation;
    char boot_id[BOOT_ID_SIZE];
    char detail[REPLY_DETAIL_MAX];
    char text[STORE_SUBJECT_MAX], label[STORE_LABEL_MAX];
    char profile[NAME_MAX_LEN + 1];
    struct tokens tokens;
    struct buf sealed;
    bool raised;
    enum alarm alarm;
    union {
        struct intent intent;
        struct settlement settlement;
        struct closing closing;
        struct {
            enum standing standing;
            struct fp subject;
            enum policy policy;
        } adoption;
    };
    int64_t now_wall_ms;
};

static struct task *task_new(struct daemon *d, struct holding *h,
                             int (*run)(struct store *, struct store_job *),
                             void (*done)(struct store_job *, int))
{
    struct task *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->job.run = run;
    t->job.done = done;
    t->d = d;
    t->h = h;
    t->spool_dir_fd = d->spool_dir_fd;
    t->spool_fd = -1;
    t->now_wall_ms = clock_now().wall_ms;
    buf_init(&t->sealed, STORE_SEALED_MAX);
    (void)str_copy(t->boot_id, sizeof(t->boot_id), d->boot_id);
    h->jobs++;
    return t;
}

static void task_free(struct task *t)
{
    struct daemon *d = t->d;
    struct holding *h = t->h;
    fd_close(&t->spool_fd);
    tokens_clear(&t->tokens);
    buf_release(&t->sealed);
    free(t);
    holding_job_done(d, h);
}

static void store_failed(struct daemon *d, uint64_t lineage, uint64_t intent, const char *what,
                         int err)
{
    struct holding *h = holding_find(d, lineage);
    log_line(d, LOG_ERROR, "%s: the store failed: %s", what, err_reason(err));
    if (h)
        (void)snprintf(h->write_detail, sizeof(h->write_detail), "%s: %s", what, err_reason(err));
    struct event ev = event_of(EV_STORE_FAILED, lineage);
    ev.intent = intent;
    ev.err = err;
    drive(d, &ev);
}

/* false: nothing is under way; the core has been told that the write failed. */
static bool submit(struct daemon *d, const struct effect *fx, struct task *t, const char *what)
{
    int err = t ? store_queue_submit(d->store, &t->job) : ERR_NOMEM;
    if (err == 0)
        return true;
    if (t)
        task_free(t);
    store_failed(d, fx->lineage, fx->intent, what, err);
    return false;
}

/* Intent: room for the answer first, then the row. Both durable, or neither is left. */
static int intent_run(struct store *s, struct store_job *job)
{
    struct task *t = (struct task *)job;
    int err = spool_create(t->spool_dir_fd, t->intent.id, t->boot_id, &t->spool_fd);
    if (err < 0)
        return err;
    err = store_intent(s, &t->intent);
    if (err < 0) {
        fd_close(&t->spool_fd);
        (void)spool_remove(t->spool_dir_fd, t->intent.id);
    }
    return err;
}

static void intent_done(struct store_job *job, int err)
{
    struct task *t = (struct task *)job;
    struct daemon *d = t->d;
    struct holding *h = t->h;
    if (err < 0) {
        store_failed(d, h->lineage, t->intent.id, "intent", err);
    } else {
        h->intent = t->intent.id;
        h->keep_spool = false;
        h->intent_same_boot = true;
        h->spool_fd = t->spool_fd;
        t->spool_fd = -1;
        struct event ev = event_of(EV_INTENT_DURABLE, h->lineage);
        ev.intent = t->intent.id;
        drive(d, &ev);
    }
    task_free(t);
}

static const char *cause_of(struct daemon *d, const struct holding *h, const struct effect *fx)
{
    struct view v;
    if (fx->replay)
        return "in doubt: once more";
    if (!warden_view(d->warden, h->lineage, clock_now(), &v))
        return "due";
    if (v.tries > 0)
        return "tried again";
    return v.waiters > 0 && v.next_spend_boot_ms > clock_now().boot_ms ? "asked for" : "due";
}

static void perform_store_intent(struct daemon *d, struct holding *h, const struct effect *fx)
{
    struct task *t = task_new(d, h, intent_run, intent_done);
    if (t) {
        t->intent = (struct intent){
            .id = fx->intent,
            .lineage = fx->lineage,
            .fence = fx->fence,
            .generation = fx->generation,
            .presented = fx->presented,
            .replay = fx->replay,
            .boot_id = t->boot_id,
            .now_wall_ms = t->now_wall_ms,
            .cause = cause_of(d, h, fx),
        };
    }
    (void)submit(d, fx, t, "intent");
}

static void unsent(struct daemon *d, struct holding *h, const char *why)
{
    (void)str_copy(h->spend_detail, sizeof(h->spend_detail), why);
    struct event ev = event_of(EV_ANSWER, h->lineage);
    ev.intent = h->intent;
    ev.answer.verdict = VERDICT_UNSENT;
    drive(d, &ev);
}

static void perform_spend(struct daemon *d, struct holding *h, const struct effect *fx)
{
    struct tokens pair = {0};
    uint8_t secret[VAULT_INTENT_SECRET_LEN];
    const char *why = NULL;
    char text[REPLY_DETAIL_MAX];
    if (buf_reserve(&h->rescued, SPOOL_ANSWER_MAX) == NULL) {
        why = "there is not enough memory for the answer"; /* nor would there be afterwards */
        goto out;
    }
    int opened = fx->generation == h->generation ? holding_unseal(d, h, &pair) : ERR_CORRUPT;
    if (opened < 0) {
        why = opened == ERR_NOMEM ? "there is not enough memory to open the pair in the store"
                                  : "the pair in the store does not open";
        goto out;
    }
    /* The last look before the one act that cannot be undone: the bytes are what was decided on. */
    if (!fp_equal(vault_fingerprint(d->vault, &pair.refresh), fx->presented)) {
        why = "the pair in the store is not the one the intent names";
        goto out;
    }
    vault_intent_secret(d->vault, fx->intent, secret);
    struct spend_order order = {
        .intent = fx->intent,
        .provider = &h->provider,
        .refresh = &pair.refresh,
        .scope = pair.scope,
        .secret = secret,
        .spool_fd = h->spool_fd,
    };
    h->spool_fd = -1;
    int err = spender_spend(d->spender, &order, intake_spent, d);
    if (err < 0) {
        (void)snprintf(text, sizeof(text), "the spender cannot be asked: %s", err_reason(err));
        why = text;
    }
    secret_wipe(secret, sizeof(secret));
out:
    tokens_clear(&pair);
    if (why) {
        log_line(d, LOG_ERROR, "%s: %s", h->profile, why);
        fd_close(&h->spool_fd);
        unsent(d, h, why);
    }
}

static void spend_is_over(struct holding *h)
{
    h->intent = 0;
    reply_clear(&h->answer);
    buf_release(&h->rescued);
}

/* What the answer did not say stays as it was. */
static int complete_tokens(struct daemon *d, struct holding *h, struct tokens *ret)
{
    struct tokens old = {0};
    int err = holding_unseal(d, h, &old);
    if (err == 0 && ret->refresh.len == 0)
        secret_move(&ret->refresh, &old.refresh);
    if (err == 0)
        tokens_complete(ret, &old);
    tokens_clear(&old);
    return err;
}

static int settle_run(struct store *s, struct store_job *job)
{
    struct task *t = (struct task *)job;
    int err = store_settle(s, &t->settlement);
    if (err == 0) /* a file that stays behind is swept at the next start */
        (void)spool_remove(t->spool_dir_fd, t->settlement.intent);
    return err;
}

static void settle_done(struct store_job *job, int err)
{
    struct task *t = (struct task *)job;
    struct daemon *d = t->d;
    struct holding *h = t->h;
    if (err == 0)
        err = holding_take(h, t->generation, &t->tokens, &t->sealed);
    if (err < 0) {
        store_failed(d, h->lineage, t->settlement.intent, "settlement", err);
    } else {
        spend_is_over(h);
        char left[32];
        duration_format(t->settlement.pair.life_ms, left, sizeof(left));
        journal(d, h, "renewed", "generation %llu, lasts %s%s", (unsigned long long)h->generation,
                t->settlement.pair.life_ms ? left : "as long as the server says",
                t->settlement.origin == ORIGIN_RECOVERED ? ", recovered after a restart" : "");
        struct event ev = event_of(EV_SETTLED, h->lineage);
        ev.intent = t->settlement.intent;
        drive(d, &ev);
    }
    task_free(t);
}

static void perform_settle(struct daemon *d, struct holding *h, const struct effect *fx)
{
    struct task *t = task_new(d, h, settle_run, settle_done);
    int err = t ? tokens_copy(&h->answer.tokens, &t->tokens) : ERR_NOMEM;
    if (err == 0)
        err = complete_tokens(d, h, &t->tokens);
    if (err == 0)
        err = vault_seal(d->vault, h->lineage, fx->generation, &t->tokens, &t->sealed);
    if (err < 0) {
        if (t)
            task_free(t);
        store_failed(d, h->lineage, fx->intent, "settlement", err);
        return;
    }
    t->generation = fx->generation;
    (void)str_copy(t->detail, sizeof(t->detail), h->spend_detail);
    t->settlement = (struct settlement){
        .intent = fx->intent,
        .lineage = fx->lineage,
        .fence = fx->fence,
        .generation = fx->generation,
        .pair = fx->pair,
        .expires_boot_ms = fx->expires_boot_ms == TIME_NEVER ? 0 : fx->expires_boot_ms,
        .boot_id = t->boot_id,
        .origin = fx->origin,
        .standing = fx->standing,
        .sealed = t->sealed.bytes,
        .sealed_len = t->sealed.len,
        .detail = t->detail,
        .now_wall_ms = t->now_wall_ms,
    };
    (void)submit(d, fx, t, "settlement");
}

/* What cannot be understood is out of the way before its intent is closed: found beside a closed
 * one, the next start would take it for a leftover and delete it. */
static int closing_run(struct store *s, struct store_job *job)
{
    struct task *t = (struct task *)job;
    int err = t->keep_spool ? spool_set_aside(t->spool_dir_fd, t->closing.intent) : 0;
    if (err == 0)
        err = store_close_intent(s, &t->closing);
    if (err == 0) /* a file that stays behind is swept at the next start */
        (void)spool_remove(t->spool_dir_fd, t->closing.intent);
    return err;
}

static void closing_done(struct store_job *job, int err)
{
    struct task *t = (struct task *)job;
    struct daemon *d = t->d;
    struct holding *h = t->h;
    if (err < 0) {
        store_failed(d, h->lineage, t->closing.intent, "outcome of a spend", err);
    } else {
        spend_is_over(h);
        journal(d, h, verdict_name(t->closing.verdict), "%s", t->detail);
        struct event ev = event_of(EV_CLOSED, h->lineage);
        ev.intent = t->closing.intent;
        drive(d, &ev);
    }
    task_free(t);
}

static void perform_close(struct daemon *d, struct holding *h, const struct effect *fx)
{
    struct task *t = task_new(d, h, closing_run, closing_done);
    fd_close(&h->spool_fd);
    if (t) {
        t->keep_spool = h->keep_spool;
        (void)str_copy(t->detail, sizeof(t->detail), h->spend_detail);
        t->closing = (struct closing){
            .intent = fx->intent,
            .lineage = fx->lineage,
            .verdict = fx->verdict,
            .standing = fx->standing,
            .replayed = fx->replayed,
            .detail = t->detail,
            .now_wall_ms = t->now_wall_ms,
        };
    }
    (void)submit(d, fx, t, "outcome of a spend");
}

static int adopt_run(struct store *s, struct store_job *job)
{
    struct task *t = (struct task *)job;
    return store_adopt(s, t->h->lineage, t->adoption.standing, t->adoption.subject, t->text,
                       t->label, t->profile[0] ? t->profile : NULL, t->adoption.policy,
                       t->now_wall_ms);
}

/* The lineage that the name pointed at is not ended here: it may have a spend in flight. The core
 * retires it when it is at rest. */
static void take_over_name(struct daemon *d, struct holding *h, const char *profile)
{
    struct holding *before = holding_by_profile(d, profile);
    (void)str_copy(h->profile, sizeof(h->profile), profile);
    if (!before || before == h)
        return;
    h->created_wall_ms = before->created_wall_ms;
    before->profile[0] = '\0';
    struct event ev = event_of(EV_REMOVE, before->lineage);
    drive(d, &ev);
}

static void adopt_done(struct store_job *job, int err)
{
    struct task *t = (struct task *)job;
    struct daemon *d = t->d;
    struct holding *h = t->h;
    if (err < 0) {
        store_failed(d, h->lineage, 0, "adoption", err);
        task_free(t);
        return;
    }
    h->was_adopted = true;
    (void)str_copy(h->subject, sizeof(h->subject), t->text);
    (void)str_copy(h->label, sizeof(h->label), t->label);
    if (t->profile[0]) {
        h->created_wall_ms = t->now_wall_ms;
        take_over_name(d, h, t->profile);
    }
    journal(d, h, t->profile[0] ? "added" : "quarantined", "provider %s, subject %s, from %s",
            h->provider.name, t->text[0] ? t->text : "not known", h->source);
    struct event ev = event_of(EV_ADOPTED, h->lineage);
    drive(d, &ev);
    h->wanted_profile[0] = '\0';
    task_free(t);
}

static void perform_adopt(struct daemon *d, struct holding *h, const struct effect *fx)
{
    struct task *t = task_new(d, h, adopt_run, adopt_done);
    if (t) {
        bool named = !fp_is_none(fx->subject);
        (void)str_copy(t->text, sizeof(t->text), named ? h->asked_subject : "");
        (void)str_copy(t->label, sizeof(t->label), named ? h->asked_label : "");
        if (fx->standing == STANDING_LIVE)
            (void)str_copy(t->profile, sizeof(t->profile), h->wanted_profile);
        t->adoption.standing = fx->standing;
        t->adoption.subject = fx->subject;
        t->adoption.policy = h->wanted_policy;
    }
    (void)submit(d, fx, t, "adoption");
}

static int retire_run(struct store *s, struct store_job *job)
{
    struct task *t = (struct task *)job;
    return store_retire(s, t->h->lineage, t->detail, t->now_wall_ms);
}

static void retire_done(struct store_job *job, int err)
{
    struct task *t = (struct task *)job;
    struct daemon *d = t->d;
    struct holding *h = t->h;
    struct view v;
    if (err < 0 && !warden_view(d->warden, h->lineage, clock_now(), &v)) {
        /* The core had no room for it and never knew it. The next start retires it. */
        log_line(d, LOG_ERROR, "retirement: the store failed: %s", err_reason(err));
        holding_drop(d, h);
    } else if (err < 0) {
        store_failed(d, h->lineage, 0, "retirement", err);
    } else {
        if (h->profile[0]) {
            journal(d, h, "removed", "the pair is wiped, its history kept");
            places_leave(d, h->profile);
        }
        struct event ev = event_of(EV_RETIRED, h->lineage);
        drive(d, &ev);
        holding_drop(d, h);
    }
    task_free(t);
}

static void perform_retire(struct daemon *d, struct holding *h, const struct effect *fx)
{
    struct task *t = task_new(d, h, retire_run, retire_done);
    if (t)
        (void)str_copy(t->detail, sizeof(t->detail),
                       h->profile[0]    ? "removed"
                       : h->was_adopted ? "replaced by a new login"
                                        : "never adopted");
    h->wanted_profile[0] = '\0'; /* who was refused may try again at once */
    (void)submit(d, fx, t, "retirement");
}

static int alarm_run(struct store *s, struct store_job *job)
{
    struct task *t = (struct task *)job;
    return store_alarm(s, t->h->lineage, t->alarm, t->raised, t->detail, t->now_wall_ms);
}

/* The core's own bits are what counts; a row that could not be written is raised again at the next
 * start, because the state that caused it is stored. */
static void alarm_done(struct store_job *job, int err)
{
    struct task *t = (struct task *)job;
    if (err < 0)
        log_line(t->d, LOG_WARNING, "an alarm could not be stored: %s", err_reason(err));
    task_free(t);
}

/* What a person should know beside the alarm's name. */
static const char *cause_of_alarm(const struct holding *h, enum alarm alarm)
{
    switch (alarm) {
    case ALARM_DOUBT:
    case ALARM_DEAD:
    case ALARM_UNREACHABLE:
        return h->spend_detail;
    case ALARM_SUBJECT:
        return "the server named another subject than before";
    case ALARM_STORE:
        return h->write_detail;
    case ALARM_EXPIRING:
    case ALARM_RESTORED:
    case ALARM_COUNT:
        break;
    }
    return "";
}

static int resolve_run(struct store *s, struct store_job *job)
{
    struct task *t = (struct task *)job;
    return store_resolve(s, t->h->lineage, t->adoption.standing);
}

static void resolve_done(struct store_job *job, int err)
{
    struct task *t = (struct task *)job;
    if (err < 0)
        log_line(t->d, LOG_WARNING, "the end of a doubt could not be stored: %s", err_reason(err));
    task_free(t);
}

static void perform_resolve(struct daemon *d, struct holding *h, const struct effect *fx)
{
    journal(d, h, "resolved", "the old access token works: nothing was spent");
    struct task *t = task_new(d, h, resolve_run, resolve_done);
    if (!t)
        return;
    t->adoption.standing = fx->standing;
    if (store_queue_submit(d->store, &t->job) < 0)
        task_free(t);
}

static void perform_alarm(struct daemon *d, struct holding *h, const struct effect *fx)
{
    bool raised = fx->kind == FX_ALARM_RAISE;
    const char *why = raised ? cause_of_alarm(h, fx->alarm) : "";
    h->alarms[fx->alarm].since_wall_ms = raised ? clock_now().wall_ms : 0;
    (void)str_copy(h->alarms[fx->alarm].detail, sizeof(h->alarms[fx->alarm].detail), why);
    journal(d, h, raised ? "alarm-raised" : "alarm-cleared", "%s%s%s", alarm_name(fx->alarm),
            why[0] ? ": " : "", why);
    struct task *t = task_new(d, h, alarm_run, alarm_done);
    if (!t)
        return;
    t->alarm = fx->alarm;
    t->raised = raised;
    (void)str_copy(t->detail, sizeof(t->detail), why);
    if (store_queue_submit(d->store, &t->job) < 0)
        task_free(t);
}

/* Nobody could be asked: no process or no socket for it is to be had. */
static void unanswered(struct daemon *d, struct holding *h, const struct effect *fx, int err)
{
    bool probe = fx->kind == FX_PROBE;
    struct event ev = event_of(probe ? EV_PROBED : EV_IDENTITY, h->lineage);
    ev.generation = fx->generation;
    ev.capture = fx->capture;
    if (fx->capture == 0)
        (void)snprintf(h->spend_detail, sizeof(h->spend_detail),
                       "not asked: the spender cannot answer: %s", err_reason(err));
    if (probe)
        ev.probe.what = IDENTITY_UNANSWERED;
    else
        ev.identity.what = IDENTITY_UNANSWERED;
    drive(d, &ev);
}

static struct asking *asking_new(struct daemon *d, const struct effect *fx)
{
    for (unsigned i = 0; i < ASKINGS_MAX; i++) {
        struct asking *a = &d->askings[i];
        if (a->question != 0)
            continue;
        *a = (struct asking){++d->next_question, fx->lineage, fx->generation, fx->capture};
        return a;
    }
    return NULL;
}

/* Both questions go to the identity endpoint. */
static void perform_ask(struct daemon *d, struct holding *h, const struct effect *fx)
{
    ask_done done = fx->kind == FX_PROBE ? intake_probed : intake_identity;
    const struct secret *access = fx->capture ? capture_access(d, fx->capture) : &h->access;
    struct asking *a = access ? asking_new(d, fx) : NULL;
    int err = a ? spender_ask(d->spender, ASK_IDENTITY, a->question, &h->provider, access, done, d)
                : ERR_BUSY;
    if (err == 0)
        return;
    if (a)
        a->question = 0;
    unanswered(d, h, fx, err);
}

static void perform_lease(struct daemon *d, struct holding *h)
{
    /* Local: whoever holds the lock on the data folder is the only warden of what is in it. */
    struct event ev = event_of(EV_LEASED, h->lineage);
    ev.lease.fence = ++h->fence;
    ev.lease.until_boot_ms = clock_now().boot_ms + LEASE_MS;
    drive(d, &ev);
}

void perform(struct daemon *d, const struct effect *fx)
{
    if (fx->kind == FX_ANSWER) {
        waiting_answer(d, fx);
        return;
    }
    if (fx->kind == FX_READ || fx->kind == FX_PUBLISH) {
        perform_place(d, fx);
        return;
    }
    if (fx->capture != 0 && fx->kind != FX_ASK_IDENTITY) {
        perform_capture(d, fx);
        return;
    }
    struct holding *h = holding_find(d, fx->lineage);
    CHECK(h || fx->kind == FX_DROP); /* a lineage is in the core only while its holding is here */
    switch (fx->kind) {
    case FX_LEASE:
        perform_lease(d, h);
        break;
    case FX_UNLEASE:
        break; /* the local lease is the lock itself */
    case FX_STORE_INTENT:
        perform_store_intent(d, h, fx);
        break;
    case FX_SPEND:
        perform_spend(d, h, fx);
        break;
    case FX_SETTLE:
        perform_settle(d, h, fx);
        break;
    case FX_CLOSE_INTENT:
        perform_close(d, h, fx);
        break;
    case FX_ASK_IDENTITY:
    case FX_PROBE:
        perform_ask(d, h, fx);
        break;
    case FX_ADOPT:
        perform_adopt(d, h, fx);
        break;
    case FX_RETIRE:
        perform_retire(d, h, fx);
        break;
    case FX_RESOLVE:
        perform_resolve(d, h, fx);
        break;
    case FX_ALARM_RAISE:
    case FX_ALARM_CLEAR:
        perform_alarm(d, h, fx);
        break;
    case FX_DROP: /* of an answer: only where other wardens overtake us */
    case FX_QUARANTINE:
    case FX_CLAIM:
    case FX_READ:
    case FX_PUBLISH:
    case FX_ANSWER:
    case FX_COUNT:
        break;
    }
}

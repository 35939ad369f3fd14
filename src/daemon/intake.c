/*
 * Callback → event: turns what a part reports into a fact for the core. No judgement here: an
 * answer's meaning was decided by the spender, what follows from it is the core's.
 */
#include "daemon/places.h"

#include <string.h>

#include "base/check.h"
#include "issuer/spool.h"
#include "issuer/wire.h"

#define OUTCOME_PATIENCE_MS (30 * SECOND_MS)

static const char no_answer[] = "the spender does not answer; what it has in hand is waited for";

/* A subject is who a certain server says it is: the same words from another server are another. The
 * definition's name is the user's, and says nothing. */
struct fp intake_subject_fp(const struct daemon *d, const struct provider *p, const char *subject)
{
    char origin[URL_MAX] = "";
    const char *url = p->identity_url[0] ? p->identity_url : p->token_url;
    (void)url_origin(url, origin, sizeof(origin));
    return vault_subject_fp(d->vault, p->issuer[0] ? p->issuer : origin, subject);
}

/* Whose question this answers, and which pair it was about. */
static bool answer_begin(struct daemon *d, enum event_kind kind, uint64_t question,
                         const struct reply *reply, struct event *ret)
{
    for (unsigned i = 0; i < ASKINGS_MAX; i++) {
        struct asking *a = &d->askings[i];
        if (a->question != question)
            continue;
        *ret = event_of(kind, a->lineage);
        ret->generation = a->generation;
        ret->capture = a->capture;
        ret->server_wall_ms = reply_server_now(reply, true, clock_now().boot_ms);
        ret->retry_after_ms = reply->retry_after_ms;
        a->question = 0;
        return true;
    }
    return false;
}

void intake_identity(void *ctx, uint64_t question, const struct reply *reply)
{
    struct daemon *d = ctx;
    struct event ev;
    struct holding *h =
        answer_begin(d, EV_IDENTITY, question, reply, &ev) ? holding_find(d, ev.lineage) : NULL;
    if (!h)
        return;
    ev.identity.what = reply->identity;
    if (reply->identity == IDENTITY_NAMED)
        ev.identity.subject = intake_subject_fp(d, &h->provider, reply->subject);
    if (ev.capture != 0) {
        if (reply->identity == IDENTITY_NAMED)
            capture_named(d, ev.capture, reply->subject, reply->label);
        drive(d, &ev);
        return;
    }
    (void)str_copy(h->spend_detail, sizeof(h->spend_detail), reply->detail);
    if (reply->identity == IDENTITY_NAMED) {
        (void)str_copy(h->asked_subject, sizeof(h->asked_subject), reply->subject);
        (void)str_copy(h->asked_label, sizeof(h->asked_label), reply->label);
    }
    drive(d, &ev);
}

void intake_probed(void *ctx, uint64_t question, const struct reply *reply)
{
    struct daemon *d = ctx;
    struct event ev;
    if (!answer_begin(d, EV_PROBED, question, reply, &ev))
        return;
    ev.probe.what = reply->identity;
    drive(d, &ev);
}

/* The spender's record → the core's facts. Times: by the boot clock for this boot, and by the
 * server's where its Date was heard, so that the pair means the same after the next one. Both count
 * from the sending: the Date may be as young as the answer, and the pair as old as the request. */
static void granted(struct daemon *d, struct holding *h, struct event *ev)
{
    const struct reply *r = &h->answer;
    struct pair *pair = &ev->answer.pair;
    int64_t sent_wall_ms = reply_sent_wall(r);
    pair->access = vault_fingerprint(d->vault, &r->tokens.access);
    pair->refresh = vault_fingerprint(d->vault, &r->tokens.refresh);
    if (r->tokens.refresh.len == 0) { /* RFC 6749 §6: none in the answer keeps the old one */
        struct view v;
        if (warden_view(d->warden, h->lineage, clock_now(), &v))
            pair->refresh = v.pair.refresh;
    }
    pair->life_ms = r->life_ms;
    if (r->life_ms > 0) {
        pair->expires_wall_ms = sent_wall_ms + r->life_ms;
        if (h->intent_same_boot)
            ev->answer.expires_boot_ms = r->sent_boot_ms + r->life_ms;
    }
    if (r->login_deadline_ms > 0)
        pair->login_deadline_wall_ms = sent_wall_ms + r->login_deadline_ms;
    if (r->subject[0])
        ev->answer.subject = intake_subject_fp(d, &h->provider, r->subject);
}

static int open_answer(struct daemon *d, struct holding *h, const struct buf *sealed)
{
    uint8_t secret[VAULT_INTENT_SECRET_LEN];
    struct buf plain;
    buf_init_secret(&plain, SPOOL_ANSWER_MAX);
    vault_intent_secret(d->vault, h->intent, secret);
    int err = vault_box_open(d->vault, sealed->bytes, sealed->len, &plain);
    reply_clear(&h->answer);
    if (err == 0)
        err = sealed_answer_decode(plain.bytes, plain.len, secret, &h->answer);
    secret_wipe(secret, sizeof(secret));
    buf_release(&plain);
    return err;
}

/* What became of a spend. ANSWERED: h->answer has it, unless it does not open with our key. */
struct outcome {
    enum spool_stage stage;
    bool same_boot;
    int64_t made_boot_ms; /* STARTED, same boot: nothing was sent before */
    bool is_shut;
};

/* Negative: it cannot be told just now, which says nothing of what it is. ERR_LOCKED: a spender has
 * it in hand. */
static int read_outcome(struct daemon *d, struct holding *h, struct outcome *ret)
{
    struct outcome o = {.stage = SPOOL_TORN};
    struct buf found;
    const struct buf *sealed = &found;
    buf_init(&found, SPOOL_ANSWER_MAX);
    int err = spool_read(d->spool_dir_fd, h->intent, d->boot_id, &o.stage, &o.same_boot,
                         &o.made_boot_ms, &found);
    if (h->rescued.len > 0 && (err < 0 || o.stage != SPOOL_ANSWERED)) {
        o = (struct outcome){.stage = SPOOL_ANSWERED, .same_boot = true};
        sealed = &h->rescued;
        err = 0;
    }
    if (err == 0 && o.stage == SPOOL_LOCKED)
        err = ERR_LOCKED;
    if (err == 0 && o.stage == SPOOL_ANSWERED) {
        err = open_answer(d, h, sealed);
        o.is_shut = err < 0 && err != ERR_NOMEM;
        if (o.is_shut)
            err = 0;
    }
    buf_release(&found);
    if (err == 0)
        *ret = o;
    return err;
}

static bool is_impatient(const struct holding *h)
{
    return h->recovering && clock_now().boot_ms >= h->recover_until_boot_ms;
}

/* Nothing can be sent any more, or it is over. ERR_LOCKED says that it is in hand, and any other
 * error that nobody can tell. */
static bool is_withdrawn(int err)
{
    return err == 0 || err == ERR_CONFLICT || err == ERR_NOT_FOUND || err == ERR_CORRUPT;
}

/* Somebody has had it in hand for too long: a stopped spender of an earlier daemon. */
static int take_back(struct daemon *d, struct holding *h, struct outcome *ret)
{
    int err = spool_withdraw(d->spool_dir_fd, h->intent);
    if (err == ERR_CORRUPT) { /* whoever has it open never began, and never will */
        *ret = (struct outcome){.stage = SPOOL_TORN};
        return 0;
    }
    return is_withdrawn(err) ? read_outcome(d, h, ret) : err;
}

static void tell_stuck(struct daemon *d, struct holding *h)
{
    if (!h->is_stuck)
        journal(d, h, "stuck", "%s", h->spend_detail);
    h->is_stuck = true;
}

/* However long it lasts: doubt would present the token a second time, with the answer to the first
 * in the spool or still on its way, and closing it would remove that answer. */
static void look_again(struct daemon *d, struct holding *h, int err)
{
    bool is_over = is_impatient(h);
    if (err != ERR_LOCKED)
        (void)snprintf(h->spend_detail, sizeof(h->spend_detail),
                       "what became of the spend cannot be read yet: %s", err_reason(err));
    else if (is_over)
        (void)str_copy(h->spend_detail, sizeof(h->spend_detail), no_answer);
    if (is_over)
        tell_stuck(d, h);
    if (!h->recovering)
        log_line(d, LOG_WARNING, "%s: the outcome of a spend cannot be read yet: %s", h->profile,
                 err_reason(err));
    if (is_over || !h->recovering)
        recover_later(d, h, OUTCOME_PATIENCE_MS);
}

static const char *detail_of(const struct outcome *o)
{
    switch (o->stage) {
    case SPOOL_PREPARED:
        return o->same_boot ? "nothing was sent"
                            : "the machine went down before anybody knows what was sent";
    case SPOOL_STARTED:
        return "sent, and no answer is known";
    case SPOOL_ABSENT:
        return "the spool file of the spend is gone";
    case SPOOL_TORN:
        return "the spool file of the spend is damaged";
    case SPOOL_ANSWERED:
        return "the answer in the spool does not open with this vault's key";
    case SPOOL_LOCKED:
        break;
    }
    CHECK(false && "waited for");
}

static void tell_outcome(struct daemon *d, struct holding *h, const struct outcome *o)
{
    struct event ev = event_of(EV_ANSWER, h->lineage);
    ev.intent = h->intent;
    ev.answer.recovered = h->after_restart;
    h->recovering = h->after_restart = h->is_stuck = false;
    h->keep_spool = o->is_shut || o->stage == SPOOL_TORN;
    if (o->stage == SPOOL_ANSWERED && !o->is_shut) {
        const struct reply *r = &h->answer;
        ev.answer.verdict = r->verdict;
        ev.server_wall_ms = reply_server_now(r, o->same_boot, clock_now().boot_ms);
        ev.retry_after_ms = r->retry_after_ms;
        (void)str_copy(h->spend_detail, sizeof(h->spend_detail), r->detail);
        if (r->verdict == VERDICT_GRANTED)
            granted(d, h, &ev);
    } else {
        const char *why = spender_why(d->spender);
        bool is_unsent = o->stage == SPOOL_PREPARED && o->same_boot;
        ev.answer.verdict = is_unsent ? VERDICT_UNSENT : VERDICT_DOUBT;
        ev.answer.begun_boot_ms = o->stage == SPOOL_STARTED && o->same_boot ? o->made_boot_ms : 0;
        (void)snprintf(h->spend_detail, sizeof(h->spend_detail), "%s%s%s", detail_of(o),
                       why[0] ? ": " : "", why);
    }
    drive(d, &ev);
}

void intake_outcome(struct daemon *d, struct holding *h)
{
    struct outcome o = {0};
    int err = read_outcome(d, h, &o);
    if (err == ERR_LOCKED && is_impatient(h))
        err = take_back(d, h, &o);
    if (err < 0)
        look_again(d, h, err);
    else
        tell_outcome(d, h, &o);
}

/* What the spool could not take came over the socket, and is nowhere else: it is kept until it is
 * settled, in room that was made for it before the spend. */
static void keep_rescued(struct daemon *d, struct holding *h)
{
    size_t len;
    const uint8_t *rescued = spender_rescued(d->spender, &len);
    if (!rescued)
        return;
    buf_clear(&h->rescued);
    (void)buf_add(&h->rescued, rescued, len); /* more than there is room for is no answer of ours */
}

void intake_spent(void *ctx, uint64_t intent)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_intent(d, intent);
    if (!h)
        return;
    keep_rescued(d, h);
    intake_outcome(d, h);
}

/* Its spender does not answer. */
int intake_take_back(void *ctx, uint64_t intent)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_intent(d, intent);
    int err = h ? spool_withdraw(d->spool_dir_fd, intent) : 0;
    if (is_withdrawn(err))
        return 0;
    (void)str_copy(h->spend_detail, sizeof(h->spend_detail), no_answer);
    tell_stuck(d, h);
    return err;
}

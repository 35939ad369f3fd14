/*
 * Callback → event: turns what a part reports into a fact for the core. No judgement here: an
 * answer's meaning was decided by the spender, what follows from it is the core's.
 */
#include "daemon/daemon.h"

#include <string.h>

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
    (void)str_copy(h->spend_detail, sizeof(h->spend_detail), reply->detail);
    if (reply->identity == IDENTITY_NAMED) {
        ev.identity.subject = intake_subject_fp(d, &h->provider, reply->subject);
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

/* The spool could not be written: the answer came over the socket instead. */
static int take_rescued(struct daemon *d, enum spool_stage *stage, struct buf *sealed, int err)
{
    size_t len;
    const uint8_t *rescued = spender_rescued(d->spender, &len);
    if (!rescued)
        return err;
    buf_clear(sealed);
    *stage = SPOOL_ANSWERED;
    return buf_add(sealed, rescued, len);
}

static enum verdict verdict_of_stage(enum spool_stage stage, bool same_boot,
                                     const char **ret_detail)
{
    switch (stage) {
    case SPOOL_PREPARED:
        if (same_boot) {
            *ret_detail = "nothing was sent";
            return VERDICT_UNSENT;
        }
        *ret_detail = "the machine went down before anybody knows what was sent";
        return VERDICT_DOUBT;
    case SPOOL_STARTED:
        *ret_detail = "sent, and no answer is known";
        return VERDICT_DOUBT;
    case SPOOL_ABSENT:
        *ret_detail = "the spool file of the spend is gone";
        return VERDICT_DOUBT;
    case SPOOL_TORN:
        *ret_detail = "the spool file of the spend is damaged";
        return VERDICT_DOUBT;
    case SPOOL_LOCKED:
        *ret_detail = "the spender never let go of the spend";
        return VERDICT_DOUBT;
    case SPOOL_ANSWERED:
        break;
    }
    *ret_detail = "the answer in the spool cannot be read";
    return VERDICT_DOUBT;
}

/* Into h->answer, or what there is instead. Negative: it cannot be told just now. */
static int read_outcome(struct daemon *d, struct holding *h, enum spool_stage *ret_stage,
                        bool *ret_same_boot)
{
    struct buf sealed;
    buf_init(&sealed, SPOOL_ANSWER_MAX);
    int err = spool_read(d->spool_dir_fd, h->intent, d->boot_id, ret_stage, ret_same_boot, &sealed);
    if (!h->after_restart && (err < 0 || *ret_stage != SPOOL_ANSWERED))
        err = take_rescued(d, ret_stage, &sealed, err);
    if (err == 0 && *ret_stage == SPOOL_LOCKED)
        err = ERR_LOCKED;
    if (err == 0 && *ret_stage == SPOOL_ANSWERED) {
        err = open_answer(d, h, &sealed);
        if (err < 0 && err != ERR_NOMEM) {
            *ret_stage = SPOOL_TORN;
            h->answer_is_shut = true;
            err = 0;
        }
    }
    buf_release(&sealed);
    return err;
}

/* Somebody has had it in hand for too long: a stopped spender of an earlier daemon. False: it is
 * taken back, and the outcome can be told. Otherwise it may still come, however late, and doubt
 * would present the token a second time. */
static bool is_in_hand(struct daemon *d, struct holding *h)
{
    if (spool_withdraw(d->spool_dir_fd, h->intent) != ERR_LOCKED)
        return false;
    (void)str_copy(h->spend_detail, sizeof(h->spend_detail), no_answer);
    journal(d, h, "stuck", "%s", no_answer);
    recover_later(d, h, OUTCOME_PATIENCE_MS);
    return true;
}

/* A spender that lives has it in hand, or the spool cannot be read for want of something: doubt
 * would throw away an answer that may well be there. */
static bool wait_for_outcome(struct daemon *d, struct holding *h, int err)
{
    if (h->recovering && clock_now().boot_ms < h->recover_until_boot_ms)
        return true;
    if (h->recovering)
        return err == ERR_LOCKED && is_in_hand(d, h);
    log_line(d, LOG_WARNING, "%s: the outcome of a spend cannot be read yet: %s", h->profile,
             err_reason(err));
    recover_later(d, h, OUTCOME_PATIENCE_MS);
    return true;
}

void intake_outcome(struct daemon *d, struct holding *h)
{
    enum spool_stage stage = SPOOL_TORN;
    bool same_boot = false;
    const char *detail;
    int err = read_outcome(d, h, &stage, &same_boot);
    if (err < 0 && wait_for_outcome(d, h, err))
        return;
    if (err == ERR_LOCKED) /* no more: it has been taken back */
        err = read_outcome(d, h, &stage, &same_boot);

    struct event ev = event_of(EV_ANSWER, h->lineage);
    ev.intent = h->intent;
    ev.answer.recovered = h->after_restart;
    h->recovering = h->after_restart = false;
    if (err == 0 && stage == SPOOL_ANSWERED) {
        const struct reply *r = &h->answer;
        ev.answer.verdict = r->verdict;
        ev.server_wall_ms = reply_server_now(r, same_boot, clock_now().boot_ms);
        ev.retry_after_ms = r->retry_after_ms;
        (void)str_copy(h->spend_detail, sizeof(h->spend_detail), r->detail);
        if (r->verdict == VERDICT_GRANTED)
            granted(d, h, &ev);
    } else {
        const char *why = spender_why(d->spender);
        ev.answer.verdict = verdict_of_stage(stage, same_boot, &detail);
        (void)snprintf(h->spend_detail, sizeof(h->spend_detail), "%s%s%s", detail,
                       why[0] ? ": " : "", why);
    }
    drive(d, &ev);
}

void intake_spent(void *ctx, uint64_t intent)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_intent(d, intent);
    if (h)
        intake_outcome(d, h);
}

/* Its spender does not answer. True: nothing was sent and nothing will be, or the outcome is there
 * and was not told. */
bool intake_take_back(void *ctx, uint64_t intent)
{
    struct daemon *d = ctx;
    struct holding *h = holding_by_intent(d, intent);
    if (!h || spool_withdraw(d->spool_dir_fd, intent) != ERR_LOCKED)
        return true;
    (void)str_copy(h->spend_detail, sizeof(h->spend_detail), no_answer);
    journal(d, h, "stuck", "%s", no_answer);
    return false;
}

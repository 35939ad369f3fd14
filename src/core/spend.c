/*
 * The spend: lease → intent durable → present → outcome durable. The order of this file is the
 * order of the act, and each step starts only from the event that says the one before is done.
 */
#include "core/internal.h"

/* Where a lineage falls back to when its spend changed nothing. */
static enum state rest_state(const struct lineage *l)
{
    if (l->replay)
        return LS_DOUBT;
    return l->unproven ? LS_UNPROVEN : LS_LIVE;
}

static enum standing rest_standing(const struct lineage *l)
{
    if (l->replay)
        return STANDING_DOUBT;
    return l->unproven ? STANDING_UNPROVEN : STANDING_LIVE;
}

static void end_spend(struct step *s)
{
    emit(s, FX_UNLEASE);
    s->l->intent = 0;
    s->l->intent_elsewhere = false;
    s->l->replay = false;
}

void begin_spend(struct step *s, bool replay)
{
    struct lineage *l = s->l;
    CHECK(l->intent == 0 && !is_static(l) && may_spend(l, s->now));
    CHECK(!replay || !l->replayed);
    /* Earlier than the window asks for: somebody's comfort, which is rationed where it costs
     * everybody else their access token. */
    if (!replay && s->now.boot_ms < due_boot_ms(l))
        l->last_comfort_boot_ms = s->now.boot_ms;
    l->replay = replay;
    l->lease_awaited = true;
    emit(s, FX_LEASE);
    become(s, LS_LEASING);
}

void on_leased(struct step *s)
{
    struct lineage *l = s->l;
    l->lease_awaited = false;
    if (l->state != LS_LEASING) { /* overtaken while we asked */
        if (s->ev->lease.fence != 0)
            emit(s, FX_UNLEASE);
        return;
    }
    if (s->ev->lease.fence <= l->fence || s->w->stopping || !may_spend(l, s->now)) {
        if (s->ev->lease.fence != 0)
            emit(s, FX_UNLEASE);
        back_off(s, 0, ANSWER_BUSY);
        become(s, rest_state(l));
        l->replay = false;
        serve_waiters(s);
        return;
    }
    l->fence = s->ev->lease.fence;
    l->lease_until_boot_ms = s->ev->lease.until_boot_ms;
    if (spend_is_hindered(s->w, l))
        spend_called_off(s);
    else if (withhold(s))
        become(s, LS_WITHHOLDING);
    else
        order_intent(s);
}

void spend_called_off(struct step *s)
{
    emit(s, FX_UNLEASE);
    back_off(s, 0, ANSWER_BUSY);
    become(s, rest_state(s->l));
    s->l->replay = false;
    serve_waiters(s);
}

void order_intent(struct step *s)
{
    struct lineage *l = s->l;
    do
        l->intent = rng_next(s->w) >> 1;
    while (l->intent == 0);

    struct effect *fx = emit(s, FX_STORE_INTENT);
    fx->intent = l->intent;
    fx->fence = l->fence;
    fx->generation = l->generation;
    fx->replay = l->replay;
    fx->doubt = l->replay ? l->doubt : 0;
    fx->presented = l->pair.refresh;
    become(s, LS_INTENDING);
}

static void store_closing(struct step *s)
{
    struct lineage *l = s->l;
    struct effect *fx = emit(s, FX_CLOSE_INTENT);
    fx->intent = l->intent;
    fx->fence = l->fence;
    fx->verdict = l->pending.verdict;
    fx->standing = l->pending.standing;
    fx->replayed = l->replayed;
}

static void begin_closing(struct step *s, enum verdict verdict, enum standing standing)
{
    s->l->pending = (struct pending){.verdict = verdict, .standing = standing};
    s->l->not_before_boot_ms = 0;
    store_closing(s);
    become(s, LS_CLOSING);
}

void on_intent_durable(struct step *s)
{
    struct lineage *l = s->l;
    alarm_clear(s, ALARM_STORE);
    /* Time may have passed while the intent went to disk (a suspend): the right to spend must
     * outlast the spend, and what made this the moment for the one more presentation must still
     * hold. The user may also have changed the policy meanwhile. */
    bool too_late = s->now.boot_ms + l->rules.spend_deadline_ms > l->lease_until_boot_ms ||
                    (l->replay && replay_due_boot_ms(s->w, l) > s->now.boot_ms);
    if (too_late || !may_spend(l, s->now) || spend_is_hindered(s->w, l) ||
        is_given_to_somebody(s->w, l)) {
        begin_closing(s, VERDICT_UNSENT, rest_standing(l));
        return;
    }
    l->sent_boot_ms = s->now.boot_ms;
    if (!l->replay) { /* else, should it not arrive, the grace still counts from the lost one */
        l->presented_boot_ms = s->now.boot_ms;
        l->presented_known = true;
    }
    struct effect *fx = emit(s, FX_SPEND);
    fx->intent = l->intent;
    fx->fence = l->fence;
    fx->generation = l->generation;
    fx->replay = l->replay;
    fx->presented = l->pair.refresh;
    become(s, LS_SPENDING);
}

static void store_settlement(struct step *s)
{
    struct lineage *l = s->l;
    struct effect *fx = emit(s, FX_SETTLE);
    fx->intent = l->intent;
    fx->fence = l->fence;
    fx->generation = l->generation + 1;
    fx->standing = l->pending.standing;
    fx->origin = l->pending.origin;
    fx->pair = l->pending.pair;
    fx->expires_boot_ms = l->pending.expires_boot_ms;
    fx->late = l->pending.late;
}

static void on_granted(struct step *s)
{
    struct lineage *l = s->l;
    const struct pair *pair = &s->ev->answer.pair;
    /* Our own spend inherits the subject; only an answer that names another one breaks that. The
     * pair is stored all the same: what was granted is never lost. */
    bool foreign = !fp_is_none(l->subject) && !fp_is_none(s->ev->answer.subject) &&
                   !fp_equal(l->subject, s->ev->answer.subject);
    enum standing standing = foreign       ? STANDING_QUARANTINED
                             : l->unproven ? STANDING_UNPROVEN
                                           : STANDING_LIVE;
    /* 0 stays 0: what is read off the wall clock is not exact, and a Date will correct it. */
    int64_t expires = pair->expires_wall_ms == 0 ? TIME_NEVER : s->ev->answer.expires_boot_ms;
    l->pending = (struct pending){
        .verdict = VERDICT_GRANTED,
        .standing = standing,
        .pair = *pair,
        .expires_boot_ms = expires,
        .origin = s->ev->answer.recovered ? ORIGIN_RECOVERED : ORIGIN_SPENT,
        .foreign = foreign,
    };
    l->not_before_boot_ms = 0;
    store_settlement(s);
    become(s, LS_SETTLING);
}

/* Where a spend without a pair leaves the lineage. */
static enum standing standing_after(const struct lineage *l, enum verdict verdict)
{
    bool changed_nothing =
        verdict == VERDICT_THROTTLED || verdict == VERDICT_UNSENT || verdict == VERDICT_UNCOMMITTED;
    if (changed_nothing && is_old_copy(l)) /* what others did since it was made is as doubtful */
        return STANDING_DOUBT;
    switch (verdict) {
    case VERDICT_REFUSED:
        return STANDING_DEAD;
    case VERDICT_DOUBT:
        if (!l->rules.rotates) /* a token that is not single use can simply be presented again */
            return rest_standing(l);
        return l->replay ? STANDING_DEAD : STANDING_DOUBT;
    case VERDICT_THROTTLED:
    case VERDICT_UNSENT:
    case VERDICT_UNCOMMITTED:
    case VERDICT_GRANTED:
    case VERDICT_COUNT:
        break;
    }
    return rest_standing(l);
}

void on_answer(struct step *s)
{
    struct lineage *l = s->l;
    enum verdict verdict = s->ev->answer.verdict;
    if (verdict == VERDICT_GRANTED) {
        on_granted(s);
        return;
    }
    if (l->replay && (verdict == VERDICT_DOUBT || verdict == VERDICT_REFUSED))
        l->replayed = true;
    if (s->ev->answer.recovered && s->ev->answer.begun_boot_ms != 0 && !l->replay) {
        l->presented_boot_ms = s->ev->answer.begun_boot_ms;
        l->presented_known = true;
    }
    if (verdict == VERDICT_REFUSED)
        l->refused = true;
    begin_closing(s, verdict, standing_after(l, verdict));
    l->pending.retry_after_ms = s->ev->retry_after_ms;
}

void on_settled(struct step *s)
{
    struct lineage *l = s->l;
    alarm_clear(s, ALARM_STORE);
    alarm_clear(s, ALARM_UNREACHABLE);
    struct pair former = l->pair;
    if (fp_equal(former.refresh, l->pending.pair.refresh))
        former.refresh = (struct fp){{0}}; /* it lives on where it stands */
    no_stranger_any_more(s, &former);
    take_pair(s, &l->pending.pair, l->pending.expires_boot_ms);
    l->generation++;
    l->standing = l->pending.standing;
    l->refused = false;
    l->replayed = false;
    l->answer_lost = false;
    l->access_proved = false;
    l->held_until_boot_ms = 0; /* nobody has seen the new pair */
    if (life_left(l, s->now) <= 0)
        /* over when it came: a server that goes on like this is not spent at without a pause */
        back_off(s, 0, ANSWER_UNREACHABLE);
    else if (!l->unproven)
        /* else asking whose it is may end in the next spend: pauses grow until somebody says */
        back_off_clear(l);
    end_spend(s);
    become(s, l->pending.foreign ? LS_QUARANTINED : rest_state(l));
    alarm_look(s);
    ask_the_time(s);
    waiters_had_spend(s->w, l);
    serve_waiters(s);
}

void on_closed(struct step *s)
{
    struct lineage *l = s->l;
    enum state rest = rest_state(l);
    uint64_t intent = l->intent;
    alarm_clear(s, ALARM_STORE);
    l->standing = l->pending.standing;
    end_spend(s);
    if (l->standing == STANDING_DEAD)
        no_stranger_any_more(s, &l->pair);
    if (l->standing == STANDING_DEAD && l->unproven) {
        answer_add(s, ANSWER_REJECTED); /* an `add` of a dead pair leaves nothing behind */
        begin_retire(s);
    } else if (l->standing == STANDING_DEAD) {
        back_off_clear(l);
        l->refused = true;
        begin_search(s);
        become(s, has_hope(s->w, l) ? LS_SEARCHING : LS_DEAD);
    } else if (l->standing == STANDING_DOUBT && rest != LS_DOUBT) {
        back_off_clear(l);
        l->answer_lost = !is_old_copy(l);
        l->access_proved = false;
        l->doubt = intent;
        l->doubt_since_boot_ms = s->now.boot_ms;
        begin_search(s);
        become(s, LS_DOUBT);
        answer_add(s, ANSWER_DOUBT);
    } else {
        l->last_comfort_boot_ms = 0; /* nothing was spent for anybody */
        back_off(s, l->pending.retry_after_ms,
                 l->pending.verdict == VERDICT_THROTTLED ? ANSWER_THROTTLED : ANSWER_UNREACHABLE);
        become(s, rest);
        ask_the_time(s); /* of a pair that was loaded in mid-spend nobody has asked it */
        alarm_look(s);
    }
    serve_waiters(s);
}

/* Nothing of the write is durable. Before the spend that costs nothing: fall back. After it, the
 * outcome waits in the spool and the write is repeated until it succeeds. */
void write_failed(struct step *s)
{
    struct lineage *l = s->l;
    if (l->state == LS_RETIRING && l->remove_waiter != 0) { /* he is told, and asks again */
        become(s, l->rest);
        l->remove_wanted = false;
        answer_waiter(s, l->remove_waiter, ANSWER_STORE, 0, 0);
        l->remove_waiter = 0;
        serve_waiters(s);
        return;
    }
    alarm_raise(s, ALARM_STORE);
    back_off(s, 0, ANSWER_STORE);
    switch (l->state) {
    case LS_INTENDING: {
        enum state rest = rest_state(l);
        end_spend(s);
        become(s, rest);
        break;
    }
    case LS_ADOPTING:
        become(s, l->standing == STANDING_DOUBT ? LS_DOUBT : LS_UNPROVEN);
        answer_add(s, ANSWER_STORE);
        break;
    case LS_RETIRING:
        become(s, l->rest);
        l->remove_wanted = true; /* what we end on our own is tried again */
        l->remove_from_boot_ms = l->not_before_boot_ms;
        break;
    case LS_SETTLING:
    case LS_CLOSING:
        break;
    case LS_FREE:
    case LS_UNPROVEN:
    case LS_ASKING:
    case LS_LIVE:
    case LS_LEASING:
    case LS_WITHHOLDING:
    case LS_SPENDING:
    case LS_DOUBT:
    case LS_PROBING:
    case LS_SEARCHING:
    case LS_CONTINUING:
    case LS_DEAD:
    case LS_QUARANTINED:
    case LS_COUNT:
        CHECK(false && "a state that writes");
    }
    serve_waiters(s);
}

void write_again(struct step *s)
{
    s->l->not_before_boot_ms = 0;
    if (s->l->state == LS_SETTLING)
        store_settlement(s);
    else
        store_closing(s);
}

/*
 * From captured to believed: the server is asked who the pair is before a profile points at it.
 *
 * Generation 1 is still in the user's file: if it cannot be believed it is retired and nothing is
 * lost. Once we have spent it to get an access token that can be asked with, the pair exists here
 * alone and is never dropped: it is kept unproven, or in quarantine.
 */
#include "core/internal.h"

void on_added(struct step *s)
{
    bool claimed = s->ev->capture != 0;
    bool given_away = claimed && capture_claimed(s, s->ev->capture);
    bool full = !claimed && slots_are_spoken_for(s->w);
    struct lineage *l = s->l = full ? NULL : slot_take(s, s->ev->lineage);
    if (!l) {
        if (claimed)
            return; /* the store has it, and tells of it at the next start */
        emit(s, FX_RETIRE);
        answer_waiter(s, s->ev->waiter, ANSWER_BUSY, 0, 0);
        return;
    }
    l->rules = s->ev->added.rules;
    l->policy = s->ev->added.policy;
    l->standing = STANDING_UNPROVEN;
    l->unproven = true;
    l->continues = s->ev->added.continues;
    l->claimed = claimed;
    l->generation = 1;
    l->add_waiter = s->ev->waiter;
    l->add_deadline_boot_ms = s->ev->added.deadline_boot_ms;
    take_pair(s, &s->ev->added.pair, 0);
    l->given_away = given_away;
    was_obtained_elsewhere(l);
    if (s->ev->added.held_elsewhere) {
        int64_t left = life_left(l, s->now);
        l->held_until_boot_ms =
            left == TIME_NEVER ? TIME_NEVER : s->now.boot_ms + left + l->rules.skew_ms;
    }
    become(s, LS_UNPROVEN); /* the timer is due at once and goes on from here */
    if (claimed)
        leave_to_claim(s);
}

/* Somebody else's than was expected, and spent to find that out, so that it exists here alone. Now
 * its owner asks for it under a name of its own: whose it is is asked anew. */
void on_claimed(struct step *s)
{
    struct lineage *l = s->l;
    l->policy = s->ev->added.policy;
    l->standing = l->doubtful ? STANDING_DOUBT : STANDING_UNPROVEN;
    l->unproven = true;
    l->kept = true;
    l->subject = (struct fp){{0}};
    l->continues = s->ev->added.continues;
    l->add_waiter = s->ev->waiter;
    l->add_deadline_boot_ms = s->ev->added.deadline_boot_ms;
    back_off_clear(l);
    alarm_clear(s, ALARM_SUBJECT);
    if (!l->doubtful) {
        become(s, LS_UNPROVEN);
        return;
    }
    l->doubtful = false;
    become(s, LS_DOUBT);
    answer_add(s, ANSWER_DOUBT);
}

void answer_add(struct step *s, enum answer answer)
{
    answer_waiter(s, s->l->add_waiter, answer, 0, 0);
    s->l->add_waiter = 0;
    s->l->add_deadline_boot_ms = TIME_NEVER;
}

void begin_ask(struct step *s)
{
    emit(s, FX_ASK_IDENTITY)->generation = s->l->generation;
    become(s, LS_ASKING);
}

static void begin_adopt(struct step *s, struct fp subject, enum standing standing)
{
    struct effect *fx = emit(s, FX_ADOPT);
    fx->subject = subject;
    fx->standing = standing;
    fx->continues = standing == STANDING_LIVE ? s->l->continues : 0;
    s->l->named = subject;
    s->l->pending = (struct pending){.standing = standing};
    become(s, LS_ADOPTING);
}

void set_aside(struct step *s)
{
    begin_adopt(s, (struct fp){{0}}, STANDING_QUARANTINED);
}

void on_adopted(struct step *s)
{
    struct lineage *l = s->l;
    l->unproven = false;
    l->claimed = l->kept = false;
    l->doubtful = l->standing == STANDING_DOUBT;
    l->standing = l->pending.standing;
    l->subject = l->named;
    back_off_clear(l);
    alarm_clear(s, ALARM_STORE);
    if (l->standing == STANDING_QUARANTINED) {
        become(s, LS_QUARANTINED);
        leave_alone(s, &l->pair, 0);
        answer_add(s, ANSWER_MISMATCH);
    } else {
        become(s, LS_LIVE);
        no_stranger_any_more(s, &l->pair);
        consumers_follow(s, lineage_find(s->w, l->continues));
        captures_follow(s, lineage_find(s->w, l->continues));
        answer_add(s, ANSWER_DONE);
        alarm_look(s);
    }
    serve_waiters(s);
}

/* Generation 1 of an `add` is still in the user's file; what was spent, or came from a replica, or
 * was set aside, may be nowhere else. */
static bool is_only_here(const struct lineage *l)
{
    return l->generation > 1 || l->claimed || l->kept;
}

/* It will not be believed. */
static void refuse(struct step *s, enum answer answer)
{
    answer_add(s, answer);
    if (!is_only_here(s->l)) {
        begin_retire(s);
        return;
    }
    if (s->l->kept)
        set_aside(s); /* back to where it was */
    else if (s->l->state != LS_UNPROVEN)
        become(s, LS_UNPROVEN);
}

void add_over(struct step *s)
{
    struct lineage *l = s->l;
    bool could_ask = life_left(l, s->now) > 0 || may_spend_from(l) != TIME_NEVER;
    enum answer why = could_ask        ? ANSWER_UNREACHABLE
                      : l->access_dead ? ANSWER_REJECTED
                                       : ANSWER_POLICY;
    if (s->w->stopping)
        why = ANSWER_STOPPING;
    refuse(s, is_only_here(l) ? ANSWER_UNPROVEN : why);
}

/* May the profile go on with a pair of this subject (none: nobody can say)? Only proof of the same
 * one will do: what is replaced is wiped. A dead login of nobody known has nothing to lose. */
static bool may_continue(const struct step *s, struct fp subject)
{
    const struct lineage *before = lineage_find(s->w, s->l->continues);
    if (s->l->claimed) /* nobody asked for it: what is not proven goes into quarantine */
        return before && !before->remove_wanted && before->state != LS_RETIRING &&
               !fp_is_none(subject) && fp_equal(before->subject, subject);
    if (!before || before == s->l || before->remove_wanted || before->state == LS_RETIRING)
        return true;
    if (fp_is_none(before->subject))
        return before->state == LS_DEAD;
    return fp_equal(before->subject, subject);
}

/* From a replica, and not its profile's: the login of a profile of that subject that needs one. */
static void look_for_owner(struct step *s, struct fp subject)
{
    for (uint32_t i = 0; !fp_is_none(subject) && i < s->w->n_slots; i++) {
        const struct lineage *other = &s->w->lineages[i];
        if ((other->state == LS_DEAD || other->state == LS_SEARCHING) && !other->unproven &&
            fp_equal(other->subject, subject))
            s->l->continues = other->id;
    }
}

void believe(struct step *s, struct fp subject)
{
    if (s->l->claimed && !may_continue(s, subject))
        look_for_owner(s, subject);
    if (may_continue(s, subject))
        begin_adopt(s, subject, STANDING_LIVE);
    else if (is_only_here(s->l))
        begin_adopt(s, subject, STANDING_QUARANTINED);
    else
        refuse(s, ANSWER_MISMATCH);
}

void on_identity(struct step *s)
{
    struct lineage *l = s->l;
    if (l->state == LS_LIVE) {
        on_time_told(s);
        return;
    }
    switch (s->ev->identity.what) {
    case IDENTITY_NAMED:
        believe(s, s->ev->identity.subject);
        break;
    case IDENTITY_SCOPE:
        /* It lives, but nobody can say whose it is: good enough for a new profile, not for one
         * whose subject is known. */
        if (l->claimed || may_continue(s, (struct fp){{0}})) {
            believe(s, (struct fp){{0}});
        } else {
            back_off(s, DAY_MS, ANSWER_UNPROVEN);
            refuse(s, ANSWER_UNPROVEN);
        }
        break;
    case IDENTITY_EXPIRED:
    case IDENTITY_REVOKED:
        if (may_spend_from(l) == TIME_NEVER && !is_only_here(l)) {
            refuse(s, ANSWER_REJECTED);
            break;
        }
        if (l->generation > 1) /* we just had it granted: do not spin on a server gone mad */
            back_off(s, 0, ANSWER_UNREACHABLE);
        become(s, LS_UNPROVEN);
        break;
    case IDENTITY_UNANSWERED:
    case IDENTITY_COUNT:
        back_off(s, s->ev->retry_after_ms, ANSWER_UNREACHABLE);
        become(s, LS_UNPROVEN);
        break;
    }
}

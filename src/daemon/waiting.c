/*
 * Calls that wait for the core, and what a person is told when the core has answered: always what
 * happened, and where there is one, the command that mends it.
 */
#include "daemon/places.h"

#include <string.h>

#include "base/check.h"
#include "base/exits.h"

struct waiting *waiting_new(struct daemon *d, struct api_call *call, enum operation operation,
                            const char *name, uint64_t lineage)
{
    for (size_t i = 0; i < WAITERS_MAX; i++) {
        struct waiting *wt = &d->waitings[i];
        if (wt->id != 0)
            continue;
        *wt = (struct waiting){
            .id = ++d->next_waiter, .call = call, .operation = operation, .lineage = lineage};
        (void)str_copy(wt->name, sizeof(wt->name), name);
        return wt;
    }
    return NULL;
}

struct waiting *waiting_find(struct daemon *d, uint64_t id)
{
    for (size_t i = 0; id != 0 && i < WAITERS_MAX; i++) {
        if (d->waitings[i].id == id)
            return &d->waitings[i];
    }
    return NULL;
}

void waiting_gone(struct daemon *d, const struct api_call *call)
{
    for (size_t i = 0; i < WAITERS_MAX; i++) {
        struct waiting *wt = &d->waitings[i];
        if (wt->id == 0 || wt->call != call)
            continue;
        struct event ev = event_of(EV_UNWANT, 0);
        ev.waiter = wt->id;
        *wt = (struct waiting){0};
        drive(d, &ev);
        return;
    }
}

static void answer_token(struct daemon *d, const struct waiting *wt, struct api_call *call)
{
    struct holding *h = holding_find(d, wt->lineage);
    struct view v;
    if (!h || !warden_view(d->warden, wt->lineage, clock_now(), &v)) {
        api_problem(call, "internal", 0, "the profile %s went away", wt->name);
        return;
    }
    json_t *expires = time_json(v.pair.expires_wall_ms);
    json_t *left = v.left_ms == TIME_NEVER ? json_null() : json_integer(v.left_ms);
    json_t *about = json_pack("{s:s, s:I, s:o, s:o}", "name", h->profile, "generation",
                              (json_int_t)v.generation, "expires_at", expires,
                              wt->operation == OP_TOKEN ? "expires_in_ms" : "left_ms", left);
    if (wt->operation == OP_TOKEN)
        api_reply_token(call, &h->access, about);
    else
        api_reply(call, 200, about);
}

static void answer_done(struct daemon *d, const struct waiting *wt, struct api_call *call)
{
    if (wt->operation == OP_REMOVE) {
        api_reply(
            call, 200,
            json_pack("{s:o}", "done", json_sprintf("removed %s; its history is kept", wt->name)));
        return;
    }
    CHECK(wt->operation == OP_ADD);
    struct holding *h = holding_find(d, wt->lineage);
    struct view v;
    if (!h || !warden_view(d->warden, wt->lineage, clock_now(), &v)) {
        api_problem(call, "internal", 0, "the profile %s went away", wt->name);
        return;
    }
    char lineage[17], note[256] = "";
    if (h->subject[0] == '\0')
        (void)snprintf(note, sizeof(note), "the provider cannot say whose login this is");
    else if (v.policy == POLICY_NEVER && !fp_is_none(v.pair.refresh))
        (void)snprintf(note, sizeof(note),
                       "policy never: the refresh token is not spent here; `credwarden policy %s "
                       "always` lets credwarden keep the login alive",
                       h->profile);
    (void)snprintf(lineage, sizeof(lineage), "%016llx", (unsigned long long)h->lineage);
    api_reply(call, 200,
              json_pack("{s:s, s:s, s:s?, s:s?, s:s, s:s, s:s?}", "name", h->profile, "lineage",
                        lineage, "subject", h->subject[0] ? h->subject : NULL, "label",
                        h->label[0] ? h->label : NULL, "standing", standing_name(v.standing),
                        "policy", policy_name(v.policy), "note", note[0] ? note : NULL));
}

static void answer_too_long(const struct effect *fx, const char *name, struct api_call *call)
{
    char most[32];
    duration_format(fx->limit_ms, most, sizeof(most));
    api_problem(call, answer_name(fx->answer), 0,
                "%s: its tokens never last as long as --min-ttl asks for; the most is %s", name,
                most);
}

static void answer_dead(struct daemon *d, const struct waiting *wt, const struct effect *fx,
                        struct api_call *call)
{
    struct holding *h = holding_find(d, wt->lineage);
    api_problem(call, answer_name(fx->answer), 0,
                "%s: the login is over (%s); sign in again with the provider, then "
                "`credwarden add %s --provider %s --from FILE`; `credwarden history %s` tells how "
                "it ended",
                wt->name, h && h->spend_detail[0] ? h->spend_detail : "refused", wt->name,
                h ? h->provider.name : "PROVIDER", wt->name);
}

/* What is set aside, and what is just being ended, takes room beside the profiles. */
static void answer_no_room(const struct daemon *d, const char *name, struct api_call *call)
{
    api_problem(call, "profiles-full", 0,
                "%s: there is no room for another login beside the %u that are held or set aside; "
                "nothing was added: raise profiles_max in %s, then `credwarden daemon restart`",
                name, d->limits.lineages, d->config_path);
}

/* Or, where the spend that is waited for is called off: what is the matter with the places that are
 * looked at, or written, before it. */
static void answer_busy(struct daemon *d, const struct waiting *wt, const struct effect *fx,
                        struct api_call *call)
{
    const char *code = answer_name(fx->answer);
    const struct place *p = d->places;
    while (p && (p->gone || p->why[0] == '\0' || strcmp(p->profile, wt->name) != 0))
        p = p->next;
    if (p)
        api_problem(call, code, fx->retry_after_ms,
                    "%s: nothing is spent while %s:%s is not in order (%s); it is tried again",
                    wt->name, p->kind, p->path, p->why);
    else if (fx->retry_after_ms > 0 && places_share(d, wt->name))
        api_problem(call, code, fx->retry_after_ms,
                    "%s: its places are looked at before anything is spent; try again", wt->name);
    else
        api_problem(call, code, fx->retry_after_ms, "%s: too many callers wait; try again",
                    wt->name);
}

static void answer_problem(struct daemon *d, const struct waiting *wt, const struct effect *fx,
                           struct api_call *call)
{
    const char *code = answer_name(fx->answer), *name = wt->name;
    int64_t later = fx->retry_after_ms;
    struct holding *h = holding_find(d, wt->lineage);
    const char *detail = h && h->spend_detail[0] ? h->spend_detail : "no answer";
    struct view v;

    switch (fx->answer) {
    case ANSWER_TOKEN:
    case ANSWER_DONE:
    case ANSWER_COUNT:
        CHECK(false && "a problem");
    case ANSWER_UNKNOWN:
        if (wt->operation == OP_ADD)
            api_problem(call, code, 0, "%s was removed before it was added", name);
        else
            api_problem(call, code, 0, "there is no profile %s", name);
        return;
    case ANSWER_TOO_LONG:
        answer_too_long(fx, name, call);
        return;
    case ANSWER_CAPPED:
        api_problem(call, code, later,
                    "%s: a fresh token now would end the one that others hold; this is rationed, "
                    "try later or ask for less",
                    name);
        return;
    case ANSWER_POLICY:
        api_problem(call, code, later,
                    "%s: this would take a spend, and its policy does not allow one now; "
                    "`credwarden policy %s always` lets credwarden spend",
                    name, name);
        return;
    case ANSWER_DEAD:
        answer_dead(d, wt, fx, call);
        return;
    case ANSWER_DOUBT:
        api_problem(call, code, later,
                    "%s: the answer to the last spend was lost, so nobody knows which token is "
                    "alive; credwarden is finding out, try again",
                    name);
        return;
    case ANSWER_EXPIRED:
        api_problem(call, code, 0,
                    "%s: the access token is over and there is no refresh token; add a new one "
                    "with `credwarden add %s`",
                    name, name);
        return;
    case ANSWER_QUARANTINED:
        api_problem(call, code, 0,
                    "%s: the server named another subject than before; the pair is kept but never "
                    "used; see `credwarden history %s`",
                    name, name);
        return;
    case ANSWER_UNPROVEN:
        api_problem(call, code, later, "%s: the server has not said yet whose login this is", name);
        return;
    case ANSWER_THROTTLED:
        api_problem(call, code, later, "%s: the provider asks to wait (%s)", name, detail);
        return;
    case ANSWER_UNREACHABLE:
        api_problem(call, code, later, "%s: the provider gave no usable answer (%s)", name, detail);
        return;
    case ANSWER_TIMEOUT:
        api_problem(call, code, later, "%s: no token within the time allowed", name);
        return;
    case ANSWER_STORE:
        api_problem(call, code, later,
                    "%s: the store cannot be written (%s); nothing was lost, it is tried again",
                    name, h && h->write_detail[0] ? h->write_detail : "the log says why");
        return;
    case ANSWER_BUSY:
        if (wt->operation == OP_ADD && !warden_view(d->warden, wt->lineage, clock_now(), &v))
            answer_no_room(d, name, call);
        else
            answer_busy(d, wt, fx, call);
        return;
    case ANSWER_STOPPING:
        api_problem(call, code, 0, "the daemon is stopping; try again");
        return;
    case ANSWER_MISMATCH:
        api_problem(call, code, 0,
                    "%s: this login is not shown to be the same subject's as the profile's; "
                    "`credwarden remove %s` first, or add it under another name",
                    name, name);
        return;
    case ANSWER_REJECTED:
        api_problem(call, code, 0,
                    "%s: the server refuses this login (%s); nothing was added: sign in again and "
                    "add what that gives",
                    name, detail);
        return;
    case ANSWER_DUPLICATE:
        api_problem(call, code, 0, "%s: this login is held already", name);
        return;
    }
}

void waiting_want(struct daemon *d, const struct waiting *wt)
{
    struct event ev = event_of(EV_WANT, wt->lineage);
    ev.waiter = wt->id;
    ev.want.ttl_min_ms = wt->ttl_min_ms;
    ev.want.deadline_boot_ms = wt->deadline_boot_ms;
    ev.want.renew = wt->operation == OP_RENEW || wt->operation == OP_REPORT;
    drive(d, &ev);
}

/* The lineage ended while its caller waited, because a new login took the profile over: what was
 * asked for is a token of the profile, not of the lineage. */
static bool ask_successor(struct daemon *d, struct waiting *wt)
{
    struct holding *h = holding_by_profile(d, wt->name);
    bool wants =
        wt->operation == OP_TOKEN || wt->operation == OP_RENEW || wt->operation == OP_REPORT;
    if (!wants || !h || h->lineage == wt->lineage)
        return false;
    wt->lineage = h->lineage;
    waiting_want(d, wt);
    return true;
}

void waiting_answer(struct daemon *d, const struct effect *fx)
{
    struct waiting *slot = waiting_find(d, fx->waiter);
    if (!slot)
        return; /* its peer left */
    if (fx->answer == ANSWER_UNKNOWN && ask_successor(d, slot))
        return;
    struct waiting wt = *slot;
    *slot = (struct waiting){0};
    if (!wt.call)
        return;
    if (fx->answer == ANSWER_TOKEN)
        answer_token(d, &wt, wt.call);
    else if (fx->answer == ANSWER_DONE)
        answer_done(d, &wt, wt.call);
    else
        answer_problem(d, &wt, fx, wt.call);
}

void waiting_stop(struct daemon *d)
{
    for (size_t i = 0; i < WAITERS_MAX; i++) {
        struct waiting wt = d->waitings[i];
        d->waitings[i] = (struct waiting){0};
        if (wt.id != 0 && wt.call)
            api_problem(wt.call, answer_name(ANSWER_STOPPING), 0, "the daemon is stopping");
    }
}

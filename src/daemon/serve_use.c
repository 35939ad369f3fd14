/*
 * `use`: another profile in a place. What is stored first is the order: a place of that profile, to
 * be replaced. The core does the rest; here it is waited for, and the server is asked who is signed
 * in. What cannot be done is taken back in the same way.
 */
#include "daemon/serve_places.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define USE_PATIENCE_MS (15 * SECOND_MS) /* then it is taken back */
#define FRESH_ENOUGH_MS MINUTE_MS        /* of an access token alone, that is put into a place */

static int back_run(struct store *s, struct store_job *job)
{
    struct change *c = (struct change *)job;
    return store_rebind(s, c->row.id, c->from, WISH_REPLACE, c->row.bound_wall_ms);
}

static void back_done(struct store_job *job, int err)
{
    struct change *c = (struct change *)job;
    struct daemon *d = c->d;
    struct place *p = place_find(d, c->row.id);
    struct api_call *call = change_call(c);
    if (err == 0 && p) {
        p->before[0] = '\0';
        (void)str_copy(p->before, sizeof(p->before), p->profile);
        (void)str_copy(p->profile, sizeof(p->profile), c->from);
        p->wish = WISH_REPLACE;
        journal(d, holding_by_profile(d, c->from), "switch-rolled-back", "%s:%s stays %s's: %s",
                p->kind, p->path, c->from, c->why);
        place_bind(p);
    } else if (p) {
        journal(d, NULL, "switch-unfinished", "%s:%s: %s; and taking it back failed: %s", p->kind,
                p->path, c->why, err_reason(err));
    }
    if (call && err == 0)
        api_problem(call, "switch-failed", 0, "%s:%s stays %s's: %s", c->row.kind, c->row.place,
                    c->from, c->why);
    else if (call)
        api_problem(call, "switch-failed", 0,
                    "%s:%s: %s; and it could not be taken back (%s): it is finished as soon as it "
                    "can be",
                    c->row.kind, c->row.place, c->why, err_reason(err));
    change_free(c);
}

void use_take_back(struct change *c, const char *why)
{
    (void)str_copy(c->why, sizeof(c->why), why);
    c->kind = CHANGE_BACK;
    change_submit(c, back_run, back_done);
}

/* Who is signed in there now? The server says. */
static void verified(void *ctx, uint64_t id, const struct reply *reply)
{
    struct change *c = ctx;
    struct daemon *d = c->d;
    struct place *p = place_find(d, c->row.id);
    struct holding *h = p ? holding_by_profile(d, p->profile) : NULL;
    char why[256];
    (void)id;
    if (h && reply->identity == IDENTITY_NAMED && h->subject[0] &&
        strcmp(reply->subject, h->subject) != 0) {
        (void)snprintf(why, sizeof(why), "the server says that %.100s is signed in, not %.100s",
                       reply->subject, h->subject);
        use_take_back(c, why);
        return;
    }
    struct api_call *call = change_call(c);
    bool is_verified = reply->identity == IDENTITY_NAMED;
    if (p)
        journal(d, h, is_verified ? "switch-verified" : "switch-not-verified", "%s:%s: %s", p->kind,
                p->path, is_verified ? reply->label : reply->detail);
    if (call && p)
        api_reply(call, 200,
                  json_pack("{s:s, s:s, s:s, s:s, s:s?, s:b, s:s?}", "kind", p->kind, "place",
                            p->path, "profile", p->profile, "before", p->before, "subject",
                            is_verified ? reply->subject : NULL, "verified", is_verified, "label",
                            is_verified && reply->label[0] ? reply->label : NULL));
    else if (call)
        api_problem(call, "internal", 0, "the place went away");
    change_free(c);
}

void use_verify(struct change *c, struct place *p)
{
    struct daemon *d = c->d;
    struct holding *h = holding_by_profile(d, p->profile);
    journal(d, h, "switch-installed", "%s:%s is %s's", p->kind, p->path, p->profile);
    struct reply none = {.identity = IDENTITY_UNANSWERED};
    int err = h && h->provider.identity_url[0]
                  ? spender_ask(d->spender, ASK_IDENTITY, ++d->next_question, &h->provider,
                                &h->access, verified, c)
                  : ERR_UNSUPPORTED;
    if (err == 0)
        return;
    (void)str_copy(none.detail, sizeof(none.detail),
                   err == ERR_UNSUPPORTED ? "its provider cannot be asked who is signed in"
                                          : err_reason(err));
    verified(c, 0, &none);
}

static int use_run(struct store *s, struct store_job *job)
{
    struct change *c = (struct change *)job;
    return store_rebind(s, c->row.id, c->row.profile, WISH_REPLACE, c->row.bound_wall_ms);
}

static void use_done(struct store_job *job, int err)
{
    struct change *c = (struct change *)job;
    struct daemon *d = c->d;
    struct place *p = place_find(d, c->row.id);
    if (err == 0 && !p)
        err = ERR_NOT_FOUND;
    if (err < 0) {
        change_problem(c, err);
        change_free(c);
        return;
    }
    if (strcmp(p->profile, c->row.profile) != 0)
        (void)str_copy(p->before, sizeof(p->before), p->profile);
    (void)str_copy(p->profile, sizeof(p->profile), c->row.profile);
    p->wish = WISH_REPLACE;
    journal(d, holding_by_profile(d, p->profile), "switch-begun", "%s:%s, from %s", p->kind,
            p->path, c->from);
    place_bind(p);
    settle_later(c, USE_PATIENCE_MS);
}

/* The one that is meant where none is named: the only one of that provider. */
static struct place *place_meant(struct daemon *d, struct api_call *call, const struct holding *h)
{
    struct place *found = NULL;
    unsigned n = 0;
    for (struct place *p = d->places; p; p = p->next) {
        struct holding *now = p->gone ? NULL : holding_by_profile(d, p->profile);
        if (!now || !p->format || is_own_folder(d, p) ||
            (h && strcmp(now->provider.name, h->provider.name) != 0))
            continue;
        found = p;
        n++;
    }
    if (n == 1)
        return found;
    if (n == 0)
        api_problem(call, "consumer-unknown", 0,
                    "no place of a client is bound: `credwarden bind %s --to claude` or the like "
                    "does that",
                    h ? h->profile : "PROFILE");
    else
        api_problem(call, "usage", 0, "there are %u places; say which with --for KIND:PLACE", n);
    return NULL;
}

static bool is_fresh_enough(struct daemon *d, struct api_call *call, const struct holding *h,
                            const struct place *p)
{
    struct view v;
    if (!warden_view(d->warden, h->lineage, clock_now(), &v) || v.standing != STANDING_LIVE) {
        api_problem(call, answer_name(ANSWER_DEAD), 0,
                    "%s is not live; `credwarden show %s` says why", h->profile, h->profile);
        return false;
    }
    bool lasts = v.left_ms >= FRESH_ENOUGH_MS || (p->with_pair && !fp_is_none(v.pair.refresh));
    if (lasts || v.policy == POLICY_ALWAYS)
        return true;
    api_problem(call, answer_name(ANSWER_POLICY), 0,
                "%s: its access token is over, and the policy %s forbids to renew it; "
                "`credwarden policy %s always` allows it",
                h->profile, policy_name(v.policy), h->profile);
    return false;
}

void serve_use(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    const char *to = api_query(call, "to"), *at = api_query(call, "at");
    const char *dry = api_query(call, "dry_run");
    struct consumer_row row = {0};
    bool is_dry = false;
    if (!to || (dry && str_to_bool(dry, &is_dry) < 0)) {
        api_problem(call, "usage", 0, "%s",
                    to ? "dry_run: expected yes or no"
                       : "to: which profile, or - for the one before?");
        return;
    }
    bool goes_back = strcmp(to, "-") == 0;
    struct holding *h = goes_back ? NULL : holding_by_profile(d, to);
    if (!goes_back && !h) {
        api_problem(call, answer_name(ANSWER_UNKNOWN), 0,
                    "there is no profile %.64s; `credwarden list` shows those there are", to);
        return;
    }
    if (at && !read_place(call, "at", row.kind, row.place))
        return;
    struct place *p = at ? place_at(d, row.kind, row.place) : place_meant(d, call, h);
    if (!p) {
        if (at)
            unknown_place(call, row.kind, row.place);
        return;
    }
    h = goes_back ? holding_by_profile(d, p->before) : h;
    if (!h) {
        api_problem(call, "usage", 0, "%s:%s was not switched before", p->kind, p->path);
        return;
    }
    struct holding *now = holding_by_profile(d, p->profile);
    if (now && strcmp(now->provider.name, h->provider.name) != 0) {
        api_problem(call, "provider-differs", 0,
                    "%s is of provider %s, and %s:%s is a place for logins of %s", h->profile,
                    h->provider.name, p->kind, p->path, now->provider.name);
        return;
    }
    if (!is_fresh_enough(d, call, h, p))
        return;
    if (strcmp(h->profile, p->profile) != 0 && !has_room_beside(d, h->profile)) {
        api_problem(call, "consumers-full", 0, "%s has %d places already", h->profile,
                    CONSUMERS_PER_LINEAGE_MAX);
        return;
    }
    if (is_dry) {
        api_reply(call, 200,
                  json_pack("{s:s, s:s, s:s, s:s, s:b}", "kind", p->kind, "place", p->path,
                            "profile", h->profile, "before", p->profile, "dry_run", 1));
        return;
    }
    if (p->is_changing) {
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS,
                    "%s:%s is just being changed; try again", p->kind, p->path);
        return;
    }
    struct change *c = change_new(d, call, CHANGE_USE, h->profile);
    if (!c)
        return;
    c->row.id = p->id;
    (void)change_takes(c, p);
    memcpy(c->row.profile, h->profile, sizeof(c->row.profile));
    memcpy(c->row.kind, p->kind, sizeof(c->row.kind));
    memcpy(c->row.place, p->path, sizeof(c->row.place));
    (void)str_copy(c->from, sizeof(c->from), p->profile);
    change_submit(c, use_run, use_done);
}

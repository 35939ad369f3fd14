/*
 * Siblings: clients that spend on their own. The polite one does what a vendor's client was
 * observed to do: within five minutes of the expiry it locks, reads again, spends only what is not
 * fresh, writes only over what it has read, marks a refused pair as blanked, gives up a lock after
 * eight seconds and goes on with what it has; with an access token alone it never spends. The rude
 * ones know no lock, go by what they remember, write back what they once had, sign in as somebody
 * else, log out, leave half a file, copy it elsewhere.
 */
#include "sim/capture.h"
#include "sim/story.h"

#define BUFFER_MS    (5 * MINUTE_MS)
#define LOCK_GIVE_UP (8 * SECOND_MS)
#define POST_MAX_MS  (3 * SECOND_MS)
#define LOCK_LOOK_MS (500 * INT64_C(1))

static void come_back(struct world *w, const struct sibling *b, int64_t delay_ms)
{
    struct op *op = op_new(w, HAP_SIBLING, NULL, delay_ms);
    op->index = (uint8_t)(b - w->siblings);
}

static void later(struct world *w, const struct sibling *b)
{
    come_back(w, b, w->span_ms / 64 + a_while(w, SITE_SIBLING_GAP, b->place, w->span_ms / 4));
}

static bool is_fresh(const struct world *w, const struct pair *pair)
{
    int64_t buffer_ms = pair->life_ms / 6 < BUFFER_MS ? pair->life_ms / 6 : BUFFER_MS;
    return pair->expires_wall_ms == 0 || WALL_ZERO + w->now + buffer_ms < pair->expires_wall_ms;
}

/* Presents its refresh token; the lock, if it has one, is held until the answer is there. */
static void post(struct world *w, struct sibling *b, struct place *p, const struct pair *read)
{
    int64_t takes_ms = 1 + a_while(w, SITE_SIBLING, b->place, POST_MAX_MS);
    if (fault(w, FAULT_LOCKED, SITE_SIBLING, b->place))
        takes_ms += POST_MAX_MS;
    struct op *op = op_new(w, HAP_SIBLING_REPLY, NULL, takes_ms);
    op->index = (uint8_t)(b - w->siblings);
    op->pair = *read;
    b->stage = SIBLING_ASKS;
    if (b->manners == POLITE)
        p->locked_until = w->now + takes_ms + 1;
    say(w, NULL, "sibling of C%u presents %s", (unsigned)p->id, name_token(w, read->refresh));
}

static void written(struct world *w, struct sibling *b, struct place *p, const struct op *op,
                    const struct pair *pair)
{
    struct pair there = p->what == SEEN_PAIR ? p->pair : (struct pair){0};
    b->stale = b->memory;
    b->memory = *pair;
    if (b->manners == RUDE || pair_equal(&there, &op->pair))
        place_write(w, p, SEEN_PAIR, pair);
}

void sibling_reply(struct world *w, struct op *op)
{
    struct sibling *b = &w->siblings[op->index];
    struct place *p = &w->places[b->place];
    struct reply reply;
    issuer_spend(w, issued_index(w, op->pair.refresh), false, false, &reply);
    b->stage = SIBLING_IDLE;
    p->locked_until = 0;
    bool lost = fault(w, FAULT_LOST_AFTER, SITE_SIBLING, b->place);
    say(w, NULL, "sibling of C%u: %s%s", (unsigned)p->id, verdict_name(reply.verdict),
        lost ? ", and the answer is lost" : "");
    if (!lost && reply.verdict == VERDICT_GRANTED) {
        struct fp refresh = fp_is_none(reply.refresh) ? op->pair.refresh : reply.refresh;
        struct pair pair = pair_of(w, reply.access, refresh);
        written(w, b, p, op, &pair);
    } else if (!lost && reply.verdict == VERDICT_REFUSED && p->what == SEEN_PAIR &&
               fp_equal(p->pair.refresh, op->pair.refresh)) {
        place_write(w, p, SEEN_BLANK, NULL);
    }
    later(w, b);
}

/* Under the locks: read again, and spend only what is not fresh. */
static void locked(struct world *w, struct sibling *b, struct place *p)
{
    b->stage = SIBLING_IDLE;
    if (p->what == SEEN_PAIR)
        b->memory = p->pair;
    if (p->what == SEEN_PAIR && !fp_is_none(p->pair.refresh) && !is_fresh(w, &p->pair))
        post(w, b, p, &b->memory);
    else
        later(w, b);
}

static void polite(struct world *w, struct sibling *b, struct place *p)
{
    if (b->stage == SIBLING_IDLE) {
        if (p->what == SEEN_PAIR)
            b->memory = p->pair;
        if (p->what != SEEN_PAIR || fp_is_none(b->memory.refresh) || is_fresh(w, &b->memory)) {
            later(w, b);
            return;
        }
        b->waits_until = w->now + LOCK_GIVE_UP;
    }
    if (p->locked_until <= w->now) {
        locked(w, b, p);
    } else if (w->now >= b->waits_until) {
        b->stage = SIBLING_IDLE; /* goes on with the token it has */
        later(w, b);
    } else {
        b->stage = SIBLING_WAITS;
        come_back(w, b, LOCK_LOOK_MS);
    }
}

/* Somebody signs in there: a stranger, or the subject of another profile. */
static void sign_in(struct world *w, struct sibling *b, struct place *p)
{
    int row = place_row(w, p);
    struct fp access, refresh;
    if (row == NOBODY)
        return;
    unsigned subject = draw(&w->draws, SITE_SIBLING, 32 + b->place, SUBJECTS_MAX);
    int family = family_new(w, w->store.rows[row].provider, subject);
    if (family == NOBODY || !issue_pair(w, family, true, &access, &refresh))
        return;
    w->families[family].narrow = fault(w, FAULT_SCOPE, SITE_SIBLING, 32 + b->place);
    b->stale = b->memory;
    b->memory = pair_of(w, access, refresh);
    say(w, NULL, "somebody signs in at C%u: login %d", (unsigned)p->id, family);
    place_write(w, p, SEEN_PAIR, &b->memory);
}

static void copy_elsewhere(struct world *w, struct sibling *b, struct place *p)
{
    struct place *to = &w->places[draw(&w->draws, SITE_SIBLING, 32 + b->place, w->n_places)];
    if (to == p || !to->replica || p->what != SEEN_PAIR)
        return;
    say(w, NULL, "what stands in C%u is copied to C%u", (unsigned)p->id, (unsigned)to->id);
    place_write(w, to, SEEN_PAIR, &p->pair);
}

static bool rude_act(struct world *w, struct sibling *b, struct place *p)
{
    unsigned part = b->place;
    if (fault(w, FAULT_RUDE_STALE, SITE_SIBLING, part) && !fp_is_none(b->stale.access)) {
        say(w, NULL, "what once stood in C%u is written back", (unsigned)p->id);
        place_write(w, p, SEEN_PAIR, &b->stale);
    } else if (fault(w, FAULT_RUDE_OTHER, SITE_SIBLING, part)) {
        sign_in(w, b, p);
    } else if (fault(w, FAULT_RUDE_LOGOUT, SITE_SIBLING, part)) {
        say(w, NULL, "somebody logs out at C%u", (unsigned)p->id);
        place_write(w, p, SEEN_GONE, NULL);
    } else if (fault(w, FAULT_RUDE_TORN, SITE_SIBLING, part)) {
        say(w, NULL, "C%u is left half-written", (unsigned)p->id);
        place_write(w, p, SEEN_TORN, NULL);
    } else if (fault(w, FAULT_RUDE_COPY, SITE_SIBLING, part)) {
        copy_elsewhere(w, b, p);
    } else {
        return false;
    }
    return true;
}

static void rude(struct world *w, struct sibling *b, struct place *p)
{
    if (w->phase != PHASE_SAFETY) {
        b->manners = POLITE;
    } else if (rude_act(w, b, p)) {
        later(w, b);
        return;
    }
    if (fp_is_none(b->memory.access) || !fault(w, FAULT_RUDE_UNLOCKED, SITE_SIBLING, b->place)) {
        polite(w, b, p);
        return;
    }
    /* By its memory, whatever stands there by now. */
    if (!fp_is_none(b->memory.refresh) && !is_fresh(w, &b->memory))
        post(w, b, p, &b->memory);
    else
        later(w, b);
}

void sibling_act(struct world *w, struct op *op)
{
    struct sibling *b = &w->siblings[op->index];
    struct place *p = &w->places[b->place];
    const struct host *h = &w->hosts[p->host];
    if (h->asleep_until > w->now)
        come_back(w, b, h->asleep_until - w->now);
    else if (b->manners == RUDE)
        rude(w, b, p);
    else
        polite(w, b, p);
}

void siblings_begin(struct world *w)
{
    for (unsigned i = 0; i < w->n_places; i++) {
        if (!w->places[i].replica || draw(&w->draws, SITE_SIBLING, 31, 8) == 7)
            continue;
        struct sibling *b = &w->siblings[w->n_siblings++];
        *b = (struct sibling){
            .place = (uint8_t)i,
            .manners = draw(&w->draws, SITE_SIBLING, 30, 2) == 1 ? RUDE : POLITE,
        };
        later(w, b);
    }
}

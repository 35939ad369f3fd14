/*
 * Siblings: clients that spend on their own, up to three at one place. The polite one does what a
 * vendor's client was observed to do: within five minutes of the expiry it takes the client's lock,
 * reads again, spends only what is not fresh, writes only over what it has read, marks a refused
 * pair as blanked; it gives up on a lock after eight seconds and goes on with what it has, but
 * takes over one that nobody has touched for ten; with an access token alone it never spends. The
 * rude ones know no lock, go by what they remember, write back what they once had, sign in as
 * somebody else, log out, leave half a file, copy it elsewhere. Any of them may be killed at any
 * moment, and what it has under way goes on without it:
 *
 *     lock ── request ── provider evaluates ── answer written down, lock released
 */
#include "sim/capture.h"
#include "sim/coverage.h"
#include "sim/story.h"

#include <string.h>

#define BUFFER_MS    (5 * MINUTE_MS)
#define LOCK_GIVE_UP (8 * SECOND_MS)
#define LOCK_LOOK_MS (500 * INT64_C(1))
#define POST_MAX_MS  (3 * SECOND_MS)
#define WRITE_MAX_MS SECOND_MS
#define SLOW_MS      (9 * SECOND_MS) /* longer than anybody waits for the lock */

/* Parts of SITE_SIBLING beside those of the siblings. */
enum { PART_LOGIN = SIBLINGS_MAX, PART_FATE, PART_COUNT, PART_MANNERS, PART_NONE };
_Static_assert((int)PART_NONE < (int)DRAW_PARTS, "each sibling has a part of its own");

static unsigned index_of(const struct world *w, const struct sibling *b)
{
    return (unsigned)(b - w->siblings);
}

/* It is of a process, and that of a boot of its machine: with either it is gone. */
static struct op *sibling_op(struct world *w, enum happening what, const struct sibling *b,
                             int64_t delay_ms)
{
    struct op *op = op_new(w, what, &w->hosts[w->places[b->place].host], delay_ms);
    op->outlives = true;
    op->index = (uint8_t)index_of(w, b);
    op->life = b->life;
    return op;
}

static void come_back(struct world *w, const struct sibling *b, int64_t delay_ms)
{
    (void)sibling_op(w, HAP_SIBLING, b, delay_ms);
}

static void later(struct world *w, const struct sibling *b)
{
    come_back(w, b, w->span_ms / 64 + a_while(w, SITE_SIBLING_GAP, b->part, w->span_ms / 4));
}

/* Where nobody said how long it lasts, it does until it is refused. */
static bool is_fresh(const struct world *w, const struct pair *pair)
{
    if (pair->expires_wall_ms == 0)
        return access_is_alive(w, pair->access);
    int64_t buffer_ms = pair->life_ms / 6 < BUFFER_MS ? pair->life_ms / 6 : BUFFER_MS;
    return WALL_ZERO + w->now + buffer_ms < pair->expires_wall_ms;
}

/* ---- the client's lock ---- */

static bool has_lock(const struct world *w, const struct sibling *b)
{
    return w->places[b->place].lock_holder == (int16_t)index_of(w, b);
}

static void take_lock(struct world *w, const struct sibling *b)
{
    struct place *p = &w->places[b->place];
    if (p->lock_holder != NOBODY)
        coverage_scene(w, SCENE_LOCK_TAKEN_OVER);
    p->lock_holder = (int16_t)index_of(w, b);
    p->lock_stale_at = TIME_NEVER;
}

static void release_lock(struct world *w, const struct sibling *b)
{
    if (has_lock(w, b))
        w->places[b->place].lock_holder = NOBODY;
}

/* ---- a spend of its own ---- */

/* Presents its refresh token; the lock, if it has it, is held until the answer is written down. */
static void post(struct world *w, struct sibling *b, const struct pair *read)
{
    int64_t takes_ms = 1 + a_while(w, SITE_SIBLING, b->part, POST_MAX_MS);
    if (fault(w, FAULT_LOCKED, SITE_SIBLING, b->part))
        takes_ms += SLOW_MS;
    sibling_op(w, HAP_SIBLING_COMMIT, b, takes_ms)->pair = *read;
    if (fault(w, FAULT_SIBLING_KILLED, SITE_SIBLING, PART_FATE))
        (void)sibling_op(w, HAP_SIBLING_DIES, b,
                         1 + a_while(w, SITE_SIBLING, PART_FATE, takes_ms + SLOW_MS));
    b->stage = SIBLING_ASKS;
    say(w, NULL, "sibling %u of C%u presents %s", index_of(w, b), b->place + 1u,
        name_token(w, read->refresh));
}

void sibling_commit(struct world *w, struct op *op)
{
    struct sibling *b = &w->siblings[op->index];
    struct reply reply;
    issuer_spend(w, issued_index(w, op->pair.refresh), false, false, &reply);
    bool lost = fault(w, FAULT_LOST_AFTER, SITE_SIBLING, b->part);
    say(w, NULL, "sibling %u of C%u: the provider evaluates %s: %s%s", index_of(w, b),
        b->place + 1u, name_token(w, op->pair.refresh), verdict_name(reply.verdict),
        lost ? ", and the answer is lost" : "");
    if (op->life != b->life) {
        coverage_scene(w, SCENE_SIBLING_GONE_AT_COMMIT);
        return;
    }
    int64_t takes_ms = 1 + a_while(w, SITE_SIBLING, PART_FATE, WRITE_MAX_MS);
    if (fault(w, FAULT_SLOW_SERVER, SITE_SIBLING, PART_FATE))
        takes_ms += SLOW_MS;
    struct op *write = sibling_op(w, HAP_SIBLING_WRITE, b, takes_ms);
    write->pair = op->pair;
    write->reply = reply;
    write->lost = lost;
}

static void write_granted(struct world *w, struct sibling *b, const struct op *op)
{
    struct place *p = &w->places[b->place];
    struct fp refresh = fp_is_none(op->reply.refresh) ? op->pair.refresh : op->reply.refresh;
    struct pair pair = pair_of(w, op->reply.access, refresh);
    struct pair there = p->what == SEEN_PAIR ? p->pair : (struct pair){0};
    b->stale = b->memory;
    b->memory = pair;
    if (b->manners == RUDE || pair_equal(&there, &op->pair))
        place_write(w, p, SEEN_PAIR, &pair);
    else
        coverage_scene(w, SCENE_SIBLING_SWAP_REFUSED);
}

void sibling_write(struct world *w, struct op *op)
{
    struct sibling *b = &w->siblings[op->index];
    struct place *p = &w->places[b->place];
    if (op->life != b->life) {
        coverage_scene(w, SCENE_SIBLING_GONE_AT_WRITE);
        return;
    }
    b->stage = SIBLING_IDLE;
    if (!op->lost && op->reply.verdict == VERDICT_GRANTED) {
        write_granted(w, b, op);
    } else if (!op->lost && op->reply.verdict == VERDICT_REFUSED && p->what == SEEN_PAIR &&
               fp_equal(p->pair.refresh, op->pair.refresh)) {
        coverage_scene(w, SCENE_SIBLING_BLANKS);
        place_write(w, p, SEEN_BLANK, NULL);
    }
    release_lock(w, b);
    later(w, b);
}

/* ---- its process ---- */

/* A lock is a folder: it stays, and nobody touches it any more. */
static void die(struct world *w, struct sibling *b)
{
    struct place *p = &w->places[b->place];
    if (has_lock(w, b))
        p->lock_stale_at = w->now + LOCK_STALE_MS;
    b->life++;
    b->stage = SIBLING_IDLE;
    memset(&b->memory, 0, sizeof(b->memory));
}

void sibling_dies(struct world *w, struct op *op)
{
    struct sibling *b = &w->siblings[op->index];
    if (op->life != b->life || b->stage != SIBLING_ASKS)
        return;
    say(w, NULL, "sibling %u of C%u is killed", index_of(w, b), b->place + 1u);
    die(w, b);
    later(w, b); /* it is started again */
}

void siblings_lose_power(struct world *w, const struct host *h)
{
    for (unsigned i = 0; i < w->n_siblings; i++) {
        if (w->places[w->siblings[i].place].host == h->index)
            die(w, &w->siblings[i]);
    }
}

void siblings_boot(struct world *w, const struct host *h)
{
    for (unsigned i = 0; i < w->n_siblings; i++) {
        if (w->places[w->siblings[i].place].host == h->index)
            later(w, &w->siblings[i]);
    }
}

/* Who wakes first: its holder, who touches it, or somebody who finds it untouched for long? */
void siblings_sleep(struct world *w, const struct host *h)
{
    for (unsigned i = 0; i < w->n_siblings; i++) {
        struct place *p = &w->places[w->siblings[i].place];
        if (p->host == h->index && has_lock(w, &w->siblings[i]) &&
            draw(&w->draws, SITE_SIBLING, PART_FATE, 2) == 1)
            p->lock_stale_at = w->now + LOCK_STALE_MS;
    }
}

/* Under the lock: read again, and spend only what is not fresh. */
static void under_lock(struct world *w, struct sibling *b)
{
    const struct place *p = &w->places[b->place];
    if (p->what == SEEN_PAIR)
        b->memory = p->pair;
    if (p->what == SEEN_PAIR && !fp_is_none(p->pair.refresh) && !is_fresh(w, &p->pair)) {
        post(w, b, &b->memory);
        return;
    }
    if (b->stage == SIBLING_WAITS && p->what == SEEN_PAIR && is_fresh(w, &p->pair))
        coverage_scene(w, SCENE_SIBLING_FINDS_FRESH);
    b->stage = SIBLING_IDLE;
    release_lock(w, b);
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
    if (!place_is_locked(w, p)) {
        take_lock(w, b);
        under_lock(w, b);
    } else if (w->now >= b->waits_until) {
        coverage_scene(w, SCENE_SIBLING_GIVES_UP);
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
    unsigned subject = draw(&w->draws, SITE_SIBLING, PART_LOGIN, SUBJECTS_MAX);
    int family = family_new(w, w->store.rows[row].provider, subject);
    if (family == NOBODY || !issue_pair(w, family, true, &access, &refresh))
        return;
    w->families[family].narrow = fault(w, FAULT_SCOPE, SITE_SIBLING, PART_LOGIN);
    b->stale = b->memory;
    b->memory = pair_of(w, access, refresh);
    say(w, NULL, "somebody signs in at C%u: login %d", (unsigned)p->id, family);
    place_write(w, p, SEEN_PAIR, &b->memory);
}

static void copy_elsewhere(struct world *w, struct place *p)
{
    struct place *to = &w->places[draw(&w->draws, SITE_SIBLING, PART_LOGIN, w->n_places)];
    if (to == p || !to->replica || p->what != SEEN_PAIR)
        return;
    say(w, NULL, "what stands in C%u is copied to C%u", (unsigned)p->id, (unsigned)to->id);
    place_write(w, to, SEEN_PAIR, &p->pair);
}

static bool rude_act(struct world *w, struct sibling *b, struct place *p)
{
    unsigned part = b->part;
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
        copy_elsewhere(w, p);
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
    if (fp_is_none(b->memory.access) || !fault(w, FAULT_RUDE_UNLOCKED, SITE_SIBLING, b->part)) {
        polite(w, b, p);
        return;
    }
    /* By its memory, whatever stands there by now. */
    if (!fp_is_none(b->memory.refresh) && !is_fresh(w, &b->memory))
        post(w, b, &b->memory);
    else
        later(w, b);
}

void sibling_act(struct world *w, struct op *op)
{
    struct sibling *b = &w->siblings[op->index];
    struct place *p = &w->places[b->place];
    if (op->life != b->life)
        return;
    if (b->manners == RUDE)
        rude(w, b, p);
    else
        polite(w, b, p);
}

void siblings_begin(struct world *w)
{
    for (unsigned i = 0; i < w->n_places; i++) {
        if (!w->places[i].replica || draw(&w->draws, SITE_SIBLING, PART_NONE, 8) == 7)
            continue;
        unsigned n = 1 + draw(&w->draws, SITE_SIBLING, PART_COUNT, SIBLINGS_PER_PLACE_MAX);
        for (unsigned k = 0; k < n; k++) {
            struct sibling *b = &w->siblings[w->n_siblings++];
            *b = (struct sibling){
                .place = (uint8_t)i,
                .part = (uint8_t)(i + PLACES_MAX * k),
                .manners = draw(&w->draws, SITE_SIBLING, PART_MANNERS, 2) == 1 ? RUDE : POLITE,
            };
            later(w, b);
        }
    }
}

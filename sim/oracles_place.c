/*
 * The oracles of places: who holds a refresh token, what is written where, what becomes of what
 * others wrote.
 */
#include "sim/capture.h"
#include "sim/oracles.h"
#include "sim/story.h"

#define LOOKS_AT_LEAST 3
#define FORGOTTEN_MS   (6 * MINUTE_MS)
#define MOMENT_MS      (3 * SECOND_MS)

/* One that cannot be read since the start is not waited for for ever. */
static bool is_given_up(const struct place *p)
{
    return p->is_known && p->told_what == SEEN_COUNT && p->told_failed >= LOOKS_AT_LEAST;
}

/* holders. At most one place that we wrote holds the refresh token. */
static void check_holders(struct world *w, const struct effect *fx, const struct place *p)
{
    for (unsigned i = 0; i < w->n_places; i++) {
        const struct place *other = &w->places[i];
        /* Whoever is no consumer any more keeps what we gave him. */
        if (other != p && other->by_us && other->what == SEEN_PAIR && !is_given_up(other) &&
            fp_equal(other->pair.refresh, fx->pair.refresh))
            violated(w, "holders", "C%u is given %s, which C%u holds", (unsigned)p->id,
                     name_token(w, fx->pair.refresh), (unsigned)other->id);
    }
}

static bool is_somebodys(const struct world *w, const struct host *h, unsigned subject)
{
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        bool was_lately = row->standing == STANDING_RETIRED &&
                          (w->now - row->ended_at < MINUTE_MS || h->told[i].here); /* unheard of */
        bool is_still = row->standing != STANDING_RETIRED && row->standing != STANDING_QUARANTINED;
        if ((is_still || was_lately) && fp_equal(row->subject, subject_fp(subject)))
            return true;
    }
    return false;
}

/* … as this warden knew then. */
static bool is_set_aside(const struct world *w, const struct host *h, const struct pair *pair,
                         int64_t then)
{
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        if (row->standing == STANDING_QUARANTINED && h->told[i].here &&
            h->told[i].here_at <= then && fp_equal(row->pair.refresh, pair->refresh))
            return true;
    }
    return false;
}

/* left-alone. Where nobody is signed in, or a stranger whose pair is alive, is not our place. (That
 * he was set aside by another warden may be heard of while the write is under way, when nothing but
 * another pair than the expected one stops it.) */
static void check_left_alone(struct world *w, const struct place *p, int64_t ordered_at)
{
    if (!p->replica)
        return;
    if (p->what == SEEN_TORN || (p->what == SEEN_GONE && p->wish == WISH_NONE))
        violated(w, "left-alone", "C%u is written, and nothing to write over is there",
                 (unsigned)p->id);
    if (p->what != SEEN_PAIR || p->by_us ||
        (is_known_grant(w, &p->pair) && !is_set_aside(w, &w->hosts[p->host], &p->pair, ordered_at)))
        return;
    if (p->wish == WISH_REPLACE && is_known_grant(w, &p->pair))
        return; /* set aside, and its user wants ours there */
    const struct issued *t = &w->issued[issued_index(w, p->pair.access)];
    int row = place_row(w, p);
    if (row != NOBODY &&
        w->issued[issued_index(w, w->store.rows[row].pair.access)].family == t->family)
        return; /* its own login, whoever that is */
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        const struct row *other = &w->store.rows[i];
        if (other->standing != STANDING_QUARANTINED && other->standing != STANDING_RETIRED &&
            fp_equal(other->pair.refresh, p->pair.refresh))
            return; /* a copy of another profile's */
    }
    if (!is_somebodys(w, &w->hosts[p->host], t->subject) && refresh_is_alive(w, p->pair.refresh))
        violated(w, "left-alone", "C%u is written over a stranger's live %s", (unsigned)p->id,
                 name_token(w, p->pair.refresh));
}

static bool is_as_expected(const struct effect *fx, enum seen what, const struct pair *pair)
{
    return what == fx->expected_what && (what != SEEN_PAIR || pair_equal(pair, &fx->expected));
}

/* blind. A replica is written only over what its warden has heard of: that is what it expects, and
 * what is there when it is written. */
static void check_expected(struct world *w, const struct effect *fx, const struct place *p)
{
    /* What was seen while we wrote is left to that write to say; and it failed. */
    bool unsaid = p->told_failed > 0 && is_as_expected(fx, p->before_what, &p->before);
    if (p->replica && !unsaid && !is_as_expected(fx, p->told_what, &p->told))
        violated(w, "blind", "C%u is to be written over what nobody has heard is there",
                 (unsigned)p->id);
}

static void check_blind(struct world *w, const struct effect *fx, const struct place *p)
{
    if (p->replica && !is_as_expected(fx, p->what, &p->pair))
        violated(w, "blind", "C%u is written, and nobody has heard what is there", (unsigned)p->id);
}

/* What is there already, without its refresh token. */
static bool is_withheld(const struct effect *fx)
{
    return fp_is_none(fx->pair.refresh) && fp_equal(fx->pair.access, fx->expected.access);
}

/* publishes. What is ordered to be published is the lineage's current, durable pair, or its access
 * half, while it lives. (By the time it is written the lineage may have gone on.) */
void oracle_publishes(struct world *w, const struct host *h, const struct effect *fx)
{
    const struct row *row = &w->store.rows[row_of(fx->lineage)];
    const struct place *p = place_find(w, fx->consumer);
    bool with_refresh = !fp_is_none(fx->pair.refresh);
    CHECK(p && p->host == h->index);
    check_expected(w, fx, p);
    if (is_withheld(fx) || (w->fleet && !has_heard(w, h, row_of(fx->lineage))))
        return;
    if (!fp_equal(fx->pair.access, row->pair.access) ||
        (with_refresh && !fp_equal(fx->pair.refresh, row->pair.refresh)))
        violated(w, "publishes", "C%u is to have %s, and %s has %s", (unsigned)fx->consumer,
                 name_token(w, fx->pair.access), name_lineage(fx->lineage),
                 name_token(w, row->pair.access));
    if (row->standing != STANDING_LIVE && row->standing != STANDING_DOUBT)
        violated(w, "publishes", "C%u is to have a pair of %s, which is %s", (unsigned)fx->consumer,
                 name_lineage(fx->lineage), standing_name(row->standing));
}

/* access-only. Who may have access tokens only never sees a refresh token. Judged as it is written.
 */
void oracle_published(struct world *w, const struct host *h, const struct op *order,
                      const struct place *p)
{
    const struct effect *fx = &order->fx;
    bool with_refresh = !fp_is_none(fx->pair.refresh);
    say(w, h, "C%u is written: %s+%s", (unsigned)p->id, name_token(w, fx->pair.access),
        name_token(w, fx->pair.refresh));
    check_blind(w, fx, p);
    if (with_refresh && !p->with_pair)
        violated(w, "access-only", "C%u is given %s", (unsigned)p->id,
                 name_token(w, fx->pair.refresh));
    if (with_refresh)
        check_holders(w, fx, p);
    if (!is_withheld(fx))
        check_left_alone(w, p, order->started_at);
}

/* wish. What its user ordered for a place ends when it is done, so that it is not done again to
 * whoever signs in there, or out, later. */
void oracle_wish(struct world *w, const struct host *h, const struct op *put, const struct place *p)
{
    if (h->up && p->is_known && p->wished_at < put->started_at && !is_withheld(&put->fx) &&
        p->wish != WISH_NONE)
        violated(w, "wish", "C%u has what it was to have, and still is to have it",
                 (unsigned)p->id);
}

/* wish. What was to be filled because it was empty is not to be filled any more when somebody is
 * signed in there. (What is heard while a write is under way is left to that one to say.) */
void oracle_filled(struct world *w, const struct host *h, const struct op *look,
                   const struct place *p)
{
    bool is_heard = look->late || p->before_what == SEEN_COUNT;
    if (h->up && p->is_known && look->seen == SEEN_PAIR && is_heard && p->wish == WISH_FILL)
        violated(w, "wish", "C%u is not empty, and still is to be filled", (unsigned)p->id);
}

/* Where nobody can be asked whose a pair is, a refresh token that another lineage has says it. */
static bool says_anothers(const struct world *w, const struct capture *c, int row)
{
    int owner = row_of_grant(w, c->pair.refresh);
    return !w->providers[w->store.rows[row].provider].has_identity && owner != NOBODY &&
           owner != row;
}

/* Another one stands there; or none, and it was found when the place was not of this lineage, or
 * set aside unasked: that is not waited for, whether or not it could be written. */
static bool has_gone_on(const struct place *p, const struct capture *c, int row)
{
    if (p->told_what == SEEN_PAIR)
        return !pair_equal(&p->told, &c->pair);
    return p->told_what != SEEN_COUNT && (c->row != row || c->is_unasked);
}

/* withheld. Before a token is presented it is taken out of every place where we had put it.
 * held-back. And not before what was found in a place of the lineage is understood: its server was
 * asked, or cannot say; or it is a lineage of its own already, set aside. */
void oracle_places(struct world *w, const struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    for (unsigned i = 0; i < w->n_places; i++) {
        const struct place *p = &w->places[i];
        if (p->host == h->index && p->is_bound && p->is_known && p->by_us && p->what == SEEN_PAIR &&
            !is_given_up(p) && fp_equal(p->pair.refresh, fx->presented))
            violated(w, "withheld", "L%d: %s is presented, and C%u holds it by our own hand", index,
                     name_token(w, fx->presented), (unsigned)p->id);
    }
    for (unsigned i = 0; i < CAPTURES_MAX; i++) {
        const struct capture *c = &w->store.captures[i];
        if (c->id == 0 || !c->told || c->is_nobodys || c->named != IDENTITY_UNANSWERED)
            continue;
        const struct place *p = &w->places[c->place];
        if (p->host == h->index && p->is_known && place_row(w, p) == index &&
            !has_gone_on(p, c, index) && !is_former_pair(w, &c->pair) &&
            !says_anothers(w, c, index) && !is_set_aside(w, h, &c->pair, w->now))
            violated(w, "held-back", "L%d is spent, and nobody knows yet whose %s is", index,
                     name_token(w, c->pair.access));
    }
}

/* subject. A lineage goes on with a pair from a place only when its server has named the lineage's
 * subject, or when it is the same grant: its refresh token is the lineage's own. newer. And never
 * goes back within one login. (Two of one moment are as good as each other: a Date has whole
 * seconds.) */
void oracle_continues(struct world *w, const struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    const struct row *row = &w->store.rows[index];
    const struct capture *c = sealed_find(w, fx->capture);
    if (!c || h->told[index].generation != row->generation)
        return; /* another life's, or another warden has gone on: the store refuses it */
    const struct issued *theirs = &w->issued[issued_index(w, c->pair.access)];
    const struct issued *ours = &w->issued[issued_index(w, row->pair.access)];
    bool same_grant = fp_equal(row->pair.refresh, c->pair.refresh);
    bool named = c->named == IDENTITY_NAMED && fp_equal(row->subject, c->subject);
    if (!same_grant && !named)
        violated(w, "subject", "L%d goes on with %s, which is another subject's", index,
                 name_token(w, c->pair.access));
    if (w->wall_was_wrong && !w->providers[row->provider].has_date)
        return; /* what we wrote down of ours may be anything */
    if (WALL_ZERO + ours->expires_at - row->pair.expires_wall_ms > MOMENT_MS)
        return; /* its answer was long under way, and it is counted from the request */
    if (row->standing == STANDING_DEAD || h->told[index].access_refused)
        return; /* nothing to lose */
    if (theirs->family == ours->family && theirs->generation < ours->generation &&
        theirs->expires_at + MOMENT_MS < ours->expires_at)
        violated(w, "newer", "L%d goes back from %s to %s", index, name_token(w, row->pair.access),
                 name_token(w, c->pair.access));
}

/* stranded. A known subject's pair, by its server's word, is not set aside as a stranger's. */
void oracle_quarantines(struct world *w, const struct host *h, const struct effect *fx)
{
    const struct capture *c = sealed_find(w, fx->capture);
    if (!c || c->named != IDENTITY_NAMED || fp_is_none(c->pair.refresh))
        return;
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        bool lives = row->standing == STANDING_LIVE || row->standing == STANDING_DOUBT ||
                     row->standing == STANDING_DEAD;
        if (lives && row->wanted == 0 && !h->told[i].removing && h->told[i].here &&
            h->told[i].standing == row->standing && fp_equal(row->subject, c->subject))
            violated(w, "stranded", "%s is set aside, and is the subject's of L%u",
                     name_token(w, c->pair.access), i);
    }
}

/* stranded. In the end nothing lies sealed and forgotten whose server would say whose it is. */
void oracle_captures_end(struct world *w)
{
    for (unsigned i = 0; i < CAPTURES_MAX; i++) {
        const struct capture *c = &w->store.captures[i];
        const struct place *p = &w->places[c->place];
        if (c->id == 0 || !p->is_known || !w->hosts[p->host].up ||
            w->now - c->sealed_at < FORGOTTEN_MS)
            continue;
        const struct issued *t = &w->issued[issued_index(w, c->pair.access)];
        const struct family *f = &w->families[t->family];
        if (w->providers[f->provider].has_identity && !f->narrow &&
            access_is_alive(w, c->pair.access) && refresh_is_alive(w, c->pair.refresh) &&
            c->named == IDENTITY_UNANSWERED)
            violated(w, "stranded", "%s lies sealed, and nobody asks whose it is",
                     name_token(w, c->pair.access));
    }
}

static bool has_open_capture(const struct world *w, const struct place *p)
{
    for (unsigned i = 0; i < CAPTURES_MAX; i++) {
        const struct capture *c = &w->store.captures[i];
        if (c->id != 0 && w->places[c->place].row == p->row)
            return true;
    }
    return false;
}

/* It is another lineage's, now or until that was ended, or of the same grant: of a login that was
 * set aside, say. */
static bool is_anothers(const struct world *w, const struct place *p)
{
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        bool same_grant =
            !fp_is_none(p->pair.refresh) && fp_equal(row->pair.refresh, p->pair.refresh);
        if ((int)i != p->row && (same_grant || fp_equal(row->pair.access, p->pair.access)))
            return true;
    }
    return false;
}

/* Is there a copy of its lineage's pair, current or former, that is ours to keep in step? */
static bool is_ours_to_keep(const struct world *w, const struct place *p, const struct row *row)
{
    switch (p->what) {
    case SEEN_PAIR:
        return !is_anothers(w, p) && (p->by_us || fp_equal(p->pair.access, row->pair.access) ||
                                      is_former_pair(w, &p->pair));
    case SEEN_BLANK:
        return !fp_equal(p->blanked, row->pair.access);
    case SEEN_TORN:
    case SEEN_GONE:
    case SEEN_COUNT:
        break;
    }
    return false;
}

/* What a watch has missed its warden may not know yet. */
static bool is_found_by_now(const struct world *w, const struct place *p)
{
    return w->now - p->written_at > MINUTE_MS + look_round_ms(w);
}

/* It has this refresh token; or had it, for all that its warden has heard. */
static bool seems_to_have(const struct world *w, const struct place *p, struct fp refresh)
{
    return fp_equal(p->pair.refresh, refresh) ||
           (!is_found_by_now(w, p) && fp_equal(p->told.refresh, refresh));
}

static bool has_rival(const struct world *w, const struct place *p)
{
    const struct row *row = &w->store.rows[p->row];
    /* One that is not single use is not missed: it never changes, so that once given away is for
     * ever. */
    bool rival = row->given_away || !w->providers[row->provider].rotates;
    for (unsigned i = 0; i < w->n_places; i++) {
        const struct place *other = &w->places[i];
        rival |= other != p && ((other->is_known && other->row == p->row && other->with_pair) ||
                                seems_to_have(w, other, row->pair.refresh));
    }
    return rival;
}

static void check_in_step(struct world *w, const struct place *p)
{
    const struct row *row = &w->store.rows[p->row];
    bool heard = has_heard(w, &w->hosts[p->host], p->row);
    bool calm = heard && row->standing == STANDING_LIVE && row->policy == POLICY_ALWAYS &&
                row->intent == 0 && counts_right(w, &w->hosts[p->host], p->row) &&
                w->leases[p->row].holder == NOBODY && w->now - row->pair_at > MINUTE_MS &&
                is_found_by_now(w, p) && !is_being_added(w, p->profile) && !has_open_capture(w, p);
    /* What its client got by itself, or from a run that is forgotten, may last longer than ours. */
    bool outlasts = p->what == SEEN_PAIR &&
                    (fp_is_none(p->pair.refresh) || fp_equal(p->pair.refresh, row->pair.refresh)) &&
                    p->pair.expires_wall_ms > row->pair.expires_wall_ms;
    bool is_wished =
        p->wish == WISH_REPLACE && p->what != SEEN_TORN && w->now - p->wished_at > MINUTE_MS;
    if (!calm || outlasts || place_row(w, p) != p->row || !access_is_alive(w, row->pair.access) ||
        (p->replica && !is_wished && !is_ours_to_keep(w, p, row)))
        return;
    if (p->what != SEEN_PAIR || !fp_equal(p->pair.access, row->pair.access))
        violated(w, "in-step", "C%u has %s, and its lineage has %s", (unsigned)p->id,
                 name_token(w, p->pair.access), name_token(w, row->pair.access));
    if (p->replica && p->with_pair && !has_rival(w, p) &&
        !fp_equal(p->pair.refresh, row->pair.refresh))
        violated(w, "in-step", "C%u is left without %s", (unsigned)p->id,
                 name_token(w, row->pair.refresh));
}

/* in-step. When nothing goes wrong any more, each place shows what its lineage has; and who may
 * have the refresh token, and is the only one, has it. */
void oracle_in_step(struct world *w)
{
    for (unsigned i = 0; i < w->n_places; i++) {
        const struct place *p = &w->places[i];
        const struct host *h = &w->hosts[p->host];
        int64_t from = w->cleared_at > h->started_at ? w->cleared_at : h->started_at;
        from = h->woke_at > from ? h->woke_at : from;
        if (p->is_bound && p->is_known && h->up && h->asleep_until <= w->now &&
            w->now - from >= IN_STEP_AFTER_MS)
            check_in_step(w, p);
    }
}

/* dead. Nothing is given up while a live pair of its subject is within reach: sealed, or in a
 * place, which is looked at once more after a refusal. */
void oracle_dead(struct world *w, const struct host *h, int index)
{
    const struct row *row = &w->store.rows[index];
    if (w->fleet && row->standing == STANDING_DEAD)
        return; /* another warden has given it up, and knows nothing of the places here */
    for (unsigned i = 0; i < w->n_places; i++) {
        const struct place *p = &w->places[i];
        if (p->host == h->index && p->is_known && p->replica && p->row == index &&
            p->what != SEEN_TORN && p->looked_at < h->told[index].over_at &&
            h->woke_at < h->told[index].over_at) /* a sleep counts as time to look */
            violated(w, "dead", "L%d is given up, and C%u was not looked at since that was heard",
                     index, (unsigned)p->id);
    }
    for (unsigned i = 0; i < CAPTURES_MAX; i++) {
        const struct capture *c = &w->store.captures[i];
        if (c->id != 0 && c->told && w->places[c->place].host == h->index &&
            w->places[c->place].is_known && place_row(w, &w->places[c->place]) == index &&
            refresh_is_alive(w, c->pair.refresh) && access_is_alive(w, c->pair.access) &&
            fp_equal(row->subject, subject_fp(w->issued[issued_index(w, c->pair.access)].subject)))
            violated(w, "dead", "L%d is given up, and %s is sealed here", index,
                     name_token(w, c->pair.refresh));
    }
}

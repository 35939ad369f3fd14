/*
 * The oracles of the one irreversible act, and of what is said to callers and to people.
 */
#include "sim/capture.h"
#include "sim/oracles.h"
#include "sim/story.h"

#include <string.h>

#define IN_FLIGHT_MS      (3 * MINUTE_MS)  /* longer than any spend that nothing disturbs */
#define UNPROVEN_MS       (10 * MINUTE_MS) /* longer than its proof takes */
#define UNDECIDED_MS      (10 * MINUTE_MS) /* longer than any search, and any pause of ours */
#define HELD_TOLERANCE_MS (10 * MINUTE_MS) /* what is known here is the least */
#define WANT_TOLERANCE_MS (2 * SECOND_MS)

/* Of the same token, or of the same lineage: which it is by its login, too, for another copy of the
 * store may have given its place to another. */
static bool is_about(const struct world *w, const struct spool *s, const struct effect *fx)
{
    int theirs = issued_index(w, s->presented), ours = issued_index(w, fx->presented);
    return theirs == ours ||
           (s->row == row_of(fx->lineage) && w->issued[theirs].family == w->issued[ours].family);
}

/* Of a run that this copy of the store knows nothing of: waited for as long as a server may commit
 * what was sent. Who sleeps longer than that with a request in hand wakes to write down what became
 * of it, and nothing else. */
static bool has_slept_over(const struct world *w, const struct host *h, const struct spool *s)
{
    int64_t deadline_ms = w->providers[w->store.rows[s->row].provider].deadline_ms;
    return s->begun_at < w->accepted_at && h->woke_at > s->begun_at &&
           w->now - s->begun_at >= 2 * deadline_ms;
}

/* single-flight. An intent is durable before a token is presented, it names that token; and a
 * lineage has one spend in hand. lease. It carries the fence of the latest lease, which outlasts
 * it. */
void oracle_ordered(struct world *w, const struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    const struct row *row = &w->store.rows[index];
    if (row->intent != fx->intent || !fp_equal(row->pair.refresh, fx->presented) ||
        row->intent_fence != fx->fence || row->intent_is_replay != fx->replay)
        violated(w, "single-flight", "L%d: a spend that the store has no such intent for", index);
    for (unsigned i = 0; i < w->n_hosts; i++) {
        for (unsigned k = 0; k < SPOOL_MAX; k++) {
            const struct spool *s = &w->hosts[i].spool[k];
            /* It sleeps, and finds its lease over when it wakes. */
            bool cut_off = i != h->index && w->now > s->lease_until;
            /* Of a run that this copy of the store knows nothing of, nor that there was one. */
            cut_off |= s->begun_at < w->forgotten_at || !w->providers[row->provider].rotates;
            cut_off |= i == h->index && has_slept_over(w, h, s);
            if (s->intent != 0 && s->intent != fx->intent && s->locked && !cut_off &&
                is_about(w, s, fx))
                violated(w, "single-flight", "L%d: two spends in hand at once", index);
        }
    }
    if (w->leases[index].fence != fx->fence ||
        w->leases[index].until < w->now + w->providers[row->provider].deadline_ms - SECOND_MS)
        violated(w, "lease", "L%d: a spend that its lease does not cover", index);
    if (fx->replay)
        oracle_once_more(w, h, index);
    oracle_policy(w, h, index);
    oracle_places(w, h, fx);
}

/* presents. We never present a token that we know to be spent or refused; a doubtful one once more
 * at most, and as such. Judged when the request leaves. A token that is not single use can simply
 * be presented again. */
void oracle_presented(struct world *w, struct host *h, const struct op *op)
{
    int index = issued_index(w, op->pair.refresh);
    const struct row *row = &w->store.rows[op->row];
    uint8_t *known = &w->store.known[index];
    say(w, h, "L%d: %s leaves%s", op->row, name_token(w, op->pair.refresh),
        op->flag ? ", once more" : "");
    const struct spool *s = spool_find(h, op->id);
    if (row->intent != op->id || (s && s->begun_at < w->accepted_at))
        return; /* by a run before this copy of the store was put back */
    if (*known & KNOWN_REFUSED)
        violated(w, "presents", "L%d: %s was refused for good", op->row,
                 name_token(w, op->pair.refresh));
    if (!w->providers[row->provider].rotates)
        return;
    if (*known & KNOWN_SPENT)
        violated(w, "presents", "L%d: %s is known to be spent", op->row,
                 name_token(w, op->pair.refresh));
    if (*known & KNOWN_DOUBT_TWICE)
        violated(w, "presents", "L%d: doubtful %s is presented for the third time", op->row,
                 name_token(w, op->pair.refresh));
    if ((*known & KNOWN_DOUBT) && !op->flag)
        violated(w, "presents", "L%d: doubtful %s is presented as if it were not", op->row,
                 name_token(w, op->pair.refresh));
    *known |= *known & KNOWN_DOUBT ? KNOWN_DOUBT_TWICE : KNOWN_DOUBT;
}

/* ---- callers ---- */

/* answers. A token that is handed out is durable, the lineage's own, of its subject, not known to
 * be dead, and lasts as long as the caller asked for. */
static void check_token(struct world *w, const struct host *h, const struct caller *c,
                        const struct effect *fx)
{
    const struct row *row = &w->store.rows[c->row];
    const struct provider *p = &w->providers[row->provider];
    int access = issued_index(w, row->pair.access);
    /* Refused, but not given up before its places have been looked at: lived on. */
    bool searched = row->standing == STANDING_DEAD && !(h->told[c->row].alarms & 1u << ALARM_DEAD);
    /* A spend of its own has to end before it can follow one that another warden has ended. */
    bool heard = !w->fleet ||
                 (h->told[c->row].standing == row->standing && row->standing != STANDING_RETIRED);
    if (heard && row->standing != STANDING_LIVE && row->standing != STANDING_DOUBT && !searched)
        violated(w, "answers", "L%d is %s, and its token is handed out", c->row,
                 standing_name(row->standing));
    if (fx->generation != row->generation) {
        if (fx->generation > row->generation || !w->fleet)
            violated(w, "durable", "L%d: generation %u is handed out, %u is durable", c->row,
                     (unsigned)fx->generation, (unsigned)row->generation);
        return; /* another warden was faster, and this one has not heard of it */
    }
    if (!fp_is_none(row->subject) && !fp_equal(row->subject, subject_fp(w->issued[access].subject)))
        violated(w, "subject", "L%d: a token of another subject is handed out", c->row);
    if (h->told[c->row].access_refused)
        violated(w, "answers", "L%d: a token that the server refused is handed out", c->row);
    if (p->silent || !counts_right(w, h, c->row))
        return;
    /* A Date has whole seconds. */
    int64_t left_ms = w->issued[access].expires_at - w->now + (h->told[c->row].exact ? 0 : 1000);
    if (left_ms <= 0 || left_ms < c->ttl_min_ms)
        violated(w, "answers", "L%d: %s wished for, %s left", c->row, name_duration(c->ttl_min_ms),
                 name_duration(left_ms));
    for (unsigned i = 0; p->kills_access && i < SPOOL_MAX; i++) {
        const struct spool *s = &h->spool[i];
        if (s->intent != 0 && s->intent == row->intent && s->stage == STAGE_STARTED)
            violated(w, "answers", "L%d: our spend under way kills the token handed out", c->row);
    }
}

/* done. What is said to be done is durable. */
static void check_done(struct world *w, const struct caller *c)
{
    const struct row *row = &w->store.rows[c->row];
    bool done = c->asks == ASKS_ADD ? row->standing == STANDING_LIVE && row->wanted == 0
                                    : row->standing == STANDING_RETIRED;
    if (c->asks == ASKS_WANT || !done)
        violated(w, "done", "L%d: done, it is said, but it is %s", c->row,
                 standing_name(row->standing));
}

static void check_final(struct world *w, const struct caller *c, const struct effect *fx);

/* Of a fleet: as its warden has heard. One that another has ended is no better off. */
static bool is_not_dead(const struct world *w, const struct host *h, int index)
{
    enum standing standing = w->store.rows[index].standing;
    if (w->fleet && (standing == STANDING_RETIRED || !has_heard(w, h, index)))
        return false;
    return standing != STANDING_DEAD;
}

/* waiters. Each is answered exactly once, and truthfully. */
void oracle_answered(struct world *w, struct host *h, const struct caller *c,
                     const struct effect *fx)
{
    if (!c || c->host != h->index)
        violated(w, "waiters", "an answer (%s) for nobody, or for the second time",
                 answer_name(fx->answer));
    if (fx->answer == ANSWER_TOKEN)
        check_token(w, h, c, fx);
    else if (fx->answer == ANSWER_DONE)
        check_done(w, c);
    else if (fx->answer == ANSWER_DEAD && is_not_dead(w, h, c->row))
        violated(w, "answers", "L%d is said to be dead, and is %s", c->row,
                 standing_name(w->store.rows[c->row].standing));
    else if (fx->answer == ANSWER_STOPPING && !h->stopping)
        violated(w, "answers", "L%d: the daemon stops, it is said, and it does not", c->row);
    if (c->is_final)
        check_final(w, c, fx);
}

/* How long after its patience a caller may have to wait: one who wants a token not at all; who adds
 * or removes, until what is in flight has ended. */
int64_t oracle_patience_ms(const struct world *w, const struct caller *c)
{
    return c->asks == ASKS_WANT ? WANT_TOLERANCE_MS : 30 * MINUTE_MS + 2 * w->span_ms;
}

void oracle_patience(struct world *w, struct host *h, const struct caller *c)
{
    (void)h;
    violated(w, "waiters", "a caller of L%d still waits, %s after its patience", c->row,
             name_duration(w->now - c->deadline_at));
}

/* waiters. A daemon that stops in peace has told everybody who wants a token something. (Who adds
 * or removes is told by the daemon itself.) */
void oracle_stopped(struct world *w, const struct host *h)
{
    for (unsigned i = 0; i < CALLERS_MAX; i++) {
        const struct caller *c = &w->callers[i];
        if (c->id != 0 && c->host == h->index && c->asks == ASKS_WANT)
            violated(w, "waiters", "the daemon stops and leaves a caller of L%d waiting", c->row);
    }
}

/* ---- the end ---- */

/* May this profile's lineage be spent by us at all? */
static bool can_be_kept_alive(const struct world *w, const struct caller *c)
{
    const struct row *row = &w->store.rows[c->row];
    const struct told *t = &w->hosts[c->host].told[c->row];
    bool may =
        row->policy == POLICY_ALWAYS || (row->policy == POLICY_STANDBY && w->n_siblings == 0 &&
                                         t->held_until + HELD_TOLERANCE_MS < c->since);
    return may && refresh_is_alive(w, row->pair.refresh);
}

/* converges. When nothing goes wrong any more, whoever asks gets a working token where there is a
 * way to one. */
static void check_final(struct world *w, const struct caller *c, const struct effect *fx)
{
    const struct row *row = &w->store.rows[c->row];
    if (fx->answer == ANSWER_TOKEN) {
        /* A sibling or another warden that has just spent ended it; that is noticed, but not at
         * once. Nor is the end that nobody has said. */
        bool heard = !w->fleet || (has_heard(w, &w->hosts[c->host], c->row) && row->intent == 0);
        if (!w->providers[row->provider].silent && can_be_kept_alive(w, c) && w->n_siblings == 0 &&
            heard && !access_is_alive(w, row->pair.access))
            violated(w, "converges", "L%d: in the end a dead token is handed out", c->row);
        return;
    }
    bool crowded = fx->answer == ANSWER_BUSY && w->waiters < WARDEN_WAITERS;
    bool held = fx->answer == ANSWER_POLICY && row->policy == POLICY_STANDBY;
    /* Its profile has a newer login, which the daemon asks in its stead. */
    const struct host *h = &w->hosts[c->host];
    bool replaced = fx->answer == ANSWER_UNKNOWN && h->told[c->row].removing;
    if (row->standing == STANDING_LIVE && can_be_kept_alive(w, c) && !crowded && !held &&
        !replaced && has_heard(w, h, c->row))
        violated(w, "converges", "L%d could be had, and the last caller is told: %s", c->row,
                 answer_name(fx->answer));
}

/* Else nobody deals with it before the next start: there was no room for it. */
static bool is_in_hand(const struct world *w, int index)
{
    struct view v;
    bool here = false;
    for (unsigned i = 0; i < w->n_hosts; i++) {
        const struct host *h = &w->hosts[i];
        here |= h->up && warden_view(h->warden, lineage_id(index), host_now(w, h), &v);
    }
    return here;
}

/* It is not single use, stands in a place, and each renewal ends what another was granted: whom its
 * clients outrun is told of a token that is over before he can ask whose it is. */
static bool is_outrun(const struct world *w, const struct row *row)
{
    const struct provider *p = &w->providers[row->provider];
    bool stands_there = false;
    for (unsigned i = 0; i < w->n_places; i++) {
        stands_there |= w->places[i].what == SEEN_PAIR &&
                        fp_equal(w->places[i].pair.refresh, row->pair.refresh);
    }
    return !p->rotates && p->kills_access && w->n_siblings > 0 && stands_there;
}

/* dead. In the end nothing is given up whose refresh token is alive, unless both presentations were
 * lost, or the server itself had refused it. */
static void check_end_of(struct world *w, int index)
{
    const struct row *row = &w->store.rows[index];
    int refresh = issued_index(w, row->pair.refresh);
    bool alive = refresh != NOBODY && refresh_is_alive(w, row->pair.refresh);
    if (row->standing == STANDING_DEAD && alive && !row->dead_by_doubt &&
        !(w->store.known[refresh] & KNOWN_REFUSED))
        violated(w, "dead", "L%d is given up, and %s is alive", index,
                 name_token(w, row->pair.refresh));
    if (row->standing == STANDING_DOUBT && row->policy == POLICY_ALWAYS)
        violated(w, "converges", "L%d is in doubt for good", index);
    if (row->intent != 0 && WALL_ZERO + w->now - row->intent_begun_wall_ms > IN_FLIGHT_MS)
        violated(w, "converges", "L%d has an open intent in the end", index);
    if (row->standing == STANDING_UNPROVEN && alive && w->now - row->pair_at > UNPROVEN_MS &&
        row->policy == POLICY_ALWAYS && w->providers[row->provider].has_identity &&
        !w->families[w->issued[refresh].family].narrow && is_in_hand(w, index) &&
        !is_outrun(w, row))
        violated(w, "converges", "L%d is unproven for good, and its server would say whose it is",
                 index);
}

/* Does the core take it for what is stored? (That a doubt was groundless may be stored late.) */
static bool is_taken_for(enum standing standing, const char *state)
{
    static const char *const dead[] = {"dead", "searching", "continuing", NULL},
                             *const not_live[] = {"dead",        "searching", "doubt", "probing",
                                                  "quarantined", "unproven",  NULL};
    switch (standing) {
    case STANDING_LIVE:
        return !is_one_of(state, not_live);
    case STANDING_DEAD:
        return is_one_of(state, dead);
    case STANDING_DOUBT:
        return !is_one_of(state, dead);
    case STANDING_QUARANTINED:
        return strcmp(state, "quarantined") == 0;
    case STANDING_UNPROVEN:
    case STANDING_RETIRED:
    case STANDING_COUNT:
        break;
    }
    return true;
}

/* converges. In the end a login is live or truthfully dead: what is stored is what the core takes
 * it for. A search for a live pair ends when siblings have had their time; and nothing that we may
 * spend is taken for live any more whose tokens are both over, as its server has said: to spend it
 * shows what it is. */
static void check_told_end(struct world *w, const struct host *h, int index)
{
    const struct row *row = &w->store.rows[index];
    const struct told *t = &h->told[index];
    int64_t calm_from = w->cleared_at > h->started_at ? w->cleared_at : h->started_at;
    calm_from = h->woke_at > calm_from ? h->woke_at : calm_from;
    if (!h->up || h->asleep_until > w->now || !t->here || !t->state ||
        w->now - calm_from < UNDECIDED_MS)
        return;
    if (t->generation == row->generation && t->standing == row->standing && row->intent == 0 &&
        row->wanted == 0 && !t->removing && !is_taken_for(row->standing, t->state))
        violated(w, "converges", "L%d is stored as %s, and taken for %s", index,
                 standing_name(row->standing), t->state);
    if (strcmp(t->state, "searching") == 0 && w->now - t->state_at > UNDECIDED_MS)
        violated(w, "converges", "L%d is searched for for good", index);
    bool is_said = !w->providers[row->provider].silent || t->access_refused;
    if (row->standing == STANDING_LIVE && row->policy == POLICY_ALWAYS && is_said &&
        !fp_is_none(row->pair.refresh) && !refresh_is_alive(w, row->pair.refresh) &&
        row->pair.expires_wall_ms != 0 && w->now - access_ends_at(w, row) > UNDECIDED_MS &&
        counts_right(w, h, index))
        violated(w, "converges", "L%d is taken for live, and its tokens are over", index);
}

void oracle_end(struct world *w)
{
    for (unsigned i = 0; i < CALLERS_MAX; i++) {
        if (w->callers[i].id != 0 && w->callers[i].deadline_at + IN_FLIGHT_MS < w->now)
            violated(w, "waiters", "a caller of L%d is never answered", w->callers[i].row);
    }
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        if (w->store.rows[i].standing != STANDING_RETIRED)
            check_end_of(w, (int)i);
        for (unsigned k = 0; k < w->n_hosts; k++) {
            check_told_end(w, &w->hosts[k], (int)i);
            oracle_alarms_end(w, &w->hosts[k], (int)i);
        }
    }
    oracle_captures_end(w);
    oracle_in_step(w);
}

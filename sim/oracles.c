/*
 * The oracles of a step and of its effects: what the core orders, before anybody has done it.
 */
#include "sim/oracles.h"

#include <stdio.h>
#include <string.h>

#include "sim/capture.h"
#include "sim/story.h"

#define REQUESTS_MAX            80
#define REQUESTS_OF_CAPTURE_MAX 20
#define GRACE_TOLERANCE_MS      (2 * SECOND_MS) /* it counts from the commit, not from the intent */
#define TOLERANCE_MS            (3 * SECOND_MS) /* a Date has whole seconds, a request takes its time */

_Noreturn void violated(struct world *w, const char *oracle, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)snprintf(w->oracle, sizeof(w->oracle), "%s", oracle);
    (void)vsnprintf(w->why, sizeof(w->why), fmt, args);
    va_end(args);
    say(w, NULL, "ORACLE %s: %s", w->oracle, w->why);
    longjmp(w->broken, 1);
}

bool is_one_of(const char *state, const char *const *states)
{
    while (*states && strcmp(*states, state) != 0)
        states++;
    return *states != NULL;
}

int64_t access_ends_at(const struct world *w, const struct row *row)
{
    int index = issued_index(w, row->pair.access);
    return index == NOBODY ? 0 : w->issued[index].expires_at;
}

bool counts_right(const struct world *w, const struct host *h, int row)
{
    return h->told[row].exact || h->told[row].by_date || !w->wall_was_wrong;
}

bool has_heard(const struct world *w, const struct host *h, int row)
{
    struct view v; /* what it hears while its own write is under way is left to that one to say */
    if (w->fleet && warden_view(h->warden, lineage_id(row), host_now(w, h), &v) &&
        v.generation != w->store.rows[row].generation)
        return false;
    return h->told[row].generation == w->store.rows[row].generation &&
           h->told[row].standing == w->store.rows[row].standing;
}

/* An answer that lay unread while the machine slept is counted as older than it is. */
static bool is_counted_short(const struct world *w, const struct row *row)
{
    return WALL_ZERO + access_ends_at(w, row) - row->pair.expires_wall_ms >
           2 * w->providers[row->provider].deadline_ms + TOLERANCE_MS;
}

/* spends-early. A live lineage is spent in its window before the expiry, or because a caller waits,
 * or because the server refused the access token. A clock that jumps is no reason; nor is an expiry
 * that nobody has said. */
static void check_lease(struct world *w, const struct host *h, int index)
{
    const struct row *row = &w->store.rows[index];
    const struct provider *p = &w->providers[row->provider];
    const struct told *t = &h->told[index];
    if (!has_heard(w, h, index) || row->standing != STANDING_LIVE || t->waiting > 0 ||
        t->access_refused)
        return;
    if (p->silent)
        violated(w, "spends-early", "L%d is spent, and nobody knows or needs it", index);
    if (!counts_right(w, h, index))
        return;
    int64_t lead_ms = p->skew_ms < p->life_ms / 5 * 2 ? p->skew_ms : p->life_ms / 5 * 2;
    lead_ms += p->life_ms / 10 < 15 * MINUTE_MS ? p->life_ms / 10 : 15 * MINUTE_MS;
    int64_t left_ms = access_ends_at(w, row) - w->now;
    if (is_counted_short(w, row))
        return;
    /* Life is counted from the request, and it may be committed late. */
    if (left_ms > lead_ms + 2 * p->deadline_ms + TOLERANCE_MS)
        violated(w, "spends-early", "L%d has %s left, and nobody waits", index,
                 name_duration(left_ms));
}

/* clock. Nothing is spent on the word of our wall clock alone: the server is asked the time first,
 * where it can be asked anything. */
static void check_clock(struct world *w, const struct host *h, int index)
{
    const struct row *row = &w->store.rows[index];
    const struct provider *p = &w->providers[row->provider];
    if (h->told[index].by_wall && p->has_identity && row->standing == STANDING_LIVE &&
        has_heard(w, h, index) && row->pair.expires_wall_ms != 0)
        violated(w, "clock", "L%d is spent, and nobody but our wall clock was asked the time",
                 index);
}

/* once-more. The one more presentation in doubt is ordered when it costs nothing: within the
 * provider's grace, or when the old access token is over or refused. */
void oracle_once_more(struct world *w, const struct host *h, int index)
{
    const struct row *row = &w->store.rows[index];
    const struct provider *p = &w->providers[row->provider];
    if (h->told[index].access_refused || !counts_right(w, h, index) || p->silent ||
        !has_heard(w, h, index) || is_counted_short(w, row))
        return;
    /* What a warden of a fleet heard of the access token before another told it of the doubt. */
    if (w->fleet && row->lost_at != 0 && h->told[index].doubt != row->lost_intent)
        return;
    if (row->lost_at != 0 && w->now - row->lost_at <= p->grace_ms + GRACE_TOLERANCE_MS)
        return;
    if (access_ends_at(w, row) > w->now + 2 * p->deadline_ms + TOLERANCE_MS)
        violated(w, "once-more", "L%d is presented once more, though its access token lasts",
                 index);
}

/* policy. `never` never spends; `standby` not while somebody holds the pair. */
void oracle_policy(struct world *w, const struct host *h, int index)
{
    const struct told *t = &h->told[index];
    if (t->policy == POLICY_NEVER)
        violated(w, "policy", "L%d is spent, though its policy is never", index);
    if (t->policy == POLICY_STANDBY && w->now < t->held_until && counts_right(w, h, index) &&
        has_heard(w, h, index) && !is_counted_short(w, &w->store.rows[index]))
        violated(w, "policy", "L%d is spent on standby, though it is held for %s more", index,
                 name_duration(t->held_until - w->now));
}

/* intent. What is about to be presented is what the store has as current. */
static void check_intent(struct world *w, const struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    const struct row *row = &w->store.rows[index];
    oracle_policy(w, h, index);
    if ((!w->fleet || has_heard(w, h, index)) && !fp_equal(fx->presented, row->pair.refresh))
        violated(w, "intent", "L%d: the intent names %s, the store has %s", index,
                 name_token(w, fx->presented), name_token(w, row->pair.refresh));
}

/* settles. A pair that was granted is made durable as it was granted; of another subject: set
 * aside. Nothing else is settled. */
static void check_settle(struct world *w, struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    const struct told *t = &h->told[index];
    const struct spool *s = spool_find(h, fx->intent);
    if (t->heard_intent != fx->intent || t->heard != VERDICT_GRANTED || !s ||
        s->stage != STAGE_ANSWERED)
        violated(w, "settles", "L%d: a settlement of what was not granted", index);
    if (!fp_equal(fx->pair.access, s->reply.access) ||
        (!fp_is_none(s->reply.refresh) && !fp_equal(fx->pair.refresh, s->reply.refresh)))
        violated(w, "settles", "L%d: another pair than the granted one", index);
    if (t->heard_foreign != (fx->standing == STANDING_QUARANTINED))
        violated(w, "subject", "L%d: the answer named %s subject, and it is %s", index,
                 t->heard_foreign ? "another" : "its", standing_name(fx->standing));
}

/* closes. An intent is closed with the outcome that was heard, when its spender is done; and never
 * one whose granted answer was heard, or sealed for us to find. */
static void check_close(struct world *w, struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    const struct told *t = &h->told[index];
    const struct row *row = &w->store.rows[index];
    bool heard = t->heard_intent == fx->intent;
    const struct spool *s = spool_find(h, fx->intent);
    if (heard && t->heard == VERDICT_GRANTED)
        violated(w, "closes", "L%d: a granted pair is thrown away", index);
    if (w->sealed[index] == fx->intent && row->intent_host == (int16_t)h->index)
        violated(w, "closes", "L%d: a granted pair was sealed, and is nowhere any more", index);
    if (heard && s && s->locked)
        violated(w, "closes", "L%d: its spender is still at it", index);
    if (heard ? t->heard != fx->verdict : fx->verdict != VERDICT_UNSENT)
        violated(w, "closes", "L%d: closed as %s, heard %s", index, verdict_name(fx->verdict),
                 heard ? verdict_name(t->heard) : "nothing");
    if (fx->standing != STANDING_DEAD)
        return;
    if (fx->verdict != VERDICT_REFUSED && !(fx->verdict == VERDICT_DOUBT && row->intent_is_replay))
        violated(w, "dead", "L%d is given up after: %s", index, verdict_name(fx->verdict));
}

/* subject. A pair is believed to be whose the server said it is; a profile goes on with a pair of
 * another subject only when what it had was over and nobody's. */
static void check_adopt(struct world *w, const struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    const struct row *row = &w->store.rows[index];
    const struct told *t = &h->told[index];
    bool may_be_nobody = !w->providers[row->provider].has_identity || t->asked == IDENTITY_SCOPE;
    if (fx->standing == STANDING_QUARANTINED && (row->kept || row->claimed) &&
        fp_is_none(fx->subject))
        return; /* back to where it was, or to wait for its owner */
    if (fp_is_none(fx->subject) && !may_be_nobody)
        violated(w, "subject", "L%d is adopted, and its server was not asked whose it is", index);
    if (!fp_is_none(fx->subject) &&
        (t->asked != IDENTITY_NAMED || !fp_equal(t->named, fx->subject)))
        violated(w, "subject", "L%d is adopted as somebody the server has not named", index);
    if (fx->standing != STANDING_LIVE || row->wanted == 0)
        return;
    int profile = store_profile_wanted(w, row, fx);
    int before = profile == NOBODY ? NOBODY : w->store.profiles[profile];
    if (before == NOBODY || before == index)
        return;
    for (unsigned i = 0; i < w->n_hosts; i++) {
        if (w->hosts[i].told[before].removing)
            return;
    }
    const struct row *old = &w->store.rows[before];
    if (!fp_is_none(old->subject) && !fp_equal(old->subject, fx->subject))
        violated(w, "subject", "L%d takes the place of L%d, which is another subject's", index,
                 before);
}

/* stranded. Only what its owner ended, what a newer login replaced, what was never believed and is
 * still in the user's file, or what was refused for good, is ended. */
static void check_retire(struct world *w, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    const struct row *row = &w->store.rows[index];
    int refresh = issued_index(w, row->pair.refresh);
    uint8_t known = refresh == NOBODY ? 0 : w->store.known[refresh];
    for (unsigned i = 0; i < w->n_hosts; i++) {
        if (w->hosts[i].told[index].removing)
            return;
    }
    if ((known & (KNOWN_REFUSED | KNOWN_DOUBT_TWICE)) || row->dead_by_doubt)
        return;
    if (row->wanted == 0)
        violated(w, "stranded", "L%d is ended, and nobody asked for it", index);
    if (row->generation > 1 || row->claimed || row->kept)
        violated(w, "stranded", "L%d is ended: a granted pair that exists here alone", index);
    if ((known & KNOWN_DOUBT) && !row->replayed)
        violated(w, "stranded", "L%d is ended in doubt: the file is of no use any more", index);
}

/* Is it what the lineage's own login has become, as can be seen by when both end, or is that known
 * to be over? */
static bool comes_after(const struct world *w, const struct row *row, const struct capture *c)
{
    const struct issued *theirs = &w->issued[issued_index(w, c->pair.refresh)];
    const struct issued *ours = &w->issued[issued_index(w, row->pair.refresh)];
    return row->standing == STANDING_DEAD ||
           (theirs->family == ours->family && theirs->generation > ours->generation &&
            c->pair.expires_wall_ms >= row->pair.expires_wall_ms);
}

/* stranded. What its server has named, and is alive, is not dropped where its subject has nothing
 * else to go on with: the refresh tokens of all its lineages are over, and that can be seen. */
static void check_dropped(struct world *w, const struct host *h, const struct capture *c)
{
    int refresh = issued_index(w, c->pair.refresh), over = NOBODY;
    if (c->named != IDENTITY_NAMED || !refresh_is_alive(w, c->pair.refresh) ||
        (w->store.known[refresh] & KNOWN_OURS))
        return;
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        bool is_theirs = row->standing != STANDING_RETIRED && fp_equal(row->subject, c->subject);
        bool lives = row->standing == STANDING_LIVE || row->standing == STANDING_DOUBT ||
                     row->standing == STANDING_DEAD;
        if (!is_theirs || fp_is_none(row->pair.refresh))
            continue;
        if (refresh_is_alive(w, row->pair.refresh) || !comes_after(w, row, c))
            return;
        if (lives && row->wanted == 0 && row->intent == 0 && h->told[i].here &&
            !h->told[i].removing && has_heard(w, h, (int)i))
            over = (int)i;
    }
    if (over != NOBODY)
        violated(w, "stranded", "%s is dropped, and is all that the subject of L%d has",
                 name_token(w, c->pair.refresh), over);
}

/* closes. What was granted to us, though another warden gave it up for lost, is not thrown away
 * while nobody has a later pair; unless what was granted is the old refresh token once more, which
 * has been refused since. */
static void check_drop(struct world *w, struct host *h, const struct effect *fx)
{
    const struct spool *s = spool_find(h, fx->intent);
    struct capture *c = sealed_find(w, fx->capture);
    if (c) {
        check_dropped(w, h, c);
        c->told = false;
        c->is_dropped = true;
    }
    if (!s || s->stage != STAGE_ANSWERED || s->reply.verdict != VERDICT_GRANTED)
        return;
    const struct row *row = &w->store.rows[s->row];
    if (h->told[s->row].heard_intent == fx->intent)
        h->told[s->row].heard_intent = 0;
    struct fp refresh = fp_is_none(s->reply.refresh) ? row->pair.refresh : s->reply.refresh;
    bool refused = w->store.known[issued_index(w, refresh)] & KNOWN_REFUSED;
    if (row->standing != STANDING_RETIRED && row->generation == s->generation && !refused)
        violated(w, "closes", "L%d: a granted pair is thrown away, and nobody has a later one",
                 s->row);
}

/* groundless. A doubt ends without a spend only where nothing was committed, nor can be any more.
 */
static void check_resolve(struct world *w, const struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    const struct row *row = &w->store.rows[index];
    int refresh = issued_index(w, row->pair.refresh);
    struct op *op;
    if (refresh == NOBODY || row->standing != STANDING_DOUBT || row->intent != 0 ||
        row->lost_intent != h->told[index].doubt)
        return; /* another warden has gone on */
    if (w->providers[row->provider].rotates && w->issued[refresh].spent)
        violated(w, "groundless", "L%d: %s was spent, and is believed not to be", index,
                 name_token(w, row->pair.refresh));
    for (uint32_t at = 0; (op = op_each(w, &at));) {
        if (op->what == HAP_COMMIT && fp_equal(op->pair.refresh, row->pair.refresh))
            violated(w, "groundless", "L%d: %s may still be committed", index,
                     name_token(w, row->pair.refresh));
    }
    w->store.known[refresh] &= (uint8_t) ~(KNOWN_DOUBT | KNOWN_DOUBT_TWICE);
}

/* hammers. Whatever fails, a server is not asked more than once a second for long, and about one
 * capture still less. (A waiter and a new pair each have their own reason, so there is some room.)
 */
static void check_requests(struct world *w, struct host *h, const struct effect *fx)
{
    int index = row_of(fx->lineage);
    struct capture *c = sealed_find(w, fx->capture);
    if (index == NOBODY)
        return;
    struct requests *r = c ? &c->requests : &h->told[index].requests;
    uint32_t most = c ? REQUESTS_OF_CAPTURE_MAX : REQUESTS_MAX;
    if (r->minute != w->now / MINUTE_MS)
        *r = (struct requests){.minute = w->now / MINUTE_MS};
    if (++r->n > most)
        violated(w, "hammers", "L%d: more than %u requests in a minute", index, (unsigned)most);
}

static void check_effect(struct world *w, struct host *h, const struct effect *fx)
{
    switch (fx->kind) {
    case FX_LEASE:
        check_lease(w, h, row_of(fx->lineage));
        check_clock(w, h, row_of(fx->lineage));
        break;
    case FX_STORE_INTENT:
        check_intent(w, h, fx);
        break;
    case FX_SETTLE:
        check_settle(w, h, fx);
        break;
    case FX_CLOSE_INTENT:
        check_close(w, h, fx);
        break;
    case FX_ADOPT:
        if (fx->capture == 0)
            check_adopt(w, h, fx);
        else
            oracle_continues(w, h, fx);
        break;
    case FX_PUBLISH:
        oracle_publishes(w, h, fx);
        break;
    case FX_QUARANTINE:
        oracle_quarantines(w, h, fx);
        break;
    case FX_RETIRE:
        check_retire(w, fx);
        break;
    case FX_RESOLVE:
        check_resolve(w, h, fx);
        break;
    case FX_ALARM_RAISE:
    case FX_ALARM_CLEAR:
        oracle_alarm(w, h, fx);
        break;
    case FX_DROP:
        check_drop(w, h, fx);
        break;
    case FX_UNLEASE:
    case FX_SPEND:
    case FX_ASK_IDENTITY:
    case FX_PROBE:
    case FX_CLAIM:
    case FX_READ:
    case FX_ANSWER:
    case FX_COUNT:
        break; /* judged when it is carried out, or harmless */
    }
}

/* There is room to ask about so many: beyond that what is found, or what it makes room for itself
 * by, an older find of its place, is set aside unasked. */
static void note_unasked(struct world *w, const struct event *ev, const struct effect *fx)
{
    struct capture *c = sealed_find(w, fx->capture);
    if (c && ev->kind == EV_OBSERVED && fx->kind == FX_QUARANTINE)
        c->is_unasked = true;
}

void oracle_step(struct world *w, struct host *h, const struct event *ev, const struct effects *out)
{
    for (size_t i = 0; i < out->n; i++) {
        note_unasked(w, ev, &out->list[i]);
        enum effect_kind kind = out->list[i].kind;
        if (kind == FX_SPEND || kind == FX_ASK_IDENTITY || kind == FX_PROBE)
            check_requests(w, h, &out->list[i]);
        if ((kind == FX_ASK_IDENTITY || kind == FX_PROBE) && out->list[i].capture == 0)
            h->told[row_of(out->list[i].lineage)].by_wall = false;
        check_effect(w, h, &out->list[i]);
    }
    oracle_alarms(w, h, ev, out);
}

/* spins. The deadline that is due is worked off: time goes on after a few timers at most. */
void oracle_progress(struct world *w, struct host *h, bool moves)
{
    if (!moves)
        violated(w, "spins", "the timer of host %u is due again and again", h->index);
}

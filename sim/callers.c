/*
 * People and programs who ask: for tokens (with long, short and no patience, for more life than
 * there is, all at once), to add a login (new, to continue a profile, somebody else's, a file that
 * is stale), to end one, to change a policy. Each waits for exactly one answer.
 */
#include "sim/capture.h"
#include "sim/oracles.h"
#include "sim/story.h"
#include "sim/told.h"

#include <string.h>

#define ADD_PATIENCE_MS   (60 * SECOND_MS)
#define FINAL_PATIENCE_MS (2 * MINUTE_MS)
#define STORM_MAX         40
#define BETWEEN_MAX_MS    40

enum change { CHANGE_POLICY, CHANGE_HELD };

struct caller *caller_find(struct world *w, uint64_t id)
{
    struct caller *c = &w->callers[id % CALLERS_MAX];
    return id != 0 && c->id == id ? c : NULL;
}

static struct caller *caller_new(struct world *w, const struct host *h, enum asking asks, int row,
                                 int64_t patience_ms)
{
    for (unsigned i = 0; i < CALLERS_MAX; i++) {
        struct caller *c = &w->callers[i];
        if (c->id != 0)
            continue;
        *c = (struct caller){
            .id = ++w->next_caller * CALLERS_MAX + i,
            .asks = asks,
            .host = h->index,
            .row = (int16_t)row,
            .since = w->now,
            .deadline_at = w->now + patience_ms,
        };
        struct op *op = op_new(w, HAP_PATIENCE, h, patience_ms + oracle_patience_ms(w, c));
        op->id = c->id;
        return c;
    }
    return NULL;
}

void callers_patience(struct world *w, struct op *op)
{
    struct caller *c = caller_find(w, op->id);
    struct host *h = &w->hosts[op->host];
    if (!c)
        return;
    if (h->woke_at > op->started_at) { /* the machine slept: once more from its waking */
        struct op *again = op_new(w, HAP_PATIENCE, h, oracle_patience_ms(w, c));
        again->id = op->id;
        return;
    }
    oracle_patience(w, h, c);
}

/* A daemon that is gone answers nobody; who waited has seen the connection close. */
void callers_lost(struct world *w, const struct host *h)
{
    for (unsigned i = 0; i < CALLERS_MAX; i++) {
        if (w->callers[i].host == h->index)
            w->callers[i].id = 0;
    }
}

void callers_answered(struct world *w, struct host *h, const struct effect *fx)
{
    struct caller *c = caller_find(w, fx->waiter);
    oracle_answered(w, h, c, fx);
    if (c->asks == ASKS_WANT && c->row >= 0)
        h->told[c->row].waiting--;
    c->id = 0;
}

/* The daemon itself turns it down; the core never hears of it. */
static void turned_down(struct world *w, uint64_t id)
{
    struct caller *c = caller_find(w, id);
    if (c)
        c->id = 0;
}

static void want(struct world *w, struct host *h, int row, bool is_final)
{
    const struct provider *p = &w->providers[w->store.rows[row].provider];
    unsigned part = (unsigned)row;
    static const int64_t patience_ms[] = {
        30 * SECOND_MS, 0, SECOND_MS, 5 * SECOND_MS, 2 * MINUTE_MS, 10 * MINUTE_MS};
    int64_t patience = is_final
                           ? FINAL_PATIENCE_MS
                           : patience_ms[draw(&w->draws, SITE_WISH, part, ARRAY_LEN(patience_ms))];
    struct caller *c = caller_new(w, h, ASKS_WANT, row, patience);
    if (!c)
        return;
    struct event ev = event_of(EV_WANT, lineage_id(row));
    ev.waiter = c->id;
    ev.want.ttl_min_ms = -1;
    if (!is_final) {
        uint32_t wish = draw(&w->draws, SITE_WISH, part, 16);
        if (wish >= 10 && wish < 15)
            ev.want.ttl_min_ms = p->life_ms * (wish - 10) / 4; /* from none to all of it */
        else if (wish == 15)
            ev.want.ttl_min_ms = 2 * p->life_ms + 1;
        ev.want.renew = draw(&w->draws, SITE_WISH, part, 8) == 7;
    }
    c->is_final = is_final;
    c->ttl_min_ms = ev.want.ttl_min_ms;
    ev.want.deadline_boot_ms = host_now(w, h).boot_ms + patience;
    h->told[row].waiting++;
    host_tell(w, h, &ev);
}

static void unwant(struct world *w, struct host *h)
{
    unsigned from = draw(&w->draws, SITE_WISH, h->index, CALLERS_MAX);
    for (unsigned i = 0; i < CALLERS_MAX; i++) {
        struct caller *c = &w->callers[(from + i) % CALLERS_MAX];
        if (c->id == 0 || c->host != h->index)
            continue;
        struct event ev = event_of(EV_UNWANT, 0);
        ev.waiter = c->id;
        if (c->asks == ASKS_WANT)
            h->told[c->row].waiting--;
        c->id = 0;
        host_tell(w, h, &ev);
        return;
    }
}

static void remove_row(struct world *w, struct host *h, int row)
{
    bool here = h->told[row].here;
    const struct row *r = &w->store.rows[row];
    if (!here && r->standing != STANDING_RETIRED) /* else: who asked was slow */
        return;
    if (r->wanted != 0 && w->store.profiles[r->wanted - 1] != NOBODY)
        return; /* the name that it is to have is another's, still */
    struct caller *c = caller_new(w, h, ASKS_REMOVE, row, HOUR_MS);
    struct event ev = event_of(EV_REMOVE, lineage_id(row));
    ev.waiter = c ? c->id : 0;
    h->told[row].removing |= here;
    host_tell(w, h, &ev);
}

static void change(struct world *w, struct host *h, int row, enum change what)
{
    if (what == CHANGE_POLICY && store_profile_of(w, row) == NOBODY)
        return; /* it is a profile's */
    struct op *op = store_op(w, h, HAP_USER);
    op->row = (int16_t)row;
    op->index = (uint8_t)what;
    op->id = draw(&w->draws, SITE_WISH, (unsigned)row, POLICY_COUNT);
    op->pair = w->store.rows[row].pair;
}

/* ---- adding ---- */

static int free_profile(const struct world *w)
{
    for (unsigned p = 0; p < PROFILES_MAX; p++) {
        if (w->store.profiles[p] == NOBODY)
            return (int)p;
    }
    return NOBODY;
}

bool is_being_added(const struct world *w, unsigned profile)
{
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        if (w->store.rows[i].wanted == profile + 1 && w->store.rows[i].standing != STANDING_RETIRED)
            return true;
    }
    return false;
}

static void submit_add(struct world *w, struct host *h, unsigned profile, unsigned provider,
                       const struct pair *pair)
{
    struct caller *c = caller_new(w, h, ASKS_ADD, NOBODY, ADD_PATIENCE_MS);
    struct op *op = store_op(w, h, HAP_ADDED);
    op->index = (uint8_t)profile;
    op->id = c ? c->id : 0;
    op->pair = *pair;
    op->fx.generation = provider;
    op->flag = draw(&w->draws, SITE_ADD, profile, 2) == 1; /* another program has the file, too */
}

/* A new login of the profile's subject (or of somebody else), from a file. */
static void add(struct world *w, struct host *h)
{
    bool is_new = draw(&w->draws, SITE_ADD, 0, 2) == 1;
    int profile = is_new ? free_profile(w) : (int)draw(&w->draws, SITE_ADD, 1, w->n_profiles);
    if (profile == NOBODY || is_being_added(w, (unsigned)profile))
        return;
    int before = w->store.profiles[profile];
    if (before != NOBODY && !h->told[before].here)
        return; /* of a fleet: not heard of here yet */
    unsigned provider = draw(&w->draws, SITE_ADD, 2, w->n_providers);
    unsigned subject = draw(&w->draws, SITE_ADD, 3, SUBJECTS_MAX);
    if (before != NOBODY) {
        const struct issued *old = &w->issued[issued_index(w, w->store.rows[before].pair.access)];
        provider = w->store.rows[before].provider;
        if (!fault(w, FAULT_FOREIGN_ADD, SITE_ADD, 4))
            subject = old->subject;
    }
    int family = family_new(w, provider, subject);
    struct fp access, refresh;
    if (family == NOBODY ||
        !issue_pair(w, family, !w->providers[provider].static_pairs, &access, &refresh))
        return;
    w->families[family].narrow = fault(w, FAULT_SCOPE, SITE_ADD, 5);
    struct pair pair = pair_of(w, access, refresh);
    if (!fp_is_none(refresh) && fault(w, FAULT_STALE_ADD, SITE_ADD, 6)) {
        struct reply elsewhere;
        issuer_spend(w, issued_index(w, refresh), false, false, &elsewhere);
    }
    if (is_new && (uint32_t)profile >= w->n_profiles)
        w->n_profiles = (uint32_t)profile + 1;
    submit_add(w, h, (unsigned)profile, provider, &pair);
}

/* The owner of a pair that was set aside asks for it under a name. */
static void claim(struct world *w, struct host *h)
{
    unsigned from = draw(&w->draws, SITE_ADD, 7, w->store.n_rows);
    int profile = free_profile(w);
    for (uint32_t i = 0; i < w->store.n_rows && profile != NOBODY; i++) {
        const struct row *row = &w->store.rows[(from + i) % w->store.n_rows];
        if (row->standing != STANDING_QUARANTINED || is_being_added(w, (unsigned)profile))
            continue;
        if ((uint32_t)profile >= w->n_profiles)
            w->n_profiles = (uint32_t)profile + 1;
        submit_add(w, h, (unsigned)profile, row->provider, &row->pair);
        return;
    }
}

/* The row that has this token as its current or a former one (store_find_fp). */
static bool is_known(const struct world *w, const struct pair *pair, int *ret_row)
{
    struct fp fp = fp_is_none(pair->refresh) ? pair->access : pair->refresh;
    *ret_row = NOBODY;
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        const struct row *row = &w->store.rows[i];
        if (row->standing != STANDING_RETIRED &&
            (fp_equal(row->pair.refresh, fp) || fp_equal(row->pair.access, fp)))
            *ret_row = (int)i;
    }
    bool in_doubt = w->store.known[issued_index(w, fp)] & KNOWN_DOUBT;
    return *ret_row != NOBODY || in_doubt || is_over(w, fp);
}

/* It is the profile's: also that of what is to take it over. */
static void set_policy(struct world *w, int index, enum policy policy)
{
    w->store.rows[index].policy = policy;
    for (uint32_t i = 0; i < w->store.n_rows; i++) {
        if (store_is_to_follow(w, (int)i, index))
            w->store.rows[i].policy = policy;
    }
}

void callers_tell_policy(struct world *w, struct host *h, int index)
{
    struct event ev = event_of(EV_POLICY, lineage_id(index));
    ev.policy = w->store.rows[index].policy;
    host_tell(w, h, &ev);
}

/* The daemon says it to each that has the profile's name, or shall have it. Of what was claimed for
 * it the core knows by itself. */
static void tell_policy(struct world *w, struct host *h, int index)
{
    fleet_tell_others(w, h, index);
    callers_tell_policy(w, h, index);
    for (uint32_t i = 0; i < w->store.n_rows && h->up; i++) {
        if (!store_is_to_follow(w, (int)i, index))
            continue;
        fleet_tell_others(w, h, (int)i);
        if (h->told[i].here && h->told[i].policy != w->store.rows[i].policy)
            callers_tell_policy(w, h, (int)i);
    }
}

bool callers_apply(struct world *w, struct op *op)
{
    if (op->what == HAP_USER) {
        struct row *row = &w->store.rows[op->row];
        if (op->index == CHANGE_POLICY && row->standing == STANDING_RETIRED)
            return false; /* its profile was removed meanwhile, elsewhere */
        if (op->index == CHANGE_POLICY)
            set_policy(w, op->row, (enum policy)op->id);
        else if (fp_equal(row->pair.access, op->pair.access))
            store_hold(w, row);
        return true;
    }
    int known;
    op->late = false; /* a claim */
    int before = w->store.profiles[op->index];
    if (is_being_added(w, op->index) ||
        (before != NOBODY &&
         !w->hosts[op->host].told[before].here)) /* taken meanwhile, elsewhere */
        return false;
    if (is_known(w, &op->pair, &known)) {
        if (known == NOBODY || !w->hosts[op->host].told[known].here ||
            w->store.rows[known].standing != STANDING_QUARANTINED ||
            w->store.rows[known].wanted != 0 || store_profile_of(w, known) != NOBODY ||
            is_over(w, op->pair.refresh))
            return false;
        op->late = true;
    } else if ((known = row_new(w)) == NOBODY) {
        return false;
    }
    struct row *row = &w->store.rows[known];
    row->standing = row->doubt_since_wall_ms != 0 ? STANDING_DOUBT : STANDING_UNPROVEN;
    row->subject = (struct fp){{0}};
    row->wanted = (uint8_t)(op->index + 1);
    row->policy =
        (enum policy)((draw(&w->draws, SITE_ADD, 8, POLICY_COUNT) + POLICY_ALWAYS) % POLICY_COUNT);
    row->host = (uint8_t)op->host;
    row->kept = op->late;
    op->row = (int16_t)known;
    if (op->late)
        return true;
    row->provider = (uint8_t)op->fx.generation;
    row->pair = op->pair;
    row->generation = 1;
    if (op->flag)
        store_hold(w, row);
    store_know(w, &row->pair, true);
    return true;
}

static void added(struct world *w, struct host *h, struct op *op)
{
    const struct row *row = &w->store.rows[op->row];
    struct caller *c = caller_find(w, op->id);
    int before = w->store.profiles[op->index];
    struct event ev = event_of(op->late ? EV_CLAIMED : EV_ADDED, lineage_id(op->row));
    if (c)
        c->row = op->row;
    ev.waiter = c ? c->id : 0;
    ev.added.policy = row->policy;
    ev.added.continues = before == NOBODY ? 0 : lineage_id(before);
    ev.added.deadline_boot_ms = host_now(w, h).boot_ms + ADD_PATIENCE_MS;
    if (!op->late) {
        ev.added.rules = rules_of(&w->providers[row->provider]);
        ev.added.pair = row->pair;
        ev.added.held_elsewhere = op->flag;
    }
    host_tell(w, h, &ev);
}

void callers_stored(struct world *w, struct op *op)
{
    struct host *h = &w->hosts[op->host];
    if (store_fails(w, h, false) || !callers_apply(w, op)) {
        turned_down(w, op->what == HAP_ADDED ? op->id : 0);
        return;
    }
    if (op->what == HAP_ADDED) {
        added(w, h, op);
        return;
    }
    struct row *row = &w->store.rows[op->row];
    struct event ev = event_of(EV_PUBLISHED, lineage_id(op->row));
    if (op->index == CHANGE_POLICY) {
        tell_policy(w, h, op->row);
    } else if (fp_equal(row->pair.access, op->pair.access)) {
        host_tell(w, h, &ev);
    }
}

/* ---- what they do next ---- */

static struct host *some_host(struct world *w)
{
    unsigned from = draw(&w->draws, SITE_ACT, 1, w->n_hosts);
    for (unsigned i = 0; i < w->n_hosts; i++) {
        struct host *h = &w->hosts[(from + i) % w->n_hosts];
        if (h->up && h->asleep_until <= w->now && !h->stopping)
            return h;
    }
    return NULL;
}

static int some_row(struct world *w)
{
    unsigned profile = draw(&w->draws, SITE_ACT, 2, w->n_profiles);
    if (w->store.profiles[profile] != NOBODY)
        return w->store.profiles[profile];
    int row = (int)draw(&w->draws, SITE_ACT, 3, w->store.n_rows);
    return w->store.rows[row].standing == STANDING_RETIRED ? NOBODY : row;
}

/* A consumer is no longer one, or is one again. */
static void rebind(struct world *w, struct host *h)
{
    struct place *p = &w->places[draw(&w->draws, SITE_PLACE, 63, w->n_places)];
    if (p->host != h->index)
        return;
    if (p->is_known)
        place_unbind(w, h, p);
    else
        place_bind(w, h, p);
}

/* `use`: another profile in the same place. */
static void switch_place(struct world *w, struct host *h, struct place *p)
{
    unsigned profile = draw(&w->draws, SITE_ACT, 13, w->n_profiles);
    int row = w->store.profiles[profile];
    if (p->host == h->index && p->is_known && row != NOBODY && h->told[row].here)
        place_switch(w, h, p, profile);
}

static void act(struct world *w, struct host *h, int row)
{
    switch (draw(&w->draws, SITE_ACT, 0, 24)) {
    case 0:
        break;
    case 1:
        for (unsigned i = 0; fault(w, FAULT_STORM, SITE_ACT, 4) && i < STORM_MAX && h->up; i++)
            want(w, h, row, false);
        break;
    case 2:
    case 3:
        unwant(w, h);
        break;
    case 4:
        if (fault(w, FAULT_REMOVE, SITE_ACT, 5))
            remove_row(w, h, row);
        break;
    case 5:
        if (fault(w, FAULT_POLICY, SITE_ACT, 6))
            change(w, h, row, CHANGE_POLICY);
        break;
    case 6:
        if (fault(w, FAULT_HANDED_OUT, SITE_ACT, 7))
            change(w, h, row, CHANGE_HELD);
        break;
    case 7:
    case 8:
        if (fault(w, FAULT_ADD, SITE_ACT, 8))
            add(w, h);
        break;
    case 10:
    case 11:
        if (w->n_places > 0 && fault(w, FAULT_REBOUND, SITE_ACT, 9))
            rebind(w, h);
        else if (w->n_places > 0 && fault(w, FAULT_SWITCHED, SITE_ACT, 14))
            switch_place(w, h, &w->places[draw(&w->draws, SITE_PLACE, 63, w->n_places)]);
        break;
    case 9:
        if (fault(w, FAULT_ADD, SITE_ACT, 8))
            claim(w, h);
        break;
    default:
        want(w, h, row, false);
        break;
    }
}

void callers_begin(struct world *w)
{
    op_new(w, HAP_ACT, NULL, SECOND_MS);
}

static struct place *place_of(struct world *w, const struct host *h, int row)
{
    unsigned from = draw(&w->draws, SITE_PLACE, 63, w->n_places);
    for (unsigned i = 0; i < w->n_places; i++) {
        struct place *p = &w->places[(from + i) % w->n_places];
        if (p->host == h->index && place_row(w, p) == row)
            return p;
    }
    return NULL;
}

/* What is on its way is on its way: what meets a lineage then meets it in the state that waits. */
static void come_between(struct world *w, struct host *h, int row)
{
    struct place *p = place_of(w, h, row);
    switch (draw(&w->draws, SITE_ACT, 11, 8)) {
    case 0:
        want(w, h, row, false);
        break;
    case 1:
        change(w, h, row, CHANGE_POLICY);
        break;
    case 2:
        change(w, h, row, CHANGE_HELD);
        break;
    case 3:
        if (fault(w, FAULT_REMOVE, SITE_ACT, 5))
            remove_row(w, h, row);
        break;
    case 4:
        if (p && p->is_known)
            place_unbind(w, h, p);
        if (p && h->up && draw(&w->draws, SITE_ACT, 12, 4) != 3)
            place_bind(w, h, p);
        break;
    case 5:
    case 6:
        if (p)
            op_new(w, HAP_WATCH, h, 1)->index = (uint8_t)(p - w->places);
        break;
    case 7:
        if (w->fleet)
            op_new(w, HAP_TOLD, h, 1)->row = (int16_t)row;
        break;
    }
}

void callers_between(struct world *w, struct host *h, int row)
{
    if (w->phase != PHASE_SAFETY || row == NOBODY || !fault(w, FAULT_BETWEEN, SITE_ACT, 10))
        return;
    struct op *op = op_new(w, HAP_ACT, h, 1 + a_while(w, SITE_ACT_GAP, 1, BETWEEN_MAX_MS));
    op->row = (int16_t)row;
}

void callers_act(struct world *w, struct op *op)
{
    if (op->host != NOBODY) {
        come_between(w, &w->hosts[op->host], op->row);
        return;
    }
    struct host *h = some_host(w);
    int row = some_row(w);
    if (h && row != NOBODY)
        act(w, h, row);
    else if (h && w->phase == PHASE_SAFETY)
        add(w, h); /* nobody is signed in there */
    if (w->phase == PHASE_SAFETY)
        op_new(w, HAP_ACT, NULL, w->span_ms / 64 + a_while(w, SITE_ACT_GAP, 0, w->span_ms / 4));
}

/* When everything has had its time: does everybody get what there is? */
void callers_last_words(struct world *w)
{
    for (unsigned p = 0; p < PROFILES_MAX; p++) {
        for (unsigned i = 0; i < w->n_hosts; i++) {
            int row = w->store.profiles[p];
            if (row != NOBODY && w->hosts[i].up && w->hosts[i].told[row].here)
                want(w, &w->hosts[i], row, true);
        }
    }
}

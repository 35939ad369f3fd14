/*
 * What was found in places: sealed and durable before the core hears of it; then, as it decides,
 * the current pair of a lineage, a lineage of its own, or nothing.
 */
#include "daemon/places.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* A capture that the core has heard of. Its tokens stay in secret memory for as long. */
struct kept_capture {
    uint64_t id;
    uint64_t consumer;
    struct tokens tokens;
    struct pair pair;
    bool spent; /* CAPTURES_START: as the store has it */
    char source[STORE_DETAIL_MAX];
    char subject[REPLY_SUBJECT_MAX], label[REPLY_SUBJECT_MAX]; /* as asked; "" */
    struct kept_capture *next;
};

static struct kept_capture *capture_find(const struct daemon *d, uint64_t id)
{
    for (struct kept_capture *c = d->captures; c && id != 0; c = c->next) {
        if (c->id == id)
            return c;
    }
    return NULL;
}

static void capture_forget(struct daemon *d, uint64_t id)
{
    for (struct kept_capture **at = &d->captures; *at; at = &(*at)->next) {
        struct kept_capture *c = *at;
        if (c->id != id)
            continue;
        *at = c->next;
        d->n_captures--;
        tokens_clear(&c->tokens);
        free(c);
        return;
    }
}

void captures_free(struct daemon *d)
{
    while (d->captures)
        capture_forget(d, d->captures->id);
}

/* Takes the tokens. */
static int remember(struct daemon *d, uint64_t id, uint64_t consumer, struct tokens *tokens,
                    const struct pair *pair, const char *source, bool spent)
{
    struct kept_capture *c = capture_find(d, id);
    if (!c) {
        c = calloc(1, sizeof(*c));
        if (!c)
            return ERR_NOMEM;
        c->next = d->captures;
        d->captures = c;
        d->n_captures++;
    }
    tokens_clear(&c->tokens);
    c->tokens = *tokens;
    *tokens = (struct tokens){0};
    c->id = id;
    c->consumer = consumer;
    c->pair = *pair;
    c->spent = spent;
    (void)str_copy(c->source, sizeof(c->source), source);
    return 0;
}

static uint64_t new_id(void)
{
    uint64_t id;
    do
        randombytes_buf(&id, sizeof(id));
    while ((id >>= 1) == 0);
    return id;
}

/* ---- keeping ---- */

struct keeping {
    struct store_job job;
    struct place *p;
    bool asked;
    uint64_t id, kept_as;
    uint64_t lineage;
    struct tokens tokens;
    struct pair pair;
    struct buf sealed;
    struct acquaintance met;
    char source[STORE_DETAIL_MAX];
    int64_t now_wall_ms;
};

static void keeping_free(struct keeping *k)
{
    tokens_clear(&k->tokens);
    buf_release(&k->sealed);
    free(k);
}

static int keep_run(struct store *s, struct store_job *job)
{
    struct keeping *k = (struct keeping *)job;
    struct captured c = {
        .id = k->id,
        .consumer = k->p->id,
        .lineage = k->lineage,
        .pair = k->pair,
        .sealed = k->sealed.bytes,
        .sealed_len = k->sealed.len,
        .source = k->source,
        .now_wall_ms = k->now_wall_ms,
    };
    return store_keep_capture(s, &c, &k->kept_as, &k->met);
}

static void tell_kept(struct keeping *k, int err)
{
    struct place *p = k->p;
    if (err == 0 && k->kept_as != 0 && !capture_find(p->d, k->kept_as)) {
        journal(p->d, holding_by_profile(p->d, p->profile), "captured", "%s", k->source);
        err = remember(p->d, k->kept_as, p->id, &k->tokens, &k->pair, k->source, false);
    }
    if (p->gone || p->is_void)
        return; /* it is stored, and told of at the next start, or found again */
    if (err == 0)
        place_saw(p, k->asked, SEEN_PAIR, &k->pair, k->kept_as, k->met.is_former);
    else if (k->asked)
        place_failed(p, "what stands there cannot be stored");
    else
        p->look_again = true;
    if (!k->asked)
        act_pause(p);
}

static void keep_done(struct store_job *job, int err)
{
    struct keeping *k = (struct keeping *)job;
    struct place *p = k->p;
    if (err < 0)
        log_line(p->d, LOG_ERROR, "what was found in %s:%s cannot be stored: %s", p->kind, p->path,
                 err_reason(err));
    tell_kept(k, err);
    keeping_free(k);
    place_rests(p);
}

static int fill_keeping(struct keeping *k, const struct copy *found)
{
    struct daemon *d = k->p->d;
    struct holding *h = holding_by_profile(d, k->p->profile);
    int err = h ? tokens_copy(&found->tokens, &k->tokens) : ERR_NOT_FOUND;
    if (err == 0 && found->account.len <= TOKENS_ACCOUNT_MAX) {
        err = secret_set(&k->tokens.account, found->account.bytes, found->account.len);
        (void)str_copy(k->tokens.account_format, sizeof(k->tokens.account_format), k->p->kind);
    }
    if (err == 0)
        err = vault_seal(d->vault, k->id, 0, &k->tokens, &k->sealed);
    if (err == 0)
        k->lineage = h->lineage;
    return err;
}

void capture_keep(struct place *p, bool asked, const struct copy *found, const struct pair *pair)
{
    bool is_full = p->d->n_captures >= CAPTURES_KEPT_MAX;
    struct keeping *k = is_full ? NULL : calloc(1, sizeof(*k));
    int err = k ? 0 : is_full ? ERR_BUSY : ERR_NOMEM;
    if (k) {
        k->job.run = keep_run;
        k->job.done = keep_done;
        k->p = p;
        k->asked = asked;
        k->id = new_id();
        k->pair = *pair;
        k->now_wall_ms = clock_now().wall_ms;
        buf_init(&k->sealed, STORE_SEALED_MAX);
        (void)snprintf(k->source, sizeof(k->source), "%s:%.200s", p->kind, p->path);
        err = fill_keeping(k, found);
    }
    if (err == 0)
        err = store_queue_submit(p->d->store, &k->job);
    if (err == 0)
        return;
    if (k)
        keeping_free(k);
    if (asked) /* what is not sealed is not written over */
        place_failed(p,
                     is_full ? "more logins were found than can be asked about" : err_reason(err));
    place_rests(p);
}

/* ---- at a start ---- */

static int on_row(void *ctx, const struct captured_row *row)
{
    struct daemon *d = ctx;
    struct tokens tokens = {0};
    int err = vault_unseal(d->vault, row->id, 0, row->sealed.bytes, row->sealed.len, &tokens);
    if (err == 0)
        err = remember(d, row->id, row->consumer, &tokens, &row->pair, row->source,
                       row->met.is_former);
    else if (err == ERR_CORRUPT)
        log_line(d, LOG_ERROR, "what was found in %s does not open with this vault's key",
                 row->source);
    tokens_clear(&tokens);
    return err == ERR_CORRUPT ? 0 : err;
}

int captures_load(struct daemon *d, struct store *s)
{
    return store_each_capture(s, on_row, d);
}

void captures_start(struct daemon *d)
{
    uint64_t ids[CAPTURES_PER_CONSUMER * CONSUMERS_MAX];
    size_t n = 0;
    for (struct kept_capture *c = d->captures; c && n < sizeof(ids) / sizeof(*ids); c = c->next)
        ids[n++] = c->id;
    while (n > 0) { /* the oldest first; the list has the newest in front */
        struct kept_capture *c = capture_find(d, ids[--n]);
        if (!c)
            continue;
        struct event ev = event_of(EV_OBSERVED, 0);
        ev.consumer = c->consumer;
        ev.capture = c->id;
        ev.observed.what = SEEN_PAIR;
        ev.observed.pair = c->pair;
        ev.observed.spent = c->spent;
        ev.observed.from_store = true;
        drive(d, &ev);
    }
}

/* ---- what becomes of it ---- */

const struct secret *capture_access(struct daemon *d, uint64_t id)
{
    struct kept_capture *c = capture_find(d, id);
    return c ? &c->tokens.access : NULL;
}

void capture_named(struct daemon *d, uint64_t id, const char *subject, const char *label)
{
    struct kept_capture *c = capture_find(d, id);
    if (!c)
        return;
    (void)str_copy(c->subject, sizeof(c->subject), subject);
    (void)str_copy(c->label, sizeof(c->label), label);
}

/* One job about a capture. `row`: the lineage as the store has it then: the new one, or the one
 * that would not take it. */
struct dealing {
    struct store_job job;
    struct daemon *d;
    struct effect fx;
    uint64_t made; /* QUARANTINE, CLAIM: id of the new lineage */
    struct tokens tokens;
    struct buf sealed;
    struct lineage_row row;
    char subject[REPLY_SUBJECT_MAX], label[REPLY_SUBJECT_MAX];
    char profile[NAME_MAX_LEN + 1];
    char source[STORE_DETAIL_MAX];
    enum policy policy;
    bool given_away;
    bool is_making; /* another lineage: it is counted */
    int64_t held_until_wall_ms;
    int64_t now_wall_ms;
};

static void dealing_free(struct dealing *g)
{
    g->d->n_makings -= g->is_making;
    tokens_clear(&g->tokens);
    buf_release(&g->sealed);
    lineage_row_release(&g->row);
    free(g);
}

static void deal_failed(struct daemon *d, const struct effect *fx, const char *what, int err)
{
    struct event ev = event_of(EV_STORE_FAILED, fx->lineage);
    log_line(d, LOG_ERROR, "%s of what was found: the store failed: %s", what, err_reason(err));
    ev.capture = fx->capture;
    ev.err = err;
    drive(d, &ev);
}

/* The store knows better: what it has of the lineage. */
static void deal_overtaken(struct dealing *g)
{
    struct daemon *d = g->d;
    struct holding *h = holding_find(d, g->fx.lineage);
    struct tokens pair = {0};
    struct view v;
    int err = h ? 0 : ERR_NOT_FOUND;
    /* It has gone on, by a write of ours whose end we could not take in. */
    if (err == 0 && g->row.generation != h->generation)
        err = vault_unseal(d->vault, g->row.id, g->row.generation, g->row.sealed.bytes,
                           g->row.sealed.len, &pair);
    if (err == 0 && g->row.generation != h->generation)
        err = holding_take(h, g->row.generation, &pair, &g->row.sealed);
    tokens_clear(&pair);
    if (err < 0) {
        deal_failed(d, &g->fx, "adoption", err);
        return;
    }
    struct event ev = recover_loaded(d, h, &g->row);
    if (warden_view(d->warden, h->lineage, clock_now(), &v))
        ev.loaded.policy = v.policy; /* the row has the one it was added with */
    ev.kind = EV_OVERTAKEN;
    ev.loaded.restored = false;
    ev.capture = g->fx.capture;
    drive(d, &ev);
}

static int adopt_run(struct store *s, struct store_job *job)
{
    struct dealing *g = (struct dealing *)job;
    struct capture_adoption a = {
        .capture = g->fx.capture,
        .lineage = g->fx.lineage,
        .generation = g->fx.generation,
        .sealed = g->sealed.bytes,
        .sealed_len = g->sealed.len,
        .given_away = g->given_away,
        .held_until_wall_ms = g->held_until_wall_ms,
        .now_wall_ms = g->now_wall_ms,
    };
    int err = store_adopt_capture(s, &a);
    int read = err == ERR_CONFLICT ? store_get_lineage(s, g->fx.lineage, &g->row) : 0;
    return read < 0 ? read : err;
}

static void adopt_done(struct store_job *job, int err)
{
    struct dealing *g = (struct dealing *)job;
    struct daemon *d = g->d;
    struct holding *h = holding_find(d, g->fx.lineage);
    if (err == 0 && h)
        err = holding_take(h, g->fx.generation, &g->tokens, &g->sealed);
    if (err == ERR_CONFLICT) {
        deal_overtaken(g);
    } else if (err < 0) {
        deal_failed(d, &g->fx, "adoption", err);
    } else {
        if (h)
            h->held_until_wall_ms = g->held_until_wall_ms;
        journal(d, h, "adopted", "generation %llu, found in %s",
                (unsigned long long)g->fx.generation, g->source);
        capture_forget(d, g->fx.capture);
        struct event ev = event_of(EV_ADOPTED, g->fx.lineage);
        ev.capture = g->fx.capture;
        drive(d, &ev);
    }
    dealing_free(g);
}

static struct capture_lineage lineage_made(const struct dealing *g)
{
    return (struct capture_lineage){
        .capture = g->fx.capture,
        .lineage = g->made,
        .subject = g->fx.subject,
        .subject_text = g->subject,
        .label = g->label,
        .profile = g->profile,
        .policy = g->policy,
        .sealed = g->sealed.bytes,
        .sealed_len = g->sealed.len,
        .given_away = g->given_away,
        .now_wall_ms = g->now_wall_ms,
    };
}

static int quarantine_run(struct store *s, struct store_job *job)
{
    struct dealing *g = (struct dealing *)job;
    struct capture_lineage c = lineage_made(g);
    int err = store_set_capture_aside(s, &c);
    int read = err == 0 ? store_get_lineage(s, g->made, &g->row) : 0;
    return read < 0 ? read : err;
}

static int claim_run(struct store *s, struct store_job *job)
{
    struct dealing *g = (struct dealing *)job;
    struct capture_lineage c = lineage_made(g);
    int err = store_claim_capture(s, &c);
    int read = err == 0              ? store_get_lineage(s, g->made, &g->row)
               : err == ERR_CONFLICT ? store_get_lineage(s, g->fx.lineage, &g->row)
                                     : 0;
    return read < 0 ? read : err;
}

/* The lineage that was made is held from now on. NULL: no memory; the next start has it. */
static struct holding *hold_made(struct dealing *g)
{
    struct err_text text = {""};
    struct holding *h = holding_new(g->d, g->made);
    int err = h ? recover_holding(g->d, h, &g->row, &text) : ERR_NOMEM;
    if (err == 0) {
        (void)str_copy(h->source, sizeof(h->source), g->source);
        return h;
    }
    log_line(g->d, LOG_ERROR, "a login that was found cannot be held: %s",
             text.text[0] ? text.text : err_reason(err));
    if (h)
        holding_drop(g->d, h);
    return NULL;
}

static void quarantine_done(struct store_job *job, int err)
{
    struct dealing *g = (struct dealing *)job;
    struct daemon *d = g->d;
    /* Not there any more: it was done before, and could not be told. */
    if (err < 0 && err != ERR_EXISTS && err != ERR_NOT_FOUND) {
        deal_failed(d, &g->fx, "setting aside", err);
        dealing_free(g);
        return;
    }
    struct holding *h = err == 0 ? hold_made(g) : NULL;
    if (h)
        journal(d, h, "quarantined", "%s%s, found in %s", g->subject[0] ? "subject " : "",
                g->subject[0] ? g->subject : "nobody can say whose it is", g->source);
    struct event ev = event_of(EV_QUARANTINED, g->fx.lineage);
    ev.capture = g->fx.capture;
    capture_forget(d, g->fx.capture);
    drive(d, &ev);
    if (h) {
        struct event loaded = recover_loaded(d, h, &g->row);
        loaded.loaded.restored = false; /* it is of this run */
        drive(d, &loaded);
    }
    dealing_free(g);
}

static void claim_done(struct store_job *job, int err)
{
    struct dealing *g = (struct dealing *)job;
    struct daemon *d = g->d;
    struct holding *h = err == 0 ? hold_made(g) : NULL;
    if (err == ERR_CONFLICT) {
        deal_overtaken(g);
    } else if (!h) {
        deal_failed(d, &g->fx, "claim", err < 0 ? err : ERR_NOMEM);
    } else {
        journal(d, h, "claimed", "found in %s: spent to learn whose it is", g->source);
        capture_forget(d, g->fx.capture);
        struct event ev = event_of(EV_ADDED, h->lineage);
        ev.capture = g->fx.capture;
        ev.added.rules = rules_of(d, &h->provider);
        ev.added.policy = g->policy;
        ev.added.pair = g->row.pair;
        ev.added.continues = g->fx.lineage;
        ev.added.deadline_boot_ms = TIME_NEVER;
        drive(d, &ev);
    }
    dealing_free(g);
}

static int drop_run(struct store *s, struct store_job *job)
{
    struct dealing *g = (struct dealing *)job;
    return store_drop_capture(s, g->fx.capture);
}

static void drop_done(struct store_job *job, int err)
{
    struct dealing *g = (struct dealing *)job;
    if (err < 0)
        log_line(g->d, LOG_WARNING, "what was found and is known cannot be dropped yet: %s",
                 err_reason(err));
    dealing_free(g);
}

static struct dealing *dealing_new(struct daemon *d, const struct effect *fx)
{
    struct dealing *g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->d = d;
    g->fx = *fx;
    g->now_wall_ms = clock_now().wall_ms;
    buf_init(&g->sealed, STORE_SEALED_MAX);
    lineage_row_init(&g->row);
    return g;
}

/* What all of them are made of. */
static int fill_dealing(struct dealing *g)
{
    struct daemon *d = g->d;
    struct kept_capture *c = capture_find(d, g->fx.capture);
    struct holding *h = holding_find(d, g->fx.lineage);
    struct view v;
    if (!c)
        return ERR_NOT_FOUND;
    (void)str_copy(g->source, sizeof(g->source), c->source);
    (void)str_copy(g->subject, sizeof(g->subject), c->subject);
    (void)str_copy(g->label, sizeof(g->label), c->label);
    g->given_away = !place_find(d, c->consumer);
    if (h && warden_view(d->warden, h->lineage, clock_now(), &v)) {
        (void)str_copy(g->profile, sizeof(g->profile), h->profile);
        g->policy = v.policy;
        g->held_until_wall_ms = c->pair.expires_wall_ms == 0
                                    ? TIME_NEVER
                                    : c->pair.expires_wall_ms + h->provider.skew_ms;
    }
    return tokens_copy(&c->tokens, &g->tokens);
}

static int seal_for_adoption(struct dealing *g)
{
    struct daemon *d = g->d;
    struct holding *h = holding_find(d, g->fx.lineage);
    struct tokens old = {0};
    int err = h ? holding_unseal(d, h, &old) : ERR_NOT_FOUND;
    if (err == 0)
        tokens_complete(&g->tokens, &old);
    tokens_clear(&old);
    return err < 0 ? err
                   : vault_seal(d->vault, g->fx.lineage, g->fx.generation, &g->tokens, &g->sealed);
}

static int seal_for_lineage(struct dealing *g)
{
    g->made = new_id();
    return vault_seal(g->d->vault, g->made, 1, &g->tokens, &g->sealed);
}

/* For one more lineage, in the core. */
static bool has_room(const struct daemon *d)
{
    uint32_t n = 0;
    for (const struct holding *h = d->holdings; h; h = h->next)
        n++;
    return n + d->n_makings < d->limits.lineages;
}

void perform_capture(struct daemon *d, const struct effect *fx)
{
    static const struct {
        int (*run)(struct store *, struct store_job *);
        void (*done)(struct store_job *, int);
        int (*seal)(struct dealing *);
        const char *what;
    } deals[FX_COUNT] = {
        [FX_ADOPT] = {adopt_run, adopt_done, seal_for_adoption, "adoption"},
        [FX_QUARANTINE] = {quarantine_run, quarantine_done, seal_for_lineage, "setting aside"},
        [FX_CLAIM] = {claim_run, claim_done, seal_for_lineage, "claim"},
        [FX_DROP] = {drop_run, drop_done, NULL, "dropping"},
    };
    struct dealing *g = dealing_new(d, fx);
    bool drops = fx->kind == FX_DROP;
    int err = g ? 0 : ERR_NOMEM;
    CHECK(deals[fx->kind].run);
    bool makes_one = fx->kind == FX_QUARANTINE || fx->kind == FX_CLAIM;
    if (err == 0 && makes_one && !has_room(d))
        err = ERR_FULL;
    if (err == 0 && makes_one) {
        g->is_making = true;
        d->n_makings++;
    }
    if (err == 0 && !drops)
        err = fill_dealing(g);
    if (err == 0 && !drops)
        err = deals[fx->kind].seal(g);
    if (drops)
        capture_forget(d, fx->capture);
    if (err == 0) {
        g->job.run = deals[fx->kind].run;
        g->job.done = deals[fx->kind].done;
        err = store_queue_submit(d->store, &g->job);
    }
    if (err == 0)
        return;
    if (g)
        dealing_free(g);
    if (!drops)
        deal_failed(d, fx, deals[fx->kind].what, err);
}

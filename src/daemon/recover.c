/*
 * What a stop or a crash left behind. Loading happens before the loop runs; then the core is fed,
 * and for every intent that is still open the spool is asked what became of it. A spender that
 * outlived the daemon still holds the spool's lock: it is waited for before anything is believed.
 */
#include "daemon/daemon.h"

#include <stdlib.h>
#include <string.h>

#include "issuer/spool.h"

#define RECOVER_LOOK_MS    50
#define RECOVER_MARGIN_MS  (30 * SECOND_MS)
#define SPOOL_LEFTOVER_MAX 4096

struct load {
    struct daemon *d;
    struct event *events; /* one a lineage, in the order of loading */
    uint32_t n, max;
    struct err_text *text;
};

int recover_holding(struct daemon *d, struct holding *h, const struct lineage_row *row,
                    struct err_text *text)
{
    struct tokens pair = {0};
    h->fence = row->fence;
    h->generation = row->generation;
    h->intent = row->intent;
    h->intent_same_boot = strcmp(row->intent_boot_id, d->boot_id) == 0;
    h->wanted_policy = row->wanted_policy;
    h->was_adopted = row->wanted_profile[0] == '\0';
    (void)str_copy(h->wanted_profile, sizeof(h->wanted_profile), row->wanted_profile);
    (void)str_copy(h->subject, sizeof(h->subject), row->subject_text);
    (void)str_copy(h->label, sizeof(h->label), row->label);
    (void)str_copy(h->source, sizeof(h->source), "an earlier run");
    int err = provider_decode(row->definition.bytes, row->definition.len, &h->provider);
    if (err < 0)
        return err_say(text, err, "lineage %016llx: its provider definition does not parse",
                       (unsigned long long)row->id);
    err =
        vault_unseal(d->vault, row->id, row->generation, row->sealed.bytes, row->sealed.len, &pair);
    if (err == 0)
        err = holding_take(h, row->generation, &pair, &row->sealed);
    tokens_clear(&pair);
    if (err == ERR_NOMEM)
        return err_say(text, err, "lineage %016llx: its pair cannot be opened: %s",
                       (unsigned long long)row->id, err_reason(err));
    if (err < 0)
        return err_say(text, err,
                       "lineage %016llx: its pair does not open with this vault key; is "
                       "vault.key the one this store was made with?",
                       (unsigned long long)row->id);
    return 0;
}

struct event recover_loaded(const struct daemon *d, const struct holding *h,
                            const struct lineage_row *row)
{
    struct event ev = event_of(EV_LOADED, row->id);
    bool same_boot = row->expires_boot_ms != 0 && strcmp(row->boot_id, d->boot_id) == 0;
    ev.loaded = (struct loaded){
        .rules = rules_of(d, &h->provider),
        .policy = row->wanted_policy,
        .standing = row->standing,
        .unproven = row->wanted_profile[0] != '\0',
        .subject = row->subject,
        .pair = row->pair,
        .expires_boot_ms = same_boot ? row->expires_boot_ms : 0,
        .generation = row->generation,
        .fence = row->fence,
        .held_until_wall_ms = row->held_until_wall_ms,
        .doubt_since_wall_ms = row->doubt_since_wall_ms,
        .doubt = row->doubt,
        .replayed = row->replayed,
        .given_away = row->given_away,
        .claimed = row->claimed,
        .kept = row->kept,
        .shared = h->profile[0] != '\0' && places_share(d, h->profile),
        .intent = row->intent,
        .intent_is_replay = row->intent_is_replay,
        .restored = d->restored,
        .restored_wall_ms = d->last_restored.wall_ms,
        .restored_boot_ms =
            strcmp(d->last_restored.boot_id, d->boot_id) == 0 ? d->last_restored.boot_ms : 0,
        .alarms = row->alarms,
    };
    return ev;
}

static int on_lineage(void *ctx, const struct lineage_row *row)
{
    struct load *ld = ctx;
    if (ld->n == ld->max) {
        uint32_t max = ld->max ? ld->max * 2 : 64;
        struct event *more = realloc(ld->events, max * sizeof(*more));
        if (!more)
            return ERR_NOMEM;
        ld->events = more;
        ld->max = max;
    }
    struct holding *h = holding_new(ld->d, row->id);
    int err = h ? recover_holding(ld->d, h, row, ld->text) : ERR_NOMEM;
    if (err == 0)
        ld->events[ld->n++] = recover_loaded(ld->d, h, row);
    return err;
}

static int on_profile(void *ctx, const struct profile_row *row)
{
    struct load *ld = ctx;
    struct holding *h = holding_find(ld->d, row->lineage);
    if (!h)
        return err_say(ld->text, ERR_CORRUPT, "profile %s points at no lineage", row->name);
    (void)str_copy(h->profile, sizeof(h->profile), row->name);
    h->created_wall_ms = row->created_wall_ms;
    for (uint32_t i = 0; i < ld->n; i++) {
        if (ld->events[i].lineage != row->lineage)
            continue;
        ld->events[i].loaded.policy = row->policy;
        ld->events[i].loaded.shared = places_share(ld->d, row->name);
    }
    return 0;
}

static int on_alarm(void *ctx, const struct alarm_row *row)
{
    struct load *ld = ctx;
    struct holding *h = holding_find(ld->d, row->lineage);
    if (h) {
        h->alarms[row->alarm].since_wall_ms = row->raised_wall_ms;
        (void)str_copy(h->alarms[row->alarm].detail, sizeof(h->alarms[row->alarm].detail),
                       row->detail);
    }
    return 0;
}

/* A store that takes the end of this alarm can be written: the start is the first write since. On
 * a disk that is still full it stays. */
static void end_store_alarms(struct load *ld, struct store *s)
{
    for (uint32_t i = 0; i < ld->n; i++) {
        struct event *ev = &ld->events[i];
        uint32_t bit = UINT32_C(1) << ALARM_STORE;
        if ((ev->loaded.alarms & bit) == 0 ||
            store_alarm(s, ev->lineage, ALARM_STORE, false, "", clock_now().wall_ms) < 0)
            continue;
        ev->loaded.alarms &= ~bit;
        holding_find(ld->d, ev->lineage)->alarms[ALARM_STORE].since_wall_ms = 0;
    }
}

static int on_ledger(void *ctx, const struct ledger_row *row)
{
    struct holding *h = ctx;
    if (row->is_spend && !row->is_open)
        (void)str_copy(h->spend_detail, sizeof(h->spend_detail), row->detail);
    return 0;
}

/* What the last answer said: callers are told why a login is over, also after a restart. */
static int load_details(struct daemon *d, struct store *s)
{
    int err = 0;
    for (struct holding *h = d->holdings; h && err == 0; h = h->next)
        err = store_each_ledger(s, h->lineage, 2, on_ledger, h);
    return err;
}

/* A new pair for a profile that exists must be its subject's. */
static void find_continued(struct load *ld)
{
    for (uint32_t i = 0; i < ld->n; i++) {
        struct holding *h = holding_find(ld->d, ld->events[i].lineage);
        struct holding *now =
            h->wanted_profile[0] ? holding_by_profile(ld->d, h->wanted_profile) : NULL;
        if (now)
            ld->events[i].loaded.continues = now->lineage;
    }
}

/* Nobody's: its name was taken over, and the crash came before it was retired. */
static bool is_orphan(const struct holding *h, const struct event *ev)
{
    return h->profile[0] == '\0' && !ev->loaded.unproven &&
           ev->loaded.standing != STANDING_QUARANTINED;
}

/* A file that is no open intent's is what a crash left on either side of the store's write. Some
 * are kept: one that a spender has in hand, for its answer is yet to come; one that cannot be read
 * just now; and an answer to an intent that the store has never heard of: then the store is an
 * older copy, or another one, and the answer may be all there is of a login; it is taken once the
 * store that knows it is back. NULL: it is none of these. */
static const char *reason_to_keep(struct daemon *d, struct store *s, uint64_t intent)
{
    enum spool_stage stage = SPOOL_LOCKED;
    bool same_boot = false, is_known = false;
    struct buf sealed;
    buf_init(&sealed, SPOOL_ANSWER_MAX);
    int err = spool_read(d->spool_dir_fd, intent, d->boot_id, &stage, &same_boot, NULL, &sealed);
    buf_release(&sealed);
    if (err < 0)
        return "cannot be read now";
    if (stage == SPOOL_LOCKED)
        return "is in the hands of a spender";
    if (stage == SPOOL_ANSWERED)
        err = store_knows_intent(s, intent, &is_known);
    if (err < 0)
        return "is of a spend that cannot be looked up now";
    return stage == SPOOL_ANSWERED && !is_known ? "is of a spend that this store does not know"
                                                : NULL;
}

static void tell_kept(struct daemon *d, struct store *s, uint64_t intent, const char *why)
{
    struct event_row row = {.wall_ms = clock_now().wall_ms, .kind = "kept"};
    (void)snprintf(row.detail, sizeof(row.detail), "spool file %016llx %s",
                   (unsigned long long)intent, why);
    log_line(d, LOG_WARNING, "kept: %s", row.detail);
    (void)store_event_add(s, &row, NULL); /* the file stays, told or not */
}

static void sweep_spool(struct daemon *d, struct store *s)
{
    uint64_t *left = calloc(SPOOL_LEFTOVER_MAX, sizeof(*left));
    int n = left ? spool_list(d->spool_dir_fd, left, SPOOL_LEFTOVER_MAX) : 0;
    for (int i = 0; i < n; i++) {
        if (holding_by_intent(d, left[i]))
            continue;
        const char *why = reason_to_keep(d, s, left[i]);
        if (why)
            tell_kept(d, s, left[i], why);
        else
            (void)spool_remove(d->spool_dir_fd, left[i]);
    }
    free(left);
}

int recover_load(struct daemon *d, struct store *s, struct err_text *text)
{
    struct load ld = {.d = d, .text = text};
    int err = store_last_restored(s, &d->last_restored);
    if (err == 0)
        err = places_load(d, s, text);
    if (err == 0)
        err = store_each_lineage(s, false, on_lineage, &ld);
    if (err == 0)
        err = store_each_profile(s, on_profile, &ld);
    if (err == 0)
        err = store_each_alarm(s, false, on_alarm, &ld);
    if (err == 0)
        err = load_details(d, s);
    if (err == 0) {
        end_store_alarms(&ld, s);
        find_continued(&ld);
        d->limits = (struct warden_limits){
            /* each profile, the login that shall replace it, and those that are set aside */
            .lineages = (2 + LINEAGES_ASIDE) * (uint32_t)d->config.profiles_max + ld.n,
            .waiters = WAITERS_MAX,
            .consumers = CONSUMERS_MAX,
            .captures = CAPTURES_PER_CONSUMER * CONSUMERS_MAX,
        };
        d->loaded = ld.events;
        d->n_loaded = ld.n;
        ld.events = NULL;
        sweep_spool(d, s);
    }
    free(ld.events);
    return err;
}

static void look(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    bool waiting = false;
    for (struct holding *h = d->holdings, *next; h; h = next) {
        next = h->next;
        if (!h->recovering)
            continue;
        intake_outcome(d, h);
        waiting = waiting || h->recovering;
    }
    if (!waiting)
        uv_timer_stop(timer);
}

void recover_later(struct daemon *d, struct holding *h, int64_t patience_ms)
{
    h->recovering = true;
    h->recover_until_boot_ms = clock_now().boot_ms + patience_ms;
    if (!uv_is_active((uv_handle_t *)&d->recover_timer))
        uv_timer_start(&d->recover_timer, look, RECOVER_LOOK_MS, RECOVER_LOOK_MS);
}

void recover_start(struct daemon *d)
{
    for (uint32_t i = 0; i < d->n_loaded; i++) {
        struct holding *h = holding_find(d, d->loaded[i].lineage);
        bool orphan = is_orphan(h, &d->loaded[i]);
        drive(d, &d->loaded[i]);
        if (h->intent != 0) {
            journal(d, h, "recovering", "a spend was under way; its answer is looked for");
            h->after_restart = true;
            recover_later(d, h, 2 * d->config.spend_deadline_ms + RECOVER_MARGIN_MS);
        }
        if (orphan) {
            struct event ev = event_of(EV_REMOVE, h->lineage);
            drive(d, &ev);
        }
    }
    free(d->loaded);
    d->loaded = NULL;
    places_start(d);
    if (uv_is_active((uv_handle_t *)&d->recover_timer))
        look(&d->recover_timer); /* most are there already */
}

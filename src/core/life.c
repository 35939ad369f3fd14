/*
 * How long things last, and when something may be done: pure arithmetic on one lineage.
 */
#include "core/internal.h"

#define BACK_OFF_FIRST_MS   SECOND_MS
#define BACK_OFF_MAX_MS     (5 * MINUTE_MS)
#define RETRY_AFTER_MAX_MS  DAY_MS /* beyond, a provider's Retry-After is taken for a mistake */
#define JITTER_AFTER_MAX_MS (10 * SECOND_MS)
#define JITTER_MAX_MS       (15 * MINUTE_MS)
#define WISH_DEFAULT_MS     (10 * SECOND_MS)
#define COMFORT_MIN_MS      SECOND_MS
#define COMFORT_MAX_MS      (15 * MINUTE_MS)

int64_t access_over_from(const struct lineage *l)
{
    return fp_is_none(l->pair.access) || l->access_dead ? 0 : l->expires_boot_ms;
}

int64_t life_left(const struct lineage *l, struct now now)
{
    int64_t over = access_over_from(l);
    return over == TIME_NEVER ? TIME_NEVER : ms_max(0, over - now.boot_ms);
}

bool is_static(const struct lineage *l)
{
    return fp_is_none(l->pair.refresh);
}

bool in_flight(const struct lineage *l)
{
    return l->state >= LS_LEASING && l->state <= LS_CLOSING;
}

int64_t may_spend_from(const struct lineage *l)
{
    if (is_static(l))
        return TIME_NEVER;
    switch (l->policy) {
    case POLICY_ALWAYS:
        return 0;
    case POLICY_STANDBY:
        return l->held_until_boot_ms;
    case POLICY_NEVER:
    case POLICY_COUNT:
        break;
    }
    return TIME_NEVER;
}

bool may_spend(const struct lineage *l, struct now now)
{
    return may_spend_from(l) <= now.boot_ms;
}

int64_t due_boot_ms(const struct lineage *l)
{
    if (is_static(l))
        return TIME_NEVER;
    int64_t over = access_over_from(l);
    return over == TIME_NEVER ? TIME_NEVER : ms_max(0, over - l->lead_ms);
}

int64_t comfort_from(const struct lineage *l)
{
    if (!l->rules.refresh_kills_access || l->last_comfort_boot_ms == 0)
        return 0;
    int64_t pause = ms_max(COMFORT_MIN_MS, ms_min(COMFORT_MAX_MS, l->pair.life_ms / 4));
    return l->last_comfort_boot_ms + pause;
}

int64_t wish_default_ms(const struct lineage *l)
{
    return l->pair.life_ms > 0 ? ms_min(WISH_DEFAULT_MS, l->pair.life_ms / 8) : WISH_DEFAULT_MS;
}

/* Before the expiry by the provider's skew, at most by 2/5 of the life (short tokens), plus a
 * jitter so that lineages born together do not come due together. */
static int64_t choose_lead_ms(struct warden *w, const struct lineage *l)
{
    int64_t skew = l->rules.skew_ms, life = l->pair.life_ms;
    if (life <= 0)
        return skew + rng_below(w, skew / 2);
    return ms_min(skew, life / 5 * 2) + rng_below(w, ms_min(life / 10, JITTER_MAX_MS));
}

void take_pair(struct step *s, const struct pair *pair, int64_t expires_boot_ms)
{
    struct lineage *l = s->l;
    if (!fp_equal(l->pair.refresh, pair->refresh)) {
        l->given_away = false;
        l->rotated_boot_ms = s->now.boot_ms;
    }
    l->pair = *pair;
    l->access_dead = false;
    l->expiry_from_wall = false;
    if (pair->expires_wall_ms == 0) {
        l->expires_boot_ms = TIME_NEVER;
    } else if (expires_boot_ms != 0) {
        l->expires_boot_ms = expires_boot_ms;
    } else {
        l->expiry_from_wall = true;
        l->expires_boot_ms = s->now.boot_ms + (pair->expires_wall_ms - s->now.wall_ms);
        /* A clock that is slow must not give it more life than it was issued with. */
        if (pair->life_ms > 0)
            l->expires_boot_ms = ms_min(l->expires_boot_ms, s->now.boot_ms + pair->life_ms);
    }
    l->obtained_boot_ms = s->now.boot_ms;
    l->lead_ms = choose_lead_ms(s->w, l);
}

void was_obtained_elsewhere(struct lineage *l)
{
    l->obtained_boot_ms = l->rotated_boot_ms = INT64_MIN / 2;
}

void hear_date(struct step *s)
{
    struct lineage *l = s->l;
    int64_t server_wall_ms = s->ev->server_wall_ms;
    if (server_wall_ms == 0 || !l->expiry_from_wall)
        return;
    /* A Date has whole seconds: the server's clock is anywhere in that one. Ours is believed when
     * it is there too; else the end of that second, which errs on the safe side. */
    int64_t into_ms = s->now.wall_ms - server_wall_ms;
    server_wall_ms += into_ms >= 0 && into_ms < SECOND_MS ? into_ms : SECOND_MS - 1;
    int64_t before_boot_ms = l->expires_boot_ms;
    l->expires_boot_ms = s->now.boot_ms + (l->pair.expires_wall_ms - server_wall_ms);
    l->expiry_from_wall = false;
    if (l->held_until_boot_ms != 0 && l->held_until_boot_ms != TIME_NEVER)
        l->held_until_boot_ms += l->expires_boot_ms - before_boot_ms; /* counted from there */
}

void hear_refusal(struct step *s)
{
    enum identity what = s->ev->kind == EV_PROBED ? s->ev->probe.what : s->ev->identity.what;
    if (what == IDENTITY_EXPIRED || what == IDENTITY_REVOKED)
        s->l->access_dead = true;
}

void back_off(struct step *s, int64_t retry_after_ms, enum answer trouble)
{
    struct lineage *l = s->l;
    int64_t pause = BACK_OFF_FIRST_MS << ms_min(l->tries, 12);
    pause = ms_min(pause, BACK_OFF_MAX_MS);
    /* A short-lived token has no time for long pauses, but never less than the first. */
    if (l->pair.life_ms > 0)
        pause = ms_min(pause, ms_max(BACK_OFF_FIRST_MS, l->pair.life_ms / 4));
    pause = pause / 2 + rng_below(s->w, pause); /* 0.5 to 1.5 of it */
    if (retry_after_ms > 0) {                   /* it may have named the same moment to everybody */
        int64_t told = ms_min(retry_after_ms, RETRY_AFTER_MAX_MS);
        pause = ms_max(pause, told + rng_below(s->w, ms_min(told / 10, JITTER_AFTER_MAX_MS)));
    }
    l->tries += l->tries < UINT32_MAX;
    l->not_before_boot_ms = s->now.boot_ms + pause;
    l->trouble = trouble;
}

void back_off_clear(struct lineage *l)
{
    l->tries = 0;
    l->not_before_boot_ms = 0;
    l->trouble = ANSWER_TOKEN;
}

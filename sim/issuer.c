/*
 * The providers, and the truth about every login. The rules of a refresh token are those of the
 * lab (lab/grants.h): spent and within the grace: another pair of the same successor generation;
 * spent and not: refused, and the family ends where the rules say so; without rotation nothing is
 * consumed.
 */
#include "sim/coverage.h"

#include <string.h>

static struct fp fp_of(uint32_t index, uint8_t tag)
{
    struct fp fp = {{0}};
    memcpy(fp.bytes, &index, sizeof(index));
    fp.bytes[4] = tag;
    memset(fp.bytes + 5, tag ^ 0x5a, sizeof(fp.bytes) - 5);
    return fp;
}

struct fp subject_fp(unsigned subject)
{
    return fp_of(subject, 'S');
}

int issued_index(const struct world *w, struct fp fp)
{
    uint32_t index;
    memcpy(&index, fp.bytes, sizeof(index));
    return fp.bytes[4] == 'T' && index < w->n_issued ? (int)index : NOBODY;
}

static struct fp issue(struct world *w, int family, bool is_refresh)
{
    struct family *f = &w->families[family];
    const struct provider *p = &w->providers[f->provider];
    w->issued[w->n_issued] = (struct issued){
        .family = (uint8_t)family,
        .subject = f->subject,
        .is_refresh = is_refresh,
        .generation = f->generation,
        .expires_at = is_refresh ? f->deadline_at : w->now + p->life_ms,
    };
    return fp_of(w->n_issued++, 'T');
}

int family_new(struct world *w, unsigned provider, unsigned subject)
{
    if (w->n_families == FAMILIES_MAX) {
        w->is_full = true;
        return NOBODY;
    }
    const struct provider *p = &w->providers[provider];
    w->families[w->n_families] = (struct family){
        .provider = (uint8_t)provider,
        .subject = (uint8_t)(provider * SUBJECTS_MAX + subject % SUBJECTS_MAX),
        .generation = 1,
        .deadline_at = p->login_ms == 0 ? 0 : w->now + p->login_ms,
    };
    return (int)w->n_families++;
}

bool issue_pair(struct world *w, int family, bool with_refresh, struct fp *ret_access,
                struct fp *ret_refresh)
{
    if (w->n_issued + 2 > ISSUED_MAX) {
        w->is_full = true;
        return false;
    }
    *ret_access = issue(w, family, false);
    *ret_refresh = with_refresh ? issue(w, family, true) : (struct fp){{0}};
    return true;
}

/* As somebody who keeps exact time would write it down. */
struct pair pair_of(const struct world *w, struct fp access, struct fp refresh)
{
    const struct issued *t = &w->issued[issued_index(w, access)];
    const struct provider *p = &w->providers[w->families[t->family].provider];
    int64_t deadline_at = w->families[t->family].deadline_at;
    return (struct pair){
        .access = access,
        .refresh = refresh,
        .expires_wall_ms = p->silent ? 0 : WALL_ZERO + t->expires_at,
        .life_ms = p->silent ? 0 : p->life_ms,
        .login_deadline_wall_ms = deadline_at == 0 ? 0 : WALL_ZERO + deadline_at,
    };
}

/* A token that was spent before may still be good: the one right before the current generation. */
static bool within_grace(const struct world *w, const struct issued *t)
{
    const struct family *f = &w->families[t->family];
    return w->now - t->spent_at <= w->providers[f->provider].grace_ms &&
           t->generation + 1 == f->generation;
}

static bool is_good(const struct world *w, const struct issued *t)
{
    const struct family *f = &w->families[t->family];
    return t->is_refresh && !f->ended && (f->deadline_at == 0 || w->now < f->deadline_at) &&
           (!t->spent || within_grace(w, t));
}

bool refresh_is_alive(const struct world *w, struct fp refresh)
{
    int index = issued_index(w, refresh);
    return index != NOBODY && is_good(w, &w->issued[index]);
}

bool access_is_alive(const struct world *w, struct fp access)
{
    int index = issued_index(w, access);
    if (index == NOBODY)
        return false;
    const struct issued *t = &w->issued[index];
    const struct family *f = &w->families[t->family];
    return !f->ended && (uint32_t)index >= f->access_floor && w->now < t->expires_at;
}

/* What a commit changes. */
static void grant(struct world *w, int token, bool keeps, struct reply *ret)
{
    struct issued *t = &w->issued[token];
    struct family *f = &w->families[t->family];
    const struct provider *p = &w->providers[f->provider];
    bool rotates = p->rotates && !keeps;
    if (rotates) {
        if (!t->spent) {
            t->spent = true;
            t->spent_at = w->now;
        }
        if (f->generation == t->generation)
            f->generation++;
    }
    if (p->kills_access)
        f->access_floor = w->n_issued;
    if (!issue_pair(w, t->family, rotates, &ret->access, &ret->refresh)) {
        ret->verdict = VERDICT_UNCOMMITTED; /* the world is full, and about to end */
        return;
    }
    ret->verdict = VERDICT_GRANTED;
    if (p->silent)
        coverage_scene(w, SCENE_LIFE_UNKNOWN);
    ret->life_ms = p->silent ? 0 : p->life_ms;
    ret->login_left_ms = f->deadline_at == 0 ? 0 : f->deadline_at - w->now;
    if (p->names_in_answer)
        ret->subject = subject_fp(f->subject);
}

void issuer_spend(struct world *w, int token, bool keeps, bool renames, struct reply *ret)
{
    struct issued *t = &w->issued[token];
    struct family *f = &w->families[t->family];
    const struct provider *p = &w->providers[f->provider];
    memset(ret, 0, sizeof(*ret));
    if (p->has_date)
        ret->server_wall_ms = (WALL_ZERO + w->now) / SECOND_MS * SECOND_MS;
    if (!is_good(w, t)) {
        if (t->spent && !f->ended && p->ends_family)
            f->ended = true;
        ret->verdict = VERDICT_REFUSED;
        return;
    }
    if (renames && p->names_in_answer)
        f->subject = (uint8_t)(f->provider * SUBJECTS_MAX + (f->subject + 1) % SUBJECTS_MAX);
    grant(w, token, keeps && !t->spent, ret);
}

enum identity issuer_identity(const struct world *w, struct fp access, struct fp *ret_subject)
{
    int index = issued_index(w, access);
    if (index == NOBODY)
        return IDENTITY_REVOKED;
    const struct issued *t = &w->issued[index];
    const struct family *f = &w->families[t->family];
    if (f->ended || (uint32_t)index < f->access_floor)
        return IDENTITY_REVOKED;
    if (w->now >= t->expires_at)
        return IDENTITY_EXPIRED;
    if (f->narrow)
        return IDENTITY_SCOPE;
    *ret_subject = subject_fp(t->subject); /* its bearer's, whoever its login has become since */
    return IDENTITY_NAMED;
}

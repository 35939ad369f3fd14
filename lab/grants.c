/*
 * Families and tokens: a table of families by id, and one open-addressed table of tokens by digest.
 * Every token of the run is kept, because the whole point is to tell "spent" from "never issued".
 */
#include "lab/grants.h"

#include <sodium.h>

#include "base/check.h"
#include "base/err.h"
#include "base/str.h"

#define TABLE_START 1024u /* a power of two, like every later size */

struct grants {
    uint64_t chance; /* state of the generator */
    uint64_t serial;
    struct family *families;
    uint32_t n_families, cap_families;
    struct grant_token *tokens;
    uint32_t n_tokens, cap_tokens;
};

const char *spend_result_name(enum spend_result r)
{
    static const char *const names[SPEND_RESULT_COUNT] = {
        [SPEND_GRANTED] = "granted", [SPEND_GRACE] = "granted-grace",
        [SPEND_REUSED] = "reused",   [SPEND_UNROTATED] = "granted-unrotated",
        [SPEND_REVOKED] = "revoked", [SPEND_EXPIRED] = "expired",
        [SPEND_UNKNOWN] = "unknown", [SPEND_WRONG_KIND] = "wrong-kind",
        [SPEND_FULL] = "full",
    };
    return names[r];
}

const char *bearer_result_name(enum bearer_result r)
{
    static const char *const names[BEARER_RESULT_COUNT] = {
        [BEARER_VALID] = "valid",     [BEARER_MISSING] = "missing", [BEARER_UNKNOWN] = "unknown",
        [BEARER_EXPIRED] = "expired", [BEARER_REVOKED] = "revoked", [BEARER_SCOPE] = "scope",
    };
    return names[r];
}

bool spend_is_commit(enum spend_result r)
{
    return r == SPEND_GRANTED || r == SPEND_GRACE || r == SPEND_UNROTATED;
}

struct grants *grants_new(uint64_t seed)
{
    struct grants *g = calloc(1, sizeof(*g));

    if (g == NULL)
        return NULL;
    g->chance = seed;
    g->cap_tokens = TABLE_START;
    g->tokens = calloc(g->cap_tokens, sizeof(g->tokens[0]));
    if (g->tokens == NULL) {
        free(g);
        return NULL;
    }
    return g;
}

void grants_free(struct grants *g)
{
    if (g == NULL)
        return;
    free(g->families);
    free(g->tokens);
    free(g);
}

int grants_keep(const struct grants *g, struct grants *kept)
{
    size_t families = g->cap_families * sizeof(g->families[0]);
    size_t tokens = g->cap_tokens * sizeof(g->tokens[0]);
    struct grants copy = *g;

    copy.families = malloc(families + 1);
    copy.tokens = malloc(tokens);
    if (copy.families == NULL || copy.tokens == NULL) {
        free(copy.families);
        free(copy.tokens);
        return ERR_NOMEM;
    }
    if (families > 0)
        memcpy(copy.families, g->families, families);
    memcpy(copy.tokens, g->tokens, tokens);
    free(kept->families);
    free(kept->tokens);
    *kept = copy;
    return 0;
}

int grants_rewind(struct grants *g, const struct grants *kept)
{
    uint64_t chance = g->chance, serial = g->serial;
    int err = grants_keep(kept, g);

    if (err == 0) {
        g->chance = chance;
        g->serial = serial;
    }
    return err;
}

static void digest_of(const char *token, size_t len, uint8_t ret[32])
{
    crypto_hash_sha256(ret, (const unsigned char *)token, len);
}

void grant_short_id(const char *token, size_t len, char ret[GRANT_ID_SIZE])
{
    uint8_t digest[32];

    digest_of(token, len, digest);
    hex_encode(digest, (GRANT_ID_SIZE - 1) / 2, ret);
}

/* The place of a digest: where it is, or the empty one where it would go. */
static uint32_t place_of(const struct grant_token *table, uint32_t cap, const uint8_t digest[32])
{
    uint32_t at;

    memcpy(&at, digest, sizeof(at));
    for (at &= cap - 1; table[at].serial != 0; at = (at + 1) & (cap - 1)) {
        if (memcmp(table[at].digest, digest, sizeof(table[at].digest)) == 0)
            break;
    }
    return at;
}

static struct grant_token *find(const struct grants *g, const char *token, size_t len)
{
    uint8_t digest[32];
    struct grant_token *t;

    digest_of(token, len, digest);
    t = &g->tokens[place_of(g->tokens, g->cap_tokens, digest)];
    return t->serial == 0 ? NULL : t;
}

const struct grant_token *grants_find(const struct grants *g, const char *token, size_t len)
{
    return find(g, token, len);
}

struct family *grants_family(struct grants *g, uint32_t id)
{
    return id == 0 || id > g->n_families ? NULL : &g->families[id - 1];
}

uint32_t grants_families(const struct grants *g)
{
    return g->n_families;
}

/* Room for `n` more tokens, at most half full. Done before anything is changed, so that a commit
 * cannot fail half-way. */
static int tokens_reserve(struct grants *g, uint32_t n)
{
    uint32_t cap = g->cap_tokens;
    struct grant_token *table;

    if (g->n_tokens + n > GRANT_TOKENS_MAX)
        return ERR_BUSY;
    while ((g->n_tokens + n) * 2 > cap)
        cap *= 2;
    if (cap == g->cap_tokens)
        return 0;
    table = calloc(cap, sizeof(table[0]));
    if (table == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < g->cap_tokens; i++) {
        if (g->tokens[i].serial != 0)
            table[place_of(table, cap, g->tokens[i].digest)] = g->tokens[i];
    }
    free(g->tokens);
    g->tokens = table;
    g->cap_tokens = cap;
    return 0;
}

static uint64_t chance_next(struct grants *g) /* splitmix64 */
{
    uint64_t z = g->chance += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Make up a token and remember it. Room was reserved. */
static void issue(struct grants *g, const struct family *f, bool is_refresh, int64_t expires_ms,
                  char ret[GRANT_TOKEN_SIZE], char ret_id[GRANT_ID_SIZE])
{
    unsigned long long high = chance_next(g);
    unsigned long long low = chance_next(g);
    struct grant_token t = {
        .serial = ++g->serial,
        .family = f->id,
        .generation = f->generation,
        .is_refresh = is_refresh,
        .expires_ms = expires_ms,
    };

    snprintf(ret, GRANT_TOKEN_SIZE, "lab-%s-%016llx%016llx", is_refresh ? "rt" : "at", high, low);
    digest_of(ret, strlen(ret), t.digest);
    grant_short_id(ret, strlen(ret), ret_id);
    g->tokens[place_of(g->tokens, g->cap_tokens, t.digest)] = t;
    g->n_tokens++;
}

static void issue_pair(struct grants *g, const struct grant_rules *rules, struct family *f,
                       bool with_refresh, int64_t now_ms, struct grant_issue *ret)
{
    int64_t life_ms = f->access_life_ms > 0 ? f->access_life_ms : rules->access_life_ms;

    *ret = (struct grant_issue){
        .family = f->id,
        .access_life_ms = life_ms,
        .refresh_left_ms = f->deadline_ms - now_ms,
    };
    issue(g, f, false, now_ms + life_ms, ret->access, ret->access_id);
    memcpy(f->access_id, ret->access_id, sizeof(f->access_id));
    if (!with_refresh)
        return;
    issue(g, f, true, f->deadline_ms, ret->refresh, ret->refresh_id);
    memcpy(f->refresh_id, ret->refresh_id, sizeof(f->refresh_id));
}

static int families_reserve(struct grants *g)
{
    uint32_t cap = g->cap_families == 0 ? 16 : g->cap_families * 2;
    struct family *grown;

    if (g->n_families == GRANT_FAMILIES_MAX)
        return ERR_BUSY;
    if (g->n_families < g->cap_families)
        return 0;
    grown = realloc(g->families, cap * sizeof(grown[0]));
    if (grown == NULL)
        return ERR_NOMEM;
    g->families = grown;
    g->cap_families = cap;
    return 0;
}

int grants_login(struct grants *g, const struct grant_rules *rules, const char *subject,
                 const char *org, const char *scope, int64_t access_life_ms, int64_t now_ms,
                 struct grant_issue *ret)
{
    struct family f = {
        .id = g->n_families + 1,
        .access_life_ms = access_life_ms,
        .deadline_ms = now_ms + rules->refresh_life_ms,
        .generation = 1,
    };
    int err;

    if (str_is_blank(subject) || str_is_blank(org) ||
        str_copy(f.subject, sizeof(f.subject), subject) != 0 ||
        str_copy(f.org, sizeof(f.org), org) != 0 || str_copy(f.scope, sizeof(f.scope), scope) != 0)
        return ERR_INVALID;
    err = families_reserve(g);
    if (err == 0)
        err = tokens_reserve(g, 2);
    if (err != 0)
        return err;
    g->families[g->n_families++] = f;
    issue_pair(g, rules, &g->families[f.id - 1], true, now_ms, ret);
    return 0;
}

/* A token that was spent before may still be good: see the header. */
static bool within_grace(const struct grant_rules *rules, const struct family *f,
                         const struct grant_token *t, int64_t now_ms)
{
    return rules->grace_ms > 0 && now_ms - t->spent_ms <= rules->grace_ms &&
           t->generation + 1 == f->generation;
}

static enum spend_result judge(const struct grant_rules *rules, const struct spend_request *request,
                               const struct family *f, const struct grant_token *t, int64_t now_ms)
{
    if (f->end != FAMILY_ALIVE)
        return SPEND_REVOKED;
    if (now_ms >= t->expires_ms)
        return SPEND_EXPIRED;
    if (t->spent)
        return within_grace(rules, f, t, now_ms) ? SPEND_GRACE : SPEND_REUSED;
    return rules->rotate && !request->keep_refresh ? SPEND_GRANTED : SPEND_UNROTATED;
}

/* The commit: what a granted presentation changes. */
static void commit(struct grants *g, const struct grant_rules *rules,
                   const struct spend_request *request, enum spend_result result, struct family *f,
                   struct grant_token *t, int64_t now_ms, struct grant_issue *ret_issue)
{
    if (result == SPEND_GRANTED) {
        t->spent = true;
        t->spent_ms = now_ms;
        /* The later of two pairs given in grace is behind already: no way back. */
        if (f->generation == t->generation)
            f->generation++;
    }
    f->spends++;
    if (request->new_subject != NULL)
        (void)str_copy(f->subject, sizeof(f->subject), request->new_subject);
    if (rules->kills_access)
        grants_kill_access(g, f->id);
    issue_pair(g, rules, f, result != SPEND_UNROTATED, now_ms, ret_issue);
}

struct spend_report grants_spend(struct grants *g, const struct grant_rules *rules,
                                 const struct spend_request *request, int64_t now_ms,
                                 struct grant_issue *ret_issue)
{
    struct spend_report report = {.result = SPEND_UNKNOWN};
    struct grant_token *t;
    struct family *f;

    if (tokens_reserve(g, 2) != 0) {
        report.result = SPEND_FULL;
        return report;
    }
    t = find(g, request->refresh, request->refresh_len);
    if (t == NULL)
        return report;
    f = grants_family(g, t->family);
    CHECK(f != NULL);
    if (!t->is_refresh) {
        report.result = SPEND_WRONG_KIND;
        return report;
    }
    report.reuse = t->spent;
    report.result = judge(rules, request, f, t, now_ms);
    report.rotated = report.result == SPEND_GRANTED;
    report.family_revoked = report.result == SPEND_REUSED && rules->family_revocation;
    f->reuses += report.reuse ? 1 : 0;
    f->graced += report.result == SPEND_GRACE ? 1 : 0;
    if (report.family_revoked)
        f->end = FAMILY_REUSED;
    if (spend_is_commit(report.result))
        commit(g, rules, request, report.result, f, t, now_ms, ret_issue);
    return report;
}

bool scope_has(const char *scope, const char *word, size_t len)
{
    while (*scope != '\0') {
        size_t n = strcspn(scope, " ");

        if (n == len && len > 0 && memcmp(scope, word, len) == 0)
            return true;
        scope += n;
        scope += strspn(scope, " ");
    }
    return false;
}

enum bearer_result grants_check(const struct grants *g, const char *access, size_t len,
                                const char *scope, int64_t now_ms)
{
    const struct grant_token *t;
    const struct family *f;

    if (len == 0)
        return BEARER_MISSING;
    t = find(g, access, len);
    if (t == NULL || t->is_refresh)
        return BEARER_UNKNOWN;
    f = &g->families[t->family - 1];
    if (f->end != FAMILY_ALIVE || t->serial < f->access_floor)
        return BEARER_REVOKED;
    if (now_ms >= t->expires_ms)
        return BEARER_EXPIRED;
    if (scope != NULL && !scope_has(f->scope, scope, strlen(scope)))
        return BEARER_SCOPE;
    return BEARER_VALID;
}

void grants_revoke(struct grants *g, uint32_t family)
{
    struct family *f = grants_family(g, family);

    if (f != NULL && f->end == FAMILY_ALIVE)
        f->end = FAMILY_REVOKED;
}

void grants_kill_access(struct grants *g, uint32_t family)
{
    struct family *f = grants_family(g, family);

    if (f != NULL)
        f->access_floor = g->serial + 1;
}

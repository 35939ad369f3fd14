/*
 * What the lab remembers of its logins: families of pairs, and the life of every token it has ever
 * issued in this run. Pure: time and rules come with each call, chance from a seed.
 *
 * The rules of a refresh token, in the order in which they are asked:
 *
 *   not known            → UNKNOWN; an access token in its place → WRONG_KIND
 *   spent before         → counted as a reuse, whatever comes next
 *   family ended         → REVOKED
 *   login deadline over  → EXPIRED
 *   spent before         → within the grace, and the one right before the current generation:
 *                          GRACE, another pair of the same successor generation;
 *                          otherwise REUSED, and the family ends if the rules say so
 *   else                 → GRANTED: consumed, and its successor issued (the rotation);
 *                          without rotation UNROTATED: a new access token, nothing consumed
 *
 * GRANTED, GRACE and UNROTATED are the commits; nothing else changes what any token is worth, but
 * for the end of the family by reuse. Only digests of tokens are kept.
 */
#ifndef LAB_GRANTS_H
#define LAB_GRANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRANT_TOKEN_SIZE   40 /* "lab-rt-" + 32 hex digits + NUL */
#define GRANT_ID_SIZE      11 /* short id: first 10 hex digits of the token's SHA-256, + NUL */
#define GRANT_WORD_SIZE    128
#define GRANT_SCOPE_SIZE   257
#define GRANT_FAMILIES_MAX 4096
#define GRANT_TOKENS_MAX   (1u << 20)

struct grant_rules {
    int64_t access_life_ms;
    int64_t refresh_life_ms; /* the login ends this long after it was made, rotated or not */
    int64_t grace_ms;        /* from the first presentation; 0: none */
    bool rotate;
    bool family_revocation;
    bool kills_access; /* a commit ends the access tokens the family had */
};

enum family_end { FAMILY_ALIVE, FAMILY_REUSED, FAMILY_REVOKED };

struct family {
    uint32_t id; /* 1, 2, …: "f1" outside */
    char subject[GRANT_WORD_SIZE];
    char org[GRANT_WORD_SIZE];
    char scope[GRANT_SCOPE_SIZE]; /* words */
    int64_t access_life_ms;       /* its own; 0: as the rules say */
    int64_t deadline_ms;          /* of the login */
    enum family_end end;
    uint32_t generation;           /* of the newest refresh token; 1 after login */
    uint32_t spends;               /* commits: pairs or access tokens given for a refresh token */
    uint32_t reuses;               /* presentations of a token that was spent before */
    uint32_t graced;               /* of those, the ones answered within the grace */
    uint32_t messages;             /* work done, for the usage figures */
    int64_t usage_asked_ms;        /* last usage answer; 0: none */
    char access_id[GRANT_ID_SIZE]; /* short ids of the newest pair */
    char refresh_id[GRANT_ID_SIZE];
    uint64_t access_floor; /* access tokens with a smaller serial are killed */
};

struct grant_token { /* what is known of one presented token */
    uint8_t digest[32];
    uint64_t serial; /* ascending in order of issue; 0: an empty place of the table */
    uint32_t family;
    uint32_t generation;
    bool is_refresh;
    bool spent;
    int64_t spent_ms; /* first presentation */
    int64_t expires_ms;
};

struct grant_issue { /* what goes to the client */
    uint32_t family;
    char access[GRANT_TOKEN_SIZE];
    char refresh[GRANT_TOKEN_SIZE]; /* "": the answer carries none, the old one stays good */
    int64_t access_life_ms;
    int64_t refresh_left_ms;
    char access_id[GRANT_ID_SIZE];
    char refresh_id[GRANT_ID_SIZE];
};

enum spend_result {
    SPEND_GRANTED,
    SPEND_GRACE,
    SPEND_UNROTATED,
    SPEND_REUSED,
    SPEND_REVOKED,
    SPEND_EXPIRED,
    SPEND_UNKNOWN,
    SPEND_WRONG_KIND,
    SPEND_FULL, /* GRANT_TOKENS_MAX: nothing was changed */
    SPEND_RESULT_COUNT
};
const char *spend_result_name(enum spend_result r); /* "granted", "granted-grace", … */

struct spend_request {
    const char *refresh; /* as presented, any bytes */
    size_t refresh_len;
    bool keep_refresh;       /* this once without rotation, whatever the rules say */
    const char *new_subject; /* the family belongs to this subject from the commit on; NULL */
};

struct spend_report {
    enum spend_result result;
    bool reuse;          /* the token had been spent before */
    bool family_revoked; /* this very presentation ended the family */
    bool rotated;        /* this very presentation consumed the token */
};
bool spend_is_commit(enum spend_result r);

enum bearer_result {
    BEARER_VALID,
    BEARER_MISSING,
    BEARER_UNKNOWN,
    BEARER_EXPIRED,
    BEARER_REVOKED,
    BEARER_SCOPE, /* the token lives, but its family lacks the scope */
    BEARER_RESULT_COUNT
};
const char *bearer_result_name(enum bearer_result r);

struct grants;

struct grants *grants_new(uint64_t seed); /* NULL: out of memory */
void grants_free(struct grants *g);       /* NULL-tolerant */

/* `kept` becomes all that `g` remembers now. Later `g` can be taken back to it, any number of
 * times: what was issued or spent meanwhile never happened, and no token is made up a second time.
 * ERR_NOMEM: nothing has changed. */
int grants_keep(const struct grants *g, struct grants *kept);
int grants_rewind(struct grants *g, const struct grants *kept);

/* `access_life_ms` 0: as the rules say. ERR_INVALID: a word is empty or too long. ERR_BUSY: full.
 */
int grants_login(struct grants *g, const struct grant_rules *rules, const char *subject,
                 const char *org, const char *scope, int64_t access_life_ms, int64_t now_ms,
                 struct grant_issue *ret);

/* `ret_issue` is filled in on a commit only. */
struct spend_report grants_spend(struct grants *g, const struct grant_rules *rules,
                                 const struct spend_request *request, int64_t now_ms,
                                 struct grant_issue *ret_issue);

/* What an access token is worth. `scope` NULL: any will do. */
enum bearer_result grants_check(const struct grants *g, const char *access, size_t len,
                                const char *scope, int64_t now_ms);

/* Look, and change nothing. NULL: never issued. Valid until the next commit or login. */
const struct grant_token *grants_find(const struct grants *g, const char *token, size_t len);

/* Family by id; NULL: none. The counters may be written by the caller. */
struct family *grants_family(struct grants *g, uint32_t id);
uint32_t grants_families(const struct grants *g); /* ids are 1 … this */

void grants_revoke(struct grants *g, uint32_t family);      /* no-op when ended */
void grants_kill_access(struct grants *g, uint32_t family); /* its refresh token stays good */

bool scope_has(const char *scope, const char *word, size_t len);

/* Short id of any text, issued by us or not. */
void grant_short_id(const char *token, size_t len, char ret[GRANT_ID_SIZE]);

#endif

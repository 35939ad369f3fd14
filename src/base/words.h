/*
 * The vocabulary that several parts share (parts never include each other): enums with their
 * names, as they stand in the store, the API and the traces. Names are stable.
 */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Keyed BLAKE2b-128 of a token: the only form of it that logs, traces and the core ever see. All
 * zero means "none". Subjects travel in the same form (the text stays in the store). */
#define FP_LEN 16
struct fp {
    uint8_t bytes[FP_LEN];
};
#define FP_TEXT_SIZE 33
static inline bool fp_equal(struct fp a, struct fp b)
{
    return memcmp(a.bytes, b.bytes, FP_LEN) == 0;
}
static inline bool fp_is_none(struct fp fp)
{
    return fp_equal(fp, (struct fp){{0}});
}
void fp_format(struct fp fp, char *buf, size_t size);       /* 32 hex digits, or "-" */
void fp_format_short(struct fp fp, char *buf, size_t size); /* first 10, for people */
int fp_parse(const char *text, struct fp *ret);             /* 32 hex digits, or "-"; ERR_INVALID */

/* What is known of a pair without its bytes. Two pairs are the same when refresh, access and
 * expiry agree. */
struct pair {
    struct fp access;
    struct fp refresh;              /* none: static */
    int64_t expires_wall_ms;        /* server time; 0: not known or never */
    int64_t life_ms;                /* expires_in as issued; 0: not known */
    int64_t login_deadline_wall_ms; /* the login itself ends then; 0: not known */
};
bool pair_equal(const struct pair *a, const struct pair *b);

/* Spending policy of a profile. */
enum policy { POLICY_NEVER, POLICY_STANDBY, POLICY_ALWAYS, POLICY_COUNT };

/* What an answer of the token endpoint means. */
enum verdict {
    VERDICT_GRANTED,     /* a pair; durable in the spool before anyone hears of it */
    VERDICT_REFUSED,     /* final: the definition lists the error as such */
    VERDICT_THROTTLED,   /* 429, or as the definition says: nothing was committed */
    VERDICT_UNSENT,      /* surely nothing left the machine */
    VERDICT_UNCOMMITTED, /* answered with an error the definition lists as not committed */
    VERDICT_DOUBT,       /* everything else after bytes were sent */
    VERDICT_COUNT
};

/* What an identity question found. */
enum identity {
    IDENTITY_NAMED,      /* the server named the subject */
    IDENTITY_EXPIRED,    /* the access token is refused as expired */
    IDENTITY_REVOKED,    /* … as revoked or unknown */
    IDENTITY_SCOPE,      /* the token lives but may not ask this */
    IDENTITY_UNANSWERED, /* network, throttling, nonsense: says nothing */
    IDENTITY_COUNT
};

/* What a look into a client's store found. */
enum seen {
    SEEN_PAIR,
    SEEN_BLANK, /* the client's own mark for "refused": it would like a good pair */
    SEEN_TORN,  /* not to be understood */
    SEEN_GONE,  /* nobody is signed in there */
    SEEN_COUNT
};

/* What the user ordered for a place that is not yet done. It ends with the first write there. */
enum wish {
    WISH_NONE,
    WISH_FILL,    /* a place where nobody is signed in gets the login */
    WISH_REPLACE, /* … and one where somebody else is: he is captured first */
    WISH_COUNT
};

/* How we came to a pair (ledger). */
enum origin { ORIGIN_ADDED, ORIGIN_SPENT, ORIGIN_RECOVERED, ORIGIN_ADOPTED, ORIGIN_COUNT };

/* Where a lineage stands, as stored. Transient states of the core are not stored: an open intent
 * says the rest. */
enum standing {
    STANDING_UNPROVEN, /* captured by `add`, subject not yet named */
    STANDING_LIVE,
    STANDING_DOUBT,       /* a spend's answer is lost */
    STANDING_DEAD,        /* sign in again */
    STANDING_QUARANTINED, /* kept sealed, never used: another subject */
    STANDING_RETIRED,     /* ended by the user; bytes wiped, ledger kept */
    STANDING_COUNT
};

enum alarm {
    ALARM_DOUBT,       /* an answer was lost; the old access token is being lived on */
    ALARM_DEAD,        /* sign in again */
    ALARM_SUBJECT,     /* the server names another subject than the lineage's */
    ALARM_EXPIRING,    /* a static pair, or a login deadline, ends soon */
    ALARM_UNREACHABLE, /* spends have failed for long enough that the access token is over */
    ALARM_STORE,       /* what must be durable cannot be written */
    ALARM_RESTORED,    /* the store is older than its high-water mark */
    ALARM_COUNT
};

/* How the core answers a waiter. Also the codes of the API's problem+json (see names). */
enum answer {
    ANSWER_TOKEN,       /* here it is */
    ANSWER_DONE,        /* add, remove, policy: done */
    ANSWER_UNKNOWN,     /* no such lineage */
    ANSWER_TOO_LONG,    /* more life wished for than the provider's tokens have */
    ANSWER_CAPPED,      /* a spend for one caller's comfort, too soon after the last */
    ANSWER_POLICY,      /* the policy forbids the spend it would take */
    ANSWER_DEAD,        /* sign in again */
    ANSWER_DOUBT,       /* in doubt, and the old access token does not last that long */
    ANSWER_EXPIRED,     /* a static pair that is over */
    ANSWER_QUARANTINED, /* another subject */
    ANSWER_UNPROVEN,    /* the subject is not yet named */
    ANSWER_THROTTLED,   /* provider said later */
    ANSWER_UNREACHABLE, /* provider cannot be reached, or says nonsense */
    ANSWER_TIMEOUT,     /* the caller's own patience is over */
    ANSWER_STORE,       /* cannot be made durable (disk full?) */
    ANSWER_BUSY,        /* queues full */
    ANSWER_STOPPING,    /* the daemon is going down */
    ANSWER_MISMATCH,    /* add: the subject is not the profile's */
    ANSWER_REJECTED,    /* add: the server refuses the pair */
    ANSWER_DUPLICATE,   /* add: this pair is held already, or known as spent */
    ANSWER_COUNT
};

/* Names in lower case with hyphens ("not-found" style); the parsers return ERR_INVALID. */
const char *policy_name(enum policy p);
int policy_parse(const char *name, enum policy *ret);
const char *verdict_name(enum verdict v);
int verdict_parse(const char *name, enum verdict *ret);
const char *identity_name(enum identity i);
const char *seen_name(enum seen s);
const char *wish_name(enum wish w);
int wish_parse(const char *name, enum wish *ret);
const char *origin_name(enum origin o);
int origin_parse(const char *name, enum origin *ret);
const char *standing_name(enum standing s);
int standing_parse(const char *name, enum standing *ret);
const char *alarm_name(enum alarm a);
int alarm_parse(const char *name, enum alarm *ret);
const char *answer_name(enum answer a);

#endif

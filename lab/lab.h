/*
 * The lab as a whole: settings, memory, counters, and one request from arrival to answer. No
 * sockets here: server.c carries the bytes and the time, so tests can drive a request step by step.
 *
 *   exchange_open()      the request is complete: whose is it, which quirk is bound to it
 *   … delay_before_ms …  (server.c)
 *   exchange_evaluate()  the one instant in which anything commits; logs it; the answer is ready
 *   … delay_after_ms …   (server.c)
 *   the answer is sent   (server.c)
 *   exchange_close()
 *
 * A request that is complete is carried through to its commit even if its peer leaves meanwhile,
 * as a real server would.
 */
#ifndef LAB_LAB_H
#define LAB_LAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"
#include "http/http.h"
#include "lab/events.h"
#include "lab/grants.h"
#include "lab/quirks.h"
#include "lab/reply.h"

enum endpoint {
    ENDPOINT_TOKEN,
    ENDPOINT_IDENTITY,
    ENDPOINT_USAGE,
    ENDPOINT_MESSAGES,
    ENDPOINT_RESOURCE,
    ENDPOINT_DISCOVERY,
    ENDPOINT_LOGIN,
    ENDPOINT_REVOKE,
    ENDPOINT_SCRIPT, /* from here on: never logged, never scripted */
    ENDPOINT_UNSCRIPT,
    ENDPOINT_CONFIGURE,
    ENDPOINT_CONFIG,
    ENDPOINT_LOG,
    ENDPOINT_FAMILIES,
    ENDPOINT_STATS,
    ENDPOINT_KEEP,
    ENDPOINT_REWIND,
    ENDPOINT_NONE, /* no such path, or not by this method */
    ENDPOINT_COUNT
};
const char *endpoint_name(enum endpoint e);

enum dialect { DIALECT_OLDER, DIALECT_NEWER, DIALECT_OIDC, DIALECT_COUNT };

struct settings {
    struct grant_rules rules;
    int64_t delay_before_ms; /* of every token request, on top of a quirk's */
    int64_t delay_after_ms;
    int64_t stream_pause_ms; /* between the events of an answer to /v1/messages */
    int64_t usage_gap_ms;    /* one usage answer a family in this time; 0: as many as asked */
    int64_t token_limit;     /* token requests let through in each window; 0: all */
    int64_t token_window_ms;
    bool token_retry_after; /* … and who comes too many is told when the window ends */
    int64_t date_offset_ms; /* how far the Date header is off */
    int64_t dialect;        /* enum dialect */
};

/* One table: command line (--access-life 5s), GET and POST /lab/config ("access_life_ms": 5000). */
void settings_init(struct settings *s);
int settings_set_option(
    struct settings *s, const char *option, const char *value,
    struct err_text *text); /* "access-life", "5s". ERR_NOT_FOUND, ERR_INVALID */
int settings_set_json(struct settings *s, json_t *object, struct err_text *text); /* all or none */
json_t *settings_json(const struct settings *s);

struct exchange;

struct counters {
    uint64_t arrived; /* complete requests */
    uint64_t decided; /* past the instant of the commit, with or without one */
    uint32_t open;    /* arrived, answer not yet over */
};

struct lab {
    struct settings settings;
    struct grants *grants;
    struct grants *kept; /* NULL: nothing yet */
    struct quirks quirks;
    struct events events;
    struct counters counters[ENDPOINT_COUNT];
    uint64_t commits, reuses, families_revoked;
    struct exchange *open;  /* list of requests under way */
    int64_t window_boot_ms; /* the one that token_limit counts in */
    int64_t window_count;
    int64_t start_boot_ms;
    char base_url[64]; /* "http://127.0.0.1:PORT" */
};

/* `log` may be NULL, and stays the caller's. */
int lab_init(struct lab *lab, const struct settings *s, uint64_t seed, const char *base_url,
             struct now now, FILE *log);
void lab_release(struct lab *lab);

/* A request, complete. The texts point into the caller's bytes. */
struct request {
    struct http_text method;
    struct http_text target; /* as it stood: path and query */
    struct http_text content_type;
    struct http_text bearer; /* of Authorization: Bearer; length 0 none */
    struct http_text agent;
    const char *body;
    size_t body_len;
};

struct grant_form { /* what a token request says; texts in the exchange's arena, NULL absent */
    const char *grant_type, *refresh_token, *scope;
    bool is_malformed;
};

struct exchange {
    struct exchange *prev, *next; /* in lab->open */
    const struct request *request;
    enum endpoint endpoint;
    struct arena arena;
    struct grant_form form;
    struct quirk quirk;
    struct http_text presented; /* the token at hand: refresh at the token endpoint, else bearer */
    uint32_t family;            /* 0: not known */
    int64_t delay_before_ms, delay_after_ms;
    struct lab_event event;
    struct reply reply;
};

/* `request` must outlive the exchange. */
void exchange_open(struct lab *lab, struct exchange *ex, const struct request *request,
                   struct now now);
void exchange_evaluate(struct lab *lab, struct exchange *ex, struct now now);
void exchange_close(struct lab *lab, struct exchange *ex);

/* The endpoints: each sets ex->reply and ex->event.outcome. */
void token_parse(struct exchange *ex); /* fills ex->form */
void token_answer(struct lab *lab, struct exchange *ex, struct now now);
void identity_answer(struct lab *lab, struct exchange *ex, struct now now);
void usage_answer(struct lab *lab, struct exchange *ex, struct now now);
void messages_answer(struct lab *lab, struct exchange *ex, struct now now);
void resource_answer(struct lab *lab, struct exchange *ex, struct now now);
void discovery_answer(struct lab *lab, struct exchange *ex, struct now now);
void login_answer(struct lab *lab, struct exchange *ex, struct now now);
void revoke_answer(struct lab *lab, struct exchange *ex, struct now now);
void script_answer(struct lab *lab, struct exchange *ex, struct now now);
void unscript_answer(struct lab *lab, struct exchange *ex, struct now now);
void configure_answer(struct lab *lab, struct exchange *ex, struct now now);
void config_answer(struct lab *lab, struct exchange *ex, struct now now);
void log_answer(struct lab *lab, struct exchange *ex, struct now now);
void families_answer(struct lab *lab, struct exchange *ex, struct now now);
void stats_answer(struct lab *lab, struct exchange *ex, struct now now);
void keep_answer(struct lab *lab, struct exchange *ex, struct now now);
void rewind_answer(struct lab *lab, struct exchange *ex, struct now now);

/* {token_type, access_token, …} of RFC 6749 §5.1, as Anthropic's token endpoint fills it in. */
json_t *token_answer_json(struct lab *lab, const struct grant_issue *issue);
/* A made-up but stable identifier of a person or organization, in the form of a UUID. */
#define MADE_UUID_SIZE 37
void made_uuid(const char *kind, const char *name, char ret[MADE_UUID_SIZE]);

#endif

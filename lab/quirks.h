/*
 * Quirks: what a scripted request meets instead of good manners, and the queue that hands them out.
 * One table in quirks.c names every key; README.md explains them.
 *
 * A quirk is bound to a request when the request is complete. The order of what then happens is
 * fixed, and it is what makes a test about lost answers exact:
 *
 *   delay_before_ms → lose_before_commit → [status, body, error, redirect without `commit`: the
 *   request is not evaluated] → EVALUATION, the only place where anything commits →
 *   delay_after_ms → lose_after_commit → the answer, own or replaced, shaped, sent
 */
#ifndef LAB_QUIRKS_H
#define LAB_QUIRKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define QUIRKS_MAX         256 /* scripts waiting */
#define QUIRK_TIMES_MAX    1000000
#define QUIRK_DELAY_MAX_MS 600000
#define QUIRK_HUGE_MAX_MIB 64
#define QUIRK_TEXT_SIZE    128

struct quirk {
    int64_t delay_before_ms, delay_after_ms;
    bool lose_before_commit, lose_after_commit;

    /* A replaced answer: any of these set. Without `commit` the request is not evaluated. */
    bool commit;
    int64_t status;              /* 0: not replaced by status */
    char body[QUIRK_TEXT_SIZE];  /* "json", "html", "nested", "empty"; "" */
    char error[QUIRK_TEXT_SIZE]; /* the error code in it; "" */
    char redirect[QUIRK_TEXT_SIZE];

    /* Headers of any answer. */
    char retry_after[QUIRK_TEXT_SIZE]; /* as it stands; "" */
    int64_t retry_after_date_s;        /* an HTTP date so far from now; 0 none */
    char content_type[QUIRK_TEXT_SIZE];

    /* How the request is evaluated. */
    bool missing_refresh_token;            /* token: no rotation, this once */
    char changed_subject[QUIRK_TEXT_SIZE]; /* token: the family's from the commit on; "" */
    char deny[QUIRK_TEXT_SIZE];            /* bearer endpoints: "expired", "revoked", …; "" */

    /* The shape of the endpoint's own JSON answer. */
    char expires_in[QUIRK_TEXT_SIZE];    /* "string" or "absent"; "" */
    json_t *set;                         /* object: members put into it; NULL */
    json_t *unset;                       /* array of names taken out; NULL */
    char duplicate_key[QUIRK_TEXT_SIZE]; /* stands twice, first with another value; "" */
    bool non_utf8;
    int64_t huge_mib;

    /* How the body travels. */
    int64_t torn_after; /* bytes, then the connection closes; -1 whole */
    int64_t drip_ms;    /* pause between pieces; 0: in one piece */
    int64_t drip_bytes; /* in a piece */
};

void quirk_init(struct quirk *q); /* none at all */
void quirk_release(struct quirk *q);
bool quirk_replaces(const struct quirk *q);
void quirk_describe(const struct quirk *q, char *ret, size_t size); /* "delay_after_ms+status" */

/* Strict: an unknown key, a wrong type or a value out of bounds is ERR_INVALID and named. */
int quirk_parse(json_t *object, struct quirk *ret, struct err_text *text);

struct script {
    char on[16];                   /* endpoint */
    uint32_t family;               /* 0 any */
    char subject[QUIRK_TEXT_SIZE]; /* "" any */
    int64_t times;                 /* left */
    struct quirk quirk;
};

struct quirks {
    struct script *queue; /* in order of arrival */
    uint32_t n;
    uint64_t used; /* requests that met one */
};

int quirks_init(struct quirks *q); /* ERR_NOMEM */
void quirks_release(struct quirks *q);
void quirks_clear(struct quirks *q);

/* Add what POST /lab/script carries. ERR_INVALID, ERR_BUSY (QUIRKS_MAX). */
int quirks_add(struct quirks *q, json_t *object, struct err_text *text);

/* The first script that fits, used up once. false: none, *ret is "none at all". */
bool quirks_take(struct quirks *q, const char *endpoint, uint32_t family, const char *subject,
                 struct quirk *ret);

#endif

/*
 * What the daemon holds in memory for each lineage: the access token (to answer at once), the
 * sealed pair (the refresh token is opened for a spend only), and what a person calls it.
 */
#include "daemon/daemon.h"

#include <stdlib.h>
#include <string.h>

#include "issuer/spool.h"
#include "sys/file.h"

struct holding *holding_new(struct daemon *d, uint64_t lineage)
{
    struct holding *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->lineage = lineage;
    h->spool_fd = -1;
    buf_init(&h->sealed, STORE_SEALED_MAX);
    buf_init(&h->rescued, SPOOL_ANSWER_MAX);
    reply_init(&h->answer);
    h->next = d->holdings;
    d->holdings = h;
    return h;
}

struct holding *holding_find(struct daemon *d, uint64_t lineage)
{
    for (struct holding *h = d->holdings; h; h = h->next) {
        if (h->lineage == lineage && !h->gone)
            return h;
    }
    return NULL;
}

struct holding *holding_by_profile(struct daemon *d, const char *name)
{
    for (struct holding *h = d->holdings; h; h = h->next) {
        if (!h->gone && strcmp(h->profile, name) == 0)
            return h;
    }
    return NULL;
}

struct holding *holding_by_wanted_profile(struct daemon *d, const char *name)
{
    for (struct holding *h = d->holdings; h; h = h->next) {
        if (!h->gone && strcmp(h->wanted_profile, name) == 0)
            return h;
    }
    return NULL;
}

bool holding_claims(struct daemon *d, const char *name)
{
    for (const struct holding *h = d->holdings; h; h = h->next) {
        if (!h->gone && (strcmp(h->wanted_profile, name) == 0 || strcmp(h->renaming_to, name) == 0))
            return true;
    }
    return false;
}

struct holding *holding_by_intent(struct daemon *d, uint64_t intent)
{
    for (struct holding *h = d->holdings; h; h = h->next) {
        if (!h->gone && h->intent == intent)
            return h;
    }
    return NULL;
}

static void holding_free(struct daemon *d, struct holding *h)
{
    struct holding **at = &d->holdings;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    secret_clear(&h->access);
    buf_release(&h->sealed);
    buf_release(&h->rescued);
    reply_clear(&h->answer);
    fd_close(&h->spool_fd);
    free(h);
}

void holding_drop(struct daemon *d, struct holding *h)
{
    h->gone = true;
    h->profile[0] = '\0';
    if (h->jobs == 0)
        holding_free(d, h);
}

void holding_job_done(struct daemon *d, struct holding *h)
{
    h->jobs--;
    if (h->gone && h->jobs == 0)
        holding_free(d, h);
}

int holding_unseal(struct daemon *d, const struct holding *h, struct tokens *ret)
{
    int err =
        vault_unseal(d->vault, h->lineage, h->generation, h->sealed.bytes, h->sealed.len, ret);
    if (err < 0)
        log_line(d, LOG_ERROR, "the pair of lineage %016llx generation %llu does not open: %s",
                 (unsigned long long)h->lineage, (unsigned long long)h->generation,
                 err_reason(err));
    return err;
}

int holding_take(struct holding *h, uint64_t generation, const struct tokens *tokens,
                 const struct buf *sealed)
{
    struct secret access = {0};
    struct buf copy;
    buf_init(&copy, STORE_SEALED_MAX);
    int err =
        tokens->access.len ? secret_set(&access, tokens->access.bytes, tokens->access.len) : 0;
    if (err == 0)
        err = buf_add(&copy, sealed->bytes, sealed->len);
    if (err < 0) {
        secret_clear(&access);
        buf_release(&copy);
        return err;
    }
    secret_clear(&h->access);
    h->access = access;
    buf_release(&h->sealed);
    h->sealed = copy;
    h->generation = generation;
    return 0;
}

struct rules rules_of(const struct daemon *d, const struct provider *p)
{
    return (struct rules){
        .skew_ms = p->skew_ms,
        .rotates = p->rotates,
        .reuse_grace_ms = p->reuse_grace_ms,
        .refresh_kills_access = p->refresh_kills_access,
        .has_identity = p->identity_url[0] != '\0',
        .spend_deadline_ms = d->config.spend_deadline_ms,
    };
}

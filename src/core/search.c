/*
 * The search: the server will not take our refresh token any more, but a sibling may have been
 * faster and hold, or be about to write, the pair that replaced it. The replicas are read at once
 * and again when a sibling has had its time, and what was found there is understood; only then it
 * is dead. (What a change of policy would have us try is tried all the same when it comes.) The
 * same two looks stand before the one more presentation in doubt.
 */
#include "core/internal.h"

#define SIBLING_WRITES_MS (10 * SECOND_MS) /* from a client's answer to its write, generously */
#define SEARCH_MAX_MS     MINUTE_MS /* a place that cannot be read is not waited for longer */

bool has_hope(const struct warden *w, const struct lineage *l)
{
    return l->n_captures > 0 || has_replica(w, l);
}

void begin_search(struct step *s)
{
    struct lineage *l = s->l;
    int64_t time = SIBLING_WRITES_MS;
    if (l->rules.reuse_grace_ms > 0 && l->state != LS_SEARCHING)
        time = ms_min(time, l->rules.reuse_grace_ms / 4); /* what is forgiven is forgiven soon */
    l->search_from_boot_ms = s->now.boot_ms;
    l->search_until_boot_ms = s->now.boot_ms + time;
}

int64_t search_over_boot_ms(const struct warden *w, const struct lineage *l)
{
    if (l->n_captures > 0 && !captures_wait_for_leave(w, l))
        return TIME_NEVER;
    if (replicas_read_since(w, l, l->search_until_boot_ms))
        return has_replica(w, l) ? 0 : l->search_until_boot_ms;
    return replica_is_being_read(w, l) ? TIME_NEVER : l->search_until_boot_ms + SEARCH_MAX_MS;
}

void search_over(struct step *s)
{
    back_off_clear(s->l);
    become(s, LS_DEAD);
    serve_waiters(s);
}

/*
 * `doctor`: what is wrong or soon will be, each with what mends it. Nothing is changed. The folders
 * of clients are looked at on a thread of libuv's pool, for a file system may hang.
 */
#include "daemon/places.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "replica/inspect.h"
#include "sys/process.h"

#define FINDINGS_MAX 512

struct folder {
    const struct format *format;
    char path[STORE_PLACE_MAX];
    char about[STORE_PLACE_MAX + STORE_KIND_MAX];
    char label[STORE_LABEL_MAX];
};

struct doctor {
    uv_work_t work;
    struct daemon *d;
    uint64_t waiter;
    json_t *findings; /* of the loop; joined with `seen` when the thread is done */
    struct folder *folders;
    size_t n_folders;
    const struct folder *at;
    struct seen_there {
        char about[STORE_PLACE_MAX + STORE_KIND_MAX];
        char what[STORE_PLACE_MAX + 256];
        char mend[STORE_PLACE_MAX + 64];
    } * seen;
    size_t n_seen;
};

static void doctor_free(struct doctor *o)
{
    json_decref(o->findings);
    free(o->folders);
    free(o->seen);
    free(o);
}

static void add(struct doctor *o, const char *about, const char *what, const char *mend)
{
    if (json_array_size(o->findings) < FINDINGS_MAX)
        (void)json_array_append_new(o->findings,
                                    json_pack("{s:s, s:s, s:s?}", "about", about, "what", what,
                                              "mend", mend[0] ? mend : NULL));
}

/* ---- on its thread ---- */

static void found(void *ctx, const char *what, const char *mend)
{
    struct doctor *o = ctx;
    if (o->n_seen == FINDINGS_MAX)
        return;
    struct seen_there *s = &o->seen[o->n_seen++];
    (void)str_copy(s->about, sizeof(s->about), o->at->about);
    str_cut(s->what, sizeof(s->what), what);
    str_cut(s->mend, sizeof(s->mend), mend);
}

static void run(uv_work_t *work)
{
    struct doctor *o = work->data;
    for (size_t i = 0; i < o->n_folders; i++) {
        o->at = &o->folders[i];
        replica_inspect(o->at->format, o->at->path, o->at->label, clock_now().wall_ms, found, o);
    }
}

/* ---- on the loop ---- */

static void done(uv_work_t *work, int status)
{
    struct doctor *o = work->data;
    struct waiting *wt = waiting_find(o->d, o->waiter);
    struct api_call *call = wt ? wt->call : NULL;
    (void)status;
    for (size_t i = 0; i < o->n_seen; i++)
        add(o, o->seen[i].about, o->seen[i].what, o->seen[i].mend);
    if (wt)
        *wt = (struct waiting){0};
    if (call)
        api_reply(call, 200, json_pack("{s:O}", "findings", o->findings));
    doctor_free(o);
}

static void look_at_profile(struct doctor *o, const struct holding *h)
{
    struct view v;
    char what[512], mend[NAME_MAX_LEN + 64];
    if (!warden_view(o->d->warden, h->lineage, clock_now(), &v))
        return;
    for (int i = 0; i < ALARM_COUNT; i++) {
        if (!(v.alarms & (1u << i)))
            continue;
        (void)snprintf(what, sizeof(what), "alarm %s%s%s", alarm_name((enum alarm)i),
                       h->alarms[i].detail[0] ? ": " : "", h->alarms[i].detail);
        (void)snprintf(mend, sizeof(mend), "credwarden %s %s", i == ALARM_DEAD ? "history" : "show",
                       h->profile);
        add(o, h->profile, what, mend);
    }
    if (v.policy == POLICY_NEVER && v.left_ms <= 0 && !fp_is_none(v.pair.refresh)) {
        (void)snprintf(mend, sizeof(mend), "credwarden policy %s always", h->profile);
        add(o, h->profile,
            "its access token is over, and by its policy nobody here renews it: its client does, "
            "when it runs",
            mend);
    }
}

static void look_at_place(struct doctor *o, const struct place *p)
{
    struct place_view v;
    char about[STORE_PLACE_MAX + STORE_KIND_MAX], mend[2 * STORE_PLACE_MAX];
    (void)snprintf(about, sizeof(about), "%s:%s", p->kind, p->path);
    struct holding *h = holding_by_profile(o->d, p->profile);
    if (p->format) {
        struct folder *f = &o->folders[o->n_folders++];
        f->format = p->format;
        (void)str_copy(f->path, sizeof(f->path), p->path);
        (void)str_copy(f->about, sizeof(f->about), about);
        (void)str_copy(f->label, sizeof(f->label), h ? h->label : "");
    }
    if (!warden_view_place(o->d->warden, p->id, &v))
        return;
    (void)snprintf(mend, sizeof(mend), "credwarden use %s --for %s", p->profile, about);
    if (p->why[0])
        add(o, about, p->why, "");
    if (v.wish == WISH_REPLACE && v.known)
        add(o, about, "a switch that is not finished", mend);
    else if (v.known && v.what == SEEN_PAIR && v.is_left_alone && !v.is_in_step &&
             !v.is_being_asked)
        add(o, about, "somebody else is signed in there", mend);
    else if (v.known && v.what == SEEN_BLANK)
        add(o, about, "its client was refused, and has forgotten its tokens", mend);
}

/* What the caller's environment has: his shell's, which we do not see. */
static void look_at_variables(struct doctor *o, const char *names)
{
    while (names && *names) {
        char name[64], what[192];
        size_t len = strcspn(names, ",");
        str_cut(name, len + 1 < sizeof(name) ? len + 1 : sizeof(name), names);
        (void)snprintf(what, sizeof(what),
                       "%s is set: a client that sees it does not look at its store", name);
        char mend[96];
        (void)snprintf(mend, sizeof(mend), "unset %s", name);
        add(o, "environment", what, mend);
        names += len + (names[len] == ',');
    }
}

void serve_doctor(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    size_t n = 1;
    for (struct place *p = d->places; p; p = p->next)
        n++;
    struct doctor *o = calloc(1, sizeof(*o));
    struct waiting *wt = o ? waiting_new(d, call, OP_DOCTOR, "", 0) : NULL;
    if (wt) {
        o->d = d;
        o->waiter = wt->id;
        o->work.data = o;
        o->findings = json_array();
        o->folders = calloc(n, sizeof(*o->folders));
        o->seen = calloc(FINDINGS_MAX, sizeof(*o->seen));
    }
    if (!wt || !o->findings || !o->folders || !o->seen) {
        int err = wt || !o ? ERR_NOMEM : ERR_BUSY;
        if (wt)
            *wt = (struct waiting){0};
        if (o)
            doctor_free(o);
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "%s", busy_reason(err));
        return;
    }
    look_at_variables(o, api_query(call, "variables"));
    if (d->restored)
        add(o, "store",
            "it is an older copy: what may be outdated is in doubt until its servers say", "");
    if (program_is_replaced())
        add(o, "daemon", "it runs an older version than is installed", "credwarden daemon restart");
    if (!secret_is_locked())
        add(o, "daemon", "its memory cannot be locked: tokens may be swapped out", "");
    for (struct holding *h = d->holdings; h; h = h->next) {
        if (!h->gone && h->profile[0])
            look_at_profile(o, h);
    }
    for (struct place *p = d->places; p; p = p->next) {
        if (!p->gone)
            look_at_place(o, p);
    }
    CHECK(uv_queue_work(&d->loop, &o->work, run, done) == 0);
}

/*
 * One look or write of a place. It may take long (a slow disk, a network file system), so it runs
 * on a thread of libuv's pool; the loop goes on meanwhile. The client's locks are held for the look
 * and the write alone.
 */
#include "daemon/places.h"

#include <stdlib.h>
#include <string.h>

#include "sys/io.h"

#define NOTE_MAX      (16 * 1024)
#define LOCK_AGAIN_MS 50
#define LOCK_WAIT_MS  (2 * SECOND_MS) /* then the core is told, and tries again later */
#define LOOK_PAUSE_MS 100
#define LOOK_LATER_MS (2 * SECOND_MS)

enum act_kind { ACT_LOOK, ACT_READ, ACT_PUBLISH };

struct act {
    uv_work_t work;
    struct place *p;
    const struct vault *vault;
    enum act_kind kind;
    struct effect fx;
    struct tokens ours;                                     /* PUBLISH: the lineage's own */
    char profile[NAME_MAX_LEN + 1], label[STORE_LABEL_MAX]; /* PUBLISH: for a sink */
    bool is_another; /* PUBLISH: what goes with the login that is there is not ours */
    int err;
    struct err_text why;
    struct copy found;
    struct pair pair; /* of `found`, as its own store dates it */
    bool is_done;     /* PUBLISH: written */
    int64_t held_us;
};

/* ---- on its thread ---- */

static void name_found(struct act *a)
{
    a->pair = (struct pair){.expires_wall_ms = a->found.expires_wall_ms,
                            .login_deadline_wall_ms = a->found.login_deadline_wall_ms};
    a->pair.access = vault_fingerprint(a->vault, &a->found.tokens.access);
    a->pair.refresh = vault_fingerprint(a->vault, &a->found.tokens.refresh);
}

static bool is_as_expected(const struct act *a)
{
    const struct pair *there = &a->pair, *expected = &a->fx.expected;
    if (a->found.what != a->fx.expected_what)
        return false;
    return a->found.what != SEEN_PAIR || (fp_equal(there->access, expected->access) &&
                                          fp_equal(there->refresh, expected->refresh) &&
                                          (!format_keeps_expiry(a->p->format) ||
                                           there->expires_wall_ms == expected->expires_wall_ms));
}

/* The one of two tokens that was decided on. */
static int choose(const struct act *a, struct fp wanted, const struct secret *ours,
                  const struct secret *found, struct secret *ret)
{
    if (fp_is_none(wanted))
        return 0;
    const struct secret *from = fp_equal(vault_fingerprint(a->vault, ours), wanted)    ? ours
                                : fp_equal(vault_fingerprint(a->vault, found), wanted) ? found
                                                                                       : NULL;
    return from ? secret_set(ret, from->bytes, from->len) : ERR_CORRUPT;
}

static int fill_account(const struct act *a, struct copy *copy)
{
    const struct tokens *t = &a->ours;
    if (t->account.len > 0 && strcmp(t->account_format, a->p->kind) == 0)
        return buf_add(&copy->account, t->account.bytes, t->account.len);
    return a->is_another ? buf_add_str(&copy->account, "{}") : 0;
}

static int put(struct act *a)
{
    struct copy copy;
    const struct tokens *found = &a->found.tokens;
    copy_init(&copy);
    copy.what = SEEN_PAIR;
    copy.expires_wall_ms = a->fx.pair.expires_wall_ms;
    copy.login_deadline_wall_ms = a->fx.pair.login_deadline_wall_ms;
    int err = choose(a, a->fx.pair.access, &a->ours.access, &found->access, &copy.tokens.access);
    if (err == 0)
        err =
            choose(a, a->fx.pair.refresh, &a->ours.refresh, &found->refresh, &copy.tokens.refresh);
    bool is_ours = fp_equal(vault_fingerprint(a->vault, &a->ours.access), a->fx.pair.access);
    if (err == 0 && is_ours) {
        memcpy(copy.tokens.scope, a->ours.scope, sizeof(copy.tokens.scope));
        err = secret_set(&copy.tokens.id_token, a->ours.id_token.bytes, a->ours.id_token.len);
    }
    if (err == 0 && is_ours)
        err = fill_account(a, &copy);
    if (err == ERR_CORRUPT)
        err_fill(&a->why, "the pair that is to stand there is not at hand");
    if (err == 0)
        err = replica_put(a->p->replica, &copy, clock_now().wall_ms, &a->why);
    copy_clear(&copy);
    return err;
}

static void look_and_put(struct act *a)
{
    a->err = replica_look(a->p->replica, &a->found, &a->why);
    if (a->err < 0)
        return;
    if (a->found.what == SEEN_PAIR)
        name_found(a);
    if (a->kind == ACT_PUBLISH && is_as_expected(a)) {
        a->err = put(a);
        a->is_done = a->err == 0;
    }
}

/* Which locks we hold, for the next start, should we die now. Best effort: without it they are
 * leftovers that others wait for until they are stale. */
void act_note_locks(void *place)
{
    const struct place *p = place;
    struct buf lines;
    int fd = -1;
    buf_init(&lines, NOTE_MAX);
    if (replica_remember_locks(p->replica, &lines) == 0 && lines.len > 0 &&
        path_open(PATH_CWD, p->note_path, OPEN_WRITE_OR_MAKE, &fd) == 0)
        (void)fd_write(fd, lines.bytes, lines.len);
    fd_close(&fd);
    buf_release(&lines);
}

static bool is_folder_there(const struct act *a)
{
    struct file_facts facts;
    return path_look(PATH_CWD, a->p->path, true, &facts) != ERR_NOT_FOUND;
}

/* What cannot be given back is tried again with the next act, or by the next start. */
static void unlock(struct place *p)
{
    p->is_stuck = replica_unlock(p->replica) < 0;
    if (p->is_stuck)
        act_note_locks(p);
    else
        (void)path_remove(PATH_CWD, p->note_path);
}

static void pour(struct act *a)
{
    struct sink_values v = {.access = &a->ours.access,
                            .expires_wall_ms = a->fx.pair.expires_wall_ms,
                            .profile = a->profile,
                            .label = a->label};
    bool is_ours = fp_equal(vault_fingerprint(a->vault, v.access), a->fx.pair.access);
    a->err = is_ours ? sink_put(a->p->kind, a->p->path, &v, &a->why)
                     : err_say(&a->why, ERR_CORRUPT,
                               "the token that is to stand there is not at "
                               "hand");
    a->is_done = a->err == 0;
}

static void run(uv_work_t *work)
{
    struct act *a = work->data;
    struct replica *r = a->p->replica;
    if (!r) {
        pour(a);
        return;
    }
    if (a->p->is_stuck)
        unlock(a->p);
    if (!is_folder_there(a)) {
        a->err = a->kind == ACT_PUBLISH
                     ? err_say(&a->why, ERR_NOT_FOUND, "%s: the folder is not there", a->p->path)
                     : 0; /* nobody is signed in */
        return;
    }
    a->err = a->kind == ACT_LOOK ? 0 : replica_lock(r, clock_now().wall_ms, &a->why);
    if (a->err < 0) {
        unlock(a->p); /* some of them may have been taken */
        return;
    }
    uint64_t from = uv_hrtime();
    look_and_put(a);
    if (a->kind == ACT_LOOK)
        (void)replica_unlock(r); /* what was read goes */
    else
        unlock(a->p);
    a->held_us = (int64_t)((uv_hrtime() - from) / 1000);
}

/* ---- on the loop ---- */

static void act_free(struct act *a)
{
    tokens_clear(&a->ours);
    copy_clear(&a->found);
    free(a);
}

static void on_again(uv_timer_t *timer)
{
    struct place *p = timer->data;
    p->waits = false;
    act_next(p);
}

static void wait_a_while(struct place *p, int64_t pause_ms)
{
    p->waits = true;
    uv_timer_start(&p->again, on_again, (uint64_t)pause_ms, 0);
}

void act_pause(struct place *p)
{
    if (!p->has_order)
        wait_a_while(p, LOOK_PAUSE_MS);
}

static void look_later(struct place *p)
{
    p->look_again = true;
    wait_a_while(p, LOOK_LATER_MS);
}

/* The client may be waiting: soon; then, after looks that were of no use, with less haste. */
static void unlock_later(struct place *p, enum act_kind kind)
{
    p->look_again = true;
    wait_a_while(p, kind == ACT_LOOK ? LOOK_LATER_MS : LOOK_PAUSE_MS);
}

/* Whoever has the lock holds it for a moment, as a rule. */
static bool waits_for_lock(struct act *a)
{
    struct place *p = a->p;
    int64_t now = clock_now().boot_ms;
    if (a->err != ERR_LOCKED || a->kind == ACT_LOOK || p->is_void || p->gone)
        return false;
    if (p->locked_since_boot_ms == 0)
        p->locked_since_boot_ms = now;
    if (now - p->locked_since_boot_ms >= LOCK_WAIT_MS)
        return false;
    p->order = a->fx;
    p->has_order = true;
    wait_a_while(p, LOCK_AGAIN_MS);
    return true;
}

/* One of ours, as it is now: the store of a client may date it in another way. */
static bool is_current(struct daemon *d, const struct format *format, struct pair *pair)
{
    for (struct holding *h = d->holdings; h; h = h->next) {
        struct view v;
        if (h->gone || !warden_view(d->warden, h->lineage, clock_now(), &v) ||
            !fp_equal(v.pair.access, pair->access))
            continue;
        if (!format_keeps_expiry(format))
            pair->expires_wall_ms = v.pair.expires_wall_ms;
        return fp_is_none(pair->refresh) || (fp_equal(v.pair.refresh, pair->refresh) &&
                                             v.pair.expires_wall_ms == pair->expires_wall_ms);
    }
    return false;
}

/* true: it is being stored, and the place rests when that is done. */
static bool tell(struct act *a)
{
    struct place *p = a->p;
    bool asked = a->kind != ACT_LOOK;
    p->locked_since_boot_ms = 0;
    if (p->is_void || p->gone)
        return false;
    if (a->err < 0 && asked) {
        place_failed(p, a->why.text[0] ? a->why.text : err_reason(a->err));
    } else if (a->err < 0) {
        look_later(p); /* nothing is heard of it: the next look may tell */
    } else if (a->is_done) {
        place_published(p, &a->fx.pair);
    } else if (a->found.what == SEEN_PAIR && !is_current(p->d, p->format, &a->pair)) {
        capture_keep(p, asked, &a->found, &a->pair);
        return true;
    } else {
        place_saw(p, asked, a->found.what, &a->pair, 0, false);
        if (a->found.what == SEEN_TORN)
            (void)str_copy(p->why, sizeof(p->why), a->why.text);
    }
    return false;
}

static void done(uv_work_t *work, int status)
{
    struct act *a = work->data;
    struct place *p = a->p;
    (void)status;       /* never cancelled */
    if (!p->d->store) { /* we are on the way out, and nobody can be told */
        act_free(a);
        place_rests(p);
        return;
    }
    if (a->kind != ACT_LOOK && a->err != ERR_LOCKED) {
        p->held_last_us = a->held_us;
        if (a->held_us > p->held_most_us)
            p->held_most_us = a->held_us;
    }
    bool is_being_stored = !waits_for_lock(a) && tell(a);
    enum act_kind kind = a->kind;
    act_free(a);
    if (p->is_stuck && !p->has_order && !p->gone)
        unlock_later(p, kind);
    if (!is_being_stored)
        place_rests(p);
}

/* The lineage's tokens are opened here, where the vault is; what of them goes out was decided. */
static int open_ours(struct act *a)
{
    struct daemon *d = a->p->d;
    struct holding *h = holding_find(d, a->fx.lineage);
    if (!h)
        return ERR_NOT_FOUND;
    a->is_another = a->p->wish != WISH_NONE;
    (void)str_copy(a->profile, sizeof(a->profile), h->profile);
    (void)str_copy(a->label, sizeof(a->label), h->label);
    return holding_unseal(d, h, &a->ours);
}

static int begin(struct place *p, enum act_kind kind)
{
    struct act *a = calloc(1, sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    a->work.data = a;
    a->p = p;
    a->vault = p->d->vault;
    a->kind = kind;
    copy_init(&a->found);
    if (kind != ACT_LOOK)
        a->fx = p->order;
    int err = kind == ACT_PUBLISH ? open_ours(a) : 0;
    if (err == 0 && uv_queue_work(&p->d->loop, &a->work, run, done) != 0)
        err = ERR_NOMEM;
    if (err < 0)
        act_free(a);
    return err;
}

void act_next(struct place *p)
{
    if (p->busy || p->gone || p->waits || !p->d->store)
        return;
    enum act_kind kind = !p->has_order                 ? ACT_LOOK
                         : p->order.kind == FX_PUBLISH ? ACT_PUBLISH
                                                       : ACT_READ;
    if (kind == ACT_LOOK && (!p->look_again || !p->format))
        return;
    p->busy = true;
    p->has_order = false;
    p->look_again = p->look_again && kind != ACT_LOOK;
    int err = begin(p, kind);
    if (err == 0)
        return;
    if (kind == ACT_LOOK)
        look_later(p);
    else
        place_failed(p, err_reason(err));
    place_rests(p);
}

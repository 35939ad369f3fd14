/*
 * The high-water mark beside an open store: is this the store that was last here, or an older copy?
 *
 * The mark follows the store's own count and never leads it: it is written after the commit, when
 * nobody waits. A crash in between leaves it behind, which is harmless; a store that is behind its
 * mark can only be a copy made before.
 */
#include "store/internal.h"

#include <string.h>

#include "base/record.h"
#include "sys/clock.h"

static int log_event(struct store *s, const char *kind, const char *detail)
{
    struct event_row row = {.wall_ms = clock_now().wall_ms};
    (void)str_copy(row.kind, sizeof(row.kind), kind);
    (void)str_copy(row.detail, sizeof(row.detail), detail);
    return store_event_add(s, &row, NULL);
}

/* False: the mark is this store's and not ahead of it, or it cannot be told. */
static bool seems_restored(const struct store *s, const struct mark *m, enum mark_state state,
                           char ret_why[STORE_DETAIL_MAX])
{
    const char *why = "";
    if (state == MARK_DAMAGED) {
        why = "the high-water mark is damaged: whether the store is old cannot be told";
    } else if (state == MARK_VALID && memcmp(m->uuid, s->uuid, STORE_UUID_LEN) != 0) {
        why = "the high-water mark is of another store";
    } else if (state == MARK_VALID && m->changes > s->changes) {
        why = "the store is older than its high-water mark";
    }
    (void)snprintf(ret_why, STORE_DETAIL_MAX, "%s", why);
    if (s->log_aside[0] != '\0') {
        (void)snprintf(ret_why, STORE_DETAIL_MAX,
                       "beside the store lay a log that is not its own: it is kept as %s",
                       s->log_aside);
    }
    return ret_why[0] != '\0';
}

/* A journal entry must not keep a store with a full disk from opening. */
static int not_for_want_of_room(int err)
{
    return err == ERR_FULL ? 0 : err;
}

/* Remembered, or the copy would pass for the store once it has spent as often as the mark says. */
static int set_restored(struct store *s, const void *args)
{
    (void)args;
    int n = sql_run(s, "UPDATE store SET restored = 1", SQL_NO_ARGS);
    return n < 0 ? n : 0;
}

int store_meet_mark(struct store *s, bool is_new, struct err_text *text)
{
    enum mark_state state = MARK_ABSENT;
    int err = mark_load(s->mark_path, &s->mark, &state, text);
    if (err < 0) {
        return err;
    }
    if (is_new || state == MARK_ABSENT) {
        err = mark_make(s->mark_path, s->uuid, s->changes, &s->mark, text);
        s->mark_is_valid = err == 0;
        if (err == 0 && s->changes > 0) {
            err = not_for_want_of_room(
                log_event(s, "mark-missing", "the high-water mark was missing and is made anew"));
        }
        return err;
    }
    char why[STORE_DETAIL_MAX];
    if (seems_restored(s, &s->mark, state, why) && !s->restored) {
        err = not_for_want_of_room(store_note(s, set_restored, NULL));
        err = err == 0 ? not_for_want_of_room(log_event(s, "restored", why)) : err;
        s->restored = true;
    }
    s->mark_is_valid = !s->restored;
    return err < 0 ? sql_say(s, err, "written", text) : 0;
}

bool store_lacks_changes(const struct store *s)
{
    struct mark m = {.fd = -1};
    enum mark_state state = MARK_ABSENT;
    bool lacks = mark_load(s->mark_path, &m, &state, NULL) == 0 && state == MARK_VALID &&
                 memcmp(m.uuid, s->uuid, STORE_UUID_LEN) == 0 && m.changes > s->changes;
    mark_close(&m);
    return lacks;
}

int store_flush_mark(struct store *s)
{
    if (!s->mark_is_valid || s->mark.changes == s->changes) {
        return 0;
    }
    int err = mark_write(&s->mark, s->uuid, s->changes);
    if (err < 0 && !s->mark_failed) {
        (void)log_event(s, "mark-failed", "the high-water mark cannot be written");
    }
    s->mark_failed = err < 0;
    return err;
}

bool store_is_restored(const struct store *s)
{
    return s->restored;
}

struct acceptance {
    const uint64_t *outdated;
    size_t n;
    const struct restoration *now;
    struct buf *when; /* `now`, as it is kept */
};

#define META_RESTORED "restored"

enum { TAG_WALL = 1, TAG_BOOT, TAG_BOOT_ID };

static int write_restoration(struct buf *out, const struct restoration *m)
{
    int err = record_put_i64(out, TAG_WALL, m->wall_ms);
    if (err == 0) {
        err = record_put_i64(out, TAG_BOOT, m->boot_ms);
    }
    return err == 0 ? record_put_str(out, TAG_BOOT_ID, m->boot_id) : err;
}

static int read_restoration(const struct buf *in, struct restoration *ret)
{
    struct record r;
    int err = record_parse(&r, in->bytes, in->len);
    if (err == 0) {
        err = record_get_i64(&r, TAG_WALL, &ret->wall_ms);
    }
    if (err == 0) {
        err = record_get_i64(&r, TAG_BOOT, &ret->boot_ms);
    }
    if (err == 0) {
        err = record_get_str(&r, TAG_BOOT_ID, ret->boot_id, sizeof(ret->boot_id));
    }
    return err < 0 ? ERR_CORRUPT : 0;
}

static int put_in_doubt(struct store *s, uint64_t lineage, int64_t now_wall_ms)
{
    return sql_run(s,
                   "UPDATE lineage SET standing = 'in-doubt', doubt_since = ?2"
                   " WHERE id = ?1 AND standing IN ('live', 'unproven')"
                   " AND EXISTS (SELECT 1 FROM pair AS p"
                   "  WHERE p.lineage = lineage.id AND p.generation = lineage.generation"
                   "  AND p.refresh IS NOT NULL)",
                   SQL_ARGS(arg_u64(lineage), arg_i64(now_wall_ms)));
}

static int go_on(struct store *s, const void *args)
{
    const struct acceptance *a = args;
    int n = 0;
    for (size_t i = 0; i < a->n && n >= 0; i++) {
        n = put_in_doubt(s, a->outdated[i], a->now->wall_ms);
    }
    /* In the same transaction, or a crash would leave a doubt that passes for a lost answer. */
    if (n >= 0) {
        n = sql_run(s,
                    "INSERT INTO alarm (lineage, kind, raised, detail)"
                    " SELECT l.id, 'restored', ?1, '' FROM lineage AS l"
                    " WHERE l.standing = 'in-doubt' AND NOT EXISTS (SELECT 1 FROM alarm AS a"
                    "  WHERE a.lineage = l.id AND a.kind = 'restored' AND a.cleared IS NULL)",
                    SQL_ARGS(arg_i64(a->now->wall_ms)));
    }
    if (n >= 0) {
        n = meta_put(s, META_RESTORED, a->when->bytes, a->when->len);
    }
    if (n >= 0) {
        n = sql_run(s, "UPDATE store SET uuid = randomblob(16), restored = 0", SQL_NO_ARGS);
    }
    return n < 0 ? n : 0;
}

static int read_uuid(struct store *s)
{
    struct sql_rows r = {0};
    int err = sql_first(s, "SELECT uuid FROM store", SQL_NO_ARGS, &r);
    if (err < 0) {
        return err;
    }
    struct fp uuid = read_fp(&r); /* the same shape */
    err = r.err;
    sql_end(&r);
    if (err == 0) {
        memcpy(s->uuid, uuid.bytes, STORE_UUID_LEN);
    }
    return err;
}

int store_last_restored(struct store *s, struct restoration *ret)
{
    struct buf kept;
    buf_init(&kept, STORE_META_MAX);
    *ret = (struct restoration){0};
    int err = store_meta_get(s, META_RESTORED, &kept);
    if (err == 0) {
        err = read_restoration(&kept, ret);
    }
    buf_release(&kept);
    return err == ERR_NOT_FOUND ? 0 : err;
}

int store_accept_restored(struct store *s, const uint64_t *outdated, size_t n,
                          const struct restoration *now)
{
    struct buf when;
    struct acceptance a = {.outdated = outdated, .n = n, .now = now, .when = &when};
    if (!s->restored) {
        return 0;
    }
    buf_init(&when, STORE_META_MAX);
    int err = write_restoration(&when, now);
    if (err == 0) {
        err = store_write(s, go_on, &a);
    }
    buf_release(&when);
    if (err == 0) {
        err = read_uuid(s);
    }
    if (err == 0) {
        err = mark_make(s->mark_path, s->uuid, s->changes, &s->mark, NULL);
    }
    if (err == 0) {
        s->mark_is_valid = true;
        s->restored = false;
    }
    return err;
}

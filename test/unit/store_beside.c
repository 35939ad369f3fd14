/*
 * The log beside a store: its own is never taken for another's, whenever the crash came, and the
 * log of another time is never played into a copy.
 */
#include "store_bench.h"

#include "store/pages.h"

#define MOMENTS_MAX 64
#define LIFE        5 /* moments, until the log is played into the file and begun anew */

/* The files as a crash at this moment would leave them. */
struct moment {
    struct image db, log;
    uint64_t in_file;     /* changes */
    uint64_t first, last; /* … that the log tells of; 0: none */
};

struct past {
    struct moment moments[MOMENTS_MAX];
    size_t n;
    char log_path[128];
};

static void keep(struct bench *b, struct past *p, uint64_t in_file, uint64_t first)
{
    struct moment *m = &p->moments[p->n++];
    assert_true(p->n <= MOMENTS_MAX);
    assert_true(image_read(b->path, &m->db));
    assert_true(image_read(p->log_path, &m->log));
    m->in_file = in_file;
    m->first = b->s->changes >= first ? first : 0;
    m->last = m->first == 0 ? 0 : b->s->changes;
}

/* A life of intents and settlements; now and then the log goes into the file. */
static void live(struct bench *b, struct past *p)
{
    (void)snprintf(p->log_path, sizeof(p->log_path), "%s-wal", b->path);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(wal_empty(b->s), 0);
    uint64_t in_file = b->s->changes;
    uint64_t first = in_file + 1;
    for (uint64_t g = 1; g <= 10; g++) {
        if (g % LIFE == 0) { /* all of it is in the file, and still in the log */
            assert_int_equal(store_tidy(b->s), 0);
            assert_int_equal(wal_checkpoint(b->s), 0);
            in_file = b->s->changes;
            keep(b, p, in_file, first);
            first = in_file + 1;
        }
        assert_int_equal(put_intent(b->s, 1, g), 0);
        keep(b, p, in_file, first);
        assert_int_equal(put_settlement(b->s, 1, g), 0);
        keep(b, p, in_file, first);
    }
    assert_int_equal(store_tidy(b->s), 0);
    bench_close(b);
}

static void forget(struct past *p)
{
    for (size_t i = 0; i < p->n; i++) {
        image_release(&p->moments[i].db);
        image_release(&p->moments[i].log);
    }
    free(p);
}

static struct past *new_past(void)
{
    struct past *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    return p;
}

static bool is_foreign(struct bench *b, const struct past *p, const struct image *db,
                       const struct image *log)
{
    struct log_beside beside;
    image_write(b->path, db->bytes, db->len);
    image_write(p->log_path, log->bytes, log->len);
    assert_int_equal(log_look(b->path, &beside, NULL), 0);
    bool found = beside.is_foreign;
    log_beside_release(&beside);
    return found;
}

static void a_log_is_known_by_the_count_of_changes(void **state)
{
    struct bench *b = *state;
    struct past *p = new_past();
    size_t n_foreign = 0;
    live(b, p);
    for (size_t i = 0; i < p->n; i++) {
        for (size_t j = 0; j < p->n; j++) {
            const struct moment *file = &p->moments[i], *log = &p->moments[j];
            bool is_own =
                log->first == 0 || (file->in_file + 1 >= log->first && file->in_file <= log->last);
            assert_true(i != j || is_own);
            assert_int_equal(is_foreign(b, p, &file->db, &log->log), !is_own);
            n_foreign += !is_own;
        }
    }
    assert_true(n_foreign > p->n);
    forget(p);
}

/* Played into the file up to some page, and not further. */
static void a_checkpoint_that_was_interrupted_makes_no_stranger_of_the_log(void **state)
{
    struct bench *b = *state;
    struct past *p = new_past();
    live(b, p);
    const struct moment *before = NULL, *after = NULL;
    for (size_t i = 1; i < p->n && after == NULL; i++) {
        before = &p->moments[i - 1];
        after = p->moments[i].in_file > before->in_file ? &p->moments[i] : NULL;
    }
    CHECK(before != NULL && after != NULL);
    for (size_t cut = 0; cut <= after->db.len; cut += STORE_PAGE_SIZE) {
        struct image mixed = {.bytes = malloc(after->db.len), .len = after->db.len};
        assert_non_null(mixed.bytes);
        memcpy(mixed.bytes, after->db.bytes, after->db.len);
        memcpy(mixed.bytes, before->db.bytes, cut < before->db.len ? cut : before->db.len);
        assert_false(is_foreign(b, p, &mixed, &after->log));
        image_release(&mixed);
    }
    forget(p);
}

/* A repair has to see it: a log with a damaged spot is its store's, also where that spot is the
 * very row by which it is known. */
static void a_damaged_frame_makes_no_stranger_of_the_log(void **state)
{
    struct bench *b = *state;
    struct past *p = new_past();
    const size_t frame_len = 24 + STORE_PAGE_SIZE;
    live(b, p);
    struct moment *last = &p->moments[p->n - 1];
    for (size_t at = 32 + 700; at < last->log.len; at += frame_len) {
        last->log.bytes[at] ^= 1;
        assert_false(is_foreign(b, p, &last->db, &last->log));
        last->log.bytes[at] ^= 1;
    }
    for (size_t at = 0; at < 32; at++) {
        last->log.bytes[at] ^= 1;
        assert_false(is_foreign(b, p, &last->db, &last->log));
        last->log.bytes[at] ^= 1;
    }
    forget(p);
}

static void expect_aside(const struct bench *b, const struct image *log)
{
    struct image aside = {0};
    char path[256];
    CHECK(b->s != NULL && store_is_restored(b->s));
    assert_true(b->s->log_aside[0] != '\0');
    (void)snprintf(path, sizeof(path), "%s/%s", b->dir, b->s->log_aside);
    assert_true(image_read(path, &aside));
    assert_int_equal(aside.len, log->len);
    assert_memory_equal(aside.bytes, log->bytes, log->len);
    image_release(&aside);
    assert_int_equal(remove(path), 0);
}

static void an_older_copy_opens_without_the_log_of_its_successor(void **state)
{
    struct bench *b = *state;
    struct past *p = new_past();
    live(b, p);
    const struct moment *old = &p->moments[0], *newest = &p->moments[p->n - 1];
    image_write(b->path, old->db.bytes, old->db.len);
    image_write(p->log_path, newest->log.bytes, newest->log.len);
    assert_int_equal(bench_open(b, 0), 0);
    expect_aside(b, &newest->log);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.generation, 1);
    lineage_row_release(&row);
    bench_reopen(b); /* it remembers that it is not what was here last */
    assert_true(store_is_restored(b->s));
    forget(p);
}

/* A backup, of whatever time, beside a log of whatever time. Its name has what a URI would not take
 * as it is. */
static void a_backup_opens_without_the_log_that_lies_there(void **state)
{
    struct bench *b = *state;
    struct past *p = new_past();
    char backup[128];
    struct image copy = {0};
    path_elsewhere(b, "copy 100%?#", backup);
    assert_int_equal(put_live(b->s, 7, "home"), 0);
    assert_int_equal(store_backup(b->s, backup, false, NULL), 0);
    live(b, p);
    assert_true(image_read(backup, &copy));
    (void)snprintf(b->path, sizeof(b->path), "%s/a b%%3f?#", b->dir);
    (void)snprintf(p->log_path, sizeof(p->log_path), "%s-wal", b->path);
    for (size_t i = 0; i < p->n; i++) {
        const struct image *log = &p->moments[i].log;
        image_write(b->path, copy.bytes, copy.len);
        image_write(p->log_path, log->bytes, log->len);
        if (log->len == 0) {
            continue;
        }
        assert_int_equal(store_judge(b->path, b->mark_path, NULL), 0);
        struct image after = {0};
        assert_true(image_read(b->path, &after));
        assert_memory_equal(after.bytes, copy.bytes, copy.len);
        image_release(&after);
        assert_int_equal(bench_open(b, 0), 0);
        expect_aside(b, log);
        bench_close(b);
    }
    image_release(&copy);
    forget(p);
}

/* What is refused stays as it was, and so does the log beside it. */
static void a_damaged_copy_is_refused_and_the_log_stays(void **state)
{
    struct bench *b = *state;
    struct past *p = new_past();
    char backup[128];
    struct image copy = {0}, log = {0}, mark = {0};
    path_elsewhere(b, "copy", backup);
    assert_int_equal(put_live(b->s, 7, "home"), 0);
    assert_int_equal(store_backup(b->s, backup, false, NULL), 0);
    live(b, p);
    const struct image *newest = &p->moments[p->n - 1].log;
    assert_true(image_read(backup, &copy));
    CHECK(copy.bytes != NULL);
    copy.bytes[copy.len - 100] ^= 1;
    image_write(b->path, copy.bytes, copy.len);
    image_write(p->log_path, newest->bytes, newest->len);
    assert_true(image_read(b->mark_path, &mark));
    assert_int_equal(bench_open(b, 0), ERR_CORRUPT);
    assert_non_null(strstr(b->text.text, "credwarden repair"));
    assert_true(image_read(p->log_path, &log));
    assert_memory_equal(log.bytes, newest->bytes, newest->len);
    image_release(&log);
    assert_true(image_read(b->mark_path, &log));
    assert_memory_equal(log.bytes, mark.bytes, mark.len);
    image_release(&log);
    image_release(&mark);
    image_release(&copy);
    forget(p);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(a_log_is_known_by_the_count_of_changes),
        STORY(a_checkpoint_that_was_interrupted_makes_no_stranger_of_the_log),
        STORY(a_damaged_frame_makes_no_stranger_of_the_log),
        STORY(an_older_copy_opens_without_the_log_of_its_successor),
        STORY(a_backup_opens_without_the_log_that_lies_there),
        STORY(a_damaged_copy_is_refused_and_the_log_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Damage: a flipped bit anywhere in the store is noticed or changes nothing; a damaged log is told
 * from one that a crash tore; a store from before the sums gets them.
 */
#include "store_bench.h"

#define PAGES_MAX 64

/* A store with a bit of everything, closed. */
static void furnish(struct bench *b)
{
    struct event_row event = {.kind = "beat"};
    for (uint64_t id = 1; id <= 4; id++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%d", (int)id);
        assert_int_equal(put_live(b->s, id, name), 0);
        assert_int_equal(put_intent(b->s, id, 1), 0);
        assert_int_equal(put_settlement(b->s, id, 1), 0);
    }
    assert_int_equal(put_intent(b->s, 2, 2), 0);
    assert_int_equal(store_retire(b->s, 3, "by hand", NOW_MS), 0);
    assert_int_equal(store_alarm(b->s, 4, ALARM_DEAD, true, "over", NOW_MS), 0);
    assert_int_equal(store_event_add(b->s, &event, NULL), 0);
    assert_int_equal(store_meta_set(b->s, "key", "value", 5), 0);
    bench_close(b);
}

static void every_page_has_its_sum(void **state)
{
    struct bench *b = *state;
    struct image whole = {0};
    uint8_t page[STORE_PAGE_SIZE];
    furnish(b);
    assert_true(image_read(b->path, &whole));
    uint32_t n = (uint32_t)(whole.len / STORE_PAGE_SIZE);
    assert_in_range(n, 10, PAGES_MAX);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(page, whole.bytes + i * STORE_PAGE_SIZE, sizeof(page));
        assert_true(sums_agree(page, i + 1));
        assert_false(sums_agree(page, i + 2)); /* in another's place */
        page[i * 63] ^= 1;
        assert_false(sums_agree(page, i + 1));
    }
    memset(page, 0, sizeof(page));
    assert_false(sums_agree(page, 1));
    image_release(&whole);
}

static void write_byte(const char *path, size_t at, char byte)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* Each byte once, with a bit that goes round: refused, untouched. A free page may hold anything. */
static void a_flipped_bit_is_noticed_wherever_it_is(void **state)
{
    struct bench *b = *state;
    struct image whole = {0};
    struct image after = {0};
    int64_t free_pages = 0;
    size_t harmless = 0;
    furnish(b);
    assert_int_equal(bench_open(b, 0), 0);
    assert_int_equal(sql_number(b->s, "PRAGMA freelist_count", SQL_NO_ARGS, &free_pages), 0);
    bench_close(b);
    assert_true(image_read(b->path, &whole));
    for (size_t at = 0; at < whole.len; at += 37) {
        char *byte = &whole.bytes[at];
        *byte ^= (char)(1 << at % 8);
        write_byte(b->path, at, *byte);
        int err = bench_open(b, 0);
        if (err == 0) {
            harmless++;
            bench_close(b);
        } else {
            assert_int_equal(err, ERR_CORRUPT);
            assert_non_null(strstr(b->text.text, b->path));
            assert_non_null(strstr(b->text.text, "credwarden repair"));
            assert_true(image_read(b->path, &after));
            assert_int_equal(after.len, whole.len);
            assert_memory_equal(after.bytes, whole.bytes, whole.len);
            image_release(&after);
        }
        *byte ^= (char)(1 << at % 8);
        write_byte(b->path, at, *byte);
    }
    assert_true(harmless <= (size_t)free_pages * (STORE_PAGE_SIZE / 37 + 1));
    image_write(b->path, whole.bytes, whole.len);
    assert_int_equal(bench_open(b, 0), 0);
    image_release(&whole);
}

/* What was there follows from the sum, wherever the byte is and whatever it became. */
static void one_wrong_byte_is_mended_and_two_are_not(void **state)
{
    struct bench *b = *state;
    struct image whole = {0};
    uint8_t page[STORE_PAGE_SIZE], right[STORE_PAGE_SIZE];
    furnish(b);
    assert_true(image_read(b->path, &whole));
    memcpy(right, whole.bytes + 2 * STORE_PAGE_SIZE, sizeof(right));
    for (size_t at = 0; at < STORE_PAGE_SIZE; at++) {
        memcpy(page, right, sizeof(page));
        page[at] ^= (uint8_t)(1 + at % 255);
        assert_true(sums_mend(page, 3));
        assert_memory_equal(page, right, sizeof(page));
        page[at] ^= 0x40;
        page[(at + 997) % STORE_PAGE_SIZE] ^= 0x02;
        assert_false(sums_mend(page, 3));
    }
    image_release(&whole);
}

/* Without the layer the same flip would be believed: what the sum is for. */
static void a_changed_word_that_sqlite_finds_sound_is_noticed(void **state)
{
    struct bench *b = *state;
    struct image whole = {0};
    furnish(b);
    assert_true(image_read(b->path, &whole));
    for (size_t at = 0; at + 6 < whole.len; at++) {
        if (memcmp(whole.bytes + at, "always", 6) == 0) {
            memcpy(whole.bytes + at, "Always", 6);
            break;
        }
    }
    image_write(b->path, whole.bytes, whole.len);
    assert_int_equal(bench_open(b, 0), ERR_CORRUPT);
    image_release(&whole);
}

/* The log */

struct crash {
    struct image db;
    struct image log;
    char log_path[128];
    uint32_t commits[64]; /* the frame, from 1, that ends each transaction */
    size_t n;
};

static void crash_with_a_log(struct bench *b, struct crash *c)
{
    *c = (struct crash){0};
    (void)snprintf(c->log_path, sizeof(c->log_path), "%s-wal", b->path);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(wal_empty(b->s), 0);
    for (uint64_t g = 1; g < 4; g++) {
        assert_int_equal(put_intent(b->s, 1, g), 0);
        c->commits[c->n++] = (uint32_t)b->s->wal_frames;
        assert_int_equal(put_settlement(b->s, 1, g), 0);
        c->commits[c->n++] = (uint32_t)b->s->wal_frames;
    }
    assert_int_equal(store_tidy(b->s), 0); /* the mark knows of all of it */
    assert_true(image_read(b->path, &c->db));
    assert_true(image_read(c->log_path, &c->log));
    bench_close(b);
}

static int open_crashed(struct bench *b, const struct crash *c)
{
    image_write(b->path, c->db.bytes, c->db.len);
    image_write(c->log_path, c->log.bytes, c->log.len);
    return bench_open(b, 0);
}

static void a_damaged_log_is_refused_and_a_torn_one_is_not(void **state)
{
    struct bench *b = *state;
    struct crash c;
    const size_t frame_len = 24 + STORE_PAGE_SIZE;
    crash_with_a_log(b, &c);
    size_t last = c.commits[c.n - 1];
    size_t before_last = c.commits[c.n - 2];
    for (size_t frame = 0; frame < last; frame++) {
        static const size_t places[] = {0, 9, 17, 24, 700, 4119};
        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
            char *byte = &c.log.bytes[32 + frame * frame_len + places[i]];
            *byte ^= 4;
            int err = open_crashed(b, &c);
            if (frame < before_last) {
                assert_int_equal(err, ERR_CORRUPT);
                assert_non_null(strstr(b->text.text, c.log_path));
                struct image after = {0};
                assert_true(image_read(c.log_path, &after));
                assert_memory_equal(after.bytes, c.log.bytes, c.log.len);
                image_release(&after);
            } else {
                assert_int_equal(err, 0);
                assert_true(store_is_restored(b->s)); /* the mark knew of that transaction */
                bench_close(b);
            }
            *byte ^= 4;
        }
    }
    assert_int_equal(open_crashed(b, &c), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.generation, 4);
    lineage_row_release(&row);
    image_release(&c.db);
    image_release(&c.log);
}

/* A power loss in the middle of a checkpoint: pages of the file are torn, and whole in the log.
 * Also the first one, of which SQLite reads a part before it knows of the log. */
static void a_checkpoint_that_was_torn_is_in_the_log(void **state)
{
    struct bench *b = *state;
    struct crash c;
    bool first_too = false;
    crash_with_a_log(b, &c);
    assert_int_equal(open_crashed(b, &c), 0);
    for (uint64_t id = 2; id < 30; id++) { /* the store grows: that stands on the first page */
        char name[16];
        (void)snprintf(name, sizeof(name), "p%d", (int)id);
        assert_int_equal(put_live(b->s, id, name), 0);
    }
    image_release(&c.db);
    image_release(&c.log);
    assert_true(image_read(b->path, &c.db));
    assert_true(image_read(c.log_path, &c.log));
    bench_close(b);
    for (size_t at = 32; at + 24 + STORE_PAGE_SIZE <= c.log.len; at += 24 + STORE_PAGE_SIZE) {
        const uint8_t *head = (const uint8_t *)c.log.bytes + at;
        size_t page = (size_t)head[2] << 8 | head[3];
        if (page * STORE_PAGE_SIZE <= c.db.len) {
            memset(c.db.bytes + page * STORE_PAGE_SIZE - 512, 0x5a, 512);
        }
        first_too = first_too || page == 1;
    }
    assert_true(first_too);
    assert_int_equal(open_crashed(b, &c), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.generation, 4);
    lineage_row_release(&row);
    image_release(&c.db);
    image_release(&c.log);
}

static void a_log_whose_header_is_damaged_is_refused(void **state)
{
    struct bench *b = *state;
    struct crash c;
    crash_with_a_log(b, &c);
    struct image mark = {0};
    assert_true(image_read(b->mark_path, &mark));
    for (size_t at = 0; at < 32; at++) {
        c.log.bytes[at] ^= 0x10;
        image_write(b->mark_path, mark.bytes, mark.len);
        assert_int_equal(open_crashed(b, &c), ERR_CORRUPT);
        assert_non_null(strstr(b->text.text, "-wal is damaged"));
        c.log.bytes[at] ^= 0x10;
    }
    assert_int_equal(open_crashed(b, &c), 0);
    image_release(&mark);
    image_release(&c.db);
    image_release(&c.log);
}

static void a_log_that_is_missing_is_noticed(void **state)
{
    struct bench *b = *state;
    struct crash c;
    crash_with_a_log(b, &c);
    image_write(b->path, c.db.bytes, c.db.len);
    assert_int_equal(bench_open(b, 0), 0);
    assert_true(store_is_restored(b->s));
    image_release(&c.db);
    image_release(&c.log);
}

static void a_lost_change_of_policy_is_noticed_too(void **state)
{
    struct bench *b = *state;
    struct image db = {0};
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(wal_empty(b->s), 0);
    assert_true(image_read(b->path, &db));
    assert_int_equal(store_set_policy(b->s, "work", POLICY_NEVER), 0);
    bench_close(b);
    image_write(b->path, db.bytes, db.len);
    assert_int_equal(bench_open(b, 0), 0);
    assert_true(store_is_restored(b->s));
    image_release(&db);
}

/* Stores from before the sums */

/* As version 1 made them: the same rows, no sums, no room for them. */
static void make_plain(struct bench *b)
{
    char old[128];
    sqlite3 *db = NULL;
    (void)snprintf(old, sizeof(old), "%s.old", b->path);
    bench_close(b);
    assert_int_equal(sqlite3_open(old, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, store_schema.steps[0], NULL, NULL, NULL), SQLITE_OK);
    char sql[512];
    (void)snprintf(sql, sizeof(sql),
                   "PRAGMA application_id = %d; PRAGMA user_version = 1;"
                   "DELETE FROM store; ATTACH '%s' AS new;",
                   STORE_APPLICATION_ID, b->path);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    static const char first_columns[] =
        "id, provider, definition, standing, subject, subject_text, label, generation, fence,"
        " held_until, doubt_since, replayed, wanted_profile, wanted_policy, created, retired,"
        " retired_why";
    static const char *const tables[] = {"store", "meta",    "lineage",         "pair",  "sealed",
                                         "spend", "profile", "profile_lineage", "alarm", "event"};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        bool is_wider = strcmp(tables[i], "lineage") == 0; /* than it was first */
        (void)snprintf(sql, sizeof(sql), "INSERT INTO main.%s SELECT %s FROM new.%s", tables[i],
                       is_wider ? first_columns : "*", tables[i]);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    }
    assert_int_equal(sqlite3_exec(db, "DETACH new; PRAGMA journal_mode = WAL", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(rename(old, b->path), 0);
    assert_int_equal(chmod(b->path, 0600), 0);
}

static void expect_all(struct bench *b)
{
    struct lineage_row row = row_of(b->s, 2);
    assert_int_equal(row.generation, 2);
    assert_int_equal(row.intent, 2002);
    assert_sealed(&row, 2);
    lineage_row_release(&row);
    row = row_of(b->s, 4);
    assert_int_equal(row.alarms, 1u << ALARM_DEAD);
    lineage_row_release(&row);
    assert_false(store_is_restored(b->s));
}

static void a_plain_store_gets_its_sums_after_a_copy(void **state)
{
    struct bench *b = *state;
    struct image plain = {0};
    struct image now = {0};
    struct stat st;
    char copy[128];
    furnish(b);
    make_plain(b);
    assert_true(image_read(b->path, &plain));
    assert_int_equal(plain.bytes[20], 0);
    int err = bench_open(b, 0);
    if (err < 0) {
        print_message("%s\n", b->text.text);
    }
    assert_int_equal(err, 0);
    expect_all(b);
    bench_reopen(b);
    expect_all(b);
    bench_close(b);
    assert_true(image_read(b->path, &now));
    for (uint32_t i = 0; i < now.len / STORE_PAGE_SIZE; i++) {
        assert_true(sums_agree((uint8_t *)now.bytes + i * STORE_PAGE_SIZE, i + 1));
    }
    (void)snprintf(copy, sizeof(copy), "%s.v1", b->path);
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(rename(copy, b->path), 0); /* and it is brought up to date again */
    assert_int_equal(bench_open(b, 0), 0);
    expect_all(b);
    image_release(&plain);
    image_release(&now);
}

/* The copy that was made when a plain store was brought up to date is put back, and a killed daemon
 * has left the log of the store that had come of it. */
static void a_plain_copy_gets_its_sums_and_not_the_log_that_lies_there(void **state)
{
    struct bench *b = *state;
    struct crash c;
    char copy[128];
    crash_with_a_log(b, &c);
    assert_int_equal(open_crashed(b, &c), 0);
    make_plain(b);
    assert_int_equal(bench_open(b, 0), 0);
    bench_close(b);
    (void)snprintf(copy, sizeof(copy), "%s.v1", b->path);
    assert_int_equal(rename(copy, b->path), 0);
    image_write(c.log_path, c.log.bytes, c.log.len);
    int err = bench_open(b, 0);
    if (err < 0) {
        print_message("%s\n", b->text.text);
    }
    assert_int_equal(err, 0);
    assert_true(store_is_restored(b->s));
    assert_true(b->s->log_aside[0] != '\0');
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.generation, 4);
    lineage_row_release(&row);
    image_release(&c.db);
    image_release(&c.log);
}

static void a_log_of_a_plain_store_is_not_lost(void **state)
{
    struct bench *b = *state;
    char kept[128], log_path[128], kept_log[140];
    struct stat st;
    sqlite3 *db = NULL;
    furnish(b);
    make_plain(b);
    (void)snprintf(log_path, sizeof(log_path), "%s-wal", b->path);
    (void)snprintf(kept, sizeof(kept), "%s/kept", b->dir);
    (void)snprintf(kept_log, sizeof(kept_log), "%s-wal", kept);
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE lineage SET label = 'from the log' WHERE id = 2",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    copy_file(b->path, kept);
    copy_file(log_path, kept_log);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(rename(kept, b->path), 0); /* as a crash leaves them */
    assert_int_equal(rename(kept_log, log_path), 0);
    assert_int_equal(bench_open(b, 0), 0);
    struct lineage_row row = row_of(b->s, 2);
    assert_string_equal(row.label, "from the log");
    lineage_row_release(&row);
    expect_all(b);
    bench_close(b);
    assert_int_not_equal(stat(log_path, &st), 0);
}

/* A version 2 without sums there cannot be: one damaged byte must not turn the check off. */
static void the_byte_that_says_there_are_sums_is_guarded(void **state)
{
    struct bench *b = *state;
    struct image whole = {0};
    furnish(b);
    assert_true(image_read(b->path, &whole));
    for (int value = 0; value < 256; value++) {
        if (value != STORE_RESERVED) {
            whole.bytes[20] = (char)value;
            image_write(b->path, whole.bytes, whole.len);
            assert_int_equal(bench_open(b, 0), ERR_CORRUPT);
        }
    }
    image_release(&whole);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(every_page_has_its_sum),
        STORY(a_flipped_bit_is_noticed_wherever_it_is),
        STORY(one_wrong_byte_is_mended_and_two_are_not),
        STORY(a_changed_word_that_sqlite_finds_sound_is_noticed),
        STORY(a_damaged_log_is_refused_and_a_torn_one_is_not),
        STORY(a_checkpoint_that_was_torn_is_in_the_log),
        STORY(a_log_whose_header_is_damaged_is_refused),
        STORY(a_log_that_is_missing_is_noticed),
        STORY(a_lost_change_of_policy_is_noticed_too),
        STORY(a_plain_store_gets_its_sums_after_a_copy),
        STORY(a_plain_copy_gets_its_sums_and_not_the_log_that_lies_there),
        STORY(a_log_of_a_plain_store_is_not_lost),
        STORY(the_byte_that_says_there_are_sums_is_guarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Opening: what is refused is left as it was, an older schema is brought up to date or not touched,
 * a restored copy is noticed, a copy is whole.
 */
#include "store_bench.h"

#include <errno.h>
#include <stdalign.h>
#include <sys/inotify.h>
#include <sys/wait.h>

#include "sys/file.h"

/* Refusals */

static void path_beside(const struct bench *b, const char *name, char ret[128])
{
    (void)snprintf(ret, 128, "%s/%s", b->dir, name);
}

/* Opening says `err` and a sentence with `word`; the bytes stay; no log appears. */
static void expect_refused(struct bench *b, int err, const char *word)
{
    struct image before = {0};
    struct image after = {0};
    struct stat st;
    char log_path[128];
    bool is_file = lstat(b->path, &st) == 0 && S_ISREG(st.st_mode) && image_read(b->path, &before);
    int got = bench_open(b, 0);
    assert_int_equal(got, err);
    assert_null(b->s);
    if (strstr(b->text.text, word) == NULL || strstr(b->text.text, b->path) == NULL) {
        print_message("\"%s\" lacks \"%s\" or the path\n", b->text.text, word);
        fail();
    }
    if (is_file) {
        assert_true(image_read(b->path, &after));
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.bytes, after.bytes, before.len);
    }
    path_beside(b, "store-wal", log_path);
    assert_int_not_equal(lstat(log_path, &st), 0);
    image_release(&before);
    image_release(&after);
}

static void a_new_store_is_private_and_whole(void **state)
{
    struct bench *b = *state;
    struct stat st;
    char other[128];
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(stat(b->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(b->mark_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    path_beside(b, "store-wal", other);
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    path_beside(b, "store-shm", other); /* the lock is exclusive: no shared memory */
    assert_int_not_equal(stat(other, &st), 0);
    bench_close(b);
    path_beside(b, "store-wal", other);
    assert_int_not_equal(stat(other, &st), 0);
}

static void a_wide_umask_and_a_wide_mode_are_narrowed(void **state)
{
    struct bench *b = *state;
    struct stat st;
    bench_close(b);
    assert_int_equal(unlink(b->path) + unlink(b->mark_path), 0);
    mode_t before = umask(0);
    assert_int_equal(bench_open(b, STORE_CREATE), 0);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    (void)umask(before);
    char log_path[128];
    path_beside(b, "store-wal", log_path);
    assert_int_equal(stat(b->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(log_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    bench_close(b);
    assert_int_equal(chmod(b->path, 0666), 0);
    assert_int_equal(chmod(b->mark_path, 0666), 0);
    assert_int_equal(bench_open(b, 0), 0);
    assert_int_equal(stat(b->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(b->mark_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void nothing_is_made_unasked(void **state)
{
    struct bench *b = *state;
    bench_close(b);
    assert_int_equal(unlink(b->path), 0);
    expect_refused(b, ERR_NOT_FOUND, "open");
    struct store *s = NULL;
    assert_int_equal(store_open("relative", b->mark_path, STORE_CREATE, &s, NULL), ERR_INVALID);
    assert_int_equal(store_open(b->path, "relative", STORE_CREATE, &s, NULL), ERR_INVALID);
}

static void what_is_not_a_store_is_refused_untouched(void **state)
{
    struct bench *b = *state;
    char noise[9000];
    bench_close(b);
    image_write(b->path, "", 0);
    expect_refused(b, ERR_CORRUPT, "empty");
    image_write(b->path, "SQLite", 6);
    expect_refused(b, ERR_CORRUPT, "not a store");
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (char)(i * 7919 >> 3);
    }
    image_write(b->path, noise, sizeof(noise));
    expect_refused(b, ERR_CORRUPT, "not a store");
    memcpy(noise, "SQLite format 3", 16);
    image_write(b->path, noise, sizeof(noise));
    expect_refused(b, ERR_CORRUPT, "");
    image_write(b->path, noise, 100);
    expect_refused(b, ERR_CORRUPT, "");
    assert_int_equal(unlink(b->path), 0);
    assert_int_equal(mkdir(b->path, 0700), 0);
    expect_refused(b, ERR_CORRUPT, "regular");
    assert_int_equal(rmdir(b->path), 0);
    assert_int_equal(mkfifo(b->path, 0600), 0);
    expect_refused(b, ERR_CORRUPT, "regular"); /* and does not wait for a writer */
}

static void a_symbolic_link_is_refused(void **state)
{
    struct bench *b = *state;
    char other[128];
    bench_close(b);
    path_beside(b, "other", other);
    assert_int_equal(rename(b->path, other), 0);
    assert_int_equal(symlink(other, b->path), 0);
    expect_refused(b, ERR_INSECURE, "symbolic link");
}

static void another_users_file_is_refused(void **state)
{
    struct bench *b = *state;
    bench_close(b);
    if (geteuid() != 0) {
        print_message("needs root to give a file away\n");
        skip();
    }
    assert_int_equal(chown(b->path, 12345, (gid_t)-1), 0);
    expect_refused(b, ERR_INSECURE, "uid 12345");
    assert_int_equal(chown(b->path, 0, (gid_t)-1), 0);
    assert_int_equal(chown(b->mark_path, 12345, (gid_t)-1), 0);
    assert_int_equal(bench_open(b, 0), ERR_INSECURE);
    assert_non_null(strstr(b->text.text, b->mark_path));
}

static void another_programs_database_is_refused(void **state)
{
    struct bench *b = *state;
    sqlite3 *db = NULL;
    bench_close(b);
    assert_int_equal(unlink(b->path), 0);
    assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    expect_refused(b, ERR_CORRUPT, "not a store of credwarden");
}

static void any_truncation_is_refused_untouched(void **state)
{
    struct bench *b = *state;
    struct image whole = {0};
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    bench_close(b);
    assert_true(image_read(b->path, &whole));
    assert_true(whole.len > 10 * (size_t)4096);
    for (size_t len = 0; len < whole.len; len += len < 200 ? 37 : 1365) {
        image_write(b->path, whole.bytes, len);
        expect_refused(b, ERR_CORRUPT, "");
    }
    image_write(b->path, whole.bytes, whole.len);
    assert_int_equal(bench_open(b, 0), 0);
    image_release(&whole);
}

/* A page overwritten: refused, or (a page that holds nothing) harmless; never a crash. */
static void damage_is_noticed(void **state)
{
    struct bench *b = *state;
    struct image whole = {0};
    int refused = 0;
    for (uint64_t id = 1; id <= 20; id++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%d", (int)id);
        assert_int_equal(put_live(b->s, id, name), 0);
    }
    bench_close(b);
    assert_true(image_read(b->path, &whole));
    for (size_t page = 0; page < whole.len / 4096; page++) {
        char *damaged = malloc(whole.len);
        memcpy(damaged, whole.bytes, whole.len);
        memset(damaged + page * 4096, 0x5a, 4096);
        image_write(b->path, damaged, whole.len);
        free(damaged);
        int err = bench_open(b, 0);
        assert_true(err == 0 || err == ERR_CORRUPT);
        refused += err == ERR_CORRUPT;
        bench_close(b);
    }
    assert_true((size_t)refused >= whole.len / 4096 - 1);
    image_release(&whole);
}

static void own_rules_are_checked(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *sql;
        const char *word;
    } cases[] = {
        {"DELETE FROM pair WHERE lineage = 2", "no current pair"},
        {"UPDATE lineage SET generation = 1 WHERE id = 1", "newer than the current"},
        {"DELETE FROM sealed WHERE lineage = 1", "sealed pair"},
        {"UPDATE lineage SET standing = 'retired' WHERE id = 2", "sealed pair"},
        {"UPDATE profile SET lineage = 99 WHERE name = 'home'", "points at no lineage"},
        {"DELETE FROM store", "own row"},
        {"DROP INDEX spend_open; INSERT INTO spend (intent, lineage, generation, presented, fence,"
         " replay, boot_id, cause, begun, closed, detail) SELECT intent + 5000, lineage,"
         " generation, presented, fence, replay, boot_id, cause, begun, closed, detail FROM spend"
         " WHERE verdict IS NULL",
         "two open intents"},
        {"UPDATE spend SET generation = 1 WHERE verdict IS NULL", "open intent is not"},
        {"DELETE FROM lineage WHERE id = 2; DELETE FROM sealed WHERE lineage = 2;"
         "DELETE FROM profile WHERE lineage = 2",
         "points at one that is not there"},
        {"UPDATE consumer SET profile = 'nobody'", "points at one that is not there"},
        {"UPDATE capture SET lineage = 99", "points at one that is not there"},
        {"CREATE TABLE loose AS SELECT * FROM consumer; DROP TABLE consumer;"
         "ALTER TABLE loose RENAME TO consumer; INSERT INTO consumer SELECT * FROM consumer",
         "two consumers"},
    };
    struct consumer_row bound = {.profile = "work", .kind = "claude", .place = "/p"};
    struct captured found = {.id = 7, .lineage = 1, .sealed = "x", .sealed_len = 1};
    struct acquaintance met;
    uint64_t id = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    assert_int_equal(store_bind(b->s, &bound, &id), 0);
    assert_int_equal(store_keep_capture(b->s, &found, &id, &met), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(put_settlement(b->s, 1, 1), 0);
    assert_int_equal(put_intent(b->s, 1, 2), 0);
    bench_close(b);
    struct image whole = {0};
    assert_true(image_read(b->path, &whole));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        sqlite3 *db = NULL;
        image_write(b->path, whole.bytes, whole.len);
        assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
        int rc = sqlite3_exec(db, cases[i].sql, NULL, NULL, NULL);
        if (rc != SQLITE_OK) {
            print_message("%s: %s\n", cases[i].sql, sqlite3_errmsg(db));
        }
        assert_int_equal(rc, SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_int_equal(sums_stamp_file(b->path), 0);
        expect_refused(b, ERR_CORRUPT, cases[i].word);
    }
    image_release(&whole);
}

static void a_second_process_is_told_that_it_is_in_use(void **state)
{
    struct bench *b = *state;
    pid_t pid = fork();
    if (pid == 0) { /* only what POSIX locks tell apart: another process */
        struct store *s = NULL;
        struct err_text text = {""};
        int err = store_open(b->path, b->mark_path, 0, &s, &text);
        _exit(err == ERR_LOCKED && strstr(text.text, "another process") != NULL ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(put_live(b->s, 1, "work"), 0); /* unharmed */
}

static void a_log_without_its_store_is_not_taken_for_the_new_ones(void **state)
{
    struct bench *b = *state;
    char log_path[128];
    bench_close(b);
    assert_int_equal(unlink(b->path) + unlink(b->mark_path), 0);
    path_beside(b, "store-wal", log_path);
    image_write(log_path, "a log", 5);
    assert_int_equal(bench_open(b, STORE_CREATE), ERR_CORRUPT);
    assert_non_null(strstr(b->text.text, log_path));
    struct stat st;
    assert_int_equal(stat(log_path, &st), 0);
    assert_int_not_equal(stat(b->path, &st), 0);
    assert_int_equal(unlink(log_path), 0);
    assert_int_equal(bench_open(b, STORE_CREATE), 0);
}

static void a_store_that_is_gone_is_not_made_anew(void **state)
{
    struct bench *b = *state;
    struct stat st;
    bench_close(b);
    assert_int_equal(unlink(b->path), 0);
    assert_int_equal(bench_open(b, STORE_CREATE), ERR_NOT_FOUND);
    assert_non_null(strstr(b->text.text, "is gone"));
    assert_non_null(strstr(b->text.text, b->mark_path));
    assert_int_not_equal(stat(b->path, &st), 0);
    assert_int_equal(unlink(b->mark_path), 0); /* what the sentence says */
    assert_int_equal(bench_open(b, STORE_CREATE), 0);
}

/* True when nothing appeared in the watched folder but what stays, and what a start sweeps away. */
static bool all_is_swept(int watch_fd, size_t *ret_swept)
{
    static const char *const stay[] = {"store", "store-wal", "mark"};
    alignas(struct inotify_event) char bytes[4096];
    ssize_t n = read(watch_fd, bytes, sizeof(bytes));
    bool well = n > 0;
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *seen = (const void *)(bytes + at);
        bool stays = false;
        for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
            stays = stays || strcmp(seen->name, stay[i]) == 0;
        bool is_swept = strncmp(seen->name, FILE_TEMP_PREFIX, strlen(FILE_TEMP_PREFIX)) == 0;
        if (!stays && !is_swept)
            print_message("%s would stay after a crash\n", seen->name);
        well = well && (stays || is_swept);
        *ret_swept += is_swept;
        at += (ssize_t)(sizeof(*seen) + seen->len);
    }
    return well;
}

static void a_creation_that_crashes_leaves_what_a_start_sweeps(void **state)
{
    struct bench *b = *state;
    size_t swept = 0;
    bench_close(b);
    assert_int_equal(unlink(b->path) + unlink(b->mark_path), 0);
    int watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(watch_fd >= 0);
    assert_true(inotify_add_watch(watch_fd, b->dir, IN_CREATE) >= 0);
    int opened = bench_open(b, STORE_CREATE);
    bool well = all_is_swept(watch_fd, &swept);
    (void)close(watch_fd);
    assert_int_equal(opened, 0);
    assert_true(well && swept > 0);
}

/* Versions */

static const char next_step[] =
    "CREATE TABLE added (x INTEGER NOT NULL) STRICT; INSERT INTO added SELECT count(*) FROM pair;";

static int open_with_next_step(struct bench *b, const char *second)
{
    const char *steps[16];
    CHECK(store_schema.n < (int)ARRAY_LEN(steps));
    for (int i = 0; i < store_schema.n; i++) {
        steps[i] = store_schema.steps[i];
    }
    steps[store_schema.n] = second;
    struct store_schema schema = {.steps = steps, .n = store_schema.n + 1};
    b->text.text[0] = '\0';
    return store_open_with(b->path, b->mark_path, 0, &schema, &b->s, &b->text);
}

static int64_t number(struct store *s, const char *sql)
{
    int64_t value = -1;
    assert_int_equal(sql_number(s, sql, SQL_NO_ARGS, &value), 0);
    return value;
}

static void an_older_store_is_brought_up_to_date_after_a_copy(void **state)
{
    struct bench *b = *state;
    char copy[128];
    char name[32];
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    bench_close(b);
    assert_int_equal(open_with_next_step(b, next_step), 0);
    assert_int_equal(number(b->s, "PRAGMA user_version"), store_schema.n + 1);
    assert_int_equal(number(b->s, "SELECT x FROM added"), 1);
    struct lineage_row row = row_of(b->s, 1);
    assert_sealed(&row, 1);
    lineage_row_release(&row);
    bench_close(b);

    struct stat st;
    (void)snprintf(name, sizeof(name), "store.v%d", store_schema.n);
    path_beside(b, name, copy);
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    expect_refused(b, ERR_NEWER, "upgrade"); /* the version from before meets the new store */
    assert_int_equal(rename(copy, b->path), 0);
    assert_int_equal(bench_open(b, 0), 0); /* and its copy still opens */
    row = row_of(b->s, 1);
    assert_sealed(&row, 1);
    lineage_row_release(&row);
}

static void a_migration_that_fails_changes_nothing(void **state)
{
    struct bench *b = *state;
    static const char *const failing[] = {
        "CREATE TABLE added (x) STRICT",                           /* a column needs a type */
        "CREATE TABLE added (x INT) STRICT; DELETE FROM lineage;", /* leaves rows that point there
                                                                    */
        "DELETE FROM event; CREATE TABLE pair (x INT) STRICT;",    /* fails after a change */
        "UPDATE lineage SET standing = 'unheard of'",
    };
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    bench_close(b);
    struct image before = {0};
    char version[32];
    assert_true(image_read(b->path, &before));
    for (size_t i = 0; i < ARRAY_LEN(failing); i++) {
        struct image after = {0};
        assert_true(open_with_next_step(b, failing[i]) < 0);
        assert_null(b->s);
        (void)snprintf(version, sizeof(version), "version %d", store_schema.n + 1);
        assert_non_null(strstr(b->text.text, version));
        assert_true(image_read(b->path, &after));
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.bytes, after.bytes, before.len);
        image_release(&after);
    }
    image_release(&before);
    assert_int_equal(bench_open(b, 0), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_sealed(&row, 1);
    lineage_row_release(&row);
}

/* A crash left a log; a newer version must not lose what is only there. */
static void a_newer_store_with_a_log_is_left_with_its_log(void **state)
{
    struct bench *b = *state;
    char log_path[128];
    char kept[128];
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    bench_close(b);
    assert_int_equal(open_with_next_step(b, next_step), 0);
    assert_int_equal(put_live(b->s, 2, "home"), 0);
    path_beside(b, "store-wal", log_path);
    path_beside(b, "crashed", kept);
    assert_int_equal(mkdir(kept, 0700), 0);
    path_beside(b, "crashed/store-wal", kept);
    copy_file(log_path, kept);
    path_beside(b, "crashed/store", kept);
    copy_file(b->path, kept);
    bench_close(b);

    struct store *s = NULL;
    struct image log_before = {0};
    struct image log_after = {0};
    struct image before = {0};
    struct image after = {0};
    char kept_log[128];
    path_beside(b, "crashed/store-wal", kept_log);
    assert_true(image_read(kept_log, &log_before) && image_read(kept, &before));
    assert_true(log_before.len > 0);
    assert_int_equal(store_open(kept, b->mark_path, 0, &s, NULL), ERR_NEWER);
    assert_true(image_read(kept_log, &log_after) && image_read(kept, &after));
    assert_int_equal(log_before.len, log_after.len);
    assert_memory_equal(log_before.bytes, log_after.bytes, log_before.len);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.bytes, after.bytes, before.len);
    image_release(&log_before);
    image_release(&log_after);
    image_release(&before);
    image_release(&after);
}

/* The mark */

struct found_event {
    const char *kind;
    int n;
};

static int count_kind(void *ctx, const struct event_row *row)
{
    struct found_event *f = ctx;
    f->n += strcmp(row->kind, f->kind) == 0;
    return 0;
}

static int events_of(struct store *s, const char *kind)
{
    struct found_event f = {.kind = kind};
    assert_int_equal(store_each_event(s, 0, 0, count_kind, &f), 0);
    return f.n;
}

static void spend_once(struct bench *b, uint64_t generation)
{
    assert_int_equal(put_intent(b->s, 1, generation), 0);
    assert_int_equal(put_settlement(b->s, 1, generation), 0);
}

/* A backup taken, a spend later, the backup put back. */
static void put_old_copy_back(struct bench *b)
{
    char backup[128];
    path_elsewhere(b, "backup", backup);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    spend_once(b, 1);
    assert_int_equal(store_backup(b->s, backup, false, &b->text), 0);
    spend_once(b, 2);
    bench_close(b);
    copy_file(backup, b->path);
}

static int accept_all(const struct bench *b, int64_t now_wall_ms)
{
    static const uint64_t outdated[] = {1, 2, 3};
    struct restoration now = {.wall_ms = now_wall_ms, .boot_ms = 4711, .boot_id = "boot-1"};
    return store_accept_restored(b->s, outdated, ARRAY_LEN(outdated), &now);
}

static void an_unharmed_store_is_not_restored(void **state)
{
    struct bench *b = *state;
    assert_false(store_is_restored(b->s));
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    for (uint64_t g = 1; g < 6; g++) {
        spend_once(b, g);
        bench_reopen(b);
        assert_false(store_is_restored(b->s));
    }
    assert_int_equal(events_of(b->s, "restored") + events_of(b->s, "mark-missing"), 0);
    assert_int_equal(accept_all(b, NOW_MS), 0); /* nothing to accept */
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_LIVE);
    lineage_row_release(&row);
}

static void an_old_copy_is_noticed_until_it_is_accepted(void **state)
{
    struct bench *b = *state;
    put_old_copy_back(b);
    assert_int_equal(bench_open(b, 0), 0);
    assert_true(store_is_restored(b->s));
    assert_int_equal(events_of(b->s, "restored"), 1);
    assert_int_equal(put_intent(b->s, 1, 2), 0);
    assert_int_equal(put_settlement(b->s, 1, 2), 0); /* as far as the mark: it still tells */
    bench_reopen(b);
    assert_true(store_is_restored(b->s));
    assert_int_equal(events_of(b->s, "restored"), 1); /* told once */
}

static void an_accepted_copy_is_in_doubt_and_then_the_store(void **state)
{
    struct bench *b = *state;
    char newer[128];
    path_beside(b, "newer", newer);
    put_old_copy_back(b);
    assert_int_equal(bench_open(b, 0), 0);
    assert_int_equal(accept_all(b, NOW_MS + 77), 0);
    assert_false(store_is_restored(b->s));
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_DOUBT);
    assert_int_equal(row.doubt_since_wall_ms, NOW_MS + 77);
    lineage_row_release(&row);
    bench_reopen(b);
    assert_false(store_is_restored(b->s));
    struct restoration when;
    assert_int_equal(store_last_restored(b->s, &when), 0);
    assert_true(when.wall_ms == NOW_MS + 77 && when.boot_ms == 4711);
    assert_string_equal(when.boot_id, "boot-1");
    row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_DOUBT);
    assert_true(row.alarms & 1u << ALARM_RESTORED); /* no lost answer: what tells the two apart */
    lineage_row_release(&row);
    spend_once(b, 2);
    bench_reopen(b);
    assert_false(store_is_restored(b->s));
}

/* The store that was replaced comes back: it is ahead in count, but spends were made behind it. */
static void the_store_that_was_replaced_is_noticed_in_its_turn(void **state)
{
    struct bench *b = *state;
    char backup[128];
    char original[128];
    path_elsewhere(b, "backup", backup);
    path_beside(b, "original", original);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(store_backup(b->s, backup, false, NULL), 0);
    for (uint64_t g = 1; g < 5; g++) {
        spend_once(b, g);
    }
    bench_close(b);
    copy_file(b->path, original);
    copy_file(backup, b->path);
    assert_int_equal(bench_open(b, 0), 0);
    assert_true(store_is_restored(b->s));
    assert_int_equal(accept_all(b, NOW_MS), 0);
    bench_close(b);
    copy_file(original, b->path);
    assert_int_equal(bench_open(b, 0), 0);
    assert_true(store_is_restored(b->s));
}

/* A spend that the copy does not know of has changed nothing: it can simply be spent again. */
static void what_is_not_single_use_is_not_put_in_doubt(void **state)
{
    struct bench *b = *state;
    const uint64_t outdated = 1;
    assert_int_equal(put_live(b->s, 2, "bob"), 0);
    put_old_copy_back(b);
    assert_int_equal(bench_open(b, 0), 0);
    struct restoration now = {.wall_ms = NOW_MS, .boot_id = "boot-1"};
    assert_int_equal(store_accept_restored(b->s, &outdated, 1, &now), 0);
    struct lineage_row row = row_of(b->s, 1);
    assert_int_equal(row.standing, STANDING_DOUBT);
    lineage_row_release(&row);
    row = row_of(b->s, 2);
    assert_int_equal(row.standing, STANDING_LIVE);
    assert_int_equal(row.alarms, 0);
    lineage_row_release(&row);
}

/* What was spent before anybody knew whose it is. */
static void an_unproven_one_is_put_in_doubt(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_lineage(b->s, 2), 0);
    put_old_copy_back(b);
    assert_int_equal(bench_open(b, 0), 0);
    assert_int_equal(accept_all(b, NOW_MS), 0);
    struct lineage_row row = row_of(b->s, 2);
    assert_int_equal(row.standing, STANDING_DOUBT);
    assert_string_equal(row.wanted_profile, "work");
    lineage_row_release(&row);
}

static void static_and_dead_lineages_are_not_put_in_doubt(void **state)
{
    struct bench *b = *state;
    char sealed[SEALED_LEN];
    sealed_of(2, 1, sealed);
    struct capture c = capture_of(2, sealed);
    c.pair.refresh = (struct fp){0};
    assert_int_equal(store_capture(b->s, &c), 0);
    assert_int_equal(store_adopt(b->s, 2, STANDING_LIVE, fp_of(2, 's'), "bob", "", "static",
                                 POLICY_NEVER, NOW_MS),
                     0);
    assert_int_equal(put_live(b->s, 3, "dead"), 0);
    assert_int_equal(put_intent(b->s, 3, 1), 0);
    struct closing closing = closing_of(3, 1, VERDICT_REFUSED, STANDING_DEAD);
    assert_int_equal(store_close_intent(b->s, &closing), 0);
    put_old_copy_back(b);
    assert_int_equal(bench_open(b, 0), 0);
    assert_int_equal(accept_all(b, NOW_MS), 0);
    struct lineage_row row = row_of(b->s, 2);
    assert_int_equal(row.standing, STANDING_LIVE);
    lineage_row_release(&row);
    row = row_of(b->s, 3);
    assert_int_equal(row.standing, STANDING_DEAD);
    lineage_row_release(&row);
}

static void a_missing_mark_is_made_anew_and_told(void **state)
{
    struct bench *b = *state;
    struct restoration when;
    assert_int_equal(store_last_restored(b->s, &when), 0);
    assert_int_equal(when.wall_ms, 0); /* never */
    bench_close(b);
    assert_int_equal(unlink(b->mark_path), 0);
    assert_int_equal(bench_open(b, 0), 0);
    assert_int_equal(events_of(b->s, "mark-missing"), 0); /* it has never spent */
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    spend_once(b, 1);
    bench_close(b);
    assert_int_equal(unlink(b->mark_path), 0);
    assert_int_equal(bench_open(b, 0), 0);
    assert_false(store_is_restored(b->s));
    assert_int_equal(events_of(b->s, "mark-missing"), 1);
    bench_reopen(b);
    assert_int_equal(events_of(b->s, "mark-missing"), 1);
}

static void another_stores_mark_and_a_damaged_one_mean_restored(void **state)
{
    struct bench *b = *state;
    struct image mark = {0};
    char other_path[128];
    char other_mark[128];
    struct store *other = NULL;
    path_beside(b, "other", other_path);
    path_beside(b, "other-mark", other_mark);
    assert_int_equal(store_open(other_path, other_mark, STORE_CREATE, &other, NULL), 0);
    store_close(other);
    bench_close(b);
    assert_true(image_read(b->mark_path, &mark));
    copy_file(other_mark, b->mark_path);
    assert_int_equal(bench_open(b, 0), 0);
    assert_true(store_is_restored(b->s));
    bench_close(b);
    static const size_t lengths[] = {0, 1, 40, 4096, 4100};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        image_write(b->mark_path, mark.bytes, lengths[i]);
        assert_int_equal(bench_open(b, 0), 0);
        assert_true(store_is_restored(b->s));
        bench_close(b);
    }
    assert_int_equal(bench_open(b, 0), 0);
    assert_int_equal(accept_all(b, NOW_MS), 0);
    bench_reopen(b);
    assert_false(store_is_restored(b->s));
    image_release(&mark);
}

/* The value before, not one from long ago. */
static void expect_mark_before(const struct bench *b, uint64_t changes)
{
    struct mark m = {.fd = -1};
    enum mark_state found = MARK_ABSENT;
    assert_int_equal(mark_load(b->mark_path, &m, &found, NULL), 0);
    assert_int_equal(found, MARK_VALID);
    assert_in_range(m.changes, changes - 2, changes); /* two a round */
    mark_close(&m);
}

/* Each slot is written in turn: whichever is torn, the other tells. */
static void a_torn_slot_leaves_the_one_before(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    bench_reopen(b); /* the mark is written on the way */
    for (uint64_t g = 1; g < 5; g++) {
        spend_once(b, g);
        bench_reopen(b);
        struct image mark = {0};
        bench_close(b);
        assert_true(image_read(b->mark_path, &mark));
        assert_int_equal(mark.len, 8192);
        for (size_t slot = 0; slot < 2; slot++) {
            for (size_t at = 0; at < 48; at += 5) {
                mark.bytes[slot * 4096 + at] ^= 0x40;
                image_write(b->mark_path, mark.bytes, mark.len);
                expect_mark_before(b, 2 + 2 * g);
                assert_int_equal(bench_open(b, 0), 0);
                assert_false(store_is_restored(b->s));
                bench_close(b);
                mark.bytes[slot * 4096 + at] ^= 0x40;
            }
        }
        image_write(b->mark_path, mark.bytes, mark.len);
        image_release(&mark);
        assert_int_equal(bench_open(b, 0), 0);
    }
}

static void a_mark_that_is_no_file_is_refused(void **state)
{
    struct bench *b = *state;
    bench_close(b);
    assert_int_equal(unlink(b->mark_path), 0);
    assert_int_equal(mkdir(b->mark_path, 0700), 0);
    assert_true(bench_open(b, 0) < 0);
    assert_non_null(strstr(b->text.text, b->mark_path));
    assert_int_equal(rmdir(b->mark_path), 0);
    assert_int_equal(symlink(b->path, b->mark_path), 0);
    assert_int_equal(bench_open(b, 0), ERR_INSECURE);
    assert_non_null(strstr(b->text.text, b->mark_path));
}

/* Backup */

static void a_backup_opens_like_the_store(void **state)
{
    struct bench *b = *state;
    char backup[128];
    char log_path[128];
    struct stat st;
    struct store *s = NULL;
    path_elsewhere(b, "backup", backup);
    path_elsewhere(b, "backup-wal", log_path);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    spend_once(b, 1);
    assert_int_equal(store_backup(b->s, backup, false, &b->text), 0);
    spend_once(b, 2);
    assert_int_equal(stat(backup, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_not_equal(stat(log_path, &st), 0); /* one file, whole */
    assert_int_equal(store_open(backup, b->mark_path, 0, &s, NULL), 0);
    struct lineage_row row = row_of(s, 1);
    assert_int_equal(row.generation, 2);
    assert_sealed(&row, 2);
    lineage_row_release(&row);
    store_close(s);
}

static void a_backup_replaces_only_when_told_and_never_the_store(void **state)
{
    struct bench *b = *state;
    char backup[128];
    path_elsewhere(b, "backup", backup);
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(store_backup(b->s, backup, false, NULL), 0);
    assert_int_equal(store_backup(b->s, backup, false, &b->text), ERR_EXISTS);
    assert_non_null(strstr(b->text.text, backup));
    assert_int_equal(store_backup(b->s, backup, true, NULL), 0);
    assert_int_equal(store_backup(b->s, b->path, true, &b->text), ERR_INVALID);
    assert_int_equal(store_backup(b->s, b->dir, true, NULL), ERR_INVALID);
    assert_int_equal(store_backup(b->s, "relative", true, NULL), ERR_INVALID);
    assert_int_equal(store_backup(b->s, "/no/such/folder/backup", true, &b->text), ERR_NOT_FOUND);
    path_elsewhere(b, "link", backup);
    assert_int_equal(symlink(b->path, backup), 0);
    assert_int_equal(store_backup(b->s, backup, true, NULL),
                     ERR_INVALID); /* the store, by a link */
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 1);
    lineage_row_release(&row);
}

static void assert_refused(struct bench *b, const char *dest)
{
    struct stat before, after;
    bool is_there = lstat(dest, &before) == 0;
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        int err = store_backup(b->s, dest, overwrite, &b->text);
        assert_int_equal(err, is_there && !overwrite ? ERR_EXISTS : ERR_INVALID);
    }
    assert_non_null(strstr(b->text.text, "own files"));
    assert_int_equal(lstat(dest, &after) == 0, is_there);
    if (is_there) {
        assert_true(before.st_ino == after.st_ino && before.st_size == after.st_size);
    }
}

static void a_backup_never_lands_among_the_stores_own_files(void **state)
{
    struct bench *b = *state;
    char path[128], linked[128], marks[128];
    path_beside(b, "store-journal", path);
    assert_refused(b, path);
    path_beside(b, "vault.key", path);
    copy_file(b->path, path);
    assert_refused(b, path);
    path_elsewhere(b, "folder", linked); /* the same folder by a link */
    assert_int_equal(symlink(b->dir, linked), 0);
    (void)snprintf(path, sizeof(path), "%s/elsewhere/folder/vault.key", b->dir);
    assert_refused(b, path);
    (void)snprintf(path, sizeof(path), "%s/elsewhere/../lock", b->dir);
    assert_refused(b, path);

    bench_close(b); /* the mark in another folder than the store */
    path_beside(b, "state", marks);
    assert_int_equal(mkdir(marks, 0700), 0);
    (void)snprintf(b->mark_path, sizeof(b->mark_path), "%s/state/mark", b->dir);
    assert_int_equal(bench_open(b, 0), 0);
    (void)snprintf(path, sizeof(path), "%s/state/mark", b->dir);
    assert_refused(b, path);
    (void)snprintf(path, sizeof(path), "%s/state/log", b->dir);
    assert_refused(b, path);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(a_new_store_is_private_and_whole),
        STORY(a_backup_never_lands_among_the_stores_own_files),
        STORY(a_wide_umask_and_a_wide_mode_are_narrowed),
        STORY(nothing_is_made_unasked),
        STORY(what_is_not_a_store_is_refused_untouched),
        STORY(a_symbolic_link_is_refused),
        STORY(another_users_file_is_refused),
        STORY(another_programs_database_is_refused),
        STORY(any_truncation_is_refused_untouched),
        STORY(damage_is_noticed),
        STORY(own_rules_are_checked),
        STORY(a_second_process_is_told_that_it_is_in_use),
        STORY(a_log_without_its_store_is_not_taken_for_the_new_ones),
        STORY(a_store_that_is_gone_is_not_made_anew),
        STORY(a_creation_that_crashes_leaves_what_a_start_sweeps),
        STORY(an_older_store_is_brought_up_to_date_after_a_copy),
        STORY(a_migration_that_fails_changes_nothing),
        STORY(a_newer_store_with_a_log_is_left_with_its_log),
        STORY(an_unharmed_store_is_not_restored),
        STORY(an_old_copy_is_noticed_until_it_is_accepted),
        STORY(an_accepted_copy_is_in_doubt_and_then_the_store),
        STORY(the_store_that_was_replaced_is_noticed_in_its_turn),
        STORY(what_is_not_single_use_is_not_put_in_doubt),
        STORY(an_unproven_one_is_put_in_doubt),
        STORY(static_and_dead_lineages_are_not_put_in_doubt),
        STORY(a_missing_mark_is_made_anew_and_told),
        STORY(another_stores_mark_and_a_damaged_one_mean_restored),
        STORY(a_torn_slot_leaves_the_one_before),
        STORY(a_mark_that_is_no_file_is_refused),
        STORY(a_backup_opens_like_the_store),
        STORY(a_backup_replaces_only_when_told_and_never_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

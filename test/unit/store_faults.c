/*
 * What goes wrong outside: kills at random moments, a torn log, a full disk. And the other way
 * round: what was wiped is gone from the files.
 */
#include "store_bench.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Kills */

#define KILLS         50
#define KILLS_AT_MOST 2000 /* where the machine is busy with other things */
#define LINEAGES      4

/* What the child tells after each call that came back with 0. */
struct told {
    uint64_t lineage;
    uint64_t generation; /* the current one */
    uint64_t has_intent;
};

static void tell(int fd, uint64_t lineage, uint64_t generation, bool has_intent)
{
    struct told t = {.lineage = lineage, .generation = generation, .has_intent = has_intent};
    if (write(fd, &t, sizeof(t)) != sizeof(t)) {
        _exit(3);
    }
}

static void must(int err)
{
    if (err < 0) {
        _exit(2);
    }
}

/* Goes on from wherever the last life ended, until it is killed. */
_Noreturn static void live(const struct bench *b, int fd, unsigned seed)
{
    struct store *s = NULL;
    struct event_row event = {.kind = "beat"};
    struct lineage_row row;
    lineage_row_init(&row);
    must(store_open(b->path, b->mark_path, 0, &s, NULL));
    for (;;) {
        uint64_t id = 1 + (uint64_t)rand_r(&seed) % LINEAGES;
        int err = store_get_lineage(s, id, &row);
        if (err == ERR_NOT_FOUND) {
            char name[16];
            (void)snprintf(name, sizeof(name), "p%d", (int)id);
            must(put_live(s, id, name));
            tell(fd, id, 1, false);
            continue;
        }
        must(err);
        if (row.intent == 0) {
            must(put_intent(s, id, row.generation));
            tell(fd, id, row.generation, true);
        } else {
            must(put_settlement(s, id, row.generation));
            tell(fd, id, row.generation + 1, false);
        }
        if (rand_r(&seed) % 8 == 0) {
            must(store_event_add(s, &event, NULL));
            must(store_tidy(s));
        }
    }
}

static void collect(int fd, struct told told[LINEAGES + 1])
{
    struct told t;
    while (read(fd, &t, sizeof(t)) == sizeof(t)) {
        assert_in_range(t.lineage, 1, LINEAGES);
        told[t.lineage] = t;
    }
}

/* All that was told is there; at most one call more, which the next life goes on from. */
static void check_told(struct store *s, struct told *t)
{
    struct lineage_row row = row_of(s, t->lineage);
    uint64_t steps_told = 2 * t->generation + t->has_intent;
    uint64_t steps_found = 2 * row.generation + (row.intent != 0);
    assert_true(steps_found == steps_told || steps_found == steps_told + 1);
    assert_sealed(&row, row.generation);
    struct pair pair = pair_of(row.id, row.generation);
    assert_true(pair_equal(&row.pair, &pair));
    t->generation = row.generation;
    t->has_intent = row.intent != 0;
    lineage_row_release(&row);
}

static void kills_at_random_moments_lose_nothing_that_was_told(void **state)
{
    struct bench *b = *state;
    struct told told[LINEAGES + 1] = {0};
    unsigned seed = (unsigned)getpid();
    print_message("seed %u\n", seed);
    bench_close(b);
    for (int i = 0; i < KILLS || (told[1].generation <= 1 && i < KILLS_AT_MOST); i++) {
        int fds[2];
        int status = 0;
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(fds[0]);
            live(b, fds[1], seed + (unsigned)i);
        }
        close(fds[1]);
        (void)usleep((useconds_t)(rand_r(&seed) % 30000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        collect(fds[0], told);
        close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(bench_open(b, 0), 0); /* checks every rule */
        assert_false(store_is_restored(b->s));
        for (uint64_t id = 1; id <= LINEAGES; id++) {
            if (told[id].lineage != 0) {
                check_told(b->s, &told[id]);
            }
        }
        bench_close(b);
    }
    assert_true(told[1].generation > 1); /* it did run */
}

/* A ROLLBACK that finds no memory leaves its transaction open. */
static void what_could_not_be_undone_is_undone_by_the_next_write(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(sql_script(b->s, "BEGIN IMMEDIATE; UPDATE profile SET policy = 'never'"), 0);
    assert_int_equal(store_set_label(b->s, 1, "ada@new"), 0);
    bench_reopen(b);
    struct lineage_row row = row_of(b->s, 1);
    assert_string_equal(row.label, "ada@new");
    lineage_row_release(&row);
    assert_int_equal(sql_script(b->s, "BEGIN IMMEDIATE; UPDATE profile SET policy = 'never'"), 0);
    assert_int_equal(store_set_label(b->s, 9, "x"), ERR_NOT_FOUND);
    assert_int_equal(store_set_policy(b->s, "work", POLICY_STANDBY), 0);
}

/* A power cut may leave any prefix of the log, and a torn frame after it. */
static void a_torn_log_gives_an_earlier_whole_state(void **state)
{
    struct bench *b = *state;
    char log_path[128];
    struct image db = {0};
    struct image log = {0};
    uint64_t before = 0;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(wal_empty(b->s), 0);
    for (uint64_t g = 1; g < 6; g++) {
        assert_int_equal(put_intent(b->s, 1, g), 0);
        assert_int_equal(put_settlement(b->s, 1, g), 0);
    }
    (void)snprintf(log_path, sizeof(log_path), "%s-wal", b->path);
    assert_true(image_read(b->path, &db));
    assert_true(image_read(log_path, &log));
    bench_close(b);
    for (size_t len = 0; len <= log.len; len += 1733) {
        image_write(b->path, db.bytes, db.len);
        image_write(log_path, log.bytes, len);
        if (len > 4000) { /* torn: the end of it is noise */
            log.bytes[len - 1000] ^= 0x55;
            image_write(log_path, log.bytes, len);
            log.bytes[len - 1000] ^= 0x55;
        }
        assert_int_equal(bench_open(b, 0), 0);
        struct lineage_row row = row_of(b->s, 1);
        uint64_t steps = 2 * row.generation + (row.intent != 0);
        assert_true(steps >= before);
        before = steps;
        assert_sealed(&row, row.generation);
        lineage_row_release(&row);
        assert_true(store_is_restored(b->s) ==
                    (b->s->changes < 12)); /* the mark knew of them all */
        bench_close(b);
    }
    assert_true(before >= 10);
    image_release(&db);
    image_release(&log);
}

/* Full disks */

static bool is_at(struct store *s, uint64_t generation, bool has_intent)
{
    struct lineage_row row;
    lineage_row_init(&row);
    bool is = store_get_lineage(s, 1, &row) == 0 && row.generation == generation &&
              (row.intent != 0) == has_intent && row.sealed.len > 0;
    lineage_row_release(&row);
    return is;
}

static void expect_generation(struct store *s, uint64_t generation, bool has_intent)
{
    struct lineage_row row = row_of(s, 1);
    assert_int_equal(row.generation, generation);
    assert_int_equal(row.intent != 0, has_intent);
    assert_sealed(&row, generation);
    lineage_row_release(&row);
}

static void a_store_that_may_not_grow_says_full_and_goes_on_later(void **state)
{
    struct bench *b = *state;
    int err = 0;
    int64_t pages = 0;
    char pragma[64];
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(sql_number(b->s, "PRAGMA page_count", SQL_NO_ARGS, &pages), 0);
    (void)snprintf(pragma, sizeof(pragma), "PRAGMA max_page_count = %d", (int)pages + 2);
    assert_int_equal(sql_script(b->s, pragma), 0);
    uint64_t id = 2;
    while (err == 0) {
        err = put_lineage(b->s, id++);
    }
    assert_int_equal(err, ERR_FULL);
    struct lineage_row row;
    lineage_row_init(&row);
    assert_int_equal(store_get_lineage(b->s, id - 1, &row), ERR_NOT_FOUND);
    expect_generation(b->s, 1, false);
    assert_int_equal(sql_script(b->s, "PRAGMA max_page_count = 1000000"), 0);
    assert_int_equal(put_lineage(b->s, id - 1), 0);
    assert_int_equal(put_intent(b->s, 1, 1), 0);
    assert_int_equal(put_settlement(b->s, 1, 1), 0);
    bench_reopen(b);
    expect_generation(b->s, 2, false);
}

static void limit_file_size(rlim_t max)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = max == RLIM_INFINITY ? limit.rlim_max : max;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* In a child: the limit would outlive a failed assertion. */
static int in_child(void (*story)(struct bench *b, const char *extra), struct bench *b,
                    const char *extra)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        story(b, extra);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* A quota looks like this to SQLite: not "disk full", but a write that failed. */
static void story_of_a_limit(struct bench *b, const char *extra)
{
    (void)extra;
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHECK(bench_open(b, 0) == 0);
    CHECK(put_intent(b->s, 1, 1) == 0);
    limit_file_size(3000);
    CHECK(put_settlement(b->s, 1, 1) == ERR_FULL);
    CHECK(put_lineage(b->s, 2) == ERR_FULL);
    CHECK(is_at(b->s, 1, true)); /* readable all the while */
    limit_file_size(RLIM_INFINITY);
    CHECK(put_settlement(b->s, 1, 1) == 0);
    limit_file_size(3000);
    CHECK(put_intent(b->s, 1, 2) == ERR_FULL);
    limit_file_size(RLIM_INFINITY);
    CHECK(is_at(b->s, 2, false));
    CHECK(put_intent(b->s, 1, 2) == 0);
    store_close(b->s);
}

static void a_file_size_limit_is_told_as_full(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    bench_close(b);
    assert_int_equal(in_child(story_of_a_limit, b, NULL), 0);
    assert_int_equal(bench_open(b, 0), 0);
    expect_generation(b->s, 2, true);
}

static void fill(const char *path)
{
    static const char block[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    CHECK(fd >= 0);
    while (write(fd, block, sizeof(block)) > 0) {
        continue;
    }
    CHECK(errno == ENOSPC);
    close(fd);
}

/* In a child, on a small disk of its own. */
static void story_of_a_full_disk(struct bench *b, const char *disk)
{
    char ballast[128];
    char backup[128];
    char large[STORE_SEALED_MAX];
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", disk, "tmpfs", 0, "size=2m,mode=700") != 0) {
        _exit(77);
    }
    (void)snprintf(b->path, sizeof(b->path), "%s/store", disk);
    (void)snprintf(b->mark_path, sizeof(b->mark_path), "%s/mark", disk);
    (void)snprintf(ballast, sizeof(ballast), "%s/ballast", disk);
    (void)snprintf(backup, sizeof(backup), "%s/backups", disk);
    CHECK(mkdir(backup, 0700) == 0);
    (void)snprintf(backup, sizeof(backup), "%s/backups/backup", disk);
    CHECK(bench_open(b, STORE_CREATE) == 0);
    CHECK(put_live(b->s, 1, "work") == 0);

    /* The disk fills up in mid-spend: the settlement has its room. */
    CHECK(put_intent(b->s, 1, 1) == 0);
    fill(ballast);
    memset(large, 'x', sizeof(large));
    struct settlement m = settlement_of(1, 1, large);
    m.sealed_len = sizeof(large);
    CHECK(store_settle(b->s, &m) == 0);

    /* It is full before a spend: sooner or later the intent is refused, and nothing is lost. */
    uint64_t g = 2;
    int err = 0;
    while ((err = put_intent(b->s, 1, g)) == 0) {
        CHECK(put_settlement(b->s, 1, g) == 0);
        g++;
        CHECK(g < 200);
    }
    CHECK(err == ERR_FULL);
    CHECK(store_backup(b->s, backup, false, &b->text) == ERR_FULL);
    CHECK(access(backup, F_OK) != 0);
    (void)store_tidy(b->s); /* cannot do all of it, must not harm */
    CHECK(is_at(b->s, g, false));

    /* It opens on a full disk. */
    store_close(b->s);
    fill(ballast);
    CHECK(bench_open(b, 0) == 0);
    CHECK(!store_is_restored(b->s));
    CHECK(is_at(b->s, g, false));

    /* Room again: work goes on. */
    CHECK(unlink(ballast) == 0);
    CHECK(put_intent(b->s, 1, g) == 0);
    CHECK(put_settlement(b->s, 1, g) == 0);
    store_close(b->s);
    CHECK(bench_open(b, 0) == 0);
    CHECK(is_at(b->s, g + 1, false));
    store_close(b->s);
}

static void a_full_disk_refuses_intents_and_no_settlement(void **state)
{
    struct bench *b = *state;
    char disk[80];
    (void)snprintf(disk, sizeof(disk), "%s/disk", b->dir);
    assert_int_equal(mkdir(disk, 0700), 0);
    struct bench in_it = *b;
    in_it.s = NULL;
    int status = in_child(story_of_a_full_disk, &in_it, disk);
    if (status == 77) {
        print_message("needs the right to mount a tmpfs\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* Wiped bytes */

static bool file_has(const char *path, const char *word)
{
    struct image i = {0};
    if (!image_read(path, &i)) {
        return false;
    }
    bool found = memmem(i.bytes, i.len, word, strlen(word)) != NULL;
    image_release(&i);
    return found;
}

static bool store_has(const struct bench *b, const char *word)
{
    char log_path[128];
    (void)snprintf(log_path, sizeof(log_path), "%s-wal", b->path);
    return file_has(b->path, word) || file_has(log_path, word);
}

/* Pairs of many sizes, put in no order and then grown: SQLite moves them between pages. */
static void fill_and_spend(struct bench *b)
{
    for (uint64_t i = 0; i < 60; i++) {
        char sealed[4 * SEALED_LEN];
        uint64_t id = 1 + i * 37 % 60;
        for (size_t at = 0; at < sizeof(sealed); at += SEALED_LEN) {
            sealed_of(id, 1, sealed + at);
        }
        struct capture c = capture_of(id, sealed);
        c.sealed_len = 200 + (size_t)(id * 131 % 500);
        assert_int_equal(store_capture(b->s, &c), 0);
    }
    for (uint64_t i = 0; i < 60; i++) {
        char sealed[4 * SEALED_LEN];
        uint64_t id = 1 + i * 41 % 60;
        for (size_t at = 0; at < sizeof(sealed); at += SEALED_LEN) {
            sealed_of(id, 2, sealed + at);
        }
        struct settlement m = settlement_of(id, 1, sealed);
        m.sealed_len = 300 + (size_t)(id * 151 % 1900);
        assert_int_equal(put_intent(b->s, id, 1), 0);
        assert_int_equal(store_settle(b->s, &m), 0);
    }
}

/* The words, as sealed_of() puts them. */
static bool has_any(const struct bench *b, uint64_t lineage)
{
    char word[32];
    (void)snprintf(word, sizeof(word), "<SEALED %d.", (int)lineage);
    return store_has(b, word);
}

static void a_retired_lineages_bytes_are_in_no_file(void **state)
{
    struct bench *b = *state;
    fill_and_spend(b);
    assert_true(has_any(b, 7) && has_any(b, 8));
    for (uint64_t id = 1; id <= 60; id += 2) {
        assert_int_equal(store_retire(b->s, id, "removed", NOW_MS), 0);
    }
    assert_int_equal(store_tidy(b->s), 0);
    for (uint64_t id = 1; id <= 60; id++) {
        assert_int_equal(has_any(b, id), id % 2 == 0);
    }
    assert_int_equal(store_retire(b->s, 8, "removed", NOW_MS), 0);
    bench_close(b); /* tidies too */
    assert_false(has_any(b, 8));
    assert_true(has_any(b, 10));
    assert_int_equal(bench_open(b, 0), 0);
}

static void a_crash_after_a_retirement_does_not_keep_the_bytes(void **state)
{
    struct bench *b = *state;
    fill_and_spend(b);
    bench_close(b);
    pid_t pid = fork();
    if (pid == 0) {
        struct store *s = NULL;
        must(store_open(b->path, b->mark_path, 0, &s, NULL));
        must(store_retire(s, 7, "removed", NOW_MS));
        _exit(0); /* nothing is closed */
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(has_any(b, 7)); /* in the log, or below it */
    assert_int_equal(bench_open(b, 0), 0);
    assert_false(has_any(b, 7));
}

static void spent_bytes_are_overwritten_in_the_database(void **state)
{
    struct bench *b = *state;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    for (uint64_t g = 1; g < 4; g++) {
        char sealed[SEALED_LEN];
        sealed_of(1, g + 1, sealed);
        struct settlement m = settlement_of(1, g, sealed);
        m.sealed_len = SEALED_LEN - g * 100; /* shorter: nothing is overwritten by chance */
        assert_int_equal(put_intent(b->s, 1, g), 0);
        assert_int_equal(store_settle(b->s, &m), 0);
    }
    bench_close(b);
    assert_true(store_has(b, "<SEALED 1.4>"));
    assert_false(store_has(b, "<SEALED 1.3>"));
    assert_false(store_has(b, "<SEALED 1.1>"));
    assert_int_equal(bench_open(b, 0), 0);
}

/* The log stays short however long nobody is idle. */
static void the_log_is_bounded(void **state)
{
    struct bench *b = *state;
    char log_path[128];
    struct stat st;
    assert_int_equal(put_live(b->s, 1, "work"), 0);
    assert_int_equal(sql_script(b->s, "PRAGMA synchronous = OFF"), 0); /* speed alone */
    for (uint64_t g = 1; g < 900; g++) {
        assert_int_equal(put_intent(b->s, 1, g), 0);
        assert_int_equal(put_settlement(b->s, 1, g), 0);
    }
    (void)snprintf(log_path, sizeof(log_path), "%s-wal", b->path);
    assert_int_equal(stat(log_path, &st), 0);
    assert_true(st.st_size < 10 * 1024 * 1024);
    bench_reopen(b);
    expect_generation(b->s, 900, false);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORY(kills_at_random_moments_lose_nothing_that_was_told),
        STORY(what_could_not_be_undone_is_undone_by_the_next_write),
        STORY(a_torn_log_gives_an_earlier_whole_state),
        STORY(a_store_that_may_not_grow_says_full_and_goes_on_later),
        STORY(a_file_size_limit_is_told_as_full),
        STORY(a_full_disk_refuses_intents_and_no_settlement),
        STORY(a_retired_lineages_bytes_are_in_no_file),
        STORY(a_crash_after_a_retirement_does_not_keep_the_bytes),
        STORY(spent_bytes_are_overwritten_in_the_database),
        STORY(the_log_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The spool: what each kind of end (kill, power loss, full disk) leaves, and that the lock lasts
 * exactly as long as somebody has the descriptor.
 */
#include "issuer/spool.h"
#include "sys/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/process.h"

#define BOOT       "6e0a5c7e-0000-4000-8000-000000000001"
#define OTHER_BOOT "6e0a5c7e-0000-4000-8000-000000000002"
#define INTENT     UINT64_C(0xfeed000000000042)
#define NAME       "feed000000000042.spool"
#define HEADER_LEN 144
#define BODY_AT    4096

struct fixture {
    char path[64];
    int dir;
    struct buf sealed;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->path, sizeof(f->path), "/tmp/spool-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->dir >= 0);
    buf_init(&f->sealed, SPOOL_ANSWER_MAX);
    (void)signal(SIGXFSZ, SIG_IGN);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    uint64_t intents[16];
    int n = spool_list(f->dir, intents, 16);
    for (int i = 0; i < n; i++)
        (void)spool_remove(f->dir, intents[i]);
    close(f->dir);
    assert_int_equal(rmdir(f->path), 0); /* also: no test leaves anything else behind */
    buf_release(&f->sealed);
    free(f);
    return 0;
}

static enum spool_stage look(struct fixture *f, const char *boot, bool *ret_same)
{
    enum spool_stage stage = SPOOL_ABSENT;
    bool same = false;
    buf_clear(&f->sealed);
    assert_int_equal(spool_read(f->dir, INTENT, boot, &stage, &same, NULL, &f->sealed), 0);
    if (ret_same != NULL)
        *ret_same = same;
    return stage;
}

static int create(struct fixture *f)
{
    int fd = -1;
    assert_int_equal(spool_create(f->dir, INTENT, BOOT, &fd), 0);
    return fd;
}

static void answer_of(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251 + 1);
}

static int open_raw(struct fixture *f)
{
    int fd = openat(f->dir, NAME, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void a_life_from_prepared_to_answered(void **state)
{
    struct fixture *f = *state;
    int64_t before_boot_ms = clock_now().boot_ms;
    uint8_t answer[5000];
    answer_of(answer, sizeof(answer));
    bool same;
    assert_int_equal(look(f, BOOT, NULL), SPOOL_ABSENT);

    int fd = create(f);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_LOCKED);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, SPOOL_FILE_SIZE);
    assert_true((int64_t)st.st_blocks * 512 >= SPOOL_FILE_SIZE); /* the room is really there */
    assert_int_equal(st.st_mode & 0777, 0600);

    int raw = dup(fd); /* the same open file: what a spender would have */
    close(fd);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_LOCKED);
    close(raw);
    assert_int_equal(look(f, BOOT, &same), SPOOL_PREPARED);
    assert_true(same);
    assert_int_equal(look(f, OTHER_BOOT, &same), SPOOL_PREPARED);
    assert_false(same);

    raw = open_raw(f);
    assert_int_equal(spool_start(raw), 0);
    assert_int_equal(look(f, BOOT, &same), SPOOL_STARTED);
    assert_true(same);
    int64_t made_boot_ms = 0;
    enum spool_stage stage;
    assert_int_equal(spool_read(f->dir, INTENT, BOOT, &stage, &same, &made_boot_ms, &f->sealed), 0);
    assert_in_range(made_boot_ms, before_boot_ms, clock_now().boot_ms);
    assert_int_equal(look(f, OTHER_BOOT, &same), SPOOL_STARTED);
    assert_false(same);
    assert_int_equal(spool_answer(raw, answer, sizeof(answer)), 0);
    assert_int_equal(look(f, OTHER_BOOT, NULL), SPOOL_ANSWERED);
    assert_int_equal(f->sealed.len, sizeof(answer));
    assert_memory_equal(f->sealed.bytes, answer, sizeof(answer));
    assert_int_equal(fstat(raw, &st), 0);
    assert_int_equal(st.st_size, SPOOL_FILE_SIZE);
    close(raw);

    assert_int_equal(spool_remove(f->dir, INTENT), 0);
    assert_int_equal(spool_remove(f->dir, INTENT), 0);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_ABSENT);
}

static void an_intent_has_one_spool(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    int second = -1;
    assert_int_equal(spool_create(f->dir, INTENT, BOOT, &second), ERR_EXISTS);
    assert_int_equal(second, -1);
    close(fd);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_PREPARED);
}

static void a_spend_starts_once(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    assert_int_equal(spool_start(fd), 0);
    assert_int_equal(spool_start(fd), ERR_CONFLICT);
    assert_int_equal(spool_answer(fd, "x", 1), 0);
    assert_int_equal(spool_start(fd), ERR_CONFLICT);
    close(fd);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_ANSWERED);
}

static void an_answer_may_be_repeated_but_not_replaced(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    assert_int_equal(spool_start(fd), 0);
    assert_int_equal(spool_answer(fd, "", 0), ERR_INVALID);
    uint8_t *large = calloc(1, SPOOL_ANSWER_MAX + 1);
    assert_int_equal(spool_answer(fd, large, SPOOL_ANSWER_MAX + 1), ERR_TOO_LARGE);
    answer_of(large, SPOOL_ANSWER_MAX);
    assert_int_equal(spool_answer(fd, large, SPOOL_ANSWER_MAX), 0);
    assert_int_equal(spool_answer(fd, large, SPOOL_ANSWER_MAX), 0);
    assert_int_equal(spool_answer(fd, large, SPOOL_ANSWER_MAX - 1), ERR_CONFLICT);
    close(fd);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_ANSWERED);
    assert_int_equal(f->sealed.len, SPOOL_ANSWER_MAX);
    assert_memory_equal(f->sealed.bytes, large, SPOOL_ANSWER_MAX);
    free(large);
}

/* Write an answer, then damage the byte at `at`, look, and mend it. */
static enum spool_stage look_damaged(struct fixture *f, int raw, off_t at)
{
    uint8_t byte;
    assert_int_equal(pread(raw, &byte, 1, at), 1);
    uint8_t other = byte ^ 0x20;
    assert_int_equal(pwrite(raw, &other, 1, at), 1);
    enum spool_stage stage = look(f, BOOT, NULL);
    assert_int_equal(pwrite(raw, &byte, 1, at), 1);
    return stage;
}

static void every_damaged_byte_is_torn(void **state)
{
    struct fixture *f = *state;
    uint8_t answer[3000];
    answer_of(answer, sizeof(answer));
    int fd = create(f);
    close(fd);
    int raw = open_raw(f);
    for (off_t at = 0; at < HEADER_LEN; at++)
        assert_int_equal(look_damaged(f, raw, at), SPOOL_TORN);
    assert_int_equal(spool_start(raw), 0);
    for (off_t at = 0; at < HEADER_LEN; at++)
        assert_int_equal(look_damaged(f, raw, at), SPOOL_TORN);
    assert_int_equal(spool_answer(raw, answer, sizeof(answer)), 0);
    for (off_t at = 0; at < HEADER_LEN; at++)
        assert_int_equal(look_damaged(f, raw, at), SPOOL_TORN);
    for (off_t at = 0; at < (off_t)sizeof(answer); at += 13)
        assert_int_equal(look_damaged(f, raw, BODY_AT + at), SPOOL_TORN);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_ANSWERED);
    close(raw);
}

/* A power loss may keep any subset of the sectors that were not yet synced. */
static void a_power_loss_in_the_answer_never_shows_a_wrong_one(void **state)
{
    struct fixture *f = *state;
    enum { LEN = 4000, SECTOR = 512, SECTORS = (LEN + SECTOR - 1) / SECTOR };
    uint8_t answer[LEN], before[HEADER_LEN], after[HEADER_LEN];
    static const uint8_t zeros[LEN];
    answer_of(answer, sizeof(answer));
    int fd = create(f);
    close(fd);
    int raw = open_raw(f);
    assert_int_equal(spool_start(raw), 0);
    assert_int_equal(pread(raw, before, HEADER_LEN, 0), HEADER_LEN);
    assert_int_equal(spool_answer(raw, answer, sizeof(answer)), 0);
    assert_int_equal(pread(raw, after, HEADER_LEN, 0), HEADER_LEN);
    for (unsigned kept = 0; kept < 1U << SECTORS; kept++) {
        for (unsigned s = 0; s < SECTORS; s++) {
            size_t at = s * SECTOR;
            size_t n = LEN - at < SECTOR ? LEN - at : SECTOR;
            const uint8_t *from = kept & 1U << s ? answer : zeros;
            assert_int_equal(pwrite(raw, from + at, n, (off_t)(BODY_AT + at)), (ssize_t)n);
        }
        assert_int_equal(pwrite(raw, after, HEADER_LEN, 0), HEADER_LEN);
        bool is_whole = kept == (1U << SECTORS) - 1;
        assert_int_equal(look(f, OTHER_BOOT, NULL), is_whole ? SPOOL_ANSWERED : SPOOL_TORN);
        assert_int_equal(pwrite(raw, before, HEADER_LEN, 0), HEADER_LEN);
        assert_int_equal(look(f, OTHER_BOOT, NULL), SPOOL_STARTED);
    }
    close(raw);
}

/* No open intent has a creation that was cut short: it is damage, and was perhaps handed on. */
static void a_file_that_was_cut_is_torn(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    close(fd);
    const off_t sizes[] = {SPOOL_FILE_SIZE - 1, BODY_AT, HEADER_LEN, HEADER_LEN - 1, 1, 0};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int raw = open_raw(f);
        assert_int_equal(ftruncate(raw, sizes[i]), 0);
        close(raw);
        assert_int_equal(look(f, BOOT, NULL), SPOOL_TORN);
    }
}

static void a_spool_of_another_intent_is_torn(void **state)
{
    struct fixture *f = *state;
    int fd = -1;
    assert_int_equal(spool_create(f->dir, 7, BOOT, &fd), 0);
    close(fd);
    assert_int_equal(renameat(f->dir, "0000000000000007.spool", f->dir, NAME), 0);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_TORN);
}

static void a_file_full_of_rubbish_is_torn_and_cannot_be_started(void **state)
{
    struct fixture *f = *state;
    int raw = openat(f->dir, NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    uint8_t *rubbish = malloc(SPOOL_FILE_SIZE);
    memset(rubbish, 0xa5, SPOOL_FILE_SIZE);
    assert_int_equal(write(raw, rubbish, SPOOL_FILE_SIZE), SPOOL_FILE_SIZE);
    free(rubbish);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_TORN);
    assert_int_equal(spool_start(raw), ERR_CORRUPT);
    assert_int_equal(spool_answer(raw, "x", 1), ERR_CORRUPT);
    close(raw);
}

static void a_link_is_not_followed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(symlinkat("/etc/hostname", f->dir, NAME), 0);
    enum spool_stage stage = SPOOL_ABSENT;
    bool same;
    assert_int_equal(spool_read(f->dir, INTENT, BOOT, &stage, &same, NULL, &f->sealed), 0);
    assert_int_equal(stage, SPOOL_TORN);
    int fd = -1;
    assert_int_equal(spool_create(f->dir, INTENT, BOOT, &fd), ERR_EXISTS);
}

static void a_folder_in_its_place_is_no_spool(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdirat(f->dir, NAME, 0700), 0);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_TORN);
    assert_int_equal(unlinkat(f->dir, NAME, AT_REMOVEDIR), 0);
}

/* Nobody knows what stands in it: no stage is told, and nothing is taken back. */
static void for_want_of_descriptors_nothing_is_told(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    assert_int_equal(spool_answer(fd, "sealed", 6), 0);
    close(fd);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    enum spool_stage stage = SPOOL_ABSENT;
    bool same;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int read = spool_read(f->dir, INTENT, BOOT, &stage, &same, NULL, &f->sealed);
    int withdrawn = spool_withdraw(f->dir, INTENT);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(read, ERR_BUSY);
    assert_int_equal(withdrawn, ERR_BUSY);
    assert_int_equal(stage, SPOOL_ABSENT);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_ANSWERED);
}

/* The descriptor goes through a socket, as it does to the spender. */
static void the_lock_travels_with_the_descriptor(void **state)
{
    struct fixture *f = *state;
    int ends[2], received = -1;
    char byte;
    assert_int_equal(packet_pair(ends), 0);
    int fd = create(f);
    assert_int_equal(packet_send(ends[0], "s", 1, fd), 0);
    close(fd);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_LOCKED); /* unread in the socket */
    assert_int_equal(packet_recv(ends[1], &byte, 1, &received), 1);
    assert_true(received >= 0);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_LOCKED);
    close(received);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_PREPARED);
}

static void a_message_nobody_reads_lets_the_lock_go(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    assert_int_equal(packet_pair(ends), 0);
    int fd = create(f);
    assert_int_equal(packet_send(ends[0], "s", 1, fd), 0);
    close(fd);
    close(ends[1]);
    close(ends[0]);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_PREPARED);
}

static void a_killed_holder_lets_the_lock_go(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    int gate[2];
    assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)!write(gate[1], "r", 1);
        for (;;)
            pause();
    }
    char byte;
    assert_int_equal(read(gate[0], &byte, 1), 1);
    close(gate[0]);
    close(gate[1]);
    close(fd);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_LOCKED);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_PREPARED);
}

static void a_program_we_start_does_not_inherit_the_lock(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    char name[] = "sleep", seconds[] = "30";
    char *argv[] = {name, seconds, NULL};
    char *envp[] = {NULL};
    pid_t pid = -1;
    int pid_fd = -1;
    assert_int_equal(process_spawn("/bin/sleep", argv, envp, -1, &pid, &pid_fd), 0);
    close(fd);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_PREPARED);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(pid_fd);
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void no_room_is_noticed_before_the_spend(void **state)
{
    struct fixture *f = *state;
    const rlim_t limits[] = {0, 100, BODY_AT, SPOOL_FILE_SIZE / 2, SPOOL_FILE_SIZE - 1};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        int fd = -1;
        limit_file_size(limits[i]);
        int err = spool_create(f->dir, INTENT, BOOT, &fd);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(err, ERR_FULL);
        assert_int_equal(fd, -1);
        assert_int_equal(look(f, BOOT, NULL), SPOOL_ABSENT);
    }
}

static void a_failed_answer_can_be_tried_again(void **state)
{
    struct fixture *f = *state;
    uint8_t answer[3000];
    answer_of(answer, sizeof(answer));
    int fd = create(f);
    assert_int_equal(spool_start(fd), 0);
    limit_file_size(BODY_AT + 1000);
    int err = spool_answer(fd, answer, sizeof(answer));
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(err, ERR_FULL);
    int raw = dup(fd);
    close(fd);
    assert_int_equal(spool_answer(raw, answer, sizeof(answer)), 0);
    close(raw);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_ANSWERED);
    assert_memory_equal(f->sealed.bytes, answer, sizeof(answer));
}

static void a_reader_without_room_says_so(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    assert_int_equal(spool_answer(fd, "0123456789", 10), 0);
    close(fd);
    struct buf small;
    buf_init(&small, 9);
    enum spool_stage stage = SPOOL_ABSENT;
    bool same;
    assert_true(spool_read(f->dir, INTENT, BOOT, &stage, &same, NULL, &small) < 0);
    assert_int_equal(small.len, 0);
    buf_release(&small);
}

static void only_spools_are_listed(void **state)
{
    struct fixture *f = *state;
    const char *others[] = {"feed000000000042.spoo", "FEED000000000042.spool",
                            "feed00000000004g.spool", "feed000000000042.spool.old", "mark"};
    for (size_t i = 0; i < 5; i++)
        close(openat(f->dir, others[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    for (uint64_t intent = 1; intent <= 3; intent++) {
        int fd = -1;
        assert_int_equal(spool_create(f->dir, intent << 60 | 5, BOOT, &fd), 0);
        close(fd);
    }
    uint64_t found[8] = {0};
    assert_int_equal(spool_list(f->dir, found, 8), 3);
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++)
        sum += found[i];
    assert_true(sum == (UINT64_C(6) << 60) + 15);
    assert_int_equal(spool_list(f->dir, found, 2), 2);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(unlinkat(f->dir, others[i], 0), 0);
}

static void what_is_set_aside_is_kept_and_seen_no_more(void **state)
{
    struct fixture *f = *state;
    enum spool_stage stage = SPOOL_TORN;
    bool same_boot = false;
    uint64_t found[2];
    int fd = -1;
    assert_int_equal(spool_create(f->dir, INTENT, BOOT, &fd), 0);
    assert_int_equal(spool_answer(fd, "sealed", 6), 0);
    close(fd);
    assert_int_equal(spool_set_aside(f->dir, INTENT), 0);
    assert_int_equal(spool_set_aside(f->dir, INTENT), 0); /* absent is fine */
    assert_int_equal(spool_list(f->dir, found, 2), 0);
    assert_int_equal(spool_read(f->dir, INTENT, BOOT, &stage, &same_boot, NULL, &f->sealed), 0);
    assert_int_equal(stage, SPOOL_ABSENT);
    assert_int_equal(spool_remove(f->dir, INTENT), 0);
    assert_int_equal(renameat(f->dir, "feed000000000042.aside", f->dir, NAME), 0);
    assert_int_equal(spool_read(f->dir, INTENT, BOOT, &stage, &same_boot, NULL, &f->sealed), 0);
    assert_int_equal(stage, SPOOL_ANSWERED);
}

/* ---- Taken back ----------------------------------------------------------------------------- */

static void what_was_taken_back_is_never_started(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_LOCKED);
    assert_int_equal(spool_withdraw(f->dir, INTENT), 0);
    bool same_boot = false;
    assert_int_equal(look(f, OTHER_BOOT, &same_boot), SPOOL_PREPARED); /* its lock means nothing */
    assert_true(same_boot);
    assert_int_equal(spool_start(fd), ERR_CONFLICT);
    assert_int_equal(spool_withdraw(f->dir, INTENT), 0); /* once more is fine */
    close(fd);
    assert_int_equal(look(f, OTHER_BOOT, &same_boot), SPOOL_PREPARED);
    assert_true(same_boot);
}

static void what_was_started_is_not_taken_back(void **state)
{
    struct fixture *f = *state;
    int fd = create(f);
    assert_int_equal(spool_start(fd), 0);
    assert_int_equal(spool_withdraw(f->dir, INTENT), ERR_LOCKED);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_LOCKED);
    assert_int_equal(spool_answer(fd, "sealed", 6), 0);
    assert_int_equal(spool_withdraw(f->dir, INTENT), ERR_LOCKED);
    close(fd);
    assert_int_equal(spool_withdraw(f->dir, INTENT), ERR_CONFLICT);
    assert_int_equal(look(f, BOOT, NULL), SPOOL_ANSWERED);
    assert_int_equal(spool_remove(f->dir, INTENT), 0);
    assert_int_equal(spool_withdraw(f->dir, INTENT), ERR_NOT_FOUND);
}

/* A holder that starts at any moment, and a daemon that takes it back at any other. */
static void of_start_and_taking_back_one_wins(void **state)
{
    struct fixture *f = *state;
    int started = 0;
    for (int round = 0; round < 120; round++) {
        int fd = create(f);
        int gate[2];
        assert_int_equal(pipe(gate), 0);
        pid_t pid = fork();
        if (pid == 0) {
            char go;
            (void)!read(gate[0], &go, 1);
            _exit(spool_start(fd) == 0);
        }
        close(fd);
        /* Every fourth time the start is surely first, every fourth surely last; the others race.
         */
        int status = -1, err = -1;
        bool first = round % 4 == 0, last = round % 4 == 1;
        if (last)
            err = spool_withdraw(f->dir, INTENT);
        assert_int_equal(write(gate[1], "g", 1), 1);
        if (first)
            assert_int_equal(waitpid(pid, &status, 0), pid);
        for (volatile int spin = 0; !first && !last && spin < round * 400; spin++)
            ;
        if (!last)
            err = spool_withdraw(f->dir, INTENT);
        if (!first)
            assert_int_equal(waitpid(pid, &status, 0), pid);
        bool has_started = WEXITSTATUS(status) == 1;
        if (err == 0)
            assert_false(has_started);
        else
            assert_true(err == ERR_CONFLICT || err == ERR_LOCKED);
        started += has_started;
        close(gate[0]);
        close(gate[1]);
        assert_int_equal(spool_remove(f->dir, INTENT), 0);
    }
    assert_in_range(started, 1, 119); /* both were seen */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_life_from_prepared_to_answered),
        TEST(an_intent_has_one_spool),
        TEST(a_spend_starts_once),
        TEST(an_answer_may_be_repeated_but_not_replaced),
        TEST(every_damaged_byte_is_torn),
        TEST(a_power_loss_in_the_answer_never_shows_a_wrong_one),
        TEST(a_file_that_was_cut_is_torn),
        TEST(a_spool_of_another_intent_is_torn),
        TEST(a_file_full_of_rubbish_is_torn_and_cannot_be_started),
        TEST(a_link_is_not_followed),
        TEST(a_folder_in_its_place_is_no_spool),
        TEST(for_want_of_descriptors_nothing_is_told),
        TEST(the_lock_travels_with_the_descriptor),
        TEST(a_message_nobody_reads_lets_the_lock_go),
        TEST(a_killed_holder_lets_the_lock_go),
        TEST(a_program_we_start_does_not_inherit_the_lock),
        TEST(no_room_is_noticed_before_the_spend),
        TEST(a_failed_answer_can_be_tried_again),
        TEST(a_reader_without_room_says_so),
        TEST(only_spools_are_listed),
        TEST(what_is_set_aside_is_kept_and_seen_no_more),
        TEST(what_was_taken_back_is_never_started),
        TEST(what_was_started_is_not_taken_back),
        TEST(of_start_and_taking_back_one_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * A lock that is a folder: one holder at a time, leftovers are taken over by one of many, and who
 * has lost it notices.
 */
#include "sys/folder_lock.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define STALE_MS 10000

/* The system, when it refuses: the next calls fail with this. */
static int rmdir_errno, stat_errno, rename_errno;

int rmdir(const char *path)
{
    errno = rmdir_errno;
    return rmdir_errno != 0 ? -1 : unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
    errno = rename_errno;
    return rename_errno != 0 ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int fstatat(int dir, const char *path, struct stat *ret, int flags)
{
    static int (*next)(int, const char *, struct stat *, int);
    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, sizeof(long) == 8 ? "fstatat64" : "fstatat");
    }
    errno = stat_errno;
    return stat_errno != 0 ? -1 : next(dir, path, ret, flags);
}

struct place {
    char dir[40];
    char lock[64];
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return -1;
    }
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/credwarden-lock-XXXXXX");
    *state = p;
    if (mkdtemp(p->dir) == NULL) {
        return -1;
    }
    (void)snprintf(p->lock, sizeof(p->lock), "%s/.oauth_refresh.lock", p->dir);
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    int r = rmdir(p->dir); /* fails when anything was left */
    free(p);
    return r;
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Somebody else's, last touched so long ago. */
static void make_aged(const char *path, int64_t age_ms)
{
    int64_t at = now_ms() - age_ms;
    struct timespec times[2] = {{.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000},
                                {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000}};
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int take(const struct place *p, struct folder_lock *ret, struct err_text *why)
{
    why->text[0] = '\0';
    return folder_lock_take(p->lock, STALE_MS, now_ms(), ret, why);
}

static void one_holds_it_at_a_time(void **state)
{
    const struct place *p = *state;
    struct folder_lock ours, second;
    struct err_text why;
    struct stat st;
    assert_int_equal(take(p, &ours, &why), 0);
    assert_int_equal(stat(p->lock, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(take(p, &second, &why), ERR_LOCKED);
    assert_non_null(strstr(why.text, ".oauth_refresh.lock"));
    assert_int_equal(folder_lock_touch(&ours), 0);
    folder_lock_give(&ours);
    assert_int_equal(stat(p->lock, &st), -1);
    assert_int_equal(take(p, &second, &why), 0);
    folder_lock_give(&ours); /* not held: nothing */
    assert_int_equal(folder_lock_touch(&second), 0);
    folder_lock_give(&second);
}

static void a_leftover_is_taken_over_and_a_fresh_one_is_not(void **state)
{
    const struct place *p = *state;
    struct folder_lock ours;
    struct err_text why;
    make_aged(p->lock, STALE_MS / 2);
    assert_int_equal(take(p, &ours, &why), ERR_LOCKED);
    assert_int_equal(rmdir(p->lock), 0);
    make_aged(p->lock, STALE_MS + 1000);
    assert_int_equal(take(p, &ours, &why), 0);
    folder_lock_give(&ours);
}

static void what_nobody_gets_past_is_told(void **state)
{
    const struct place *p = *state;
    struct folder_lock ours;
    struct err_text why;
    char inside[96];
    make_aged(p->lock, -24 * INT64_C(3600000));
    assert_int_equal(take(p, &ours, &why), ERR_LOCKED);
    assert_non_null(strstr(why.text, "dated in the future"));
    assert_int_equal(rmdir(p->lock), 0);

    int fd = open(p->lock, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(take(p, &ours, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "remove it"));
    assert_int_equal(unlink(p->lock), 0);

    make_aged(p->lock, STALE_MS);
    (void)snprintf(inside, sizeof(inside), "%s/x", p->lock);
    assert_int_equal(mkdir(inside, 0700), 0);
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, p->lock, old, 0), 0);
    assert_int_equal(take(p, &ours, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "not empty"));
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rmdir(p->lock), 0);

    assert_int_equal(folder_lock_take("/nowhere/at/all", STALE_MS, now_ms(), &ours, &why),
                     ERR_NOT_FOUND);
}

/* Also where the file system gives the new folder the number of the old one. */
static void whoever_has_lost_it_notices_and_leaves_it_alone(void **state)
{
    const struct place *p = *state;
    struct folder_lock ours;
    struct err_text why;
    struct stat st;
    assert_int_equal(take(p, &ours, &why), 0);
    assert_int_equal(rmdir(p->lock), 0);
    assert_int_equal(folder_lock_touch(&ours), ERR_CONFLICT);

    assert_int_equal(take(p, &ours, &why), 0);
    (void)usleep(20000);
    assert_int_equal(rmdir(p->lock), 0);
    assert_int_equal(mkdir(p->lock, 0700), 0);
    folder_lock_give(&ours);
    assert_int_equal(stat(p->lock, &st), 0);
    assert_int_equal(folder_lock_touch(&ours), ERR_CONFLICT);
    assert_int_equal(rmdir(p->lock), 0);
}

/* ---- many at once ---- */

struct shared {
    int inside, most, rounds;
};

/* In the child: it has no way to fail but its exit status. */
static void contend(const struct place *p, struct shared *shared, int rounds)
{
    for (int won = 0; won < rounds;) {
        struct folder_lock lock;
        if (folder_lock_take(p->lock, STALE_MS, now_ms(), &lock, NULL) != 0) {
            (void)usleep(50);
            continue;
        }
        int inside = __atomic_add_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST);
        if (inside > shared->most) {
            shared->most = inside;
        }
        if (won % 8 == 0 && folder_lock_touch(&lock) != 0) {
            _exit(1);
        }
        (void)__atomic_sub_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST);
        (void)__atomic_add_fetch(&shared->rounds, 1, __ATOMIC_SEQ_CST);
        folder_lock_give(&lock);
        won++;
    }
    _exit(0);
}

static void in_a_crowd_nobody_meets_another_inside(void **state)
{
    enum { CROWD = 4, ROUNDS = 250 };
    const struct place *p = *state;
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    make_aged(p->lock, STALE_MS * 2); /* all begin with a leftover */
    for (int i = 0; i < CROWD; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            contend(p, shared, ROUNDS);
        }
    }
    for (int i = 0; i < CROWD; i++) {
        int status = 0;
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(shared->rounds, CROWD * ROUNDS);
    assert_int_equal(shared->most, 1);
    assert_int_equal(munmap(shared, sizeof(*shared)), 0);
}

struct noted {
    struct folder_lock lock;
    struct buf lines;
};

static void write_down(void *ctx)
{
    struct noted *n = ctx;
    buf_clear(&n->lines);
    assert_int_equal(folder_lock_remember(&n->lock, &n->lines), 0);
}

/* The program died with it; its next run reads what it had written down. */
static void what_a_dead_program_held_is_given_back_if_it_is_still_the_same(void **state)
{
    const struct place *p = *state;
    struct noted n;
    struct err_text text;
    struct stat st;
    buf_init(&n.lines, 64 * 1024);
    assert_int_equal(
        folder_lock_take_noted(p->lock, STALE_MS, now_ms(), write_down, &n, &n.lock, &text), 0);
    assert_int_equal(stat(p->lock, &st), 0);
    assert_int_equal(buf_add_str(&n.lines, "no line of ours\n1 2 3 /nowhere\n17 18 torn"), 0);
    folder_lock_reclaim(buf_text(&n.lines), n.lines.len);
    assert_int_not_equal(stat(p->lock, &st), 0);
    make_aged(p->lock, 1000); /* somebody else's, perhaps of the same number */
    folder_lock_reclaim(buf_text(&n.lines), n.lines.len);
    assert_int_equal(stat(p->lock, &st), 0);
    assert_int_equal(rmdir(p->lock), 0);
    buf_release(&n.lines);
}

static void die_while_making(void *ctx)
{
    struct noted *n = ctx;
    write_down(ctx);
    if (n->lock.ino == 0) { /* as if it were made, and that not written down any more */
        assert_int_equal(mkdir(n->lock.made_as, 0700), 0);
    }
}

static void what_a_dead_program_was_just_making_goes_as_well(void **state)
{
    const struct place *p = *state;
    struct noted n;
    struct err_text text;
    struct stat st;
    char made_as[600];
    buf_init(&n.lines, 64 * 1024);
    n.lock = (struct folder_lock){.path = ""};
    /* It meets its own name, and makes the lock at once. */
    assert_int_equal(
        folder_lock_take_noted(p->lock, STALE_MS, now_ms(), die_while_making, &n, &n.lock, &text),
        0);
    assert_int_equal(sscanf(buf_text(&n.lines), "0 0 0 %599s", made_as), 1);
    assert_int_equal(stat(made_as, &st), 0);
    folder_lock_reclaim(buf_text(&n.lines), n.lines.len);
    assert_int_not_equal(stat(made_as, &st), 0);
    assert_int_equal(stat(p->lock, &st), 0);
    folder_lock_give(&n.lock);
    buf_release(&n.lines);
}

static void one_that_is_noted_is_taken_and_refused_like_any_other(void **state)
{
    const struct place *p = *state;
    struct noted n;
    struct folder_lock other;
    struct err_text text;
    buf_init(&n.lines, 64 * 1024);
    make_aged(p->lock, STALE_MS * 2);
    assert_int_equal(
        folder_lock_take_noted(p->lock, STALE_MS, now_ms(), write_down, &n, &n.lock, &text), 0);
    assert_int_equal(folder_lock_take(p->lock, STALE_MS, now_ms(), &other, &text), ERR_LOCKED);
    assert_int_equal(folder_lock_touch(&n.lock), 0);
    folder_lock_give(&n.lock);
    assert_int_equal(folder_lock_take(p->lock, STALE_MS, now_ms(), &other, &text), 0);
    assert_int_equal(
        folder_lock_take_noted(p->lock, STALE_MS, now_ms(), write_down, &n, &n.lock, &text),
        ERR_LOCKED);
    folder_lock_give(&other);
    buf_release(&n.lines);
}

static void what_cannot_be_given_back_is_held_until_it_can(void **state)
{
    const struct place *p = *state;
    struct noted n;
    struct err_text text;
    struct stat st;
    buf_init(&n.lines, 64 * 1024);
    assert_int_equal(
        folder_lock_take_noted(p->lock, STALE_MS, now_ms(), write_down, &n, &n.lock, &text), 0);
    rmdir_errno = EACCES;
    assert_int_equal(folder_lock_give(&n.lock), ERR_DENIED);
    rmdir_errno = 0;
    stat_errno = EIO;
    assert_int_equal(folder_lock_give(&n.lock), ERR_IO);
    stat_errno = 0;
    assert_int_equal(stat(p->lock, &st), 0);
    write_down(&n);
    assert_true(n.lines.len > 0);
    assert_int_equal(folder_lock_give(&n.lock), 0);
    assert_int_equal(stat(p->lock, &st), -1);
    write_down(&n);
    assert_int_equal(n.lines.len, 0);

    assert_int_equal(take(p, &n.lock, &text), 0);
    rmdir_errno = ENOTEMPTY; /* that is nobody's who gives it back */
    assert_int_equal(folder_lock_give(&n.lock), 0);
    rmdir_errno = 0;
    assert_int_equal(folder_lock_give(&n.lock), 0);
    assert_int_equal(rmdir(p->lock), 0);
    buf_release(&n.lines);
}

static int files_in(const char *path)
{
    int n = -2; /* itself, and the one above */
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

static void refuse_to_look(void *ctx)
{
    write_down(ctx);
    stat_errno = EIO;
}

static void one_that_cannot_be_looked_at_is_not_left(void **state)
{
    const struct place *p = *state;
    struct noted n = {.lock = {.path = ""}};
    struct err_text text;
    buf_init(&n.lines, 64 * 1024);
    stat_errno = EIO;
    assert_int_equal(take(p, &n.lock, &text), ERR_IO);
    stat_errno = 0;
    assert_int_equal(files_in(p->dir), 0);
    assert_int_equal(
        folder_lock_take_noted(p->lock, STALE_MS, now_ms(), refuse_to_look, &n, &n.lock, &text),
        ERR_IO);
    stat_errno = 0;
    assert_int_equal(files_in(p->dir), 0);
    buf_release(&n.lines);
}

static void refuse_to_remove(void *ctx)
{
    write_down(ctx);
    rmdir_errno = EIO;
}

/* Somebody was faster, and what it was made as cannot be removed: it is told, and given later. */
static void what_did_not_get_its_name_goes_as_well(void **state)
{
    const struct place *p = *state;
    struct noted n = {.lock = {.path = ""}};
    struct err_text text;
    buf_init(&n.lines, 64 * 1024);
    rename_errno = EACCES;
    assert_int_equal(
        folder_lock_take_noted(p->lock, STALE_MS, now_ms(), refuse_to_remove, &n, &n.lock, &text),
        ERR_DENIED);
    rename_errno = 0;
    assert_int_equal(files_in(p->dir), 1);
    assert_int_equal(folder_lock_give(&n.lock), ERR_IO);
    rmdir_errno = 0;
    write_down(&n);
    assert_true(n.lines.len > 0);
    assert_int_equal(folder_lock_give(&n.lock), 0);
    assert_int_equal(files_in(p->dir), 0);
    buf_release(&n.lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_holds_it_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leftover_is_taken_over_and_a_fresh_one_is_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_nobody_gets_past_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(whoever_has_lost_it_notices_and_leaves_it_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            what_a_dead_program_held_is_given_back_if_it_is_still_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_dead_program_was_just_making_goes_as_well, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_that_is_noted_is_taken_and_refused_like_any_other,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_given_back_is_held_until_it_can, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_that_cannot_be_looked_at_is_not_left, setup, teardown),
        cmocka_unit_test_setup_teardown(what_did_not_get_its_name_goes_as_well, setup, teardown),
        cmocka_unit_test_setup_teardown(in_a_crowd_nobody_meets_another_inside, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

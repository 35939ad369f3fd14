/*
 * A client's store as a file: read, and replaced by compare-and-swap under the client's own locks.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "json/json.h"
#include "replica/replica.h"

#define NOW_MS INT64_C(1800000000000)
#define FIRST                                                                                      \
    "{\"mcpOAuth\":{ \"n\":1e400 },\"claudeAiOauth\":{\"accessToken\":\"a1\","                     \
    "\"refreshToken\":\"r1\",\"expiresAt\":1800000000000}}"
#define FIRST_OK                                                                                   \
    "{\"mcpOAuth\":{ \"n\":10 },\"claudeAiOauth\":{\"accessToken\":\"a1\","                        \
    "\"refreshToken\":\"r1\",\"expiresAt\":1800000000000}}"
#define SECOND                                                                                     \
    "{\"mcpOAuth\":{ \"n\":10 },\"claudeAiOauth\":{\"accessToken\":\"a2\","                        \
    "\"refreshToken\":\"r2\",\"expiresAt\":1800000000000}}"

/* The system, when it refuses. */
static int rmdir_errno, stat_errno;

int fstatat(int dir, const char *path, struct stat *ret, int flags)
{
    static int (*next)(int, const char *, struct stat *, int);
    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, sizeof(long) == 8 ? "fstatat64" : "fstatat");
    }
    errno = stat_errno;
    return stat_errno != 0 ? -1 : next(dir, path, ret, flags);
}

int rmdir(const char *path)
{
    errno = rmdir_errno;
    return rmdir_errno != 0 ? -1 : unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

struct place {
    char dir[40];      /* with the client's folder, and whatever else, in it */
    char folder[64];   /* dir/.claude */
    char store[96];    /* … /.credentials.json */
    char sibling[128]; /* where a test keeps another name */
    struct replica *r;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return -1;
    }
    (void)umask(022);
    *state = p;
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/credwarden-replica-XXXXXX");
    if (mkdtemp(p->dir) == NULL) {
        return -1;
    }
    (void)snprintf(p->folder, sizeof(p->folder), "%s/.claude", p->dir);
    (void)snprintf(p->store, sizeof(p->store), "%s/.credentials.json", p->folder);
    (void)snprintf(p->sibling, sizeof(p->sibling), "%s/kept.json", p->dir);
    return mkdir(p->folder, 0700) != 0 ||
           replica_open(format_find("claude"), p->folder, &p->r, NULL) != 0;
}

/* Fails when a lock, or a file that was being written, was left. */
static int teardown(void **state)
{
    struct place *p = *state;
    replica_free(p->r);
    (void)unlink(p->store);
    (void)unlink(p->sibling);
    int r = rmdir(p->folder) != 0 || rmdir(p->dir) != 0;
    free(p);
    return r;
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void write_text(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect_text(const char *path, const char *text)
{
    char found[1024] = "";
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(found, 1, sizeof(found) - 1, f);
    (void)fclose(f);
    found[n] = '\0';
    assert_string_equal(found, text);
}

static enum seen look(const struct place *p)
{
    struct copy c;
    struct err_text why = {""};
    copy_init(&c);
    assert_int_equal(replica_look(p->r, &c, &why), 0);
    enum seen what = c.what;
    copy_clear(&c);
    return what;
}

static int put(const struct place *p, struct err_text *why)
{
    struct copy c;
    copy_init(&c);
    c.what = SEEN_PAIR;
    c.expires_wall_ms = NOW_MS;
    assert_int_equal(secret_set(&c.tokens.access, "a2", 2), 0);
    assert_int_equal(secret_set(&c.tokens.refresh, "r2", 2), 0);
    int err = replica_put(p->r, &c, NOW_MS, why);
    copy_clear(&c);
    return err;
}

static void lock_and_look(const struct place *p, enum seen what)
{
    struct err_text why = {""};
    assert_int_equal(replica_lock(p->r, now_ms(), &why), 0);
    assert_int_equal(look(p), what);
}

static void a_copy_is_put_where_another_was_seen(void **state)
{
    const struct place *p = *state;
    struct err_text why = {""};
    struct stat st;
    write_text(p->store, FIRST_OK, 0640);
    lock_and_look(p, SEEN_PAIR);
    assert_int_equal(put(p, &why), 0);
    replica_unlock(p->r);
    expect_text(p->store, SECOND);
    assert_int_equal(stat(p->store, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
}

static void where_there_was_no_store_there_is_one(void **state)
{
    const struct place *p = *state;
    struct err_text why = {""};
    struct stat st;
    lock_and_look(p, SEEN_GONE);
    assert_int_equal(put(p, &why), 0);
    replica_unlock(p->r);
    expect_text(p->store, "{\"claudeAiOauth\":{\"accessToken\":\"a2\",\"refreshToken\":\"r2\","
                          "\"expiresAt\":1800000000000}}");
    assert_int_equal(stat(p->store, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_link_stays_a_link(void **state)
{
    const struct place *p = *state;
    struct err_text why = {""};
    struct stat st;
    write_text(p->sibling, FIRST_OK, 0600);
    assert_int_equal(symlink("../kept.json", p->store), 0);
    lock_and_look(p, SEEN_PAIR);
    assert_int_equal(put(p, &why), 0);
    replica_unlock(p->r);
    assert_int_equal(lstat(p->store, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    expect_text(p->sibling, SECOND);
}

static void what_stands_there_already_is_not_written(void **state)
{
    const struct place *p = *state;
    struct err_text why = {""};
    struct stat before, after;
    write_text(p->store, SECOND, 0600);
    assert_int_equal(stat(p->store, &before), 0);
    lock_and_look(p, SEEN_PAIR);
    assert_int_equal(put(p, &why), 0);
    replica_unlock(p->r);
    assert_int_equal(stat(p->store, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

/* Somebody who does not care for locks. */
static void who_was_faster_is_not_overwritten(void **state)
{
    const struct place *p = *state;
    static const char theirs[] = "{\"claudeAiOauth\":{\"accessToken\":\"a3\"}}";
    struct err_text why = {""};
    write_text(p->store, FIRST_OK, 0600);
    lock_and_look(p, SEEN_PAIR);
    write_text(p->store, theirs, 0600);
    assert_int_equal(put(p, &why), ERR_CONFLICT);
    assert_non_null(strstr(why.text, "somebody else"));
    replica_unlock(p->r);
    expect_text(p->store, theirs);

    lock_and_look(p, SEEN_PAIR);
    assert_int_equal(unlink(p->store), 0);
    assert_int_equal(put(p, &why), ERR_CONFLICT);
    replica_unlock(p->r);
    assert_int_equal(access(p->store, F_OK), -1);
}

static void the_clients_locks_are_taken_and_given_back(void **state)
{
    const struct place *p = *state;
    static const char *const names[] = {".claude/.oauth_refresh.lock", ".claude.lock",
                                        ".claude/.storage-write.lock"};
    struct err_text why = {""};
    struct stat st;
    char path[128];
    lock_and_look(p, SEEN_GONE);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_true(S_ISDIR(st.st_mode));
    }
    replica_unlock(p->r);
    for (size_t i = 0; i < 3; i++) { /* each of them held by the client: none is left by us */
        (void)snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        assert_int_equal(stat(path, &st), -1);
        assert_int_equal(mkdir(path, 0755), 0);
        assert_int_equal(replica_lock(p->r, now_ms(), &why), ERR_LOCKED);
        assert_non_null(strstr(why.text, names[i]));
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(rmdir(p->folder), 0);
        assert_int_equal(mkdir(p->folder, 0700), 0);
    }
}

static void who_has_lost_a_lock_writes_nothing(void **state)
{
    const struct place *p = *state;
    struct err_text why = {""};
    char path[128];
    write_text(p->store, FIRST_OK, 0600);
    lock_and_look(p, SEEN_PAIR);
    (void)snprintf(path, sizeof(path), "%s.lock", p->folder);
    (void)usleep(20000);
    assert_int_equal(rmdir(path), 0); /* taken over, after a suspend of ours */
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(put(p, &why), ERR_CONFLICT);
    replica_unlock(p->r);
    expect_text(p->store, FIRST_OK);
    assert_int_equal(rmdir(path), 0); /* theirs: still there */
}

/* As long as it is refused, nothing else is locked either; and nothing is left when it is not. */
static void a_lock_that_cannot_be_given_back_is_given_back_later(void **state)
{
    const struct place *p = *state;
    struct err_text why = {""};
    struct buf lines;
    buf_init(&lines, 64 * 1024);
    lock_and_look(p, SEEN_GONE);
    rmdir_errno = EACCES;
    assert_int_equal(replica_unlock(p->r), ERR_DENIED);
    assert_int_equal(replica_lock(p->r, now_ms(), &why), ERR_DENIED);
    assert_non_null(strstr(why.text, ".oauth_refresh.lock: we cannot give this lock back"));
    assert_int_equal(replica_remember_locks(p->r, &lines), 0);
    assert_non_null(strstr(buf_text(&lines), ".storage-write.lock"));
    rmdir_errno = 0;
    lock_and_look(p, SEEN_GONE);
    assert_int_equal(replica_unlock(p->r), 0);
    buf_release(&lines);
}

static void a_lock_that_cannot_be_looked_at_is_not_called_lost(void **state)
{
    const struct place *p = *state;
    struct err_text why = {""};
    write_text(p->store, FIRST_OK, 0600);
    lock_and_look(p, SEEN_PAIR);
    stat_errno = EIO;
    assert_int_equal(put(p, &why), ERR_IO);
    stat_errno = 0;
    assert_non_null(strstr(why.text, "a lock of the client cannot be kept: "));
    assert_int_equal(replica_unlock(p->r), 0);
    expect_text(p->store, FIRST_OK);
}

static void codexs_locks_are_files(void **state)
{
    const struct place *p = *state;
    struct err_text why = {""};
    struct replica *r = NULL;
    char path[128], second[128];
    assert_int_equal(replica_open(format_find("codex"), p->folder, &r, NULL), 0);
    (void)snprintf(path, sizeof(path), "%s/auth.lock", p->folder);
    (void)snprintf(second, sizeof(second), "%s/auth.json.lock", p->folder);
    int fd = open(second, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(replica_lock(r, now_ms(), &why), ERR_LOCKED);
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_int_equal(replica_lock(r, now_ms(), &why), 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    replica_unlock(r);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    (void)close(fd);
    replica_free(r);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(second), 0);
}

static void what_cannot_be_looked_at_says_why(void **state)
{
    const struct place *p = *state;
    struct copy c;
    struct err_text why = {""};
    copy_init(&c);
    assert_int_equal(symlink(".credentials.json", p->store), 0);
    assert_int_equal(replica_look(p->r, &c, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, ".credentials.json"));
    assert_int_equal(unlink(p->store), 0);
    assert_int_equal(symlink("/nowhere/at/all", p->store), 0);
    assert_int_equal(replica_look(p->r, &c, &why), ERR_INVALID);
    assert_int_equal(unlink(p->store), 0);
    assert_int_equal(mkdir(p->store, 0700), 0);
    assert_int_equal(replica_look(p->r, &c, &why), ERR_INVALID);
    assert_int_equal(rmdir(p->store), 0);

    write_text(p->store, "", 0600);
    assert_int_equal(truncate(p->store, INT64_C(100) << 20), 0);
    assert_int_equal(replica_look(p->r, &c, &why), ERR_TOO_LARGE);
    assert_int_equal(truncate(p->store, 0), 0);
    assert_int_equal(replica_look(p->r, &c, &why), 0);
    assert_int_equal(c.what, SEEN_TORN);
    write_text(p->store, FIRST, 0600); /* a number no machine has */
    assert_int_equal(replica_look(p->r, &c, &why), 0);
    assert_int_equal(c.what, SEEN_TORN);
    assert_non_null(strstr(why.text, "a number too large"));
    copy_clear(&c);

    assert_int_equal(replica_open(format_find("claude"), "not/absolute", NULL, &why), ERR_INVALID);
}

/* ---- among clients that are at it, too ---- */

/* Counts up in the access token: who overwrites somebody loses a count. */
enum { OURS = 2, SIBLINGS = 2, ROUNDS = 250 };

static int taken_up(const char *path)
{
    for (int i = 0; i < 16000; i++) { /* the client's patience: 8 s */
        if (mkdir(path, 0755) == 0) {
            return 0;
        }
        (void)usleep(500);
    }
    return -1;
}

/* As the client was seen to do it, without a line of ours: refresh lock, legacy lock (waiting for
 * it gives the first one back), write lock; read inside; a file beside, renamed. */
static int sibling_counts(const struct place *p)
{
    char first[128], legacy[128], last[128], temp[128], text[256];
    (void)snprintf(first, sizeof(first), "%s/.oauth_refresh.lock", p->folder);
    (void)snprintf(legacy, sizeof(legacy), "%s.lock", p->folder);
    (void)snprintf(last, sizeof(last), "%s/.storage-write.lock", p->folder);
    (void)snprintf(temp, sizeof(temp), "%s.tmp.%lx", p->store, (unsigned long)getpid());
    for (;;) {
        if (taken_up(first) != 0) {
            return 1;
        }
        if (mkdir(legacy, 0755) == 0) {
            break;
        }
        (void)rmdir(first);
        (void)usleep(500);
    }
    char found[256] = "";
    FILE *f = taken_up(last) == 0 ? fopen(p->store, "re") : NULL;
    if (f == NULL || fgets(found, sizeof(found), f) == NULL) {
        return 1;
    }
    const char *count = strstr(found, ":\"a");
    long n = count != NULL ? strtol(count + 3, NULL, 10) : -1;
    (void)fclose(f);
    (void)snprintf(text, sizeof(text), "{\"claudeAiOauth\":{\"accessToken\":\"a%ld\"}}", n + 1);
    f = fopen(temp, "we");
    bool is_written =
        f != NULL && fputs(text, f) >= 0 && fclose(f) == 0 && rename(temp, p->store) == 0;
    return !is_written || rmdir(last) != 0 || rmdir(legacy) != 0 || rmdir(first) != 0;
}

static int we_count(const struct place *p, int64_t *longest_us)
{
    struct copy c;
    struct timespec from, to;
    char next[32];
    int tries = 0, err;
    copy_init(&c);
    while ((err = replica_lock(p->r, now_ms(), NULL)) == ERR_LOCKED && tries++ < 16000) {
        (void)usleep(500);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    if (err != 0 || replica_look(p->r, &c, NULL) != 0 || c.what != SEEN_PAIR) {
        return 1;
    }
    (void)snprintf(next, sizeof(next), "a%ld", strtol(c.tokens.access.bytes + 1, NULL, 10) + 1);
    err = secret_set(&c.tokens.access, next, strlen(next));
    err = err != 0 ? err : replica_put(p->r, &c, now_ms(), NULL);
    replica_unlock(p->r);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    int64_t us = (to.tv_sec - from.tv_sec) * INT64_C(1000000) + (to.tv_nsec - from.tv_nsec) / 1000;
    *longest_us = us > *longest_us ? us : *longest_us;
    copy_clear(&c);
    return err;
}

static void take_turns(const struct place *p, bool is_ours)
{
    int64_t longest_us = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if ((is_ours ? we_count(p, &longest_us) : sibling_counts(p)) != 0) {
            _exit(1);
        }
    }
    if (is_ours) {
        (void)printf("# the locks were held for %lld us at most\n", (long long)longest_us);
        (void)fflush(stdout);
    }
    _exit(0);
}

static void nobody_loses_a_turn_among_clients(void **state)
{
    const struct place *p = *state;
    char text[128];
    write_text(p->store, "{\"claudeAiOauth\":{\"accessToken\":\"a0\"}}", 0600);
    for (int i = 0; i < OURS + SIBLINGS; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            take_turns(p, i < OURS);
        }
    }
    for (int i = 0; i < OURS + SIBLINGS; i++) {
        int status = 0;
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    struct copy c;
    copy_init(&c);
    assert_int_equal(replica_look(p->r, &c, NULL), 0);
    (void)snprintf(text, sizeof(text), "a%d", (OURS + SIBLINGS) * ROUNDS);
    assert_string_equal(c.tokens.access.bytes, text);
    copy_clear(&c);
}

int main(void)
{
    json_use_secret_memory();
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        STORY(a_copy_is_put_where_another_was_seen),
        STORY(where_there_was_no_store_there_is_one),
        STORY(a_link_stays_a_link),
        STORY(what_stands_there_already_is_not_written),
        STORY(who_was_faster_is_not_overwritten),
        STORY(the_clients_locks_are_taken_and_given_back),
        STORY(who_has_lost_a_lock_writes_nothing),
        STORY(a_lock_that_cannot_be_given_back_is_given_back_later),
        STORY(a_lock_that_cannot_be_looked_at_is_not_called_lost),
        STORY(codexs_locks_are_files),
        STORY(what_cannot_be_looked_at_says_why),
        STORY(nobody_loses_a_turn_among_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

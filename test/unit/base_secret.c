/*
 * Secret memory: wiped before it is met again, locked, kept out of dumps and of children, and
 * shared by threads.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/secret.h"

static bool is_filled(const uint8_t *p, uint8_t with, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != with) {
            return false;
        }
    }
    return true;
}

static void freed_memory_comes_back_as_zeroes(void **state)
{
    (void)state;
    void *anchor = secret_alloc(1); /* keeps the slab mapped: a fresh one would be zero anyway */
    for (size_t size = 1; size < 30000; size = size * 3 + 1) {
        uint8_t *p = secret_alloc(size);
        assert_non_null(p);
        assert_true(is_filled(p, 0, size));
        memset(p, 0xa5, size);
        secret_free(p);
        uint8_t *again = secret_alloc(size);
        assert_ptr_equal(again, p);
        assert_true(is_filled(again, 0, size));
        secret_free(again);
    }
    secret_free(anchor);
    secret_free(NULL);
}

static void sizes_have_limits(void **state)
{
    (void)state;
    assert_null(secret_alloc(0));
    assert_null(secret_alloc((size_t)SECRET_MAX + 1));
    assert_null(secret_alloc(SIZE_MAX));
    uint8_t *p = secret_alloc(SECRET_MAX);
    assert_non_null(p);
    memset(p, 1, SECRET_MAX);
    assert_null(secret_realloc(p, SIZE_MAX));
    assert_true(is_filled(p, 1, SECRET_MAX));
    secret_free(p);
}

static void many_live_side_by_side(void **state)
{
    (void)state;
    enum { N = 700 };
    static uint8_t *live[N];
    static size_t sizes[N];
    for (size_t i = 0; i < N; i++) {
        sizes[i] = 1 + i * 131 % 1500;
        live[i] = secret_alloc(sizes[i]);
        assert_non_null(live[i]);
        memset(live[i], (int)(i % 251 + 1), sizes[i]);
    }
    for (size_t i = 0; i < N; i += 2) { /* holes, filled again by others */
        assert_true(is_filled(live[i], (uint8_t)(i % 251 + 1), sizes[i]));
        secret_free(live[i]);
        sizes[i] = 1 + i * 37 % 3000;
        live[i] = secret_alloc(sizes[i]);
        assert_true(is_filled(live[i], 0, sizes[i]));
        memset(live[i], (int)(i % 251 + 1), sizes[i]);
    }
    for (size_t i = 0; i < N; i++) {
        assert_true(is_filled(live[i], (uint8_t)(i % 251 + 1), sizes[i]));
        secret_free(live[i]);
    }
}

static void growing_moves_and_wipes_shrinking_wipes_the_tail(void **state)
{
    (void)state;
    void *anchor = secret_alloc(1);
    uint8_t *p = secret_realloc(NULL, 100);
    memset(p, 7, 100);
    uint8_t *moved = secret_realloc(p, 5000);
    assert_ptr_not_equal(moved, p);
    assert_true(is_filled(moved, 7, 100));
    uint8_t *old_place = secret_alloc(100);
    assert_ptr_equal(old_place, p);
    assert_true(is_filled(old_place, 0, 100));
    secret_free(old_place);

    memset(moved, 7, 5000);
    assert_ptr_equal(secret_realloc(moved, 10), moved);
    assert_ptr_equal(secret_realloc(moved, 5000), moved);
    assert_true(is_filled(moved, 7, 10));
    assert_true(is_filled(moved + 10, 0, 4990));
    uint8_t *large = secret_realloc(moved, 500000);
    assert_true(is_filled(large, 7, 10));
    secret_free(large);
    secret_free(anchor);
}

/* A number of /proc/self/status, in KiB; -1 when there is none. */
static long status_kib(const char *field)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && kib < 0 && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            kib = strtol(line + strlen(field), NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib;
}

/* The sanitizers turn mlock() into nothing that succeeds. */
static bool locking_shows(void)
{
    void *p = secret_alloc(1);
    long kib = status_kib("VmLck:");
    secret_free(p);
    return secret_is_locked() && kib > 0;
}

static void large_ones_are_locked_and_given_back(void **state)
{
    (void)state;
    if (!locking_shows()) {
        print_message("SKIPPED: memory cannot be locked here\n");
        skip();
    }
    void *anchor = secret_alloc(1);
    long before = status_kib("VmLck:");
    assert_true(before > 0 && before <= 192); /* a small footprint when little is held */
    void *p = secret_alloc(1024 * 1024);
    assert_true(status_kib("VmLck:") >= before + 1024);
    secret_free(p);
    assert_int_equal(status_kib("VmLck:"), before);
    secret_free(anchor);
}

/* The VmFlags line of the mapping that holds p, or "". */
static void vm_flags(const void *p, char *ret, size_t size)
{
    char line[512];
    bool is_here = false;
    ret[0] = '\0';
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        char *dash = NULL;
        char *end = NULL;
        uintptr_t from = strtoul(line, &dash, 16);
        uintptr_t to = *dash == '-' ? strtoul(dash + 1, &end, 16) : 0;
        if (end != NULL && *end == ' ') {
            is_here = (uintptr_t)p >= from && (uintptr_t)p < to;
        } else if (is_here && strncmp(line, "VmFlags:", 8) == 0) {
            (void)snprintf(ret, size, "%s", line);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

static void the_kernel_keeps_it_out_of_dumps_and_children(void **state)
{
    (void)state;
    char flags[512];
    uint8_t *p = secret_alloc(32);
    memset(p, 9, 32);
    vm_flags(p, flags, sizeof(flags));
    if (flags[0] == '\0') {
        secret_free(p);
        print_message("SKIPPED: this kernel does not tell a mapping's flags\n");
        skip();
    }
    assert_non_null(strstr(flags, " dd"));
    assert_non_null(strstr(flags, " wf"));
    if (locking_shows()) {
        assert_non_null(strstr(flags, " lo"));
    }
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(is_filled(p, 0, 32) ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(is_filled(p, 9, 32));
    secret_free(p);
}

static int run_without_lockable_memory(void)
{
    const struct rlimit none = {0};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && setuid(65534) != 0)) {
        return 2;
    }
    uint8_t *p = secret_alloc(100000);
    if (p == NULL || secret_is_locked()) {
        return 1;
    }
    memset(p, 1, 100000);
    secret_free(p);
    return 0;
}

static void without_lockable_memory_it_works_and_says_so(void **state)
{
    (void)state;
    if (!locking_shows()) {
        print_message("SKIPPED: memory cannot be locked here\n");
        skip();
    }
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(run_without_lockable_memory());
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Ends a child by what it does to p; the status of its end. */
static int end_of_child(void *p, ptrdiff_t offset, int times)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit none = {0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(2);
        for (int i = 0; i < times; i++) {
            secret_free((char *)p + offset);
        }
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void wrong_frees_stop_the_program(void **state)
{
    (void)state;
    char outside[64];
    void *anchor = secret_alloc(1);
    void *p = secret_alloc(200);
    assert_int_equal(end_of_child(p, 0, 1), 0);
    int twice = end_of_child(p, 0, 2);
    int inside = end_of_child(p, 64, 1);
    int skewed = end_of_child(p, 1, 1);
    int foreign = end_of_child(outside, 0, 1);
    assert_true(WIFSIGNALED(twice) && WTERMSIG(twice) == SIGABRT);
    assert_true(WIFSIGNALED(inside) && WTERMSIG(inside) == SIGABRT);
    assert_true(WIFSIGNALED(skewed) && WTERMSIG(skewed) == SIGABRT);
    assert_true(WIFSIGNALED(foreign) && WTERMSIG(foreign) == SIGABRT);
    secret_free(p);
    secret_free(anchor);
}

static void *thread_main(void *arg)
{
    uint8_t mark = *(const uint8_t *)arg;
    uint8_t *held[16] = {0};
    size_t sizes[16] = {0};
    for (size_t i = 0; i < 20000; i++) {
        size_t slot = (i * 7 + mark) % 16;
        if (held[slot] != NULL && !is_filled(held[slot], mark, sizes[slot])) {
            return arg;
        }
        secret_free(held[slot]);
        sizes[slot] = 1 + i * 53 % 2000;
        held[slot] = secret_alloc(sizes[slot]);
        if (held[slot] == NULL || !is_filled(held[slot], 0, sizes[slot])) {
            return arg;
        }
        memset(held[slot], mark, sizes[slot]);
    }
    for (size_t i = 0; i < 16; i++) {
        secret_free(held[i]);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    static uint8_t marks[] = {1, 2, 3, 4};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, thread_main, &marks[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

static void comparison_sees_every_byte(void **state)
{
    (void)state;
    uint8_t a[100];
    uint8_t b[100];
    memset(a, 3, sizeof(a));
    memset(b, 3, sizeof(b));
    assert_true(secret_equal(a, b, sizeof(a)));
    assert_true(secret_equal(a, NULL, 0));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] ^= 0x80;
        assert_false(secret_equal(a, b, sizeof(a)));
        assert_true(secret_equal(a, b, i));
        b[i] ^= 0x80;
    }
}

static void a_secret_is_set_moved_and_cleared(void **state)
{
    (void)state;
    struct secret a = {0};
    struct secret b = {0};
    assert_int_equal(secret_set(&a, "made-up", 7), 0);
    assert_string_equal(a.bytes, "made-up");
    assert_int_equal(secret_set(&a, a.bytes, 4), 0); /* of itself */
    assert_string_equal(a.bytes, "made");
    assert_int_equal(a.len, 4);
    assert_int_equal(secret_set(&a, "", SECRET_MAX), ERR_TOO_LARGE);
    assert_string_equal(a.bytes, "made");
    assert_int_equal(secret_set(&b, "other", 5), 0);
    secret_move(&b, &a);
    assert_null(a.bytes);
    assert_int_equal(a.len, 0);
    assert_string_equal(b.bytes, "made");
    secret_move(&b, &b);
    assert_string_equal(b.bytes, "made");
    assert_int_equal(secret_set(&b, "", 0), 0);
    assert_null(b.bytes);
    secret_clear(&b);
    secret_clear(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_memory_comes_back_as_zeroes),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(many_live_side_by_side),
        cmocka_unit_test(growing_moves_and_wipes_shrinking_wipes_the_tail),
        cmocka_unit_test(large_ones_are_locked_and_given_back),
        cmocka_unit_test(the_kernel_keeps_it_out_of_dumps_and_children),
        cmocka_unit_test(without_lockable_memory_it_works_and_says_so),
        cmocka_unit_test(wrong_frees_stop_the_program),
        cmocka_unit_test(threads_share_it),
        cmocka_unit_test(comparison_sees_every_byte),
        cmocka_unit_test(a_secret_is_set_moved_and_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Watching a path: whatever makes it lead to something else is noticed, and other names are not.
 */
#include "sys/watch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 500

struct place {
    char dir[40];
    uv_loop_t loop;
    struct watch *watch;
    int noticed;
};

static void count(void *ctx)
{
    ++*(int *)ctx;
}

static void in_place(const struct place *p, const char *name, char ret[128])
{
    (void)snprintf(ret, 128, "%s/%s", p->dir, name);
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return -1;
    }
    *state = p;
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/credwarden-watch-XXXXXX");
    return mkdtemp(p->dir) == NULL || uv_loop_init(&p->loop) != 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    watch_free(p->watch);
    (void)uv_run(&p->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&p->loop) != 0 || rmdir(p->dir) != 0;
    free(p);
    return r;
}

static void begin(struct place *p, const char *name)
{
    char path[128];
    struct err_text why = {""};
    in_place(p, name, path);
    assert_int_equal(watch_open(&p->loop, path, count, &p->noticed, &p->watch, &why), 0);
}

static void on_time(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Until something was noticed; or, when nothing should be, for a while. */
static bool is_noticed(struct place *p, bool expected)
{
    uv_timer_t timer;
    bool over = false;
    p->noticed = 0;
    assert_int_equal(uv_timer_init(&p->loop, &timer), 0);
    timer.data = &over;
    assert_int_equal(uv_timer_start(&timer, on_time, expected ? 5000 : 60, 0), 0);
    while (!over && p->noticed == 0) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    bool seen = p->noticed > 0;
    uv_close((uv_handle_t *)&timer, NULL);
    for (int i = 0; i < 3; i++) { /* what else there was is noticed, too, and is over */
        (void)uv_run(&p->loop, UV_RUN_NOWAIT);
    }
    return seen == expected;
}

static void write_file(const struct place *p, const char *name)
{
    char path[128];
    in_place(p, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
}

static void rename_to(const struct place *p, const char *from, const char *to)
{
    char path[128], other[128];
    in_place(p, from, path);
    in_place(p, to, other);
    assert_int_equal(rename(path, other), 0);
}

static void replace(const struct place *p, const char *name)
{
    write_file(p, "new");
    rename_to(p, "new", name);
}

static void make_folder(const struct place *p, const char *name)
{
    char path[128];
    in_place(p, name, path);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void link_to(const struct place *p, const char *target, const char *name)
{
    char path[128];
    in_place(p, name, path);
    (void)unlink(path);
    assert_int_equal(symlink(target, path), 0);
}

static void drop(const struct place *p, const char *name)
{
    char path[128];
    in_place(p, name, path);
    assert_int_equal(remove(path), 0);
}

static void each_rename_is_noticed_and_other_names_are_not(void **state)
{
    struct place *p = *state;
    write_file(p, "store");
    begin(p, "store");
    for (int i = 0; i < 20; i++) {
        replace(p, "store");
        assert_true(is_noticed(p, true));
    }
    write_file(p, "store");
    assert_true(is_noticed(p, true));
    write_file(p, "store2");
    replace(p, "stor");
    assert_true(is_noticed(p, false));
    drop(p, "store");
    assert_true(is_noticed(p, true));
    drop(p, "store2");
    drop(p, "stor");
}

static void a_folder_that_comes_and_goes_is_noticed(void **state)
{
    struct place *p = *state;
    begin(p, "a/b/store");
    make_folder(p, "a");
    assert_true(is_noticed(p, true));
    make_folder(p, "a/b");
    assert_true(is_noticed(p, true));
    for (int i = 0; i < 3; i++) {
        write_file(p, "a/b/store");
        assert_true(is_noticed(p, true));
        drop(p, "a/b/store");
        assert_true(is_noticed(p, true));
        drop(p, "a/b");
        assert_true(is_noticed(p, true));
        make_folder(p, "a/b"); /* of the same name, and perhaps the same number */
        assert_true(is_noticed(p, true));
    }
    rename_to(p, "a/b", "a/c");
    assert_true(is_noticed(p, true));
    make_folder(p, "a/b");
    assert_true(is_noticed(p, true));
    write_file(p, "a/b/store");
    assert_true(is_noticed(p, true));
    drop(p, "a/b/store");
    drop(p, "a/b");
    drop(p, "a/c");
    drop(p, "a");
}

static void where_a_link_leads_is_watched_and_the_link(void **state)
{
    struct place *p = *state;
    make_folder(p, "one");
    make_folder(p, "two");
    write_file(p, "one/store");
    write_file(p, "two/store");
    link_to(p, "one", "now");         /* a folder that is a link … */
    link_to(p, "now/store", "store"); /* … and a store that is one */
    begin(p, "store");
    replace(p, "one/store");
    assert_true(is_noticed(p, true));
    replace(p, "two/store");
    assert_true(is_noticed(p, false));
    link_to(p, "two", "now");
    assert_true(is_noticed(p, true));
    replace(p, "two/store");
    assert_true(is_noticed(p, true));
    replace(p, "one/store");
    assert_true(is_noticed(p, false));
    replace(p, "store"); /* as a client does that knows nothing of links */
    assert_true(is_noticed(p, true));
    replace(p, "two/store");
    assert_true(is_noticed(p, false));
    replace(p, "store");
    assert_true(is_noticed(p, true));
    static const char *const all[] = {"one/store", "two/store", "one", "two", "now", "store"};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        drop(p, all[i]);
    }
}

static void links_in_a_circle_are_an_error(void **state)
{
    struct place *p = *state;
    struct watch *w = NULL;
    struct err_text why = {""};
    char path[128];
    link_to(p, "second", "first");
    link_to(p, "first", "second");
    in_place(p, "first", path);
    assert_int_equal(watch_open(&p->loop, path, count, &p->noticed, &w, &why), ERR_INVALID);
    assert_true(why.text[0] != '\0');
    assert_int_equal(watch_open(&p->loop, "not/absolute", count, &p->noticed, &w, &why),
                     ERR_INVALID);
    drop(p, "first");
    drop(p, "second");
}

static void of_many_each_hears_of_its_own(void **state)
{
    struct place *p = *state;
    static struct watch *watches[MANY];
    static int noticed[MANY];
    char name[32], path[128];
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        make_folder(p, name);
        (void)snprintf(name, sizeof(name), "%d/store", i);
        in_place(p, name, path);
        assert_int_equal(watch_open(&p->loop, path, count, &noticed[i], &watches[i], NULL), 0);
    }
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "%d/store", i);
        replace(p, name);
        for (int turns = 0; turns < 1000 && noticed[i] == 0; turns++) {
            (void)uv_run(&p->loop, UV_RUN_NOWAIT);
        }
        assert_true(noticed[i] > 0);
        assert_true(i + 1 == MANY || noticed[i + 1] == 0);
    }
    for (int i = 0; i < MANY; i++) {
        watch_free(watches[i]);
        (void)snprintf(name, sizeof(name), "%d/store", i);
        drop(p, name);
        (void)snprintf(name, sizeof(name), "%d", i);
        drop(p, name);
    }
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        STORY(each_rename_is_noticed_and_other_names_are_not),
        STORY(a_folder_that_comes_and_goes_is_noticed),
        STORY(where_a_link_leads_is_watched_and_the_link),
        STORY(links_in_a_circle_are_an_error),
        STORY(of_many_each_hears_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

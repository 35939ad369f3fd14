/*
 * A file that others write, too: what was looked at is replaced, and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/file_swap.h"

#define MAX 64

struct place {
    char dir[40];
    char file[64];
    char link[64];
    struct file_swap swap;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return -1;
    }
    *state = p;
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/credwarden-swap-XXXXXX");
    if (mkdtemp(p->dir) == NULL) {
        return -1;
    }
    (void)snprintf(p->file, sizeof(p->file), "%s/file", p->dir);
    (void)snprintf(p->link, sizeof(p->link), "%s/link", p->dir);
    return file_swap_init(&p->swap, p->file, MAX);
}

/* Fails when a file that was being written was left. */
static int teardown(void **state)
{
    struct place *p = *state;
    file_swap_clear(&p->swap);
    (void)unlink(p->file);
    (void)unlink(p->link);
    int r = rmdir(p->dir);
    free(p);
    return r;
}

static void write_text(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect(const char *path, const char *text, mode_t mode)
{
    struct buf found;
    struct stat st;
    buf_init(&found, MAX);
    assert_int_equal(file_read(path, true, MAX, &found, NULL), 0);
    assert_string_equal(buf_text(&found), text);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
    buf_release(&found);
}

static void what_was_looked_at_is_replaced(void **state)
{
    struct place *p = *state;
    write_text(p->file, "old", 0640);
    assert_int_equal(file_swap_look(&p->swap, NULL), 0);
    assert_true(p->swap.was_there);
    assert_string_equal(buf_text(&p->swap.bytes), "old");
    assert_int_equal(file_swap_write(&p->swap, "new", 3, NULL), 0);
    expect(p->file, "old", 0640);
    assert_int_equal(file_swap_commit(&p->swap, NULL), 0);
    expect(p->file, "new", 0640);
}

static void what_is_new_is_private(void **state)
{
    struct place *p = *state;
    assert_int_equal(file_swap_look(&p->swap, NULL), 0);
    assert_false(p->swap.was_there);
    assert_int_equal(file_swap_write(&p->swap, "new", 3, NULL), 0);
    assert_int_equal(file_swap_commit(&p->swap, NULL), 0);
    expect(p->file, "new", 0600);
}

static void who_was_faster_is_not_overwritten(void **state)
{
    struct place *p = *state;
    struct err_text text = {""};
    write_text(p->file, "old", 0600);
    assert_int_equal(file_swap_look(&p->swap, NULL), 0);
    assert_int_equal(file_swap_write(&p->swap, "new", 3, NULL), 0);
    write_text(p->file, "theirs", 0600);
    assert_int_equal(file_swap_commit(&p->swap, &text), ERR_CONFLICT);
    assert_non_null(strstr(text.text, p->file));
    expect(p->file, "theirs", 0600);

    assert_int_equal(unlink(p->file), 0); /* and what is gone is not made again */
    assert_int_equal(file_swap_compare(&p->swap, NULL), ERR_CONFLICT);
    assert_int_equal(file_swap_look(&p->swap, NULL), 0);
    assert_int_equal(file_swap_compare(&p->swap, NULL), 0);
}

static void a_link_stays_a_link_and_is_watched(void **state)
{
    struct place *p = *state;
    struct stat st;
    write_text(p->file, "old", 0600);
    assert_int_equal(symlink("file", p->link), 0);
    assert_int_equal(file_swap_init(&p->swap, p->link, MAX), 0);
    assert_int_equal(file_swap_look(&p->swap, NULL), 0);
    assert_int_equal(file_swap_write(&p->swap, "new", 3, NULL), 0);
    assert_int_equal(file_swap_commit(&p->swap, NULL), 0);
    expect(p->file, "new", 0600);
    assert_int_equal(lstat(p->link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));

    /* One that leads elsewhere meanwhile, to the same bytes, is another file. */
    char other[64];
    (void)snprintf(other, sizeof(other), "%s/other", p->dir);
    assert_int_equal(file_swap_look(&p->swap, NULL), 0);
    write_text(other, "new", 0600);
    assert_int_equal(unlink(p->link), 0);
    assert_int_equal(symlink("other", p->link), 0);
    assert_int_equal(file_swap_compare(&p->swap, NULL), ERR_CONFLICT);
    assert_int_equal(unlink(other), 0);
}

static void what_cannot_be_swapped_is_refused(void **state)
{
    struct place *p = *state;
    struct err_text text = {""};
    char long_path[FILE_SWAP_PATH_SIZE + 1];
    char many[MAX + 2];
    memset(many, 'x', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
    write_text(p->file, many, 0600);
    assert_int_equal(file_swap_look(&p->swap, &text), ERR_TOO_LARGE);
    assert_non_null(strstr(text.text, "larger than the 64 bytes"));
    assert_int_equal(unlink(p->file), 0);
    assert_int_equal(mkfifo(p->file, 0600), 0);
    assert_int_equal(file_swap_look(&p->swap, &text), ERR_INVALID);
    assert_non_null(strstr(text.text, "not a regular file"));
    assert_int_equal(unlink(p->file), 0);
    assert_int_equal(symlink("nowhere", p->file), 0);
    assert_int_equal(file_swap_look(&p->swap, &text), ERR_INVALID);
    assert_non_null(strstr(text.text, "leads nowhere"));

    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(file_swap_init(&p->swap, long_path, MAX), ERR_TOO_LARGE);
}

int main(void)
{
    (void)umask(022);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_looked_at_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_new_is_private, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_faster_is_not_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_stays_a_link_and_is_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_swapped_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

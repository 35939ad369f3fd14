/*
 * Files: what is refused, what a failure leaves behind (nothing), and what a reader can see (the
 * old bytes or the new, never a mixture). Each test has a folder of its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "sys/file.h"

struct place {
    char *dir;
    char path[8][128];
    int n;
};

static int remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[512];
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) < (int)sizeof(path) &&
            unlink(path) != 0) {
            (void)remove_tree(path);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return rmdir(dir);
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return -1;
    }
    (void)umask(022);
    p->dir = strdup("/tmp/credwarden-file-XXXXXX");
    *state = p;
    return p->dir == NULL || mkdtemp(p->dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    (void)chmod(p->dir, 0700);
    int r = remove_tree(p->dir);
    free(p->dir);
    free(p);
    return r;
}

/* The path of `name` in the test's folder; good until the test ends. */
static const char *in(struct place *p, const char *name)
{
    char *path = p->path[p->n++ % 8];
    (void)snprintf(path, sizeof(p->path[0]), "%s/%s", p->dir, name);
    return path;
}

/* Made without our own code, so that it cannot agree with itself. */
static void make_file(const char *path, const void *bytes, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static int count_entries(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    (void)closedir(d);
    return n - 2;
}

static void assert_holds(const char *path, const char *expected)
{
    struct buf b;
    buf_init(&b, 100000);
    assert_int_equal(file_read(path, false, 100000, &b, NULL), 0);
    assert_string_equal(buf_text(&b), expected);
    buf_release(&b);
}

/* Runs a story in a child; without root's rights when it has them. Its result is the status. */
static int run_in_child(int (*story)(struct place *), struct place *p, bool drop)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(drop && geteuid() == 0 && setuid(65534) != 0 ? 99 : story(p));
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* For stories: the line that did not hold becomes the exit status. */
#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                       \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    struct place *p = *state;
    struct err_text text;
    struct buf b;
    static const size_t sizes[] = {0, 1, 4095, 16384, 16385, 50000};
    char *bytes = malloc(50000);
    memset(bytes, 'x', 50000);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const char *path = in(p, "f");
        make_file(path, bytes, sizes[i], 0644);
        buf_init(&b, 60000);
        assert_int_equal(buf_add_str(&b, "before:"), 0);
        assert_int_equal(file_read(path, false, sizes[i], &b, &text), 0);
        assert_int_equal(b.len, 7 + sizes[i]);
        assert_memory_equal(b.bytes, "before:", 7);
        assert_memory_equal(b.bytes + 7, bytes, sizes[i]);
        buf_release(&b);
        if (sizes[i] == 0) {
            continue;
        }
        buf_init_secret(&b, 60000);
        assert_int_equal(buf_add_str(&b, "before:"), 0);
        assert_int_equal(file_read(path, false, sizes[i] - 1, &b, &text), ERR_TOO_LARGE);
        assert_non_null(strstr(text.text, path));
        assert_int_equal(b.len, 7);
        assert_string_equal(buf_text(&b), "before:");
        buf_release(&b);
        buf_init(&b, sizes[i] - 1); /* the buffer's own limit */
        assert_int_equal(file_read(path, false, 60000, &b, NULL), ERR_TOO_LARGE);
        assert_int_equal(b.len, 0);
        buf_release(&b);
    }
    free(bytes);
}

static void only_regular_files_are_read(void **state)
{
    struct place *p = *state;
    struct err_text text;
    struct buf b;
    buf_init(&b, 1000);
    make_file(in(p, "file"), "here", 4, 0600);
    assert_int_equal(symlink("file", in(p, "link")), 0);
    assert_int_equal(mkfifo(in(p, "fifo"), 0600), 0);
    assert_int_equal(symlink("loop", in(p, "loop")), 0);
    assert_int_equal(file_read(in(p, "link"), false, 1000, &b, &text), ERR_INVALID);
    assert_non_null(strstr(text.text, "symbolic link"));
    assert_int_equal(file_read(in(p, "link"), true, 1000, &b, &text), 0);
    assert_string_equal(buf_text(&b), "here");
    assert_int_equal(file_read(in(p, "fifo"), false, 1000, &b, &text), ERR_INVALID);
    assert_int_equal(file_read(p->dir, false, 1000, &b, &text), ERR_INVALID);
    assert_int_equal(file_read("/dev/null", false, 1000, &b, &text), ERR_INVALID);
    assert_int_equal(file_read(in(p, "loop"), true, 1000, &b, &text), ERR_INVALID);
    assert_int_equal(file_read(in(p, "none"), false, 1000, &b, &text), ERR_NOT_FOUND);
    assert_non_null(strstr(text.text, "/none"));
    assert_int_equal(file_read(in(p, "file/x"), false, 1000, &b, &text), ERR_NOT_FOUND);
    assert_int_equal(file_read("/proc/self/status", false, 100000, &b, &text), ERR_TOO_LARGE);
    assert_string_equal(buf_text(&b), "here");
    buf_release(&b);
}

static int read_forbidden(struct place *p)
{
    struct err_text text;
    struct buf b;
    buf_init(&b, 100);
    EXPECT(file_read(in(p, "shut"), false, 100, &b, &text) == ERR_DENIED);
    EXPECT(strstr(text.text, "owner and mode") != NULL);
    EXPECT(file_read_private(in(p, "shut"), 100, &b, &text) == ERR_DENIED);
    return 0;
}

static void an_unreadable_file_is_told_as_that(void **state)
{
    struct place *p = *state;
    make_file(in(p, "shut"), "x", 1, 0);
    assert_int_equal(chmod(p->dir, 0755), 0);
    assert_int_equal(run_in_child(read_forbidden, p, true), 0);
}

static void a_private_file_is_ours_and_shut(void **state)
{
    struct place *p = *state;
    struct err_text text;
    struct buf b;
    buf_init(&b, 100000);
    const char *path = in(p, "key");
    static const mode_t good[] = {0600, 0400, 0700};
    static const mode_t bad[] = {0640, 0604, 0620, 0602, 0610, 0601, 0666};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        make_file(path, "k", 1, good[i]);
        assert_int_equal(file_read_private(path, 10, &b, &text), 0);
        assert_int_equal(unlink(path), 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_file(path, "k", 1, bad[i]);
        assert_int_equal(file_read_private(path, 10, &b, &text), ERR_INSECURE);
        assert_non_null(strstr(text.text, "chmod 600"));
        assert_int_equal(unlink(path), 0);
    }
    make_file(path, "k", 1, 0600);
    assert_int_equal(symlink("key", in(p, "link")), 0);
    assert_int_equal(file_read_private(in(p, "link"), 10, &b, &text), ERR_INVALID);
    const char *foreign = "/etc/passwd";
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 65534, 65534), 0);
        foreign = path;
    }
    assert_int_equal(file_read_private(foreign, 100000, &b, &text), ERR_INSECURE);
    assert_non_null(strstr(text.text, "belongs to uid"));
    assert_int_equal(b.len, 3);
    buf_release(&b);
}

static void a_replacement_is_whole_private_and_alone(void **state)
{
    struct place *p = *state;
    struct err_text text;
    const char *path = in(p, "f");
    assert_int_equal(file_replace(path, "one", 3, &text), 0);
    assert_holds(path, "one");
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(file_replace(path, "", 0, &text), 0);
    assert_holds(path, "");
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(count_entries(p->dir), 1);
    make_file(in(p, "else"), "untouched", 9, 0600);
    assert_int_equal(symlink("else", in(p, "link")), 0);
    assert_int_equal(file_replace(in(p, "link"), "two", 3, &text), 0);
    assert_holds(in(p, "link"), "two"); /* the link is replaced, not what it leads to */
    assert_holds(in(p, "else"), "untouched");
    assert_int_equal(count_entries(p->dir), 3);
}

static void a_path_that_cannot_be_written_is_refused(void **state)
{
    struct place *p = *state;
    struct err_text text;
    char name[400];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    assert_int_equal(mkdir(in(p, "folder"), 0700), 0);
    assert_int_equal(file_replace(in(p, "folder"), "x", 1, &text), ERR_INVALID);
    assert_int_equal(file_replace(in(p, "new/"), "x", 1, &text), ERR_INVALID);
    assert_int_equal(file_replace(in(p, "."), "x", 1, &text), ERR_INVALID);
    assert_int_equal(file_replace(in(p, ".."), "x", 1, &text), ERR_INVALID);
    assert_int_equal(file_replace("", "x", 1, &text), ERR_INVALID);
    assert_int_equal(file_replace("/", "x", 1, &text), ERR_INVALID);
    assert_int_equal(file_replace(in(p, "none/f"), "x", 1, &text), ERR_NOT_FOUND);
    assert_int_equal(file_replace(path, "x", 1, &text), ERR_TOO_LARGE);
    char *endless = malloc(10000);
    memset(endless, '/', 9999);
    endless[9998] = 'f';
    endless[9999] = '\0';
    assert_int_equal(file_replace(endless, "x", 1, &text), ERR_TOO_LARGE);
    free(endless);
    assert_int_equal(count_entries(p->dir), 1);
}

static int replace_by_name(struct place *p)
{
    EXPECT(chdir(p->dir) == 0);
    EXPECT(file_replace("bare", "x", 1, NULL) == 0);
    EXPECT(access("bare", F_OK) == 0);
    return 0;
}

static void a_bare_name_means_the_working_folder(void **state)
{
    struct place *p = *state;
    assert_int_equal(run_in_child(replace_by_name, p, false), 0);
    assert_holds(in(p, "bare"), "x");
}

static int replace_where_forbidden(struct place *p)
{
    struct err_text text;
    EXPECT(file_replace(in(p, "f"), "new", 3, &text) == ERR_DENIED);
    EXPECT(strstr(text.text, p->dir) != NULL);
    EXPECT(file_create(in(p, "g"), "new", 3, &text) == ERR_DENIED);
    return 0;
}

static void a_folder_that_is_shut_keeps_the_old_file(void **state)
{
    struct place *p = *state;
    make_file(in(p, "f"), "old", 3, 0666);
    assert_int_equal(chmod(p->dir, 0555), 0);
    assert_int_equal(run_in_child(replace_where_forbidden, p, true), 0);
    assert_holds(in(p, "f"), "old");
    assert_int_equal(count_entries(p->dir), 1);
}

static int replace_beyond_the_size_limit(struct place *p)
{
    static char large[8192];
    struct err_text text;
    const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    EXPECT(sigaction(SIGXFSZ, &ignore, NULL) == 0);
    EXPECT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    EXPECT(file_replace(in(p, "f"), large, sizeof(large), &text) == ERR_FULL);
    EXPECT(strstr(text.text, "make room") != NULL);
    EXPECT(file_create(in(p, "g"), large, sizeof(large), &text) == ERR_FULL);
    EXPECT(file_replace(in(p, "h"), large, 4096, &text) == 0);
    return 0;
}

static void no_room_keeps_the_old_file(void **state)
{
    struct place *p = *state;
    make_file(in(p, "f"), "old", 3, 0600);
    assert_int_equal(run_in_child(replace_beyond_the_size_limit, p, false), 0);
    assert_holds(in(p, "f"), "old");
    assert_int_equal(count_entries(p->dir), 2);
}

static void making_does_not_replace(void **state)
{
    struct place *p = *state;
    struct err_text text;
    assert_int_equal(file_create(in(p, "f"), "first", 5, &text), 0);
    assert_int_equal(mode_of(in(p, "f")), 0600);
    assert_int_equal(file_create(in(p, "f"), "second", 6, &text), ERR_EXISTS);
    assert_holds(in(p, "f"), "first");
    assert_int_equal(symlink("nowhere", in(p, "link")), 0);
    assert_int_equal(file_create(in(p, "link"), "x", 1, &text), ERR_EXISTS);
    assert_int_equal(count_entries(p->dir), 2);
}

enum { ROUNDS = 150, WIDTH = 30000 };

static int watch_replacements(struct place *p)
{
    struct buf b;
    buf_init(&b, WIDTH + 1);
    for (char last = 0; last != 'z';) {
        buf_clear(&b);
        EXPECT(file_read(in(p, "f"), false, WIDTH, &b, NULL) == 0);
        EXPECT(b.len == WIDTH);
        last = (char)b.bytes[0];
        for (size_t i = 1; i < WIDTH; i++) {
            EXPECT(b.bytes[i] == (uint8_t)last);
        }
    }
    buf_release(&b);
    return 0;
}

static void a_reader_never_sees_a_mixture(void **state)
{
    struct place *p = *state;
    static char bytes[WIDTH];
    memset(bytes, 'a', WIDTH);
    assert_int_equal(file_replace(in(p, "f"), bytes, WIDTH, NULL), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(watch_replacements(p));
    }
    for (int i = 0; i <= ROUNDS; i++) {
        memset(bytes, i == ROUNDS ? 'z' : 'a' + i % 25, WIDTH);
        assert_int_equal(file_replace(in(p, "f"), bytes, WIDTH, NULL), 0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* What a library does that is only told a path. */
static void fill_temp(const char *temp, const char *bytes)
{
    assert_int_equal(mode_of(temp), 0600);
    int fd = open(temp, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
    assert_int_equal(close(fd), 0);
}

static void a_file_of_another_library_gets_its_name_when_it_is_whole(void **state)
{
    struct place *p = *state;
    struct err_text text;
    char temp[256];
    char other[256];
    assert_int_equal(file_make_temp(in(p, "f"), temp, sizeof(temp), &text), 0);
    assert_int_equal(file_make_temp(in(p, "f"), other, sizeof(other), &text), 0);
    assert_string_not_equal(temp, other);
    assert_int_equal(strncmp(temp, in(p, FILE_TEMP_PREFIX), strlen(in(p, FILE_TEMP_PREFIX))), 0);
    fill_temp(temp, "first");
    fill_temp(other, "second");
    assert_int_equal(file_put(temp, in(p, "f"), false, &text), 0);
    assert_holds(in(p, "f"), "first");
    assert_int_equal(access(temp, F_OK), -1);

    assert_int_equal(file_put(other, in(p, "f"), false, &text), ERR_EXISTS);
    assert_non_null(strstr(text.text, in(p, "f")));
    assert_holds(in(p, "f"), "first");
    assert_holds(other, "second"); /* still the caller's */
    assert_int_equal(file_put(other, in(p, "f"), true, &text), 0);
    assert_holds(in(p, "f"), "second");
    assert_int_equal(count_entries(p->dir), 1);
}

static void a_name_that_cannot_be_given_leaves_nothing(void **state)
{
    struct place *p = *state;
    struct err_text text;
    char temp[256];
    char small[16];
    assert_int_equal(file_make_temp(in(p, "no/f"), temp, sizeof(temp), &text), ERR_NOT_FOUND);
    assert_int_equal(file_make_temp(in(p, "f/"), temp, sizeof(temp), &text), ERR_INVALID);
    assert_int_equal(file_make_temp(in(p, "f"), small, sizeof(small), &text), ERR_TOO_LARGE);
    assert_int_equal(count_entries(p->dir), 0);
    assert_int_equal(file_put(in(p, "absent"), in(p, "f"), true, &text), ERR_NOT_FOUND);
    make_file(in(p, "f"), "old", 3, 0600);
    assert_int_equal(symlink("f", in(p, "link")), 0);
    assert_int_equal(file_put(in(p, "link"), in(p, "g"), true, &text), ERR_INVALID);
    assert_int_equal(mkdir(in(p, "folder"), 0700), 0);
    assert_true(file_put(in(p, "f"), in(p, "folder"), true, &text) < 0);
    assert_holds(in(p, "f"), "old");
    assert_int_equal(rmdir(in(p, "folder")), 0);
    assert_int_equal(count_entries(p->dir), 2);
}

static void a_file_that_is_renamed_is_there_under_one_name(void **state)
{
    struct place *p = *state;
    struct err_text text;
    make_file(in(p, "f"), "one", 3, 0600);
    assert_int_equal(file_rename(in(p, "f"), in(p, "g"), true, &text), 0);
    assert_int_equal(file_rename(in(p, "g"), in(p, "h"), false, &text), 0);
    assert_holds(in(p, "h"), "one");
    assert_int_equal(count_entries(p->dir), 1);
    make_file(in(p, "f"), "two", 3, 0600);
    assert_int_equal(file_rename(in(p, "f"), in(p, "h"), false, &text), ERR_EXISTS);
    assert_holds(in(p, "h"), "one");
    assert_int_equal(file_rename(in(p, "f"), in(p, "h"), true, &text), 0);
    assert_holds(in(p, "h"), "two");
    assert_int_equal(count_entries(p->dir), 1);
    assert_int_equal(file_rename(in(p, "f"), in(p, "g"), true, &text), ERR_NOT_FOUND);
    assert_int_equal(file_rename(in(p, "h"), in(p, "g/"), true, &text), ERR_INVALID);
    assert_holds(in(p, "h"), "two");
}

struct seen {
    int n;
    int max;
    bool wanted;
};

static bool see(void *ctx, const char *name)
{
    struct seen *s = ctx;
    s->wanted = s->wanted || strcmp(name, "wanted") == 0;
    return ++s->n < s->max;
}

static void a_folder_is_listed_from_its_beginning_each_time(void **state)
{
    struct place *p = *state;
    int fd = -1;
    struct seen first = {.max = 100};
    struct seen again = {.max = 100};
    struct seen two = {.max = 2};
    make_file(in(p, "wanted"), "", 0, 0600);
    make_file(in(p, "other"), "", 0, 0600);
    assert_int_equal(dir_open_private(p->dir, &fd, NULL), 0);
    assert_int_equal(dir_each(fd, see, &first), 0);
    assert_int_equal(dir_each(fd, see, &again), 0);
    assert_true(first.wanted && again.wanted);
    assert_int_equal(first.n, 4); /* with "." and ".." */
    assert_int_equal(again.n, 4);
    assert_int_equal(dir_each(fd, see, &two), 0);
    assert_int_equal(two.n, 2);
    fd_close(&fd);
    assert_int_equal(dir_each(-1, see, &two), ERR_IO);
    fd = open(in(p, "wanted"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(dir_each(fd, see, &two), ERR_NOT_FOUND);
    fd_close(&fd);
    assert_int_equal(two.n, 2);
}

static void what_a_crash_left_is_swept_and_nothing_else(void **state)
{
    struct place *p = *state;
    make_file(in(p, FILE_TEMP_PREFIX "0123"), "half", 4, 0600);
    make_file(in(p, FILE_TEMP_PREFIX "0123-journal"), "half", 4, 0600);
    make_file(in(p, ".credwarden"), "", 0, 0600);
    make_file(in(p, "x" FILE_TEMP_PREFIX), "", 0, 0600);
    dir_sweep_temps(p->dir);
    assert_int_equal(count_entries(p->dir), 2);
    dir_sweep_temps(in(p, "absent"));
}

static void a_folder_is_made_with_its_parents(void **state)
{
    struct place *p = *state;
    struct err_text text;
    (void)umask(0);
    assert_int_equal(dir_ensure_private(in(p, "a//b/c/"), &text), 0);
    assert_int_equal(mode_of(in(p, "a")), 0700);
    assert_int_equal(mode_of(in(p, "a/b")), 0700);
    assert_int_equal(mode_of(in(p, "a/b/c")), 0700);
    assert_int_equal(dir_ensure_private(in(p, "a/b/c"), &text), 0);
    assert_int_equal(count_entries(in(p, "a")), 1);
    /* Parents that are there may be anybody's business: only the last one is ours. */
    assert_int_equal(chmod(in(p, "a"), 0755), 0);
    assert_int_equal(dir_ensure_private(in(p, "a/d"), &text), 0);
    assert_int_equal(dir_ensure_private("", &text), ERR_INVALID);
}

static void an_open_or_foreign_folder_is_refused(void **state)
{
    struct place *p = *state;
    struct err_text text;
    int fd = -7;
    static const mode_t bad[] = {0755, 0750, 0701, 0710, 0777, 01777};
    assert_int_equal(mkdir(in(p, "d"), 0700), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(chmod(in(p, "d"), bad[i]), 0);
        assert_int_equal(dir_ensure_private(in(p, "d"), &text), ERR_INSECURE);
        assert_non_null(strstr(text.text, "chmod 700"));
        assert_int_equal(mode_of(in(p, "d")), bad[i]);
    }
    assert_int_equal(dir_open_private(in(p, "d"), &fd, &text), ERR_INSECURE);
    assert_int_equal(fd, -7);
    assert_int_equal(chmod(in(p, "d"), 0700), 0);
    const char *foreign = "/";
    if (geteuid() == 0) {
        assert_int_equal(chown(in(p, "d"), 65534, 65534), 0);
        foreign = in(p, "d");
    }
    assert_int_equal(dir_ensure_private(foreign, &text), ERR_INSECURE);
    assert_non_null(strstr(text.text, "belongs to uid"));
}

static void only_a_real_folder_will_do(void **state)
{
    struct place *p = *state;
    struct err_text text;
    int fd = -7;
    assert_int_equal(mkdir(in(p, "d"), 0700), 0);
    assert_int_equal(symlink("d", in(p, "link")), 0);
    assert_int_equal(symlink("nowhere", in(p, "dangling")), 0);
    make_file(in(p, "file"), "", 0, 0600);
    assert_int_equal(dir_ensure_private(in(p, "link"), &text), ERR_INSECURE);
    assert_non_null(strstr(text.text, "symbolic link"));
    assert_int_equal(dir_ensure_private(in(p, "link///"), &text), ERR_INSECURE);
    assert_int_equal(dir_ensure_private(in(p, "dangling"), &text), ERR_INSECURE);
    assert_int_equal(access(in(p, "nowhere"), F_OK), -1);
    assert_int_equal(dir_ensure_private(in(p, "file"), &text), ERR_INVALID);
    assert_int_equal(dir_ensure_private(in(p, "file/d"), &text), ERR_INVALID);
    assert_int_equal(dir_open_private(in(p, "none"), &fd, &text), ERR_NOT_FOUND);
    assert_int_equal(access(in(p, "none"), F_OK), -1);
    assert_int_equal(dir_open_private(in(p, "d"), &fd, &text), 0);
    assert_int_equal(dir_sync(fd), 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    fd_close(&fd);
    assert_int_equal(fd, -1);
    fd_close(&fd);
    assert_int_equal(dir_sync(-1), ERR_IO);
}

static int make_the_same_folders(struct place *p)
{
    EXPECT(dir_ensure_private(in(p, "x/y/z/w"), NULL) == 0);
    return 0;
}

static void many_may_make_the_same_folder(void **state)
{
    struct place *p = *state;
    pid_t pids[8];
    for (int i = 0; i < 8; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            _exit(make_the_same_folders(p));
        }
    }
    for (int i = 0; i < 8; i++) {
        int status = -1;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
}

static int make_where_forbidden(struct place *p)
{
    struct err_text text;
    EXPECT(dir_ensure_private(in(p, "a/b"), &text) == ERR_DENIED);
    EXPECT(strstr(text.text, "make the folder") != NULL);
    EXPECT(lock_take(in(p, "lock"), &(int){-1}, &text) == ERR_DENIED);
    return 0;
}

static void a_folder_that_cannot_be_made_is_told(void **state)
{
    struct place *p = *state;
    assert_int_equal(chmod(p->dir, 0555), 0);
    assert_int_equal(run_in_child(make_where_forbidden, p, true), 0);
}

static int meet_a_held_lock(struct place *p)
{
    struct err_text text;
    int fd = -7;
    EXPECT(lock_take(in(p, "lock"), &fd, &text) == ERR_LOCKED);
    EXPECT(fd == -7);
    EXPECT(strstr(text.text, "another process") != NULL);
    return 0;
}

static void a_lock_has_one_holder_and_ends_with_it(void **state)
{
    struct place *p = *state;
    struct err_text text;
    int ready[2];
    int fd = -1;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int held = -1;
        (void)close(ready[0]);
        if (lock_take(in(p, "lock"), &held, NULL) == 0 && write(ready[1], "x", 1) == 1) {
            (void)pause();
        }
        _exit(1);
    }
    char byte = 0;
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    assert_int_equal(meet_a_held_lock(p), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);

    assert_int_equal(lock_take(in(p, "lock"), &fd, &text), 0);
    assert_int_equal(mode_of(in(p, "lock")), 0600);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(run_in_child(meet_a_held_lock, p, false), 0);
    fd_close(&fd);
    assert_int_equal(lock_take(in(p, "lock"), &fd, &text), 0);
    fd_close(&fd);
    assert_int_equal(symlink("elsewhere", in(p, "link")), 0);
    assert_int_equal(lock_take(in(p, "link"), &fd, &text), ERR_INVALID);
    assert_int_equal(fd, -1);
    assert_int_equal(count_entries(p->dir), 2);
}

static int ask_for_home(struct place *p)
{
    char home[256] = "before";
    EXPECT(setenv("HOME", p->dir, 1) == 0);
    EXPECT(home_dir(home, 4) == ERR_TOO_LARGE && strcmp(home, "before") == 0);
    EXPECT(home_dir(home, sizeof(home)) == 0 && strcmp(home, p->dir) == 0);
    EXPECT(setenv("HOME", "relative", 1) == 0);
    EXPECT(home_dir(home, sizeof(home)) != 0 || home[0] == '/');
    EXPECT(unsetenv("HOME") == 0);
    EXPECT(home_dir(home, sizeof(home)) != 0 || home[0] == '/');
    return 0;
}

static void home_is_absolute(void **state)
{
    assert_int_equal(run_in_child(ask_for_home, *state, false), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_read_whole_or_not_at_all),
        TEST(only_regular_files_are_read),
        TEST(an_unreadable_file_is_told_as_that),
        TEST(a_private_file_is_ours_and_shut),
        TEST(a_replacement_is_whole_private_and_alone),
        TEST(a_path_that_cannot_be_written_is_refused),
        TEST(a_bare_name_means_the_working_folder),
        TEST(a_folder_that_is_shut_keeps_the_old_file),
        TEST(no_room_keeps_the_old_file),
        TEST(making_does_not_replace),
        TEST(a_reader_never_sees_a_mixture),
        TEST(a_file_of_another_library_gets_its_name_when_it_is_whole),
        TEST(a_name_that_cannot_be_given_leaves_nothing),
        TEST(a_file_that_is_renamed_is_there_under_one_name),
        TEST(a_folder_is_listed_from_its_beginning_each_time),
        TEST(what_a_crash_left_is_swept_and_nothing_else),
        TEST(a_folder_is_made_with_its_parents),
        TEST(an_open_or_foreign_folder_is_refused),
        TEST(only_a_real_folder_will_do),
        TEST(many_may_make_the_same_folder),
        TEST(a_folder_that_cannot_be_made_is_told),
        TEST(a_lock_has_one_holder_and_ends_with_it),
        TEST(home_is_absolute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The system calls: what each promises beyond the call itself. Nothing waits, no link is followed,
 * a short read is the file's end, a failure has a name and leaves errno and the results alone.
 */
#include "sys/io.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char dir[32];
    int fd; /* of the folder */
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return -1;
    }
    (void)umask(022);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/credwarden-io-XXXXXX");
    *state = p;
    if (mkdtemp(p->dir) == NULL) {
        return -1;
    }
    p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return p->fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"f", "g", "link", "fifo", "socket"};
    struct place *p = *state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)unlinkat(p->fd, names[i], 0);
    }
    (void)unlinkat(p->fd, "folder", AT_REMOVEDIR);
    (void)close(p->fd);
    int r = rmdir(p->dir); /* fails when a test left something else */
    free(p);
    return r;
}

/* Made without our own code, so that it cannot agree with itself. */
static void make_file(const struct place *p, const char *name, const char *bytes, mode_t mode)
{
    int fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static int open_file(const struct place *p, const char *name, enum open_how how)
{
    int fd = -1;
    assert_int_equal(path_open(p->fd, name, how, &fd), 0);
    return fd;
}

static void path_of(const struct place *p, const char *name, char ret[64])
{
    (void)snprintf(ret, 64, "%s/%s", p->dir, name);
}

static void assert_refused(const struct place *p, const char *name, enum open_how how, int err,
                           int errnum)
{
    int fd = 77;
    assert_int_equal(path_open(p->fd, name, how, &fd), err);
    assert_int_equal(errno, errnum);
    assert_int_equal(fd, 77);
}

static void a_new_file_is_private_and_never_an_old_one(void **state)
{
    struct place *p = *state;
    struct stat st;
    int fd = open_file(p, "f", OPEN_NEW);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fd_write(fd, "x", 1), 0);
    fd_close(&fd);
    assert_refused(p, "f", OPEN_NEW, ERR_EXISTS, EEXIST);
    assert_int_equal(symlinkat("nowhere", p->fd, "link"), 0);
    assert_refused(p, "link", OPEN_NEW, ERR_EXISTS, EEXIST);
    fd = open_file(p, "f", OPEN_WRITE_OR_MAKE); /* as it is */
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 1);
    fd_close(&fd);
}

static void links_are_followed_only_on_request(void **state)
{
    struct place *p = *state;
    make_file(p, "f", "x", 0600);
    assert_int_equal(symlinkat("f", p->fd, "link"), 0);
    assert_refused(p, "link", OPEN_READ, ERR_INVALID, ELOOP);
    assert_refused(p, "link", OPEN_WRITE, ERR_INVALID, ELOOP);
    assert_refused(p, "link", OPEN_WRITE_OR_MAKE, ERR_INVALID, ELOOP);
    int fd = open_file(p, "link", OPEN_READ_LINKED);
    fd_close(&fd);

    assert_int_equal(unlinkat(p->fd, "link", 0), 0);
    assert_int_equal(symlinkat(".", p->fd, "link"), 0);
    assert_refused(p, "link", OPEN_FOLDER, ERR_NOT_FOUND, ENOTDIR);
    fd = open_file(p, "link", OPEN_FOLDER_LINKED);
    fd_close(&fd);
    assert_refused(p, "f", OPEN_FOLDER_LINKED, ERR_NOT_FOUND, ENOTDIR);
    assert_refused(p, "absent", OPEN_WRITE, ERR_NOT_FOUND, ENOENT);
    assert_refused(p, ".", OPEN_WRITE, ERR_INVALID, EISDIR);
}

/* A hang would run into the test's time limit. */
static void a_fifo_makes_nobody_wait(void **state)
{
    struct place *p = *state;
    struct file_facts facts;
    assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
    int fd = open_file(p, "fifo", OPEN_READ);
    assert_int_equal(fd_look(fd, &facts), 0);
    assert_int_equal(facts.kind, FILE_OTHER);
    fd_close(&fd);
    fd = open_file(p, "fifo", OPEN_WRITE);
    fd_close(&fd);
}

static void make_socket(const struct place *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    path_of(p, "socket", address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(close(fd), 0);
}

static enum file_kind kind_of(const struct place *p, const char *name, bool follow)
{
    struct file_facts facts;
    assert_int_equal(path_look(p->fd, name, follow, &facts), 0);
    return facts.kind;
}

static void the_facts_are_told(void **state)
{
    struct place *p = *state;
    struct file_facts facts;
    struct file_facts same;
    struct stat st;
    make_file(p, "f", "12345", 02640);
    assert_int_equal(fstatat(p->fd, "f", &st, 0), 0);
    assert_int_equal(path_look(p->fd, "f", false, &facts), 0);
    assert_int_equal(facts.kind, FILE_REGULAR);
    assert_int_equal(facts.mode, 02640);
    assert_int_equal(facts.owner, geteuid());
    assert_int_equal(facts.size, 5);
    assert_true(facts.dev == st.st_dev && facts.ino == st.st_ino);
    int fd = open_file(p, "f", OPEN_READ);
    assert_int_equal(fd_look(fd, &same), 0);
    assert_true(same.ino == facts.ino && same.mode == facts.mode && same.size == facts.size);
    fd_close(&fd);

    assert_int_equal(symlinkat("f", p->fd, "link"), 0);
    make_socket(p);
    assert_int_equal(kind_of(p, "link", false), FILE_LINK);
    assert_int_equal(kind_of(p, "link", true), FILE_REGULAR);
    assert_int_equal(kind_of(p, ".", false), FILE_FOLDER);
    assert_int_equal(kind_of(p, "socket", false), FILE_SOCKET);
    facts.size = 77;
    assert_int_equal(path_look(p->fd, "absent", false, &facts), ERR_NOT_FOUND);
    assert_int_equal(fd_look(-1, &facts), ERR_IO);
    assert_int_equal(facts.size, 77);
}

static void modes_and_folders_are_ours_alone(void **state)
{
    struct place *p = *state;
    struct file_facts facts;
    char path[64];
    make_file(p, "f", "", 0666);
    path_of(p, "f", path);
    assert_int_equal(path_make_private(path), 0);
    assert_int_equal(path_look(PATH_CWD, path, false, &facts), 0);
    assert_int_equal(facts.mode, 0600);
    make_file(p, "g", "", 04755);
    int fd = open_file(p, "g", OPEN_READ);
    assert_int_equal(fd_make_private(fd), 0);
    assert_int_equal(fd_look(fd, &facts), 0);
    assert_int_equal(facts.mode, 0600);
    fd_close(&fd);
    assert_int_equal(fd_make_private(-1), ERR_IO);

    path_of(p, "folder", path);
    assert_int_equal(path_make_folder(path), 0);
    assert_int_equal(path_look(PATH_CWD, path, false, &facts), 0);
    assert_int_equal(facts.mode, 0700);
    assert_int_equal(path_make_folder(path), ERR_EXISTS);
    assert_true(path_remove(PATH_CWD, path) < 0); /* files only */
    assert_int_equal(kind_of(p, "folder", false), FILE_FOLDER);
    path_of(p, "absent", path);
    assert_int_equal(path_make_private(path), ERR_NOT_FOUND);
}

static void names_change_hands(void **state)
{
    struct place *p = *state;
    make_file(p, "f", "f", 0600);
    make_file(p, "g", "gg", 0600);
    assert_int_equal(path_link(p->fd, "f", p->fd, "g"), ERR_EXISTS);
    assert_int_equal(path_rename(p->fd, "f", p->fd, "g"), 0);
    assert_int_equal(path_rename(p->fd, "f", p->fd, "g"), ERR_NOT_FOUND);
    assert_int_equal(path_link(p->fd, "g", p->fd, "f"), 0);
    struct file_facts facts;
    assert_int_equal(path_look(p->fd, "g", false, &facts), 0);
    assert_int_equal(facts.size, 1);
    assert_int_equal(path_remove(p->fd, "f"), 0);
    assert_int_equal(path_remove(p->fd, "f"), ERR_NOT_FOUND);
    assert_int_equal(errno, ENOENT);
}

static void a_short_read_is_the_end(void **state)
{
    struct place *p = *state;
    char bytes[8] = "";
    int fd = open_file(p, "f", OPEN_NEW);
    assert_int_equal(fd_write_at(fd, "abcdef", 6, 2), 0); /* and no offset was moved */
    assert_int_equal(fd_write(fd, "12", 2), 0);
    assert_int_equal(fd_read_at(fd, bytes, 8, 0), 8);
    assert_memory_equal(bytes, "12abcdef", 8);
    assert_int_equal(fd_read_at(fd, bytes, 8, 5), 3);
    assert_memory_equal(bytes, "def", 3);
    assert_int_equal(fd_read_at(fd, bytes, 8, 8), 0);
    assert_int_equal(fd_read(fd, bytes, 8), 6);
    assert_memory_equal(bytes, "abcdef", 6);
    assert_int_equal(fd_read(fd, bytes, 8), 0);
    assert_int_equal(fd_sync(fd), 0);
    assert_int_equal(fd_sync_content(fd), 0);
    fd_close(&fd);
    assert_int_equal(fd_read(fd, bytes, 8), ERR_IO);
    assert_int_equal(fd_read_at(fd, bytes, 8, 0), ERR_IO);
    assert_int_equal(fd_write(fd, bytes, 8), ERR_IO);
    assert_int_equal(fd_write_at(fd, bytes, 8, 0), ERR_IO);
    assert_int_equal(fd_sync(fd), ERR_IO);
    assert_int_equal(fd_sync_content(fd), ERR_IO);
}

static void closing_keeps_the_reason(void **state)
{
    struct place *p = *state;
    int fd = open_file(p, "f", OPEN_NEW);
    int number = fd;
    errno = ENOSPC;
    fd_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    fd_close(&fd);
}

/* The limit stops a write in its middle: what is left is asked for again, and told as full. */
static void no_room_is_told(void **state)
{
    struct place *p = *state;
    const struct rlimit limit = {.rlim_cur = 4, .rlim_max = RLIM_INFINITY};
    const struct rlimit none = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    struct rlimit before;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    if (before.rlim_max != RLIM_INFINITY) {
        skip();
    }
    int fd = open_file(p, "f", OPEN_NEW);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int at_err = fd_write_at(fd, "123456", 6, 0);
    int err = fd_write(fd, "123456", 6);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(at_err, ERR_FULL);
    assert_int_equal(err, ERR_FULL);
    fd_close(&fd);
}

static void reserved_room_is_not_size(void **state)
{
    struct place *p = *state;
    struct stat st;
    int fd = open_file(p, "f", OPEN_NEW);
    int err = fd_reserve(fd, 65536);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 0);
    if (err == ERR_UNSUPPORTED) {
        skip();
    }
    assert_int_equal(err, 0);
    assert_true((int64_t)st.st_blocks * 512 >= 65536);
    fd_close(&fd);
    assert_int_equal(fd_reserve(fd, 65536), ERR_IO);
}

static void locks_exclude_and_end_with_the_open_file(void **state)
{
    struct place *p = *state;
    int a = open_file(p, "f", OPEN_NEW);
    int b = open_file(p, "f", OPEN_READ);
    int c = open_file(p, "f", OPEN_READ);
    assert_int_equal(fd_lock(a, LOCK_EXCLUSIVE), 0);
    assert_int_equal(fd_lock(b, LOCK_SHARED), ERR_LOCKED);
    assert_int_equal(fd_lock(b, LOCK_EXCLUSIVE), ERR_LOCKED);
    int copy = fcntl(a, F_DUPFD_CLOEXEC, 0);
    fd_close(&a);
    assert_int_equal(fd_lock(b, LOCK_SHARED), ERR_LOCKED); /* the file is still open */
    fd_close(&copy);
    assert_int_equal(fd_lock(b, LOCK_SHARED), 0);
    assert_int_equal(fd_lock(c, LOCK_SHARED), 0);
    assert_int_equal(fd_lock(c, LOCK_EXCLUSIVE), ERR_LOCKED);
    fd_close(&b);
    fd_close(&c);
    assert_int_equal(fd_lock(c, LOCK_SHARED), ERR_IO);
}

static void on_alarm(int number)
{
    (void)number;
}

/* A signal in the middle of a read that has to wait is not an error. */
static void a_signal_is_no_failure(void **state)
{
    (void)state;
    struct sigaction act = {.sa_handler = on_alarm}; /* without SA_RESTART */
    int fds[2];
    char byte = 0;
    assert_int_equal(sigaction(SIGUSR1, &act, NULL), 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (int i = 0; i < 20; i++) {
            (void)usleep(5000);
            (void)kill(getppid(), SIGUSR1);
        }
        _exit(write(fds[1], "x", 1) == 1 ? 0 : 1);
    }
    assert_int_equal(fd_read(fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    int status = -1;
    pid_t reaped = 0;
    do {
        reaped = waitpid(pid, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    assert_int_equal(reaped, pid);
    assert_int_equal(status, 0);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_file_is_private_and_never_an_old_one),
        TEST(links_are_followed_only_on_request),
        TEST(a_fifo_makes_nobody_wait),
        TEST(the_facts_are_told),
        TEST(modes_and_folders_are_ours_alone),
        TEST(names_change_hands),
        TEST(a_short_read_is_the_end),
        TEST(closing_keeps_the_reason),
        TEST(no_room_is_told),
        TEST(reserved_room_is_not_size),
        TEST(locks_exclude_and_end_with_the_open_file),
        TEST(a_signal_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

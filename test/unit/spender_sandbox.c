/*
 * The spender's sandbox, seen from inside: each test forks, shuts the child in, and lets it try.
 */
#include "issuer/spender/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sandbox_facts facts; /* in the child */
static char inside[64];            /* a file made before, outside of what may be read */
static int inside_fd;

/* Run `attempt` in a shut-in child; what it returns (0–100) comes back. */
static int from_inside(int (*attempt)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (sandbox_enter(&facts) != 0)
            _exit(101);
        _exit(attempt());
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(inside, sizeof(inside), "/tmp/sandbox-test-XXXXXX");
    inside_fd = mkostemp(inside, O_CLOEXEC);
    assert_true(inside_fd >= 0);
    assert_int_equal(write(inside_fd, "x", 1), 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(inside_fd);
    assert_int_equal(unlink(inside), 0);
    return 0;
}

static int tell_seccomp(void)
{
    return facts.seccomp ? 1 : 0;
}

static int tell_landlock(void)
{
    return facts.landlock_abi;
}

static bool has_landlock(void)
{
    if (from_inside(tell_landlock) > 0)
        return true;
    print_message("SKIPPED in part: this kernel has no Landlock\n");
    return false;
}

static void seccomp_is_on(void **state)
{
    (void)state;
    assert_int_equal(from_inside(tell_seccomp), 1);
}

static int run_a_program(void)
{
    char name[] = "true";
    char *argv[] = {name, NULL}, *envp[] = {NULL};
    execve("/bin/true", argv, envp);
    return errno == EPERM ? 42 : 1;
}

static void no_program_can_be_started(void **state)
{
    (void)state;
    assert_int_equal(from_inside(run_a_program), 42);
}

static int make_processes(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(1);
    return pid < 0 ? 42 : 1;
}

static void no_process_can_be_made(void **state)
{
    (void)state;
#ifdef WITH_SANITIZERS
    print_message("SKIPPED: the leak check of this build needs a process of its own\n");
    skip();
#endif
    assert_int_equal(from_inside(make_processes), 42);
}

static int write_files(void)
{
    if (open(inside, O_WRONLY | O_CLOEXEC) >= 0)
        return 1;
    if (open(inside, O_RDWR | O_CLOEXEC) >= 0)
        return 2;
    if (open("/tmp/sandbox-test-new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0)
        return 3;
    if (open("/etc", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600) >= 0)
        return 4;
    if (open("/etc/hosts", O_RDONLY | O_TRUNC | O_CLOEXEC) >= 0)
        return 5;
    if (unlink(inside) == 0)
        return 6;
    if (rename(inside, "/tmp/sandbox-test-moved") == 0)
        return 7;
    if (mkdir("/tmp/sandbox-test-dir", 0700) == 0)
        return 8;
    if (truncate(inside, 0) == 0)
        return 9;
    if (chmod(inside, 0666) == 0)
        return 10;
    return 42;
}

static void no_file_can_be_changed(void **state)
{
    (void)state;
    assert_int_equal(from_inside(write_files), 42);
    char byte = 0;
    assert_int_equal(pread(inside_fd, &byte, 1, 0), 1);
    assert_int_equal(byte, 'x');
}

static int write_what_was_handed_in(void)
{
    if (pwrite(inside_fd, "answer", 6, 0) != 6)
        return 1;
    return fdatasync(inside_fd) == 0 ? 42 : 2;
}

static void a_descriptor_handed_in_can_be_written_and_synced(void **state)
{
    (void)state;
    assert_int_equal(from_inside(write_what_was_handed_in), 42);
}

static int read_files(void)
{
    if (open(inside, O_RDONLY | O_CLOEXEC) >= 0)
        return 1;
    if (open("/proc/1/environ", O_RDONLY | O_CLOEXEC) >= 0)
        return 2;
    if (open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0)
        return 3;
    return 42;
}

static void nothing_but_system_files_can_be_read(void **state)
{
    (void)state;
    if (has_landlock())
        assert_int_equal(from_inside(read_files), 42);
}

static int read_certificates(void)
{
    return open("/etc/nsswitch.conf", O_RDONLY | O_CLOEXEC) >= 0 &&
                   open("/etc/ssl/certs", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 &&
                   open("/dev/urandom", O_RDONLY | O_CLOEXEC) >= 0
               ? 42
               : 1;
}

static void certificates_can_be_read(void **state)
{
    (void)state;
    assert_int_equal(from_inside(read_certificates), 42);
}

static int read_named_certificate(void)
{
    return open(inside, O_RDONLY | O_CLOEXEC) >= 0 ? 42 : 1;
}

static void a_certificate_named_by_the_user_can_be_read(void **state)
{
    (void)state;
    assert_int_equal(setenv("SSL_CERT_FILE", inside, 1), 0);
    int found = from_inside(read_named_certificate);
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    assert_int_equal(found, 42);
}

static int use_sockets(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (tcp < 0)
        return 1;
    if (bind(tcp, (struct sockaddr *)&any, sizeof(any)) == 0 || errno != EPERM)
        return 2;
    if (listen(tcp, 1) == 0)
        return 3;
    if (socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0)
        return 4;
    if (socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0)
        return 5;
    any.sin_port = htons(9); /* nobody there: refused by the network, not by us */
    if (connect(tcp, (struct sockaddr *)&any, sizeof(any)) == 0 || errno != ECONNREFUSED)
        return 6;
    return 42;
}

static void connections_go_out_and_none_come_in(void **state)
{
    (void)state;
    assert_int_equal(from_inside(use_sockets), 42);
}

static int touch_others(void)
{
    if (kill(getppid(), 0) == 0)
        return 1;
    if (ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0)
        return 2;
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0
#ifdef WITH_SANITIZERS
        && false
#endif
    )
        return 3;
    return 42;
}

static void other_processes_are_out_of_reach(void **state)
{
    (void)state;
    assert_int_equal(from_inside(touch_others), 42);
}

static void *look_up(void *result)
{
    struct addrinfo *list = NULL;
    *(int *)result = getaddrinfo("localhost", "80", NULL, &list);
    freeaddrinfo(list);
    return NULL;
}

static int look_up_in_a_thread(void)
{
    pthread_t thread;
    int result = -1;
    if (pthread_create(&thread, NULL, look_up, &result) != 0)
        return 1;
    pthread_join(thread, NULL);
    return result == 0 ? 42 : 2;
}

static void names_can_be_looked_up_in_a_thread(void **state)
{
    (void)state;
    assert_int_equal(from_inside(look_up_in_a_thread), 42);
}

static int break_an_invariant(void)
{
    abort();
}

static void a_broken_invariant_still_ends_it(void **state)
{
    (void)state;
    assert_int_equal(from_inside(break_an_invariant), 1000 + SIGABRT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(seccomp_is_on),
        TEST(no_program_can_be_started),
        TEST(no_process_can_be_made),
        TEST(no_file_can_be_changed),
        TEST(a_descriptor_handed_in_can_be_written_and_synced),
        TEST(nothing_but_system_files_can_be_read),
        TEST(certificates_can_be_read),
        TEST(a_certificate_named_by_the_user_can_be_read),
        TEST(connections_go_out_and_none_come_in),
        TEST(other_processes_are_out_of_reach),
        TEST(names_can_be_looked_up_in_a_thread),
        TEST(a_broken_invariant_still_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

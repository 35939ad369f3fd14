/* Credential files (cli/files.h): the good one, and every way to be no such thing. */
#include "cli/files.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"

static char dir[64];
static char path[128];
static struct err_text text;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/cw-files-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/login.json", dir);
    text.text[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static void write_file(size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    char *bytes = calloc(1, len + 1);
    assert_non_null(bytes);
    memset(bytes, 'x', len);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    free(bytes);
    (void)close(fd);
}

static void refused(const char *file, int err, const char *part)
{
    struct credential c = {.len = 4711};
    assert_int_equal(credential_read(file, &c, &text), err);
    assert_int_equal(c.len, 4711); /* untouched */
    if (strstr(text.text, part) == NULL) {
        fail_msg("expected \"%s\" in: %s", part, text.text);
    }
}

static void a_file_is_read_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4096, 70000, CREDENTIAL_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct credential c;
        write_file(sizes[i], 0600);
        assert_int_equal(credential_read(path, &c, &text), 0);
        assert_int_equal(c.len, sizes[i]);
        assert_int_equal(c.bytes[0], 'x');
        assert_int_equal(c.bytes[c.len - 1], 'x');
        assert_string_equal(c.source, path);
        assert_true(c.changed_wall_ms > INT64_C(1600000000000));
        credential_clear(&c);
        credential_clear(&c);
        assert_int_equal(unlink(path), 0);
    }
    credential_clear(NULL);
}

static void what_is_no_credential_file_is_named(void **state)
{
    (void)state;
    refused(path, ERR_NOT_FOUND, "No such file");
    refused(dir, ERR_INVALID, "is a folder");
    write_file(0, 0600);
    refused(path, ERR_INVALID, "is empty");
    assert_int_equal(unlink(path), 0);
    write_file(CREDENTIAL_MAX + 1, 0600);
    refused(path, ERR_TOO_LARGE, "is larger than 1048575 bytes");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    refused(path, ERR_INVALID, "is not a regular file"); /* and did not wait for a writer */
    refused("/dev/null", ERR_INVALID, "is not a regular file");
}

static void an_unreadable_file_is_named(void **state)
{
    (void)state;
    bool is_root = geteuid() == 0; /* who can read everything */
    write_file(4, 0000);
    if (is_root) {
        assert_int_equal(seteuid(65534), 0);
    }
    refused(path, ERR_DENIED, "Permission denied");
    if (is_root) {
        assert_int_equal(seteuid(0), 0);
    }
}

static void standard_input_is_a_source_too(void **state)
{
    (void)state;
    int pipe_fds[2];
    int kept = dup(STDIN_FILENO);
    struct credential c;
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(write(pipe_fds[1], "ab", 2), 2);
    (void)close(pipe_fds[1]);
    (void)dup2(pipe_fds[0], STDIN_FILENO);
    assert_int_equal(credential_read("-", &c, &text), 0);
    assert_int_equal(c.len, 2);
    assert_memory_equal(c.bytes, "ab", 2);
    assert_string_equal(c.source, "stdin");
    assert_int_equal(c.changed_wall_ms, 0);
    credential_clear(&c);
    refused("-", ERR_INVALID, "standard input is empty");
    (void)dup2(kept, STDIN_FILENO);
    (void)close(kept);
    (void)close(pipe_fds[0]);
}

static void a_terminal_is_refused_with_a_hint(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    int kept = dup(STDIN_FILENO);
    char name[64];
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    assert_int_equal(ptsname_r(master, name, sizeof(name)), 0);
    int terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    (void)dup2(terminal, STDIN_FILENO);
    refused("-", ERR_INVALID, "--from FILE");
    (void)dup2(kept, STDIN_FILENO);
    (void)close(kept);
    (void)close(terminal);
    (void)close(master);
}

static void paths_become_absolute(void **state)
{
    (void)state;
    char here[512];
    char whole[FILE_PATH_SIZE];
    char expected[256];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(path_absolute("a/../b c", whole, sizeof(whole), &text), 0);
    (void)snprintf(expected, sizeof(expected), "%s/a/../b c", dir);
    assert_string_equal(whole, expected);
    assert_int_equal(path_absolute("/x", whole, sizeof(whole), &text), 0);
    assert_string_equal(whole, "/x");
    assert_int_equal(path_absolute("0123456789", whole, 10, &text), ERR_TOO_LARGE);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(path_absolute("x", whole, sizeof(whole), &text), 0);
    assert_string_equal(whole, "/x");
    assert_int_equal(chdir(here), 0);
}

static void only_a_private_folder_is_ours(void **state)
{
    (void)state;
    assert_true(dir_is_ours(dir, geteuid()));
    assert_false(dir_is_ours(dir, geteuid() + 1));
    assert_int_equal(chmod(dir, 0750), 0);
    assert_false(dir_is_ours(dir, geteuid()));
    assert_int_equal(chmod(dir, 0700), 0);
    assert_int_equal(symlink(dir, path), 0);
    assert_false(dir_is_ours(path, geteuid()));
    assert_false(dir_is_ours("/nonexistent", geteuid()));
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_file_is_read_whole),
        STORY(what_is_no_credential_file_is_named),
        STORY(an_unreadable_file_is_named),
        STORY(standard_input_is_a_source_too),
        STORY(a_terminal_is_refused_with_a_hint),
        STORY(paths_become_absolute),
        STORY(only_a_private_folder_is_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

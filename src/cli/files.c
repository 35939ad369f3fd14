/* Files and terminals, as files.h has it. */
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/str.h"

_Static_assert(CREDENTIAL_MAX <= SECRET_MAX, "the largest credential fits into one allocation");

/* An open, readable, regular file; or says why not. O_NONBLOCK: a FIFO must not hang us here. */
static int open_regular(const char *path, struct stat *ret_st, int *ret_fd, struct err_text *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return err_say(text, err_from_errno(errno), "cannot read '%s': %s", path, strerror(errno));
    }
    int err = 0;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        err = err_say(text, ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        err = err_say(text, ERR_INVALID, "'%s' is a folder, not a credential file", path);
    } else if (!S_ISREG(st.st_mode)) {
        err = err_say(text, ERR_INVALID,
                      "'%s' is not a regular file; to read from a pipe, use --from -", path);
    }
    if (err != 0) {
        (void)close(fd);
        return err;
    }
    *ret_st = st;
    *ret_fd = fd;
    return 0;
}

/* Up to `size` bytes, until the end of the file. Negative: errno is set. */
static ssize_t read_up_to(int fd, char *bytes, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, bytes + len, size - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* The size said by fstat() proves nothing, so what counts is what read() gives. */
static int read_whole(int fd, const char *label, struct credential *c, struct err_text *text)
{
    c->bytes = secret_alloc(CREDENTIAL_MAX);
    if (c->bytes == NULL) {
        return err_say(text, ERR_NOMEM, "there is not enough memory to read %s", label);
    }
    ssize_t n = read_up_to(fd, c->bytes, CREDENTIAL_MAX);
    char beyond = 0;
    ssize_t more = n == CREDENTIAL_MAX ? read_up_to(fd, &beyond, 1) : 0;
    secret_wipe(&beyond, sizeof(beyond));
    if (n < 0 || more < 0) {
        return err_say(text, err_from_errno(errno), "cannot read %s: %s", label, strerror(errno));
    }
    if (more > 0) {
        return err_say(text, ERR_TOO_LARGE, "%s is larger than %d bytes: that is no credential",
                       label, CREDENTIAL_MAX);
    }
    if (n == 0) {
        return err_say(text, ERR_INVALID, "%s is empty: there is no credential in it", label);
    }
    c->len = (size_t)n;
    return 0;
}

static int read_stdin(struct credential *c, struct err_text *text)
{
    if (stdin_is_terminal()) {
        return err_say(text, ERR_INVALID,
                       "standard input is a terminal: pipe the credential file into it, or name "
                       "the file with --from FILE");
    }
    (void)str_copy(c->source, sizeof(c->source), "stdin");
    return read_whole(STDIN_FILENO, "standard input", c, text);
}

static int read_file(const char *path, struct credential *c, struct err_text *text)
{
    struct stat st = {0};
    int fd = -1;
    int err = path_absolute(path, c->source, sizeof(c->source), text);
    if (err == 0) {
        err = open_regular(path, &st, &fd, text);
    }
    if (err != 0) {
        return err;
    }
    c->changed_wall_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    char label[FILE_PATH_SIZE + 2];
    (void)snprintf(label, sizeof(label), "'%s'", path);
    err = read_whole(fd, label, c, text);
    (void)close(fd);
    return err;
}

int credential_read(const char *path, struct credential *ret, struct err_text *text)
{
    struct credential c = {0};
    int err = strcmp(path, "-") == 0 ? read_stdin(&c, text) : read_file(path, &c, text);
    if (err != 0) {
        credential_clear(&c);
        return err;
    }
    *ret = c;
    return 0;
}

void credential_clear(struct credential *c)
{
    if (c != NULL) {
        secret_free(c->bytes);
        c->bytes = NULL;
        c->len = 0;
    }
}

int path_absolute(const char *path, char *ret, size_t size, struct err_text *text)
{
    char here[FILE_PATH_SIZE] = "";
    bool is_absolute = path[0] == '/';
    if (!is_absolute && getcwd(here, sizeof(here)) == NULL) {
        return err_say(text, err_from_errno(errno), "the current folder has no path: %s",
                       strerror(errno));
    }
    const char *between = is_absolute || strcmp(here, "/") == 0 ? "" : "/";
    int n = snprintf(ret, size, "%s%s%s", strcmp(here, "/") == 0 ? "/" : here, between, path);
    if (n < 0 || (size_t)n >= size) {
        return err_say(text, ERR_TOO_LARGE, "the path is longer than %zu bytes: '%.64s…'", size - 1,
                       path);
    }
    if (!str_is_utf8(ret, (size_t)n)) {
        return err_say(text, ERR_INVALID, "the path is not valid UTF-8: '%s'", ret);
    }
    return 0;
}

int write_out(const void *bytes, size_t len, struct err_text *text)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_say(text, err_from_errno(errno), "cannot write to standard output: %s",
                           strerror(errno));
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

bool stdin_is_terminal(void)
{
    return isatty(STDIN_FILENO) == 1;
}

bool stderr_is_terminal(void)
{
    return isatty(STDERR_FILENO) == 1;
}

bool confirm(const char *question)
{
    char line[16];
    (void)fprintf(stderr, "%s [y/N] ", question);
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return false;
    }
    line[strcspn(line, "\r\n")] = '\0';
    return strcmp(line, "y") == 0 || strcmp(line, "yes") == 0;
}

bool dir_is_ours(const char *dir, uint32_t uid)
{
    struct stat st;
    return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid &&
           (st.st_mode & 077) == 0;
}

int find_socket(char ret[PATHS_SIZE], bool *ret_given, struct err_text *text)
{
    const struct paths_world world = {getenv, geteuid(), dir_is_ours};
    return paths_find_socket(&world, ret, ret_given, text);
}

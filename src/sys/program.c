/*
 * Where our programs are, and whether the running one is still the installed one.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/io.h"
#include "sys/process.h"

/* The path the running program was started from. The kernel appends " (deleted)" once that name
 * leads elsewhere; which is no proof, since a file may be called that. */
static int running_path(char ret[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX);
    if (n < 0) {
        return err_from_errno(errno);
    }
    if (n == PATH_MAX) {
        return ERR_TOO_LARGE;
    }
    ret[n] = '\0';
    return 0;
}

/* An executable regular file `folder`/`name`. */
static int look_in(const char *folder, const char *name, char *ret, size_t size)
{
    char path[PATH_MAX];
    struct file_facts facts;
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return ERR_TOO_LARGE;
    }
    int err = path_look(PATH_CWD, path, true, &facts);
    if (err < 0) {
        return err;
    }
    if (facts.kind != FILE_REGULAR || (facts.mode & 0111) == 0) {
        return ERR_NOT_FOUND;
    }
    if (access(path, X_OK) != 0) {
        return err_from_errno(errno);
    }
    if ((size_t)n >= size) {
        return ERR_TOO_LARGE;
    }
    memcpy(ret, path, (size_t)n + 1);
    return 0;
}

int program_path(const char *name, char *ret, size_t size)
{
    char beside[PATH_MAX];
    if (name[0] == '\0' || strchr(name, '/') != NULL) {
        return ERR_INVALID;
    }
    const char *chosen = getenv("CREDWARDEN_LIBEXEC");
    int first = ERR_NOT_FOUND;
    int err = ERR_NOT_FOUND;
    if (chosen != NULL && chosen[0] == '/') {
        err = first = look_in(chosen, name, ret, size);
    }
    if (err < 0) {
        err = running_path(beside);
        if (err == 0) {
            *strrchr(beside, '/') = '\0';
            err = look_in(beside, name, ret, size);
        }
        first = first == ERR_NOT_FOUND ? err : first;
    }
    if (err < 0) {
        err = look_in(CREDWARDEN_LIBEXECDIR, name, ret, size);
        first = first == ERR_NOT_FOUND ? err : first;
    }
    return err == 0 ? 0 : first;
}

bool program_is_replaced(void)
{
    static const char suffix[] = " (deleted)";
    char path[PATH_MAX];
    struct file_facts running;
    struct file_facts installed;
    if (running_path(path) != 0 || path_look(PATH_CWD, "/proc/self/exe", true, &running) < 0) {
        return false;
    }
    if (path_look(PATH_CWD, path, true, &installed) < 0) {
        size_t len = strlen(path);
        size_t cut = sizeof(suffix) - 1;
        if (len <= cut || strcmp(path + len - cut, suffix) != 0) {
            return false;
        }
        path[len - cut] = '\0';
        if (path_look(PATH_CWD, path, true, &installed) < 0) {
            return false; /* removed, and nothing in its place to change over to */
        }
    }
    return running.dev != installed.dev || running.ino != installed.ino;
}

/*
 * What the targets of our own files share: a folder to put an input into as a file. It is in
 * $TMPDIR, which the driver puts into memory.
 */
#ifndef FUZZ_FILES_H
#define FUZZ_FILES_H

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "fuzz.h"

struct folder {
    int fd; /* -1 until it is opened */
    char name[200];
    char path[256]; /* in it, as path_of() made it last */
};

static inline void open_folder(struct folder *f)
{
    const char *temp = getenv("TMPDIR");
    if (f->fd >= 0) {
        return;
    }
    (void)snprintf(f->name, sizeof(f->name), "%s/fuzz-files-XXXXXX", temp != NULL ? temp : "/tmp");
    CHECK(mkdtemp(f->name) != NULL);
    f->fd = open(f->name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    CHECK(f->fd >= 0);
}

static inline const char *path_of(struct folder *f, const char *name)
{
    (void)snprintf(f->path, sizeof(f->path), "%s/%s", f->name, name);
    return f->path;
}

/* `size`: of the file, when it is more than `len`; else 0. */
static inline void write_file(const struct folder *f, const char *name, const void *bytes,
                              size_t len, off_t size)
{
    int fd = openat(f->fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, len, 0) == (ssize_t)len);
    CHECK(size == 0 || ftruncate(fd, size) == 0);
    (void)close(fd);
}

#endif

/*
 * A journal of what the programs under test do to their disk, for power.py, which makes from it the
 * disks that a power loss could leave behind.
 *
 * Loaded with LD_PRELOAD, it writes down every call that changes a file or a name below one folder,
 * every sync and who asked for it, and every time bytes leave through a socket. One lock, shared by
 * all processes, is held over call and record, so the journal's order is the order in which things
 * happened. It is mapped before the program begins, so it works inside the spender's sandbox, and
 * what was noted survives the death of the process.
 *
 * What it does not know (mapped files, copy_file_range(), stdio) would show: the reader compares
 * the files that the journal leads to with the ones that are there.
 *
 * The test itself loads it, too: the functions disk_log_*() are for it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define JOURNAL_SIZE ((uint64_t)512 << 20) /* sparse */
#define FRAMES_MAX   24
#define SENT_MAX     4096 /* of what leaves through a socket, so much is kept */

enum kind {
    KIND_CREATE = 1, /* path, ino */
    KIND_FOLDER,     /* path, ino */
    KIND_WRITE,      /* ino, at, bytes */
    KIND_SIZE,       /* ino, at: the new size */
    KIND_RENAME,     /* path, other */
    KIND_LINK,       /* path, other */
    KIND_REMOVE,     /* path */
    KIND_SYNC,       /* ino, frames */
    KIND_SENT,       /* at: domain and type of the socket; bytes. Noted before they leave */
    KIND_MARK,       /* bytes: what the test has to say */
    KIND_PROGRAM,    /* path: what this process runs */
};

struct record {
    uint32_t size; /* of the whole, a multiple of 8 */
    uint16_t kind;
    uint16_t n_frames;
    int32_t pid;
    uint32_t path_len;
    uint32_t other_len;
    uint32_t n_bytes;
    uint64_t ino;
    int64_t at;
    /* frames (offsets in the program's file; 0 stands for a library's), path, other, bytes */
};

struct journal {
    uint64_t end; /* of the last whole record */
    uint64_t dev; /* files of other devices are none of ours */
    uint64_t kill_ino;
    char root[256];
    pthread_mutex_t lock;
};

static struct journal *journal;
static char boot_id_path[PATH_MAX];
struct extent {
    uintptr_t base, end;
};
static struct extent program, ourselves;

/* The next definition of a function, whenever it is first needed. */
#define REAL(name)                                                                                 \
    ({                                                                                             \
        static __typeof__(&name) found_;                                                           \
        if (found_ == NULL)                                                                        \
            *(void **)&found_ = dlsym(RTLD_NEXT, #name);                                           \
        found_;                                                                                    \
    })

/* ---- The journal ---------------------------------------------------------------------------- */

static void lock(void)
{
    if (pthread_mutex_lock(&journal->lock) == EOWNERDEAD) /* who was killed noted nothing half */
        (void)pthread_mutex_consistent(&journal->lock);
}

static void unlock(void)
{
    int before = errno;
    (void)pthread_mutex_unlock(&journal->lock);
    errno = before;
}

struct note {
    enum kind kind;
    uint64_t ino;
    int64_t at;
    const char *path, *other;
    const void *bytes;
    size_t n_bytes;
    const uint64_t *frames;
    size_t n_frames;
};

static uint8_t *put(uint8_t *to, const void *bytes, size_t n)
{
    return n > 0 ? (uint8_t *)memcpy(to, bytes, n) + n : to;
}

/* With the lock held. */
static void note(const struct note *n)
{
    struct record r = {
        .kind = (uint16_t)n->kind,
        .n_frames = (uint16_t)n->n_frames,
        .pid = getpid(),
        .path_len = n->path != NULL ? (uint32_t)strlen(n->path) : 0,
        .other_len = n->other != NULL ? (uint32_t)strlen(n->other) : 0,
        .n_bytes = (uint32_t)n->n_bytes,
        .ino = n->ino,
        .at = n->at,
    };
    size_t size = sizeof(r) + n->n_frames * sizeof(uint64_t) + r.path_len + r.other_len + r.n_bytes;
    r.size = (uint32_t)((size + 7) & ~(size_t)7);
    if (journal->end + r.size > JOURNAL_SIZE)
        abort(); /* a journal with holes proves nothing */
    uint8_t *to = put((uint8_t *)journal + journal->end, &r, sizeof(r));
    to = put(to, n->frames, n->n_frames * sizeof(uint64_t));
    to = put(to, n->path, r.path_len);
    to = put(to, n->other, r.other_len);
    (void)put(to, n->bytes, r.n_bytes);
    journal->end += r.size;
}

static struct extent extent_of(const struct dl_phdr_info *info)
{
    struct extent e = {.base = info->dlpi_addr};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && e.base + p->p_vaddr + p->p_memsz > e.end)
            e.end = e.base + p->p_vaddr + p->p_memsz;
    }
    return e;
}

static bool is_in(const struct extent *e, uintptr_t at)
{
    return at >= e->base && at < e->end;
}

static int find_extents(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    struct extent e = extent_of(info);
    if (program.end == 0) /* the first is the program itself */
        program = e;
    if (is_in(&e, (uintptr_t)&journal))
        ourselves = e;
    return 0;
}

static int attach(const char *path)
{
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    void *map =
        fd < 0 ? MAP_FAILED : mmap(NULL, JOURNAL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (map == MAP_FAILED)
        return -1;
    journal = map;
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    void *warm_up[1];
    const char *path = getenv("DISK_LOG");
    if (path == NULL)
        return;
    (void)dl_iterate_phdr(find_extents, NULL);
    (void)backtrace(warm_up, 1); /* loads what it needs: later the sandbox would not let it */
    (void)snprintf(boot_id_path, sizeof(boot_id_path), "%s.boot-id", path);
    char self[PATH_MAX] = "";
    if (attach(path) != 0 || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        abort();
    lock();
    note(&(struct note){.kind = KIND_PROGRAM, .path = self});
    unlock();
}

/* ---- What a call is about ------------------------------------------------------------------- */

/* The absolute path, if it is below the folder. */
static bool is_ours(int dir_fd, const char *path, char ret[PATH_MAX])
{
    char folder[PATH_MAX] = "", link_path[64];
    if (journal == NULL)
        return false;
    if (path[0] != '/' && dir_fd == AT_FDCWD) {
        if (getcwd(folder, sizeof(folder)) == NULL)
            return false;
    } else if (path[0] != '/') {
        (void)snprintf(link_path, sizeof(link_path), "/proc/self/fd/%d", dir_fd);
        ssize_t n = readlink(link_path, folder, sizeof(folder) - 1);
        folder[n > 0 ? n : 0] = '\0';
    }
    int n = snprintf(ret, PATH_MAX, "%s%s%s", folder, path[0] == '/' ? "" : "/", path);
    size_t root_len = strlen(journal->root);
    return n > 0 && n < PATH_MAX && strncmp(ret, journal->root, root_len) == 0 &&
           (ret[root_len] == '/' || ret[root_len] == '\0');
}

/* A file or folder on the journal's device. */
static bool is_kept(int fd, struct stat *st)
{
    int before = errno;
    bool is = journal != NULL && fstat(fd, st) == 0 && st->st_dev == journal->dev &&
              (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
    errno = before;
    return is;
}

static void note_sent(int fd, const struct iovec *parts, size_t n_parts)
{
    char bytes[SENT_MAX];
    size_t len = 0;
    int type = 0, domain = 0;
    socklen_t size = sizeof(int);
    int before = errno;
    if (journal != NULL && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0) {
        for (size_t i = 0; i < n_parts && len < sizeof(bytes); i++) {
            size_t room = sizeof(bytes) - len;
            size_t n = parts[i].iov_len < room ? parts[i].iov_len : room;
            memcpy(bytes + len, parts[i].iov_base, n);
            len += n;
        }
        lock();
        note(&(struct note){
            .kind = KIND_SENT, .at = domain << 8 | type, .bytes = bytes, .n_bytes = len});
        unlock();
    }
    errno = before;
}

/* ---- Opening and names ---------------------------------------------------------------------- */

static void note_opened(int fd, const char *path, bool was_there, int flags)
{
    struct stat st;
    if (!is_kept(fd, &st))
        return;
    if (!was_there)
        note(&(struct note){.kind = KIND_CREATE, .path = path, .ino = st.st_ino});
    else if ((flags & O_TRUNC) != 0)
        note(&(struct note){.kind = KIND_SIZE, .ino = st.st_ino});
}

static int log_open(int dir_fd, const char *path, int flags, mode_t mode)
{
    char whole[PATH_MAX];
    bool may_change = (flags & (O_CREAT | O_TRUNC)) != 0 && is_ours(dir_fd, path, whole);
    if (journal != NULL && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
        return REAL(openat)(AT_FDCWD, boot_id_path, O_RDONLY | O_CLOEXEC);
    if (!may_change)
        return REAL(openat)(dir_fd, path, flags, mode);
    lock();
    struct stat st;
    bool was_there = fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    int fd = REAL(openat)(dir_fd, path, flags, mode);
    if (fd >= 0)
        note_opened(fd, whole, was_there, flags);
    unlock();
    return fd;
}

#define MODE_OF(flags)                                                                             \
    ({                                                                                             \
        mode_t mode_ = 0;                                                                          \
        if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {                                              \
            va_list args_;                                                                         \
            va_start(args_, flags);                                                                \
            mode_ = va_arg(args_, mode_t);                                                         \
            va_end(args_);                                                                         \
        }                                                                                          \
        mode_;                                                                                     \
    })

int open(const char *path, int flags, ...)
{
    return log_open(AT_FDCWD, path, flags, MODE_OF(flags));
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    return log_open(dir_fd, path, flags, MODE_OF(flags));
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    char whole[PATH_MAX];
    struct stat st;
    if (!is_ours(dir_fd, path, whole))
        return REAL(mkdirat)(dir_fd, path, mode);
    lock();
    int rc = REAL(mkdirat)(dir_fd, path, mode);
    if (rc == 0 && fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        note(&(struct note){.kind = KIND_FOLDER, .path = whole, .ino = st.st_ino});
    unlock();
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    char path[PATH_MAX], other[PATH_MAX];
    if (!is_ours(from_fd, from, path) || !is_ours(to_fd, to, other))
        return REAL(renameat)(from_fd, from, to_fd, to);
    lock();
    int rc = REAL(renameat)(from_fd, from, to_fd, to);
    if (rc == 0)
        note(&(struct note){.kind = KIND_RENAME, .path = path, .other = other});
    unlock();
    return rc;
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
    char path[PATH_MAX], other[PATH_MAX];
    if (!is_ours(from_fd, from, path) || !is_ours(to_fd, to, other))
        return REAL(renameat2)(from_fd, from, to_fd, to, flags);
    if ((flags & ~(unsigned int)RENAME_NOREPLACE) != 0)
        abort(); /* two names that are exchanged are not modelled */
    lock();
    int rc = REAL(renameat2)(from_fd, from, to_fd, to, flags);
    if (rc == 0)
        note(&(struct note){.kind = KIND_RENAME, .path = path, .other = other});
    unlock();
    return rc;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    char path[PATH_MAX], other[PATH_MAX];
    if (!is_ours(from_fd, from, path) || !is_ours(to_fd, to, other))
        return REAL(linkat)(from_fd, from, to_fd, to, flags);
    lock();
    int rc = REAL(linkat)(from_fd, from, to_fd, to, flags);
    if (rc == 0)
        note(&(struct note){.kind = KIND_LINK, .path = path, .other = other});
    unlock();
    return rc;
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    char whole[PATH_MAX];
    if (!is_ours(dir_fd, path, whole))
        return REAL(unlinkat)(dir_fd, path, flags);
    lock();
    int rc = REAL(unlinkat)(dir_fd, path, flags);
    if (rc == 0)
        note(&(struct note){.kind = KIND_REMOVE, .path = whole});
    unlock();
    return rc;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* ---- Content -------------------------------------------------------------------------------- */

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    struct stat st;
    if (!is_kept(fd, &st))
        return REAL(pwrite)(fd, bytes, len, at);
    lock();
    ssize_t n = REAL(pwrite)(fd, bytes, len, at);
    if (n > 0)
        note(&(struct note){
            .kind = KIND_WRITE, .ino = st.st_ino, .at = at, .bytes = bytes, .n_bytes = (size_t)n});
    unlock();
    return n;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    struct stat st;
    if (!is_kept(fd, &st)) {
        note_sent(fd, &(struct iovec){(void *)(uintptr_t)bytes, len}, 1);
        return REAL(write)(fd, bytes, len);
    }
    lock();
    ssize_t n = REAL(write)(fd, bytes, len);
    if (n > 0)
        note(&(struct note){.kind = KIND_WRITE,
                            .ino = st.st_ino,
                            .at = lseek(fd, 0, SEEK_CUR) - n,
                            .bytes = bytes,
                            .n_bytes = (size_t)n});
    unlock();
    return n;
}

int ftruncate(int fd, off_t len)
{
    struct stat st;
    if (!is_kept(fd, &st))
        return REAL(ftruncate)(fd, len);
    lock();
    int rc = REAL(ftruncate)(fd, len);
    if (rc == 0)
        note(&(struct note){.kind = KIND_SIZE, .ino = st.st_ino, .at = len});
    unlock();
    return rc;
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    note_sent(fd, parts, n > 0 ? (size_t)n : 0);
    return REAL(writev)(fd, parts, n);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    note_sent(fd, &(struct iovec){(void *)(uintptr_t)bytes, len}, 1);
    return REAL(send)(fd, bytes, len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    note_sent(fd, m->msg_iov, m->msg_iovlen);
    return REAL(sendmsg)(fd, m, flags);
}

/* ---- Syncs ---------------------------------------------------------------------------------- */

static void note_sync(uint64_t ino)
{
    void *called_from[FRAMES_MAX];
    uint64_t frames[FRAMES_MAX];
    size_t n_frames = 0;
    int n = backtrace(called_from, FRAMES_MAX);
    for (int i = 0; i < n; i++) {
        uintptr_t at = (uintptr_t)called_from[i];
        if (!is_in(&ourselves, at))
            frames[n_frames++] = is_in(&program, at) ? at - program.base : 0;
    }
    note(&(struct note){.kind = KIND_SYNC, .ino = ino, .frames = frames, .n_frames = n_frames});
}

static int log_sync(int fd, int (*sync_it)(int fd))
{
    struct stat st;
    if (!is_kept(fd, &st))
        return sync_it(fd);
    lock();
    if (journal->kill_ino == st.st_ino) {
        journal->kill_ino = 0;
        (void)raise(SIGKILL);
    }
    int rc = sync_it(fd);
    if (rc == 0)
        note_sync(st.st_ino);
    unlock();
    return rc;
}

int fsync(int fd)
{
    return log_sync(fd, REAL(fsync));
}

int fdatasync(int fd)
{
    return log_sync(fd, REAL(fdatasync));
}

/* ---- The same under the names of large files ------------------------------------------------ */

#ifdef __LP64__
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int openat64(int dir_fd, const char *path, int flags, ...) __attribute__((alias("openat")));
ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at) __attribute__((alias("pwrite")));
int ftruncate64(int fd, off_t len) __attribute__((alias("ftruncate")));
#endif

/* ---- For the test --------------------------------------------------------------------------- */

int disk_log_begin(const char *path, const char *root);
void disk_log_mark(const char *bytes, size_t n_bytes);
void disk_log_kill(pid_t pid);
void disk_log_kill_at_sync(uint64_t ino);
uint64_t disk_log_head(void);
void disk_log_end(void);

/* Make a journal of what happens below `root`, and write into it, too. */
int disk_log_begin(const char *path, const char *root)
{
    struct stat st;
    pthread_mutexattr_t shared;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool made = fd >= 0 && ftruncate(fd, (off_t)JOURNAL_SIZE) == 0 && fstat(fd, &st) == 0;
    (void)close(fd);
    if (!made || strlen(root) >= sizeof(journal->root) || attach(path) != 0)
        return -1;
    journal->end = sizeof(*journal);
    journal->dev = st.st_dev;
    (void)snprintf(journal->root, sizeof(journal->root), "%s", root);
    return pthread_mutexattr_init(&shared) == 0 &&
                   pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED) == 0 &&
                   pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST) == 0 &&
                   pthread_mutex_init(&journal->lock, &shared) == 0
               ? 0
               : -1;
}

void disk_log_mark(const char *bytes, size_t n_bytes)
{
    lock();
    note(&(struct note){.kind = KIND_MARK, .bytes = bytes, .n_bytes = n_bytes});
    unlock();
}

/* SIGKILL between two calls: none is done and not noted. */
void disk_log_kill(pid_t pid)
{
    lock();
    (void)kill(pid, SIGKILL);
    unlock();
}

/* Whoever is about to sync this file next dies instead. */
void disk_log_kill_at_sync(uint64_t ino)
{
    lock();
    journal->kill_ino = ino;
    unlock();
}

/* Where the records begin; where they end is the first number in the file. */
uint64_t disk_log_head(void)
{
    return sizeof(struct journal);
}

void disk_log_end(void)
{
    (void)munmap(journal, JOURNAL_SIZE);
    journal = NULL;
}

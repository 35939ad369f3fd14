/*
 * Fault points: preloaded into one of our programs, this library stands before the calls of the C
 * library by which the program and its libraries reach the system, and numbers them. A call can be
 * made to fail, or to be the last one its process makes.
 *
 * What is to happen stands on a sheet, a small file that the driver made (test/fault/points.py) and
 * that $POINTS_SHEET names. It is mapped once, in the constructor: so a sandboxed program needs no
 * further calls, the numbers outlive a SIGKILL, and the driver can arm it in the middle of a story.
 *
 * Left out, because the kernel does not let them fail, or only for a mistake in the call: clocks
 * and the arming of timers, locks between threads, closing, waiting for an event or a child,
 * signals, ioctl(). What libc calls inside itself is not seen: the name service, and what stdio
 * reads, which are our libraries' own files (certificates, settings), before anything is sent;
 * without them nothing is. What our programs write through stdio (the log, what a command prints)
 * leaves with fflush(), which is a point; by itself stdio would write only what is longer than its
 * buffer.
 */
#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum role { ROLE_NONE, ROLE_DAEMON, ROLE_SPENDER, ROLE_CLI, ROLE_OTHER, ROLE_COUNT };

/* In the order of points.py. */
enum class {
    MEMORY,
    MAP,
    OPEN,
    READ,
    WRITE,
    SYNC,
    NAME,
    LOOK,
    ROOM,
    LOCK,
    DESCRIPTOR,
    CONNECT,
    ACCEPT,
    SEND,
    RECEIVE,
    PROCESS,
    RANDOM,
    PIPE,
    SETTING,
    WAIT,
    SECRET,
    CLASS_COUNT
};

enum act { COUNT, FAIL_ONCE, FAIL_ON, KILL_BEFORE, KILL_AFTER };

/* BOTH: the other one at once, or at its next point. */
enum who { ITSELF, BOTH, OTHER };

#define SHORT_WRITE (-1) /* in place of an errno: half of it is written */
#define LEFT_OUT    (-2) /* of a sync: it is not made, and said to be */
#define CRASH_TEXT  2048
#define MEMORY_MAX  32768 /* whose places are noted, of each program */
#define DEPTH       24    /* frames of a call that are looked at */

struct sheet { /* points.py has the same, field by field */
    _Atomic uint32_t armed;
    uint32_t role;
    uint32_t classes; /* bit mask */
    uint32_t act;
    uint32_t who; /* dies at a kill, of daemon and spender */
    int32_t errnum;
    uint64_t nth; /* 1, 2, … */
    _Atomic uint64_t reached;
    _Atomic uint32_t struck;
    _Atomic uint32_t doomed; /* whoever comes to a point dies there */
    _Atomic uint32_t held;   /* stands at its point until the driver has killed the other one */
    _Atomic int32_t pids[ROLE_COUNT];
    _Atomic uint64_t heard; /* what the spender had of the answer to its latest question, */
    uint64_t heard_before;  /* in bytes; and before the strike */
    int32_t victim;         /* the process that was struck */
    _Atomic uint64_t counts[ROLE_COUNT][CLASS_COUNT];
    char call[32];          /* that was struck */
    char where[CRASH_TEXT]; /* and from where it was made */
    _Atomic int32_t crash_signal;
    int32_t crash_role;
    char crash_where[CRASH_TEXT];
    uint32_t places[ROLE_COUNT][MEMORY_MAX]; /* where each allocation was made that was counted */
};

static struct sheet *sheet;
static enum role role;
static __thread int inside; /* what we call ourselves is no point */

/* ---- Telling where -------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void append(char *to, size_t *len, const char *format,
                                                         ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(to + *len, CRASH_TEXT - *len, format, args);
    va_end(args);
    if (n > 0)
        *len = *len + (size_t)n < CRASH_TEXT ? *len + (size_t)n : CRASH_TEXT - 1;
}

/* "program+0x1234 libsqlite3.so.0+0x567 …", the innermost first: for addr2line. Without our own
 * frames, and what a sanitizer puts before them. */
static void tell_where(char to[CRASH_TEXT])
{
    void *frames[DEPTH];
    size_t len = 0;
    Dl_info own, info;
    inside++;
    int n = backtrace(frames, DEPTH), first = 0;
    (void)dladdr(&sheet, &own);
    for (int i = 0; i < n; i++)
        if (dladdr(frames[i], &info) != 0 && info.dli_fbase == own.dli_fbase)
            first = i + 1;
        else if (first > 0)
            break;
    for (int i = first; i < n; i++) {
        if (dladdr(frames[i], &info) == 0 || info.dli_fname == NULL)
            continue;
        const char *slash = strrchr(info.dli_fname, '/');
        append(to, &len, "%s+0x%zx ", slash != NULL ? slash + 1 : info.dli_fname,
               (size_t)((char *)frames[i] - (char *)info.dli_fbase));
    }
    inside--;
}

/* The same in one number: in one process, calls from one place have the same. */
static uint32_t place(void)
{
    void *frames[DEPTH];
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    inside++;
    int n = backtrace(frames, DEPTH);
    for (int i = 0; i < n; i++)
        hash = (hash ^ (uintptr_t)frames[i]) * 1099511628211u;
    inside--;
    return (uint32_t)(hash >> 32);
}

/* ---- Points --------------------------------------------------------------------------------- */

static _Noreturn void die(void)
{
    /* What a sandboxed process may do to itself; the other program is not its to signal. */
    for (;;)
        (void)syscall(SYS_tgkill, (int)syscall(SYS_getpid), (int)syscall(SYS_gettid), SIGKILL);
}

static void kill_as_told(void)
{
    if (sheet->who == OTHER) {
        atomic_store(&sheet->held, 1);
        while (atomic_load(&sheet->held) != 0) {
            /* No call: the sandbox may not know it. */
        }
        return;
    }
    if (sheet->who == BOTH) {
        atomic_store(&sheet->doomed, 1);
        enum role other = role == ROLE_DAEMON ? ROLE_SPENDER : ROLE_DAEMON;
        int pid = atomic_load(&sheet->pids[other]);
        if (pid > 0)
            (void)syscall(SYS_kill, pid, SIGKILL);
    }
    die();
}

struct point {
    bool fails;
    bool kills_after;
};

static struct point meet(enum class c, const char *call)
{
    struct point p = {false, false};
    if (sheet == NULL || inside > 0 || atomic_load(&sheet->armed) == 0)
        return p;
    if (atomic_load(&sheet->doomed) != 0 && role != ROLE_CLI)
        die();
    uint64_t so_far = atomic_fetch_add(&sheet->counts[role][c], 1);
    if (c == MEMORY && sheet->act == COUNT && so_far < MEMORY_MAX) {
        int before = errno;
        sheet->places[role][so_far] = place();
        errno = before;
    }
    if (sheet->role != role || (sheet->classes >> c & 1) == 0)
        return p;
    uint64_t n = atomic_fetch_add(&sheet->reached, 1) + 1;
    enum act act = (enum act)sheet->act;
    if (act == COUNT || n < sheet->nth || (act != FAIL_ON && n > sheet->nth))
        return p;
    if (atomic_fetch_add(&sheet->struck, 1) == 0) {
        sheet->heard_before = atomic_load(&sheet->heard);
        sheet->victim = (int32_t)getpid();
        size_t len = strlen(call);
        memcpy(sheet->call, call, len < sizeof(sheet->call) ? len : sizeof(sheet->call) - 1);
        int before = errno;
        tell_where(sheet->where);
        errno = before;
    }
    /* Behind an execve() nobody is left to die: the new program has its own points. */
    if (act == KILL_BEFORE || (act == KILL_AFTER && strcmp(call, "execve") == 0))
        kill_as_told();
    p.kills_after = act == KILL_AFTER;
    p.fails = act == FAIL_ONCE || act == FAIL_ON;
    return p;
}

static void leave(struct point p)
{
    if (p.kills_after)
        kill_as_told();
}

/* ---- The true calls ------------------------------------------------------------------------- */

static void *true_call(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        static const char text[] = "points: a call has no original\n";
        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
        _exit(126);
    }
    return found;
}

/* Looked up at first use; the constructor uses all of them once, so that nobody looks anything up
 * between fork() and exec(). */
#define TRUE(type, name, params)                                                                   \
    static type(*true_##name) params;                                                              \
    __attribute__((constructor(101))) static void find_##name(void)                                \
    {                                                                                              \
        *(void **)&true_##name = true_call(#name);                                                 \
    }

#define NEED(name)                                                                                 \
    do {                                                                                           \
        if (true_##name == NULL)                                                                   \
            find_##name();                                                                         \
    } while (0)

/* A call that says with `bad` and errno that it failed. */
#define POINT(class, type, name, params, args, bad)                                                \
    TRUE(type, name, params)                                                                       \
    EXPORT type name params                                                                        \
    {                                                                                              \
        NEED(name);                                                                                \
        struct point p = meet(class, #name);                                                       \
        if (p.fails) {                                                                             \
            errno = sheet->errnum;                                                                 \
            return bad;                                                                            \
        }                                                                                          \
        type result = true_##name args;                                                            \
        leave(p);                                                                                  \
        return result;                                                                             \
    }

/* The same for bytes going out, which may also go out in part. */
#define POINT_OUT(class, name, params, args, half_args)                                            \
    TRUE(ssize_t, name, params)                                                                    \
    EXPORT ssize_t name params                                                                     \
    {                                                                                              \
        NEED(name);                                                                                \
        struct point p = meet(class, #name);                                                       \
        if (p.fails && sheet->errnum == SHORT_WRITE && len > 1)                                    \
            return true_##name half_args;                                                          \
        if (p.fails) {                                                                             \
            errno = sheet->errnum == SHORT_WRITE ? ENOSPC : sheet->errnum;                         \
            return -1;                                                                             \
        }                                                                                          \
        ssize_t result = true_##name args;                                                         \
        leave(p);                                                                                  \
        return result;                                                                             \
    }

/* ---- Memory ----------------------------------------------------------------------------------

   libc's own entrances, because memory is asked for before anything can be looked up. In a program
   that AddressSanitizer guards, the next one is the sanitizer's, which must have all of them; it
   has been made ready before we are. */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __asan_init(void) __attribute__((weak));

static void *next_memory(const char *name)
{
    return __asan_init != NULL ? dlsym(RTLD_NEXT, name) : NULL;
}

#define MEMORY_POINT(name, params, types, args, libc_expression)                                   \
    EXPORT void *name params                                                                       \
    {                                                                                              \
        static void *(*next)types;                                                                 \
        if (next == NULL)                                                                          \
            *(void **)&next = next_memory(#name);                                                  \
        struct point p = meet(MEMORY, #name);                                                      \
        if (p.fails) {                                                                             \
            errno = ENOMEM;                                                                        \
            return NULL;                                                                           \
        }                                                                                          \
        void *result = next != NULL ? next args : libc_expression;                                 \
        leave(p);                                                                                  \
        return result;                                                                             \
    }

MEMORY_POINT(malloc, (size_t size), (size_t), (size), __libc_malloc(size))
MEMORY_POINT(calloc, (size_t n, size_t size), (size_t, size_t), (n, size), __libc_calloc(n, size))
MEMORY_POINT(realloc, (void *old, size_t size), (void *, size_t), (old, size),
             __libc_realloc(old, size))
MEMORY_POINT(memalign, (size_t alignment, size_t size), (size_t, size_t), (alignment, size),
             __libc_memalign(alignment, size))
MEMORY_POINT(aligned_alloc, (size_t alignment, size_t size), (size_t, size_t), (alignment, size),
             __libc_memalign(alignment, size))

EXPORT int posix_memalign(void **ret, size_t alignment, size_t size)
{
    static int (*next)(void **, size_t, size_t);
    if (next == NULL)
        *(void **)&next = next_memory("posix_memalign");
    struct point p = meet(MEMORY, "posix_memalign");
    void *result = NULL;
    if (!p.fails && next != NULL)
        (void)next(&result, alignment, size);
    else if (!p.fails)
        result = __libc_memalign(alignment, size);
    leave(p);
    if (result == NULL)
        return ENOMEM;
    *ret = result;
    return 0;
}

/* What secret memory (src/base/secret.c) asks before it gives any away, and is not answered but by
 * us: jansson's memory, packets, tokens and keys are carved from slabs without a call. */
EXPORT bool secret_is_withheld(void);
EXPORT bool secret_is_withheld(void)
{
    struct point p = meet(SECRET, "secret_alloc");
    leave(p);
    return p.fails;
}

POINT(MAP, void *, mmap64, (void *at, size_t len, int prot, int flags, int fd, off_t offset),
      (at, len, prot, flags, fd, offset), MAP_FAILED)
POINT(MAP, void *, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t offset),
      (at, len, prot, flags, fd, offset), MAP_FAILED)
POINT(MAP, int, mlock, (const void *at, size_t len), (at, len), -1)
POINT(MAP, int, mprotect, (void *at, size_t len, int prot), (at, len, prot), -1)
POINT(MAP, int, madvise, (void *at, size_t len, int advice), (at, len, advice), -1)

/* ---- Files ---------------------------------------------------------------------------------- */

#define OPEN_POINT(name, params, last, args)                                                       \
    TRUE(int, name, params)                                                                        \
    EXPORT int name params                                                                         \
    {                                                                                              \
        NEED(name);                                                                                \
        va_list more;                                                                              \
        va_start(more, last);                                                                      \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;             \
        va_end(more);                                                                              \
        struct point p = meet(OPEN, #name);                                                        \
        if (p.fails) {                                                                             \
            errno = sheet->errnum;                                                                 \
            return -1;                                                                             \
        }                                                                                          \
        int result = true_##name args;                                                             \
        leave(p);                                                                                  \
        return result;                                                                             \
    }

OPEN_POINT(open, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN_POINT(open64, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN_POINT(openat, (int dir, const char *path, int flags, ...), flags, (dir, path, flags, mode))
OPEN_POINT(openat64, (int dir, const char *path, int flags, ...), flags, (dir, path, flags, mode))
int __open64_2(const char *path, int flags); /* what a checked open64() becomes */
POINT(OPEN, int, __open64_2, (const char *path, int flags), (path, flags), -1)
POINT(OPEN, FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL)
POINT(OPEN, FILE *, fopen64, (const char *path, const char *mode), (path, mode), NULL)
POINT(OPEN, FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL)
POINT(OPEN, DIR *, fdopendir, (int fd), (fd), NULL)
POINT(OPEN, DIR *, opendir, (const char *path), (path), NULL)

POINT(LOOK, int, fstat, (int fd, struct stat *ret), (fd, ret), -1)

/* Of pipes and counters (libuv wakes its loop with them) the kernel cannot fail to read or write:
 * a class of their own, for kills. */
static enum class class_of(int fd, enum class usual) {
    struct stat st;
    if (sheet == NULL || inside > 0 || atomic_load(&sheet->armed) == 0) return usual;
    bool known = true_fstat(fd, &st) == 0;
    /* What is neither file nor folder nor socket nor device has no kind: a counter. */
    return known && (S_ISFIFO(st.st_mode) || (st.st_mode & S_IFMT) == 0) ? PIPE : usual;
}

TRUE(ssize_t, read, (int fd, void *to, size_t len))
EXPORT ssize_t read(int fd, void *to, size_t len)
{
    NEED(read);
    struct point p = meet(class_of(fd, READ), "read");
    if (p.fails) {
        errno = sheet->errnum;
        return -1;
    }
    ssize_t result = true_read(fd, to, len);
    leave(p);
    return result;
}

POINT(READ, ssize_t, pread, (int fd, void *to, size_t len, off_t at), (fd, to, len, at), -1)
POINT(READ, ssize_t, pread64, (int fd, void *to, size_t len, off_t at), (fd, to, len, at), -1)
POINT(READ, ssize_t, readv, (int fd, const struct iovec *to, int n), (fd, to, n), -1)

TRUE(ssize_t, write, (int fd, const void *from, size_t len))
EXPORT ssize_t write(int fd, const void *from, size_t len)
{
    NEED(write);
    struct point p = meet(class_of(fd, WRITE), "write");
    if (p.fails && sheet->errnum == SHORT_WRITE && len > 1)
        return true_write(fd, from, len / 2);
    if (p.fails) {
        errno = sheet->errnum == SHORT_WRITE ? ENOSPC : sheet->errnum;
        return -1;
    }
    ssize_t result = true_write(fd, from, len);
    leave(p);
    return result;
}

POINT_OUT(WRITE, pwrite, (int fd, const void *from, size_t len, off_t at), (fd, from, len, at),
          (fd, from, len / 2, at))
POINT_OUT(WRITE, pwrite64, (int fd, const void *from, size_t len, off_t at), (fd, from, len, at),
          (fd, from, len / 2, at))
POINT(WRITE, ssize_t, writev, (int fd, const struct iovec *from, int n), (fd, from, n), -1)

/* What is not written stays in the stream's buffer, as it does in earnest. */
TRUE(int, fflush, (FILE * file))
EXPORT int fflush(FILE *file)
{
    NEED(fflush);
    struct point p = meet(WRITE, "fflush");
    if (p.fails) {
        errno = sheet->errnum == SHORT_WRITE ? ENOSPC : sheet->errnum;
        return EOF;
    }
    int result = true_fflush(file);
    leave(p);
    return result;
}

#define SYNC_POINT(name)                                                                           \
    TRUE(int, name, (int fd))                                                                      \
    EXPORT int name(int fd)                                                                        \
    {                                                                                              \
        NEED(name);                                                                                \
        struct point p = meet(SYNC, #name);                                                        \
        if (p.fails && sheet->errnum == LEFT_OUT)                                                  \
            return 0;                                                                              \
        if (p.fails) {                                                                             \
            errno = sheet->errnum;                                                                 \
            return -1;                                                                             \
        }                                                                                          \
        int result = true_##name(fd);                                                              \
        leave(p);                                                                                  \
        return result;                                                                             \
    }

SYNC_POINT(fsync)
SYNC_POINT(fdatasync)

POINT(NAME, int, rename, (const char *from, const char *to), (from, to), -1)
POINT(NAME, int, renameat, (int from_dir, const char *from, int to_dir, const char *to),
      (from_dir, from, to_dir, to), -1)
POINT(NAME, int, renameat2,
      (int from_dir, const char *from, int to_dir, const char *to, unsigned int flags),
      (from_dir, from, to_dir, to, flags), -1)
POINT(NAME, int, link, (const char *from, const char *to), (from, to), -1)
POINT(NAME, int, linkat, (int from_dir, const char *from, int to_dir, const char *to, int flags),
      (from_dir, from, to_dir, to, flags), -1)
POINT(NAME, int, unlink, (const char *path), (path), -1)
POINT(NAME, int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), -1)
POINT(NAME, int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
POINT(NAME, int, rmdir, (const char *path), (path), -1)
POINT(NAME, int, utimensat, (int dir, const char *path, const struct timespec times[2], int flags),
      (dir, path, times, flags), -1)
POINT(NAME, int, fchown, (int fd, uid_t owner, gid_t group), (fd, owner, group), -1)
POINT(NAME, int, chmod, (const char *path, mode_t mode), (path, mode), -1)
POINT(NAME, int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
POINT(NAME, int, chdir, (const char *path), (path), -1)

POINT(LOOK, int, stat, (const char *path, struct stat *ret), (path, ret), -1)
POINT(LOOK, int, stat64, (const char *path, struct stat64 *ret), (path, ret), -1)
POINT(LOOK, int, lstat, (const char *path, struct stat *ret), (path, ret), -1)
POINT(LOOK, int, lstat64, (const char *path, struct stat64 *ret), (path, ret), -1)
POINT(LOOK, int, fstat64, (int fd, struct stat64 *ret), (fd, ret), -1)
POINT(LOOK, int, fstatat, (int dir, const char *path, struct stat *ret, int flags),
      (dir, path, ret, flags), -1)
POINT(LOOK, int, fstatat64, (int dir, const char *path, struct stat64 *ret, int flags),
      (dir, path, ret, flags), -1)
POINT(LOOK, int, access, (const char *path, int mode), (path, mode), -1)
POINT(LOOK, ssize_t, readlink, (const char *path, char *to, size_t size), (path, to, size), -1)
char *__realpath_chk(const char *path, char *to, size_t size); /* a checked realpath() */
POINT(LOOK, char *, __realpath_chk, (const char *path, char *to, size_t size), (path, to, size),
      NULL)
POINT(LOOK, char *, realpath, (const char *path, char *to), (path, to), NULL)
POINT(LOOK, char *, getcwd, (char *to, size_t size), (to, size), NULL)
POINT(LOOK, struct dirent *, readdir, (DIR * dir), (dir), NULL)
POINT(LOOK, struct dirent64 *, readdir64, (DIR * dir), (dir), NULL)
POINT(LOOK, int, scandir64,
      (const char *path, struct dirent64 ***ret, int (*want)(const struct dirent64 *),
       int (*order)(const struct dirent64 **, const struct dirent64 **)),
      (path, ret, want, order), -1)

POINT(ROOM, int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len), -1)
POINT(ROOM, int, fallocate64, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len), -1)
POINT(ROOM, int, ftruncate, (int fd, off_t len), (fd, len), -1)
POINT(ROOM, int, ftruncate64, (int fd, off_t len), (fd, len), -1)

POINT(LOCK, int, flock, (int fd, int how), (fd, how), -1)

/* Of what fcntl() does, locking and duplicating can fail for reasons outside. */
static bool fcntl_class(int what, enum class *ret)
{
    switch (what) {
    case F_SETLK:
    case F_SETLKW:
    case F_GETLK:
    case F_OFD_SETLK:
        *ret = LOCK;
        return true;
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        *ret = DESCRIPTOR;
        return true;
    default:
        return false;
    }
}

#define FCNTL_POINT(name)                                                                          \
    TRUE(int, name, (int fd, int what, ...))                                                       \
    EXPORT int name(int fd, int what, ...)                                                         \
    {                                                                                              \
        NEED(name);                                                                                \
        va_list more;                                                                              \
        va_start(more, what);                                                                      \
        void *argument = va_arg(more, void *);                                                     \
        va_end(more);                                                                              \
        enum class c;                                                                              \
        struct point p = {false, false};                                                           \
        if (fcntl_class(what, &c))                                                                 \
            p = meet(c, #name);                                                                    \
        if (p.fails) {                                                                             \
            errno = sheet->errnum;                                                                 \
            return -1;                                                                             \
        }                                                                                          \
        int result = true_##name(fd, what, argument);                                              \
        leave(p);                                                                                  \
        return result;                                                                             \
    }

FCNTL_POINT(fcntl)
FCNTL_POINT(fcntl64)

/* ---- Descriptors of other kinds, and the network -------------------------------------------- */

POINT(DESCRIPTOR, int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
POINT(DESCRIPTOR, int, socketpair, (int domain, int type, int protocol, int ret[2]),
      (domain, type, protocol, ret), -1)
POINT(DESCRIPTOR, int, pipe2, (int ret[2], int flags), (ret, flags), -1)
POINT(DESCRIPTOR, int, dup2, (int from, int to), (from, to), -1)
POINT(DESCRIPTOR, int, dup3, (int from, int to, int flags), (from, to, flags), -1)
POINT(DESCRIPTOR, int, timerfd_create, (int clock, int flags), (clock, flags), -1)
POINT(DESCRIPTOR, int, eventfd, (unsigned int start, int flags), (start, flags), -1)
POINT(DESCRIPTOR, int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags), -1)
POINT(DESCRIPTOR, int, inotify_init1, (int flags), (flags), -1)
POINT(DESCRIPTOR, int, inotify_add_watch, (int fd, const char *path, uint32_t what),
      (fd, path, what), -1)
POINT(DESCRIPTOR, int, epoll_create1, (int flags), (flags), -1)
POINT(DESCRIPTOR, int, epoll_ctl, (int epoll, int what, int fd, struct epoll_event *event),
      (epoll, what, fd, event), -1)

TRUE(int, connect, (int fd, const struct sockaddr *to, socklen_t len))
EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    NEED(connect);
    struct point p = meet(CONNECT, "connect");
    if (p.fails) {
        errno = sheet->errnum;
        return -1;
    }
    if (sheet != NULL && role == ROLE_SPENDER)
        atomic_store(&sheet->heard, 0); /* a question of its own */
    int result = true_connect(fd, to, len);
    leave(p);
    return result;
}

POINT(SETTING, int, getsockopt, (int fd, int level, int name, void *ret, socklen_t *len),
      (fd, level, name, ret, len), -1)
POINT(SETTING, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
      (fd, level, name, value, len), -1)
POINT(WAIT, int, poll, (struct pollfd * fds, nfds_t n, int timeout_ms), (fds, n, timeout_ms), -1)
POINT(CONNECT, int, bind, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len), -1)
POINT(CONNECT, int, listen, (int fd, int backlog), (fd, backlog), -1)
POINT(ACCEPT, int, accept4, (int fd, struct sockaddr *ret, socklen_t *ret_len, int flags),
      (fd, ret, ret_len, flags), -1)

/* A peer that is said to be gone is gone: the next call must not find it alive. */
static ssize_t fail_peer(int fd)
{
    int errnum = sheet->errnum;
    if (errnum == EPIPE || errnum == ECONNRESET)
        (void)shutdown(fd, SHUT_RDWR);
    errno = errnum;
    return -1;
}

#define PEER_POINT(class, name, params, args)                                                      \
    TRUE(ssize_t, name, params)                                                                    \
    EXPORT ssize_t name params                                                                     \
    {                                                                                              \
        NEED(name);                                                                                \
        struct point p = meet(class, #name);                                                       \
        if (p.fails)                                                                               \
            return fail_peer(fd);                                                                  \
        ssize_t result = true_##name args;                                                         \
        leave(p);                                                                                  \
        return result;                                                                             \
    }

PEER_POINT(SEND, send, (int fd, const void *from, size_t len, int flags), (fd, from, len, flags))
PEER_POINT(SEND, sendto,
           (int fd, const void *from, size_t len, int flags, const struct sockaddr *to,
            socklen_t to_len),
           (fd, from, len, flags, to, to_len))
PEER_POINT(SEND, sendmsg, (int fd, const struct msghdr *from, int flags), (fd, from, flags))
PEER_POINT(RECEIVE, recvfrom,
           (int fd, void *to, size_t len, int flags, struct sockaddr *from, socklen_t *from_len),
           (fd, to, len, flags, from, from_len))
PEER_POINT(RECEIVE, recvmsg, (int fd, struct msghdr *to, int flags), (fd, to, flags))

TRUE(ssize_t, recv, (int fd, void *to, size_t len, int flags))
EXPORT ssize_t recv(int fd, void *to, size_t len, int flags)
{
    NEED(recv);
    struct point p = meet(RECEIVE, "recv");
    if (p.fails)
        return fail_peer(fd);
    ssize_t result = true_recv(fd, to, len, flags);
    if (result > 0 && sheet != NULL && role == ROLE_SPENDER)
        atomic_fetch_add(&sheet->heard, (uint64_t)result);
    leave(p);
    return result;
}

/* ---- Processes ------------------------------------------------------------------------------ */

POINT(PROCESS, pid_t, fork, (void), (), -1)
POINT(PROCESS, int, execve, (const char *path, char *const argv[], char *const envp[]),
      (path, argv, envp), -1)

TRUE(int, pthread_create,
     (pthread_t * ret, const pthread_attr_t *how, void *(*run)(void *), void *argument))
EXPORT int pthread_create(pthread_t *ret, const pthread_attr_t *how, void *(*run)(void *),
                          void *argument)
{
    NEED(pthread_create);
    struct point p = meet(PROCESS, "pthread_create");
    if (p.fails)
        return EAGAIN;
    int result = true_pthread_create(ret, how, run, argument);
    leave(p);
    return result;
}

POINT(SETTING, int, setrlimit, (__rlimit_resource_t what, const struct rlimit *limit),
      (what, limit), -1)
POINT(SETTING, int, setrlimit64, (__rlimit_resource_t what, const struct rlimit64 *limit),
      (what, limit), -1)

TRUE(int, prctl, (int what, ...))
EXPORT int prctl(int what, ...)
{
    NEED(prctl);
    va_list more;
    va_start(more, what);
    unsigned long a[4];
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(more, unsigned long);
    va_end(more);
    struct point p = meet(SETTING, "prctl");
    if (p.fails) {
        errno = sheet->errnum;
        return -1;
    }
    int result = true_prctl(what, a[0], a[1], a[2], a[3]);
    leave(p);
    return result;
}

POINT(RANDOM, ssize_t, getrandom, (void *to, size_t len, unsigned int flags), (to, len, flags), -1)

/* The bare calls that our programs make; of those, a process's descriptor can be short of room. */
TRUE(long, syscall, (long number, ...))
EXPORT long syscall(long number, ...)
{
    NEED(syscall);
    va_list more;
    va_start(more, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    struct point p = {false, false};
    if (number == SYS_pidfd_open)
        p = meet(DESCRIPTOR, "pidfd_open");
    if (p.fails) {
        errno = sheet->errnum;
        return -1;
    }
    long result = true_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    leave(p);
    return result;
}

/* ---- Crashes: whoever ends by a signal that nobody sent leaves a word ----------------------- */

static void note_crash(int number)
{
    int none = 0;
    if (sheet == NULL || !atomic_compare_exchange_strong(&sheet->crash_signal, &none, number))
        return;
    sheet->crash_role = (int32_t)role;
    tell_where(sheet->crash_where);
}

TRUE(void, abort, (void))
EXPORT void abort(void)
{
    NEED(abort);
    note_crash(SIGABRT);
    true_abort();
    __builtin_unreachable();
}

TRUE(void, __assert_fail, (const char *text, const char *file, unsigned line, const char *function))
EXPORT void __assert_fail(const char *text, const char *file, unsigned line, const char *function)
{
    NEED(__assert_fail);
    note_crash(SIGABRT);
    true___assert_fail(text, file, line, function);
    __builtin_unreachable();
}

static void on_crash(int number)
{
    note_crash(number);
    (void)raise(number); /* the usual end: the action was reset */
}

/* ---- The beginning -------------------------------------------------------------------------- */

static enum role role_of(const char *name)
{
    static const char *const names[ROLE_COUNT] = {
        [ROLE_DAEMON] = "credwardend",
        [ROLE_SPENDER] = "credwarden-spender",
        [ROLE_CLI] = "credwarden",
    };
    for (int i = 1; i < ROLE_COUNT; i++)
        if (names[i] != NULL && strcmp(name, names[i]) == 0)
            return (enum role)i;
    return ROLE_OTHER;
}

__attribute__((constructor(102))) static void prepare(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    const char *path = getenv("POINTS_SHEET");
    int fd = path != NULL ? true_open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = fd >= 0 ? true_mmap(NULL, sizeof(*sheet), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                        : MAP_FAILED;
    if (map == MAP_FAILED)
        true_abort(); /* a story that believes in faults must not run without them */
    (void)close(fd);
    void *frame;
    (void)backtrace(&frame, 1); /* loads what it needs */
    for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
        (void)sigaction(crashes[i],
                        &(struct sigaction){.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND},
                        NULL);
    role = role_of(program_invocation_short_name);
    sheet = map;
    atomic_store(&sheet->pids[role], (int32_t)getpid());
}

/*
 * Landlock and seccomp.
 *
 * A forbidden call fails; it never kills. A killed spender may be one that holds the only copy of a
 * fresh token, and a library that tries something odd after an update must cost an error, not a
 * login. The default answer is ENOSYS, as an older kernel would say it: libraries then fall back to
 * calls that are listed here (clone3 to clone is the case that matters).
 */
#include "issuer/spender/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "sys/file.h"

/* ---- Landlock: raw, because neither the C library nor Debian 12's headers know all of it ------
 */

#define LL_CREATE_RULESET_VERSION (1U << 0)
#define LL_RULE_PATH_BENEATH      1
#define LL_FS_READ_FILE           (UINT64_C(1) << 2)
#define LL_FS_READ_DIR            (UINT64_C(1) << 3)
#define LL_NET_BIND_TCP           (UINT64_C(1) << 0)
#define LL_SCOPE_ABSTRACT_UNIX    (UINT64_C(1) << 0)
#define LL_SCOPE_SIGNAL           (UINT64_C(1) << 1)
/* File rights grew with the interface: 13 at first, then refer, truncate, (none), ioctl. */
static uint64_t fs_rights_of(int abi)
{
    int n = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;
    return (UINT64_C(1) << n) - 1;
}

struct ll_ruleset {
    uint64_t handled_fs;
    uint64_t handled_net; /* from 4 on */
    uint64_t scoped;      /* from 6 on */
};
struct ll_path_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

/* Certificates, the name service, and the libraries that it loads on first use. */
static const char *const readable[] = {
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/var/lib/ca-certificates",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/dev/urandom",
    "/dev/random",
    "/dev/null",
#ifdef WITH_SANITIZERS
    "/proc", /* their run-time reads its own map */
#endif
};

/* A path that is not there needs no rule. */
static void allow_reading(int ruleset, const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        struct ll_path_beneath rule = {
            .allowed = LL_FS_READ_FILE | (S_ISDIR(st.st_mode) ? LL_FS_READ_DIR : 0),
            .parent_fd = fd,
        };
        (void)syscall(SYS_landlock_add_rule, ruleset, LL_RULE_PATH_BENEATH, &rule, 0);
    }
    fd_close(&fd);
}

/* Short of memory or of descriptors, which says nothing of what the kernel has. */
static bool is_shortage(int errnum)
{
    return errnum == ENOMEM || errnum == EMFILE || errnum == ENFILE;
}

/* Returns the interface's version in force; 0: not shut in; ERR_NOMEM. */
static int enter_landlock(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LL_CREATE_RULESET_VERSION);
    if (abi < 1)
        return 0;
    struct ll_ruleset rules = {
        .handled_fs = fs_rights_of((int)abi),
        .handled_net = abi >= 4 ? LL_NET_BIND_TCP : 0,
        .scoped = abi >= 6 ? LL_SCOPE_ABSTRACT_UNIX | LL_SCOPE_SIGNAL : 0,
    };
    size_t size = abi >= 6   ? sizeof(rules)
                  : abi >= 4 ? offsetof(struct ll_ruleset, scoped)
                             : offsetof(struct ll_ruleset, handled_net);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (ruleset < 0)
        return is_shortage(errno) ? ERR_NOMEM : 0;
    for (size_t i = 0; i < ARRAY_LEN(readable); i++)
        allow_reading(ruleset, readable[i]);
    static const char *const variables[] = {"SSL_CERT_FILE", "SSL_CERT_DIR"};
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const char *path = getenv(variables[i]);
        if (path != NULL)
            allow_reading(ruleset, path);
    }
    long rc = syscall(SYS_landlock_restrict_self, ruleset, 0);
    fd_close(&ruleset); /* keeps errno */
    if (rc != 0)
        return is_shortage(errno) ? ERR_NOMEM : 0;
    return (int)abi;
}

/* ---- seccomp -------------------------------------------------------------------------------- */

static const int allowed_calls[] = {
    /* memory */
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(mlock),
    SCMP_SYS(mlock2),
    SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(mremap),
    SCMP_SYS(munlock),
    SCMP_SYS(munmap),
    /* descriptors that are there */
    SCMP_SYS(close),
    SCMP_SYS(dup),
    SCMP_SYS(fcntl),
    SCMP_SYS(fdatasync),
    SCMP_SYS(fstat),
    SCMP_SYS(fsync),
    SCMP_SYS(lseek),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    /* looking at files: Landlock says which */
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(stat),
    SCMP_SYS(statfs),
    SCMP_SYS(fstatfs),
    SCMP_SYS(statx),
    /* talking */
    SCMP_SYS(connect),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockname),
    SCMP_SYS(getsockopt),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),
    /* waiting */
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(nanosleep),
    SCMP_SYS(pipe),
    SCMP_SYS(pipe2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(pselect6),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(select),
    /* threads of our own */
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(futex),
    SCMP_SYS(get_robust_list),
    SCMP_SYS(gettid),
    SCMP_SYS(membarrier),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(set_tid_address),
    /* signals to ourselves */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(setitimer),
    SCMP_SYS(alarm),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(signalfd4),
    /* who, when, how random */
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(getegid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getuid),
    SCMP_SYS(sysinfo),
    SCMP_SYS(time),
    SCMP_SYS(uname),
#ifdef WITH_SANITIZERS
    /* their run-time reads its own map; the leak check stops its own threads as a debugger would */
    SCMP_SYS(open),
    SCMP_SYS(prctl),
    SCMP_SYS(clone),
    SCMP_SYS(ptrace),
    SCMP_SYS(wait4),
    SCMP_SYS(getdents),
#endif
};

/* Calls that are allowed when `argument & mask == value`. */
struct conditional {
    int call;
    unsigned argument;
    scmp_datum_t mask;
    scmp_datum_t value;
};

#define INT_MASK 0xffffffff /* the upper half of an int's register is anything */
/* The bits that make an open more than a look. O_TMPFILE needs a writing mode, so it is covered. */
#define WRITING (O_ACCMODE | O_CREAT | O_TRUNC)

static const struct conditional conditional_calls[] = {
    {SCMP_SYS(openat), 2, WRITING, O_RDONLY},
    {SCMP_SYS(open), 1, WRITING, O_RDONLY},
    {SCMP_SYS(socket), 0, INT_MASK, AF_INET},
    {SCMP_SYS(socket), 0, INT_MASK, AF_INET6},
    {SCMP_SYS(socketpair), 0, INT_MASK, AF_UNIX}, /* libcurl wakes itself with one */
    {SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD},
    {SCMP_SYS(prlimit64), 2, UINT64_MAX, 0},  /* looking at limits, not setting them */
    {SCMP_SYS(ioctl), 1, INT_MASK, FIONREAD}, /* not TIOCSTI: descriptor 2 may be a terminal */
    {SCMP_SYS(ioctl), 1, INT_MASK, FIONBIO},
};

static int allow_if(scmp_filter_ctx ctx, const struct conditional *c)
{
    const struct scmp_arg_cmp cmp = {
        .arg = c->argument,
        .op = SCMP_CMP_MASKED_EQ,
        .datum_a = c->mask,
        .datum_b = c->value,
    };
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, c->call, 1, &cmp);
}

/* The C library's abort() signals its own thread; nobody else is to be signalled. */
static int allow_abort(scmp_filter_ctx ctx)
{
    const struct conditional self = {SCMP_SYS(tgkill), 0, INT_MASK, (scmp_datum_t)getpid()};
    return allow_if(ctx, &self);
}

/* A plain "no" for what is refused on purpose, so that it reads as that in a trace. */
static int add_refusals(scmp_filter_ctx ctx)
{
    static const int refused[] = {
        SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(bind), SCMP_SYS(listen),
        SCMP_SYS(fork),   SCMP_SYS(vfork),    SCMP_SYS(kill),
#ifndef WITH_SANITIZERS
        SCMP_SYS(ptrace),
#endif
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(refused) && rc == 0; i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    return rc;
}

static int add_rules(scmp_filter_ctx ctx)
{
    int rc = allow_abort(ctx);
    /* Some of these do not exist on every architecture: libseccomp then skips them itself. */
    for (size_t i = 0; i < ARRAY_LEN(allowed_calls) && rc == 0; i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed_calls[i], 0);
    for (size_t i = 0; i < ARRAY_LEN(conditional_calls) && rc == 0; i++)
        rc = allow_if(ctx, &conditional_calls[i]);
    return rc != 0 ? rc : add_refusals(ctx);
}

/* libseccomp (2.5.4) that runs out of memory may load a filter that lacks some of its rules, and
 * call that a success. So what storing and reporting an answer takes is tried once the filter is in
 * force: calls that are refused for their arguments, unless the filter refuses them first. */
static bool vital_calls_pass(void)
{
    static const int vital[] = {
        SCMP_SYS(read),     SCMP_SYS(write),    SCMP_SYS(pread64),    SCMP_SYS(pwrite64),
        SCMP_SYS(fsync),    SCMP_SYS(fcntl),    SCMP_SYS(fdatasync),  SCMP_SYS(close),
        SCMP_SYS(sendmsg),  SCMP_SYS(recvmsg),  SCMP_SYS(sendto),     SCMP_SYS(recvfrom),
        SCMP_SYS(connect),  SCMP_SYS(shutdown), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
        SCMP_SYS(mmap),     SCMP_SYS(munmap),   SCMP_SYS(madvise),    SCMP_SYS(mremap),
        SCMP_SYS(mprotect), SCMP_SYS(brk),      SCMP_SYS(futex),      SCMP_SYS(poll),
        SCMP_SYS(alarm),    SCMP_SYS(fstat),    SCMP_SYS(getrandom),  SCMP_SYS(rt_sigaction),
    };
    for (size_t i = 0; i < ARRAY_LEN(vital); i++) {
        /* A negative number: this architecture has no such call. */
        if (vital[i] >= 0 && syscall(vital[i], -1, 0, 0, 0, 0, 0) == -1 && errno == ENOSYS)
            return false;
    }
    (void)alarm(0);
    return true;
}

static int enter_seccomp(bool *ret)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (ctx == NULL)
        return ERR_NOMEM;
    int rc = add_rules(ctx);
    if (rc == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    if (rc == -ENOMEM || (rc == 0 && !vital_calls_pass()))
        return ERR_NOMEM;
    *ret = rc == 0;
    return 0;
}

int sandbox_enter(struct sandbox_facts *ret)
{
    *ret = (struct sandbox_facts){.seccomp = false};
    /* Both need this, and so does nothing else we do: a program with more rights is never started.
     * It cannot fail on a kernel that has seccomp. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 0;
    int abi = enter_landlock();
    if (abi < 0)
        return abi;
    ret->landlock_abi = abi;
    return enter_seccomp(&ret->seccomp); /* last: it would forbid Landlock's calls */
}

/*
 * Clocks of one's own: preloaded into a program, it shifts CLOCK_REALTIME and CLOCK_BOOTTIME by the
 * two numbers of milliseconds that stand in the file $CLOCK_SHIM names, and nothing else: timers
 * run as ever. The numbers can change at any time. The file is mapped once at start, so that a
 * sandboxed program needs no further calls.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SECOND_MS 1000
#define MS_NS     1000000

static int (*real_clock_gettime)(clockid_t id, struct timespec *ts);
static const struct {
    _Atomic int64_t wall_ms, boot_ms;
} * shifts;

__attribute__((constructor)) static void prepare(void)
{
    const char *path = getenv("CLOCK_SHIM");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd >= 0 ? mmap(NULL, sizeof(*shifts), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED) {
        abort(); /* a test that believes in a shifted clock must not run with a true one */
    }
    shifts = map;
    (void)close(fd);
    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
}

static void shift(struct timespec *ts, int64_t shift_ms)
{
    int64_t ns = ts->tv_nsec + shift_ms % SECOND_MS * MS_NS;
    int64_t carry = ns < 0 ? -1 : ns / (SECOND_MS * (int64_t)MS_NS);
    ts->tv_sec += shift_ms / SECOND_MS + carry;
    ts->tv_nsec = ns - carry * SECOND_MS * MS_NS;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (real_clock_gettime == NULL) { /* somebody's constructor came before ours */
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    }
    int result = real_clock_gettime(id, ts);
    if (result == 0 && shifts != NULL && id == CLOCK_REALTIME) {
        shift(ts, atomic_load(&shifts->wall_ms));
    } else if (result == 0 && shifts != NULL && id == CLOCK_BOOTTIME) {
        shift(ts, atomic_load(&shifts->boot_ms));
    }
    return result;
}

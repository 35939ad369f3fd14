/*
 * The clocks. Timers here are timerfds, because the two things that must wake us are known to the
 * kernel alone: time that passed while the machine slept, and somebody setting the wall clock.
 */
#include "sys/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/check.h"
#include "base/err.h"
#include "sys/io.h"

#define MS_NS INT64_C(1000000)

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;
    CHECK(clock_gettime(id, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000 * MS_NS + ts.tv_nsec;
}

struct now clock_now(void)
{
    return (struct now){
        .wall_ms = read_ns(CLOCK_REALTIME) / MS_NS,
        .boot_ms = read_ns(CLOCK_BOOTTIME) / MS_NS,
    };
}

int clock_boot_id(char ret[37])
{
    char id[36];
    int fd = -1;
    int err = path_open(PATH_CWD, "/proc/sys/kernel/random/boot_id", OPEN_READ, &fd);
    if (err < 0) {
        return err;
    }
    ssize_t n = fd_read(fd, id, sizeof(id));
    fd_close(&fd);
    if (n != (ssize_t)sizeof(id)) {
        return ERR_IO;
    }
    memcpy(ret, id, sizeof(id));
    ret[sizeof(id)] = '\0';
    return 0;
}

int64_t clock_suspended_ms(void)
{
    /* In this order the time between the two readings makes the result too small by microseconds,
     * never too large: no wake-up is invented. */
    int64_t boot_ns = read_ns(CLOCK_BOOTTIME);
    int64_t awake_ns = read_ns(CLOCK_MONOTONIC);
    return boot_ns > awake_ns ? (boot_ns - awake_ns) / MS_NS : 0;
}

enum { DEADLINE, CLOCK_SET, TIMERS };

struct wake {
    uv_poll_t polls[TIMERS];
    int fds[TIMERS];
    int n_open;       /* polls the loop knows */
    int64_t armed_ms; /* what the deadline is set to; TIME_NEVER: to nothing */
    wake_cb cb;
    void *ctx;
};

/* No wish to fire, only to be cancelled: that is how the kernel tells that the clock was set. Where
 * it cannot (some sandboxes), a set clock is noticed at the next deadline. */
static void watch_clock_set(int fd)
{
    struct itimerspec never = {.it_value = {.tv_sec = INT64_MAX}};
    (void)timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct wake *w = poll->data;
    uint64_t fired = 0;
    (void)status;
    (void)events;
    if (poll == &w->polls[CLOCK_SET]) {
        bool was_set = fd_read(w->fds[CLOCK_SET], &fired, sizeof(fired)) < 0 && errno == ECANCELED;
        watch_clock_set(w->fds[CLOCK_SET]);
        if (was_set) {
            w->cb(w->ctx);
        }
    } else if (fd_read(w->fds[DEADLINE], &fired, sizeof(fired)) == (ssize_t)sizeof(fired)) {
        w->armed_ms = TIME_NEVER;
        w->cb(w->ctx);
    }
    /* w may be gone now: the callback is free to end it. */
}

static void wake_end(struct wake *w)
{
    for (int i = 0; i < TIMERS; i++) {
        fd_close(&w->fds[i]);
    }
    free(w);
}

static void on_closed(uv_handle_t *handle)
{
    struct wake *w = handle->data;
    if (--w->n_open == 0) {
        wake_end(w);
    }
}

int wake_init(uv_loop_t *loop, wake_cb cb, void *ctx, struct wake **ret)
{
    static const clockid_t clocks[TIMERS] = {CLOCK_BOOTTIME, CLOCK_REALTIME};
    struct wake *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    int err = 0;
    w->armed_ms = TIME_NEVER;
    w->cb = cb;
    w->ctx = ctx;
    for (int i = 0; i < TIMERS; i++) {
        w->fds[i] = timerfd_create(clocks[i], TFD_CLOEXEC | TFD_NONBLOCK);
        if (w->fds[i] < 0 && err == 0) {
            err = err_from_errno(errno);
        }
    }
    for (int i = 0; i < TIMERS && err == 0; i++) {
        w->polls[i].data = w;
        err = err_from_errno(-uv_poll_init(loop, &w->polls[i], w->fds[i]));
        if (err == 0) {
            w->n_open++;
            err = err_from_errno(-uv_poll_start(&w->polls[i], UV_READABLE, on_readable));
        }
    }
    if (err < 0) {
        wake_free(w);
        return err;
    }
    watch_clock_set(w->fds[CLOCK_SET]);
    *ret = w;
    return 0;
}

void wake_at(struct wake *w, int64_t boot_ms)
{
    struct itimerspec at = {0};   /* all zero disarms */
    if (boot_ms == w->armed_ms) { /* asked after every event: most change nothing */
        return;
    }
    w->armed_ms = boot_ms;
    if (boot_ms != TIME_NEVER) {
        int64_t ms = boot_ms > 0 ? boot_ms : 0;
        at.it_value.tv_sec = ms / 1000;
        at.it_value.tv_nsec = ms == 0 ? 1 : (long)(ms % 1000 * MS_NS);
    }
    CHECK(timerfd_settime(w->fds[DEADLINE], TFD_TIMER_ABSTIME, &at, NULL) == 0);
}

void wake_free(struct wake *w)
{
    if (w == NULL) {
        return;
    }
    if (w->n_open == 0) {
        wake_end(w);
        return;
    }
    for (int i = w->n_open - 1; i >= 0; i--) {
        uv_close((uv_handle_t *)&w->polls[i], on_closed);
    }
}

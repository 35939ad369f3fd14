/*
 * The clocks, and a timer that counts suspend.
 */
#ifndef SYS_CLOCK_H
#define SYS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/time.h"

struct now clock_now(void);

/* Identity of this boot (Linux: /proc/sys/kernel/random/boot_id), NUL-terminated; 37 bytes. */
int clock_boot_id(char ret[37]);

/* Milliseconds spent suspended since boot (boot clock minus monotonic clock): a change between two
 * looks is a wake-up. */
int64_t clock_suspended_ms(void);

/* A timer on the boot clock: fires after a suspend that jumped over it, and also at once when the
 * wall clock is set. (libuv's own timers stand still during suspend.) */
struct wake;
typedef void (*wake_cb)(void *ctx);
int wake_init(uv_loop_t *loop, wake_cb cb, void *ctx, struct wake **ret);
void wake_at(struct wake *w, int64_t boot_ms); /* TIME_NEVER disarms; the past fires at once */
void wake_free(struct wake *w);                /* the loop must run once more. NULL-tolerant */

#endif

/*
 * Time, in milliseconds, as plain values: base has no clock (see sys/clock.h).
 */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include <stddef.h>
#include <stdint.h>

/* One reading of both clocks. `boot_ms` counts from boot and includes suspend (CLOCK_BOOTTIME);
 * `wall_ms` is Unix time (CLOCK_REALTIME) and may jump either way. */
struct now {
    int64_t wall_ms;
    int64_t boot_ms;
};

#define SECOND_MS  INT64_C(1000)
#define MINUTE_MS  (60 * SECOND_MS)
#define HOUR_MS    (60 * MINUTE_MS)
#define DAY_MS     (24 * HOUR_MS)
#define TIME_NEVER INT64_MAX

/* "90", "90s", "10m", "8h", "2d", "500ms" and sums like "1h30m" → milliseconds. A bare number is
 * seconds; in a sum, units stand in falling order. ERR_INVALID for anything else, negative values
 * and overflow (above 10 years). */
int duration_parse(const char *text, int64_t *ret_ms);

/* Human form with at most two units: "7h 59m", "4.2s", "12ms", "0s"; "never" for TIME_NEVER.
 * Cut, not rounded. Always NUL-terminated. */
void duration_format(int64_t ms, char *buf, size_t size);

/* RFC 3339 UTC with seconds, "2026-11-20T23:24:01Z". Writes "-" for 0 and for years
 * RFC 3339 cannot say. Needs 21 bytes. */
void wall_format(int64_t wall_ms, char *buf, size_t size);

/* RFC 3339 (any offset, optional fraction) → Unix ms. ERR_INVALID otherwise. */
int wall_parse(const char *text, int64_t *ret_wall_ms);

/* HTTP date, IMF-fixdate only (RFC 9110 §5.6.7) → Unix ms. ERR_INVALID otherwise. */
int http_date_parse(const char *text, int64_t *ret_wall_ms);

#endif

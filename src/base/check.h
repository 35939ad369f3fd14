/*
 * CHECK: an assertion that is always on. A broken invariant in a program that spends single-use
 * tokens must stop it: every step before is durable, and a restart recovers from what is on disk.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

_Noreturn void check_failed(const char *expr, const char *file, int line);

#define CHECK(expr) ((expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif

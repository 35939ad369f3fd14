/*
 * The end of a program that has found itself wrong: say where, once, and stop.
 */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: must hold: %s\n", file, line, expr);
    (void)fflush(stderr);
    abort();
}

/*
 * Functions that must not be used do not compile. Given to every translation unit of ours by the
 * build (`-include`), after the system headers below have been read once.
 */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Macros where they are fortified or in glibc, and poisoning a macro is itself a warning. */
#undef alloca
#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef stpcpy
#undef sprintf
#undef vsprintf
#undef gets

#pragma GCC poison strcpy strcat strncpy strncat stpcpy sprintf vsprintf gets strtok
#pragma GCC poison atoi atol atoll gmtime localtime ctime asctime tmpnam mktemp alloca
#pragma GCC poison system popen

#endif

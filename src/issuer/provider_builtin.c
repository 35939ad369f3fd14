/*
 * The definitions that come with the program: the files of issuer/providers/, compiled in as they
 * are and parsed once, at first use, by the same code that reads a user's file. One that does not
 * parse is a broken build, and a unit test finds it.
 */
#include "issuer/provider_parts.h"

#include <pthread.h>
#include <string.h>

#include "base/check.h"

#define BUILTINS_MAX 8

static struct provider builtins[BUILTINS_MAX];

static void parse_builtins(void)
{
    CHECK(builtin_files_count <= BUILTINS_MAX);
    for (size_t i = 0; i < builtin_files_count; i++) {
        const struct embedded_file *f = &builtin_files[i];
        CHECK(provider_parse(f->name, f->bytes, f->len, &builtins[i], NULL) == 0);
    }
}

const struct provider *provider_builtin_at(unsigned i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, parse_builtins);
    return i < builtin_files_count ? &builtins[i] : NULL;
}

const struct provider *provider_builtin(const char *name)
{
    const struct provider *p;
    for (unsigned i = 0; (p = provider_builtin_at(i)) != NULL; i++) {
        if (strcmp(p->name, name) == 0) {
            break;
        }
    }
    return p;
}

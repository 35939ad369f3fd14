/*
 * What the tests of sinks share: a folder with a file in it, and a token to put there.
 */
#ifndef TEST_SINK_WORLD_H
#define TEST_SINK_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "json/json.h"
#include "sink/sink.h"
#include "sys/file.h"

#define TOKEN   "made-up.Access_0123456789"
#define ENDS_MS INT64_C(1800000000000) /* 2027-01-15T08:00:00Z */

struct world {
    char dir[40];
    char file[64];  /* dir/file */
    char other[64]; /* dir/other */
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return -1;
    }
    *state = w;
    (void)umask(022);
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/credwarden-sink-XXXXXX");
    if (mkdtemp(w->dir) == NULL) {
        return -1;
    }
    (void)snprintf(w->file, sizeof(w->file), "%s/file", w->dir);
    (void)snprintf(w->other, sizeof(w->other), "%s/other", w->dir);
    return 0;
}

/* Fails when a file that was being written was left. */
static int tear_down(void **state)
{
    struct world *w = *state;
    (void)unlink(w->file);
    (void)unlink(w->other);
    int r = rmdir(w->dir);
    free(w);
    return r;
}

static inline void write_text(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static inline void expect_text(const char *path, const char *text)
{
    struct buf found;
    buf_init(&found, SINK_FILE_MAX);
    assert_int_equal(file_read(path, true, SINK_FILE_MAX, &found, NULL), 0);
    assert_string_equal(buf_text(&found), text);
    buf_release(&found);
}

static inline void expect_mode(const char *path, mode_t mode)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

/* `place` follows the file's path, or is the whole place when it has none. */
static inline int put_as(const char *kind, const char *place, const char *token, int64_t ends_ms,
                         const char *label, struct err_text *why)
{
    struct secret access = {(char *)(uintptr_t)token, strlen(token)};
    struct sink_values v = {&access, ends_ms, "work", label};
    why->text[0] = '\0';
    int err = sink_put(kind, place, &v, why);
    assert_int_equal(err != 0, why->text[0] != '\0');
    assert_null(strstr(why->text, token));
    return err;
}

static inline int put(const char *kind, const char *path, const char *rest, struct err_text *why)
{
    char place[SINK_PLACE_MAX];
    (void)snprintf(place, sizeof(place), "%s%s", path, rest);
    return put_as(kind, place, TOKEN, ENDS_MS, "me@x.example", why);
}

static inline void put_well(const char *kind, const char *path, const char *rest)
{
    struct err_text why;
    int err = put(kind, path, rest, &why);
    assert_string_equal(why.text, "");
    assert_int_equal(err, 0);
}

#endif

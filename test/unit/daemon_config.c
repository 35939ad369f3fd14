/*
 * The configuration file: what each key may be, and what a person reads who got one wrong. A file
 * that is refused leaves the configuration as it was.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/time.h"
#include "daemon/config.h"

struct bench {
    char dir[64];
    char path[96];
    struct config config;
    struct err_text text;
};

static int set_up(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    CHECK(b);
    (void)snprintf(b->dir, sizeof(b->dir), "/tmp/credwarden-config-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    (void)snprintf(b->path, sizeof(b->path), "%s/credwarden.ini", b->dir);
    config_defaults(&b->config);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    (void)unlink(b->path);
    (void)rmdir(b->dir);
    free(b);
    return 0;
}

static int read_bytes(struct bench *b, const void *bytes, size_t len)
{
    int fd = open(b->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    (void)close(fd);
    b->text.text[0] = '\0';
    return config_read(b->path, &b->config, &b->text);
}

static int read_text(struct bench *b, const char *text)
{
    return read_bytes(b, text, strlen(text));
}

/* Refused, with this behind the file's name; and nothing has changed. */
static void assert_refused(struct bench *b, const char *text, const char *complaint)
{
    struct config before = b->config;
    char wanted[512];
    assert_int_equal(read_text(b, text), ERR_INVALID);
    (void)snprintf(wanted, sizeof(wanted), "%s:%s", b->path, complaint);
    assert_string_equal(b->text.text, wanted);
    assert_memory_equal(&b->config, &before, sizeof(before));
}

static void no_file_means_the_defaults(void **state)
{
    struct bench *b = *state;
    memset(&b->config, 0x5a, sizeof(b->config));
    assert_int_equal(config_read(b->path, &b->config, &b->text), 0);
    assert_string_equal(b->text.text, "");
    assert_int_equal(b->config.log_level, LOG_INFO);
    assert_int_equal(b->config.spend_deadline_ms, 30 * SECOND_MS);
    assert_int_equal(b->config.ask_deadline_ms, 15 * SECOND_MS);
    assert_int_equal(b->config.spender_idle_ms, 20 * SECOND_MS);
    assert_int_equal(b->config.profiles_max, 256);
}

static void every_key_is_read(void **state)
{
    struct bench *b = *state;
    assert_int_equal(read_text(b, "; ours\n[daemon]\nlog_level = debug\nspend_deadline=5m\n"
                                  "ask_deadline = 1s ; short\n\nspender_idle = 100ms\n"
                                  "profiles_max = 4096"),
                     0);
    assert_int_equal(b->config.log_level, LOG_DEBUG);
    assert_int_equal(b->config.spend_deadline_ms, 5 * MINUTE_MS);
    assert_int_equal(b->config.ask_deadline_ms, SECOND_MS);
    assert_int_equal(b->config.spender_idle_ms, 100);
    assert_int_equal(b->config.profiles_max, 4096);
    assert_int_equal(read_text(b, "[daemon]\n"), 0);
    assert_int_equal(b->config.profiles_max, 256); /* what is not said is the default again */
}

static void a_value_out_of_bounds_is_told_its_bounds(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *key, *value, *bounds;
    } wrong[] = {
        {"log_level", "loud", "error, warning, info or debug"},
        {"log_level", "", "error, warning, info or debug"},
        {"spend_deadline", "999ms", "a duration from 1s to 5m"},
        {"spend_deadline", "301s", "a duration from 1s to 5m"},
        {"spend_deadline", "soon", "a duration from 1s to 5m"},
        {"ask_deadline", "-1s", "a duration from 1s to 5m"},
        {"spender_idle", "99ms", "a duration from 100ms to 1h"},
        {"profiles_max", "0", "a number from 1 to 4096"},
        {"profiles_max", "4097", "a number from 1 to 4096"},
        {"profiles_max", "9223372036854775808", "a number from 1 to 4096"},
        {"profiles_max", "1e3", "a number from 1 to 4096"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char text[128], complaint[128];
        (void)snprintf(text, sizeof(text), "[daemon]\n\n%s = %s\n", wrong[i].key, wrong[i].value);
        (void)snprintf(complaint, sizeof(complaint), "3: %s must be %s", wrong[i].key,
                       wrong[i].bounds);
        assert_refused(b, text, complaint);
    }
}

static void what_is_not_known_is_refused(void **state)
{
    struct bench *b = *state;
    assert_refused(b, "[daemon]\nlog_levle = info\n",
                   "2: unknown key \"log_levle\"; did you mean \"log_level\"?");
    assert_refused(b, "[daemon]\ncolour = red\n", "2: unknown key \"colour\"");
    assert_refused(b, "[demon]\nlog_level = info\n",
                   "2: this belongs to no section but [daemon], and stands in demon");
    assert_refused(b, "log_level = info\n", "1: a key before the section [daemon]: log_level");
    assert_refused(b, "[daemon]\nlog_level = info\nlog_level = info\n", "3: a second log_level");
    assert_refused(b, "[daemon]\nwhat is this\n", "2: not a section, a key or a comment");
}

static void a_key_after_a_wrong_one_does_not_count(void **state)
{
    struct bench *b = *state;
    assert_refused(b, "[daemon]\nlog_level = loud\nprofiles_max = 7\n",
                   "2: log_level must be error, warning, info or debug");
}

static void what_is_no_text_is_refused(void **state)
{
    struct bench *b = *state;
    assert_int_equal(read_text(b, "[daemon]\nlog_level = \xff\n"), ERR_INVALID);
    assert_non_null(strstr(b->text.text, "not UTF-8 text"));
    assert_int_equal(read_bytes(b, "[daemon]\0log_level = debug\n", 27), ERR_INVALID);
    assert_non_null(strstr(b->text.text, "not UTF-8 text"));
    assert_int_equal(b->config.log_level, LOG_INFO);
}

static void a_line_or_a_file_too_long_is_refused(void **state)
{
    struct bench *b = *state;
    char *text = malloc(CONFIG_FILE_MAX + 64);
    assert_non_null(text);
    int n = snprintf(text, CONFIG_FILE_MAX, "[daemon]\nlog_level = %04000d\n", 7);
    assert_int_equal(n, 4022);
    assert_int_equal(read_text(b, text), ERR_INVALID);
    memset(text, ';', CONFIG_FILE_MAX + 1);
    text[CONFIG_FILE_MAX + 1] = '\0';
    assert_int_equal(read_text(b, text), ERR_TOO_LARGE);
    assert_int_equal(b->config.log_level, LOG_INFO);
    free(text);
}

/* The documentation comes from the table: each fallback in it must be one the parser takes. */
static void every_key_is_documented_with_a_default_that_reads(void **state)
{
    struct bench *b = *state;
    struct config defaults;
    config_defaults(&defaults);
    char text[1024] = "[daemon]\n";
    unsigned n = 0;
    for (const struct config_key *k; (k = config_key_at(n)) != NULL; n++) {
        size_t at = strlen(text);
        assert_true(strlen(k->doc) > 10 && strlen(k->type) > 0);
        (void)snprintf(text + at, sizeof(text) - at, "%s = %s\n", k->key, k->fallback);
    }
    assert_int_equal(n, sizeof(struct config) / sizeof(int64_t));
    assert_int_equal(read_text(b, text), 0);
    assert_memory_equal(&b->config, &defaults, sizeof(defaults));
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(no_file_means_the_defaults),
        STORY(every_key_is_read),
        STORY(a_value_out_of_bounds_is_told_its_bounds),
        STORY(what_is_not_known_is_refused),
        STORY(a_key_after_a_wrong_one_does_not_count),
        STORY(what_is_no_text_is_refused),
        STORY(a_line_or_a_file_too_long_is_refused),
        STORY(every_key_is_documented_with_a_default_that_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

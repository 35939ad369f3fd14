/* Where things are (base/paths.h): every odd environment is one row. */
#include "base/paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/check.h"

struct variable {
    const char *name;
    const char *value;
};

/* The rule takes a plain function, as getenv() is one: the environment of a test stands here. */
static struct variable environment[8];
static bool run_user_is_ours;
static int asked_is_ours;

static char *lookup(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(environment); i++) {
        if (environment[i].name && strcmp(environment[i].name, name) == 0) {
            return (char *)environment[i].value; /* as getenv() gives it */
        }
    }
    return NULL;
}

static bool is_ours(const char *dir, uint32_t uid)
{
    asked_is_ours++;
    assert_string_equal(dir, "/run/user/4711");
    assert_int_equal(uid, 4711);
    return run_user_is_ours;
}

static const struct paths_world world = {lookup, 4711, is_ours};

static int empty_environment(void **state)
{
    (void)state;
    memset(environment, 0, sizeof environment);
    run_user_is_ours = false;
    asked_is_ours = 0;
    return 0;
}

static void set(const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(environment); i++) {
        if (!environment[i].name || strcmp(environment[i].name, name) == 0) {
            environment[i] = (struct variable){name, value};
            return;
        }
    }
    fail_msg("too many variables");
}

static void xdg_variables_decide(void **state)
{
    (void)state;
    set("HOME", "/home/ann");
    set("XDG_RUNTIME_DIR", "/run/r/");
    set("XDG_DATA_HOME", "/d");
    set("XDG_STATE_HOME", "/s//");
    set("XDG_CONFIG_HOME", "/c");
    struct paths p;
    assert_int_equal(paths_find(&world, &p, NULL), 0);
    assert_string_equal(p.runtime_dir, "/run/r/credwarden");
    assert_string_equal(p.socket, "/run/r/credwarden/api.sock");
    assert_string_equal(p.data_dir, "/d/credwarden");
    assert_string_equal(p.state_dir, "/s/credwarden");
    assert_string_equal(p.config_dir, "/c/credwarden");
    assert_int_equal(asked_is_ours, 0);
}

static void home_is_the_fallback(void **state)
{
    (void)state;
    set("HOME", "/home/ann");
    struct paths p;
    assert_int_equal(paths_find(&world, &p, NULL), 0);
    assert_string_equal(p.data_dir, "/home/ann/.local/share/credwarden");
    assert_string_equal(p.state_dir, "/home/ann/.local/state/credwarden");
    assert_string_equal(p.config_dir, "/home/ann/.config/credwarden");
    assert_string_equal(p.socket, "/home/ann/.local/state/credwarden/run/api.sock");
}

static void run_user_is_used_when_ours(void **state)
{
    (void)state;
    run_user_is_ours = true;
    set("HOME", "/home/ann");
    struct paths p;
    assert_int_equal(paths_find(&world, &p, NULL), 0);
    assert_string_equal(p.runtime_dir, "/run/user/4711/credwarden");
}

static void relative_and_empty_variables_count_as_unset(void **state)
{
    (void)state;
    set("HOME", "/home/ann");
    set("XDG_RUNTIME_DIR", "run");
    set("XDG_DATA_HOME", "");
    set("XDG_STATE_HOME", "./state");
    set("XDG_CONFIG_HOME", "~/.config");
    struct paths p;
    assert_int_equal(paths_find(&world, &p, NULL), 0);
    assert_string_equal(p.data_dir, "/home/ann/.local/share/credwarden");
    assert_string_equal(p.config_dir, "/home/ann/.config/credwarden");
    assert_string_equal(p.runtime_dir, "/home/ann/.local/state/credwarden/run");
}

static void home_is_needed_only_where_nothing_else_decides(void **state)
{
    (void)state;
    struct paths p;
    struct err_text text;
    assert_int_equal(paths_find(&world, &p, &text), ERR_INVALID);
    assert_non_null(strstr(text.text, "HOME"));
    set("HOME", "relative");
    assert_int_equal(paths_find(&world, &p, &text), ERR_INVALID);

    char socket[PATHS_SIZE];
    bool given = true;
    assert_int_equal(paths_find_socket(&world, socket, &given, &text), ERR_INVALID);
    set("XDG_RUNTIME_DIR", "/run/r");
    assert_int_equal(paths_find_socket(&world, socket, &given, &text), 0);
    assert_string_equal(socket, "/run/r/credwarden/api.sock");
    assert_false(given);
}

static void the_command_line_obeys_credwarden_socket(void **state)
{
    (void)state;
    char socket[PATHS_SIZE];
    bool given = false;
    struct err_text text;
    set("XDG_RUNTIME_DIR", "/run/r");
    set("CREDWARDEN_SOCKET", "/tmp/other.sock");
    assert_int_equal(paths_find_socket(&world, socket, &given, &text), 0);
    assert_string_equal(socket, "/tmp/other.sock");
    assert_true(given);
    set("CREDWARDEN_SOCKET", "other.sock");
    assert_int_equal(paths_find_socket(&world, socket, &given, &text), ERR_INVALID);
    assert_string_equal(socket, "/tmp/other.sock"); /* untouched on failure */
    set("CREDWARDEN_SOCKET", "");
    assert_int_equal(paths_find_socket(&world, socket, &given, &text), 0);
    assert_string_equal(socket, "/run/r/credwarden/api.sock");
    assert_false(given);
}

static void a_socket_path_has_a_limit_that_is_told(void **state)
{
    (void)state;
    char dir[PATHS_SIZE];
    const size_t tail = strlen("/credwarden/api.sock");
    memset(dir, 'a', sizeof dir);
    dir[0] = '/';
    dir[PATHS_SOCKET_LEN - tail] = '\0';
    set("XDG_RUNTIME_DIR", dir);
    char socket[PATHS_SIZE];
    bool given = true;
    struct err_text text;
    assert_int_equal(paths_find_socket(&world, socket, &given, &text), 0);
    assert_int_equal(strlen(socket), PATHS_SOCKET_LEN);

    dir[PATHS_SOCKET_LEN - tail] = 'a';
    dir[PATHS_SOCKET_LEN - tail + 1] = '\0';
    assert_int_equal(paths_find_socket(&world, socket, &given, &text), ERR_TOO_LARGE);
    assert_non_null(strstr(text.text, "108 bytes"));
    assert_non_null(strstr(text.text, "107"));
    assert_non_null(strstr(text.text, "XDG_RUNTIME_DIR"));

    set("CREDWARDEN_SOCKET", dir);
    assert_int_equal(paths_find_socket(&world, socket, &given, &text), 0);
}

static void an_endless_path_is_refused(void **state)
{
    (void)state;
    char dir[4 * PATHS_SIZE];
    memset(dir, 'a', sizeof dir);
    dir[0] = '/';
    dir[sizeof dir - 1] = '\0';
    struct err_text text;
    struct paths p;
    set("HOME", dir);
    assert_int_equal(paths_find(&world, &p, &text), ERR_TOO_LARGE);
    assert_true(strlen(text.text) < 300); /* told in short */
}

#define STORY(f) cmocka_unit_test_setup(f, empty_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(xdg_variables_decide),
        STORY(home_is_the_fallback),
        STORY(run_user_is_used_when_ours),
        STORY(relative_and_empty_variables_count_as_unset),
        STORY(home_is_needed_only_where_nothing_else_decides),
        STORY(the_command_line_obeys_credwarden_socket),
        STORY(a_socket_path_has_a_limit_that_is_told),
        STORY(an_endless_path_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Commands that are given a token: what they get, what they do not see, and how they end.
 */
#include <fcntl.h>
#include <signal.h>

#include "sink/sink_parts.h"
#include "sink_world.h"

static int run(const char *command, int64_t limit_ms, struct err_text *why)
{
    struct secret access = {(char[]){TOKEN}, strlen(TOKEN)};
    struct sink_values v = {&access, ENDS_MS, "work", "a \"b\""};
    why->text[0] = '\0';
    int err = sink_run(command, &v, limit_ms, why);
    assert_int_equal(err != 0, why->text[0] != '\0');
    assert_null(strstr(why->text, TOKEN));
    return err;
}

/* The command with the file's path in it, where %s stands. */
static void run_well(const char *command, const char *path)
{
    char whole[1024];
    struct err_text why;
    const char *at = strstr(command, "%s");
    assert_non_null(at);
    (void)snprintf(whole, sizeof(whole), "%.*s%s%s", (int)(at - command), command, path, at + 2);
    (void)put_as("exec", whole, TOKEN, ENDS_MS, "a \"b\"", &why);
    assert_string_equal(why.text, "");
}

static void it_reads_one_object(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    char place[96];
    run_well("cat > %s", w->file);
    expect_text(w->file, "{\"access_token\":\"" TOKEN "\",\"expires_at\":\"2027-01-15T08:00:00Z\","
                         "\"profile\":\"work\",\"label\":\"a \\\"b\\\"\"}\n");
    (void)snprintf(place, sizeof(place), "cat > %s", w->file);
    assert_int_equal(put_as("exec", place, "t", 0, "", &why), 0);
    expect_text(
        w->file,
        "{\"access_token\":\"t\",\"expires_at\":null,\"profile\":\"work\",\"label\":null}\n");
}

static void it_may_leave_it_unread(void **state)
{
    const struct world *w = *state;
    run_well("exec <&- && echo done > %s", w->file);
    expect_text(w->file, "done\n");
    run_well("exit 0 # %s", w->file);
}

static void nothing_but_its_input_holds_the_token(void **state)
{
    const struct world *w = *state;
    int leaky = open("/", O_RDONLY | O_DIRECTORY); /* without close-on-exec, on purpose */
    assert_true(leaky >= 0);
    assert_int_equal(setenv("MADE_UP_SECRET", TOKEN, 1), 0);
    assert_int_equal(setenv("XDG_CONFIG_HOME", "/x/config", 1), 0);
    run_well("tr '\\0' '\\n' < /proc/$$/environ > %s", w->file);
    struct buf found;
    buf_init(&found, SINK_FILE_MAX);
    assert_int_equal(file_read(w->file, false, SINK_FILE_MAX, &found, NULL), 0);
    assert_non_null(strstr(buf_text(&found), "PATH="));
    assert_non_null(strstr(buf_text(&found), "XDG_CONFIG_HOME=/x/config\n"));
    assert_null(strstr(buf_text(&found), TOKEN));
    assert_null(strstr(buf_text(&found), "MADE_UP"));
    buf_clear(&found);

    run_well("tr '\\0' '\\n' < /proc/$$/cmdline > %s", w->file);
    assert_int_equal(file_read(w->file, false, SINK_FILE_MAX, &found, NULL), 0);
    assert_ptr_equal(strstr(buf_text(&found), "sh\n-c\ntr "), buf_text(&found));
    assert_null(strstr(buf_text(&found), TOKEN));
    buf_release(&found);

    run_well("echo $(ls /proc/self/fd) > %s", w->file); /* 3 is the folder that ls reads */
    expect_text(w->file, "0 1 2 3\n");
    (void)close(leaky);
}

static void how_it_failed_is_told(void **state)
{
    (void)state;
    struct err_text why;
    assert_int_equal(run("echo my-secret; exit 3", 20000, &why), ERR_IO);
    assert_non_null(strstr(why.text, "exit code 3"));
    assert_null(strstr(why.text, "my-secret"));
    assert_int_equal(run("no-such-command", 20000, &why), ERR_IO);
    assert_non_null(strstr(why.text, "exit code 127: there is no such command"));
    assert_int_equal(run("kill -9 $$", 20000, &why), ERR_IO);
    assert_non_null(strstr(why.text, "signal 9"));
}

static void its_time_is_limited(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    char command[160];
    (void)snprintf(command, sizeof(command), "(sleep 1.5; echo alive > %s) & sleep 100", w->file);
    assert_int_equal(run(command, 300, &why), ERR_TIMEOUT);
    assert_non_null(strstr(why.text, "300ms"));
    (void)usleep(1600 * 1000);
    assert_int_equal(access(w->file, F_OK), -1); /* with all that it has started */
    assert_int_equal(SINK_COMMAND_MS, 10000);
}

int main(void)
{
    json_use_secret_memory();
    (void)signal(SIGPIPE, SIG_IGN);
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORY(it_reads_one_object),
        STORY(it_may_leave_it_unread),
        STORY(nothing_but_its_input_holds_the_token),
        STORY(how_it_failed_is_told),
        STORY(its_time_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

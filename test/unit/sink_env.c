/*
 * Files of lines NAME=value: what is ours in them, and that a shell reads what was written.
 */
#include <pthread.h>
#include <signal.h>

#include "base/time.h"
#include "sink/sink_parts.h"
#include "sink_world.h"
#include "sys/process.h"

#define OURS "CREDWARDEN_TOKEN=" TOKEN "\nCREDWARDEN_EXPIRES_AT=2027-01-15T08:00:00Z\n"

static void our_lines_are_replaced_and_all_others_stay(void **state)
{
    const struct world *w = *state;
    static const char *const files[][2] = {
        {"", OURS},
        {"A=1\n", "A=1\n" OURS},
        {"A=1", "A=1\n" OURS},
        {"A=1\r\nCREDWARDEN_TOKEN=old\r\n# end",
         "A=1\r\nCREDWARDEN_TOKEN=" TOKEN
         "\r\n# end\nCREDWARDEN_EXPIRES_AT=2027-01-15T08:00:00Z\n"},
        {"  export CREDWARDEN_TOKEN='old one'\nB=\"x\n y\"\nCREDWARDEN_EXPIRES_AT=\nC=3",
         "  export CREDWARDEN_TOKEN=" TOKEN
         "\nB=\"x\n y\"\nCREDWARDEN_EXPIRES_AT=2027-01-15T08:00:00Z\nC=3"},
        {"#CREDWARDEN_TOKEN=x\nCREDWARDEN_TOKEN_2=x\nMY_CREDWARDEN_TOKEN=x\nCREDWARDEN_TOKEN\n",
         "#CREDWARDEN_TOKEN=x\nCREDWARDEN_TOKEN_2=x\nMY_CREDWARDEN_TOKEN=x\nCREDWARDEN_TOKEN\n" OURS},
        {"CREDWARDEN_TOKEN = a\nCREDWARDEN_EXPIRES_AT=b\nexport CREDWARDEN_TOKEN=c\n", OURS},
        {"# it's\n; don't\nA=b # it's\nB=\"it's\" # x\nC=a#'\"'\n",
         "# it's\n; don't\nA=b # it's\nB=\"it's\" # x\nC=a#'\"'\n" OURS},
        {"A=b\\\nc\n", "A=b\\\nc\n" OURS},
        {"CREDWARDEN_TOKEN=\"torn", OURS},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        write_text(w->file, files[i][0], 0640);
        put_well("env", w->file, "");
        expect_text(w->file, files[i][1]);
        expect_mode(w->file, 0640);
        put_well("env", w->file, "");
        expect_text(w->file, files[i][1]);
    }
}

static void a_variable_may_have_another_name(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    char place[96];
    (void)snprintf(place, sizeof(place), "%s#MY_KEY", w->file);
    put_well("env", place, "");
    expect_text(w->file, "MY_KEY=" TOKEN "\nMY_KEY_EXPIRES_AT=2027-01-15T08:00:00Z\n");
    expect_mode(w->file, 0600);
    assert_int_equal(put_as("env", place, "b", 0, "", &why), 0); /* an end that is not known */
    expect_text(w->file, "MY_KEY=b\n");
}

static void what_can_be_read_two_ways_is_refused(void **state)
{
    const struct world *w = *state;
    static const char *const files[][2] = {
        {"A='\nCREDWARDEN_TOKEN=x\n'\n", "line 1"},
        {"B=1\nA=it's\nCREDWARDEN_TOKEN=x\n", "line 2"},
        {"B=1\n# \\\nCREDWARDEN_TOKEN=x\n", "line 2"},
        {"B=1\\\nCREDWARDEN_TOKEN=x\n", "line 1"},
        {"CREDWARDEN_TOKEN=\"x\nB=1\"\n", "line 1"},
        {"B=1\nA=\"x", "line 2"},
        {"B=1\nA=\"x\\", "line 2"},
        {"B=1\nA=x\\", "line 2"},
        {"B=1\nA=x\\\n", "line 2"},
        {"B=1\n#\\", "line 2"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        struct err_text why;
        write_text(w->file, files[i][0], 0600);
        assert_int_equal(put("env", w->file, "", &why), ERR_INVALID);
        if (strstr(why.text, files[i][1]) == NULL) {
            fail_msg("%s: %s", files[i][0], why.text);
        }
        expect_text(w->file, files[i][0]);
    }
}

/* The token is in the shell's input, too, and must be what the file gives the variable. */
static void a_shell_reads_what_was_written(void **state)
{
    const struct world *w = *state;
    static const char *const tokens[] = {
        TOKEN, "a$HOME",          "`id`",       "\"",    "'", "\\", "a\\\\b\\\"c$(id)", "#x",
        "~",   "a;b&c|d<e>f(g)!", "*?[x]{a,b}", "%s=%%",
    };
    for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++) {
        struct err_text why;
        char command[256];
        char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, command, NULL};
        char *envp[] = {NULL};
        struct process_ending end;
        write_text(w->file, "B='it is'\n", 0600);
        assert_int_equal(put_as("env", w->file, tokens[i], ENDS_MS, "", &why), 0);
        (void)snprintf(
            command, sizeof(command),
            ". %s && IFS= read -r X && test \"$X\" = \"$CREDWARDEN_TOKEN\" && "
            "test \"$B\" = 'it is' && test $CREDWARDEN_EXPIRES_AT = 2027-01-15T08:00:00Z",
            w->file);
        char input[64];
        int n = snprintf(input, sizeof(input), "%s\n", tokens[i]);
        assert_int_equal(process_run("/bin/sh", argv, envp, input, (size_t)n, 30 * SECOND_MS, &end),
                         0);
        assert_int_equal(end.exit_code, 0);
        assert_int_equal(end.signal, 0);
    }
}

static void *put_often(void *place)
{
    for (int i = 0; i < 50; i++) {
        struct secret access = {(char[]){"a0"}, 2};
        struct sink_values v = {&access, 0, "work", ""};
        access.bytes[1] = (char)('0' + i % 10);
        if (sink_put("env", place, &v, NULL) != 0) {
            return place;
        }
    }
    return NULL;
}

static void two_places_in_one_file_lose_nothing(void **state)
{
    const struct world *w = *state;
    char places[2][96];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(places[i], sizeof(places[i]), "%s#%c", w->file, 'A' + i);
        assert_int_equal(pthread_create(&threads[i], NULL, put_often, places[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    struct buf found;
    buf_init(&found, 64);
    assert_int_equal(file_read(w->file, false, 64, &found, NULL), 0);
    assert_true(strcmp(buf_text(&found), "A=a9\nB=a9\n") == 0 ||
                strcmp(buf_text(&found), "B=a9\nA=a9\n") == 0);
    buf_release(&found);
}

int main(void)
{
    json_use_secret_memory();
    (void)signal(SIGPIPE, SIG_IGN);
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORY(our_lines_are_replaced_and_all_others_stay), STORY(a_variable_may_have_another_name),
        STORY(what_can_be_read_two_ways_is_refused),       STORY(a_shell_reads_what_was_written),
        STORY(two_places_in_one_file_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Sinks: which places there can be, members of JSON files, templates, and how files are treated.
 */
#include "sink_world.h"

static void a_place_is_what_its_kind_says(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"json", "/a/b.json#token=access"},
        {"json", "/a/b#c.json#a.b.c=access,a.b.d=expires_ms,e=expires_at,p=profile,l=label"},
        {"json", "/a/b#\xc3\xa4 x/y=access_token"},
        {"env", "/a/b"},
        {"env", "/a/b#MY_TOKEN"},
        {"template", "/a/b→/c/d"},
        {"template", "/a/b=>/c/d"},
        {"exec", "systemctl --user reload x"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct err_text why = {""};
        assert_true(sink_is_kind(good[i][0]));
        assert_int_equal(sink_check(good[i][0], good[i][1], &why), 0);
        assert_string_equal(why.text, "");
    }
    assert_false(sink_is_kind("claude"));
    unsigned n = 0;
    for (; sink_kind_at(n) != NULL; n++) {
        assert_true(sink_is_kind(sink_kind_at(n)));
    }
    assert_int_equal(n, 4);
}

static void what_cannot_be_a_place_says_what_was_expected(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"claude", "/a", "there are json, env, template, exec"},
        {"json", "/a/b.json", "#auth.token=access"},
        {"json", "/a/b.json#", "auth.token=access"},
        {"json", "a/b.json#t=access", "absolute path"},
        {"json", "/a/#t=access", "absolute path"},
        {"json", "/a/..#t=access", "absolute path"},
        {"json", "#t=access", "absolute path"},
        {"json", "/a#t", "auth.token=access"},
        {"json", "/a#t=access,", "auth.token=access"},
        {"json", "/a#.t=access", "auth.token=access"},
        {"json", "/a#t..u=access", "auth.token=access"},
        {"json", "/a#t\"u=access", "auth.token=access"},
        {"json", "/a#t=refresh", "no such value"},
        {"json", "/a#t=expires_ms", "none of the members"},
        {"json", "/a#t=access,t=label", "the same member"},
        {"json", "/a#t.u=access,t=label", "one in the other"},
        {"json", "/a#t=access,t.u=label", "one in the other"},
        {"env", "b", "absolute path"},
        {"env", "", "absolute path"},
        {"env", "/a#", "name of a variable"},
        {"env", "/a#1A", "name of a variable"},
        {"env", "/a#A-B", "name of a variable"},
        {"template", "/a/b", "/path/in=>/path/out"},
        {"template", "/a=>b", "absolute path"},
        {"template", "/a=>/a", "written over"},
        {"exec", " \t", "control"},
        {"exec", "  ", "a command"},
        {"exec", "a\nb", "control"},
        {"exec", "\xff", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err_text why = {""};
        assert_int_equal(sink_check(bad[i][0], bad[i][1], &why), ERR_INVALID);
        if (strstr(why.text, bad[i][2]) == NULL) {
            fail_msg("%s %s: %s", bad[i][0], bad[i][1], why.text);
        }
    }
    char many[SINK_PLACE_MAX + 1];
    memset(many, 'x', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
    assert_int_equal(sink_check("exec", many, NULL), ERR_TOO_LARGE);
}

/* ---- json ---- */

static void members_are_set_and_every_other_byte_stays(void **state)
{
    const struct world *w = *state;
    write_text(w->file,
               "{ \"n\": 12345678901234567890123,\n  \"auth\" : {\"token\":\"old\", \"x\":1.10}\n}",
               0640);
    put_well("json", w->file, "#auth.token=access,auth.ends=expires_ms,at=expires_at,who=label");
    expect_text(w->file, "{ \"n\": 12345678901234567890123,\n  \"auth\" : {\"token\":\"" TOKEN
                         "\", \"x\":1.10,\"ends\":1800000000000}, \"at\" : "
                         "\"2027-01-15T08:00:00Z\", \"who\" : \"me@x.example\"\n}");
    expect_mode(w->file, 0640);
}

static void a_file_is_made_where_there_is_none(void **state)
{
    const struct world *w = *state;
    put_well("json", w->file, "#auth.token=access,profile=profile");
    expect_text(w->file, "{\"auth\":{\"token\":\"" TOKEN "\"},\"profile\":\"work\"}\n");
    expect_mode(w->file, 0600);
}

static void what_is_not_known_is_null(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    char place[256];
    write_text(w->file, "", 0600); /* made with touch */
    (void)snprintf(place, sizeof(place), "%s#t=access,a=expires_at,m=expires_ms,l=label", w->file);
    assert_int_equal(put_as("json", place, "a\"\\b", 0, "", &why), 0);
    expect_text(w->file, "{\"t\":\"a\\\"\\\\b\",\"a\":null,\"m\":null,\"l\":null}\n");
}

static void a_file_that_is_not_understood_is_left_alone(void **state)
{
    const struct world *w = *state;
    static const char *const torn[][2] = {{"{\"auth\":", "line 1"},
                                          {"[]", "line 1"},
                                          {"{\"a\":1,\"a\":2}", "twice"},
                                          {"{\"auth\":[]}", "no object"}};
    for (size_t i = 0; i < 4; i++) {
        struct err_text why;
        write_text(w->file, torn[i][0], 0600);
        assert_int_equal(put("json", w->file, "#auth.token=access", &why), ERR_INVALID);
        assert_non_null(strstr(why.text, torn[i][1]));
        assert_non_null(strstr(why.text, w->file));
        expect_text(w->file, torn[i][0]);
    }
}

/* ---- files ---- */

static void what_stands_there_already_is_not_written(void **state)
{
    const struct world *w = *state;
    struct stat before, after;
    put_well("json", w->file, "#t=access");
    assert_int_equal(stat(w->file, &before), 0);
    put_well("json", w->file, "#t=access");
    assert_int_equal(stat(w->file, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

static void a_link_is_followed_and_stays(void **state)
{
    const struct world *w = *state;
    struct stat st;
    write_text(w->other, "{}", 0644);
    assert_int_equal(symlink("other", w->file), 0);
    put_well("json", w->file, "#t=access");
    assert_int_equal(lstat(w->file, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    expect_text(w->other, "{\"t\":\"" TOKEN "\"}");
    expect_mode(w->other, 0644);
}

static void what_is_no_file_is_refused(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    assert_int_equal(mkfifo(w->file, 0600), 0);
    assert_int_equal(put("json", w->file, "#t=access", &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "not a regular file"));
    assert_int_equal(unlink(w->file), 0);

    assert_int_equal(put("json", w->dir, "#t=access", &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "not a regular file"));

    assert_int_equal(symlink("nowhere", w->file), 0);
    assert_int_equal(put("env", w->file, "", &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "leads nowhere"));
    assert_int_equal(put("env", w->dir, "/no/file", &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "its folder is not there"));
}

static void a_file_beyond_the_limit_is_refused(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    char *many = malloc(SINK_FILE_MAX + 2);
    assert_non_null(many);
    memset(many, '\n', SINK_FILE_MAX + 1);
    many[SINK_FILE_MAX + 1] = '\0';
    write_text(w->file, many, 0600);
    assert_int_equal(put("env", w->file, "", &why), ERR_TOO_LARGE);
    assert_non_null(strstr(why.text, "larger than the 524288 bytes"));

    many[SINK_FILE_MAX] = '\0'; /* just fits, and would not with the token */
    write_text(w->file, many, 0600);
    assert_int_equal(put("env", w->file, "", &why), ERR_TOO_LARGE);
    assert_non_null(strstr(why.text, "too long"));
    expect_text(w->file, many);
    free(many);
}

/* ---- templates ---- */

static void a_template_is_filled_in(void **state)
{
    const struct world *w = *state;
    char rest[80];
    (void)snprintf(rest, sizeof(rest), "→%s", w->other);
    write_text(w->file,
               "# {{profile}}, {{ label }}\nt={{access_token}}{{access_token}}\n"
               "{ {x} }} at={{expires_at}} ms={{expires_ms}}",
               0644);
    put_well("template", w->file, rest);
    expect_text(w->other, "# work, me@x.example\nt=" TOKEN TOKEN
                          "\n{ {x} }} at=2027-01-15T08:00:00Z ms=1800000000000");
    expect_mode(w->other, 0600);
    (void)snprintf(rest, sizeof(rest), "=>%s", w->other);
    put_well("template", w->file, rest);
}

static void what_a_template_does_not_know_is_told_by_line(void **state)
{
    const struct world *w = *state;
    static const char *const faults[][3] = {
        {"a\nb {{access_tokn}}\n", "line 2", "{{access_tokn}}"},
        {"{{refresh_token}}", "line 1", "{{refresh_token}}"},
        {"a\n\n{{ my secret }}", "line 3", "none of access_token"},
        {"{{}}", "line 1", "none of"},
        {"{{access_token}\n}}", "line 1", "no }} closes"},
        {"{{access_token}}\n{{", "line 2", "no }} closes"},
    };
    char rest[80];
    (void)snprintf(rest, sizeof(rest), "=>%s", w->other);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        struct err_text why;
        write_text(w->file, faults[i][0], 0600);
        assert_int_equal(put("template", w->file, rest, &why), ERR_INVALID);
        assert_non_null(strstr(why.text, faults[i][1]));
        assert_non_null(strstr(why.text, faults[i][2]));
        assert_non_null(strstr(why.text, w->file));
        assert_null(strstr(why.text, "my secret"));
        assert_int_equal(access(w->other, F_OK), -1);
    }
}

/* Whatever a template makes: a server must not get to say what it does. */
static void what_comes_from_a_server_cannot_leave_its_quotes(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    char place[160];
    (void)snprintf(place, sizeof(place), "%s=>%s", w->file, w->other);
    write_text(w->file, "label=\"{{label}}\"\n{{access_token}}", 0600);
    assert_int_equal(put_as("template", place, TOKEN, 0, "\xc3\xb6 x\"; $(rm) `rm` \\\n'<a>", &why),
                     0);
    expect_text(w->other, "label=\"\xc3\xb6 x__ __rm_ _rm_ ____a_\"\n" TOKEN);
    assert_int_equal(put_as("template", place, "a\"b", 0, "", &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "not safe to fill in"));
}

static void a_template_is_never_written_over(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    char rest[80];
    (void)snprintf(rest, sizeof(rest), "=>%s", w->other);
    write_text(w->file, "{{access_token}}", 0600);
    assert_int_equal(symlink("file", w->other), 0);
    assert_int_equal(put("template", w->file, rest, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "written over"));
    expect_text(w->file, "{{access_token}}");

    assert_int_equal(unlink(w->file), 0);
    assert_int_equal(unlink(w->other), 0);
    assert_int_equal(put("template", w->file, rest, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, w->file));
}

static void a_token_that_cannot_be_sent_is_put_nowhere(void **state)
{
    const struct world *w = *state;
    struct err_text why;
    assert_int_equal(put_as("env", w->file, "a\nb", ENDS_MS, "", &why), ERR_INVALID);
    assert_int_equal(access(w->file, F_OK), -1);
}

int main(void)
{
    json_use_secret_memory();
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORY(a_place_is_what_its_kind_says),
        STORY(what_cannot_be_a_place_says_what_was_expected),
        STORY(members_are_set_and_every_other_byte_stays),
        STORY(a_file_is_made_where_there_is_none),
        STORY(what_is_not_known_is_null),
        STORY(a_file_that_is_not_understood_is_left_alone),
        STORY(what_stands_there_already_is_not_written),
        STORY(a_link_is_followed_and_stays),
        STORY(what_is_no_file_is_refused),
        STORY(a_file_beyond_the_limit_is_refused),
        STORY(a_template_is_filled_in),
        STORY(what_a_template_does_not_know_is_told_by_line),
        STORY(what_comes_from_a_server_cannot_leave_its_quotes),
        STORY(a_template_is_never_written_over),
        STORY(a_token_that_cannot_be_sent_is_put_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Command lines (cli/options.h): what is understood, and how everything else is named. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/check.h"

static enum exit_code run(const struct invocation *in)
{
    (void)in;
    return EXIT_OK;
}

static const struct command fetch = {
    .name = "fetch",
    .args = {{"NAME", ARG_PROFILE, false}, {"FILE", ARG_TEXT, true}},
    .options = {{"size", "N", "how large"}, {"quick", NULL, "at once"}},
    .run = run,
};
static const struct command version = {.name = "version", .run = run};
static const struct command *const table[] = {&fetch, &version};

static struct err_text text;

/* Up to eight words behind the program's name. */
static int parse(struct invocation *ret, const char *const *words)
{
    char *argv[10] = {(char *)"credwarden"};
    int argc = 1;
    for (; *words != NULL; words++) {
        argv[argc++] = (char *)*words;
    }
    text.text[0] = '\0';
    return options_parse(argc, argv, table, ARRAY_LEN(table), ret, &text);
}
#define PARSE(in, ...) parse(in, (const char *const[]){__VA_ARGS__, NULL})

static void says(const char *part)
{
    if (strstr(text.text, part) == NULL) {
        fail_msg("expected \"%s\" in: %s", part, text.text);
    }
}
#define REFUSED(part, ...)                                                                         \
    do {                                                                                           \
        struct invocation none;                                                                    \
        assert_int_equal(PARSE(&none, __VA_ARGS__), ERR_INVALID);                                  \
        says(part);                                                                                \
    } while (0)

static void arguments_and_options_in_any_order(void **state)
{
    (void)state;
    struct invocation in;
    assert_int_equal(PARSE(&in, "--json", "fetch", "--size", "3", "work", "--quick", "f"), 0);
    assert_ptr_equal(in.command, &fetch);
    assert_string_equal(in.args[0], "work");
    assert_string_equal(in.args[1], "f");
    assert_string_equal(option_value(&in, "size"), "3");
    assert_string_equal(option_value(&in, "quick"), "");
    assert_true(in.json);
    assert_false(in.no_start);

    assert_int_equal(PARSE(&in, "fetch", "work", "--size=a=b", "--no-start"), 0);
    assert_string_equal(option_value(&in, "size"), "a=b");
    assert_null(option_value(&in, "quick"));
    assert_null(in.args[1]);
    assert_true(in.no_start);
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct invocation in;
    assert_int_equal(PARSE(&in, "fetch", "work", "--", "--size"), 0);
    assert_string_equal(in.args[1], "--size");
    assert_null(option_value(&in, "size"));
    assert_int_equal(PARSE(&in, "fetch", "work", "-"), 0);
    assert_string_equal(in.args[1], "-");
    assert_int_equal(PARSE(&in, "fetch", "--size", "--", "work"), 0); /* a value is a value */
    assert_string_equal(option_value(&in, "size"), "--");
}

static void help_needs_no_arguments(void **state)
{
    (void)state;
    struct invocation in;
    assert_int_equal(PARSE(&in, "fetch", "--help"), 0);
    assert_true(in.help);
    assert_ptr_equal(in.command, &fetch);
    assert_int_equal(PARSE(&in, "-h"), 0);
    assert_null(in.command);
    assert_int_equal(PARSE(&in, "--version"), 0);
    assert_ptr_equal(in.command, &version);
}

static void unknown_words_are_named_with_the_nearest(void **state)
{
    (void)state;
    REFUSED("did you mean 'fetch'", "fecth", "work");
    REFUSED("credwarden help", "zzzzzz");
    REFUSED("did you mean '--size'", "fetch", "work", "--sizes", "3");
    REFUSED("did you mean '--json'", "fetch", "work", "--jsn");
    REFUSED("did you mean '--version'", "--verson");
    REFUSED("no option '--size'", "--size", "3", "fetch", "work"); /* of the command, not of all */
    REFUSED("'--whatever'", "fetch", "work", "--whatever=secret");
    REFUSED("no option '-q'", "fetch", "work", "-q");
    REFUSED("'version' has no option '--version'", "version", "--version");
    char endless[200];
    memset(endless, 'a', sizeof(endless));
    memcpy(endless, "--", 2);
    endless[sizeof(endless) - 1] = '\0';
    REFUSED("no option", "fetch", "work", endless);
    REFUSED("…' is one argument too many; usage: ", "fetch", "a", "b", endless + 2);
    REFUSED("…'; `credwarden help` lists the commands", endless + 2);
}

static void missing_surplus_and_contradictory_words_are_named(void **state)
{
    (void)state;
    REFUSED("NAME is missing; usage: credwarden fetch NAME [FILE] [options]", "fetch");
    REFUSED("'c' is one argument too many", "fetch", "a", "b", "c");
    REFUSED("'x' is one argument too many", "version", "x");
    REFUSED("'--size' needs a value: --size N", "fetch", "a", "--size");
    REFUSED("'--size' needs a value", "fetch", "a", "--size=");
    REFUSED("'--size' is given twice", "fetch", "a", "--size", "1", "--size=2");
    REFUSED("'--quick' is given twice", "fetch", "a", "--quick", "--quick");
    REFUSED("'--quick' takes no value", "fetch", "a", "--quick=yes");
    REFUSED("'--json' takes no value", "fetch", "a", "--json=yes");
    REFUSED("FILE is empty", "fetch", "a", "");
}

static void names_and_encoding_are_checked(void **state)
{
    (void)state;
    REFUSED("cannot be the name of a profile", "fetch", "../etc");
    REFUSED("cannot be the name of a profile", "fetch", "--", "-a");
    REFUSED("cannot be the name of a profile", "fetch", "a b");
    REFUSED("NAME is empty", "fetch", "");
    REFUSED("argument 3 is not valid UTF-8: 'f?'", "fetch", "a", "f\xff");
    REFUSED("argument 1 is not valid UTF-8", "\xc0\xaf");
    REFUSED("there is no command '?[31m'", "\033[31m"); /* nothing a terminal would obey */
}

static void nothing_is_changed_on_failure(void **state)
{
    (void)state;
    struct invocation in = {.json = true};
    assert_int_equal(PARSE(&in, "fetch"), ERR_INVALID);
    assert_true(in.json);
    assert_null(in.command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_and_options_in_any_order),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_needs_no_arguments),
        cmocka_unit_test(unknown_words_are_named_with_the_nearest),
        cmocka_unit_test(missing_surplus_and_contradictory_words_are_named),
        cmocka_unit_test(names_and_encoding_are_checked),
        cmocka_unit_test(nothing_is_changed_on_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

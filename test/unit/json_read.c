/*
 * JSON from outside, read while memory is short: all of it, or none, whichever allocation fails.
 * The library loses bytes then, or ends the process (src/json/json.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "json/json.h"

static int fails_at, seen;

/* What secret memory asks (base/secret.c). */
bool secret_is_withheld(void);
bool secret_is_withheld(void)
{
    return ++seen == fails_at;
}

/* With texts and numbers of every length at which the room for one is outgrown. */
static void write_document(char *to, size_t size)
{
    size_t len = (size_t)snprintf(to, size, "{\"a\":[1,-2.5e3,true,null,{}]");
    for (int n = 1; n <= 70; n++) {
        len += (size_t)snprintf(to + len, size - len, ",\"t%d\":\"%0*d\",\"n%d\":%s%.*s", n, n, 7,
                                n, n > 18 ? "1." : "", n,
                                "123456789012345678901234567890123456789012345678901234567890123456"
                                "78901234567890");
    }
    (void)snprintf(to + len, size - len, "}");
}

static void a_document_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    char text[16384];
    struct json_fault fault = {0};
    json_t *root = NULL;
    write_document(text, sizeof(text));
    json_use_secret_memory();
    fails_at = 0;
    json_t *whole = json_read_object(text, strlen(text), &fault);
    assert_non_null(whole);
    for (fails_at = 1; root == NULL; fails_at++) {
        seen = 0;
        root = json_read_object(text, strlen(text), &fault);
        assert_true(root != NULL || fault.err == ERR_NOMEM);
    }
    assert_true(fails_at > 300 && seen < fails_at);
    assert_true(json_equal(root, whole));
    fails_at = 0;
    json_decref(whole);
    json_decref(root);
}

/* Two of them at once, freed in another order than they were read. */
static void documents_outlive_those_that_failed(void **state)
{
    (void)state;
    static const char text[] = "{\"kept\":\"0123456789012345678901234567890123456789\"}";
    struct json_fault fault;
    fails_at = 0;
    json_t *first = json_read_object(text, strlen(text), &fault);
    seen = 0;
    fails_at = 5;
    assert_null(json_read_object(text, strlen(text), &fault));
    fails_at = 0;
    json_t *second = json_read_object(text, strlen(text), &fault);
    assert_true(json_equal(first, second));
    json_decref(first);
    assert_int_equal(strlen(json_string_at(second, "kept")), 40);
    json_decref(second);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_is_read_whole_or_not_at_all),
        cmocka_unit_test(documents_outlive_those_that_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The route table, and openapi.json held against it in both directions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>

#include "api/conn.h"
#include "base/check.h"
#include "base/exits.h"
#include "base/words.h"

static struct http_text text(const char *s)
{
    return (struct http_text){s, strlen(s)};
}

static void every_operation_is_found_by_its_own_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT; i++) {
        const struct route *r = &api_routes[i], *found = NULL;
        assert_int_equal(r->operation, i);
        char path[128];
        const char *hole = strstr(r->pattern, "{name}");
        if (hole != NULL) {
            snprintf(path, sizeof(path), "%.*swork%s", (int)(hole - r->pattern), r->pattern,
                     hole + strlen("{name}"));
        } else {
            snprintf(path, sizeof(path), "%s", r->pattern);
        }
        struct http_text name;
        char allow[ROUTE_ALLOW_MAX];
        assert_int_equal(route_find(text(r->method), text(path), &found, &name, allow), 0);
        assert_ptr_equal(found, r);
        if (hole != NULL) {
            assert_int_equal(name.len, 4);
            assert_memory_equal(name.at, "work", 4);
        } else {
            assert_null(name.at);
        }
    }
}

static void other_paths_and_methods_are_not_found(void **state)
{
    (void)state;
    static const char *const nowhere[] = {"/",
                                          "",
                                          "/v1",
                                          "/v1/",
                                          "/v2/version",
                                          "/v1/profiles/",
                                          "/v1/profiles//token",
                                          "/v1/profiles/a/",
                                          "/v1/profiles/a/tokens",
                                          "/v1/profiles/a/token/",
                                          "/v1/Version",
                                          "/v1/version/x"};
    const struct route *r = NULL;
    struct http_text name = {0};
    char allow[ROUTE_ALLOW_MAX] = "before";
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++) {
        assert_int_equal(route_find(text("GET"), text(nowhere[i]), &r, &name, allow),
                         ERR_NOT_FOUND);
    }
    assert_string_equal(allow, "before");
    static const char *const methods[] = {"get", "PUT", "HEAD", "GE", "GETS", ""};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        int err = route_find(text(methods[i]), text("/v1/profiles/a"), &r, &name, allow);
        assert_int_equal(err, ERR_UNSUPPORTED);
        assert_string_equal(allow, "GET, POST, DELETE");
    }
    assert_null(r);
}

static void query_keys_come_apart(void **state)
{
    (void)state;
    char keys[ROUTE_KEYS_MAX][ROUTE_KEY_SIZE];
    assert_int_equal(route_keys(&api_routes[OP_VERSION], keys), 0);
    assert_int_equal(route_keys(&api_routes[OP_TOKEN], keys), 2);
    assert_string_equal(keys[0], "min_ttl");
    assert_string_equal(keys[1], "timeout");
    for (size_t i = 0; i < OP_COUNT; i++) {
        assert_true(route_keys(&api_routes[i], keys) <= ROUTE_KEYS_MAX);
    }
}

static json_t *load(void)
{
    json_error_t error;
    json_t *doc = json_loadb(api_openapi, api_openapi_len, JSON_REJECT_DUPLICATES, &error);
    if (doc == NULL) {
        fail_msg("openapi.json:%d: %s", error.line, error.text);
    }
    return doc;
}

/* Follows "#/a/b" within the document. */
static json_t *resolve(json_t *doc, json_t *node)
{
    const char *ref = json_string_value(json_object_get(node, "$ref"));
    if (ref == NULL) {
        return node;
    }
    assert_memory_equal(ref, "#/", 2);
    json_t *at = doc;
    char part[64];
    for (const char *p = ref + 2; *p != '\0';) {
        size_t len = strcspn(p, "/");
        snprintf(part, sizeof(part), "%.*s", (int)len, p);
        at = json_object_get(at, part);
        p += len + (p[len] == '/');
    }
    if (at == NULL) {
        fail_msg("nothing is at %s", ref);
    }
    return at;
}

static void every_reference_leads_somewhere(json_t *doc, json_t *node)
{
    const char *key;
    json_t *value;
    size_t i;
    resolve(doc, node);
    json_object_foreach(node, key, value)
    {
        every_reference_leads_somewhere(doc, value);
    }
    json_array_foreach(node, i, value)
    {
        every_reference_leads_somewhere(doc, value);
    }
}

static void the_description_is_whole(void **state)
{
    (void)state;
    json_t *doc = load();
    assert_string_equal(json_string_value(json_object_get(doc, "openapi")), "3.1.0");
    every_reference_leads_somewhere(doc, doc);
    json_decref(doc);
}

static const struct route *route_of(const char *pattern, const char *method)
{
    for (size_t i = 0; i < OP_COUNT; i++) {
        if (strcmp(api_routes[i].pattern, pattern) == 0 &&
            strcasecmp(api_routes[i].method, method) == 0) {
            return &api_routes[i];
        }
    }
    return NULL;
}

static bool knows_key(const struct route *r, const char *key)
{
    char keys[ROUTE_KEYS_MAX][ROUTE_KEY_SIZE];
    size_t n = route_keys(r, keys);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static size_t check_parameters(json_t *doc, json_t *list, const struct route *r, bool *has_name)
{
    size_t i, n_query = 0;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        json_t *parameter = resolve(doc, item);
        const char *name = json_string_value(json_object_get(parameter, "name"));
        const char *in = json_string_value(json_object_get(parameter, "in"));
        assert_true(json_string_length(json_object_get(parameter, "description")) > 0);
        assert_non_null(json_object_get(parameter, "schema"));
        if (strcmp(in, "path") == 0) {
            assert_string_equal(name, "name");
            *has_name = true;
        } else {
            assert_string_equal(in, "query");
            if (!knows_key(r, name)) {
                fail_msg("%s is not a query key of %s", name, r->id);
            }
            n_query++;
        }
    }
    return n_query;
}

static void check_operation(json_t *doc, json_t *path, json_t *operation, const struct route *r)
{
    assert_string_equal(json_string_value(json_object_get(operation, "operationId")), r->id);
    assert_true(json_string_length(json_object_get(operation, "summary")) > 0);
    assert_true(json_string_length(json_object_get(operation, "description")) > 0);

    bool has_name = false;
    size_t n = check_parameters(doc, json_object_get(operation, "parameters"), r, &has_name);
    n += check_parameters(doc, json_object_get(path, "parameters"), r, &has_name);
    char keys[ROUTE_KEYS_MAX][ROUTE_KEY_SIZE];
    assert_int_equal(n, route_keys(r, keys));
    assert_int_equal(has_name, strstr(r->pattern, "{name}") != NULL);

    assert_int_equal(json_object_get(operation, "requestBody") != NULL, r->takes_body);
    json_t *responses = json_object_get(operation, "responses");
    json_t *content = json_object_get(json_object_get(responses, "200"), "content");
    assert_true(json_object_size(content) > 0);
    assert_int_equal(json_object_get(content, "text/event-stream") != NULL, r->streams);
    assert_int_equal(json_object_get(content, "application/json") != NULL, !r->streams);
    json_t *problem = resolve(doc, json_object_get(responses, "default"));
    assert_non_null(
        json_object_get(json_object_get(problem, "content"), "application/problem+json"));
}

static void the_description_and_the_table_agree(void **state)
{
    (void)state;
    json_t *doc = load(), *path, *operation;
    const char *pattern, *method;
    bool seen[OP_COUNT] = {false};
    json_object_foreach(json_object_get(doc, "paths"), pattern, path)
    {
        json_object_foreach(path, method, operation)
        {
            if (strcmp(method, "parameters") == 0) {
                continue;
            }
            const struct route *r = route_of(pattern, method);
            if (r == NULL) {
                fail_msg("described, but not there: %s %s", method, pattern);
            }
            check_operation(doc, path, operation, r);
            seen[r->operation] = true;
        }
    }
    for (size_t i = 0; i < OP_COUNT; i++) {
        if (!seen[i]) {
            fail_msg("there, but not described: %s %s", api_routes[i].method,
                     api_routes[i].pattern);
        }
    }
    json_decref(doc);
}

static json_t *enum_of(json_t *doc, const char *schema)
{
    json_t *schemas = json_object_get(json_object_get(doc, "components"), "schemas");
    return json_object_get(json_object_get(schemas, schema), "enum");
}

static bool lists(json_t *list, const char *word)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (strcmp(json_string_value(item), word) == 0) {
            return true;
        }
    }
    return false;
}

static void every_problem_code_is_described(void **state)
{
    (void)state;
    json_t *doc = load();
    json_t *schemas = json_object_get(json_object_get(doc, "components"), "schemas");
    json_t *members = json_object_get(json_object_get(schemas, "Problem"), "properties");
    json_t *codes = json_object_get(json_object_get(members, "code"), "enum");
    assert_true(json_array_size(codes) > 10);
    for (unsigned i = 0; problem_at(i) != NULL; i++) {
        bool told_by_us = problem_at(i)->exit != EXIT_DAEMON;
        if (lists(codes, problem_at(i)->code) != told_by_us) {
            fail_msg("problem code %s", problem_at(i)->code);
        }
    }
    json_decref(doc);
}

#define CHECK_NAMES(doc, schema, count, name_of)                                                   \
    do {                                                                                           \
        assert_int_equal(json_array_size(enum_of(doc, schema)), count);                            \
        for (unsigned value_ = 0; value_ < (unsigned)(count); value_++) {                          \
            assert_true(lists(enum_of(doc, schema), name_of(value_)));                             \
        }                                                                                          \
    } while (0)

static void the_words_are_those_of_the_program(void **state)
{
    (void)state;
    json_t *doc = load();
    CHECK_NAMES(doc, "Policy", POLICY_COUNT, policy_name);
    CHECK_NAMES(doc, "Standing", STANDING_COUNT, standing_name);
    CHECK_NAMES(doc, "Alarm", ALARM_COUNT, alarm_name);
    CHECK_NAMES(doc, "Verdict", VERDICT_COUNT, verdict_name);
    CHECK_NAMES(doc, "Origin", ORIGIN_COUNT, origin_name);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_is_found_by_its_own_line),
        cmocka_unit_test(other_paths_and_methods_are_not_found),
        cmocka_unit_test(query_keys_come_apart),
        cmocka_unit_test(the_description_is_whole),
        cmocka_unit_test(the_description_and_the_table_agree),
        cmocka_unit_test(every_problem_code_is_described),
        cmocka_unit_test(the_words_are_those_of_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

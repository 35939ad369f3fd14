/*
 * One request through the lab without sockets: when exactly it commits under every quirk, and what
 * the log says of it.
 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "lab/lab.h"

struct story {
    struct lab lab;
    struct now now;
    struct grant_issue login;
    struct request request;
    struct exchange ex;
    char body[256];
    char raw[4096]; /* the answer's body, NUL-terminated */
};

static int begin(void **state)
{
    struct story *s = calloc(1, sizeof(*s));
    struct settings settings;

    assert_non_null(s);
    s->now = (struct now){.wall_ms = INT64_C(1795219495693), .boot_ms = 50000};
    settings_init(&settings);
    assert_int_equal(lab_init(&s->lab, &settings, 11, "http://127.0.0.1:1", s->now, NULL), 0);
    assert_int_equal(grants_login(s->lab.grants, &settings.rules, "alice", "lab",
                                  "user:profile user:inference", 0, s->now.boot_ms, &s->login),
                     0);
    *state = s;
    return 0;
}

static int end(void **state)
{
    struct story *s = *state;

    lab_release(&s->lab);
    free(s);
    return 0;
}

static struct http_text text(const char *t)
{
    return (struct http_text){.at = t, .len = strlen(t)};
}

static void script(struct story *s, const char *json)
{
    json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    struct err_text why = {""};

    assert_non_null(object);
    if (quirks_add(&s->lab.quirks, object, &why) != 0)
        fail_msg("%s", why.text);
    json_decref(object);
}

/* Up to the instant of the commit, and past it; the answer stays in s->ex. */
static void pass(struct story *s)
{
    exchange_open(&s->lab, &s->ex, &s->request, s->now);
    exchange_evaluate(&s->lab, &s->ex, s->now);
    snprintf(s->raw, sizeof(s->raw), "%s", buf_text(&s->ex.reply.body));
}

/* '@' in the body stands for the token. */
static void present_in(struct story *s, const char *type, const char *body, const char *refresh)
{
    int before = (int)strcspn(body, "@");
    const char *after = body[before] == '@' ? body + before + 1 : NULL;
    int n = snprintf(s->body, sizeof(s->body), "%.*s%s%s", before, body,
                     after == NULL ? "" : refresh, after == NULL ? "" : after);

    s->request = (struct request){.method = text("POST"),
                                  .target = text("/oauth/token"),
                                  .content_type = text(type),
                                  .body = s->body,
                                  .body_len = (size_t)n};
    pass(s);
}

static void present(struct story *s, const char *refresh)
{
    present_in(s, "application/x-www-form-urlencoded", "grant_type=refresh_token&refresh_token=@",
               refresh);
}

static void ask(struct story *s, const char *method, const char *target, const char *access)
{
    s->request = (struct request){
        .method = text(method), .target = text(target), .bearer = text(access), .body = ""};
    pass(s);
}

static uint32_t generation(struct story *s)
{
    return grants_family(s->lab.grants, 1)->generation;
}

static void finish(struct story *s)
{
    exchange_close(&s->lab, &s->ex);
}

static const struct lab_event *last_line(const struct story *s)
{
    return &s->lab.events.ring[s->lab.events.last_seq % EVENTS_MAX];
}

static void form_and_json_are_understood(void **state)
{
    struct story *s = *state;

    present(s, s->login.refresh);
    assert_int_equal(s->ex.reply.status, 200);
    assert_true(last_line(s)->committed && last_line(s)->rotated);
    finish(s);
    assert_int_equal(generation(s), 2);
    present_in(s, "application/json; charset=utf-8",
               "{\"grant_type\":\"refresh_token\",\"refresh_token\":\"@\"}", s->login.refresh);
    assert_int_equal(s->ex.reply.status, 400);
    assert_string_equal(last_line(s)->outcome, "reused");
    finish(s);
}

static void malformed_requests_touch_no_token(void **state)
{
    static const char *const forms[] = {
        "refresh_token=@",
        "grant_type=refresh_token&refresh_token=@&refresh_token=x",
        "grant_type=refresh_token&refresh_token=@&x=%zz",
        "grant_type=refresh_token&refresh_token=@&nothing",
        "grant_type=password&refresh_token=@",
        "grant_type=refresh_token&refresh_token=@&scope=user%3Aprofile+root",
        "",
    };
    static const char *const objects[] = {
        "{\"grant_type\":\"refresh_token\",\"refresh_token\":\"@\",\"refresh_token\":\"x\"}",
        "{\"grant_type\":\"refresh_token\",\"refresh_token\":[\"@\"]}",
        "[\"@\"]",
        "{\"grant_type\":\"refresh_token\",\"refresh_token\":\"@\"",
    };
    struct story *s = *state;

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        present_in(s, "application/x-www-form-urlencoded", forms[i], s->login.refresh);
        assert_int_equal(s->ex.reply.status, 400);
        assert_string_not_equal(last_line(s)->outcome, "unknown");
        finish(s);
    }
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        present_in(s, "application/json", objects[i], s->login.refresh);
        assert_int_equal(s->ex.reply.status, 400);
        finish(s);
    }
    present_in(s, "text/plain", "grant_type=refresh_token&refresh_token=@", s->login.refresh);
    assert_int_equal(s->ex.reply.status, 400);
    finish(s);
    assert_int_equal(generation(s), 1);
    assert_int_equal(s->lab.commits, 0);
    present_in(s, "application/x-www-form-urlencoded",
               "grant_type=refresh_token&refresh_token=@&scope=user:profile", s->login.refresh);
    assert_int_equal(s->ex.reply.status, 200);
    finish(s);
}

static void nothing_commits_before_its_instant(void **state)
{
    struct story *s = *state;

    script(s, "{\"on\":\"token\",\"quirk\":{\"delay_before_ms\":70,\"delay_after_ms\":30}}");
    s->lab.settings.delay_after_ms = 5;
    snprintf(s->body, sizeof(s->body), "grant_type=refresh_token&refresh_token=%s",
             s->login.refresh);
    s->request = (struct request){.method = text("POST"),
                                  .target = text("/oauth/token"),
                                  .content_type = text("application/x-www-form-urlencoded"),
                                  .body = s->body,
                                  .body_len = strlen(s->body)};
    exchange_open(&s->lab, &s->ex, &s->request, s->now);
    assert_int_equal(s->ex.delay_before_ms, 70);
    assert_int_equal(s->ex.delay_after_ms, 35); /* the setting's on top */
    assert_int_equal(generation(s), 1);
    assert_int_equal(s->lab.events.last_seq, 0);
    s->now.boot_ms += 70;
    exchange_evaluate(&s->lab, &s->ex, s->now);
    assert_int_equal(generation(s), 2);
    assert_int_equal(last_line(s)->arrived_ms, 0);
    assert_int_equal(last_line(s)->at_ms, 70);
    assert_string_equal(last_line(s)->quirk, "delay_before_ms+delay_after_ms");
    finish(s);
}

struct commit_case {
    const char *quirk;
    bool commits;
    bool lost;
    int status;
    const char *outcome;
};

static void what_commits_and_what_does_not(void **state)
{
    static const struct commit_case cases[] = {
        {"{\"lose_before_commit\":true}", false, true, 0, "lost"},
        {"{\"lose_after_commit\":true}", true, true, 0, "granted"},
        {"{\"status\":503}", false, false, 503, "not-evaluated"},
        {"{\"status\":503,\"commit\":true}", true, false, 503, "granted"},
        {"{\"body\":\"html\"}", false, false, 200, "not-evaluated"},
        {"{\"body\":\"html\",\"commit\":true}", true, false, 200, "granted"},
        {"{\"redirect\":\"http://127.0.0.1:9/\"}", false, false, 302, "not-evaluated"},
        {"{\"error\":\"invalid_grant\"}", false, false, 400, "not-evaluated"},
        {"{\"status\":429,\"lose_after_commit\":true}", false, true, 0, "not-evaluated"},
        {"{\"torn_after\":10}", true, false, 200, "granted"},
        {"{\"non_utf8\":true}", true, false, 200, "granted"},
        {"{\"missing_refresh_token\":true}", true, false, 200, "granted-unrotated"},
    };
    struct story *s = *state;
    char json[256], refresh[GRANT_TOKEN_SIZE], access[GRANT_TOKEN_SIZE];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct commit_case *c = &cases[i];
        uint64_t commits = s->lab.commits;
        struct grant_issue login = {0};

        assert_int_equal(grants_login(s->lab.grants, &s->lab.settings.rules, "carol", "lab", "x", 0,
                                      s->now.boot_ms, &login),
                         0);
        memcpy(refresh, login.refresh, sizeof(refresh));
        memcpy(access, login.access, sizeof(access));
        snprintf(json, sizeof(json), "{\"on\":\"token\",\"subject\":\"carol\",\"quirk\":%s}",
                 c->quirk);
        script(s, json);
        present(s, refresh);
        assert_int_equal(s->lab.commits - commits, c->commits ? 1 : 0);
        assert_int_equal(last_line(s)->committed, c->commits);
        assert_int_equal(s->ex.reply.lost, c->lost);
        assert_int_equal(last_line(s)->status, c->status);
        assert_string_equal(last_line(s)->outcome, c->outcome);
        finish(s);
        present(s, refresh); /* the proof: is the token still good? */
        assert_int_equal(s->ex.reply.status == 200,
                         !c->commits || strcmp(c->outcome, "granted-unrotated") == 0);
        finish(s);
    }
}

static void scripts_choose_their_requests(void **state)
{
    struct story *s = *state;
    struct grant_issue bob = {0};

    assert_int_equal(grants_login(s->lab.grants, &s->lab.settings.rules, "bob", "lab", "x", 0,
                                  s->now.boot_ms, &bob),
                     0);
    script(s, "{\"on\":\"resource\",\"family\":\"f2\",\"times\":2,\"quirk\":{\"status\":503}}");
    script(s, "{\"on\":\"resource\",\"quirk\":{\"status\":500}}");
    ask(s, "GET", "/resource", s->login.access);
    assert_int_equal(s->ex.reply.status, 500);
    finish(s);
    for (int want = 0; want < 3; want++) {
        ask(s, "GET", "/resource", bob.access);
        assert_int_equal(s->ex.reply.status, want < 2 ? 503 : 200);
        finish(s);
    }
    assert_int_equal(s->lab.quirks.n, 0);
    assert_int_equal(s->lab.quirks.used, 3);
}

static void scripts_are_read_strictly(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"on\":\"token\"}",
        "{\"on\":\"stats\",\"quirk\":{}}",
        "{\"on\":\"token\",\"quirk\":[]}",
        "{\"on\":\"token\",\"quirk\":{},\"more\":1}",
        "{\"on\":\"token\",\"quirk\":{},\"times\":0}",
        "{\"on\":\"token\",\"quirk\":{},\"family\":\"1\"}",
        "{\"on\":\"token\",\"quirk\":{\"stats\":1}}",
        "{\"on\":\"token\",\"quirk\":{\"status\":99}}",
        "{\"on\":\"token\",\"quirk\":{\"status\":\"503\"}}",
        "{\"on\":\"token\",\"quirk\":{\"delay_after_ms\":-1}}",
        "{\"on\":\"token\",\"quirk\":{\"lose_after_commit\":1}}",
        "{\"on\":\"token\",\"quirk\":{\"body\":\"htm\"}}",
        "{\"on\":\"token\",\"quirk\":{\"commit\":true}}",
        "{\"on\":\"token\",\"quirk\":{\"redirect\":\"x\\r\\ny\"}}",
        "{\"on\":\"token\",\"quirk\":{\"set\":[]}}",
        "{\"on\":\"token\",\"quirk\":{\"huge_mib\":65}}",
    };
    struct story *s = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *object = json_loads(bad[i], 0, NULL);
        struct err_text why = {""};

        assert_non_null(object);
        assert_true(quirks_add(&s->lab.quirks, object, &why) < 0);
        assert_true(why.text[0] != '\0');
        json_decref(object);
    }
    assert_int_equal(s->lab.quirks.n, 0);
}

static void settings_change_all_or_none(void **state)
{
    struct story *s = *state;
    struct settings before = s->lab.settings;
    struct err_text why = {""};
    json_t *object = json_pack("{s:i, s:s}", "access_life_ms", 9, "dialect", "klingon");

    assert_int_equal(settings_set_json(&s->lab.settings, object, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "dialect"));
    assert_memory_equal(&before, &s->lab.settings, sizeof(before));
    json_object_set_new(object, "dialect", json_string("older"));
    assert_int_equal(settings_set_json(&s->lab.settings, object, &why), 0);
    assert_int_equal(s->lab.settings.rules.access_life_ms, 9);
    json_decref(object);
    assert_int_equal(settings_set_option(&s->lab.settings, "grace", "1m30s", &why), 0);
    assert_int_equal(s->lab.settings.rules.grace_ms, 90000);
    assert_int_equal(settings_set_option(&s->lab.settings, "grace", "soon", &why), ERR_INVALID);
    assert_int_equal(settings_set_option(&s->lab.settings, "grase", "1s", &why), ERR_NOT_FOUND);
}

static void shapes(void **state)
{
    struct story *s = *state;
    json_t *json;

    script(s, "{\"on\":\"identity\",\"quirk\":{\"set\":{\"new\":[1]},\"unset\":[\"sub\"]}}");
    ask(s, "GET", "/oauth/identity", s->login.access);
    json = json_loads(s->raw, 0, NULL);
    assert_non_null(json);
    assert_true(json_is_array(json_object_get(json, "new")));
    assert_null(json_object_get(json, "sub"));
    json_decref(json);
    finish(s);

    script(s, "{\"on\":\"identity\",\"quirk\":{\"duplicate_key\":\"sub\"}}");
    ask(s, "GET", "/oauth/identity", s->login.access);
    assert_null(json_loads(s->raw, JSON_REJECT_DUPLICATES, NULL));
    json = json_loads(s->raw, 0, NULL);
    assert_non_null(json);
    json_decref(json);
    finish(s);

    script(s, "{\"on\":\"identity\",\"quirk\":{\"non_utf8\":true}}");
    ask(s, "GET", "/oauth/identity", s->login.access);
    assert_null(json_loads(s->raw, 0, NULL));
    finish(s);

    script(s, "{\"on\":\"identity\",\"quirk\":{\"huge_mib\":2}}");
    ask(s, "GET", "/oauth/identity", s->login.access);
    assert_true(s->ex.reply.body.len > 2 * 1024 * 1024);
    json = json_loadb(buf_text(&s->ex.reply.body), s->ex.reply.body.len, 0, NULL);
    assert_non_null(json);
    json_decref(json);
    finish(s);
}

static void pieces_add_up(void **state)
{
    struct story *s = *state;
    struct buf whole;
    size_t at = 0;
    int n = 0;

    buf_init(&whole, 65536);
    script(s, "{\"on\":\"resource\",\"quirk\":{\"drip_ms\":1,\"drip_bytes\":5,\"torn_after\":12}}");
    ask(s, "GET", "/resource", s->login.access);
    for (; !reply_is_over(&s->ex.reply, at); n++)
        assert_int_equal(reply_piece(&s->ex.reply, &at, &whole), 0);
    assert_int_equal(n, 3);
    assert_int_equal(whole.len, 12);
    assert_true(reply_is_torn(&s->ex.reply));
    finish(s);

    buf_clear(&whole);
    ask(s, "POST", "/v1/messages", s->login.access);
    for (at = 0, n = 0; !reply_is_over(&s->ex.reply, at); n++)
        assert_int_equal(reply_piece(&s->ex.reply, &at, &whole), 0);
    assert_int_equal(n, 6);
    assert_non_null(strstr(buf_text(&whole), "message_stop"));
    assert_non_null(strstr(buf_text(&whole), "\r\n0\r\n\r\n"));
    finish(s);
    buf_release(&whole);
}

static void a_changed_subject_stays_changed(void **state)
{
    struct story *s = *state;

    script(s, "{\"on\":\"token\",\"quirk\":{\"changed_subject\":\"mallory\"}}");
    present(s, s->login.refresh);
    assert_non_null(strstr(s->raw, "mallory@lab.invalid"));
    finish(s);
    ask(s, "GET", "/oauth/identity", s->login.access);
    assert_non_null(strstr(s->raw, "\"sub\":\"mallory\""));
    finish(s);
}

struct refusal {
    int64_t dialect;
    const char *deny;
    int status;
    const char *words;
};

static void dialects(void **state)
{
    static const struct refusal refusals[] = {
        {DIALECT_OLDER, "expired", 401, "OAuth token has expired"},
        {DIALECT_OLDER, "revoked", 403, "permission_error"},
        {DIALECT_OLDER, "scope", 403, "user:profile"},
        {DIALECT_NEWER, "expired", 401, "OAuth access token has expired"},
        {DIALECT_NEWER, "revoked", 401, "OAuth access token has been revoked"},
        {DIALECT_NEWER, "unknown", 401, "Invalid authentication credentials"},
        {DIALECT_NEWER, "scope", 403, "user:profile"},
        {DIALECT_OIDC, "expired", 401, "invalid_token"},
        {DIALECT_OIDC, "scope", 403, "insufficient_scope"},
    };
    struct story *s = *state;
    char json[128];

    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        s->lab.settings.dialect = refusals[i].dialect;
        snprintf(json, sizeof(json), "{\"on\":\"identity\",\"quirk\":{\"deny\":\"%s\"}}",
                 refusals[i].deny);
        script(s, json);
        ask(s, "GET", "/oauth/identity", s->login.access);
        assert_int_equal(s->ex.reply.status, refusals[i].status);
        assert_non_null(strstr(s->raw, refusals[i].words));
        assert_string_equal(last_line(s)->outcome, refusals[i].deny);
        finish(s);
    }
    ask(s, "GET", "/oauth/identity", s->login.access);
    assert_int_equal(s->ex.reply.status, 200);
    finish(s);
}

static void usage_is_throttled_by_family(void **state)
{
    struct story *s = *state;

    s->lab.settings.usage_gap_ms = 1000;
    ask(s, "GET", "/oauth/usage", s->login.access);
    assert_int_equal(s->ex.reply.status, 200);
    finish(s);
    s->now.boot_ms += 999;
    ask(s, "GET", "/oauth/usage", s->login.access);
    assert_int_equal(s->ex.reply.status, 429);
    assert_non_null(strstr(buf_text(&s->ex.reply.headers), "Retry-After: 1\r\n"));
    finish(s);
    s->now.boot_ms += 1;
    ask(s, "GET", "/oauth/usage", s->login.access);
    assert_int_equal(s->ex.reply.status, 200);
    finish(s);
}

static void token_requests_are_let_through_by_windows(void **state)
{
    static const struct {
        int64_t at_ms;
        int status;
        const char *retry_after;
    } rows[] = {
        {0, 200, NULL},    {1, 429, "Retry-After: 3\r\n"},    {2999, 429, "Retry-After: 1\r\n"},
        {3000, 200, NULL}, {3001, 429, "Retry-After: 3\r\n"},
    };
    struct story *s = *state;
    int64_t began = s->now.boot_ms + 10000;

    s->lab.settings.rules.rotate = false;
    s->lab.settings.token_limit = 1;
    s->lab.settings.token_window_ms = 3000;
    s->lab.settings.token_retry_after = true;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        s->now.boot_ms = began + rows[i].at_ms;
        present(s, s->login.refresh);
        assert_int_equal(s->ex.reply.status, rows[i].status);
        if (rows[i].retry_after != NULL) {
            assert_non_null(strstr(buf_text(&s->ex.reply.headers), rows[i].retry_after));
            assert_string_equal(last_line(s)->outcome, "not-evaluated");
        }
        finish(s);
    }
}

static void requests_in_flight_are_counted_by_family(void **state)
{
    struct story *s = *state;
    struct exchange other;

    s->request = (struct request){.method = text("GET"),
                                  .target = text("/resource"),
                                  .bearer = text(s->login.access),
                                  .body = ""};
    exchange_open(&s->lab, &other, &s->request, s->now);
    pass(s);
    assert_int_equal(last_line(s)->in_flight, 2);
    finish(s);
    ask(s, "GET", "/resource", "lab-at-of-nobody");
    assert_int_equal(last_line(s)->in_flight, 1);
    finish(s);
    exchange_evaluate(&s->lab, &other, s->now);
    assert_int_equal(last_line(s)->in_flight, 1);
    exchange_close(&s->lab, &other);
    assert_int_equal(s->lab.counters[ENDPOINT_RESOURCE].arrived, 3);
    assert_int_equal(s->lab.counters[ENDPOINT_RESOURCE].open, 0);
}

static void the_log_forgets_the_oldest_and_says_so(void **state)
{
    struct story *s = *state;
    struct lab_event line = {.endpoint = "token", .outcome = "granted", .agent = "a\"b\\c\n"};
    struct buf out;
    json_t *json;

    buf_init(&out, 16 * 1024 * 1024);
    for (int i = 0; i < EVENTS_MAX + 3; i++)
        events_append(&s->lab.events, &line);
    assert_int_equal(events_dropped(&s->lab.events), 3);
    assert_int_equal(events_read(&s->lab.events, 0, &out), 0);
    json = json_loads(buf_text(&out), JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "seq")), 4);
    assert_string_equal(json_string_value(json_object_get(json, "agent")), "a?b?c?");
    json_decref(json);
    buf_clear(&out);
    assert_int_equal(events_read(&s->lab.events, EVENTS_MAX + 3, &out), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(events_read(&s->lab.events, UINT64_MAX, &out), 0);
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(form_and_json_are_understood),
        TEST(malformed_requests_touch_no_token),
        TEST(nothing_commits_before_its_instant),
        TEST(what_commits_and_what_does_not),
        TEST(scripts_choose_their_requests),
        TEST(scripts_are_read_strictly),
        TEST(settings_change_all_or_none),
        TEST(shapes),
        TEST(pieces_add_up),
        TEST(a_changed_subject_stays_changed),
        TEST(dialects),
        TEST(usage_is_throttled_by_family),
        TEST(token_requests_are_let_through_by_windows),
        TEST(requests_in_flight_are_counted_by_family),
        TEST(the_log_forgets_the_oldest_and_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

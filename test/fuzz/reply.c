/*
 * A provider's answer (src/issuer/reply*.c): the only bytes here that a stranger chooses. Beside
 * the parser stand the rules that matter, each in its own words: a pair that has arrived is never
 * lost, nothing but a listed error ends a grant, and no token reaches a text.
 *
 * The first bytes choose the question, the provider, the status, and what became of the transfer.
 */
#include "fuzz.h"

#include <ctype.h>

#include "base/str.h"
#include "issuer/provider_parts.h"
#include "issuer/reply_parts.h"
#include "json/json.h"

/* Of every kind that a definition can be: prefixes and none, JWTs, subjects in the answer. */
static const char plain[] = "[provider plain]\ntoken_url = https://a.example/t\nclient_id = c\n";

static const char full[] =
    "[provider full]\ntoken_url = https://a.example/t\nclient_id = c\n"
    "identity_url = https://a.example/i\nsubject_paths = account.uuid organization.uuid\n"
    "label_path = account.email\nanswer_subject_paths = account.uuid organization.uuid\n"
    "answer_label_path = account.email\nusage_url = https://a.example/u\n"
    "utilization_paths = five_hour.utilization seven_day.utilization\n"
    "access_prefix = at-\nrefresh_prefix = rt-\ndeadline_field = refresh_token_expires_in\n"
    "final_errors = invalid_grant gone\nuncommitted_answers = 503 invalid_request\n";

static const char jwt[] =
    "[provider jwt]\ntoken_url = https://a.example/t\nclient_id = c\naccess_is_jwt = yes\n"
    "identity_url = https://a.example/i\nsubject_paths = sub\nlabel_path = email\n";

static const char *const definitions[] = {plain, full, jwt};

static const int statuses[] = {200, 0,   201, 204, 301, 302, 400, 401, 403,
                               404, 408, 425, 429, 500, 502, 503, 299};

static const char presented_text[] = "at-" MARKER "-presented";

static struct provider providers[ARRAY_LEN(definitions)];

static void read_definitions(void)
{
    struct err_text text = {""};
    for (size_t i = 0; i < ARRAY_LEN(definitions); i++) {
        CHECK(provider_parse("-", definitions[i], strlen(definitions[i]), &providers[i], &text) ==
              0);
    }
}

/* ---- rules ---- */

static bool is_token(const json_t *value)
{
    return json_is_string(value) &&
           token_is_sendable(json_string_value(value), json_string_length(value));
}

static bool is_none(const json_t *value)
{
    return value == NULL || json_is_null(value) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

static bool has_prefix(const json_t *value, const char *prefix)
{
    const char *text = json_string_value(value);
    return text != NULL && *prefix != '\0' && strncmp(text, prefix, strlen(prefix)) == 0;
}

/* A second reading of the body: is a pair there that can be lived on? */
static void check_pair_is_kept(const struct provider *p, const struct http_outcome *o,
                               const struct reply *r)
{
    json_error_t fault;
    json_t *root = json_loadb(o->body, o->body_len, JSON_REJECT_DUPLICATES, &fault);
    const json_t *access = json_object_get(root, "access_token");
    const json_t *refresh = json_object_get(root, "refresh_token");
    bool is_pair = o->status >= 200 && o->status <= 299 && is_token(access) &&
                   (is_none(refresh) || is_token(refresh)) &&
                   !has_prefix(access, p->refresh_prefix) && !has_prefix(refresh, p->access_prefix);
    if (root != NULL) {
        CHECK(is_pair == (r->verdict == VERDICT_GRANTED));
    }
    if (is_pair) {
        CHECK(strcmp(r->tokens.access.bytes, json_string_value(access)) == 0);
        CHECK(is_none(refresh) || strcmp(r->tokens.refresh.bytes, json_string_value(refresh)) == 0);
        CHECK(!is_none(refresh) || r->tokens.refresh.len == 0);
    }
    json_decref(root);
}

static void check_verdict(const struct http_outcome *o, const struct reply *r)
{
    bool is_success = o->status >= 200 && o->status <= 299;
    bool may_end = is_success || (o->status >= 400 && o->status <= 499 && o->status != 408 &&
                                  o->status != 425 && o->status != 429);
    CHECK((r->verdict == VERDICT_UNSENT) == (o->status == 0 && !o->sent));
    CHECK((r->verdict == VERDICT_GRANTED) == (r->tokens.access.len > 0));
    CHECK(r->verdict != VERDICT_GRANTED || is_success);
    CHECK((r->verdict == VERDICT_THROTTLED) == (o->status == 429));
    CHECK(r->verdict != VERDICT_REFUSED || (may_end && o->complete));
    CHECK(r->verdict != VERDICT_UNCOMMITTED || o->complete || o->status == 503);
}

static bool is_visible(const char *text)
{
    for (; *text != '\0'; text++) {
        if (!isprint((unsigned char)*text)) {
            return false;
        }
    }
    return true;
}

static void check_name(const struct provider *p, const char *text, const struct secret *presented,
                       const struct reply *r)
{
    CHECK(str_is_utf8(text, strlen(text)));
    for (const char *c = text; *c != '\0'; c++) {
        CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
    CHECK(strstr(text, presented->bytes) == NULL);
    CHECK(p->access_prefix[0] == '\0' ||
          strncmp(text, p->access_prefix, strlen(p->access_prefix)) != 0);
    CHECK(r->tokens.access.len < 8 || strstr(text, r->tokens.access.bytes) == NULL);
    CHECK(r->tokens.refresh.len < 8 || strstr(text, r->tokens.refresh.bytes) == NULL);
}

/* ---- the record ---- */

static bool secrets_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

static void check_record(const struct reply *r)
{
    struct buf record, second;
    struct reply again;
    buf_init_secret(&record, REPLY_RECORD_MAX);
    buf_init_secret(&second, REPLY_RECORD_MAX);
    int err = reply_encode(r, &record);
    CHECK(err == 0 || (err == ERR_TOO_LARGE && r->ask != ASK_SPEND)); /* a pair always fits */
    if (err == 0) {
        CHECK(reply_decode(record.bytes, record.len, &again) == 0);
        CHECK(again.ask == r->ask && again.verdict == r->verdict && again.life_ms == r->life_ms);
        CHECK(again.identity == r->identity && strcmp(again.subject, r->subject) == 0);
        CHECK(secrets_equal(&again.tokens.access, &r->tokens.access));
        CHECK(secrets_equal(&again.tokens.refresh, &r->tokens.refresh));
        CHECK(reply_encode(&again, &second) == 0 && second.len == record.len);
        CHECK(memcmp(second.bytes, record.bytes, record.len) == 0);
        reply_clear(&again);
    }
    buf_release(&record);
    buf_release(&second);
}

/* ---- */

static void ask(enum ask what, const struct provider *p, const struct http_outcome *o,
                const struct secret *presented, struct reply *r)
{
    switch (what) {
    case ASK_SPEND:
        reply_of_spend(p, o, r);
        check_verdict(o, r);
        check_pair_is_kept(p, o, r);
        break;
    case ASK_IDENTITY:
        reply_of_identity(p, o, presented, r);
        CHECK((r->identity == IDENTITY_NAMED) == (r->subject[0] != '\0'));
        break;
    case ASK_USAGE:
        reply_of_usage(p, o, r);
        break;
    case ASK_METADATA:
        reply_of_metadata(o, r);
        CHECK(r->identity != IDENTITY_NAMED || r->body.len == o->body_len);
        break;
    case ASK_COUNT:
        break;
    }
    if (what != ASK_SPEND) {
        bool is_success = o->complete && o->status >= 200 && o->status <= 299;
        CHECK(r->identity != IDENTITY_NAMED || is_success);
        CHECK(r->verdict == VERDICT_DOUBT && r->tokens.access.len == 0);
    }
    if (what == ASK_USAGE && r->identity == IDENTITY_NAMED) {
        struct json_fault fault;
        json_t *root = json_read_object(buf_text(&r->body), r->body.len, &fault);
        CHECK(root != NULL);
        json_decref(root);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len};
    struct secret presented = {.bytes = (char *)presented_text, .len = sizeof(presented_text) - 1};
    static struct reply r;
    if (providers[0].name[0] == '\0') {
        read_definitions();
    }
    enum ask what = (enum ask)take_below(&in, ASK_COUNT);
    const struct provider *p = &providers[take_below(&in, ARRAY_LEN(providers))];
    int status = statuses[take_below(&in, ARRAY_LEN(statuses))];
    uint8_t transfer = take_byte(&in);
    struct http_outcome o = {
        .sent = status != 0 || transfer % 2 == 1,
        .status = status,
        .complete = status != 0 && transfer % 4 < 2,
        .failure = transfer % 4 < 2 ? "" : "Recv failure",
        .retry_after_ms = transfer % 8 >= 4 ? 3000 : 0,
        .server_wall_ms = transfer % 16 >= 8 ? INT64_C(1795000000000) : 0,
        .body = (const char *)in.at,
        .body_len = in.left,
    };
    reply_init(&r);
    ask(what, p, &o, &presented, &r);

    CHECK(r.ask == what && r.http_status == status && is_visible(r.detail));
    CHECK(strstr(r.detail, MARKER) == NULL);
    CHECK(r.life_ms >= 0 && r.life_ms <= REPLY_LIFE_MAX_MS);
    CHECK(r.login_deadline_ms >= 0 && r.login_deadline_ms <= REPLY_LIFE_MAX_MS);
    CHECK(r.body.len <= REPLY_KEPT_MAX);
    check_name(p, r.subject, &presented, &r);
    check_name(p, r.label, &presented, &r);
    check_record(&r);
    reply_clear(&r);
    return 0;
}

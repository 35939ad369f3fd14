/*
 * A credential file that the user hands over (src/issuer/import.c): vendor files, token answers,
 * bare tokens. No message quotes the file, a refusal leaves nothing behind, and what was understood
 * is understood again when it is written as a plain token answer.
 *
 * The first byte chooses the provider.
 */
#include "fuzz.h"

#include <jansson.h>

#include "issuer/import.h"
#include "issuer/reply_parts.h"

#define AS_OF_MS INT64_C(1795000000000)

static struct provider plain;

static const struct provider *provider_at(size_t n)
{
    static const char text[] = "[provider plain]\ntoken_url = https://a.example/t\nclient_id = c\n";
    if (n > 0) {
        return provider_builtin_at((unsigned)n - 1);
    }
    if (plain.name[0] == '\0') {
        CHECK(provider_parse("-", text, sizeof(text) - 1, &plain, NULL) == 0);
    }
    return &plain;
}

static bool begins_with(const struct secret *token, const char *prefix)
{
    return *prefix != '\0' && token->len > 0 && strncmp(token->bytes, prefix, strlen(prefix)) == 0;
}

static void check_import(const struct provider *p, const struct import *i)
{
    const struct tokens *t = &i->tokens;
    const struct secret *const all[] = {&t->access, &t->refresh, &t->id_token};
    for (size_t n = 0; n < ARRAY_LEN(all); n++) {
        CHECK(all[n]->len == 0 || token_is_sendable(all[n]->bytes, all[n]->len));
    }
    CHECK(t->access.len > 0);
    CHECK(!begins_with(&t->access, p->refresh_prefix));
    CHECK(!begins_with(&t->refresh, p->access_prefix));
    CHECK(t->refresh.len == 0 || strcmp(t->access.bytes, t->refresh.bytes) != 0);
    CHECK(strlen(t->scope) < SCOPE_MAX);
    CHECK(i->expires_wall_ms >= 0 && i->expires_wall_ms < INT64_C(260000000000000));
    CHECK(i->life_ms >= 0 && i->life_ms <= REPLY_LIFE_MAX_MS && i->login_deadline_wall_ms >= 0);
}

static json_t *json_of_secret(const struct secret *s)
{
    return s->len > 0 ? json_string(s->bytes) : json_null();
}

static void check_again(const struct provider *p, const struct import *i)
{
    struct import again = {.life_ms = 0};
    struct err_text text = {""};
    bool dated = i->expires_wall_ms >= INT64_C(100000000000); /* else it reads as seconds */
    json_t *json =
        json_pack("{s:o, s:o, s:o, s:s, s:o}", "access_token", json_of_secret(&i->tokens.access),
                  "refresh_token", json_of_secret(&i->tokens.refresh), "id_token",
                  json_of_secret(&i->tokens.id_token), "scope", i->tokens.scope, "expires_at",
                  dated ? json_integer(i->expires_wall_ms) : json_null());
    char *written = json_dumps(json, 0);
    CHECK(written != NULL);
    CHECK(import_parse(p, "again", written, strlen(written), AS_OF_MS, &again, &text) == 0);
    CHECK(strcmp(again.tokens.access.bytes, i->tokens.access.bytes) == 0);
    CHECK(again.tokens.refresh.len == i->tokens.refresh.len);
    CHECK(again.tokens.id_token.len == i->tokens.id_token.len);
    CHECK(strcmp(again.tokens.scope, i->tokens.scope) == 0);
    CHECK(!dated || again.expires_wall_ms == i->expires_wall_ms);
    import_clear(&again);
    free(written);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len};
    struct err_text text = {""};
    struct import i;
    const struct provider *p = provider_at(take_below(&in, 3));
    CHECK(p != NULL);
    taint(&i, sizeof(i));
    int err = import_parse(p, "the file", in.at, in.left, AS_OF_MS, &i, &text);
    CHECK(strstr(text.text, MARKER) == NULL);
    if (err != 0) {
        CHECK(strncmp(text.text, "the file: ", 10) == 0);
        CHECK(is_tainted(&i, sizeof(i)));
        return 0;
    }
    check_import(p, &i);
    check_again(p, &i);
    import_clear(&i);
    return 0;
}

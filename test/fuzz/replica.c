/*
 * Stores of clients: whatever stands there, what is read in it can be written back without a
 * change, and what is written is what is read then. The input is a letter (which format), and the
 * store.
 */
#include "fuzz.h"

#include <jansson.h>

#include "replica/format.h"

#define NOW_MS INT64_C(1800000000000)

static bool same_secret(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

static void check_look(const struct copy *c, const char *why)
{
    CHECK(strstr(why, MARKER) == NULL);
    CHECK((c->what == SEEN_TORN) == (why[0] != '\0'));
    CHECK(c->what == SEEN_PAIR ? c->tokens.access.len > 0 : c->tokens.access.len == 0);
    CHECK(c->what == SEEN_PAIR || c->tokens.refresh.len == 0);
    CHECK(c->expires_wall_ms >= 0 && c->login_deadline_wall_ms >= 0);
}

/* The same login renewed, or an access token of it alone. */
static void write_another(const struct format *f, const char *bytes, size_t len, bool alone)
{
    struct copy another, then;
    struct err_text why = {""};
    struct buf out;
    copy_init(&another);
    copy_init(&then);
    buf_init_secret(&out, REPLICA_STORE_MAX);
    another.what = SEEN_PAIR;
    another.expires_wall_ms = NOW_MS;
    CHECK(secret_set(&another.tokens.access, "a" MARKER, sizeof(MARKER)) == 0);
    CHECK(secret_set(&another.tokens.refresh, "r" MARKER, alone ? 0 : sizeof(MARKER)) == 0);

    int err = format_write(f, bytes, len, &another, NOW_MS, &out, &why);
    CHECK(err == 0 || (err == ERR_INVALID && out.len == 0 && why.text[0] != '\0'));
    if (err == 0) {
        CHECK(format_read(f, buf_text(&out), out.len, &then, &why) == 0);
        /* Torn it is where something else of the login was, which stays as it is. */
        CHECK(then.what == SEEN_PAIR || then.what == SEEN_TORN);
    }
    if (err == 0 && then.what == SEEN_PAIR) {
        CHECK(same_secret(&then.tokens.access, &another.tokens.access));
        CHECK(same_secret(&then.tokens.refresh, &another.tokens.refresh));
        CHECK(then.expires_wall_ms == NOW_MS || strcmp(format_name(f), "codex") == 0);
    }
    buf_release(&out);
    copy_clear(&another);
    copy_clear(&then);
}

static void write_back(const struct format *f, const char *bytes, size_t len, const struct copy *c)
{
    struct err_text why = {""};
    struct copy then;
    struct buf out;
    copy_init(&then);
    buf_init_secret(&out, REPLICA_STORE_MAX);
    CHECK(format_write(f, bytes, len, c, NOW_MS, &out, &why) == 0);
    CHECK(format_read(f, buf_text(&out), out.len, &then, &why) == 0);
    CHECK(then.what == SEEN_PAIR && same_secret(&then.tokens.access, &c->tokens.access) &&
          same_secret(&then.tokens.refresh, &c->tokens.refresh));
    CHECK(then.login_deadline_wall_ms == c->login_deadline_wall_ms);
    CHECK(strcmp(then.tokens.scope, c->tokens.scope) == 0);
    size_t first = out.len;
    CHECK(format_write(f, buf_text(&out), first, &then, NOW_MS + 1000, &out, &why) == 0);
    CHECK(out.len == 2 * first && memcmp(out.bytes, out.bytes + first, first) == 0);
    buf_release(&out);
    copy_clear(&then);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len};
    unsigned n = 0;
    while (format_at(n) != NULL) {
        n++;
    }
    CHECK(n > 0);
    const struct format *f = format_at((unsigned)take_below(&in, n));
    const char *store = (const char *)in.at;
    struct err_text why = {""};
    struct copy c;
    copy_init(&c);
    int err = format_read(f, store, in.left, &c, &why);
    CHECK(err == 0);
    check_look(&c, why.text);
    if (c.what == SEEN_PAIR) {
        write_back(f, store, in.left, &c);
    }
    write_another(f, store, in.left, false);
    write_another(f, store, in.left, true);
    copy_clear(&c);
    return 0;
}

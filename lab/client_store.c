/*
 * A racing client's way to a token, wrong on purpose in the ways today's tools are: no lock, no
 * re-read before the refresh token is presented, and the file is written in place, so that others
 * may read it half-written.
 */
#include <jansson.h>

#include "base/str.h"
#include "lab/client.h"
#include "sys/clock.h"

static enum fetch failed(char error[CLIENT_ERROR_SIZE], const char *why)
{
    (void)str_copy(error, CLIENT_ERROR_SIZE, why);
    return FETCH_FAILED;
}

static void store_write(const char *path, json_t *store)
{
    FILE *file = fopen(path, "we");

    if (file == NULL)
        return;
    (void)json_dumpf(store, file, JSON_INDENT(2));
    (void)fclose(file);
}

/* What the answer says goes over what the file said. */
static enum fetch granted(const struct client *c, json_t *store, const struct buf *body,
                          char error[CLIENT_ERROR_SIZE])
{
    json_t *answer = json_loadb((const char *)body->bytes, body->len, 0, NULL);
    int64_t life_ms = json_integer_value(json_object_get(answer, "expires_in")) * SECOND_MS;
    enum fetch result = FETCH_TOKEN;

    if (json_object_get(answer, "access_token") == NULL)
        result = failed(error, "refresh: the answer is not a pair");
    else {
        json_object_update(store, answer);
        json_object_set_new(store, "expires_at", json_integer(clock_now().wall_ms + life_ms));
        store_write(c->store, store);
    }
    json_decref(answer);
    return result;
}

static enum fetch refresh(const struct client *c, json_t *store, char error[CLIENT_ERROR_SIZE])
{
    const char *old = json_string_value(json_object_get(store, "refresh_token"));
    enum fetch result = FETCH_FAILED;
    struct buf form, body;
    int status = 0;

    if (old == NULL)
        return failed(error, "refresh: the store holds no refresh token");
    buf_init(&form, CLIENT_TOKEN_SIZE);
    buf_init(&body, CLIENT_ANSWER_MAX);
    if (buf_addf(&form, "grant_type=refresh_token&refresh_token=%s", old) != 0 ||
        client_post(c, "/oauth/token", NULL, "application/x-www-form-urlencoded", buf_text(&form),
                    &status, &body) != 0) {
        result = failed(error, "refresh: no answer");
    } else if (status == 200) {
        result = granted(c, store, &body, error);
    } else if (status == 400 && strstr(buf_text(&body), "\"invalid_grant\"") != NULL) {
        (void)str_copy(error, CLIENT_ERROR_SIZE, "invalid_grant");
        result = FETCH_DIED;
    } else {
        snprintf(error, CLIENT_ERROR_SIZE, "refresh: status %d", status);
    }
    buf_release(&form);
    buf_release(&body);
    return result;
}

static bool is_due(const struct client *c, const json_t *store, const char *bad)
{
    const char *access = json_string_value(json_object_get(store, "access_token"));
    int64_t expires_ms = json_integer_value(json_object_get(store, "expires_at"));

    if (bad != NULL)
        return access == NULL || strcmp(access, bad) == 0;
    return expires_ms - clock_now().wall_ms < c->ahead_ms;
}

enum fetch store_fetch(const struct client *c, const char *bad, char token[CLIENT_TOKEN_SIZE],
                       char error[CLIENT_ERROR_SIZE])
{
    json_t *store = json_load_file(c->store, JSON_REJECT_DUPLICATES, NULL);
    enum fetch result = FETCH_TOKEN;
    const char *access;

    if (!json_is_object(store)) {
        json_decref(store);
        return failed(error, "the store cannot be read");
    }
    if (is_due(c, store, bad))
        result = refresh(c, store, error);
    access = json_string_value(json_object_get(store, "access_token"));
    if (result == FETCH_TOKEN &&
        (access == NULL || str_copy(token, CLIENT_TOKEN_SIZE, access) != 0))
        result = failed(error, "the store holds no access token");
    json_decref(store);
    return result;
}

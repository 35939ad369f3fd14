/*
 * What stands in a request target: a path, then perhaps a query of key=value pairs.
 */
#include "http/http.h"

#include "base/check.h"
#include "base/err.h"
#include "base/str.h"

struct http_text http_target_path(struct http_text target)
{
    const char *mark = target.len > 0 ? memchr(target.at, '?', target.len) : NULL;
    return mark == NULL ? target : (struct http_text){target.at, (size_t)(mark - target.at)};
}

struct http_text http_target_query(struct http_text target)
{
    size_t path_len = http_target_path(target).len;
    if (path_len == target.len) {
        return (struct http_text){target.at + target.len, 0};
    }
    return (struct http_text){target.at + path_len + 1, target.len - path_len - 1};
}

bool http_query_next(struct http_text *rest, struct http_text *ret_key, struct http_text *ret_value)
{
    while (rest->len > 0) {
        const char *amp = memchr(rest->at, '&', rest->len);
        struct http_text pair = {rest->at, amp != NULL ? (size_t)(amp - rest->at) : rest->len};
        size_t taken = amp != NULL ? pair.len + 1 : pair.len;
        *rest = (struct http_text){rest->at + taken, rest->len - taken};
        if (pair.len == 0) {
            continue;
        }
        const char *equals = memchr(pair.at, '=', pair.len);
        size_t key_len = equals != NULL ? (size_t)(equals - pair.at) : pair.len;
        size_t value_at = equals != NULL ? key_len + 1 : key_len;
        *ret_key = (struct http_text){pair.at, key_len};
        *ret_value = (struct http_text){pair.at + value_at, pair.len - value_at};
        return true;
    }
    return false;
}

int http_query_get(struct http_text target, const char *key, char *ret, size_t size)
{
    struct http_text rest = http_target_query(target), found = {0}, name, value;
    while (http_query_next(&rest, &name, &value)) {
        if (name.len != strlen(key) || memcmp(name.at, key, name.len) != 0) {
            continue;
        }
        if (found.at != NULL) {
            return ERR_INVALID;
        }
        found = value;
    }
    return found.at == NULL ? ERR_NOT_FOUND : http_percent_decode(found, ret, size);
}

static int hex_pair(const char *digits, char *ret)
{
    char pair[3] = {digits[0], digits[1], '\0'};
    uint8_t byte;
    int err = hex_decode(pair, &byte, 1);
    if (err < 0) {
        return err;
    }
    *ret = (char)byte;
    return 0;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static int decode(struct http_text t, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < t.len; i++) {
        char c = t.at[i];
        if (c == '%') {
            if (t.len - i < 3 || hex_pair(t.at + i + 1, &c) < 0) {
                return ERR_INVALID;
            }
            i += 2;
        }
        if (is_control(c)) {
            return ERR_INVALID;
        }
        if (len + 1 >= size) {
            return ERR_TOO_LARGE;
        }
        out[len++] = c;
    }
    out[len] = '\0';
    return str_is_utf8(out, len) ? 0 : ERR_INVALID;
}

int http_percent_decode(struct http_text t, char *ret, size_t size)
{
    CHECK(size > 0);
    int err = decode(t, ret, size);
    if (err < 0) {
        ret[0] = '\0';
    }
    return err;
}

static bool is_unreserved(char c) /* RFC 3986 §2.3 */
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

int http_percent_encode(const char *text, struct buf *out)
{
    size_t len = 0;
    for (const char *p = text; *p != '\0'; p++) {
        len += is_unreserved(*p) ? 1 : 3;
    }
    uint8_t *at = buf_reserve(out, len);
    if (at == NULL) {
        return ERR_TOO_LARGE;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (is_unreserved(*p)) {
            *at++ = (uint8_t)*p;
            continue;
        }
        static const char digits[] = "0123456789ABCDEF";
        *at++ = '%';
        *at++ = (uint8_t)digits[(uint8_t)*p >> 4];
        *at++ = (uint8_t)digits[(uint8_t)*p & 15];
    }
    buf_commit(out, len);
    return 0;
}

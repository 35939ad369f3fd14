/*
 * URLs, as far as a definition needs them: is this one a token may be sent to, and which origin is
 * it? A small strict reader of our own, because the question is what we refuse, and a lenient one
 * that disagrees with the HTTP client about the host is how a token ends up elsewhere.
 */
#include "issuer/provider.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 253 /* RFC 1035 §2.3.4, as text */

struct url {
    bool secure; /* https */
    char host[HOST_MAX + 1];
    int port;
};

/* Bytes that RFC 3986 allows nowhere, and '#': a fragment never reaches a server. */
static bool has_foreign_bytes(const char *url)
{
    for (const char *c = url; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || strchr("\"<>\\^`{|}#", *c) != NULL) {
            return true;
        }
    }
    return false;
}

static bool host_is_plain(const char *host, size_t len)
{
    if (host[0] == '.' || host[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)host[i]) && strchr(".-_", host[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static bool is_number(const char *text, size_t len)
{
    bool is_hex = len >= 2 && strncasecmp(text, "0x", 2) == 0;
    for (size_t i = is_hex ? 2 : 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_hex ? !isxdigit(c) : !isdigit(c)) {
            return false;
        }
    }
    return len > 0;
}

/* "127.1", "0177.0.0.1", "0x7f.1", "2130706433": libcurl and many resolvers read these as IPv4
 * addresses, so they must not pass as names. What ends in a number is four plain decimal ones. */
static bool host_is_odd_number(const char *host, size_t len)
{
    char text[HOST_MAX + 1];
    struct in_addr address;
    memcpy(text, host, len);
    text[len] = '\0';
    size_t end = len - (host[len - 1] == '.' ? 1 : 0); /* the root's dot changes nothing */
    size_t begin = end;
    while (begin > 0 && host[begin - 1] != '.') {
        begin--;
    }
    return is_number(host + begin, end - begin) && inet_pton(AF_INET, text, &address) != 1;
}

static bool host_is_ipv6(const char *host, size_t len)
{
    char inner[HOST_MAX + 1];
    struct in6_addr address;
    if (len < 4 || host[0] != '[' || host[len - 1] != ']') {
        return false;
    }
    memcpy(inner, host + 1, len - 2);
    inner[len - 2] = '\0';
    return inet_pton(AF_INET6, inner, &address) == 1;
}

static int port_read(const char *text, size_t len, int *ret)
{
    int port = 0;
    if (len == 0 || len > 5) {
        return ERR_INVALID;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i])) {
            return ERR_INVALID;
        }
        port = port * 10 + (text[i] - '0');
    }
    if (port < 1 || port > 65535) {
        return ERR_INVALID;
    }
    *ret = port;
    return 0;
}

static int url_read(const char *text, struct url *ret)
{
    struct url u = {.secure = false};
    if (strnlen(text, URL_MAX) >= URL_MAX || has_foreign_bytes(text)) {
        return ERR_INVALID;
    }
    if (strncmp(text, "https://", 8) == 0) {
        u.secure = true;
    } else if (strncmp(text, "http://", 7) != 0) {
        return ERR_INVALID;
    }

    const char *host = text + (u.secure ? 8 : 7);
    size_t authority_len = strcspn(host, "/?");
    size_t host_len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?");
    if (host_len == 0 || host_len > authority_len || host_len > HOST_MAX) {
        return ERR_INVALID;
    }
    bool is_name = host_is_plain(host, host_len) && !host_is_odd_number(host, host_len);
    if (!host_is_ipv6(host, host_len) && !is_name) {
        return ERR_INVALID; /* '@' is among what is refused here: no userinfo */
    }
    for (size_t i = 0; i < host_len; i++) {
        u.host[i] = (char)tolower((unsigned char)host[i]);
    }

    u.port = u.secure ? 443 : 80;
    if (host_len < authority_len &&
        (host[host_len] != ':' ||
         port_read(host + host_len + 1, authority_len - host_len - 1, &u.port) != 0)) {
        return ERR_INVALID;
    }
    *ret = u;
    return 0;
}

static bool host_is_loopback(const char *host)
{
    struct in_addr address;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0) {
        return true;
    }
    /* Of numbers there are only plain ones here: see host_is_odd_number(). */
    return inet_pton(AF_INET, host, &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

int url_origin(const char *url, char *ret, size_t size)
{
    struct url u;
    char origin[HOST_MAX + 32];
    if (url_read(url, &u) != 0) {
        return ERR_INVALID;
    }
    int len =
        snprintf(origin, sizeof(origin), "%s://%s:%d", u.secure ? "https" : "http", u.host, u.port);
    if (len < 0 || (size_t)len >= size) {
        return ERR_INVALID;
    }
    memcpy(ret, origin, (size_t)len + 1);
    return 0;
}

bool url_is_loopback(const char *url)
{
    struct url u;
    return url_read(url, &u) == 0 && host_is_loopback(u.host);
}

bool url_is_allowed(const char *url)
{
    struct url u;
    return url_read(url, &u) == 0 && (u.secure || host_is_loopback(u.host));
}

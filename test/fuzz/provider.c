/*
 * Provider definitions: a user's file, a server's metadata, the record form, and the URLs in all
 * of them. A definition decides where refresh tokens are sent, so every URL that we accept is shown
 * to libcurl's own reader, which will do the sending: both must mean the same host.
 *
 * The first byte chooses: 'f'ile, 'm'etadata, 'r'ecord, 'u'rl.
 */
#include "fuzz.h"

#include <curl/curl.h>
#include <stdio.h>

#include "base/record.h"
#include "issuer/provider_parts.h"

/* ---- URLs ---- */

static char *part_of(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, flags) == CURLUE_OK ? text : NULL;
}

static void check_url(const char *text)
{
    char ours[URL_MAX], theirs[URL_MAX];
    if (!url_is_allowed(text)) {
        return;
    }
    CURLU *url = curl_url();
    CHECK(curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK);
    char *scheme = part_of(url, CURLUPART_SCHEME, 0);
    char *host = part_of(url, CURLUPART_HOST, 0);
    char *port = part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    CHECK(scheme != NULL && host != NULL && port != NULL);
    CHECK(part_of(url, CURLUPART_USER, 0) == NULL && part_of(url, CURLUPART_FRAGMENT, 0) == NULL);
    (void)snprintf(theirs, sizeof(theirs), "%s://%s:%s", scheme, host, port);
    CHECK(url_origin(text, ours, sizeof(ours)) == 0);
    CHECK(strcasecmp(ours, theirs) == 0);
    bool is_near =
        strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || host[0] == '[';
    CHECK(strcmp(scheme, "https") == 0 || is_near);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
}

/* ---- definitions ---- */

static void check_definition(const struct provider *p)
{
    struct buf record, second;
    struct provider again;
    struct err_text text = {""};
    buf_init(&record, (size_t)64 * 1024);
    buf_init(&second, (size_t)64 * 1024);
    CHECK(provider_validate(p, &text) == 0);
    CHECK(provider_encode(p, &record) == 0);
    CHECK(provider_decode(record.bytes, record.len, &again) == 0);
    CHECK(provider_encode(&again, &second) == 0 && second.len == record.len);
    CHECK(memcmp(record.bytes, second.bytes, record.len) == 0);
    const char *const urls[] = {p->token_url,         p->identity_url, p->usage_url,
                                p->authorization_url, p->device_url,   p->revocation_url};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        CHECK(urls[i][0] == '\0' || url_is_allowed(urls[i]));
        check_url(urls[i]);
    }
    CHECK(p->token_url[0] != '\0' && p->client_id[0] != '\0' && name_is_valid(p->name));
    buf_release(&record);
    buf_release(&second);
}

#define LINE_MAX_LEN 2046 /* without blanks before it */

static bool has_long_line(struct input in)
{
    for (const uint8_t *line = in.at, *end = in.at + in.left; line < end;) {
        const uint8_t *lf = memchr(line, '\n', (size_t)(end - line));
        const uint8_t *stop = lf != NULL ? lf : end;
        while (line < stop && (*line == ' ' || *line == '\t')) {
            line++;
        }
        if (stop - line > LINE_MAX_LEN) {
            return true;
        }
        line = stop + 1;
    }
    return false;
}

static void parse_file(struct input in)
{
    static struct provider p;
    struct err_text text = {""};
    taint(&p, sizeof(p));
    if (provider_parse("a.ini", (const char *)in.at, in.left, &p, &text) != 0) {
        CHECK(is_tainted(&p, sizeof(p)));
        CHECK(strncmp(text.text, "a.ini:", 6) == 0);
        return;
    }
    CHECK(!has_long_line(in)); /* the last that fits libinih's room is the last that is read */
    check_definition(&p);
}

static void parse_metadata(struct input in)
{
    static struct provider p;
    struct err_text text = {""};
    static const char *const issuers[] = {"https://a.example", "http://127.0.0.1:7/x"};
    const char *issuer = issuers[take_below(&in, ARRAY_LEN(issuers))];
    taint(&p, sizeof(p));
    if (provider_from_metadata(issuer, "client", (const char *)in.at, in.left, &p, &text) != 0) {
        CHECK(is_tainted(&p, sizeof(p)) && text.text[0] != '\0');
        return;
    }
    check_definition(&p);
    CHECK(strcmp(p.issuer, issuer) == 0 && strcmp(p.client_id, "client") == 0);
    CHECK(url_is_loopback(p.token_url) == url_is_loopback(issuer));
    CHECK(p.identity_url[0] == '\0' || url_is_loopback(p.identity_url) == url_is_loopback(issuer));
}

static void decode_record(struct input in)
{
    static struct provider p;
    taint(&p, sizeof(p));
    if (provider_decode(in.at, in.left, &p) != 0) {
        CHECK(is_tainted(&p, sizeof(p)));
        return;
    }
    check_definition(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len};
    char *url;
    switch (take_byte(&in)) {
    case 'f':
        parse_file(in);
        break;
    case 'm':
        parse_metadata(in);
        break;
    case 'r':
        decode_record(in);
        break;
    case 'u':
        url = take_text(&in);
        check_url(url);
        free(url);
        break;
    default:
        break;
    }
    return 0;
}

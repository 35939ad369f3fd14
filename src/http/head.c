/*
 * The head of a request. One pass, line by line; a line is looked at only once it is complete, so
 * a head that comes byte by byte means the same as one that comes at once. Whatever two parsers
 * could read two ways is a fault, never a guess: the sender is ours or broken, and both are served
 * better by a plain refusal than by a repair.
 */
#include "http/http.h"

#include <strings.h>

#include "base/check.h"

#define CONTENT_LENGTH_DIGITS_MAX 18 /* always fits an int64_t */

struct cursor {
    const char *at, *end;
};

/* Framing headers seen so far; what they add up to is decided at the end of the head. */
struct framing {
    bool host, transfer_encoding, expect;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_tchar(char c) /* RFC 9110 §5.6.2 */
{
    return is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static bool is_token(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++) {
        if (!is_tchar(t.at[i])) {
            return false;
        }
    }
    return t.len > 0;
}

static bool text_equal(struct http_text t, const char *word)
{
    return t.len == strlen(word) && memcmp(t.at, word, t.len) == 0;
}

bool http_text_is(struct http_text t, const char *word)
{
    return t.len == strlen(word) && strncasecmp(t.at, word, t.len) == 0;
}

static struct http_text text_trim(struct http_text t)
{
    while (t.len > 0 && is_one_of(t.at[0], " \t")) {
        t.at++;
        t.len--;
    }
    while (t.len > 0 && is_one_of(t.at[t.len - 1], " \t")) {
        t.len--;
    }
    return t;
}

/* Up to the separator, which is skipped. False when there is none: all of it is the piece. */
static bool text_split(struct http_text *rest, char separator, struct http_text *ret_piece)
{
    const char *found = rest->len > 0 ? memchr(rest->at, separator, rest->len) : NULL;
    if (found == NULL) {
        *ret_piece = *rest;
        *rest = (struct http_text){rest->at + rest->len, 0};
        return false;
    }
    *ret_piece = (struct http_text){rest->at, (size_t)(found - rest->at)};
    rest->len -= ret_piece->len + 1;
    rest->at = found + 1;
    return true;
}

/* 1: a line without its CR LF; 0: not yet complete; < 0: a fault, told as soon as it is seen. */
static int take_line(struct cursor *c, enum http_fault control_fault, struct http_text *ret)
{
    for (const char *p = c->at; p < c->end; p++) {
        if (*p == '\n') {
            return -HTTP_BARE_LF;
        }
        if (*p == '\r') {
            if (p + 1 == c->end) {
                return 0;
            }
            if (p[1] != '\n') {
                return -HTTP_BARE_CR;
            }
            *ret = (struct http_text){c->at, (size_t)(p - c->at)};
            c->at = p + 2;
            return 1;
        }
        if (is_control(*p)) {
            return -(int)control_fault;
        }
    }
    return 0;
}

static bool is_origin_form(struct http_text target) /* RFC 3986 §3.3, §3.4 */
{
    if (target.len == 0 || target.at[0] != '/' || (target.len > 1 && target.at[1] == '/')) {
        return false; /* "//x": a path to one reader, an authority to another */
    }
    for (size_t i = 0; i < target.len; i++) {
        char c = target.at[i];
        if (c == '%') {
            if (target.len - i < 3 || !is_hex(target.at[i + 1]) || !is_hex(target.at[i + 2])) {
                return false;
            }
        } else if (!is_alnum(c) && !is_one_of(c, "-._~!$&'()*+,;=:@/?")) {
            return false;
        }
    }
    return true;
}

static enum http_fault parse_request_line(struct http_text line, struct http_head *h)
{
    struct http_text version;
    if (!text_split(&line, ' ', &h->method) || !text_split(&line, ' ', &h->target) ||
        text_split(&line, ' ', &version) || !is_token(h->method)) {
        return HTTP_BAD_REQUEST_LINE;
    }
    if (!text_equal(version, "HTTP/1.1")) {
        bool other = version.len == 8 && memcmp(version.at, "HTTP/", 5) == 0 &&
                     is_digit(version.at[5]) && version.at[6] == '.' && is_digit(version.at[7]);
        return other ? HTTP_BAD_VERSION : HTTP_BAD_REQUEST_LINE;
    }
    if (text_equal(h->method, "CONNECT") || !is_origin_form(h->target)) {
        return HTTP_BAD_TARGET;
    }
    return HTTP_OK;
}

static enum http_fault read_host(struct http_text value, struct framing *f)
{
    if (f->host) {
        return HTTP_TWO_HOSTS;
    }
    f->host = true;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_alnum(value.at[i]) && !is_one_of(value.at[i], "-._~%:[]")) {
            return HTTP_BAD_HEADER_VALUE;
        }
    }
    return HTTP_OK;
}

static enum http_fault read_content_length(struct http_text value, struct http_head *h)
{
    if (h->content_length >= 0) {
        return HTTP_TWO_CONTENT_LENGTHS;
    }
    bool leading_zero = value.len > 1 && value.at[0] == '0';
    if (value.len == 0 || value.len > CONTENT_LENGTH_DIGITS_MAX || leading_zero) {
        return HTTP_BAD_CONTENT_LENGTH;
    }
    int64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.at[i])) {
            return HTTP_BAD_CONTENT_LENGTH;
        }
        length = length * 10 + (value.at[i] - '0');
    }
    h->content_length = length;
    return HTTP_OK;
}

static enum http_fault read_connection(struct http_text value, struct http_head *h)
{
    bool more;
    do {
        struct http_text option;
        more = text_split(&value, ',', &option);
        option = text_trim(option);
        if (option.len > 0 && !is_token(option)) {
            return HTTP_BAD_HEADER_VALUE;
        }
        if (http_text_is(option, "close")) {
            h->keep_alive = false;
        }
    } while (more);
    return HTTP_OK;
}

/* What the framing of the message depends on is read here, everything else is only kept. */
static enum http_fault read_header(const struct http_header *header, struct http_head *h,
                                   struct framing *f)
{
    if (http_text_is(header->name, "host")) {
        return read_host(header->value, f);
    }
    if (http_text_is(header->name, "content-length")) {
        return read_content_length(header->value, h);
    }
    if (http_text_is(header->name, "transfer-encoding")) {
        if (f->transfer_encoding || !text_equal(header->value, "chunked")) {
            return HTTP_BAD_TRANSFER_ENCODING;
        }
        f->transfer_encoding = h->chunked = true;
    } else if (http_text_is(header->name, "connection")) {
        return read_connection(header->value, h);
    } else if (http_text_is(header->name, "expect")) {
        if (f->expect || !http_text_is(header->value, "100-continue")) {
            return HTTP_BAD_EXPECT;
        }
        f->expect = h->expect_continue = true;
    }
    return HTTP_OK;
}

static enum http_fault parse_header_line(struct http_text line, struct http_head *h,
                                         struct framing *f)
{
    if (is_one_of(line.at[0], " \t")) {
        return HTTP_OBS_FOLD;
    }
    struct http_header header;
    if (!text_split(&line, ':', &header.name) || !is_token(header.name)) {
        return HTTP_BAD_HEADER_NAME;
    }
    header.value = text_trim(line);
    if (h->n_headers == HTTP_HEADERS_MAX) {
        return HTTP_TOO_MANY_HEADERS;
    }
    h->headers[h->n_headers++] = header;
    return read_header(&header, h, f);
}

static enum http_fault check_framing(const struct http_head *h, const struct framing *f)
{
    if (!f->host) {
        return HTTP_NO_HOST;
    }
    return h->chunked && h->content_length >= 0 ? HTTP_LENGTH_AND_CHUNKED : HTTP_OK;
}

int http_parse_head(const char *bytes, size_t len, size_t max, struct http_head *ret)
{
    CHECK(max <= INT32_MAX);
    struct http_head h = {.keep_alive = true, .content_length = -1};
    struct framing f = {0};
    struct cursor c = {bytes, bytes + (len < max ? len : max)};
    struct http_text line;

    int got = take_line(&c, HTTP_BAD_REQUEST_LINE, &line);
    enum http_fault fault = got > 0 ? parse_request_line(line, &h) : HTTP_OK;
    while (got > 0 && fault == HTTP_OK) {
        got = take_line(&c, HTTP_BAD_HEADER_VALUE, &line);
        if (got > 0 && line.len == 0) {
            fault = check_framing(&h, &f);
            break;
        }
        if (got > 0) {
            fault = parse_header_line(line, &h, &f);
        }
    }
    if (got < 0) {
        return got;
    }
    if (fault != HTTP_OK) {
        return -(int)fault;
    }
    if (got == 0) {
        return len < max ? 0 : -HTTP_HEAD_TOO_LARGE;
    }
    *ret = h;
    return (int)(c.at - bytes);
}

const struct http_header *http_find(const struct http_head *h, const char *name)
{
    for (size_t i = 0; i < h->n_headers; i++) {
        if (http_text_is(h->headers[i].name, name)) {
            return &h->headers[i];
        }
    }
    return NULL;
}

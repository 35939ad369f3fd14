/*
 * The body of a request: so many bytes, or chunks (RFC 9112 §7.1). Fed as it comes; the caller's
 * maximum is held against what is announced, before the bytes themselves are there.
 */
#include "http/http.h"

#include <limits.h>

#include "base/check.h"
#include "base/err.h"

enum body_state {
    BODY_BYTES,      /* `left` bytes follow, then nothing */
    BODY_SIZE_FIRST, /* first digit of a chunk's size */
    BODY_SIZE,       /* further digits, or CR */
    BODY_SIZE_LF,
    BODY_CHUNK, /* `left` bytes of the chunk follow */
    BODY_CHUNK_CR,
    BODY_CHUNK_LF,
    BODY_END_CR, /* after the last chunk: no trailer, only CR LF */
    BODY_END_LF,
};

void http_body_init(struct http_body *b, const struct http_head *h, int64_t max)
{
    *b = (struct http_body){.chunked = h->chunked, .max = max};
    if (h->chunked) {
        b->state = BODY_SIZE_FIRST;
        return;
    }
    b->state = BODY_BYTES;
    b->left = b->total = h->content_length > 0 ? h->content_length : 0;
    b->done = b->left == 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum http_fault size_digit(struct http_body *b, char c)
{
    int value = hex_value(c);
    bool leading_zero = b->state == BODY_SIZE && b->left == 0;
    if (value < 0 || leading_zero) {
        return HTTP_BAD_CHUNK;
    }
    int64_t room = b->max - b->total;
    if (value > room || b->left > (room - value) / 16) {
        return HTTP_BODY_TOO_LARGE; /* told at the first digit too many: nothing can overflow */
    }
    b->left = b->left * 16 + value;
    b->state = BODY_SIZE;
    return HTTP_OK;
}

static enum http_fault expect_byte(struct http_body *b, char c, char wanted, enum body_state next)
{
    if (c != wanted) {
        return HTTP_BAD_CHUNK;
    }
    b->state = (int)next;
    return HTTP_OK;
}

/* One byte of what stands around the chunks. */
static enum http_fault feed_frame(struct http_body *b, char c)
{
    switch ((enum body_state)b->state) {
    case BODY_SIZE_FIRST:
        return size_digit(b, c);
    case BODY_SIZE:
        return c == '\r' ? expect_byte(b, c, '\r', BODY_SIZE_LF) : size_digit(b, c);
    case BODY_SIZE_LF:
        b->total += b->left;
        return expect_byte(b, c, '\n', b->left > 0 ? BODY_CHUNK : BODY_END_CR);
    case BODY_CHUNK_CR:
        return expect_byte(b, c, '\r', BODY_CHUNK_LF);
    case BODY_CHUNK_LF:
        return expect_byte(b, c, '\n', BODY_SIZE_FIRST);
    case BODY_END_CR:
        return expect_byte(b, c, '\r', BODY_END_LF);
    case BODY_END_LF:
        b->done = c == '\n';
        return expect_byte(b, c, '\n', BODY_END_LF);
    case BODY_BYTES:
    case BODY_CHUNK:
        break;
    }
    CHECK(false);
    return HTTP_BAD_CHUNK;
}

static enum http_fault feed_payload(struct http_body *b, const char *bytes, size_t len,
                                    struct buf *out)
{
    int err = buf_add(out, bytes, len);
    if (err < 0) {
        return err == ERR_NOMEM ? HTTP_NO_MEMORY : HTTP_BODY_TOO_LARGE;
    }
    b->left -= (int64_t)len;
    if (b->left == 0 && b->state == BODY_CHUNK) {
        b->state = BODY_CHUNK_CR;
    } else if (b->left == 0) {
        b->done = true;
    }
    return HTTP_OK;
}

int http_body_feed(struct http_body *b, const char *bytes, size_t len, struct buf *out)
{
    CHECK(len <= INT_MAX);
    if (b->total > b->max) {
        return -HTTP_BODY_TOO_LARGE;
    }
    size_t used = 0;
    while (!b->done && used < len) {
        enum http_fault fault;
        size_t step = 1;
        if (b->state == BODY_BYTES || b->state == BODY_CHUNK) {
            step = len - used;
            if ((int64_t)step > b->left) {
                step = (size_t)b->left;
            }
            fault = feed_payload(b, bytes + used, step, out);
        } else {
            fault = feed_frame(b, bytes[used]);
        }
        if (fault != HTTP_OK) {
            return -(int)fault;
        }
        used += step;
    }
    return (int)used;
}

/* Answers, as response.h has it: lines are gathered in a buffer of their own, body bytes go
 * straight to the caller's, so that a token is never copied anywhere else. */
#include "cli/response.h"

#include <strings.h>

#include "base/check.h"
#include "base/str.h"

#define CHUNK_DIGITS_MAX 8

void response_init(struct response *r)
{
    r->part = RESPONSE_STATUS_LINE;
    r->status = 0;
    r->code[0] = r->version[0] = r->type[0] = '\0';
    r->has_length = r->is_chunked = false;
    r->left = 0;
    r->head_len = r->line_len = 0;
}

bool response_has_head(const struct response *r)
{
    return r->part != RESPONSE_STATUS_LINE && r->part != RESPONSE_HEADER;
}

static int nonsense(struct err_text *text, const char *what)
{
    return err_say(text, ERR_INVALID, "the answer is not what credwardend says: %s", what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK" */
static int status_line(struct response *r, struct err_text *text)
{
    static const char proto[] = "HTTP/1.1 ";
    const char *p = r->line;
    if (strncmp(p, proto, strlen(proto)) != 0) {
        return nonsense(text, "it does not begin with HTTP/1.1");
    }
    p += strlen(proto);
    if (!is_digit(p[0]) || !is_digit(p[1]) || !is_digit(p[2]) || (p[3] != ' ' && p[3] != '\0')) {
        return nonsense(text, "its status is not three digits");
    }
    r->status = (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
    if (r->status < 200 || r->status > 599) {
        return nonsense(text, "its status is out of range");
    }
    r->part = RESPONSE_HEADER;
    return 0;
}

static int content_length(struct response *r, const char *value, struct err_text *text)
{
    if (r->has_length || r->is_chunked || str_to_i64(value, 0, INT64_MAX, &r->left) != 0) {
        return nonsense(text, "its length is malformed or said twice");
    }
    r->has_length = true;
    return 0;
}

static int transfer_encoding(struct response *r, const char *value, struct err_text *text)
{
    if (r->has_length || r->is_chunked || strcasecmp(value, "chunked") != 0) {
        return nonsense(text, "its transfer encoding is unknown or contradicts its length");
    }
    r->is_chunked = true;
    return 0;
}

static int keep(char *dst, size_t size, const char *value, struct err_text *text)
{
    return str_copy(dst, size, value) == 0 ? 0 : nonsense(text, "a header is too long");
}

static int header_value(struct response *r, const char *name, const char *value,
                        struct err_text *text)
{
    if (strcasecmp(name, "Content-Length") == 0) {
        return content_length(r, value, text);
    }
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        return transfer_encoding(r, value, text);
    }
    if (strcasecmp(name, "Content-Type") == 0) {
        return keep(r->type, sizeof(r->type), value, text);
    }
    if (strcasecmp(name, "Credwarden-Code") == 0) {
        return keep(r->code, sizeof(r->code), value, text);
    }
    if (strcasecmp(name, "Credwarden-Version") == 0) {
        return keep(r->version, sizeof(r->version), value, text);
    }
    return 0;
}

/* The head is over: what follows? */
static int begin_body(struct response *r, struct err_text *text)
{
    if (r->is_chunked) {
        r->part = RESPONSE_CHUNK_SIZE;
    } else if (r->has_length) {
        r->part = r->left > 0 ? RESPONSE_COUNTED : RESPONSE_DONE;
    } else if (r->status == 204) {
        r->part = RESPONSE_DONE;
    } else {
        return nonsense(text, "its length is not said");
    }
    return 0;
}

static int header_line(struct response *r, struct err_text *text)
{
    char *line = r->line;
    if (*line == '\0') {
        return begin_body(r, text);
    }
    size_t name_len = strcspn(line, ": \t");
    if (name_len == 0 || line[name_len] != ':') {
        return nonsense(text, "a header line has no name");
    }
    line[name_len] = '\0';
    char *value = line + name_len + 1;
    value += strspn(value, " \t");
    size_t len = strlen(value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
        value[--len] = '\0';
    }
    return header_value(r, line, value, text);
}

static int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int chunk_size(struct response *r, struct err_text *text)
{
    int64_t size = 0;
    size_t n = 0;
    for (; r->line[n] != '\0'; n++) {
        int digit = hex_value(r->line[n]);
        if (digit < 0 || n == CHUNK_DIGITS_MAX) {
            return nonsense(text, "the size of a chunk is malformed");
        }
        size = size * 16 + digit;
    }
    if (n == 0) {
        return nonsense(text, "the size of a chunk is missing");
    }
    r->left = size;
    r->part = size > 0 ? RESPONSE_CHUNK : RESPONSE_LAST_LINE;
    return 0;
}

static int empty_line(struct response *r, enum response_part next, struct err_text *text)
{
    if (r->line[0] != '\0') {
        return nonsense(text, "a chunk does not end where it should");
    }
    r->part = next;
    return 0;
}

static int whole_line(struct response *r, struct err_text *text)
{
    switch (r->part) {
    case RESPONSE_STATUS_LINE:
        return status_line(r, text);
    case RESPONSE_HEADER:
        return header_line(r, text);
    case RESPONSE_CHUNK_SIZE:
        return chunk_size(r, text);
    case RESPONSE_CHUNK_END:
        return empty_line(r, RESPONSE_CHUNK_SIZE, text);
    case RESPONSE_LAST_LINE:
        return empty_line(r, RESPONSE_DONE, text);
    case RESPONSE_COUNTED:
    case RESPONSE_CHUNK:
    case RESPONSE_DONE:
        break;
    }
    CHECK(false); /* the other parts are not made of lines */
    return ERR_INVALID;
}

/* The line is there up to its LF: take the CR off, and let nothing through that could hide a second
 * line or an end of text inside the first. */
static int end_line(struct response *r, struct err_text *text)
{
    if (r->line_len == 0 || r->line[r->line_len - 1] != '\r') {
        return nonsense(text, "a line does not end in CR LF");
    }
    r->line[--r->line_len] = '\0';
    for (size_t i = 0; i < r->line_len; i++) {
        unsigned char c = (unsigned char)r->line[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return nonsense(text, "a line holds control bytes");
        }
    }
    int err = whole_line(r, text);
    r->line_len = 0;
    return err;
}

static int feed_line(struct response *r, const char *bytes, size_t len, size_t *ret_used,
                     struct err_text *text)
{
    const char *lf = memchr(bytes, '\n', len);
    size_t part = lf != NULL ? (size_t)(lf - bytes) : len;
    if (part > RESPONSE_LINE_MAX - r->line_len) {
        return err_say(text, ERR_TOO_LARGE, "a line of the answer is longer than %d bytes",
                       RESPONSE_LINE_MAX);
    }
    memcpy(r->line + r->line_len, bytes, part);
    r->line_len += part;
    *ret_used = lf != NULL ? part + 1 : part;
    if (!response_has_head(r)) {
        r->head_len += *ret_used;
        if (r->head_len > RESPONSE_HEAD_MAX) {
            return err_say(text, ERR_TOO_LARGE, "the answer's head is longer than %d bytes",
                           RESPONSE_HEAD_MAX);
        }
    }
    return lf != NULL ? end_line(r, text) : 0;
}

static int feed_body(struct response *r, const char *bytes, size_t len, size_t *ret_used,
                     struct buf *body, struct err_text *text)
{
    size_t part = (uint64_t)r->left < len ? (size_t)r->left : len;
    int err = buf_add(body, bytes, part);
    if (err == ERR_TOO_LARGE) {
        return err_say(text, err, "the answer is longer than %zu bytes", body->max);
    }
    if (err != 0) {
        return err_say(text, err, "there is not enough memory for the answer");
    }
    r->left -= (int64_t)part;
    if (r->left == 0) {
        r->part = r->part == RESPONSE_COUNTED ? RESPONSE_DONE : RESPONSE_CHUNK_END;
    }
    *ret_used = part;
    return 0;
}

int response_feed(struct response *r, const char *bytes, size_t len, struct buf *body,
                  struct err_text *text)
{
    int err = 0;
    while (len > 0 && err == 0) {
        size_t used = 0;
        switch (r->part) {
        case RESPONSE_STATUS_LINE:
        case RESPONSE_HEADER:
        case RESPONSE_CHUNK_SIZE:
        case RESPONSE_CHUNK_END:
        case RESPONSE_LAST_LINE:
            err = feed_line(r, bytes, len, &used, text);
            break;
        case RESPONSE_COUNTED:
        case RESPONSE_CHUNK:
            err = feed_body(r, bytes, len, &used, body, text);
            break;
        case RESPONSE_DONE:
            return nonsense(text, "bytes follow its end");
        }
        bytes += used;
        len -= used;
    }
    return err;
}

int response_end(struct response *r, struct err_text *text)
{
    if (r->part == RESPONSE_DONE) {
        return 0;
    }
    bool nothing = r->part == RESPONSE_STATUS_LINE && r->line_len == 0;
    return err_say(text, ERR_CLOSED,
                   nothing
                       ? "credwardend went away before it answered, or its memory is at its limit"
                       : "the answer breaks off: credwardend went away, its memory is at its "
                         "limit, or it did not wait for a reader that is slow");
}

/* Requests, as request.h has it. One connection serves one request: the daemon may restart between
 * two, and a fresh connect costs less than noticing that. */
#include "cli/request.h"

#include "base/check.h"
#include "base/err.h"

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

int percent_encode(struct buf *out, const char *text)
{
    int err = 0;
    for (; *text != '\0' && err == 0; text++) {
        err = is_unreserved(*text) ? buf_add_char(out, *text)
                                   : buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
    return err;
}

static int write_path(const struct request *r, struct buf *out)
{
    static const char mark[] = "{name}";
    const char *at = strstr(r->path, mark);
    if (at == NULL) {
        return buf_add_str(out, r->path);
    }
    CHECK(r->name != NULL);
    int err = buf_add(out, r->path, (size_t)(at - r->path));
    if (err == 0) {
        err = percent_encode(out, r->name);
    }
    return err != 0 ? err : buf_add_str(out, at + strlen(mark));
}

static int write_query(const struct request *r, struct buf *out)
{
    int err = 0;
    char before = '?';
    for (const struct query *q = r->query; q->key != NULL && err == 0; q++) {
        if (q->value == NULL) {
            continue;
        }
        err = buf_addf(out, "%c%s=", before, q->key);
        if (err == 0) {
            err = percent_encode(out, q->value);
        }
        before = '&';
    }
    return err;
}

int request_write(const struct request *r, struct buf *out)
{
    int err = buf_addf(out, "%s ", r->method);
    if (err == 0) {
        err = write_path(r, out);
    }
    if (err == 0) {
        err = write_query(r, out);
    }
    if (err == 0) {
        err = buf_addf(out,
                       " HTTP/1.1\r\n"
                       "Host: credwarden\r\n"
                       "User-Agent: credwarden/" CREDWARDEN_VERSION "\r\n"
                       "Accept: %s\r\n"
                       "Connection: close\r\n",
                       r->accept);
    }
    if (err == 0 && (r->body != NULL || strcmp(r->method, "POST") == 0)) {
        err = buf_addf(out, "Content-Length: %zu\r\n", r->body_len);
    }
    if (err == 0 && r->body != NULL) {
        err = buf_add_str(out, "Content-Type: application/octet-stream\r\n");
    }
    return err != 0 ? err : buf_add_str(out, "\r\n");
}

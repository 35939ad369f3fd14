/*
 * Records. The parser trusts no length: each field must lie inside what is left.
 */
#include "base/record.h"

#include <string.h>

#include "base/err.h"

#define FIELD_HEAD 6

static void store_le(uint8_t *out, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t load_le(const uint8_t *in, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

int record_put(struct buf *out, uint16_t tag, const void *bytes, size_t len)
{
    if (len > UINT32_MAX || len > out->max) {
        return ERR_TOO_LARGE;
    }
    if (out->max - out->len < FIELD_HEAD + len) {
        return ERR_TOO_LARGE;
    }
    uint8_t *at = buf_reserve(out, FIELD_HEAD + len);
    if (at == NULL) {
        return ERR_NOMEM;
    }
    store_le(at, tag, 2);
    store_le(at + 2, len, 4);
    if (len > 0) {
        memcpy(at + FIELD_HEAD, bytes, len);
    }
    buf_commit(out, FIELD_HEAD + len);
    return 0;
}

int record_put_str(struct buf *out, uint16_t tag, const char *text)
{
    return text == NULL ? 0 : record_put(out, tag, text, strlen(text));
}

int record_put_i64(struct buf *out, uint16_t tag, int64_t value)
{
    uint8_t bytes[8];
    store_le(bytes, (uint64_t)value, sizeof(bytes));
    return record_put(out, tag, bytes, sizeof(bytes));
}

int record_put_secret(struct buf *out, uint16_t tag, const struct secret *s)
{
    return s->bytes == NULL ? 0 : record_put(out, tag, s->bytes, s->len);
}

static const struct record_field *find(const struct record *r, uint16_t tag)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->fields[i].tag == tag) {
            return &r->fields[i];
        }
    }
    return NULL;
}

int record_parse(struct record *r, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    r->n = 0;
    while (len > 0) {
        if (len < FIELD_HEAD || r->n == RECORD_FIELDS_MAX) {
            goto invalid;
        }
        uint16_t tag = (uint16_t)load_le(p, 2);
        size_t field_len = (size_t)load_le(p + 2, 4);
        p += FIELD_HEAD;
        len -= FIELD_HEAD;
        if (field_len > len || find(r, tag) != NULL) {
            goto invalid;
        }
        r->fields[r->n++] = (struct record_field){.tag = tag, .bytes = p, .len = field_len};
        p += field_len;
        len -= field_len;
    }
    return 0;
invalid:
    r->n = 0; /* half a record must not be read by a caller that forgot to look */
    return ERR_INVALID;
}

int record_get(const struct record *r, uint16_t tag, const uint8_t **ret_bytes, size_t *ret_len)
{
    const struct record_field *field = find(r, tag);
    if (field == NULL) {
        return ERR_NOT_FOUND;
    }
    *ret_bytes = field->bytes;
    *ret_len = field->len;
    return 0;
}

int record_get_str(const struct record *r, uint16_t tag, char *ret, size_t size)
{
    const struct record_field *field = find(r, tag);
    if (field == NULL) {
        return ERR_NOT_FOUND;
    }
    if (field->len >= size) {
        return ERR_TOO_LARGE;
    }
    if (field->len > 0 && memchr(field->bytes, '\0', field->len) != NULL) {
        return ERR_INVALID;
    }
    memcpy(ret, field->bytes, field->len);
    ret[field->len] = '\0';
    return 0;
}

int record_get_i64(const struct record *r, uint16_t tag, int64_t *ret)
{
    const struct record_field *field = find(r, tag);
    if (field == NULL) {
        return ERR_NOT_FOUND;
    }
    if (field->len != 8) {
        return ERR_INVALID;
    }
    *ret = (int64_t)load_le(field->bytes, 8);
    return 0;
}

int record_get_secret(const struct record *r, uint16_t tag, struct secret *ret)
{
    const struct record_field *field = find(r, tag);
    if (field == NULL) {
        return ERR_NOT_FOUND;
    }
    return secret_set(ret, field->bytes, field->len);
}

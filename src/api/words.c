/*
 * Pieces of readable text: cleaned words, spans of time, tables aligned by code points.
 */
#include "api/words.h"

#include "api/text.h"
#include "base/check.h"
#include "base/str.h"
#include "base/time.h"

#define COLUMNS_MAX 16
#define CELL_MAX    4096

/* Length of the well-formed UTF-8 sequence at `p`, and its code point; 0 when it is none. */
static size_t decode(const char *p, size_t len, uint32_t *ret)
{
    const uint8_t *b = (const uint8_t *)p;
    size_t n = b[0] < 0x80 ? 1 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (n > len || !str_is_utf8(p, n)) {
        return 0;
    }
    static const uint8_t lead_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t point = b[0] & lead_mask[n];
    for (size_t i = 1; i < n; i++) {
        point = point << 6 | (b[i] & 0x3f);
    }
    *ret = point;
    return n;
}

static bool is_trick(uint32_t point)
{
    bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
    bool bidi = point == 0x61c || point == 0x200e || point == 0x200f ||
                (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
    bool line = point == 0x2028 || point == 0x2029;
    return control || bidi || line;
}

int text_add_clean(struct buf *out, const char *text)
{
    size_t len = strlen(text), n;
    int err = 0;
    for (size_t i = 0; err == 0 && i < len; i += n) {
        uint32_t point;
        n = decode(text + i, len - i, &point);
        if (n == 0 || is_trick(point)) {
            n = n == 0 ? 1 : n;
            err = buf_add_char(out, '?');
        } else {
            err = buf_add(out, text + i, n);
        }
    }
    return err;
}

size_t text_width(const char *text, size_t len)
{
    size_t width = 0;
    for (size_t i = 0; i < len; i++) {
        width += ((uint8_t)text[i] & 0xc0) != 0x80;
    }
    return width;
}

void text_put(struct text *t, const char *words)
{
    if (t->err == 0) {
        t->err = buf_add_str(t->out, words);
    }
}

void text_putf(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (t->err == 0) {
        t->err = buf_vaddf(t->out, fmt, args);
    }
    va_end(args);
}

void text_clean(struct text *t, const char *words)
{
    if (t->err == 0) {
        t->err = text_add_clean(t->out, words != NULL ? words : "-");
    }
}

void text_pad(struct text *t, size_t used, size_t width)
{
    text_putf(t, "%*s", (int)(width > used ? width - used : 0) + 2, "");
}

const char *member_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

bool member_is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

int64_t member_number(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : otherwise;
}

void text_member(struct text *t, const json_t *object, const char *key)
{
    text_clean(t, member_text(object, key));
}

void text_time(struct text *t, const char *rfc3339)
{
    const char *mark = rfc3339 != NULL ? strchr(rfc3339, 'T') : NULL;
    if (mark == NULL) {
        text_clean(t, rfc3339);
        return;
    }
    char day[16];
    (void)snprintf(day, sizeof(day), "%.*s", (int)(mark - rfc3339), rfc3339);
    text_clean(t, day);
    text_put(t, " ");
    text_clean(t, mark + 1);
}

void text_span(struct text *t, int64_t ms)
{
    char span[32];
    duration_format(ms, span, sizeof(span));
    text_put(t, span);
}

/* The text of one cell into `cell`, which is emptied before. Returns its width. */
static size_t cell_text(const struct column *column, const json_t *row, struct buf *cell)
{
    buf_clear(cell);
    struct text t = {.out = cell};
    column->cell(&t, row); /* one that is too long is cut */
    return text_width(buf_text(cell), cell->len);
}

static void table_row(struct text *t, const struct column *columns, size_t n, const size_t *widths,
                      const json_t *row, struct buf *cell)
{
    for (size_t i = 0; i < n; i++) {
        size_t width;
        if (row == NULL) {
            text_put(t, columns[i].title);
            width = strlen(columns[i].title);
        } else {
            width = cell_text(&columns[i], row, cell);
            text_put(t, buf_text(cell));
        }
        if (i + 1 < n) {
            text_pad(t, width, widths[i]);
        }
    }
    text_put(t, "\n");
}

void text_table(struct text *t, const struct column *columns, size_t n, const json_t *rows)
{
    CHECK(n <= COLUMNS_MAX);
    if (json_array_size(rows) == 0) {
        return;
    }
    size_t widths[COLUMNS_MAX], index;
    struct buf cell;
    buf_init(&cell, CELL_MAX);
    if (buf_reserve(&cell, CELL_MAX) == NULL) {
        t->err = ERR_NOMEM;
        return;
    }
    const json_t *row;
    for (size_t i = 0; i < n; i++) {
        widths[i] = strlen(columns[i].title);
        json_array_foreach((json_t *)rows, index, row)
        {
            size_t width = cell_text(&columns[i], row, &cell);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    table_row(t, columns, n, widths, NULL, &cell);
    json_array_foreach((json_t *)rows, index, row)
    {
        table_row(t, columns, n, widths, row, &cell);
    }
    buf_release(&cell);
}

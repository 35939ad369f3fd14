/*
 * Pages and rows without SQLite. The format: sqlite.org/fileformat2.html, sections 1.5 to 1.6 and
 * 2.1. Every length is checked, though a page that has its sum was written by SQLite.
 */
#include "store/pages.h"

#include <stdlib.h>
#include <string.h>

#include "sys/file.h"

#define USABLE        ((size_t)(STORE_PAGE_SIZE - STORE_RESERVED))
#define FILE_HEAD_LEN 100
#define AT_RESERVED   20
#define AT_COUNT      28

enum tree { TREE_INDEX_INNER = 0x02, TREE_INDEX_LEAF = 0x0a, TREE_TABLE_LEAF = 0x0d };

static uint32_t get_be(const uint8_t *from, int len)
{
    uint32_t value = 0;
    for (int i = 0; i < len; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

/* Pages */

static int read_files(const char *path, struct pages *p, struct err_text *text)
{
    int err = file_read(path, false, STORE_LOG_MAX, &p->file, text);
    if (err == 0) {
        err = log_look(path, &p->log, text);
    }
    if (err == 0 && p->log.is_foreign) {
        log_release(&p->log.found);
    }
    return err;
}

/* How many there should be: the last commit in the log says it, or the first page, or the length.
 */
static uint32_t count_pages(const struct pages *p)
{
    uint32_t there = (uint32_t)((p->file.len + STORE_PAGE_SIZE - 1) / STORE_PAGE_SIZE);
    const struct log *log = &p->log.found;
    uint32_t stated = 0;
    if (log->n > 0 && log->frames[log->n - 1].is_sound) {
        stated = log->frames[log->n - 1].pages;
    } else if (p->file.len >= STORE_PAGE_SIZE && sums_agree(p->file.bytes, 1)) {
        stated = get_be(p->file.bytes + AT_COUNT, 4);
    }
    return stated > 0 && stated <= STORE_LOG_MAX / STORE_PAGE_SIZE ? stated : there;
}

/* The file's own pages, then what the log has instead: the later frame of a page counts, also when
 * it is damaged, for then the earlier form is not what was stored last. */
static void lay(struct pages *p)
{
    for (uint32_t i = 1; i <= p->n && (size_t)i * STORE_PAGE_SIZE <= p->file.len; i++) {
        const uint8_t *page = p->file.bytes + (size_t)(i - 1) * STORE_PAGE_SIZE;
        *(sums_agree(page, i) ? &p->page[i] : &p->torn[i]) = page;
    }
    for (uint32_t i = 0; i < p->log.found.n; i++) {
        const struct log_frame *f = &p->log.found.frames[i];
        if (f->number >= 1 && f->number <= p->n) {
            p->page[f->number] = f->is_sound ? f->page : NULL;
            p->torn[f->number] = f->is_sound ? NULL : f->page;
        }
    }
}

/* Only pages of the file have sums of their own. */
static bool mend(struct pages *p, uint32_t number)
{
    size_t at = (size_t)(number - 1) * STORE_PAGE_SIZE;
    return p->torn[number] != NULL && p->torn[number] == p->file.bytes + at &&
           sums_mend(p->file.bytes + at, number);
}

static void count_and_mend(struct pages *p)
{
    for (uint32_t i = 1; i <= p->n; i++) {
        if (p->page[i] == NULL && mend(p, i)) {
            p->page[i] = p->torn[i];
            p->mended++;
        }
        p->lost += p->page[i] == NULL;
    }
}

int pages_read(const char *path, struct pages *ret, struct err_text *text)
{
    struct pages p = {0};
    buf_init(&p.file, STORE_LOG_MAX);
    int err = read_files(path, &p, text);
    if (err == 0) {
        p.n = count_pages(&p);
        p.is_plain = p.file.len > AT_RESERVED && p.file.bytes[AT_RESERVED] == 0;
        p.page = calloc((size_t)p.n + 1, sizeof(*p.page));
        p.torn = calloc((size_t)p.n + 1, sizeof(*p.torn));
        err = p.page == NULL || p.torn == NULL ? ERR_NOMEM : 0;
    }
    if (err < 0) {
        pages_release(&p);
        return err;
    }
    lay(&p);
    count_and_mend(&p);
    *ret = p;
    return 0;
}

void pages_release(struct pages *p)
{
    free(p->page);
    free(p->torn);
    log_beside_release(&p->log);
    buf_release(&p->file);
    *p = (struct pages){0};
}

/* Numbers: up to 9 bytes, the high bit of each but the ninth says that another follows. Returns
 * how many bytes it took, 0 when they end early. */
static size_t get_varint(const uint8_t *from, size_t len, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 9 && i < len; i++) {
        if (i == 8) {
            *ret = value << 8 | from[8];
            return 9;
        }
        value = value << 7 | (from[i] & 0x7f);
        if ((from[i] & 0x80) == 0) {
            *ret = value;
            return i + 1;
        }
    }
    return 0;
}

/* How much of a row stands on its own page; the rest is on others. */
static size_t local_len(enum tree tree, size_t len)
{
    size_t max = tree == TREE_TABLE_LEAF ? USABLE - 35 : (USABLE - 12) * 64 / 255 - 23;
    size_t min = (USABLE - 12) * 32 / 255 - 23;
    if (len <= max) {
        return len;
    }
    size_t keep = min + (len - min) % (USABLE - 4);
    return keep <= max ? keep : min;
}

static int add_rest(const struct pages *p, uint32_t number, size_t len, struct buf *out)
{
    while (len > 0) {
        if (number < 1 || number > p->n || p->page[number] == NULL) {
            return ERR_CORRUPT;
        }
        const uint8_t *page = p->page[number];
        size_t part = len < USABLE - 4 ? len : USABLE - 4;
        int err = buf_add(out, page + 4, part);
        if (err < 0) {
            return err;
        }
        len -= part;
        number = get_be(page, 4);
    }
    return 0;
}

/* The bytes of the row whose cell begins at `at`. */
static int get_payload(const struct pages *p, const uint8_t *page, size_t at, enum tree tree,
                       int64_t *ret_rowid, struct buf *out)
{
    uint64_t len = 0;
    uint64_t rowid = 0;
    at += tree == TREE_INDEX_INNER ? 4 : 0;
    size_t step = at < USABLE ? get_varint(page + at, USABLE - at, &len) : 0;
    at += step;
    if (step > 0 && tree == TREE_TABLE_LEAF) {
        step = at < USABLE ? get_varint(page + at, USABLE - at, &rowid) : 0;
        at += step;
    }
    if (step == 0 || len > ROW_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    size_t local = local_len(tree, (size_t)len);
    if (at + local + (local < len ? 4 : 0) > USABLE) {
        return ERR_CORRUPT;
    }
    buf_clear(out);
    int err = buf_add(out, page + at, local);
    *ret_rowid = (int64_t)rowid;
    return err < 0 || local == len
               ? err
               : add_rest(p, get_be(page + at + local, 4), (size_t)len - local, out);
}

/* Rows */

static const int number_len[] = {0, 1, 2, 3, 4, 6, 8}; /* of the types 1 to 6 */

static struct sql_arg number_arg(const uint8_t *from, int len)
{
    uint64_t value = (from[0] & 0x80) != 0 ? UINT64_MAX : 0;
    for (int i = 0; i < len; i++) {
        value = value << 8 | from[i];
    }
    return arg_u64(value);
}

/* One value of this type at `from`, of which `left` bytes are there: its letter and its length, or
 * '\0' when there is no such thing. */
static char get_value(uint64_t type, const uint8_t *from, size_t left, struct sql_arg *ret,
                      size_t *ret_len)
{
    size_t len = type >= 12               ? (size_t)(type - 12) / 2
                 : type >= 1 && type <= 6 ? (size_t)number_len[type]
                                          : 0;
    *ret_len = len;
    if (len > left || type == 7 || type == 10 || type == 11) {
        return '\0';
    }
    if (type == 0) {
        *ret = (struct sql_arg){.kind = SQL_NULL_ARG};
        return 'n';
    }
    if (type <= 9) {
        *ret = type >= 8 ? arg_i64(type == 9) : number_arg(from, (int)len);
        return 'i';
    }
    *ret = (struct sql_arg){
        .kind = type % 2 == 0 ? SQL_BLOB_ARG : SQL_TEXT_ARG,
        .bytes = from,
        .len = len,
    };
    return type % 2 == 0 ? 'b' : 't';
}

static int get_row(const struct buf *payload, enum tree tree, int64_t rowid, struct row *ret)
{
    const uint8_t *bytes = payload->bytes;
    uint64_t head_len = 0;
    size_t at = get_varint(bytes, payload->len, &head_len);
    if (at == 0 || head_len > payload->len) {
        return ERR_CORRUPT;
    }
    *ret = (struct row){.shape = {tree == TREE_TABLE_LEAF ? '#' : '='}, .rowid = rowid};
    for (size_t body = (size_t)head_len; at < head_len; ret->n++) {
        uint64_t type = 0;
        size_t len = 0;
        size_t step = get_varint(bytes + at, (size_t)head_len - at, &type);
        if (step == 0 || ret->n == ROW_VALUES_MAX) {
            return ERR_CORRUPT;
        }
        char letter = get_value(type, bytes + body, payload->len - body, &ret->args[ret->n], &len);
        if (letter == '\0') {
            return ERR_CORRUPT;
        }
        ret->shape[ret->n + 1] = letter;
        at += step;
        body += len;
    }
    return 0;
}

struct walk {
    const struct pages *p;
    int (*each)(void *ctx, const struct row *row);
    void *ctx;
    struct buf payload;
    uint32_t torn;
};

static int walk_page(struct walk *w, const uint8_t *page, uint32_t number, bool is_sound)
{
    size_t head = number == 1 ? FILE_HEAD_LEN : 0;
    enum tree tree = (enum tree)page[head];
    if (tree != TREE_TABLE_LEAF && tree != TREE_INDEX_LEAF && tree != TREE_INDEX_INNER) {
        return 0;
    }
    size_t cells = get_be(page + head + 3, 2);
    size_t at = head + (tree == TREE_INDEX_INNER ? 12 : 8);
    for (size_t i = 0; i < cells && at + 2 <= USABLE; i++, at += 2) {
        struct row row;
        int64_t rowid = 0;
        int err = get_payload(w->p, page, get_be(page + at, 2), tree, &rowid, &w->payload);
        if (err == 0) {
            err = get_row(&w->payload, tree, rowid, &row);
        }
        if (err == ERR_CORRUPT) {
            w->torn += is_sound;
            continue;
        }
        row.is_sound = is_sound;
        err = err == 0 ? w->each(w->ctx, &row) : err;
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

int rows_each(const struct pages *p, int (*each)(void *ctx, const struct row *row), void *ctx,
              uint32_t *ret_torn)
{
    struct walk w = {.p = p, .each = each, .ctx = ctx};
    int err = 0;
    buf_init(&w.payload, ROW_BYTES_MAX);
    for (uint32_t i = 1; i <= p->n && err == 0;
         i++) { /* what is sound first: it may be there twice */
        err = p->page[i] != NULL ? walk_page(&w, p->page[i], i, true) : 0;
    }
    for (uint32_t i = 1; i <= p->n && err == 0; i++) {
        err = p->torn[i] != NULL && p->page[i] == NULL ? walk_page(&w, p->torn[i], i, false) : 0;
    }
    buf_release(&w.payload);
    if (err == 0) {
        *ret_torn = w.torn;
    }
    return err;
}

int rows_of_page(const uint8_t page[STORE_PAGE_SIZE], uint32_t number,
                 int (*each)(void *ctx, const struct row *row), void *ctx)
{
    const struct pages none = {0};
    struct walk w = {.p = &none, .each = each, .ctx = ctx};
    buf_init(&w.payload, ROW_BYTES_MAX);
    int err = walk_page(&w, page, number, true);
    buf_release(&w.payload);
    return err;
}

/*
 * The store read as bytes, for a repair: what SQLite refuses as a whole is taken page by page, with
 * its own log laid over, and row by row. Nothing is written and nothing is locked.
 *
 * A page is sound when its sum says so, or the sum of the log's frame that replaced it; where one
 * byte alone is wrong, the sum says which, and what it was. Of other pages nothing is taken but
 * sealed pairs, for those prove themselves to the vault. Which table
 * a row belongs to is seen by its shape, so no page is needed to understand another one, but for
 * the rest of a row that is too long for its page.
 */
#ifndef STORE_PAGES_H
#define STORE_PAGES_H

#include "base/buf.h"
#include "store/internal.h"

struct pages {
    struct buf file;
    struct log_beside log; /* nothing is in it when it is not this store's */
    uint32_t n;            /* pages are numbered from 1 to n */
    const uint8_t **page;  /* [n + 1]; NULL: it has no sound form */
    const uint8_t **torn;  /* [n + 1]; what there is of such a page, or NULL */
    uint32_t lost;         /* how many those are */
    uint32_t mended;       /* one byte of each was wrong, and is right again */
    bool is_plain;         /* of a version whose pages have no sums: then none is sound */
};

/* ERR_NOT_FOUND, ERR_TOO_LARGE (STORE_LOG_MAX), ERR_NOMEM, … */
int pages_read(const char *path, struct pages *ret, struct err_text *text);
void pages_release(struct pages *p);

#define ROW_VALUES_MAX 24
#define ROW_BYTES_MAX  (256 * 1024)

/* Every row of every page: `args` are its columns as they may be bound to an INSERT, valid
 * during the call. `shape` has one letter a column: i number, t text, b bytes, n nothing; in front
 * of them '#' for a table with row ids (whose id is `rowid`) or '=' for a tree that is sorted by
 * its columns: a table without them, or an index. */
struct row {
    bool is_sound; /* its page is */
    char shape[ROW_VALUES_MAX + 2];
    int64_t rowid;
    struct sql_arg args[ROW_VALUES_MAX];
    size_t n;
};
/* A negative return of `each` stops and is returned. `*ret_torn`: rows that begin on a sound page
 * and cannot be read to their end. The rest of a long row is taken from sound pages only. */
int rows_each(const struct pages *p, int (*each)(void *ctx, const struct row *row), void *ctx,
              uint32_t *ret_torn);

/* The same of one page by itself: a row that goes on elsewhere is torn. ERR_NOMEM. */
int rows_of_page(const uint8_t page[STORE_PAGE_SIZE], uint32_t number,
                 int (*each)(void *ctx, const struct row *row), void *ctx);

#endif

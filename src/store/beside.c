/*
 * The log beside a store: is it that store's?
 *
 * SQLite plays whatever log lies beside a file into it: nothing in the one names the other. So a
 * copy that is put in the place of a store would get the pages of the store that was there before.
 * Two things tell.
 *
 * A file's header says whether it is used with a log (bytes 18 and 19). A live store says so from
 * the first minute on, durably, before it has a log. A backup does not (VACUUM INTO): what lies
 * beside it is not its own.
 *
 * And the store's own row counts its changes. The log begins where the file was when the log
 * before it was played into it, and is synced before it is played into it in its turn: so the row
 * as the file has it stands in the log too, or just before the first there. A log that has the row,
 * but neither of these, is of another time, or store; or its end was damaged when all of it was in
 * the file. A log in which the journal alone was written does not tell, and has not more to lose.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/pages.h"
#include "sys/clock.h"
#include "sys/file.h"

#define AT_WRITE_VERSION 18 /* of the file's header; then AT_READ_VERSION */
#define AT_RESERVED      20
#define HEAD_LEN         100
#define LEGACY           1
#define ASIDE_TRIES      100
#define MS_PER_S         1000

/* The store's own row (schema.c). */
#define OWN_SHAPE "#nbii"
struct own_row {
    uint8_t uuid[STORE_UUID_LEN];
    uint64_t changes;
    bool restored;
};

struct own_look {
    struct own_row row;
    int n; /* such rows on the page */
};

static int on_row(void *ctx, const struct row *row)
{
    struct own_look *look = ctx;
    if (strcmp(row->shape, OWN_SHAPE) != 0 || row->rowid != 1 ||
        row->args[1].len != STORE_UUID_LEN) {
        return 0;
    }
    memcpy(look->row.uuid, row->args[1].bytes, STORE_UUID_LEN);
    look->row.changes = (uint64_t)row->args[2].number;
    look->row.restored = row->args[3].number != 0;
    look->n++;
    return 0;
}

/* ERR_NOT_FOUND: it is another page. */
static int read_own_row(const uint8_t *page, uint32_t number, struct own_row *ret)
{
    struct own_look look = {.n = 0};
    int err = rows_of_page(page, number, on_row, &look);
    if (err == 0 && look.n != 1) {
        err = ERR_NOT_FOUND;
    }
    if (err == 0) {
        *ret = look.row;
    }
    return err;
}

/* Whether one transaction (or `most`, where a frame is damaged) may have led from the one to the
 * other. Only the acceptance of a restored copy gives it another identity. */
static bool may_follow(const struct own_row *before, const struct own_row *after, uint64_t most)
{
    bool is_same = memcmp(before->uuid, after->uuid, STORE_UUID_LEN) == 0;
    return after->changes >= before->changes && after->changes - before->changes <= most &&
           (is_same || before->restored || most > 1);
}

static bool is_equal(const struct own_row *x, const struct own_row *y)
{
    return memcmp(x->uuid, y->uuid, STORE_UUID_LEN) == 0 && x->changes == y->changes;
}

/* What the log says of the row of which the file has `own` on page `number`. */
struct trail {
    struct own_row first;
    uint32_t n;
    uint64_t gap; /* how many transactions there may be between one frame and the next */
    bool is_met;  /* the file's is among them */
};

static int follow(const struct log *l, uint32_t number, const struct own_row *own,
                  struct trail *ret)
{
    struct trail t = {.gap = 1};
    for (uint32_t i = 0; i < l->n; i++) {
        struct own_row row;
        const struct log_frame *f = &l->frames[i];
        t.gap += !f->is_sound;
        if (f->number != number || !f->is_sound) {
            continue;
        }
        int err = read_own_row(f->page, number, &row);
        if (err < 0) {
            return err;
        }
        t.first = t.n == 0 ? row : t.first;
        t.is_met = t.is_met || is_equal(&row, own);
        t.n++;
    }
    *ret = t;
    return 0;
}

/* Where the log has the store's own row: a page's number, 0 when it does not tell. ERR_NOMEM. */
static int find_own_page(const struct log *l, uint32_t *ret)
{
    for (uint32_t i = 0; i < l->n; i++) {
        struct own_row row;
        const struct log_frame *f = &l->frames[i];
        int err = f->is_sound ? read_own_row(f->page, f->number, &row) : ERR_NOT_FOUND;
        if (err != ERR_NOT_FOUND) {
            *ret = err == 0 ? f->number : 0;
            return err;
        }
    }
    *ret = 0;
    return 0;
}

/* `page`: the file's own form of page `number`. What cannot be told counts as the store's own. */
static int judge(const struct log *l, uint32_t number, const uint8_t *page, bool *ret_foreign)
{
    struct own_row own;
    struct trail t;
    int err = read_own_row(page, number, &own);
    if (err == 0) {
        err = follow(l, number, &own, &t);
    }
    if (err == 0) {
        *ret_foreign = !t.is_met && !may_follow(&own, &t.first, t.gap);
    }
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* By the rows, for a file whose pages have sums. */
static int compare(int fd, const struct log *l, bool *ret_foreign)
{
    uint8_t page[STORE_PAGE_SIZE];
    uint32_t number = 0;
    int err = find_own_page(l, &number);
    if (err < 0 || number == 0) {
        return err;
    }
    ssize_t n = fd_read_at(fd, page, sizeof(page), (off_t)(number - 1) * STORE_PAGE_SIZE);
    if (n < 0) {
        return (int)n;
    }
    return n == STORE_PAGE_SIZE && sums_agree(page, number) ? judge(l, number, page, ret_foreign)
                                                            : 0;
}

static int look_at_file(const char *path, struct log_beside *b)
{
    uint8_t head[HEAD_LEN] = {0};
    int fd = -1;
    int err = path_open(PATH_CWD, path, OPEN_READ, &fd);
    if (err < 0) {
        return err;
    }
    ssize_t n = fd_read_at(fd, head, sizeof(head), 0);
    if (n < 0) {
        err = (int)n;
    } else if (n == HEAD_LEN) {
        b->is_foreign = head[AT_WRITE_VERSION] == LEGACY && head[AT_WRITE_VERSION + 1] == LEGACY;
        if (!b->is_foreign && head[AT_RESERVED] == STORE_RESERVED) {
            err = compare(fd, &b->found, &b->is_foreign);
        }
    }
    fd_close(&fd);
    return err;
}

int log_look(const char *path, struct log_beside *ret, struct err_text *text)
{
    struct log_beside b = {.is_foreign = false};
    char log_path[STORE_PATH_SIZE];
    buf_init(&b.bytes, STORE_LOG_MAX);
    int err = store_path_join(log_path, path, "-wal", text);
    if (err == 0) {
        err = file_read(log_path, false, STORE_LOG_MAX, &b.bytes, text);
        err = err == ERR_NOT_FOUND ? 0 : err;
    }
    if (err == 0) {
        err = log_scan(b.bytes.bytes, b.bytes.len, &b.found);
    }
    if (err == 0 && b.bytes.len > 0) {
        err = look_at_file(path, &b);
        err = err < 0 ? err_say(text, err, "cannot read %s: %s", path, err_reason(err)) : 0;
    }
    if (err < 0) {
        log_beside_release(&b);
        return err;
    }
    *ret = b;
    return 0;
}

void log_beside_release(struct log_beside *b)
{
    log_release(&b->found);
    buf_release(&b->bytes);
}

int store_aside_name(const char *path, char ret[STORE_PATH_SIZE], struct err_text *text)
{
    int64_t now_s = clock_now().wall_ms / MS_PER_S;
    for (int64_t i = 0; i < ASIDE_TRIES; i++) {
        struct file_facts facts;
        char suffix[48];
        (void)snprintf(suffix, sizeof(suffix), ".aside-%" PRId64, now_s + i);
        int err = store_path_join(ret, path, suffix, text);
        if (err < 0) {
            return err;
        }
        if (path_look(PATH_CWD, ret, false, &facts) == ERR_NOT_FOUND) {
            return 0;
        }
    }
    return err_say(text, ERR_EXISTS, "%s and its like are there already", ret);
}

int log_set_aside(const char *path, char ret_aside[STORE_PATH_SIZE], struct err_text *text)
{
    char log_path[STORE_PATH_SIZE];
    int err = store_path_join(log_path, path, "-wal", text);
    if (err == 0) {
        err = store_aside_name(log_path, ret_aside, text);
    }
    return err == 0 ? file_rename(log_path, ret_aside, true, text) : err;
}

/*
 * What a repair reads of a store without SQLite: its log, frame by frame, and its pages, row by
 * row. The first byte chooses.
 *
 *     'l'  the bytes of a log
 *     'f'  a log that is made of steps: frames whose sums are right, then damage
 *     'p'  a store that is made of steps: pages whose sums are right, frames, then damage
 *
 * Steps, so that an input need not guess sums, nor be long: 'b' PAGE AT-high AT-low LEN BYTES puts
 * bytes into a page; 'w' PAGE COMMIT FILL appends that page to the log (for 'f': one of this byte);
 * 'x' AT-high AT-middle AT-low MASK damages the file (for 'f': the log) in the end, 'y' the log.
 */
#include "files.h"

#include "store/pages.h"

#define FRAME_HEAD 24
#define FRAME_LEN  (FRAME_HEAD + STORE_PAGE_SIZE)
#define LOG_HEAD   32
#define PAGES_MAX  8
#define FRAMES_MAX 12

static struct folder folder = {.fd = -1};

struct world {
    uint8_t pages[PAGES_MAX][STORE_PAGE_SIZE];
    uint8_t log[LOG_HEAD + FRAMES_MAX * FRAME_LEN];
    uint32_t n_pages, n_frames;
    uint32_t sum[2]; /* of the log so far */
    /* What a log of which one page alone is damaged has to be told as; see expect(). */
    uint32_t n_damaged;
    size_t damaged_at;
};

/* A log as SQLite writes it (sqlite.org/fileformat2.html, section 4.1) */

static void put_be(uint8_t *to, uint32_t value)
{
    for (int i = 3; i >= 0; i--) {
        to[i] = (uint8_t)value;
        value >>= 8;
    }
}

static uint32_t get_le(const uint8_t *from)
{
    return (uint32_t)from[3] << 24 | (uint32_t)from[2] << 16 | (uint32_t)from[1] << 8 | from[0];
}

static void add_sum(struct world *w, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        w->sum[0] += get_le(bytes + i) + w->sum[1];
        w->sum[1] += get_le(bytes + i + 4) + w->sum[0];
    }
}

static void begin_log(struct world *w)
{
    static const char salts[] = "saltSALT";
    put_be(w->log, UINT32_C(0x377f0682));
    put_be(w->log + 4, 3007000);
    put_be(w->log + 8, STORE_PAGE_SIZE);
    memcpy(w->log + 16, salts, 8);
    add_sum(w, w->log, 24);
    put_be(w->log + 24, w->sum[0]);
    put_be(w->log + 28, w->sum[1]);
}

static size_t log_len(const struct world *w)
{
    return w->n_frames == 0 ? 0 : LOG_HEAD + w->n_frames * FRAME_LEN;
}

static void add_frame(struct world *w, uint32_t number, uint32_t commit, const uint8_t *page)
{
    uint8_t *frame = w->log + LOG_HEAD + w->n_frames * FRAME_LEN;
    put_be(frame, number);
    put_be(frame + 4, commit);
    memcpy(frame + 8, w->log + 16, 8);
    memcpy(frame + FRAME_HEAD, page, STORE_PAGE_SIZE);
    add_sum(w, frame, 8);
    add_sum(w, frame + FRAME_HEAD, STORE_PAGE_SIZE);
    put_be(frame + 16, w->sum[0]);
    put_be(frame + 20, w->sum[1]);
    w->n_frames++;
}

/* Looking */

static void look_at_log(const uint8_t *bytes, size_t len, const struct log *l)
{
    CHECK(l->n * FRAME_LEN + (l->n > 0 ? LOG_HEAD : 0) <= len);
    CHECK(l->state >= LOG_WHOLE && l->state <= LOG_DAMAGED);
    CHECK(l->n == 0 || l->frames[l->n - 1].pages != 0); /* it ends with a commit */
    uint32_t unsound = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        CHECK(l->frames[i].page == bytes + LOG_HEAD + i * FRAME_LEN + FRAME_HEAD);
        unsound += !l->frames[i].is_sound;
    }
    CHECK(unsound <= (l->state == LOG_DAMAGED));
}

/* Nothing is damaged, or a page in one frame: what must come of it is known. */
static void expect(const struct world *w, const struct log *l)
{
    uint32_t damaged = (uint32_t)((w->damaged_at - LOG_HEAD) / FRAME_LEN);
    uint32_t last = 0, before = 0, behind = 0;
    for (uint32_t i = 0; i < w->n_frames; i++) {
        const uint8_t *commit = w->log + LOG_HEAD + i * FRAME_LEN + 4;
        if (memcmp(commit, "\0\0\0\0", 4) == 0) {
            continue;
        }
        last = i + 1;
        before = w->n_damaged == 0 || i < damaged ? i + 1 : before;
        behind += w->n_damaged > 0 && i >= damaged;
    }
    enum log_state state = w->n_damaged == 0 ? LOG_WHOLE : behind > 1 ? LOG_DAMAGED : LOG_TORN;
    CHECK(w->n_frames == 0 || l->state == state);
    CHECK(l->n == (state == LOG_DAMAGED ? last : before));
}

struct seen_rows {
    uint32_t rows;
    uint32_t sum; /* so that every byte is read */
};

static int on_row(void *ctx, const struct row *row)
{
    struct seen_rows *seen = ctx;
    CHECK(row->n <= ROW_VALUES_MAX && strlen(row->shape) == row->n + 1);
    CHECK(row->shape[0] == '#' || row->shape[0] == '=');
    for (size_t i = 0; i < row->n; i++) {
        const struct sql_arg *arg = &row->args[i];
        bool has_bytes = arg->kind == SQL_TEXT_ARG || arg->kind == SQL_BLOB_ARG;
        CHECK(strchr("nitb", row->shape[i + 1]) != NULL);
        CHECK(has_bytes == (row->shape[i + 1] == 't' || row->shape[i + 1] == 'b'));
        CHECK(!has_bytes || arg->len <= ROW_BYTES_MAX);
        for (size_t j = 0; has_bytes && j < arg->len; j++) {
            seen->sum += ((const uint8_t *)arg->bytes)[j];
        }
    }
    seen->rows++;
    return seen->rows < 100000 ? 0 : ERR_TOO_LARGE;
}

static void scan_log(const uint8_t *bytes, size_t len)
{
    struct log l;
    uint8_t *copy = malloc(len + 1); /* of its own size, so that a read beyond it is seen */
    CHECK(copy != NULL);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    CHECK(log_scan(copy, len, &l) == 0);
    look_at_log(copy, len, &l);
    log_release(&l);
    free(copy);
}

static void scan_made_log(const struct world *w)
{
    struct log l;
    CHECK(log_scan(w->log, log_len(w), &l) == 0);
    look_at_log(w->log, log_len(w), &l);
    if (w->n_damaged == 0 || (w->n_damaged == 1 && w->damaged_at >= LOG_HEAD &&
                              (w->damaged_at - LOG_HEAD) % FRAME_LEN >= FRAME_HEAD)) {
        expect(w, &l);
    }
    log_release(&l);
}

static void read_store(const struct world *w)
{
    struct pages p;
    struct log_beside beside;
    struct seen_rows all = {0}, each = {0};
    uint32_t torn = 0;
    write_file(&folder, "store", w->pages, (size_t)w->n_pages * STORE_PAGE_SIZE, 0);
    write_file(&folder, "store-wal", w->log, log_len(w), 0);
    const char *path = path_of(&folder, "store");
    CHECK(log_look(path, &beside, NULL) == 0);
    CHECK(!beside.is_foreign || log_len(w) > 0);
    log_beside_release(&beside);
    CHECK(pages_read(path, &p, NULL) == 0);
    CHECK(p.lost <= p.n && p.mended <= p.n);
    for (uint32_t i = 1; i <= p.n; i++) {
        CHECK(p.page[i] == NULL || p.torn[i] == NULL || p.mended > 0);
        if (p.page[i] != NULL) {
            CHECK(rows_of_page(p.page[i], i, on_row, &each) == 0);
        }
    }
    CHECK(rows_each(&p, on_row, &all, &torn) == 0);
    CHECK(each.rows <= all.rows); /* without the rows that go on elsewhere */
    pages_release(&p);
}

/* Steps */

static uint32_t take_number(struct input *in, int len)
{
    uint32_t value = 0;
    for (int i = 0; i < len; i++) {
        value = value << 8 | take_byte(in);
    }
    return value;
}

/* Bytes for a page; for none with `w` NULL. */
static void put_bytes(struct world *w, struct input *in)
{
    uint32_t page = (uint32_t)take_below(in, PAGES_MAX);
    size_t at = take_number(in, 2) % STORE_PAGE_SIZE;
    size_t len = take_byte(in);
    len = len < in->left ? len : in->left;
    len = len < STORE_PAGE_SIZE - at ? len : STORE_PAGE_SIZE - at;
    if (w != NULL && len > 0) {
        memcpy(w->pages[page] + at, in->at, len);
        w->n_pages = page >= w->n_pages ? page + 1 : w->n_pages;
    }
    in->at += len;
    in->left -= len;
}

static void put_frame(struct world *w, struct input *in, bool is_bare)
{
    uint8_t bare[STORE_PAGE_SIZE];
    uint32_t page = (uint32_t)take_below(in, PAGES_MAX);
    uint32_t commit = take_byte(in);
    memset(bare, take_byte(in), sizeof(bare));
    if (w->n_frames < FRAMES_MAX) {
        add_frame(w, page + 1, commit, is_bare ? bare : w->pages[page]);
    }
}

static void damage(struct world *w, struct input *in, uint8_t *bytes, size_t len, bool is_log)
{
    size_t at = take_number(in, 3);
    uint8_t mask = take_byte(in);
    if (at < len && mask != 0) {
        bytes[at] ^= mask;
        w->n_damaged += is_log;
        w->damaged_at = is_log ? at : w->damaged_at;
    }
}

static void take_steps(struct world *w, struct input in, bool is_bare)
{
    struct input again = in;
    while (in.left > 0) {
        uint8_t step = take_byte(&in);
        if (step == 'b') {
            put_bytes(w, &in);
        } else if (step == 'w') {
            put_frame(w, &in, is_bare);
        } else if (step == 'x' || step == 'y') {
            (void)take_number(&in, 4); /* in the end */
        }
    }
    for (uint32_t i = 0; i < w->n_pages; i++) {
        sums_stamp(w->pages[i], i + 1);
    }
    while (again.left > 0) {
        uint8_t step = take_byte(&again);
        if (step == 'b') {
            put_bytes(NULL, &again);
        } else if (step == 'w') {
            (void)take_number(&again, 3);
        } else if (step == 'x' && !is_bare) {
            damage(w, &again, w->pages[0], (size_t)w->n_pages * STORE_PAGE_SIZE, false);
        } else if (step == 'x' || step == 'y') {
            damage(w, &again, w->log, log_len(w), true);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct world w;
    struct input in = {bytes, len};
    uint8_t choice = take_byte(&in);
    open_folder(&folder);
    if (choice == 'l') {
        scan_log(in.at, in.left);
    } else if (choice == 'f' || choice == 'p') {
        memset(&w, 0, sizeof(w));
        begin_log(&w);
        take_steps(&w, in, choice == 'f');
        scan_made_log(&w);
        if (choice == 'p') {
            read_store(&w);
        }
    }
    return 0;
}

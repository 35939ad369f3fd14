/*
 * The log as bytes, frame by frame: is what a crash left in it whole?
 *
 * SQLite takes a log up to the first frame that is wrong, because that is where a crash stopped it.
 * When a bit is flipped in the middle, the same rule drops transactions that were durable, without
 * a word. The two can be told apart: each commit is synced before the next transaction begins, so
 * a crash tears the last transaction alone. Frames are chained by their sums, and the sum before is
 * stored in each: so the chain can be taken up behind a damaged frame, and when more than one
 * commit follows there, it was no crash.
 *
 * The format: sqlite.org/fileformat2.html, section 4.
 */
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC_LE       UINT32_C(0x377f0682)
#define MAGIC_BE       UINT32_C(0x377f0683)
#define FORMAT         UINT32_C(3007000)
#define HEADER_LEN     32
#define FRAME_HEAD_LEN 24
#define FRAME_LEN      (FRAME_HEAD_LEN + STORE_PAGE_SIZE)

struct sum {
    uint32_t a, b;
};

static uint32_t get_be(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static uint32_t get_le(const uint8_t *from)
{
    return (uint32_t)from[3] << 24 | (uint32_t)from[2] << 16 | (uint32_t)from[1] << 8 | from[0];
}

static struct sum sum_on(struct sum sum, bool is_be, const uint8_t *bytes, size_t len)
{
    uint32_t (*get)(const uint8_t *) = is_be ? get_be : get_le;
    for (size_t i = 0; i < len; i += 8) {
        sum.a += get(bytes + i) + sum.b;
        sum.b += get(bytes + i + 4) + sum.a;
    }
    return sum;
}

static struct sum sum_at(const uint8_t *from)
{
    return (struct sum){get_be(from), get_be(from + 4)};
}

static bool sum_equal(struct sum x, struct sum y)
{
    return x.a == y.a && x.b == y.b;
}

/* Where the walk along the chain stands. */
struct walk {
    bool is_be;
    bool has_damage;
    uint8_t salts[8];
    struct sum before;  /* as stored in the frame before */
    struct sum instead; /* after a damaged one: as it should have been stored there */
};

static struct walk begin(const uint8_t *log)
{
    struct walk w = {
        .is_be = get_be(log) == MAGIC_BE,
        .before = sum_at(log + 24),
    };
    w.instead = sum_on((struct sum){0, 0}, w.is_be, log, 24);
    w.has_damage = (get_be(log) != MAGIC_LE && !w.is_be) || get_be(log + 4) != FORMAT ||
                   get_be(log + 8) != STORE_PAGE_SIZE || !sum_equal(w.before, w.instead);
    memcpy(w.salts, log + (w.has_damage ? HEADER_LEN + 8 : 16), sizeof(w.salts));
    return w;
}

static struct sum frame_sum(const struct walk *w, struct sum before, const uint8_t *frame)
{
    struct sum sum = sum_on(before, w->is_be, frame, 8);
    return sum_on(sum, w->is_be, frame + FRAME_HEAD_LEN, STORE_PAGE_SIZE);
}

/* False where the walk ends: a second frame is wrong. */
static bool step(struct walk *w, const uint8_t *frame, struct log_frame *ret)
{
    struct sum stored = sum_at(frame + 16);
    struct sum wanted = frame_sum(w, w->before, frame);
    bool is_sound =
        memcmp(frame + 8, w->salts, sizeof(w->salts)) == 0 &&
        (sum_equal(stored, wanted) || sum_equal(stored, frame_sum(w, w->instead, frame)));
    if (!is_sound && w->has_damage) {
        return false;
    }
    *ret = (struct log_frame){
        .page = frame + FRAME_HEAD_LEN,
        .number = get_be(frame),
        .pages = get_be(frame + 4),
        .is_sound = is_sound,
    };
    w->before = stored;
    w->instead = is_sound ? stored : wanted;
    w->has_damage = w->has_damage || !is_sound;
    return true;
}

/* What the frames say together; and those behind the last commit that counts are left out. */
static void judge(struct log *l, bool head_is_sound)
{
    uint32_t n = 0;       /* up to the last commit before the damage */
    uint32_t n_all = 0;   /* … up to the last one at all */
    uint32_t commits = 0; /* from the damaged frame on */
    bool is_past = !head_is_sound;
    for (uint32_t i = 0; i < l->n; i++) {
        is_past = is_past || !l->frames[i].is_sound;
        if (l->frames[i].pages == 0) {
            continue;
        }
        commits += is_past;
        n_all = i + 1;
        n = is_past ? n : i + 1;
    }
    l->state = !is_past                    ? LOG_WHOLE
               : !head_is_sound && commits ? LOG_HEADLESS
               : commits > 1               ? LOG_DAMAGED
                                           : LOG_TORN;
    l->n = l->state == LOG_HEADLESS || l->state == LOG_DAMAGED ? n_all : n;
}

int log_scan(const uint8_t *bytes, size_t len, struct log *ret)
{
    struct log l = {.state = LOG_TORN};
    if (len < HEADER_LEN + FRAME_LEN) {
        *ret = l;
        return 0;
    }
    size_t max = (len - HEADER_LEN) / FRAME_LEN;
    l.frames = calloc(max, sizeof(*l.frames));
    if (l.frames == NULL) {
        return ERR_NOMEM;
    }
    struct walk w = begin(bytes);
    bool head_is_sound = !w.has_damage;
    while (l.n < max && step(&w, bytes + HEADER_LEN + l.n * FRAME_LEN, &l.frames[l.n])) {
        l.n++;
    }
    judge(&l, head_is_sound);
    *ret = l;
    return 0;
}

void log_release(struct log *l)
{
    free(l->frames);
    *l = (struct log){0};
}

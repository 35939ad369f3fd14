/*
 * A sum in every page of the store, checked by every read.
 *
 * SQLite finds a page whose structure is wrong; a flipped bit in what a page holds (a policy, a
 * generation, a fingerprint) it hands on as if it had been written so. Therefore each page carries
 * the sum of its other bytes and of its number in its last 8 bytes, which SQLite is told to leave
 * alone ("reserved bytes", a field of its file format). The layer below SQLite (layer.c) writes the
 * sum with the page and refuses, as corrupt, what does not have it. The log has sums of SQLite's
 * own.
 *
 * Each step of the sum maps different states to different states, so damage inside one 8-byte word
 * is always found; any other goes unseen once in 2^64. It guards against disks, not against people:
 * who can write the store can write the sum.
 */
#include "store/internal.h"

#include <string.h>

#include "base/check.h"
#include "sys/io.h"

#define SUM_LEN STORE_RESERVED
#define SUM_AT  (STORE_PAGE_SIZE - SUM_LEN)

static uint64_t get_word(const uint8_t *from)
{
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--) {
        word = word << 8 | from[i];
    }
    return word;
}

static void put_word(uint8_t *to, uint64_t word)
{
    for (int i = 0; i < 8; i++) {
        to[i] = (uint8_t)(word >> (8 * i));
    }
}

#define FACTOR     UINT64_C(0x9e3779b97f4a7c15)
#define FACTOR_INV UINT64_C(0xf1de83e19937733d) /* FACTOR * FACTOR_INV == 1 */
#define SHIFT      29

static uint64_t sum_begin(uint32_t number)
{
    return UINT64_C(0xcbf29ce484222325) + number; /* a page in another's place is damage */
}

static uint64_t sum_step(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * FACTOR;
    return sum ^ sum >> SHIFT;
}

/* The sum before a step, mixed with the step's word. */
static uint64_t sum_unstep(uint64_t sum)
{
    sum ^= sum >> SHIFT ^ sum >> 2 * SHIFT;
    return sum * FACTOR_INV;
}

static uint64_t page_sum(const uint8_t page[STORE_PAGE_SIZE], uint32_t number)
{
    uint64_t sum = sum_begin(number);
    for (size_t i = 0; i < SUM_AT; i += 8) {
        sum = sum_step(sum, get_word(page + i));
    }
    return sum;
}

void sums_stamp(uint8_t page[STORE_PAGE_SIZE], uint32_t number)
{
    put_word(page + SUM_AT, page_sum(page, number));
}

bool sums_agree(const uint8_t page[STORE_PAGE_SIZE], uint32_t number)
{
    return get_word(page + SUM_AT) == page_sum(page, number);
}

/* Nowhere but in one byte do these differ. */
static bool is_one_byte(uint64_t differing)
{
    for (int shift = 0; shift < 64; shift += 8) {
        if ((differing & ~(UINT64_C(0xff) << shift)) == 0) {
            return true;
        }
    }
    return false;
}

/* Each step can be taken back. So for each word there is exactly one value with which the page
 * would have the sum it carries; the one that differs from what is there in one byte was stored
 * (another such is there by chance once in 2^44). */
bool sums_mend(uint8_t page[STORE_PAGE_SIZE], uint32_t number)
{
    uint64_t before[SUM_AT / 8];
    uint64_t sum = sum_begin(number);
    for (size_t i = 0; i < SUM_AT / 8; i++) {
        before[i] = sum;
        sum = sum_step(sum, get_word(page + 8 * i));
    }
    uint64_t after = get_word(page + SUM_AT);
    if (is_one_byte(after ^ sum)) { /* the byte is one of the sum itself */
        sums_stamp(page, number);
        return true;
    }
    for (size_t i = SUM_AT / 8; i-- > 0;) {
        uint64_t found = get_word(page + 8 * i);
        uint64_t wanted = sum_unstep(after) ^ before[i];
        if (is_one_byte(found ^ wanted)) {
            put_word(page + 8 * i, wanted);
            return true;
        }
        after = sum_unstep(after) ^ found;
    }
    return false;
}

int sums_stamp_file(const char *path)
{
    uint8_t page[STORE_PAGE_SIZE];
    int fd = -1;
    int err = path_open(PATH_CWD, path, OPEN_WRITE, &fd);
    for (uint32_t number = 1; err == 0; number++) {
        off_t at = (off_t)(number - 1) * STORE_PAGE_SIZE;
        ssize_t n = fd_read_at(fd, page, sizeof(page), at);
        if (n <= 0) {
            err = (int)n;
            break;
        }
        if (n != STORE_PAGE_SIZE) {
            err = ERR_CORRUPT;
            break;
        }
        sums_stamp(page, number);
        err = fd_write_at(fd, page, sizeof(page), at);
    }
    fd_close(&fd);
    return err;
}

/*
 * A sum in every page of the store, checked by every read.
 *
 * SQLite finds a page whose structure is wrong; a flipped bit in what a page holds (a policy, a
 * generation, a fingerprint) it hands on as if it had been written so. Therefore each page carries
 * the sum of its other bytes and of its number in its last 8 bytes, which SQLite is told to leave
 * alone ("reserved bytes", a field of its file format). This layer below SQLite writes the sum with
 * the page and refuses, as corrupt, what does not have it. The log has sums of SQLite's own.
 *
 * Each step of the sum maps different states to different states, so damage inside one 8-byte word
 * is always found; any other goes unseen once in 2^64. It guards against disks, not against people:
 * who can write the store can write the sum.
 */
#include "store/internal.h"

#include <string.h>

#include "base/check.h"
#include "sys/io.h"

#define VFS_NAME "credwarden-sums"
#define SUM_LEN  STORE_RESERVED
#define SUM_AT   (STORE_PAGE_SIZE - SUM_LEN)

#define HEADER_LEN 100 /* of the file, in its first page */

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

/* The layer: SQLite's own file underneath, everything but reads and writes handed on. */

struct file {
    sqlite3_file base;
    sqlite3_file *below; /* in the memory behind this struct */
};

static sqlite3_file *below(sqlite3_file *f)
{
    return ((struct file *)f)->below;
}

static sqlite3_vfs *vfs_below(sqlite3_vfs *vfs)
{
    return vfs->pAppData;
}

static int do_close(sqlite3_file *f)
{
    return below(f)->pMethods->xClose(below(f));
}

static int read_page(sqlite3_file *f, uint8_t page[STORE_PAGE_SIZE], sqlite3_int64 index)
{
    int rc = below(f)->pMethods->xRead(below(f), page, STORE_PAGE_SIZE, index * STORE_PAGE_SIZE);
    return rc != SQLITE_OK                           ? rc
           : sums_agree(page, (uint32_t)(index + 1)) ? SQLITE_OK
                                                     : SQLITE_CORRUPT;
}

/* Also what SQLite reads of a part of a page is taken from a page that was checked. Not so the
 * file's header, which it reads before it looks for a log: a power loss in the middle of a
 * checkpoint leaves the first page torn, and then the log has it. SQLite reads that page again,
 * whole. */
static int do_read(sqlite3_file *f, void *to, int len, sqlite3_int64 at)
{
    uint8_t page[STORE_PAGE_SIZE];
    sqlite3_int64 index = at / STORE_PAGE_SIZE;
    int skip = (int)(at % STORE_PAGE_SIZE);
    if (len == STORE_PAGE_SIZE && skip == 0) {
        return read_page(f, to, index);
    }
    if (len > STORE_PAGE_SIZE - skip) {
        return SQLITE_CORRUPT; /* the header tells of pages of another size */
    }
    int rc = read_page(f, page, index);
    if (rc == SQLITE_OK) {
        memcpy(to, page + skip, (size_t)len);
    } else if (rc == SQLITE_IOERR_SHORT_READ || at + len <= HEADER_LEN) {
        return below(f)->pMethods->xRead(below(f), to, len, at); /* short: still empty */
    }
    return rc;
}

static int do_write(sqlite3_file *f, const void *from, int len, sqlite3_int64 at)
{
    uint8_t page[STORE_PAGE_SIZE];
    if (len != STORE_PAGE_SIZE || at % STORE_PAGE_SIZE != 0) {
        return SQLITE_IOERR_WRITE; /* never asked for */
    }
    memcpy(page, from, sizeof(page));
    sums_stamp(page, (uint32_t)(at / STORE_PAGE_SIZE + 1));
    return below(f)->pMethods->xWrite(below(f), page, len, at);
}

static int do_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return below(f)->pMethods->xTruncate(below(f), size);
}

static int do_sync(sqlite3_file *f, int flags)
{
    return below(f)->pMethods->xSync(below(f), flags);
}

static int do_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return below(f)->pMethods->xFileSize(below(f), ret);
}

static int do_lock(sqlite3_file *f, int level)
{
    return below(f)->pMethods->xLock(below(f), level);
}

static int do_unlock(sqlite3_file *f, int level)
{
    return below(f)->pMethods->xUnlock(below(f), level);
}

static int do_check_lock(sqlite3_file *f, int *ret)
{
    return below(f)->pMethods->xCheckReservedLock(below(f), ret);
}

static int do_control(sqlite3_file *f, int operation, void *arg)
{
    return below(f)->pMethods->xFileControl(below(f), operation, arg);
}

static int sector_size(sqlite3_file *f)
{
    return below(f)->pMethods->xSectorSize(below(f));
}

static int device_facts(sqlite3_file *f)
{
    return below(f)->pMethods->xDeviceCharacteristics(below(f));
}

/* Version 1: no shared memory (the store is locked for us alone), and no mapped pages, which would
 * be read past this layer. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = do_close,
    .xRead = do_read,
    .xWrite = do_write,
    .xTruncate = do_truncate,
    .xSync = do_sync,
    .xFileSize = do_size,
    .xLock = do_lock,
    .xUnlock = do_unlock,
    .xCheckReservedLock = do_check_lock,
    .xFileControl = do_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = device_facts,
};

static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    struct file *file = (struct file *)f;
    sqlite3_vfs *base = vfs_below(vfs);
    if ((flags & SQLITE_OPEN_MAIN_DB) == 0) {
        return base->xOpen(base, name, f, flags, ret_flags);
    }
    file->below = (sqlite3_file *)(file + 1);
    int rc = base->xOpen(base, name, file->below, flags, ret_flags);
    f->pMethods = file->below->pMethods != NULL ? &methods : NULL;
    return rc;
}

static int do_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    return vfs_below(vfs)->xDelete(vfs_below(vfs), name, sync_folder);
}

static int do_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    return vfs_below(vfs)->xAccess(vfs_below(vfs), name, flags, ret);
}

static int full_path(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
    return vfs_below(vfs)->xFullPathname(vfs_below(vfs), name, size, ret);
}

static int randomness(sqlite3_vfs *vfs, int len, char *ret)
{
    return vfs_below(vfs)->xRandomness(vfs_below(vfs), len, ret);
}

static int do_sleep(sqlite3_vfs *vfs, int us)
{
    return vfs_below(vfs)->xSleep(vfs_below(vfs), us);
}

static int time_now(sqlite3_vfs *vfs, double *ret)
{
    return vfs_below(vfs)->xCurrentTime(vfs_below(vfs), ret);
}

static int last_error(sqlite3_vfs *vfs, int size, char *ret)
{
    return vfs_below(vfs)->xGetLastError(vfs_below(vfs), size, ret);
}

/* SQLite keeps the layer in a list of its own, so it must outlive every store. */
const char *sums_vfs(void)
{
    static sqlite3_vfs layer = {
        .iVersion = 1,
        .zName = VFS_NAME,
        .xOpen = do_open,
        .xDelete = do_delete,
        .xAccess = do_access,
        .xFullPathname = full_path,
        .xRandomness = randomness,
        .xSleep = do_sleep,
        .xCurrentTime = time_now,
        .xGetLastError = last_error,
    };
    if (sqlite3_vfs_find(VFS_NAME) == NULL) {
        sqlite3_vfs *base = sqlite3_vfs_find(NULL);
        CHECK(base != NULL);
        layer.szOsFile = (int)sizeof(struct file) + base->szOsFile;
        layer.mxPathname = base->mxPathname;
        layer.pAppData = base;
        CHECK(sqlite3_vfs_register(&layer, 0) == SQLITE_OK);
    }
    return VFS_NAME;
}

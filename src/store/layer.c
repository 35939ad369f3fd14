/*
 * The layer between SQLite and its own way to the system (a VFS): of the store itself, pages are
 * read and written with their sums (sums.c).
 *
 * What the system said of a call that failed stays here, because SQLite loses it: a descriptor too
 * few, a disk that cannot be read and a lock that is not to be had come to a few words of its own,
 * some of them untrue ("database disk image is malformed", "attempt to write a readonly database").
 */
#include "store/internal.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"

#define HEADER_LEN 100 /* of the file, in its first page */

static _Thread_local int trouble;

int layer_trouble(void)
{
    int errnum = trouble;
    trouble = 0;
    return errnum;
}

/* `rc` of a call below, before which errno was 0. */
static int noted(int rc)
{
    bool is_failure = rc != SQLITE_OK && rc != SQLITE_BUSY && rc != SQLITE_NOTFOUND &&
                      rc != SQLITE_IOERR_SHORT_READ && rc != SQLITE_IOERR_DELETE_NOENT;
    if (is_failure && errno != 0) {
        trouble = errno;
    }
    return rc;
}

struct file {
    sqlite3_file base;
    bool has_sums;
    sqlite3_file *below; /* in the memory behind this struct */
};

static sqlite3_file *below(sqlite3_file *f)
{
    errno = 0;
    return ((struct file *)f)->below;
}

static bool has_sums(sqlite3_file *f)
{
    return ((struct file *)f)->has_sums;
}

static sqlite3_vfs *vfs_below(sqlite3_vfs *vfs)
{
    errno = 0;
    return vfs->pAppData;
}

static int do_close(sqlite3_file *f)
{
    return below(f)->pMethods->xClose(below(f));
}

static int read_below(sqlite3_file *f, void *to, int len, sqlite3_int64 at)
{
    return noted(below(f)->pMethods->xRead(below(f), to, len, at));
}

static int read_page(sqlite3_file *f, uint8_t page[STORE_PAGE_SIZE], sqlite3_int64 index)
{
    int rc = read_below(f, page, STORE_PAGE_SIZE, index * STORE_PAGE_SIZE);
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
    if (!has_sums(f)) {
        return read_below(f, to, len, at);
    }
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
        return read_below(f, to, len, at); /* short: still empty */
    }
    return rc;
}

static int do_write(sqlite3_file *f, const void *from, int len, sqlite3_int64 at)
{
    uint8_t page[STORE_PAGE_SIZE];
    if (!has_sums(f)) {
        return noted(below(f)->pMethods->xWrite(below(f), from, len, at));
    }
    if (len != STORE_PAGE_SIZE || at % STORE_PAGE_SIZE != 0) {
        return SQLITE_IOERR_WRITE; /* never asked for */
    }
    memcpy(page, from, sizeof(page));
    sums_stamp(page, (uint32_t)(at / STORE_PAGE_SIZE + 1));
    return noted(below(f)->pMethods->xWrite(below(f), page, len, at));
}

static int do_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return noted(below(f)->pMethods->xTruncate(below(f), size));
}

static int do_sync(sqlite3_file *f, int flags)
{
    return noted(below(f)->pMethods->xSync(below(f), flags));
}

static int do_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return noted(below(f)->pMethods->xFileSize(below(f), ret));
}

/* SQLite takes a system that has no lock to give for somebody who has ours. */
static int do_lock(sqlite3_file *f, int level)
{
    int rc = below(f)->pMethods->xLock(below(f), level);
    return noted(rc == SQLITE_BUSY && errno == ENOLCK ? SQLITE_IOERR_LOCK : rc);
}

static int do_unlock(sqlite3_file *f, int level)
{
    return noted(below(f)->pMethods->xUnlock(below(f), level));
}

static int do_check_lock(sqlite3_file *f, int *ret)
{
    return noted(below(f)->pMethods->xCheckReservedLock(below(f), ret));
}

static int do_control(sqlite3_file *f, int operation, void *arg)
{
    int rc = noted(below(f)->pMethods->xFileControl(below(f), operation, arg));
    if (operation == SQLITE_FCNTL_HAS_MOVED && *(int *)arg != 0 && errno != 0) {
        trouble = errno; /* or it is not known whether it has */
    }
    return rc;
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

static int (*open_below)(const char *path, int flags, int mode);
static _Thread_local int refusal; /* errno of the first one in an xOpen() */

static int open_noted(const char *path, int flags, int mode)
{
    int fd = open_below(path, flags, mode);
    if (fd < 0 && refusal == 0) {
        refusal = errno;
    }
    return fd;
}

/* Where it may not write, SQLite tries what it can read, and goes on with that, and fails later. */
static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    struct file *file = (struct file *)f;
    sqlite3_vfs *base = vfs_below(vfs);
    int got = flags;
    file->below = (sqlite3_file *)(file + 1);
    refusal = 0;
    int rc = base->xOpen(base, name, file->below, flags, &got);
    bool lacks = (got & SQLITE_OPEN_READWRITE) != (flags & SQLITE_OPEN_READWRITE);
    errno = refusal != 0 ? refusal : errno;
    rc = noted(rc == SQLITE_OK && lacks ? SQLITE_CANTOPEN : rc);
    if (rc == SQLITE_CANTOPEN && lacks && file->below->pMethods != NULL) {
        (void)file->below->pMethods->xClose(file->below);
        file->below->pMethods = NULL;
    }
    f->pMethods = file->below->pMethods != NULL ? &methods : NULL;
    if (ret_flags != NULL) {
        *ret_flags = got;
    }
    return rc;
}

static int open_with_sums(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                          int *ret_flags)
{
    ((struct file *)f)->has_sums = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    return do_open(vfs, name, f, flags, ret_flags);
}

static int open_plain(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                      int *ret_flags)
{
    ((struct file *)f)->has_sums = false;
    return do_open(vfs, name, f, flags, ret_flags);
}

static int do_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    return noted(vfs_below(vfs)->xDelete(vfs_below(vfs), name, sync_folder));
}

/* What could not be looked at, SQLite takes for what is not there: a log with all it holds, too. */
static int do_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    int rc = vfs_below(vfs)->xAccess(vfs_below(vfs), name, flags, ret);
    bool is_unknown = rc == SQLITE_OK && *ret == 0 && flags == SQLITE_ACCESS_EXISTS && errno != 0 &&
                      errno != ENOENT && errno != ENOTDIR;
    return noted(is_unknown ? SQLITE_IOERR_ACCESS : rc);
}

static int full_path(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
    return noted(vfs_below(vfs)->xFullPathname(vfs_below(vfs), name, size, ret));
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
    sqlite3_vfs *base = vfs->pAppData; /* errno is its answer */
    return base->xGetLastError(base, size, ret);
}

static const char *registered(sqlite3_vfs *layer)
{
    if (sqlite3_vfs_find(layer->zName) == NULL) {
        sqlite3_vfs *base = sqlite3_vfs_find(NULL);
        CHECK(base != NULL);
        if (open_below == NULL) {
            open_below = (int (*)(const char *, int, int))base->xGetSystemCall(base, "open");
            CHECK(base->xSetSystemCall(base, "open", (sqlite3_syscall_ptr)open_noted) == SQLITE_OK);
        }
        layer->iVersion = 1;
        layer->xDelete = do_delete;
        layer->xAccess = do_access;
        layer->xFullPathname = full_path;
        layer->xRandomness = randomness;
        layer->xSleep = do_sleep;
        layer->xCurrentTime = time_now;
        layer->xGetLastError = last_error;
        layer->szOsFile = (int)sizeof(struct file) + base->szOsFile;
        layer->mxPathname = base->mxPathname;
        layer->pAppData = base;
        CHECK(sqlite3_vfs_register(layer, 0) == SQLITE_OK);
    }
    return layer->zName;
}

/* SQLite keeps a layer in a list of its own, so it must outlive every store. */
const char *layer_vfs(bool is_plain)
{
    static sqlite3_vfs with_sums = {.zName = "credwarden-sums", .xOpen = open_with_sums};
    static sqlite3_vfs plain = {.zName = "credwarden-plain", .xOpen = open_plain};
    return registered(is_plain ? &plain : &with_sums);
}

/*
 * The spool file: one block of header, then room for the sealed answer.
 *
 * Why zeros are written at creation instead of fallocate(): a block that is merely reserved must be
 * marked as written when the answer comes, which makes the journal part of the answer's sync. Over
 * blocks that hold zeros the answer is written in place; measured on ext4, that halves the time
 * from answer to durable (0.06 ms against 0.11), and it costs 0.15 ms before the spend, where
 * nothing is at stake yet. It also works where fallocate() does not.
 *
 * Why one sync is enough: header and answer carry checksums. Whatever subset of the two writes a
 * power loss leaves behind, it is recognised as torn or as an older stage, and the sync had not
 * returned. So their order on disk does not matter.
 */
#include "issuer/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/file.h"

#define HEADER_SIZE   4096 /* answers start on a block of their own */
#define SPOOL_VERSION 2
#define SUM_LEN       32
#define WITHDRAWN     16 /* a stage on disk only: told as PREPARED */
#define BOOT_ID_ROOM  40
#define NAME_SIZE     sizeof("0123456789abcdef.spool")
#define NAME_SUFFIX   ".spool"

static const char magic[8] = {'C', 'W', 'S', 'P', 'O', 'O', 'L', '\n'};

/* In host order: a spool never leaves its machine. `sum` covers everything before it. */
struct header {
    char magic[8];
    uint32_t version;
    uint32_t stage;
    uint64_t intent;
    char boot_id[BOOT_ID_ROOM];
    uint64_t answer_len;
    uint8_t answer_sum[SUM_LEN];
    int64_t made_boot_ms;
    uint8_t sum[SUM_LEN];
};
_Static_assert(sizeof(struct header) == 144, "no padding: it would be written and summed");
_Static_assert(sizeof(struct header) <= HEADER_SIZE, "the header fits its block");

static void checksum(const void *bytes, size_t len, uint8_t ret[SUM_LEN])
{
    CHECK(crypto_generichash(ret, SUM_LEN, bytes, len, NULL, 0) == 0);
}

static void header_seal(struct header *h)
{
    checksum(h, offsetof(struct header, sum), h->sum);
}

static bool header_is_valid(const struct header *h)
{
    uint8_t sum[SUM_LEN];
    checksum(h, offsetof(struct header, sum), sum);
    return memcmp(h->magic, magic, sizeof(magic)) == 0 && h->version == SPOOL_VERSION &&
           memcmp(h->sum, sum, SUM_LEN) == 0 && h->boot_id[BOOT_ID_ROOM - 1] == '\0' &&
           ((h->stage >= SPOOL_PREPARED && h->stage <= SPOOL_ANSWERED) || h->stage == WITHDRAWN) &&
           h->answer_len <= SPOOL_ANSWER_MAX;
}

/* ERR_CORRUPT when the file ends early. */
static int read_at(int fd, void *bytes, size_t len, off_t at)
{
    ssize_t n = fd_read_at(fd, bytes, len, at);
    if (n < 0)
        return (int)n;
    return (size_t)n == len ? 0 : ERR_CORRUPT;
}

static void name_of(uint64_t intent, char ret[NAME_SIZE])
{
    snprintf(ret, NAME_SIZE, "%016" PRIx64 NAME_SUFFIX, intent);
}

/* The header goes first and the zeros after it: whatever interrupts this, a file of full size has
 * its header (see short files in spool_read). */
static int fill(int fd, const struct header *h)
{
    static const uint8_t zeros[16 * 1024];
    uint8_t block[HEADER_SIZE] = {0};
    memcpy(block, h, sizeof(*h));
    int err = fd_write_at(fd, block, sizeof(block), 0);
    for (size_t at = sizeof(block); err == 0 && at < SPOOL_FILE_SIZE;) {
        size_t left = SPOOL_FILE_SIZE - at;
        size_t n = left < sizeof(zeros) ? left : sizeof(zeros);
        err = fd_write_at(fd, zeros, n, (off_t)at);
        at += n;
    }
    return err;
}

int spool_create(int dir_fd, uint64_t intent, const char *boot_id, int *ret_fd)
{
    struct header h = {.version = SPOOL_VERSION,
                       .stage = SPOOL_PREPARED,
                       .intent = intent,
                       .made_boot_ms = clock_now().boot_ms};
    memcpy(h.magic, magic, sizeof(magic));
    if (str_copy(h.boot_id, sizeof(h.boot_id), boot_id) < 0)
        return ERR_INVALID;
    header_seal(&h);

    char name[NAME_SIZE];
    name_of(intent, name);
    int fd = -1;
    int err = path_open(dir_fd, name, OPEN_NEW, &fd);
    if (err < 0)
        return err;
    err = fd_lock(fd, LOCK_EXCLUSIVE);
    if (err == 0)
        err = fill(fd, &h);
    if (err == 0)
        err = fd_sync(fd);
    if (err == 0)
        err = dir_sync(dir_fd);
    if (err < 0) {
        (void)path_remove(dir_fd, name);
        fd_close(&fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

static int header_read(int fd, struct header *ret)
{
    int err = read_at(fd, ret, sizeof(*ret), 0);
    if (err < 0)
        return err;
    return header_is_valid(ret) ? 0 : ERR_CORRUPT;
}

/* From PREPARED to `stage`, once. The second lock stays with the open file: as long as a spender
 * that has started has it open, it cannot be taken back. */
static int leave_prepared(int fd, uint32_t stage)
{
    int err = fd_lock_second(fd);
    if (err < 0)
        return err;
    struct header h;
    err = header_read(fd, &h);
    if (err < 0)
        return err;
    if (h.stage != SPOOL_PREPARED)
        return h.stage == stage && stage == WITHDRAWN ? 0 : ERR_CONFLICT;
    h.stage = stage;
    header_seal(&h);
    return fd_write_at(fd, &h, sizeof(h), 0);
}

int spool_start(int fd)
{
    return leave_prepared(fd, SPOOL_STARTED);
}

/* The lock of a file that was taken back means nothing: who holds it will send nothing. */
static bool is_withdrawn(int fd, uint64_t intent)
{
    struct header h;
    return header_read(fd, &h) == 0 && h.intent == intent && h.stage == WITHDRAWN;
}

/* Not synced: who could still send it does not outlive the boot either. */
int spool_withdraw(int dir_fd, uint64_t intent)
{
    char name[NAME_SIZE];
    name_of(intent, name);
    int fd = -1;
    int err = path_open(dir_fd, name, OPEN_WRITE, &fd);
    if (err == 0)
        err = leave_prepared(fd, WITHDRAWN);
    if (err == ERR_LOCKED && is_withdrawn(fd, intent))
        err = 0; /* by one that came too late to start */
    fd_close(&fd);
    return err;
}

int spool_answer(int fd, const void *sealed, size_t len)
{
    if (len == 0)
        return ERR_INVALID;
    if (len > SPOOL_ANSWER_MAX)
        return ERR_TOO_LARGE;
    struct header h;
    int err = header_read(fd, &h);
    if (err < 0)
        return err;
    uint8_t sum[SUM_LEN];
    checksum(sealed, len, sum);
    if (h.stage == SPOOL_ANSWERED && memcmp(h.answer_sum, sum, SUM_LEN) != 0)
        return ERR_CONFLICT;

    h.stage = SPOOL_ANSWERED;
    h.answer_len = len;
    memcpy(h.answer_sum, sum, SUM_LEN);
    header_seal(&h);
    /* The answer first: a kill between the two writes then leaves "started", not "torn". */
    err = fd_write_at(fd, sealed, len, HEADER_SIZE);
    if (err == 0)
        err = fd_write_at(fd, &h, sizeof(h), 0);
    if (err < 0)
        return err;
    return fd_sync_content(fd);
}

/* The answer of a valid header; ERR_CORRUPT when its bytes are not the ones summed. */
static int answer_read(int fd, const struct header *h, struct buf *out)
{
    size_t len = (size_t)h->answer_len;
    uint8_t *room = buf_reserve(out, len);
    if (room == NULL)
        return ERR_NOMEM;
    int err = read_at(fd, room, len, HEADER_SIZE);
    if (err < 0)
        return err;
    uint8_t sum[SUM_LEN];
    checksum(room, len, sum);
    if (memcmp(sum, h->answer_sum, SUM_LEN) != 0)
        return ERR_CORRUPT;
    buf_commit(out, len);
    return 0;
}

static int read_locked(int fd, uint64_t intent, const char *boot_id, enum spool_stage *ret_stage,
                       bool *ret_same_boot, int64_t *ret_made_boot_ms, struct buf *ret_sealed)
{
    struct file_facts facts;
    struct header h = {0};
    int err = fd_look(fd, &facts);
    if (err < 0)
        return err;
    /* An intent is committed only after spool_create() made the full size durable. So a shorter
     * file is either nobody's, of a creation that was cut short, or damaged since. What is no file
     * was put there by somebody else. */
    if (facts.kind != FILE_REGULAR || facts.size < SPOOL_FILE_SIZE)
        err = ERR_CORRUPT;
    if (err == 0)
        err = header_read(fd, &h);
    if (err == 0 && h.intent != intent)
        err = ERR_CORRUPT;
    if (err == 0 && h.stage == SPOOL_ANSWERED)
        err = answer_read(fd, &h, ret_sealed);
    if (err < 0 && err != ERR_CORRUPT)
        return err;
    bool is_withdrawn = err == 0 && h.stage == WITHDRAWN;
    *ret_stage = err == ERR_CORRUPT ? SPOOL_TORN
                 : is_withdrawn     ? SPOOL_PREPARED
                                    : (enum spool_stage)h.stage;
    *ret_same_boot = is_withdrawn || (err == 0 && strcmp(h.boot_id, boot_id) == 0);
    if (ret_made_boot_ms)
        *ret_made_boot_ms = h.made_boot_ms;
    return 0;
}

int spool_read(int dir_fd, uint64_t intent, const char *boot_id, enum spool_stage *ret_stage,
               bool *ret_same_boot, int64_t *ret_made_boot_ms, struct buf *ret_sealed)
{
    char name[NAME_SIZE];
    name_of(intent, name);
    int fd = -1;
    int err = path_open(dir_fd, name, OPEN_READ, &fd);
    if (err < 0 && (errno == ENOENT || errno == ELOOP)) {
        *ret_stage = errno == ENOENT ? SPOOL_ABSENT : SPOOL_TORN; /* a link was put there */
        *ret_same_boot = false;
        return 0;
    }
    if (err < 0)
        return err;
    err = fd_lock(fd, LOCK_SHARED);
    if (err == 0 || (err == ERR_LOCKED && is_withdrawn(fd, intent))) {
        err = read_locked(fd, intent, boot_id, ret_stage, ret_same_boot, ret_made_boot_ms,
                          ret_sealed);
    } else if (err == ERR_LOCKED) {
        *ret_stage = SPOOL_LOCKED;
        *ret_same_boot = true; /* a lock does not outlive its boot */
        err = 0;
    }
    fd_close(&fd);
    return err;
}

int spool_remove(int dir_fd, uint64_t intent)
{
    char name[NAME_SIZE];
    name_of(intent, name);
    int err = path_remove(dir_fd, name);
    return err < 0 && errno == ENOENT ? 0 : err;
}

int spool_set_aside(int dir_fd, uint64_t intent)
{
    char name[NAME_SIZE], aside[sizeof("0123456789abcdef.aside")];
    name_of(intent, name);
    snprintf(aside, sizeof(aside), "%016" PRIx64 ".aside", intent);
    int err = path_rename(dir_fd, name, dir_fd, aside);
    /* Synced even if it is absent: the rename before may have been the one that was not. */
    return err < 0 && errno != ENOENT ? err : dir_sync(dir_fd);
}

static bool name_parse(const char *name, uint64_t *ret)
{
    if (strlen(name) != NAME_SIZE - 1 || strcmp(name + 16, NAME_SUFFIX) != 0)
        return false;
    uint64_t intent = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef";
        const char *at = strchr(digits, name[i]);
        if (at == NULL)
            return false;
        intent = intent << 4 | (uint64_t)(at - digits);
    }
    *ret = intent;
    return true;
}

struct listing {
    uint64_t *intents;
    int n;
    int max;
};

static bool list_name(void *ctx, const char *name)
{
    struct listing *l = ctx;
    if (name_parse(name, &l->intents[l->n]))
        l->n++;
    return l->n < l->max;
}

int spool_list(int dir_fd, uint64_t *ret_intents, int max)
{
    struct listing l = {.intents = ret_intents, .max = max};
    int err = max > 0 ? dir_each(dir_fd, list_name, &l) : 0;
    return err < 0 ? err : l.n;
}

/*
 * The high-water mark's file: two slots, a page apart, written in turn.
 *
 *     slot: "cwmark1\0" | sequence u64 | uuid 16 | changes u64 | FNV-1a 64 of all before
 *
 * A write goes to the slot that does not hold the current value, in place and into blocks that are
 * there already: whatever tears it leaves the other one, and it needs no room. The sum guards
 * against torn writes, not against people: who can write the mark can write the store.
 */
#include "store/internal.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "sys/file.h"
#include "sys/process.h"

#define MAGIC     "cwmark1" /* with its NUL */
#define MAGIC_LEN 8
#define SLOT_STEP 4096
#define SLOTS     2
#define FILE_SIZE ((size_t)SLOTS * SLOT_STEP)

#define AT_SEQUENCE MAGIC_LEN
#define AT_UUID     (AT_SEQUENCE + 8)
#define AT_CHANGES  (AT_UUID + STORE_UUID_LEN)
#define AT_SUM      (AT_CHANGES + 8)
#define SLOT_LEN    (AT_SUM + 8)

static uint64_t fnv1a(const uint8_t *bytes, size_t len)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return sum;
}

static void put_u64(uint8_t *to, uint64_t value)
{
    for (size_t i = 0; i < 8; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get_u64(const uint8_t *from)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++) {
        value |= (uint64_t)from[i] << (8 * i);
    }
    return value;
}

static void slot_encode(const struct mark *m, uint8_t to[SLOT_LEN])
{
    memcpy(to, MAGIC, MAGIC_LEN);
    put_u64(to + AT_SEQUENCE, m->sequence);
    memcpy(to + AT_UUID, m->uuid, STORE_UUID_LEN);
    put_u64(to + AT_CHANGES, m->changes);
    put_u64(to + AT_SUM, fnv1a(to, AT_SUM));
}

static bool slot_decode(const uint8_t from[SLOT_LEN], struct mark *m)
{
    if (memcmp(from, MAGIC, MAGIC_LEN) != 0 || get_u64(from + AT_SUM) != fnv1a(from, AT_SUM)) {
        return false;
    }
    m->sequence = get_u64(from + AT_SEQUENCE);
    memcpy(m->uuid, from + AT_UUID, STORE_UUID_LEN);
    m->changes = get_u64(from + AT_CHANGES);
    return true;
}

static int read_slots(int fd, struct mark *m, enum mark_state *ret)
{
    *ret = MARK_DAMAGED;
    for (int i = 0; i < SLOTS; i++) {
        uint8_t slot[SLOT_LEN];
        struct mark found = {.fd = -1};
        ssize_t n = fd_read_at(fd, slot, SLOT_LEN, (off_t)i * SLOT_STEP);
        if (n < 0) {
            return (int)n;
        }
        if (n == SLOT_LEN && slot_decode(slot, &found) &&
            (*ret == MARK_DAMAGED || found.sequence > m->sequence)) {
            *m = found;
            *ret = MARK_VALID;
        }
    }
    return 0;
}

/* Regular, ours; closed to others, whatever it was. */
static int check_file(const char *path, int fd, struct err_text *text)
{
    struct file_facts facts;
    int err = fd_look(fd, &facts);
    if (err < 0) {
        return err_say(text, err, "cannot look at the high-water mark %s: %s", path,
                       strerror(errno));
    }
    if (facts.kind != FILE_REGULAR) {
        return err_say(text, ERR_INVALID, "the high-water mark %s is not a regular file", path);
    }
    if (facts.owner != process_uid()) {
        return err_say(text, ERR_INSECURE,
                       "the high-water mark %s belongs to uid %u, not to uid %u", path, facts.owner,
                       process_uid());
    }
    err = fd_make_private(fd);
    return err < 0 ? err_say(text, err, "cannot make %s private: %s", path, strerror(errno)) : 0;
}

/* ERR_NOT_FOUND: without a word, it may be as it should. */
static int open_file(const char *path, int *ret_fd, struct err_text *text)
{
    int fd = -1;
    int err = path_open(PATH_CWD, path, OPEN_WRITE, &fd);
    if (err == ERR_NOT_FOUND) {
        return err;
    }
    if (err < 0) {
        return err_say(text, errno == ELOOP ? ERR_INSECURE : err,
                       "cannot open the high-water mark %s: %s", path, strerror(errno));
    }
    err = check_file(path, fd, text);
    if (err < 0) {
        fd_close(&fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

int mark_load(const char *path, struct mark *m, enum mark_state *ret, struct err_text *text)
{
    int fd = -1;
    struct mark found = {.fd = -1};
    enum mark_state state = MARK_ABSENT;
    int err = open_file(path, &fd, text);
    if (err == ERR_NOT_FOUND) {
        err = 0;
    } else if (err == 0) {
        err = read_slots(fd, &found, &state);
        if (err < 0) {
            fd_close(&fd);
            return err_say(text, err, "cannot read the high-water mark %s: %s", path,
                           err_reason(err));
        }
    }
    if (err == 0) {
        *m = found;
        m->fd = fd;
        *ret = state;
    }
    return err;
}

int mark_make(const char *path, const uint8_t uuid[STORE_UUID_LEN], uint64_t changes,
              struct mark *m, struct err_text *text)
{
    uint8_t whole[FILE_SIZE] = {0};
    struct mark made = {.fd = -1, .sequence = 1, .changes = changes};
    memcpy(made.uuid, uuid, STORE_UUID_LEN);
    slot_encode(&made, whole + SLOT_STEP); /* where 1 belongs */
    int err = file_replace(path, whole, sizeof(whole), text);
    if (err == 0) {
        err = open_file(path, &made.fd, text);
    }
    if (err == 0) {
        mark_close(m);
        *m = made;
    }
    return err;
}

int mark_write(struct mark *m, const uint8_t uuid[STORE_UUID_LEN], uint64_t changes)
{
    CHECK(m->fd >= 0);
    uint8_t slot[SLOT_LEN];
    struct mark next = {.fd = m->fd, .sequence = m->sequence + 1, .changes = changes};
    memcpy(next.uuid, uuid, STORE_UUID_LEN);
    slot_encode(&next, slot);
    int err = fd_write_at(m->fd, slot, SLOT_LEN, (off_t)(next.sequence % SLOTS) * SLOT_STEP);
    if (err == 0) {
        err = fd_sync_content(m->fd);
    }
    if (err == 0) {
        *m = next;
    }
    return err;
}

void mark_close(struct mark *m)
{
    fd_close(&m->fd);
}

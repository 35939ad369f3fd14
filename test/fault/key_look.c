/*
 * What the real vault and the real spool say of damaged files, many times a second: for corrupt.py.
 *
 *     key_look IMAGE SCRATCH         one case a line on standard input: "FILE OFFSET MASK" flips
 *                                    these bits, "FILE cut LENGTH" cuts it there, "FILE gone 0"
 *                                    takes it away
 *
 * IMAGE holds vault.key, fingerprint_key (as the store keeps it, sealed) and answered.spool. The
 * FILEs are vault.key, and the spool file of that intent at each stage of its life: prepared,
 * started, answered. Each case is judged: "refused" (the key is, in a sentence that names it, or it
 * does not open what is sealed), "same" (it says what it said before), "told" (in doubt: the spool
 * file is torn, or its answer does not open), or "SILENT" and "WORDLESS": what must not be. Damage
 * must never say that nothing was sent. One line a kind at the end, and one for each case that must
 * not be.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "issuer/spool.h"
#include "sys/file.h"
#include "vault/vault.h"

#define FILES     4
#define KEY       0
#define INTENT_AT 16 /* of a spool file (src/issuer/spool.c) */
#define BOOT_AT   24
#define BOOT_ROOM 40

static const char *const names[FILES] = {"vault.key", "prepared", "started", "answered"};

enum outcome { REFUSED, SAME, TOLD, SILENT, WORDLESS, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {"refused", "same", "told", "SILENT",
                                                    "WORDLESS"};

struct looking {
    struct vault *vault;
    struct buf fp_key;
    uint64_t intent;
    char boot_id[BOOT_ROOM];
    char paths[FILES][512]; /* in the scratch folder */
    int folders[FILES];     /* of the spool files */
    struct buf whole[FILES];
    struct buf sealed; /* the answer */
    unsigned long counts[OUTCOMES];
};

_Noreturn static void give_up(const char *what)
{
    (void)fprintf(stderr, "key_look: %s\n", what);
    exit(2);
}

static void load(const char *path, struct buf *out)
{
    buf_init(out, SPOOL_FILE_SIZE);
    if (file_read(path, false, SPOOL_FILE_SIZE, out, NULL) < 0) {
        give_up(path);
    }
}

static void put(const char *path, const void *bytes, size_t len)
{
    if (file_replace(path, bytes, len, NULL) < 0) {
        give_up(path);
    }
}

/* Judging */

static enum outcome judge_key(const struct looking *k)
{
    struct vault *v = NULL;
    struct err_text text = {""};
    const char *path = k->paths[KEY];
    if (vault_open(path, &v, &text) < 0) {
        return strstr(text.text, path) != NULL ? REFUSED : WORDLESS;
    }
    enum outcome outcome = SAME;
    if (vault_fp_key_open(v, k->fp_key.bytes, k->fp_key.len, &text) < 0) {
        outcome = text.text[0] != '\0' ? REFUSED : WORDLESS;
    } else if (memcmp(vault_box_public(v), vault_box_public(k->vault), VAULT_BOX_PUBLIC_LEN) != 0) {
        outcome = SILENT;
    }
    vault_free(v);
    return outcome;
}

static enum outcome judge_answer(const struct looking *k, const struct buf *sealed, bool was_there)
{
    if (was_there && sealed->len == k->sealed.len &&
        memcmp(sealed->bytes, k->sealed.bytes, sealed->len) == 0) {
        return SAME;
    }
    struct buf plain;
    buf_init_secret(&plain, SPOOL_ANSWER_MAX);
    int err = vault_box_open(k->vault, sealed->bytes, sealed->len, &plain);
    buf_release(&plain);
    return err < 0 ? TOLD : SILENT;
}

static enum outcome judge_spool(const struct looking *k, int which)
{
    static const enum spool_stage stages[FILES] = {
        [1] = SPOOL_PREPARED, [2] = SPOOL_STARTED, [3] = SPOOL_ANSWERED};
    enum spool_stage stage = SPOOL_LOCKED;
    bool same_boot = false;
    struct buf sealed;
    buf_init(&sealed, SPOOL_ANSWER_MAX);
    int err =
        spool_read(k->folders[which], k->intent, k->boot_id, &stage, &same_boot, NULL, &sealed);
    bool is_unsent = stage == SPOOL_PREPARED && same_boot;
    enum outcome outcome = TOLD;
    if (err < 0 || stage == SPOOL_LOCKED) {
        outcome = SILENT; /* it would be waited for, for ever */
    } else if (stage == SPOOL_ANSWERED) {
        outcome = judge_answer(k, &sealed, stages[which] == SPOOL_ANSWERED);
    } else if (stage == stages[which] && same_boot) {
        outcome = SAME;
    } else if (is_unsent) {
        outcome = SILENT;
    }
    buf_release(&sealed);
    return outcome;
}

static enum outcome judge(const struct looking *k, int which)
{
    return which == KEY ? judge_key(k) : judge_spool(k, which);
}

/* Cases */

static enum outcome try_flip(struct looking *k, int which, size_t at, uint8_t mask)
{
    int fd = -1;
    struct buf *whole = &k->whole[which];
    CHECK(at < whole->len);
    uint8_t byte = whole->bytes[at] ^ mask;
    if (path_open(PATH_CWD, k->paths[which], OPEN_WRITE, &fd) < 0) {
        give_up(k->paths[which]);
    }
    CHECK(fd_write_at(fd, &byte, 1, (off_t)at) == 0);
    enum outcome outcome = judge(k, which);
    CHECK(fd_write_at(fd, whole->bytes + at, 1, (off_t)at) == 0);
    fd_close(&fd);
    return outcome;
}

static enum outcome try_more(struct looking *k, int which, const char *how, size_t value)
{
    const struct buf *whole = &k->whole[which];
    if (strcmp(how, "gone") == 0) {
        CHECK(path_remove(PATH_CWD, k->paths[which]) == 0);
    } else if (strcmp(how, "cut") == 0) {
        put(k->paths[which], whole->bytes, value < whole->len ? value : whole->len);
    } else {
        give_up(how);
    }
    enum outcome outcome = judge(k, which);
    put(k->paths[which], whole->bytes, whole->len);
    return outcome;
}

static enum outcome try_line(struct looking *k, const char *line)
{
    char name[32], how[32];
    unsigned long value = 0;
    if (sscanf(line, "%31s %31s %lu", name, how, &value) != 3) {
        give_up(line);
    }
    int which = 0;
    while (which < FILES && strcmp(names[which], name) != 0) {
        which++;
    }
    CHECK(which < FILES);
    bool is_flip = how[0] >= '0' && how[0] <= '9';
    return is_flip ? try_flip(k, which, strtoul(how, NULL, 10), (uint8_t)value)
                   : try_more(k, which, how, value);
}

/* The beginning */

static void make_spool(struct looking *k, const char *scratch, int which)
{
    char folder[256];
    int fd = -1;
    (void)snprintf(folder, sizeof(folder), "%s/%s", scratch, names[which]);
    (void)snprintf(k->paths[which], sizeof(k->paths[which]), "%s/%016llx.spool", folder,
                   (unsigned long long)k->intent);
    if (dir_ensure_private(folder, NULL) < 0 ||
        dir_open_private(folder, &k->folders[which], NULL) < 0 ||
        spool_create(k->folders[which], k->intent, k->boot_id, &fd) < 0) {
        give_up(folder);
    }
    if (which >= 2) {
        CHECK(spool_start(fd) == 0);
    }
    if (which >= 3) {
        CHECK(spool_answer(fd, k->sealed.bytes, k->sealed.len) == 0);
    }
    fd_close(&fd);
    load(k->paths[which], &k->whole[which]);
    CHECK(judge(k, which) == SAME);
}

/* The intent, its boot and its answer, as the image has them. */
static void read_spool(struct looking *k, const char *image)
{
    char path[512];
    struct buf file;
    uint64_t len = 0;
    (void)snprintf(path, sizeof(path), "%s/answered.spool", image);
    load(path, &file);
    CHECK(file.len == SPOOL_FILE_SIZE);
    memcpy(&k->intent, file.bytes + INTENT_AT, sizeof(k->intent));
    memcpy(k->boot_id, file.bytes + BOOT_AT, BOOT_ROOM);
    memcpy(&len, file.bytes + BOOT_AT + BOOT_ROOM, sizeof(len));
    CHECK(k->boot_id[BOOT_ROOM - 1] == '\0' && len > 0 && len <= SPOOL_ANSWER_MAX);
    buf_init(&k->sealed, SPOOL_ANSWER_MAX);
    CHECK(buf_add(&k->sealed, file.bytes + SPOOL_FILE_SIZE - SPOOL_ANSWER_MAX, len) == 0);
    buf_release(&file);
}

static void begin(struct looking *k, const char *image, const char *scratch)
{
    char path[512];
    struct err_text text = {""};
    struct buf plain;
    (void)snprintf(path, sizeof(path), "%s/vault.key", image);
    load(path, &k->whole[KEY]);
    (void)snprintf(k->paths[KEY], sizeof(k->paths[KEY]), "%s/vault.key", scratch);
    put(k->paths[KEY], k->whole[KEY].bytes, k->whole[KEY].len);
    (void)snprintf(path, sizeof(path), "%s/fingerprint_key", image);
    load(path, &k->fp_key);
    if (vault_open(k->paths[KEY], &k->vault, &text) < 0) {
        give_up(text.text);
    }
    CHECK(judge_key(k) == SAME);
    read_spool(k, image);
    buf_init_secret(&plain, SPOOL_ANSWER_MAX);
    CHECK(vault_box_open(k->vault, k->sealed.bytes, k->sealed.len, &plain) == 0);
    buf_release(&plain);
    for (int which = 1; which < FILES; which++) {
        make_spool(k, scratch, which);
    }
}

static void end(struct looking *k)
{
    for (int which = 0; which < FILES; which++) {
        if (which != KEY) {
            fd_close(&k->folders[which]);
        }
        buf_release(&k->whole[which]);
    }
    buf_release(&k->fp_key);
    buf_release(&k->sealed);
    vault_free(k->vault);
}

int main(int argc, char **argv)
{
    struct looking k = {.folders = {-1, -1, -1, -1}};
    char line[256];
    if (argc != 3 || sodium_init() < 0) {
        give_up("usage: key_look IMAGE SCRATCH");
    }
    begin(&k, argv[1], argv[2]);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        enum outcome outcome = try_line(&k, line);
        k.counts[outcome]++;
        if (outcome >= SILENT) {
            (void)printf("%s: %s", outcome_names[outcome], line);
        }
    }
    for (int i = 0; i < OUTCOMES; i++) {
        (void)printf("%s %lu\n", outcome_names[i], k.counts[i]);
    }
    end(&k);
    return k.counts[SILENT] + k.counts[WORDLESS] > 0;
}

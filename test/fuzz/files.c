/*
 * Our own small files, read back after whatever happened to them: configuration, vault key,
 * high-water mark, spool. The first byte chooses: 'c', 'k', 'm', 's' (a spool as it lies there) or
 * 'h' (the same with its header's checksum made right, as a faulty program could have left it).
 *
 * Files go to $TMPDIR, which the driver puts into memory.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/config.h"
#include "issuer/spool.h"
#include "store/internal.h"
#include "vault/vault.h"

#define INTENT        UINT64_C(0x0123456789abcdef)
#define SPOOL_NAME    "0123456789abcdef.spool"
#define BOOT_ID       "made-up-boot-id"
#define HEADER_SUMMED 104 /* bytes of a spool's header that its checksum covers */
#define HEADER_SUM    32
#define ANSWER_AT     4096

static int dir_fd = -1;
static char folder[200];
static char path[256]; /* in it, as path_of() made it last */

static void open_folder(void)
{
    const char *temp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%s/fuzz-files-XXXXXX", temp != NULL ? temp : "/tmp");
    CHECK(mkdtemp(folder) != NULL && sodium_init() >= 0);
    dir_fd = open(folder, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    CHECK(dir_fd >= 0);
}

static const char *path_of(const char *name)
{
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t len, off_t size)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, len, 0) == (ssize_t)len);
    CHECK(size == 0 || ftruncate(fd, size) == 0);
    (void)close(fd);
}

static void parse_config(struct input in)
{
    struct buf bytes;
    struct config config;
    struct err_text text = {""};
    taint(&config, sizeof(config));
    buf_init(&bytes, CONFIG_FILE_MAX);
    CHECK(buf_add(&bytes, in.at, in.left) == 0);
    if (config_parse("c.ini", &bytes, &config, &text) != 0) {
        CHECK(is_tainted(&config, sizeof(config)));
        CHECK(strncmp(text.text, "c.ini:", 6) == 0);
    } else {
        CHECK(config.log_level >= LOG_ERROR && config.log_level < LOG_LEVEL_COUNT);
        CHECK(config.spend_deadline_ms >= 1000 && config.spend_deadline_ms <= 300000);
        CHECK(config.ask_deadline_ms >= 1000 && config.ask_deadline_ms <= 300000);
        CHECK(config.spender_idle_ms >= 100 && config.spender_idle_ms <= 3600000);
        CHECK(config.profiles_max >= 1 && config.profiles_max <= 4096);
    }
    buf_release(&bytes);
}

static bool is_key_line(const uint8_t *bytes, size_t len)
{
    static const char head[] = "credwarden-vault-key-1 ";
    size_t head_len = sizeof(head) - 1;
    if (len != head_len + 65 || memcmp(bytes, head, head_len) != 0 || bytes[len - 1] != '\n') {
        return false;
    }
    for (size_t i = head_len; i + 1 < len; i++) {
        if (bytes[i] == '\0' || strchr("0123456789abcdef", bytes[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static void open_key(struct input in)
{
    struct vault *vault = NULL;
    struct err_text text = {""};
    write_file("key", in.at, in.left, 0);
    int err = vault_open(path_of("key"), &vault, &text);
    CHECK((err == 0) == is_key_line(in.at, in.left));
    CHECK(err == 0 ? vault != NULL : vault == NULL && text.text[0] != '\0');
    CHECK(err == 0 || err == ERR_CORRUPT || err == ERR_NEWER);
    vault_free(vault);
}

static void load_mark(struct input in)
{
    struct mark mark = {.fd = -1};
    enum mark_state state = MARK_ABSENT;
    struct err_text text = {""};
    write_file("mark", in.at, in.left, 0);
    CHECK(mark_load(path_of("mark"), &mark, &state, &text) == 0);
    CHECK(state == MARK_VALID || state == MARK_DAMAGED);
    if (state == MARK_VALID && mark.sequence < UINT64_MAX) {
        uint64_t sequence = mark.sequence;
        uint8_t uuid[STORE_UUID_LEN];
        memcpy(uuid, mark.uuid, sizeof(uuid));
        CHECK(mark_write(&mark, uuid, 7) == 0);
        mark_close(&mark);
        CHECK(mark_load(path_of("mark"), &mark, &state, &text) == 0 && state == MARK_VALID);
        CHECK(mark.sequence == sequence + 1);
        CHECK(memcmp(mark.uuid, uuid, sizeof(uuid)) == 0);
    }
    mark_close(&mark);
}

/* Header and answer lie in one input: what is beyond the header goes to the answer's place. */
static void write_spool(struct input in, bool with_sum)
{
    static uint8_t whole[ANSWER_AT + 4096];
    size_t header = in.left < HEADER_SUMMED + HEADER_SUM ? in.left : HEADER_SUMMED + HEADER_SUM;
    size_t rest = in.left - header < 4096 ? in.left - header : 4096;
    memset(whole, 0, sizeof(whole));
    memcpy(whole, in.at, header);
    memcpy(whole + ANSWER_AT, in.at + header, rest);
    if (with_sum) {
        uint64_t len = 0;
        memcpy(&len, whole + 64, sizeof(len));
        if (len <= rest) {
            CHECK(crypto_generichash(whole + 72, HEADER_SUM, whole + ANSWER_AT, len, NULL, 0) == 0);
        }
        CHECK(crypto_generichash(whole + HEADER_SUMMED, HEADER_SUM, whole, HEADER_SUMMED, NULL,
                                 0) == 0);
    }
    write_file(SPOOL_NAME, whole, sizeof(whole), SPOOL_FILE_SIZE);
}

/* A spool starts once, keeps one answer, and never starts when it was withdrawn. */
static void check_life(enum spool_stage stage, bool withdraw)
{
    struct buf sealed;
    bool same_boot = false;
    int fd = openat(dir_fd, SPOOL_NAME, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    if (stage == SPOOL_PREPARED && withdraw) {
        CHECK(spool_withdraw(dir_fd, INTENT) == 0);
        CHECK(spool_start(fd) != 0 && spool_withdraw(dir_fd, INTENT) == 0);
    }
    bool started = spool_start(fd) == 0;
    /* Of another intent it may start, too: its number only the daemon knows. */
    CHECK(!started || (stage == SPOOL_PREPARED && !withdraw) || stage == SPOOL_TORN);
    CHECK(spool_start(fd) != 0);
    buf_init(&sealed, SPOOL_ANSWER_MAX);
    if ((started && stage == SPOOL_PREPARED) || stage == SPOOL_STARTED) {
        CHECK(spool_withdraw(dir_fd, INTENT) != 0);
        CHECK(spool_answer(fd, "sealed", 6) == 0 && spool_answer(fd, "sealed", 6) == 0);
        CHECK(spool_answer(fd, "other!", 6) == ERR_CONFLICT);
        CHECK(spool_read(dir_fd, INTENT, BOOT_ID, &stage, &same_boot, &sealed) == 0);
        CHECK(stage == SPOOL_ANSWERED && strcmp(buf_text(&sealed), "sealed") == 0);
    }
    buf_release(&sealed);
    (void)close(fd);
}

static void read_spool(struct input in, bool with_sum)
{
    static const char magic[] = "CWSPOOL\n";
    struct buf sealed;
    enum spool_stage stage = SPOOL_ABSENT;
    bool same_boot = false;
    buf_init(&sealed, SPOOL_ANSWER_MAX);
    write_spool(in, with_sum);
    CHECK(spool_read(dir_fd, INTENT, BOOT_ID, &stage, &same_boot, &sealed) == 0);
    CHECK(stage >= SPOOL_PREPARED && stage <= SPOOL_TORN);
    CHECK(stage == SPOOL_ANSWERED || sealed.len == 0);
    CHECK(sealed.len <= SPOOL_ANSWER_MAX);
    CHECK(stage != SPOOL_TORN || !same_boot);
    if (stage != SPOOL_TORN) { /* then it is a spool, and this intent's */
        uint64_t intent = 0;
        CHECK(in.left >= 24 && memcmp(in.at, magic, 8) == 0);
        memcpy(&intent, in.at + 16, sizeof(intent));
        CHECK(intent == INTENT);
    }
    check_life(stage, in.left % 2 == 1);
    buf_release(&sealed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, len};
    if (dir_fd < 0) {
        open_folder();
    }
    switch (take_byte(&in)) {
    case 'c':
        parse_config(in);
        break;
    case 'h':
        read_spool(in, true);
        break;
    case 'k':
        open_key(in);
        break;
    case 'm':
        load_mark(in);
        break;
    case 's':
        read_spool(in, false);
        break;
    default:
        break;
    }
    return 0;
}

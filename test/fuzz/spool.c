/*
 * A spool file: 's' as it lies there, 'h' with its header's checksum made right, as a faulty
 * program could have left it.
 */
#include "files.h"

#include <sodium.h>

#include "issuer/spool.h"

#define INTENT        UINT64_C(0x0123456789abcdef)
#define SPOOL_NAME    "0123456789abcdef.spool"
#define BOOT_ID       "made-up-boot-id"
#define HEADER_SUMMED 112 /* bytes of a spool's header that its checksum covers */
#define HEADER_SUM    32
#define ANSWER_AT     4096

static struct folder folder = {.fd = -1};

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
    write_file(&folder, SPOOL_NAME, whole, sizeof(whole), SPOOL_FILE_SIZE);
}

/* A spool starts once, keeps one answer, and never starts when it was withdrawn. */
static void check_life(enum spool_stage stage, bool withdraw)
{
    struct buf sealed;
    bool same_boot = false;
    int fd = openat(folder.fd, SPOOL_NAME, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    if (stage == SPOOL_PREPARED && withdraw) {
        CHECK(spool_withdraw(folder.fd, INTENT) == 0);
        CHECK(spool_start(fd) != 0 && spool_withdraw(folder.fd, INTENT) == 0);
    }
    bool started = spool_start(fd) == 0;
    /* Of another intent it may start, too: its number only the daemon knows. */
    CHECK(!started || (stage == SPOOL_PREPARED && !withdraw) || stage == SPOOL_TORN);
    CHECK(spool_start(fd) != 0);
    buf_init(&sealed, SPOOL_ANSWER_MAX);
    if ((started && stage == SPOOL_PREPARED) || stage == SPOOL_STARTED) {
        CHECK(spool_withdraw(folder.fd, INTENT) != 0);
        CHECK(spool_answer(fd, "sealed", 6) == 0 && spool_answer(fd, "sealed", 6) == 0);
        CHECK(spool_answer(fd, "other!", 6) == ERR_CONFLICT);
        CHECK(spool_read(folder.fd, INTENT, BOOT_ID, &stage, &same_boot, NULL, &sealed) == 0);
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
    CHECK(spool_read(folder.fd, INTENT, BOOT_ID, &stage, &same_boot, NULL, &sealed) == 0);
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
    CHECK(sodium_init() >= 0);
    open_folder(&folder);
    uint8_t choice = take_byte(&in);
    if (choice == 'h' || choice == 's') {
        read_spool(in, choice == 'h');
    }
    return 0;
}

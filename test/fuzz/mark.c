/*
 * The high-water mark: one that is valid takes the next value, and has it when it is read again.
 */
#include "files.h"

#include "store/internal.h"

static struct folder folder = {.fd = -1};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct mark mark = {.fd = -1};
    enum mark_state state = MARK_ABSENT;
    struct err_text text = {""};
    open_folder(&folder);
    write_file(&folder, "mark", bytes, len, 0);
    const char *path = path_of(&folder, "mark");
    CHECK(mark_load(path, &mark, &state, &text) == 0);
    CHECK(state == MARK_VALID || state == MARK_DAMAGED);
    if (state == MARK_VALID && mark.sequence < UINT64_MAX) {
        uint64_t sequence = mark.sequence;
        uint8_t uuid[STORE_UUID_LEN];
        memcpy(uuid, mark.uuid, sizeof(uuid));
        CHECK(mark_write(&mark, uuid, 7) == 0);
        mark_close(&mark);
        CHECK(mark_load(path, &mark, &state, &text) == 0 && state == MARK_VALID);
        CHECK(mark.sequence == sequence + 1);
        CHECK(memcmp(mark.uuid, uuid, sizeof(uuid)) == 0);
    }
    mark_close(&mark);
    return 0;
}

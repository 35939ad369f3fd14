/*
 * Compare-and-swap of a file. The new bytes are on the disk before the old ones are compared, so
 * that the moment is short in which somebody could be overwritten: then there is only the rename.
 */
#include "sys/file_swap.h"

#include <string.h>

#include "base/check.h"
#include "base/str.h"

int file_swap_init(struct file_swap *s, const char *path, size_t max)
{
    *s = (struct file_swap){.max = max};
    buf_init_secret(&s->bytes, max);
    return str_copy(s->path, sizeof(s->path), path);
}

static void drop_temp(struct file_swap *s)
{
    if (s->temp[0] != '\0') {
        (void)path_remove(PATH_CWD,
                          s->temp); /* gone already, where only the folder is not synced */
        s->temp[0] = '\0';
    }
}

void file_swap_clear(struct file_swap *s)
{
    drop_temp(s);
    buf_release(&s->bytes);
    s->was_there = false;
}

static int read_it(const struct file_swap *s, char target[FILE_SWAP_PATH_SIZE], struct buf *bytes,
                   bool *ret_there, struct file_facts *facts, struct err_text *text)
{
    int err = file_resolve(s->path, target, FILE_SWAP_PATH_SIZE);
    if (err != 0 && err != ERR_NOT_FOUND && err != ERR_INVALID) {
        return err_say(text, err, "%s: %s", s->path, err_reason(err));
    }
    if (err != 0) {
        return err_say(text, ERR_INVALID, "%s: it leads nowhere, or its folder is not there",
                       s->path);
    }
    err = path_look(PATH_CWD, target, false, facts);
    *ret_there = err == 0;
    if (err == 0) {
        err = file_read(target, false, s->max, bytes, text);
    }
    if (err == ERR_NOT_FOUND) { /* or gone since */
        *ret_there = false;
        return 0;
    }
    return err;
}

int file_swap_look(struct file_swap *s, struct err_text *text)
{
    file_swap_clear(s);
    return read_it(s, s->target, &s->bytes, &s->was_there, &s->facts, text);
}

int file_swap_compare(const struct file_swap *s, struct err_text *text)
{
    struct buf now;
    struct file_facts facts;
    bool is_there = false;
    char target[FILE_SWAP_PATH_SIZE];
    buf_init_secret(&now, s->max);
    int err = read_it(s, target, &now, &is_there, &facts, text);
    bool is_same = err == 0 && is_there == s->was_there && strcmp(target, s->target) == 0 &&
                   now.len == s->bytes.len &&
                   (now.len == 0 || memcmp(now.bytes, s->bytes.bytes, now.len) == 0);
    buf_release(&now);
    if (err == 0 && !is_same) {
        err = err_say(text, ERR_CONFLICT, "%s: somebody else has written it meanwhile", s->path);
    }
    return err;
}

int file_swap_write(struct file_swap *s, const void *bytes, size_t len, struct err_text *text)
{
    int fd = -1;
    CHECK(s->temp[0] == '\0' && s->target[0] != '\0');
    int err = file_make_temp(s->target, s->temp, sizeof(s->temp), text);
    if (err != 0) {
        s->temp[0] = '\0';
        return err;
    }
    err = path_open(PATH_CWD, s->temp, OPEN_WRITE, &fd);
    if (err == 0 && s->was_there) {
        err = fd_make_like(fd, &s->facts);
    }
    err = err != 0 ? err : fd_write(fd, bytes, len);
    err = err != 0 ? err : fd_sync(fd);
    fd_close(&fd);
    if (err != 0) {
        drop_temp(s);
        return err_say(text, err, "%s: it cannot be written anew: %s", s->path, err_reason(err));
    }
    return 0;
}

int file_swap_commit(struct file_swap *s, struct err_text *text)
{
    CHECK(s->temp[0] != '\0');
    int err = file_swap_compare(s, text);
    if (err == 0) {
        err = file_put(s->temp, s->target, true, text);
    }
    if (err == 0) {
        s->temp[0] = '\0';
    }
    drop_temp(s);
    return err;
}

/*
 * Names of errors, and the one sentence a person reads. Nothing here allocates: an error must be
 * tellable when memory is what ran out.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

const char *err_name(int err)
{
    static const char *const names[] = {
        "ok",     "no-memory",   "too-large", "invalid",  "not-found", "exists", "busy",
        "denied", "io",          "full",      "corrupt",  "newer",     "locked", "timeout",
        "closed", "unsupported", "conflict",  "insecure", "again",
    };
    if (err > 0 || err <= -(int)ARRAY_LEN(names)) {
        return "unknown";
    }
    return names[-err];
}

const char *err_reason(int err)
{
    static const char *const reasons[] = {
        "nothing went wrong",
        "there is not enough memory",
        "it is too large",
        "it is not as it should be",
        "it is not there",
        "it is there already",
        "open files, processes or a queue are at their limit",
        "it is not allowed",
        "a disk or a descriptor failed",
        "the disk is full",
        "it is damaged",
        "a newer version wrote it",
        "somebody else has it locked",
        "it took too long",
        "the other end is gone",
        "this system cannot do that",
        "something else was found there",
        "others could read or change it",
        "it is not ready",
    };
    if (err > 0 || err <= -(int)ARRAY_LEN(reasons)) {
        return "nobody knows why";
    }
    return reasons[-err];
}

int err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return ERR_OK;
    case ENOMEM:
        return ERR_NOMEM;
    case ENAMETOOLONG:
    case EMSGSIZE:
    case E2BIG:
        return ERR_TOO_LARGE;
    case EINVAL:
    case EISDIR:
    case ENOEXEC:
    case ELOOP:
        return ERR_INVALID;
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EBUSY:
    case ETXTBSY:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return ERR_BUSY;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case ENOTCONN:
        return ERR_CLOSED;
    case ENOSYS:
    case EOPNOTSUPP:
        return ERR_UNSUPPORTED;
    case EAGAIN:
        return ERR_AGAIN;
    default:
        return ERR_IO;
    }
}

/* A cut in the middle of a character would make the sentence invalid UTF-8, and the JSON around it
 * unsendable; so would a file name in another encoding. */
static void clean(char *text, bool was_cut)
{
    size_t len = strlen(text);
    if (was_cut) {
        for (int back = 0; back < 4 && len > 0 && !str_is_utf8(text, len); back++) {
            text[--len] = '\0';
        }
    }
    bool utf8 = str_is_utf8(text, len);
    for (char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
            *p = '?';
        }
    }
}

void err_fill(struct err_text *text, const char *fmt, ...)
{
    if (text == NULL) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text->text, sizeof(text->text), fmt, args);
    va_end(args);
    if (n < 0) {
        text->text[0] = '\0';
        return;
    }
    clean(text->text, (size_t)n >= sizeof(text->text));
}

#include "issuer/reply.h"

int64_t reply_sent_wall(const struct reply *r)
{
    int64_t answered_wall_ms = r->server_wall_ms != 0 ? r->server_wall_ms : r->received_wall_ms;
    return answered_wall_ms - (r->received_boot_ms - r->sent_boot_ms);
}

int64_t reply_server_now(const struct reply *r, bool same_boot, int64_t now_boot_ms)
{
    if (r->server_wall_ms == 0 || !same_boot || now_boot_ms < r->received_boot_ms)
        return 0;
    /* An answer may have lain about before it was read (a suspend): its Date is from some moment
     * after the sending. Rather too late than too early: a token's life is measured by it. */
    int64_t since_boot_ms = r->sent_boot_ms != 0 ? r->sent_boot_ms : r->received_boot_ms;
    return r->server_wall_ms + (now_boot_ms - since_boot_ms);
}

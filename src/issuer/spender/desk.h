/*
 * The desk: the questions in hand, from the socket to the answer.
 *
 * The life of a spend here, and what a SIGKILL at each point leaves in its spool:
 *
 *   received    all memory for the answer is taken now, not later             PREPARED
 *   under way   names, connection, TLS, proxy                                 PREPARED
 *   marked      spool_start(), then the request leaves                        STARTED
 *   answered    parsed, sealed, written and synced: spool_answer()            STARTED or ANSWERED
 *   reported    the lock is dropped, then the daemon is told                  ANSWERED
 *
 * A question's time counts while we run: a turn that took much longer than it should have (we were
 * stopped, or the machine slept) counts as a short one, and what came meanwhile is read first.
 *
 * Nothing that may wait stands between "answered" and the sync: no name, no lock, no other
 * question. Where memory is too short to parse or seal an answer, it is kept as it came and tried
 * again, for READ_PATIENCE_MS. If the sync fails it is tried again; if that does not help, the
 * sealed answer goes to the daemon, which may have another disk; if the daemon is gone, it is tried
 * for SPOOL_PATIENCE_MS.
 */
#ifndef ISSUER_SPENDER_DESK_H
#define ISSUER_SPENDER_DESK_H

#include <stdbool.h>

#include "issuer/wire.h"

#define READ_PATIENCE_MS  (60 * INT64_C(1000))
#define SPOOL_TRIES       10  /* before the daemon is asked to take the answer itself */
#define RETRY_MS          100 /* between two tries of either */
#define SPOOL_PATIENCE_MS (10 * INT64_C(60000))
#define TURN_MAX_MS       20000 /* the loop comes around at least this often */
#define TURN_ASKING_MS    1000  /* … with a question under way */
#define BLIND_TURN_MS     50 /* … and this often, while it cannot be told when something comes */
#define WATCHDOG_S        120

struct desk_options {
    int socket_fd; /* the daemon; stays the caller's */
    int stop_fd;   /* readable: told to stop */
    bool verbose;
};

/* Says hello and serves until the daemon has hung up, or we were told to stop, and every spend in
 * hand is done. 0, or why it could not go on: ERR_INVALID (the daemon speaks nonsense; spends in
 * hand are done even so), ERR_NOMEM. */
int desk_run(const struct desk_options *o, const struct sandbox_facts *sandbox);

#endif

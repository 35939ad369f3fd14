/*
 * Places: where clients keep their copies, as the daemon works on them.
 *
 *     places.c    the list of them; orders of the core, watches, looks round
 *     act.c       one look or write, on a thread of its own for as long as it takes
 *     captures.c  what was found there, sealed: kept in the store, and what becomes of it
 *
 * One look or write of a place at a time; what is heard of it reaches the core in their order.
 */
#ifndef DAEMON_PLACES_H
#define DAEMON_PLACES_H

#include "daemon/daemon.h"
#include "replica/replica.h"
#include "sink/sink.h"
#include "sys/watch.h"

struct act;

struct place {
    struct daemon *d;
    uint64_t id;
    char profile[NAME_MAX_LEN + 1];
    char kind[STORE_KIND_MAX];
    char path[STORE_PLACE_MAX];
    bool with_pair;
    enum wish wish;                /* as stored */
    char before[NAME_MAX_LEN + 1]; /* whose it was before the last switch; "" */
    int64_t bound_wall_ms;
    const struct format *format; /* NULL: a sink, which only we write (src/sink) */
    struct replica *replica;
    char note_path[PATHS_SIZE + 64]; /* of the client's locks that we hold, for the next start */
    struct watch *watch;             /* NULL: it could not be watched, and is looked at instead */

    bool busy;        /* a look or write is under way, or what came of it is being stored */
    bool look_again;  /* something may have changed meanwhile */
    bool is_changing; /* a call that changes it is under way (serve_places.h) */
    bool gone;        /* no consumer any more: freed when it rests */
    bool is_void;     /* what is under way was ordered for another profile: nobody is told */
    bool is_stuck;    /* a lock of the client's could not be given back */
    bool has_order;   /* of the core: `order` */
    struct effect order;
    int64_t
        locked_since_boot_ms; /* for so long the order has been waiting for a lock; 0: it is not */
    bool waits;               /* for the timer: to try for the lock again, or to look */
    uv_timer_t again;
    char why[256]; /* what the last failure was; "" none since the last success */
    int64_t held_last_us, held_most_us; /* for how long we held the client's locks */
    uint64_t reads, writes;
    struct place *next;
};

/* act.c: begins the next look or write, if one is due and nothing is under way. */
void act_next(struct place *p);

void act_note_locks(void *place); /* called while they are taken, for the next start */

/* Something was found without being asked for: the next look takes its time, for a program that
 * writes without end shall cost others nothing. An order does not wait. */
void act_pause(struct place *p);

/* What came of it, for the core. */
void place_saw(struct place *p, bool asked, enum seen what, const struct pair *pair,
               uint64_t capture, bool spent);
void place_published(struct place *p, const struct pair *pair);
void place_failed(struct place *p, const char *why);
void place_rests(struct place *p); /* the last one is over */

/* captures.c. Keep what was found, then place_saw() and place_rests(). */
void capture_keep(struct place *p, bool asked, const struct copy *found, const struct pair *pair);
int captures_load(struct daemon *d, struct store *s);
void captures_start(struct daemon *d);
void captures_free(struct daemon *d);
/* The access token of a capture, to ask whose it is; NULL: it is not there any more. */
const struct secret *capture_access(struct daemon *d, uint64_t id);
void capture_named(struct daemon *d, uint64_t id, const char *subject, const char *label);

#endif

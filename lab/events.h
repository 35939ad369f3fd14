/*
 * The event log: what a test reads to prove what happened. One line a request, appended in the
 * same instant as the state change it tells of: whoever reads a line with "committed":true knows
 * that the commit has happened, though its answer may still be delayed or lost. The newest
 * EVENTS_MAX lines are kept; `dropped` says how many are gone. No token is in it, only short ids.
 */
#ifndef LAB_EVENTS_H
#define LAB_EVENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "lab/grants.h"

#define EVENTS_MAX       65536
#define EVENT_LINE_MAX   1024
#define EVENTS_READ_MAX  10000 /* lines in one answer */
#define EVENT_QUIRK_SIZE 128
#define EVENT_AGENT_SIZE 64

struct lab_event {
    uint64_t seq;       /* 1, 2, …; set by events_append() */
    int64_t arrived_ms; /* since the lab started: the request was complete */
    int64_t at_ms;      /* since the lab started: evaluated (or dropped, or answered without) */
    int64_t wall_ms;    /* Unix time of at_ms */
    const char *endpoint;
    uint32_t family;     /* 0: none */
    uint32_t generation; /* of the presented token; 0: not known */
    char presented[GRANT_ID_SIZE];
    char issued_access[GRANT_ID_SIZE];
    char issued_refresh[GRANT_ID_SIZE];
    const char *outcome;
    int status; /* of the answer; 0: the connection is closed without one */
    bool committed;
    bool rotated;
    bool reuse;
    bool family_revoked;
    uint32_t in_flight; /* requests to this endpoint for this family under way, this one included */
    char quirk[EVENT_QUIRK_SIZE]; /* the scripted keys at work, joined by '+'; "" none */
    char agent[EVENT_AGENT_SIZE]; /* User-Agent, printable, cut */
};

struct events {
    struct lab_event *ring;
    uint64_t last_seq;
    FILE *file; /* every line goes there too, at once; NULL none */
};

int events_init(struct events *e, FILE *file); /* `file` stays the caller's */
void events_release(struct events *e);

void events_append(struct events *e, struct lab_event *event);

/* Lines with seq > after, oldest first, at most EVENTS_READ_MAX. ERR_TOO_LARGE, ERR_NOMEM. */
int events_read(const struct events *e, uint64_t after, struct buf *out);
uint64_t events_dropped(const struct events *e);

#endif

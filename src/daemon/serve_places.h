/*
 * What serve_places.c and serve_use.c share: one change of a place, from the call to its answer.
 */
#ifndef DAEMON_SERVE_PLACES_H
#define DAEMON_SERVE_PLACES_H

#include "daemon/places.h"

enum change_kind { CHANGE_BIND, CHANGE_FOLDER, CHANGE_UNBIND, CHANGE_USE, CHANGE_BACK };

struct change {
    struct store_job job;
    struct daemon *d;
    enum change_kind kind;
    uint64_t waiter;
    struct consumer_row row; /* BIND: as it shall be; USE, BACK: id and profile */
    char from[NAME_MAX_LEN + 1];
    uint64_t given_away[4];
    size_t n_given_away;
    int64_t until_boot_ms; /* settling: for so long */
    bool has_place;        /* nobody else may change it until this is freed */
    char why[256];         /* BACK: what the switch failed for */
    struct change *next;   /* settling */
};

/* Waits for its answer from now on. NULL: it has been answered. */
struct change *change_new(struct daemon *d, struct api_call *call, enum change_kind kind,
                          const char *profile);
/* The place of c->row.id is this change's until it is freed. false: it is another's. */
bool change_takes(struct change *c, struct place *p);
void change_free(struct change *c);
/* The call, to be answered now; NULL: its peer left. */
struct api_call *change_call(struct change *c);
void change_problem(struct change *c, int err);
/* Frees it when it cannot be submitted, after an answer. */
void change_submit(struct change *c, int (*run)(struct store *, struct store_job *),
                   void (*done)(struct store_job *, int));
/* Looks again and again whether it has come about; for so long. */
void settle_later(struct change *c, int64_t patience_ms);

/* "claude:/home/u/.claude" of the query → its parts. false: the caller has been told. */
bool read_place(struct api_call *call, const char *key, char kind[STORE_KIND_MAX],
                char place[STORE_PLACE_MAX]);
void unknown_place(struct api_call *call, const char *kind, const char *place);
bool has_room_beside(const struct daemon *d, const char *profile);
/* Made by us, for `exec`: not a place that is meant where none is named. */
bool is_own_folder(const struct daemon *d, const struct place *p);

/* serve_use.c. The pair stands there: who is signed in now? Or it cannot be done. Both free it. */
void use_verify(struct change *c, struct place *p);
void use_take_back(struct change *c, const char *why);

#endif

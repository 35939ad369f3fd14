/*
 * Every decision of the simulated world is one draw. A draw has an address: the site (what is
 * decided), a part (about whom) and how many draws that site and part have seen. Zero is always the
 * dull outcome: no fault, nothing happens, the shortest delay.
 *
 * Most runs take their draws straight from a seeded generator. A run that failed is run again with
 * a tape that writes down every draw that was not zero; such a tape can be thinned out draw by
 * draw, and replayed: what is not on it is zero. So a shrunken story says only what matters, and a
 * draw that a later version of the world adds shifts no other.
 */
#ifndef SIM_DRAW_H
#define SIM_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum site {
    SITE_SIZE,  /* how many of what there are */
    SITE_MIX,   /* which faults this run knows, and how often */
    SITE_RULES, /* what a provider is like */
    SITE_START, /* what the store begins with */
    SITE_ORDER, /* in which order the effects of one step are carried out */
    SITE_LATE,  /* how late a timer is */
    SITE_STORE, /* how long a write takes */
    SITE_STORE_FAULT,
    SITE_TRAVEL,  /* how long a request is under way */
    SITE_FATE,    /* what becomes of a spend */
    SITE_ANSWER,  /* what its answer says */
    SITE_ASK,     /* what becomes of a question */
    SITE_SPENDER, /* how the spender fares */
    SITE_CRASH,   /* between two effects */
    SITE_LOST,    /* what a crash leaves behind */
    SITE_DOWN,    /* for how long */
    SITE_ACT,     /* what people do next */
    SITE_ACT_GAP, /* and when */
    SITE_WISH,    /* what a caller wants */
    SITE_ADD,     /* what is added */
    SITE_WEATHER, /* what befalls machines */
    SITE_WEATHER_GAP,
    SITE_PLACE,   /* how the reading and writing of a place goes */
    SITE_SIBLING, /* what a sibling does */
    SITE_SIBLING_GAP,
    SITE_FLEET,
    SITE_COUNT
};

#define DRAW_PARTS 64

struct decision {
    uint8_t site;
    uint8_t part;
    uint16_t nth;
    uint32_t value; /* not 0 */
};

#define TAPE_MAX 65536

struct tape {
    bool replays; /* else it is being written */
    size_t n;
    struct decision list[TAPE_MAX];
    uint16_t nth[SITE_COUNT][DRAW_PARTS]; /* draws so far */
    uint32_t index[2 * TAPE_MAX];         /* of a replay: open addressing, place + 1 */
};

struct draws {
    uint64_t state;
    struct tape *tape; /* NULL: none */
};

void tape_rewind(struct tape *t, bool replays); /* to its beginning; keeps the list of a replay */
const char *site_name(enum site site);
int site_parse(const char *name, enum site *ret);

uint32_t draw_taped(struct draws *d, enum site site, unsigned part, uint32_t drawn);

static inline uint64_t draw_bits(struct draws *d)
{
    /* splitmix64: any seed is good */
    uint64_t z = (d->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* [0, limit); limit 0 or 1: 0. */
static inline uint32_t draw(struct draws *d, enum site site, unsigned part, uint32_t limit)
{
    if (limit < 2)
        return 0;
    uint32_t drawn = (uint32_t)(((draw_bits(d) >> 32) * limit) >> 32);
    if (d->tape)
        drawn = draw_taped(d, site, part, drawn) % limit;
    return drawn;
}

/* `rate` in 1024. */
static inline bool chance(struct draws *d, enum site site, unsigned part, uint32_t rate)
{
    if (rate == 0)
        return false;
    uint32_t drawn = (draw_bits(d) >> 54) < rate;
    if (d->tape)
        drawn = draw_taped(d, site, part, drawn);
    return drawn != 0;
}

#endif

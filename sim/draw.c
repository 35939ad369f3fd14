/*
 * The tape: draws written down, found again by their address.
 */
#include "sim/draw.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"

static const char *const names[SITE_COUNT] = {
    [SITE_SIZE] = "size",
    [SITE_MIX] = "mix",
    [SITE_RULES] = "rules",
    [SITE_START] = "start",
    [SITE_ORDER] = "order",
    [SITE_LATE] = "late",
    [SITE_STORE] = "store",
    [SITE_STORE_FAULT] = "store-fault",
    [SITE_TRAVEL] = "travel",
    [SITE_FATE] = "fate",
    [SITE_ANSWER] = "answer",
    [SITE_ASK] = "ask",
    [SITE_SPENDER] = "spender",
    [SITE_CRASH] = "crash",
    [SITE_LOST] = "lost",
    [SITE_DOWN] = "down",
    [SITE_ACT] = "act",
    [SITE_ACT_GAP] = "act-gap",
    [SITE_WISH] = "wish",
    [SITE_ADD] = "add",
    [SITE_WEATHER] = "weather",
    [SITE_WEATHER_GAP] = "weather-gap",
    [SITE_PLACE] = "place",
    [SITE_SIBLING] = "sibling",
    [SITE_SIBLING_GAP] = "sibling-gap",
    [SITE_FLEET] = "fleet",
};

const char *site_name(enum site site)
{
    return names[site];
}

int site_parse(const char *name, enum site *ret)
{
    for (unsigned i = 0; i < SITE_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (enum site)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

/* Where the index has this address, or the empty place where it would stand. */
static uint32_t *place_of(struct tape *t, unsigned site, unsigned part, unsigned nth)
{
    uint32_t key = site << 24 ^ part << 16 ^ nth;
    uint32_t at = (key * UINT32_C(2654435761)) % ARRAY_LEN(t->index);
    while (t->index[at] != 0) {
        const struct decision *d = &t->list[t->index[at] - 1];
        if (d->site == site && d->part == part && d->nth == nth)
            break;
        at = (at + 1) % ARRAY_LEN(t->index);
    }
    return &t->index[at];
}

void tape_rewind(struct tape *t, bool replays)
{
    memset(t->nth, 0, sizeof(t->nth));
    memset(t->index, 0, sizeof(t->index));
    t->replays = replays;
    if (!replays)
        t->n = 0;
    for (size_t i = 0; i < t->n; i++)
        *place_of(t, t->list[i].site, t->list[i].part, t->list[i].nth) = (uint32_t)i + 1;
}

uint32_t draw_taped(struct draws *d, enum site site, unsigned part, uint32_t drawn)
{
    struct tape *t = d->tape;
    part %= DRAW_PARTS;
    uint16_t nth = t->nth[site][part]++;
    if (t->replays) {
        uint32_t at = *place_of(t, site, part, nth);
        return at == 0 ? 0 : t->list[at - 1].value;
    }
    if (drawn != 0 && t->n < TAPE_MAX)
        t->list[t->n++] = (struct decision){(uint8_t)site, (uint8_t)part, nth, drawn};
    return drawn;
}

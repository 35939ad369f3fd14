/*
 * Shrinking by leaving out: whole kinds of draws first (a fault that never comes, an act that is
 * never done), then ever smaller pieces of the list. What is left out becomes the dull zero, and
 * because draws are found by their address, the rest of the story stays what it was.
 */
#include "sim/shrink.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static struct tape tried;

static bool still_breaks(struct world *w, uint64_t seed, const char *oracle)
{
    struct outcome o;
    tape_rewind(&tried, true);
    run(w, seed, &tried, NULL, &o);
    return o.failed && strcmp(o.oracle, oracle) == 0;
}

/* Keeps the shorter list where it still breaks. */
static bool without(struct world *w, uint64_t seed, const char *oracle, struct tape *tape,
                    bool (*leaves_out)(const struct decision *, size_t at, const size_t arg[2]),
                    const size_t arg[2])
{
    tried.n = 0;
    for (size_t i = 0; i < tape->n; i++) {
        if (!leaves_out(&tape->list[i], i, arg))
            tried.list[tried.n++] = tape->list[i];
    }
    if (tried.n == tape->n || !still_breaks(w, seed, oracle))
        return false;
    memcpy(tape->list, tried.list, tried.n * sizeof(tried.list[0]));
    tape->n = tried.n;
    return true;
}

static bool is_of_site(const struct decision *d, size_t at, const size_t arg[2])
{
    (void)at;
    return d->site == arg[0];
}

static bool is_of_part(const struct decision *d, size_t at, const size_t arg[2])
{
    (void)at;
    return d->site == arg[0] && d->part == arg[1];
}

static bool is_in_piece(const struct decision *d, size_t at, const size_t arg[2])
{
    (void)d;
    return at >= arg[0] && at < arg[0] + arg[1];
}

static bool by_pieces(struct world *w, uint64_t seed, const char *oracle, struct tape *tape)
{
    bool any = false;
    for (size_t piece = (tape->n + 1) / 2; piece > 0; piece /= 2) {
        for (size_t from = 0; from < tape->n;) {
            bool shorter = without(w, seed, oracle, tape, is_in_piece, (size_t[]){from, piece});
            any = any || shorter;
            from += shorter ? 0 : piece;
        }
    }
    return any;
}

/* Smaller numbers read better. */
static void by_value(struct world *w, uint64_t seed, const char *oracle, struct tape *tape)
{
    for (size_t i = 0; i < tape->n; i++) {
        while (tape->list[i].value > 1) {
            memcpy(tried.list, tape->list, tape->n * sizeof(tape->list[0]));
            tried.n = tape->n;
            tried.list[i].value /= 2;
            if (!still_breaks(w, seed, oracle))
                break;
            tape->list[i].value /= 2;
        }
    }
}

void shrink(struct world *w, uint64_t seed, const char *oracle, struct tape *tape)
{
    for (size_t site = 0; site < SITE_COUNT; site++) {
        (void)without(w, seed, oracle, tape, is_of_site, (size_t[]){site, 0});
        for (size_t part = 0; part < DRAW_PARTS; part++)
            (void)without(w, seed, oracle, tape, is_of_part, (size_t[]){site, part});
    }
    while (by_pieces(w, seed, oracle, tape))
        ;
    by_value(w, seed, oracle, tape);
    tape_rewind(tape, true);
}

void tape_save(const struct tape *tape, uint64_t seed, FILE *out)
{
    (void)fprintf(out, "seed %" PRIu64 "\n", seed);
    for (size_t i = 0; i < tape->n; i++) {
        const struct decision *d = &tape->list[i];
        (void)fprintf(out, "%s %u %u %" PRIu32 "\n", site_name((enum site)d->site), d->part, d->nth,
                      d->value);
    }
}

static bool read_number(char **at, uint64_t max, uint64_t *ret)
{
    char *end;
    *ret = strtoull(*at, &end, 10);
    bool good = end != *at && *ret <= max;
    *at = end;
    return good;
}

/* "site part nth value" */
static int decision_parse(char *line, struct decision *ret)
{
    enum site site;
    uint64_t part, nth, value;
    char *at = strchr(line, ' ');
    if (!at)
        return ERR_INVALID;
    *at++ = '\0';
    if (site_parse(line, &site) < 0 || !read_number(&at, DRAW_PARTS - 1, &part) ||
        !read_number(&at, UINT16_MAX, &nth) || !read_number(&at, UINT32_MAX, &value))
        return ERR_INVALID;
    *ret = (struct decision){(uint8_t)site, (uint8_t)part, (uint16_t)nth, (uint32_t)value};
    return 0;
}

int tape_load(FILE *in, struct tape *ret, uint64_t *ret_seed)
{
    char line[512];
    ret->n = 0;
    *ret_seed = 0;
    while (fgets(line, sizeof(line), in)) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (strncmp(line, "seed ", 5) == 0) {
            char *at = line + 5;
            if (!read_number(&at, UINT64_MAX, ret_seed))
                return ERR_INVALID;
            continue;
        }
        if (ret->n == TAPE_MAX || decision_parse(line, &ret->list[ret->n]) < 0)
            return ERR_INVALID;
        ret->n++;
    }
    tape_rewind(ret, true);
    return 0;
}

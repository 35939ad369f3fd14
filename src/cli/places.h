/*
 * Clients' places, as people write them on the command line.
 */
#ifndef CLI_PLACES_H
#define CLI_PLACES_H

#include "cli/command.h"

/* For each place that `text` stands for: KIND, in the client's usual folder (by its own environment
 * variables), KIND:DIR, or KIND:PATTERN for all folders that match. `do_one` gets "KIND:DIR" with
 * an absolute path. Goes on after a failure; the first one's code. */
enum exit_code each_place(const struct invocation *in, const char *text,
                          enum exit_code (*do_one)(const struct invocation *in, const char *place));

/* A client's store, as `add --from` names it: KIND, or KIND:DIR. `kind` is "" where the text is of
 * another shape, and then it is a path. */
struct client_file {
    char kind[32];
    char path[4096 + 64];
};
enum exit_code client_file_find(const char *text, struct client_file *ret);

#endif

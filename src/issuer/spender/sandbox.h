/*
 * The spender's cage, entered before the first question is read, so before any token or any
 * provider's byte is here. What remains possible is what asking a provider takes: outgoing TCP and
 * UDP, reading of certificates and of the name service's files, writing to descriptors that were
 * handed in, threads of its own (libcurl looks names up in one).
 *
 * Not possible: starting programs, opening a file for writing, listening, unix sockets (so neither
 * the daemon's API nor a session bus or an agent), tracing or signalling other processes, and with
 * Landlock, reading anything outside the folders listed in sandbox.c: not the home folder, not the
 * vault key.
 */
#ifndef ISSUER_SPENDER_SANDBOX_H
#define ISSUER_SPENDER_SANDBOX_H

#include "base/err.h"
#include "issuer/wire.h"

/* Shuts the process in, for good. What the kernel lacks is missing in `*ret`, and is no error: a
 * credential that dies for want of a seccomp would help nobody; the daemon shows it in `status`.
 * ERR_NOMEM: the kernel might have it, but memory or descriptors did not suffice. Calls that the
 * process needs may then be forbidden: it is fit for nothing but _exit().
 * Single-threaded callers only. */
int sandbox_enter(struct sandbox_facts *ret);

#endif

/*
 * What the daemon answers, and how it reads. This list is the contract for the JSON that the
 * daemon gives to api_reply() and api_stream_send(); openapi.json says the same as JSON Schema.
 * Every member is always there; "|null" is the only way to say "not known" or "none".
 *
 *   time   RFC 3339 in UTC with seconds (wall_format()); never "-"
 *   fp     first 10 hex digits of a fingerprint (fp_format_short())
 *   id     of a lineage: 16 hex digits
 *   ms     milliseconds, an integer
 *   names  of enums: as in base/words.h
 *
 * Version (version)
 *     version, pid, started_at time, binary_replaced bool
 * Status (status)
 *     daemon {version, pid, started_at time, uptime_ms, binary_replaced bool, memory_locked bool,
 *       stopping bool, restored bool, sandbox text: the spender's, "" before its first start}
 *     profiles [Profile]
 *     alarms [{profile text|null, alarm name, since time, detail text}]
 * Profiles (list)
 *     profiles [Profile]
 * Profile (show)
 *     name, provider, subject text|null, label text|null, state text: the core's own,
 *     standing name, policy name, generation int, access_fingerprint fp|null,
 *     refresh_fingerprint fp|null: null for a static pair, expires_at time|null,
 *     left_ms ms|null: negative when it is over, next_spend_in_ms ms|null: null when none is
 *     planned, login_deadline time|null, in_doubt_since time|null, tries int, waiters int,
 *     alarms [name], created_at time, lineage id
 * Added (add)
 *     name, lineage id, subject text|null, label text|null, standing name, policy name,
 *     note text|null
 * Done (remove, policy, rename, stop, reload)
 *     done text: one sentence
 * Token (token)
 *     access_token, name, generation int, expires_at time|null, expires_in_ms ms|null
 * Renewed (renew)
 *     name, generation int, expires_at time|null, left_ms ms|null
 * Reported (report)
 *     name, works text: what the server says of the token; or as Renewed, when there is a new one
 * History (history)
 *     name
 *     lineages [{lineage id, entries [Entry], in order of time}], newest first
 *     verdict text|null: who killed this token, in one sentence
 * Entry
 *     at time, kind "pair"|"spend", generation int, access_fingerprint fp|null,
 *     refresh_fingerprint fp|null: of a spend the one presented, parent_fingerprint fp|null,
 *     origin name|null: of a pair, source text|null: who obtained the pair, or the spend's cause,
 *     expires_at time|null, outcome verdict|null: null for a pair, and while there is no answer,
 *     replay bool, detail text|null, closed_at time|null, took_ms ms|null
 * Usage (usage)
 *     name, utilization {limit: percent used, a number}, asked_at time
 * Event (events, one each)
 *     id int, at time, kind text, profile text|null, lineage id|null, detail text
 * Findings (doctor)
 *     findings [{about text, what text, mend text|null}]
 * Consumer (bind; consumers: {consumers [Consumer]})
 *     kind text, place text, profile, mode "pair"|"access", state name, detail text|null,
 *     wish name, before name|null, access_fingerprint fp|null, refresh_fingerprint fp|null,
 *     locks_held_us int, locks_held_most_us int, writes int
 * Folder (folder)
 *     variable text, folder text: what a client is to be started with, state name
 * Switched (use)
 *     kind text, place text, profile, before; done: verified bool, subject text|null,
 *     label text|null; not done: dry_run true
 * BackedUp (backup)
 *     path, bytes int
 */
#ifndef API_TEXT_H
#define API_TEXT_H

#include <jansson.h>

#include "api/api.h"
#include "base/buf.h"

/* The answer of `op` for people, ending in a line feed. What is missing or of another shape reads
 * "-": a rendering never fails but for want of room (ERR_TOO_LARGE, ERR_NOMEM). */
int text_render(enum operation op, const json_t *json, struct buf *out);

/* One event, one line. */
int text_event(const json_t *event, struct buf *out);

/* Text from outside, with whatever could play tricks on a terminal replaced by '?': control
 * characters (C0, DEL, C1), bidirectional overrides, and bytes that are not UTF-8. */
int text_add_clean(struct buf *out, const char *text);

/* Columns a text takes on a terminal: code points, counted. */
size_t text_width(const char *text, size_t len);

#endif

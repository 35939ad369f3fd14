/*
 * What the daemon answers, and how it reads. This table is the contract for the JSON that the
 * daemon gives to api_reply() and api_stream_send(); openapi.json says the same as JSON Schema.
 * Every member is always there; "|null" is the only way to say "not known" or "none".
 *
 *   time   RFC 3339 in UTC with seconds (wall_format()); never "-"
 *   fp     first 10 hex digits of a fingerprint (fp_format_short())
 *   ms     milliseconds, an integer
 *   names  of enums: as in base/words.h
 *
 * | operation     | answer   | members |
 * |---------------|----------|---------|
 * | version       | Version  | version, pid, started_at time, binary_replaced bool |
 * | status        | Status   | daemon {version, pid, started_at time, uptime_ms, binary_replaced,
 * |               |          | memory_locked, stopping, restored: bool}, profiles [Profile],
 * |               |          | alarms [{profile text|null, alarm name, since time, detail text}] |
 * | list          | Profiles | profiles [Profile] |
 * | show          | Profile  | name, provider, subject text|null, label text|null, state text (the
 * |               |          | core's own), standing name, policy name, generation int,
 * |               |          | access_fingerprint fp|null, refresh_fingerprint fp|null (null: a
 * |               |          | static pair), expires_at time|null, left_ms ms|null (negative: over
 * |               |          | since), next_spend_in_ms ms|null (null: none is planned),
 * |               |          | login_deadline time|null, in_doubt_since time|null, tries int,
 * |               |          | waiters int, alarms [name], created_at time, lineage 16 hex |
 * | add           | Added    | name, lineage 16 hex, subject text|null, label text|null, standing
 * |               |          | name, policy name, note text|null |
 * | remove, policy, rename, stop, reload | Done | done text: one sentence, past tense |
 * | token         | Token    | access_token, expires_at time|null, expires_in_ms ms|null |
 * | renew         | Renewed  | name, generation int, expires_at time|null, left_ms ms|null |
 * | history       | History  | name, lineages [{lineage 16 hex, entries [Entry]}] newest lineage
 * |               |          | first, verdict text|null: who killed this token, in one sentence |
 * |               | Entry    | at time, kind "pair"|"spend", generation int, access_fingerprint
 * |               |          | fp|null, refresh_fingerprint fp|null (spend: the one presented),
 * |               |          | parent_fingerprint fp|null, origin name|null (pair), source
 * |               |          | text|null (pair: who obtained it; spend: its cause), expires_at
 * |               |          | time|null, outcome verdict name|null (null: not a spend, or no
 * answer |               |          | yet), replay bool, detail text|null, closed_at time|null,
 * took_ms |               |          | ms|null. In order of time | | usage         | Usage    |
 * name, utilization {path: number, percent}, asked_at time | | events        | Event    | one an
 * event: id int, at time, kind text, profile text|null, lineage |               |          | 16
 * hex|null, detail text | | backup        | BackedUp | path, bytes int | | openapi       | |
 * src/api/openapi.json |
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

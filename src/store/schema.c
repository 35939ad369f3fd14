/*
 * The schema, as steps from one version to the next, and our own rules over it.
 *
 * A step is never edited once it was released: a change is a new step at the end. Enums are stored
 * by their names (base/words.h), 64-bit ids in two's complement, times as Unix milliseconds, "none"
 * as NULL for fingerprints and 0 for times.
 *
 *   store            one row: who this store is, the count behind the high-water mark
 *   lineage          where each lineage stands; `generation` names its current pair
 *   sealed           token bytes, of current pairs only: the one table whose rows are wiped
 *   pair, spend      the ledger: kept for good, fingerprints only
 *   profile          name → lineage; profile_lineage remembers what a name pointed at before
 *   consumer         places of clients, of a profile; capture: sealed bytes found in them
 *   alarm, event     for people; bounded
 *   meta             small named values
 */
#include "store/internal.h"

#include "base/check.h"

#define STANDINGS "('unproven','live','in-doubt','dead','quarantined','retired')"
#define POLICIES  "('never','standby','always')"
#define ORIGINS   "('added','spent','recovered','adopted')"
#define VERDICTS  "('granted','refused','throttled','unsent','uncommitted','in-doubt')"

static const char version_1[] =
    "CREATE TABLE store ("
    "  one INTEGER PRIMARY KEY CHECK (one = 1),"
    "  uuid BLOB NOT NULL CHECK (length(uuid) = 16),"
    "  spends INTEGER NOT NULL CHECK (spends >= 0),"
    "  restored INTEGER NOT NULL CHECK (restored IN (0, 1))"
    ") STRICT;"
    "INSERT INTO store VALUES (1, randomblob(16), 0, 0);"

    "CREATE TABLE meta ("
    "  key TEXT PRIMARY KEY CHECK (key <> ''),"
    "  value BLOB NOT NULL"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE lineage ("
    "  id INTEGER PRIMARY KEY CHECK (id <> 0),"
    "  provider TEXT NOT NULL CHECK (length(provider) BETWEEN 1 AND 64),"
    "  definition BLOB NOT NULL,"
    "  standing TEXT NOT NULL CHECK (standing IN " STANDINGS "),"
    "  subject BLOB CHECK (length(subject) = 16),"
    "  subject_text TEXT NOT NULL,"
    "  label TEXT NOT NULL,"
    "  generation INTEGER NOT NULL CHECK (generation >= 1),"
    "  fence INTEGER NOT NULL,"
    "  held_until INTEGER NOT NULL,"
    "  doubt_since INTEGER NOT NULL,"
    "  replayed INTEGER NOT NULL CHECK (replayed IN (0, 1)),"
    "  wanted_profile TEXT NOT NULL CHECK (length(wanted_profile) <= 64),"
    "  wanted_policy TEXT NOT NULL CHECK (wanted_policy IN " POLICIES "),"
    "  created INTEGER NOT NULL,"
    "  retired INTEGER NOT NULL,"
    "  retired_why TEXT NOT NULL,"
    "  CHECK (standing = 'in-doubt' OR doubt_since = 0),"
    "  CHECK (standing = 'retired' OR retired = 0),"
    "  FOREIGN KEY (id, generation) REFERENCES pair (lineage, generation)"
    "    DEFERRABLE INITIALLY DEFERRED"
    ") STRICT;"

    "CREATE TABLE pair ("
    "  lineage INTEGER NOT NULL REFERENCES lineage (id),"
    "  generation INTEGER NOT NULL CHECK (generation >= 1),"
    "  access BLOB CHECK (length(access) = 16),"
    "  refresh BLOB CHECK (length(refresh) = 16),"
    "  parent BLOB CHECK (length(parent) = 16),"
    "  expires INTEGER NOT NULL,"
    "  life INTEGER NOT NULL,"
    "  login_deadline INTEGER NOT NULL,"
    "  expires_boot INTEGER NOT NULL,"
    "  boot_id TEXT NOT NULL CHECK (length(boot_id) <= 36),"
    "  origin TEXT NOT NULL CHECK (origin IN " ORIGINS "),"
    "  source TEXT NOT NULL,"
    "  obtained INTEGER NOT NULL,"
    "  PRIMARY KEY (lineage, generation)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX pair_by_access ON pair (access) WHERE access IS NOT NULL;"
    "CREATE INDEX pair_by_refresh ON pair (refresh) WHERE refresh IS NOT NULL;"

    "CREATE TABLE sealed ("
    "  lineage INTEGER PRIMARY KEY,"
    "  generation INTEGER NOT NULL,"
    "  bytes BLOB NOT NULL CHECK (length(bytes) BETWEEN 1 AND 65536),"
    "  FOREIGN KEY (lineage, generation) REFERENCES pair (lineage, generation)"
    ") STRICT;"

    "CREATE TABLE spend ("
    "  seq INTEGER PRIMARY KEY,"
    "  intent INTEGER NOT NULL UNIQUE CHECK (intent <> 0),"
    "  lineage INTEGER NOT NULL,"
    "  generation INTEGER NOT NULL,"
    "  presented BLOB NOT NULL CHECK (length(presented) = 16),"
    "  fence INTEGER NOT NULL,"
    "  replay INTEGER NOT NULL CHECK (replay IN (0, 1)),"
    "  boot_id TEXT NOT NULL CHECK (length(boot_id) <= 36),"
    "  cause TEXT NOT NULL,"
    "  begun INTEGER NOT NULL,"
    "  verdict TEXT CHECK (verdict IN " VERDICTS "),"
    "  closed INTEGER NOT NULL,"
    "  detail TEXT NOT NULL,"
    "  FOREIGN KEY (lineage, generation) REFERENCES pair (lineage, generation)"
    ") STRICT;"
    "CREATE INDEX spend_by_pair ON spend (lineage, generation);"
    "CREATE UNIQUE INDEX spend_open ON spend (lineage) WHERE verdict IS NULL;"

    "CREATE TABLE profile ("
    "  name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),"
    "  lineage INTEGER NOT NULL UNIQUE REFERENCES lineage (id),"
    "  policy TEXT NOT NULL CHECK (policy IN " POLICIES "),"
    "  created INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE profile_lineage ("
    "  seq INTEGER PRIMARY KEY,"
    "  profile TEXT NOT NULL,"
    "  lineage INTEGER NOT NULL REFERENCES lineage (id),"
    "  since INTEGER NOT NULL,"
    "  UNIQUE (profile, lineage)"
    ") STRICT;"

    "CREATE TABLE alarm ("
    "  seq INTEGER PRIMARY KEY,"
    "  lineage INTEGER REFERENCES lineage (id),"
    "  kind TEXT NOT NULL,"
    "  raised INTEGER NOT NULL,"
    "  cleared INTEGER,"
    "  detail TEXT NOT NULL"
    ") STRICT;"
    "CREATE UNIQUE INDEX alarm_open ON alarm (ifnull(lineage, 0), kind) WHERE cleared IS NULL;"

    "CREATE TABLE event ("
    "  id INTEGER PRIMARY KEY,"
    "  wall INTEGER NOT NULL,"
    "  lineage INTEGER," /* no reference: the journal may tell of what the store never had */
    "  profile TEXT NOT NULL,"
    "  kind TEXT NOT NULL,"
    "  detail TEXT NOT NULL"
    ") STRICT;";

/* And each page of the file has a sum since then (sums.c). */
static const char version_2[] = "ALTER TABLE store RENAME COLUMN spends TO changes;";

/* Clients' places, and what is found in them. `aside_doubt`: a lineage that was set aside in doubt
 * has been so since then. */
static const char version_3[] =
    "ALTER TABLE lineage ADD COLUMN doubt INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE lineage ADD COLUMN aside_doubt INTEGER NOT NULL DEFAULT 0"
    "  CHECK (aside_doubt = 0 OR standing = 'quarantined');"
    "ALTER TABLE lineage ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0 CHECK (claimed IN (0, 1));"
    "ALTER TABLE lineage ADD COLUMN kept INTEGER NOT NULL DEFAULT 0 CHECK (kept IN (0, 1));"
    "ALTER TABLE lineage ADD COLUMN given_away INTEGER NOT NULL DEFAULT 0"
    "  CHECK (given_away IN (0, 1));"
    "UPDATE lineage SET doubt = ifnull((SELECT s.intent FROM spend AS s"
    "  WHERE s.lineage = lineage.id AND s.generation = lineage.generation"
    "  AND s.verdict = 'in-doubt' ORDER BY s.seq DESC LIMIT 1), 0)"
    "  WHERE standing = 'in-doubt';"
    "CREATE INDEX spend_by_presented ON spend (presented);"

    "CREATE TABLE consumer ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT," /* a capture may name one that is gone */
    "  profile TEXT NOT NULL REFERENCES profile (name) ON UPDATE CASCADE ON DELETE CASCADE,"
    "  kind TEXT NOT NULL CHECK (length(kind) BETWEEN 1 AND 15),"
    "  place TEXT NOT NULL CHECK (length(place) BETWEEN 1 AND 4095),"
    "  with_pair INTEGER NOT NULL CHECK (with_pair IN (0, 1)),"
    "  wish TEXT NOT NULL CHECK (wish IN ('none','fill','replace')),"
    "  before TEXT NOT NULL CHECK (length(before) <= 64),"
    "  bound INTEGER NOT NULL,"
    "  UNIQUE (kind, place)"
    ") STRICT;"
    "CREATE INDEX consumer_by_profile ON consumer (profile);"

    "CREATE TABLE capture ("
    "  id INTEGER PRIMARY KEY CHECK (id <> 0),"
    "  consumer INTEGER NOT NULL,"
    "  lineage INTEGER NOT NULL REFERENCES lineage (id),"
    "  access BLOB CHECK (length(access) = 16),"
    "  refresh BLOB CHECK (length(refresh) = 16),"
    "  expires INTEGER NOT NULL,"
    "  life INTEGER NOT NULL,"
    "  login_deadline INTEGER NOT NULL,"
    "  source TEXT NOT NULL,"
    "  seen INTEGER NOT NULL,"
    "  bytes BLOB NOT NULL CHECK (length(bytes) BETWEEN 1 AND 65536)"
    ") STRICT;"
    "CREATE INDEX capture_by_access ON capture (access);"
    "CREATE INDEX capture_by_lineage ON capture (lineage);";

static const char *const steps[] = {version_1, version_2, version_3};
const struct store_schema store_schema = {.steps = steps, .n = ARRAY_LEN(steps)};

/* What must hold and SQLite does not see to, or would not notice when its own index is wrong: each
 * counts the rows that break it. */
static const struct rule {
    const char *count_sql;
    const char *broken;
} rules[] = {
    {"SELECT count(*) <> 1 FROM store", "the store's own row is missing"},
    {"SELECT count(*) FROM lineage AS l WHERE NOT EXISTS (SELECT 1 FROM pair AS p"
     "  WHERE p.lineage = l.id AND p.generation = l.generation)",
     "a lineage has no current pair"},
    {"SELECT count(*) FROM pair AS p JOIN lineage AS l ON l.id = p.lineage"
     "  WHERE p.generation > l.generation",
     "a pair is newer than the current one of its lineage"},
    {"SELECT count(*) FROM lineage AS l LEFT JOIN sealed AS z"
     "  ON z.lineage = l.id AND z.generation = l.generation"
     "  WHERE (l.standing = 'retired') = (z.lineage IS NOT NULL)",
     "a lineage has lost its sealed pair, or a retired one still has it"},
    {"SELECT count(*) FROM profile AS f LEFT JOIN lineage AS l ON l.id = f.lineage"
     "  WHERE l.id IS NULL OR l.standing = 'retired'",
     "a profile points at no lineage"},
    {"SELECT count(*) FROM (SELECT 1 FROM spend NOT INDEXED WHERE verdict IS NULL"
     "  GROUP BY lineage HAVING count(*) > 1)",
     "a lineage has two open intents"},
    {"SELECT count(*) FROM spend AS s NOT INDEXED JOIN lineage AS l ON l.id = s.lineage"
     "  WHERE s.verdict IS NULL AND (s.generation <> l.generation OR l.standing = 'retired')",
     "an open intent is not for the current pair of its lineage"},
    {"SELECT count(*) FROM (SELECT 1 FROM consumer NOT INDEXED GROUP BY kind, place"
     "  HAVING count(*) > 1)",
     "two consumers have one place"},
    {"SELECT count(*) FROM pragma_foreign_key_check", "a row points at one that is not there"},
};

int store_check_rules(struct store *s, struct err_text *text)
{
    for (const struct rule *rule = rules; rule < rules + ARRAY_LEN(rules); rule++) {
        int64_t broken = 0;
        int err = sql_number(s, rule->count_sql, SQL_NO_ARGS, &broken);
        if (err < 0) {
            return sql_say(s, err, "checked", text);
        }
        if (broken > 0) {
            return err_say(text, ERR_CORRUPT, "%s contradicts itself: %s; " STORE_WAY_OUT, s->path,
                           rule->broken);
        }
    }
    return 0;
}

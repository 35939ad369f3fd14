-- The first version of the store, as it was released (src/store/schema.c).
CREATE TABLE store (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  uuid BLOB NOT NULL CHECK (length(uuid) = 16),
  spends INTEGER NOT NULL CHECK (spends >= 0),
  restored INTEGER NOT NULL CHECK (restored IN (0, 1))
) STRICT;
INSERT INTO store VALUES (1, randomblob(16), 0, 0);

CREATE TABLE meta (
  key TEXT PRIMARY KEY CHECK (key <> ''),
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lineage (
  id INTEGER PRIMARY KEY CHECK (id <> 0),
  provider TEXT NOT NULL CHECK (length(provider) BETWEEN 1 AND 64),
  definition BLOB NOT NULL,
  standing TEXT NOT NULL CHECK (standing IN ('unproven','live','in-doubt','dead','quarantined','retired')),
  subject BLOB CHECK (length(subject) = 16),
  subject_text TEXT NOT NULL,
  label TEXT NOT NULL,
  generation INTEGER NOT NULL CHECK (generation >= 1),
  fence INTEGER NOT NULL,
  held_until INTEGER NOT NULL,
  doubt_since INTEGER NOT NULL,
  replayed INTEGER NOT NULL CHECK (replayed IN (0, 1)),
  wanted_profile TEXT NOT NULL CHECK (length(wanted_profile) <= 64),
  wanted_policy TEXT NOT NULL CHECK (wanted_policy IN ('never','standby','always')),
  created INTEGER NOT NULL,
  retired INTEGER NOT NULL,
  retired_why TEXT NOT NULL,
  CHECK (standing = 'in-doubt' OR doubt_since = 0),
  CHECK (standing = 'retired' OR retired = 0),
  FOREIGN KEY (id, generation) REFERENCES pair (lineage, generation)
    DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE TABLE pair (
  lineage INTEGER NOT NULL REFERENCES lineage (id),
  generation INTEGER NOT NULL CHECK (generation >= 1),
  access BLOB CHECK (length(access) = 16),
  refresh BLOB CHECK (length(refresh) = 16),
  parent BLOB CHECK (length(parent) = 16),
  expires INTEGER NOT NULL,
  life INTEGER NOT NULL,
  login_deadline INTEGER NOT NULL,
  expires_boot INTEGER NOT NULL,
  boot_id TEXT NOT NULL CHECK (length(boot_id) <= 36),
  origin TEXT NOT NULL CHECK (origin IN ('added','spent','recovered','adopted')),
  source TEXT NOT NULL,
  obtained INTEGER NOT NULL,
  PRIMARY KEY (lineage, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX pair_by_access ON pair (access) WHERE access IS NOT NULL;
CREATE INDEX pair_by_refresh ON pair (refresh) WHERE refresh IS NOT NULL;

CREATE TABLE sealed (
  lineage INTEGER PRIMARY KEY,
  generation INTEGER NOT NULL,
  bytes BLOB NOT NULL CHECK (length(bytes) BETWEEN 1 AND 65536),
  FOREIGN KEY (lineage, generation) REFERENCES pair (lineage, generation)
) STRICT;

CREATE TABLE spend (
  seq INTEGER PRIMARY KEY,
  intent INTEGER NOT NULL UNIQUE CHECK (intent <> 0),
  lineage INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  presented BLOB NOT NULL CHECK (length(presented) = 16),
  fence INTEGER NOT NULL,
  replay INTEGER NOT NULL CHECK (replay IN (0, 1)),
  boot_id TEXT NOT NULL CHECK (length(boot_id) <= 36),
  cause TEXT NOT NULL,
  begun INTEGER NOT NULL,
  verdict TEXT CHECK (verdict IN ('granted','refused','throttled','unsent','uncommitted','in-doubt')),
  closed INTEGER NOT NULL,
  detail TEXT NOT NULL,
  FOREIGN KEY (lineage, generation) REFERENCES pair (lineage, generation)
) STRICT;
CREATE INDEX spend_by_pair ON spend (lineage, generation);
CREATE UNIQUE INDEX spend_open ON spend (lineage) WHERE verdict IS NULL;

CREATE TABLE profile (
  name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
  lineage INTEGER NOT NULL UNIQUE REFERENCES lineage (id),
  policy TEXT NOT NULL CHECK (policy IN ('never','standby','always')),
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE profile_lineage (
  seq INTEGER PRIMARY KEY,
  profile TEXT NOT NULL,
  lineage INTEGER NOT NULL REFERENCES lineage (id),
  since INTEGER NOT NULL,
  UNIQUE (profile, lineage)
) STRICT;

CREATE TABLE alarm (
  seq INTEGER PRIMARY KEY,
  lineage INTEGER REFERENCES lineage (id),
  kind TEXT NOT NULL,
  raised INTEGER NOT NULL,
  cleared INTEGER,
  detail TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX alarm_open ON alarm (ifnull(lineage, 0), kind) WHERE cleared IS NULL;

CREATE TABLE event (
  id INTEGER PRIMARY KEY,
  wall INTEGER NOT NULL,
  lineage INTEGER,
  profile TEXT NOT NULL,
  kind TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;

"""A store as the first version wrote it, made of one of today's."""

import pathlib
import sqlite3

HERE = pathlib.Path(__file__).resolve().parent


def as_version_1(path):
    """The store as the first version wrote it: no sums, no room for them, and not what was added
    since."""
    old = path.with_name("old.db")
    made = sqlite3.connect(old, isolation_level=None)
    made.executescript((HERE / "version_1.sql").read_text())
    made.execute("DELETE FROM store")
    made.execute("ATTACH ? AS new", (str(path),))
    for (name,) in made.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'"
                                ).fetchall():
        columns = [row[1] for row in made.execute(f"PRAGMA main.table_info({name})")]
        later = [{"spends": "changes"}.get(column, column) for column in columns]
        made.execute(f"INSERT INTO main.{name} ({', '.join(columns)})"
                     f" SELECT {', '.join(later)} FROM new.{name}")
    application = made.execute("PRAGMA new.application_id").fetchone()[0]
    made.execute("DETACH new")
    made.execute(f"PRAGMA application_id = {application}")
    made.execute("PRAGMA user_version = 1")
    made.execute("PRAGMA journal_mode = WAL")
    made.close()
    old.chmod(0o600)
    old.rename(path)

"""A journal's tables, and how an older journal becomes one of today.

Owns: the schema, its version (`PRAGMA user_version`), the mark of the file (`PRAGMA application_id`), migration. Must
not know: who opens the file, what is written into it.

The tables have no row ids: a job's pages and entries lie side by side, so that they are read and forgotten as ranges.
What is long comes last in a row, so that all before it is read without it. `sizes` is NULL for one buffer; else it is
the buffers' lengths (u64, little endian), and `body` is all of them joined. What is longer than `CHUNK_BYTES` goes on in
`rest`: SQLite takes no value of a gigabyte, and copies each with the interpreter held.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from twistcluster.errors import JournalDamaged, VersionMismatch

__all__ = ["APPLICATION", "CHUNK_BYTES", "MIGRATIONS", "SCHEMA", "VERSION", "prepare"]

APPLICATION: Final = 0x74776A6C
"""Says whose file it is: "twjl"."""
VERSION: Final = 3
CHUNK_BYTES: Final = 8 * 1024 * 1024
"""A body or blob of just this length may go on in `rest`. Part of the format."""


def _drop_rest(place: str, body: str, a: str, b: str) -> str:
    drop = f"DELETE FROM rest WHERE place = '{place}' AND a = {a} AND b = {b}"  # noqa: S608  (our own constants)
    return (
        f"CREATE TRIGGER {place}_gone AFTER DELETE ON {place} WHEN length(old.{body}) = {CHUNK_BYTES} BEGIN {drop}; END"
    )


_MEMBERS: Final = (
    "CREATE TABLE tokens (digest BLOB PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE denials (serial TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE renewals (serial TEXT PRIMARY KEY, first TEXT NOT NULL, ends_at REAL NOT NULL) WITHOUT ROWID",
)
_SERVERS: Final = (
    (
        "CREATE TABLE servers (name TEXT PRIMARY KEY, client TEXT NOT NULL, created REAL NOT NULL, context BLOB NOT NULL,"
        " header BLOB NOT NULL) WITHOUT ROWID"
    ),
)
SCHEMA: Final = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE clients (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE blobs (digest BLOB PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE contexts (digest BLOB PRIMARY KEY, header BLOB NOT NULL) WITHOUT ROWID",
    # Who names which blob: a job (its key), a server (its name) or a context (its digest); the former name a context, too.
    "CREATE TABLE names (holder NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (holder, digest)) WITHOUT ROWID",
    "CREATE INDEX names_of ON names (digest)",
    (
        "CREATE TABLE jobs (key INTEGER PRIMARY KEY, client TEXT NOT NULL, number INTEGER NOT NULL, label TEXT NOT NULL,"
        " named INTEGER NOT NULL, created REAL NOT NULL, context BLOB NOT NULL, header BLOB NOT NULL)"
    ),
    (
        "CREATE TABLE states (job INTEGER PRIMARY KEY, items INTEGER, input_error TEXT NOT NULL, state TEXT NOT NULL,"
        " ended REAL, nbytes INTEGER)"
    ),
    (
        "CREATE TABLE pages (job INTEGER NOT NULL, first INTEGER NOT NULL, items INTEGER NOT NULL, header BLOB NOT NULL,"
        " sizes BLOB, body BLOB NOT NULL, PRIMARY KEY (job, first)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE entries (job INTEGER NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, first INTEGER NOT NULL,"
        " items INTEGER NOT NULL, header BLOB NOT NULL, sizes BLOB, body BLOB NOT NULL, PRIMARY KEY (job, position))"
        " WITHOUT ROWID"
    ),
    (
        "CREATE TABLE tallies (job INTEGER NOT NULL, item INTEGER NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL,"
        " PRIMARY KEY (job, item, kind)) WITHOUT ROWID"
    ),
    "CREATE TABLE objects (id BLOB PRIMARY KEY, nbytes INTEGER NOT NULL, place TEXT NOT NULL) WITHOUT ROWID",
    (
        "CREATE TABLE rest (place TEXT NOT NULL, a NOT NULL, b INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL,"
        " PRIMARY KEY (place, a, b, at)) WITHOUT ROWID"
    ),
    *_MEMBERS,
    *_SERVERS,
    _drop_rest("pages", "body", "old.job", "old.first"),
    _drop_rest("entries", "body", "old.job", "old.position"),
    _drop_rest("blobs", "data", "old.digest", "0"),
)
MIGRATIONS: Final[Mapping[int, Sequence[str]]] = {1: _MEMBERS, 2: _SERVERS}
"""By version: the statements that make it the next one."""


def prepare(
    connection: sqlite3.Connection,
    path: str,
    writer: str,
    *,
    migrations: Mapping[int, Sequence[str]] = MIGRATIONS,
) -> None:
    """Make the tables, or bring those of an older version up to date, in one transaction.

    It is a write in any case: afterwards the lock is held. `writer` is the version of twistcluster that opens it.

    Raises:
        VersionMismatch: a newer twistcluster wrote it.
        JournalDamaged: it is an SQLite database, but no journal.
        sqlite3.Error: as it comes.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _bring_up(connection, path, migrations)
        connection.execute(
            "INSERT INTO about VALUES ('twistcluster', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (writer,)
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _bring_up(connection: sqlite3.Connection, path: str, migrations: Mapping[int, Sequence[str]]) -> None:
    version = _number(connection, "user_version")
    found = _tables(connection)
    application = _number(connection, "application_id")
    if not (found or application or version):
        _run(connection, (f"PRAGMA application_id = {APPLICATION}", *SCHEMA))
    elif application != APPLICATION:
        raise JournalDamaged(
            f"{path} is a database, but no journal of twistcluster: move it away, or name another place"
        )
    elif version > VERSION:
        raise VersionMismatch(
            f"the journal {path} was written by {_writer(connection, found)} (format {version}), this one reads formats "
            f"up to {VERSION}: upgrade twistcluster, or move the journal away to begin a new one"
        )
    else:
        for step in range(version, VERSION):
            if step not in migrations:
                raise JournalDamaged(f"the journal {path} has a format ({step}) that no version wrote: move it away")
            _run(connection, migrations[step])
    if version != VERSION:
        connection.execute(f"PRAGMA user_version = {VERSION}")
    missing = {statement.split()[2] for statement in SCHEMA if statement.startswith("CREATE TABLE")} - _tables(
        connection
    )
    if missing:
        raise JournalDamaged(
            f"the journal {path} is damaged: it lacks {', '.join(sorted(missing))}. Move it away to begin a new one"
        )


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def _run(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        connection.execute(statement)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _writer(connection: sqlite3.Connection, tables: set[str]) -> str:
    if "about" in tables:
        row = connection.execute("SELECT * FROM about WHERE name = 'twistcluster'").fetchone()
        if row is not None:
            return f"twistcluster {row[1]}"
    return "a newer twistcluster"

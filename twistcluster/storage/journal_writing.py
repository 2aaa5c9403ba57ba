"""How rows become statements: few of them, whatever the number of rows.

Owns: the order in which a commit's rows are written, statements that take many rows at once. Each step of a statement
lets go of the interpreter and takes it again, which can wait for milliseconds while the owner's thread is busy: so a
statement takes up to 32 rows, not one. Must not know: threads, when a commit is made.
"""

import sqlite3
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple

from twistcluster.core.rows import (
    BlobRow,
    Change,
    ClientRow,
    ContextRow,
    DenialRow,
    DenialsGone,
    EntryRow,
    JobRow,
    JobsGone,
    ObjectsGone,
    PageRow,
    PagesGone,
    RenewalRow,
    RenewalsGone,
    ServerRow,
    ServersGone,
    StateRow,
    StoredRow,
    TallyRow,
    TokenRow,
    TokensGone,
)
from twistcluster.storage.journal_brief import without_brief
from twistcluster.storage.journal_schema import CHUNK_BYTES
from twistcluster.wire.frames import Buffer

__all__ = ["commit"]

ROWS: Final = (32, 8, 1)
"""So many rows go into one statement. (Their values are copied with the interpreter held: 2 MiB take 0.4 ms.)"""


class Table(NamedTuple):
    """How rows get into a table."""

    begin: str
    columns: int
    end: str = ""
    row: str = ""
    """What stands for each row, where it isn't a list of values."""
    between: str = ","


Row = Sequence[Any]


@dataclass(slots=True)
class Extra:
    """Rows of other tables, beside those of the one that a change belongs to."""

    has: Callable[[bytes], bool]
    """Whether a blob is there already."""
    names: list[Row] = field(default_factory=list)
    rest: list[Row] = field(default_factory=list)


Step = tuple[Table, list[Row]]

_REST: Final = Table("INSERT OR REPLACE INTO rest VALUES", 5)
_NAMES: Final = Table("INSERT OR IGNORE INTO names VALUES", 2)
_CLIENTS: Final = Table(
    "INSERT INTO clients VALUES", 2, " ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)"
)
_BLOBS: Final = Table("INSERT OR IGNORE INTO blobs VALUES", 2)
_CONTEXTS: Final = Table("INSERT OR IGNORE INTO contexts VALUES", 2)
_JOBS: Final = Table("INSERT OR REPLACE INTO jobs VALUES", 8)
_STATES: Final = Table("INSERT OR REPLACE INTO states (job, items, input_error, state, ended) VALUES", 5)
_PAGES: Final = Table("INSERT OR REPLACE INTO pages VALUES", 6)
# By (job, first) IN (VALUES …) SQLite would look at all pages.
_PAGES_GONE: Final = Table("DELETE FROM pages WHERE", 2, row="(job = ? AND first = ?)", between=" OR ")
_ENTRIES: Final = Table("INSERT OR REPLACE INTO entries VALUES", 8)
_TALLIES: Final = Table("INSERT OR REPLACE INTO tallies VALUES", 4)
_OBJECTS: Final = Table("INSERT OR REPLACE INTO objects VALUES", 3)
_OBJECTS_GONE: Final = Table("DELETE FROM objects WHERE id IN (VALUES", 1, ")")
_SERVERS: Final = Table("INSERT OR REPLACE INTO servers VALUES", 5)
_TOKENS: Final = Table("INSERT OR REPLACE INTO tokens VALUES", 2)
_TOKENS_GONE: Final = Table("DELETE FROM tokens WHERE digest IN (VALUES", 1, ")")
_DENIALS: Final = Table("INSERT OR REPLACE INTO denials VALUES", 2)
_DENIALS_GONE: Final = Table("DELETE FROM denials WHERE serial IN (VALUES", 1, ")")
_RENEWALS: Final = Table("INSERT OR REPLACE INTO renewals VALUES", 3)
_RENEWALS_GONE: Final = Table("DELETE FROM renewals WHERE serial IN (VALUES", 1, ")")
_SIZE: Final = """
UPDATE states SET nbytes =
  (SELECT coalesce(sum(length(header) + length(body)), 0) FROM entries WHERE job = ?1)
  + (SELECT coalesce(sum(length(header) + length(body)), 0) FROM pages WHERE job = ?1)
  + (SELECT coalesce(sum(length(data)), 0) FROM rest WHERE place IN ('pages', 'entries') AND a = ?1)
WHERE job = ?1
"""

_FORGET_JOB: Final = (
    "INSERT OR IGNORE INTO going SELECT digest FROM names WHERE holder = ?",
    "DELETE FROM names WHERE holder = ?",
    "DELETE FROM jobs WHERE key = ?",
    "DELETE FROM states WHERE job = ?",
    "DELETE FROM pages WHERE job = ?",
    "DELETE FROM entries WHERE job = ?",
    "DELETE FROM tallies WHERE job = ?",
)
_FORGET_SERVER: Final = (
    "INSERT OR IGNORE INTO going SELECT digest FROM names WHERE holder = ?",
    "DELETE FROM names WHERE holder = ?",
    "DELETE FROM servers WHERE name = ?",
)
_FORGET_UNNAMED: Final = (
    # First contexts, then the blobs that only those named.
    (
        "DELETE FROM contexts WHERE digest IN (SELECT digest FROM going)"
        " AND NOT EXISTS (SELECT 1 FROM names WHERE names.digest = contexts.digest)"
    ),
    (
        "INSERT OR IGNORE INTO going SELECT digest FROM names WHERE holder IN (SELECT digest FROM going)"
        " AND holder NOT IN (SELECT digest FROM contexts)"
    ),
    "DELETE FROM names WHERE holder IN (SELECT digest FROM going) AND holder NOT IN (SELECT digest FROM contexts)",
    (
        "DELETE FROM blobs WHERE digest IN (SELECT digest FROM going)"
        " AND NOT EXISTS (SELECT 1 FROM names WHERE names.digest = blobs.digest)"
    ),
)


def _blob(row: BlobRow, extra: Extra) -> Iterable[Row]:
    if extra.has(row.digest):
        return ()
    return ((row.digest, _chunk("blobs", row.digest, 0, row.data, extra)),)


def _context(row: ContextRow, extra: Extra) -> Iterable[Row]:
    extra.names += [(row.digest, blob) for blob in row.blobs]
    return ((row.digest, row.header),)


def _job(row: JobRow, extra: Extra) -> Iterable[Row]:
    key, client, number, label, named, header, created, context, blobs = row
    extra.names += [(key, blob) for blob in blobs]
    extra.names.append((key, context))
    return ((key, client, number, label, named, created, context, header),)


def _server(row: ServerRow, extra: Extra) -> Iterable[Row]:
    name, client, created, header, context, blobs = row
    extra.names += [(name, digest) for digest in (*blobs, context)]
    return ((name, client, created, context, header),)


def _page(row: PageRow, extra: Extra) -> Iterable[Row]:
    job, first, items, header, buffers, blobs = row
    if blobs:
        extra.names += [(job, blob) for blob in blobs]
    return ((job, first, items, header, *_body("pages", job, first, buffers, extra)),)


def _entry(row: EntryRow, extra: Extra) -> Iterable[Row]:
    job, position, kind, first, items, header, buffers, blobs = row
    if blobs:
        extra.names += [(job, blob) for blob in blobs]
    return ((job, position, kind, first, items, header, *_body("entries", job, position, buffers, extra)),)


def _pages_gone(row: PagesGone, extra: Extra) -> Iterable[Row]:
    return [(row.job, first) for first in row.firsts]


def _objects_gone(row: ObjectsGone, extra: Extra) -> Iterable[Row]:
    return [(each,) for each in row.ids]


def _serials_gone(row: DenialsGone | RenewalsGone, extra: Extra) -> Iterable[Row]:
    return [(each,) for each in row.serials]


def _tokens_gone(row: TokensGone, extra: Extra) -> Iterable[Row]:
    return [(each,) for each in row.digests]


def _as_it_is(row: Row, extra: Extra) -> Iterable[Row]:
    return (row,)


def _body(
    place: str, a: int, b: int, buffers: tuple[Buffer, ...], extra: Extra
) -> tuple[bytes | None, bytes | bytearray | memoryview]:
    if len(buffers) == 1:
        return None, _chunk(place, a, b, buffers[0], extra)
    lengths = [memoryview(buffer).nbytes for buffer in buffers]
    return struct.pack(f"<{len(lengths)}Q", *lengths), _chunk(place, a, b, b"".join(buffers), extra)


def _chunk(place: str, a: int | bytes, b: int, data: Buffer, extra: Extra) -> Buffer:
    """The beginning of what is long; the rest goes elsewhere."""
    view = memoryview(data)
    if view.nbytes < CHUNK_BYTES:
        return data
    view = view.cast("B")
    extra.rest += [
        (place, a, b, at, view[at : at + CHUNK_BYTES]) for at in range(CHUNK_BYTES, view.nbytes, CHUNK_BYTES)
    ]
    return view[:CHUNK_BYTES]


_WAYS: Final[dict[type, tuple[str, Table, Callable[[Any, Extra], Iterable[Row]]]]] = {
    ClientRow: ("clients", _CLIENTS, _as_it_is),
    BlobRow: ("blobs", _BLOBS, _blob),
    ContextRow: ("contexts", _CONTEXTS, _context),
    JobRow: ("jobs", _JOBS, _job),
    StateRow: ("states", _STATES, _as_it_is),
    PageRow: ("pages", _PAGES, _page),
    PagesGone: ("pages", _PAGES_GONE, _pages_gone),
    EntryRow: ("entries", _ENTRIES, _entry),
    TallyRow: ("tallies", _TALLIES, _as_it_is),
    StoredRow: ("objects", _OBJECTS, _as_it_is),
    ObjectsGone: ("objects", _OBJECTS_GONE, _objects_gone),
    ServerRow: ("servers", _SERVERS, _server),
    TokenRow: ("tokens", _TOKENS, _as_it_is),
    TokensGone: ("tokens", _TOKENS_GONE, _tokens_gone),
    DenialRow: ("denials", _DENIALS, _as_it_is),
    DenialsGone: ("denials", _DENIALS_GONE, _serials_gone),
    RenewalRow: ("renewals", _RENEWALS, _as_it_is),
    RenewalsGone: ("renewals", _RENEWALS_GONE, _serials_gone),
}


def commit(connection: sqlite3.Connection, changes: Sequence[Change]) -> bool:
    """Write all of it, or nothing. Returns whether there was anything to write.

    Raises:
        sqlite3.Error: nothing was written.
    """
    changes = without_brief(changes)
    if not changes:
        return False
    run = connection.execute
    run("BEGIN IMMEDIATE")
    try:
        for part in _parts(changes):
            if isinstance(part, JobsGone):
                _forget(connection, _FORGET_JOB, part.jobs)
            elif isinstance(part, ServersGone):
                _forget(connection, _FORGET_SERVER, part.names)
            else:
                for table, rows in _steps(connection, part):
                    _write(connection, table, rows)
                for change in part:
                    if type(change) is StateRow and change.ended is not None:
                        run(_SIZE, (change.job,))
        run("COMMIT")
    except BaseException:
        if connection.in_transaction:
            run("ROLLBACK")
        raise
    return True


def _parts(changes: Sequence[Change]) -> Iterable[Sequence[Change] | JobsGone | ServersGone]:
    """What is forgotten may have come just before it."""
    begin = 0
    for at, change in enumerate(changes):
        if isinstance(change, JobsGone | ServersGone):
            yield changes[begin:at]
            yield change
            begin = at + 1
    yield changes[begin:] if begin else changes


def _steps(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Step]:
    """Rows of one table in their order; between tables the order makes no difference."""
    steps: list[Step] = []
    extra = Extra(
        lambda digest: connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is not None
    )
    current: dict[str, Step] = {}
    for change in changes:
        place, table, rows_of = _WAYS[type(change)]
        step = current.get(place)
        if step is None or step[0] is not table:
            step = current[place] = (table, [])
            steps.append(step)
        step[1].extend(rows_of(change, extra))
        if extra.rest:
            # Behind its row, and before any that takes its place: that one drops it.
            steps += [(_REST, [row]) for row in extra.rest]
            extra.rest.clear()
            del current[place]
    if extra.names:
        steps.append((_NAMES, extra.names))
    return steps


_statements: dict[tuple[Table, int], str] = {}


def _statement(table: Table, rows: int) -> str:
    statement = _statements.get((table, rows))
    if statement is None:
        row = table.row or f"({','.join('?' * table.columns)})"
        statement = _statements[table, rows] = f"{table.begin} {table.between.join([row] * rows)}{table.end}"
    return statement


def _write(connection: sqlite3.Connection, table: Table, rows: list[Row]) -> None:
    at, left = 0, len(rows)
    for size in ROWS:
        while left >= size:
            connection.execute(_statement(table, size), list(chain.from_iterable(rows[at : at + size])))
            at += size
            left -= size


def _forget(connection: sqlite3.Connection, statements: Sequence[str], holders: Sequence[int | str]) -> None:
    run = connection.execute
    run("CREATE TEMP TABLE IF NOT EXISTS going (digest BLOB PRIMARY KEY)")
    run("DELETE FROM going")
    for holder in holders:
        for statement in statements:
            run(statement, (holder,))
    for statement in _FORGET_UNNAMED:
        run(statement)

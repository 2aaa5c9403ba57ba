"""How rows come back.

Owns: the questions that are asked of a journal. Must not know: threads, who asks.
"""

import sqlite3
import struct
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from twistcluster.core.rows import (
    ClientRow,
    ContextRow,
    DenialRow,
    EntryHead,
    EntryRow,
    JobRow,
    JobSize,
    PageHead,
    PageRow,
    RenewalRow,
    ServerRow,
    StateRow,
    StoredRow,
    TallyRow,
    TokenRow,
)
from twistcluster.storage.journal_file import JournalFile
from twistcluster.storage.journal_schema import CHUNK_BYTES

__all__ = ["Reading", "read_blob", "read_log", "read_page", "read_sizes"]

_LENGTHS: Final = {
    "blobs": "SELECT digest, length(data) + iif(length(data) < {chunk}, 0,"
    " (SELECT coalesce(sum(length(rest.data)), 0) FROM rest WHERE place = 'blobs' AND a = digest)) FROM blobs",
    "pages": "SELECT job, first, items, header, length(body) + iif(length(body) < {chunk}, 0,"
    " (SELECT coalesce(sum(length(data)), 0) FROM rest WHERE place = 'pages' AND a = job AND b = first))"
    " FROM pages ORDER BY job, first",
    "entries": "SELECT job, position, kind, first, items, header, length(body) + iif(length(body) < {chunk}, 0,"
    " (SELECT coalesce(sum(length(data)), 0) FROM rest WHERE place = 'entries' AND a = job AND b = position))"
    " FROM entries ORDER BY job, position",
}
"""All rows with the lengths of what is left out."""
P = ParamSpec("P")
T = TypeVar("T")


def _whole(connection: sqlite3.Connection, place: str, a: int | bytes, b: int, data: bytes) -> bytes:
    """What is longer than a chunk goes on elsewhere."""
    if len(data) < CHUNK_BYTES:
        return data
    query = "SELECT data FROM rest WHERE place = ? AND a = ? AND b = ? ORDER BY at"
    return b"".join((data, *(part for (part,) in connection.execute(query, (place, a, b)))))


def _split(sizes: bytes | None, body: bytes) -> tuple[bytes | memoryview, ...]:
    if sizes is None:
        return (body,)
    view = memoryview(body)
    buffers = []
    at = 0
    for length in struct.unpack(f"<{len(sizes) // 8}Q", sizes):
        buffers.append(view[at : at + length])
        at += length
    return tuple(buffers)


class Reading:
    """All that a journal holds, for a scheduler that comes back. Everything is read when it is asked for.

    It can be used until the first `Journal.record`.

    Raises:
        JournalDamaged: from any of its methods, where a part is reached that is broken.
    """

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._file.connection.execute(query, values)
        except sqlite3.Error as error:
            raise self._file.explain(error) from None

    def _one(self, read: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(self._file.connection, *args, **kwargs)
        except sqlite3.Error as error:
            raise self._file.explain(error) from None

    def clients(self) -> Iterator[ClientRow]:
        """Clients and the highest contiguous sequence seen of each."""
        return map(ClientRow._make, self._rows("SELECT id, sequence FROM clients"))

    def jobs(self) -> Iterator[tuple[JobRow, StateRow | None]]:
        """Jobs and their last states, in the order of their keys. `blobs` is empty: see `names`."""
        query = (
            "SELECT key, client, number, label, named, header, created, context, job, items, input_error, state, ended "
            "FROM jobs LEFT JOIN states ON job = key ORDER BY key"
        )
        for row in self._rows(query):
            key, client, number, label, named, header, created, context = row[:8]
            state = None if row[8] is None else StateRow._make(row[8:])
            yield JobRow(key, client, number, label, bool(named), header, created, context), state

    def contexts(self) -> Iterator[ContextRow]:
        """Contexts. `blobs` is empty: the message names them."""
        return (ContextRow(*row) for row in self._rows("SELECT digest, header FROM contexts"))

    def blobs(self) -> Iterator[tuple[bytes, int]]:
        """Digest and length of each blob."""
        return ((digest, length) for digest, length in self._rows(_LENGTHS["blobs"].format(chunk=CHUNK_BYTES)))

    def blob(self, digest: bytes) -> bytes | None:
        """A blob's bytes."""
        return self._one(read_blob, digest)

    def names(self, job: int) -> list[bytes]:
        """The digests that a job names: its context's, functions', and those of its pages and results."""
        return [digest for (digest,) in self._rows("SELECT digest FROM names WHERE holder = ?", (job,))]

    def pages(self) -> Iterator[PageHead]:
        """All pages, by job and first item, without their buffers."""
        query = _LENGTHS["pages"].format(chunk=CHUNK_BYTES)
        return map(PageHead._make, self._rows(query))

    def page(self, job: int, first: int) -> PageRow | None:
        """One page with its buffers."""
        return self._one(read_page, job, first)

    def entries(self) -> Iterator[EntryHead]:
        """All entries of all logs, by job and position, without their buffers."""
        query = _LENGTHS["entries"].format(chunk=CHUNK_BYTES)
        return map(EntryHead._make, self._rows(query))

    def tallies(self) -> Iterator[TallyRow]:
        """What counts against items."""
        query = "SELECT job, item, kind, n FROM tallies WHERE n > 0 ORDER BY job, item"
        return map(TallyRow._make, self._rows(query))

    def servers(self) -> Iterator[ServerRow]:
        """Servers. `blobs` is empty: the message and the context name them."""
        query = "SELECT name, client, created, header, context FROM servers ORDER BY name"
        return map(ServerRow._make, ((*row, ()) for row in self._rows(query)))

    def objects(self) -> Iterator[StoredRow]:
        """Objects that the cluster owns."""
        return map(StoredRow._make, self._rows("SELECT id, nbytes, place FROM objects"))

    def tokens(self) -> Iterator[TokenRow]:
        """Tokens for joining."""
        return map(TokenRow._make, self._rows("SELECT digest, state FROM tokens"))

    def denials(self) -> Iterator[DenialRow]:
        """Certificates that are shut out."""
        return map(DenialRow._make, self._rows("SELECT serial, at FROM denials"))

    def renewals(self) -> Iterator[RenewalRow]:
        """Certificates that took others' places."""
        return map(RenewalRow._make, self._rows("SELECT serial, first, ends_at FROM renewals"))


def read_blob(connection: sqlite3.Connection, digest: bytes) -> bytes | None:
    """A blob's bytes; None: there is none."""
    row = connection.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else _whole(connection, "blobs", digest, 0, row[0])


def read_page(connection: sqlite3.Connection, job: int, first: int) -> PageRow | None:
    """One page; None: there is none."""
    row = connection.execute(
        "SELECT items, header, sizes, body FROM pages WHERE job = ? AND first = ?", (job, first)
    ).fetchone()
    if row is None:
        return None
    items, header, sizes, body = row
    return PageRow(job, first, items, header, _split(sizes, _whole(connection, "pages", job, first, body)))


def read_log(connection: sqlite3.Connection, job: int, position: int, limit_bytes: int) -> list[EntryRow]:
    """Entries from a position on, in order: at least one if there is one, and no more than `limit_bytes` otherwise."""
    found: list[EntryRow] = []
    cursor = connection.execute(
        "SELECT position, kind, first, items, header, sizes, body FROM entries WHERE job = ? AND position >= ? "
        "ORDER BY position",
        (job, position),
    )
    total = 0
    for at, kind, first, items, header, sizes, begin in cursor:
        if found and total + len(begin) > limit_bytes:
            break
        body = _whole(connection, "entries", job, at, begin)
        total += len(header) + len(body)
        if found and total > limit_bytes:
            break
        found.append(EntryRow(job, at, kind, first, items, header, _split(sizes, body)))
    cursor.close()
    return found


def read_sizes(connection: sqlite3.Connection) -> list[JobSize]:
    """The jobs that ended, the oldest end first."""
    query = "SELECT job, nbytes, ended FROM states WHERE ended IS NOT NULL ORDER BY ended"
    return [*map(JobSize._make, connection.execute(query))]

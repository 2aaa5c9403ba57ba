"""A journal on paper.

Owns: `Paper`, which keeps what it was told, row by row, and answers a scheduler that comes back; and `Book`, one that sees
to it that what it holds of an item doesn't change. Must not know: files, the scheduler's records.
"""

from typing import TypeVar

from twistcluster.core import rows
from twistcluster.wire.codec import decode_message
from twistcluster.wire.messages import Cancelled, Failed, Results, Retry

__all__ = ["Book", "Paper"]

Row = TypeVar("Row")
AT_MOST = 100
"""Items of one range that was cancelled, which are looked at: a job without end may have more than there are numbers for."""


class Paper:
    """Keeps rows in memory; gives the answers of core.restoring.Facts."""

    def __init__(self) -> None:
        self._clients: dict[str, int] = {}
        self._blobs: dict[bytes, bytes] = {}
        self._contexts: dict[bytes, rows.ContextRow] = {}
        self._jobs: dict[int, rows.JobRow] = {}
        self._states: dict[int, rows.StateRow] = {}
        self._names: dict[int, dict[bytes, None]] = {}
        self._pages: dict[tuple[int, int], rows.PageRow] = {}
        self._entries: dict[tuple[int, int], rows.EntryRow] = {}
        self._servers: dict[str, rows.ServerRow] = {}
        self._tallies: dict[tuple[int, int, str], rows.TallyRow] = {}

    def record(self, changes: list[rows.Change]) -> None:
        """Write these down."""
        for row in changes:
            match row:
                case rows.ClientRow():
                    self._clients[row.id] = max(self._clients.get(row.id, -1), row.sequence)
                case rows.BlobRow():
                    self._blobs.setdefault(row.digest, bytes(row.data))
                case rows.ContextRow():
                    self._contexts[row.digest] = row
                case rows.JobRow():
                    self._jobs[row.key] = row
                    self._name(row.key, row.blobs)
                case rows.StateRow():
                    self._states[row.job] = row
                case rows.PageRow():
                    self._pages[row.job, row.first] = row._replace(buffers=tuple(map(bytes, row.buffers)))
                    self._name(row.job, row.blobs)
                case rows.PagesGone():
                    for first in row.firsts:
                        self._pages.pop((row.job, first), None)
                case rows.EntryRow():
                    assert (row.job, row.position) not in self._entries
                    self._entries[row.job, row.position] = row._replace(buffers=tuple(map(bytes, row.buffers)))
                    self._name(row.job, row.blobs)
                case rows.TallyRow():
                    self._tallies[row.job, row.item, row.kind] = row
                case rows.JobsGone():
                    for job in row.jobs:
                        self._forget(job)
                case rows.ServerRow():
                    self._servers[row.name] = row
                case rows.ServersGone():
                    for name in row.names:
                        self._servers.pop(name, None)
                case _:
                    raise AssertionError(row)

    def _name(self, job: int, blobs: tuple[bytes, ...]) -> None:
        self._names.setdefault(job, {}).update(dict.fromkeys(blobs))

    def _forget(self, job: int) -> None:
        del self._jobs[job]
        self._states.pop(job, None)
        self._names.pop(job, None)
        self._pages = {key: row for key, row in self._pages.items() if key[0] != job}
        self._entries = {key: row for key, row in self._entries.items() if key[0] != job}
        self._tallies = {key: row for key, row in self._tallies.items() if key[0] != job}

    # ---- what a scheduler asks (core.restoring.Facts) ----

    def clients(self) -> list[rows.ClientRow]:
        """All of them."""
        return [rows.ClientRow(*each) for each in self._clients.items()]

    def contexts(self) -> list[rows.ContextRow]:
        """All of them."""
        return list(self._contexts.values())

    def blob(self, digest: bytes) -> bytes | None:
        """A blob's bytes."""
        return self._blobs.get(digest)

    def jobs(self) -> list[tuple[rows.JobRow, rows.StateRow | None]]:
        """In the order of their keys."""
        return [(self._jobs[key], self._states.get(key)) for key in sorted(self._jobs)]

    def names(self, job: int) -> list[bytes]:
        """The digests that a job names."""
        return list(self._names.get(job, ()))

    def pages(self) -> list[rows.PageHead]:
        """By job and first item."""
        found = in_order(self._pages)
        return [rows.PageHead(p.job, p.first, p.items, p.header, sum(map(len, p.buffers))) for p in found]

    def page(self, job: int, first: int) -> rows.PageRow | None:
        """With its buffers."""
        return self._pages.get((job, first))

    def entries(self) -> list[rows.EntryHead]:
        """By job and place."""
        return [
            rows.EntryHead(e.job, e.position, e.kind, e.first, e.items, e.header, sum(map(len, e.buffers)))
            for e in in_order(self._entries)
        ]

    def tallies(self) -> list[rows.TallyRow]:
        """What counts against items."""
        return [row for row in self._tallies.values() if row.n]

    def servers(self) -> list[rows.ServerRow]:
        """All of them."""
        return list(self._servers.values())

    def read_log(self, job: int, place: int) -> list[rows.EntryRow]:
        """Entries of a job's log, from a place on."""
        return [entry for entry in in_order(self._entries) if entry.job == job and entry.position >= place]


class Book(Paper):
    """A journal that sees to it that what it holds of an item doesn't change."""

    def __init__(self) -> None:
        super().__init__()
        self.fates: dict[int, dict[int, tuple[str, bytes]]] = {}
        """By job and item: what became of it, and the first buffer of its result."""

    def record(self, changes: list[rows.Change]) -> None:
        """Write these down, unless they contradict what is here."""
        for row in changes:
            if isinstance(row, rows.EntryRow):
                self._check(row)
            elif isinstance(row, rows.JobsGone):
                for job in row.jobs:
                    self.fates.pop(job, None)
        super().record(changes)

    def _check(self, row: rows.EntryRow) -> None:
        message = decode_message(row.header)
        match message:
            case Results():
                value = bytes(row.buffers[0]) if row.buffers else b""
                for index in range(message.first, message.first + message.count):
                    self._met(row.job, index, ("done", value))
            case Failed():
                self._met(row.job, message.index, ("failed", b""))
            case Cancelled():
                for start, stop in message.ranges:
                    for index in range(start, min(stop, start + AT_MOST)):
                        self._met(row.job, index, ("cancelled", b""))
            case Retry():
                fates = self.fates.get(row.job, {})
                self.fates[row.job] = {index: fate for index, fate in fates.items() if fate[0] != "failed"}
            case _:
                pass

    def _met(self, job: int, index: int, fate: tuple[str, bytes]) -> None:
        before = self.fates.setdefault(job, {}).setdefault(index, fate)
        assert before is fate, f"item {index} of job {job} is {before} in the journal, and shall be {fate}"


def in_order(found: dict[tuple[int, int], Row]) -> list[Row]:
    """By job, then by place."""
    return [found[key] for key in sorted(found)]

"""What tests of the journal share: an owner with a thread of its own choice, and what a journal should hold."""

import contextlib
import queue
import time
from collections.abc import Callable, Iterable
from typing import Any

from twistcluster.core.rows import (
    BlobRow,
    Change,
    ClientRow,
    ContextRow,
    EntryRow,
    JobRow,
    JobsGone,
    ObjectsGone,
    PageRow,
    PagesGone,
    ServerRow,
    ServersGone,
    StateRow,
    StoredRow,
    TallyRow,
)
from twistcluster.storage.journal import Journal

WAIT_SECONDS = 60.0


class Owner:
    """Owns journals; what they call runs in `pump`."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.troubles: list[Any] = []

    def open(self, path: Any) -> Journal:
        return Journal(
            str(path),
            self.calls.put,
            writer="0.1.0",
            on_trouble=self.troubles.append,
            on_recovered=lambda: self.troubles.append("recovered"),
        )

    def pump(self, until: Callable[[], object]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not until():
            self.calls.get(timeout=max(0.0, deadline - time.monotonic()))()

    def pump_until(self, condition: Callable[[], object]) -> None:
        """As `pump`, for what nobody calls about."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            with contextlib.suppress(queue.Empty):
                self.calls.get(timeout=0.02)()

    def record(self, journal: Journal, *changes: Change) -> Any:
        """What `done` was called with."""
        return self.ask(lambda done: journal.record(changes, done))

    def ask(self, question: Callable[[Callable[[Any], object]], None]) -> Any:
        answers: list[Any] = []
        question(answers.append)
        self.pump(lambda: answers)
        return answers[0]


def job(key: int, *blobs: bytes, context: bytes = b"") -> JobRow:
    return JobRow(key, "kernel", key, f"job-{key}", False, b"open", 1.5, context, blobs)


def server(name: str, *blobs: bytes, context: bytes = b"") -> ServerRow:
    return ServerRow(name, "notebook", 2.5, b"call", context, blobs)


def entry(key: int, position: int, body: bytes = b"results") -> EntryRow:
    return EntryRow(key, position, "results", position * 10, 10, b"header", (body,))


class Model:
    """What a journal should hold after these changes, by the plainest means."""

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self.clients: dict = {}
        self.blobs: dict = {}
        self.contexts: dict = {}
        self.names: dict = {}
        self.jobs: dict = {}
        self.states: dict = {}
        self.pages: dict = {}
        self.entries: dict = {}
        self.tallies: dict = {}
        self.objects: dict = {}
        self.servers: dict = {}
        for change in changes:
            self.apply(change)

    def apply(self, change: Change) -> None:
        match change:
            case ClientRow():
                self.clients[change.id] = max(change.sequence, self.clients.get(change.id, 0))
            case BlobRow():
                self.blobs.setdefault(change.digest, bytes(change.data))
            case ContextRow():
                if change.digest not in self.contexts:
                    self.contexts[change.digest] = change.header
                self.names.setdefault(change.digest, set()).update(change.blobs)
            case JobRow():
                self.jobs[change.key] = change._replace(blobs=())
                self.names.setdefault(change.key, set()).update(change.blobs, [change.context])
            case ServerRow():
                self.servers[change.name] = change._replace(blobs=())
                self.names.setdefault(change.name, set()).update(change.blobs, [change.context])
            case ServersGone():
                going: set = set()
                for name in change.names:
                    self.servers.pop(name, None)
                    going |= self.names.pop(name, set())
                self.unname(going)
            case StateRow():
                self.states[change.job] = change
            case PageRow():
                self.pages[change.job, change.first] = change._replace(blobs=(), buffers=flat(change.buffers))
                self.names.setdefault(change.job, set()).update(change.blobs)
            case EntryRow():
                self.entries[change.job, change.position] = change._replace(blobs=(), buffers=flat(change.buffers))
                self.names.setdefault(change.job, set()).update(change.blobs)
            case TallyRow():
                self.tallies[change.job, change.item, change.kind] = change.n
            case StoredRow():
                self.objects[change.id] = change
            case PagesGone():
                for first in change.firsts:
                    self.pages.pop((change.job, first), None)
            case ObjectsGone():
                for each in change.ids:
                    self.objects.pop(each, None)
            case JobsGone():
                self.forget(change.jobs)

    def forget(self, jobs: tuple[int, ...]) -> None:
        going: set = set()
        for key in jobs:
            going |= self.names.pop(key, set())
            self.jobs.pop(key, None)
            self.states.pop(key, None)
            for table in (self.pages, self.entries, self.tallies):
                for each in [each for each in table if each[0] == key]:
                    del table[each]
        self.unname(going)

    def unname(self, going: set) -> None:
        for digest in [digest for digest in going if digest in self.contexts]:
            if not self.named(digest):
                del self.contexts[digest]
                going |= self.names.pop(digest, set())
        for digest in going:
            if not self.named(digest):
                self.blobs.pop(digest, None)

    def named(self, digest: bytes) -> bool:
        return any(digest in names for names in self.names.values())

    def held(self) -> dict:
        return {
            "clients": self.clients,
            "blobs": self.blobs,
            "contexts": self.contexts,
            "jobs": {key: (row, self.states.get(key)) for key, row in sorted(self.jobs.items())},
            "pages": dict(sorted(self.pages.items())),
            "entries": dict(sorted(self.entries.items())),
            "tallies": {key: n for key, n in sorted(self.tallies.items()) if n},
            "objects": self.objects,
            "servers": self.servers,
        }


def flat(buffers: Iterable[Any]) -> tuple[bytes, ...]:
    return tuple(map(bytes, buffers))


def held(owner: Owner, path: Any) -> dict:
    """All that lies in a journal: read first as a scheduler does that comes back, then through the writer."""
    journal = owner.open(path)
    past = journal.load()
    found = {
        "clients": dict(past.clients()),
        "blobs": {digest: past.blob(digest) for digest, _ in list(past.blobs())},
        "contexts": {row.digest: row.header for row in past.contexts()},
        "jobs": {row.key: (row, state) for row, state in past.jobs()},
        "tallies": {row[:3]: row.n for row in past.tallies()},
        "objects": {row.id: row for row in past.objects()},
        "servers": {row.name: row for row in past.servers()},
    }
    pages, entries = list(past.pages()), list(past.entries())
    found["pages"] = {}
    for head in pages:
        row = owner.ask(lambda done, head=head: journal.read_page(head.job, head.first, done))
        assert head[:4] == row[:4] and head.nbytes == sum(map(len, row.buffers))
        found["pages"][head.job, head.first] = row._replace(buffers=flat(row.buffers))
    found["entries"] = {}
    for key in sorted({head.job for head in entries}):
        for row in owner.ask(lambda done, key=key: journal.read_log(key, 0, 1 << 30, done)):
            found["entries"][key, row.position] = row._replace(buffers=flat(row.buffers))
    assert [(*head[:6], head.nbytes) for head in entries] == [
        (*row[:6], sum(map(len, row.buffers))) for row in found["entries"].values()
    ]
    journal.close()
    return found

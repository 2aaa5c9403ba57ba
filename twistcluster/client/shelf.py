"""Where a session's jobs are found again, by number, name or id.

Jobs that aren't over are held; after that whoever has a `Job` or a `Future` holds them, but a job whose results nobody
took stays for a while, up to a number of bytes: somebody may ask for it by name. One of which a wait was interrupted
stays until its results are taken, however large they are: the interrupt said how it is found. Owns: that. Must not know:
links.
"""

import threading
import weakref
from collections import OrderedDict
from typing import Any, NamedTuple

from twistcluster.client.adopted import AdoptedRecord
from twistcluster.client.batches import BatchRecord
from twistcluster.client.futures import Future
from twistcluster.client.items import ItemRecord
from twistcluster.client.lines import Line
from twistcluster.client.patience import free
from twistcluster.client.records import JobRecord
from twistcluster.client.shares import shares_of
from twistcluster.wire.limits import MIB

__all__ = ["Shelf"]

UNCLAIMED_BYTES = 256 * MIB
"""Small results of jobs that are over, that nobody took, and that nobody holds; of large ones the store's size says it."""
UNCLAIMED_JOBS = 1000
"""How many such jobs: those whose results are small, or none, cost memory too."""
KEPT_FUTURES = 100
KEPT_JOBS = 100


class _Unclaimed(NamedTuple):
    record: JobRecord
    large: int
    """Bytes in the store, as they were counted."""
    small: int


class Shelf:
    """The jobs of one session.

    Args:
        line: The session, for jobs that are made here.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._lock = threading.RLock()  # a collected record may take it again
        self._known: weakref.WeakValueDictionary[int, JobRecord] = weakref.WeakValueDictionary()
        self._open: dict[int, JobRecord] = {}
        self._unclaimed: OrderedDict[int, _Unclaimed] = OrderedDict()
        self._large_bytes = self._small_bytes = 0
        self._interrupted: OrderedDict[int, JobRecord] = OrderedDict()
        self._futures: OrderedDict[str, Future[Any]] = OrderedDict()

    def add(self, record: JobRecord) -> None:
        """A job was opened, or goes on."""
        with self._lock:
            self._known[record.number] = record
            self._open[record.number] = record
            self._claim(record)

    def get(self, number: int) -> JobRecord | None:
        """The job of this number, if anybody still holds it."""
        return self._open.get(number) or self._known.get(number)

    def forked(self) -> None:
        """In a forked child: threads that stayed in the parent may have held these locks."""
        free(self._lock)
        for record in self._known.values():
            record.forked()

    def open(self) -> list[JobRecord]:
        """Those that aren't over."""
        with self._lock:
            return list(self._open.values())

    def held(self) -> list[JobRecord]:
        """All that somebody still holds, over or not."""
        with self._lock:
            return [*{record.number: record for record in [*self._known.values(), *self._open.values()]}.values()]

    def named(self, label: str) -> JobRecord | None:
        """The newest of this label that isn't over."""
        with self._lock:
            return next((record for record in reversed(self._open.values()) if record.label == label), None)

    def over(self, record: JobRecord) -> None:
        """A job came to its end: hold it for a while if nobody took its results."""
        with self._lock:
            self._open.pop(record.number, None)
            if not isinstance(record, BatchRecord) and not record.fetched and record.number not in self._interrupted:
                self._hold(record)

    def _hold(self, record: JobRecord) -> None:
        large = record.fates.stored_nbytes
        most_large = shares_of(self._line.values).unclaimed
        if large > most_large:  # it alone: what is there stays
            return
        unclaimed = self._unclaimed
        small = record.fates.nbytes - large
        unclaimed[record.number] = _Unclaimed(record, large, small)
        self._large_bytes += large
        self._small_bytes += small
        while self._large_bytes > most_large:
            self._claim(next(each.record for each in unclaimed.values() if each.large))
        while len(unclaimed) > 1 and (self._small_bytes > UNCLAIMED_BYTES or len(unclaimed) > UNCLAIMED_JOBS):
            self._claim(next(iter(unclaimed.values())).record)

    def fetched(self, record: JobRecord) -> None:
        """Somebody took all results of a job: from now on it is held by whoever has it."""
        with self._lock:
            record.fetched = True
            self._interrupted.pop(record.number, None)
            self._claim(record)

    def forget(self, record: JobRecord) -> None:
        """Nobody will look for a job any more: it is held by whoever has it."""
        with self._lock:
            self._interrupted.pop(record.number, None)
            self._claim(record)
            for name in [name for name, future in self._futures.items() if future.is_of(record)]:
                del self._futures[name]

    def keep(self, kept: object) -> None:
        """Somebody stopped waiting for this job or future: it must be found by its name."""
        if isinstance(kept, ItemRecord):
            kept = kept.future_of_it
        with self._lock:
            if isinstance(kept, Future):
                self._futures[kept.name] = kept
                while len(self._futures) > KEPT_FUTURES:
                    self._futures.popitem(last=False)
            elif isinstance(kept, JobRecord) and not kept.fetched:
                kept.stays = True
                self._claim(kept)
                self._interrupted[kept.number] = kept
                while len(self._interrupted) > KEPT_JOBS:
                    self._interrupted.popitem(last=False)

    def find(self, name: str) -> JobRecord | None:
        """This client's newest job or future (as a job of one item) of this name, or the job of this id, whoever sent it.

        A name that another client gave is the scheduler's to tell: it may have been given again.
        """
        found = self._find(name)
        return ItemRecord(self._line, found.name, found) if isinstance(found, Future) else found

    def adopted(self, name: str) -> AdoptedRecord | None:
        """The newest job of this name that another client sent, of those that somebody here holds."""
        with self._lock:
            records = [each for each in self._known.values() if isinstance(each, AdoptedRecord)]
        return max(
            (each for each in records if each.id and each.label == name), key=lambda each: each.opened, default=None
        )

    def _find(self, name: str) -> JobRecord | Future[Any] | None:
        with self._lock:
            records = sorted(self._known.values(), key=lambda record: record.number, reverse=True)
            for record in records:
                if name == record.id:
                    return record
                if isinstance(record, AdoptedRecord):
                    continue
                if isinstance(record, BatchRecord):  # its label is that of its first call, which has the results
                    future = record.find(name)
                    if future is not None:
                        return future
                elif name == record.label:
                    return record
            kept = self._futures.get(name)
            return None if kept is None or isinstance(kept._owner, AdoptedRecord) else kept  # noqa: SLF001 (the other half of it)

    def _claim(self, record: JobRecord) -> None:
        found = self._unclaimed.pop(record.number, None)
        if found is not None:
            self._large_bytes -= found.large
            self._small_bytes -= found.small

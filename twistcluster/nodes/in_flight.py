"""What a local cluster's slots have in hand, written where the next process of the cluster finds it.

A process that is killed can't say what ran, but memory that it shared survives it. So a local cluster with a journal
keeps a file in the folder of its store, which the process that takes its place adopts: a row for each bite that a slot
has, written when the slot gets it and taken out when it is through. That costs a microsecond or two a bite, and nothing an item.
Owns: that file. Must not know: what follows for the items (core/suspects.py).

A row is the job's client, number and rounds, the first item, a count and, written last, the item behind the last one: 0
where the row is of no account. Rows with a count were written at the start, of what was known then.
"""

import contextlib
import mmap
import os
import pathlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from twistcluster.core.jobs import Job
from twistcluster.core.losses import LOSSES_AT_MOST
from twistcluster.core.scheduler import Scheduler
from twistcluster.core.suspects import Suspect
from twistcluster.nodes.logging import log_event
from twistcluster.wire.messages import Bite

__all__ = ["FILE_BYTES", "InFlight", "suspects_in"]

NAME: Final = "in-flight"
MAKING: Final = "in-flight.making"
MARK: Final = b"twistcluster in flight 1".ljust(64, b"\0")
CLIENT_BYTES: Final = 24
ROW: Final = struct.Struct(f"={CLIENT_BYTES}s4Q")
STOP: Final = struct.Struct("=Q")
ROW_BYTES: Final = ROW.size + STOP.size
ROWS: Final = 1024
"""The counts that are handed on take a quarter at most (core/suspects.py). Bites that find none aren't written down."""
FILE_BYTES: Final = len(MARK) + ROWS * ROW_BYTES
ITEMS_AT_MOST: Final = 1 << 53


class InFlight:
    """The file, as the worker of a local cluster writes it.

    Args:
        fd: Of the file, which has room for all rows. It is closed.
        known: What is to be handed on.
        jobs: The scheduler's, by key.

    Raises:
        OSError: It can't be mapped.
    """

    def __init__(self, fd: int, known: Iterable[Suspect], jobs: Mapping[int, Job]) -> None:
        try:
            self._map = mmap.mmap(fd, FILE_BYTES)
        finally:
            os.close(fd)
        self._words = memoryview(self._map).cast("Q")
        self._jobs = jobs
        self._free = list(range(ROWS - 1, -1, -1))
        self._rows: dict[int, dict[int, int]] = {}
        """By slot and bite."""
        self._map[: len(MARK)] = MARK
        for suspect in known:
            self._write(suspect)

    @classmethod
    def begin(cls, store: str, machine: Scheduler) -> "InFlight | None":
        """Put a new file in the place of the last process's. None where there is no room: then nobody will know."""
        making, place = pathlib.Path(store, MAKING), pathlib.Path(store, NAME)
        try:
            made = cls(_room(making), machine.returning.suspects.known, machine.jobs)
            making.rename(place)
        except OSError as error:
            for path in (making, place):
                with contextlib.suppress(OSError):
                    path.unlink()
            log_event("warning", "what runs can't be noted for the next process of this cluster", {"error": error})
            return None
        return made

    def given(self, slot: int, bite: Bite) -> None:
        """A slot gets a bite."""
        job = self._jobs.get(bite.job)
        if job is not None:
            row = self._write(Suspect(job.owner.id, job.number, job.rounds, bite.start, bite.stop, 0))
            if row is not None:
                self._rows.setdefault(slot, {})[bite.bite] = row

    def done(self, slot: int, bite: int) -> None:
        """A slot is through with a bite."""
        row = self._rows.get(slot, {}).pop(bite, None)
        if row is not None:
            self._clear(row)

    def gone(self, slot: int) -> None:
        """A slot has nothing any more."""
        for row in self._rows.pop(slot, {}).values():
            self._clear(row)

    def close(self) -> None:
        """It is written no more."""
        self._words.release()
        self._map.close()

    def _write(self, suspect: Suspect) -> int | None:
        client = suspect.client.encode()
        if not self._free or len(client) > CLIENT_BYTES:
            return None
        row = self._free.pop()
        at = len(MARK) + row * ROW_BYTES
        ROW.pack_into(self._map, at, client, suspect.number, suspect.rounds, suspect.start, suspect.times)
        self._words[(at + ROW.size) // 8] = suspect.stop
        return row

    def _clear(self, row: int) -> None:
        self._words[(len(MARK) + row * ROW_BYTES + ROW.size) // 8] = 0
        self._free.append(row)


def _room(path: pathlib.Path) -> int:
    """A new file with room for all rows."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # A page of shared memory that can't be had when it is written to ends the process.
        os.posix_fallocate(fd, 0, FILE_BYTES)
    except BaseException:
        os.close(fd)
        raise
    return fd


def suspects_in(store: str) -> list[Suspect]:
    """What the last process of a cluster left in its store's folder; what makes no sense isn't believed."""
    with contextlib.suppress(OSError):
        fd = os.open(f"{store}/{NAME}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(fd, "rb") as file:  # noqa: PTH123 (an open descriptor)
            return list(_rows(file.read(FILE_BYTES + 1)))
    return []


def _rows(data: bytes) -> Iterator[Suspect]:
    if len(data) != FILE_BYTES or not data.startswith(MARK):
        return
    for at in range(len(MARK), FILE_BYTES, ROW_BYTES):
        (stop,) = STOP.unpack_from(data, at + ROW.size)
        if not stop:
            continue
        client, number, rounds, start, times = ROW.unpack_from(data, at)
        name = client.rstrip(b"\0").decode("utf-8", "replace")
        if name and start < stop <= ITEMS_AT_MOST and times <= LOSSES_AT_MOST and max(number, rounds) < ITEMS_AT_MOST:
            yield Suspect(name, number, rounds, start, stop, times)

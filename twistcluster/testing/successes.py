"""The first success of each item, as it came to the scheduler, and whether that one is what clients are told.

Owns: that check. Must not know: how the scheduler decides.
"""

from twistcluster.core.jobs import Job
from twistcluster.core.scheduler import Scheduler
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Message, Report, Results

__all__ = ["Successes"]


class Successes:
    """What was reported first by whoever held the item.

    Args:
        scheduler: the one that hears it.
        fates: what its journal had when it came: by job and item, what became of it, and its result.
    """

    __slots__ = ("_first", "_scheduler")

    def __init__(self, scheduler: Scheduler, fates: dict[int, dict[int, tuple[str, bytes]]] | None = None) -> None:
        self._scheduler = scheduler
        self._first: dict[Job, dict[int, bytes]] = {}
        for key, found in (fates or {}).items():
            job = scheduler.jobs[key]
            self._first[job] = {index: value for index, (fate, value) in found.items() if fate == "done"}

    def said(self, peer: int, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """A peer says something, and the scheduler hasn't heard it yet."""
        worker = self._scheduler.leasing.workers.get(peer)
        if worker is not None and isinstance(message, Report):
            entry = worker.leases.get(message.lease)
            if entry is not None and entry[0].remakes is None:
                first = self._first.setdefault(entry[0], {})
                for index in range(message.start, message.start + message.count):
                    first.setdefault(index, bytes(buffers[0]))

    def told(self, peer: int, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """The scheduler says something."""
        client = self._scheduler.clients.get(peer)
        if client is not None and isinstance(message, Results):
            job = client.jobs.get(message.job)
            for index in range(message.first, message.first + message.count) if job is not None else ():
                assert job is not None
                first = self._first[job].get(index)
                assert first == bytes(buffers[0]), f"item {index} of {job.id}: {first!r} came first, {buffers} is told"

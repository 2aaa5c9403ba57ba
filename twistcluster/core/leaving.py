"""A worker that leaves: it takes nothing new, gives back what hasn't started, finishes what runs, and ends.

Owns: these steps, and how long what runs may take. Must not know: why it leaves.
"""

from typing import TYPE_CHECKING, Final

from twistcluster.core.worker_effects import Ended

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["GRACE_S", "Leaving"]

GRACE_S: Final = 10.0
"""What still runs after this is handed back: it runs elsewhere, and that isn't held against it."""


class Leaving:
    """How a worker leaves."""

    __slots__ = ("_ended", "_worker", "since")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self.since: float | None = None
        """When it began to; None: it stays."""
        self._ended = False

    @property
    def due(self) -> float | None:
        """When the grace ends."""
        return None if self.since is None or self._ended else self.since + GRACE_S

    def begin(self) -> None:
        """Leave. The scheduler hears of it with the next word on slots."""
        worker = self._worker
        if self.since is not None:
            return
        self.since = worker.now
        worker.status.urgent = True
        worker.crew.target = 0
        worker.crew.drop_spare()
        for lease in list(worker.leases.values()):
            lease.wanted = True  # what comes back from slots goes up
            for start, stop in lease.job.tail(lease, 0):
                worker.release(lease, start, stop)
        worker.pending.clear()
        for slot in list(worker.crew.slots.values()):
            if slot.draining != "retire":
                worker.taking.drain(slot, "retire")

    def look(self) -> None:
        """End, if nothing runs any more or the grace is over."""
        if self.since is None or self._ended:
            return
        if not self._worker.crew.slots:
            self._end("it was told to leave, and nothing runs here any more")
        elif self._worker.now >= self.since + GRACE_S:
            self._end(f"it was told to leave {GRACE_S:g} s ago; what still runs is handed back")

    def _end(self, reason: str) -> None:
        self._ended = True
        self._worker.effects.append(Ended(reason))

"""What a worker tells of its slots, unasked: how many are up and busy, and which items run long.

Owns: what was told, and when it is told again. Must not know: who reads it.
"""

from typing import TYPE_CHECKING, Final

from twistcluster.core.bites import WorkerJob
from twistcluster.wire.messages import Running, SlotsChanged

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["WorkerStatusTeller"]

OFTEN_S: Final = 0.2
"""Between two lists of running items, and between two changes of how many slots are busy."""
AGAIN_S: Final = 1.0
"""A list that names the same items is told again so often: their time goes into the mean."""


class WorkerStatusTeller:
    """Tells."""

    __slots__ = ("_running", "_running_at", "_slots", "_slots_at", "_worker", "due")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._slots: SlotsChanged | None = None
        self._slots_at = 0.0
        self._running: set[tuple[int, int]] = set()
        self._running_at = 0.0
        self.due: float | None = None

    def forget(self) -> None:
        """Whoever listens now knows nothing yet."""
        self._slots = None
        self._running = set()

    def look(self) -> None:
        """Tell what changed; what changes often waits until it is due."""
        self.due = None
        self._look_at_slots()
        self._look_at_running()

    def _look_at_slots(self) -> None:
        worker = self._worker
        slots = worker.crew.slots.values()
        busy = sum(slot.busy for slot in slots)
        ready = sum(slot.ready for slot in slots)
        news = SlotsChanged(worker.crew.target, ready, busy, worker.crew.crashes)
        old = self._slots
        if news == old:
            return
        only_busy = old is not None and (news.slots, news.ready, news.crashes) == (old.slots, old.ready, old.crashes)
        if only_busy and worker.now < self._slots_at + OFTEN_S:
            self._call_at(self._slots_at + OFTEN_S)
            return
        self._slots, self._slots_at = news, worker.now
        worker.up(news)

    def _look_at_running(self) -> None:
        now = self._worker.now
        running = [found for slot in self._worker.crew.slots.values() if (found := slot.running(now)) is not None]
        if not running and not self._running:
            return
        if now < self._running_at + OFTEN_S:
            self._call_at(self._running_at + OFTEN_S)
            return
        items = [(bite.lease.number, index, seconds) for bite, index, seconds in running if not bite.job.ended]
        names = {(lease, index) for lease, index, _ in items}
        if names != self._running or now >= self._running_at + AGAIN_S:
            self._running, self._running_at = names, now
            self._worker.up(Running(items))
            self._measure([(bite.job, seconds) for bite, _, seconds in running])
        self._call_at(now + OFTEN_S)

    def _measure(self, running: list[tuple[WorkerJob, float]]) -> None:
        """The time of items that run counts in their job's mean."""
        for job in self._worker.jobs.values():
            seconds = [elapsed for other, elapsed in running if other is job]
            job.pace.running(len(seconds), sum(seconds))

    def _call_at(self, when: float) -> None:
        self.due = when if self.due is None else min(self.due, when)

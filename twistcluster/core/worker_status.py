"""What a worker tells of itself, unasked: how many slots are up and busy, whether memory is short, which items run long.

Owns: what was told, and when it is told again. Must not know: who reads it.
"""

from typing import TYPE_CHECKING, Final

from twistcluster.core.bites import WorkerJob
from twistcluster.wire.messages import Running, SlotsChanged

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["WorkerStatusTeller"]

OFTEN_S: Final = 0.2
"""Between two looks at what changes often: which items run, how many slots are busy."""
SOON_S: Final = 0.05
"""Until the first look after a rest: a submit that is done in 0.2 ms must not pay for it."""
AGAIN_S: Final = 1.0
"""A list that names the same items is told again so often: their time goes into the mean."""


class WorkerStatusTeller:
    """Tells."""

    __slots__ = ("_looked", "_running", "_running_at", "_slots", "_worker", "due", "urgent")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._slots: SlotsChanged | None = None
        self._looked = 0.0
        self._running: set[tuple[int, int]] = set()
        self._running_at = 0.0
        self.due: float | None = None
        self.urgent = True
        """A slot came up, died or went; memory is short, or is no more."""

    def forget(self) -> None:
        """Whoever listens now knows nothing yet."""
        self._slots = None
        self._running = set()
        self.urgent = True

    def look(self) -> None:
        """Something happened: tell what is urgent, and what is due."""
        now = self._worker.now
        if not self.urgent:
            if self.due is None:
                self.due = max(self._looked + OFTEN_S, now + SOON_S)
            if now < self.due:
                return
        self.urgent = False
        self._looked = now
        self._look_at_slots()
        self.due = now + OFTEN_S if self._look_at_running() else None

    def _look_at_slots(self) -> None:
        worker = self._worker
        slots = worker.crew.slots.values()
        busy = sum(slot.busy for slot in slots)
        ready = sum(slot.ready for slot in slots)
        held = [slot for slot in slots if slot.stopped]
        stopped = sorted(slot.pid for slot in held)
        usable = max(0, worker.crew.target - sum(slot.draining != "retire" for slot in held))
        leaving = worker.leaving.since is not None
        beside = sum(slot.busy for slot in slots if slot.stopped or slot.draining == "retire")
        news = SlotsChanged(usable, ready, busy, worker.crew.crashes, worker.memory.text, stopped, leaving, beside)
        if news != self._slots:
            self._slots = news
            worker.up(news)

    def _look_at_running(self) -> bool:
        """Tell which items run long; returns whether another look is due although nothing may happen."""
        now = self._worker.now
        slots = self._worker.crew.slots.values()
        # How long a stopped slot has its item says nothing of the others'.
        running = [found for slot in slots if not slot.stopped and (found := slot.running(now)) is not None]
        if not running and not self._running:
            return False
        items = [(bite.lease.number, index, seconds) for bite, index, seconds in running if not bite.job.ended]
        names = {(lease, index) for lease, index, _ in items}
        if names != self._running or now >= self._running_at + AGAIN_S:
            self._running, self._running_at = names, now
            self._worker.up(Running(items))
            self._measure([(bite.job, seconds) for bite, _, seconds in running])
        return bool(running)

    def _measure(self, running: list[tuple[WorkerJob, float]]) -> None:
        """The time of items that run counts in their job's mean, which may be that of several jobs."""
        for pace in {id(job.pace): job.pace for job in self._worker.jobs.values()}.values():
            seconds = [elapsed for job, elapsed in running if job.pace is pace]
            pace.running(len(seconds), sum(seconds))

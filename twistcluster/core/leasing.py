"""Who gets what: leases to workers, their size, and taking them back.

Owns: the decision. A worker is kept filled to a target of seconds; its next lease comes when half of that is done, so
the cost grows with time and workers, not with items. Must not know: messages from clients, how results are told.
"""

from collections.abc import Iterable

from twistcluster.core.effects import Effect, Send
from twistcluster.core.fairness import ReadyJobs
from twistcluster.core.jobs import Job
from twistcluster.core.spans import LeasedSpan
from twistcluster.core.supply import Supply
from twistcluster.core.workers import Needs, Worker
from twistcluster.wire.messages import Lease, Revoke

__all__ = ["TARGET_S", "Leasing"]

TARGET_S = 0.05
"""Seconds of work that a worker is filled up to, while the scheduler is less than half busy."""
TARGET_LONGEST = 64
"""How far the target is stretched, at most, for a busy scheduler."""
CAUTIOUS_ITEMS = 16
"""A lease of items that were on a worker when it was lost is no longer than this."""
STEAL_S = 0.01
"""A lease with less work than this left isn't worth asking back."""


class Leasing:
    """Fills workers with leases."""

    __slots__ = ("_effects", "_next_lease", "_stretch", "_supply", "ready", "roomy", "slots", "workers")

    def __init__(self, effects: list[Effect], supply: Supply) -> None:
        self._effects = effects
        self._supply = supply
        self._next_lease = 1
        self._stretch = 1
        self.ready = ReadyJobs()
        self.workers: dict[int, Worker] = {}
        self.roomy: dict[Worker, None] = {}
        """Workers that had room when they were last filled."""
        self.slots = 0
        """Of all workers."""

    @property
    def target_s(self) -> float:
        """Seconds of work that each slot of a worker is given in advance."""
        return TARGET_S * self._stretch

    def pace(self, busy_share: float) -> None:
        """Longer leases for a busy scheduler, shorter ones again when it has time."""
        if busy_share > 0.5:
            self._stretch = min(self._stretch * 2, TARGET_LONGEST)
        elif busy_share < 0.2:
            self._stretch = max(self._stretch // 2, 1)

    def add(self, worker: Worker) -> None:
        """A worker joined."""
        self.workers[worker.peer] = worker
        self.slots += worker.slots
        self.roomy[worker] = None

    def remove(self, worker: Worker) -> None:
        """A worker is gone; its leases are the caller's to see to."""
        del self.workers[worker.peer]
        self.slots -= worker.slots
        self.roomy.pop(worker, None)

    def resize(self, worker: Worker, slots: int) -> None:
        """A worker has another number of slots."""
        self.slots += slots - worker.slots
        worker.slots = slots
        self.roomy[worker] = None

    def pending(self, job: Job) -> None:
        """A job may have pending items."""
        if job.spans.pending and not job.over:
            new_priority = job.info.priority
            self.ready.add(job)
            if len(self.roomy) < len(self.workers):
                # Workers full of work of a lower priority have room for this one.
                for worker in self.workers.values():
                    if worker not in self.roomy and all(p < new_priority for p, _ in worker.loads):
                        self.roomy[worker] = None

    def fill(self) -> None:
        """Lease what is pending to the workers that have room."""
        if not self.ready or not self.roomy:
            return
        for worker in list(self.roomy):
            if self._fill(worker):
                del self.roomy[worker]
            if not self.ready:
                return

    def _fill(self, worker: Worker) -> bool:
        """Fill one worker; returns whether it is full."""
        target = self.target_s
        for priority in self.ready.priorities():
            while True:
                room_s, places = worker.room(priority, (), target)
                if room_s < target * worker.slots / 2 and places <= 0:
                    return True

                def fits(needs: Needs, priority: int = priority) -> bool:
                    if not needs:
                        return True
                    seconds, free = worker.room(priority, needs, target)
                    return worker.width(needs) > 0 and (free > 0 or seconds >= target * worker.width(needs) / 2)

                job = self.ready.pick(priority, fits)
                if job is None:
                    break
                self._lease(worker, job, target)
                if job.spans.pending:
                    self.ready.add(job)
        return False

    def _lease(self, worker: Worker, job: Job, target: float) -> None:
        needs, priority = job.resources, job.info.priority
        seconds, places = worker.room(priority, needs, target)
        unit = job.pace.unit(otherwise=target)
        width = worker.width(needs)
        fair = (
            -(-len(job.spans.pending) * width // (2 * self.slots)) if job.count is not None else len(job.spans.pending)
        )
        count = max(min(job.pace.size(max(seconds, unit)), fair), places, 1)
        if job.lost_once:
            count = self._cautious(job, count)
        number = self._next_lease
        self._next_lease += 1
        lease = job.spans.take(number, worker, count, unit)
        if lease is None:
            return
        self._supply.lease(worker, job, lease.start, lease.stop)
        worker.leases[number] = job, lease
        items = lease.stop - lease.start
        worker.charge(job, items, unit)
        self.ready.charge(job, items * unit)
        if job.state != "running":
            job.advance("leased")
        self._effects.append(Send(worker.peer, Lease(number, job.key, lease.start, lease.stop)))
        if len(worker.loads) > 1:
            self._take_back_below(worker, priority)

    @staticmethod
    def _cautious(job: Job, count: int) -> int:
        """Fewer items at once where they were on a worker that was lost; one, where that happened twice."""
        first = job.spans.pending.first()
        if first is None:
            return count
        start = first[0]
        if job.lost_twice.overlap(start, start + 1):
            return 1
        close = job.lost_once.overlap(start, start + count)
        return min(count, CAUTIOUS_ITEMS) if close else count

    def _take_back_below(self, worker: Worker, priority: int) -> None:
        for job, lease in worker.leases.values():
            if job.info.priority < priority and not lease.revoked and len(lease.left) > 1:
                self.revoke(lease, 0)

    def revoke(self, lease: LeasedSpan[Worker], keep: int) -> None:
        """Ask a lease back, but for `keep` unstarted items."""
        if not lease.revoked:
            lease.revoked = True
            self._effects.append(Send(lease.holder.peer, Revoke(lease.number, keep)))

    def reported(self, worker: Worker, number: int, items: int) -> None:
        """Items left a lease: reported, failed or given back."""
        job, lease = worker.leases[number]
        worker.charge(job, -items, lease.unit_s)
        if not lease.left:
            worker.leases.pop(number, None)
        if worker not in self.roomy:
            room_s, places = worker.room(job.info.priority, (), self.target_s)
            if places > 0 or room_s >= self.target_s * worker.slots / 2:
                self.roomy[worker] = None

    def idle(self) -> list[Worker]:
        """Workers that have places and nothing pending to put there."""
        return [w for w in self.roomy if w.slots and w.room(-(1 << 62), (), self.target_s)[1] > 0]

    def steal(self, jobs: Iterable[Job]) -> None:
        """Ask the longest leases back by half, for the workers that are idle."""
        idle = self.idle()
        if not idle or len(self.workers) < 2:
            return
        candidates = [
            (len(lease.left) * job.pace.unit(self.target_s), lease.number, lease)
            for job in jobs
            for lease in job.spans.leases.values()
            if not lease.revoked and not lease.fruitless and len(lease.left) > lease.holder.width(job.resources)
        ]
        candidates.sort(key=lambda c: c[:2], reverse=True)
        for seconds, _, lease in candidates[: len(idle)]:
            if seconds >= STEAL_S:
                self.revoke(lease, max(0, (len(lease.left) - 2 * lease.holder.slots) // 2))

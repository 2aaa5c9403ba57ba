"""Who gets what: leases to workers, their size, and taking them back.

Owns: the decision. A worker is kept filled to a target of seconds; its next lease comes when half of that is done, so
the cost grows with time and workers, not with items. Must not know: messages from clients, how results are told.
"""

from collections import Counter
from collections.abc import Iterable

from twistcluster.core.effects import Effect, Send
from twistcluster.core.fairness import ReadyJobs
from twistcluster.core.jobs import Job
from twistcluster.core.places import local_range
from twistcluster.core.spans import LeasedSpan, Paces
from twistcluster.core.supply import Supply
from twistcluster.core.workers import Needs, Worker
from twistcluster.wire.messages import Lease, Revoke

__all__ = ["TARGET_S", "Leasing"]

TARGET_S = 0.05
"""Seconds of work that a worker is filled up to, while the scheduler is less than half busy."""
TARGET_LONGEST = 64
"""How far the target is stretched, at most, for a busy scheduler."""
TOGETHER_AT_LEAST = 8
"""Items that may go together, in the room of `TARGET_S`, unless one alone takes longer than that."""
STEAL_S = 0.01
"""A lease with less work than this left isn't worth asking back."""


class Leasing:
    """Fills workers with leases."""

    __slots__ = (
        "_effects",
        "_hosts",
        "_leased",
        "_next_lease",
        "_roomy",
        "_stretch",
        "_supply",
        "_unfilled",
        "asked",
        "paces",
        "ready",
        "slots",
        "troubled",
        "workers",
    )

    def __init__(self, effects: list[Effect], supply: Supply) -> None:
        self._effects = effects
        self._supply = supply
        self._next_lease = 1
        self._stretch = 1
        self.ready = ReadyJobs()
        self.paces = Paces()
        """Of functions whose items may go together."""
        self.workers: dict[int, Worker] = {}
        self._unfilled: dict[Worker, None] = {}
        """Workers that may have room, to be looked at."""
        self._roomy: dict[Worker, None] = {}
        """Workers that have room for which nothing fitted when they were looked at."""
        self._leased: dict[int, int] = {}
        """How many leases there are of each priority."""
        self._hosts: Counter[str] = Counter()
        """How many workers there are on each host."""
        self.slots = 0
        """Of all workers that are trusted."""
        self.asked: dict[LeasedSpan[Worker], float] = {}
        """Leases that were asked back, and for how long no answer came, as the vigil counts it (negative: it hasn't looked)."""
        self.troubled: dict[Worker, None] = {}
        """Suspects, and workers with stopped slots."""

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
        self._hosts[worker.hello.host] += 1
        self._unfilled[worker] = None

    def remove(self, worker: Worker) -> None:
        """A worker is gone; its leases are the caller's to see to."""
        del self.workers[worker.peer]
        if not worker.suspect:
            self.slots -= worker.slots
        self.troubled.pop(worker, None)
        self._hosts[worker.hello.host] -= 1
        if not self._hosts[worker.hello.host]:
            del self._hosts[worker.hello.host]
        self._unfilled.pop(worker, None)
        self._roomy.pop(worker, None)
        for job, _ in worker.leases.values():
            self._ended(job)

    def told_memory(self, worker: Worker, short: str) -> None:
        """A worker is short of memory, in words, or has enough again.

        While it is short it counts as full, but for one item at a time: where other programs fill the memory for good,
        work goes on all the same. What it was leased before stays its own.
        """
        if worker.short and not short:
            self._unfilled[worker] = None
        worker.short = short

    def doubt(self, worker: Worker, why: str) -> None:
        """A worker gets nothing new, and is no help to others; what it was leased stays its own."""
        if not worker.suspect:
            self.slots -= worker.slots
        worker.suspect = why
        self.troubled[worker] = None
        self._roomy.pop(worker, None)

    def trust(self, worker: Worker) -> None:
        """A suspect is one no more."""
        worker.suspect = ""
        self.slots += worker.slots
        self._unfilled[worker] = None
        if not worker.stopped:
            self.troubled.pop(worker, None)

    def opened(self, job: Job) -> None:
        """A job is there."""
        if job.kind is not None:
            job.pace = self.paces.of(job.kind)

    def runnable(self, job: Job) -> bool:
        """Whether a worker that is here could run it."""
        return any(worker.width(job.needs) > 0 for worker in self.workers.values())

    def resize(self, worker: Worker, slots: int) -> None:
        """A worker has another number of slots."""
        if not worker.suspect:
            self.slots += slots - worker.slots
        worker.slots = slots
        self._unfilled[worker] = None
        if not slots:
            for _, lease in worker.leases.values():
                self.revoke(lease, 0)

    def pending(self, job: Job) -> None:
        """A job may have pending items."""
        if job.spans.pending and not (job.over or job.withheld) and self.ready.add(job):
            self.look_again()
            priority = job.info.priority
            if any(other < priority for other in self._leased):
                # Workers full of work of a lower priority have room for this one.
                self._unfilled.update(dict.fromkeys(self.workers.values()))

    def look_again(self) -> None:
        """There may be work for the workers that have room."""
        if self._roomy:
            self._unfilled.update(self._roomy)
            self._roomy.clear()

    def fill(self) -> None:
        """Lease what is pending to the workers that have room."""
        unfilled, ready = self._unfilled, self.ready
        while unfilled and ready:
            worker = next(iter(unfilled))
            full = self._fill(worker)
            if full is None:
                continue
            if not full and not ready:
                return
            del unfilled[worker]
            if not full:
                self._roomy[worker] = None

    def _fill(self, worker: Worker) -> bool | None:
        """Fill one worker; returns whether it is full. None: it is the others' turn."""
        target, slots = self.target_s, worker.slots
        full_s = target * slots / 2
        if worker.alone in worker.leases:
            # Should it be lost as well, it must be plain which item was the cause: nothing runs beside that one.
            return True
        if worker.suspect or (worker.short and worker.leases):
            return True
        for priority in self.ready.priorities():
            room_s, places = (0.0, 1) if worker.short else worker.room(priority, target)

            def fits(needs: Needs, priority: int = priority) -> bool:
                if not needs:
                    return True
                seconds, free = worker.room_for(needs, priority, target)
                return free > 0 or seconds >= max(target * worker.width(needs) / 2, 1e-9)

            while places > 0 or room_s >= full_s:
                if not slots:
                    return True
                job = self.ready.pick(priority, fits)
                if job is None:
                    break
                items, unit = self._lease(worker, job, target, room_s, places)
                room_s -= items * unit
                places -= items
                if places <= 0 and job.kind is not None and len(self._unfilled) > 1:
                    # Of what may go together there is much in advance, in many jobs: not all of them for one worker.
                    del self._unfilled[worker]
                    self._unfilled[worker] = None
                    return None
                if worker.alone in worker.leases:
                    return True
            else:
                return True
        return False

    def _lease(self, worker: Worker, job: Job, target: float, room_s: float, places: int) -> tuple[int, float]:
        """Lease items of a job to a worker; returns how many, and what each counts for of its room."""
        needs, priority, spans = job.needs, job.info.priority, job.spans
        width = worker.slots
        if needs:
            width = worker.width(needs)
            room_s, places = worker.room_for(needs, priority, target)
        unit = job.pace.unit(otherwise=target)
        pending = len(spans.pending)
        fair = pending if job.count is None else -(-pending * width // (2 * self.slots))
        count = max(min(job.pace.size(max(room_s, unit)), fair), places, 1)
        number = self._next_lease
        self._next_lease = number + 1
        if worker.short:
            count = 1
        load = self._load(job, unit)
        near = None
        if job.losses:
            count = self._cautious(worker, job, count, number)
        elif job.local is not None and len(self._hosts) > 1:
            near = local_range(job, worker.hello.host)
        if near is None:
            lease = spans.take(number, worker, count, load)
        else:
            lease = spans.take_range(number, worker, near[0], min(near[1], near[0] + count), load)
        assert lease is not None, "a job that is picked has pending items"
        self._supply.lease(worker, job, lease.start, lease.stop)
        worker.leases[number] = job, lease
        self._leased[priority] = self._leased.get(priority, 0) + 1
        items = lease.stop - lease.start
        worker.charge(job, items, load)
        self.ready.charge(job, items * unit)
        if job.state != "running":
            job.advance("leased")
        self._effects.append(Send(worker.peer, Lease(number, job.key, lease.start, lease.stop)))
        if len(worker.loads) > 1:
            self._take_back_below(worker, priority)
        return items, load

    def _load(self, job: Job, unit: float) -> float:
        """What an item counts for of a worker's room, in seconds. `unit`: how long it is taken to need.

        Where items may go together there are some more of them: that they are shorter then shows only then.
        """
        if job.kind is None or job.pace.unit(otherwise=0.0) > TARGET_S:
            return unit
        return min(unit, self.target_s / TOGETHER_AT_LEAST)

    @staticmethod
    def _cautious(worker: Worker, job: Job, count: int, number: int) -> int:
        """Fewer items at once where they were on a worker that was lost; one, where that happened twice or more."""
        first = job.spans.pending.first()
        if first is None:
            return count
        if job.losses.isolates(first[0]):
            worker.alone = number
            return 1
        return job.losses.cautious(first[0], count)

    def _take_back_below(self, worker: Worker, priority: int) -> None:
        for job, lease in worker.leases.values():
            if job.info.priority < priority and not lease.revoked and len(lease.left) > 1:
                self.revoke(lease, 0)

    def revoke(self, lease: LeasedSpan[Worker], keep: int) -> None:
        """Ask a lease back, but for `keep` unstarted items."""
        if not lease.revoked:
            lease.revoked = True
            self.asked[lease] = -1.0
            self._effects.append(Send(lease.holder.peer, Revoke(lease.number, keep)))

    def reported(self, worker: Worker, number: int, items: int) -> None:
        """Items left a lease: reported, failed or given back."""
        job, lease = worker.leases[number]
        worker.charge(job, -items, lease.unit_s)
        if not lease.left:
            del worker.leases[number]
            self._ended(job)
        self._unfilled[worker] = None

    def _ended(self, job: Job) -> None:
        priority = job.info.priority
        self._leased[priority] -= 1
        if not self._leased[priority]:
            del self._leased[priority]

    def idle(self) -> list[Worker]:
        """Workers that have places, and memory, and nothing pending to put there."""
        lowest, target = -(1 << 70), self.target_s
        able = [w for w in {**self._roomy, **self._unfilled} if w.slots and not (w.short or w.suspect)]
        return [w for w in able if w.room(lowest, target)[1] > 0]

    @property
    def hungry(self) -> bool:
        """Whether there may be idle workers, and others from which to steal for them."""
        return len(self.workers) > 1 and bool(self._roomy or self._unfilled)

    def steal(self, jobs: Iterable[Job]) -> None:
        """Ask the longest leases back by half, for the workers that are idle."""
        idle = self.idle() if self.hungry else []
        if not idle:
            return
        candidates = [
            (len(lease.left) * job.pace.unit(self.target_s), lease.number, lease)
            for job in jobs
            for lease in job.spans.leases.values()
            if not (lease.revoked or lease.fruitless or lease.holder.suspect)
            and len(lease.left) > lease.holder.width(job.needs)
        ]
        candidates.sort(key=lambda c: c[:2], reverse=True)
        for seconds, _, lease in candidates[: len(idle)]:
            if seconds >= STEAL_S:
                self.revoke(lease, max(0, (len(lease.left) - 2 * lease.holder.slots) // 2))

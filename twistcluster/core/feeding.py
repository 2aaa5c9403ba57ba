"""Feeding slots: which slot gets the next bite of which job.

Owns: that decision, and making the bite. Must not know: what slots answer.
"""

from typing import TYPE_CHECKING

from twistcluster.core.bites import (
    ALONE_S,
    IN_FLIGHT,
    TOGETHER_AT_MOST,
    HeldLease,
    WorkerJob,
    bite_size,
    choose,
    in_flight,
)
from twistcluster.core.contexts import fits
from twistcluster.core.slots import NO_ITEM, BiteRecord, Slot
from twistcluster.wire.messages import Bite

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["Feeding"]


class Feeding:
    """Gives bites to slots."""

    __slots__ = ("_next_bite", "_turn", "_worker")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._next_bite = 1
        self._turn = 0

    def fill(self) -> None:
        """First every slot that has nothing gets a bite, then every slot a second one."""
        for depth in range(IN_FLIGHT):
            for slot in self._worker.crew.slots.values():
                if slot.open and len(slot.bites) == depth:
                    self._give(slot, self._next(slot))
                    if not self._worker.pending:
                        return
        if any(job.message.together for job in self._worker.pending.values()):
            self._fill_together()

    def _fill_together(self) -> None:
        """Then what may go together with all that a slot has: in turn, too, so that nobody waits longer for it."""
        for depth in range(IN_FLIGHT, TOGETHER_AT_MOST):
            for slot in self._worker.crew.slots.values():
                if slot.open and len(slot.bites) == depth:
                    job = self._next(slot)
                    if job is not None and goes_together(slot, job):
                        self._give(slot, job)
                        if not self._worker.pending:
                            return

    def _next(self, slot: Slot) -> WorkerJob | None:
        return choose(self._worker.pending.values(), lambda job: self.suits(slot, job))

    def _size(self, job: WorkerJob) -> int:
        return bite_size(job, max(1, self._worker.crew.target))

    def _give(self, slot: Slot, job: WorkerJob | None) -> None:
        while job is not None:
            first = job.spans.pending.first()
            lease = None if first is None else job.holder(first[0])
            if first is not None and lease is not None:
                stop = lease.left.overlap(first[0], first[1])[0][1]
                self._bite(slot, job, lease, first[0], stop)
                return
            # Nothing of it is left: it was ended or given back meanwhile.
            del self._worker.pending[job.number]
            job = self._next(slot)

    def suits(self, slot: Slot, job: WorkerJob) -> bool:
        """Whether a slot may take items of a job now."""
        if not fits(slot.binding, job.context) or not self._worker.resources.free(slot.number, job):
            return False
        if slot.bites and job.pace.unit(otherwise=0.0) > ALONE_S:
            return False
        if slot.reserved and slot.binding is None and slot.reserved != job.context.base:
            return not any(other.context.base == slot.reserved for other in self._worker.pending.values())
        return True

    def _bite(self, slot: Slot, job: WorkerJob, lease: HeldLease, start: int, stop: int) -> None:
        count = min(self._size(job), stop - start)
        alone = start in job.alone
        if job.alone:
            behind = job.alone.overlap(start, start + count)
            count = 1 if alone else min(count, *(first - start for first, _ in behind)) if behind else count
        parcels = self._worker.stock.bring_items(slot.ledger, job.message, job.pages, start, start + count)
        number, self._next_bite = self._next_bite, self._next_bite + 1
        span = job.spans.take(number, slot, count)
        if span is None:
            return
        slot.bind(job.context, self._worker.now)
        if not slot.bites:
            slot.ordinal, slot.since = NO_ITEM, self._worker.now
        self._worker.resources.occupy(slot.number, job)
        self._turn += 1
        job.turn = self._turn
        bite = BiteRecord(number, job, lease, span, slot.next_ordinal)
        slot.bites[number] = bite
        slot.next_ordinal += count
        if not job.spans.pending:
            self._worker.pending.pop(job.number, None)
        for message, buffers in parcels:
            self._worker.tell(slot, message, buffers)
        self._worker.tell(slot, Bite(number, job.number, span.start, span.stop, bite.ordinal, alone))


def goes_together(slot: Slot, job: WorkerJob) -> bool:
    """Whether items of a job may go together with all that a slot has, and that isn't enough for a group."""
    bites = slot.bites.values()
    if job.kind is None or any(bite.job.kind != job.kind for bite in bites):
        return False
    return sum(bite.span.stop - bite.span.start for bite in bites) < in_flight(job)

"""Slots that change hands: which are replaced so that a context without slots gets some.

Owns: that decision, by the rules of contexts.py. Must not know: how a slot is replaced.
"""

from typing import TYPE_CHECKING

from twistcluster.core.bites import WorkerJob
from twistcluster.core.contexts import SWITCH_S, donor, fits, shares
from twistcluster.core.slots import Slot
from twistcluster.wire.messages import Context

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["Rebalance"]


class Rebalance:
    """Looks after jobs whose context has too few slots."""

    __slots__ = ("_seen", "_worker", "due")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._seen: set[bytes] = set()
        self.due: float | None = None

    def seen(self, context: Context) -> None:
        """A job of this context came."""
        self._seen.add(context.digest)
        bases = {slot.binding.base for slot in self._worker.crew.slots.values() if slot.binding is not None}
        if bases - {context.base}:
            self._worker.crew.wants_spare = True

    def look(self) -> None:
        """See to the pending jobs. While all that ever came is of one context there is nothing to see to."""
        self.due = None
        if len(self._seen) < 2:
            return
        for job in sorted(self._worker.pending.values(), key=lambda job: -job.priority):
            self._see_to(job)

    def _see_to(self, job: WorkerJob) -> None:
        worker, context = self._worker, job.context
        slots = [slot for slot in worker.crew.slots.values() if slot.draining != "retire"]
        mine = [slot for slot in slots if self._coming(slot, context)]
        bases = {other.context.base for other in worker.pending.values()}
        bases |= {slot.binding.base for slot in slots if slot.binding is not None and slot.busy}
        share = shares(worker.crew.target, bases)
        if mine and (len(mine) >= share or not all(slot.busy for slot in mine)):
            job.waiting_since = None
            return
        others = [slot for slot in slots if slot not in mine and not slot.draining]
        idle = [slot for slot in others if not slot.busy and not self._wanted(slot)]
        if idle:
            job.waiting_since = None
            worker.taking.drain(min(idle, key=lambda slot: slot.bound_at), "replace", context.base)
            return
        if job.waiting_since is None:
            job.waiting_since = worker.now
        if worker.now < job.waiting_since + SWITCH_S:
            self._call_at(job.waiting_since + SWITCH_S)
        else:
            self._switch(job, others, share, len(mine))

    def _switch(self, job: WorkerJob, others: list[Slot], share: int, has: int) -> None:
        """It has waited long enough: take a slot from whoever has most."""
        now = self._worker.now
        settled = [slot for slot in others if slot.binding is not None and now >= slot.bound_at + SWITCH_S]
        base = donor([slot.binding.base for slot in settled if slot.binding is not None], job.context.base, share, has)
        if base is None:
            # Same base, but steps that exclude each other: the slot that has been so for longest gives way.
            same = [slot for slot in settled if slot.binding is not None and slot.binding.base == job.context.base]
            victims = same if not has else []
        else:
            victims = [slot for slot in settled if slot.binding is not None and slot.binding.base == base]
        if victims:
            job.waiting_since = None
            victim = min(victims, key=lambda slot: slot.bound_at)
            self._worker.taking.drain(victim, "replace", job.context.base)
        else:
            self._call_at(now + SWITCH_S / 4)

    def _coming(self, slot: Slot, context: Context) -> bool:
        """Whether a slot is one for this context, or will be."""
        if slot.draining:
            return slot.heir == context.base
        if slot.binding is None:
            return slot.reserved in {b"", context.base}
        return fits(slot.binding, context)

    def _wanted(self, slot: Slot) -> bool:
        return any(fits(slot.binding, job.context) for job in self._worker.pending.values())

    def _call_at(self, when: float) -> None:
        self.due = when if self.due is None else min(self.due, when)

"""Taking items back from slots, in two phases: a limit is written into the slot's page, and only what the slot then
certainly won't start is given to another.

Owns: when that is worth it, and what is certain when. Must not know: how a limit is written.

The slot writes the number of an item, then reads the limit; the worker writes the limit, waits a millisecond, then
reads the number. So whatever the slot does, items from the limit on (or, if it is past it, behind the one it is at)
won't be started; the one item in doubt is settled by the slot's `BiteDone`. Between bites the page says up to where the
slot came: what it did before the limit was written may not have been heard yet. The limit stays until all bites that
were in flight are through, so each of them ends at it.
"""

from typing import TYPE_CHECKING, Final, Literal

from twistcluster.core.slots import NO_LIMIT, Slot
from twistcluster.core.worker_effects import LimitSlot

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["Taking"]

WORTH_S: Final = 0.016
"""Work behind an item that isn't long, from which on half of it is given to an idle slot."""
OTHERS_WAIT_S: Final = 0.05
"""An item that runs so long gives way, with what is queued behind it, to other jobs of its priority."""


class Taking:
    """Takes items back."""

    __slots__ = ("_worker",)

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def all_unstarted(self, slot: Slot) -> None:
        """Everything that a slot hasn't started."""
        self._limit(slot, 0)

    def behind(self, slot: Slot) -> None:
        """Everything behind the item that a slot was last seen at."""
        self._limit(slot, slot.ordinal + 1)

    def drain(self, slot: Slot, then: Literal["retire", "replace"], heir: bytes = b"") -> None:
        """Let a slot finish the item that it runs, and then go or be replaced."""
        slot.draining = then
        slot.heir = heir
        if not slot.busy:
            self._worker.through(slot)
        elif slot.bites:
            self.all_unstarted(slot)

    def limited(self, slot: Slot, reached: int) -> None:
        """The limit was seen, or will be before the next item; the slot has started nothing from `reached` on."""
        if slot.limit is None:
            return  # its bites were through before
        certain = max(slot.limit, reached)
        for bite in slot.bites.values():
            self._worker.give_back(bite, bite.after(certain), bite.span.stop)

    def lift(self, slot: Slot) -> None:
        """All bites are through: it may have new ones."""
        if slot.limit is not None:
            slot.limit = None
            self._worker.effects.append(LimitSlot(slot.number, NO_LIMIT, answer=False))

    def relieve(self, slot: Slot) -> None:
        """Take back what waits behind an item, if another slot has nothing to do or another job is more urgent."""
        if slot.limit is not None or slot.draining:
            return
        if slot.preparing(self._worker.now):
            # Another slot that is through with that may well be done before this one begins.
            if self._idle_beside(slot, prepared=True):
                self.all_unstarted(slot)
            return
        unstarted = slot.unstarted()
        if not unstarted:
            return
        running = slot.running(self._worker.now)
        if self._idle_beside(slot):
            if running is not None:
                self._limit(slot, slot.ordinal + 1)
            else:
                unit = next(iter(slot.bites.values())).job.pace.unit(otherwise=0.0)
                if unstarted > 1 and unstarted * unit >= WORTH_S:
                    self._limit(slot, slot.ordinal + 1 + unstarted // 2)
        elif running is not None and self._others_wait(slot, running[2]):
            self._limit(slot, slot.ordinal + 1)

    def _limit(self, slot: Slot, ordinal: int) -> None:
        if slot.limit is None or ordinal < slot.limit:
            slot.limit = ordinal
            self._worker.effects.append(LimitSlot(slot.number, ordinal))

    def _idle_beside(self, victim: Slot, prepared: bool = False) -> bool:
        """Whether there is an idle slot for what this one has, beside those that are about to get something.

        With `prepared` only those count in which an item has ended.
        """
        worker = self._worker
        job = list(victim.bites.values())[-1].job
        idle = asked = 0
        for slot in worker.crew.slots.values():
            if slot.limit is not None and not slot.draining:
                asked += 1
            elif slot.open and not slot.bites and worker.feeding.suits(slot, job):
                idle += slot.proven or not prepared
        return idle > asked and not any(worker.feeding.suits(victim, other) for other in worker.pending.values())

    def _others_wait(self, slot: Slot, seconds: float) -> bool:
        """Whether another job that this slot could run is more urgent than what is queued in it."""
        queued = list(slot.bites.values())[-1].job
        for job in self._worker.pending.values():
            if job is queued or not self._worker.feeding.suits(slot, job):
                continue
            if job.priority > queued.priority or (job.priority == queued.priority and seconds >= OTHERS_WAIT_S):
                return True
        return False

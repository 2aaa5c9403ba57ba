"""Stopping items that run: those that were cancelled, and those that run longer than their `time_limit`.

Owns: which item of which slot is being stopped, and when patience ends. Must not know: how a slot is interrupted.

The slot's page says which item runs; it is sampled every 20 ms. An item that shall stop is interrupted by its number: the
node writes that into the page and sends a signal, and the slot raises only if exactly that item is in user code (so an
interrupt that comes late meets no other). It is interrupted again with each sample, as the slot may have been in code of
its own. Nothing behind the item starts in that slot any more (taking.py), so a slot that has to be killed after the grace
period takes no other item along. What the slot finished before is reported as ever; the rest goes to other slots.

However it ends, the worker has one word for it: an item that was cancelled is given back (the scheduler knows that it was
cancelled), one that ran too long has failed. If it succeeded meanwhile, it has succeeded.
"""

from typing import TYPE_CHECKING, Final

from twistcluster.core.effects import Log
from twistcluster.core.slots import NO_ITEM, BiteRecord, Slot
from twistcluster.core.worker_effects import InterruptSlot
from twistcluster.wire.messages import ErrorInfo, Failure

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["GRACE_S", "Stopping"]

GRACE_S: Final = 2.0
"""An item that was interrupted has so long to end; then its slot is killed."""


class Stopping:
    """Stops items."""

    __slots__ = ("_worker",)

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def look(self, slot: Slot) -> None:
        """A slot's page was sampled: begin to stop what it runs, go on with it, or lose patience."""
        if slot.ordinal == NO_ITEM:
            self._look_at_preparing(slot)
            return
        now = self._worker.now
        for bite in slot.bites.values():
            index = bite.index(slot.ordinal)
            if index is None or index not in bite.span.left:
                continue
            begun = bite.stops.get(index)
            if begun is None:
                if not self._shall_stop(bite, index, now - slot.since):
                    return
                begun = bite.stops[index] = now
                self._worker.taking.behind(slot)
            if now - begun < GRACE_S:
                self._worker.effects.append(InterruptSlot(slot.number, slot.ordinal))
            else:
                self._log(slot, "an item didn't stop, its slot is killed", item=index)
                self._worker.kill(slot)
            return

    def slot_gone(self, slot: Slot) -> None:
        """A slot was killed, or died: what was being stopped in it is over."""
        for bite in slot.bites.values():
            for index in bite.stops:
                if index in bite.span.left:
                    self.settle(bite, index, self._worker.now - slot.since)

    def settle(self, bite: BiteRecord, index: int, seconds: float, traceback: str = "") -> None:
        """An item was stopped, or its slot is gone: say what became of it."""
        worker, job, lease = self._worker, bite.job, bite.lease
        if index in lease.cancelled:
            worker.give_back(bite, index, index + 1)
            return
        job.spans.report(bite.number, index, index + 1)
        worker.leave(lease, index, index + 1)
        if not job.ended:
            worker.up(Failure(lease.number, index, seconds, too_long(seconds, job.message.time_limit, traceback)))

    @staticmethod
    def _shall_stop(bite: BiteRecord, index: int, seconds: float) -> bool:
        limit = bite.job.message.time_limit
        return index in bite.lease.cancelled or (0.0 < limit <= seconds)

    def _look_at_preparing(self, slot: Slot) -> None:
        """A slot that loads what only cancelled items need, and doesn't come to an end with it, is replaced."""
        if slot.bites and not slot.steps and self._worker.now - slot.since >= GRACE_S:
            bites = slot.bites.values()
            if all(bite.lease.cancelled and not bite.span.left for bite in bites):
                self._log(slot, "what cancelled items wait for didn't end, their slot is killed")
                self._worker.kill(slot)

    def _log(self, slot: Slot, event: str, **fields: object) -> None:
        self._worker.effects.append(Log("warning", event, {"slot": slot.place, "pid": slot.pid, **fields}))


def too_long(seconds: float, limit_s: float, traceback: str) -> ErrorInfo:
    """The failure of an item that ran longer than it may."""
    text = (
        f"it ran for {seconds:.1f} s and was stopped: its time_limit is {limit_s:g} s. "
        "Give it more time with cluster.options(time_limit=…), or split it into smaller items."
    )
    return ErrorInfo("timeout", "TaskTimeout", text, traceback)

"""What slots say, and what it means for their worker.

Owns: what each message of a slot does. Payloads pass unread. Must not know: what the scheduler says.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twistcluster.core.ledger import Buffers
from twistcluster.core.slots import NO_ITEM, BiteRecord, LastWords, Slot
from twistcluster.wire.messages import BiteDone, Crashed, Failure, Freed, Message, Printed, Ready, Report, StepDone

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["SlotSide"]


class SlotSide:
    """Slots' messages."""

    __slots__ = ("_handlers", "_worker")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._handlers: dict[type[Message], Callable[[Slot, Any, Buffers], None]] = {
            Ready: self._ready,
            Report: self._report,
            Failure: self._failure,
            Printed: self._printed,
            BiteDone: self._bite_done,
            StepDone: self._step_done,
        }

    def received(self, slot: Slot, message: Message, buffers: Buffers) -> None:
        """A slot said something."""
        self._handlers[type(message)](slot, message, buffers)

    def _ready(self, slot: Slot, message: Ready, _: Buffers) -> None:
        self._worker.crew.ready(slot, message.pid)
        if message.maker:
            self._worker.makers[message.maker] = slot.number
        self._worker.steps.slot_ready(slot)

    def _report(self, slot: Slot, message: Report, buffers: Buffers) -> None:
        bite = slot.bites.get(message.lease)
        if bite is None:
            self._refuse(slot, message)
            return
        start, count = message.start, message.count
        self._finished(slot, bite, start, start + count, message.seconds)
        if not bite.job.ended:
            lease = bite.lease.number
            told = Report(lease, start, count, message.kind, message.seconds, message.definitions, message.objects)
            self._worker.up(told, buffers)
        else:
            self._refuse(slot, message)

    def _refuse(self, slot: Slot, message: Report) -> None:
        """Nobody wants these results: what they are made of is free."""
        if message.objects:
            self._worker.tell(slot, Freed([each.id for each in message.objects]))

    def _failure(self, slot: Slot, message: Failure, buffers: Buffers) -> None:
        bite = slot.bites.get(message.lease)
        if bite is None:
            return
        if message.error.why == "stopped":
            slot.proven = True
            self._worker.stopping.settle(bite, message.index, message.seconds, message.error.traceback)
            return
        self._finished(slot, bite, message.index, message.index + 1, message.seconds)
        if not bite.job.ended:
            lease = bite.lease.number
            seconds, error = message.seconds, message.error
            told = Failure(lease, message.index, seconds, error, message.definitions, message.missing)
            self._worker.up(told, buffers)

    def _finished(self, slot: Slot, bite: BiteRecord, start: int, stop: int, seconds: float) -> None:
        slot.proven = True
        bite.job.spans.report(bite.number, start, stop)
        bite.job.pace.measured(stop - start, seconds)
        self._worker.leave(bite.lease, start, stop)

    def _printed(self, slot: Slot, message: Printed, _: Buffers) -> None:
        bite = slot.bites.get(message.lease)
        if bite is not None and not bite.job.ended:
            self._worker.up(Printed(bite.lease.number, message.index, message.text, message.dropped_bytes))

    def _bite_done(self, slot: Slot, message: BiteDone, _: Buffers) -> None:
        bite = slot.bites.pop(message.bite, None)
        if bite is None:
            return
        self._worker.give_back(bite, bite.span.start, bite.span.stop)
        if not any(other.job is bite.job for other in slot.bites.values()):
            self._worker.resources.vacate(slot.number, bite.job.number)
        if not slot.bites:
            slot.ordinal = NO_ITEM
        self._worker.through(slot)

    def _step_done(self, slot: Slot, message: StepDone, buffers: Buffers) -> None:
        self._worker.steps.done(slot, message, buffers)
        self._worker.through(slot)

    def blame(self, slot: Slot, reason: str, ordinal: int, last: LastWords) -> None:
        """Say which item a slot died on: what its page says; if it died before its first item could run, that one.

        Of items that went together none is said: each runs alone from here on, so the one that is the cause ends a slot
        again, and only that one.
        """
        if last.group < ordinal < NO_ITEM:
            for bite in slot.bites.values():
                for start, stop in bite.within(last.group, ordinal):
                    bite.job.alone.add(start, stop)
            return
        for bite in slot.bites.values():
            index = bite.index(ordinal)
            if ordinal == NO_ITEM and not slot.proven:
                first = bite.span.left.first()
                index = None if first is None else first[0]
                reason += (
                    " before or after its own code ran (what it loads, code of everywhere, something that it left)"
                )
            if index is not None and index in bite.span.left:
                if index in bite.stops or index in bite.lease.cancelled:
                    return  # it was to die
                bite.job.spans.report(bite.number, index, index + 1)
                self._worker.leave(bite.lease, index, index + 1)
                if not bite.job.ended:
                    self._worker.up(
                        Crashed(
                            bite.lease.number,
                            index,
                            reason,
                            last.peak_bytes,
                            last.printed,
                            last.over_limit,
                            first=not slot.proven,
                        )
                    )
                return

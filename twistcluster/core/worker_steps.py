"""`everywhere` in one worker: a step that its slots run now.

Owns: which slots are asked, and who has still to answer. Must not know: how a slot runs a step.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twistcluster.core.contexts import fits
from twistcluster.core.ledger import Buffers
from twistcluster.core.slots import Slot
from twistcluster.wire.messages import Context, ErrorInfo, Step, StepDone

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["WorkerSteps"]


@dataclass(slots=True, eq=False)
class Asked:
    message: Step
    slots: set[int] = field(default_factory=set)


class WorkerSteps:
    """Steps on their way through slots."""

    __slots__ = ("_asked", "_worker")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._asked: dict[int, Asked] = {}

    def begin(self, message: Step) -> None:
        """Have every slot run a step that is of its context, or of none yet. Others are passed over."""
        worker = self._worker
        context = worker.stock.context(message.context)
        worker.rebalance.seen(context)
        chosen = self._suitable(context) or self._freed(context)
        if not chosen:
            worker.up(StepDone(message.request, ""))
            return
        asked = self._asked[message.request] = Asked(message)
        for slot in chosen:
            asked.slots.add(slot.number)
            slot.bind(context, worker.now)
            slot.steps[message.request] = message
            if slot.ready:
                self._ask(slot, message, context)

    def _suitable(self, context: Context) -> list[Slot]:
        return [s for s in self._worker.crew.slots.values() if not s.draining and fits(s.binding, context)]

    def _freed(self, context: Context) -> list[Slot]:
        """No slot suits: up to half of them are replaced at once, if they do nothing and nothing waits for them."""
        worker = self._worker
        idle = [
            slot
            for slot in worker.crew.slots.values()
            if not slot.draining
            and not slot.busy
            and not any(fits(slot.binding, job.context) for job in worker.pending.values())
        ]
        for slot in idle[: -(-worker.crew.target // 2)]:
            worker.taking.drain(slot, "replace", context.base)
        return self._suitable(context)

    def _ask(self, slot: Slot, message: Step, context: Context) -> None:
        worker = self._worker
        parcels = worker.stock.bring_context(slot.ledger, context)
        parcels += worker.stock.bring_blobs(slot.ledger, [message.function])
        for parcel, buffers in parcels:
            worker.tell(slot, parcel, buffers)
        worker.tell(slot, message)

    def slot_ready(self, slot: Slot) -> None:
        """A process is up that was asked before."""
        for message in slot.steps.values():
            self._ask(slot, message, self._worker.stock.context(message.context))

    def done(self, slot: Slot, message: StepDone, buffers: Buffers) -> None:
        """A slot answered."""
        if slot.steps.pop(message.request, None) is not None:
            slot.proven = slot.proven or message.error is None
            self._answer(slot, message.request, message.error, buffers)

    def slot_gone(self, slot: Slot, reason: str) -> None:
        """A slot won't answer."""
        for request in list(slot.steps):
            del slot.steps[request]
            error = ErrorInfo("crashed", "WorkerCrashed", f"the slot ended while it ran the step: {reason}")
            self._answer(slot, request, error, ())

    def _answer(self, slot: Slot, request: int, error: ErrorInfo | None, buffers: Buffers) -> None:
        asked = self._asked.get(request)
        if asked is None:
            return
        asked.slots.discard(slot.number)
        if not asked.slots:
            del self._asked[request]
        self._worker.up(StepDone(request, str(slot.place), error, len(asked.slots)), buffers)

    def forget(self) -> None:
        """Nobody waits for answers any more."""
        self._asked.clear()
        for slot in self._worker.crew.slots.values():
            slot.steps.clear()

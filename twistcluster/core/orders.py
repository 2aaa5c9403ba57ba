"""What the scheduler says to a worker, and what is done about it.

Owns: what each message of the scheduler does. Payloads pass unread. Must not know: what slots say.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twistcluster.core.bites import HeldLease, WorkerJob
from twistcluster.core.effects import Log, Remove
from twistcluster.core.ledger import Buffers, Ledger, Pages
from twistcluster.core.slots import Slot
from twistcluster.core.worker_effects import Ended, ToSlot
from twistcluster.errors import ProtocolError
from twistcluster.wire.limits import MAKER_BYTES, SLOTS
from twistcluster.wire.messages import (
    Blob,
    Context,
    DropPages,
    DropValues,
    EndJob,
    Forget,
    Freed,
    Heartbeat,
    Lease,
    Message,
    OpenJob,
    Page,
    Refused,
    Released,
    RestartSlots,
    Revoke,
    Scale,
    Step,
    Stop,
    StopItems,
    Values,
    Welcome,
)

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["Orders"]


class Orders:
    """The scheduler's messages."""

    __slots__ = ("_handlers", "_worker")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._handlers: dict[type[Message], Callable[[Any, Buffers], None]] = {
            Welcome: self._welcome,
            Refused: self._refused,
            Blob: self._blob,
            Forget: self._forget,
            Context: self._context,
            OpenJob: self._open_job,
            Page: self._page,
            DropPages: self._drop_pages,
            Values: self._values,
            DropValues: self._drop_values,
            EndJob: self._end_job,
            Freed: self._freed,
            Lease: self._lease,
            Revoke: self._revoke,
            StopItems: self._stop_items,
            Scale: self._scale,
            RestartSlots: self._restart_slots,
            Step: self._step,
            Heartbeat: self._heartbeat,
            Stop: self._stop,
        }

    def received(self, message: Message, buffers: Buffers) -> None:
        """The scheduler said something.

        Raises:
            ProtocolError: what it may not say.
        """
        handler = self._handlers.get(type(message))
        if handler is None:
            raise ProtocolError(f"a scheduler doesn't say {type(message).__name__} to a worker")
        handler(message, buffers)

    def _welcome(self, _message: Welcome, _: Buffers) -> None:
        self._worker.status.forget()
        self._worker.pulse.begin()

    def _heartbeat(self, _message: Heartbeat, _: Buffers) -> None:
        """That it came is all that it says."""

    def _refused(self, message: Refused, _: Buffers) -> None:
        if message.code == "limit":
            # Too many at once: another time, then. The link is closed next.
            self._worker.effects.append(
                Log("warning", "the scheduler has no room for us yet", {"said": message.message})
            )
        else:
            self._worker.effects.append(Ended(message.message, refused=True))

    def _stop(self, _message: Stop, _: Buffers) -> None:
        self._worker.effects.append(Ended("the scheduler ended it"))

    def _ledgers(self) -> list[tuple[int, Ledger]]:
        return [(slot.number, slot.ledger) for slot in self._worker.crew.slots.values()]

    def _blob(self, message: Blob, buffers: Buffers) -> None:
        self._worker.stock.keep(message, buffers)

    def _forget(self, message: Forget, _: Buffers) -> None:
        for slot, told in self._worker.stock.forget(message, self._ledgers()):
            self._worker.effects.append(ToSlot(slot, told))

    def _context(self, message: Context, _: Buffers) -> None:
        self._worker.stock.contexts[message.digest] = message

    def _open_job(self, message: OpenJob, _: Buffers) -> None:
        context = self._worker.stock.context(message.context)
        job = self._worker.jobs[message.job] = WorkerJob(message, context)
        if job.kind is not None:
            job.pace = self._worker.paces.of(job.kind)
        self._worker.rebalance.seen(context)

    def _page(self, message: Page, buffers: Buffers) -> None:
        self._job(message.job).pages.add(message, buffers)

    def _drop_pages(self, message: DropPages, _: Buffers) -> None:
        self._job(message.job).pages.drop(message.firsts)
        for number, ledger in self._ledgers():
            told = self._worker.stock.drop_pages(ledger, message)
            if told is not None:
                self._worker.effects.append(ToSlot(number, told))

    def _values(self, message: Values, buffers: Buffers) -> None:
        # The job itself may have ended here, or never have been opened.
        self._worker.stock.values.setdefault(message.job, Pages()).add(message, buffers)

    def _drop_values(self, message: DropValues, _: Buffers) -> None:
        values = self._worker.stock.values
        pages = values.get(message.job)
        if pages is None:
            raise ProtocolError(f"results of job {message.job} were dropped that were never sent")
        pages.drop(message.firsts)
        if not pages:
            del values[message.job]
        for number, ledger in self._ledgers():
            told = self._worker.stock.drop_values(ledger, message)
            if told is not None:
                self._worker.effects.append(ToSlot(number, told))

    def _end_job(self, message: EndJob, _: Buffers) -> None:
        job = self._job(message.job)
        job.ended = True
        del self._worker.jobs[job.number]
        self._worker.pending.pop(job.number, None)
        for lease in job.leases.values():
            self._worker.leases.pop(lease.number, None)
        for slot in self._worker.crew.slots.values():
            if any(bite.job is job and bite.span.left for bite in slot.bites.values()):
                self._worker.taking.all_unstarted(slot)
            told = self._worker.stock.end_job(slot.ledger, message)
            if told is not None:
                self._worker.tell(slot, told)

    def _freed(self, message: Freed, _: Buffers) -> None:
        """Each to the slot that made it; what a slot made that is gone is removed."""
        worker = self._worker
        by_slot: dict[Slot | None, list[bytes]] = {}
        for name in message.ids:
            number = worker.makers.get(name[:MAKER_BYTES])
            slot = None if number is None else worker.crew.get(number)
            by_slot.setdefault(slot, []).append(name)
        for slot, ids in by_slot.items():
            if slot is None:
                worker.effects.append(Remove(ids))
            else:
                worker.tell(slot, Freed(ids))

    def _job(self, number: int) -> WorkerJob:
        try:
            return self._worker.jobs[number]
        except KeyError:
            raise ProtocolError(f"job {number} was named before it was opened") from None

    def _lease(self, message: Lease, _: Buffers) -> None:
        job = self._job(message.job)
        if message.start < message.stop:
            # All of it is here, or this is where it is said.
            for page in job.pages.covering(message.start, message.stop):
                if page.inputs:
                    self._worker.stock.inputs_of(page, message.start, message.stop)
            self._worker.leases[message.lease] = job.lease(message.lease, message.start, message.stop)
            self._worker.pending[job.number] = job

    def _revoke(self, message: Revoke, _: Buffers) -> None:
        lease = self._worker.leases.get(message.lease)
        if lease is None:
            self._worker.up(Released(message.lease, 0, 0))
            return
        job = lease.job
        ranges = job.tail(lease, message.keep)
        for start, stop in ranges:
            self._worker.release(lease, start, stop)
        if not ranges:
            self._worker.up(Released(message.lease, 0, 0))
        if not job.spans.pending:
            self._worker.pending.pop(job.number, None)
        if message.keep == 0 and lease.left:
            self._want(lease)

    def _want(self, lease: HeldLease) -> None:
        """What slots have of a lease and haven't started shall come back."""
        lease.wanted = True
        for slot in self._worker.crew.slots.values():
            if any(bite.lease is lease and bite.span.left for bite in slot.bites.values()):
                self._worker.taking.all_unstarted(slot)

    def _stop_items(self, message: StopItems, _: Buffers) -> None:
        lease = self._worker.leases.get(message.lease)
        if lease is None:
            return  # all of it has met its end already
        job = lease.job
        lease.cancelled.add(message.start, message.stop)
        for start, stop in job.tail(lease, 0):
            self._worker.release(lease, start, stop)
        if not job.spans.pending:
            self._worker.pending.pop(job.number, None)
        if lease.left:
            self._want(lease)

    def _scale(self, message: Scale, _: Buffers) -> None:
        crew = self._worker.crew
        crew.target = min(max(message.slots, 0), SLOTS)
        staying = [slot for slot in crew.slots.values() if slot.draining != "retire"]
        # Those that are idle go first, of these the ones that came last.
        staying.sort(key=lambda slot: (len(slot.steps) + len(slot.bites), -slot.place))
        for slot in staying[: max(0, len(staying) - crew.target)]:
            self._worker.taking.drain(slot, "retire")
        crew.fill(self._worker.now)
        if not crew.target:
            crew.drop_spare()

    def _restart_slots(self, _message: RestartSlots, _: Buffers) -> None:
        self._worker.crew.drop_spare()
        for slot in list(self._worker.crew.slots.values()):
            self._worker.kill(slot)

    def _step(self, message: Step, _: Buffers) -> None:
        self._worker.steps.begin(message)

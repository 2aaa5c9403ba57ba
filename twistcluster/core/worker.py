"""The worker's machine: leases come, bites go to slots, what slots say goes up.

Owns: the wiring of its rooms: jobs and bites (bites.py), what slots were sent (ledger.py), processes (crew.py), contexts
(contexts.py), taking back (taking.py), steps (worker_steps.py). Events are methods that take `now` and return effects;
nothing else happens. Payloads pass unread. Must not know: processes, links, clocks.
"""

from collections.abc import Callable
from typing import Any, Final

from twistcluster.core.bites import ALONE_S, IN_FLIGHT, HeldLease, Resources, WorkerJob, bite_size, choose
from twistcluster.core.contexts import fits
from twistcluster.core.crew import Crew
from twistcluster.core.ledger import Buffers, Ledger, Stock
from twistcluster.core.rebalance import Rebalance
from twistcluster.core.slots import NO_ITEM, BiteRecord, Slot
from twistcluster.core.taking import Taking
from twistcluster.core.worker_effects import Ended, ToSlot, Up, WorkerEffect
from twistcluster.core.worker_status import WorkerStatusTeller
from twistcluster.core.worker_steps import WorkerSteps
from twistcluster.errors import ProtocolError
from twistcluster.wire.messages import (
    Bite,
    BiteDone,
    Blob,
    Context,
    Crashed,
    DropPages,
    EndJob,
    Failure,
    Forget,
    Lease,
    Message,
    OpenJob,
    Page,
    Printed,
    Ready,
    Refused,
    Released,
    Report,
    RestartSlots,
    Revoke,
    Scale,
    Step,
    StepDone,
    Stop,
    Welcome,
)

__all__ = ["SLOTS_AT_MOST", "Worker"]

SLOTS_AT_MOST: Final = 1024


class Worker:
    """One worker.

    Args:
        slots: how many.
        resources: what it offers beside slots, by name.
    """

    def __init__(self, slots: int, resources: dict[str, float] | None = None) -> None:
        self.effects: list[WorkerEffect] = []
        self.now = 0.0
        self.stock = Stock()
        self.jobs: dict[int, WorkerJob] = {}
        self.leases: dict[int, HeldLease] = {}
        self.pending: dict[int, WorkerJob] = {}
        """Jobs that have items for slots."""
        self.crew = Crew(self.effects, slots)
        self.resources = Resources(resources or {})
        self.taking = Taking(self)
        self.steps = WorkerSteps(self)
        self.rebalance = Rebalance(self)
        self.status = WorkerStatusTeller(self)
        self._next_bite = 1
        self._turn = 0
        self._from_scheduler: dict[type[Message], Callable[[Any, Buffers], None]] = {
            Welcome: self._welcome,
            Refused: self._refused,
            Blob: self.stock.keep,
            Forget: self._forget,
            Context: self._context,
            OpenJob: self._open_job,
            Page: self._page,
            DropPages: self._drop_pages,
            EndJob: self._end_job,
            Lease: self._lease,
            Revoke: self._revoke,
            Scale: self._scale,
            RestartSlots: self._restart_slots,
            Step: self._step,
            Stop: self._stop,
        }
        self._from_slot: dict[type[Message], Callable[[Slot, Any, Buffers], None]] = {
            Ready: self._ready,
            Report: self._report,
            Failure: self._failure,
            Printed: self._printed,
            BiteDone: self._bite_done,
            StepDone: self._step_done,
        }

    # ---- events ----------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[WorkerEffect]:
        """The node runs: slots may be started."""
        self.now = now
        self.crew.fill(now)
        return self._settle()

    def received(self, message: Message, buffers: Buffers, now: float) -> list[WorkerEffect]:
        """The scheduler said something.

        Raises:
            ProtocolError: what it may not say.
        """
        self.now = now
        handler = self._from_scheduler.get(type(message))
        if handler is None:
            raise ProtocolError(f"a scheduler doesn't say {type(message).__name__} to a worker")
        handler(message, buffers)
        return self._settle()

    def link_lost(self, now: float) -> list[WorkerEffect]:
        """The scheduler is gone, and with it all that it leased; slots that knew something of it are replaced."""
        self.now = now
        self.steps.forget()
        for job in self.jobs.values():
            job.ended = True
        self.jobs.clear()
        self.leases.clear()
        self.pending.clear()
        self.stock = Stock()
        self._from_scheduler[Blob] = self.stock.keep
        for slot in list(self.crew.slots.values()):
            if slot.busy or slot.binding is not None or slot.ledger.blobs:
                self.kill(slot)
        self.status.forget()
        return self._settle()

    def slot_received(self, number: int, message: Message, buffers: Buffers, now: float) -> list[WorkerEffect]:
        """A slot said something."""
        self.now = now
        slot = self.crew.get(number)
        if slot is not None:
            self._from_slot[type(message)](slot, message, buffers)
        return self._settle()

    def slot_died(self, number: int, reason: str, ordinal: int, now: float) -> list[WorkerEffect]:
        """A slot's process is gone; `ordinal` is what its page says."""
        self.now = now
        slot = self.crew.get(number)
        if slot is not None:
            self._blame(slot, reason, ordinal)
            self.lose_bites(slot)
            self.steps.slot_gone(slot, reason)
            self.crew.died(slot, reason, now)
        return self._settle()

    def sampled(self, number: int, ordinal: int, now: float) -> list[WorkerEffect]:
        """What a slot's page says; asked every 20 ms for each of `sampling`."""
        self.now = now
        slot = self.crew.slots.get(number)
        if slot is not None:
            if slot.ordinal != ordinal:
                slot.ordinal, slot.since = ordinal, now
            self.taking.relieve(slot)
        return self._settle()

    def limited(self, number: int, ordinal: int, now: float) -> list[WorkerEffect]:
        """What a slot's page said a millisecond or more after its limit was written."""
        self.now = now
        slot = self.crew.slots.get(number)
        if slot is not None:
            self.taking.limited(slot, ordinal)
        return self._settle()

    def tick(self, now: float) -> list[WorkerEffect]:
        """Something is due."""
        self.now = now
        return self._settle()

    def next_tick(self) -> float | None:
        """When `tick` is due."""
        due = [at for at in (self.status.due, self.rebalance.due) if at is not None]
        return min(due) if due else None

    @property
    def sampling(self) -> list[int]:
        """Slots whose pages are worth a look."""
        return [slot.number for slot in self.crew.slots.values() if slot.bites]

    # ---- what the rooms share --------------------------------------------------------------------------------------

    def up(self, message: Message, buffers: Buffers = ()) -> None:
        """Say something to the scheduler."""
        self.effects.append(Up(message, buffers))

    def tell(self, slot: Slot, message: Message, buffers: Buffers = ()) -> None:
        """Say something to a slot."""
        self.effects.append(ToSlot(slot.number, message, buffers))

    def give_back(self, bite: BiteRecord, start: int, stop: int) -> None:
        """Items of a bite were certainly not started: they are pending again, or go up if they were asked back."""
        job, lease = bite.job, bite.lease
        for a, b in job.spans.release(bite.number, start, stop):
            if job.ended:
                job.spans.pending.remove(a, b)
            elif lease.wanted:
                self.release(lease, a, b)
            else:
                self.pending[job.number] = job

    def release(self, lease: HeldLease, start: int, stop: int) -> None:
        """Give pending items back to the scheduler."""
        lease.job.spans.pending.remove(start, stop)
        self._leave(lease, start, stop)
        self.up(Released(lease.number, start, stop))

    def lose_bites(self, slot: Slot) -> None:
        """A slot is gone: what it had not reported is pending again."""
        for bite in list(slot.bites.values()):
            self.give_back(bite, bite.span.start, bite.span.stop)
            self.resources.vacate(slot.number, bite.job.number)
        slot.bites.clear()

    def kill(self, slot: Slot) -> None:
        """End a slot's process now, and have another."""
        self.lose_bites(slot)
        self.steps.slot_gone(slot, "its slot was restarted")
        self.crew.end(slot, self.now)

    def through(self, slot: Slot) -> None:
        """If nothing is left in a slot: let it have bites again, or go."""
        if slot.busy:
            return
        if slot.draining:
            self.crew.end(slot, self.now)
        else:
            self.taking.lift(slot)

    # ---- from the scheduler ----------------------------------------------------------------------------------------

    def _welcome(self, _message: Welcome, _: Buffers) -> None:
        self.status.forget()

    def _refused(self, message: Refused, _: Buffers) -> None:
        self.effects.append(Ended(message.message))

    def _stop(self, _message: Stop, _: Buffers) -> None:
        self.effects.append(Ended("the scheduler ended it"))

    def _ledgers(self) -> list[tuple[int, Ledger]]:
        return [(slot.number, slot.ledger) for slot in self.crew.slots.values()]

    def _forget(self, message: Forget, _: Buffers) -> None:
        for slot, told in self.stock.forget(message, self._ledgers()):
            self.effects.append(ToSlot(slot, told))

    def _context(self, message: Context, _: Buffers) -> None:
        self.stock.contexts[message.digest] = message

    def _open_job(self, message: OpenJob, _: Buffers) -> None:
        context = self.stock.context(message.context)
        self.jobs[message.job] = WorkerJob(message, context)
        self.rebalance.seen(context)

    def _page(self, message: Page, buffers: Buffers) -> None:
        self._job(message.job).pages.add(message, buffers)

    def _drop_pages(self, message: DropPages, _: Buffers) -> None:
        self._job(message.job).pages.drop(message.firsts)
        for number, ledger in self._ledgers():
            told = self.stock.drop_pages(ledger, message)
            if told is not None:
                self.effects.append(ToSlot(number, told))

    def _end_job(self, message: EndJob, _: Buffers) -> None:
        job = self._job(message.job)
        job.ended = True
        del self.jobs[job.number]
        self.pending.pop(job.number, None)
        for lease in job.leases.values():
            self.leases.pop(lease.number, None)
        for slot in self.crew.slots.values():
            if any(bite.job is job and bite.span.left for bite in slot.bites.values()):
                self.taking.all_unstarted(slot)
            told = self.stock.end_job(slot.ledger, message)
            if told is not None:
                self.tell(slot, told)

    def _job(self, number: int) -> WorkerJob:
        try:
            return self.jobs[number]
        except KeyError:
            raise ProtocolError(f"job {number} was named before it was opened") from None

    def _lease(self, message: Lease, _: Buffers) -> None:
        job = self._job(message.job)
        if message.start < message.stop:
            self.leases[message.lease] = job.lease(message.lease, message.start, message.stop)
            self.pending[job.number] = job

    def _revoke(self, message: Revoke, _: Buffers) -> None:
        lease = self.leases.get(message.lease)
        if lease is None:
            self.up(Released(message.lease, 0, 0))
            return
        job = lease.job
        ranges = job.tail(lease, message.keep)
        for start, stop in ranges:
            self.release(lease, start, stop)
        if not ranges:
            self.up(Released(message.lease, 0, 0))
        if not job.spans.pending:
            self.pending.pop(job.number, None)
        if message.keep == 0 and lease.left:
            lease.wanted = True
            for slot in self.crew.slots.values():
                if any(bite.lease is lease and bite.span.left for bite in slot.bites.values()):
                    self.taking.all_unstarted(slot)

    def _scale(self, message: Scale, _: Buffers) -> None:
        crew = self.crew
        crew.target = min(max(message.slots, 0), SLOTS_AT_MOST)
        staying = [slot for slot in crew.slots.values() if slot.draining != "retire"]
        # Those that are idle go first, of these the ones that came last.
        staying.sort(key=lambda slot: (len(slot.steps) + len(slot.bites), -slot.place))
        for slot in staying[: max(0, len(staying) - crew.target)]:
            self.taking.drain(slot, "retire")
        crew.fill(self.now)
        if not crew.target:
            crew.drop_spare()

    def _restart_slots(self, _message: RestartSlots, _: Buffers) -> None:
        self.crew.drop_spare()
        for slot in list(self.crew.slots.values()):
            self.kill(slot)

    def _step(self, message: Step, _: Buffers) -> None:
        self.steps.begin(message)

    # ---- from a slot -----------------------------------------------------------------------------------------------

    def _ready(self, slot: Slot, message: Ready, _: Buffers) -> None:
        self.crew.ready(slot, message.pid)
        self.steps.slot_ready(slot)

    def _report(self, slot: Slot, message: Report, buffers: Buffers) -> None:
        bite = slot.bites.get(message.lease)
        if bite is None:
            return
        start, count = message.start, message.count
        self._finished(slot, bite, start, start + count, message.seconds)
        if not bite.job.ended:
            lease = bite.lease.number
            self.up(Report(lease, start, count, message.kind, message.seconds, message.definitions), buffers)

    def _failure(self, slot: Slot, message: Failure, buffers: Buffers) -> None:
        bite = slot.bites.get(message.lease)
        if bite is None:
            return
        self._finished(slot, bite, message.index, message.index + 1, message.seconds)
        if not bite.job.ended:
            lease = bite.lease.number
            self.up(Failure(lease, message.index, message.seconds, message.error, message.definitions), buffers)

    def _finished(self, slot: Slot, bite: BiteRecord, start: int, stop: int, seconds: float) -> None:
        slot.proven = True
        bite.job.spans.report(bite.number, start, stop)
        bite.job.pace.measured(stop - start, seconds)
        self._leave(bite.lease, start, stop)

    def _leave(self, lease: HeldLease, start: int, stop: int) -> None:
        lease.job.leave(lease, start, stop)
        if not lease.left:
            self.leases.pop(lease.number, None)

    def _printed(self, slot: Slot, message: Printed, _: Buffers) -> None:
        bite = slot.bites.get(message.lease)
        if bite is not None and not bite.job.ended:
            self.up(Printed(bite.lease.number, message.index, message.text, message.dropped_bytes))

    def _bite_done(self, slot: Slot, message: BiteDone, _: Buffers) -> None:
        bite = slot.bites.pop(message.bite, None)
        if bite is None:
            return
        self.give_back(bite, bite.span.start, bite.span.stop)
        if not any(other.job is bite.job for other in slot.bites.values()):
            self.resources.vacate(slot.number, bite.job.number)
        if not slot.bites:
            slot.ordinal = NO_ITEM
        self.through(slot)

    def _step_done(self, slot: Slot, message: StepDone, buffers: Buffers) -> None:
        self.steps.done(slot, message, buffers)
        self.through(slot)

    def _blame(self, slot: Slot, reason: str, ordinal: int) -> None:
        """Say which item a slot died on: what its page says; if it died before its first item could run, that one."""
        for bite in slot.bites.values():
            index = bite.index(ordinal)
            if ordinal == NO_ITEM and not slot.proven:
                first = bite.span.left.first()
                index = None if first is None else first[0]
            if index is not None and index in bite.span.left:
                bite.job.spans.report(bite.number, index, index + 1)
                self._leave(bite.lease, index, index + 1)
                if not bite.job.ended:
                    self.up(Crashed(bite.lease.number, index, reason))
                return

    # ---- bites -----------------------------------------------------------------------------------------------------

    def _settle(self) -> list[WorkerEffect]:
        """Give slots what there is, and hand over what is to be done."""
        if self.pending:
            self.rebalance.look()
            self._fill()
        if self.crew.changed:
            self.crew.changed = False
            self.status.urgent = True
        if self.crew.wants_spare:
            self.crew.keep_spare(self.now)
        self.status.look()
        effects = self.effects[:]
        self.effects.clear()
        return effects

    def _fill(self) -> None:
        """First every slot that has nothing gets a bite, then every slot a second one."""
        for depth in range(IN_FLIGHT):
            for slot in self.crew.slots.values():
                if slot.open and len(slot.bites) == depth:
                    self._give(slot)
                    if not self.pending:
                        return

    def _give(self, slot: Slot) -> None:
        job = choose(self.pending.values(), lambda job: self.suits(slot, job))
        while job is not None:
            first = job.spans.pending.first()
            lease = None if first is None else job.holder(first[0])
            if first is not None and lease is not None:
                stop = lease.left.overlap(first[0], first[1])[0][1]
                self._bite(slot, job, lease, first[0], stop)
                return
            # Nothing of it is left: it was ended or given back meanwhile.
            del self.pending[job.number]
            job = choose(self.pending.values(), lambda job: self.suits(slot, job))

    def suits(self, slot: Slot, job: WorkerJob) -> bool:
        """Whether a slot may take items of a job now."""
        if not fits(slot.binding, job.context) or not self.resources.free(slot.number, job):
            return False
        if slot.bites and job.pace.unit(otherwise=0.0) > ALONE_S:
            return False
        if slot.reserved and slot.binding is None and slot.reserved != job.context.base:
            return not any(other.context.base == slot.reserved for other in self.pending.values())
        return True

    def _bite(self, slot: Slot, job: WorkerJob, lease: HeldLease, start: int, stop: int) -> None:
        count = min(bite_size(job, max(1, self.crew.target)), stop - start)
        parcels = self.stock.bring_items(slot.ledger, job.message, job.pages, start, start + count)
        number, self._next_bite = self._next_bite, self._next_bite + 1
        span = job.spans.take(number, slot, count)
        if span is None:
            return
        slot.bind(job.context, self.now)
        self.resources.occupy(slot.number, job)
        self._turn += 1
        job.turn = self._turn
        bite = BiteRecord(number, job, lease, span, slot.next_ordinal)
        slot.bites[number] = bite
        slot.next_ordinal += count
        if not job.spans.pending:
            self.pending.pop(job.number, None)
        for message, buffers in parcels:
            self.tell(slot, message, buffers)
        self.tell(slot, Bite(number, job.number, span.start, span.stop, bite.ordinal))

"""The worker's machine: leases come, bites go to slots, what slots say goes up.

Owns: the wiring of its rooms: the scheduler's messages (orders.py) and the slots' (slotside.py), jobs and bites (bites.py,
feeding.py), what slots were sent (ledger.py), processes (crew.py), contexts (contexts.py, rebalance.py), taking back
(taking.py), stopping what runs (stopping.py), steps (worker_steps.py), memory (shortness.py), heartbeats (pulse.py),
stopped slots (stillness.py), its own end (leaving.py). Events are methods that take `now` and return effects;
nothing else happens. Payloads pass unread. Must not know: processes, links, clocks.
"""

from twistcluster.core.bites import HeldLease, Resources, WorkerJob
from twistcluster.core.crew import Crew
from twistcluster.core.feeding import Feeding
from twistcluster.core.leaving import Leaving
from twistcluster.core.ledger import Buffers, Stock
from twistcluster.core.orders import Orders
from twistcluster.core.pulse import Pulse
from twistcluster.core.rebalance import Rebalance
from twistcluster.core.shortness import Shortness
from twistcluster.core.slots import BiteRecord, LastWords, Slot
from twistcluster.core.slotside import SlotSide
from twistcluster.core.spans import Paces
from twistcluster.core.stillness import Stillness
from twistcluster.core.stopping import Stopping
from twistcluster.core.taking import Taking
from twistcluster.core.worker_effects import ToSlot, Up, WorkerEffect
from twistcluster.core.worker_status import WorkerStatusTeller
from twistcluster.core.worker_steps import WorkerSteps
from twistcluster.wire.messages import Message, Released

__all__ = ["Worker"]


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
        self.paces = Paces()
        """Of functions whose items may go together."""
        self.makers: dict[bytes, int] = {}
        """Slots by what the ids of the values that they make begin with."""
        self.crew = Crew(self.effects, slots)
        self.resources = Resources(resources or {})
        self.memory = Shortness()
        self.taking = Taking(self)
        self.stopping = Stopping(self)
        self.steps = WorkerSteps(self)
        self.rebalance = Rebalance(self)
        self.status = WorkerStatusTeller(self)
        self.feeding = Feeding(self)
        self.pulse = Pulse(self)
        self.stillness = Stillness(self)
        self.leaving = Leaving(self)
        self._orders = Orders(self)
        self._slot_side = SlotSide(self)

    # ---- events ----------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[WorkerEffect]:
        """The node runs: slots may be started."""
        self.now = now
        self.crew.fill(now)
        return self._settle()

    def received(self, message: Message, buffers: Buffers, now: float, *, more: bool = False) -> list[WorkerEffect]:
        """The scheduler said something.

        With `more`, other messages of the same turn may follow, and `end_turn` gives the effects of all.

        Raises:
            ProtocolError: what it may not say.
        """
        self.now = now
        self.pulse.heard_at = now
        if self.pulse.unanswered:
            self.pulse.heard()
        self._orders.received(message, buffers)
        return [] if more else self._settle()

    def link_lost(self, now: float) -> list[WorkerEffect]:
        """The scheduler is gone, and with it all that it leased; slots that knew something of it are replaced."""
        self.now = now
        self.pulse.end()
        self.steps.forget()
        for job in self.jobs.values():
            job.ended = True
        self.jobs.clear()
        self.leases.clear()
        self.pending.clear()
        self.stock = Stock()
        for slot in list(self.crew.slots.values()):
            if slot.busy or slot.binding is not None or slot.ledger.blobs:
                self.kill(slot)
        self.status.forget()
        return self._settle()

    def slot_received(
        self, number: int, message: Message, buffers: Buffers, now: float, *, more: bool = False
    ) -> list[WorkerEffect]:
        """A slot said something; `more` as for `received`."""
        self.now = now
        slot = self.crew.get(number)
        if slot is not None:
            if slot.stopped:
                self.stillness.seen(slot, stopped=False)
            self._slot_side.received(slot, message, buffers)
        return [] if more else self._settle()

    def slot_died(
        self, number: int, reason: str, ordinal: int, now: float, last: LastWords | None = None
    ) -> list[WorkerEffect]:
        """A slot's process is gone; `ordinal` is what its page says."""
        self.now = now
        slot = self.crew.get(number)
        if slot is not None:
            self._slot_side.blame(slot, reason, ordinal, last or LastWords())
            self.lose_bites(slot)
            self.steps.slot_gone(slot, reason)
            self._forget_maker(number)
            self.crew.died(slot, reason, now)
        return self._settle()

    def sampled(self, number: int, ordinal: int, now: float) -> list[WorkerEffect]:
        """What a slot's page says; asked every 20 ms for each of `sampling`."""
        self.now = now
        slot = self.crew.slots.get(number)
        if slot is not None:
            if slot.ordinal != ordinal:
                slot.ordinal, slot.since = ordinal, now
                self.stillness.seen(slot, stopped=False)
            self.taking.relieve(slot)
            self.stopping.look(slot)
        return self._settle()

    def limited(self, number: int, reached: int, now: float) -> list[WorkerEffect]:
        """Behind which ordinal a slot had started nothing, a millisecond or more after its limit was written."""
        self.now = now
        slot = self.crew.slots.get(number)
        if slot is not None:
            self.taking.limited(slot, reached)
        return self._settle()

    def state_seen(self, number: int, stopped: bool, now: float) -> list[WorkerEffect]:
        """Whether a slot's process is stopped; asked once a second for each of `worth_a_look`."""
        self.now = now
        slot = self.crew.slots.get(number)
        if slot is not None:
            self.stillness.seen(slot, stopped)
        return self._settle()

    def leave_soon(self, now: float) -> list[WorkerEffect]:
        """It shall take nothing new and finish what runs; `Ended` follows."""
        self.now = now
        self.leaving.begin()
        return self._settle()

    def memory_seen(self, used_bytes: int, limit_bytes: int, now: float) -> list[WorkerEffect]:
        """How much of its memory the host uses."""
        self.now = now
        if not self.memory.look(used_bytes, limit_bytes):
            return []
        self.status.urgent = True
        return self._settle()

    def end_turn(self, now: float) -> list[WorkerEffect]:
        """The turn ends: what is pending goes to slots."""
        self.now = now
        return self._settle()

    def tick(self, now: float) -> list[WorkerEffect]:
        """Something is due."""
        self.now = now
        return self._settle()

    def next_tick(self) -> float | None:
        """When `tick` is due."""
        due = self.pulse.due
        for at in (self.status.due, self.rebalance.due, self.leaving.due):
            if at is not None and (due is None or at < due):
                due = at
        return due

    @property
    def sampling(self) -> list[int]:
        """Slots whose pages are worth a look."""
        return [slot.number for slot in self.crew.slots.values() if slot.bites or slot.stopped]

    # ---- what the rooms share --------------------------------------------------------------------------------------

    def up(self, message: Message, buffers: Buffers = ()) -> None:
        """Say something to the scheduler."""
        self.pulse.said_at = self.now
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
        self.leave(lease, start, stop)
        self.up(Released(lease.number, start, stop))

    def lose_bites(self, slot: Slot) -> None:
        """A slot is gone: what it had not reported is pending again."""
        self.stopping.slot_gone(slot)
        for bite in list(slot.bites.values()):
            self.give_back(bite, bite.span.start, bite.span.stop)
            self.resources.vacate(slot.number, bite.job.number)
        slot.bites.clear()

    def kill(self, slot: Slot) -> None:
        """End a slot's process now, and have another."""
        self.crew.end(slot, self.now)  # first, so that nothing of it is given elsewhere while it runs
        self._forget_maker(slot.number)
        self.lose_bites(slot)
        self.steps.slot_gone(slot, "its slot was restarted")

    def _forget_maker(self, number: int) -> None:
        for maker in [maker for maker, slot in self.makers.items() if slot == number]:
            del self.makers[maker]

    def through(self, slot: Slot) -> None:
        """If nothing is left in a slot: let it have bites again, or go."""
        if slot.busy:
            return
        if slot.draining:
            self.crew.end(slot, self.now)
        else:
            self.taking.lift(slot)

    def leave(self, lease: HeldLease, start: int, stop: int) -> None:
        """Items of a lease were reported or given back."""
        lease.job.leave(lease, start, stop)
        if not lease.left:
            self.leases.pop(lease.number, None)

    def _settle(self) -> list[WorkerEffect]:
        """Give slots what there is, and hand over what is to be done."""
        if self.pending:
            self.rebalance.look()
            self.feeding.fill()
        if self.crew.changed:
            self.crew.changed = False
            self.status.urgent = True
        if self.crew.wants_spare:
            self.crew.keep_spare(self.now)
        self.status.look()
        if self.pulse.due is not None and self.now >= self.pulse.due:
            self.pulse.look()
        if self.leaving.since is not None:
            self.leaving.look()
        effects = self.effects[:]
        self.effects.clear()
        return effects

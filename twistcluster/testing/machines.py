"""The real worker's machine, with simulated slots.

Owns: `MachineWorker`, which seats core/worker.py's machine in a simulated cluster. It checks, as it goes, that an item
never runs in two slots of a worker at once and meets one end in each lease. Must not know: the machine's records.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twistcluster.core.slots import LastWords
from twistcluster.core.worker import Worker
from twistcluster.core.worker_effects import (
    Ended,
    InterruptSlot,
    KillSlot,
    LimitSlot,
    StartSlot,
    ToSlot,
    Up,
    WorkerEffect,
)
from twistcluster.testing.clock import Timer
from twistcluster.testing.machine_slots import HOP_S, NO_ITEM, SimulatedSlot
from twistcluster.testing.network import SimulatedLink
from twistcluster.testing.stalls import Stalls
from twistcluster.testing.workers import JOIN_S
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Crashed,
    Failure,
    Goodbye,
    Hello,
    Lease,
    Message,
    Released,
    Report,
    Scale,
)

if TYPE_CHECKING:
    from twistcluster.testing.cluster import SimulatedCluster

__all__ = ["MachineWorker"]

SAMPLE_S: Final = 0.02
STATE_S: Final = 1.0
"""Between two looks at whether slots are stopped."""
LIMIT_S: Final = 0.001


class MachineWorker:
    """The real worker's machine in a simulated cluster.

    Items fail where `fails(job, index)` says so, end their slot where `crashes` does, and don't stop where `deaf` does.
    """

    link: "SimulatedLink"
    hello: Hello

    def __init__(self, cluster: "SimulatedCluster", slots: int, resources: dict[str, float]) -> None:
        self.cluster = cluster
        self.stalls = Stalls(cluster.clock)
        self.links = 0
        """Lost so far."""
        self.joins = False
        """It is about to join again: once, however many links it lost."""
        self.deaf: Callable[[int, int], bool] = lambda _job, _index: False
        self.alive = True
        self.runs: list[tuple[int, int]] = []
        """Items that ended in a slot: (job, index)."""
        self.fails: Callable[[int, int], bool] = lambda _job, _index: False
        self.crashes: Callable[[int, int], bool] = lambda _job, _index: False
        self.stores: Callable[[int, int], int] = lambda _job, _index: 0
        """Its slots store nothing."""
        self._machine = Worker(slots, resources)
        self._machine.pulse.beats = True
        self._slots: dict[int, SimulatedSlot] = {}
        self._left: dict[int, set[int]] = {}
        """By lease: its items that met no end yet."""
        self._tick: Timer | None = None
        self._sampling = False
        self._looked_at = 0.0
        self.later(0.0, self._start)

    @property
    def now(self) -> float:
        """Simulated time."""
        return self.cluster.clock.now

    def later(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        """Call something of this worker's after a time."""
        self.cluster.clock.at(self.now + seconds, call, *args)

    def later_here(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        """The same of the worker's own process, which may be stopped then."""
        self.later(seconds, self.stalls.happen, call, *args)

    # ---- the cluster's side ----

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """The scheduler said something."""
        self.stalls.happen(self._hear, self.links, message, buffers)

    def _hear(self, links: int, message: Message, buffers: tuple[Buffer, ...]) -> None:
        if self.alive and links == self.links:
            if isinstance(message, Lease):
                self._left.setdefault(message.lease, set()).update(range(message.start, message.stop))
            self._apply(self._machine.received(message, buffers, self.now))

    def lost(self) -> None:
        """The scheduler closed the link: what runs is ended, and the worker joins anew."""
        self.stalls.happen(self._join_again)

    def _join_again(self) -> None:
        if self.alive:
            self.links += 1
            self.link = SimulatedLink.nowhere(self.cluster.clock)
            self._left.clear()
            self._apply(self._machine.link_lost(self.now))
            if not self.joins:
                self.joins = True
                self.later_here(JOIN_S * self.cluster.random.random(), self._join)

    def _join(self) -> None:
        self.joins = False
        if self.alive:
            self.cluster.connect_again(self)

    def die(self) -> None:
        """The process is killed."""
        self.alive = False
        for slot in self._slots.values():
            slot.alive = False
        self.link.cut()

    def leave(self) -> None:
        """Take nothing new, finish what runs, say so and end."""
        self.stalls.happen(lambda: self._apply(self._machine.leave_soon(self.now)) if self.alive else None)

    @property
    def wanted_slots(self) -> int:
        """How many slots it shall have."""
        return self._machine.crew.target

    def scale(self, slots: int) -> None:
        """Have another number of slots."""
        self.stalls.happen(self._scale, slots)

    def _scale(self, slots: int) -> None:
        if self.alive:
            self._apply(self._machine.received(Scale(slots), (), self.now))

    def stop_slot(self, number: int, seconds: float) -> None:
        """A slot's process is stopped for a while."""
        slots = list(self._slots.values())
        if slots:
            slots[number % len(slots)].stalls.stop(seconds)

    def kill_slot(self, number: int) -> None:
        """A slot's process is killed."""
        slots = list(self._slots.values())
        if slots:
            slots[number % len(slots)].die("signal 9 (SIGKILL)")

    # ---- the slots' side ----

    def begin(self, slot: SimulatedSlot, job: int, index: int) -> float:
        """An item starts in a slot; returns how long it takes."""
        beside = [other.number for other in self._slots.values() if other is not slot and (job, index) in other.running]
        assert not beside, f"item {index} of job {job} runs in slots {slot.number} and {beside} at once"
        return self.cluster.item_seconds(job, index)

    def slot_said(self, slot: SimulatedSlot, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """A slot said something."""
        if self.alive and slot.number in self._slots:
            self._apply(self._machine.slot_received(slot.number, message, buffers, self.now))

    def slot_died(self, slot: SimulatedSlot, reason: str) -> None:
        """A slot's process is gone."""
        if self.alive and self._slots.pop(slot.number, None) is not None:
            last = LastWords(group=slot.group)
            self._apply(self._machine.slot_died(slot.number, reason, slot.ordinal, self.now, last))

    def _apply(self, effects: list[WorkerEffect]) -> None:
        for effect in effects:
            match effect:
                case Up(message, buffers):
                    self._ends(message)
                    self.link.send(False, message, buffers)
                case ToSlot(number, message, _):
                    if number in self._slots:
                        self.later(HOP_S, self._hand, self._slots[number], message)
                case StartSlot(number, delay_s) if delay_s:
                    self.later_here(delay_s, self._start_slot, number)
                case StartSlot(number):
                    self._start_slot(number)
                case KillSlot(number):
                    slot = self._slots.pop(number, None)
                    if slot is not None:
                        slot.alive = False
                case InterruptSlot(number, ordinal):
                    if number in self._slots:
                        self.later(HOP_S, self._slots[number].interrupted, ordinal)
                case LimitSlot(number, ordinal, answer):
                    if number in self._slots:
                        self._slots[number].limit = ordinal
                        if answer:
                            self.later_here(LIMIT_S, self._limited, number)
                case Ended():
                    self.link.send(False, Goodbye())
                    self.alive = False
                    self.link.hang_up(right=True)
                case _:
                    pass
        self._arm()

    def _ends(self, message: Message) -> None:
        """What goes up is the end of these items in their lease, and the only one."""
        match message:
            case Report(lease=lease, start=start, count=count):
                ended = range(start, start + count)
            case Failure(lease=lease, index=index) | Crashed(lease=lease, index=index):
                ended = range(index, index + 1)
            case Released(lease=lease, start=start, stop=stop):
                ended = range(start, stop)
            case _:
                return
        if ended:
            left = self._left[lease]
            assert left.issuperset(ended), f"{message} speaks of items that lease {lease} doesn't hold"
            left.difference_update(ended)

    @staticmethod
    def _hand(slot: SimulatedSlot, message: Message) -> None:
        if slot.alive:
            slot.said(message)

    def _start_slot(self, number: int) -> None:
        if self.alive and self._machine.crew.get(number) is not None:
            self._slots[number] = SimulatedSlot(self, number)

    def _limited(self, number: int) -> None:
        slot = self._slots.get(number)
        if self.alive and slot is not None:
            reached = slot.reached if slot.ordinal == NO_ITEM else slot.ordinal + 1
            self._apply(self._machine.limited(number, reached, self.now))

    # ---- time ----

    def _start(self) -> None:
        if self.alive:
            self._apply(self._machine.start(self.now))

    def _arm(self) -> None:
        due = self._machine.next_tick()
        if due is not None and (self._tick is None or self._tick.cancelled or due < self._tick.due):
            if self._tick is not None:
                self._tick.cancel()
            self._tick = self.cluster.clock.at(due, self.stalls.happen, self._ticked)
        if not self._sampling and self._machine.sampling:
            self._sampling = True
            self.later_here(SAMPLE_S, self._sample)

    def _ticked(self) -> None:
        self._tick = None
        if self.alive:
            self._apply(self._machine.tick(self.now))

    def _sample(self) -> None:
        self._sampling = False
        for number in self._machine.sampling:
            slot = self._slots.get(number)
            if self.alive and slot is not None:
                self._apply(self._machine.sampled(number, slot.ordinal, self.now))
        if self.alive and self.now >= self._looked_at + STATE_S:
            self._looked_at = self.now
            for number in self._machine.stillness.worth_a_look(self.now):
                if number in self._slots:
                    stopped = self._slots[number].stalls.stopped
                    self._apply(self._machine.state_seen(number, stopped, self.now))
        if self.alive:
            self._arm()

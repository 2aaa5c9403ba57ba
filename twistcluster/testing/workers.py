"""Simulated workers.

Owns: `LeaseWorker`, which takes leases and runs their items on counters instead of slots: cheap enough for thousands.
Must not know: the scheduler's records.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twistcluster.testing.inputs import Inputs
from twistcluster.testing.network import SimulatedLink
from twistcluster.testing.stalls import Stalls
from twistcluster.wire.messages import (
    Crashed,
    ErrorInfo,
    Failure,
    Goodbye,
    Heartbeat,
    Hello,
    Lease,
    Message,
    Released,
    Report,
    Revoke,
    Scale,
    SlotsChanged,
    StopItems,
    Stored,
    Welcome,
)

if TYPE_CHECKING:
    from twistcluster.testing.cluster import SimulatedCluster
    from twistcluster.wire.frames import Buffer

__all__ = ["LeaseWorker"]

BEAT_S = 1.0
JOIN_S = 0.2
"""Within which a worker whose link was lost joins again."""


@dataclass(slots=True)
class HeldLease:
    """A lease and how far it was started."""

    number: int
    job: int
    next: int
    stop: int


class LeaseWorker:
    """A worker without processes: each slot runs an item for as long as the cluster says it takes.

    Items fail where `fails(job, index)` says so, end their slot where `crashes` does, and don't stop where `deaf` does.
    """

    link: "SimulatedLink"
    hello: Hello

    def __init__(self, cluster: "SimulatedCluster", slots: int, _resources: dict[str, float]) -> None:
        self.cluster = cluster
        self.stalls = Stalls(cluster.clock)
        self.links = 0
        """Lost so far: what began under an earlier link is of no account."""
        self.joins = False
        """It is about to join again: once, however many links it lost."""
        self.slots = slots
        self.free = slots
        self.queue: deque[HeldLease] = deque()
        self.alive = True
        self.leaving = False
        self.inputs = Inputs()
        self.deaf: Callable[[int, int], bool] = lambda _job, _index: False
        self.running: dict[tuple[int, int], int] = {}
        """Items in slots, by lease and index: their job."""
        self.runs: list[tuple[int, int]] = []
        """Items that were started: (job, index)."""
        self.fails: Callable[[int, int], bool] = lambda _job, _index: False
        self.crashes: Callable[[int, int], bool] = lambda _job, _index: False
        self.stores: Callable[[int, int], int] = lambda _job, _index: 0
        """How many bytes of an item's result lie in the store of this host; 0: it travels."""

    def received(self, message: Message, _buffers: "tuple[Buffer, ...]") -> None:
        """The scheduler said something."""
        self.stalls.happen(self._hear, self.links, message)

    def _hear(self, links: int, message: Message) -> None:
        if links != self.links:
            return
        self.inputs.said(message)
        match message:
            case Lease(lease=number, job=job, start=start, stop=stop):
                self.queue.append(HeldLease(number, job, start, stop))
                if self.leaving:
                    self._give_back(number, 0)
                self._start()
            case Revoke(lease=number, keep=keep):
                self._give_back(number, keep)
            case StopItems(lease=number, start=start, stop=stop):
                self._stop(number, start, stop)
            case Scale(slots=slots):
                self.scale(slots)
            case Welcome():
                self._beat(links)
            case _:
                pass

    def _beat(self, links: int) -> None:
        if self.alive and links == self.links:
            self.link.send(False, Heartbeat())
            self.cluster.clock.at(self.cluster.clock.now + BEAT_S, self.stalls.happen, self._beat, links)

    @property
    def wanted_slots(self) -> int:
        """How many slots it shall have."""
        return self.slots

    def scale(self, slots: int) -> None:
        """Have another number of slots; what runs in one that goes is finished first."""
        self.free += slots - self.slots
        self.slots = slots
        self.link.send(False, SlotsChanged(slots, slots, 0, 0))
        self._start()

    def kill_slot(self, number: int) -> None:
        """Its slots are no processes."""

    def stop_slot(self, number: int, seconds: float) -> None:
        """Its slots are no processes."""

    def die(self) -> None:
        """The process is killed."""
        self.alive = False
        self.link.cut()

    def leave(self) -> None:
        """Take nothing new, finish what runs, say so and end."""
        if self.alive and not self.leaving:
            self.stalls.happen(self._leave)

    def _leave(self) -> None:
        self.leaving = True
        self.free -= self.slots
        self.slots = 0
        self.link.send(False, SlotsChanged(0, 0, 0, 0, leaving=True))
        for lease in list(self.queue):
            self._give_back(lease.number, 0)
        self._end_if_through()

    def _end_if_through(self) -> None:
        if self.alive and self.leaving and not self.running:
            self.link.send(False, Goodbye())
            self.alive = False
            self.link.hang_up(right=True)

    def lost(self) -> None:
        """The scheduler closed the link: what runs is ended, and the worker joins anew."""
        self.stalls.happen(self._join_again)

    def _join_again(self) -> None:
        if self.alive:
            self.links += 1
            self.link = SimulatedLink.nowhere(self.cluster.clock)
            self.queue.clear()
            self.running.clear()
            self.free = self.slots
            self.inputs = Inputs()
            self._end_if_through()
            if self.joins:
                return
            self.joins = True
            self.cluster.clock.at(
                self.cluster.clock.now + JOIN_S * self.cluster.random.random(), self.stalls.happen, self._join
            )

    def _join(self) -> None:
        self.joins = False
        if self.alive:
            self.cluster.connect_again(self)

    def _start(self) -> None:
        clock, seconds_of = self.cluster.clock, self.cluster.item_seconds
        while self.free > 0 and self.queue:
            lease = self.queue[0]
            index = lease.next
            lease.next += 1
            if lease.next == lease.stop:
                self.queue.popleft()
            self.free -= 1
            self.running[lease.number, index] = lease.job
            self.inputs.check(lease.job, index)
            seconds = seconds_of(lease.job, index)
            clock.at(clock.now + seconds, self.stalls.happen, self._finish, self.links, lease, index, seconds)

    def _finish(self, links: int, lease: HeldLease, index: int, seconds: float) -> None:
        if not self.alive or links != self.links or (lease.number, index) not in self.running:
            return
        del self.running[lease.number, index]
        self.free += 1
        if self.crashes(lease.job, index):
            self.link.send(False, Crashed(lease.number, index, "signal 9 (SIGKILL)"))
        elif self.fails(lease.job, index):
            error = ErrorInfo("raised", "ValueError", "no")
            self.link.send(False, Failure(lease.number, index, seconds, error))
        else:
            value = f"{index} by {self.hello.process}, run {len(self.runs)}".encode()
            size = self.stores(lease.job, index)
            name = b"%.8b%08x" % (self.hello.process.encode(), len(self.runs))
            objects = [Stored(0, name, size)] if size else []
            self.link.send(False, Report(lease.number, index, 1, 0, seconds, objects=objects), (value,))
        self.runs.append((lease.job, index))
        self._start()
        self._end_if_through()

    def _stop(self, number: int, start: int, stop: int) -> None:
        """Items were cancelled: give back what runs of them, and all of the lease that doesn't."""
        lease = next((held for held in self.queue if held.number == number), None)
        if lease is not None:
            self._give_back(number, 0)
        cancelled = [(key, job) for key, job in self.running.items() if key[0] == number and start <= key[1] < stop]
        for (_, index), job in cancelled:
            if not self.deaf(job, index):
                del self.running[number, index]
                self.free += 1
                self.link.send(False, Released(number, index, index + 1))
        self._start()
        self._end_if_through()

    def _give_back(self, number: int, keep: int) -> None:
        lease = next((held for held in self.queue if held.number == number), None)
        if lease is None or lease.stop - lease.next <= keep:
            self.link.send(False, Released(number, 0, 0))
            return
        split = lease.next + keep
        self.link.send(False, Released(number, split, lease.stop))
        lease.stop = split
        if lease.next == split:
            self.queue.remove(lease)

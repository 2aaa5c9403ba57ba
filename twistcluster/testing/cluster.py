"""A whole cluster in one thread, on a fake clock and a fake network.

Owns: the seats around the real scheduler's machine: clients that open jobs and write down what they are told, and
workers (testing/workers.py). All that is random comes from one seeded generator.

Example:
    >>> cluster = SimulatedCluster(seed=1)
    >>> _ = [cluster.add_worker(slots=2) for _ in range(3)]
    >>> client = cluster.add_client()
    >>> job = client.open_job(count=1000)
    >>> cluster.run()
    >>> len(job.results), job.complete
    (1000, True)
"""

import random
from collections.abc import Callable
from typing import Protocol

import msgspec

from twistcluster.core.effects import Close, Effect, EndCluster, ReadLog, Record, Send
from twistcluster.core.restoring import restore
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.testing.clients import SimulatedClient, SimulatedJob
from twistcluster.testing.clock import StepClock, Timer
from twistcluster.testing.invariants import check_restored, check_scheduler
from twistcluster.testing.journal import SimulatedJournal
from twistcluster.testing.machines import MachineWorker
from twistcluster.testing.network import SimulatedLink
from twistcluster.testing.stalls import Stalls
from twistcluster.testing.successes import Successes
from twistcluster.testing.workers import LeaseWorker
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import PROTOCOL, Hello, Message

__all__ = ["Seat", "SimulatedClient", "SimulatedCluster", "SimulatedJob", "SimulatedWorker"]

PYTHON = "3.11"
AGAIN_S = 0.2
"""Within which a peer that found no scheduler tries again."""


class Seat(Protocol):
    """A client or worker, from the cluster's side."""

    link: SimulatedLink

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """The scheduler said something."""

    def lost(self) -> None:
        """The link is gone."""


class SchedulerEnd:
    """The scheduler's end of one link."""

    def __init__(self, cluster: "SimulatedCluster", peer: int) -> None:
        self.cluster = cluster
        self.peer = peer
        self._life = cluster.restarts

    @property
    def _alive(self) -> bool:
        return self.cluster.restarts == self._life

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """A peer said something."""
        if not self._alive:
            return
        if self.cluster.successes is not None:
            self.cluster.successes.said(self.peer, message, buffers)
        self.cluster.event(self.cluster.scheduler.received, self.peer, message, buffers)

    def lost(self) -> None:
        """The link is gone."""
        if self._alive:
            self.cluster.links.pop(self.peer, None)
            self.cluster.event(self.cluster.scheduler.disconnected, self.peer)


class SeatEnd:
    """A client's or worker's end of one link: of no account once it has another."""

    def __init__(self, seat: Seat, link: SimulatedLink) -> None:
        self.seat = seat
        self.link = link

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """The scheduler said something."""
        if self.seat.link is self.link:
            self.seat.received(message, buffers)

    def lost(self) -> None:
        """The link is gone."""
        if self.seat.link is self.link:
            self.seat.lost()


class SimulatedCluster:
    """A scheduler, its clients and its workers.

    Args:
        seed: Of all that is random.
        name: Empty for an owned cluster.
        delay_s: The longest time that a message takes; each takes a random part of it.
        check: Check the invariants after every step.
        item_seconds: How long an item takes, from (job, index).
        results_held_bytes: What the scheduler holds at most of results that weren't fetched.
        commit_s: The longest time until what the scheduler records is written; None: it has no journal.
    """

    def __init__(
        self,
        seed: int,
        *,
        name: str = "sim",
        delay_s: float = 0.001,
        check: bool = True,
        item_seconds: Callable[[int, int], float] = lambda _job, _index: 0.01,
        results_held_bytes: int = 1 << 30,
        commit_s: float | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.clock = StepClock()
        self.item_seconds = item_seconds
        self.links: dict[int, SimulatedLink] = {}
        self.ended = ""
        self.seats: list[Seat] = []
        """Whoever came, and isn't gone for good."""
        self.journal = None if commit_s is None else SimulatedJournal(self.clock, self.random, commit_s)
        self.up = True
        """Whether the scheduler runs."""
        self.restarts = 0
        self._name = name
        self._results_held_bytes = results_held_bytes
        self.scheduler = self._new_scheduler()
        self.successes = Successes(self.scheduler) if check else None
        self._check = check
        self._delay_s = delay_s
        self._peers = 0
        self._tick: Timer | None = None
        self.observe: Callable[[Callable[..., object], float], None] | None = None

    # ---- events and effects ----

    def event(self, happen: Callable[..., list[Effect]], *args: object) -> None:
        """Something happens to the scheduler now; its effects are carried out."""
        effects = happen(*args, self.clock.now)
        for effect in effects:
            match effect:
                case Send(peer, message, buffers):
                    link = self.links.get(peer)
                    if self.successes is not None:
                        self.successes.told(peer, message, buffers)
                    if link is not None:
                        link.send(True, message, buffers)
                case Close(peer, _):
                    link = self.links.pop(peer, None)
                    if link is not None:
                        link.late = True
                        self.clock.at(self.clock.now + self._delay_s, link.cut)
                case EndCluster(reason):
                    self.ended = reason
                case Record() if self.journal is not None:
                    self.journal.record(effect, lambda marks: self.event(self.scheduler.recorded, marks))
                case ReadLog(job) if self.journal is not None:
                    self.journal.read(effect, lambda rows, job=job: self.event(self.scheduler.read, job, rows))  # type: ignore[misc]
                case _:
                    pass
        if self._check and (effects or happen != self.scheduler.tick):
            check_scheduler(self.scheduler)
        self._arm()

    def _arm(self) -> None:
        due = self.scheduler.next_tick()
        if self._tick is None or self._tick.cancelled or due < self._tick.due:
            if self._tick is not None:
                self._tick.cancel()
            self._tick = self.clock.at(due, self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        self.event(self.scheduler.tick)

    # ---- the scheduler's own death ----

    def crash(self, seconds: float) -> None:
        """The scheduler's process is killed, and another one comes so long after, from the journal."""
        assert self.journal is not None, "nothing would be left"
        if not self.up:
            return
        self.up = False
        self.restarts += 1
        if self._tick is not None:
            self._tick.cancel()
        for link in self.links.values():
            link.hang_up(right=False)
        self.links.clear()
        whole = self.journal.crash()
        fates = {job.id: self.journal.book.fates.get(job.key, {}) for job in self.scheduler.jobs.values()}
        for client in self.clients():
            client.scheduler_died(fates)
        self.clock.at(self.clock.now + seconds, self._come_back, whole)

    def _come_back(self, whole: bool) -> None:
        assert self.journal is not None
        before, self.scheduler, self.up = self.scheduler, self._new_scheduler(), True
        restore(self.scheduler, self.journal.book)
        if self._check:
            check_scheduler(self.scheduler)
            self.successes = Successes(self.scheduler, self.journal.book.fates)
            if whole:
                check_restored(before, self.scheduler)
        self.event(self.scheduler.end_turn)

    def _new_scheduler(self) -> Scheduler:
        return Scheduler(
            Identity(epoch=str(self.restarts), cluster="0", python=PYTHON, version="0", pid=0, name=self._name),
            now=self.clock.now,
            results_held_bytes=self._results_held_bytes,
            journal=self.journal is not None,
        )

    # ---- peers ----

    def connect(self, seat: Seat, hello: Hello) -> None:
        """Link a client or worker to the scheduler."""
        self._peers += 1
        peer = self._peers
        link = SimulatedLink(self.clock, lambda: self.random.random() * self._delay_s)
        link.connect(SchedulerEnd(self, peer), SeatEnd(seat, link))
        seat.link = link
        self.links[peer] = link
        self.event(lambda now: self.scheduler.connected(peer, hello, now))

    def hello(self, role: str, slots: int = 0, resources: dict[str, float] | None = None, host: str = "host") -> Hello:
        """What a new peer says first."""
        process = f"{self.random.getrandbits(128):032x}"
        assert role in ("client", "worker")
        return Hello(
            PROTOCOL,
            "client" if role == "client" else "worker",
            PYTHON,
            "0",
            process,
            1,
            host,
            self._peers,
            slots=slots,
            resources=resources or {},
        )

    def add_client(self) -> SimulatedClient:
        """A client joins."""
        client = SimulatedClient(self)
        self.seats.append(client)
        client.join()
        return client

    def add_worker(
        self, slots: int = 2, resources: dict[str, float] | None = None, *, kind: str = "lease", host: str = "host"
    ) -> "SimulatedWorker":
        """A worker joins.

        Args:
            slots: how many.
            resources: what it offers.
            host: where it runs.
            kind: "lease" for one that takes leases and gives results, without slots of its own; "machine" for the real
                worker's machine with simulated slots.
        """
        make: Callable[[SimulatedCluster, int, dict[str, float]], SimulatedWorker]
        make = MachineWorker if kind == "machine" else LeaseWorker
        worker = make(self, slots, resources or {})
        worker.hello = msgspec.structs.replace(self.hello("worker", slots, resources, host), link=0)
        worker.link = SimulatedLink.nowhere(self.clock)
        self.seats.append(worker)
        self.connect_again(worker)
        return worker

    def connect_again(self, worker: "SimulatedWorker") -> None:
        """A worker's process joins with a new link; the scheduler may not have seen the old one's end."""
        if not self.up:
            self.reach(lambda: self.connect_again(worker))
        elif worker.alive:
            worker.hello = msgspec.structs.replace(worker.hello, link=worker.hello.link + 1, slots=worker.wanted_slots)
            self.connect(worker, worker.hello)

    def reach(self, again: Callable[[], None]) -> None:
        """There is no scheduler now: do it a little later."""
        self.clock.at(self.clock.now + AGAIN_S * self.random.random(), again)

    # ---- time ----

    def run(self, until: Callable[[], bool] | None = None, *, seconds: float = 1e6) -> None:
        """Let time pass until something holds (else: until all jobs of all clients are complete)."""
        deadline = self.clock.now + seconds
        stop = until or self.quiet
        while not stop():
            if self.clock.now > deadline or not self.clock.step():
                raise AssertionError(f"it isn't over at {self.clock.now:.3f} s: {self.story()}")

    def story(self) -> str:
        """What isn't over, for the message of a failed test."""
        jobs = [
            f"{job.id} is {job.state}, {job.arrived} of {job.count} items came, {job.spans.finished} finished, "
            f"pending {job.spans.pending}, leased {[(n, x.left, x.holder.peer) for n, x in job.spans.leases.items()]}"
            for job in self.scheduler.jobs.values()
            if not job.over
        ]
        seen = [
            f"{job.number} of a client: {len(job.results)} results, {len(job.failed)} failed, {len(job.cancelled)} "
            f"cancelled of {job.count}"
            for client in self.clients()
            for job in client.jobs.values()
            if not job.complete and not job.released
        ]
        workers = [
            f"{w.peer} of {w.slots} slots with {w.hello.resources}, loads {w.loads}"
            for w in self.scheduler.leasing.workers.values()
        ]
        return "\n".join([*jobs, *seen, *workers])

    def quiet(self) -> bool:
        """Whether every job is over and everything said was heard."""
        return (
            self.up
            and all(job.over for job in self.scheduler.jobs.values())
            and all(client.settled for client in self.clients())
        )

    def clients(self) -> list[SimulatedClient]:
        """Those that didn't leave."""
        return [seat for seat in self.seats if isinstance(seat, SimulatedClient) and not seat.gone]


class SimulatedWorker(Seat, Protocol):
    """A worker, from a test's side."""

    alive: bool
    hello: Hello
    stalls: Stalls
    fails: Callable[[int, int], bool]
    crashes: Callable[[int, int], bool]
    deaf: Callable[[int, int], bool]
    stores: Callable[[int, int], int]

    @property
    def wanted_slots(self) -> int:
        """How many slots it shall have."""

    def die(self) -> None:
        """The process is killed."""

    def lost(self) -> None:
        """Its link is gone: what runs is ended, and the worker joins anew."""

    def kill_slot(self, number: int) -> None:
        """A slot's process is killed, where slots are processes."""

    def stop_slot(self, number: int, seconds: float) -> None:
        """A slot's process is stopped for a while, where slots are processes."""

    def leave(self) -> None:
        """Take nothing new, finish what runs, say so and end."""

    def scale(self, slots: int) -> None:
        """Have another number of slots."""

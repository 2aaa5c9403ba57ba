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
from typing import Protocol, cast

import msgspec

from twistcluster.core.effects import Close, Effect, EndCluster, Send
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.testing.clients import CONTEXT, FUNCTION, SimulatedClient, SimulatedJob
from twistcluster.testing.clock import StepClock, Timer
from twistcluster.testing.invariants import check_scheduler
from twistcluster.testing.machines import MachineWorker
from twistcluster.testing.network import SimulatedLink
from twistcluster.testing.stalls import Stalls
from twistcluster.testing.successes import Successes
from twistcluster.testing.workers import LeaseWorker
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import PROTOCOL, Blob, Hello, Message

__all__ = ["Seat", "SimulatedClient", "SimulatedCluster", "SimulatedJob"]

PYTHON = "3.11"


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

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """A peer said something."""
        if self.cluster.successes is not None:
            self.cluster.successes.said(self.peer, message, buffers)
        self.cluster.event(self.cluster.scheduler.received, self.peer, message, buffers)

    def lost(self) -> None:
        """The link is gone."""
        self.cluster.links.pop(self.peer, None)
        self.cluster.event(self.cluster.scheduler.disconnected, self.peer)


class WorkerEnd:
    """A worker's end of one link: of no account once the worker has another."""

    def __init__(self, worker: "SimulatedWorker") -> None:
        self.worker = worker
        self.link: SimulatedLink | None = None

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """The scheduler said something."""
        if self.worker.link is self.link:
            self.worker.received(message, buffers)

    def lost(self) -> None:
        """The link is gone."""
        if self.worker.link is self.link:
            self.worker.lost()


class SimulatedCluster:
    """A scheduler, its clients and its workers.

    Args:
        seed: Of all that is random.
        name: Empty for an owned cluster.
        delay_s: The longest time that a message takes; each takes a random part of it.
        check: Check the invariants after every step.
        slot_seconds: How long an item takes, from (job, index).
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
    ) -> None:
        self.random = random.Random(seed)
        self.clock = StepClock()
        self.item_seconds = item_seconds
        self.links: dict[int, SimulatedLink] = {}
        self.ended = ""
        self.scheduler = Scheduler(
            Identity(epoch="0", cluster="0", python=PYTHON, version="0", pid=0, name=name),
            now=0.0,
            results_held_bytes=results_held_bytes,
        )
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

    # ---- peers ----

    def connect(self, seat: Seat, hello: Hello) -> None:
        """Link a client or worker to the scheduler."""
        self._peers += 1
        peer = self._peers
        link = SimulatedLink(self.clock, lambda: self.random.random() * self._delay_s)
        if hello.role == "worker":
            end = WorkerEnd(cast("SimulatedWorker", seat))
            end.link = link
            link.connect(SchedulerEnd(self, peer), end)
        else:
            link.connect(SchedulerEnd(self, peer), seat)
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
        self.connect(client, self.hello("client"))
        client.say(Blob(FUNCTION), (b"function",))
        client.say(CONTEXT)
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
        worker.hello = self.hello("worker", slots, resources, host)
        self.connect(worker, worker.hello)
        return worker

    def connect_again(self, worker: "SimulatedWorker", slots: int) -> None:
        """A worker's process joins with a new link; the scheduler may not have seen the old one's end."""
        worker.hello = msgspec.structs.replace(worker.hello, link=worker.hello.link + 1, slots=slots)
        self.connect(worker, worker.hello)

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
        return all(job.over for job in self.scheduler.jobs.values()) and all(
            job.complete or job.released for client in self.clients() for job in client.jobs.values()
        )

    def clients(self) -> list[SimulatedClient]:
        """Those that are connected."""
        seats = [link.ends[True] for link in self.links.values() if link.up]
        return [seat for seat in seats if isinstance(seat, SimulatedClient)]


class SimulatedWorker(Seat, Protocol):
    """A worker, from a test's side."""

    alive: bool
    hello: Hello
    stalls: Stalls
    fails: Callable[[int, int], bool]
    crashes: Callable[[int, int], bool]
    deaf: Callable[[int, int], bool]

    def die(self) -> None:
        """The process is killed."""

    def scale(self, slots: int) -> None:
        """Have another number of slots."""

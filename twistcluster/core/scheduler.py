"""The scheduler: what it decides when a peer connects, says something, or is gone.

Owns: the wiring of its rooms (clients, jobs, leasing, supply, telling) and the order of things in one turn. Events come
in as method calls with the time, effects go out as a list; nothing here does I/O. Must not know: links, processes,
clocks, values.

Rules:
- It never unpickles, and never touches items one by one.
- A malformed or misplaced message costs its sender the link, and nobody else anything.
- What a lost peer had is decided in the same turn.
"""

import math

from twistcluster.core.bringing import Bringing
from twistcluster.core.clients import Client
from twistcluster.core.clientside import ClientSide
from twistcluster.core.edges import Edges
from twistcluster.core.effects import Close, Effect, EndCluster, Log, Marks, Send
from twistcluster.core.fates import Fates
from twistcluster.core.jobs import Job
from twistcluster.core.keeping import Keeping
from twistcluster.core.leasing import Leasing
from twistcluster.core.objects import Objects
from twistcluster.core.places import Places
from twistcluster.core.remaking import Remaking
from twistcluster.core.retention import Retention, lasts
from twistcluster.core.returning import Returning
from twistcluster.core.rows import EntryRow
from twistcluster.core.safekeeping import Safekeeping
from twistcluster.core.servers import Servers
from twistcluster.core.sources import Sources
from twistcluster.core.steps import Steps
from twistcluster.core.supply import Supply
from twistcluster.core.telling import Telling
from twistcluster.core.vigil import LOST_AFTER_S, Vigil
from twistcluster.core.waiting import why_waiting
from twistcluster.core.wanted import Fetching
from twistcluster.core.workerside import WorkerSide
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import RESULTS_HELD_BYTES, SLOTS
from twistcluster.wire.messages import (
    PROTOCOL,
    ClusterStatus,
    Hello,
    JobProgress,
    Kept,
    Message,
    Notice,
    Refused,
    Welcome,
)

__all__ = ["Identity", "Scheduler"]

PROGRESS_S = 0.2
STEAL_TICK_S = 0.01
STEAL_TICK_WORKER_S = 20e-6


class Identity:
    """Who a scheduler is."""

    __slots__ = ("cluster", "epoch", "name", "owner", "packages", "pid", "python", "version")

    def __init__(
        self,
        *,
        epoch: str,
        cluster: str,
        python: str,
        version: str,
        pid: int,
        name: str = "",
        owner: str = "",
        packages: dict[str, str] | None = None,
    ) -> None:
        self.epoch = epoch
        """Names this run of the scheduler."""
        self.cluster = cluster
        self.name = name
        """Empty: the cluster is owned by the client that says `owner`, and ends with it."""
        self.owner = owner
        self.python = python
        self.version = version
        self.pid = pid
        self.packages = packages or {}


class Scheduler:
    """The scheduler's machine."""

    def __init__(
        self,
        identity: Identity,
        *,
        now: float,
        idle_timeout_s: float | None = None,
        results_held_bytes: int = RESULTS_HELD_BYTES,
        lost_after_s: float = LOST_AFTER_S,
        journal: bool = False,
        wall: float = 0.0,
    ) -> None:
        self.identity = identity
        self.busy_share = 0.0
        """Share of its time that the node works; the node measures it."""
        self.started = now
        self.now = now
        self.idle_timeout_s = idle_timeout_s
        self.idle_since = now
        self.ending = False
        self.clients: dict[int, Client] = {}
        self.jobs: dict[int, Job] = {}
        self.touched: dict[Job, None] = {}
        """Jobs whose progress may have changed since the last tick."""
        self.effects: list[Effect] = []
        self.objects = Objects(self.effects)
        self.supply = Supply(self.effects, self.objects)
        self.keeping = Keeping(self.effects, on=journal, wall=wall)
        if journal:
            self.supply.keeping = self.keeping
        self.telling = Telling(
            self.effects,
            self.supply,
            self.objects,
            self.keeping,
            retain=bool(identity.name),
            limit_bytes=results_held_bytes,
        )
        self.leasing = Leasing(self.effects, self.supply)
        self.steps = Steps(self)
        self.servers = Servers(self)
        self.places = Places()
        self.fates = Fates(self)
        self.edges = Edges(self)
        self.sources = Sources(self)
        self.wanted = Fetching(self)
        self.bringing = Bringing(self)
        self.remaking = Remaking(self)
        self.safekeeping = Safekeeping(self)
        self.retention = Retention(self)
        self.returning = Returning(self)
        self.client_side = ClientSide(self)
        self._worker_side = WorkerSide(self)
        self.vigil = Vigil(self, self._worker_side, lost_after_s)
        self._next_tick = now + PROGRESS_S
        self._next_steal = now
        self._next_pace = now + 1.0
        self._next_key = 1

    # ---- events ----

    def connected(self, peer: int, hello: Hello, now: float, *, local: bool = False, serial: str = "") -> list[Effect]:
        """A peer said `Hello`.

        `local`: it is in the scheduler's own process. `serial`: of its certificate, if it is on another host.
        """
        self.now = now
        refusal = self._refusal(hello)
        if refusal is not None:
            self.log("warning", "peer refused", peer=peer, role=hello.role, reason=refusal.message)
            self.send(peer, refusal)
            self.effects.append(Close(peer, refusal.message))
            return self._turn()
        me = self.identity
        self.send(
            peer, Welcome(me.epoch, me.cluster, me.name, me.python, me.version, me.packages, journal=self.keeping.on)
        )
        if hello.role == "client":
            self.client_side.joined(peer, hello, serial)
        else:
            self._worker_side.joined(peer, hello, local=local, serial=serial)
        return self._turn()

    def received(
        self, peer: int, message: Message, buffers: tuple[Buffer, ...], now: float, *, more: bool = False
    ) -> list[Effect]:
        """A peer that was welcomed said something.

        With `more`, other messages of the same turn may follow, and `end_turn` gives the effects of all: pages that
        came together are then leased together.
        """
        self.now = now
        try:
            client = self.clients.get(peer)
            if client is not None:
                self.client_side.received(client, message, buffers)
            else:
                worker = self.leasing.workers.get(peer)
                if worker is not None:
                    self._worker_side.received(worker, message, buffers)
        except ProtocolError as error:
            self.log("warning", "peer broke the protocol", peer=peer, error=str(error))
            self.send(peer, Refused("malformed", str(error)))
            self.close(peer, str(error))
        return [] if more else self._turn()

    def end_turn(self, now: float) -> list[Effect]:
        """The turn ends: what is pending goes to who has room."""
        self.now = now
        return self._turn()

    def disconnected(self, peer: int, now: float) -> list[Effect]:
        """A link is gone."""
        self.now = now
        self._gone(peer)
        return self._turn()

    def paused(self, peer: int, now: float) -> list[Effect]:
        """A link takes no more for now."""
        self.now = now
        client = self.clients.get(peer)
        if client is not None:
            client.paused = True
        return self._turn()

    def resumed(self, peer: int, now: float) -> list[Effect]:
        """A link takes more again."""
        self.now = now
        client = self.clients.get(peer)
        if client is not None:
            client.paused = False
            self.telling.resume(client)
            self.leasing.look_again()
        return self._turn()

    def tick(self, now: float) -> list[Effect]:
        """Time passed; call it when `next_tick` is due."""
        self.now = now
        if now >= self._next_steal and self.leasing.hungry:
            # It looks at every lease: with thousands of workers less often, so that it costs a tenth of the time at most.
            self._next_steal = now + STEAL_TICK_S + STEAL_TICK_WORKER_S * len(self.leasing.workers)
            self.leasing.steal(self.open_jobs())
        if now >= self._next_pace:
            self._next_pace = now + 1.0
            self.leasing.pace(self.busy_share)
            self.vigil.look()
            self.retention.look()
            self.returning.look()
            self._end_when_idle()
        if now >= self._next_tick:
            self._next_tick = now + PROGRESS_S
            self._tell_progress()
        return self._turn()

    def next_tick(self) -> float:
        """When `tick` is due at the latest."""
        due = self._next_tick if self.touched else self._next_pace
        return min(due, self._next_steal) if self.touched and self.leasing.hungry else due

    # ---- its journal -----------------------------------------------------------------------------------------------

    def recorded(self, marks: Marks, now: float) -> list[Effect]:
        """What `Record` asked for is on the disk."""
        self.servers.recorded()
        if not self.safekeeping.awaited and not self.effects and all(job.forgotten for job in marks):
            return []  # as of nearly every job of a loop of submits
        self.now = now
        for job, (items, places) in marks.items():
            job.recorded = max(job.recorded, places)
            job.kept = items
            for client, watching in job.watchers.items():
                if client.peer is not None:
                    self.send(client.peer, Kept(watching[0], items, job.kept_whole))
            if job.owner.blocked or self.telling.over:
                self.telling.put_away(job)
                self.leasing.look_again()
        self.safekeeping.settle()
        return self._turn()

    def brought(self, name: bytes, now: float, *, there: bool, full: str = "") -> list[Effect]:
        """What `Bring` asked for was tried: whether the value is in the host's store; or why it has no room, in words."""
        self.now = now
        self.bringing.brought(name, there=there, full=full)
        return self._turn()

    def copied(
        self, written: list[bytes], missing: list[bytes], unwritten: list[bytes], trouble: str, now: float
    ) -> list[Effect]:
        """What `CopyOut` asked for was tried: what is on the disk now, what is in no store, what can't be written and why."""
        self.now = now
        self.safekeeping.copied(written, missing, unwritten, trouble)
        return self._turn()

    def journal_trouble(self, text: str, now: float) -> list[Effect]:
        """The journal can't be written, in words; empty: it can again."""
        self.now = now
        self.safekeeping.troubled(text)
        self.servers.troubled(text)
        if text:
            self.notify("warning", f"{text}. Work goes on.")
        else:
            self.notify("info", "The cluster's journal can be written again; nothing was lost.")
        return self._turn()

    def read(self, job: Job, rows: list[EntryRow], now: float) -> list[Effect]:
        """What `ReadLog` asked for is here."""
        self.now = now
        if not job.forgotten:
            bodies = {row.position: row.buffers for row in rows}
            self.telling.came(job, bodies)
            self.wanted.read(job, bodies)
        return self._turn()

    # ---- for its rooms ----

    def send(self, peer: int, message: Message, buffers: tuple[Buffer, ...] = ()) -> None:
        """Say something to a peer, in this turn."""
        self.effects.append(Send(peer, message, buffers))

    def close(self, peer: int, reason: str) -> None:
        """Have nothing more to do with a peer."""
        self.effects.append(Close(peer, reason))
        self._gone(peer)

    def log(self, level: str, event: str, **fields: object) -> None:
        """A line for the log."""
        self.effects.append(Log(level, event, fields))

    def notify(self, level: str, text: str) -> None:
        """A line for every person who is connected."""
        for peer in self.clients:
            self.send(peer, Notice("warning" if level == "warning" else "info", text))

    def end(self, reason: str) -> None:
        """The cluster ends."""
        if not self.ending:
            self.ending = True
            self.effects.append(EndCluster(reason))

    def next_key(self) -> int:
        """A number for a new job."""
        key, self._next_key = self._next_key, self._next_key + 1
        return key

    def key_taken(self, key: int) -> None:
        """A job that came back has this number."""
        self._next_key = max(self._next_key, key + 1)

    def open_jobs(self) -> list[Job]:
        """Jobs that aren't over."""
        return [job for job in self.jobs.values() if not job.over]

    def settle(self, job: Job) -> None:
        """See whether a job is complete, after some of its items met their fate or its input ended."""
        if job.remakes is not None:
            return
        self.touched[job] = None
        if job.complete and not job.over:
            job.advance(job.outcome())
            job.ended = self.now
            if self.keeping.on:
                self.keeping.state(job, self.now)
            job.owner.open_jobs -= 1
            if job.links is not None:
                self.edges.whole_met(job)
                if not job.failed:
                    self.sources.detach(job)
            self.supply.end_job(job)
            if not job.failed:
                self.supply.drop_pages(job)
            self.release_if_unwanted(job)

    def release_if_unwanted(self, job: Job) -> None:
        """Forget a job that is over and that nobody can ask for any more."""
        if (
            job.over
            and not job.watchers
            and not job.needed
            and (not self.telling.retain or job.owner.peer is not None)
            and not lasts(job)
        ):
            self.forget(job)

    def forget(self, job: Job) -> None:
        """Let go of all that is held of a job."""
        if self.jobs.pop(job.key, None) is None:
            return
        if self.keeping.on:
            self.keeping.forgotten(job)
        for client in list(job.watchers):
            self.telling.unwatch(client, job)
        job.owner.jobs.pop(job.number, None)
        self.touched.pop(job, None)
        self.telling.forget(job)
        if job.links is not None:
            self.sources.detach(job)
            self.edges.forget(job)
        self.leasing.look_again()
        self.supply.drop_pages(job)
        job.forgotten = True
        if not job.recipes:
            self.supply.leave(job.blob_digests)

    def status(self) -> ClusterStatus:
        """For people."""
        me = self.identity
        jobs = self.open_jobs()
        return ClusterStatus(
            id=me.cluster,
            name=me.name,
            epoch=me.epoch,
            pid=me.pid,
            uptime=self.now - self.started,
            owned=not me.name,
            clients=[client.name for client in self.clients.values()],
            workers=[worker.status(self.now) for worker in self.leasing.workers.values()],
            jobs_open=len(jobs),
            items_pending=sum(len(job.spans.pending) for job in jobs),
            held_bytes=self.telling.held_bytes,
            busy_share=self.busy_share,
            packages=me.packages,
            python=me.python,
            version=me.version,
            client_serials=[client.serial for client in self.clients.values()],
        )

    # ---- its own ----

    def _gone(self, peer: int) -> None:
        client = self.clients.pop(peer, None)
        if client is not None:
            self.client_side.left(client)
        else:
            worker = self.leasing.workers.get(peer)
            if worker is not None:
                self._worker_side.lost(worker)

    def _turn(self) -> list[Effect]:
        for job in self.objects.settle():
            if job.forgotten:
                self.supply.leave(job.blob_digests)
        self.leasing.fill()
        if self.keeping.on:
            self.keeping.settle()
        effects = self.effects[:]
        self.effects.clear()
        return effects

    def _refusal(self, hello: Hello) -> Refused | None:
        me = self.identity
        if hello.protocol != PROTOCOL:
            return Refused(
                "protocol",
                f"This cluster runs twistcluster {me.version} (protocol {PROTOCOL}), you run {hello.version} "
                f"(protocol {hello.protocol}). Install the same version on both sides and start the older one again.",
            )
        if hello.python != me.python:
            return Refused(
                "python",
                f"This cluster runs Python {me.python}, you run {hello.python}: code can't travel between them. "
                f"Start one of the two with the other's Python.",
            )
        if not 0 <= hello.slots <= SLOTS or not all(0 <= amount < math.inf for amount in hello.resources.values()):
            return Refused("malformed", f"A worker can't have {hello.slots} slots and {hello.resources}.")
        return None

    def _tell_progress(self) -> None:
        touched, self.touched = self.touched, {}
        for job in touched:
            running = 0 if job.over else job.running()
            if running or not job.over:
                self.touched[job] = None
            told = running, why_waiting(job, self.leasing)
            if told != job.told:
                job.told = told
                for client, watching in job.watchers.items():
                    if client.peer is not None and not client.paused:
                        self.send(client.peer, JobProgress(watching[0], *told))
        if self.telling.over:
            self.telling.evict(list(self.jobs.values()))
            self.leasing.look_again()

    def _end_when_idle(self) -> None:
        if self.clients or self.servers or any(self.leasing.runnable(job) for job in self.open_jobs()):
            self.idle_since = self.now
        elif self.idle_timeout_s is not None and self.now - self.idle_since >= self.idle_timeout_s:
            self.end(f"idle for {self.idle_timeout_s:g} s")

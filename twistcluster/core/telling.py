"""What clients are told of jobs, and how much of it is held for them.

Owns: each job's log, the positions of those who listen, and the bytes held. A client that reads slowly or is away finds
everything later, up to a limit, at which its jobs get no new leases. Must not know: leases, workers.
"""

from msgspec.structs import replace

from twistcluster.core.clients import Client
from twistcluster.core.effects import Effect, ReadLog, Send
from twistcluster.core.jobs import Job, LogMessage
from twistcluster.core.keeping import Keeping
from twistcluster.core.objects import Objects
from twistcluster.core.supply import Supply
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import OUTPUT_JOB_BYTES
from twistcluster.wire.messages import Blob, Failed, Notice, Output, Results

__all__ = ["Telling"]

READ_BYTES = 1 << 20
"""Of a log, read back at a time."""


class Telling:
    """Tells clients of jobs."""

    __slots__ = ("_effects", "_keeping", "_limit_bytes", "_objects", "_printed", "_supply", "held_bytes", "retain")

    def __init__(
        self,
        effects: list[Effect],
        supply: Supply,
        objects: Objects,
        keeping: Keeping,
        *,
        retain: bool,
        limit_bytes: int,
    ) -> None:
        self._effects = effects
        self._objects = objects
        self._supply = supply
        self._keeping = keeping
        self._limit_bytes = limit_bytes
        self._printed: dict[Job, int] = {}
        self.retain = retain
        """Keep what was told, for clients that come later (a named cluster does)."""
        self.held_bytes = 0

    def tell(self, job: Job, message: LogMessage, buffers: tuple[Buffer, ...] = ()) -> None:
        """Something happened to a job."""
        if isinstance(message, Output):
            printed = self._printed.get(job, 0) + len(message.text)
            if printed > OUTPUT_JOB_BYTES:
                return
            self._printed[job] = printed
        log = job.log
        if not self.retain and not log.entries and all(c.peer is not None and not c.paused for c in job.watchers):
            # Everybody who wants to know hears it at once, and nobody can ask later.
            log.skip()
            for client, watching in job.watchers.items():
                watching[1] = log.base
                self._send(client, watching[0], message, buffers)
            return
        behind = log.end
        entry = log.append(message, buffers)
        if self._keeping.on:
            entry.place = self._keeping.entry(job, message, buffers, self._supply)
        self._objects.hold(entry.objects)
        job.logged += entry.nbytes
        self._account(job, entry.nbytes)
        for client, watching in job.watchers.items():
            if client.peer is not None and not client.paused and watching[1] == behind:
                self._send(client, watching[0], message, buffers)
                watching[1] += 1
        self._trim(job)

    def watch(self, client: Client, number: int, job: Job, told: int = 0) -> None:
        """From here on a client is told of a job, beginning with all that is held of it; `told` entries it knows."""
        before = job.watchers.pop(client, None)
        if before is not None:
            del client.jobs[before[0]]
        job.watchers[client] = [number, job.log.base + told]
        client.jobs[number] = job
        self.resume_job(client, job)

    def unwatch(self, client: Client, job: Job) -> None:
        """A client isn't told any more."""
        watching = job.watchers.pop(client, None)
        if watching is not None:
            client.jobs.pop(watching[0], None)
            self._trim(job)

    def resume(self, client: Client) -> None:
        """A client's link takes more again."""
        for job in list(client.jobs.values()):
            self.resume_job(client, job)

    def resume_job(self, client: Client, job: Job) -> None:
        """Tell a client what it has not been told of a job, until its link is full."""
        watching = job.watchers.get(client)
        if watching is None or client.peer is None or client.paused:
            return
        log = job.log
        while watching[1] < log.end:
            entry = log.entries[watching[1] - log.base]
            if entry.buffers is None:
                self.read(job, entry.place)
                return
            self._send(client, watching[0], entry.message, entry.buffers)
            watching[1] += 1
        self._trim(job)

    def read(self, job: Job, place: int) -> None:
        """Have entries of a job's log read back, from a place on."""
        if not job.reading:
            job.reading = True
            self._effects.append(ReadLog(job, place, READ_BYTES))

    def came(self, job: Job, bodies: dict[int, tuple[Buffer, ...]]) -> None:
        """Entries of a job's log are here: those who come to them next are told, and they are let go again."""
        job.reading = False
        log = job.log
        for client, watching in list(job.watchers.items()):
            while client.peer is not None and not client.paused and watching[1] < log.end:
                entry = log.entries[watching[1] - log.base]
                buffers = entry.buffers if entry.buffers is not None else bodies.get(entry.place)
                if buffers is None:
                    break
                self._send(client, watching[0], entry.message, buffers)
                watching[1] += 1
            self.resume_job(client, job)

    def came_back(self, job: Job) -> None:
        """A job's log is known again."""
        self._account(job, job.log.nbytes)
        self.put_away(job)

    def put_away(self, job: Job) -> None:
        """What the journal has of a job's log needn't be held here."""
        told = min((watching[1] for watching in job.watchers.values()), default=job.log.end)
        freed = job.log.put_away(job.recorded, told)
        if freed:
            self._account(job, -freed)

    def forget(self, job: Job) -> None:
        """Nothing of this job is held any more."""
        self._drop(job, job.log.end)
        self._printed.pop(job, None)

    def evict(self, jobs: list[Job]) -> None:
        """At the limit, what everybody was told goes first: the oldest jobs' before the newer ones'."""
        for job in jobs:
            if self.held_bytes <= self._limit_bytes:
                return
            if self._keeping.on:
                self.put_away(job)
                continue
            told = min((w[1] for w in job.watchers.values()), default=job.log.base)
            self._drop(job, told)

    @property
    def over(self) -> bool:
        """More is held than there is room for."""
        return self.held_bytes > self._limit_bytes

    def _send(self, client: Client, number: int, message: LogMessage, buffers: tuple[Buffer, ...]) -> None:
        assert client.peer is not None
        if message.job != number:
            message = replace(message, job=number)
        if isinstance(message, Results | Failed) and message.definitions:
            self._define(client, message.definitions)
        if isinstance(message, Results) and message.objects:
            self._objects.hold(message.objects)
            for each in message.objects:
                client.objects[each.id] = client.objects.get(each.id, 0) + 1
        self._effects.append(Send(client.peer, message, buffers))

    def _define(self, client: Client, digests: list[bytes]) -> None:
        """Send a client the class definitions that it hasn't, so that it can read results of another client's job."""
        assert client.peer is not None
        for digest in digests:
            if digest not in client.blobs and digest not in client.defined:
                data = self._supply.data(digest)
                if data is not None:
                    client.defined.add(digest)
                    self._effects.append(Send(client.peer, Blob(digest), (data,)))

    def _trim(self, job: Job) -> None:
        """Let go of what all have been told; of everything, where nobody is left to be told."""
        log = job.log
        if not self.retain and log.entries:
            told = min((w[1] for w in job.watchers.values()), default=log.end)
            if told > log.base:
                self._drop(job, told)

    def _drop(self, job: Job, position: int) -> None:
        """Let go of what was told before a position."""
        nbytes = 0
        for entry in job.log.drop_until(position):
            nbytes += entry.nbytes
            self._objects.release(entry.objects)
        self._account(job, -nbytes)

    def _account(self, job: Job, nbytes: int) -> None:
        self.held_bytes += nbytes
        owner = job.owner
        owner.held_bytes += nbytes
        over = owner.held_bytes > self._limit_bytes
        if over != owner.blocked:
            owner.blocked = over
            if over and owner.peer is not None:
                text = (
                    f"{owner.held_bytes >> 20} MiB of results wait to be fetched: your jobs pause until some are. "
                    "Fetch them with job.results(), or let them go with del job."
                )
                self._effects.append(Send(owner.peer, Notice("warning", text)))

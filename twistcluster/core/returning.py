"""Clients that come back after their link, or their scheduler, was lost.

Nothing is replayed: both sides state what they hold. A client names its jobs and the items of which it was told; the
scheduler answers what it knows of these. Then the client offers what isn't known: jobs and pages that weren't kept, and
what became of items of which the journal doesn't tell. So that these don't run meanwhile, with another outcome perhaps,
nothing of its jobs is leased until then; for a client that stays away, only for a moment. Owns: that order. Must not know:
how jobs come back from the journal (restoring.py).
"""

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from twistcluster.core.clients import Client
from twistcluster.core.jobs import Job, LogMessage
from twistcluster.core.objects import Sender
from twistcluster.core.ranges import Range, RangeSet, total
from twistcluster.core.suspects import Suspects
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Cancelled,
    CloseJob,
    Failed,
    HeldJob,
    Hello,
    JobProgress,
    Kept,
    KnownJob,
    Offered,
    Output,
    Results,
    Resume,
    Resumed,
)

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["AWAY_S", "WITHHELD_S", "Returning", "client_id"]

AWAY_S: Final = 30.0
"""How long a client that was sending has to come back."""
AWAY_ELSEWHERE_S: Final = 180.0
"""The same of one on another host: it looks for its cluster for two minutes from when it misses it."""
WITHHELD_S: Final = 1.0
"""How long the jobs of clients that may come back aren't leased. Those that live look for the scheduler twice a second."""


class Returning:
    """Knows the clients that may come back."""

    __slots__ = ("_away", "_expected", "_scheduler", "_since", "_withheld", "suspects")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._away: dict[str, Client] = {}
        """By id."""
        self._expected: dict[Client, None] = {}
        """Those whose input hasn't been given up."""
        self._since = scheduler.now
        self._withheld: dict[Job, None] = {}
        self.suspects = Suspects(scheduler)

    # ---- who is away ----

    def left(self, client: Client) -> None:
        """A client is gone, and jobs of it stay."""
        self._away[client.id] = client
        self._expected[client] = None

    def withhold(self, job: Job) -> None:
        """A job isn't leased until its client is back: that may have been told more of it than is known here."""
        job.withheld = True
        self._withheld[job] = None
        self._since = self._scheduler.now

    def look(self) -> None:
        """Time passed."""
        scheduler = self._scheduler
        now = scheduler.now
        waited = now - self._since
        if self._withheld and waited >= WITHHELD_S:
            for job in list(self._withheld):
                if not job.owner.returning or waited >= AWAY_S:
                    self._lease(job)
        for client in [each for each in self._expected if now - (each.left_at or 0.0) > _patience_s(each)]:
            del self._expected[client]
            scheduler.client_side.stays_away(client)
            if not any(job.owner is client for job in scheduler.jobs.values()):
                del self._away[client.id]

    def joined(self, peer: int, hello: Hello) -> Client | None:
        """Whether a client that says `Hello` is one that was here before."""
        name = client_id(hello)
        scheduler = self._scheduler
        other = next((each for each in scheduler.clients.values() if each.hello.process == hello.process), None)
        if other is not None:
            assert other.peer is not None
            scheduler.close(other.peer, "the same client connected again")
        client = self._away.pop(name, None)
        if client is not None:
            self._expected.pop(client, None)
            client.peer, client.hello, client.left_at, client.paused = peer, hello, None, False
            client.blobs, client.contexts, client.defined = set(), {}, set()
        return client

    # ---- what it says ----

    def resume(self, client: Client, message: Resume) -> None:
        """A client says what it holds."""
        scheduler = self._scheduler
        if client.returning:
            raise ProtocolError("a client comes back once")
        client.returning = True
        by_id = {job.id: job for job in scheduler.jobs.values()}
        known = []
        for held in message.jobs:
            job = by_id.get(held.id)
            if job is None:
                continue
            if not job.over and job.owner is client:
                self.withhold(job)
            told = known_items(job, held)
            known.append(KnownJob(held.job, job.arrived, untold(job, told)))
            scheduler.telling.watch(client, held.job, job, seen(job, held, told))
            if client.peer is not None:
                if job.kept is not None:
                    scheduler.send(client.peer, Kept(held.job, job.kept, job.kept_whole))
                scheduler.send(client.peer, JobProgress(held.job, *job.told))
        if client.peer is not None:
            scheduler.send(client.peer, Resumed(client.highest, known))

    def succeeded(self, client: Client, message: Results, buffers: tuple[Buffer, ...]) -> None:
        """A client was told of results that aren't known here: they are the ones that count."""
        scheduler = self._scheduler
        job = self._job(client, message.job, message.count)
        scheduler.objects.check(message.objects, message.count)
        start, stop = message.first, message.first + message.count
        if job is not None and unfinished(job, start, stop) == message.count:
            job.spans.finish(start, stop)
            told = replace(message, job=job.number)
            scheduler.fates.succeed(job, told, buffers, None)

    def failed(self, client: Client, message: Failed, buffers: tuple[Buffer, ...]) -> None:
        """A client was told of a failure that isn't known here."""
        job = self._job(client, message.job, 1)
        index = message.index
        if job is not None and job.spans.finish(index, index + 1):
            self._scheduler.fates.fail_for_good(job, index, message.error, buffers, message.definitions)

    def offered(self, client: Client, message: Offered) -> None:
        """A client has said all that it knows better: its jobs go on, and those that it doesn't hold go."""
        scheduler = self._scheduler
        if not client.returning:
            raise ProtocolError("a client that didn't come back has nothing to offer")
        objects = scheduler.objects
        objects.check(message.objects, 1)
        objects.made(None, message.objects, sender=Sender(client.name, "put", scheduler.now))
        objects.hold(message.objects)
        for each in message.objects:
            client.objects[each.id] = client.objects.get(each.id, 0) + 1
        client.returning = False
        for job in [job for job in self._withheld if job.owner is client]:
            self._lease(job)
        for job in list(client.jobs.values()):
            if client not in job.watchers:
                del client.jobs[job.number]
                scheduler.release_if_unwanted(job)

    # ---- inside ----

    @staticmethod
    def _job(client: Client, number: int, count: int) -> Job | None:
        job = client.jobs.get(number)
        if not client.returning or count < 1:
            raise ProtocolError(f"job {number}: what became of its items is not for a client to say")
        return job

    def _lease(self, job: Job) -> None:
        self._withheld.pop(job, None)
        job.withheld = False
        # Not before: an item that its client knows to be done isn't to blame.
        self.suspects.settle(job)
        self._scheduler.leasing.pending(job)


def client_id(hello: Hello) -> str:
    """A client is its process, whichever link it has."""
    return f"{hello.process[:12]}.1"


def _patience_s(client: Client) -> float:
    return AWAY_ELSEWHERE_S if client.serial else AWAY_S


def unfinished(job: Job, start: int, stop: int) -> int:
    """How many of these items nobody has, and aren't done."""
    return total([*job.spans.pending.overlap(start, stop), *job.spans.waiting.overlap(start, stop)])


def known_items(job: Job, held: HeldJob) -> RangeSet:
    """The items of which a client was told what became of them."""
    for start, stop in held.known:
        if not 0 <= start < stop:
            raise ProtocolError(f"items {start} to {stop} of {job.title} are none")
    return RangeSet.of(held.known)


def untold(job: Job, known: RangeSet) -> list[Range]:
    """Those of them that are unfinished here."""
    unmet = [*job.spans.pending, *job.spans.waiting]
    return sorted(part for start, stop in unmet for part in known.overlap(start, stop))


def seen(job: Job, held: HeldJob, known: RangeSet) -> int:
    """How many entries of a job's log a client was told that holds this: they are told in order."""
    printed, failed = RangeSet.of(held.printed), RangeSet.of([*held.failed, *known])
    for position, entry in enumerate(job.log.entries):
        if not _told(entry.message, known, printed, failed, closed=held.closed):
            return position
    return len(job.log.entries)


def _told(message: LogMessage, known: RangeSet, printed: RangeSet, failed: RangeSet, *, closed: bool) -> bool:
    match message:
        case Results():
            return known.covers(message.first, message.first + message.count)
        case Failed():
            return message.index in failed
        case Cancelled():
            return all(known.covers(start, stop) for start, stop in message.ranges)
        case Output():
            return message.index in printed
        case CloseJob():
            # What ended without its client, that client doesn't know, however much it was to send.
            return closed and not message.error

"""Simulated clients.

Owns: `SimulatedClient`, which opens jobs, answers what it is asked and writes down what it is told, and `SimulatedJob`,
its record of a job. Must not know: the scheduler's records.
"""

from typing import TYPE_CHECKING

from twistcluster.testing.network import SimulatedLink
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Adopt,
    Answer,
    Ask,
    Blob,
    Cancel,
    Cancelled,
    CloseJob,
    Context,
    Declined,
    Edge,
    Failed,
    Kept,
    Message,
    OpenJob,
    Page,
    Release,
    Results,
    Retry,
    Serve,
    Unserve,
    Values,
    Wanted,
)

if TYPE_CHECKING:
    from twistcluster.testing.cluster import SimulatedCluster

__all__ = ["CONTEXT", "FUNCTION", "SimulatedClient", "SimulatedJob"]

FUNCTION = b"f" * 16
CONTEXT = Context(b"c" * 16, b"b" * 16, "/")
OLD_S = 3500.0
"""A job that nobody asks for is forgotten about then."""
JOIN_S = 0.2
"""Within which a client whose link was lost joins again."""


class SimulatedJob:
    """What a client was told of a job."""

    def __init__(self, number: int, count: int) -> None:
        self.number = number
        self.count = count
        self.results: dict[int, bytes] = {}
        self.pages: list[tuple[Results, tuple[Buffer, ...]]] = []
        """Results as they were told."""
        self.inputs: dict[int, list[tuple[SimulatedJob, int]]] = {}
        """By item: what it waits for; index -1 is all of a job."""
        self.source: SimulatedJob | None = None
        self.failed: dict[int, str] = {}
        self.ever_failed: set[int] = set()
        """Those too that succeeded when they were tried again."""
        self.cancelled: set[int] = set()
        self.input_error = ""
        """Why fewer items came."""
        self.released = False
        """The client let go of it, or it was never kept when the scheduler died."""
        self.id = ""
        """By which any client finds it again."""
        self.known: dict[int, bytes] = {}
        """Results that are as they are for good: a client that joins again is told the same."""
        self.kept: int | None = None
        """How many of its items are in the journal, as the client was told; None: perhaps not even the job is."""
        self.awaited = False
        """The client has asked for it under a new number."""

    @property
    def complete(self) -> bool:
        """Whether every item has its fate."""
        return len(self.results) + len(self.failed) + len(self.cancelled) >= self.count

    def check(self) -> None:
        """Each item met exactly one fate, and what was known stayed."""
        fates = [*self.results, *self.failed, *self.cancelled]
        assert sorted(fates) == list(range(self.count)), f"job {self.number}: items without a fate, or with two"
        assert self.known.items() <= self.results.items(), f"job {self.number}: results were lost"
        assert self.count >= (self.kept or 0), f"job {self.number}: {self.kept} items were kept, {self.count} are there"

    def told(self, index: int, value: bytes) -> None:
        """An item succeeded."""
        assert index not in self.results, f"item {index} of job {self.number} succeeded twice"
        before = self.known.get(index, value)
        assert before == value, f"item {index} of job {self.number} was {before!r}, and is told as {value!r}"
        self.results[index] = value
        # It may have failed before a retry.
        self.failed.pop(index, None)

    def told_anew(self) -> None:
        """A new link: all that is held of it will be told again."""
        self.awaited = True
        self.results, self.pages, self.failed, self.cancelled = {}, [], {}, set()


class SimulatedClient:
    """A client that writes down what it is told."""

    link: SimulatedLink

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self.cluster = cluster
        self.jobs: dict[int, SimulatedJob] = {}
        self.gone = False
        self.lost_at = 0.0
        """When it was heard last that its jobs are there, or a bit later."""
        self._bereft = False
        """The scheduler died since it joined: what it was told may not be written."""
        self.link = SimulatedLink.nowhere(cluster.clock)

    # ---- its links ----

    def join(self) -> None:
        """Connect as a new client that asks for the jobs that it knows by their ids."""
        if self.gone:
            return
        if not self.cluster.up:
            self.cluster.reach(self.join)
            return
        self._bereft = False
        hello = self.cluster.hello("client")
        self._id = f"{hello.process[:12]}.{hello.link}"
        self.cluster.connect(self, hello)
        self.say(Blob(FUNCTION), (b"function",))
        self.say(CONTEXT)
        for number, job in self.jobs.items():
            if not job.released:
                job.told_anew()
                self.say(Adopt(number, number, job.id))

    def link_again(self) -> None:
        """Connect anew while the old link still seems to be alive; that one is lost some time later."""
        before = self.link
        if before.up and self.cluster.up and not self.gone:
            self._know()
            self.link = SimulatedLink.nowhere(self.cluster.clock)
            self.join()
            self.cluster.clock.at(self.cluster.clock.now + 10.0 * self.cluster.random.random(), before.cut)

    def lost(self) -> None:
        """The scheduler is gone: join again, if there is one that may know the jobs."""
        self.link = SimulatedLink.nowhere(self.cluster.clock)
        if self.cluster.journal is not None and not self.gone:
            self._know()
            self.cluster.clock.at(self.cluster.clock.now + JOIN_S * self.cluster.random.random(), self.join)

    def _know(self) -> None:
        """The scheduler that told this lives, so it won't tell anything else."""
        for job in self.jobs.values() if not self._bereft else ():
            job.known.update(job.results)

    def scheduler_died(self, fates: dict[str, dict[int, tuple[str, bytes]]]) -> None:
        """By job and item: what the journal has of it."""
        if not (self._bereft or any(job.awaited for job in self.jobs.values())):
            self.lost_at = self.cluster.clock.now
        self._bereft = True
        for job in self.jobs.values():
            job.known = {index: value for index, (fate, value) in fates.get(job.id, {}).items() if fate == "done"}

    @property
    def settled(self) -> bool:
        """It knows what became of all that it asked for."""
        over = all(job.released or (job.complete and not job.awaited) for job in self.jobs.values())
        return over and (self.link.up or self.cluster.journal is None)

    # ---- what it says ----

    def say(self, message: Message, buffers: tuple[Buffer, ...] = ()) -> None:
        """Send a message to the scheduler."""
        self.link.send(False, message, buffers)

    def open_job(
        self,
        count: int,
        *,
        page_items: int = 4096,
        lazy: bool = False,
        priority: int = 0,
        resources: dict[str, float] | None = None,
        inputs: dict[int, list[tuple[SimulatedJob | None, int]]] | None = None,
        retries: int = 0,
        time_limit: float = 0.0,
        together: int = 0,
        server: str = "",
    ) -> SimulatedJob:
        """Open a job of `count` items, its pages and all.

        Args:
            count: of items.
            page_items: items of a page.
            lazy: the count is said at the end.
            priority: higher goes first.
            resources: what an item needs.
            inputs: by item, what it waits for: items of jobs of this client (None: of this one), or with index -1 all
                of a job.
            retries: how often an item that failed runs again.
            time_limit: seconds that an item may run; 0: any.
            together: how many items go together.
            server: the name of the one that they are for, which says the rest.
        """
        number = len(self.jobs) + 1
        job = self.jobs[number] = SimulatedJob(number, count)
        job.id = f"{self._id}-{number}"
        if server:
            self.say(OpenJob(number, [], b"", count=count, server=server))
            self.say(Page(number, 0, count, 0), (b"items",))
            return job
        job.inputs = {item: [(other or job, at) for other, at in waits] for item, waits in (inputs or {}).items()}
        self.say(
            OpenJob(
                number,
                [FUNCTION],
                CONTEXT.digest,
                count=None if lazy else count,
                priority=priority,
                resources=resources or {},
                retries=retries,
                time_limit=time_limit,
                together=together,
            )
        )
        for first in range(0, count, page_items):
            page = min(page_items, count - first)
            edges = [
                Edge(item - first, place, other.number, index)
                for item, waits in job.inputs.items()
                if first <= item < first + page
                for place, (other, index) in enumerate(waits)
            ]
            self.say(Page(number, first, page, 0, edges=edges), (b"items",))
        if lazy:
            self.say(CloseJob(number, count))
        return job

    def serve(self, name: str, together: int) -> None:
        """Set a server up, or another in its place."""
        self.say(Ask(0, Serve(name, OpenJob(0, [FUNCTION], CONTEXT.digest, together=together))))

    def unserve(self, name: str) -> None:
        """End it."""
        self.say(Ask(0, Unserve(name)))

    def feed_job(self, source: SimulatedJob, *, count: int | None = None, priority: int = 0) -> SimulatedJob:
        """Open a job whose items' arguments are another's results."""
        number = len(self.jobs) + 1
        job = self.jobs[number] = SimulatedJob(number, source.count)
        job.id, job.source = f"{self._id}-{number}", source
        self.say(OpenJob(number, [FUNCTION], CONTEXT.digest, count=count, priority=priority, source=source.number))
        return job

    def cancel(self, job: SimulatedJob, start: int = 0, stop: int | None = None) -> None:
        """Ask that items don't start, and stop."""
        self.say(Cancel(job.number, start, stop))

    def retry(self, job: SimulatedJob) -> None:
        """The failed items again."""
        self.say(Retry(job.number))

    def release(self, job: SimulatedJob) -> None:
        """Let go of a job."""
        job.released = True
        self.say(Release(job.number))

    def leave(self) -> None:
        """Its process is killed."""
        self.gone = True
        self.link.cut()

    # ---- what it hears ----

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """The scheduler said something."""
        match message:
            case Results(job=number, first=first, count=count) as told:
                self.jobs[number].pages.append((told, buffers))
                for index in range(first, first + count):
                    self.jobs[number].told(index, bytes(buffers[0]))
            case Failed(job=number, index=index, error=error):
                assert index not in self.jobs[number].results, f"item {index} failed after it succeeded"
                self.jobs[number].failed[index] = error.why
                self.jobs[number].ever_failed.add(index)
            case Cancelled(job=number, ranges=ranges):
                for start, stop in ranges:
                    self.jobs[number].cancelled.update(range(start, stop))
                    for index in range(start, stop):
                        self.jobs[number].failed.pop(index, None)
            case Wanted(job=number, ranges=ranges):
                for told, held in self.jobs[number].pages:
                    if any(start < told.first + told.count and told.first < stop for start, stop in ranges):
                        self.say(Values(number, told.first, told.count, told.kind), held)
            case CloseJob(job=number, count=count, error=error):
                # A cancelled or broken input: fewer items than there should have been.
                self.jobs[number].count, self.jobs[number].input_error = count, error
            case Kept(job=number, items=items):
                self.jobs[number].kept = items
            case Answer(request=number) if number in self.jobs:
                self.jobs[number].awaited = False
            case Declined(request=number) if number in self.jobs:
                self._unknown(self.jobs[number], message)
            case _:
                pass

    def _unknown(self, job: SimulatedJob, message: Declined) -> None:
        """A job that it asked for isn't there: it may be so of one that wasn't kept, or is old."""
        old = self.cluster.clock.now - self.lost_at > OLD_S
        assert job.kept is None or old, f"job {job.number} was kept, and is gone: {message.message}"
        job.released = True

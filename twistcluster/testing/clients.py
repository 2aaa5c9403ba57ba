"""Simulated clients.

Owns: `SimulatedClient`, which opens jobs, answers what it is asked and writes down what it is told, and `SimulatedJob`,
its record of a job. Must not know: the scheduler's records.
"""

from typing import TYPE_CHECKING

from twistcluster.testing.network import SimulatedLink
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Cancel,
    Cancelled,
    CloseJob,
    Context,
    Edge,
    Failed,
    Message,
    OpenJob,
    Page,
    Release,
    Results,
    Retry,
    Values,
    Wanted,
)

if TYPE_CHECKING:
    from twistcluster.testing.cluster import SimulatedCluster

__all__ = ["CONTEXT", "FUNCTION", "SimulatedClient", "SimulatedJob"]

FUNCTION = b"f" * 16
CONTEXT = Context(b"c" * 16, b"b" * 16, "/")


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
        self.released = False

    @property
    def complete(self) -> bool:
        """Whether every item has its fate."""
        return len(self.results) + len(self.failed) + len(self.cancelled) >= self.count

    def check(self) -> None:
        """Each item met exactly one fate."""
        fates = [*self.results, *self.failed, *self.cancelled]
        assert sorted(fates) == list(range(self.count)), f"job {self.number}: items without a fate, or with two"


class SimulatedClient:
    """A client that writes down what it is told."""

    link: SimulatedLink

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self.cluster = cluster
        self.jobs: dict[int, SimulatedJob] = {}

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
        """
        number = len(self.jobs) + 1
        job = self.jobs[number] = SimulatedJob(number, count)
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

    def feed_job(self, source: SimulatedJob, *, count: int | None = None, priority: int = 0) -> SimulatedJob:
        """Open a job whose items' arguments are another's results."""
        number = len(self.jobs) + 1
        job = self.jobs[number] = SimulatedJob(number, source.count)
        job.source = source
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
        """Its link is cut."""
        self.link.cut()

    def lost(self) -> None:
        """The scheduler is gone."""

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """The scheduler said something."""
        match message:
            case Results(job=number, first=first, count=count) as told:
                self.jobs[number].pages.append((told, buffers))
                results = self.jobs[number].results
                for index in range(first, first + count):
                    assert index not in results, f"item {index} succeeded twice"
                    results[index] = bytes(buffers[0])
                    # It may have failed before a retry.
                    self.jobs[number].failed.pop(index, None)
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
            case CloseJob(job=number, count=count):
                # A cancelled or broken input: fewer items than there should have been.
                self.jobs[number].count = count
            case _:
                pass

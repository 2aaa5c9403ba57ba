"""What becomes of items: each success, failure and cancellation is noted, told, and travels to what waits for it.

Owns: that order of things. Must not know: why an item failed, who asked to cancel it.
"""

from typing import TYPE_CHECKING

from twistcluster.core.edges import input_error
from twistcluster.core.jobs import Job
from twistcluster.core.links import Cause
from twistcluster.core.ranges import Range
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Cancelled, ErrorInfo, Failed, Results, Values

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Fates"]


class Fates:
    """Successes, failures and cancellations."""

    __slots__ = ("_scheduler",)

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler

    def succeed(self, job: Job, told: Results, buffers: tuple[Buffer, ...], peer: int | None) -> None:
        """Items that nobody holds any more succeeded; `peer` is who made the results that lie in a store."""
        scheduler = self._scheduler
        start, stop = told.first, told.first + told.count
        if told.objects:
            scheduler.objects.made(peer, told.objects, job, start)
        scheduler.supply.unneeded(job, job.finished([(start, stop)]))
        scheduler.telling.tell(job, told, buffers)
        if told.objects and job.safe is not None:
            scheduler.safekeeping.came(job, told.objects)
        if job.links is not None:
            values = Values(job.key, start, told.count, told.kind, told.definitions, told.objects)
            scheduler.edges.succeeded(job, values, buffers)
        scheduler.settle(job)

    def fail_for_good(
        self,
        job: Job,
        index: int,
        error: ErrorInfo,
        buffers: tuple[Buffer, ...] = (),
        definitions: list[bytes] | None = None,
    ) -> None:
        """An item that nobody holds any more failed, and with it what waits for it."""
        self.fail(job, index, Cause(error, buffers, definitions or []))
        if job.links is not None:
            text = f"item {index} failed with {error.type}: {error.message}"
            cause = input_error(job, text, error.traceback)._replace(buffers=buffers, definitions=definitions or [])
            self._scheduler.edges.failed(job, index, cause)

    def fail(self, job: Job, index: int, cause: Cause) -> None:
        """An item that nobody holds any more failed for good. What waits for it is the caller's to see to."""
        scheduler = self._scheduler
        if job.remakes is not None:
            scheduler.remaking.failed(job, cause.error)
            return
        job.failed.add(index, index + 1)
        scheduler.supply.unneeded(job, job.finished([(index, index + 1)], failed=True))
        scheduler.telling.tell(job, Failed(job.number, index, cause.error, [*cause.definitions]), cause.buffers)
        scheduler.settle(job)

    def cancel(self, job: Job, ranges: list[Range]) -> None:
        """These items won't start, nor what waits for them."""
        if ranges:
            self._cancelled(job, ranges)
            self.cancel_dependents(job, ranges)

    def cancel_dependents(self, job: Job, ranges: list[Range]) -> None:
        """What waits for these items of a job won't start."""
        if job.links is not None:
            for other, gone in self._scheduler.edges.cancelled(job, ranges).items():
                self._cancelled(other, list(gone))
                self._scheduler.settle(other)

    def cancel_unseen(self, job: Job) -> None:
        """The items of a job that haven't come are cancelled, and won't be looked at. Its count is known."""
        assert job.count is not None
        missing = (job.arrived, job.count)
        job.spans.finished += job.count - job.arrived
        job.cancelled.add(*missing)
        self._scheduler.telling.tell(job, Cancelled(job.number, [missing]))

    def _cancelled(self, job: Job, ranges: list[Range]) -> None:
        for start, stop in ranges:
            job.cancelled.add(start, stop)
        scheduler = self._scheduler
        scheduler.supply.unneeded(job, job.finished(ranges))
        scheduler.telling.tell(job, Cancelled(job.number, ranges))

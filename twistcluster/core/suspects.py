"""What ran when the cluster's own process died, and what follows for it.

A worker in the scheduler's process takes the scheduler along, so nobody is left to count what was lost with it
(workerside.py). But it left word of the items that its slots had (nodes/in_flight.py): to the next scheduler these are
facts, as the journal's are. What of them isn't done was lost once more, and caution follows as after the loss of any
worker (losses.py). A job that isn't in the journal yet is opened again by its client: its counts wait for it here. Owns:
that, and which counts the next process must know should this one die as well, for the journal has none of those that were
lost once. Must not know: files.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from twistcluster.core.losses import LOSSES_AT_MOST, Losses
from twistcluster.core.ranges import Range, RangeSet
from twistcluster.wire.messages import ErrorInfo

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job
    from twistcluster.core.scheduler import Scheduler

__all__ = ["KNOWN_AT_MOST", "Suspect", "Suspects"]

KNOWN_AT_MOST: Final = 256
"""Ranges of items whose counts are handed on; those go first that didn't run this time."""


class Suspect(NamedTuple):
    """Items of a job, named by its client and its number there: its key may become another job's."""

    client: str
    number: int
    rounds: int
    """Of the job: a count from before its last `Retry` is of no account."""
    start: int
    stop: int
    times: int
    """0: they ran when the process died. Else that happened so often, as was known before that."""


class Suspects:
    """Of one scheduler, from its start until their jobs are leased again."""

    __slots__ = ("_jobs", "_scheduler", "_unknown", "known")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._jobs: dict[Job, RangeSet] = {}
        """Of each the items that were lost once too often."""
        self._unknown: dict[tuple[str, int], tuple[Losses, RangeSet]] = {}
        """The same of jobs that aren't here: their counts, and those items."""
        self.known: list[Suspect] = []
        """What the next process must be told, should this one die."""

    def died(self, suspects: Iterable[Suspect]) -> None:
        """The last process died, and this is what is known of it. The journal's jobs are here."""
        found: dict[tuple[str, int], list[Suspect]] = {}
        for suspect in suspects:
            found.setdefault((suspect.client, suspect.number), []).append(suspect)
        if not found:
            return
        self._scheduler.log("warning", "the cluster's process died while it ran items", jobs=len(found))
        jobs = {(job.owner.id, job.number): job for job in self._scheduler.jobs.values()}
        # Those that ran come last: if there are too many, what is handed on is of them.
        for name in sorted(found, key=lambda name: any(not each.times for each in found[name])):
            job, said = jobs.get(name), found[name]
            rounds = max(each.rounds for each in said) if job is None else job.rounds
            losses = Losses() if job is None else job.losses
            over = _count(losses, said, rounds)
            if job is None:
                self._unknown[name] = losses, over
            else:
                self._jobs[job] = over
                for part in _done(job):
                    losses.forget(*part)
                    over.remove(*part)
            counts = [*losses.counts(), *((start, stop, LOSSES_AT_MOST) for start, stop in over)]
            self.known += [Suspect(*name, rounds, *each) for each in counts]
        del self.known[:-KNOWN_AT_MOST]

    def opened(self, job: "Job") -> None:
        """A client that came back opened a job again."""
        counted = self._unknown.pop((job.owner.id, job.number), None)
        if counted is not None:
            job.losses, self._jobs[job] = counted

    def settle(self, job: "Job") -> None:
        """A job is about to be leased: all is known of it that its client knows."""
        over = self._jobs.pop(job, None)
        if over is None or job.over:
            return
        scheduler = self._scheduler
        for start, stop in _undone(job):
            for index, times in job.losses.suspected(start, stop):
                scheduler.keeping.tally(job, index, "loss", times)
        here = [part for start, stop in list(over) for part in _undone(job, start, stop)]
        for start, stop in here:
            over.remove(start, stop)
        for start, stop in over:  # its arguments aren't here yet
            job.losses.known(start, stop, LOSSES_AT_MOST - 1)
        for index in [index for start, stop in here for index in range(start, stop)]:
            if job.spans.finish(index, index + 1):
                scheduler.keeping.tally(job, index, "loss", 0)
                scheduler.fates.fail_for_good(job, index, ErrorInfo("lost", "WorkerLost", TEXT))


TEXT: Final = (
    f"it was running {LOSSES_AT_MOST} times when the cluster's own process, or a worker, was killed. Run it alone, in a "
    "cluster of its own, to see why (it may end its parent process, or take more memory than there is), or leave it out."
)


def _count(losses: Losses, said: Iterable[Suspect], rounds: int) -> RangeSet:
    """Count what is said of a job's items; returns those that were lost once too often."""
    over, ran = RangeSet(), RangeSet()
    for each in said:
        if not each.times:
            ran.add(each.start, each.stop)
        elif each.rounds == rounds and each.times < LOSSES_AT_MOST:
            losses.known(each.start, each.stop, each.times)
        elif each.rounds == rounds:
            over.add(each.start, each.stop)
    for part in over:
        ran.remove(*part)
        losses.forget(*part)
    for start, stop in ran:
        for part in losses.lost(start, stop):
            over.add(*part)
    return over


def _undone(job: "Job", start: int = 0, stop: int | None = None) -> list[Range]:
    """Items of a job that nobody has, and that aren't done."""
    stop = job.arrived if stop is None else stop
    return sorted([*job.spans.pending.overlap(start, stop), *job.spans.waiting.overlap(start, stop)])


def _done(job: "Job") -> RangeSet:
    """Items of a job that is here which met their fate."""
    done = RangeSet(0, job.arrived)
    for part in _undone(job):
        done.remove(*part)
    return done

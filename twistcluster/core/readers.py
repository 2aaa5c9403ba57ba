"""Jobs that stay because others read them: what a scheduler that comes back needs to give these their arguments again.

Where nothing is kept, what others need of a job is held for them without it, so nobody is noted. Owns: who reads whom.
Must not know: items.
"""

from collections.abc import Iterable

from twistcluster.core.edges import links_of
from twistcluster.core.jobs import Job

__all__ = ["reads", "reads_no_more"]


def reads(job: Job, others: Iterable[Job]) -> None:
    """Items of a job wait for results of these, or will do so when they are tried again."""
    for other in others:
        if other is not job:
            links_of(job).reads[other] = None
            links_of(other).readers[job] = None


def reads_no_more(job: Job) -> list[Job]:
    """A job is through with what it reads; returns those of these that nobody reads now."""
    free: list[Job] = []
    if job.links is not None:
        for other in job.links.reads:
            assert other.links is not None
            del other.links.readers[job]
            if not other.links.readers:
                free.append(other)
        job.links.reads.clear()
    return free

"""How long a job that is over is kept, with all that was told of it.

Owns: these times and sizes. Must not know: where it is kept.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Retention", "lasts"]

LOOK_S: Final = 60.0
UNNAMED_S: Final = 3600.0
"""An unnamed job's results wait so long for a client that left."""
NAMED_S: Final = 7 * 24 * 3600.0
NAMED_BYTES: Final = 10 << 30
"""Of all named jobs that are over: beyond it, those go first that ended first."""


class Retention:
    """Forgets jobs whose time is up. Those that a client listens to stay."""

    __slots__ = ("_next", "_scheduler")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._next = scheduler.now + LOOK_S

    def look(self) -> None:
        """Time passed. Looks at all jobs, once a minute."""
        now = self._scheduler.now
        if now < self._next:
            return
        self._next = now + LOOK_S
        over = [job for job in self._scheduler.jobs.values() if job.over and not job.watchers and not job.needed]
        for job in over:
            if not lasts(job) and job.owner.left_at is not None and now - job.owner.left_at > UNNAMED_S:
                self._scheduler.forget(job)
        named = sorted((job for job in over if lasts(job)), key=ended)
        total = sum(job.logged for job in named)
        for job in named:
            if total <= NAMED_BYTES and now - ended(job) <= NAMED_S:
                break
            total -= job.logged
            self._scheduler.forget(job)


def lasts(job: "Job") -> bool:
    """Whether it stays when its clients have left: somebody gave it a name, or asked to keep it."""
    return job.info.named or job.safe is not None


def ended(job: "Job") -> float:
    """When."""
    return job.created if job.ended is None else job.ended

"""Bites: how many items of which job a slot gets next.

Owns: a worker's record of a job and its leases, the size of a bite, how many of them, and the choice between jobs. Must not know: slots'
processes, messages to the scheduler.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from twistcluster.core.ledger import Pages
from twistcluster.core.ranges import Range, RangeSet, total
from twistcluster.core.spans import Pace, Spans
from twistcluster.wire.messages import Context, OpenJob

if TYPE_CHECKING:
    from twistcluster.core.slots import Slot

__all__ = [
    "BITE_S",
    "IN_FLIGHT",
    "TOGETHER_AT_MOST",
    "HeldLease",
    "Resources",
    "WorkerJob",
    "bite_size",
    "choose",
    "in_flight",
]

BITE_S: Final = 0.008
"""Seconds of work in a bite."""
GROUP_BITE_S: Final = 0.02
"""The same of items that go together: a model that gets more of them at once is quicker."""
SMALL_BITE_S: Final = 0.0005
"""Near the end work is spread over all slots, but in no smaller bites than this: a bite costs some 50 us."""
SMALL_GROUP_S: Final = 0.005
"""The same of items that go together: the end of what a worker has is mostly not that of the job."""
IN_FLIGHT: Final = 2
"""Bites in a slot: one that it runs, and one that it finds when it is through."""
ALONE_S: Final = 0.05
"""Items that take longer than this are not queued behind another: fetching the next one costs 0.3 ms."""
TOGETHER_AT_MOST: Final = 16
"""Items in a slot up to which it gets more bites, where they may go together: what comes while it runs is its next group."""
TOGETHER_AT_LEAST: Final = 4
"""The same where an item takes so long that a group of fewer would fill `TOGETHER_S`: that it is shorter in company shows
only in company."""
TOGETHER_S: Final = 0.1
"""Such a group is at most so long, if its items take as long as before. It can't be taken back once it runs."""


@dataclass(slots=True, eq=False)
class HeldLease:
    """A lease of the scheduler's: what of it is neither reported nor given back."""

    number: int
    job: "WorkerJob"
    left: RangeSet = field(default_factory=RangeSet)
    wanted: bool = False
    """All that hasn't started was asked back: what returns from slots goes up."""
    cancelled: RangeSet = field(default_factory=RangeSet)
    """Items that shall be stopped if they run (stopping.py)."""


@dataclass(slots=True, eq=False)
class WorkerJob:
    """A job, as far as this worker has to do with it."""

    message: OpenJob
    context: Context
    pages: Pages = field(default_factory=Pages)
    spans: "Spans[Slot]" = field(default_factory=Spans)
    leases: dict[int, HeldLease] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    turn: int = 0
    """When it was last given a slot: the one that waited longest is next."""
    ended: bool = False
    alone: RangeSet = field(default_factory=RangeSet)
    """Items that don't go together with others any more: a slot died while they did."""
    waiting_since: float | None = None
    """Since when it has items and fewer slots than its share."""

    @property
    def number(self) -> int:
        """The scheduler's name for it."""
        return self.message.job

    @property
    def kind(self) -> tuple[bytes, bytes] | None:
        """Its function and context: jobs in which these agree may have items that go together. None: they don't."""
        message = self.message
        return (message.functions[0], message.context) if message.together and len(message.functions) == 1 else None

    @property
    def priority(self) -> int:
        """Higher goes first."""
        return self.message.priority

    def lease(self, number: int, start: int, stop: int) -> HeldLease:
        """Items were leased to this worker."""
        lease = self.leases.setdefault(number, HeldLease(number, self))
        for news in lease.left.add(start, stop):
            self.spans.add(*news)
        return lease

    def holder(self, index: int) -> HeldLease | None:
        """The lease in which an item is."""
        for lease in self.leases.values():
            if index in lease.left:
                return lease
        return None

    def leave(self, lease: HeldLease, start: int, stop: int) -> None:
        """Items of a lease were reported or given back."""
        lease.left.remove(start, stop)
        if not lease.left:
            self.leases.pop(lease.number, None)

    def tail(self, lease: HeldLease, keep: int) -> list[Range]:
        """The pending items of a lease but for the first `keep`, the last ones first."""
        pending = [part for a, b in lease.left for part in self.spans.pending.overlap(a, b)]
        spare = total(pending) - keep
        found = []
        for a, b in reversed(pending):
            if spare <= 0:
                break
            count = min(spare, b - a)
            found.append((b - count, b))
            spare -= count
        return found


class Resources:
    """What a worker offers, and which slots occupy it. A slot runs one item at a time, so it occupies a job's needs once."""

    __slots__ = ("_held", "_offered")

    def __init__(self, offered: dict[str, float]) -> None:
        self._offered = offered
        self._held: dict[tuple[int, int], dict[str, float]] = {}

    def free(self, slot: int, job: WorkerJob) -> bool:
        """Whether a slot may take items of a job."""
        needs = job.message.resources
        if not needs or (slot, job.number) in self._held:
            return True
        used = self._held.values()
        return all(
            sum(held.get(name, 0.0) for held in used) + amount <= self._offered.get(name, 0.0) + 1e-9
            for name, amount in needs.items()
        )

    def occupy(self, slot: int, job: WorkerJob) -> None:
        """A bite of a job is in a slot."""
        if job.message.resources:
            self._held[slot, job.number] = job.message.resources

    def vacate(self, slot: int, job: int) -> None:
        """No bite of the job is left in the slot."""
        self._held.pop((slot, job), None)


def bite_size(job: WorkerJob, slots: int) -> int:
    """How many items a slot gets: about `BITE_S` of work, and near the end no more than its part of what is left.

    Of items that go together, it gets more, but no group and a bit.
    """
    together = 0 if job.kind is None else job.message.together
    most_s, least_s = (GROUP_BITE_S, SMALL_GROUP_S) if together else (BITE_S, SMALL_BITE_S)
    count = job.pace.size(most_s)
    fair = -(-len(job.spans.pending) // (2 * slots))
    count = max(1, min(count, max(fair, job.pace.size(least_s))))
    return count - count % together if 0 < together < count else count


def in_flight(job: WorkerJob) -> int:
    """Up to how many items a slot gets more bites than usual."""
    unit = job.pace.unit(otherwise=ALONE_S)
    if job.kind is None or unit > ALONE_S:
        return 0
    return max(TOGETHER_AT_LEAST, min(int(TOGETHER_S / unit), TOGETHER_AT_MOST, job.message.together))


def choose(jobs: Iterable[WorkerJob], suits: Callable[[WorkerJob], bool]) -> WorkerJob | None:
    """The job that is next: of the highest priority, and of those the one that waited longest for a slot."""
    best: WorkerJob | None = None
    for job in jobs:
        better = best is None or (job.priority, -job.turn) > (best.priority, -best.turn)
        if better and suits(job):
            best = job
    return best

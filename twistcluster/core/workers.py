"""What the scheduler knows of one worker.

Owns: a worker's record, and how much it can take. Must not know: how a worker runs what it is leased.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twistcluster.core.spans import LeasedSpan
from twistcluster.wire.messages import Hello, WorkerStatus

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job

__all__ = ["Needs", "Worker"]

Needs = tuple[tuple[str, float], ...]
"""What an item needs of a worker's resources."""


@dataclass(slots=True, eq=False)
class Load:
    """What is leased to a worker of one priority and one set of needs."""

    seconds: float = 0.0
    items: int = 0


@dataclass(slots=True, eq=False)
class Worker:
    """A worker with its slots, taken together."""

    peer: int
    hello: Hello
    local: bool
    joined: float
    slots: int
    ready: int = 0
    busy: int = 0
    crashes: int = 0
    loads: dict[tuple[int, Needs], Load] = field(default_factory=dict)
    leases: "dict[int, tuple[Job, LeasedSpan[Worker]]]" = field(default_factory=dict)
    blobs: set[bytes] = field(default_factory=set)
    contexts: set[bytes] = field(default_factory=set)
    pages: dict[int, set[int]] = field(default_factory=dict)
    """By job: the pages (by first item) that it has."""
    unneeded: dict[int, list[int]] = field(default_factory=dict)
    """By job: the pages to drop, told with the next lease."""
    fits_cache: dict[Needs, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        return self.hello.name or f"{self.hello.host}:{self.hello.pid}"

    def width(self, needs: Needs) -> int:
        """How many items with such needs can run here at once."""
        if not needs:
            return self.slots
        known = self.fits_cache.get(needs)
        if known is None:
            have = self.hello.resources
            known = int(min(have.get(name, 0.0) // amount for name, amount in needs if amount > 0))
            self.fits_cache[needs] = known
        return min(known, self.slots)

    def room(self, priority: int, needs: Needs, target_s: float) -> tuple[float, int]:
        """Seconds of work of this priority that would fill it up to its target, and how many idle places there are.

        Leases of a lower priority don't count: they wait.
        """
        width = self.width(needs)
        all_seconds = mine_seconds = 0.0
        all_items = mine_items = 0
        for (other, other_needs), load in self.loads.items():
            if other >= priority:
                all_seconds += load.seconds
                all_items += load.items
                if other_needs == needs:
                    mine_seconds += load.seconds
                    mine_items += load.items
        seconds = min(target_s * self.slots - all_seconds, target_s * width - mine_seconds)
        return seconds, min(self.slots - all_items, width - mine_items)

    def charge(self, job: "Job", items: int, unit_s: float) -> None:
        """`items` were leased (or, if negative, have left)."""
        key = job.info.priority, job.resources
        load = self.loads.get(key)
        if load is None:
            load = self.loads[key] = Load()
        load.items += items
        load.seconds += items * unit_s
        if load.items <= 0:
            del self.loads[key]

    def status(self, now: float) -> WorkerStatus:
        """For people."""
        return WorkerStatus(
            name=self.name,
            host=self.hello.host,
            pid=self.hello.pid,
            slots=self.slots,
            ready=self.ready,
            busy=self.busy,
            resources=self.hello.resources,
            local=self.local,
            crashes=self.crashes,
            since=now - self.joined,
            packages=self.hello.packages,
            python=self.hello.python,
        )

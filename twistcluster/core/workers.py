"""What the scheduler knows of one worker.

Owns: a worker's record, and how much it can take. Must not know: how a worker runs what it is leased.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twistcluster.core.ranges import RangeSet
from twistcluster.core.spans import LeasedSpan
from twistcluster.wire.messages import Hello, WorkerStatus

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job
    from twistcluster.core.links import ValuePage

__all__ = ["SLOTS_AT_MOST", "Needs", "Stale", "Worker"]

SLOTS_AT_MOST = 1 << 20
"""No worker has more, whatever it says."""

Needs = tuple[tuple[str, float], ...]
"""What an item needs of a worker's resources."""


@dataclass(slots=True, eq=False)
class Load:
    """What is leased to a worker of one priority and one set of needs."""

    seconds: float = 0.0
    items: int = 0


@dataclass(slots=True, eq=False)
class Stale:
    """Value pages of one job that a worker may drop and was not told of: the items, and the first of each page."""

    items: RangeSet
    firsts: list[int]


@dataclass(slots=True, eq=False)
class Worker:
    """A worker with its slots, taken together."""

    peer: int
    hello: Hello
    local: bool
    joined: float
    slots: int
    serial: str = ""
    """Of its certificate, in hex; empty: it is on this host and needs none."""
    ready: int = 0
    busy: int = 0
    crashes: int = 0
    short: str = ""
    """Of memory, in its own words."""
    leaves: bool = False
    """It said that it ends."""
    leaving: bool = False
    """It will, once what it runs is done."""
    stopped: list[int] = field(default_factory=list)
    """Pids of slots that it can't use."""
    held: int = 0
    """Slots beside those that it can use, which have items all the same: these take nobody's place."""
    heard: bool = True
    """It has said something since the vigil looked last."""
    came: bool = False
    """Bytes came of it since then, of a message that may not be here yet."""
    silent_s: float = 0.0
    """For how long it has said nothing, as far as the vigil counts it."""
    suspect: str = ""
    """Why it is trusted with nothing new, in words."""
    overdue: "LeasedSpan[Worker] | None" = None
    """The lease for which it is a suspect: it was asked back, and no answer came."""
    loads: dict[tuple[int, Needs], Load] = field(default_factory=dict)
    leases: "dict[int, tuple[Job, LeasedSpan[Worker]]]" = field(default_factory=dict)
    alone: int = 0
    """The lease of the last item that it got of those that were on two workers or more when these were lost."""
    running: "dict[Job, tuple[int, float]]" = field(default_factory=dict)
    """By job: how many of its items run for long here, and their seconds so far, as last said."""
    blobs: set[bytes] = field(default_factory=set)
    contexts: set[bytes] = field(default_factory=set)
    jobs: "dict[Job, list[int]]" = field(default_factory=dict)
    """The jobs that it was told of, and of each the pages (by first item) that it may drop and was not told of."""
    unneeded_bytes: int = 0
    """Of these pages."""
    values: "dict[ValuePage, None]" = field(default_factory=dict)
    """The results that it was sent for items that waited for them."""
    stale: dict[int, Stale] = field(default_factory=dict)
    """By key of the job whose results they are."""
    stale_bytes: int = 0
    fits_cache: dict[Needs, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        return self.hello.name or f"{self.hello.host}:{self.hello.pid}"

    def width(self, needs: Needs) -> int:
        """How many items with such needs can run here at once."""
        return min(self._fits(needs), self.slots)

    def _fits(self, needs: Needs) -> int:
        """How many its resources are enough for."""
        if not needs:
            return SLOTS_AT_MOST
        known = self.fits_cache.get(needs)
        if known is None:
            have = self.hello.resources
            places = min(have.get(name, 0.0) / amount for name, amount in needs)
            known = self.fits_cache[needs] = int(min(places + 1e-9, SLOTS_AT_MOST))
        return known

    def room(self, priority: int, target_s: float) -> tuple[float, int]:
        """Seconds of work of this priority that would fill it up to its target, and how many idle places there are.

        Leases of a lower priority don't count: they wait.
        """
        places = self.slots + self.held
        seconds = target_s * places
        for (other, _), load in self.loads.items():
            if other >= priority:
                seconds -= load.seconds
                places -= load.items
        return seconds, places

    def room_for(self, needs: Needs, priority: int, target_s: float) -> tuple[float, int]:
        """The same of work with such needs: as many at once as its resources allow."""
        places = min(self._fits(needs), self.slots + self.held)
        seconds = target_s * places
        for (other, other_needs), load in self.loads.items():
            if other >= priority and other_needs == needs:
                seconds -= load.seconds
                places -= load.items
        room_s, free = self.room(priority, target_s)
        return min(seconds, room_s), min(places, free)

    def charge(self, job: "Job", items: int, unit_s: float) -> None:
        """`items` were leased (or, if negative, have left)."""
        load = self.loads.get(job.load)
        if load is None:
            load = self.loads[job.load] = Load()
        load.items += items
        load.seconds += items * unit_s
        if load.items <= 0:
            del self.loads[job.load]

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
            short=self.short,
            suspect=self.suspect,
            stopped=self.stopped,
            leaving=self.leaving,
            serial=self.serial,
        )

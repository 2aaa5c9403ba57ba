"""What a worker knows of one slot.

Owns: a slot's record, its bites in flight, and what the shared page said of it. Must not know: which items it gets.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from twistcluster.core.contexts import Binding
from twistcluster.core.ledger import Ledger
from twistcluster.core.ranges import Range
from twistcluster.core.spans import LeasedSpan
from twistcluster.wire.messages import Context, Step

if TYPE_CHECKING:
    from twistcluster.core.bites import HeldLease, WorkerJob

__all__ = ["LONG_S", "NO_ITEM", "NO_LIMIT", "BiteRecord", "LastWords", "Slot"]

NO_ITEM: Final = (1 << 64) - 1
"""The ordinal in a slot's page while no item runs."""
NO_LIMIT: Final = (1 << 64) - 1
LONG_S: Final = 0.018
"""An item that is met by two samples, 20 ms apart, runs long."""


class LastWords(NamedTuple):
    """What is known of a slot that died, beside how."""

    peak_bytes: int = 0
    """The most memory that it ever had; 0: not known."""
    printed: str = ""
    """The last lines that its last item printed."""
    over_limit: bool = False
    """It was killed because it used more than its memory limit."""
    group: int = NO_ITEM
    """The ordinal of the first of the items that went together, the last of which is said to have run."""


@dataclass(slots=True, eq=False)
class BiteRecord:
    """A bite that is in a slot."""

    number: int
    job: "WorkerJob"
    lease: "HeldLease"
    span: "LeasedSpan[Slot]"
    ordinal: int
    """Of its first item."""
    stops: dict[int, float] = field(default_factory=dict)
    """Items that are being stopped, and since when (stopping.py)."""

    def index(self, ordinal: int) -> int | None:
        """The item that has this ordinal, if it is in this bite."""
        index = ordinal - self.ordinal + self.span.start
        return index if self.span.start <= index < self.span.stop else None

    def within(self, first: int, last: int) -> list[Range]:
        """Its items that haven't ended, of those with these ordinals."""
        start, stop = self.after(first), self.after(last + 1)
        return self.span.left.overlap(start, stop) if start < stop else []

    def after(self, ordinal: int) -> int:
        """The first of its items whose ordinal is at least that."""
        return min(max(ordinal - self.ordinal, 0) + self.span.start, self.span.stop)


@dataclass(slots=True, eq=False)
class Slot:
    """A process that runs user code."""

    number: int
    """Of the process: never used again."""
    place: int
    """Its number for people: that of the process which it replaced."""
    started: float
    ready: bool = False
    pid: int = 0
    draining: Literal["", "retire", "replace"] = ""
    """It gets nothing more, and ends once it is through."""
    binding: Binding | None = None
    bound_at: float = 0.0
    reserved: bytes = b""
    """The base for which it was started."""
    heir: bytes = b""
    """The base for which it is being replaced."""
    proven: bool = False
    """An item ended in it."""
    ledger: Ledger = field(default_factory=Ledger)
    bites: dict[int, BiteRecord] = field(default_factory=dict)
    next_ordinal: int = 0
    limit: int | None = None
    """What the limit word was set to: until all bites in flight are through, it gets no other."""
    ordinal: int = NO_ITEM
    """As last sampled."""
    since: float = 0.0
    """When that was seen first."""
    stopped: bool = False
    """Its process is (SIGSTOP): it gets nothing until it goes on."""
    steps: dict[int, Step] = field(default_factory=dict)
    """Steps that it was asked for and hasn't answered."""

    def bind(self, context: Context, now: float) -> None:
        """It is of this context from now on."""
        if self.binding is None:
            self.binding = Binding(context.base, tuple(context.steps))
            self.bound_at = now
        else:
            self.binding = self.binding.after(context)

    @property
    def open(self) -> bool:
        """Whether it may be given a bite."""
        return self.ready and not self.draining and self.limit is None and not self.stopped

    @property
    def busy(self) -> bool:
        """Whether it has anything to do."""
        return bool(self.bites or self.steps)

    def running(self, now: float) -> tuple[BiteRecord, int, float] | None:
        """The item that runs long: its bite, its index and for how long it has been seen."""
        if self.ordinal == NO_ITEM or now - self.since < LONG_S:
            return None
        for bite in self.bites.values():
            index = bite.index(self.ordinal)
            if index is not None and index in bite.span.left:
                return bite, index, now - self.since
        return None

    def preparing(self, now: float) -> bool:
        """Whether it has had bites for a while and runs none of their items: it runs steps, or loads the function."""
        return self.ordinal == NO_ITEM and bool(self.bites) and now - self.since >= LONG_S

    def unstarted(self) -> int:
        """Items in flight behind the one that was seen running."""
        if self.ordinal == NO_ITEM:
            return 0
        return sum(bite.span.stop - bite.after(self.ordinal + 1) for bite in self.bites.values())

"""The one machine that splits work: a job's items at one node, as ranges that are pending, leased or finished.

Owns: which items may be leased, who holds which, how many to give at once. It serves twice: a scheduler leases a job's
items to workers, a worker leases what it was leased, in bites, to its slots. Nothing in it belongs to either.

Rules:
- An item is in exactly one place: not here yet, waiting (here, but not to be leased yet), pending, leased (in the `left`
  of exactly one lease), or finished. What is finished is only counted: it is what is in none of the others, and a set of it would be in as many fragments as
  there are leases.
- A range is leased again only after its holder gave it back (`release`) or was lost (`lose`).
- Only what a lease still holds can be reported or given back under it: nobody speaks for another's items.

Must not know: messages, clocks, why a holder was lost, what an item is.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from twistcluster.core.ranges import Range, RangeSet

__all__ = ["LeasedSpan", "Pace", "Paces", "Spans"]

HolderT = TypeVar("HolderT")

GROWTH = 16
"""A lease is at most this many times the number of items measured so far: one quick first item proves little."""
MEMORY_ITEMS = 64
"""A pace forgets by halves beyond this many measurements, so that it follows items that grow or shrink."""

PACES = 256
"""Of so many functions the pace is remembered."""


class Pace:
    """A running mean of the seconds that an item takes, in which the elapsed time of running items counts.

    Example:
        >>> pace = Pace()
        >>> pace.unit(otherwise=1.0)
        1.0
        >>> pace.measured(2, 0.5)
        >>> pace.unit(otherwise=1.0)
        0.25
    """

    __slots__ = ("_items", "_measurements", "_running_items", "_running_seconds", "_seconds", "seen")

    def __init__(self) -> None:
        self._items = 0.0
        self._seconds = 0.0
        self._measurements = 0
        self._running_items = 0
        self._running_seconds = 0.0
        self.seen = 0
        """Items measured in all."""

    def measured(self, items: int, seconds: float) -> None:
        """`items` more took `seconds` together."""
        self._items += items
        self._seconds += seconds
        self.seen += items
        self._measurements += 1
        if self._measurements > MEMORY_ITEMS:
            self._measurements //= 2
            self._items /= 2
            self._seconds /= 2

    def running(self, items: int, seconds: float) -> None:
        """`items` run now and have taken `seconds` together so far. Each call replaces the last one's figures."""
        self._running_items = items
        self._running_seconds = seconds

    def more_running(self, items: int, seconds: float) -> None:
        """The same, as a change: for who hears from each of several holders in turn."""
        self._running_items += items
        self._running_seconds = max(0.0, self._running_seconds + seconds) if self._running_items > 0 else 0.0

    def unit(self, otherwise: float) -> float:
        """Seconds an item; `otherwise` where nothing is known yet."""
        items = self._items + self._running_items
        if not items:
            return otherwise
        mean = (self._seconds + self._running_seconds) / items
        # Items that run for longer than the mean so far can only raise it.
        if self._items:
            mean = max(mean, self._seconds / self._items)
        return max(mean, 1e-9)

    def size(self, seconds: float) -> int:
        """How many items take about `seconds`, at least one and never far beyond what was measured."""
        if not self._items:
            return 1
        return max(1, min(int(seconds / self.unit(seconds)), GROWTH * self.seen))


class Paces:
    """The paces of functions whose items go together across jobs: what one of them took says what the next will take.

    Example:
        >>> paces = Paces()
        >>> paces.of((b"label", b"context")) is paces.of((b"label", b"context"))
        True
    """

    __slots__ = ("_paces",)

    def __init__(self) -> None:
        self._paces: dict[tuple[bytes, bytes], Pace] = {}

    def of(self, kind: tuple[bytes, bytes]) -> Pace:
        """The pace of a function in a context."""
        pace = self._paces.get(kind)
        if pace is None:
            if len(self._paces) >= PACES:
                del self._paces[next(iter(self._paces))]
            pace = self._paces[kind] = Pace()
        return pace


@dataclass(slots=True, eq=False)
class LeasedSpan(Generic[HolderT]):
    """A range that one holder has until it reports it, gives it back, or is lost."""

    number: int
    holder: HolderT
    start: int
    stop: int
    unit_s: float
    """Seconds an item was taken to need when it was leased."""
    left: RangeSet
    """What of it is neither reported nor given back."""
    revoked: bool = False
    """It was asked back, and the answer hasn't come."""
    fruitless: bool = False
    """It was asked back and nothing came: all of it has started."""


class Spans(Generic[HolderT]):
    """One job's items at one node.

    Example:
        >>> spans = Spans[str]()
        >>> spans.add(0, 100)
        >>> lease = spans.take(1, "anna", 10)
        >>> lease.start, lease.stop, len(spans.pending)
        (0, 10, 90)
        >>> spans.report(1, 0, 4), spans.release(1, 8, 10), spans.lose(1)
        (True, [(8, 10)], [(4, 8)])
        >>> len(spans.pending)
        96
    """

    __slots__ = ("finished", "leases", "pending", "waiting")

    def __init__(self) -> None:
        self.pending = RangeSet()
        self.waiting = RangeSet()
        self.finished = 0
        """How many items are."""
        self.leases: dict[int, LeasedSpan[HolderT]] = {}

    def add(self, start: int, stop: int) -> None:
        """New items, pending."""
        self.pending.add(start, stop)

    def wait(self, start: int, stop: int) -> None:
        """New items, which aren't to be leased yet."""
        self.waiting.add(start, stop)

    def hold(self, start: int, stop: int) -> None:
        """Pending items shall wait."""
        for part in self.pending.remove(start, stop):
            self.waiting.add(*part)

    def ready(self, start: int, stop: int) -> list[Range]:
        """Those that wait are pending; returns them."""
        return self._pend(self.waiting.remove(start, stop))

    def take(self, number: int, holder: HolderT, count: int, unit_s: float = 0.0) -> LeasedSpan[HolderT] | None:
        """Lease up to `count` items, the lowest pending ones, without a gap. None where nothing is pending."""
        got = self.pending.take(count)
        if got is None:
            return None
        start, stop = got
        lease = self.leases[number] = LeasedSpan(number, holder, start, stop, unit_s, RangeSet(start, stop))
        return lease

    def take_range(self, number: int, holder: HolderT, start: int, stop: int, unit_s: float) -> LeasedSpan[HolderT]:
        """Lease these items, all of them pending."""
        if not self.pending.withdraw(start, stop):
            raise ValueError(f"items {start} to {stop} aren't all pending")
        lease = self.leases[number] = LeasedSpan(number, holder, start, stop, unit_s, RangeSet(start, stop))
        return lease

    def report(self, number: int, start: int, stop: int) -> bool:
        """Items were finished under a lease. False, and nothing happens, unless it holds all of them."""
        lease = self.leases.get(number)
        if lease is None or not lease.left.withdraw(start, stop):
            return False
        self.finished += stop - start
        if not lease.left:
            del self.leases[number]
        return True

    def owns(self, number: int, index: int) -> bool:
        """Whether that lease owns that item now: only then does its failure count."""
        lease = self.leases.get(number)
        return lease is not None and index in lease.left

    def release(self, number: int, start: int, stop: int) -> list[Range]:
        """A holder gives items back; returns those that are pending again."""
        lease = self.leases.get(number)
        if lease is None:
            return []
        lease.revoked = False
        back = lease.left.remove(start, stop)
        if not lease.left:
            del self.leases[number]
        return self._pend(back)

    def lose(self, number: int) -> list[Range]:
        """A holder is lost; what it had not reported is pending again."""
        lease = self.leases.pop(number, None)
        return [] if lease is None else self._pend(lease.left.clear())

    def finish(self, start: int, stop: int) -> list[Range]:
        """Pending and waiting items of this range won't run; returns them. Leased ones stay with their holders."""
        gone = self.pending.remove(start, stop)
        if self.waiting:
            gone += self.waiting.remove(start, stop)
        for a, b in gone:
            self.finished += b - a
        return gone

    def reopen(self, start: int, stop: int) -> None:
        """Finished items, all of them, shall run again."""
        self.finished -= stop - start
        self.pending.add(start, stop)

    def _pend(self, ranges: list[Range]) -> list[Range]:
        for start, stop in ranges:
            self.pending.add(start, stop)
        return ranges

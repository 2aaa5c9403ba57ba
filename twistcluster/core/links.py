"""What ties a job to others: records of who waits for whom, and of the results that are kept for those who wait.

Owns: `Links` (one for each job that waits or is waited for; none for others), `Waiter`, `ValuePage`, `Shelf`. Must not
know: what is done about them (edges.py, sources.py, wanted.py).
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from twistcluster.core.ranges import Range, RangeSet
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo, Results, Stored, Values

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job
    from twistcluster.core.workers import Worker

__all__ = [
    "ARMED",
    "OVER",
    "READY",
    "WHOLE",
    "Cause",
    "Input",
    "KeptInput",
    "Links",
    "Shelf",
    "ValuePage",
    "Waiter",
    "as_ranges",
]

WHOLE = -1
"""The index of an edge that waits for a whole job."""

ARMED, READY, OVER = range(3)
"""Of a waiter: some of its inputs aren't here; all are, and are kept for it; it waits no more and nothing is kept."""


class KeptInput(NamedTuple):
    """An input of an item whose result is in a store, kept as a part of its recipe."""

    job: "Job"
    item: int
    """Of that job, or all of it."""
    page: "ValuePage"

    @property
    def objects(self) -> list[Stored]:
        """Values in stores that it consists of."""
        row = self.item - self.page.first
        return [each for each in self.page.message.objects if self.item == WHOLE or each.item == row]


Input = tuple["Job", int]
"""An item that another waits for, or a whole job."""


class Cause(NamedTuple):
    """Why an item's dependents fail: the root of it, through chains of any length."""

    error: ErrorInfo
    buffers: tuple[Buffer, ...] = ()
    definitions: Sequence[bytes] = ()


class Waiter:
    """An item with inputs. One that failed for an input is replaced when it is tried again, so lists may hold old ones."""

    __slots__ = ("index", "inputs", "job", "state", "unmet")

    def __init__(self, job: "Job", index: int, inputs: tuple[Input, ...]) -> None:
        self.job = job
        self.index = index
        self.inputs = inputs
        self.unmet = 0
        self.state = ARMED


@dataclass(slots=True, eq=False)
class ValuePage:
    """Results of a job as they were reported, for those who wait for one of them."""

    message: Values
    buffers: tuple[Buffer, ...]
    nbytes: int
    users: int = 0
    """Inputs of waiters that stand in it."""
    workers: "set[Worker]" = field(default_factory=set)
    """Who was sent it."""

    @property
    def first(self) -> int:
        """Its first item."""
        return self.message.first

    @property
    def stop(self) -> int:
        """The item after its last."""
        return self.message.first + self.message.count


class Shelf:
    """A job's value pages by their first items. They never overlap: each item was reported once."""

    __slots__ = ("_firsts", "_pages", "items")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._pages: dict[int, ValuePage] = {}
        self.items = 0
        """In all pages together."""

    def __iter__(self) -> Iterator[ValuePage]:
        return iter(self._pages.values())

    def __len__(self) -> int:
        return len(self._firsts)

    def find(self, index: int) -> ValuePage | None:
        """The page in which an item stands, if it is here."""
        at = bisect_right(self._firsts, index) - 1
        if at < 0:
            return None
        page = self._pages[self._firsts[at]]
        return page if index < page.stop else None

    def after(self, index: int) -> int | None:
        """The first item of the next page behind an item."""
        at = bisect_right(self._firsts, index)
        return self._firsts[at] if at < len(self._firsts) else None

    def overlaps(self, start: int, stop: int) -> bool:
        """Whether any of these items is here."""
        after = self.after(start)
        return self.find(start) is not None or (after is not None and after < stop)

    def add(self, page: ValuePage) -> None:
        """A page came."""
        insort(self._firsts, page.first)
        self._pages[page.first] = page
        self.items += page.message.count

    def remove(self, page: ValuePage) -> None:
        """It isn't needed any more."""
        del self._firsts[bisect_right(self._firsts, page.first) - 1]
        del self._pages[page.first]
        self.items -= page.message.count


@dataclass(slots=True, eq=False)
class Links:
    """A job's ties."""

    # ---- as one that waits ----
    waiters: dict[int, Waiter] = field(default_factory=dict)
    """Its items with inputs, until they are done or cancelled: one that failed may be tried again."""
    source: "Job | None" = None
    """The job whose results are its items' arguments."""
    growing: bool = False
    """Items may still come to it from its source."""

    # ---- as one that is waited for ----
    done: RangeSet = field(default_factory=RangeSet)
    """Items that succeeded."""
    dependents: dict[int, list[Waiter]] = field(default_factory=dict)
    """By item that has no fate yet, or whose value isn't here yet: who waits for it."""
    whole: list[Waiter] = field(default_factory=list)
    """Who waits for all of it."""
    whole_users: int = 0
    """Of these, those for whom values are kept: armed or ready."""
    whole_sent: "set[Worker]" = field(default_factory=set)
    """Workers that were sent all of its value pages."""
    sourced: "dict[Job, None]" = field(default_factory=dict)
    """Jobs whose source it is."""
    shelf: Shelf = field(default_factory=Shelf)
    reads: "dict[Job, None]" = field(default_factory=dict)
    """Jobs whose results its items wait for, or will when they are tried again; noted where jobs are kept."""
    readers: "dict[Job, None]" = field(default_factory=dict)
    """The same from the other side: these keep the job."""
    asked: RangeSet = field(default_factory=RangeSet)
    """Results that a client was asked for and hasn't sent."""
    journaled: dict[int, Results] = field(default_factory=dict)
    """Results that are on their way back from the journal, by their places."""
    logged: list[tuple[int, int]] = field(default_factory=list)
    """Where results stand in the job's log: (first item, position), in order of items."""
    logged_until: int = 0
    """The position in the log up to which that was looked up."""

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits for any of its items."""
        return bool(self.dependents or self.whole or self.sourced)

    def take(self, start: int, stop: int) -> list[Waiter]:
        """Who waits for one of these items, and is no longer noted there."""
        dependents = self.dependents
        if not dependents:
            return []
        if stop - start == 1:
            return [w for w in dependents.pop(start, ()) if w.state == ARMED]
        found = []
        for index in within(dependents, start, stop):
            found += [w for w in dependents.pop(index) if w.state == ARMED]
        return found

    def take_whole(self) -> list[Waiter]:
        """Who waits for all of it, and is no longer noted."""
        found = [w for w in self.whole if w.state == ARMED]
        self.whole.clear()
        return found


def within(items: Iterable[int], start: int, stop: int) -> list[int]:
    """The keys of a dict that are in a range, in order: by looking at the fewer of the two."""
    assert isinstance(items, dict)
    if stop - start <= len(items):
        return [index for index in range(start, stop) if index in items]
    return sorted(index for index in items if start <= index < stop)


def as_ranges(indices: Iterable[int]) -> list[Range]:
    """Numbers, sorted, as ranges."""
    found: list[Range] = []
    start = stop = -1
    for index in sorted(indices):
        if index == stop:
            stop += 1
            continue
        if stop > start:
            found.append((start, stop))
        start, stop = index, index + 1
    if stop > start:
        found.append((start, stop))
    return found

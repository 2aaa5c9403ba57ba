"""What became of a job's items: results as runs, failures one by one, cancelled ranges.

Costs a message, not an item: a hundred thousand results that came together are one entry. Owns: that bookkeeping. Must
not know: threads, links, who asks.
"""

from collections.abc import Iterable

from twistcluster.client.results import ItemFailure, Segment, Segments
from twistcluster.core.ranges import Range, RangeSet
from twistcluster.storage.values import Readable
from twistcluster.wire.pages import Packed
from twistcluster.wire.values import Definitions

__all__ = ["Arrival", "Fates"]

Arrival = Segment | ItemFailure | Range
"""Something that came: results, a failure, cancelled items."""


class Fates:
    """The fates of one job's items.

    Args:
        definitions: For decoding results.
        values: Where the large ones are read.
        keep: Whether to hold results; without it, whoever wants one takes it when it comes.
    """

    def __init__(self, definitions: Definitions, values: Readable | None = None, *, keep: bool = True) -> None:
        self.done = RangeSet()
        self.failures: dict[int, ItemFailure] = {}
        self.cancelled = RangeSet()
        self.arrivals: list[Arrival] = []
        """In the order in which they came; an item that failed and was run again is there twice."""
        self.outputs: dict[int, str] = {}
        """What items printed."""
        self.nbytes = 0
        """Of the results that are held."""
        self._definitions = definitions
        self._values = values
        self._keep = keep
        self._segments = Segments()
        self.stored: dict[Segment, int] = {}
        """Those that lie in a store, and where in `arrivals`."""
        self.stored_nbytes = 0
        """What these hold there."""
        self.stored_ever = 0
        """The same, with what was let go."""
        self._refused: set[int] = set()

    @property
    def known(self) -> int:
        """Items that met their fate."""
        return len(self.done) + len(self.failures) + len(self.cancelled)

    def of(self, index: int) -> Arrival | None:
        """What became of an item; of a cancelled one, the range of those that were from it on."""
        if index in self._refused:
            return index, index + 1
        segment = self._segments.find(index)
        if segment is not None:
            return segment
        failure = self.failures.get(index)
        if failure is not None or index not in self.cancelled:
            return failure
        return next((max(start, index), stop) for start, stop in self.cancelled if start <= index < stop)

    def unknown(self, count: int | None) -> list[Range]:
        """The others of the first `count` items; None: of those up to the last that is known."""
        known = self.known_ranges()
        left = RangeSet()
        left.add(0, max((stop for _, stop in known), default=0) if count is None else count)
        for start, stop in known:
            left.remove(start, stop)
        return list(left)

    def known_ranges(self) -> RangeSet:
        """The items that met their fate."""
        return RangeSet.of([*self.done, *self.cancelled, *((index, index + 1) for index in self.failures)])

    def refuse(self, index: int) -> None:
        """An item was cancelled here: whatever still comes of it is not looked at."""
        if self._keep and self.of(index) is None:
            self._refused.add(index)

    def succeeded(self, first: int, packed: Packed) -> list[Segment]:
        """Results came; returns those that are news."""
        parts = self._wanted(first, first + packed.count) if self._refused else [(first, first + packed.count)]
        news = [
            Segment(start, stop, packed, start - first, self._definitions, self._values)
            for part in parts
            for start, stop in self.done.add(*part)
        ]
        for segment in news:
            if self.failures:  # run again before its failure was known here
                for index in [i for i in self.failures if segment.start <= i < segment.stop]:
                    del self.failures[index]
            if self._keep:
                self._segments.add(segment)
                if packed.objects:
                    self.stored[segment] = len(self.arrivals)
                    self.stored_nbytes += segment.stored_nbytes
                    self.stored_ever += segment.stored_nbytes
                self.arrivals.append(segment)
                self.nbytes += packed.nbytes + sum(each.nbytes for each in packed.objects)
        return news

    def let_go(self, segment: Segment) -> None:
        """Nobody will ask for these results any more."""
        gone = segment.without_values()
        self.arrivals[self.stored.pop(segment)] = gone
        self._segments.replace(segment, gone)
        self.nbytes -= segment.packed.nbytes + segment.stored_nbytes
        self.stored_nbytes -= segment.stored_nbytes

    def failed(self, failure: ItemFailure) -> bool:
        """An item failed; returns whether that is news."""
        if failure.index in self._refused:
            self.were_cancelled([(failure.index, failure.index + 1)])
            return False
        if failure.index in self.done or failure.index in self.cancelled:  # told twice: the first word holds
            return False
        self.failures[failure.index] = failure
        if self._keep:
            self.arrivals.append(failure)
        return True

    def were_cancelled(self, ranges: Iterable[Range]) -> list[Range]:
        """Items won't start; returns what is news."""
        news = [part for each in ranges for free in self._unmet(*each) for part in self.cancelled.add(*free)]
        if self._keep:
            self.arrivals += news
        return news

    def _unmet(self, start: int, stop: int) -> list[Range]:
        """The parts of which nothing else is known: what was told first holds."""
        done = self.done.overlap(start, stop)
        if not done and not self.failures:
            return [(start, stop)]
        left = RangeSet()
        left.add(start, stop)
        for part in done:
            left.remove(*part)
        for index in self.failures:
            left.remove(index, index + 1)
        return list(left)

    def cancelled_in(self, start: int, stop: int) -> list[Range]:
        """The parts that were cancelled."""
        found = RangeSet()
        for part in self.cancelled.overlap(start, stop):
            found.add(*part)
        for index in range(start, stop) if stop - start < len(self._refused) else self._refused:
            if start <= index < stop and index in self._refused:
                found.add(index, index + 1)
        return list(found)

    def _wanted(self, start: int, stop: int) -> list[Range]:
        """The parts that nobody cancelled; the others are."""
        wanted = RangeSet()
        wanted.add(start, stop)
        refused = self._refused
        few = range(start, stop) if stop - start < len(refused) else refused
        for index in few:
            if start <= index < stop and index in refused:
                wanted.remove(index, index + 1)
                self.were_cancelled([(index, index + 1)])
        return list(wanted)

    def printed(self, index: int, text: str) -> None:
        """An item printed something."""
        self.outputs[index] = self.outputs.get(index, "") + text

    def overcome(self) -> RangeSet:
        """Items that failed, and were to run again since."""
        failed = (each.index for each in self.arrivals if isinstance(each, ItemFailure))
        return RangeSet.of((index, index + 1) for index in failed if index not in self.failures)

    def standing(self) -> list[Arrival]:
        """What came and still holds: not the failures of items that were run again."""
        return [each for each in self.arrivals if not isinstance(each, ItemFailure) or each.index in self.failures]

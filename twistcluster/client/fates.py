"""What became of a job's items: results as runs, failures one by one, cancelled ranges.

Costs a message, not an item: a hundred thousand results that came together are one entry. Owns: that bookkeeping. Must
not know: threads, links, who asks.
"""

from collections.abc import Iterable

from twistcluster.client.results import ItemFailure, Segment, Segments
from twistcluster.core.ranges import Range, RangeSet
from twistcluster.wire.pages import Packed
from twistcluster.wire.values import Definitions

__all__ = ["Arrival", "Fates"]

Arrival = Segment | ItemFailure | Range
"""Something that came: results, a failure, cancelled items."""


class Fates:
    """The fates of one job's items.

    Args:
        definitions: For decoding results.
        keep: Whether to hold results; without it, whoever wants one takes it when it comes.
    """

    def __init__(self, definitions: Definitions, *, keep: bool = True) -> None:
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
        self._keep = keep
        self._segments = Segments()

    @property
    def known(self) -> int:
        """Items that met their fate."""
        return len(self.done) + len(self.failures) + len(self.cancelled)

    def of(self, index: int) -> Arrival | None:
        """What became of an item; of a cancelled one, the range of those that were from it on."""
        segment = self._segments.find(index)
        if segment is not None:
            return segment
        failure = self.failures.get(index)
        if failure is not None or index not in self.cancelled:
            return failure
        return next((max(start, index), stop) for start, stop in self.cancelled if start <= index < stop)

    def succeeded(self, first: int, packed: Packed) -> list[Segment]:
        """Results came; returns those that are news."""
        news = [
            Segment(start, stop, packed, start - first, self._definitions)
            for start, stop in self.done.add(first, first + packed.count)
        ]
        for segment in news:
            if self.failures:  # run again before its failure was known here
                for index in [i for i in self.failures if segment.start <= i < segment.stop]:
                    del self.failures[index]
            if self._keep:
                self._segments.add(segment)
                self.arrivals.append(segment)
                self.nbytes += packed.nbytes
        return news

    def failed(self, failure: ItemFailure) -> None:
        """An item failed."""
        self.failures[failure.index] = failure
        if self._keep:
            self.arrivals.append(failure)

    def were_cancelled(self, ranges: Iterable[Range]) -> list[Range]:
        """Items won't start; returns what is news."""
        news = [part for start, stop in ranges for part in self.cancelled.add(start, stop)]
        if self._keep:
            self.arrivals += news
        return news

    def printed(self, index: int, text: str) -> None:
        """An item printed something."""
        self.outputs[index] = self.outputs.get(index, "") + text

    def standing(self) -> list[Arrival]:
        """What came and still holds: not the failures of items that were run again."""
        return [each for each in self.arrivals if not isinstance(each, ItemFailure) or each.index in self.failures]

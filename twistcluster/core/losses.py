"""How often items were on a worker when it was lost, and the caution that follows from it.

Owns: these counts, as ranges. Must not know: workers, messages, what ran when the cluster's own process died (suspects.py).

Which items ran when a worker was lost isn't known exactly, so all that it held is counted. The loss of a worker is hardly
ever an item's fault, so much is forgiven; but an item that fills its host's memory takes its worker along, and then the
next one. So those that were lost once are leased a few at a time, those lost more often one by one, with nothing beside
them: by the last time hardly another item is blamed with the culprit.
"""

from typing import Final

from twistcluster.core.ranges import Range, RangeSet

__all__ = ["CAUTIOUS_ITEMS", "LOSSES_AT_MOST", "Losses"]

LOSSES_AT_MOST: Final = 5
"""How often an item may be on a worker that is lost: this time it fails."""
CAUTIOUS_ITEMS: Final = 16
"""A lease of items that were lost once is no longer than this."""


class Losses:
    """The losses of one job's items.

    Example:
        >>> losses = Losses()
        >>> [losses.lost(0, 3) for _ in range(LOSSES_AT_MOST)][-2:]
        [[], [(0, 3)]]
    """

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[RangeSet] = []
        """Items that were lost once, twice, and so on; nothing at all where no worker ever was."""

    def __bool__(self) -> bool:
        return any(self._levels)

    def lost(self, start: int, stop: int) -> list[Range]:
        """Items were lost; returns those for which it was the last time."""
        self._begin()
        first, last = self._levels[0], self._levels[-1]
        over = last.remove(start, stop)
        known = list(over)
        for lower, upper in zip(self._levels[-2::-1], self._levels[:0:-1], strict=True):
            for part in lower.remove(start, stop):
                upper.add(*part)
                known.append(part)
        at = start
        for a, b in [*sorted(known), (stop, stop)]:
            if a > at:
                first.add(at, a)
            at = b
        return over

    def suspected(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Which of these items were lost more than once, each with how often: few, as they are leased a few at a time."""
        found = []
        for times, level in enumerate(self._levels[1:], 2):
            found += [(index, times) for a, b in level.overlap(start, stop) for index in range(a, b)]
        return found

    def known(self, start: int, stop: int, times: int) -> None:
        """Items were lost so often (but not for the last time) or more, as a scheduler before this one knew."""
        if not times:
            return
        self._begin()
        fewer = RangeSet(start, stop)
        for level in self._levels[times:]:
            for part in level.overlap(start, stop):
                fewer.remove(*part)
        for level in self._levels[: times - 1]:
            level.remove(start, stop)
        for part in fewer:
            self._levels[times - 1].add(*part)

    def counts(self) -> list[tuple[int, int, int]]:
        """All items that were lost, as ranges, with how often."""
        return [(start, stop, times) for times, level in enumerate(self._levels, 1) for start, stop in level]

    def _begin(self) -> None:
        while len(self._levels) < LOSSES_AT_MOST - 1:
            self._levels.append(RangeSet())

    def forget(self, start: int, stop: int) -> None:
        """They shall run again as if nothing had been."""
        for level in self._levels:
            level.remove(start, stop)

    def isolates(self, index: int) -> bool:
        """Whether an item must run with nothing beside it."""
        return any(index in level for level in self._levels[1:])

    def cautious(self, start: int, count: int) -> int:
        """How many items from this one on may be leased together, of so many."""
        for level in self._levels[1:]:
            found = level.overlap(start, start + count)
            if found:
                count = found[0][0] - start
        once = self._levels[0].overlap(start, start + count)
        return min(count, CAUTIOUS_ITEMS) if once else count

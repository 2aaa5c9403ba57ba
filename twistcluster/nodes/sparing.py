"""Lines of a log that are alike: some are written, the rest are counted.

Owns: the counts. Must not know: how lines are written, what they say, the time.
"""

from collections.abc import Hashable
from typing import Final

from twistcluster.wire import limits

__all__ = ["Sparing"]

KINDS: Final = 1000
"""Kinds of lines that are counted at a time; of more, those that began first are forgotten."""


class Sparing:
    """Says which lines are written: of each kind a number in a span of time.

    Args:
        lines: of one kind that are written in a span.
        seconds: the span; it begins with a line that begins none of its kind.

    Example:
        >>> sparing = Sparing(lines=2, seconds=10.0)
        >>> [sparing.admits("malformed", now) for now in (0.0, 1.0, 2.0, 3.0)]
        [True, True, False, False]
        >>> sparing.over(9.0), sparing.over(10.0)
        ([], [('malformed', 2)])
    """

    def __init__(self, lines: int = limits.LOG_LINES_ALIKE, seconds: float = limits.LOG_SECONDS) -> None:
        self._lines = lines
        self._seconds = seconds
        self._spans: dict[Hashable, tuple[float, list[int]]] = {}  # kind: beginning, [lines]; the oldest first

    def admits(self, kind: Hashable, now: float) -> bool:
        """Whether a line of this kind is written. Ask for what is `over` before."""
        span = self._spans.get(kind)
        if span is None:
            if len(self._spans) >= KINDS:
                del self._spans[next(iter(self._spans))]
            self._spans[kind] = span = (now, [0])
        count = span[1]
        count[0] += 1
        return count[0] <= self._lines

    def over(self, now: float) -> list[tuple[Hashable, int]]:
        """The kinds whose span is over, and how many lines of each weren't written, where there were any."""
        found = []
        while self._spans:
            kind, (began, count) = next(iter(self._spans.items()))
            if now - began < self._seconds:
                break
            del self._spans[kind]
            if count[0] > self._lines:
                found.append((kind, count[0] - self._lines))
        return found

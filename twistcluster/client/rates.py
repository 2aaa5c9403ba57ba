"""How fast something goes: items a second, over the last seconds.

Owns: that mean. Must not know: a clock; the time comes as an argument.
"""

from collections import deque
from typing import Final

__all__ = ["Rate"]

WINDOW_SECONDS: Final = 3.0
SAMPLE_SECONDS: Final = 0.1


class Rate:
    """Counts over time.

    Example:
        >>> rate = Rate(0.0)
        >>> for second in range(1, 10):
        ...     rate.sample(second, 10 * second)
        >>> rate.now(9.0, 90), rate.overall(9.0, 90)
        (10.0, 10.0)
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._samples: deque[tuple[float, int]] = deque([(began, 0)])

    def sample(self, now: float, count: int) -> None:
        """So many are finished now."""
        samples = self._samples
        if now - samples[-1][0] >= SAMPLE_SECONDS:
            samples.append((now, count))
            while len(samples) > 2 and now - samples[1][0] > WINDOW_SECONDS:
                samples.popleft()

    def now(self, now: float, count: int) -> float:
        """Over the last seconds."""
        then, before = self._samples[0]
        return (count - before) / (now - then) if now > then else 0.0

    def overall(self, now: float, count: int) -> float:
        """From the beginning on."""
        return count / (now - self._began) if now > self._began else 0.0

"""What every measure is taken with. Must not know: engines, what is measured."""

import contextlib
import time
from collections.abc import Callable, Iterator

__all__ = ["Figures", "expect", "timed"]

Figures = dict[str, float]
"""By name; a measure's own figure is under its key."""


@contextlib.contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Seconds from the start of the block to its end."""
    began = time.perf_counter()
    ended = [0.0]
    yield lambda: ended[0] - began
    ended[0] = time.perf_counter()


def expect(right: bool) -> None:
    """A fast wrong result is worth nothing."""
    if not right:
        raise ValueError("the results were not what they should be")

"""A clock that moves only from one due event to the next.

Owns: simulated time. A clock that is advanced by a step shows the step's end to a timer that was due within it; this one
never does.
"""

from collections.abc import Callable
from heapq import heappop, heappush

__all__ = ["StepClock", "Timer"]


class Timer:
    """A call that is due at a time, unless it is cancelled."""

    __slots__ = ("args", "call", "cancelled", "due")

    def __init__(self, due: float, call: Callable[..., None], args: tuple[object, ...]) -> None:
        self.due = due
        self.call = call
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        """Don't call it."""
        self.cancelled = True


class StepClock:
    """Simulated time.

    Example:
        >>> clock, seen = StepClock(), []
        >>> _ = clock.at(2.0, seen.append, "late")
        >>> _ = clock.at(1.0, seen.append, "early")
        >>> clock.step(), clock.now, seen
        (True, 1.0, ['early'])
    """

    __slots__ = ("_calls", "_sequence", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[tuple[float, int, Timer]] = []
        self._sequence = 0

    def at(self, due: float, call: Callable[..., None], *args: object) -> Timer:
        """Call at a time; calls that are due together come in the order they were made in."""
        timer = Timer(max(due, self.now), call, args)
        self._sequence += 1
        heappush(self._calls, (timer.due, self._sequence, timer))
        return timer

    def due(self) -> float | None:
        """When the next call is due; None where there is none."""
        while self._calls and self._calls[0][2].cancelled:
            heappop(self._calls)
        return self._calls[0][0] if self._calls else None

    def jump(self, seconds: float) -> None:
        """The computer sleeps: what is due meanwhile is late."""
        self.now += seconds

    def step(self) -> bool:
        """Make the next call that is due; False where there is none."""
        while self._calls:
            due, _, timer = heappop(self._calls)
            if not timer.cancelled:
                self.now = max(self.now, due)
                timer.call(*timer.args)
                return True
        return False

"""Processes of a simulated cluster that are stopped for a while.

Owns: `Stalls`, which holds back what happens to a process until it goes on. Must not know: what the process does.
"""

from collections.abc import Callable

from twistcluster.testing.clock import StepClock

__all__ = ["Stalls"]


class Stalls:
    """Whether a process runs; what happens to it while it doesn't, happens when it goes on, in order.

    Example:
        >>> clock, seen = StepClock(), []
        >>> stalls = Stalls(clock)
        >>> stalls.stop(5.0)
        >>> stalls.happen(seen.append, 1)
        >>> seen, clock.step(), seen
        ([1], True, [1])
    """

    __slots__ = ("_clock", "_held", "_until")

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock
        self._held: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._until = 0.0

    def stop(self, seconds: float) -> None:
        """The process is stopped for so long."""
        self._until = max(self._until, self._clock.now + seconds)
        self._clock.at(self._until, self._go_on)

    @property
    def stopped(self) -> bool:
        """Whether it is."""
        return self._clock.now < self._until

    def happen(self, call: Callable[..., None], *args: object) -> None:
        """Something happens to it: now, or when it goes on."""
        if self.stopped or self._held:
            self._held.append((call, args))
        else:
            call(*args)

    def _go_on(self) -> None:
        if not self.stopped:
            held, self._held = self._held, []
            for call, args in held:
                call(*args)

"""A simulated network: links that carry messages in order, each after its delay, until they are cut.

Owns: delivery. Must not know: what the messages mean.
"""

from collections.abc import Callable
from typing import Protocol

from twistcluster.testing.clock import StepClock
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Message

__all__ = ["End", "SimulatedLink"]


class End(Protocol):
    """Who sits at an end of a link."""

    def received(self, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """The other end said something."""

    def lost(self) -> None:
        """The link is gone."""


class SimulatedLink:
    """A link between two ends, called `left` and `right`."""

    def __init__(self, clock: StepClock, delay: Callable[[], float]) -> None:
        self._clock = clock
        self._delay = delay
        self._free = {False: 0.0, True: 0.0}
        self._gone: bool | None = None
        """The end that hung up."""
        self.ends: dict[bool, End] = {}
        self.up = True
        self.late = False
        """What is on its way to the left end arrives although the link is down."""

    @classmethod
    def nowhere(cls, clock: StepClock) -> "SimulatedLink":
        """What an end has whose link is gone."""
        link = cls(clock, lambda: 0.0)
        link.up = False
        return link

    def connect(self, left: End, right: End) -> None:
        """Seat the ends."""
        self.ends = {False: left, True: right}

    def send(self, to_right: bool, message: Message, buffers: tuple[Buffer, ...] = ()) -> None:
        """Say something to an end. What comes later arrives later, however long the first takes."""
        if self.up and self._gone is None:
            due = max(self._clock.now + self._delay(), self._free[to_right])
            self._free[to_right] = due
            self._clock.at(due, self._deliver, to_right, message, buffers)

    def hold(self, to_right: bool, seconds: float) -> None:
        """What is said to an end from now on takes at least so long."""
        self._free[to_right] = max(self._free[to_right], self._clock.now + seconds)

    def partition(self, seconds: float) -> None:
        """Nothing gets through for so long; then all of it does."""
        for to_right in (False, True):
            self.hold(to_right, seconds)

    def hang_up(self, *, right: bool) -> None:
        """The process at an end was killed: what it said still arrives, then the other end loses the link."""
        if self.up and self._gone is None:
            self._gone = right
            self._clock.at(max(self._clock.now, self._free[not right]), self._hung_up)

    def _hung_up(self) -> None:
        if self.up:
            self.up = False
            self.ends[not self._gone].lost()

    def cut(self) -> None:
        """Both ends lose it at once; what is on the way is lost with it."""
        if self.up:
            self.up = False
            for right, end in self.ends.items():
                if right != self._gone:
                    self._clock.at(self._clock.now, end.lost)

    def _deliver(self, to_right: bool, message: Message, buffers: tuple[Buffer, ...]) -> None:
        if to_right != self._gone and (self.up or (self.late and not to_right)):
            self.ends[to_right].received(message, buffers)

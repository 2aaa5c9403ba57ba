"""One reactor turn: what an event leaves to be done at its end.

Owns: the eventual queue (calls that must not run inside the caller) and the links whose writes leave together. All
links of a node share one `Turn`, so that what one event causes on any of them has left before the reactor waits again,
without a timer in between: this is most of the difference between a round trip of 0.2 ms and one of 0.3 ms. Also the
order in which links that say more than is handled at once take turns.
Must not know: frames, messages, nodes.
"""

import collections
from collections.abc import Callable
from typing import Any, Final, ParamSpec, Protocol

from twisted.logger import Logger

from twistcluster.wire import limits

__all__ = ["Behind", "Flushable", "Timer", "Timers", "Turn"]

PORTION: Final = 32
"""Waiting messages of one link that are handled before those of the next."""

_log = Logger()

P = ParamSpec("P")


class Timer(Protocol):
    """A call that is due later."""

    def active(self) -> bool:
        """Whether it is still to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Timers(Protocol):
    """A reactor's clock (Twisted's IReactorTime, which mypy can't read)."""

    def seconds(self) -> float:
        """The time."""

    def callLater(self, delay: float, callable: Any, *args: Any) -> Timer:  # noqa: N802, A002 (Twisted's names)
        """Call something once `delay` seconds have passed."""


class Flushable(Protocol):
    """A link that holds back what was sent until the end of the turn."""

    def flush(self) -> None:
        """Let it leave now."""


class Behind(Protocol):
    """A link that has read more messages than it may handle at once."""

    def handle_some(self, count: int) -> bool:
        """Handle so many of them; whether more wait."""


class Turn:
    """Calls and writes that wait for the end of the present event's handling.

    Args:
        reactor: asked for a zero-delay timer when something is left over from outside of `run`.
    """

    def __init__(self, reactor: Timers) -> None:
        self._reactor = reactor
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._unflushed: list[Flushable] = []
        self._inside = False
        self._scheduled = False
        self._behind: collections.deque[Behind] = collections.deque()

    def run(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Handle an event; at the end do all that it left over. Within another `run`, that one's end does it."""
        if self._inside:
            call(*args, **kwargs)
            return
        self._inside = True
        try:
            call(*args, **kwargs)
        finally:
            self._finish()
            self._inside = False

    def soon(self, call: Callable[[], None]) -> None:
        """Make a call at the end of this turn, after those that wait already."""
        self._calls.append(call)
        self._ensure()

    def unflushed(self, link: Flushable) -> None:
        """Flush this link at the end of this turn (a link says it once until it was flushed)."""
        self._unflushed.append(link)
        self._ensure()

    def behind(self, link: Behind) -> None:
        """A link has messages that wait (it says so once, until none does): from the reactor's next turn on they are
        handled, `MESSAGES_PER_TURN` in each, a portion from every such link after the other.

        What other links hear meanwhile is handled as it comes, so a flood costs them a part of each turn at most.
        """
        self._behind.append(link)
        if len(self._behind) == 1:
            self._reactor.callLater(0, self._round)

    def _round(self) -> None:
        end = self._reactor.seconds() + limits.HANDLING_SECONDS
        for _ in range(0, limits.MESSAGES_PER_TURN, PORTION):
            if self._behind:
                self.run(self._portion)
            if self._reactor.seconds() > end:
                break
        if self._behind:
            self._reactor.callLater(0, self._round)

    def _portion(self) -> None:
        link = self._behind[0]  # it stays in its place meanwhile, or `behind` would ask for another round
        more = False
        try:
            more = link.handle_some(PORTION)
        except Exception:
            _log.failure("messages that waited could not be handled: {link!r}", link=link)
        self._behind.popleft()
        if more:
            self._behind.append(link)

    def _ensure(self) -> None:
        if not self._inside and not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._late)

    def _late(self) -> None:
        self._scheduled = False
        self.run(_nothing)

    def _finish(self) -> None:
        """Call after call; what one of them sent leaves before the next, all of a link as one write.

        A call is a machine's whole turn, so nothing that belongs together is torn apart; but a result is on its way to
        its client before its job is tidied away.
        """
        self._flush()
        while self._calls:
            call = self._calls.popleft()
            try:
                call()
            except Exception:
                _log.failure("a call at the end of a turn failed: {call!r}", call=call)
            self._flush()

    def _flush(self) -> None:
        while self._unflushed:
            links, self._unflushed = self._unflushed, []
            for link in links:
                try:
                    link.flush()
                except Exception:
                    _log.failure("a write failed: {link!r}", link=link)


def _nothing() -> None:
    """The event of a turn that only finishes what was left over."""

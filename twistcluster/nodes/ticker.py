"""A machine's clock and alarm on a real reactor.

Owns: the time that a machine is told. It stands still while this process could not have kept time: an alarm that rings
more than `LATE_SECONDS` late means that the computer slept or the process was stopped, and then no deadline has passed
for that reason: all of them move. Must not know: what is due.
"""

import time
from collections.abc import Callable
from typing import Final

from twistcluster.net.turn import Timer, Timers

__all__ = ["LATE_SECONDS", "Ticker"]

LATE_SECONDS: Final = 5.0


class Ticker:
    """Tells the time and calls `wake` when it is due.

    Args:
        reactor: sets the alarm.
        wake: called at (or a little before or after) the time asked for.
        clock: seconds that never go back.
    """

    def __init__(self, reactor: Timers, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._reactor = reactor
        self._wake = wake
        self._clock = clock
        self._skipped = 0.0
        self._timer: Timer | None = None
        self._due = 0.0

    def now(self) -> float:
        """The machine's time, in seconds from some moment on."""
        now = self._clock()
        if self._timer is not None and now - self._due > LATE_SECONDS:
            self._skipped += now - self._due
            self._due = now
        return now - self._skipped

    def wake_at(self, when: float | None) -> None:
        """Have `wake` called at this time; an alarm that is set for earlier stays, as it costs less to ring than to move."""
        if when is None:
            return
        # Not before now: what is late is the alarm, not the one who asks for it.
        due = max(when + self._skipped, self._clock())
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._reactor.callLater(max(0.0, due - self._clock()), self._ring)

    def stop(self) -> None:
        """Call nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self.now()  # before the alarm is gone: it sees how late it is
        self._timer = None
        self._wake()

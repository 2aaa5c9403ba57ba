"""A worker's pulse: it says something once a second, so that its scheduler knows that it isn't stopped.

Owns: when a heartbeat is due, and whether the scheduler answers. Must not know: what else is said.

A scheduler on this host that doesn't answer is stopped, or busy: it hasn't given this worker's items to anybody else, and
the end of its link would be heard at once. So the worker goes on with what it has, and says so in its log.
"""

from typing import TYPE_CHECKING, Final

from twistcluster.core.effects import Log
from twistcluster.wire.messages import Heartbeat

if TYPE_CHECKING:
    from twistcluster.core.worker import Worker

__all__ = ["BEAT_S", "Pulse"]

BEAT_S: Final = 1.0
"""A worker that has said or heard nothing for so long sends a heartbeat."""
UNANSWERED: Final = 5
"""Heartbeats without an answer, after which the scheduler's silence is worth a line in the log."""


class Pulse:
    """Beats while there is a link."""

    __slots__ = ("_silent", "_worker", "beats", "due", "heard_at", "said_at", "unanswered")

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self.beats = False
        """The scheduler is in another process."""
        self.due: float | None = None
        """When it is worth a look."""
        self.said_at = 0.0
        self.heard_at = 0.0
        self.unanswered = 0
        """Heartbeats."""
        self._silent = False

    def begin(self) -> None:
        """The scheduler took us."""
        if self.beats:
            self.due = self._worker.now + BEAT_S

    def end(self) -> None:
        """The link is gone."""
        self.due = None
        self.unanswered = 0
        self._silent = False

    def bytes_came(self, now: float) -> None:
        """Something came from the scheduler, perhaps a part of a long message: it is there."""
        self.heard_at = now
        if self.unanswered:
            self.heard()

    def heard(self) -> None:
        """The scheduler said something, after heartbeats that it hadn't answered."""
        self.unanswered = 0
        if self._silent:
            self._silent = False
            self._worker.effects.append(Log("info", "the scheduler answers again", {}))

    def look(self) -> None:
        """The time is come: send a heartbeat, unless enough was said and heard meanwhile."""
        now = self._worker.now
        quiet_since = min(self.said_at, self.heard_at)
        if now < quiet_since + BEAT_S:
            self.due = quiet_since + BEAT_S
            return
        self.due = now + BEAT_S
        self.unanswered += 1
        self._worker.up(Heartbeat())
        if self.unanswered > UNANSWERED and not self._silent:
            self._silent = True
            fields: dict[str, object] = {"seconds": round(now - self.heard_at)}
            self._worker.effects.append(Log("warning", "the scheduler doesn't answer; work goes on", fields))

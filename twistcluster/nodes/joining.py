"""How a standalone worker keeps its link to a scheduler: it joins, and joins again when the link is lost.

Owns: when another try is due, and when there have been enough. Must not know: what is said on the link, what a worker does.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from twistcluster.errors import AccessDenied, ClusterUnreachable, ProtocolError, VersionMismatch
from twistcluster.net.link import Link
from twistcluster.net.turn import Timer
from twistcluster.nodes.logging import log_event

__all__ = ["Joining", "pause_s"]

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0


def pause_s(tries: int, chance: float) -> float:
    """How long to wait after so many tries that failed; `chance`, from 0 to 1, keeps many workers from coming at once."""
    doublings = min(tries, 16)  # 2.0**1024 is more than a float holds
    return float(min(FIRST_PAUSE_S * 2.0**doublings, LONGEST_PAUSE_S)) * (0.5 + chance / 2)


_log = Logger()


class Joining:
    """Keeps a node linked.

    Args:
        reactor: Twisted's.
        link_to: makes a link to the scheduler.
        joined: called with each link that was made.
        gave_up: called when the scheduler was not to be found for too long, or is somebody else's, or takes others only,
            with the reason.
        patience_s: how long is too long.
    """

    def __init__(
        self,
        reactor: Any,
        link_to: Callable[[], Awaitable[Link]],
        joined: Callable[[Link], None],
        gave_up: Callable[[str], None],
        patience_s: float,
    ) -> None:
        self._reactor = reactor
        self._link_to = link_to
        self._joined = joined
        self._gave_up = gave_up
        self._patience_s = patience_s
        self._since: float | None = None
        """When the scheduler was missed first."""
        self._tries = 0
        self._timer: Timer | None = None
        self._stopped = False

    def now(self) -> None:
        """Join now; if that fails, again after a pause, and again, until it works, `stop` is called or patience ends."""
        self._since = self._reactor.seconds()
        self._tries = 1
        self._try()

    async def _join(self) -> None:
        link = await self._link_to()
        if self._stopped:
            link.close("the worker ends")
        else:
            self._joined(link)

    def welcome(self) -> None:
        """The scheduler took us: the next pause is a short one again."""
        self._tries = 0
        self._since = None

    def again(self, reason: str) -> None:
        """The same after a pause, unless there have been enough tries. `reason`: why it is needed."""
        if self._stopped or self._timer is not None:
            return
        now = self._reactor.seconds()
        if self._since is None:
            self._since = now
        left = self._since + self._patience_s - now
        if left <= 0.0 and self._tries:
            self.give_up(reason)
            return
        log_event("info", "the scheduler can't be reached; trying again", {"error": reason})
        pause = min(pause_s(self._tries, random.random()), max(left, 0.0))
        self._tries += 1
        self._timer = self._reactor.callLater(pause, self._try)

    def stop(self) -> None:
        """Let it be."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _try(self) -> Deferred[None]:
        self._timer = None
        return ensureDeferred(self._join_or_wait())

    async def _join_or_wait(self) -> None:
        try:
            await self._join()
        except (AccessDenied, VersionMismatch) as error:
            self.give_up(str(error))
        except (ClusterUnreachable, ProtocolError, OSError) as error:
            self.again(str(error))
        except Exception as error:  # a fault of ours must not leave a worker that does nothing, and says nothing
            _log.failure("joining failed")
            self.again(f"{type(error).__name__}: {error}")

    def give_up(self, reason: str) -> None:
        """Look no more: trying again would not help."""
        if not self._stopped:
            self._stopped = True
            self._gave_up(reason)

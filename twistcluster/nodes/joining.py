"""How a standalone worker keeps its link to a scheduler: it joins, and joins again when the link is lost.

Owns: when another try is due. Must not know: what is said on the link, what a worker does.
"""

import random
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, ensureDeferred

from twistcluster.errors import AccessDenied, ClusterUnreachable, ProtocolError
from twistcluster.net.channel import Channel, LinkOwner
from twistcluster.net.link import Link
from twistcluster.net.turn import Timer, Turn
from twistcluster.net.unix import connect_link
from twistcluster.nodes.logging import log_event
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import SchedulerToWorker

__all__ = ["Joining", "pause_s"]

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0


def pause_s(tries: int, chance: float) -> float:
    """How long to wait after so many tries that failed; `chance`, from 0 to 1, keeps many workers from coming at once."""
    doublings = min(tries, 16)  # 2.0**1024 is more than a float holds
    return float(min(FIRST_PAUSE_S * 2.0**doublings, LONGEST_PAUSE_S)) * (0.5 + chance / 2)


class Joining:
    """Keeps a node linked.

    Args:
        reactor: Twisted's.
        turn: shared by the node's links.
        owner: of each link.
        find: gives the path of the scheduler's socket.
        joined: called with each link that was made.
    """

    def __init__(
        self,
        reactor: Any,
        turn: Turn,
        owner: LinkOwner,
        find: Callable[[], str],
        joined: Callable[[Channel], None],
    ) -> None:
        self._reactor = reactor
        self._turn = turn
        self._owner = owner
        self._find = find
        self._joined = joined
        self._tries = 0
        self._timer: Timer | None = None
        self._stopped = False

    async def join(self) -> None:
        """Join now.

        Raises:
            ClusterUnreachable: there is nobody to join.
            AccessDenied: it is somebody else's.
        """
        link = Link(self._owner, self._turn, self._reactor, incoming=Codec(SchedulerToWorker))
        await connect_link(self._reactor, self._find(), link)
        if self._stopped:
            link.close("the worker ends")
        else:
            self._joined(link)

    def welcome(self) -> None:
        """The scheduler took us: the next pause is a short one again."""
        self._tries = 0

    def again(self) -> None:
        """Join again after a pause, and again, until it works or `stop` is called."""
        if self._stopped or self._timer is not None:
            return
        pause = pause_s(self._tries, random.random())
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
            await self.join()
        except (ClusterUnreachable, AccessDenied, ProtocolError, OSError) as error:
            log_event("info", "the scheduler can't be reached; trying again", {"error": str(error)})
            self.again()

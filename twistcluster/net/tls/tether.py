"""A member's link to its scheduler over a network, where a dead machine says nothing, and certificates end.

Owns: connecting with the member's certificate, noticing that nothing comes any more, renewing the certificate before it
ends. All else that is said goes to the link's owner. Must not know: what that is, how a lost link is made again.

- On one host the end of a process ends its links. Over a network a peer can be gone without a word, so there is something
  to hear every second: a scheduler answers heartbeats (a worker's machine sends its own; for a client it is done here).
- Any bytes count: a long frame over a slow line is as good as a heartbeat. Time in which this process slept counts for
  nothing, as in the scheduler's own vigil (core/vigil.py).
"""

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from twistcluster.core.vigil import AT_MOST_S, LOOK_S, LOST_AFTER_S
from twistcluster.errors import TwistclusterError
from twistcluster.net.channel import Channel, LinkOwner
from twistcluster.net.link import Link
from twistcluster.net.states import LinkState
from twistcluster.net.tls.certificates import read_certificate
from twistcluster.net.tls.ends import ClientEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import connect_tls
from twistcluster.net.tls.membership import Membership
from twistcluster.net.turn import Timer, Turn
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Heartbeat, Message, Renew, Renewed

__all__ = ["Tether"]

ASK_AGAIN_S: Final = 3600.0
"""A renewal that wasn't answered is asked for again after so long."""

_log = Logger()


class Tether:
    """One link, from its making to its end.

    Args:
        reactor: Twisted's.
        turn: shared with other links of this program.
        owner: of the link.
        incoming: the codec of what comes.
        member: what it shows there.
        beats: whether heartbeats are sent here.
        lost_after_s: how much silence is a loss.
        clock: wall-clock seconds.
    """

    def __init__(
        self,
        reactor: Any,
        turn: Turn,
        owner: LinkOwner,
        incoming: Codec,
        member: Membership,
        *,
        beats: bool,
        lost_after_s: float = LOST_AFTER_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.link = Link(self, turn, reactor, incoming)
        self._reactor = reactor
        self._owner = owner
        self._member = member
        self._beats = beats
        self._lost_after_s = lost_after_s
        self._clock = clock
        self._identity: Identity | None = None
        self._timer: Timer | None = None
        self._looked = 0.0
        self._silent_s = 0.0
        self._asked_at: float | None = None

    async def connect(self) -> Link:
        """Connect, with the certificate that is kept now.

        Raises:
            AccessDenied: there is none that can be shown; or what listens there isn't the cluster's scheduler.
            ClusterUnreachable: nobody listens there.
        """
        self._identity = self._member.identity()
        await connect_tls(self._reactor, *self._member.address, self.link, ClientEnd(self._identity))
        if self.link.state not in {LinkState.CLOSING, LinkState.CLOSED}:
            self._looked = self._reactor.seconds()
            self._timer = self._reactor.callLater(LOOK_S, self._look)
        return self.link

    # ---- the link's owner ----

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """The scheduler said something."""
        kind = type(message)
        if kind is Renewed:
            self._renewed(message)  # type: ignore[arg-type]
        elif kind is not Heartbeat or not self._beats:
            self._owner.on_message(link, message, buffers)

    def on_lost(self, link: Channel, reason: str) -> None:
        """The link is gone."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._owner.on_lost(link, reason)

    def on_paused(self, link: Channel) -> None:
        """The scheduler reads slowly."""
        self._owner.on_paused(link)

    def on_resumed(self, link: Channel) -> None:
        """It has caught up."""
        self._owner.on_resumed(link)

    # ---- silence ----

    def _look(self) -> None:
        self._timer = self._reactor.callLater(LOOK_S, self._look)
        now, wire = self._reactor.seconds(), self.link.transport
        passed_s, self._looked = min(now - self._looked, AT_MOST_S), now
        if wire.heard:  # type: ignore[union-attr] # the wire of connect_tls
            wire.heard = False  # type: ignore[union-attr]
            self._silent_s = 0.0
        else:
            self._silent_s += passed_s
        if self._silent_s >= self._lost_after_s:
            self.link.abort(
                f"nothing was heard from {self._member.address} for {self._silent_s:.0f} s: the machine, or the network "
                "on the way to it, is gone"
            )
        elif self.link.state is LinkState.OPEN:
            if self._beats and self._silent_s:
                self.link.send(Heartbeat())
            self._renew_in_time(now)

    # ---- the certificate's life ----

    def _renew_in_time(self, now: float) -> None:
        assert self._identity is not None
        due = self._identity.due_for_renewal(self._clock())
        if due and (self._asked_at is None or now >= self._asked_at + ASK_AGAIN_S):
            self._asked_at = now
            self.link.send(Renew(self._identity.request))

    def _renewed(self, message: Renewed) -> None:
        """Kept, and shown from the next link on."""
        before = self._identity
        assert before is not None
        try:
            identity = Identity(before.key, read_certificate(message.certificate), before.authority)
            if identity.peer._replace(serial="") != before.peer._replace(serial=""):
                _log.warn("a renewed certificate is somebody else's: it isn't kept")
                return
            self._member.save(identity)
        except (TwistclusterError, OSError) as error:
            _log.warn("a renewed certificate could not be kept: {error}", error=str(error))
            return
        self._identity = identity
        _log.info("the certificate was renewed")

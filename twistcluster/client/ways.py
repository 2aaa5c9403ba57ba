"""The way to a cluster: over a Unix socket on this host, or over TLS to another.

Owns: how a session's link is made and connected, and what a lost cluster is looked for by. Must not know: what is said on
the link. TLS is imported where it is used: it is an extra.
"""

from typing import TYPE_CHECKING, Any, Final, Protocol

from twistcluster.client.launch import Connection, come_back
from twistcluster.net.addresses import parse_address
from twistcluster.net.channel import LinkOwner
from twistcluster.net.link import Link
from twistcluster.net.turn import Turn
from twistcluster.net.unix import connect_link
from twistcluster.nodes.hosting import lost_after_s
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import SchedulerToClient

if TYPE_CHECKING:
    from twistcluster.net.tls.tether import Tether

__all__ = ["Way", "longest_pause", "look_for", "way_to"]

LONGEST_PAUSE: Final = 0.4
"""Between two looks for a cluster of this host. A scheduler that came back waits a second for its clients."""
LONGEST_PAUSE_ELSEWHERE: Final = 5.0

_incoming: Codec = Codec(SchedulerToClient)


class Way(Protocol):
    """One link to a cluster, that isn't connected yet."""

    link: Link

    async def connect(self) -> Link:
        """Connect it.

        Raises:
            ClusterUnreachable: nobody is there.
            AccessDenied: it is somebody else's, or takes somebody else only.
        """


class _Here:
    """Over the cluster's socket on this host."""

    def __init__(self, connection: Connection, owner: LinkOwner, turn: Turn, reactor: Any) -> None:
        self.link = Link(owner, turn, reactor, _incoming)
        self._path = connection.socket
        self._reactor = reactor

    async def connect(self) -> Link:
        return await connect_link(self._reactor, self._path, self.link)


def way_to(connection: Connection, owner: LinkOwner, turn: Turn, reactor: Any) -> Way:
    """The way to this cluster, for one link of this owner."""
    return _tether(connection, owner, turn, reactor) if connection.address else _Here(connection, owner, turn, reactor)


def _tether(connection: Connection, owner: LinkOwner, turn: Turn, reactor: Any) -> "Tether":
    from twistcluster.net.tls.membership import Membership
    from twistcluster.net.tls.tether import Tether

    member = Membership(parse_address(connection.address), "client")
    return Tether(reactor, turn, owner, _incoming, member, beats=True, lost_after_s=lost_after_s())


def look_for(gone: Connection) -> Connection | None:
    """A named cluster whose link was lost, where it may be again: one of this host as `come_back` says, another at its
    address, where nobody here could start it.
    """
    return gone if gone.address else come_back(gone)


def longest_pause(gone: Connection) -> float:
    """Between two looks for it, in seconds: those who look for one elsewhere may be many."""
    return LONGEST_PAUSE_ELSEWHERE if gone.address else LONGEST_PAUSE

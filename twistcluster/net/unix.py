"""Unix sockets: listening, connecting, and whose process is at the other end.

Owns: the socket's mode (0600 from the first instant), the check of the peer's uid on both sides, and the limits on
connections. Must not know: where sockets lie (net/places.py), what is said on them.
"""

import os
import socket
import struct
from typing import Any, Final

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net.link import Link, LinkOwner
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Timers, Turn
from twistcluster.wire import limits

__all__ = ["Door", "adopt", "connect", "connect_link", "listen", "peer_uid"]

BACKLOG: Final = 128
RETRY_SECONDS: Final = 0.01

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_log = Logger()


def peer_uid(sock: socket.socket) -> int:
    """The user whose process is at the other end (as it was when it connected or began to listen)."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


class _GuardedLink(Link):
    """A listening end that turns away other users before they can say anything."""

    uid = 0

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        uid = peer_uid(self.transport.getHandle())  # type: ignore[union-attr]
        if uid != self.uid:
            _log.warn("a process of another user was turned away", uid=uid)
            self.refuse("access", f"this cluster belongs to the user with id {self.uid}, not to id {uid}")


class Door(Factory):
    """Makes a link of each connection, and keeps strangers from filling the house.

    At the limit of connections that haven't said `Hello`, the oldest of them makes room: who means well has said it
    within milliseconds.
    """

    noisy = False

    def __init__(self, owner: LinkOwner, turn: Turn, reactor: Timers, uid: int) -> None:
        self._owner = owner
        self._turn = turn
        self._reactor = reactor
        self._uid = uid
        self._waiting: list[Link] = []
        self.links: set[Link] = set()

    def buildProtocol(self, addr: IAddress) -> Link | None:  # type: ignore[override] # noqa: N802
        """A connection came."""
        self.links = {link for link in self.links if link.state is not LinkState.CLOSED}
        if len(self.links) >= limits.CONNECTIONS:
            _log.warn("a connection was turned away: there are {count} already", count=len(self.links))
            return None
        self._waiting = [link for link in self._waiting if link.state is LinkState.OPENING]
        if len(self._waiting) >= limits.UNWELCOMED_CONNECTIONS:
            self._waiting.pop(0).refuse("limit", "too many connections that have not said Hello")
        link = _GuardedLink(self._owner, self._turn, self._reactor)
        link.uid = self._uid
        self.links.add(link)
        self._waiting.append(link)
        return link


def listen(reactor: Any, path: str, owner: LinkOwner, turn: Turn, uid: int | None = None) -> IListeningPort:
    """Listen on a Unix socket; each connection becomes a `Link` of `owner`.

    Args:
        reactor: one that knows Unix sockets.
        path: of the socket, in a folder of mode 0700; whatever lies there is an error.
        owner: of the links.
        turn: shared by the node's links.
        uid: whose processes may connect; this process's user if not given.

    Raises:
        twisted.internet.error.CannotListenError: the path is taken, too long, or can't be written.
    """
    door = Door(owner, turn, reactor, os.geteuid() if uid is None else uid)
    before = os.umask(0o177)  # Twisted sets the mode after bind; in between it would be what the umask allows
    try:
        port: IListeningPort = reactor.listenUNIX(path, door, backlog=BACKLOG, mode=0o600)
    finally:
        os.umask(before)
    return port


def adopt(reactor: Any, sock: socket.socket, link: Link) -> Link:
    """Carry `link` over a connected socket; the socket object is closed, its connection lives on."""
    sock.setblocking(False)
    reactor.adoptStreamConnection(sock.fileno(), sock.family, _Once(link))
    sock.close()
    return link


async def connect_link(reactor: Any, path: str, link: Link, timeout_s: float = 5.0, uid: int | None = None) -> Link:
    """Connect to a Unix socket and carry `link` over it.

    Raises:
        ClusterUnreachable: nobody listens there.
        AccessDenied: somebody else does, or the socket is another user's.
    """
    allowed = os.geteuid() if uid is None else uid
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        deadline = reactor.seconds() + timeout_s
        while not _try_connect(sock, path):
            if reactor.seconds() > deadline:
                raise ClusterUnreachable(f"the cluster at {path} took no connection within {timeout_s:g} s")
            await _sleep(reactor, RETRY_SECONDS)
        owner = peer_uid(sock)
        if owner != allowed:
            raise AccessDenied(f"the cluster at {path} belongs to the user with id {owner}, not to you (id {allowed})")
        return adopt(reactor, sock, link)
    finally:
        sock.close()


def connect(reactor: Any, path: str, link: Link, timeout_s: float = 5.0) -> Deferred[Link]:
    """`connect_link` for those who want a Deferred."""
    return ensureDeferred(connect_link(reactor, path, link, timeout_s))


def _try_connect(sock: socket.socket, path: str) -> bool:
    """Whether it is connected now; False: the listener's queue is full, try again."""
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    except PermissionError as error:
        raise AccessDenied(f"the socket {path} belongs to somebody else") from error
    except OSError as error:
        raise ClusterUnreachable(f"no cluster listens at {path}: {error.strerror or error}") from error
    return True


def _sleep(reactor: Timers, seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


class _Once(Factory):
    """Hands out the one link that was made already."""

    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, addr: IAddress | UNIXAddress | None) -> Link:  # noqa: N802
        return self._link

"""Unix sockets: listening, connecting, and whose process is at the other end.

Owns: the socket's mode (0600 from the first instant), and the check of who listens and who connects. Must not know:
where sockets lie (net/places.py), how many are let in (net/door.py), what is said on links.
"""

import os
import socket
import struct
from typing import Any, Final

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger

from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net.channel import LinkOwner
from twistcluster.net.door import BACKLOG, Door, GuardedLink
from twistcluster.net.link import Link
from twistcluster.net.turn import Timers, Turn
from twistcluster.wire.budget import Budget

__all__ = ["adopt", "connect", "connect_link", "listen"]

RETRY_SECONDS: Final = 0.01
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_log = Logger()


def peer_uid(sock: socket.socket) -> int:
    """The user whose process is at the other end (as it was when it connected or began to listen)."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


class _UnixDoor(Door):
    """Of a Unix socket: the processes of one user may connect."""

    def __init__(self, owner: LinkOwner, turn: Turn, reactor: Timers, uid: int) -> None:
        super().__init__(owner, turn, reactor)
        self.uid = uid

    def make(
        self, owner: LinkOwner, turn: Turn, reactor: Timers, budget: Budget
    ) -> tuple[GuardedLink, TwistedProtocol]:
        """A link, which its connection's bytes go to."""
        link = _OwnersLink(self, owner, turn, reactor, budget)
        return link, link


class _OwnersLink(GuardedLink):
    """Turns away other users."""

    _door: _UnixDoor

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        uid = peer_uid(self.transport.getHandle())  # type: ignore[union-attr]
        if uid != self._door.uid:
            _log.warn("a process of another user was turned away", uid=uid)
            self.refuse("access", f"this cluster belongs to the user with id {self._door.uid}, not to id {uid}")


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
    door = _UnixDoor(owner, turn, reactor, os.geteuid() if uid is None else uid)
    before = os.umask(0o177)  # Twisted sets the mode after bind; in between it would be what the umask allows
    try:
        port: IListeningPort = reactor.listenUNIX(path, door, backlog=BACKLOG, mode=0o600)
    finally:
        os.umask(before)
    door.accept_from(port)
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

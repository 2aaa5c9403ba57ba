"""A listening socket's door: how connections are taken, a few at a time, and who may stay.

Owns: accepting, the end that listens of each link, and what happens when the process can open no more files. Must not
know: where the socket lies, what is said on links.

Accepting is done here, in place of the port's `doRead`: Twisted takes a hundred connections and more in one turn,
and closes whoever comes while no more files can be opened.
"""

import os
import socket
import struct
from typing import Any, Final

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from twistcluster.net.channel import LinkOwner
from twistcluster.net.gate import Gate
from twistcluster.net.link import Link
from twistcluster.net.states import LinkEvent
from twistcluster.net.turn import Timers, Turn
from twistcluster.wire import limits
from twistcluster.wire.budget import Budget

__all__ = ["Door", "peer_uid"]

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_log = Logger()


def peer_uid(sock: socket.socket) -> int:
    """The user whose process is at the other end (as it was when it connected or began to listen)."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


class _GuardedLink(Link):
    """The end that listens. It turns away other users, and whoever finds the house full, before they can say anything."""

    def __init__(self, door: "Door", owner: LinkOwner, turn: Turn, reactor: Timers, budget: Budget) -> None:
        super().__init__(owner, turn, reactor, budget=budget)
        self._door = door
        self.turned_away = False

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        uid = peer_uid(self.transport.getHandle())  # type: ignore[union-attr]
        if uid != self._door.uid:
            _log.warn("a process of another user was turned away", uid=uid)
            self.refuse("access", f"this cluster belongs to the user with id {self._door.uid}, not to id {uid}")
        elif self.turned_away:
            self.refuse("limit", f"{len(self._door.gate):,} connections are open, more are not taken: close some first")

    def _pass(self, event: LinkEvent) -> None:
        super()._pass(event)
        if event is LinkEvent.LOST:
            self._door.gate.left(self)
        elif event is not LinkEvent.WELCOME:
            self._door.gate.greeted(self)


class Door(Factory):
    """Makes a link of each connection, and keeps strangers from filling the house.

    Args:
        owner: of the links.
        turn: shared by the node's links.
        reactor: Twisted's.
        uid: whose processes may connect.
        gate: who may stay.
    """

    noisy = False

    def __init__(self, owner: LinkOwner, turn: Turn, reactor: Timers, uid: int, gate: "Gate[Link]") -> None:
        self.uid = uid
        self.gate = gate
        self._owner = owner
        self._turn = turn
        self._reactor = reactor
        self._budget = Budget()
        self._port: Any = None

    def accept_from(self, port: Any) -> None:
        """Take the connections of a port that listens."""
        self._port = port
        port.doRead = self._accept

    def buildProtocol(self, addr: IAddress | None) -> Link:  # noqa: N802
        """A connection came."""
        link = _GuardedLink(self, self._owner, self._turn, self._reactor, self._budget)
        gone = self.gate.enter(link)
        if gone is link:
            _log.warn("a connection was turned away: {count} are open already", count=len(self.gate))
            link.turned_away = True
        elif gone is not None:
            _refuse(gone)
        return link

    def _accept(self) -> None:
        """In place of the port's `doRead`: a few connections, then it is others' turn."""
        for _ in range(limits.ACCEPTS_PER_TURN):
            try:
                sock = self._port.socket.accept()[0]
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:  # no more files, or no memory for one
                self._pause(error)
                return
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        """Carry a link over a connection; whatever is wrong with that costs this connection alone."""
        port = self._port
        link = self.buildProtocol(None)
        try:
            transport = port.transport(sock, link, b"", port, port.sessionno, port.reactor)
            port.sessionno += 1
            link.makeConnection(transport)  # type: ignore[no-untyped-call]
        except Exception:
            _log.failure("a connection could not be taken")
            self.gate.left(link)
            sock.close()

    def _pause(self, error: OSError) -> None:
        """Let newcomers wait in the system's queue; asking it again at once would only cost time."""
        _log.warn("no connection can be taken for now: {error}", error=os.strerror(error.errno or 0))
        for _ in range(limits.ACCEPTS_PER_TURN):
            if (gone := self.gate.oldest()) is not None:
                _refuse(gone)
        self._port.stopReading()
        self._reactor.callLater(limits.ACCEPT_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._port.connected:
            self._port.startReading()


def _refuse(link: Link) -> None:
    link.refuse("limit", "too many connections have not said Hello: this one has not for longest")

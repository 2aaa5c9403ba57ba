"""A listening socket's door: how connections are taken, a few at a time, and how many may stay.

Owns: accepting, the end that listens of each link, and what happens when the process can open no more files. Must not
know: where the socket lies, whose connections may stay (its kinds do: net/unix.py, net/tls_door.py), what is said on
links.

Accepting is done here, in place of the port's `doRead`: Twisted takes a hundred connections and more in one turn,
and closes whoever comes while no more files can be opened.
"""

import abc
import os
import resource
import socket
from typing import Any, Final

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from twistcluster.net.channel import LinkOwner
from twistcluster.net.gate import Gate
from twistcluster.net.link import Link
from twistcluster.net.states import LinkEvent
from twistcluster.net.turn import Timers, Turn
from twistcluster.wire import limits
from twistcluster.wire.budget import Budget

__all__ = ["BACKLOG", "Door", "GuardedLink"]

BACKLOG: Final = 128
_log = Logger()


class GuardedLink(Link):
    """The end that listens. It turns away whoever finds the house full, before it can say anything."""

    def __init__(self, door: "Door", owner: LinkOwner, turn: Turn, reactor: Timers, budget: Budget) -> None:
        super().__init__(owner, turn, reactor, budget=budget)
        self._door = door
        self.turned_away = False

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """The connection is there."""
        super().connectionMade()
        if self.turned_away:
            self.refuse("limit", f"{len(self._door.gate):,} connections are open, more are not taken: close some first")

    def _pass(self, event: LinkEvent) -> None:
        super()._pass(event)
        if event is LinkEvent.LOST:
            self._door.gate.left(self)
        elif event is not LinkEvent.WELCOME:
            self._door.gate.greeted(self)


class Door(Factory, abc.ABC):
    """Makes a link of each connection, and keeps strangers from filling the house.

    Args:
        owner: of the links.
        turn: shared by the node's links.
        reactor: Twisted's.
    """

    noisy = False

    def __init__(self, owner: LinkOwner, turn: Turn, reactor: Timers) -> None:
        self.gate: Gate[GuardedLink] = Gate(min(limits.CONNECTIONS, _files() // 2), limits.UNWELCOMED_CONNECTIONS)
        self._owner = owner
        self._turn = turn
        self._reactor = reactor
        self._budget = Budget()
        self._port: Any = None

    @abc.abstractmethod
    def make(self, owner: LinkOwner, turn: Turn, reactor: Timers, budget: Budget) -> tuple[GuardedLink, Protocol]:
        """A link, and what a connection's bytes go to: the link, or what carries it."""

    def accept_from(self, port: Any) -> None:
        """Take the connections of a port that listens."""
        self._port = port
        port.doRead = self._accept

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: N802
        """A connection came."""
        return self._enter()[1]

    def _enter(self) -> tuple[GuardedLink, Protocol]:
        link, protocol = self.make(self._owner, self._turn, self._reactor, self._budget)
        gone = self.gate.enter(link)
        if gone is link:
            _log.warn("a connection was turned away: {count} are open already", count=len(self.gate))
            link.turned_away = True
        elif gone is not None:
            _refuse(gone)
        return link, protocol

    def _accept(self) -> None:
        """In place of the port's `doRead`: a few connections, then it is others' turn."""
        for _ in range(limits.ACCEPTS_PER_TURN):
            try:
                sock, address = self._port.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:  # no more files, or no memory for one
                self._pause(error)
                return
            self._take(sock, address)

    def _take(self, sock: socket.socket, address: Any) -> None:
        """Carry a link over a connection; whatever is wrong with that costs this connection alone."""
        port = self._port
        link, protocol = self._enter()
        try:
            transport = port.transport(sock, protocol, address, port, port.sessionno, port.reactor)
            port.sessionno += 1
            protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
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


def _files() -> int:
    """How many this process may open. Slots, stores and logs need some too: connections get half."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * limits.CONNECTIONS if soft == resource.RLIM_INFINITY else soft


def _refuse(link: GuardedLink) -> None:
    link.refuse("limit", "too many connections have not said Hello: this one has not for longest")

"""A TLS connection in the place of a link's socket.

Owns: `TlsWire`, which stands between a `Link` and Twisted's TLS: the link reads and writes it as it would a socket of its
own, so that limits and backpressure are the same on both. Must not know: certificates, who may connect, what is said.

A link decides itself when it reads and how much, and it holds what its peer doesn't take yet. Twisted's TLS hands over
whatever comes and takes whatever it is given. So what came and isn't read waits here, a record or two, while the
connection is asked for no more; and what is written is taken only until the connection says that it is full.
"""

import collections
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from OpenSSL.SSL import RECEIVED_SHUTDOWN, Connection
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twistcluster.errors import TwistclusterError
from twistcluster.net.link import Link
from twistcluster.net.tls.ends import ClientEnd, JoiningEnd, ServerEnd
from twistcluster.net.turn import Timer, Timers
from twistcluster.wire import limits
from twistcluster.wire.frames import Buffer

__all__ = ["TlsWire"]

KEEPALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds of silence until the system asks, seconds between its questions, and how many stay without an answer."""
TAKEN_BYTES: Final = 256 * limits.KIB
"""The most that is taken at once: the connection says that it is full only after what it was given."""


@implementer(IHandshakeListener, IPushProducer)
class TlsWire(Protocol):
    """What a link has for a transport, over a connection of Twisted's TLS.

    Args:
        link: it is carried from the end of the handshake on.
        reactor: for time-outs.
        end: knows why a connection was lost.
        ready: called with the connection's TLS at the end of the handshake, before the link is carried.
        failed: called with the reason if the connection is gone before that.
    """

    transport: Any

    def __init__(
        self,
        link: Link,
        reactor: Timers,
        end: ServerEnd | ClientEnd | JoiningEnd,
        ready: Callable[[Connection], None],
        failed: Callable[[TwistclusterError], None],
    ) -> None:
        self.bufferSize = 0  # the link's names for what it sets on a transport: Twisted's
        self.doRead: Callable[[], Any] = _nothing
        self.doWrite: Callable[[], Any] = _nothing
        self.heard = False
        """Something came since somebody set this to False."""
        self._link = link
        self._reactor = reactor
        self._end = end
        self._ready = ready
        self._failed = failed
        self._carried = False
        self._came: collections.deque[memoryview] = collections.deque()
        self._ended: Failure | None = None
        self._stopped = False
        """The link reads nothing more."""
        self._held = False
        """The connection was asked for no more."""
        self._through = False
        """The link wants nothing more of the connection but its end."""
        self._full = False
        self._writes = False
        """The link has something that it wants to write."""
        self._timers: dict[str, Timer] = {}

    # ---- what Twisted calls ----

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """The connection is there; the handshake begins."""
        self.transport.setTcpNoDelay(True)  # a link writes once in a turn already
        self._ask_for_life()
        self.transport.registerProducer(self, True)
        self._timers["handshake"] = self._reactor.callLater(limits.OPENING_SECONDS, self.abortConnection)

    def _ask_for_life(self) -> None:
        """Have the system ask a peer that says nothing whether it is there: a host that lost its power never says so."""
        self.transport.setTcpKeepAlive(True)
        sock = self.transport.transport.getHandle()
        for option, value in KEEPALIVE.items():
            if (number := getattr(socket, option, None)) is not None:  # not every system has them all
                sock.setsockopt(socket.IPPROTO_TCP, number, value)

    def handshakeCompleted(self) -> None:  # noqa: N802
        """Both sides know each other, as far as they are going to."""
        self._timers.pop("handshake").cancel()
        self._ready(self.transport.getHandle())
        if self._ended is None:
            self._carried = True
            self._link.makeConnection(self)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Bytes came."""
        if self._through:
            return
        self.heard = True
        self._came.append(memoryview(data))
        if len(self._came) == 1:
            self._read()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """The connection is gone. The link first gets what came before."""
        self._ended = reason
        self._writes = False
        for what in ("handshake", "write"):
            if (timer := self._timers.pop(what, None)) is not None and timer.active():
                timer.cancel()
        if not self._carried:
            self._failed(self._why(reason))
        elif not self._came or self._stopped or self._through:
            self._finish()

    def pauseProducing(self) -> None:  # noqa: N802
        """The connection is full."""
        self._full = True

    def resumeProducing(self) -> None:  # noqa: N802
        """It has room."""
        self._full = False
        if self.transport.getHandle().get_shutdown() & RECEIVED_SHUTDOWN:
            # The peer has ended it. Twisted's TCP ends only without a producer, where one was held up before.
            self.transport.unregisterProducer()
        elif self._writes:
            self._write()

    def stopProducing(self) -> None:  # noqa: N802
        """It ends; `connectionLost` follows."""
        self._full = True

    # ---- the link's transport ----

    def getHandle(self) -> "TlsWire":  # noqa: N802
        """The socket that a link reads and writes: this."""
        return self

    def fileno(self) -> int:
        """Of the connection's socket."""
        return int(self.transport.transport.fileno())

    @property
    def local_host(self) -> str:
        """The address that this end of the connection has."""
        return str(self.transport.getHost().host)

    def startReading(self) -> None:  # noqa: N802
        """The link reads."""
        self._stopped = False
        self._later("read", self._read)

    def stopReading(self) -> None:  # noqa: N802
        """The link reads nothing for now."""
        self._stopped = True
        self._hold()

    def startWriting(self) -> None:  # noqa: N802
        """The link has more to write; its `doWrite` is called when there is room."""
        self._writes = True
        if not self._full:
            self._later("write", self._write)

    def stopWriting(self) -> None:  # noqa: N802
        """It has nothing more to write."""
        self._writes = False

    def abortConnection(self) -> None:  # noqa: N802
        """End it at once."""
        self._stopped = True
        self._came.clear()
        if self._ended is None:
            self.transport.abortConnection()

    # ---- the link's socket ----

    def recv(self, size: int) -> bytes:
        """Up to so many of the bytes that came; none at the end.

        Raises:
            BlockingIOError: none are here.
        """
        if not self._came:
            if self._ended is not None:
                return b""
            raise BlockingIOError
        found: list[memoryview] = []
        while self._came and size:
            first = self._came.popleft()
            if len(first) > size:
                self._came.appendleft(first[size:])
                first = first[:size]
            size -= len(first)
            found.append(first)
        return b"".join(found)

    def send(self, data: Buffer) -> int:
        """Take as much of it as there is room for; returns how many bytes.

        Raises:
            BlockingIOError: the connection is full.
            BrokenPipeError: it is gone.
        """
        return self.sendmsg([data])

    def sendmsg(self, pieces: Sequence[Buffer]) -> int:
        """As `send`, of several."""
        if self._ended is not None:
            raise BrokenPipeError
        if self._full:
            raise BlockingIOError
        taken: list[memoryview] = []
        room = TAKEN_BYTES
        for piece in pieces:
            taken.append(memoryview(piece).cast("B")[:room])
            room -= len(taken[-1])
            if not room:
                break
        self.transport.write(b"".join(taken))
        return TAKEN_BYTES - room

    # ---- inside ----

    def _read(self) -> None:
        """Let the link read what came, as far as it does."""
        self._timers.pop("read", None)
        while self._carried and not self._stopped and (self._came or self._ended is not None):
            before = len(self._came), len(self._came[0]) if self._came else 0
            if (ended := self.doRead()) is not None:
                self._lose(ended)
                return
            if self._came and before == (len(self._came), len(self._came[0])):
                # It has messages that it must handle first.
                self._hold()
                self._later("read", self._read)
                return
        if self._held and not self._stopped and self._ended is None:
            self._held = False
            self.transport.resumeProducing()

    def _told(self) -> Failure:
        """How the link hears of the end: with TLS's reason, unless the peer just closed it."""
        ended = self._ended or connectionDone
        if isinstance(ended.value, ConnectionDone):
            return ended
        return Failure(self._why(ended))  # type: ignore[no-untyped-call]

    def _why(self, reason: Failure) -> TwistclusterError:
        assert reason.value is not None
        return self._end.explain(self.transport.getHandle(), reason.value)

    def _write(self) -> None:
        self._timers.pop("write", None)
        while self._writes and not self._full and self._ended is None:
            if (ended := self.doWrite()) is not None:
                self._lose(ended)
                return

    def _lose(self, why: Any) -> None:
        """The link is through with the connection."""
        self._through, self._writes = True, False
        self._came.clear()
        if self._ended is not None:
            self._finish()
            return
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        if self._held:  # TLS ends with a word from both sides
            self.transport.resumeProducing()

    def _hold(self) -> None:
        if not self._held and self._ended is None:
            self._held = True
            self.transport.pauseProducing()

    def _later(self, what: str, call: Callable[[], None]) -> None:
        if what not in self._timers:
            self._timers[what] = self._reactor.callLater(0, call)

    def _finish(self) -> None:
        """The link hears of the end, once."""
        if (timer := self._timers.pop("read", None)) is not None and timer.active():
            timer.cancel()
        if self._carried:
            self._carried = False
            self._link.connectionLost(self._told())


def _nothing() -> None:
    """Before the link is carried."""

"""TLS connections: listening, connecting, and what a peer may say for its certificate.

Owns: a port of TLS and its links, and the rule that a peer's role is the one in its certificate. Must not know: how
certificates are made and checked, how many peers are let in (net/door.py), what is said on links.
"""

from collections.abc import Callable
from typing import Any

from OpenSSL.SSL import Connection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from twistcluster.errors import AccessDenied, ClusterUnreachable, ProtocolError
from twistcluster.net.channel import LinkOwner
from twistcluster.net.door import BACKLOG, Door, GuardedLink
from twistcluster.net.link import Link
from twistcluster.net.peers import Peer
from twistcluster.net.tls_wire import TlsWire
from twistcluster.net.turn import Timers, Turn
from twistcluster.wire.budget import Budget
from twistcluster.wire.messages import Hello, Join, Message

__all__ = ["Checked", "connect_tls", "listen_tls"]

Checked = Callable[[Connection], Peer | None]
"""Whose certificate a connection has shown, which was checked in the handshake; None: it has shown none."""

_log = Logger()


def listen_tls(
    reactor: Any,
    host: str,
    port: int,
    owner: LinkOwner,
    turn: Turn,
    tls: IOpenSSLServerConnectionCreator,
    checked: Checked,
) -> IListeningPort:
    """Listen for TLS; each connection becomes a `Link` of `owner`.

    Args:
        reactor: Twisted's.
        host: the address of an interface; "0.0.0.0" or "::" for all of them.
        port: 0 for any that is free.
        owner: of the links.
        turn: shared by the node's links.
        tls: makes each connection's TLS; its handshake fails where a certificate isn't one of the cluster's.
        checked: whose certificate a connection showed.

    Raises:
        twisted.internet.error.CannotListenError: the port is taken, or the address isn't of this host.
    """
    door = _TlsDoor(owner, turn, reactor, tls, checked)
    listening: IListeningPort = reactor.listenTCP(port, door, backlog=BACKLOG, interface=host)
    door.accept_from(listening)
    return listening


async def connect_tls(
    reactor: Any, host: str, port: int, link: Link, tls: IOpenSSLClientConnectionCreator, timeout_s: float = 10.0
) -> Link:
    """Connect to a port of TLS and carry `link` over it, once the handshake is through.

    That doesn't say that the other side takes this one: it has, when `Welcome` comes.

    Raises:
        ClusterUnreachable: nobody listens there, or the connection ended in the handshake.
        AccessDenied: it is not the cluster that was meant, or not its scheduler.
    """
    caller = _Caller(reactor, link)
    factory = TLSMemoryBIOFactory(tls, True, caller, reactor)
    try:
        await HostnameEndpoint(reactor, host, port, timeout=timeout_s).connect(factory)
        await caller.ready
    except (AccessDenied, ClusterUnreachable):
        raise
    except Exception as error:
        raise ClusterUnreachable(f"no cluster can be reached at {host}:{port}: {error}") from error
    return link


class _TlsDoor(Door):
    """Of a port: whoever shows a certificate of the cluster, or none."""

    def __init__(
        self, owner: LinkOwner, turn: Turn, reactor: Timers, tls: IOpenSSLServerConnectionCreator, checked: Checked
    ) -> None:
        super().__init__(owner, turn, reactor)
        self.checked = checked
        self._tls = TLSMemoryBIOFactory(tls, False, Factory(), reactor)

    def make(self, owner: LinkOwner, turn: Turn, reactor: Timers, budget: Budget) -> tuple[GuardedLink, Protocol]:
        """A link, and the TLS that carries it."""
        link = _CertifiedLink(self, owner, turn, reactor, budget)
        return link, self._tls.protocol(self._tls, link.wire)


class _CertifiedLink(GuardedLink):
    """The end that listens. A peer is what its certificate says; one that has none may only ask for one."""

    _door: "_TlsDoor"

    def __init__(self, door: _TlsDoor, owner: LinkOwner, turn: Turn, reactor: Timers, budget: Budget) -> None:
        super().__init__(door, owner, turn, reactor, budget)
        self.wire = TlsWire(self, reactor, self._shook_hands, self._failed)
        self._peer: Peer | None = None

    def close(self, reason: str = "closed") -> None:
        """End it; in the handshake at once, for nothing can be said there."""
        super().close(reason)
        if self.transport is None:
            self.wire.abortConnection()

    def _shook_hands(self, connection: Connection) -> None:
        self._peer = self._door.checked(connection)

    def _failed(self, reason: Failure) -> None:
        _log.warn("a connection ended in its handshake: {reason}", reason=reason.getErrorMessage())
        self.connectionLost(reason)

    def _check(self, message: Message) -> None:
        if isinstance(message, Join):
            if self._peer is not None:
                raise ProtocolError("Join from a peer that has a certificate of this cluster already")
            return
        if isinstance(message, Hello) and (wrong := self._wrong(message)):
            _log.warn("a peer was turned away: {wrong}", wrong=wrong)
            self.refuse("access", wrong)
            return
        super()._check(message)

    def _wrong(self, hello: Hello) -> str:
        if self._peer is None:
            return "the peer showed no certificate of this cluster; it can join it with a token of `twistcluster invite`"
        if self._peer.role != hello.role:
            return f"the peer's certificate is a {self._peer.role}'s, and it came as a {hello.role}"
        return ""


class _Caller(Factory):
    """Hands out the wire of the one link that was made already, and says what becomes of its handshake."""

    noisy = False

    def __init__(self, reactor: Timers, link: Link) -> None:
        self.ready: Deferred[None] = Deferred()
        self._wire = TlsWire(link, reactor, lambda _: self.ready.callback(None), self.ready.errback)

    def buildProtocol(self, addr: IAddress | None) -> TlsWire:  # noqa: N802
        return self._wire

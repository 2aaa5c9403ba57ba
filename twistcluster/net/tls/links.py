"""TLS connections: listening, connecting, and what a peer may say for its certificate.

Owns: a port of TLS and its links, and the rule that a peer's role is the one in its certificate. Must not know: how
certificates are made and checked, how many peers are let in (net/door.py), what is said on links.
"""

from typing import Any

from OpenSSL.SSL import Connection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from twistcluster.errors import AccessDenied, ClusterUnreachable, ProtocolError, TwistclusterError
from twistcluster.net.addresses import Address
from twistcluster.net.channel import LinkOwner
from twistcluster.net.door import BACKLOG, Door, GuardedLink
from twistcluster.net.link import Link
from twistcluster.net.states import LinkState
from twistcluster.net.tls.certificates import Peer
from twistcluster.net.tls.ends import ClientEnd, JoiningEnd, ServerEnd
from twistcluster.net.tls.wire import TlsWire
from twistcluster.net.turn import Timers, Turn
from twistcluster.wire import limits
from twistcluster.wire.budget import Budget
from twistcluster.wire.messages import Hello, Join, Message

__all__ = ["connect_tls", "listen_tls"]

_log = Logger()


def listen_tls(reactor: Any, host: str, port: int, owner: LinkOwner, turn: Turn, end: ServerEnd) -> IListeningPort:
    """Listen for TLS; each connection becomes a `Link` of `owner`.

    Args:
        reactor: Twisted's.
        host: the address of an interface; "0.0.0.0" or "::" for all of them.
        port: 0 for any that is free.
        owner: of the links.
        turn: shared by the node's links.
        end: who may connect.

    Raises:
        twisted.internet.error.CannotListenError: the port is taken, or the address isn't of this host.
    """
    door = _TlsDoor(owner, turn, reactor, end)
    listening: IListeningPort = reactor.listenTCP(port, door, backlog=BACKLOG, interface=host)
    door.accept_from(listening)
    return listening


async def connect_tls(
    reactor: Any, host: str, port: int, link: Link, end: ClientEnd | JoiningEnd, timeout_s: float = 10.0
) -> Link:
    """Connect to a port of TLS and carry `link` over it, once the handshake is through.

    That doesn't say that the other side takes this one: it has, when `Welcome` comes.

    Raises:
        ClusterUnreachable: nobody listens there, or the connection ended in the handshake.
        AccessDenied: it is not the cluster that was meant, or not its scheduler.
    """
    caller = _Caller(reactor, link, end)
    try:
        await HostnameEndpoint(reactor, host, port, timeout=timeout_s).connect(_tls(end, caller, reactor))
    except Exception as error:
        raise ClusterUnreachable(f"nobody can be reached at {host}:{port}: {error}") from error
    try:
        await caller.ready
    except (AccessDenied, ClusterUnreachable) as error:
        raise type(error)(f"{host}:{port}: {error}") from None
    link.here, link.peer = caller.here, caller.peer
    return link


class _TlsDoor(Door):
    """Of a port: whoever shows a certificate of the cluster, or none."""

    def __init__(self, owner: LinkOwner, turn: Turn, reactor: Timers, end: ServerEnd) -> None:
        super().__init__(owner, turn, reactor)
        self.end = end
        self._tls = _tls(end, Factory(), reactor)

    def make(self, owner: LinkOwner, turn: Turn, reactor: Timers, budget: Budget) -> tuple[GuardedLink, Protocol]:
        """A link, and the TLS that carries it."""
        link = _CertifiedLink(self, owner, turn, reactor, budget)
        return link, self._tls.protocol(self._tls, link.wire)


class _CertifiedLink(GuardedLink):
    """The end that listens. A peer is what its certificate says; one that has none may only ask for one."""

    _door: "_TlsDoor"

    def __init__(self, door: _TlsDoor, owner: LinkOwner, turn: Turn, reactor: Timers, budget: Budget) -> None:
        super().__init__(door, owner, turn, reactor, budget)
        self.wire = TlsWire(self, reactor, door.end, self._shook_hands, self._failed)
        self.peer: Peer | None = None
        self._asked = False
        """It said `Join`, and wasn't answered yet."""

    def close(self, reason: str = "closed") -> None:
        """End it; in the handshake at once, for nothing can be said there."""
        super().close(reason)
        if self.transport is None:
            self.wire.abortConnection()

    def _shook_hands(self, connection: Connection) -> None:
        self.peer = self._door.end.peer_of(connection)
        self.where = self._address()

    def _failed(self, error: TwistclusterError) -> None:
        if self.state is not LinkState.CLOSING:
            log = _log.warn if isinstance(error, AccessDenied) else _log.info
            log("a connection from {where} ended in its handshake: {error}", where=self._address(), error=str(error))
        self.connectionLost()

    def _address(self) -> str:
        address = self.wire.transport.getPeer()
        return str(Address(address.host, address.port))

    def _check(self, message: Message) -> bool:
        if isinstance(message, Join):
            if self.peer is not None:
                raise ProtocolError("Join from a peer that has a certificate of this cluster already")
            self._asked = True
            return True
        if isinstance(message, Hello) and (wrong := self._wrong(message)):
            _log.warn("a peer at {where} was turned away: {wrong}", where=self.where, wrong=wrong)
            self.refuse("access", wrong)
            return False
        return super()._check(message)

    def _too_slow(self) -> str:
        if self.peer is not None:
            return super()._too_slow()
        within = f"within {limits.OPENING_SECONDS:g} s"
        if self._asked:
            return f"the cluster could not answer {within}: try again, here the same token is still good"
        return f"Join came too late, or not at all: it is due {within}. Try again, the token is as good as before"

    def _wrong(self, hello: Hello) -> str:
        if self.peer is None:
            return (
                "the peer showed no certificate of this cluster; it can join it with a token of `twistcluster invite`"
            )
        if hello.role not in {"values", self.peer.role}:
            return f"the peer's certificate is a {self.peer.role}'s, and it came as a {hello.role}"
        return ""


def _tls(end: Any, factory: Any, reactor: Any) -> Any:
    """Twisted's: its own types don't fit its interfaces."""
    made = TLSMemoryBIOFactory(end, not end.server, factory, reactor)
    made.protocol = TLSMemoryBIOProtocol  # the other one waits for another turn, to gather what a link has gathered
    return made


class _Caller(Factory):
    """Hands out the wire of the one link that was made already, and says what becomes of its handshake."""

    noisy = False

    def __init__(self, reactor: Timers, link: Link, end: ClientEnd | JoiningEnd) -> None:
        self.ready: Deferred[None] = Deferred()
        self._end = end
        self.peer: Peer | None = None
        """Whose certificate the other end showed."""
        self._wire = TlsWire(link, reactor, end, self._shook_hands, self.ready.errback)

    def _shook_hands(self, connection: Connection) -> None:
        self.peer = self._end.peer_of(connection)
        self.ready.callback(None)

    @property
    def here(self) -> str:
        """The address that this end has."""
        return self._wire.local_host

    def buildProtocol(self, addr: IAddress | None) -> TlsWire:  # noqa: N802
        return self._wire

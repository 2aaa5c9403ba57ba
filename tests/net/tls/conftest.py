"""A cluster's CA, members of it, and two programs that meet over TLS on loopback."""

import time

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory

from twistcluster.net.tls.authority import Authority
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.identity import Identity


class Cluster:
    def __init__(self, folder, name="lab"):
        self.authority = Authority.open(folder, name, time.time())

    def member(self, role, name="box", now=None) -> Identity:
        key = make_key()
        issued = self.authority.issue(public_bytes(key), role, name, time.time() if now is None else now)
        return Identity.made(key, issued, self.authority.certificate)


@pytest.fixture
def lab(tmp_path) -> Cluster:
    return Cluster(tmp_path / "lab")


@pytest.fixture
def other(tmp_path) -> Cluster:
    """Another cluster of the same name."""
    return Cluster(tmp_path / "other")


class Side(Protocol):
    """Says one thing, and writes down what it hears, from whom, and why it ended."""

    def __init__(self, end, says, answers):
        self.end = end
        self.says = says
        self.answers = answers
        self.heard = b""
        self.peer = "not asked"
        self.lost = None

    def connectionMade(self):
        self.handle = self.transport.getHandle()
        if self.says and not self.answers:
            self.transport.write(self.says)

    def dataReceived(self, data):
        self.heard += data
        self.peer = self.end.peer_of(self.transport.getHandle())
        if self.answers:
            self.transport.write(self.says)

    def connectionLost(self, reason):
        self.lost = self.end.explain(self.transport.getHandle(), reason.value)


class Meeting:
    """One that listens, and others that connect to it one after the other."""

    def __init__(self, steps, end):
        self.steps = steps
        self.served = []
        self.port = steps.reactor.listenTCP(0, self._factory(end, False, self.served), interface="127.0.0.1")

    def _factory(self, end, client, sides):
        factory = Factory()
        factory.noisy = False

        def build(address):
            sides.append(Side(end, b"hello" if client else b"welcome", not client))
            return sides[-1]

        factory.buildProtocol = build
        return TLSMemoryBIOFactory(end, client, factory, clock=self.steps.reactor)

    def connect(self, end, until=None) -> tuple[Side, Side]:
        """Both sides, when the client was answered, or both have lost the connection."""
        sides, before = [], len(self.served)
        endpoint = TCP4ClientEndpoint(self.steps.reactor, "127.0.0.1", self.port.getHost().port)
        self.steps.result(endpoint.connect(self._factory(end, True, sides)))
        self.steps.until(lambda: len(self.served) > before)
        client, server = sides[0], self.served[-1]
        self.steps.until(lambda: client.heard or (client.lost and server.lost))
        return server, client


@pytest.fixture
def meet(steps):
    return lambda end: Meeting(steps, end)

"""A member behind a slow line, and something long on its way: bytes are signs of life, at both ends."""

import types

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from tests.nodes.house import DOWN, Ear
from twistcluster.net.addresses import Address
from twistcluster.net.tls.tether import Tether
from twistcluster.wire import limits
from twistcluster.wire.messages import PROTOCOL, Hello, Report, Welcome

LONG = bytes(limits.MIB)
RATE = 256 * limits.KIB
"""Bytes a second: `LONG` takes 4 s, and `LOST_S` is half of that."""
LOST_S = 2.0
STEP_S = 0.05


class Slow(Protocol):
    """One end of the line: what comes to it leaves the other end slowly, if `slow`."""

    def __init__(self, line, slow):
        self.line, self.slow = line, slow
        self.waits = bytearray()
        self.other = None

    def dataReceived(self, data):
        self.waits += data
        self.go_on()

    def go_on(self):
        if self.other is None or not self.waits:
            return
        count = round(RATE * STEP_S) if self.slow else len(self.waits)
        if self.slow and self.line.later:
            return
        self.other.transport.write(bytes(self.waits[:count]))
        del self.waits[:count]
        if self.slow:
            self.line.later.append(self.line.reactor.callLater(STEP_S, self.line.again, self))

    def connectionLost(self, reason):
        if self.other is not None:
            self.other.transport.loseConnection()


class Line(Factory):
    """A port that leads to another one; slow on the way there."""

    noisy = False

    def __init__(self, reactor, port):
        self.reactor, self.port, self.later = reactor, port, []
        self.listening = reactor.listenTCP(0, self, interface="127.0.0.1")

    def buildProtocol(self, addr):
        near, far = Slow(self, slow=True), Slow(self, slow=False)
        far.other = near
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        made = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port).connect(factory)
        made.addCallback(lambda _: self.joined(near, far))
        return near

    def joined(self, near, far):
        near.other = far
        near.go_on()

    def again(self, near):
        self.later.clear()
        near.go_on()

    def close(self):
        self.listening.stopListening()
        for call in self.later:
            call.cancel()


@pytest.fixture
def house(make_house):
    return make_house(journal=False, lost_after_s=LOST_S)


@pytest.fixture
def line(house, steps):
    made = Line(steps.reactor, house.port)
    yield made
    made.close()


def member(house, role, port):
    """One with a tether that sends heartbeats, as a worker's machine does."""
    identity = house.identity(role)
    membership = types.SimpleNamespace(address=Address("127.0.0.1", port), identity=lambda: identity)
    owner = Ear()
    tether = Tether(house.steps.reactor, house.steps.turn, owner, DOWN, membership, beats=True, lost_after_s=LOST_S)
    house.opened.append(tether.link)
    house.steps.result(ensureDeferred(tether.connect()))
    house.say(tether.link, Hello(PROTOCOL, role, "3", "0", "p" * 32, 1, "elsewhere", 7, "far", slots=2))
    house.steps.until(lambda: owner.said(Welcome) or owner.lost)
    return tether.link, owner


def test_nobody_is_lost_while_something_long_comes(house, line, log):
    """The worker's heartbeats stand behind it, and so does whatever the scheduler would answer."""
    link, owner = member(house, "worker", line.listening.getHost().port)
    [scheduler] = [each for each in house.node._peers if each.peer.role == "worker"]
    house.steps.turn.run(link.send, Report(99, 0, 1, 0, 0.1), [LONG])
    house.steps.until(lambda: scheduler.receiving)
    house.steps.until(lambda: owner.lost or not scheduler.receiving)
    assert not owner.lost and not any("suspect" in text or "lost" in text for text in log)

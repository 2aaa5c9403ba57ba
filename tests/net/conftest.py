"""A real reactor of the test's own, stepped by hand: the process's reactor is crochet's."""

import time
from collections.abc import Callable, Iterator

import pytest
from twisted.internet.error import ConnectionDone, ReactorNotRunning
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from twistcluster.net.turn import Turn


class Steps:
    def __init__(self) -> None:
        self.reactor = SelectReactor()
        self.reactor.startRunning(installSignalHandlers=False)
        self.turn = Turn(self.reactor)

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> object:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, "waited too long"
            self.reactor.iterate(0.01)
        return value

    def result(self, deferred):
        """What a Deferred gives; raises what it fails with."""
        got = []
        deferred.addBoth(got.append)
        self.until(lambda: got)
        if hasattr(got[0], "raiseException"):
            got[0].raiseException()
        return got[0]

    def close(self) -> None:
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))
        for call in self.reactor.getDelayedCalls():
            call.cancel()
        try:
            self.reactor.stop()
            self.reactor.iterate(0)
        except ReactorNotRunning:
            pass
        for reader in [*self.reactor._internalReaders]:
            self.reactor._internalReaders.discard(reader)
            reader.connectionLost(None)


@pytest.fixture
def steps() -> Iterator[Steps]:
    made = Steps()
    yield made
    made.close()


class Owner:
    """Writes down what it hears of its links."""

    def __init__(self, answer: Callable | None = None) -> None:
        self.messages = []
        self.buffers = []
        self.lost = []
        self.pauses = []
        self.links = []
        self.answer = answer

    def on_message(self, link, message, buffers):
        if link not in self.links:
            self.links.append(link)
        self.messages.append(message)
        self.buffers.append(buffers)
        if self.answer is not None:
            self.answer(link, message, buffers)

    def on_lost(self, link, reason):
        self.lost.append((link, reason))

    def on_paused(self, link):
        self.pauses.append("paused")

    def on_resumed(self, link):
        self.pauses.append("resumed")


@pytest.fixture
def make_owner() -> type[Owner]:
    return Owner

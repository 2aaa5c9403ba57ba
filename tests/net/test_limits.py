"""Links that are flooded, never read from, or come too many at a time, on a reactor of the test's own."""

import errno
import socket

import pytest

from tests.net.test_link import HELLO, Server, encoded, is_served, serve
from twistcluster.net.link import READ_BYTES, READ_LEAST_BYTES
from twistcluster.net.states import LinkState
from twistcluster.wire import limits
from twistcluster.wire.messages import Answer, Ask, Hello, ListJobs, Report, Results, Status


@pytest.fixture
def server(steps, make_owner, tmp_path):
    return Server(steps, make_owner, tmp_path)


def flood(server, count, first=0):
    """A peer that has said this many messages at once."""
    raw = server.raw()
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * limits.MIB)
    raw.say(encoded(HELLO) + b"".join(encoded(Ask(number, Status())) for number in range(first, first + count)))
    return raw


def asked(server):
    return [message.request for message in server.owner.messages if isinstance(message, Ask)]


def test_a_flood_is_handled_in_order_and_in_parts(server):
    raw = flood(server, 3000)
    seen = []
    while len(asked(server)) < 3000:
        before = len(asked(server))
        server.steps.reactor.iterate(0.01)
        seen.append(len(asked(server)) - before)
    assert asked(server) == [*range(3000)]
    assert max(seen) <= limits.MESSAGES_PER_READ + limits.MESSAGES_PER_TURN
    raw.sock.close()


def test_messages_that_take_long_wait_for_their_turns_however_few(server, monkeypatch):
    late = [0.0]
    seconds = server.steps.reactor.seconds
    monkeypatch.setattr(server.steps.reactor, "seconds", lambda: seconds() + late[0])

    def serve_slowly(link, message, buffers):
        late[0] += 2 * limits.HANDLING_SECONDS
        serve(link, message, buffers)

    server.owner.answer = serve_slowly
    quiet, owner = server.client()
    raw = flood(server, 50)
    server.steps.until(lambda: asked(server))
    quiet.send(Ask(1_000_000, Status()))
    quiet.flush()
    server.steps.until(lambda: Answer(1_000_000) in owner.messages)
    assert asked(server).index(1_000_000) < 10
    server.steps.until(lambda: len(asked(server)) == 51)
    assert [number for number in asked(server) if number < 1_000_000] == [*range(50)]
    raw.sock.close()


def test_others_are_served_in_the_midst_of_floods(server):
    quiet, owner = server.client()
    raws = [flood(server, 5000) for _ in range(5)]
    server.steps.until(lambda: len(asked(server)) > 1000)
    quiet.send(Ask(1_000_000, Status()))
    quiet.flush()
    before = len(asked(server))
    server.steps.until(lambda: Answer(1_000_000) in owner.messages)
    at = asked(server).index(1_000_000)
    assert at - before <= 3 * (limits.MESSAGES_PER_TURN + 5 * limits.MESSAGES_PER_READ)
    for raw in raws:
        raw.sock.close()
    server.steps.until(lambda: len(server.owner.lost) == 5)


def test_reads_of_a_flood_are_short_and_grow_again_when_it_is_over(server):
    link, owner = server.client()
    upper = server.owner.links[0]
    for number in range(20_000):
        link.send(Ask(number, Status()))
    link.flush()
    server.steps.until(lambda: len(asked(server)) > 15_000)
    assert READ_LEAST_BYTES <= upper._wire.bufferSize < READ_BYTES[0]
    server.steps.until(lambda: len(owner.messages) == 20_001)
    assert owner.messages[1:] == [Answer(number) for number in range(20_000)]
    server.owner.answer = lambda *_: None
    link.send(Report(1, 0, 1, 0, 0.0), [bytes(20 * limits.MIB)])  # not for a client to say: only its bytes count
    server.steps.until(lambda: upper.state is LinkState.CLOSED)
    assert upper._wire.bufferSize > READ_BYTES[0]


def test_what_was_said_before_the_end_is_handled(server):
    raw = flood(server, 1000)
    raw.sock.close()
    server.steps.until(lambda: server.owner.lost)
    assert asked(server) == [*range(1000)]


def test_what_follows_a_mistake_in_a_flood_is_dropped(server):
    raw = server.raw()
    many = [encoded(Ask(number, Status())) for number in range(500)]
    many[200] = encoded(HELLO)
    raw.say(encoded(HELLO) + b"".join(many))
    assert raw.heard()[-1].code == "malformed"
    assert asked(server) == [*range(200)]
    assert is_served(server)


def test_a_client_that_asks_for_much_and_never_reads_is_cut_off_by_bytes(server, monkeypatch):
    monkeypatch.setattr(limits, "QUEUED_BYTES", limits.MIB)
    link, _ = server.client()
    link._wire.stopReading()
    deaf = server.owner.links[0]
    deaf.send(Results(1, 0, 1, 0), [bytes(30 * limits.MIB)])
    server.steps.until(lambda: server.owner.pauses == ["paused"])

    def answer_much(link, message, buffers):
        if isinstance(message, Ask) and isinstance(message.question, ListJobs):
            link.send(Answer(message.request), [bytes(300_000)])
        else:
            serve(link, message, buffers)

    server.owner.answer = answer_much
    for number in range(3):
        link.send(Ask(number, ListJobs()))
    server.steps.until(lambda: len(asked(server)) == 3)
    assert is_served(server)
    assert deaf.state is LinkState.OPEN
    link.send(Ask(3, ListJobs()))
    server.steps.until(lambda: deaf.state is LinkState.CLOSED)
    assert (deaf, "it reads too slowly") in server.owner.lost
    link.abort("the test ends")
    server.steps.until(lambda: link.state is LinkState.CLOSED)


def test_who_catches_up_may_be_sent_as_much_again(server, monkeypatch):
    monkeypatch.setattr(limits, "QUEUED_BYTES", limits.MIB)
    link, owner = server.client()
    slow = server.owner.links[0]
    for _ in range(3):
        link._wire.stopReading()
        slow.send(Results(1, 0, 1, 0), [bytes(30 * limits.MIB)])
        server.steps.until(lambda: server.owner.pauses[-1:] == ["paused"])
        slow.send(Results(1, 0, 1, 0), [bytes(900_000)])
        link._wire.startReading()
        server.steps.until(lambda: server.owner.pauses[-1] == "resumed")
    slow.send(Results(1, 0, 1, 0), [bytes(30 * limits.MIB)])
    server.steps.until(lambda: len(owner.messages) == 8)
    assert not server.owner.lost


HALF = b"\x01\0\0\0\x01\0\0\0" + (limits.MIB).to_bytes(8, "little") + b"h"
"""The beginning of a frame with a buffer of a mebibyte."""


def test_half_a_large_frame_is_let_go_with_its_link(server):
    budget = server.port.factory._budget
    peers = [server.raw().say(encoded(HELLO)) for _ in range(3)]
    server.steps.until(lambda: len(server.owner.messages) == 3)
    for peer in peers:
        peer.say(HALF)
    server.steps.until(lambda: budget.taken > 3 * limits.MIB)
    for peer in peers:
        peer.sock.close()
    server.steps.until(lambda: len(server.owner.lost) == 3)
    assert budget.taken == 0


def test_a_few_connections_are_taken_in_a_turn(server):
    comers = [server.raw() for _ in range(30)]
    door = server.port.factory
    counts = [0]
    while counts[-1] < 30:
        server.steps.reactor.iterate(0.01)
        counts.append(len(door.gate))
        assert counts[-1] - counts[-2] <= limits.ACCEPTS_PER_TURN
    for comer in comers:
        comer.sock.close()
    server.steps.until(lambda: not len(door.gate))


class NoMoreFiles:
    """A listening socket in a process that can open no more files, until it is told otherwise."""

    def __init__(self, sock):
        self.sock, self.asked, self.failing = sock, 0, True

    def accept(self):
        self.asked += 1
        if self.failing:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.sock.accept()

    def __getattr__(self, name):
        return getattr(self.sock, name)


def test_without_files_newcomers_wait_and_the_longest_silent_makes_room(server):
    silent = server.raw()
    server.steps.until(lambda: len(server.port.factory.gate) == 1)
    server.port.socket = poor = NoMoreFiles(server.port.socket)
    newcomer = server.raw().say(encoded(HELLO))
    (said,) = silent.heard()
    assert said.code == "limit"
    server.steps.until(lambda: poor.asked == 3)  # after two pauses
    assert not server.owner.messages
    poor.failing = False
    server.steps.until(lambda: server.owner.messages)
    assert isinstance(server.owner.messages[0], Hello)
    newcomer.sock.close()


def test_no_files_and_the_end(server):
    server.port.socket = poor = NoMoreFiles(server.port.socket)
    newcomer = server.raw()
    server.steps.until(lambda: poor.asked)
    server.port.stopListening()
    server.steps.until(lambda: not server.port.connected)
    server.steps.until(lambda: not server.steps.reactor.getDelayedCalls())
    newcomer.sock.close()


def test_a_connection_that_cannot_be_taken_costs_only_itself(server, monkeypatch):
    def fail(*_):
        raise RuntimeError("no transport")

    with monkeypatch.context() as patch:
        patch.setattr(server.port, "transport", fail)
        assert server.raw().heard() == []
    assert is_served(server)
    server.steps.until(lambda: not len(server.port.factory.gate))


def test_a_hello_that_comes_byte_by_byte_is_waited_for_only_so_long(server, monkeypatch):
    monkeypatch.setattr(limits, "OPENING_SECONDS", 0.2)
    slow = server.raw()
    said = iter(encoded(Hello(1, "client", "3.11", "0", "p", 1, "h", 1, name="x" * 60_000)))

    def drips():
        try:
            slow.sock.send(bytes([next(said)]))
        except ConnectionError:
            return True
        return server.port.factory.gate.waiting == 0 and len(server.owner.lost) == 1

    server.steps.until(drips)
    (refused,) = slow.heard()
    assert refused.code == "limit" and "no Hello within 0.2 s" in refused.message
    assert is_served(server)

"""Links over real connections, on a reactor of the test's own: Unix sockets and TLS."""

import os
import socket
import stat
import struct
from pathlib import Path

import pytest
from twisted.internet.defer import ensureDeferred

from tests.net.serving import DOWN, HELLO, Server, TlsServer, serve
from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net.link import Link
from twistcluster.net.states import LinkState
from twistcluster.net.tls.ends import ClientEnd
from twistcluster.net.tls.links import connect_tls
from twistcluster.net.unix import adopt, connect, connect_link
from twistcluster.wire import limits
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import (
    Answer,
    Ask,
    Blob,
    Hello,
    Refused,
    Results,
    SlotToWorker,
    Status,
    Welcome,
    WorkerToSlot,
)


@pytest.fixture(params=[Server, TlsServer])
def kind(request):
    return request.param


@pytest.fixture
def server(kind, steps, make_owner, tmp_path):
    return kind(steps, make_owner, tmp_path)


@pytest.fixture
def unix(steps, make_owner, tmp_path):
    return Server(steps, make_owner, tmp_path)


def is_served(server):
    link, owner = server.client()
    link.send(Ask(7, Status()))
    server.steps.until(lambda: Answer(7) in owner.messages)
    link.close()
    server.steps.until(lambda: owner.lost)
    return True


def test_a_client_is_welcomed_and_answered(server):
    assert is_served(server)
    server.steps.until(lambda: server.owner.lost)


def test_the_socket_is_private_from_the_first_instant(steps, make_owner, tmp_path, monkeypatch):
    seen = []
    chmod = os.chmod
    monkeypatch.setattr(
        os, "chmod", lambda path, mode: (seen.append(Path(os.fsdecode(path)).stat().st_mode), chmod(path, mode))
    )
    before = os.umask(0)
    try:
        server = Server(steps, make_owner, tmp_path)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert [stat.S_IMODE(mode) for mode in seen] == [0o600]
    assert stat.S_IMODE(Path(server.path).stat().st_mode) == 0o600


def test_values_of_any_size_travel_and_a_slow_reader_is_noticed(server):
    link, owner = server.client()
    big = os.urandom(20 * limits.MIB)
    link.send(Blob(b"d"), [b"small", big, memoryview(bytearray(b"x" * 100_000))])
    server.steps.until(lambda: len(owner.messages) == 2)
    small, back, view = owner.buffers[1]
    assert bytes(small) == b"small" and back == big and bytes(view) == b"x" * 100_000
    assert owner.pauses == server.owner.pauses == ["paused", "resumed"]


def test_many_pieces_leave_in_order(server):
    link, owner = server.client()
    for number in range(3000):
        link.send(Ask(number, Status()))
    server.steps.until(lambda: len(owner.messages) == 3001)
    assert owner.messages[1:] == [Answer(number) for number in range(3000)]


def test_what_can_wait_leaves_with_the_next_message_or_a_little_later(server):
    link, owner = server.client()
    link.send_later(Ask(1, Status()))
    link.send_later(Ask(2, Status()))
    for _ in range(5):
        server.steps.reactor.iterate(0.001)
    assert len(server.owner.messages) == 1
    link.send(Ask(3, Status()))
    server.steps.until(lambda: len(owner.messages) == 4)
    link.send_later(Ask(4, Status()))
    server.steps.until(lambda: len(owner.messages) == 5)
    assert owner.messages[1:] == [Answer(number) for number in (1, 2, 3, 4)]
    link.send_later(Ask(5, Status()))
    link.close()
    link.send_later(Ask(6, Status()))
    server.steps.until(lambda: server.owner.lost)
    assert server.owner.messages[-1] == Ask(5, Status())


def test_what_was_sent_leaves_before_a_close(server):
    link, _ = server.client()
    link.send(Blob(b"d"), [bytes(10 * limits.MIB)])
    link.close("done")
    link.send(Ask(1, Status()))
    server.steps.until(lambda: server.owner.lost)
    assert [type(message) for message in server.owner.messages] == [Hello, Blob]


def test_a_peer_that_never_reads_cannot_keep_a_link_from_closing(server, monkeypatch):
    monkeypatch.setattr("twistcluster.net.link.CLOSING_SECONDS", 0.05)
    link, owner = server.client()
    deaf = server.owner.links[0]
    deaf.send(Results(1, 0, 1, 0), [bytes(30 * limits.MIB)])
    link._wire.stopReading()
    deaf.close("enough")
    server.steps.until(lambda: server.owner.lost)
    assert server.owner.lost == [(deaf, "enough")]
    link.abort("the test ends")
    server.steps.until(lambda: owner.lost)


def test_a_peer_that_asks_and_never_reads_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(limits, "QUEUED_MESSAGES", 50)
    link, _ = server.client()
    link._wire.stopReading()
    deaf = server.owner.links[0]
    deaf.send(Results(1, 0, 1, 0), [bytes(10 * limits.MIB)])
    server.steps.until(lambda: server.owner.pauses == ["paused"])
    for number in range(40):
        link.send(Ask(number, Status()))
    server.steps.until(lambda: len(server.owner.messages) == 41)
    assert not server.owner.lost
    for number in range(40):
        link.send(Ask(number, Status()))
    server.steps.until(lambda: server.owner.lost)
    assert server.owner.lost == [(deaf, "it reads too slowly")]
    assert is_served(server)
    link.abort("the test ends")
    server.steps.until(lambda: link.state is LinkState.CLOSED)


def frame(head: bytes, buffers=()):
    return struct.pack(f"<II{len(buffers)}Q", len(head), len(buffers), *map(len, buffers)) + head + b"".join(buffers)


def encoded(message):
    return b"".join(Codec.encode(message))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "limits here are 65,536"),
        (os.urandom(4096) + b"\xff" * 100, ""),
        (struct.pack("<II", 2**32 - 1, 0), "4,294,967,"),
        (struct.pack("<IIQ", 10, 1, 2**63), "limits here are 65,536"),
        (struct.pack("<II", 10, 2**32 - 1), "limits here are 65,536"),
        (frame(b"\x91" * 60_000), "not a message"),
        (frame(b"\xc1"), "not a message"),
        (frame(b""), "not a message"),
        (encoded(Ask(1, Status())), "not a message that may come here"),
        (encoded(HELLO) + encoded(HELLO), "not a message"),
        (encoded(HELLO) + encoded(Welcome("e", "c", "n", "3.11", "0")), "not a message"),
        (encoded(HELLO) + frame(b"\x91" * 5000), "not a message"),
    ],
)
def test_malformed_input_costs_its_sender_the_link_and_nobody_else(server, said, why):
    other, other_owner = server.client()
    *_, last = server.raw().say(said).heard()
    assert isinstance(last, Refused) and last.code == "malformed"
    assert why in last.message
    other.send(Ask(3, Status()))
    server.steps.until(lambda: Answer(3) in other_owner.messages)
    assert is_served(server)


def test_half_a_frame_and_then_nothing_is_cut_off_in_time(server, monkeypatch):
    monkeypatch.setattr(limits, "OPENING_SECONDS", 0.05)
    half = server.raw().say(encoded(HELLO)[:11])
    silent = server.raw()
    assert is_served(server)
    for peer in (half, silent):
        (said,) = peer.heard()
        assert said.code == "limit" and "no Hello within 0.05 s" in said.message


def test_half_a_frame_and_then_the_end(server):
    peer = server.raw().say(encoded(HELLO)[:11])
    peer.sock.close()
    assert is_served(server)
    server.steps.until(lambda: len(server.owner.lost) == 2)


def test_those_who_never_say_hello_make_room_for_those_who_do(kind, steps, make_owner, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "UNWELCOMED_CONNECTIONS", 4)
    server = kind(steps, make_owner, tmp_path)
    silent = [server.raw() for _ in range(12)]
    assert is_served(server)
    (said,) = silent[0].heard()
    assert said.code == "limit"
    for peer in silent:
        peer.sock.close()


def test_there_is_a_limit_on_all_connections(kind, steps, make_owner, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS", 2)
    server = kind(steps, make_owner, tmp_path)
    first, owner = server.client()
    silent = server.raw()
    server.client()  # the silent one made room
    assert "have not said Hello" in silent.heard()[0].message
    server.steps.until(lambda: server.owner.lost)
    (said,) = server.raw().heard()
    assert said.code == "limit" and "2 connections are open" in said.message
    first.close()
    server.steps.until(lambda: owner.lost and len(server.owner.lost) == 3)
    assert is_served(server)


def test_another_users_process_is_refused(steps, make_owner, tmp_path):
    server = Server(steps, make_owner, tmp_path, uid=os.geteuid() + 1)
    (said,) = server.raw().heard()
    assert said.code == "access" and str(os.geteuid()) in said.message
    assert server.owner.messages == []


def test_another_users_cluster_is_not_talked_to(unix, steps, make_owner):
    from twisted.internet.defer import ensureDeferred

    link = Link(make_owner(), steps.turn, steps.reactor, DOWN)
    link.send(HELLO)
    with pytest.raises(AccessDenied, match="belongs to the user"):
        steps.result(ensureDeferred(connect_link(steps.reactor, unix.path, link, uid=os.geteuid() + 1)))
    assert unix.owner.messages == []


def test_nobody_listens(steps, make_owner, tmp_path):
    link = Link(make_owner(), steps.turn, steps.reactor, DOWN)
    with pytest.raises(ClusterUnreachable, match="no cluster listens at"):
        steps.result(connect(steps.reactor, str(tmp_path / "nothing"), link))


def test_a_full_queue_of_connections_is_waited_for(steps, make_owner, tmp_path):
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            link = Link(make_owner(), steps.turn, steps.reactor, DOWN)
            with pytest.raises(ClusterUnreachable, match="took no connection within"):
                steps.result(connect(steps.reactor, path, link, timeout_s=0.05))


def test_ends_that_trust_each_other_begin_open(steps, make_owner):
    from twistcluster.wire.messages import Bite, Ready

    ours, theirs = socket.socketpair()
    worker, slot = make_owner(), make_owner()
    up = adopt(steps.reactor, ours, Link(worker, steps.turn, steps.reactor, Codec(SlotToWorker), LinkState.OPEN))
    down = adopt(steps.reactor, theirs, Link(slot, steps.turn, steps.reactor, Codec(WorkerToSlot), LinkState.OPEN))
    down.send(Ready(1))
    up.send(Bite(1, 1, 0, 4, 0))
    steps.until(lambda: worker.messages and slot.messages)
    down.abort("killed")
    steps.until(lambda: worker.lost)
    assert down.state is LinkState.CLOSED


def test_an_owner_that_fails_costs_that_link_only(server):
    def fail(link, message, buffers):
        if isinstance(message, Ask) and message.request == 13:
            raise KeyError(message.request)
        serve(link, message, buffers)

    server.owner.answer = fail
    link, owner = server.client()
    link.send(Ask(13, Status()))
    server.steps.until(lambda: owner.lost)
    assert isinstance(owner.messages[-1], Refused)
    assert is_served(server)


def test_a_peer_that_lost_its_power_is_noticed_by_the_system(steps, make_owner, tmp_path):
    server = TlsServer(steps, make_owner, tmp_path)
    link, _ = server.client()
    for wire in (link._wire, server.owner.links[0]._wire):
        sock = wire.transport.transport.getHandle()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        asked = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)]
        assert asked == [15, 5] and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_connects_and_says_nothing_of_tls_is_cut_off_in_time_and_leaves_its_place(
    steps, make_owner, tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "OPENING_SECONDS", 0.2)
    monkeypatch.setattr(limits, "CONNECTIONS", 2)
    server = TlsServer(steps, make_owner, tmp_path)
    silent = [socket.create_connection(("127.0.0.1", server.port.getHost().port)) for _ in range(2)]
    for each in silent:
        each.setblocking(False)
        steps.until(lambda each=each: ended(each))
    monkeypatch.setattr(limits, "OPENING_SECONDS", 5.0)
    assert is_served(server) and is_served(server)


def ended(sock):
    try:
        found = sock.recv(1)
    except BlockingIOError:
        return False
    except ConnectionError:
        found = b""
    sock.close()
    return not found


def test_what_listens_and_says_nothing_of_tls_cannot_be_reached(steps, make_owner, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "OPENING_SECONDS", 0.2)
    server = TlsServer(steps, make_owner, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        link = Link(make_owner(), steps.turn, steps.reactor, DOWN)
        calling = connect_tls(steps.reactor, *silent.getsockname(), link, ClientEnd(server.member("client")))
        with pytest.raises(ClusterUnreachable):
            steps.result(ensureDeferred(calling))

"""Peers that have no store in common with a scheduler's host: their values travel inside."""

import pytest
from twisted.internet.task import Clock

from twistcluster.errors import ProtocolError
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Turn
from twistcluster.nodes.remote import RemotePeers
from twistcluster.nodes.values_line import Missed
from twistcluster.storage.folder import StoreFolder
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import ValueStore
from twistcluster.wire.messages import (
    Drop,
    Freed,
    Heartbeat,
    Hello,
    Holds,
    Keep,
    Page,
    Report,
    Results,
    Resume,
    Resumed,
    ShutOut,
    Stored,
    Values,
    Welcome,
)
from twistcluster.wire.pages import FramedPacker, Packed, framed_items, stored_row

ARRAY = bytes(range(256)) * 1000


class Wire:
    state = LinkState.OPEN

    def __init__(self):
        self.sent, self.flushed, self.closed = [], 0, ""

    def send(self, message, buffers=()):
        self.sent.append((message, [bytes(each) for each in buffers]))

    def flush(self):
        self.flushed += 1

    def close(self, reason="closed"):
        self.closed = reason


class Node:
    def __init__(self):
        self.heard, self.lost, self.pauses = [], [], []

    def on_message(self, link, message, buffers):
        self.heard.append((link, message, buffers))

    def on_lost(self, link, reason):
        self.lost.append((link, reason))

    def on_paused(self, link):
        self.pauses.append((link, "paused"))

    def on_resumed(self, link):
        self.pauses.append((link, "resumed"))


@pytest.fixture
def store():
    folder = StoreFolder.create("remote")
    values = ValueStore(folder.path)
    yield values
    values.close()
    folder.remove()


class Scene:
    def __init__(self, store, role="worker"):
        self.clock, self.node, self.wire = Clock(), Node(), Wire()
        self.counted = {b"c" * 16}
        self.peers = RemotePeers(
            self.clock,
            self.node,
            Turn(self.clock),
            store,
            is_counted=self.counted.__contains__,
            denied=lambda: ["ab12"],
        )
        self.say(Hello(1, role, "3.11", "0", "p", 1, "h", 1))
        self.peer = self.node.heard[0][0]

    def say(self, message, *buffers):
        """What the node hears of it."""
        self.peers.on_message(self.wire, message, list(buffers))
        return self.node.heard[-1][1:]

    def tell(self, message, *buffers):
        """What the peer hears of it."""
        self.peer.send(message, buffers)
        return self.wire.sent[-1]


@pytest.fixture
def scene(store):
    return Scene(store)


def inside():
    packer = FramedPacker()
    packer.add(b"\x80small")
    packer.add(b"\x80array", [ARRAY])
    return packer.packed().buffers


@pytest.fixture
def client(store):
    return Scene(store, "client")


def test_large_values_of_a_client_are_put_into_the_store_and_given_to_it_inside(client, store):
    page, buffers = client.say(Page(1, 0, 2, 1), *inside())
    (stored,) = page.objects
    assert stored.item == 1 and sum(map(len, buffers)) < 200
    assert [bytes(part) for part in store.parts(stored.id)] == [b"\x80array", ARRAY]
    said, sent = client.tell(Results(1, 0, 2, 1, objects=[stored]), *buffers)
    assert not said.objects
    values = [(bytes(data), *map(bytes, more)) for data, more in framed_items(Packed(1, 2, tuple(sent)))]
    assert values == [(b"\x80small",), (b"\x80array", ARRAY)]
    client.clock.advance(0)
    assert client.node.heard[-1] == (client.peer, Drop([stored.id]), []), "what it has it never asks for"


def test_a_worker_fetches_what_a_page_names(scene, store):
    name, nbytes = store.put([b"\x80array", ARRAY])
    page = Page(1, 0, 1, 1, objects=[Stored(0, name, nbytes)])
    for message in (page, Values(1, 0, 1, 1, objects=page.objects)):
        assert scene.tell(message, b"as it is") == (message, [b"as it is"])
    scene.peers.freed([b"o" * 16])
    scene.peers.freed([name])
    scene.peers.freed([name])
    assert scene.wire.sent[2:] == [(Freed([name]), [])]


def test_results_stay_on_their_host_until_somebody_reads_them(scene, client):
    report = Report(1, 0, 1, 1, 0.5, objects=[Stored(0, b"m" * 16, 99)])
    assert scene.say(report, b"as it is") == (report, [b"as it is"])
    packer = FramedPacker()
    packer.add(stored_row(b"m" * 16, 99), (), (b"m" * 16, 99))
    results = Results(1, 0, 1, 1, objects=report.objects)
    said, _ = client.tell(results, *packer.packed().buffers)
    assert said.objects == report.objects
    client.clock.advance(0)
    assert not isinstance(client.node.heard[-1][1], Drop), "it may ask for it"


def test_a_worker_is_told_whether_results_can_stay_and_who_is_shut_out(scene, client):
    welcome = Welcome("e", "c", "n", "3.11", "0")
    scene.tell(welcome)
    client.tell(welcome)
    assert scene.wire.sent == [(Welcome("e", "c", "n", "3.11", "0", store=True), []), (ShutOut(["ab12"]), [])]
    assert client.wire.sent == [(Welcome("e", "c", "n", "3.11", "0", store=True), [])]
    scene.peers.shut_out()
    assert scene.wire.sent[2:] == [(ShutOut(["ab12"]), [])]


def test_of_what_a_worker_holds_that_nobody_needs_is_freed(scene):
    heard = len(scene.node.heard)
    told = []
    scene.peers.bring(b"d" * 16, told.append)
    scene.say(Holds([], more=True))
    scene.clock.advance(0)
    assert not told, "it may say that it has it"
    scene.say(Holds([b"c" * 16, b"d" * 16]))
    scene.clock.advance(0)
    assert scene.wire.sent == [(Freed([b"d" * 16]), [])] and len(scene.node.heard) == heard
    assert told == [Missed()]
    scene.peers.bring(b"c" * 16, told.append)
    scene.clock.advance(29)
    assert told == [Missed()], "its worker may make its connection yet"
    scene.clock.advance(1)
    scene.clock.advance(0)
    assert told == [Missed(), Missed()]


def test_what_somebody_elsewhere_puts_lies_in_the_store_under_its_id(scene, store):
    kept = Keep([Stored(0, b"n" * 16, 6 + len(ARRAY))])
    assert scene.say(kept, b"\x80array", ARRAY) == (kept, [])
    assert [bytes(part) for part in store.parts(b"n" * 16)] == [b"\x80array", ARRAY]
    with pytest.raises(ProtocolError, match="in the store already"):
        scene.say(kept, b"\x80other", ARRAY)
    for objects in ([], [Stored(0, b"short", 5)], [Stored(0, b"a" * 16, 5), Stored(0, b"b" * 16, 5)]):
        with pytest.raises(ProtocolError, match="comes alone"):
            scene.say(Keep(objects), b"\x80")
    scene.peer.send(Freed([b"n" * 16]))
    with pytest.raises(ObjectGone):
        store.parts(b"n" * 16)


def test_who_comes_back_hears_what_of_it_is_not_here(scene, store):
    scene.say(Keep([Stored(0, b"n" * 16, 10)]), b"\x80here", ARRAY)
    scene.say(Resume([], [b"n" * 16, b"m" * 16]))
    said, _ = scene.tell(Resumed(3, []))
    assert said == Resumed(3, [], [b"m" * 16])
    scene.say(Keep([Stored(0, b"m" * 16, 10)]), b"\x80sent again", ARRAY)
    assert bytes(store.parts(b"m" * 16)[0]) == b"\x80sent again"


def test_a_full_store_leaves_values_inside(scene, store, monkeypatch):
    from twistcluster.errors import StoreFull

    def full(parts):
        raise StoreFull("no room")

    monkeypatch.setattr(store, "put", full)
    report, buffers = scene.say(Report(1, 0, 2, 1, 0.5), *inside())  # so it was there
    assert not report.objects and ARRAY in [bytes(each) for each in buffers]


def test_the_rest_passes_as_it_is(scene):
    assert scene.say(Heartbeat()) == (Heartbeat(), [])
    assert scene.tell(Heartbeat()) == (Heartbeat(), [])
    scene.peer.flush()
    scene.peer.close("enough")
    assert (scene.wire.flushed, scene.wire.closed, scene.peer.state) == (1, "enough", LinkState.OPEN)
    scene.peers.on_paused(scene.wire)
    scene.peers.on_resumed(scene.wire)
    assert scene.node.pauses == [(scene.peer, "paused"), (scene.peer, "resumed")]
    scene.peers.on_lost(scene.wire, "gone")
    scene.peers.on_lost(scene.wire, "gone")
    assert scene.node.lost == [(scene.peer, "gone")]


def test_without_a_store_nothing_changes():
    scene = Scene(None)
    buffers = inside()
    assert scene.say(Report(1, 0, 2, 1, 0.5), *buffers) == (Report(1, 0, 2, 1, 0.5), list(buffers))
    assert scene.tell(Page(1, 0, 2, 1), *buffers) == (Page(1, 0, 2, 1), [bytes(each) for each in buffers])
    told = []
    scene.peers.bring(b"c" * 16, told.append)
    scene.peers.bring_all([b"c" * 16], lambda: told.append("all"))
    scene.clock.advance(0)
    assert told == ["all", Missed()] and not scene.peers.renamed(b"c" * 16, b"d" * 16)
    scene.peers.freed([b"c" * 16])

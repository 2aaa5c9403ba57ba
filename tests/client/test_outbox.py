import pytest

from twistcluster.client import ledger
from twistcluster.client.outbox import Outbox, Parts
from twistcluster.wire.messages import Blob, Cancel, Context, Forget, OpenJob, Page
from twistcluster.wire.pages import Packed, pack_plain
from twistcluster.wire.values import Definitions


class Wire:
    def __init__(self):
        self.sent = []

    def send(self, message, buffers=()):
        self.sent.append(message)


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def outbox(wire):
    return Outbox(wire, Definitions())


def parts(name, *blobs):
    return Parts(Context(name, name, "/"), {blob: blob * 10 for blob in blobs})


def test_everything_goes_ahead_once(outbox, wire):
    outbox.job(OpenJob(1, [b"f"], b"c"), parts(b"c", b"f"))
    outbox.job(OpenJob(2, [b"f"], b"c"), parts(b"c", b"f"))
    assert [type(each) for each in wire.sent] == [Blob, Context, OpenJob, OpenJob]


def test_definitions_go_ahead_of_their_page(wire):
    definitions = Definitions()
    digest = definitions.digest_of(type("Point", (), {}))
    outbox = Outbox(wire, definitions)
    packed = Packed(0, 1, pack_plain([1]).buffers, (digest,))
    outbox.page(1, 0, packed)
    outbox.page(1, 1, packed)
    assert [type(each) for each in wire.sent] == [Blob, Page, Page]
    assert wire.sent[2].first == 1 and wire.sent[2].definitions == [digest]


def test_after_a_cancel_no_page_goes(outbox, wire):
    outbox.cancel(1, 0, None)
    outbox.page(1, 0, pack_plain([1]))
    outbox.page(2, 0, pack_plain([1]))
    assert [type(each) for each in wire.sent] == [Cancel, Page]
    outbox.over(1)


def test_what_is_long_unused_is_forgotten_with_the_contexts(outbox, wire, monkeypatch):
    monkeypatch.setattr(ledger, "LEDGER_BYTES", 25)
    outbox.parts(parts(b"c", b"a", b"b"))
    outbox.parts(parts(b"d", b"e"))
    (forget,) = [each for each in wire.sent if type(each) is Forget]
    assert set(forget.digests) == {b"a", b"c"}
    wire.sent.clear()
    outbox.parts(parts(b"c", b"a"))
    assert {each.digest for each in wire.sent if type(each) in {Blob, Context}} == {b"a", b"c"}

import pytest

from tests.client.line import Wire
from twistcluster.client import ledger
from twistcluster.client.outbox import Outbox, Parts
from twistcluster.wire.messages import Blob, Cancel, CloseJob, Context, Forget, OpenJob, Page, Release, Retry
from twistcluster.wire.pages import Packed, pack_plain
from twistcluster.wire.values import Definitions


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def outbox(wire):
    return attached(wire, Definitions())


def attached(wire, definitions):
    outbox = Outbox(definitions)
    outbox.attach(wire)
    return outbox


def parts(name, *blobs):
    return Parts(Context(name, name, "/"), {blob: blob * 10 for blob in blobs})


def test_everything_goes_ahead_once(outbox, wire):
    outbox.job(OpenJob(1, [b"f"], b"c"), [parts(b"c", b"f")])
    outbox.job(OpenJob(2, [b"f"], b"c"), [parts(b"c", b"f")])
    assert [type(each) for each in wire.sent] == [Blob, Context, OpenJob, OpenJob]


def test_definitions_go_ahead_of_their_page(wire):
    definitions = Definitions()
    digest = definitions.digest_of(type("Point", (), {}))
    outbox = attached(wire, definitions)
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


def job(number):
    return OpenJob(number, [b"f"], b"c")


@pytest.fixture
def durable(outbox):
    outbox.unkept.on = True
    return outbox


def offered(outbox, known=None, highest=-1):
    """What a scheduler that came back hears."""
    wire = Wire()
    outbox.attach(wire)
    gone = outbox.offer(known or {}, highest)
    return wire.sent, gone


def test_what_was_not_kept_is_offered_with_all_that_it_names(durable):
    durable.job(job(1), [parts(b"c", b"f")])
    durable.page(1, 0, pack_plain([1, 2]))
    durable.detach()
    durable.page(1, 2, pack_plain([3]))
    durable.close_job(CloseJob(1, 3))
    durable.job(job(2), [parts(b"c", b"f")])
    sent, gone = offered(durable)
    assert [type(each) for each in sent] == [Blob, Context, OpenJob, Page, Page, CloseJob, OpenJob]
    assert [each.first for each in sent if isinstance(each, Page)] == [0, 2] and not gone


def test_pages_that_are_known_are_not_offered_again(durable):
    durable.job(job(1), [parts(b"c", b"f")])
    for first in range(4):
        durable.page(1, first, pack_plain([first]))
    durable.unkept.kept(1, 2)
    durable.cancel(1, 3, 4)
    sent, _ = offered(durable, {1: 3}, 1)
    assert sent == [Page(1, 3, 1, sent[0].kind), Cancel(1, 3, 4)]


def test_a_job_that_was_known_once_is_gone(durable):
    durable.job(job(1), [parts(b"c", b"f")])
    durable.unkept.kept(1, 0)
    durable.job(job(2), [parts(b"c", b"f")])
    assert offered(durable, {}, 2) == ([], [1, 2])
    assert offered(durable, {}, 2) == ([], [])


def test_what_is_over_and_kept_or_wanted_no_more_is_not_offered(durable):
    for number in (1, 2, 3):
        durable.job(job(number), [parts(b"c", b"f")])
        durable.page(number, 0, pack_plain([1]))
        durable.over(number)
    durable.unkept.kept(1, 1)
    durable.release(2)
    sent, _ = offered(durable)
    assert [each.job for each in sent if isinstance(each, OpenJob)] == [3]
    durable.unkept.kept(3, 1)
    assert not durable.unkept.books


def test_a_retry_that_may_not_have_been_heard_is_said_again(durable):
    durable.job(job(1), [parts(b"c", b"f")])
    durable.unkept.kept(1, 1)
    durable.over(1)
    durable.detach()
    durable.retry(1)
    assert offered(durable, {1: 1}, 1) == ([Retry(1)], [])


def test_without_a_link_nothing_is_said_and_without_a_journal_nothing_held(outbox, wire):
    outbox.job(job(1), [parts(b"c", b"f")])
    outbox.detach()
    said = len(wire.sent)
    outbox.page(1, 0, pack_plain([1]))
    outbox.send(Release(1))
    assert len(wire.sent) == said and not outbox.unkept.books

"""Questions that are asked while there is no link."""

import pytest

from tests.client.line import Wire
from twistcluster.client.outbox import Outbox
from twistcluster.client.requests import Request, Requests, answer_to
from twistcluster.errors import ClusterUnreachable
from twistcluster.wire.messages import Answer, Ask, Status, StopCluster
from twistcluster.wire.values import Definitions


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def outbox():
    return Outbox(Definitions())


@pytest.fixture
def requests(outbox):
    return Requests(outbox)


def asked(requests, question):
    request = Request(lambda number: Ask(number, question), None)
    requests.ask(request)
    return request.reply


def test_what_is_asked_without_a_link_is_sent_when_there_is_one(requests, outbox, wire):
    reply = asked(requests, StopCluster())
    outbox.attach(wire)
    requests.resume()
    (ask,) = wire.sent
    requests.answered(Answer(ask.request), [])
    assert reply.result(0)[0] == Answer(ask.request)


def test_who_stops_waiting_takes_an_unsent_question_back(requests, outbox, wire):
    reply, other = asked(requests, StopCluster()), asked(requests, Status())
    with pytest.raises(TimeoutError):
        answer_to(reply, 0.0)
    outbox.attach(wire)
    requests.resume()
    assert [ask.question for ask in wire.sent] == [Status()]
    requests.fail(ClusterUnreachable("gone"))
    assert reply.cancelled() and isinstance(other.exception(0), ClusterUnreachable)


def test_a_question_that_was_sent_is_not_taken_back(requests, outbox, wire):
    outbox.attach(wire)
    reply = asked(requests, Status())
    with pytest.raises(TimeoutError):
        answer_to(reply, 0.0)
    requests.answered(Answer(wire.sent[0].request), [])
    assert reply.done() and not reply.cancelled()


def test_taken_back_questions_fail_with_nothing(requests):
    reply = asked(requests, Status())
    reply.cancel()
    requests.fail(ClusterUnreachable("gone"))
    assert reply.cancelled()


def test_only_what_does_no_harm_is_asked_again(requests, outbox, wire):
    outbox.attach(wire)
    stop, status = asked(requests, StopCluster()), asked(requests, Status())
    outbox.detach()
    requests.lost()
    with pytest.raises(ClusterUnreachable, match="see whether it was done"):
        stop.result(0)
    wire.sent.clear()
    outbox.attach(wire)
    requests.resume()
    assert [ask.question for ask in wire.sent] == [Status()] and not status.done()


def test_who_asks_what_cannot_be_sent_hears_so(requests, outbox):
    class Refusing:
        def send(self, message, buffers=()):
            raise OverflowError("too large for a link")

    outbox.attach(Refusing())
    with pytest.raises(OverflowError, match="too large"):
        asked(requests, StopCluster()).result(0)

import pytest
from twisted.internet.task import Clock

from twistcluster.errors import ProtocolError
from twistcluster.net.memory import memory_pair
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Turn
from twistcluster.wire.messages import Hello, Lease, Report, Welcome

HELLO = Hello(1, "worker", "3.11", "0", "p", 1, "h", 1)
WELCOME = Welcome("e", "c", "", "3.11", "0")


@pytest.fixture
def pair(make_owner):
    turn = Turn(Clock())
    here, there = make_owner(), make_owner()
    return turn, here, there, *memory_pair(here, there, turn)


def opened(pair):
    turn, _, _, one, other = pair
    turn.run(other.send, HELLO)
    turn.run(one.send, WELCOME)
    return one, other


def test_messages_arrive_within_the_turn_but_not_within_the_call(pair):
    turn, here, there, one, other = pair
    opened(pair)
    seen = []

    def event():
        one.send(Lease(1, 2, 0, 5))
        other.send(Report(1, 0, 5, 0, 0.1), (b"abc",))
        seen.append(len(here.messages) + len(there.messages))

    turn.run(event)
    assert seen == [2]
    assert there.messages[-1] == Lease(1, 2, 0, 5)
    assert here.buffers[-1] == [b"abc"]


def test_it_opens_as_over_a_socket(pair):
    _, _, _, one, other = pair
    assert one.local and one.state is LinkState.OPENING
    with pytest.raises(ProtocolError):
        one.send(Lease(1, 2, 0, 5))
    opened(pair)
    assert one.state is other.state is LinkState.OPEN


def test_a_close_comes_after_what_was_sent_and_once_at_both_ends(pair):
    turn, here, there, one, other = pair
    opened(pair)

    def event():
        one.send(Lease(1, 2, 0, 5))
        one.close("enough")
        one.send(Lease(2, 2, 5, 6))
        other.close("me too")

    turn.run(event)
    assert [reason for _, reason in here.lost] == ["enough"]
    assert [reason for _, reason in there.lost] == ["enough"]


def test_what_was_sent_before_a_close_arrives(pair):
    turn, _here, there, one, other = pair
    opened(pair)

    def event():
        one.send(Lease(1, 2, 0, 5))
        one.close("enough")

    turn.run(event)
    assert there.messages[-1] == Lease(1, 2, 0, 5)
    assert one.state is other.state is LinkState.CLOSED


def test_a_message_that_cannot_be_handled_does_not_cost_the_next(pair):
    turn, _here, there, one, _other = pair
    opened(pair)

    def fail(link, message, buffers):
        if message.lease == 1:
            raise ValueError

    there.answer = fail
    turn.run(lambda: (one.send(Lease(1, 2, 0, 5)), one.send(Lease(2, 2, 0, 5))))
    assert there.messages[-1] == Lease(2, 2, 0, 5)

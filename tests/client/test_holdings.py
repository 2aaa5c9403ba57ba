"""What a program says of values in stores to a scheduler that came back, and what it sends again."""

from twistcluster.client.holdings import Holdings
from twistcluster.wire.messages import Stored

FOUND, SENT, OTHER = (Stored(0, name * 16, 5) for name in (b"f", b"s", b"o"))


def made():
    holdings = Holdings()
    holdings.told([FOUND, FOUND])
    holdings.told([SENT], [b"sent"])
    return holdings


def test_each_is_said_as_often_as_it_was_told():
    holdings = made()
    assert holdings.all() == [FOUND, FOUND, SENT]
    holdings.dropped([FOUND.id, SENT.id, b"unknown"])
    assert holdings.all() == [FOUND]


def test_only_what_was_sent_and_is_missing_is_sent_again():
    holdings = made()
    assert holdings.sent() == [SENT.id]
    assert holdings.lost([]) == []
    assert holdings.lost([SENT.id, FOUND.id, b"unknown"]) == [(SENT, [b"sent"])]
    assert holdings.all(but_once=[SENT.id]) == [FOUND, FOUND]


def test_what_was_sent_since_it_was_named_never_left():
    holdings = made()
    holdings.sent()
    holdings.told([OTHER], [b"other"])
    assert holdings.lost([]) == [(OTHER, [b"other"])]


def test_what_was_dropped_is_not_sent_again():
    holdings = made()
    holdings.sent()
    holdings.dropped([SENT.id])
    assert holdings.lost([SENT.id]) == []

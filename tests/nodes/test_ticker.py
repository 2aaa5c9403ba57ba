from twisted.internet.task import Clock

from twistcluster.nodes.ticker import Ticker


def make():
    clock = Clock()
    rung = []
    ticker = Ticker(clock, lambda: rung.append(ticker.now()), clock.seconds)
    return clock, ticker, rung


def test_it_rings_when_asked_and_the_earliest_wins():
    clock, ticker, rung = make()
    ticker.wake_at(5)
    ticker.wake_at(2)
    ticker.wake_at(9)
    clock.advance(1.9)
    assert rung == []
    clock.advance(0.1)
    assert rung == [2.0]
    ticker.wake_at(None)
    assert clock.getDelayedCalls() == []


def test_time_that_is_past_rings_at_once():
    clock, ticker, rung = make()
    clock.advance(3)
    ticker.wake_at(1)
    clock.advance(0)
    assert rung == [3.0]


def test_a_time_long_past_does_not_turn_the_clock_back():
    clock, ticker, rung = make()
    clock.advance(100)
    ticker.wake_at(1)
    assert ticker.now() == 100.0
    clock.advance(0)
    assert rung == [100.0]


def test_an_alarm_for_a_time_long_past_sees_the_computer_sleep():
    clock, ticker, _ = make()
    clock.advance(100)
    ticker.wake_at(1)
    clock.rightNow = 1000.0
    assert ticker.now() == 100.0


def test_while_the_computer_slept_no_time_passed():
    clock, ticker, rung = make()
    ticker.wake_at(2)
    clock.rightNow = 1000.0  # an event comes before the alarm does
    assert ticker.now() == 2.0
    clock.advance(1)
    assert rung == [3.0]
    ticker.wake_at(4)
    clock.advance(1)
    assert rung == [3.0, 4.0]


def test_a_little_late_is_late():
    clock, ticker, rung = make()
    ticker.wake_at(2)
    clock.rightNow = 6.0
    clock.advance(0)
    assert rung == [6.0]


def test_stopped_it_rings_no_more():
    clock, ticker, rung = make()
    ticker.wake_at(2)
    ticker.stop()
    ticker.stop()
    clock.advance(5)
    assert rung == []

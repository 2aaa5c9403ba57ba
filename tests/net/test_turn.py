from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twistcluster.net.turn import Turn
from twistcluster.wire import limits


class Written:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def flush(self):
        self.log.append(f"flush {self.name}")


def test_calls_come_at_the_end_in_order_and_what_each_sent_leaves_before_the_next():
    log = []
    turn = Turn(Clock())

    def event():
        turn.unflushed(Written(log, "a"))
        turn.soon(lambda: (log.append("first"), turn.unflushed(Written(log, "b"))))
        turn.soon(lambda: turn.soon(lambda: log.append("third")))
        turn.run(lambda: log.append("inner"))
        log.append("event")

    turn.run(event)
    assert log == ["inner", "event", "flush a", "first", "flush b", "third"]


def test_outside_of_an_event_a_timer_without_delay_does_it_once():
    clock = Clock()
    log = []
    turn = Turn(clock)
    turn.soon(lambda: log.append(1))
    turn.unflushed(Written(log, "a"))
    assert log == [] and len(clock.getDelayedCalls()) == 1
    clock.advance(0)
    assert log == ["flush a", 1]


def test_a_call_that_fails_does_not_cost_the_others():
    log = []
    turn = Turn(Clock())
    turn.soon(lambda: 1 / 0)
    turn.soon(lambda: log.append("second"))
    turn.run(lambda: None)
    assert log == ["second"]


def test_an_event_that_fails_still_lets_out_what_was_sent():
    log = []
    turn = Turn(Clock())

    def event():
        turn.unflushed(Written(log, "a"))
        raise KeyError

    try:
        turn.run(event)
    except KeyError:
        log.append("raised")
    assert log == ["flush a", "raised"]
    turn.soon(lambda: log.append("later"))
    turn.run(lambda: None)
    assert log[-1] == "later"


class Flood:
    """A link with so many messages that wait."""

    def __init__(self, log, name, waiting):
        self.log, self.name, self.waiting = log, name, waiting

    def handle_some(self, count):
        if self.waiting == "broken":
            raise KeyError(self.name)
        count = min(count, self.waiting)
        self.waiting -= count
        self.log.append((self.name, count))
        return self.waiting > 0


class Turns:
    """A reactor's clock: what is asked for in one turn comes in the next."""

    def __init__(self):
        self.calls = []
        self.now = 0.0

    def seconds(self):
        return self.now

    def callLater(self, delay, call):
        assert delay == 0
        self.calls.append(call)

    def next(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@given(st.lists(st.integers(1, 1000), max_size=12))
def test_links_that_are_behind_take_turns_and_a_turn_is_bounded(sizes):
    reactor, log = Turns(), []
    turn = Turn(reactor)
    floods = [Flood(log, number, size) for number, size in enumerate(sizes)]
    for flood in floods:
        turn.behind(flood)
    assert not log
    while reactor.calls:
        del log[:]
        left = sum(flood.waiting for flood in floods)
        reactor.next()
        handled = sum(count for _, count in log)
        assert 0 < handled <= limits.MESSAGES_PER_TURN
        assert left - sum(flood.waiting for flood in floods) == handled
        names = [name for name, _ in log]
        several = {name for name in names if names.count(name) > 1}
        waiting = {number for number, flood in enumerate(floods) if flood.waiting} - set(names)
        assert not (several and waiting), "nobody has a second portion before all had one"
    assert all(flood.waiting == 0 for flood in floods)


def test_what_a_portion_sends_leaves_before_the_next_and_a_link_may_fall_behind_again():
    clock, log = Clock(), []
    turn = Turn(clock)

    class Again(Flood):
        def handle_some(self, count):
            turn.unflushed(Written(log, self.name))
            return super().handle_some(count)

    turn.behind(Again(log, "a", 40))
    turn.behind(Again(log, "b", 1))
    clock.advance(0)
    assert log == [("a", 32), "flush a", ("b", 1), "flush b", ("a", 8), "flush a"]
    turn.behind(Again(log, "b", 1))
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(0)
    assert log[-2:] == [("b", 1), "flush b"]


def test_a_portion_that_fails_costs_its_link_the_turn_and_others_nothing():
    clock, log = Clock(), []
    turn = Turn(clock)
    turn.behind(Flood(log, "broken", "broken"))
    turn.behind(Flood(log, "fine", 3))
    clock.advance(0)
    assert log == [("fine", 3)]
    assert not clock.getDelayedCalls()


def test_portions_that_take_long_are_alone_in_their_turn():
    reactor, log = Turns(), []
    turn = Turn(reactor)

    class Slow(Flood):
        def handle_some(self, count):
            reactor.now += 2 * limits.HANDLING_SECONDS
            return super().handle_some(1)

    for name in "ab":
        turn.behind(Slow(log, name, 2))
    for expected in ("a", "ab", "aba", "abab"):
        reactor.next()
        assert "".join(name for name, _ in log) == expected
    assert not reactor.calls

from twisted.internet.task import Clock

from twistcluster.net.turn import Turn


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

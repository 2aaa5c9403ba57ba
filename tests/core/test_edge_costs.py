"""What edges cost: calls made inside the machine, counted, not timed. Ten times the edges may cost eleven times the calls."""

import sys

import pytest

from tests.core.desk import CONTEXT, FUNCTION
from twistcluster.core.effects import Send
from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.wire import messages as m

CLIENT, WORKER = 1, 2
SMALL = 1000


class Run:
    """A scheduler, a client and a worker, and what was called inside the scheduler."""

    def __init__(self, slots=4):
        self.calls = 0
        self.leases = []
        self.values = 0
        self.results = 0
        self.failed = 0
        self.cancelled = 0
        self.scheduler = Scheduler(Identity(epoch="e", cluster="c", python="3.11", version="1", pid=1), now=0.0)
        for peer, role, width in [(CLIENT, "client", 0), (WORKER, "worker", slots)]:
            hello = m.Hello(m.PROTOCOL, role, "3.11", "1", f"{peer:032x}", 1, "host", peer, slots=width)
            self.carry_out(self.scheduler.connected(peer, hello, 0.0))
        self.say(CLIENT, m.Blob(FUNCTION), b"function")
        self.say(CLIENT, CONTEXT)

    def count(self, _frame, event, _argument):
        self.calls += event in ("call", "c_call")

    def say(self, peer, message, *buffers):
        sys.setprofile(self.count)
        try:
            effects = self.scheduler.received(peer, message, buffers, 0.0)
        finally:
            sys.setprofile(None)
        self.carry_out(effects)

    def carry_out(self, effects):
        for effect in effects:
            match effect:
                case Send(_, m.Lease() as lease, _):
                    self.leases.append(lease)
                case Send(_, m.Values(), _):
                    self.values += 1
                case Send(_, m.Results() as results, _):
                    self.results += results.count
                case Send(_, m.Failed(), _):
                    self.failed += 1
                case Send(_, m.Cancelled() as cancelled, _):
                    self.cancelled += sum(stop - start for start, stop in cancelled.ranges)

    def job(self, number, count, edges=None):
        self.say(CLIENT, m.OpenJob(number, [FUNCTION], CONTEXT.digest, count=count))
        for first in range(0, count, 4096):
            page = min(4096, count - first)
            waits = (
                [m.Edge(i, n, j, at) for i in range(page) for n, (j, at) in enumerate(edges(first + i))]
                if edges
                else []
            )
            self.say(CLIENT, m.Page(number, first, page, 0, edges=waits), b"items")

    def work(self):
        while self.leases:
            lease = self.leases.pop()
            self.say(WORKER, m.Report(lease.lease, lease.start, lease.stop - lease.start, 0, 0.01), b"results")

    def fail_first(self):
        lease = self.leases.pop()
        self.say(WORKER, m.Failure(lease.lease, lease.start, 0.1, m.ErrorInfo("raised", "ValueError", "no")))


def chain(n):
    run = Run()
    run.job(1, n, lambda item: [(1, item - 1)] if item else [])
    run.work()
    assert run.results == n
    assert run.values == n - 1
    return run


def fan_out(n):
    run = Run()
    run.job(1, 1)
    run.job(2, n, lambda _: [(1, 0)])
    run.work()
    assert run.results == n + 1
    assert run.values == 1
    return run


def fan_in(n):
    run = Run()
    run.job(1, n)
    run.job(2, 1, lambda _: [(1, item) for item in range(n)])
    run.work()
    assert run.results == n + 1
    return run


def whole_fan(n):
    run = Run()
    run.job(1, n)
    run.job(2, n, lambda _: [(1, -1)])
    run.work()
    assert run.results == 2 * n
    return run


def failing_chain(n):
    run = Run()
    run.job(1, n, lambda item: [(1, item - 1)] if item else [])
    run.fail_first()
    assert run.failed == n
    return run


def cancelled_chain(n):
    run = Run()
    run.job(1, n, lambda item: [(1, item - 1)] if item else [])
    run.say(CLIENT, m.Cancel(1, 1, 2))
    assert run.cancelled == n - 1
    return run


def waiting_the_other_way(n):
    run = Run()
    run.job(1, n, lambda item: [(1, item + 1)] if item < n - 1 else [])
    run.work()
    assert run.results == n
    return run


def chain_that_is_waited_for(n):
    run = Run()
    run.say(CLIENT, m.OpenJob(1, [FUNCTION], CONTEXT.digest))
    run.job(2, 1, lambda _: [(1, -1)])
    for first in range(0, n, 500):
        waits = [m.Edge(i, 0, 1, first + i - 1) for i in range(500) if first + i]
        run.say(CLIENT, m.Page(1, first, 500, 0, edges=waits), b"items")
    run.say(CLIENT, m.CloseJob(1, n))
    run.work()
    assert run.results == n + 1
    return run


def fed(n):
    run = Run()
    run.job(1, n)
    run.say(CLIENT, m.OpenJob(2, [FUNCTION], CONTEXT.digest, source=1))
    run.work()
    assert run.results == 2 * n
    return run


@pytest.mark.parametrize(
    "what",
    [
        chain,
        fan_out,
        fan_in,
        whole_fan,
        failing_chain,
        cancelled_chain,
        waiting_the_other_way,
        chain_that_is_waited_for,
        fed,
    ],
)
def test_edges_cost_what_they_are(what):
    small, large = what(SMALL).calls, what(10 * SMALL).calls
    assert large <= 11 * small, f"{small} calls for {SMALL} edges, {large} for ten times as many"


@pytest.mark.slow
@pytest.mark.parametrize(("what", "times"), [(chain, 30), (fan_out, 100), (fan_in, 100)])
def test_up_to_a_hundred_thousand_edges(what, times):
    small, large = what(SMALL).calls, what(times * SMALL).calls
    assert large <= 1.1 * times * small

"""How often the scheduler has an item tried: exceptions, time-outs, crashes; and cancelling of what runs."""

import math

import pytest

from tests.core.desk import Desk, Peer
from twistcluster.wire import messages as m

RAISED = m.ErrorInfo("raised", "ValueError", "no")


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def client(desk) -> Peer:
    return desk.client()


@pytest.fixture
def worker(desk) -> Peer:
    return desk.worker(1)


def lease(worker):
    """The lease that came last."""
    return worker.take(m.Lease)[-1]


def fail(worker, why="raised", index=0):
    worker.say(m.Failure(lease(worker).lease, index, 0.01, m.ErrorInfo(why, "ValueError", "no")))


def crash(worker, **more):
    worker.say(m.Crashed(lease(worker).lease, 0, "exit code 3", **more))


# ---- retries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["raised", "timeout", "argument", "result"])
def test_a_failure_is_tried_again_so_often(client, worker, why):
    client.job(1, retries=2)
    for _ in range(2):
        fail(worker, why)
        assert not client.got(m.Failed)
    fail(worker, why)
    assert [failed.error.why for failed in client.got(m.Failed)] == [why]


@pytest.mark.parametrize("why", ["context", "gone"])
def test_what_is_not_the_items_own_is_not_tried_again(client, worker, why):
    client.job(1, retries=2)
    fail(worker, why)
    assert len(client.got(m.Failed)) == 1


def test_without_retries_a_failure_is_final(client, worker):
    client.job(1)
    fail(worker)
    assert len(client.got(m.Failed)) == 1


def test_a_later_success_counts(client, worker):
    job = client.job(1, retries=1)
    fail(worker)
    worker.work()
    assert len(client.got(m.Results)) == 1 and job.state == "done"


def test_crashes_and_retries_are_counted_apart(client, worker):
    client.job(1, retries=1, max_crashes=2)
    crash(worker)
    fail(worker)
    assert not client.got(m.Failed)
    crash(worker)
    assert [failed.error.why for failed in client.got(m.Failed)] == ["crashed"]


def test_counts_begin_anew_when_the_client_retries(client, worker):
    client.job(1, retries=1)
    fail(worker)
    fail(worker)
    client.say(m.Retry(1))
    fail(worker)
    assert len(client.got(m.Failed)) == 1
    worker.work()
    assert len(client.got(m.Results)) == 1


# ---- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 5])
def test_so_many_crashes_fail_the_item(client, worker, most):
    client.job(1, max_crashes=most)
    for _ in range(most - 1):
        crash(worker)
        assert not client.got(m.Failed)
    crash(worker, peak_bytes=123 << 20, printed="one\ntwo")
    (failed,) = client.got(m.Failed)
    text = failed.error.message
    assert ("ended its slot by exit code 3" if most == 1 else f"{most} times, the last time by exit code 3") in text
    assert "123 MiB" in text and "\n  one\n  two\n" in text and "Run it alone" in text


def test_too_much_memory_in_a_fresh_slot_is_final(client, worker):
    client.job(1)
    worker.say(m.Crashed(lease(worker).lease, 0, "killed for memory: it used 2.3 GiB", over_limit=True, first=True))
    (failed,) = client.got(m.Failed)
    assert failed.error.message.startswith("it was killed for memory: it used 2.3 GiB.")
    assert "memory_limit" in failed.error.message


def test_too_much_memory_in_a_used_slot_is_tried_once_more(client, worker):
    client.job(1)
    crash(worker, over_limit=True)
    assert not client.got(m.Failed)
    crash(worker, over_limit=True)
    assert len(client.got(m.Failed)) == 1


def test_too_much_memory_is_not_tried_more_often_than_crashes(client, worker):
    client.job(1, max_crashes=1)
    crash(worker, over_limit=True)
    assert len(client.got(m.Failed)) == 1


# ---- cancelling what runs --------------------------------------------------------------------------------------------


def test_the_worker_is_told_what_to_stop(client, worker):
    client.job(1, count=4)
    held = lease(worker)
    client.say(m.Cancel(1, 0, 1))
    assert worker.got(m.StopItems) == [m.StopItems(held.lease, 0, 1)]
    assert not any((0, 1) in told.ranges for told in client.got(m.Cancelled))


def test_a_stopped_item_is_told_as_cancelled_with_what_waits_for_it(desk, client, worker):
    job = client.job(1)
    held = lease(worker)
    client.say(m.OpenJob(2, [b"f" * 16], b"c" * 16, count=1))
    client.say(m.Page(2, 0, 1, 0, edges=[m.Edge(0, 0, 1, 0)]), b"items")
    client.say(m.Cancel(1))
    worker.say(m.Released(held.lease, 0, 1))
    assert [(told.job, told.ranges) for told in client.got(m.Cancelled)] == [(1, [(0, 1)]), (2, [(0, 1)])]
    assert job.state == "cancelled" and not worker.take(m.Lease)


def test_a_success_that_was_faster_is_taken(client, worker):
    job = client.job(1)
    held = lease(worker)
    client.say(m.Cancel(1))
    worker.report(held)
    assert len(client.got(m.Results)) == 1 and not client.got(m.Cancelled) and job.state == "done"


@pytest.mark.parametrize(
    "message",
    [
        lambda number: m.Failure(number, 0, 0.1, RAISED),
        lambda number: m.Failure(number, 0, 0.1, m.ErrorInfo("timeout", "TaskTimeout", "")),
        lambda number: m.Crashed(number, 0, "signal 2 (SIGINT)"),
    ],
)
def test_an_item_that_fails_after_it_was_cancelled_is_cancelled(client, worker, message):
    client.job(1, max_crashes=1)
    held = lease(worker)
    client.say(m.Cancel(1))
    worker.say(message(held.lease))
    assert [told.ranges for told in client.got(m.Cancelled)] == [[(0, 1)]]
    assert not client.got(m.Failed) and not worker.take(m.Lease)


# ---- what makes no sense ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": 2**62},
        {"max_crashes": 0},
        {"max_crashes": -3},
        {"time_limit": -1.0},
        {"time_limit": math.nan},
        {"time_limit": math.inf},
    ],
)
def test_limits_that_make_no_sense_cost_the_link(client, options):
    client.say(m.OpenJob(1, [b"f" * 16], b"c" * 16, count=1, **options))
    assert client.closed


def test_the_worker_hears_of_the_time_limit(client, worker):
    client.job(1, time_limit=2.5)
    assert [opened.time_limit for opened in worker.got(m.OpenJob)] == [2.5]

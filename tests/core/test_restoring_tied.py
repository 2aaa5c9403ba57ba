"""What ties a job to others is known again after the scheduler died: for items that are tried again, too."""

import pytest

from tests.core.desk import CONTEXT, FUNCTION
from tests.core.test_restoring import adopted, fail, job_of, named
from twistcluster.wire import messages as m


def with_edges(client):
    """Job 2, whose only item waits for the only one of job 1."""
    client.say(m.OpenJob(2, [FUNCTION], CONTEXT.digest, count=1))
    client.say(m.Page(2, 0, 1, 0, edges=[m.Edge(0, 0, 1, 0)]), b"items")


def fed(client):
    """Job 2, whose items' arguments are job 1's results."""
    client.say(m.OpenJob(2, [FUNCTION], CONTEXT.digest, count=1, source=1))


def brought(worker, key, job_key):
    """An item's input is with the worker: as a value, or as the page of the job that it feeds."""
    values = [each for each in worker.got(m.Values) if each.job == key]
    return values or [page for page in worker.got(m.Page) if page.job == job_key and not page.edges]


@pytest.mark.parametrize("tie", [with_edges, fed])
@pytest.mark.parametrize("own", [True, False])
def test_a_failed_item_that_is_tried_again_gets_its_input(tie, own):
    desk = named()
    worker, client = desk.worker(1), desk.client()
    client.job(1)
    tie(client)
    (lease,) = worker.take(m.Lease)
    if own:
        worker.report(lease)
        (lease,) = worker.take(m.Lease)
    fail(worker, lease, 0)
    assert job_of(desk, 2).state == "failed"
    desk.write()
    desk = desk.again()
    first, _ = adopted(desk, 1)
    second, _ = adopted(desk, 2)
    worker = desk.worker(1)
    if not own:
        first.say(m.Retry(7))
    second.say(m.Retry(7))
    worker.work()
    assert [job_of(desk, number).state for number in (1, 2)] == ["done", "done"]
    assert brought(worker, job_of(desk, 1).key, job_of(desk, 2).key)


@pytest.mark.parametrize("tie", [with_edges, fed])
def test_an_input_that_its_client_let_go_of_is_there_for_who_waits(tie):
    desk = named()
    worker, client = desk.worker(1), desk.client()
    first = client.job(1)
    worker.work()
    worker.leave()
    tie(client)
    desk.write()
    client.say(m.Release(1))
    desk.write()
    desk = desk.again()
    worker = desk.worker(1)
    worker.work()
    assert job_of(desk, 2).state == "done"
    assert brought(worker, first.key, job_of(desk, 2).key)
    assert list(desk.scheduler.jobs) == [first.key, job_of(desk, 2).key]


@pytest.mark.parametrize("tie", [with_edges, fed])
def test_an_input_goes_when_nobody_reads_it_any_more(tie):
    desk = named()
    worker, client = desk.worker(1), desk.client()
    first = client.job(1)
    worker.work()
    tie(client)
    client.say(m.Release(1))
    assert first.key in desk.scheduler.jobs
    worker.work()
    assert first.key not in desk.scheduler.jobs


@pytest.mark.parametrize("tie", [with_edges, fed])
def test_an_input_stays_as_long_as_who_reads_it_may_be_tried_again(tie):
    desk = named()
    worker, client = desk.worker(1), desk.client()
    first = client.job(1)
    worker.work()
    tie(client)
    client.say(m.Release(1))
    (lease,) = worker.take(m.Lease)
    fail(worker, lease, 0)
    assert job_of(desk, 2).state == "failed" and first.key in desk.scheduler.jobs
    client.say(m.Release(2))
    assert not desk.scheduler.jobs

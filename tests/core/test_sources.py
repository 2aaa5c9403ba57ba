import pytest

from tests.core.desk import CONTEXT, FUNCTION, Desk
from tests.core.test_edges import edge, fail, fates, submit
from twistcluster.wire import messages as m


def feed(client, number, source, **options):
    client.say(m.OpenJob(number, [FUNCTION], CONTEXT.digest, source=source, **options))
    jobs = client.desk.scheduler.jobs.values()
    return next((job for job in jobs if job.number == number and job.owner.peer == client.number), None)


def told(client, number):
    return [(index, what) for job, index, what in fates(client) if job == number]


def test_each_report_of_a_source_is_a_page_whose_items_run_at_once():
    desk = Desk()
    worker, client = desk.worker(3), desk.client()
    first = submit(client, 1, (3, []))
    job = feed(client, 2, 1, count=3)
    [lease] = worker.take(m.Lease)
    stored = [m.Stored(0, b"o" * 16, 1 << 20)]
    worker.say(m.Report(lease.lease, 2, 1, 1, 0.1, [], stored), b"table", b"row")
    [page] = [page for page in worker.take(m.Page) if page.job == job.key]
    assert (page.first, page.count, page.kind, page.objects, page.edges) == (2, 1, 1, stored, [])
    worker.report(lease, 0, 2)
    assert [(page.first, page.count) for page in worker.got(m.Page)] == [(0, 2)]
    assert job.firsts == [0, 2]
    worker.work()
    assert [first.state, job.state] == ["done", "done"]
    assert told(client, 2) == [(2, "done"), (0, "done"), (1, "done")]


def test_a_source_that_is_over_and_was_told_is_asked_of_the_client():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (6, []))
    worker.work()
    job = feed(client, 2, 1)
    assert client.got(m.CloseJob)[-1] == m.CloseJob(2, 6)
    assert client.got(m.Wanted) == [m.Wanted(1, [(0, 6)])]
    client.say(m.Release(1))
    client.say(m.Values(1, 4, 2, 0), b"some")
    client.say(m.Values(1, 0, 4, 0), b"some")
    worker.work()
    assert job.state == "done"


def test_a_source_that_is_over_and_held_is_asked_of_nobody():
    desk = Desk("lab")
    worker, client = desk.worker(2), desk.client()
    submit(client, 1, (6, []))
    worker.work()
    job = feed(client, 2, 1, count=6)
    assert not client.got(m.Wanted) and not client.got(m.CloseJob)
    worker.work()
    assert job.state == "done"


def test_a_lazy_source_says_how_many_items_there_are():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (2, []), count=None)
    jobs = [feed(client, 2, 1), feed(client, 3, 2)]
    client.say(m.Page(1, 2, 2, 0), b"items")
    assert [job.arrived for job in jobs] == [4, 4]
    worker.work()
    client.say(m.CloseJob(1, 4, "OSError: disk"))
    worker.work()
    assert [job.state for job in jobs] == ["failed", "failed"]  # as far as it came: with what its source lacks
    assert [(c.job, c.count, bool(c.error)) for c in client.got(m.CloseJob)] == [(n, 4, True) for n in (1, 2, 3)]
    assert len(told(client, 3)) == 4


def test_fates_travel_from_source_to_job_in_ranges():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (10, []), label="load-1")
    jobs = [feed(client, 2, 1, count=10), feed(client, 3, 2, count=10)]
    [lease] = worker.take(m.Lease)
    client.say(m.Cancel(1, 4, 8))
    assert [(c.job, c.ranges) for c in client.got(m.Cancelled)] == [(n, [(4, 8)]) for n in (1, 2, 3)]
    fail(worker, lease, 0, b"exception")
    failed = client.got(m.Failed)
    assert [(f.job, f.index, f.error.why) for f in failed] == [(1, 0, "raised"), (2, 0, "input"), (3, 0, "input")]
    assert failed[2].error.message == "it waits for load-1: item 0 failed with ValueError: no"
    worker.work()
    assert [job.state for job in jobs] == ["failed", "failed"]
    late = feed(client, 4, 1)
    assert [(c.job, c.ranges) for c in client.got(m.Cancelled)][-1] == (4, [(4, 8)])
    assert told(client, 4)[-1] == (0, "input")
    assert list(late.spans.waiting) == [(1, 4), (8, 10)]


def test_a_job_can_be_cancelled_and_its_source_goes_on():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (4, []))
    job, last = feed(client, 2, 1), feed(client, 3, 2)
    client.say(m.Cancel(2, 1, None))
    assert told(client, 2) == told(client, 3) == [(1, "cancelled"), (2, "cancelled"), (3, "cancelled")]
    worker.work()
    assert [first.state, job.state, last.state] == ["done", "cancelled", "cancelled"]
    assert len(told(client, 3)) == 4


@pytest.mark.parametrize("count", [None, 9])
def test_cancelling_a_source_that_is_still_sent(count):
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (4, []), count=count)
    job, last = feed(client, 2, 1), feed(client, 3, 2)
    client.say(m.Cancel(1))
    worker.work()
    total = 9 if count else 4
    assert [job.count, last.count] == [total, total]
    assert len(told(client, 3)) == total
    assert job.over and last.over


@pytest.mark.parametrize("count", [None, 9])
def test_cancelling_a_job_whose_source_is_still_sent(count):
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (4, []), count=count)
    job, last = feed(client, 2, 1), feed(client, 3, 2)
    client.say(m.Cancel(2, 2))
    client.say(m.Page(1, 4, 5, 0), b"items")
    client.say(m.CloseJob(1, 9))
    worker.work()
    assert [first.state, first.count] == ["done", 9]
    total = 9 if count else 4
    assert [job.count, last.count, job.state, last.state] == [total, total, "cancelled", "cancelled"]
    assert len(told(client, 3)) == total


def test_items_of_a_job_that_shall_not_start_are_cancelled_when_they_come():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (2, []), count=None)
    job, last = feed(client, 2, 1), feed(client, 3, 2)
    client.say(m.Cancel(2, 3, 5))
    client.say(m.Cancel(2, 6, None))
    client.say(m.Page(1, 2, 6, 0), b"items")
    client.say(m.CloseJob(1, 8))
    worker.work()
    gone = [(n, "cancelled") for n in (3, 4, 6, 7)]
    assert sorted(f for f in told(client, 2) if f[1] == "cancelled") == gone
    assert sorted(f for f in told(client, 3) if f[1] == "cancelled") == gone
    assert job.over and last.over


def test_items_of_both_tried_again():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (3, []))
    job = feed(client, 2, 1)
    fail(worker, worker.take(m.Lease)[0], 0)
    worker.work()
    assert [first.state, job.state] == ["failed", "failed"]
    client.say(m.Retry(2))
    assert told(client, 2)[-1] == (0, "input") and job.state == "failed"
    client.say(m.Retry(1))
    worker.work()
    assert [first.state, job.state] == ["done", "failed"]
    client.say(m.Retry(2))
    worker.work()
    assert job.state == "done"
    assert not client.got(m.Wanted)


def test_an_item_tried_again_while_its_source_runs_waits_for_it():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (1, []))
    job = feed(client, 2, 1)
    fail(worker, worker.take(m.Lease)[0], 0)
    client.say(m.Retry(1))
    client.say(m.Retry(2))
    assert job.spans.waiting
    worker.work()
    assert job.state == "done"


def test_an_item_that_failed_itself_is_tried_again_with_its_page():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (1, []))
    job = feed(client, 2, 1)
    worker.report(worker.take(m.Lease)[0])
    fail(worker, worker.take(m.Lease)[0], 0)
    client.say(m.Release(1))
    client.say(m.Retry(2))
    worker.work()
    assert job.state == "done"


def test_a_released_source_feeds_on():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (3, []))
    job = feed(client, 2, 1)
    client.say(m.Release(1))
    worker.work()
    assert job.state == "done"
    client.say(m.Release(2))
    assert not desk.scheduler.jobs


def test_the_client_of_a_source_goes_away():
    desk = Desk("lab")
    worker, maker, client = desk.worker(1), desk.client(), desk.client()
    first = submit(maker, 1, (3, []), count=8)
    client.say(m.Adopt(1, 7, first.id))
    job = feed(client, 9, 7, count=8)
    maker.leave()
    worker.work()
    assert client.got(m.CloseJob)[-1].count == 3
    assert len(told(client, 9)) == 3
    assert job.state == "failed"


def test_a_circle_through_a_source():
    desk = Desk()
    client = desk.client()
    submit(client, 1, (1, []), count=None)
    feed(client, 2, 1)
    client.say(m.Page(1, 1, 2, 0, edges=[edge(1, 2, 2)]), b"items")
    assert [fate for fate in fates(client) if fate[2] == "input"] == [(1, 2, "input"), (2, 2, "input")]
    client.say(m.Page(1, 3, 1, 0, edges=[edge(0, 2, -1)]), b"items")
    assert told(client, 1)[-1] == (3, "input")


@pytest.mark.parametrize(
    "message", [m.Page(2, 0, 1, 0), m.CloseJob(2, 1), m.OpenJob(3, [FUNCTION], CONTEXT.digest, source=9)]
)
def test_what_nobody_says_of_a_job_with_a_source(message):
    desk = Desk()
    client = desk.client()
    submit(client, 1, (1, []))
    feed(client, 2, 1)
    client.say(message, b"items")
    assert client.closed


def test_answers_must_not_cut_across_pages():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (4, []))
    worker.work()
    feed(client, 2, 1)
    client.say(m.Values(1, 1, 2, 0), b"some")
    client.say(m.Values(1, 0, 4, 0), b"all")
    assert "some of them are here" in client.got(m.Refused)[0].message


def test_an_empty_source():
    desk = Desk()
    client = desk.client()
    submit(client, 1)
    assert feed(client, 2, 1).state == "done"


def test_a_chain_of_sources_deeper_than_recursion_goes():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (1, []), count=None)
    depth = 1500
    for number in range(2, depth):
        desk.scheduler.received(
            client.number, m.OpenJob(number, [FUNCTION], CONTEXT.digest, source=number - 1), (), 0.0
        )
    client.say(m.Page(1, 1, 2, 0), b"items")
    client.say(m.CloseJob(1, 3))
    fail(worker, worker.take(m.Lease)[0], 0)
    client.say(m.Cancel(1))
    assert len([f for f in client.got(m.Failed) if f.error.why == "input"]) == depth - 2

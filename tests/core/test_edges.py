import pytest

from tests.core.desk import CONTEXT, FUNCTION, Desk
from twistcluster.wire import messages as m


def edge(item, job, index, number=0):
    return m.Edge(item, number, job, index)


def submit(client, number, *pages, **options):
    """Open a job with one page for each list of edges: (count, edges)."""
    count = sum(items for items, _ in pages)
    client.say(m.OpenJob(number, [FUNCTION], CONTEXT.digest, **{"count": count, **options}))
    first = 0
    for items, edges in pages:
        client.say(m.Page(number, first, items, 0, edges=edges), b"items")
        first += items
    jobs = client.desk.scheduler.jobs.values()
    return next((job for job in jobs if job.number == number and job.owner.peer == client.number), None)


def names(worker):
    return [type(message).__name__ for message in worker.heard]


def fates(client):
    """What the client was told of items: (job, index, what)."""
    found = []
    for message in client.heard:
        match message:
            case m.Results(job=job, first=first, count=count):
                found += [(job, index, "done") for index in range(first, first + count)]
            case m.Failed(job=job, index=index, error=error):
                found.append((job, index, error.why))
            case m.Cancelled(job=job, ranges=ranges):
                found += [(job, index, "cancelled") for start, stop in ranges for index in range(start, stop)]
    return found


def test_an_item_runs_once_its_input_is_done_and_the_value_goes_ahead_of_it():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (1, []))
    second = submit(client, 2, (1, [edge(0, 1, 0)]))
    [lease] = worker.take(m.Lease)
    assert lease.job == first.key
    worker.heard.clear()
    worker.report(lease)
    assert names(worker) == ["EndJob", "OpenJob", "Page", "Values", "Lease"]
    [values], [page] = worker.got(m.Values), worker.got(m.Page)
    assert (values.job, values.first, values.count) == (first.key, 0, 1)
    assert page.edges == [edge(0, first.key, 0)]
    worker.work()
    assert second.state == "done"
    assert worker.got(m.DropValues) == [m.DropValues(first.key, [0])]


def test_items_of_a_page_without_edges_run_at_once():
    desk = Desk()
    worker, client = desk.worker(8), desk.client()
    slow = submit(client, 1, (1, []))
    job = submit(client, 2, (4, [edge(1, 1, 0), edge(2, 1, 0)]))
    assert list(job.spans.waiting) == [(1, 3)]
    leases = worker.take(m.Lease)
    assert [(lease.start, lease.stop) for lease in leases if lease.job == job.key] == [(0, 1), (3, 4)]
    worker.report(next(lease for lease in leases if lease.job == slow.key))
    assert not job.spans.waiting


def test_a_value_goes_to_each_worker_once():
    desk = Desk()
    workers, client = [desk.worker(2), desk.worker(2)], desk.client()
    submit(client, 1, (1, []))
    submit(client, 2, (40, [edge(item, 1, 0) for item in range(40)]))
    for _ in range(60):
        for worker in workers:
            for lease in worker.take(m.Lease):
                worker.report(lease)
    assert [len(worker.got(m.Values)) for worker in workers] == [1, 1]
    assert len([fate for fate in fates(client) if fate[2] == "done"]) == 41


def test_a_report_is_kept_whole_with_what_it_names():
    desk = Desk()
    worker, client = desk.worker(4), desk.client()
    kind = b"k" * 16
    client.say(m.Blob(kind), b"class")
    submit(client, 1, (4, []))
    submit(client, 2, (1, [edge(0, 1, 2)]))
    stored = [m.Stored(2, b"o" * 16, 1 << 20)]
    for lease in worker.take(m.Lease):
        worker.say(m.Report(lease.lease, lease.start, 4, 1, 0.1, [kind], stored), b"table", b"rows")
    [values] = worker.got(m.Values)
    assert (values.first, values.count, values.kind, values.definitions, values.objects) == (0, 4, 1, [kind], stored)
    assert client.got(m.Results)[0].objects == stored
    assert names(worker).index("Blob") < names(worker).index("Values")


def test_a_worker_that_is_lost_is_no_loss_of_values():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (1, []))
    job = submit(client, 2, (1, [edge(0, 1, 0)]))
    worker.report(worker.take(m.Lease)[0])
    worker.leave()
    again = desk.worker(1)
    assert names(again)[-2:] == ["Values", "Lease"]
    again.work()
    assert job.state == "done"


def test_an_item_waits_for_all_of_a_job():
    desk = Desk()
    worker, client = desk.worker(3), desk.client()
    first = submit(client, 1, (2, []), count=None)
    job = submit(client, 2, (1, [edge(0, 1, -1)]))
    client.say(m.Page(1, 2, 1, 0), b"items")
    leases = worker.take(m.Lease)
    worker.report(leases[1])
    worker.report(leases[0])
    assert job.spans.waiting
    client.say(m.CloseJob(1, 3))
    [lease] = worker.take(m.Lease)
    assert lease.job == job.key
    assert [(values.job, values.first, values.count) for values in worker.got(m.Values)] == [
        (first.key, 2, 1),
        (first.key, 0, 2),
    ]
    worker.report(lease)
    assert job.state == "done"


def test_an_item_waits_for_a_job_without_items():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, count=0)
    job = submit(client, 2, (1, [edge(0, 1, -1)]))
    worker.work()
    assert job.state == "done"


def fail(worker, lease, index, *buffers):
    error = m.ErrorInfo("raised", "ValueError", "no", "Traceback")
    return worker.say(m.Failure(lease.lease, index, 0.1, error, []), *buffers)


@pytest.mark.parametrize("index", [0, -1])
def test_a_failed_input_fails_what_waits_for_it_with_its_cause(index):
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (1, []), label="load-1")
    job = submit(client, 2, (1, [edge(0, 1, index)]))
    last = submit(client, 3, (2, [edge(0, 2, 0)]))
    fail(worker, worker.take(m.Lease)[0], 0, b"exception")
    assert fates(client) == [(1, 0, "raised"), (2, 0, "input"), (3, 0, "input")]
    for failed in client.got(m.Failed)[1:]:
        assert failed.error.type == "DependencyFailed"
        assert failed.error.message == "it waits for load-1: item 0 failed with ValueError: no"
        assert failed.error.traceback == "Traceback"
    assert job.state == "failed"
    worker.work()
    assert last.state == "failed"


def test_an_edge_to_what_failed_before_fails_at_once():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (1, []), label="load-1")
    fail(worker, worker.take(m.Lease)[0], 0)
    job = submit(client, 2, (3, [edge(0, 1, 0), edge(1, 2, 0), edge(2, 1, -1)]))
    assert job.state == "failed"
    assert "load-1: item 0 had failed already" in client.got(m.Failed)[-1].error.message


def test_a_cancelled_input_cancels_what_waits_for_it():
    desk = Desk()
    client = desk.client()
    submit(client, 1, (3, []))
    job = submit(client, 2, (4, [edge(0, 1, 0), edge(1, 1, 1), edge(2, 2, 1), edge(3, 2, 2)]))
    whole = submit(client, 3, (1, [edge(0, 1, -1)]))
    client.say(m.Cancel(1, 1, 2))
    assert fates(client) == [
        (1, 1, "cancelled"),
        (2, 1, "cancelled"),
        (2, 2, "cancelled"),
        (2, 3, "cancelled"),
        (3, 0, "cancelled"),
    ]
    assert [message.ranges for message in client.got(m.Cancelled)] == [[(1, 2)], [(1, 4)], [(0, 1)]]
    assert list(job.spans.waiting) == [(0, 1)]
    assert whole.state == "cancelled"
    late = submit(client, 4, (2, [edge(0, 1, 1), edge(1, 4, 0)]))
    assert late.state == "cancelled"


def test_an_item_that_waits_can_be_cancelled_and_its_input_goes_on():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (1, []))
    job = submit(client, 2, (1, [edge(0, 1, 0)]))
    client.say(m.Cancel(2))
    assert job.state == "cancelled"
    worker.work()
    assert first.state == "done"
    assert not first.links.shelf


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([edge(0, 2, 0)], "waits for itself"),
        ([edge(0, 2, -1)], "waits for itself"),
        ([edge(0, 7, 0)], "doesn't know"),
        ([edge(1, 1, 0)], "no such item"),
        ([edge(-1, 1, 0)], "no such item"),
        ([edge(0, 1, -2)], "no such item"),
    ],
)
def test_edges_that_make_no_sense_cost_the_link(edges, words):
    desk = Desk()
    client, other = desk.client(), desk.client()
    submit(client, 1, (1, []))
    client.say(m.OpenJob(2, [FUNCTION], CONTEXT.digest, count=1))
    client.say(m.Page(2, 0, 1, 0, edges=edges), b"items")
    assert words in client.got(m.Refused)[0].message
    assert client.closed and not other.closed


def test_an_edge_to_an_item_that_never_comes():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (1, []), count=None)
    job = submit(client, 2, (2, [edge(0, 1, 5), edge(1, 1, 0)]))
    client.say(m.CloseJob(1, 1))
    assert "it has no item 5, it ended after 1" in client.got(m.Failed)[0].error.message
    worker.work()
    assert job.state == "failed"
    submit(client, 3, (1, [edge(0, 1, 1)]))
    assert "it has no item 1, it ended after 1" in client.got(m.Failed)[1].error.message


def test_an_input_that_ends_early_fails_who_waits_for_all_of_it():
    desk = Desk()
    client = desk.client()
    submit(client, 1, (1, []), count=None)
    submit(client, 2, (1, [edge(0, 1, -1)]))
    client.say(m.CloseJob(1, 1, "OSError: disk"))
    assert "input ended after 1 items: OSError: disk" in client.got(m.Failed)[0].error.message
    submit(client, 3, (1, [edge(0, 1, -1)]))
    assert fates(client) == [(2, 0, "input"), (3, 0, "input")]


def test_a_circle_is_broken_by_the_edge_that_closes_it():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    one = submit(client, 1, count=None)
    two = submit(client, 2, (2, [edge(0, 1, 0), edge(1, 2, 0)]))
    client.say(m.Page(1, 0, 2, 0, edges=[edge(0, 2, 1)]), b"items")
    client.say(m.CloseJob(1, 2))
    failed = client.got(m.Failed)
    assert [(message.job, message.index) for message in failed] == [(1, 0), (2, 0), (2, 1)]
    assert all("such a circle can never run" in message.error.message for message in failed)
    worker.work()
    assert [one.state, two.state] == ["failed", "failed"]


def test_a_circle_through_a_whole_job():
    desk = Desk()
    client = desk.client()
    submit(client, 1, count=None)
    submit(client, 2, (1, [edge(0, 1, -1)]))
    client.say(m.Page(1, 0, 2, 0, edges=[edge(1, 2, 0)]), b"items")
    assert fates(client) == [(1, 1, "input"), (2, 0, "input")]


def test_an_item_tried_again_waits_again():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (1, []))
    job = submit(client, 2, (1, [edge(0, 1, 0)]))
    fail(worker, worker.take(m.Lease)[0], 0)
    assert job.state == "failed"
    client.say(m.Retry(2))
    assert job.state == "failed"
    assert fates(client)[-1] == (2, 0, "input")
    client.say(m.Retry(1))
    client.say(m.Retry(2))
    assert job.state == "pending"
    worker.work()
    assert [first.state, job.state] == ["done", "done"]


def test_an_item_that_failed_itself_finds_its_inputs_again():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (1, []))
    job = submit(client, 2, (1, [edge(0, 1, 0)]))
    worker.report(worker.take(m.Lease)[0])
    fail(worker, worker.take(m.Lease)[0], 0)
    client.say(m.Release(1))
    client.say(m.Retry(2))
    worker.work()
    assert job.state == "done"
    assert not first.links.shelf
    assert not client.got(m.Wanted)


def test_why_an_item_waits_is_said():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (1, []))
    submit(client, 2, (1, [edge(0, 1, 0)]))
    desk.wait(1.0)
    assert "its inputs aren't done yet" in {p.waiting for p in client.got(m.JobProgress) if p.job == 2}
    assert worker.got(m.Lease)


def test_values_are_dropped_together_and_before_they_are_sent_again():
    desk = Desk("lab")
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (3, []))
    keep = submit(client, 2, (2, [edge(0, 1, 0), edge(1, 2, 0)]))
    worker.work()
    assert keep.state == "done"
    # Both are dropped when the job ends, in one message for each job whose results they are.
    assert sorted((d.job, d.firsts) for d in worker.take(m.DropValues)) == [(first.key, [0]), (keep.key, [0])]
    again = submit(client, 3, (2, [edge(0, 1, 0), edge(1, 1, 2)]))
    worker.work()
    assert [(values.job, values.first) for values in worker.got(m.Values)][-2:] == [(first.key, 0), (first.key, 2)]
    assert not client.got(m.Wanted)
    assert again.state == "done"


def test_what_a_worker_shall_drop_later_is_never_what_it_is_sent_now():
    desk = Desk("lab")
    worker, client = desk.worker(1), desk.client()
    first = submit(client, 1, (1, []))
    submit(client, 2, (2, [edge(0, 1, 0)]))  # its second item goes on while the first is done and its input dropped
    worker.report(worker.take(m.Lease)[0])
    leases = worker.take(m.Lease)
    worker.report(next(lease for lease in leases if lease.start == 0), 0, 1)
    assert not first.links.shelf and not worker.got(m.DropValues)
    worker.heard.clear()
    submit(client, 3, (1, [edge(0, 1, 0)]))
    worker.work()
    assert [name for name in names(worker) if "Values" in name][:2] == ["DropValues", "Values"]


def ask_again(desk, client, worker, **options):
    """A job that is done and told, and another whose item needs results of it."""
    first = submit(client, 1, (4, []))
    worker.work()
    return first, submit(client, 2, (2, [edge(0, 1, 1), edge(1, 1, 2)]), **options)


def test_results_that_were_told_are_asked_of_the_client():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    first, job = ask_again(desk, client, worker)
    assert client.take(m.Wanted) == [m.Wanted(1, [(1, 3)])]
    late = submit(client, 3, (1, [edge(0, 1, 1)]))
    assert not client.got(m.Wanted)
    client.say(m.Release(1))
    client.say(m.Values(1, 0, 4, 0), b"all")
    values = worker.got(m.Values)
    assert [(page.job, page.first, page.count) for page in values] == [(first.key, 0, 4)]
    worker.work()
    assert [job.state, late.state] == ["done", "done"]
    assert not first.links.shelf


def test_answers_may_overlap_what_was_answered():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    submit(client, 1, (4, []))
    worker.work()
    submit(client, 2, (1, [edge(0, 1, 1)]))
    submit(client, 3, (1, [edge(0, 1, 2)]))
    assert [message.ranges for message in client.got(m.Wanted)] == [[(1, 2)], [(2, 3)]]
    for _ in range(2):
        client.say(m.Values(1, 0, 4, 0), b"all")
    assert not client.closed
    worker.work()
    assert {fate[2] for fate in fates(client)} == {"done"}


@pytest.mark.parametrize(
    ("values", "buffers", "words"),
    [
        (m.Values(1, 3, 1, 0), [b"x"], "weren't asked for"),
        (m.Values(2, 0, 1, 0), [b"x"], "weren't asked for"),
        (m.Values(1, 1, 0, 0), [b"x"], "weren't asked for"),
        (m.Values(1, 1, -1, 0), [b"x"], "weren't asked for"),
        (m.Values(1, -1, 4, 0), [b"x"], "not all of them are done"),
        (m.Values(1, 1, 4, 0), [b"x"], "not all of them are done"),
        (m.Values(1, 1, 2, 0), [b"x", b"y"], "values of kind 0 in 2 buffers"),
        (m.Values(1, 1, 2, 1), [b"x", b"y"], "values of kind 1"),
        (m.Values(1, 1, 2, 2), [b"x"], "values of kind 2"),
    ],
)
def test_answers_that_make_no_sense_cost_the_link(values, buffers, words):
    desk = Desk()
    worker, client, other = desk.worker(1), desk.client(), desk.client()
    ask_again(desk, client, worker)
    client.say(values, *buffers)
    assert words in client.got(m.Refused)[0].message
    assert client.closed and not other.closed


def test_results_that_a_client_threw_away_when_it_cancelled_cancel_what_waits_for_them():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    _, job = ask_again(desk, client, worker)
    client.say(m.Values(1, 1, 1, 0, cancelled=True))
    client.say(m.Values(1, 2, 1, 0), b"x")
    worker.work()
    assert not client.closed and not client.got(m.Failed)
    assert job.state == "cancelled" and {(2, 0, "cancelled"), (2, 1, "done")} <= set(fates(client))


def test_results_that_a_client_holds_no_more_fail_what_waits_for_them():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    _, job = ask_again(desk, client, worker)
    assert client.take(m.Wanted) == [m.Wanted(1, [(1, 3)])]
    client.say(m.Values(1, 1, 1, 0))
    [failed] = client.got(m.Failed)
    assert failed.index == 0 and failed.error.why == "input" and "held by nobody" in failed.error.message
    client.say(m.Values(1, 2, 1, 0), b"x")
    worker.work()
    assert not client.closed and job.state == "failed" and (2, 1, "done") in fates(client)
    submit(client, 3, (1, [edge(0, 1, 1)]))
    assert client.take(m.Wanted) == [m.Wanted(1, [(1, 2)])], "it is asked anew"


def test_an_answer_that_cuts_across_what_is_here_costs_the_link():
    desk = Desk()
    worker, client = desk.worker(1), desk.client()
    ask_again(desk, client, worker)
    client.say(m.Values(1, 1, 1, 0), b"x")
    client.say(m.Values(1, 0, 4, 0), b"all")
    assert "some of them are here" in client.got(m.Refused)[0].message


def test_a_client_that_goes_before_it_answers_fails_what_waits():
    desk = Desk("lab", results_held_bytes=1000)
    worker, client, other = desk.worker(1), desk.client(), desk.client()
    first = submit(client, 1, (4, []))
    worker.work(seconds=1.0)
    big = submit(client, 2, (8, []))
    for _ in range(5):
        worker.work(seconds=1.0)
        desk.wait(0.5)
    assert big.state == "done" and not first.log.entries
    job = submit(client, 3, (2, [edge(0, 1, 1), edge(1, 1, -1)]))
    other.say(m.Adopt(1, 1, job.id))
    assert client.got(m.Wanted) == [m.Wanted(1, [(0, 4)])]
    client.leave()
    assert job.state == "failed"
    [text] = {message.error.message for message in other.got(m.Failed)}
    assert "its results were handed to a client that went away" in text

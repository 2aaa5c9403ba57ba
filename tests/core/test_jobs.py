import pytest

from tests.core.desk import CONTEXT, FUNCTION
from twistcluster.core.clients import Client
from twistcluster.core.jobs import TRANSITIONS, Job, Log
from twistcluster.errors import ProtocolError
from twistcluster.wire import messages as m

STATES = ["pending", "running", "done", "failed", "cancelled"]
EVENTS = ["leased", "completed", "completed with failures", "completed with cancellations", "retried"]


def make_job(count=10, pages=(10,)):
    client = Client("id", 1, m.Hello(1, "client", "3.11", "1", "p", 1, "host", 7))
    job = Job(5, client, 0, m.OpenJob(0, [FUNCTION], CONTEXT.digest, count=count), CONTEXT, 0.0, count=count)
    first = 0
    for items in pages:
        job.add_page(m.Page(0, first, items, 0), (b"items",))
        first += items
    return job


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_moves_along_the_table_or_raises_and_changes_nothing(state, event):
    job = make_job()
    job.state = state
    if (state, event) in TRANSITIONS:
        job.advance(event)
        assert job.state == TRANSITIONS[state, event]
    else:
        with pytest.raises(KeyError):
            job.advance(event)
        assert job.state == state


def test_the_table_knows_only_states():
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(STATES)


@pytest.mark.parametrize(("first", "count"), [(1, 1), (4, 0), (4, -1), (4, 7), (4, 4097), (3, 1)])
def test_a_page_out_of_place_is_refused(first, count):
    job = make_job(pages=(4,))
    with pytest.raises(ProtocolError):
        job.add_page(m.Page(0, first, count, 0), ())
    assert job.arrived == 4
    assert list(job.spans.pending) == [(0, 4)]


def test_pages_of_a_range():
    job = make_job(pages=(4, 4, 2))
    assert [page.first for page in job.pages_of(0, 4)] == [0]
    assert [page.first for page in job.pages_of(3, 9)] == [0, 4, 8]
    assert [page.first for page in job.pages_of(8, 10)] == [8]


def test_a_page_is_unneeded_once_all_its_items_met_their_fate():
    job = make_job(pages=(4, 4, 2))
    assert job.finished([(0, 2), (5, 8)]) == []
    assert [page.first for page in job.finished([(2, 5)])] == [0, 4]
    assert sorted(job.pages) == [8]


def test_a_page_with_a_failed_item_is_kept_for_a_retry():
    job = make_job(pages=(4, 6))
    job.spans.finish(0, 4)
    job.failed.add(2, 3)
    job.finished([(0, 2), (3, 4)])
    assert [page.first for page in job.finished([(2, 3)], failed=True)] == [0]
    assert sorted(job.pages) == [0, 4]
    job.crashes[2] = 3
    job.reopen_failed()
    assert list(job.spans.pending) == [(2, 3), (4, 10)]
    assert (job.pages[0].unfinished, job.pages[0].failed, job.crashes) == (1, 0, {})


def test_the_log_forgets_from_the_front():
    log = Log()
    for index in range(5):
        log.append(m.Results(0, index, 1, 0), (b"x" * index, memoryview(b"yy")))
    held = log.nbytes
    assert sum(entry.nbytes for entry in log.drop_until(2)) == held - log.nbytes == 100 + 2 + 100 + 3
    assert (log.base, log.end) == (2, 5)
    assert log.drop_until(1) == []
    log.drop_until(99)
    assert (log.base, log.end, log.nbytes) == (5, 5, 0)

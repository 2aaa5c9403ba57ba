"""A job's record: fates, futures, listeners, and taking results out of it."""

import concurrent.futures
import gc
import threading
import time

import pytest

from tests.client.line import FakeLine, framed, pickled, plain
from twistcluster import errors
from twistcluster.client.feeding import Feed
from twistcluster.client.reading import all_results, as_they_come, in_order, one_result
from twistcluster.client.records import JobRecord
from twistcluster.wire.messages import ErrorInfo

RAISED = ErrorInfo("raised", "ValueError", "three", "Traceback: three")


@pytest.fixture
def line():
    return FakeLine()


def record_of(line, count=None, **options):
    record = JobRecord(line, 1, "id-1", "f-1", count=count, **options)
    line.shelf.add(record)
    return record


class Listener:
    def __init__(self):
        self.told = []

    def results(self, first, packed):
        self.told.append(("results", first, packed.count))

    def failed(self, index, error):
        self.told.append(("failed", index))

    def printed(self, index, text):
        self.told.append(("printed", index, text))

    def changed(self):
        self.told.append("changed")


class TellsAtOnce:
    """A session whose scheduler tells that a job's input ended before its client goes on."""

    def __init__(self, record):
        self.record = record

    def do(self, _):
        self.record.input_ended(2, "input ended after 2 items: the text alone")


def test_why_a_source_ended_is_its_own_error_even_if_the_scheduler_tells_first(line):
    record = record_of(line)
    record.succeeded(0, plain("a", "b"))
    Feed(TellsAtOnce(record), record, None).end(2, ValueError("mine"))
    assert record.is_over and record.count == 2
    with pytest.raises(errors.InputEnded, match="after 2 items: mine") as raised:
        all_results(record, None)
    assert isinstance(raised.value.__cause__, ValueError)


def test_results_come_in_any_order_and_are_read_in_theirs(line):
    record = record_of(line, 6)
    record.succeeded(4, plain("e", "f"))
    record.succeeded(0, framed(["a"], ["b"]))
    assert record.state == "running" and not record.is_over
    record.succeeded(2, plain("c", "d"))
    assert record.state == "done" and line.of("over") == [("over", 1)]
    expected = [["a"], ["b"], "c", "d", "e", "f"]
    assert all_results(record, None) == expected == list(in_order(record, None))
    assert [one_result(record, i, None) for i in range(6)] == expected
    assert list(as_they_come(record)) == [(4, "e"), (5, "f"), (0, ["a"]), (1, ["b"]), (2, "c"), (3, "d")]
    with pytest.raises(IndexError):
        one_result(record, 6, None)


def test_what_comes_twice_counts_once(line):
    record = record_of(line, 4)
    record.succeeded(0, plain(0, 1))
    record.succeeded(1, plain(-1, 2, 3))
    assert all_results(record, None) == [0, 1, 2, 3]
    assert record.progress().done == 4


def test_futures_are_told(line):
    record = record_of(line, 4)
    first, third = record.future(0), record.future(2)
    assert record.future(0) is first and not first.done()
    record.succeeded(0, plain(10, 11))
    assert first.result() == 10 and record.future(1).result() == 11
    record.failed(2, RAISED, pickled(ValueError("three")))
    with pytest.raises(ValueError, match="three") as caught:
        third.result()
    assert caught.value.__cause__.text == "Traceback: three"
    record.were_cancelled([(3, 4)])
    with pytest.raises(errors.Cancelled):
        record.future(3).result()
    assert record.state == "failed" and line.of("error") == [("error", 1, 2)]


def test_cancelled_items(line):
    record = record_of(line, 3)
    record.succeeded(0, plain(0))
    record.were_cancelled([(1, 3)])
    assert record.state == "cancelled"
    assert all_results(record, None, "skip") == [0]
    returned = all_results(record, None, "return")
    assert returned[0] == 0 and [type(each) for each in returned[1:]] == [errors.Cancelled] * 2
    with pytest.raises(concurrent.futures.CancelledError, match=r"f-1\[1\]"):
        all_results(record, None)


def test_cancelling_one_item_tells_the_cluster_and_is_final(line):
    record = record_of(line, 2)
    future = record.future(1)
    assert future.cancel() and line.of("cancel") == [("cancel", 1, 1, 2)]
    record.succeeded(0, plain(0, 1))
    assert future.cancelled() and all_results(record, None, "skip") == [0]
    assert not record.future(0).cancel()


def test_retry_forgets_failures(line):
    record = record_of(line, 2)
    record.succeeded(0, plain(0))
    record.failed(1, RAISED, [])
    assert record.is_over and record.retry() == 1 and not record.is_over
    record.failed(1, RAISED, [])
    assert record.state == "failed" and len(line.of("error")) == 2
    record.retry()
    record.succeeded(1, plain(1))
    assert all_results(record, None) == [0, 1] and record.retry() == 0


def test_a_success_overrides_a_failure_that_was_on_its_way(line):
    record = record_of(line, 1)
    record.failed(0, RAISED, [])
    record.succeeded(0, plain(7))
    assert all_results(record, None) == [7] and not record.fates.failures


def test_a_listener_is_told_what_is_there_and_what_comes_once(line):
    record = record_of(line, 4)
    record.succeeded(0, plain(0))
    record.failed(1, RAISED, [])
    record.printed(0, "hi\n", 0)
    listener = Listener()
    unsubscribe = record.subscribe(listener)
    assert listener.told == [("results", 0, 1), ("failed", 1), ("printed", 0, "hi\n"), "changed"]
    record.succeeded(2, plain(2))
    record.printed(0, "there", 1000)
    assert listener.told[4:] == [
        ("results", 2, 1),
        "changed",
        ("printed", 0, "there\n... 1,000 more bytes were not kept\n"),
    ]
    unsubscribe()
    record.succeeded(3, plain(3))
    assert len(listener.told) == 7
    assert record.printed_by(0).startswith("hi\nthere")


def test_a_listener_that_raises_harms_nobody(line, caplog):
    class Bad(Listener):
        def results(self, first, packed):
            raise RuntimeError("bad view")

    record = record_of(line, 1)
    record.subscribe(Bad())
    record.succeeded(0, plain(0))
    assert record.is_over and "bad view" in caplog.text


def test_a_lazy_job_ends_when_its_input_does(line):
    record = record_of(line)
    later = record.future(5)
    record.succeeded(0, plain(0, 1))
    assert not record.is_over
    record.input_ended(2)
    assert record.state == "done" and all_results(record, None) == [0, 1]
    with pytest.raises(IndexError):
        later.result()


def test_input_that_ended_early(line):
    record = record_of(line)
    record.input_ended(1, "input ended after 1 items: OSError")
    record.succeeded(0, plain(0))
    assert record.state == "failed" and all_results(record, None, "skip") == [0]
    found = all_results(record, None, "return")
    assert found == [0, record.input_error] == list(in_order(record, None, "return")) and record.input_error is not None
    assert list(as_they_come(record, None, "return")) == [*enumerate(found)]
    assert list(as_they_come(record, None, "skip")) == [(0, 0)]
    with pytest.raises(errors.InputEnded):
        all_results(record, None)
    with pytest.raises(errors.InputEnded):
        list(as_they_come(record))


def test_a_lost_link_ends_what_is_open(line):
    record = record_of(line, 3)
    record.succeeded(0, plain(0))
    future = record.future(2)
    record.was_lost(errors.ClusterUnreachable("gone"))
    for attempt in (future.result, lambda: all_results(record, None), lambda: all_results(record, None, "skip")):
        with pytest.raises(errors.ClusterUnreachable):
            attempt()
    with pytest.raises(errors.ClusterUnreachable):
        record.future(1).result()
    assert record.future(0).result() == 0 and record.retry() == 0


def test_the_end_wakes_who_waits(line):
    record = record_of(line, 1)
    waiting = threading.Thread(target=record.wait, args=(30,))
    waiting.start()
    record.succeeded(0, plain(0))
    waiting.join(60)
    assert not waiting.is_alive()
    woken = []
    record.when_over(lambda: woken.append(1))
    assert woken == [1] and record.wait(0)


def test_a_deadline(line):
    record = record_of(line, 2)
    record.succeeded(0, plain(0))
    with pytest.raises(TimeoutError):
        all_results(record, 0.0)
    iterator = in_order(record, 0.0)
    assert next(iterator) == 0
    with pytest.raises(TimeoutError):
        next(iterator)


def test_progress(line):
    record = record_of(line, 10)
    record.goes_on(2, "")
    assert record.progress().running == 2 and record.progress().state == "running"
    record.goes_on(0, "no slot offers gpu")
    assert record.progress().waiting == "no slot offers gpu"
    record.succeeded(0, plain(*range(10)))
    progress = record.progress()
    assert (progress.state, progress.done, progress.waiting, progress.seconds_left) == ("done", 10, "", 0.0)


def test_an_input_hears_of_what_is_finished(line):
    class Source:
        finished_items = 0
        stopped = False

        def finished(self, items):
            self.finished_items += items

        def stop(self):
            self.stopped = True

    source = Source()
    record = record_of(line)
    record.input = source
    record.succeeded(0, plain(0, 1))
    record.failed(2, RAISED, [])
    assert source.finished_items == 3
    record.cancel()
    assert source.stopped and line.of("cancel") == [("cancel", 1, 0, None)]


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ("raised", errors.RemoteError),
        ("crashed", errors.WorkerCrashed),
        ("lost", errors.WorkerLost),
        ("argument", errors.NotPicklable),
        ("result", errors.NotPicklable),
        ("context", errors.RemoteError),
    ],
)
def test_what_is_not_an_exception_of_the_items_own(line, why, kind):
    record = record_of(line, 1)
    record.failed(0, ErrorInfo(why, "SomeError", "what happened"), [])
    with pytest.raises(kind, match="what happened"):
        all_results(record, None)


def test_a_result_for_which_there_was_no_room(line):
    record = record_of(line, 1)
    record.failed(0, ErrorInfo("result", "StoreFull", "the disk is full"), [])
    with pytest.raises(errors.StoreFull, match="the disk is full"):
        all_results(record, None)


def test_an_exception_that_does_not_load_is_described(line):
    record = record_of(line, 1)
    record.failed(0, RAISED, [b"garbage"])
    with pytest.raises(errors.RemoteError, match="ValueError: three"):
        record.future(0).result()


def test_a_result_that_does_not_load_is_that_items_error_only(line):
    packed = framed([0], [1])
    broken = type(packed)(packed.kind, 2, (packed.buffers[0], b"\x80\x05X" + bytes(packed.buffers[1])[3:]))
    record = record_of(line, 2)
    record.succeeded(0, broken)
    with pytest.raises(errors.NotPicklable, match="item 0"):
        record.future(0).result()
    assert record.future(1).result() == [1]
    assert all_results(record, None, "skip") == [[1]]
    returned = all_results(record, None, "return")
    assert type(returned[0]) is errors.NotPicklable and returned[1] == [1]
    assert list(as_they_come(record, errors="skip")) == [(1, [1])]
    with pytest.raises(errors.NotPicklable):
        all_results(record, None)


def test_a_dropped_record_is_let_go(line):
    record = record_of(line, 1)
    record.succeeded(0, plain(0))
    line.shelf.fetched(record)
    del record
    gc.collect()
    assert line.of("dropped") == [("dropped", 1)] and line.shelf.get(1) is None


def test_an_item_that_was_cancelled_here_stays_so_whatever_comes(line):
    record = record_of(line, 4)
    assert record.future(1).cancel() and record.future(3).cancel()
    assert record.future(1).cancelled(), "also for who asks for its future now"
    record.succeeded(0, plain(0, 1, 2))
    record.failed(3, RAISED, pickled(ValueError("three")))
    assert record.state == "cancelled" and not line.of("error")
    assert all_results(record, None, "skip") == [0, 2] and dict(as_they_come(record, errors="skip")) == {0: 0, 2: 2}
    assert isinstance(all_results(record, None, "return")[1], errors.Cancelled)


def test_as_they_come_gives_what_holds_and_waits_no_longer_than_it_may(line):
    record = record_of(line, 2)
    record.failed(0, RAISED, pickled(ValueError("no")))
    record.retry()
    with pytest.raises(TimeoutError, match="it goes on"):
        list(as_they_come(record, time.monotonic() + 0.05))
    record.succeeded(0, plain(0, 1))
    assert list(as_they_come(record)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("count", [4, None])
def test_what_was_cancelled_before_the_link_was_lost_is_cancelled_not_lost(line, count):
    record = record_of(line, count)
    record.succeeded(0, plain(0))
    record.failed(2, RAISED, [])
    future = record.future(1)
    record.cancel()
    record.was_lost(errors.ClusterUnreachable("gone"))
    assert record.is_over and record.lost is None and record.count == (count or 3) and future.cancelled()
    assert all_results(record, None, "skip") == [0] and line.of("over") == [("over", 1)]


def test_what_was_cut_while_this_program_was_away_is_told_though_all_was_sent(line):
    record = record_of(line, 2)
    future = record.future(1)
    record.succeeded(0, plain("a"))
    record.input_ended(1, "input ended after 1 items: its client went away")
    assert record.state == "failed" and record.is_over
    with pytest.raises(errors.InputEnded, match="its client went away"):
        future.result(5)

"""Who iterates over a job, and which jobs it feeds: what they hold back, and what is kept for them."""

import gc
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.client.line import FakeLine, framed, plain
from tests.client.opened import FakeSession
from tests.tools import until
from twistcluster import errors
from twistcluster.client.jobs import Job
from twistcluster.client.passing import UNLIMITED
from twistcluster.client.records import JobRecord
from twistcluster.wire.messages import Cancel, ErrorInfo, Stored

MIB = 1024 * 1024
LARGE = 40 * MIB
"""Of these two may lie behind who iterates, and four may wait for him."""
RAISED = ErrorInfo("raised", "ValueError", "no", "")


@pytest.fixture
def line():
    return FakeLine()


@pytest.fixture
def session():
    return FakeSession()


def record_of(line, number=1):
    record = JobRecord(line, number, f"id-{number}", f"f-{number}")
    line.shelf.add(record)
    return record


def large(record, first, count=1):
    """Large results come, each alone, as the inbox hands them on."""
    for index in range(first, first + count):
        stored = Stored(0, index.to_bytes(16, "big"), LARGE)
        record.succeeded(index, replace(framed([index]), objects=(stored,)))


def held(record):
    """Which large results are still held."""
    return [segment.start for segment in record.fates.stored]


# ---- who iterates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("iterate", [iter, Job.as_completed], ids=["iter", "as_completed"])
def test_an_iterator_counts_before_its_first_result_is_asked_for(line, iterate):
    record = record_of(line)
    job = Job(record)
    results = iterate(job)
    large(record, 0, 4)
    assert record.passing.room(0) == UNLIMITED
    del job
    assert record.passing.room(0) == 0, "all that may wait for who iterates waits"
    assert next(results) in ([0], (0, [0]))
    del results
    gc.collect()
    assert record.passing.room(0) == UNLIMITED, "an iterator that is gone doesn't count"


@pytest.mark.parametrize("end", [lambda results: results.clear(), lambda results: results[0].close()])
def test_an_iterator_that_nobody_asked_for_anything_stops_counting_with_its_end(line, end):
    record = record_of(line)
    large(record, 0, 4)
    results = [iter(Job(record))]
    assert record.passing.room(0) == 0
    end(results)
    assert record.passing.room(0) == UNLIMITED


def test_one_that_was_ended_by_an_error_does_not_count_while_its_traceback_is_kept(line):
    record = record_of(line)
    results = iter(Job(record))
    large(record, 0, 4)
    record.failed(4, RAISED, [])
    assert [next(results) for _ in range(4)] == [[0], [1], [2], [3]]
    with pytest.raises(errors.RemoteError) as kept:
        next(results)
    large(record, 5, 4)
    assert record.passing.room(0) == UNLIMITED and kept.value


def test_what_also_feeds_a_job_is_kept_for_an_iterator_that_was_not_asked_yet(line):
    record, follower = record_of(line), record_of(line, 2)
    follower.follow(record)
    results = iter(Job(record))
    follower.goes_on(0, "")
    large(record, 0, 3)
    gc.collect()
    assert [next(results) for _ in range(3)] == [[0], [1], [2]]
    results.close()
    assert held(record) == []


@pytest.mark.parametrize(
    "iterate", [(iter, iter), (iter, Job.as_completed), (Job.as_completed, iter)], ids=["in order", "first", "second"]
)
def test_the_slower_of_two_iterators_gets_everything(line, iterate):
    record = record_of(line)
    job = Job(record)
    fast, slow = (each(job) for each in iterate)
    del job
    for index in (5, 4, 0, 1, 2, 3, 6, 7, 8, 9):  # as_completed takes them in this order
        large(record, index)
    record.input_ended(10)
    assert next(slow) and len([*fast]) == 10
    assert record.fates.stored_nbytes == 10 * LARGE
    assert len([*slow]) == 9
    assert len(held(record)) <= 1, "what the last of them has passed is let go of"


def test_what_one_who_went_away_had_not_read_is_let_go_of(line):
    record = record_of(line)
    job = Job(record)
    fast, slow = iter(job), iter(job)
    del job
    large(record, 0, 6)
    assert next(slow) == [0]
    for _ in range(6):
        next(fast)
    assert held(record) == [0, 1, 2, 3, 4, 5]
    slow.close()
    assert held(record) == [4, 5], "the last 64 MiB, and the one that isn't passed before the next is asked for"


def test_who_takes_all_results_takes_none_from_who_iterates(line):
    record = record_of(line)
    slow = iter(Job(record))
    large(record, 0, 6)
    record.input_ended(6)
    assert len(Job(record).results()) == 6
    gc.collect()
    assert [*slow] == [[index] for index in range(6)]


def test_the_source_is_held_back_by_who_is_ahead(line):
    """One loop over a job may come after another over the same one: the first mustn't wait for the second."""
    record = record_of(line)
    job = Job(record)
    first, second = iter(job), iter(job)
    del job
    large(record, 0, 4)
    assert record.passing.room(0) == 0
    for _ in range(4):
        next(first)
    assert record.passing.room(0) > 0
    record.input_ended(4)
    assert len([*second]) == 4


# ---- a map over jobs and other things --------------------------------------------------------------------------------


def endless():
    while True:
        yield 1


def mixed(session):
    """An inner lazy job and one whose items have its results as one of two arguments, both held by nobody."""
    inner = session.map(abs, endless())
    outer = session.map(pow, Job(inner), endless())
    gc.collect()
    return inner, outer


def end(*records):
    for record in records:
        record.was_lost(errors.ClusterUnreachable("the test is over"))


def test_a_slow_reader_of_a_mixed_map_holds_the_inner_source_back(session):
    inner, outer = mixed(session)
    results = iter(Job(outer))
    large(inner, 0, 8)
    assert 0 < inner.passing.room(8) < 100
    large(outer, 0, 4)
    assert inner.passing.room(0) == 0
    woken = []
    inner.input.finished = woken.append
    assert next(results) and next(results)
    assert woken and inner.passing.room(0) > 0
    results.close()
    assert inner.passing.room(0) == UNLIMITED
    end(inner, outer)


def test_the_inner_results_of_a_mixed_map_are_kept_until_its_items_are_finished(session):
    inner, outer = mixed(session)
    large(inner, 0, 4)
    assert held(inner) == [0, 1, 2, 3]
    outer.succeeded(0, plain(0, 0))
    assert held(inner) == [2, 3]
    outer.failed(2, RAISED, [])
    assert held(inner) == [2, 3], "it may be run again"
    outer.were_cancelled([(3, 5)])
    large(inner, 4)
    assert held(inner) == [2]
    end(outer)
    assert held(inner) == []
    end(inner)


def test_a_mixed_map_that_is_over_holds_its_inner_source_back_no_more(session):
    inner, outer = mixed(session)
    results = iter(Job(outer))
    large(inner, 0, 4)
    large(outer, 0, 4)
    assert inner.passing.room(0) == 0
    woken = []
    inner.input.finished = woken.append
    outer.cancel()
    outer.input_ended(4)
    assert outer.is_over and woken and inner.passing.room(0) == UNLIMITED
    del results
    end(inner)


def test_who_waits_for_a_future_that_a_mixed_map_has_too_is_not_held_back(session):
    inner = session.map(abs, range(1000))
    outer = session.map(pow, Job(inner), endless())
    results = iter(Job(outer))
    gc.collect()
    until(lambda: inner.watched(20), what="the future of an item as an argument")
    large(inner, 0, 4)
    large(outer, 0, 4)
    assert inner.passing.room(0) == 0
    assert not inner.future(20).done()
    assert inner.passing.room(0) == UNLIMITED
    del results
    end(inner, outer)


def test_many_maps_over_the_same_jobs_are_looked_at_once_each(session):
    inner = session.map(abs, endless())
    first = second = inner
    for _ in range(30):  # by two ways each: a thousand million ways to the source
        first, second = (session.map(pow, Job(first), Job(second)) for _ in range(2))
    woken = []
    inner.input.finished = woken.append
    first.look_for_room()
    assert woken == [0]
    results = [iter(Job(each)) for each in (first, second)]
    assert inner.passing.room(12) == 20 and results, "as many as before the first result, however many are between"
    end(*session.shelf.open())


# ---- who breaks off --------------------------------------------------------------------------------------------------


def cancelled(session):
    session.turn()
    return [message.job for message, _ in session.sent if isinstance(message, Cancel)]


@pytest.mark.parametrize("end", ["iterator first", "job first"])
def test_a_lazy_job_that_its_last_reader_broke_off_is_cancelled(session, end):
    record = session.map(abs, endless())
    things = [iter(Job(record)), Job(record)]
    gc.collect()
    source = record.input
    assert source.lazy
    record.succeeded(0, plain(1))
    assert next(things[0]) == 1
    if end == "job first":
        things.reverse()
    del things[0]
    assert cancelled(session) == [] and not source._stopped
    del things[0]
    assert cancelled(session) == [record.number] and source._stopped
    assert isinstance(record.input_error, errors.Cancelled)
    end_all(session)


def test_so_are_the_lazy_ones_that_only_feed_it(session):
    inner = session.map(abs, endless())
    other = session.map(abs, endless())
    read_elsewhere = iter(Job(other))
    outer = session.map(abs, Job(session.map(pow, Job(inner), Job(other))))
    results = iter(Job(outer))
    del results
    assert sorted(cancelled(session)) == [1, 3, 4]
    del read_elsewhere
    assert sorted(cancelled(session)) == [1, 2, 3, 4]
    end_all(session)


def test_one_whose_results_another_job_wants_goes_on(session):
    inner = session.map(abs, endless())
    outer = session.map(abs, Job(inner))
    results = iter(Job(inner))
    del results
    assert cancelled(session) == [] and not outer.is_over
    end_all(session)


def test_one_that_fed_a_shorter_job_is_cancelled_at_its_end(session):
    inner = session.map(abs, endless())
    outer = session.map(pow, Job(inner), [1, 2])
    assert cancelled(session) == []
    inner.succeeded(0, plain(1, 1, 1))
    until(lambda: outer.count == 2, what="the end of its input")
    outer.succeeded(0, plain(1, 1))
    assert outer.is_over and cancelled(session) == [inner.number]
    end_all(session)


def wait_interrupted(record):
    record.interrupted()


def ask_for_an_item(record):
    assert not record.future(5).done()


@pytest.mark.parametrize("then", [wait_interrupted, ask_for_an_item], ids=["interrupted", "awaited"])
def test_one_that_somebody_counts_on_goes_on(session, then):
    record = session.map(abs, endless())
    results = iter(Job(record))
    then(record)
    del results
    gc.collect()
    assert cancelled(session) == []
    end_all(session)


def test_one_that_was_named_or_never_read_goes_on(session):
    named = iter(Job(session.map(abs, endless(), name="mine")))
    never_read = Job(session.map(abs, endless()))
    plain_list = iter(Job(session.map(abs, [1, 2, 3])))
    del named, never_read, plain_list
    assert cancelled(session) == []
    end_all(session)


def test_it_is_cancelled_while_the_end_of_all_jobs_is_awaited(session):
    """As the end of a `with` block does: the source has no end."""
    record = session.map(abs, endless())
    results = iter(Job(record))
    record.hurry(ending=True)
    assert record.passing.room(1000) == UNLIMITED and cancelled(session) == []
    del results
    assert cancelled(session) == [record.number]
    end_all(session)


def end_all(session):
    end(*session.shelf.open())


# ---- a small store ---------------------------------------------------------------------------------------------------


def sized(record, first, count, nbytes):
    for index in range(first, first + count):
        stored = Stored(0, index.to_bytes(16, "big"), nbytes)
        record.succeeded(index, replace(framed([index]), objects=(stored,)))


@pytest.fixture
def small(line):
    line.values = SimpleNamespace(capacity=64 * MIB)
    return record_of(line)


def test_in_a_small_store_a_quarter_may_wait_and_an_eighth_is_kept_behind(small):
    results = iter(Job(small))
    sized(small, 0, 7, 2 * MIB)
    assert 0 < small.passing.room(0) <= 8
    sized(small, 7, 1, 2 * MIB)
    assert small.passing.room(0) == 0
    for _ in range(8):
        next(results)
    small.input_ended(8)
    assert next(results, None) is None and held(small) == [4, 5, 6, 7]


@pytest.mark.parametrize(("nbytes", "items"), [(MIB, 15), (6 * MIB, 2), (15 * MIB, 2)])
def test_so_many_items_are_on_their_way_as_a_quarter_holds(small, nbytes, items):
    results = iter(Job(small))
    sized(small, 0, 1, nbytes)
    assert small.passing.room(0) == items and results


def test_slots_that_were_seen_to_work_are_given_work(small):
    results = iter(Job(small))
    assert small.passing.room(0) == 4, "nobody knows how large results will be"
    small.goes_on(4, "")
    assert small.passing.room(4) == 4, "there may be more slots"
    small.goes_on(6, "")
    sized(small, 0, 1, 15 * MIB)
    assert small.passing.room(0) == 6 and results


def test_a_small_store_does_not_hold_small_results_back(small):
    results = iter(Job(small))
    small.succeeded(0, plain(1))
    assert small.passing.room(0) == UNLIMITED and results

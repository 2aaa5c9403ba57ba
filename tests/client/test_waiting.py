import concurrent.futures
import threading

import pytest

from tests.client.line import FakeLine, pickled, plain
from twistcluster.client.futures import Future
from twistcluster.client.jobs import Job
from twistcluster.client.quantities import count, seconds, size_bytes
from twistcluster.client.records import JobRecord
from twistcluster.client.waiting import as_completed, gather, wait
from twistcluster.errors import NotPicklable
from twistcluster.wire.messages import ErrorInfo


def record(count=3):
    line = FakeLine()
    made = JobRecord(line, 1, "id-1", "f-1", count=count)
    line.shelf.add(made)
    return made


def test_futures_of_any_executor_and_jobs():
    job = Job(record())
    mine = job[0]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(abs, -1)
        assert wait([mine, theirs], return_when=concurrent.futures.FIRST_COMPLETED).done == {theirs}
        threading.Timer(0.05, job._record.succeeded, (0, plain(0, 1, 2))).start()
        done = wait([mine, theirs, job, mine], "30s")
        assert done.done == {mine, theirs, job} and not done.not_done
        assert gather([mine, theirs, job]) == [0, 1, [0, 1, 2]]
        assert gather(job) == [[0, 1, 2]] and gather(mine) == [0]
        assert set(as_completed([mine, job])) == {mine, job}


def test_the_first_exception():
    job = record(2)
    good, bad = job.future(0), job.future(1)
    job.failed(1, ErrorInfo("raised", "ValueError", "x"), pickled(ValueError("x")))
    done = wait([good, bad], 10, return_when=concurrent.futures.FIRST_EXCEPTION)
    assert done.done == {bad} and done.not_done == {good}


def test_wrong_use():
    with pytest.raises(ValueError, match="return_when"):
        wait([], return_when="SOON")
    with pytest.raises(TypeError, match="neither"):
        wait(["x"])
    with pytest.raises(TypeError, match="neither"):
        gather([1])
    with pytest.raises(ValueError, match="timeout"):
        wait([], "soon")
    assert wait([]) == (set(), set()) and list(as_completed([])) == [] == gather([])


def test_a_time_out_names_what_is_left():
    job = record(2)
    with pytest.raises(TimeoutError, match="2 of 2"):
        next(as_completed([job.future(0), job.future(1)], 0.01))
    assert wait([job.future(0)], -1).not_done


def test_futures_and_jobs_stay_here():
    job = Job(record())
    for each in (job, job[0]):
        with pytest.raises(NotPicklable, match=r"result"):
            each.__reduce__()


def test_a_job_is_true_and_slices():
    job = Job(record())
    assert job and len(job) == 3 and [type(each) for each in job[::2]] == [Future, Future]
    assert job[1:2] == [job[1]]
    lazy = Job(record(None))
    assert len(lazy[2:5]) == 3
    with pytest.raises(TypeError, match="no length"):
        lazy[-1]
    with pytest.raises(TypeError, match="no length"):
        lazy[1:]


@pytest.mark.parametrize("value", ["", "5 parsecs", -1, float("nan"), "-3s", True, None, [], "s"])
def test_what_is_no_duration(value):
    with pytest.raises(ValueError, match="idle"):
        seconds(value, "idle")


def test_quantities():
    assert seconds(" 10 min ") == 600 and size_bytes(".5 KiB") == 512
    with pytest.raises(ValueError, match="64MiB"):
        size_bytes("5 s")
    for wrong in (True, 1.0, "2"):
        with pytest.raises(TypeError):
            count(wrong, "slots")
    with pytest.raises(ValueError, match="at least 0"):
        count(-1, "slots")

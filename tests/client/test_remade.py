"""Who waits for a lost value, and until when."""

import threading
import time
from concurrent.futures import Future as Reply
from concurrent.futures import TimeoutError as FutureTimeout

import pytest

from tests.client.line import FakeLine, framed
from twistcluster.client.futures import Future
from twistcluster.client.jobs import Job
from twistcluster.client.records import JobRecord
from twistcluster.client.remade import Remade
from twistcluster.errors import ObjectLost
from twistcluster.storage.pool import Pool
from twistcluster.storage.values import ValueStore
from twistcluster.wire.messages import Restore
from twistcluster.wire.pages import FramedPacker, stored_row
from twistcluster.wire.values import dumps

LATE_S = 0.05


class Cluster:
    """Is asked for lost values, and answers when it is told to."""

    def __init__(self):
        self.asked = []
        self.has_it = False
        """The value is there again: who asks now saw that it was gone a moment ago."""

    def ask(self, question):
        reply = Reply()
        self.asked.append((question, reply))
        if self.has_it:
            reply.set_result(None)
        return reply


@pytest.fixture
def lost(tmp_path):
    """A job of two items: the first is small, the second's file is gone."""
    (tmp_path / "disk").mkdir()
    line, cluster = FakeLine(), Cluster()
    values = line.values = line.reads = ValueStore(str(tmp_path))
    values.restore = Remade(cluster.ask).wait
    record = JobRecord(line, 1, "id", "make-1", count=2)
    name, nbytes = Pool(str(tmp_path)).write([dumps("large").data])
    packer = FramedPacker()
    packer.add(stored_row(name, nbytes), (), (name, nbytes))
    record.succeeded(0, framed("small"))
    record.succeeded(1, packer.packed())
    path = tmp_path / name.hex()
    path.rename(tmp_path / "away")

    def again():
        (tmp_path / "away").rename(path)
        waiting = cluster.asked[-1][1]
        cluster.has_it = True
        waiting.set_result(None)

    cluster.name, cluster.again, cluster.record = name, again, record
    yield cluster
    values.close()


def in_time(call):
    began = time.monotonic()
    with pytest.raises(FutureTimeout) as told:
        call()
    assert LATE_S <= time.monotonic() - began < 30
    return str(told.value)


@pytest.mark.parametrize("ask", [Future.result, Future.exception])
def test_a_timeout_holds_while_a_lost_value_is_made_again(lost, ask):
    future = lost.record.future(1)
    for timeout in (LATE_S, "50ms"):
        assert (
            in_time(lambda timeout=timeout: ask(future, timeout))
            == f"make-1[1] isn't done after {timeout} s; it goes on"
        )
    assert [question for question, _ in lost.asked] == [Restore(lost.name)], "it is asked for once"
    lost.again()
    assert future.result(LATE_S) == "large" and future.exception(0) is None


def test_a_timeout_of_nothing_has_it_made_all_the_same(lost):
    future = lost.record.future(1)
    with pytest.raises(FutureTimeout):
        future.result(0)
    assert len(lost.asked) == 1
    lost.again()
    assert future.result(0) == "large"


def test_who_waits_without_a_timeout_gets_it_when_it_is_there(lost):
    found = []
    thread = threading.Thread(target=lambda: found.append(lost.record.future(1).result()))
    with pytest.raises(FutureTimeout):
        lost.record.future(1).result(LATE_S)
    thread.start()
    lost.again()
    thread.join()
    assert found == ["large"]


def of_jobs():
    everything = [
        lambda job: job.results(),
        lambda job: job.results("skip"),
        lambda job: job.results("return"),
        lambda job: [*job],
        lambda job: [value for _, value in job.as_completed()],
        lambda job: [value for _, value in job.as_completed("return")],
    ]
    return [pytest.param(each, id=str(number)) for number, each in enumerate(everything)]


@pytest.mark.parametrize("read", of_jobs())
def test_a_job_s_timeout_holds_however_it_is_read(lost, read):
    job = Job(lost.record, time.monotonic() + LATE_S)
    assert in_time(lambda: read(job)) == "make-1 isn't done in time; it goes on"
    lost.again()
    assert read(Job(lost.record)) == ["small", "large"]


def test_a_jobs_cursor_stays_at_an_item_that_is_not_there_in_time(lost):
    job = Job(lost.record, time.monotonic() + LATE_S)
    assert next(job) == "small"
    assert in_time(lambda: next(job)) == "make-1[1] isn't done in time; it goes on"
    lost.again()
    assert next(job) == "large"


def test_what_cannot_be_made_again_is_no_matter_of_time(lost):
    thread = threading.Thread(target=lambda: (wait_for(lost), lost.asked[0][1].set_exception(ObjectLost("its item"))))
    thread.start()
    with pytest.raises(ObjectLost, match="its item"):
        lost.record.future(1).result(20)
    thread.join()


def wait_for(lost):
    end = time.monotonic() + 60
    while not lost.asked and time.monotonic() < end:
        time.sleep(0.001)


class Late:
    """Its unpickling raises the very exception that a wait does."""

    def __reduce__(self):
        return _late, ()


def _late():
    raise FutureTimeout("no answer from the device")


def test_an_items_own_timeout_is_another_matter(lost):
    packer = FramedPacker()
    packer.add(dumps(Late()).data)
    record = JobRecord(FakeLine(), 2, "id", "late-1", count=1)
    record.succeeded(0, packer.packed())
    with pytest.raises(Exception, match="can't be unpickled here .TimeoutError: no answer from the device"):
        record.future(0).result(60)

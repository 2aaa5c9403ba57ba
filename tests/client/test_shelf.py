import gc

from tests.client.line import FakeLine, plain
from twistcluster.client import shelf as room
from twistcluster.client.adopted import AdoptedRecord
from twistcluster.client.records import JobRecord
from twistcluster.wire.messages import JobStatus


def job(line, number, label="f-1", count=1):
    record = JobRecord(line, number, f"id-{number}", label, count=count)
    line.shelf.add(record)
    return record


def test_the_newest_of_a_name_is_found():
    line = FakeLine()
    first, second = job(line, 1), job(line, 2)
    assert line.shelf.find("f-1") is second and line.shelf.find("id-1") is first and line.shelf.find("g") is None
    assert line.shelf.named("f-1") is second


def adopted(line, number, age, name="f-1"):
    record = AdoptedRecord(line, number, name)
    line.shelf.add(record)
    record.found(JobStatus(f"theirs-{number}", name, "them", False, "running", 2, 0, 0, 0, 0, age))
    return record


def test_a_name_means_this_clients_own_jobs_and_an_id_any():
    line = FakeLine()
    newer, older = adopted(line, 1, age=5.0), adopted(line, 2, age=50.0)
    asked = AdoptedRecord(line, 3, "f-1")  # nothing is known of it yet
    line.shelf.add(asked)
    line.shelf.keep(older.future(0))
    assert line.shelf.find("f-1") is None and line.shelf.find("theirs-2") is older
    assert line.shelf.adopted("f-1") is newer and line.shelf.adopted("theirs-1") is None
    own = job(line, 4)
    adopted(line, 5, age=0.0)
    assert line.shelf.find("f-1") is own


def test_open_jobs_and_unclaimed_ones_are_held():
    line = FakeLine()
    job(line, 1)
    gc.collect()
    assert line.shelf.get(1) is not None
    line.shelf.get(1).succeeded(0, plain(1))
    gc.collect()
    assert not line.shelf.open() and line.shelf.find("f-1") is not None
    line.shelf.fetched(line.shelf.get(1))
    gc.collect()
    assert line.shelf.find("f-1") is None


def test_what_nobody_claims_is_bounded(monkeypatch):
    monkeypatch.setattr(room, "UNCLAIMED_BYTES", 3000)
    line = FakeLine()
    for number in range(1, 6):
        job(line, number).succeeded(0, plain("x" * 1000))
        gc.collect()
    assert [line.shelf.get(number) is not None for number in range(1, 6)] == [False, False, False, True, True]


def test_so_are_jobs_that_brought_nothing(monkeypatch):
    monkeypatch.setattr(room, "UNCLAIMED_JOBS", 2)
    line = FakeLine()
    for number in range(1, 6):
        job(line, number).succeeded(0, plain(None))
        gc.collect()
    assert [line.shelf.get(number) is not None for number in range(1, 6)] == [False, False, False, True, True]


def test_a_future_somebody_stopped_waiting_for_is_found():
    line = FakeLine()
    future = job(line, 1, "train").future(0)
    line.shelf.keep(future)
    assert line.shelf.find(future.name) is not None

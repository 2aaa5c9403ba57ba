import gc

from tests.client.line import FakeLine, plain
from twistcluster.client import shelf as room
from twistcluster.client.records import JobRecord


def job(line, number, label="f-1", count=1):
    record = JobRecord(line, number, f"id-{number}", label, count=count)
    line.shelf.add(record)
    return record


def test_the_newest_of_a_name_is_found():
    line = FakeLine()
    first, second = job(line, 1), job(line, 2)
    assert line.shelf.find("f-1") is second and line.shelf.find("id-1") is first and line.shelf.find("g") is None
    assert line.shelf.named("f-1") is second


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

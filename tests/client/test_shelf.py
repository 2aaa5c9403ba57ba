import gc
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.client.line import FakeLine, framed, plain
from twistcluster.client import shelf as room
from twistcluster.client.adopted import AdoptedRecord
from twistcluster.client.jobs import Job
from twistcluster.client.records import JobRecord
from twistcluster.wire.messages import JobStatus, Stored

MIB = 1024 * 1024


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


def large(record, nbytes):
    """Its only result, in the store."""
    record.succeeded(0, replace(framed([record.number]), objects=(Stored(0, bytes(16), nbytes),)))


def there(line, *numbers):
    gc.collect()
    return [number for number in numbers if line.shelf.get(number) is not None]


@pytest.mark.parametrize(("capacity", "most"), [(0, 64 * MIB), (1 << 40, 64 * MIB), (64 * MIB, 8 * MIB)])
def test_large_results_that_nobody_claims_take_little_of_the_store(capacity, most):
    line = FakeLine()
    line.values = SimpleNamespace(capacity=capacity)
    large(job(line, 1), most)
    assert there(line, 1) == [1]
    large(job(line, 2), most + 1)
    assert there(line, 1, 2) == [1], "the last one too goes if it alone is larger"
    job(line, 3).succeeded(0, plain("small"))
    large(job(line, 4), most // 2)
    assert there(line, 1, 3, 4) == [3, 4]
    large(job(line, 5), most // 2)
    assert there(line, 3, 4, 5) == [3, 4, 5]


@pytest.mark.parametrize("nbytes", [MIB, 500 * MIB])
def test_what_was_forgotten_goes_with_its_job(nbytes):
    line = FakeLine()
    large(job(line, 1), nbytes)
    line.shelf.keep(job(line, 2))
    large(line.shelf.get(2), nbytes)
    line.shelf.keep(job(line, 3).future(0))
    large(line.shelf.get(3), nbytes)
    for number in there(line, 1, 2, 3):
        held = Job(line.shelf.get(number))
        line.shelf.forget(line.shelf.get(number))
        assert there(line, number) and held._record.fates.stored, "what came here stays with who holds it"
        del held
        assert not there(line, number)


def test_an_interrupted_job_is_found_until_it_is_taken_however_large_it_is():
    line = FakeLine()
    record = job(line, 1)
    record.interrupted()
    large(record, 500 * MIB)
    del record
    large(job(line, 2, "g-1"), 64 * MIB)
    assert there(line, 1, 2) == [1, 2]
    assert line.shelf.find("f-1") is line.shelf.get(1)
    line.shelf.fetched(line.shelf.get(1))
    assert there(line, 1, 2) == [2]


def test_interrupted_jobs_are_bounded_in_number(monkeypatch):
    monkeypatch.setattr(room, "KEPT_JOBS", 2)
    line = FakeLine()
    for number in range(1, 5):
        record = job(line, number)
        record.interrupted()
        large(record, 500 * MIB)
        del record
    assert there(line, 1, 2, 3, 4) == [3, 4]

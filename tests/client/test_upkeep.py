"""What a program that does nothing gives back."""

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twistcluster.client import upkeep
from twistcluster.storage import mappings
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(mappings.time, "monotonic", clock.seconds)
    monkeypatch.setattr(upkeep, "_reactors", [])
    mappings.settle()
    yield clock
    mappings.settle()


def test_a_mapping_that_was_idle_for_a_minute_is_given_up_while_nothing_else_happens(tmp_path, clock):
    (tmp_path / "disk").mkdir()
    upkeep.begin(clock)
    upkeep.begin(clock)
    assert len(clock.getDelayedCalls()) == 1
    pool = Pool(str(tmp_path))
    object_id, _ = pool.write([bytes(1_000_000)])
    clock.advance(1)
    assert Reader(str(tmp_path)).read(object_id)
    (tmp_path / object_id.hex()).unlink()  # by somebody who doesn't cut it short
    for _ in range(59):
        clock.advance(1)
    assert mapped(tmp_path)
    for _ in range(16):
        clock.advance(1)
    assert not mapped(tmp_path)


def mapped(store):
    return f" {store}/" in Path("/proc/self/maps").read_text("utf-8")

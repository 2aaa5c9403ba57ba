"""Values whose files are gone, as programs meet them: how long they wait, and what they are told."""

import time
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import pytest

import twistcluster as tc
from twistcluster.net import connections

LARGE = 200_000
DEADLINE_S = 60.0


@pytest.fixture
def cluster():
    with tc.Cluster(slots=1) as cluster:
        yield cluster


def lose_all(cluster):
    """Remove the files of all values."""
    for path in Path(connections.find(cluster.id)["store"]).iterdir():
        if len(path.name) == 32:
            path.unlink()


def make(gate):
    while not Path(gate).exists():
        time.sleep(0.005)
    return bytes(LARGE)


def test_a_timeout_holds_while_a_lost_value_is_made_again(cluster, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    future, job = cluster.submit(make, str(gate)), cluster.map(make, [str(gate)], timeout=DEADLINE_S)
    assert tc.wait([future, job], DEADLINE_S).not_done == set()
    lose_all(cluster)
    gate.unlink()  # this time it takes longer
    began = time.monotonic()
    with pytest.raises(FutureTimeout, match=r"make-1 isn't done after 0.1 s; it goes on"):
        future.result(0.1)
    with pytest.raises(FutureTimeout, match=r"make-2\[0\] isn't done after 0.1 s"):
        job[0].result(0.1)
    assert time.monotonic() - began < 10
    gate.touch()
    assert future.result(DEADLINE_S) == bytes(LARGE)
    assert job[0].result(DEADLINE_S) == bytes(LARGE) == next(job)

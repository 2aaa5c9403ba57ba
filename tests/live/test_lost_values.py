"""Values whose files are gone, as programs meet them: what memory they keep, how long they wait, what they are told."""

import os
import time
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import pytest

import twistcluster as tc
from tests.tools import until
from twistcluster.client import upkeep
from twistcluster.net import connections
from twistcluster.storage import mappings

LARGE = 200_000
DEADLINE_S = 60.0


@pytest.fixture
def cluster():
    with tc.Cluster(slots=1) as cluster:
        yield cluster


@pytest.fixture
def gate(cluster, tmp_path):
    """What items wait for; they end with the test, before its cluster does."""
    yield tmp_path / "gate"
    (tmp_path / "gate").touch()


def lose_all(cluster):
    """Remove the files of all values."""
    for path in Path(connections.find(cluster.id)["store"]).iterdir():
        if len(path.name) == 32:
            path.unlink()


def make(gate):
    while not Path(gate).exists():
        time.sleep(0.005)
    return bytes(LARGE)


def test_a_timeout_holds_while_a_lost_value_is_made_again(cluster, gate):
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
    assert time.monotonic() - began < DEADLINE_S
    gate.touch()
    assert future.result(DEADLINE_S) == bytes(LARGE)
    assert job[0].result(DEADLINE_S) == bytes(LARGE) == next(job)


def soon():
    """In this process mappings are given up sooner."""
    mappings._IDLE_SECONDS = mappings.LOOK_SECONDS = 0.1


def maps(pid, store):
    return f" {store}/" in Path(f"/proc/{pid}/maps").read_text("utf-8")


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_slot_keeps_no_memory_of_a_file_that_is_gone(cluster, gate, busy):
    store = connections.find(cluster.id)["store"]
    reference = cluster.put(bytearray(4 * LARGE))
    pid = cluster.submit(lambda value: os.getpid(), reference).result(DEADLINE_S)
    assert maps(pid, store)
    lose_all(cluster)
    assert maps(pid, store)
    cluster.everywhere(soon)
    if not busy:
        gate.touch()
    last = cluster.submit(make, str(gate))  # it maps nothing
    until(lambda: not maps(pid, store), DEADLINE_S, "a slot that lets go")
    gate.touch()
    last.result(DEADLINE_S)


def test_an_idle_program_keeps_no_memory_of_a_file_that_is_gone(monkeypatch):
    monkeypatch.setattr(upkeep, "_reactors", [])  # it begins anew
    monkeypatch.setattr(mappings, "LOOK_SECONDS", 0.1)
    with tc.Cluster(slots=1) as cluster:
        store = connections.find(cluster.id)["store"]
        reference = cluster.put(bytearray(4 * LARGE))
        assert len(reference.result()) == 4 * LARGE
        lose_all(cluster)
        assert maps(os.getpid(), store)
        monkeypatch.setattr(mappings, "_IDLE_SECONDS", 0.1)
        until(lambda: not maps(os.getpid(), store), DEADLINE_S, "an idle program that lets go")


def test_what_was_put_into_a_cluster_that_is_closed_says_so_and_what_to_do():
    with tc.Cluster(slots=1) as cluster:
        reference, pending = cluster.put(bytes(LARGE)), cluster.submit(bytes, LARGE)
        tc.wait([pending])
    with pytest.raises(
        tc.ObjectLost, match=r"(?s)value of the reference .* is gone with its cluster: .*\nput it again"
    ):
        reference.result()
    with pytest.raises(tc.ObjectLost, match=r"(?s)the result of item 0 is gone with its cluster: .*\nSubmit it again"):
        pending.result()


def test_of_what_a_client_put_and_is_lost_it_is_told_who_put_it_and_when(cluster):
    reference = cluster.put(bytes(LARGE))
    lose_all(cluster)
    told = (
        rf"which the client .*{os.getpid()}\)? put \d+ s ago, is in no store any more.* cluster.put the value once more"
    )
    with pytest.raises(tc.ObjectLost, match=told):
        reference.result()
    with pytest.raises(tc.ObjectLost, match=told):
        cluster.submit(len, reference).result(DEADLINE_S)

"""What a named cluster accepted it finishes and can still hand out, whatever dies."""

import contextlib
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

import twistcluster as tc
from tests.live.conftest import family, runs
from tests.tools import until
from twistcluster.client.launch import find, start_local
from twistcluster.storage.folder import clear_dead
from twistcluster.storage.journal_places import journal_path

LARGE = 200_000


def kill(pid):
    """With its slots, which end themselves."""
    pids = family(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(runs, pids)), 15, "the end of the slots")


class Local:
    """A local cluster, whose next `connect` brings it back."""

    name = "lab"

    def __init__(self, clusters):
        self._clusters = clusters
        clusters.local(slots=2)

    def connect(self):
        cluster = tc.connect(self.name)
        self._clusters.pids.append(cluster.status().pid)
        return cluster

    def kill(self):
        kill(find(self.name).pid)


class Standalone(Local):
    """A scheduler that is started again, with a new worker."""

    def __init__(self, clusters):
        self._clusters = clusters
        self._start()

    def _start(self):
        self._scheduler, _ = self._clusters.scheduler(self.name)
        self._worker = self._clusters.worker(self.name, 2)

    def connect(self):
        if self._scheduler.poll() is not None:
            self._start()
        return tc.connect(self.name)

    def kill(self):
        pids = family(self._worker.pid)
        self._scheduler.kill()
        self._scheduler.wait()
        # Its worker gives up, with its slots; what it hadn't told runs again.
        self._worker.terminate()
        until(lambda: not any(map(runs, pids)), 15, "the end of the worker")


@pytest.fixture(params=[Local, Standalone])
def lab(request, clusters):
    return request.param(clusters)


def mixed(i):
    time.sleep(0.01)
    if i % 10 == 3:
        raise ValueError(f"{i} ends in three")
    if i % 10 == 5:
        print("item", i)
    if i % 10 == 7:
        return bytes([i]) * LARGE
    return i, os.getpid(), time.monotonic_ns()


def right(i, result):
    if i % 10 == 3:
        return isinstance(result, ValueError) and str(result) == f"{i} ends in three"
    if i % 10 == 7:
        return result == bytes([i]) * LARGE
    return result[0] == i


def seen(job):
    """What a client knows by now."""
    return {i: job[i].result() for i in range(len(job)) if job[i].done() and not job[i].exception()}


def recorded(cluster):
    """All that was told before is in the journal, which is written in order."""
    marker = cluster.options(name="marker", priority=100).map(abs, [1])
    until(lambda: marker.kept, what="a commit")


@contextlib.contextmanager
def closing(cluster):
    try:
        yield cluster
    finally:
        cluster.stop(force=True)
        cluster.close()


def test_a_map_of_mixed_results_goes_on_after_a_kill(lab):
    cluster = lab.connect()
    job = cluster.options(name="mixed").map(mixed, list(range(100)))
    until(lambda: job.progress().done >= 40)
    lab.kill()
    until(lambda: job.done(), what="the loss")
    with closing(lab.connect()) as cluster:
        found = cluster.job("mixed")
        results = found.results(errors="return")
        assert len(results) == 100 and all(right(i, result) for i, result in enumerate(results))
        assert sorted(found.errors()) == list(range(3, 100, 10))
        assert found.logs() == {i: f"item {i}\n" for i in range(5, 100, 10)}
        assert found.state == "failed"
        (row,) = cluster.jobs("mixed")
        assert (row.state, row.done, row.failed) == ("failed", 90, 10)
        assert [found[i].result() for i in (0, 7)] == [results[0], results[7]]


def test_what_was_recorded_does_not_change(lab):
    cluster = lab.connect()
    job = cluster.options(name="mixed").map(mixed, [i for i in range(100) if i % 10 != 3])
    until(lambda: job.progress().done >= 30)
    first = seen(job)
    recorded(cluster)
    lab.kill()
    again = lab.connect()
    second = again.job("mixed").results()
    assert {i: second[i] for i in first} == first
    lab.kill()
    with closing(lab.connect()) as cluster:
        assert cluster.job("mixed").results() == second
        assert cluster.job("mixed").kept

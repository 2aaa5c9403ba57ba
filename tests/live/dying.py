"""Named clusters that die under a client that lives, which finds them again when the test lets it; and jobs for them."""

import os
import signal
import threading

import pytest

import twistcluster as tc
from tests.live.conftest import kill
from tests.live.work import slow
from tests.tools import until
from twistcluster.client import returning
from twistcluster.client.launch import come_back, running_clusters

DEADLINE_S = 60.0
LARGE = 20_000
PROMPT_S = 5.0


class Local:
    """A local cluster: its client starts it again."""

    name = "lab"

    def __init__(self, clusters, gate):
        self._clusters = clusters
        self._gate = gate
        self._pid = clusters.local(self.name, 2).connection.pid

    def kill(self):
        """Its client lives, and doesn't find it until it is `back`."""
        self._gate.clear()
        kill(self._pid)

    def let_come(self):
        """It may be gone again before anybody saw it."""
        self._gate.set()

    def back(self):
        """Let it come."""
        self.let_come()
        self._pid = until(lambda: next((each.pid for each in running_clusters()), 0), 30, "the cluster")
        self._clusters.pids.append(self._pid)


class Standalone(Local):
    """A scheduler that somebody starts again, with a worker that joins each."""

    def __init__(self, clusters, gate):
        self._clusters = clusters
        self._gate = gate
        self._scheduler, _ = clusters.scheduler(self.name)
        clusters.worker(self.name, 2)

    def kill(self):
        self._gate.clear()
        self._scheduler.kill()
        self._scheduler.wait()

    def let_come(self):
        self._scheduler, _ = self._clusters.scheduler(self.name)
        self._gate.set()

    def back(self):
        self.let_come()


@pytest.fixture
def gate(monkeypatch):
    """While it is clear, nobody in this process finds a cluster that died."""
    opened = threading.Event()
    opened.set()

    def found(gone):
        if not opened.is_set():
            raise tc.ClusterUnreachable("the test keeps it away")
        return come_back(gone)

    monkeypatch.setattr(returning, "look_for", found)
    return opened


@pytest.fixture(params=[Local, Standalone])
def lab(request, clusters, gate):
    return request.param(clusters, gate)


@pytest.fixture
def cluster(lab):
    cluster = tc.connect(lab.name)
    cluster.wait_for_workers(1, slots=2, timeout=60)
    yield cluster
    cluster.close(wait=False)


def away(cluster):
    until(lambda: "looking for it" in repr(cluster), what="the loss of the link")


def seen(job):
    return {i: job[i].result() for i in range(len(job)) if job[i].done()}


def later(cluster, lab):
    """Another client, when this one is gone."""
    cluster.close(wait=False)
    return tc.connect(lab.name)


def interrupt_soon(seconds=0.3):
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def begun(cluster):
    job = cluster.options(name="begun").map(slow, list(range(2000)))
    until(lambda: job.progress().done >= 5, DEADLINE_S)
    return job

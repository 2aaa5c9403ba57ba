"""Where a cluster that died can't come back, or won't, its programs are told so at once."""

import contextlib
import os
import pathlib
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

import twistcluster as tc
from tests.live import dying
from tests.live.conftest import family, runs
from tests.live.dying import DEADLINE_S, Local, away, begun
from tests.tools import until
from twistcluster.client import returning
from twistcluster.client.launch import find, running_clusters

pytestmark = pytest.mark.usefixtures("stores_apart")
cluster, gate, lab = dying.cluster, dying.gate, dying.lab


def lost(job, cluster, words):
    """Soon it is told why, by whatever is asked."""
    until(job.done, what="the loss")
    with pytest.raises(tc.ClusterUnreachable, match=words):
        job.results()
    with pytest.raises(tc.ClusterUnreachable, match=words):
        cluster.submit(abs, 1)
    with pytest.raises(tc.ClusterUnreachable, match=words):
        cluster.status()
    assert job.state == "failed" and "lost" in repr(cluster)


def test_a_named_cluster_that_keeps_nothing_is_lost_when_it_dies(clusters):
    pid = clusters.local(slots=1, store=None).connection.pid
    cluster = tc.connect("lab")
    job = begun(cluster)
    pids = family(pid)
    os.kill(pid, signal.SIGKILL)
    lost(job, cluster, "the other side is gone")
    until(lambda: not any(map(runs, pids)), 15, "the end of the slots")
    cluster.close()


def test_a_cluster_that_ended_in_good_order_is_not_looked_for(lab, cluster, clusters):
    job = begun(cluster)
    stop = clusters.command("main", "stop", lab.name, "--force")
    assert stop.wait(30) == 0
    lost(job, cluster, "it ended")
    assert not running_clusters()


def test_a_journal_that_was_damaged_meanwhile_is_told(clusters, gate):
    lab = Local(clusters, gate)
    cluster = tc.connect(lab.name)
    job = begun(cluster)
    until(lambda: job.kept, what="the journal")
    journal = pathlib.Path(find(lab.name).journal)
    lab.kill()
    away(cluster)
    with contextlib.closing(sqlite3.connect(journal)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.write_bytes(b"x" * 4096 + journal.read_bytes()[4096:])
    gate.set()
    lost(job, cluster, r"it can't come back: .*move it")
    cluster.close()


def test_a_scheduler_that_stays_away_is_given_up_in_the_end(lab, cluster, monkeypatch):
    monkeypatch.setattr(returning, "SEARCH_SECONDS", 0.5)
    job = begun(cluster)
    lab.kill()
    with ThreadPoolExecutor(1) as pool:
        away(cluster)
        asked = pool.submit(cluster.status)
        lost(job, cluster, r"for 0\.5 s it didn't come back \(the test keeps it away\)")
        assert isinstance(asked.exception(DEADLINE_S), tc.ClusterUnreachable)

"""What a named cluster accepted it finishes and can still hand out, whatever dies."""

import contextlib
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

import twistcluster as tc
from tests.live.conftest import Local, Standalone, kill
from tests.live.work import LARGE, double, mixed, slow, slow_len, wait_for
from tests.tools import until
from twistcluster.client.launch import find, start_local
from twistcluster.storage.folder import clear_dead
from twistcluster.storage.journal_places import journal_path

pytestmark = pytest.mark.usefixtures("stores_gone")


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
    lab.kill(cluster)
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
    lab.kill(cluster)
    again = lab.connect()
    second = again.job("mixed").results()
    recorded(again)
    assert {i: second[i] for i in first} == first
    lab.kill(again)
    with closing(lab.connect()) as cluster:
        assert cluster.job("mixed").results() == second
        assert cluster.job("mixed").kept


def test_chains_futures_as_arguments_and_cancelled_items(lab, tmp_path):
    cluster = lab.connect()
    gate = str(tmp_path / "gate")
    inner = cluster.options(name="inner").map(slow, list(range(60)))
    cluster.options(name="outer").map(double, inner)
    first = cluster.options(name="gated").submit(wait_for, gate)
    cluster.options(name="after").submit(lambda path, x: (path, x), first, inner[50])
    cut = cluster.options(name="cut", priority=-1).map(slow, list(range(40)))
    cut.cancel()
    until(lambda: inner.progress().done >= 20)
    recorded(cluster)
    cancelled = [i for i in range(40) if cut[i].cancelled()]
    assert cancelled
    lab.kill(cluster)
    with closing(lab.connect()) as cluster:
        assert cluster.job("inner").results() == list(range(1, 61))
        assert cluster.job("outer").results() == [2 * i for i in range(1, 61)]
        assert not cluster.job("after").done()
        (tmp_path / "gate").touch()
        assert cluster.job("after").results() == [(gate, 51)]
        found = cluster.job("cut")
        found.wait(30)
        assert found.state == "cancelled"
        assert [i for i in range(40) if found[i].cancelled()] == list(range(40))


def test_a_second_kill_and_a_retry(lab):
    cluster = lab.connect()
    job = cluster.options(name="mixed").map(mixed, list(range(60)))
    for at in (10, 30):
        until(lambda at=at, job=job: job.progress().done >= at)
        lab.kill(cluster)
        cluster = lab.connect()
        job = cluster.job("mixed")
    job.wait(60)
    assert sorted(job.errors()) == list(range(3, 60, 10))
    with closing(cluster):
        job.retry()
        job.wait(60)
        results = job.results(errors="return")
        assert all(right(i, result) for i, result in enumerate(results))


KERNEL = """
import sys, time
sys.path[:0] = [{root!r}]
import twistcluster as tc
from tests.live.test_durable import slow
cluster = tc.connect("lab")
job = cluster.options(name="square").map(slow, list(range(200)))
while job.progress().done < 10 or not job.kept:
    time.sleep(0.01)
print("now", flush=True)
time.sleep(600)
"""


def test_a_killed_kernels_job_is_had_in_full_by_a_new_one(lab):
    root = str(pathlib.Path(__file__).resolve().parents[2])
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL.format(root=root)], stdout=subprocess.PIPE, text=True)
    assert kernel.stdout.readline() == "now\n"
    kernel.kill()
    kernel.wait()
    kernel.stdout.close()
    with closing(lab.connect()) as cluster:
        assert cluster.job("square").results() == list(range(1, 201))


def test_an_ended_cluster_that_starts_again_has_its_jobs(lab):
    cluster = lab.connect()
    job = cluster.options(name="done").map(abs, [-1, -2])
    assert job.results() == [1, 2]
    goes_on = cluster.options(name="on").map(slow, list(range(100)))
    until(lambda: goes_on.progress().done >= 5)
    cluster.stop(force=True)
    cluster.close()
    if isinstance(lab, Standalone):
        lab._scheduler.wait(60)
        lab._worker.wait(60)
        again = lab.connect()
    else:
        with pytest.raises(tc.ClusterUnreachable, match="twistcluster start lab"):
            tc.connect("lab")
        again = tc.Cluster("lab", slots=2)
    with closing(again):
        assert again.job("done").results() == [1, 2] and again.job("done").state == "done"
        assert again.job("on").results() == list(range(1, 101))


# ---- large values ----------------------------------------------------------------------------------------------------


def test_the_store_of_a_killed_cluster_is_adopted_and_goes_with_the_last_stop(clusters):
    lab = Local(clusters)
    cluster = lab.connect()
    job = cluster.options(name="large").map(lambda i: bytes([i]) * LARGE, list(range(8)))
    job.wait(30)
    recorded(cluster)
    store = pathlib.Path(find("lab").store)
    disk = (store / "disk").readlink()
    lab.kill(cluster)
    clusters.local("other")
    clear_dead()
    assert store.exists() and disk.exists()
    with closing(lab.connect()) as cluster:
        assert find("lab").store == str(store)
        assert cluster.job("large").results() == [bytes([i]) * LARGE for i in range(8)]
        more = cluster.submit(lambda: bytes(LARGE)).result()
        assert more == bytes(LARGE)
    until(lambda: not store.exists() and not disk.exists(), what="its process to end")


def test_the_store_of_a_killed_cluster_is_cleared_once_its_journal_is_gone(clusters):
    lab = Local(clusters)
    store, journal = pathlib.Path(find("lab").store), pathlib.Path(find("lab").journal)
    kill(find(lab.name).pid)
    clear_dead()
    assert store.exists()
    for path in list(journal.parent.iterdir()):
        path.unlink()
    clear_dead()
    assert not store.exists()


# ---- where it is kept ------------------------------------------------------------------------------------------------


def start(clusters, name="lab", **options):
    cluster = tc.Cluster(name, slots=1, **options)
    clusters.pids.append(cluster.status().pid)
    return cluster


def test_without_a_store_nothing_is_kept(clusters):
    cluster = start(clusters, store=None)
    job = cluster.options(name="gone").map(abs, [-1])
    assert job.results() == [1] and not job.kept
    assert find("lab").journal == "" and not pathlib.Path(journal_path("lab").path).parent.exists()
    kill(find("lab").pid)
    with pytest.raises(tc.ClusterUnreachable):
        tc.connect("lab")
    with closing(start(clusters, store=None)) as cluster, pytest.raises(tc.JobNotFound):
        cluster.job("gone")


def test_an_unnamed_cluster_keeps_nothing(tmp_path):
    with tc.Cluster(slots=1) as cluster:
        job = cluster.map(abs, [-1])
        assert job.results() == [1] and not job.kept
    assert not pathlib.Path(os.environ["XDG_STATE_HOME"], "twistcluster").exists() or not list(
        pathlib.Path(os.environ["XDG_STATE_HOME"]).rglob("*.db")
    )
    with pytest.raises(ValueError, match="give it a name, too"):
        tc.Cluster(store=str(tmp_path))


def test_a_store_of_ones_own(clusters, tmp_path):
    place = str(tmp_path / "mine")
    cluster = start(clusters, store=place)
    job = cluster.options(name="mine").map(slow, list(range(50)))
    until(lambda: job.kept and job.progress().done >= 5)
    assert find("lab").journal == f"{place}/journal.db"
    again = start(clusters, store=place)
    assert again.name == "lab"
    with pytest.raises(tc.OptionsDiffer, match="store="):
        start(clusters, store=str(tmp_path / "other"))
    for each in (cluster, again):
        each.close(wait=False)
    kill(find("lab").pid)
    with closing(start(clusters, store=place)) as cluster:
        assert cluster.job("mine").results() == list(range(1, 51))


def test_two_clusters_cannot_share_a_store(clusters, tmp_path):
    start(clusters, store=str(tmp_path / "mine"))
    pid = find("lab").pid
    with pytest.raises(tc.JournalInUse, match=f"used by the process {pid}"):
        tc.Cluster("other", slots=1, store=str(tmp_path / "mine"))
    assert tc.connect("lab").submit(abs, -1).result(30) == 1
    scheduler = clusters.command("main", "scheduler", "--name", "third", "--store", str(tmp_path / "mine"))
    assert scheduler.wait(30) == 1
    assert f"used by the process {pid}" in scheduler.stdout.read()


def test_a_scheduler_with_a_store_of_its_own_and_one_that_keeps_nothing(clusters, tmp_path):
    clusters.scheduler("lab", "--store", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "journal.db").exists()
    clusters.scheduler("other", "--store", "none")
    assert find("other").journal == ""


# ---- journals that can't be used -------------------------------------------------------------------------------------


@pytest.fixture
def left(clusters):
    """The journal and the store of a cluster that was killed."""
    cluster = start(clusters)
    job = cluster.options(name="large").map(lambda i: bytes([i]) * LARGE, list(range(4)))
    job.wait(30)
    recorded(cluster)
    connection = find("lab")
    cluster.close(wait=False)
    kill(connection.pid)
    return pathlib.Path(connection.journal), pathlib.Path(connection.store)


def spoil(journal):
    with contextlib.closing(sqlite3.connect(journal)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(journal.read_bytes())
    data[:4096] = b"x" * 4096
    journal.write_bytes(data)


def renew(journal):
    with contextlib.closing(sqlite3.connect(journal)) as file, file:
        version = file.execute("PRAGMA user_version").fetchone()[0]
        file.execute(f"PRAGMA user_version = {version + 1000}")


def contradict(journal):
    with contextlib.closing(sqlite3.connect(journal)) as file, file:
        file.execute("UPDATE jobs SET header = x'00'")


def empty(journal):
    journal.write_bytes(b"")
    journal.with_name("journal.db-wal").unlink(missing_ok=True)


def expose(journal):
    journal.chmod(0o644)


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        (spoil, tc.JournalDamaged, "move it"),
        (empty, tc.JournalDamaged, "remove it to begin a new one"),
        (contradict, tc.JournalDamaged, "makes no sense"),
        (renew, tc.VersionMismatch, "upgrade twistcluster"),
        (expose, tc.AccessDenied, "open to other users"),
    ],
)
def test_a_journal_that_cannot_be_used_is_told_and_nothing_is_removed(clusters, left, harm, error, words):
    journal, store = left
    harm(journal)
    before = {path.name for path in journal.parent.iterdir()}
    values = {path.name for path in store.iterdir()}
    for begin in (lambda: tc.connect("lab"), lambda: start_local("lab", 1)):
        with pytest.raises(error) as told:
            begin()
        assert words in str(told.value) and len(str(told.value).splitlines()) <= 5
    scheduler = clusters.command("main", "scheduler", "--name", "lab")
    assert scheduler.wait(30) == 1
    assert words in scheduler.stdout.read()
    assert {path.name for path in journal.parent.iterdir()} >= before - {"journal.db-wal", "journal.db-shm"}
    assert {path.name for path in store.iterdir()} == values
    for path in list(journal.parent.iterdir()):
        path.unlink()
    clear_dead()


def test_a_job_that_is_forgotten_is_in_the_journal_no_more(lab):
    cluster = lab.connect()
    job = cluster.options(name="secret").map(abs, [-1, -2])
    other = cluster.options(name="kept").map(slow, list(range(2000)))
    with pytest.raises(tc.TwistclusterError, match="cancel it, or wait for it"):
        other.forget()
    assert job.results() == [1, 2]
    job.forget()
    assert job.results() == [1, 2], "what came here stays here"
    other.cancel()
    recorded(cluster)
    lab.kill(cluster)
    with closing(lab.connect()) as cluster:
        assert {row.label for row in cluster.jobs()} == {"kept", "marker"}
        with pytest.raises(tc.JobNotFound):
            cluster.job("secret")


def test_after_a_reboot_large_values_are_made_again(clusters, tmp_path):
    """What a reboot takes is shared memory and all processes: here the store's two folders and the cluster's process."""
    lab = Local(clusters)
    cluster = lab.connect()
    job = cluster.options(name="both").map(lambda i: bytes([i]) * (LARGE if i % 2 else 10), list(range(6)))
    job.wait(30)
    recorded(cluster)
    store = pathlib.Path(find("lab").store)
    lab.kill(cluster)
    for folder in ((store / "disk").readlink(), store):
        shutil.rmtree(folder, ignore_errors=True)
    with closing(lab.connect()) as cluster:
        found = cluster.job("both")
        assert found.results() == [bytes([i]) * (LARGE if i % 2 else 10) for i in range(6)]


def test_after_a_reboot_a_value_that_cannot_be_made_again_is_told(clusters):
    lab = Local(clusters)
    cluster = lab.connect()
    job = cluster.options(name="long").map(len, [cluster.put(bytes(LARGE)) for _ in range(400)])
    late = cluster.options(name="late", priority=-5).map(slow_len, [bytes(LARGE)] * 3)
    recorded(cluster)
    store = pathlib.Path(find("lab").store)
    lab.kill(cluster)
    for folder in ((store / "disk").readlink(), store):
        shutil.rmtree(folder, ignore_errors=True)
    with closing(lab.connect()) as cluster:
        for name in ("long", "late"):
            found = cluster.job(name)
            assert found.wait(30)
            assert all(x == LARGE or isinstance(x, tc.ObjectLost) for x in found.results(errors="return"))
        assert isinstance(found.results(errors="return")[-1], tc.ObjectLost)
    del job, late


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 4])
def test_who_connects_in_the_moment_of_its_death_finds_it_again(clusters, delay_ms):
    """A killed process holds the lock by which it is found for some milliseconds more."""
    lab = Local(clusters)
    cluster = lab.connect()
    cluster.close()
    os.kill(find(lab.name).pid, signal.SIGKILL)
    time.sleep(delay_ms / 1000)  # not to wait for anything: to meet its death elsewhere
    with closing(lab.connect()) as cluster:
        assert cluster.submit(abs, -3).result(30) == 3

"""What `job.keep()` was asked for is on the disk: it outlives the cluster's end and its store."""

import pathlib
import resource
import shutil
from functools import partial

import pytest

import twistcluster as tc
from tests.live.conftest import Local, Standalone, runs
from tests.live.test_durable import LARGE, closing, recorded
from tests.tools import until
from twistcluster.client.launch import find
from twistcluster.storage.copies import copies_beside, copies_of

MIB = 1024 * 1024

pytestmark = pytest.mark.usefixtures("stores_gone")


def noted(notes, i):
    """A large result, whose making is noted."""
    with notes.open("a") as file:
        file.write(f"{i}\n")
    return bytes([i]) * LARGE


def made(notes):
    return sorted(map(int, notes.read_text("utf-8").split()))


def results(count):
    return [bytes([i]) * LARGE for i in range(count)]


def start_again(lab):
    """After a stop in good order, or a kill."""
    if isinstance(lab, Local) and not isinstance(lab, Standalone):
        return tc.Cluster("lab", slots=2)
    lab._scheduler.wait(60)
    lab._worker.wait(60)
    return lab.connect()


def stop(cluster):
    store, pid = pathlib.Path(find("lab").store), find("lab").pid
    cluster.stop(force=True)
    cluster.close()
    until(lambda: not store.exists() and not runs(pid), what="the end of its process")


def test_kept_results_outlive_a_stop_in_good_order_and_are_made_once(lab, tmp_path):
    notes = tmp_path / "notes"
    cluster = lab.connect()
    before = cluster.options(name="before").map(partial(noted, notes), list(range(6)))
    before.wait(30)
    before.keep()
    journal = find("lab").journal
    assert len(copies_of(journal)) == 6
    assert pathlib.Path(copies_beside(journal)).stat().st_mode & 0o777 == 0o700
    until(lambda: before.kept, what="its end in the journal")
    later = cluster.options(name="later").map(partial(noted, notes), list(range(6, 9)))
    later.keep()
    later.wait(30)
    until(lambda: later.kept, what="copies of what came after it was asked")
    assert len(copies_of(journal)) == 9
    stop(cluster)
    with closing(start_again(lab)) as cluster:
        found = cluster.job("before")
        assert found.results() == results(6)
        assert cluster.job("later").results() == results(9)[6:]
        assert cluster.map(len, found).results() == [LARGE] * 6, "slots read them, too"
        assert made(notes) == list(range(9))
        until(lambda: found.kept, what="it is said to whoever finds it")


def test_kept_results_outlive_a_reboot(lab, tmp_path):
    """See test_durable.py for what a reboot takes."""
    notes = tmp_path / "notes"
    cluster = lab.connect()
    job = cluster.map(partial(noted, notes), list(range(4)))
    name = job.name
    job.wait(30)
    job.keep()
    recorded(cluster)
    store = pathlib.Path(find("lab").store)
    lab.kill(cluster)
    for folder in ((store / "disk").readlink(), store):
        shutil.rmtree(folder)
    with closing(lab.connect()) as cluster:
        assert cluster.job(name).results() == results(4), "an unnamed one is kept, too"
        assert made(notes) == list(range(4))


def test_a_job_that_is_forgotten_leaves_no_copies(clusters, tmp_path):
    lab = Local(clusters)
    cluster = lab.connect()
    job = cluster.options(name="large").map(partial(noted, tmp_path / "notes"), list(range(3)))
    other = cluster.options(name="other").map(partial(noted, tmp_path / "notes"), [3])
    job.wait(30)
    other.wait(30)
    job.keep()
    other.keep()
    journal = find("lab").journal
    assert len(copies_of(journal)) == 4
    job.forget()
    del job
    until(lambda: len(copies_of(journal)) == 1, what="the end of its copies")
    with closing(cluster):
        assert cluster.job("other").results() == results(4)[3:]


def test_a_disk_that_is_full_is_told_and_tried_again(clusters):
    """Files of the cluster's process may be only so long: that is what a full disk looks like to it."""
    lab = Local(clusters)
    cluster = lab.connect()
    job = cluster.options(name="large").map(bytes, [4 * MIB] * 3)
    job.wait(30)
    recorded(cluster)
    pid = find("lab").pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (2 * MIB, resource.RLIM_INFINITY))
    with closing(cluster):
        with pytest.raises(tc.JournalFull, match="is full, .*: make room there"):
            job.keep()
        assert not job.kept
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        job.keep()
        assert len(copies_of(find("lab").journal)) == 3
        until(lambda: job.kept, what="all of it on the disk")


@pytest.mark.parametrize("options", [{}, {"name": "lab", "store": None}], ids=["unnamed", "store=None"])
def test_without_a_journal_keep_says_what_to_do(clusters, options):
    with tc.Cluster(slots=1, **options) as cluster:
        clusters.pids.append(cluster.status().pid)
        job = cluster.map(abs, [-1])
        with pytest.raises(ValueError, match="Give it a name"):
            job.keep()
        if options:
            cluster.stop(force=True)

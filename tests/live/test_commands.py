"""The shell's commands on real clusters, in both forms."""

import os
import signal
import subprocess
import sys
import time

import pytest

import twistcluster as tc
from tests.live.conftest import family, left_behind, runs
from tests.tools import until
from twistcluster.client.launch import find, running_clusters


def run(*arguments):
    """What a command prints, and its exit code. A process of its own, as all in one process are one client."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from twistcluster.cli.main import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout, ran.returncode


def test_start_list_status_stop(clusters):
    text, code = run("start", "lab", "--slots", "1", "--idle-timeout", "1h")
    clusters.pids.append(find("lab").pid)
    assert code == 0 and "Cluster 'lab' is ready (1 slot, pid" in text
    assert 'tc.connect("lab")' in text and "twistcluster stop lab" in text
    assert find("lab").idle_timeout == 3600
    text, code = run("start", "lab")
    assert code == 0 and "Cluster 'lab' runs already (1 slot" in text
    text, code = run("start", "lab", "--slots", "3")
    assert code == 1 and "slots=1 (you asked for 3)" in text and len(text.splitlines()) <= 5
    assert "lab" in run("list")[0]
    pids = family(find("lab").pid)
    text, code = run("stop", "lab")
    assert (text, code) == ("Cluster 'lab' has ended.\n", 0)
    until(lambda: not any(map(runs, pids)) and not left_behind())
    assert run("list")[0].startswith("You run no cluster")


def test_where_a_cluster_keeps_its_jobs(clusters, tmp_path):
    place = str(tmp_path / "mine")
    text, code = run("start", "lab", "--slots", "1", "--store", place)
    clusters.pids.append(find("lab").pid)
    assert code == 0 and find("lab").journal == f"{place}/journal.db"
    text, code = run("start", "other", "--slots", "1", "--store", place)
    assert code == 1 and "is used by the process" in text and "Traceback" not in text
    assert run("start", "other", "--slots", "1", "--store", "none")[1] == 0
    clusters.pids.append(find("other").pid)
    assert find("other").journal == ""


def test_the_default_names(clusters):
    text, code = run("start", "-n", "1")
    clusters.pids.append(find("default").pid)
    assert code == 0 and "Cluster 'default' is ready" in text
    assert "Cluster 'default': up" in run("status")[0]
    assert run("stop")[0] == "Cluster 'default' has ended.\n"


@pytest.mark.parametrize("cluster", ["local"], indirect=True)  # it asks the scheduler, which is the same in both
def test_jobs_of_another_program(cluster):
    with tc.connect("lab") as program:
        until(lambda: "ready" in run("status", "lab")[0])
        text, code = run("status")
        assert code == 0 and "Cluster 'lab': up" in text and "1 client, no open jobs" in text
        assert run("jobs") == ("No jobs.\n", 0)

        job = program.options(name="train").map(lambda x: print("item", x) or x, range(3))
        assert list(job) == [0, 1, 2]
        rows = run("jobs", "lab")[0].splitlines()
        assert rows[0].split()[:4] == ["job", "id", "state", "items"]
        assert rows[1].split()[0] == "train" and rows[1].split()[2:4] == ["done", "3"]
        assert run("logs", "train") == ("[0] item 0\n[1] item 1\n[2] item 2\n", 0)
        assert run("logs", "train", "1") == ("item 1\n", 0)
        assert run("logs", "train", "7") == ("Item 7 of train has printed nothing.\n", 0)
        assert run("cancel", "train") == ("train is over already (done).\n", 0)

        slow = program.options(name="slow").map(lambda x: time.sleep(0.05), range(1000))
        until(lambda: slow.progress().done > 0)
        assert run("cancel", "slow") == ("slow is cancelled.\n", 0)
        until(lambda: slow.done())
        assert slow.state == "cancelled"

        for command in ("logs", "cancel"):
            text, code = run(command, "nothing")
            assert (text, code) == (
                "twistcluster: cluster 'lab' knows no job 'nothing'; `twistcluster jobs lab` lists those it has\n",
                1,
            )


def test_a_cluster_in_use_is_stopped_by_force_only(clusters):
    pid = clusters.local().connection.pid
    with tc.connect("lab"):
        text, code = run("stop", "lab")
        assert code == 1 and "twistcluster stop lab --force" in text and "stop(force" not in text
        assert len(text.splitlines()) <= 5
        assert runs(pid)
        assert run("stop", "lab", "--force") == ("Cluster 'lab' has ended.\n", 0)
    until(lambda: not runs(pid))


def test_a_scheduler_and_workers_that_come_and_go(clusters):
    scheduler, connection = clusters.scheduler()
    assert "No worker. Join one:  twistcluster-worker --join lab" in run("status")[0]
    first = clusters.worker("lab", 1, "--name", "one", "--resources", "gpu=1,disk=5")
    second = clusters.worker(connection.connection_file, 2, "--name", "two")
    until(lambda: "one" in run("status")[0] and "two" in run("status")[0])
    with tc.connect("lab") as program:
        assert program.submit(abs, -3).result(30) == 3
        assert {worker.name: worker.slots for worker in program.workers()} == {"one": 1, "two": 2}
        assert next(worker for worker in program.workers() if worker.name == "one").resources == {"gpu": 1, "disk": 5}
    pids = family(second.pid)
    os.kill(second.pid, signal.SIGTERM)
    assert second.wait(60) == 0
    until(lambda: not any(map(runs, pids)))
    until(lambda: "two" not in run("status")[0])
    text, code = run("stop", "lab")
    assert (text, code) == ("Cluster 'lab' has ended.\n", 0)
    assert scheduler.wait(60) == 0 and first.wait(60) == 0
    assert "worker has joined lab" in first.stdout.read()
    until(lambda: not left_behind())
    assert running_clusters() == []


@pytest.mark.parametrize("target", ["lab", "/nowhere/twistcluster-0.json"])
def test_a_worker_that_finds_no_cluster(clusters, target):
    worker = clusters.worker(target, 1, "--wait", "0")
    assert worker.wait(30) == 1
    said = worker.stdout.read()
    assert "could not join" in said and target in said and "Traceback" not in said

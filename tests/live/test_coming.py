"""Workers and slots that are killed, stopped, sent away and come back, in the middle of a job. Each result is there once."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

import twistcluster as tc
from tests.live.conftest import Clusters, runs
from tests.tools import until
from twistcluster.cli.main import group
from twistcluster.core.leaving import GRACE_S

DEADLINE_S = 60.0
NAME = "lab"
LOST_AFTER_S = 4


@pytest.fixture(autouse=True)
def soon_lost(monkeypatch):
    """Half a minute is long for a test."""
    monkeypatch.setenv("TWISTCLUSTER_LOST_AFTER", str(LOST_AFTER_S))


class Lab:
    """A cluster with workers of one slot each that joined it: a local one without slots of its own, or a scheduler."""

    def __init__(self, clusters: Clusters, form: str, workers: int = 2) -> None:
        self.clusters = clusters
        self.scheduler: subprocess.Popen | None = None
        if form == "local":
            self.pid = clusters.local(NAME, 0).connection.pid
        else:
            self.scheduler, connection = clusters.scheduler(NAME)
            self.pid = connection.pid
        self.workers = [self.join(f"w{number}") for number in range(workers)]
        self.cluster = tc.connect(NAME)
        self.cluster.wait_for_workers(workers, slots=workers, timeout=30)

    def join(self, name, *more):
        return self.clusters.worker(NAME, 1, "--name", name, *more)

    def slot(self, worker) -> psutil.Process:
        """The one that serves."""
        return until(
            lambda: next(
                (p for p in psutil.Process(worker.pid).children() if "nodes.slot" in " ".join(p.cmdline())), None
            )
        )

    def names(self):
        return {worker.name for worker in self.cluster.workers() if not worker.local}

    def told(self, name):
        return next((worker for worker in self.cluster.workers() if worker.name == name), None)


@pytest.fixture(params=["local", "standalone"])
def lab(request, clusters):
    lab = Lab(clusters, request.param)
    yield lab
    for process in psutil.Process(lab.pid).children(recursive=True):
        if process.status() == psutil.STATUS_STOPPED:
            process.resume()
    for worker in lab.workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGCONT)
    lab.cluster.close(wait=False)


def logged(log, seconds=0.005):
    """A function whose every run leaves a line when it begins, and returns who ran it."""

    def work(x):
        with Path(log).open("a") as file:
            file.write(f"{x}\n")
        time.sleep(seconds)
        return x, os.getppid()

    return work


def took(log):
    return Counter(map(int, Path(log).read_text().split()))


def check(job, items):
    assert job.wait(DEADLINE_S), f"{job.progress()}"
    assert [value for value, _ in job.results()] == list(items)


def by(job):
    """How many items each worker ran."""
    return Counter(pid for _, pid in job.results())


# ---- killed --------------------------------------------------------------------------------------------------------------


def test_workers_killed_in_the_middle_of_a_job(lab, tmp_path):
    log = str(tmp_path / "log")
    job = lab.cluster.map(logged(log), range(1500))
    for number in range(3):
        until(lambda number=number: job.progress().done > 200 * (number + 1), DEADLINE_S, "progress")
        slot = lab.slot(lab.workers[-1]).pid
        lab.workers[-1].kill()
        lab.workers.append(lab.join(f"again-{number}"))
        until(lambda slot=slot: not runs(slot), what="its slot to end with it")
    check(job, range(1500))
    assert not job.errors()
    again = {item: count for item, count in took(log).items() if count > 1}
    assert len(again) < 3 * 60 and max(took(log).values()) <= 4


# ---- stopped workers -----------------------------------------------------------------------------------------------------


def test_a_stopped_worker_is_a_suspect_then_lost_and_serves_again(lab, tmp_path):
    stopped, other = lab.workers
    job = lab.cluster.map(logged(str(tmp_path / "log"), 0.02), range(400))
    until(lambda: job.progress().done > 50, DEADLINE_S)
    stopped.send_signal(signal.SIGSTOP)
    suspect = until(lambda: (w := lab.told("w0")) and w.suspect and w, DEADLINE_S, "a suspect")
    assert "silent for" in suspect.suspect or "doesn't answer" in suspect.suspect
    assert "w0 is a suspect" in repr(lab.cluster.workers())
    until(lambda: lab.names() == {"w1"}, DEADLINE_S, "its loss")
    check(job, range(400))
    first = job.results()
    stopped.send_signal(signal.SIGCONT)
    until(lambda: lab.names() == {"w0", "w1"}, DEADLINE_S, "its return")
    assert job.results() == first and not job.errors()
    again = lab.cluster.map(logged(str(tmp_path / "log2"), 0.02), range(200))
    check(again, range(200))
    assert set(by(again)) == {stopped.pid, other.pid} and set(took(tmp_path / "log2").values()) == {1}


def test_a_worker_that_is_stopped_for_a_moment_loses_nothing(lab, tmp_path):
    log = str(tmp_path / "log")
    job = lab.cluster.map(logged(log), range(400))
    until(lambda: job.progress().done > 50, DEADLINE_S)
    lab.workers[0].send_signal(signal.SIGSTOP)
    until(lambda: (w := lab.told("w0")) and w.suspect, DEADLINE_S, "a suspect")
    lab.workers[0].send_signal(signal.SIGCONT)
    until(lambda: not lab.told("w0").suspect, DEADLINE_S, "trust")
    check(job, range(400))
    assert set(took(log).values()) == {1}


def test_what_only_a_stopped_worker_has_is_waited_for_with_a_reason(lab, tmp_path):
    job = lab.cluster.map(logged(str(tmp_path / "log"), 1.0), range(2))
    until(lambda: len(took(tmp_path / "log")) == 2 if (tmp_path / "log").exists() else False, DEADLINE_S)
    lab.workers[0].send_signal(signal.SIGSTOP)
    status = until(
        lambda: next((s for s in lab.cluster.jobs() if "w0 doesn't answer" in s.waiting), None), DEADLINE_S, "words"
    )
    assert status.done == 1
    # In this process: until another had started it might be lost.
    assert "w0 is a suspect (" in CliRunner().invoke(group, ["status", NAME]).output
    check(job, range(2))  # once it is lost, by the other
    assert took(tmp_path / "log") in (Counter({0: 2, 1: 1}), Counter({0: 1, 1: 2}))


# ---- stopped slots -------------------------------------------------------------------------------------------------------


def test_a_stopped_slots_queue_is_run_elsewhere_and_what_it_finishes_late_counts(lab, tmp_path):
    log = str(tmp_path / "log")
    job = lab.cluster.map(logged(log), range(600))
    until(lambda: job.progress().done > 50, DEADLINE_S)
    slot = lab.slot(lab.workers[0])
    slot.suspend()
    until(lambda: job.progress().done >= 595, DEADLINE_S, "all but what it runs, and hasn't said yet")
    worker = until(lambda: (w := lab.told("w0")) and w.stopped and w, DEADLINE_S, "a stopped slot")
    assert worker.stopped == [slot.pid] and worker.slots == 0
    assert f"kill -CONT {slot.pid}" in repr(lab.cluster.workers())
    until(lambda: [s for s in lab.cluster.jobs() if f"kill -CONT {slot.pid}" in s.waiting], DEADLINE_S, "words")
    assert lab.cluster.submit(abs, -1).result(DEADLINE_S) == 1
    slot.resume()
    check(job, range(600))
    assert set(took(log).values()) == {1}
    until(lambda: lab.told("w0").slots == 1 and not lab.told("w0").stopped, DEADLINE_S, "its return")
    again = lab.cluster.map(logged(str(tmp_path / "log2")), range(200))
    check(again, range(200))
    assert set(by(again)) == {worker.pid for worker in lab.workers}


@pytest.mark.parametrize("done", [0, 50])
def test_a_stopped_slot_beside_another_of_its_worker(clusters, tmp_path, done):
    clusters.local(NAME, 2)
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(1, slots=2, timeout=60)
    log = str(tmp_path / "log")
    job = cluster.map(logged(log), range(600))
    until(lambda: job.progress().done > done, DEADLINE_S)
    children = psutil.Process(cluster.workers()[0].pid).children()
    slot = next(p for p in children if "nodes.slot" in " ".join(p.cmdline()))
    slot.suspend()
    try:
        # All but what it runs, and has run without having said so.
        until(lambda: job.progress().done >= 590, DEADLINE_S, lambda: f"the rest: {job.progress()}")
        until(lambda: cluster.workers()[0].stopped == [slot.pid], DEADLINE_S)
        assert cluster.workers()[0].slots == 1
        assert cluster.submit(abs, -1).result(DEADLINE_S) == 1
    finally:
        slot.resume()
    check(job, range(600))
    assert set(took(log).values()) == {1}
    until(lambda: cluster.workers()[0].slots == 2, DEADLINE_S)
    cluster.close(wait=False)


# ---- sent away -----------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_sent_away_finishes_what_it_runs(lab, tmp_path):
    log = str(tmp_path / "log")
    job = lab.cluster.map(logged(log, 0.2), range(20))
    until(lambda: job.progress().done > 3, DEADLINE_S)
    lab.workers[0].send_signal(signal.SIGTERM)
    assert lab.workers[0].wait(60) == 0
    check(job, range(20))
    assert set(took(log).values()) == {1}, "something was run twice"
    assert lab.names() == {"w1"}


QUICK = """
import sys
import twistcluster.core.leaving
twistcluster.core.leaving.GRACE_S = 0.5
from twistcluster.cli.worker import main
main()
"""


def test_what_outlasts_the_grace_is_run_elsewhere_and_not_blamed(clusters, tmp_path):
    clusters.scheduler(NAME)
    quick = subprocess.Popen(
        [sys.executable, "-c", QUICK, "--join", NAME, "--slots", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    clusters.children.append(quick)
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(1, slots=1, timeout=60)
    log = tmp_path / "log"

    def once_long(x):
        with log.open("a") as file:
            file.write(f"{x}\n")
        time.sleep(60 if log.read_text().count("\n") == 1 else 0)
        return x

    future = cluster.submit(once_long, 7)
    until(log.exists, DEADLINE_S)
    began = time.monotonic()
    quick.send_signal(signal.SIGTERM)
    assert quick.wait(60) == 0 and time.monotonic() - began < 30
    assert "handed back" in quick.stdout.read()
    clusters.worker(NAME, 1)
    assert future.result(DEADLINE_S) == 7
    cluster.close(wait=False)


def test_a_second_signal_ends_it_at_once(lab, tmp_path):
    log, gate = str(tmp_path / "log"), tmp_path / "gate"

    def through_the_gate(x, begin=logged(log, 0.0)):
        begin(x)
        while not gate.exists():
            time.sleep(0.005)
        return x, os.getppid()

    job = lab.cluster.map(through_the_gate, range(2))
    until(lambda: len(took(log)) == 2 if Path(log).exists() else False, DEADLINE_S)
    lab.workers[0].send_signal(signal.SIGTERM)
    until(lambda: (w := lab.told("w0")) and w.leaving, DEADLINE_S, "the word that it leaves")
    assert "w0 is leaving" in repr(lab.cluster.workers())
    lab.workers[0].send_signal(signal.SIGTERM)
    assert lab.workers[0].wait(GRACE_S / 2) == 0
    gate.touch()
    check(job, range(2))
    assert sum(took(log).values()) == 3


def test_fewer_slots_under_load_cost_no_item_a_second_run(clusters, tmp_path):
    clusters.local(NAME, 3)
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(1, slots=3, timeout=60)
    log = str(tmp_path / "log")
    job = cluster.map(logged(log, 0.3), range(30))
    until(lambda: job.progress().done > 3, DEADLINE_S)
    cluster.scale(1)
    until(lambda: cluster.workers()[0].busy <= 1, DEADLINE_S, "the others to finish")
    until(lambda: cluster.workers()[0].ready == 1, DEADLINE_S)
    cluster.scale(3)
    check(job, range(30))
    assert set(took(log).values()) == {1}
    cluster.close(wait=False)


# ---- anything at any moment ----------------------------------------------------------------------------------------------


def trouble(lab, pick, stopped):
    """Something happens to a worker or a slot; `stopped` has who goes on later."""
    worker = pick.choice(lab.workers)
    try:
        processes = psutil.Process(worker.pid).children()
    except psutil.NoSuchProcess:
        processes = []
    match pick.choice(["kill", "send away", "stop", "stop a slot", "kill a slot", "go on", "go on"]):
        case "kill":
            worker.kill()
        case "send away":
            worker.send_signal(signal.SIGTERM)
        case "stop" if len(stopped) < 2:
            worker.send_signal(signal.SIGSTOP)
            stopped.append(worker.pid)
        case "stop a slot" if processes and len(stopped) < 2:
            stopped.append(pick.choice(processes).pid)
            os.kill(stopped[-1], signal.SIGSTOP)
        case "kill a slot" if processes:
            os.kill(pick.choice(processes).pid, signal.SIGKILL)
        case "go on" if stopped:
            go_on(stopped.pop(0))
    for at, each in enumerate(lab.workers):
        if each.poll() is not None:
            lab.workers[at] = lab.join(f"new-{each.pid}")


def go_on(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def nonce(seconds):
    def work(x):
        time.sleep(seconds)
        return x, os.urandom(8)

    return work


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_to_workers_each_result_is_there_once(clusters, seed):
    lab = Lab(clusters, ["local", "standalone"][seed % 2], workers=3)
    pick, stopped = random.Random(seed), []
    jobs = [lab.cluster.map(nonce(seconds), range(count)) for seconds, count in [(0.001, 4000), (0.05, 250), (0.5, 30)]]
    try:
        for _ in range(16):
            until_s = time.monotonic() + pick.uniform(0.1, 1.0)
            until(lambda until_s=until_s: time.monotonic() > until_s)
            trouble(lab, pick, stopped)
    finally:
        for pid in stopped:
            go_on(pid)
    for job in jobs:
        assert job.wait(DEADLINE_S), f"{job.progress()}\n{lab.cluster.jobs()!r}\n{lab.cluster.status()!r}"
        assert not job.errors()
        results = job.results()
        assert [x for x, _ in results] == list(range(len(results))) and len({nonce for _, nonce in results}) == len(
            results
        )
    lab.cluster.close(wait=False)


# ---- the scheduler -------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_there_before_its_scheduler(clusters):
    worker = clusters.worker(NAME, 1, "--name", "early")
    line = worker.stdout.readline()
    assert "can't be reached; trying again" in line
    clusters.scheduler(NAME)
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(1, slots=1, timeout=60)
    assert cluster.submit(abs, -1).result(DEADLINE_S) == 1
    cluster.close(wait=False)


def test_a_worker_whose_scheduler_never_comes_back_says_so_and_ends(clusters):
    scheduler, _ = clusters.scheduler(NAME)
    worker = clusters.worker(NAME, 1, "--wait", "1s")
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(1, slots=1, timeout=60)
    cluster.close(wait=False)
    slots = [process.pid for process in psutil.Process(worker.pid).children()]
    scheduler.kill()
    assert worker.wait(60) == 3
    assert f"the cluster '{NAME}' went away and did not come back" in worker.stdout.read()
    until(lambda: not any(map(runs, slots)))


def test_while_the_scheduler_is_stopped_nothing_is_lost_and_nobody_blamed(lab, tmp_path):
    log = str(tmp_path / "log")
    job = lab.cluster.map(logged(log, 0.01), range(600))
    until(lambda: job.progress().done > 50, DEADLINE_S)
    since = {worker.name: worker.since for worker in lab.cluster.workers()}
    scheduler = psutil.Process(lab.pid)
    began = time.monotonic()
    scheduler.suspend()
    try:
        until(lambda: time.monotonic() - began > LOST_AFTER_S + 2, 20, "time to pass")
    finally:
        scheduler.resume()
    for worker in lab.cluster.workers():
        assert not worker.suspect
        if worker.name in since:
            assert worker.since >= since[worker.name], "it joined anew"
    check(job, range(600))
    assert set(took(log).values()) == {1} and lab.names() >= {"w0", "w1"}


def test_how_soon_a_worker_is_lost_must_be_a_time(clusters, monkeypatch):
    for wrong in ["soon", "1", "-5", "inf", "nan"]:
        monkeypatch.setenv("TWISTCLUSTER_LOST_AFTER", wrong)
        scheduler = clusters.command("main", "scheduler", "--name", NAME)
        assert scheduler.wait(60) == 1
        assert f"TWISTCLUSTER_LOST_AFTER={wrong} must be a number of seconds, 3 or more" in scheduler.stdout.read()
    with pytest.raises(tc.TwistclusterError, match="TWISTCLUSTER_LOST_AFTER=nan must be"):
        clusters.local(NAME)

"""Faults under load, in both forms: what is killed or stopped, and what nobody fetches. Results stay right, and each is there once."""

import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

import twistcluster as tc
from tests.live.conftest import in_forms, runs
from tests.tools import until
from twistcluster.client.futures import Future
from twistcluster.client.outbox import Parts
from twistcluster.client.records import JobRecord
from twistcluster.client.results import Segment

DEADLINE_S = 60.0
NAME = "lab"


@pytest.fixture(params=["local", "standalone"])
def shared(request, clusters):
    """A cluster with two slots, by its client; standalone these are of two workers."""
    if request.param == "local":
        clusters.local(NAME, 2)
    else:
        clusters.scheduler(NAME)
        for _ in range(2):
            clusters.worker(NAME, 1)
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(1 if request.param == "local" else 2, slots=2, timeout=60)
    yield cluster
    cluster.close(wait=False)


def logged(log):
    """A function whose every run leaves a line."""

    def work(x):
        with Path(log).open("a") as file:
            file.write(f"{x}\n")
        time.sleep(0.002)
        return 3 * x

    return work


def slot_processes(cluster):
    found = []
    for worker in cluster.workers():
        found += [p for p in psutil.Process(worker.pid).children() if "twistcluster.nodes.slot" in p.cmdline()]
    return found


def took(log):
    return Counter(Path(log).read_text().split())


# ---- slots -----------------------------------------------------------------------------------------------------------


def test_slots_killed_under_load(shared, tmp_path):
    log, items = str(tmp_path / "log"), range(2000)
    job = shared.map(logged(log), items)
    pick = random.Random(5)
    for number in range(8):
        until(lambda number=number: job.progress().done > number * 200, DEADLINE_S, "progress")
        pick.choice(until(lambda: slot_processes(shared))).kill()
    assert job.wait(DEADLINE_S) and job.results() == [3 * x for x in items]
    again = {item: count for item, count in took(log).items() if count > 1}
    # What ran in a killed slot ran again, and what it had done and not told yet (20 ms of it at most); no other.
    assert set(took(log)) == set(map(str, items)) and sum(again.values()) - len(again) <= 8 * 12, again
    until(lambda: sum(worker.ready for worker in shared.workers()) == 2, DEADLINE_S, "new slots")


POISON = {
    "exit code 3": lambda: os._exit(3),
    "signal 11 (SIGSEGV)": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "signal 9 (SIGKILL)": lambda: os.killpg(0, signal.SIGKILL),
}


@in_forms("how", ["signal 9 (SIGKILL)"], ["signal 11 (SIGSEGV)", "exit code 3"])
def test_a_poison_item_fails_after_three_tries_and_no_other(shared, tmp_path, how):
    log, poison = str(tmp_path / "log"), POISON[how]

    def work(x):
        with Path(log).open("a") as file:
            file.write(f"{x}\n")
        if x == 17:
            poison()
        return x

    job = shared.map(work, range(200))
    assert job.wait(DEADLINE_S)
    assert list(job.errors()) == [17] and job.results("skip") == [x for x in range(200) if x != 17]
    with pytest.raises(tc.WorkerCrashed, match=r"3 times") as told:
        job.results()
    text = str(told.value)
    assert text.startswith("work-1[17]: it ended its slot 3 times") and how in text and "Run it alone" in text
    assert took(log)["17"] == 3
    assert shared.submit(abs, -1).result(DEADLINE_S) == 1


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (9,)


def test_one_submit_is_blamed_by_its_own_name_also_for_what_it_brings(shared):
    futures = [shared.submit(pow, x, 2) for x in range(20)]
    poisoned = [shared.submit(os._exit, 5), shared.submit(lambda deadly=Deadly(): deadly)]
    assert [future.result(DEADLINE_S) for future in futures] == [x**2 for x in range(20)]
    with pytest.raises(tc.WorkerCrashed, match=f"^{poisoned[0].name}: it ended its slot 3 times, .* exit code 5\\."):
        poisoned[0].result(DEADLINE_S)
    with pytest.raises(tc.WorkerCrashed, match=f"^{poisoned[1].name}: .* exit code 9"):
        poisoned[1].result(DEADLINE_S)
    assert shared.submit(abs, -1).result(DEADLINE_S) == 1


def test_a_stopped_slot_goes_on_where_it_was(shared, tmp_path):
    log = str(tmp_path / "log")
    job = shared.map(logged(log), range(600))
    until(lambda: job.progress().done > 50, DEADLINE_S)
    slot = slot_processes(shared)[0]
    slot.suspend()
    try:
        # All but what the stopped one has in hand is done by the other.
        until(lambda: job.progress().done > 560, DEADLINE_S, "the other slot's work")
        assert shared.submit(abs, -1).result(DEADLINE_S) == 1
    finally:
        slot.resume()
    assert job.wait(DEADLINE_S) and job.results() == [3 * x for x in range(600)]
    assert set(took(log).values()) == {1}


# ---- nodes -----------------------------------------------------------------------------------------------------------


def two_workers(clusters, *options):
    scheduler, connection = clusters.scheduler(NAME, *options)
    workers = [clusters.worker(NAME, 1) for _ in range(2)]
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(2, slots=2, timeout=60)
    return scheduler, connection, workers, cluster


def test_a_worker_killed_under_load(clusters, tmp_path):
    _, _, workers, cluster = two_workers(clusters)
    log = str(tmp_path / "log")
    job = cluster.map(logged(log), range(1000))
    until(lambda: job.progress().done > 100, DEADLINE_S)
    slots = [process.pid for process in psutil.Process(workers[0].pid).children()]
    workers[0].kill()
    assert job.wait(DEADLINE_S) and job.results() == [3 * x for x in range(1000)]
    assert slots and not any(map(runs, slots))
    cluster.close(wait=False)


def test_a_worker_told_to_end_gives_back_what_it_has(clusters, tmp_path):
    _, _, workers, cluster = two_workers(clusters)
    log = str(tmp_path / "log")
    job = cluster.map(logged(log), range(1000))
    until(lambda: job.progress().done > 100, DEADLINE_S)
    workers[0].send_signal(signal.SIGTERM)
    assert workers[0].wait(60) == 0
    assert job.wait(DEADLINE_S) and job.results() == [3 * x for x in range(1000)]
    cluster.close(wait=False)


@pytest.mark.parametrize("which", ["scheduler", "worker"])
def test_a_stopped_node_goes_on(clusters, tmp_path, which):
    scheduler, _, workers, cluster = two_workers(clusters)
    node = scheduler if which == "scheduler" else workers[0]
    log = str(tmp_path / "log")
    job = cluster.map(logged(log), range(600))
    until(lambda: job.progress().done > 50, DEADLINE_S)
    node.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    node.send_signal(signal.SIGCONT)
    assert job.wait(DEADLINE_S) and job.results() == [3 * x for x in range(600)]
    assert set(took(log).values()) == {1}
    cluster.close(wait=False)


def test_workers_join_the_scheduler_that_comes_after_a_killed_one(clusters):
    scheduler, connection, workers, cluster = two_workers(clusters, "--store", "none")
    job = cluster.map(time.sleep, [0.01] * 5000)
    scheduler.kill()
    with pytest.raises(tc.ClusterUnreachable, match="attaches again"):
        job.results()
    with pytest.raises(tc.ClusterUnreachable, match="attaches again"):
        cluster.submit(abs, 1)
    scheduler.wait()
    _, second = clusters.scheduler(NAME)
    assert second.id != connection.id
    again = tc.connect(NAME)
    again.wait_for_workers(2, slots=2, timeout=40)
    assert again.map(abs, range(-100, 0)).results() == list(range(100, 0, -1))
    again.stop(force=True)
    assert [worker.wait(60) for worker in workers] == [0, 0]


# ---- clients ---------------------------------------------------------------------------------------------------------

CLIENT = """
import os, signal, sys, time
import twistcluster as tc
cluster = tc.connect("lab")
job = cluster.options(name="mine").map(lambda x: time.sleep(0.002) or bytes([x % 256]) * 100_000, [*range(600)])
cluster.status()  # asked after the job on the same link: now it is there
print("sent", flush=True)
{then}
"""


@pytest.fixture
def client():
    programs = []

    def start(then):
        command = [sys.executable, "-c", CLIENT.format(then=then)]
        programs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        assert programs[-1].stdout.readline() == "sent\n"
        return programs[-1]

    yield start
    for program in programs:
        program.kill()
        program.wait()
        program.stdout.close()


def test_a_stopped_client_finds_everything_when_it_goes_on(shared, client):
    program = client("print(job.results() == [bytes([x % 256]) * 100_000 for x in range(600)])")
    program.send_signal(signal.SIGSTOP)
    try:
        assert shared.map(abs, range(-1000, 0)).results() == list(range(1000, 0, -1))
        until(lambda: shared.jobs("mine")[0].state == "done", 20, "the work")
        assert shared.submit(abs, -1).result(DEADLINE_S) == 1
    finally:
        program.send_signal(signal.SIGCONT)
    said, _ = program.communicate(timeout=DEADLINE_S)
    assert said == "True\n" and program.returncode == 0


def test_a_killed_clients_named_job_is_found_by_another(shared, client):
    program = client("time.sleep(60)")
    program.kill()
    program.communicate()
    job = shared.job("mine")
    assert job.wait(DEADLINE_S) and job.results() == [bytes([x % 256]) * 100_000 for x in range(600)]


SMALL = """
import twistcluster.wire.limits as limits
limits.RESULTS_HELD_BYTES = 5_000_000
from twistcluster.cli.main import main
main()
"""


def test_results_that_nobody_fetches_pause_the_work_of_who_left_and_of_nobody_else(clusters, client):
    scheduler = subprocess.Popen(
        [sys.executable, "-c", SMALL, "scheduler", "--name", NAME, "--store", "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    clusters.children.append(scheduler)
    until(lambda: any(each.name == NAME for each in tc.clusters()), 20, "the scheduler")
    clusters.worker(NAME, 2)
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(1, slots=2, timeout=60)
    program = client("os.kill(os.getpid(), signal.SIGKILL)")
    program.communicate()

    def paused():
        (status,) = cluster.jobs("mine")
        return status.done if "has not fetched" in status.waiting else 0

    # What was leased when the limit was met (50 ms of work for each slot) is still done, no more.
    done = until(paused, DEADLINE_S, "the pause")
    assert 50 <= done <= 250
    assert cluster.map(abs, range(-10_000, 0)).results() == list(range(10_000, 0, -1))
    time.sleep(0.5)
    assert paused() == done
    job = cluster.job("mine")
    assert job.wait(DEADLINE_S) and job.results() == [bytes([x % 256]) * 100_000 for x in range(600)]
    cluster.close(wait=False)


# ---- what is over is let go ------------------------------------------------------------------------------------------


def held():
    """Of what a client made: how many of each, and the bytes of the functions that it holds."""
    gc.collect()
    found = [each for each in gc.get_objects() if isinstance(each, JobRecord | Future | Segment | Parts)]
    functions = {digest: len(blob) for each in found if isinstance(each, Parts) for digest, blob in each.blobs.items()}
    count = Counter(type(each).__name__ for each in found if not isinstance(each, Parts))
    return count, sum(functions.values())


def test_what_is_over_is_let_go(clusters):
    before = held()  # of other tests
    connection = clusters.local(NAME, 2).connection
    node = psutil.Process(connection.pid)
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(1, slots=2, timeout=60)

    def work():
        futures = [cluster.submit(pow, x, 2) for x in range(5000)]
        assert [future.result(DEADLINE_S) for future in futures] == [x**2 for x in range(5000)]
        for number in range(20):
            ballast = os.urandom(500_000)
            assert cluster.map(lambda x: (number, x, len(ballast)), range(10)).results()[3] == (number, 3, 500_000)
        for _ in range(5):
            job = cluster.map(time.sleep, itertools.repeat(0.001))
            next(job)
            job.cancel()
            job.wait(DEADLINE_S)
            job.results("skip")

    work()
    files = psutil.Process().num_fds(), node.num_fds()
    threads = threading.active_count()
    work()
    until(lambda: threading.active_count() <= threads, what="the threads that pull")
    assert (psutil.Process().num_fds(), node.num_fds()) == files
    assert node.num_threads() <= 3, "the reactor's, the journal's, and one that looks after the store"

    def let_go():
        count, functions = held()
        return count.total() < before[0].total() + 50 and functions < before[1] + 1_000_000

    until(let_go, what=lambda: f"what was held to be let go, as the journal has it: {before} before, now {held()}")
    until(lambda: not cluster.status().jobs_open and not cluster.status().held_bytes >> 24, what="the scheduler")
    cluster.close(wait=False)


# ---- one after the other, and all at once ----------------------------------------------------------------------------


def test_ten_maps_in_a_row(shared):
    for number in range(10):
        job = shared.map(lambda x: x + number, range(500))
        assert job.wait(DEADLINE_S), f"map {number} hangs: {job.progress()}, {shared.status()}"
        assert job.results() == [x + number for x in range(500)]
        job = shared.map(lambda x: [x], range(20))
        assert job.wait(DEADLINE_S) and job.results() == [[x] for x in range(20)]


def test_many_threads_at_once(shared):
    wrong = []

    def use(thread):
        pick = random.Random(thread)
        for number in range(5):
            count = pick.randrange(300)
            job = shared.map(lambda x: (x, number), range(count))
            futures = [shared.submit(pow, x, 2) for x in range(30)]
            stray = shared.map(time.sleep, itertools.repeat(0.001))
            if not (job.wait(DEADLINE_S) and job.results() == [(x, number) for x in range(count)]):
                wrong.append((thread, number, job.progress()))
            if [future.result(DEADLINE_S) for future in futures] != [x**2 for x in range(30)]:
                wrong.append((thread, number, "submits"))
            stray.cancel()
            if not stray.wait(DEADLINE_S):
                wrong.append((thread, number, "cancel", stray.progress()))

    threads = [threading.Thread(target=use, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * DEADLINE_S)
    assert not wrong and not any(thread.is_alive() for thread in threads)
    until(lambda: shared.status().jobs_open == 0, what="all jobs to be over")

"""What runs can be stopped, in both forms: by cancelling, by its time limit, for its memory; and nothing else is harmed."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

import twistcluster as tc
from tests.live.conftest import IN_ONE_FORM, in_forms, runs
from tests.live.work import awaits, ignores, leave_child, long_call, prints, run_child, sleep, spin, swallows
from tests.tools import until

DEADLINE_S = 60.0
SOON_S = 3.0 * 4
"""Stopped, and its slot serving again: three seconds; four times as long on a machine that has much else to do."""


@pytest.fixture(params=["local", "standalone"])
def shared(request, clusters):
    """A cluster with one slot, by its client."""
    if request.param == "local":
        clusters.local("lab", 1)
    else:
        clusters.scheduler("lab")
        clusters.worker("lab", 1)
    cluster = tc.connect("lab")
    cluster.wait_for_workers(1, slots=1, timeout=60)
    yield cluster
    cluster.close(wait=False)


KEEPS_ITS_SLOT = [spin, sleep, run_child, leave_child, awaits, prints]
LOSES_ITS_SLOT = [ignores, swallows]


def slot_pid(cluster):
    return cluster.submit(os.getpid).result(DEADLINE_S)


@in_forms("work", [spin, ignores], [sleep, run_child, leave_child, awaits, prints, swallows, long_call])
def test_cancel_stops_what_runs(shared, tmp_path, work):
    started, before = tmp_path / "started", slot_pid(shared)
    job = shared.map(work, [str(started)])
    until(started.exists, DEADLINE_S, "the item")
    until(lambda: work not in (run_child, leave_child) or started.read_text())
    job.cancel()
    begun = time.monotonic()
    after = slot_pid(shared)
    assert time.monotonic() - begun < SOON_S
    assert job.wait(DEADLINE_S)
    assert job.state == "cancelled"
    with pytest.raises(tc.Cancelled):
        job.results()
    if work in KEEPS_ITS_SLOT:
        assert after == before
    elif work in LOSES_ITS_SLOT:
        assert after != before
    if started.read_text():
        assert not runs(int(started.read_text()))
    assert shared.workers()[0].crashes == 0


@IN_ONE_FORM
def test_a_builtin_that_we_call_ourselves_is_stopped(shared):
    before = slot_pid(shared)
    for _ in range(5):
        future = shared.submit(time.sleep, 1000)
        until(lambda: shared.workers()[0].busy)  # it runs, or is about to: both must do
        assert future.cancel() and future.cancelled()
        assert slot_pid(shared) == before


def test_no_other_item_is_harmed(shared, tmp_path):
    log, started = tmp_path / "log", tmp_path / "started"

    def work(x):
        with log.open("a") as file:
            file.write(f"{x}\n")
        if x == 500:
            started.touch()
            while True:
                time.sleep(0.001)
        return 3 * x

    job = shared.map(work, range(1000))
    until(started.exists, DEADLINE_S)
    job[500].cancel()
    assert job.wait(DEADLINE_S)
    assert job.results("skip") == [3 * x for x in range(1000) if x != 500]
    assert job.progress().cancelled == 1 and not job.errors()
    assert {x for x, times in Counter(log.read_text().split()).items() if times > 1} == set()


def test_items_cancelled_at_random_moments(shared, tmp_path):
    """Of two thousand items of all kinds a few hundred are cancelled while they run, wait or are done already."""
    log, pick, count = tmp_path / "log", random.Random(11), 2000

    def work(x):
        with log.open("a") as file:
            file.write(f"{x}\n")
        if x % 7 == 0:
            time.sleep(0.005)
        return [x] if x % 3 else x

    before = slot_pid(shared)
    job = shared.map(work, range(count))
    asked = set()
    while not job.done():
        done = job.progress().done
        index = min(count - 1, done + pick.randrange(-20, 60)) % count
        asked.add(index)
        job[index].cancel()
    progress = job.progress()
    cancelled = [x for x in range(count) if job[x].cancelled()]
    assert progress.done + progress.cancelled == count and not job.errors()
    assert cancelled and asked.issuperset(cancelled)
    for x in set(range(count)) - set(cancelled):
        assert job[x].result() == ([x] if x % 3 else x)
    ran = Counter(log.read_text().split())
    assert not [x for x, times in ran.items() if times > 1], "an item ran twice, though no slot was killed"
    assert slot_pid(shared) == before


@IN_ONE_FORM
def test_what_waits_for_a_cancelled_item_is_cancelled(shared, tmp_path):
    started = tmp_path / "started"
    future = shared.submit(sleep, str(started))
    after = shared.submit(str, future)
    until(started.exists, DEADLINE_S)
    future.cancel()
    with pytest.raises(tc.Cancelled):
        after.result(DEADLINE_S)


@IN_ONE_FORM
def test_an_item_that_saves_and_returns_has_succeeded(shared, tmp_path):
    started = tmp_path / "started"

    def work(_):
        started.touch()
        try:
            time.sleep(1000)
        except KeyboardInterrupt:
            return "saved"

    job = shared.map(work, [0])
    until(started.exists, DEADLINE_S)
    job.cancel()
    assert job.wait(DEADLINE_S) and job.results() == ["saved"] and job.state == "done"


# ---- time limits -----------------------------------------------------------------------------------------------------


@in_forms("work", [ignores], [time.sleep])
def test_a_time_limit_stops_the_item(shared, tmp_path, work):
    argument = 1000 if work is time.sleep else str(tmp_path / "started")
    future = shared.options(time_limit=0.3).submit(work, argument)
    with pytest.raises(tc.TaskTimeout, match=r"time_limit is 0\.3 s") as told:
        future.result(DEADLINE_S)
    assert isinstance(told.value, TimeoutError)
    assert slot_pid(shared)


@IN_ONE_FORM
def test_a_time_limit_says_where_the_item_was(shared):
    def stuck(_):
        time.sleep(1000)

    with pytest.raises(tc.TaskTimeout) as told:
        shared.options(time_limit="300ms").map(stuck, [0]).results()
    assert "in stuck" in str(told.value.__cause__) and "twistcluster" not in str(told.value.__cause__).replace(
        "twistcluster.nodes.slot_stop.ItemStopped", ""
    )


def test_a_stopped_slot_counts_against_the_time_limit(shared):
    def stop_myself(_):
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1000)

    with pytest.raises(tc.TaskTimeout):
        shared.options(time_limit=0.3).map(stop_myself, [0]).results()
    assert slot_pid(shared)


def test_retries_count_exceptions_and_time_outs(shared, tmp_path):
    log = tmp_path / "log"

    def work(x):
        with log.open("a") as file:
            file.write(f"{x}\n")
        tries = Counter(log.read_text().split())[str(x)]
        if x == 1 and tries == 1:
            time.sleep(1000)
        if x == 2 and tries < 3:
            raise ValueError("no")
        if x == 3:
            raise ValueError("never")
        return x

    job = shared.options(retries=2, time_limit=0.5).map(work, range(5))
    assert job.wait(DEADLINE_S)
    assert job.results("skip") == [0, 1, 2, 4] and [*job.errors()] == [3]
    assert Counter(log.read_text().split()) == {"0": 1, "1": 2, "2": 3, "3": 3, "4": 1}


# ---- crashes and memory ----------------------------------------------------------------------------------------------


@IN_ONE_FORM
def test_max_crashes_and_the_last_words(shared):
    def die(x):
        if x == 7:
            print("about to die")
            os._exit(3)
        return x

    job = shared.options(max_crashes=1).map(die, range(20))
    assert job.wait(DEADLINE_S)
    assert job.results("skip") == [x for x in range(20) if x != 7]
    text = str(job.errors()[7].error)
    assert "ended its slot by exit code 3" in text and "about to die" in text


@IN_ONE_FORM
def test_a_segmentation_fault_says_where(shared):
    def crash_here(_):
        import ctypes

        ctypes.string_at(0)

    job = shared.options(max_crashes=1).map(crash_here, [0])
    assert job.wait(DEADLINE_S)
    text = str(job.errors()[0].error)
    assert "SIGSEGV" in text and "in crash_here" in text


def grow(x):
    if x != 4321:
        return x
    kept = []
    while True:
        kept.append(bytearray(b"x") * (8 << 20))
        time.sleep(0.005)


@pytest.mark.parametrize("form", ["local", "standalone"])
def test_an_item_over_the_memory_limit_fails_and_says_so(clusters, form):
    if form == "local":
        clusters.local("lab", 2, memory_limit=400 << 20)
    else:
        clusters.scheduler("lab")
        clusters.worker("lab", 2, "--memory-limit", "400MiB")
    cluster = tc.connect("lab")
    cluster.wait_for_workers(1, slots=2, timeout=60)
    try:
        job = cluster.map(grow, range(10_000))
        assert job.wait(DEADLINE_S * 2)
        assert job.results("skip") == [x for x in range(10_000) if x != 4321]
        text = str(job.errors()[4321].error)
        assert "killed for memory: it used" in text and "limit of 400 MiB" in text and "memory_limit" in text
    finally:
        cluster.close(wait=False)


POISON = {"exit code 3": lambda: os._exit(3), "SIGSEGV": lambda: os.kill(os.getpid(), signal.SIGSEGV)}


@in_forms("how", ["SIGSEGV"], ["exit code 3"])
def test_one_poison_item_among_ten_thousand(shared, how):
    poison = POISON[how]

    def work(x):
        if x == 4321:
            print("the poisoned one")
            poison()
        return x

    job = shared.map(work, range(10_000))
    assert job.wait(DEADLINE_S)
    assert job.results("skip") == [x for x in range(10_000) if x != 4321]
    (error,) = job.errors().values()
    assert isinstance(error.error, tc.WorkerCrashed) and how in str(error.error) and "poisoned" in str(error.error)


@IN_ONE_FORM
def test_slots_are_what_the_kernel_kills_first(shared):
    pid = slot_pid(shared)
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= 800
    assert int(Path(f"/proc/{psutil.Process(pid).ppid()}/oom_score_adj").read_text()) < 800


def test_a_cluster_with_another_memory_limit_is_told_apart(clusters):
    clusters.local("lab", 1, memory_limit=1 << 30)
    with pytest.raises(tc.OptionsDiffer, match="memory_limit"):
        tc.Cluster("lab", memory_limit="2GiB")
    with contextlib.closing(tc.Cluster("lab", memory_limit="1GiB")) as cluster:
        assert cluster.submit(abs, -1).result(DEADLINE_S) == 1

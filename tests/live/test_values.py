"""Large values through the store, in both forms: as arguments, results and references; private, writable, and freed."""

import contextlib
import dataclasses
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import twistcluster as tc
from tests.live.conftest import IN_ONE_FORM, runs
from tests.tools import require_module, until
from twistcluster.net import connections

DEADLINE_S = 60.0
NAME = "lab"
KIB = 1024
MIB = 1024 * KIB
SIZES = [KIB, 64 * KIB, 64 * KIB + 1, MIB, 64 * MIB]


class Shared:
    """A cluster with two slots, and the folder of its store."""

    def __init__(self, cluster, store):
        self.cluster = cluster
        self.store = Path(store)


def standalone(clusters):
    """A scheduler and two workers with a slot each."""
    scheduler, connection = clusters.scheduler(NAME)
    workers = [clusters.worker(NAME, 1) for _ in range(2)]
    cluster = tc.connect(NAME)
    cluster.wait_for_workers(2, slots=2, timeout=60)
    return scheduler, workers, Shared(cluster, connection.store)


@pytest.fixture(params=["local", "standalone"])
def shared(request, clusters):
    if request.param == "local":
        store = clusters.local(NAME, 2).connection.store
        found = Shared(tc.connect(NAME), store)
    else:
        _, _, found = standalone(clusters)
    yield found
    found.cluster.close(wait=False)


def objects(store):
    """Names of the values in a store, in memory and on the disk; without segments that are kept for the next ones."""
    return {
        path.name
        for place in (store, store / "disk")
        for path in place.iterdir()
        if len(path.name) == 32 and not path.name.startswith(("free-", "new-"))
    }


def freed(shared, left=0, seconds=DEADLINE_S):
    """Wait until no more than so many values are stored; how many seconds that took."""
    gc.collect()
    began = time.monotonic()
    deadline = began + seconds
    while len(found := objects(shared.store)) > left:
        assert time.monotonic() < deadline, f"{len(found)} values after {seconds} s, not {left}: {sorted(found)[:5]}"
        time.sleep(0.005)
    assert len(found) == left
    return time.monotonic() - began


UNTOLD = 40
"""Values that a killed slot may have made and not told of yet (20 ms of work): they lie there for a minute."""


def nearly_freed(shared):
    gc.collect()
    until(lambda: len(objects(shared.store)) <= UNTOLD, DEADLINE_S, "a store with little in it")


def slots(process):
    return [p for p in psutil.Process(process).children(recursive=True) if "twistcluster.nodes.slot" in p.cmdline()]


# ---- kinds and sizes -------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Holder:
    name: str
    array: np.ndarray
    more: dict

    def __eq__(self, other):
        return self.name == other.name and same(self.array, other.array) and same(self.more["x"], other.more["x"])


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


KINDS = {
    "array": lambda n: np.arange(n // 8, dtype=float),
    "two dimensions, Fortran's order": lambda n: np.asfortranarray(np.arange(n // 8).reshape(2, -1)),
    "structured": lambda n: np.zeros(n // 12, dtype=[("a", "f4"), ("b", "i8")]),
    "bytes": lambda n: os.urandom(n),
    "bytearray": lambda n: bytearray(os.urandom(n)),
    "str": lambda n: "é" * (n // 2),
    "dataclass": lambda n: Holder("x", np.arange(n // 16), {"x": np.arange(n // 32)}),
    "list": lambda n: [np.arange(n // 32), b"x" * (n // 4), np.arange(n // 32, dtype="f4"), None],
}


def equal(a, b):
    if isinstance(a, np.ndarray):
        return same(a, b)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def test_kinds_of_all_sizes_come_and_go(shared):
    cluster = shared.cluster
    for make in KINDS.values():
        values = [make(n) for n in (KIB, 64 * KIB, 64 * KIB + 64, MIB)]
        assert all(map(equal, tc.gather([cluster.submit(lambda x: x, value) for value in values]), values))
        assert all(map(equal, cluster.map(lambda x: x, values).results(), values))
        references = [cluster.put(value) for value in values]
        assert all(map(equal, cluster.map(lambda x: x, references).results(), values))
        assert all(equal(reference.result(), value) for reference, value in zip(references, values, strict=True))
        futures = [cluster.submit(lambda x: x, value) for value in values]
        assert all(map(equal, tc.gather([cluster.submit(lambda x: x, future) for future in futures]), values))
        del references, futures
    freed(shared)


def test_sizes(shared):
    cluster = shared.cluster
    for size in SIZES:
        value = np.arange(size // 8)
        future = cluster.submit(lambda a: a + 1, value)
        assert same(future.result(DEADLINE_S), value + 1)
        assert size <= future.nbytes <= size + 1000
        assert future.where.startswith("store of " if size >= 64 * KIB else "client")
        reference = cluster.put(value)
        assert cluster.submit(lambda a, b: int(a.sum() - b.sum()), future, reference).result(60) == len(value)


@IN_ONE_FORM
def test_pictures(shared):
    picture = Image.effect_noise((1000, 800), 50).convert("RGB")
    turned = shared.cluster.map(lambda image: image.rotate(90, expand=True), [picture] * 4).results()
    assert all(each.tobytes() == picture.rotate(90, expand=True).tobytes() for each in turned)
    each = shared.cluster.submit(Image.Image.copy, shared.cluster.put(picture)).result(DEADLINE_S)
    assert each.tobytes() == picture.tobytes() and each.size == (1000, 800)


@IN_ONE_FORM
def test_arrow(shared):
    arrow = require_module("pyarrow")
    table = arrow.table({"i": np.arange(200_000), "s": [str(i) for i in range(200_000)]})
    found = shared.cluster.submit(lambda t: t.slice(1), table).result(DEADLINE_S)
    assert found.equals(table.slice(1))
    assert shared.cluster.map(lambda t: t.num_rows, [shared.cluster.put(table)] * 3).results() == [200_000] * 3


@IN_ONE_FORM
def test_polars(shared):
    polars = require_module("polars")
    frame = polars.DataFrame({"i": np.arange(100_000), "s": [str(i) for i in range(100_000)]})
    found = shared.cluster.submit(lambda f: f.with_columns(j=f["i"] + 1), frame).result(DEADLINE_S)
    assert found.equals(frame.with_columns(j=frame["i"] + 1))
    assert shared.cluster.submit(lambda f: f.height, shared.cluster.put(frame)).result(DEADLINE_S) == 100_000


NOTEBOOK = """
import dataclasses, numpy as np, twistcluster as tc

@dataclasses.dataclass
class Scan:
    pixels: np.ndarray
    name: str = "x"
    def brighter(self):
        return Scan(self.pixels + 1, self.name)

cluster = tc.connect("lab")
scans = [Scan(np.full(size, 3.0)) for size in (10, 10_000, 1_000_000)]
job = cluster.map(Scan.brighter, scans)
assert all(type(s) is Scan and s.pixels[-1] == 4 for s in job)
assert all(s.pixels[-1] == 5 for s in cluster.map(lambda s: s.brighter(), job))
references = [cluster.put(s) for s in scans]
assert all(type(r.result()) is Scan for r in references)
assert cluster.submit(lambda s: isinstance(s[0], Scan) and s[0].pixels.sum(), references).result(30) == 30
assert cluster.submit(lambda s: s.pixels.sum(), job[2]).result(30) == 4_000_000
class Scan(Scan):
    def brighter(self):
        return Scan(self.pixels - 1, "new")
found = cluster.map(lambda s: Scan(s.pixels).brighter(), references).results()
assert all(type(s) is Scan and s.name == "new" and s.pixels[-1] == 2 for s in found)
print("right")
"""


@IN_ONE_FORM
def test_a_notebooks_classes_that_hold_arrays(shared):
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "right\n", done.stderr


# ---- whose memory it is ----------------------------------------------------------------------------------------------


@IN_ONE_FORM
def test_arrays_are_writable_and_nobody_elses(shared):
    cluster = shared.cluster

    def change(a):
        a += 1
        return float(a.sum())

    reference = cluster.put(np.zeros(MIB))
    future = cluster.submit(np.zeros, MIB)
    for value in (reference, future, np.zeros(MIB)):
        assert tc.gather([cluster.submit(change, value) for _ in range(4)]) == [MIB] * 4
    first, second = reference.result(), reference.result()
    first += 1
    assert second.sum() == 0
    mine = future.result()
    mine += 1
    assert cluster.submit(np.sum, future).result(DEADLINE_S) == 0
    assert cluster.submit(change, reference).result(DEADLINE_S) == MIB


@IN_ONE_FORM
def test_results_that_are_held_stay_right_while_others_reuse_memory(shared):
    cluster, n = shared.cluster, 50_000  # from 256 KiB on they are mapped
    held = [cluster.submit(np.full, n, i).result(DEADLINE_S) for i in range(20)]
    views = [cluster.submit(np.full, n, i).result(DEADLINE_S)[-10:] for i in range(20)]
    gc.collect()
    for i, array in enumerate(cluster.map(lambda i: np.full(n, -1 - i), range(1500))):
        assert array[0] == array[-1] == -1 - i
    assert all((array == i).all() for i, array in enumerate(held))
    assert all((view == i).all() for i, view in enumerate(views))


@IN_ONE_FORM
def test_an_argument_that_an_item_keeps_stays_right(shared):
    cluster = shared.cluster

    def keep(a):
        sys.kept = a
        return os.getpid()

    pids = set(tc.gather([cluster.submit(keep, np.full(50_000, 7)) for _ in range(50)]))
    cluster.map(lambda a: a.sum(), [np.full(50_000, -1) for _ in range(500)]).results()
    found = cluster.everywhere(lambda: (os.getpid(), [*getattr(sys, "kept", [])]), once=True)
    assert [set(kept) for pid, kept in found if pid in pids] == [{7}] * len(pids)


@IN_ONE_FORM
def test_an_item_s_arguments_are_let_go_with_it(shared):
    """A value that is freed but still mapped takes as much memory as before: its end must not wait for a collection."""
    cluster = shared.cluster
    cluster.everywhere(gc.disable)
    store = shared.store
    assert max(tc.gather([cluster.submit(lambda a: reads(os.getpid(), store), np.zeros(MIB)) for _ in range(4)])) >= 1
    references = [cluster.put(np.full(MIB, i)) for i in range(20)]
    futures = [cluster.submit(np.zeros, MIB) for _ in range(20)]
    arguments = [[*references[:2], *futures[:2]], *references, *futures]
    tc.gather([cluster.submit(lambda x: len(x), argument) for argument in arguments])
    pids = [slot.pid for worker in cluster.workers() for slot in slots(worker.pid)]
    # The last one's may still be named by what called it.
    until(lambda: all(reads(pid, shared.store) <= 8 for pid in pids), DEADLINE_S, "slots that hold nothing")


def reads(pid, store):
    """How many values a process holds against their memory's reuse. What it maps and doesn't hold is idle."""
    found = 0
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if f"/{store.name}/" in str(path.readlink()):
                found += "FLOCK  ADVISORY  READ" in Path(f"/proc/{pid}/fdinfo", path.name).read_text()
        except FileNotFoundError:
            continue
    return found


# ---- freed -----------------------------------------------------------------------------------------------------------


def test_what_nobody_holds_is_freed_within_a_second(shared):
    cluster = shared.cluster
    job = cluster.map(lambda i: np.full(20_000, i), range(100))
    assert len(job.results()) == 100 == len(objects(shared.store))
    future = cluster.submit(np.zeros, 20_000)
    reference = cluster.put(np.zeros(20_000))
    consumer = cluster.map(lambda a: a + 1, job)
    assert len(consumer.results()) == 100 and future.exception() is None
    freed(shared, 202)
    del job
    took = [freed(shared, 102)]
    del future, reference
    took.append(freed(shared, 100))
    assert [int(a[0]) for a in consumer] == list(range(1, 101))
    del consumer
    took.append(freed(shared, 0))
    assert min(took) < 1, "the machine may do something else for a second, but not each time"


def test_results_that_nobody_took_are_found_by_name_and_then_freed(shared):
    cluster = shared.cluster
    cluster.map(np.zeros, [20_000] * 10).wait()
    assert len(objects(shared.store)) == 10
    job = cluster.job("zeros-1")
    assert len(job.results()) == 10
    del job
    freed(shared)


def test_what_was_cancelled_failed_or_never_asked_for_is_freed(shared, tmp_path):
    cluster, path = shared.cluster, str(tmp_path / "gate")

    def work(a):
        while not Path(path).exists():
            time.sleep(0.002)
        if a[0] % 3 == 0:
            raise ValueError("three")
        return a

    jobs = [cluster.map(work, [np.full(20_000, i) for i in range(20)]) for _ in range(3)]
    chained = cluster.map(np.sum, jobs[1])
    jobs[0].cancel()
    Path(path).touch()
    right = [i for i in range(20) if i % 3]
    assert chained.results("skip") == [20_000 * i for i in right]
    for job in jobs[1:]:
        assert [int(a[0]) for a in job.results("skip")] == right
    jobs[0].results("skip")
    for _ in range(5):
        cluster.submit(np.zeros, 50_000)  # nobody keeps the future
    del job, jobs, chained
    freed(shared)


def test_what_a_killed_client_put_is_freed_and_its_jobs_results_can_be_found(shared):
    """Results of a job wait in a named cluster for whoever asks."""
    code = """
import numpy as np, twistcluster as tc
cluster = tc.connect("lab")
job, reference = cluster.map(lambda i: np.full(20_000, i), range(50)), cluster.put(np.zeros(20_000))
job.wait()
print(job.id, flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as other:
        job_id = other.stdout.readline().strip()
        assert len(objects(shared.store)) == 51
        other.kill()
        other.wait()
    freed(shared, 50)
    found = shared.cluster.job(job_id)
    assert [int(a[0]) for a in found.results()] == list(range(50))
    assert shared.cluster.map(lambda a: int(a[0]), found).results() == list(range(50))


def arrays_of(count, pulled):
    """A lazy source that says how much of it was pulled."""
    for number in range(count):
        pulled.append(number)
        yield number


def cancel_what_goes_on(cluster):
    """Of jobs that nobody reads any more: each may be gone by itself meanwhile, a source with the last that read it."""
    for row in cluster.jobs():
        with contextlib.suppress(tc.JobNotFound):
            cluster.job(row.id).cancel()


def test_a_slow_reader_of_a_lazy_map_holds_its_source_back():
    pulled = []
    with tc.Cluster(slots=2) as cluster:  # unnamed: a named one keeps results for those who come later
        store = Path(connections.find(cluster.id)["store"])
        results = iter(cluster.map(lambda i: np.full(MIB, i), arrays_of(1000, pulled)))  # 8 MiB each
        assert int(next(results)[0]) == 0
        most = 0
        for number in range(1, 100):
            assert int(next(results)[0]) == number
            most = max(most, len(objects(store)))
        assert most * 8 <= 500, "MiB: what waits, what was passed, and what was on its way"
        assert len(pulled) < 300
        results.close()
        cancel_what_goes_on(cluster)


def test_who_waits_for_the_end_does_not_wait_for_who_reads():
    pulled = []
    with tc.Cluster(slots=2) as cluster:
        results = iter(cluster.map(lambda i: np.full(MIB, i), arrays_of(60, pulled)))
        assert int(next(results)[0]) == 0
    assert len(pulled) == 60


def slowly(count):
    for number in range(count):
        time.sleep(0.005)
        yield number


@pytest.mark.parametrize(
    "ask",
    [
        lambda cluster, job: job[90].result(DEADLINE_S)[0],
        lambda cluster, job: [next(job)[0] for _ in range(91)][90],
        lambda cluster, job: cluster.submit(lambda found: found[90][0], job).result(DEADLINE_S),
        lambda cluster, job: next(int(a[0]) for index, a in job.as_completed() if index == 90),
        lambda cluster, job: cluster.map(lambda a: a[0], job).results()[90],
    ],
    ids=["a future", "next", "an argument", "as_completed", "a map"],
)
def test_who_finds_a_job_that_is_held_back_by_its_reader_gets_what_it_asks_for(ask):
    with tc.Cluster(slots=2) as cluster:
        results = iter(cluster.map(lambda i: np.full(MIB, i), slowly(120)))
        assert int(next(results)[0]) == 0
        (row,) = cluster.jobs()
        until(lambda: cluster.job(row.id).progress().done >= 17, what="what waits for who reads")
        job = cluster.job(row.id)
        assert ask(cluster, job) == 90
        results.close()


def test_a_job_that_is_dropped_while_somebody_iterates_over_it_goes_on():
    with tc.Cluster(slots=2) as cluster:
        job = cluster.map(lambda i: np.full(MIB, i), slowly(120))
        results = iter(job)
        assert [int(next(results)[0]) for _ in range(40)] == [*range(40)]
        del job
        assert [int(a[0]) for a in results] == [*range(40, 120)]


def test_a_reader_and_a_map_over_the_same_job_get_everything_each():
    with tc.Cluster(slots=2) as cluster:
        job = cluster.map(lambda i: np.full(MIB, i), slowly(30))
        firsts = cluster.map(lambda a: int(a[0]), job)
        results = iter(job)
        assert int(next(results)[0]) == 0
        del job
        assert firsts.results() == [*range(30)]
        assert [int(a[0]) for a in results] == [*range(1, 30)]


def test_a_slow_reader_of_a_chain_of_maps_holds_its_source_back():
    pulled = []
    with tc.Cluster(slots=2) as cluster:
        store = Path(connections.find(cluster.id)["store"])
        made = cluster.map(lambda i: np.full(MIB, i), arrays_of(1000, pulled))
        results = iter(cluster.map(lambda a: a + 1, cluster.map(lambda a: a + 1, made)))
        del made
        most = 0
        for number in range(60):
            assert int(next(results)[0]) == number + 2
            most = max(most, len(objects(store)))
        assert most * 8 <= 700, "MiB"
        assert len(pulled) < 300
        results.close()
        cancel_what_goes_on(cluster)


def test_a_cancelled_map_over_a_lazy_job_ends_although_that_goes_on():
    with tc.Cluster(slots=2) as cluster:
        outer = cluster.map(lambda a: time.sleep(1.5) or a, cluster.map(abs, slowly(150)))
        until(lambda: outer.progress().running, what="a running item")
        outer.cancel()
        assert outer.wait(DEADLINE_S)
        assert outer.state == "cancelled"


# ---- killed ----------------------------------------------------------------------------------------------------------


def test_a_killed_slots_values_are_there_still(shared):
    cluster = shared.cluster
    job = cluster.map(lambda i: np.full(20_000, i), range(200))
    assert job.wait(DEADLINE_S)
    for worker in cluster.workers():
        for slot in slots(worker.pid):
            slot.kill()
    over = cluster.map(lambda a: int(a[-1]), job)
    assert [int(a[-1]) for a in job] == list(range(200))
    assert over.results() == list(range(200))
    del job, over
    freed(shared)


def test_slots_killed_while_they_make_large_values(shared):
    cluster = shared.cluster
    job = cluster.map(lambda i: (time.sleep(0.001), np.full(50_000, i))[1], range(1000))
    for number in range(1, 6):
        until(lambda job=job, number=number: job.progress().done > number * 120, DEADLINE_S, "progress")
        found = until(lambda: [slot for worker in cluster.workers() for slot in slots(worker.pid)])
        found[number % len(found)].kill()
    assert [int(a[0]) for a in job.results()] == list(range(1000))
    del job
    nearly_freed(shared)


def test_all_values_of_a_killed_worker_are_right(clusters):
    _, workers, shared = standalone(clusters)
    cluster = shared.cluster
    job = cluster.map(lambda i: np.full(20_000, i), range(1000))
    assert job.wait(DEADLINE_S)
    held = slots(workers[0].pid)
    workers[0].kill()
    until(lambda: not any(runs(slot.pid) for slot in held))
    assert [int(a[0]) for a in cluster.map(lambda a: a, job).results()] == list(range(1000))
    assert [int(a[-1]) for a in job.results()] == list(range(1000))
    del job
    nearly_freed(shared)
    cluster.close(wait=False)


def test_a_worker_killed_while_values_are_made_and_used(clusters):
    _, workers, shared = standalone(clusters)
    cluster = shared.cluster
    job = cluster.map(lambda i: (time.sleep(0.001), np.full(20_000, i))[1], range(1000))
    middle = cluster.map(lambda a: a + 1, job)
    over = cluster.map(lambda a: a + 1, middle)
    until(lambda over=over: over.progress().done > 100, DEADLINE_S)
    workers[0].kill()
    assert [int(a[-1]) for a in over.results()] == [i + 2 for i in range(1000)]
    assert [int(a[-1]) for a in middle.results()] == [i + 1 for i in range(1000)]
    assert [int(a[-1]) for a in job.results()] == list(range(1000))
    del job, middle, over
    nearly_freed(shared)
    cluster.close(wait=False)


# ---- the end ---------------------------------------------------------------------------------------------------------


def folders(store):
    """A store's two folders."""
    return [store, (store / "disk").readlink()]


def test_nothing_is_left_at_a_stop(shared):
    held = shared.cluster.map(lambda i: np.full(20_000, i), range(20)).results()
    both = folders(shared.store)
    assert all(map(Path.exists, both))
    shared.cluster.stop(force=True)
    until(lambda: not any(map(Path.exists, both)), DEADLINE_S, "the end of the store")
    assert [int(a[0]) for a in held] == list(range(20))


def test_a_killed_clusters_folders_go_when_another_starts(clusters):
    connection = clusters.local(NAME, 1, store=None).connection
    cluster = tc.connect(NAME)
    job = cluster.map(lambda i: np.full(20_000, i), range(20))
    first = job[0].result(DEADLINE_S)
    assert job.wait(DEADLINE_S)
    both = folders(Path(connection.store))
    started = [p.pid for p in psutil.Process(connection.pid).children(recursive=True)]
    psutil.Process(connection.pid).kill()
    until(lambda: not any(map(runs, [connection.pid, *started])), DEADLINE_S, "the end of all processes")
    assert all(map(Path.exists, both))
    assert [int(a[0]) for a in job.results()] == list(range(20))
    again = clusters.local("other", 1).connection
    assert not any(map(Path.exists, both)) and Path(again.store).exists()
    assert first[0] == 0
    with pytest.raises(tc.ObjectLost, match="gone with its cluster"):
        job.results()
    cluster.close(wait=False)


OWNER = """
import os, numpy as np, twistcluster as tc
cluster = tc.Cluster(slots=2)
job, reference = cluster.map(lambda i: np.full(20_000, i), range(50)), cluster.put(np.zeros(20_000))
job.wait()
print(cluster._connection.store, flush=True)
input()
"""


def test_nothing_is_left_when_the_owner_of_a_cluster_is_killed():
    with subprocess.Popen([sys.executable, "-c", OWNER], stdin=-1, stdout=-1, text=True) as owner:
        both = folders(Path(owner.stdout.readline().strip()))
        family = psutil.Process(owner.pid).children(recursive=True)
        owner.kill()
        owner.wait()
    until(lambda: not any(map(Path.exists, both)), DEADLINE_S, "the end of the store")
    until(lambda: not any(runs(each.pid) for each in family), DEADLINE_S, "the end of the family")


@IN_ONE_FORM
def test_threads_put_and_get_at_once(shared):
    cluster, wrong = shared.cluster, []

    def work(number):
        for i in range(30):
            value = number * 100 + i
            reference = cluster.put(np.full(20_000 + 5000 * number, value))
            futures = [cluster.submit(lambda a: a + 1, reference) for _ in range(3)]
            del reference
            wrong.extend(f for f in futures if not (f.result(DEADLINE_S) == value + 1).all())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    freed(shared)

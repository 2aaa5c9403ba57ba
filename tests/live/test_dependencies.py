"""Jobs that wait for jobs, on real clusters: what arrives, what fails with what, and that large ones come to an end."""

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import twistcluster as tc
from tests.tools import until
from twistcluster.client import bridge
from twistcluster.client.options import JobOptions

DEADLINE_S = 60.0
LARGE = 20_000
"""Numbers of eight bytes: more than a page holds, so they go through the store."""


@pytest.fixture(scope="module")
def cluster():
    with tc.Cluster(slots=2) as found:
        yield found


def gate(path):
    """A function that gives its argument back once the file is there."""

    def wait(x):
        while not Path(path).exists():
            time.sleep(0.002)
        return x

    return wait


def fail_at_three(x):
    if x == 3:
        raise ValueError("three")
    return x


# ---- where futures and jobs may stand --------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("early", [False, True])
def test_futures_at_any_depth(cluster, tmp_path, large, early):
    path = tmp_path / "gate"
    value = np.arange(LARGE) if large else np.arange(3)
    future = cluster.submit(gate(str(path)), value)
    if not early:
        path.touch()
        tc.wait([future], timeout=DEADLINE_S)

    def sums(a, nested, *, k):
        return [x.sum() for x in (a, nested[0], nested[1]["x"][0], k)]

    consumer = cluster.submit(sums, future, [future, {"x": (future,)}], k=future)
    path.touch()
    assert consumer.result(DEADLINE_S) == [value.sum()] * 4


def test_a_future_that_stands_twice_is_one_value_and_nobody_elses(cluster):
    future = cluster.submit(np.zeros, LARGE)

    def change(a, b):
        a += 1
        return b is a, float(b.sum())

    assert tc.gather([cluster.submit(change, future, future) for _ in range(20)]) == [(True, LARGE)] * 20
    assert future.result(DEADLINE_S).sum() == 0


def test_a_job_as_an_argument_is_the_list_of_its_results(cluster, tmp_path):
    path = tmp_path / "gate"
    running = cluster.map(gate(str(path)), range(10))
    lazy = cluster.map(gate(str(path)), iter(range(500)))
    consumer = cluster.submit(lambda a, b: (a, sum(b["x"])), running, {"x": lazy})
    assert not consumer.done()
    path.touch()
    assert consumer.result(DEADLINE_S) == (list(range(10)), sum(range(500)))
    assert cluster.submit(len, running).result(DEADLINE_S) == 10
    large = cluster.map(lambda i: np.full(LARGE, i), range(5))
    assert cluster.submit(lambda arrays: [int(a[0]) for a in arrays], large).result(DEADLINE_S) == [*range(5)]


# ---- map over a job --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["running", "finished", "lazy", "named"])
@pytest.mark.parametrize("large", [False, True])
def test_a_map_over_a_job(cluster, tmp_path, state, large):
    path, n = tmp_path / "gate", 200
    wait = gate(str(path))

    def make(i):
        return np.full(LARGE if large else 2, wait(i))

    sent = cluster.options(name=f"source-{large}") if state == "named" else cluster
    source = sent.map(make, (i for i in range(n)) if state == "lazy" else range(n))
    if state == "finished":
        path.touch()
        assert source.wait(DEADLINE_S)
    consumer = cluster.map(lambda a: int(a.sum() // len(a)), source)
    path.touch()
    assert consumer.results() == list(range(n))
    assert [int(a[0]) for a in source.results()] == list(range(n))


def test_a_map_over_a_job_that_another_client_sent(clusters):
    clusters.local("lab", 2)
    code = """
import sys, time, numpy as np, twistcluster as tc
cluster = tc.connect("lab")
cluster.options(name="theirs").map(lambda i: np.full(20_000, i), range(50)).wait()
print("made", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout.readline() == "made\n"
        cluster = tc.connect("lab")
        adopted = cluster.job("theirs")
        consumer = cluster.map(lambda a: int(a[0]), adopted)
        assert consumer.results() == list(range(50))
        assert cluster.submit(lambda a, b: (int(a[7][0]), int(b[0])), adopted, adopted[9]).result(DEADLINE_S) == (7, 9)
        other.stdin.close()
        other.wait(DEADLINE_S)
    assert cluster.map(lambda a: int(a[0]), adopted).results() == list(range(50))
    cluster.close(wait=False)


def test_it_starts_on_items_as_they_come(cluster, tmp_path):
    path = tmp_path / "gate"
    wait = gate(str(path))
    source = cluster.map(lambda i: wait(i) if i == 99 else i, range(100))
    consumer = cluster.map(lambda i: -i, source)
    until(lambda: consumer.progress().done > 80, DEADLINE_S, "what can run")
    assert not source.done()
    path.touch()
    assert consumer.results() == [-i for i in range(100)]


# ---- chains and fans -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True])
def test_a_chain_of_maps(cluster, large):
    job = cluster.map(lambda i: np.full(LARGE if large else 1, i), range(100))
    for _ in range(5):
        job = cluster.map(lambda a: a + 1, job)
    gc.collect()
    assert [int(a[-1]) for a in job] == [i + 5 for i in range(100)]


def test_a_long_chain_of_submits(cluster):
    future = cluster.submit(int)
    for _ in range(5000):
        future = cluster.submit(lambda x: x + 1, future)
    assert future.result(DEADLINE_S) == 5000


def test_a_chain_of_submits_with_large_values(cluster):
    future = cluster.submit(np.zeros, LARGE)
    for _ in range(200):
        future = cluster.submit(lambda x: x + 1, future)
    assert future.result(DEADLINE_S)[-1] == 200


def test_a_wide_fan(cluster):
    root = cluster.submit(np.arange, LARGE)
    fan = [cluster.submit(lambda a, i: int(a[i]), root, i) for i in range(5000)]
    total = cluster.submit(sum, fan)
    assert total.result(DEADLINE_S) == sum(range(5000))


def test_every_future_of_a_map_in_one_argument(cluster):
    job = cluster.map(abs, range(5000))
    assert cluster.submit(sum, [job[i] for i in range(5000)]).result(DEADLINE_S) == sum(range(5000))


# ---- what fails, and is cancelled ------------------------------------------------------------------------------------


def test_a_failed_input_fails_what_waits_for_it_with_the_cause(cluster):
    source = cluster.map(fail_at_three, range(6))
    over = cluster.map(lambda x: x, source)
    last = cluster.map(lambda x: x, over)
    one = cluster.submit(abs, source[3])
    whole = cluster.submit(sum, source)
    for failed in (over[3], last[3], one, whole):
        with pytest.raises(tc.DependencyFailed) as caught:
            failed.result(DEADLINE_S)
        assert isinstance(caught.value.__cause__, ValueError) and str(caught.value.__cause__) == "three"
        assert isinstance(caught.value.__cause__.__cause__, tc.RemoteTraceback)
    assert last.results("skip") == over.results("skip") == [0, 1, 2, 4, 5]
    assert list(last.errors()) == [3] and last.errors()[3].why == "input"


def test_of_several_submits_the_one_that_failed_is_named(cluster):
    opened = threading.Event()
    cluster.submit(abs, -1).result(DEADLINE_S)
    bridge.call(lambda: opened.wait(DEADLINE_S))  # all that is submitted meanwhile leaves together
    first, failed = cluster.submit(fail_at_three, 1), cluster.submit(fail_at_three, 3)
    waits = cluster.submit(repr, failed)
    further = cluster.submit(repr, waits)
    opened.set()
    for each in (waits, further):
        with pytest.raises(tc.DependencyFailed) as caught:
            each.result(DEADLINE_S)
        assert str(caught.value).startswith(
            f"{each.name}: it waits for {failed.name}: it failed with ValueError: three"
        )
    assert first.result() == 1


def test_a_failure_that_was_there_before(cluster):
    source = cluster.map(fail_at_three, range(6))
    assert source.wait(DEADLINE_S)
    for job in (cluster.map(abs, source), cluster.map(abs, [source[i] for i in range(6)])):
        assert job.results("skip") == [0, 1, 2, 4, 5]
        assert isinstance(job.errors()[3].error.__cause__, ValueError)


def test_a_cancelled_input_cancels(cluster, tmp_path):
    path = tmp_path / "gate"
    source = cluster.map(gate(str(path)), range(1000))
    consumer, chained = cluster.map(abs, source), cluster.submit(sum, source)
    further = cluster.submit(abs, chained)
    source.cancel()
    path.touch()
    assert consumer.wait(DEADLINE_S)
    assert consumer.state == "cancelled"
    for future in (chained, further):
        with pytest.raises(tc.Cancelled):
            future.result(DEADLINE_S)
    with pytest.raises(tc.Cancelled):
        cluster.submit(abs, source[999]).result(DEADLINE_S)


def test_after_a_retry_what_waits_anew_gets_the_result(cluster, tmp_path):
    path = str(tmp_path / "now")

    def once(x):
        if x == 3 and not Path(path).exists():
            raise ValueError("not yet")
        return np.full(LARGE, x)

    source = cluster.map(once, range(5))
    consumer = cluster.map(lambda a: int(a[0]), source)
    assert consumer.wait(DEADLINE_S) and list(consumer.errors()) == [3]
    Path(path).touch()
    assert source.retry() == 1 and source.wait(DEADLINE_S)
    assert [int(a[0]) for a in source.results()] == [0, 1, 2, 3, 4]
    assert cluster.map(lambda a: int(a[0]), source).results() == [0, 1, 2, 3, 4]
    assert consumer.retry() == 1
    assert consumer.results() == [0, 1, 2, 3, 4]


def test_a_cycle_is_refused(cluster):
    jobs, go_on = [], threading.Event()

    def items():
        yield 1
        go_on.wait(DEADLINE_S)
        yield jobs[0][1]

    jobs.append(cluster.map(lambda x: x, items()))
    go_on.set()
    with pytest.raises(tc.InputEnded, match=r"ValueError after 1 items: .*\[1\] would wait for itself"):
        jobs[0].results()
    assert jobs[0].results("skip") == [1]
    assert cluster.submit(abs, -1).result(DEADLINE_S) == 1


def test_a_cycle_through_two_lazy_maps_is_refused(cluster):
    jobs = {}

    def items(other):
        yield 0
        until(lambda: other in jobs)
        yield jobs[other][1]

    for mine, other in ("ab", "ba"):
        jobs[mine] = cluster.map(lambda x: x, items(other))
    # Which of the two closes it, and where that is seen, is a matter of luck.
    for job in jobs.values():
        with pytest.raises((tc.InputEnded, tc.DependencyFailed), match="for itself|waits for"):
            job.results()
    assert cluster.submit(abs, -1).result(DEADLINE_S) == 1


# ---- what can't be named ---------------------------------------------------------------------------------------------


def test_what_belongs_to_another_cluster_is_refused(cluster):
    with tc.Cluster(slots=1) as other:
        future, job, reference = other.submit(abs, -1), other.map(abs, [1]), other.put(np.zeros(LARGE))
        for each in (future, job, reference):
            with pytest.raises(ValueError, match="belongs to another cluster"):
                cluster.submit(lambda x: x, [each])
        assert future.result(DEADLINE_S) == 1
    for each in (future, job, reference):
        with pytest.raises((tc.ClusterUnreachable, ValueError), match="cluster"):
            cluster.submit(lambda x: x, [each])
    assert cluster.submit(abs, -1).result(DEADLINE_S) == 1


def test_a_reference_lives_as_long_as_what_was_sent_with_it(cluster, tmp_path):
    path = tmp_path / "gate"
    wait = gate(str(path))
    reference = cluster.put(np.arange(LARGE))
    futures = [cluster.submit(lambda a, i: int(wait(a)[i]), reference, i) for i in range(10)]
    del reference
    gc.collect()
    # Others' values would take its place in memory.
    for i in range(20):
        cluster.put(np.full(LARGE, -1 - i))
    path.touch()
    assert tc.gather(futures) == list(range(10))


def test_no_reference_in_a_result(cluster):
    reference = cluster.put(np.zeros(LARGE))
    # Inside an item it is the value.
    assert cluster.submit(lambda a: a, reference).result(DEADLINE_S).sum() == 0
    assert cluster.submit(lambda d: type(d["x"]).__name__, {"x": reference}).result(DEADLINE_S) == "ndarray"
    with pytest.raises(tc.NotPicklable, match="argument"):
        cluster.submit(lambda: reference)


# ---- values that change ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 1000, LARGE, 1_000_000])
def test_what_arrives_is_what_was_there_at_submit(cluster, size):
    array = np.zeros(size)
    futures = []
    for i in range(20):
        array[:] = i
        futures.append(cluster.submit(lambda a: (float(a.min()), float(a.max())), array))
        futures.append(cluster.submit(lambda r: (float(r.min()), float(r.max())), cluster.put(array)))
        array[:] = -1
    assert tc.gather(futures) == [(i, i) for i in range(20) for _ in range(2)]


def test_what_a_map_was_given_may_change_once_it_returned(cluster):
    arrays = [np.full(size, 7.0) for size in (10, 1000, LARGE, 300_000) for _ in range(8)]
    job = cluster.map(lambda a: (float(a.min()), float(a.max())), arrays)
    for array in arrays:
        array[:] = -1
    assert job.results() == [(7, 7)] * 32


def test_an_array_that_another_thread_changes_all_the_time(cluster):
    """What arrives is some mixture, in private memory: it doesn't change any more while an item looks at it."""
    array, stop = np.zeros(LARGE), threading.Event()

    def change():
        i = 0
        while not stop.is_set():
            i += 1
            array[:] = i

    thread = threading.Thread(target=change)
    thread.start()
    try:

        def look(a):
            before = a.copy()
            time.sleep(0.002)
            return bool((before == a).all())

        assert all(tc.gather([cluster.submit(look, array) for _ in range(100)]))
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("quiet", [True, False])
def test_a_job_of_a_job_s_results_is_as_quiet_as_it_is_told(cluster, capfd, quiet):
    first = cluster.map(fail_at_three, range(5))
    first.wait()
    record = cluster._link.opener.map(str, (first,), JobOptions(), quiet=quiet)
    assert record.wait(DEADLINE_S)
    cluster.status()
    assert capfd.readouterr().err.count("DependencyFailed") == (0 if quiet else 1)

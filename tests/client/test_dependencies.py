"""Results as arguments, on real clusters: futures and jobs at any depth, what fails, what is cancelled, what can't be."""

import dataclasses
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import twistcluster as tc
from tests.tools import until

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def cluster():
    with tc.Cluster(slots=2) as found:
        yield found


@dataclasses.dataclass
class Box:
    content: object


class Gate:
    """What items wait at, so that the test decides when they end."""

    def __init__(self, path):
        self.path = str(path)

    def __call__(self, value=None):
        end = time.monotonic() + DEADLINE_S
        while not Path(self.path).exists():
            if time.monotonic() > end:
                raise TimeoutError("the gate was never opened")
            time.sleep(0.005)
        return value

    def open(self):
        Path(self.path).touch()


@pytest.fixture
def gate(tmp_path):
    made = Gate(tmp_path / "open")
    yield made
    made.open()


def same(*args, **kwargs):
    return args[0] if len(args) == 1 and not kwargs else (*args, kwargs) if kwargs else args


def inc(x):
    return x + 1


def square(x):
    return x * x


def three_fails(x):
    if x == 3:
        raise ValueError(f"{x} is three")
    return x


def boom(x=0):
    raise ValueError(f"boom {x}")


# ---- values come through ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [False, True])
def test_futures_at_any_depth(cluster, gate, done):
    futures = [cluster.submit(gate, value) for value in (1, "two", [3], np.arange(1000), np.arange(100_000))]
    if done:
        gate.open()
        tc.wait(futures, DEADLINE_S)
    one, two, three, small, large = futures
    found = cluster.submit(same, [one, {"k": (two, {one})}], Box([three]), x=small, y={"z": [large]})
    gate.open()
    (first, box, kwargs) = found.result(DEADLINE_S)
    assert first == [1, {"k": ("two", {1})}] and box == Box([[3]])
    assert (kwargs["x"] == np.arange(1000)).all() and (kwargs["y"]["z"][0] == np.arange(100_000)).all()


def test_one_future_many_times_is_one_value(cluster, gate):
    future = cluster.submit(gate, [1])
    assert not future.done()
    found = cluster.submit(lambda a, b: a is b[0], future, [future])
    gate.open()
    assert found.result(DEADLINE_S) is True


def test_an_item_s_argument_is_its_own_to_change(cluster, gate):
    future = cluster.submit(gate, [1])
    found = [cluster.submit(lambda x: x.append(2) or x, future) for _ in range(20)]
    gate.open()
    assert tc.gather(found) == [[1, 2]] * 20 and future.result() == [1]


def test_a_function_of_the_notebook_can_hold_a_future(cluster):
    future = cluster.submit(inc, 1)
    assert cluster.submit(lambda call: call(), lambda: future).result(DEADLINE_S) == 2


def test_classes_of_the_notebook_come_through(cluster, gate):
    Point = dataclasses.make_dataclass("Point", ["x"])
    Point.__module__ = "__main__"
    future = cluster.submit(gate, Point(1))
    found = cluster.submit(lambda p: Point(p.x + 1), future)
    gate.open()
    assert found.result(DEADLINE_S) == Point(2) and cluster.submit(same, found).result(DEADLINE_S) == Point(2)


@pytest.mark.parametrize("alone", [False, True])
def test_a_chain_of_submits(cluster, alone):
    send = cluster.options(priority=1).submit if alone else cluster.submit
    future = send(inc, 0)
    for _ in range(300):
        future = send(inc, future)
    assert future.result(DEADLINE_S) == 301


def test_a_chain_whose_middle_was_dropped_and_asked_for(cluster):
    future = cluster.submit(same, [0])
    for n in range(1, 60):
        if n % 3 == 0:
            future.result(DEADLINE_S).append("only here")
        future = cluster.submit(lambda x, n: [*[each for each in x if each != "only here"], n], future, n)
    assert future.result(DEADLINE_S) == [*range(60)]


def test_a_fan_of_two_thousand_and_back(cluster, gate):
    root = cluster.submit(gate, 1)
    leaves = [cluster.submit(lambda x, n: x + n, root, n) for n in range(2000)]
    total = cluster.submit(sum, leaves)
    gate.open()
    assert total.result(DEADLINE_S) == sum(range(1, 2001))
    assert cluster.submit(sum, leaves).result(DEADLINE_S) == sum(range(1, 2001))


def test_a_fan_of_two_thousand_large_values(cluster, gate):
    root = cluster.submit(lambda: gate(np.ones(100_000)))
    leaves = cluster.map(lambda x: float(x[0][:10].sum()), [[root]] * 2000)
    gate.open()
    assert leaves.results() == [10.0] * 2000


# ---- maps over jobs --------------------------------------------------------------------------------------------------


def test_a_map_over_a_job_that_runs(cluster, gate):
    source = cluster.map(gate, range(100))
    assert not source.done()
    job = cluster.map(square, source)
    gate.open()
    assert job.results() == [n * n for n in range(100)] and len(job) == 100


@pytest.mark.parametrize("asked", [False, True])
def test_a_map_over_a_job_that_is_finished(cluster, asked):
    source = cluster.map(same, [1, [2], np.arange(50_000)])
    assert source.wait(DEADLINE_S)
    if asked:
        source.results()
    assert cluster.map(lambda x: int(np.sum(x)), source).results() == [1, 2, sum(range(50_000))]


def test_a_map_over_an_empty_job(cluster):
    source = cluster.map(inc, [])
    assert cluster.map(inc, source).results() == [] == cluster.map(inc, cluster.map(inc, iter([]))).results()


def test_a_map_over_a_lazy_job(cluster):
    go_on = threading.Event()

    def items():
        yield from range(10)
        go_on.wait(DEADLINE_S)
        yield from range(10, 20)

    source = cluster.map(inc, items())
    job = cluster.map(square, source)
    assert [next(job) for _ in range(10)] == [n * n for n in range(1, 11)]  # while its input goes on
    with pytest.raises(TypeError, match="no length"):
        len(job)
    go_on.set()
    assert job.results() == [n * n for n in range(1, 21)] and len(job) == 20


def test_a_map_over_a_lazy_job_whose_input_raises(cluster):
    def items():
        yield 1
        raise OSError("no more")

    job = cluster.map(inc, cluster.map(inc, items()))
    with pytest.raises(tc.InputEnded, match="no more"):
        job.results()
    assert job.results("skip") == [3]


def test_an_endless_one_is_cancelled(cluster):
    source = cluster.map(abs, itertools.count())
    job = cluster.map(inc, source)
    assert next(job) == 1
    source.cancel()
    assert source.wait(DEADLINE_S) and job.wait(DEADLINE_S)


def test_five_deep_without_waiting(cluster):
    job = cluster.map(same, range(1000))
    for _ in range(4):
        job = cluster.map(inc, job)
    assert job.results() == [n + 4 for n in range(1000)]


def test_five_deep_over_arrays(cluster):
    job = cluster.map(lambda n: np.full(20_000, n), range(100))
    for _ in range(3):
        job = cluster.map(inc, job)
    assert cluster.map(lambda a: int(a.max()), job).results() == [n + 3 for n in range(100)]


def test_two_maps_over_one_job(cluster, gate):
    source = cluster.map(gate, range(50))
    jobs = [cluster.map(inc, source), cluster.map(square, source)]
    gate.open()
    assert tc.gather(jobs) == [[n + 1 for n in range(50)], [n * n for n in range(50)]]


def test_a_job_among_several_iterables(cluster, gate):
    source = cluster.map(gate, range(20))
    job = cluster.map(lambda x, y, z: (x, y, z), source, range(20), source)
    gate.open()
    assert job.results() == [(n, n, n) for n in range(20)]


@pytest.mark.parametrize("lazily", [False, True])
def test_a_map_over_futures(cluster, gate, lazily):
    futures = [cluster.submit(gate, n) for n in range(50)]
    job = cluster.map(inc, iter(futures) if lazily else futures)
    gate.open()
    assert job.results() == [n + 1 for n in range(50)]


def test_a_map_over_some_of_a_job(cluster):
    source = cluster.map(square, range(10))
    assert cluster.map(inc, source[2:5]).results() == [5, 10, 17]


# ---- jobs as arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [False, True])
def test_a_job_as_an_argument_is_the_list_of_its_results(cluster, gate, done):
    source = cluster.map(gate, range(100))
    if done:
        gate.open()
        source.wait(DEADLINE_S)
    future = cluster.submit(lambda found: (type(found["k"][0]).__name__, sum(found["k"][0])), {"k": [source]})
    gate.open()
    assert future.result(DEADLINE_S) == ("list", sum(range(100)))


def test_a_lazy_and_an_empty_job_as_arguments(cluster):
    lazy, empty = cluster.map(inc, iter(range(50))), cluster.map(inc, [])
    assert cluster.submit(same, lazy, empty).result(DEADLINE_S) == ([*range(1, 51)], [])


def test_a_job_found_by_a_future_s_name(cluster):
    future = cluster.submit(inc, 1)
    assert cluster.submit(same, cluster.job(future.name)).result(DEADLINE_S) == [2]
    assert cluster.map(inc, cluster.job(future.name)).results() == [3]


OTHER_PROGRAM = """
import os, sys
import twistcluster as tc
from tests.client.test_dependencies import Gate
cluster = tc.connect(sys.argv[1])
job = cluster.options(name="theirs").map(Gate(sys.argv[2]), [*range(20)])
cluster.status()  # it has arrived
os._exit(0)
"""


def test_a_job_of_another_program_as_an_argument(gate):
    cluster = tc.Cluster(name="dependencies", slots=2)
    try:
        subprocess.run([sys.executable, "-c", OTHER_PROGRAM, cluster.name, gate.path], check=True, timeout=DEADLINE_S)
        theirs = cluster.job("theirs")
        total = cluster.submit(sum, theirs)
        one = cluster.submit(inc, theirs[3])
        job = cluster.map(inc, theirs)
        gate.open()
        assert total.result(DEADLINE_S) == sum(range(20)) and one.result(DEADLINE_S) == 4
        assert job.results() == [*range(1, 21)]
    finally:
        gate.open()
        cluster.stop(force=True)


FETCHING_PROGRAM = """
import sys
import twistcluster as tc
from tests.client.test_dependencies import inc
cluster = tc.connect(sys.argv[1])
cluster.options(name="theirs").map(inc, range(20)).results()
"""


def test_a_job_whose_results_another_program_has_fetched(gate):
    cluster = tc.Cluster(name="dependencies", slots=1)
    try:
        subprocess.run([sys.executable, "-c", FETCHING_PROGRAM, cluster.name], check=True, timeout=DEADLINE_S)
        theirs = cluster.job("theirs")
        assert cluster.submit(sum, theirs).result(DEADLINE_S) == 210
        assert cluster.submit(inc, theirs[3]).result(DEADLINE_S) == 5
        assert cluster.map(inc, theirs).results() == [*range(2, 22)]
    finally:
        cluster.stop(force=True)


# ---- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failed_input_fails_its_dependents_with_the_cause(cluster, gate, when):
    failing = cluster.submit(lambda: gate() or boom(1))
    if when == "after":
        gate.open()
        tc.wait([failing], DEADLINE_S)
    future = cluster.submit(same, [failing])
    further = cluster.submit(same, {"k": future})
    gate.open()
    for each in (future, further):
        with pytest.raises(tc.DependencyFailed, match=each.name) as caught:
            each.result(DEADLINE_S)
        cause = root(caught.value)
        assert type(cause) is ValueError and str(cause) == "boom 1"
        assert isinstance(cause.__cause__, tc.RemoteTraceback) and "boom" in str(cause.__cause__)


def root(error):
    while isinstance(error, tc.DependencyFailed):
        error = error.__cause__
    return error


def test_a_long_chain_fails_at_once(cluster, gate):
    future = cluster.submit(lambda: gate() or boom(2))
    for _ in range(500):
        future = cluster.submit(inc, future)
    gate.open()
    with pytest.raises(tc.DependencyFailed) as caught:
        future.result(DEADLINE_S)
    assert str(root(caught.value)) == "boom 2"


@pytest.mark.parametrize("done", [False, True])
def test_of_a_map_only_those_fail_whose_input_failed(cluster, gate, done):
    source = cluster.map(lambda n: three_fails(gate(n)), range(6))
    if done:
        gate.open()
        source.wait(DEADLINE_S)
    job = cluster.map(inc, cluster.map(inc, source))
    gate.open()
    found = job.results("return")
    assert found[:3] + found[4:] == [2, 3, 4, 6, 7] and job.state == "failed"
    assert type(found[3]) is tc.DependencyFailed and str(root(found[3])) == "3 is three"
    assert job.errors()[3].why == "input"


def test_a_job_with_a_failed_item_is_a_failed_input(cluster):
    source = cluster.map(three_fails, range(6))
    with pytest.raises(tc.DependencyFailed) as caught:
        cluster.submit(sum, source).result(DEADLINE_S)
    assert str(root(caught.value)) == "3 is three"


def test_an_item_that_a_lazy_job_never_has_is_a_failed_input(cluster):
    go_on = threading.Event()

    def items():
        yield from range(3)
        go_on.wait(DEADLINE_S)

    source = cluster.map(inc, items())
    future = cluster.submit(inc, source[7])
    go_on.set()
    with pytest.raises(tc.DependencyFailed, match="it has no item 7, it ended after 3"):
        future.result(DEADLINE_S)


def test_a_failed_input_that_succeeds_when_it_is_run_again(cluster, tmp_path):
    path = tmp_path / "second"

    def at_second(n):
        if not path.exists():
            path.touch()
            raise ValueError("not yet")
        return n

    source = cluster.map(at_second, [1])
    job = cluster.map(inc, source)
    assert job.wait(DEADLINE_S) and job.state == "failed"
    assert source.retry() == 1 and source.wait(DEADLINE_S) and source.results() == [1]
    assert job.retry() == 1 and job.wait(DEADLINE_S) and job.results() == [2]


# ---- cancelled -------------------------------------------------------------------------------------------------------


def enter(gate, note):
    note.touch()
    return gate()


def test_a_cancelled_input_cancels_its_dependents(cluster, gate, tmp_path):
    notes = [tmp_path / f"entered {n}" for n in range(2)]
    busy = [cluster.submit(enter, gate, note) for note in notes]
    # Not by `worker.busy`, which may still count items of the test before.
    until(lambda: all(note.exists() for note in notes), DEADLINE_S, "both slots")
    pending = cluster.submit(inc, 1)
    future = cluster.submit(inc, pending)
    further = cluster.map(inc, [future, 1])
    assert pending.cancel()
    late = cluster.submit(inc, [pending])
    cluster.status()  # now the cluster knows, too: else a slot may be through with it before
    gate.open()
    for each in (future, further[0], late):
        with pytest.raises(tc.Cancelled):
            each.result(DEADLINE_S)
    assert further[1].result(DEADLINE_S) == 2 and len(tc.gather(busy)) == 2


def test_what_waits_for_a_result_that_was_thrown_away_here_ends(cluster, gate):
    running = [cluster.submit(gate, 1), cluster.map(gate, [1])[0]]
    until(lambda: all(job.running for job in cluster.jobs()[:2]), DEADLINE_S, "their start")
    assert [each.cancel() for each in running] == [True, True]
    gate.open()
    until(lambda: not any(job.running for job in cluster.jobs()[:2]), DEADLINE_S, "their end")
    for each in running:
        for future in (cluster.submit(inc, each), cluster.map(inc, [each])[0]):
            with pytest.raises(tc.Cancelled):
                future.result(DEADLINE_S)
    assert cluster.submit(inc, 1).result(DEADLINE_S) == 2


def test_a_cancelled_job_cancels_what_maps_over_it(cluster, gate):
    source = cluster.map(gate, range(1000))
    job = cluster.map(inc, source)
    source.cancel()
    gate.open()
    assert job.wait(DEADLINE_S) and job.state == "cancelled"
    assert job.progress().done + job.progress().cancelled == 1000


def test_a_cancelled_dependent_leaves_its_input_alone(cluster, gate):
    source = cluster.submit(gate, 1)
    future = cluster.submit(inc, source)
    assert future.cancel()
    gate.open()
    assert source.result(DEADLINE_S) == 1


# ---- what can't be ---------------------------------------------------------------------------------------------------


def test_what_belongs_to_another_cluster_says_so(cluster):
    with tc.Cluster(slots=1) as other:
        future, job = other.submit(inc, 1), other.map(inc, [1])
        for argument in (future, job, job[0], other.put([1])):
            with pytest.raises(ValueError, match="belongs to another cluster"):
                cluster.submit(same, [argument])
        assert cluster.map(inc, job).results() == [3], "a job is an iterable of results, too"
    assert future.result() == 2
    with pytest.raises(tc.ClusterUnreachable, match="link is gone"):
        cluster.submit(same, future)


def test_a_reference_in_a_result_says_so(cluster):
    def result():
        from tests.client.opened import FakeStore
        from twistcluster.client.references import Reference

        return [Reference(None, FakeStore(), bytes(16), 1)]

    with pytest.raises(tc.NotPicklable, match="can't be part of a result"):
        cluster.submit(result).result(DEADLINE_S)
    reference = cluster.put([1])
    with pytest.raises(tc.NotPicklable, match="as arguments"):
        cluster.submit(lambda: reference)


def test_a_cycle_of_futures_through_two_lazy_maps_fails(cluster):
    jobs = {}

    def of(name):
        until(lambda: name in jobs)
        yield 1
        yield jobs[name][1]

    jobs["a"] = cluster.options(name="a").map(same, of("b"))
    jobs["b"] = cluster.options(name="b").map(same, of("a"))
    for job in jobs.values():
        assert job.wait(DEADLINE_S) and job.results("skip") == [1]
        assert job.errors()[1].why == "input"
    assert any("for itself" in str(job.errors()[1].error) for job in jobs.values())


def test_an_item_that_waits_for_itself_ends_its_input(cluster):
    jobs = {}

    def items():
        until(lambda: jobs)
        yield 1
        yield jobs["a"]

    jobs["a"] = cluster.map(same, items())
    with pytest.raises(tc.InputEnded, match="would wait for itself"):
        jobs["a"].results()


# ---- references ------------------------------------------------------------------------------------------------------


def test_a_reference_is_its_value_in_an_item(cluster):
    table = np.arange(200_000)
    reference = cluster.put(table)
    assert reference.nbytes >= table.nbytes and (reference.result() == table).all()
    job = cluster.map(lambda held, n: int(held["t"][n]), [{"t": reference}] * 100, range(100))
    assert job.results() == [*range(100)]
    small = cluster.put({"a": 1})
    assert cluster.submit(same, small, [small]).result(DEADLINE_S) == ({"a": 1}, [{"a": 1}])


def test_a_reference_may_be_let_go_while_it_is_needed(cluster, gate):
    reference = cluster.put(np.arange(200_000))
    future = cluster.submit(lambda _, table: int(table[-1]), cluster.submit(gate), reference)
    del reference
    gate.open()
    assert future.result(DEADLINE_S) == 199_999


def test_size_and_place_of_results(cluster):
    small, large = cluster.submit(same, [1]), cluster.submit(np.zeros, 100_000)
    tc.wait([small, large], DEADLINE_S)
    assert small.nbytes < 100 and large.nbytes >= 800_000
    assert small.where == "client" and large.where.startswith("store of ")
    assert large.result().sum() == 0 and large.where.startswith("store of ") and large.nbytes >= 800_000
